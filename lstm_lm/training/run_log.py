"""A run's logs and picture: ``metrics.jsonl``, ``timings.jsonl`` and ``training_curve.png``.

``metrics.jsonl`` is the same for the same seed, however often the run was stopped. Times are in
``timings.jsonl``. A checkpoint contains the length and the checksum that ``metrics.jsonl`` had;
nothing depends on the times and the picture.
"""

from __future__ import annotations

import gc
import hashlib
import json
import math
import os
import time
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lstm_lm.errors import RunDirectoryError
from lstm_lm.files.atomic import disk_errors, open_to_append, write_atomically
from lstm_lm.files.pictures import save_figure, words_as_they_are
from lstm_lm.files.run_files import CURVE_FILE, METRICS_FILE, TIMINGS_FILE, read_file
from lstm_lm.files.seal import UNSEALED, digest
from lstm_lm.training.loggers import Logs

if TYPE_CHECKING:
    from typing_extensions import Self


class RunLog:
    """Appends to a run's two logs, one JSON object per line; changes no file before `begin`.

    Args:
        folder: the run directory.
        metrics: the content of ``metrics.jsonl`` at the checkpoint from which the run resumes
            (`read_log_start`); empty for a run that begins.
        logs: other logs, which get the same lines.
        writes: whether files are written; one of several processes that train together does.

    Attributes:
        length: bytes of ``metrics.jsonl``.

    Raises:
        RunDirectoryError: ``metrics`` is not such a log.
    """

    def __init__(
        self, folder: Path, metrics: bytes = b"", logs: Logs | None = None, *, writes: bool = True
    ) -> None:
        self._logs, self._writes = logs or Logs(), writes
        self.folder, self.length = folder, len(metrics)
        self._metrics, self._checksum = metrics, hashlib.sha256(metrics)
        self._timings = (
            _read_timings(folder / TIMINGS_FILE)[: metrics.count(b"\n")] if metrics else []
        )
        self._curve: dict[str, list[tuple[int, float]]] = {"train": [], "valid": []}
        try:
            for line in metrics.splitlines():
                self._add_to_curve(json.loads(line))
        except (ValueError, KeyError, TypeError, RecursionError):
            raise RunDirectoryError(
                f"{folder / METRICS_FILE}: has lines that lstm_lm does not write, though its "
                "checksum is right; it was made by another program"
            ) from None
        self._earlier = float(self._timings[-1]["seconds"]) if self._timings else 0.0
        self._started = time.perf_counter()

    def begin(self) -> None:
        """Removes from both logs the lines after the checkpoint; a kill may have left some.

        Raises:
            DiskError: that is refused.
        """
        if not self._writes:
            return
        write_atomically(self.folder / METRICS_FILE, self._metrics)
        write_atomically(
            self.folder / TIMINGS_FILE, "".join(json.dumps(line) + "\n" for line in self._timings)
        )
        lines = map(json.loads, self._metrics.splitlines())
        seconds = (timing["seconds"] for timing in self._timings)
        self._logs.begin(zip_longest(lines, seconds))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        self._logs.close(failed=kind is not None)

    def send(self) -> None:
        """Hands the lines of a finished step to the other logs.

        Raises:
            DiskError: one of them cannot be written.
        """
        self._logs.send()

    @property
    def seconds(self) -> float:
        """Wall time of the run, earlier sessions included."""
        return self._earlier + time.perf_counter() - self._started

    @property
    def checksum(self) -> str:
        """The checksum of ``metrics.jsonl`` as it was written, for `read_log_start`."""
        return self._checksum.hexdigest()[: len(UNSEALED)]

    def write(self, **values: Any) -> None:
        """Appends a line to ``metrics.jsonl``, and its time to ``timings.jsonl``.

        Raises:
            DiskError: that is refused.
        """
        if not self._writes:
            return
        seconds = round(self.seconds, 3)
        timing = {"step": values["step"], "split": values["split"], "seconds": seconds}
        self._append(TIMINGS_FILE, timing)
        line = self._append(METRICS_FILE, values)
        self.length += len(line)
        self._checksum.update(line)
        self._add_to_curve(values)
        self._logs.write(values, seconds)

    def _add_to_curve(self, line: dict[str, Any]) -> None:
        self._curve[line["split"]].append((line["step"], line["perplexity"]))

    def _append(self, name: str, values: dict[str, Any]) -> bytes:
        line = (json.dumps(values) + "\n").encode()
        with disk_errors(self.folder / name), open_to_append(self.folder / name) as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        return line

    @words_as_they_are()
    def draw(self) -> None:
        """Draws ``training_curve.png``: perplexity of train and valid over the steps.

        Raises:
            DiskError: it cannot be written.
        """
        if not self._writes:
            return
        self._draw_curve()
        # A figure is a cycle of references; without this its pixels stay until the next collection.
        gc.collect()

    def _draw_curve(self) -> None:
        from matplotlib.figure import Figure
        from matplotlib.ticker import LogLocator, NullFormatter

        figure = Figure(figsize=(7, 4), dpi=120, layout="constrained")
        axes = figure.add_subplot(
            xlabel="step (optimizer updates)",
            ylabel="perplexity",
            yscale="log",
            title=self.folder.resolve().name,
        )
        styles: dict[str, dict[str, Any]] = {
            "train": {"linewidth": 1, "color": "#8da0b6"},
            "valid": {"linewidth": 2, "marker": "o", "markersize": 4, "color": "#c2410c"},
        }
        for split, style in styles.items():
            if points := self._curve[split]:
                label = f"{split} (last {points[-1][1]:.4g})"
                axes.plot(*zip(*points, strict=True), label=label, **style)
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")  # short enough also for a run that diverges
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
        figure.set_label("train")
        save_figure(figure, self.folder / CURVE_FILE)


def read_log_start(path: Path, length: int, checksum: str | None) -> bytes:
    """Reads what ``metrics.jsonl`` contained when a checkpoint was written.

    Args:
        path: the log; it may have grown since.
        length: the bytes that it had.
        checksum: their checksum; None for an empty log.

    Raises:
        RunDirectoryError: those bytes are not in the file any more.
    """
    if not length:
        return b""
    start = read_file(path)[:length]
    if len(start) < length:
        what = f"has {len(start)} of the {length} bytes"
    elif digest(start) != checksum:
        what = "has another checksum than the one"
    else:
        return start
    raise RunDirectoryError(
        f"{path}: damaged or from another run: it {what} that it had at the last checkpoint; "
        "restore it"
    )


def read_log(path: Path) -> list[dict[str, Any]]:
    """Reads the lines of a log. A last line that a kill left incomplete is skipped.

    Raises:
        RunDirectoryError: a line before the last is damaged.
    """
    lines = path.read_bytes().splitlines() if path.is_file() else []
    values = []
    for number, line in enumerate(lines, 1):
        try:
            value = json.loads(line)
            value["split"]  # every line has one
            values.append(value)
        except (ValueError, RecursionError, TypeError, KeyError):
            if number < len(lines):
                raise RunDirectoryError(
                    f"{path}, line {number}: damaged; restore the file"
                ) from None
    return values


def _read_timings(path: Path) -> list[dict[str, Any]]:
    """The lines of ``timings.jsonl``; none if it is damaged: nothing depends on the times."""
    try:
        lines = read_log(path)
        return lines if all(math.isfinite(line["seconds"]) for line in lines) else []
    except (RunDirectoryError, TypeError, KeyError, OSError):
        return []
