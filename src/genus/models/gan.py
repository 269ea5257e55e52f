"""Generative adversarial networks: every game that two nets can play."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from genus.errors import GenusError
from genus.models.adversarial import Adversarial
from genus.space import Space

__all__ = ["GAN"]


class GAN(Adversarial, name="gan"):
    """Generative adversarial network (Goodfellow et al. 2014, arXiv:1406.2661).

    The critic learns to tell real rows from generated ones, the generator to make it fail. Penalties of the critic's gradient
    on both kinds of rows, centred at zero, make the game converge (Mescheder et al. 2018, arXiv:1801.04406).

    Args:
        latent, net, hidden, channels, critic_steps, temperature, balanced: see `Adversarial`.
        game: "minimax" (the generator lowers E log(1 - D), which saturates), "non-saturating" (it lowers -E log D),
            "least-squares" (Mao et al. 2017), "hinge" (Lim & Ye 2017), "relativistic" (Jolicoeur-Martineau 2019; Huang et al.
            2024), or "f-" and the name of an f-divergence (Nowozin et al. 2016): "f-kl", "f-reverse-kl", "f-jensen-shannon",
            "f-total-variation", "f-chi-squared", "f-squared-hellinger".
        r1, r2, spectral: see `Critic`.

    >>> from genus import Real, Space
    >>> GAN(Space([Real(), Real()]), hidden=(16,), game="minimax").sample(3, seed=0).shape
    torch.Size([3, 2])
    """

    info = Adversarial.info.replace(
        title="generative adversarial network",
        formula="min over g, max over d of E log d(x) + E log(1 − d(g(z)))",
        good="sharp pictures in one pass",
        bad="everything that needs a density; rare rows, which it may leave out",
    )

    def __init__(
        self,
        space: Space,
        context: Space | None = None,
        latent: int = 32,
        net: str = "auto",
        hidden: Sequence[int] = (256, 256),
        channels: int = 32,
        game: str = "relativistic",
        r1: float = 0.003,
        r2: float = 0.003,
        spectral: bool = False,
        critic_steps: int = 1,
        temperature: float = 0.5,
        balanced: bool | None = None,
    ) -> None:
        if game == "wasserstein":
            raise GenusError(
                "The game of the earth mover's distance is that of 'wgan' and 'wgan-gp', whose critics are not steep."
            )
        critic: dict[str, Any] = {"game": game, "r1": r1, "r2": r2, "spectral": spectral}
        adam: dict[str, Any] = {"lr": 1e-3, "betas": (0.0, 0.99)}
        super().__init__(space, context, adam, critic)
