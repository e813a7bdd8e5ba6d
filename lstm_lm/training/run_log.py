"""What a run leaves to be read: ``metrics.jsonl``, ``timings.jsonl`` and ``training_curve.png``.

``metrics.jsonl`` is the same for the same seed, whenever and however often the run was stopped; what a clock says goes
into ``timings.jsonl``.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from lstm_lm.atomic import refusals_named, write_atomically
from lstm_lm.errors import RunDirectoryError
from lstm_lm.pictures import words_as_they_are

METRICS_FILE, TIMINGS_FILE, CURVE_FILE = "metrics.jsonl", "timings.jsonl", "training_curve.png"


class RunLog:
    """Appends to a run directory's two logs, one JSON object a line; nothing is touched before `begin`.

    Args:
        folder: the run directory.
        metrics_bytes: length that ``metrics.jsonl`` had at the checkpoint the run goes on from.

    Raises:
        RunDirectoryError: if ``metrics.jsonl`` is shorter than that.
    """

    def __init__(self, folder: Path, metrics_bytes: int = 0) -> None:
        self.folder = folder
        path = folder / METRICS_FILE
        self._metrics = path.read_bytes()[:metrics_bytes] if metrics_bytes and path.exists() else b""
        if len(self._metrics) < metrics_bytes:
            raise RunDirectoryError(f"{path}: shorter than at the last checkpoint ({len(self._metrics)} of "
                                    f"{metrics_bytes} bytes); restore it, or start again with --overwrite")
        self._timings = read_log(folder / TIMINGS_FILE)[:self._metrics.count(b"\n")] if metrics_bytes else []
        self._earlier = self._timings[-1]["seconds"] if self._timings else 0.0
        self._started = time.perf_counter()

    def begin(self) -> None:
        """Cuts both logs off behind the checkpoint: later lines, one of them perhaps torn, did not happen.

        Raises:
            DiskError: if that is refused.
        """
        write_atomically(self.folder / METRICS_FILE, self._metrics)
        write_atomically(self.folder / TIMINGS_FILE, "".join(json.dumps(line) + "\n" for line in self._timings))

    @property
    def seconds(self) -> float:
        """Wall time of the run, earlier sessions included."""
        return self._earlier + time.perf_counter() - self._started

    def write(self, **values: Any) -> int:
        """Appends a line to ``metrics.jsonl``, and its time to ``timings.jsonl``; returns the former's new length."""
        timing = {"step": values["step"], "split": values["split"], "seconds": round(self.seconds, 3)}
        self._append(self.folder / TIMINGS_FILE, timing)
        return self._append(self.folder / METRICS_FILE, values)

    def _append(self, path: Path, values: dict[str, Any]) -> int:
        with refusals_named(path), open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")
            file.flush()
            os.fsync(file.fileno())
            return file.tell()

    @words_as_they_are()
    def draw(self) -> None:
        """Draws ``training_curve.png`` anew: perplexity of train and valid over the steps."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

        lines = read_log(self.folder / METRICS_FILE)
        figure = Figure(figsize=(7, 4), dpi=120, layout="constrained")
        axes = figure.add_subplot(xlabel="step (optimiser updates)", ylabel="perplexity", yscale="log",
                                  title=self.folder.resolve().name)
        for split, style in (("train", {"linewidth": 1, "color": "#8da0b6"}),
                             ("valid", {"linewidth": 2, "marker": "o", "markersize": 4, "color": "#c2410c"})):
            points = [(line["step"], line["perplexity"]) for line in lines if line["split"] == split]
            if points:
                axes.plot(*zip(*points, strict=True), label=f"{split} (last {points[-1][1]:.2f})", **style)
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(ScalarFormatter())
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
        write_atomically(self.folder / CURVE_FILE,
                         lambda path: FigureCanvasAgg(figure).print_figure(path, format="png"))


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a log; a last line that a kill left torn is passed over.

    Raises:
        RunDirectoryError: if a line before the last is damaged.
    """
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    values = []
    for number, line in enumerate(lines, 1):
        try:
            values.append(json.loads(line))
        except ValueError:
            if number < len(lines):
                raise RunDirectoryError(f"{path}, line {number}: damaged; restore the file") from None
    return values
