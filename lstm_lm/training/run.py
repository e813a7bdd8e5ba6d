"""`train`: the one way to train a model, for the command, for comparisons and from Python."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from lstm_lm.cells import lacks_compiler, why_not_compiled
from lstm_lm.config import Config, ModelConfig, config_to_dict
from lstm_lm.corpus.corpus import Corpus
from lstm_lm.corpus.word_report import describe_words
from lstm_lm.corpus.word_rules import LATEST_VERSION
from lstm_lm.errors import RunDirectoryError, UserError
from lstm_lm.files.atomic import make_folder, remove_leftovers, write_atomically
from lstm_lm.files.run_files import (
    METRICS_FILE,
    RUN_FILES,
    TIMINGS_FILE,
    YAML_FILE,
)
from lstm_lm.machine import (
    choose_device,
    flush_tiny_numbers,
    lacks_bfloat16,
    out_of_memory_named,
)
from lstm_lm.model.language_model import LanguageModel
from lstm_lm.model.network import Network
from lstm_lm.model.pretrained import save_description
from lstm_lm.model.scoring import perplexity_from
from lstm_lm.printing import print_line
from lstm_lm.training.building import (
    build_model,
    check_clusters,
    check_memory,
    count_words,
    describe_ignored_sizes,
    new_run_id,
)
from lstm_lm.training.card import CardError, keep_results, write_card
from lstm_lm.training.distributed import Ranks, check_divisible, joined
from lstm_lm.training.following import follow, lead
from lstm_lm.training.launch import find_launch
from lstm_lm.training.loggers import Logs, check_packages
from lstm_lm.training.removing import remove_run
from lstm_lm.training.resolving import has_run, resolve, start_override
from lstm_lm.training.results import Results, weights_id
from lstm_lm.training.resuming import ResumePoint, find_resume_point
from lstm_lm.training.revisions import check_reachable
from lstm_lm.training.run_directory import (
    check_same_run,
    claim_folder,
    load_run_config,
    run_yaml,
)
from lstm_lm.training.run_log import read_log
from lstm_lm.training.starting import (
    Forgetting,
    Origin,
    begin_from,
    find_start,
    load_word_vectors,
    measure_forgetting,
)
from lstm_lm.training.trainer import Trainer
from lstm_lm.training.validation import best_validation, valid_texts


@dataclass(frozen=True)
class Run:
    """What `train` returns.

    Attributes:
        folder: the run directory.
        finished: whether the budget is spent; if not, a signal stopped the run, and it can be
            resumed.
        steps: optimizer updates so far.
        best_step: the step of the weights that were kept; None before the first validation.
        perplexity: their perplexity on valid; None before the first validation.
        seconds: wall time, earlier sessions included.
        stopped_by: number of the signal that stopped the run, such as 2 for Ctrl-C; None if
            finished.
        skipped_updates: updates that were skipped because they were not finite.
        forgetting: of a finished run that started from another model: how well it still reads the
            corpus of that one; None if that is not known.
    """

    folder: Path
    finished: bool
    steps: int
    best_step: int | None
    perplexity: float | None
    seconds: float
    stopped_by: int | None
    skipped_updates: int
    forgetting: Forgetting | None = None

    @property
    def model(self) -> LanguageModel:
        """The model with the best weights, loaded from the run directory, on the CPU."""
        return LanguageModel.from_pretrained(self.folder)


@torch.inference_mode(False)  # both also where the caller's code needs no gradients
@torch.enable_grad()
def train(
    config: str | Path | Config | Mapping[str, Any],
    output: str | Path | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    mend: bool = False,
    init_from: str | Path | None = None,
    auto_resume: bool = False,
    report: Callable[[str], None] = print_line,
    **overrides: Any,
) -> Run:
    """Trains a model and leaves a run directory. Can be called from a notebook and from any thread.

    Ctrl-C, SIGTERM and SIGHUP save the run first, if this is the main thread and they are not
    ignored; a resumed run continues as if it had never stopped. The process is left as it was.

    In a script that torchrun starts, all processes call this with the same arguments, and train
    together: see `lstm_lm.training.distributed`.

    Args:
        config: a run directory, a YAML file, a text such as ``my.txt``, the name of a packaged
            configuration such as ``quickstart``, a `Config`, or nested dicts of sections and keys.
        output: the run directory; by default ``runs/`` and the configuration's name. Must be given
            for a `Config` and for dicts.
        resume: continue the run that is in it.
        overwrite: replace the run that is in it.
        mend: with ``resume``, continue from what is whole if some files are damaged.
        init_from: a run directory or a model on the hub whose words and weights the run starts
            from, or a file of word vectors; short for the settings ``training.init_from`` and
            ``training.word_vectors``.
        auto_resume: continue the run that is in it, or begin one if there is none.
        report: receives every line for people; prints it by default.
        **overrides: settings that replace the configuration's, such as
            ``**{"training.max_epochs": 3}``.

    Returns:
        The run; ``run.model`` is the trained `LanguageModel`.

    Raises:
        ConfigError: a setting is wrong; all mistakes are named.
        CorpusError: the corpus cannot be read, or changes while it is read.
        RunDirectoryError: the directory contains a run and neither ``resume`` nor ``overwrite`` is
            given, or the run in it cannot be resumed.
        DivergedError: a loss, gradient or weight is not finite; the last checkpoint is kept.
        DiskError: something could not be written; the last checkpoint is kept.
        MissingExtra: a package is missing that a log of ``training.log_to`` needs.
        RankError: another process of the training ended.
    """
    if not find_launch().is_first:
        return _outcome(*follow())
    if init_from is not None:
        overrides |= start_override(init_from)
    resume = resume or (auto_resume and has_run(config, output))
    settings, folder = resolve(config, output, overrides, report, resume=resume)
    check_packages(settings.training.log_to)
    check_divisible(settings.training.batch_size, find_launch().size)
    with (
        joined() as ranks,
        claim_folder(folder, resume=resume, overwrite=overwrite),
        out_of_memory_named(),
        flush_tiny_numbers(),
    ):
        point = choose_resume_point(folder, settings, mend=mend) if resume else None
        trainer, origin = build_run(settings, folder, point, report, ranks)
        for line in _first_lines(trainer, point, settings.model):
            report(line)
        first_step = trainer.progress.step
        finished = trainer.run()
        forgetting = _report_forgetting(folder, origin, settings, report) if finished else None
    if finished:
        is_new = trainer.progress.step > first_step
        _finish_card(folder, forgetting, report, trained=is_new)
    return _outcome(trainer, finished, forgetting)


def _outcome(trainer: Trainer, finished: bool, forgetting: Forgetting | None = None) -> Run:
    """What `train` returns."""
    progress, best = trainer.progress, trainer.progress.best_loss
    return Run(
        trainer.folder,
        finished,
        progress.step,
        progress.best_step,
        None if best is None else perplexity_from(best, 1),
        trainer.log.seconds,
        None if finished else trainer.signals.received,
        progress.skipped_updates,
        forgetting,
    )


def _finish_card(
    folder: Path, forgetting: Forgetting | None, report: Callable[[str], None], *, trained: bool
) -> None:
    """Writes the model card of a finished run, unless it was finished before and has one."""
    try:
        write_card(folder, trained=trained)
    except CardError as error:
        report(f"note: {error}")
    if forgetting:
        keep_results(folder, weights_id(folder), Results(forgetting=asdict(forgetting)))


def _report_forgetting(
    folder: Path, origin: Origin | None, config: Config, report: Callable[[str], None]
) -> Forgetting | None:
    """Measures and reports how well a finished run reads the corpus of the model before it."""
    if origin is None:
        return None
    model = LanguageModel.from_pretrained(folder, choose_device(config.training.device))
    try:
        found = measure_forgetting(model, origin, config.evaluation.window_length)
    except UserError as error:
        report(f"how much was forgotten of {origin.name} is not known: {error}")
        return None
    report(f"valid perplexity of the corpus of {origin.name}: {found}")
    return found


def choose_resume_point(folder: Path, config: Config, *, mend: bool = False) -> ResumePoint | None:
    """Finds where a run resumes, and checks that it is the same run; see `find_resume_point`.

    Raises:
        RunDirectoryError: it cannot be resumed, or had another configuration.
    """
    point = find_resume_point(folder, mend=mend)
    if point is not None and YAML_FILE not in point.damaged:
        check_same_run(load_run_config(folder)[0], config, folder)
    return point


def build_trainer(
    config: Config,
    folder: Path,
    resume: ResumePoint | None = None,
    report: Callable[[str], None] = print_line,
) -> Trainer:
    """Builds everything that a run needs; see `build_run`."""
    return build_run(config, folder, resume, report)[0]


def build_run(
    config: Config,
    folder: Path,
    resume: ResumePoint | None = None,
    report: Callable[[str], None] = print_line,
    ranks: Ranks | None = None,
) -> tuple[Trainer, Origin | None]:
    """Builds everything that a run needs, and then writes its description into its directory.

    Args:
        config: the whole configuration.
        folder: the run directory, claimed.
        resume: what the run resumes from; if None, the files of an earlier run in it are removed.
        report: receives every line for people.
        ranks: the processes that train together, of which this is the first; None: this one alone.

    Returns:
        The trainer, and what the run started from; None if it started from nothing.

    Raises:
        CorpusError: the corpus cannot be read or trained on, or changes while it is read.
        RunDirectoryError: what is to be resumed is damaged or from another corpus.
        DiskError: the directory cannot be written to.
    """
    known = resume.description if resume else None
    version = known.vocabulary.version if known else LATEST_VERSION
    start = find_start(config, known)
    base = start.vocabulary if start else None
    corpus = Corpus(config.corpus, config.stories, base=base, version=version)
    for note in corpus.notes():
        report(note)
    vocabulary, train = corpus.vocabulary, corpus.training_tokens(config.training.batch_size)
    valid = valid_texts(corpus, config.evaluation)
    if known and known.vocabulary.to_json() != vocabulary.to_json():
        raise RunDirectoryError(
            f"{folder}: the corpus has changed since this run began; restore it, or choose another "
            "--output"
        )
    on_cpu = choose_device(config.training.device).type == "cpu"
    check_memory(config.model, len(vocabulary), config.optimizer if on_cpu else None)
    check_reachable(config.training, len(train))
    if resume is None:
        check_clusters(config.model, len(vocabulary))
    model = build_model(config, vocabulary, train)
    if resume is None and start:
        begin_from(model, start, train, count_words(train, len(vocabulary)))
    elif resume is None and config.training.word_vectors:
        report(load_word_vectors(model, config.training.word_vectors))
    model.to((ranks or Ranks()).use_device(choose_device(config.training.device)))
    origin = start.origin if start else None
    run_id = new_run_id(config, vocabulary, train, valid, origin.run_id if origin else None)
    trainer = Trainer(
        model,
        train,
        valid,
        config.optimizer,
        config.training,
        config.evaluation,
        folder,
        resume=resume,
        run_id=run_id,
        logs=Logs(config.training.log_to, folder, config_to_dict(config)),
        validates_first=origin is not None,
        ranks=ranks,
        report=report,
    )
    _check_length(trainer)
    _prepare_folder(folder, config, trainer, resume, origin, report)
    if resume is None:
        for line in describe_words(corpus):
            report(line)
    lead(ranks or Ranks(), config, base, origin.run_id if origin else None, trainer)
    return trainer, origin


def _check_length(trainer: Trainer) -> None:
    """Checks that train is as long as it was when the run began."""
    before, now = trainer.progress.train_tokens, len(trainer.streams.tokens)
    if before != now:
        raise RunDirectoryError(
            f"{trainer.folder}: train had {before:,} tokens when this run began, now {now:,}; "
            "restore the corpus, or choose another --output"
        )


def _prepare_folder(
    folder: Path,
    config: Config,
    trainer: Trainer,
    resume: ResumePoint | None,
    origin: Origin | None,
    report: Callable[[str], None],
) -> None:
    """Writes what describes a run, and removes what is left of an earlier one."""
    make_folder(folder)
    remove_leftovers(folder, RUN_FILES)
    if resume:
        resume.put_in_place()
    else:
        remove_run(folder, report)
    run_id, known = trainer.progress.run_id, resume.description if resume else None
    write_atomically(folder / YAML_FILE, run_yaml(config, run_id))
    if known is None or known.config != config.model:
        started = origin.to_dict() if origin else None
        save_description(trainer.network, trainer.model.vocabulary, folder, run_id, started)


def _lacks_compiler(config: ModelConfig, network: Network) -> bool:
    """Whether the cells run operator by operator on a CPU because there is no C compiler."""
    is_fused_on_cpu = config.recurrence == "fused" and network.device.type == "cpu"
    return is_fused_on_cpu and lacks_compiler(network.recurrent.cells[0])


def _first_lines(trainer: Trainer, point: ResumePoint | None, config: ModelConfig) -> Iterator[str]:
    """Yields what people should know before the first update."""
    resumed = f", from step {trainer.progress.step:,}" if point else ""
    valid = ", ".join(f"{len(text.tokens):,}" for text in trainer.valid)
    ranks, before = trainer.ranks.size, trainer.progress.ranks
    yield (
        f"{trainer.model.describe()}\ntrain {len(trainer.streams.tokens):,} tokens, valid "
        f"{valid}, on {trainer.network.device}, into {trainer.folder}{resumed}"
        + (f", in {ranks} processes" if ranks > 1 else "")
    )
    if point and before != ranks:
        yield (
            f"note: this run had {before} process{'es' * (before > 1)} and now has {ranks}: it is "
            "the same training, but its numbers are not the same to the last digit"
        )
    if trainer.finished:
        yield (
            "this run is finished already; to train further, raise training.max_steps, "
            "training.max_epochs or training.patience"
        )
        return
    if _lacks_compiler(config, trainer.network):
        yield f"note: this cell trains slower than it could: {why_not_compiled()}"
    on_cpu = trainer.network.device.type == "cpu"
    if trainer.config.precision == "bf16" and on_cpu and lacks_bfloat16():
        yield "note: this CPU has no bfloat16 instructions: training.precision=fp32 may be faster"
    yield from describe_ignored_sizes(config, len(trainer.model.vocabulary))
    if trainer.rate_note:
        yield trainer.rate_note
    if trainer.average.note:
        yield trainer.average.note


def describe_run(folder: Path) -> dict[str, Any]:
    """What a run's logs contain: steps, words seen, seconds, and its best validation.

    Raises:
        RunDirectoryError: the logs are damaged or missing.
    """
    metrics, timings = read_log(folder / METRICS_FILE), read_log(folder / TIMINGS_FILE)
    best = best_validation(folder)
    if not (best and timings):
        raise RunDirectoryError(
            f"{folder}: {METRICS_FILE} or {TIMINGS_FILE} is missing; restore it, or remove the "
            "directory to train again"
        )
    return {
        "steps": metrics[-1]["step"],
        "words": metrics[-1]["words"],
        "seconds": timings[-1]["seconds"],
        "perplexity": best["perplexity"],
        "tokens": best["tokens"],
        "oov_tokens": best["oov_tokens"],
        "state": best["state"],
    }
