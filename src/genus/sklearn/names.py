"""Names of families and of their hyper-parameters, labels, and seeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import column_or_1d
from torch import Tensor

from genus.errors import DataError, GenusError, near
from genus.ladder import GenerativeModel
from genus.models import Dequantised
from genus.registry import families, hyper_parameters

__all__ = ["check_names", "distinct_labels", "known_family", "label_codes", "seed_of"]

TRAINING = ("max_seconds", "max_steps", "epochs", "batch_size", "validation", "device")


def known_family(name: Any) -> type[GenerativeModel] | None:
    """Return the family of that name; None for an unknown name, which `fit` refuses."""
    return families().get(name) if isinstance(name, str) else None


def seed_of(random_state: Any) -> int:
    """Return a seed of genus's for a `random_state` of scikit-learn's: None, a number, or a generator, which moves on."""
    return int(check_random_state(random_state).randint(2**31 - 1))


def check_names(name: Any, hyper: Mapping[str, Any]) -> None:
    """Refuse hyper-parameters that the family does not have."""
    cls = known_family(name)
    if cls is None:
        return
    known = hyper_parameters(cls)
    unknown = [key for key in hyper if key not in known]
    if unknown and cls is not Dequantised:
        has = ", ".join([*known, "kinds", "relations", "chart", *TRAINING, "random_state"])
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


def label_codes(y: Any, rows: int, classes: np.ndarray) -> Tensor:
    """Return the place of each row's label among the classes, (rows,) long; y is one label for each row, or one for all."""
    labels = column_or_1d(np.full(rows, y) if np.ndim(y) == 0 else y, warn=True)
    if len(labels) != rows:
        raise DataError(f"There are {len(labels)} labels y for {rows} rows; give one for each row, or one for all.")
    place = {label: i for i, label in enumerate(classes.tolist())}
    strange = next((label for label in labels.tolist() if label not in place), None)
    if strange is not None:
        raise DataError(
            f"y holds the label {strange!r}, which was not there in fit{near(strange, place)};"
            f" expected one of {list(place)[:8]}."
        )
    return torch.tensor([place[label] for label in labels.tolist()], dtype=torch.long)
