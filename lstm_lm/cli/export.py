"""Write a model in the form that another program reads.

lstm-lm export runs/quickstart app.onnx --quantize int8
lstm-lm export runs/quickstart page.html
lstm-lm export runs/quickstart my-model --format hf

The ending of the file decides the format. Nothing that is there is replaced without --overwrite.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path

from lstm_lm.cli.options import add_json, add_model
from lstm_lm.cli.tables import print_json
from lstm_lm.errors import InputError

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
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there")
    add_json(parser, "one JSON object: the files and their sizes")


def run(args: argparse.Namespace) -> int:
    """Writes the files and says where, and how large they are."""
    kind = args.format or _ENDINGS.get(args.target.suffix.lower())
    if kind is None:
        raise InputError(
            f"{args.target}: its ending says no format; end it in .onnx or .html, or, for a folder "
            "that transformers reads, add --format hf"
        )
    _refuse_to_replace([args.target], args.overwrite)

    from lstm_lm.files.atomic import make_folder, write_together
    from lstm_lm.model.language_model import LanguageModel

    module = import_module(f"lstm_lm.integrations.{FORMATS[kind]}")
    model = LanguageModel.from_pretrained(args.model)
    files = module.files(model, args.target, args.quantize)
    if not args.target.is_dir():  # it may have another file beside it
        _refuse_to_replace(files, args.overwrite)
    for folder in {path.parent for path in files}:
        make_folder(folder)
    write_together(files)
    sizes = {str(path): path.stat().st_size for path in files}
    if args.json:
        print_json({"format": kind, "files": sizes})
    else:
        for path, size in sizes.items():
            print(f"{path}: {size:,} bytes")
    return 0


def _refuse_to_replace(paths: Iterable[Path], overwrite: bool) -> None:
    """Refuses to write where something is.

    Raises:
        InputError: one of the paths exists, and ``overwrite`` is not given.
    """
    for path in paths:
        if path.exists() and not overwrite:
            raise InputError(f"{path}: is there already; choose another path, or add --overwrite")
