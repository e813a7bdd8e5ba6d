"""A text in the place of a configuration, and the settings that are chosen by its size."""

import json
import os

import pytest
import yaml

import lstm_lm
from lstm_lm.config import Config, all_settings, load_config
from lstm_lm.config.effect import value_of
from lstm_lm.config.reader import read_value
from lstm_lm.errors import ConfigError
from lstm_lm.files.packaged import find_config
from lstm_lm.training import auto
from lstm_lm.training.resolving import locate_config, resolve, text_name

BY_SIZE = [name for name, setting in all_settings().items() if setting.by_size]
QUICK = ["training.max_steps=2", "model.hidden_size=8", "model.embedding_dim=8"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The working directory, with a text of 40 lines in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.txt").write_text("She has a home in Paris .\nI speak French .\n" * 20)
    return tmp_path


def settings_of(folder):
    """The settings in a run directory, by dotted name."""
    sections = yaml.safe_load((folder / "config.yaml").read_text())
    return {
        f"{section}.{key}": value
        for section in sections
        for key, value in sections[section].items()
    }


def lines_of(*words, **options):
    """The settings that `resolve` finds, and the lines that it reports."""
    lines = []
    settings, folder = resolve(*words, report=lines.append, **options)
    return settings, folder, lines


# --- which of the four it is ----------------------------------------------------------------------


def test_a_text_is_trained_on_and_has_a_default_place(command, place):
    status, out, err = command("train", "my.txt", *QUICK)
    assert status == 0 and (place / "runs" / "my" / "model.safetensors").exists()
    assert err.startswith("train has 234 tokens; chosen for this size:\n")
    assert settings_of(place / "runs" / "my")["corpus.text_file"] == "my.txt"
    assert command("predict", "runs/my", "She has a")[0] == 0


@pytest.mark.parametrize("given", ["books", "books/*.txt"])
def test_a_folder_and_a_glob_are_texts(command, place, given):
    (place / "books").mkdir()
    (place / "my.txt").rename(place / "books" / "a.txt")
    (place / "books" / "b.txt").write_text("He has a house in Rome .\n" * 20)
    assert command("train", given, *QUICK)[0] == 0
    words = (place / "runs" / "books" / "tokenizer.json").read_text()
    assert '"Paris"' in words and '"house"' in words


def test_a_text_is_trained_on_from_python(place):
    run = lstm_lm.train("my.txt", **{"training.max_steps": 2, "model.hidden_size": 8})
    assert run.finished and str(run.folder) == os.path.join("runs", "my")
    assert "Paris" in run.model.vocabulary.words


@pytest.mark.slow
def test_the_other_commands_that_take_a_configuration_take_a_text(command, place):
    status, out, err = command("ngram", "my.txt", "--order", 2, "--json")
    assert status == 0 and json.loads(out)["perplexity"] > 1
    assert err == ""  # an n-gram model has no sizes to choose
    status, out, err = command("train", "my.txt", "--dry-run", "--json")
    assert status == 0 and json.loads(out)["train_tokens"] == 234
    assert "chosen for this size" in err and not (place / "runs").exists()
    suite = place / "suite.tsv"
    suite.write_text("id\tprefix\ttarget\tfoil\n1\tShe has a\thome\tFrench\n")
    words = ["compare", "my.txt", *QUICK, "--cells", "lstm,gru", "--suites", suite, "--order", 0]
    status, out, err = command(*words, "--json")
    assert status == 0 and (place / "runs" / "my-compare" / "gru" / "model.safetensors").exists()
    assert err.count("chosen for this size") == 1
    assert settings_of(place / "runs" / "my-compare" / "gru")["training.batch_size"] == 5


def test_a_run_directory_comes_first_then_yaml_then_a_text_then_a_name(place, a_run):
    (place / "quickstart").mkdir()
    (place / "quickstart" / "README.md").write_text("a folder of texts may have one\n")
    (place / "some.yaml").write_text("corpus: {source: stories}\n")
    text_config = find_config("text-files")
    assert locate_config(a_run).path == a_run / "config.yaml"
    assert locate_config("some.yaml").path.name == "some.yaml"
    assert (
        locate_config("missing.yaml").path.name == "missing.yaml"
    )  # the reader says: no such file
    found = locate_config("quickstart")
    assert (found.path, found.overrides) == (text_config, ('corpus.text_file="quickstart"',))
    (place / "quickstart" / "README.md").unlink()
    (place / "quickstart").rmdir()
    assert locate_config("quickstart").path == find_config("quickstart")
    assert locate_config("*.txt").overrides == ('corpus.text_file="*.txt"',)


def test_what_is_nothing_of_these_is_answered_with_all_four(refused, place):
    said = refused("train", "mine.txt")
    for reading in ("mine.txt: no such run directory", ".yaml file", "text", "packaged configur"):
        assert reading in said
    assert "quickstart, text-files" in said and "mean" not in said
    assert "did you mean quickstart?" in refused("train", "quikstart")
    assert "no such run directory" in refused("train", "*.text")
    (place / "empty.txt").write_text("")
    assert "corpus.text_file: empty.txt is empty" in refused("train", "empty.txt")


@pytest.mark.parametrize(
    "name", ["1.5", "a b", "it's.txt", 'x"y.txt', "no", "a: b", "é.txt", "[1].txt", "#1.txt"]
)
def test_any_name_of_a_text_will_do(place, name):
    (place / "my.txt").rename(place / name)
    assert resolve(name, report=len)[0].corpus.text_file == name


@pytest.mark.parametrize("path, name", [
    ("my.txt", "my"), ("books/novel.v2.txt", "novel.v2"), ("novel.txt.gz", "novel"),
    ("NOTES", "NOTES"), ("books", "books"), ("books/", "books"),
    ("books/*.txt", "books"), ("books/**/*.md", "books"),
])  # fmt: skip
def test_the_run_is_named_after_the_text(place, path, name):
    (place / "books").mkdir()
    assert text_name(place / path) == name


def test_a_glob_of_the_working_directory_is_named_after_it(place):
    assert locate_config("*.txt").folder.name == place.name


# --- what is chosen -------------------------------------------------------------------------------


def test_the_table_has_every_setting_that_may_be_auto():
    assert sorted(auto.TABLE) == sorted(BY_SIZE)
    in_file = yaml.safe_load(find_config("text-files").read_text(encoding="utf-8"))
    written = [f"{s}.{k}" for s in in_file for k, value in in_file[s].items() if value == "auto"]
    assert written == list(auto.TABLE)
    assert list(auto.COLUMN_LIMITS) == sorted(auto.COLUMN_LIMITS)


@pytest.mark.parametrize("other", ["is_mixed", "is_started"])
def test_weight_decay_and_averaging_are_for_a_text_alone(other):
    """With another source, or from another model, they were not measured: nothing changes."""
    names = ["optimizer.weight_decay", "optimizer.final_fraction", "training.average"]
    defaults = Config()
    usual = {name: value_of(defaults, name) for name in names}
    for column in range(len(auto.COLUMN_LIMITS) + 1):
        tokens = (*auto.COLUMN_LIMITS, 10**9)[column]
        assert auto.choose_by_size(tokens, names) == dict(
            zip(names, [0.15, 0.5, "last:0.5"], strict=True)
        )
        assert auto.choose_by_size(tokens, names, **{other: True}) == usual


@pytest.mark.parametrize("column", range(len(auto.COLUMN_LIMITS) + 1))
def test_every_column_is_a_valid_configuration(tmp_path, column):
    limit = (*auto.COLUMN_LIMITS, 10**9)[column]
    chosen = auto.choose_by_size(limit, BY_SIZE)
    assert len(auto.COLUMN_LIMITS) == column or auto.choose_by_size(limit + 1, BY_SIZE) != chosen
    for name, value in chosen.items():
        setting = all_settings()[name]
        assert read_value(value, setting.annotation, setting.limits) == value
    # nothing is chosen that has no effect
    config = load_config(find_config("text-files"), choose=lambda _, names: chosen)
    assert config.training.max_epochs == chosen["training.max_epochs"]


@pytest.mark.parametrize("column", range(len(auto.COLUMN_LIMITS) + 1))
def test_every_column_of_a_mix_is_a_valid_configuration(column):
    limit = (*auto.COLUMN_LIMITS, 10**9)[column]
    chosen = auto.choose_by_size(limit, BY_SIZE, is_mixed=True)
    assert set(auto.MIXED) < set(auto.TABLE)
    assert chosen["corpus.passes"] == auto.TABLE["training.max_epochs"][column]
    config = load_config(
        find_config("text-files"), ["corpus.mix=stories"], choose=lambda _, names: chosen
    )
    assert config.optimizer.name == "muon" and config.model.memory_words == 1000
    assert config.training.max_epochs == 1 and config.corpus.passes == chosen["corpus.passes"]


@pytest.mark.slow
def test_what_is_chosen_is_an_ordinary_setting_of_the_run(command, place):
    """Repeating and resuming the run needs no choice, even if other values would now be chosen."""
    assert command("train", "my.txt", "training.max_epochs=1")[0] == 0
    settings = settings_of(place / "runs" / "my")
    assert "auto" not in [settings[name] for name in BY_SIZE]
    expected = auto.choose_by_size(234, BY_SIZE) | {"training.max_epochs": 1}
    assert {name: settings[name] for name in BY_SIZE} == expected
    status, out, err = command("train", "runs/my", "--resume", "training.max_epochs=2")
    assert status == 0 and "chosen" not in err
    assert command("train", "runs/my/config.yaml", "--output", "again")[0] == 0
    assert settings_of(place / "again")["training.max_epochs"] == 2


def test_an_override_wins(place):
    chosen = auto.choose_by_size(234, BY_SIZE)
    settings, _, lines = lines_of("my.txt", overrides=["model.hidden_size=[7, 9, 8]"])
    assert settings.model.hidden_size == (7, 9, 8) and settings.model.num_layers == 3
    assert settings.training.batch_size == chosen["training.batch_size"]
    assert "hidden_size" not in "".join(lines) and "model.embedding_dim=" in lines[1]
    settings, _, _ = lines_of("my.txt", overrides={"optimizer.learning_rate": 0.5})
    assert settings.optimizer.learning_rate == 0.5
    settings, _, _ = lines_of("my.txt", overrides=["corpus.min_count=1"])
    assert settings.corpus.min_count == 1


def test_an_override_may_put_a_chosen_value_out_of_use(place, monkeypatch):
    monkeypatch.setitem(auto.TABLE, "model.num_layers", (2,) * 5)
    monkeypatch.setitem(auto.TABLE, "model.hidden_dropout", (0.3,) * 5)
    assert resolve("my.txt", report=len)[0].model.hidden_dropout == 0.3
    settings, _, lines = lines_of("my.txt", overrides=["model.num_layers=1"])
    assert settings.model.hidden_dropout == 0
    assert "hidden_dropout" not in lines[1]
    assert lines[-1] == "note: not used, because model.num_layers is 1: model.hidden_dropout"


def test_auto_works_in_any_configuration_and_on_the_command_line(place, config):
    settings, _, lines = lines_of(config, overrides=["model.hidden_size=auto"])
    chosen = auto.choose_by_size(1560, ["model.hidden_size"])
    assert settings.model.hidden_size == chosen["model.hidden_size"] != 8
    assert lines[1:] == [f"  model.hidden_size={settings.model.hidden_size}"]
    data = {"corpus": {"source": "files", "text_file": "my.txt"}, "model": {"hidden_size": "auto"}}
    settings, _, _ = lines_of(data, "here")
    assert settings.model.hidden_size == chosen["model.hidden_size"]


def test_the_configuration_written_out_is_the_same(place):
    with_name = resolve("my.txt", report=len)[0]
    assert resolve("text-files", None, ["corpus.text_file=my.txt"], report=len)[0] == with_name


def test_only_what_is_chosen_by_size_may_be_auto(place):
    with pytest.raises(ConfigError, match=r"corpus.vocab_size: found 'auto', must be a whole num"):
        resolve("my.txt", None, ["corpus.vocab_size=auto"], report=len)


def test_a_mistake_is_reported_before_the_text_is_read(place, monkeypatch):
    monkeypatch.setattr(auto.SizeChooser, "__call__", lambda *_: pytest.fail("read"))
    with pytest.raises(ConfigError, match="model.hidden_sze: unknown key"):
        resolve("my.txt", None, ["model.hidden_sze=3"], report=len)
