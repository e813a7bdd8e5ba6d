"""Training on several processes, the ranks, which `torchrun` starts: how they agree.

Each rank reads a share of the batch's streams. The gradients are summed over the ranks, so that all
make the same update, and a training of batch B on N ranks is that of batch B in one process.
`Ranks` is all that the trainer knows of it; where there is one process, it does nothing.

The ranks exchange:

==================  ==============================================================================
at the start        what is trained, and the first rank's weights, counters and generators
at every update     gradients (`GradientSums`); losses, words and signals in one small message
sampled softmax     the targets of a window: every rank has the same candidates
validation          the losses of the windows, which the ranks score in turn
at a save           the carried states; the first rank writes
==================  ==============================================================================

All ranks draw the same random numbers, those of the whole batch (`lstm_lm.model.batch_part`).

Shapes: B streams of the batch, H hidden size.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import TCPStore  # type: ignore[attr-defined]  # public there

from lstm_lm.errors import ConfigError, RankError
from lstm_lm.evaluation.perplexity import add_in_order
from lstm_lm.model.batch_part import BatchPart
from lstm_lm.model.network import Network
from lstm_lm.model.recurrent import LayerStates
from lstm_lm.training.gradient_sums import GradientSums
from lstm_lm.training.launch import ALONE, Launch, find_launch
from lstm_lm.training.signals import StopSignals

# A rank that says nothing for so long is lost: longer than the first rank needs to save or to draw.
TIMEOUT = timedelta(minutes=10)
_POLL_SECONDS = 0.05
_WINDOWS_PER_CHECK = 16  # of validation, after which the ranks ask each other whether to stop


class Update(NamedTuple):
    """What all ranks together know of an update.

    Attributes:
        nll: nats of all its words, summed.
        words: its targets.
    """

    nll: float
    words: int


class Ranks:
    """The processes of a training, seen from one of them.

    Args:
        launch: which one this is; alone by default.
        store: where the processes meet; needed unless this one is alone.

    Attributes:
        rank: its number, from 0.
        size: how many there are.
    """

    def __init__(self, launch: Launch = ALONE, store: Store | None = None) -> None:
        self.rank, self.size, self._launch, self._store = launch.rank, launch.size, launch, store
        self._sums: GradientSums | None = None
        self._stop_signal, self._windows = 0, 0

    @property
    def is_first(self) -> bool:
        """Whether it is the one that writes and prints."""
        return self.rank == 0

    @property
    def alone(self) -> bool:
        """Whether there is one process."""
        return self.size == 1

    # --- meeting ---------------------------------------------------------------------------------

    def tell(self, what: str) -> None:
        """Tells all ranks that something is done; see `wait_for`."""
        with self._loss_named():
            self._meeting.add(what, 1)

    def wait_for(self, what: str, times: int = 1) -> None:
        """Waits until something was told that often; as long as it takes.

        Raises:
            RankError: the ranks' meeting place is gone.
        """
        while True:
            with self._loss_named():
                if self._meeting.add(what, 0) >= times:
                    return
            time.sleep(_POLL_SECONDS)  # in Python, so that signals are heard

    @contextmanager
    def first_on_machine(self) -> Iterator[None]:
        """Lets the first rank of each machine do something before its others do it.

        What it leaves on the disk, such as an encoded corpus, is then there for the others.
        """
        what = f"machine {self._launch.machine} is ready"
        if not self.alone and self._launch.local_rank:
            self.wait_for(what)
        yield
        if not self.alone and not self._launch.local_rank:
            self.tell(what)

    def connect(self) -> None:
        """Connects all ranks, as soon as all have come here.

        Raises:
            RankError: a rank has ended.
        """
        self.tell("here")
        self.wait_for("here", self.size)
        has_gpu = torch.cuda.is_available() and dist.is_nccl_available()
        with self._loss_named():
            dist.init_process_group(
                "cpu:gloo,cuda:nccl" if has_gpu else "gloo",
                store=self._meeting,
                rank=self.rank,
                world_size=self.size,
                timeout=TIMEOUT,
            )

    def use_device(self, device: torch.device) -> torch.device:
        """Gives each rank of a machine a GPU of its own; returns the device.

        Raises:
            ConfigError: there are not enough GPUs, or the device cannot be shared.
        """
        if self.alone or device.type == "cpu":
            return device
        if device.type != "cuda":
            raise ConfigError(
                f"training.device: found {device.type}, on which several processes cannot train "
                "together; allowed: cpu, cuda"
            )
        number, there = self._launch.local_rank, torch.cuda.device_count()
        if number >= there:
            raise ConfigError(
                f"training.device: this machine has {there} GPUs, and torchrun started more "
                f"processes on it; start it with --nproc_per_node {there}"
            )
        torch.cuda.set_device(number)
        return torch.device("cuda", number)

    # --- the batch -------------------------------------------------------------------------------

    def part_of(self, batch_size: int) -> BatchPart | None:
        """Returns which streams of a batch this rank computes; None if it computes all.

        Raises:
            ConfigError: the ranks cannot share the streams evenly.
        """
        if self.alone:
            return None
        check_divisible(batch_size, self.size)
        size = batch_size // self.size
        return BatchPart(self.rank * size, (self.rank + 1) * size, batch_size, self._beside)

    def _beside(self, own: Tensor) -> Tensor:
        return torch.cat(self._of_all(own), dim=1)

    def gather_state(self, state: LayerStates) -> LayerStates:
        """Returns the carried state of all streams, ``(B, H)``, of the streams of this rank."""
        if self.alone:
            return state
        return [type(layer)(*(torch.cat(self._of_all(part)) for part in layer)) for layer in state]

    # --- an update -------------------------------------------------------------------------------

    def sum_gradients_of(self, network: Network) -> None:
        """Prepares the sums of a network's gradients."""
        if not self.alone:
            self._sums = GradientSums(network)

    def begin_last_backward(self) -> None:
        """To be called before the backward pass after which the gradients are summed."""
        if self._sums:
            self._sums.begin()

    def finish_update(self, nll: float, words: int, signals: StopSignals) -> Update:
        """Ends the backward passes of an update: all ranks then have the gradients of all.

        Args:
            nll: of this rank's words.
            words: how many it has.
            signals: of this process; if a rank is to stop, all stop; see `check`.

        Raises:
            RankError: another rank has ended, or does not answer.
        """
        if not self._sums:
            return Update(nll, words)
        with self._loss_named():
            self._sums.send_rest()
            own = [nll, words, signals.received or 0, *self._sums.row_counts()]
            of_all = torch.stack(self._of_all(torch.tensor(own, dtype=torch.float64))).tolist()
            self._sums.finish([[int(count) for count in of_one[3:]] for of_one in of_all])
        self._stop_signal = int(max(of_one[2] for of_one in of_all))
        nll = add_in_order([of_one[0] for of_one in of_all])
        return Update(nll, int(sum(of_one[1] for of_one in of_all)))

    def check(self, signals: StopSignals) -> None:
        """Raises `StopRequested` if a signal came: to any rank, before the end of the last update.

        Where there are several, all of them raise it at the same place.
        """
        if not self.alone and self._stop_signal:
            signals.received = self._stop_signal
        if self.alone or self._stop_signal:
            signals.check()

    def check_in_validation(self, signals: StopSignals) -> None:
        """Likewise, if all ranks call this equally often, after each window of validation."""
        self._windows += 1
        if not self.alone and self._windows % _WINDOWS_PER_CHECK == 0:
            received = self._of_all(torch.tensor([signals.received or 0]))
            self._stop_signal = int(max(received))
        self.check(signals)

    # --- validation and saves --------------------------------------------------------------------

    def has_turn(self, number: int) -> bool:
        """Whether this rank is the one that scores a window; every window has one."""
        return number % self.size == self.rank

    def add_up(self, parts: Sequence[float]) -> float:
        """Adds up numbers in order, each of which one rank has, and the others 0 in its place."""
        if not self.alone:
            values = torch.tensor(parts, dtype=torch.float64)
            with self._loss_named():
                dist.all_reduce(values)
            parts = values.tolist()
        return add_in_order(parts)

    def check_alike(self, network: Network) -> None:
        """Checks that all ranks have the same weights, bit for bit.

        Raises:
            RankError: they have not; their machines compute differently.
        """
        if self.alone:
            return
        found = torch.stack(
            [
                weight.detach().view(torch.int32).sum(dtype=torch.int64).cpu()
                for weight in network.parameters()
            ]
        )
        if any(not torch.equal(found, other) for other in self._of_all(found)):
            raise RankError(
                f"rank {self.rank}: the weights of the ranks are not the same any more, because "
                "their machines round differently; use machines with the same processors and the "
                "same version of torch; the last checkpoint is kept"
            )

    # --- from the first rank to the others -------------------------------------------------------

    def send_values(self, values: Any = None) -> Any:
        """Sends what JSON can hold from the first rank to all; returns it on each."""
        content = json.dumps(values).encode() if self.is_first else b""
        size = self._from_first(torch.tensor([len(content)]))
        text = torch.frombuffer(bytearray(content.ljust(int(size))), dtype=torch.uint8)
        return json.loads(self._from_first(text).numpy().tobytes())

    def send_tensors(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Sends tensors by name from the first rank to all; returns them, on the CPU, on each.

        Args:
            tensors: those of the first rank; of the others, empty.
        """
        kinds = {
            name: (str(tensor.dtype).removeprefix("torch."), list(tensor.shape))
            for name, tensor in tensors.items()
        }
        received = {}
        for name, (dtype, shape) in self.send_values(kinds).items():
            tensor = (
                tensors[name].cpu().contiguous()
                if self.is_first
                else torch.empty(shape, dtype=getattr(torch, dtype))
            )
            received[name] = self._from_first(tensor)
        return received

    # --- messages --------------------------------------------------------------------------------

    @property
    def _meeting(self) -> Store:
        assert self._store is not None, "a single process meets nobody"
        return self._store

    def _from_first(self, tensor: Tensor) -> Tensor:
        with self._loss_named():
            dist.broadcast(tensor, 0)
        return tensor

    def _of_all(self, own: Tensor) -> list[Tensor]:
        """The tensors of all ranks, by rank; they have the same shape."""
        found = [torch.empty_like(own) for _ in range(self.size)]
        with self._loss_named():
            dist.all_gather(found, own.contiguous())
        return found

    @contextmanager
    def _loss_named(self) -> Iterator[None]:
        """While entered, an error of torch means that another rank is lost."""
        try:
            yield
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            reason = _short_reason(error)
            raise RankError(
                f"rank {self.rank}: another rank has ended or does not answer ({reason}); this one "
                "ends, too, and what was saved is kept"
            ) from error


def _short_reason(error: Exception) -> str:
    """What torch says, without places in its source text and advice."""
    first_line = str(error).strip().partition("\n")[0]
    return re.sub(r"\[/\S*\] *", "", first_line).partition(". ")[0]


def check_divisible(batch_size: int, size: int) -> None:
    """Checks that ranks can share the streams of a batch evenly.

    Raises:
        ConfigError: they cannot.
    """
    if batch_size % size:
        lower, higher = batch_size // size * size, (batch_size // size + 1) * size
        allowed = f"{lower} or {higher}" if lower else str(higher)
        raise ConfigError(
            f"training.batch_size: found {batch_size}, which {size} processes cannot share evenly; "
            f"set it to {allowed}, or start another number of processes"
        )


@contextmanager
def joined() -> Iterator[Ranks]:
    """While entered, this process is a rank of the training that `torchrun` started, or alone.

    Raises:
        RankError: the other ranks cannot be reached.
    """
    launch = find_launch()
    if launch.size == 1:
        yield Ranks()
        return
    if not (dist.is_available() and dist.is_gloo_available()):
        raise ConfigError(
            "torchrun: this build of torch cannot train on several processes (it has no gloo); "
            "install another one, or start without torchrun"
        )
    try:
        yield Ranks(launch, _open_store(launch))
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _open_store(launch: Launch) -> Store:
    """Opens the place where the ranks meet: torchrun has one, or else the first rank makes it.

    Raises:
        RankError: it cannot be reached.
    """
    address, has_agent = os.environ["MASTER_ADDR"], "TORCHELASTIC_USE_AGENT_STORE" in os.environ
    try:
        store = TCPStore(
            address,
            int(os.environ["MASTER_PORT"]),
            is_master=launch.is_first and not has_agent,
            timeout=TIMEOUT,
            wait_for_workers=False,
        )
    except (RuntimeError, ValueError) as error:
        reason = _short_reason(error)
        raise RankError(
            f"rank {launch.rank}: cannot meet the others at MASTER_ADDR {address}, MASTER_PORT "
            f"{os.environ['MASTER_PORT']} ({reason})"
        ) from None
    # after a failure torchrun starts all again, and what was told before does not count any more
    return PrefixStore(f"attempt {os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)
