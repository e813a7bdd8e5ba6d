"""Files of a run directory that are truncated, changed, missing, or from another run."""

import contextlib
import io
import json
import os
import shutil
import traceback
from collections.abc import Iterator
from pathlib import Path

from lstm_lm.cli.main import main
from tests.torture.ground import Ground, Row

# The commands that read a file, and so must report damage to it; the others must still work.
READERS = {
    "config.json": ("predict", "resume", "evaluate"),
    "tokenizer.json": ("predict", "resume", "evaluate"),
    "model.safetensors": ("predict", "resume", "evaluate"),
    "config.yaml": ("resume", "evaluate"),
    "training_state.safetensors": ("resume",),
    "metrics.jsonl": ("resume",),
    "training_state.previous.safetensors": (),
    "timings.jsonl": (),
    "README.md": (),
    "training_curve.png": (),
}


class Checker:
    """Runs every command on a damaged run directory, in this process.

    Args:
        ground: its run was copied.
        run: the copy.
    """

    def __init__(self, ground: Ground, run: Path) -> None:
        self.run = run
        self.commands = {
            "predict": ["predict", str(run), "Maria has a"],
            "evaluate": ["evaluate", str(run)],
            "resume": ["train", str(ground.config), "--output", str(run), "--resume"],
        }

    def run_command(self, name: str) -> tuple[int, str]:
        """Runs one command; returns its exit status (70 for a traceback) and standard error."""
        err = io.StringIO()
        with (
            contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO())),
            contextlib.redirect_stderr(err),
        ):
            try:
                status = main(self.commands[name])
            except BaseException:
                traceback.print_exc()
                status = 70
        return status, err.getvalue()

    def fault(self, file: str, commands: tuple[str, ...]) -> str:
        """What is wrong with how commands react to damage to a file; empty if nothing is."""
        for command in commands:
            status, err = self.run_command(command)
            names_file = file in err or file == "tokenizer.json" and "config.json" in err
            is_one_line = err.startswith("lstm-lm: error: ") and err.count("\n") == 1
            reads_file = command in READERS[file]
            last_line = (err.splitlines() or ["no message"])[-1]
            if reads_file and not (status == 2 and is_one_line and names_file):
                return f"{file}, {command}: not reported: status {status}, {last_line}"
            if not reads_file and status != 0:
                return f"{file}, {command}: failed: status {status}, {last_line}"
        return ""


def other_run(ground: Ground, setting: str) -> Path:
    """Trains a run that differs from the untouched one in one setting."""
    run = ground.folder / setting
    process = ground.train(run, setting)
    assert process.wait() == 0, process.err
    return run


def damage_files(ground: Ground, cuts: int, flips: int) -> list[Row]:
    """Damages every file of the run, in a process each, to notice crashes of the interpreter."""
    others = [
        other_run(ground, "optimizer.learning_rate=0.011"),
        other_run(ground, "corpus.lowercase=true"),
    ]
    kinds = {
        "truncated": cuts,
        "with a bit flipped": flips,
        "missing": 1,
        "of another run": len(others),
    }
    rows = {
        (kind, bool(read)): Row(
            f"a file {kind}: "
            + (
                "reported in one line by all that read it"
                if read
                else "previous state, timings, card and picture: no effect"
            )
        )
        for kind in kinds
        for read in READERS.values()
    }
    for name, readers in READERS.items():
        for kind, tries in kinds.items():
            results = _in_child(
                ground,
                lambda name=name, kind=kind, tries=tries: list(
                    _try(ground, others, name, kind, tries)
                ),
            )
            for fault in results:
                rows[kind, bool(readers)].note(not fault, fault)
    return [*rows.values(), _mend_each(ground), _damage_several(ground, flips // 5)]


def _in_child(ground: Ground, work: object) -> list[str]:
    answer = ground.folder / "answer.json"
    answer.unlink(missing_ok=True)
    pid = os.fork()
    if pid == 0:
        try:
            os.environ["LSTM_LM_CACHE"] = str(ground.cache)
            answer.write_text(json.dumps(work()))
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    return json.loads(answer.read_text()) if answer.exists() else ["the process died"]


def _try(ground: Ground, others: list[Path], name: str, kind: str, tries: int) -> Iterator[str]:
    """Yields, for every try, what went wrong; an empty text if nothing."""
    whole = (ground.whole / name).read_bytes()
    run = ground.folder / "damaged"
    shutil.rmtree(run, ignore_errors=True)
    shutil.copytree(ground.whole, run)
    checker = Checker(ground, run)
    commands = ("predict", "resume") if READERS[name] else ("resume", "predict")
    places = (
        sorted({len(whole) * k // tries for k in range(tries)})
        if kind == "truncated"
        else range(tries)
    )
    for number, place in enumerate(places):
        if kind == "truncated":
            (run / name).write_bytes(whole[:place])
        elif kind == "with a bit flipped":
            content = bytearray(whole)
            content[ground.draw.randrange(len(whole))] ^= 1 << ground.draw.randrange(8)
            (run / name).write_bytes(content)
        elif kind == "missing":
            (run / name).unlink()
        elif (others[number] / name).read_bytes() != whole:
            (run / name).write_bytes((others[number] / name).read_bytes())
        else:
            continue
        yield checker.fault(
            name, (*commands, "evaluate") if number < 10 or name == "config.yaml" else commands
        )
        for path in ground.whole.iterdir():  # a successful --resume has written
            if not READERS[name] or path.name == name:
                (run / path.name).write_bytes(path.read_bytes())


def _mend_each(ground: Ground) -> Row:
    row = Row("a damaged file, then the command that the error names: equals the untouched run")
    run = ground.folder / "mended"
    for name, readers in READERS.items():
        for content in (b"", b"damaged") if "resume" in readers else ():
            shutil.rmtree(run, ignore_errors=True)
            shutil.copytree(ground.whole, run)
            (run / name).write_bytes(content)
            offered = ground.train(run)
            message = offered.err if offered.refused() else ""
            words = message.partition(": lstm-lm ")[2].split()
            process = ground.start(*words)
            mended = process.wait() == 0 and ground.train(run).wait() == 0
            # a damaged log, and damaged best weights, are lost for good, as the message says
            same = name in ("metrics.jsonl", "model.safetensors") or not ground.differences(run)
            row.note(
                mended and same and "--mend" in words,
                f"{name}: {message} {process.err} {ground.differences(run)}",
            )
    return row


def _damage_several(ground: Ground, tries: int) -> Row:
    row = Row(
        "several files damaged at once, then --resume --mend: resumes, or is refused in one line"
    )
    run = ground.folder / "damaged"
    for _ in range(tries):
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(ground.whole, run)
        names = ground.draw.sample(list(READERS), ground.draw.randint(2, 6))
        for name in names:
            content = bytearray((run / name).read_bytes())
            content[ground.draw.randrange(len(content))] ^= 1 << ground.draw.randrange(8)
            (run / name).write_bytes(
                content[: ground.draw.choice([len(content), ground.draw.randrange(len(content))])]
            )
        process = ground.train(run, "--mend")
        hopeless = {"training_state.safetensors", "training_state.previous.safetensors"} <= set(
            names
        )
        good = (
            process.refused() if hopeless else process.wait() == 0 and ground.train(run).wait() == 0
        )
        row.note(good, f"{names}: {process.err}")
    return row
