"""Laws of the output layers: chunked equals whole; sums are 1; a sampled estimate has no bias."""

import pytest
import torch
from torch.nn import functional as F

from lstm_lm.model import softmax
from lstm_lm.model.adaptive import AdaptiveEmbedding, AdaptiveOutput
from lstm_lm.model.mixture import Experts, MixtureOutput
from lstm_lm.model.output import FullOutput, SampledOutput

V, E, N, K = 50, 6, 23, 3
ADAPTIVE = (AdaptiveOutput, (7, 20, 60), 2.0)
MIXTURE, SAMPLED_MIXTURE = (MixtureOutput, K), (MixtureOutput, K, 10)
KINDS = [(FullOutput,), (SampledOutput, 10), ADAPTIVE, (AdaptiveOutput, (), 4.0), MIXTURE,
         SAMPLED_MIXTURE, (MixtureOutput, 1)]  # fmt: skip


@pytest.fixture
def batch():
    torch.manual_seed(0)
    return torch.randn(N, E, dtype=torch.float64, requires_grad=True), torch.randint(V, (N,))


def width_of(made):
    """The width of what a layer reads."""
    return made.softmaxes * (E + 1) if isinstance(made, MixtureOutput) else E


def hidden_for(made, rows=N):
    return torch.randn(rows, width_of(made), dtype=torch.float64, requires_grad=True)


def layer(kind=FullOutput, *args):
    torch.manual_seed(1)
    made = kind(V, E, *args).double()
    torch.nn.init.normal_(made.bias)
    return made


@pytest.mark.parametrize("rows", [1, 7, 64])
def test_loss_and_its_gradients_equal_those_of_whole_logits(batch, rows, monkeypatch):
    monkeypatch.setattr(softmax, "chunk_rows", lambda weight: rows)
    (hidden, targets), full = batch, layer()
    whole = F.cross_entropy(F.linear(hidden, full.weight, full.bias), targets, reduction="sum")
    inputs = [hidden, full.weight, full.bias]
    torch.testing.assert_close(full.loss(hidden, targets), whole)
    torch.testing.assert_close(
        torch.autograd.grad(full.loss(hidden, targets) * 0.3, inputs),
        torch.autograd.grad(whole * 0.3, inputs),
    )
    torch.testing.assert_close(full.token_nll(hidden, targets).sum(), whole)


def test_nll_is_exact_where_the_odds_overflow_float32():
    full = layer().float()
    hidden = 300 * torch.ones(4, E)
    targets = (
        F.linear(hidden, full.weight, full.bias)
        .sort(descending=True)
        .indices[range(4), [0, 1, 30, V - 1]]
    )
    expected = F.cross_entropy(F.linear(hidden, full.weight, full.bias), targets, reduction="none")
    assert expected[0] < 1e-3 and expected[-1] > 200
    torch.testing.assert_close(full.token_nll(hidden, targets), expected)
    assert full.token_nll(hidden[:0], targets[:0]).shape == (0,)


def test_gradcheck_of_the_chunked_loss(batch):
    (hidden, targets), full = batch, layer()
    assert torch.autograd.gradcheck(
        lambda h, w, b: softmax.chunked_loss(h, w, b, targets), (hidden, full.weight, full.bias)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_probabilities_sum_to_one(kind):
    made = layer(*kind).eval()
    probabilities = made.log_probabilities(hidden_for(made)).exp()
    assert probabilities.shape == (N, V)
    torch.testing.assert_close(probabilities.sum(-1), torch.ones(N, dtype=torch.float64))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("last", [6, 19, V - 1])
def test_nll_and_loss_and_their_gradients_follow_from_the_probabilities(kind, last):
    made = layer(*kind).eval()
    hidden = hidden_for(made)
    targets = torch.arange(N) * last // (N - 1)  # up to a cluster's very last word
    told = -made.log_probabilities(hidden)[range(N), targets]
    torch.testing.assert_close(made.token_nll(hidden, targets), told)
    torch.testing.assert_close(made.loss(hidden, targets), told.sum())
    wanted = [hidden, *made.parameters()]
    ours, theirs = (
        torch.autograd.grad(value * 0.3, wanted, allow_unused=True, materialize_grads=True)
        for value in (made.loss(hidden, targets), told.sum())
    )
    torch.testing.assert_close(ours, theirs)


def mixture_by_hand(hidden, weight, bias):
    """The paper's formula in probabilities, all softmaxes at once: ``(N, V)``."""
    vectors, prior = hidden[:, : K * E].view(N, K, E), hidden[:, K * E :]
    softmaxes = torch.einsum("nke,ve->nkv", vectors, weight).add(bias).softmax(-1)
    return torch.einsum("nk,nkv->nv", prior.softmax(-1), softmaxes).log()


@pytest.mark.parametrize("rows", [1, 7, 64, 1000])
def test_a_mixture_is_a_weighted_mean_of_softmaxes(rows, monkeypatch):
    monkeypatch.setattr(softmax, "chunk_rows", lambda weight: rows)
    monkeypatch.setattr(
        softmax.BlockSizes, "on", lambda device: softmax.BlockSizes(9, 40 * rows, rows)
    )
    made, targets = layer(*MIXTURE), torch.randint(V, (N,))
    hidden, inputs = hidden_for(made), [made.weight, made.bias]
    expected = mixture_by_hand(hidden, *inputs)
    nll = -expected[range(N), targets]
    torch.testing.assert_close(made.log_probabilities(hidden), expected)
    torch.testing.assert_close(made.token_nll(hidden, targets), nll)
    torch.testing.assert_close(made.loss(hidden, targets), nll.sum())
    torch.testing.assert_close(
        torch.autograd.grad(made.loss(hidden, targets) * 0.3, [hidden, *inputs]),
        torch.autograd.grad(nll.sum() * 0.3, [hidden, *inputs], retain_graph=True),
    )
    with torch.no_grad():
        found = made.token_measures(hidden, targets, 5, entropy=True)
        torch.testing.assert_close(found.nll, nll)
        own = expected.gather(1, targets.unsqueeze(1))
        torch.testing.assert_close(found.rank, (expected >= own).sum(1))
        assert torch.equal(found.behind, (expected >= own)[:, 5])
        torch.testing.assert_close(found.entropy, -(expected.exp() * expected).sum(1))
        assert made.token_measures(hidden, targets, 5).entropy is None
        some = torch.tensor([3, 49, 0])
        scores = made.word_scores(hidden, some) - expected[:, some]
        torch.testing.assert_close(scores, scores[:, :1].expand(N, 3))


def test_experts_are_the_paper_s_and_their_vectors_alone_are_dropped():
    torch.manual_seed(0)
    experts, h = Experts(5, E, K).double(), torch.randn(9, 4, 5, dtype=torch.float64)
    found = experts(h)
    vectors = [
        torch.tanh(h @ weight.T + bias)
        for weight, bias in zip(
            experts.latent.weight.split(E), experts.latent.bias.split(E), strict=True
        )
    ]
    torch.testing.assert_close(found, torch.cat([*vectors, h @ experts.prior.weight.T], dim=-1))
    dropped = experts.apply_dropout(found, 0.5) / found
    assert torch.equal(dropped[..., K * E :], torch.ones(9, 4, K).double())
    kept = dropped[..., : K * E]
    torch.testing.assert_close(kept, kept[:1].expand_as(kept))  # one mask for the whole window
    share = float((kept[0].round() == 2).double().mean())
    assert set(kept[0].round().flatten().tolist()) == {0, 2} and 0.3 < share < 0.7
    assert not torch.equal(kept[0, 0], kept[0, 1])


def test_gradcheck_of_a_mixture(batch):
    made = layer(*MIXTURE)
    hidden, targets = hidden_for(made, 5), batch[1][:5]

    def loss(hidden, weight, bias):
        vectors, prior = hidden[:, : K * E].reshape(-1, E), hidden[:, K * E :].log_softmax(1)
        return softmax.chunked_loss(vectors, weight, bias, targets, None, prior)

    assert torch.autograd.gradcheck(loss, (hidden, made.weight, made.bias))
    torch.testing.assert_close(loss(hidden, made.weight, made.bias), made.loss(hidden, targets))


def test_a_mixture_is_exact_where_probabilities_underflow_float32():
    made = layer(*MIXTURE)
    hidden = hidden_for(made) * 200
    expected = made.log_probabilities(hidden)
    targets = expected.argmin(1)
    assert expected.min() < -500
    low, wanted = made.float(), -expected[range(N), targets].float()
    torch.testing.assert_close(low.token_nll(hidden.float(), targets), wanted)
    found = low.token_measures(hidden.float(), targets, 5, entropy=True)
    torch.testing.assert_close(found.nll, wanted)
    assert torch.equal(found.rank, torch.full((N,), V)) and found.behind.all()
    torch.testing.assert_close(
        found.entropy, -(expected.exp() * expected).sum(1).float(), rtol=1e-3, atol=1e-3
    )
    assert low.token_nll(hidden[:0].float(), targets[:0]).shape == (0,)


def test_a_cluster_has_an_entry_in_the_head_and_vectors_of_its_own_width(batch):
    """By hand: p(cluster) times p(word within it); the projection widens the words' vectors."""
    made, hidden = layer(*ADAPTIVE), batch[0].detach()
    torch.nn.init.normal_(made.cluster_bias)
    assert [tuple(weight.shape) for weight in made.words.weights] == [(7, 6), (13, 3), (30, 2)]
    head = hidden @ torch.cat([made.words.weights[0], made.cluster_weight]).T
    head = (head + torch.cat([made.bias[:7], made.cluster_bias])).log_softmax(1)
    widened = made.words.weights[2] @ made.words.projections[1].T  # (30, E)
    last = head[:, 8:] + (hidden @ widened.T + made.bias[20:]).log_softmax(1)
    torch.testing.assert_close(
        made.log_probabilities(hidden),
        torch.cat([head[:, :7], made.log_probabilities(hidden)[:, 7:20], last], dim=1),
    )
    torch.testing.assert_close(
        made.words(torch.tensor([[3, 20, 49]])),
        torch.stack([made.words.weights[0][3], widened[0], widened[29]])[None],
    )


def test_without_narrowing_an_adaptive_embedding_is_a_rotated_table():
    torch.manual_seed(0)
    words, tokens = AdaptiveEmbedding(V, E, (7, 20), 1.0), torch.arange(V).view(5, 10)
    vectors = words(tokens).view(V, E)
    torch.testing.assert_close(
        vectors.norm(dim=1), torch.cat([w.norm(dim=1) for w in words.weights])
    )
    torch.testing.assert_close(vectors[:7], words.weights[0])


def test_with_sparse_only_sampled_rows_have_a_gradient(batch):
    hidden, targets = batch
    found = []
    for sparse in (False, True):
        made = layer(SampledOutput, 10).train()
        made.start_from_counts(torch.arange(V))
        made.sparse = sparse
        torch.manual_seed(3)
        found.append(torch.autograd.grad(made.loss(hidden, targets), made.weight)[0])
    assert found[1].is_sparse and found[1].coalesce().indices().shape[1] < V
    torch.testing.assert_close(found[1].to_dense(), found[0])


SAMPLED = [((SampledOutput, 10), (FullOutput,)), (SAMPLED_MIXTURE, MIXTURE)]


@pytest.mark.parametrize("kind, exact", SAMPLED)
def test_sampled_evaluation_is_exact_and_training_needs_counts(batch, kind, exact):
    sampled, full = layer(*kind), layer(*exact)
    hidden = hidden_for(full)
    torch.testing.assert_close(
        sampled.eval().loss(hidden, batch[1]), full.train().loss(hidden, batch[1])
    )
    with pytest.raises(RuntimeError, match="start_from_counts"):
        sampled.train().loss(hidden, batch[1])


@pytest.mark.parametrize("kind, exact", SAMPLED)
def test_a_sample_of_all_words_equals_the_full_softmax(batch, kind, exact):
    sampled, full = layer(*kind), layer(*exact)
    hidden = hidden_for(full)
    for each in (sampled, full):
        each.start_from_counts(torch.arange(V))
    sampled.draw_chance.fill_(1.0)
    results = []
    for each in (sampled.train(), full):
        loss = each.loss(hidden, batch[1])
        results.append([loss, *torch.autograd.grad(loss, [hidden, each.weight, each.bias])])
    torch.testing.assert_close(*results)
    sampled.draw_chance.fill_(0.1)
    with torch.no_grad():
        assert abs(sampled.loss(hidden, batch[1]) - full.loss(hidden, batch[1])) > 1e-3


def test_all_softmaxes_of_a_mixture_are_estimated_from_one_sample(batch):
    """By hand: the log-softmax of each over the candidates, by the chances to be one."""
    made = layer(*SAMPLED_MIXTURE)
    hidden, targets = hidden_for(made), batch[1]
    made.start_from_counts(torch.arange(V))
    torch.manual_seed(3)
    with torch.no_grad():
        loss = made.train().loss(hidden, targets)
    torch.manual_seed(3)
    drawn = torch.bernoulli(made.draw_chance).bool()
    share = made.word_share
    chance = 1 - (1 - made.draw_chance) * (1 - share) ** (N - 1)
    is_candidate = drawn.index_fill(0, targets, True)
    vectors, log_prior = hidden[:, : K * E].view(N, K, E), hidden[:, K * E :].log_softmax(1)
    logits = (vectors @ made.weight.T + made.bias).masked_fill(~is_candidate, -torch.inf)
    odds = logits - chance.log()
    odds[range(N), :, targets] = logits[range(N), :, targets]
    joint = log_prior + odds.log_softmax(-1)[range(N), :, targets]
    torch.testing.assert_close(loss, -joint.logsumexp(1).sum())


@pytest.mark.parametrize("kind", KINDS)
def test_training_starts_from_the_frequencies_of_the_words(kind):
    made, counts = layer(*kind), torch.arange(V)
    made.start_from_counts(counts)
    start = made.log_probabilities(torch.zeros(width_of(made), dtype=torch.float64)).exp()
    torch.testing.assert_close(start, (counts + 1).double() / (counts + 1).sum())


@pytest.mark.slow
def test_the_sampled_denominator_is_unbiased(batch):
    """The mean of the estimated denominators over many windows is the true one."""
    hidden, _ = batch
    sampled = layer(SampledOutput, 15).train()
    counts = torch.arange(1, V + 1).double()
    sampled.start_from_counts(counts)
    assert abs(float(sampled.draw_chance.sum()) - 15) < 0.1
    hidden = hidden[:1].detach().expand(N, E)
    logits = F.linear(hidden[0], sampled.weight, sampled.bias)
    estimates = []
    for seed in range(4000):
        torch.manual_seed(seed)
        targets = torch.multinomial(counts, N, replacement=True)
        with torch.no_grad():
            loss = sampled.loss(hidden, targets) + logits[targets].sum()  # sum of log denominators
        estimates.append(float((loss / N).exp()))
    true = float(logits.exp().sum().detach())
    assert abs(sum(estimates) / len(estimates) / true - 1) < 0.05


def test_low_precision_is_close(batch):
    hidden, targets = batch[0].detach().float(), batch[1]
    full = layer().float()
    exact = full.loss(hidden, targets)
    with torch.autocast("cpu", torch.bfloat16):
        rough = full.loss(hidden.requires_grad_(), targets)
    rough.backward()
    assert rough.dtype == torch.float32 and full.weight.grad.dtype == torch.float32
    assert abs(float(rough.detach() / exact.detach()) - 1) < 0.02


@pytest.mark.parametrize(
    "words",
    [
        softmax.LOW_PRECISION_MULTIPLE,
        softmax.LOW_PRECISION_MULTIPLE + 1,
        2 * softmax.LOW_PRECISION_MULTIPLE - 1,
    ],
)
@pytest.mark.parametrize("kind", ["full", "sampled", "sparse", "mixture", "sampled mixture"])
def test_gradients_in_low_precision_are_close(kind, words):
    torch.manual_seed(words)
    half = words // 2
    made = {
        "full": lambda: FullOutput(words, 8),
        "mixture": lambda: MixtureOutput(words, 8, 2),
        "sampled mixture": lambda: MixtureOutput(words, 8, 2, half),
    }.get(kind, lambda: SampledOutput(words, 8, half))()
    made.start_from_counts(torch.arange(words) + 1)
    if kind == "sparse":
        made.sparse = True
    width = 18 if "mixture" in kind else 8
    hidden, targets = torch.randn(N, width, requires_grad=True), torch.randint(words, (N,))
    found = []
    for low in (False, True):
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            loss = made.loss(hidden, targets)
        found.append(
            [d.to_dense() for d in torch.autograd.grad(loss, [hidden, made.weight, made.bias])]
        )
    near = 0.05 if "mixture" in kind else 0.02  # rounded losses change the softmaxes' shares, too
    for exact, rough in zip(*found, strict=True):
        assert rough.dtype == torch.float32 and exact.abs().max() > 0
        torch.testing.assert_close(rough, exact, rtol=near, atol=near * float(exact.abs().max()))
