"""Neither importing the package nor asking for help imports torch, which takes seconds."""

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

import lstm_lm
from lstm_lm.cli.main import COMMANDS

ROOT = Path(__file__).parent.parent


def run(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True
    )


def test_importing_the_package_and_its_config_imports_no_torch():
    done = run(
        "import sys, lstm_lm; lstm_lm.load_config; dir(lstm_lm); assert 'torch' not in sys.modules"
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        *([command, "--help"] for command in COMMANDS),
        ["no-such-command"],
        ["train", "no-such-file.yaml"],
    ],
    ids=" ".join,
)
def test_help_and_mistakes_answer_without_torch(arguments):
    """Runs `python -m lstm_lm`, and then prints whether torch was imported."""
    code = (
        "import runpy, sys\n"
        "try: runpy.run_module('lstm_lm', run_name='__main__', alter_sys=True)\n"
        "except SystemExit as exit: print('status', exit.code)\n"
        "print('torch' in sys.modules)"
    )
    done = run(code, *arguments)
    assert done.returncode == 0, done.stderr
    status, torch_loaded = done.stdout.splitlines()[-2:]
    assert torch_loaded == "False"
    assert status in (("status 0", "status None") if "--help" in arguments else ("status 2",))
    assert "Traceback" not in done.stderr


def test_every_public_name_is_there_and_listed():
    for name in lstm_lm.__all__:
        assert name in dir(lstm_lm) and getattr(lstm_lm, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'LSTMCel'"):
        lstm_lm.LSTMCel  # noqa: B018


def test_the_version_is_the_installed_one():
    try:
        installed = importlib.metadata.version("lstm_lm")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("not installed")
    assert installed == lstm_lm.__version__
