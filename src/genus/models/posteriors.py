"""Posteriors q(z | x): distributions of a code given the numbers that an encoder puts out, drawn with gradients."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genus.errors import GenusError
from genus.random import normal_like
from genus.transforms import Chain, MaskedAutoregressive

__all__ = ["DiagonalNormal", "FullNormal", "InverseAutoregressive", "Posterior", "SharedWidthNormal", "make_posterior"]

MIN_STD = 1e-4
HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


class Posterior(nn.Module):
    """Define a distribution of a code of L numbers given h (B, width), the numbers that an encoder puts out."""

    width: int

    def mean(self, h: Tensor) -> Tensor:
        """Return the centre of q given h, (B, L), which serves as the one code of each datum."""
        raise TypeError(f"{type(self).__name__} must define mean(h).")

    def forward(self, h: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Draw a code given h, with gradients.

        Args:
            h: (B, width).
            noise: (B, L), standard normal numbers; None: drawn here.

        Returns:
            z (B, L), and log q(z | h) (B,), in nats.
        """
        raise TypeError(f"{type(self).__name__} must define forward(h, noise).")

    def log_prob(self, h: Tensor, z: Tensor) -> Tensor:
        """Return log q(z | h) (B,) of any codes z (B, L), in nats."""
        raise TypeError(f"{type(self).__name__} must define log_prob(h, z).")


class DiagonalNormal(Posterior):
    """Draw from a normal distribution with independent numbers, N(m, diag s^2)."""

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.width = 2 * latent

    def parts(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return means and standard deviations, (B, L) each."""
        mean, raw = h.chunk(2, dim=1)
        return mean, F.softplus(raw) + MIN_STD

    def mean(self, h: Tensor) -> Tensor:
        return self.parts(h)[0]

    def forward(self, h: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
        mean, std = self.parts(h)
        noise = normal_like(std) if noise is None else noise
        return mean + std * noise, -(0.5 * noise.square() + std.log() + HALF_LOG_2PI).sum(1)

    def log_prob(self, h: Tensor, z: Tensor) -> Tensor:
        mean, std = self.parts(h)
        return -(0.5 * ((z - mean) / std).square() + std.log() + HALF_LOG_2PI).sum(1)

    def kl(self, h: Tensor, place: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Return KL(q || p) of every unit in closed form, (B, L), in nats.

        Args:
            h: (B, width).
            place: mean and log standard deviation of the normal p, (B, L) each; None: of the standard normal.
        """
        mean, std = self.parts(h)
        if place is None:
            return 0.5 * (mean.square() + std.square() - 1) - std.log()
        centre, log_width = place
        mean, std, log_std = (mean - centre) * (-log_width).exp(), std * (-log_width).exp(), std.log() - log_width
        return 0.5 * (mean.square() + std.square() - 1) - log_std


class FullNormal(Posterior):
    """Draw from a normal distribution with a full covariance, N(m, C C^T), C lower triangular."""

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.latent = latent
        self.width = 2 * latent + latent * (latent - 1) // 2
        below = torch.tril_indices(latent, latent, -1)
        self.register_buffer("row", below[0], persistent=False)
        self.register_buffer("column", below[1], persistent=False)

    row: Tensor
    column: Tensor

    def parts(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return means (B, L) and C (B, L, L)."""
        mean, raw, lower = h.split([self.latent, self.latent, len(self.row)], dim=1)
        factor = torch.diag_embed(F.softplus(raw) + MIN_STD)
        index = (torch.arange(len(h), device=h.device)[:, None], self.row, self.column)
        return mean, factor.index_put(index, lower)

    def mean(self, h: Tensor) -> Tensor:
        return h[:, : self.latent]

    def forward(self, h: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
        mean, factor = self.parts(h)
        noise = normal_like(mean) if noise is None else noise
        z = mean + (factor @ noise.unsqueeze(2)).squeeze(2)
        return z, self._log_normal(noise, factor)

    def log_prob(self, h: Tensor, z: Tensor) -> Tensor:
        mean, factor = self.parts(h)
        noise = torch.linalg.solve_triangular(factor, (z - mean).unsqueeze(2), upper=False).squeeze(2)
        return self._log_normal(noise, factor)

    @staticmethod
    def _log_normal(noise: Tensor, factor: Tensor) -> Tensor:
        return -(0.5 * noise.square() + HALF_LOG_2PI + factor.diagonal(dim1=1, dim2=2).log()).sum(1)


class InverseAutoregressive(Posterior):
    """Map a diagonal normal by masked transforms that see the encoder's numbers too (Kingma et al. 2016, arXiv:1606.04934).

    A draw takes one pass, and so does its density; the density of any other code is computed number by number.

    Args:
        latent: L.
        hidden: the width of the two hidden layers of every masked net.
        transforms: how many; every second one sees the code in reversed order.
        features: how many numbers of the encoder the transforms see, beside the means and deviations of the normal.
    """

    def __init__(self, latent: int, hidden: int = 256, transforms: int = 2, features: int = 64) -> None:
        super().__init__()
        self.first = DiagonalNormal(latent)
        self.width = self.first.width + features
        orders = [list(range(latent - 1, -1, -1)) if i % 2 else None for i in range(transforms)]
        self.chain = Chain([MaskedAutoregressive(latent, (hidden, hidden), None, features, order) for order in orders])

    def mean(self, h: Tensor) -> Tensor:
        return self.chain(self.first.mean(h[:, : self.first.width]), F.silu(h[:, self.first.width :]))[0]

    def forward(self, h: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
        z, log_q = self.first(h[:, : self.first.width], noise)
        z, log_det = self.chain(z, F.silu(h[:, self.first.width :]))
        return z, log_q - log_det

    def log_prob(self, h: Tensor, z: Tensor) -> Tensor:
        first, features = h[:, : self.first.width], h[:, self.first.width :]
        z, log_det = self.chain.inverse(z, F.silu(features))
        return self.first.log_prob(first, z) + log_det


class SharedWidthNormal(Posterior):
    """Draw from a normal around a code, N(h, diag w^2), whose widths w are trained and are the same for all data.

    Args:
        latent: L.
        initial_width: w before training.
        pace: how many times as fast as other parameters log w learns, since it must follow a decoder that becomes sharper.
    """

    def __init__(self, latent: int, initial_width: float = 0.1, pace: float = 20.0) -> None:
        super().__init__()
        self.width, self.pace = latent, pace
        self.slow_log_std = nn.Parameter(torch.full((latent,), initial_width).log() / pace)

    def mean(self, h: Tensor) -> Tensor:
        return h

    def forward(self, h: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
        noise = normal_like(h) if noise is None else noise
        log_std = self.pace * self.slow_log_std
        return h + log_std.exp() * noise, -(0.5 * noise.square() + log_std + HALF_LOG_2PI).sum(1)

    def log_prob(self, h: Tensor, z: Tensor) -> Tensor:
        log_std = self.pace * self.slow_log_std
        return -(0.5 * ((z - h) / log_std.exp()).square() + log_std + HALF_LOG_2PI).sum(1)


def make_posterior(name: str, latent: int) -> Posterior:
    """Return the posterior of that name: "diagonal", "full" or "iaf".

    Raises:
        GenusError: there is no posterior of that name.
    """
    if name == "iaf":
        return InverseAutoregressive(latent)
    if name not in ("diagonal", "full"):
        raise GenusError(f"posterior must be 'diagonal', 'full' or 'iaf'; got {name!r}.")
    return DiagonalNormal(latent) if name == "diagonal" else FullNormal(latent)
