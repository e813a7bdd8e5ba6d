"""The baseline of a network: an n-gram model of its corpus, which can be probed beside it.

If the network's validation resets the state at every line, the n-gram model reads lines apart, too.
So its perplexity and its answers can be compared with the network's. A probe item starts after an
``<eos>`` either way.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lstm_lm.config import Config
from lstm_lm.corpus.corpus import Corpus
from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.errors import CorpusError, InputError
from lstm_lm.evaluation.ngram import NGramModel

DEFAULT_ORDER = 5
# A larger corpus is counted only if the order is given: at order 5, this one takes ten seconds and
# 1.5 GB.
MOST_TOKENS_BY_DEFAULT = 10_000_000


class NGramReader:
    """An n-gram model that answers probes; a `lstm_lm.probes.asking` model.

    Args:
        model: the counts.
        vocabulary: the words of its ids.
    """

    def __init__(self, model: NGramModel, vocabulary: Vocabulary) -> None:
        self.model, self.vocabulary = model, vocabulary

    def next_word_log_probabilities(self, texts: Sequence[list[int]]) -> Tensor:
        """Log-probabilities ``(B, V)`` of the word after each of B texts, float64."""
        contexts = [tuple(ids[max(0, len(ids) - self.model.order + 1) :]) for ids in texts]
        rows = {context: row for row, context in enumerate(dict.fromkeys(contexts))}
        found = np.log([self.model.next_word_probabilities(context) for context in rows])
        return torch.from_numpy(found)[[rows[context] for context in contexts]]

    def text_log_probabilities(self, texts: Sequence[list[int]]) -> list[float]:
        """The log-probability of each text in nats; its first id is given, an ``<eos>`` ends it."""
        eos = self.vocabulary.eos_id
        return [-float(self.model.token_nll([*ids[1:], eos]).sum()) for ids in texts]


def count_corpus(
    corpus: Corpus, order: int | None = DEFAULT_ORDER, *, reset_per_line: bool
) -> NGramModel:
    """Trains an n-gram model on a corpus's train split.

    Args:
        corpus: text and vocabulary.
        order: words in the longest n-gram; None for `DEFAULT_ORDER`, unless the corpus is large.
        reset_per_line: read every line by itself.

    Raises:
        CorpusError: train cannot be read, is empty, or is too large to be counted without an order.
        InputError: the order is out of range, or memory does not suffice.
    """
    train, vocabulary = corpus.training_tokens(1), corpus.vocabulary
    if order is None and len(train) > MOST_TOKENS_BY_DEFAULT:
        raise CorpusError(
            f"train has {len(train):,} tokens, too many to be counted by default; give --order "
            f"{DEFAULT_ORDER}"
        )
    try:
        return NGramModel.train(
            train,
            len(vocabulary),
            order or DEFAULT_ORDER,
            vocabulary.eos_id,
            reset_per_line=reset_per_line,
        )
    except MemoryError as error:
        raise InputError(
            f"not enough memory to count {len(train):,} tokens; lower --order"
        ) from error


def count_corpus_of(vocabulary: Vocabulary, config: Config, order: int | None) -> NGramReader:
    """Trains an n-gram model on the corpus that a network was trained on; see `count_corpus`.

    Args:
        vocabulary: the network's.
        config: of the network's run.
        order: words in the longest n-gram; None for `DEFAULT_ORDER`, unless the corpus is large.

    Raises:
        CorpusError: also if the corpus is missing now, or has changed.
        HubError: it is on the hub, and the hub is out of reach.
    """
    if config.training.init_from is not None:  # its words are not those of its corpus
        corpus = Corpus(config.corpus, config.stories, vocabulary=vocabulary)
    else:
        corpus = Corpus(config.corpus, config.stories, version=vocabulary.version)
    if corpus.vocabulary.to_json() != vocabulary.to_json():
        raise CorpusError("the corpus has changed since the model was trained on it")
    reset_per_line = config.evaluation.reset_per_line
    return NGramReader(count_corpus(corpus, order, reset_per_line=reset_per_line), vocabulary)
