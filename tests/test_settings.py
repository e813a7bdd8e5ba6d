"""``lstm-lm settings``: finds every setting; its tables, JSON, schema and reference are right."""

import io
import json
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from lstm_lm.cli.settings import find_settings, format_sections
from lstm_lm.config import CELLS, Config, all_settings, config_to_dict, load_config, reference
from lstm_lm.config.effect import Condition, unmet_conditions
from lstm_lm.config.strict_yaml import parse_yaml

ROOT = Path(__file__).parent.parent
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
REFERENCE = ROOT / "configs" / "README.md"


# --- what is declared -----------------------------------------------------------------------------


def test_every_setting_is_listed_once_with_its_default():
    by_section = {
        section: {key: setting_default(section, key) for key in keys}
        for section, keys in config_to_dict(Config()).items()
    }
    assert by_section == config_to_dict(Config())
    assert list(all_settings()) == [
        f"{section.name}.{key.name}"
        for section in fields(Config)
        for key in fields(section.default_factory)
    ]


def setting_default(section, key):
    default = all_settings()[f"{section}.{key}"].default
    return list(default) if isinstance(default, tuple) else default


def test_every_help_text_is_one_plain_line():
    for dotted, setting in all_settings().items():
        assert re.fullmatch(r"[^\n]{10,200}[^\n.;,: ]", setting.help), dotted


def test_every_condition_names_a_setting_and_values_that_it_can_have():
    for dotted, setting in all_settings().items():
        for group in setting.when:
            for condition in map(Condition.parse, group):
                needed = all_settings()[condition.key]
                assert condition.key != dotted
                choices = needed.limits["choices"]
                if choices is not None:
                    assert set(condition.values) <= set(choices), dotted
                elif condition.excluded:
                    assert condition.is_met_by(needed.default) in (True, False)
                    assert set(condition.values) <= {"null", "0", "1", "[]"}, dotted


def test_conditions_do_not_go_round_in_circles():
    for dotted in all_settings():
        unmet_conditions(Config(), dotted)  # otherwise this would recurse for ever


# --- the command ----------------------------------------------------------------------------------


def test_all_settings_in_a_pipe_are_one_line_each(command):
    status, out, err = command("settings")
    assert status == 0 and err == ""
    lines = out.splitlines()
    for setting in all_settings().values():
        [line] = [
            line for line in lines if line.startswith(f"  {setting.key} ") and setting.help in line
        ]
        assert reference.values_text(setting) in line
    assert len(lines) == len(all_settings()) + 3 * 6 - 1  # titles, heads, and blank lines between


def test_one_section(command):
    status, out, _ = command("settings", "optimizer")
    assert status == 0 and out.startswith("optimizer: The update rule and the learning rate.\n")
    assert "learning_rate" in out and "batch_size" not in out


@pytest.mark.parametrize("width", [30, 80, 100, 160])
def test_a_table_fits_the_terminal_and_loses_no_word(width):
    wide, narrow = (format_sections(find_settings(None), columns) for columns in (None, width))
    if width >= 80:
        assert max(map(len, narrow.splitlines()[1:])) <= max(width, titles_width(narrow))
    assert sorted(narrow.replace(" meaning", "").split()) == sorted(
        wide.replace(" meaning", "").split()
    )


def titles_width(text):
    return max(len(line) for line in text.splitlines() if not line.startswith(" "))


def test_columns_are_aligned():
    table = format_sections(find_settings("training"), 120).splitlines()
    start = table[1].index("meaning")
    in_line = [line for line in table[1:] if not re.match(r" {6}\S|  \w{25,}  ", line)]
    assert len(in_line) > 60  # the others have a long name, or are its meaning
    assert all(line[start - 2 : start] == "  " and line[start] != " " for line in in_line)


def test_a_terminal_gets_its_width(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    from lstm_lm.cli.main import main

    monkeypatch.setenv("COLUMNS", "90")
    monkeypatch.setattr("sys.stdout", Terminal())
    assert main(["settings", "training"]) == 0
    lines = sys.stdout.getvalue().splitlines()[1:]
    assert max(map(len, lines)) <= 90 and len(lines) > len(find_settings("training")) + 1


def test_one_setting_with_all_its_details(command):
    status, out, _ = command("settings", "stories.people_first")
    assert status == 0
    for fact in (
        "fraction of each pass of the curriculum",
        "number",
        "a number of at least 0 and below 1",
        "if corpus.source is stories and stories.curriculum is not null",
        "stories.people_first=0",
        "stories: {people_first: 0}",
    ):
        assert fact in out
    assert command("settings", "people_first")[1] == out
    assert "always" in command("settings", "batch_size")[1]


def test_a_key_of_two_sections_shows_both(command):
    _, out, _ = command("settings", "seed")
    assert "stories.seed" in out and "training.seed" in out


@pytest.mark.parametrize(
    "words, said",
    [
        (["lr"], "lr: no setting or section has this name; did you mean optimizer.learning_rate?"),
        (["trainig"], "did you mean training?"),
        (["trainig.seed"], "did you mean training.seed?"),
        (["xyz"], "xyz: no setting or section has this name; sections are corpus, stories, model,"),
        ([""], ": no setting or section has this name; sections are"),
        (["model", "--json-schema"], "--json-schema: describes all settings; leave out model"),
        (["model", "--markdown", "x"], "--markdown: describes all settings; leave out model"),
        (["--markdown", "absent.md"], "--markdown: absent.md: cannot be read (No such file"),
    ],
)
def test_a_mistake_is_one_line(refused, words, said):
    assert said in refused("settings", *words)


def test_it_imports_no_torch():
    program = (
        "import sys\nfrom lstm_lm.cli.main import main\nmain(['settings', '--json'])\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)) == len(all_settings())


def test_json(command):
    records = {record["name"]: record for record in json.loads(command("settings", "--json")[1])}
    assert list(records) == list(all_settings())
    assert records["optimizer.betas"] == {
        "name": "optimizer.betas",
        "type": "list of 2 numbers",
        "default": [0.9, 0.99],
        "choices": None,
        "minimum": 0.0,
        "exclusiveMinimum": None,
        "maximum": None,
        "exclusiveMaximum": 1.0,
        "by_size": False,
        "effective_if": "optimizer.name is adamw or muon",
        "help": all_settings()["optimizer.betas"].help,
    }
    [record] = json.loads(command("settings", "model.cell", "--json")[1])
    assert record == records["model.cell"] and record["choices"] == list(CELLS)


# --- the JSON Schema ------------------------------------------------------------------------------


def fits(value, schema):
    """Whether a value is valid, by the part of JSON Schema that our schema uses."""
    unknown = set(schema) - {
        "$schema", "title", "description", "default", "type", "enum", "anyOf", "properties",
        "additionalProperties", "items", "minItems", "maxItems", "pattern", "minimum", "maximum",
        "exclusiveMinimum", "exclusiveMaximum",
    }  # fmt: skip
    assert not unknown, unknown
    if "anyOf" in schema:
        return any(fits(value, one) for one in schema["anyOf"])
    if "enum" in schema:
        return value in schema["enum"]
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if type_of(value) not in types and not (type_of(value) == "integer" and "number" in types):
        return False
    if isinstance(value, dict):
        assert schema["additionalProperties"] is False
        properties = schema["properties"]
        return all(key in properties and fits(item, properties[key]) for key, item in value.items())
    if isinstance(value, list):
        right_length = schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", 10**9)
        return right_length and all(fits(item, schema["items"]) for item in value)
    if isinstance(value, str):
        return re.search(schema["pattern"], value) is not None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        infinite = float("inf")
        return (
            schema.get("minimum", -infinite) <= value <= schema.get("maximum", infinite)
            and schema.get("exclusiveMinimum", -infinite) < value
            and value < schema.get("exclusiveMaximum", infinite)
        )
    return True


def type_of(value):
    if isinstance(value, float) and value.is_integer():
        return "integer"
    return {
        dict: "object", list: "array", str: "string", bool: "boolean", int: "integer",
        float: "number", type(None): "null",
    }[type(value)]  # fmt: skip


@pytest.fixture(scope="module")
def schema():
    return reference.json_schema()


def test_the_schema_is_printed(command, schema):
    status, out, _ = command("settings", "--json-schema")
    assert status == 0 and json.loads(out) == schema
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_schema_takes_the_shipped_configs_and_all_that_is_resolved_from_them(path, schema):
    assert fits(parse_yaml(path.read_text(encoding="utf-8"), path.name, {}), schema)
    assert fits(config_to_dict(load_config(path)), schema)


def test_every_default_and_every_choice_fits_the_schema(schema):
    assert fits({}, schema) and fits({"model": None}, schema)
    for setting in all_settings().values():
        entry = schema["properties"][setting.section]["properties"][setting.key]
        assert fits(entry["default"], entry) and setting.help in entry["description"]
        for choice in setting.limits["choices"] or ():
            assert fits([choice] if entry.get("type") == "array" else choice, entry)


@pytest.mark.parametrize("dotted, value", [
    ("model.hidden_size", 0), ("model.hidden_size", [3, 0]), ("model.hidden_size", 2.5),
    ("model.hidden_size", "3"), ("model.hidden_size", None), ("model.cell", "lsmt"),
    ("model.tie_weights", 1), ("model.num_layers", 1001), ("model.input_dropout", 1),
    ("model.input_dropout", -0.1), ("optimizer.learning_rate", 0), ("optimizer.betas", [0.9]),
    ("optimizer.betas", [0.9, 1]), ("optimizer.betas", [0, 0, 0]),
    ("optimizer.final_fraction", 1.1), ("corpus.text_column", " "), ("corpus.text_column", None),
    ("corpus.vocab_size", 2), ("corpus.valid_fraction", 0.5), ("evaluation.prompts", "a"),
    ("evaluation.prompts", [1]), ("model.hidden_sze", 3), ("training.lr", 3),
    ("training.average", "mean"), ("training.average", "ema:"), ("training.average", 0.999),
])  # fmt: skip
def test_the_schema_refuses_what_the_reader_refuses(tmp_path, schema, dotted, value):
    section, key = dotted.split(".")
    assert not fits({section: {key: value}}, schema)
    path = tmp_path / "some.yaml"
    path.write_text(json.dumps({section: {key: value}}))
    with pytest.raises(Exception, match=rf"^{re.escape(dotted)}"):
        load_config(path)


def test_the_schema_has_the_cells_that_were_registered(monkeypatch):
    monkeypatch.setitem(CELLS, "mine", "some.module:Mine")
    cell = reference.json_schema()["properties"]["model"]["properties"]["cell"]
    assert cell["enum"] == list(CELLS) and "mine" in cell["enum"]


# --- the reference in configs/README.md -----------------------------------------------------------


def test_the_reference_in_the_readme_is_current():
    text = REFERENCE.read_text(encoding="utf-8")
    assert text == reference.with_reference(text), (
        "run: lstm-lm settings --markdown configs/README.md"
    )


def test_the_reference_is_written_between_its_marks(command, refused, tmp_path):
    path = tmp_path / "README.md"
    path.write_text(f"# Configs\n\n{reference.BEGIN}\nstale\n{reference.END}\n\nmore\n")
    assert command("settings", "--markdown", path)[0] == 0
    text = path.read_text()
    assert text.startswith(f"# Configs\n\n{reference.BEGIN}\n\n### corpus\n")
    assert text.endswith(f"{reference.END}\n\nmore\n") and "stale" not in text
    for setting in all_settings().values():
        assert f"| `{setting.key}` | `" in text
    assert "&lt;unk&gt;" in text and "<unk>" not in text
    assert all(line.count("|") == 5 for line in text.splitlines() if line.startswith("|"))
    assert command("settings", "--markdown", path)[0] == 0 and path.read_text() == text
    path.write_text("# Configs\n")
    assert "must have the lines" in refused("settings", "--markdown", path)
    assert path.read_text() == "# Configs\n"
