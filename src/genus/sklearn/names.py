"""Names of families and of their hyper-parameters, and labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import column_or_1d

from genus.errors import DataError, GenusError
from genus.ladder import GenerativeModel
from genus.models import Dequantised
from genus.registry import families, hyper_parameters

__all__ = ["check_names", "distinct_labels", "known_family"]


def known_family(name: Any) -> type[GenerativeModel] | None:
    """Return the family of that name; None for an unknown name, which `fit` refuses."""
    return families().get(name) if isinstance(name, str) else None


def check_names(name: Any, hyper: Mapping[str, Any]) -> None:
    """Refuse hyper-parameters that the family does not have."""
    cls = known_family(name)
    if cls is None:
        return
    known = hyper_parameters(cls)
    unknown = [key for key in hyper if key not in known]
    if unknown and cls is not Dequantised:
        has = ", ".join([*known, "kinds", "relations", "chart", "max_seconds", "max_steps", "epochs", "random_state"])
        raise GenusError(f"DensityEstimator({name!r}) has no parameter {unknown[0]!r}; it has family, {has}.")


def distinct_labels(y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the different labels of y (n,), and the index of each row's label."""
    labels = column_or_1d(y, warn=True)
    if type_of_target(labels) not in ("binary", "multiclass"):
        raise DataError(
            f"Unknown label type: y holds {type_of_target(labels)} values such as {labels[0]!r}; expected texts or whole"
            " numbers. Make them classes, or leave y out."
        )
    return np.unique(labels, return_inverse=True)
