"""The perplexity of a whole corpus, exactly: no token trimmed, none counted twice.

The state is carried from line to line, so the corpus is one stream (batch size 1); or it is reset before every line,
and then lines are independent and scored side by side. `lstm_lm.model.scoring.Perplexity` holds the definition.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import chain, pairwise

import numpy as np
import torch

from lstm_lm.corpus.windows import NO_TARGET
from lstm_lm.errors import CorpusError
from lstm_lm.model.language_model import LanguageModel, State
from lstm_lm.model.scoring import Perplexity, iterate_windows

TOKENS_SIDE_BY_SIDE = 8192          # padded tokens of one batch of lines
BLOCK = 2**18                       # tokens looked at together when lines are cut and sorted by length


def measure_perplexity(model: LanguageModel, tokens: Sequence[int], *, reset_per_line: bool = False,
                       window_length: int = 256, on_progress: Callable[[int], None] = lambda done: None) -> Perplexity:
    """Scores encoded text.

    Args:
        model: any; it is put into evaluation mode for the time being.
        tokens: ids with an ``<eos>`` at every line's end; sliceable.
        reset_per_line: start every line from a zero state.
        window_length: tokens read at a time when the state is carried; the result does not depend on it.
        on_progress: called with the number of tokens just scored; whatever it raises ends the scoring.

    Raises:
        CorpusError: if there is nothing to score.
    """
    if not len(tokens):
        raise CorpusError("nothing to score: the text has no tokens")
    was_training = model.training
    model.eval()
    try:
        nll = 0.0
        with closing(_iterate_line_nll(model, tokens) if reset_per_line else
                     _iterate_stream_nll(model, tokens, window_length)) as chunks:
            for chunk in chunks:
                nll += float(chunk.sum())
                on_progress(len(chunk))
    finally:
        model.train(was_training)
    return Perplexity(nll, len(tokens), _count(tokens, model.vocabulary.unk_id),
                      "reset" if reset_per_line else "carried")


def _iterate_stream_nll(model: LanguageModel, tokens: Sequence[int], window_length: int) -> Iterator[torch.Tensor]:
    """Yields float64 nll of consecutive tokens: one core reads ahead, while the others look at the vocabulary.

    Word after word, the recurrence has work for one core alone, and less of it than the output layer, which has work
    for many; so each works with one thread, and whichever is free takes the next window that is to be read or scored.
    """
    @torch.inference_mode()
    def read(inputs: torch.Tensor, state: State | None) -> tuple[torch.Tensor, State]:
        return model.hidden(inputs, state)

    @torch.inference_mode()
    def score(hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return model.output.token_nll(hidden.squeeze(1), targets.squeeze(1)).double().cpu()

    threads, reading, scoring = torch.get_num_threads(), None, deque()
    try:
        with ThreadPoolExecutor(threads if model.device.type == "cpu" else 1,
                                initializer=torch.set_num_threads, initargs=(1,)) as workers:
            windows = chain(iterate_windows(model, tokens, window_length), [None])
            for (inputs, targets), following in pairwise(windows):
                reading = reading or workers.submit(read, inputs, None)
                hidden, state = reading.result()
                reading = following and workers.submit(read, following[0], state)
                scoring.append(workers.submit(score, hidden, targets))
                if len(scoring) > threads:
                    yield scoring.popleft().result()
            yield from (window.result() for window in scoring)
    finally:
        torch.set_num_threads(threads)      # new threads, too, begin with so many again


def _iterate_line_nll(model: LanguageModel, tokens: Sequence[int]) -> Iterator[torch.Tensor]:
    """Yields float64 nll of tokens, batch by batch of lines of like length."""
    for lines in _iterate_line_blocks(tokens, model.vocabulary.eos_id):
        lines.sort(key=len)
        while lines:
            rows = max(1, TOKENS_SIDE_BY_SIDE // len(lines[-1]))
            some, lines = lines[-rows:], lines[:-rows]
            targets = np.full((len(some), len(some[-1])), NO_TARGET, dtype=np.int64)
            for row, line in zip(targets, some, strict=True):
                row[:len(line)] = line
            inputs = np.full_like(targets, model.vocabulary.eos_id)
            inputs[:, 1:] = np.maximum(targets[:, :-1], 0)
            state = None
            for start in range(0, targets.shape[1], TOKENS_SIDE_BY_SIDE):       # a novel may come in one line
                window = slice(start, start + TOKENS_SIDE_BY_SIDE)
                wanted = torch.from_numpy(targets[:, window].T.copy()).to(model.device)
                with torch.inference_mode():
                    nll, state = model.token_nll(torch.from_numpy(inputs[:, window].T.copy()).to(model.device), wanted,
                                                 state)
                yield nll[wanted >= 0].double().cpu()


def _iterate_line_blocks(tokens: Sequence[int], eos_id: int) -> Iterator[list[np.ndarray]]:
    """Yields lists of whole lines, each an id array ending in ``<eos>`` (the very last one perhaps without)."""
    rest = np.empty(0, dtype=np.int64)
    for start in range(0, len(tokens), BLOCK):
        rest = np.concatenate([rest, np.asarray(tokens[start:start + BLOCK], dtype=np.int64)])
        *whole, rest = np.split(rest, np.flatnonzero(rest == eos_id) + 1)
        if whole:
            yield whole
    if len(rest):
        yield [rest]


def _count(tokens: Sequence[int], wanted: int) -> int:
    return sum(int((np.asarray(tokens[start:start + BLOCK]) == wanted).sum()) for start in range(0, len(tokens), BLOCK))
