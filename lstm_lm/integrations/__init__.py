"""Other programs and a model trained here: what each needs, one module each.

Every module needs an extra of its own, such as ``pip install "lstm_lm[onnx]"``, and is imported
only when it is asked for.
"""

from __future__ import annotations

from lstm_lm.errors import MissingExtra

__all__ = ["MissingExtra"]
