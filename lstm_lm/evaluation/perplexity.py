"""The perplexity of a whole corpus, exactly: no token trimmed, none counted twice.

The state is carried from line to line, so the corpus is one stream (batch size 1); or it is reset before every line,
and then there are several streams of lines, scored side by side. `lstm_lm.model.scoring.Perplexity` holds the
definition.

Shapes: T time, B batch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import numpy as np
import torch

from lstm_lm.corpus.windows import Streams, iterate_spans
from lstm_lm.errors import CorpusError
from lstm_lm.model.language_model import LanguageModel, State
from lstm_lm.model.scoring import Perplexity

SIDE_BY_SIDE = 8        # streams of lines for each worker, where each line is read by itself
BLOCK = 2**18           # tokens looked at together when they are counted


def measure_perplexity(model: LanguageModel, tokens: Sequence[int], *, reset_per_line: bool = False,
                       window_length: int = 256, on_progress: Callable[[int], None] = lambda done: None) -> Perplexity:
    """Scores encoded text.

    Args:
        model: any; it is put into evaluation mode for the time being.
        tokens: ids with an ``<eos>`` at every line's end; sliceable.
        reset_per_line: start every line from a zero state.
        window_length: tokens read at a time; the result does not depend on it.
        on_progress: called with the number of tokens just scored; whatever it raises ends the scoring.

    Raises:
        CorpusError: if there is nothing to score.
    """
    if not len(tokens):
        raise CorpusError("nothing to score: the text has no tokens")
    workers = torch.get_num_threads() if model.device.type == "cpu" else 1
    streams = Streams(tokens, SIDE_BY_SIDE * workers if reset_per_line else 1, model.vocabulary.eos_id,
                      whole_lines=reset_per_line)
    parts, nll, was_training = streams.divided(workers), 0.0, model.training
    columns = max(1, window_length // len(parts[0].ends))
    model.eval()
    try:
        with closing(_iterate_nll(model, parts, columns, reset_per_line, workers)) as chunks:
            for chunk in chunks:
                nll += float(chunk.sum())
                on_progress(len(chunk))
    finally:
        model.train(was_training)
    return Perplexity(nll, len(tokens), _count(tokens, model.vocabulary.unk_id),
                      "reset" if reset_per_line else "carried")


def _iterate_nll(model: LanguageModel, parts: list[Streams], window_length: int, reset_lines: bool, workers: int
                 ) -> Iterator[torch.Tensor]:
    """Yields float64 nll of a window's tokens: some cores read ahead, while others look at the vocabulary.

    Word after word, the recurrence has little work for more than one core, and less of it than the output layer; so
    each works with one thread, and whichever is free takes the next window that is to be read or scored.
    """
    def iterate_windows(streams: Streams) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for start, stop in iterate_spans(streams.length, window_length):
            yield tuple(ids.to(model.device) for ids in streams.window(start, stop))        # (T, B) each

    @torch.inference_mode()
    def read(inputs: torch.Tensor, state: State | None) -> tuple[torch.Tensor, State]:
        return model.hidden(inputs, state, reset_lines=float(reset_lines))

    @torch.inference_mode()
    def score(hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        there = targets >= 0
        return model.output.token_nll(hidden[there], targets[there]).cpu().double()

    threads, reading, scoring = torch.get_num_threads(), deque(), deque()
    try:
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            def read_next(windows: Iterator[tuple[torch.Tensor, torch.Tensor]], state: State | None) -> None:
                if window := next(windows, None):
                    reading.append((windows, window[1], pool.submit(read, window[0], state)))

            for streams in parts:
                read_next(iterate_windows(streams), None)
            while reading:
                windows, targets, result = reading.popleft()
                hidden, state = result.result()
                read_next(windows, state)
                scoring.append(pool.submit(score, hidden, targets))
                if len(scoring) > workers:
                    yield scoring.popleft().result()
            yield from (window.result() for window in scoring)
    finally:
        torch.set_num_threads(threads)      # new threads, too, begin with so many again


def _count(tokens: Sequence[int], wanted: int) -> int:
    return sum(int((np.asarray(tokens[start:start + BLOCK]) == wanted).sum()) for start in range(0, len(tokens), BLOCK))
