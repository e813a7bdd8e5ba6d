"""From what `train` is given to a configuration and a run directory.

Nothing here imports torch, so a wrong setting is reported at once.
"""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lstm_lm.config import Config, config_from_dict, config_to_dict, load_config
from lstm_lm.config.names import suggest_value
from lstm_lm.config.overrides import Overrides
from lstm_lm.errors import ConfigError
from lstm_lm.files.packaged import config_names, find_config
from lstm_lm.files.run_files import YAML_FILE
from lstm_lm.printing import print_line
from lstm_lm.training.auto import SizeChooser
from lstm_lm.training.run_directory import holds_run, load_run_config, old_reading, was_changed

RUNS = Path("runs")  # where run directories go by default
TEXT_CONFIG = "text-files"  # the packaged configuration for a text
COMPRESSIONS = (".gz", ".xz", ".bz2", ".zst", ".zip")


def resolve(
    config: str | Path | Config | Mapping[str, Any],
    output: str | Path | None = None,
    overrides: Overrides = (),
    report: Callable[[str], None] = print_line,
    *,
    resume: bool = False,
    choose: bool = True,
) -> tuple[Config, Path]:
    """Finds a configuration and its run directory.

    Args:
        config: as for `train`.
        output: as for `train`.
        overrides: ``section.key=value`` texts, or dotted keys and Python values.
        report: receives a line for every setting that the overrides put out of use, and the lines
            of `SizeChooser.describe`.
        resume: whether the run in the directory is to be resumed. Its own ``config.yaml`` must then
            be intact: damaged settings must not become those of the run.
        choose: whether settings that are ``auto`` are chosen, for which train is read. If not, they
            have their defaults; that suffices where only the corpus is used.

    Raises:
        ConfigError: a setting is wrong, or there is no such configuration.
        CorpusError: the text that ``auto`` is to be chosen for cannot be read.
        RunDirectoryError: the run directory's configuration is damaged or edited.
    """
    notes: list[str] = []
    resumed: Path | None = None
    chooser = SizeChooser()

    def inherit(settings: Config, given: Collection[str]) -> dict[str, Any]:
        if settings.training.init_from is None and settings.training.word_vectors is None:
            return {}
        from lstm_lm.training.starting import settings_of_start

        return settings_of_start(settings, given, resumed)

    if isinstance(config, Config | Mapping):
        if output is None:
            raise ConfigError("output: is missing; name the run directory: output='runs/mine'")
        folder = Path(output)
        data = config_to_dict(config) if isinstance(config, Config) else dict(config)
        resumed = chooser.resumed = folder if resume else None
        settings = config_from_dict(
            data, overrides, notes, choose=chooser if choose else None, inherit=inherit
        )
    else:
        found = locate_config(config, output)
        path, folder = found.path, found.folder
        resumed = chooser.resumed = folder if resume else None
        is_own = path.resolve() == (folder / YAML_FILE).resolve()
        if resume and is_own:
            load_run_config(folder)
        settings = load_config(
            path,
            overrides,
            notes,
            base_overrides=found.overrides,
            choose=chooser if choose else None,
            inherit=None if is_own and not choose else inherit,
        )
        if was_changed(path):
            notes.append(f"{path} was changed since its run wrote it")
    for line in [*chooser.describe(settings), *(f"note: {note}" for note in notes)]:
        report(line)
    return settings, folder


def has_run(config: str | Path | Config | Mapping[str, Any], output: str | Path | None) -> bool:
    """Whether the run directory of what `train` is given contains a run that can be continued.

    Raises:
        ConfigError: there is no such configuration.
        RunDirectoryError: its configuration is damaged.
    """
    if isinstance(config, Config | Mapping):
        return output is not None and holds_run(Path(output))
    return holds_run(locate_config(config, output).folder)


def start_override(init_from: str | Path) -> dict[str, str]:
    """Returns the setting that ``--init-from`` is short for.

    Args:
        init_from: a file of word vectors, or else a run directory or a model on the hub.
    """
    is_file = os.path.isfile(init_from)
    return {f"training.{'word_vectors' if is_file else 'init_from'}": str(init_from)}


@dataclass(frozen=True)
class FoundConfig:
    """What `locate_config` returns.

    Attributes:
        path: the YAML file.
        folder: the run directory.
        overrides: ``section.key=value`` texts that count as part of the file: the name of the
            text, or how an older run read its text.
    """

    path: Path
    folder: Path
    overrides: tuple[str, ...] = ()


def locate_config(config: str | Path, output: str | Path | None = None) -> FoundConfig:
    """Finds the configuration file and the run directory of what `train` is given.

    Args:
        config: a run directory, a YAML file, a text (any other file, a folder or a glob), or the
            name of a packaged configuration. The first that exists, in this order.
        output: the run directory; None for the default.

    Raises:
        ConfigError: it is none of these.
        RunDirectoryError: the run directory's configuration is damaged.
    """
    path = Path(config)
    if holds_run(path):
        load_run_config(path)  # refuses a damaged or edited one
        yaml = path / YAML_FILE
        return FoundConfig(yaml, Path(output or path), old_reading(yaml))
    if path.suffix in (".yaml", ".yml"):
        return FoundConfig(path, Path(output or RUNS / path.stem), old_reading(path))
    if path.exists() or any(glob.iglob(str(config), recursive=True)):
        text_config = find_config(TEXT_CONFIG)
        assert text_config is not None, "it comes with the package"
        # JSON puts the path in quotes, as YAML needs it for paths such as `1.5` or `a: b`
        text = f"corpus.text_file={json.dumps(str(config), ensure_ascii=False)}"
        return FoundConfig(text_config, Path(output or RUNS / text_name(path)), (text,))
    packaged = find_config(str(config))
    if packaged is None:
        near = suggest_value(str(config), config_names())
        meant = f"; did you mean {near}?" if near else ""
        raise ConfigError(
            f"{config}: no such run directory, .yaml file, text (file, folder or glob) or packaged "
            f"configuration ({', '.join(config_names())}){meant}"
        )
    return FoundConfig(packaged, Path(output or RUNS / packaged.stem))


def text_name(path: Path) -> str:
    """Returns the name of a text, for its run directory: ``novel`` for ``books/novel.txt.gz``.

    A folder's name is its own. A glob's name is that of the folder before its first wildcard.
    """
    while glob.has_magic(path.name) and not path.exists():
        path = path.parent
    if path.is_dir():
        return path.resolve().name or "text"
    if path.suffix.lower() in COMPRESSIONS:
        path = path.with_suffix("")
    return path.stem
