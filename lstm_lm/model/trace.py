"""Inside the network while it reads: every gate at every word, and what the prediction depends on.

Shapes: T words read, E embedding_dim, H hidden_size of a layer, V vocab_size.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lstm_lm.cells import Cell, State, states_over
from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.errors import InputError
from lstm_lm.model.network import Network
from lstm_lm.model.reading import prompt_words, read_ids


@dataclass(frozen=True)
class LayerTrace:
    """One layer, word by word. Tensors are on the CPU, in the network's dtype, without gradients.

    Attributes:
        gates: gate name -> its activations ``(T, H)``: gates in (0, 1), the candidate in (-1, 1).
        h: hidden state ``(T + 1, H)``: row t is the state before word t, row t + 1 the one after
            it.
        c: the memory, likewise: the cell state of an LSTM, ``h`` of a GRU and an Elman cell.
        keep_gate: name of the gate that multiplies the old memory; None if there is none.
        c_gradient: ``|d log p(target) / d c_t|`` of the memory after word t, ``(T,)``, in nats per
            unit of c.
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
        words: the T words as the network reads them. The first is the ``<eos>`` before the text,
            unless `start` is above 0.
        known: whether the vocabulary has each word; ``<unk>`` is read for the others.
        start: the number of words read before the first of these.
        layers: one `LayerTrace` per layer, the lowest first.
        log_probabilities: of the word after each word, ``(T, V)``, in nats.
        target: the word whose probability after the last word is differentiated.
        target_log_probability: its log-probability there, in nats.
        word_gradient: ``|d log p(target) / d x_t|`` of the vector of word t, ``(T,)``.
    """

    words: list[str]
    known: list[bool]
    start: int
    layers: list[LayerTrace]
    log_probabilities: Tensor
    target: str
    target_log_probability: float
    word_gradient: Tensor


@torch.inference_mode(False)  # it needs gradients, also where the caller needs none
def trace_text(
    network: Network,
    vocabulary: Vocabulary,
    text: str,
    target: str | None = None,
    *,
    last: int | None = None,
) -> Trace:
    """Reads a text word by word through the readable cells, and keeps every gate and state.

    The gradients show what the prediction depends on: how much ``log p(target)`` after the last
    word changes with each earlier word vector and with each earlier memory.

    Args:
        network: in evaluation mode.
        vocabulary: its words.
        text: typed text; an ``<eos>`` is read before it and for every line end in it.
        target: one word of the vocabulary; None for the most probable next word.
        last: keep only this many of the last words, at least 1; earlier words are read, not kept.

    Raises:
        InputError: ``target`` is not one word of the vocabulary, or ``last`` is less than 1.

    Source: gradients through the cell state, Hochreiter and Schmidhuber 1997.
    """
    if last is not None and last < 1:
        raise InputError(f"last: found {last}, must be at least 1")
    target_id = None if target is None else find_target(vocabulary, target)
    if network.output.bias.is_inference():  # made in inference mode: torch takes no gradient of it
        network = copy.deepcopy(network)
    words = prompt_words(vocabulary, text)
    ids = vocabulary.ids_of(words)
    start = 0 if last is None else max(0, len(ids) - last)
    state = read_ids(network, ids[:start])[1] if start else network.initial_state()
    tokens = torch.tensor(ids[start:], device=network.device).unsqueeze(1)  # (T, 1)
    with torch.no_grad():
        embedded = network.embed(tokens)  # (T, 1, E)
    with torch.enable_grad():
        embedded.requires_grad_()
        inputs, read, states = embedded, [], []
        for cell, before in zip(network.recurrent.cells, state, strict=True):
            read.append(inputs.detach().squeeze(1))  # (T, E)
            states.append([before, *states_over(cell, inputs, before)])
            inputs = torch.stack([after[0] for after in states[-1][1:]])  # (T, 1, H)
        outputs = network.output.log_probabilities(network.projection(network.norm(inputs)))
        outputs = outputs.squeeze(1)  # (T, V)
        if target_id is None:
            target_id = _most_probable(outputs[-1].detach(), vocabulary.unk_id)
        memories = [after[-1] for layer in states for after in layer[1:]]
        by_word, *by_memory = torch.autograd.grad(outputs[-1, target_id], [embedded, *memories])
    slopes = torch.stack([slope.norm() for slope in by_memory]).cpu().split(len(tokens))
    layers = [
        _layer_trace(cell, inputs, layer_states, slope)
        for cell, inputs, layer_states, slope in zip(
            network.recurrent.cells, read, states, slopes, strict=True
        )
    ]
    return Trace(
        words[start:],
        [number != vocabulary.unk_id for number in ids[start:]],
        start,
        layers,
        outputs.detach().cpu(),
        vocabulary.words[target_id],
        float(outputs[-1, target_id].detach()),
        by_word.squeeze(1).norm(dim=-1).cpu(),
    )


def find_target(vocabulary: Vocabulary, target: str) -> int:
    """The id of a typed word.

    Raises:
        InputError: it is not one word, or the vocabulary does not have it.
    """
    exact = vocabulary.id(target)
    ids = [exact] if exact is not None else vocabulary.ids_of(vocabulary.split_text(target))
    if len(ids) != 1:
        raise InputError(f"target: found {target!r}, which is {len(ids)} words; give one")
    if ids[0] == vocabulary.unk_id:
        raise InputError(
            f"target: {target!r} is not among the model's {len(vocabulary):,} words; choose a word "
            "of its training text"
        )
    return ids[0]


def _most_probable(log_probabilities: Tensor, unk_id: int) -> int:
    """The most probable word of ``log_probabilities (V,)`` other than ``<unk>``."""
    first, second = log_probabilities.topk(2).indices.tolist()
    return second if first == unk_id else first


def _layer_trace(cell: Cell, inputs: Tensor, states: Sequence[State], slope: Tensor) -> LayerTrace:
    """Collects a layer from its ``inputs (T, E)`` and its T + 1 states."""
    with torch.no_grad():
        parts = [torch.cat(part) for part in zip(*states, strict=True)]  # (T + 1, H) each
        gates = cell.activations(inputs, cell.state_type(*(part[:-1] for part in parts)))
    return LayerTrace(
        {name: activation.cpu() for name, activation in gates.items()},
        parts[0].cpu(),
        parts[-1].cpu(),
        cell.keep_gate,
        slope,
    )
