"""How a setting is declared."""

from __future__ import annotations

from dataclasses import field
from typing import Any, NewType

AUTO = "auto"
"""In a file, the value of a setting that is chosen by the size of the text."""


WordCount = NewType("WordCount", int)
"""A number of words; a file may also write it as ``500k`` or ``1M``."""


Numbered = NewType("Numbered", str)
"""One of the choices, such as ``last:0.15``, whose number may be another one.

Without its number, ``last``, it is that choice.
"""


def split_numbered(value: str) -> tuple[str, float | None]:
    """Splits a `Numbered` value: ``last:0.15`` is ``("last", 0.15)``, ``none`` has no number.

    Raises:
        ValueError: what stands after the colon is not a number.
    """
    name, colon, number = value.partition(":")
    return name, float(number) if colon else None


def setting(
    default: Any,
    help: str,
    *,
    when: str | tuple[str, ...] = (),
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    below: float | None = None,
    choices: Any = None,
    by_size: bool = False,
) -> Any:
    """Declares one setting.

    Args:
        default: the value of a configuration that does not give one.
        help: one line: what it is, with its unit.
        when: what gives it an effect, see `lstm_lm.config.effect`: ``"section.key=value"``,
            ``"section.key=value|value"`` or ``"section.key!=value"``; of a tuple, one is enough.
            By default it always has an effect.
        low: smallest allowed value (inclusive).
        high: largest allowed value (inclusive).
        above: lower bound that is itself not allowed.
        below: upper bound that is itself not allowed.
        choices: the allowed values; a dict (the live registry of cells) allows its keys.
        by_size: whether it may be ``auto``: chosen by the size of the text.
    """
    metadata = {
        "help": help,
        "when": (when,) if isinstance(when, str) else when,
        "low": low,
        "high": high,
        "above": above,
        "below": below,
        "choices": choices,
        "by_size": by_size,
    }
    return field(default=default, metadata=metadata)
