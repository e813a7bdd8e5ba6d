"""The model card of a run: what was trained on what, for how long, and how good it is.

The card is Markdown with a YAML header that the Hugging Face hub reads. The header's
``model-index`` and the part between two marks are written anew whenever something is measured; the
rest of a card that was edited stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from lstm_lm.config import Config, MixedSource
from lstm_lm.corpus.description import describe_corpus, describe_source
from lstm_lm.errors import DiskError, RunDirectoryError
from lstm_lm.files.atomic import write_atomically, write_together
from lstm_lm.files.run_files import CARD_FILE, RESULTS_FILE, STATE_FILE
from lstm_lm.model.network import empty_network
from lstm_lm.model.pretrained import load_description, model_card
from lstm_lm.training.checkpoint import read_progress
from lstm_lm.training.results import Results, read_results, results_json, weights_id
from lstm_lm.training.run_directory import load_run_config
from lstm_lm.training.starting import describe_origin
from lstm_lm.training.validation import best_validation

_BEGIN, _END = "<!-- results: written by lstm-lm -->", "<!-- end of results -->"
_HEADER = re.compile(r"---\n(.*?\n)---\n", re.DOTALL)
_TASK = {"type": "text-generation", "name": "Word-level language modeling"}
_STORIES = "lstm_lm/stories"  # what a model-index calls the built-in stories
_PROBES = "lstm_lm/probes"
_LOCAL = "local-text"


class CardError(RunDirectoryError):
    """A model card whose header cannot be read, so that no results can be written into it."""


def write_card(folder: Path, *, trained: bool = True) -> None:
    """Writes the model card of a run whose training has ended; what people wrote into it stays.

    Args:
        folder: the run directory.
        trained: whether there was an update in this session. If not, a card that names the run's
            last step stays as it is, whatever people changed in it.

    Raises:
        CardError: there is a card that cannot be read.
        RunDirectoryError: the run is damaged.
        DiskError: the card could not be written.
    """
    if best_validation(folder) is None:  # the log of this finished run was lost
        return
    card = current_card(folder, read_results(folder))
    if trained or not _is_current(folder):
        write_atomically(folder / CARD_FILE, card)


def _is_current(folder: Path) -> bool:
    """Whether a run has a model card that names its last step, or has no marked results."""
    path = folder / CARD_FILE
    if not path.exists():
        return False
    text = path.read_text(encoding="utf-8")
    last = _training_rows(folder, load_run_config(folder)[0])[-1]
    return _BEGIN not in text or f"| {' | '.join(last)} |" in text


def keep_results(folder: Path, weights: str, found: Results) -> str:
    """Adds results to ``results.json`` and to the model card of a run.

    Args:
        folder: the run directory.
        weights: the `weights_id` of the weights that were measured.
        found: what was measured.

    Returns:
        Why the run does not have them now; empty if it has.
    """
    try:
        if weights_id(folder) != weights:
            return "not kept in the run, which has other weights now"
        results = read_results(folder).joined_with(found)
        contents: dict[Path, str | bytes] = {folder / RESULTS_FILE: results_json(results, weights)}
        try:
            contents[folder / CARD_FILE] = current_card(folder, results)
        except CardError as error:
            write_together(contents)
            return str(error)
        write_together(contents)
    except (RunDirectoryError, DiskError) as error:
        return f"not kept in the run: {error}"
    return ""


def current_card(folder: Path, results: Results, name: str = "") -> str:
    """Returns the model card of a run with these results; what people wrote into it stays.

    Args:
        folder: the run directory.
        results: of its present weights.
        name: of the model, in the ``model-index``; empty: what it is, such as ``word-level lstm``.

    Raises:
        CardError: it has no header, or one that is not YAML, or others made it.
        RunDirectoryError: the run is damaged.
    """
    path = folder / CARD_FILE
    if not path.exists():
        return build_card(folder, results, name)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise CardError(
            f"{path}: is not UTF-8, so no results are written into it; save it as UTF-8, or remove "
            "it and a new one is made"
        ) from None
    header = _HEADER.match(text)
    try:
        data = yaml.safe_load(header[1]) if header else None
    except yaml.YAMLError:
        data = None
    if header is None or not isinstance(data, dict):
        raise CardError(
            f"{path}: does not begin with a header of YAML between two lines of ---, so no results "
            "are written into it; correct it, or remove it and a new one is made"
        )
    if data.get("library_name") != "lstm_lm" and _BEGIN not in text:
        raise CardError(
            f"{path}: is not the card of a model of lstm_lm, so no results are written into it; "
            "remove it and a new one is made"
        )
    config = load_run_config(folder)[0]
    after = data | _metadata(folder, config, results, name)
    metadata = header[1] if after == data else _yaml(after)  # comments stay if they can
    body = text[header.end() :]
    table = _results_text(folder, config, results)
    if _BEGIN in body and _END in body:
        before, _, rest = body.partition(_BEGIN)
        body = before + table + rest.partition(_END)[2]
    else:
        body = f"{body.rstrip()}\n\n{table}\n"
    return f"---\n{metadata}---\n{body}"


def build_card(folder: Path, results: Results, name: str = "") -> str:
    """Returns a new model card of a run; arguments are those of `current_card`.

    Raises:
        RunDirectoryError: the run is damaged.
    """
    config = load_run_config(folder)[0]
    description = load_description(folder)
    network = empty_network(description.config, len(description.vocabulary))
    text = f"\n{_results_text(folder, config, results)}\n"
    return model_card(network, text, _yaml(_metadata(folder, config, results, name)))


def _training_rows(folder: Path, config: Config) -> list[tuple[str, str]]:
    """Returns what was trained on what, and for how long."""
    rows = [
        ("corpus", describe_corpus(without_folders(config))),
        *_rows_of_start(config, load_description(folder).origin),
    ]
    try:
        progress = read_progress(folder / STATE_FILE)
    except RunDirectoryError:  # a run whose checkpoint was removed, which only prediction needs
        return [*rows, ("seed", str(config.training.seed))]
    steps = f"{progress.step:,}, {progress.epoch}, {config.training.seed}"
    return [
        *rows,
        ("train tokens", f"{progress.train_tokens:,}"),
        ("steps, epochs, seed", steps),
    ]


def _rows_of_start(config: Config, origin: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """Returns the rows about what the run started from."""
    rows = []
    if config.training.word_vectors:
        rows.append(("word vectors from", _last_part(config.training.word_vectors)))
    if origin:
        named = {**origin, "name": _last_part(origin["name"])}
        rows.append(("started from", describe_origin(named)))
    return rows


def _metadata(folder: Path, config: Config, results: Results, name: str) -> dict[str, Any]:
    """Returns the entries of the header that depend on the run and its results."""
    datasets = map(_dataset, _corpora(config).values())
    names = [dataset["id"] for dataset in datasets if "id" in dataset]
    measured = [*_perplexity_entries(folder, config, results), *_probe_entries(results)]
    header: dict[str, Any] = {"datasets": names} if names else {}
    if measured:
        metrics = ["perplexity"] + ["accuracy"] * bool(results.probes)
        index = {"name": name or f"word-level {config.model.cell}", "results": measured}
        header |= {"metrics": metrics, "model-index": [index]}
    return header


def _corpora(config: Config) -> dict[str, Config | MixedSource]:
    """Returns the settings of every source of a corpus, by its name."""
    settings: list[Config | MixedSource] = [config, *config.corpus.mix]
    return dict(zip(config.corpus.source_names(), settings, strict=True))


def _dataset(settings: Config | MixedSource) -> dict[str, str]:
    """Returns what a model-index says about a source; ``id`` only of a data set on the hub."""
    corpus = settings.corpus
    title = {"name": describe_source(without_folders(settings))}
    if corpus.source == "stories":
        return {"type": _STORIES} | title
    name = str(corpus.dataset)
    if corpus.source != "hub" or name != _dataset_title(name) or Path(name).is_dir():
        return {"type": _LOCAL} | title
    more = {"config": corpus.dataset_config} if corpus.dataset_config else {}
    return {"type": name, "id": name} | title | more


def _measures(folder: Path, config: Config, results: Results) -> list[dict[str, Any]]:
    """Returns all perplexities: those of the best validation, and what was measured later."""
    best = best_validation(folder) or {}
    sources = best.get("sources", {config.corpus.source_names()[0]: best} if best else {})
    of_training = [
        {"split": "valid", "source": name}
        | {key: found[key] for key in ("perplexity", "tokens", "oov_tokens", "state")}
        for name, found in sources.items()
    ]
    joined = Results(of_training).joined_with(Results(results.perplexities))
    order = ("valid", "test", "train")
    return sorted(map(dict, joined.perplexities), key=lambda found: order.index(found["split"]))


def _perplexity_entries(folder: Path, config: Config, results: Results) -> Iterator[dict[str, Any]]:
    """Yields an entry of a model-index for each perplexity."""
    corpora = _corpora(config)
    for found in _measures(folder, config, results):
        dataset = _dataset(corpora[found["source"]])
        dataset.pop("id", None)
        yield {
            "task": _TASK,
            "dataset": {**dataset, "split": found["split"], "args": {"state": found["state"]}},
            "metrics": [
                {
                    "type": "perplexity",
                    "value": found["perplexity"],
                    "name": f"perplexity per word, state {found['state']}",
                },
                {"type": "tokens", "value": found["tokens"], "name": "words and line ends"},
                {"type": "oov_tokens", "value": found["oov_tokens"], "name": "of them <unk>"},
            ],
        }


def _probe_entries(results: Results) -> Iterator[dict[str, Any]]:
    """Yields an entry of a model-index for each suite of questions that was asked."""
    names = {
        "accuracy": "target over foil",
        "pair_accuracy": "whole pairs",
        "top_1": "target is the most probable word",
    }
    for suite, row in results.probes.items():
        metrics = [
            {"type": "accuracy", "name": f"{title}, {row['items']} items", "value": row[figure]}
            for figure, title in names.items()
            if row.get(figure) is not None
        ]
        if metrics:
            title = _suite_title(suite)
            dataset = {"type": _PROBES, "name": title, "config": title, "split": "test"}
            yield {"task": _TASK, "dataset": dataset, "metrics": metrics}


def _results_text(folder: Path, config: Config, results: Results) -> str:
    """Returns the part of the card between the two marks."""
    rows = [
        (
            found["split"],
            found["source"],
            f"{found['perplexity']:.2f}",
            f"{found['tokens']:,}",
            f"{found['oov_tokens']:,}",
            found["state"],
        )
        for found in _measures(folder, config, results)
    ]
    parts = [
        "## Training",
        _table(("what", "value"), _training_rows(folder, config)),
        "The run's `config.yaml` repeats it: `lstm-lm train config.yaml`.",
    ]
    if rows:
        titles = ("split", "source", "perplexity", "tokens", "`<unk>`", "state")
        parts += ["## Perplexity", _table(titles, rows)]
        if not any(row[0] == "test" for row in rows):
            parts.append("Test was not measured.")
    if results.forgetting:
        before, after = results.forgetting["before"], results.forgetting["after"]
        parts.append(
            "Valid perplexity of the corpus of the model that it started from: "
            f"{before:.2f} before, {after:.2f} now, over {results.forgetting['tokens']:,} tokens."
        )
    if results.probes:
        head = ("suite", "items", "skipped", "target over foil", "chance", "pairs", "top-1")
        lines = [
            (
                _suite_title(suite).replace("|", "/"),
                f"{row['items']:,}",
                f"{row['skipped']:,}",
                *(
                    "" if row.get(figure) is None else f"{row[figure]:.1%}"
                    for figure in ("accuracy", "accuracy_chance", "pair_accuracy", "top_1")
                ),
            )
            for suite, row in results.probes.items()
        ]
        parts += ["## Probes", _table(head, lines)]
    return "\n\n".join([_BEGIN, *parts, _END])


def _table(head: tuple[str, ...], rows: list[Any]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _yaml(data: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(data), sort_keys=False, allow_unicode=True) if data else ""


def _dataset_title(name: str) -> str:
    """Returns the name of a data set on the hub, or that of a local one without its folders."""
    is_local = name.startswith(("/", "~", ".")) or name.count("/") > 1 or Path(name).is_dir()
    return _last_part(name) if is_local else name


def _suite_title(suite: str) -> str:
    """Returns the name of a suite; files are named without their folders."""
    return re.sub(r"\S*[/\\]", "", suite)


def _last_part(path: str) -> str:
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1]


def without_folders(settings: Any) -> Any:
    """Returns settings in which files and local data sets are named without their folders.

    Args:
        settings: a `Config` or a `MixedSource`.
    """
    corpus, changed = settings.corpus, {}
    for key in ("text_file", "train_file", "valid_file", "test_file"):
        given = getattr(corpus, key)
        if given is not None:
            is_one = isinstance(given, str)
            changed[key] = _last_part(given) if is_one else tuple(map(_last_part, given))
    if corpus.dataset is not None:
        changed["dataset"] = _dataset_title(corpus.dataset)
    changed["mix"] = tuple(without_folders(entry) for entry in corpus.mix)
    return replace(settings, corpus=replace(corpus, **changed))
