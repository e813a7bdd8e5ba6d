"""Checks that a version of transformers, without lstm_lm, computes what lstm_lm computes.

    python scripts/check_transformers.py           the installed transformers
    python scripts/check_transformers.py 4.51.3    that version, installed into a new environment

The second needs a network. The new environment borrows torch from this one. For models with every
cell and output layer it compares words, log-probabilities, generation, loss, and the pipeline.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path
from typing import Any

LINES = [
    "I grew up in France .",
    "I speak fluent French .",
    "She has a home in Paris , and a cat .",
    "He did n't buy 1 @,@ 000 well @-@ known books .",
] * 3
TEXTS = [
    "I grew up in France. I speak fluent French.",
    "She has a cat.\nI didn't buy xyzzy",
    "Well-known books: 1,000!",
    "<eos> She speaks",
    "a",
]
SIZES: dict[str, Any] = {"embedding_dim": 8, "hidden_size": 8, "num_layers": 2}
CLUSTERS = {"output": "adaptive", "adaptive_cutoffs": (4, 12)}
# name -> settings of the model, beside one for every cell
OUTPUTS: dict[str, dict[str, Any]] = {
    "untied": {"tie_weights": False, "hidden_size": (9, 7)},
    "projected": {"hidden_size": 11, "output_norm": False},
    "rounds": {"cell": "mogrifier_lstm", "mogrifier_rounds": 2, "mogrifier_rank": 3},
    "mos": {"output": "mos", "mixture_softmaxes": 3, "hidden_size": 6},
    "mos_untied": {"output": "sampled_mos", "mixture_softmaxes": 2, "tie_weights": False},
    "adaptive": CLUSTERS,
    "adaptive_untied": {**CLUSTERS, "tie_weights": False, "hidden_size": 6},
}
NEW_WORDS = 12


def export_examples(folder: Path, names: list[str] | None = None) -> None:
    """Writes ``NAME/`` for each model, and beside it ``NAME.json``: what lstm_lm computes."""
    import torch

    from lstm_lm import LanguageModel
    from lstm_lm.config import ModelConfig
    from lstm_lm.config.settings import CELLS
    from lstm_lm.corpus.vocabulary import Vocabulary
    from lstm_lm.files.atomic import make_folder, write_together
    from lstm_lm.integrations.hf_folder import files

    settings = {cell: {"cell": cell} for cell in CELLS} | OUTPUTS
    for number, name in enumerate(names or settings):
        tokenization = ("whitespace", "words")[number % 2]
        vocabulary = Vocabulary.build(LINES, tokenization=tokenization)
        torch.manual_seed(number)
        config = ModelConfig(**{**SIZES, **settings[name]})
        model = LanguageModel.from_config(config, vocabulary)
        model.network.eval()
        with torch.no_grad():  # larger weights, so that mistakes show
            for weight in model.network.parameters():
                weight.add_(0.3 * torch.randn_like(weight))
        make_folder(folder / name)
        write_together(files(model, folder / name, None))
        (folder / f"{name}.json").write_text(json.dumps(expected(model)))


def expected(model: Any) -> dict[str, Any]:
    """What lstm_lm computes for `TEXTS`."""
    import torch

    from lstm_lm.model.reading import prompt_words

    vocabulary, results = model.vocabulary, []
    for text in TEXTS:
        ids = vocabulary.ids_of(prompt_words(vocabulary, text.removeprefix("<eos>")))
        with torch.no_grad():
            logits, _ = model.network(torch.tensor(ids).unsqueeze(1))
        words = list(model.iterate_words(text, NEW_WORDS, temperature=0))
        greedy = vocabulary.ids_of(words)
        if vocabulary.eos_id in greedy:
            greedy = greedy[: greedy.index(vocabulary.eos_id) + 1]
        is_prompt = not text.startswith("<eos>")  # which lstm_lm reads as an unknown word
        results.append(
            {"ids": ids, "logits": logits[:, 0].tolist(), "greedy": is_prompt and greedy}
        )
    return {"texts": results}


def check(folder: Path, trust_remote_code: bool = True) -> None:
    """Compares one exported folder with what lstm_lm computed."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoProcessor, AutoTokenizer

    trust = {"trust_remote_code": trust_remote_code}
    wanted = json.loads(folder.with_suffix(".json").read_text())["texts"]
    assert AutoConfig.from_pretrained(folder, **trust).model_type == "lstm_lm"
    tokenizer = AutoTokenizer.from_pretrained(folder, **trust)
    model = AutoModelForCausalLM.from_pretrained(folder, **trust).eval()
    assert type(AutoProcessor.from_pretrained(folder, **trust)) is type(tokenizer)
    check_words(tokenizer, wanted)
    check_logits(model, tokenizer, wanted)
    check_generation(model, tokenizer, wanted)
    check_pipeline(model, tokenizer)


def check_words(tokenizer: Any, wanted: list[dict[str, Any]]) -> None:
    """Ids are those of lstm_lm, and offsets point at the typed words."""
    assert tokenizer.is_fast and tokenizer.bos_token == tokenizer.eos_token == "<eos>"
    for text, one in zip(TEXTS, wanted, strict=True):
        encoded = tokenizer(text, return_offsets_mapping=True)
        assert encoded["input_ids"] == one["ids"], (text, encoded.tokens(), one["ids"])
        typed = [text[start:end] for start, end in encoded["offset_mapping"]]
        for word, place in zip(encoded.tokens(), typed, strict=True):
            marks = {"@-@": "-", "@,@": ",", "<eos>": place, "<unk>": place}
            assert place == marks.get(word, word), (text, word, place)
        spelled = "".join("".join(typed).split())
        assert spelled == "".join(text.removeprefix("<eos>").split()), (text, typed)
        assert tokenizer(text, add_special_tokens=False)["input_ids"] in (
            one["ids"],
            one["ids"][1:],
        )
        again = tokenizer.decode(one["ids"])
        is_known = tokenizer.unk_token_id not in one["ids"]
        assert tokenizer(again)["input_ids"] == one["ids"] or not is_known, again


def check_logits(model: Any, tokenizer: Any, wanted: list[dict[str, Any]]) -> None:
    """In a batch with padding on either side, and one word at a time."""
    import torch

    nll, count = 0.0, 0
    with torch.no_grad():
        for side in ("left", "right"):
            batch = tokenizer(TEXTS, padding=True, padding_side=side, return_tensors="pt")
            out = model(**batch)
            for row, one in enumerate(wanted):
                found = out.logits[row][batch["attention_mask"][row] == 1]
                torch.testing.assert_close(found, torch.tensor(one["logits"]), rtol=0, atol=1e-5)
        for one in wanted:
            cache, found = None, []
            for word in one["ids"]:
                step = model(torch.tensor([[word]]), cache=cache)
                cache = step.cache
                found.append(step.logits[0, 0])
            exact = torch.tensor(one["logits"])
            torch.testing.assert_close(torch.stack(found), exact, rtol=0, atol=1e-5)
            targets = torch.tensor(one["ids"][1:]).unsqueeze(1)
            nll -= float(exact[:-1].gather(1, targets).sum())
            count += len(targets)
        labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
        loss = float(model(**batch, labels=labels).loss)
    assert abs(loss - nll / count) < 1e-5, (loss, nll / count)


def check_generation(model: Any, tokenizer: Any, wanted: list[dict[str, Any]]) -> None:
    """Greedy is lstm_lm's; every way to generate is the same with and without the cache."""
    import torch

    for side in ("left", "right"):
        for text, one in zip(TEXTS, wanted, strict=True):
            prompts = tokenizer(
                [text, TEXTS[0]], padding=True, padding_side=side, return_tensors="pt"
            )
            length = prompts["input_ids"].shape[1]
            out = model.generate(**prompts, max_new_tokens=NEW_WORDS, do_sample=False)
            if one["greedy"]:
                assert out[0, length:].tolist()[: len(one["greedy"])] == one["greedy"], text
    ways: list[dict[str, Any]] = [
        {"num_beams": 3, "do_sample": False, "num_return_sequences": 2},
        {"do_sample": True, "top_k": 5, "repetition_penalty": 1.3},
        {"do_sample": True, "top_p": 0.8, "num_return_sequences": 3},
        {"do_sample": True, "min_p": 0.05, "num_beams": 2},
    ]
    for way in ways:
        results = []
        for use_cache in (True, False):
            torch.manual_seed(0)
            out = model.generate(
                **tokenizer(TEXTS[:2], padding=True, return_tensors="pt"),
                **way,
                max_new_tokens=NEW_WORDS,
                eos_token_id=None,
                use_cache=use_cache,
            )
            results.append(out)
        assert torch.equal(*results), way
        assert not (results[0][:, -NEW_WORDS:] == tokenizer.unk_token_id).any()


def check_pipeline(model: Any, tokenizer: Any) -> None:
    """The pipeline continues the text as it was typed."""
    from transformers import pipeline

    generate = pipeline("text-generation", model=model, tokenizer=tokenizer)
    (result,) = generate(TEXTS[0], max_new_tokens=3, do_sample=False)
    assert result["generated_text"].startswith(TEXTS[0]), result


def check_all(folder: Path) -> None:
    """Checks every exported folder, in a process that cannot import lstm_lm."""
    sys.modules["lstm_lm"] = None  # type: ignore[assignment]
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    for path in sorted(folder.glob("*.json")):
        check(path.with_suffix(""))
        print(f"transformers {transformers.__version__}, {path.stem}: equal", flush=True)


def new_environment(folder: Path, version: str) -> Path:
    """Makes an environment with this version of transformers and this environment's torch."""
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", f"transformers=={version}"], check=True)
    own = sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)})
    Path(own, "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("version", nargs="?", help="of transformers; the installed one by default")
    parser.add_argument("--python", help="an interpreter that has it, in place of a new one")
    parser.add_argument("--check", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.check:
        return check_all(args.check)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "models").mkdir()
        export_examples(folder / "models")
        python = args.python or sys.executable
        if args.version and not args.python:
            python = str(new_environment(folder / "environment", args.version))
        variables = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "home")}
        command = [python, __file__, "--check", str(folder / "models")]
        raise SystemExit(subprocess.run(command, env=variables).returncode)


if __name__ == "__main__":
    main()
