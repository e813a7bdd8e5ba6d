"""`training.average`: the kept weights are the mean of the weights of the steps that count."""

import re

import pytest
import torch
from torch.optim.swa_utils import AveragedModel

from lstm_lm import LanguageModel
from lstm_lm.config import load_config
from lstm_lm.errors import ConfigError, RunDirectoryError
from lstm_lm.files.run_files import STATE_FILE
from lstm_lm.files.seal import write_sealed
from lstm_lm.files.tensors import open_tensors, tensor_file
from lstm_lm.training import averaging
from lstm_lm.training.averaging import is_triggered
from lstm_lm.training.run import train
from lstm_lm.training.run_log import RunLog, read_log
from lstm_lm.training.trainer import Trainer

STEPS = 23
SPARSE = {
    "model.output": "sampled", "model.sampled_words": 5, "optimizer.embedding_learning_rate": 0.01
}  # fmt: skip


@pytest.fixture
def trained(config, tmp_path, monkeypatch):
    """Trains; returns the run, the weights after each step (from the first), and the lines."""
    monkeypatch.setattr(RunLog, "draw", lambda self: None)

    def run(name="run", overrides=(), stop=None, **options):
        history, lines, update = [], [], Trainer.update

        def update_and_note(trainer):
            update(trainer)
            history.append(
                {key: p.detach().double() for key, p in trainer.network.named_parameters()}
            )
            if trainer.progress.step == stop:
                trainer.signals.received = 15

        settings = {"training.max_steps": STEPS} | dict(overrides)
        with monkeypatch.context() as patch:
            patch.setattr(Trainer, "update", update_and_note)
            found = train(config, tmp_path / name, report=lines.append, **options, **settings)
        return found, history, lines

    return run


def mean_of(history):
    return {name: sum(step[name] for step in history) / len(history) for name in history[0]}


def assert_weights(model, expected):
    for name, weight in model.network.named_parameters():
        torch.testing.assert_close(weight.double(), expected[name], rtol=0, atol=2e-6)


def last_only(average):
    """Settings with which only the last weights are validated, and so kept."""
    return {"training.average": average, "training.validate_every": STEPS}


# --- which weights are kept -----------------------------------------------------------------------


@pytest.mark.parametrize("average, first", [("last:0.25", 18), ("last:1", 1), ("last:0.01", 23)])
def test_the_mean_of_the_last_steps_is_kept(trained, average, first):
    run, history, lines = trained(overrides=last_only(average))
    assert_weights(run.model, mean_of(history[first - 1 :]))
    begins = [line for line in lines if "averaging" in line]
    assert begins == [f"step {first}: averaging of the weights begins (training.average={average})"]


@pytest.mark.parametrize("decay", [0.5, 0.999])
def test_an_exponential_average_forgets_by_its_decay_and_faster_at_first(trained, decay):
    run, history, _ = trained(overrides=last_only(f"ema:{decay}"))
    expected = history[0]
    for n, weights in enumerate(history[1:], 1):
        d = min(decay, (1 + n) / (10 + n))
        expected = {name: d * expected[name] + (1 - d) * weights[name] for name in weights}
    assert_weights(run.model, expected)


def test_with_sparse_updates_every_tenth_step_counts(trained):
    run, history, _ = trained(overrides=last_only("last:1") | SPARSE)
    assert_weights(run.model, mean_of([history[9], history[19]]))
    run, history, _ = trained("ema", overrides=last_only("ema:0.5") | SPARSE)
    share = max(0.5, 1 - 11 / 20) ** 10
    expected = {
        name: share * history[9][name] + (1 - share) * weight
        for name, weight in history[19].items()
    }
    assert_weights(run.model, expected)


def test_validation_and_revisions_are_of_the_averaged_weights(trained):
    overrides = {"training.average": "last:1", "training.keep_at_words": [400]}
    run, history, _ = trained(overrides=overrides)
    assert_weights(  # 40 words a step
        LanguageModel.from_pretrained(run.folder / "revisions" / "chck_400"), mean_of(history[:10])
    )
    assert_weights(run.model, mean_of(history[: run.best_step]))
    best = min(
        line["loss"] for line in read_log(run.folder / "metrics.jsonl") if line["split"] == "valid"
    )
    plain, *_ = trained("plain")
    assert torch.tensor(best).exp() == pytest.approx(run.perplexity)
    assert run.perplexity != plain.perplexity


def test_training_itself_is_not_changed_by_averaging(trained):
    _, averaged, _ = trained("averaged", overrides=last_only("ema:0.9"))
    _, plain, _ = trained("plain")
    for left, right in zip(averaged, plain, strict=True):
        assert all(torch.equal(left[name], right[name]) for name in left)


# --- the non-monotone trigger ---------------------------------------------------------------------


def algorithm_1(losses, n):
    """Merity et al. 2018, with one validation per cycle: the index of the trigger, or None."""
    logs, t = [], 0
    for k, v in enumerate(losses):
        if t > n and v > min(logs[l] for l in range(t - n)):  # noqa: E741  # the paper's names
            return k
        logs.append(v)
        t += 1
    return None


@pytest.mark.parametrize("n", [1, 2, 5])
def test_the_trigger_is_that_of_the_paper(n):
    draw = torch.Generator().manual_seed(n)
    found = set()
    for _ in range(200):
        losses = (torch.rand(12, generator=draw) - torch.arange(12) / 12).tolist()
        ours = next((k for k in range(12) if is_triggered(losses[: k + 1], n)), None)
        assert ours == algorithm_1(losses, n)
        found.add(ours)
    assert len(found) > 3
    assert not is_triggered((), n)
    assert not is_triggered([1.0] + n * [2.0] + [1.0], n)  # as good as the best is not worse
    assert is_triggered([1.0] + n * [2.0] + [1.1], n)


def test_nt_asgd_averages_after_the_trigger(trained, monkeypatch):
    """Validations are pretended: after step 5, 10, 15, 20; the third is worse than the first."""
    losses = iter([3.0, 2.0, 3.5, 3.4, 3.3])
    found = trained_with_losses(trained, monkeypatch, losses, "nt_asgd:1")
    assert found.step == 16
    losses = iter([3.0, 2.0, 2.5, 2.9, 2.8])
    assert trained_with_losses(trained, monkeypatch, losses, "nt_asgd:1", "two").step == 21
    losses = iter([3.0, 2.0, 2.5, 2.9, 3.5])
    late = trained_with_losses(trained, monkeypatch, losses, "nt_asgd:4", "three")
    assert late.step is None and late.lines[-1] == (
        "note: averaging of the weights did not begin (training.average=nt_asgd:4)"
    )


class Begun:
    """What a run with pretended validations did."""

    def __init__(self, run, history, lines):
        begins = [line for line in lines if "averaging of the weights begins" in line]
        self.lines, self.step = lines, None
        if begins:
            self.step = int(re.match(r"step (\d+):", begins[0])[1])
            with open_tensors(run.folder / STATE_FILE) as (file, header):
                kept = {name: file.get_tensor(name) for name in file.keys()}
            assert header["progress"]["averaged"] == STEPS - self.step + 1
            for name, weight in mean_of(history[self.step - 1 :]).items():
                torch.testing.assert_close(
                    kept[f"average.{name}"].double(), weight, rtol=0, atol=2e-6
                )


def trained_with_losses(trained, monkeypatch, losses, average, name="one"):
    measure = Trainer._measure_valid

    def pretend(trainer):
        found, loss = measure(trainer), next(losses)
        object.__setattr__(found, "loss", lambda best_on: loss)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_measure_valid", pretend)
        return Begun(*trained(name, overrides={"training.average": average}))


# --- resuming -------------------------------------------------------------------------------------


def files_of(run):
    return [(run.folder / name).read_bytes() for name in (STATE_FILE, "model.safetensors")]


@pytest.mark.parametrize("average", ["ema:0.9", "last:0.5", "nt_asgd:1"])
@pytest.mark.parametrize("further", [{}, SPARSE], ids=["dense", "sparse"])
def test_resuming_at_any_step_equals_never_stopping(trained, average, further):
    overrides = {
        "training.average": average, "training.validate_every": 3, "optimizer.learning_rate": 0.3
    }  # fmt: skip
    overrides |= further
    whole, _, lines = trained("whole", overrides)
    assert any("averaging of the weights begins" in line for line in lines)
    for stop in (4, 11, 13, 21):
        trained(f"at{stop}", overrides, stop=stop)
        torch.manual_seed(99)
        resumed, *_ = trained(f"at{stop}", overrides, resume=True)
        assert files_of(resumed) == files_of(whole), stop


def rewritten(path, change):
    """Writes a checkpoint again, after a change of its tensors and its header."""
    with open_tensors(path) as (file, header):
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}
    header = {key: value for key, value in header.items() if key == "progress"}
    change(tensors, header["progress"])
    with path.open("wb") as file:
        write_sealed(file, tensor_file(tensors, header))


def test_a_checkpoint_from_before_there_were_averages_resumes(trained):
    whole, *_ = trained("whole")

    def forget(tensors, progress):
        assert not any(name.startswith("average.") for name in tensors)
        del progress["averaged"], progress["valid_losses"]

    run, *_ = trained("older", stop=8)
    rewritten(run.folder / STATE_FILE, forget)
    resumed, *_ = trained("older", resume=True)
    assert files_of(resumed) == files_of(whole)


def test_a_checkpoint_without_a_part_of_its_average_is_damaged(trained):
    run, *_ = trained(overrides={"training.average": "ema:0.9"}, stop=8)
    rewritten(run.folder / STATE_FILE, lambda tensors, progress: tensors.pop("average.output.bias"))
    with pytest.raises(RunDirectoryError, match=r"average.output.bias has shape None"):
        trained(overrides={"training.average": "ema:0.9"}, resume=True)


def test_after_the_budget_has_grown_the_last_steps_are_others(trained):
    overrides = last_only("last:0.5")
    trained(overrides=overrides)
    longer = {"training.max_steps": 2 * STEPS, "training.validate_every": 2 * STEPS}
    run, history, lines = trained(overrides=overrides | longer, resume=True)
    assert "the budget has grown: the weights are averaged anew, in its last 50%" in lines
    with open_tensors(run.folder / STATE_FILE) as (file, header):
        kept = {
            name.removeprefix("average."): file.get_tensor(name).double()
            for name in file.keys()
            if name.startswith("average.")
        }
    assert header["progress"]["averaged"] == STEPS
    for name, weight in mean_of(history).items():  # the second half of all steps
        torch.testing.assert_close(kept[name], weight, rtol=0, atol=2e-6)


def test_a_larger_budget_in_which_these_are_still_the_last_steps_changes_nothing(trained):
    """The first run averages all steps; so does the second."""
    trained(overrides=last_only("last:1"))
    longer = {"training.max_steps": STEPS + 5, "training.validate_every": STEPS + 5}
    run, _, lines = trained(overrides=last_only("last:1") | longer, resume=True)
    assert not any("anew" in line or "begins" in line for line in lines)
    with open_tensors(run.folder / STATE_FILE) as (_, header):
        assert header["progress"]["averaged"] == STEPS + 5


# --- the setting ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given, found",
    [
        ("none", "none"),
        ("ema", "ema:0.999"),
        ("last", "last:0.15"),
        ("nt_asgd", "nt_asgd:5"),
        ("last:1", "last:1"),
        ("ema:.9", "ema:.9"),
    ],
)
def test_a_name_without_its_number_has_the_usual_one(config, given, found):
    assert load_config(config, [f"training.average={given}"]).training.average == found


@pytest.mark.parametrize(
    "given, said",
    [
        ("mean", "must be one of none, ema:0.999, last:0.15, nt_asgd:5 (or with another number)"),
        ("lost:0.15", "did you mean last:0.15?"),
        ("none:1", "must be one of none"),
        ("ema:", "must be one of none"),
        ("ema:1e-3", "must be one of none"),
        ("ema:1", "the number after ema: must be above 0 and below 1"),
        ("last:0", "the number after last: must be above 0 and at most 1"),
        ("last:1.01", "the number after last: must be above 0 and at most 1"),
        ("nt_asgd:0", "the number after nt_asgd: must be a whole number of at least 1"),
        ("nt_asgd:2.5", "the number after nt_asgd: must be a whole number of at least 1"),
    ],
)
def test_another_value_is_one_line(config, given, said):
    with pytest.raises(ConfigError) as error:
        load_config(config, [f"training.average={given}"])
    assert said in str(error.value) and "\n" not in str(error.value)


def test_the_average_is_torch_s(trained, monkeypatch):
    """Counts its updates: one for each step that counts."""
    updates, update = [], AveragedModel.update_parameters
    monkeypatch.setattr(
        averaging.AveragedModel,
        "update_parameters",
        lambda self, model: (updates.append(self), update(self, model))[1],
    )
    trained(overrides={"training.average": "last:0.5"})
    assert len(updates) == 12 and len(set(map(id, updates))) == 1
