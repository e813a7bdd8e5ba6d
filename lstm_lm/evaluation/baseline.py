"""What counting alone would have answered: an n-gram model of a network's own corpus, probed beside it.

Lines are read apart if they are for the network's own perplexity: then one and the same n-gram model has the perplexity
that stands beside the network's, and the answers that stand beside its answers. Either way an item begins after an
``<eos>`` with nothing before it, and n - 1 words later an n-gram model of order n has all the context it ever has.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lstm_lm.config import CorpusConfig
from lstm_lm.corpus.sources import Source, build_source
from lstm_lm.corpus.tokens import load_tokens, load_vocabulary
from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.errors import CorpusError, InputError
from lstm_lm.evaluation.ngram import NGramModel

DEFAULT_ORDER = 5
MOST_TOKENS_UNASKED = 10_000_000  # some ten seconds and 1.5 GB at order 5


class NGramReader:
    """An n-gram model as a `probes.Reader`.

    Args:
        model: the counts.
        vocabulary: the words that its ids stand for.
    """

    def __init__(self, model: NGramModel, vocabulary: Vocabulary) -> None:
        self.model, self.vocabulary = model, vocabulary

    def next_word(self, texts: Sequence[list[int]]) -> Tensor:
        """See `Reader.next_word`; texts that end alike are looked up once."""
        ends = [tuple(ids[max(0, len(ids) - self.model.order + 1) :]) for ids in texts]
        rows = {end: place for place, end in enumerate(dict.fromkeys(ends))}
        found = torch.from_numpy(np.log([self.model.next_word_probabilities(end) for end in rows]))
        return found[[rows[end] for end in ends]]

    def whole(self, texts: Sequence[list[int]]) -> list[float]:
        """See `Reader.whole`."""
        eos = self.vocabulary.eos_id
        return [-float(self.model.token_nll([*ids[1:], eos]).sum()) for ids in texts]


def count_corpus(
    source: Source,
    vocabulary: Vocabulary,
    order: int,
    *,
    reset_per_line: bool,
    cache_dir: str | None = None,
    most_tokens: int | None = None,
) -> NGramModel:
    """Trains an n-gram model on a source's train split.

    Args:
        source: the corpus.
        vocabulary: its words.
        order: words in the longest n-gram.
        reset_per_line: read every line by itself.
        cache_dir: where the encoded corpus is kept, None for the default.
        most_tokens: count no larger corpus.

    Raises:
        CorpusError: if train cannot be read, is empty, or has more than ``most_tokens``.
        InputError: if the order is out of range, or memory does not suffice.
    """
    train = load_tokens(source, "train", vocabulary, cache_dir)
    if most_tokens is not None and len(train) > most_tokens:
        raise CorpusError(
            f"train has {len(train):,} tokens, too many to count unasked; ask with --order {order}"
        )
    try:
        return NGramModel.train(
            train, len(vocabulary), order, vocabulary.eos_id, reset_per_line=reset_per_line
        )
    except MemoryError as error:
        raise InputError(
            f"not enough memory to count {len(train):,} tokens; lower --order"
        ) from error


def count_corpus_of(
    vocabulary: Vocabulary,
    corpus: CorpusConfig,
    order: int,
    *,
    reset_per_line: bool,
    most_tokens: int | None = None,
) -> NGramReader:
    """Counts the corpus that a network was trained on; see `count_corpus`.

    Args:
        vocabulary: the network's.
        corpus: where its words came from.
        order: words in the longest n-gram.
        reset_per_line: read every line by itself.
        most_tokens: count no larger corpus.

    Raises:
        CorpusError: also if the corpus is not there any more, or is another one now.
        HubError: if it is on the hub, and that is out of reach.
    """
    source = build_source(corpus)
    if load_vocabulary(source, corpus, corpus.cache_dir).to_json() != vocabulary.to_json():
        raise CorpusError("the corpus has changed since the model was trained on it")
    model = count_corpus(
        source,
        vocabulary,
        order,
        reset_per_line=reset_per_line,
        cache_dir=corpus.cache_dir,
        most_tokens=most_tokens,
    )
    return NGramReader(model, vocabulary)
