"""A window as one GPU kernel: the same function as the readable path.

Needs Triton. Without a GPU, Triton's interpreter runs the kernel as one program. That tests
everything but the waiting of programs for each other.
"""

import os

import pytest
import torch

CUDA = torch.cuda.is_available()
if not CUDA:
    os.environ["TRITON_INTERPRET"] = "1"  # Triton looks at it when it is imported
pytest.importorskip("triton")

from lstm_lm.cells import LSTMCell, LSTMState, run_fused, run_readable  # noqa: E402
from lstm_lm.cells.fast.on_gpu import _program_size, can_run, run_window  # noqa: E402
from lstm_lm.training.optimizers import Muon  # noqa: E402

needs_gpu = pytest.mark.skipif(not CUDA, reason="needs a CUDA GPU")
DEVICE = "cuda" if CUDA else "cpu"


def error(found, expected):
    found, expected = found.detach().double(), expected.detach().double()
    return float((found - expected).norm() / expected.norm())


def a_window(hidden, time, batch, keep):
    torch.manual_seed(hidden + time + batch)
    tensors = (
        torch.randn(time, batch, 4 * hidden),
        torch.randn(4 * hidden, hidden) / hidden**0.5,
        *(torch.randn(2, batch, hidden)),
    )
    kept = (torch.rand(time, batch, 1) > 0.3).float().to(DEVICE) if keep else None
    return *(tensor.to(DEVICE) for tensor in tensors), kept


def expected_of(projected, recurrent, h, c, keep):
    outputs = []
    for t, from_input in enumerate(projected):
        if keep is not None:
            h, c = h * keep[t], c * keep[t]
        f, i, g, o = torch.sigmoid(from_input + h @ recurrent.T).chunk(4, -1)
        c = f * c + i * (2 * g - 1)
        h = o * torch.tanh(c)
        outputs.append(h)
    return torch.stack(outputs), c


SHAPES = (
    [(13, 4, 3), (20, 5, 18)]
    if not CUDA
    else [
        (13, 4, 3),
        (20, 1, 1),
        (200, 35, 20),
        (256, 70, 64),
        (512, 16, 32),
        (650, 35, 20),
        (1150, 70, 80),
        (300, 9, 500),
        (1024, 5, 400),
        (2400, 4, 70),
    ]
)


@pytest.mark.parametrize(
    "dtype, tolerance", [(torch.float32, 2e-6)] + [(torch.bfloat16, 2e-2)] * CUDA
)
@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("hidden, time, batch", SHAPES)
def test_a_window_equals_its_steps_in_outputs_state_and_every_gradient(
    hidden, time, batch, keep, dtype, tolerance
):
    projected, recurrent, h0, c0, kept = a_window(hidden, time, batch, keep)
    projected, recurrent = projected.to(dtype), recurrent.to(dtype)
    found_of = [tensor.clone().requires_grad_() for tensor in (projected, recurrent, h0, c0)]
    exact_of = [tensor.double().requires_grad_() for tensor in (projected, recurrent, h0, c0)]
    found = run_window(found_of[0].clone(), *found_of[1:], kept)
    exact = expected_of(*exact_of, None if kept is None else kept.double())
    weights = [torch.randn_like(value) for value in exact]
    gradients = [
        torch.autograd.grad(
            sum(
                (value * weight.to(value.dtype)).sum()
                for value, weight in zip(values, weights, strict=True)
            ),
            inputs,
        )
        for values, inputs in ((found, found_of), (exact, exact_of))
    ]
    assert all(error(*pair) < tolerance for pair in zip(found, exact, strict=True))
    assert [gradient.dtype for gradient in gradients[0]] == [tensor.dtype for tensor in found_of]
    assert all(error(*pair) < tolerance for pair in zip(*gradients, strict=True))


@pytest.mark.parametrize(
    "hidden, batch, expected",
    [
        (200, 20, (16, 16)),  # 13 * 2 programs
        (256, 64, (16, 16)),  # 16 * 4
        (512, 32, (16, 32)),  # 32 * 1
        (1150, 120, (32, 32)),  # 36 * 4; (16, 32) would need 72 * 4
        (300, 1600, (32, 64)),  # 10 * 25; (32, 32) would need 10 * 50
        (2400, 700, (64, 64)),  # 38 * 11 are too many: programs take several blocks
    ],
)
def test_programs_are_as_small_as_the_processors_allow(hidden, batch, expected):
    assert _program_size(hidden, batch, 264) == expected


@needs_gpu
def test_it_is_what_a_gpu_runs_and_equals_the_readable_path():
    torch.manual_seed(0)
    cell, inputs = LSTMCell(30, 200).cuda(), torch.randn(35, 20, 30, device="cuda")
    state = LSTMState(*torch.randn(2, 20, 200, device="cuda"))
    assert can_run(torch.empty(35, 20, 800, device="cuda"))
    assert not can_run(torch.empty(35, 20, 800, device="cuda", dtype=torch.float64))
    for found, expected in zip(
        _run(run_fused, cell, inputs, state), _run(run_readable, cell, inputs, state), strict=True
    ):
        assert error(found, expected) < 1e-5


def _run(run, cell, inputs, state):
    outputs, last = run(cell, inputs, state)
    return (
        outputs,
        *last,
        *torch.autograd.grad(outputs.square().sum() + last.c.sum(), list(cell.parameters())),
    )


@needs_gpu
def test_autocast_makes_products_of_low_precision_and_keeps_the_state_in_float32():
    torch.manual_seed(0)
    cell, inputs = LSTMCell(30, 64).cuda(), torch.randn(35, 20, 30, device="cuda")
    state = LSTMState(*torch.zeros(2, 20, 64, device="cuda"))
    with torch.autocast("cuda", torch.bfloat16):
        outputs, last = run_fused(cell, inputs, state)
    assert outputs.dtype == torch.bfloat16 and last.h.dtype == last.c.dtype == torch.float32
    assert error(outputs, run_fused(cell, inputs, state)[0]) < 2e-2


@needs_gpu
def test_results_are_the_same_every_time():
    window = a_window(200, 35, 20, True)
    first, second = (run_window(window[0].clone(), *window[1:]) for _ in range(2))
    assert all(torch.equal(*pair) for pair in zip(first, second, strict=True))


@needs_gpu
def test_muon_moves_matrices_together_as_it_would_one_by_one():
    torch.manual_seed(0)
    weights = [
        torch.nn.Parameter(torch.randn(rows, 40, device="cuda")) for rows in (40, 40, 60, 40)
    ]
    twins = [torch.nn.Parameter(weight.detach().clone()) for weight in weights]
    for optimizers, parameters in (
        ([Muon(weights, 0.1)], weights),
        ([Muon([twin], 0.1) for twin in twins], twins),
    ):
        torch.manual_seed(1)
        for _ in range(3):
            for parameter in parameters:
                parameter.grad = torch.randn_like(parameter)
            for optimizer in optimizers:
                optimizer.step()
    assert all(error(*pair) < 1e-5 for pair in zip(weights, twins, strict=True))
