"""Laws of perplexity: equals a sum by hand for any window and batch; each token counts once."""

import math

import pytest
import torch

from lstm_lm.corpus import windows
from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.errors import CorpusError
from lstm_lm.evaluation import perplexity
from lstm_lm.evaluation.perplexity import measure_perplexity
from lstm_lm.model.scoring import Perplexity, perplexity_from
from tests.conftest import LINES


@pytest.fixture
def tokens(vocabulary: Vocabulary):
    return [i for ids in vocabulary.encode_lines([*LINES, "I grew up in Utopia ."]) for i in ids]


def by_hand(model, tokens):
    with torch.no_grad():
        inputs = torch.tensor([model.vocabulary.eos_id, *tokens[:-1]]).unsqueeze(1)
        scores, _ = model.network(inputs)
    return -sum(float(scores[t, 0, word]) for t, word in enumerate(tokens))


@pytest.mark.parametrize("window_length", [1, 7, 1000])
def test_carried_equals_the_sum_by_hand_for_any_window(model, tokens, window_length):
    result = measure_perplexity(model, tokens, window_length=window_length)
    assert result.nll == pytest.approx(by_hand(model, tokens), rel=1e-5)
    assert result.tokens == sum(len(line.split()) + 1 for line in LINES) + 7
    assert result.oov_tokens == 1
    assert result.perplexity == pytest.approx(math.exp(result.nll / result.tokens))


def test_progress_is_reported_and_an_exception_of_it_ends_the_scoring(model, tokens):
    seen = []
    model.network.train()

    def stop(done):
        seen.append(done)
        if len(seen) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_perplexity(model, tokens, window_length=8, on_progress=stop)
    assert seen == [8, 8, 8] and model.network.training


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_number_of_threads_changes_nothing_and_is_restored(model, tokens, threads):
    before, seen = torch.get_num_threads(), []

    def stop(done):
        seen.append(done)
        if len(seen) == 3:
            raise KeyboardInterrupt

    try:
        torch.set_num_threads(threads)
        result = measure_perplexity(model, tokens, window_length=8)
        assert torch.get_num_threads() == threads
        assert result.nll == pytest.approx(by_hand(model, tokens), rel=1e-5)
        with pytest.raises(KeyboardInterrupt):
            measure_perplexity(model, tokens, window_length=8, on_progress=stop)
        assert seen == [8, 8, 8] and torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    "streams, window_length, look_ahead",
    [(1, 256, 4096), (3, 7, 2), (32, 256, 4096), (32, 1, 1)],
)
def test_reset_equals_the_sum_over_lines_for_any_batch(
    model, tokens, monkeypatch, streams, window_length, look_ahead
):
    monkeypatch.setattr(perplexity, "STREAMS_OF_LINES", streams)
    monkeypatch.setattr(windows, "LOOK_AHEAD", look_ahead)
    lines, line = [], []
    for token in tokens:
        line.append(token)
        if token == model.vocabulary.eos_id:
            lines, line = [*lines, line], []
    result = measure_perplexity(model, tokens, reset_per_line=True, window_length=window_length)
    assert result.nll == pytest.approx(sum(by_hand(model, line) for line in lines), rel=1e-5)
    assert (result.tokens, result.state) == (len(tokens), "reset")


@pytest.mark.parametrize("block", [1, 3, 8, 100])
def test_unknown_words_are_counted_in_blocks(model, monkeypatch, block):
    monkeypatch.setattr(perplexity, "COUNTED_AT_ONCE", block)
    unk, eos = model.vocabulary.unk_id, model.vocabulary.eos_id
    tokens = [unk, unk, unk, 3, unk, eos, unk, eos]
    assert measure_perplexity(model, tokens).oov_tokens == 5


def test_an_unfinished_last_line_counts(model, tokens):
    for reset in (False, True):
        assert (
            measure_perplexity(model, tokens[:-1], reset_per_line=reset).tokens == len(tokens) - 1
        )


def test_scoring_draws_no_random_number(model, tokens):
    before = torch.get_rng_state()
    for reset in (False, True):
        measure_perplexity(model, tokens, reset_per_line=reset)
    assert torch.equal(torch.get_rng_state(), before)


def test_dropout_is_off_and_the_mode_is_restored(make_model, tokens):
    dropping = make_model(output_dropout=0.5, weight_dropout=0.5)
    dropping.network.train()
    assert measure_perplexity(dropping, tokens).nll == pytest.approx(
        by_hand(make_model(), tokens), rel=1e-5
    )
    assert dropping.network.training


def test_an_overflow_is_infinite():
    assert perplexity_from(2100.0, 3) == pytest.approx(math.exp(700))
    assert perplexity_from(3e6, 3) == math.inf
    assert Perplexity(nll=3e6, tokens=3, oov_tokens=0, state="reset").perplexity == math.inf


def test_perplexity_as_text():
    found = Perplexity(nll=2000 * math.log(5), tokens=2000, oov_tokens=1234, state="carried")
    assert str(found) == "5.00 (2,000 tokens, 1,234 <unk>, state carried)"
    assert (float(found), found.loss) == (pytest.approx(5), pytest.approx(math.log(5)))


def test_nothing_to_score(model):
    with pytest.raises(CorpusError, match="nothing to score"):
        measure_perplexity(model, [])
