"""Files of a run directory cut short, with a bit flipped, missing, or of another run."""

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

# who reads a file, and so must notice; the others must not mind
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


class Judge:
    """Asks a damaged run directory in every way, in this process.

    Args:
        ground: whose run it is a copy of.
        run: the copy.
    """

    def __init__(self, ground: Ground, run: Path) -> None:
        self.run = run
        self.ways = {
            "predict": ["predict", str(run), "Maria has a"],
            "evaluate": ["evaluate", str(run)],
            "resume": ["train", str(ground.config), "--output", str(run), "--resume"],
        }

    def ask(self, way: str) -> tuple[int, str]:
        """Exit status, or 70 for a traceback, and what was said on standard error."""
        err = io.StringIO()
        with (
            contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO())),
            contextlib.redirect_stderr(err),
        ):
            try:
                status = main(self.ways[way])
            except BaseException:
                traceback.print_exc()
                status = 70
        return status, err.getvalue()

    def fault(self, name: str, ways: tuple[str, ...]) -> str:
        """What is wrong with how damage to a file is met; no text if nothing."""
        for way in ways:
            status, said = self.ask(way)
            noticed = (
                status == 2
                and said.startswith("lstm-lm: error: ")
                and said.count("\n") == 1
                and (
                    name in said
                    or name in ("config.json", "tokenizer.json")
                    and "config.json" in said
                )
            )
            if way in READERS[name] and not noticed or way not in READERS[name] and status != 0:
                return f"{name}, {way}: status {status}, {said.splitlines()[-1] if said else 'not a word'}"
        return ""


def other_run(ground: Ground, setting: str) -> Path:
    """A run like the untouched one in all but a setting."""
    run = ground.folder / setting
    process = ground.train(run, setting)
    assert process.wait() == 0, process.err
    return run


def damage_files(ground: Ground, cuts: int, flips: int) -> list[Row]:
    """Every file of the run in turn, in a process of its own: a crash of the interpreter counts as well."""
    others = [
        other_run(ground, "optimizer.learning_rate=0.011"),
        other_run(ground, "corpus.lowercase=true"),
    ]
    kinds = {"truncated": cuts, "a bit flipped": flips, "missing": 1, "of another run": len(others)}
    rows = {
        (kind, bool(read)): Row(
            f"a file {kind}: "
            + (
                "noticed by all that read it, in one sentence"
                if read
                else "previous state, timings, card and picture: no harm"
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
    return [*rows.values(), _go_on_from_older(ground), _damage_several(ground, flips // 5)]


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
    """Yields, for every try, what went wrong."""
    whole = (ground.whole / name).read_bytes()
    run = ground.folder / "hurt"
    shutil.rmtree(run, ignore_errors=True)
    shutil.copytree(ground.whole, run)
    judge = Judge(ground, run)
    ways = ("predict", "resume") if READERS[name] else ("resume", "predict")
    places = (
        sorted({len(whole) * k // tries for k in range(tries)})
        if kind == "truncated"
        else range(tries)
    )
    for number, place in enumerate(places):
        if kind == "truncated":
            (run / name).write_bytes(whole[:place])
        elif kind == "a bit flipped":
            content = bytearray(whole)
            content[ground.draw.randrange(len(whole))] ^= 1 << ground.draw.randrange(8)
            (run / name).write_bytes(content)
        elif kind == "missing":
            (run / name).unlink()
        elif (others[number] / name).read_bytes() != whole:
            (run / name).write_bytes((others[number] / name).read_bytes())
        else:
            continue
        yield judge.fault(
            name, (*ways, "evaluate") if number < 10 or name == "config.yaml" else ways
        )
        for path in ground.whole.iterdir():  # a --resume that did not mind has written
            if not READERS[name] or path.name == name:
                (run / path.name).write_bytes(path.read_bytes())


def _go_on_from_older(ground: Ground) -> Row:
    row = Row(
        "damage to a file, then the command that the error names: the run ends, and as it would have"
    )
    run = ground.folder / "mended"
    for name, readers in READERS.items():
        for content in (b"", b"damaged") if "resume" in readers else ():
            shutil.rmtree(run, ignore_errors=True)
            shutil.copytree(ground.whole, run)
            (run / name).write_bytes(content)
            offered = ground.train(run)
            said = offered.err if offered.refused() else ""
            words = said.partition(": lstm-lm ")[2].split()
            process = ground.start(*words)
            mended = process.wait() == 0 and ground.train(run).wait() == 0
            # what was lost with a damaged log, or damaged best weights, was said, and does not come back
            same = name in ("metrics.jsonl", "model.safetensors") or not ground.differences(run)
            row.note(
                mended and same and "--mend" in words,
                f"{name}: {said} {process.err} {ground.differences(run)}",
            )
    return row


def _damage_several(ground: Ground, tries: int) -> Row:
    row = Row("several files damaged at once, then --resume --mend: goes on, or says why not")
    run = ground.folder / "wrecked"
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
