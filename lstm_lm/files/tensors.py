"""Named tensors in sealed safetensors files, checked before they are read.

The safetensors library reads these files. They are written here instead, for two reasons: the
library's header changes its order from one write to the next, and a checksum would need a second
pass over the file.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from lstm_lm.errors import RunDirectoryError
from lstm_lm.files.run_files import FORMAT_VERSION
from lstm_lm.files.seal import UNSEALED, Part, is_intact
from lstm_lm.memory import describe_shortage

DTYPES = {
    torch.float64: "F64",
    torch.int64: "I64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.uint8: "U8",
}
FLOATS = ("F64", "F32", "F16", "BF16")
_HEADER_KEY = "lstm_lm"
# Bytes that a file may have besides its numbers: one MiB for the header's own entries, and for each
# tensor its name, type and shape.
_MAX_HEADER_BYTES = 1 << 20
_MAX_ENTRY_BYTES = 256
_WIDEST_NUMBER = 8  # bytes of a float64


def tensor_file(tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> Iterator[Part]:
    """Yields the parts of a safetensors file, for `lstm_lm.files.seal.write_sealed`.

    Equal tensors and headers give equal files.

    Args:
        tensors: name -> tensor, on any device and with any strides.
        header: what `open_tensors` will return; it must be serialisable as JSON.

    Yields:
        The file's header, then the tensors: the widest number types first, so that every tensor is
        aligned, and tensors of one width by name.
    """
    our_header = json.dumps({"checksum": UNSEALED, "format_version": FORMAT_VERSION, **header})
    contents: dict[str, Any] = {"__metadata__": {_HEADER_KEY: our_header, "format": "pt"}}
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
        numbers = tensor.detach().cpu().contiguous().reshape(-1)
        yield numbers.view(torch.uint8).numpy().data


@contextmanager
def open_tensors(path: Path) -> Iterator[tuple[safe_open, dict[str, Any]]]:
    """Opens a file written from `tensor_file`, after checking its checksum and its format.

    Args:
        path: the file.

    Yields:
        The open file, and the header that it was written with.

    Raises:
        RunDirectoryError: the file is missing, damaged or of another format. Damage that shows only
            inside the ``with`` block raises it too.
    """
    if not path.is_file():
        raise RunDirectoryError(
            f"{path}: missing; finish the run with `lstm-lm train ... --resume`, or copy the file "
            "from where it was trained"
        )
    try:
        _check_size_and_checksum(path)
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get(_HEADER_KEY, "{}"))
            if not isinstance(header, dict) or header.get("format_version") != FORMAT_VERSION:
                raise RunDirectoryError(
                    f"{path}: not in the format that this version of lstm_lm reads "
                    f"({FORMAT_VERSION}); use the version that wrote it"
                )
            yield file, header
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise RunDirectoryError(f"{path}: damaged ({error}); restore it, or train again") from None


def _check_size_and_checksum(path: Path) -> None:
    if shortage := describe_shortage(path.stat().st_size):
        raise RunDirectoryError(
            f"{path}: would need {shortage}; it is damaged, or needs a larger machine or limit"
        )
    with path.open("rb") as content:
        if not is_intact(content):
            raise RunDirectoryError(
                f"{path}: damaged (its checksum is wrong); restore it, or train again"
            )


def read_tensors(
    file: safe_open,
    path: Path,
    required: Mapping[str, Tensor],
    optional: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Reads all tensors of an open file, after checking every name, shape and number type.

    Nothing is read before all checks have passed, so a wrong file takes no memory.

    Args:
        file: from `open_tensors`.
        path: its path, for the message.
        required: name -> a tensor of the expected shape and type (it may be on the meta device);
            the file must have these.
        optional: likewise; the file may have these.

    Returns:
        name -> tensor, for every tensor of the file, on the CPU.

    Raises:
        RunDirectoryError: a tensor is missing or unexpected, or has another shape or type.
    """
    expected = {**(optional or {}), **required}
    found = {name: file.get_slice(name) for name in file.keys()}
    for name in sorted(required.keys() | found.keys()):
        found_shape = tuple(found[name].get_shape()) if name in found else None
        expected_shape = tuple(expected[name].shape) if name in expected else None
        if found_shape != expected_shape:
            raise RunDirectoryError(
                f"{path}: {name} has shape {found_shape}, the configuration needs "
                f"{expected_shape}; these weights are from another model"
            )
        dtype = DTYPES[expected[name].dtype]
        allowed = FLOATS if expected[name].is_floating_point() else (dtype,)
        if found[name].get_dtype() not in allowed:
            raise RunDirectoryError(
                f"{path}: {name} holds {found[name].get_dtype()}, not {dtype}; it is damaged, or "
                "written by another program"
            )
    # Copied out of the mapped file into aligned memory: for unaligned numbers the matrix libraries
    # multiply in another order, which changes the last digits.
    return {name: file.get_tensor(name).clone() for name in found}


def must_not_be_longer(path: Path, like: Mapping[str, Tensor]) -> None:
    """Refuses, by its size alone, a file that is too long to hold only these tensors.

    Args:
        path: the file; a missing one is not refused here.
        like: name -> a tensor of the expected shape.

    Raises:
        RunDirectoryError: the file is too long.
    """
    size = path.stat().st_size if path.is_file() else 0
    largest = _MAX_HEADER_BYTES + sum(
        _WIDEST_NUMBER * tensor.numel() + _MAX_ENTRY_BYTES for tensor in like.values()
    )
    if size > largest:
        raise RunDirectoryError(
            f"{path}: its {size:,} bytes are more than a model of this configuration needs; it is "
            "from another model"
        )
