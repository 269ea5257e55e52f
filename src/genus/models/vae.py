"""Variational autoencoder."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from genus.model import ApproximateDensity
from genus.nets.dense import dense
from genus.nets.heads import Coordinates, Head
from genus.space import Space

__all__ = ["VAE"]


class VAE(ApproximateDensity, name="vae"):
    """Variational autoencoder: p(x) = integral of p(x|z) p(z) dz (Kingma and Welling 2014, arXiv:1312.6114).

    log p(x) >= E_q(z|x) log p(x|z) - KL(q(z|x) || N(0, I)): the KL in closed form, one draw of z, a decoder head for every
    kind of column, every constant kept, so that the bound is in data units like every other family's log-density.

    Args:
        latent: dimensions of z.
        hidden: widths of the encoder; the decoder has them in reverse.
        components: of the mixture that the decoder gives each number.

    >>> from genus import Category, Real, Space
    >>> model = VAE(Space([Real(), Category(("a", "b"))]), latent=2, hidden=(16,))
    >>> x = torch.tensor([[0.3, 1.0]])
    >>> bool(model.elbo(x, seed=0) < 0)
    True
    """

    title = "variational autoencoder"
    group = "latent variables"
    recipe = MappingProxyType({"learning_rate": 1e-3})

    def __init__(
        self,
        space: Space,
        context: Space | None = None,
        latent: int = 16,
        hidden: Sequence[int] = (256, 256),
        components: int = 3,
    ) -> None:
        super().__init__(space, context, latent=latent, hidden=list(hidden), components=components)
        self.latent = latent
        self.head = Head(space, components)
        self.encoder = dense(space.feature_dim + self.context_dim, hidden, 2 * latent)
        self.decoder = dense(latent + self.context_dim, tuple(reversed(hidden)), self.head.width)
        self._spread_components()

    @classmethod
    def suggest(cls, space: Space, rows: int) -> dict[str, Any]:
        width = 128 if rows < 1000 else 256 if rows < 50_000 else 512
        return {"hidden": [width, width], "latent": int(min(max(4, space.feature_dim // 2), 16 if rows < 50_000 else 32))}

    @torch.no_grad()
    def _spread_components(self) -> None:
        # Mixture components that start alike stay alike: set them apart in location.
        count = self.head.components
        if count > 1:
            loc = (
                self.decoder[-1]
                .bias[  # type: ignore[index]
                    self.head.tables :
                ]
                .view(-1, 3, count)[:, 1]
            )
            loc += torch.linspace(-1.0, 1.0, count).to(loc)

    def encode(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """x (B, *shape) -> mean and standard deviation (B, latent) of q(z | x, c)."""
        x, c = self._check(x, c)
        return self._encode(x, c)

    def _encode(self, x: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor]:
        mean, raw = self.encoder(self._features(x, c)).chunk(2, dim=1)
        return mean, F.softplus(raw) + 1e-4

    def decode(self, z: Tensor, c: Tensor | None = None) -> Coordinates:
        """z (B, latent) -> p(x | z, c), independent over coordinates."""
        features = self._context_features(c)
        return self.head(self.decoder(z if features is None else torch.cat([z, features], dim=1)))

    def _elbo(self, x: Tensor, c: Tensor | None) -> Tensor:
        mean, std = self._encode(x, c)
        z = mean + std * torch.randn_like(std)
        kl = 0.5 * (mean.square() + std.square() - 1) - std.log()
        return self.decode(z, c).log_prob(x).sum(1) - kl.sum(1)

    def _log_weights(self, x: Tensor, c: Tensor | None) -> Tensor:
        mean, std = self._encode(x, c)
        noise = torch.randn_like(std)
        z = mean + std * noise
        # log N(z; 0, I) - log N(z; mean, std): the log(2 pi) of the two cancels
        prior_over_posterior = 0.5 * (noise.square() - z.square()) + std.log()
        return self.decode(z, c).log_prob(x).sum(1) + prior_over_posterior.sum(1)

    def _sample(self, n: int, c: Tensor | None) -> Tensor:
        z = torch.randn(n, self.latent, dtype=self.dtype, device=self.device)
        return self.decode(z, c).sample()
