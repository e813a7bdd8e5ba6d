"""The sources of a corpus in words."""

from __future__ import annotations

from lstm_lm.config import Config, MixedSource


def describe_corpus(config: Config) -> str:
    """One line about the corpus of a configuration: all its sources."""
    own = describe_source(config)
    if not config.corpus.mix:
        return own
    others = [f"{describe_source(entry)} ({_amount(entry)})" for entry in config.corpus.mix]
    passes = config.corpus.passes
    return " + ".join([f"{own} (read {passes} time{'s' * (passes != 1)})", *others])


def describe_source(settings: Config | MixedSource) -> str:
    """One line about one source."""
    corpus = settings.corpus
    if corpus.source == "stories":
        stories, count, fillers = settings.stories, f"{settings.stories.count:,} ", ""
        if isinstance(settings, MixedSource):
            count = count if settings.mix.share is None else ""
            is_woven = settings.mix.fillers == "corpus"
            fillers = " with sentences of the corpus" if is_woven else ""
        return f"{count}built-in stories{fillers}, seed {stories.seed}"
    if corpus.source == "hub":
        return " ".join(filter(None, ("hub:", corpus.dataset, corpus.dataset_config)))
    names: list[str] = []
    for given in (corpus.text_file, corpus.train_file, corpus.valid_file, corpus.test_file):
        names += [given] if isinstance(given, str) else given or ()
    return f"files: {', '.join(names)}"


def _amount(entry: MixedSource) -> str:
    """How much of the mix an entry is, such as ``40 % of the mix``."""
    if entry.mix.share is not None:
        return f"{entry.mix.share:.0%} of the mix".replace("%", " %")
    passes = entry.mix.passes or 1
    return f"read {passes:g} time{'s' * (passes != 1)}"
