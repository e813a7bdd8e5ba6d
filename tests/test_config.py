"""Configurations: right ones load as written; wrong ones get one line for every mistake."""

from dataclasses import fields, replace
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lstm_lm.config import (
    CELLS,
    Config,
    EvaluationConfig,
    ModelConfig,
    config_from_dict,
    config_to_dict,
    config_to_yaml,
    load_config,
    nearest_setting,
)
from lstm_lm.errors import ConfigError
from lstm_lm.model.network import count_parameters

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
        "long-range",
        "wikitext2",
        "wikitext2-fast",
        "wikitext2-short",
        "wikitext2-medium",
        "wikitext103",
        "ptb",
        "awd-ptb",
        "awd-wikitext2",
        "mos-wikitext2",
        "mogrifier-wikitext2",
        "text-files",
    }
    assert names <= {path.stem for path in CONFIGS}


@pytest.mark.parametrize("name", ["mos-wikitext2", "mogrifier-wikitext2"])
def test_a_published_model_has_the_published_number_of_parameters(name):
    """35 million in both papers; WikiText-2 has 33,278 words. Counted here once more, by hand."""
    path = next(path for path in CONFIGS if path.stem == name)
    model = load_config(path).model
    words, width, size = 33_278, model.embedding_dim, model.hidden_size
    sizes = size if isinstance(size, tuple) else (size,) * model.num_layers
    below = (width, *sizes)
    expected = words * width + words  # tied vectors, and biases
    for inner, outer in zip(below, sizes, strict=False):
        expected += 4 * (inner + outer + 1) * outer
        if name == "mogrifier-wikitext2":
            by_round = model.mogrifier_rank * (inner + outer)
            expected += 6 * by_round + 3 * (inner + outer)
    expected += model.mixture_softmaxes * ((sizes[-1] + 1) * width + sizes[-1])
    assert count_parameters(model, words) == expected
    assert abs(expected / 35e6 - 1) < 0.01


def test_wikitext2_points_at_local_files_as_its_header_says():
    path = next(path for path in CONFIGS if path.stem == "wikitext2")
    config = load_config(
        path,
        ["corpus.source=files", "corpus.train_file=a", "corpus.valid_file=b", "corpus.test_file=c"],
    )
    assert (config.corpus.source, config.corpus.test_file) == ("files", "c")


# --- what loads, and as what ----------------------------------------------------------------------


@pytest.mark.parametrize("line, value", [
    ("optimizer.learning_rate=1e-3", 1e-3), ("optimizer.learning_rate=1E-3", 1e-3),
    ("optimizer.learning_rate=1", 1.0), ("optimizer.learning_rate=.5", 0.5),
    ("optimizer.learning_rate=+2.5e+1", 25.0), ("optimizer.betas=[0, 0.5]", (0.0, 0.5)),
    ("training.max_steps=1e5", 100_000), ("training.max_steps=3.0", 3),
    ("training.max_steps=0x10", 16), ("training.max_steps=10_000", 10_000),
    ("training.max_epochs=", None), ("training.max_grad_norm=~", None),
    ("training.seed=9223372036854775807", 2**63 - 1), ("model.hidden_size=650", 650),
    ("model.hidden_size=[400, 300]", (400, 300)), ("model.tie_weights=no", False),
    ("model.tie_weights=On", True), ("corpus.cache_dir='no'", "no"),
    ("corpus.cache_dir='1e-3'", "1e-3"), ("corpus.cache_dir=2020-01-01", "2020-01-01"),
    ("corpus.cache_dir=1:30", "1:30"), ("corpus.cache_dir='a #b'", "a #b"),
    ("corpus.cache_dir==", "="), ("evaluation.prompts=[]", ()),
    ("evaluation.prompts=[I grew up in France. I speak fluent]",
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


# --- what is refused, and how ---------------------------------------------------------------------


@pytest.mark.parametrize("override, line", [
    ("model.hidden_sze=3", "model.hidden_sze: unknown key; did you mean model.hidden_size?"),
    ("model.learning_rate=3",
     "model.learning_rate: unknown key; did you mean optimizer.learning_rate?"),
    ("model.hidden_size.0=3", "model.hidden_size.0: unknown key; did you mean model.hidden_size?"),
    ("evaluation.xyz=3",
     "evaluation.xyz: unknown key; evaluation has reset_per_line, window_length, "),
    ("traning.seed=3", "traning: unknown section; did you mean training?"),
    ("optimizer.learning_rate=-1", "optimizer.learning_rate: found -1, must be a number above 0"),
    ("optimizer.learning_rate='1e-3'",
     "optimizer.learning_rate: found '1e-3', must be a number above 0 (without"),
    ("optimizer.learning_rate=.inf",
     "optimizer.learning_rate: found inf, must be a number above 0"),
    ("optimizer.learning_rate=.nan",
     "optimizer.learning_rate: found nan, must be a number above 0"),
    ("optimizer.learning_rate=1e999",
     "optimizer.learning_rate: found inf, must be a number above 0"),
    ("optimizer.learning_rate=1e38",
     "optimizer.learning_rate: found 1e+38, must be a number above 0 (and below 1e+"),
    ("optimizer.learning_rate=" + " " * 100_000 + "1",
     "optimizer.learning_rate: found a text of 100001 characters"),
    ("optimizer.learning_rate=true",
     "optimizer.learning_rate: found true, must be a number above 0"),
    ("optimizer.betas=[0.9]",
     "optimizer.betas: found [0.9], must be a list of 2, each a number of at least 0"),
    ("optimizer.betas=[0.9, 1]",
     "optimizer.betas[1]: found 1, must be a number of at least 0 and below 1"),
    ("optimizer.final_fraction=2",
     "optimizer.final_fraction: found 2, must be a number of at least 0 and at most 1"),
    ("model.num_layers=yes",
     "model.num_layers: found true, must be a whole number of at least 1 and"),
    ("model.num_layers='12'",
     "model.num_layers: found '12', must be a whole number of at least 1 and at most 1000"),
    ("model.num_layers=2.5",
     "model.num_layers: found 2.5, must be a whole number of at least 1 and"),
    ("model.num_layers=010",
     "model.num_layers: found '010', must be a whole number of at least 1 and"),
    ("model.num_layers=1:30",
     "model.num_layers: found '1:30', must be a whole number of at least 1 and"),
    ("model.num_layers=" + "9" * 5000, "model.num_layers: found '99999999"),
    ("model.num_layers=" + "9" * 50,
     "model.num_layers: found a number of about 50 digits, must be a whole number"),
    ("model.num_layers=1e300",
     "model.num_layers: found 1e+300, must be a whole number of at least 1 and"),
    ("model.num_layers=[1, 2]",
     "model.num_layers: found [1, 2], must be a whole number of at least 1 and"),
    ("model.num_layers={a: 1}",
     "model.num_layers: found {a: 1}, must be a whole number of at least 1 and"),
    ("model.num_layers=", "model.num_layers: found null, must be a whole number of at least 1 and"),
    ("model.hidden_size=[3, 0]",
     "model.hidden_size[1]: found 0, must be a whole number of at least 1"),
    ("model.hidden_size=[" + "1," * 1001 + "]",
     "model.hidden_size: found 1001 sizes, must be at most 1000"),
    ("training.batch_size=1e9",
     "training.batch_size: found 1000000000.0, must be a whole number of at least 1 and at most "
     "1000000"),
    ("model.tie_weights=1", "model.tie_weights: found 1, must be true or false"),
    ("model.tie_weights='yes'", "model.tie_weights: found 'yes', must be true or false"),
    ("model.cell=lsmt", "model.cell: found 'lsmt', must be one of lstm, gru, elman"),
    ("corpus.text_column=no",
     "corpus.text_column: found false, must be text (YAML reads yes, no, on and off as true"),
    ("corpus.text_column=12",
     "corpus.text_column: found 12, must be text (put it in quotes to make it text)"),
    ("corpus.text_column=''", "corpus.text_column: found '', must be text"),
    ('corpus.text_column="\\0"', "corpus.text_column: found '\\x00', must be text"),
    ('corpus.text_column="\\ud800"', "corpus.text_column: found '\\ud800', must be text"),
    ('corpus.text_column="\\UFFFFFFFF"',
     "corpus.text_column: found '\"\\\\UFFFFFFFF\"': not valid YAML: an escape"),
    ("corpus.text_column=my #1.txt",
     "corpus.text_column: found 'my #1.txt'; YAML ignores what follows #, so put"),
    ("corpus.text_column=[a",
     "corpus.text_column: found '[a', line 1, column 3: not valid YAML: expected ',' or ']'"),
    ("corpus.text_column=!!python/name:os.system",
     "corpus.text_column: found '!!python/name:os.system', line 1, "),
    ("evaluation.prompts=hello", "evaluation.prompts: found 'hello', must be a list, each text"),
    ("evaluation.prompts=[I live in: Paris]",
     "evaluation.prompts[0]: found {I live in: 'Paris'}, must be text (put"),
    ("corpus.text_file=a.txt",
     "corpus.text_file: has no effect while corpus.source is stories; set corpus.source=files, "
     "or remove this setting"),
    ("corpus.source=hub",
     "corpus.dataset: found null, must be a data set's name, because corpus.source is hub"),
    ("model.hidden_size",
     "model.hidden_size: an override must be section.key=value, such as model.hidden_size=650"),
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
        (
            "no: 3\n",
            "no: unknown section; use corpus, stories, model, optimizer, training, evaluation",
        ),
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
            "corpus.text_file: found 'a', but corpus.train_file is given too; set "
            "corpus.text_file=null, or remove corpus.train_file",
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
    text = (
        "model: {hidden_sze: 3, cell: 5}\ntraining: {max_epochs: null}\n"
        "evaluation: {prompts: [1, 2]}"
    )
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


# --- properties -----------------------------------------------------------------------------------

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


# --- settings without effect ----------------------------------------------------------------------


@pytest.mark.parametrize("overrides, line", [
    (["corpus.text_file=a"],
     "corpus.text_file: has no effect while corpus.source is stories; set corpus.source=files, "
     "or remove this setting"),
    (["corpus.source=files", "corpus.text_file=a", "stories.count=9"],
     "stories.count: has no effect while corpus.source is files; set corpus.source=stories, or "
     "remove this setting"),
    (["corpus.text_column=body"],
     "corpus.text_column: has no effect while corpus.source is stories; set corpus.source=hub or "
     "corpus.source=files, or remove this setting"),
    (["corpus.valid_fraction=0.1"],
     "corpus.valid_fraction: has no effect while corpus.text_file is null; change "
     "corpus.text_file, or"),
    (["model.sampled_words=7"],
     "model.sampled_words: has no effect while model.output is full; set model.output=sampled or "
     "model.output=sampled_mos, or"),
    (["model.adaptive_factor=2", "model.output=sampled"],
     "model.adaptive_factor: has no effect while model.output is sampled; set "
     "model.output=adaptive"),
    (["model.memory_words=9", "model.cell=elman"],
     "model.memory_words: has no effect while model.cell is elman; change model.cell, or remove"),
    (["model.hidden_dropout=.1", "model.num_layers=1"],
     "model.hidden_dropout: has no effect while model.num_layers is 1; change model.num_layers"),
    (["model.hidden_dropout=.1", "model.hidden_size=[9]"],
     "model.hidden_dropout: has no effect while model.num_layers is 1; change model.num_layers"),
    (["optimizer.muon_learning_rate=1"],
     "optimizer.muon_learning_rate: has no effect while optimizer.name is adamw; set "
     "optimizer.name=muon"),
    (["optimizer.betas=[0, 0]", "optimizer.name=sgd"],
     "optimizer.betas: has no effect while optimizer.name is sgd; set optimizer.name=adamw or "
     "optimizer.name=muon, or remove"),
    (["optimizer.momentum=0.9"],
     "optimizer.momentum: has no effect while optimizer.name is adamw; set optimizer.name=sgd, or"),
    (["optimizer.plateau_factor=0.5"],
     "optimizer.plateau_factor: has no effect while optimizer.schedule is linear; set "
     "optimizer.schedule=plateau"),
    (["optimizer.final_fraction=0", "optimizer.schedule=constant"],
     "optimizer.final_fraction: has no effect while optimizer.schedule is constant; set "
     "optimizer.schedule=linear or optimizer.schedule=cosine"),
    (["training.dropout_start=0"],
     "training.dropout_start: has no effect while model.embedding_dropout, model.input_dropout, "
     "model.hidden_dropout, model.output_dropout, model.weight_dropout and model.mixture_dropout "
     "are 0; change "
     "model.embedding_dropout, model.input_dropout, model.hidden_dropout, model.output_dropout, "
     "model.weight_dropout or model.mixture_drop"),
    (["evaluation.continuation_words=3"],
     "evaluation.continuation_words: has no effect while evaluation.prompts is []"),
])  # fmt: skip
def test_a_setting_without_effect_is_refused_in_the_file_and_on_the_command_line(
    tmp_path, overrides, line
):
    [found] = mistakes(tmp_path, "{}", *overrides)
    assert found.startswith(line)
    values = config_of_overrides(overrides)
    [found] = mistakes(tmp_path, yaml.safe_dump(values))
    assert found.startswith(line)
    with pytest.raises(ConfigError) as caught:
        config_from_dict(values)
    assert str(caught.value) == found
    assert config_from_dict(values, refuse_unused=False)


def config_of_overrides(overrides):
    sections = {}
    for override in overrides:
        dotted, value = override.split("=", 1)
        section, key = dotted.split(".")
        sections.setdefault(section, {})[key] = yaml.safe_load(value)
    return sections


@pytest.mark.parametrize("overrides", [
    ["corpus.source=hub", "corpus.dataset=a", "corpus.text_column=body", "corpus.train_split=x"],
    ["corpus.source=files", "corpus.text_file=a.parquet", "corpus.text_column=body",
     "corpus.valid_fraction=0.1"],
    ["stories.curriculum=4", "stories.people_first=0.5"],
    ["model.output=sampled", "model.sampled_words=7"],
    ["model.output=adaptive", "model.adaptive_cutoffs=[9]"],
    ["model.cell=mogrifier_lstm", "model.mogrifier_rounds=2", "model.mogrifier_rank=7"],
    ["model.output=mos", "model.mixture_softmaxes=7", "model.mixture_dropout=.2"],
    ["model.output=sampled_mos", "model.sampled_words=7"],
    ["model.cell=gru", "model.memory_words=9"],
    ["optimizer.name=muon", "optimizer.betas=[0, 0]", "optimizer.muon_learning_rate=1"],
    ["optimizer.name=sgd", "optimizer.momentum=0.9"],
    ["optimizer.schedule=cosine", "optimizer.final_fraction=0"],
    ["optimizer.schedule=plateau", "optimizer.plateau_factor=.5"],
    ["training.dropout_start=0", "model.weight_dropout=.1"],
    ["evaluation.prompts=[I]", "evaluation.continuation_words=3"],
])  # fmt: skip
def test_settings_that_have_an_effect_are_taken(tmp_path, overrides):
    config = load(tmp_path, "{}", *overrides)
    assert config == load(tmp_path, yaml.safe_dump(config_of_overrides(overrides)))
    assert config != Config()


def test_a_setting_needs_those_that_it_depends_on_to_have_an_effect_themselves(tmp_path):
    files = "corpus.source=files", "corpus.text_file=a"
    lines = mistakes(tmp_path, "{}", *files, "stories.curriculum=4", "stories.people_first=0.5")
    assert [line.partition(";")[0] for line in lines] == [
        "stories.curriculum: has no effect while corpus.source is files",
        "stories.people_first: has no effect while corpus.source is files",
    ]
    one_layer = "model.num_layers=1", "model.hidden_dropout=0.1", "training.dropout_start=0"
    lines = mistakes(tmp_path, "{}", *one_layer)
    assert [line.partition(":")[0] for line in lines] == [
        "model.hidden_dropout",
        "training.dropout_start",
    ]


def test_a_default_is_never_without_effect(tmp_path):
    """A run directory's config.yaml lists every setting."""
    files = load(tmp_path, "corpus: {source: files, text_file: a}")
    assert load(tmp_path, config_to_yaml(files)) == files
    assert load(tmp_path, "{}", "stories.count=8000", "corpus.dataset=null") == Config()


def load_with_notes(tmp_path, text, overrides, **options):
    path, notes = tmp_path / "some.yaml", []
    path.write_text(text)
    return load_config(path, overrides, notes, **options), notes


def test_what_an_override_puts_out_of_use_in_the_file_is_dropped_with_a_note(tmp_path):
    text = "corpus: {source: hub, dataset: a, dataset_config: b}\nmodel: {memory_words: 9}\n"
    files = ["corpus.source=files", "corpus.text_file=c"]
    config, notes = load_with_notes(tmp_path, text, [*files, "model.cell=elman"])
    assert notes == [
        "not used, because corpus.source is files: corpus.dataset, corpus.dataset_config",
        "not used, because model.cell is elman: model.memory_words",
    ]
    assert config == config_from_dict(
        {"corpus": {"source": "files", "text_file": "c"}, "model": {"cell": "elman"}}
    )
    assert load(tmp_path, config_to_yaml(config)) == config
    assert load_with_notes(tmp_path, text, [])[1] == []
    assert load(tmp_path, text, *files) == load_with_notes(tmp_path, text, files)[0]


def test_an_override_is_never_dropped(tmp_path):
    text = "corpus: {source: hub, dataset: a}\nmodel: {memory_words: 9}\n"
    [line] = mistakes(tmp_path, text, "model.cell=elman", "model.memory_words=10")
    assert line.startswith("model.memory_words: has no effect while model.cell is elman")


def test_a_file_that_is_wrong_by_itself_is_not_excused_by_an_override(tmp_path):
    text = "corpus: {text_file: a}\n"
    [line] = mistakes(tmp_path, text, "corpus.source=hub", "corpus.dataset=b")
    assert line.startswith("corpus.text_file: has no effect while corpus.source is hub; set")
    assert load(tmp_path, text, "corpus.source=files").corpus.text_file == "a"
    assert load(tmp_path, text, "corpus.text_file=null") == Config()


def test_base_overrides_count_as_part_of_the_file(tmp_path):
    base = ["model.memory_words=9", "training.seed=3"]
    config, notes = load_with_notes(tmp_path, "{}", ["model.cell=elman"], base_overrides=base)
    assert notes == ["not used, because model.cell is elman: model.memory_words"]
    assert (config.training.seed, config.model.memory_words) == (3, None)
    config, notes = load_with_notes(tmp_path, "{}", ["model.cell=gru"], base_overrides=base)
    assert notes == [] and config.model.memory_words == 9


# --- overrides from Python, and cells that are registered later -----------------------------------


def test_overrides_may_be_a_dict_of_python_values(tmp_path):
    values = {"model.hidden_size": (5, 6), "optimizer.learning_rate": 1, "corpus.cache_dir": "010"}
    config, _ = load_with_notes(tmp_path, "model: {num_layers: 2}", values)
    assert config.model.hidden_size == (5, 6) and config.corpus.cache_dir == "010"
    assert config_from_dict({"model": {"num_layers": 2}}, values) == config
    data = {"training": {"seed": 1}}
    assert config_from_dict(data, {"training.seed": 2}).training.seed == 2
    assert data == {"training": {"seed": 1}}
    for overrides, line in (
        ({"model.num_layers": "3"}, "model.num_layers: found '3', must be a whole number"),
        ({"lr": 1}, "lr: an override must be section.key=value; did you mean optimizer.learning_r"),
        ({"optimizer.lr": 1}, "optimizer.lr: unknown key; did you mean optimizer.learning_rate?"),
        ({3: 1}, "3: an override must be section.key=value, such as"),
    ):
        with pytest.raises(ConfigError) as caught:
            config_from_dict({}, overrides)
        assert str(caught.value).startswith(line) and "\n" not in str(caught.value)


def test_the_cells_are_those_of_the_registry(tmp_path, monkeypatch):
    [line] = mistakes(tmp_path, "{}", "model.cell=mine")
    assert line == f"model.cell: found 'mine', must be one of {', '.join(CELLS)}"
    monkeypatch.setitem(CELLS, "mine", "some.module:Mine")
    assert load(tmp_path, "{}", "model.cell=mine").model.cell == "mine"
    assert mistakes(tmp_path, "{}", "model.cell=other")[0].endswith(", mine")


# --- names that people bring ----------------------------------------------------------------------

DROPOUTS = (
    "model.hidden_dropout or model.input_dropout or model.output_dropout or "
    "model.embedding_dropout or model.weight_dropout"
)


@pytest.mark.parametrize("name, meant", [
    ("lr", "optimizer.learning_rate"), ("clip", "training.max_grad_norm"),
    ("nhid", "model.hidden_size"), ("emsize", "model.embedding_dim"),
    ("nlayers", "model.num_layers"), ("bptt", "training.bptt_length"),
    ("tied", "model.tie_weights"), ("dropout", DROPOUTS), ("dropouti", "model.input_dropout"),
    ("dropouth", "model.hidden_dropout"), ("dropoute", "model.embedding_dropout"),
    ("wdrop", "model.weight_dropout"), ("beta", "optimizer.betas"),
    ("epochs", "training.max_epochs"), ("batch", "training.batch_size"),
    ("cuda", "training.device"), ("log_interval", "training.log_every"),
    ("nonmono", "training.patience"), ("wdecay", "optimizer.weight_decay"),
    ("adam", "optimizer.name"), ("sgd", "optimizer.name"),
])  # fmt: skip
def test_a_name_of_another_program_is_recognised_wherever_it_is_used(tmp_path, name, meant):
    first, must_be = meant.partition(" ")[0], "an override must be section.key=value"
    for text, overrides, line in (
        ("{}", [f"{name}=1"], f"{name}=1: {must_be}; did you mean {first}=1?"),
        ("{}", [f"training.{name}=1"], f"training.{name}: unknown key; did you mean {meant}?"),
        (f"{name}: 1", [], f"{name}: unknown section; did you mean {meant}?"),
        (f"model: {{{name}: 1}}", [], f"model.{name}: unknown key; did you mean {meant}?"),
    ):  # fmt: skip
        assert mistakes(tmp_path, text, *overrides) == [line]
    for form in (
        name,
        f"--{name}",
        f"--{name.replace('_', '-')}",
        name.upper(),
        f"training.{name}",
    ):
        assert nearest_setting(form) == first


@pytest.mark.parametrize("old, new", [
    ("corpus.stories", "stories.count"), ("corpus.seed", "stories.seed"),
    ("corpus.farthest", "stories.farthest"), ("corpus.returns", "stories.returns"),
    ("corpus.curriculum", "stories.curriculum"), ("corpus.two_people", "stories.two_people"),
    ("corpus.quotation", "stories.quotation"), ("training.reset_lines", "training.reset_per_line"),
])  # fmt: skip
def test_an_old_name_leads_to_the_new_one(tmp_path, old, new):
    assert mistakes(tmp_path, "{}", f"{old}=1") == [f"{old}: unknown key; did you mean {new}?"]
    assert nearest_setting(old) == new


@pytest.mark.parametrize("override, meant", [
    ("optimizer.name=adam", "adamw"), ("optimizer.name=SGD", "sgd"),
    ("corpus.source=biographies", "stories"), ("corpus.source=file", "files"),
    ("model.cell=LSTM", "lstm"), ("training.precision=fp16", "bf16"),
])  # fmt: skip
def test_a_choice_that_is_nearly_right_is_recognised(tmp_path, override, meant):
    [line] = mistakes(tmp_path, "{}", override)
    assert line.endswith(f"; did you mean {meant}?")


@pytest.mark.parametrize("name, found", [
    ("training.seed", "training.seed"), ("hidden_size", "model.hidden_size"),
    ("--max-steps", "training.max_steps"), ("hiden_size", "model.hidden_size"),
    ("model.hiden_size", "model.hidden_size"), ("Model.lr", "optimizer.learning_rate"),
    ("model", "model.cell"), ("optimizer", "optimizer.name"), ("seed", "training.seed"),
    ("xyz", None), ("", None), ("--", None), ("corpus", None), ("x" * 10**6, None),
])  # fmt: skip
def test_the_nearest_setting(name, found):
    assert nearest_setting(name) == found


def test_a_section_that_is_a_value_leads_to_its_setting(tmp_path):
    assert mistakes(tmp_path, "optimizer: sgd") == [
        "optimizer: found 'sgd', must be a section of keys and values; did you mean optimizer.name?"
    ]
    assert mistakes(tmp_path, "Model: {cell: gru}") == [
        "Model: unknown section; did you mean model?"
    ]
    assert mistakes(tmp_path, "evaluation: {seed: 1}") == [
        "evaluation.seed: unknown key; did you mean stories.seed or training.seed?"
    ]
