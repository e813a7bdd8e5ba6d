"""Laws of the cells: equal to torch's, identity of every gate, fused equals readable, carried state."""

import pytest
import torch
from torch import nn

from lstm_lm.cells import (
    ElmanCell,
    GRUCell,
    LSTMCell,
    LSTMState,
    from_torch_lstm,
    fused,
    run_fused,
    run_readable,
    to_torch_lstm,
)
from lstm_lm.cells.fast import on_cpu, products

CELLS = [LSTMCell, GRUCell, ElmanCell]
TORCH_CELLS = {LSTMCell: nn.LSTMCell, GRUCell: nn.GRUCell, ElmanCell: nn.RNNCell}
TORCH_GATES = {
    LSTMCell: ("input_gate", "forget_gate", "candidate", "output_gate"),
    GRUCell: ("reset_gate", "update_gate", "candidate"),
    ElmanCell: ("candidate",),
}
E, H, B, T = 3, 5, 4, 10
double = {"dtype": torch.float64}


def random_cell(cell_type, seed=0):
    torch.manual_seed(seed)
    cell = cell_type(E, H).double()
    for parameter in cell.parameters():
        nn.init.normal_(parameter, std=0.5)
    return cell


def random_state(requires_grad=False):
    return LSTMState(*(torch.randn(B, H, **double, requires_grad=requires_grad) for _ in range(2)))


def stacked(cell, name):
    return torch.cat([getattr(getattr(cell, gate), name) for gate in TORCH_GATES[type(cell)]])


@pytest.mark.parametrize("cell_type", CELLS)
def test_equals_torch_in_output_and_every_gradient(cell_type):
    cell = random_cell(cell_type)
    oracle = TORCH_CELLS[cell_type](E, H).double()
    with torch.no_grad():
        oracle.weight_ih.copy_(stacked(cell, "input_weight"))
        oracle.weight_hh.copy_(stacked(cell, "recurrent_weight"))
        oracle.bias_ih.copy_(stacked(cell, "bias"))
        oracle.bias_hh.zero_()
        if cell_type is GRUCell:
            oracle.bias_hh[2 * H :] = cell.candidate_state_bias
    x, state = torch.randn(B, E, **double, requires_grad=True), random_state(requires_grad=True)
    ours = cell(x, state)
    theirs = oracle(x, tuple(state) if cell_type is LSTMCell else state.h)
    theirs = theirs if cell_type is LSTMCell else (theirs, theirs)
    torch.testing.assert_close(tuple(ours), theirs)
    inputs = [x, state.h] + ([state.c] if cell_type is LSTMCell else [])
    upstream = [torch.randn(B, H, **double) for _ in range(2)]
    weights = [p for gate in TORCH_GATES[cell_type] for p in getattr(cell, gate).parameters()]
    grads = torch.autograd.grad(ours, inputs + weights, upstream)
    oracle_grads = torch.autograd.grad(theirs, inputs + list(oracle.parameters()), upstream)
    torch.testing.assert_close(grads[: len(inputs)], oracle_grads[: len(inputs)])
    for k in range(3):  # input weights, recurrent weights, biases
        torch.testing.assert_close(
            torch.cat(grads[len(inputs) + k :: 3]), oracle_grads[len(inputs) + k]
        )


@pytest.mark.parametrize(
    "gate, bias, expected",
    [
        ("forget_gate", 50.0, lambda c, f, i, g, o: c + i * g),
        ("forget_gate", -50.0, lambda c, f, i, g, o: i * g),
        ("input_gate", 50.0, lambda c, f, i, g, o: f * c + g),
        ("input_gate", -50.0, lambda c, f, i, g, o: f * c),
        ("candidate", 50.0, lambda c, f, i, g, o: f * c + i),
        ("candidate", -50.0, lambda c, f, i, g, o: f * c - i),
    ],
)
def test_a_saturated_gate_does_what_its_name_says(gate, bias, expected):
    cell, state, x = random_cell(LSTMCell), random_state(), torch.randn(B, E, **double)
    nn.init.constant_(getattr(cell, gate).bias, bias * 10)
    f, i, o = (
        torch.sigmoid(getattr(cell, name)(x, state.h))
        for name in ("forget_gate", "input_gate", "output_gate")
    )
    g = torch.tanh(cell.candidate(x, state.h))
    torch.testing.assert_close(cell(x, state).c, expected(state.c, f, i, g, o))


@pytest.mark.parametrize("bias, share", [(500.0, 1.0), (-500.0, 0.0)])
def test_a_saturated_output_gate_shows_all_or_nothing(bias, share):
    cell, state, x = random_cell(LSTMCell), random_state(), torch.randn(B, E, **double)
    nn.init.constant_(cell.output_gate.bias, bias)
    after = cell(x, state)
    torch.testing.assert_close(after.h, share * torch.tanh(after.c))


def test_a_saturated_update_gate_keeps_and_an_open_one_replaces():
    cell, state, x = random_cell(GRUCell), random_state(), torch.randn(B, E, **double)
    nn.init.constant_(cell.update_gate.bias, 500.0)
    torch.testing.assert_close(cell(x, state).h, state.h)
    nn.init.constant_(cell.update_gate.bias, -500.0)
    nn.init.constant_(cell.reset_gate.bias, -500.0)
    torch.testing.assert_close(cell(x, state).h, torch.tanh(cell.candidate.from_input(x)))


def masks_for(cell):
    torch.manual_seed(3)
    return {
        name: torch.bernoulli(torch.full((H, H), 0.5, **double)) * 2
        for name, _ in cell.named_children()
    }


def some_kept():
    """``(T, B)``: some states are let go before the first word, in the middle, and before the last."""
    keep = torch.ones(T, B, dtype=torch.bool)
    keep[0, 1] = keep[2, 0] = keep[2, 1] = keep[-1, -1] = False
    return keep


@pytest.fixture(params=[True, False], ids=["few words", "many words"])
def few_words(request, monkeypatch):
    """Whether a window counts as one of few words, whose input products are made gate by gate."""
    monkeypatch.setattr(fused, "MANY_ROWS", 10**9 if request.param else 0)


@pytest.mark.parametrize("keep", [None, some_kept()])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("cell_type", CELLS)
def test_fused_equals_readable_in_outputs_state_and_every_gradient(
    cell_type, masked, keep, few_words
):
    cell = random_cell(cell_type)
    masks = masks_for(cell) if masked else None
    inputs = torch.randn(T, B, E, **double, requires_grad=True)
    state = random_state(requires_grad=True)
    upstream = [torch.randn(T, B, H, **double)] + [torch.randn(B, H, **double) for _ in range(2)]
    results = []
    for run in (run_readable, run_fused):
        outputs, last = run(cell, inputs, state, masks, keep)
        grads = torch.autograd.grad(
            [outputs, *last], [inputs, *state, *cell.parameters()], upstream, allow_unused=True
        )
        results.append([outputs, *last, *(grad for grad in grads if grad is not None)])
    assert len(results[0]) == len(results[1])
    torch.testing.assert_close(results[0], results[1])


@pytest.mark.parametrize("cell_type", CELLS)
def test_fused_gradients_are_the_functions_own(cell_type, few_words):
    cell = random_cell(cell_type)
    inputs, state = torch.randn(3, 2, E, **double, requires_grad=True), random_state()
    state = LSTMState(*(s[:2].clone().requires_grad_() for s in state))
    names = [name for name, _ in cell.named_parameters()]

    def run(inputs, h, c, *parameters):
        return torch.func.functional_call(
            Fused(cell),
            {f"cell.{name}": value for name, value in zip(names, parameters, strict=True)},
            (inputs, h, c),
        )

    assert torch.autograd.gradcheck(run, (inputs, *state, *cell.parameters()))


class Fused(nn.Module):
    def __init__(self, cell):
        super().__init__()
        self.cell = cell

    def forward(self, inputs, h, c):
        outputs, last = run_fused(self.cell, inputs, LSTMState(h, c))
        return outputs, *last


def outcomes(cell, inputs, *run_each):
    """Of each way to run a cell over float32 inputs: outputs, last state and all gradients."""
    torch.manual_seed(1)
    upstream = torch.randn(*inputs.shape[:2], H)
    h, c = (torch.randn(inputs.shape[1], H, requires_grad=True) for _ in range(2))
    wanted = [inputs, h, *([c] if type(cell) is LSTMCell else []), *cell.parameters()]
    found = []
    for run in run_each:
        outputs, last = run(cell, inputs, LSTMState(h, c))
        found.append(
            [
                outputs,
                *last,
                *torch.autograd.grad((outputs * upstream).sum() + last.c.sum(), wanted),
            ]
        )
    return found


@pytest.mark.parametrize("has_avx512", [True, False])
@pytest.mark.parametrize("cell_type", CELLS)
def test_packed_weights_change_nothing(cell_type, has_avx512, monkeypatch):
    """float32 on a CPU multiplies large matrices packed, by one library or the other; the function is the same."""
    if not (torch.backends.mkldnn if has_avx512 else torch.backends.mkl).is_available():
        pytest.skip("this build of torch lacks the library")
    packed = []
    kind, name = (
        (torch.ops.mkldnn, "_reorder_linear_weight")
        if has_avx512
        else (torch.ops.mkl, "_mkl_reorder_linear_weight")
    )
    pack = getattr(kind, name)
    monkeypatch.setattr(kind, name, lambda *arguments: packed.append(arguments) or pack(*arguments))
    monkeypatch.setattr(products, "PACKED_FROM", 0)
    monkeypatch.setattr(products, "_has_avx512", lambda: has_avx512)
    monkeypatch.setattr(on_cpu, "can_run", lambda *tensors: False)
    cell = random_cell(cell_type).float()
    inputs = torch.randn(products.MANY_WORDS, B, E, requires_grad=True)
    torch.testing.assert_close(
        *outcomes(cell, inputs, run_readable, run_fused), rtol=1e-4, atol=1e-4
    )
    assert len(packed) == 2  # forth and back


@pytest.mark.parametrize("cell_type", CELLS)
def test_autocast_is_close_and_keeps_states_and_gradients_precise(cell_type, few_words):
    def run_low(*arguments):
        with torch.autocast("cpu", torch.bfloat16):
            return run_fused(*arguments)

    cell = random_cell(cell_type).float()
    precise, low = outcomes(cell, torch.randn(T, B, E, requires_grad=True), run_fused, run_low)
    for one, other in zip(precise, low, strict=True):
        assert other.dtype == torch.float32 and 0 < (one - other).norm() < 0.03 * one.norm()


@pytest.mark.parametrize("run", [run_readable, run_fused])
@pytest.mark.parametrize("cell_type", CELLS)
def test_where_a_state_is_not_kept_a_row_begins_anew(cell_type, run):
    cell, inputs, state = random_cell(cell_type), torch.randn(T, B, E, **double), random_state()
    keep = torch.ones(T, B)
    keep[4, 1] = 0
    outputs, last = run(cell, inputs, state, None, keep)
    carried, _ = run(cell, inputs, state)
    anew, last_anew = run(cell, inputs[4:], LSTMState(*(torch.zeros_like(part) for part in state)))
    torch.testing.assert_close(outputs[4:, 1], anew[:, 1])
    torch.testing.assert_close((last.h[1], last.c[1]), (last_anew.h[1], last_anew.c[1]))
    others = [row for row in range(B) if row != 1]
    torch.testing.assert_close(outputs[:, others], carried[:, others])
    torch.testing.assert_close(outputs[:4], carried[:4])


@pytest.mark.parametrize("run", [run_readable, run_fused])
@pytest.mark.parametrize("cell_type", CELLS)
def test_a_window_equals_its_steps_and_its_halves_with_carried_state(cell_type, run):
    cell, inputs, state = random_cell(cell_type), torch.randn(T, B, E, **double), random_state()
    whole, last = run(cell, inputs, state)
    first, carried = run(cell, inputs[:5], state)
    second, last_of_halves = run(cell, inputs[5:], carried.detach())
    torch.testing.assert_close(whole, torch.cat([first, second]))
    torch.testing.assert_close(tuple(last), tuple(last_of_halves))
    step = state
    for t in range(T):
        step = cell(inputs[t], step)
        torch.testing.assert_close(whole[t], step.h)


@pytest.mark.parametrize("num_layers", [1, 3])
def test_conversion_from_and_to_torch_keeps_the_function(num_layers):
    torch.manual_seed(0)
    lstm = nn.LSTM(E, H, num_layers).double()
    inputs = torch.randn(T, B, E, **double)
    expected, (h, c) = lstm(inputs)
    cells = from_torch_lstm(lstm)
    back = to_torch_lstm(cells)
    outputs = inputs
    for layer, cell in enumerate(cells):
        outputs, last = run_readable(cell, outputs, LSTMState(*torch.zeros(2, B, H, **double)))
        torch.testing.assert_close(tuple(last), (h[layer], c[layer]))
    torch.testing.assert_close(outputs, expected)
    torch.testing.assert_close(back(inputs)[0], expected)


def test_conversion_refuses_what_it_cannot_hold():
    with pytest.raises(ValueError, match="one-directional"):
        from_torch_lstm(nn.LSTM(E, H, bidirectional=True))
    with pytest.raises(ValueError, match="one hidden_size"):
        to_torch_lstm([LSTMCell(E, H), LSTMCell(H, H + 1)])


def test_a_new_lstm_remembers_by_default():
    assert torch.all(LSTMCell(E, H).forget_gate.bias == 1)
    weight = LSTMCell(E, H).forget_gate.recurrent_weight
    torch.testing.assert_close(weight @ weight.T, torch.eye(H))
