"""Settings that are right by themselves, but not together; one small check for each such case."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from lstm_lm.config.corpus_settings import OPENINGS, MixedSource
from lstm_lm.config.declaration import split_numbered
from lstm_lm.config.effect import value_of
from lstm_lm.config.settings import MAX_LAYERS, Config
from lstm_lm.config.strict_yaml import short


class Contradiction(NamedTuple):
    """Settings that do not go together.

    Attributes:
        keys: the dotted settings involved; the first one is reported.
        text: what is wrong with it.
    """

    keys: tuple[str, ...]
    text: str


def find_contradictions(config: Config) -> Iterator[Contradiction]:
    """Yields every pair or group of settings that do not go together."""
    checks = (check_layer_sizes, check_cutoffs, check_training_ends, check_numbers, check_mix)
    for check in checks:
        yield from check(config)
    yield from find_contradictions_of_source(config)


def find_contradictions_of_source(config: Config | MixedSource) -> Iterator[Contradiction]:
    """Yields those of the sections `corpus` and `stories`."""
    for check in (check_hub, check_files, check_encoding, check_story_openings):
        yield from check(config)


def check_mix(config: Config) -> Iterator[Contradiction]:
    """Stories get sentences of a text, and the weights are chosen by a source that there is."""
    corpus = config.corpus
    for number, entry in enumerate(corpus.mix):
        if entry.corpus.source != "stories":
            continue
        if corpus.source == "stories" and entry.mix.fillers == "corpus":
            yield Contradiction(
                ("corpus.mix", "corpus.source"),
                f"entry {number} has stories with sentences of the corpus's own text, but "
                "corpus.source is stories; give it `fillers: own`, or set corpus.mix=[]",
            )
    names = ("all", *corpus.source_names())
    if corpus.mix and config.training.best_on not in names:
        yield Contradiction(
            ("training.best_on", "corpus.mix"),
            f"found {short(config.training.best_on)}, must be {', '.join(names[:-1])} or "
            f"{names[-1]}",
        )
    shares = [entry.mix.share for entry in corpus.mix if entry.mix.share is not None]
    if sum(shares) >= 1:
        yield Contradiction(
            ("corpus.mix",), f"the shares add up to {sum(shares):g}, must be below 1"
        )
    starts = [entry.mix.share_at_start or entry.mix.share or 0.0 for entry in corpus.mix]
    if sum(shares) < 1 <= sum(starts):
        yield Contradiction(
            ("corpus.mix",),
            f"the shares at the start add up to {sum(starts):g}, must be below 1",
        )


def check_layer_sizes(config: Config) -> Iterator[Contradiction]:
    """A list of layer sizes has one for each layer."""
    sizes, layers = config.model.hidden_size, config.model.num_layers
    if not isinstance(sizes, tuple):
        return
    if len(sizes) > MAX_LAYERS:
        text = f"found {len(sizes)} sizes, must be at most {MAX_LAYERS}"
        yield Contradiction(("model.hidden_size",), text)
    elif len(sizes) != layers:
        yield Contradiction(
            ("model.hidden_size", "model.num_layers"),
            f"found {short(sizes)}, must have one size per layer; model.num_layers is {layers}",
        )


def check_cutoffs(config: Config) -> Iterator[Contradiction]:
    """The clusters of an adaptive softmax come one after the other."""
    cutoffs = list(config.model.adaptive_cutoffs)
    if cutoffs != sorted(set(cutoffs)):
        text = f"found {short(cutoffs)}, must be in ascending order, without duplicates"
        yield Contradiction(("model.adaptive_cutoffs",), text)


def check_training_ends(config: Config) -> Iterator[Contradiction]:
    """Training has a limit."""
    if config.training.max_epochs is None and config.training.max_steps is None:
        yield Contradiction(
            ("training.max_epochs", "training.max_steps"),
            "found null, and training.max_steps is null too; set one of them so that training ends",
        )


def check_numbers(config: Config) -> Iterator[Contradiction]:
    """The number after a name, as in ``ema:0.999``, is one that this name can have."""
    for dotted in ("training.average", "training.noising"):
        value = value_of(config, dotted)
        name, number = split_numbered(value)
        if number is None:
            continue
        is_allowed, words = {
            "ema": (0 < number < 1, "above 0 and below 1"),
            "nt_asgd": (number >= 1 and number.is_integer(), "a whole number of at least 1"),
        }.get(name, (0 < number <= 1, "above 0 and at most 1"))
        if not is_allowed:
            text = f"found {short(value)}; the number after {name}: must be {words}"
            yield Contradiction((dotted,), text)


def check_hub(config: Config | MixedSource) -> Iterator[Contradiction]:
    """A corpus from the hub has a name."""
    if config.corpus.source == "hub" and config.corpus.dataset is None:
        yield Contradiction(
            ("corpus.dataset", "corpus.source"),
            "found null, must be a data set's name, because corpus.source is hub",
        )


def check_files(config: Config | MixedSource) -> Iterator[Contradiction]:
    """A corpus of files is one file to divide, or one file for each split."""
    corpus = config.corpus
    if corpus.source != "files":
        return
    split_files = {
        f"corpus.{name}": getattr(corpus, name)
        for name in ("train_file", "valid_file", "test_file")
    }
    given = [dotted for dotted, file in split_files.items() if file is not None]
    if corpus.text_file is not None and given:
        yield Contradiction(
            ("corpus.text_file", *given),
            f"found {short(corpus.text_file)}, but {given[0]} is given too; set "
            f"corpus.text_file=null, or remove {' and '.join(given)}",
        )
    elif corpus.text_file is None:
        for dotted in ("corpus.train_file", "corpus.valid_file"):
            if split_files[dotted] is None:
                yield Contradiction(
                    (dotted, "corpus.source", "corpus.text_file"),
                    "found null, must be a file, because corpus.source is files and "
                    "corpus.text_file is null",
                )


def check_encoding(config: Config | MixedSource) -> Iterator[Contradiction]:
    """Python knows the encoding, and it is one of text."""
    encoding = config.corpus.encoding
    try:
        is_known = bool("a".encode(encoding))  # fails for encodings between bytes, such as hex
    except (LookupError, UnicodeError):
        is_known = False
    if not is_known:
        yield Contradiction(
            ("corpus.encoding",),
            f"found {short(encoding)}, must be an encoding that Python knows, such as utf-8, "
            "utf-16, windows-1252, latin-1, shift_jis or gb18030",
        )


def check_story_openings(config: Config | MixedSource) -> Iterator[Contradiction]:
    """A story can begin somehow."""
    if config.corpus.source == "stories" and not any(
        getattr(config.stories, name) for name in OPENINGS
    ):
        yield Contradiction(
            tuple(f"stories.{name}" for name in OPENINGS),
            f"found 0, and so are {', '.join(OPENINGS[1:])}; give one of them a higher weight",
        )
