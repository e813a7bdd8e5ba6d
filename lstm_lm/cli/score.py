"""Print the surprisal of every word, in bits.

lstm-lm score runs/wikitext2 sentences.txt
echo "I grew up in France." | lstm-lm score runs/quickstart --json
"""

from __future__ import annotations

import argparse
import json

from lstm_lm.cli.texts import LONGEST_WORD, iterate_input_lines, printable

BITS_PER_MARK = 1.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument(
        "model", metavar="RUN_DIR", help="a run directory, or a model's name on the hub"
    )
    parser.add_argument(
        "file", nargs="?", metavar="FILE", help="natural text; default: standard input"
    )
    parser.add_argument(
        "--reset-per-line", action="store_true", help="start every line from a zero state"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object per line of text")


def run(args: argparse.Namespace) -> int:
    """Prints a row per word; an unknown word has a question mark and the surprisal of ``<unk>``."""
    from lstm_lm.model.language_model import LanguageModel
    from lstm_lm.model.scoring import iterate_line_scores

    model = LanguageModel.from_pretrained(args.model)
    for number, scores in enumerate(
        iterate_line_scores(model, iterate_input_lines(args.file), args.reset_per_line), 1
    ):
        total = sum(score.surprisal for score in scores)
        if args.json:
            print(
                json.dumps(
                    {
                        "line": number,
                        "surprisal": total,
                        "words": [
                            {"word": s.word, "surprisal": s.surprisal, "known": s.known}
                            for s in scores
                        ],
                    },
                    ensure_ascii=False,
                )
            )
            continue
        words = [printable(score.word, LONGEST_WORD) for score in scores]
        width = max(map(len, words))
        for score, word in zip(scores, words, strict=True):
            mark = "" if score.known else " ?"
            bar = "▪" * round(score.surprisal / BITS_PER_MARK)
            print(f"{word + mark:<{width + 2}} {score.surprisal:7.2f}  {bar}".rstrip())
        print(f"{'':<{width + 2}} {total:7.2f} bits, {total / len(scores):.2f} a word\n")
    return 0
