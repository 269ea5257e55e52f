"""Predict a column that relations concern: one that another column replaced, or from which a known one is measured."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from genus.codec import Codec, Formula, Function, OneHot, Order, Sum
from genus.codec.arrow import is_numeric, without_dictionary
from genus.codec.relations import exact_numbers
from genus.data import Dataset
from genus.errors import GenusError
from genus.ladder import ApproximateDensity, GenerativeModel
from genus.ladder.related import candidates
from genus.questions.conditional import column_given
from genus.questions.reading import BROKEN, held, known_cells, read_for, related_rows, rows_by_cells
from genus.random import isolated

__all__ = ["predict_related"]

FILLS = 5  # draws of what else the rows lack
AT_ONCE = 200  # rows
LISTED = 256  # values whose probabilities are listed


class _Weighed(NamedTuple):
    """Holds for each of B rows values of a column, (B, K) in Arrow one row after the other, with their probabilities (B, K)."""

    values: pa.ChunkedArray
    share: np.ndarray
    exact: bool


def predict_related(
    model: GenerativeModel, source: Any, column: str, level: float, calibrated: bool, reading: dict[str, Any]
) -> tuple[tuple[Any, ...], pa.Table] | None:
    """Return the result of `predict` for a column that a relation concerns, and the table; None where none does.

    A value that a relation replaced is predicted through the columns that stand in its place, and where a known one is measured
    from the column, only values that agree with it have a probability.

    Args:
        model, source, column, level, reading: as of `predict`.
        calibrated: whether held-out rows are to calibrate it.

    Returns:
        The fields of `Predicted` after the column's name, and the table as it was read.

    Raises:
        GenusError: the model has no density, or such a column is to be calibrated.
    """
    if model.codec is None or not any(not one.rejects and not one.invents for one in model.codec.rewrites):
        return None
    codec, data = read_for(model, source, True, reading)
    beside = [name for name in codec.names if codec.replaced(name) and column in _sources(codec, name)]
    concerned = codec.replaced(column) or any(_says(codec, data, name) for name in beside)
    if not concerned and not related_rows(model, data):
        return None
    if not isinstance(model, ApproximateDensity):
        raise GenusError(f"{model.name} has no density, so it cannot tell a column from the others; take mixture or made, say.")
    if column not in codec.column_names:
        model.space.index(column)
    if calibrated:
        raise GenusError(
            f"{column!r} is in a relation with other columns of these rows, and calibration takes columns that are in none;"
            " leave the held-out rows out."
        )
    assert data.table is not None
    rest = data.table.drop_columns([column]) if column in data.table.column_names else data.table
    told = read_for(model, rest, True, {})[1] if rest.num_columns else data
    possible = {*related_rows(model, told)}
    lost = told.x.isinf().all(1)
    parts: list[tuple[np.ndarray, _Weighed]] = []
    for names, some in rows_by_cells(codec, data.table, torch.arange(len(data)), column).items():
        for part in some.split(AT_ONCE):
            c = None if data.c is None else data.c[part]
            with isolated(0, model):
                found = _weighed(model, codec, known_cells(codec, data.table, names, part), c, column)
            if names not in possible:
                found.share[lost[part].numpy()] = 0.0
            parts.append((part.numpy(), found))
    return _summary(codec, column, parts, len(data), level), data.table


def _says(codec: Codec, data: Dataset, name: str) -> bool:
    return name in codec.names and data.table is not None and bool(held(codec, data.table, name).any())


def _weighed(model: Any, codec: Codec, known: pa.Table, c: Tensor | None, column: str) -> _Weighed:
    """Return the values that a column of rows may have given known ones, with their probabilities."""
    ties, space = codec.tie(known.column_names), model.space
    names = space.names
    if ties.tied:
        found = candidates(model, known, c)
        if {names[i] for i in found.left}.isdisjoint(_sources(codec, column)):
            share = found.log_weight.T.double().softmax(1).nan_to_num(0.0).numpy()  # of rows that nothing agrees with: 0
            return _Weighed(_decoded(codec, found.x.transpose(0, 1), column), share, found.exact)
    unknown = [name for name in names if name not in ties.known]
    sources = [name for name in unknown if name in _sources(codec, column)]
    # The other unknown columns are drawn, so the column is looked at through the one that matters most.
    place = names.index(ties.widest(sources)) if sources else None
    lacking = [name for name in unknown if place is None or name != names[place]]
    values, shares, exact = [], [], not lacking
    for k in range(FILLS if lacking else 1):
        drawn = model.fill_known(known, c, seed=k)
        if place is None:
            values.append(drawn.x[:, None])
            shares.append(torch.ones(len(drawn.x), 1).double() * drawn.done[:, None])
            continue
        given = column_given(model, drawn.x, c, place, values=False)
        many = drawn.x[:, None].repeat(1, len(given.values), 1)
        many[:, :, place] = given.values.to(many)
        values.append(many)
        shares.append(given.log_share.exp() * drawn.done[:, None])
        exact &= given.label == "exact"
    joined = torch.cat(shares, 1)
    joined = joined / joined.sum(1, keepdim=True).clamp(min=1e-300)
    return _Weighed(_decoded(codec, torch.cat(values, 1), column), joined.numpy(), exact)


def _sources(codec: Codec, column: str) -> set[str]:
    """Return the columns of the space, and of tables between, of which a column of the person's is made."""
    wanted = {column}
    for rewrite in codec.rewrites:
        if isinstance(rewrite, Order | Sum | Function | Formula) and rewrite.column in wanted:
            more = rewrite.gap if isinstance(rewrite, Order) else rewrite.rest if isinstance(rewrite, Formula) else ""
            wanted |= {*rewrite.reads, *filter(None, [more])}
        elif isinstance(rewrite, OneHot) and wanted & {*rewrite.columns}:
            wanted.add(rewrite.into)
    return wanted


def _decoded(codec: Codec, x: Tensor, column: str) -> pa.ChunkedArray:
    """Return the values of a column in rows x (B, K, D), one row after the other."""
    return without_dictionary(codec.to_person(x.reshape(-1, x.shape[-1])).column(column))


def _summary(codec: Codec, column: str, parts: list[tuple[np.ndarray, _Weighed]], rows: int, level: float) -> tuple[Any, ...]:
    """Return the fields of `Predicted` after the column's name."""
    label = "exact" if all(one.exact for _, one in parts) else "estimate"
    failed = sum(int((one.share.sum(1) <= 0).sum()) for _, one in parts)
    reasons = {BROKEN: failed} if failed else {}
    kind = codec.type_of(column)
    numbers = is_numeric(kind) or pa.types.is_decimal(kind)
    if numbers:
        value, low, high = (np.full(rows, math.nan) for _ in range(3))
        for at, one in parts:
            value[at], low[at], high[at] = _moments(exact_numbers(one.values).reshape(one.share.shape), one.share, level)
        return value, low, high, {}, level, label, reasons
    levels = pc.unique(pa.concat_arrays([chunk for _, one in parts for chunk in one.values.chunks])).drop_null()
    likeliest, shares = np.full(rows, None, dtype=object), np.zeros((rows, len(levels)))
    for at, one in parts:
        place = np.asarray(pc.fill_null(pc.index_in(one.values, value_set=levels), len(levels))).reshape(one.share.shape)
        for k in range(len(levels)) if len(levels) <= LISTED else ():
            shares[at, k] = (one.share * (place == k)).sum(1)
        if len(levels) > LISTED:
            for row, where, share in zip(at, place, one.share, strict=True):
                shares[row] = np.bincount(where, share, len(levels) + 1)[: len(levels)]
    listed = np.array([*levels.to_pylist()], dtype=object)
    fine = shares.sum(1) > 0
    likeliest[fine] = listed[shares[fine].argmax(1)] if len(listed) else None
    probabilities = {v: shares[:, k] for k, v in enumerate(listed)} if len(listed) <= LISTED else {}
    return likeliest, None, None, probabilities, level, label, reasons


def _moments(values: np.ndarray, share: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the mean and the ends of the interval that holds `level`, (B,) each, of weighted values (B, K)."""
    share = np.where(np.isnan(values), 0.0, share)
    total = share.sum(1, keepdims=True)
    share, values = np.divide(share, total, where=total > 0, out=np.full_like(share, math.nan)), np.nan_to_num(values)
    order = values.argsort(1, kind="stable")
    values, share = np.take_along_axis(values, order, 1), np.take_along_axis(share, order, 1)
    below = share.cumsum(1)
    lost = np.isnan(total[:, 0]) | (total[:, 0] <= 0)
    ends = [
        np.where(lost, math.nan, values[np.arange(len(values)), (below < q - 1e-9).sum(1).clip(max=values.shape[1] - 1)])
        for q in ((1 - level) / 2, (1 + level) / 2)
    ]
    return (share * values).sum(1), ends[0], ends[1]
