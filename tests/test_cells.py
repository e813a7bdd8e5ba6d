"""Laws of the cells: equal to torch's cells, what each gate does, fused equals readable, states."""

import math

import pytest
import torch
from torch import nn

from lstm_lm.cells import (
    Cell,
    CoupledLSTMCell,
    ElmanCell,
    GateLayer,
    GRUCell,
    HiddenState,
    InputLayer,
    LSTMCell,
    LSTMState,
    MinGRUCell,
    MinLSTMCell,
    MogrifierLSTMCell,
    PeepholeLSTMCell,
    SLSTMCell,
    SLSTMState,
    find_cell,
    from_torch_lstm,
    fused,
    register_cell,
    run_fused,
    run_readable,
    states_over,
    to_torch_lstm,
)
from lstm_lm.cells.fast import on_cpu, products
from lstm_lm.cells.registry import check_cell
from lstm_lm.config import config_from_dict, settings
from lstm_lm.errors import InputError
from tests.cell_equations import step_by_hand

CELLS = [find_cell(name) for name in settings.CELLS]
RECURRENT = [cell for cell in CELLS if cell not in (MinGRUCell, MinLSTMCell)]
FORGETFUL = [ElmanCell]  # no gate keeps anything
TORCH_CELLS = {LSTMCell: nn.LSTMCell, GRUCell: nn.GRUCell, ElmanCell: nn.RNNCell}
TORCH_GATES = {
    LSTMCell: ("input_gate", "forget_gate", "candidate", "output_gate"),
    GRUCell: ("reset_gate", "update_gate", "candidate"),
    ElmanCell: ("candidate",),
}
E, H, B, T = 3, 5, 4, 10
SMALL = {MogrifierLSTMCell: {"mogrifier_rank": 2}}
double = {"dtype": torch.float64}


def random_cell(cell_type, seed=0):
    torch.manual_seed(seed)
    cell = cell_type(E, H, **SMALL.get(cell_type, {})).double()
    for parameter in cell.parameters():
        nn.init.normal_(parameter, std=0.5)
    return cell


def random_state(cell, requires_grad=False, batch=B):
    zeros = cell.zero_state(batch)
    state = type(zeros)(*map(torch.randn_like, zeros))
    if type(state) is SLSTMState:  # its normaliser is at least 1 after a word
        state = state._replace(n=1 + state.n.square())
    return type(state)(*(part.requires_grad_(requires_grad) for part in state))


def stacked(cell, name):
    return torch.cat([getattr(getattr(cell, gate), name) for gate in TORCH_GATES[type(cell)]])


@pytest.mark.parametrize("cell_type", TORCH_CELLS)
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
    x = torch.randn(B, E, **double, requires_grad=True)
    state = random_state(cell, requires_grad=True)
    ours = cell(x, state)
    theirs = oracle(x, tuple(state)) if cell_type is LSTMCell else (oracle(x, state.h),)
    torch.testing.assert_close(tuple(ours), theirs)
    inputs = [x, *state]
    upstream = [torch.randn(B, H, **double) for _ in state]
    weights = [p for gate in TORCH_GATES[cell_type] for p in getattr(cell, gate).parameters()]
    grads = torch.autograd.grad(ours, inputs + weights, upstream)
    oracle_grads = torch.autograd.grad(theirs, inputs + list(oracle.parameters()), upstream)
    torch.testing.assert_close(grads[: len(inputs)], oracle_grads[: len(inputs)])
    for k in range(3):  # input weights, recurrent weights, biases
        torch.testing.assert_close(
            torch.cat(grads[len(inputs) + k :: 3]), oracle_grads[len(inputs) + k]
        )


@pytest.mark.parametrize("run", [run_readable, run_fused])
@pytest.mark.parametrize("cell_type", CELLS)
def test_equals_the_equations_of_its_paper_in_outputs_state_and_every_gradient(cell_type, run):
    cell, inputs = random_cell(cell_type), torch.randn(T, B, E, **double, requires_grad=True)
    state = random_state(cell, requires_grad=True)
    upstream = [torch.randn(T, B, H, **double), *(torch.randn(B, H, **double) for _ in state)]
    leaves, by_hand, after = [inputs, *state, *cell.parameters()], [], state
    for x in inputs:
        _, after = step_by_hand(cell, x, after)
        by_hand.append(after.h)
    outputs, last = run(cell, inputs, state)
    found, expected = [outputs, *last], [torch.stack(by_hand), *after]
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(
        torch.autograd.grad(found, leaves, upstream),
        torch.autograd.grad(expected, leaves, upstream),
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
    cell, x = random_cell(LSTMCell), torch.randn(B, E, **double)
    state = random_state(cell)
    saturate(cell, gate, bias * 10)
    f, i, o = (
        torch.sigmoid(getattr(cell, name)(x, state.h))
        for name in ("forget_gate", "input_gate", "output_gate")
    )
    g = torch.tanh(cell.candidate(x, state.h))
    torch.testing.assert_close(cell(x, state).c, expected(state.c, f, i, g, o))


def saturate(cell, gate, bias):
    nn.init.constant_(getattr(cell, gate).bias, bias)


@pytest.mark.parametrize("bias, share", [(500.0, 1.0), (-500.0, 0.0)])
@pytest.mark.parametrize(
    "cell_type",
    [LSTMCell, CoupledLSTMCell, PeepholeLSTMCell, SLSTMCell, MogrifierLSTMCell],
)
def test_a_saturated_output_gate_shows_all_or_nothing(cell_type, bias, share):
    cell, x = random_cell(cell_type), torch.randn(B, E, **double)
    state = random_state(cell)
    saturate(cell, "output_gate", bias)
    after = cell(x, state)
    shown = after.c if cell_type is SLSTMCell else torch.tanh(after.c)
    torch.testing.assert_close(after.h, share * shown)


def test_a_saturated_update_gate_keeps_and_an_open_one_replaces():
    cell, x = random_cell(GRUCell), torch.randn(B, E, **double)
    state = random_state(cell)
    saturate(cell, "update_gate", 500.0)
    torch.testing.assert_close(cell(x, state).h, state.h)
    saturate(cell, "update_gate", -500.0)
    saturate(cell, "reset_gate", -500.0)
    torch.testing.assert_close(cell(x, state).h, torch.tanh(cell.candidate.from_input(x)))


@pytest.mark.parametrize(
    "cell_type, gate, bias, replaces",
    [
        (CoupledLSTMCell, "forget_gate", 500.0, False),
        (CoupledLSTMCell, "forget_gate", -500.0, True),
        (SLSTMCell, "forget_gate", -500.0, True),
        (SLSTMCell, "input_gate", -500.0, False),
        (SLSTMCell, "input_gate", 500.0, True),
        (MinGRUCell, "update_gate", 500.0, False),
        (MinGRUCell, "update_gate", -500.0, True),
        (MinLSTMCell, "forget_gate", -500.0, True),
        (MinLSTMCell, "input_gate", -500.0, False),
    ],
)
def test_a_saturated_gate_keeps_or_replaces_the_memory(cell_type, gate, bias, replaces):
    cell, x = random_cell(cell_type), torch.randn(B, E, **double)
    state = random_state(cell)
    saturate(cell, gate, bias)
    candidate = cell.activations(x, state)["candidate"]
    torch.testing.assert_close(cell(x, state)[-1], candidate if replaces else state[-1])
    found = cell.activations(x, state)[cell.keep_gate]
    torch.testing.assert_close(found, torch.full_like(found, float(not replaces)))


def test_an_slstm_s_open_forget_gate_takes_the_mean_of_all_candidates():
    cell, inputs = random_cell(SLSTMCell), torch.randn(T, B, E, **double)
    saturate(cell, "forget_gate", 500.0)
    for part in (cell.input_gate.input_weight, cell.input_gate.recurrent_weight):
        nn.init.zeros_(part)  # all words have the same weight
    states = states_over(cell, inputs, cell.zero_state(B))
    before = [cell.zero_state(B), *states[:-1]]
    candidates = [
        cell.activations(x, state)["candidate"] for x, state in zip(inputs, before, strict=True)
    ]
    torch.testing.assert_close(states[-1].c, torch.stack(candidates).mean(0))
    torch.testing.assert_close(states[-1].n, torch.full((B, H), float(T), **double))


@pytest.mark.parametrize("run", [run_readable, run_fused])
@pytest.mark.parametrize("log_i", [-1e4, -200.0, 200.0, 1e4])
def test_an_slstm_s_input_gate_may_be_too_large_or_small_for_a_float(log_i, run):
    """A common factor of all input gates changes nothing, even where exp overflows."""
    cell, inputs = random_cell(SLSTMCell).float(), torch.randn(T, B, E)
    results = []
    for added in (0.0, log_i):
        with torch.no_grad():
            cell.input_gate.bias.fill_(added)
        outputs, last = run(cell, inputs, cell.zero_state(B), None, some_kept())
        gradients = torch.autograd.grad(outputs.square().sum(), list(cell.parameters()))
        assert last.n.min() >= 1 and all(part.isfinite().all() for part in (*last, *gradients))
        results.append([outputs, last.n, last.c, last.m - added, *gradients])
    tolerance = 4 * abs(log_i) * 2**-23  # of m, and so of exp(m)
    torch.testing.assert_close(*results, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("run", [run_readable, run_fused])
def test_a_minlstm_divides_gates_that_are_too_small_for_a_float(run):
    cell, inputs = random_cell(MinLSTMCell).float(), torch.randn(T, B, E)
    results = []
    for bias in (-20.0, -200.0):  # f and i are exp of their pre-activations, but for exp(-20)
        for gate in ("forget_gate", "input_gate"):
            saturate(cell, gate, bias)
        results.append(run(cell, inputs, cell.zero_state(B))[0])
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("gate", ["forget", "input", "output"])
def test_a_peephole_opens_its_gate_where_the_cell_state_is_large(gate):
    cell, x = random_cell(PeepholeLSTMCell), torch.randn(B, E, **double)
    state = random_state(cell)
    plain = {name: peephole for name, peephole in cell.named_parameters() if "peephole" in name}
    for peephole in plain.values():
        nn.init.zeros_(peephole)
    lstm = random_cell(LSTMCell)
    lstm.load_state_dict(cell.state_dict(), strict=False)
    torch.testing.assert_close(tuple(cell(x, state)), tuple(lstm(x, state)), rtol=0, atol=0)
    nn.init.constant_(plain[f"{gate}_gate_peephole"], 1e4)
    seen = cell(x, state).c if gate == "output" else state.c
    found = cell.activations(x, state)[f"{gate}_gate"]
    torch.testing.assert_close(found, (seen > 0).double(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("run", [run_readable, run_fused])
@pytest.mark.parametrize("rounds", range(7))
def test_a_mogrifier_of_any_number_of_rounds_is_an_lstm_of_what_it_modulates(rounds, run):
    """Without rounds it is the LSTM, bit for bit; so is one whose rounds have no weights."""
    torch.manual_seed(0)
    cell = MogrifierLSTMCell(E, H, None, rounds, 2).double()
    lstm = LSTMCell(E, H).double()
    lstm.load_state_dict(cell.state_dict(), strict=False)
    assert len(cell.state_dict()) == len(lstm.state_dict()) + 3 * rounds
    inputs, state = torch.randn(T, B, E, **double), random_state(cell)
    expected, _ = run_readable(lstm, inputs, state)
    found, _ = run(cell, inputs, state)
    if rounds:
        assert (found - expected).abs().max() > 1e-3
    elif run is run_readable:
        assert torch.equal(found, expected)
    with torch.no_grad():
        for modulation in cell.rounds:
            modulation.up.zero_()
    torch.testing.assert_close(run(cell, inputs, state)[0], expected)
    with torch.no_grad():
        for number, modulation in enumerate(cell.rounds):
            modulation.bias.fill_(500.0 if number < 2 else 0.0)  # the first of x and of h: doubled
    doubled = states_over(
        lambda x, state: lstm(
            x * (1 + (rounds > 0)), state._replace(h=state.h * (1 + (rounds > 1)))
        ),
        inputs,
        state,
    )
    torch.testing.assert_close(
        run(cell, inputs, state)[0], torch.stack([after.h for after in doubled])
    )


@pytest.mark.parametrize("rounds", [0, 1, 2, 6])
def test_a_fused_mogrifier_equals_the_readable_one_in_every_gradient(rounds):
    torch.manual_seed(0)
    cell = MogrifierLSTMCell(E, H, None, rounds, 2).double()
    inputs = torch.randn(T, B, E, **double, requires_grad=True)
    state = random_state(cell, requires_grad=True)
    results = []
    for run in (run_readable, run_fused):
        outputs, last = run(cell, inputs, state, masks_for(cell), some_kept())
        loss = outputs.sin().sum() + last.c.square().sum()
        gradients = torch.autograd.grad(loss, [inputs, *state, *cell.parameters()])
        results.append([outputs, *last, *gradients])
    torch.testing.assert_close(*results)


def test_a_new_round_leaves_all_nearly_as_it_was():
    torch.manual_seed(0)
    cell = MogrifierLSTMCell(30, 40)
    x, h = torch.randn(B, 30), torch.randn(B, 40) / 2
    for modulation, source in zip(cell.rounds, [h, x, h, x, h], strict=True):
        factors = modulation(source)
        assert 0.5 < factors.mean() < 1.5 and 0.05 < factors.std() < 0.5


def masks_for(cell):
    torch.manual_seed(3)
    return {
        name: torch.bernoulli(torch.full((H, H), 0.5, **double)) * 2
        for name, gate in cell.gates().items()
        if isinstance(gate, GateLayer)
    }


def some_kept():
    """``(T, B)``: some states become zero before the first word, in the middle, before the last."""
    keep = torch.ones(T, B, dtype=torch.bool)
    keep[0, 1] = keep[2, 0] = keep[2, 1] = keep[-1, -1] = False
    return keep


@pytest.fixture(params=[True, False], ids=["few words", "many words"])
def few_words(request, monkeypatch):
    """Whether a window counts as one of few words, whose input products are made gate by gate."""
    monkeypatch.setattr(fused, "MIN_ROWS_FOR_BLOCKED_PRODUCT", 10**9 if request.param else 0)


@pytest.mark.parametrize("keep", [None, some_kept()])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("cell_type", CELLS)
def test_fused_equals_readable_in_outputs_state_and_every_gradient(
    cell_type, masked, keep, few_words
):
    cell = random_cell(cell_type)
    masks = masks_for(cell) if masked else None
    inputs = torch.randn(T, B, E, **double, requires_grad=True)
    state = random_state(cell, requires_grad=True)
    upstream = [torch.randn(T, B, H, **double), *(torch.randn(B, H, **double) for _ in state)]
    results = []
    for run in (run_readable, run_fused):
        outputs, last = run(cell, inputs, state, masks, keep)
        grads = torch.autograd.grad(
            [outputs, *last], [inputs, *state, *cell.parameters()], upstream
        )
        results.append([outputs, *last, *grads])
    torch.testing.assert_close(results[0], results[1])


@pytest.mark.parametrize("cell_type", CELLS)
def test_fused_gradients_are_the_functions_own(cell_type, few_words):
    cell = random_cell(cell_type)
    inputs = torch.randn(3, 2, E, **double, requires_grad=True)
    state = random_state(cell, requires_grad=True, batch=2)
    names = [name for name, _ in cell.named_parameters()]

    def run(inputs, *state_and_parameters):
        count = len(state)
        parameters = zip(names, state_and_parameters[count:], strict=True)
        return torch.func.functional_call(
            Fused(cell),
            {f"cell.{name}": value for name, value in parameters},
            (inputs, type(state)(*state_and_parameters[:count])),
        )

    assert torch.autograd.gradcheck(run, (inputs, *state, *cell.parameters()))


class Fused(nn.Module):
    def __init__(self, cell):
        super().__init__()
        self.cell = cell

    def forward(self, inputs, state):
        outputs, last = run_fused(self.cell, inputs, state)
        return outputs, *last


def outcomes(cell, inputs, *run_each):
    """Of each way to run a cell over float32 inputs: outputs, last state and all gradients."""
    torch.manual_seed(1)
    upstream = torch.randn(*inputs.shape[:2], H)
    state = random_state(cell, requires_grad=True, batch=inputs.shape[1])
    found = []
    for run in run_each:
        outputs, last = run(cell, inputs, state)
        loss = (outputs * upstream).sum() + last[-1].sum()
        gradients = torch.autograd.grad(loss, [inputs, *state, *cell.parameters()])
        found.append([outputs, *last, *gradients])
    return found


@pytest.mark.parametrize("has_avx512", [True, False])
@pytest.mark.parametrize("cell_type", RECURRENT)
def test_packed_weights_change_nothing(cell_type, has_avx512, monkeypatch):
    """Packing for either library changes no result; a CPU packs large matrices of float32."""
    if not (torch.backends.mkldnn if has_avx512 else torch.backends.mkl).is_available():
        pytest.skip("this build of torch is without the library")
    packed = []
    kind, name = (
        (torch.ops.mkldnn, "_reorder_linear_weight")
        if has_avx512
        else (torch.ops.mkl, "_mkl_reorder_linear_weight")
    )
    pack = getattr(kind, name)
    monkeypatch.setattr(kind, name, lambda *arguments: packed.append(arguments) or pack(*arguments))
    monkeypatch.setattr(products, "MIN_WEIGHTS_TO_PACK", 0)
    monkeypatch.setattr(products, "_has_avx512", lambda: has_avx512)
    monkeypatch.setattr(on_cpu, "can_run", lambda *tensors: False)
    cell = random_cell(cell_type).float()
    inputs = torch.randn(products.MIN_WORDS_TO_REARRANGE, B, E, requires_grad=True)
    torch.testing.assert_close(
        *outcomes(cell, inputs, run_readable, run_fused), rtol=1e-4, atol=1e-4
    )
    assert len(packed) == 2  # forward and backward


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
    cell, inputs = random_cell(cell_type), torch.randn(T, B, E, **double)
    state = random_state(cell)
    keep = torch.ones(T, B)
    keep[4, 1] = 0
    outputs, last = run(cell, inputs, state, None, keep)
    carried, _ = run(cell, inputs, state)
    anew, last_anew = run(cell, inputs[4:], cell.zero_state(B))
    torch.testing.assert_close(outputs[4:, 1], anew[:, 1])
    torch.testing.assert_close([part[1] for part in last], [part[1] for part in last_anew])
    others = [row for row in range(B) if row != 1]
    torch.testing.assert_close(outputs[:, others], carried[:, others])
    torch.testing.assert_close(outputs[:4], carried[:4])


@pytest.mark.parametrize("run", [run_readable, run_fused])
@pytest.mark.parametrize("cell_type", CELLS)
def test_a_window_equals_its_steps_and_its_halves_with_carried_state(cell_type, run):
    cell, inputs = random_cell(cell_type), torch.randn(T, B, E, **double)
    state = random_state(cell)
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
        outputs, last = run_readable(cell, outputs, cell.zero_state(B))
        torch.testing.assert_close(tuple(last), (h[layer], c[layer]))
    torch.testing.assert_close(outputs, expected)
    torch.testing.assert_close(back(inputs)[0], expected)


def test_conversion_refuses_what_it_cannot_hold():
    with pytest.raises(ValueError, match="one-directional"):
        from_torch_lstm(nn.LSTM(E, H, bidirectional=True))
    with pytest.raises(ValueError, match="one-directional"):
        from_torch_lstm(nn.LSTM(E, H, proj_size=2))


@pytest.mark.parametrize("cell_type", CELLS)
def test_activations_are_those_of_the_forward_pass(cell_type):
    cell, x = random_cell(cell_type), torch.randn(B, E, **double)
    state = random_state(cell)
    found = cell.activations(x, state)
    assert list(found) == list(cell.gates()) == list(cell.gate_meanings)
    gates, after = step_by_hand(cell, x, state)
    torch.testing.assert_close(found, gates)
    torch.testing.assert_close(tuple(cell(x, state)), tuple(after))


@pytest.mark.parametrize("cell_type", [cell for cell in CELLS if cell not in FORGETFUL])
def test_the_keep_gate_is_what_the_old_memory_is_multiplied_by(cell_type):
    """The memory after a word, less what it was multiplied by, does not depend on what it was."""
    cell, x = random_cell(cell_type), torch.randn(B, E, **double)
    for part in cell.gates().values():  # gates that see neither h nor c
        if isinstance(part, GateLayer):
            nn.init.zeros_(part.recurrent_weight)
    for name, peephole in cell.named_parameters():
        if "peephole" in name:
            nn.init.zeros_(peephole)
    state = random_state(cell)
    other = state._replace(**{state._fields[-1]: torch.randn(B, H, **double)})
    written = [
        cell(x, before)[-1] - cell.activations(x, before)[cell.keep_gate] * before[-1]
        for before in (state, other)
    ]
    torch.testing.assert_close(*written)


@pytest.mark.parametrize("cell_type", CELLS)
def test_a_new_cell_s_weights(cell_type):
    torch.manual_seed(0)
    for name, gate in cell_type(30, 40).gates().items():
        limit = (6 / (30 + 40)) ** 0.5  # Glorot and Bengio 2010
        assert 0.95 * limit < gate.input_weight.abs().max() <= limit
        assert isinstance(gate, GateLayer if cell_type in RECURRENT else InputLayer)
        if cell_type in RECURRENT:
            weight = gate.recurrent_weight
            torch.testing.assert_close(weight @ weight.T, torch.eye(40), rtol=0, atol=1e-5)
        assert torch.all(gate.bias == (1 if name == "forget_gate" else 0))
    own = dict(cell_type(E, H).named_parameters(recurse=False))
    assert not any(vector.any() for vector in own.values())  # peepholes; b_u of a GRU


@pytest.mark.parametrize("cell_type", [cell for cell in CELLS if cell not in FORGETFUL])
@pytest.mark.parametrize("memory_words", [3, 200])
def test_chrono_initialisation_spreads_the_times_that_units_keep(cell_type, memory_words):
    """The gate's value is 1 - 1/t with log t uniform between log 2 and log memory_words."""
    torch.manual_seed(0)
    cell = cell_type(E, 1000, memory_words)
    gates = cell.gates()
    times = 1 / (1 - torch.sigmoid(gates.pop(cell.keep_gate).bias.double()))
    assert times.min() >= 2 * (1 - 1e-5) and times.max() <= memory_words * (1 + 1e-4)
    shares = torch.tensor([0.1, 0.5, 0.9], **double)
    expected = 2 * (memory_words / 2) ** shares
    torch.testing.assert_close(times.quantile(shares), expected, rtol=0.15, atol=0)
    assert times.quantile(shares).log().diff().min() > 0.3 * math.log(memory_words / 2)
    if cell_type in (LSTMCell, PeepholeLSTMCell, MinLSTMCell, MogrifierLSTMCell):
        assert torch.equal(gates.pop("input_gate").bias, -cell.forget_gate.bias)
    assert not any(gate.bias.any() for gate in gates.values())


def test_conversion_from_a_torch_lstm_without_biases():
    torch.manual_seed(0)
    lstm = nn.LSTM(E, H, bias=False).double()
    [cell] = from_torch_lstm(lstm)
    inputs = torch.randn(T, B, E, **double)
    outputs, _ = run_readable(cell, inputs, cell.zero_state(B))
    torch.testing.assert_close(outputs, lstm(inputs)[0])
    assert not any(gate.bias.any() for gate in cell.gates().values())


def test_conversion_to_torch_refuses_a_cell_with_other_equations():
    with pytest.raises(ValueError, match="cannot hold the cell Mogrifier LSTM; give LSTM cells"):
        to_torch_lstm([LSTMCell(E, H), MogrifierLSTMCell(H, H)])


@pytest.mark.parametrize("sizes", [[(E, H), (H, H + 1)], [(E, H), (H + 1, H)]])
def test_conversion_to_torch_refuses_layers_of_other_sizes(sizes):
    with pytest.raises(ValueError, match="one hidden_size for all its layers"):
        to_torch_lstm([LSTMCell(*size) for size in sizes])


@pytest.mark.parametrize("cell_type", CELLS)
def test_states_over_a_window_are_those_of_the_steps(cell_type):
    cell, inputs = random_cell(cell_type), torch.randn(T, B, E, **double)
    keep, state = some_kept(), random_state(cell)
    states = states_over(cell, inputs, state, keep)
    assert len(states) == T
    for x, kept, found in zip(inputs, keep, states, strict=True):
        state = cell(x, type(state)(*(part * kept[:, None] for part in state)))
        assert type(found) is cell.state_type
        torch.testing.assert_close(tuple(found), tuple(state), rtol=0, atol=0)


@pytest.mark.parametrize("cell_type", CELLS)
def test_a_state_has_h_first_and_the_memory_last(cell_type):
    cell = random_cell(cell_type)
    state = cell.zero_state(B)
    assert type(state) is cell_type.state_type
    assert all(part.shape == (B, H) and part.dtype == torch.float64 for part in state)
    assert not any(part.any() for part in state)
    assert state.h is state[0] and state[-1] is getattr(state, "c", state.h)
    after = cell(torch.randn(B, E, **double), state)
    assert all(part.requires_grad for part in after)
    detached = after.detach()
    assert type(detached) is type(after) and not any(part.requires_grad for part in detached)
    torch.testing.assert_close(tuple(detached), tuple(after), rtol=0, atol=0)


@pytest.mark.parametrize("name", settings.CELLS)
def test_every_cell_of_the_registry_does_what_a_cell_must_do(name):
    torch.manual_seed(0)
    check_cell(find_cell(name))
    after = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(after, torch.rand(1))  # checking draws no random number


class MinGateCell(Cell):
    """The minimal gated unit (Zhou et al. 2016, arXiv 1603.09420), with a cell state beside h."""

    title = "MGU"
    gate_meanings = {"forget_gate": "1: replace, 0: keep", "candidate": "what could be written"}
    state_type = LSTMState

    def __init__(self, input_size, hidden_size, memory_words=None):
        super().__init__(input_size, hidden_size)
        self.forget_gate = GateLayer(input_size, hidden_size)
        self.candidate = GateLayer(input_size, hidden_size)

    def forward(self, x, state):
        f, n = self.activations(x, state).values()
        c = (1 - f) * state.c + f * n
        return LSTMState(torch.tanh(c), c)

    def activations(self, x, state):
        f = torch.sigmoid(self.forget_gate(x, state.h))
        return {"forget_gate": f, "candidate": torch.tanh(self.candidate(x, f * state.h))}


@pytest.fixture
def registry():
    """The registry, which becomes again what it was."""
    before = dict(settings.CELLS)
    yield settings.CELLS
    settings.CELLS.clear()
    settings.CELLS.update(before)


def test_a_new_cell_needs_nothing_but_its_class_and_its_name(registry):
    register_cell("mgu", MinGateCell)
    assert find_cell("mgu") is MinGateCell and "mgu" in registry
    assert config_from_dict({"model": {"cell": "mgu"}}).model.cell == "mgu"
    cell = random_cell(find_cell("mgu"))
    inputs, masks, keep = torch.randn(T, B, E, **double), masks_for(cell), some_kept()
    state = random_state(cell)
    outputs, last = run_fused(cell, inputs, state, masks, keep)
    with torch.no_grad():
        for name, mask in masks.items():
            cell.gates()[name].recurrent_weight *= mask
    for t, x in enumerate(inputs):
        state = cell(x, LSTMState(*(part * keep[t, :, None] for part in state)))
        torch.testing.assert_close(outputs[t], state.h)
    torch.testing.assert_close(tuple(last), tuple(state))


def test_a_subclass_does_not_inherit_the_fused_pass_of_other_equations():
    class Leaky(GRUCell):
        def forward(self, x, state):
            return HiddenState(0.5 * super().forward(x, state).h)

    cell, inputs = random_cell(Leaky), torch.randn(T, B, E, **double)
    assert Leaky.fused_pass is None and GRUCell.fused_pass is not None
    state = random_state(cell)
    torch.testing.assert_close(
        run_fused(cell, inputs, state)[0], run_readable(cell, inputs, state)[0]
    )


def without(name):
    """The minimal gated unit without one of the attributes that a cell must set."""
    return type("Wrong", (Cell,), {k: v for k, v in vars(MinGateCell).items() if k != name})


def changed(**attributes):
    return type("Wrong", (MinGateCell,), attributes)


class StateWithoutDetach(tuple):
    _fields = ("h",)


class TwoArguments(MinGateCell):
    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)


class WrongSizes(MinGateCell):
    def __init__(self, input_size, hidden_size, memory_words=None):
        super().__init__(input_size, hidden_size)
        self.input_size = hidden_size


@pytest.mark.parametrize(
    "cell_type, problem",
    [
        (nn.LSTMCell, "not a subclass of lstm_lm.cells.Cell"),
        (MinGateCell(2, 2), "not a subclass of lstm_lm.cells.Cell"),
        (without("title"), "title must be"),
        (without("gate_meanings"), "gate_meanings must be a dict"),
        (changed(gate_meanings={}), "gate_meanings must be a dict"),
        (changed(gate_meanings={"forget_gate": 1}), "gate_meanings must be a dict"),
        (
            changed(gate_meanings={"forget_gate": ""}),
            "gate_meanings has no entry for candidate",
        ),
        (changed(keep_gate="update_gate"), "keep_gate: found 'update_gate', must be None or one"),
        (changed(own_settings=("rounds",)), "own_settings: rounds is no setting of the section"),
        (changed(state_type=tuple), "state_type must be a NamedTuple"),
        (changed(state_type=StateWithoutDetach), "state_type must be a NamedTuple"),
        (changed(fused_pass=GRUCell.fused_pass), "fused_pass stacks the gates reset_gate"),
        (TwoArguments, "cannot be called: .*takes 3 positional arguments"),
        (WrongSizes, "must pass input_size and hidden_size on"),
        (
            changed(forward=lambda cell, x, state: tuple(state)),
            "forward must return a LSTMState .* returned a tuple",
        ),
        (
            changed(forward=lambda cell, x, state: LSTMState(state.h, state.c[:1])),
            r"forward must return a LSTMState of tensors \(B, H\)",
        ),
        (
            changed(
                forward=lambda cell, x, state: state,
                activations=lambda cell, x, state: {"candidate": state.h},
            ),
            "activations returned the gates candidate; Wrong.gate_meanings names forget_gate",
        ),
        (
            changed(
                forward=lambda cell, x, state: state,
                activations=lambda cell, x, state: dict.fromkeys(cell.gate_meanings, state.h[0]),
            ),
            r"activations: forget_gate has the shape \(4, 2\)",
        ),
    ],
)
def test_a_class_that_is_no_cell_is_refused(registry, cell_type, problem):
    with pytest.raises(InputError, match=problem):
        register_cell("wrong", cell_type)
    assert "wrong" not in registry


@pytest.mark.parametrize(
    "name, problem",
    [
        ("lstm", "'lstm' is taken by lstm_lm.cells.lstm:LSTMCell"),
        ("MinGate", "must be lower-case letters"),
        ("", "must be lower-case letters"),
        ("a,b", "must be lower-case letters"),
    ],
)
def test_a_cell_s_name_is_new_and_plain(registry, name, problem):
    with pytest.raises(InputError, match=problem):
        register_cell(name, MinGateCell)
    assert find_cell("lstm") is LSTMCell


def test_an_unknown_cell_s_message_lists_those_that_exist():
    with pytest.raises(InputError, match="found 'rnn', must be one of lstm, gru, elman"):
        find_cell("rnn")
