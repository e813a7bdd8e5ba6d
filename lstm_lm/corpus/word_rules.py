"""The rules of the tokenisation ``words``, by version.

`RULES` has the rules of every version. A version is never changed once models use it: a new rule
needs a new version.

Version 1. First the text is normalised:

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

Version 2 is version 1 with these changes. Normalisation:

- invisible marks of direction and the word joiner are left out too, and a zero width space is a
  space; this happens before NFC;
- between letters, ``´``, a backtick, ``′`` and ``ʼ`` are apostrophes (``don´t``), and a full width
  apostrophe always is one.

Between rules 1 and 2 (the first that fits):

- with `separate_characters`: one character, with its marks, of a script that is written without
  spaces between words: Han, kana, Thai, Lao, Khmer, Myanmar. It is not one of the "letters" then;
- a web address (``https://...``, ``www...``), an e-mail address, or a domain name with one of a few
  well-known endings and what follows its slash; each without the punctuation at its end;
- a name or tag: ``@name``, ``@name@server.org``, ``#tag``; a tag has a letter;
- an emoticon (``:-)``, ``:(``, ``;D``, ``<3``, ``^_^`` and their kin);
- a keycap emoji (digit, U+FE0F, U+20E3).

Between rules 3 and 4, with `elisions`: an elided word before a vowel, ``h`` or digit (``l'``,
``qu'``, ``dell'``, ...).

In rule 3, ``n't`` may follow (``I 'd n't``). In rule 4, letters may also be joined by the middle
dot of Catalan (``col·lecció``), the maqaf, geresh and gershayim of Hebrew (the last also as ``"``),
and the marks that Armenian writes inside words. In rule 5, two regional indicators are one flag,
and the tags behind a flag belong to it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from tokenizers import Regex
from tokenizers.normalizers import NFC, Normalizer, Replace

LATEST_VERSION = 2

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
SPACE = "\\s\x1c-\x1f"

# Letters of scripts without spaces between words, as ranges for a character class. Their digits,
# combining marks and punctuation are left out.
HAN_AND_KANA = (
    "\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3038-\u303c\u3041-\u3096\u309d-\u309f\u30a1-\u30fa"
    "\u30fc-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f"
    "\U0001aff0-\U0001afff\U0001b000-\U0001b16f\U00020000-\U0003fffd"
)
SOUTH_EAST_ASIAN = (
    "\u0e01-\u0e30\u0e32\u0e33\u0e40-\u0e46"  # Thai
    "\u0e81-\u0eb0\u0eb2\u0eb3\u0ebd\u0ec0-\u0ec6\u0edc-\u0edf"  # Lao
    "\u1000-\u102a\u103f\u1050-\u1055\u105a-\u105d\u1061\u1065\u1066\u106e-\u1070\u1075-\u1081"
    "\u108e\ua9e0-\ua9e4\ua9e6-\ua9ef\ua9fa-\ua9fe\uaa60-\uaa76\uaa7a\uaa7e\uaa7f"  # Myanmar
    "\u1780-\u17b3\u17d7\u17dc"  # Khmer
)
UNSPACED = HAN_AND_KANA + SOUTH_EAST_ASIAN

# Elided words without their apostrophe. Each is followed by a vowel, h or a digit.
ELIDED = (
    "c d j l m n s t v qu jusqu lorsqu puisqu quoiqu "  # French
    "un all dall dell nell sull coll quest quell bell nessun tutt dov com cos anch quand mezz sant"
).split()
BEGINS_AFTER_ELISION = "0-9aeiouyhAEIOUYHàâäáãæéèêëíìîïóòôöœúùûüÿÀÂÄÁÃÆÉÈÊËÍÌÎÏÓÒÔÖŒÚÙÛÜŸ"

# The two joiners, U+200C and U+200D, occur inside words in Persian and in the scripts of India.
_LETTER_CLASS = "\\p{L}\\p{M}\\p{N}\u200c\u200d"
_LETTER = f"[{_LETTER_CLASS}]"


@dataclass(frozen=True)
class Rules:
    """The rules of one version.

    Attributes:
        normalizers: returns the steps that change the text, after lower case.
        pattern: returns the regular expression of one word. Its arguments are whether scripts
            without spaces are split into characters, and whether elisions are split.
        has_options: whether `pattern` uses its arguments.
        is_named: whether tokenizer.json names the version.
    """

    normalizers: Callable[[], list[Normalizer]]
    pattern: Callable[[bool, bool], str]
    has_options: bool
    is_named: bool


def _normalizers_1() -> list[Normalizer]:
    return [NFC(), *_straight_marks("\u2018-\u201b"), Replace(Regex("[\u00ad\ufeff]"), "")]


def _normalizers_2() -> list[Normalizer]:
    invisible = "\u00ad\ufeff\u061c\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069"
    return [
        Replace(Regex(f"[{invisible}]"), ""),
        Replace("\u200b", " "),
        NFC(),
        *_straight_marks("\u2018-\u201b\uff07"),
        Replace(Regex("(?<=[\\p{L}\\p{M}])[\u00b4`\u2032\u02bc](?=\\p{L})"), "'"),
    ]


def _straight_marks(apostrophes: str) -> list[Normalizer]:
    return [
        Replace(Regex(f"[{apostrophes}]"), "'"),
        Replace(Regex("[\u201c-\u201f]"), '"'),
        Replace(Regex("[\u2010\u2011]"), "-"),
        Replace("\u2026", "..."),
    ]


def _pattern_1(separate_characters: bool, elisions: bool) -> str:
    del separate_characters, elisions  # version 1 has no options
    half = _half(f"(?!{_LETTER})")
    return "|".join(
        (
            "<unk>",
            *_abbreviations(_LETTER, "\\p{L}"),
            *_contractions(_LETTER, half),
            _joined_letters(_LETTER, half, "-"),
            "\\.\\.\\.",
            "--",
            # with combining marks, skin tones, and what the zero width joiner joins to it
            f"[^{SPACE}](?:[\\p{{M}}\U0001f3fb-\U0001f3ff]|\u200d[^{SPACE}])*",
        )
    )


def _pattern_2(separate_characters: bool, elisions: bool) -> str:
    letter = f"[{_LETTER_CLASS}&&[^{UNSPACED}]]" if separate_characters else _LETTER
    # Khmer and Myanmar write the consonant after these two signs below the one before
    character = f"[{UNSPACED}](?:[\\p{{M}}\u200c\u200d]|(?<=[\u17d2\u1039])[{UNSPACED}])*"
    half = _half(f"(?:(?!{letter})|(?=[nN]'[tT](?!{letter})))")
    flag = "[\U0001f1e6-\U0001f1ff]{2}"
    return "|".join(
        (
            "<unk>",
            *((character,) if separate_characters else ()),
            *_addresses(letter),
            *_emoticons(letter),
            "[0-9#*]\ufe0f?\u20e3",
            *_abbreviations(letter, f"[\\p{{L}}&&[^{UNSPACED}]]"),
            *_contractions(letter, half),
            *((_elision(),) if elisions else ()),
            _joined_letters(
                letter,
                half,
                '[-\u00b7\u05be\u05f3\u05f4\u055a-\u055c\u055e]|(?<=[\u05d0-\u05ea])"(?=[\u05d0-\u05ea])',
            ),
            "\\.\\.\\.",
            "--",
            f"(?:{flag}|[^{SPACE}])"
            f"(?:[\\p{{M}}\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]|\u200d[^{SPACE}])*",
        )
    )


def _abbreviations(letter: str, single: str) -> tuple[str, str]:
    cased = dict.fromkeys(
        form for short in ABBREVIATIONS for form in (short, short.lower(), short.upper())
    )
    abbreviations = "|".join(cased).replace(".", "\\.")
    return f"(?:{abbreviations})\\.(?!{letter})", f"(?:{single}\\.){{2,}}(?!{letter})"


def _contractions(letter: str, half: str) -> tuple[str, str]:
    return f"[nN]'[tT](?!{letter})", f"'{half}"


def _half(ends: str) -> str:
    """The second half of a contraction without its apostrophe."""
    return f"(?:[sSmMdD]|[rR][eE]|[vV][eE]|[lL][lL]){ends}"


def _joined_letters(letter: str, half: str, joiners: str) -> str:
    letters = f"{letter}+(?!(?<=[nN])'[tT](?!{letter}))"  # leaves the n of don't to n't
    joiner = f"(?:{joiners}|'(?!{half})|(?<=\\p{{Nd}})[.,](?=\\p{{Nd}}))"
    return f"{letters}(?:{joiner}{letters})*"


def _addresses(letter: str) -> tuple[str, ...]:
    """Patterns of web and e-mail addresses, names and tags.

    Lengths are limited, so that no text takes time that grows with the square of its length.
    """
    ends = f"(?!{letter})"
    in_word = f"[\\p{{L}}\\p{{M}}\\p{{N}}&&[^{UNSPACED}]]"
    begins_word = f"[\\p{{L}}\\p{{N}}&&[^{UNSPACED}]]"
    in_address = f"[\\p{{L}}\\p{{M}}\\p{{N}}._~:/?#@!$&*+,;=%\\-&&[^{UNSPACED}]]"
    ends_address = f"[\\p{{L}}\\p{{M}}\\p{{N}}/_~=&#%+$*\\-&&[^{UNSPACED}]]"
    in_brackets = f"\\({in_address}{{0,200}}\\)"
    rest = f"(?:{in_address}|{in_brackets}){{0,2000}}(?:{ends_address}|{in_brackets})"
    label = f"{begins_word}[\\p{{L}}\\p{{M}}\\p{{N}}\\-&&[^{UNSPACED}]]{{0,62}}"
    server = f"(?:{label}\\.){{1,8}}[\\p{{L}}&&[^{UNSPACED}]]{{2,24}}{ends}"
    endings = (
        "(?:com|org|net|edu|gov|mil|info|biz|io|dev|app)(?:\\.[a-z]{2})?"
        "|(?:co|ac|or|ne|go)\\.(?:uk|jp|kr|nz|za|in|il)"
    )
    local = f"{begins_word}[\\p{{L}}\\p{{M}}\\p{{N}}._%+\\-&&[^{UNSPACED}]]{{0,63}}"
    name = f"[\\p{{L}}_&&[^{UNSPACED}]](?:{in_word}|_){{0,63}}(?:-(?:{in_word}|_){{1,63}}){{0,8}}"
    return (
        f"(?:(?:https?|HTTPS?|Https?|ftp)://|www\\.){rest}",
        f"{local}@{server}",
        f"(?:{label}\\.){{1,8}}(?:{endings}){ends}(?:/{rest}|/)?",
        f"@{name}(?:@{server})?",
        "#[\\p{N}_]{0,63}\\p{L}[\\p{L}\\p{M}\\p{N}_]{0,63}",
    )


def _emoticons(letter: str) -> tuple[str, ...]:
    starts, ends = f"(?<!{letter})", f"(?!{letter})"
    return (
        "[:;=][-'^o]?\\)+",
        f":[-'^o]?(?>\\(+){ends}",
        "[:;][-^][\\]\\[{}|/\\\\*]",
        "\\(-[:;]",
        f"{starts}[:;=][-^]?[DPpOo]{ends}",
        f"{starts}:[/|\\\\](?![/|\\\\]|{letter})",
        f"{starts}</?3{ends}",
        f"{starts}(?:[tT]_{{1,3}}[tT]|[oO]_{{1,3}}[oO]){ends}",
        "\\^[_.-]?\\^|-_{1,3}-|>_{1,3}<",
        "\u00af\\\\_\\(\u30c4\\)_/\u00af",
    )


def _elision() -> str:
    cased = dict.fromkeys(
        form for word in ELIDED for form in (word, word.capitalize(), word.upper())
    )
    return f"(?:{'|'.join(cased)})'(?=[{BEGINS_AFTER_ELISION}{SPACE}]|\\z)"


RULES = {
    1: Rules(_normalizers_1, _pattern_1, has_options=False, is_named=False),
    2: Rules(_normalizers_2, _pattern_2, has_options=True, is_named=True),
}

_UNSPACED_LETTER = re.compile(f"[{UNSPACED}]")
_HAN_OR_KANA = re.compile(f"[{HAN_AND_KANA}]")
# A space between two of these letters. The whole blocks stand for the letters and their marks.
_BLOCKS = f"{UNSPACED}\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3099\u309a"
_GAP = re.compile(f"[{_BLOCKS}][ \t\xa0\u200b]+(?=[{UNSPACED}])")
# Spaces for each letter, from which on words count as spaced. Words of Chinese and Japanese have
# about 2 letters and clauses 8 or more; words of Thai have about 4 and clauses 15 or more.
_MIN_GAPS_HAN_AND_KANA, _MIN_GAPS_OTHER = 0.25, 0.12
_ELISION_IN_TEXT = re.compile(
    f"(?<![^\\s(\"'\u00ab\u201c\u2018])(?:{'|'.join(ELIDED)})['\u2019\u02bc\u00b4`]"
    f"(?=[{BEGINS_AFTER_ELISION}])",
    re.IGNORECASE,
)
# Share of the chunks that begin with an elision. French has about 6 %, Italian 3 %; English has
# less than 1 %, even a novel about d'Artagnan.
_MIN_ELISIONS = 0.015


def is_written_without_spaces(text: str) -> bool:
    """Returns whether the words of scripts such as Han and Thai are not spaced in a text.

    True if the text has no letter of these scripts: those that occur later are split.
    """
    letters = len(_UNSPACED_LETTER.findall(text))
    if not letters:
        return True
    mostly_han_or_kana = len(_HAN_OR_KANA.findall(text)) > letters / 2
    needed = _MIN_GAPS_HAN_AND_KANA if mostly_han_or_kana else _MIN_GAPS_OTHER
    return len(_GAP.findall(text)) < needed * letters


def has_elisions(text: str) -> bool:
    """Returns whether the elisions of French or Italian (``l'homme``) are common in a text."""
    return len(_ELISION_IN_TEXT.findall(text)) >= max(1, _MIN_ELISIONS * len(text.split()))
