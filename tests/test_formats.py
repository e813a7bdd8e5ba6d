"""What people have: files, folders, patterns, archives, tables and encodings, right or refused."""

import bz2
import csv
import gzip
import io
import json
import lzma
import tarfile
import time
import tracemalloc
import zipfile

import pyarrow
import pyarrow.parquet
import pytest

from lstm_lm.config import CorpusConfig, config_from_dict
from lstm_lm.corpus.encodings import guess_encoding
from lstm_lm.corpus.readers import TextOptions, iterate_file_lines, iterate_lines
from lstm_lm.corpus.sources import FileSource, build_source
from lstm_lm.corpus.text_files import find_files
from lstm_lm.errors import ConfigError, CorpusError

LINES = ["I grew up in France.", 'She said "oui, merci", and left.', "Größe, naïve, 東京"]


def read(path, **settings):
    source = build_source(
        CorpusConfig(source="files", train_file=str(path), valid_file=str(path), **settings)
    )
    return list(source.iterate_lines("train"))


def refusal(path, **settings):
    with pytest.raises(CorpusError) as caught:
        read(path, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def as_csv(delimiter=","):
    text = io.StringIO()
    rows = csv.writer(text, delimiter=delimiter)
    rows.writerows([["id", "text"], *enumerate(LINES)])
    return text.getvalue().encode()


def as_parquet():
    sink = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"id": [1, 2, 3], "text": LINES}), sink)
    return sink.getvalue()


CONTENTS = {
    ".txt": "\n".join(LINES).encode(),
    ".md": "\n".join(LINES).encode(),
    ".csv": as_csv(),
    ".tsv": ("id\ttext\n" + "".join(f"1\t{line}\n" for line in LINES)).encode(),
    ".jsonl": "\n".join(json.dumps({"id": 1, "text": line}) for line in LINES).encode(),
    ".json": "\n".join(json.dumps({"text": line}) for line in LINES).encode(),
    ".ndjson": "\n".join(map(json.dumps, LINES)).encode(),
    ".parquet": as_parquet(),
}


COMPRESSORS = {
    "": bytes,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".bz2": bz2.compress,
    ".zst": lambda content: pyarrow.compress(content, "zstd", asbytes=True),
}


@pytest.mark.parametrize("compression", COMPRESSORS)
@pytest.mark.parametrize("suffix", CONTENTS)
def test_every_format_in_every_compression(tmp_path, suffix, compression):
    path = tmp_path / f"text{suffix}{compression}"
    path.write_bytes(COMPRESSORS[compression](CONTENTS[suffix]))
    assert read(path) == LINES


@pytest.mark.parametrize("suffix", CONTENTS)
def test_every_format_in_a_zip_archive(tmp_path, suffix):
    path = tmp_path / "text.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"books/b{suffix}", CONTENTS[suffix])
        archive.writestr("books/a.txt", "first")
        archive.writestr("books/a.pdf", "%PDF-1.4")
        archive.writestr("__MACOSX/books/._a.txt", "\0\1")
        archive.writestr("books/c.txt.gz", gzip.compress(b"last", mtime=0))
    assert read(path) == ["first", *LINES, "last"]


def test_upper_case_extensions_and_two_gzip_files_in_one(tmp_path):
    path = tmp_path / "TEXT.TXT.GZ"
    path.write_bytes(gzip.compress(b"one\ntwo\n", mtime=0) + gzip.compress(b"three\n", mtime=0))
    assert read(path) == ["one", "two", "three"]


@pytest.fixture
def library(tmp_path):
    folder = tmp_path / "library"
    (folder / "b").mkdir(parents=True)
    (folder / "b" / "2.txt").write_text("two\n")
    (folder / "b" / "1.md").write_text("one")
    (folder / "c.jsonl").write_text('{"text": "three"}\n')
    (folder / "cover.png").write_bytes(b"\x89PNG")
    (folder / ".hidden.txt").write_text("no")
    (folder / "empty.txt").touch()
    return folder


def test_a_folder_a_pattern_and_a_list(library):
    assert read(library) == ["one", "two", "three"]
    assert list(iterate_file_lines(f"{library}/b/*.txt")) == ["two"]
    assert list(iterate_file_lines(f"{library}/**/*.[tm]*")) == ["one", "two"]
    names = [library / "c.jsonl", library / "b", f"{library}/b/*"]
    assert list(iterate_file_lines(names)) == ["three", "one", "two"]  # each file once


def test_a_list_in_a_configuration(library):
    data = {"corpus": {"source": "files", "text_file": [f"{library}/b", f"{library}/c.jsonl"]}}
    config = config_from_dict(data)
    source = build_source(config.corpus)
    assert [list(source.iterate_lines(split)) for split in source.splits] == [
        ["one"],
        ["two"],
        ["three"],
    ]
    with pytest.raises(ConfigError, match=r"corpus.text_file\[1\]: found 3, must be text"):
        config_from_dict({"corpus": {"source": "files", "text_file": ["a.txt", 3]}})


def test_a_pattern_on_the_command_line():
    data = {"corpus": {"source": "files"}}
    for pattern in ("*.txt", "**/*.md", "books/*.txt", "a?.txt"):
        assert config_from_dict(data, [f"corpus.text_file={pattern}"]).corpus.text_file == pattern


def test_a_file_whose_name_looks_like_a_pattern(tmp_path):
    path = tmp_path / "a[1].txt"
    path.write_text("one")
    assert list(iterate_file_lines(path)) == ["one"]


def test_folders_and_patterns_without_text(tmp_path):
    for name in ("a.pdf", "b.pdf", "c.docx"):
        (tmp_path / name).write_bytes(b"%PDF")
    said = refusal(tmp_path)
    assert "is a folder without text (it has 2 .pdf, 1 .docx); its files must end in .txt" in said
    said = refusal(f"{tmp_path}/*.txt")
    assert f"no file with text in it matches {tmp_path}/*.txt (looked in " in said
    (tmp_path / "x.zip").write_bytes(b"PK\x05\x06" + b"\0" * 18)
    assert "has no text in it; the files in it must end in .txt" in refusal(tmp_path / "x.zip")


# --- columns --------------------------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_csv_of_any_delimiter(tmp_path, delimiter):
    (tmp_path / "a.csv").write_bytes(as_csv(delimiter))
    assert read(tmp_path / "a.csv") == LINES


def test_rows_with_line_ends_nulls_and_halves_of_characters(tmp_path):
    (tmp_path / "a.jsonl").write_text(
        '{"text": "a\\nb"}\n\n{"text": null}\n{"text": "c \\ud83d"}\n'
    )
    assert read(tmp_path / "a.jsonl", skip_blank_lines=False) == ["a", "b", "", "c \ufffd"]
    (tmp_path / "a.csv").write_text('text,n\r\n"a\nb",1\r\n\r\n,2\r\n')
    assert read(tmp_path / "a.csv", skip_blank_lines=False) == ["a", "b", ""]


def test_tsv_with_and_without_quoting(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text('text\tn\n"Oui" she said\t1\n"No\t2\n')
    assert read(path) == ['"Oui" she said', '"No']
    path.write_text('text\tn\n"She said ""oui"""\t1\nplain\t2\n')
    assert read(path) == ['She said "oui"', "plain"]
    path.write_text('text\tn\n"a\nb\tc"\t1\nplain\t2\n')
    assert read(path) == ["a", "b\tc", "plain"]
    path.write_text("text\tn\na\tb\t1\nplain\t2\n")
    assert "line 2: 3 fields, the first line has 2" in refusal(path)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "id,body\n1,x\n", "has no column 'text'; it has 'id', 'body'; name the one wi"),
        ("a.tsv", "id\tbody\n1\tx\n", "has no column 'text'; it has 'id', 'body'"),
        ("a.jsonl", '{"body": "x"}\n', "line 1, has no column 'text'; it has 'body'"),
        ("a.jsonl", '{"text": "x"}\n{"body": 1}\n', "line 2, has no column 'text'"),
        ("a.jsonl", '{"text": 3}\n', "line 1: column 'text' holds a number, not text"),
        ("a.jsonl", '{"text": ["a", "b"]}\n', "line 1: column 'text' holds a list, not text"),
        ("a.jsonl", "[1, 2]\n", "line 1: the line holds a list, not text"),
        ("a.jsonl", '{"text": "x"}\n{"text": \n', "line 2: not JSON (Expecting value)"),
        ("a.json", '[\n {"text": "x"}\n]\n', "one JSON document over several lines"),
        ("a.csv", "text,n\nOui, merci,1\n", "line 2: 3 fields, the first line has 2; put texts th"),
        ("a.csv", 'text,n\n"Oui,1\n', "line 2: not CSV (unexpected end of data); close the dou"),
        ("a.parquet", "not parquet", "cannot be read as Parquet"),
        ("a.txt.gz", "plain", "is damaged or incomplete (gzip: Not a gzipped file"),
        ("a.txt.xz", "plain", "is damaged or incomplete (xz: "),
        ("a.txt.bz2", "plain", "is damaged or incomplete (bzip2: "),
        ("a.txt.zst", "plain", "is damaged or incomplete (zstd: "),
        ("a.zip", "plain", "is damaged or no ZIP archive"),
    ],
)
def test_tables_and_archives_that_are_refused(tmp_path, name, content, said):
    path = tmp_path / name
    path.write_text(content)
    assert said in refusal(path) and str(path) in refusal(path)


@pytest.mark.parametrize("compression", [".gz", ".xz", ".bz2", ".zst"])
def test_an_archive_that_breaks_off(tmp_path, compression):
    path = tmp_path / f"a.txt{compression}"
    text = "".join(f"line {number * 7919}\n" for number in range(20_000))
    whole = COMPRESSORS[compression](text.encode())
    path.write_bytes(whole[: len(whole) // 2])
    assert "is damaged or incomplete" in refusal(path)


def test_an_encrypted_member_is_named(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "secret")
    content = bytearray(path.read_bytes())
    content[6] |= 1  # the flag of encryption, in the member's header and in the directory
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    assert "cannot be read from the archive" in refusal(path) and "password" in refusal(path)


def test_another_column_and_a_column_without_effect(tmp_path):
    (tmp_path / "a.csv").write_text("body,text\nright,wrong\n")
    assert read(tmp_path / "a.csv", text_column="body") == ["right"]
    (tmp_path / "a.txt").write_text("a b\n")
    said = refusal(tmp_path / "a.txt", text_column="body")
    assert said.startswith("corpus.text_column: found 'body', but ") and "has no columns" in said
    (tmp_path / "a.parquet").write_bytes(as_parquet())
    said = refusal(tmp_path / "a.parquet", encoding="windows-1252")
    assert said.startswith("corpus.encoding: found 'windows-1252', but the text of .parquet")


# --- encodings ------------------------------------------------------------------------------------

ENCODED = {
    "windows-1252": ["naïve", "L’été dernier, déçu.", "She said “hello” – it’s", "El niño ¿qué?"],
    "windows-1250": ["Příliš žluťoučký kůň", "Zażółć gęślą jaźń", "Árvíztűrő tükörfúrógép őrült"],
    "iso-8859-2": ["Příliš žluťoučký kůň úpěl", "Zażółć gęślą jaźń i śpij"],
    "windows-1251": ["Мама мыла раму, а папа читал газету"],
    "koi8-r": ["Мама мыла раму, а папа читал газету"],
    "cp866": ["Мама мыла раму, а папа читал газету"],
    "windows-1254": ["Güneşli bir gün, çocuklar oynuyor ve ağaçlar yeşil, ılık"],
    "windows-1253": ["Η Αθήνα είναι η πρωτεύουσα της Ελλάδας"],
    "windows-1255": ["שלום עולם זה טקסט בעברית"],
    "windows-1256": ["مرحبا بالعالم هذا نص عربي"],
    "cp850": ["L'été dernier à Paris, déçu"],
    "mac-roman": ["L’été dernier à Paris, “oui”, déçu"],
    "cp874": ["สวัสดีชาวโลก นี่คือข้อความภาษาไทย"],
    "shift_jis": ["吾輩は猫である。名前はまだ無い。どこで生れたか"],
    "euc_jp": ["吾輩は猫である。名前はまだ無い。どこで生れたか"],
    "gb18030": ["今天天气很好，我们去公园玩。他说这个地方是最好的"],
    "big5": ["今天天氣很好，我們去公園玩。他說這個地方是最好的"],
    "euc_kr": ["오늘은 날씨가 좋습니다. 우리는 공원에 갔다"],
    "utf-16-le": ["No mark here."],
    "utf-16-be": ["No mark here."],
}


@pytest.mark.parametrize(
    ("encoding", "text"), [(name, text) for name, texts in ENCODED.items() for text in texts]
)
def test_the_encoding_is_named_and_the_remedy_works(tmp_path, encoding, text):
    assert guess_encoding(text.encode(encoding)) == encoding
    path = tmp_path / "a.txt"
    path.write_bytes(f"plain\n{text}\n".encode(encoding))
    said = refusal(path)
    assert f"add corpus.encoding={encoding}" in said, said
    assert read(path, encoding=encoding) == ["plain", text]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_text_with_a_mark(tmp_path, encoding):
    path = tmp_path / "a.txt"
    path.write_bytes("naïve\r\n\u0a0a \u010a東京\n".encode(encoding))  # bytes 10 that end no line
    assert f"is {encoding.upper()}, not UTF-8; add corpus.encoding={encoding}" in refusal(path)
    assert read(path, encoding=encoding) == ["naïve", "\u0a0a \u010a東京"]


def test_utf8_with_a_mark_is_utf8(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes("\ufefftext\nnaïve\n".encode())
    assert read(path) == read(path, encoding="utf-8-sig") == ["naïve"]


def test_utf8_is_not_read_in_another_encoding(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("naïve été Größe\n")
    said = refusal(path, encoding="windows-1252")
    assert "is UTF-8, not windows-1252; add corpus.encoding=utf-8" in said


def test_what_is_damaged_or_not_recognised(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("naïve été\n".encode() + b"a\xff b\n" + "Größe\n".encode())
    said = refusal(path)
    assert "line 2: not UTF-8 (byte 0xff at column 2)" in said and "iconv -c -f UTF-8" in said
    path.write_bytes(b"a \xd7 \xb9\xf7 \xbd\xbe\n")
    assert "its encoding is not recognised; find out which it is, and add corpus.enc" in refusal(
        path
    )


def test_a_table_in_another_encoding(tmp_path):
    for name, content in (("a.csv", "text\nnaïve été\n"), ("a.jsonl", '{"text": "naïve été"}\n')):
        path = tmp_path / name
        path.write_bytes(content.encode("cp1252"))
        assert "add corpus.encoding=windows-1252" in refusal(path)
        assert read(path, encoding="windows-1252") == ["naïve été"]


def test_a_text_that_is_to_be_converted_is_named_unless_it_is_compressed(tmp_path):
    for name, said in (
        ("a.txt", f"-f WINDOWS-1252 -t UTF-8 {tmp_path}/a.txt >"),
        ("a.txt.gz", "-8"),
    ):
        path = tmp_path / name
        content = "naïve été\n".encode("cp1252")
        path.write_bytes(gzip.compress(content, mtime=0) if name.endswith("gz") else content)
        with pytest.raises(CorpusError) as caught:
            list(iterate_file_lines(path))
        assert said in str(caught.value) and ("gz >" not in str(caught.value))


@pytest.mark.parametrize("name", ["utf8x", "hex", "rot13", "base64"])
def test_an_encoding_that_python_does_not_know(name):
    data = {"corpus": {"source": "files", "text_file": "a.txt", "encoding": name}}
    with pytest.raises(ConfigError, match=f"^corpus.encoding: found '?{name}'?, must be an encod"):
        config_from_dict(data)


def tar():
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        info = tarfile.TarInfo("a.txt")
        info.size = 5
        archive.addfile(info, io.BytesIO(b"hello"))
    return sink.getvalue()


def docx():
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr("[Content_Types].xml", "<x/>")
        archive.writestr("word/document.xml", "<x/>")
    return sink.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.txt", b"%PDF-1.7\n%...", "is a PDF document, not text; convert it to text first"),
        ("a.txt", b"\xff\xd8\xff\xe0\0\x10JFIF", "is a JPEG image, not text"),
        (
            "a.txt",
            gzip.compress(b"text", mtime=0),
            "is compressed by gzip, not text; decompress it with",
        ),
        ("a.txt", bz2.compress(b"text"), "is compressed by bzip2, not text"),
        ("a.txt", lzma.compress(b"text"), "let its name end in .xz"),
        ("a.txt", docx(), "is a Word document, not text; save it as plain text (.txt)"),
        ("a.tar", tar(), "is a tar archive, not text; extract it (tar -xf) and give the folder"),
        ("a.tar.gz", gzip.compress(tar()), "is a tar archive, not text; extract it"),
        ("a.7z", b"7z\xbc\xaf\x27\x1c" + b"\0" * 50, "is a 7z archive"),
        ("a.txt", as_parquet(), "is a Parquet file, not text; let its name end in .parquet"),
        ("a.txt", b"SQLite format 3\0" + b"\0" * 90, "is an SQLite database"),
        ("a.html", b"<!DOCTYPE html><html><p>Hi</p></html>", "is an HTML page, not text"),
        ("a.txt", b"{\\rtf1\\ansi Hello}", "is a Rich Text document"),
        ("a.txt", b"a\0\0\0" * 100, "is binary data, not text (300 NUL bytes in its first 400 b"),
    ],
)
def test_what_is_not_text_is_named(tmp_path, name, content, said):
    path = tmp_path / name
    path.write_bytes(content)
    assert said in refusal(path) and str(path) in refusal(path)


# --- fingerprints, and large files ----------------------------------------------------------------


def test_a_fingerprint_has_everything_that_decides_the_text(tmp_path):
    content = b"text\nnaveve\nx\n"
    found = {}
    for name in ("a.txt", "b.txt", "a.csv", "a.tsv"):
        (tmp_path / name).write_bytes(content)
        for settings in (
            {},
            {"encoding": "windows-1252"},
            {"encoding": "windows-1250"},
            {"join_lines": True},
            {"join_lines": False},
            {"skip_blank_lines": False},
        ):
            path = str(tmp_path / name)
            config = CorpusConfig(source="files", train_file=path, valid_file=path, **settings)
            key = (name, *settings.items())
            found[key] = build_source(config).fingerprint("train")
    assert found["a.txt",] == found["b.txt",] == found["a.txt", ("join_lines", False)]
    assert len(set(found.values())) == 3 * 5


def test_a_fingerprint_has_the_column_and_the_order_of_files(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text(f"text,body\n{name},{name}\n")
    a, b = str(tmp_path / "a.csv"), str(tmp_path / "b.csv")
    prints = {
        build_source(
            CorpusConfig(source="files", train_file=names, valid_file=a, text_column=column)
        ).fingerprint("train")
        for names in (a, (a, b), (b, a))
        for column in ("text", "body")
    }
    assert len(prints) == 6
    source = FileSource([a, b], CorpusConfig(text_column="body"), "words")
    assert list(source.iterate_lines("file")) == ["a", "b"]
    (tmp_path / "b.csv").write_text("text,body\nb,c\n")
    assert source.fingerprint("file") not in prints


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".txt.gz", ".jsonl.gz", ".csv.xz"])
def test_memory_is_constant(tmp_path, suffix):
    """A tenth of the peak is measured for a tenth of the text: the peak must not grow with it."""
    peaks = []
    for count in (30_000, 120_000):
        path = tmp_path / f"{count}{suffix}"
        opener = gzip.open if suffix.endswith("gz") else lzma.open
        with opener(path, "wt") as file:
            file.write("text\n" if "csv" in suffix else "")
            for number in range(count):
                line = f"This is sentence {number} of a long text that is not kept in memory."
                file.write((json.dumps({"text": line}) if "jsonl" in suffix else line) + "\n")
        files = find_files(path)
        tracemalloc.start()
        assert sum(1 for _ in iterate_lines(files)) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0] < 20e6


@pytest.mark.slow
def test_json_lines_are_read_at_half_the_speed_of_text_at_least(tmp_path):
    """The text is encoded too, as in training; compared with reading .txt and encoding it."""
    from lstm_lm.corpus.vocabulary import Vocabulary

    lines = [f"This is sentence {number % 997} of a longer text ." for number in range(60_000)]
    vocabulary = Vocabulary.build(lines[:2000], tokenization="words")
    (tmp_path / "a.txt").write_text("\n".join(lines))
    with gzip.open(tmp_path / "a.jsonl.gz", "wt") as file:
        file.write("\n".join(json.dumps({"text": line}) for line in lines))
    seconds = {"a.txt": [], "a.jsonl.gz": []}
    for _ in range(3):
        for name, taken in seconds.items():
            start = time.process_time()
            for _ in vocabulary.iterate_ids(iterate_lines(find_files(tmp_path / name))):
                pass
            taken.append(time.process_time() - start)
    assert min(seconds["a.jsonl.gz"]) < 2 * min(seconds["a.txt"])


def test_options_name_the_setting(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("naïve été\n".encode("cp1252"))
    options = TextOptions(encoding_setting="corpus.encoding")
    with pytest.raises(CorpusError, match="add corpus.encoding=windows-1252$"):
        list(iterate_lines(find_files(path), options))
