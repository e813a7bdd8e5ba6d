"""The built-in stories as a source of text: written once, and kept in the cache."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from lstm_lm.config import StoriesConfig
from lstm_lm.corpus.fingerprints import fingerprint_of
from lstm_lm.corpus.progress import Progress
from lstm_lm.errors import DiskError
from lstm_lm.files.cache import entry_folder, read_entry, write_entry
from lstm_lm.stories import biographies
from lstm_lm.stories.blocks import Plan
from lstm_lm.stories.writing import iterate_blocks

_TEXT = "stories.txt"
_ATTEMPTS = 3


class StoriesSource:
    """Short English life stories from the built-in generator, one on each line.

    Needs no network and no file. Valid and test have a twentieth of train's number of stories, but
    at least 200 and at most 1,000. A split is written when it is first needed. Later runs read it
    from the cache.

    Attributes:
        splits: ``train``, ``valid`` and ``test``.
    """

    splits: tuple[str, ...] = ("train", "valid", "test")

    def __init__(
        self,
        config: StoriesConfig,
        cache_dir: str | Path | None = None,
        held_out: int | None = None,
    ) -> None:
        """Prepares to write.

        Args:
            config: which stories.
            cache_dir: the cache's folder; None for the default.
            held_out: the number of stories of valid, and of test; None: see the class.
        """
        self._config, self._cache_dir = config, cache_dir
        if held_out is None:
            held_out = min(1000, max(200, config.count // 20))
        self._counts = {"train": config.count, "valid": held_out, "test": held_out}
        self._entries: dict[str, dict[str, Any]] = {}  # split -> meta data of an intact entry

    def iterate_lines(self, split: str) -> Iterator[str]:
        """See `Source.iterate_lines`."""
        with self._open(split) as file:
            for line in file:
                yield line[:-1].decode("utf-8")

    def fingerprint(self, split: str) -> str:
        """See `Source.fingerprint`: a hash of the generator and its settings."""
        count = self._counts[split]
        return fingerprint_of("stories", biographies.fingerprint(), split, count, self._config)

    def notes(self) -> list[str]:
        """See `Source.notes`: none."""
        return []

    def nll(self, split: str) -> float | None:
        """See `Source.nll`: computed by the generator; unknown for train with a curriculum.

        With a curriculum, train's stories come from a different process at every stage.
        """
        if self._plan(split).passes:
            return None
        return float(self._entry(split)["nll"])

    def _plan(self, split: str) -> Plan:
        """Returns which stories a split has; only train has a curriculum."""
        config = self._config
        passes = config.curriculum if split == "train" else None
        return Plan(
            self._counts[split],
            config.seed,
            split,
            config,
            passes=passes,
            people_first=config.people_first if passes else 0.0,
        )

    def _folder(self, split: str) -> Path:
        return entry_folder(self._cache_dir, "stories", self.fingerprint(split))

    def _open(self, split: str) -> BinaryIO:
        """Opens the text of a split."""
        for _ in range(_ATTEMPTS):
            self._entry(split)
            try:
                return (self._folder(split) / _TEXT).open("rb")
            except FileNotFoundError:  # removed in the meantime, such as by emptying the cache
                self._entries.pop(split)
        raise DiskError(
            f"corpus.cache_dir: another process removes {self._folder(split)} whenever it is "
            "written; set corpus.cache_dir or $LSTM_LM_CACHE to another folder"
        )

    def _entry(self, split: str) -> dict[str, Any]:
        """Returns the meta data of a split's entry; writes the entry if it is missing."""
        if split not in self._entries:
            folder = self._folder(split)
            plan = self._plan(split)

            def write(file: BinaryIO) -> dict[str, Any]:
                return _write_stories(plan, file)

            self._entries[split] = read_entry(folder, _TEXT) or write_entry(folder, _TEXT, write)
        return self._entries[split]


def _write_stories(plan: Plan, file: BinaryIO) -> dict[str, Any]:
    """Writes the stories of a plan, and returns the nll of the whole text under the generator."""
    log_probabilities: list[float] = []
    with Progress(f"writing {plan.split} stories", "stories", plan.count) as progress:
        for block in iterate_blocks(plan):
            file.write(block.text.encode("utf-8"))
            log_probabilities += block.log_probabilities
            progress.add(len(block.words))
    return {"nll": -math.fsum(log_probabilities)}
