"""The network: ids in, log-probabilities of the next word out. `LanguageModel` adds the words.

    embedding -> stack of cells -> layer normalisation -> projection -> output layer

Shapes: T time, B batch, E embedding_dim, H hidden_size of the top layer, V vocab_size. Time comes
first.
"""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from lstm_lm.cells import find_cell
from lstm_lm.config import MIXTURES, ModelConfig
from lstm_lm.model.activation import ActivationPenalty
from lstm_lm.model.adaptive import AdaptiveEmbedding, AdaptiveOutput
from lstm_lm.model.batch_part import BatchPart, draw_uniform
from lstm_lm.model.dropout import apply_word_dropout, check_dropout_rates, draw_locked_mask
from lstm_lm.model.mixture import Experts, MixtureOutput
from lstm_lm.model.output import FullOutput, SampledOutput, draw_word_vectors
from lstm_lm.model.recurrent import LayerStates, RecurrentStack
from lstm_lm.random_numbers import RandomNumbers


class Network(nn.Module):
    """A next-word network on a hand-written recurrent cell.

    Args:
        config: sizes, cell, dropouts and output layer.
        vocab_size: V, the number of words.

    Attributes:
        embedding: word vectors, a matrix ``(V, E)``, or an `AdaptiveEmbedding` if the output is
            adaptive. Vectors are multiplied by ``sqrt(E)`` before they enter the stack: a tied
            matrix is then small enough for the softmax and large enough for the gates (Vaswani et
            al. 2017, arXiv 1706.03762).
        recurrent: the `RecurrentStack`.
        norm: layer normalisation of the top layer's output, or the identity.
        projection: ``H -> E`` without bias if a tied model's H differs from its E; the `Experts` of
            a mixture of softmaxes; or the identity.
        output: the output layer. With ``tie_weights`` its word vectors are the embedding's.
        random_numbers: from which a training draws, such as its dropout; torch's global generators,
            unless the training has its own.
    """

    def __init__(self, config: ModelConfig, vocab_size: int) -> None:
        super().__init__()
        check_dropout_rates(
            embedding_dropout=config.embedding_dropout,
            output_dropout=config.output_dropout,
            mixture_dropout=config.mixture_dropout,
        )
        self.config, self.vocab_size = config, vocab_size
        self.random_numbers = RandomNumbers()
        size = config.hidden_size
        sizes = size if isinstance(size, tuple) else (size,) * config.num_layers
        width, top = config.embedding_dim, sizes[-1]
        is_mixture = config.output in MIXTURES
        output_width = width if config.tie_weights or is_mixture else top
        self.embedding = self._build_embedding(width)
        self.recurrent = RecurrentStack(
            config.cell,
            width,
            sizes,
            recurrence=config.recurrence,
            input_dropout=config.input_dropout,
            hidden_dropout=config.hidden_dropout,
            weight_dropout=config.weight_dropout,
            memory_words=config.memory_words,
            cell_settings=cell_settings(config),
        )
        self.norm = nn.LayerNorm(top) if config.output_norm else nn.Identity()
        self.projection: nn.Module = nn.Identity()
        if is_mixture:
            self.projection = Experts(top, output_width, config.mixture_softmaxes)
        elif top != output_width:
            self.projection = nn.Linear(top, output_width, bias=False)
        self.output = self._build_output(output_width)
        # `load_state_dict(assign=True)` replaces tied weights by two of their own.
        self.register_load_state_dict_post_hook(_tie_again)

    def _build_embedding(self, width: int) -> nn.Embedding | AdaptiveEmbedding:
        config = self.config
        if config.output == "adaptive":
            return AdaptiveEmbedding(
                self.vocab_size, width, config.adaptive_cutoffs, config.adaptive_factor
            )
        vectors = draw_word_vectors(self.vocab_size, width)
        return nn.Embedding.from_pretrained(vectors, freeze=False)

    def _build_output(self, width: int) -> FullOutput | AdaptiveOutput:
        config, tied = self.config, self.embedding if self.config.tie_weights else None
        if config.output == "adaptive":
            assert tied is None or isinstance(tied, AdaptiveEmbedding)
            return AdaptiveOutput(
                self.vocab_size, width, config.adaptive_cutoffs, config.adaptive_factor, tied
            )
        assert tied is None or isinstance(tied, nn.Embedding)
        weight = None if tied is None else cast(nn.Parameter, tied.weight)
        if config.output in MIXTURES:
            sampled_words = config.sampled_words if config.output == "sampled_mos" else None
            return MixtureOutput(
                self.vocab_size, width, config.mixture_softmaxes, sampled_words, weight
            )
        if config.output == "sampled":
            return SampledOutput(self.vocab_size, width, config.sampled_words, weight)
        return FullOutput(self.vocab_size, width, weight)

    def tie_weights(self) -> None:
        """Shares the embedding's vectors with the output layer again, after they were replaced."""
        if not self.config.tie_weights:
            return
        if isinstance(self.output, AdaptiveOutput):
            self.output.words = cast(AdaptiveEmbedding, self.embedding)
        else:
            self.output.weight = cast(nn.Parameter, self.embedding.weight)

    def set_dropout_share(self, share: float) -> None:
        """Multiplies all dropout rates of the configuration by ``share``, in [0, 1]; 1 at first.

        Raises:
            ValueError: if the share is outside [0, 1].
        """
        if not 0 <= share <= 1:
            raise ValueError(f"share is {share!r}; it must be a number in [0, 1]")
        self.recurrent.dropout_share = share

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.output.bias.device

    @property
    def parameter_count(self) -> int:
        """The number of learned numbers; a tied matrix counts once."""
        return sum(parameter.numel() for parameter in self.parameters())

    def in_double_precision(self) -> Network:
        """This network in float64 and evaluation mode: itself if it is so already, else a copy.

        In float32 the rounding of a matrix product depends on its shape. So a word's
        log-probability depends on the texts scored beside it, by about 1e-6 nats, and more after a
        long text. In float64 it depends by 1e-14, and scoring takes about twice the time.
        """
        if self.output.bias.dtype == torch.float64 and not self.training:
            return self
        device = "cpu" if self.device.type == "mps" else self.device  # mps has no float64
        return copy.deepcopy(self).to(device, torch.float64).eval()

    def in_evaluation_mode(self) -> Network:
        """This network in evaluation mode, with the same parameters; `training` stays as it is.

        Itself if it is in that mode. So a network can answer while it is trained, and from several
        threads at once.
        """
        if not self.training:
            return self
        shared = {id(tensor): tensor for tensor in (*self.parameters(), *self.buffers())}
        return copy.deepcopy(self, shared).eval()

    def initial_state(self, batch_size: int = 1) -> LayerStates:
        """The state before the first word: zeros ``(B, H)``, one state per layer."""
        return self.recurrent.initial_state(batch_size)

    def embed(self, tokens: Tensor) -> Tensor:
        """Returns the vectors ``(T, B, E)`` of ``tokens (T, B)``, as the stack reads them."""
        embedded = self.embedding(tokens)
        if self.training:
            rate = self.config.embedding_dropout * self.recurrent.dropout_share
            embedded = apply_word_dropout(embedded, tokens, self.vocab_size, rate)
        return embedded * math.sqrt(self.config.embedding_dim)

    def hidden(
        self, tokens: Tensor, state: LayerStates | None = None, keep: Tensor | None = None
    ) -> tuple[Tensor, LayerStates]:
        """Reads words up to, but not including, the output layer.

        Args:
            tokens: int64 ids ``(T, B)``.
            state: the state before them; zeros if None.
            keep: bool ``(T, B)``; where it is False, the state is zero before that word
                (`draw_keep_mask`).

        Returns:
            The output layer's input after each word, ``(T, B, E)``, of a mixture of softmaxes wider
            (`Experts`), and the state after the last word.
        """
        state = self.initial_state(tokens.shape[1]) if state is None else state
        outputs, state = self.recurrent(self.embed(tokens), state, keep)
        return self._prepare(outputs)[0], state

    def _prepare(
        self, outputs: Tensor, part: BatchPart | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Turns the top layer's outputs ``(T, B, H)`` into the output layer's input.

        Returns:
            It, ``(T, B, E)``, and the mask of the dropout ``(1, B, H)``; None without dropout.
        """
        outputs, share = self.norm(outputs), self.recurrent.dropout_share
        rate = self.config.output_dropout * share
        mask = draw_locked_mask(outputs, rate, part) if self.training else None
        hidden = self.projection(outputs if mask is None else outputs * mask)
        if self.training and isinstance(self.projection, Experts):
            rate = self.config.mixture_dropout * share
            hidden = self.projection.apply_dropout(hidden, rate, part)
        return hidden, mask

    def forward(
        self, tokens: Tensor, state: LayerStates | None = None
    ) -> tuple[Tensor, LayerStates]:
        """Reads words and predicts the word after each of them.

        Args:
            tokens: int64 ids ``(T, B)``.
            state: the state before them; zeros if None.

        Returns:
            Log-probabilities ``(T, B, V)`` of the next word, in nats, and the state after the last
            word. All ``(T, B, V)`` numbers are in memory: use `loss` to train, `token_nll` to
            score.
        """
        hidden, state = self.hidden(tokens, state)
        return self.output.log_probabilities(hidden), state

    def loss(
        self,
        tokens: Tensor,
        targets: Tensor,
        state: LayerStates,
        keep: Tensor | None = None,
        penalty: ActivationPenalty | None = None,
        part: BatchPart | None = None,
    ) -> tuple[Tensor, LayerStates]:
        """The training objective of one window.

        Args:
            tokens: int64 ids ``(T, B)``.
            targets: the word after each, ``(T, B)``; negative where there is none.
            state: the state before the window.
            keep: see `hidden`.
            penalty: of the last layer's outputs.
            part: which streams of a batch these are, if they are not all. The losses of all parts
                add up to that of the batch.

        Returns:
            The nll of all targets, summed, in nats: a scalar; and the state after the window. In
            training mode a sampled output layer returns an estimate of it. With a penalty, the
            value is the nll alone, and the gradient is that of their sum.
        """
        outputs, state = self.recurrent(self.embed(tokens), state, keep, part)
        hidden, mask = self._prepare(outputs, part)
        is_target = targets >= 0
        own = hidden[is_target], targets[is_target]
        if part and isinstance(self.output, SampledOutput) and self.output.is_sampled:
            everywhere = part.gather(targets)  # (T, B) of the whole batch
            nll = self.output.loss(*own, everywhere[everywhere >= 0])
        else:
            nll = self.output.loss(*own)
        if penalty is not None:
            added = penalty.of(outputs, mask)
            nll = nll + (added - added.detach())
        return nll, state

    def token_nll(
        self,
        tokens: Tensor,
        targets: Tensor,
        state: LayerStates | None = None,
        keep: Tensor | None = None,
    ) -> tuple[Tensor, LayerStates]:
        """The exact nll ``(T, B)`` of every target in nats, and the state after the last word.

        Arguments are those of `loss`. The nll is 0 where a target is negative.
        """
        hidden, state = self.hidden(tokens, state, keep)
        is_target = targets >= 0
        nll = hidden.new_zeros(targets.shape, dtype=self.output.bias.dtype)
        found = self.output.token_nll(hidden[is_target], targets[is_target]).to(nll.dtype)
        return nll.masked_scatter(is_target, found), state


def _tie_again(network: Network, _: object) -> None:
    """Ties what a state dict has untied. A hook is no method: a copy would call the original's."""
    network.tie_weights()


def cell_settings(config: ModelConfig) -> dict[str, Any]:
    """The settings that only this network's cell has, by name."""
    return {name: getattr(config, name) for name in find_cell(config.cell).own_settings}


def draw_keep_mask(
    tokens: Tensor, eos_id: int, reset_fraction: float, part: BatchPart | None = None
) -> Tensor | None:
    """Draws which lines start from a zero state.

    One ``<eos>`` stands before every line, so a line starts from zero where the state before its
    ``<eos>`` is not kept.

    Args:
        tokens: int64 ids ``(T, B)``.
        eos_id: the id of ``<eos>``.
        reset_fraction: the fraction of lines that start from a zero state, in [0, 1], drawn at
            random.
        part: which streams of a batch these are, if they are not all.

    Returns:
        A bool mask ``(T, B)``, False where the state is set to zero; None if all states are kept.
    """
    if not reset_fraction:
        return None
    keep = tokens != eos_id
    if reset_fraction < 1:
        keep |= draw_uniform(tokens, part) >= reset_fraction
    return keep


def empty_network(config: ModelConfig, vocab_size: int) -> Network:
    """Builds a network on the meta device: it has shapes, but no memory and no values.

    Raises:
        RuntimeError: a size is larger than torch can count.
    """
    with torch.device("meta"):
        # Times of memory are not drawn: on the meta device that would import torch's compiler.
        network = Network(replace(config, memory_words=None), vocab_size)
    network.config = config
    return network


def count_parameters(config: ModelConfig, vocab_size: int) -> int:
    """The number of parameters of a network with this configuration; allocates none of them."""
    return empty_network(config, vocab_size).parameter_count
