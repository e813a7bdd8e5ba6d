"""The law of the tokeniser: decoding an encoded text gives the normalised text.

`normalise` below repeats the rules of `word_rules.py` in plain Python, with Python's tables of
Unicode and without regular expressions. What version 2 adds is in the functions after `Rules`.
"""

import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_lm.corpus.tokenization import all_recipes
from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.corpus.word_rules import ABBREVIATIONS, BEGINS_AFTER_ELISION, ELIDED

STRAIGHT = (
    {c: "'" for c in "\u2018\u2019\u201a\u201b"}
    | {c: '"' for c in "\u201c\u201d\u201e\u201f"}
    | {"\u2010": "-", "\u2011": "-", "\u2026": "...", "\u00ad": "", "\ufeff": ""}
)
INVISIBLE = "\u00ad\ufeff\u061c\u200e\u200f\u2060" + "".join(
    map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A)))
)
WITHOUT_SPACES = (
    "CJK UNIFIED",
    "CJK COMPATIBILITY IDEOGRAPH",
    "HIRAGANA",
    "KATAKANA",
    "HALFWIDTH KATAKANA",
    "THAI CHARACTER",
    "LAO",
    "KHMER",
    "MYANMAR",
    "IDEOGRAPHIC",
    "HENTAIGANA",
    "HANGZHOU NUMERAL",
    "VERTICAL KANA",
    "VERTICAL IDEOGRAPHIC",
    "MASU MARK",
)
COUNTRIES = "uk jp kr nz za in il".split()
ENDINGS = "com org net edu gov mil info biz io dev app".split()
ENDINGS += [f"{kind}.{country}" for kind in "co ac or ne go".split() for country in COUNTRIES]
VOWELS = BEGINS_AFTER_ELISION.replace("0-9", "0123456789")
RECIPES = [recipe for version in (1, 2) for recipe in all_recipes(version)]
SHORT = [f"{form}." for short in ABBREVIATIONS for form in (short, short.lower(), short.upper())]
HALVES = ("s", "m", "d", "re", "ve", "ll")
# Every character that this Python knows (the tokeniser may know a later Unicode). Of the tens of
# thousands of ideographs, syllables and private characters, which are all alike, one in sixteen.
ALIKE = [
    range(0x3400, 0xA000),
    range(0xAC00, 0xD7A4),
    range(0xE000, 0xF900),
    range(0x17000, 0x1B000),
    range(0x20000, sys.maxunicode + 1),
]
ASSIGNED = [
    chr(code)
    for code in range(sys.maxunicode + 1)
    if unicodedata.category(chr(code)) not in ("Cs", "Cn")
    and (code % 16 == 0 or not any(code in alike for alike in ALIKE))
]


def is_letter(character):
    return unicodedata.category(character)[0] in "LMN" or character in "\u200c\u200d"


def is_digit(character):
    return unicodedata.category(character) == "Nd"


def is_unspaced(character):
    category = unicodedata.category(character)
    is_right_kind = category[0] == "L" or category == "Nl"
    return is_right_kind and unicodedata.name(character, "").startswith(WITHOUT_SPACES)


def run(text, at, accept, most=10**9):
    """Returns where the characters that are accepted end."""
    end = at
    while end < len(text) and end - at < most and accept(text[end]):
        end += 1
    return end


class Rules:
    """Finds the first word of a chunk, by one recipe."""

    def __init__(self, recipe):
        self.recipe, self.is_new = recipe, recipe.version == 2

    def is_letter(self, character):
        is_character = self.recipe.separate_characters and is_unspaced(character)
        return is_letter(character) and not is_character

    def ends(self, text, at):
        return at >= len(text) or not self.is_letter(text[at])

    def is_not(self, text, at):
        """Returns whether n't is at a place."""
        is_not = text[at : at + 3] in ("n't", "N't", "n'T", "N'T")
        return is_not and self.ends(text, at + 3)

    def begins_half(self, text, at):
        """Returns the length of the second half of a contraction, without its apostrophe; or 0."""
        return next(
            (
                len(half)
                for half in HALVES
                if text[at : at + len(half)].lower() == half
                and text[at : at + len(half)].isascii()
                and (
                    self.ends(text, at + len(half))
                    or (self.is_new and self.is_not(text, at + len(half)))
                )
            ),
            0,
        )

    def letters(self, chunk, at):
        """Returns where the letters at a place end; the n of n't is not one of them."""
        end = run(chunk, at, self.is_letter)
        if (
            end > at
            and chunk[end - 1] in "nN"
            and chunk[end : end + 2] in ("'t", "'T")
            and self.ends(chunk, end + 2)
        ):
            end -= 1
        return end

    def joins(self, chunk, end):
        """Returns whether the mark at a place joins the letters on its two sides."""
        mark, before, after = chunk[end], chunk[end - 1], chunk[end + 1 : end + 2]
        if mark == "'":
            return not self.begins_half(chunk, end + 1)
        if mark in ".,":
            return is_digit(before) and after != "" and is_digit(after)
        if self.is_new and mark == '"':
            return after != "" and "\u05d0" <= before <= "\u05ea" and "\u05d0" <= after <= "\u05ea"
        return mark in ("-\u00b7\u05be\u05f3\u05f4\u055a\u055b\u055c\u055e" if self.is_new else "-")

    def first_word(self, text, start):
        chunk = text[start:]
        if chunk.startswith("<unk>"):
            return "<unk>"
        if self.is_new:
            found = self.character(chunk) or address(chunk, self) or self.emoticon(text, start)
            keycap = chunk[1:].removeprefix("\ufe0f").startswith("\u20e3")
            if not found and keycap and chunk[0] in "0123456789#*":
                found = chunk.index("\u20e3") + 1
            if found:
                return chunk[:found]
        for short in SHORT:
            if chunk.startswith(short) and self.ends(chunk, len(short)):
                return short
        pairs = 0
        while (
            chunk[pairs + 1 : pairs + 2] == "."
            and unicodedata.category(chunk[pairs])[0] == "L"
            and not (self.is_new and is_unspaced(chunk[pairs]))
        ):
            pairs += 2
        if pairs >= 4 and self.ends(chunk, pairs):
            return chunk[:pairs]
        if self.is_not(chunk, 0):
            return chunk[:3]
        if chunk[0] == "'" and (length := self.begins_half(chunk, 1)):
            return chunk[: 1 + length]
        if self.recipe.elisions and (length := elision(chunk)):
            return chunk[:length]
        end = self.letters(chunk, 0)
        while 0 < end < len(chunk):
            following = self.letters(chunk, end + 1) if self.joins(chunk, end) else end + 1
            if following == end + 1:
                break
            end = following
        if end:
            return chunk[:end]
        if chunk.startswith(("...", "--")):
            return "..." if chunk[0] == "." else "--"
        return chunk[: self.symbol(chunk)]

    def symbol(self, chunk):
        """Returns the length of a single character with what belongs to it."""
        is_flag = self.is_new and len(chunk) > 1 and all(is_indicator(c) for c in chunk[:2])
        end = 2 if is_flag else 1
        while end < len(chunk):
            c = chunk[end]
            is_tag = self.is_new and "\U000e0020" <= c <= "\U000e007f"
            if unicodedata.category(c)[0] == "M" or "\U0001f3fb" <= c <= "\U0001f3ff" or is_tag:
                end += 1
            elif c == "\u200d" and end + 1 < len(chunk):
                end += 2
            else:
                break
        return end

    def character(self, chunk):
        """Returns the length of a character of a script without spaces; or 0."""
        if not (self.recipe.separate_characters and is_unspaced(chunk[0])):
            return 0
        end = 1
        while end < len(chunk) and (
            unicodedata.category(chunk[end])[0] == "M"
            or chunk[end] in "\u200c\u200d"
            or (chunk[end - 1] in "\u17d2\u1039" and is_unspaced(chunk[end]))
        ):
            end += 1
        return end

    def emoticon(self, text, start):
        """Returns the length of an emoticon; or 0."""
        chunk = text[start:]
        inside = start > 0 and self.is_letter(text[start - 1])
        nose = 1 if chunk[1:2] in tuple("-'^o") else 0
        if chunk[0] in ":;=":
            for skipped in (nose, 0):
                if end := run(chunk, 1 + skipped, ")".__eq__) - 1 - skipped:
                    return 1 + skipped + end
        if chunk[0] == ":":
            for skipped in (nose, 0):
                end = run(chunk, 1 + skipped, "(".__eq__)
                if end > 1 + skipped and self.ends(chunk, end):
                    return end
        if chunk[0] in ":;" and chunk[1:2] in tuple("-^") and chunk[2:3] in tuple("][{}|/\\*"):
            return 3
        if chunk[:3] in ("(-:", "(-;"):
            return 3
        if not inside and chunk[0] in ":;=":
            mouth = 2 if chunk[1:2] in tuple("-^") else 1
            if chunk[mouth : mouth + 1] in tuple("DPpOo") and self.ends(chunk, mouth + 1):
                return mouth + 1
        slanted = chunk[:2] in (":/", ":|", ":\\") and chunk[2:3] not in tuple("/|\\")
        if not inside and slanted and self.ends(chunk, 2):
            return 2
        for heart in ("<3", "</3"):
            if not inside and chunk.startswith(heart) and self.ends(chunk, len(heart)):
                return len(heart)
        for eyes in ("tT", "oO"):
            mouth = run(chunk, 1, "_".__eq__)
            is_face = (
                chunk[0] in eyes and 2 <= mouth <= 4 and chunk[mouth : mouth + 1] in tuple(eyes)
            )
            if not inside and is_face and self.ends(chunk, mouth + 1):
                return mouth + 1
        for left, right in ("--", "><"):
            mouth = run(chunk, 1, "_".__eq__)
            is_face = chunk[0] == left and chunk[mouth : mouth + 1] == right
            if is_face and mouth >= 2 and (left == ">" or mouth <= 4):
                return mouth + 1
        for face in ("^^", "^_^", "^.^", "^-^", "\u00af\\_(\u30c4)_/\u00af"):
            if chunk.startswith(face):
                return len(face)
        return 0


def is_indicator(character):
    return "\U0001f1e6" <= character <= "\U0001f1ff"


def is_name(character, categories="LMN", others=""):
    """Returns whether a character may be in an address, a name or a tag."""
    is_one = unicodedata.category(character)[0] in categories or character in others
    return is_one and not is_unspaced(character)


def elision(chunk):
    """Returns the length of an elided word with its apostrophe; or 0."""
    word, apostrophe, rest = chunk.partition("'")
    is_elided = word.lower() in ELIDED and word in (word.lower(), word.capitalize(), word.upper())
    return len(word) + 1 if is_elided and apostrophe and (not rest or rest[0] in VOWELS) else 0


def address(chunk, rules):
    """Returns the length of a web or e-mail address, a name or a tag; or 0."""
    for prefix in ("http://", "https://", "HTTP://", "HTTPS://", "Http://", "Https://", "ftp://"):
        if chunk.startswith(prefix) and (end := rest_of_address(chunk, len(prefix))):
            return end
    if chunk.startswith("www.") and (end := rest_of_address(chunk, 4)):
        return end
    if is_name(chunk[0], "LN"):
        local = run(chunk, 1, lambda c: is_name(c, others="._%+-"), 63)
        # the local part is as long as it can be, and an @ follows
        if chunk[local : local + 1] == "@" and (end := server(chunk, local + 1, rules)):
            return end
        if end := domain(chunk, rules):
            return end
    if chunk[0] == "@" and (end := name(chunk)):
        if chunk[end : end + 1] == "@" and (further := server(chunk, end + 1, rules)):
            return further
        return end
    if chunk[0] == "#":
        return tag(chunk)
    return 0


def rest_of_address(chunk, at):
    """Returns where an address ends that has begun before a place; 0 if nothing can end it."""
    end = 0
    for _ in range(2001):
        if at < len(chunk) and is_name(chunk[at], others="._~:/?#@!$&*+,;=%-"):
            at += 1
            if is_name(chunk[at - 1], others="/_~=&#%+$*-"):
                end = at
        elif chunk[at : at + 1] == "(":
            close = run(chunk, at + 1, lambda c: is_name(c, others="._~:/?#@!$&*+,;=%-"), 200)
            if chunk[close : close + 1] != ")":
                break
            at = end = close + 1
        else:
            break
    return end


def labels(chunk, at):
    """Returns the places after each of the first eight labels and its full stop."""
    places = []
    while len(places) < 8 and at < len(chunk) and is_name(chunk[at], "LN"):
        at = run(chunk, at + 1, lambda c: is_name(c, others="-"), 62)
        if chunk[at : at + 1] != ".":
            break
        at += 1
        places.append(at)
    return places


def server(chunk, at, rules):
    for place in reversed(labels(chunk, at)):
        end = run(chunk, place, lambda c: is_name(c, "L"), 24)
        if end - place >= 2 and rules.ends(chunk, end):
            return end
    return 0


def domain(chunk, rules):
    for place in reversed(labels(chunk, 0)):
        for ending in ENDINGS:
            if chunk.startswith(ending, place):
                end = place + len(ending)
                country = chunk[end : end + 3]
                is_country = (
                    len(country) == 3
                    and country[0] == "."
                    and all("a" <= c <= "z" for c in country[1:])
                )
                if "." not in ending and is_country and rules.ends(chunk, end + 3):
                    end += 3
                elif not rules.ends(chunk, end):
                    continue
                if chunk[end : end + 1] == "/":
                    return rest_of_address(chunk, end + 1) or end + 1
                return end
    return 0


def name(chunk):
    """Returns the length of an @ and a name; or 0."""
    if len(chunk) < 2 or not is_name(chunk[1], "L", "_"):
        return 0
    end = run(chunk, 2, lambda c: is_name(c, others="_"), 63)
    for _ in range(8):
        further = run(chunk, end + 1, lambda c: is_name(c, others="_"), 63)
        if chunk[end : end + 1] != "-" or further == end + 1:
            break
        end = further
    return end


def tag(chunk):
    """Returns the length of a # and a tag; or 0."""
    first = run(chunk, 1, lambda c: unicodedata.category(c)[0] == "N" or c == "_", 63)
    if first == len(chunk) or unicodedata.category(chunk[first])[0] != "L":
        return 0
    return run(chunk, first + 1, lambda c: unicodedata.category(c)[0] in "LMN" or c == "_", 63)


def straighten(text, version):
    """Returns the text with the marks that the rules of a version know."""
    if version == 1:
        text = unicodedata.normalize("NFC", text)
        return "".join(STRAIGHT.get(c, c) for c in text)
    text = "".join(c for c in text if c not in INVISIBLE).replace("\u200b", " ")
    text = unicodedata.normalize("NFC", text)
    text = "".join(STRAIGHT.get(c, c) for c in text.replace("\uff07", "'"))
    return "".join(
        "'"
        if c in "\u00b4`\u2032\u02bc"
        and 0 < at < len(text) - 1
        and unicodedata.category(text[at - 1])[0] in "LM"
        and unicodedata.category(text[at + 1])[0] == "L"
        else c
        for at, c in enumerate(text)
    )


def normalise(text, recipe):
    if recipe.lowercase:
        text = "".join(character.lower() for character in text)
    if recipe.tokenization == "whitespace":
        return " ".join("<unk>" if word == "<eos>" else word for word in text.split())
    rules, words = Rules(recipe), []
    for chunk in straighten(text, recipe.version).split():
        at = 0
        while at < len(chunk):
            words.append(rules.first_word(chunk, at))
            at += len(words[-1])
    return " ".join(words)


def check(text, recipe):
    """Encodes and decodes a line of a corpus without unknown words, and the same as typed text."""
    expected = normalise(text, recipe)
    known = sorted(set(expected.split()) - {"<unk>", "<eos>"})
    vocabulary = Vocabulary(["<unk>", "<eos>", *known], recipe)
    [ids] = vocabulary.encode_lines([text])
    assert vocabulary.decode(ids) == f"{expected} <eos>".lstrip()
    assert vocabulary.unk_id not in ids or "<unk>" in expected
    if recipe.tokenization == "words":
        words = vocabulary.split_text(text)
        assert vocabulary.decode(vocabulary.ids_of(words)) == expected


EVERYTHING = st.text(
    st.characters(exclude_categories=["Cs", "Cn", "Zl", "Zp"], exclude_characters="\n"), max_size=30
)
WORDLIKE = st.text(
    st.sampled_from("antsdreTNSv'’.,-…1½٣\u00ad\u0301é \t\u200dU<>👍🏽❤"), max_size=40
)
PIECES = st.lists(
    st.sampled_from(
        [
            "don't",
            "n't",
            "N'T",
            "'s",
            "'ll",
            "'re",
            "U.S.",
            "e.g.",
            "Mr.",
            "Ph.D.",
            "etc.",
            "3.14",
            "1,000",
            "well-known",
            "O'Brien",
            "...",
            "--",
            "-",
            "'",
            "<unk>",
            "<eos>",
            "a",
            "é",
            "\u200d",
            "\u0301",
            " ",
            "👍🏽",
            "x",
        ]
    ),
    max_size=12,
).map("".join)


NEW_PIECES = st.lists(
    st.sampled_from(
        "http:// https:// www. a.b .com .org .co.uk / @ # _ - : ; = ) ( :-) :( D 3 < ^ ^_^ o_O T_T "
        "' l' n' qu' L' dell' homme a é 8 1 . , ! ? \u00b4 ` \u2032 \u02bc \u200b \u2060 \u200f "
        "\u0301 \U0001f1eb\U0001f1f7 \U0001f1e9 \U0001f3f4 \U000e0067 \U000e007f \ufe0f\u20e3 "
        "\U0001f44d \U0001f3fd \u200d 你 好 。 、 か ー が\u3099 ไ ท ี ย "
        '\u1780 \u17d2 ন \u05d0 \u05f4 " '
        "\u05d1 \u00b7 ո ՞ x@y.org <unk> \\ | [ ] * %".split()
    )
    | st.just(" "),
    max_size=12,
).map("".join)
TRICKY = [
    "see https://en.wikipedia.org/wiki/Lstm_(network)).",
    "(http://a.org/?q=1&r=2#x), www.a.org! https://",
    "mail me@my-place.co.uk, first.last+tag@x.org. a@b a@b.c",
    "@john_doe's #tag #1 #2nd C#sharp @user@server.social: @-@",
    "example.com's node.io/a.b, end.He was.com.He x.co.uk/",
    "12:30 3:3 a:D :D :-D =P :/ http:/ x:/ :// </3 <3 a<3 <3x",
    "f=(x) y:(a,b) hm:( :'( :-(( :o) ;-) =) (-: ^^ -_- >_<",
    "\u00af\\_(\u30c4)_/\u00af o_O T__T T_To 1\ufe0f\u20e32\ufe0f\u20e3",
    "l'homme L'Été qu'il d' aujourd'hui dell'acqua c'mon N'A",
    "a" * 300 + "@b.com " + "a." * 300 + "com http://" + "x." * 1500 + " #" + "a" * 200,
]


@pytest.mark.slow
@settings(max_examples=2000, deadline=None, derandomize=True, database=None)
@given(EVERYTHING | WORDLIKE | PIECES | NEW_PIECES, st.sampled_from(RECIPES))
def test_what_is_decoded_is_the_normalised_text(text, recipe):
    check(text, recipe)


@pytest.mark.parametrize("text", TRICKY)
def test_addresses_names_and_faces(text):
    for recipe in RECIPES:
        check(text, recipe)


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(st.lists(EVERYTHING | NEW_PIECES, max_size=4), st.booleans())
def test_the_words_of_a_built_vocabulary_are_those_of_the_rules(lines, lowercase):
    """Whatever options the text asks for, its words are split by them."""
    vocabulary = Vocabulary.build(["two words", *lines], tokenization="words", lowercase=lowercase)
    expected = {word for line in lines for word in normalise(line, vocabulary.recipe).split()}
    assert set(vocabulary.words) == expected | {"<unk>", "<eos>", "two", "words"}


@pytest.mark.slow
@pytest.mark.parametrize("recipe", [r for r in RECIPES if not (r.lowercase or r.elisions)])
def test_every_character_of_unicode(recipe):
    """Each by itself, between letters and between digits."""
    assert len(ASSIGNED) > 30_000
    size = 5000
    for start in range(0, len(ASSIGNED), size):
        lines = [f"{c} n{c}n 1{c}2" for c in ASSIGNED[start : start + size] if c != "\n"]
        expected = [normalise(line, recipe) for line in lines]
        known = sorted({word for line in expected for word in line.split()} - {"<unk>", "<eos>"})
        vocabulary = Vocabulary(["<unk>", "<eos>", *known], recipe)
        for line, right, ids in zip(lines, expected, vocabulary.encode_lines(lines), strict=True):
            assert vocabulary.decode(ids) == f"{right} <eos>", (line, ascii(line))


def test_unknown_words_are_said_to_be():
    vocabulary = Vocabulary.build(["two words don't"], tokenization="words")
    assert (
        vocabulary.decode(vocabulary.ids_of(vocabulary.split_text("Two words, don't…")))
        == "<unk> words <unk> do n't <unk>"
    )
