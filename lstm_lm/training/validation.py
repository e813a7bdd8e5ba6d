"""Validation: the perplexity of every source's valid split, and which weights are the best."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lstm_lm.config import EvaluationConfig
from lstm_lm.corpus.corpus import Corpus
from lstm_lm.corpus.progress import Bar
from lstm_lm.corpus.windows import TokenIds
from lstm_lm.errors import RunDirectoryError
from lstm_lm.evaluation.perplexity import measure_perplexity
from lstm_lm.files.run_files import METRICS_FILE
from lstm_lm.model.language_model import LanguageModel
from lstm_lm.model.scoring import Perplexity, perplexity_from
from lstm_lm.training.distributed import Ranks
from lstm_lm.training.run_log import read_log
from lstm_lm.training.signals import StopSignals

ALL_SOURCES = "all"  # of `training.best_on`


@dataclass(frozen=True)
class ValidText:
    """A text to validate on.

    Attributes:
        name: of its source, such as ``files``.
        tokens: its ids.
        reset_per_line: whether every line starts from a zero state.
        source_nll: its summed nll (nats) under the process that wrote it, if that is known.
    """

    name: str
    tokens: TokenIds
    reset_per_line: bool = False
    source_nll: float | None = None


def valid_texts(corpus: Corpus, evaluation: EvaluationConfig) -> list[ValidText]:
    """Returns the valid splits of all sources of a corpus, its own text's first.

    Raises:
        CorpusError: one of them cannot be read.
    """
    return [
        ValidText(
            name,
            corpus.tokens("valid", name),
            evaluation.reset_per_line or corpus.reads_lines_apart(name),
            corpus.source_nll("valid", name),
        )
        for name in corpus.sources
    ]


@dataclass(frozen=True)
class Validation:
    """What `validate` returns.

    Attributes:
        results: by the name of the source, the corpus's own text first.
        source_nlls: by the name of the source, see `ValidText`; only where it is known.
    """

    results: Mapping[str, Perplexity]
    source_nlls: Mapping[str, float]

    def loss(self, best_on: str) -> float:
        """Returns the loss by which the best weights are chosen, in nats per token.

        Args:
            best_on: a source, or ``all``: the mean loss of all sources, each counted alike.
        """
        if len(self.results) == 1:
            best_on = ALL_SOURCES
        chosen = [result for name, result in self.results.items() if best_on in (ALL_SOURCES, name)]
        return sum(result.loss for result in chosen) / len(chosen)

    def log_values(self, best_on: str) -> dict[str, Any]:
        """Returns what a line of ``metrics.jsonl`` has: the own text's figures, then all sources'.

        Args:
            best_on: see `loss`.
        """
        own = _figures(next(iter(self.results.values())))
        if len(self.results) == 1:
            return own
        sources = {name: _figures(result) for name, result in self.results.items()}
        return own | {"sources": sources, "best_on_loss": self.loss(best_on)}

    def describe(self) -> list[str]:
        """Returns for each source, such as ``valid perplexity 3.66 (...)``; named in a mix."""
        lines = []
        for name, result in self.results.items():
            nll = self.source_nlls.get(name)
            line = f"valid perplexity {result}"
            if len(self.results) > 1:
                line = f"{name}: {line}"
            if nll is not None:
                line += f"; the source itself {perplexity_from(nll, result.tokens):.2f}"
            lines.append(line)
        return lines

    def report(self, start: str, samples: Mapping[str, str], is_best: bool) -> Iterator[str]:
        """Yields lines for people.

        Args:
            start: of the first line: when it was.
            samples: of `continue_prompts`.
            is_best: whether it is the best one so far.
        """
        first, *others = self.describe()
        yield f"{start}: {first}{' *' if is_best else ''}"
        for line in others:
            yield f"    {line}"
        for prompt, continuation in samples.items():
            yield f"    {prompt} ... {continuation}"


def validate(
    model: LanguageModel,
    texts: Sequence[ValidText],
    window_length: int,
    signals: StopSignals,
    ranks: Ranks,
) -> Validation:
    """Measures the perplexity of every text; shows a progress bar.

    If there are several ranks, every rank reads all words, because each state depends on the one
    before, and they take turns at the output layer, which is most of the work: a window each. The
    result is that of one process, bit for bit.

    Args:
        model: in any mode.
        texts: what it reads.
        window_length: words processed at a time.
        signals: end it.
        ranks: the processes that do it together.

    Raises:
        StopRequested: a signal came.
    """
    total = sum(len(text.tokens) for text in texts)
    disabled = None if ranks.is_first else True
    with Bar(total=total, desc="validating", unit=" words", leave=False, disable=disabled) as bar:

        def on_progress(done: int) -> None:
            ranks.check_in_validation(signals)
            bar.update(done)

        results = {
            text.name: measure_perplexity(
                model,
                text.tokens,
                reset_per_line=text.reset_per_line,
                window_length=window_length,
                on_progress=on_progress,
                has_turn=ranks.has_turn,
                add_up=ranks.add_up,
            )
            for text in texts
        }
    nlls = {text.name: text.source_nll for text in texts if text.source_nll is not None}
    return Validation(results, nlls)


def loss_to_choose_by(line: Mapping[str, Any]) -> float:
    """Returns the loss by which the best line of a log is chosen; see `Validation.log_values`."""
    return float(line.get("best_on_loss", line["loss"]))


def continue_prompts(
    model: LanguageModel, evaluation: EvaluationConfig, seed: int, check: Callable[[], None]
) -> dict[str, str]:
    """Continues the prompts of a run; returns prompt -> the first line of its continuation.

    Args:
        model: in any mode.
        evaluation: has the prompts, and how many words to add.
        seed: of the words that are drawn.
        check: called before each word; may raise to stop.
    """
    samples = {}
    for prompt in evaluation.prompts:
        words = []
        for word in model.iterate_words(
            prompt, evaluation.continuation_words, temperature=0.8, seed=seed
        ):
            check()
            words.append(word)
        samples[prompt] = model.vocabulary.display(words).partition("\n")[0]
    return samples


def best_validation(folder: Path) -> dict[str, Any] | None:
    """The line of a run's log with its best validation; None if there is none.

    Raises:
        RunDirectoryError: the log is damaged.
    """
    path = folder / METRICS_FILE
    lines = [line for line in read_log(path) if line["split"] == "valid"]
    try:
        return min(lines, key=loss_to_choose_by, default=None)
    except (KeyError, TypeError):
        raise RunDirectoryError(f"{path}: damaged; restore the file") from None


def _figures(result: Perplexity) -> dict[str, Any]:
    return {
        "loss": result.loss,
        "perplexity": result.perplexity,
        "tokens": result.tokens,
        "oov_tokens": result.oov_tokens,
        "state": result.state,
    }
