"""Put a run's model on the Hugging Face hub, with its model card.

lstm-lm push runs/quickstart anna/quickstart --private
lstm-lm push runs/quickstart anna/quickstart --revision chck_1M

Four files are uploaded: config.json, tokenizer.json, model.safetensors and README.md. What is
needed to resume, the logs and config.yaml stay here. tokenizer.json has all words of the model.
"""

from __future__ import annotations

import argparse

from lstm_lm.cli.options import add_json
from lstm_lm.cli.tables import print_json, shown_bytes
from lstm_lm.printing import print_line, printable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("run", metavar="RUN_DIR", help="a run directory")
    parser.add_argument(
        "name", metavar="NAME", help="of the repository, user/name; it is made if it is missing"
    )
    parser.add_argument(
        "--private", action="store_true", help="make the repository private if it is made"
    )
    parser.add_argument(
        "--revision", metavar="BRANCH", help="the branch, made if it is missing (default: main)"
    )
    parser.add_argument(
        "--token", help="access token (default: $HF_TOKEN, or the login of `hf auth login`)"
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="also replace files in the repository that lstm-lm did not make",
    )
    add_json(parser, "one JSON object: the address, the commit, the files and their sizes")


def run(args: argparse.Namespace) -> int:
    """Uploads, and says what and how large it is."""
    from dataclasses import asdict

    from lstm_lm.training.pushing import push_run

    pushed = push_run(
        args.run,
        args.name,
        private=args.private,
        revision=args.revision,
        token=args.token,
        overwrite=args.overwrite,
    )
    if args.json:
        print_json(asdict(pushed))
        return 0
    total = shown_bytes(sum(pushed.files.values()))
    kind = "private" if pushed.private else "public"
    print_line(
        printable(
            f"{pushed.address} ({kind}, {pushed.revision}): {', '.join(pushed.files)}, {total}"
        )
    )
    return 0
