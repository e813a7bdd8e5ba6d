"""The update rules, built from their section of the configuration."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lstm_lm.config import OptimizerConfig


def build_optimizers(config: OptimizerConfig, model: nn.Module) -> list[torch.optim.Optimizer]:
    """The optimisers that together move every parameter once.

    ``sgd`` and ``adamw`` (Loshchilov and Hutter 2019, arXiv 1711.05101) take all parameters; ``muon`` takes the gates'
    matrices and leaves the rest to AdamW. Weight decay pulls at matrices alone; biases and normalisation have nothing
    to lose. Every group keeps its peak rate as ``initial_lr``, torch's name for it.
    """
    gates = [p for name, p in model.named_parameters() if name.endswith(("input_weight", "recurrent_weight"))]
    orthogonal = gates if config.name == "muon" else []
    taken = {id(p) for p in orthogonal}
    rest = [p for p in model.parameters() if id(p) not in taken]
    groups = [{"params": [p for p in rest if p.ndim > 1], "weight_decay": config.weight_decay},
              {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0}]
    if config.name == "sgd":
        optimizers = [torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum)]
    else:
        optimizers = [torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=True)]
    if orthogonal:
        optimizers.append(Muon(orthogonal, config.muon_learning_rate, config.weight_decay))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
    return optimizers


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised: every step moves a matrix by the same amount in all of its directions.

    ::

        M' = mu M + (1 - mu) G                      momentum
        O  = orthogonalised (1 - mu) G + mu M'      Nesterov's look ahead, then Newton-Schulz
        W' = W (1 - rate decay) - rate sqrt(max(1, rows / columns)) O

    Each gate has matrices of its own, and each is orthogonalised by itself; stacked, as ``torch.nn.LSTM`` has them, one
    gate's gradient would drown another's.

    Args:
        parameters: matrices.
        learning_rate: peak rate, above 0.
        weight_decay: decoupled decay, at least 0.
        momentum: mu, in [0, 1).

    Source: Jordan et al. 2024, https://kellerjordan.github.io/posts/muon. Differs from ``torch.optim.Muon`` in working
    in the weights' own precision (bfloat16 is slow on most CPUs), and on all matrices of one shape together.
    """

    def __init__(self, parameters: list[nn.Parameter], learning_rate: float, weight_decay: float = 0.0,
                 momentum: float = 0.95) -> None:
        super().__init__(parameters, {"lr": learning_rate, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Moves every matrix that has a gradient."""
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[nn.Parameter]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape.setdefault(parameter.shape, []).append(parameter)
            for (rows, columns), parameters in by_shape.items():
                updates = orthogonalize(torch.stack([self._look_ahead(p, group["momentum"]) for p in parameters]))
                scale = max(1.0, rows / columns) ** 0.5
                for parameter, update in zip(parameters, updates, strict=True):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-group["lr"] * scale)

    def _look_ahead(self, parameter: nn.Parameter, momentum: float) -> Tensor:
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        state["momentum"].lerp_(parameter.grad, 1 - momentum)
        return parameter.grad.lerp(state["momentum"], momentum)


def orthogonalize(matrices: Tensor, steps: int = 5) -> Tensor:
    """Brings all singular values of ``matrices (N, rows, columns)`` near 1 and leaves their directions.

    Newton-Schulz with the quintic ``3.4445 x - 4.7750 x^3 + 2.0315 x^5``, which takes small singular values up fast and
    ends between about 0.7 and 1.2.
    """
    wide = matrices.mT if matrices.shape[1] > matrices.shape[2] else matrices
    x = wide / (wide.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.mT if wide is not matrices else x
