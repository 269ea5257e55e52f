"""Wasserstein GANs: the critic kept Lipschitz by clipping, by its spectral norms, or by a penalty."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from genus.models.adversarial import Adversarial
from genus.space import Space

__all__ = ["WGAN", "WGANGP"]


class WGAN(Adversarial, name="wgan"):
    """Wasserstein GAN with clipped weights (Arjovsky et al. 2017, arXiv:1701.07875).

    The critic maximises E_p D(x) - E_q D(x), the dual of the earth mover's distance, over nets whose weights are at most
    `clip`: they are Lipschitz, by a constant that is not known. Adam without momentum stands for RMSprop.

    Args:
        latent, net, hidden, channels, critic_steps, temperature, balanced: see `Adversarial`.
        clip: the largest weight of the critic; by default 0.03, and any where `spectral` takes its place.
        spectral: divide the critic's layers by their spectral norms (Miyato et al. 2018, arXiv:1802.05957).

    >>> from genus import Real, Space
    >>> WGAN(Space([Real(), Real()]), hidden=(16,)).sample(3, seed=0).shape
    torch.Size([3, 2])
    """

    info = Adversarial.info.replace(
        title="Wasserstein GAN, clipped weights",
        formula="min over g, max over f of E f(x) − E f(g(z)), the weights of f clipped",
        good="the first critic with a distance that means something",
        bad="quality: the gradient penalty is better",
    )

    def __init__(
        self,
        space: Space,
        context: Space | None = None,
        latent: int = 32,
        net: str = "auto",
        hidden: Sequence[int] = (256, 256),
        channels: int = 32,
        clip: float | None = None,
        spectral: bool = False,
        critic_steps: int = 5,
        temperature: float = 0.5,
        balanced: bool | None = None,
    ) -> None:
        clip = 0.03 if clip is None and not spectral else clip
        adam: dict[str, Any] = {"lr": 2e-4, "betas": (0.0, 0.99), "weight_decay": 0.0}
        critic: dict[str, Any] = {"game": "wasserstein", "clip": clip, "spectral": spectral}
        super().__init__(space, context, adam, critic)


class WGANGP(Adversarial, name="wgan-gp"):
    """Wasserstein GAN with gradient penalty (Gulrajani et al. 2017, arXiv:1704.00028).

    The critic maximises E_p D(x) - E_q D(x), the dual of the earth mover's distance, and pays
    `penalty` * E (|grad D| - 1)^2 on the lines between real and generated rows; the generator lowers it.

    Args:
        latent, net, hidden, channels, critic_steps, temperature, balanced: see `Adversarial`.
        penalty: lambda.

    >>> from genus import Category, Real, Space
    >>> model = WGANGP(Space([Real(), Category(("a", "b"))]), hidden=(16,))
    >>> [loss.name for loss in model.losses()]
    ['critic', 'generator']
    """

    info = Adversarial.info.replace(
        title="Wasserstein GAN, gradient penalty",
        formula="min over g, max over f of E f(x) − E f(g(z)) − λ E (‖∇f‖ − 1)²",
        good="pictures and tables by a training that seldom fails",
        bad="everything that needs a density; slower than a GAN a step",
    )

    def __init__(
        self,
        space: Space,
        context: Space | None = None,
        latent: int = 32,
        net: str = "auto",
        hidden: Sequence[int] = (256, 256),
        channels: int = 32,
        penalty: float = 10.0,
        critic_steps: int = 5,
        temperature: float = 0.5,
        balanced: bool | None = None,
    ) -> None:
        adam: dict[str, Any] = {"lr": 1e-3, "betas": (0.0, 0.9)}
        critic: dict[str, Any] = {"game": "wasserstein", "penalty": penalty}
        super().__init__(space, context, adam, critic)
