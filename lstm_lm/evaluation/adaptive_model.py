"""A language model that adapts to every text that it is given: words in, words out.

Shapes: B texts, V vocab_size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from lstm_lm.evaluation.adaptation import Adaptation, AdaptiveReader
from lstm_lm.model.language_model import LanguageModel
from lstm_lm.model.prediction import Offer, Prediction
from lstm_lm.model.scoring import WordScore, lines_of, words_of_line


class AdaptiveModel:
    """A model that adapts to the text before the word that it predicts, and to nothing else.

    Every text begins anew: with an empty cache, and with the weights as they were trained. It is
    also a `lstm_lm.probes.asking.NextWordModel`. `lstm_lm.training.run_adaptation.adaptive_model`
    makes one of a run.

    Args:
        model: the model, which is not changed.
        make_reader: makes a reader of a model.

    Attributes:
        model: the same.
        vocabulary: its words.
    """

    def __init__(
        self, model: LanguageModel, make_reader: Callable[[LanguageModel], AdaptiveReader]
    ) -> None:
        self.model, self.vocabulary = model, model.vocabulary
        self._make_reader = make_reader
        self._reader: AdaptiveReader | None = None
        self._exact_reader: AdaptiveReader | None = None

    @property
    def adaptation(self) -> Adaptation:
        """How it adapts."""
        return self._fast().adaptation

    def predict_next(self, text: str, top_k: int = 5, **options: Any) -> list[Prediction]:
        """The most probable next words; arguments are those of `LanguageModel.predict_next`."""
        return self.offer(text, top_k, **options).predictions

    def offer(self, text: str, top_k: int = 5, **options: Any) -> Offer:
        """What `predict_next` returns, and over which words it is normalised."""
        return self.model.offer(
            text, top_k, read=lambda ids: self._read(self._fast(), ids), **options
        )

    def score(self, text: str, *, reset_per_line: bool = False) -> list[WordScore]:
        """The surprisal of every word in bits; see `LanguageModel.score`.

        Args:
            text: one text.
            reset_per_line: every line of it is a text of its own.
        """
        scored = self.iterate_line_scores(lines_of(text), carry=not reset_per_line)
        return [score for line in scored for score in line]

    def iterate_line_scores(
        self, lines: Iterable[str], *, carry: bool, tokenised: bool = False
    ) -> Iterator[list[WordScore]]:
        """Scores lines; arguments are those of `lstm_lm.model.scoring.iterate_line_scores`.

        Args:
            lines: without line ends.
            carry: whether all lines are one text; otherwise none has an effect on another.
            tokenised: whether they are tokenised as the model's corpus was.
        """
        reader = self._exact()
        reader.restart()
        for line in lines:
            words = words_of_line(line, self.vocabulary, tokenised=tokenised)
            ids = self.vocabulary.ids_of(words)
            bits = -reader.read(ids) / math.log(2)
            if not carry:
                reader.restart()
            yield [
                WordScore(word, surprisal, number != self.vocabulary.unk_id)
                for word, number, surprisal in zip(words, ids, bits.tolist(), strict=True)
            ]

    def next_word_log_probabilities(self, texts: Sequence[list[int]]) -> Tensor:
        """Log-probabilities ``(B, V)`` of the word after each of B texts, in nats, float64.

        Args:
            texts: ids; the first of each is ``<eos>``.
        """
        return torch.stack([self._read(self._exact(), ids) for ids in texts])

    def text_log_probabilities(self, texts: Sequence[list[int]]) -> list[float]:
        """The log-probability of each text in nats; its first id is given, an ``<eos>`` ends it."""
        reader, found = self._exact(), []
        for ids in texts:
            reader.restart()
            found.append(float(reader.read([*ids[1:], self.vocabulary.eos_id]).sum()))
        return found

    @staticmethod
    def _read(reader: AdaptiveReader, ids: Sequence[int]) -> Tensor:
        """Log-probabilities ``(V,)`` after a text, whose first id is ``<eos>``."""
        reader.restart()
        reader.read(ids[1:])
        return reader.next_word_log_probabilities()

    def _fast(self) -> AdaptiveReader:
        """A reader in the network's own precision, for predictions."""
        if self._reader is None:
            self._reader = self._make_reader(self.model)
        return self._reader

    def _exact(self) -> AdaptiveReader:
        """A reader in float64, in which all words are scored."""
        if self._exact_reader is None:
            self._exact_reader = self._make_reader(self.model.in_double_precision())
        return self._exact_reader
