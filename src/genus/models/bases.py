"""Distributions of D standard numbers: the bases of flows and the priors of codes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from genus.configurable import Configurable
from genus.errors import GenusError
from genus.ladder import Counted, GenerativeModel, Learned, TractableDensity, build_family, registered_families
from genus.random import draw_indices, normal_like, rng
from genus.space import Real, Space

__all__ = ["Base", "Normal", "NormalMixture", "Student", "make_base"]

MIN_DEGREES = 2.0  # of freedom: with more, variances are finite


class Base(Configurable, nn.Module):
    """Define a distribution of D numbers: log_prob(z) of (B, D) is (B,), sample(n, like) is (n, D) on the device of `like`.

    Attributes:
        independent: whether the D numbers are independent; `log_prob_by_number` then gives their log-densities, (B, D).
    """

    independent = False
    log_prob: Callable[[Tensor], Tensor]
    sample: Callable[[int, Tensor], Tensor]
    log_prob_by_number: Callable[[Tensor], Tensor]


class Normal(Base):
    """Represent the standard normal distribution N(0, I); a number that is NaN is left out."""

    independent = True

    def __init__(self, dim: int, allow_missing: bool = False) -> None:
        super().__init__()
        self.dim, self.allow_missing = dim, allow_missing

    def log_prob(self, z: Tensor) -> Tensor:
        """Return the log-density (B,) of z (B, D), in nats."""
        if not self.allow_missing:
            return -0.5 * z.square().sum(1) - 0.5 * math.log(2 * math.pi) * z.shape[1]
        return torch.where(z.isnan(), 0.0, self.log_prob_by_number(z.nan_to_num())).sum(1)

    def log_prob_by_number(self, z: Tensor) -> Tensor:
        """Return the log-density of every number of z by itself, (B, D), in nats."""
        return -0.5 * z.square() - 0.5 * math.log(2 * math.pi)

    def sample(self, n: int, like: Tensor) -> Tensor:
        """Draw n rows (n, D) on the device of `like`."""
        return torch.empty(n, self.dim, device=like.device).normal_(generator=rng(like.device))


class Student(Base):
    """Represent independent Student's t distributions, whose degrees of freedom are trained with the flow (Jaini et al. 2020,
    arXiv:1907.04481): an outlier costs nats by its logarithm, not by its square."""

    independent = True

    def __init__(self, dim: int, degrees: float = 10.0) -> None:
        super().__init__()
        self.log_degrees = nn.Parameter(torch.full((dim,), math.log(degrees - MIN_DEGREES)))

    def _degrees(self) -> Tensor:
        return MIN_DEGREES + self.log_degrees.exp().clamp(max=1e3)

    def log_prob(self, z: Tensor) -> Tensor:
        """Return the log-density (B,) of z (B, D), in nats."""
        gone = z.isnan()
        return torch.where(gone, 0.0, self.log_prob_by_number(torch.where(gone, 0.0, z))).sum(1)

    def log_prob_by_number(self, z: Tensor) -> Tensor:
        """Return the log-density of every number of z by itself, (B, D), in nats."""
        degrees = self._degrees()
        constant = 0.5 * (degrees * math.pi).log() + torch.lgamma(0.5 * degrees) - torch.lgamma(0.5 * (degrees + 1))
        return -0.5 * (degrees + 1) * torch.log1p(z.square() / degrees) - constant

    def sample(self, n: int, like: Tensor) -> Tensor:
        """Draw n rows (n, D) on the device of `like`."""
        degrees = self._degrees().expand(n, -1)
        normal = normal_like(degrees)
        # PyTorch's StudentT draws in the same way, but without a generator.
        gamma = torch._standard_gamma(degrees / 2, rng(like.device))
        return normal * torch.rsqrt(2 * gamma / degrees)


class NormalMixture(Base):
    """Mix normals: sum_k w_k N(z; m_k, diag s_k^2), trained with the flow."""

    def __init__(self, dim: int, components: int = 16) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(components))
        self.means = nn.Parameter(torch.randn(components, dim))
        self.log_scales = nn.Parameter(torch.zeros(components, dim))

    def log_prob(self, z: Tensor) -> Tensor:
        """Return the log-density (B,) of z (B, D), in nats."""
        gone = z.isnan()[:, None]
        distance = (torch.where(gone, 0.0, z[:, None]) - self.means) * torch.exp(-self.log_scales)
        each = -0.5 * distance.square() - self.log_scales - 0.5 * math.log(2 * math.pi)
        return (torch.where(gone, 0.0, each).sum(2) + self.weights.log_softmax(0)).logsumexp(1)

    def sample(self, n: int, like: Tensor) -> Tensor:
        """Draw n rows (n, D) on the device of `like`."""
        weights = self.weights.detach().softmax(0)
        component = draw_indices(weights, n)
        means, scales = self.means[component], self.log_scales[component].exp()
        return means + scales * normal_like(means)


class ModelBase(Base):
    """Use a trainable model of D real numbers as a base."""

    def __init__(self, model: TractableDensity) -> None:
        super().__init__()
        self.model = model

    def log_prob(self, z: Tensor) -> Tensor:
        return self.model._log_prob(z, None)

    def sample(self, n: int, like: Tensor) -> Tensor:
        return self.model._sample(n, None)


def make_base(base: str | TractableDensity | dict[str, Any], dim: int, allow_missing: bool = False) -> Base:
    """Return the base of that name, or the model as a base.

    Args:
        base: "normal", "student", "mixture", a model, or the name of a family, alone or with its hyper-parameters.
        dim: D, how many numbers it is a distribution of.
        allow_missing: numbers may be NaN, and are left out.

    Raises:
        GenusError: there is no base of that name, or the model is not a density of D real numbers trained by gradients.
    """
    if base == "normal":
        return Normal(dim, allow_missing)
    if base == "student":
        return Student(dim)
    if base == "mixture":
        return NormalMixture(dim)
    if allow_missing:
        raise GenusError(
            "A model as a base cannot leave out numbers that are missing or atoms; use base='normal', 'student' or 'mixture'."
        )
    if isinstance(base, dict) or (isinstance(base, str) and base in registered_families()):
        base = build_family(base, Space(Real(), shape=(dim,)))  # type: ignore[assignment]
    if not isinstance(base, TractableDensity) or isinstance(base, Counted | Learned) or base.context is not None:
        got = base.name if isinstance(base, GenerativeModel) else repr(base)
        raise GenusError(
            "A base, a prior or a density of codes must be 'normal', 'student', 'mixture', or an exact density trained by"
            f" gradients without a context, 'maf' say; got {got}."
        )
    if base.space.dim != dim or any(kind != Real() for kind in base.space.kinds):
        raise GenusError(
            f"A base must be a model of {dim} standard real numbers, Space(Real(), shape=({dim},)); got {base.space!r}."
        )
    return ModelBase(base)
