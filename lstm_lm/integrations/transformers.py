"""Models for the transformers library: importing this registers them with its Auto classes.

``AutoConfig``, ``AutoTokenizer``, ``AutoModel`` and ``AutoModelForCausalLM.from_pretrained`` then
read the folders that ``lstm-lm export RUN FOLDER --format hf`` writes. Without this import, and
without `lstm_lm`, they read them with ``trust_remote_code=True``.
"""

from __future__ import annotations

from lstm_lm.errors import MissingExtra

try:
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoTokenizer
except ImportError as error:
    raise MissingExtra("transformers", "hf", "lstm_lm.integrations.transformers") from error

from lstm_lm.integrations.configuration_lstm_lm import LstmLmConfig
from lstm_lm.integrations.modeling_lstm_lm import LstmLmCache, LstmLmForCausalLM, LstmLmModel
from lstm_lm.integrations.tokenization_lstm_lm import LstmLmTokenizer

__all__ = ["LstmLmCache", "LstmLmConfig", "LstmLmForCausalLM", "LstmLmModel", "LstmLmTokenizer"]

AutoConfig.register(LstmLmConfig.model_type, LstmLmConfig, exist_ok=True)
AutoTokenizer.register(LstmLmConfig, fast_tokenizer_class=LstmLmTokenizer, exist_ok=True)
AutoModel.register(LstmLmConfig, LstmLmModel, exist_ok=True)
AutoModelForCausalLM.register(LstmLmConfig, LstmLmForCausalLM, exist_ok=True)
