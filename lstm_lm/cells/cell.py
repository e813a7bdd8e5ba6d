"""What every cell has: sizes, a title, the meaning of its gates, and a zero state.

Shapes: B batch, E input size, H hidden size.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from lstm_lm.cells.fast.window import FusedPass
from lstm_lm.cells.gate import GateLayer, InputLayer
from lstm_lm.cells.state import HiddenState


class Cell(nn.Module):
    """A recurrent cell, called once per word: ``cell(x, state) -> next state``.

    A subclass takes the three arguments below. It has a `GateLayer` per gate as attributes, named
    after the gates, or an `InputLayer` if the gate does not see the state. It implements `forward`
    and `activations` and sets the class attributes. `lstm_lm.cells.register_cell` checks this.

    Args:
        input_size: width E of the input.
        hidden_size: width H of the state.
        memory_words: for how many words new units keep what they hold; the subclass decides what it
            does with it.

    Attributes:
        title: the cell's name in tables and pictures, such as ``LSTM``.
        gate_meanings: gate name -> what its values mean, such as ``1: keep, 0: forget``; one entry
            for every gate that `activations` returns.
        keep_gate: name of the gate that multiplies the old memory; None if there is no such gate.
        own_settings: settings of the section `model` that only this cell has, such as
            ``mogrifier_rounds``; its constructor takes them by name, with defaults.
        state_type: the type of its state; see `lstm_lm.cells.state`.
        fused_pass: the fast way to run the same equations; None runs the cell word by word. A
            subclass does not inherit it, because a subclass may have other equations.
    """

    title: ClassVar[str]
    gate_meanings: ClassVar[Mapping[str, str]]
    keep_gate: ClassVar[str | None] = None
    own_settings: ClassVar[tuple[str, ...]] = ()
    state_type: ClassVar[type[Any]] = HiddenState
    fused_pass: ClassVar[FusedPass | None] = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "fused_pass" not in vars(cls):
            cls.fused_pass = None

    def __init__(self, input_size: int, hidden_size: int, memory_words: int | None = None) -> None:
        super().__init__()
        self.input_size, self.hidden_size = input_size, hidden_size

    def forward(self, x: Tensor, state: Any) -> Any:
        """Reads one word.

        Args:
            x: ``(B, E)``.
            state: the state before the word, a `state_type` of tensors ``(B, H)``.

        Returns:
            The state after the word, of the same type.
        """
        raise NotImplementedError

    def activations(self, x: Tensor, state: Any) -> dict[str, Tensor]:
        """Computes the gates for any number of words at once.

        Args:
            x: ``(..., E)``.
            state: the state before each word, a `state_type` of tensors ``(..., H)``.

        Returns:
            Gate name -> activation ``(..., H)``: a gate is in (0, 1), a candidate in (-1, 1) unless
            the cell says otherwise.
        """
        raise NotImplementedError

    def gates(self) -> dict[str, GateLayer | InputLayer]:
        """Returns the gates' layers by name, in the order in which the constructor made them."""
        return {
            name: part
            for name, part in self.named_children()
            if isinstance(part, GateLayer | InputLayer)
        }

    def zero_state(self, batch_size: int) -> Any:
        """Returns the state before the first word: zeros, with the weights' dtype and device."""
        weight = next(self.parameters())
        return self.state_type(
            *(weight.new_zeros(batch_size, self.hidden_size) for _ in self.state_type._fields)
        )
