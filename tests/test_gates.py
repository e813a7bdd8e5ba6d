"""The command `gates`: its pictures, page and numbers, and one line for every mistake."""

import io
import json
import math
import re
import sys
from html.parser import HTMLParser

import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.image import imread

from lstm_lm import LanguageModel
from lstm_lm.cells import Cell, GateLayer, LSTMState, find_cell, register_cell
from lstm_lm.config.settings import CELLS
from lstm_lm.inspection import memory_figure
from lstm_lm.inspection.appearance import (
    BLUE,
    GATE_COLOURS,
    ORANGE,
    OTHER_COLOURS,
    gate_styles,
    memory_title,
    shown_word,
    value_range,
)
from lstm_lm.inspection.description import describe_trace
from lstm_lm.inspection.heat_map import draw_heat_map
from lstm_lm.inspection.memory_figure import draw_memory
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


@pytest.mark.parametrize("cell", CELLS)
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
    "cell, text",
    [
        ("lstm", "Xyzzy " * 29 + "w" * 80),
        ("gru", TEXT),
        ("elman", "I"),
        ("slstm", TEXT),
        ("min_lstm", TEXT),
        ("mogrifier_lstm", TEXT),
    ],
)
def test_every_cell_is_drawn(make_model, tmp_path, cell, text):
    model = make_model(cell=cell, hidden_size=30)
    trace = model.trace(text)
    draw_heat_map(model, trace, 0, tmp_path / "a.png")
    draw_heat_map(model, trace, 0, tmp_path / "b.png", unit=2)
    draw_memory(model, trace, 0, 2, tmp_path / "c.png")
    plain, followed = imread(tmp_path / "a.png"), imread(tmp_path / "b.png")
    assert plain[..., :3].std() > 0.05 and followed.shape[0] > plain.shape[0]
    assert imread(tmp_path / "c.png")[..., :3].std() > 0.01
    assert imread(tmp_path / "c.png").shape[1] <= 3000


class LeakyCell(Cell):
    """A cell of a stranger: a gate with a new name, and one whose values are above 1."""

    title = "Leaky"
    gate_meanings = {"leak_gate": "1: keep, 0: leak", "boost": "how much is written"}
    keep_gate = "leak_gate"
    state_type = LSTMState

    def __init__(self, input_size, hidden_size, memory_words=None):
        super().__init__(input_size, hidden_size)
        self.leak_gate = GateLayer(input_size, hidden_size)
        self.boost = GateLayer(input_size, hidden_size)

    def forward(self, x, state):
        gates = self.activations(x, state)
        c = gates["leak_gate"] * state.c + gates["boost"]
        return LSTMState(torch.tanh(c), c)

    def activations(self, x, state):
        return {
            "leak_gate": torch.sigmoid(self.leak_gate(x, state.h)),
            "boost": 3 + torch.tanh(self.boost(x, state.h)),
        }


@pytest.fixture
def leaky(monkeypatch):
    names = dict(CELLS)
    register_cell("leaky", LeakyCell)
    yield "leaky"
    CELLS.clear()
    CELLS.update(names)


def test_a_new_cell_is_shown_by_its_own_description(leaky, make_model, tmp_path):
    model = make_model(cell=leaky)
    trace = model.trace(TEXT)
    draw_heat_map(model, trace, 1, tmp_path / "a.png")
    draw_memory(model, trace, 1, 2, tmp_path / "b.png")
    assert imread(tmp_path / "a.png")[..., :3].std() > 0.05
    assert imread(tmp_path / "b.png")[..., :3].std() > 0.01
    _, data = read_page(render_page(describe_trace(model, trace), layer=1))
    assert data["memory"] == "cell state"
    assert data["gates"]["leak_gate"] == {
        "title": "leak gate",
        "meaning": "1: keep, 0: leak",
        "colour": OTHER_COLOURS[0],
        "low": 0,
        "high": 1,
    }
    boost = data["gates"]["boost"]
    highest = max(float(layer.gates["boost"].max()) for layer in trace.layers)
    assert boost["colour"] == OTHER_COLOURS[1] and boost["low"] == 0
    assert boost["high"] == pytest.approx(highest, abs=1e-5) and highest > 2


@pytest.mark.parametrize("cell, memory", [("lstm", "cell state"), ("gru", "hidden state")])
def test_gates_are_named_by_their_cell(cell, memory):
    styles = gate_styles(cell)
    meanings = {name: style.meaning for name, style in styles.items()}
    assert meanings == find_cell(cell).gate_meanings and memory_title(cell) == memory
    assert {name: style.colour for name, style in styles.items()} == {
        name: GATE_COLOURS[name] for name in meanings
    }
    assert styles["candidate"].title == "candidate"


def test_scales_and_words():
    assert value_range("forget_gate", torch.tensor([0.1, 0.9])) == (0, 1)
    assert value_range("candidate", torch.tensor([0.1, 0.9])) == (-1, 1)
    assert value_range("new_gate", torch.tensor([-2.0, 0.5])) == (-2, 2)
    assert shown_word("<eos>") == "⏎"
    assert (shown_word("w" * 14), shown_word("w" * 15)) == ("w" * 14, "w" * 13 + "…")


@pytest.fixture
def drawn(monkeypatch):
    """Draws the memory of one unit and returns the texts, and the lines by colour."""

    def draw(*args, **options):
        figures = []
        monkeypatch.setattr(memory_figure, "save_figure", lambda figure, _: figures.append(figure))
        draw_memory(*args, None, **options)
        (axes,) = figures[0].axes
        texts = {text.get_text(): text for text in [*axes.texts, *figures[0].texts]}
        lines = {to_hex(line.get_color()): line for line in axes.lines}
        return texts, lines, axes

    return draw


def test_two_texts_fork_at_the_swapped_word(latch, drawn):
    trace, other = latch.trace(TEXT), latch.trace(TEXT.replace("France", "Paris"))
    texts, lines, axes = drawn(latch, trace, 0, 3, other=other)
    held, without = (read.layers[0].c[1:, 3].tolist() for read in (trace, other))
    fork = trace.words.index("France")
    grey = list(lines[memory_figure.GREY].get_ydata())
    assert grey == held[:fork] == without[:fork] and abs(grey[-1]) < 1e-6
    assert list(lines[BLUE].get_ydata()) == held[fork - 1 :] and held[fork] > 0.9
    assert list(lines[ORANGE].get_ydata()) == without[fork - 1 :]
    assert lines[BLUE].get_xdata()[-1] == axes.get_xlim()[1] == lines[ORANGE].get_xdata()[-1]
    assert lines[BLUE].get_xdata()[0] == lines[memory_figure.GREY].get_xdata()[-1]
    assert set(texts) >= set(TEXT.replace(".", " .").split()) and "⏎" not in texts
    assert (texts["France"].get_color(), texts["Paris"].get_color()) == (BLUE, ORANGE)
    assert texts["France"].get_position()[1] > texts["Paris"].get_position()[1]
    assert "One memory cell keeps “France” to the end of the text" in texts
    assert "unit 3 (LSTM)" in " ".join(texts)


def test_next_words_are_at_the_ends_of_the_lines(latch, drawn):
    swapped = TEXT.replace("France", "Paris")
    read = [latch.trace(text, "cat") for text in (TEXT, swapped)]
    _, _, axes = drawn(latch, read[0], 0, 3, other=read[1], target="cat")
    ends = {text.get_color(): text.get_text() for text in axes.texts if "%" in text.get_text()}
    likely = [math.exp(trace.target_log_probability) for trace in read]
    assert ends == {BLUE: f"cat {likely[0]:.2%}", ORANGE: f"cat {likely[1]:.2%}"}
    with torch.no_grad():
        latch.network.output.bias[latch.vocabulary.id("cat")] = 20
    read = [latch.trace(text) for text in (TEXT, swapped)]
    texts, _, axes = drawn(latch, read[0], 0, 3, other=read[1])
    assert "One memory cell keeps “France” until the model says “cat”" in texts
    assert [text.get_text() for text in axes.texts if "%" in text.get_text()] == ["cat 100.00%"] * 2


def test_ends_that_are_near_do_not_overlap(latch, drawn):
    other = latch.trace(TEXT.replace("France", "Paris"))
    texts, _, axes = drawn(latch, latch.trace(TEXT), 0, 2, other=other)
    assert "One memory cell after “France” and after “Paris”" in texts
    low, high = axes.get_ylim()
    ends = [text.get_position()[1] for text in axes.texts if text.get_text().endswith("%")]
    assert abs(ends[0] - ends[1]) == pytest.approx(0.13 * (high - low))


def test_a_long_text_is_written_small(latch, drawn):
    texts, lines, axes = drawn(latch, latch.trace("I grew up in France. " * 9), 0, 3)
    assert set(lines) >= {BLUE} and ORANGE not in lines and memory_figure.GREY not in lines
    assert 7 <= texts["grew"].get_fontsize() < memory_figure.WORD_SIZE
    assert axes.get_xlim()[1] == pytest.approx(memory_figure.MAX_TEXT_WIDTH)
    texts, _, axes = drawn(latch, latch.trace("I grew up in France."), 0, 3)
    assert texts["grew"].get_fontsize() == memory_figure.WORD_SIZE
    assert axes.get_xlim()[1] <= memory_figure.MIN_TEXT_WIDTH
    assert "One memory cell while the model reads" in texts


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
    for cell in CELLS:
        model = make_model(cell=cell)
        html = render_page(describe_trace(model, model.trace(TEXT)), layer=0)
        _, data = read_page(html)
        assert set(data["trace"]["layers"][0]["gates"]) == set(data["gates"])
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


@pytest.mark.parametrize(
    "options, name",
    [
        ([], "gates.png"),
        (["--swap", "France", "Paris"], "memory.png"),
        (["--swap", "France", "Paris", "--style", "heat"], "gates.png"),
        (["--style", "line"], "memory.png"),
    ],
    ids=str,
)
def test_the_picture_has_a_default_name(
    command, finished_run, tmp_path, monkeypatch, options, name
):
    monkeypatch.chdir(tmp_path)
    assert command("gates", finished_run, TEXT, *options)[0] == 0
    assert [path.name for path in tmp_path.glob("*.png")] == [name]
    height = imread(tmp_path / name).shape[0]
    assert (height == memory_figure.DPI * memory_figure.HEIGHT) == (name == "memory.png")


def test_json_goes_to_standard_output_and_writes_nothing(
    command, finished_run, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    before = list(tmp_path.iterdir())
    status, out, err = command("gates", finished_run, TEXT, "--json")
    assert (status, err, list(tmp_path.iterdir())) == (0, "", before)
    printed = json.loads(out)
    assert "selection" not in printed
    command("gates", finished_run, TEXT, "--output", "x.json")
    assert json.loads((tmp_path / "x.json").read_text()) == printed
    out = command("gates", finished_run, TEXT, "--json", "--output", "y.json")[1]
    assert json.loads(out) == printed == json.loads((tmp_path / "y.json").read_text())


def test_selected_units_are_in_the_json(command, latch, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    latch.save_pretrained("latch")
    (tmp_path / "text.txt").write_text("She has a home in France , and a cat .\n")
    options = ["--select", "5:11", "--json"]
    selection = json.loads(command("gates", "latch", TEXT, *options)[1])["selection"]
    words = "France . She has a cat in".split()
    expected = {"layer": 0, "first": 5, "last": 11, "words": words, "units": [3]}
    assert selection == expected | {"matches": None}
    options += ["--match", "text.txt"]
    (match,) = json.loads(command("gates", "latch", TEXT, *options)[1])["selection"]["matches"]
    assert (match["line"], match["first"], match["last"], match["units_on"]) == (1, 5, 10, 1)


def test_a_text_is_an_argument_a_file_or_standard_input(
    command, finished_run, tmp_path, monkeypatch
):
    text = "I grew up in France.\nShe has a cat in"
    (tmp_path / "text.txt").write_text(text + "\n")
    printed = command("gates", finished_run, text, "--json")[1]
    assert json.loads(printed)["words"][7]["word"] == "<eos>"
    assert command("gates", finished_run, "--file", tmp_path / "text.txt", "--json")[1] == printed
    stdin = io.TextIOWrapper(io.BytesIO(text.encode() + b"\n"))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert command("gates", finished_run, "--json")[1] == printed


def test_the_device_is_checked(command, finished_run):
    assert command("gates", finished_run, TEXT, "--device", "cpu", "--json")[0] == 0
    if not torch.cuda.is_available():
        status, _, err = command("gates", finished_run, TEXT, "--device", "cuda")
        assert status == 2 and "--device" in err


@pytest.mark.slow
def test_a_long_text_is_read_whole_and_its_end_shown(command, finished_run, tmp_path):
    text = "I grew up in France . " * 1667
    status, out, _ = command("gates", finished_run, text, "--output", tmp_path / "x.png")
    assert status == 0 and "60 words, the last of 10,003" in out
    assert imread(tmp_path / "x.png").shape[1] < 4000
    command("gates", finished_run, text, "--output", tmp_path / "x.html")
    shown = read_page((tmp_path / "x.html").read_text())[1]["trace"]
    assert len(shown["words"]) == 120 and shown["words_before"] == 10003 - 120
    printed = json.loads(command("gates", finished_run, text, "--json")[1])
    assert len(printed["words"]) == 1000 and printed["words_before"] == 9003
    options = ["--json", "--output", tmp_path / "y.png"]
    printed = json.loads(command("gates", finished_run, text, *options)[1])
    assert len(printed["words"]) == 60 and imread(tmp_path / "y.png").shape[1] < 4000
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
        "on at “France . She has a cat in”, off before and after, in layer 0: unit 3",
        "  line 2: has a home in [France , and a cat .]",
    ]
    (tmp_path / "text.txt").write_text("She has a cat .\n")
    assert (
        "text.txt: they are on together nowhere"
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
        (TEXT, ["--layer", "1"], "from 0 to 0"),
        (TEXT, ["--unit", "8"], "from 0 to 7"),
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
        (TEXT, ["--threshold", "0.5"], "--select"),
        (TEXT, ["--select", "0:5"], "such as 5:7"),
        (TEXT, ["--style", "line", "--output", "x.html"], "--style"),
        (TEXT, ["--style", "line", "--json"], "--style"),
        (TEXT, ["--file", "text.txt"], "--file"),
        (TEXT + " I grew" * 40, ["--swap", "France", "Paris"], "last 60 words"),
        ("\udcff", [], "UTF-8"),
    ],
    ids=str,
)
def test_mistakes(refused, finished_run, tmp_path, monkeypatch, text, options, said):
    monkeypatch.chdir(tmp_path)
    assert said in refused("gates", finished_run, text, *options)
    assert list(tmp_path.iterdir()) == []


# --- fixed gates ----------------------------------------------------------------------------------


def test_a_gate_is_shown_as_it_is_fixed(finished_run, command, tmp_path):
    text, output = "I grew up in France . I speak", tmp_path / "gates.json"
    words = ["gates", finished_run, text, "--fix", "forget_gate=0.75", "--output", output]
    status, out, err = command(*words)
    assert (status, err) == (0, "") and ", with forget_gate=0.75, is " in out
    numbers = json.loads(output.read_text())
    assert numbers["model"].endswith(", with forget_gate=0.75")
    gates = numbers["layers"][0]["gates"]
    assert {value for row in gates["forget_gate"] for value in row} == {0.75}
    assert len({value for row in gates["input_gate"] for value in row}) > 10
    target = LanguageModel.from_pretrained(finished_run).with_fixed_gates({"forget_gate": 0.75})
    expected = target.predict_next(text, 1)[0]
    assert numbers["target"]["word"] == expected.word
    assert numbers["target"]["log_probability"] == pytest.approx(expected.log_probability, abs=1e-5)


def test_a_gate_is_fixed_to_its_mean_over_valid(finished_run, command):
    words = ["gates", finished_run, "I grew up", "--fix", "0.output_gate=mean", "--json"]
    status, out, err = command(*words)
    assert status == 0 and err.startswith("note: mean: of each unit, over the first ")
    rows = json.loads(out)["layers"][0]["gates"]["output_gate"]
    assert rows[0] == rows[1] == rows[2] and len(set(rows[0])) > 1


@pytest.mark.parametrize(
    ("fix", "said"),
    [
        ("forget_gate", "must be GATE=VALUE"),
        ("no_gate=1", "choose forget_gate"),
        ("9.forget_gate=1", "layer 9"),
    ],
)
def test_a_gate_that_cannot_be_fixed(finished_run, refused, fix, said):
    assert said in refused("gates", finished_run, "I grew up", "--fix", fix, "--json")


def test_pictures_of_fixed_gates(finished_run, command, tmp_path):
    for name, more in (("a.png", []), ("b.png", ["--style", "line"]), ("c.html", [])):
        words = ["gates", finished_run, "I grew up in France .", "--fix", "forget_gate=1", *more]
        assert command(*words, "--output", tmp_path / name)[0] == 0
    assert "with forget_gate=1" in (tmp_path / "c.html").read_text()
