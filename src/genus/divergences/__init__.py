"""Distances between distributions, and between samples of them."""

from genus.divergences.samples import energy_distance, sliced_wasserstein

__all__ = ["energy_distance", "sliced_wasserstein"]
