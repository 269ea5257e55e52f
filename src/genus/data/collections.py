"""Collections of data in Python: pairs (X, y), torch's data sets and loaders, lists of pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset as TorchDataset

from genus.errors import DataError

__all__ = ["Labelled", "gathered", "is_pair"]

LABEL = "label"  # the column of y, unless y has a name


class Labelled:
    """Hold data X with one value y for each datum; `name` is y's."""

    def __init__(self, x: Any, y: Any, name: str = LABEL) -> None:
        self.x, self.y, self.name = x, y, name


def gathered(source: Any, sequence: bool) -> Any:
    """Return a collection as an array, a table, or both as `Labelled`; anything else as it is.

    Args:
        source: what `read` was given.
        sequence: lists are sequences, so those that differ in length are whole.

    Raises:
        DataError: data that differ in shape, that have no label each, or a data set that yields nothing.
    """
    if isinstance(source, DataLoader):
        return _of_items([item for batch in source for item in _rows_of(batch)], "The loader")
    if isinstance(source, TorchDataset):
        return _of_items(list(_items(source)), f"The data set ({type(source).__name__})")
    if is_pair(source):
        return _pair(*source)
    if isinstance(source, list | tuple) and len(source):
        if _is_picture(source[0]):
            return _stacked(source, "picture") if not sequence or np.ndim(_array(source[0])) < 2 else source
        if not sequence and not isinstance(source[0], str | bytes | Mapping) and np.ndim(_array_or_none(source[0])) == 1:
            _check_even(source)
    return source


def is_pair(source: Any) -> bool:
    """Return whether this is (X, y): data of several numbers each, or a frame, and one value for each of them."""
    if not isinstance(source, tuple) or len(source) != 2:
        return False
    x, y = source
    rows = len(getattr(x, "shape", ())) > 1
    return rows and len(getattr(y, "shape", ()) or ((len(y),) if isinstance(y, list) else ())) in (1, 2)


def _pair(x: Any, y: Any) -> Labelled:
    if len(x) != len(y):
        raise DataError(f"X has {len(x)} rows and y {len(y)} values; (X, y) needs one value for each row.")
    values = y
    if len(getattr(y, "shape", (len(y),))) == 2:
        if y.shape[1] != 1:
            raise DataError(f"y has shape {tuple(y.shape)}; (X, y) needs one value for each row. Join the columns to a frame.")
        values = np.asarray(y).reshape(-1)
    name = getattr(y, "name", None)
    return Labelled(x, values, name if isinstance(name, str) and name else LABEL)


# -- torch ----------------------------------------------------------------------------------------------------------------


def _items(source: Any) -> Iterable[Any]:
    """Return the items of a data set, in order; those that know their length are asked by number."""
    if hasattr(source, "__len__"):
        return (source[i] for i in range(len(source)))
    if hasattr(source, "__iter__"):
        return source
    raise DataError(f"The data set ({type(source).__name__}) has no length and cannot be walked through; pass its tensors.")


def _rows_of(batch: Any) -> list[Any]:
    """Return the items of a batch of a loader: tensors, pairs or dictionaries."""
    if isinstance(batch, Mapping):
        return [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]
    if isinstance(batch, list | tuple):
        return list(zip(*batch, strict=True)) if len(batch) > 1 else list(batch[0])
    return list(batch)


def _of_items(items: list[Any], what: str) -> Any:
    if not items:
        raise DataError(f"{what} yields nothing; expected a datum at least.")
    first = items[0]
    if isinstance(first, Mapping):
        return {name: np.stack([_array(item[name]) for item in items]) for name in first}
    if isinstance(first, list | tuple) and len(first) == 1:
        items = [item[0] for item in items]
    elif isinstance(first, list | tuple):
        if len(first) != 2 or np.ndim(_array(first[1])):
            raise DataError(f"{what} yields items of {len(first)} parts; expected a datum, or a datum and one value.")
        labels = np.stack([_array(item[1]) for item in items])
        return Labelled(_stacked([item[0] for item in items], "datum"), labels)
    return _stacked(items, "datum")


# -- lists of pictures ----------------------------------------------------------------------------------------------------


def _is_picture(item: Any) -> bool:
    return hasattr(item, "getbands") or (isinstance(item, np.ndarray | Tensor) and item.ndim > 1)


def _array(item: Any) -> np.ndarray:
    return item.detach().cpu().numpy() if isinstance(item, Tensor) else np.asarray(item)


def _array_or_none(item: Any) -> Any:
    try:
        return _array(item)
    except ValueError:  # lists of lists of different lengths
        return None


def _stacked(items: Sequence[Any], noun: str) -> Any:
    """Return data of one shape as an array (N, ...), a tensor where they are tensors."""
    arrays = [_array(item) for item in items]
    odd = next((i for i, array in enumerate(arrays) if array.shape != arrays[0].shape), None)
    if odd is not None:
        way = "pass sequence=True for sequences of their own lengths" if arrays[0].ndim == 1 else "bring them to one size"
        raise DataError(
            f"The data differ in shape: {noun} 0 has {arrays[0].shape}, {noun} {odd} has {arrays[odd].shape}; {way}."
        )
    whole = np.stack(arrays)
    return torch.from_numpy(whole) if isinstance(items[0], Tensor) else whole


def _check_even(items: Sequence[Any]) -> None:
    """Raise DataError where rows differ in length, which a table's do not."""
    try:
        lengths = [len(item) for item in items]
    except TypeError:
        return
    odd = next((i for i, length in enumerate(lengths) if length != lengths[0]), None)
    if odd is not None:
        raise DataError(
            f"The lists differ in length: list 0 has {lengths[0]} values, list {odd} has {lengths[odd]}; pass sequence=True to"
            " read each as a sequence of its own length, or make them rows of one table."
        )
