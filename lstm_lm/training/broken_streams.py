"""Streams of text whose state has been lost to numbers that are not finite. Shapes: B batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lstm_lm.cells import LSTMState


def reset_broken_streams(state: Sequence[LSTMState]) -> list[LSTMState]:
    """Lets streams whose state is not finite begin again from zeros; the others are read on."""
    sound = torch.stack([part.isfinite().all(1) for layer in state for part in layer]).all(0)      # (B,)
    return [LSTMState(*(part.where(sound.unsqueeze(1), 0.0) for part in layer)) for layer in state]
