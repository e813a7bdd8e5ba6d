"""The layout of a text: wrapped lines, blank lines, and texts without line ends.

Layout is not language: a model of a novel that is wrapped at 70 columns learns that lines end
there. So lines that were wrapped are joined to paragraphs again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

SAMPLE_LENGTH = 2**19
"""The layout of a text is decided by about so many characters from its beginning."""

LAYOUT_VERSION = 1
"""Is part of a text's fingerprint: to be raised when the same text is laid out in another way."""

# A break is full if the next word would not have fit into this share of the width. Measured on
# four novels that were wrapped at 60 and 75 columns, and on five licences that people had wrapped:
# 0.96 to 1.0 of the breaks inside paragraphs are full. With a sentence of these novels on each
# line, 0.07 to 0.12 are.
_MIN_FILLED_TO_DECIDE, _MIN_FULL_SHARE = 0.9, 0.7
_MIN_BREAKS = 10  # fewer breaks decide nothing
_MIN_WIDTH, _MAX_WIDTH = 40, 200  # columns at which people and programs wrap
# In the same texts, 0.01 to 0.05 of the full lines end with the end of a sentence; with a sentence
# on each line, 0.99.
_MAX_SENTENCE_END_SHARE = 0.45
# After 0.69 to 0.90 of the full lines comes a small letter (or one of a script without capitals);
# with a sentence on each line, after 0.01. Records of equal length are told by this, too.
_MIN_SMALL_LETTER_SHARE = 0.3
# Where lines are joined, a break is kept if the line and the next word fill less than this share
# of the width: titles, verse, ends of paragraphs. Quoted letters are often set narrower.
_MIN_FILLED = 0.8
# In the wrapped novels, 0.003 to 0.007 of the lines end inside a compound (well-/known). Where more
# lines end in a hyphen than this, words were divided at the ends of lines.
_MAX_COMPOUND_SHARE = 0.02
_MAX_PARAGRAPH_LENGTH = 2**20  # characters that are joined at most

# A text of so few lines that are on average so long is divided into sentences.
_MAX_LONG_LINES, _MIN_LONG_LINE = 3, 2000
_MAX_PIECE_LENGTH = 1000  # a sentence that is longer is cut at a space

_ENDS_SENTENCE = re.compile(r"[.!?…:;。！？؟।]['\"’”»)\]*_]*$")
_ENDS_IN_HYPHEN = re.compile(r"[^\W\d_]-$")
_MARKDOWN_START = re.compile(r"\s*(?:[-*+]\s|\d+[.)]\s|#{1,6}\s|[|>]|```|~~~|={3,}$|-{3,}$)")
_MARKDOWN_TITLE = re.compile(r"#{1,6}\s")
_UNSPACED = "\u0e00-\u0e7f\u3000-\u30ff\u3400-\u9fff\uff00-\uffef"  # Thai, kana, Han, their marks
_IS_UNSPACED = re.compile(f"[{_UNSPACED}]")
# The space after the end of a sentence; the next one begins with no small letter. Titles and
# initials (Mr. J. Smith) end none.
_SENTENCE_GAP = re.compile(
    r"(?<=[.!?…])['\"’”»)\]]*\s+(?=[^\Wa-zß-ÿа-я_]|[\"'“‘«(\[¿¡—])|(?<=[。！？])(?![」』”’。！？])"
)
_NO_SENTENCE_END = re.compile(r"(?:\b(?:Mr|Mrs|Ms|Dr|St|Prof|Rev|Gen|Col|Capt|Lt|vs)|\b\w)\.$")


@dataclass(frozen=True)
class Layout:
    """How the lines of a text become the lines that are learned.

    Attributes:
        joins: whether wrapped lines are joined to paragraphs.
        width: columns at which they were wrapped; 0: all lines up to a blank one are joined.
        drops_hyphens: whether a hyphen at the end of a line divides a word.
        skips_blank: whether blank lines are left out.
        divides: whether long lines are divided into sentences.
        lone_returns: whether lines end with ``\\r`` alone.
        blank_share: share of blank lines in the sample, in [0, 1].
        is_certain: whether the sample was large enough to say whether lines are wrapped.
    """

    joins: bool = False
    width: int = 0
    drops_hyphens: bool = False
    skips_blank: bool = False
    divides: bool = False
    lone_returns: bool = False
    blank_share: float = 0.0
    is_certain: bool = True

    @property
    def reads_in_chunks(self) -> bool:
        """Whether the text may be one line that is too long to be read whole."""
        return self.divides or self.lone_returns

    def notes(self, with_settings: bool = True) -> list[str]:
        """Returns what was seen and done, a sentence for each thing.

        Args:
            with_settings: whether to name the settings that change it.
        """
        notes = []
        if self.lone_returns:
            notes.append("lines end with a carriage return alone (\\r), which is read as line end")
        lines_setting = " (corpus.join_lines=false keeps them)" if with_settings else ""
        blank_setting = " (corpus.skip_blank_lines=false keeps them)" if with_settings else ""
        if self.joins and self.width:
            notes.append(
                f"lines are wrapped at {self.width} columns; they are joined to paragraphs"
                f"{lines_setting}"
            )
        elif self.joins:
            notes.append(f"lines up to a blank line are joined{lines_setting}")
        if self.divides:
            notes.append(
                f"the text is one long line or a few; it is divided into sentences{lines_setting}"
            )
        if self.skips_blank and self.blank_share:
            notes.append(
                f"{self.blank_share:.0%} of the lines are blank; they are skipped{blank_setting}"
            )
        return notes


AS_IT_IS = Layout()
"""Every line stays as it is."""


def decide_layout(
    documents: Sequence[Sequence[str]],
    *,
    join_lines: bool | None,
    skip_blank_lines: bool | None,
    lone_returns: bool = False,
) -> Layout:
    """Decides how a text is laid out, by a sample of it.

    Args:
        documents: the lines of each document: a text file, or a row of a table.
        join_lines: whether wrapped lines are joined; None: if the sample is wrapped. Then a text
            of hardly any lines is divided, too.
        skip_blank_lines: whether blank lines are left out; None: yes.
        lone_returns: whether lines end with ``\\r`` alone.
    """
    lines = [line.rstrip() for document in documents for line in document]
    filled = [line for line in lines if line]
    skips_blank = skip_blank_lines is not False
    blank_share = 1 - len(filled) / len(lines) if lines else 0.0
    breaks = [pair for document in documents for pair in _breaks(document)]
    hyphens = sum(bool(_ENDS_IN_HYPHEN.search(line)) for line, _ in breaks)
    drops_hyphens = len(breaks) > 0 and hyphens > _MAX_COMPOUND_SHARE * len(breaks)
    joins, width = bool(join_lines), 0
    if join_lines is None and len(breaks) >= _MIN_BREAKS:
        width = _wrapped_at(breaks)
        joins = width > 0
    length = sum(map(len, filled))
    divides = (
        join_lines is None
        and 0 < len(filled) <= _MAX_LONG_LINES
        and length >= _MIN_LONG_LINE * len(filled)
    )
    return Layout(
        joins,
        width,
        drops_hyphens and joins,
        skips_blank,
        divides,
        lone_returns,
        blank_share,
        len(breaks) >= _MIN_BREAKS,
    )


def _breaks(document: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yields the lines of a document that are followed by another line of the same paragraph."""
    for line, following in zip(document, document[1:], strict=False):
        if (
            line.strip()
            and following.strip()
            and _indent(following) <= _indent(line)
            and not _starts_block(following, line)
        ):
            yield line.rstrip(), following


def _wrapped_at(breaks: Sequence[tuple[str, str]]) -> int:
    """Returns the column at which lines are wrapped; 0 if they are not."""
    lengths = sorted(len(line) for line, _ in breaks)
    width = lengths[int(0.95 * (len(lengths) - 1))]
    if not _MIN_WIDTH <= width <= _MAX_WIDTH:
        return 0
    full = [pair for pair in breaks if _is_full(*pair, _MIN_FILLED_TO_DECIDE * width)]
    sentence_ends = sum(bool(_ENDS_SENTENCE.search(line)) for line, _ in full)
    small = sum(_begins_small(following) for _, following in full)
    is_wrapped = (
        len(full) >= _MIN_FULL_SHARE * len(breaks)
        and sentence_ends <= _MAX_SENTENCE_END_SHARE * len(full)
        and small >= _MIN_SMALL_LETTER_SHARE * len(full)
    )
    return width if is_wrapped else 0


def _begins_small(line: str) -> bool:
    """Returns whether a line begins with a letter that is no capital."""
    first = line.lstrip()[:1]
    return first.isalpha() and not first.isupper()


def _is_full(line: str, following: str, width: float) -> bool:
    """Returns whether the first word of the next line would not fit into the width."""
    return len(line.rstrip()) + 1 + _first_word_length(following) > width


def _first_word_length(line: str) -> int:
    """Returns the length of what a program that wraps lines would not divide."""
    word = line.split(None, 1)[0]
    return 1 if _IS_UNSPACED.match(word) else len(word)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def lay_out(lines: Iterable[str], layout: Layout, is_markdown: bool = False) -> Iterator[str]:
    """Yields the lines of a document as they are learned.

    Args:
        lines: the lines of one document.
        layout: what is done.
        is_markdown: whether headings, lists, tables and code keep their lines.
    """
    if layout.joins:
        lines = _join(lines, layout, is_markdown)
    if layout.divides:
        lines = (piece for line in lines for piece in divide_line(line))
    if layout.skips_blank:
        lines = (line for line in lines if line and not line.isspace())
    return iter(lines)


def lay_out_text(lines: Sequence[str]) -> Sequence[str]:
    """Returns the lines of a natural text as they are learned; if all are blank, as they are."""
    layout = decide_layout([lines], join_lines=None, skip_blank_lines=None)
    return list(lay_out(lines, layout)) or lines


def _join(lines: Iterable[str], layout: Layout, is_markdown: bool) -> Iterator[str]:
    """Joins wrapped lines to paragraphs; blank lines stay."""
    paragraph, previous = "", ""
    in_code = False
    for line in lines:
        is_fence = is_markdown and line.lstrip().startswith(("```", "~~~"))
        continues = (
            bool(paragraph)
            and not (in_code or is_fence)
            and not (is_markdown and _starts_block(line, previous))
            and len(paragraph) < _MAX_PARAGRAPH_LENGTH
            and _continues(previous, line, layout.width)
        )
        in_code ^= is_fence
        if continues:
            paragraph = _glue(paragraph, line.strip(), layout.drops_hyphens)
        else:
            if paragraph:
                yield paragraph
            paragraph = line.strip()
            if not paragraph:
                yield ""
        previous = line
    if paragraph:
        yield paragraph


def _starts_block(line: str, previous: str) -> bool:
    """Returns whether a line of Markdown begins something new."""
    return bool(_MARKDOWN_START.match(line) or _MARKDOWN_TITLE.match(previous))


def _continues(line: str, following: str, width: int) -> bool:
    """Returns whether a line and the next one are one paragraph."""
    if not following.strip():
        return False
    if not width:
        return True
    return _indent(following) <= _indent(line) and _is_full(line, following, _MIN_FILLED * width)


def _glue(paragraph: str, line: str, drops_hyphens: bool) -> str:
    """Joins the next line to a paragraph, with a space where there was one."""
    if _ENDS_IN_HYPHEN.search(paragraph[-2:]) and line[:1].isalpha():
        is_divided = drops_hyphens and line[0].islower()  # not Heat-/Ray
        return (paragraph[:-1] if is_divided else paragraph) + line
    is_dash = paragraph.endswith(("--", "—")) or line.startswith(("--", "—"))
    is_unspaced = _IS_UNSPACED.match(paragraph[-1]) and _IS_UNSPACED.match(line[:1])
    return paragraph + ("" if is_dash or is_unspaced else " ") + line


def divide_line(line: str) -> Iterator[str]:
    """Yields the sentences of a line; what has no sentence ends is cut at spaces."""
    if len(line) <= _MAX_PIECE_LENGTH:
        yield line
        return
    start = 0
    for gap in _SENTENCE_GAP.finditer(line):
        end = gap.end() - len(gap[0]) + len(gap[0].rstrip())
        if not _NO_SENTENCE_END.search(line[max(start, end - 8) : end]):
            yield from _cut(line[start:end])
            start = gap.end()
    if start < len(line):
        yield from _cut(line[start:])


def _cut(sentence: str) -> Iterator[str]:
    """Yields pieces of about `_MAX_PIECE_LENGTH` characters; words stay whole."""
    while len(sentence) > _MAX_PIECE_LENGTH:
        space = re.compile(r"\s+").search(sentence, _MAX_PIECE_LENGTH)
        if space is None:
            break
        yield sentence[: space.start()]
        sentence = sentence[space.end() :]
    if sentence:
        yield sentence


def split_chunks(chunks: Iterable[str]) -> Iterator[str]:
    """Yields the lines of a text that arrives in chunks; ``\\r`` alone ends a line too.

    A line that is longer than a chunk is cut after the last sentence, or else at the last space.
    """
    rest = ""
    for chunk in chunks:
        rest += chunk
        held = rest.endswith("\r")  # the \n of \r\n may be in the next chunk
        lines = re.split(r"\r\n|\r|\n", rest[:-1] if held else rest)
        rest = lines.pop() + "\r" * held
        yield from lines
        if len(rest) > SAMPLE_LENGTH:
            *sentences, rest = divide_line(rest)
            yield from sentences
        if len(rest) > 2 * _MAX_PARAGRAPH_LENGTH:  # it has no spaces: the reader refuses it
            yield rest
            rest = ""
    rest = rest.removesuffix("\r")
    if rest:
        yield rest
