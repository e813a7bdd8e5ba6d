"""Recognises what bytes are: a text in another encoding, or no text at all.

The answers are for messages only. Nothing is decoded by a guess: the user sets the encoding.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

HEAD_BYTES = 8192
"""`name_binary` looks at so many bytes of the beginning of a file."""

SAMPLE_BYTES = 2**16
"""`guess_encoding` is given about so many bytes."""

# The first bytes of files that are not text -> what they are, and what to do. "{name}" is the file.
_MAGIC = {
    b"%PDF-": ("a PDF document", "convert it to text first, for example with pdftotext"),
    b"\x89PNG": ("a PNG image", "give a text file"),
    b"\xff\xd8\xff": ("a JPEG image", "give a text file"),
    b"GIF8": ("a GIF image", "give a text file"),
    b"II*\0": ("a TIFF image", "give a text file"),
    b"MM\0*": ("a TIFF image", "give a text file"),
    b"ID3": ("an MP3 recording", "give a text file"),
    b"OggS": ("an Ogg recording", "give a text file"),
    b"RIFF": ("a sound, video or WebP file", "give a text file"),
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", "extract it and give the folder"),
    b"Rar!": ("a RAR archive", "extract it and give the folder"),
    b"SQLite format 3\0": ("an SQLite database", "export its text, for example as .csv"),
    b"\xd0\xcf\x11\xe0": ("an old Office document", "save it as plain text (.txt)"),
    b"{\\rtf": ("a Rich Text document", "save it as plain text (.txt)"),
    b"ARROW1": ("an Arrow file", "write it as .parquet"),
    b"PAR1": ("a Parquet file", "let its name end in .parquet"),
    b"\x93NUMPY": ("a NumPy array", "give a text file"),
    b"\x7fELF": ("a program", "give a text file"),
    b"\x80\x04\x95": ("a Python pickle", "write its text to a .txt or .jsonl file"),
}
_COMPRESSED = {
    b"\x1f\x8b": ("gzip", ".gz"),
    b"BZh": ("bzip2", ".bz2"),
    b"\xfd7zXZ\0": ("xz", ".xz"),
    b"\x28\xb5\x2f\xfd": ("zstd", ".zst"),
}
# What the beginning of a ZIP archive says of its contents.
_ZIPPED = {
    b"application/epub+zip": ("an EPUB book", "convert it to text first, for example with pandoc"),
    b"opendocument": ("an OpenDocument file", "save it as plain text (.txt)"),
    b"word/": ("a Word document", "save it as plain text (.txt)"),
    b"[Content_Types].xml": ("an Office document", "save it as plain text (.txt) or .csv"),
}
_MARKUP = re.compile(rb"\s*<(?:!doctype\s+html|html)\b", re.IGNORECASE)
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins with the mark of UTF-16
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

# A share of NULs and other control characters above this is no text; text has hardly any.
_MAX_CONTROL_SHARE = 0.3
_MIN_BYTES_FOR_SHARE = 64
_CONTROL_BYTES = bytes(set(range(32)) - set(b"\t\n\v\f\r\x1b"))

# Letters outside ASCII by language; of the other scripts the most frequent ones, in this order.
_WESTERN = (
    "éèêëàâçîïôùûœÉÀÇ",  # French
    "äöüßÄÖÜ",  # German
    "áéíóúñüÁÉÍÓÚÑ¿¡ºª",  # Spanish
    "ãáâàçéêíõóôúÁÉÇ",  # Portuguese
    "àèéìòùÈ",  # Italian
    "åäöøæéÅÄÖØÆ",  # Danish, Finnish, Norwegian, Swedish
    "áéíóúýþðæöÁÉÍÓÚÝÞÐÆÖ",  # Icelandic
)
_CENTRAL = (
    "áčďéěíňóřšťúůýžľĺŕôäÁČÉÍŘŠÚŽ",  # Czech, Slovak
    "ąćęłńóśźżĄĆĘŁŃÓŚŹŻ",  # Polish
    "áéíóöőúüűÁÉÍÓÖŐÚÜŰ",  # Hungarian
    "čćđšžČĆĐŠŽ",  # Croatian, Slovenian
    "ăâîşţĂÂÎŞŢ",  # Romanian
)
_TURKISH = ("çğıöşüÇĞİÖŞÜâî",)
_BALTIC = (
    "āčēģīķļņšūžĀČĒĢĪĶĻŅŠŪŽ",  # Latvian
    "ąčęėįšųūžĄČĘĖĮŠŲŪŽ",  # Lithuanian
    "äõöüšžÄÕÖÜŠŽ",  # Estonian
)
_CYRILLIC = ("оеаинтсрвлкмдпуяыьгзбчйхжшюцщэфъё", "оаинвеітрслкдмупяіїєьгзбчйх")
_GREEK = ("αοιετσνηυρπκμλςάέήίόύώγδθωφχβξζψ",)
_HEBREW = ("יוהלאמרתבשנכדקפחעםטגןצסזךףץ",)
_ARABIC = ("اليمنورتبةعدسفهكقأحجشصطىخذزءإئغضثآظؤ،؟؛",)
_THAI = ("านรอกเงมยลวดสตทปบคหแไจพชขใ่้ิีัาะำุูโผศธณซ็ภฐ",)
_KANA = ("のにたはをがでとしてるかいなものこられすんあそまっりうくだきよさつ。、「」ンスルトリ",)
_SIMPLIFIED = ("的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子，。",)
_TRADITIONAL = ("的一是不了在人有我他這個們中來上大為和國地到以說時要就出會可也你對生能而子，。",)
_HANGUL = ("이다는의에을를가하고은한지로도그사기나아서자리인어있라것대시수",)

# encoding -> the letters of each language that it is used for. Where two encodings fit equally
# well, the first one is named. Latin-1 is not here: windows-1252 has all its printed characters.
_CANDIDATES = {
    "windows-1252": _WESTERN,
    "windows-1250": _CENTRAL,
    "windows-1251": _CYRILLIC,
    "windows-1254": _TURKISH,
    "windows-1253": _GREEK,
    "windows-1255": _HEBREW,
    "windows-1256": _ARABIC,
    "windows-1257": _BALTIC,
    "koi8-r": _CYRILLIC,
    "koi8-u": _CYRILLIC,
    "cp866": _CYRILLIC,
    "iso-8859-2": _CENTRAL,
    "iso-8859-5": _CYRILLIC,
    "iso-8859-7": _GREEK,
    "cp850": _WESTERN,
    "mac-roman": _WESTERN,
    "cp874": _THAI,
    "shift_jis": _KANA,
    "euc_jp": _KANA,
    "gb18030": _SIMPLIFIED,
    "big5": _TRADITIONAL,
    "euc_kr": _HANGUL,
}
_SIGNS = frozenset("‘’“”„–—…«»€©®°§")  # in all languages
_OTHER_SCRIPTS = (_CYRILLIC, _GREEK, _HEBREW, _ARABIC, _THAI)
# For the encodings of many characters, of which the list is a small part.
_MULTIBYTE = ("shift_jis", "euc_jp", "gb18030", "big5", "euc_kr")
_MIXED_WORD = re.compile(r"[A-Za-z](?=[^\W\d_A-Za-z])|[^\W\d_A-Za-z](?=[A-Za-z])")
_ACCENTED_RUN = re.compile(r"[^\W\d_A-Za-z]{6}")
_WORD = re.compile(r"[^\W\d_A-Za-z]{3}")
_C1_CONTROL = re.compile("[\x80-\x9f]")
_MIN_SCORE, _MIN_MULTIBYTE_SCORE = 0.5, 0.1
# An encoding of many characters that fits is seldom a coincidence: 10 % of frequent characters in
# it count as much as 50 % of a single-byte encoding.
_MULTIBYTE_WEIGHT = _MIN_SCORE / _MIN_MULTIBYTE_SCORE

# Python's name -> the name that `iconv` knows, where it is not the same in capitals.
_ICONV_NAMES = {
    "mac-roman": "MACINTOSH",
    "euc_jp": "EUC-JP",
    "euc_kr": "EUC-KR",
    "utf-16-le": "UTF-16LE",
    "utf-16-be": "UTF-16BE",
}


def is_utf8(encoding: str) -> bool:
    """Returns whether a name means UTF-8, with or without a byte order mark."""
    return codecs.lookup(encoding).name in ("utf-8", "utf-8-sig")


@dataclass(frozen=True)
class Remedy:
    """How the user can say which encoding a text has.

    Attributes:
        setting: such as ``corpus.encoding``; empty where there is no such setting, and the text
            must be converted.
        file: the path of the text; empty for standard input.
    """

    setting: str = ""
    file: str = ""

    def use(self, encoding: str) -> str:
        """Returns what to do about a text in this encoding."""
        if self.setting:
            return f"add {self.setting}={encoding}"
        name = _ICONV_NAMES.get(encoding, encoding.upper())
        files = f" {self.file} > new.txt" if self.file else ""
        return f"convert it: iconv -f {name} -t UTF-8{files}"


def name_binary(head: bytes, remedy: Remedy, encoding: str) -> str | None:
    """Returns what bytes are, if they are evidently not text in the given encoding.

    Args:
        head: the first `HEAD_BYTES` of a file.
        remedy: how the user can say which encoding it has.
        encoding: what the text should be encoded in.

    Returns:
        Such as ``a PNG image, not text; give a text file``; None if it may be text.
    """
    known = _name_by_magic(head, remedy)
    if known is not None:
        return f"{known[0]}, not text; {known[1]}"
    if not is_utf8(encoding):
        return None
    for mark, name in _BYTE_ORDER_MARKS:
        if head.startswith(mark):
            return f"{name.upper()}, not UTF-8; {remedy.use(name)}"
    if utf16 := _guess_utf16(head):
        return f"{_ICONV_NAMES[utf16]} without a byte order mark, not UTF-8; {remedy.use(utf16)}"
    if len(head) >= _MIN_BYTES_FOR_SHARE:
        controls = len(head) - len(head.translate(None, _CONTROL_BYTES))
        if controls / len(head) > _MAX_CONTROL_SHARE:
            nuls = head.count(b"\0")
            found = f"{nuls:,} NUL bytes" if nuls > controls // 2 else f"{controls:,} control codes"
            return (
                f"binary data, not text ({found} in its first {len(head):,} bytes); "
                "give a text file"
            )
    return None


def _name_by_magic(head: bytes, remedy: Remedy) -> tuple[str, str] | None:
    """Returns what a file is by its first bytes, and what to do; None if they are not known."""
    for magic, found in _MAGIC.items():
        if head.startswith(magic):
            return found
    for magic, (program, suffix) in _COMPRESSED.items():
        if head.startswith(magic) and not head[:16].isascii():
            rename = f", or let its name end in {suffix}" if remedy.file else ""
            return f"compressed by {program}", f"decompress it with {program} -d{rename}"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        for part, found in _ZIPPED.items():
            if part in head:
                return found
        rename = "let its name end in .zip, or " if remedy.file else ""
        return "a ZIP archive", f"{rename}extract it"
    if head[257:262] == b"ustar":
        return "a tar archive", "extract it (tar -xf) and give the folder"
    if _MARKUP.match(head):
        return "an HTML page", "convert it first, for example with pandoc -t plain"
    return None


def _guess_utf16(sample: bytes) -> str | None:
    """Returns the UTF-16 of a text without a mark, most of whose characters are below U+0100."""
    pairs = len(sample) // 2
    if pairs < 2:
        return None
    first, second = sample[: 2 * pairs : 2], sample[1 : 2 * pairs : 2]
    for zeros, others, name in ((second, first, "utf-16-le"), (first, second, "utf-16-be")):
        if zeros.count(0) >= 0.6 * pairs and others.count(0) <= 0.02 * pairs:
            return name
    return None


def guess_encoding(sample: bytes) -> str | None:
    """Returns the encoding that bytes speak for; None if none is likely.

    The score of an encoding is the share of the characters outside ASCII that are frequent in one
    of the languages that the encoding is used for. An encoding that cannot decode the bytes, or
    that makes control characters of them, is not considered.

    Args:
        sample: bytes of a text that is not UTF-8, `SAMPLE_BYTES` or so; it may be cut anywhere.
    """
    for mark, name in _BYTE_ORDER_MARKS:
        if sample.startswith(mark):
            return name
    if utf16 := _guess_utf16(sample):
        return utf16
    best, best_score = None, 0.0
    for encoding in _CANDIDATES:
        score = _score(sample, encoding)
        if score > best_score + 1e-9:
            best, best_score = encoding, score
    return best if best_score >= _MIN_SCORE else None


def _score(sample: bytes, encoding: str) -> float:
    """Returns how well bytes fit an encoding, at most 1; see `guess_encoding`."""
    decoder = codecs.getincrementaldecoder(encoding)()  # the sample's end may cut a character
    try:
        text = decoder.decode(sample)
    except UnicodeDecodeError:
        return 0.0
    if _C1_CONTROL.search(text):
        return 0.0
    others = [character for character in text if character > "\xa0"]  # a fixed space says nothing
    if not others:
        return 0.0
    languages = _CANDIDATES[encoding]
    if encoding in _MULTIBYTE:
        frequent = set(languages[0])
        share = sum(character in frequent for character in others) / len(others)
        return min(1.0, share * _MULTIBYTE_WEIGHT)
    if languages not in _OTHER_SCRIPTS:
        if _ACCENTED_RUN.search(text):  # no word is made of accented letters alone
            return 0.0
        return max(
            sum(character in letters or character in _SIGNS for character in others) / len(others)
            for letters in languages
        )
    # No word has Latin letters and those of another script.
    if _MIXED_WORD.search(text) or not _WORD.search(text):
        return 0.0
    # The letters are ordered by frequency: the first counts 1, the last half.
    return max(
        sum(_rank_weight(character, letters) for character in others) / len(others)
        for letters in languages
    )


def _rank_weight(character: str, letters: str) -> float:
    if character in _SIGNS:
        return 0.75
    rank = letters.find(character)
    return 0.0 if rank < 0 else 1.0 - 0.5 * rank / len(letters)


def is_damaged_utf8(sample: bytes) -> bool:
    """Returns whether bytes are UTF-8 but for a few that are damaged.

    That is so if there are at least as many whole characters outside ASCII as broken places, or if
    the bytes are UTF-8 with encoded surrogates (CESU-8).
    """
    broken = whole = 0
    position = 0
    while position < len(sample):
        try:
            text = sample[position:].decode("utf-8")
        except UnicodeDecodeError as error:
            good = sample[position : position + error.start].decode("utf-8")
            whole += sum(character > "\x7f" for character in good)
            broken += 1
            position += error.end
            if broken > 100 and whole < broken:
                return False
        else:
            whole += sum(character > "\x7f" for character in text)
            break
    if broken and whole >= broken:
        return True
    try:
        sample.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return False
    return True


def looks_like_utf8(sample: bytes) -> bool:
    """Returns whether bytes are UTF-8 beyond doubt: several characters outside ASCII, all whole."""
    text = codecs.getincrementaldecoder("utf-8")()
    try:
        decoded = text.decode(sample)
    except UnicodeDecodeError:
        return False
    return sum(character > "\x7f" for character in decoded) >= 4


def explain_undecodable(sample: bytes, encoding: str, remedy: Remedy) -> str:
    """Returns what to do about bytes that do not fit an encoding.

    Args:
        sample: the line that cannot be decoded, and some of what follows.
        encoding: the encoding that does not fit.
        remedy: how the user can say which encoding the text has.
    """
    if is_utf8(encoding):
        if is_damaged_utf8(sample):
            files = f" {remedy.file} > new.txt" if remedy.file else ""
            return (
                "the text around is UTF-8, so this place is damaged; repair it, or leave out what "
                f"is damaged: iconv -c -f UTF-8 -t UTF-8{files}"
            )
    elif looks_like_utf8(sample):
        return f"its bytes fit UTF-8; {remedy.use('utf-8')}"
    guess = guess_encoding(sample)
    if guess is None or guess == encoding:
        how = f"add {remedy.setting}=..." if remedy.setting else "convert it to UTF-8 with iconv"
        return f"its encoding is not recognised; find out which it is, and {how}"
    return f"its bytes fit {guess}; {remedy.use(guess)}"
