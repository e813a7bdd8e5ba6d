"""Laws of the harness: its accuracies and perplexities are those of `probe` and `evaluate`."""

import json
import math
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("lm_eval")

import torch

from lstm_lm.cli.main import main
from lstm_lm.config import CELLS, CorpusConfig
from lstm_lm.errors import ConfigError, InputError, RunDirectoryError
from lstm_lm.integrations.harness.reading import Reader
from lstm_lm.integrations.harness.scoring import Question, score
from lstm_lm.integrations.lm_eval import LstmLm

try:
    import tomllib
except ImportError:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
SENTENCES = [
    ("I grew up in France .", "I grew up in cat ."),
    ("She has a home in Paris .", "She has a home in fluent ."),
    ("I speak fluent French .", "I speak France fluent ."),
    ("She has a cat .", "She speak a cat ."),
    ("a cat has a home .", "a cat has grew home ."),
]
TEXTS = ["I grew up in France", "I speak fluent French", "She has a home in Paris", "and a cat"]


def requests(*arguments):
    return [SimpleNamespace(args=one) for one in arguments]


@pytest.fixture
def lm(finished_run):
    return LstmLm(pretrained=str(finished_run))


# --- scores ---------------------------------------------------------------------------------------


def test_a_text_without_a_context_is_scored_with_its_line_end(lm):
    text = "She has a cat .\nI speak fluent French ."
    ((found, _),) = lm.loglikelihood(requests(("", text)))
    bits = sum(word.surprisal for word in lm.model.score(text))
    assert found == pytest.approx(-bits * math.log(2), abs=1e-9)


def test_a_continuation_is_scored_after_its_context(lm):
    context, continuation = "I grew up in France .\nI speak", " fluent French"
    ((found, _),) = lm.loglikelihood(requests((context, continuation)))
    scores = lm.model.score(context + continuation)[:-1]
    assert [word.word for word in scores[-2:]] == ["fluent", "French"]
    bits = sum(word.surprisal for word in scores[-2:])
    assert found == pytest.approx(-bits * math.log(2), abs=1e-9)


def test_scores_do_not_depend_on_the_texts_beside_them(lm):
    pairs = [(a, f" {b}") for a in ["", *TEXTS] for b in ["cat", "a home", "France . I speak"]]
    together = lm.loglikelihood(requests(*pairs))
    for pair, value in zip(pairs, together, strict=True):
        ((alone, greedy),) = lm.loglikelihood(requests(pair))
        assert value == (pytest.approx(alone, abs=1e-12), greedy)
    lm.batch_size = 2
    in_twos = lm.loglikelihood(requests(*pairs))
    assert [nats for nats, _ in in_twos] == pytest.approx([nats for nats, _ in together], abs=1e-12)


@pytest.mark.parametrize("cell", sorted(CELLS))
def test_contexts_that_are_read_once_give_what_whole_texts_give(cell, make_model, monkeypatch):
    """For every cell, in windows and blocks of any size; contexts of all lengths side by side."""
    from lstm_lm.integrations.harness import scoring

    monkeypatch.setattr(scoring, "WINDOW_LENGTH", 3)
    monkeypatch.setattr(scoring, "LARGEST_OUTPUT", 40)
    model = make_model(cell=cell).in_double_precision()
    draw = torch.Generator().manual_seed(0)

    def ids(length):
        return tuple(torch.randint(len(model.vocabulary), (length,), generator=draw).tolist())

    contexts = [(1, *ids(length)) for length in (0, 1, 2, 3, 4, 7, 0)]
    questions = [Question(context, ids(n)) for context in contexts for n in (1, 2, 5, 0)]
    for question, (found, greedy) in zip(questions, score(model.network, questions), strict=True):
        if not question.words:
            assert (found, greedy) == (0, True)
            continue
        text = torch.tensor([*question.context, *question.words]).unsqueeze(1)
        with torch.no_grad():
            everything = model.network(text[:-1])[0][:, 0][len(question.context) - 1 :]
        expected = [row[word] for row, word in zip(everything, question.words, strict=True)]
        assert found == pytest.approx(float(sum(expected)), abs=1e-9)
        best = everything.argmax(1).tolist()
        assert greedy == (best == list(question.words))


def test_greedy_decoding_never_gives_an_unknown_word(lm, monkeypatch):
    monkeypatch.setattr(
        "lstm_lm.integrations.harness.model.score", lambda *given: [(-1.0, True)] * len(given[1])
    )
    found = lm.loglikelihood(requests(("I speak", " French"), ("I speak", " Klingon")))
    assert found == [(-1.0, True), (-1.0, False)]


@pytest.mark.parametrize(
    ("context", "continuation", "words"),
    [
        ("I speak", " fluent French", ["fluent", "French"]),
        ("I speak ", "fluent French", ["fluent", "French"]),
        ("I speak", "\nShe has", ["<eos>", "She", "has"]),
        ("I speak\n", "She has", ["She", "has"]),
        ("She do", "n't speak", ["n't", "speak"]),
        ("3", ",000 cats", ["3,000", "cats"]),
        ("I speak", "", []),
        ("I speak", " ", []),
        ("", "I speak", ["I", "speak", "<eos>"]),
        (" ", "", ["<eos>"]),
    ],
)
def test_the_words_of_a_continuation(context, continuation, words, vocabulary):
    seen = []

    class Words(Reader):
        def _question(self, context, words):
            seen.append(list(words))
            return super()._question(context, words)

    Words(vocabulary, CorpusConfig()).continuation(context, continuation)
    assert seen == [words]


def test_unknown_words_are_counted_and_named(lm, capsys):
    lm.loglikelihood(requests(("In Qo'noS I speak", " Klingon"), ("I speak", " French")))
    printed = capsys.readouterr().err
    assert "1 of 2 scored words" in printed and "Klingon" in printed
    figures = lm.get_model_info()["unknown_words"]["loglikelihood"]
    assert figures["words"] == 2 and figures["unknown_words"] == 1
    assert figures["context_words"] >= 6 and figures["unknown_context_words"] >= 1


# --- generation -----------------------------------------------------------------------------------


def test_greedy_generation_is_that_of_the_model(lm):
    context, arguments = "I speak", {"until": [], "max_gen_toks": 6, "do_sample": False}
    (found,) = lm.generate_until(requests((context, arguments)))
    vocabulary = lm.model.vocabulary
    words = list(lm.model.iterate_words(context, 6, temperature=0))
    assert context + found == vocabulary.join(context, words)
    assert len(words) == 6


def test_generation_ends_before_the_first_end(lm):
    arguments = {"until": [], "max_gen_toks": 8, "temperature": 0.0}
    (whole,) = lm.generate_until(requests(("I speak", arguments)))
    middle = whole.split()[2]
    (found,) = lm.generate_until(requests(("I speak", {**arguments, "until": ["\0", middle]})))
    assert found == whole[: whole.index(middle)]
    (same,) = lm.generate_until(requests(("I speak", {**arguments, "until": middle})))
    assert same == found


def test_sampled_generation_follows_torchs_seed(lm):
    arguments = {"max_gen_toks": 12, "do_sample": True, "temperature": 1.5, "top_k": 20}
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found += lm.generate_until(requests(("I speak", arguments)))
    assert found[0] == found[1] != found[2]


def test_generation_arguments_without_an_effect_are_named(lm, capsys):
    lm.generate_until(requests(("I", {"max_gen_toks": 1, "num_beams": 4})))
    assert "no effect on this model: num_beams" in capsys.readouterr().err


# --- mistakes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({}, InputError, "pretrained is missing"),
        ({"pretrained": "runs/missing"}, RunDirectoryError, "runs/missing"),
        ({"pretrained": "x", "dtype": "float16"}, InputError, "unknown: dtype"),
    ],
)
def test_wrong_model_arguments_are_one_line(arguments, kind, message):
    with pytest.raises(kind, match=message) as caught:
        LstmLm(**arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "size"), [("1", 128), (1, 128), (7, 7), ("auto", 128), ("auto:3", 128)]
)
def test_batch_sizes(finished_run, given, size):
    assert LstmLm(pretrained=str(finished_run), batch_size=given).batch_size == size
    with pytest.raises(InputError, match="--batch_size"):
        LstmLm(pretrained=str(finished_run), batch_size="many")


def test_devices(finished_run):
    for given in (None, "cpu", "auto", "cuda:0"):  # the harness gives cuda:0 by default
        assert LstmLm(pretrained=str(finished_run), device=given).device.type in ("cpu", "cuda")
    with pytest.raises(ConfigError, match="--device: found 'tpu'"):
        LstmLm(pretrained=str(finished_run), device="tpu")


def test_the_entry_point_is_the_registered_class():
    from lm_eval.api.registry import get_model

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module, _, name = project["entry-points"]["lm_eval.models"]["lstm_lm"].partition(":")
    assert getattr(import_module(module), name) is LstmLm is get_model("lstm_lm")


# --- the harness itself ---------------------------------------------------------------------------


@pytest.fixture
def tasks(tmp_path):
    """Tasks over local files: BLiMP's, LAMBADA's, and rolling perplexity of lines and a text."""
    files = {
        "blimp": [{"sentence_good": a, "sentence_bad": b} for a, b in SENTENCES],
        "lambada": [{"text": text} for text in TEXTS],
        "lines": [{"text": f"{a}\n"} for a, _ in SENTENCES],
    }
    for name, items in files.items():
        lines = "".join(json.dumps(item) + "\n" for item in items)
        (tmp_path / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    own = {
        "lambada": """
output_type: loglikelihood
doc_to_text: "{{text.split(' ')[:-1]|join(' ')}}"
doc_to_target: "{{' ' + text.split(' ')[-1]}}"
metric_list: [{metric: perplexity}, {metric: acc}]
""",
        "lines": """
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{text}}"
metric_list: [{metric: word_perplexity}]
""",
        "continued": """
output_type: generate_until
doc_to_text: "{{text.split(' ')[:-1]|join(' ')}}"
doc_to_target: "{{text.split(' ')[-1]}}"
generation_kwargs: {until: ["\\n", " ."], max_gen_toks: 4}
metric_list: [{metric: exact_match}]
""",
    }
    for name, text in own.items():
        path = tmp_path / f"{'lambada' if name == 'continued' else name}.jsonl"
        head = f"""task: own_{name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {json.dumps(str(path))}}}}}
test_split: test
"""
        (tmp_path / f"{name}.yaml").write_text(head + text, encoding="utf-8")
    readme = (ROOT / "lstm_lm/integrations/README.md").read_text(encoding="utf-8")
    example = re.search(r"```yaml\n(task: minimal_pairs\n.*?)```", readme, re.S)[1]
    assert "pairs.jsonl" in example
    example = example.replace("pairs.jsonl", json.dumps(str(tmp_path / "blimp.jsonl")))
    (tmp_path / "blimp.yaml").write_text(example, encoding="utf-8")
    return tmp_path


def probe(run, path, capsys):
    capsys.readouterr()
    assert main(["probe", str(run), str(path), "--json", "--order", "0"]) == 0
    (suite,) = json.loads(capsys.readouterr().out)["suites"]
    assert not suite["skipped"]
    return suite


@pytest.mark.slow
def test_the_harness_gives_what_our_commands_give(finished_run, tasks, capsys, monkeypatch):
    """One run of the harness's own command, as people start it."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    names = "minimal_pairs,own_lambada,own_lines,own_continued"
    command = [sys.executable, "-m", "lstm_lm.integrations.lm_eval", "run", "--model", "lstm_lm"]
    command += ["--model_args", f"pretrained={finished_run}", "--tasks", names]
    command += ["--include_path", str(tasks), "--output_path", str(tasks / "out"), "--log_samples"]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert re.search(r"lstm_lm: loglikelihood: 0 of \d+ scored words", done.stderr)
    (path,) = (tasks / "out").rglob("results_*.json")
    written = json.loads(path.read_text(encoding="utf-8"))
    results = written["results"]

    blimp = probe(finished_run, tasks / "blimp.jsonl", capsys)
    assert results["minimal_pairs"]["acc,none"] == pytest.approx(blimp["accuracy"])
    lambada = probe(finished_run, tasks / "lambada.jsonl", capsys)
    assert results["own_lambada"]["acc,none"] == pytest.approx(lambada["top_1"])
    assert math.log(results["own_lambada"]["perplexity,none"]) == pytest.approx(
        -lambada["log_probability"]
    )
    text = tasks / "lines.txt"
    text.write_text("".join(f"{a}\n" for a, _ in SENTENCES), encoding="utf-8")
    main(["evaluate", str(finished_run), "--file", str(text), "--reset-per-line", "--json"])
    evaluated = json.loads(capsys.readouterr().out)
    assert results["own_lines"]["word_perplexity,none"] == pytest.approx(
        evaluated["perplexity"], rel=1e-5
    )
    assert "exact_match,none" in results["own_continued"]
    assert (
        written["config"]["unknown_words"]["loglikelihood_rolling"]["words"]
        == (evaluated["tokens"])
    )


def test_rolling_is_evaluate_of_the_same_file(lm, finished_run, tmp_path, capsys):
    text = "I grew up in France .\nI speak\nfluent French .\n\nShe has a home in Paris ."
    path = tmp_path / "text.txt"
    path.write_text(text, encoding="utf-8")
    (found,) = lm.loglikelihood_rolling(requests((text,)))
    printed = capsys.readouterr().err
    main(["evaluate", str(finished_run), "--file", str(path), "--json"])
    expected = json.loads(capsys.readouterr().out)
    assert -found == pytest.approx(expected["nll"], rel=1e-5)
    assert f"perplexity {expected['perplexity']:.2f} ({expected['tokens']} tokens" in printed


@pytest.mark.slow
def test_a_mistake_is_one_line_of_the_command(tmp_path):
    command = [sys.executable, "-m", "lstm_lm.integrations.lm_eval", "run", "--model", "lstm_lm"]
    command += ["--model_args", f"pretrained={tmp_path / 'no-run'}", "--tasks", "blimp"]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", cwd=ROOT)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("lstm-lm: error: ")
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_without_the_package_the_command_says_what_to_install(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['lm_eval'] = None\n")
    done = subprocess.run(
        [sys.executable, "-m", "lstm_lm.integrations.lm_eval"],
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=ROOT,
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}", "PATH": "", "HOME": str(Path.home())},
    )
    assert done.returncode == 2
    assert done.stderr.strip() == (
        "lstm-lm: error: lstm_lm.integrations.lm_eval needs the package lm_eval, which is not "
        'installed; run: pip install "lstm_lm[lm-eval]"'
    )
