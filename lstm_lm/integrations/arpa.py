r"""An n-gram model as an ARPA file, which KenLM, SRILM and many other programs read.

A line of the file has log10 p, an n-gram, and log10 of its back-off weight::

    -1.2345\tthe old man\t-0.2217

A reader takes the longest n-gram that is in the file. If the whole one is not, p is the back-off
weight of its context times p of the shorter one. Our model is interpolated: ``p_n(w | h) = share(h
w) + rest(h) p_{n-1}(w | h')``. So the file has the sum p_n(w | h) for each n-gram h w, and rest(h)
as the back-off weight of h. These are the same probabilities, without an approximation.

``<eos>`` ends one line and begins the next. An ARPA file has a word for each: ``</s>`` is the end,
and ``<s>`` is the context of a first word. If the model's contexts continue over line ends,
n-grams that begin with ``</s>`` or have it inside are in the file, too. Then these are equal::

    model.score("I like it .")                      log10 p of this line
    model.score("I like it . </s> It is old .")     log10 p of these two lines, read as one text

Source: the format is Doug Paul's; SRILM's manual page ngram-format(5) describes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.errors import InputError
from lstm_lm.evaluation.ngram import NGramModel
from lstm_lm.files.outputs import mark

BEGINS_LINE, ENDS_LINE = "<s>", "</s>"
# What an ARPA file already means something else by. KenLM reads <UNK> as <unk>.
RESERVED = frozenset((BEGINS_LINE, ENDS_LINE, "<UNK>"))
SEPARATORS = " \t\n\r\0"
NEVER = -99.0  # log10 p of a word that is only ever a context, as in SRILM
BLOCK = 2**17  # n-grams that are written at a time; limits memory


def arpa_writer(model: NGramModel, vocabulary: Vocabulary) -> Callable[[BinaryIO], None]:
    """Returns the function that writes the file, for `lstm_lm.files.atomic.write_atomically`.

    Numbers are written as exactly as a float32 is, which is how KenLM keeps them.

    Args:
        model: of any order. KenLM reads no order 1, and by default no order above 6.
        vocabulary: the words of the model's ids.

    Raises:
        InputError: the vocabulary has a word that an ARPA file cannot have.
    """
    for word in vocabulary.words:
        if word in RESERVED or any(mark in word for mark in SEPARATORS):
            raise InputError(
                f"--arpa: the vocabulary has the word {word!r}, which means something else in an "
                "ARPA file; remove it from the corpus"
            )

    def write(file: BinaryIO) -> None:
        _write(file, model, vocabulary)

    return write


def _write(file: BinaryIO, model: NGramModel, vocabulary: Vocabulary) -> None:
    sizes, begins = [], np.arange(model.vocab_size) == model.eos_id
    for n in range(1, model.order + 1):
        if n > 1:  # begins: whether an n-gram's first word is <eos>
            begins = begins[model.tables[n - 2].keys // model.vocab_size]
        both_forms = n == 1 or not model.reset_per_line
        sizes.append(len(begins) + both_forms * int(begins.sum()))
    counts = "".join(f"ngram {n}={size}\n" for n, size in enumerate(sizes, 1))
    file.write(f"# {mark('ngram')}\n\n\\data\\\n{counts}".encode())
    # The ids of the vocabulary, and after them that of <s>.
    words = [*vocabulary.words, BEGINS_LINE]
    words[model.eos_id] = ENDS_LINE
    texts = pa.array(words, pa.large_string())
    probabilities, tails = model.unigrams, np.arange(model.vocab_size)
    for n in range(1, model.order + 1):
        if n > 1:
            probabilities, tails = _next_order(model, n, probabilities, tails)
        is_highest = n == model.order
        rests = np.ones(len(tails)) if is_highest else model.tables[n - 1].rests
        file.write(f"\n\\{n}-grams:\n".encode())
        for start in range(0, len(tails), BLOCK):
            ngrams = np.arange(start, min(start + BLOCK, len(tails)))
            numbers = np.log10(probabilities[ngrams]), np.log10(rests[ngrams])
            for ids, p, rest in _forms(model, _ids_of(model, n, ngrams), *numbers):
                _write_lines(file, texts, ids, p, None if is_highest else rest)
    file.write(b"\n\\end\\\n")


def _next_order(
    model: NGramModel, n: int, probabilities: np.ndarray, tails: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Computes p of every n-gram of order n, and the index of its last n - 1 words in their table.

    Args:
        model: the counts.
        n: at least 2.
        probabilities: p of every n-gram of the order below.
        tails: their last n - 2 words, likewise.
    """
    table = model.tables[n - 2]
    contexts, last = table.keys // model.vocab_size, table.keys % model.vocab_size
    if n == 2:
        found = last
    else:  # every part of an n-gram of train is in the tables of the orders below
        found = model.tables[n - 3].find(tails[contexts] * model.vocab_size + last)
    return table.shares + table.rests[contexts] * probabilities[found], found


def _ids_of(model: NGramModel, n: int, ngrams: np.ndarray) -> np.ndarray:
    """The words of n-grams of order n, from the first to the last, int64 ``(n, K)``."""
    ids = []
    for table in reversed(model.tables[: n - 1]):
        keys = table.keys[ngrams]
        ids.append(keys % model.vocab_size)
        ngrams = keys // model.vocab_size
    return np.array([ngrams, *reversed(ids)])


def _forms(
    model: NGramModel, ids: np.ndarray, probabilities: np.ndarray, rests: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yields ids, log10 p and log10 rest of n-grams as they are written.

    An n-gram that begins with ``<eos>`` is one of ``<s>``. If contexts continue over line ends, it
    is also one of ``</s>``. The word alone is always both: an end with its probability, and a
    context.
    """
    begins = ids[0] == model.eos_id
    if len(ids) == 1:
        yield ids, probabilities, np.where(begins & model.reset_per_line, 0.0, rests)
        if begins.any():
            yield np.array([[model.vocab_size]]), np.array([NEVER]), rests[begins]
        return
    as_first = ids.copy()
    as_first[0, begins] = model.vocab_size
    yield as_first, probabilities, rests
    if begins.any() and not model.reset_per_line:
        yield ids[:, begins], probabilities[begins], rests[begins]


def _write_lines(
    file: BinaryIO,
    texts: pa.Array,
    ids: np.ndarray,
    probabilities: np.ndarray,
    rests: np.ndarray | None,
) -> None:
    """Writes a line for each of K n-grams.

    Args:
        file: receives the lines.
        texts: the words by their ids.
        ids: ``(n, K)``.
        probabilities: log10 p, ``(K,)``.
        rests: log10 of the back-off weights, ``(K,)``; None for the highest order, which has none.
    """
    ngrams = pc.binary_join_element_wise(*(texts.take(pa.array(row)) for row in ids), _text(" "))
    columns = [_decimals(probabilities), ngrams]
    if rests is not None:
        columns.append(_decimals(rests))
    lines = pc.binary_join_element_wise(*columns, _text("\t"))
    lines = pc.binary_join_element_wise(lines, _text(""), _text("\n"))
    size = pc.sum(pc.binary_length(lines)).as_py()
    file.write(lines.buffers()[2][:size])  # what is behind it in the buffer is not text


def _decimals(logarithms: np.ndarray) -> pa.Array:
    """Numbers as the shortest decimals that are the same float32; rounding makes none positive."""
    return pa.array((np.minimum(logarithms, 0) + 0.0).astype(np.float32)).cast(pa.large_string())


def _text(text: str) -> pa.Scalar:
    return pa.scalar(text, pa.large_string())
