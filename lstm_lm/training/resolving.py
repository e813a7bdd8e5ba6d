"""From what `train` is given to a configuration and a run directory.

Nothing here imports torch, so a wrong setting is reported at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lstm_lm.config import Config, config_from_dict, config_to_dict, load_config
from lstm_lm.config.names import suggest_value
from lstm_lm.config.overrides import Overrides
from lstm_lm.errors import ConfigError, RunDirectoryError
from lstm_lm.files.packaged import config_names, find_config
from lstm_lm.files.run_files import YAML_FILE
from lstm_lm.training.run_directory import holds_run, load_run_config, was_changed

RUNS = Path("runs")  # where run directories go by default
TEXT_SUFFIXES = (".txt", ".parquet")


def print_line(text: str) -> None:
    """Prints a line at once, also into a pipe."""
    print(text, flush=True)


def resolve(
    config: str | Path | Config | Mapping[str, Any],
    output: str | Path | None = None,
    overrides: Overrides = (),
    report: Callable[[str], None] = print_line,
    *,
    resume: bool = False,
) -> tuple[Config, Path]:
    """Finds a configuration and its run directory.

    Args:
        config: as for `train`.
        output: as for `train`.
        overrides: ``section.key=value`` texts, or dotted keys and Python values.
        report: receives a line for every setting that the overrides put out of use.
        resume: whether the run in the directory is to be resumed. Its own ``config.yaml`` must then
            be intact: damaged settings must not become those of the run.

    Raises:
        ConfigError: a setting is wrong, or there is no such configuration.
        RunDirectoryError: the directory has no run, or its configuration is damaged or edited.
    """
    notes: list[str] = []
    if isinstance(config, Config | Mapping):
        if output is None:
            raise ConfigError("output: is missing; name the run directory: output='runs/mine'")
        folder = Path(output)
        data = config_to_dict(config) if isinstance(config, Config) else dict(config)
        settings = config_from_dict(data, overrides, notes)
    else:
        path, folder = locate_config(config, output)
        if resume and path.resolve() == (folder / YAML_FILE).resolve():
            load_run_config(folder)
        settings = load_config(path, overrides, notes)
        if was_changed(path):
            notes.append(f"{path} was changed since its run wrote it")
    for note in notes:
        report(f"note: {note}")
    return settings, folder


def locate_config(config: str | Path, output: str | Path | None = None) -> tuple[Path, Path]:
    """Finds the configuration file and the run directory of what `train` is given.

    Args:
        config: a run directory, a YAML file, or the name of a packaged configuration.
        output: the run directory; None for the default.

    Raises:
        ConfigError: there is no such configuration.
        RunDirectoryError: the directory has no run, or its configuration is damaged.
    """
    path = Path(config)
    if path.is_dir():
        if not holds_run(path):
            raise RunDirectoryError(f"{path}: is a directory without a run; give a .yaml file")
        load_run_config(path)  # refuses a damaged or edited one
        return path / YAML_FILE, Path(output or path)
    if path.suffix in TEXT_SUFFIXES and path.exists():
        raise ConfigError(
            f"{config}: is a text, not a configuration; to train on it: "
            f"lstm-lm train text-files corpus.text_file={config}"
        )
    if path.suffix not in (".yaml", ".yml") and not path.exists():
        packaged = find_config(str(config))
        if packaged is None:
            near = suggest_value(str(config), config_names())
            meant = f"did you mean {near}? " if near else ""
            raise ConfigError(
                f"{config}: no such file, run directory or packaged configuration; {meant}packaged "
                f"are {', '.join(config_names())}"
            )
        path = packaged
    return path, Path(output or RUNS / path.stem)
