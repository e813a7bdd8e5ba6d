"""Sums the gradients of a network over all ranks, while the backward pass still runs.

Dense gradients travel in buckets, a layer or so each. The backward pass comes to the output layer
first and to the word vectors last; a bucket is sent as soon as its last gradient is there. All
ranks send the buckets in the same order.

Sparse gradients, those of word vectors, are summed after it: the ranks tell each other which rows
they have, and sum only the rows that any of them has.

Shapes: V vocab_size, E embedding_dim, R rows of one rank, U rows of any rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lstm_lm.model.network import Network
from lstm_lm.model.output import SampledOutput

BUCKET_NUMBERS = 2**18
"""Numbers after which a bucket is closed: 1 MB. A message of a layer that is smaller would mostly
wait."""


@dataclass
class _Bucket:
    """Parameters whose gradients travel together, in the order of the backward pass."""

    parameters: list[nn.Parameter]
    waits_for: int = 0  # gradients that are not there yet
    numbers: Tensor | None = None
    work: dist.Work | None = None

    def send(self) -> None:
        """Sends the gradients; behind them, for each whether there is one."""
        gradients = [parameter.grad for parameter in self.parameters]
        self.numbers = torch.cat(
            [
                *(
                    parameter.new_zeros(parameter.numel())
                    if gradient is None
                    else gradient.reshape(-1)
                    for parameter, gradient in zip(self.parameters, gradients, strict=True)
                ),
                self.parameters[0].new_tensor([gradient is not None for gradient in gradients]),
            ]
        )
        self.work = dist.all_reduce(self.numbers, async_op=True)

    def receive(self) -> None:
        """Waits for the sums, and makes them the gradients."""
        assert self.work is not None and self.numbers is not None, "it was sent"
        self.work.wait()
        sizes = [parameter.numel() for parameter in self.parameters]
        *sums, has_gradient = self.numbers.split([*sizes, len(sizes)])
        for parameter, total, ranks in zip(
            self.parameters, sums, has_gradient.tolist(), strict=True
        ):
            parameter.grad = total.view_as(parameter) if ranks else None
        self.numbers = self.work = None


class GradientSums:
    """The sums of a network's gradients over all ranks.

    At each update: `begin` before the last backward pass, then `send_rest`, `row_counts` and
    `finish`.

    Args:
        network: as it is trained: it is known which of its word vectors have sparse gradients.
    """

    def __init__(self, network: Network) -> None:
        self._sparse = sparse_parameters(network)
        self._buckets: list[_Bucket] = []
        self._bucket_of: dict[nn.Parameter, _Bucket] = {}
        sparse = set(self._sparse)
        self._fill([parameter for parameter in network.parameters() if parameter not in sparse])
        self._sent, self._is_last = 0, False

    def _fill(self, parameters: list[nn.Parameter]) -> None:
        """Divides parameters among buckets, the last one first, as the backward pass comes."""
        numbers = BUCKET_NUMBERS
        for parameter in reversed(parameters):
            if numbers >= BUCKET_NUMBERS:
                self._buckets.append(_Bucket([]))
                numbers = 0
            self._buckets[-1].parameters.append(parameter)
            self._bucket_of[parameter] = self._buckets[-1]
            numbers += parameter.numel()
            parameter.register_post_accumulate_grad_hook(self._arrived)

    def begin(self) -> None:
        """Makes the next backward pass the last one of the update."""
        self._sent, self._is_last = 0, True
        for bucket in self._buckets:
            bucket.waits_for = len(bucket.parameters)

    def _arrived(self, parameter: Tensor) -> None:
        """Notes a gradient; sends the buckets that are complete, in their order."""
        if not self._is_last:
            return
        assert isinstance(parameter, nn.Parameter)
        self._bucket_of[parameter].waits_for -= 1
        while self._sent < len(self._buckets) and not self._buckets[self._sent].waits_for:
            self._send_next()

    def _send_next(self) -> None:
        self._buckets[self._sent].send()
        self._sent += 1

    def send_rest(self) -> None:
        """Sends what the backward pass left: parameters that it did not come to."""
        self._is_last = False
        while self._sent < len(self._buckets):
            self._send_next()

    def row_counts(self) -> list[int]:
        """Returns how many rows each sparse gradient of this rank has, each row counted once."""
        for parameter in self._sparse:
            assert parameter.grad is not None, "every window has words"
            parameter.grad = parameter.grad.coalesce()
        return [parameter.grad._nnz() for parameter in self._sparse if parameter.grad is not None]

    def finish(self, row_counts: Sequence[Sequence[int]]) -> None:
        """Sums the sparse gradients and waits for the dense ones: all are then those of all ranks.

        Args:
            row_counts: what `row_counts` returned, of every rank.
        """
        for number, parameter in enumerate(self._sparse):
            _sum_rows(parameter, [counts[number] for counts in row_counts])
        for bucket in self._buckets:
            bucket.receive()


def sparse_parameters(network: Network) -> list[nn.Parameter]:
    """Returns the word vectors whose gradients are sparse; a tied matrix is there once."""
    embedding, output = network.embedding, network.output
    sparse: dict[nn.Parameter, None] = {}
    if isinstance(embedding, nn.Embedding) and embedding.sparse:
        # of a tied matrix, the output layer's part of the gradient may be dense
        if not network.config.tie_weights or getattr(output, "sparse", False):
            sparse[cast(nn.Parameter, embedding.weight)] = None
    if isinstance(output, SampledOutput) and output.sparse:
        sparse[output.weight] = None
    return list(sparse)


def _sum_rows(parameter: nn.Parameter, counts: list[int]) -> None:
    """Sums a sparse gradient ``(V, E)`` over all ranks.

    Args:
        parameter: it has a coalesced gradient.
        counts: R of every rank.
    """
    gradient = parameter.grad
    assert gradient is not None
    rows = gradient.indices()[0]  # (R,)
    padded = rows.new_zeros(max(counts))
    padded[: len(rows)] = rows
    of_all = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(of_all, padded)
    union = torch.cat(
        [found[:count] for found, count in zip(of_all, counts, strict=True)]
    ).unique()  # (U,)
    sums = gradient.values().new_zeros(len(union), *parameter.shape[1:])  # (U, E)
    sums[torch.searchsorted(union, rows)] = gradient.values()
    dist.all_reduce(sums)
    parameter.grad = torch.sparse_coo_tensor(
        union.unsqueeze(0), sums, parameter.shape, is_coalesced=True, check_invariants=False
    )
