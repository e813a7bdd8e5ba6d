"""What a user can get wrong, as exceptions whose message is the one line the user reads.

A message says what is wrong, where (dotted key, or file and line), what was found, what is allowed, and what to do
next. The command line prints it after ``lstm-lm: error:`` and exits with `UserError.exit_status`; it never shows a
traceback for one of these.
"""

from __future__ import annotations


class UserError(Exception):
    """A mistake a person can mend; its text is complete in itself.

    Attributes:
        exit_status: the status the command line exits with.
    """

    exit_status = 2


class ConfigError(UserError):
    """One or several mistakes in a configuration, one a line, each beginning with its dotted key."""


class CorpusError(UserError):
    """A corpus that cannot be read, or not be learned from."""


class RunDirectoryError(UserError):
    """A run directory that is missing, incomplete, damaged, of another format or another model."""


class DamagedRunError(RunDirectoryError):
    """A run directory that training cannot simply go on from, but can go on from if some of it is given up.

    Attributes:
        remedy: what ``--mend`` would do, as the end of the sentence.
    """

    def __init__(self, damage: str, remedy: str) -> None:
        super().__init__(f"{damage}; {remedy}")
        self.remedy = remedy


class HubError(UserError):
    """The Hugging Face hub is out of reach, or does not have what was asked for."""


class InputError(UserError):
    """A text, a number or an option, given to a command or a method, that it cannot work with."""


class DiskError(UserError):
    """A file that could not be written; what was saved before it is still whole."""


class DivergedError(UserError):
    """The perplexity, a gradient or a weight is no longer a finite number; the last good checkpoint is kept."""

    exit_status = 1
