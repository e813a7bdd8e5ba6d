"""Cells on top of each other. Shapes: T time, B batch, E input size, H hidden size of a layer."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from lstm_lm.cells import ElmanCell, GRUCell, LSTMCell, LSTMState, run_fused, run_readable
from lstm_lm.cells.gate import zero_state
from lstm_lm.model.dropout import apply_locked_dropout, draw_recurrent_masks, rates_must_be_shares

CELL_TYPES = {"lstm": LSTMCell, "gru": GRUCell, "elman": ElmanCell}


class RecurrentStack(nn.Module):
    """Layers of one kind of cell, each reading the outputs of the one below.

    Args:
        cell: ``lstm``, ``gru`` or ``elman``.
        input_size: width of the lowest layer's input.
        hidden_sizes: width of every layer, the lowest first.
        recurrence: ``fused`` (fast) or ``readable`` (the cell, word after word); the same function either way.
        input_dropout: locked dropout below the lowest layer.
        hidden_dropout: locked dropout between layers.
        weight_dropout: dropout on the recurrent matrices.
        memory_words: how long units keep what they hold at first; see the cells.

    Attributes:
        dropout_share: what all rates are multiplied by, in [0, 1]; see `LanguageModel.set_dropout_share`.
    """

    def __init__(
        self,
        cell: str,
        input_size: int,
        hidden_sizes: Sequence[int],
        *,
        recurrence: str = "fused",
        input_dropout: float = 0.0,
        hidden_dropout: float = 0.0,
        weight_dropout: float = 0.0,
        memory_words: int | None = None,
    ) -> None:
        super().__init__()
        rates_must_be_shares(
            input_dropout=input_dropout,
            hidden_dropout=hidden_dropout,
            weight_dropout=weight_dropout,
        )
        widths = [input_size, *hidden_sizes]
        self.cells = nn.ModuleList(
            CELL_TYPES[cell](below, width, memory_words)
            for below, width in zip(widths, hidden_sizes, strict=False)
        )
        self.run = {"fused": run_fused, "readable": run_readable}[recurrence]
        self.input_dropout, self.hidden_dropout = input_dropout, hidden_dropout
        self.weight_dropout, self.dropout_share = weight_dropout, 1.0

    def initial_state(self, batch_size: int) -> list[LSTMState]:
        """The state before the first word: one `LSTMState` of zeros ``(B, H)`` per layer."""
        return [
            zero_state(batch_size, cell.hidden_size, next(cell.parameters())) for cell in self.cells
        ]

    def forward(
        self, inputs: Tensor, state: Sequence[LSTMState], keep: Tensor | None = None
    ) -> tuple[Tensor, list[LSTMState]]:
        """Runs ``inputs (T, B, E)`` from ``state`` to the top layer's outputs ``(T, B, H)`` and the last state.

        Where ``keep (T, B)`` is given and 0, every layer's state is zero before that word.
        """
        outputs, last = inputs, []
        for layer, (cell, before) in enumerate(zip(self.cells, state, strict=True)):
            if self.training:
                rate = self.hidden_dropout if layer else self.input_dropout
                outputs = apply_locked_dropout(outputs, rate * self.dropout_share)
            masks = (
                draw_recurrent_masks(cell, self.weight_dropout * self.dropout_share)
                if self.training
                else None
            )
            outputs, after = self.run(cell, outputs, before, masks, keep)
            last.append(after)
        return outputs, last
