"""The training loop. Shapes: T time, B batch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from lstm_lm.cells import LSTMState
from lstm_lm.config import EvaluationConfig, OptimizerConfig, TrainingConfig
from lstm_lm.corpus.windows import Streams, iterate_spans
from lstm_lm.errors import DivergedError
from lstm_lm.evaluation.perplexity import measure_perplexity
from lstm_lm.model.language_model import LanguageModel
from lstm_lm.model.pretrained import save_weights
from lstm_lm.model.scoring import Perplexity, perplexity_from
from lstm_lm.training import divergence
from lstm_lm.training.checkpoint import Progress, load_checkpoint, save_checkpoint
from lstm_lm.training.memory import in_own_thread, keep_free_memory
from lstm_lm.training.optimizers import build_optimizers, clip_gradients
from lstm_lm.training.resuming import ResumePoint
from lstm_lm.training.run_log import RunLog
from lstm_lm.training.schedules import dropout_share, learning_rate_share
from lstm_lm.training.signals import StopRequested, StopSignals

MOST_SKIPPED_IN_A_ROW = (
    10  # a spike passes; weights that are lost make every update after them like this
)


class Trainer:
    """Trains a model on a token stream, in a run directory that can be gone on from at any step.

    Args:
        model: on the device it is to be trained on.
        train: ids to learn from.
        valid: ids to validate on.
        optimizer: how the weights move.
        training: windows, budget, how often to look and to save.
        evaluation: how valid is scored and what is printed beside it.
        folder: the run directory.
        resume: what is there to go on from.
        source_nll: the summed nll of valid under the source that made it, in nats, where that is known.
        identity: of a run that begins, which all of its files are marked with.
    """

    def __init__(
        self,
        model: LanguageModel,
        train: Sequence[int],
        valid: Sequence[int],
        optimizer: OptimizerConfig,
        training: TrainingConfig,
        evaluation: EvaluationConfig,
        folder: Path,
        *,
        resume: ResumePoint | None = None,
        source_nll: float | None = None,
        identity: str = "unnamed",
    ) -> None:
        self.model, self.valid, self.folder, self.source_nll = model, valid, folder, source_nll
        self.optimizer_config, self.config, self.evaluation = optimizer, training, evaluation
        self.streams = Streams(train, training.batch_size, model.vocabulary.eos_id)
        self.optimizers = build_optimizers(optimizer, model)
        self.signals, self.bar = StopSignals(), tqdm(disable=True)
        self.state = model.initial_state(training.batch_size)
        self.progress, self.resume = Progress(train_tokens=len(train), identity=identity), resume
        if resume:
            self.progress, self.state = load_checkpoint(
                resume.checkpoint, model, self.optimizers, self.state
            )
            if resume.weights_step is None or resume.weights_step > self.progress.step:
                self._forget_best(lost=resume.weights_step is None)
        self.log = RunLog(folder, resume.metrics if resume else b"")
        self.saved_step = self.progress.step if resume else None
        self.spans = self._remaining_spans()

    @property
    def budget_spent(self) -> float:
        """Share of ``max_epochs`` or ``max_steps`` that is done, whichever is further; 1 at the end."""
        epochs = self.progress.epoch + self.progress.position / max(self.streams.length, 1)
        return min(
            1.0,
            max(
                epochs / self.config.max_epochs if self.config.max_epochs else 0.0,
                self.progress.step / self.config.max_steps if self.config.max_steps else 0.0,
            ),
        )

    @property
    def finished(self) -> bool:
        """Whether the budget is spent, or validation has stopped getting better for ``patience`` times."""
        patience = self.config.patience
        return self.budget_spent >= 1 or (
            patience is not None and self.progress.stale_validations >= patience
        )

    def run(self) -> bool:
        """Trains to the end of the budget, or to a stop signal, and leaves the run directory saved either way.

        Returns:
            Whether the run is finished; if not, `signals.received` is the signal that stopped it.

        Raises:
            DivergedError: if the perplexity, its gradient or a weight stops being finite; the last checkpoint is kept.
            DiskError: if something could not be saved; the last checkpoint is kept.
        """
        keep_free_memory()
        with self.signals, self._progress_bar() as self.bar:
            self._begin()
            try:
                while True:
                    self._look_and_save()
                    if self.finished:
                        if not self.progress.step:
                            raise self._diverged(
                                f"none of {self.progress.skipped_updates} updates was finite"
                            )
                        return True
                    self.signals.check()
                    self.update()
            except StopRequested:
                self.save()
                return False

    def _begin(self) -> None:
        """Makes the run directory one that this run can be gone on from, if it dies in its first step."""
        self.log.begin()
        if self.resume is None:
            self._save_state()
        elif self.resume.damaged:
            self.save()

    def _forget_best(self, *, lost: bool) -> None:
        """The best weights are gone, or were overwritten by some that this run, at this step, has yet to learn."""
        self.progress.best_loss = self.progress.best_step = None
        if lost:
            self.progress.validated_step = None

    def update(self) -> None:
        """One optimiser update: the windows of one accumulation, their gradients, one step, unless it is skipped."""
        progress, nll, words = self.progress, 0.0, 0
        nominal = self.config.batch_size * self.config.bptt_length * self.config.accumulation_steps
        self.model.train()
        self.model.set_dropout_share(dropout_share(self.config, self.budget_spent))
        for start, stop in self._next_spans():
            inputs, targets = self.streams.window(start, stop)  # (T, B)
            words += int((targets >= 0).sum())
            nll += self._backward(
                inputs.to(self.model.device), targets.to(self.model.device), nominal
            )
            progress.position = stop
        loss, norm = nll / words, self._clip()
        if math.isfinite(perplexity_from(loss, 1)):
            progress.last_loss = loss
        if broken := divergence.first_not_finite(loss, norm):
            self._skip(broken)
        else:
            share = self._step_optimizers()
            progress.words += words
            progress.recent_nll, progress.recent_words = (
                progress.recent_nll + nll,
                progress.recent_words + words,
            )
        self.model.zero_grad()  # what lies about between steps would be in the way of the next one's tensors
        if progress.position >= self.streams.length:
            progress.epoch, progress.position = progress.epoch + 1, 0
            self.state = self.model.initial_state(self.config.batch_size)
            self.spans = self._remaining_spans()
        if not broken and progress.step % self.config.log_every == 0:
            self._log_training(share * self.optimizer_config.learning_rate, norm)

    def _step_optimizers(self) -> float:
        """Moves the weights; returns the share of its peak that the learning rate had."""
        share = learning_rate_share(
            self.optimizer_config,
            self.progress.step,
            self.budget_spent,
            self.progress.plateau_factor,
        )
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * share
            optimizer.step()
        self.progress.step += 1
        self.progress.skipped_in_a_row = 0
        self.bar.update()
        return share

    def _backward(self, inputs: Tensor, targets: Tensor, nominal: int) -> float:
        """Adds the gradients of one window; every word weighs the same, however long its window. Returns its nll."""
        state = [layer.detach() for layer in self.state]
        # taken before the window's tensors: what is taken after them lies above them, in the way of the next window's
        rooms = [LSTMState(*map(torch.empty_like, layer)) for layer in state]
        with torch.autocast(
            self.model.device.type, torch.bfloat16, enabled=self.config.precision == "bf16"
        ):
            loss, after = self.model.loss(
                inputs, targets, state, reset_lines=self.config.reset_per_line
            )
        (loss / nominal).backward()
        # copies: h, and c where a cell has no belt, are views that would hold on to the whole window's outputs
        self.state = [
            LSTMState(*map(Tensor.copy_, new, last.detach()))
            for new, last in zip(rooms, after, strict=True)
        ]
        return float(loss.detach())

    def _clip(self) -> float:
        limit = self.config.max_grad_norm
        return clip_gradients(self.model.parameters(), math.inf if limit is None else limit)

    def _skip(self, broken: str) -> None:
        """Passes over an update whose loss, perplexity or gradient is not finite, and counts it; or stops the run."""
        if not self.config.skip_non_finite:
            raise self._diverged(f"the {broken} is not finite")
        progress = self.progress
        progress.skipped_updates += 1
        progress.skipped_in_a_row += 1
        if progress.skipped_in_a_row == MOST_SKIPPED_IN_A_ROW:
            raise self._diverged(
                f"the {broken} is not finite, for the {MOST_SKIPPED_IN_A_ROW}th update in a row"
            )
        self.saved_step = None  # what was saved at this step has not come so far in the text
        self.state = divergence.reset_broken_streams(self.state)
        self.bar.write(
            f"after step {progress.step:,}: the {broken} is not finite; update skipped, "
            f"{progress.skipped_updates:,} so far"
        )

    def _diverged(self, what: str) -> DivergedError:
        return divergence.diverged(what, self.progress, self.config, self.folder)

    def _weights_must_be_finite(self) -> None:
        """Nothing else is ever validated, kept as the best model, or saved to be gone on from."""
        if not divergence.has_finite_weights(self.model):
            raise self._diverged("a weight is not finite")

    def _remaining_spans(self) -> Iterator[tuple[int, int]]:
        return iterate_spans(
            self.streams.length,
            self.config.bptt_length,
            self.config.bptt_variation,
            self.config.seed,
            self.progress.epoch,
            self.progress.position,
        )

    def _next_spans(self) -> Iterator[tuple[int, int]]:
        """The windows of one update: ``accumulation_steps`` of them, fewer at an epoch's end."""
        for _, span in zip(range(self.config.accumulation_steps), self.spans, strict=False):
            yield span

    def _log_training(self, rate: float, norm: float) -> None:
        progress = self.progress
        loss = progress.recent_nll / progress.recent_words
        self.log.write(
            step=progress.step,
            split="train",
            epoch=progress.epoch,
            words=progress.words,
            loss=loss,
            perplexity=perplexity_from(loss, 1),
            learning_rate=rate,
            grad_norm=norm,
            skipped_updates=progress.skipped_updates,
        )
        progress.recent_nll, progress.recent_words = 0.0, 0
        self.bar.set_postfix_str(
            f"loss {loss:.3f}, perplexity {perplexity_from(loss, 1):.2f}, "
            f"{progress.words / max(self.log.seconds, 1e-9):,.0f} words/s"
        )

    def _look_and_save(self) -> None:
        """Validates and writes a checkpoint where either is due; both exactly once at each such step."""
        progress, every = self.progress, self.config.checkpoint_every
        if not progress.step:
            return
        at_epoch_end = progress.position == 0
        due = (
            progress.step % self.config.validate_every == 0
            if self.config.validate_every
            else at_epoch_end
        )
        if (due or self.finished) and progress.validated_step != progress.step:
            in_own_thread(self._validate_and_save)
        elif (
            self.finished or (every and progress.step % every == 0)
        ) and self.saved_step != progress.step:
            in_own_thread(self.save)

    def _validate_and_save(self) -> None:
        self._validate()
        self.save()

    def _validate(self) -> None:
        self._weights_must_be_finite()
        result = self._measure_valid()
        if not math.isfinite(result.perplexity):
            raise self._diverged("the valid perplexity is not finite")
        progress = self.progress
        if progress.best_loss is None or result.loss < progress.best_loss:
            progress.best_loss, progress.best_step, progress.stale_validations = (
                result.loss,
                progress.step,
                0,
            )
            save_weights(self.model, self.folder, progress.identity, progress.step)
        else:
            progress.stale_validations += 1
            if self.optimizer_config.schedule == "plateau":
                progress.plateau_factor *= self.optimizer_config.plateau_factor
        progress.validated_step = progress.step
        self.log.write(
            step=progress.step,
            split="valid",
            epoch=progress.epoch,
            words=progress.words,
            loss=result.loss,
            perplexity=result.perplexity,
            tokens=result.tokens,
            oov_tokens=result.oov_tokens,
            state=result.state,
        )
        self.log.draw()
        self._report(result)

    def _measure_valid(self) -> Perplexity:
        with tqdm(
            total=len(self.valid), desc="validating", unit=" words", leave=False, disable=None
        ) as bar:

            def on_progress(done: int) -> None:
                self.signals.check()
                bar.update(done)

            return measure_perplexity(
                self.model,
                self.valid,
                reset_per_line=self.evaluation.reset_per_line,
                window_length=self.evaluation.window_length,
                on_progress=on_progress,
            )

    def _report(self, result: Perplexity) -> None:
        progress = self.progress
        source = (
            ""
            if self.source_nll is None
            else (f"; the source itself {perplexity_from(self.source_nll, result.tokens):.2f}")
        )
        best = " *" if progress.best_step == progress.step else ""
        self.bar.write(
            f"step {progress.step:,}, epoch {progress.epoch + progress.position / self.streams.length:.2f}, "
            f"{self.log.seconds:,.0f} s: valid perplexity {result}{source}{best}"
        )
        for prompt in self.evaluation.prompts:
            words = []
            for word in self.model.eval().iterate_words(
                prompt, self.evaluation.continuation_words, temperature=0.8, seed=self.config.seed
            ):
                self.signals.check()
                words.append(word)
            text = self.model.vocabulary.display(words)
            self.bar.write(f"    {prompt} ... {text.splitlines()[0] if text else text}")

    def save(self) -> None:
        """Writes the checkpoint; before the first validation, the weights that prediction reads as well."""
        self._weights_must_be_finite()
        if self.progress.best_step is None:
            save_weights(self.model, self.folder, self.progress.identity, self.progress.step)
        self._save_state()

    def _save_state(self) -> None:
        self.progress.metrics_bytes, self.progress.metrics_checksum = (
            self.log.length,
            self.log.checksum,
        )
        save_checkpoint(self.folder, self.progress, self.model, self.optimizers, self.state)
        self.saved_step = self.progress.step

    def _progress_bar(self) -> tqdm:
        windows = sum(
            1
            for _ in iterate_spans(
                self.streams.length,
                self.config.bptt_length,
                self.config.bptt_variation,
                self.config.seed,
            )
        )
        per_epoch = math.ceil(windows / self.config.accumulation_steps)
        totals = [
            self.config.max_steps,
            self.config.max_epochs and per_epoch * self.config.max_epochs,
        ]
        return tqdm(
            total=min(total for total in totals if total),
            initial=self.progress.step,
            desc="training",
            unit=" steps",
            disable=None,
        )
