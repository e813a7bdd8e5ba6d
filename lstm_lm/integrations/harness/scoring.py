"""Log-probabilities of many continuations, in batches.

A recurrent network reads a context once, whatever is asked after it: the state after it is all that
is needed. So of the questions of a batch that have the same context, such as the choices of a
multiple-choice question, the context is read once.

Shapes: T time, B batch, N targets of a window, V vocab_size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lstm_lm.corpus.windows import NO_TARGET
from lstm_lm.model.network import Network
from lstm_lm.model.recurrent import LayerStates

BATCH_SIZE = 128  # questions that are scored together
WINDOW_LENGTH = 64  # words of each that are read at a time; limits memory
LARGEST_OUTPUT = 2**23  # log-probabilities that are computed at a time; limits memory


@dataclass(frozen=True)
class Question:
    """A continuation and what is before it, as ids.

    Attributes:
        context: not empty; the first is ``<eos>``.
        words: the continuation; may be empty.
    """

    context: tuple[int, ...]
    words: tuple[int, ...]


@torch.no_grad()
def score(
    network: Network, questions: Sequence[Question], batch_size: int = BATCH_SIZE
) -> list[tuple[float, bool]]:
    """Scores continuations.

    Args:
        network: in evaluation mode. In float64, the results do not depend on the batches.
        questions: any number of them.
        batch_size: how many are scored together.

    Returns:
        For each question the log-probability of its words in nats, and whether each of them is the
        most probable word of the vocabulary, more probable than any other.
    """
    results = [(0.0, True)] * len(questions)

    def size(index: int) -> tuple[int, tuple[int, ...], int]:
        question = questions[index]
        return len(question.context), question.context, len(question.words)

    # the longest first, so that a lack of memory shows at once; equal contexts side by side
    order = sorted(
        (index for index, question in enumerate(questions) if question.words),
        key=size,
        reverse=True,
    )
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        values = _score_batch(network, [questions[index] for index in batch])
        for index, value in zip(batch, values, strict=True):
            results[index] = value
    return results


def _score_batch(network: Network, questions: Sequence[Question]) -> list[tuple[float, bool]]:
    device, filling = network.device, questions[0].context[0]
    state = _states_after(network, [question.context[:-1] for question in questions])
    inputs = _columns(
        [(question.context[-1], *question.words[:-1]) for question in questions], filling
    )
    targets = _columns([question.words for question in questions], NO_TARGET)
    totals = torch.zeros(len(questions), dtype=torch.float64, device=device)
    greedy = torch.ones(len(questions), dtype=torch.bool, device=device)
    for start in range(0, len(inputs), WINDOW_LENGTH):
        window = slice(start, start + WINDOW_LENGTH)
        hidden, state = network.hidden(inputs[window].to(device), state)
        some = targets[window].to(device)
        is_target = some >= 0
        of_question = is_target.nonzero()[:, 1]  # (N,)
        for found, is_first, rows in _iterate_targets(network, hidden[is_target], some[is_target]):
            totals.index_add_(0, of_question[rows], found.double())
            greedy[of_question[rows][~is_first]] = False
    return list(zip(totals.tolist(), greedy.tolist(), strict=True))


def _iterate_targets(
    network: Network, hidden: Tensor, targets: Tensor
) -> Iterator[tuple[Tensor, Tensor, slice]]:
    """Yields the log-probabilities of some of N targets, whether each is first, and which."""
    rows_at_once = max(1, LARGEST_OUTPUT // network.vocab_size)
    for start in range(0, len(targets), rows_at_once):
        rows = slice(start, start + rows_at_once)
        everything = network.output.log_probabilities(hidden[rows])  # (N, V)
        found = everything.gather(1, targets[rows].unsqueeze(1))
        yield found.squeeze(1), (everything >= found).sum(1) == 1, rows


def _states_after(network: Network, texts: Sequence[tuple[int, ...]]) -> LayerStates:
    """The state after each text; the same text is read once. After no words it is zero."""
    places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
    different = list(places)
    longest = max(len(text) for text in different)
    state = network.initial_state(len(different))
    # All texts end together. Before its first word, the state of each is zero.
    padding = torch.tensor([longest - len(text) for text in different])
    filled = [(0,) * (longest - len(text)) + text for text in different]
    inputs = torch.tensor(filled, dtype=torch.int64).T  # (T, B)
    keep = torch.arange(longest).unsqueeze(1) != padding
    for start in range(0, longest, WINDOW_LENGTH):
        window = slice(start, start + WINDOW_LENGTH)
        _, state = network.hidden(
            inputs[window].to(network.device), state, keep[window].to(network.device)
        )
    is_read = torch.tensor([bool(text) for text in different], device=network.device)
    rows = torch.tensor([places[text] for text in texts], device=network.device)
    return [
        type(layer)(
            *(
                torch.where(is_read.unsqueeze(1), part, zero)[rows]
                for part, zero in zip(layer, initial, strict=True)
            )
        )
        for layer, initial in zip(state, network.initial_state(len(different)), strict=True)
    ]


def _columns(texts: Sequence[Sequence[int]], filling: int) -> Tensor:
    """Makes one tensor ``(T, B)`` of texts of different lengths; filling follows each."""
    longest = max(len(text) for text in texts)
    rows = [[*text, *[filling] * (longest - len(text))] for text in texts]
    return torch.tensor(rows, dtype=torch.int64).T
