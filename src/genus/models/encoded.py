"""Codes of real numbers: a prior, a posterior, and the bounds and draws that follow from both."""

from __future__ import annotations

import torch
from torch import Tensor

from genus.ladder import ApproximateDensity
from genus.models.bases import Base
from genus.models.latent import LatentVariable
from genus.models.posteriors import Posterior

__all__ = ["Encoded"]


class Encoded(LatentVariable, ApproximateDensity):
    """Codes with a prior p(z) and a posterior q(z | x) whose density is known, of which importance weights are made.

    A family sets both, and may say in `_numbers` what the posterior is made of.
    """

    info = LatentVariable.info.replace(likelihood="bound")
    prior: Base
    posterior: Posterior

    def _numbers(self, x: Tensor, c: Tensor | None) -> Tensor:
        """What q(z | x, c) is made of: (B, posterior.width)."""
        return self.encoder(self._features(x, c))

    def _encode(self, x: Tensor, c: Tensor | None) -> Tensor:
        return self.posterior.mean(self._numbers(x, c))

    def _next_code(self, z: Tensor, x: Tensor, c: Tensor | None) -> Tensor:
        """A draw of q, taken or left by its importance weight beside that of z: an independent Metropolis-Hastings step, which
        leaves p(z | x, c) as it is, however far q is from it."""
        h = self._numbers(x, c)
        proposed, log_q = self.posterior(h)
        better = self._weighed(proposed, log_q, x, c, 1) - self._weighed(z, self.posterior.log_prob(h, z), x, c, 1)
        return torch.where((better.exp() > torch.rand_like(better)).view(-1, 1), proposed, z)

    def _log_weights(self, x: Tensor, c: Tensor | None, samples: int) -> Tensor:
        z, log_q = self.posterior(self._numbers(x, c).repeat(samples, 1))
        return self._weighed(z, log_q, x, c, samples)

    def _weighed(self, z: Tensor, log_q: Tensor, x: Tensor, c: Tensor | None, samples: int) -> Tensor:
        """log p(x, z) - log q(z | x) of z (samples B, latent) -> (samples, B)."""
        each = self._log_likelihood(z, x, c, samples) + self.prior.log_prob(z) - log_q
        return each.view(samples, len(x))

    def _elbo(self, x: Tensor, c: Tensor | None) -> Tensor:
        return self._log_weights(x, c, 1)[0]

    def _draw_code(self, n: int, c: Tensor | None) -> Tensor:
        return self.prior.sample(n, next(self.parameters())).to(self.dtype)
