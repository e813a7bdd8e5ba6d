"""Run directories made to do harm: they run no code, take no memory, and change nothing else."""

import json
import os
import pickle
import re
import resource
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

from safetensors.numpy import load, save

from lstm_lm.files.seal import UNSEALED, digest, sealed
from tests.torture.ground import Ground, Row

MEMORY = 64 * 2**20  # bytes; most that a refusal may take
SECONDS = 10  # CPU time; most that a refusal may take


class Bomb:
    """Unpickling it makes a directory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


def resealed(content: bytes) -> bytes:
    """Corrects the checksum of a changed file."""
    return sealed(
        re.sub(rb'(checksum[\\": ]+)[0-9a-f]{32}', rb"\g<1>" + UNSEALED.encode(), content, count=1)
    )


def reheaded(path: Path, change: Callable[[dict], object]) -> None:
    """Changes a safetensors file's header and corrects its checksum."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(resealed(struct.pack("<Q", len(text)) + text + content[8 + length :]))


def reworded(path: Path, change: Callable[[dict], object]) -> None:
    """Changes a JSON file and corrects its checksum."""
    content = json.loads(path.read_bytes())
    change(content)
    path.write_bytes(resealed(json.dumps(content).encode()))


def recounted(path: Path, **values: object) -> None:
    """Changes a checkpoint's counters."""

    def change(header: dict) -> None:
        ours = json.loads(header["__metadata__"]["lstm_lm"])
        ours["progress"] |= values
        header["__metadata__"]["lstm_lm"] = json.dumps(ours)

    reheaded(path, change)


def retensored(path: Path, change: Callable[[dict], object]) -> None:
    """Changes a safetensors file's tensors and corrects its checksum."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    tensors = load(content)
    change(tensors)
    path.write_bytes(resealed(save(tensors, json.loads(content[8 : 8 + length])["__metadata__"])))


def _claim(header: dict) -> None:
    name = next(name for name in header if name != "__metadata__")
    header[name] |= {"shape": [10**6, 10**6], "data_offsets": [0, 4 * 10**12]}


def _rename(name: str) -> Callable[[dict], object]:
    return lambda header: header.update(
        {name: header.pop(next(n for n in header if n != "__metadata__"))}
    )


def _widen(run: Path, **sizes: int) -> None:
    reworded(run / "config.json", lambda content: content["model"].update(sizes))


def _lengthen(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(4 * 10**12)


def _link(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _replace_words(run: Path, text: bytes) -> None:
    (run / "tokenizer.json").write_bytes(text)
    reworded(run / "config.json", lambda content: content.update(tokenizer=digest(text)))


def _give_object(tensors: dict, name: str, like: object) -> None:
    key = next(key for key in tensors if key.startswith(name))
    tensors[key] = tensors[key].astype(like) if isinstance(like, str) else like(tensors[key])


def attacks(outside: Path) -> dict[str, tuple[str, Callable[[Path], object]]]:
    """Name -> the command that must refuse the run directory, and what is done to the directory."""
    state, weights = "training_state.safetensors", "model.safetensors"
    words = {"model": {"vocab": {"<unk>": 0, "<eos>": 1}}}
    found = {
        "10^12 elements": lambda path: reheaded(path, _claim),
        "a header of 4 GB": lambda path: path.write_bytes(
            struct.pack("<Q", 2**32) + path.read_bytes()[8:]
        ),
        "a header of 2^63 bytes": lambda path: path.write_bytes(
            struct.pack("<Q", 2**63) + path.read_bytes()[8:]
        ),
        "4 TB, sparse": _lengthen,
        "a pickle": lambda path: path.write_bytes(pickle.dumps(Bomb(outside / "bombed"))),
        "a tensor ../../x": lambda path: reheaded(path, _rename("../../x")),
        "a tensor /etc/passwd": lambda path: reheaded(path, _rename("/etc/passwd")),
        "integers for weights": lambda path: retensored(
            path, lambda t: _give_object(t, "", "int64")
        ),
        "another shape": lambda path: retensored(
            path, lambda t: _give_object(t, "", lambda a: a[None])
        ),
        "a tensor less": lambda path: retensored(path, lambda t: t.pop(sorted(t)[0])),
        "a link to /dev/zero": lambda path: _link(path, "/dev/zero"),
        "a pipe": _pipe,
        "a header that is a list": lambda path: reheaded(
            path, lambda header: header["__metadata__"].update(lstm_lm=f'["checksum: {UNSEALED}"]')
        ),
    }
    cases = {
        f"{name} in {file}": (command, lambda run, file=file, do=do: do(run / file))
        for file, command in ((weights, "predict"), (state, "resume"))
        for name, do in found.items()
    }
    for key, value in (
        ("step", "1"),
        ("step", -5),
        ("position", -3),
        ("best_loss", "nan"),
        ("words", 10**40),
        ("recent_nll", float("nan")),
        ("metrics_bytes", 10**15),
        ("run_id", ["x"]),
        ("evil", 1),
    ):
        cases[f"{key}={value} in the counters"] = (
            "resume",
            lambda run, k=key, v=value: recounted(run / state, **{k: v}),
        )
    cases["half an optimizer"] = (
        "resume",
        lambda run: retensored(run / state, lambda t: t.pop("optimizer.0.0.exp_avg")),
    )
    for part, like in (
        ("optimizer.0.0.step", "int64"),
        ("optimizer.0.0.exp_avg", lambda a: a[:1]),
        ("state.0.h", lambda a: a[:, :1]),
        ("random.cpu", lambda a: a[:7]),
        ("random.cpu", lambda a: a * 0 + 255),
        ("state.0.c", "int64"),
    ):
        cases[f"{part} changed by {like}"] = (
            "resume",
            lambda run, p=part, v=like: retensored(
                run / state, lambda tensors: _give_object(tensors, p, v)
            ),
        )
    return cases | {
        "a 10^9-wide model": ("predict", lambda run: _widen(run, hidden_size=10**9)),
        "10^18-wide vectors": ("predict", lambda run: _widen(run, embedding_dim=10**18)),
        "1000 layers of 10^6": (
            "predict",
            lambda run: _widen(run, num_layers=1000, hidden_size=10**6),
        ),
        "a 10^9-wide model of 4 TB": (
            "predict",
            lambda run: (_widen(run, hidden_size=10**9), _lengthen(run / weights)),
        ),
        "a pickle for words": (
            "predict",
            lambda run: _replace_words(run, pickle.dumps(Bomb(outside / "bombed"))),
        ),
        "deep words": ("predict", lambda run: _replace_words(run, b"[" * 10**6)),
        "no words": ("predict", lambda run: _replace_words(run, json.dumps(words).encode())),
        "a pipe for words": ("predict", lambda run: _pipe(run / "tokenizer.json")),
        "endless words": ("predict", lambda run: _link(run / "tokenizer.json", "/dev/zero")),
        "a pipe for config.json": ("predict", lambda run: _pipe(run / "config.json")),
        "a pipe for a log": ("resume", lambda run: _pipe(run / "metrics.jsonl")),
        "an endless log": ("resume", lambda run: _link(run / "metrics.jsonl", "/dev/zero")),
        "a YAML object": (
            "resume",
            lambda run: (run / "config.yaml").write_bytes(
                resealed(
                    (run / "config.yaml").read_bytes()
                    + f"evil: !!python/object/apply:os.mkdir ['{outside / 'bombed'}']\n".encode()
                )
            ),
        ),
    }


def attack_run(ground: Ground, every: int) -> list[Row]:
    """Each attack on a copy of the run, in a process whose memory is measured."""
    row = Row("hostile run directories: refused in one line, no code run, no memory taken")
    outside = ground.folder / "outside"
    outside.mkdir()
    (outside / "precious").write_text("precious\n")
    for name, (command, attack) in list(attacks(outside).items())[::every]:
        run = ground.folder / "hostile"
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(ground.whole, run)
        attack(run)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        words = (
            ["predict", run, "Maria"]
            if command == "predict"
            else ["train", ground.config, "--output", run, "--resume"]
        )
        process = ground.start(
            *words, prepare=lambda: resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        )
        refused = process.refused()
        took = process.peak * 1024 - before * 1024
        clean = sorted(path.name for path in outside.iterdir()) == ["precious"]
        row.note(
            refused and clean and took < MEMORY,
            f"{name}: status {process.returncode}, {took >> 20} MB, {clean}, "
            f"{process.err.strip().splitlines()[-1:]}",
        )
    return [row, _links_out(ground, outside)]


def _links_out(ground: Ground, outside: Path) -> Row:
    """Links are read, as the hub's cache consists of links; their targets are never written."""
    row = Row("files of a run that are links to files elsewhere: read, never written")
    for name in (
        "metrics.jsonl",
        "timings.jsonl",
        "README.md",
        "training_curve.png",
        "training_state.safetensors",
        "model.safetensors",
        "config.yaml",
        "config.json",
        "tokenizer.json",
    ):
        run, target = ground.folder / "linked", outside / name
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(ground.whole, run)
        (run / name).replace(target)
        (run / name).symlink_to(target)
        before = target.read_bytes()
        process = ground.train(run, f"training.max_steps={ground.steps + 10}")
        row.note(process.wait() == 0 and target.read_bytes() == before, f"{name}: {process.err}")
    return row
