"""Rules about the repository itself: imports, sizes, docstrings, types and versions."""

import ast
import graphlib
import re
import subprocess
import sys
import textwrap
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import lstm_lm
from lstm_lm.config import settings

try:
    import tomllib
except ImportError:  # Python 3.10, where pytest needs tomli and installs it
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "lstm_lm"
SOURCES = sorted([*PACKAGE.rglob("*.py"), *(ROOT / "scripts").rglob("*.py")])
# From the highest room to the lowest. The modules outside the rooms are below all of them.
CHAPTERS = [
    "cli",
    "integrations",
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
# These two give access to every room and define nothing themselves.
DOORS = {"lstm_lm", "lstm_lm.__main__"}
# Which the tests of lstm_lm/integrations use.
OTHER_PROGRAMS = {
    "transformers", "minicons", "lm-eval", "onnx", "onnxruntime", "kenlm", "tensorboard", "wandb",
    "optuna",
}  # fmt: skip
LONGEST_FILE, LONGEST_FUNCTION = 440, 75
TEST_COMMAND = 'pip install -e ".[test]" -c constraints.txt && python -m pytest -n auto'
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def tree(path):
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def module_name(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def import_source(node, module, path):
    """The dotted name between `from` and `import`; a relative one is resolved."""
    if not node.level:
        return node.module
    package = module if path.stem == "__init__" else module.rpartition(".")[0]
    parents = package.split(".")[: len(package.split(".")) - node.level + 1]
    return ".".join([*parents, *([node.module] if node.module else [])])


def imports(node, module, path, at_import_time=False):
    """Yields the dotted names that a tree imports.

    At import time: only the imports that run when the module itself is imported.
    `from a import b` yields `a` and `a.b`, for `b` may be a module.
    """
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
            source = import_source(child, module, path)
            yield source
            yield from (f"{source}.{alias.name}" for alias in child.names)
        else:
            yield from imports(child, module, path, at_import_time)


def imported_modules(module):
    """The modules of this package that a module imports anywhere in its code, each exactly.

    `from lstm_lm.files import seal` imports `lstm_lm.files.seal`, and nothing from `lstm_lm.files`.
    """
    path = MODULES[module]
    names = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            source = import_source(node, module, path)
            full_names = {f"{source}.{alias.name}" for alias in node.names}
            names |= {name if name in MODULES else source for name in full_names}
    return names & MODULES.keys()


def floor(module):
    """The height of a module's room. Modules outside the rooms have height 0."""
    chapter = module.split(".")[1]
    return len(CHAPTERS) - CHAPTERS.index(chapter) if chapter in CHAPTERS else 0


def functions(body, prefix=""):
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield prefix + node.name, node
        if isinstance(node, ast.ClassDef):
            yield from functions(node.body, f"{prefix}{node.name}.")


def find_cycle(graph):
    """One cycle of a graph {module: the modules it imports}; an empty list if there is none."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return []


# --- imports -------------------------------------------------------------------------------------


def test_every_chapter_has_its_floor():
    chapters = {path.parent.name for path in PACKAGE.glob("*/*.py")}
    assert chapters == set(CHAPTERS), (
        "a new room needs a place in CHAPTERS above, and in lstm_lm/README.md"
    )


def test_imports_go_down_only():
    # what users import; inside the package it would reach every room
    front_door = {f"lstm_lm.{name}" for name in lstm_lm.__all__}
    climbs = [
        f"{module} imports {target}"
        for module, path in MODULES.items()
        if module not in DOORS
        for target in imports(tree(path), module, path)
        if target in front_door
        or (target in set(MODULES) - DOORS and floor(target) > floor(module))
    ]
    assert not climbs, "\n".join(climbs)


def test_no_modules_import_each_other_in_a_circle():
    """Imports inside functions and for type checking are included."""
    inner = MODULES.keys() - DOORS
    cycle = find_cycle({module: imported_modules(module) & inner for module in inner})
    assert not cycle, " is imported by ".join(cycle)


def test_a_circle_is_found(tmp_path, monkeypatch):
    sources = {
        "one": "def run():\n    from lstm_lm.two import x",
        "two": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from lstm_lm import three",
        "three": "import lstm_lm.one",
        "four": "from .one import run",
    }
    for name, text in sources.items():
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    modules = {f"lstm_lm.{name}": tmp_path / f"{name}.py" for name in sources}
    monkeypatch.setattr(sys.modules[__name__], "MODULES", modules)
    graph = {module: imported_modules(module) for module in modules}
    assert graph["lstm_lm.four"] == {"lstm_lm.one"}
    assert set(find_cycle(graph)) == {"lstm_lm.one", "lstm_lm.two", "lstm_lm.three"}
    del graph["lstm_lm.three"]
    assert find_cycle(graph) == []


def test_the_command_line_and_the_config_import_no_torch():
    """Follows the imports that run at import time; test_import.py tries it in a process."""

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


def test_a_new_cell_touches_one_registry():
    """No module outside `cells` names a cell, except the registry `config.settings.CELLS`."""
    registry = MODULES["lstm_lm.config.settings"]
    allowed = {path for name, path in MODULES.items() if name.startswith("lstm_lm.cells")}
    allowed |= {registry, MODULES["lstm_lm"]}  # `lstm_lm` exports the classes to users
    allowed |= {MODULES["lstm_lm.config.names"]}  # what users of other programs may type
    classes = {
        node.name
        for path in (PACKAGE / "cells").glob("*.py")
        for node in tree(path).body
        if isinstance(node, ast.ClassDef) and node.name.endswith("Cell")
    } - {"Cell"}  # the base class, which other rooms may name
    assert {"LSTMCell", "GRUCell", "ElmanCell"} <= classes
    found = []
    for path in set(SOURCES) & set(MODULES.values()) - allowed:
        for node in ast.walk(tree(path)):
            is_name = isinstance(node, ast.Constant) and node.value in set(settings.CELLS)
            is_class = (isinstance(node, ast.Name) and node.id in classes) or (
                isinstance(node, ast.Attribute) and node.attr in classes
            )
            if is_name or is_class:
                found.append(f"{path.relative_to(ROOT)}, line {node.lineno}")
    assert not found, "\n".join(sorted(found))


def test_the_cell_of_the_contributing_guide_works(tmp_path, monkeypatch, vocabulary):
    """Its code is written to a file and registered; then a whole model is built with it."""
    import torch

    from lstm_lm.config import ModelConfig
    from lstm_lm.model.language_model import LanguageModel

    (block,) = re.findall(r"```python\n(.*?)```", read("CONTRIBUTING.md"), flags=re.DOTALL)
    path = tmp_path / "min_gate.py"
    path.write_text(textwrap.dedent(block), encoding="utf-8")
    done = run_tool("ruff", "check", "--config", str(ROOT / "pyproject.toml"), str(path))
    assert done.returncode == 0, done.stdout
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(settings.CELLS, "min_gate", "min_gate:MinGateCell")
    config = ModelConfig(cell="min_gate", embedding_dim=6, hidden_size=6)
    model = LanguageModel.from_config(config, vocabulary)
    cell = model.network.recurrent.cells[0]
    state, x = type(cell.zero_state(1))(torch.ones(1, 6)), torch.zeros(1, 6)
    with torch.no_grad():
        cell.forget_gate.bias.fill_(-100.0)  # closed: the state stays
        assert torch.equal(cell(x, state).h, state.h)
        cell.forget_gate.bias.fill_(100.0)  # open: the candidate replaces it
        torch.testing.assert_close(cell(x, state).h, cell.activations(x, state)["candidate"])
    assert len(model.predict_next("I speak fluent", top_k=3)) == 3


# --- sizes, docstrings, what is forbidden --------------------------------------------------------


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
                and "overload" not in map(ast.unparse, node.decorator_list)
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
        pytest.skip("not a git checkout, so the files of the project are not known")
    absolute = re.compile(rb"(?<![\w.\-])/(?:work|root)/")
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    assert not [path for path in paths if path.is_file() and absolute.search(path.read_bytes())]


# --- versions, and what runs the tests -----------------------------------------------------------


def requirements():
    """What pyproject.toml asks for on this system, the test extra included, by normalised name."""
    project = tomllib.loads(read("pyproject.toml"))["project"]
    lines = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    found = [Requirement(line) for line in lines]
    return {
        canonicalize_name(requirement.name): requirement
        for requirement in found
        if requirement.marker is None or requirement.marker.evaluate()
    }


def pins(name, python=None):
    """The versions that a constraints file pins for a Python such as "3.10", by normalised name."""
    environment = {"python_version": python, "python_full_version": f"{python}.0"} if python else {}
    found = {}
    for line in read(name).splitlines():
        if not line or line.startswith("#"):
            continue
        pin = Requirement(line)
        if pin.marker is None or pin.marker.evaluate(environment):
            (specifier,) = pin.specifier
            assert specifier.operator == "==", line
            assert canonicalize_name(pin.name) not in found, f"{pin.name} is pinned twice"
            found[canonicalize_name(pin.name)] = Version(specifier.version)
    return found


def lower_bound(requirement):
    (specifier,) = requirement.specifier
    assert specifier.operator == ">=", f"{requirement}: an upper bound refuses what may well work"
    return Version(specifier.version)


@pytest.mark.parametrize("python", PYTHONS)
def test_every_requirement_has_a_tested_version(python):
    asked, tested = requirements(), pins("constraints.txt", python)
    assert {"torch", "pytest", "ruff", "mypy"} <= asked.keys() <= tested.keys()
    assert all(tested[name] >= lower_bound(asked[name]) for name in asked)


def test_the_oldest_versions_are_the_lower_bounds():
    bounds = {name: lower_bound(requirement) for name, requirement in requirements().items()}
    bounds["torch"] = pins("constraints.txt")["torch"]  # the only one that was tested
    oldest = pins("constraints-oldest.txt")
    others = oldest.keys() & OTHER_PROGRAMS  # the oldest that are compatible with the rest
    assert all(oldest[name] >= bounds[name] for name in others)
    assert {name: oldest[name] for name in oldest.keys() - others} == {
        name: bounds[name] for name in bounds.keys() - OTHER_PROGRAMS
    }


def test_every_dependency_states_the_reason_for_its_bound():
    lines = read("pyproject.toml").partition("\ndependencies = [\n")[2].partition("\n]")[0]
    assert lines.count("\n") > 5
    assert all(re.search(r'",\s+# \w', line) for line in lines.splitlines())


def test_ci_runs_the_readme_s_test_command():
    assert TEST_COMMAND in [line.strip() for line in read(".ci/run").splitlines()]
    assert TEST_COMMAND in read("README.md").splitlines()
    assert TEST_COMMAND in read("CONTRIBUTING.md").splitlines()
    workflow = yaml.safe_load(read(".github/workflows/ci.yml"))
    assert TEST_COMMAND in [step.get("run") for step in workflow["jobs"]["tests"]["steps"]]


def test_ci_and_pyproject_know_the_same_pythons():
    workflow = yaml.safe_load(read(".github/workflows/ci.yml"))
    assert tuple(workflow["jobs"]["tests"]["strategy"]["matrix"]["python"]) == PYTHONS
    project = tomllib.loads(read("pyproject.toml"))["project"]
    listed = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    assert tuple(listed) == PYTHONS and project["requires-python"] == f">={PYTHONS[0]}"


def test_citation_and_changelog_agree_with_the_package():
    citation = yaml.safe_load(read("CITATION.cff"))
    project = tomllib.loads(read("pyproject.toml"))["project"]
    home = project["urls"]["Homepage"]
    assert citation["version"] == lstm_lm.__version__
    assert citation["license"] == project["license"] == "MIT"
    assert citation["url"] == home and all(u.startswith(home) for u in project["urls"].values())
    assert re.search(r"^## \[Unreleased\]$", read("CHANGELOG.md"), flags=re.MULTILINE)


def test_every_hook_of_pre_commit_is_a_tool_of_the_tests():
    hooks = yaml.safe_load(read(".pre-commit-config.yaml"))["repos"][0]["hooks"]
    assert {hook["entry"].split()[2] for hook in hooks} <= requirements().keys()


# --- tools ---------------------------------------------------------------------------------------


def run_tool(*arguments):
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True
    )


def skip_unless_tested_version(*names):
    """Skips a test whose result depends on versions, unless those of constraints.txt are here."""
    tested = pins("constraints.txt")
    for name in names:
        found = Version(Version(metadata.version(name)).public)
        if found != tested[name]:
            pytest.skip(f"{name} is {found}, and constraints.txt has {tested[name]}")


def test_ruff_is_content():
    done = run_tool("ruff", "check", "-q", "--output-format", "concise", ".")
    assert done.returncode == 0, done.stdout + done.stderr


def test_ruff_has_formatted_every_file():
    skip_unless_tested_version("ruff")
    done = run_tool("ruff", "format", "--check", "--output-format", "concise", ".")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_the_type_checker_is_content(tmp_path):
    skip_unless_tested_version("mypy", "torch", "numpy", "matplotlib", "huggingface-hub")
    done = run_tool("mypy", "lstm_lm", "--cache-dir", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
