"""The optimizers, built from their section of the configuration."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from lstm_lm.config import OptimizerConfig

# The names of all word-vector matrices begin with one of these.
WORD_VECTORS = ("embedding.weight", "output.weight", "output.words.weight")


def build_optimizers(config: OptimizerConfig, model: nn.Module) -> list[torch.optim.Optimizer]:
    """Builds the optimizers that together update every parameter once.

    | ``optimizer.name`` | gate matrices | word vectors with their own rate | the rest |
    |---|---|---|---|
    | ``adamw`` | AdamW | `RowRMSProp` | AdamW |
    | ``sgd`` | SGD | `RowRMSProp` | SGD |
    | ``muon`` | `Muon` | `RowRMSProp` | AdamW |

    Without ``optimizer.embedding_learning_rate``, word vectors belong to the rest.

    Weight decay applies to matrices only, not to biases and normalisation. Every group keeps its
    peak learning rate as ``initial_lr``, torch's name for it.

    Args:
        config: which optimizer, its rates and decay.
        model: whose parameters are updated.

    Source: AdamW, Loshchilov and Hutter 2019 (arXiv 1711.05101).
    """
    vector_rate = config.embedding_learning_rate
    words: list[nn.Parameter] = []
    gates: list[nn.Parameter] = []
    matrices: list[nn.Parameter] = []
    vectors: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if name.startswith(WORD_VECTORS) and vector_rate is not None:
            words.append(parameter)
        elif name.endswith(("input_weight", "recurrent_weight")) and config.name == "muon":
            gates.append(parameter)
        else:
            (matrices if parameter.ndim > 1 else vectors).append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    rate, optimizers = config.learning_rate, list[torch.optim.Optimizer]()
    if config.name == "sgd":
        optimizers.append(torch.optim.SGD(groups, lr=rate, momentum=config.momentum))
    else:
        optimizers.append(torch.optim.AdamW(groups, lr=rate, betas=config.betas, fused=True))
    if vector_rate is not None:
        optimizers.append(RowRMSProp(words, vector_rate, config.weight_decay))
        for layer in (model.embedding, model.output):
            if hasattr(layer, "sparse"):  # its gradient then has only the rows that were used
                layer.sparse = True
    if gates:
        optimizers.append(Muon(gates, config.muon_learning_rate, config.weight_decay))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
    return optimizers


def clip_gradients(parameters: Iterable[nn.Parameter], limit: float, factor: float = 1.0) -> float:
    """Multiplies all gradients by a factor, then scales them to a norm of at most ``limit``.

    Like ``torch.nn.utils.clip_grad_norm_``, which does not accept sparse gradients.

    Returns:
        The norm after the multiplication and before the limit.
    """
    gradients = []
    for parameter in parameters:
        if parameter.grad is not None:
            if parameter.grad.is_sparse:
                # a word that occurs twice then has one row
                parameter.grad = parameter.grad.coalesce()
            gradients.append(
                parameter.grad.values() if parameter.grad.is_sparse else parameter.grad
            )
    norm = factor * nn.utils.get_total_norm(gradients)
    if gradients:  # none if the loss was not finite
        torch._foreach_mul_(gradients, factor * (limit / (norm + 1e-6)).clamp(max=1.0))
    return float(norm)


def saved_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Meta tensors like those that an optimizer has after its first step, by ``index.slot``.

    ``index`` counts the optimizer's parameters, ``slot`` is torch's name of the tensor.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    return {
        f"{index}.{slot}": torch.empty(shape, device="meta")
        for index, parameter in enumerate(parameters)
        for slot, shape in _slot_shapes(optimizer, parameter.shape).items()
    }


def _slot_shapes(optimizer: torch.optim.Optimizer, shape: torch.Size) -> dict[str, torch.Size]:
    """The tensors that an optimizer keeps for one parameter, by slot."""
    if isinstance(optimizer, torch.optim.AdamW):
        return {"step": torch.Size(), "exp_avg": shape, "exp_avg_sq": shape}
    if isinstance(optimizer, torch.optim.SGD):
        return {"momentum_buffer": shape}
    if isinstance(optimizer, RowRMSProp):
        return {"mean_square": shape[:1], "moves": shape[:1]}
    assert isinstance(optimizer, Muon)
    return {"momentum": shape}


class RowRMSProp(torch.optim.Optimizer):
    """Updates only the rows of a matrix that have a gradient, each with a scale of its own.

    For a row ``w`` with gradient ``g`` (E numbers), updated for the n-th time::

        v' = v + max(1 - memory, 1 / n) (mean(g^2) - v)      a plain mean, later a moving one
        w' = w (1 - rate decay) - rate g / (sqrt(v') + 1e-8)

    Made for word vectors. Most words are not in a window: neither as input, nor as target, nor as a
    sampled word. Adam keeps moving them by the momentum of earlier windows, which for a rare word
    is one window's noise, and spends a fifth of a training step on it. The state is one number per
    row.

    Args:
        parameters: matrices ``(V, E)``.
        learning_rate: peak rate, above 0.
        weight_decay: decoupled decay of the rows that are updated, at least 0.
        memory: in [0, 1); a row's mean square averages its last ``1 / (1 - memory)`` updates or so.

    Source: RMSProp, Tieleman and Hinton 2012 (Coursera lecture 6.5); one scale per row as in
    Adafactor, Shazeer and Stern 2018 (arXiv 1804.04235).
    """

    def __init__(
        self,
        parameters: list[nn.Parameter],
        learning_rate: float,
        weight_decay: float = 0.0,
        memory: float = 0.99,
    ) -> None:
        super().__init__(
            parameters, {"lr": learning_rate, "weight_decay": weight_decay, "memory": memory}
        )

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # takes no closure
        """Updates every row that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)

    def _update(self, parameter: nn.Parameter, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state |= {
                "mean_square": parameter.new_zeros(len(parameter)),
                "moves": parameter.new_zeros(len(parameter)),
            }
        rows, gradient = _used_rows(gradient)
        state["moves"][rows] += 1
        weight = (1 / state["moves"][rows]).clamp(min=1 - group["memory"])
        mean_square = state["mean_square"][rows].lerp(gradient.square().mean(1), weight)
        state["mean_square"][rows] = mean_square
        moved = parameter[rows] * (1 - group["lr"] * group["weight_decay"])
        parameter[rows] = moved.addcdiv_(
            gradient, mean_square.sqrt().add_(1e-8).unsqueeze(1), value=-group["lr"]
        )


def _used_rows(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """The rows of a gradient ``(V, E)`` that are not zero: indices ``(R,)``, values ``(R, E)``."""
    if gradient.is_sparse:
        gradient = gradient.coalesce()
        used = gradient.values().any(dim=1)
        return gradient.indices()[0][used], gradient.values()[used]
    rows = gradient.any(dim=1).nonzero().squeeze(1)
    return rows, gradient[rows]


class Muon(torch.optim.Optimizer):
    """Momentum with orthogonalised updates: equally large in all directions of a matrix.

    ::

        M' = mu M + (1 - mu) G                      momentum
        O  = orthogonalize((1 - mu) G + mu M')      Nesterov's look-ahead, then Newton-Schulz
        W' = W (1 - rate decay) - rate sqrt(max(1, rows / columns)) O

    Each gate has its own matrices, and each is orthogonalised by itself. In stacked matrices, such
    as those of ``torch.nn.LSTM``, the largest gate gradient would dominate the others.

    Args:
        parameters: matrices.
        learning_rate: peak rate, above 0.
        weight_decay: decoupled decay, at least 0.
        momentum: mu, in [0, 1).

    Source: Jordan et al. 2024, https://kellerjordan.github.io/posts/muon. Differs from
    ``torch.optim.Muon`` in computing in the weights' own precision (bfloat16 is slow on most CPUs)
    and in the polynomials of `orthogonalize`.
    """

    def __init__(
        self,
        parameters: list[nn.Parameter],
        learning_rate: float,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
    ) -> None:
        super().__init__(
            parameters, {"lr": learning_rate, "weight_decay": weight_decay, "momentum": momentum}
        )

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # takes no closure
        """Updates every matrix that has a gradient; on a GPU, all matrices of a shape at once."""
        for group in self.param_groups:
            together: dict[object, list[Tensor]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    key = parameter.shape if parameter.is_cuda else id(parameter)
                    together.setdefault(key, []).append(parameter)
            for parameters in together.values():
                self._update(parameters, group)

    def _update(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        ahead = self._look_ahead(parameters, group["momentum"])
        if len(ahead) == 1:
            updates = [orthogonalize(ahead[0])]
        else:
            updates = list(orthogonalize(torch.stack(ahead)))
        rows, columns = parameters[0].shape
        torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(
            parameters, updates, alpha=-group["lr"] * max(1.0, rows / columns) ** 0.5
        )

    def _look_ahead(self, parameters: list[Tensor], momentum: float) -> tuple[Tensor, ...]:
        """Updates the momenta of matrices of one shape; returns Nesterov's look-ahead gradients."""
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter]["momentum"] = torch.zeros_like(parameter)
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        momenta = [self.state[parameter]["momentum"] for parameter in parameters]
        torch._foreach_lerp_(momenta, gradients, 1 - momentum)
        return torch._foreach_lerp(gradients, momenta, momentum)


# Coefficients a, b, c of a x + b x^3 + c x^5. Each polynomial is the one that brings the singular
# values left by the one before, at first those in [0.01, 1], nearest to 1.
NEWTON_SCHULZ = ((8.0941, -23.6229, 17.4479), (3.6378, -2.7228, 0.5367), (2.6630, -1.9786, 0.4528))


def orthogonalize(matrix: Tensor) -> Tensor:
    """Brings all singular values of ``matrix (..., rows, columns)`` near 1; keeps their directions.

    After three Newton-Schulz steps, singular values of at least 0.01 of the matrix's norm are
    between 0.73 and 1.27; smaller ones have grown 78-fold. Muon's five steps of one polynomial come
    as close.

    Source: Amsel et al. 2025 (arXiv 2505.16932), where each step has its own optimal polynomial.
    """
    wide = matrix.mT if matrix.shape[-2] > matrix.shape[-1] else matrix
    x = wide / (torch.linalg.vector_norm(wide, dim=(-2, -1), keepdim=True) + 1e-7)
    add_product = torch.addmm if x.ndim == 2 else torch.baddbmm
    for a, b, c in NEWTON_SCHULZ:
        gram = x @ x.mT
        x = add_product(x, add_product(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if wide is not matrix else x
