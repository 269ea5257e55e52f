"""Estimate distances of two samples by a critic: train a net on some of the points, and evaluate it on the others."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from genus.divergences.checks import check_points
from genus.divergences.f import Estimate, FDivergence, divergence
from genus.divergences.lipschitz import MaxMin, clip, gradient_norm, gradient_penalty, spectral
from genus.errors import DataError, GenusError
from genus.nets.dense import dense
from genus.random import rng, seed_bound, torch_functions_seeded

__all__ = ["Dual", "Witness", "dual", "variational"]

BATCH, CHECKS = 256, 20  # points of either a step; how often the critic is evaluated
# Constraint -> its strength and the learning rate that suit points of scale 1.
CONSTRAINTS = {
    "gradient-penalty": (20.0, 2e-3),
    "zero-centred": (1.0, 2e-3),
    "clipping": (0.05, 2e-3),
    "spectral-norm": (1.0, 1e-2),
}


class Witness(nn.Module):
    """Map points (N, *shape) to numbers (N,), by a net that sees them centred and divided by one common scale.

    Where `homogeneous`, the result is multiplied by the scale, so that slopes are those of the net.
    """

    middle: Tensor
    scale: Tensor

    def __init__(self, net: nn.Module, points: Tensor, homogeneous: bool) -> None:
        super().__init__()
        self.net, self.homogeneous = net, homogeneous
        self.register_buffer("middle", points.mean(0))
        self.register_buffer("scale", points.var(0, correction=0).sum().sqrt().clamp(min=1e-12))

    def forward(self, x: Tensor) -> Tensor:
        """Return the critic's numbers (N,) of x (N, *shape)."""
        out = self.net((x.flatten(1) - self.middle) / self.scale)[:, 0]
        return out * self.scale if self.homogeneous else out


class Dual(NamedTuple):
    """Hold the earth mover's distance by Kantorovich's and Rubinstein's dual.

    Attributes:
        estimate: (E_p f - E_q f) / steepest over held-out points, with its standard error: a lower bound on W_1, as far as the
            critic is nowhere steeper than it was seen to be.
        critic: f, as it was trained: (N, *shape) -> (N,).
        steepest: the largest norm of its gradient at held-out points and on lines between them.
    """

    estimate: Estimate
    critic: Witness
    steepest: float


def dual(
    x: Tensor,
    y: Tensor,
    constraint: Literal["gradient-penalty", "zero-centred", "clipping", "spectral-norm"] = "gradient-penalty",
    *,
    strength: float | None = None,
    hidden: Sequence[int] = (64, 64),
    steps: int = 500,
    learning_rate: float | None = None,
    held_out: float = 0.5,
    seed: int = 0,
) -> Dual:
    """Estimate W_1(p, q) = sup of E_p f - E_q f over all f that are 1-Lipschitz, by a critic trained to be such an f.

    Args:
        x: (N, *shape), points of p.
        y: (M, *shape), of q.
        constraint: the way to keep the critic from being steep. "gradient-penalty": strength * E (|grad f| - 1)^2 on the lines
            between points; "zero-centred": strength / 2 * E |grad f|^2 there, whose best f is not the dual's; "clipping":
            no weight above `strength`; "spectral-norm": every layer has norm 1, so f is 1-Lipschitz for certain.
        strength: of the constraint, a default for each; a spectral norm is always 1.
        hidden: widths, even.
        steps, learning_rate: of Adam, with 256 points of either.
        held_out: the share of points that the critic is evaluated on, and not trained on.
        seed: of everything random; the global state is left alone.

    Raises:
        DataError: shapes that do not agree, points that are not finite, or fewer than 4 of either.
        GenusError: an unknown constraint, or a setting that makes no sense.

    >>> x = torch.rand(400, 2, generator=torch.Generator().manual_seed(0))
    >>> abs(dual(x, x + torch.tensor([3.0, 0.0]), "spectral-norm", steps=100).estimate.value - 3) < 0.1
    True
    """
    if constraint not in CONSTRAINTS:
        raise GenusError(f"There is no constraint {constraint!r}; there are {', '.join(CONSTRAINTS)}.")
    usual, rate = CONSTRAINTS[constraint]
    strength = usual if strength is None else strength
    if not strength > 0 or steps < 1 or any(width < 2 or width % 2 for width in hidden):
        raise GenusError(
            f"Expected strength > 0, steps >= 1 and even widths, as units are sorted in pairs; got {strength}, {steps} and"
            f" {tuple(hidden)}."
        )
    (x, x_test), (y, y_test) = _split(x, y, held_out, seed)
    with seed_bound(seed):
        width = x[0].numel()
        with torch_functions_seeded():
            net = spectral(width, hidden) if constraint == "spectral-norm" else dense(width, hidden, 1, MaxMin)
        critic = Witness(net.to(x), torch.cat([x, y]).flatten(1), homogeneous=True)
        size = float(critic.scale)

        def loss(a: Tensor, b: Tensor) -> Tensor:
            better, worse = critic(torch.cat([a, b])).split([len(a), len(b)])
            value = (worse.mean() - better.mean()) / size
            if constraint == "gradient-penalty":
                value = value + strength * gradient_penalty(critic, a, b)
            elif constraint == "zero-centred":
                value = value + 0.5 * strength * gradient_penalty(critic, a, b, centre=0.0)
            return value

        def after() -> None:
            if constraint == "clipping":
                clip(net, strength)

        after()
        _train(critic, loss, x, y, steps, learning_rate or rate, after)
        few = min(len(x_test), len(y_test))
        between = torch.lerp(x_test[:few], y_test[:few], torch.rand(few, *[1] * (x.ndim - 1), generator=rng()).to(x))
    steepest = gradient_norm(critic, torch.cat([x_test, y_test, between])).max().item()
    with torch.no_grad():
        better, worse = critic(x_test).double(), critic(y_test).double()
    error = math.sqrt(float(better.var()) / len(better) + float(worse.var()) / len(worse))
    scale = max(steepest, 1e-12)
    estimate = Estimate(float(better.mean() - worse.mean()) / scale, error / scale, "bound")
    return Dual(estimate, critic, steepest)


def variational(
    x: Tensor,
    y: Tensor,
    name: str = "jensen-shannon",
    *,
    hidden: Sequence[int] = (64, 64),
    steps: int = 500,
    learning_rate: float = 2e-3,
    held_out: float = 0.5,
    seed: int = 0,
) -> tuple[Estimate, Witness]:
    """Bound D_f(p, q) >= E_p T - E_q f*(T) of two samples, T = f'(p/q) by a critic of their log-ratio (Nguyen et al. 2010,
    arXiv:0809.0853; Nowozin et al. 2016, arXiv:1606.00709).

    The critic is the discriminator of a GAN: its log-odds of "from p" are log p/q where it is best, whatever the divergence.

    Args:
        x, y, hidden, steps, learning_rate, held_out, seed: as `dual` has them.
        name: one of `DIVERGENCES`.

    Returns:
        The bound over held-out points in nats, with its standard error, and the critic (N, *shape) -> log-odds (N,). No n
        points bound KL by much more than log n (McAllester and Stratos 2020, arXiv:1811.04251): for the bound, log-odds are
        cut off where an event that they may have missed would matter, so that a divergence beyond that shows as one of
        about that much.

    >>> x = torch.randn(1000, 1, generator=torch.Generator().manual_seed(0))
    >>> bound, _ = variational(x, x + 20)
    >>> round(bound.bits, 1)
    1.0
    """
    d = divergence(name)
    (x, x_test), (y, y_test) = _split(x, y, held_out, seed)
    with seed_bound(seed):
        with torch_functions_seeded():
            net = dense(x[0].numel(), hidden, 1).to(x)
        critic = Witness(net, torch.cat([x, y]).flatten(1), homogeneous=False)
        softplus = nn.functional.softplus
        _train(critic, lambda a, b: softplus(-critic(a)).mean() + softplus(critic(b)).mean(), x, y, steps, learning_rate)
    least, most = _reach(d, min(len(x_test), len(y_test)))
    with torch.no_grad():
        of_p, of_q = (critic(points).double().clamp(least, most) for points in (x_test, y_test))
        of_p, of_q = d.witness(of_p), d.conjugate_of_witness(of_q)
    error = math.sqrt(float(of_p.var()) / len(of_p) + float(of_q.var()) / len(of_q))
    return Estimate(float(of_p.mean() - of_q.mean()), error, "bound"), critic


def _reach(d: FDivergence, n: int) -> tuple[float, float]:
    """Return the log-ratios between which no event that n points would miss, of probability 1 / n, is worth more than 1."""
    r = torch.linspace(0.0, 50.0, 5001, dtype=torch.float64)
    return -float(r[d.witness(-r) >= -n].max()), float(r[d.conjugate_of_witness(r) <= n].max())


def _split(x: Tensor, y: Tensor, share: float, seed: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return (training points, held-out points) of each, in random order."""
    x, y = check_points(x, y, least=4)
    if x.ndim < 2 or not 0 < share < 1:
        raise DataError(
            f"A critic needs points x (N, *shape) and y (M, *shape), 4 or more, and a share held out between 0 and 1; got"
            f" {tuple(x.shape)}, {tuple(y.shape)} and {share}."
        )
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for points in (x, y):
        points = points.detach()
        order = torch.randperm(len(points), generator=generator)
        count = min(max(2, round(share * len(points))), len(points) - 2)
        parts.append((points[order[count:]], points[order[:count]]))
    return parts[0], parts[1]


@torch.enable_grad()
def _train(
    critic: nn.Module,
    loss: Callable[[Tensor, Tensor], Tensor],
    x: Tensor,
    y: Tensor,
    steps: int,
    learning_rate: float,
    after: Callable[[], None] = lambda: None,
) -> None:
    """Train by Adam on nine tenths of the points; the critic is left as it was when its loss on the others was least."""
    (x, x_check), (y, y_check) = ((part[len(part) // 10 :], part[: max(1, len(part) // 10)]) for part in (x, y))
    few = min(len(x_check), len(y_check))
    optimizer = torch.optim.Adam(critic.parameters(), lr=learning_rate, betas=(0.5, 0.9), fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    best, least = copy.deepcopy(critic.state_dict()), math.inf
    random = rng()
    for step in range(1, steps + 1):
        a, b = (part[torch.randint(len(part), (min(BATCH, len(x), len(y)),), generator=random)] for part in (x, y))
        optimizer.zero_grad()
        loss(a, b).backward()
        optimizer.step()
        schedule.step()
        after()
        if step % max(1, steps // CHECKS) == 0:
            critic.eval()
            value = float(loss(x_check[:few], y_check[:few]).detach())
            critic.train()
            if value < least:
                best, least = copy.deepcopy(critic.state_dict()), value
    critic.load_state_dict(best)
    critic.eval()
