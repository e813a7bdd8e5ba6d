"""No text of others reaches a terminal raw; missing runs are asked of nobody; true messages."""

import json
import os
import re
import shlex
from pathlib import Path

import pytest

from lstm_lm import LanguageModel
from lstm_lm.config import load_config
from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.errors import ConfigError, RunDirectoryError
from lstm_lm.model import hub
from lstm_lm.printing import print_line, print_note, printable, printable_json
from lstm_lm.training.run_directory import load_run_config
from tests.torture.hostile import resealed

EVIL = "\x1b]0;title\x07\x1b[2J\x9b1A\u202e"  # a title, a cleared screen, a line up, from the right
ROOT = Path(__file__).parent.parent / "lstm_lm"


def has_control(text):
    return any(
        ord(c) < 32 and c != "\n" or 127 <= ord(c) < 160 or c in "\u2028\u2029\u202e" for c in text
    )


@pytest.fixture
def evil_run(make_model, tmp_path):
    """A model whose words are escape sequences."""
    words = ["<unk>", "<eos>", *(f"{EVIL}{k}" for k in range(8))]
    model = make_model()
    recipe = model.vocabulary.recipe
    from dataclasses import replace

    vocabulary = Vocabulary(words, replace(recipe, tokenization="whitespace"))
    evil = LanguageModel.from_config(model.config, vocabulary)
    evil.save_pretrained(tmp_path / "evil")
    return tmp_path / "evil"


@pytest.mark.parametrize(
    "words",
    [
        ["predict", "RUN", EVIL],
        ["predict", "RUN", EVIL, "--json"],
        ["predict", "RUN", f"I {EVIL}", "--complete"],
        ["generate", "RUN", EVIL, "--words", "5", "--seed", "1"],
        ["generate", "RUN", EVIL, "--words", "5", "--seed", "1", "--json"],
        ["generate", "RUN", EVIL, "--beam", "2", "--words", "3"],
        ["score", "RUN", f"a {EVIL}1 b"],
        ["score", "RUN", f"a {EVIL}1 b", "--json"],
        ["gates", "RUN", f"{EVIL}1 {EVIL}2", "--json"],
        ["gates", "RUN", f"{EVIL}1 {EVIL}2 {EVIL}3", "--select", "1:1"],
        ["info", "RUN"],
        ["predict", EVIL, "I"],
        ["train", EVIL],
        ["train", "quickstart", f"model.{EVIL}=1"],
        ["train", "quickstart", f"model.cell={EVIL}"],
        ["probe", "RUN", EVIL],
        [EVIL],
        ["settings", EVIL],
    ],
)
def test_control_characters_are_shown_escaped(command, evil_run, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, out, err = command(*(evil_run if word == "RUN" else word for word in words))
    assert out + err and not has_control(out + err), out + err
    if "--json" in words:
        for line in out.splitlines():
            json.loads(line)


def test_samples_of_a_training_are_escaped(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("evil.txt").write_text(f"I have {EVIL} a home\n" * 60)
    more = ["model.hidden_size=4", "model.embedding_dim=4", "training.max_steps=2"]
    more += ["corpus.tokenization=whitespace", "evaluation.prompts=[I have]"]
    status, out, err = command("train", "evil.txt", *more, "training.max_epochs=1")
    assert status == 0 and not has_control(out + err), out + err


def test_tables_at_a_terminal_are_escaped(command, evil_run, capsys, monkeypatch):
    words = ("score", evil_run, f"{EVIL}1", "--tsv", "-")
    raw = command(*words)[1]
    assert f"{EVIL}1" in raw  # a program gets the words as they are
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    shown = command(*words)[1]
    assert not has_control(shown.replace("\t", "")) and "\\x1b" in shown


def test_lines_are_whole_and_escaped(capsys):
    print_line(f"a\n{EVIL}\tb" + "x" * 2000)
    print_note(f"{EVIL}é")
    out, err = capsys.readouterr()
    assert out == "a\n\\x1b]0;title\\x07\\x1b[2J\\x9b1A\\u202e\\tb" + "x" * 2000 + "\n"
    assert err == "\\x1b]0;title\\x07\\x1b[2J\\x9b1A\\u202eé\n"
    assert printable("x" * 2000) == "x" * 1499 + "…" and printable("ab", 1) == "…"
    text = json.dumps({"word": f"{EVIL} é\ud800"}, ensure_ascii=False)
    assert json.loads(printable_json(text)) == json.loads(text)
    assert not has_control(printable_json(text))


def test_everything_is_printed_in_one_place():
    """`print` stands in lstm_lm/printing.py alone, and where JSON or an example is written."""
    found = {
        str(path.relative_to(ROOT))
        for path in ROOT.rglob("*.py")
        if re.search(r"(?<![\w.])print\(", path.read_text(encoding="utf-8"))
    }
    allowed = {"printing.py", "cli/tables.py", "integrations/onnx_graph.py", "training/signals.py"}
    assert found <= allowed, found - allowed


# --- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["runs/quickstart", "runs/a/b", "runs", "here/run", "./runs/a", "a b/c"]
)
def test_a_missing_directory_is_not_asked_of_the_hub(refused, monkeypatch, tmp_path, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    monkeypatch.setattr(hub, "_download", lambda *a: pytest.fail("the hub is asked"))
    said = refused("predict", name, "I")
    assert f"{name}: no such directory (looked in {tmp_path})" in said


@pytest.mark.parametrize("name", ["anna/quickstart", "hub:runs/quickstart", "hub:quickstart"])
def test_a_name_of_the_hub_is(monkeypatch, tmp_path, name):
    monkeypatch.chdir(tmp_path)
    asked = []
    monkeypatch.setattr(hub, "_download", lambda *a: asked.append(a[0]) or tmp_path)
    hub.find_folder(name)
    assert asked == [name.removeprefix("hub:")]


# --- messages -------------------------------------------------------------------------------------


def change_config(run, change):
    path = run / "config.yaml"
    path.write_bytes(resealed(change(path.read_text()).encode()))


def test_an_unknown_key_of_a_run_s_own_config_names_the_file(refused, a_run):
    change_config(
        a_run, lambda text: text.replace("  batch_size:", "  batch_sizes: 3\n  batch_size:")
    )
    for words in (["train", a_run, "--resume"], ["evaluate", a_run], ["train", a_run]):
        said = refused(*words)
        assert f"{a_run}/config.yaml: training.batch_sizes: unknown key" in said, said
        assert "another version" in said
    with pytest.raises(ConfigError, match=r"config\.yaml: training\.batch_sizes"):
        load_run_config(a_run)


def test_a_run_without_settings_that_are_new_resumes_as_it_was(command, a_run, finished_run):
    """Every setting whose value is the default may be missing: then it was not there yet."""
    own = load_config(a_run / "config.yaml")
    kept = ("source", "train_file", "valid_file", "join_lines", "skip_blank_lines", "cache_dir")

    def without_defaults(text):
        plain = re.compile(r"  (\w+): .*\n")
        lines, section = [], ""
        for line in text.splitlines(keepends=True):
            if line[0] not in " #":
                section = line.split(":")[0]
            found = plain.fullmatch(line)
            default = (
                getattr(type(getattr(own, section))(), found[1]) if found and section else None
            )
            is_default = found and getattr(getattr(own, section), found[1]) == default
            if not (is_default and found[1] not in kept):
                lines.append(line)
        return "".join(lines)

    before = (a_run / "config.yaml").read_text()
    change_config(a_run, without_defaults)
    after = (a_run / "config.yaml").read_text()
    assert len(after.splitlines()) < len(before.splitlines()) / 2
    assert load_config(a_run / "config.yaml") == own
    assert command("train", a_run, "--resume", "training.max_steps=14")[0] == 0
    assert (a_run / "config.yaml").read_text().count("\n") == before.count("\n")


@pytest.mark.parametrize("name", ["a run", "it's", "$HOME", "a;b"])
def test_commands_to_copy_are_quoted(command, refused, config, finished_run, tmp_path, name):
    import shutil

    run = tmp_path / name
    status, out, _ = command("train", config, "--output", run, "training.max_steps=2")
    [line] = [line for line in out.splitlines() if line.startswith("  lstm-lm predict")]
    assert shlex.split(line)[2] == str(run)
    (run / "training_state.safetensors").write_bytes(b"")
    said = refused("train", config, "--output", run, "training.max_steps=2", "--resume")
    assert str(run) in shlex.split(said[said.index("lstm-lm train") :])
    cells = tmp_path / f"{name} cells"
    shutil.copytree(finished_run, cells / "lstm")
    (cells / "lstm" / "training_state.safetensors").write_bytes(b"")
    from lstm_lm.training.resuming import check_ready

    with pytest.raises(RunDirectoryError) as caught:
        check_ready(cells / "lstm", load_run_config(cells / "lstm")[0])
    said = str(caught.value)
    words = shlex.split(said[said.index("lstm-lm train") : said.index("; or remove")])
    assert words == ["lstm-lm", "train", str(cells / "lstm"), "--resume", "--mend"]
    note = command("evaluate", run, "--with", "cache")[2]
    words = shlex.split(note[note.index("lstm-lm evaluate") : note.index("` tunes")])
    assert words[2:] == [str(run), "--with", "cache", "--tune"]
    text = tmp_path / f"{name}.txt"
    text.write_text("I\n")
    note = command("predict", finished_run, text)[2]
    assert shlex.split(note[note.index("--file") : note.index("?")]) == ["--file", str(text)]


def test_no_place_of_this_machine_is_pushed(command, config, a_run, tmp_path, monkeypatch):
    """A run that started from another knows where that one and its text are."""
    from lstm_lm.training import pushing

    child = tmp_path / "child"
    train = ("train", config, "--init-from", a_run, "--output", child, "training.max_steps=2")
    assert command(*train)[0] == 0
    assert str(tmp_path) in (child / "config.json").read_text()  # where it is needed: to measure
    pushed = {}

    def upload(folder, name, **options):
        pushed.update({path.name: path.read_bytes() for path in folder.iterdir()})
        pushed["model"] = LanguageModel.from_pretrained(folder)
        return options

    monkeypatch.setattr(pushing, "upload", upload)
    monkeypatch.setattr(pushing, "check_token", lambda token: "token")
    pushing.push_run(child, "anna/child")
    model = pushed.pop("model")
    for name, content in pushed.items():
        assert str(tmp_path).encode() not in content and b'train.txt"' not in content, name
        assert os.path.expanduser("~").encode() + b"/" not in content, name
    origin = json.loads(pushed["config.json"])["origin"]
    assert origin["name"] == "run" and set(origin) == {"name", "run_id", "words"}
    text = "I grew up in"
    ours = LanguageModel.from_pretrained(child)
    assert model.predict_next(text) == ours.predict_next(text)
