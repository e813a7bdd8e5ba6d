"""What counts as a word: the two tokenisations, ``whitespace`` and ``words``.

They are made of parts of the `tokenizers` library alone, so tokenizer.json describes them fully.

``whitespace`` is for text that is already tokenised. Words stand between white space (where
`str.split` splits) and are not changed. A literal ``<unk>`` is the unknown word. A literal
``<eos>`` becomes ``<unk>``, because only line ends are ``<eos>``.

``words`` is for natural text. First the text is normalised:

- to Unicode NFC; then soft hyphens and byte order marks are left out;
- curly quotes and apostrophes become straight (``"`` and ``'``), the hyphens U+2010 and U+2011
  become ``-``, and ``…`` becomes ``...``.

Then each chunk (what stands between white space) is split. The first rule that fits decides;
"letters" are letters of any script, their combining marks, and digits:

1. ``<unk>``;
2. an abbreviation with its full stop: one of `ABBREVIATIONS`, or single letters that each have a
   full stop (``U.S.``, ``e.g.``);
3. the second half of a contraction: ``n't``, ``'s``, ``'m``, ``'d``, ``'re``, ``'ve``, ``'ll``
   (``do n't``, ``it 's``);
4. letters, which may be joined by hyphens (``well-known``), by apostrophes (``O'Brien``,
   ``o'clock``) or, between digits, by full stops and commas (``3.14``, ``1,000``);
5. ``...``; ``--``; any other single character, with its combining marks and joined emoji.

`Vocabulary.decode` therefore does not return the original text but its normalised form: these
words joined by single spaces, with ``<unk>`` for words that are not in the vocabulary and ``<eos>``
at the end of each line. Nothing else is lost, added or reordered (tests/test_round_trip.py).

No rule looks across white space, so a text may be split and counted chunk by chunk.

If the text is folded to lower case, that happens first, in both tokenisations.
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
NO_WORDS = {UNKNOWN: 0, END_OF_LINE: 1}  # the ids of a vocabulary without words

# Only abbreviations that are hardly ever an ordinary word at the end of a sentence, so not "no.",
# "sat." or "inc.".
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

# str.split() also splits at these four characters, which \s does not match in these expressions
_SPACE = "\\s\x1c-\x1f"
# The two joiners, U+200C and U+200D, occur inside words in Persian and in the scripts of India.
_LETTER = "[\\p{L}\\p{M}\\p{N}\u200c\u200d]"
_WORD_ENDS = f"(?!{_LETTER})"
_CONTRACTION = f"'(?:[sSmMdD]|[rR][eE]|[vV][eE]|[lL][lL]){_WORD_ENDS}"
_NOT = f"[nN]'[tT]{_WORD_ENDS}"


def build_tokenizer(ids: dict[str, int], tokenization: str, lowercase: bool) -> Tokenizer:
    """Returns a complete tokenizer, which ends every line with ``<eos>``.

    Args:
        ids: word -> id, including ``<unk>`` and ``<eos>``.
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
    """Returns tokenizer.json without its words: everything that decides what counts as a word."""
    return build_tokenizer(NO_WORDS, tokenization, lowercase).to_str()


def build_normalizer(tokenization: str, lowercase: bool) -> Normalizer:
    """Returns the part that changes the text before it is split."""
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
    """Returns the part that splits the normalised text into words."""
    pattern = f"[^{_SPACE}]+" if tokenization == "whitespace" else _words_pattern()
    return Split(Regex(pattern), behavior="removed", invert=True)


def _words_pattern() -> str:
    letters = f"{_LETTER}+(?!(?<=[nN])'[tT]{_WORD_ENDS})"  # leaves the n of don't to n't
    joiner = f"(?:-|'(?!{_CONTRACTION[1:]})|(?<=\\p{{Nd}})[.,](?=\\p{{Nd}}))"
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
            _CONTRACTION,
            f"{letters}(?:{joiner}{letters})*",
            "\\.\\.\\.",
            "--",
            # with combining marks, skin tones, and what the zero width joiner joins to it
            f"[^{_SPACE}](?:[\\p{{M}}\U0001f3fb-\U0001f3ff]|\u200d[^{_SPACE}])*",
        )
    )
