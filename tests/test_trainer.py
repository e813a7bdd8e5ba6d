"""Laws of the trainer: it learns; golden losses; a resumed run equals one that never stopped."""

import dataclasses
import gc
import json
import math
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from lstm_lm import shared_cores
from lstm_lm.config import Config, EvaluationConfig, OptimizerConfig, TrainingConfig
from lstm_lm.errors import DivergedError, RunDirectoryError
from lstm_lm.files.tensors import FORMAT_VERSION
from lstm_lm.model.language_model import LanguageModel
from lstm_lm.model.pretrained import save_description
from lstm_lm.model.scoring import iterate_nll
from lstm_lm.training import divergence
from lstm_lm.training.checkpoint import STATE_FILE, Progress
from lstm_lm.training.resuming import find_resume_point
from lstm_lm.training.run_directory import run_yaml
from lstm_lm.training.run_log import CURVE_FILE, RunLog, read_log
from lstm_lm.training.trainer import Trainer
from lstm_lm.training.validation import ValidText
from tests.torture.hostile import resealed

TRAINING = TrainingConfig(
    batch_size=4,
    bptt_length=5,
    max_epochs=None,
    max_steps=20,
    log_every=1,
    validate_every=6,
    checkpoint_every=None,
    device="cpu",
)
MUON = OptimizerConfig(name="muon", warmup_steps=3, weight_decay=0.1, embedding_learning_rate=1e-2)
OPTIMIZER = OptimizerConfig(warmup_steps=3)
DROPS = {
    "embedding_dropout": 0.1,
    "input_dropout": 0.2,
    "hidden_dropout": 0.3,
    "output_dropout": 0.2,
    "weight_dropout": 0.3,
}
THREADS = Path("/proc/self/task")


@pytest.fixture
def tokens(vocabulary):
    return np.random.default_rng(0).integers(2, len(vocabulary), 300)


@pytest.fixture
def make_trainer(make_model, tokens, tmp_path):
    def make(
        name="run",
        *,
        resume=False,
        optimizer=OPTIMIZER,
        valid=None,
        model=None,
        train=None,
        prompts=(),
        **changes,
    ):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        model = model or make_model(**DROPS)
        if not resume:
            save_description(model.network, model.vocabulary, folder, "unnamed")
            (folder / "config.yaml").write_bytes(run_yaml(Config(), "unnamed"))
        return Trainer(
            model,
            tokens if train is None else train,
            [ValidText("files", tokens[:50] if valid is None else valid)],
            optimizer,
            dataclasses.replace(TRAINING, **changes),
            EvaluationConfig(prompts=prompts),
            folder,
            resume=find_resume_point(folder) if resume else None,
        )

    return make


@pytest.mark.slow
def test_it_overfits_fifty_words(make_model, make_trainer, vocabulary):
    words = np.random.default_rng(1).integers(2, len(vocabulary), 50)
    trainer = make_trainer(
        train=words,
        valid=words,
        model=make_model(hidden_size=32, embedding_dim=16),
        max_steps=200,
        batch_size=1,
        bptt_length=25,
        validate_every=200,
        optimizer=OptimizerConfig(learning_rate=2e-2),
    )
    assert trainer.run()
    assert math.exp(trainer.progress.best_loss) < 1.1


def test_reset_per_line_trains_every_line_from_a_zero_state(make_model, make_trainer, vocabulary):
    """With a learning rate of almost 0, the losses are those of separate lines."""
    draw = np.random.default_rng(0)
    lines = [np.append(draw.integers(2, len(vocabulary), 6), vocabulary.eos_id) for _ in range(3)]
    model = make_model()
    apart = [
        torch.cat([nll for nll, _ in iterate_nll(model.network, line, vocabulary.eos_id, 99)])
        for line in lines
    ]
    trainer = make_trainer(
        train=np.concatenate(lines),
        model=model,
        batch_size=1,
        bptt_length=7,
        max_steps=3,
        validate_every=None,
        reset_per_line=1.0,
        optimizer=OptimizerConfig(name="sgd", learning_rate=1e-9),
    )
    trainer.run()
    losses = [
        line["loss"]
        for line in read_log(trainer.folder / "metrics.jsonl")
        if line["split"] == "train"
    ]
    assert losses == pytest.approx([float(nll.mean()) for nll in apart], rel=1e-5)


def test_dropout_grows_linearly_to_the_model_s_rates(make_trainer):
    trainer, shares = make_trainer(dropout_start=0.2, max_steps=4, validate_every=None), []
    loss = trainer.network.loss

    def note(*args, **options):
        shares.append(trainer.network.recurrent.dropout_share)
        return loss(*args, **options)

    trainer.network.loss = note
    assert trainer.run() and shares == pytest.approx([0.2, 0.4, 0.6, 0.8])


def test_the_curve_is_drawn_and_its_pixels_are_freed(make_trainer):
    trainer = make_trainer(max_steps=2, validate_every=1)
    gc.disable()  # only the drawing itself collects garbage
    try:
        assert trainer.run() and (trainer.folder / CURVE_FILE).exists()
        assert not [
            found for found in gc.get_objects() if type(found).__name__ == "FigureCanvasAgg"
        ]
    finally:
        gc.enable()


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"[]",
        b'{"split": "test", "step": 1, "perplexity": 2}',
        b'{"split": "train"}',
        9999 * b"[",
    ],
)
def test_a_foreign_log_is_refused(tmp_path, line):
    with pytest.raises(
        RunDirectoryError, match="metrics.jsonl: has lines that lstm_lm does not write"
    ):
        RunLog(tmp_path, line + b"\n")


GOLDEN = {
    "lstm": [
        3.01072,
        2.92631,
        2.95761,
        2.92708,
        2.92972,
        2.98121,
        3.06104,
        3.0124,
        2.95899,
        2.94068,
        2.98424,
        3.06484,
        2.9592,
        2.95305,
        3.1187,
        3.121,
        3.12549,
        2.92702,
        2.94988,
        3.00514,
    ],
    "gru": [
        3.10336,
        2.96568,
        2.97354,
        2.96491,
        2.97825,
        2.9392,
        3.04771,
        3.09222,
        3.05586,
        3.20126,
        3.03538,
        2.92931,
        3.03617,
        3.06885,
        3.08004,
        3.04044,
        3.04468,
        3.12226,
        2.99852,
        2.83968,
    ],
    "elman": [
        2.89055,
        2.77683,
        3.14577,
        2.95835,
        3.07679,
        2.92642,
        3.1953,
        3.10826,
        3.07386,
        3.10846,
        2.98305,
        2.9424,
        2.95284,
        3.09229,
        3.25904,
        3.04199,
        2.81238,
        3.05098,
        2.82135,
        2.97981,
    ],
}


@pytest.mark.parametrize("cell", ["lstm", "gru", "elman"])
def test_twenty_golden_losses(make_model, make_trainer, cell):
    trainer = make_trainer(model=make_model(cell=cell, **DROPS), validate_every=None)
    trainer.run()
    losses = [
        line["loss"]
        for line in read_log(trainer.folder / "metrics.jsonl")
        if line["split"] == "train"
    ]
    assert losses == pytest.approx(GOLDEN[cell], rel=1e-4)


def outcome(trainer):
    """Weights, optimizer, carried state, generators and log of a run: all that could differ."""
    return {
        path.name: path.read_bytes()
        for path in trainer.folder.iterdir()
        if path.name in (STATE_FILE, "model.safetensors", "metrics.jsonl")
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"accumulation_steps": 3, "bptt_variation": 2.0},
        {"precision": "bf16"},
        {"optimizer": MUON, "dropout_start": 0.2},
    ],
)
def test_resuming_at_any_step_equals_never_stopping(make_model, make_trainer, changes, monkeypatch):
    monkeypatch.setattr(RunLog, "draw", lambda self: None)
    whole = make_trainer("whole", **changes)
    assert whole.run()
    for stop in (1, 5, 6, 15) if changes else range(1, 20):
        first = make_trainer(f"halved{stop}", **changes)
        update = first.update

        def update_until_stop(first=first, update=update, stop=stop):
            update()
            if first.progress.step == stop:
                first.signals.received = 15

        first.update = update_until_stop
        assert not first.run() and first.progress.step == stop
        torch.manual_seed(999)  # a new process starts from any state
        second = make_trainer(
            f"halved{stop}", resume=True, model=make_model(seed=999, **DROPS), **changes
        )
        assert second.run()
        assert outcome(second) == outcome(whole), f"stopped after step {stop}"


def test_log_lines_after_the_checkpoint_are_removed(make_trainer):
    trainer = make_trainer(checkpoint_every=4, validate_every=None)

    def die(trainer=trainer, update=trainer.update):
        update()
        if trainer.progress.step == 7:
            raise KeyboardInterrupt

    trainer.update = die
    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    assert len(read_log(trainer.folder / "metrics.jsonl")) == 7
    resumed = make_trainer(resume=True, checkpoint_every=4, validate_every=None)
    assert resumed.progress.step == 4
    resumed.run()
    steps = [
        line["step"]
        for line in read_log(trainer.folder / "metrics.jsonl")
        if line["split"] == "train"
    ]
    assert steps == list(range(1, 21))


@pytest.mark.slow
def test_a_signal_during_validation_stops_it_and_the_resumed_run_validates(make_trainer):
    trainer = make_trainer(validate_every=6)
    measure = trainer._measure_valid

    def measure_after_ctrl_c():
        trainer.signals.received = 2
        return measure()

    trainer._measure_valid = measure_after_ctrl_c
    assert not trainer.run()
    assert trainer.progress.step == 6 and trainer.progress.validated_step is None
    resumed = make_trainer(resume=True, validate_every=6)
    assert resumed.run() and resumed.progress.validated_step == 20
    steps = [
        line["step"]
        for line in read_log(trainer.folder / "metrics.jsonl")
        if line["split"] == "valid"
    ]
    assert steps == [6, 12, 18, 20]


@pytest.mark.slow
@pytest.mark.skipif(not THREADS.exists(), reason="counts threads as Linux lists them")
def test_validation_leaves_no_thread_behind(make_trainer, monkeypatch):
    """With more threads than cores, OpenMP would let those of the steps sleep at every wait."""
    monkeypatch.setattr(shared_cores, "waiting_seconds", lambda: 0.0)  # however busy the cores are
    trainer, counts = make_trainer(validate_every=5), []
    update, measure = trainer.update, trainer._measure_valid

    def for_two_threads():
        torch.ones(2**20).exp_()

    def measure_with_two_threads():
        for_two_threads()
        return measure()

    def count():
        for_two_threads()
        update()
        time.sleep(0.02)  # threads need a moment to end
        counts.append(len(list(THREADS.iterdir())))

    monkeypatch.setattr(trainer, "_measure_valid", measure_with_two_threads)
    monkeypatch.setattr(trainer, "update", count)
    torch.set_num_threads(2)
    try:
        trainer.run()
    finally:
        torch.set_num_threads(1)
    assert len(counts) == 20 and len(set(counts)) == 1, counts


def with_figures(validation, **figures):
    """A validation of one text, with other figures."""
    [(name, result)] = validation.results.items()
    changed = {name: dataclasses.replace(result, **figures)}
    return dataclasses.replace(validation, results=changed)


def test_the_best_model_is_kept(make_trainer, make_model, monkeypatch):
    trainer = make_trainer(
        patience=2, optimizer=OptimizerConfig(schedule="plateau", warmup_steps=0), max_steps=1000
    )
    losses, kept, results = iter([3.0, 2.0, 2.5, 2.1]), {}, []
    measure = trainer._measure_valid

    def pretend():
        results.append(with_figures(measure(), nll=next(losses) * 50, tokens=50))
        kept[len(results)] = [p.detach().clone() for p in trainer.network.parameters()]
        return results[-1]

    trainer._measure_valid = pretend
    assert trainer.run()
    assert len(results) == 4 and trainer.progress.step == 24 and trainer.progress.best_step == 12
    assert trainer.progress.plateau_factor == 0.25**2
    best = LanguageModel.from_pretrained(trainer.folder)
    for found, expected in zip(best.network.parameters(), kept[2], strict=True):
        assert torch.equal(found, expected)


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_number_that_is_not_finite_stops_the_run_and_keeps_the_checkpoint(make_trainer, what):
    trainer = make_trainer(checkpoint_every=5, validate_every=None)
    spoil(trainer, what, 8 * trainer.config.bptt_length)  # the window of the 8th step
    message = rf"the {what} is not finite after step 7 \(the last finite loss was [23]\."
    with pytest.raises(DivergedError, match=message) as caught:
        trainer.run()
    assert "\n" not in str(caught.value) and "training.skip_non_finite" in str(caught.value)
    resumed = make_trainer(resume=True, checkpoint_every=5, validate_every=None)
    assert resumed.progress.step == 5
    assert all(torch.isfinite(p).all() for p in resumed.model.network.parameters())


def spoil(trainer, what, *positions):
    """Makes one number of the windows that end at these columns of an epoch not finite.

    Args:
        trainer: is changed, and returned.
        what: ``loss``: the loss alone; ``gradient``: one number of the embedding's; ``state``: the
            loss, and one number of stream 2's state after the window.
        positions: columns of the train streams.
    """
    real, weight = trainer.network.loss, trainer.network.embedding.weight

    def spoil_one_gradient():
        def spoiled(gradient):
            hook.remove()
            gradient = gradient.clone()
            gradient[3, 3] = math.inf
            return gradient

        hook = weight.register_hook(spoiled)

    def loss_of(inputs, targets, state, keep, penalty, part):
        loss, after = real(inputs, targets, state, keep, penalty, part)
        if trainer.progress.position + len(inputs) in positions:
            if what == "gradient":
                spoil_one_gradient()
            else:
                loss = loss + (math.nan - loss).detach()  # its gradients stay finite
            if what == "state":
                after[1] = after[1].detach()
                after[1].c[2, 1] = math.nan
        return loss, after

    trainer.network.loss = loss_of
    return trainer


@pytest.mark.parametrize("what", ["loss", "gradient", "state"])
@pytest.mark.parametrize(
    "accumulation_steps, words", [(1, 720), pytest.param(2, 600, marks=pytest.mark.slow)]
)
def test_with_skip_non_finite_such_updates_are_skipped(
    make_trainer, what, accumulation_steps, words
):
    """Weights stay, the update is counted, and a stream with a broken state starts from zero."""
    trainer = spoil(
        make_trainer(
            skip_non_finite=True,
            max_epochs=3,
            max_steps=None,
            validate_every=None,
            accumulation_steps=accumulation_steps,
        ),
        what,
        20,
        25,
        75,
    )
    update, honest, states = trainer.update, [], []

    def watch():
        before, skipped = (
            [p.detach().clone() for p in trainer.network.parameters()],
            trainer.progress.skipped_updates,
        )
        update()
        moved = any(
            (old != new).any()
            for old, new in zip(before, trainer.network.parameters(), strict=True)
        )
        honest.append(moved == (trainer.progress.skipped_updates == skipped))
        states.append(torch.stack([part for layer in trainer.state for part in layer]))  # (4, B, H)

    trainer.update = watch
    assert trainer.run()
    progress = trainer.progress
    assert (
        all(honest)
        and len(honest)
        == progress.step + progress.skipped_updates
        == (24, 45)[accumulation_steps == 1]
    )
    assert (progress.skipped_updates, progress.words, progress.epoch) == (9, words, 3)
    assert torch.stack(states).isfinite().all()
    if what == "state" and accumulation_steps == 1:
        after = states[3]  # the window that ended at column 20
        assert (after[:, 2] == 0).all() and (after[:, [0, 1, 3]] != 0).all()
    lines = read_log(trainer.folder / "metrics.jsonl")
    train = [line for line in lines if line["split"] == "train"]
    assert [line["step"] for line in train] == list(range(1, progress.step + 1)) and train[-1][
        "skipped_updates"
    ] == 8
    assert [line["step"] for line in lines if line["split"] == "valid"] == [
        progress.step // 3 * k for k in (1, 2, 3)
    ]


@pytest.mark.slow
def test_resuming_between_skipped_updates_equals_never_stopping(make_trainer, monkeypatch):
    monkeypatch.setattr(RunLog, "draw", lambda self: None)
    settings = {
        "skip_non_finite": True,
        "max_steps": 16,
        "bptt_length": 25,
        "checkpoint_every": 2,
        "log_every": 3,
    }
    # two of the three windows of each epoch
    whole = spoil(make_trainer("whole", **settings), "state", 25, 75)
    assert whole.run() and whole.progress.skipped_updates == 31
    for stop in (1, 2, 3, 9, 10, 46):
        first = spoil(make_trainer(f"halved{stop}", **settings), "state", 25, 75)
        update, calls = first.update, []

        def update_until_stop(first=first, update=update, calls=calls, stop=stop):
            update()
            calls.append(1)
            if len(calls) == stop:
                first.signals.received = 15

        first.update = update_until_stop
        assert not first.run() and len(calls) == stop
        second = spoil(make_trainer(f"halved{stop}", resume=True, **settings), "state", 25, 75)
        assert second.run()
        assert outcome(second) == outcome(whole), f"stopped after update {stop}"


def test_ten_skipped_updates_in_a_row_stop_the_run(make_trainer):
    everything = range(500)
    trainer = make_trainer(skip_non_finite=True, checkpoint_every=2)
    update = trainer.update

    def update_and_then_spoil():
        update()
        if trainer.progress.step == 5 and not trainer.progress.skipped_updates:
            spoil(trainer, "gradient", *everything)

    trainer.update = update_and_then_spoil
    with pytest.raises(
        DivergedError,
        match=r"the gradient is not finite, for the 10th update in a row after step 5 "
        r"\(the last finite loss was [23]\.\d+ nats per word\)",
    ):
        trainer.run()
    assert make_trainer(resume=True).progress.step == 4

    never = spoil(
        make_trainer("never", skip_non_finite=True, max_epochs=1, bptt_length=25),
        "loss",
        *everything,
    )
    with pytest.raises(
        DivergedError, match="none of 3 updates was finite after step 0 .no loss was finite"
    ):
        never.run()
    assert make_trainer("never", resume=True).progress.step == 0


def test_the_first_number_that_is_not_finite_is_named():
    assert divergence.first_not_finite(3.0, 2.0) is None
    for loss in (math.nan, math.inf):
        assert divergence.first_not_finite(loss, math.nan) == "loss"
    assert divergence.first_not_finite(1000.0, math.inf) == "perplexity"  # exp(1000) overflows
    assert divergence.first_not_finite(3.0, math.inf) == "gradient"


@pytest.mark.parametrize("skips", [False, True])
def test_the_error_says_when_and_what_to_do(tmp_path, skips):
    config = dataclasses.replace(TRAINING, skip_non_finite=skips)
    message = str(divergence.diverged("x", Progress(step=7, last_loss=2.34567), config, tmp_path))
    assert message.startswith("x after step 7 (the last finite loss was 2.346 nats per word)")
    assert str(tmp_path) in message and "optimizer.learning_rate" in message
    assert ("training.skip_non_finite=true" in message) is not skips


@pytest.mark.parametrize("name", ["adamw", "sgd", "muon"])
@pytest.mark.parametrize("output", ["full", "sampled"])
@pytest.mark.parametrize("clip", [1.0, None])
def test_a_far_too_high_learning_rate_stops_the_run(
    make_trainer, make_model, tokens, name, output, clip
):
    model = make_model(output=output, sampled_words=5)
    model.network.output.start_from_counts(
        torch.bincount(torch.from_numpy(tokens), minlength=len(model.vocabulary))
    )
    trainer = make_trainer(
        model=model,
        max_grad_norm=clip,
        optimizer=OptimizerConfig(
            name=name, learning_rate=1e6, muon_learning_rate=1e6, warmup_steps=0
        ),
    )
    with pytest.raises(
        DivergedError,
        match=r"not finite after step [1-4] \(the last finite loss was \d+\.?\d* nats",
    ):
        trainer.run()


def test_weights_that_are_not_finite_are_never_saved(make_trainer):
    """The step itself may break them, after a finite loss and a finite gradient."""
    trainer = make_trainer(checkpoint_every=1, validate_every=None, max_steps=8)
    step = trainer._step_optimizers

    def step_and_break_a_weight(length):
        rate = step(length)
        if trainer.progress.step == 5:
            with torch.no_grad():
                trainer.network.recurrent.cells[0].forget_gate.bias[1] = -math.inf
        return rate

    trainer._step_optimizers = step_and_break_a_weight
    with pytest.raises(DivergedError, match="a weight is not finite after step 5"):
        trainer.run()
    assert make_trainer(resume=True).progress.step == 4

    at_once = make_trainer(
        "at once",
        optimizer=OptimizerConfig(learning_rate=1e38, weight_decay=1e38, warmup_steps=0),
        max_steps=1,
    )
    with pytest.raises(DivergedError, match="a weight is not finite after step 1"):
        at_once.run()
    assert make_trainer("at once", resume=True).progress.step == 0


def test_a_valid_perplexity_that_is_not_finite_is_not_kept_as_the_best(make_trainer):
    trainer = make_trainer()
    measure = trainer._measure_valid
    trainer._measure_valid = lambda: with_figures(measure(), nll=1e6)
    with pytest.raises(DivergedError, match="the valid perplexity is not finite after step 6"):
        trainer.run()
    assert not (trainer.folder / "model.safetensors").exists()


@pytest.mark.slow
@pytest.mark.parametrize("output", ["full", "sampled"])
def test_text_of_unknown_words_only_is_learned(make_trainer, make_model, output):
    """All windows consist of one word, and no other word of the vocabulary occurs."""
    train = np.zeros(300, dtype=np.int64)
    model = make_model(output=output, sampled_words=5)
    model.network.output.start_from_counts(
        torch.bincount(torch.from_numpy(train), minlength=len(model.vocabulary))
    )
    trainer = make_trainer(model=model, train=train, valid=train)
    assert trainer.run() and trainer.progress.best_loss < 0.1


def test_accumulated_windows_are_one_update_with_their_mean_gradient(
    make_model, make_trainer, tokens
):
    """Two accumulated windows update the weights by the mean of their two gradients."""
    settings = {
        "optimizer": OptimizerConfig(
            name="sgd", learning_rate=1.0, warmup_steps=0, schedule="constant"
        ),
        "max_grad_norm": None,
        "validate_every": None,
    }
    together = make_trainer("a", model=make_model(), max_steps=1, accumulation_steps=2, **settings)
    before = [p.detach().clone() for p in together.model.network.parameters()]
    together.run()
    model = make_model()
    state, loss = model.network.initial_state(4), 0.0
    for span in ((0, 5), (5, 10)):
        nll, state = model.network.loss(
            *together.streams.window(*span), [s.detach() for s in state]
        )
        loss = loss + nll / 40
    loss.backward()
    for after, start, p in zip(
        together.model.network.parameters(), before, model.network.parameters(), strict=True
    ):
        torch.testing.assert_close(after.detach(), start - p.grad)


def test_the_logs_and_the_picture(make_trainer):
    trainer = make_trainer(prompts=("I grew",))
    trainer.run()
    lines = read_log(trainer.folder / "metrics.jsonl")
    valid = [line for line in lines if line["split"] == "valid"]
    assert [line["step"] for line in valid] == [6, 12, 18, 20] and valid[0]["tokens"] == 50
    assert all(line["perplexity"] == pytest.approx(math.exp(line["loss"])) for line in lines)
    assert (trainer.folder / "training_curve.png").read_bytes().startswith(b"\x89PNG")
    timings = [
        json.loads(line) for line in (trainer.folder / "timings.jsonl").read_text().splitlines()
    ]
    assert [t["step"] for t in timings] == [line["step"] for line in lines]
    assert all(a["seconds"] <= b["seconds"] for a, b in zip(timings, timings[1:], strict=False))


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["torn", "missing", "foreign", "newer"])
def test_a_damaged_checkpoint_is_a_one_line_error(make_trainer, make_model, damage):
    trainer = make_trainer()
    trainer.run()
    path = trainer.folder / STATE_FILE
    content = path.read_bytes()
    model = make_model(hidden_size=5, **DROPS) if damage == "foreign" else None
    if damage == "torn":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "missing":
        path.unlink()
    elif damage == "newer":
        ours, newer = (f'format_version\\": {v}'.encode() for v in (FORMAT_VERSION, 99))
        assert ours in content
        path.write_bytes(resealed(content.replace(ours, newer)))
    with pytest.raises(RunDirectoryError) as caught:
        make_trainer(resume=True, model=model)
    assert STATE_FILE in str(caught.value) and "\n" not in str(caught.value)
