"""Other logs beside ``metrics.jsonl``: `training.log_to`.

Each gets one `Row` per step: the figures of the lines of ``metrics.jsonl``, and what cannot be the
same for the same seed, such as words per second.

They follow ``metrics.jsonl``, which a resumed run begins with the lines up to its checkpoint:

===============  ==========================================  =======================================
log              where                                       a resumed run
===============  ==========================================  =======================================
``csv``          ``metrics.csv`` in the run directory        writes all rows anew
``tensorboard``  ``tensorboard/`` in the run directory       writes all rows anew
``wandb``        the service; offline, ``wandb/`` in the     sends the rows that the service does
                 run directory                               not have; offline, writes all rows anew
``trackio``      its own folder, or a server                 sends the rows that it does not have
===============  ==========================================  =======================================

So no step is missing or there twice, wherever the run was killed. A run killed after its last
checkpoint computes the same figures again, and a log that has them already keeps them.
"""

from __future__ import annotations

import csv
import io
import json
import os
import secrets
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from lstm_lm.errors import ConfigError, MissingExtra
from lstm_lm.files.atomic import disk_errors, open_to_append, write_atomically
from lstm_lm.files.outputs import check_inside
from lstm_lm.files.run_files import CSV_FILE, CURVE_FILE, LOG_ID_FILE
from lstm_lm.training.log_rows import Row, RowBuilder

PROJECT = "lstm_lm"  # of wandb and trackio, unless WANDB_PROJECT or TRACKIO_PROJECT names another
EVENTS_SUFFIX = ".lstm_lm"
EVENTS = f"tensorboard/events.out.tfevents.*{EVENTS_SUFFIX}"


@dataclass(frozen=True)
class LoggedRun:
    """What a log says about the run.

    Attributes:
        folder: the run directory.
        config: all settings, by section.
        id: of this run alone; a run that resumes has the same.
    """

    folder: Path
    config: Mapping[str, Any]
    id: str

    @property
    def name(self) -> str:
        """The name of the run directory."""
        return self.folder.resolve().name


class Log(Protocol):
    """A log that is open."""

    def add(self, row: Row) -> None:
        """Appends the row of a step."""
        ...

    def close(self, *, failed: bool) -> None:
        """Finishes the log; ``failed`` says that an error ended the run."""
        ...


class CsvLog:
    """``metrics.csv``: a line per step. Samples are one cell, separated by vertical bars.

    Args:
        run: the run.
        rows: the steps so far.

    Raises:
        DiskError: it cannot be written.
    """

    def __init__(self, run: LoggedRun, rows: Sequence[Row]) -> None:
        self._path = run.folder / CSV_FILE
        self._rows = list(rows)
        self._columns = self._all_columns()
        self._write()

    def _all_columns(self) -> list[str]:
        figures = dict.fromkeys(name for row in self._rows for name in row.figures)
        has_samples = any(row.samples for row in self._rows)
        return ["step", *figures, *(["samples"] if has_samples else [])]

    def _write(self) -> None:
        lines = [_csv_line(self._columns), *map(self._line, self._rows)]
        write_atomically(self._path, "".join(lines))

    def _line(self, row: Row) -> str:
        samples = " | ".join(f"{prompt} ... {text}" for prompt, text in row.samples.items())
        cells = {"step": row.step, **row.figures, "samples": samples}
        return _csv_line(cells.get(column, "") for column in self._columns)

    def add(self, row: Row) -> None:
        """Appends a row; writes the file anew if it has figures without a column.

        Raises:
            DiskError: it cannot be written.
        """
        self._rows.append(row)
        columns = self._all_columns()
        if columns != self._columns:
            self._columns = columns
            self._write()
            return
        with disk_errors(self._path), open_to_append(self._path) as file:
            file.write(self._line(row).encode())

    def close(self, *, failed: bool) -> None:
        """Does nothing: the file is complete after every row."""


def _csv_line(cells: Iterable[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


class TensorBoardLog:
    """Event files for TensorBoard.

    Args:
        run: the run.
        rows: the steps so far.

    Raises:
        DiskError: they cannot be written.
    """

    def __init__(self, run: LoggedRun, rows: Sequence[Row]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._folder = run.folder / "tensorboard"
        remove_event_files(run.folder)
        with disk_errors(self._folder):
            # A TensorBoard that is open forgets the steps of the files that were there.
            self._writer = SummaryWriter(
                str(self._folder), purge_step=0, filename_suffix=EVENTS_SUFFIX
            )
            settings = json.dumps(run.config, indent=2, ensure_ascii=False)
            self._writer.add_text("settings", f"```\n{settings}\n```", 0)
            for row in rows:
                self._add(row)
            self._writer.flush()

    def add(self, row: Row) -> None:
        """Appends a row.

        Raises:
            DiskError: it cannot be written.
        """
        with disk_errors(self._folder):
            self._add(row)
            self._writer.flush()

    def _add(self, row: Row) -> None:
        for name, value in row.figures.items():
            self._writer.add_scalar(name, value, row.step)
        if row.samples:
            self._writer.add_text("samples", _markdown(row.samples), row.step)
        if row.curve:
            from matplotlib.image import imread

            pixels = imread(row.curve)[:, :, :3]
            self._writer.add_image("training_curve", pixels, row.step, dataformats="HWC")

    def close(self, *, failed: bool) -> None:
        """Writes what is left.

        Raises:
            DiskError: that is refused.
        """
        with disk_errors(self._folder):
            self._writer.close()


def remove_event_files(folder: Path) -> None:
    """Removes the event files of a run; not those that another program wrote beside them.

    Raises:
        DiskError: that is refused.
    """
    check_inside(folder / "tensorboard")
    with disk_errors(folder):
        for path in folder.glob(EVENTS):
            path.unlink(missing_ok=True)


def _markdown(samples: Mapping[str, str]) -> str:
    return "\n\n".join(f"*{prompt}* ... {text}" for prompt, text in samples.items())


class WandbLog:
    """Weights & Biases. The environment chooses how: ``WANDB_MODE``, ``WANDB_PROJECT`` and others.

    Args:
        run: the run.
        rows: the steps so far.

    Raises:
        ConfigError: it does not begin, for example because nobody is logged in.
    """

    def __init__(self, run: LoggedRun, rows: Sequence[Row]) -> None:
        import wandb

        self._wandb = wandb
        check_inside(run.folder / "wandb")
        mode: Any = os.environ.get("WANDB_MODE")  # wandb itself reads it once per process
        try:
            self._run = wandb.init(
                project=os.environ.get("WANDB_PROJECT") or PROJECT,
                name=run.name,
                id=run.id,
                config=dict(run.config),
                resume="allow",
                dir=str(run.folder),
                mode=mode,
                settings=wandb.Settings(console="off", reinit="create_new"),  # others go on
            )
        except Exception as error:  # its errors are of many kinds
            reason = str(error).strip().partition("\n")[0]
            raise ConfigError(
                f"training.log_to: wandb does not begin ({reason}); run `wandb login`, or set "
                "WANDB_MODE=offline"
            ) from error
        first = 0
        if self._run.offline:
            # Offline, every session has a folder; this one gets all rows and is the only one left.
            own = Path(self._run.settings.sync_dir).resolve()
            for folder in (run.folder / "wandb").glob(f"offline-run-*-{run.id}"):
                if folder.resolve() != own:
                    shutil.rmtree(folder, ignore_errors=True)
        elif self._run.resumed:
            first = self._run.starting_step
        self._next_step = first
        for row in rows:
            self.add(row)

    def add(self, row: Row) -> None:
        """Sends a row, unless the service has a later step already."""
        if row.step < self._next_step:
            return
        values: dict[str, Any] = dict(row.figures)
        if row.samples:
            data = [[prompt, text] for prompt, text in row.samples.items()]
            values["samples"] = self._wandb.Table(["prompt", "continuation"], data)
        if row.curve:
            values["training_curve"] = self._wandb.Image(str(row.curve))
        self._run.log(values, step=row.step, commit=True)

    def close(self, *, failed: bool) -> None:
        """Sends what is left."""
        self._run.finish(exit_code=int(failed))


class TrackioLog:
    """Trackio, on this machine or where ``TRACKIO_SERVER_URL`` or ``TRACKIO_SPACE_ID`` says.

    Args:
        run: the run.
        rows: the steps so far.

    Raises:
        ConfigError: it does not begin.
    """

    def __init__(self, run: LoggedRun, rows: Sequence[Row]) -> None:
        import trackio

        self._trackio = trackio
        try:
            self._run = trackio.init(
                project=os.environ.get("TRACKIO_PROJECT") or PROJECT,
                name=f"{run.name}-{run.id}",
                config=dict(run.config),
                resume="allow",
            )
            # The step after the last one that it has. Rows that were still on their way when the
            # run was killed are not counted, so they are sent again.
            self._next_step = int(self._run._next_step)
        except (TypeError, AttributeError) as error:
            raise ConfigError(
                f"training.log_to: trackio {trackio.__version__} is too old; run: pip install "
                '--upgrade "lstm_lm[logs]"'
            ) from error
        except (ValueError, OSError, RuntimeError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise ConfigError(f"training.log_to: trackio does not begin ({reason})") from error
        for row in rows:
            self.add(row)

    def add(self, row: Row) -> None:
        """Sends a row, unless it has a later step already."""
        if row.step < self._next_step:
            return
        values: dict[str, Any] = dict(row.figures)
        if row.samples:
            values["samples"] = self._trackio.Markdown(_markdown(row.samples))
        if row.curve:
            values["training_curve"] = self._trackio.Image(str(row.curve))
        self._run.log(values, step=row.step)

    def close(self, *, failed: bool) -> None:
        """Sends what is left."""
        self._run.finish()


LOGS: dict[str, type[CsvLog | TensorBoardLog | WandbLog | TrackioLog]] = {
    "tensorboard": TensorBoardLog,
    "wandb": WandbLog,
    "trackio": TrackioLog,
    "csv": CsvLog,
}
"""The values of `training.log_to`. All but ``csv`` are the name of the package that they need."""


def check_packages(kinds: Iterable[str]) -> None:
    """Checks, without importing them, that the packages are there that the logs need.

    Args:
        kinds: `training.log_to`.

    Raises:
        MissingExtra: one is not.
    """
    for kind in kinds:
        if kind != "csv" and find_spec(kind) is None:
            raise MissingExtra(kind, "logs", f"training.log_to: {kind}")


class Logs:
    """All logs of `training.log_to`.

    Args:
        kinds: `training.log_to`; may be empty.
        folder: the run directory.
        config: all settings, by section.
    """

    def __init__(
        self, kinds: Iterable[str] = (), folder: Path = Path(), config: Mapping[str, Any] = {}
    ) -> None:
        self._kinds = list(dict.fromkeys(kinds))
        self._folder, self._config = folder, config
        self._rows = RowBuilder()
        self._open: list[Log] = []

    def begin(self, lines: Iterable[tuple[Mapping[str, Any], float | None]]) -> None:
        """Opens the logs.

        Args:
            lines: those that ``metrics.jsonl`` has, each with the seconds of `RowBuilder.add`.

        Raises:
            ConfigError: a log does not begin.
            DiskError: one cannot be written.
        """
        if not self._kinds:
            return
        # The last step may get another line, if the run was stopped while it validated. So its row
        # waits for `send`.
        rows = [self._rows.add(*line) for line in lines]
        run = LoggedRun(self._folder, self._config, self._id())
        for kind in self._kinds:
            self._open.append(LOGS[kind](run, [row for row in rows if row]))

    def _id(self) -> str:
        """The id of this run, which no other has; made when it begins, and kept in a file."""
        path = self._folder / LOG_ID_FILE
        with disk_errors(path):
            known = path.read_text(encoding="utf-8").strip() if path.is_file() else ""
        if not known.isalnum():
            known = secrets.token_hex(4)
            write_atomically(path, f"{known}\n")
        return known

    def write(self, line: Mapping[str, Any], seconds: float) -> None:
        """Takes a line of ``metrics.jsonl``; `send` logs it."""
        if self._kinds:
            self._log(self._rows.add(line, seconds))

    def send(self) -> None:
        """Logs the lines since the last call; call it when no more lines of the step follow."""
        self._log(self._rows.take())

    def _log(self, row: Row | None) -> None:
        if row is None:
            return
        curve = self._folder / CURVE_FILE
        if "valid/loss" in row.figures and curve.is_file():
            row = replace(row, curve=curve)
        for log in self._open:
            log.add(row)

    def close(self, *, failed: bool) -> None:
        """Finishes all logs. Lines that were not sent wait for the run to resume.

        Args:
            failed: whether an error ended the run.
        """
        while self._open:
            self._open.pop().close(failed=failed)
