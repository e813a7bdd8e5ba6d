"""The page to type into: the same words and probabilities as Python, and nothing that can run."""

import base64
import hashlib
import html
import json
import random
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest
import torch

from lstm_lm import LanguageModel
from lstm_lm.cells import register_cell
from lstm_lm.config import ModelConfig
from lstm_lm.config.settings import CELLS
from lstm_lm.corpus.tokenization import Recipe, all_recipes
from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.integrations import page
from lstm_lm.integrations.javascript_patterns import browser_tokenizer, javascript_pattern
from lstm_lm.integrations.quantization import rounded_model
from tests.test_onnx import WaveCell

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
in_browser = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")

HOSTILE = [
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<!--<script>",
    "]]>",
    "{{SCRIPT}}",
    "{{DATA}}",
    "$&$1$'",
    "&lt;b&gt;",
    "\\u003c\"'`${alert(1)}",
    "__proto__",
    "constructor",
    "\u2028\u2029\u202e",
    "javascript:alert(1)",
]
# Typed by people and by nobody.
TEXTS = [
    "I don't know, Mr. O'Brien isn't well-known. He said: \"No.\" It's 3.14 or 1,000!",
    "I grew up in France. I speak fluent",
    "DON'T they'd've can't U.S. e.g. etc. Ph.D. John F. Kennedy No. him. I. A.",
    "“curly” ‘quotes’ don’t don´t it`s … – — -- - well‐known non‑breaking",
    "https://www.example.org/a_(b)?c=d&e. mail@example.co.uk #tag @name@server.org x.com/y",
    ":-) :( ;D <3 ^_^ T_T >_< :/ (-: =] 1️⃣ 👩‍👩‍👧 🇫🇷🇩🇪 👍🏽 ¯\\_(ツ)_/¯",
    "l'homme qu'il dell'arte L'Italie d' accord aujourd'hui col·lecció",
    "我在法国长大。我会说流利的 2024年 ภาษาไทย ខ្មែរ မြန်မာ ひらがなカタカナ",
    "e\u0301cole \ufeffmark soft\u00adhyphen zero\u200bwidth \u2067rtl\u2069 word\u2060joiner",
    "Σίσυφος ΣΙΣΥΦΟΣ İstanbul ẞ ǅ",
    "צה״ל ג׳ירפה הבי\u05f3 ab\u05beשל",
    "<unk> <eos> a<eos>b @-@ @,@ @.@ well @-@ known 1 @,@ 000",
    "a\tb\x1cc\x85d\xa0e\u3000f \x1d",
    "1,000.50 3.14. 10-20 x-1 -- a--b -a- 'quoted' ''double'' rock'n'roll",
    "",
    "   ",
    "\n\nI\n",
    "constructor __proto__ toString",
]


class Page(HTMLParser):
    """The tags of a page, and the text of its scripts."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.scripts, self.inside = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.inside = tag == "script"
        if self.inside:
            self.scripts.append("")

    def handle_endtag(self, tag):
        self.inside = False

    def handle_data(self, data):
        if self.inside:
            self.scripts[-1] += data


def dump(text, folder, *, options=()):
    """Opens a page in Chromium and returns what it became."""
    file = folder / "opened.html"
    file.write_text(text, encoding="utf-8")
    done = subprocess.run(
        [
            CHROMIUM,
            *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"),
            *("--disable-background-networking", "--disable-component-update"),
            *("--disable-dev-shm-usage", f"--user-data-dir={folder / 'profile'}"),
            *options,
            "--dump-dom",
            file.as_uri(),
        ],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def ask(text, folder, script):
    """Runs a script of ours after that of the page; ``answer(x)`` in it gives x to the test."""
    script = f"""
        const answer = x => document.body.append(element("pre", {{ id: "answer",
          textContent: "[[" + btoa(unescape(encodeURIComponent(JSON.stringify(x)))) + "]]" }}));
        try {{ {script} }} catch (error) {{ answer({{ error: String(error.stack) }}); }}"""
    script = script.replace("</", r"<\/").replace("<!--", r"<\!--")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    text = text.replace("script-src ", f"script-src 'sha256-{digest}' ", 1)
    shown = dump(text.replace("</body>", f"<script>{script}</script></body>"), folder)
    found = re.search(r"\[\[([\w+/=]+)\]\]</pre>", shown)
    assert found, "the page's script did not run to its end"
    answer = json.loads(base64.b64decode(found[1]))
    assert not (isinstance(answer, dict) and "error" in answer), answer
    return answer


def data_of(text):
    return json.loads(Page(text).scripts[0])


# Functions in JavaScript. A text is read to its end at once, not frame by frame.
HANDS = """
    const settle = () => { while (now.path.length < now.wanted.length) readOn(); };
    const type = (value, caret = value.length) => {
      text.value = value; text.setSelectionRange(caret, caret); changed(); settle(); };
    const press = key => text.dispatchEvent(
      new KeyboardEvent("keydown", { key, cancelable: true }));
    const tab = () => { press("Tab"); settle(); };
    const put = word => { now.half = null; take(ids.get(word)); settle(); };
    const shown = () => [...$("predictions").children]
      .filter(one => one.style.visibility === "visible")
      .map(one => one.querySelector("b").textContent);
"""


# --- the same words -----------------------------------------------------------------------------


def vocabularies():
    """One for every way to split text, and those of tokenised corpora with their habits."""
    lines = [*TEXTS, "do n't is n't", "the cat well-known No. him .", "well - known O 'Brien"]
    for recipe in [recipe for version in (1, 2) for recipe in all_recipes(version)]:
        if recipe.tokenization == "words":
            yield Vocabulary(["<unk>", "<eos>", "France", "Paris"], recipe)
    wikitext = (
        "don 't isn 't , . ! ? \" ' 's @-@ @,@ @.@ well known 1 000 3 14 I No No. him him. A O "
        "'Brien F F. constructor e.g. U.S. it It in France"
    ).split()
    brown = "do n't is n't - , . ! ? well known No No. him it 's \" O 'Brien I a b x".split()
    for words in (wikitext, brown, " ".join(lines).split()):
        for lowercase in (False, True):
            words = [word.lower() if lowercase else word for word in words]
            words = [word for word in dict.fromkeys(words) if word not in ("<unk>", "<eos>")]
            yield Vocabulary(["<unk>", "<eos>", *words], Recipe("whitespace", lowercase))


def the_words_script(vocabulary):
    """The page's splitting of text by one vocabulary, as an expression in JavaScript."""
    config = ModelConfig(embedding_dim=2, hidden_size=2, num_layers=1)
    described = page.describe(LanguageModel.from_config(config, vocabulary), "int8")
    source = page.packaged_files("lstm_lm.integrations").joinpath(page.FOLDER, "words.js")
    return f"""(() => {{
        const data = {json.dumps(described)}, words = data.words, UNK = 0, EOS = 1;
        const ids = new Map(words.map((word, id) => [word, id]));
        {source.read_text(encoding="utf-8")}
        return texts.map(promptWords); }})()"""


def texts():
    """The texts above, and random mixtures of their pieces."""
    draw, pieces = random.Random(1), [piece for text in TEXTS for piece in re.split(r"(\W)", text)]
    return TEXTS + ["".join(draw.choices(pieces, k=draw.randint(1, 12))) for _ in range(150)]


@in_browser
@pytest.mark.slow
def test_typed_text_is_spelled_as_python_spells_it(make_model, tmp_path):
    all_words, asked = list(vocabularies()), texts()
    programs = ",".join(map(the_words_script, all_words))
    script = f"const texts = {json.dumps(asked)}; answer([{programs}]);"
    found = ask(page.render(make_model()), tmp_path, script)
    assert len(found) == len(all_words) > 12
    for vocabulary, answers in zip(all_words, found, strict=True):
        for text, answer in zip(asked, answers, strict=True):
            expected = [
                word
                for line in text.split("\n")
                for word in ("<eos>", *vocabulary.split_text(line))
            ]
            assert answer == expected, (vocabulary.recipe, text)


def test_patterns_for_javascript():
    assert javascript_pattern(r"(?#a comment)[^\s\x1c]+|\s|a\z") == (
        r"[^\p{White_Space}\x1c]+|\p{White_Space}|a$"
    )
    assert javascript_pattern(r"[\p{L}.&&[^xy-z]]{2,3}\]") == r"(?:(?![xy-z])[\p{L}.]){2,3}\]"
    assert javascript_pattern(r"(a(?>\(+|(b))[)\]])") == (r"(a(?=(?<atom1>\(+|(b)))\k<atom1>[)\]])")
    steps = browser_tokenizer(Vocabulary(["<unk>", "<eos>"], Recipe("words", True)))["steps"]
    assert [step["kind"] for step in steps[:2]] == ["lowercase", "replace"]


# --- the same numbers ---------------------------------------------------------------------------


def prompts(vocabulary, count, seed=0):
    draw = random.Random(seed)
    words = [*vocabulary.words[2:], "Xyzzy", "\n"]
    return [" ".join(draw.choices(words, k=draw.randint(0, 9))) for _ in range(count)]


def assert_same_guesses(model, texts, answers):
    """The same five words, unless two are equally probable, with the same probabilities."""
    for text, answer in zip(texts, answers, strict=True):
        expected = model.predict_next(text)
        found = {guess["word"]: guess["log_probability"] for guess in answer}
        for guess, other in zip(expected, answer, strict=True):
            assert other["log_probability"] == pytest.approx(guess.log_probability, abs=1e-4)
            assert found[guess.word] == pytest.approx(guess.log_probability, abs=1e-4), text
            if other["word"] != guess.word:  # a tie
                assert found[guess.word] == pytest.approx(other["log_probability"], abs=1e-5)


@in_browser
@pytest.mark.slow
@pytest.mark.parametrize("cell", CELLS)
def test_200_prompts_have_the_top_five_of_python(make_model, tmp_path, cell):
    """Of the model whose weights are rounded as the page's are."""
    number = list(CELLS).index(cell)
    kind = ("int8", "float16")[number % 2]
    adaptive = {"output": "adaptive", "adaptive_cutoffs": (5, 9), "embedding_dim": 8}
    untied = {"tie_weights": False, "output_norm": False}
    settings = (
        {"hidden_size": (5, 9)},
        adaptive,
        untied,
        adaptive | {"tie_weights": False},
        {"output": "mos", "mixture_softmaxes": 3},
    )
    model = make_model(cell=cell, **settings[number % 5])
    asked = prompts(model.vocabulary, 200)
    script = f"answer({json.dumps(asked)}.map(text => predictNext(text, 5)));"
    answers = ask(page.render(model, kind), tmp_path, script)
    assert_same_guesses(rounded_model(model, kind), asked, answers)


@in_browser
@pytest.mark.slow
def test_a_trained_run_and_a_tokenised_corpus(command, config, finished_run, tmp_path):
    assert command("export", finished_run, tmp_path / "page.html")[0] == 0
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    model = LanguageModel.from_pretrained(finished_run)
    asked = [
        "I grew up in France.",
        "She has a cat, and",
        "I don't\nspeak",
        *prompts(model.vocabulary, 197),
    ]
    script = f"answer({json.dumps(asked)}.map(text => predictNext(text, 5)));"
    assert_same_guesses(rounded_model(model, "int8"), asked, ask(text, tmp_path, script))


@in_browser
@pytest.mark.slow
def test_surprisals_and_gates_are_those_of_python(make_model, tmp_path):
    model, typed = make_model(), "I grew up in France. Xyzzy speaks\nI speak"
    script = f"""
        {HANDS} type({json.dumps(typed + " ")});
        const plain = layer => Object.fromEntries(
          Object.entries(layer).map(([name, values]) => [name, [...values]]));
        answer(now.path.map(({{ bits, gates, states }}) => ({{ bits, gates: gates.map(plain),
          c: states.map(state => [...state.c]) }})));"""
    answers = ask(page.render(model, "float16"), tmp_path, script)
    rounded = rounded_model(model, "float16")
    trace, scores = rounded.trace(typed), rounded.score(typed)
    assert len(answers) == len(trace.words) == len(scores)  # <eos> is first here, last there
    for t, answer in enumerate(answers):
        if t:
            assert answer["bits"] == pytest.approx(scores[t - 1].surprisal, abs=1e-4)
        for layer, gates in enumerate(answer["gates"]):
            expected = trace.layers[layer]
            assert answer["c"][layer] == pytest.approx(expected.c[t + 1].tolist(), abs=1e-5)
            assert gates == {
                name: pytest.approx(values[t].tolist(), abs=1e-5)
                for name, values in expected.gates.items()
            }


# --- what a person does --------------------------------------------------------------------------


@in_browser
@pytest.mark.slow
def test_tab_takes_a_word_and_completes_a_half_typed_one(make_model, tmp_path):
    model = make_model()
    script = (
        HANDS
        + """
        const found = {};
        type("I grew up in Fr"); found.half = shown(); found.title = $("after").textContent;
        found.gray = $("words").lastChild.textContent;
        tab(); found.completed = text.value;
        type("i grew up in pAR"); tab(); found.other_case = text.value;
        type("I grew up in France"); put("."); found.mark = text.value;
        put("<eos>"); found.line = text.value; put("I"); found.second = text.value;
        type("I grew Xyz"); found.unknown = $("words").lastChild.className.split(" ").sort();
        type("I speak "); found.first = shown()[0]; tab(); found.taken = text.value;
        type("I in", 1); put("grew"); found.middle = text.value;
        type("I speak "); press("Escape"); tab(); found.left = text.value;
        pickUnit(99); found.unit = now.unit;
        answer(found);"""
    )
    found = ask(page.render(model), tmp_path, script)
    guess, *_ = rounded_model(model, "int8").predict_next("I speak")
    assert sorted(found["half"]) == ["France", "French"] and "Fr" in found["title"]
    assert found["gray"] == "Fr…" and found["completed"] == f"I grew up in {found['half'][0]} "
    assert found["other_case"] == "i grew up in Paris "
    assert found["mark"] == "I grew up in France. " and found["line"] == "I grew up in France.\n"
    assert found["second"] == "I grew up in France.\nI " and found["unknown"] == ["here", "unknown"]
    assert found["first"] == {"<eos>": "⏎"}.get(guess.word, guess.word)
    assert found["taken"].startswith("I speak") and found["taken"] != "I speak "
    assert found["middle"] == "I grew in" and found["left"] == "I speak " and found["unit"] == 6


@in_browser
@pytest.mark.slow
def test_words_of_a_tokenised_corpus_are_written_as_people_write(tmp_path):
    words = "don 't well @-@ known 1 @,@ 000 @.@ 5 ( ) . I".split()
    vocabulary = Vocabulary(["<unk>", "<eos>", *words], Recipe("whitespace"))
    model = LanguageModel.from_config(
        ModelConfig(embedding_dim=4, hidden_size=4, num_layers=1), vocabulary
    )
    script = (
        HANDS
        + f"""
        type(""); {json.dumps(words)}.forEach(put);
        answer([text.value, now.tokens]);"""
    )
    written, read = ask(page.render(model), tmp_path, script)
    assert written == "don't well-known 1,000.5 (). I "
    assert read == ["<eos>", *words]


# --- nothing can run ----------------------------------------------------------------------------


def hostile_model():
    vocabulary = Vocabulary(["<unk>", "<eos>", "a", *HOSTILE], Recipe("whitespace"))
    torch.manual_seed(0)
    return LanguageModel.from_config(
        ModelConfig(embedding_dim=4, hidden_size=4, num_layers=1), vocabulary
    )


def test_a_hostile_vocabulary_stays_data():
    text = page.render(hostile_model())
    parsed = Page(text)
    assert [tag for tag, _ in parsed.tags].count("script") == 2
    assert data_of(text)["words"] == ["<unk>", "<eos>", "a", *HOSTILE]
    assert not any(name.startswith("on") for _, attributes in parsed.tags for name in attributes)
    assert not any({"src", "href", "srcset", "action"} & set(tag[1]) for tag in parsed.tags)
    policy = next(one["content"] for tag, one in parsed.tags if "http-equiv" in one)
    digest = base64.b64encode(hashlib.sha256(parsed.scripts[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}';" in policy and "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_the_program_has_no_door_for_html():
    folder = page.packaged_files("lstm_lm.integrations").joinpath(page.FOLDER)
    source = "".join(folder.joinpath(name).read_text(encoding="utf-8") for name in page.SCRIPTS)
    for door in (
        "innerHTML",
        "outerHTML",
        "insertAdjacent",
        "document.write",
        "eval(",
        "Function(",
    ):
        assert door not in source
    for network in (
        "fetch",
        "XMLHttpRequest",
        "WebSocket",
        "import(",
        "sendBeacon",
        "http:",
        "https:",
    ):
        assert network not in source.replace("http://www.w3.org/2000/svg", "")


@in_browser
@pytest.mark.slow
def test_a_hostile_vocabulary_and_typed_markup_do_not_run(tmp_path):
    typed = " ".join(HOSTILE)
    script = (
        HANDS
        + f"""
        let ran = 0; window.alert = () => ran++;
        type({json.dumps(typed)}); tab(); type({json.dumps(typed)} + " ");
        const row = document.createElement("div");  // the policy stops what is in this one
        row.innerHTML = "<img src=x onerror=alert(1)>"; document.body.append(row);
        answer([$("words").textContent, document.querySelectorAll("img").length, ran]);"""
    )
    model = hostile_model()
    words, images, ran = ask(page.render(model), tmp_path, script)
    assert images == 1 and ran == 0
    assert words == "".join(model.vocabulary.split_text(typed))
    shown = dump(
        page.render(model).replace("</main>", "<script>document.title = 'ran'</script></main>"),
        tmp_path,
    )
    assert "<title>ran</title>" not in shown and "may begin with" in html.unescape(shown)


# --- sizes and mistakes ---------------------------------------------------------------------------


def made_up(count, recipe):
    return Vocabulary(["<unk>", "<eos>", *(f"word{k}" for k in range(count - 2))], recipe)


@pytest.mark.parametrize(
    "words, embedding, hidden, layers, parameters, most",
    [(5000, 64, 256, 1, 0.8e6, 2e6), (33278, 150, 400, 2, 7.2e6, 12e6)],
    ids=["quick start", "WikiText-2"],
)
def test_sizes(words, embedding, hidden, layers, parameters, most):
    config = ModelConfig(embedding_dim=embedding, hidden_size=hidden, num_layers=layers)
    model = LanguageModel.from_config(config, made_up(words, Recipe("whitespace")))
    assert model.network.parameter_count == pytest.approx(parameters, rel=0.2)
    assert len(page.render(model).encode()) <= most


def test_a_cell_without_javascript_is_refused(make_model):
    register_cell("wave", WaveCell)
    try:
        with pytest.raises(page.InputError, match="no equations of the cell wave.*lstm"):
            page.render(make_model(cell="wave"))
    finally:
        del CELLS["wave"]


def test_every_cell_of_the_package_has_its_equations():
    assert set(page.cells_with_equations()) == set(CELLS)
    for cell in CELLS:
        assert " = " in page.equations(cell)


def test_the_command_writes_one_file(command, refused, finished_run, tmp_path):
    status, out, _ = command("export", finished_run, tmp_path / "new" / "page.html", "--json")
    (path,) = json.loads(out)["files"]
    assert status == 0 and path == str(tmp_path / "new" / "page.html")
    assert data_of((tmp_path / "new" / "page.html").read_text(encoding="utf-8"))["examples"]
    (tmp_path / "mine.html").write_text("<title>lstm-lm export</title>")
    assert "is there already" in refused("export", finished_run, tmp_path / "mine.html")
    assert command("export", finished_run, path, "--quantize", "float16")[0] == 0
    assert "stored as float16" in (tmp_path / "new" / "page.html").read_text(encoding="utf-8")
