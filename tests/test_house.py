"""The house rules, read off the source itself: stairs, sizes, docstrings, and what is never done."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import lstm_lm

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "lstm_lm"
SOURCES = sorted([*PACKAGE.rglob("*.py"), *(ROOT / "scripts").rglob("*.py")])
# From the top floor down. The modules beside the chapters (errors, machine) are the ground floor.
CHAPTERS = [
    "cli",
    "inspection",
    "training",
    "probes",
    "evaluation",
    "model",
    "corpus",
    "stories",
    "cells",
    "files",
    "config",
]
DOORS = {"lstm_lm", "lstm_lm.__main__"}  # they open onto every floor, and hold nothing themselves
LONGEST_FILE, LONGEST_FUNCTION = 420, 70


def tree(path):
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def module_name(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports(node, module, path, at_import_time=False):
    """Yields the dotted names a tree imports; at import time: only those that run when the module is imported."""
    for child in ast.iter_child_nodes(node):
        if at_import_time and isinstance(
            child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
        ):
            continue
        if at_import_time and isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            continue
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            package = module if path.stem == "__init__" else module.rpartition(".")[0]
            parents = (
                package.split(".")[: len(package.split(".")) - child.level + 1]
                if child.level
                else []
            )
            home = ".".join([*parents, *([child.module] if child.module else [])])
            yield home
            yield from (
                f"{home}.{alias.name}" for alias in child.names
            )  # a module, or else a name that is in none
        else:
            yield from imports(child, module, path, at_import_time)


def floor(module):
    """How high a module stands: the ground floor is 0."""
    chapter = module.split(".")[1]
    return len(CHAPTERS) - CHAPTERS.index(chapter) if chapter in CHAPTERS else 0


def functions(body, prefix=""):
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield prefix + node.name, node
        if isinstance(node, ast.ClassDef):
            yield from functions(node.body, f"{prefix}{node.name}.")


def test_every_chapter_has_its_floor():
    chapters = {path.parent.name for path in PACKAGE.glob("*/*.py")}
    assert chapters <= set(CHAPTERS), (
        "a new chapter needs a place in CHAPTERS above, and in the README"
    )


def test_imports_go_down_only():
    front_door = {
        f"lstm_lm.{name}" for name in lstm_lm.__all__
    }  # for users: it leads to every floor
    climbs = [
        f"{module} imports {target}"
        for module, path in MODULES.items()
        if module not in DOORS
        for target in imports(tree(path), module, path)
        if target in front_door
        or (target in set(MODULES) - DOORS and floor(target) > floor(module))
    ]
    assert not climbs, "\n".join(climbs)


def test_the_command_line_and_the_config_import_no_torch():
    """Follows what runs at import time from module to module; test_import.py tries it out."""

    def loads(module):  # the modules that importing this one imports, packages included
        targets = set(imports(tree(MODULES[module]), module, MODULES[module], at_import_time=True))
        parts = module.split(".")
        return targets | {".".join(parts[:i]) for i in range(1, len(parts))}

    reaches = {module: loads(module) for module in MODULES}
    heavy = {
        module
        for module, targets in reaches.items()
        if any(t.split(".")[0] == "torch" for t in targets)
    }
    while more := {module for module, targets in reaches.items() if targets & heavy} - heavy:
        heavy |= more
    light = {
        module
        for module in MODULES
        if module.startswith("lstm_lm.cli") or module.startswith("lstm_lm.config")
    }
    assert not (light | DOORS) & heavy


def test_files_and_functions_stay_short():
    long = []
    for path in SOURCES:
        name, lines = path.relative_to(ROOT), len(path.read_text(encoding="utf-8").splitlines())
        if lines >= LONGEST_FILE:
            long.append(f"{name} has {lines} lines")
        long += [
            f"{name}: {function} has {length} lines"
            for function, node in functions(tree(path).body)
            if (length := node.end_lineno - node.lineno + 1) > LONGEST_FUNCTION
        ]
    assert not long, "\n".join(long)


def test_every_public_name_has_a_docstring():
    silent = []

    def visit(body, prefix):
        for node in body:
            if (
                isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
                and node.name[0] != "_"
            ):
                if ast.get_docstring(node) is None:
                    silent.append(prefix + node.name)
                if isinstance(node, ast.ClassDef):
                    visit(node.body, f"{prefix}{node.name}.")

    for module, path in MODULES.items():
        if ast.get_docstring(tree(path)) is None:
            silent.append(module)
        visit(tree(path).body, f"{module}.")
    assert not silent, "\n".join(silent)


def test_nothing_is_pickled():
    """A checkpoint or a cache made by a stranger must not be able to run code."""
    picklers = {
        "pickle",
        "cPickle",
        "dill",
        "cloudpickle",
        "joblib",
        "shelve",
        "marshal",
        "torch.load",
        "torch.save",
    }
    found = []
    for path in SOURCES:
        used = set(imports(tree(path), module_name(path), path))
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                used.add(f"{node.value.id}.{node.attr}")
            if isinstance(node, ast.keyword) and node.arg in {"allow_pickle", "weights_only"}:
                used.add("pickle")
        found += [f"{path.relative_to(ROOT)} uses {name}" for name in sorted(used & picklers)]
    assert not found, "\n".join(found)


def test_no_module_is_a_drawer_for_everything():
    drawers = {"utils", "util", "common", "helpers", "misc"}
    assert not [path for path in SOURCES if path.stem in drawers or path.parent.name in drawers]


def test_no_file_knows_the_machine_it_was_written_on():
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listed.returncode != 0:
        pytest.skip("not in a git checkout, so there is no telling which files are the project's")
    absolute = re.compile(rb"(?<![\w.\-])/(?:work|root)/")
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    assert not [path for path in paths if path.is_file() and absolute.search(path.read_bytes())]


def test_every_package_is_installed():
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    listed = set(re.findall(r'^ +"(lstm_lm[\w.]*)",$', pyproject, flags=re.MULTILINE))
    assert listed == {module_name(path) for path in PACKAGE.rglob("__init__.py")} | {"lstm_lm.data"}


def test_ci_runs_the_readme_s_test_command():
    command = 'pip install -e ".[test]" && python -m pytest -n auto'
    assert command in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert command in (ROOT / "README.md").read_text(encoding="utf-8")


def versions(text):
    """Name -> version of lines such as ``torch==2.13.0`` or ``"numpy>=2.0,<3",``."""
    found = re.findall(r'^[ "]*([\w-]+)(?:==|>=)([\d.]+)', text, flags=re.MULTILINE)
    return {
        name.lower(): tuple(map(int, (version + ".0.0").split(".")[:3])) for name, version in found
    }


def test_the_pinned_versions_are_those_that_are_asked_for():
    """Both lists have all that pyproject.toml asks for, the older one its lower bounds; and .ci/run tests them."""
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    asked = versions(
        "\n".join(re.findall(r'"[\w-]+>=[^"]+"', pyproject.partition("dependencies = [")[2]))
    )
    pinned, oldest = (
        versions((ROOT / name).read_text(encoding="utf-8"))
        for name in ("constraints.txt", "constraints-oldest.txt")
    )
    assert {"torch", "pytest", "ruff"} <= asked.keys() <= pinned.keys()
    assert all(pinned[name] >= version for name, version in asked.items())
    assert oldest == {name: version for name, version in asked.items() if name != "torch"}
    run = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert (
        "PIP_CONSTRAINT=constraints.txt" in run and "PIP_CONSTRAINT=constraints-oldest.txt" in run
    )


def test_ruff_is_content():
    pytest.importorskip("ruff")
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "."], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
