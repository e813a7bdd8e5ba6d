"""A word in exported models: onnxruntime on one core, and the page in headless Chromium."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.measuring import made_up_words
from lstm_lm.config import ModelConfig
from lstm_lm.integrations.onnx_graph import one_step_graph, state_parts
from lstm_lm.integrations.page import render
from lstm_lm.model.language_model import LanguageModel

# words, embedding_dim, hidden_size, num_layers
KEYBOARD, SMALL, WIKITEXT = (16_384, 96, 256, 1), (5_000, 64, 256, 1), (33_278, 150, 400, 2)
CHROMIUM_OPTIONS = (
    "--headless --no-sandbox --disable-gpu --no-first-run --disable-sync --disable-dev-shm-usage "
    "--disable-background-networking --disable-component-update --dump-dom"
).split()

# Types some words letter by letter, and measures how long the page is busy after each.
TYPING = """{
  const letters = [], wholes = [], only = [];
  const press = key => { const begin = performance.now(); text.value += key;
    text.setSelectionRange(text.value.length, text.value.length); changed();
    (key === " " ? wholes : letters).push(performance.now() - begin);
    while (now.path.length < now.wanted.length) readOn(); };
  for (let k = 0; k < COUNT; k++) [...words[2 + 37 * k % (words.length - 2)], " "].forEach(press);
  for (let k = 0, at = start; k < COUNT; k++) { const begin = performance.now();
    at = placeAfter(at, 2 + 31 * k % (words.length - 2)); best(scoresAt(at), 5);
    only.push(performance.now() - begin); }
  const found = JSON.stringify({ letters, words: wholes, only });
  document.body.append(element("pre", { textContent: `[[${found}]]` }));
}"""


def benchmark_export(rounds: int) -> list[dict]:
    """Milliseconds of a word: a graph by onnxruntime on one core, page.html by Chromium."""
    rows = [measure_onnx(KEYBOARD, quantize, 100 * rounds) for quantize in (None, "int8")]
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium:
        rows += [measure_page(chromium, sizes, 10 * rounds) for sizes in (SMALL, WIKITEXT)]
    return rows


def measure_onnx(sizes: tuple[int, ...], quantize: str | None, words: int) -> dict:
    """Time of a step of the graph, and its size."""
    import onnxruntime

    model = _model(sizes)
    graph = one_step_graph(model.network, quantize).SerializeToString()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph, options)
    state = {name: np.zeros((1, width), np.float32) for name, width in state_parts(model.network)}
    times = []
    for number in range(words):
        begin = time.perf_counter()
        _, *after = session.run(None, {"word": np.array([number % sizes[0]]), **state})
        times.append(time.perf_counter() - begin)
        state = dict(zip(state, after, strict=True))
    milliseconds = np.array(times[10:]) * 1e3
    return {
        "onnx": quantize or "float32",
        "parameters": model.network.parameter_count,
        "bytes": len(graph),
        "median ms": round(float(np.median(milliseconds)), 2),
        "p95 ms": round(float(np.percentile(milliseconds, 95)), 2),
    }


def measure_page(chromium: str, sizes: tuple[int, ...], words: int) -> dict:
    """Time that the page is busy after a key, in headless Chromium, and the page's size."""
    model = _model(sizes)
    page = render(model)
    opened = re.sub(r"script-src '[^']*'", "script-src 'unsafe-inline'", page, count=1)
    script = TYPING.replace("COUNT", str(words))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "page.html"
        file.write_text(
            opened.replace("</body>", f"<script>{script}</script></body>"), encoding="utf-8"
        )
        shown = subprocess.run(
            [chromium, *CHROMIUM_OPTIONS, f"--user-data-dir={folder}/profile", file.as_uri()],
            check=True,
            capture_output=True,
            text=True,
            encoding="utf-8",
        ).stdout
    found = re.findall(r"\[\[(\{.*?\})\]\]</pre>", shown)
    if not found:
        raise RuntimeError("Chromium did not run the page to its end")
    times = json.loads(found[-1])
    row = {
        "page": "int8",
        "parameters": model.network.parameter_count,
        "bytes": len(page.encode()),
    }
    names = {"only": "a word alone", "words": "a word and what is shown", "letters": "a letter"}
    for key, name in names.items():
        row[f"{name}: median ms"] = round(float(np.median(times[key])), 1)
        row[f"{name}: p95"] = round(float(np.percentile(times[key], 95)), 1)
    return row


def _model(sizes: tuple[int, ...]) -> LanguageModel:
    torch.manual_seed(0)
    words, embedding, hidden, layers = sizes
    config = ModelConfig(embedding_dim=embedding, hidden_size=hidden, num_layers=layers)
    model = LanguageModel.from_config(config, made_up_words(words))
    model.network.eval()
    return model
