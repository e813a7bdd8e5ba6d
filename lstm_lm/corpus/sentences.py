"""Whole sentences of a text, such as those that are set between a clue and what depends on it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lstm_lm.corpus.layout import split_sentences

# Words of a sentence. Shorter ones are often headings or cut by an abbreviation, longer ones lists.
SHORTEST, LONGEST = 4, 40
_END_MARKS = (".", "!", "?")
_OPENING = "\"'“‘«(¿¡ "
_CLOSING = "\"'”’»)"
_HEADING_MARKS = ("=", "#")  # of WikiText and of Markdown


def iterate_sentences(lines: Iterable[str], tokenization: str) -> Iterator[str]:
    """Yields the sentences of a text that end with a sentence's mark.

    Left out are headings, what begins with a small letter, sentences of fewer than `SHORTEST` or
    more than `LONGEST` words, and those that open a quotation or a bracket without closing it.

    Args:
        lines: of the text.
        tokenization: ``whitespace`` if the words of the text stand between white space, and
            ``words`` if it is natural text; see `lstm_lm.config.CorpusConfig`.
    """
    split = _split_tokenised if tokenization == "whitespace" else split_sentences
    for line in lines:
        if not line.lstrip().startswith(_HEADING_MARKS):
            for sentence in split(line):
                if SHORTEST <= sentence.count(" ") + 1 <= LONGEST and _is_whole(sentence):
                    yield sentence


def _is_whole(sentence: str) -> bool:
    """Whether a sentence begins as one, closes what it opens, and ends."""
    first = sentence.lstrip(_OPENING)[:1]
    begins = sentence.startswith("<unk>") or (first.isalnum() and not first.islower())
    is_closed = sentence.count('"') % 2 == 0 and sentence.count("(") == sentence.count(")")
    return begins and is_closed and sentence.rstrip(_CLOSING + " ").endswith(_END_MARKS)


def _split_tokenised(line: str) -> Iterator[str]:
    """Yields the sentences of a line whose words stand between white space."""
    words: list[str] = []
    for word in line.split():
        words.append(word)
        if word in _END_MARKS:
            yield " ".join(words)
            words = []
