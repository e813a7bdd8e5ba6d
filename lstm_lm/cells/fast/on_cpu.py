"""An LSTM's window on a CPU as one loop of C, forth and one back, and its products: `on_cpu.c`, compiled where it runs.

That takes gcc (``cc``, or what ``$CC`` says), a third of a second, and once: the library stays among torch's
extensions, in ``$TORCH_EXTENSIONS_DIR`` or ``~/.cache/torch_extensions``. Where there is no such compiler, or nowhere
to put the library, `can_run` says no, and the window runs operator by operator.

Shapes: T time, B batch, H hidden size. All tensors are float32 and contiguous.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

SOURCE = Path(__file__).with_suffix(".c")
INSTRUCTIONS = {
    "AVX512": ["-mavx512f"],
    "AVX2": ["-mavx2", "-mfma"],
}  # by torch's name for what the CPU has
LANES, DEEPEST = (
    16,
    1280,
)  # numbers in the widest of their registers; rows of a panel that a core's own cache holds
FEWEST_WORDS = 8  # for fewer, arranging the weights anew takes longer than it saves
MANY_LOW_WEIGHTS = (
    2**19
)  # for so many of bfloat16, oneDNN's products of a word are faster than ours, in float32


def is_compiled() -> bool:
    """Whether the loops are at hand; the first one to ask waits for the compiler."""
    return _library() is not None


def mkl_is_better() -> bool:
    """Whether MKL's products are as fast as those of the loops, or faster: on Intel's processors."""
    return is_compiled() and _is_by_intel(_library()) and torch.backends.mkl.is_available()


@cache
def _is_by_intel(library: ctypes.CDLL) -> bool:
    return library.is_by_intel()


def are_plain(*tensors: Tensor) -> bool:
    """Whether these are float32 on a CPU, outside torch.compile: what can be handed over by its place in memory."""
    return (
        all(tensor.dtype == torch.float32 and tensor.device.type == "cpu" for tensor in tensors)
        and not torch.compiler.is_compiling()
    )


def can_run(gates: Tensor, recurrent: Tensor, h0: Tensor, c0: Tensor, keep: Tensor | None) -> bool:
    """Whether a window ``(T, B, 4H)`` can be run here, and is worth it: long enough, and in bfloat16 narrow.

    No for shapes that do not fit each other, which C would not notice, and torch's operators do.
    """
    time, batch, width = gates.shape
    masks = [] if keep is None else [keep]
    return (
        time >= FEWEST_WORDS
        and (recurrent.dtype == torch.float32 or recurrent.numel() < MANY_LOW_WEIGHTS)
        and are_plain(gates, h0, c0, *masks)
        and h0.shape == c0.shape == (batch, width // 4)
        and all(mask.shape == (time, batch, 1) for mask in masks)
        and gates.is_contiguous()
        and is_compiled()
    )


def forward(gates: Tensor, recurrent: Tensor, h: Tensor, c: Tensor, keep: Tensor | None) -> None:
    """Reads a window.

    Args:
        gates: ``(T, B, 4H)``, f, i, g, o: what the inputs add to them, the candidate's part doubled; the gates are
            written over it.
        recurrent: ``(4H, H)``, the candidate's part doubled.
        h: ``(T+1, B, H)``, the first given, the others filled in.
        c: as h.
        keep: ``(T, B, 1)``; where it is 0, the state is let go before that word. None: nowhere.
    """
    _run(_library().lstm_forward, h, gates, recurrent.float(), h, c, keep)


def backward(
    d_outputs: Tensor,
    recurrent: Tensor,
    gates: Tensor,
    c: Tensor,
    keep: Tensor | None,
    d_gates: Tensor,
    d_c: Tensor,
) -> None:
    """Goes back through a window; arguments as in `forward`, and gradients of a loss.

    Args:
        d_outputs: ``(T, B, H)``, at every h.
        recurrent: see there.
        gates: the gates themselves.
        c: see there.
        keep: see there.
        d_gates: ``(T, B, 4H)``, filled in: at what the inputs add.
        d_c: ``(B, H)``, at the last c; becomes that at the first.
    """
    _run(_library().lstm_backward, c, d_outputs, recurrent.float(), gates, c, keep, d_gates, d_c)


def multiply(rows: Tensor, matrix: Tensor, bias: Tensor | None = None) -> Tensor:
    """``rows (N, K) @ matrix (K, M) + bias (M,)``; either may be a transpose, ``x.T``, of what lies in memory.

    Raises:
        RuntimeError: if they do not fit each other.
    """
    (count, depth), columns, (stride, step) = rows.shape, matrix.shape[1], rows.stride()
    if (
        len(matrix) != depth
        or bias is not None
        and (bias.shape != (columns,) or not are_plain(bias))
    ):
        raise RuntimeError(
            f"rows {tuple(rows.shape)} and a matrix {tuple(matrix.shape)} cannot be multiplied"
            + ("" if bias is None else f", or not with a bias {tuple(bias.shape)} of {bias.dtype}")
        )
    products = rows.new_empty(count, columns)
    room = rows.new_empty(
        _rearranged(depth, columns) + (count * min(depth, DEEPEST) if step > 1 else 0)
    )
    _library().multiply_rows(
        _pointer(rows),
        stride,
        step,
        _pointer(matrix),
        not matrix.is_contiguous(),
        _pointer(bias),
        _pointer(products),
        _pointer(room),
        count,
        depth,
        columns,
        torch.get_num_threads(),
    )
    return products


def _run(loop: Callable, states: Tensor, *tensors: Tensor | None) -> None:
    time, (batch, hidden) = len(states) - 1, states.shape[1:]
    room = states.new_empty(_rearranged(4 * hidden, hidden))
    loop(*map(_pointer, (*tensors, room)), time, batch, hidden, torch.get_num_threads())


def _pointer(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def _rearranged(depth: int, columns: int) -> int:
    """How many numbers a matrix has, rearranged for registers."""
    return depth * -(-columns // LANES) * LANES


@cache
def _library() -> ctypes.CDLL | None:
    """`on_cpu.c`, compiled, or None where that cannot be."""
    compiler = (os.environ.get("CC") or "cc").split()
    # OpenMP's own library is left out, so that it is the one that torch has loaded: two would be at odds over the cores
    options = [
        "-O3",
        f"-DDEEPEST={DEEPEST}",
        "-ffp-contract=fast",
        "-fopenmp",
        "-shared",
        "-fPIC",
        "-nodefaultlibs",
        *INSTRUCTIONS.get(torch.backends.cpu.get_cpu_capability(), []),
    ]
    recipe = hashlib.sha256(SOURCE.read_bytes() + repr([compiler, options]).encode()).hexdigest()[
        :16
    ]
    folder = (
        Path(os.environ.get("TORCH_EXTENSIONS_DIR") or "~/.cache/torch_extensions").expanduser()
        / "lstm_lm"
    )
    compiled = folder / f"on_cpu-{recipe}.so"
    try:
        if not compiled.exists():
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder) as own:  # others may be at it, too
                subprocess.run(
                    [*compiler, *options, "-o", f"{own}/new.so", SOURCE],
                    check=True,
                    capture_output=True,
                    timeout=60,
                )
                os.replace(f"{own}/new.so", compiled)
        library = ctypes.CDLL(str(compiled))
    except (OSError, subprocess.SubprocessError):
        return None
    pointer, size = ctypes.c_void_p, ctypes.c_ssize_t
    library.lstm_forward.argtypes = [pointer] * 6 + [size] * 3 + [ctypes.c_int]
    library.lstm_backward.argtypes = [pointer] * 8 + [size] * 3 + [ctypes.c_int]
    library.multiply_rows.argtypes = [
        pointer,
        size,
        size,
        pointer,
        ctypes.c_bool,
        *[pointer] * 3,
        *[size] * 3,
        ctypes.c_int,
    ]
    library.is_by_intel.restype = ctypes.c_bool
    library.lstm_forward.restype = library.lstm_backward.restype = library.multiply_rows.restype = (
        None
    )
    return library
