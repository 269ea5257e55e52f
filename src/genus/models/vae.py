"""Variational autoencoders: one draw of the code, or many that are weighed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from genus.errors import GenusError
from genus.ladder import Loss, TractableDensity, without_parameter_gradients
from genus.models import posteriors
from genus.models.bases import Base, Normal, make_base
from genus.models.encoded import Encoded
from genus.models.posteriors import HALF_LOG_2PI, Diagonal
from genus.space import Space

__all__ = ["IWAE", "VAE"]

CONVOLUTIONAL = {"learning_rate": 2e-3, "batch_size": 128, "ema_decay": 0.999, "precision": "bf16-mixed"}
WATCHED = 1000  # held-out rows whose codes are looked at while training


class Variational(Encoded):
    """What both families are made of: any prior, any posterior, either kind of nets."""

    fit_defaults = MappingProxyType({"learning_rate": 1e-3})

    def __init__(
        self,
        space: Space,
        context: Space | None,
        latent: int,
        hidden: Sequence[int],
        components: int,
        prior: str | TractableDensity | dict[str, Any],
        posterior: str,
        net: str,
    ) -> None:
        super().__init__(space, context)
        if net == "convolutional":  # steps of small batches cost no more a row, and products gain by half precision
            self.fit_defaults = {**self.fit_defaults, **CONVOLUTIONAL}  # type: ignore[misc, assignment]
        self.posterior = posteriors.posterior(posterior, latent)
        self._nets(latent, hidden, components, self.posterior.width, net)
        self.prior: Base = Vamp(self) if prior == "vamp" else make_base(prior, latent)

    @torch.no_grad()
    def initialise(self, x: Tensor, c: Tensor | None = None) -> None:
        super().initialise(x, c)
        if isinstance(self.prior, Vamp):
            self.prior.begin(self._features(x, c))

    def losses(self) -> list[Loss]:
        return [Loss("elbo", self.parameters(), self._loss, evaluate=self._watch)]

    def _watch(self, x: Tensor, c: Tensor | None) -> dict[str, float]:
        """For the history: how many numbers of the code are used."""
        few = slice(0, WATCHED)
        return {"active units": float(self.use(x[few], None if c is None else c[few]).active)} if len(x) > 1 else {}

    def _loss(self, x: Tensor, c: Tensor | None) -> Tensor:
        return -self._elbo(x, c).mean()


class VAE(Variational, name="vae"):
    """Variational autoencoder: p(x) = integral of p(x|z) p(z) dz (Kingma and Welling 2014, arXiv:1312.6114).

    log p(x) >= E_q(z|x) [log p(x|z) + log p(z) - log q(z|x)]: one draw of z, the KL in closed form where there is one, a
    decoder head for every kind of column, every constant kept, so that the bound is in data units like every other family's
    log-density.

    Args:
        latent: dimensions of z.
        hidden: widths of the encoder; the decoder has them in reverse. Of a convolutional net the channels.
        components: of the mixture that the decoder gives each number.
        prior: p(z): "normal", "student", "mixture" (trained), "vamp" (the mean posterior of trained pseudo-data; Tomczak &
            Welling 2018, arXiv:1705.07120), or a trainable family of `latent` real numbers, "maf" or
            {"class": "maf", "transforms": 3}.
        posterior: q(z|x): "diagonal", "full" (every covariance) or "iaf" (two masked transforms; Kingma et al. 2016).
        net: "dense", or "convolutional" for images.
        beta: the weight of the KL in the loss, and in the loss alone (Higgins et al. 2017); warm_up: the steps of training
            over which it rises from 0. free_bits: nats of every unit's KL that the loss does not count (Kingma et al. 2016).

    >>> from genus import Category, Real, Space
    >>> model = VAE(Space([Real(), Category(("a", "b"))]), latent=2, hidden=(16,))
    >>> x = torch.tensor([[0.3, 1.0]])
    >>> bool(model.elbo(x, seed=0) < 0)
    True
    >>> model.encode(x).shape, model.reconstruct(x).shape
    (torch.Size([1, 2]), torch.Size([1, 2]))
    """

    info = Variational.info.replace(title="variational autoencoder")

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
    ) -> None:
        if beta < 0 or warm_up < 0 or free_bits < 0:
            raise GenusError(f"beta, warm_up and free_bits are 0 or more; got {beta}, {warm_up} and {free_bits}.")
        super().__init__(space, context, latent, hidden, components, prior, posterior, net)
        self.closed = isinstance(self.prior, Normal) and isinstance(self.posterior, Diagonal)
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    steps: Tensor

    def _parts(self, x: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor]:
        """log p(x|z) (B,) of one draw z, and what KL(q || p(z)) is made of, (B, units): one unit where it is a draw's."""
        h = self._numbers(x, c)
        z, log_q = self.posterior(h)
        kl = self.posterior.kl(h) if self.closed else (log_q - self.prior.log_prob(z)).unsqueeze(1)  # type: ignore[operator]
        return self._decode(z, c).log_prob(x).sum(1), kl

    def _elbo(self, x: Tensor, c: Tensor | None) -> Tensor:
        log_likelihood, kl = self._parts(x, c)
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
        """x (B, *shape) -> (latent,): the mean KL(q || N(0, 1)) of every unit, in nats; near 0 it says nothing.

        Raises:
            GenusError: prior or posterior are others, and units have no KL of their own.
        """
        if not self.closed:
            raise GenusError("Units have a KL of their own with prior='normal' and posterior='diagonal' alone; see `use`.")
        x, c = self._check(x, c)
        return self.posterior.kl(self._numbers(x, c)).mean(0)  # type: ignore[operator]


class IWAE(Variational, name="iwae"):
    """Importance weighted autoencoder: E log 1/K sum_k p(x, z_k) / q(z_k | x), a bound that tightens with K (Burda et al. 2016,
    arXiv:1509.00519).

    Args:
        samples: K.
        doubly: the doubly reparametrised gradient of the encoder, whose noise does not grow with K (Tucker et al. 2019,
            arXiv:1810.04152). With posterior="iaf" it asks for densities coordinate by coordinate, which takes longer.
        latent, hidden, components, prior, posterior, net: see `VAE`.

    >>> from genus import Real, Space
    >>> model = IWAE(Space([Real(), Real()]), latent=2, hidden=(16,), samples=8)
    >>> model.elbo(torch.zeros(3, 2), seed=0).shape
    torch.Size([3])
    """

    info = Variational.info.replace(title="importance weighted autoencoder")

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
            raise GenusError(f"samples is how many codes are weighed, 1 or more; got {samples}.")
        super().__init__(space, context, latent, hidden, components, prior, posterior, net)

    def _elbo(self, x: Tensor, c: Tensor | None) -> Tensor:
        samples = self.config["samples"]
        return self._log_weights(x, c, samples).logsumexp(0) - math.log(samples)

    def _loss(self, x: Tensor, c: Tensor | None) -> Tensor:
        if not self.config["doubly"]:
            return super()._loss(x, c)
        samples = self.config["samples"]
        h = self._numbers(x, c).repeat(samples, 1)
        z, _ = self.posterior(h)
        # Encoder and posterior learn through z alone, and through z by the squares of the weights.
        with without_parameter_gradients(self.posterior):
            log_q = self.posterior.log_prob(h.detach(), z)
        log_weights = self._weighed(z, log_q, x, c, samples)
        shares = log_weights.detach().softmax(0)
        if z.requires_grad:
            z.register_hook(lambda gradient: gradient * shares.view(-1, 1).to(gradient.dtype))
        weighed = (shares * log_weights).sum(0)
        bound = log_weights.detach().logsumexp(0) - math.log(samples)
        return -(weighed + (bound - weighed).detach()).mean()  # the bound's value, those weights' gradient


class Vamp(Base):
    """p(z) = the mean of q(z | u_k) over trained pseudo-data u_k."""

    left_out = ("model",)

    def __init__(self, model: Variational, count: int = 100) -> None:
        super().__init__()
        if not isinstance(model.posterior, Diagonal):
            raise GenusError("prior='vamp' needs posterior='diagonal'.")
        self.of = [model]  # in a list: it is no part of this module
        self.pseudo = nn.Parameter(torch.randn(count, model.space.feature_dim + model.context_dim))

    def begin(self, features: Tensor) -> None:
        """Start from data."""
        self.pseudo.copy_(features[torch.randint(len(features), (len(self.pseudo),), device=features.device)])

    def _parts(self) -> tuple[Tensor, Tensor]:
        model = self.of[0]
        return model.posterior.parts(model.encoder(self.pseudo))  # type: ignore[operator]

    def log_prob(self, z: Tensor) -> Tensor:
        """z (B, L) -> (B,)."""
        mean, std = self._parts()
        each = -(0.5 * ((z[:, None] - mean) / std).square() + std.log() + HALF_LOG_2PI).sum(2)
        return each.logsumexp(1) - math.log(len(mean))

    def sample(self, n: int, like: Tensor) -> Tensor:
        """(n, L) on the device of `like`."""
        mean, std = self._parts()
        which = torch.randint(len(mean), (n,), device=like.device)
        return mean[which] + std[which] * torch.randn_like(mean[which])
