"""`sweep`: many runs that differ in some settings, side by side, and which of them is best."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lstm_lm.errors import RunDirectoryError
from lstm_lm.files.atomic import make_folder
from lstm_lm.files.run_files import METRICS_FILE
from lstm_lm.memory import available_memory
from lstm_lm.printing import print_line
from lstm_lm.training.run_directory import claim_folder, holds_run
from lstm_lm.training.run_log import read_log
from lstm_lm.training.sweep_checks import Preparation, read_result
from lstm_lm.training.sweep_process import RunProcess, fitting_processes, log_file
from lstm_lm.training.sweep_record import (
    DIVERGED,
    FAILED,
    FINISHED,
    STOPPED,
    TRAINING,
    WAITING,
    Combination,
    SweepRecord,
    SweepRun,
    open_record,
)
from lstm_lm.training.sweep_search import Trial, import_optuna, propose
from lstm_lm.training.sweep_settings import SweepSettings, describe_values
from lstm_lm.training.sweep_worker import DIVERGED as DIVERGED_STATUS

SECONDS_BETWEEN_LOOKS = 0.1
SECONDS_BETWEEN_LINES = 60.0  # about the runs that are being trained, if none of them ends
SIGNALLED = 128  # and more: the exit status of a run that was stopped and saved
KILLED = 9  # SIGKILL, with which Linux ends a process when memory is short


@dataclass(frozen=True)
class Search:
    """How combinations are chosen, where not all are trained.

    Attributes:
        trials: how many are trained, earlier ones included; at least 1.
        sampler: of `lstm_lm.training.sweep_search.SAMPLERS`.
    """

    trials: int
    sampler: str = "tpe"


def sweep(
    settings: SweepSettings,
    folder: Path,
    *,
    search: Search | None = None,
    parallel: int | None = None,
    report: Callable[[str], None] = print_line,
) -> SweepRecord:
    """Trains a run for every combination and seed, each in a process of its own with one thread.

    Every run is an ordinary run directory. A finished run is kept, and so is one that diverged; a
    stopped one is resumed, and one that failed is tried again. ``sweep.json`` has the results.

    Args:
        settings: what is varied.
        folder: the sweep's directory.
        search: chooses the combinations; None: all of them are trained.
        parallel: how many runs are trained side by side; None: one a core, as far as memory
            suffices, and one on an accelerator.
        report: receives every line for people.

    Raises:
        RunDirectoryError: the directory has something else, another sweep, or a damaged run.
        ConfigError: a network does not fit into memory.
        CorpusError: a corpus cannot be read.
        InputError: optuna is needed and not installed.
        DiskError: something could not be written.
        KeyboardInterrupt: the sweep was stopped, after all runs were saved; a second Ctrl-C ends
            them at once, and their last checkpoints stay.
    """
    if search:
        import_optuna()
    record = open_record(folder, settings, search.sampler if search else None)
    if not search and not record.combinations:
        combinations = list(settings.combinations())
        for values in combinations:
            record.add(values, max(2, len(str(len(combinations)))))
    with claim_folder(folder, resume=False, overwrite=False):
        preparation = Preparation(settings, record, report)
        make_folder(folder)
        record.save()
        _Session(settings, record, search, preparation, report).train(parallel)
    return record


class _Session:
    """The processes of one call of `sweep`."""

    def __init__(
        self,
        settings: SweepSettings,
        record: SweepRecord,
        search: Search | None,
        preparation: Preparation,
        report: Callable[[str], None],
    ) -> None:
        self.settings, self.record, self.search = settings, record, search
        self.preparation, self.report = preparation, report
        self.running: dict[RunProcess, tuple[Combination, SweepRun]] = {}
        combinations = search.trials if search else len(record.combinations)
        self.total = max(combinations, len(record.combinations)) * len(record.seeds)
        self.last_line = time.monotonic()

    def train(self, parallel: int | None) -> None:
        """Trains what is not finished yet."""
        kept = sum(run.state in (FINISHED, DIVERGED) for run in self.record.runs)
        parallel = self._choose_parallel(parallel, self.total - kept)
        beside = f", {parallel} side by side" if parallel > 1 else ""
        there = f", {kept:,} of them are there already" if kept else ""
        self.report(f"{self.total:,} runs{there}{beside}, into {self.record.folder}")
        try:
            while True:
                while len(self.running) < parallel and (task := self._next_run()):
                    self._start(*task)
                if not self.running:
                    return
                time.sleep(SECONDS_BETWEEN_LOOKS)
                self._look()
        except BaseException:
            self._stop()
            raise

    def _choose_parallel(self, wanted: int | None, runs: int) -> int:
        needed, available = self.preparation.memory_needed, available_memory()
        if wanted is None:
            return fitting_processes(self.settings.base.training.device, needed, runs)
        if available is not None and wanted * needed > available:
            self.report(
                f"note: {wanted} runs side by side may need {wanted * needed / 1e9:.1f} GB of "
                f"memory, of which {available / 1e9:.1f} GB are free"
            )
        return wanted

    def _next_run(self) -> tuple[Combination, SweepRun] | None:
        """The next run to train: all combinations with the first seed, then with the next."""
        waiting = [
            (one, run)
            for one in self.record.combinations
            for run in one.runs
            if run.state in (WAITING, STOPPED)
        ]
        if waiting and self.search:
            return waiting[0]
        if waiting:
            return min(waiting, key=lambda task: self.record.seeds.index(task[1].seed))
        return self._propose()

    def _propose(self) -> tuple[Combination, SweepRun] | None:
        """The first run of a combination that the search proposes."""
        if not self.search or len(self.record.combinations) >= self.search.trials:
            return None
        values = propose(
            self.settings.axes,
            [Trial(one.values, one.outcome) for one in self.record.combinations],
            sampler=self.search.sampler,
            seed=self.record.seeds[0],
        )
        if values is None:
            return None
        one = self.record.add(values, max(2, len(str(self.search.trials))))
        self.preparation.add(one)
        return one, one.runs[0]

    def _start(self, one: Combination, run: SweepRun) -> None:
        run.state = TRAINING
        self.record.save()
        config = self.settings.build(one.values, run.seed)
        self.running[RunProcess(config, self.record.folder / run.folder)] = one, run

    def _look(self) -> None:
        """Takes note of the runs that have ended."""
        for process in [one for one in self.running if one.status is not None]:
            one, run = self.running.pop(process)
            self._take(process, run)
            self.record.save()
            ended = sum(run.state in (FINISHED, DIVERGED, FAILED) for run in self.record.runs)
            self.report(f"{ended:,}/{self.total:,}  {_name(one, run)}: {_outcome(run)}")
            self.last_line = time.monotonic()
        if time.monotonic() - self.last_line >= SECONDS_BETWEEN_LINES:
            self.last_line = time.monotonic()
            steps = ", ".join(self._progress(*task) for task in self.running.values())
            self.report(f"training: {steps}")

    def _progress(self, one: Combination, run: SweepRun) -> str:
        lines = read_log(self.record.folder / run.folder / METRICS_FILE)
        return f"{_name(one, run)}, step {lines[-1]['step'] if lines else 0:,}"

    def _take(self, process: RunProcess, run: SweepRun) -> None:
        """Writes down what became of a run whose process has ended."""
        process.stop()
        status, folder = process.status, self.record.folder / run.folder
        assert status is not None
        run.state, run.why = FAILED, process.last_words()
        if status == 0:
            try:
                read_result(run, folder)
            except RunDirectoryError as error:
                run.why = str(error)
        elif status == DIVERGED_STATUS:
            run.state, run.why = DIVERGED, run.why.partition(";")[0]  # what to do is in the log
        elif status > SIGNALLED:
            run.state, run.why = (STOPPED if holds_run(folder) else WAITING), ""
        elif status < 0:
            memory = ", perhaps for lack of memory" if status == -KILLED else ""
            run.why = f"its process was ended by signal {-status}{memory}"

    def _stop(self) -> None:
        """Has all runs saved; a second Ctrl-C ends them at once."""
        if not self.running:
            return
        self.report("stopping: saving the runs first (press Ctrl-C again to stop at once)")
        try:
            for process in self.running:
                process.stop()
            while any(process.status is None for process in self.running):
                time.sleep(SECONDS_BETWEEN_LOOKS)
        finally:
            for process, (_, run) in self.running.items():
                if process.status is None:
                    process.kill()
                    run.state = STOPPED
                else:
                    self._take(process, run)
            self.running.clear()
            self.record.save()


def _name(one: Combination, run: SweepRun) -> str:
    return f"{describe_values(one.values)} seed {run.seed}"


def _outcome(run: SweepRun) -> str:
    if run.perplexity is not None and run.state == FINISHED:
        return f"valid perplexity {run.perplexity:.2f}, {run.seconds:,.0f} s"
    if run.state in (DIVERGED, FAILED):
        return f"{run.state}: {run.why}; see {log_file(Path(run.folder))}"
    return run.state
