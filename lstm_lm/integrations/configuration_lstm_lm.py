"""Sizes and cell of a model, for the transformers library."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from transformers import PretrainedConfig


class LstmLmConfig(PretrainedConfig):
    """Sizes and cell of a model.

    Args:
        vocab_size: V.
        cell: name of the cell, such as ``lstm``.
        cell_settings: settings that only this cell has, by name.
        embedding_dim: E.
        hidden_sizes: H of every layer, the lowest first.
        output_norm: whether there is layer normalisation before the output layer.
        adaptive_cutoffs: ids at which clusters of rarer words begin; None: a full softmax.
        adaptive_factor: each cluster's vectors are this many times narrower than those before it.
        mixture_softmaxes: number of softmaxes in the mixture; None: it is none.
        use_cache: whether outputs have the state after the last word.
        bos_token_id: id of what stands before a text, the line end.
        eos_token_id: id of the line end.
        pad_token_id: id in padding; never read, because its attention mask is 0.
        tie_word_embeddings: whether input and output have the same word vectors.
        **options: of every model, see `transformers.PretrainedConfig`.

    Attributes:
        hidden_size: width of `LstmLmModel`'s output.
        num_hidden_layers: number of cells.
    """

    model_type = "lstm_lm"
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["cache"]

    def __init__(
        self,
        vocab_size: int = 2,
        cell: str = "",
        cell_settings: dict[str, Any] | None = None,
        embedding_dim: int = 200,
        hidden_sizes: Sequence[int] = (200, 200),
        output_norm: bool = True,
        adaptive_cutoffs: Sequence[int] | None = None,
        adaptive_factor: float = 4.0,
        mixture_softmaxes: int | None = None,
        use_cache: bool = True,
        bos_token_id: int = 1,
        eos_token_id: int = 1,
        pad_token_id: int = 1,
        tie_word_embeddings: bool = True,
        **options: Any,
    ) -> None:
        self.vocab_size, self.cell, self.embedding_dim = vocab_size, cell, embedding_dim
        self.cell_settings = cell_settings or {}
        self.hidden_sizes, self.output_norm = list(hidden_sizes), output_norm
        self.adaptive_cutoffs = None if adaptive_cutoffs is None else list(adaptive_cutoffs)
        self.adaptive_factor, self.mixture_softmaxes = adaptive_factor, mixture_softmaxes
        self.use_cache = use_cache
        # These three are computed; what a file says of them is not needed.
        for computed in ("hidden_size", "num_hidden_layers", "is_decoder"):
            options.pop(computed, None)
        self.hidden_size = embedding_dim if tie_word_embeddings else self.hidden_sizes[-1]
        if mixture_softmaxes is not None:  # a vector and a share of each softmax
            self.hidden_size = mixture_softmaxes * (embedding_dim + 1)
        self.num_hidden_layers = len(self.hidden_sizes)
        super().__init__(
            bos_token_id=bos_token_id,
            eos_token_id=eos_token_id,
            pad_token_id=pad_token_id,
            tie_word_embeddings=tie_word_embeddings,
            is_decoder=True,
            **options,
        )
