"""Nothing is accepted that has no effect: every shipped configuration with every setting.

The values and the remedies come from the declarations and from the messages, so a new setting is
tested by being declared.
"""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from lstm_lm.config import ModelConfig, all_settings, config_from_dict
from lstm_lm.config.effect import Condition, unmet_conditions, value_of
from lstm_lm.config.mix import read_mix
from lstm_lm.config.reader import InvalidValue, read_value
from lstm_lm.config.strict_yaml import parse_yaml
from lstm_lm.corpus.sources import build_source
from lstm_lm.errors import ConfigError, UserError
from lstm_lm.training.building import describe_ignored_sizes
from lstm_lm.training.run import build_trainer
from lstm_lm.training.run_log import RunLog

CONFIGS = sorted((Path(__file__).parent.parent / "configs").glob("*.yaml"))
# `latin-1` is a text that may also be an encoding, and the name of a file that need not exist.
MIX = list(read_mix({"source": "stories", "fillers": "own", "count": 5}, {}))
POOL = (3, 1, 0, 0.1, 40, "latin-1", True, False, None, ["latin-1"], [3], [0.5, 0.5], MIX)
FOLLOWED = 4  # remedies, one after the other


def allowed_values(dotted):
    """Values that a setting can have: all its choices, or those of the pool that it takes."""
    setting = all_settings()[dotted]
    values = []
    choices = setting.limits["choices"]
    for value in [*choices, *([choice] for choice in choices)] if choices else POOL:
        try:
            values.append(read_value(value, setting.annotation, setting.limits))
        except InvalidValue:
            continue
    return values


def other_values(dotted):
    """Allowed values that differ from the default: every choice, or one that is not a choice."""
    setting = all_settings()[dotted]
    if dotted == "training.best_on":  # the name of a source
        return ["stories"]
    others = [value for value in allowed_values(dotted) if value != setting.default]
    return others if setting.limits["choices"] else others[:1]


def outcome(data, overrides):
    """Returns a configuration, its notes, and what is wrong; one of first and last is None."""
    notes = []
    try:
        return config_from_dict(data, overrides, notes), notes, None
    except ConfigError as error:
        return None, notes, str(error)


def with_value(config, dotted, value):
    """Returns a configuration with another value of one setting, whether that is allowed or not."""
    section, key = dotted.split(".")
    return replace(config, **{section: replace(getattr(config, section), **{key: value})})


def names(line, dotted):
    """Whether a message names a setting."""
    return re.search(rf"(?<![\w.]){re.escape(dotted)}(?![\w.])", line) is not None


def remedies(message, kept):
    """Yields the override that each line of a message proposes, as (setting, value).

    Of two settings that exclude each other, the one in `kept` is not given up.
    """
    for line in message.splitlines():
        place, text = line.split(": ", 1)
        either = re.search(r"\bset (\w+\.\w+)=null, or remove (.+)", text)
        if either and either[1] in kept:
            yield from ((other, None) for other in re.findall(r"\w+\.\w+", either[2]))
        elif proposed := re.search(r"\bset (\w+\.\w+)=([^ ,;]+)", text):
            yield proposed[1], parse_yaml(proposed[2], "a remedy", {})
        elif proposed := re.search(r"\bchange (\w+\.\w+)", text):
            yield proposed[1], value_that_helps(place, proposed[1])
        elif "found null, must be" in text:  # what the remedy before needs: a file, or a name
            yield place, "latin-1"


def value_that_helps(dotted, needed):
    """Returns a value of the setting `needed` that gives the setting `dotted` an effect."""
    conditions = [Condition.parse(text) for group in all_settings()[dotted].when for text in group]
    return next(
        value
        for value in allowed_values(needed)
        if all(condition.is_met_by(value) for condition in conditions if condition.key == needed)
    )


@pytest.fixture(scope="module", params=CONFIGS, ids=lambda path: path.stem)
def shipped(request):
    """A shipped configuration as plain values."""
    return parse_yaml(request.param.read_text(encoding="utf-8"), request.param.name, {})


def test_every_setting_has_another_value_to_try():
    assert all(other_values(dotted) for dotted in all_settings())


@pytest.mark.parametrize("dotted", all_settings())
def test_a_setting_has_an_effect_or_is_refused_with_a_remedy_that_works(shipped, dotted):
    for value in other_values(dotted):
        overrides = {dotted: value}
        base = config_from_dict(shipped)
        config, notes, refusal = outcome(shipped, overrides)
        if unmet_conditions(with_value(base, dotted, value), dotted):
            assert refusal.startswith(f"{dotted}: has no effect while ") and "\n" not in refusal
        elif refusal:
            assert all(names(line, dotted) for line in refusal.splitlines())
        for _ in range(FOLLOWED):
            if config is not None:
                break
            overrides |= dict(remedies(refusal, overrides))
            config, notes, refusal = outcome(shipped, overrides)
        assert refusal is None
        assert value_of(config, dotted) == value and not unmet_conditions(config, dotted)
        for other in all_settings().keys() - overrides.keys():
            is_kept = value_of(config, other) == value_of(base, other)
            assert is_kept or any(other in note for note in notes), other


# --- what is declared is true ---------------------------------------------------------------------

TEXT = [
    "I grew up in France and learned to read there.",
    "My sister lives in Paris, and she has a café.",
    "",
    "He said that the keys were lost",
    "but they were found on the table.",
] * 6
RUN = {
    "corpus.source": "files", "corpus.text_file": "train.txt", "stories.count": 1,
    "model.embedding_dim": 6, "model.hidden_size": 5, "model.adaptive_cutoffs": [5],
    "model.embedding_dropout": 0.2, "model.input_dropout": 0.2, "model.hidden_dropout": 0.2,
    "model.output_dropout": 0.2, "model.weight_dropout": 0.2, "model.mixture_dropout": 0.2,
    "optimizer.learning_rate": 0.5,
    "optimizer.warmup_steps": 2, "training.batch_size": 2, "training.bptt_length": 20,
    "training.max_epochs": 1, "training.validate_every": 2, "training.log_every": 1,
    "evaluation.prompts": ["I grew up"], "evaluation.continuation_words": 2,
}  # fmt: skip
NO_DROPOUT = {dotted: 0.0 for dotted in RUN if "dropout" in dotted}
# What decides which settings have an effect, and the settings to try then.
SITUATIONS = [
    ({}, ("corpus.", "model.", "optimizer.", "training.", "evaluation.")),
    *(({"model.cell": name}, "model.") for name in ("gru", "elman", "mogrifier_lstm")),
    *(({"model.output": name}, "model.") for name in ("sampled", "adaptive", "mos", "sampled_mos")),
    ({"model.num_layers": 1}, ("model.hidden_dropout", "model.weight_dropout")),
    *(({"optimizer.name": name}, "optimizer.") for name in ("sgd", "muon")),
    *(({"optimizer.schedule": name}, ("optimizer.warmup", "optimizer.final", "optimizer.plateau"))
      for name in ("constant", "cosine", "plateau")),
    ({"model.tie_weights": False, "optimizer.embedding_learning_rate": 0.1}, "optimizer.weight"),
    ({"corpus.tokenization": "whitespace"}, ("corpus.lowercase", "corpus.join", "corpus.skip")),
    ({"corpus.text_file": "train.jsonl"}, ("corpus.text_column", "corpus.encoding", "corpus.join")),
    ({"corpus.text_file": None, "corpus.train_file": "train.txt", "corpus.valid_file": "train.txt"},
     ("corpus.valid_fraction", "corpus.test_fraction", "corpus.test_file")),
    (NO_DROPOUT, "training.dropout"),
    *((NO_DROPOUT | {dotted: 0.2}, "training.dropout") for dotted in NO_DROPOUT),
    (NO_DROPOUT | {"model.hidden_dropout": 0.2, "model.num_layers": 1}, "training.dropout"),
    ({"evaluation.prompts": []}, "evaluation.continuation"),
]  # fmt: skip
# These have an effect when something goes wrong: a loss is not finite, or does not improve.
OCCASIONS = {
    "training.skip_non_finite": {"optimizer.learning_rate": 1e30},
    "training.patience": {"optimizer.learning_rate": 1e-30},
    "optimizer.plateau_factor": {"optimizer.learning_rate": 1e-30},
}
# These change where or how something is computed or kept, not what.
SAME_RESULT = {
    "corpus.cache_dir", "model.recurrence", "training.device", "training.checkpoint_every",
    "evaluation.window_length",
}  # fmt: skip


def name_of(situation):
    if not isinstance(situation, dict):
        return "of " + " ".join([situation] if isinstance(situation, str) else situation)
    return ", ".join(f"{dotted}={value}" for dotted, value in situation.items()) or "usual"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The working directory, with a text; no picture is drawn in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(RunLog, "draw", lambda log: None)
    Path("train.txt").write_text("\n".join(TEXT) + "\n", encoding="utf-8")
    rows = [
        json.dumps({"text": line, "latin-1": line.upper()}, ensure_ascii=False) for line in TEXT
    ]
    Path("train.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return tmp_path


def result_of(values):
    """Trains; returns the weights, the log, and the lines for people without their seconds."""
    lines = []
    shutil.rmtree("run", ignore_errors=True)
    try:
        config = config_from_dict({}, values, refuse_unused=False)
        trainer = build_trainer(config, Path("run"), report=lines.append)
        trainer.run()
    except UserError as error:
        return str(error)
    weights = [parameter.tolist() for parameter in trainer.network.parameters()]
    log = Path("run/metrics.jsonl").read_text(encoding="utf-8")
    return weights, log, re.sub(r"[\d,]+ s:", "", "\n".join(lines))


def changes(result, values, dotted):
    """Whether some value of a setting gives another result."""
    before = result(values)
    return any(
        result(values | {dotted: value}) != before
        for value in allowed_values(dotted)
        if value != values.get(dotted, all_settings()[dotted].default)
    )


def wrongly_declared(result, values, tried):
    """The settings that change the result without an effect that is declared, and the reverse."""
    config = config_from_dict({}, values, refuse_unused=False)
    return [
        dotted
        for dotted in tried
        if changes(result, values | OCCASIONS.get(dotted, {}), dotted)
        == bool(unmet_conditions(config, dotted))
    ]


@pytest.mark.slow
@pytest.mark.parametrize("situation, scope", SITUATIONS, ids=name_of)
def test_a_setting_changes_a_run_exactly_where_it_is_declared_to(here, situation, scope):
    tried = [
        dotted
        for dotted in all_settings()
        if dotted.startswith(scope) and dotted not in SAME_RESULT
    ]
    assert not wrongly_declared(result_of, RUN | situation, tried)


@pytest.mark.parametrize("cutoffs", [[4000, 40000], [34], []])
def test_an_adaptive_output_without_a_cluster_is_refused(here, cutoffs):
    adaptive = RUN | {"model.output": "adaptive", "model.adaptive_cutoffs": cutoffs}
    said = result_of(adaptive)
    assert said.startswith("model.output: adaptive has no effect on 34 words, because no number in")
    assert isinstance(result_of(adaptive | {"model.output": "full"}), tuple)
    assert isinstance(result_of(adaptive | {"model.adaptive_cutoffs": [33]}), tuple)


@pytest.mark.parametrize(
    "model, said",
    [
        ({"output": "sampled", "sampled_words": 33}, ""),
        ({"output": "sampled", "sampled_words": 34}, "model.output=full takes them all"),
        ({"output": "sampled_mos", "sampled_words": 35}, "model.output=mos takes them all"),
        ({"output": "full", "sampled_words": 35}, ""),
        ({"output": "adaptive", "adaptive_cutoffs": (9, 33)}, ""),
        ({"output": "adaptive", "adaptive_cutoffs": (9, 34)}, "34 has no effect on 34 words"),
        ({"output": "adaptive", "adaptive_cutoffs": (9, 34, 35)}, "34, 35 have no effect on 34"),
    ],
    ids=str,
)
def test_sizes_that_a_small_vocabulary_limits_are_named(model, said):
    lines = list(describe_ignored_sizes(ModelConfig(**model), 34))
    assert len(lines) == bool(said)
    assert all(line.startswith("note: model.") and said in line for line in lines), lines


LESSONS = dict.fromkeys(("narrator", "person", "subject_change", "kin", "lost"), 0)
QUIET = dict.fromkeys(("two_people", "subject_change", "move", "kin", "lost", "quotation"), 0)


@pytest.mark.parametrize(
    "situation",
    [{}, {"curriculum": 2}, LESSONS, LESSONS | {"curriculum": 2}, QUIET],
    ids=name_of,
)
def test_a_setting_changes_the_stories_exactly_where_it_is_declared_to(situation):
    def train_of(values):
        try:
            config = config_from_dict({}, values, refuse_unused=False)
            return list(build_source(config.corpus, config.stories).iterate_lines("train"))
        except UserError as error:
            return str(error)

    values = {"stories.count": 60} | {f"stories.{key}": value for key, value in situation.items()}
    tried = [dotted for dotted in all_settings() if dotted.startswith("stories.")]
    assert not wrongly_declared(train_of, values, tried)
