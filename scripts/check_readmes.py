"""Checks that the READMEs say what the commands do.

    python scripts/check_readmes.py          reads commands, Python, links, sizes; some seconds
    python scripts/check_readmes.py --run    also executes the code blocks: they train

A ``bash`` block is split into commands. An ``lstm-lm`` command is parsed by the package's own
parser, its configuration is loaded with the overrides given, and files of the repository that it
names must exist. The same is done for commands within a sentence or a table, and for those in the
comments of ``configs/*.yaml``. A ``python`` block must compile. Links must lead to a file, and to
a heading of it.

A block that ``--run`` cannot execute has a comment on the line before it:
``<!-- not run: REASON -->``.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lstm_lm.cli.main import COMMANDS, parse_arguments
from lstm_lm.config import load_config
from lstm_lm.config.settings import CELLS
from lstm_lm.errors import UserError
from lstm_lm.probes.suites import built_in_names
from lstm_lm.training.resolving import TEXT_CONFIG
from lstm_lm.training.sweep_settings import load_sweep

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = (
    "",
    "configs",
    "data",
    "data/probes",
    "lstm_lm",
    "lstm_lm/integrations",
    "scripts",
    "tests",
)
MAX_LINES, MAX_BYTES = 150, 9216  # of the README at the top, which is read in five minutes
# Programs that a command block may use without being checked here.
OTHER_PROGRAMS = {
    "cat",
    "echo",
    "git",
    "head",
    "pip",
    "pip-audit",
    "pre-commit",
    "ruff",
    "torchrun",
}
REPOSITORY_FILE = re.compile(r"^(\./)?(\.ci|configs|data|lstm_lm|scripts|tests)/")
FENCE = re.compile(r"^```(\w*)\s*$")
NOT_RUN = re.compile(r"^<!-- not run: (.+) -->$")
INLINE_COMMAND = re.compile(r"(?<!`)`((?:lstm-lm|python)\s[^`]+)`(?!`)")
PLACEHOLDER = re.compile(r"^([A-Z]+_?[A-Z]+|\.\.\.)$")  # such as RUN_DIR
LINK = re.compile(r"\[[^\]]*\]\(([^()\s]+)\)")


@dataclass(frozen=True)
class Block:
    """One code block.

    Attributes:
        path: the file that holds it.
        line: number of its first line of code; the first line of the file is 1.
        language: what stands behind the three backticks; may be empty.
        text: the code.
        not_run: why ``--run`` leaves it out; None if it does not.
    """

    path: Path
    line: int
    language: str
    text: str
    not_run: str | None = None

    @property
    def place(self) -> str:
        """File and line, for messages."""
        return f"{self.path.relative_to(ROOT).as_posix()}:{self.line}"


def readmes() -> list[Path]:
    """The README of every folder, and CONTRIBUTING.md where there is one."""
    paths = [ROOT / folder / "README.md" for folder in FOLDERS]
    contributing = ROOT / "CONTRIBUTING.md"
    return [*paths, contributing] if contributing.exists() else paths


def code_blocks(path: Path) -> list[Block]:
    """The code blocks of a Markdown file, in order."""
    blocks: list[Block] = []
    lines = path.read_text(encoding="utf-8").splitlines()
    language, start = None, 0
    for index, line in enumerate(lines):
        fence = FENCE.match(line)
        if fence and language is None:
            language, start = fence[1], index + 1
        elif fence:
            marker = NOT_RUN.match(lines[start - 2]) if start >= 2 else None
            code = "\n".join(lines[start:index]) + "\n"
            blocks.append(Block(path, start + 1, language, code, marker[1] if marker else None))
            language = None
    return blocks


def inline_commands(path: Path) -> list[Block]:
    """The commands between single backticks, one block each; without those with a placeholder."""
    text = path.read_text(encoding="utf-8")
    for block in code_blocks(path):  # blank, so that the lines keep their numbers
        text = text.replace(block.text, "\n" * block.text.count("\n"))
    blocks = []
    for found in INLINE_COMMAND.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        command = " ".join(found[1].split())
        if not any(PLACEHOLDER.match(word) for word in command.split()):
            blocks.append(Block(path, line, "bash", command + "\n"))
    return blocks


def yaml_commands(path: Path) -> Block:
    """The commands in the comments of a configuration file, as one block."""
    comment = re.compile(r"^#\s{2,}(.*)$")
    kept, inside = [], False
    for line in path.read_text(encoding="utf-8").splitlines():
        found = comment.match(line)
        text = found[1] if found else ""
        inside = text.startswith("lstm-lm ") or (inside and kept[-1].endswith("\\"))
        kept.append(text if inside else "")
    return Block(path, 1, "bash", "\n".join(kept) + "\n")


def shell_commands(block: Block) -> Iterator[tuple[int, list[str]]]:
    """Splits a block into its commands.

    Yields:
        The line of the file, and the words of one command: without the files of ``<`` and ``>``,
        without assignments such as ``NAME=value`` before it, and without its comment.
    """
    number, pending = block.line, ""
    for offset, line in enumerate(block.text.splitlines()):
        pending += line.removesuffix("\\")
        if line.endswith("\\"):
            continue
        for words in _split_line(pending):
            yield number, words
        pending, number = "", block.line + offset + 1


def _split_line(line: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars="<>|&;")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    words: list[str] = []
    redirected = False
    for word in lexer:
        if set(word) <= set("<>"):
            redirected = True
        elif set(word) <= set("|&;"):
            if words:
                yield words
            words = []
        elif redirected:
            redirected = False
        elif words or not re.match(r"^\w+=", word):
            words.append(word)
    if words:
        yield words


def check_command(words: Sequence[str]) -> list[str]:
    """Checks one command of a shell.

    Returns:
        What is wrong with it, one line each; empty if nothing is.
    """
    problems = [
        f"{path}: no such file in the repository"
        for word in words
        for path in [word.rpartition("=")[2]]
        if REPOSITORY_FILE.match(path) and not (ROOT / path).exists()
    ]
    if words[0] == "lstm-lm":
        return problems + _check_lstm_lm(words[1:])
    if words[0] == "python":
        return problems + _check_python_command(words[1:])
    if words[0] == "torchrun" and "lstm_lm" in words:  # torchrun OPTIONS -m lstm_lm COMMAND
        return problems + _check_lstm_lm(words[words.index("lstm_lm") + 1 :])
    if words[0] not in OTHER_PROGRAMS and not (ROOT / words[0]).is_file():
        problems.append(f"{words[0]}: unknown program; add it to OTHER_PROGRAMS if it is right")
    return problems


def _check_lstm_lm(words: Sequence[str]) -> list[str]:
    if len(words) == 1 and words[0] in COMMANDS:
        return []  # a sentence names the command
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint), contextlib.redirect_stdout(io.StringIO()):
            args = parse_arguments(words)
    except UserError as error:
        return [str(error)]
    except SystemExit as left:  # argparse prints its message and leaves; --help leaves with 0
        return [complaint.getvalue().strip().splitlines()[-1]] if left.code else []
    problems = []
    if args.command == "sweep":
        problems += _check_sweep(args)
    elif config := getattr(args, "config", None):
        start = getattr(args, "init_from", None)
        started = [f"training.init_from={start}"] if start else []
        overrides = [*(getattr(args, "overrides", None) or []), *started]
        problems += _check_config(str(config), overrides)
    known = {*built_in_names(), "biographies"}
    for suite in getattr(args, "suites", None) or []:
        if suite not in known and Path(suite).suffix not in {".tsv", ".jsonl", ".txt"}:
            problems.append(f"{suite}: is not a built-in suite, nor a .tsv, .jsonl or .txt file")
    return problems


def _check_sweep(args: argparse.Namespace) -> list[str]:
    """Loads a configuration of the repository once for every combination of values."""
    try:
        load_sweep(args.config, args.overrides, search=args.search is not None)
    except UserError as error:
        return str(error).splitlines()
    return []


def _check_config(name: str, overrides: Sequence[str]) -> list[str]:
    """Loads a configuration of the repository, by path or by name. A run directory has its own."""
    if name.startswith("runs/"):
        return []
    if name.endswith(".txt"):
        name = TEXT_CONFIG
    path = ROOT / name if name.endswith(".yaml") else ROOT / "configs" / f"{name}.yaml"
    if not path.is_file():
        return [] if REPOSITORY_FILE.match(name) else [f"{name}: no such configuration"]
    shared = [override for override in overrides if override.partition(".")[0] not in CELLS]
    problems = []
    for cell in ("", *CELLS):  # `lstm-lm compare` also takes CELL.section.key=value
        prefix = f"{cell}."
        own = [text.removeprefix(prefix) for text in overrides if text.startswith(prefix)]
        if own or not cell:
            try:
                load_config(path, [*shared, *own])
            except UserError as error:
                problems += str(error).splitlines()
    return problems


def _check_python_command(words: Sequence[str]) -> list[str]:
    """Checks ``python FILE ...`` and ``python -m MODULE ...``: the source must hold the options."""
    if words[0] == "-m":
        name, options = words[1], words[2:]
        if name.split(".")[0] not in {"tests", "lstm_lm"}:
            return []  # a program of somebody else, such as pytest
        if name == "lstm_lm.integrations.lm_eval":
            return []  # hands its options over to such a program
        module = ROOT / name.replace(".", "/")
        path = module / "__main__.py" if module.is_dir() else module.with_suffix(".py")
    else:
        path, options = ROOT / words[0], words[1:]
    if not path.is_file():
        return [f"{' '.join(words)}: no such script"]
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    texts = {node.value for node in nodes if isinstance(node, ast.Constant)}
    return [
        f"{path.relative_to(ROOT).as_posix()}: has no option {word}"
        for word in options
        if word.startswith("--") and word.partition("=")[0] not in texts
    ]


def check_block(block: Block) -> list[str]:
    """Checks one code block; returns what is wrong, one line each, with its place."""
    if block.language == "python":
        try:
            compile(block.text, block.place, "exec")
        except SyntaxError as error:
            return [f"{block.place}: {error}"]
    if block.language != "bash":
        return []
    name = block.path.relative_to(ROOT).as_posix()
    return [
        f"{name}:{line}: {shlex.join(words)}\n    {problem}"
        for line, words in shell_commands(block)
        for problem in check_command(words)
    ]


def headings(path: Path) -> set[str]:
    """The anchors that a Markdown page gives to its headings."""
    found, inside = set(), False
    for line in path.read_text(encoding="utf-8").splitlines():
        inside ^= bool(FENCE.match(line))
        if not inside and line.startswith("#"):
            title = line.lstrip("#").strip().lower()
            found.add(re.sub(r"[^\w\- ]", "", title).replace(" ", "-"))
    return found


def check_links(path: Path) -> list[str]:
    """Checks links and pictures of the repository; returns what is wrong, one line each."""
    problems = []
    name = path.relative_to(ROOT).as_posix()
    for target in LINK.findall(path.read_text(encoding="utf-8")):
        if re.match(r"^[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        place = path.parent / file if file else path
        if not place.exists():
            problems.append(f"{name}: link to {target}: no such file")
        elif anchor and place.suffix == ".md" and anchor not in headings(place):
            problems.append(f"{name}: link to {target}: no such heading")
    return problems


def check_size() -> list[str]:
    """Checks that the README at the top is short; returns what is wrong, one line each."""
    content = (ROOT / "README.md").read_bytes()
    lines = len(content.splitlines())
    problems = []
    if lines > MAX_LINES:
        problems.append(f"README.md: has {lines} lines, must have at most {MAX_LINES}")
    if len(content) > MAX_BYTES:
        problems.append(f"README.md: has {len(content)} bytes, must have at most {MAX_BYTES}")
    return problems


def check_all() -> list[str]:
    """Every check that executes nothing; returns what is wrong, one line each."""
    problems = check_size()
    for path in readmes():
        problems += check_links(path)
        for block in [*code_blocks(path), *inline_commands(path)]:
            problems += check_block(block)
    for path in sorted((ROOT / "configs").glob("*.yaml")):
        problems += check_block(yaml_commands(path))
    return problems


def without_pip(block: Block) -> str:
    """The text of a block without ``pip install ... &&``: the present environment is tested."""
    return re.sub(r"^pip install [^&\n]*(&& )?", "", block.text, flags=re.MULTILINE)


def run_all() -> list[str]:
    """Executes the blocks in a folder that links to the repository; returns those that failed."""
    failed = []
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    }
    with tempfile.TemporaryDirectory() as folder:
        for entry in ROOT.iterdir():
            if entry.name not in {"runs", ".git"}:
                (Path(folder) / entry.name).symlink_to(entry)
        for block in [block for path in readmes() for block in code_blocks(path)]:
            if block.language not in {"bash", "python"}:
                continue
            if block.not_run:
                print(f"{block.place}: not run: {block.not_run}", flush=True)
                continue
            print(f"{block.place}: running", flush=True)
            if block.language == "bash":
                command = ["bash", "-euo", "pipefail", "-c", without_pip(block)]
            else:
                command = [sys.executable, "-c", block.text]
            if subprocess.run(command, cwd=folder, env=environment).returncode != 0:
                failed.append(f"{block.place}: failed")
    return failed


def main() -> int:
    """Prints what is wrong; returns 1 if anything is."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", action="store_true", help="also execute the code blocks")
    args = parser.parse_args()
    problems = check_all()
    if args.run:
        problems += run_all()
    print("\n".join(problems) or "every README is right")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
