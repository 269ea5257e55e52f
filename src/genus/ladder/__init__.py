"""The ladder of generative models: each class adds one question that a model can answer.

    GenerativeModel            sample(n, c), impute(x)            implicit density
      ApproximateDensity       elbo(x, c), log_evidence(x, c)     a bound, and an estimate
        TractableDensity       log_prob(x, c), log_marginal(x)    exact

A model that cannot answer a question does not have the method.
"""

from genus.ladder.base import GenerativeModel
from genus.ladder.calibration import Calibration, calibrations_from_json
from genus.ladder.composed import Composed
from genus.ladder.contexts import Contexts
from genus.ladder.counted import Counted
from genus.ladder.density import BOUND_DRAWS, ApproximateDensity, TractableDensity
from genus.ladder.families import build_family, registered_families, registered_family
from genus.ladder.functions import check_count, check_shape, map_batches, without_parameter_gradients
from genus.ladder.held_out import HeldOut
from genus.ladder.info import FamilyInfo, Size
from genus.ladder.learned import Learned, Rest, WithContext
from genus.ladder.loss import Loss
from genus.random import isolated

__all__ = [
    "BOUND_DRAWS",
    "ApproximateDensity",
    "Calibration",
    "Composed",
    "Contexts",
    "Counted",
    "FamilyInfo",
    "GenerativeModel",
    "HeldOut",
    "Learned",
    "Loss",
    "Rest",
    "Size",
    "TractableDensity",
    "WithContext",
    "build_family",
    "calibrations_from_json",
    "check_count",
    "check_shape",
    "isolated",
    "map_batches",
    "registered_families",
    "registered_family",
    "without_parameter_gradients",
]
