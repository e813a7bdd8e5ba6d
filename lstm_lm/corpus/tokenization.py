"""What counts as a word: the two tokenisations, built from `tokenizers` parts alone so that tokenizer.json says it all.

`whitespace`: the text is already tokenised. Words lie between white space (what `str.split` splits at) and are kept as
they are; a literal ``<unk>`` is the unknown word. A literal ``<eos>`` becomes ``<unk>``: line ends alone are ``<eos>``.

`words`: natural text. First it is normalised:

- Unicode NFC, and then soft hyphens and byte order marks are left out;
- curly quotes and apostrophes become straight (``"`` and ``'``), the hyphens U+2010 and U+2011 ``-``, ``…`` ``...``.

Then, between white space, the first of these that fits is a word (letters of any script, their combining marks and
digits are "letters" here):

- ``<unk>``;
- an abbreviation with its full stop: one of `ABBREVIATIONS`, or letters each with a full stop (``U.S.``, ``e.g.``);
- the second half of a contraction: ``n't``, ``'s``, ``'m``, ``'d``, ``'re``, ``'ve``, ``'ll`` (``do n't``, ``it 's``);
- letters, joined by hyphens (``well-known``), by apostrophes (``O'Brien``, ``o'clock``), or, between digits, by full
  stops and commas (``3.14``, ``1,000``);
- ``...``; ``--``; any other character, with the marks and joined emoji that belong to it.

What `Vocabulary.decode` makes of encoded text is therefore not the text itself but its normalisation, and exactly that:
these words, joined by single spaces, ``<unk>`` in the place of those that the vocabulary lacks, and ``<eos>`` at each
line's end. Nothing else is lost, added or put in another order (tests/test_round_trip.py says it in code).

No rule looks across white space, so a text may be taken apart chunk by chunk, and counted that way.

Lower-casing, where asked for, comes first in both.
"""

from __future__ import annotations

from tokenizers import Regex, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import NFC, Lowercase, Normalizer, Replace
from tokenizers.normalizers import Sequence as NormalizerSequence
from tokenizers.pre_tokenizers import PreTokenizer, Split
from tokenizers.processors import TemplateProcessing

TOKENIZATIONS = ("whitespace", "words")
UNKNOWN, END_OF_LINE = "<unk>", "<eos>"
NO_WORDS = {UNKNOWN: 0, END_OF_LINE: 1}

# Only those that hardly ever end a sentence as an ordinary word ("no.", "sat.", "inc." are not here).
ABBREVIATIONS = (
    "Mr",
    "Mrs",
    "Ms",
    "Mme",
    "Dr",
    "Prof",
    "Rev",
    "Hon",
    "Gen",
    "Col",
    "Capt",
    "Lt",
    "Sgt",
    "St",
    "Jr",
    "Sr",
    "vs",
    "etc",
    "Ph.D",
)

# str.split() also splits at these four; the regular expressions' \s does not know them
_SPACE = "\\s\x1c-\x1f"
_LETTER = "[\\p{L}\\p{M}\\p{N}\u200c\u200d]"  # the two joiners belong to words in Persian and the scripts of India
_WORD_ENDS = f"(?!{_LETTER})"
_CLITIC = f"'(?:[sSmMdD]|[rR][eE]|[vV][eE]|[lL][lL]){_WORD_ENDS}"
_NOT = f"[nN]'[tT]{_WORD_ENDS}"


def build_tokenizer(ids: dict[str, int], tokenization: str, lowercase: bool) -> Tokenizer:
    """Returns the whole of a tokenizer.json; it ends every line with ``<eos>``.

    Args:
        ids: word -> id, ``<unk>`` and ``<eos>`` among them.
        tokenization: ``whitespace`` or ``words``.
        lowercase: whether text is folded to lower case.
    """
    tokenizer = Tokenizer(WordLevel(ids, unk_token=UNKNOWN))
    tokenizer.normalizer = build_normalizer(tokenization, lowercase)
    tokenizer.pre_tokenizer = build_pre_tokenizer(tokenization)
    tokenizer.post_processor = TemplateProcessing(
        single=f"$A {END_OF_LINE}", special_tokens=[(END_OF_LINE, ids[END_OF_LINE])]
    )
    return tokenizer


def recipe_json(tokenization: str, lowercase: bool) -> str:
    """Returns a tokenizer.json without words: everything that decides what counts as one."""
    return build_tokenizer(NO_WORDS, tokenization, lowercase).to_str()


def build_normalizer(tokenization: str, lowercase: bool) -> Normalizer:
    """Returns what is done to the text before it is taken apart."""
    steps: list[Normalizer] = [Lowercase()] if lowercase else []
    if tokenization == "whitespace":
        steps.append(Replace(Regex(f"(?<![^{_SPACE}])<eos>(?![^{_SPACE}])"), "<unk>"))
    else:
        steps += [
            NFC(),
            Replace(Regex("[\u2018-\u201b]"), "'"),
            Replace(Regex("[\u201c-\u201f]"), '"'),
            Replace(Regex("[\u2010\u2011]"), "-"),
            Replace("\u2026", "..."),
            Replace(Regex("[\u00ad\ufeff]"), ""),
        ]
    return NormalizerSequence(steps)


def build_pre_tokenizer(tokenization: str) -> PreTokenizer:
    """Returns what takes the normalised text apart."""
    pattern = f"[^{_SPACE}]+" if tokenization == "whitespace" else _words_pattern()
    return Split(Regex(pattern), behavior="removed", invert=True)


def _words_pattern() -> str:
    letters = f"{_LETTER}+(?!(?<=[nN])'[tT]{_WORD_ENDS})"  # gives back the n of don't
    joint = f"(?:-|'(?!{_CLITIC[1:]})|(?<=\\p{{Nd}})[.,](?=\\p{{Nd}}))"
    cased = dict.fromkeys(
        form for short in ABBREVIATIONS for form in (short, short.lower(), short.upper())
    )
    abbreviations = "|".join(cased).replace(".", "\\.")
    return "|".join(
        (
            "<unk>",
            f"(?:{abbreviations})\\.{_WORD_ENDS}",
            f"(?:\\p{{L}}\\.){{2,}}{_WORD_ENDS}",
            _NOT,
            _CLITIC,
            f"{letters}(?:{joint}{letters})*",
            "\\.\\.\\.",
            "--",
            f"[^{_SPACE}](?:[\\p{{M}}\U0001f3fb-\U0001f3ff]|\u200d[^{_SPACE}])*",  # skin tones, zero width joiner
        )
    )
