"""Densities that are bounded: codes that are not observed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from genus.divergences import kl
from genus.evaluation.svg import colour
from genus.models import VAE, Autoencoder
from genus.models.posteriors import DiagonalNormal
from genus.space import Real, Space
from genus.tour.pages import Number, Picture, page, picture
from genus.training import fit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CHAPTER = "Approximate densities"


@page(CHAPTER, "An autoencoder", "x → z → x̂, &nbsp; |x − x̂|² → min")
def autoencoder(seed: int) -> Iterator[Number | Picture]:
    """Points near a curve in the plane are squeezed through one number and had back. What is lost is the noise across the
    curve, and what the networks have not learnt yet: the best line, principal components, loses far more."""
    noise, t = 0.05, 2 * torch.rand(2000) - 1
    x = torch.stack([t, 0.4 * torch.sin(4 * t)], 1) + noise * torch.randn(2000, 2)
    model = Autoencoder(Space([Real(), Real()]), latent=1, hidden=(64, 64), density="normal")
    fit(model, x, max_steps=600, learning_rate=4e-3, validation=None, batch_size=256, seed=seed, progress=False)
    back = model.reconstruct(x)
    lost = (x - back).square().sum(1).mean().item()
    centred = x - x.mean(0)
    line = (torch.linalg.svdvals(centred)[1] ** 2 / len(x)).item()

    def draw(axes: Axes) -> None:
        axes.plot(*x[:400].T, ".", color=colour(0), markersize=3, alpha=0.5, label="x")
        axes.plot(*back[:400].T, ".", color=colour(1), markersize=2.5, label="x̂")
        axes.legend()

    yield picture("Data, and what comes back", draw)
    yield Number("mean |x − x̂|²: not less than the noise across, σ²", lost, noise**2, 0.3 * noise**2, "≥")
    yield Number("and at most a third of what the best line loses", lost, line / 3, 0.0, "≤")


class Linear(nn.Module):
    """Map a code z to the parameters of a head: N(w z, sigma^2) for every coordinate."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, z: Tensor) -> Tensor:
        """Map z (B, 1) to (B, 3 D): the logit of one normal, its middle, and a number that its deviation is made from."""
        middle = z * self.weight
        return torch.stack([torch.zeros_like(middle), middle, torch.full_like(middle, -0.4)], 2).flatten(1)


@page(
    CHAPTER,
    "The evidence lower bound",
    "log p(x) = ELBO(x) + KL(q(z | x) ‖ p(z | x)), &nbsp; ELBO = E<sub>q</sub> log p(x | z) − KL(q(z | x) ‖ p(z))",
)
def evidence(seed: int) -> Iterator[Number | Picture]:
    """A variational autoencoder bounds log p(x), and what the bound lacks is how far its encoder is from the true
    posterior. With a linear decoder everything is normal and known: the evidence, the posterior, and the gap between."""
    weight, dim = torch.tensor([0.9, -0.6, 1.2], dtype=torch.float64), 3
    model = VAE(Space([Real()] * dim), latent=1, hidden=(4,), components=1).double()
    encoder = nn.Linear(dim, model.code_width, dtype=torch.float64)
    with torch.no_grad():
        encoder.weight.zero_()
        encoder.weight[0] = torch.tensor([0.3, -0.1, 0.2])
        encoder.bias[:] = 0.2
    model.replace(encoder, Linear(weight))
    x = torch.randn(4, dim, dtype=torch.float64)
    assert isinstance(model.posterior, DiagonalNormal)
    # The head’s deviation, from its own density at its middle.
    with torch.no_grad():
        likelihood = model.likelihood(torch.zeros(1, 1, dtype=torch.float64))
        at_middle = likelihood.log_prob(torch.zeros(1, dim, dtype=torch.float64))
        sigma = torch.exp(-at_middle[0, 0] - 0.5 * math.log(2 * math.pi)).item()
        mean, std = model.posterior.parts(encoder(x))
        elbo = model.elbo(x.repeat(20_000, 1), seed=seed).view(-1, len(x)).mean(0)
        estimate = model.log_evidence(x, samples=20_000, seed=seed)
    covariance = torch.outer(weight, weight) + sigma**2 * torch.eye(dim, dtype=torch.float64)
    true = torch.distributions.MultivariateNormal(torch.zeros(dim, dtype=torch.float64), covariance).log_prob(x)
    precision = 1 + weight.square().sum() / sigma**2
    posterior_mean, posterior_std = (x @ weight) / sigma**2 / precision, precision.rsqrt()
    gaps = []
    for i in range(len(x)):
        q = torch.distributions.Normal(mean[i, 0], std[i, 0])
        gaps.append(kl(q, torch.distributions.Normal(posterior_mean[i], posterior_std)).value)

    def draw(axes: Axes) -> None:
        at = torch.arange(len(x))
        axes.bar(at, torch.tensor(gaps), 0.6, bottom=elbo, color=colour(1), alpha=0.7, linewidth=0, label="KL(q ‖ posterior)")
        axes.plot(at, elbo, "o", color=colour(0), label="ELBO")
        axes.plot(at, true, "_", color=colour(2), markersize=22, markeredgewidth=2, label="log p(x)")
        axes.set_xticks(at, [f"x{i + 1}" for i in at.tolist()])
        axes.set(ylabel="nats", ylim=(elbo.min() - 1.8, true.max() + 0.4))
        axes.legend(fontsize=8.5)

    yield picture("What the bound lacks", draw)
    for i in range(2):
        yield Number(f"ELBO + KL of x{i + 1}: log p(x)", elbo[i].item() + gaps[i], true[i].item(), 0.1)
    yield Number("smallest gap log p(x) − ELBO", (true - elbo).min().item(), 0.0, 0.0, "≥")
    off = (estimate - true).abs().max().item()
    yield Number("importance-weighted estimate less log p(x), 20,000 draws", off, 0.0, 0.05)
