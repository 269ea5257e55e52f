"""Wasserstein GANs: the critic kept Lipschitz by clipping, or by a penalty."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from genus.errors import GenusError
from genus.models.adversarial import Adversarial, slope
from genus.space import Space

__all__ = ["WGAN", "WGANGP"]


class WGAN(Adversarial, name="wgan"):
    """Wasserstein GAN with clipped weights (Arjovsky et al. 2017, arXiv:1701.07875).

    The critic maximises E_p D(x) - E_q D(x), the dual of the earth mover's distance, over nets whose weights are at most
    `clip`: they are Lipschitz, by a constant that is not known. Adam without momentum stands for RMSprop.

    Args:
        latent: dimensions of the generator's noise.
        hidden: widths of generator and critic.
        clip: the largest weight of the critic.
        critic_steps: of the critic for one of the generator.
        temperature: of the Gumbel softmax.

    >>> from genus import Real, Space
    >>> WGAN(Space([Real(), Real()]), hidden=(16,)).sample(3, seed=0).shape
    torch.Size([3, 2])
    """

    title = "Wasserstein GAN, clipped weights"

    def __init__(
        self,
        space: Space,
        context: Space | None = None,
        latent: int = 32,
        hidden: Sequence[int] = (256, 256),
        clip: float = 0.03,
        critic_steps: int = 5,
        temperature: float = 0.5,
    ) -> None:
        if clip <= 0:
            raise GenusError(f"clip is the largest weight of the critic, above 0; got {clip}.")
        hyper = {"latent": latent, "hidden": list(hidden), "clip": clip, "critic_steps": critic_steps}
        super().__init__(space, context, **hyper, temperature=temperature)
        self.clip = clip
        adam = {"lr": 2e-4, "betas": (0.0, 0.99), "weight_decay": 0.0}
        self._play("wasserstein", latent, hidden, critic_steps, temperature, adam)

    def _critic_loss(self, x: Tensor, c: Tensor | None) -> Tensor:
        with torch.no_grad():
            for parameter in self.critic.parameters():
                parameter.clamp_(-self.clip, self.clip)
        return super()._critic_loss(x, c)


class WGANGP(Adversarial, name="wgan-gp"):
    """Wasserstein GAN with gradient penalty (Gulrajani et al. 2017, arXiv:1704.00028).

    The critic maximises E_p D(x) - E_q D(x), the dual of the earth mover's distance, and pays
    `penalty` * E (|grad D| - 1)^2 on the lines between real and generated rows; the generator lowers it.

    Args:
        latent: dimensions of the generator's noise.
        hidden: widths of generator and critic.
        penalty: lambda.
        critic_steps: of the critic for one of the generator.
        temperature: of the Gumbel softmax.

    >>> from genus import Category, Real, Space
    >>> model = WGANGP(Space([Real(), Category(("a", "b"))]), hidden=(16,))
    >>> [loss.name for loss in model.losses()]
    ['critic', 'generator']
    """

    title = "Wasserstein GAN, gradient penalty"

    def __init__(
        self,
        space: Space,
        context: Space | None = None,
        latent: int = 32,
        hidden: Sequence[int] = (256, 256),
        penalty: float = 10.0,
        critic_steps: int = 5,
        temperature: float = 0.5,
    ) -> None:
        hyper = {"hidden": list(hidden), "critic_steps": critic_steps, "temperature": temperature}
        super().__init__(space, context, latent=latent, penalty=penalty, **hyper)
        self.penalty = penalty
        self._play("wasserstein", latent, hidden, critic_steps, temperature, {"lr": 2e-4, "betas": (0.0, 0.9)})

    def _penalty(self, real: Tensor, fake: Tensor, judge: Callable[[Tensor], Tensor]) -> Tensor:
        between = torch.lerp(fake, real, torch.rand(len(real), 1, dtype=real.dtype, device=real.device))
        return self.penalty * (slope(judge, between) - 1).square().mean()
