"""Tensors in safetensors files, sealed, and distrusted when they are read.

Reading is the library's. Writing is not: its header comes out in another order every time, and a checksum would need a
second look at the whole file.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from lstm_lm.errors import RunDirectoryError
from lstm_lm.files.seal import UNSEALED, is_intact
from lstm_lm.machine import physical_memory

FORMAT_VERSION = 3
DTYPES = {
    torch.float64: "F64",
    torch.int64: "I64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.uint8: "U8",
}
FLOATS = ("F64", "F32", "F16", "BF16")
_OURS = "lstm_lm"
_LONGEST_HEADER = 1 << 20


def tensor_file(tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> Iterator[bytes]:
    """The parts of a safetensors file, for `lstm_lm.files.seal.write_sealed`; the same for equal tensors.

    Args:
        tensors: on any device and laid out in any way.
        header: what `open_tensors` shall give back, fit for JSON.

    Yields:
        The file's header, then one tensor after the other by name, wide types first, so that each is aligned.
    """
    ours = json.dumps({"checksum": UNSEALED, "format_version": FORMAT_VERSION, **header})
    contents: dict[str, Any] = {"__metadata__": {_OURS: ours, "format": "pt"}}
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0]))
    end = 0
    for name, tensor in ordered:
        start, end = end, end + tensor.numel() * tensor.element_size()
        contents[name] = {
            "dtype": DTYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(contents).encode()
    text += b" " * (-len(text) % 8)
    yield struct.pack("<Q", len(text)) + text
    for _, tensor in ordered:
        yield tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()


@contextmanager
def open_tensors(path: Path, *, seal: bool = True) -> Iterator[tuple[safe_open, dict[str, Any]]]:
    """Opens a safetensors file of ours; what is wrong with it, then or while it is read, is said in one sentence.

    Args:
        path: the file.
        seal: whether it must have a checksum, which those of format 1 have not.

    Yields:
        The open file, and the header it was written with.

    Raises:
        RunDirectoryError: if the file is missing, damaged or of another format.
    """
    if not path.is_file():
        raise RunDirectoryError(
            f"{path}: missing; finish the run with `lstm-lm train ... --resume`, or copy the file "
            "from where it was trained"
        )
    try:
        if path.stat().st_size > (physical_memory() or math.inf):
            raise RunDirectoryError(
                f"{path}: larger than this machine's memory; it is damaged, or of a larger machine"
            )
        if seal:
            with path.open("rb") as content:
                if not is_intact(content):
                    raise RunDirectoryError(
                        f"{path}: damaged (its checksum is wrong); restore it, or train again"
                    )
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get(_OURS, "{}")) if seal else {}
            if seal and (
                not isinstance(header, dict) or header.get("format_version") != FORMAT_VERSION
            ):
                raise RunDirectoryError(
                    f"{path}: not of the format that this lstm_lm reads ({FORMAT_VERSION}); use "
                    "the lstm_lm that wrote it"
                )
            yield file, header
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise RunDirectoryError(f"{path}: damaged ({error}); restore it, or train again") from None


def read_tensors(
    file: safe_open,
    path: Path,
    required: Mapping[str, Tensor],
    optional: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Reads the tensors of an open file, refusing all of them before memory is taken if one is not as asked.

    Args:
        file: the open file.
        path: its path, for the message.
        required: tensors, on the meta device or not, like those that must be there.
        optional: tensors like those that may be there.

    Raises:
        RunDirectoryError: if a tensor is missing, or has another shape or kind of number, or is none of these.
    """
    like = {**(optional or {}), **required}
    found = {name: file.get_slice(name) for name in file.keys()}
    for name in sorted(required.keys() | found.keys()):
        shape = tuple(found[name].get_shape()) if name in found else None
        wanted = tuple(like[name].shape) if name in like else None
        if shape != wanted:
            raise RunDirectoryError(
                f"{path}: {name} has shape {shape}, the configuration asks for {wanted}; these "
                "weights are of another model"
            )
        if found[name].get_dtype() not in (
            FLOATS if like[name].is_floating_point() else (DTYPES[like[name].dtype],)
        ):
            raise RunDirectoryError(
                f"{path}: {name} holds {found[name].get_dtype()}, not {DTYPES[like[name].dtype]}; "
                "it is damaged, or made by another program"
            )
    # from the file's memory into aligned memory: elsewhere, libraries multiply in another order, to other last digits
    return {name: file.get_tensor(name).clone() for name in found}


def must_not_be_longer(path: Path, like: Mapping[str, Tensor]) -> None:
    """Refuses, by its length alone, a file that cannot hold just these tensors.

    Raises:
        RunDirectoryError: if it is longer than they can be.
    """
    length = path.stat().st_size if path.is_file() else 0
    longest = _LONGEST_HEADER + sum(8 * tensor.numel() + 256 for tensor in like.values())
    if length > longest:
        raise RunDirectoryError(
            f"{path}: its {length:,} bytes are more than a model of this configuration has; it is "
            "of another model"
        )
