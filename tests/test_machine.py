"""What the machine says about itself."""

import pytest

from lstm_lm import machine
from lstm_lm.training import run as run_module


@pytest.mark.parametrize(
    "text, lacks",
    [
        ("flags\t\t: fpu avx2 avx512f\nflags\t\t: fpu avx2 avx512f\n", True),
        ("flags\t\t: fpu avx512f avx512_bf16\n", False),
        ("flags\t\t: fpu amx_bf16 amx_tile\n", False),
        ("Features\t: fp asimd\n", True),
        ("Features\t: fp asimd i8mm bf16\n", False),
        ("model name\t: no list of bf16 features\n", False),
        ("", False),
    ],
)
def test_bfloat16_is_found_where_the_cpu_names_it(tmp_path, text, lacks):
    (tmp_path / "cpuinfo").write_text(text)
    assert machine.lacks_bfloat16(tmp_path / "cpuinfo") == lacks
    assert not machine.lacks_bfloat16(tmp_path / "none")


@pytest.mark.parametrize("precision, lacks", [("bf16", True), ("bf16", False), ("fp32", True)])
def test_bf16_without_such_instructions_is_said(command, config, monkeypatch, precision, lacks):
    monkeypatch.setattr(run_module, "lacks_bfloat16", lambda: lacks)
    status, out, err = command(
        "train",
        config,
        f"training.precision={precision}",
        "training.max_steps=1",
        "training.device=cpu",
        "--overwrite",
    )
    assert status == 0, err
    assert ("no bfloat16 instructions" in out) == (precision == "bf16" and lacks)
