"""Other programs and a model trained here: what each needs, one module each.

Every module is imported only when it is asked for. Most need an extra of their own, such as ``pip
install "lstm_lm[onnx]"``.
"""

from __future__ import annotations

from lstm_lm.errors import UserError


class MissingExtra(UserError):
    """A package is missing that an extra of `lstm_lm` installs."""

    def __init__(self, package: str, extra: str, what: str) -> None:
        super().__init__(
            f"{what} needs the package {package}, which is not installed; "
            f'run: pip install "lstm_lm[{extra}]"'
        )
