"""Dynamic evaluation: the weights go on learning from the text that is scored.

After every step of some words, which were scored before, a copy of the network takes one step down
the gradient of their mean nll. How far a weight moves depends on how large its gradient usually is,
which is measured once on train, as the root of the mean square of its gradient over batches::

    weight  -=  rate * gradient / (rms + FLOOR * mean of rms over its tensor)

So weights whose gradient is usually small, such as those of rare words, move as far as others.

With a softmax over all words, the gradient leaves out words that had a probability of less than
`LEAST_PROBABILITY` everywhere in the step, and did not occur in it. So few rows of the word vectors
move. The probabilities that are scored are exact in any case.

Shapes: T words of a step, B batch, E width of the output layer's input, V vocab_size.

Source: Krause et al. 2018 (arXiv 1709.07432), their rule with root mean squares. Differs from it:
no decay towards the trained weights, which made it worse here; the floor is relative.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lstm_lm.corpus.windows import NO_TARGET, Streams, TokenIds
from lstm_lm.model.network import Network
from lstm_lm.model.output import FullOutput, SampledOutput
from lstm_lm.model.recurrent import LayerStates

FLOOR = 3.0
LEAST_PROBABILITY = 3e-4
# How the gradient's size is measured: batches of train, spread over it evenly.
BATCHES, STREAMS, WORDS = 100, 16, 20

GradientSizes = Mapping[str, Tensor]  # a parameter's name -> root mean square, of its shape


class Piece(NamedTuple):
    """A part of a gradient.

    Attributes:
        parameter: its name.
        rows: the rows of the parameter that it is for, int64, each once; None for all.
        gradient: of these rows.
    """

    parameter: str
    rows: Tensor | None
    gradient: Tensor


class Step(NamedTuple):
    """What a network computes of some words.

    Attributes:
        hidden: the output layer's input before every word, ``(T*B, E)``.
        nll: of every word in nats, ``(T*B,)``.
        state: after the last word.
        pieces: of the gradient of their mean nll; those of one parameter are to be added.
    """

    hidden: Tensor
    nll: Tensor
    state: LayerStates
    pieces: list[Piece]


def take_step(
    network: Network,
    inputs: Tensor,
    targets: Tensor,
    state: LayerStates,
    least_probability: float,
) -> Step:
    """Computes nll and gradient of a window.

    Args:
        network: in evaluation mode; its parameters need gradients, and have none yet.
        inputs: int64 ids ``(T, B)``.
        targets: the word after each, ``(T, B)``.
        state: before the window.
        least_probability: see the module; 0 for the whole gradient.
    """
    output = network.output
    vectors_alone = type(output) in (FullOutput, SampledOutput)
    if vectors_alone and isinstance(network.embedding, nn.Embedding):
        network.embedding.sparse = True  # its gradient then has only the rows that were read
    hidden, state = network.hidden(inputs, state)
    flat, targets = hidden.flatten(0, 1), targets.flatten()
    seen = flat.detach()
    if vectors_alone:
        assert isinstance(output, FullOutput)
        nll, d_hidden, pieces = _through_softmax(output, seen, targets, least_probability)
        if output.weight is network.embedding.weight:
            pieces = [
                piece._replace(parameter=piece.parameter.replace("output.w", "embedding.w"))
                for piece in pieces
            ]
        flat.backward(d_hidden)
    else:
        with torch.no_grad():
            nll = output.token_nll(seen, targets)
        pieces = []
        (output.loss(flat, targets) / len(targets)).backward()
    for name, parameter in network.named_parameters():
        if parameter.grad is not None:
            pieces.append(_piece(name, parameter.grad))
            parameter.grad = None
    return Step(seen, nll, [layer.detach() for layer in state], pieces)


def _piece(name: str, gradient: Tensor) -> Piece:
    if not gradient.is_sparse:
        return Piece(name, None, gradient)
    gradient = gradient.coalesce()
    return Piece(name, gradient.indices()[0], gradient.values())


@torch.no_grad()
def _through_softmax(
    output: FullOutput, hidden: Tensor, targets: Tensor, least_probability: float
) -> tuple[Tensor, Tensor, list[Piece]]:
    """The nll ``(N,)``, the gradient of ``hidden (N, E)``, and that of the output layer.

    With ``p = softmax(h W^T + b)`` and ``d = (p - onehot(target)) / N``, without the columns of the
    words that are left out::

        dh = d W        dW = d^T h        db = sum d
    """
    logits = torch.addmm(output.bias, hidden, output.weight.T)  # (N, V)
    place = targets.unsqueeze(1)
    wanted, top = logits.gather(1, place), logits.amax(1, keepdim=True)
    d = logits.sub_(top).exp_()
    total = d.sum(1, keepdim=True)
    nll = (total.log() + top - wanted).squeeze(1).clamp_(min=0)
    d.div_(total)
    rows = None
    if least_probability:
        is_moved = d.amax(0) >= least_probability
        is_moved[targets] = True
        rows = is_moved.nonzero().squeeze(1)
    d.scatter_add_(1, place, d.new_full(place.shape, -1.0)).div_(len(targets))
    weight: Tensor = output.weight
    if rows is not None:
        d, weight = d[:, rows], weight[rows]
    pieces = [Piece("output.weight", rows, d.T @ hidden), Piece("output.bias", rows, d.sum(0))]
    return nll, d @ weight, pieces


def measure_gradient_sizes(network: Network, tokens: TokenIds, eos_id: int) -> dict[str, Tensor]:
    """Measures the root mean square of every parameter's gradient over batches of a text.

    Args:
        network: in any mode; it is not changed.
        tokens: ids of train; at most `BATCHES` batches of `STREAMS` times `WORDS` words are read,
            spread over the whole.
        eos_id: the id of ``<eos>``.
    """
    network = _learning_copy(network)
    streams = Streams(tokens, min(STREAMS, len(tokens)), eos_id)
    words = min(WORDS, int((streams.ends - streams.starts).min()))
    starts = range(0, streams.length - words + 1, max(words, streams.length // BATCHES))
    squares = {name: torch.zeros_like(weight) for name, weight in network.named_parameters()}
    state = network.initial_state(len(streams.starts))
    count = 0
    for start in starts:
        inputs, targets = (ids.to(network.device) for ids in streams.window(start, start + words))
        if (targets == NO_TARGET).any():
            break
        step = take_step(network, inputs, targets, state, 0)
        state, count = step.state, count + 1
        whole: dict[str, Tensor] = {}
        for name, rows, gradient in step.pieces:
            if name not in whole:
                whole[name] = torch.zeros_like(squares[name])
            if rows is None:
                whole[name] += gradient
            else:
                whole[name].index_add_(0, rows, gradient)
        for name, gradient in whole.items():
            squares[name].addcmul_(gradient, gradient)
    return {name: (square / count).sqrt_() for name, square in squares.items()}


def _learning_copy(network: Network) -> Network:
    return copy.deepcopy(network).eval().requires_grad_(True)


class DynamicNetwork:
    """A copy of a network that learns from what it reads; the network itself never changes.

    Args:
        network: in any mode.
        sizes: what `measure_gradient_sizes` returned for it.
        rate: how far a weight moves in a step whose gradient is as large as on train.

    Attributes:
        network: the copy, in evaluation mode.
    """

    def __init__(self, network: Network, sizes: GradientSizes, rate: float) -> None:
        self.network, self._trained = _learning_copy(network), network
        self._rate = rate
        self._weights = dict(self.network.named_parameters())
        self._paces = {}  # how far each weight moves for a gradient of 1, in units of the rate
        for name, weight in self._weights.items():
            size = sizes[name].to(weight)
            # a gradient that was always 0 has no usual size: such a weight stays as it is
            pace = (size + FLOOR * size.mean()).reciprocal()
            self._paces[name] = torch.where(pace.isfinite(), pace, torch.zeros_like(pace))

    @torch.no_grad()
    def restart(self) -> None:
        """Goes back to the weights of the trained network."""
        trained = dict(self._trained.named_parameters())
        for name, weight in self._weights.items():
            weight.copy_(trained[name])

    def learn(self, inputs: Tensor, targets: Tensor, state: LayerStates) -> Step:
        """Scores a step of words with the weights as they are, and then learns from them.

        Args:
            inputs: int64 ids ``(T,)``.
            targets: the word after each, ``(T,)``.
            state: before the first.
        """
        step = take_step(
            self.network, inputs.unsqueeze(1), targets.unsqueeze(1), state, LEAST_PROBABILITY
        )
        with torch.no_grad():
            for name, rows, gradient in step.pieces:
                weight, pace = self._weights[name], self._paces[name]
                if rows is None:
                    weight.addcmul_(gradient, pace, value=-self._rate)
                else:
                    weight.index_add_(0, rows, gradient * pace[rows], alpha=-self._rate)
        return step
