"""Autoencoder with a density on its code."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from genus.errors import GenusError
from genus.ladder import Loss, TractableDensity, map_batches
from genus.models.bases import make_base
from genus.models.posteriors import SharedWidthNormal
from genus.models.variational import VariationalModel
from genus.nets.standardise import Standard
from genus.random import normal_like, uniform_like
from genus.space import Space

__all__ = ["Autoencoder"]


class Autoencoder(VariationalModel, name="autoencoder"):
    """Learn a code from which data can be decoded (Hinton & Salakhutdinov 2006), and a density of the codes.

    Encoder and decoder minimise -log p(x | z(x)), whatever the distribution of the codes; a density p(z) is fitted to them.
    A sample is a draw from p(z), decoded. A narrow normal q(z | x) around the code, of a trained width, gives the bound
    log p(x) >= E_q [log p(x|z) + log p(z) - log q(z|x)], which can be compared with every other family.

    Args:
        latent: the number of dimensions of the code, which are standardised.
        hidden: the widths of the encoder's layers, which the decoder has in reverse; of a convolutional net [channels].
        components: the number of components of the mixtures by which the decoder models numbers.
        corrupt: the share of features that the encoder does not see in training: a denoising autoencoder (Vincent et al. 2008).
        contractive: the weight of the squared derivatives of the code in the loss (Rifai et al. 2011).
        density: of the codes: "normal", "student", "mixture", a family of real numbers trained by gradients, or its name.
        net: "dense", or "convolutional" for images.

    >>> import torch
    >>> from genus import Category, Real, Space
    >>> model = Autoencoder(Space([Real(), Category(("a", "b"))]), latent=2, hidden=(16,))
    >>> x = torch.tensor([[0.3, 1.0]])
    >>> model.encode(x).shape, model.reconstruct(x).shape, model.sample(3, seed=0).shape
    (torch.Size([1, 2]), torch.Size([1, 2]), torch.Size([3, 2]))
    """

    info = VariationalModel.info.replace(
        title="autoencoder with a density of codes",
        formula="x ≈ d(e(x)), and a density of the codes e(x)",
        good="codes of rows and pictures, to compare and to compress",
        bad="a density: what it has is a loose bound",
    )
    fit_defaults = MappingProxyType({"learning_rate": 1e-3})

    def __init__(
        self,
        space: Space,
        context: Space | None = None,
        latent: int = 16,
        hidden: Sequence[int] = (256, 256),
        components: int = 1,
        corrupt: float = 0.0,
        contractive: float = 0.0,
        density: str | TractableDensity | dict[str, Any] = "maf",
        net: str = "dense",
    ) -> None:
        if not 0 <= corrupt < 1 or contractive < 0:
            raise GenusError(f"corrupt is a share below 1 and contractive 0 or more; got {corrupt} and {contractive}.")
        super().__init__(space, context)
        self.corrupt, self.contractive = corrupt, contractive
        self._nets(latent, hidden, components, latent, net)
        self._place()
        self.standard = Standard(latent)
        self.prior = make_base(density, latent)
        self.posterior = SharedWidthNormal(latent)

    def _posterior_input(self, x: Tensor, c: Tensor | None) -> Tensor:
        return self.standard.known(self.encoder(self._features(x, c)))

    # -- training -------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def _initialise(self, x: Tensor, c: Tensor | None = None) -> None:
        super()._initialise(x, c)
        self.standard.begin(self.encoder(self._features(x, c)))

    def losses(self) -> list[Loss]:
        nets = [*self.encoder.parameters(), *self.decoder.parameters(), self.base]
        code = [*self.prior.parameters(), *self.posterior.parameters()]
        code += [] if self.place is None else self.place.parameters()
        return [Loss("reconstruction", nets, self._reconstruction), Loss("code", code, self._of_codes)]

    def _reconstruction(self, x: Tensor, c: Tensor | None) -> Tensor:
        features = self._features(x, c)
        if self.training and self.corrupt:
            features = features * (uniform_like(features) >= self.corrupt)
        if self.contractive:
            features = features.requires_grad_()
        z = self.standard(self.encoder(features))
        loss = -self._likelihood(z, c).log_prob(x).sum(1).mean() + 0.0 * z.sum()  # which constant data do not depend on
        if self.contractive:
            # |v^T J|^2 of a random v has the mean |J|^2 (Hutchinson 1989).
            slope = torch.autograd.grad(z, features, normal_like(z), create_graph=True)[0]
            loss = loss + self.contractive * slope.square().sum(1).mean()
        return loss

    def _of_codes(self, x: Tensor, c: Tensor | None) -> Tensor:
        return -self._elbo(x, c).mean()

    @torch.no_grad()
    def criterion(self, x: Tensor, c: Tensor | None = None) -> float | None:
        """Return -log p(x | z(x)) - log p(z(x)) of these rows, which both losses lower; the bound lags behind by its width."""

        def both(x: Tensor, c: Tensor | None) -> Tensor:
            z = self._encode(x, c)
            return -self._likelihood(z, c).log_prob(x).sum(1) - self._log_prior(z, c)

        return map_batches(both, *self._check(x, c)).mean().item()
