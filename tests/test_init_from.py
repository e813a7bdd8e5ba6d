"""A run that starts from another model, and a run that trains for longer than it was to."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import lstm_lm
from lstm_lm.config import ModelConfig, load_config
from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.corpus.word_vectors import WordVectors
from lstm_lm.errors import ConfigError, CorpusError
from lstm_lm.model.growing import continue_network, likeness_by_context, use_word_vectors
from lstm_lm.model.language_model import LanguageModel
from lstm_lm.model.network import Network
from lstm_lm.training.auto import STARTED, TABLE
from lstm_lm.training.run import build_run
from lstm_lm.training.run_directory import load_run_config
from lstm_lm.training.run_log import read_log

OLD = ["I grew up in France .", "She has a home in Paris , and a cat .", "I speak French ."] * 12
NEW = ["He grew up in Italy .", "She has a dog in Rome , and a mouse in Italy ."] * 15
PARENT = """\
corpus: {source: files, train_file: %s, valid_file: %s, tokenization: %s}
model: {embedding_dim: 8, hidden_size: 9, num_layers: 1, %s}
optimizer: {warmup_steps: 2, learning_rate: 0.03}
training: {batch_size: 4, bptt_length: 10, max_epochs: 2, device: cpu}
"""
SHORT = ("training.max_epochs=2", "training.device=cpu", "training.batch_size=4")
KINDS = {
    "full": "output: full",
    "untied": "output: full, tie_weights: false",
    "sampled": "output: sampled, sampled_words: 5",
    "adaptive": "output: adaptive, adaptive_cutoffs: [6, 11], adaptive_factor: 2.0",
    "mixture": "output: mos, mixture_softmaxes: 3",
    "mogrifier": "cell: mogrifier_lstm, mogrifier_rounds: 3, mogrifier_rank: 2",
    "adaptive, untied": "output: adaptive, adaptive_cutoffs: [6, 300], tie_weights: false",
}


def write_parent(folder, model="output: full", tokenization="words"):
    """Writes the text and the configuration of a model to start from; returns the latter."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "old.txt").write_text("\n".join(OLD) + "\n")
    (folder / "old.valid.txt").write_text("She has a cat .\nI grew up in Paris .\n" * 3)
    (folder / "my.txt").write_text("\n".join(NEW) + "\n")
    texts = (folder / "old.txt", folder / "old.valid.txt")
    (folder / "parent.yaml").write_text(PARENT % (*texts, tokenization, model))
    return folder / "parent.yaml"


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A folder with a finished run `parent`, which tests must not change, and a text `my.txt`."""
    folder = tmp_path_factory.mktemp("shared")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LSTM_LM_CACHE", str(folder / "cache"))
        lstm_lm.train(write_parent(folder), folder / "parent", report=str)
    return folder


@pytest.fixture
def place(shared, tmp_path, monkeypatch):
    """The working directory, with a copy of that run and the text."""
    shutil.copytree(shared / "parent", tmp_path / "parent")
    shutil.copy(shared / "my.txt", tmp_path / "my.txt")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def log_probabilities(network, tokens):
    with torch.no_grad():
        return network.eval()(tokens)[0]


# --- exactly the same at the start ----------------------------------------------------------------


@pytest.mark.parametrize("model", KINDS.values(), ids=KINDS)
def test_before_its_first_update_a_run_predicts_what_its_model_does(tmp_path, monkeypatch, model):
    """The differences between the logits of any two old words are those of the older network."""
    monkeypatch.chdir(tmp_path)
    parent = lstm_lm.train(write_parent(tmp_path, model), "parent", report=str)
    lines = []
    overrides = {"training.init_from": "parent", "corpus.extend_vocabulary": 4}
    config, _ = lstm_lm.training.resolving.resolve(
        "my.txt", overrides=overrides, report=lines.append
    )
    trainer, origin = build_run(config, tmp_path / "run", report=lines.append)
    old, new = parent.model, trainer.model
    known = len(old.vocabulary)
    assert new.vocabulary.words[:known] == old.vocabulary.words
    assert new.vocabulary.words[known:] == ["Italy", "He", "Rome", "dog"]
    assert origin.words == known
    tokens = torch.tensor(old.vocabulary.ids_of("She has a home in Paris".split())).unsqueeze(1)
    before, now = log_probabilities(old.network, tokens), log_probabilities(new.network, tokens)
    assert now.shape[-1] == known + 4
    now = now[..., :known]
    if "adaptive" in model:  # in the head all is equal, in the last cluster all but a constant
        assert torch.allclose(now[..., :6], before[..., :6], atol=1e-6)
        last = old.network.output.ends[-2]
        now, before = now[..., last:], before[..., last:]
    difference = now - before
    if "mos" in model:  # it holds for each softmax, not for their mixture
        for name in ("weight", "bias"):
            ours, theirs = getattr(new.network.output, name), getattr(old.network.output, name)
            assert torch.equal(ours[:known], theirs)
        assert torch.equal(new.network.hidden(tokens)[0], old.network.hidden(tokens)[0])
    else:
        assert torch.allclose(difference, difference[..., :1].expand_as(difference), atol=1e-5)
    assert difference.max() < 0  # the new words have the rest
    unseen = torch.tensor([[known], [known + 3]])
    assert torch.isfinite(log_probabilities(new.network, unseen)).all()
    gap = new.network.embedding(torch.arange(known)) - old.network.embedding(torch.arange(known))
    assert not gap.any()


def test_without_new_words_it_is_the_same_model(place):
    """Its first validation is that of the model itself, with a rate that changes nothing."""
    run = lstm_lm.train(
        "my.txt",
        "run",
        init_from="parent",
        report=str,
        **{"training.max_steps": 1, "optimizer.learning_rate": 1e-30}
        | {"optimizer.embedding_learning_rate": None},
    )
    parent = LanguageModel.from_pretrained("parent")
    assert run.model.vocabulary.to_json() == parent.vocabulary.to_json()
    for name, weight in run.model.network.named_parameters():
        assert torch.equal(weight, dict(parent.network.named_parameters())[name]), name
    first = read_log(run.folder / "metrics.jsonl")[0]
    config = load_run_config(run.folder)[0]
    tokens = lstm_lm.Corpus(config.corpus, vocabulary=parent.vocabulary).tokens("valid")
    found = lstm_lm.evaluation.perplexity.measure_perplexity(parent, tokens)
    assert (first["step"], first["split"]) == (0, "valid")
    assert first["perplexity"] == pytest.approx(found.perplexity, rel=1e-6)
    assert run.forgetting.after == pytest.approx(run.forgetting.before, rel=1e-6)


def test_weights_that_never_improve_are_those_of_the_model(place):
    run = lstm_lm.train(
        "my.txt",
        "run",
        init_from="parent",
        report=str,
        **{"training.max_steps": 3, "training.validate_every": 1},
        **{"optimizer.learning_rate": 10.0, "optimizer.warmup_steps": 0},
    )
    parent = LanguageModel.from_pretrained("parent")
    assert run.best_step == 0
    assert torch.equal(run.model.network.embedding.weight, parent.network.embedding.weight)


# --- what it prints and writes --------------------------------------------------------------------


def test_the_command_learns_and_says_what_was_forgotten(command, place):
    status, out, err = command(
        "train", "my.txt", "--init-from", "parent", "corpus.extend_vocabulary=3", *SHORT
    )
    assert status == 0, err
    more = "words at least twice that the model does not know; corpus.extend_vocabulary=5 adds them"
    assert "3 of them new" in out and f"train has 2 {more}" in out
    assert "valid perplexity of the corpus of parent: " in out and " before, " in out
    assert "not used, because training.init_from is parent: corpus.vocab_size" in err
    folder = place / "runs" / "my"
    config = load_config(folder / "config.yaml")
    assert config.training.init_from == "parent" and config.corpus.extend_vocabulary == 3
    assert config.model.hidden_size == 9 and config.model.embedding_dim == 8
    card = (folder / "README.md").read_text()
    assert "| started from | parent, run " in card and "of the model that it started from: " in card
    assert "  started from      parent, run " in command("info", folder)[1]
    assert "Private text" in card and "--ban" in card and "corpus.min_count" in card
    best = [line for line in read_log(folder / "metrics.jsonl") if line["split"] == "valid"]
    assert best[-1]["perplexity"] < best[0]["perplexity"]
    status, out, _ = command("evaluate", folder, "--json")
    assert json.loads(out)["perplexity"] == pytest.approx(best[-1]["perplexity"], rel=1e-6)


def test_what_was_forgotten_is_what_evaluation_says(place):
    run = lstm_lm.train(
        "my.txt",
        "run",
        init_from="parent",
        report=str,
        **{"training.max_epochs": 3},
        **{"optimizer.learning_rate": 0.02, "optimizer.warmup_steps": 0},
    )
    corpus = load_run_config(place / "parent")[0].corpus
    tokens = lstm_lm.Corpus(corpus, vocabulary=run.model.vocabulary).tokens("valid")
    now = lstm_lm.evaluation.perplexity.measure_perplexity(run.model, tokens).perplexity
    assert run.forgetting.after == pytest.approx(now, rel=1e-6)
    logged = [x for x in read_log(place / "parent" / "metrics.jsonl") if x["split"] == "valid"]
    assert run.forgetting.before == min(line["perplexity"] for line in logged)
    assert abs(run.forgetting.after - run.forgetting.before) > 0.01


@pytest.mark.parametrize("damage", ["changed", "gone", "unknown"])
def test_a_corpus_that_is_not_there_any_more_is_said(place, shared, tmp_path, damage):
    old = write_parent(tmp_path / "other")
    lstm_lm.train(old, "other/run", report=str)
    if damage == "changed":
        (tmp_path / "other" / "old.valid.txt").write_text("She has a cat .\n")
    elif damage == "gone":
        (tmp_path / "other" / "old.valid.txt").unlink()
    else:
        (tmp_path / "other" / "run" / "config.yaml").unlink()
    lines = []
    run = lstm_lm.train(
        "my.txt", "run", init_from="other/run", report=lines.append, **{"training.max_steps": 2}
    )
    assert run.finished and run.forgetting is None
    assert any("how much was forgotten of other/run is not known: " in line for line in lines)
    assert "of the model that it started from: " not in (run.folder / "README.md").read_text()


def test_a_dry_run_works_and_leaves_nothing(command, place):
    status, out, _ = command(
        "train",
        "my.txt",
        "--init-from",
        "parent",
        "corpus.extend_vocabulary=2",
        "--dry-run",
        "--json",
    )
    found = json.loads(out)
    known = len(LanguageModel.from_pretrained("parent").vocabulary)
    assert status == 0 and found["vocab_size"] == known + 2
    assert not (place / "runs").exists()


# --- mistakes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("model.hidden_size=10", "model.hidden_size: found 10, but parent has 9"),
        ("model.embedding_dim=10", "model.embedding_dim: found 10, but parent has 8"),
        ("model.num_layers=2", "model.num_layers: found 2, but parent has 1"),
        ("model.cell=gru", "model.cell: found gru, but parent has lstm"),
        ("model.tie_weights=false", "model.tie_weights: found false, but parent has true"),
        ("model.output_norm=false", "model.output_norm: found false, but parent has true"),
        ("model.output=adaptive", "model.output: found adaptive, but the weights of parent are"),
        ("model.output=mos", "are those of full; set model.output=full or sampled"),
        ("corpus.lowercase=true", "corpus.lowercase: found true, but parent has false"),
        ("corpus.tokenization=whitespace", "set corpus.tokenization=words"),
        ("corpus.vocab_size=100", "corpus.vocab_size: has no effect while training.init_from"),
        ("corpus.min_count=3", "corpus.min_count: has no effect while training.init_from"),
        ("training.word_vectors=my.txt", "training.word_vectors: has no effect while"),
    ],
)
def test_what_contradicts_the_model_is_one_sentence(refused, place, setting, said):
    assert said in refused("train", "my.txt", "--init-from", "parent", setting)
    assert not (place / "runs").exists()


def test_the_same_value_is_no_contradiction(command, place):
    words = ("my.txt", "--init-from", "parent", "model.hidden_size=9", "model.output=sampled")
    assert command("train", *words, "--dry-run")[0] == 0


def test_a_model_that_is_missing_is_named(refused, place):
    assert "training.init_from: runs/none: no such" in refused(
        "train", "my.txt", "--init-from", "runs/none"
    )
    assert "corpus.extend_vocabulary" in refused("train", "my.txt", "corpus.extend_vocabulary=3")


# --- resuming -------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["output: full", KINDS["adaptive"]], ids=["full", "adaptive"])
def test_stopped_and_resumed_without_the_model_equals_never_stopped(
    tmp_path, monkeypatch, command, model
):
    monkeypatch.chdir(tmp_path)
    lstm_lm.train(write_parent(tmp_path, model), "parent", report=str)
    words = ["my.txt", "--init-from", "parent", "corpus.extend_vocabulary=3", "--output"]
    steps = ["training.max_epochs=null", "training.validate_every=2", "training.device=cpu"]
    assert command("train", *words, "whole", *steps, "training.max_steps=5")[0] == 0

    class Stop(Exception):
        pass

    from lstm_lm.training import trainer as module

    update = module.Trainer.update

    def killed(self):
        if self.progress.step == 3:
            raise Stop
        update(self)

    with monkeypatch.context() as patch:
        patch.setattr(module.Trainer, "update", killed)
        with pytest.raises(Stop):
            command("train", *words, "stopped", *steps, "training.max_steps=5")
    shutil.rmtree("parent")
    again = ["train", *words, "stopped", *steps, "training.max_steps=5", "--resume"]
    status, out, err = command(*again)
    assert status == 0 and "from step 2" in out, err
    for name in ("model.safetensors", "training_state.safetensors", "metrics.jsonl", "config.json"):
        assert Path("stopped", name).read_bytes() == Path("whole", name).read_bytes(), name
    assert Path("stopped/README.md").read_text() == Path("whole/README.md").read_text()
    # and by its directory alone
    status, out, err = command("train", "stopped", "--resume", "training.max_steps=7")
    assert status == 0 and "from step 5" in out, err


def test_a_changed_text_is_not_resumed(refused, command, place):
    words = ("my.txt", "--init-from", "parent", "corpus.extend_vocabulary=3", *SHORT)
    assert command("train", *words)[0] == 0
    (place / "my.txt").write_text("\n".join(NEW[:-9]) + "\n")
    status, _, err = command("train", *words, "--resume")
    assert status == 2 and "runs/my: train had " in err
    assert "training.init_from was 'parent', is 'other'" in refused(
        "train", "runs/my", "--resume", "training.init_from=other"
    )


# --- words ----------------------------------------------------------------------------------------


def test_added_words_are_the_most_frequent_unknown_ones():
    base = Vocabulary.build(["a b b"], tokenization="words")
    counts = {"a": 9, "d": 3, "c": 3, "e": 5, "f": 1, "<unk>": 50}
    assert base.extended(counts, 3).words == ["<unk>", "<eos>", "b", "a", "e", "c", "d"]
    assert base.extended(counts, 9, min_count=3).words[4:] == ["e", "c", "d"]
    assert base.extended(counts, 0).to_json() == base.to_json()


def test_a_natural_text_is_spelled_as_a_tokenised_corpus_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lstm_lm.train(write_parent(tmp_path, tokenization="whitespace"), "parent", report=str)
    (tmp_path / "my.txt").write_text("She has a cat, and I grew up in Spain.\n" * 20)
    run = lstm_lm.train(
        "my.txt",
        "run",
        init_from="parent",
        report=str,
        **{"corpus.extend_vocabulary": 9, "training.max_steps": 2},
    )
    words = run.model.vocabulary
    assert words.tokenization == "whitespace" and words.words[-1] == "Spain"
    config = load_run_config(run.folder)[0]
    assert config.corpus.tokenization == "words"
    tokens = lstm_lm.Corpus(config.corpus, vocabulary=words).tokens("train")
    assert words.decode(tokens[0:12]) == "She has a cat , and I grew up in Spain ."
    assert tokens.unk_count == 0


def test_the_rules_of_the_words_are_those_of_the_model(tmp_path, monkeypatch):
    """A text of version 1 keeps its rules: the newest ones leave an address whole."""
    monkeypatch.chdir(tmp_path)
    old = write_parent(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("lstm_lm.training.run.LATEST_VERSION", 1)
        lstm_lm.train(old, "parent", report=str)
    (tmp_path / "my.txt").write_text("She has anna@example.org, a cat.\n" * 20)
    run = lstm_lm.train(
        "my.txt",
        "run",
        init_from="parent",
        report=str,
        **{"corpus.extend_vocabulary": 9, "training.max_steps": 2},
    )
    assert run.model.vocabulary.version == 1
    assert "@" in run.model.vocabulary.words and "example" in run.model.vocabulary.words


@pytest.mark.parametrize("model", ["full", "adaptive"])
def test_a_new_word_is_like_the_words_that_are_expected_in_its_places(model):
    """Against the same by hand: half `<unk>`, half the mean of what is expected."""
    torch.manual_seed(0)
    sizes = {"embedding_dim": 4, "hidden_size": 5, "num_layers": 1}
    config = ModelConfig(output=model, adaptive_cutoffs=(5,), **sizes)
    older = Network(config, 9)
    text = [2, 9, 3, 1, 10, 9, 4, 1] * 8  # 9 and 10 are new, 11 does not occur
    found = likeness_by_context(older, np.array(text), 3, 1).to_dense()
    assert found.shape == (3, 9) and torch.allclose(found.sum(1), torch.ones(3))
    assert found[2].tolist() == [1, 0, 0, 0, 0, 0, 0, 0, 0]
    sums, met = torch.zeros(2, 9), torch.zeros(2)
    for stream in range(16):  # of four words each
        piece = text[4 * stream : 4 * stream + 4]
        before = [text[4 * stream - 1] if stream else 1, *piece[:-1]]
        ids = torch.tensor([word if word < 9 else 0 for word in before]).unsqueeze(1)
        for place, word in enumerate(piece):
            if word >= 9:
                chances = log_probabilities(older, ids)[place, 0].exp()
                chances[:2] = 0
                sums[word - 9] += chances / chances.sum()
                met[word - 9] += 1
    expected = 0.5 * sums / met.unsqueeze(1)
    expected[:, 0] += 0.5
    assert torch.allclose(found[:2], expected, atol=1e-6)


def test_a_new_word_is_the_weighted_mean_of_old_ones_and_as_frequent_as_they():
    torch.manual_seed(0)
    config = ModelConfig(embedding_dim=4, hidden_size=5, num_layers=1, tie_weights=False)
    older, network = Network(config, 6), Network(config, 7)
    with torch.no_grad():
        older.output.bias.copy_(torch.tensor([0.0, 0.0, -1.0, -3.0, -3.5, -5.0]))
    likeness = torch.tensor([[0.0, 0, 0.25, 0.75, 0, 0]])
    continue_network(network, older, likeness, torch.tensor([0, 9, 90, 10, 10, 1, 10]))
    for table in ("embedding", "output"):
        old, new = getattr(older, table).weight, getattr(network, table).weight
        assert torch.allclose(new[6], 0.25 * old[2] + 0.75 * old[3])
    assert float(network.output.bias.detach()[6]) == pytest.approx(-3.25)


# --- word vectors ---------------------------------------------------------------------------------


def vector_lines(words, size=8, seed=0):
    rng = np.random.default_rng(seed)
    return {word: [round(float(x), 4) for x in rng.normal(size=size)] for word in words}


def write_vectors(path, vectors, header):
    lines = [f"{word} {' '.join(map(str, numbers))}" for word, numbers in vectors.items()]
    if header:
        lines.insert(0, f"{len(vectors)} {len(next(iter(vectors.values())))}")
    path.write_text("\n".join(lines) + "\n")
    return vectors


@pytest.mark.parametrize("header", [True, False], ids=["word2vec", "GloVe"])
def test_word_vectors_are_the_first_input_vectors(command, place, header):
    words = ["grew", "italy", ". . .", "she", "She", "elsewhere"]
    vectors = write_vectors(place / "vectors.txt", vector_lines(words), header)
    status, out, err = command(
        "train", "my.txt", "--init-from", "vectors.txt", "corpus.min_count=1", *SHORT
    )
    assert status == 0, err
    assert "vectors.txt: has 3 of the 14 words (21%); the others start at random" in out
    config = load_run_config(place / "runs" / "my")[0]
    assert config.training.word_vectors == "vectors.txt" and config.model.embedding_dim == 8
    assert json.loads(command("info", "runs/my", "--json")[1])["started_from"] == "vectors.txt"
    assert "| word vectors from | vectors.txt |" in (place / "runs/my/README.md").read_text()
    trainer, origin = build_run(config, place / "again", report=str)
    assert origin is None
    words = trainer.model.vocabulary
    expected = np.array([vectors["grew"], vectors["italy"], vectors["She"]])
    expected *= math.sqrt(1 / (3 * 8) / np.square(expected).mean())
    ids = [words.id(word) for word in ("grew", "Italy", "She")]
    found = trainer.network.embedding.weight[ids].detach().numpy()
    assert found == pytest.approx(expected, abs=1e-6)
    (place / "vectors.txt").unlink()
    assert command("train", "runs/my", "--resume", "training.max_epochs=3")[0] == 0
    again = ("my.txt", "training.word_vectors=vectors.txt", "corpus.min_count=1", *SHORT[1:])
    assert command("train", *again, "training.max_epochs=4", "--resume")[0] == 0


def test_vectors_of_another_size_are_one_sentence(refused, place):
    write_vectors(place / "v.txt", vector_lines(["grew"], size=5), header=False)
    said = refused("train", "my.txt", "--init-from", "v.txt", "model.embedding_dim=7")
    assert "model.embedding_dim: found 7, but v.txt has 5" in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("grew\n", "no file of word vectors"),
        ("She grew up in Italy\n", "no file of word vectors"),
        ("", "is empty"),
        ("2 3\ngrew 1 2 3\nup 1 2\n", "line 3: is no word with 3 numbers"),
        ("2 3\ngrew 1 2 nan\n", "line 2: is no word with 3 numbers"),
        ("grew 1 2 3\nup 1 x 2\n", "line 2: is no word with 3 numbers"),
    ],
)
def test_what_is_no_file_of_vectors_is_one_sentence(tmp_path, text, said):
    (tmp_path / "v.txt").write_text(text)
    with pytest.raises(CorpusError, match=said):
        WordVectors(str(tmp_path / "v.txt")).find(["<unk>", "<eos>", "grew", "up"])


def test_vectors_in_the_clusters_of_an_adaptive_network():
    """Vectors that lie in as few directions as a cluster has are there exactly."""
    torch.manual_seed(0)
    config = ModelConfig(
        embedding_dim=8,
        hidden_size=9,
        num_layers=1,
        output="adaptive",
        adaptive_cutoffs=(6,),
        adaptive_factor=4.0,
    )
    network = Network(config, 20)
    plane = torch.randn(2, 8)
    vectors = torch.cat([torch.randn(4, 8), torch.randn(14, 2) @ plane])
    ids = torch.arange(2, 20)
    use_word_vectors(network, ids, vectors)
    scale = (1 / (3 * 8) / vectors.square().mean()).sqrt()
    assert torch.allclose(network.embedding(ids), vectors * scale, atol=1e-5)


# --- settings that fit ----------------------------------------------------------------------------


def test_settings_for_a_start_are_chosen_from_their_own_table(place):
    lines = []
    overrides = {"training.init_from": "parent"}
    config, _ = lstm_lm.training.resolving.resolve(
        "my.txt", overrides=overrides, report=lines.append
    )
    assert config.optimizer.learning_rate == STARTED["optimizer.learning_rate"][0]
    assert config.optimizer.learning_rate < TABLE["optimizer.learning_rate"][0]
    assert config.model.hidden_dropout == 0  # one layer
    assert config.model.output == "full"


# --- training further -----------------------------------------------------------------------------


def rates(folder):
    return {
        line["step"]: line["learning_rate"]
        for line in read_log(folder / "metrics.jsonl")
        if line["split"] == "train"
    }


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_training_further_does_not_raise_the_learning_rate(command, place, shared, schedule):
    own = ("training.log_every=1", f"optimizer.schedule={schedule}", "optimizer.final_fraction=0.1")
    assert command("train", shared / "parent.yaml", "--output", "run", *own)[0] == 0
    first = rates(place / "run")
    lowest = min(first.values())
    assert lowest == first[max(first)]
    status, out, _ = command("train", "run", "--resume", "training.max_epochs=4")
    note = [line for line in out.splitlines() if "the learning rate stays at" in line]
    assert status == 0 and len(note) == 1
    assert f"stays at {lowest:.3g}, the lowest so far" in note[0]
    assert "optimizer.learning_rate" in note[0]
    later = {step: rate for step, rate in rates(place / "run").items() if step not in first}
    assert later and max(later.values()) <= lowest * (1 + 1e-9)
    # another peak asks for a higher rate
    status, out, _ = command(
        "train", "run", "--resume", "training.max_epochs=6", "optimizer.learning_rate=0.02"
    )
    assert status == 0 and "stays at" not in out
    asked = {step: rate for step, rate in rates(place / "run").items() if step > max(later)}
    first_asked = min(asked)
    corpus = lstm_lm.Corpus(load_run_config(place / "run")[0].corpus)
    length = math.ceil(len(corpus.tokens("train")) / 4)
    share = 1 - (4 + 10 / length) / 6  # after the first window of the fifth of six epochs
    if schedule == "cosine":
        share = (1 - math.cos(math.pi * share)) / 2
    assert asked[first_asked] == pytest.approx(0.02 * (0.1 + 0.9 * share))
    assert asked[first_asked] > 1.5 * lowest


def test_a_run_that_is_only_resumed_says_nothing_about_its_rate(command, place, shared):
    words = ("train", shared / "parent.yaml", "--output", "run", "training.validate_every=3")
    assert command(*words)[0] == 0
    status, out, _ = command("train", "run", "--resume")
    assert status == 0 and "stays at" not in out


def test_older_checkpoints_know_their_rate_from_the_log(place, shared, command, monkeypatch):
    from lstm_lm.training import checkpoint

    own = ("training.log_every=1",)
    assert command("train", shared / "parent.yaml", "--output", "run", *own)[0] == 0
    first = rates(place / "run")
    read = checkpoint._checked_progress

    def older(header, path):
        progress = read(header, path)
        progress.schedule_share, progress.schedule_peak = 1.0, None
        return progress

    monkeypatch.setattr(checkpoint, "_checked_progress", older)
    status, out, _ = command("train", "run", "--resume", "training.max_epochs=4")
    assert status == 0 and "the learning rate stays at" in out
    later = [rate for step, rate in rates(place / "run").items() if step not in first]
    assert max(later) <= min(first.values()) * (1 + 1e-9)


def test_a_config_object_that_contradicts_is_refused(place):
    with pytest.raises(ConfigError, match="model.hidden_size: found 200, but parent has 9"):
        lstm_lm.train(lstm_lm.Config(), "run", init_from="parent")
