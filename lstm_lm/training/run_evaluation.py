"""`evaluate_run`: perplexity and accuracy of a model on a split of its corpus, or on a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lstm_lm.config import CorpusConfig
from lstm_lm.corpus.corpus import Corpus, encode_file
from lstm_lm.corpus.file_reading import NATURAL, choose_reading, has_two_readings
from lstm_lm.corpus.progress import Bar
from lstm_lm.corpus.readers import iterate_file_lines
from lstm_lm.corpus.text_files import find_files
from lstm_lm.corpus.tokens import Tokens
from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.corpus.windows import TokenIds
from lstm_lm.errors import InputError, RunDirectoryError
from lstm_lm.evaluation.accuracy import Accuracy, measure_accuracy
from lstm_lm.evaluation.adaptation import Adaptation, AdaptiveReader
from lstm_lm.evaluation.adapted_text import (
    Gain,
    gains_by_distance,
    last_occurrences,
    score_adapted,
)
from lstm_lm.evaluation.perplexity import perplexity_of
from lstm_lm.files.run_files import YAML_FILE
from lstm_lm.machine import choose_device
from lstm_lm.model.language_model import LanguageModel
from lstm_lm.model.scoring import Perplexity, perplexity_from
from lstm_lm.training.card import keep_results
from lstm_lm.training.results import Results, weights_id
from lstm_lm.training.run_adaptation import RunAdaptation
from lstm_lm.training.run_directory import load_model_config


@dataclass(frozen=True)
class Adapted:
    """What a model that adapts to the text makes of it.

    Attributes:
        perplexity: of the same tokens, each scored before anything is learned from it.
        adaptation: the settings.
        gains: what it brings, by the distance to the word's last occurrence.
    """

    perplexity: Perplexity
    adaptation: Adaptation
    gains: tuple[Gain, ...]


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate_run` returns.

    Attributes:
        perplexity: the perplexity; ``float(...)`` of it is the number.
        accuracy: how often the model is right.
        normalization: over which words the probabilities sum to 1.
        source_perplexity: the perplexity of the process that wrote the text, the lowest possible;
            None if it is not known.
        reading: ``natural`` or ``tokenised``: how the file was read, if there are two ways (see
            `lstm_lm.corpus.file_reading`); otherwise empty.
        notes: what was seen of the layout of the file and done about it; in a mix also which
            sources do not have the split.
        others: the evaluations of the other sources of the corpus's mix, by name. The perplexity
            above is then that of the corpus's own text.
        name: of the source; empty for a file.
        adapted: the same text with adaptation, if that was asked for. All else is of the model as
            it is.
    """

    perplexity: Perplexity
    accuracy: Accuracy
    normalization: str
    source_perplexity: float | None
    reading: str = ""
    notes: tuple[str, ...] = ()
    others: tuple[Evaluation, ...] = ()
    name: str = ""
    adapted: Adapted | None = None


def corpus_settings(name_or_path: str | Path, text_column: str | None = None) -> CorpusConfig:
    """Returns the settings of the corpus of a run; the defaults for a model from the hub.

    Args:
        name_or_path: a run directory, or a model on the hub.
        text_column: replaces the column of the settings, if given.
    """
    folder, settings = Path(name_or_path), CorpusConfig()
    if (folder / YAML_FILE).exists():
        settings = load_model_config(folder).corpus
    return replace(settings, text_column=text_column) if text_column else settings


def encode_text(
    file: str | Path,
    vocabulary: Vocabulary,
    settings: CorpusConfig,
    reading: str = "",
    notes: list[str] | None = None,
) -> tuple[Tokens, str]:
    """Returns the ids of a text, and how it was read.

    Args:
        file: a file, a folder or a pattern.
        vocabulary: the model's.
        settings: see `corpus_settings`.
        reading: ``natural`` or ``tokenised``; empty: the file decides.
        notes: receives what was seen of the layout of the file and done about it.

    Returns:
        The ids; and ``natural`` or ``tokenised``, or nothing if there is only one way.

    Raises:
        CorpusError: the text cannot be read.
        InputError: the model cannot read a file in the way that is asked for.
    """
    lines = iterate_file_lines(file, settings.text_column)
    found = choose_reading(lines, vocabulary, reading)
    chosen = found if has_two_readings(vocabulary) else ""
    natural = chosen == NATURAL
    return encode_file(file, vocabulary, settings, natural=natural, notes=notes), chosen


def evaluate_run(
    name_or_path: str | Path,
    split: str = "valid",
    *,
    file: str | Path | None = None,
    reading: str = "",
    text_column: str | None = None,
    reset_per_line: bool = False,
    device: str = "auto",
    adapt: Sequence[str] = (),
    tune: bool = False,
    on_trial: Callable[[Adaptation, float], None] = lambda adaptation, perplexity: None,
) -> Evaluation:
    """Measures the perplexity of a model, and how often it is right.

    That of a split of a run's corpus is also kept in the run, and shown in its model card.
    Perplexities of a model that adapts to the text are not.

    Args:
        name_or_path: a run directory; together with ``file`` also a model on the hub.
        split: ``train``, ``valid`` or ``test`` of the corpus that the model was trained on.
        file: a file, a folder or a pattern that is read instead; data/README.md has the formats.
        reading: how the file is read if the model's corpus came tokenised: ``natural`` or
            ``tokenised``; empty: the file decides, see `lstm_lm.corpus.file_reading`.
        text_column: the column of a table that has the text; None: as in the run's corpus.
        reset_per_line: start every line from a zero state; otherwise the state is carried.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        adapt: also measures a model that adapts to the text, which is read once, from left to
            right: some of ``cache``, ``dynamic`` and ``ngram``, see
            `lstm_lm.evaluation.adaptation`.
        tune: tunes the settings of the adaptation on valid first, and keeps them in the run.
        on_trial: called with all settings that were tried, and their perplexity.

    Raises:
        RunDirectoryError: the directory is missing or damaged, or its corpus is not known.
        CorpusError: there is no such split, or the text cannot be read.
        ConfigError: this machine has no such device.
        HubError: the hub is out of reach, or has no such model.
        InputError: the model cannot read a file in the way that is asked for.
    """
    if tune and not adapt:
        raise InputError("--tune: has an effect only together with --with")
    if file is not None:
        find_files(file)
    elif reading or text_column:
        option = f"--{reading}" if reading else "--text-column"
        raise InputError(f"{option}: has an effect only together with --file")
    chosen = choose_device(device, "--device")
    folder, config, chosen_reading = Path(name_or_path), None, ""
    notes: list[str] = []
    weights = measured_weights(folder) if file is None else None
    model = LanguageModel.from_pretrained(name_or_path, chosen)
    if (folder / YAML_FILE).exists():  # a model from the hub has none
        config = load_model_config(folder)
    reader = None
    if adapt:
        adaptation = RunAdaptation(name_or_path, model, tuple(adapt), notes.append, not tune)
        reader = adaptation.tuned_reader(on_trial if tune else None)
    if file is not None:
        settings = corpus_settings(name_or_path, text_column)
        tokens, chosen_reading = encode_text(file, model.vocabulary, settings, reading, notes)
    elif config:
        corpus = Corpus(config.corpus, config.stories, vocabulary=model.vocabulary)
        evaluation = _evaluate_corpus(model, corpus, split, reader, reset_per_line=reset_per_line)
        evaluation = replace(evaluation, notes=(*notes, *evaluation.notes))
        return _keep(evaluation, folder, weights, split)
    else:
        raise RunDirectoryError(
            f"{folder}: has no {YAML_FILE}, so its corpus is not known; give a text with --file"
        )
    found = _measure(model, tokens, reader, reset_per_line=reset_per_line)
    normalization = model.network.output.normalization
    return Evaluation(
        *found[:2], normalization, None, chosen_reading, tuple(notes), adapted=found[2]
    )


def measured_weights(folder: Path) -> str | None:
    """The `weights_id` of a run; None if its results cannot be kept: it is damaged, or no run."""
    if not (folder / YAML_FILE).exists():
        return None
    try:
        return weights_id(folder)
    except RunDirectoryError:  # whoever loads the model says so
        return None


def _keep(evaluation: Evaluation, folder: Path, weights: str | None, split: str) -> Evaluation:
    """Keeps the perplexities of a split of every source in the run and in its model card."""
    found = [
        {
            "split": split,
            "source": one.name,
            "perplexity": one.perplexity.perplexity,
            "tokens": one.perplexity.tokens,
            "oov_tokens": one.perplexity.oov_tokens,
            "state": one.perplexity.state,
        }
        for one in (evaluation, *evaluation.others)
    ]
    note = keep_results(folder, weights, Results(found)) if weights else ""
    return replace(evaluation, notes=(*evaluation.notes, *filter(None, [note])))


def _evaluate_corpus(
    model: LanguageModel,
    corpus: Corpus,
    split: str,
    reader: AdaptiveReader | None,
    *,
    reset_per_line: bool,
) -> Evaluation:
    """Measures a split of every source of a corpus."""
    found: list[Evaluation] = []
    notes = []
    for name in corpus.sources:
        if found and split not in corpus.splits_of(name):
            notes.append(f"{name} has no {split} split")
            continue
        tokens = corpus.tokens(split, name)
        apart = reset_per_line or corpus.reads_lines_apart(name)
        perplexity, accuracy, adapted = _measure(model, tokens, reader, reset_per_line=apart)
        nll = corpus.source_nll(split, name)
        found.append(
            Evaluation(
                perplexity,
                accuracy,
                model.network.output.normalization,
                None if nll is None else perplexity_from(nll, perplexity.tokens),
                name=name,
                adapted=adapted,
            )
        )
    own, *others = found
    return replace(own, notes=tuple(notes), others=tuple(others))


def _measure(
    model: LanguageModel,
    tokens: TokenIds,
    reader: AdaptiveReader | None,
    *,
    reset_per_line: bool,
) -> tuple[Perplexity, Accuracy, Adapted | None]:
    """Measures perplexity and accuracy, and the same text with adaptation, with progress bars."""
    without = np.empty(len(tokens)) if reader else None
    with _progress_bar(tokens, "scoring") as bar:
        perplexity, accuracy = measure_accuracy(
            model,
            tokens,
            reset_per_line=reset_per_line,
            on_progress=lambda done: _advance(bar, done),
            token_nll=without,
        )
    if reader is None or without is None:
        return perplexity, accuracy, None
    with _progress_bar(tokens, "adapting") as bar:
        nll = score_adapted(
            reader,
            tokens,
            reset_per_line=reset_per_line,
            on_progress=lambda done: _advance(bar, done),
        )
    distances = last_occurrences(tokens, model.vocabulary.eos_id, reset_per_line=reset_per_line)
    adapted = Adapted(
        perplexity_of(model, tokens, float(nll.sum()), reset_per_line=reset_per_line),
        reader.adaptation,
        tuple(gains_by_distance(distances, without, nll)),
    )
    return perplexity, accuracy, adapted


def _progress_bar(tokens: TokenIds, what: str) -> Bar:
    return Bar(total=len(tokens), desc=what, unit=" words", leave=False, disable=None)


def _advance(bar: Bar, done: int) -> None:
    bar.update(done)
