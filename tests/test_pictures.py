"""Pictures: written as a whole, with words shown literally."""

import warnings

import pytest
from matplotlib.figure import Figure

from lstm_lm.errors import DiskError
from lstm_lm.files.pictures import save_figure, words_as_they_are


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
