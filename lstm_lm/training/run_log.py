"""What a run leaves to be read: ``metrics.jsonl``, ``timings.jsonl`` and ``training_curve.png``.

``metrics.jsonl`` is the same for the same seed, whenever and however often the run was stopped; what a clock says goes
into ``timings.jsonl``. A checkpoint knows how long ``metrics.jsonl`` was, and its checksum; times and picture are for
people, and nothing depends on them.
"""

from __future__ import annotations

import gc
import hashlib
import json
import math
import os
import time
from pathlib import Path
from typing import Any

from lstm_lm.errors import RunDirectoryError
from lstm_lm.files.atomic import refusals_named, write_atomically
from lstm_lm.files.pictures import words_as_they_are
from lstm_lm.files.seal import UNSEALED, digest
from lstm_lm.model.pretrained import read_file

METRICS_FILE, TIMINGS_FILE, CURVE_FILE = "metrics.jsonl", "timings.jsonl", "training_curve.png"


class RunLog:
    """Appends to a run directory's two logs, one JSON object a line; nothing is touched before `begin`.

    Args:
        folder: the run directory.
        metrics: what ``metrics.jsonl`` held at the checkpoint the run goes on from, as `read_log_start` gives it.

    Attributes:
        length: bytes of ``metrics.jsonl``.

    Raises:
        RunDirectoryError: if that is not such a log.
    """

    def __init__(self, folder: Path, metrics: bytes = b"") -> None:
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
                f"{folder / METRICS_FILE}: has lines that no training of ours wrote, though its "
                "checksum is right; it was made by another program"
            ) from None
        self._earlier = float(self._timings[-1]["seconds"]) if self._timings else 0.0
        self._started = time.perf_counter()

    def begin(self) -> None:
        """Cuts both logs off behind the checkpoint: later lines, one of them perhaps torn, did not happen.

        Raises:
            DiskError: if that is refused.
        """
        write_atomically(self.folder / METRICS_FILE, self._metrics)
        write_atomically(
            self.folder / TIMINGS_FILE, "".join(json.dumps(line) + "\n" for line in self._timings)
        )

    @property
    def seconds(self) -> float:
        """Wall time of the run, earlier sessions included."""
        return self._earlier + time.perf_counter() - self._started

    @property
    def checksum(self) -> str:
        """That of ``metrics.jsonl`` as it was written, for `read_log_start`."""
        return self._checksum.hexdigest()[: len(UNSEALED)]

    def write(self, **values: Any) -> None:
        """Appends a line to ``metrics.jsonl``, and its time to ``timings.jsonl``.

        Raises:
            DiskError: if that is refused.
        """
        self._append(
            TIMINGS_FILE,
            {"step": values["step"], "split": values["split"], "seconds": round(self.seconds, 3)},
        )
        line = self._append(METRICS_FILE, values)
        self.length += len(line)
        self._checksum.update(line)
        self._add_to_curve(values)

    def _add_to_curve(self, line: dict[str, Any]) -> None:
        self._curve[line["split"]].append((line["step"], line["perplexity"]))

    def _append(self, name: str, values: dict[str, Any]) -> bytes:
        line = (json.dumps(values) + "\n").encode()
        with refusals_named(self.folder / name), open(self.folder / name, "ab") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        return line

    @words_as_they_are()
    def draw(self) -> None:
        """Draws ``training_curve.png`` anew: perplexity of train and valid over the steps."""
        self._draw_curve()
        gc.collect()  # a figure is a ring of references: its pixels would stay until they are stumbled upon

    def _draw_curve(self) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.ticker import LogLocator, NullFormatter

        figure = Figure(figsize=(7, 4), dpi=120, layout="constrained")
        axes = figure.add_subplot(
            xlabel="step (optimiser updates)",
            ylabel="perplexity",
            yscale="log",
            title=self.folder.resolve().name,
        )
        for split, style in (
            ("train", {"linewidth": 1, "color": "#8da0b6"}),
            ("valid", {"linewidth": 2, "marker": "o", "markersize": 4, "color": "#c2410c"}),
        ):
            if points := self._curve[split]:
                axes.plot(
                    *zip(*points, strict=True), label=f"{split} (last {points[-1][1]:.4g})", **style
                )
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(
            "{x:g}"
        )  # also of a run that has gone astray, short enough to stand there
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
        write_atomically(
            self.folder / CURVE_FILE,
            lambda file: FigureCanvasAgg(figure).print_figure(file, format="png"),
        )


def read_log_start(path: Path, length: int, checksum: str | None) -> bytes:
    """What ``metrics.jsonl`` held when a checkpoint was written.

    Args:
        path: the log; it may have grown since.
        length: bytes that it had.
        checksum: that they had; None for an empty log.

    Raises:
        RunDirectoryError: if those bytes are no longer there.
    """
    if not length:
        return b""
    start = read_file(path)[:length]
    if len(start) < length or digest(start) != checksum:
        what = (
            f"has {len(start)} of its {length} bytes"
            if len(start) < length
            else "its checksum is wrong"
        )
        raise RunDirectoryError(
            f"{path}: damaged, or of another run: {what} at the last checkpoint; restore it"
        )
    return start


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a log; a last line that a kill left torn is passed over.

    Raises:
        RunDirectoryError: if a line before the last is damaged.
    """
    lines = path.read_bytes().splitlines() if path.is_file() else []
    values = []
    for number, line in enumerate(lines, 1):
        try:
            values.append(json.loads(line))
        except (ValueError, RecursionError):
            if number < len(lines):
                raise RunDirectoryError(
                    f"{path}, line {number}: damaged; restore the file"
                ) from None
    return values


def _read_timings(path: Path) -> list[dict[str, Any]]:
    """The lines of ``timings.jsonl``, or none where it is damaged: nothing but the clock goes by it."""
    try:
        lines = read_log(path)
        return lines if all(math.isfinite(line["seconds"]) for line in lines) else []
    except (RunDirectoryError, TypeError, KeyError, OSError):
        return []
