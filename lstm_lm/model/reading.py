"""Reading a typed text: its words, its ids, and the network's state after every word.

Shapes: T words read, E embedding_dim, H hidden_size of a layer, V vocab_size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lstm_lm.cells import State, states_over
from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.model.network import Network
from lstm_lm.model.recurrent import LayerStates
from lstm_lm.model.scoring import WINDOW


def prompt_words(vocabulary: Vocabulary, text: str, *, more_follows: bool = False) -> list[str]:
    """The words of a typed text as the network reads them: an ``<eos>`` before every line.

    Args:
        vocabulary: of the model.
        text: what was typed.
        more_follows: whether its last line goes on; see `Vocabulary.split_text`.
    """
    eos = vocabulary.words[vocabulary.eos_id]
    *lines, last = text.split("\n")
    words = [word for line in lines for word in (eos, *vocabulary.split_text(line))]
    return [*words, eos, *vocabulary.split_text(last, more_follows=more_follows)]


def unknown_words(vocabulary: Vocabulary, text: str) -> list[str]:
    """The words of a typed text that the vocabulary does not have, each once, in their order."""
    words = prompt_words(vocabulary, text)
    unk = vocabulary.words[vocabulary.unk_id]
    return list(
        dict.fromkeys(
            word
            for word, number in zip(words, vocabulary.ids_of(words), strict=True)
            if number == vocabulary.unk_id and word != unk
        )
    )


def read_ids(
    network: Network, ids: Sequence[int], state: LayerStates | None = None
) -> tuple[Tensor, LayerStates]:
    """Reads ids without gradients, a window at a time.

    Args:
        network: in evaluation mode.
        ids: at least one.
        state: the state before them; zeros if None.

    Returns:
        The output layer's input after the last id, ``(E,)``, and the state after it.
    """
    assert ids, "nothing to read"
    state = network.initial_state() if state is None else state
    with torch.no_grad():
        for start in range(0, len(ids), WINDOW):
            window = torch.tensor(ids[start : start + WINDOW], device=network.device)
            hidden, state = network.hidden(window.unsqueeze(1), state)
    return hidden[-1, 0], state


def next_word_log_probabilities(network: Network, ids: Sequence[int]) -> Tensor:
    """Log-probabilities ``(V,)`` of the word after ``ids``, in nats, on the CPU."""
    hidden, _ = read_ids(network, ids)
    with torch.no_grad():
        return network.output.log_probabilities(hidden).cpu()


@dataclass(frozen=True)
class Reading:
    """A text, read word by word.

    Attributes:
        words: the T words as the network read them; the first is the ``<eos>`` before the text.
        ids: their ids ``(T,)``; ``<unk>``'s for unknown words.
        states: for every layer, the lowest first, the state after each word: ``states[layer].h`` is
            ``(T, H)``, and so is ``states[layer].c`` of an LSTM. On the CPU, without gradients.
    """

    words: list[str]
    ids: list[int]
    states: list[State]


def read_text(network: Network, vocabulary: Vocabulary, text: str) -> Reading:
    """Reads a typed text and keeps every layer's state after every word.

    Args:
        network: in evaluation mode.
        vocabulary: its words.
        text: natural text; line ends are read as ``<eos>``, and the state is carried over them.
    """
    words = prompt_words(vocabulary, text)
    ids = vocabulary.ids_of(words)
    kept: list[State] = []
    with torch.no_grad():
        outputs = network.embed(torch.tensor(ids, device=network.device).unsqueeze(1))  # (T, 1, E)
        for cell, before in zip(network.recurrent.cells, network.initial_state(), strict=True):
            states = states_over(cell, outputs, before)
            outputs = torch.stack([state[0] for state in states])  # (T, 1, H)
            kept.append(
                type(before)(*(torch.cat(part).cpu() for part in zip(*states, strict=True)))
            )
    return Reading(words, ids, kept)
