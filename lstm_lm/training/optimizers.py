"""The update rules, built from their section of the configuration."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from lstm_lm.config import OptimizerConfig

WORD_VECTORS = (
    "embedding.weight",
    "output.weight",
    "output.words.weight",
)  # names of the matrices begin like this


def build_optimizers(config: OptimizerConfig, model: nn.Module) -> list[torch.optim.Optimizer]:
    """The optimisers that together move every parameter once.

    ``sgd`` and ``adamw`` (Loshchilov and Hutter 2019, arXiv 1711.05101) take all parameters; ``muon`` takes the gates'
    matrices and leaves the rest to AdamW; with ``embedding_learning_rate``, whichever it is leaves the word vectors to
    `RowRMSProp`. Weight decay pulls at matrices alone; biases and normalisation have nothing to lose. Every group
    keeps its peak rate as ``initial_lr``, torch's name for it.
    """
    words, gates, matrices, vectors = [], [], [], []
    for name, parameter in model.named_parameters():
        if name.startswith(WORD_VECTORS) and config.embedding_learning_rate is not None:
            words.append(parameter)
        elif name.endswith(("input_weight", "recurrent_weight")) and config.name == "muon":
            gates.append(parameter)
        else:
            (matrices if parameter.ndim > 1 else vectors).append(parameter)
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    if config.name == "sgd":
        optimizers = [torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum)]
    else:
        optimizers = [
            torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=True)
        ]
    if words:
        optimizers.append(RowRMSProp(words, config.embedding_learning_rate, config.weight_decay))
        for layer in (model.embedding, model.output):
            if hasattr(
                layer, "sparse"
            ):  # it can give a gradient that holds nothing but the rows it used
                layer.sparse = True
    if gates:
        optimizers.append(Muon(gates, config.muon_learning_rate, config.weight_decay))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
    return optimizers


def clip_gradients(parameters: Iterable[nn.Parameter], limit: float) -> float:
    """Scales all gradients down together to a norm of at most ``limit``, and returns the norm that they had.

    Like ``torch.nn.utils.clip_grad_norm_``, which does not take sparse ones.
    """
    gradients = []
    for parameter in parameters:
        if parameter.grad is not None:
            if parameter.grad.is_sparse:
                parameter.grad = parameter.grad.coalesce()  # a word that came twice has one row
            gradients.append(
                parameter.grad.values() if parameter.grad.is_sparse else parameter.grad
            )
    norm = nn.utils.get_total_norm(gradients)
    if gradients:  # there are none where the loss was not finite
        torch._foreach_mul_(gradients, (limit / (norm + 1e-6)).clamp(max=1.0))
    return float(norm)


def kept_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Tensors like those that an optimiser of ours keeps once it has moved: ``index.slot`` -> one without memory."""
    whole, rows, number = (lambda p: p.shape), (lambda p: p.shape[:1]), (lambda p: ())
    slots = {
        torch.optim.AdamW: {"step": number, "exp_avg": whole, "exp_avg_sq": whole},
        torch.optim.SGD: {"momentum_buffer": whole},
        RowRMSProp: {"mean_square": rows, "moves": rows},
        Muon: {"momentum": whole},
    }[type(optimizer)]
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return {
        f"{index}.{slot}": torch.empty(shape(parameter), device="meta")
        for index, parameter in enumerate(parameters)
        for slot, shape in slots.items()
    }


class RowRMSProp(torch.optim.Optimizer):
    """Moves the rows of a matrix that have a gradient, each at its own scale; the others stay as they are.

    For a row ``w`` with gradient ``g`` (E numbers), met for the n-th time::

        v' = v + max(1 - memory, 1 / n) (mean(g^2) - v)        a plain mean at first, then a fading one
        w' = w (1 - rate decay) - rate g / (sqrt(v') + 1e-8)

    Made for word vectors: most words are not in a window, neither as input nor as target nor as a sampled word. Adam
    goes on moving them by the momentum of whatever happened last, which for a rare word is one window's noise, tenfold;
    and a fifth of a training step goes into doing so. One number per row is all the state there is.

    Args:
        parameters: matrices ``(V, E)``.
        learning_rate: peak rate, above 0.
        weight_decay: decoupled decay of the rows that move, at least 0.
        memory: in [0, 1); a row's mean square fades over ``1 / (1 - memory)`` of its own moves.

    Source: RMSProp, Tieleman and Hinton 2012 (Coursera lecture 6.5); one scale per row after Adafactor, Shazeer and
    Stern 2018 (arXiv 1804.04235).
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
    def step(self, closure: None = None) -> None:
        """Moves every row that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, group)

    def _move(self, parameter: nn.Parameter, group: dict) -> None:
        state = self.state[parameter]
        if not state:
            state |= {
                "mean_square": parameter.new_zeros(len(parameter)),
                "moves": parameter.new_zeros(len(parameter)),
            }
        rows, gradient = _used_rows(parameter.grad)
        state["moves"][rows] += 1
        weight = (1 / state["moves"][rows]).clamp(min=1 - group["memory"])
        mean_square = state["mean_square"][rows].lerp(gradient.square().mean(1), weight)
        state["mean_square"][rows] = mean_square
        moved = parameter[rows] * (1 - group["lr"] * group["weight_decay"])
        parameter[rows] = moved.addcdiv_(
            gradient, mean_square.sqrt().add_(1e-8).unsqueeze(1), value=-group["lr"]
        )


def _used_rows(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """The rows of a gradient ``(V, E)`` that are not zero: their numbers ``(R,)`` and values ``(R, E)``."""
    if gradient.is_sparse:
        gradient = gradient.coalesce()
        used = gradient.values().any(dim=1)
        return gradient.indices()[0][used], gradient.values()[used]
    rows = gradient.any(dim=1).nonzero().squeeze(1)
    return rows, gradient[rows]


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
    in the weights' own precision (bfloat16 is slow on most CPUs) and in the polynomials of `orthogonalize`.
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
    def step(self, closure: None = None) -> None:
        """Moves every matrix that has a gradient; on a GPU, which wants much to do, all those of a shape at once."""
        for group in self.param_groups:
            together: dict[object, list[nn.Parameter]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    together.setdefault(
                        parameter.shape if parameter.is_cuda else id(parameter), []
                    ).append(parameter)
            for parameters in together.values():
                self._move(parameters, group)

    def _move(self, parameters: list[nn.Parameter], group: dict) -> None:
        ahead = self._look_ahead(parameters, group["momentum"])
        updates = (
            [orthogonalize(ahead[0])]
            if len(ahead) == 1
            else list(orthogonalize(torch.stack(ahead)))
        )
        rows, columns = parameters[0].shape
        torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(
            parameters, updates, alpha=-group["lr"] * max(1.0, rows / columns) ** 0.5
        )

    def _look_ahead(self, parameters: list[nn.Parameter], momentum: float) -> list[Tensor]:
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter]["momentum"] = torch.zeros_like(parameter)
        gradients, momenta = (
            [p.grad for p in parameters],
            [self.state[p]["momentum"] for p in parameters],
        )
        torch._foreach_lerp_(momenta, gradients, 1 - momentum)
        return torch._foreach_lerp(gradients, momenta, momentum)


# a, b, c of a x + b x^3 + c x^5: each the nearest to 1 on what the one before makes of the singular values in [0.01, 1]
NEWTON_SCHULZ = ((8.0941, -23.6229, 17.4479), (3.6378, -2.7228, 0.5367), (2.6630, -1.9786, 0.4528))


def orthogonalize(matrix: Tensor) -> Tensor:
    """Brings all singular values of ``matrix (..., rows, columns)`` near 1 and leaves their directions.

    Three steps of Newton-Schulz, after which values from 0.01 of the matrix's norm up are between 0.73 and 1.27, and
    smaller ones have grown 78-fold. Five steps of one polynomial for all, as Muon has them, come as close.

    Source: Amsel et al. 2025 (arXiv 2505.16932), where each step has the polynomial that is best for what is left.
    """
    wide = matrix.mT if matrix.shape[-2] > matrix.shape[-1] else matrix
    x = wide / (torch.linalg.vector_norm(wide, dim=(-2, -1), keepdim=True) + 1e-7)
    add_product = torch.addmm if x.ndim == 2 else torch.baddbmm
    for a, b, c in NEWTON_SCHULZ:
        gram = x @ x.mT
        x = add_product(x, add_product(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if wide is not matrix else x
