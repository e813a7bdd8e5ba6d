"""A stack of recurrent layers. Shapes: T time, B batch, E input size, H hidden size of a layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from lstm_lm.cells import Cell, State, find_cell, run_fused, run_readable
from lstm_lm.model.batch_part import BatchPart
from lstm_lm.model.dropout import apply_locked_dropout, check_dropout_rates, draw_recurrent_masks

LayerStates = list[State]  # one state per layer, the lowest first


class RecurrentStack(nn.Module):
    """Layers of one kind of cell; each reads the outputs of the layer below.

    Args:
        cell: name of the cell, such as ``lstm``.
        input_size: width of the lowest layer's input.
        hidden_sizes: width of every layer, the lowest first.
        recurrence: ``fused`` (fast) or ``readable`` (the cell, one word at a time); same function.
        input_dropout: locked dropout below the lowest layer.
        hidden_dropout: locked dropout between layers.
        weight_dropout: dropout on the recurrent matrices.
        memory_words: how long units keep what they store at first; see the cells.
        cell_settings: the cell's own settings, by name; its defaults if None.

    Attributes:
        cells: the layers' cells, the lowest first.
        dropout_share: all rates are multiplied by it, in [0, 1]; see `Network.set_dropout_share`.
    """

    cells: Sequence[Cell]

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
        cell_settings: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        check_dropout_rates(
            input_dropout=input_dropout,
            hidden_dropout=hidden_dropout,
            weight_dropout=weight_dropout,
        )
        cell_type, widths = find_cell(cell), [input_size, *hidden_sizes]
        self.cells = nn.ModuleList(  # type: ignore[assignment]  # of cells only
            cell_type(below, width, memory_words, **(cell_settings or {}))
            for below, width in zip(widths, hidden_sizes, strict=False)
        )
        self.run = run_fused if recurrence == "fused" else run_readable
        self.input_dropout, self.hidden_dropout = input_dropout, hidden_dropout
        self.weight_dropout, self.dropout_share = weight_dropout, 1.0

    def initial_state(self, batch_size: int) -> LayerStates:
        """The state before the first word: zeros ``(B, H)``, one state per layer."""
        return [cell.zero_state(batch_size) for cell in self.cells]

    def forward(
        self,
        inputs: Tensor,
        state: LayerStates,
        keep: Tensor | None = None,
        part: BatchPart | None = None,
    ) -> tuple[Tensor, LayerStates]:
        """Runs all layers over a window.

        Args:
            inputs: ``(T, B, E)``.
            state: the state before the window.
            keep: ``(T, B)``; where it is 0, every layer's state is zero before that word.
            part: which streams of a batch these are, if they are not all.

        Returns:
            The top layer's outputs ``(T, B, H)``, and the state after the last word.
        """
        outputs, last = inputs, []
        for layer, (cell, before) in enumerate(zip(self.cells, state, strict=True)):
            masks = None
            if self.training:
                rate = self.hidden_dropout if layer else self.input_dropout
                outputs = apply_locked_dropout(outputs, rate * self.dropout_share, part)
                masks = draw_recurrent_masks(cell, self.weight_dropout * self.dropout_share)
            outputs, after = self.run(cell, outputs, before, masks, keep)
            last.append(after)
        return outputs, last
