"""Laws of the dropouts: locked over time, whole words, scaled, drawn on the recurrent matrices."""

import pytest
import torch

from lstm_lm.cells import LSTMCell, MinGRUCell
from lstm_lm.config import CELLS
from lstm_lm.model.dropout import (
    apply_locked_dropout,
    apply_word_dropout,
    check_dropout_rates,
    draw_recurrent_masks,
)
from lstm_lm.model.recurrent import RecurrentStack


def test_locked_dropout_drops_the_same_features_at_every_word():
    torch.manual_seed(0)
    dropped = apply_locked_dropout(torch.ones(9, 4, 50), 0.4)
    assert torch.equal(dropped, dropped[:1].expand_as(dropped))
    assert dropped.unique().tolist() == pytest.approx([0.0, 1 / 0.6])
    assert not torch.equal(dropped[0, 0], dropped[0, 1])


def test_embedding_dropout_drops_a_word_at_all_its_positions():
    torch.manual_seed(0)
    weight, tokens = torch.ones(20, 3), torch.randint(20, (30, 4))
    dropped = apply_word_dropout(weight[tokens], tokens, len(weight), 0.5)
    for word in range(20):
        vectors = dropped[tokens == word]
        assert vectors.unique().numel() <= 1
    assert {0.0, 2.0} == set(dropped.unique().tolist())


def test_the_rate_is_the_fraction_that_is_dropped():
    """The rest is scaled by 1 / (1 - rate), so the expected value does not change."""
    torch.manual_seed(0)
    words = torch.arange(10_000).view(100, 100)
    masks = draw_recurrent_masks(LSTMCell(3, 100), 0.2)
    for dropped in (
        apply_locked_dropout(torch.ones(1, 100, 1000), 0.2),
        apply_word_dropout(torch.ones(100, 100, 1), words, 10_000, 0.2),
        *masks.values(),
    ):
        assert dropped.unique().tolist() == pytest.approx([0.0, 1.25])
        assert float((dropped == 0).float().mean()) == pytest.approx(0.2, abs=0.02)
        assert float(dropped.mean()) == pytest.approx(1, abs=0.02)


def test_weight_dropout_has_a_mask_for_every_gate():
    masks = draw_recurrent_masks(LSTMCell(3, 5), 0.5)
    assert list(masks) == ["forget_gate", "input_gate", "candidate", "output_gate"]
    assert all(mask.shape == (5, 5) for mask in masks.values())
    assert draw_recurrent_masks(LSTMCell(3, 5), 0.0) is None


def test_a_gate_that_does_not_see_the_state_has_no_mask():
    assert draw_recurrent_masks(MinGRUCell(3, 5), 0.5) == {}
    stack = RecurrentStack("min_lstm", 3, (5,), weight_dropout=0.5)
    inputs = torch.randn(6, 2, 3)
    outputs, _ = stack(inputs, stack.initial_state(2))
    torch.testing.assert_close(outputs, stack.eval()(inputs, stack.initial_state(2))[0])


@pytest.mark.parametrize("cell", CELLS)
def test_fused_and_readable_use_the_same_masks(cell):
    results = []
    for recurrence in ("readable", "fused"):
        torch.manual_seed(0)
        stack = RecurrentStack(
            cell,
            3,
            (5, 4),
            recurrence=recurrence,
            input_dropout=0.2,
            hidden_dropout=0.3,
            weight_dropout=0.5,
        ).double()
        inputs = torch.randn(6, 2, 3, dtype=torch.float64)
        outputs, state = stack(inputs, stack.initial_state(2))
        outputs.sum().backward()
        results.append([outputs, *state[1], *(p.grad for p in stack.parameters())])
    torch.testing.assert_close(*results)


def test_evaluation_drops_nothing():
    stack = RecurrentStack("lstm", 3, (5,), input_dropout=0.9, weight_dropout=0.9).eval()
    inputs, state = torch.randn(4, 2, 3), stack.initial_state(2)
    assert torch.equal(stack(inputs, state)[0], stack(inputs, state)[0])


RATES = ("embedding_dropout", "input_dropout", "hidden_dropout", "output_dropout", "weight_dropout")


@pytest.mark.parametrize("place", RATES)
def test_every_rate_is_multiplied_by_the_share(make_model, place):
    """Half of 0.6 drops what 0.3 drops; a share of 0 drops nothing."""
    losses = {}
    for rate, share in [(0.6, 0.5), (0.3, 1.0), (0.6, 0.0), (0.0, 1.0), (0.6, 1.0)]:
        network = make_model(**{place: rate}).network.train()
        network.set_dropout_share(share)
        torch.manual_seed(0)
        tokens = torch.randint(2, network.vocab_size, (9, 4))
        loss, _ = network.loss(tokens[:-1], tokens[1:], network.initial_state(4))
        losses[rate, share] = loss.item()
    assert losses[0.6, 0.5] == losses[0.3, 1.0] and losses[0.6, 0.0] == losses[0.0, 1.0]
    assert len(set(losses.values())) == 3


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_the_share_is_in_0_to_1(model, share):
    with pytest.raises(ValueError, match="share is"):
        model.network.set_dropout_share(share)


@pytest.mark.parametrize("rate", [-0.1, 1.0, 2, torch.tensor(0.5), float("nan")])
def test_a_rate_is_at_least_0_and_below_1(rate):
    with pytest.raises(ValueError, match="input_dropout"):
        check_dropout_rates(input_dropout=rate)
