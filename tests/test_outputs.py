"""Nothing that a user has is replaced or deleted, unless ``--overwrite`` says so."""

import errno
import json
import os
import re
import shutil
from pathlib import Path

import pytest

from lstm_lm import LanguageModel
from lstm_lm.errors import DiskError, InputError, RunDirectoryError
from lstm_lm.files.atomic import disk_errors, replaced, write_atomically
from lstm_lm.files.outputs import begins, check_inside, check_output, mark, marked, was_made
from lstm_lm.files.run_files import RUN_FILES
from tests.test_run_directory import contents

SUITE = "id\tprefix\ttarget\tfoil\tdistance\na\tI have a home in\tParis\tcat\t3\n"
TEXT = "I have a home in"
# every command with an output: its words, the option, and a name for the file
COMMANDS = {
    "probe --plot": (["probe", "RUN", "SUITE", "--order", "0"], "--plot", "out.png"),
    "probe --items": (["probe", "RUN", "SUITE", "--order", "0"], "--items", "out.jsonl"),
    "evaluate --plot": (["evaluate", "RUN", "--with", "cache"], "--plot", "out.png"),
    "compare": (["compare", "RUN", "RUN2", "--suites", "SUITE"], "--plot", "out.png"),
    "gates .png": (["gates", "RUN", TEXT], "--output", "out.png"),
    "gates line": (["gates", "RUN", TEXT, "--style", "line"], "--output", "out.png"),
    "gates .html": (["gates", "RUN", TEXT], "--output", "out.html"),
    "gates .json": (["gates", "RUN", TEXT], "--output", "out.json"),
    "score": (["score", "RUN", TEXT], "--tsv", "out.tsv"),
    "ngram": (["ngram", "CONFIG", "--order", "2"], "--arpa", "out.arpa"),
    "export .html": (["export", "RUN"], None, "out.html"),
    "export .onnx": (["export", "RUN"], None, "out.onnx"),
}


@pytest.fixture
def words(finished_run, tmp_path):
    """Fills in the run, the suite and the configuration of a command; appends its output."""
    (tmp_path / "suite.tsv").write_text(SUITE)
    shutil.copytree(finished_run, tmp_path / "run2")
    filled = {
        "RUN": finished_run,
        "RUN2": tmp_path / "run2",
        "SUITE": tmp_path / "suite.tsv",
        "CONFIG": finished_run,
    }

    def fill(name, path):
        some, option, _ = COMMANDS[name]
        return [*(filled.get(word, word) for word in some), *([option] if option else []), path]

    return fill


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_makes_its_own_file_again_and_no_other(command, refused, words, tmp_path, name):
    path = tmp_path / COMMANDS[name][2]
    path.write_text("mine\n")
    assert "--overwrite" in refused(*words(name, path)) and path.read_text() == "mine\n"
    path.unlink()
    assert command(*words(name, path))[0] == 0
    first = path.read_bytes()
    assert b"lstm-lm" in first or path.suffix in (".tsv", ".jsonl")
    status, _, err = command(*words(name, path))
    assert status == 0 and path.read_bytes() == first, err
    path.write_text("mine\n")
    assert command(*words(name, path), "--overwrite")[0] == 0 and path.read_bytes() == first
    assert not list(tmp_path.glob(".*.tmp"))


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("kind", ["pipe", "link", "link to nothing", "folder"])
def test_only_a_regular_file_is_replaced(refused, words, tmp_path, name, kind):
    path, target = tmp_path / COMMANDS[name][2], tmp_path / "target"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(target)
    if kind == "link":
        target.write_text("theirs")
    before = os.lstat(path)
    for more in ([], ["--overwrite"]):
        message = refused(*words(name, path), *more)
        assert any(word in message for word in ("regular", "link", "is a dir")), message
    assert os.lstat(path).st_ino == before.st_ino
    assert not target.exists() or target.read_text() == "theirs"


@pytest.mark.parametrize("name", ["probe --plot", "gates .json", "score", "export .onnx"])
def test_a_file_of_a_run_is_never_an_output(refused, words, a_run, name):
    before = contents(a_run)
    for target in ("model.safetensors", "config.json", "README.md", "results.json"):
        some = words(name, a_run / target)
        if name == "gates .json" and not target.endswith(".json"):
            continue
        if name == "export .onnx":
            some += ["--format", "onnx"]
        assert "of the model in" in refused(*some, "--overwrite"), target
    assert contents(a_run) == before


def test_an_output_beside_another_is_checked_too(refused, words, a_run):
    before = contents(a_run)
    assert "config.json" in refused(*words("export .onnx", a_run / "config.onnx"), "--overwrite")
    assert contents(a_run) == before


def test_a_suite_is_not_emptied_by_its_own_answers(command, refused, finished_run, tmp_path):
    suite, items = tmp_path / "my.tsv", tmp_path / "items.jsonl"
    suite.write_text(SUITE)
    ask = ("probe", finished_run, "--order", "0")
    for option in ("--items", "--plot"):
        assert "my.tsv is there already" in refused(*ask, suite, option, suite)
    assert suite.read_text() == SUITE
    assert command(*ask, suite, "--items", items)[0] == 0
    new = tmp_path / "new"
    assert "two files" in refused(*ask, suite, "--items", new, "--plot", new)


def test_a_table_that_is_read_is_not_replaced(command, refused, finished_run, tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    table = folder / "one.tsv"
    assert command("score", finished_run, TEXT, "--tsv", table)[0] == 0
    before = table.read_bytes()
    reads = ("score", finished_run, "--text-column", "token", "--file")
    for name in (table, folder, folder / "*.tsv"):
        assert "--file names it too" in refused(*reads, name, "--tsv", table)
    assert table.read_bytes() == before
    assert command(*reads, table, "--tsv", table, "--overwrite")[0] == 0
    assert table.read_bytes() != before


def test_items_are_whole_or_not_there(finished_run, tmp_path, command, monkeypatch):
    suite, items = tmp_path / "my.tsv", tmp_path / "items.jsonl"
    suite.write_text(SUITE)
    ask = ("probe", finished_run, suite, "--order", "0", "--items", items)
    assert command(*ask)[0] == 0
    before = items.read_text()
    monkeypatch.setattr("lstm_lm.cli.probe._item_line", lambda *a: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        command(*ask)
    assert items.read_text() == before and not list(tmp_path.glob(".*.tmp"))


def test_overwrite_without_an_output_is_refused(refused, finished_run, tmp_path):
    (tmp_path / "my.tsv").write_text(SUITE)
    for some in (
        ("probe", finished_run, tmp_path / "my.tsv"),
        ("compare", finished_run, finished_run, "--suites", tmp_path / "my.tsv"),
    ):
        assert "--overwrite: has no effect" in refused(*some, "--overwrite")


# --- folders --------------------------------------------------------------------------------------


def test_training_deletes_and_replaces_no_stranger_s_file(command, refused, config, tmp_path):
    place = tmp_path / "place"
    place.mkdir()
    theirs = {"README.md": "theirs", "notes.txt": "too", ".README.md.old.tmp": "mine"}
    for name, text in theirs.items():
        (place / name).write_text(text)
    (place / "revisions" / "chck_1M").mkdir(parents=True)
    (place / "revisions" / "chck_1M" / "model.safetensors").write_text("downloaded")
    for more in (["--overwrite"], ["--overwrite", "training.seed=1"]):
        assert command("train", config, "--output", place, *more)[0] == 0
        kept = place / "README.old.md" if more[1:] else place / "README.md"
        assert kept.read_text() == "theirs"
        assert (place / "notes.txt").read_text() == "too"
        assert (place / ".README.md.old.tmp").read_text() == "mine"
        revision = place / "revisions" / "chck_1M" / "model.safetensors"
        assert revision.read_text() == "downloaded"
    assert (place / "README.md").read_text().startswith("---\nlibrary_name: lstm_lm")
    assert (place / "model.safetensors").exists()


@pytest.mark.parametrize("name", sorted(set(RUN_FILES) - {"README.md"}))
def test_a_stranger_s_file_with_the_name_of_a_run_s_is_named(refused, config, tmp_path, name):
    place = tmp_path / "place"
    place.mkdir()
    (place / name).write_text('{"model_type": "gpt2"}')
    for more in ([], ["--overwrite"]):
        assert f"{name}: is there already" in refused("train", config, "--output", place, *more)
    assert contents(place) == {name: b'{"model_type": "gpt2"}'}


def test_an_exported_folder_is_not_trained_over(command, refused, config, finished_run, tmp_path):
    assert command("export", finished_run, tmp_path / "hf", "--format", "hf")[0] == 0
    before = contents(tmp_path / "hf")
    assert "there already" in refused("train", config, "--output", tmp_path / "hf", "--overwrite")
    assert contents(tmp_path / "hf") == before


def test_a_killed_overwrite_can_be_repeated(command, config, a_run):
    """The settings go last: whatever was removed before, they say that it is a run."""
    for name in ("training_state.safetensors", "training_state.previous.safetensors"):
        (a_run / name).unlink()
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        (a_run / name).unlink()
    assert RUN_FILES[-1] == "config.yaml"
    assert command("train", config, "--output", a_run, "--overwrite")[0] == 0


def test_an_edited_card_outlives_the_run(command, config, a_run):
    card = a_run / "README.md"
    again = ("train", config, "--output", a_run, "--overwrite")
    assert "README.old" not in command(*again)[1] and not list(a_run.glob("README.old*"))
    for number, name in enumerate(("README.old.md", "README.old-2.md")):
        edited = card.read_text().replace("# A word-level", f"# My {number}. word-level")
        card.write_text(edited)
        assert f"kept as {name}" in command(*again)[1]
        assert (a_run / name).read_text() == edited and "# A word-level" in card.read_text()


def test_the_card_of_a_finished_run_is_left_as_it_was_edited(command, a_run):
    card = a_run / "README.md"
    edited = card.read_text().replace("tags:\n", "license: mit  # of the weights\ntags:\n")
    edited = edited.replace("Test was not measured.", "Test: ask Anna.")
    card.write_text(edited)
    assert command("train", a_run, "--resume")[0] == 0 and card.read_text() == edited
    assert command("train", a_run, "--resume", "training.max_steps=14")[0] == 0
    assert "license: mit" in card.read_text() and "| 14, " in card.read_text()
    latin = card.read_text().encode() + "é".encode("latin-1")
    card.write_bytes(latin)
    assert "not UTF-8" in command("evaluate", a_run)[2] and card.read_bytes() == latin
    stranger = "---\nlibrary_name: transformers\n---\n# Theirs\n"
    card.write_text(stranger)
    assert "not the card" in command("evaluate", a_run)[2] and card.read_text() == stranger


def test_a_model_is_saved_into_no_run_and_over_no_stranger_s(model, make_model, a_run, tmp_path):
    revision = a_run / "revisions" / "chck_1M"
    revision.parent.mkdir()
    model.save_pretrained(tmp_path / "saved")
    shutil.copytree(tmp_path / "saved", revision)
    before = contents(revision), os.listdir(a_run), (a_run / "config.json").read_bytes()
    for folder in (a_run, revision):
        for overwrite in (False, True):
            with pytest.raises(RunDirectoryError, match="belongs to a run"):
                model.save_pretrained(folder, overwrite=overwrite)
    assert before == (contents(revision), os.listdir(a_run), (a_run / "config.json").read_bytes())
    other = make_model(hidden_size=9)
    other.save_pretrained(tmp_path / "saved")  # its own
    assert LanguageModel.from_pretrained(tmp_path / "saved").config == other.config
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "config.json").write_text('{"model_type": "gpt2", "architectures": ["GPT2"]}')
    with pytest.raises(RunDirectoryError, match=r"config\.json: is there already"):
        other.save_pretrained(theirs)
    assert os.listdir(theirs) == ["config.json"]
    other.save_pretrained(theirs, overwrite=True)
    assert LanguageModel.from_pretrained(theirs).config == other.config
    (tmp_path / "file").write_text("")
    with pytest.raises(RunDirectoryError, match="is a file"):
        other.save_pretrained(tmp_path / "file")


def test_a_transformers_folder_is_made_again_but_its_card_is_kept(command, finished_run, tmp_path):
    folder = tmp_path / "hf"
    export = ("export", finished_run, folder, "--format", "hf")
    assert command(*export)[0] == 0
    first = contents(folder)
    assert command(*export)[2] == "" and contents(folder) == first
    (folder / "README.md").write_text("mine")
    (folder / "vocabulary.txt").write_text("mine too")
    (folder / "tokenizer.json").write_text("")
    assert "README.md is kept" in command(*export)[2]
    expected = first | {"README.md": b"mine", "vocabulary.txt": b"mine too"}
    assert contents(folder) == expected
    assert command(*export, "--overwrite")[0] == 0
    assert contents(folder) == first | {"vocabulary.txt": b"mine too"}


def test_a_folder_that_transformers_saved_is_not_taken_for_an_export(
    command, refused, finished_run, tmp_path
):
    """A model that was transformers trained further has the class, but not our weights."""
    folder = tmp_path / "hf"
    assert command("export", finished_run, folder, "--format", "hf")[0] == 0
    weights = folder / "model.safetensors"
    content = weights.read_bytes().replace(b'{"lstm_lm"', b'{"another"')
    weights.write_bytes(content)
    assert "--overwrite" in refused("export", finished_run, folder, "--format", "hf")
    assert weights.read_bytes() == content


def test_a_comparison_replaces_only_its_own_results(command, refused, config, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "my.tsv").write_text(SUITE)
    some = ("compare", config, "--cells", "elman", "--order", "0", "--suites", tmp_path / "my.tsv")
    some += ("training.max_steps=2", "--output", out)
    for name in ("compare.json", "compare.png"):
        (out / name).write_text("{}")
        assert name in refused(*some) and (out / name).read_text() == "{}"
        assert os.listdir(out) == [name]
        (out / name).unlink()
    assert command(*some)[0] == 0
    assert json.loads((out / "compare.json").read_text())["models"]
    assert command(*some)[0] == 0
    (out / "compare.json").write_text('{"config": "mine"}')
    assert "compare.json" in refused(*some)
    assert command(*some, "--overwrite")[0] == 0


# --- links inside a run directory -----------------------------------------------------------------


@pytest.mark.parametrize("folder", ["revisions", "revisions/chck_100", "tensorboard"])
def test_a_linked_folder_in_a_run_is_not_written_through(
    command, refused, config, tmp_path, folder
):
    if folder == "tensorboard":
        pytest.importorskip("tensorboard")
    run, outside = tmp_path / "run", tmp_path / "outside"
    (run / folder).parent.mkdir(parents=True)
    outside.mkdir()
    (run / folder).symlink_to(outside)
    some = ["training.keep_at_words=[100]", "training.log_to=[tensorboard]"]
    setting = some[folder == "tensorboard"]
    assert "symbolic link" in refused("train", config, "--output", run, setting)
    assert not any(outside.iterdir())


@pytest.mark.parametrize("name", ["metrics.jsonl", "timings.jsonl", "metrics.csv"])
def test_a_link_in_place_of_a_log_is_not_followed(command, config, a_run, tmp_path, name):
    outside = tmp_path / "outside"
    if (a_run / name).exists():
        (a_run / name).rename(outside)
    else:
        outside.write_text("theirs")
    (a_run / name).symlink_to(outside)
    before = outside.read_bytes()
    more = ("training.max_steps=16", "training.log_to=[csv]")
    assert command("train", a_run, "--resume", *more)[0] == 0
    assert outside.read_bytes() == before and not (a_run / name).is_symlink()


def test_appending_follows_no_link(tmp_path):
    from lstm_lm.files.atomic import open_to_append

    with open_to_append(tmp_path / "log") as file:
        file.write(b"one\n")
    with open_to_append(tmp_path / "log") as file:
        file.write(b"two\n")
    assert (tmp_path / "log").read_bytes() == b"one\ntwo\n"
    (tmp_path / "link").symlink_to(tmp_path / "log")
    with pytest.raises(OSError):
        open_to_append(tmp_path / "link")
    check_inside(tmp_path)
    (tmp_path / "folder").symlink_to(tmp_path)
    with pytest.raises(RunDirectoryError, match="symbolic link"):
        check_inside(tmp_path / "folder")


# --- the rules themselves -------------------------------------------------------------------------


def test_a_rename_replaces_no_device(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "folder").mkdir()
    for path in (pipe, tmp_path / "folder", Path("/dev/null")):
        with pytest.raises(DiskError, match="not a regular file"):
            write_atomically(path, "x")
        with pytest.raises(DiskError, match="not a regular file"), replaced(path) as file:
            file.write(b"x")
    assert not list(tmp_path.glob(".*.tmp")) and os.path.exists("/dev/null")


def test_a_replaced_file_is_the_old_one_until_the_end(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with replaced(path) as file:
        file.write(b"new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    with pytest.raises(KeyError), replaced(path) as file:
        file.write(b"newer")
        raise KeyError
    assert path.read_text() == "new" and os.listdir(tmp_path) == ["file"]


def test_marks_are_of_one_command(tmp_path):
    path = tmp_path / "file"
    for text, made, found in (
        (f"<!-- {mark('gates')} -->", marked("gates"), True),
        ('{"made_by": "lstm-lm gates", "a": 1}', marked("gates"), True),
        (f"<!-- {mark('gates')} -->", marked("gate"), False),
        (f"<!-- {mark('gates')} -->", marked("export"), False),
        ("lstm-lm gates makes pictures", marked("gates"), False),
        ("a\tb\tc\n", begins("a\tb"), True),
        ("x\na\tb\tc\n", begins("a\tb"), False),
        ("axb", begins("a.b"), False),
        ("x" * 2**16 + mark("gates"), marked("gates"), False),
    ):
        path.write_text(text)
        assert was_made(path, made) == found, (text[:50], made)
    assert not was_made(tmp_path / "missing", marked("gates"))
    assert not was_made(tmp_path, marked("gates"))


def test_inputs_are_found_by_every_name(tmp_path):
    path, made = tmp_path / "a.tsv", begins("a")
    path.write_text("a")
    os.link(path, tmp_path / "hard")
    (tmp_path / "soft").symlink_to(path)
    for other in (path, str(path), [path], tmp_path / "hard", tmp_path / "soft", tmp_path):
        with pytest.raises(InputError, match="--file names it too"):
            check_output("--tsv", path, made, inputs={"--file": other})
        check_output("--tsv", path, made, inputs={"--file": other}, overwrite=True)
    for other in (None, [], tmp_path / "b.tsv", str(tmp_path / "*.csv"), tmp_path / "a"):
        check_output("--tsv", path, made, inputs={"--file": other})
    check_output("--tsv", None, made)
    check_output("--tsv", tmp_path / "new.tsv", made, inputs={"--file": tmp_path})
    with pytest.raises(InputError, match="no such directory"):
        check_output("--tsv", tmp_path / "no" / "a.tsv", made)
    check_output("--tsv", tmp_path / "no" / "a.tsv", made, makes_folder=True)


@pytest.mark.parametrize(
    "words",
    [
        ["train", "CONFIG", "--output"],
        ["compare", "CONFIG", "--cells", "lstm", "--suites", "language", "--output"],
        ["sweep", "CONFIG", "--seeds", "2", "--output"],
        ["export", "RUN", "--format", "hf"],
    ],
)
def test_what_is_no_folder_is_called_what_it_is(refused, words, config, finished_run, tmp_path):
    words = [{"CONFIG": config, "RUN": finished_run}.get(word, word) for word in words]
    path = tmp_path / "output"
    for make, kind in (
        (lambda: path.symlink_to(tmp_path / "nowhere"), "is a symbolic link that leads nowhere"),
        (lambda: path.write_text("mine"), "is a file"),
        (lambda: os.mkfifo(path), "is not a directory"),
    ):
        make()
        said = refused(*words, path)
        assert f"{path}: {kind}" in said or f"{path} {kind}" in said, said
        assert os.path.lexists(path) and not (tmp_path / "nowhere").exists()
        path.unlink()


@pytest.mark.parametrize(
    "number, remedy",
    [
        (errno.ENOSPC, "free some space, or choose"),
        (errno.EDQUOT, "free some space, or choose"),
        (errno.EACCES, "make it writable, or choose"),
        (errno.EROFS, "make it writable, or choose"),
        (errno.EIO, "unchanged; choose"),
    ],
)
def test_the_remedy_is_that_of_the_error(tmp_path, number, remedy):
    with pytest.raises(DiskError, match=f"{os.strerror(number)}.*{remedy} another directory"):
        with disk_errors(tmp_path):
            raise OSError(number, os.strerror(number))


def test_one_place_decides():
    """No command looks by itself whether a file is there that it would replace."""
    package = Path(__file__).parent.parent / "lstm_lm"
    writes = re.compile(r"\.write_text\(|\.write_bytes\(|open\([^)\n]*[\"'][wax]b?[\"']")
    allowed = {"files/atomic.py", "files/cache.py"}
    found = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if writes.search(path.read_text(encoding="utf-8"))
    }
    assert found <= allowed, found - allowed
