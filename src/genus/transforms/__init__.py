"""Bijections. Each answers its value and its log-determinant in one call, forward (x to z) and inverse (z to x)."""

from genus.transforms.causal import Causal
from genus.transforms.core import Chain, Inverse, Transform
from genus.transforms.coupling import Coupling, checkerboard, halves
from genus.transforms.elementary import ActNorm, Elementwise, Linear, Logit, Permutation, Reshape, SoftClip
from genus.transforms.images import Multiscale, Squeeze
from genus.transforms.maps import Additive, Affine, Map, Spline
from genus.transforms.masked import MaskedAutoregressive
from genus.transforms.predicted import Predicted

__all__ = [
    "Additive",
    "Affine",
    "Causal",
    "Predicted",
    "Chain",
    "Coupling",
    "Elementwise",
    "Inverse",
    "Linear",
    "Logit",
    "Map",
    "MaskedAutoregressive",
    "Multiscale",
    "ActNorm",
    "Permutation",
    "Reshape",
    "SoftClip",
    "Spline",
    "Squeeze",
    "Transform",
    "checkerboard",
    "halves",
]
