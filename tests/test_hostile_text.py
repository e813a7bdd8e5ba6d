"""Strange corpora, prompts and suites are read, or refused in one clear sentence."""

import io
import random
import re

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lstm_lm.config import CorpusConfig
from lstm_lm.corpus import decoding, typed_text
from lstm_lm.corpus.corpus import Corpus
from lstm_lm.corpus.readers import iterate_file_lines, long_chunk_column
from lstm_lm.errors import CorpusError
from lstm_lm.model import reading, scoring
from lstm_lm.probes.formats import COLUMNS
from lstm_lm.training.run_log import RunLog

pytestmark = pytest.mark.slow

HOSTILE = {
    "deadline": None,
    "derandomize": True,
    "suppress_health_check": list(HealthCheck),
    "database": None,
}
GOOD = "I grew up in France .\nI speak fluent French .\n"
TEXTS = {
    "bom": "\ufeff" + GOOD,
    "boms": "\ufeff" * 3 + GOOD,
    "crlf": GOOD.replace("\n", "\r\n"),
    "cr": GOOD.replace("\n", "\r"),
    "nul": GOOD + "a\0b \0 \0\0\n",
    "blank lines": "\n" * 99 + GOOD + "\n" * 99,
    "spaces": " \t \u3000\n" * 50 + GOOD,
    "right to left": "שלום עולם\nمرحبا بالعالم\n\u202eabc\u202c \u2067x\u2069\n",
    "emoji": "👍🏽 👨\u200d👩\u200d👧 ❤️ 🏴\U000e0067\U000e007f\n" * 3,
    "combining": "e\u0301 " + "a" + "\u0301" * 2000 + " b\u0308\n",
    "one line": GOOD.replace("\n", " ") * 100,
    "line separators": "a\u2028b\x85c\x0cd\x1ce\rf\x1eg\n" * 2,
    "literal": "<unk> <eos> <unk>x <eos>y\na b\n",
    "last code points": "\ufffe \uffff \U0010ffff \ue000 a\n",
    "a long word": "x" * 50_000 + " y\n",
    "no line end": "two words",
    "escapes": "\x1b[2J \x1b]0;title\x07 a b\n",
    "mathematics": "$\\frac$ $x_{$ $ a$b$\n" * 3,
}


def write(path, text):
    """Text as a .txt or, line by line, as a .parquet file."""
    content = text if isinstance(text, bytes) else text.encode()
    if path.suffix == ".txt":
        path.write_bytes(content)
    else:
        rows = pyarrow.array(content.split(b"\n")).view(pyarrow.binary())
        column = pyarrow.Array.from_buffers(
            pyarrow.string(), len(rows), rows.buffers()
        )  # unchanged, UTF-8 or not
        pyarrow.parquet.write_table(pyarrow.table({"text": column}), path)
    return path


# --- corpora --------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["txt", "parquet"])
@pytest.mark.parametrize("name", TEXTS)
def test_strange_text_is_learned(command, config, tmp_path, monkeypatch, name, suffix):
    monkeypatch.setattr(RunLog, "draw", lambda self: None)
    path = write(tmp_path / f"train.{suffix}", TEXTS[name])
    for tokenization in ("words", "whitespace"):
        status, out, err = command(
            "train",
            config,
            f"corpus.train_file={path}",
            f"corpus.valid_file={path}",
            f"corpus.tokenization={tokenization}",
            "training.max_steps=2",
            "--overwrite",
            "--output",
            tmp_path / "run",
        )
        assert status == 0 and "Traceback" not in err and "done: best valid perplexity" in out, err
    # no word of the model, however strange, controls the terminal
    status, out, _ = command("predict", tmp_path / "run", "a", "--top-k", "100")
    assert status == 0 and not any(
        c < " " and c != "\n" or c in "\x7f\x85\u2028\u202e" for c in out
    )


@pytest.mark.parametrize("suffix", ["txt", "parquet"])
@pytest.mark.parametrize(
    "text, said",
    [
        (b"\n" * 200, "no words"),
        (b"  \n\t\n", "no words"),
        (b"\xef\xbb\xbf\n", "no words"),
        (b"word\n" * 99, "only the word"),
        (b"a b\n\xff\n", " 2: not UTF-8 (byte 0xff"),
        (b"a b\nc \xed\xa0\x80\n", " 2: not UTF-8 (byte 0xed"),
        (b"a b\nc \xf0\x9f\x98\n", " 2: not UTF-8 (byte 0xf0"),
        (
            b"a b\n" + "é".encode() * 1_048_577,
            " 2: from column 1 on, more than 1,048,576 characters without",
        ),
        (
            b"a " + "é".encode() * 1_048_577 + b" b",
            " characters without white space; check that this is text",
        ),
    ],
)
def test_what_is_no_text_is_refused_with_its_place(refused, config, tmp_path, suffix, text, said):
    path = write(tmp_path / f"train.{suffix}", text)
    message = refused("train", config, f"corpus.train_file={path}", "--output", tmp_path / "run")
    assert (
        said in message and len(message) < 400 and ("corpus: " in message or f"{path}, " in message)
    ), message


@pytest.mark.parametrize("split", ["train", "valid"])
def test_binary_files_are_refused(refused, config, tmp_path, split):
    draw = random.Random(0)
    for content, what in (
        (b"", "is empty"),
        (draw.randbytes(5000), "not UTF-8"),
        (b"\x89PNG\r\n\x1a\n" + draw.randbytes(50), "is a PNG image, not text"),
        (b"PK\x03\x04" + draw.randbytes(99), "is a ZIP archive, not text; let its name end in"),
        (b"\x1f\x8b\x08" + draw.randbytes(99), "is compressed by gzip, not text; decompress it"),
        ("a b".encode("utf-16"), "is UTF-16, not UTF-8; add corpus.encoding=utf-16"),
        (b"a b\n" + b"\0" * 1_048_577, "NUL bytes"),
    ):
        path = tmp_path / "file.txt"
        path.write_bytes(content)
        said = refused("train", config, f"corpus.{split}_file={path}", "--output", tmp_path / "run")
        assert f"{path}" in said and what in said, said


def test_a_line_that_is_too_long_and_words_that_are_too_long(tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "MAX_LINE_BYTES", 60)
    monkeypatch.setattr(decoding, "MAX_CHUNK_LENGTH", 10)
    path = tmp_path / "a.txt"
    for size in (58, 59, 60):
        path.write_text("short\n" + "a " * (size // 2) + "b" * (size % 2) + "\n")
        lines = iterate_file_lines(path)
        assert next(lines) == "short"
        if size < 60:
            assert [len(line) for line in lines] == [size]
        else:
            with pytest.raises(
                CorpusError, match=r"a.txt, line 2: longer than 60 bytes; put its sentences"
            ):
                next(lines)


@settings(max_examples=300, **HOSTILE)
@given(st.text(st.sampled_from("ab \t\u3000\x1c"), max_size=40) | st.text(max_size=40))
def test_where_a_long_chunk_begins(line):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "MAX_CHUNK_LENGTH", 6)
        column = long_chunk_column(line)
    assert bool(column) == any(len(word) > 6 for word in line.split())
    if column:
        assert len(line[column - 1 :].split()[0]) > 6 and not line[column - 1].isspace()


PIECES = st.sampled_from(
    [
        piece.encode()
        for piece in (
            "a",
            "b c",
            "\0",
            "\r",
            "\n",
            "\r\n",
            " ",
            "\ufeff",
            "é",
            "e\u0301",
            "👍🏽",
            "ש",
            "\u2028",
            "\x85",
            "\x1c",
            "<unk>",
            "<eos>",
            "don't",
            "U.S.",
            "\x1b[2J",
            "\U0010ffff",
        )
    ]
)
BROKEN_PIECES = st.sampled_from(
    [b"\xff", b"\xed\xa0\x80", b"\xc0\x80", b"\xf0\x9f\x98", b"\xf4\x90\x80\x80"]
)


@pytest.mark.parametrize("suffix", ["txt", "parquet"])
def test_two_hundred_random_files(tmp_path, suffix):
    """They are encoded word by word and line by line, or the line that is not UTF-8 is named."""
    outcomes = {"read": 0, "refused": 0}

    @settings(max_examples=200, **HOSTILE)
    @given(
        st.one_of(
            *[st.lists(PIECES, max_size=30)] * 3, st.lists(PIECES | BROKEN_PIECES, max_size=9)
        ).map(b"".join)
    )
    def read(content):
        content = b"two words " + content
        path = write(tmp_path / f"some.{suffix}", content)
        config = CorpusConfig(
            source="files",
            train_file=str(path),
            valid_file=str(path),
            tokenization="whitespace",
            cache_dir=str(tmp_path / "cache"),
        )
        try:
            corpus = Corpus(config)
            vocabulary, tokens = corpus.vocabulary, corpus.tokens("train")
        except CorpusError as error:
            outcomes["refused"] += 1
            assert "\n" not in str(error)
            assert str(path) in str(error) and "not UTF-8" in str(error)
            with pytest.raises(UnicodeDecodeError):
                content.decode()
        else:
            outcomes["read"] += 1
            lines = (
                content.decode().removesuffix("\n") if suffix == "txt" else content.decode()
            ).split("\n")
            words = [
                ["<unk>" if word == "<eos>" else word for word in line.split()] for line in lines
            ]
            assert vocabulary.decode(tokens[:]) == " ".join(
                word for line in words for word in [*line, "<eos>"]
            )

    read()
    assert min(outcomes.values()) > 30, outcomes


def test_three_hundred_damaged_parquet_files(tmp_path):
    path, draw, refusals = write(tmp_path / "a.parquet", GOOD * 200), random.Random(0), 0
    good = path.read_bytes()
    for number in range(300):
        damaged = bytearray(good[: draw.randrange(1, len(good))] if number < 100 else good)
        if number >= 100:
            damaged[draw.randrange(len(good))] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        try:
            list(iterate_file_lines(path))
        except CorpusError as error:
            refusals += 1
            assert "\n" not in str(error) and str(path) in str(error)
    assert refusals > 150


@pytest.mark.parametrize(
    "kind",
    [
        "large_list(string())",
        "list_(string())",
        "struct([('text', string())])",
        "binary()",
        "map_(string(), string())",
        "list_(string(), 1)",
        "int64()",
        "null()",
    ],
)
def test_a_column_that_is_not_text(tmp_path, kind):
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(
        pyarrow.table({"text": pyarrow.array([None], eval(kind, vars(pyarrow)))}), path
    )
    with pytest.raises(
        CorpusError, match=r"^--text-column: column 'text' of .* holds .*, not text"
    ):
        list(iterate_file_lines(path))


# --- prompts --------------------------------------------------------------------------------------

PROMPTS = TEXTS | {
    "empty": "",
    "space": " ",
    "line ends": "\n\n",
    "tab": "\t",
    "nul": "\0",
    "unknown words": "xyzzy plugh " * 9,
    "words": "I grew up in " * 1500,
    "lines": "I\n" * 300,
}
REFUSED_PROMPTS = {
    "surrogate": ("a \udcff", "U+DCFF at column 3"),
    "half": ("\ud83d", "U+D83D at column 1"),
    "one word": (
        "y " + "x" * 1_048_577,
        "1,048,576 characters without white space, from column 3 on",
    ),
}


@pytest.fixture
def hand_over(command, monkeypatch):
    """Runs a command with this on standard input."""

    def run(content, *words):
        stdin = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8")
        monkeypatch.setattr("sys.stdin", stdin)
        return command(*words)

    return run


@pytest.mark.parametrize("name", PROMPTS)
def test_strange_prompts_are_answered(command, hand_over, finished_run, tmp_path, name):
    prompt = PROMPTS[name]
    file = tmp_path / "prompt.txt"
    file.write_bytes(prompt.encode() or b"\n")
    answers = [
        command("predict", finished_run, prompt),
        command("predict", finished_run, prompt, "--json"),
        command("generate", finished_run, "--prompt", prompt, "--words", "3"),
        hand_over(prompt.encode(), "predict", finished_run),
        hand_over(prompt.encode(), "score", finished_run),
        hand_over(prompt.encode(), "score", finished_run, "--json"),
        command("score", finished_run, "--file", file),
        command("evaluate", finished_run, "--file", file),
        command("evaluate", finished_run, "--file", file, "--reset-per-line"),
    ]
    for number, (status, out, err) in enumerate(answers):
        if number >= 6:  # the layout of a file is noted
            err = re.sub(
                "^note: (lines end with a carriage return|the text is one long).*\n", "", err
            )
        assert status == 0 and not err and (out or not prompt), err
    assert not any(control in answers[2][1] for control in "\0\x1b\x07\r\x85\u2028\u202e")


@pytest.mark.parametrize("name", PROMPTS)
@pytest.mark.parametrize("suffix", ["png", "html", "json"])
def test_gates_of_strange_prompts(command, finished_run, tmp_path, name, suffix):
    picture = tmp_path / f"gates.{suffix}"
    status, _, err = command("gates", finished_run, PROMPTS[name], "--output", picture)
    if PROMPTS[name].strip():
        # characters that no font of the system has are named
        assert not err or err.startswith("note: no font of this system has ")
        assert status == 0 and picture.stat().st_size > 1000
    else:
        assert status == 2 and err == "lstm-lm: error: the text is empty; give at least one word\n"


@pytest.mark.parametrize("name", REFUSED_PROMPTS)
@pytest.mark.parametrize(
    "words",
    [
        ["predict", "RUN", "TEXT"],
        ["generate", "RUN", "--prompt", "TEXT"],
        ["gates", "RUN", "TEXT"],
        ["gates", "RUN", "I", "--target", "TEXT"],
        ["gates", "RUN", "I", "--swap", "I", "TEXT"],
    ],
    ids=" ".join,
)
def test_prompts_that_are_refused(refused, finished_run, tmp_path, monkeypatch, name, words):
    monkeypatch.chdir(tmp_path)
    prompt, said = REFUSED_PROMPTS[name]
    message = refused(*({"RUN": finished_run, "TEXT": prompt}.get(word, word) for word in words))
    assert said.split(" at ")[0].split(", from")[0] in message and len(message) < 1700
    assert not list(tmp_path.iterdir())


def test_standard_input_that_is_no_text(hand_over, finished_run):
    for content, said in (
        (b"fine\n\xff\n", "line 2: not UTF-8"),
        (b"x" * 1_048_577, "without white space"),
        ("a".encode("utf-16"), "iconv -f UTF-16"),
        ("naïve été".encode("cp1252"), "iconv -f WINDOWS-1252 -t UTF-8"),
        (b"\x89PNG\r\n", "is a PNG image, not text"),
    ):
        for words in (["predict"], ["score"]):
            status, _, err = hand_over(content, *words, finished_run)
            assert (
                status == 2
                and err.count("\n") == 1
                and "standard input, line " in err
                and said in err
            )


def test_an_endless_text_is_refused(refused, finished_run, monkeypatch):
    monkeypatch.setattr(typed_text, "MAX_TEXT_LENGTH", 1000)
    assert "has 1,001 characters in one piece, of at most 1,000" in refused(
        "predict", finished_run, "a " * 500 + "b"
    )


@pytest.mark.parametrize("window", [1, 3, 7])
def test_texts_are_read_alike_in_windows_of_any_length(model, monkeypatch, window):
    text = "I grew up in France . She has a cat .\nI speak French"
    before = (
        model.predict_next(text),
        [w.surprisal for w in model.score(text)],
        model.generate(text, seed=1),
    )
    trace = model.trace(text, last=2).target_log_probability
    for module in (reading, scoring):
        monkeypatch.setattr(module, "WINDOW", window)
    assert [p.word for p in model.predict_next(text)] == [p.word for p in before[0]]
    assert [w.surprisal for w in model.score(text)] == pytest.approx(before[1], rel=1e-5)
    assert model.generate(text, seed=1) == before[2]
    assert model.trace(text, last=2).target_log_probability == pytest.approx(trace, rel=1e-5)


# --- suites ---------------------------------------------------------------------------------------

HEADER = "\t".join(COLUMNS)
ROWS = (
    "1\tI grew up in\tFrance\tParis\t3\tcountry\tp\n"
    "2\tI speak\tFrench\ta\t\tcountry\tp\n"
    "3\tShe has\tcat\n"
    "4\tI speak\tfluent\tParis\t0\tword\t\n"
    "5\tShe has a\thome\t\t12\t\t\n"
    "6\tI grew\tup\tin\n"
)
CELLS = [
    "",
    " ",
    "a b",
    "\0",
    "x" * 3000,
    "é",
    "<unk>",
    "<eos>",
    "-1",
    "1e3",
    "9" * 30,
    "1",
    "2",
    "p",
    "#",
    '"',
    "\r",
    "👍🏽",
    "٣",
]


@st.composite
def mutated_suites(draw):
    lines = [line.split("\t") for line in f"{HEADER}\n{ROWS}".splitlines()]
    for _ in range(draw(st.sampled_from([0, 1, 1, 1, 2, 3]))):
        row = draw(st.integers(0, len(lines) - 1))
        column = draw(st.integers(0, len(lines[row]) - 1)) if lines[row] else 0
        kind = draw(st.sampled_from(["cell", "cell", "cell", "drop", "add", "twice", "gone"]))
        if kind == "cell" and lines[row]:
            lines[row][column] = draw(st.sampled_from(CELLS) | st.text(max_size=5))
        elif kind == "drop":
            del lines[row][column : column + 1]
        elif kind == "add":
            lines[row].insert(column, draw(st.sampled_from(CELLS)))
        elif kind == "twice":
            lines.insert(row, list(lines[row]))
        elif len(lines) > 1:
            del lines[row]
    content = "\n".join("\t".join(cells) for cells in lines).encode("utf-8", "surrogatepass")
    return content + draw(st.sampled_from([b""] * 9 + [b"\n", b"\r\n", b"\xff", b"\0"]))


def test_three_hundred_mutated_suites(command, finished_run, tmp_path):
    outcomes = {0: 0, 2: 0}

    @settings(max_examples=300, **HOSTILE)
    @given(
        st.one_of(*[mutated_suites()] * 3, st.binary(max_size=60)),
        st.sampled_from([*["tsv"] * 6, "jsonl", "txt"]),
    )
    def probe(content, suffix):
        path = tmp_path / f"suite.{suffix}"
        path.write_bytes(content)
        status, out, err = command("probe", finished_run, path, "--json")
        outcomes[status] += 1
        if status:
            assert err.startswith(f"lstm-lm: error: {path}") and err.count("\n") == 1 and not out
            assert f"{path}, line " in err or "is empty" in err or "has no items" in err, err
        else:
            assert out.count("\n") == 1
            assert all(line.startswith("note: ") for line in err.splitlines()), err

    probe()
    # hypothesis decides how many are still suites; it also draws from the constants of all modules
    assert min(outcomes.values()) > 20, outcomes


def test_a_suite_s_words_reach_a_terminal_without_harm(command, finished_run, tmp_path):
    path = tmp_path / "suite.tsv"
    path.write_text(
        f"{HEADER}\n1\tI grew\tFrance\t\x1b[2J\t3\t\x1b]0;group\x07\t\n2\tI\tin\ta\t3\tb\u202e\t\n"
    )
    status, out, err = command("probe", finished_run, path)
    assert status == 0 and not err and r"\x1b[2J" in out and r"\x1b]0;group" in out
    assert not any(control in out for control in "\0\x1b\x07\r\x85\u2028\u202e")


def test_every_error_of_a_user_is_one_line(refused, finished_run, tmp_path):
    """Also where a path or a name in it has line ends."""
    for words in (
        ["score", finished_run, "--file"],
        ["evaluate", finished_run, "--file"],
        ["probe", finished_run],
    ):
        assert r"a\nb.txt" in refused(*words, tmp_path / "a\nb.txt")
