"""One YAML file -> six frozen dataclasses, every mistake in it reported at once.

`load_config` reads the file, applies the command line's dotted overrides, checks every value against the type and the
range that stand beside it below, and returns a `Config`. Nothing here imports torch: a wrong key answers at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from lstm_lm.config.reader import apply_override, read_sections
from lstm_lm.config.strict_yaml import format_yaml, one_line, parse_yaml, read_text, short
from lstm_lm.errors import ConfigError

# Cells by name: "module:class". A new cell needs one line here and one file in lstm_lm/cells/.
CELLS = {
    "lstm": "lstm_lm.cells.lstm:LSTMCell",
    "gru": "lstm_lm.cells.gru:GRUCell",
    "elman": "lstm_lm.cells.elman:ElmanCell",
}
DEVICES = ("auto", "cpu", "cuda", "mps")
OPENINGS = ("narrator", "person", "subject_change", "kin", "lost", "lesson")  # of the stories
MOST_LAYERS = 1000
MOST_OF_A_WINDOW = 1_000_000  # streams, words, windows: more fits no memory, and their product fits a 64-bit number


def setting(
    default: Any,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    below: float | None = None,
    choices: tuple | None = None,
) -> Any:
    """Declares a configuration value: its default, one line of help, and what is allowed.

    Args:
        default: the value when the file is silent; a list or tuple becomes a tuple.
        help: what it is, its unit included.
        low: least allowed value (inclusive).
        high: greatest allowed value (inclusive).
        above: exclusive lower bound.
        below: exclusive upper bound.
        choices: the allowed values.
    """
    return field(
        default=default,
        metadata={
            "help": help,
            "low": low,
            "high": high,
            "above": above,
            "below": below,
            "choices": choices,
        },
    )


@dataclass(frozen=True)
class CorpusConfig:
    """Where the words come from, and what counts as a word."""

    source: str = setting(
        "stories", "where the text comes from", choices=("stories", "hub", "files")
    )
    dataset: str | None = setting(None, "hub: data set name, or a local folder of Parquet files")
    dataset_config: str | None = setting(
        None, "hub: configuration of the data set, such as wikitext-2-v1"
    )
    text_column: str = setting("text", "hub and Parquet: the column that holds the text")
    train_split: str = setting("train", "hub: the data set's split to train on")
    valid_split: str = setting("validation", "hub: the data set's split to tune on")
    test_split: str | None = setting("test", "hub: the data set's split for the published number")
    train_file: str | None = setting(None, "files: .txt or .parquet to train on")
    valid_file: str | None = setting(None, "files: .txt or .parquet to tune on")
    test_file: str | None = setting(None, "files: .txt or .parquet for the published number")
    text_file: str | None = setting(
        None, "files: one .txt or .parquet to be split by the fractions below"
    )
    valid_fraction: float = setting(
        0.05,
        "files: share of text_file's lines, before the test lines, to tune on",
        above=0.0,
        below=0.5,
    )
    test_fraction: float = setting(
        0.05, "files: share of text_file's last lines kept for test", low=0.0, below=0.5
    )
    tokenization: str = setting(
        "words",
        "whitespace: the text is already tokenised; words: natural text",
        choices=("whitespace", "words"),
    )
    lowercase: bool = setting(False, "fold the text to lower case")
    min_count: int = setting(1, "a word seen less often in train becomes <unk>", low=1)
    vocab_size: int | None = setting(
        None, "at most this many words, <unk> and <eos> included", low=3
    )
    cache_dir: str | None = setting(
        None, "where encoded corpora are kept; default $LSTM_LM_CACHE or ~/.cache/lstm_lm"
    )


@dataclass(frozen=True)
class StoriesConfig:
    """The built-in corpus: which made-up life stories are told, when `corpus.source` is `stories`."""

    count: int = setting(8000, "number of train stories; about that many with a curriculum", low=1)
    seed: int = setting(0, "seed of the generator", low=0)
    farthest: int = setting(250, "words between a clue and the return to it, about, at most", low=8)
    returns: float = setting(3.0, "how often a story comes back to something, on average", low=1.0)
    curriculum: int | None = setting(
        None,
        "how often train's stories begin near and move out; "
        "training.batch_size, so that all streams do so at once; null: far from the start",
        low=1,
    )
    people_first: float = setting(
        0.0,
        "share of a curriculum's stories, its first, about two people and their countries alone",
        low=0.0,
        below=1.0,
    )
    events: float = setting(
        0.4,
        "chance that something new is taken up right after a clue or a return",
        low=0.0,
        below=1.0,
    )
    trade: int = setting(
        1,
        "weight of a trade in place of a country, of 3, where somebody is brought in",
        low=0,
    )
    narrator: int = setting(
        6, "weight of stories that begin with where their narrator is from", low=0
    )
    person: int = setting(4, "weight of stories that begin with where somebody else is from", low=0)
    two_people: int = setting(4, "weight of bringing in a second person", low=0)
    subject_change: int = setting(3, "weight of passing on to somebody else for good", low=0)
    move: int = setting(2, "weight of moving to another country", low=0)
    kin: int = setting(2, "weight of a relative, to whom pronouns come back", low=0)
    lost: int = setting(2, "weight of something lost, one or several, that is found", low=0)
    quotation: int = setting(2, "weight of a quotation or bracket that is to be closed", low=0)
    lesson: int = setting(1, "weight of stories that are facts alone", low=0)


@dataclass(frozen=True)
class ModelConfig:
    """The network: embedding -> stack of cells -> output layer."""

    cell: str = setting("lstm", "the recurrent cell", choices=CELLS)
    embedding_dim: int = setting(200, "width of a word's vector", low=1)
    hidden_size: int | tuple[int, ...] = setting(
        200, "width of every layer, or a list with one width per layer", low=1
    )
    num_layers: int = setting(2, "number of stacked cells", low=1, high=MOST_LAYERS)
    memory_words: int | None = setting(
        None,
        "units begin with keeping what they hold for 1 to so many words, drawn at "
        "random (chrono initialisation); null: all alike, for about 4",
        low=3,
    )
    tie_weights: bool = setting(True, "share the embedding matrix with the output layer")
    recurrence: str = setting(
        "fused",
        "fused: the fast whole-window pass; readable: the cell, step by step",
        choices=("fused", "readable"),
    )
    embedding_dropout: float = setting(
        0.0, "share of vocabulary words dropped whole", low=0.0, below=1.0
    )
    input_dropout: float = setting(0.0, "locked dropout on the embedded words", low=0.0, below=1.0)
    hidden_dropout: float = setting(0.0, "locked dropout between layers", low=0.0, below=1.0)
    output_dropout: float = setting(0.0, "locked dropout after the last layer", low=0.0, below=1.0)
    weight_dropout: float = setting(0.0, "dropout on the recurrent matrices", low=0.0, below=1.0)
    output_norm: bool = setting(True, "layer normalisation before the output layer")
    output: str = setting(
        "full",
        "full: softmax over all words; sampled: the same, but estimated in training; "
        "adaptive: frequent words first, rare ones with narrower vectors in clusters behind them",
        choices=("full", "sampled", "adaptive"),
    )
    sampled_words: int = setting(2000, "sampled: words drawn per window beside its targets", low=1)
    adaptive_cutoffs: tuple[int, ...] = setting(
        (4000, 40000),
        "adaptive: how many of the most frequent words come "
        "before each cluster, ascending; those beyond the vocabulary have no "
        "effect",
        low=3,
    )
    adaptive_factor: float = setting(
        4.0, "adaptive: vectors of a cluster are narrower by this than those before it", low=1.0
    )


@dataclass(frozen=True)
class OptimizerConfig:
    """How the weights move."""

    name: str = setting(
        "adamw",
        "the update rule; muon: AdamW, but orthogonal updates for the gates' matrices",
        choices=("adamw", "sgd", "muon"),
    )
    learning_rate: float = setting(3e-3, "peak learning rate", above=0.0)
    embedding_learning_rate: float | None = setting(
        None,
        "peak learning rate of the word vectors, each moved only where its word occurs (RMSProp by rows), which "
        "pays when the output is sampled; null: they move like the other matrices",
        above=0.0,
    )
    muon_learning_rate: float = setting(
        0.02, "muon: peak learning rate of the gates' matrices", above=0.0
    )
    betas: tuple[float, float] = setting(
        (0.9, 0.99), "adamw: decay of the gradient's and its square's averages", low=0.0, below=1.0
    )
    momentum: float = setting(0.0, "sgd: momentum", low=0.0, below=1.0)
    weight_decay: float = setting(
        0.0, "decoupled (adamw) or L2 (sgd) decay of the matrices", low=0.0
    )
    schedule: str = setting(
        "linear", "learning rate over time", choices=("constant", "linear", "cosine", "plateau")
    )
    warmup_steps: int = setting(100, "steps of linear warm-up from zero", low=0)
    final_fraction: float = setting(
        0.02, "linear and cosine: last rate over the peak", low=0.0, high=1.0
    )
    plateau_factor: float = setting(
        0.25, "plateau: factor when valid does not improve", above=0.0, below=1.0
    )


@dataclass(frozen=True)
class TrainingConfig:
    """The loop: windows, budget, and how often to look and to save."""

    batch_size: int = setting(20, "parallel streams of text", low=1, high=MOST_OF_A_WINDOW)
    bptt_length: int = setting(
        35, "words per window of truncated back-propagation", low=1, high=MOST_OF_A_WINDOW
    )
    bptt_variation: float = setting(
        0.0, "standard deviation of the window length, in words", low=0.0, high=MOST_OF_A_WINDOW
    )
    reset_lines: float = setting(
        0.0,
        "share of lines, drawn anew in every window, that start from a zero state; the "
        "others carry on the state of the line before",
        low=0.0,
        high=1.0,
    )
    dropout_start: float = setting(
        1.0,
        "share of the model's dropout rates that training begins with; it grows evenly "
        "to all of them at the end",
        low=0.0,
        high=1.0,
    )
    max_epochs: int | None = setting(3, "passes over train", low=1)
    max_steps: int | None = setting(None, "optimiser updates", low=1)
    accumulation_steps: int = setting(
        1, "windows per optimiser update", low=1, high=MOST_OF_A_WINDOW
    )
    max_grad_norm: float | None = setting(
        1.0, "gradients are scaled down to this norm; null: never", above=0.0
    )
    skip_non_finite: bool = setting(
        False,
        "pass over updates whose loss or gradient is not finite, and count them; "
        "ten in a row still stop the run; false: the first one does",
    )
    seed: int = setting(0, "seed of initialisation, dropout, windows and sampling", low=0)
    precision: str = setting(
        "fp32",
        "arithmetic: fp32, or bf16 autocast, which pays on a GPU, and on a CPU that has "
        "bfloat16 (AVX512-BF16, AMX)",
        choices=("fp32", "bf16"),
    )
    device: str = setting("auto", "auto takes cuda, then mps, then cpu", choices=DEVICES)
    log_every: int = setting(50, "steps between lines of metrics.jsonl", low=1)
    validate_every: int | None = setting(
        None, "steps between validations; null: every epoch", low=1
    )
    checkpoint_every: int | None = setting(
        500, "steps between checkpoints; null: at validations only", low=1
    )
    patience: int | None = setting(
        None, "stop after this many validations without a better one", low=1
    )


@dataclass(frozen=True)
class EvaluationConfig:
    """How valid is scored and what is printed beside it."""

    reset_per_line: bool = setting(
        False, "start every line from a zero state instead of carrying it on"
    )
    window_length: int = setting(
        256, "words scored at a time; changes memory, never the result", low=1
    )
    prompts: tuple[str, ...] = setting((), "texts continued at every validation")
    continuation_words: int = setting(12, "words of every continuation", low=1)


@dataclass(frozen=True)
class Config:
    """The whole of a run, section by section."""

    corpus: CorpusConfig = field(default_factory=CorpusConfig)
    stories: StoriesConfig = field(default_factory=StoriesConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Reads a YAML file, applies the overrides, checks everything.

    Args:
        path: the file; the keys it leaves out have the defaults above.
        overrides: ``section.key=value`` texts, the value in YAML; they win over the file, later ones over earlier ones.

    Raises:
        ConfigError: every mistake of the file and the overrides, one a line; or one line for a file that cannot be
            read or is not YAML.
    """
    problems: dict[str, str] = {}
    name = one_line(str(path), 500)
    data = parse_yaml(read_text(path), name, problems)
    if not isinstance(data, dict):
        found = "is empty" if data is None else f"holds {short(data)}"
        raise ConfigError(
            f"{name}: {found}, must hold sections (corpus, stories, model, optimizer, training, evaluation)"
        )
    for override in overrides:
        apply_override(override, data, problems)
    return _checked_config(data, problems)


def config_from_dict(data: dict[str, Any]) -> Config:
    """Builds a configuration from nested dicts, such as a run directory's ``config.json`` holds.

    Raises:
        ConfigError: with every mistake, one a line.
    """
    if not isinstance(data, dict):
        raise ConfigError(f"configuration: found {short(data)}, must be a mapping of sections")
    return _checked_config(data, {})


def config_to_dict(config: Config) -> dict[str, Any]:
    """The configuration as nested dicts of plain values, fit for JSON and YAML: tuples become lists."""
    return {
        section: {
            key: list(value) if isinstance(value, tuple) else value for key, value in keys.items()
        }
        for section, keys in asdict(config).items()
    }


def config_to_yaml(config: Config) -> str:
    """The configuration as YAML text, every key written out; `load_config` reads the same configuration from it."""
    return format_yaml(config_to_dict(config))


def _checked_config(data: dict[str, Any], problems: dict[str, str]) -> Config:
    """Checks every key, then the keys against each other; `problems` may hold mistakes that were found before."""
    config = read_sections(Config, data, problems)
    given = {
        f"{section}.{key}"
        for section, keys in data.items()
        if isinstance(keys, dict)
        for key in keys
    }
    sizes = config.model.hidden_size
    if isinstance(sizes, tuple) and sizes and "model.num_layers" not in given:
        config = replace(config, model=replace(config.model, num_layers=len(sizes)))
    for keys, text in _contradictions(config, given):
        if problems.keys().isdisjoint(keys):  # a key that is wrong by itself is mended first
            problems[keys[0]] = text
    if problems:
        raise ConfigError(
            "\n".join(f"{one_line(dotted)}: {text}" for dotted, text in problems.items())
        )
    return config


def _contradictions(config: Config, given: set[str]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yields settings that do not go together: the dotted keys involved, the one to report first, and what is wrong."""
    corpus, stories, model, training = config.corpus, config.stories, config.model, config.training
    if isinstance(model.hidden_size, tuple) and len(model.hidden_size) != model.num_layers:
        yield (
            ("model.hidden_size", "model.num_layers"),
            (
                f"found {short(model.hidden_size)}, must hold one width for each layer, and model.num_layers is "
                f"{model.num_layers}"
            ),
        )
    if isinstance(model.hidden_size, tuple) and len(model.hidden_size) > MOST_LAYERS:
        yield (
            ("model.hidden_size",),
            f"found {len(model.hidden_size)} widths, must be at most {MOST_LAYERS}",
        )
    if list(model.adaptive_cutoffs) != sorted(set(model.adaptive_cutoffs)):
        yield (
            ("model.adaptive_cutoffs",),
            (f"found {short(model.adaptive_cutoffs)}, must be in ascending order, each another"),
        )
    if training.max_epochs is None and training.max_steps is None:
        yield (
            ("training.max_epochs", "training.max_steps"),
            (
                "found null, as is training.max_steps; one of them must be a whole number, or training would not end"
            ),
        )
    if corpus.source == "hub" and corpus.dataset is None:
        yield (
            ("corpus.dataset", "corpus.source"),
            "found null, must name a data set, since corpus.source is hub",
        )
    if corpus.source == "stories" and not any(getattr(stories, name) for name in OPENINGS):
        yield (
            tuple(f"stories.{name}" for name in OPENINGS),
            (
                f"found 0, as are all other weights of how a story may begin; give one of {', '.join(OPENINGS)} more"
            ),
        )
    if stories.people_first and stories.curriculum is None:
        yield (
            ("stories.people_first", "stories.curriculum"),
            (
                f"found {stories.people_first}, has no effect without a curriculum; set stories.curriculum, or this to 0"
            ),
        )
    names = ("text_file", "train_file", "valid_file", "test_file")
    files = {
        f"corpus.{name}": value for name in names if (value := getattr(corpus, name)) is not None
    }
    if corpus.source == "files" and "corpus.text_file" in files and len(files) > 1:
        yield (
            tuple(files),
            (
                f"found {short(corpus.text_file)} beside {list(files)[1]}; give text_file alone, or "
                "train_file and valid_file"
            ),
        )
    elif corpus.source == "files" and "corpus.text_file" not in files:
        for missing in sorted({"corpus.train_file", "corpus.valid_file"} - files.keys()):
            yield (
                (missing, "corpus.source", "corpus.text_file"),
                (
                    "found null, must be a file, since corpus.source is files and corpus.text_file is null"
                ),
            )
    if "corpus.source" not in given:  # the default, stories, would pass over these without a word
        sources = dict.fromkeys(files, "files") | (
            {"corpus.dataset": "hub"} if corpus.dataset is not None else {}
        )
        for dotted, source in sources.items():
            yield (
                (dotted,),
                f"has no effect until corpus.source is set; set corpus.source to {source}",
            )
