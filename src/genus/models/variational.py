"""Codes of real numbers: a prior, a posterior, and the bounds and draws that follow from both."""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from genus.errors import GenusError
from genus.ladder import ApproximateDensity, Loss, TractableDensity
from genus.models.bases import Base, make_base
from genus.models.latent import LatentVariable
from genus.models.posteriors import HALF_LOG_2PI, DiagonalNormal, Posterior, make_posterior
from genus.nets.dense import dense
from genus.random import normal_like, rng, uniform_like

__all__ = ["Vamp", "VariationalModel"]

CONVOLUTIONAL = {"learning_rate": 2e-3, "batch_size": 128, "ema_decay": 0.999, "precision": "bf16-mixed"}
PLACING = 64  # the width of the net that places the prior given a context
WIDEST = 3.0  # the largest logarithm of its standard deviations
EVALUATED = 1000  # rows of an evaluation that active units are counted by


class VariationalModel(LatentVariable, ApproximateDensity):
    """Give a code a prior p(z) and a posterior q(z | x) of known density, and so bounds by importance weights.

    With a context c the prior is that of (z - m(c)) / s(c), m and s being numbers of a small net, which starts at 0 and 1. An
    encoder spreads data of different contexts over different codes; a prior that did not follow would be sampled where codes
    of another context lie, and the decoder would not look at c.

    A family sets `prior` and `posterior`. `_posterior_input` returns the numbers that parametrise the posterior, by default the
    encoder's output; `_elbo` is by default a bound by one draw.
    """

    info = LatentVariable.info.replace(likelihood="bound")
    fit_defaults = MappingProxyType({"learning_rate": 1e-3})
    prior: Base
    posterior: Posterior

    def _make(self, prior: str | TractableDensity | dict[str, Any]) -> None:
        """Make the nets, the prior and the posterior, by arguments that the family has as `VAE` documents them."""
        names = ("latent", "hidden", "components", "posterior", "net")
        latent, hidden, components, posterior, net = (self.config[name] for name in names)
        if net == "convolutional":  # steps of small batches cost no more a row, and products gain by half precision
            self.fit_defaults = {**self.fit_defaults, **CONVOLUTIONAL}  # type: ignore[misc, assignment]
        self.posterior = make_posterior(posterior, latent)
        self._nets(latent, hidden, components, self.posterior.width, net)
        self._place()
        self.prior = Vamp(self) if prior == "vamp" else make_base(prior, latent)

    def _place(self) -> None:
        """Make the net of the prior's place given the context."""
        self.place = dense(self.context_dim, (PLACING,), 2 * self.latent, zero=True) if self.context_dim else None

    def _prior_place(self, c: Tensor | None) -> tuple[Tensor, Tensor] | None:
        """Return mean and log standard deviation of the prior's place given c, (B, latent) each; None without a context."""
        if self.place is None:
            return None
        mean, raw = self.place(self._context_features(c)).chunk(2, dim=1)
        return mean, WIDEST * torch.tanh(raw / WIDEST)

    def _log_prior(self, z: Tensor, c: Tensor | None) -> Tensor:
        """Return log p(z | c), (samples B,) in nats, of codes z (samples B, latent), one draw of all data after another."""
        place = self._prior_place(c)
        if place is None:
            return self.prior.log_prob(z)
        mean, log_width = (part.repeat(len(z) // max(len(part), 1), 1) for part in place)
        return self.prior.log_prob((z - mean) * (-log_width).exp()) - log_width.sum(1)

    # -- training -----------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def _initialise(self, x: Tensor, c: Tensor | None = None) -> None:
        super()._initialise(x, c)
        if isinstance(self.prior, Vamp):
            self.prior.initialise(self._features(x, c))

    def losses(self) -> list[Loss]:
        """Return the negative bound as the one loss, with the number of active units for the history."""
        return [Loss("elbo", self.parameters(), self._loss, evaluate=self._evaluate)]

    def _loss(self, x: Tensor, c: Tensor | None) -> Tensor:
        return -self._elbo(x, c).mean()

    def _evaluate(self, x: Tensor, c: Tensor | None) -> dict[str, float]:
        """Return the number of active units, for the history."""
        first = slice(0, EVALUATED)
        return {"active units": float(self.use(x[first], None if c is None else c[first]).active)} if len(x) > 1 else {}

    # -- bounds and codes ---------------------------------------------------------------------------------------------

    def _posterior_input(self, x: Tensor, c: Tensor | None) -> Tensor:
        """Return the numbers (B, posterior.width) that parametrise q(z | x, c)."""
        return self.encoder(self._features(x, c))

    def _encode(self, x: Tensor, c: Tensor | None) -> Tensor:
        return self.posterior.mean(self._posterior_input(x, c))

    def _elbo(self, x: Tensor, c: Tensor | None, noise: Tensor | None = None) -> Tensor:
        return self._log_weights(x, c, 1, noise)[0]

    def _noise(self, n: int) -> Tensor:
        return torch.empty(n, self.latent, dtype=self.dtype, device=self.device).normal_(generator=rng(self.device))

    def _log_weights(self, x: Tensor, c: Tensor | None, samples: int, noise: Tensor | None = None) -> Tensor:
        z, log_q = self.posterior(self._posterior_input(x, c).repeat(samples, 1), noise)
        return self._log_weights_of(z, log_q, x, c, samples)

    def _log_weights_of(self, z: Tensor, log_q: Tensor, x: Tensor, c: Tensor | None, samples: int) -> Tensor:
        """Return log p(x, z) - log q(z | x) of codes z (samples B, latent): (samples, B)."""
        log_weights = self._log_likelihood(z, x, c, samples) + self._log_prior(z, c) - log_q
        return log_weights.view(samples, len(x))

    def _draw_code(self, n: int, c: Tensor | None) -> Tensor:
        z, place = self.prior.sample(n, next(self.parameters())).to(self.dtype), self._prior_place(c)
        return z if place is None else place[0] + place[1].exp() * z

    def _next_code(self, z: Tensor, x: Tensor, c: Tensor | None) -> Tensor:
        """Draw a code from q and accept it by its importance weight beside that of z.

        This independent Metropolis-Hastings step leaves p(z | x, c) as it is, however far q is from it.
        """
        h = self._posterior_input(x, c)
        proposed, log_q = self.posterior(h)
        log_ratio = self._log_weights_of(proposed, log_q, x, c, 1)
        log_ratio = log_ratio - self._log_weights_of(z, self.posterior.log_prob(h, z), x, c, 1)
        return torch.where((log_ratio.exp() > uniform_like(log_ratio)).view(-1, 1), proposed, z)


class Vamp(Base):
    """Average the posterior over trained pseudo-data: p(z) = mean of q(z | u_k) (Tomczak & Welling 2018, arXiv:1705.07120).

    Args:
        model: whose posterior q is; the prior is a part of it.
        count: the number of pseudo-data.
    """

    not_in_config = ("model",)

    def __init__(self, model: VariationalModel, count: int = 100) -> None:
        super().__init__()
        if not isinstance(model.posterior, DiagonalNormal):
            raise GenusError("prior='vamp' needs posterior='diagonal'.")
        self.owner = [model]  # in a list: it is no part of this module
        self.pseudo = nn.Parameter(torch.randn(count, model.space.feature_dim + model.context_dim))

    def initialise(self, features: Tensor) -> None:
        """Start from rows of the data."""
        rows = torch.randint(len(features), (len(self.pseudo),), device=features.device, generator=rng(features.device))
        self.pseudo.copy_(features[rows])

    def _components(self) -> tuple[Tensor, Tensor]:
        """Return means and standard deviations, (count, L) each."""
        model = self.owner[0]
        return model.posterior.parts(model.encoder(self.pseudo))  # type: ignore[operator]

    def log_prob(self, z: Tensor) -> Tensor:
        """Return the log-density (B,) of codes z (B, L), in nats."""
        mean, std = self._components()
        log_prob = -(0.5 * ((z[:, None] - mean) / std).square() + std.log() + HALF_LOG_2PI).sum(2)
        return log_prob.logsumexp(1) - math.log(len(mean))

    def sample(self, n: int, like: Tensor) -> Tensor:
        """Draw n codes (n, L) on the device of `like`."""
        mean, std = self._components()
        component = torch.randint(len(mean), (n,), device=like.device, generator=rng(like.device))
        return mean[component] + std[component] * normal_like(mean[component])
