"""The settings of the sections `corpus` and `stories`."""

from __future__ import annotations

from dataclasses import dataclass, field

from lstm_lm.config.declaration import setting

OPENINGS = ("narrator", "person", "subject_change", "kin", "lost", "lesson")
"""Settings of `StoriesConfig`: weights of the ways a story begins. One of them must be above 0."""

# Lessons alone have no people, no distances and no events.
TELLS_A_LIFE = tuple(f"stories.{name}!=0" for name in OPENINGS if name != "lesson")
# The short stories that come first have a second person, whatever the others are about.
TELLS_OF_PEOPLE = (*TELLS_A_LIFE, "stories.people_first!=0")
HAS_EVENTS = tuple(
    f"stories.{name}!=0"
    for name in ("two_people", "subject_change", "move", "kin", "lost", "quotation")
)

FROM_HUB, FROM_FILES = "corpus.source=hub", "corpus.source=files"


@dataclass(frozen=True)
class CorpusConfig:
    """The text: where it comes from, how it is split into words, which words the model knows."""

    source: str = setting(
        "stories",
        "where the text comes from: the built-in story generator, the Hugging Face hub, or files",
        choices=("stories", "hub", "files"),
    )
    dataset: str | None = setting(
        None,
        "name of a data set on the hub, such as Salesforce/wikitext, or a folder of Parquet files",
        when=FROM_HUB,
    )
    dataset_config: str | None = setting(
        None, "configuration of the data set, such as wikitext-2-v1", when=FROM_HUB
    )
    text_column: str = setting(
        "text",
        "name of the column that holds the text, in a data set or in .csv, .tsv, .jsonl and "
        ".parquet files",
        when="corpus.source=hub|files",
    )
    train_split: str = setting(
        "train", "the data set's split that the model is trained on", when=FROM_HUB
    )
    valid_split: str = setting(
        "validation", "the data set's split for validation during training", when=FROM_HUB
    )
    test_split: str | None = setting(
        "test", "the data set's split for the final test; null: none", when=FROM_HUB
    )
    streaming: bool = setting(
        False,
        "true: encode the data set while it is downloaded (train twice) and keep no copy, so it "
        "may be larger than the disk; false: download it once and keep it",
        when=FROM_HUB,
    )
    train_file: str | tuple[str, ...] | None = setting(
        None,
        "text that the model is trained on: a file, a folder, a pattern such as books/*.txt, or a "
        "list of these; see data/README.md for the formats",
        when=FROM_FILES,
    )
    valid_file: str | tuple[str, ...] | None = setting(
        None, "text for validation during training, given like train_file", when=FROM_FILES
    )
    test_file: str | tuple[str, ...] | None = setting(
        None, "text for the final test, given like train_file", when=FROM_FILES
    )
    text_file: str | tuple[str, ...] | None = setting(
        None,
        "text that is divided into train, valid and test, given like train_file; use it instead of "
        "train_file, valid_file and test_file",
        when=FROM_FILES,
    )
    encoding: str = setting(
        "utf-8",
        "encoding of text files, .csv, .tsv and .jsonl, by Python's name, such as windows-1252 or "
        "utf-16",
        when=FROM_FILES,
    )
    join_lines: bool | None = setting(
        None,
        "whether wrapped lines are joined to paragraphs; true: up to a blank line; null: if the "
        "text is seen to be wrapped (one long line is then divided into sentences), but not if "
        "tokenised",
        when=FROM_FILES,
    )
    skip_blank_lines: bool | None = setting(
        None,
        "whether blank lines are left out; null: yes, but not of a tokenised text",
        when=FROM_FILES,
    )
    valid_fraction: float = setting(
        0.05,
        "fraction of text_file's lines for validation, taken from just before the test lines",
        when="corpus.text_file!=null",
        above=0.0,
        below=0.5,
    )
    test_fraction: float = setting(
        0.05,
        "fraction of text_file's lines for the final test, taken from the end",
        when="corpus.text_file!=null",
        low=0.0,
        below=0.5,
    )
    tokenization: str = setting(
        "words",
        "words: split natural text into words and punctuation; whitespace: the text is already "
        "tokenised, split at spaces only",
        choices=("whitespace", "words"),
    )
    lowercase: bool = setting(False, "convert the text to lower case")
    min_count: int = setting(
        1,
        "words that occur fewer times than this in train become <unk>; words of the model that "
        "training.init_from names stay, however rare they are",
        when=("training.init_from=null", "corpus.extend_vocabulary!=0"),
        low=1,
    )
    vocab_size: int | None = setting(
        None,
        "largest number of words the model knows, <unk> and <eos> included; rarer words become "
        "<unk>; null: no limit",
        when="training.init_from=null",
        low=3,
    )
    extend_vocabulary: int = setting(
        0,
        "how many words of train are added to those of the model that training.init_from names, "
        "at most: the most frequent of those that it does not know",
        when="training.init_from!=null",
        low=0,
    )
    mix: tuple[MixedSource, ...] = setting(
        (),
        "more sources that are read in turn with this one: a list of names or of mappings, each "
        "with a source, its settings, and a share or a number of passes; see data/README.md",
    )
    passes: int = setting(
        1,
        "how often this text is read in each pass over the mix",
        when="corpus.mix!=[]",
        low=1,
        by_size=True,
    )
    cache_dir: str | None = setting(
        None,
        "folder that keeps encoded corpora; null: $LSTM_LM_CACHE, or ~/.cache/lstm_lm if that "
        "is not set",
    )

    def source_names(self) -> tuple[str, ...]:
        """Returns the names of all sources, the own text's first: ``("files", "stories")``.

        Where a kind of source occurs again, it has a number: ``files 2``.
        """
        kinds = [self.source, *(entry.corpus.source for entry in self.mix)]
        numbers = [kinds[: place + 1].count(kind) for place, kind in enumerate(kinds)]
        return tuple(
            kind if number == 1 else f"{kind} {number}"
            for kind, number in zip(kinds, numbers, strict=True)
        )


@dataclass(frozen=True)
class StoriesConfig:
    """The built-in corpus of generated life stories."""

    count: int = setting(
        8000, "number of stories to train on (approximate if a curriculum is set)", low=1
    )
    seed: int = setting(0, "seed of the story generator", low=0)
    world: str = setting(
        "small",
        "small: 30 countries and few ways to name them; wide: over 100 countries, many ways to "
        "name them and to return to them, and more to remember: for a model that also reads "
        "real text",
        choices=("small", "wide"),
    )
    parallel: bool = setting(
        False,
        "true: write the stories on all cores; the number of cores does not change them; false: "
        "write them on one core; the two give different stories of the same kind",
    )
    farthest: int = setting(
        250,
        "largest distance, in words, between a fact and the sentence that depends on it "
        "(approximate)",
        when=TELLS_A_LIFE,
        low=8,
    )
    returns: float = setting(
        3.0,
        "mean number of sentences per story that depend on an earlier fact",
        when=TELLS_A_LIFE,
        low=1.0,
    )
    curriculum: int | None = setting(
        None,
        "how many times the distances grow from short to long over the train stories; set it to "
        "training.batch_size, so that they grow in every stream at once; null: full distances "
        "throughout",
        low=1,
    )
    people_first: float = setting(
        0.0,
        "fraction of each pass of the curriculum that begins with short stories about two people "
        "and their countries only",
        when="stories.curriculum!=null",
        low=0.0,
        below=1.0,
    )
    events: float = setting(
        0.4,
        "probability of a new topic directly after a fact or a sentence that depends on one",
        when=HAS_EVENTS,
        low=0.0,
        below=1.0,
    )
    trade: int = setting(
        1,
        "weight of introducing a person by their trade; the weight of introducing them by their "
        "country is 3",
        when=TELLS_A_LIFE,
        low=0,
    )
    narrator: int = setting(6, "weight of beginning a story with the narrator's country", low=0)
    person: int = setting(4, "weight of beginning a story with another person's country", low=0)
    two_people: int = setting(
        4, "weight of introducing a second person", when=TELLS_OF_PEOPLE, low=0
    )
    subject_change: int = setting(3, "weight of changing to another person for good", low=0)
    move: int = setting(2, "weight of a person moving to another country", when=TELLS_A_LIFE, low=0)
    kin: int = setting(2, "weight of a relative whom later pronouns refer to", low=0)
    lost: int = setting(2, "weight of one or several lost things that are found later", low=0)
    quotation: int = setting(
        2, "weight of a quotation or bracket that is closed later", when=TELLS_A_LIFE, low=0
    )
    lesson: int = setting(
        1, "weight of stories that only state facts, most of them about countries", low=0
    )
    memo: int = setting(
        2,
        "weight of a name, a number or a title that is said once and again later",
        when="stories.world=wide",
        low=0,
    )


@dataclass(frozen=True)
class MixConfig:
    """What an entry of `corpus.mix` has beside the settings of its source."""

    share: float | None = setting(
        None,
        "this source's share of the tokens of the whole mix; so many stories are then written; "
        "null: decided by passes, or by the number of stories",
        above=0.0,
        below=1.0,
    )
    share_at_start: float | None = setting(
        None,
        "share of the tokens at the beginning of training, at least `share`; it falls to a quarter "
        "of `share`; the sources without this setting fill the rest; null: the same throughout",
        when="mix.share!=null",
        above=0.0,
        below=1.0,
    )
    passes: float | None = setting(
        None,
        "how often this source is read in each pass over the mix; null: decided by share, or else "
        "once",
        above=0.0,
    )
    fillers: str = setting(
        "corpus",
        "corpus: sentences of the corpus's own train text are set between a clue and what depends "
        "on it; own: stories have only sentences of their own",
        choices=("corpus", "own"),
        when="corpus.source=stories",
    )
    filler_share: float = setting(
        0.6,
        "fraction of the stories that get sentences of the corpus",
        when="mix.fillers=corpus",
        above=0.0,
        high=1.0,
    )
    fillers_from: float = setting(
        0.0,
        "at which fraction of a curriculum, or without one of the train stories, the sentences of "
        "the corpus begin; before it, stories have only sentences of their own",
        when="mix.fillers=corpus",
        low=0.0,
        below=1.0,
    )
    filler_words: int = setting(
        250,
        "most words of the corpus that are set into one place of a story; with a curriculum, they "
        "grow from 8 to this",
        when="mix.fillers=corpus",
        low=8,
    )


@dataclass(frozen=True)
class MixedSource:
    """An entry of `corpus.mix`: a source that is read in turn with the others.

    In a file, an entry is flat: ``{source: stories, count: 20000, share: 0.3}``. Here the same keys
    stand in sections.
    """

    mix: MixConfig = field(default_factory=MixConfig)
    corpus: CorpusConfig = field(default_factory=CorpusConfig)
    stories: StoriesConfig = field(
        default_factory=StoriesConfig, metadata={"when": ("corpus.source=stories",)}
    )

    def __str__(self) -> str:
        return self.corpus.source
