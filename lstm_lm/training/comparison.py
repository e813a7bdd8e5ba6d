"""Networks that differ in their cell alone: of equal size, measured side by side, an n-gram model beside them."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from lstm_lm.config import Config
from lstm_lm.corpus.sources import Source, build_source
from lstm_lm.corpus.tokens import load_tokens, load_vocabulary
from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.errors import UserError
from lstm_lm.evaluation.baseline import (
    DEFAULT_ORDER,
    MOST_TOKENS_UNASKED,
    NGramReader,
    count_corpus,
)
from lstm_lm.model.language_model import LanguageModel
from lstm_lm.model.scoring import perplexity_from
from lstm_lm.model.size import count_parameters, match_parameters
from lstm_lm.probes.asking import BatchReader, Reader, iterate_scores
from lstm_lm.probes.report import Row, summarise
from lstm_lm.probes.suites import Suite
from lstm_lm.training.memory import must_fit_memory
from lstm_lm.training.run import describe_run


def equalise(
    configs: Mapping[str, Config], given_widths: Collection[str] = ()
) -> dict[str, Config]:
    """Gives every network the number of parameters that the first one has.

    Args:
        configs: cell -> its network's configuration, all of one corpus.
        given_widths: cells whose width stays.

    Returns:
        The configurations, but for ``model.hidden_size``.
    """
    first = next(iter(configs))
    corpus = configs[first].corpus
    vocabulary = load_vocabulary(build_source(corpus), corpus, corpus.cache_dir)
    must_fit_memory(configs[first].model, vocabulary)
    wanted = count_parameters(configs[first].model, vocabulary)
    return {
        cell: config
        if cell == first or cell in given_widths
        else replace(config, model=match_parameters(config.model, vocabulary, wanted))
        for cell, config in configs.items()
    }


def measure(
    runs: Mapping[str, Path], config: Config, suites: Sequence[Suite], order: int | None
) -> dict[str, Any]:
    """Probes finished runs of one corpus, and an n-gram model of it.

    Args:
        runs: name -> run directory.
        config: of one of them, for what they share: corpus and evaluation.
        suites: the questions.
        order: of the n-gram model, 0 for none, None for the usual one unless the corpus is large.

    Returns:
        For JSON: the models with their size, cost and perplexity on valid, the source's own perplexity, and for every
        suite what `summarise` says of every model.
    """
    source = build_source(config.corpus)
    vocabulary = load_vocabulary(source, config.corpus, config.corpus.cache_dir)
    models: list[dict[str, Any]] = []
    reports: dict[str, dict[str, Row]] = {}
    for name, folder in runs.items():
        model = LanguageModel.from_pretrained(folder)
        models.append(
            {
                "name": name,
                "run": str(folder),
                "parameters": model.parameter_count,
                "hidden_sizes": [cell.hidden_size for cell in model.recurrent.cells],
                **describe_run(folder),
            }
        )
        reports[name] = _probe(name, BatchReader(model), suites)
    why_not, baseline = "", None
    try:
        if order != 0:
            reader, facts = _count(source, vocabulary, config, order)
            baseline = facts["name"]
            models.append(facts)
            reports[baseline] = _probe(baseline, reader, suites)
    except UserError as error:
        why_not = str(error).splitlines()[0]
    nll = source.nll("valid")
    return {
        "vocab_size": len(vocabulary),
        "source_perplexity": None if nll is None else perplexity_from(nll, models[0]["tokens"]),
        "baseline": baseline,
        "no_baseline_because": why_not,
        "models": models,
        "suites": [
            {
                "suite": suite.name,
                "reports": {name: found[suite.name] for name, found in reports.items()},
            }
            for suite in suites
        ],
    }


def _count(
    source: Source, vocabulary: Vocabulary, config: Config, order: int | None
) -> tuple[NGramReader, dict[str, Any]]:
    """The n-gram model, and what the networks' logs tell of them."""
    cache_dir, started = config.corpus.cache_dir, time.perf_counter()
    model = count_corpus(
        source,
        vocabulary,
        order or DEFAULT_ORDER,
        reset_per_line=config.evaluation.reset_per_line,
        cache_dir=cache_dir,
        most_tokens=None if order else MOST_TOKENS_UNASKED,
    )
    seconds = time.perf_counter() - started
    result = model.perplexity(load_tokens(source, "valid", vocabulary, cache_dir))
    return NGramReader(model, vocabulary), {
        **model.describe(),
        "words": len(load_tokens(source, "train", vocabulary, cache_dir)),
        "seconds": round(seconds, 3),
        "perplexity": result.perplexity,
        "tokens": result.tokens,
        "oov_tokens": result.oov_tokens,
    }


def _probe(name: str, reader: Reader, suites: Sequence[Suite]) -> dict[str, Row]:
    size = len(reader.vocabulary)
    with tqdm(desc=f"probing {name}", unit=" items", leave=False, disable=None) as bar:
        return {
            suite.name: summarise(iterate_scores(reader, suite), size, lambda score: bar.update())
            for suite in suites
        }
