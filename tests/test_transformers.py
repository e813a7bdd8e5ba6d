"""`lstm-lm export --format hf`, the Auto classes of transformers, and minicons."""

import copy
import importlib.util
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lstm_lm import LanguageModel
from lstm_lm.cells import find_cell, register_cell
from lstm_lm.config import ModelConfig
from lstm_lm.config.settings import CELLS
from lstm_lm.corpus.vocabulary import Vocabulary
from lstm_lm.errors import InputError
from lstm_lm.files.atomic import write_together
from lstm_lm.integrations import hf_folder
from lstm_lm.integrations.bundling import bundle
from lstm_lm.model.reading import prompt_words

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "scripts" / "check_transformers.py"
spec = importlib.util.spec_from_file_location("check_transformers", SCRIPT)
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)

FILES = {
    "README.md",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "modeling_lstm_lm.py",
    "tokenization_lstm_lm.py",
    "tokenizer.json",
    "tokenizer_config.json",
}


@pytest.fixture(scope="module")
def transformers():
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    module = pytest.importorskip("transformers")
    import lstm_lm.integrations.transformers  # noqa: F401

    module.logging.set_verbosity_error()
    module.logging.disable_progress_bar()
    return module


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Function: cell or output layer, tokenization -> a model, and the folder it is exported to."""
    made = {}

    def export(name, tokenization="words"):
        if (name, tokenization) not in made:
            folder = tmp_path_factory.mktemp("hf")
            vocabulary = Vocabulary.build(script.LINES, tokenization=tokenization)
            torch.manual_seed(0)
            config = script.OUTPUTS.get(name, {"cell": name})
            model = LanguageModel.from_config(ModelConfig(**{**script.SIZES, **config}), vocabulary)
            model.network.eval()
            write_together(hf_folder.files(model, folder, None))
            made[name, tokenization] = model, folder
        return made[name, tokenization]

    return export


@pytest.fixture(scope="module")
def loaded(transformers, exported):
    """Function: as `exported`, and returns our model, theirs, and their tokenizer."""

    def load(*names):
        model, folder = exported(*names)
        theirs = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
        return model, theirs, transformers.AutoTokenizer.from_pretrained(folder)

    return load


# --- the model -----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", [*CELLS, *script.OUTPUTS])
def test_everything_that_transformers_does_with_a_model_is_what_we_do(name, transformers, tmp_path):
    """Words, offsets, log-probabilities, padding, cache, every way to generate, loss, pipeline."""
    script.export_examples(tmp_path, [name])
    script.check(tmp_path / name, trust_remote_code=False)


@pytest.mark.slow
def test_the_folder_is_read_without_lstm_lm(transformers, tmp_path):
    """In a process that cannot import it, and from the copied Python files."""
    script.export_examples(tmp_path, ["lstm", "adaptive"])
    variables = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--check", str(tmp_path)],
        env=variables,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(": equal") == 2


def test_in_process_the_classes_of_the_package_are_used(transformers, exported):
    _, folder = exported("lstm")
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    assert type(model).__module__ == "lstm_lm.integrations.modeling_lstm_lm"
    assert isinstance(model.model.cells[0], find_cell("lstm"))
    assert model.config.tie_word_embeddings and model.config.num_hidden_layers == 2
    assert model.output.weight is model.model.embedding.weight
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    assert type(tokenizer).__module__ == "lstm_lm.integrations.tokenization_lstm_lm"


def test_the_base_model_has_what_classifiers_need(transformers, exported):
    ours, folder = exported("projected")
    model = transformers.AutoModel.from_pretrained(folder)
    ids = torch.tensor([[1, 4, 5], [1, 6, 7]])
    out = model(ids, output_hidden_states=True)
    hidden, _ = ours.network.hidden(ids.T)
    torch.testing.assert_close(out.last_hidden_state, hidden.transpose(0, 1))
    assert out.last_hidden_state.shape[-1] == model.config.hidden_size
    assert [part.shape[-1] for part in out.hidden_states] == [8, 11, 11]
    vectors = model.get_input_embeddings()(ids)
    torch.testing.assert_close(model(inputs_embeds=vectors)[0], out[0])
    assert isinstance(model(ids, return_dict=False), tuple)


def test_words_that_are_masked_are_not_read_wherever_they_are(loaded):
    """Also in the middle, and the state that is carried on is that after the last word."""
    _, model, _ = loaded("slstm")
    ids, holes = torch.tensor([[1, 5, 9, 6, 7]]), torch.tensor([[1, 0, 1, 0, 0]])
    with torch.no_grad():
        wanted, found = model(torch.tensor([[1, 9]])), model(ids, attention_mask=holes)
    torch.testing.assert_close(found.logits[:, [0, 2]], wanted.logits)
    for one, other in zip(found.cache.states, wanted.cache.states, strict=True):
        for part, other_part in zip(one, other, strict=True):
            torch.testing.assert_close(part, other_part)
    assert found.cache.words_read == 5
    # a mask of the whole text, while only its last word is read
    with torch.no_grad():
        step = model(torch.tensor([[4]]), attention_mask=torch.ones(1, 6), cache=found.cache)
        straight = model(torch.tensor([[1, 9, 4]]))
    torch.testing.assert_close(step.logits[:, -1], straight.logits[:, -1])


def test_a_cache_is_read_on_and_stays_as_it_is(loaded):
    """A prompt is read once and continued several times."""
    _, model, tokenizer = loaded("lstm")
    prompt = tokenizer("She has a home in", return_tensors="pt")
    with torch.no_grad():
        cache = model(**prompt).cache
    before = [[part.clone() for part in state] for state in cache.states]
    whole = {"max_new_tokens": 5, "do_sample": False}
    plain = model.generate(**prompt, **whole)
    ids = torch.cat([prompt["input_ids"], plain[:, 6:7]], 1)
    read = []
    forward = model.model.forward
    model.model.forward = lambda ids, **options: (
        read.append(ids.shape[1]),
        forward(ids, **options),
    )[1]
    again = model.generate(
        ids, attention_mask=torch.ones_like(ids), cache=cache, max_new_tokens=4, do_sample=False
    )
    assert again.tolist() == plain.tolist()
    assert read == [1] * len(read) and len(read) == again.shape[1] - ids.shape[1]
    for state, parts in zip(cache.states, before, strict=True):
        assert all(torch.equal(part, old) for part, old in zip(state, parts, strict=True))


def test_beams_and_resets_move_the_state_of_every_layer(loaded):
    _, model, _ = loaded("gru")
    with torch.no_grad():
        cache = model(torch.tensor([[1, 4], [1, 5], [1, 6]])).cache
    moved = copy.deepcopy(cache)
    moved.reorder_cache(torch.tensor([2, 2, 0]))
    for new, old in zip(moved.states, cache.states, strict=True):
        assert torch.equal(new.h, old.h[[2, 2, 0]])
    moved.reset()
    assert moved.get_seq_length() == 0 and not any(state.h.any() for state in moved.states)


def test_the_loss_trains(loaded):
    _, model, tokenizer = loaded("lstm")
    model = copy.deepcopy(model).train()
    batch = tokenizer(script.LINES[:4], padding=True, return_tensors="pt")
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = model(**batch, labels=labels).loss
        loss.backward()
        assert all(weight.grad is not None for weight in model.parameters())
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
    summed = model(**batch, labels=labels, num_items_in_batch=1).loss
    count = int((labels[:, 1:] != -100).sum())
    torch.testing.assert_close(summed / count, model(**batch, labels=labels).loss)


def test_what_cannot_be_read_is_refused_in_one_sentence(loaded):
    _, model, _ = loaded("lstm")
    for words, sentence in (
        ({}, "either input_ids or inputs_embeds"),
        ({"input_ids": torch.ones(1, 0, dtype=torch.long)}, "has no words"),
        (
            {"input_ids": torch.ones(1, 3, dtype=torch.long), "attention_mask": torch.ones(1, 2)},
            "attention_mask: found the shape",
        ),
    ):
        with pytest.raises(ValueError, match=sentence):
            model(**words)


def test_what_transformers_saves_is_read_again(transformers, loaded, tmp_path):
    for tokenization in ("words", "whitespace"):
        _, model, tokenizer = loaded("adaptive", tokenization)
        folder = tmp_path / tokenization
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        batch = tokenizer(script.TEXTS[1], return_tensors="pt")
        again = transformers.AutoTokenizer.from_pretrained(folder)
        assert again(script.TEXTS[1])["input_ids"] == batch["input_ids"][0].tolist()
        other = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
        assert torch.equal(other(**batch).logits, model(**batch).logits)


def test_logits_are_kept_where_they_are_asked_for(loaded):
    _, model, _ = loaded("lstm")
    ids = torch.tensor([[1, 4, 5, 6]])
    whole = model(ids).logits
    torch.testing.assert_close(model(ids, logits_to_keep=2).logits, whole[:, -2:])
    chosen = model(ids, logits_to_keep=torch.tensor([0, 3])).logits
    torch.testing.assert_close(chosen, whole[:, [0, 3]])
    assert model(ids, use_cache=False).cache is None


# --- the tokenizer -------------------------------------------------------------------------------

PIECES = [
    *("I", "She", "don't", "didn't", "well-known", "Well-Known", "1,000", "3.5", "O'Brien", "Mr."),
    *("F.", "him.", "known.", '"a', 'cat"', "(books)", "…", "“a”", "l'homme", "\u00ad", "a\u200bb"),
    *("<unk>", "@-@", "@", "-", "--", "n't", "'", ",", ".", "我喜欢", "café", "cafe\u0301", "🙂"),
]
LINE = st.lists(st.sampled_from(PIECES), max_size=8).map(" ".join)


@pytest.mark.parametrize("lowercase", [False, True])
@pytest.mark.parametrize("tokenization", ["words", "whitespace"])
def test_text_is_spelled_as_we_spell_it(transformers, tmp_path, tokenization, lowercase):
    """Any typed text, and its offsets point at the words, in their order."""
    lines = [*script.LINES, "Mr. O 'Brien . Mr. 3 @.@ 5 l' homme café 我 “ a ” @"]
    vocabulary = Vocabulary.build(lines, tokenization=tokenization, lowercase=lowercase)
    config = ModelConfig(embedding_dim=2, hidden_size=2, num_layers=1)
    model = LanguageModel.from_config(config, vocabulary)
    write_together(hf_folder.files(model, tmp_path, None))
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)

    @settings(deadline=None, max_examples=150)
    @given(st.lists(LINE, min_size=1, max_size=3).map("\n".join))
    @example("John F. <unk> him. <unk>\nhim.")
    @example(" \n \n")
    @example("")
    def check(text):
        encoded = tokenizer(text, return_offsets_mapping=True)
        wanted = prompt_words(vocabulary, text)
        assert encoded["input_ids"] == vocabulary.ids_of(wanted), (encoded.tokens(), wanted)
        places = encoded["offset_mapping"][1:]
        assert all(start <= end for start, end in places)
        assert places == sorted(places)
        covered = "".join(text[start:end] for start, end in places)
        assert "".join(covered.split()) == "".join(text.split()).replace("\u00ad", "").replace(
            "\u200b", ""
        ) or any(mark in text for mark in "\u00ad\u200b\u0301")

    check()


def test_the_line_end_before_a_text_is_there_once(loaded):
    _, _, tokenizer = loaded("lstm")
    plain = tokenizer("She has")["input_ids"]
    assert plain[0] == tokenizer.bos_token_id and plain[-1] != tokenizer.eos_token_id
    assert tokenizer("<eos>She has")["input_ids"] == plain
    assert tokenizer(["<eos>She has"])["input_ids"] == [plain]
    assert tokenizer(" <eos>She has")["input_ids"] == [plain[0], *plain]
    assert tokenizer("<eos>She has", add_special_tokens=False)["input_ids"] == plain
    assert tokenizer("She has", add_special_tokens=False)["input_ids"] == plain[1:]
    assert tokenizer(["She", "has"], is_split_into_words=True)["input_ids"] == plain
    assert tokenizer("She", "has")["input_ids"] == [plain[0], plain[1], plain[0], plain[2]]


@pytest.mark.parametrize("tokenization", ["words", "whitespace"])
def test_ids_become_text_as_it_is_printed(loaded, tokenization):
    ours, _, tokenizer = loaded("lstm", tokenization)
    text = "She has a home in Paris, and a cat.\nI speak fluent French."
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == text
    assert tokenizer.decode(ids) == "<eos> " + text.replace("\n", " <eos> ")
    padded = [1, 1, *ids, 1]
    assert tokenizer.decode(padded, skip_special_tokens=True) == text
    # a continuation stands by itself: the space before it is its own
    assert tokenizer.decode(ids[4:6], skip_special_tokens=True) == " home in"
    assert tokenizer.decode(ids[7:9], skip_special_tokens=True) == ", and"
    assert tokenizer.convert_ids_to_tokens(ids[:2]) == ["<eos>", "She"]
    assert tokenizer.vocab_size == len(tokenizer) == len(ours.vocabulary)


def test_a_tokenizer_is_copied_and_used_by_many_threads(loaded, monkeypatch):
    """The part in Python is set up again in the copy, and waits for nobody."""
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "true")
    ours, _, tokenizer = loaded("lstm", "whitespace")
    twin = copy.deepcopy(tokenizer)
    draw = random.Random(0)
    texts = [" ".join(draw.choices(PIECES, k=9)) for _ in range(300)]
    wanted = [ours.vocabulary.ids_of(prompt_words(ours.vocabulary, text)) for text in texts]
    assert twin(texts)["input_ids"] == tokenizer(texts)["input_ids"] == wanted


def test_long_texts_are_cut_at_the_end(loaded):
    _, _, tokenizer = loaded("lstm", "whitespace")
    ids = tokenizer(script.TEXTS[0])["input_ids"]
    assert tokenizer(script.TEXTS[0], truncation=True, max_length=4)["input_ids"] == ids[:4]


# --- minicons ------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("tokenization", ["words", "whitespace"])
def test_minicons_finds_our_surprisals(loaded, tokenization, command, tmp_path):
    scorer = pytest.importorskip("minicons.scorer")
    ours, model, tokenizer = loaded("lstm", tokenization)
    ours.save_pretrained(tmp_path / "model")
    texts = ["I didn't buy 1,000 well-known books.", "She has a xyzzy cat.", "I"]
    lm = scorer.IncrementalLMScorer(model, "cpu", tokenizer=tokenizer)
    found = lm.token_score(texts, bos_token=True, surprisal=True, base_two=True)
    (tmp_path / "texts.txt").write_text("\n".join(texts) + "\n")
    status, out, _ = command(
        "score", tmp_path / "model", "--file", tmp_path / "texts.txt", "--json"
    )
    assert status == 0
    lines = [json.loads(line)["words"] for line in out.splitlines()]
    assert len(lines) == len(found) == len(texts)
    for scored, line in zip(found, lines, strict=True):
        assert scored[0] == ("<eos>", 0.0)
        assert len(scored) == len(line)  # the first for the last, which is the line end
        for (word, surprisal), wanted in zip(scored[1:], line, strict=False):
            assert word == (wanted["word"] if wanted["known"] else "<unk>")
            assert surprisal == pytest.approx(wanted["surprisal"], abs=1e-4)


# --- the command ---------------------------------------------------------------------------------


def test_export_writes_a_folder_and_says_what(command, finished_run, tmp_path):
    status, out, _ = command("export", finished_run, tmp_path / "hf", "--format", "hf", "--json")
    written = json.loads(out)
    assert status == 0 and written["format"] == "hf"
    assert {Path(path).name for path in written["files"]} == FILES
    assert {path.name for path in (tmp_path / "hf").iterdir()} == FILES
    assert all(Path(path).stat().st_size == size for path, size in written["files"].items())


def test_a_revision_is_exported_as_a_run_is(command, config, transformers, tmp_path):
    command("train", config, "--output", tmp_path / "run", "training.keep_at_words=[100]")
    revision = tmp_path / "run" / "revisions" / "chck_100"
    assert command("export", revision, tmp_path / "hf", "--format", "hf")[0] == 0
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "hf")
    ours = LanguageModel.from_pretrained(revision)
    ids = torch.tensor([[1, 3, 4]])
    wanted, _ = ours.network(ids.T)
    torch.testing.assert_close(model(ids).logits, wanted.transpose(0, 1))


def test_mistakes_of_an_export_are_one_line(refused, a_run, tmp_path):
    target = tmp_path / "hf"
    target.mkdir()
    assert "is there already" in refused("export", a_run, target, "--format", "hf")
    (tmp_path / "file").write_text("")
    error = refused("export", a_run, tmp_path / "file", "--format", "hf", "--overwrite")
    assert "is a file, and this format is a folder" in error
    error = refused("export", a_run, target, "--format", "hf", "--overwrite", "--quantize", "int8")
    assert "quantize: found int8" in error and "leave it out" in error
    before = {path.name: path.read_bytes() for path in a_run.iterdir()}
    error = refused("export", a_run, a_run, "--format", "hf", "--overwrite")
    assert "export into a folder of its own" in error
    assert {path.name: path.read_bytes() for path in a_run.iterdir()} == before
    assert not any(target.iterdir())
    weights = bytearray((a_run / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (a_run / "model.safetensors").write_bytes(weights)
    assert "damaged" in refused("export", a_run, tmp_path / "new", "--format", "hf")
    assert not (tmp_path / "new").exists()


def test_an_exported_folder_may_be_exported_again(command, finished_run, tmp_path):
    arguments = ("export", finished_run, tmp_path / "hf", "--format", "hf")
    assert command(*arguments)[0] == 0
    first = {path.name: path.read_bytes() for path in (tmp_path / "hf").iterdir()}
    assert command(*arguments, "--overwrite")[0] == 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "hf").iterdir()} == first


def test_a_cell_from_elsewhere_is_refused(monkeypatch, vocabulary, tmp_path):
    class OwnCell(find_cell("gru")):
        pass

    monkeypatch.setattr("lstm_lm.config.settings.CELLS", CELLS)
    register_cell("own_cell", OwnCell)
    try:
        config = ModelConfig(cell="own_cell", embedding_dim=4, hidden_size=4)
        model = LanguageModel.from_config(config, vocabulary)
        with pytest.raises(InputError, match="cell own_cell: is not one of this package"):
            hf_folder.files(model, tmp_path / "hf", None)
    finally:
        del CELLS["own_cell"]


def test_without_transformers_the_import_says_what_to_install():
    code = (
        "import sys; sys.modules['transformers'] = None\n"
        "from lstm_lm.errors import UserError\n"
        "try: import lstm_lm.integrations.transformers\n"
        "except UserError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "needs the package transformers" in done.stdout
    assert 'pip install "lstm_lm[hf]"' in done.stdout and done.stdout.count("\n") == 1


# --- copying code --------------------------------------------------------------------------------


def write_modules(folder, monkeypatch, package, **texts):
    (folder / package).mkdir()
    for name, text in {"__init__": "", **texts}.items():
        (folder / package / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr("lstm_lm.integrations.bundling.PACKAGE", package)


def test_only_what_is_used_is_copied_and_in_order(tmp_path, monkeypatch):
    write_modules(
        tmp_path,
        monkeypatch,
        "a_package",
        one='"""One."""\nimport math\nfrom a_package.two import used\n\nLIMIT = used(math.pi)\n',
        two=(
            "import os\nfrom collections import Counter as Counted\n\n# explained\nBASE = 3\n\n\n"
            "def unused():\n    return os.sep\n\n\ndef used(x):\n    return Counted()[x] + BASE\n"
        ),
    )
    text = bundle("a_package.one")
    names = {}
    exec(text, names)
    assert names["LIMIT"] == 3 and names["__doc__"] == "One."
    assert "unused" not in text and "import os" not in text and "a_package" not in text
    assert text.index("# explained\nBASE = 3") < text.index("def used(x):") < text.index("LIMIT =")
    replaced = bundle("a_package.one", {"used": "def used(x):\n    return 7\n"})
    exec(replaced, names)
    assert names["LIMIT"] == 7 and "BASE" not in replaced


def test_two_things_of_one_name_are_not_copied(tmp_path, monkeypatch):
    write_modules(
        tmp_path,
        monkeypatch,
        "other_package",
        one="from other_package.two import used\n\n_NAME = used()\n",
        two="_NAME = 1\n\n\ndef used():\n    return _NAME\n",
    )
    with pytest.raises(ValueError, match="_NAME is in other_package.one and in other_package.two"):
        bundle("other_package.one")
