"""What many tests share: a small vocabulary, a small model, and a small corpus on disk."""

import pytest
import torch

from lstm_lm.config import ModelConfig
from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.model.language_model import LanguageModel

torch.set_num_threads(1)        # the tensors here are small, and the machine may be busy

LINES = ["I grew up in France .", "I speak fluent French .", "", "She has a home in Paris , and a cat ."] * 3


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LSTM_LM_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def vocabulary():
    return Vocabulary.build(LINES, tokenization="words", lowercase=False, min_count=1, vocab_size=None)


@pytest.fixture
def make_model(vocabulary):
    def make(seed=0, **settings):
        torch.manual_seed(seed)
        sizes = {"embedding_dim": 6, "hidden_size": 7, "num_layers": 2}
        return LanguageModel(ModelConfig(**(sizes | settings)), vocabulary).eval()

    return make


@pytest.fixture
def model(make_model):
    return make_model()
