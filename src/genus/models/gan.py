"""Generative adversarial networks: every game that two nets can play."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from genus.errors import GenusError
from genus.models.adversarial import Adversarial, slope
from genus.space import Space

__all__ = ["GAN"]


class GAN(Adversarial, name="gan"):
    """Generative adversarial network (Goodfellow et al. 2014, arXiv:1406.2661).

    The critic learns to tell real rows from generated ones, the generator to make it fail. Penalties of the critic's gradient
    on both kinds of rows, centred at zero, make the game converge (Mescheder et al. 2018, arXiv:1801.04406).

    Args:
        latent: dimensions of the generator's noise.
        hidden: widths of generator and critic.
        game: "minimax" (the generator lowers E log(1 - D), which saturates), "non-saturating" (it lowers -E log D),
            "least-squares" (Mao et al. 2017), "hinge" (Lim & Ye 2017), "relativistic" (Jolicoeur-Martineau 2019; Huang et al.
            2024), or "f-" and the name of an f-divergence (Nowozin et al. 2016): "f-kl", "f-reverse-kl", "f-jensen-shannon",
            "f-total-variation", "f-chi-squared", "f-squared-hellinger".
        r1, r2: weights of the penalties E |grad D|^2 / 2 on real rows and on generated ones.
        critic_steps: of the critic for one of the generator.
        temperature: of the Gumbel softmax.

    >>> from genus import Real, Space
    >>> GAN(Space([Real(), Real()]), hidden=(16,), game="minimax").sample(3, seed=0).shape
    torch.Size([3, 2])
    """

    title = "generative adversarial network"

    def __init__(
        self,
        space: Space,
        context: Space | None = None,
        latent: int = 32,
        hidden: Sequence[int] = (256, 256),
        game: str = "relativistic",
        r1: float = 0.1,
        r2: float = 0.1,
        critic_steps: int = 1,
        temperature: float = 0.5,
    ) -> None:
        if r1 < 0 or r2 < 0:
            raise GenusError(f"r1 and r2 are weights of 0 or more; got {r1} and {r2}.")
        hyper = {"latent": latent, "hidden": list(hidden), "game": game, "r1": r1, "r2": r2, "critic_steps": critic_steps}
        super().__init__(space, context, **hyper, temperature=temperature)
        self.r1, self.r2 = r1, r2
        self._play(game, latent, hidden, critic_steps, temperature, {"lr": 2e-4, "betas": (0.0, 0.9)})

    def _penalty(self, real: Tensor, fake: Tensor, judge: Callable[[Tensor], Tensor]) -> Tensor | float:
        rows = ((self.r1, real), (self.r2, fake))
        return sum(0.5 * weight * slope(judge, x).square().mean() for weight, x in rows if weight)
