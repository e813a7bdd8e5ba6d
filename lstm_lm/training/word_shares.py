"""How frequent each word of a model's vocabulary is in the train split of its run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from lstm_lm.corpus.corpus import Corpus
from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.errors import UserError
from lstm_lm.files.run_files import YAML_FILE
from lstm_lm.training.run_directory import load_model_config

COUNTED_AT_ONCE = 2**20  # tokens


def train_shares(
    name_or_path: str | Path, vocabulary: Vocabulary, say: Callable[[str], None]
) -> np.ndarray | None:
    """Returns every word's share of all tokens of train, ``(V,)``, in [0, 1].

    All sources of a mix are counted. Line ends and ``<unk>`` are tokens, too.

    Args:
        name_or_path: a run directory, or a model on the hub, which has no corpus.
        vocabulary: of the model.
        say: receives one line for people if the corpus is not known or cannot be read.

    Returns:
        The shares, or None.
    """
    folder = Path(name_or_path)
    if not (folder / YAML_FILE).exists():
        say(f"{name_or_path} has no {YAML_FILE}: its corpus, and so word frequencies, are unknown")
        return None
    try:
        config = load_model_config(folder)
        corpus = Corpus(config.corpus, config.stories, vocabulary=vocabulary)
        counts = np.zeros(len(vocabulary), dtype=np.int64)
        for name in corpus.sources:
            tokens = corpus.tokens("train", name)
            for start in range(0, len(tokens), COUNTED_AT_ONCE):
                some = tokens[start : start + COUNTED_AT_ONCE]
                counts += np.bincount(some, minlength=len(counts))
    except UserError as error:
        say(
            f"the corpus of {name_or_path} cannot be read, so word frequencies are unknown: {error}"
        )
        return None
    return counts / counts.sum()
