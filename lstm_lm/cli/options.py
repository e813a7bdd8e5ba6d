"""Arguments that several commands have, so that each means the same in all of them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from lstm_lm.cli.texts import read_word_list
from lstm_lm.config import DEVICES
from lstm_lm.errors import InputError
from lstm_lm.printing import print_note

if TYPE_CHECKING:
    from lstm_lm.evaluation.adaptive_model import AdaptiveModel
    from lstm_lm.model.language_model import LanguageModel


def add_model(parser: argparse.ArgumentParser) -> None:
    """Adds the argument RUN_DIR: the model."""
    parser.add_argument(
        "model",
        metavar="RUN_DIR",
        help="a run directory, or a model on the Hugging Face hub, such as user/model",
    )


def add_device(parser: argparse.ArgumentParser, default: str = "cpu") -> None:
    """Adds ``--device``: where the model runs."""
    parser.add_argument(
        "--device",
        choices=DEVICES,
        default=default,
        help="where the model runs; auto is the first of cuda, mps and cpu that this machine has "
        f"(default: {default})",
    )


def add_training_device(parser: argparse.ArgumentParser) -> None:
    """Adds ``--device``, short for the setting ``training.device``; see `overrides_of`."""
    parser.add_argument("--device", choices=DEVICES, help="short for training.device=...")


def add_json(parser: argparse.ArgumentParser, what: str) -> None:
    """Adds ``--json``.

    Args:
        parser: of the command.
        what: is printed, such as ``one JSON object``.
    """
    parser.add_argument("--json", action="store_true", help=f"for programs: print {what}")


def add_config(parser: argparse.ArgumentParser, overrides: str = "section.key=value") -> None:
    """Adds the arguments CONFIG and ``section.key=value``."""
    parser.add_argument(
        "config",
        metavar="CONFIG",
        help="a run directory, a .yaml file, a text (any other file, a folder or a glob), or the "
        "name of a configuration that comes with lstm-lm, such as quickstart",
    )
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar=overrides,
        help="replaces a setting of CONFIG; `lstm-lm settings` lists all settings",
    )


def overrides_of(args: argparse.Namespace) -> list[str]:
    """The settings on the command line, ``--device`` included."""
    device = [f"training.device={args.device}"] if args.device else []
    return [*args.overrides, *device]


def add_ban(parser: argparse.ArgumentParser, verb: str) -> None:
    """Adds ``--ban``: words that are never printed; see `read_ban`.

    Args:
        parser: of the command.
        verb: what is never done with them.
    """
    parser.add_argument(
        "--ban",
        metavar="PATH",
        help=f"never {verb} the words of this file, one word a line, in upper or lower case",
    )


def read_ban(args: argparse.Namespace) -> Callable[[LanguageModel], list[str]]:
    """Reads the file of ``--ban``, before the model is loaded.

    Returns:
        A function of the model: the words of the file that its vocabulary has, in upper or lower
        case. It prints a note if it has not all of them, and raises an InputError for a line of
        several words.

    Raises:
        CorpusError: the file cannot be read.
    """
    words = [] if args.ban is None else read_word_list("--ban", args.ban)

    def known(model: LanguageModel) -> list[str]:
        from lstm_lm.model.prediction import find_banned

        try:
            has = [word for word in words if find_banned(model.vocabulary, [word])]
        except InputError as error:
            raise InputError(f"--ban {args.ban}: {error}") from error
        if len(has) < len(words):
            print_note(
                f"note: --ban {args.ban}: the model's vocabulary does not have "
                f"{len(words) - len(has):,} of {len(words):,} words"
            )
        return has

    return known


def add_order(parser: argparse.ArgumentParser) -> None:
    """Adds ``--order``, of the n-gram model beside a network; see `check_order`."""
    parser.add_argument(
        "--order",
        type=int,
        metavar="N",
        help="words in the longest n-gram of the n-gram model beside it (default: 5, and none for "
        "a corpus of more than 10 million words); 0: no n-gram model",
    )


def add_fillers(parser: argparse.ArgumentParser) -> None:
    """Adds ``--fillers``: the text that stands between clue and question."""
    parser.add_argument(
        "--fillers",
        default="",
        metavar="TEXT",
        help="also ask every suite with sentences of this text between clue and question, in place "
        "of the suite's own: valid (the run's own valid split), or a text file",
    )


def add_fix(parser: argparse.ArgumentParser, what: str) -> None:
    """Adds ``--fix``: gates that always have the same value.

    Args:
        parser: of the command.
        what: the command does with such a model, such as ``also ask``.
    """
    parser.add_argument(
        "--fix",
        action="append",
        default=[],
        metavar="GATE=VALUE",
        help=f"{what} the model in which this gate always has this value: a number, or mean for "
        "each unit's mean over valid; 0.GATE=VALUE is for layer 0 alone; can be given several "
        "times",
    )


def add_with(parser: argparse._ActionsContainer, what: str) -> None:
    """Adds ``--with``: how the model adapts to the text; see `parse_with`.

    Args:
        parser: of the command.
        what: adapts to what, such as ``to the text``.
    """
    parser.add_argument(
        "--with",
        dest="kinds",
        default="",
        metavar="KINDS",
        help=f"adapt {what}: one or more of cache, dynamic and ngram, such as cache,ngram",
    )


def parse_with(args: argparse.Namespace) -> tuple[str, ...]:
    """The kinds of ``--with``; none if it is not given.

    Raises:
        InputError: there is no such kind, or one is named twice.
    """
    from lstm_lm.evaluation.adaptation import Adaptation

    if not args.kinds:
        return ()
    try:
        return Adaptation.of_kinds([kind.strip() for kind in args.kinds.split(",")]).kinds
    except InputError as error:
        raise InputError(f"--with: {error}") from None


def load_adaptive(
    args: argparse.Namespace, kinds: tuple[str, ...], model: LanguageModel
) -> AdaptiveModel | None:
    """The model as one that adapts as ``--with`` says, after a note; None without ``--with``."""
    if not kinds:
        return None
    from lstm_lm.training.run_adaptation import adaptive_model

    return adaptive_model(args.model, kinds, model, lambda line: print_note(f"note: {line}"))


def check_order(order: int | None, *, zero: bool = True) -> None:
    """Checks ``--order``.

    Args:
        order: None if it is not given.
        zero: whether 0, for no n-gram model, is allowed.

    Raises:
        InputError: no n-gram model can have this order.
    """
    from lstm_lm.evaluation.ngram import LARGEST_ORDER

    if order is None or 1 <= order <= LARGEST_ORDER or (zero and order == 0):
        return
    none = ", or 0 for no n-gram model" if zero else ""
    raise InputError(f"--order: found {order}, must be from 1 to {LARGEST_ORDER}{none}")


def add_overwrite(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Adds ``--overwrite``; see `lstm_lm.files.outputs`."""
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace files that are there, also those that this command did not make",
    )


def check_overwrite(args: argparse.Namespace, *options: str) -> None:
    """Checks that ``--overwrite`` has an effect.

    Args:
        args: of the command.
        options: that name a file to write, such as ``plot``.

    Raises:
        InputError: none of them is given.
    """
    if args.overwrite and not any(getattr(args, option) for option in options):
        names = " or ".join(f"--{option}" for option in options)
        raise InputError(f"--overwrite: has no effect without {names}; add it, or leave it out")


def load_model(args: argparse.Namespace) -> LanguageModel:
    """Loads the model RUN_DIR onto ``--device``.

    Raises:
        RunDirectoryError: the directory is missing or damaged.
        HubError: the hub is out of reach, or has no such model.
        ConfigError: this machine has no such device.
    """
    from lstm_lm.machine import choose_device
    from lstm_lm.model.language_model import LanguageModel

    device = choose_device(args.device, "--device")
    return LanguageModel.from_pretrained(args.model, device)
