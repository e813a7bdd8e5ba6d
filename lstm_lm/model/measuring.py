"""Surprisal, rank and entropy of every word of a line, and a model that learns from what it reads.

All is computed in float64, so that it does not depend on the lines beside it.

Shapes: N words of a line, its line end included.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.corpus.windows import Streams, iterate_spans
from lstm_lm.errors import InputError
from lstm_lm.model.network import Network
from lstm_lm.model.recurrent import LayerStates
from lstm_lm.model.scoring import WINDOW


@dataclass(frozen=True)
class LineMeasures:
    """What is measured at every word of a line.

    Attributes:
        nll: of the word in nats, float64 ``(N,)``.
        entropy: of the distribution that the word was drawn from, in nats, float64 ``(N,)``.
        rank: how many words of the vocabulary are at least as probable, itself included, int64
            ``(N,)``.
    """

    nll: np.ndarray
    entropy: np.ndarray
    rank: np.ndarray


class LineReader:
    """Reads lines one after the other and measures every word.

    Args:
        network: in any mode; a copy in float64 is used.
        vocabulary: its words.
        carry: whether a line starts from the state after the line before it, or from a zero state.
        adapt: the learning rate with which the copy learns from every line after it was measured:
            one step of plain gradient descent on the line's mean nll, line end included. 0: it
            does not learn.

    Source: adaptation as in van Schijndel and Linzen 2018 (arXiv 1808.09930). Differs from it: the
    norm of the gradient is not limited.
    """

    def __init__(
        self, network: Network, vocabulary: Vocabulary, *, carry: bool, adapt: float = 0.0
    ) -> None:
        with torch.inference_mode(False):  # what learns must not be made in the caller's
            own = network.in_double_precision()
            if adapt:
                own = (copy.deepcopy(own) if own is network else own).requires_grad_(True)
        self._network = own
        self._eos_id, self._unk_id = vocabulary.eos_id, vocabulary.unk_id
        self._carry, self._adapt = carry, adapt
        self._state: LayerStates | None = None
        self._lines = 0

    @torch.inference_mode(False)  # or what it reads could not be learned from
    def read(self, ids: Sequence[int]) -> LineMeasures:
        """Measures a line, and learns from it if that was asked for.

        Args:
            ids: of its words, with the line end.

        Raises:
            InputError: the adapted model is not finite any more.
        """
        state = before = self._state if self._carry else None
        found: list[tuple[Tensor, Tensor, Tensor]] = []
        windows = list(self._windows(ids))
        for inputs, targets in windows:
            with torch.inference_mode(not self._adapt), torch.no_grad():
                hidden, state = self._network.hidden(inputs, state)
                measures = self._network.output.token_measures(
                    hidden.squeeze(1), targets.squeeze(1), self._unk_id, entropy=True
                )
            assert measures.entropy is not None
            found.append((measures.nll, measures.entropy, measures.rank))
        nll, entropy, rank = (torch.cat(parts).cpu().numpy() for parts in zip(*found, strict=True))
        if self._adapt:
            if not (np.isfinite(nll).all() and np.isfinite(entropy).all()):
                raise InputError(
                    f"--adapt: found {self._adapt:g}; with this learning rate the model is not "
                    f"finite after line {self._lines}; give a smaller one"
                )
            self._learn(windows, before, len(ids))
        self._lines += 1
        self._state = state
        return LineMeasures(nll, entropy, rank)

    def _windows(self, ids: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
        """Inputs and targets ``(T, 1)`` of a line, in pieces that need little memory."""
        stream, device = Streams(ids, 1, self._eos_id), self._network.device
        windows = (stream.window(*span) for span in iterate_spans(stream.length, WINDOW))
        return [(inputs.to(device), targets.to(device)) for inputs, targets in windows]

    @torch.enable_grad()
    def _learn(
        self, windows: list[tuple[Tensor, Tensor]], state: LayerStates | None, count: int
    ) -> None:
        """Takes one step down the gradient of a line's mean nll."""
        network = self._network
        state = network.initial_state() if state is None else state
        for inputs, targets in windows:
            loss, state = network.loss(inputs, targets, state)
            (loss / count).backward()
            state = [layer.detach() for layer in state]
        with torch.no_grad():
            for parameter in network.parameters():
                if parameter.grad is not None:
                    parameter.sub_(self._adapt * parameter.grad)
                    parameter.grad = None
