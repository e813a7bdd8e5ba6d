"""Pictures: written as a whole, with words shown literally."""

import itertools
import warnings

import pytest
import torch
from fontTools.ttLib.tables._g_l_y_f import Glyph
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from lstm_lm.errors import DiskError
from lstm_lm.files.pictures import save_figure, text_width, use_fonts_for, words_as_they_are
from lstm_lm.inspection import heat_map, memory_figure
from lstm_lm.probes import figure as probe_figure


def test_a_figure_is_saved_as_a_png(tmp_path):
    path = tmp_path / "figure.png"
    path.write_bytes(b"old")
    save_figure(Figure(), path)
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert [file.name for file in tmp_path.iterdir()] == ["figure.png"]


def test_a_figure_that_cannot_be_drawn_leaves_the_old_file(tmp_path):
    path = tmp_path / "figure.png"
    path.write_bytes(b"old")
    figure = Figure()
    figure.suptitle("$an unfinished formula")
    figure.text(0, 0, "$\\nothing$")
    with pytest.raises(ValueError):
        save_figure(figure, path)
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["figure.png"]


def test_a_missing_directory_is_one_clear_error(tmp_path):
    with pytest.raises(DiskError, match="figure.png"):
        save_figure(Figure(), tmp_path / "missing" / "figure.png")


def test_words_are_shown_literally(tmp_path):
    with warnings.catch_warnings(), words_as_they_are():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")
        figure = Figure()
        figure.text(0, 0, "$\\nothing$ \u0f00")
        save_figure(figure, tmp_path / "figure.png")
    assert not figure.texts[0].get_parse_math()


# --- fonts ----------------------------------------------------------------------------------------

THAI, HAN = "\u0e01", "\u6771"


@pytest.fixture
def fonts(tmp_path, monkeypatch):
    """Lets matplotlib know DejaVu and what `add` makes: a font with the given characters."""
    from fontTools.fontBuilder import FontBuilder
    from matplotlib import font_manager

    manager = font_manager.fontManager
    known = [entry for entry in manager.ttflist if entry.name.startswith(("DejaVu", "Last"))]
    monkeypatch.setattr(manager, "ttflist", known)

    def add(name, characters):
        builder = FontBuilder(1000)
        glyphs = [".notdef", *(f"u{ord(character):04X}" for character in characters)]
        builder.setupGlyphOrder(glyphs)
        builder.setupCharacterMap(dict(zip(map(ord, characters), glyphs[1:], strict=True)))
        builder.setupGlyf({glyph: Glyph() for glyph in glyphs})
        builder.setupHorizontalMetrics(dict.fromkeys(glyphs, (600, 0)))
        builder.setupHorizontalHeader(ascent=800, descent=-200)
        builder.setupNameTable({"familyName": name, "styleName": "Regular"})
        builder.setupOS2(sTypoAscender=800)
        builder.setupPost()
        path = tmp_path / f"{name}.ttf"
        builder.save(path)
        manager.addfont(path)
        return path

    return add


def families():
    from matplotlib import rcParams

    return rcParams["font.family"]


def test_a_font_that_has_the_characters_is_found(fonts):
    fonts("Han Sans", HAN)
    fonts("Thai Sans", THAI)
    fonts("Spare", THAI + HAN)
    before = families()
    with words_as_they_are():
        assert use_fonts_for(["words", f"a{THAI}b", HAN]) == ""
        assert families() == [*before, "Han Sans", "Thai Sans"]
        assert text_width(THAI * 10, 10) == pytest.approx(10 * 0.6 * 10 / 72, rel=0.05)
    assert families() == before


def test_the_usual_font_is_used_alone_if_it_has_everything(fonts):
    fonts("Spare", "ab" + THAI)
    with words_as_they_are():
        before = families()
        assert use_fonts_for(["Café “x” ⏎…", "a\u200db\ufe0f\n\t\u00a0"]) == ""
        assert families() == before


def test_characters_without_a_font_are_returned_once(fonts):
    fonts("Thai Sans", THAI)
    with words_as_they_are():
        assert use_fonts_for([f"{HAN}a{THAI}", f"{HAN}\u0905"]) == f"{HAN}\u0905"
        assert families()[-1] == "Thai Sans"


def test_a_font_that_cannot_be_read_is_passed_over(fonts):
    fonts("A Sans", THAI).write_bytes(b"damaged")
    fonts("B Sans", THAI)
    with words_as_they_are():
        assert use_fonts_for([THAI]) == ""
        assert families()[-1] == "B Sans"


# --- names at the columns -------------------------------------------------------------------------


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were drawn, in their final layout, instead of files."""
    figures = []

    def keep(figure, path):
        FigureCanvasAgg(figure).draw()
        figures.append(figure)

    monkeypatch.setattr(heat_map, "save_figure", keep)
    monkeypatch.setattr(memory_figure, "save_figure", keep)
    return figures


LONG = "internationalization-of-everything"
TEXTS = ["I", "gypsy gypsy", "I grew up", "I grew up in France .", " ".join(["gypsy"] * 60), LONG]


def extents(figure, artists):
    renderer = figure.canvas.get_renderer()
    return [artist.get_window_extent(renderer) for artist in artists if artist.get_text()]


def all_texts(figure):
    return [text for text in figure.findobj(Text) if text.get_visible() and text.get_text()]


def is_inside(figure, box):
    return (
        figure.bbox.x0 <= box.x0
        and box.x1 <= figure.bbox.x1 + 1
        and (figure.bbox.y0 - 1 <= box.y0 and box.y1 <= figure.bbox.y1)
    )


@pytest.mark.parametrize(
    "cell",
    [
        "lstm",
        *(
            pytest.param(cell, marks=pytest.mark.slow)
            for cell in ("gru", "elman", "coupled_lstm", "min_lstm")
        ),
    ],
)
@pytest.mark.parametrize("text", TEXTS, ids=lambda text: f"{len(text.split())} words")
def test_every_name_is_whole(make_model, drawn, tmp_path, cell, text):
    model = make_model(cell=cell)
    trace = model.trace(text, last=60)
    assert heat_map.draw_heat_map(model, trace, 1, tmp_path / "a.png", unit=2) == ""
    assert memory_figure.draw_memory(model, trace, 1, 2, tmp_path / "b.png") == ""
    for figure in drawn:
        for shown in all_texts(figure):
            box = shown.get_window_extent(figure.canvas.get_renderer())
            assert is_inside(figure, box), (shown.get_text(), box, figure.bbox)
    figure = drawn[0]
    panels = [*figure.axes, *(child for axes in figure.axes for child in axes.child_axes)]
    labels = [axes.get_xticklabels() for axes in panels if axes.get_xticklabels()]
    assert len(labels) == 2  # the words above, and the next words below
    for boxes in (extents(figure, names) for names in labels):
        assert len(boxes) == len(trace.words)
        for box in boxes:
            covered = [axes for axes in panels if axes.bbox.y0 < box.y1 and box.y0 < axes.bbox.y1]
            assert not covered, (box, [axes.bbox for axes in covered])
        if not labels[0][0].get_rotation():
            assert all(one.x1 < two.x0 for one, two in itertools.pairwise(boxes))


@pytest.mark.parametrize("panels", [1, 4])
def test_a_comparison_of_nine_models_tells_them_apart(drawn, monkeypatch, tmp_path, panels):
    """Each line has its own look, and the legend is whole."""
    monkeypatch.setattr(probe_figure, "save_figure", lambda figure, path: drawn.append(figure))
    row = {"distance": 5, "accuracy": 0.7, "accuracy_interval": (0.6, 0.8)}
    report = {"items": 9, "distances": [row], "accuracy_chance": 0.5}
    models = [f"peephole LSTM {k}" for k in range(8)] + ["5-gram"]
    reports = {model: {f"suite {k}": report for k in range(panels)} for model in models}
    probe_figure.draw_comparison(tmp_path / "a.png", reports, "accuracy", "5-gram", "a title")
    (figure,) = drawn
    FigureCanvasAgg(figure).draw()
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [*models, "chance", "95 % interval"]
    assert is_inside(figure, legend.get_window_extent())
    lines = [line for line in figure.axes[0].lines if line.get_label() in models]
    assert len({line.get_color() for line in lines}) == len(models)
    assert len({line.get_marker() for line in lines}) == len(models)
    assert max(line.get_markersize() for line in lines) <= 9


@pytest.mark.parametrize("length", [5, 8, 11, 34])
def test_swapped_words_do_not_leave_the_picture(make_model, drawn, tmp_path, length):
    model, word = make_model(), LONG[:length]
    traces = [model.trace(f"I grew up in {swapped}") for swapped in (word, word[::-1])]
    memory_figure.draw_memory(model, traces[0], 1, 2, tmp_path / "b.png", other=traces[1])
    (figure,) = drawn
    for shown in all_texts(figure):
        box = shown.get_window_extent(figure.canvas.get_renderer())
        assert is_inside(figure, box), (shown.get_text(), box, figure.bbox)
    assert sum(word in shown.get_text() for shown in all_texts(figure)) >= 2


def test_values_near_zero_are_not_written_over_it(latch, drawn, tmp_path):
    trace = latch.trace("I grew up in France")
    held = trace.layers[0].c
    held[1:, 3] = torch.linspace(-0.02, 1, len(held) - 1)
    memory_figure.draw_memory(latch, trace, 0, 3, tmp_path / "b.png")
    held[1:, 3] = torch.linspace(-0.2, 1, len(held) - 1)
    memory_figure.draw_memory(latch, trace, 0, 3, tmp_path / "b.png")
    ticks = [[label.get_text() for label in figure.axes[0].get_yticklabels()] for figure in drawn]
    assert ticks == [["0", "1"], ["-0.2", "0", "1"]]


def test_missing_letters_are_said(command, finished_run, fonts, tmp_path):
    for style in ("heat", "line"):
        words = ("gates", finished_run, f"I grew {HAN}", "--style", style, "--output")
        status, _, err = command(*words, tmp_path / "g.png")
        assert status == 0 and err.count("\n") == 1
        assert err.startswith(f"note: no font of this system has {HAN} (")
        assert str(tmp_path / "g.html") in err
    fonts("Han Sans", HAN)
    assert command(*words, tmp_path / "g.png")[2] == ""
