"""What a cell carries from one word to the next.

A state is a named tuple of tensors ``(B, H)``. Its first field is ``h``, the cell's output. Its
last field is the cell's memory: ``c`` in the LSTMs, ``h`` in the other cells. So ``state.h`` and
``state[-1]`` work for every cell.

Shapes: B batch, H hidden size.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol, TypeVar

from torch import Tensor


class State(Protocol):
    """What the states of all cells have in common, for type annotations."""

    @property
    def _fields(self) -> tuple[str, ...]: ...

    @property
    def h(self) -> Tensor:
        """Hidden state ``(B, H)``, the cell's output."""
        ...

    def detach(self) -> State:
        """Returns the same values without the graph that computed them."""
        ...

    def __iter__(self) -> Iterator[Tensor]: ...

    def __getitem__(self, index: int, /) -> Tensor: ...

    def __len__(self) -> int: ...


# For functions that return a state of the type that they were given.
StateT = TypeVar("StateT", bound=State)


class LSTMState(NamedTuple):
    """The state of an LSTM.

    Attributes:
        h: hidden state ``(B, H)``, the output, in (-1, 1).
        c: cell state ``(B, H)``, the memory, unbounded.
    """

    h: Tensor
    c: Tensor

    def detach(self) -> LSTMState:
        """Returns the same values without the graph that computed them.

        Truncated backpropagation through time stops here.
        """
        return LSTMState(self.h.detach(), self.c.detach())


class SLSTMState(NamedTuple):
    """The state of an sLSTM.

    Attributes:
        h: hidden state ``(B, H)``, the output, in (-1, 1).
        m: stabiliser ``(B, H)``: the logarithm by which ``n`` is scaled.
        n: normaliser ``(B, H)``, scaled by ``exp(-m)``: 0 before the first word, at least 1 after
            it.
        c: cell state ``(B, H)``, the memory, in (-1, 1).
    """

    h: Tensor
    m: Tensor
    n: Tensor
    c: Tensor

    def detach(self) -> SLSTMState:
        """Returns the same values without the graph that computed them.

        Truncated backpropagation through time stops here.
        """
        return SLSTMState(*(part.detach() for part in self))


class HiddenState(NamedTuple):
    """The state of a cell whose output is its only memory, such as a GRU or an Elman cell.

    Attributes:
        h: hidden state ``(B, H)``, the output. It is in (-1, 1), except in a minGRU or minLSTM,
            whose candidates have no bounds.
    """

    h: Tensor

    def detach(self) -> HiddenState:
        """Returns the same values without the graph that computed them.

        Truncated backpropagation through time stops here.
        """
        return HiddenState(self.h.detach())


def keep_where(state: StateT, keep: Tensor) -> StateT:
    """Sets a state to zero in some rows of the batch.

    Args:
        state: of any cell.
        keep: ``(B,)``, 1 where the state stays and 0 where it becomes zero; bool or the state's
            dtype.

    Returns:
        The new state, of the same type.
    """
    state_type: Any = type(state)
    return state_type(*(part * keep.unsqueeze(-1) for part in state))
