"""The language model: embedding -> stack of cells -> output layer, and what people ask of it in words.

Shapes: T time, B batch, E embedding_dim, H hidden_size of the top layer, V vocab_size. Time comes first throughout.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from lstm_lm.cells import LSTMState
from lstm_lm.config import ModelConfig
from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.errors import RunDirectoryError
from lstm_lm.model import generation, pretrained, scoring
from lstm_lm.model.adaptive import AdaptiveEmbedding, AdaptiveOutput
from lstm_lm.model.dropout import apply_locked_dropout, apply_word_dropout, rates_must_be_shares
from lstm_lm.model.output import FullOutput, SampledOutput, draw_word_vectors
from lstm_lm.model.recurrent import RecurrentStack
from lstm_lm.model.trace import Trace, trace_text

State = list[LSTMState]


@dataclass(frozen=True)
class Prediction:
    """One candidate for the next word.

    Attributes:
        word: the word; ``<eos>`` is the end of the line.
        probability: in [0, 1], over the whole vocabulary.
        log_probability: its natural logarithm, in nats.
    """

    word: str
    probability: float
    log_probability: float


class LanguageModel(nn.Module):
    """A word-level next-word language model with a hand-written recurrent cell.

    Args:
        config: sizes, cell, dropouts and output layer.
        vocabulary: the words, made from train alone.

    Attributes:
        embedding: words to vectors ``(..., E)``, which are multiplied by ``sqrt(E)`` on their way into the stack: a
            tied matrix is small enough for the softmax, yet moves the gates from the first step on (Vaswani et al.
            2017, arXiv 1706.03762). A matrix ``(V, E)``, or an `AdaptiveEmbedding` where the output is adaptive.
        recurrent: the `RecurrentStack`.
        norm: layer normalisation of the top layer's output, or nothing.
        projection: ``H -> E`` without bias, where a tied model's H differs from its E, or nothing.
        output: the output layer; with ``tie_weights`` its word vectors are the embedding's.
    """

    def __init__(self, config: ModelConfig, vocabulary: Vocabulary) -> None:
        super().__init__()
        rates_must_be_shares(
            embedding_dropout=config.embedding_dropout, output_dropout=config.output_dropout
        )
        self.config, self.vocabulary = config, vocabulary
        size = config.hidden_size
        sizes = size if isinstance(size, tuple) else (size,) * config.num_layers
        width, top = config.embedding_dim, sizes[-1]
        output_width = width if config.tie_weights else top
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
        )
        self.norm = nn.LayerNorm(top) if config.output_norm else nn.Identity()
        self.projection = (
            nn.Identity() if top == output_width else nn.Linear(top, output_width, bias=False)
        )
        self.output = self._build_output(output_width)

    def _build_embedding(self, width: int) -> nn.Module:
        config, vocab_size = self.config, len(self.vocabulary)
        if config.output == "adaptive":
            return AdaptiveEmbedding(
                vocab_size, width, config.adaptive_cutoffs, config.adaptive_factor
            )
        return nn.Embedding.from_pretrained(draw_word_vectors(vocab_size, width), freeze=False)

    def _build_output(self, width: int) -> nn.Module:
        config, vocab_size = self.config, len(self.vocabulary)
        if config.output == "adaptive":
            words = self.embedding if config.tie_weights else None
            return AdaptiveOutput(
                vocab_size, width, config.adaptive_cutoffs, config.adaptive_factor, words
            )
        weight = self.embedding.weight if config.tie_weights else None
        if config.output == "sampled":
            return SampledOutput(vocab_size, width, config.sampled_words, weight)
        return FullOutput(vocab_size, width, weight)

    def tie_weights(self) -> None:
        """Makes the output layer's word vectors the embedding's own once more, after the latter were replaced."""
        if self.config.tie_weights and self.config.output == "adaptive":
            self.output.words = self.embedding
        elif self.config.tie_weights:
            self.output.weight = self.embedding.weight

    def set_dropout_share(self, share: float) -> None:
        """Has training drop this share, in [0, 1], of what the configuration says, wherever it drops; 1 at first.

        Raises:
            ValueError: if it is none.
        """
        if not 0 <= share <= 1:
            raise ValueError(
                f"share is {share!r}; a share of the dropout rates is a number in [0, 1]"
            )
        self.recurrent.dropout_share = share

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.output.bias.device

    @property
    def parameter_count(self) -> int:
        """How many numbers are learned; a tied matrix counts once."""
        return sum(parameter.numel() for parameter in self.parameters())

    def in_double_precision(self) -> LanguageModel:
        """The same model in float64 and in evaluation mode: itself if it is so already, otherwise a copy.

        In float32 a product is rounded according to its shape, so that a word's log-probability hangs on what is scored
        beside it, by some 1e-6 nats and more after a long text; in float64 by 1e-14. It takes about twice the time.
        """
        if self.output.bias.dtype == torch.float64 and not self.training:
            return self
        twin = copy.deepcopy(self, {id(self.vocabulary): self.vocabulary})
        return twin.to(
            "cpu" if self.device.type == "mps" else self.device, torch.float64
        ).eval()  # mps has none

    def initial_state(self, batch_size: int = 1) -> State:
        """The state before the first word: per layer, zeros ``(B, H)``."""
        return self.recurrent.initial_state(batch_size)

    def embed(self, tokens: Tensor) -> Tensor:
        """The vectors ``(T, B, E)`` that ``tokens (T, B)`` enter the stack as."""
        embedded = self.embedding(tokens)
        if self.training:
            rate = self.config.embedding_dropout * self.recurrent.dropout_share
            embedded = apply_word_dropout(embedded, tokens, len(self.vocabulary), rate)
        return embedded * math.sqrt(self.config.embedding_dim)

    def hidden(
        self, tokens: Tensor, state: State | None = None, *, reset_lines: float = 0.0
    ) -> tuple[Tensor, State]:
        """Reads ``tokens (T, B)`` and returns what the output layer sees after each, ``(T, B, E)``, and the state.

        With ``reset_lines`` the state is zero before so large a share of all ``<eos>``, one of which stands before
        every line.
        """
        state = self.initial_state(tokens.shape[1]) if state is None else state
        keep = None
        if reset_lines:
            keep = tokens != self.vocabulary.eos_id
        if 0 < reset_lines < 1:
            keep |= torch.rand(tokens.shape, device=tokens.device) >= reset_lines
        outputs, state = self.recurrent(self.embed(tokens), state, keep)
        outputs = self.norm(outputs)
        if self.training:
            outputs = apply_locked_dropout(
                outputs, self.config.output_dropout * self.recurrent.dropout_share
            )
        return self.projection(outputs), state

    def forward(self, tokens: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Reads words and says what comes after each of them.

        Args:
            tokens: int64 ids ``(T, B)``.
            state: the state before them; zeros if None.

        Returns:
            Log-probabilities ``(T, B, V)`` of the next word, in nats, and the state after the last word. The whole
            ``(T, B, V)`` is in memory: for a loss use `loss`, for scores `token_nll`.
        """
        hidden, state = self.hidden(tokens, state)
        return self.output.log_probabilities(hidden), state

    def loss(
        self, tokens: Tensor, targets: Tensor, state: State, *, reset_lines: float = 0.0
    ) -> tuple[Tensor, State]:
        """The training objective of one window.

        Args:
            tokens: int64 ids ``(T, B)``.
            targets: the word after each, ``(T, B)``; negative where there is none.
            state: the state before the window.
            reset_lines: the share of lines, drawn by chance, in [0, 1], that are read from a zero state.

        Returns:
            The summed nll of all targets in nats (sampled, if the output layer samples and this is training mode),
            a scalar, and the state after the window.
        """
        hidden, state = self.hidden(tokens, state, reset_lines=reset_lines)
        there = targets >= 0
        return self.output.loss(hidden[there], targets[there]), state

    def token_nll(
        self,
        tokens: Tensor,
        targets: Tensor,
        state: State | None = None,
        *,
        reset_lines: float = 0.0,
    ) -> tuple[Tensor, State]:
        """The exact nll ``(T, B)`` in nats of every target (0 where it is negative), and the state after them."""
        hidden, state = self.hidden(tokens, state, reset_lines=reset_lines)
        there = targets >= 0
        nll = hidden.new_zeros(targets.shape, dtype=self.output.bias.dtype)
        return nll.masked_scatter(
            there, self.output.token_nll(hidden[there], targets[there]).to(nll.dtype)
        ), state

    @torch.inference_mode()  # a word costs a sixth less than without gradients alone
    def predict_next(
        self, text: str, top_k: int = 5, *, include_unknown: bool = False
    ) -> list[Prediction]:
        """The most probable next words after a text typed by a person.

        Args:
            text: natural text, such as ``"I grew up in France. I speak fluent"``; unknown words become ``<unk>``.
            top_k: how many words, at least 1.
            include_unknown: whether ``<unk>`` may be among them.

        Returns:
            `Prediction`s, the most probable first. Probabilities are the model's own: leaving ``<unk>`` out does not
            raise the others.
        """
        return self.most_probable(
            scoring.next_word_log_probabilities(self, text), top_k, include_unknown=include_unknown
        )

    def most_probable(
        self, log_probabilities: Tensor, top_k: int = 5, *, include_unknown: bool = False
    ) -> list[Prediction]:
        """The ``top_k`` words that stand highest in ``log_probabilities (V,)``; see `predict_next`."""
        top_k, unknown = max(top_k, 1), self.vocabulary.unk_id
        values, ids = log_probabilities.topk(
            min(top_k + 1, len(self.vocabulary))
        )  # one more than `<unk>` takes
        best = [
            Prediction(self.vocabulary.word(k), math.exp(v), v)
            for v, k in zip(values.double().tolist(), ids.tolist(), strict=True)
            if include_unknown or k != unknown
        ]
        return best[:top_k]

    def trace(self, text: str, target: str | None = None, *, last: int | None = None) -> Trace:
        """Everything that happens inside while a typed text is read; arguments are those of `trace.trace_text`."""
        return trace_text(self, text, target, last=last)

    def unknown_words(self, text: str) -> list[str]:
        """The words of a typed text that the vocabulary does not have, each once, in their order."""
        pairs = [
            pair
            for line in scoring.lines_of(text)
            for pair in zip(
                self.vocabulary.split_text(line), self.vocabulary.encode_text(line), strict=True
            )
        ]
        unknown = self.vocabulary.unk_id
        return list(
            dict.fromkeys(
                word
                for word, identifier in pairs
                if identifier == unknown and word != self.vocabulary.word(unknown)
            )
        )

    def score(self, text: str, *, reset_per_line: bool = False) -> list[scoring.WordScore]:
        """The surprisal of every word of a text, in bits, each line's ``<eos>`` included."""
        return [
            score
            for line in scoring.iterate_line_scores(self, scoring.lines_of(text), reset_per_line)
            for score in line
        ]

    def perplexity(self, text: str, *, reset_per_line: bool = False) -> scoring.Perplexity:
        """The perplexity of a text, its line ends included; ``float(...)`` of the result is the number."""
        return scoring.perplexity_of_text(self, scoring.lines_of(text), reset_per_line)

    def generate(self, prompt: str = "", words: int = 50, **options: float | int | None) -> str:
        """Continues ``prompt``; options and result are those of `lstm_lm.model.generation.iterate_words`."""
        return self.vocabulary.display(list(self.iterate_words(prompt, words, **options)))

    def iterate_words(
        self, prompt: str = "", words: int = 50, **options: float | int | None
    ) -> Iterator[str]:
        """Yields the words of a continuation as they are drawn."""
        return generation.iterate_words(self, prompt, words, **options)

    @classmethod
    def from_pretrained(cls, name_or_path: str | Path) -> LanguageModel:
        """Loads a run directory, or a repository of the Hugging Face hub, on the CPU and in evaluation mode.

        Raises:
            RunDirectoryError: if the directory is missing, incomplete, damaged or of a newer format.
            HubError: if the hub is out of reach or has no such repository.
        """
        folder = pretrained.find_folder(name_or_path)
        description = pretrained.load_description(folder)
        try:
            with torch.device(
                "meta"
            ):  # shapes without memory: the file's are compared with them first
                model = cls(description.config, description.vocabulary)
        except RuntimeError as error:
            raise RunDirectoryError(
                f"{folder}: its configuration asks for sizes that no machine has "
                f"({str(error).splitlines()[0]}); restore it"
            ) from None
        pretrained.load_weights(model, folder, description.identity)
        return model.eval()

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes ``config.json``, ``tokenizer.json``, ``model.safetensors`` and, if missing, a model card."""
        pretrained.save(self, Path(folder))

    def push_to_hub(self, name: str, *, private: bool = False) -> str:
        """Uploads the model to the repository ``name`` ("user/model") and returns its address."""
        return pretrained.push_to_hub(self, name, private=private)

    def describe(self) -> str:
        """One line for people: cell, sizes, parameters."""
        sizes: Sequence[int] = [cell.hidden_size for cell in self.recurrent.cells]
        return (
            f"{self.config.cell} {'+'.join(map(str, sizes))}, embedding {self.config.embedding_dim}"
            f"{' tied' if self.config.tie_weights else ''}, {len(self.vocabulary):,} words, "
            f"{self.parameter_count:,} parameters"
        )
