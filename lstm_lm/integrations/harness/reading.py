"""The texts of the harness as a model reads them, and the words that it does not know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from lstm_lm.config import CorpusConfig
from lstm_lm.corpus.file_reading import NATURAL, choose_reading, tokenised_words
from lstm_lm.corpus.layout import decide_layout, lay_out
from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.integrations.harness.scoring import Question
from lstm_lm.model.reading import prompt_words
from lstm_lm.model.scoring import lines_of

WORDS_NAMED = 10  # unknown words in a printed line


class Reader:
    """Reads texts, and counts the words that are unknown.

    Args:
        vocabulary: the model's.
        settings: of its corpus; `join_lines` and `skip_blank_lines` are used for whole texts.
    """

    def __init__(self, vocabulary: Vocabulary, settings: CorpusConfig) -> None:
        self.vocabulary, self._settings = vocabulary, settings
        self.words = self.context_words = 0
        self._unknown: Counter[str] = Counter()
        self._unknown_in_contexts: Counter[str] = Counter()

    def continuation(self, context: str, continuation: str) -> Question:
        """Splits a text into the words of its context and those of its continuation.

        Both are one text: how a word is spelled depends on its neighbours. A word that is part of
        both belongs to the continuation, unless the context alone has it, too. Without a context,
        the continuation is a whole text, and its last line end is one of its words.
        """
        if not context.strip():
            return self._question([self._eos], [*self._prompt(continuation)[1:], self._eos])
        words = self._prompt(context + continuation)
        start = len(words) - len(self._prompt(continuation)[1:])
        alone = self._prompt(context)
        same = 0
        while same < min(len(alone), len(words)) and alone[same] == words[same]:
            same += 1
        start = max(start, same)
        return self._question(words[:start], words[start:])

    def whole(self, text: str) -> Question:
        """Reads a text as ``lstm-lm evaluate --file`` reads a file."""
        vocabulary, settings, lines = self.vocabulary, self._settings, lines_of(text)
        joins, skips = settings.join_lines, settings.skip_blank_lines
        is_natural = choose_reading(lines, vocabulary) == NATURAL
        if not is_natural:
            joins, skips = bool(joins), bool(skips)
        layout = decide_layout([lines], join_lines=joins, skip_blank_lines=skips)
        laid_out = list(lay_out(lines, layout)) or lines
        if is_natural:
            split = [vocabulary.split_text(line) for line in laid_out]
        else:
            split = [tokenised_words(line, vocabulary) for line in laid_out]
        return self._question([self._eos], [word for line in split for word in (*line, self._eos)])

    def prompt(self, text: str) -> None:
        """Counts the words of a context that is continued."""
        self._question(self._prompt(text), [])

    def figures(self) -> dict[str, int]:
        """For JSON: words scored and words of contexts, and how many of each are unknown."""
        return {
            "words": self.words,
            "unknown_words": self._unknown.total(),
            "context_words": self.context_words,
            "unknown_context_words": self._unknown_in_contexts.total(),
        }

    def describe(self) -> str:
        """One line for people."""
        parts = [
            f"{unknown.total():,} of {words:,} {what}"
            for what, words, unknown in (
                ("scored words", self.words, self._unknown),
                ("words of contexts", self.context_words, self._unknown_in_contexts),
            )
            if words
        ]
        line = f"{' and '.join(parts)} are unknown and read as <unk>"
        if names := self._unknown + self._unknown_in_contexts:
            line += f", such as {'  '.join(word for word, _ in names.most_common(WORDS_NAMED))}"
        return line

    @property
    def _eos(self) -> str:
        return self.vocabulary.words[self.vocabulary.eos_id]

    def _prompt(self, text: str) -> list[str]:
        return prompt_words(self.vocabulary, text)

    def _question(self, context: Sequence[str], words: Sequence[str]) -> Question:
        """The ids of words; counts those that are unknown. The first ``<eos>`` is not counted."""
        ids = self.vocabulary.ids_of([*context, *words])
        unknown = [
            word if number == self.vocabulary.unk_id else ""
            for word, number in zip([*context, *words], ids, strict=True)
        ]
        self.words += len(words)
        self.context_words += len(context) - 1
        self._unknown.update(filter(None, unknown[len(context) :]))
        self._unknown_in_contexts.update(filter(None, unknown[: len(context)]))
        return Question(tuple(ids[: len(context)]), tuple(ids[len(context) :]))
