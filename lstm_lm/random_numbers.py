"""Where random numbers come from: a training has generators of its own.

So trainings in several threads of a process do not depend on each other, and torch's global
generators, which belong to the program, stay as they are.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_of_thread = threading.local()


class RandomNumbers:
    """Generators of torch: its global ones, or those of one training, one for a kind of device.

    Generators with the same seed give the same numbers, whether they are global or not.

    Args:
        seed: of generators of its own; None for torch's global ones.
    """

    def __init__(self, seed: int | None = None) -> None:
        self._seed = seed
        self._own: dict[str, torch.Generator] = {}

    def __deepcopy__(self, memo: object) -> RandomNumbers:
        """Copies of a network share the numbers: a copy would draw the same ones once more."""
        return self

    def on(self, device: torch.device) -> torch.Generator | None:
        """The generator for a device, as torch's functions take it: None is the global one."""
        if self._seed is None:
            return None
        if device.type not in self._own:
            self._own[device.type] = torch.Generator(device).manual_seed(self._seed)
        return self._own[device.type]

    def states(self, device: torch.device) -> dict[str, Tensor]:
        """The states of the generators by kind: of the CPU, and of this device."""
        return {
            each.type: _module_of(each).get_rng_state() if own is None else own.get_state()
            for each in (torch.device("cpu"), device)
            for own in [self.on(each)]
        }

    def set_states(self, states: Mapping[str, Tensor], device: torch.device) -> None:
        """Continues from what `states` has returned; a kind of device that is missing stays.

        Raises:
            RuntimeError: a generator does not accept its state.
        """
        for each in (torch.device("cpu"), device):
            own = self.on(each)
            if each.type in states:
                set_state = _module_of(each).set_rng_state if own is None else own.set_state
                set_state(states[each.type])

    @contextmanager
    def used(self) -> Iterator[None]:
        """While entered, this package draws from these generators, in this thread."""
        before = getattr(_of_thread, "numbers", None)
        _of_thread.numbers = self
        try:
            yield
        finally:
            _of_thread.numbers = before

    @contextmanager
    def used_by_all(self) -> Iterator[None]:
        """While entered, all functions of torch draw from them, in this thread.

        For initial weights, because cells of other people draw theirs, too. Every function then
        takes a microsecond more. Functions that cannot be given a generator, such as dropout, still
        draw from the global one.
        """
        with self.used(), _GeneratorForAll(self):
            yield


def _module_of(device: torch.device) -> Any:
    """The module of torch that has the global generator of a kind of device."""
    return torch if device.type == "cpu" else getattr(torch, device.type)


def generator_on(device: torch.device) -> torch.Generator | None:
    """The generator to draw from in this thread; None is torch's global one."""
    numbers: RandomNumbers | None = getattr(_of_thread, "numbers", None)
    return None if numbers is None else numbers.on(device)


_DRAWING = {
    *(torch.rand, torch.randn, torch.randint, torch.randperm),
    *(torch.bernoulli, torch.multinomial, torch.normal, torch.poisson),
    *(Tensor.bernoulli, Tensor.multinomial, Tensor.uniform_, Tensor.normal_, Tensor.bernoulli_),
    *(Tensor.random_, Tensor.exponential_, Tensor.geometric_, Tensor.cauchy_, Tensor.log_normal_),
}
# These take no generator in all versions of torch.
_LIKE: dict[Any, Callable[..., Tensor]] = {
    torch.rand_like: torch.rand,
    torch.randn_like: torch.randn,
}


class _GeneratorForAll(TorchFunctionMode):
    """Gives a generator to every function that takes one and was given none."""

    def __init__(self, numbers: RandomNumbers) -> None:
        super().__init__()
        self._numbers = numbers

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func in _LIKE:
            like, func, args = args[0], _LIKE[func], (args[0].shape,)
            kwargs = {"dtype": like.dtype, "device": like.device} | kwargs
        # `torch.nn.init` passes None on.
        takes_one = func in _DRAWING or "generator" in kwargs
        if takes_one and kwargs.get("generator") is None:
            kwargs["generator"] = self._numbers.on(_device_of(args, kwargs))
        return func(*args, **kwargs)


def _device_of(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> torch.device:
    """The device of what a function of torch returns."""
    if kwargs.get("device") is not None:
        return torch.device(kwargs["device"])
    tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
    return tensors[0].device if tensors else torch.get_default_device()
