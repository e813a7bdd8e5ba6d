"""A run's model is pushed with its card, and pulled again; what is refused is one sentence."""

import json
import re
import shutil

import pytest
import yaml
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import eval_results_to_model_index, model_index_to_eval_results

from lstm_lm import LanguageModel
from lstm_lm.model.hub import MODEL_FILES, check_name
from lstm_lm.training.card import build_card
from lstm_lm.training.results import read_results
from tests.hub_server import TOKEN, run_commands, run_python, running_hub

NAME = "anna/tiny"


@pytest.fixture
def hub():
    with running_hub() as hub:
        yield hub


def header_of(card):
    return yaml.safe_load(re.match(r"---\n(.*?)---\n", card, re.DOTALL)[1])


def card_of(run):
    return (run / "README.md").read_text(encoding="utf-8")


# --- the card -------------------------------------------------------------------------------------


def metrics(card, split, state="carried"):
    """The metrics of a split in a card's model-index, by type."""
    (index,) = header_of(card)["model-index"]
    (entry,) = [
        one
        for one in index["results"]
        if one["dataset"]["split"] == split and one["dataset"].get("args") == {"state": state}
    ]
    return {metric["type"]: metric["value"] for metric in entry["metrics"]}


def test_the_card_of_a_run_has_a_model_index_that_the_hub_s_library_reads(a_run):
    card = card_of(a_run)
    index = header_of(card)["model-index"]
    name, results = model_index_to_eval_results(index)
    assert name == "word-level lstm" and eval_results_to_model_index(name, results) == index
    assert {one.metric_type for one in results} == {"perplexity", "tokens", "oov_tokens"}
    assert all(one.task_type == "text-generation" for one in results)
    read = ModelCard(card)  # raises if the metadata are not valid
    assert read.data.library_name == "lstm_lm" and read.data.eval_results == results
    best = min(
        (json.loads(line) for line in (a_run / "metrics.jsonl").read_text().splitlines()),
        key=lambda line: line["loss"] if line["split"] == "valid" else float("inf"),
    )
    assert metrics(card, "valid") == {
        "perplexity": best["perplexity"],
        "tokens": best["tokens"],
        "oov_tokens": best["oov_tokens"],
    }
    assert best["oov_tokens"] > 0 and "Test was not measured." in card


def test_what_is_measured_later_is_added_to_the_card(a_run, command):
    before = card_of(a_run)
    (a_run / "README.md").write_text(before.replace("# A word-level", "# My word-level") + "mine\n")
    status, out, err = command("evaluate", a_run, "--reset-per-line", "--json")
    assert (status, err) == (0, ""), err
    found, card = json.loads(out), card_of(a_run)
    assert metrics(card, "valid", "reset")["perplexity"] == found["perplexity"]
    assert metrics(card, "valid") == metrics(before, "valid")
    assert f"| {found['perplexity']:.2f} | {found['tokens']:,} |" in card
    assert "# My word-level" in card and card.endswith("mine\n")
    assert command("evaluate", a_run, "--reset-per-line")[0] == 0 and card_of(a_run) == card
    ModelCard(card)


def test_probes_are_added_to_the_card(a_run, command, tmp_path):
    suite = tmp_path / "where.tsv"
    suite.write_text(
        "id\tprefix\ttarget\tfoil\n1\tI grew up in\tFrance\tParis\n2\tShe has a\thome\tcat\n"
        "3\tI speak\tfluent\tzzz\n"
    )
    status, out, _ = command("probe", a_run, suite, "--json")
    (row,) = json.loads(out)["suites"]
    card = card_of(a_run)
    (index,) = header_of(card)["model-index"]
    assert index["results"][-1] == {
        "task": {"type": "text-generation", "name": "Word-level language modeling"},
        "dataset": {
            "type": "lstm_lm/probes",
            "name": "where.tsv",
            "config": "where.tsv",
            "split": "test",
        },
        "metrics": [
            {"type": "accuracy", "name": "target over foil, 2 items", "value": row["accuracy"]},
            {
                "type": "accuracy",
                "name": "target is the most probable word, 2 items",
                "value": row["top_1"],
            },
        ],
    }
    assert row["suite"] == str(suite) and str(tmp_path) not in card
    assert f"| where.tsv | 2 | 1 | {row['accuracy']:.1%} | " in card
    assert "zzz" not in card + (a_run / "results.json").read_text()  # no words of the questions
    ModelCard(card)


def test_results_of_other_weights_are_not_shown(a_run, command):
    assert command("evaluate", a_run, "--reset-per-line")[0] == 0
    assert len(read_results(a_run).perplexities) == 1
    content = (a_run / "results.json").read_text()
    (a_run / "results.json").write_text(content.replace('"state": "reset"', '"state": "Reset"'))
    assert read_results(a_run).perplexities == ()  # damaged
    (a_run / "results.json").write_text(content)
    LanguageModel.from_pretrained(a_run).save_pretrained(a_run.parent / "saved")
    (a_run.parent / "saved" / "results.json").write_text(content)
    assert read_results(a_run.parent / "saved").perplexities == ()  # of another run


def test_more_training_keeps_what_was_written_into_the_card(a_run, command):
    (a_run / "README.md").write_text(card_of(a_run).replace("# A word-level", "# My word-level"))
    before = card_of(a_run)
    assert command("train", a_run, "--resume")[0] == 0 and card_of(a_run) == before
    assert command("train", a_run, "--resume", "training.max_steps=14")[0] == 0
    assert "# My word-level" in card_of(a_run) and "| 14, " in card_of(a_run)
    (a_run / "README.md").write_text("my own words\n")
    status, out, _ = command("train", a_run, "--resume")
    assert status == 0 and "does not begin with a header" in out
    assert card_of(a_run) == "my own words\n"


def test_a_card_without_a_header_is_left_alone(a_run, command):
    (a_run / "README.md").write_text("my own words\n")
    status, _, err = command("evaluate", a_run)
    assert status == 0 and err.startswith("note: ") and "header" in err and err.count("\n") == 1
    assert card_of(a_run) == "my own words\n" and len(read_results(a_run).perplexities) == 1


@pytest.mark.skipif(not hasattr(__import__("os"), "geteuid"), reason="POSIX")
def test_a_run_that_cannot_be_written_to_is_still_evaluated(a_run, command, monkeypatch):
    def refuse(*args):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("lstm_lm.files.atomic.os.replace", refuse)
    status, out, err = command("evaluate", a_run)
    assert status == 0 and "perplexity" in out
    assert err.startswith("note: not kept in the run: ") and err.count("\n") == 1


def test_the_card_does_not_say_where_the_files_are(a_run):
    card = build_card(a_run, read_results(a_run))
    assert "files: train.txt, valid.txt" in card and str(a_run.parent) not in card
    assert "/corpus/" not in card


def test_a_data_set_of_the_hub_is_named_as_one(a_run, monkeypatch):
    from dataclasses import replace

    from lstm_lm.config import CorpusConfig
    from lstm_lm.training import card as card_module

    load = card_module.load_run_config

    def from_hub(folder):
        config, run_id = load(folder)
        corpus = CorpusConfig(source="hub", dataset="Salesforce/wikitext", dataset_config="w2")
        return replace(config, corpus=corpus), run_id

    monkeypatch.setattr(card_module, "load_run_config", from_hub)
    lines = (a_run / "metrics.jsonl").read_text()
    assert "sources" not in lines
    header = header_of(build_card(a_run, read_results(a_run)))
    assert header["datasets"] == ["Salesforce/wikitext"]
    dataset = header["model-index"][0]["results"][0]["dataset"]
    assert dataset["type"] == "Salesforce/wikitext" and dataset["config"] == "w2"
    assert dataset["split"] == "valid"


# --- push and pull --------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_run_is_pushed_and_pulled(hub, a_run, tmp_path):
    (first, again, branch, pulled, other, no_branch) = run_commands(
        [
            (["push", a_run, NAME, "--private"], TOKEN),
            ["push", a_run, NAME, "--token", TOKEN, "--json"],
            (["push", a_run, f"hub:{NAME}", "--revision", "chck_1M"], TOKEN),
            (["predict", NAME, "I grew up in", "--json"], TOKEN),
            ["push", a_run, "someone/else"],
            (["push", a_run, "someone/else", "--revision", "a b"], TOKEN),
        ],
        hub.address,
        tmp_path / "hf",
    )
    assert first[0] == 0 and first[2] == "", first
    size = sum((a_run / name).stat().st_size for name in MODEL_FILES)
    assert first[1].startswith(f"{hub.address}/{NAME} (private, main): config.json, ")
    assert first[1].count("\n") == 1 and " kB\n" in first[1] and size < 1e6
    files = hub.files(NAME)
    assert set(files) == set(MODEL_FILES)  # no training state, log or config.yaml
    for name in MODEL_FILES[:3]:
        assert files[name] == (a_run / name).read_bytes()
    card = files["README.md"].decode()
    assert f'from_pretrained("{NAME}")' in card and "path/to/this" not in card
    assert metrics(card, "valid") == metrics(card_of(a_run), "valid")
    assert header_of(card)["model-index"][0]["name"] == "tiny"
    assert hub.validated == [card] * 3
    assert hub.repositories["models", NAME].private
    said = json.loads(again[1])
    assert again[0] == 0 and said["private"] and sorted(said["files"]) == sorted(MODEL_FILES)
    assert branch[0] == 0 and "(private, chck_1M)" in branch[1]
    assert set(hub.files(NAME, "chck_1M")) == set(MODEL_FILES)
    ours = LanguageModel.from_pretrained(a_run).predict_next("I grew up in")
    assert pulled[0] == 0, pulled
    found = [p["word"] for p in json.loads(pulled[1])["predictions"]]
    assert found == [p.word for p in ours][: len(found)]
    assert other[0] == 2 and "HF_TOKEN" in other[2] and other[2].count("\n") == 1
    assert no_branch[0] == 2 and "Invalid reference name: a b" in no_branch[2]
    assert no_branch[2].count("\n") == 1


PULL = """
import json, sys
from lstm_lm import LanguageModel
from lstm_lm.errors import UserError
results = []
for name, revision, token in json.load(sys.stdin):
    try:
        model = LanguageModel.from_pretrained(name, revision=revision, token=token)
        results.append(model.describe())
    except UserError as error:
        results.append(f"{type(error).__name__}: {error}")
print(json.dumps(results))
"""


@pytest.mark.slow
def test_revisions_tokens_and_models_of_others(hub, a_run, make_model, tmp_path):
    make_model(hidden_size=9, num_layers=1).save_pretrained(tmp_path / "small")
    files = {name: (a_run / name).read_bytes() for name in MODEL_FILES}
    repository = hub.add("models", NAME, files, private=True)
    commit = repository.commit("main")
    small = {name: (tmp_path / "small" / name).read_bytes() for name in MODEL_FILES}
    repository.branches["small"] = [{}, small]
    exported = {"model_type": "lstm_lm", "architectures": ["LstmLmForCausalLM"]}
    hub.add("models", "anna/exported", {"config.json": json.dumps(exported).encode()})
    hub.add("models", "anna/gpt2", {"config.json": b'{"model_type": "gpt2"}'})
    hub.add("models", "anna/empty", {"README.md": b"hello"})
    hub.add("models", "anna/cut", {**files, "model.safetensors": files["model.safetensors"][:-9]})
    asked = [
        (NAME, None, "hf_wrong"),  # first: what is in the hub's cache needs no token
        (NAME, None, TOKEN),
        (NAME, "small", TOKEN),
        (NAME, commit, TOKEN),
        (f"hub:{NAME}", "small", TOKEN),
        (NAME, "none", TOKEN),
        ("anna/exported", None, None),
        ("anna/gpt2", None, None),
        ("anna/empty", None, None),
        ("anna/cut", None, None),
        (str(a_run), "small", None),
    ]
    done = run_python(PULL, hub.address, tmp_path / "hf", stdin=json.dumps(asked))
    assert done.returncode == 0, done.stderr
    wrong, *found = json.loads(done.stdout)
    assert done.stderr == ""
    assert wrong.startswith(f"HubError: {NAME}: ") and "hf auth login" in wrong
    assert [text.split(",")[0] for text in found[:4]] == ["lstm 8", "lstm 9", "lstm 8", "lstm 9"]
    assert found[4].startswith(f"HubError: {NAME}: the hub has no revision 'none'")
    assert found[5].startswith("HubError: hub:anna/exported: is an export for transformers")
    assert "AutoModelForCausalLM" in found[5]
    assert found[6].startswith("HubError: hub:anna/gpt2: is a model of another program")
    assert found[7].startswith("HubError: hub:anna/empty: this repository has no config.json")
    assert found[8].startswith("HubError: hub:anna/cut/model.safetensors: ")
    assert found[9].startswith("RunDirectoryError: ") and "no revision" in found[9]
    assert not any("\n" in text for text in found)


@pytest.mark.slow
def test_what_push_refuses(hub, a_run, tmp_path):
    damaged = shutil.copytree(a_run, tmp_path / "damaged")
    weights = bytearray((damaged / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (damaged / "model.safetensors").write_bytes(weights)
    begun = shutil.copytree(a_run, tmp_path / "begun")
    (begun / "model.safetensors").unlink()
    unlabelled = shutil.copytree(a_run, tmp_path / "unlabelled")
    (unlabelled / "README.md").write_text("---\n: [\n---\n")
    hub.add("models", "anna/theirs", {"config.json": b'{"model_type": "gpt2"}'})
    hub.add("models", "anna/words", {"README.md": b"a licence"})
    hub.add("models", "anna/public", {})
    commands = {
        "damaged": ["push", damaged, NAME],
        "begun": ["push", begun, NAME],
        "card": ["push", unlabelled, NAME],
        "none": ["push", tmp_path / "none", NAME],
        "name": ["push", a_run, "no name/at all"],
        "no user": ["push", a_run, "tiny"],
        "theirs": ["push", a_run, "anna/theirs"],
        "words": ["push", a_run, "anna/words"],
        "public": ["push", a_run, "anna/public", "--private"],
        "not mine": ["push", a_run, "stranger/model"],
    }
    found = run_commands(
        [(words, TOKEN) for words in commands.values()]
        + [["push", a_run, NAME], (["push", a_run, NAME], "hf_wrong")]
        + [(["push", a_run, "anna/theirs", "--overwrite"], TOKEN)],
        hub.address,
        tmp_path / "hf",
    )
    errors = dict(zip([*commands, "no token", "wrong token", "overwrite"], found, strict=True))
    overwritten = errors.pop("overwrite")
    for what, (status, out, err) in errors.items():
        assert status == 2 and out == "" and err.count("\n") == 1, (what, err)
        assert err.startswith("lstm-lm: error: "), err
    said = {what: err.removeprefix("lstm-lm: error: ") for what, (_, _, err) in errors.items()}
    assert "model.safetensors" in said["damaged"] and "damaged" in said["damaged"]
    assert "is missing" in said["begun"] and "header" in said["card"]
    assert "no such run directory" in said["none"]
    assert "user/name" in said["name"] and "user/name" in said["no user"]
    assert "--overwrite" in said["theirs"] and "--overwrite" in said["words"]
    assert "public" in said["public"] and "stranger/model" in said["not mine"]
    assert "HF_TOKEN" in said["no token"] and "token" in said["wrong token"]
    assert overwritten[0] == 0 and set(hub.files("anna/theirs")) == set(MODEL_FILES)
    assert ("models", NAME) not in hub.repositories  # nothing was made before it was refused
    assert set(hub.files("anna/words")) == {"README.md"} and not hub.files("anna/public")


@pytest.mark.slow
def test_push_without_a_network(a_run, tmp_path):
    with running_hub() as gone:
        address = gone.address
    offline, unreachable = (
        run_commands([(["push", a_run, NAME], TOKEN)], address, tmp_path / "hf", **more)[0]
        for more in ({"HF_HUB_OFFLINE": "1"}, {})
    )
    for status, out, err in (offline, unreachable):
        assert status == 2 and not out and err.startswith(f"lstm-lm: error: {NAME}: the hub ")
        assert err.count("\n") == 1
    assert "HF_HUB_OFFLINE" in offline[2]


@pytest.mark.parametrize("name", ["a/b", "hub:anna/My-model_1.0", "_a/b_"])
def test_names_that_a_repository_can_have(name):
    assert check_name(name) == name.removeprefix("hub:")


@pytest.mark.parametrize(
    "name",
    ["a", "a/b/c", "a/-b", "a/b-", "a/b--c", "a/b..c", "a/b.git", "a/ü", "a/", "a/" + 99 * "b"],
)
def test_names_that_it_cannot_have(name):
    from lstm_lm.errors import InputError

    with pytest.raises(InputError, match="is no name on the hub; give user/name"):
        check_name(name)
