"""What happens inside the model while it reads: every gate at every word, and what the prediction hangs on.

Shapes: T words read, E embedding_dim, H hidden_size of a layer, V vocab_size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from lstm_lm.cells import LSTMState
from lstm_lm.errors import InputError
from lstm_lm.model.scoring import read_ids, read_prompt

if TYPE_CHECKING:
    from lstm_lm.model.language_model import LanguageModel


@dataclass(frozen=True)
class LayerTrace:
    """One layer of cells, word by word. Tensors are on the CPU, in the model's dtype, without a graph.

    Attributes:
        gates: gate name to its activations ``(T, H)``: gates in (0, 1), the candidate in (-1, 1).
        h: hidden state ``(T + 1, H)``: row t is the one before word t, row t + 1 the one after it.
        c: cell state ``(T + 1, H)``, likewise. In a GRU and an Elman cell it is `h`.
        keep_gate: the name of the gate that multiplies the old memory, or None where there is none.
        c_gradient: ``|d log p(target) / d c_t|`` of the cell state after word t, ``(T,)``, in nats per unit of c.
    """

    gates: dict[str, Tensor]
    h: Tensor
    c: Tensor
    keep_gate: str | None
    c_gradient: Tensor


@dataclass(frozen=True)
class Trace:
    """A text, read; see `trace_text`.

    Attributes:
        words: the T words as the model reads them; the first is the ``<eos>`` before the text, unless `start` > 0.
        known: whether the vocabulary has them; ``<unk>`` was read for those it has not.
        start: how many words were read before the first of these.
        layers: one `LayerTrace` per layer, the lowest first.
        log_probabilities: of the word after each, ``(T, V)``, in nats.
        target: the word whose probability after the last word is differentiated.
        target_log_probability: its log-probability there, in nats.
        word_gradient: ``|d log p(target) / d x_t|`` of the vector that word t enters the stack as, ``(T,)``.
    """

    words: list[str]
    known: list[bool]
    start: int
    layers: list[LayerTrace]
    log_probabilities: Tensor
    target: str
    target_log_probability: float
    word_gradient: Tensor


def trace_text(
    model: LanguageModel, text: str, target: str | None = None, *, last: int | None = None
) -> Trace:
    """Reads a text one word at a time through the readable cells, and keeps what it sees.

    The gradients say what the prediction hangs on: how much ``log p(target)`` after the last word changes with each
    earlier word, and with each earlier cell state, whatever way the change then takes.

    Args:
        model: in evaluation mode.
        text: as a person types it; an ``<eos>`` is read before it and for every line end in it.
        target: one word of the vocabulary; None for the most probable next word.
        last: keep only so many of the last words (at least 1); those before them are read, but not looked at.

    Raises:
        InputError: if ``target`` is not one word of the vocabulary, or ``last`` is less than 1.

    Source: gradients of the cell state as the LSTM's reason to be, Hochreiter and Schmidhuber 1997.
    """
    if last is not None and last < 1:
        raise InputError(f"last: found {last}, must be at least 1")
    target_id = None if target is None else find_target(model, target)
    words, ids = _words_of(model, text), read_prompt(model.vocabulary, text)
    start = 0 if last is None else max(0, len(ids) - last)
    tokens = torch.tensor(ids, device=model.device).unsqueeze(1)  # (T, 1)
    state = model.initial_state()
    if start:
        _, state = read_ids(model, ids[:start], state)
    with torch.no_grad():
        embedded = model.embed(tokens[start:])  # (T, 1, E)
    with torch.enable_grad():
        embedded.requires_grad_()
        inputs, steps = embedded, []
        read = []  # what each layer reads (T, E)
        for cell, before in zip(model.recurrent.cells, state, strict=True):
            steps.append(_step(cell, inputs, before))
            read.append(inputs.detach().squeeze(1))
            inputs = torch.stack([after.h for after in steps[-1][1:]])  # (T, 1, H)
        outputs = model.output.log_probabilities(model.projection(model.norm(inputs))).squeeze(
            1
        )  # (T, V)
        if target_id is None:
            target_id = model.vocabulary.id(model.most_probable(outputs[-1].detach(), 1)[0].word)
        memories = [after.c for layer in steps for after in layer[1:]]
        by_word, *by_memory = torch.autograd.grad(outputs[-1, target_id], [embedded, *memories])
    slopes = torch.stack([slope.norm() for slope in by_memory]).cpu().split(len(embedded))
    return Trace(
        words[start:],
        [k != model.vocabulary.unk_id for k in ids[start:]],
        start,
        [
            _look(cell, x, layer, slope)
            for cell, x, layer, slope in zip(
                model.recurrent.cells, read, steps, slopes, strict=True
            )
        ],
        outputs.detach().cpu(),
        model.vocabulary.word(target_id),
        float(outputs[-1, target_id].detach()),
        by_word.squeeze(1).norm(dim=-1).cpu(),
    )


def find_target(model: LanguageModel, target: str) -> int:
    """The id of a word that a person typed.

    Raises:
        InputError: if it is not one word, or the vocabulary lacks it.
    """
    exact = model.vocabulary.id(target)
    ids = [exact] if exact is not None else model.vocabulary.encode_text(target)
    if len(ids) != 1:
        raise InputError(f"target: found {target!r}, which is {len(ids)} words; give one")
    if ids[0] == model.vocabulary.unk_id:
        raise InputError(
            f"target: {target!r} is not among the model's {len(model.vocabulary):,} words; choose one "
            "that is in its training text"
        )
    return ids[0]


def _words_of(model: LanguageModel, text: str) -> list[str]:
    """The words behind `read_prompt`'s ids."""
    end = model.vocabulary.word(model.vocabulary.eos_id)
    return [word for line in text.split("\n") for word in (end, *model.vocabulary.split_text(line))]


def _step(cell: nn.Module, inputs: Tensor, before: LSTMState) -> list[LSTMState]:
    """The state before the first word and after each."""
    states = [before]
    for x in inputs:
        states.append(cell(x, states[-1]))
    return states


def _look(
    cell: nn.Module, inputs: Tensor, states: Sequence[LSTMState], slope: Tensor
) -> LayerTrace:
    with torch.no_grad():
        h, c = (torch.cat(part) for part in zip(*states, strict=True))  # (T + 1, H)
        gates = {
            name: activation.cpu() for name, activation in cell.activations(inputs, h[:-1]).items()
        }
    return LayerTrace(gates, h.cpu(), c.cpu(), cell.keep_gate, slope)
