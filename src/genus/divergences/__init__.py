"""Distances between distributions, between samples of them, and the games that critics play."""

from genus.divergences.f import BITS, DIVERGENCES, Estimate, FDivergence, between, of_probabilities
from genus.divergences.games import GAMES, Game
from genus.divergences.samples import energy_distance, log_spectral_distance, sliced_wasserstein

__all__ = [
    "BITS",
    "DIVERGENCES",
    "GAMES",
    "Estimate",
    "FDivergence",
    "Game",
    "between",
    "energy_distance",
    "log_spectral_distance",
    "of_probabilities",
    "sliced_wasserstein",
]
