"""Every setting of a run: six frozen dataclasses, one for each section of a configuration file.

Those of `corpus` and `stories` are declared in `corpus_settings`, the others here. A setting is
declared once, by `setting`: its default, its help text, its allowed range, and when it has an
effect. `lstm-lm settings`, the reference in ``configs/README.md``, the JSON Schema and every check
read these declarations.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from lstm_lm.config.corpus_settings import OPENINGS, CorpusConfig, StoriesConfig
from lstm_lm.config.declaration import Numbered, WordCount, setting

__all__ = [
    "CELLS",
    "COMPARED_CELLS",
    "DEVICES",
    "MIXTURES",
    "OPENINGS",
    "Config",
    "CorpusConfig",
    "EvaluationConfig",
    "ModelConfig",
    "OptimizerConfig",
    "StoriesConfig",
    "TrainingConfig",
]

CELLS = {
    "lstm": "lstm_lm.cells.lstm:LSTMCell",
    "gru": "lstm_lm.cells.gru:GRUCell",
    "elman": "lstm_lm.cells.elman:ElmanCell",
    "peephole_lstm": "lstm_lm.cells.peephole_lstm:PeepholeLSTMCell",
    "coupled_lstm": "lstm_lm.cells.coupled_lstm:CoupledLSTMCell",
    "slstm": "lstm_lm.cells.slstm:SLSTMCell",
    "min_gru": "lstm_lm.cells.min_gru:MinGRUCell",
    "min_lstm": "lstm_lm.cells.min_lstm:MinLSTMCell",
    "mogrifier_lstm": "lstm_lm.cells.mogrifier_lstm:MogrifierLSTMCell",
}
"""The registry of cells, name -> ``module:Class``; `lstm_lm.cells.register_cell` adds to it."""

COMPARED_CELLS = ("lstm", "gru", "elman")
"""The cells that ``lstm-lm compare`` trains unless it is given others."""

MIXTURES = ("mos", "sampled_mos")
"""The values of ``model.output`` that are a mixture of softmaxes."""

DEVICES = ("auto", "cpu", "cuda", "mps")
MAX_LAYERS = 1000
MAX_SOFTMAXES = MAX_ROUNDS = 1000
MAX_WINDOW_SIZE = 1_000_000
"""Limit of each size of a training step: no memory holds more, and their product fits 64 bits."""


@dataclass(frozen=True)
class ModelConfig:
    """The network: word vectors, a stack of recurrent layers, and an output layer."""

    cell: str = setting("lstm", "kind of recurrent cell", choices=CELLS)
    embedding_dim: int = setting(200, "size of the word vectors", low=1, by_size=True)
    hidden_size: int | tuple[int, ...] = setting(
        200,
        "number of units of every layer, or a list with one number per layer",
        low=1,
        by_size=True,
    )
    num_layers: int = setting(2, "number of recurrent layers", low=1, high=MAX_LAYERS, by_size=True)
    memory_words: int | None = setting(
        None,
        "initialise each unit to remember for a random time of 2 to this many words (chrono "
        "initialisation); null: all units alike, for a few words",
        when="model.cell!=elman",
        low=3,
        by_size=True,
    )
    mogrifier_rounds: int = setting(
        5,
        "how often word and state modulate each other before the gates see them",
        when="model.cell=mogrifier_lstm",
        low=0,
        high=MAX_ROUNDS,
    )
    mogrifier_rank: int = setting(
        64,
        "width between the two matrices of such a round",
        when="model.cell=mogrifier_lstm",
        low=1,
    )
    tie_weights: bool = setting(True, "use the same word vectors for input and output")
    recurrence: str = setting(
        "fused",
        "fused: fast, all steps of a window at once; readable: one call of the cell per word; "
        "both compute the same",
        choices=("fused", "readable"),
    )
    embedding_dropout: float = setting(
        0.0,
        "dropout of whole words: fraction of the vocabulary set to zero in each window",
        low=0.0,
        below=1.0,
        by_size=True,
    )
    input_dropout: float = setting(
        0.0,
        "dropout of the word vectors' elements, one mask per window",
        low=0.0,
        below=1.0,
        by_size=True,
    )
    hidden_dropout: float = setting(
        0.0,
        "dropout between the recurrent layers, one mask per window",
        when="model.num_layers!=1",
        low=0.0,
        below=1.0,
        by_size=True,
    )
    output_dropout: float = setting(
        0.0,
        "dropout after the last recurrent layer, one mask per window",
        low=0.0,
        below=1.0,
        by_size=True,
    )
    weight_dropout: float = setting(
        0.0,
        "dropout of the recurrent weights (DropConnect), one mask per window",
        when="model.cell!=min_gru|min_lstm",
        low=0.0,
        below=1.0,
    )
    output_norm: bool = setting(True, "layer normalisation before the output layer")
    output: str = setting(
        "full",
        "full: softmax over all words; adaptive: rare words in clusters with smaller vectors; mos: "
        "mixture of softmaxes; sampled and sampled_mos: full and mos, estimated from a sample "
        "during training only",
        choices=("full", "sampled", "adaptive", "mos", "sampled_mos"),
        by_size=True,
    )
    sampled_words: int = setting(
        2000,
        "number of words sampled per window, in addition to its targets",
        when="model.output=sampled|sampled_mos",
        low=1,
        by_size=True,
    )
    adaptive_cutoffs: tuple[int, ...] = setting(
        (4000, 40000),
        "for each cluster, the number of more frequent words before it, in ascending order; "
        "cutoffs above the vocabulary size are ignored",
        when="model.output=adaptive",
        low=3,
    )
    adaptive_factor: float = setting(
        4.0,
        "each cluster's word vectors are this many times smaller than those of the one before",
        when="model.output=adaptive",
        low=1.0,
    )
    mixture_softmaxes: int = setting(
        10,
        "number of softmaxes in the mixture; each has a hidden vector of its own",
        when="model.output=mos|sampled_mos",
        low=1,
        high=MAX_SOFTMAXES,
    )
    mixture_dropout: float = setting(
        0.0,
        "dropout of these hidden vectors, one mask per window",
        when="model.output=mos|sampled_mos",
        low=0.0,
        below=1.0,
    )


@dataclass(frozen=True)
class OptimizerConfig:
    """The update rule and the learning rate."""

    name: str = setting(
        "adamw",
        "update rule; muon: orthogonal updates for the gates' matrices, AdamW for everything else",
        choices=("adamw", "sgd", "muon"),
        by_size=True,
    )
    learning_rate: float = setting(3e-3, "peak learning rate", above=0.0, by_size=True)
    embedding_learning_rate: float | None = setting(
        None,
        "peak learning rate of the word vectors, which are then updated by RMSProp, and only "
        "where their word occurs (useful with model.output=sampled); null: updated like the other "
        "weights",
        above=0.0,
        by_size=True,
    )
    muon_learning_rate: float = setting(
        0.02, "peak learning rate of the gates' matrices", when="optimizer.name=muon", above=0.0
    )
    betas: tuple[float, float] = setting(
        (0.9, 0.99),
        "AdamW's decay rates of the running averages of the gradient and of its square",
        when="optimizer.name=adamw|muon",
        low=0.0,
        below=1.0,
    )
    momentum: float = setting(0.0, "momentum of SGD", when="optimizer.name=sgd", low=0.0, below=1.0)
    weight_decay: float = setting(
        0.0,
        "weight decay of all matrices; decoupled from the gradient, except with sgd (L2)",
        low=0.0,
        by_size=True,
    )
    schedule: str = setting(
        "linear",
        "how the learning rate changes; plateau: lowered when the validation perplexity does not "
        "improve",
        choices=("constant", "linear", "cosine", "plateau"),
    )
    rate_by_length: bool = setting(
        False,
        "true: the gradient is that of the mean loss of the update's words, and the rate is "
        "multiplied by their share of a full window; false: of the summed loss over a full window",
    )
    warmup_steps: int = setting(100, "steps over which the learning rate rises from zero", low=0)
    final_fraction: float = setting(
        0.02,
        "last learning rate as a fraction of the peak",
        when="optimizer.schedule=linear|cosine",
        low=0.0,
        high=1.0,
        by_size=True,
    )
    plateau_factor: float = setting(
        0.25,
        "factor on the learning rate after a validation without improvement",
        when="optimizer.schedule=plateau",
        above=0.0,
        below=1.0,
    )


DROPOUTS = (
    "model.embedding_dropout",
    "model.input_dropout",
    "model.hidden_dropout",
    "model.output_dropout",
    "model.weight_dropout",
    "model.mixture_dropout",
)


@dataclass(frozen=True)
class TrainingConfig:
    """The training loop: batches, length, precision, and how often to log, validate and save."""

    batch_size: int = setting(
        20,
        "number of text streams that are read in parallel",
        low=1,
        high=MAX_WINDOW_SIZE,
        by_size=True,
    )
    bptt_length: int = setting(
        35,
        "words per window of truncated back-propagation through time",
        low=1,
        high=MAX_WINDOW_SIZE,
        by_size=True,
    )
    bptt_variation: float = setting(
        0.0,
        "standard deviation of the window length, in words; 0: all windows equally long",
        low=0.0,
        high=MAX_WINDOW_SIZE,
    )
    reset_per_line: float = setting(
        0.0,
        "fraction of the lines, chosen at random, that start from a zero state; the others carry "
        "over the state of the line before",
        low=0.0,
        high=1.0,
    )
    dropout_start: float = setting(
        1.0,
        "fraction of the dropout rates at the start of training; it grows linearly to 1 at the end",
        when=tuple(f"{dropout}!=0" for dropout in DROPOUTS),
        low=0.0,
        high=1.0,
    )
    max_epochs: int | None = setting(
        3,
        "largest number of passes over the train split; null: no limit",
        low=1,
        by_size=True,
    )
    max_steps: int | None = setting(
        None, "largest number of optimiser updates; null: no limit", low=1
    )
    accumulation_steps: int = setting(
        1,
        "number of windows whose gradients are summed for one optimiser update",
        low=1,
        high=MAX_WINDOW_SIZE,
    )
    max_grad_norm: float | None = setting(
        1.0, "largest norm of the gradient; a larger one is scaled down; null: no limit", above=0.0
    )
    average: Numbered = setting(
        "none",
        "weights to validate and keep: the last, or a mean; ema: of all, fading by this factor a "
        "step; last: over this part of the budget; nt_asgd: once so many validations were no "
        "better; any number",
        choices=("none", "ema:0.999", "last:0.15", "nt_asgd:5"),
        by_size=True,
    )
    activation_regularization: float = setting(
        0.0,
        "alpha: the training objective grows by alpha times the mean square of the last layer's "
        "outputs after dropout; not part of the perplexities that are shown",
        low=0.0,
    )
    temporal_activation_regularization: float = setting(
        0.0,
        "beta: the same with beta times the mean square of the difference of the last layer's "
        "outputs, before dropout, between a word and the next",
        when=("training.bptt_length!=1", "training.bptt_variation!=0"),
        low=0.0,
    )
    noising: Numbered = setting(
        "none",
        "replace this part of the input words by random ones; unigram: drawn by frequency; "
        "kneser_ney: more where many words may follow, drawn by contexts, targets too",
        choices=("none", "unigram:0.2", "kneser_ney:0.2"),
    )
    skip_non_finite: bool = setting(
        False,
        "true: skip and count updates with a NaN or infinite loss or gradient (ten in a row stop "
        "the run); false: the first one stops the run",
    )
    init_from: str | None = setting(
        None,
        "a run directory, or a model on the hub, whose words and weights this run starts from; "
        "--init-from is short for it",
    )
    word_vectors: str | None = setting(
        None,
        "a text file of word vectors (word2vec or GloVe) that the input vectors start from; "
        "--init-from is short for it, too",
        when="training.init_from=null",
    )
    seed: int = setting(
        0, "seed of initialisation, dropout, window lengths and sampled text", low=0
    )
    precision: str = setting(
        "fp32",
        "fp32, or bf16 mixed precision, which is faster on a GPU or a CPU with bfloat16 "
        "instructions (AVX512-BF16, AMX)",
        choices=("fp32", "bf16"),
    )
    device: str = setting(
        "auto", "where to train; auto: cuda if there is one, else mps, else cpu", choices=DEVICES
    )
    log_every: int = setting(50, "steps between two lines in metrics.jsonl", low=1)
    log_to: tuple[str, ...] = setting(
        (),
        "other logs to write beside metrics.jsonl: csv (metrics.csv) and tensorboard (the folder "
        "tensorboard) in the run directory, wandb, trackio; all but csv need lstm_lm[logs]",
        choices=("tensorboard", "wandb", "trackio", "csv"),
    )
    validate_every: int | None = setting(
        None, "steps between two validations; null: after every epoch", low=1
    )
    checkpoint_every: int | None = setting(
        500, "steps between two checkpoints; null: only after validations", low=1
    )
    keep_at_words: tuple[WordCount, ...] = setting(
        (),
        "numbers of training words (line ends count) at which the model is kept, such as 1M or "
        "500k: as revisions/chck_1M in the run directory",
        low=1,
    )
    best_on: str = setting(
        "all",
        "by which source of corpus.mix the best weights are chosen: its name in the printed "
        "perplexities, or all: by the mean loss of all sources, each counted alike",
        when="corpus.mix!=[]",
    )
    patience: int | None = setting(
        None, "stop after this many validations in a row without improvement; null: never", low=1
    )


@dataclass(frozen=True)
class EvaluationConfig:
    """Validation, and the sample texts shown with it."""

    reset_per_line: bool = setting(
        False, "true: every line starts from a zero state; false: the state is carried over"
    )
    window_length: int = setting(
        256, "words processed at a time; affects memory use, not the result", low=1
    )
    prompts: tuple[str, ...] = setting((), "texts that the model continues after every validation")
    continuation_words: int = setting(
        12, "words of each continuation", when="evaluation.prompts!=[]", low=1
    )


@dataclass(frozen=True)
class Config:
    """A whole configuration, section by section."""

    corpus: CorpusConfig = field(default_factory=CorpusConfig)
    stories: StoriesConfig = field(
        default_factory=StoriesConfig, metadata={"when": ("corpus.source=stories",)}
    )
    model: ModelConfig = field(default_factory=ModelConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
