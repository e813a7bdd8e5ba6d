"""`probe_run`: what a model remembers, and what other models of the same words do beside it.

Beside it stands an n-gram model of its corpus, or the model itself with gates that always have the
same value, or the model that adapts to the words before the question.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from lstm_lm.corpus.corpus import Corpus
from lstm_lm.corpus.file_reading import NATURAL
from lstm_lm.corpus.progress import Bar
from lstm_lm.corpus.tokens import Tokens
from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.errors import InputError, UserError
from lstm_lm.evaluation.baseline import NGramReader, count_corpus_of
from lstm_lm.machine import choose_device
from lstm_lm.model.fixing import MEAN, MEAN_WORDS, Fixes, describe_fixes
from lstm_lm.model.language_model import LanguageModel
from lstm_lm.probes.asking import ItemScore, NetworkReader, NextWordModel, iterate_scores
from lstm_lm.probes.real_text import FilledSuite, RealText, fill_suites, filled_names
from lstm_lm.probes.report import ReportRow, summarise
from lstm_lm.probes.suites import Suite
from lstm_lm.shared_cores import SharedCores
from lstm_lm.training.card import keep_results
from lstm_lm.training.results import PROBE_FIGURES, Results
from lstm_lm.training.run_adaptation import adaptive_model
from lstm_lm.training.run_directory import load_model_config
from lstm_lm.training.run_evaluation import corpus_settings, encode_text, measured_weights

VALID = "valid"


@dataclass(frozen=True)
class ProbeResult:
    """What `probe_run` returns.

    Attributes:
        description: one line about the model.
        vocab_size: how many words it knows.
        reports: name of a suite -> what `lstm_lm.probes.report.summarise` returned for the model.
            With fillers, a suite is followed by itself through them, such as ``capital through
            valid``.
        baseline: what `NGramModel.describe` returned; None without an n-gram model.
        no_baseline_because: why there is no n-gram model; empty if there is one, or if none was
            wanted.
        baseline_reports: suite -> the report of the n-gram model; empty without one.
        fixed: the fixed gates, such as ``forget_gate=1``; empty if there are none.
        fixed_reports: suite -> the report of the model with fixed gates; empty without any.
        adapted: how the model adapts, such as ``with cache``; empty if it does not.
        adapted_reports: suite -> the report of the model that adapts; empty without.
        filled: suite -> the name of the same suite through real text.
        notes: what people should know about fillers and means, a line each.
    """

    description: str
    vocab_size: int
    reports: dict[str, ReportRow]
    baseline: dict[str, Any] | None
    no_baseline_because: str
    baseline_reports: dict[str, ReportRow]
    fixed: str
    fixed_reports: dict[str, ReportRow]
    adapted: str
    adapted_reports: dict[str, ReportRow]
    filled: dict[str, str]
    notes: list[str]

    @property
    def baseline_name(self) -> str:
        """The n-gram model's name, such as ``5-gram``; empty without one."""
        return self.baseline["name"] if self.baseline else ""


def _ignore(suite: str, score: ItemScore) -> None:
    """Ignores a score."""


def probe_run(
    name_or_path: str | Path,
    suites: Sequence[Suite],
    *,
    order: int | None = None,
    fillers: str = "",
    fixes: Fixes | None = None,
    adapt: Sequence[str] = (),
    device: str = "cpu",
    on_score: Callable[[str, ItemScore], None] = _ignore,
) -> ProbeResult:
    """Asks a model the questions of suites.

    The figures of every suite are also kept in the run, and shown in its model card.

    Args:
        name_or_path: a run directory, or a model on the hub.
        suites: the questions, see `lstm_lm.probes.suites.find_suite`.
        order: words in the longest n-gram of the n-gram model; 0 for no n-gram model; None for the
            default, unless the corpus is large.
        fillers: also asks every suite with sentences of this text between clue and question:
            ``valid`` for the run's own valid split, or a file; empty: does not.
        fixes: also asks the model in which these gates always have the same value; see
            `lstm_lm.model.fixing.fix_gates`. A mean is taken over the valid split. Then there is
            no n-gram model.
        adapt: also asks the model that adapts to the words before the question: some of ``cache``,
            ``dynamic`` and ``ngram``, see `lstm_lm.evaluation.adaptation`. Then there is no n-gram
            model beside it.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        on_score: called with the name of the suite and every score of the model.

    Raises:
        InputError: a suite has a mistake, or a gate cannot be fixed in this way.
        RunDirectoryError: the directory is missing or damaged.
        CorpusError: the text of the fillers, or the valid split, cannot be read.
        ConfigError: this machine has no such device.
        HubError: the hub is out of reach, or has no such model.
    """
    weights = measured_weights(Path(name_or_path))
    model = LanguageModel.from_pretrained(name_or_path, choose_device(device, "--device"))
    asked, notes = ask_through(suites, fillers, name_or_path, model.vocabulary)
    fixed = with_fixed_gates(model, fixes, name_or_path, notes) if fixes else None
    adapted = adaptive_model(name_or_path, adapt, model, notes.append) if adapt else None
    baseline, why_not = _find_baseline(name_or_path, model, 0 if fixes or adapt else order)
    reader, vocab_size = NetworkReader(model), len(model.vocabulary)
    others = [baseline, NetworkReader(fixed) if fixed else None, adapted]
    with SharedCores(model.network.device):
        reports, *beside = _ask_all(reader, others, asked, vocab_size, on_score)
    if weights:
        results = Results(probes={name: _kept_figures(row) for name, row in reports.items()})
        notes += filter(None, [keep_results(Path(name_or_path), weights, results)])
    return ProbeResult(
        model.describe(),
        vocab_size,
        reports,
        baseline.model.describe() if baseline else None,
        why_not,
        beside[0],
        describe_fixes(fixes) if fixes else "",
        beside[1],
        f"with {', '.join(adapt)}" if adapt else "",
        beside[2],
        filled_names(asked),
        notes,
    )


def _ask_all(
    reader: NextWordModel,
    others: Sequence[NextWordModel | None],
    asked: Sequence[Suite | FilledSuite],
    vocab_size: int,
    on_score: Callable[[str, ItemScore], None],
) -> list[dict[str, ReportRow]]:
    """Asks a model, and those beside it, with a progress bar.

    Returns:
        The reports by suite: of the model, and of each of the others; empty for None.
    """
    found: list[dict[str, ReportRow]] = [{} for _ in (reader, *others)]
    total = sum(map(_count_items, asked))
    with Bar(total=total, desc="probing", unit=" items", leave=False, disable=None) as bar:

        def on_item(name: str, score: ItemScore) -> None:
            on_score(name, score)
            bar.update()

        for suite in asked:
            scores = iterate_scores(reader, suite)
            found[0][suite.name] = summarise(scores, vocab_size, partial(on_item, suite.name))
            for beside, reports in zip(others, found[1:], strict=True):
                if beside:
                    reports[suite.name] = summarise(iterate_scores(beside, suite), vocab_size)
    return found


def _kept_figures(report: ReportRow) -> dict[str, Any]:
    """What the run keeps of a suite's report."""
    return {figure: report.get(figure) for figure in PROBE_FIGURES}


def _count_items(suite: Suite | FilledSuite) -> int:
    if isinstance(suite, FilledSuite):
        return suite.item_count
    size = suite.check()
    return size.items + size.bad_items


def with_fixed_gates(
    model: LanguageModel, fixes: Fixes, name_or_path: str | Path, notes: list[str]
) -> LanguageModel:
    """Returns a run's model with fixed gates; a mean is taken over the run's own valid split.

    Args:
        model: of the run.
        fixes: see `lstm_lm.model.fixing.fix_gates`.
        name_or_path: the run.
        notes: receives how the mean was taken.

    Raises:
        InputError: a gate cannot be fixed in this way.
        RunDirectoryError: a mean is asked for, and the run's corpus is not known.
        CorpusError: the valid split cannot be read.
    """
    if MEAN not in fixes.values():
        return model.with_fixed_gates(fixes)
    tokens = _load_valid(name_or_path, model.vocabulary)
    count = min(len(tokens), MEAN_WORDS - 1)
    notes.append(f"mean: of each unit, over the first {count:,} words of the valid split")
    return model.with_fixed_gates(fixes, [model.vocabulary.eos_id, *tokens[:count].tolist()])


def _load_valid(name_or_path: str | Path, vocabulary: Vocabulary) -> Tokens:
    """The ids of the valid split of a run's own corpus."""
    config = load_model_config(Path(name_or_path))
    return Corpus(config.corpus, config.stories, vocabulary=vocabulary).tokens(VALID)


def ask_through(
    suites: Sequence[Suite], fillers: str, name_or_path: str | Path, vocabulary: Vocabulary
) -> tuple[Sequence[Suite | FilledSuite], list[str]]:
    """Returns every suite, followed by itself through a text if one is given; and notes.

    Args:
        suites: the suites.
        fillers: ``valid`` for the run's own valid split, or a file; empty: the suites stay alone.
        name_or_path: the run.
        vocabulary: the run's.

    Raises:
        InputError: another split is asked for, or the text has no whole sentence.
        RunDirectoryError: the run's corpus is not known.
        CorpusError: the text cannot be read.
    """
    if not fillers:
        return suites, []
    notes: list[str] = []
    if fillers == VALID:
        tokens = _load_valid(name_or_path, vocabulary)
    elif fillers in ("train", "test") and not Path(fillers).exists():
        raise InputError(
            f"--fillers: found {fillers!r}, must be valid, or a text file; train has been learned, "
            "and test is only for lstm-lm evaluate"
        )
    else:
        settings = corpus_settings(name_or_path)
        tokens, reading = encode_text(fillers, vocabulary, settings, notes=notes)
        if reading:
            how = "natural text" if reading == NATURAL else "tokenised text, word for word"
            notes.append(f"{fillers} is read as {how}")
    text = RealText.from_tokens(fillers, tokens, vocabulary)
    if not text.sentences:
        raise InputError(
            f"--fillers: {fillers} has no whole sentence of words that the model knows; give "
            "another text"
        )
    asked, more = fill_suites(suites, text)
    return asked, notes + more


def _find_baseline(
    name_or_path: str | Path, model: LanguageModel, order: int | None
) -> tuple[NGramReader | None, str]:
    """An n-gram model of the run's corpus; or None, and why."""
    if order == 0:
        return None, ""
    try:
        config = load_model_config(Path(name_or_path))
        return count_corpus_of(model.vocabulary, config, order), ""
    except UserError as error:
        return None, str(error).splitlines()[0]
