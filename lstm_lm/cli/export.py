"""Write a model in the form that another program reads.

lstm-lm export runs/quickstart app.onnx --quantize int8
lstm-lm export runs/quickstart page.html
lstm-lm export runs/quickstart my-model --format hf

The ending of the file decides the format. What export made may be made again; anything else that is
there is replaced only with --overwrite.
"""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from lstm_lm.cli.options import add_json, add_model, add_overwrite
from lstm_lm.cli.tables import print_json
from lstm_lm.errors import InputError
from lstm_lm.files.outputs import check_export, check_output, check_regular, marked
from lstm_lm.files.run_files import CARD_FILE
from lstm_lm.printing import print_line, print_note

if TYPE_CHECKING:
    from lstm_lm.files.atomic import Content

# Format: the module of `lstm_lm.integrations` whose function `files` makes it.
FORMATS = {
    "hf": "hf_folder",
    "onnx": "onnx_graph",
    "html": "page",
}
_ENDINGS = {".onnx": "onnx", ".html": "html", ".htm": "html"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    add_model(parser)
    parser.add_argument(
        "target",
        metavar="PATH",
        type=Path,
        help="the file to write, ending in .onnx or .html; with --format hf, a folder",
    )
    parser.add_argument(
        "--format", choices=tuple(FORMATS), help="the format (default: by the ending of PATH)"
    )
    parser.add_argument(
        "--quantize",
        choices=("int8", "float16"),
        help="store weights in fewer bits; onnx: int8; html: int8 (the default) or float16",
    )
    add_overwrite(parser)
    add_json(parser, "one JSON object: the files and their sizes")


def run(args: argparse.Namespace) -> int:
    """Writes the files and says where, and how large they are."""
    kind = args.format or _ENDINGS.get(args.target.suffix.lower())
    if kind is None:
        raise InputError(
            f"{args.target}: its ending says no format; end it in .onnx or .html, or, for a folder "
            "that transformers reads, add --format hf"
        )
    _check_target(kind, args)

    from lstm_lm.files.atomic import make_folder, write_together
    from lstm_lm.model.language_model import LanguageModel

    module = import_module(f"lstm_lm.integrations.{FORMATS[kind]}")
    model = LanguageModel.from_pretrained(args.model)
    files = module.files(model, args.target, args.quantize)
    if kind == "hf":
        _keep_card(files, args)
    else:
        for path in files:  # one may be beside the other
            _check_file(path, args)
    for folder in {path.parent for path in files}:
        make_folder(folder)
    write_together(files)
    sizes = {str(path): path.stat().st_size for path in files}
    if args.json:
        print_json({"format": kind, "files": sizes})
    else:
        for path, size in sizes.items():
            print_line(f"{path}: {size:,} bytes")
    return 0


def _check_target(kind: str, args: argparse.Namespace) -> None:
    """Checks, before the model is loaded, that the file or the folder may be written."""
    if kind == "hf":
        check_export(args.target, overwrite=args.overwrite)
    else:
        _check_file(args.target, args)


def _check_file(path: Path, args: argparse.Namespace) -> None:
    check_output("PATH", path, marked("export"), overwrite=args.overwrite, makes_folder=True)


def _keep_card(files: dict[Path, Content], args: argparse.Namespace) -> None:
    """Leaves out the card of a folder that is made again, which people may have edited."""
    for path in files:
        check_regular("PATH", path)
    card = args.target / CARD_FILE
    if card.exists() and not args.overwrite:
        if card.read_bytes() != str(files.pop(card)).encode():
            print_note(f"note: {card} is kept as it is; --overwrite replaces it")
