"""Laws of windows: the docstring's alphabet; each token a target once; resuming yields the rest."""

import string

import numpy as np
import pytest
import torch

from lstm_lm.corpus.windows import NO_TARGET, Streams, iterate_spans

EOS = 1


def test_the_alphabet_of_the_docstring():
    letters = np.array([ord(letter) for letter in string.ascii_lowercase])
    streams = Streams(letters, batch_size=4, eos_id=ord("^"))
    inputs, targets = streams.window(0, streams.length)

    def rows(ids):
        return ["".join("." if i == NO_TARGET else chr(i) for i in row) for row in ids.T.tolist()]

    assert rows(targets) == ["abcdefg", "hijklmn", "opqrst.", "uvwxyz."]
    assert [row[:6] for row in rows(inputs)] == ["^abcde", "ghijkl", "nopqrs", "tuvwxy"]
    assert torch.equal(streams.window(0, 3)[1], targets[:3])


@pytest.mark.parametrize(
    "count, batch_size, length",
    [(1, 1, 5), (1, 4, 5), (7, 3, 2), (100, 7, 9), (64, 8, 8), (23, 30, 35)],
)
def test_every_token_is_a_target_once_and_follows_its_input(count, batch_size, length):
    tokens = np.random.default_rng(0).permutation(count) + 2
    before = dict(zip(tokens, [EOS, *tokens[:-1]], strict=True))
    streams, seen = Streams(tokens, batch_size, EOS), []
    for start, stop in iterate_spans(streams.length, length):
        inputs, targets = streams.window(start, stop)
        assert inputs.shape == targets.shape == (stop - start, batch_size)
        for i, t in zip(inputs.flatten().tolist(), targets.flatten().tolist(), strict=True):
            if t != NO_TARGET:
                assert i == before[t]
                seen.append(t)
    assert sorted(seen) == sorted(tokens.tolist())


@pytest.mark.parametrize(
    "text, batch_size, pieces",
    [
        ("ab.cd.ef.gh.", 2, ["ab.cd.", "ef.gh."]),
        ("abcd.e.f.g..", 3, ["abcd.", "e.f.", "g.."]),
        (20 * "a" + ".", 4, None),
        (".abcdefghijkl..", 4, [".abcdefghijkl.", "."]),
        ("abc.def.gh", 9, ["abc.", "def.", "gh"]),
        ("", 4, []),
    ],
)
def test_streams_of_whole_lines_are_cut_where_lines_end(monkeypatch, text, batch_size, pieces):
    """Dots end lines; the last line may lack its own."""
    monkeypatch.setattr("lstm_lm.corpus.windows.LOOK_AHEAD", 3)
    tokens, pieces = [ord(letter) for letter in text], [text] if pieces is None else pieces
    streams = Streams(tokens, batch_size, ord("."), whole_lines=True)
    assert [
        text[start:end] for start, end in zip(streams.starts, streams.ends, strict=True)
    ] == pieces
    assert streams.length == max(map(len, pieces), default=0)
    if pieces:
        inputs, targets = streams.window(0, streams.length)
        assert (inputs[0] == ord(".")).all() and (targets != NO_TARGET).sum(0).tolist() == list(
            map(len, pieces)
        )


@pytest.mark.parametrize("variation", [0.0, 5.0])
def test_spans_cover_everything_and_resume_from_any_of_their_starts(variation):
    spans = list(iterate_spans(1000, 35, variation, seed=3, epoch=2))
    assert [a for a, _ in spans] == [0, *(b for _, b in spans[:-1])] and spans[-1][1] == 1000
    for k, (start, _) in enumerate(spans):
        assert (
            list(iterate_spans(1000, 35, variation, seed=3, epoch=2, position=start)) == spans[k:]
        )
    lengths = {b - a for a, b in spans[:-1]}
    assert lengths == {35} if not variation else len(lengths) > 5
    other = list(iterate_spans(1000, 35, variation, seed=3, epoch=3))
    assert (other == spans) == (variation == 0.0)


def test_one_varied_window_in_twenty_is_half_as_long():
    spans = list(iterate_spans(2_000_000, 100, 2.0, seed=1))
    lengths = np.array([stop - start for start, stop in spans[:-1]])
    short = lengths < 75
    assert short.mean() == pytest.approx(0.05, abs=0.005)  # 20,000 windows: 3 standard deviations
    assert lengths[short].mean() == pytest.approx(50, abs=0.3)
    assert lengths[~short].mean() == pytest.approx(100, abs=0.1)
    assert lengths[short].std() == pytest.approx(2, abs=0.2)
    assert lengths[~short].std() == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("bptt_length, shortest", [(35, 5), (5, 5), (3, 3), (1, 1)])
def test_varied_windows_are_neither_tiny_nor_huge(bptt_length, shortest):
    spans = list(iterate_spans(100_000, bptt_length, 1000.0))
    lengths = {stop - start for start, stop in spans[:-1]}
    assert (min(lengths), max(lengths)) == (shortest, 2 * bptt_length)


def test_varied_windows_are_these():
    """The draws of a run that was started before must not change: it could not resume."""
    spans = list(iterate_spans(150, 20, 3.0, seed=3, epoch=2))
    assert [stop for _, stop in spans] == [23, 47, 59, 76, 99, 120, 134, 150]
    first = list(iterate_spans(150, 20, 3.0))
    assert first == list(iterate_spans(150, 20, 3.0, seed=0, epoch=0, position=0)) != spans


def test_no_tokens_no_windows():
    assert list(iterate_spans(Streams([], 4, EOS).length, 35)) == []
