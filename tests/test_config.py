"""Configurations: right ones load as written; wrong ones get one line for every mistake."""

from dataclasses import fields, replace
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lstm_lm.config import (
    Config,
    EvaluationConfig,
    ModelConfig,
    config_from_dict,
    config_to_dict,
    config_to_yaml,
    load_config,
)
from lstm_lm.errors import ConfigError

CONFIGS = sorted((Path(__file__).parent.parent / "configs").glob("*.yaml"))
KEYS = [
    f"{section.name}.{key.name}"
    for section in fields(Config)
    for key in fields(section.default_factory)
]


def load(tmp_path, text, *overrides):
    path = tmp_path / "some.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    return load_config(path, overrides)


def mistakes(tmp_path, text, *overrides):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text, *overrides)
    return str(caught.value).splitlines()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_config_loads_and_introduces_itself(path):
    load_config(path)
    comments = [line for line in path.read_text().splitlines() if line.startswith("#")]
    for label in ("reproduces:", "expected:", "time:", "machine:", "result:"):
        assert any(line.startswith(f"# {label}") for line in comments), (
            f"{path} does not say {label}"
        )


def test_the_shipped_configs_are_there():
    names = {
        "quickstart",
        "wikitext2",
        "wikitext2-fast",
        "wikitext2-short",
        "wikitext2-medium",
        "wikitext103",
        "text-files",
    }
    assert names <= {path.stem for path in CONFIGS}


def test_wikitext2_points_at_local_files_as_its_header_says():
    path = next(path for path in CONFIGS if path.stem == "wikitext2")
    config = load_config(
        path,
        ["corpus.source=files", "corpus.train_file=a", "corpus.valid_file=b", "corpus.test_file=c"],
    )
    assert (config.corpus.source, config.corpus.test_file) == ("files", "c")


# --- what loads, and as what -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("line, value", [
    ("optimizer.learning_rate=1e-3", 1e-3), ("optimizer.learning_rate=1E-3", 1e-3), ("optimizer.learning_rate=1", 1.0),
    ("optimizer.learning_rate=.5", 0.5), ("optimizer.learning_rate=+2.5e+1", 25.0),
    ("optimizer.betas=[0, 0.5]", (0.0, 0.5)),
    ("training.max_steps=1e5", 100_000), ("training.max_steps=3.0", 3), ("training.max_steps=0x10", 16),
    ("training.max_steps=10_000", 10_000), ("training.max_epochs=", None), ("training.max_grad_norm=~", None),
    ("training.seed=9223372036854775807", 2**63 - 1), ("model.hidden_size=650", 650),
    ("model.hidden_size=[400, 300]", (400, 300)), ("model.tie_weights=no", False), ("model.tie_weights=On", True),
    ("corpus.cache_dir='no'", "no"), ("corpus.cache_dir='1e-3'", "1e-3"),
    ("corpus.cache_dir=2020-01-01", "2020-01-01"),
    ("corpus.cache_dir=1:30", "1:30"), ("corpus.cache_dir='a #b'", "a #b"), ("corpus.cache_dir==", "="),
    ("evaluation.prompts=[]", ()), ("evaluation.prompts=[I grew up in France. I speak fluent]",
                                    ("I grew up in France. I speak fluent",)),
])  # fmt: skip
def test_values_from_the_command_line(tmp_path, line, value):
    section, key = line.split("=")[0].split(".")
    config = load(tmp_path, "{}", *["training.max_steps=16"] * (value is None), line)
    found = getattr(getattr(config, section), key)
    assert (found, type(found)) == (value, type(value))


def test_overrides_win_over_the_file_and_later_ones_over_earlier_ones(tmp_path):
    config = load(
        tmp_path,
        "model: {hidden_size: 100}",
        "model.hidden_size=200",
        "model.hidden_size=300",
        "training.seed=4",
    )
    assert (config.model.hidden_size, config.training.seed) == (300, 4)


def test_what_the_file_leaves_out_has_its_default(tmp_path):
    assert (
        load(tmp_path, "{}")
        == load(tmp_path, "model:\n  # nothing yet\n")
        == config_from_dict({})
        == Config()
    )
    assert load(tmp_path, b"\xef\xbb\xbfmodel:\r\n  num_layers: 3\r\n").model.num_layers == 3


def test_a_list_of_layer_sizes_sets_the_number_of_layers(tmp_path):
    assert load(tmp_path, "model: {hidden_size: [5, 6, 7]}").model.num_layers == 3
    [line] = mistakes(tmp_path, "model: {hidden_size: [5, 6, 7], num_layers: 2}")
    assert line.startswith("model.hidden_size: found [5, 6, 7], must have one size per layer")
    assert mistakes(tmp_path, "model: {hidden_size: []}")[0].startswith(
        "model.hidden_size: found []"
    )


# --- what is refused, and how ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("override, line", [
    ("model.hidden_sze=3", "model.hidden_sze: unknown key; did you mean model.hidden_size?"),
    ("model.learning_rate=3", "model.learning_rate: unknown key; did you mean optimizer.learning_rate?"),
    ("model.hidden_size.0=3", "model.hidden_size.0: unknown key; did you mean model.hidden_size?"),
    ("evaluation.xyz=3", "evaluation.xyz: unknown key; evaluation has reset_per_line, window_length, "),
    ("traning.seed=3", "traning: unknown section; did you mean training?"),
    ("optimizer.learning_rate=-1", "optimizer.learning_rate: found -1, must be a number above 0"),
    ("optimizer.learning_rate='1e-3'", "optimizer.learning_rate: found '1e-3', must be a number above 0 (without"),
    ("optimizer.learning_rate=.inf", "optimizer.learning_rate: found inf, must be a number above 0"),
    ("optimizer.learning_rate=.nan", "optimizer.learning_rate: found nan, must be a number above 0"),
    ("optimizer.learning_rate=1e999", "optimizer.learning_rate: found inf, must be a number above 0"),
    ("optimizer.learning_rate=1e38", "optimizer.learning_rate: found 1e+38, must be a number above 0 (and below 1e+"),
    ("optimizer.learning_rate=" + " " * 100_000 + "1", "optimizer.learning_rate: found a text of 100001 characters"),
    ("optimizer.learning_rate=true", "optimizer.learning_rate: found true, must be a number above 0"),
    ("optimizer.betas=[0.9]", "optimizer.betas: found [0.9], must be a list of 2, each a number of at least 0"),
    ("optimizer.betas=[0.9, 1]", "optimizer.betas[1]: found 1, must be a number of at least 0 and below 1"),
    ("optimizer.final_fraction=2", "optimizer.final_fraction: found 2, must be a number of at least 0 and at most 1"),
    ("model.num_layers=yes", "model.num_layers: found true, must be a whole number of at least 1 and"),
    ("model.num_layers='12'", "model.num_layers: found '12', must be a whole number of at least 1 and at most 1000"),
    ("model.num_layers=2.5", "model.num_layers: found 2.5, must be a whole number of at least 1 and"),
    ("model.num_layers=010", "model.num_layers: found '010', must be a whole number of at least 1 and"),
    ("model.num_layers=1:30", "model.num_layers: found '1:30', must be a whole number of at least 1 and"),
    ("model.num_layers=" + "9" * 5000, "model.num_layers: found '99999999"),
    ("model.num_layers=" + "9" * 50, "model.num_layers: found a number of about 50 digits, must be a whole number"),
    ("model.num_layers=1e300", "model.num_layers: found 1e+300, must be a whole number of at least 1 and"),
    ("model.num_layers=[1, 2]", "model.num_layers: found [1, 2], must be a whole number of at least 1 and"),
    ("model.num_layers={a: 1}", "model.num_layers: found {a: 1}, must be a whole number of at least 1 and"),
    ("model.num_layers=", "model.num_layers: found null, must be a whole number of at least 1 and"),
    ("model.hidden_size=[3, 0]", "model.hidden_size[1]: found 0, must be a whole number of at least 1"),
    ("model.hidden_size=[" + "1," * 1001 + "]", "model.hidden_size: found 1001 sizes, must be at most 1000"),
    ("training.batch_size=1e9", "training.batch_size: found 1000000000.0, must be a whole number of at least 1 and at "
                                "most 1000000"),
    ("model.tie_weights=1", "model.tie_weights: found 1, must be true or false"),
    ("model.tie_weights='yes'", "model.tie_weights: found 'yes', must be true or false"),
    ("model.cell=lsmt", "model.cell: found 'lsmt', must be one of lstm, gru, elman"),
    ("corpus.text_column=no", "corpus.text_column: found false, must be text (YAML reads yes, no, on and off as true"),
    ("corpus.text_column=12", "corpus.text_column: found 12, must be text (put it in quotes to make it text)"),
    ("corpus.text_column=''", "corpus.text_column: found '', must be text"),
    ('corpus.text_column="\\0"', "corpus.text_column: found '\\x00', must be text"),
    ('corpus.text_column="\\ud800"', "corpus.text_column: found '\\ud800', must be text"),
    ('corpus.text_column="\\UFFFFFFFF"', "corpus.text_column: found '\"\\\\UFFFFFFFF\"': not valid YAML: an escape"),
    ("corpus.text_column=my #1.txt", "corpus.text_column: found 'my #1.txt'; YAML ignores what follows #, so put"),
    ("corpus.text_column=[a", "corpus.text_column: found '[a', line 1, column 3: not valid YAML: expected ',' or ']'"),
    ("corpus.text_column=!!python/name:os.system", "corpus.text_column: found '!!python/name:os.system', line 1, "),
    ("evaluation.prompts=hello", "evaluation.prompts: found 'hello', must be a list, each text"),
    ("evaluation.prompts=[I live in: Paris]", "evaluation.prompts[0]: found {I live in: 'Paris'}, must be text (put"),
    ("corpus.text_file=a.txt", "corpus.text_file: has no effect while corpus.source is stories; set "
                                "corpus.source=files, or remove this setting"),
    ("corpus.source=hub", "corpus.dataset: found null, must be a data set's name, because corpus.source is hub"),
    ("model.hidden_size", "model.hidden_size: an override must be section.key=value, such as model.hidden_size=650"),
    ("seed=3", "seed=3: an override must be section.key=value; did you mean training.seed=3?"),
    ("something=3", "something=3: an override must be section.key=value, such as"),
    ("=", "=: an override must be section.key=value, such as"),
])  # fmt: skip
def test_a_wrong_value_gets_its_one_line(tmp_path, override, line):
    [found] = mistakes(tmp_path, "{}", override)
    assert found.startswith(line) and len(found) < 300


@pytest.mark.parametrize(
    "text, line",
    [
        ("", "FILE: is empty, must have sections (corpus, stories, model, "),
        ("# only a remark\n", "FILE: is empty, must have sections"),
        ("- model\n", "FILE: found ['model'], must have sections"),
        ("hello", "FILE: found 'hello', must have sections"),
        (
            "model:\n\thidden_size: 3\n",
            "FILE, line 2, column 1: not valid YAML: found character '\\t' that "
            "cannot start any token (indent with spaces, not with tabs)",
        ),
        ("model: [\n", "FILE, line 2, column 1: not valid YAML: "),
        ("model: {}\n---\nmodel: {}\n", "FILE, line 2, column 1: not valid YAML: "),
        (b"model:\n  cell: \xff\n", "FILE, line 2: byte 0xff is not UTF-8; save the file as UTF-8"),
        ("model: {}\n".encode("utf-16"), "FILE, line 1: byte 0xff is not UTF-8"),
        ("model:\n  cell: a\0b\n", "FILE, line 2: character 0x0 is not allowed in YAML"),
        (
            "a: &a [1]\nb: *a\n",
            "FILE, line 1, column 4: not valid YAML: aliases and anchors (* and &) are not allowed",
        ),
        ("a: " + "[" * 100_000, "FILE: larger than 100000 bytes"),
        (
            "a: " + "[" * 90_000,
            "FILE, line 1, column 23: not valid YAML: nested more than 20 levels deep",
        ),
        ("a: !!set {x}\n", "FILE, line 1, column 4: not valid YAML: tags (!) are not allowed"),
        (
            "model:\n  cell: gru\n  cell: lstm\n",
            "model.cell: given twice, on lines 2 and 3; keep one",
        ),
        ("model: {}\ncorpus: {}\nmodel: {}\n", "model: given twice, on lines 1 and 3; keep one"),
        ("model: 3\n", "model: found 3, must be a section of keys and values"),
        (
            "model: [cell, gru]\n",
            "model: found ['cell', 'gru'], must be a section of keys and values",
        ),
        ("model.cell: gru\n", "model.cell: unknown section; did you mean model.cell?"),
        ("hidden_size: 3\n", "hidden_size: unknown section; did you mean model.hidden_size?"),
        ("{[a]: 3}\n", "top level, line 1: a key must be plain text"),
        ("no: 3\n", "no: unknown section; use corpus, stories, model, optimizer, training, evaluation"),
        ("<<: {seed: 3}\n", "<<: unknown section; use corpus,"),
        (
            "training: {max_epochs: null}\n",
            "training.max_epochs: found null, and training.max_steps is null too; set one of them",
        ),
        (
            "corpus: {source: files}",
            "corpus.train_file: found null, must be a file, because corpus.source is files",
        ),
        (
            "corpus: {source: files, text_file: a, train_file: b}",
            "corpus.text_file: found 'a', but corpus.train_file is given too; give text_file alone",
        ),
        (
            "stories: {people_first: 0.5}",
            "stories.people_first: has no effect while stories.curriculum is null; change "
            "stories.curriculum, or remove this setting",
        ),
    ],
)
def test_a_wrong_file_says_where(tmp_path, text, line):
    assert mistakes(tmp_path, text)[0].startswith(line.replace("FILE", str(tmp_path / "some.yaml")))


def test_a_file_that_cannot_be_read(tmp_path):
    for path, text in (
        (tmp_path / "none.yaml", "no such file"),
        (tmp_path, "is a directory"),
        ("a\0b", "cannot be read"),
    ):
        with pytest.raises(ConfigError, match=text):
            load_config(path)


def test_all_mistakes_of_file_and_overrides_are_reported_at_once(tmp_path):
    text = "model: {hidden_sze: 3, cell: 5}\ntraining: {max_epochs: null}\nevaluation: {prompts: [1, 2]}"
    lines = mistakes(tmp_path, text, "optimizer.learning_rate=0", "nonsense")
    assert [line.split(":")[0] for line in lines] == [
        "nonsense",
        "model.hidden_sze",
        "model.cell",
        "optimizer.learning_rate",
        "evaluation.prompts[0]",
        "evaluation.prompts[1]",
        "training.max_epochs",
    ]


def test_a_dict_is_checked_like_a_file():
    for data, line in (
        ({"model": {"num_layers": 0}}, "model.num_layers: found 0"),
        ([], "configuration: found []"),
        ({1: 2}, "1: unknown section"),
        ({"": 2}, "'': unknown section"),
        (
            {"model": {"num_layers": 16**9999}},
            "model.num_layers: found a number of about 12040 digits",
        ),
    ):
        with pytest.raises(ConfigError) as caught:
            config_from_dict(data)
        assert str(caught.value).startswith(line)


# --- properties ------------------------------------------------------------------------------------------------------

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(
        ["no", "1e-3", "0x10", "010", "1:30", "~", "=", "<<", "2020-01-01", ".nan", "*a"]
    ),
)
PROMPT = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1
).filter(str.strip)
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@QUICK
@given(
    st.lists(
        PROMPT
        | st.sampled_from(["no", "1e-3", "0x10", "1_000", "=", "a: b", "#", "- x", "&a", "1:30"])
    ),
    st.floats(1e-300, 1e37),
    st.lists(st.integers(1, 2**62), min_size=1, max_size=4),
)
def test_a_config_survives_yaml_and_dicts(tmp_path, prompts, rate, sizes):
    config = Config(
        model=ModelConfig(hidden_size=tuple(sizes), num_layers=len(sizes)),
        evaluation=EvaluationConfig(prompts=tuple(prompts)),
    )
    config = replace(config, optimizer=replace(config.optimizer, learning_rate=rate))
    text = config_to_yaml(config)
    assert load(tmp_path, text) == config == config_from_dict(config_to_dict(config))
    assert yaml.safe_load(text)["evaluation"]["prompts"] == list(
        prompts
    )  # other readers of YAML see the same


@QUICK
@given(
    st.dictionaries(
        st.sampled_from(KEYS) | st.text(max_size=8),
        SCALARS | st.lists(SCALARS, max_size=3),
        max_size=6,
    ),
    st.data(),
)
def test_mutated_configs_load_or_say_which_key(tmp_path, values, data):
    sections: dict = {}
    for dotted, value in values.items():
        section, _, key = dotted.partition(".")
        sections.setdefault(section, {})[key] = value
    text = yaml.safe_dump(sections, allow_unicode=True)
    for _ in range(data.draw(st.integers(0, 3))):  # and once it is text, break the text
        place = data.draw(st.integers(0, len(text)))
        text = (
            text[:place]
            + data.draw(st.sampled_from([*"\t\n:#-[]{}&*!|>'\"%@`, \\", "\n---\n"]))
            + text[place:]
        )
    try:
        config = load(tmp_path, text)
    except ConfigError as error:
        assert all(0 < line.find(": ") and line.isprintable() for line in str(error).split("\n"))
    else:
        assert config_from_dict(config_to_dict(config)) == config


@QUICK
@given(st.sampled_from(KEYS), st.text() | SCALARS.map(str))
def test_any_override_is_taken_or_refused(tmp_path, key, value):
    try:
        load(tmp_path, "{}", f"{key}={value}")
    except ConfigError as error:
        assert str(error).isprintable() and str(error).startswith(
            "corpus." if key == "corpus.source" else key
        )
