"""A model is loaded from the hub by its name; here a local server stands in for the hub."""

import hashlib
import json
import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from lstm_lm import LanguageModel

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
NAME, COMMIT = "someone/model", "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub(a_run):
    """A hub with one repository that has a run directory's files: its address and its requests."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self, content, **headers):
            self.send_response(200 if content is not None else 404)
            for key, value in headers.items():
                self.send_header(key.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content or b"")

        def do_GET(self):
            path = self.path.partition("?")[0]
            asked.append(path)
            name = path.rpartition("/")[2]
            if path.startswith(f"/{NAME}/resolve/") and (a_run / name).is_file():
                content = (a_run / name).read_bytes()
                self.answer(
                    content, X_Repo_Commit=COMMIT, ETag=f'"{hashlib.sha1(content).hexdigest()}"'
                )
            elif path.startswith(f"/api/models/{NAME}/tree/"):
                files = [
                    {
                        "type": "file",
                        "path": file.name,
                        "size": file.stat().st_size,
                        "oid": hashlib.sha1(file.read_bytes()).hexdigest(),
                    }
                    for file in sorted(a_run.iterdir())
                ]
                self.answer(json.dumps(files).encode(), Content_Type="application/json")
            elif path == f"/api/models/{NAME}" or path.startswith(f"/api/models/{NAME}/revision/"):
                info = {
                    "id": NAME,
                    "modelId": NAME,
                    "sha": COMMIT,
                    "private": False,
                    "tags": [],
                    "downloads": 0,
                    "siblings": [{"rfilename": file.name} for file in sorted(a_run.iterdir())],
                }
                self.answer(json.dumps(info).encode(), Content_Type="application/json")
            else:
                self.answer(None)

        do_HEAD = do_GET

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


def ask(words, tmp_path, address):
    plain = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    return subprocess.run(
        [sys.executable, "-m", "lstm_lm", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=plain
        | {
            "HF_HOME": str(tmp_path / "hf"),
            "HF_ENDPOINT": address,
            "HF_HUB_OFFLINE": "0",
            "OMP_NUM_THREADS": "1",
        },
    )


def test_a_model_is_downloaded_cached_and_predicts(hub, a_run, tmp_path):
    address, asked = hub
    done = ask(["predict", NAME, "I grew up in", "--json", "--top-k", "3"], tmp_path, address)
    assert done.returncode == 0, done.stderr
    ours = LanguageModel.from_pretrained(a_run).predict_next("I grew up in", 3)
    assert [p["word"] for p in json.loads(done.stdout)["predictions"]] == [p.word for p in ours]
    fetched = {path.rpartition("/")[2] for path in asked if "/resolve/" in path}
    assert fetched == {"config.json", "tokenizer.json", "model.safetensors", "README.md"}
    (kept,) = (tmp_path / "hf" / "hub").glob(f"models--*/snapshots/{COMMIT}")
    assert {path.name for path in kept.iterdir()} == fetched


def test_a_name_that_the_hub_does_not_have(hub, tmp_path):
    done = ask(["predict", "someone/else", "I"], tmp_path, hub[0])
    assert done.returncode == 2 and done.stderr.startswith("lstm-lm: error: someone/else: "), (
        done.stderr
    )
    assert done.stderr.count("\n") == 1
