"""A network that continues another one: its weights, and the vectors of words that are new.

Shapes: V words of the older network, N new words, E embedding_dim, D width of a cluster's vectors.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from lstm_lm.corpus.windows import Streams, TokenIds, iterate_spans
from lstm_lm.model.adaptive import AdaptiveEmbedding, AdaptiveOutput
from lstm_lm.model.network import Network
from lstm_lm.model.output import FullOutput

_MOST_READ = 2**18  # tokens of the new text; two thousand occurrences say no more than a hundred
_STREAMS, _WINDOW = 16, 64  # read side by side, and at a time
_MOST_EXPECTED = 100  # words in a place: they have most of the probability


@torch.no_grad()
def continue_network(
    network: Network, older: Network, likeness: Tensor, counts: Tensor | None = None
) -> None:
    """Gives a network the weights of an older one, whose words are its first ones.

    Logits of the older network's words are then the same in both; of a mixture, those of each
    softmax. With an adaptive output, new words belong to the last cluster.

    Args:
        network: receives the weights; of the same sizes and cell, with ``V + N`` words.
        older: the network with V words.
        likeness: float32 ``(N, V)``, sparse or not, each row sums to 1: a new word's vectors are
            the mean of the older words' vectors with these weights.
        counts: how often each of the ``V + N`` words occurs in the new text. The bias of a new word
            is the mean bias of the older words that occur about as often. None: all alike.
    """
    known = older.vocab_size
    older_weights = dict(older.named_parameters())
    for name, weight in network.named_parameters():
        before = older_weights[name].to(weight)
        assert weight.shape[1:] == before.shape[1:] and len(weight) >= len(before), name
        weight[: len(before)] = before
    if network.vocab_size == known:
        return
    _fill(network.embedding, older.embedding, likeness)
    if not network.config.tie_weights:
        _fill(_words(network.output), _words(older.output), likeness)
    bias = network.output.bias
    first = 2  # after <unk> and <eos>
    if isinstance(network.output, AdaptiveOutput) and len(network.output.ends) > 1:
        first = network.output.ends[-2]  # biases of one cluster can be compared
    bias[known:] = _new_biases(bias[first:known], counts, first, network.vocab_size - known)


@torch.no_grad()
def likeness_by_context(older: Network, tokens: TokenIds, new: int, eos_id: int) -> Tensor:
    """Finds old words that are like the new ones: those that are expected in their places.

    The older network reads the new text, in which new words are unknown to it. A new word is like
    ``<unk>`` by one half. The other half is what the network expects in the word's places, apart
    from ``<unk>`` and line ends.

    Args:
        older: a network with V words.
        tokens: the new text, ids below ``V + N``; its beginning is read.
        new: N.
        eos_id: the id of a line end.

    Returns:
        The weights for `continue_network`, float32 ``(N, V)``, sparse.
    """
    known, unk_id = older.vocab_size, 0
    older.eval()
    streams = Streams(tokens[:_MOST_READ], _STREAMS, eos_id)
    state = older.initial_state(_STREAMS)
    places = [torch.empty(2, 0, dtype=torch.int64)]
    chances = [torch.empty(0)]
    for start, stop in iterate_spans(streams.length if new else 0, _WINDOW):
        inputs, targets = streams.window(start, stop)
        hidden, state = older.hidden(inputs.masked_fill(inputs >= known, unk_id), state)
        is_new = targets >= known
        expected = older.output.log_probabilities(hidden[is_new]).exp()
        expected[:, [unk_id, eos_id]] = 0
        highest, words = expected.topk(min(_MOST_EXPECTED, known))  # (n, K)
        rows = (targets[is_new] - known).unsqueeze(1).expand_as(words)
        places.append(torch.stack([rows, words]).flatten(1))
        chances.append((highest / highest.sum(1, keepdim=True)).flatten())
    rows, words = torch.cat(places, 1)
    weights = torch.cat(chances)
    totals = torch.zeros(new).index_add_(0, rows, weights)  # how often each word was met
    own_share = torch.where(totals > 0, 0.5, 1.0)
    weights = weights * 0.5 / totals[rows]
    as_unknown = torch.stack([torch.arange(new), torch.full((new,), unk_id)])
    return torch.sparse_coo_tensor(
        torch.cat([as_unknown, torch.stack([rows, words])], 1),
        torch.cat([own_share, weights]),
        (new, known),
        check_invariants=True,
    ).coalesce()


@torch.no_grad()
def use_word_vectors(network: Network, ids: Tensor, vectors: Tensor) -> None:
    """Gives words of a new network vectors that were learned elsewhere, as input vectors.

    All are scaled by one number, so that they are as large as drawn ones. A cluster of an adaptive
    network has narrower vectors: its projection becomes the directions in which the given ones
    differ most.

    Args:
        network: receives them.
        ids: of the words, int64 ``(N,)``.
        vectors: float32 ``(N, E)``.
    """
    if not len(ids):
        return
    width = vectors.shape[1]
    vectors = vectors * (1 / (3 * width) / vectors.square().mean().clamp(min=1e-30)).sqrt()
    table = network.embedding
    if not isinstance(table, AdaptiveEmbedding):
        weight = table.weight
        weight[ids.to(weight.device)] = vectors.to(weight)
        return
    for k, (start, end) in enumerate(pairwise([0, *table.ends])):
        there = (ids >= start) & (ids < end)
        weight, found = table.weights[k], vectors[there]
        if k and len(found):
            _, directions = torch.linalg.eigh(found.T.double() @ found.double())
            projection = directions[:, -weight.shape[1] :].to(found)  # (E, D)
            table.projections[k - 1].copy_(projection)
            found = found @ projection
        weight[(ids[there] - start).to(weight.device)] = found.to(weight)


WordTable = nn.Embedding | FullOutput | AdaptiveEmbedding
"""What has the vectors of all words."""


def _words(output: FullOutput | AdaptiveOutput) -> WordTable:
    """The word vectors of an output layer."""
    return output.words if isinstance(output, AdaptiveOutput) else output


def _fill(table: WordTable, older: WordTable, likeness: Tensor) -> None:
    """Sets the vectors of the new words, the last rows of a table."""
    new = len(likeness)
    if not isinstance(table, AdaptiveEmbedding):
        assert not isinstance(older, AdaptiveEmbedding)
        table.weight[-new:] = likeness @ older.weight
        return
    assert isinstance(older, AdaptiveEmbedding)
    vectors = likeness @ older(torch.arange(older.ends[-1]))  # (N, E)
    if len(table.weights) > 1:  # the nearest vectors that the cluster's projection can make
        vectors = vectors @ torch.linalg.pinv(table.projections[-1]).T
    table.weights[-1][-new:] = vectors


def _new_biases(biases: Tensor, counts: Tensor | None, first: int, new: int) -> Tensor:
    """The biases ``(N,)`` of new words: of older words that the text has about as often.

    Args:
        biases: of the older words from id ``first`` on.
        counts: of all words, see `continue_network`.
        first: an id.
        new: N.
    """
    if counts is None:
        return biases.mean().expand(new)
    known = first + len(biases)
    old, found = counts[first:known], []
    means: dict[int, Tensor] = {}
    for count in counts[known : known + new].tolist():
        if count not in means:
            distance = ((old + 1).log() - torch.tensor(count + 1.0).log()).abs()
            alike = distance <= max(float(distance.min()), 0.25)
            means[count] = biases[alike.to(biases.device)].mean()
        found.append(means[count])
    return torch.stack(found)
