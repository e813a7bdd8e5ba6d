"""Calls `on_cpu.c`: the window of an LSTM or its kin, and matrix products in C, on a CPU.

The C file is compiled on the machine where it runs, once, in under a second, by gcc (``cc``, or the
command in ``$CC``). The library is kept among torch's extensions, in ``$TORCH_EXTENSIONS_DIR`` or
``~/.cache/torch_extensions``, in a folder that only this user can write to. Without such a compiler
or folder, `can_run` returns False and the window runs in torch's operators; `why_not_compiled` says
why.

Shapes: T time, B batch, H hidden size, G gates: 4, or 3 of an LSTM whose input gate is ``1 - f``.
All tensors are float32 and contiguous.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from lstm_lm.errors import DiskError
from lstm_lm.files.libraries import keep_library, library_folder, load_library
from lstm_lm.files.private import expand_home, has_home

SOURCE = Path(__file__).with_suffix(".c")
# Compiler options by torch's name for the CPU's vector instructions.
INSTRUCTIONS = {"AVX512": ["-mavx512f"], "AVX2": ["-mavx2", "-mfma"]}

# float32 numbers in the widest vector register, that of AVX-512. Packed matrices are padded to it.
FLOATS_PER_VECTOR = 16

# Rows of a packed matrix that are multiplied before the next ones: 1,280 rows, 64 columns wide, are
# 320 KiB, which a core's own cache (L2: 512 KiB and more) holds beside what they are multiplied by.
CHUNK_ROWS = 1280

# Words of a window from which the C loop runs. It must pack the weights first. On one core of an
# AMD EPYC processor with AVX-512 it took half the time of torch's operators for 4 to 16 words.
MIN_WORDS = 8

# bfloat16 recurrent weights from which torch's operators (oneDNN's bfloat16 products) run instead
# of the C loop, which computes in float32. On that processor the C loop took 0.93 of their time
# with 2**19 weights and 1.19 with 2**20 (35 words, batches of 20).
MIN_BFLOAT16_WEIGHTS_FOR_ONEDNN = 2**19

NO_COMPILER = "gcc is not installed (as `cc` or `$CC`)"


def is_compiled() -> bool:
    """Whether the C code can run. The first call compiles it."""
    return isinstance(_library(), ctypes.CDLL)


def why_not_compiled() -> str:
    """Why the C code cannot run, in one line; empty if it can."""
    library = _library()
    return library if isinstance(library, str) else ""


def is_mkl_faster() -> bool:
    """Whether MKL's products are at least as fast as `multiply`: on Intel's processors."""
    library = _library()
    return (
        isinstance(library, ctypes.CDLL)
        and _is_intel(library)
        and torch.backends.mkl.is_available()
    )


@cache
def _is_intel(library: ctypes.CDLL) -> bool:
    return library.is_intel()


def are_float32_on_cpu(*tensors: Tensor) -> bool:
    """Whether C can read these tensors: float32, on a CPU, and not inside torch.compile."""
    return (
        all(tensor.dtype == torch.float32 and tensor.device.type == "cpu" for tensor in tensors)
        and not torch.compiler.is_compiling()
    )


def can_run(
    gates: Tensor,
    recurrent: Tensor,
    h0: Tensor,
    c0: Tensor,
    peepholes: Tensor | None,
    keep: Tensor | None,
) -> bool:
    """Whether `forward` can run a window and is faster than torch's operators.

    False if the shapes do not fit each other: torch's operators then raise an error, C would not.

    Args:
        gates: ``(T, B, G*H)``.
        recurrent: ``(G*H, H)``, float32 or bfloat16.
        h0: ``(B, H)``.
        c0: ``(B, H)``.
        peepholes: ``(3, H)`` or None.
        keep: ``(T, B, 1)`` or None.
    """
    (time, batch, width), hidden = gates.shape, recurrent.shape[1]
    masks = [] if keep is None else [keep]
    weights = [] if peepholes is None else [peepholes]
    return (
        time >= MIN_WORDS
        and (
            recurrent.dtype == torch.float32 or recurrent.numel() < MIN_BFLOAT16_WEIGHTS_FOR_ONEDNN
        )
        and are_float32_on_cpu(gates, h0, c0, *weights, *masks)
        and width == len(recurrent) in (4 * hidden, 3 * hidden)
        and h0.shape == c0.shape == (batch, hidden)
        and all(weight.shape == (3, hidden) for weight in weights)
        and all(mask.shape == (time, batch, 1) for mask in masks)
        and gates.is_contiguous()
        and is_compiled()
    )


def forward(
    gates: Tensor,
    recurrent: Tensor,
    h: Tensor,
    c: Tensor,
    peepholes: Tensor | None,
    keep: Tensor | None,
) -> None:
    """Computes the gates and states of a window, in place.

    Args:
        gates: ``(T, B, G*H)``, in the order f, i, g, o, or f, g, o. It holds ``W x + b``, the
            candidate's part doubled, and is overwritten by the gates.
        recurrent: ``(G*H, H)``, the candidate's part doubled.
        h: ``(T+1, B, H)``. It holds the first state; the others are filled in.
        c: ``(T+1, B, H)``, likewise.
        peepholes: ``(3, H)``: weights of the old c in f and i, and of the new c in o. None: no
            peepholes.
        keep: ``(T, B, 1)``: where it is 0, the state is zero before that word. None: nowhere.
    """
    _run(_loaded().lstm_forward, gates, c, gates, recurrent.float(), h, c, peepholes, keep)


def backward(
    d_outputs: Tensor,
    recurrent: Tensor,
    gates: Tensor,
    c: Tensor,
    peepholes: Tensor | None,
    keep: Tensor | None,
    d_gates: Tensor,
    d_c: Tensor,
) -> None:
    """Computes the gradients of a window, in place.

    Args:
        d_outputs: gradient of every h after the first, ``(T, B, H)``.
        recurrent: as in `forward`.
        gates: as `forward` left them.
        c: as `forward` left it.
        peepholes: as in `forward`.
        keep: as in `forward`.
        d_gates: ``(T, B, G*H)``, filled in: the gradient of ``W x + b``.
        d_c: ``(B, H)``. It holds the gradient of the last c and is overwritten by that of the
            first.
    """
    tensors = d_outputs, recurrent.float(), gates, c, peepholes, keep, d_gates, d_c
    _run(_loaded().lstm_backward, gates, c, *tensors)


def multiply(rows: Tensor, matrix: Tensor, bias: Tensor | None = None) -> Tensor:
    """Computes ``rows @ matrix + bias``.

    Args:
        rows: ``(N, K)``, contiguous or the transpose ``x.T`` of a contiguous tensor.
        matrix: ``(K, M)``, likewise.
        bias: ``(M,)`` or None.

    Returns:
        ``(N, M)``.

    Raises:
        RuntimeError: if the shapes do not fit each other, or the bias is not float32 on a CPU.
    """
    (count, depth), columns = rows.shape, matrix.shape[1]
    stride, step = rows.stride()
    if len(matrix) != depth:
        raise RuntimeError(
            f"rows {tuple(rows.shape)} and a matrix {tuple(matrix.shape)} cannot be multiplied"
        )
    if bias is not None and (bias.shape != (columns,) or not are_float32_on_cpu(bias)):
        raise RuntimeError(
            f"a bias {tuple(bias.shape)} of {bias.dtype} cannot be added to {columns} columns of "
            "float32"
        )
    products = rows.new_empty(count, columns)
    scratch_size = _packed_size(depth, columns)
    if step > 1:
        scratch_size += count * min(depth, CHUNK_ROWS)
    scratch = rows.new_empty(scratch_size)
    _loaded().multiply_rows(
        _pointer(rows),
        stride,
        step,
        _pointer(matrix),
        not matrix.is_contiguous(),
        _pointer(bias),
        _pointer(products),
        _pointer(scratch),
        count,
        depth,
        columns,
        torch.get_num_threads(),
    )
    return products


def _run(loop: Callable[..., None], gates: Tensor, c: Tensor, *tensors: Tensor | None) -> None:
    """Calls a loop of C on tensors; ``gates`` and ``c`` give the sizes."""
    (time, batch, width), hidden = gates.shape, c.shape[-1]
    scratch = c.new_empty(_packed_size(width, hidden))
    pointers = [_pointer(tensor) for tensor in (*tensors, scratch)]
    loop(*pointers, time, batch, hidden, width // hidden, torch.get_num_threads())


def _pointer(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def _packed_size(depth: int, columns: int) -> int:
    """Returns how many numbers a packed matrix has: its columns are padded to whole vectors."""
    vectors = -(-columns // FLOATS_PER_VECTOR)
    return depth * vectors * FLOATS_PER_VECTOR


@cache
def _library() -> ctypes.CDLL | str:
    """Compiles and loads `on_cpu.c`; where that is impossible, returns the reason."""
    compiler = (os.environ.get("CC") or "cc").split()
    # -nodefaultlibs leaves out gcc's OpenMP library, so that the one that torch has loaded is used.
    # Two of them would compete for the cores.
    options = [
        "-O3",
        f"-DCHUNK_ROWS={CHUNK_ROWS}",
        "-ffp-contract=fast",
        "-fopenmp",
        "-shared",
        "-fPIC",
        "-nodefaultlibs",
        *INSTRUCTIONS.get(torch.backends.cpu.get_cpu_capability(), []),
    ]
    command = [*compiler, *options]
    key = hashlib.sha256(SOURCE.read_bytes() + repr(command).encode()).hexdigest()[:16]
    given = os.environ.get("TORCH_EXTENSIONS_DIR")
    if not (given or has_home()):
        return "this user has no home folder to keep the C loop in; set TORCH_EXTENSIONS_DIR"
    try:
        extensions = expand_home(given or "~/.cache/torch_extensions")
        folder = library_folder(extensions)
        if folder is None:
            return f"other users can write to the folders of lstm_lm in {extensions}"
    except (OSError, DiskError) as error:
        return f"there is no folder to keep the C loop in ({error}); set TORCH_EXTENSIONS_DIR"
    return _load_or_compile(command, folder / f"on_cpu-{key}.so")


def _load_or_compile(command: list[str], path: Path) -> ctypes.CDLL | str:
    """Loads the library, after compiling it if it is missing or damaged, or others wrote it."""
    try:
        library = load_library(path)
        if library is None:
            if shutil.which(command[0]) is None:
                return NO_COMPILER
            keep_library(path, _compile(command, path.parent))
            library = load_library(path)
        if library is None:
            return f"{path} is not what was just written there"
        _declare_functions(library)
        return library
    except (subprocess.SubprocessError, FileNotFoundError, PermissionError, DiskError) as error:
        return f"`{command[0]}` cannot compile the C loop ({_short(error)})"
    except (OSError, AttributeError) as error:
        # `load_library` names the file by its descriptor
        reason = re.sub(r"/proc/self/fd/\d+", lambda found: str(path), str(error))
        return f"the C loop that `{command[0]}` compiled cannot be loaded ({_short(reason)})"


def _short(error: Exception | str) -> str:
    return " ".join(str(error).split())[:200]


def _loaded() -> ctypes.CDLL:
    """Returns the library for a caller that has asked `is_compiled`."""
    library = _library()
    assert isinstance(library, ctypes.CDLL), library
    return library


def _compile(command: list[str], parent: Path) -> bytes:
    """Compiles `on_cpu.c` in a folder of its own, so that several processes can do it at once."""
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        library = Path(folder) / "new.so"
        subprocess.run(
            [*command, "-o", str(library), SOURCE], check=True, capture_output=True, timeout=60
        )
        return library.read_bytes()


def _declare_functions(library: ctypes.CDLL) -> None:
    """Declares the types of the arguments of the functions in `on_cpu.c`, in their order."""
    pointer, size, integer = ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int
    library.lstm_forward.argtypes = [*[pointer] * 7, *[size] * 4, integer]
    library.lstm_backward.argtypes = [*[pointer] * 9, *[size] * 4, integer]
    library.multiply_rows.argtypes = [
        pointer,
        *[size] * 2,
        pointer,
        ctypes.c_bool,
        *[pointer] * 3,
        *[size] * 3,
        integer,
    ]
    library.is_intel.restype = ctypes.c_bool
    for function in (library.lstm_forward, library.lstm_backward, library.multiply_rows):
        function.restype = None
