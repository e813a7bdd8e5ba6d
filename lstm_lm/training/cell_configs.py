"""One configuration per cell, for networks that are to be compared."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lstm_lm.config import CELLS, Config, load_config
from lstm_lm.errors import ConfigError, InputError
from lstm_lm.training.auto import SizeChooser
from lstm_lm.training.resolving import locate_config

# What the network of one cell may have a value of its own of, besides model.* and optimizer.*.
OWN_SETTINGS = ("training.max_grad_norm",)


@dataclass(frozen=True)
class CellConfigs:
    """Configurations that differ in their cell, and in what was given for one cell alone.

    Attributes:
        name: the configuration's name, as it was given.
        configs: cell -> configuration of its network.
        shared: overrides for every network.
        own: cell -> overrides for its network alone, without the cell's name.
        notes: settings of the file that overrides put out of use, a line each.
        chosen: the lines of `SizeChooser.describe`; empty if no setting is ``auto``.
    """

    name: str
    configs: dict[str, Config]
    shared: list[str]
    own: dict[str, list[str]]
    notes: list[str]
    chosen: list[str]

    @property
    def fixed_widths(self) -> list[str]:
        """The cells whose ``model.hidden_size`` was given for them alone."""
        return [
            cell
            for cell, overrides in self.own.items()
            if any(re.match(r"model\.hidden_size\s*=", override) for override in overrides)
        ]


def load_cell_configs(
    config: str | Path, cells: Sequence[str], overrides: Sequence[str] = ()
) -> CellConfigs:
    """Reads a configuration once for every cell.

    Args:
        config: a run directory, a YAML file, a text, or the name of a packaged configuration.
        cells: names of cells, such as ``lstm``; the order of the comparison.
        overrides: ``section.key=value`` for every network, ``CELL.section.key=value`` for the
            network of one cell.

    Raises:
        InputError: a cell is unknown or named twice, or an override cannot be for one cell.
        ConfigError: a setting is wrong.
    """
    _check_cells(cells)
    shared, own = _split_overrides(overrides, cells)
    found, chooser = locate_config(config), SizeChooser()
    # mistakes in the file, and settings that all networks drop, are reported once, not per cell
    notes: list[str] = []
    for_all = load_config(found.path, shared, notes, base_overrides=found.overrides, choose=chooser)
    if for_all.training.init_from is not None:
        raise ConfigError(
            f"training.init_from: found {for_all.training.init_from}, but different cells cannot "
            "start from one model; set training.init_from=null"
        )
    chosen = chooser.describe(for_all)
    configs = {}
    for cell, of_cell in own.items():
        dropped: list[str] = []
        try:
            configs[cell] = load_config(
                found.path,
                [*of_cell, f"model.cell={cell}"],
                dropped,
                base_overrides=[*found.overrides, *shared],
                choose=chooser,
            )
        except ConfigError as error:
            lines = str(error).split("\n")
            raise ConfigError("\n".join(f"{cell}.{line}" for line in lines)) from None
        notes += [f"{cell}: {note}" for note in dropped]
    return CellConfigs(str(config), configs, shared, own, notes, chosen)


def _check_cells(cells: Sequence[str]) -> None:
    for cell in cells:
        if cell not in CELLS:
            raise InputError(
                f"--cells: found {cell!r}, must be some of {', '.join(CELLS)}, separated by commas"
            )
        if cells.count(cell) > 1:
            raise InputError(f"--cells: {cell} is named twice; name each cell once")


def _split_overrides(
    overrides: Sequence[str], cells: Sequence[str]
) -> tuple[list[str], dict[str, list[str]]]:
    """Separates the overrides for every network from those for the network of one cell."""
    shared: list[str] = []
    own: dict[str, list[str]] = {cell: [] for cell in cells}
    for override in overrides:
        cell, _, rest = override.partition(".")
        key = (rest if cell in CELLS else override).partition("=")[0].strip()
        section = key.partition(".")[0].strip()
        if key == "model.cell":
            raise InputError(f"{override}: --cells chooses the cells, now {','.join(cells)}")
        if cell not in CELLS:
            shared.append(override)
        elif cell not in cells:
            raise InputError(f"{override}: {cell} is not one of --cells, now {','.join(cells)}")
        elif section not in ("model", "optimizer") and key not in OWN_SETTINGS:
            raise InputError(
                f"{override}: corpus and training budget are the same for all cells; one cell can "
                f"only have its own model.*, optimizer.* and {', '.join(OWN_SETTINGS)}"
            )
        else:
            own[cell].append(rest)
    return shared, own
