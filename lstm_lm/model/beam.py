"""Beam search: the most probable continuations.

After each word, only the most probable texts are kept. The search is exact where all texts fit.

Shapes: K texts kept, V vocab_size, E embedding_dim.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch

from lstm_lm.model.network import Network
from lstm_lm.model.reading import read_ids


@dataclass(frozen=True)
class BeamText:
    """A continuation.

    Attributes:
        words: the id of each word, and its log-probability over the whole vocabulary, in nats.
        log_probability: the sum.
    """

    words: tuple[tuple[int, float], ...]
    log_probability: float

    def followed_by(self, number: int, log_probability: float) -> BeamText:
        """This text with one more word."""
        return BeamText(
            (*self.words, (number, log_probability)), self.log_probability + log_probability
        )


@torch.no_grad()
def search_beam(
    network: Network,
    prompt: Sequence[int],
    words: int,
    beam: int,
    *,
    never: Collection[int] = (),
    end_id: int | None = None,
) -> list[BeamText]:
    """Finds the most probable continuations of ``words`` words.

    Args:
        network: in evaluation mode.
        prompt: ids, at least one.
        words: length of the continuations.
        beam: how many texts are kept after each word, K, at least 1. Texts that have ended are
            kept beside them.
        never: ids that are never added. Leaving them out does not raise the probability of others.
        end_id: a text ends after this word, and may then be shorter; None: no text ends early.

    Returns:
        At most K texts, the most probable first.
    """
    ended: list[BeamText] = []
    live = [BeamText((), 0.0)]
    if not words:
        return live
    left_out = torch.tensor(sorted(never), dtype=torch.long)
    hidden, state = read_ids(network, prompt)
    hidden = hidden.unsqueeze(0)  # (K, E)
    for left in reversed(range(words)):
        own = network.output.log_probabilities(hidden).double().cpu()  # (K, V)
        before = own.new_tensor([text.log_probability for text in live])
        totals = (own + before.unsqueeze(1)).index_fill(1, left_out, -torch.inf)
        if end_id is not None and end_id not in never:
            ends = zip(live, own[:, end_id].tolist(), strict=True)
            ended = _best([*ended, *(text.followed_by(end_id, end) for text, end in ends)], beam)
            totals[:, end_id] = -torch.inf
        kept, places = totals.flatten().topk(min(beam, totals.numel()))
        places = places[kept > -torch.inf]
        rows, numbers = places // totals.shape[1], places % totals.shape[1]
        live = [
            live[row].followed_by(number, float(own[row, number]))
            for row, number in zip(rows.tolist(), numbers.tolist(), strict=True)
        ]
        is_full = len(ended) == beam
        if is_full and live and live[0].log_probability <= ended[-1].log_probability:
            break  # a text never becomes more probable by one more word
        if not live or not left:
            break
        parents = rows.to(network.device)
        state = [type(layer)(*(part[parents] for part in layer)) for layer in state]
        outputs, state = network.hidden(numbers.to(network.device).unsqueeze(0), state)
        hidden = outputs[0]
    return _best([*ended, *live], beam)


def _best(texts: Sequence[BeamText], count: int) -> list[BeamText]:
    return sorted(texts, key=lambda text: -text.log_probability)[:count]
