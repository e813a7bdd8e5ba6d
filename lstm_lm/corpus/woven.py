"""Stories as one source of a mix: spelled as the corpus is, with real sentences set into them.

A story of the train split may get sentences of the corpus's own train text, in one or two places,
each between a clue and what depends on it. So a model learns to remember through text that no story
has. Valid and test stories stay as they were told: their exact likelihood is known, and no sentence
of valid or test is ever read by a model that is trained.
"""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Iterator
from random import Random

from lstm_lm.config import MixedSource
from lstm_lm.corpus import sentences, tokenization, typed_text, word_rules
from lstm_lm.corpus.fingerprints import fingerprint_of
from lstm_lm.corpus.sentences import LONGEST, SHORTEST, iterate_sentences
from lstm_lm.corpus.sources import Source
from lstm_lm.corpus.tokens import load_tokens
from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.errors import CorpusError
from lstm_lm.stories import gaps
from lstm_lm.stories.biographies import distance_limit
from lstm_lm.stories.gaps import sentence_ends

_SECOND_PLACE = 0.4  # of the stories with real sentences get them in a second place, too


class WovenStories:
    """Stories of a mix as a source; see the module.

    Args:
        stories: tells them, in natural typography.
        entry: the entry of `corpus.mix`.
        text: the corpus's own text.
        vocabulary: decides how words are spelled.
        cache_dir: where the ids of the text are kept; None for the default.

    Attributes:
        splits: ``train``, ``valid`` and ``test``.
    """

    def __init__(
        self,
        stories: Source,
        entry: MixedSource,
        text: Source,
        vocabulary: Vocabulary,
        cache_dir: str | None = None,
    ) -> None:
        self._stories, self._entry, self._text = stories, entry, text
        self._vocabulary, self._cache_dir = vocabulary, cache_dir
        self._spelled: dict[
            str, str
        ] = {}  # what stands between white space -> as the corpus has it
        self.splits = stories.splits

    def iterate_lines(self, split: str) -> Iterator[str]:
        """See `Source.iterate_lines`.

        Raises:
            CorpusError: the corpus's train text has no whole sentence.
        """
        if split == "train" and self._entry.mix.fillers == "corpus":
            yield from self._iterate_woven()
        else:
            yield from map(self._spell, self._stories.iterate_lines(split))

    def _iterate_woven(self) -> Iterator[str]:
        mix, stories = self._entry.mix, self._entry.stories
        rng, supply = Random(f"woven {stories.seed}"), self._iterate_sentences()
        for number, story in enumerate(self._stories.iterate_lines("train")):
            progress = number * (stories.curriculum or 1) / stories.count % 1
            grown = (progress - mix.fillers_from) / (1 - mix.fillers_from)
            limit = distance_limit(max(0.0, grown) if stories.curriculum else 1.0, mix.filler_words)
            places: list[int] = []
            if rng.random() < mix.filler_share and grown >= 0:
                places = _choose_places(sentence_ends(story), rng)
            pieces, start = [], 0
            for place in places:
                run = self._print(_draw_run(supply, limit, rng))
                pieces += [self._spell(story[start:place]), run]
                start = place
            yield " ".join([*pieces, self._spell(story[start:])])

    def _iterate_sentences(self) -> Iterator[list[str]]:
        """Yields the sentences of the corpus's train text, again and again."""
        vocabulary = self._vocabulary
        ids = load_tokens(
            self._text, "train", vocabulary, self._cache_dir, "corpus: the train split"
        )
        while True:
            sentence = None
            for sentence in iterate_sentences(ids, vocabulary):
                yield [vocabulary.words[number] for number in sentence]
            if sentence is None:
                raise CorpusError(
                    "corpus.mix: stories get sentences of the corpus's train text, but it has no "
                    f"whole sentence (of {SHORTEST} to {LONGEST} words, with a full stop); give "
                    "them `fillers: own`"
                )

    def _spell(self, text: str) -> str:
        """Returns natural text as the corpus has it."""
        if self._vocabulary.tokenization == "words":
            return text.strip()
        chunks = text.split()
        for chunk in set(chunks).difference(self._spelled):
            self._spelled[chunk] = " ".join(self._vocabulary.split_text(chunk))
        return " ".join(self._spelled[chunk] for chunk in chunks)

    def _print(self, words: list[str]) -> str:
        """Returns words of the corpus as the corpus has them."""
        is_natural = self._vocabulary.tokenization == "words"
        return self._vocabulary.display(words) if is_natural else " ".join(words)

    def fingerprint(self, split: str) -> str:
        """See `Source.fingerprint`: it also depends on the text, and on the rules of weaving."""
        rules = hashlib.sha256()
        for module in (
            sys.modules[__name__],
            sentences,
            gaps,
            typed_text,
            tokenization,
            word_rules,
        ):
            rules.update(inspect.getsource(module).encode())
        return fingerprint_of(
            "woven",
            self._stories.fingerprint(split),
            self._text.fingerprint("train"),
            self._entry.mix,
            self._vocabulary.tokenization,
            rules.hexdigest(),
        )

    def nll(self, split: str) -> float | None:
        """See `Source.nll`: unknown where stories have sentences of the corpus."""
        is_woven = split == "train" and self._entry.mix.fillers == "corpus"
        return None if is_woven else self._stories.nll(split)

    def notes(self) -> list[str]:
        """See `Source.notes`: none."""
        return []


def _choose_places(places: tuple[int, ...], rng: Random) -> list[int]:
    """Chooses where real sentences are set: one or two of the places where they may stand."""
    wanted = 2 if rng.random() < _SECOND_PLACE else 1
    chosen: set[int] = set()
    while len(chosen) < min(wanted, len(places)):
        chosen.add(places[int(rng.random() * len(places))])
    return sorted(chosen)


def _draw_run(supply: Iterator[list[str]], limit: int, rng: Random) -> list[str]:
    """Takes sentences that follow each other in the text; returns their words.

    Their number of words is spread evenly on a logarithmic scale up to about ``limit``, as the
    distances in stories are.
    """
    wanted = SHORTEST * (limit / SHORTEST) ** rng.random()
    run: list[str] = []
    while len(run) < wanted:
        run += next(supply)
    return run
