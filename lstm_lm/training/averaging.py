"""Averaged weights: the mean of the weights of many steps is a better model than the last ones.

``training.average`` says which steps:

| value | steps | weight of a step |
|---|---|---|
| ``ema:D`` | all | fades by the factor D at each later step; at first faster, see `_add` |
| ``last:F`` | those after the fraction 1 - F of the budget | all alike |
| ``nt_asgd:N`` | those after the trigger | all alike |

The trigger is a validation whose loss is higher than the lowest of all but the N before it.

Where word vectors have their own rate, a step changes few of their rows, and averaging all of them
would take longer than the step. Then every `SPARSE_INTERVAL`-th step counts.

Source: Polyak and Juditsky 1992; ``last`` as in Izmailov et al. 2018 (arXiv 1803.05407);
``nt_asgd``, Merity et al. 2018 (arXiv 1708.02182).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, get_swa_multi_avg_fn

from lstm_lm.config.declaration import split_numbered
from lstm_lm.model.language_model import LanguageModel
from lstm_lm.model.network import Network
from lstm_lm.training.checkpoint import Progress

SPARSE_INTERVAL = 10  # steps
Tensors = list[Tensor] | tuple[Tensor, ...]


class WeightAverage:
    """The average of a run's weights, and the model that is validated and kept.

    Args:
        average: the setting ``training.average``.
        model: the one that is trained, with its optimizers built.
        progress: of the run; `averaged` and `valid_losses` are counted in it.
        spent: fraction of the budget that is spent, in [0, 1].

    Attributes:
        note: a line for people if a resumed run averages anew; otherwise empty.
    """

    def __init__(
        self, average: str, model: LanguageModel, progress: Progress, spent: float
    ) -> None:
        self._kind, self._number = split_numbered(average)
        self._trained, self._progress, self._setting = model, progress, average
        self._averaged: AveragedModel | None = None
        sparse = getattr(model.network.embedding, "sparse", False)
        self._interval = SPARSE_INTERVAL if sparse else 1
        self.note = ""
        if self._kind == "last" and progress.averaged and not self._is_due(spent):
            progress.averaged = 0
            self.note = (
                f"the budget has grown: the weights are averaged anew, in its last "
                f"{self._number:.0%}"
            )

    @property
    def model(self) -> LanguageModel:
        """The model with the averaged weights; the trained one as long as there are none."""
        if self._averaged is None:
            return self._trained
        return LanguageModel(cast(Network, self._averaged.module), self._trained.vocabulary)

    @property
    def network(self) -> Network | None:
        """The network with the averaged weights; None as long as there are none."""
        return None if self._averaged is None else cast(Network, self._averaged.module)

    @property
    def note_at_end(self) -> str:
        """A line for people if a finished run has not averaged at all; otherwise empty."""
        if self._kind == "none" or self._averaged is not None:
            return ""
        return f"note: averaging of the weights did not begin (training.average={self._setting})"

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Continues from the averaged weights of a checkpoint, by name, if they still count."""
        if self._progress.averaged:
            self._averaged = self._copy_model()
            self._averaged.module.load_state_dict(weights, strict=False)
            self._averaged.n_averaged.fill_(self._progress.averaged)

    def update(self, spent: float) -> str:
        """Adds the weights after a step to the average, if they are to count.

        Args:
            spent: fraction of the budget that is spent, in (0, 1].

        Returns:
            A line for people when averaging begins; otherwise nothing.
        """
        if not self._is_due(spent) or self._progress.step % self._interval:
            return ""
        begins = self._averaged is None
        if self._averaged is None:
            self._averaged = self._copy_model()
        self._averaged.update_parameters(self._trained.network)
        self._progress.averaged += 1
        return f"averaging of the weights begins (training.average={self._setting})" * begins

    def note_validation(self, loss: float) -> None:
        """Counts a validation; only ``nt_asgd`` needs it, and only until averaging begins."""
        if self._kind == "nt_asgd" and not self._is_due(1.0):
            self._progress.valid_losses += (loss,)

    def _is_due(self, spent: float) -> bool:
        """Whether the weights of a step count."""
        if self._kind == "none":
            return False
        assert self._number is not None
        if self._kind == "nt_asgd":
            return is_triggered(self._progress.valid_losses, int(self._number))
        return self._kind == "ema" or spent > 1 - self._number

    def _copy_model(self) -> AveragedModel:
        return AveragedModel(self._trained.network, multi_avg_fn=self._add)

    def _add(self, averaged: Tensors, weights: Tensors, count: Tensor | int) -> None:
        """Adds weights to an average of ``count`` earlier ones, in place.

        An exponential average keeps ``min(D, (1 + n) / (10 + n))`` of itself after n steps, so that
        it forgets the first weights, which are bad: over the last tenth of the run, until the run
        is long enough for D.
        """
        if self._kind != "ema":
            get_swa_multi_avg_fn()(averaged, weights, int(count))
            return
        assert self._number is not None
        steps = int(count) * self._interval
        decay = min(self._number, (1 + steps) / (10 + steps))
        get_ema_multi_avg_fn(decay**self._interval)(averaged, weights, count)


def is_triggered(losses: Sequence[float], most_stale: int) -> bool:
    """Whether the last validation is worse than one that is long ago: ``nt_asgd`` begins.

    Args:
        losses: of all validations so far, nats per token.
        most_stale: N; the N validations before the last one are not compared with it.

    Source: Merity et al. 2018 (arXiv 1708.02182), algorithm 1.
    """
    *earlier, last = losses or (0.0,)
    return len(earlier) > most_stale and last > min(earlier[:-most_stale])
