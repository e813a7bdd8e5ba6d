"""A text that grows word by word, as a person types it.

How a typed word is read may depend on what is typed after it: ``John F.`` ends in an initial, or in
the end of a sentence; ``do`` becomes ``do n't``. So the words at the end of the text are read again
when it grows. Only the last *chunk* of the last line can change (what stands between white space),
so a word takes the same time in a long text as in a short one.

The network's state after n words is a function of these words alone, bit for bit, however they were
fed and whatever was taken back: whole blocks of words are read at once, and the words of the last,
unfinished block one by one.

Shapes: E embedding_dim, V vocab_size.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import torch
from torch import Tensor

from lstm_lm.corpus.half_typed import find_half_typed
from lstm_lm.corpus.typed_text import check_text
from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.errors import InputError
from lstm_lm.model.network import Network
from lstm_lm.model.prediction import Choice, Offer, Prediction
from lstm_lm.model.reading import read_ids
from lstm_lm.model.recurrent import LayerStates

# Words read at once. A state is kept after each block, and after each word of the unfinished one:
# for two layers of 200 units, 3.2 kB each, so 50 bytes for each word of the text.
BLOCK = 64

# A part of a text: a line end or a chunk, with the white space after it.
_PART = re.compile(r"(?:\n|\S+)[^\S\n]*")
_INDENT = re.compile(r"[^\S\n]*")  # matches every text


@dataclass(frozen=True)
class _Part:
    """A part of the text.

    Attributes:
        text: the part as it was typed; empty, or white space, for the beginning of the text.
        start: the number of words before it.
    """

    text: str
    start: int

    @property
    def chunk(self) -> str:
        """The part without white space; empty for a line end."""
        return self.text.rstrip()


class Session:
    """A growing text and what comes next; `LanguageModel.session` makes one.

    A session belongs to one thread at a time. Any number of sessions may use one model at once.

    Args:
        network: in evaluation mode.
        vocabulary: its words.

    Attributes:
        vocabulary: the same.
    """

    def __init__(self, network: Network, vocabulary: Vocabulary) -> None:
        self.vocabulary, self._reader = vocabulary, _Reader(network)
        self.reset()

    def reset(self) -> None:
        """Forgets the text: a new one begins, from a zero state."""
        self._words = [self.vocabulary.words[self.vocabulary.eos_id]]
        self._parts = [_Part("", 0)]
        self._unchanged = 0  # words at the beginning that are those that the reader has read

    @property
    def text(self) -> str:
        """The text as it was typed."""
        return "".join(part.text for part in self._parts)

    @property
    def words(self) -> list[str]:
        """The words as the model reads them; the first is the ``<eos>`` before the text."""
        return list(self._words)

    def feed(self, text: str) -> None:
        r"""Adds text to the end; it may begin and end within a word.

        Feeding a text in pieces is the same as feeding it at once.

        Args:
            text: natural text; ``\n`` ends a line.

        Raises:
            InputError: the text is not UTF-8, or has too many characters without white space. The
                session is as before.
        """
        check_text(text)
        last = self._parts[-1]
        self._replace_from(len(self._parts) - 1, last.text + text)

    def set_text(self, text: str) -> None:
        """Makes this the whole text. What it has in common with the text before is not read again.

        Raises:
            InputError: see `feed`.
        """
        check_text(text)
        kept, length = 0, 0
        while kept < len(self._parts) and text.startswith(self._parts[kept].text, length):
            length += len(self._parts[kept].text)
            kept += 1
        # the part before a difference may go on where it ended
        kept = max(kept - 1, 0)
        length = sum(len(part.text) for part in self._parts[:kept])
        self._replace_from(kept, text[length:])

    def undo(self, words: int = 1) -> None:
        """Takes back the last words.

        Args:
            words: how many words as they were typed, between white space (``don't`` is one); a
                line end is one, too.

        Raises:
            InputError: the text has fewer words. The session is as before.
        """
        typed = len(self._parts) - 1
        if not 0 <= words <= typed:
            raise InputError(
                f"undo: found {words}, must be from 0 to {typed}, the words of the text"
            )
        if words:
            self._replace_from(typed - words, self._parts[typed - words].text)

    def predict(
        self,
        top_k: int = 5,
        prefix: str = "",
        *,
        include_unknown: bool = False,
        among: Sequence[str] | None = None,
        ban: Sequence[str] = (),
    ) -> list[Prediction]:
        """The most probable words after the text.

        Args:
            top_k: how many words, at least 1.
            prefix: the beginning of the next word, which is not part of the text. Only words that
                begin so are predicted, and their probabilities sum to 1.
            include_unknown: see `LanguageModel.predict_next`.
            among: likewise.
            ban: likewise.

        Returns:
            The most probable first; empty if no word begins so.

        Raises:
            InputError: see `LanguageModel.predict_next`; or ``prefix`` has white space in it.
        """
        return self.offer(
            top_k, prefix, include_unknown=include_unknown, among=among, ban=ban
        ).predictions

    @torch.inference_mode()
    def offer(
        self,
        top_k: int = 5,
        prefix: str = "",
        *,
        include_unknown: bool = False,
        among: Sequence[str] | None = None,
        ban: Sequence[str] = (),
    ) -> Offer:
        """What `predict` returns, and over which words it is normalised."""
        vocabulary = self.vocabulary
        choice = Choice.of_words(vocabulary, among, ban, include_unknown)
        if not prefix:
            return choice.offer(vocabulary, self._read(self._parts[-1].start, self._tail()), top_k)
        if include_unknown:
            raise InputError("include_unknown and prefix: give one of them")
        half = find_half_typed(vocabulary, prefix)
        tail = [*self._tail(more_follows=True), *half.words]
        log_probabilities = self._read(self._parts[-1].start, tail)
        return choice.complete(vocabulary, half, log_probabilities, top_k)

    def _tail(self, *, more_follows: bool = False) -> list[str]:
        """The words of the last part, which may depend on whether its line goes on."""
        last = self._parts[-1]
        if more_follows and last.chunk:
            return self.vocabulary.split_text(last.chunk, more_follows=True)
        return self._words[last.start :]

    def _read(self, start: int, tail: Sequence[str]) -> Tensor:
        """Log-probabilities ``(V,)`` after the first ``start`` words and ``tail``, on the CPU."""
        unchanged = min(self._unchanged, start)
        words = [*self._words[unchanged:start], *tail]
        self._unchanged = unchanged  # if reading is interrupted
        log_probabilities = self._reader.read(unchanged, self.vocabulary.ids_of(words))
        self._unchanged = start
        return log_probabilities

    def _replace_from(self, number: int, text: str) -> None:
        """Replaces the parts from one on by the parts of a text."""
        start = self._parts[number].start
        parts: list[_Part] = []
        words: list[str] = []
        for part, part_words in self._split(text, begins=number == 0):
            parts.append(_Part(part, start + len(words)))
            words += part_words
        self._unchanged = min(self._unchanged, start)
        self._parts[number:] = parts
        self._words[start:] = words

    def _split(self, text: str, *, begins: bool) -> Iterator[tuple[str, list[str]]]:
        """Yields the parts of a text and their words; ``begins``: the whole text begins here."""
        eos = self.vocabulary.words[self.vocabulary.eos_id]
        if begins:
            yield text[: _INDENT.match(text).end()], [eos]  # type: ignore[union-attr]
        found = list(_PART.finditer(text))
        for match, following in zip_longest(found, found[1:]):
            if match[0][0] == "\n":
                yield match[0], [eos]
            else:
                more_follows = following is not None and following[0][0] != "\n"
                yield (
                    match[0],
                    self.vocabulary.split_text(match[0].rstrip(), more_follows=more_follows),
                )


@dataclass(frozen=True)
class _After:
    """What the network knows after a word: the output layer's input ``(E,)``, and the state."""

    hidden: Tensor
    state: LayerStates


class _Reader:
    """Reads words whose end may change; see the module."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._ids: list[int] = []
        self._blocks: list[_After] = []  # after each whole block
        self._recent: list[_After] = []  # after each word of the unfinished block

    def read(self, kept: int, ids: Sequence[int]) -> Tensor:
        """Replaces all words after the first ``kept`` by others.

        Args:
            kept: at most as many as were read before.
            ids: the other words; with ``kept`` 0, at least one.

        Returns:
            Log-probabilities ``(V,)`` of the word after them, in nats, on the CPU.
        """
        before = self._ids[kept:]
        same = 0
        while same < min(len(ids), len(before)) and ids[same] == before[same]:
            same += 1
        self._forget_after(kept + same)
        self._ids += ids[same:]
        while len(self._ids) - len(self._blocks) * BLOCK >= BLOCK:
            start = len(self._blocks) * BLOCK
            after = self._after(self._ids[start : start + BLOCK], self._blocks)
            self._recent.clear()
            self._blocks.append(after)
        for number in self._ids[len(self._blocks) * BLOCK + len(self._recent) :]:
            self._recent.append(self._after([number], self._recent or self._blocks))
        last = (self._recent or self._blocks)[-1]
        return self._network.output.log_probabilities(last.hidden).cpu()

    def _forget_after(self, count: int) -> None:
        del self._ids[count:]
        if count < len(self._blocks) * BLOCK:
            self._recent.clear()
            del self._blocks[count // BLOCK :]
        del self._recent[count - len(self._blocks) * BLOCK :]

    def _after(self, ids: Sequence[int], before: Sequence[_After]) -> _After:
        return _After(*read_ids(self._network, ids, before[-1].state if before else None))
