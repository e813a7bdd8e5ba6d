"""How much memory this process may have: the least of machine, control group and own limits.

Nothing here imports torch.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")
OF_PROCESS = Path("/proc/self")
# On a CPU, PyTorch has no exception type of its own for lack of memory; these are its messages.
_CPU_MESSAGES = (
    "can't allocate memory",
    "not enough memory",
    "Storage size calculation overflowed",
)
_GPU_MESSAGES = ("CUDA out of memory", "HIP out of memory", "MPS backend out of memory")
# More than the address space of torch 2.13 for the CPU and what it imports: 0.61 GiB.
_LIBRARIES_BYTES = 2**30


@dataclass(frozen=True)
class Limit:
    """A limit of the memory of this process.

    Attributes:
        total: bytes that it may have.
        free: of them, bytes that it can still take.
        what: sets it, such as ``its control group``.
    """

    total: int
    free: int
    what: str


def memory_limit() -> Limit | None:
    """The limit that leaves least, with a total of its own; None if the system reports none."""
    found = list(_limits())
    return min(found, key=lambda limit: limit.free) if found else None


def describe_shortage(needed: int) -> str:
    """What a sentence says after "need" if memory does not suffice; empty if it does.

    Args:
        needed: bytes.
    """
    limit = memory_limit()
    if limit is None or needed <= limit.free:
        return ""
    total = f", of {_gibibytes(limit.total)}" if limit.total != limit.free else ""
    return (
        f"{_gibibytes(needed)} of memory, and {limit.what} leaves this process "
        f"{_gibibytes(limit.free)}{total}"
    )


def out_of_memory(error: BaseException) -> str:
    """Says that an exception is lack of memory, and how much there is; empty if it is not.

    Libraries that do not fit into the limit of the address space cannot be imported.
    """
    if isinstance(error, RuntimeError) and any(said in str(error) for said in _GPU_MESSAGES):
        return "the GPU has not enough memory for this command; free some, or add --device cpu"
    limit = memory_limit()
    allowed = f"{limit.what} allows {_gibibytes(limit.total)}" if limit else "no limit is known"
    if isinstance(error, ImportError):
        is_limit = limit is not None and limit.total < _LIBRARIES_BYTES
        is_known = is_limit and "failed to map segment" in str(error)
    else:
        is_known = isinstance(error, MemoryError) or (
            isinstance(error, RuntimeError)
            and any(message in str(error) for message in _CPU_MESSAGES)
        )
    return f"not enough memory for this command: {allowed}" if is_known else ""


def _gibibytes(size: int) -> str:
    return f"{size / 2**30:,.2f} GiB"


def available_memory() -> int | None:
    """The bytes that new processes can use without swapping; None if the system reports nothing.

    Limits of one process do not count: new processes have their own.
    """
    free = [limit.free for limit in (*_of_machine(swap=0), *_of_groups())]
    return min(free) if free else None


def _limits() -> Iterator[Limit]:
    yield from _of_machine()
    yield from _of_groups()
    yield from _of_process()


def _of_machine(swap: int = 1) -> Iterator[Limit]:
    """That of the machine; ``swap=0``: without what could be swapped out."""
    with contextlib.suppress(AttributeError, OSError, ValueError):
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        free = total
        with contextlib.suppress(OSError, KeyError, ValueError, IndexError):
            with open("/proc/meminfo", encoding="ascii") as file:
                lines = dict(line.split(":", 1) for line in file)
            sizes = [int(lines[key].split()[0]) for key in ("MemAvailable", "SwapFree")]
            free = (sizes[0] + swap * sizes[1]) * 1024
        yield Limit(total, free, "this machine")


def _of_groups() -> Iterator[Limit]:
    """Those of the control groups (versions 1 and 2) of this process, and of all above them."""
    try:
        lines = (OF_PROCESS / "cgroup").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return
    for line in lines:
        number, _, rest = line.partition(":")
        kinds, _, path = rest.partition(":")
        if number == "0" and not kinds:
            for root in (GROUPS, GROUPS / "unified"):
                yield from _of_group(root, path, "memory.max", ("anon",))
        elif "memory" in kinds.split(","):
            # what the group and those below it have used
            used = ("total_rss", "rss")
            yield from _of_group(GROUPS / "memory", path, "memory.limit_in_bytes", used)


def _of_group(root: Path, path: str, name: str, used: tuple[str, ...]) -> Iterator[Limit]:
    """The limits of a group and of those above it. In a container, its own is at the root."""
    folder = root / path.strip("/")
    for group in (folder, *folder.parents):
        if group != root and root not in group.parents:
            return
        with contextlib.suppress(OSError, ValueError):  # no limit, or no such group here
            total = int((group / name).read_text(encoding="ascii"))
            figures = dict(map(str.split, (group / "memory.stat").read_text("ascii").splitlines()))
            taken = next((int(figures[key]) for key in used if key in figures), 0)
            yield Limit(total, max(total - taken, 0), "its control group (of a container or job)")


def _of_process() -> Iterator[Limit]:
    """Those that ``ulimit`` sets: of the address space and of the data."""
    try:
        import resource
    except ImportError:  # Windows
        return
    sizes = [0] * 7
    with contextlib.suppress(OSError, ValueError):
        pages = (OF_PROCESS / "statm").read_text(encoding="ascii").split()
        sizes = [int(count) * os.sysconf("SC_PAGE_SIZE") for count in pages]
    for kind, taken in (("RLIMIT_AS", sizes[0]), ("RLIMIT_DATA", sizes[5])):
        total, _ = resource.getrlimit(getattr(resource, kind))
        if total != resource.RLIM_INFINITY:
            option = "-v" if kind == "RLIMIT_AS" else "-d"
            yield Limit(total, max(total - taken, 0), f"its limit (ulimit {option})")
