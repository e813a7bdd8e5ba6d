"""What a run needs to adapt to a text: settings, an n-gram model of train, the size of gradients.

Settings that were tuned are kept in ``adaptation.json``, one entry for each combination of kinds.
The size of gradients is measured on train when it is first needed, and kept in
``gradient_sizes.safetensors``. Both belong to the weights that are in the run directory; when these
change, they are not used any more.
"""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from lstm_lm.config import Config
from lstm_lm.corpus.corpus import Corpus
from lstm_lm.errors import DiskError, RunDirectoryError
from lstm_lm.evaluation.adaptation import (
    Adaptation,
    AdaptiveReader,
    CacheSettings,
    DynamicSettings,
    NGramSettings,
)
from lstm_lm.evaluation.adaptive_model import AdaptiveModel
from lstm_lm.evaluation.baseline import count_corpus_of
from lstm_lm.evaluation.dynamic import measure_gradient_sizes
from lstm_lm.evaluation.ngram import NGramModel
from lstm_lm.evaluation.tuning import Tuner
from lstm_lm.files.atomic import write_atomically
from lstm_lm.files.run_files import (
    ADAPTATION_FILE,
    FORMAT_VERSION,
    GRADIENT_SIZES_FILE,
    YAML_FILE,
    read_json,
)
from lstm_lm.files.seal import UNSEALED, sealed, write_sealed
from lstm_lm.files.tensors import open_tensors, read_tensors, tensor_file
from lstm_lm.model.language_model import LanguageModel
from lstm_lm.training.results import weights_id
from lstm_lm.training.run_directory import load_model_config

TUNED_TOKENS = 20_000  # of valid, from its beginning
SETTINGS = {"cache": CacheSettings, "dynamic": DynamicSettings, "ngram": NGramSettings}

Notes = Callable[[str], None]


def _key(adaptation: Adaptation) -> str:
    return ",".join(adaptation.kinds)


def to_json(adaptation: Adaptation) -> dict[str, Any]:
    """The settings of an adaptation by kind, such as ``{"cache": {"words": 4000, ...}}``."""
    return {kind: dataclasses.asdict(getattr(adaptation, kind)) for kind in adaptation.kinds}


def load_adaptations(folder: Path) -> dict[str, Adaptation]:
    """The settings that were tuned for a run's present weights, by their kinds.

    Raises:
        RunDirectoryError: ``adaptation.json`` is damaged, or of another format.
    """
    path = folder / ADAPTATION_FILE
    if not path.exists():
        return {}
    content = read_json(path)
    if content.get("weights") != weights_id(folder):
        return {}
    try:
        return {
            kinds: Adaptation(**{kind: SETTINGS[kind](**found[kind]) for kind in found})
            for kinds, found in content["tuned"].items()
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise RunDirectoryError(
            f"{path}: damaged ({error}); remove it, and tune again with `lstm-lm evaluate --with "
            "... --tune`"
        ) from None


def _keep_adaptation(folder: Path, weights: str, tuned: Adaptation) -> None:
    try:
        found = load_adaptations(folder)
    except RunDirectoryError:  # it is written anew
        found = {}
    found[_key(tuned)] = tuned
    content = {
        "checksum": UNSEALED,
        "format_version": FORMAT_VERSION,
        "weights": weights,
        "tuned": {kinds: to_json(adaptation) for kinds, adaptation in found.items()},
    }
    write_atomically(
        folder / ADAPTATION_FILE, sealed((json.dumps(content, indent=2) + "\n").encode())
    )


class RunAdaptation:
    """How the model of a run adapts.

    Args:
        name_or_path: a run directory, or a model on the hub.
        model: its model.
        kinds: of `lstm_lm.evaluation.adaptation.KINDS`.
        on_note: called with what people should know, a line each.
        use_tuned: whether settings that were tuned are taken.

    Attributes:
        adaptation: its settings: those that were tuned for these kinds, or the defaults.

    Raises:
        InputError: there is no such kind, or one is named twice.
        RunDirectoryError: the run is damaged, or its corpus is needed and not known.
        CorpusError: the corpus is missing now, or has changed.
    """

    def __init__(
        self,
        name_or_path: str | Path,
        model: LanguageModel,
        kinds: tuple[str, ...],
        on_note: Notes,
        use_tuned: bool = True,
    ) -> None:
        self._folder, self._model, self._on_note = Path(name_or_path), model, on_note
        self._is_run = (self._folder / YAML_FILE).exists()
        self.adaptation = Adaptation.of_kinds(kinds)
        if not self._is_run and {"dynamic", "ngram"} & set(kinds):
            raise RunDirectoryError(
                f"{name_or_path}: has no {YAML_FILE}, so its corpus is not known, which dynamic "
                "and ngram need; use cache alone"
            )
        tuned = load_adaptations(self._folder) if self._is_run and use_tuned else {}
        self._is_tuned = _key(self.adaptation) in tuned
        self.adaptation = tuned.get(_key(self.adaptation), self.adaptation)
        self._ngram: NGramModel | None = None
        self._sizes: Mapping[str, Tensor] | None = None

    def note_settings(self) -> None:
        """Says which settings are used, and whether they were tuned."""
        kinds, folder = _key(self.adaptation), shlex.quote(str(self._folder))
        why = "tuned on valid" if self._is_tuned else "defaults, not tuned for this run"
        more = (
            ""
            if self._is_tuned or not self._is_run
            else (f"; `lstm-lm evaluate {folder} --with {kinds} --tune` tunes them on valid")
        )
        self._on_note(f"with {self.adaptation.describe()} ({why}{more})")

    def tuned_reader(self, on_trial: Callable[[Adaptation, float], None] | None) -> AdaptiveReader:
        """Like `reader`, after `tune` if ``on_trial`` is given; says which settings are used."""
        if on_trial is not None:
            self.tune(on_trial)
        self.note_settings()
        return self.reader()

    def reader(self, model: LanguageModel | None = None) -> AdaptiveReader:
        """A model that begins a new text.

        Args:
            model: reads instead of the run's, such as the same in float64.
        """
        self._prepare()
        network = (model or self._model).network
        return AdaptiveReader(
            network,
            self._model.vocabulary.eos_id,
            self.adaptation,
            ngram=self._ngram,
            sizes=self._sizes,
        )

    def tune(self, on_trial: Callable[[Adaptation, float], None]) -> None:
        """Tunes the settings on the beginning of valid, and keeps them in the run.

        Args:
            on_trial: called with every adaptation that was tried, and its perplexity.

        Raises:
            RunDirectoryError: it is no run, or its weights were replaced meanwhile.
            CorpusError: there is no valid split.
            DiskError: the settings cannot be written.
        """
        if not self._is_run:
            raise RunDirectoryError(
                f"{self._folder}: --tune needs the valid split of a run; this is no run directory"
            )
        weights = weights_id(self._folder)
        self._prepare()
        valid = np.asarray(self._corpus().tokens("valid")[:TUNED_TOKENS])
        tuner = Tuner(
            self._model.network,
            self._model.vocabulary.eos_id,
            valid,
            ngram=self._ngram,
            sizes=self._sizes,
            on_trial=on_trial,
        )
        tuned, perplexity = tuner.tune(self.adaptation)
        _keep_adaptation(self._folder, weights, tuned)
        self.adaptation, self._is_tuned = tuned, True
        self._on_note(
            f"tuned on the first {len(valid):,} tokens of valid: perplexity {perplexity:.2f}; kept "
            f"in {self._folder / ADAPTATION_FILE}"
        )

    def _config(self) -> Config:
        return load_model_config(self._folder)

    def _corpus(self) -> Corpus:
        config = self._config()
        return Corpus(config.corpus, config.stories, vocabulary=self._model.vocabulary)

    def _prepare(self) -> None:
        """Counts n-grams and measures gradients, if that is needed and was not done yet."""
        if self.adaptation.ngram and self._ngram is None:
            order = self.adaptation.ngram.order
            found = count_corpus_of(self._model.vocabulary, self._config(), order)
            self._ngram = found.model
        if self.adaptation.dynamic and self._sizes is None:
            self._sizes = self._load_sizes() or self._measure_sizes()

    def _load_sizes(self) -> dict[str, Tensor] | None:
        """The sizes of gradients that are kept in the run; None if there are none."""
        path = self._folder / GRADIENT_SIZES_FILE
        if not path.exists():
            return None
        try:
            with open_tensors(path) as (file, header):
                if header.get("weights") != weights_id(self._folder):
                    return None
                expected = dict(self._model.network.named_parameters())
                return read_tensors(file, path, expected)
        except RunDirectoryError as error:  # it can be measured again
            self._on_note(f"{error}; measured again")
            return None

    def _measure_sizes(self) -> dict[str, Tensor]:
        """Measures the sizes of gradients on train, and keeps them in the run if that is possible.

        Raises:
            CorpusError: train cannot be read.
        """
        weights = weights_id(self._folder)
        vocabulary = self._model.vocabulary
        train = self._corpus().tokens("train")
        sizes = measure_gradient_sizes(self._model.network, train, vocabulary.eos_id)
        parts = tensor_file(sizes, {"weights": weights})
        try:
            write_atomically(
                self._folder / GRADIENT_SIZES_FILE, lambda file: write_sealed(file, parts)
            )
        except DiskError as error:
            self._on_note(f"the size of gradients is measured again next time: {error}")
        return sizes


def adaptive_model(
    name_or_path: str | Path,
    kinds: Sequence[str],
    model: LanguageModel | None = None,
    on_note: Notes = lambda line: None,
) -> AdaptiveModel:
    """Loads the model of a run as one that adapts to every text.

    ``adaptive_model("runs/wikitext2", ["cache"]).predict_next(text)`` knows the words of the text.

    Args:
        name_or_path: a run directory; with ``cache`` alone also a model on the hub.
        kinds: some of ``cache``, ``dynamic`` and ``ngram``. Settings are those that were tuned with
            `lstm-lm evaluate --with ... --tune`, or the defaults.
        model: its model, if it is loaded already.
        on_note: called with what people should know, a line each.

    Raises:
        InputError: there is no such kind, or one is named twice.
        RunDirectoryError: the run is damaged, or its corpus is needed and not known.
        CorpusError: the corpus is missing now, or has changed.
    """
    model = model or LanguageModel.from_pretrained(name_or_path)
    adaptation = RunAdaptation(name_or_path, model, tuple(kinds), on_note)
    adaptation.note_settings()
    return AdaptiveModel(model, adaptation.reader)
