"""Laws of accuracy: it equals brute force over `predict_next`, and costs nothing in correctness."""

import math

import pytest
import torch

from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.evaluation.accuracy import measure_accuracy
from lstm_lm.evaluation.perplexity import measure_perplexity
from tests.conftest import LINES

TEXT = [
    *LINES[:2],
    "France grew a horse in Paris .",
    "",
    "I speak French French .",
    "a a xylophone",
]
OUTPUTS = {
    "full": {},
    "sampled": {"output": "sampled", "sampled_words": 5},
    "adaptive": {"output": "adaptive", "adaptive_cutoffs": (6, 12), "adaptive_factor": 2.0},
    "untied": {"tie_weights": False},
}


@pytest.fixture(scope="module")
def vocabulary():
    """Words that share their first letters, as those of real texts do."""
    lines = ["home homes homely horse horses house houses in into inn I Ib", "French Frenchman"]
    return Vocabulary.build([*LINES, *lines], tokenization="words")


@pytest.fixture
def tokens(vocabulary):
    return [i for ids in vocabulary.encode_lines(TEXT) for i in ids]


def questions(model, reset_per_line):
    """Yields each right word, and all candidates after the text before it, the best first."""
    words = [word for line in TEXT for word in (*line.split(), "<eos>")]
    vocabulary, ids = model.vocabulary, []
    for word in words:
        asked = ids
        if reset_per_line:
            last = max((at for at, one in enumerate(ids) if one == vocabulary.eos_id), default=-1)
            asked = ids[last + 1 :]
        with torch.no_grad():
            inputs = torch.tensor([vocabulary.eos_id, *asked]).unsqueeze(1)
            found = model.network(inputs)[0][-1, 0]
        everything = model.most_probable(found, len(vocabulary), include_unknown=True)
        number = vocabulary.ids_of([word])[0]
        yield vocabulary.words[number], everything, -found[number].item()
        ids = [*ids, number]


def by_brute_force(model, reset_per_line):
    """Everything that is measured, from lists of predictions."""
    ranks, all_ranks, keys, letters, known_nll, text_nll = [], [], 0, 0, 0.0, 0.0
    for word, predictions, nll in questions(model, reset_per_line):
        everything = [prediction.word for prediction in predictions]
        all_ranks.append(everything.index(word) + 1)
        if word == "<unk>":
            continue
        text_nll += nll
        if word == "<eos>":
            continue
        shown = [one for one in everything if one != "<unk>"]
        known_nll += nll
        ranks.append(shown.index(word) + 1)
        letters += len(word)
        for typed in range(len(word)):
            offered = [one for one in shown if one.startswith(word[:typed])][:3]
            if word in offered:
                keys += min(typed + 1, len(word))
                break
        else:
            keys += len(word)
    return ranks, all_ranks, keys, letters, known_nll, text_nll


@pytest.mark.parametrize("reset_per_line", [False, True])
@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_it_equals_brute_force(make_model, tokens, output, reset_per_line, seed):
    model = make_model(seed, **OUTPUTS[output]).in_double_precision()
    with torch.no_grad():
        model.network.output.bias.normal_(std=2)  # so that the ranks differ
    perplexity, found = measure_accuracy(
        model, tokens, reset_per_line=reset_per_line, window_length=7
    )
    ranks, all_ranks, keys, letters, known_nll, text_nll = by_brute_force(model, reset_per_line)
    for ranking, expected in ((found.words, ranks), (found.all_tokens, all_ranks)):
        assert ranking.tokens == len(expected)
        for k in (1, 3, 5):
            assert ranking.top[k] == sum(rank <= k for rank in expected) / len(expected)
        mean = sum(1 / rank for rank in expected) / len(expected)
        assert ranking.mean_reciprocal_rank == pytest.approx(mean, abs=1e-9)
    assert (found.keys, found.letters) == (keys, letters)
    assert found.keystrokes_saved == pytest.approx(1 - keys / letters, abs=1e-9)
    assert found.perplexity_known == pytest.approx(math.exp(known_nll / len(ranks)), rel=1e-9)
    text = "\n".join(TEXT).replace(" xylophone", "") + "\n"
    assert found.characters == len(text)
    assert found.known_text_tokens == len(tokens) - 1
    assert found.bits_per_character == pytest.approx(text_nll / math.log(2) / len(text), rel=1e-9)
    alone = measure_perplexity(model, tokens, reset_per_line=reset_per_line, window_length=7)
    assert perplexity.nll == pytest.approx(alone.nll, rel=1e-12)
    assert (perplexity.tokens, perplexity.oov_tokens, perplexity.state) == (
        alone.tokens,
        alone.oov_tokens,
        alone.state,
    )
