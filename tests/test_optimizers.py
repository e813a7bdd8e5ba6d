"""Laws of the optimizers: each parameter has one; Muon's updates are orthogonal; schedules."""

import pytest
import torch

from lstm_lm.config import CELLS, OptimizerConfig, TrainingConfig
from lstm_lm.training.optimizers import (
    Muon,
    RowRMSProp,
    build_optimizers,
    clip_gradients,
    orthogonalize,
    saved_tensors,
)
from lstm_lm.training.schedules import dropout_share, learning_rate_share


@pytest.mark.parametrize("name", ["adamw", "sgd", "muon"])
@pytest.mark.parametrize("tie_weights", [True, False])
@pytest.mark.parametrize("embedding_learning_rate", [None, 1e-2])
@pytest.mark.parametrize(
    "output, matrices", [("full", 1), ("sampled", 1), ("adaptive", 2), ("mos", 1)]
)
def test_every_parameter_has_exactly_one_optimizer(
    make_model, name, tie_weights, embedding_learning_rate, output, matrices
):
    model = make_model(tie_weights=tie_weights, output=output, adaptive_cutoffs=(5,))
    config = OptimizerConfig(
        name=name, weight_decay=0.1, embedding_learning_rate=embedding_learning_rate
    )
    optimizers = {
        type(optimizer): optimizer for optimizer in build_optimizers(config, model.network)
    }
    groups = [group for optimizer in optimizers.values() for group in optimizer.param_groups]
    updated = [id(p) for group in groups for p in group["params"]]
    assert sorted(updated) == sorted(id(p) for p in model.network.parameters())
    for group in groups:
        assert all((group["weight_decay"] > 0) == (p.ndim > 1) for p in group["params"])
    assert (RowRMSProp in optimizers) == (embedding_learning_rate is not None)
    if RowRMSProp in optimizers:
        words = optimizers[RowRMSProp].param_groups[0]["params"]
        assert len(words) == matrices * (1 if tie_weights else 2)
    assert (Muon in optimizers) == (name == "muon")
    if Muon in optimizers:
        gates, layers = 4, 2
        assert len(optimizers[Muon].param_groups[0]["params"]) == 2 * gates * layers


def rounds_of(layer):
    """The parameters of a Mogrifier's rounds, which are no gates."""
    return layer.rounds.parameters() if hasattr(layer, "rounds") else []


@pytest.mark.parametrize("cell", CELLS)
def test_muon_takes_every_matrix_of_every_gate_and_nothing_else(make_model, cell):
    network = make_model(cell=cell).network
    optimizers = build_optimizers(OptimizerConfig(name="muon"), network)
    [muon] = [optimizer for optimizer in optimizers if isinstance(optimizer, Muon)]
    gates = [gate for layer in network.recurrent.cells for gate in layer.gates().values()]
    matrices = [part for gate in gates for part in gate.parameters() if part.ndim == 2]
    found = muon.param_groups[0]["params"]
    assert [id(part) for part in found] == [id(part) for part in matrices] != []
    rounds = [part for layer in network.recurrent.cells for part in rounds_of(layer)]
    others = set(network.recurrent.parameters()) - {*found, *rounds}
    assert all(part.ndim < 2 for part in others)


def test_only_rows_with_a_gradient_are_updated_each_by_its_own_scale():
    words = torch.nn.Parameter(torch.ones(5, 3))
    optimizer = RowRMSProp([words], learning_rate=0.1, weight_decay=0.5)
    for scale in (1.0, 1.0, 3.0):
        words.grad = torch.zeros_like(words)
        words.grad[1], words.grad[3] = scale, -1e-3 * scale
        before = words.detach().clone()
        optimizer.step()
    assert torch.equal(words[[0, 2, 4]], torch.ones(3, 3))
    step = 3 / ((1 + 1 + 9) / 3) ** 0.5  # the third gradient over the root of the mean square
    torch.testing.assert_close(words[1], before[1] * 0.95 - 0.1 * step)
    torch.testing.assert_close(words[3], before[3] * 0.95 + 0.1 * step, rtol=1e-4, atol=0)


def test_the_mean_square_of_a_row_becomes_a_moving_average():
    """With memory 0.5, the weights of the new square are 1, 1/2, 1/2, ..., not 1, 1/2, 1/3."""
    words, mean_square = torch.nn.Parameter(torch.zeros(1, 2)), 0.0
    optimizer = RowRMSProp([words], learning_rate=0.1, memory=0.5)
    for scale, weight in ((1.0, 1.0), (2.0, 0.5), (3.0, 0.5), (4.0, 0.5)):
        words.grad = torch.full_like(words, scale)
        before = words.detach().clone()
        optimizer.step()
        mean_square += weight * (scale**2 - mean_square)
        torch.testing.assert_close(words.detach(), before - 0.1 * scale / mean_square**0.5)


def step_by_rows(network, sparse):
    """Takes one clipped step of a tied sampled network; returns the norm of its gradient."""
    torch.manual_seed(5)
    optimizers = build_optimizers(
        OptimizerConfig(embedding_learning_rate=1e-2, weight_decay=0.1), network
    )
    network.embedding.sparse = network.output.sparse = sparse
    tokens, targets = torch.randint(network.vocab_size, (2, 3, 2))
    for _ in range(2):  # two windows, accumulated
        network.loss(tokens, targets, network.initial_state(2))[0].backward()
    assert network.embedding.weight.grad.is_sparse == sparse
    norm = clip_gradients(network.parameters(), 0.5)
    assert clip_gradients(network.parameters(), 0.5) == pytest.approx(min(norm, 0.5), rel=1e-4)
    for optimizer in optimizers:
        optimizer.step()
    return norm


def test_a_sparse_gradient_updates_the_words_like_a_dense_one(make_model):
    dense, sparse = (
        make_model(output="sampled", sampled_words=3, embedding_dropout=0.3).network.train()
        for _ in range(2)
    )
    for network in (dense, sparse):
        network.output.start_from_counts(torch.arange(network.vocab_size))
    assert step_by_rows(sparse, sparse=True) == pytest.approx(
        step_by_rows(dense, sparse=False), rel=1e-6
    )
    for p, q in zip(dense.parameters(), sparse.parameters(), strict=True):
        torch.testing.assert_close(p, q)


def test_a_learning_rate_of_the_words_makes_their_gradient_sparse(make_model):
    for rate in (None, 1e-2):
        network = make_model(output="sampled").network
        build_optimizers(OptimizerConfig(embedding_learning_rate=rate), network)
        assert network.embedding.sparse == network.output.sparse == (rate is not None)


@pytest.mark.parametrize("embedding_learning_rate", [None, 1e-2])
@pytest.mark.parametrize("name", ["adamw", "sgd", "muon"])
def test_saved_tensors_are_those_that_an_optimizer_has_after_a_step(
    make_model, name, embedding_learning_rate
):
    network = make_model().network
    config = OptimizerConfig(
        name=name, momentum=0.5, embedding_learning_rate=embedding_learning_rate
    )
    optimizers = build_optimizers(config, network)
    tokens = torch.arange(8).view(4, 2)
    network.loss(tokens, tokens, network.initial_state(2))[0].backward()
    for optimizer in optimizers:
        expected = saved_tensors(optimizer)
        assert not optimizer.state and all(tensor.is_meta for tensor in expected.values())
        optimizer.step()
        found = {
            f"{index}.{slot}": tensor.shape
            for index, slots in optimizer.state_dict()["state"].items()
            for slot, tensor in slots.items()
        }
        assert found == {slot: tensor.shape for slot, tensor in expected.items()}


def test_clipping_without_a_gradient():
    assert clip_gradients([torch.nn.Parameter(torch.ones(3))], 1.0) == 0.0


@pytest.mark.parametrize("limit", [0.1, 100.0])
def test_clipping_equals_torch(limit):
    ours, theirs = ([torch.nn.Parameter(torch.zeros(3, 2)) for _ in range(2)] for _ in range(2))
    for each in (ours, theirs):
        torch.manual_seed(0)
        for parameter in each:
            parameter.grad = torch.randn(3, 2)
    assert clip_gradients(ours, limit) == float(torch.nn.utils.clip_grad_norm_(theirs, limit))
    assert all(torch.equal(p.grad, q.grad) for p, q in zip(ours, theirs, strict=True))


def test_a_vanishing_gradient_hardly_changes_a_row():
    words = torch.nn.Parameter(torch.zeros(2, 3))
    words.grad = torch.full_like(words, 1e-30)
    RowRMSProp([words], learning_rate=0.1).step()
    assert words.isfinite().all() and words.abs().max() < 1e-9


@pytest.mark.parametrize("shape", [(8, 8), (5, 9), (9, 5)])
def test_orthogonalize_keeps_directions_and_evens_out_singular_values(shape):
    torch.manual_seed(0)
    matrix = torch.randn(shape, dtype=torch.float64)
    result = orthogonalize(matrix)
    assert result.shape == matrix.shape
    values = torch.linalg.svdvals(result)
    assert values.min() > 0.3 and values.max() < 1.3
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    middle = u.mT @ result @ v.mT
    assert (middle - middle.diagonal().diag()).abs().max() < 1e-6


def test_orthogonalize_changes_singular_values_as_documented():
    torch.manual_seed(0)
    u, v = (torch.linalg.qr(torch.randn(40, 40, dtype=torch.float64))[0] for _ in range(2))
    values = torch.logspace(-4, 0, 40, dtype=torch.float64)
    values /= values.norm()
    after = (u.mT @ orthogonalize(u @ values.diag() @ v.mT) @ v).diagonal()
    assert (after[values >= 0.01] - 1).abs().max() < 0.271
    assert (after[values < 1e-3] / values[values < 1e-3] - 78).abs().max() < 4


def test_muon_updates_each_matrix_by_itself():
    torch.manual_seed(0)
    together = [torch.nn.Parameter(torch.randn(4, 4)) for _ in range(3)]
    alone = [torch.nn.Parameter(p.detach().clone()) for p in together]
    gradients = [torch.randn(4, 4) * scale for scale in (1e-3, 1.0, 1e3)]
    optimizers = [Muon(together, 0.1), *(Muon([p], 0.1) for p in alone)]
    for _ in range(3):
        for p, q, gradient in zip(together, alone, gradients, strict=True):
            p.grad, q.grad = gradient.clone(), gradient.clone()
        for optimizer in optimizers:
            optimizer.step()
    for p, q in zip(together, alone, strict=True):
        torch.testing.assert_close(p, q)


@pytest.mark.parametrize("shape", [(4, 4), (6, 3), (3, 6)])
def test_muon_by_hand(shape):
    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(shape))
    optimizer = Muon([weight], learning_rate=0.1, weight_decay=0.5, momentum=0.8)
    expected, momentum = weight.detach().clone(), torch.zeros(shape)
    for _ in range(3):
        weight.grad = torch.randn(shape)
        momentum = 0.8 * momentum + 0.2 * weight.grad
        update = orthogonalize(0.2 * weight.grad + 0.8 * momentum)
        scale = max(1.0, shape[0] / shape[1]) ** 0.5
        expected = expected * (1 - 0.1 * 0.5) - 0.1 * scale * update
        optimizer.step()
        torch.testing.assert_close(weight.detach(), expected)


def test_stacked_matrices_are_orthogonalized_one_by_one():
    torch.manual_seed(0)
    scales = torch.tensor([1e-3, 1.0, 1e3]).view(3, 1, 1)
    for shape in ((3, 4, 6), (3, 6, 4)):
        matrices = torch.randn(shape) * scales
        expected = torch.stack([orthogonalize(matrix) for matrix in matrices])
        torch.testing.assert_close(orthogonalize(matrices), expected)


def test_a_gradient_of_zeros_has_a_finite_update():
    assert torch.equal(orthogonalize(torch.zeros(3, 5)), torch.zeros(3, 5))


def test_schedules():
    def share(name, step, progress, **settings):
        return learning_rate_share(
            OptimizerConfig(schedule=name, warmup_steps=9, final_fraction=0.1),
            step,
            progress,
            **settings,
        )

    assert share("constant", 0, 0.0) == pytest.approx(0.1) and share("constant", 9, 0.5) == 1
    assert share("linear", 99, 0.5) == pytest.approx(0.55) and share(
        "linear", 99, 1.0
    ) == pytest.approx(0.1)
    assert share("cosine", 99, 0.5) == pytest.approx(0.55) and share(
        "cosine", 99, 1.0
    ) == pytest.approx(0.1)
    assert share("cosine", 99, 0.25) == pytest.approx(0.1 + 0.9 * (1 + 0.5**0.5) / 2)
    assert share("linear", 4, 0.5) == pytest.approx(0.5 * 0.55)
    assert share("linear", 4, 0.5, plateau_factor=0.2) == pytest.approx(0.5 * 0.55 * 0.2)
    assert share("plateau", 99, 0.5, plateau_factor=0.25) == 0.25
    assert share("plateau", 4, 0.5, plateau_factor=0.25) == 0.125
    assert dropout_share(TrainingConfig(), 0.3) == 1
    assert [dropout_share(TrainingConfig(dropout_start=0.5), spent) for spent in (0, 0.5, 1)] == [
        0.5,
        0.75,
        1,
    ]
