"""The files of a run directory: their names, their format version, and how the JSON ones are read.

Nothing here imports torch.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from lstm_lm.errors import RunDirectoryError
from lstm_lm.files.seal import is_intact

FORMAT_VERSION = 3

# What prediction reads, and the model card.
CONFIG_FILE = "config.json"
TOKENIZER_FILE = "tokenizer.json"
WEIGHTS_FILE = "model.safetensors"
CARD_FILE = "README.md"
# What training reads and writes.
YAML_FILE = "config.yaml"
STATE_FILE = "training_state.safetensors"
PREVIOUS_FILE = "training_state.previous.safetensors"
METRICS_FILE = "metrics.jsonl"
SET_ASIDE_FILE = "metrics.damaged.jsonl"
TIMINGS_FILE = "timings.jsonl"
CURVE_FILE = "training_curve.png"
# What `training.log_to` adds.
CSV_FILE = "metrics.csv"
LOG_ID_FILE = "log_id.txt"
# What `evaluate` and `probe` found out later.
RESULTS_FILE = "results.json"
# What `evaluate --with` needs of a run: settings that were tuned, and how large gradients are.
ADAPTATION_FILE = "adaptation.json"
GRADIENT_SIZES_FILE = "gradient_sizes.safetensors"
REVISIONS_FOLDER = "revisions"
# In the order in which --overwrite removes them: the rest of a run that was removed in part has no
# training state, so it is never resumed, and it has the settings, which say that it was a run.
RUN_FILES = (
    STATE_FILE,
    PREVIOUS_FILE,
    WEIGHTS_FILE,
    CONFIG_FILE,
    TOKENIZER_FILE,
    CARD_FILE,
    METRICS_FILE,
    SET_ASIDE_FILE,
    TIMINGS_FILE,
    CURVE_FILE,
    CSV_FILE,
    LOG_ID_FILE,
    RESULTS_FILE,
    ADAPTATION_FILE,
    GRADIENT_SIZES_FILE,
    YAML_FILE,
)


def read_file(path: Path) -> bytes:
    """Reads a regular file whole.

    Raises:
        RunDirectoryError: it is missing, cannot be read, or is a pipe or a device, which might
            never end.
    """
    try:
        if path.exists() and not path.is_file():
            raise RunDirectoryError(f"{path}: is not a regular file; restore it")
        return path.read_bytes()
    except FileNotFoundError:
        raise RunDirectoryError(
            f"{path}: is missing; is this a run directory? Finish the run with "
            "`lstm-lm train RUN_DIR --resume`, or copy the file from where it was trained"
        ) from None
    except OSError as error:
        raise RunDirectoryError(
            f"{path}: cannot be read ({error.strerror or error}); restore it"
        ) from None


def read_json(path: Path) -> dict[str, Any]:
    """Reads one of our JSON files and checks its format version and its checksum.

    Raises:
        RunDirectoryError: it is missing, not JSON, of another format, or damaged.
    """
    text = read_file(path)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RunDirectoryError(
            f"{path}: damaged, cannot be read as JSON ({error}); restore it"
        ) from None
    version = content.get("format_version") if isinstance(content, dict) else None
    if version != FORMAT_VERSION or isinstance(version, bool):
        raise RunDirectoryError(
            f"{path}: format_version is {version!r}, this version of lstm_lm reads "
            f"{FORMAT_VERSION}; use the version that wrote it, or train again"
        )
    if not is_intact(io.BytesIO(text)):
        raise RunDirectoryError(f"{path}: damaged or edited (its checksum is wrong); restore it")
    return content
