"""An LSTM's window in C equals the readable path, on any number of cores; and runs without it."""

import os
import stat
import subprocess

import pytest
import torch
from torch.nn import functional as F

from lstm_lm.cells import (
    CoupledLSTMCell,
    GRUCell,
    LSTMCell,
    LSTMState,
    PeepholeLSTMCell,
    lacks_compiler,
    run_fused,
    run_readable,
)
from lstm_lm.cells.fast import on_cpu, products

T = 9


def has_gcc():
    """Whether ``cc`` is gcc, which must be able to compile `on_cpu.c`."""
    try:
        version = subprocess.run(["cc", "--version"], capture_output=True, text=True).stdout
    except OSError:
        return False
    return "Free Software Foundation" in version


@pytest.fixture
def anew(monkeypatch, tmp_path):
    """Nothing is compiled yet. Returns the folder of this test that the library will go to."""
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    on_cpu._library.cache_clear()
    yield tmp_path / "lstm_lm"
    on_cpu._library.cache_clear()


@pytest.fixture
def compiled():
    if not on_cpu.is_compiled():
        assert not has_gcc(), "gcc cannot compile on_cpu.c"
        pytest.skip("needs gcc")


@pytest.fixture(params=[1, 2, 3])
def cores(request):
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(1)


def a_case(hidden, batch, keep, masked=False, cell_type=LSTMCell):
    """An LSTM and the other arguments of `run_fused`, with values of about 1."""
    torch.manual_seed(hidden + batch)
    cell, inputs = cell_type(5, hidden), torch.randn(T, batch, 5, requires_grad=True)
    for gate in cell.children():
        torch.nn.init.normal_(gate.recurrent_weight, std=hidden**-0.5)
    for name, vector in cell.named_parameters(recurse=False):
        assert "peephole" in name
        torch.nn.init.normal_(vector)
    state = LSTMState(*(torch.randn(batch, hidden, requires_grad=True) for _ in range(2)))
    masks = {
        name: 2 * torch.bernoulli(torch.full((hidden, hidden), 0.5))
        for name, _ in cell.named_children()
    }
    kept = torch.rand(T, batch) > 0.3 if keep else None
    return cell, inputs, state, masks if masked else None, kept


def outcomes(run, cell, inputs, state, masks, keep, dtype=torch.float32):
    """Outputs, last state, and the gradients of inputs, first state and parameters."""
    torch.manual_seed(0)
    upstream = [torch.randn(*inputs.shape[:2], cell.hidden_size), *torch.randn(2, *state.h.shape)]
    cell, inputs = cell.to(dtype), inputs.to(dtype)
    state = LSTMState(*(part.to(dtype) for part in state))
    masks = masks and {name: mask.to(dtype) for name, mask in masks.items()}
    outputs, last = run(cell, inputs, state, masks, keep)
    found = [outputs, *last]
    gradients = torch.autograd.grad(
        found, [inputs, *state, *cell.parameters()], [d.to(dtype) for d in upstream]
    )
    cell.float()
    return [value.detach() for value in (*found, *gradients)]


def assert_equals_float64(case, hidden, batch):
    """Asserts that float32 differs from the readable path in float64 by rounding alone.

    The rounding errors of n additions in float32 add up like a random walk: to about u sqrt(n) of
    the values' size, with u = 2^-24. A value passes through about 16 operations per word and the
    sums of two products (4 H terms); a parameter's gradient is also a sum over all T B rows. The
    largest error was 1.7 u sqrt(n) (two seeds, one and three cores, an AMD EPYC processor). A word
    of one sequence that is wrong by a share of its size changes a gradient by that share over
    sqrt(T B), which is thousands of times more.
    """
    exact = outcomes(run_readable, *case, dtype=torch.float64)
    found = outcomes(run_fused, *case)
    for k, (value, expected) in enumerate(zip(found, exact, strict=True)):
        additions = 16 * T + 4 * hidden
        if k >= 6:  # after outputs, h, c, and the gradients of inputs, h and c
            additions += T * batch
        tolerance = 4 * 2**-24 * additions**0.5
        size = max(0.5, float(expected.square().mean().sqrt()))  # a single value may be near 0
        torch.testing.assert_close(value.double(), expected, rtol=tolerance, atol=tolerance * size)


@pytest.mark.parametrize("masked, keep", [(False, False), (True, True)])
@pytest.mark.parametrize(
    "hidden, batch",
    [(1, 1), (13, 3), (16, 1)]
    + [
        pytest.param(*sizes, marks=pytest.mark.slow)
        for sizes in ((37, 20), (70, 7), (130, 13), (5, 200), (370, 9))
    ],
)
def test_a_window_equals_the_readable_path_in_every_gradient(
    compiled, cores, hidden, batch, masked, keep
):
    assert_equals_float64(a_case(hidden, batch, keep, masked=masked), hidden, batch)


@pytest.mark.parametrize("cell_type", [CoupledLSTMCell, PeepholeLSTMCell])
@pytest.mark.parametrize("hidden, batch", [(1, 1), (16, 1), (37, 20), (130, 13), (5, 200)])
def test_an_lstm_s_kin_equal_their_readable_path(compiled, cores, cell_type, hidden, batch):
    case = a_case(hidden, batch, True, masked=True, cell_type=cell_type)
    assert_equals_float64(case, hidden, batch)


def test_tensors_that_lie_otherwise_in_memory(compiled):
    cell, inputs, state, _, keep = a_case(13, 5, keep=True)
    upstream = torch.randn(T, 5, 13), torch.randn(5, 13), torch.randn(5, 13)
    found = []
    for turn in (torch.Tensor.clone, lambda tensor: tensor.mT.contiguous().mT):
        outputs, last = run_fused(
            cell, turn(inputs), LSTMState(*map(turn, state)), None, turn(keep)
        )
        found.append(
            [
                outputs,
                *torch.autograd.grad([outputs, *last], [inputs, *state], list(map(turn, upstream))),
            ]
        )
    torch.testing.assert_close(*found)


def test_it_is_what_runs(compiled, monkeypatch):
    ran = []
    for name in ("forward", "backward"):
        loop = getattr(on_cpu, name)
        monkeypatch.setattr(
            on_cpu, name, lambda *tensors, name=name, loop=loop: ran.append(name) or loop(*tensors)
        )
    for cell_type in (CoupledLSTMCell, PeepholeLSTMCell, LSTMCell):
        ran.clear()
        case = a_case(13, 3, keep=True, cell_type=cell_type)
        outcomes(run_fused, *case)
        assert ran == ["forward", "backward"]
    assert not lacks_compiler(case[0])
    outcomes(run_fused, *case, dtype=torch.float64)
    short = case[1][: on_cpu.MIN_WORDS - 1]
    run_fused(case[0], short, case[2])
    assert ran == ["forward", "backward"]


def test_wide_layers_in_low_precision_go_by_operators(compiled, monkeypatch):
    monkeypatch.setattr(on_cpu, "MIN_BFLOAT16_WEIGHTS_FOR_ONEDNN", 4 * 13 * 13)
    gates, state = torch.zeros(T, 3, 52), torch.zeros(2, 3, 13)
    assert on_cpu.can_run(gates, torch.zeros(52, 13), *state, None, None)
    assert not on_cpu.can_run(gates, torch.zeros(52, 13).bfloat16(), *state, None, None)
    narrow, narrow_state = torch.zeros(48, 12).bfloat16(), state[..., :12]
    assert on_cpu.can_run(torch.zeros(T, 3, 48), narrow, *narrow_state, None, None)
    assert not on_cpu.can_run(gates[..., :48], narrow, *narrow_state, None, None)  # not contiguous


# The last one has more weights than a core's cache holds.
@pytest.mark.parametrize("hidden, batch", [(37, 20), (70, 1), (370, 50)])
def test_cores_change_no_bit(compiled, hidden, batch):
    torch.manual_seed(0)
    added = torch.randn(T, batch, 4 * hidden)
    recurrent = torch.randn(4 * hidden, hidden) / hidden**0.5
    first, peepholes = torch.randn(T + 1, batch, hidden), torch.randn(3, hidden)
    keep, found = (torch.rand(T, batch, 1) > 0.3).float(), []
    for cores in (1, 2, 5):
        torch.set_num_threads(cores)
        gates, h, c = added.clone(), first.clone(), first.clone()
        d_gates, d_c = torch.empty_like(gates), first[1].clone()
        on_cpu.forward(gates, recurrent, h, c, peepholes, keep)
        on_cpu.backward(h[1:], recurrent, gates, c, peepholes, keep, d_gates, d_c)
        found.append((gates, h, c, d_gates, d_c))
    torch.set_num_threads(1)
    assert all(
        torch.equal(one, other)
        for others in found[1:]
        for one, other in zip(found[0], others, strict=True)
    )


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    "depth, columns", [(1, 1), (13, 70), (on_cpu.CHUNK_ROWS + 5, 37), (600, 16)]
)
def test_products_of_many_rows(compiled, cores, depth, columns, bias, monkeypatch):
    monkeypatch.setattr(on_cpu, "is_mkl_faster", lambda: False)
    torch.manual_seed(depth)
    shapes = ((4, products.MIN_ROWS_FOR_BLOCKED_PRODUCT // 4, depth), (columns, depth), (columns,))[
        : 3 if bias else 2
    ]
    tensors = [torch.randn(*shape, requires_grad=True) for shape in shapes]
    upstream = torch.randn(4, products.MIN_ROWS_FOR_BLOCKED_PRODUCT // 4, columns)
    assert products.use_blocks(tensors[0], tensors[1]) and not products.use_blocks(
        tensors[0][:3], tensors[1]
    )
    found = []
    for linear in (products.linear, F.linear):
        made = linear(*tensors)
        found.append([made, *torch.autograd.grad(made, tensors, upstream)])
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-4)
    turned = on_cpu.multiply(upstream.flatten(0, 1).T, tensors[0].detach().flatten(0, 1))
    torch.testing.assert_close(turned, found[1][2], rtol=1e-5, atol=1e-4)


def test_a_single_row_of_many_products_is_the_same(monkeypatch):
    monkeypatch.setattr(on_cpu, "is_mkl_faster", lambda: False)
    torch.manual_seed(0)
    weight = torch.randn(products.MIN_WEIGHTS_FOR_ROW_BY_ONEDNN // 16, 16)
    row, bias = torch.randn(1, 16), torch.randn(len(weight))
    torch.testing.assert_close(products.linear(row, weight, bias), F.linear(row, weight, bias))
    weight.requires_grad_()
    assert products.linear(row, weight, bias).requires_grad
    tensors = [tensor.requires_grad_() for tensor in (row, weight, bias)]
    upstream = torch.randn(1, len(bias))
    torch.testing.assert_close(
        *(
            torch.autograd.grad(linear(*tensors), tensors, upstream)
            for linear in (products.linear, F.linear)
        ),
        rtol=1e-5,
        atol=1e-4,
    )


def test_intels_own_library_makes_the_products_on_intels_processors(compiled, monkeypatch):
    rows, weight = torch.randn(products.MIN_ROWS_FOR_BLOCKED_PRODUCT, 6), torch.randn(4, 6)
    row, large = torch.randn(1, 16), torch.randn(products.MIN_WEIGHTS_FOR_ROW_BY_ONEDNN // 16, 16)
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    asked = []
    monkeypatch.setattr(
        products, "_by_onednn", lambda *product: asked.append(product) or F.linear(*product)
    )
    for by_intel in (False, True):
        monkeypatch.setattr(on_cpu, "_is_intel", lambda library, found=by_intel: found)
        assert products.use_blocks(rows, weight) != by_intel
        products.linear(row, large)
        assert len(asked) == 1
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: False)
    assert products.use_blocks(rows, weight)


@pytest.mark.parametrize("is_mkl_faster", [False, True])
def test_shapes_that_do_not_fit_are_refused(compiled, is_mkl_faster, monkeypatch):
    monkeypatch.setattr(on_cpu, "is_mkl_faster", lambda: is_mkl_faster)
    rows, weight = torch.randn(products.MIN_ROWS_FOR_BLOCKED_PRODUCT, 6), torch.randn(4, 5)
    narrow = rows[:, :5]
    for wrong in (
        (rows, weight),
        (narrow, weight, torch.zeros(3)),
        (narrow, weight, torch.zeros(4).double()),
    ):
        with pytest.raises(RuntimeError):
            products.linear(*wrong)
    cell, inputs, state, _, keep = a_case(13, 5, keep=True)
    for h, c, kept in (
        (state.h[:2], state.c[:2], keep),
        (state.h[:, :7], state.c, None),
        (*state, keep[:, :2]),
    ):
        with pytest.raises(RuntimeError):
            run_fused(cell, inputs, LSTMState(h.detach(), c.detach()), None, kept)


@pytest.mark.slow
@pytest.mark.parametrize("instructions", ["AVX512", "AVX2", "DEFAULT"])
def test_registers_of_every_width(compiled, anew, instructions, monkeypatch):
    """Compiles for every instruction set up to that of this CPU, which torch names."""
    widths = ["DEFAULT", "AVX2", "AVX512"]
    here = torch.backends.cpu.get_cpu_capability()
    if here not in widths or widths.index(here) < widths.index(instructions):
        pytest.skip(f"this CPU has {here}")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: instructions)
    assert on_cpu.is_compiled()
    # One piece of the weights and one group of sequences; then several.
    for hidden, batch in ((37, 20), (130, 100)):
        assert_equals_float64(a_case(hidden, batch, keep=True), hidden, batch)


def test_gates_at_the_ends_of_the_range(compiled):
    added = torch.tensor(
        [-1e30, -200.0, -20.0, -1e-7, 0.0, 1e-7, 20.0, 200.0, 1e30, float("nan"), float("inf")]
    )
    gates = added.repeat_interleave(4).view(1, 11, 4).repeat(T, 1, 1)
    h, c = torch.zeros(T + 1, 11, 1), torch.zeros(T + 1, 11, 1)
    on_cpu.forward(gates, torch.zeros(4, 1), h, c, None, None)
    expected = torch.sigmoid(added.double()).float()
    torch.testing.assert_close(gates[0, :, 0], expected, rtol=1e-6, atol=1e-37, equal_nan=True)
    torch.testing.assert_close(
        gates[0, :, 2], 2 * expected - 1, rtol=1e-6, atol=2e-7, equal_nan=True
    )
    assert all(torch.equal(word.flatten().isnan(), added.isnan()) for word in (*h[1:], *c[1:]))


@pytest.mark.parametrize("compiler", ["false", "true", "no-such-compiler", "'"])
def test_without_a_compiler_it_runs_operator_by_operator(anew, compiler, monkeypatch):
    monkeypatch.setenv("CC", compiler)
    assert not on_cpu.is_compiled()
    for cell_type in (LSTMCell, CoupledLSTMCell, PeepholeLSTMCell, GRUCell):
        assert lacks_compiler(cell_type(3, 5)) == (cell_type is not GRUCell)
    assert not on_cpu.can_run(
        torch.zeros(T, 3, 52), torch.zeros(52, 13), *torch.zeros(2, 3, 13), None, None
    )
    case = a_case(13, 3, keep=True)
    for found, expected in zip(
        outcomes(run_fused, *case), outcomes(run_readable, *case), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert not anew.exists() or not [file for file in anew.iterdir() if file.suffix != ".so"]


def test_with_nowhere_to_put_the_library_it_goes_without(anew):
    anew.write_text("a file is in the folder's place")
    assert not on_cpu.is_compiled()


@pytest.mark.slow
def test_it_is_compiled_once(compiled, anew, monkeypatch):
    assert on_cpu.is_compiled()
    [library] = anew.iterdir()
    assert library.suffix == ".so" and library.stat().st_mode & stat.S_IRUSR
    written = library.stat().st_mtime_ns
    on_cpu._library.cache_clear()
    monkeypatch.setattr(
        on_cpu.subprocess, "run", lambda *command, **options: pytest.fail("compiled again")
    )
    assert (
        on_cpu.is_compiled()
        and os.listdir(anew) == [library.name]
        and library.stat().st_mtime_ns == written
    )
