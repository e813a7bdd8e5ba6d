"""Settings: what can be set, how a file is read, and how every value is checked.

=================  ================================================================
`settings`         declares every setting: default, range, help, when it has an effect
`corpus_settings`  the part of them about the text
`catalogue`        lists the settings as records; finds the one that a name means
`names`            names that people bring from other programs
`strict_yaml`      YAML text to plain values
`reader`           plain values to dataclasses: types and ranges
`overrides`        ``section.key=value``
`mix`              entries of `corpus.mix`
`effect`           which settings have an effect in a configuration
`checks`           settings that do not go together
`loading`          file, overrides and checks together: `load_config`
`reference`        JSON Schema and Markdown reference of all settings
=================  ================================================================

Nothing here imports torch, so mistakes in a configuration are reported at once.
"""

from lstm_lm.config.catalogue import Setting, all_sections, all_settings, nearest_setting
from lstm_lm.config.corpus_settings import MixedSource
from lstm_lm.config.loading import (
    config_from_dict,
    config_to_dict,
    config_to_yaml,
    load_config,
)
from lstm_lm.config.settings import (
    CELLS,
    COMPARED_CELLS,
    DEVICES,
    MIXTURES,
    Config,
    CorpusConfig,
    EvaluationConfig,
    ModelConfig,
    OptimizerConfig,
    StoriesConfig,
    TrainingConfig,
)

__all__ = [
    "CELLS",
    "COMPARED_CELLS",
    "DEVICES",
    "MIXTURES",
    "Config",
    "CorpusConfig",
    "EvaluationConfig",
    "MixedSource",
    "ModelConfig",
    "OptimizerConfig",
    "Setting",
    "StoriesConfig",
    "TrainingConfig",
    "all_sections",
    "all_settings",
    "config_from_dict",
    "config_to_dict",
    "config_to_yaml",
    "load_config",
    "nearest_setting",
]
