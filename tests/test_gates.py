"""The command `gates`: a picture, a page and numbers that say what the trace says; and every mistake in one line."""

import json
import math
import re
from html.parser import HTMLParser

import pytest
from matplotlib.image import imread

from lstm_lm import LanguageModel
from lstm_lm.inspection.description import describe_trace
from lstm_lm.inspection.figures import draw_gates
from lstm_lm.inspection.page import render_page
from lstm_lm.inspection.units import find_carriers, half_lives

TEXT = "I grew up in France. She has a cat in"


class Page(HTMLParser):
    """Collects what a page would load from elsewhere, and its scripts."""

    def __init__(self):
        super().__init__()
        self.loaded, self.scripts, self.within = [], [], None

    def handle_starttag(self, tag, attributes):
        self.loaded += [
            value for name, value in attributes if name in ("src", "href", "srcset", "action")
        ]
        self.within = dict(attributes) if tag == "script" else None
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data):
        if self.within is not None:
            self.scripts[-1] += data


def read_page(html):
    page = Page()
    page.feed(html)
    data, _ = page.scripts
    return page, json.loads(data)


@pytest.mark.parametrize("cell", ["lstm", "gru", "elman"])
def test_numbers_are_the_trace_s(make_model, cell):
    model = make_model(cell=cell)
    trace, other = model.trace(TEXT, "Paris"), model.trace(TEXT.replace("France", "Paris"))
    carriers = find_carriers(trace, other, threshold=1e-3)
    told = json.loads(
        json.dumps(describe_trace(model, trace, carriers=carriers, carried="x"), allow_nan=False)
    )
    assert [word["word"] for word in told["words"]] == trace.words and told["target"][
        "word"
    ] == "Paris"
    for layer, (numbers, looked) in enumerate(zip(told["layers"], trace.layers, strict=True)):
        assert numbers["c"][3] == pytest.approx(looked.c[3].tolist(), abs=1e-6)
        assert len(numbers["c"]) == len(numbers["h"]) == len(trace.words) + 1
        assert {name: rows[2] for name, rows in numbers["gates"].items()} == {
            name: pytest.approx(rows[2].tolist(), abs=1e-6) for name, rows in looked.gates.items()
        }
        assert numbers["c_gradient"] == pytest.approx(looked.c_gradient.tolist(), rel=1e-5)
        lives = half_lives(trace, layer)
        assert numbers["half_lives"] == (
            None if lives is None else pytest.approx(lives.tolist(), rel=1e-5)
        )
        gate, before = numbers["gates"].get(numbers["keep_gate"]), numbers["c"][:-1]
        assert numbers["carried_loads"] == (
            None
            if gate is None
            else pytest.approx(
                [
                    sum(
                        f[unit] * abs(math.tanh(c[unit])) for f, c in zip(gate, before, strict=True)
                    )
                    / len(gate)
                    for unit in range(len(gate[0]))
                ],
                abs=1e-5,
            )
        )
    best = [
        {"word": guess.word, "probability": pytest.approx(guess.probability, abs=1e-5)}
        for guess in model.predict_next(TEXT, 8)
    ]
    assert told["words"][-1]["predictions"] == best
    assert (
        [unit["unit"] for unit in told["carriers"]] == [carrier.unit for carrier in carriers] != []
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "cell, text", [("lstm", "Xyzzy " * 29 + "w" * 80), ("gru", TEXT), ("elman", "I")]
)
def test_every_cell_is_drawn(make_model, tmp_path, cell, text):
    model = make_model(cell=cell, hidden_size=30)
    trace = model.trace(text)
    draw_gates(model, trace, 0, tmp_path / "a.png")
    draw_gates(model, trace, 0, tmp_path / "b.png", unit=2)
    plain, followed = imread(tmp_path / "a.png"), imread(tmp_path / "b.png")
    assert plain[..., :3].std() > 0.05 and followed.shape[0] > plain.shape[0]


def test_a_page_needs_nothing_but_itself_and_no_word_breaks_it(make_model):
    model = make_model()
    nasty = '</script><script>alert(1)</script><!--\u2028"\\&{{DATA}}'
    description = describe_trace(model, model.trace("I grew"), digits=3)
    description["words"][2]["word"] = nasty
    html = render_page(description, layer=1, unit=4)
    page, data = read_page(html)
    assert page.loaded == [] and len(page.scripts) == 2 and "{{DATA}}" not in page.scripts[1]
    assert not re.search(r"@import|url\(|fetch\(|XMLHttp|https?://(?!www\.w3\.org/2000/svg)", html)
    assert (data["layer"], data["unit"]) == (1, 4)
    assert [word["word"] for word in data["trace"]["words"]] == ["<eos>", "I", nasty]
    assert "prefers-color-scheme: dark" in html and "width=device-width" in html


def test_a_page_knows_every_gate_and_finds_every_element_it_speaks_of(make_model):
    for cell in ("lstm", "gru", "elman"):
        model = make_model(cell=cell)
        html = render_page(describe_trace(model, model.trace(TEXT)), layer=0)
        _, data = read_page(html)
        assert set(data["trace"]["layers"][0]["gates"]) <= set(data["gates"])
    ids = set(re.findall(r'id="([\w-]+)"', html))
    assert set(re.findall(r'\$\("([\w-]+)"\)', html)) <= ids


def test_the_command_writes_what_was_asked_for(command, finished_run, tmp_path):
    for suffix in ("html", "json", "PNG"):
        status, out, err = command(
            "gates", finished_run, TEXT, "--output", tmp_path / f"x.{suffix}"
        )
        assert (status, err) == (0, "") and f"x.{suffix}: 12 words; the next is" in out
    assert (tmp_path / "x.PNG").read_bytes()[1:4] == b"PNG"
    told = json.loads((tmp_path / "x.json").read_text())
    model = LanguageModel.from_pretrained(finished_run)
    assert (
        told["words"][0]["word"] == "<eos>"
        and told["target"]["word"] == model.predict_next(TEXT, 1)[0].word
    )
    assert read_page((tmp_path / "x.html").read_text())[1]["trace"]["words"][4]["word"] == "in"
    status, out, _ = command(
        "gates",
        finished_run,
        TEXT,
        "--target",
        "France",
        "--unit",
        7,
        "--layer",
        0,
        "--output",
        tmp_path / "x.html",
    )
    data = read_page((tmp_path / "x.html").read_text())[1]
    assert "the next is France" in out and (
        data["layer"],
        data["unit"],
        data["trace"]["target"]["word"],
    ) == (0, 7, "France")


def test_the_picture_has_a_default_place(command, finished_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command("gates", finished_run, "I")[0] == 0
    assert (tmp_path / "gates.png").exists()


def test_a_long_text_is_read_whole_and_its_end_shown(command, finished_run, tmp_path):
    text = "I grew up in France . " * 1667
    status, out, _ = command("gates", finished_run, text, "--output", tmp_path / "x.png")
    assert status == 0 and "60 words, the last of 10,003" in out
    assert imread(tmp_path / "x.png").shape[1] < 4000
    command("gates", finished_run, text, "--output", tmp_path / "x.html")
    shown = read_page((tmp_path / "x.html").read_text())[1]["trace"]
    assert len(shown["words"]) == 120 and shown["words_before"] == 10003 - 120
    best = LanguageModel.from_pretrained(finished_run).predict_next(text, 1)[0]
    assert shown["words"][-1]["predictions"][0]["probability"] == pytest.approx(
        best.probability, abs=1e-3
    )


def test_swap_finds_units(command, finished_run, tmp_path):
    out = command(
        "gates", finished_run, TEXT, "--swap", "France", "Paris", "--output", tmp_path / "x.json"
    )[1]
    told = json.loads((tmp_path / "x.json").read_text())
    model = LanguageModel.from_pretrained(finished_run)
    expected = find_carriers(model.trace(TEXT), model.trace(TEXT.replace("France", "Paris")))
    assert [(c["layer"], c["unit"], c["words"]) for c in told["carriers"]] == [
        (c.layer, c.unit, c.words) for c in expected
    ]
    assert told["carried"] == "units that tell France from Paris" and out.count("unit ") == min(
        10, len(expected)
    )


def test_select_and_match(command, latch, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    latch.save_pretrained("latch")
    (tmp_path / "text.txt").write_text("She has a cat .\nShe has a home in France , and a cat .\n")
    before = set(tmp_path.iterdir())
    status, out, err = command("gates", "latch", TEXT, "--select", "5:11", "--match", "text.txt")
    assert (status, err) == (0, "") and out.splitlines() == [
        "on throughout “France . She has a cat in”, off around it, in layer 0: unit 3",
        "  line 2: has a home in [France , and a cat .]",
    ]
    (tmp_path / "text.txt").write_text("She has a cat .\n")
    assert (
        "text.txt: nowhere together"
        in command("gates", "latch", TEXT, "--select", "5:11", "--match", "text.txt")[1]
    )
    assert "no unit" in command("gates", "latch", TEXT, "--select", "5:10")[1]
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "text, options, said",
    [
        ("", [], "empty"),
        (" \n ", [], "empty"),
        (TEXT, ["--target", "Atlantis"], "'Atlantis' is not among"),
        (TEXT, ["--target", "in Paris"], "2 words"),
        (TEXT, ["--output", "x.pdf"], "x.pdf"),
        (TEXT, ["--output", "x"], ".png, .html or .json"),
        (TEXT, ["--output", "absent/x.png"], "absent"),
        (TEXT, ["--layer", "1"], "between 0 and 0"),
        (TEXT, ["--unit", "8"], "between 0 and 7"),
        (TEXT, ["--unit", "-1"], "found -1"),
        (TEXT, ["--swap", "Italy", "Paris"], "'Italy'"),
        (TEXT, ["--swap", "France", "Atlantis"], "Atlantis"),
        (TEXT, ["--swap", "France", "Paris Paris"], "equally long"),
        (TEXT, ["--select", "5"], "such as 5:7"),
        (TEXT, ["--select", "6:5"], "such as 5:7"),
        (TEXT, ["--select", "5:12"], "within 1:11"),
        (TEXT, ["--match", "text.txt"], "--select"),
        (TEXT, ["--select", "1:2", "--match", "absent.txt"], "absent.txt"),
        (TEXT, ["--select", "1:2", "--threshold", "nan"], "--threshold"),
        ("\udcff", [], "UTF-8"),
    ],
    ids=str,
)
def test_mistakes(refused, finished_run, tmp_path, monkeypatch, text, options, said):
    monkeypatch.chdir(tmp_path)
    assert said in refused("gates", finished_run, text, *options)
    assert list(tmp_path.iterdir()) == []
