"""Layout is not language: wrapped lines, blank lines, and texts without line ends."""

import gzip
import json
import random
import textwrap

import pytest

from lstm_lm.config import CorpusConfig
from lstm_lm.corpus.corpus import Corpus, encode_file
from lstm_lm.corpus.layout import divide_line, split_chunks
from lstm_lm.corpus.sources import build_source
from lstm_lm.model.language_model import LanguageModel

NAMES = ["Anna", "Mr. Brown", "the old captain", "a stranger", "J. P. Smith", "nobody"]
VERBS = ["walked to", "remembered", "had never seen", "was afraid of", "wrote about", "sold"]
THINGS = ["the harbour", "her sister's house", "a well-known garden", "Paris", "that long winter"]


def novel(paragraphs=60, seed=0):
    """Paragraphs of one to six sentences."""
    draw = random.Random(seed)
    text = []
    for _ in range(paragraphs):
        sentences = []
        for _ in range(draw.randint(1, 6)):
            words = f"{draw.choice(NAMES)} {draw.choice(VERBS)} {draw.choice(THINGS)}"
            more = f", and {draw.choice(NAMES)} {draw.choice(VERBS)} {draw.choice(THINGS)}"
            sentence = words + more * draw.randint(0, 2)
            sentences.append(sentence[0].upper() + sentence[1:] + draw.choice([".", ".", "?", "!"]))
        text.append(" ".join(sentences))
    return text


def wrap(paragraphs, width, between="\n\n", indent=""):
    return between.join(
        textwrap.fill(
            text, width, initial_indent=indent, break_on_hyphens=False, break_long_words=False
        )
        for text in paragraphs
    )


def source_of(tmp_path, content, name="a.txt", **settings):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return build_source(
        CorpusConfig(source="files", train_file=str(path), valid_file=str(path), **settings)
    )


def lines_of(*args, **settings):
    return list(source_of(*args, **settings).iterate_lines("train"))


@pytest.mark.parametrize("width", [50, 60, 70, 80, 100, 140])
def test_a_wrapped_novel_is_joined_to_its_paragraphs(tmp_path, width):
    paragraphs = novel()
    source = source_of(tmp_path, wrap(paragraphs, width))
    assert list(source.iterate_lines("train")) == paragraphs
    joined, blank = source.notes()
    assert joined.startswith("corpus.train_file, corpus.valid_file: lines are wrapped at ")
    assert "joined to paragraphs (corpus.join_lines=false keeps them)" in joined
    assert abs(int(joined.split(" columns")[0].rsplit(" ", 1)[1]) - width) <= 2
    assert "of the lines are blank; they are skipped (corpus.skip_blank_lines=false" in blank


def test_windows_line_ends_and_compression_change_nothing(tmp_path):
    paragraphs = novel()
    content = gzip.compress(wrap(paragraphs, 72).replace("\n", "\r\n").encode())
    assert lines_of(tmp_path, content, "a.txt.gz") == paragraphs


def test_indented_paragraphs_without_blank_lines(tmp_path):
    paragraphs = novel()
    assert lines_of(tmp_path, wrap(paragraphs, 70, "\n", "   ")) == paragraphs


@pytest.mark.parametrize("width", [40, 60, 90])
def test_a_text_is_the_same_however_it_is_wrapped(tmp_path, width):
    """Its vocabulary and its ids are those of the text with a paragraph on each line."""
    paragraphs = novel()
    plain, wrapped = tmp_path / "plain.txt", tmp_path / "wrapped.txt"
    plain.write_text("\n".join(paragraphs))
    wrapped.write_text(wrap(paragraphs, width))
    corpora = [
        Corpus(CorpusConfig(source="files", train_file=str(path), valid_file=str(plain)))
        for path in (plain, wrapped)
    ]
    assert corpora[0].vocabulary.words == corpora[1].vocabulary.words
    assert (corpora[0].tokens("train")[:] == corpora[1].tokens("train")[:]).all()
    notes = []
    tokens = encode_file(wrapped, corpora[0].vocabulary, CorpusConfig(), notes=notes)
    assert len(tokens) == len(corpora[0].tokens("train")) and "wrapped at" in notes[0]


def test_a_wrapped_text_as_it_is_on_request_and_if_tokenised(tmp_path):
    content = wrap(novel(), 70)
    as_it_is = content.split("\n")
    for settings in (
        {"join_lines": False, "skip_blank_lines": False},
        {"tokenization": "whitespace"},
    ):
        source = source_of(tmp_path, content, **settings)
        assert list(source.iterate_lines("train")) == as_it_is
        assert not source.notes()
    assert lines_of(tmp_path, content, join_lines=False) == [line for line in as_it_is if line]
    tokenised = {"tokenization": "whitespace", "join_lines": True, "skip_blank_lines": True}
    assert lines_of(tmp_path, content, **tokenised) == novel()


def prose(kind):
    draw = random.Random(1)
    words = "a of the river mountain yesterday was found in sentences and words".split()

    def sentence(count):
        return " ".join(draw.choice(words) for _ in range(count))

    if kind == "sentences":
        return [f"{sentence(draw.randint(3, 30))}." for _ in range(300)]
    if kind == "headlines without full stops":
        return [sentence(draw.randint(5, 12)) for _ in range(300)]
    if kind == "sentences of equal length":
        return [f"Sentence number {n:04} is as long as all the others in here." for n in range(300)]
    if kind == "records of equal length":
        return [f"2026-11-29 12:{n % 60:02} INFO the request {n:05} was served" for n in range(300)]
    if kind == "verse":
        return [sentence(draw.randint(4, 7)) for _ in range(300)]
    if kind == "dialogue":
        return [f"- {sentence(draw.randint(1, 15))}?" for _ in range(300)]
    if kind == "word list":
        return [draw.choice(words) for _ in range(300)]
    if kind == "paragraphs":
        return [sentence(draw.randint(40, 200)) for _ in range(100)]
    return [
        "".join(draw.choice("的一是不了在人有我他这个们中来") for _ in range(n % 40 + 5)) + "。"
        for n in range(300)
    ]


@pytest.mark.parametrize(
    "kind",
    ["sentences", "headlines without full stops", "sentences of equal length",
     "records of equal length", "verse", "dialogue",
     "word list", "paragraphs", "Chinese sentences"],
)  # fmt: skip
def test_what_is_not_wrapped_keeps_its_lines(tmp_path, kind):
    lines = prose(kind)
    source = source_of(tmp_path, "\n".join(lines))
    assert list(source.iterate_lines("train")) == lines and not source.notes()


def test_titles_and_verse_in_a_wrapped_novel_keep_their_lines(tmp_path):
    paragraphs = novel()
    verse = "Twinkle, twinkle, little bat!\nHow I wonder what you're at!"
    content = "\n\n".join(["CHAPTER I", wrap(paragraphs, 70), verse])
    assert lines_of(tmp_path, content) == ["CHAPTER I", *paragraphs, *verse.split("\n")]


def test_dashes_hyphens_and_unspaced_scripts_at_the_ends_of_lines(tmp_path):
    def joined(content):
        return lines_of(tmp_path, content, join_lines=True)

    assert joined("He came--\nand went") == ["He came--and went"]
    assert joined("He came—\nand went\n\nx") == ["He came—and went", "x"]
    rest = "and then he went on and on\n" * 60
    assert joined(f"{rest}a well-\nknown man")[0].endswith("a well-known man")
    assert joined("It was a Heat-\nRay") == ["It was a Heat-Ray"]
    divided = "he thought of some-\nthing else and another\n" * 9
    assert joined(divided)[0].startswith("he thought of something else and another he")
    assert joined("今天天气\n很好。\n\n我们\n去公园") == ["今天天气很好。", "我们去公园"]


def test_wrapped_chinese(tmp_path):
    draw = random.Random(2)
    paragraphs = [
        "".join(
            draw.choice("的一是不了在人有我他这个们中来，") for _ in range(draw.randint(90, 300))
        )
        for _ in range(20)
    ]
    content = "\n\n".join("\n".join(textwrap.wrap(text, 45)) for text in paragraphs)
    assert lines_of(tmp_path, content) == paragraphs


def test_markdown_keeps_headings_lists_tables_and_code(tmp_path):
    paragraphs = novel()
    blocks = ["# A title", "- one\n- two", "| a | b |\n| 1 | 2 |", "```\nx = 1\ny = 2\n```"]
    content = "\n\n".join([blocks[0], wrap(paragraphs, 80), *blocks[1:]])
    expected = [
        blocks[0],
        *paragraphs,
        *(line for block in blocks[1:] for line in block.split("\n")),
    ]
    assert lines_of(tmp_path, content, "a.md") == expected


def test_wrapped_rows_of_a_table_are_joined_row_by_row(tmp_path):
    paragraphs = novel()
    rows = [{"text": wrap([text], 60)} for text in paragraphs]
    content = "\n".join(map(json.dumps, rows))
    source = source_of(tmp_path, content, "a.jsonl")
    assert list(source.iterate_lines("train")) == paragraphs
    assert "wrapped at" in source.notes()[0]


# --- blank lines ----------------------------------------------------------------------------------


def test_blank_lines_are_skipped_and_it_is_said(tmp_path):
    source = source_of(tmp_path, "\n\na b\n \t\nc d\n\n")
    assert list(source.iterate_lines("train")) == ["a b", "c d"]
    (note,) = source.notes()
    assert "67% of the lines are blank; they are skipped" in note
    kept = source_of(tmp_path, "\n\na b\n \t\nc d\n\n", skip_blank_lines=False)
    assert list(kept.iterate_lines("train")) == ["", "", "a b", " \t", "c d", ""]
    assert not kept.notes()


def test_a_text_is_divided_after_its_layout_was_undone(tmp_path):
    paragraphs = novel(100)
    path = tmp_path / "a.txt"
    path.write_text(wrap(paragraphs, 70))
    source = build_source(CorpusConfig(source="files", text_file=str(path), test_fraction=0.1))
    parts = {split: list(source.iterate_lines(split)) for split in source.splits}
    assert {split: len(lines) for split, lines in parts.items()} == {
        "train": 85,
        "valid": 5,
        "test": 10,
    }
    assert sum(parts.values(), []) == paragraphs
    assert all(note.startswith("corpus.text_file: ") for note in source.notes())


def test_a_small_valid_text_is_laid_out_as_train(tmp_path):
    paragraphs = novel()
    for name, text in (("train", paragraphs), ("valid", paragraphs[:1] * 2), ("test", ["a b"])):
        (tmp_path / f"{name}.txt").write_text(wrap(text, 70))
    config = CorpusConfig(
        source="files",
        **{f"{name}_file": str(tmp_path / f"{name}.txt") for name in ("train", "valid", "test")},
    )
    source = build_source(config)
    assert list(source.iterate_lines("valid")) == paragraphs[:1] * 2
    before = source.fingerprint("valid")
    (tmp_path / "train.txt").write_text("\n".join(paragraphs))
    assert source.fingerprint("valid") != before  # it is read in another way now


# --- texts without line ends ----------------------------------------------------------------------


def test_one_long_line_is_divided_into_sentences(tmp_path):
    line = " ".join(novel(200))
    source = source_of(tmp_path, line)
    sentences = list(source.iterate_lines("train"))
    assert " ".join(sentences) == line and len(sentences) > 300
    assert all(sentence.endswith((".", "?", "!")) for sentence in sentences)
    assert not any(sentence.endswith(("Mr.", "J.", "P.")) for sentence in sentences)
    (note,) = source.notes()
    assert "the text is one long line or a few; it is divided into sentences" in note
    for settings in ({"join_lines": False}, {"tokenization": "whitespace"}):
        kept = source_of(tmp_path, line, **settings)
        assert list(kept.iterate_lines("train")) == [line] and not kept.notes()


def test_one_long_line_without_sentences_is_divided_at_words(tmp_path):
    words = [f"word{number}" for number in range(3000)]
    lines = lines_of(tmp_path, " ".join(words))
    assert " ".join(lines).split() == words
    assert len(lines) > 10 and max(map(len, lines)) < 1020


def test_one_long_chinese_line(tmp_path):
    lines = lines_of(tmp_path, "今天天气很好。我们去公园吗？“好！”他说。" * 200)
    assert set(lines) == {"今天天气很好。", "我们去公园吗？", "“好！”他说。"}


def test_one_line_larger_than_what_is_read_at_a_time(tmp_path):
    sentences = [f"This is sentence number {number} of one line." for number in range(60_000)]
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(" ".join(sentences).encode()))
    config = CorpusConfig(source="files", train_file=str(path), valid_file=str(path))
    assert list(build_source(config).iterate_lines("train")) == sentences


def test_lone_carriage_returns_end_lines(tmp_path):
    source = source_of(tmp_path, "one two\rthree\r\rfour é")
    assert list(source.iterate_lines("train")) == ["one two", "three", "four é"]
    notes = source.notes()
    assert "lines end with a carriage return alone (\\r), which is read as line end" in notes[0]
    kept = source_of(tmp_path, "one two\rthree\r\rfour é", join_lines=False)
    assert list(kept.iterate_lines("train")) == ["one two\rthree\r\rfour é"]
    paragraphs = novel()
    content = wrap(paragraphs, 70).replace("\n", "\r")  # an old Mac's novel
    assert lines_of(tmp_path, content) == paragraphs


def test_chunks_that_end_between_the_two_bytes_of_a_line_end():
    text = "a\r\nb\rc\n\nd\r\n"
    for size in range(1, len(text)):
        chunks = [text[start : start + size] for start in range(0, len(text), size)]
        assert list(split_chunks(chunks)) == ["a", "b", "c", "", "d"], size


def test_short_lines_stay_whole():
    assert list(divide_line("One. Two. Three.")) == ["One. Two. Three."]


def test_long_articles_one_on_each_line_stay_whole(tmp_path):
    articles = [" ".join(novel(12, seed)) for seed in range(20)]
    assert min(map(len, articles)) > 2000
    assert lines_of(tmp_path, "\n".join(articles)) == articles


def test_training_says_what_was_seen_and_done(command, config, tmp_path):
    path = tmp_path / "wrapped.txt"
    path.write_text(wrap(novel(), 70))
    status, out, err = command(
        "train",
        config,
        f"corpus.train_file={path}",
        "training.max_steps=1",
        "--output",
        tmp_path / "run",
    )
    assert status == 0, err
    assert "lines are wrapped at 7" in out or "lines are wrapped at 6" in out


def test_a_wrapped_text_has_one_perplexity(command, config, tmp_path):
    """`evaluate --file`, `score --file` and Python read it alike, and as if it were not wrapped."""
    run = tmp_path / "run"
    settings = ["corpus.skip_blank_lines=null", "training.max_steps=2"]
    status, _, err = command("train", config, *settings, "--output", run)
    assert status == 0, err
    paragraphs = novel(12)
    wrapped, plain = tmp_path / "wrapped.txt", tmp_path / "plain.txt"
    wrapped.write_text(wrap(paragraphs, 70))
    plain.write_text("\n".join(paragraphs))
    found = []
    for path in (wrapped, plain):
        status, out, err = command("evaluate", run, "--file", path, "--json")
        assert status == 0 and ("wrapped at" in err) == (path == wrapped)
        found.append(json.loads(out)["perplexity"])
        status, out, err = command("score", run, "--file", path, "--carry", "--json")
        assert status == 0 and ("wrapped at" in err) == (path == wrapped)
        lines = [json.loads(line) for line in out.splitlines()]
        bits = sum(line["surprisal"] for line in lines)
        found.append(2 ** (bits / sum(len(line["words"]) for line in lines)))
        model = LanguageModel.from_pretrained(run)
        found.append(float(model.perplexity(path.read_text())))
    assert found == pytest.approx([found[0]] * 6, rel=1e-5)


def test_the_column_of_a_file_is_an_option(command, finished_run, refused, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("id,body\n1,I speak French.\n")
    for name in ("evaluate", "score", "predict"):
        words = (name, finished_run, "--file", path)
        assert f"--text-column: {path} has no column 'text'; it has 'id', 'body'" in refused(*words)
        status, out, err = command(*words, "--text-column", "body")
        assert status == 0 and out, err
    for words in (("evaluate", finished_run), ("score", finished_run, "I speak")):
        said = refused(*words, "--text-column", "body")
        assert "--text-column: has an effect only together with --file" in said
