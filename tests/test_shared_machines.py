"""Shared machines: whose code is run, what is locked, how much memory a process may have."""

import ctypes
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import torch

from lstm_lm import LanguageModel, memory
from lstm_lm.cells.fast import on_cpu
from lstm_lm.config import OptimizerConfig
from lstm_lm.errors import ConfigError, DiskError, RunDirectoryError
from lstm_lm.files import cache as cache_module
from lstm_lm.files.cache import (
    check_cache,
    default_cache_dir,
    entry_folder,
    read_entry,
    write_entry,
)
from lstm_lm.files.libraries import keep_library, library_folder, load_library
from lstm_lm.files.private import expand_home, has_home, make_own_folder
from lstm_lm.model.network import empty_network
from lstm_lm.training.building import check_memory
from tests.test_on_cpu import anew, has_gcc  # noqa: F401, F811

pytestmark = pytest.mark.skipif(os.name != "posix", reason="users and modes of POSIX")
ROOT = Path(__file__).parent.parent
NOBODY = 65534
needs_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root, to be two users"
)
needs_gcc = pytest.mark.skipif(not has_gcc(), reason="needs gcc")


def compile_library(folder, answer):
    """A library with one function, as bytes."""
    source, library = folder / "answer.c", folder / "answer.so"
    source.write_text(f"int answer(void) {{ return {answer}; }}")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    return library.read_bytes()


def put(path, content):
    """Replaces a file by another one: a library that is loaded must not change."""
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    path.chmod(0o600)


# --- code -----------------------------------------------------------------------------------------


@needs_gcc
def test_a_library_is_loaded_only_if_it_is_whole_and_one_s_own(tmp_path):
    code, path = compile_library(tmp_path, 42), tmp_path / "kept" / "a.so"
    path.parent.mkdir()
    assert load_library(path) is None
    keep_library(path, code)
    whole = path.read_bytes()
    assert load_library(path).answer() == 42 and path.stat().st_mode & 0o777 == 0o600
    for damaged in (
        whole[:-1],
        whole[: len(whole) // 2],
        b"",
        code,
        whole[:99] + b"x" + whole[100:],
    ):
        put(path, damaged)
        assert load_library(path) is None
    put(path, whole)
    for mode in (0o602, 0o620, 0o666, 0o777):
        path.chmod(mode)
        assert load_library(path) is None
    path.chmod(0o600)
    assert load_library(path).answer() == 42
    keep_library(path, compile_library(tmp_path, 43))
    assert load_library(path).answer() == 43  # not the one of the same name that was loaded
    path.rename(tmp_path / "b.so")
    path.symlink_to(tmp_path / "b.so")
    assert load_library(path) is None
    (tmp_path / "text.so").write_text("no library")
    keep_library(tmp_path / "text.so", b"no library")
    with pytest.raises(OSError):
        load_library(tmp_path / "text.so")


@needs_gcc
@needs_root
def test_another_user_s_library_is_not_loaded(tmp_path):
    path = tmp_path / "a.so"
    keep_library(path, compile_library(tmp_path, 42))
    os.chown(path, NOBODY, -1)
    assert load_library(path) is None
    os.chown(path, 0, -1)
    assert load_library(path).answer() == 42


@needs_root
def test_in_a_shared_folder_each_user_has_a_folder(tmp_path):
    tmp_path.chmod(0o1777)
    assert library_folder(tmp_path) == tmp_path / "lstm_lm"
    os.chown(tmp_path / "lstm_lm", NOBODY, -1)
    assert library_folder(tmp_path) == tmp_path / "lstm_lm-0"
    assert (tmp_path / "lstm_lm-0").stat().st_mode & 0o777 == 0o700
    os.chown(tmp_path / "lstm_lm-0", NOBODY, -1)
    assert library_folder(tmp_path) is None


@needs_root
@needs_gcc
@pytest.mark.slow
def test_in_a_folder_that_is_mounted_noexec_the_slow_path_names_it(tmp_path):
    """In a mount namespace of its own, which vanishes with the process."""
    script = (
        f"mount -t tmpfs -o noexec tmpfs {tmp_path} && {sys.executable} -c "
        "'from lstm_lm.cells.fast import on_cpu; print(on_cpu.why_not_compiled())'"
    )
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script], cwd=ROOT, capture_output=True, text=True,
        env=os.environ | {"TORCH_EXTENSIONS_DIR": str(tmp_path / "extensions")},
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"cannot mount: {done.stderr}")
    assert re.search(rf"cannot be loaded \({tmp_path}/extensions/\S+\.so: ", done.stdout), done


@needs_gcc
@pytest.mark.parametrize("harm", ["cut off", "others can write", "another user's", "folder open"])
def test_the_c_loop_is_compiled_anew_if_it_cannot_be_trusted(anew, monkeypatch, harm):  # noqa: F811
    assert on_cpu.is_compiled() and on_cpu.why_not_compiled() == ""
    [library] = anew.iterdir()
    whole = library.read_bytes()
    evil = whole.replace(b"multiply_rows", b"multiply_xxxx")
    if harm == "cut off":
        put(library, whole[: len(whole) // 2])
    elif harm == "folder open":
        anew.chmod(0o777)
        put(library, evil)
    else:
        put(library, evil)
        library.chmod(0o666)
        if harm == "another user's":
            if os.geteuid() != 0:
                pytest.skip("needs root, to be two users")
            library.chmod(0o600)
            os.chown(library, NOBODY, -1)
    on_cpu._library.cache_clear()
    assert on_cpu.is_compiled()
    assert sorted(path.name for path in anew.parent.iterdir())[0].startswith("lstm_lm")
    if harm != "folder open":
        assert library.read_bytes() == whole and library.stat().st_mode & 0o777 == 0o600
        assert library.stat().st_uid == os.geteuid()


@pytest.mark.parametrize(
    "compiler, reason",
    [
        ("no-such-compiler", "gcc is not installed"),
        ("false", "`false` cannot compile the C loop"),
        ("true", "`true` cannot compile the C loop"),
        ("FAKE", "compiled cannot be loaded"),
        ("EMPTY", "compiled cannot be loaded"),
    ],
)
def test_why_there_is_no_c_loop_is_one_true_sentence(
    anew,  # noqa: F811
    monkeypatch,
    tmp_path,
    compiler,
    reason,
    config,
    command,  # noqa: F811
):
    if compiler == "FAKE":
        monkeypatch.setattr(on_cpu, "_compile", lambda *a: b"\x7fELF for another processor")
        compiler = "true"
    if compiler == "EMPTY":
        if not has_gcc():
            pytest.skip("needs gcc")
        code = compile_library(tmp_path, 1)
        monkeypatch.setattr(on_cpu, "_compile", lambda *a: code)
        compiler = "true"
    monkeypatch.setenv("CC", compiler)
    assert not on_cpu.is_compiled() and reason in on_cpu.why_not_compiled()
    why = on_cpu.why_not_compiled()
    assert "\n" not in why and "/proc/" not in why
    assert "cannot be loaded" not in why or str(anew) in why
    run = ("train", config, "--output", tmp_path / "run", "training.max_steps=1")
    status, out, _ = command(*run)
    [note] = [line for line in out.splitlines() if "slower" in line]
    assert status == 0 and note.startswith("note: this cell trains slower") and reason in note


def test_without_a_home_the_c_loop_and_the_cache_say_where_they_go(anew, monkeypatch, tmp_path):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TORCH_EXTENSIONS_DIR")
    monkeypatch.delenv("LSTM_LM_CACHE")
    monkeypatch.setattr(os.path, "expanduser", lambda path: os.fspath(path))  # an unknown user id
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    assert "no home folder" in on_cpu.why_not_compiled()
    folder = default_cache_dir()
    assert folder == tmp_path / "tmp" / f"lstm_lm-{os.geteuid()}"
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)
    with pytest.raises(DiskError, match="no home folder; set HOME"):
        default_cache_dir()
    for path in ("~/x", "~nobody-of-this-name/x"):
        for make in (expand_home, lambda path: make_own_folder(Path(path))):
            with pytest.raises(DiskError, match="write the whole path"):
                make(path)
        with pytest.raises(DiskError, match="write the whole path"):
            check_cache(Path(path))
    assert not list(tmp_path.glob("~*"))


def test_no_folder_is_named_tilde(refused, config, monkeypatch, tmp_path, finished_run):
    monkeypatch.chdir(tmp_path)
    assert "whole path" in refused("train", config, "--output", "~/run")
    assert "whole path" in refused("export", finished_run, "~/page.html")
    assert "whole path" in refused("train", config, "--output", "run", "corpus.cache_dir=~nn/x")
    assert not list(tmp_path.glob("~*"))


def as_another_user():
    """What starts a command as a user that the system has no name for, who may read everything."""
    read_all = [f"--{kind}-caps=+dac_read_search" for kind in ("inh", "ambient")]
    words = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups", *read_all]
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        return None
    return words if subprocess.run([*words, "true"], capture_output=True).returncode == 0 else None


@pytest.mark.slow
@pytest.mark.parametrize("home", [None, "/", "/nonexistent"])  # "/" as in containers
def test_an_unknown_user_without_home_trains(config, tmp_path, home):
    words = as_another_user()
    if words is None:
        pytest.skip("needs root and setpriv, to be another user")
    with tempfile.TemporaryDirectory() as folder:  # pytest's folders are root's alone
        Path(folder).chmod(0o755)
        work = Path(folder) / "work"
        work.mkdir()
        os.chown(work, 54321, 54321)
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        environment |= {"TMPDIR": str(work)} | ({"HOME": home} if home else {})
        text = config.read_text().replace(f", cache_dir: {tmp_path}/corpus/cache", "")
        (work / "own.yaml").write_text(text)
        done = subprocess.run(
            [*words, sys.executable, "-m", "lstm_lm", "train", "own.yaml", "training.max_steps=1"],
            cwd=work, capture_output=True, text=True, env=environment,
        )  # fmt: skip
        assert done.returncode == 0 and not done.stderr, done.stderr
        assert "slower" in done.stdout and "no home folder" in done.stdout
        found = {path.name for path in work.iterdir()} - {"torchinductor_uid_54321"}  # torch's
        assert found == {"lstm_lm-54321", "own.yaml", "runs"}


@pytest.mark.parametrize("name", ["HF_HOME", "MPLCONFIGDIR"])
def test_other_libraries_use_no_folder_that_others_made(command, monkeypatch, tmp_path, name):
    monkeypatch.setenv("HOME", "/")
    for variable in ("HF_HOME", "MPLCONFIGDIR"):
        monkeypatch.setenv(variable, "as it was")  # put back at the end, whatever it is by then
    monkeypatch.delenv(name)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert command("settings", "training.seed")[0] == 0
    own = Path(os.environ[name]).parent
    assert own == tmp_path / f"lstm_lm-{os.geteuid()}" and own.stat().st_mode & 0o777 == 0o700
    own.chmod(0o777)
    monkeypatch.delenv(name)
    status, _, said = command("settings", "training.seed")
    assert status == 2 and f"{own}: cannot be used (others can write to it)" in said
    assert name not in os.environ


@pytest.mark.parametrize(
    "home, has", [("", False), ("/", False), ("rel", False), ("HERE/no", False), ("HERE", True)]
)
def test_what_is_a_home(monkeypatch, tmp_path, home, has):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rel").mkdir()
    monkeypatch.setenv("HOME", home.replace("HERE", str(tmp_path)))
    assert has_home() is has


# --- the cache ------------------------------------------------------------------------------------


WRITER = """
import sys
from pathlib import Path
from lstm_lm.files.cache import entry_folder, write_entry

def write(file):
    file.write(b"content")
    print("writing", flush=True)
    sys.stdin.readline()
    return {}

write_entry(entry_folder(sys.argv[1], "ids", "a"), "ids", write)
print("written")
"""


@pytest.fixture
def writer(tmp_path):
    """Starts a process in the middle of writing an entry; with ``how`` before its command."""
    started = []

    def start(*how):
        process = subprocess.Popen(
            [*how, sys.executable, "-c", WRITER, str(tmp_path / "cache")],
            cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        started.append(process)
        assert process.stdout.readline() == "writing\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def unfinished(tmp_path):
    return list((tmp_path / "cache").glob("*.tmp"))


def write_another(tmp_path, name="b"):
    folder = entry_folder(tmp_path / "cache", "ids", name)
    write_entry(folder, "ids", lambda file: {"written": file.write(b"more")})
    return folder


def in_namespace():
    """What starts a command in a container of its own: other process ids, another host name."""
    words = ["unshare", "--pid", "--fork", "--mount-proc", "--uts"]
    if os.geteuid() != 0 or not shutil.which("unshare"):
        return None
    return words if subprocess.run([*words, "true"], capture_output=True).returncode == 0 else None


@pytest.mark.slow
def test_the_work_of_another_container_is_not_taken_for_dead(writer, tmp_path):
    namespace = in_namespace()
    if namespace is None:
        pytest.skip("needs root and unshare")
    process = writer(*namespace)
    [temporary] = unfinished(tmp_path)
    write_another(tmp_path)
    assert unfinished(tmp_path) == [temporary]
    assert process.communicate("\n", timeout=60)[0] == "written\n"
    assert not unfinished(tmp_path)
    assert read_entry(entry_folder(tmp_path / "cache", "ids", "a"), "ids")


@pytest.mark.slow
def test_what_a_killed_process_left_is_removed_whatever_its_number(writer, tmp_path):
    process = writer()
    process.kill()
    process.wait()
    [temporary] = unfinished(tmp_path)
    lock = os.open(temporary, os.O_RDONLY)
    cache_module.fcntl.flock(lock, cache_module.fcntl.LOCK_EX)
    write_another(tmp_path)
    assert unfinished(tmp_path) == [temporary]  # as if it lived
    os.close(lock)
    write_another(tmp_path, "c")
    assert not unfinished(tmp_path)


def test_a_folder_of_others_in_the_cache_stays(tmp_path):
    cache = tmp_path / "cache"
    for name in ("mine.tmp", "ids-12.localhost.1.0123abcd.tmp", f"ids-{'0' * 32}.tmp"):
        (cache / name).mkdir(parents=True)
    write_another(tmp_path)
    assert len(unfinished(tmp_path)) == 3
    target = tmp_path / "target"
    target.mkdir()
    link = cache / f"ids-{'0' * 32}.0123abcd.tmp"
    link.symlink_to(target)
    old = cache / f"ids-{'0' * 32}.host.12.0123abcd.tmp"
    old.mkdir()
    write_another(tmp_path, "c")
    assert link.is_symlink() and target.is_dir() and not old.exists()


def test_without_locks_the_age_decides(tmp_path, monkeypatch):
    def refuse(*args):
        raise OSError(95, "not supported")

    monkeypatch.setattr(cache_module.fcntl, "flock", refuse)
    (tmp_path / "cache").mkdir()
    old, new = (tmp_path / "cache" / f"ids-{'0' * 32}.0123abc{k}.tmp" for k in (1, 2))
    for folder, hours in ((old, 25), (new, 23)):
        folder.mkdir()
        os.utime(folder, (time.time() - 3600 * hours,) * 2)
    assert read_entry(write_another(tmp_path), "ids")
    assert unfinished(tmp_path) == [new]


def test_a_folder_that_vanishes_before_it_is_locked_is_made_again(tmp_path, monkeypatch):
    lock, calls = cache_module._lock, []

    def locked(folder):
        calls.append(folder)
        if len(calls) == 1:
            folder.rmdir()  # another process took it for dead
        elif len(calls) == 2:
            raise BlockingIOError  # another process is about to
        return lock(folder)

    monkeypatch.setattr(cache_module, "_lock", locked)
    assert read_entry(write_another(tmp_path), "ids") and len(set(calls)) == 3


def test_a_cache_that_cannot_be_written_is_told_before_the_corpus_is_read(
    refused, config, tmp_path, monkeypatch
):
    from lstm_lm.corpus.text_files import TextFile

    monkeypatch.setattr(TextFile, "open", lambda *a: pytest.fail("the corpus is read"))
    (tmp_path / "file").write_text("")
    train = ("train", config, "--output", tmp_path / "run", "corpus.join_lines=false")
    said = refused(*train, f"corpus.cache_dir={tmp_path / 'file'}")
    assert f"cannot be written to {tmp_path / 'file'} (" in said
    assert "make it writable" in said and "free some space" not in said


def test_a_full_cache_asks_for_space(tmp_path, monkeypatch):
    def full(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    with pytest.raises(DiskError, match="No space left.*free some space"):
        check_cache(tmp_path)


# --- memory ---------------------------------------------------------------------------------------


def system(monkeypatch, tmp_path, files, groups):
    """Replaces /proc/self and /sys/fs/cgroup by folders with these files."""
    for name, text in files.items():
        path = tmp_path / "groups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "cgroup").write_text(groups)
    monkeypatch.setattr(memory, "GROUPS", tmp_path / "groups")
    monkeypatch.setattr(memory, "OF_PROCESS", tmp_path / "proc")


@pytest.mark.parametrize(
    "files, groups, total, free",
    [
        (
            {"a/b/memory.max": "5000", "a/b/memory.stat": "file 7\nanon 1000"},
            "0::/a/b\n", 5000, 4000,
        ),
        (
            {
                "a/b/memory.max": "max", "a/b/memory.stat": "anon 10",
                "a/memory.max": "3000", "a/memory.stat": "anon 2900",
                "memory.max": "9000", "memory.stat": "anon 0",
            },
            "0::/a/b\n", 3000, 100,
        ),  # that of a group above
        ({"memory.max": "3000", "memory.stat": "anon 1"}, "0::/docker/123\n", 3000, 2999),
        ({"unified/a/memory.max": "30", "unified/a/memory.stat": "anon 1"}, "0::/a\n", 30, 29),
        (
            {
                "memory/a/memory.limit_in_bytes": "700",
                "memory/a/memory.stat": "rss 1\ntotal_rss 200",
                "memory/memory.limit_in_bytes": "9223372036854771712",
                "memory/memory.stat": "rss 1",
            },
            "5:cpu:/\n4:memory:/a\n0::/\n", 700, 500,
        ),
        (
            {"memory/memory.limit_in_bytes": "700", "memory/memory.stat": "rss 900"},
            "4:cpu,memory:/docker/1\n", 700, 0,
        ),
    ],
)  # fmt: skip
def test_the_limit_of_a_control_group(monkeypatch, tmp_path, files, groups, total, free):
    system(monkeypatch, tmp_path, files, groups)
    limit = memory.memory_limit()
    assert (limit.total, limit.free) == (total, free) and "control group" in limit.what
    assert memory.available_memory() == free
    assert memory.describe_shortage(free) == ""
    assert "control group" in memory.describe_shortage(free + 1)


def test_without_limits_it_is_the_machine(monkeypatch, tmp_path):
    system(monkeypatch, tmp_path, {}, "0::/\n")
    limit = memory.memory_limit()
    assert limit.what == "this machine" and 0 < limit.free
    assert limit.total == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    (tmp_path / "proc" / "cgroup").unlink()
    assert memory.memory_limit().what == "this machine"


@pytest.mark.parametrize("kind, option", [("RLIMIT_AS", "-v"), ("RLIMIT_DATA", "-d")])
def test_a_limit_of_the_process(monkeypatch, kind, option):
    import resource

    found = resource.getrlimit
    low = 2**20

    def limits(number):
        return (low, low) if number == getattr(resource, kind) else found(number)

    monkeypatch.setattr(resource, "getrlimit", limits)
    limit = memory.memory_limit()
    assert (limit.total, limit.free) == (low, 0) and f"ulimit {option}" in limit.what
    low = 2**62
    assert 2**62 - memory.Limit(0, 0, "").free and memory.memory_limit().what != limit.what


def test_a_model_that_cannot_fit_is_refused_with_a_sentence(
    monkeypatch, tmp_path, refused, finished_run, make_model
):
    files = {"memory.max": "2000", "memory.stat": "anon 500"}
    system(monkeypatch, tmp_path, files, "0::/\n")
    said = refused("predict", finished_run, "I")
    assert "model.safetensors: would need 0.00 GiB of memory, and its control group" in said
    with pytest.raises(RunDirectoryError, match="leaves this process"):
        LanguageModel.from_pretrained(finished_run)
    with pytest.raises(
        ConfigError, match=r"weights alone need .* leaves this process .*lower model"
    ):
        check_memory(make_model().config, 1000)
    config, limit = make_model().config, tmp_path / "groups" / "memory.max"
    weights = 4 * sum(one.numel() for one in empty_network(config, 1000).parameters())
    for name, momentum, times in (
        ("adamw", 0.9, 3),
        ("sgd", 0.0, 1),
        ("sgd", 0.9, 2),
    ):
        optimizer = OptimizerConfig(name=name, momentum=momentum)
        limit.write_text(str(500 + times * weights + 1000))
        check_memory(config, 1000, optimizer)
        limit.write_text(str(500 + times * weights - 1))
        with pytest.raises(ConfigError, match="need .* leaves this process"):
            check_memory(config, 1000, optimizer)
    limit.write_text("max")
    check_memory(config, 1000)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA counts all of it on Linux only")
def test_a_large_model_under_a_small_limit_says_so(make_model, tmp_path):
    make_model(hidden_size=3000, num_layers=2, tie_weights=False).save_pretrained(
        tmp_path / "large"
    )
    script = (
        "import resource, sys; import torch, lstm_lm; from lstm_lm.cli.main import main; "
        "from lstm_lm.memory import OF_PROCESS; import os; "
        "used = int((OF_PROCESS / 'statm').read_text().split()[5]) * os.sysconf('SC_PAGE_SIZE'); "
        "resource.setrlimit(resource.RLIMIT_DATA, (used + 2 * 10**8,) * 2); "
        "sys.exit(main(['predict', sys.argv[1], 'I']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "large")],
        cwd=ROOT, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 2 and "ulimit -d" in done.stderr, done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS is that of Linux")
def test_a_limit_that_is_too_small_for_torch_is_named(finished_run):
    words = f"{sys.executable} -m lstm_lm predict {finished_run} I"
    done = subprocess.run(
        ["sh", "-c", f"ulimit -v 400000; exec {words}"],
        cwd=ROOT, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "(ulimit -v) allows 0.38 GiB" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "error, is_memory",
    [
        (MemoryError(), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("shapes differ"), False),
        (ImportError("libtorch_cpu.so: failed to map segment from shared object"), False),
        (KeyError("not enough memory"), False),
    ],
)
def test_what_is_lack_of_memory(command, monkeypatch, tmp_path, error, is_memory):
    from lstm_lm.cli import settings

    def fail(args):
        raise error

    system(monkeypatch, tmp_path, {}, "0::/\n")  # the machine's memory suffices for an import
    monkeypatch.setattr(settings, "run", fail)
    if is_memory:
        status, _, said = command("settings")
        assert status == 2 and said.startswith("lstm-lm: error: not enough memory for this command")
    else:
        with pytest.raises(type(error)):
            command("settings")


def test_ctypes_is_what_is_loaded(anew):  # noqa: F811
    if has_gcc():
        assert isinstance(on_cpu._library(), ctypes.CDLL) and torch.equal(
            on_cpu.multiply(torch.eye(3), torch.eye(3)), torch.eye(3)
        )
