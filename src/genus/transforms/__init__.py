"""Bijections. Each answers its value and its log-determinant in one call, forward (x to z) and inverse (z to x)."""

from genus.transforms.core import Chain, Normalisation, Permutation, Transform
from genus.transforms.masked import MaskedAffine

__all__ = ["Chain", "MaskedAffine", "Normalisation", "Permutation", "Transform"]
