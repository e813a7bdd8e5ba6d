"""Damaged configurations, by accident or on purpose: loaded right, or refused with one line each.

What loads is compared with the text by an independent YAML reader: no key may be skipped, and no
value changed.
"""

import json
import re

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lstm_lm.config import Config, config_from_dict, config_to_dict, config_to_yaml, load_config
from lstm_lm.errors import ConfigError

HOSTILE = {
    "deadline": None,
    "derandomize": True,
    "suppress_health_check": list(HealthCheck),
    "database": None,
}
SETTINGS = {section: list(keys) for section, keys in config_to_dict(Config()).items()}
KEYS = [f"{section}.{key}" for section, keys in SETTINGS.items() for key in keys]

BASES = [
    "model:\n  cell: gru\n  hidden_size: [40, 30]\n  tie_weights: no\n"
    "training:\n  max_steps: 1e3\n  seed: 0x10\n",
    "# quick\n"
    "corpus: {source: files, text_file: 'my novel.txt', valid_fraction: .1, lowercase: Yes}\n",
    "optimizer:\n  learning_rate: 1e-3 # peak\n  betas: [0.9, 0.99]\n  schedule: cosine\n  "
    "embedding_learning_rate: ~\n",
    'evaluation:\n  prompts:\n    - I grew up in\n    - "it\'s: a \\u0041"\n  continuation_words: 5'
    "\nmodel: {}\n",
    "training: {batch_size: 20, bptt_length: 35, max_epochs: null, max_steps: 10_000, device: cpu}"
    "\ncorpus:\n",
    config_to_yaml(Config()).partition("model:")[0],
]
VALUES = [
    "no",
    "NO",
    "on",
    "y",
    "true",
    "tRue",
    "1e-3",
    "1E3",
    "1.e3",
    "0x10",
    "0o17",
    "010",
    "0b1",
    "1_000",
    "1,000",
    "1__0",
    "1:30",
    "+1",
    "-0",
    "-0.0",
    ".5",
    "5.",
    "1e",
    "1e999",
    "1e-999",
    ".nan",
    ".inf",
    "-.INF",
    "nan",
    "inf",
    "12e03",
    "3",
    "9" * 30,
    "9" * 5000,
    "-" + "9" * 19,
    "9223372036854775807",
    "9223372036854775808",
    "2020-01-01",
    "2020-01-01 10:00:00",
    "~",
    "null",
    "NULL",
    "''",
    '""',
    "' '",
    "*a",
    "&a 1",
    "&a",
    "!!int 3",
    "!!str 3",
    "!!python/object/apply:os.system ['true']",
    "!!python/name:os.system",
    "!!binary aGk=",
    "!!timestamp 2020-01-01",
    "!!null ''",
    "!x",
    "!",
    "! 3",
    "=",
    "<<",
    "[]",
    "[1]",
    "[1, [2]]",
    "[1, 2,]",
    "[,]",
    "{}",
    "{a: 1}",
    "{a}",
    "[a: 1]",
    "? a",
    "- 1",
    "| 3",
    "|\n    3",
    ">-\n    a\n    b",
    "'it''s'",
    r'"\x41"',
    r'"\ud800"',
    r'"\0"',
    r'"\U00110000"',
    r'"\UFFFFFFFF"',
    '"a\\\n   b"',
    "a # b",
    "a#b",
    "#",
    "a: b",
    "@a",
    "`a",
    "%a",
    "\u00e9",
    "\U0001f600",
    "\u202e",
    "\u2028",
    "\ufeff",
    "\t1",
    "1\t",
    "lstm",
    "gru",
    "adamw",
    "files",
]
SNIPPETS = [
    "<<: {seed: 3}\n",
    "<<: *a\n",
    "base: &a {cell: gru}\n",
    "model: &m\n",
    "---\n",
    "...\n",
    "--- {}\n",
    "%YAML 1.1\n---\n",
    "%YAML 99999999999999999999.1\n",
    "%TAG ! tag:x,2000:\n---\n",
    "\t\n",
    "\tmodel:\n",
    "? [a]\n: b\n",
    "? model\n: {cell: gru}\n",
    "no: 1\n",
    "~: 1\n",
    "1: 2\n",
    "'': 1\n",
    "model.cell: gru\n",
    "hidden_size: 3\n",
    "Model: {cell: gru}\n",
    "model : {cell: gru}\n",
    '"model": {cell: gru}\n',
    "model:\n",
    "  seed: 3\n",
    " \n",
    "\r\n",
    "\r",
    "\x85",
    "\u2028",
    "\0",
    "\x1b[2J",
    "\ud800",
    "\ufeff",
    "\ufffe",
    "#",
    "# \n",
    "'",
    '"',
    "[",
    "}",
    "- ",
    "training: {seed: 1, seed: 2}\n",
    "\"training\": {'seed': 1, seed: 1}\n",
    "a: " + "[" * 30 + "]" * 30 + "\n",
    "{" * 50,
    "lol: &l [lol]\nlol2: &m [*l, *l, *l]\nlol3: &n [*m, *m, *m]\nlol4: [*n, *n, *n]\n",
    "- - - " * 20,
]


@st.composite
def mutated_texts(draw):
    """A configuration with one to three random changes."""
    text = draw(st.sampled_from(BASES))
    for _ in range(draw(st.integers(1, 3))):
        lines = text.splitlines(keepends=True) or [""]
        at = draw(st.integers(0, len(lines) - 1))
        place = draw(st.integers(0, len(text)))
        kind = draw(
            st.sampled_from(
                [
                    "value",
                    "value",
                    "value",
                    "key",
                    "key",
                    "new",
                    "snippet",
                    "snippet",
                    "character",
                    "cut",
                    "twice",
                    "indent",
                    "swap",
                    "text",
                ]
            )
        )
        if kind == "value":
            found = list(re.finditer(r"(?<=[:,\[] )[^,\]}\n]+", text))
            if found:
                spot = draw(st.sampled_from(found))
                text = text[: spot.start()] + draw(st.sampled_from(VALUES)) + text[spot.end() :]
        elif kind == "key":
            found = list(re.finditer(r"\w+(?=:)", text))
            if found:
                spot, other = (
                    draw(st.sampled_from(found)),
                    draw(st.sampled_from(KEYS)).split(".")[1],
                )
                word = spot.group()
                new = draw(
                    st.sampled_from(
                        [
                            word.upper(),
                            word[:-1],
                            word + "s",
                            word[::-1],
                            other,
                            f"'{word}'",
                            word + " ",
                            f"model.{word}",
                            "<<",
                            "",
                            "\u0435" + word[1:],
                        ]
                    )
                )
                text = text[: spot.start()] + new + text[spot.end() :]
        elif kind == "new":
            section, key = draw(st.sampled_from(KEYS)).split(".")
            text += f"{section}: {{{key}: {draw(st.sampled_from(VALUES))}}}\n"
        elif kind == "snippet":
            text = "".join([*lines[:at], draw(st.sampled_from(SNIPPETS)), *lines[at:]])
        elif kind == "character":
            new = draw(st.characters() | st.sampled_from("\t\n:#-[]{}&*!|>'\"%@`, \\"))
            text = text[:place] + new + text[place + 1 :]
        elif kind == "cut":
            text = text[:place]
        elif kind == "twice":
            text = "".join([*lines[:at], lines[at], *lines[at:]])
        elif kind == "indent":
            text = "".join(
                [*lines[:at], draw(st.sampled_from([" ", "  ", "\t", "      "])), *lines[at:]]
            )
        elif kind == "swap":
            text = "".join([*lines[at:], *lines[:at]])
        else:
            text = text[:place] + draw(st.text(max_size=6)) + text[place:]
    return text


@st.composite
def mutated_files(draw):
    text = draw(mutated_texts())
    encoding = draw(st.sampled_from(["utf-8"] * 12 + ["utf-8-sig", "utf-16", "latin-1", "utf-32"]))
    content = text.encode(encoding, "surrogatepass" if encoding.startswith("utf") else "replace")
    if draw(st.integers(0, 15)) == 0:
        content += draw(st.binary(max_size=3))
    return content


def has_value(node, value):
    """Whether a node of YAML has this value, by the rules in `strict_yaml`."""
    if isinstance(node, yaml.SequenceNode):
        return (
            isinstance(value, tuple)
            and len(value) == len(node.value)
            and all(map(has_value, node.value, value))
        )
    text = node.value
    if isinstance(value, str):
        return text == value
    if node.style is not None or isinstance(value, tuple):
        return False
    if value is None:
        return text in ("", "~", "null", "Null", "NULL")
    if isinstance(value, bool):
        return text.lower() in (("yes", "true", "on") if value else ("no", "false", "off"))
    digits = text.replace("_", "")
    number = int(digits, 0) if re.fullmatch(r"[-+]?(0x\w+|\d+)", digits) else float(digits)
    return value == (float(number) if isinstance(value, float) else number)


def check_that_nothing_is_skipped(text, config):
    """The configuration has every key of the text, with the value in the text, and no other."""
    root = yaml.compose(text, yaml.BaseLoader)
    seen = set()
    for section, keys in root.value:
        if isinstance(keys, yaml.ScalarNode):
            assert has_value(keys, None), keys
            continue
        for key, value in keys.value:
            dotted = f"{section.value}.{key.value}"
            assert dotted in KEYS and dotted not in seen, dotted
            seen.add(dotted)
            assert has_value(value, getattr(getattr(config, section.value), key.value)), dotted
    left_out = {dotted for dotted in KEYS if dotted not in seen}
    for dotted in left_out - ({"model.num_layers"} if "model.hidden_size" in seen else set()):
        section, key = dotted.split(".")
        assert getattr(getattr(config, section), key) == getattr(getattr(Config(), section), key)


def check_that_every_mistake_has_its_line(error, path=None):
    lines = str(error).split("\n")
    assert len({line.partition(": ")[0] for line in lines}) == len(lines)
    for line in lines:
        assert line.isprintable() and 0 < line.find(": ") and len(line) < 700, line
        where = line.partition(": ")[0]
        assert (
            path is not None
            and line.startswith(str(path))
            or re.split(r"[.[]", where.strip("'"))[0] in SETTINGS
            or any(
                said in line
                for said in ("unknown section", "given twice", "a key must be plain text")
            )
        ), line


@pytest.mark.slow
def test_two_thousand_mutated_files(tmp_path):
    path = tmp_path / "some.yaml"
    outcomes = {"loaded": 0, "refused": 0}

    @settings(max_examples=2000, **HOSTILE)
    @given(mutated_files())
    def read(content):
        path.write_bytes(content)
        try:
            config = load_config(path)
        except ConfigError as error:
            outcomes["refused"] += 1
            check_that_every_mistake_has_its_line(error, path)
        else:
            outcomes["loaded"] += 1
            check_that_nothing_is_skipped(content.decode("utf-8-sig"), config)
            assert config_from_dict(config_to_dict(config)) == config

    read()
    assert outcomes["loaded"] > 50 and outcomes["refused"] > 1000, outcomes


@pytest.mark.slow
def test_five_hundred_mutated_overrides(tmp_path):
    path = tmp_path / "some.yaml"
    path.write_text("{}")
    outcomes = {"loaded": 0, "refused": 0}
    odd_keys = st.sampled_from(
        [
            "seed",
            "training.",
            ".seed",
            ".",
            "",
            "training",
            "Training.seed",
            "training.Seed",
            " training . seed ",
            "training.seed.x",
            "training.seed[0]",
            "a.b",
            "\ud800.\0",
        ]
    )
    usual = st.sampled_from(
        [
            (f"{section}.{key}", "=", json.dumps(value))
            for section, keys in config_to_dict(Config()).items()
            for key, value in keys.items()
        ]
    )
    keys = st.one_of(*[st.sampled_from(KEYS)] * 8, odd_keys, st.text(max_size=8))
    values = st.sampled_from(
        ["3", "1e-3", "0x10", ".5", "no", "~", "'a b'", "[1]", "[a]"]
    ) | st.sampled_from(VALUES)

    @settings(max_examples=500, **HOSTILE)
    @given(
        usual
        | st.tuples(
            keys, st.sampled_from([*"=" * 16, "", "==", ":", " = "]), values | st.text(max_size=12)
        )
    )
    def apply(parts):
        key, equals, value = parts
        override = key + equals + value
        try:
            config = load_config(path, [override])
        except ConfigError as error:
            outcomes["refused"] += 1
            lines = str(error).split("\n")
            assert all(line.isprintable() and ": " in line for line in lines) and len(lines) <= 2
            if key in KEYS and "=" in equals:
                assert any(line.startswith((key, key.split(".")[0])) for line in lines), lines
        else:
            outcomes["loaded"] += 1
            dotted, _, text = override.partition("=")
            section, name = (part.strip() for part in dotted.split("."))
            node = yaml.compose(text, yaml.BaseLoader)
            found = getattr(getattr(config, section), name)
            assert found in (None, ()) if node is None else has_value(node, found)

    apply()
    assert outcomes["loaded"] > 40 and outcomes["refused"] > 300, outcomes


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        "model:\n" + "".join(f" k{number}: 1\n" for number in range(9000)),
        ":" * 90_000,
        "[],\n" * 20_000,
        "'" * 90_001,
        "? " * 40_000,
        "?\n" * 40_000,
        "%a\n" * 30_000,
        "- " * 40_000,
        "{" * 90_000,
        "!" * 90_000,
        "&a " * 30_000,
        "\n" * 99_999,
        "training: {seed: 1" + "_1" * 45_000 + "}",
        "optimizer: {learning_rate: 1e-" + "9" * 90_000 + "}",
        "evaluation: {prompts: [" + "1," * 40_000 + "]}",
        "x" * 10_000_000,
    ],
)
def test_a_large_file_is_answered(tmp_path, text):
    """Some of these take a careless reader exponential or quadratic time; then this test hangs."""
    path = tmp_path / "some.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as told:
        load_config(path)
    check_that_every_mistake_has_its_line(told.value, path)
