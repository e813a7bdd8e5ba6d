"""The mistakes that a user can make, as exceptions.

The message is one line that the user reads: what is wrong, where (dotted key, or file and line),
what was found, what is allowed, and what to do. The command line prints it after
``lstm-lm: error:`` without a traceback and exits with `UserError.exit_status`.
"""

from __future__ import annotations


class UserError(Exception):
    """A mistake that the user can correct. The message is complete without a traceback.

    Attributes:
        exit_status: the exit status of the command line.
    """

    exit_status = 2


class ConfigError(UserError):
    """One or more mistakes in a configuration, one per line; a line begins with the dotted key."""


class CorpusError(UserError):
    """A corpus that cannot be read, or that a model cannot be trained on."""


class RunDirectoryError(UserError):
    """A run directory that is missing, incomplete, damaged, or of another format or model."""


class DamagedRunError(RunDirectoryError):
    """A damaged run directory that ``--resume`` refuses, and that ``--resume --mend`` can continue.

    Args:
        damage: what is damaged.
        remedy: what ``--mend`` would do. It ends the message, after a semicolon.

    Attributes:
        remedy: the same text.
    """

    def __init__(self, damage: str, remedy: str) -> None:
        super().__init__(f"{damage}; {remedy}")
        self.remedy = remedy


class HubError(UserError):
    """The Hugging Face hub cannot be reached, or does not have what was asked for."""


class InputError(UserError):
    """A text, number or option that a command or method cannot use."""


class DiskError(UserError):
    """A file that could not be written. Files that were saved before are unchanged."""


class DivergedError(UserError):
    """The perplexity, a gradient or a weight is not finite. The last good checkpoint is kept."""

    exit_status = 1


class RankError(UserError):
    """Another process of a training on several ended, does not answer, or computes differently."""

    exit_status = 1


class AloneError(UserError):
    """A command that torchrun started in several processes, and that runs in one.

    Args:
        command: its name.
    """

    def __init__(self, command: str) -> None:
        super().__init__(
            f"{command}: runs in one process; start it without torchrun (which is for train)"
        )


class MissingExtra(UserError):
    """A package is missing that an extra of `lstm_lm` installs.

    Args:
        package: its name.
        extra: the extra.
        what: needs it.
    """

    def __init__(self, package: str, extra: str, what: str) -> None:
        super().__init__(
            f"{what} needs the package {package}, which is not installed; "
            f'run: pip install "lstm_lm[{extra}]"'
        )
