"""Others on the same machine: another user, another container, strangers' files, little memory."""

import os
import resource
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from lstm_lm.cells.fast import on_cpu
from lstm_lm.files.cache import entry_folder, write_entry
from tests.torture.ground import Ground, Row

NOBODY = 65534
STRANGERS = {
    "a text": lambda path: path.write_text("theirs\n"),
    "nothing": lambda path: path.write_text(""),
    "a pipe": os.mkfifo,
    "a link": lambda path: path.symlink_to(path.with_name("elsewhere")),
    "a folder": lambda path: path.mkdir(),
}


def is_root() -> bool:
    """Whether this process may be several users."""
    return hasattr(os, "geteuid") and os.geteuid() == 0


def live_with_others(ground: Ground, every: int) -> list[Row]:
    """All of this module; what needs root is left out without it, and the row says so."""
    return [
        _keep_strangers_files(ground, every),
        _share_extensions(ground, every),
        _share_a_cache_with_a_container(ground, every),
        _have_little_memory(ground, every),
    ]


def _outputs(ground: Ground) -> dict[str, list]:
    """Commands whose last word is a file that they write."""
    suite = ground.folder / "suite.tsv"
    suite.write_text("id\tprefix\ttarget\tfoil\tdistance\na\tMaria has a red\tcat\tdog\t3\n")
    run = ground.whole
    return {
        "plot.png": ["probe", run, suite, "--order", "0", "--plot"],
        "items.jsonl": ["probe", run, suite, "--order", "0", "--items"],
        "gates.html": ["gates", run, "Maria has a", "--output"],
        "gates.json": ["gates", run, "Maria has a", "--output"],
        "table.tsv": ["score", run, "Maria has a", "--tsv"],
        "model.arpa": ["ngram", ground.config, "--order", "2", "--arpa"],
        "page.html": ["export", run],
        "run": ["train", ground.config, "--output"],
    }


def _keep_strangers_files(ground: Ground, every: int) -> Row:
    row = Row("a stranger's file, link, pipe or folder in the place of an output: refused, kept")
    place = ground.folder / "place"
    for number, (name, words) in enumerate(_outputs(ground).items()):
        for kind, make in list(STRANGERS.items())[number % every :: every]:
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            (place / "elsewhere").write_text("elsewhere\n")
            if name == "run" and kind in ("a link", "a folder"):
                continue  # a run directory may be there, and linked to
            make(place / name)
            before = _look(place)
            process = ground.start(*words, place / name)
            row.note(
                process.refused() and _look(place) == before,
                f"{kind} at {name}: status {process.returncode}, {process.err}",
            )
    return row


def _look(folder: Path) -> dict[str, object]:
    """The files of a folder: what they are, and what is in the regular ones."""
    found: dict[str, object] = {}
    for path in folder.iterdir():
        kind = os.lstat(path)
        is_file = stat.S_ISREG(kind.st_mode)
        found[path.name] = kind.st_ino, kind.st_mode, path.read_bytes() if is_file else b""
    return found


def _share_extensions(ground: Ground, every: int) -> Row:
    row = Row("a compiled loop that is cut off, or that others could have written: compiled anew")
    extensions = ground.folder / "extensions"
    extensions.mkdir()
    extensions.chmod(0o1777)

    def prepare() -> None:
        os.environ["TORCH_EXTENSIONS_DIR"] = str(extensions)
        on_cpu._library.cache_clear()

    def train() -> tuple[bool, str]:
        run = ground.folder / "looped"
        shutil.rmtree(run, ignore_errors=True)
        process = ground.train(run, "training.max_steps=6", prepare=prepare)
        status = process.wait()
        return status == 0 and "slower" not in process.out, f"status {status}: {process.err}"

    works, why = train()
    if not works:  # without a compiler there is nothing to share
        row.note(on_cpu.why_not_compiled() != "", why)
        return row
    [library] = (extensions / "lstm_lm").glob("*.so")
    whole = library.read_bytes()
    harms: dict[str, Callable[[], object]] = {
        f"cut to {share:.0%}": lambda share=share: library.write_bytes(
            whole[: int(share * len(whole))]
        )
        for share in (0, 0.1, 0.5, 0.9, 0.999)
    }
    harms["a bit flipped"] = lambda: library.write_bytes(
        whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:]
    )
    harms["writable by all"] = lambda: library.chmod(0o666)
    if is_root():
        harms["another user's"] = lambda: os.chown(library, NOBODY, -1)
        harms["in another user's folder"] = lambda: os.chown(library.parent, NOBODY, -1)
    for name, harm in list(harms.items())[::every]:
        harm()
        works, why = train()
        folder = extensions / ("lstm_lm-0" if "folder" in name else "lstm_lm")
        [after] = folder.glob("*.so")
        own = after.stat().st_uid == os.geteuid() and after.stat().st_mode & 0o777 == 0o600
        row.note(works and own and after.read_bytes() == whole, f"{name}: {why}")
    return row


def _share_a_cache_with_a_container(ground: Ground, every: int) -> Row:
    """The other process has ids of processes of its own, so this one's mean nothing there."""
    row = Row("two containers with one cache, by process namespaces: no work taken for dead")
    cache = ground.folder / "shared"
    script = (
        "import sys; from lstm_lm.files.cache import entry_folder, write_entry\n"
        "folder = entry_folder(sys.argv[1], 'ids', sys.argv[2])\n"
        "write_entry(folder, 'ids', lambda file: {'n': file.write(b'theirs')})"
    )
    enter = ["unshare", "--pid", "--fork", "--mount-proc", "--uts"]
    has = is_root() and shutil.which("unshare")
    if not has or subprocess.run([*enter, "true"], capture_output=True).returncode:
        enter = []  # another process of this container: the lock is the same
    for number in range(1 if every > 1 else 5):

        def write(file, number=number) -> dict:
            words = [*enter, sys.executable, "-c", script, str(cache), f"b{number}"]
            done = subprocess.run(words, capture_output=True, text=True)
            unfinished = list(cache.glob("*.tmp"))
            row.note(done.returncode == 0 and len(unfinished) == 1, f"{unfinished} {done.stderr}")
            return {"n": file.write(b"ours")}

        write_entry(entry_folder(cache, "ids", f"a{number}"), "ids", write)
        row.note(not list(cache.glob("*.tmp")) and len(list(cache.iterdir())) == 2 * number + 2)
    return row


def _have_little_memory(ground: Ground, every: int) -> Row:
    """Limits between what Python has now and what the model needs: a sentence, not a death."""
    row = Row("a model that is larger than the memory that the process may have: one line of error")
    widths = (3000, 6000, 12_000, 24_000)[::every]
    for width in widths:
        words = [f"model.hidden_size={width}", f"model.embedding_dim={width}"]

        def prepare() -> None:
            pages = Path("/proc/self/statm").read_text().split()
            used = int(pages[5]) * os.sysconf("SC_PAGE_SIZE")
            resource.setrlimit(resource.RLIMIT_DATA, (used + 10**8,) * 2)

        process = ground.train(ground.folder / "large", *words, prepare=prepare)
        row.note(
            process.refused() and "memory" in process.err,
            f"{width}: status {process.returncode}, {process.err[-300:]}",
        )
    return row
