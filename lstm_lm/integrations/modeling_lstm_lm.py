"""A word-level recurrent language model for the transformers library.

    embedding -> cells -> layer normalisation -> projection -> output layer

The logits are log-probabilities of the next word, in nats. Words whose attention mask is 0 are not
read: the state stays as it is, on whichever side of the text they are. There is no dropout; to
train a model, use `lstm_lm`.

Shapes: B batch, T time, E embedding_dim, H hidden size of a layer, V vocab_size. Batch comes first
outside, time first inside.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.generation import utils as generation_utils
from transformers.utils import ModelOutput

from lstm_lm.cells import find_cell
from lstm_lm.integrations.configuration_lstm_lm import LstmLmConfig
from lstm_lm.model.adaptive import AdaptiveEmbedding, adaptive_log_probabilities
from lstm_lm.model.mixture import Experts, mixture_log_probabilities

# `generate` of transformers 5.24 and later has one name for every model's cache; earlier versions
# reorder the beams only of `past_key_values`.
CACHE_NAME = "cache" if "cache" in generation_utils.ALL_CACHE_NAMES else "past_key_values"


class LstmLmCache:
    """The state after the words that were read: all that is needed to read on.

    Args:
        states: one state per layer, the lowest first: named tuples of ``(B, H)``.
        words_read: the length of the text so far, padding included.
    """

    is_compileable = False
    is_croppable = False

    def __init__(self, states: list[Any], words_read: int) -> None:
        self.states, self.words_read = states, words_read
        # For `generate`, a cache is linear if it cannot say how many words it has read.
        self.is_linear = [False] * len(states)

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Returns how many words were read."""
        return self.words_read

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Row i becomes what row ``beam_idx[i]`` was; for beam search."""
        self.states = [
            type(state)(*(part.index_select(0, beam_idx.to(part.device)) for part in state))
            for state in self.states
        ]

    def reset(self) -> None:
        """Forgets everything that was read."""
        self.states = [type(state)(*map(torch.zeros_like, state)) for state in self.states]
        self.words_read = 0


@dataclass
class LstmLmModelOutput(ModelOutput):
    """What `LstmLmModel` returns.

    Attributes:
        last_hidden_state: the output layer's input after each word, ``(B, T, hidden_size)``.
        cache: the state after the last word.
        hidden_states: the word vectors ``(B, T, E)``, then each layer's outputs ``(B, T, H)``.
    """

    last_hidden_state: Tensor | None = None
    cache: LstmLmCache | None = None
    hidden_states: tuple[Tensor, ...] | None = None


@dataclass
class LstmLmOutput(ModelOutput):
    """What `LstmLmForCausalLM` returns.

    Attributes:
        loss: mean nll of the labels in nats, a scalar.
        logits: log-probabilities of the word after each word, ``(B, T, V)``, in nats.
        cache: the state after the last word.
        hidden_states: as in `LstmLmModelOutput`.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    cache: LstmLmCache | None = None
    hidden_states: tuple[Tensor, ...] | None = None


def run_layer(
    cell: Any, inputs: Tensor, state: Any, is_word: Tensor | None = None
) -> tuple[Tensor, Any]:
    """Reads words, one call of the cell per word.

    Args:
        cell: the layer's cell.
        inputs: ``(T, B, E)``.
        state: the state before them.
        is_word: bool ``(T, B)``; where it is False, nothing is read. None: all are words.

    Returns:
        The outputs ``(T, B, H)``, and the state after the last word.
    """
    outputs = []
    for t, x in enumerate(inputs):
        after = cell(x, state)
        if is_word is not None:
            reads = is_word[t].unsqueeze(-1)
            after = type(after)(*map(torch.where, [reads] * len(after), after, state))
        state = after
        outputs.append(state.h)
    return torch.stack(outputs), state


class LstmLmPreTrainedModel(PreTrainedModel):
    """What both models have in common."""

    config_class = LstmLmConfig
    base_model_prefix = "model"
    main_input_name = "input_ids"
    _is_stateful = True
    _no_split_modules: ClassVar[list[str]] = []

    def _init_weights(self, module: nn.Module) -> None:
        """Does nothing: every part draws its own weights when it is made."""


class LstmLmModel(LstmLmPreTrainedModel):
    """Reads words, up to the output layer.

    Attributes:
        embedding: word vectors; multiplied by ``sqrt(E)`` before they enter the lowest layer.
        cells: the layers' cells, the lowest first.
        norm: layer normalisation of the top layer's output, or the identity.
        projection: ``H -> E`` if a tied model's H differs from its E; the `Experts` of a mixture of
            softmaxes; or the identity.
    """

    def __init__(self, config: LstmLmConfig) -> None:
        super().__init__(config)
        width, top = config.embedding_dim, config.hidden_sizes[-1]
        if config.adaptive_cutoffs is None:
            self.embedding: nn.Module = nn.Embedding(config.vocab_size, width)
        else:
            self.embedding = AdaptiveEmbedding(
                config.vocab_size, width, config.adaptive_cutoffs, config.adaptive_factor
            )
        cell_type, widths = find_cell(config.cell), [width, *config.hidden_sizes]
        self.cells: Any = nn.ModuleList(
            cell_type(below, above, **config.cell_settings)
            for below, above in zip(widths, widths[1:], strict=False)
        )
        self.norm = nn.LayerNorm(top) if config.output_norm else nn.Identity()
        self.projection: nn.Module = nn.Identity()
        if config.mixture_softmaxes is not None:
            self.projection = Experts(top, width, config.mixture_softmaxes)
        elif top != config.hidden_size:
            self.projection = nn.Linear(top, config.hidden_size, bias=False)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """Returns the word vectors."""
        return self.embedding

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replaces the word vectors."""
        self.embedding = value

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        cache: LstmLmCache | None = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> LstmLmModelOutput | tuple[Any, ...]:
        """Reads words.

        Args:
            input_ids: int64 ``(B, T)``.
            attention_mask: ``(B, T)``, 0 where there is no word; a longer one, of all words so far,
                is cut to the last T. None: all are words.
            cache: the state before the words; it stays as it is. None: zeros.
            inputs_embeds: word vectors ``(B, T, E)`` in place of ids.
            use_cache: whether to return the state; the configuration decides if None.
            output_hidden_states: whether to return every layer's outputs.
            return_dict: whether to return a `LstmLmModelOutput` or a tuple.
            **kwargs: what other models need, such as positions; not used.

        Raises:
            ValueError: there are no words, or both ids and vectors.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give either input_ids or inputs_embeds")
        vectors = self.embedding(input_ids) if inputs_embeds is None else inputs_embeds
        if not vectors.shape[1]:
            raise ValueError("input_ids: has no words; give at least one, such as bos_token_id")
        outputs = vectors.transpose(0, 1) * math.sqrt(self.config.embedding_dim)  # (T, B, E)
        is_word = _word_mask(attention_mask, len(outputs))
        seen, last = [vectors], []
        states = (
            cache.states if cache else [cell.zero_state(outputs.shape[1]) for cell in self.cells]
        )
        for cell, before in zip(self.cells, states, strict=True):
            outputs, after = run_layer(cell, outputs, before, is_word)
            last.append(after)
            seen.append(outputs.transpose(0, 1))
        hidden = self.projection(self.norm(outputs)).transpose(0, 1)
        read_before = cache.words_read if cache else 0
        keeps = self.config.use_cache if use_cache is None else use_cache
        result = LstmLmModelOutput(
            last_hidden_state=hidden,
            cache=LstmLmCache(last, read_before + len(outputs)) if keeps else None,
            hidden_states=tuple(seen) if output_hidden_states else None,
        )
        return result if _returns_dict(self.config, return_dict) else result.to_tuple()


def _word_mask(attention_mask: Tensor | None, time: int) -> Tensor | None:
    """Which of the last words are words, bool ``(T, B)``; None if all are."""
    if attention_mask is None:
        return None
    if attention_mask.ndim != 2 or attention_mask.shape[1] < time:
        raise ValueError(
            f"attention_mask: found the shape {tuple(attention_mask.shape)}, must be (batch, "
            f"{time} words or more)"
        )
    is_word = attention_mask[:, -time:].T != 0
    return None if is_word.all() else is_word


def _returns_dict(config: PretrainedConfig, asked: bool | None) -> bool:
    return getattr(config, "return_dict", True) if asked is None else asked


class AdaptiveHead(nn.Module):
    """The adaptive softmax's own parameters; its word vectors are handed to it.

    Attributes:
        bias: of all words, ``(V,)``.
        cluster_weight: vectors of the K clusters, ``(K, E)``.
        cluster_bias: ``(K,)``.
        words: vectors of all words, if they are not the embedding's.
    """

    def __init__(self, config: LstmLmConfig) -> None:
        super().__init__()
        assert config.adaptive_cutoffs is not None
        clusters = sum(cutoff < config.vocab_size for cutoff in config.adaptive_cutoffs)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))
        self.cluster_weight = nn.Parameter(torch.zeros(clusters, config.hidden_size))
        self.cluster_bias = nn.Parameter(torch.zeros(clusters))
        self.words = None
        if not config.tie_word_embeddings:
            self.words = AdaptiveEmbedding(
                config.vocab_size,
                config.hidden_size,
                config.adaptive_cutoffs,
                config.adaptive_factor,
            )

    def forward(self, hidden: Tensor, embedding: AdaptiveEmbedding) -> Tensor:
        """Maps ``hidden (..., E)`` to log-probabilities ``(..., V)`` of the next word."""
        words = embedding if self.words is None else self.words
        return adaptive_log_probabilities(
            hidden, words, self.bias, self.cluster_weight, self.cluster_bias
        )


class LstmLmForCausalLM(LstmLmPreTrainedModel, GenerationMixin):
    """Predicts the next word.

    Attributes:
        model: the `LstmLmModel`.
        output: word vectors and bias of the softmax; the vectors are the embedding's if tied.
    """

    _tied_weights_keys: Any = {"output.weight": "model.embedding.weight"}

    def __init__(self, config: LstmLmConfig) -> None:
        super().__init__(config)
        self.model = LstmLmModel(config)
        if config.adaptive_cutoffs is None:
            is_mixture = config.mixture_softmaxes is not None
            width = config.embedding_dim if is_mixture else config.hidden_size
            self.output: Any = nn.Linear(width, config.vocab_size)
        else:
            self.output = AdaptiveHead(config)
            self._tied_weights_keys = None
        self.post_init()

    @classmethod
    def _supports_default_dynamic_cache(cls) -> bool:
        return False  # there are no keys and values to keep

    def get_input_embeddings(self) -> nn.Module:
        """Returns the word vectors."""
        return self.model.embedding

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replaces the word vectors."""
        self.model.embedding = value

    def get_output_embeddings(self) -> nn.Module | None:
        """Returns the softmax's linear layer; None if the softmax is adaptive."""
        return self.output if isinstance(self.output, nn.Linear) else None

    def set_output_embeddings(self, value: nn.Module) -> None:
        """Replaces the softmax's linear layer."""
        self.output = value

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        cache: LstmLmCache | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        output_hidden_states: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> LstmLmOutput | tuple[Any, ...]:
        """Reads words and predicts the word after each of them.

        Args:
            input_ids: see `LstmLmModel.forward`, also for what is not described here.
            attention_mask: see there.
            cache: see there.
            inputs_embeds: see there.
            labels: the words themselves, ``(B, T)``: each is compared with the prediction after the
                word before it. -100 where there is nothing to predict.
            use_cache: see there.
            output_hidden_states: see there.
            logits_to_keep: predict only after the last so many words, or after the words with these
                numbers; 0: after all.
            return_dict: see there.
            **kwargs: ``num_items_in_batch``, by which the summed loss is divided then.
        """
        read = self.model(
            input_ids,
            attention_mask=attention_mask,
            cache=cache,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        last = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self._log_probabilities(read.last_hidden_state[:, last])
        loss = None
        if labels is not None:
            loss = _mean_nll(logits, labels, kwargs.get("num_items_in_batch"))
        result = LstmLmOutput(
            loss=loss, logits=logits, cache=read.cache, hidden_states=read.hidden_states
        )
        return result if _returns_dict(self.config, return_dict) else result.to_tuple()

    def _log_probabilities(self, hidden: Tensor) -> Tensor:
        if isinstance(self.output, AdaptiveHead):
            return self.output(hidden, self.model.embedding)
        if self.config.mixture_softmaxes is not None:
            return mixture_log_probabilities(hidden, self.output.weight, self.output.bias)
        scores: Tensor = self.output(hidden)
        return F.log_softmax(scores, dim=-1)

    def prepare_inputs_for_generation(
        self,
        input_ids: Tensor,
        next_sequence_length: int | None = None,
        attention_mask: Tensor | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Leaves only the words that the cache has not read yet; `generate` calls this."""
        cache = kwargs.pop("cache", None) or kwargs.pop("past_key_values", None)
        if cache is not None and next_sequence_length is None:
            # A mask that is longer than the text says that the text is new as a whole.
            is_whole = attention_mask is None or attention_mask.shape[1] == input_ids.shape[1]
            next_sequence_length = input_ids.shape[1] - cache.words_read * is_whole
        if next_sequence_length is not None and next_sequence_length > 0:
            input_ids = input_ids[:, -next_sequence_length:]
        kept = ("use_cache", "logits_to_keep", "output_hidden_states")
        return {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "cache": cache,
            **{name: kwargs[name] for name in kept if name in kwargs},
        }

    def _update_model_kwargs_for_generation(
        self, outputs: Any, model_kwargs: dict[str, Any], *arguments: Any, **options: Any
    ) -> dict[str, Any]:
        updated = super()._update_model_kwargs_for_generation(
            outputs, model_kwargs, *arguments, **options
        )
        updated.pop("cache", None)
        if outputs.cache is not None:
            updated[CACHE_NAME] = outputs.cache
        return updated


def _mean_nll(logits: Tensor, labels: Tensor, count: Any = None) -> Tensor:
    """The nll of the labels ``(B, T)`` in nats: their mean, or their sum divided by ``count``."""
    expected = labels[:, 1:].to(logits.device).reshape(-1)
    nll = F.nll_loss(logits[:, :-1].flatten(0, 1).float(), expected, reduction="sum")
    return nll / ((expected != -100).sum() if count is None else count)
