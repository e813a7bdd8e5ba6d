"""A local server that answers as the Hugging Face hub does, for the routes that are used here."""

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs, unquote

ROOT = Path(__file__).parent.parent
TOKEN = "hf_of_the_tests"
LARGE = ".safetensors"  # files that the hub keeps in its large file storage


@dataclass
class Repository:
    """Branches of files: branch -> list of commits, each {path: content}."""

    private: bool = False
    branches: dict = field(default_factory=lambda: {"main": [{}]})

    def files(self, revision):
        for branch, commits in self.branches.items():
            for number, files in enumerate(commits):
                if revision == self.commit(branch, number):
                    return files
        return self.branches[revision][-1] if revision in self.branches else None

    def commit(self, branch, number=-1):
        number %= len(self.branches[branch])
        files = sorted((path, hashlib.sha1(c).hexdigest()) for path, c in self.find(branch, number))
        return hashlib.sha1(repr((number, files)).encode()).hexdigest()

    def find(self, branch, number):
        return self.branches[branch][number].items()

    def head(self, revision):
        return self.commit(revision) if revision in self.branches else revision


class Hub:
    """What the server keeps, what it was asked, and how it misbehaves.

    Attributes:
        repositories: ("models" or "datasets", name) -> `Repository`.
        asked: every request, such as ``GET /api/models/...``.
        validated: the model cards whose metadata were checked.
        cut: path of a file -> how many answers to requests for it end in the middle.
        sent: path of a file -> bytes that were sent of it.
    """

    def __init__(self):
        self.repositories, self.asked, self.validated = {}, [], []
        self.objects, self.cut, self.sent = {}, Counter(), Counter()
        self.address = ""

    def add(self, kind, name, files, private=False):
        repository = self.repositories[kind, name] = Repository(private)
        repository.branches["main"].append(dict(files))
        return repository

    def files(self, name, revision="main", kind="models"):
        return self.repositories[kind, name].files(revision)


def handler_of(hub):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args):
            pass

        def answer(self, content=b"", status=200, **headers):
            if not isinstance(content, bytes):
                content, headers["Content_Type"] = json.dumps(content).encode(), "application/json"
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key.replace("_", "-"), str(value))
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def fail(self, status, code="", message=""):
            self.answer({"error": message}, status, X_Error_Code=code, X_Error_Message=message)

        @property
        def may_write(self):
            return self.headers.get("Authorization") == f"Bearer {TOKEN}"

        def body(self):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def do_GET(self):
            self.route()

        do_HEAD = do_POST = do_PUT = do_GET

        def route(self):
            path, _, self.query = self.path.partition("?")
            hub.asked.append(f"{self.command} {path}")
            body = self.body()
            if path == "/api/repos/create":
                return self.create(json.loads(body))
            if path == "/api/validate-yaml":
                hub.validated.append(json.loads(body)["content"])
                return self.answer({"errors": [], "warnings": []})
            if path.startswith("/objects/"):
                hub.objects[path.rpartition("/")[2]] = body
                return self.answer()
            if found := re.fullmatch(r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch", path):
                return self.batch(json.loads(body))
            if found := re.fullmatch(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
                kind = "datasets" if found[1] else "models"
                return self.with_repository(kind, found[2], self.resolve, found[3], found[4])
            if found := re.fullmatch(r"/api/(models|datasets)/([^/]+/[^/]+)(?:/(.*))?", path):
                what, _, rest = (found[3] or "revision/main").partition("/")
                revision, _, rest = rest.partition("/")
                action = getattr(self, f"on_{what.replace('-', '_')}", None)
                if action:
                    return self.with_repository(found[1], found[2], action, revision, rest, body)
            self.fail(404)

        def with_repository(self, kind, name, action, revision, *more):
            self.kind, self.name = kind, name
            self.repository = hub.repositories.get((kind, name))
            if self.repository is None or (self.repository.private and not self.may_write):
                return self.fail(404, "RepoNotFound", "Repository not found")
            self.revision = unquote(revision)
            self.files = self.repository.files(self.revision)
            if self.files is None and action != self.on_branch:
                return self.fail(404, "RevisionNotFound", f"Invalid rev id: {self.revision}")
            return action(*more)

        def create(self, wanted):
            if not self.may_write:
                return self.fail(401, message="Invalid credentials in Authorization header")
            if wanted["organization"] not in ("anna", "someone"):
                return self.fail(403, message=f"No rights in {wanted['organization']}")
            key = "models", f"{wanted['organization']}/{wanted['name']}"
            answer = {"url": f"{hub.address}/{key[1]}"}
            if key in hub.repositories:
                return self.answer(answer, 409)
            private = wanted.get("visibility") == "private" or bool(wanted.get("private"))
            hub.repositories[key] = Repository(private)
            self.answer(answer)

        def batch(self, wanted):
            self.answer(
                {
                    "transfer": "basic",
                    "objects": [
                        thing | {"actions": {"upload": {"href": f"{hub.address}/objects/{oid}"}}}
                        for thing in wanted["objects"]
                        for oid in [thing["oid"]]
                    ],
                }
            )

        def on_revision(self, rest, body):
            self.answer(
                {
                    "id": self.name,
                    "modelId": self.name,
                    "sha": self.repository.head(self.revision),
                    "private": self.repository.private,
                    "tags": [],
                    "downloads": 0,
                    "siblings": [{"rfilename": path} for path in self.files],
                }
            )

        def listed(self, paths):
            return [
                {
                    "type": "file",
                    "path": path,
                    "size": len(self.files[path]),
                    "oid": hashlib.sha1(self.files[path]).hexdigest(),
                }
                for path in paths
            ]

        def on_tree(self, rest, body):
            folder = f"{unquote(rest).strip('/')}/" if rest.strip("/") else ""
            inside = sorted(path for path in self.files if path.startswith(folder))
            if folder and not inside:
                return self.fail(404, "EntryNotFound", f"{folder} does not exist")
            folders = {
                "/".join(parts[:depth])
                for path in inside
                for parts in [path.split("/")]
                for depth in range(folder.count("/") + 1, len(parts))
            }
            if "recursive=true" not in self.query.lower():
                inside = [path for path in inside if "/" not in path.removeprefix(folder)]
                folders = {path for path in folders if "/" not in path.removeprefix(folder)}
            listed = [{"type": "directory", "path": path, "oid": "0" * 40} for path in folders]
            self.answer([*listed, *self.listed(inside)])

        def on_paths_info(self, rest, body):
            if "json" in self.headers.get("Content-Type", ""):
                wanted = json.loads(body)["paths"]
            else:
                wanted = parse_qs(body.decode())["paths"]
            found = self.listed(path for path in wanted if path in self.files)
            for path in wanted:
                if any(name.startswith(f"{path}/") for name in self.files):
                    found.append({"type": "directory", "path": path, "oid": "0" * 40})
            self.answer(found)

        def on_refs(self, rest, body):
            branches = [
                {"name": name, "ref": f"refs/heads/{name}", "targetCommit": "0" * 40}
                for name in self.repository.branches
            ]
            self.answer({"branches": branches, "converts": [], "tags": []})

        def on_branch(self, rest, body):
            if not self.may_write:
                return self.fail(403)
            if " " in self.revision:
                return self.fail(400, message=f"Invalid reference name: {self.revision}")
            if self.revision in self.repository.branches:
                return self.answer({}, 409)
            self.repository.branches[self.revision] = list(self.repository.branches["main"])
            self.answer({})

        def on_preupload(self, rest, body):
            if not self.may_write:
                return self.fail(403, message="Read-only token")
            self.answer(
                {
                    "files": [
                        {
                            "path": file["path"],
                            "uploadMode": "lfs" if file["path"].endswith(LARGE) else "regular",
                            "shouldIgnore": False,
                        }
                        for file in json.loads(body)["files"]
                    ]
                }
            )

        def on_commit(self, rest, body):
            files = dict(self.files)
            for line in map(json.loads, body.splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    files[value["path"]] = hub.objects[value["oid"]]
            self.repository.branches[self.revision].append(files)
            commit = self.repository.commit(self.revision)
            self.answer(
                {"commitUrl": f"{hub.address}/{self.name}/commit/{commit}", "commitOid": commit}
            )

        def resolve(self, path):
            path = unquote(path)
            content = self.files.get(path)
            if content is None:
                return self.fail(404, "EntryNotFound", "Entry not found")
            headers = {
                "X_Repo_Commit": self.repository.head(self.revision),
                "ETag": f'"{hashlib.sha1(content).hexdigest()}"',
                "Accept_Ranges": "bytes",
            }
            status, size = 200, len(content)
            if wanted := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
                first, last = int(wanted[1]), min(int(wanted[2] or size), size - 1)
                if first >= size:
                    return self.answer(b"", 416)
                content, status = content[first : last + 1], 206
                headers["Content_Range"] = f"bytes {first}-{last}/{size}"
            if self.command == "GET":
                hub.sent[path] += len(content)
                if hub.cut[path] and len(content) > 1:
                    hub.cut[path] -= 1
                    return self.cut_off(content, status, headers)
            self.answer(content, status, **headers)

        def cut_off(self, content, status, headers):
            """Announces all of the content, sends half of it, and closes the connection."""
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True

    return Handler


@contextmanager
def running_hub():
    """A `Hub` whose server runs while entered."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(hub))
    server.daemon_threads = True
    hub.address = f"http://127.0.0.1:{server.server_port}"
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


def environment(address, home, token=""):
    """The environment of a process whose hub is at that address."""
    plain = {
        key: value
        for key, value in os.environ.items()
        if not key.lower().endswith("_proxy") and not key.startswith(("HF_", "HUGGING"))
    }
    return plain | {
        "HF_HOME": str(home),
        "HF_ENDPOINT": address,
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "HF_TOKEN": token,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
    }


_SESSION = """
import contextlib, io, json, os, sys
from lstm_lm.cli.main import main
results = []
for words, token in json.load(sys.stdin):
    out, err = io.StringIO(), io.StringIO()
    os.environ["HF_TOKEN"] = token
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main(words)
        except SystemExit as exited:
            status = exited.code
    results.append((status, out.getvalue(), err.getvalue()))
print(json.dumps(results))
"""


def run_commands(commands, address, home, **more):
    """Runs commands in one process, whose hub is at that address.

    Args:
        commands: the words of each, or (words, access token).
        address: of the hub.
        home: the folder of the hub's cache.
        more: of the environment.

    Returns:
        Status, standard output and standard error of each.
    """
    pairs = [c if isinstance(c, tuple) else (c, "") for c in commands]
    done = run_python(
        _SESSION,
        address,
        home,
        stdin=json.dumps([([str(word) for word in words], token) for words, token in pairs]),
        **more,
    )
    assert done.returncode == 0, done.stderr
    return [tuple(result) for result in json.loads(done.stdout.splitlines()[-1])]


def run_python(code, address, home, *arguments, stdin=None, **more):
    """Runs Python code in a process whose hub is at that address."""
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        input=stdin,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment(address, home) | more,
    )
