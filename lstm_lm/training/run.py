"""A run, put together from its configuration: corpus, model, trainer, run directory."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from lstm_lm.atomic import make_folder, refusals_named, remove_leftovers, write_atomically
from lstm_lm.config import Config, TrainingConfig, config_to_dict, config_to_yaml, load_config
from lstm_lm.corpus.sources import Source, build_source
from lstm_lm.corpus.tokens import Tokens, load_tokens, load_vocabulary
from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.errors import ConfigError, CorpusError, RunDirectoryError
from lstm_lm.model.language_model import LanguageModel
from lstm_lm.model.pretrained import (
    CARD_FILE,
    CONFIG_FILE,
    TOKENIZER_FILE,
    WEIGHTS_FILE,
    load_description,
    model_card,
    save_description,
)
from lstm_lm.training.checkpoint import STATE_FILE
from lstm_lm.training.memory import must_fit_memory
from lstm_lm.training.run_log import CURVE_FILE, METRICS_FILE, TIMINGS_FILE, read_log
from lstm_lm.training.trainer import Trainer

YAML_FILE = "config.yaml"
RUN_FILES = (CONFIG_FILE, YAML_FILE, TOKENIZER_FILE, WEIGHTS_FILE, CARD_FILE, METRICS_FILE, TIMINGS_FILE, CURVE_FILE,
             STATE_FILE)
CHANGEABLE = {"training.max_epochs", "training.max_steps", "training.device", "training.log_every", "training.patience",
              "training.validate_every", "training.checkpoint_every", "corpus.cache_dir", "model.recurrence",
              "optimizer.learning_rate", "optimizer.embedding_learning_rate", "optimizer.muon_learning_rate",
              "training.max_grad_norm", "training.skip_non_finite"}


def claim_folder(folder: Path, config: Config, *, resume: bool, overwrite: bool) -> bool:
    """Checks that a run may have a directory, so that none is overwritten by accident; changes nothing there.

    Returns:
        Whether there is a checkpoint to go on from; a run stopped before its first one begins again.

    Raises:
        RunDirectoryError: if the directory holds a run and neither ``resume`` nor ``overwrite`` is given, or if what is
            to be resumed had another configuration.
    """
    if os.path.exists(folder) and not os.path.isdir(folder):
        raise RunDirectoryError(f"{folder}: is a file; choose another --output")
    present = any(os.path.exists(folder / name) for name in RUN_FILES)
    if present and not (resume or overwrite):
        raise RunDirectoryError(f"{folder}: already holds a run; go on with --resume, choose another --output, or "
                                "replace it with --overwrite")
    if resume and not present:
        raise RunDirectoryError(f"{folder}: nothing to resume; leave --resume out to begin a run there")
    resumable = resume and (folder / STATE_FILE).exists()
    if resumable:
        _must_be_same_run(folder, config)
    return resumable


def _must_be_same_run(folder: Path, config: Config) -> None:
    before = config_to_dict(load_config(folder / YAML_FILE))
    differing = [f"{section}.{key} was {before[section][key]!r}, is {value!r}"
                 for section, values in config_to_dict(config).items() if section != "evaluation"
                 for key, value in values.items()
                 if before[section][key] != value and f"{section}.{key}" not in CHANGEABLE]
    if differing:
        raise RunDirectoryError(f"{folder}: cannot be resumed with another configuration: {'; '.join(differing)}; "
                                f"resume with {folder / YAML_FILE}, or choose another --output")


def build_trainer(config: Config, folder: Path, *, resume: bool = False) -> Trainer:
    """Builds everything that a run needs, and only then writes its description into ``folder``.

    Args:
        config: the whole of it.
        folder: the run directory, claimed; made if need be.
        resume: go on from the checkpoint there; otherwise what an earlier run left there is removed.

    Raises:
        CorpusError: if the corpus cannot be read or learned from.
        RunDirectoryError: if what is to be resumed is damaged or of another corpus.
        DiskError: if the directory cannot be written to.
    """
    source = build_source(config.corpus)
    vocabulary = load_vocabulary(source, config.corpus, config.corpus.cache_dir)
    train, valid = (_load_split(source, split, vocabulary, config) for split in ("train", "valid"))
    if resume and load_description(folder)[1].to_json() != vocabulary.to_json():
        raise RunDirectoryError(f"{folder}: the corpus has changed since this run began; restore it, or choose another "
                                "--output")
    must_fit_memory(config.model, vocabulary)
    torch.manual_seed(config.training.seed)
    model = LanguageModel(config.model, vocabulary).to(choose_device(config.training))
    model.output.start_from_counts(count_words(train, len(vocabulary)))
    trainer = Trainer(model, train, valid, config.optimizer, config.training, config.evaluation, folder, resume=resume,
                      source_nll=source.nll("valid"))
    if trainer.progress.train_tokens != len(train):
        raise RunDirectoryError(f"{folder}: train had {trainer.progress.train_tokens:,} tokens when this run began, "
                                f"now {len(train):,}; restore the corpus, or choose another --output")
    make_folder(folder)
    remove_leftovers(folder, RUN_FILES)
    if not resume:
        _remove_run(folder)
    write_atomically(folder / YAML_FILE, config_to_yaml(config))
    save_description(model, folder)
    return trainer


def _remove_run(folder: Path) -> None:
    with refusals_named(folder):
        for name in RUN_FILES:
            (folder / name).unlink(missing_ok=True)


def _load_split(source: Source, split: str, vocabulary: Vocabulary, config: Config) -> Tokens:
    tokens = load_tokens(source, split, vocabulary, config.corpus.cache_dir)
    if not len(tokens):
        raise CorpusError(f"corpus: the {split} split is empty; give it at least one line")
    return tokens


def count_words(tokens: Tokens, vocab_size: int, block: int = 2**20) -> torch.Tensor:
    """How often each word occurs, ``(V,)`` int64, reading a block of tokens at a time."""
    counts = torch.zeros(vocab_size, dtype=torch.int64)
    for start in range(0, len(tokens), block):
        counts += torch.bincount(torch.from_numpy(tokens[start:start + block]), minlength=vocab_size)
    return counts


def choose_device(config: TrainingConfig) -> torch.device:
    """The device that ``training.device`` names; ``auto`` is the first of cuda, mps and cpu that is there.

    Raises:
        ConfigError: if this machine has no such device.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if config.device == "auto":
        return torch.device(next(name for name in ("cuda", "mps", "cpu") if there[name]))
    if not there[config.device]:
        raise ConfigError(f"training.device: found {config.device!r}, but torch sees no such device on this machine; "
                          f"allowed here: auto, {', '.join(name for name in there if there[name])}")
    return torch.device(config.device)


def write_card(trainer: Trainer, config: Config) -> None:
    """Writes the run's model card: what was trained on what, for how long, and how well it does."""
    lines = [line for line in read_log(trainer.folder / METRICS_FILE) if line["split"] == "valid"]
    best = min(lines, key=lambda line: line["loss"])
    corpus = config.corpus
    text = f"""
## Training

| what | value |
|---|---|
| corpus | {corpus.source}{f" {corpus.dataset} {corpus.dataset_config or ''}" if corpus.dataset else ""} |
| train tokens | {trainer.progress.train_tokens:,} |
| steps, epochs, seed | {trainer.progress.step:,}, {trainer.progress.epoch}, {config.training.seed} |
| valid perplexity | {best["perplexity"]:.2f} over {best["tokens"]:,} tokens, {best["oov_tokens"]:,} of them `<unk>`, \
state {best["state"]} |

`config.yaml` repeats the run: `lstm-lm train config.yaml`.
"""
    write_atomically(trainer.folder / CARD_FILE, model_card(trainer.model, text))
