"""The READMEs: commands, configurations, Python, links and figures are right. The results table."""

import ast
import importlib.util
import inspect
import json
import sys
import textwrap
from pathlib import Path
from unittest.mock import patch

import pytest

from lstm_lm.cells.lstm import LSTMCell
from lstm_lm.cli.main import main
from lstm_lm.config.settings import CELLS
from tests.conftest import write_corpus

ROOT = Path(__file__).parent.parent


def load_script(name):
    """Imports a module of scripts/, which is not a package."""
    specification = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module  # a dataclass looks for its module there
    specification.loader.exec_module(module)
    return module


check_readmes = load_script("check_readmes")
results = load_script("results")
PYTHON_BLOCKS = [
    block
    for path in check_readmes.readmes()
    for block in check_readmes.code_blocks(path)
    if block.language == "python"
]


def bash(text, path=ROOT / "README.md"):
    return check_readmes.Block(path, 1, "bash", text)


def table_rows(path, first_header):
    """The rows of the first table whose first column has this header, as dicts by header."""
    lines = iter(path.read_text(encoding="utf-8").splitlines())
    for line in lines:
        if line.startswith(f"| {first_header} |"):
            header = [cell.strip() for cell in line.strip("|").split("|")]
            break
    next(lines)
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append(
            dict(zip(header, [cell.strip() for cell in line.strip("|").split("|")], strict=True))
        )
    return rows


def test_every_readme_is_right():
    assert check_readmes.check_all() == []


@pytest.mark.parametrize(
    "command, problem",
    [
        ("lstm-lm train configs/wikitext2.yaml --epochz 3", "--epochz"),
        ("lstm-lm trane configs/wikitext2.yaml", "trane"),
        ("lstm-lm train configs/nothing.yaml", "no such"),
        ("lstm-lm train configs/wikitext2.yaml model.hidden_sze=3", "model.hidden_sze"),
        ("lstm-lm train nothing", "no such configuration"),
        ("lstm-lm compare configs/wikitext2.yaml gru.optimizer.lerning_rate=1", "lerning_rate"),
        ("lstm-lm sweep quickstart model.hidden_sze=3,4", "model.hidden_sze"),
        ("lstm-lm sweep quickstart model.hidden_size=3..4", "found the range"),
        ("lstm-lm probe runs/x nothing", "not a built-in suite"),
        ("echo a | lstm-lm predict runs/x --tp-k 3 > out.txt", "--tp-k"),
        ("python scripts/nothing.py", "no such"),
        ("python scripts/benchmark.py --onlly layers", "--onlly"),
        ("python -m tests.torture --shorter", "--shorter"),
        ("lstm_lm train configs/wikitext2.yaml", "unknown program"),
    ],
)
def test_a_wrong_command_is_found(command, problem):
    found = check_readmes.check_block(bash(f"{command}\n"))
    assert found and all(line.startswith("README.md:1: ") for line in found)
    assert any(problem in line for line in found)


def test_a_block_is_split_into_commands():
    text = (
        'STORY="a b" lstm-lm predict runs/x "a; b # c" # remark\n\n'
        "pip install . && lstm-lm train a \\\n    b=1 > out.txt\necho a | lstm-lm score r\n"
    )
    assert list(check_readmes.shell_commands(bash(text))) == [
        (1, ["lstm-lm", "predict", "runs/x", "a; b # c"]),
        (3, ["pip", "install", "."]),
        (3, ["lstm-lm", "train", "a", "b=1"]),
        (5, ["echo", "a"]),
        (5, ["lstm-lm", "score", "r"]),
    ]


def test_a_page_is_read_as_markdown(tmp_path, monkeypatch):
    monkeypatch.setattr(check_readmes, "ROOT", tmp_path)
    page = tmp_path / "README.md"
    page.write_text(
        "# A title, here\n\nSee `lstm-lm\ntrane`, `lstm-lm RUN_DIR` and [there](#a-title-here),\n"
        "[no](#nowhere), [none](none.md), [web](https://example.org/none).\n\n"
        "<!-- not run: because -->\n```bash\n# no heading\n`lstm-lm wrong`\n```\n\n"
        "```python\nx = = 1\n```\n"
    )
    first, second = check_readmes.code_blocks(page)
    assert (first.language, first.line, first.not_run) == ("bash", 9, "because")
    assert (second.text, second.not_run, second.place) == ("x = = 1\n", None, "README.md:14")
    assert check_readmes.headings(page) == {"a-title-here"}
    assert check_readmes.check_links(page) == [
        "README.md: link to #nowhere: no such heading",
        "README.md: link to none.md: no such file",
    ]
    (inline,) = check_readmes.inline_commands(page)
    assert (inline.line, inline.text) == (3, "lstm-lm trane\n")
    assert "invalid syntax" in check_readmes.check_block(second)[0]
    page.write_text("x\n" * 151)
    assert check_readmes.check_size() == ["README.md: has 151 lines, must have at most 150"]
    page.write_text("x" * 9217)
    assert check_readmes.check_size() == ["README.md: has 9217 bytes, must have at most 9216"]


def test_run_leaves_pip_out():
    text = "pip install . -c constraints.txt && lstm-lm train a\npip install x\necho b\n"
    assert check_readmes.without_pip(bash(text)) == "lstm-lm train a\n\necho b\n"


def test_run_executes_blocks_in_a_folder_of_its_own(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(check_readmes, "ROOT", tmp_path)
    page = tmp_path / "README.md"
    page.write_text(
        "```bash\npip install . && cat README.md > runs.txt\n```\n"
        "```python\nassert open('runs.txt').read() == open('README.md').read()\n```\n"
        "```bash\nfalse\necho not reached\n```\n"
        "```\nfalse\n```\n"
        "<!-- not run: too long -->\n```bash\nfalse\n```\n"
    )
    monkeypatch.setattr(check_readmes, "readmes", lambda: [page])
    assert check_readmes.run_all() == ["README.md:8: failed"]
    out = capfd.readouterr().out
    assert "README.md:16: not run: too long" in out and "not reached" not in out
    assert list(tmp_path.iterdir()) == [page]


@pytest.mark.slow
@pytest.mark.parametrize("block", PYTHON_BLOCKS, ids=lambda block: block.place)
def test_the_python_runs(block, finished_run, tmp_path, monkeypatch):
    """With a tiny run and a tiny configuration in place of the quick start's."""
    if block.not_run:
        pytest.skip(block.not_run)
    for node in ast.walk(ast.parse(block.text)):  # packages of extras may be missing
        if isinstance(node, ast.ImportFrom) and node.module:
            pytest.importorskip(node.module.partition(".")[0])
    export_what_is_read(block, finished_run, tmp_path)
    code = block.text.replace('"runs/quickstart"', repr(str(finished_run)))
    code = code.replace('"quickstart"', repr(str(write_corpus(tmp_path / "corpus"))))
    monkeypatch.chdir(tmp_path)
    with patch.dict(CELLS):  # a block may register a cell
        exec(compile(code, block.place, "exec"), {})


def export_what_is_read(block, run, folder):
    """Runs the page's commands `lstm-lm export` whose files a block reads, for another run."""
    for other in check_readmes.code_blocks(block.path):
        if other.language == "bash":
            for _, words in check_readmes.shell_commands(other):
                if words[:2] == ["lstm-lm", "export"] and f'"{words[3]}"' in block.text:
                    assert main(["export", str(run), str(folder / words[3]), *words[4:]]) == 0


def test_the_equations_are_those_of_the_cell():
    def statements(source):
        body = ast.parse(textwrap.dedent(source)).body[0].body
        docstring_left_out = [line for line in body if not isinstance(line, ast.Expr)]
        return [ast.dump(line) for line in docstring_left_out]

    (shown,) = [block.text for block in PYTHON_BLOCKS if block.text.startswith("def forward(")]
    assert statements(shown) == statements(inspect.getsource(LSTMCell.forward))


def test_a_figure_of_the_readme_is_that_of_the_results_table():
    home = table_rows(ROOT / "configs" / "README.md", "configuration")
    rows = table_rows(ROOT / "README.md", "configuration")
    assert 1 < len(rows) <= 6
    for row in rows:
        assert any(row.items() <= known.items() for known in home), row


def test_the_configurations_of_the_results_table_exist():
    for row in table_rows(ROOT / "configs" / "README.md", "configuration"):
        command = row["configuration"].strip("`")
        if command == row["configuration"]:
            continue  # a system of somebody else
        words = command.split()
        problems = check_readmes.check_command(
            words if words[0] == "lstm-lm" else ["lstm-lm", "train", *words]
        )
        assert not problems, problems


def test_every_script_is_in_the_readme_of_scripts():
    text = (ROOT / "scripts" / "README.md").read_text(encoding="utf-8")
    scripts = [path.name for path in (ROOT / "scripts").glob("*.py")]
    assert [name for name in scripts if f"]({name})" not in text] == []


def test_every_configuration_is_in_the_readme_of_configs():
    text = (ROOT / "configs" / "README.md").read_text(encoding="utf-8")
    configs = [path.name for path in (ROOT / "configs").glob("*.yaml")]
    assert [name for name in configs if f"]({name})" not in text] == []


def results_table(monkeypatch, capsys, *folders):
    monkeypatch.setattr(sys, "argv", ["results.py", *map(str, folders)])
    status = results.main()
    return status, *capsys.readouterr()


def test_results_are_those_that_the_run_logged(a_run, monkeypatch, capsys, command):
    status, out, _ = results_table(monkeypatch, capsys, a_run)
    assert status == 0
    header, rule, row = (
        [cell.strip() for cell in line.split("|")[1:-1]] for line in out.splitlines()
    )
    assert set(rule) == {"---"}
    found = dict(zip(header, row, strict=True))
    metrics = [json.loads(line) for line in (a_run / "metrics.jsonl").read_text().splitlines()]
    best = min(line["perplexity"] for line in metrics if line["split"] == "valid")
    assert found["run"] == a_run.name
    assert found["corpus"] == "train.txt"
    assert found["seed"] == "0"
    assert found["train tokens seen"] == f"{metrics[-1]['words']:,}"
    assert found["valid perplexity (tokens)"] == f"{best:.2f} (14)"
    assert found["test perplexity (tokens)"] == ""

    _, evaluated, _ = command("evaluate", a_run, "--json")
    (a_run / "test.json").write_text(evaluated)
    _, out, _ = results_table(monkeypatch, capsys, a_run)
    assert out.count(f"{json.loads(evaluated)['perplexity']:.2f} (14)") == 2


def test_results_count_each_parameter_once(a_run):
    from lstm_lm import LanguageModel

    model = LanguageModel.from_pretrained(a_run)
    expected = sum(parameter.numel() for parameter in model.network.parameters())
    assert results.count_parameters(a_run / "model.safetensors") == expected


def test_results_of_a_damaged_run_are_one_line(a_run, monkeypatch, capsys):
    (a_run / "test.json").write_text("[]")
    for name in ("test.json", "model.safetensors", "config.yaml"):
        (a_run / name).write_bytes(b"[")
        status, out, err = results_table(monkeypatch, capsys, a_run)
        assert status == 2 and out == ""
        assert err.startswith("results.py: error: ") and err.count("\n") == 1 and name in err
