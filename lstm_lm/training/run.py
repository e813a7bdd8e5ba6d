"""`train`: the one way to train a model, for the command, for comparisons and from Python."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from lstm_lm.cells import lacks_compiler
from lstm_lm.config import Config, ModelConfig, config_to_dict, config_to_yaml
from lstm_lm.corpus.corpus import Corpus
from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.corpus.windows import TokenIds
from lstm_lm.corpus.word_report import describe_words
from lstm_lm.corpus.word_rules import LATEST_VERSION
from lstm_lm.errors import ConfigError, RunDirectoryError, UserError
from lstm_lm.files.atomic import disk_errors, make_folder, remove_leftovers, write_atomically
from lstm_lm.files.run_files import (
    METRICS_FILE,
    RUN_FILES,
    TIMINGS_FILE,
    YAML_FILE,
)
from lstm_lm.files.seal import digest
from lstm_lm.machine import (
    SMALLER_SIZES,
    choose_device,
    flush_tiny_numbers,
    out_of_memory_named,
    physical_memory,
)
from lstm_lm.model.language_model import LanguageModel
from lstm_lm.model.network import Network, empty_network
from lstm_lm.model.pretrained import save_description
from lstm_lm.model.scoring import perplexity_from
from lstm_lm.training.card import CardError, keep_results, write_card
from lstm_lm.training.loggers import Logs, check_packages, remove_event_files
from lstm_lm.training.resolving import print_line, resolve, start_override
from lstm_lm.training.results import Results, weights_id
from lstm_lm.training.resuming import ResumePoint, find_resume_point
from lstm_lm.training.revisions import check_reachable, remove_revisions
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


def train(
    config: str | Path | Config | Mapping[str, Any],
    output: str | Path | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    mend: bool = False,
    init_from: str | Path | None = None,
    report: Callable[[str], None] = print_line,
    **overrides: Any,
) -> Run:
    """Trains a model and leaves a run directory. Can be called from a notebook and from any thread.

    Ctrl-C and SIGTERM save the run first, if this is the main thread; a resumed run continues as if
    it had never stopped.

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
    """
    if init_from is not None:
        overrides |= start_override(init_from)
    settings, folder = resolve(config, output, overrides, report, resume=resume)
    check_packages(settings.training.log_to)
    forgetting = None
    with (
        claim_folder(folder, resume=resume, overwrite=overwrite),
        out_of_memory_named(),
        flush_tiny_numbers(),
    ):
        point = choose_resume_point(folder, settings, mend=mend) if resume else None
        trainer, origin = build_run(settings, folder, point, report)
        for line in _first_lines(trainer, point, settings.model):
            report(line)
        finished = trainer.run()
        if finished and origin:
            forgetting = _report_forgetting(folder, origin, settings, report)
    if finished:
        _finish_card(folder, forgetting, report)
    progress = trainer.progress
    best = progress.best_loss
    return Run(
        folder,
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
    folder: Path, forgetting: Forgetting | None, report: Callable[[str], None]
) -> None:
    """Writes the model card of a finished run."""
    try:
        write_card(folder)
    except CardError as error:
        report(f"note: {error}")
    if forgetting:
        keep_results(folder, weights_id(folder), Results(forgetting=asdict(forgetting)))


def _report_forgetting(
    folder: Path, origin: Origin, config: Config, report: Callable[[str], None]
) -> Forgetting | None:
    """Measures and reports how well a finished run reads the corpus of the model before it."""
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
) -> tuple[Trainer, Origin | None]:
    """Builds everything that a run needs, and then writes its description into its directory.

    Args:
        config: the whole configuration.
        folder: the run directory, claimed.
        resume: what the run resumes from; if None, the files of an earlier run in it are removed.
        report: receives every line for people.

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
    check_memory(config.model, len(vocabulary))
    check_reachable(config.training, len(train))
    if resume is None:
        check_clusters(config.model, len(vocabulary))
    model = _build_model(config, vocabulary, train)
    if resume is None and start:
        begin_from(model, start, train, count_words(train, len(vocabulary)))
    elif resume is None and config.training.word_vectors:
        report(load_word_vectors(model, config.training.word_vectors))
    model.to(choose_device(config.training.device))
    origin = start.origin if start else None
    sizes = " ".join(str(len(tokens)) for tokens in (train, *(text.tokens for text in valid)))
    parts = f"{config_to_yaml(config)} {vocabulary.to_json()} {sizes}"
    if origin:
        parts += f" {origin.run_id}"
    trainer = Trainer(
        model,
        train,
        valid,
        config.optimizer,
        config.training,
        config.evaluation,
        folder,
        resume=resume,
        run_id=digest(parts.encode()),
        logs=Logs(config.training.log_to, folder, config_to_dict(config)),
        validates_first=origin is not None,
        report=report,
    )
    if trainer.progress.train_tokens != len(train):
        raise RunDirectoryError(
            f"{folder}: train had {trainer.progress.train_tokens:,} tokens when this run began, "
            f"now {len(train):,}; restore the corpus, or choose another --output"
        )
    _prepare_folder(folder, config, trainer, resume, origin)
    if resume is None:
        for line in describe_words(corpus):
            report(line)
    return trainer, origin


def _build_model(config: Config, vocabulary: Vocabulary, train: TokenIds) -> LanguageModel:
    """Builds a model with drawn weights, which begins at the words' frequencies, on the CPU."""
    torch.manual_seed(config.training.seed)
    model = LanguageModel.from_config(config.model, vocabulary)
    model.network.output.start_from_counts(count_words(train, len(vocabulary)))
    return model


def _prepare_folder(
    folder: Path,
    config: Config,
    trainer: Trainer,
    resume: ResumePoint | None,
    origin: Origin | None,
) -> None:
    """Writes what describes a run, and removes what is left of an earlier one."""
    make_folder(folder)
    remove_leftovers(folder, RUN_FILES)
    if resume:
        resume.put_in_place()
    else:
        _remove_run(folder)
    run_id, known = trainer.progress.run_id, resume.description if resume else None
    write_atomically(folder / YAML_FILE, run_yaml(config, run_id))
    if known is None or known.config != config.model:
        started = origin.to_dict() if origin else None
        save_description(trainer.network, trainer.model.vocabulary, folder, run_id, started)


def check_memory(config: ModelConfig, vocab_size: int) -> None:
    """Compares the size of a network's weights with the machine's memory before any is allocated.

    Linux promises more memory than it has, and then kills the process that uses it.

    Raises:
        ConfigError: the weights alone are larger than the machine's memory.
    """
    with out_of_memory_named():
        weights = list(empty_network(config, vocab_size).parameters())
    needed = sum(weight.numel() * weight.element_size() for weight in weights)
    memory = physical_memory()
    if memory is not None and needed > memory:
        raise ConfigError(
            f"model: its weights alone need {needed / 2**30:,.0f} GiB, this machine has "
            f"{memory / 2**30:,.0f}; {SMALLER_SIZES}"
        )


def check_clusters(config: ModelConfig, vocab_size: int) -> None:
    """Checks that an adaptive output layer has a cluster; otherwise it would be a full one.

    Raises:
        ConfigError: all its cutoffs are beyond the vocabulary.
    """
    cutoffs = config.adaptive_cutoffs
    if config.output == "adaptive" and all(cutoff >= vocab_size for cutoff in cutoffs):
        raise ConfigError(
            f"model.output: adaptive has no effect on {vocab_size:,} words, because no number in "
            f"model.adaptive_cutoffs={list(cutoffs)} is below that; add one, or set "
            "model.output=full"
        )


def count_words(tokens: TokenIds, vocab_size: int, block: int = 2**20) -> torch.Tensor:
    """Counts how often each word occurs, int64 ``(V,)``, reading ``block`` tokens at a time."""
    counts = torch.zeros(vocab_size, dtype=torch.int64)
    for start in range(0, len(tokens), block):
        some = torch.from_numpy(tokens[start : start + block])
        counts += torch.bincount(some, minlength=vocab_size)
    return counts


def _remove_run(folder: Path) -> None:
    with disk_errors(folder):
        for name in RUN_FILES:
            (folder / name).unlink(missing_ok=True)
    remove_event_files(folder)
    remove_revisions(folder)


def _lacks_compiler(config: ModelConfig, network: Network) -> bool:
    """Whether the cells run operator by operator on a CPU because there is no C compiler."""
    is_fused_on_cpu = config.recurrence == "fused" and network.device.type == "cpu"
    return is_fused_on_cpu and lacks_compiler(network.recurrent.cells[0])


def _first_lines(trainer: Trainer, point: ResumePoint | None, config: ModelConfig) -> Iterator[str]:
    """Yields what people should know before the first update."""
    resumed = f", from step {trainer.progress.step:,}" if point else ""
    valid = ", ".join(f"{len(text.tokens):,}" for text in trainer.valid)
    yield (
        f"{trainer.model.describe()}\ntrain {len(trainer.streams.tokens):,} tokens, valid "
        f"{valid}, on {trainer.network.device}, into {trainer.folder}{resumed}"
    )
    if trainer.finished:
        yield (
            "this run is finished already; to train further, raise training.max_steps, "
            "training.max_epochs or training.patience"
        )
        return
    if _lacks_compiler(config, trainer.network):
        yield "note: this cell trains faster on a CPU with gcc installed (as `cc` or `$CC`)"
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
