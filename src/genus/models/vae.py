"""Variational autoencoders: one draw of the code, or several that are weighted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from genus.errors import GenusError
from genus.ladder import TractableDensity, without_parameter_gradients
from genus.models.bases import Normal
from genus.models.posteriors import DiagonalNormal
from genus.models.variational import VariationalModel
from genus.space import Space

__all__ = ["IWAE", "VAE"]


class VAE(VariationalModel, name="vae"):
    """Variational autoencoder: p(x) = integral of p(x|z) p(z) dz (Kingma and Welling 2014, arXiv:1312.6114).

    log p(x) >= E_q(z|x) [log p(x|z) + log p(z) - log q(z|x)]: one draw of z, the KL in closed form where there is one, a
    decoder head for every kind of column, every constant kept, so that the bound is in data units like every other family's
    log-density.

    Args:
        latent: the number of dimensions of z.
        hidden: the widths of the encoder's layers, which the decoder has in reverse; of a convolutional net [channels].
        components: the number of components of the mixtures by which the decoder models numbers.
        prior: p(z): "normal", "student", "mixture" (trained), "vamp" (the mean posterior of trained pseudo-data; Tomczak &
            Welling 2018, arXiv:1705.07120), or a trainable family of `latent` real numbers, "maf" or
            {"class": "maf", "transforms": 3}.
        posterior: q(z|x): "diagonal", "full" (every covariance) or "iaf" (two masked transforms; Kingma et al. 2016).
        net: "dense", or "convolutional" for images.
        beta: the weight of the KL in the loss, and in the loss alone (Higgins et al. 2017).
        warm_up: the steps of training over which that weight rises from 0.
        free_bits: the nats of every unit's KL that the loss does not count (Kingma et al. 2016).
        context_net: widths of a dense net between the context and encoder and decoder; none by default.

    >>> from genus import Category, Real, Space
    >>> model = VAE(Space([Real(), Category(("a", "b"))]), latent=2, hidden=(16,))
    >>> x = torch.tensor([[0.3, 1.0]])
    >>> bool(model.elbo(x, seed=0) < 0)
    True
    >>> model.encode(x).shape, model.reconstruct(x).shape
    (torch.Size([1, 2]), torch.Size([1, 2]))
    """

    info = VariationalModel.info.replace(
        title="variational autoencoder",
        formula="log p(x) ≥ E_q(z | x) [log p(x | z)] − KL(q(z | x) ‖ p(z))",
        good="images with little time; codes with a meaning; draws given a label",
        bad="sharp detail; its density is a bound",
    )

    def __init__(
        self,
        space: Space,
        context: Space | None = None,
        latent: int = 16,
        hidden: Sequence[int] = (256, 256),
        components: int = 3,
        prior: str | TractableDensity | dict[str, Any] = "normal",
        posterior: str = "diagonal",
        net: str = "dense",
        beta: float = 1.0,
        warm_up: int = 0,
        free_bits: float = 0.0,
        context_net: Sequence[int] = (),
    ) -> None:
        if beta < 0 or warm_up < 0 or free_bits < 0:
            raise GenusError(f"beta, warm_up and free_bits are 0 or more; got {beta}, {warm_up} and {free_bits}.")
        super().__init__(space, context, context_net)
        self._make(prior)
        self.closed = isinstance(self.prior, Normal) and isinstance(self.posterior, DiagonalNormal)
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    steps: Tensor

    def _parts(self, x: Tensor, c: Tensor | None, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return log p(x|z) (B,) of one draw z, and KL(q || p(z)): by units (B, latent) in closed form, or by z (B, 1)."""
        h = self._posterior_input(x, c)
        z, log_q = self.posterior(h, noise)
        kl = self.posterior.kl(h, self._prior_place(c)) if self.closed else (log_q - self._log_prior(z, c)).unsqueeze(1)  # type: ignore[operator]
        return self._likelihood(z, c).log_prob(x).sum(1), kl

    def _elbo(self, x: Tensor, c: Tensor | None, noise: Tensor | None = None) -> Tensor:
        log_likelihood, kl = self._parts(x, c, noise)
        return log_likelihood - kl.sum(1)

    def _loss(self, x: Tensor, c: Tensor | None) -> Tensor:
        beta, warm_up, free = (self.config[name] for name in ("beta", "warm_up", "free_bits"))
        if beta == 1.0 and not warm_up and not free:
            return super()._loss(x, c)
        log_likelihood, kl = self._parts(x, c)
        share = ((self.steps + 1) / warm_up).clamp(max=1.0) if warm_up else 1.0
        if self.training:
            self.steps += 1
        unit = kl.mean(0)
        least = free * self.latent / len(unit)
        return beta * share * unit.clamp(min=least).sum() - log_likelihood.mean()

    def kl_by_unit(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        """Return the mean KL(q || p) of every unit of the code; a unit near 0 does not depend on the data.

        Args:
            x: data (B, *shape).
            c: their contexts (B, *context.shape), or one row for all.

        Returns:
            (latent,) nats.

        Raises:
            GenusError: prior or posterior are others, and units have no KL of their own.
        """
        if not self.closed:
            raise GenusError("Units have a KL of their own with prior='normal' and posterior='diagonal' alone; see `use`.")
        x, c = self._check(x, c)
        return self.posterior.kl(self._posterior_input(x, c), self._prior_place(c)).mean(0)  # type: ignore[operator]


class IWAE(VariationalModel, name="iwae"):
    """Importance weighted autoencoder: E log 1/K sum_k p(x, z_k) / q(z_k | x), a bound that tightens with K (Burda et al. 2016,
    arXiv:1509.00519).

    Args:
        samples: K, the number of codes that are weighted.
        doubly: use the doubly reparametrised gradient of the encoder, whose noise does not grow with K (Tucker et al. 2019,
            arXiv:1810.04152). With posterior="iaf" it computes densities coordinate by coordinate, which takes longer.
        latent, hidden, components, prior, posterior, net: see `VAE`.

    >>> from genus import Real, Space
    >>> model = IWAE(Space([Real(), Real()]), latent=2, hidden=(16,), samples=8)
    >>> model.elbo(torch.zeros(3, 2), seed=0).shape
    torch.Size([3])
    """

    info = VariationalModel.info.replace(
        title="importance weighted autoencoder",
        formula="log p(x) ≥ E log (1/K) Σₖ p(x, zₖ) / q(zₖ | x)",
        good="a tighter bound than the VAE's from the same nets",
        bad="time: K codes a row; an encoder that learns less as K grows",
    )

    def __init__(
        self,
        space: Space,
        context: Space | None = None,
        latent: int = 16,
        hidden: Sequence[int] = (256, 256),
        components: int = 3,
        prior: str | TractableDensity | dict[str, Any] = "normal",
        posterior: str = "diagonal",
        net: str = "dense",
        samples: int = 5,
        doubly: bool = True,
    ) -> None:
        if samples < 1:
            raise GenusError(f"samples is how many codes are weighted, 1 or more; got {samples}.")
        super().__init__(space, context)
        self._make(prior)

    def _elbo(self, x: Tensor, c: Tensor | None, noise: Tensor | None = None) -> Tensor:
        samples = self.config["samples"]
        noise = None if noise is None else noise.movedim(1, 0).flatten(0, 1)  # one draw of all data after another
        return self._log_weights(x, c, samples, noise).logsumexp(0) - math.log(samples)

    def _noise(self, n: int) -> Tensor:
        return super()._noise(n * self.config["samples"]).unflatten(0, (n, -1))

    def _loss(self, x: Tensor, c: Tensor | None) -> Tensor:
        if not self.config["doubly"]:
            return super()._loss(x, c)
        samples = self.config["samples"]
        h = self._posterior_input(x, c).repeat(samples, 1)
        z, _ = self.posterior(h)
        # Encoder and posterior learn through z alone, and through z by the squares of the weights.
        with without_parameter_gradients(self.posterior):
            log_q = self.posterior.log_prob(h.detach(), z)
        log_weights = self._log_weights_of(z, log_q, x, c, samples)
        shares = log_weights.detach().softmax(0)
        if z.requires_grad:
            z.register_hook(lambda gradient: gradient * shares.view(-1, 1).to(gradient.dtype))
        weighted = (shares * log_weights).sum(0)
        bound = log_weights.detach().logsumexp(0) - math.log(samples)
        return -(weighted + (bound - weighted).detach()).mean()  # the bound's value, those weights' gradient
