"""Settings: what can be set (`settings`), how a file is read (`strict_yaml`), how values are checked (`reader`).

Nothing here imports torch, so a wrong key is answered at once.
"""

from lstm_lm.config.settings import (
    DEVICES,
    Config,
    CorpusConfig,
    EvaluationConfig,
    ModelConfig,
    OptimizerConfig,
    StoriesConfig,
    TrainingConfig,
    config_from_dict,
    config_to_dict,
    config_to_yaml,
    load_config,
)

__all__ = [
    "DEVICES",
    "Config",
    "CorpusConfig",
    "EvaluationConfig",
    "ModelConfig",
    "OptimizerConfig",
    "StoriesConfig",
    "TrainingConfig",
    "config_from_dict",
    "config_to_dict",
    "config_to_yaml",
    "load_config",
]
