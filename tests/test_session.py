"""Laws of a session: pieces equal the whole, taking back equals never having typed, and threads."""

import random
import threading

import pytest
import torch

from lstm_lm.config import ModelConfig
from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.errors import InputError
from lstm_lm.model import session as session_module
from lstm_lm.model.language_model import LanguageModel
from lstm_lm.model.reading import prompt_words

# words whose reading depends on what stands around them
TOKENISED = (
    """\
John F. Kennedy said : " I do n't like No. 5 , but F . and U.S. are well @-@ known . " 1 @,@ 000
He ca n't . O 'Brien does n't . him . don't F. Mr. 3 @.@ 5 it 's him . him . him . well - to - do
""".splitlines()
    * 3
)
CHINESE = ["我 喜欢 中国 。", "我喜欢中国。I like it.", "他说：“好”，然后走了。"] * 3
PIECES = [
    *("John F.", "F.", "F", ".", " ", "  ", "\n", "\n\n", "\t", "\r", "\x1c", "\xa0", "\u3000"),
    *("don't", "don", "'t", "n't", "can", "'", "“", "well-known", "-", "1,000", ",", "0", "…"),
    *("No.", "him.", "U.S.", "U.", "S.", "O'Brien", "I", "do", "the", "Mr.", "e.g.", ":-)", ":"),
    *(
        "\u200b",
        "\xad",
        "e",
        "\u0301",
        "我喜",
        "中国",
        "。",
        "<eos>",
        "<unk>",
        "<",
        "eos>",
        "🇩",
        "🇪",
    ),
    *("www.a.com/x", "http://", "a@b.org", "#t", "\x85", "\u2028", "\v", "\f", "İ", "Σ", "ß"),
]
BLOCK = 4  # so that a short text has several blocks


def make(lines, tokenization, lowercase=False, dtype=torch.float32, **settings):
    vocabulary = Vocabulary.build(lines, tokenization=tokenization, lowercase=lowercase)
    torch.manual_seed(0)
    sizes = {"embedding_dim": 6, "hidden_size": 7, "num_layers": 2}
    model = LanguageModel.from_config(ModelConfig(**(sizes | settings)), vocabulary)
    model.network.to(dtype).eval()
    return model


MODELS = {
    "whitespace": lambda: make(TOKENISED, "whitespace"),
    "whitespace, lower case": lambda: make(
        [line.lower() for line in TOKENISED], "whitespace", True
    ),
    "words": lambda: make(TOKENISED, "words"),
    "words, lower case": lambda: make(TOKENISED, "words", True),
    "Chinese": lambda: make(CHINESE, "words", cell="gru"),
}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(session_module, "BLOCK", BLOCK)


def same(first, second):
    """Bit for bit: every word and its probability."""
    return first.predict(1000, include_unknown=True) == second.predict(1000, include_unknown=True)


@pytest.mark.parametrize("name", MODELS)
def test_feeding_in_any_pieces_is_feeding_the_whole_text(name):
    model, draw = MODELS[name](), random.Random(name)
    for _ in range(40):
        text = "".join(draw.choices(PIECES, k=draw.randrange(1, 14)))
        whole = model.session()
        whole.feed(text)
        assert whole.text == text and whole.words == prompt_words(model.vocabulary, text)
        pieces, typed, start = model.session(), "", 0
        while start < len(text):
            stop = min(len(text), start + draw.choice((1, 1, 2, 3, 7)))
            pieces.feed(text[start:stop])
            typed += text[start:stop]
            assert pieces.words == prompt_words(model.vocabulary, typed), typed
            if draw.random() < 0.3:
                pieces.predict(1, draw.choice(("", "", "d", "F", "(n")))
            start = stop
        assert pieces.text == text and same(pieces, whole)


@pytest.mark.parametrize("name", MODELS)
def test_the_prediction_is_that_of_predict_next(name):
    model, draw = MODELS[name](), random.Random(name)
    model.network.double()
    for _ in range(40):
        text = "".join(draw.choices(PIECES, k=draw.randrange(1, 14)))
        session = model.session()
        session.feed(text)
        found, expected = session.predict(5), model.predict_next(text, 5)
        assert [p.word for p in found] == [p.word for p in expected], text
        for one, other in zip(found, expected, strict=True):
            assert one.log_probability == pytest.approx(other.log_probability, abs=1e-12)
        prefix = draw.choice(("d", "F", "n", "h", "(d", "xyzzy", "K", "@", "喜"))
        before = f"{text} "
        session.set_text(before)
        found = session.offer(50, prefix)
        expected = model.offer(before + prefix, 50, complete=True)
        assert [p.word for p in found.predictions] == [p.word for p in expected.predictions]
        assert (found.prefix, found.typed, found.words) == (
            expected.prefix,
            expected.typed,
            expected.words,
        )
        assert found.probability == pytest.approx(expected.probability, abs=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_taking_words_back_is_never_having_typed_them(name):
    model, draw = MODELS[name](), random.Random(name)
    session, typed = model.session(), []
    for _ in range(100):
        if typed and draw.random() < 0.45:
            count = draw.randrange(1, min(len(typed), 9) + 1)
            session.undo(count)
            del typed[-count:]
        else:
            piece = draw.choice(
                ("\n", *(f"{word} " for word in "John F. Kennedy don't him. 我喜".split()))
            )
            session.feed(piece)
            typed.append(piece)
        if draw.random() < 0.5:
            session.predict(1, draw.choice(("", "K")))
        assert session.text == "".join(typed)
        assert session.words == prompt_words(model.vocabulary, session.text)
        fresh = model.session()
        fresh.feed(session.text)
        assert same(session, fresh)


def test_a_word_taken_back_is_what_stands_between_white_space(model):
    session = model.session()
    session.feed(" I can't,  he said\n\n well")
    for text in (" I can't,  he said\n\n ", " I can't,  he said\n", " I can't,  he said"):
        session.undo()
        assert session.text == text
    session.undo(2)
    assert session.text == " I can't,  "
    for count in (-1, 3):
        with pytest.raises(InputError, match=f"undo: found {count}, must be from 0 to 2"):
            session.undo(count)
    session.undo(0)
    assert session.text == " I can't,  "
    session.undo(2)
    assert session.text == " " and session.words == ["<eos>"]
    session.reset()
    assert session.text == "" and same(session, model.session())


def test_set_text_is_a_new_session_with_the_text_and_reads_only_what_changed(model, monkeypatch):
    read = []
    monkeypatch.setattr(
        session_module,
        "read_ids",
        lambda network, ids, state, original=session_module.read_ids: (
            read.extend(ids) or original(network, ids, state)
        ),
    )
    draw, session, text = random.Random(0), model.session(), ""
    for _ in range(80):
        cut = draw.randrange(len(text) + 1)
        text = text[: draw.choice((cut, len(text)))] + draw.choice(PIECES)
        session.set_text(text)
        fresh = model.session()
        fresh.feed(text)
        assert session.text == text and session.words == fresh.words and same(session, fresh)
    text = "I grew up in France . " * 100
    session.set_text(f"{text}I")
    session.predict()
    read.clear()
    for word in ("I g", "I gr", "I grew", "I grew ", "I grew u"):
        session.set_text(text + word)
        session.predict()
    assert len(read) <= 5 + 2 * BLOCK


def test_a_word_is_read_once_however_long_the_text_is(model, monkeypatch):
    """So a word takes the same time after 10,000 words as after 10."""
    monkeypatch.setattr(session_module, "BLOCK", 64)
    read, split = [], []
    original, splits = session_module.read_ids, Vocabulary.split_text
    monkeypatch.setattr(
        session_module,
        "read_ids",
        lambda network, ids, state: read.append(len(ids)) or original(network, ids, state),
    )
    monkeypatch.setattr(
        Vocabulary,
        "split_text",
        lambda self, text, **options: split.append(len(text)) or splits(self, text, **options),
    )
    session = model.session()
    for number in range(1, 141):
        read.clear()
        split.clear()
        session.feed("cat ")
        session.predict()
        assert sum(split) <= 2 * len("cat") and len(read) <= 2 and sum(read) <= 64 + 1
        assert number % 64 == 63 or sum(read) <= 2
    session.undo(100)
    session.predict()
    assert sum(read) <= 64 + 65


def test_a_refused_text_leaves_the_session_as_it_was(model, monkeypatch):
    session = model.session()
    session.feed("I grew up")
    before = session.predict(1000)
    for text in ("\udcff", " in \ud800"):
        with pytest.raises(InputError, match="UTF-8"):
            session.feed(text)
    monkeypatch.setattr("lstm_lm.corpus.typed_text.long_chunk_column", lambda text: len(text) > 12)
    session.feed(" x" * 6)
    with pytest.raises(InputError, match="without white space"):
        session.feed("y" * 12)
    with pytest.raises(InputError, match="white space"):
        session.predict(5, "two words")
    session.undo(6)
    assert session.text == "I grew up" + " " and session.predict(1000) == before


def test_an_interrupted_reading_is_made_up_for(model, monkeypatch):
    session, original = model.session(), session_module.read_ids
    draw, text = random.Random(1), ""
    for _ in range(30):
        piece = draw.choice(("I ", "grew ", "up in ", "France. ", "a cat, and a home "))
        session.feed(piece)
        text += piece
        if draw.random() < 0.2 and text.count(" ") > 5:
            session.undo(5)
            text = session.text
        calls = draw.randrange(4)

        def interrupted(network, ids, state, left=[calls]):  # noqa: B006
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            return original(network, ids, state)

        monkeypatch.setattr(session_module, "read_ids", interrupted)
        try:
            session.predict(1, draw.choice(("", "F")))
        except KeyboardInterrupt:
            pass
        monkeypatch.setattr(session_module, "read_ids", original)
        fresh = model.session()
        fresh.feed(text)
        assert same(session, fresh)


TEXTS = [
    "I grew up in France . I speak fluent French . She has a home",
    "She has a home in Paris , and a cat .\nxyzzy",
    "Oh , I grew up in Pa",
    "",
]


def ask_everything(model, text):
    """Every kind of answer of a model."""
    session = model.session()
    for letter in text:
        session.feed(letter)
    gate = next(iter(model.network.recurrent.cells[0].gates()))
    fixed = model.with_fixed_gates({f"0.{gate}": "mean"}, mean_over=text)
    trace = model.trace(text)
    return (
        model.predict_next(text, 1000, include_unknown=True),
        model.predict_next(text, 5, complete=True, ban=["france"]),
        model.score(text),
        model.perplexity(text).nll,
        model.generate(text, 8, seed=1, top_p=0.9),
        list(model.iterate_continuations(text, 3, beam=3, samples=3)),
        session.predict(1000),
        session.predict(5, "F"),
        [part.tolist() for state in model.read(text).states for part in state],
        (trace.log_probabilities.tolist(), trace.word_gradient.tolist()),
        fixed.predict_next(text, 1000),
        model.unknown_words(text),
        model.vocabulary.encode_lines([text]),
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"recurrence": "readable", "cell": "gru"},
        {"output": "adaptive", "adaptive_cutoffs": (5, 12), "adaptive_factor": 2.0},
        {"output": "mos", "mixture_softmaxes": 3},
    ],
)
def test_eight_threads_on_one_model_answer_as_one_does(make_model, settings):
    model = make_model(**settings)
    expected = [ask_everything(model, text) for text in TEXTS]
    found, errors = {}, []
    ready = threading.Barrier(8)
    model = make_model(**settings)  # nothing that is made at first use is there yet

    def work(thread):
        try:
            ready.wait(60)
            order = list(range(len(TEXTS)))
            random.Random(thread).shuffle(order)
            for number in order:
                found[thread, number] = ask_everything(model, TEXTS[number])
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(found) == 8 * len(TEXTS)
    assert [key for key, answer in found.items() if answer != expected[key[1]]] == []
