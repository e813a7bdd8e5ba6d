"""The parts of a run that are built from its configuration and its corpus alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from lstm_lm.config import Config, ModelConfig, OptimizerConfig, config_to_yaml
from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.corpus.windows import TokenIds
from lstm_lm.errors import ConfigError
from lstm_lm.files.seal import digest
from lstm_lm.machine import SMALLER_SIZES, out_of_memory_named
from lstm_lm.memory import describe_shortage
from lstm_lm.model.language_model import LanguageModel
from lstm_lm.model.network import empty_network
from lstm_lm.random_numbers import RandomNumbers
from lstm_lm.training.optimizers import build_optimizers, saved_tensors
from lstm_lm.training.validation import ValidText


def build_model(config: Config, vocabulary: Vocabulary, train: TokenIds) -> LanguageModel:
    """Builds a model with drawn weights, which begins at the words' frequencies, on the CPU."""
    random_numbers = RandomNumbers(config.training.seed)
    with random_numbers.used_by_all():
        model = LanguageModel.from_config(config.model, vocabulary)
    model.network.random_numbers = random_numbers
    model.network.output.start_from_counts(count_words(train, len(vocabulary)))
    return model


def new_run_id(
    config: Config,
    vocabulary: Vocabulary,
    train: TokenIds,
    valid: Sequence[ValidText],
    origin_id: str | None,
) -> str:
    """Returns the id of a run: a digest of its settings, its words, and the sizes of its texts.

    Args:
        config: all settings.
        vocabulary: the words.
        train: ids to learn from.
        valid: the texts to validate on.
        origin_id: of the run that it starts from, or None.
    """
    sizes = " ".join(str(len(tokens)) for tokens in (train, *(text.tokens for text in valid)))
    parts = f"{config_to_yaml(config)} {vocabulary.to_json()} {sizes}"
    if origin_id:
        parts += f" {origin_id}"
    return digest(parts.encode())


def check_memory(
    config: ModelConfig, vocab_size: int, optimizer: OptimizerConfig | None = None
) -> None:
    """Compares the size of a network with the memory, before any of it is allocated.

    Linux promises more memory than it has, and then kills the process that uses it.

    Args:
        config: of the network.
        vocab_size: its words.
        optimizer: if it is trained on a CPU; what the optimizer keeps counts too.

    Raises:
        ConfigError: weights and optimizer alone are larger than what this process may still have.
    """
    with out_of_memory_named():
        network = empty_network(config, vocab_size)
    tensors, what = list(network.parameters()), "its weights alone need"
    if optimizer is not None and (optimizer.name != "sgd" or optimizer.momentum):
        what = "its weights and what the optimizer keeps of them need"
        for one in build_optimizers(optimizer, network):
            tensors += saved_tensors(one).values()  # type: ignore[arg-type]  # of meta tensors
    needed = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    if shortage := describe_shortage(needed):
        raise ConfigError(f"model: {what} {shortage}; {SMALLER_SIZES}")


def check_clusters(config: ModelConfig, vocab_size: int) -> None:
    """Checks that an adaptive output layer has a cluster; otherwise it would be a full one.

    Raises:
        ConfigError: all its cutoffs are beyond the vocabulary.
    """
    cutoffs = config.adaptive_cutoffs
    if config.output == "adaptive" and all(cutoff >= vocab_size for cutoff in cutoffs):
        raise ConfigError(
            f"model.output: adaptive has no effect on {vocab_size:,} words, because no number in "
            f"model.adaptive_cutoffs={list(cutoffs)} is below that; add one, or set "
            "model.output=full"
        )


def describe_ignored_sizes(config: ModelConfig, vocab_size: int) -> Iterator[str]:
    """Yields a line for people for each size of the output layer that a small vocabulary limits."""
    sampled = config.sampled_words
    if config.output in ("sampled", "sampled_mos") and sampled >= vocab_size:
        exact = "full" if config.output == "sampled" else "mos"
        yield (
            f"note: model.sampled_words={sampled} is not below the {vocab_size:,} words that there "
            f"are, so nearly all are drawn for every window; model.output={exact} takes them all"
        )
    ignored = [cutoff for cutoff in config.adaptive_cutoffs if cutoff >= vocab_size]
    if config.output == "adaptive" and ignored:
        yield (
            f"note: model.adaptive_cutoffs: {', '.join(map(str, ignored))} "
            f"{'have' if len(ignored) > 1 else 'has'} no effect on {vocab_size:,} words"
        )


def count_words(tokens: TokenIds, vocab_size: int, block: int = 2**20) -> torch.Tensor:
    """Counts how often each word occurs, int64 ``(V,)``, reading ``block`` tokens at a time."""
    counts = torch.zeros(vocab_size, dtype=torch.int64)
    for start in range(0, len(tokens), block):
        some = torch.from_numpy(tokens[start : start + block])
        counts += torch.bincount(some, minlength=vocab_size)
    return counts
