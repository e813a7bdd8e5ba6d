"""Cells by name: `lstm_lm.config.settings.CELLS` is the one list of them.

To add a cell to the package, write one file with its class and one line in ``CELLS``. To try a cell
of your own from a script or a notebook, call `register_cell`; then ``model.cell`` accepts its name.
"""

from __future__ import annotations

import re
from dataclasses import fields as fields_of
from importlib import import_module

import torch

from lstm_lm.cells.cell import Cell
from lstm_lm.config.settings import CELLS, ModelConfig
from lstm_lm.errors import InputError

_loaded: dict[str, type[Cell]] = {}  # the classes of names in CELLS that were used before


def find_cell(name: str) -> type[Cell]:
    """Returns the class of a cell.

    Args:
        name: a name in ``CELLS``, such as ``lstm``.

    Raises:
        InputError: if there is no such name.
    """
    if name not in CELLS:
        raise InputError(f"cell: found {name!r}, must be one of {', '.join(CELLS)}")
    if name not in _loaded:
        module, _, class_name = CELLS[name].partition(":")
        _loaded[name] = getattr(import_module(module), class_name)
    return _loaded[name]


def register_cell(name: str, cell_type: type[Cell]) -> None:
    """Adds a cell to those that ``model.cell`` accepts, in this process.

    Args:
        name: a new name: lower-case letters, digits and ``_``, beginning with a letter.
        cell_type: a subclass of `Cell`.

    Raises:
        InputError: if the name is taken or has other characters, or if the class does not do what a
            `Cell` must do.
    """
    if not re.fullmatch("[a-z][a-z0-9_]*", name):
        raise InputError(
            f"cell name: found {name!r}, must be lower-case letters, digits and _, a letter first"
        )
    if name in CELLS:
        raise InputError(
            f"cell name: {name!r} is taken by {CELLS[name]}; choose a name other than "
            + ", ".join(CELLS)
        )
    check_cell(cell_type)
    CELLS[name] = f"{cell_type.__module__}:{cell_type.__qualname__}"
    _loaded[name] = cell_type


def check_cell(cell_type: type[Cell]) -> None:
    """Checks that a class does what a `Cell` must do.

    It looks at the attributes and runs one small cell. The random generator is left as it was.

    Raises:
        InputError: naming the first thing that is wrong.
    """
    if not (isinstance(cell_type, type) and issubclass(cell_type, Cell)):
        raise InputError(f"{cell_type!r} is not a subclass of lstm_lm.cells.Cell")
    _check_attributes(cell_type)
    with torch.random.fork_rng(devices=[]):
        for memory_words in (None, 5):
            try:
                cell = cell_type(3, 2, memory_words)
            except TypeError as error:
                raise InputError(
                    f"{cell_type.__name__}(input_size, hidden_size, memory_words=None) cannot be "
                    f"called: {error}"
                ) from error
            _check_gates(cell)
            _check_one_step(cell)


def _check_attributes(cell_type: type[Cell]) -> None:
    name = cell_type.__name__
    if not isinstance(getattr(cell_type, "title", None), str):
        raise InputError(f"{name}.title must be the cell's name in tables, such as 'LSTM'")
    meanings = getattr(cell_type, "gate_meanings", None)
    if not (isinstance(meanings, dict) and meanings and all(map(_is_text, meanings.items()))):
        raise InputError(
            f"{name}.gate_meanings must be a dict of gate name -> meaning, such as "
            "{'forget_gate': '1: keep, 0: forget'}"
        )
    if cell_type.keep_gate is not None and cell_type.keep_gate not in meanings:
        raise InputError(
            f"{name}.keep_gate: found {cell_type.keep_gate!r}, must be None or one of "
            + ", ".join(meanings)
        )
    known = {setting.name for setting in fields_of(ModelConfig)}
    for setting in cell_type.own_settings:
        if setting not in known:
            raise InputError(f"{name}.own_settings: {setting} is no setting of the section model")
    fields = getattr(cell_type.state_type, "_fields", ())
    if fields[:1] != ("h",) or not hasattr(cell_type.state_type, "detach"):
        raise InputError(
            f"{name}.state_type must be a NamedTuple whose first field is h and that has a method "
            "detach(), such as lstm_lm.cells.LSTMState"
        )


def _is_text(names: tuple[object, object]) -> bool:
    return all(isinstance(name, str) for name in names)


def _check_gates(cell: Cell) -> None:
    name, gates = type(cell).__name__, list(cell.gates())
    unexplained = [gate for gate in gates if gate not in cell.gate_meanings]
    if unexplained:
        raise InputError(f"{name}.gate_meanings has no entry for {', '.join(unexplained)}")
    if cell.fused_pass is not None and set(cell.fused_pass.factors) != set(gates):
        raise InputError(
            f"{name}.fused_pass stacks the gates {', '.join(cell.fused_pass.factors)}; the cell "
            f"has {', '.join(gates)}"
        )


@torch.no_grad()
def _check_one_step(cell: Cell) -> None:
    name, time, batch = type(cell).__name__, 5, 4
    if (cell.input_size, cell.hidden_size) != (3, 2):
        raise InputError(f"{name} must pass input_size and hidden_size on to Cell.__init__")
    after = cell(torch.zeros(batch, 3), cell.zero_state(batch))
    if type(after) is not cell.state_type or any(part.shape != (batch, 2) for part in after):
        raise InputError(
            f"{name}.forward must return a {cell.state_type.__name__} of tensors (B, H); it "
            f"returned a {type(after).__name__}"
        )
    before = cell.state_type(*(torch.zeros(time, batch, 2) for _ in cell.state_type._fields))
    found = cell.activations(torch.zeros(time, batch, 3), before)
    if set(found) != set(cell.gate_meanings):
        raise InputError(
            f"{name}.activations returned the gates {', '.join(found)}; {name}.gate_meanings names "
            + ", ".join(cell.gate_meanings)
        )
    for gate, activation in found.items():
        if activation.shape != (time, batch, 2):
            raise InputError(
                f"{name}.activations: {gate} has the shape {tuple(activation.shape)}, must be "
                f"(..., H), here {(time, batch, 2)}"
            )
