"""A run that starts from another model: what it takes of that model, and what it then forgets.

All that a resumed run needs of the model is in the run directory: the words in ``tokenizer.json``,
the weights in the checkpoint, and the `Origin` in ``config.json``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from lstm_lm.cells import find_cell
from lstm_lm.config import MIXTURES, Config, ModelConfig, config_from_dict, config_to_dict
from lstm_lm.config.effect import value_text
from lstm_lm.corpus.corpus import Corpus
from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.corpus.windows import TokenIds
from lstm_lm.corpus.word_vectors import WordVectors
from lstm_lm.errors import ConfigError, CorpusError, HubError, RunDirectoryError
from lstm_lm.evaluation.perplexity import measure_perplexity
from lstm_lm.files.run_files import CONFIG_FILE, YAML_FILE
from lstm_lm.model import pretrained
from lstm_lm.model.growing import continue_network, likeness_by_context, use_word_vectors
from lstm_lm.model.hub import find_folder
from lstm_lm.model.language_model import LanguageModel
from lstm_lm.model.network import Network
from lstm_lm.model.pretrained import Description
from lstm_lm.model.scoring import Perplexity
from lstm_lm.training.run_directory import load_model_config
from lstm_lm.training.validation import best_validation

KEPT = (
    "model.cell",
    "model.embedding_dim",
    "model.hidden_size",
    "model.num_layers",
    "model.memory_words",
    "model.tie_weights",
    "model.output_norm",
    "corpus.lowercase",
)
"""Settings that decide a model's weights or its words: a run that starts from it keeps them."""

KEPT_OF_OUTPUT = {
    "adaptive": ("model.adaptive_cutoffs", "model.adaptive_factor"),
    **dict.fromkeys(MIXTURES, ("model.mixture_softmaxes",)),
}
"""More of them, by the model's output."""

SAME_WEIGHTS = (("full", "sampled"), ("adaptive",), MIXTURES)
"""Outputs in groups: a run may have another one than its model, if both have the same weights."""


@dataclass(frozen=True)
class Origin:
    """What a run started from; its ``config.json`` contains this.

    Attributes:
        name: as it was given.
        run_id: of the model.
        words: how many words the model knew. They are the first ones of this run.
        corpus: sections `corpus` and `stories` of the model's configuration; None if it is not
            known, as for a model from the hub.
        valid: its best perplexity on the valid split of that corpus, over how many tokens, and
            whether the state was carried; None if it is not known.
    """

    name: str
    run_id: str
    words: int
    corpus: dict[str, Any] | None = None
    valid: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def describe_origin(origin: Mapping[str, Any]) -> str:
    """One line about what a run started from, given as in its ``config.json``."""
    return f"{origin['name']}, run {origin['run_id']}, {origin['words']:,} words"


@dataclass(frozen=True)
class Start:
    """The model that a run starts from.

    Attributes:
        origin: where it is from.
        vocabulary: its words.
        network: its weights; None if the run is resumed and has its own.
    """

    origin: Origin
    vocabulary: Vocabulary
    network: Network | None


def settings_of_start(
    config: Config, given: Collection[str], resumed: Path | None = None
) -> dict[str, Any]:
    """Returns the settings that a run has because of what it starts from.

    Args:
        config: of the run.
        given: dotted names of the settings that somebody gave; `config` has their values.
        resumed: the directory of the run, if it is resumed: it may know all that is needed.

    Returns:
        The values of settings that are not given, by dotted name.

    Raises:
        ConfigError: settings that are given contradict the model, one a line.
        RunDirectoryError: there is no such model, or it is damaged.
        HubError: the hub is out of reach, or has no such model.
        CorpusError: the file of word vectors cannot be read.
    """
    training = config.training
    if training.init_from is None and training.word_vectors is None:
        return {}
    known = _description_in(resumed)
    if training.init_from is not None:
        model = known or _find(training.init_from)
        return _settings_of_model(config, given, model, training.init_from)
    assert training.word_vectors is not None
    size = known.config.embedding_dim if known else WordVectors(training.word_vectors).size
    return _settle(config, given, {"model.embedding_dim": size}, training.word_vectors)


def _settings_of_model(
    config: Config, given: Collection[str], model: Description, name: str
) -> dict[str, Any]:
    """Returns those of a run that starts from a model; see `settings_of_start`."""
    if model.vocabulary.tokenization == "words" and config.corpus.tokenization == "whitespace":
        raise ConfigError(
            f"corpus.tokenization: found whitespace, but {name} splits text into words itself "
            "(words); set corpus.tokenization=words"
        )
    of_cell = (f"model.{name}" for name in find_cell(model.config.cell).own_settings)
    of_output = KEPT_OF_OUTPUT.get(model.config.output, ())
    values = _values(model, (*KEPT, *of_cell, *of_output))
    output = config.model.output if "model.output" in given else model.config.output
    [possible] = (group for group in SAME_WEIGHTS if model.config.output in group)
    if output not in possible:
        raise ConfigError(
            f"model.output: found {output}, but the weights of {name} are those of "
            f"{model.config.output}; set model.output={' or '.join(possible)}"
        )
    settled = _settle(config, given, values, name)
    is_sampled = output == model.config.output
    words = (model.config if is_sampled else ModelConfig()).sampled_words
    free = {"model.output": output, "model.sampled_words": words}
    return {key: value for key, value in free.items() if key not in given} | settled


def _values(model: Description, names: Collection[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for dotted in dict.fromkeys(names):
        section, _, key = dotted.partition(".")
        values[dotted] = getattr(model.vocabulary if section == "corpus" else model.config, key)
    cutoffs = [c for c in model.config.adaptive_cutoffs if c < len(model.vocabulary)]
    if "model.adaptive_cutoffs" in values:  # with more words, an ignored one could count
        values["model.adaptive_cutoffs"] = tuple(cutoffs)
    return {dotted: list(v) if isinstance(v, tuple) else v for dotted, v in values.items()}


def _settle(
    config: Config, given: Collection[str], values: Mapping[str, Any], name: str
) -> dict[str, Any]:
    """Returns the values that are not given; refuses those that are given and differ."""
    problems = []
    for dotted, value in values.items():
        section, _, key = dotted.partition(".")
        found = getattr(getattr(config, section), key)
        if dotted in given and value_text(found) != value_text(value):
            problems.append(
                f"{dotted}: found {value_text(found)}, but {name} has {value_text(value)}, which "
                "this run starts from; remove this setting"
            )
    if problems:
        raise ConfigError("\n".join(problems))
    return {dotted: value for dotted, value in values.items() if dotted not in given}


def open_corpus(config: Config, folder: Path | None = None) -> Corpus:
    """Opens the corpus of a run, with the words that its model has or will have.

    Args:
        config: of the run.
        folder: its directory, if it exists: it knows the words even if the model that the run
            started from is gone.

    Raises:
        CorpusError: a file cannot be read.
        RunDirectoryError: there is no such model to start from, or it is damaged.
        HubError: the hub is out of reach, or has no such model.
    """
    if config.training.init_from is None:
        return Corpus(config.corpus, config.stories)
    if known := _description_in(folder):
        return Corpus(config.corpus, config.stories, vocabulary=known.vocabulary)
    base = _find(config.training.init_from).vocabulary
    return Corpus(config.corpus, config.stories, base=base)


def _description_in(folder: Path | None) -> Description | None:
    """What a run directory says about its model; None if there is none, or it is damaged."""
    if folder is None or not (folder / CONFIG_FILE).exists():
        return None
    try:
        return pretrained.load_description(folder)
    except RunDirectoryError:  # whoever resumes it says so
        return None


def _folder_of(name: str) -> Path:
    try:
        return find_folder(name)
    except (RunDirectoryError, HubError) as error:
        raise type(error)(f"training.init_from: {error}") from None


def _find(name: str) -> Description:
    return pretrained.load_description(_folder_of(name))


def find_start(config: Config, known: Description | None) -> Start | None:
    """Finds the model that a run starts from; None for a run that starts from nothing.

    Args:
        config: of the run.
        known: what a run that is resumed says about its model; the model that it started from is
            then not needed any more.

    Raises:
        RunDirectoryError: there is no such model, or it is damaged.
        HubError: the hub is out of reach, or has no such model.
    """
    name = config.training.init_from
    if name is None:
        return None
    if known is not None and known.origin is not None:
        origin = Origin(**known.origin)
        words = known.vocabulary.words[: origin.words]
        return Start(origin, Vocabulary(words, known.vocabulary.recipe), None)
    folder = _folder_of(name)
    network, vocabulary = pretrained.load(folder)
    run_id = pretrained.load_description(folder).run_id
    corpus = valid = None
    if (folder / YAML_FILE).exists():
        before = config_to_dict(load_model_config(folder))
        corpus = {section: before[section] for section in ("corpus", "stories")}
        if best := best_validation(folder):
            valid = {key: best[key] for key in ("perplexity", "tokens", "state")}
    return Start(Origin(name, run_id, len(vocabulary), corpus, valid), vocabulary, network)


def begin_from(model: LanguageModel, start: Start, train: TokenIds, counts: torch.Tensor) -> None:
    """Gives a new model the weights of the one that it starts from; see `continue_network`.

    Args:
        model: its words are those of the start, and added ones; on the CPU.
        start: with its network.
        train: ids of the new text; the contexts of the added words are in it.
        counts: how often each word occurs in train, ``(V,)``.
    """
    assert start.network is not None
    new = len(model.vocabulary) - len(start.vocabulary)
    likeness = likeness_by_context(start.network, train, new, model.vocabulary.eos_id)
    continue_network(model.network, start.network, likeness, counts)


def load_word_vectors(model: LanguageModel, name: str) -> str:
    """Gives a new model the vectors of a file, for the words that it has.

    Returns:
        A line for people: how many of the words were found.

    Raises:
        CorpusError: the file cannot be read.
        ConfigError: its vectors have another size than the model's.
    """
    vectors = WordVectors(name)
    size = model.network.config.embedding_dim
    if vectors.size != size:
        raise ConfigError(
            f"model.embedding_dim: found {size}, but the vectors of {name} have {vectors.size} "
            f"numbers; set model.embedding_dim={vectors.size}"
        )
    ids, found = vectors.find(model.vocabulary.words)
    use_word_vectors(model.network, torch.from_numpy(ids), torch.from_numpy(found))
    total = len(model.vocabulary) - 2
    return (
        f"{name}: has {len(ids):,} of the {total:,} words ({len(ids) / max(total, 1):.0%}); the "
        "others start at random"
    )


@dataclass(frozen=True)
class Forgetting:
    """How well a model still reads the text that the model before it was trained on.

    Attributes:
        before: the perplexity of the earlier model on the valid split of its corpus.
        after: that of this model on the same tokens.
        tokens: how many.
    """

    before: float
    after: float
    tokens: int

    def __str__(self) -> str:
        change = self.after / self.before - 1
        return f"{self.before:.2f} before, {self.after:.2f} now ({change:+.0%})"


def measure_forgetting(model: LanguageModel, origin: Origin, window_length: int) -> Forgetting:
    """Measures how much was forgotten of the earlier model's corpus.

    Words that were added count as unknown there, as before.

    Args:
        model: the trained one.
        origin: what it started from.
        window_length: words processed at a time.

    Raises:
        CorpusError: the corpus is not known, cannot be read, or has changed.
        HubError: it is on the hub, which is out of reach.
    """
    if origin.corpus is None or origin.valid is None:
        raise CorpusError("its corpus is not known")
    before = config_from_dict(origin.corpus, refuse_unused=False)
    words = Vocabulary(model.vocabulary.words[: origin.words], model.vocabulary.recipe)
    tokens = Corpus(before.corpus, before.stories, vocabulary=words).tokens("valid")
    if len(tokens) != origin.valid["tokens"]:
        raise CorpusError("its corpus has changed since")
    reset = origin.valid["state"] == "reset"
    found: Perplexity = measure_perplexity(
        model, tokens, reset_per_line=reset, window_length=window_length
    )
    return Forgetting(origin.valid["perplexity"], found.perplexity, found.tokens)
