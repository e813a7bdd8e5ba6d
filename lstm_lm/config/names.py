"""Suggestions for names that are not settings: "did you mean optimizer.learning_rate?"."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

MAX_COMPARED = 60
"""Characters of a name that are compared: the comparison's time grows with the square of it."""

RENAMED = {
    "corpus.stories": "stories.count",
    "corpus.seed": "stories.seed",
    "training.reset_lines": "training.reset_per_line",
}
"""Settings that had another name; those that only changed their section are found by their key."""

DROPOUTS = (
    "model.hidden_dropout",
    "model.input_dropout",
    "model.output_dropout",
    "model.embedding_dropout",
    "model.weight_dropout",
)

# Names in other programs, foremost pytorch/examples word_language_model and awd-lstm-lm.
OTHER_PROGRAMS = {
    "corpus.text_file": ("data", "text", "file", "corpus_file", "input_file"),
    "corpus.vocab_size": ("vocab", "max_vocab", "max_vocab_size", "vocabulary_size", "n_vocab"),
    "corpus.min_count": ("min_freq", "min_frequency"),
    "corpus.lowercase": ("lower",),
    "model.cell": ("model", "rnn_type", "cell_type", "arch", "lstm", "gru", "elman", "rnn_tanh"),
    "model.hidden_size": ("nhid", "n_hidden", "hidden", "hidden_dim", "rnn_size", "units"),
    "model.embedding_dim": ("emsize", "emb_size", "embed_size", "embed_dim", "embedding_size"),
    "model.num_layers": ("nlayers", "n_layers", "n_layer", "layers", "depth"),
    "model.tie_weights": ("tied", "tie", "tie_weight", "weight_tying", "share_embeddings"),
    "model.input_dropout": ("dropouti",),
    "model.hidden_dropout": ("dropouth",),
    "model.embedding_dropout": ("dropoute", "word_dropout"),
    "model.mogrifier_rounds": ("feature_mask_rounds",),
    "model.mogrifier_rank": ("feature_mask_rank",),
    "model.mixture_softmaxes": ("n_experts", "experts", "mos_num_components"),
    "model.mixture_dropout": ("dropoutl", "ldropout"),
    "model.weight_dropout": ("wdrop", "weight_drop", "dropconnect"),
    "model.output": ("softmax", "adaptive_softmax"),
    "optimizer.name": ("optimizer", "optim", "adam", "adamw", "sgd", "muon"),
    "optimizer.learning_rate": ("lr", "rate", "eta", "max_lr", "base_lr"),
    "optimizer.betas": ("beta", "beta1", "beta2", "adam_beta1", "adam_beta2"),
    "optimizer.weight_decay": ("wdecay", "wd", "l2"),
    "optimizer.schedule": ("scheduler", "lr_scheduler", "lr_schedule", "lr_scheduler_type"),
    "optimizer.warmup_steps": ("warmup", "warmup_iters"),
    "training.batch_size": ("batch", "bs", "batchsize", "train_batch_size"),
    "training.bptt_length": ("bptt", "seq_len", "seq_length", "sequence_length", "block_size"),
    "training.max_epochs": ("epoch", "epochs", "num_epochs", "n_epochs", "num_train_epochs"),
    "training.max_steps": ("steps", "iters", "max_iters", "num_steps"),
    "training.accumulation_steps": ("grad_accum", "gradient_accumulation_steps", "accumulate"),
    "training.max_grad_norm": ("clip", "grad_clip", "gradient_clip", "clip_grad_norm", "max_norm"),
    "training.seed": ("seed", "random_seed"),
    "training.precision": ("fp16", "bf16", "amp", "dtype", "mixed_precision"),
    "training.device": ("cuda", "gpu", "mps", "no_cuda", "accelerator"),
    "training.log_every": ("log_interval", "log_steps", "logging_steps"),
    "training.validate_every": ("eval_interval", "eval_every", "eval_steps", "validation_interval"),
    "training.checkpoint_every": ("save_every", "save_steps", "save_interval"),
    "training.patience": ("nonmono", "early_stopping", "early_stopping_patience"),
}
KNOWN_ELSEWHERE = {
    name: (dotted,) for dotted, names in OTHER_PROGRAMS.items() for name in names
} | {"dropout": DROPOUTS}


def suggest(section: str, key: str, keys: Mapping[str, Sequence[str]]) -> list[str]:
    """Returns what somebody probably meant by a name that is not a setting.

    Args:
        section: the section that the name stands in; empty for none.
        key: the name itself.
        keys: the names of all settings, by section.

    Returns:
        Dotted settings, the likeliest first; or a section's name, if none of them is likely.
    """
    if dotted := RENAMED.get(f"{section}.{key}"):
        return [dotted]
    name = key.rpartition(".")[2][
        :MAX_COMPARED
    ].lower()  # the top of a file may hold `model.cell: lstm`
    if section not in keys and key not in keys and name in keys:  # `Model`
        return [name]
    if section not in keys and name in KNOWN_ELSEWHERE:
        return list(KNOWN_ELSEWHERE[name])
    sections = [section, *(other for other in keys if other != section)]
    if same := [f"{other}.{name}" for other in sections if name in keys.get(other, ())]:
        return same
    if name in KNOWN_ELSEWHERE:
        return list(KNOWN_ELSEWHERE[name])
    if near := difflib.get_close_matches(key[:MAX_COMPARED], keys.get(section, keys), 1):
        return [f"{section}.{near[0]}" if section in keys else near[0]]
    everywhere = {other: f"{group}.{other}" for group, others in keys.items() for other in others}
    return [everywhere[found] for found in difflib.get_close_matches(name, everywhere, 1)]


def suggest_value(text: str, choices: Sequence[str]) -> str | None:
    """Returns the choice that somebody probably meant; None if none is near."""
    if text == "biographies" and "stories" in choices:  # the old name of this source
        return "stories"
    near = difflib.get_close_matches(text[:MAX_COMPARED].lower(), choices, 1)
    return near[0] if near else None
