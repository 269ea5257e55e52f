"""Distances between distributions, between samples of them, and the games that critics play.

Of distributions that are known: `kl`, `jensen_shannon`, `between`, exact or by Monte Carlo. Of samples: `wasserstein`,
`transport` (with the coupling), `sinkhorn`, `sliced_wasserstein`, `energy_distance`. By a critic: `dual`, `variational`.
"""

from genus.divergences.critics import Dual, Witness, dual, variational
from genus.divergences.distributions import between, frequencies, jensen_shannon, kl, wasserstein
from genus.divergences.f import BITS, DIVERGENCES, Estimate, FDivergence, of_probabilities
from genus.divergences.games import GAMES, Game
from genus.divergences.lipschitz import gradient_norm, gradient_penalty
from genus.divergences.samples import energy_distance, log_spectral_distance, sliced_wasserstein
from genus.divergences.sinkhorn import Sinkhorn, sinkhorn
from genus.divergences.transport import Transport, transport

__all__ = [
    "BITS",
    "DIVERGENCES",
    "GAMES",
    "Dual",
    "Estimate",
    "FDivergence",
    "Game",
    "Sinkhorn",
    "Transport",
    "Witness",
    "between",
    "dual",
    "energy_distance",
    "frequencies",
    "gradient_norm",
    "gradient_penalty",
    "jensen_shannon",
    "kl",
    "log_spectral_distance",
    "of_probabilities",
    "sinkhorn",
    "sliced_wasserstein",
    "transport",
    "variational",
    "wasserstein",
]
