"""The training loop. Shapes: T time, B batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from lstm_lm.config import EvaluationConfig, OptimizerConfig, TrainingConfig
from lstm_lm.corpus.progress import Bar
from lstm_lm.corpus.windows import Streams, TokenIds, iterate_spans
from lstm_lm.errors import DivergedError
from lstm_lm.machine import free_memory_kept, in_own_thread
from lstm_lm.model.activation import ActivationPenalty
from lstm_lm.model.language_model import LanguageModel
from lstm_lm.model.network import draw_keep_mask
from lstm_lm.model.pretrained import save_weights
from lstm_lm.model.scoring import perplexity_from
from lstm_lm.printing import print_line
from lstm_lm.shared_cores import SharedCores
from lstm_lm.training import divergence
from lstm_lm.training.averaging import WeightAverage
from lstm_lm.training.checkpoint import Progress, load_checkpoint, save_checkpoint
from lstm_lm.training.distributed import Ranks
from lstm_lm.training.loggers import Logs
from lstm_lm.training.noising import build_noising
from lstm_lm.training.optimizers import build_optimizers, clip_gradients
from lstm_lm.training.progress import ProgressLines, progress_bar
from lstm_lm.training.resuming import ResumePoint
from lstm_lm.training.revisions import reached, revision_name, save_revision
from lstm_lm.training.run_log import RunLog
from lstm_lm.training.schedules import (
    dropout_share,
    learning_rate_share,
    limit_rate,
    schedule_share,
)
from lstm_lm.training.signals import StopRequested, StopSignals
from lstm_lm.training.validation import Validation, ValidText, continue_prompts, validate


class Trainer:
    """Trains a model on a token stream, in a run directory; can resume at any step.

    Args:
        model: on the device where it is trained.
        train: ids to learn from.
        valid: the texts to validate on, one for each source of the corpus.
        optimizer: how the weights are updated.
        training: windows, budget, and how often to validate and to save.
        evaluation: how valid is scored, and what is printed with it.
        folder: the run directory.
        resume: what the run resumes from; None to begin.
        run_id: of a run that begins; all of its files contain it.
        logs: other logs beside the run's own.
        validates_first: validate before the first update: the weights are those of another model,
            and may be the best.
        ranks: the processes that train together; by default this one alone.
        report: receives every line for people.
    """

    def __init__(
        self,
        model: LanguageModel,
        train: TokenIds,
        valid: Sequence[ValidText],
        optimizer: OptimizerConfig,
        training: TrainingConfig,
        evaluation: EvaluationConfig,
        folder: Path,
        *,
        resume: ResumePoint | None = None,
        run_id: str = "unnamed",
        logs: Logs | None = None,
        validates_first: bool = False,
        ranks: Ranks | None = None,
        report: Callable[[str], None] = print_line,
    ) -> None:
        self.model, self.network, self.eos_id = model, model.network, model.vocabulary.eos_id
        self.valid, self.folder = valid, folder
        self.optimizer_config, self.config, self.evaluation = optimizer, training, evaluation
        self.report_line, self.validates_first = report, validates_first
        self.rate_note = ""
        self.ranks = ranks or Ranks()
        self.part = self.ranks.part_of(training.batch_size)  # None: all streams
        only = slice(self.part.start, self.part.stop) if self.part else slice(None)
        self.streams = Streams(train, training.batch_size, self.eos_id, only=only)
        self.optimizers = build_optimizers(optimizer, self.network)
        self.ranks.sum_gradients_of(self.network)
        self.signals, self.bar = StopSignals(self.ranks.size), Bar(disable=True)
        self.lines: ProgressLines | None = None  # in place of the bar where there is no terminal
        self.state = self.network.initial_state(training.batch_size)
        self.progress = Progress(train_tokens=len(train), run_id=run_id)
        self.saves_first = "checkpoint" if resume is None else "all" if resume.damaged else ""
        averaged: dict[str, Tensor] = {}
        if resume:
            self.progress, self.state, averaged = load_checkpoint(
                resume.checkpoint, self.network, self.optimizers, self.state
            )
            if resume.weights_step is None or resume.weights_step > self.progress.step:
                self._forget_best(lost=resume.weights_step is None)
            self.rate_note = limit_rate(self.progress, optimizer, resume.metrics, self.budget_spent)
        weights = (training.activation_regularization, training.temporal_activation_regularization)
        self.penalty = ActivationPenalty(*weights) if any(weights) else None
        self.noising = build_noising(training.noising, train, model)
        self.average = WeightAverage(training.average, model, self.progress, self.budget_spent)
        self.average.load(averaged)
        metrics = resume.metrics if resume else b""
        self.log = RunLog(folder, metrics, logs, writes=self.ranks.is_first)
        self.saved_step = self.progress.step if resume else None
        self.spans = self.remaining_spans()

    @property
    def epochs(self) -> float:
        """Passes over train so far, with the fraction of the current one."""
        return self.progress.epoch + self.progress.position / max(self.streams.length, 1)

    @property
    def budget_spent(self) -> float:
        """The spent fraction of ``max_epochs`` or ``max_steps``, the greater one; 1 at the end."""
        progress, config = self.progress, self.config
        by_epochs = self.epochs / config.max_epochs if config.max_epochs else 0.0
        by_steps = progress.step / config.max_steps if config.max_steps else 0.0
        return min(1.0, max(by_epochs, by_steps))

    @property
    def finished(self) -> bool:
        """Whether the budget is spent, or ``patience`` validations in a row did not improve."""
        patience = self.config.patience
        out_of_patience = patience is not None and self.progress.stale_validations >= patience
        return self.budget_spent >= 1 or out_of_patience

    def run(self) -> bool:
        """Trains until the budget is spent or a stop signal comes, and saves the run either way.

        Returns:
            Whether the run is finished. If not, `signals.received` is the signal that stopped it.

        Raises:
            DivergedError: a loss, gradient, weight or perplexity is not finite; the last checkpoint
                is kept.
            DiskError: something could not be saved; the last checkpoint is kept.
        """
        length, step = self.streams.length, self.progress.step
        bar = progress_bar(self.config, length, step, shown=self.ranks.is_first)
        cores = SharedCores(self.network.device, self._report)
        with free_memory_kept(), self.signals, bar as self.bar, self.log, cores:
            self.lines = ProgressLines(self._report) if self.bar.disable else None
            self._begin()
            try:
                while True:
                    self._validate_and_save_if_due()
                    self.log.send()
                    if self.finished:
                        if not self.progress.step:
                            skipped = self.progress.skipped_updates
                            raise self._diverged(f"none of {skipped} updates was finite")
                        if self.average.note_at_end:
                            self._report(self.average.note_at_end)
                        return True
                    self.ranks.check(self.signals)
                    words_before = self.progress.words
                    self.update()
                    self._keep_revisions(words_before)
            except StopRequested:
                self.save()
                return False
            finally:
                self.lines = None  # it refers to this trainer, which would keep all its memory

    def _begin(self) -> None:
        """Makes the run directory resumable, even if the run is killed in its first step."""
        self.progress.ranks = self.ranks.size
        self.log.begin()
        if self.saves_first == "checkpoint":
            self._save_checkpoint()
        elif self.saves_first == "all":
            self.save()

    def _forget_best(self, *, lost: bool) -> None:
        """Forgets the best validation: its weights are lost, or are of a later step than this."""
        self.progress.best_loss = self.progress.best_step = None
        if lost:
            self.progress.validated_step = None

    def update(self) -> None:
        """One optimizer update: forward and backward over its windows, then an optimizer step.

        Every word has the same weight, however long its window. An update that is not finite is
        skipped, or ends the run.
        """
        config, progress, network = self.config, self.progress, self.network
        nll, words, is_bf16 = 0.0, 0, config.precision == "bf16"
        network.train()
        network.set_dropout_share(dropout_share(config, self.budget_spent))
        spans = list(islice(self.spans, config.accumulation_steps))
        for start, stop in spans:
            inputs, targets = self.streams.window(start, stop)  # (T, B)
            words += int((targets >= 0).sum())
            inputs, targets = inputs.to(network.device), targets.to(network.device)
            before = [layer.detach() for layer in self.state]
            # Allocated before the window's tensors: memory allocated after them would lie above
            # them and fragment the memory of the next window.
            copies = [type(layer)(*map(torch.empty_like, layer)) for layer in before]
            precision = torch.autocast(network.device.type, torch.bfloat16, is_bf16)
            with network.random_numbers.used(), precision:
                keep = draw_keep_mask(inputs, self.eos_id, config.reset_per_line, self.part)
                if self.noising:
                    inputs, targets = self.noising.replace(inputs, targets, self.part)
                loss, after = network.loss(inputs, targets, before, keep, self.penalty, self.part)
            if stop == spans[-1][1]:
                self.ranks.begin_last_backward()
            (loss / self.words_per_update).backward()
            # Copies, because the last state is a view that would keep all outputs of the window.
            self.state = [
                type(copy)(*map(Tensor.copy_, copy, layer.detach()))
                for copy, layer in zip(copies, after, strict=True)
            ]
            nll += float(loss.detach())
            progress.position = stop
        self._finish_update(*self.ranks.finish_update(nll, words, self.signals))

    def _finish_update(self, nll: float, words: int) -> None:
        """Steps the optimizers, or skips the update; ends the epoch; logs."""
        config, progress = self.config, self.progress
        limit = math.inf if config.max_grad_norm is None else config.max_grad_norm
        length = words / self.words_per_update if self.optimizer_config.rate_by_length else 1.0
        loss, norm = nll / words, clip_gradients(self.network.parameters(), limit, 1 / length)
        if math.isfinite(perplexity_from(loss, 1)):
            progress.last_loss = loss
        rate, broken = 0.0, divergence.first_not_finite(loss, norm)
        if broken:
            self._skip_update(broken)
        else:
            rate = self._step_optimizers(length)
            progress.words += words
            progress.recent_nll += nll
            progress.recent_words += words
            if self.lines:
                self.lines.add(nll, words, progress.step, self.epochs)
        # Gradients kept until the next step would fragment the memory of its tensors.
        self.network.zero_grad()
        if progress.position >= self.streams.length:
            progress.epoch, progress.position = progress.epoch + 1, 0
            self.state = self.network.initial_state(len(self.streams.starts))
            self.spans = self.remaining_spans()
        if not broken and progress.step % config.log_every == 0:
            self._log_training(rate, norm)

    def _step_optimizers(self, length: float) -> float:
        """Updates the weights, at the rate times ``length``; returns the rate at length 1."""
        progress, config, spent = self.progress, self.optimizer_config, self.budget_spent
        progress.schedule_share = min(progress.schedule_share, schedule_share(config, spent))
        progress.schedule_peak = config.learning_rate
        share = learning_rate_share(
            config, progress.step, spent, progress.plateau_factor, progress.schedule_share
        )
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * share * length
            optimizer.step()
        progress.step += 1
        progress.skipped_in_a_row = 0
        if line := self.average.update(self.budget_spent):
            self._report(f"step {progress.step:,}: {line}")
        self.bar.update()
        return share * self.optimizer_config.learning_rate

    def _skip_update(self, broken: str) -> None:
        """Skips and counts an update whose loss or gradient is not finite, or ends the run."""
        if not self.config.skip_non_finite:
            raise self._diverged(f"the {broken} is not finite")
        progress = self.progress
        progress.skipped_updates += 1
        progress.skipped_in_a_row += 1
        if progress.skipped_in_a_row == divergence.MOST_SKIPPED_IN_A_ROW:
            raise self._diverged(
                f"the {broken} is not finite, for the {progress.skipped_in_a_row}th update in a row"
            )
        self.saved_step = None  # the checkpoint of this step is of an earlier position in the text
        self.state = divergence.reset_broken_streams(self.state)
        self._report(
            f"after step {progress.step:,}: the {broken} is not finite; update skipped, "
            f"{progress.skipped_updates:,} so far"
        )

    def _diverged(self, what: str) -> DivergedError:
        return divergence.diverged(what, self.progress, self.config, self.folder)

    def _check_weights(self) -> None:
        """Raises unless all weights are finite: others are never validated or saved."""
        if not divergence.has_finite_weights(self.network):
            raise self._diverged("a weight is not finite")

    def remaining_spans(self) -> Iterator[tuple[int, int]]:
        """The windows of this epoch that are not read yet."""
        return iterate_spans(
            self.streams.length,
            self.config.bptt_length,
            self.config.bptt_variation,
            self.config.seed,
            self.progress.epoch,
            self.progress.position,
        )

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

    def _validate_and_save_if_due(self) -> None:
        """Validates and saves where either is due; each exactly once at a step."""
        progress, config = self.progress, self.config
        if not progress.step:
            if self.validates_first and progress.validated_step is None:
                in_own_thread(self._validate_and_save)
            return
        if config.validate_every:
            validation_due = progress.step % config.validate_every == 0
        else:
            validation_due = progress.position == 0  # the end of an epoch
        save_due = config.checkpoint_every and progress.step % config.checkpoint_every == 0
        if (validation_due or self.finished) and progress.validated_step != progress.step:
            in_own_thread(self._validate_and_save)
        elif (save_due or self.finished) and self.saved_step != progress.step:
            in_own_thread(self.save)

    def _validate_and_save(self) -> None:
        self._validate()
        self.save()

    def _validate(self) -> None:
        self._check_weights()
        model, validation = self.average.model, self._measure_valid()
        loss, progress = validation.loss(self.config.best_on), self.progress
        if not math.isfinite(perplexity_from(loss, 1)):
            raise self._diverged("the valid perplexity is not finite")
        check = partial(self.ranks.check, self.signals)
        samples = continue_prompts(model, self.evaluation, self.config.seed, check)
        if progress.best_loss is None or loss < progress.best_loss:
            progress.best_loss, progress.best_step = loss, progress.step
            progress.stale_validations = 0
            self._save_weights()
        else:
            progress.stale_validations += 1
            if self.optimizer_config.schedule == "plateau":
                progress.plateau_factor *= self.optimizer_config.plateau_factor
        progress.validated_step = progress.step
        self.average.note_validation(loss)
        self.log.write(
            step=progress.step,
            split="valid",
            epoch=progress.epoch,
            words=progress.words,
            **validation.log_values(self.config.best_on),
            **({"samples": samples} if samples else {}),
        )
        self.log.draw()
        start = f"step {progress.step:,}, epoch {self.epochs:.2f}, {self.log.seconds:,.0f} s"
        for line in validation.report(start, samples, progress.best_step == progress.step):
            self._report(line)

    def _measure_valid(self) -> Validation:
        length = self.evaluation.window_length
        return validate(self.average.model, self.valid, length, self.signals, self.ranks)

    def _keep_revisions(self, words_before: int) -> None:
        """Keeps the model if the last update reached a number of words at which it is kept."""
        progress = self.progress
        for words in reached(self.config.keep_at_words, words_before, progress.words):
            self._check_weights()
            save = partial(save_revision, words=words, run_id=progress.run_id, step=progress.step)
            if self.ranks.is_first:
                in_own_thread(partial(save, self.average.model, self.folder))
            self._report(f"step {progress.step:,}: kept {revision_name(words)}")

    def _report(self, line: str) -> None:
        """Hands a line to the report; progress bars make room for it."""
        with Bar.external_write_mode():
            self.report_line(line)

    def save(self) -> None:
        """Writes the checkpoint; before the first validation also ``model.safetensors``."""
        self._check_weights()
        if self.progress.best_step is None:
            self._save_weights()
        self._save_checkpoint()

    def _save_weights(self) -> None:
        if self.ranks.is_first:
            network, progress = self.average.model.network, self.progress
            save_weights(network, self.folder, progress.run_id, progress.step)

    def _save_checkpoint(self) -> None:
        progress = self.progress
        self.ranks.check_alike(self.network)
        state = self.ranks.gather_state(self.state)
        if self.ranks.is_first:
            progress.metrics_bytes, progress.metrics_checksum = self.log.length, self.log.checksum
            save_checkpoint(
                self.folder, progress, self.network, self.optimizers, state, self.average.network
            )
        self.saved_step = progress.step

    @property
    def words_per_update(self) -> int:
        """Words of an update whose windows all have the full length."""
        return self.config.batch_size * self.config.bptt_length * self.config.accumulation_steps
