"""List the encoded corpora that are kept on disk, or remove them.

lstm-lm cache
lstm-lm cache --clean --older-than 30

Splitting a corpus into words and encoding it takes time, so the results are kept: its vocabulary,
and the ids of the words of every split or file. A corpus that is needed again after it was removed
is encoded again.
"""

from __future__ import annotations

import argparse
import time
from datetime import datetime
from pathlib import Path

from lstm_lm.cli.options import add_json
from lstm_lm.cli.tables import print_json, print_table, shown_bytes
from lstm_lm.errors import InputError
from lstm_lm.printing import print_line

SECONDS_PER_DAY = 24 * 3600


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("--clean", action="store_true", help="remove what is listed")
    parser.add_argument(
        "--older-than",
        type=float,
        metavar="DAYS",
        help="only what was not used for so many days (default: everything)",
    )
    parser.add_argument(
        "--dir",
        type=Path,
        metavar="PATH",
        help="the folder, as in corpus.cache_dir (default: $LSTM_LM_CACHE, or ~/.cache/lstm_lm)",
    )
    add_json(parser, "one JSON object")


def run(args: argparse.Namespace) -> int:
    """Lists the entries, or removes them."""
    from lstm_lm.files.cache import cache_folder, list_entries, remove_entries

    if args.older_than is not None and not args.older_than >= 0:
        raise InputError(f"--older-than: found {args.older_than:g}, must be at least 0 days")
    folder = cache_folder(args.dir)
    entries = list_entries(folder)
    if args.older_than is not None:
        oldest_kept = time.time() - args.older_than * SECONDS_PER_DAY
        entries = [entry for entry in entries if entry.last_used < oldest_kept]
    if args.clean:
        remove_entries(entries)
    total = sum(entry.bytes for entry in entries)
    if args.json:
        listed = [
            {
                "kind": entry.kind,
                "bytes": entry.bytes,
                "last_used": _time_of(entry.last_used).isoformat(),
                "path": str(entry.path),
            }
            for entry in entries
        ]
        print_json({"cache": str(folder), "bytes": total, "removed": args.clean, "entries": listed})
        return 0
    if args.clean:
        print_line(f"{folder}: removed {len(entries):,} encoded corpora, {shown_bytes(total)}")
        return 0
    if entries:
        rows = [("kind", "size", "last used", "")]
        for entry in entries:
            used = f"{_time_of(entry.last_used):%Y-%m-%d %H:%M}"
            rows.append((entry.kind, shown_bytes(entry.bytes), used, str(entry.path)))
        print_table(rows)
    print_line(f"{folder}: {len(entries):,} encoded corpora, {shown_bytes(total)}")
    return 0


def _time_of(seconds: float) -> datetime:
    """A Unix time as local time, to the second."""
    return datetime.fromtimestamp(int(seconds)).astimezone()
