"""Choose the rows to hold out, at random, in whole groups or the latest, and note where another way may be right."""

from __future__ import annotations

import re

from torch import Tensor

from genus.codec.notes import Note
from genus.data import Dataset
from genus.errors import DataError, listed, near
from genus.evaluation.metrics import LEAST
from genus.kinds import Category, Lattice, Time

__all__ = ["hold_out", "partition_notes"]

# Names of columns that say whose row it is: customer_id, patient, "User No".
WHOSE = re.compile(
    r"(^|[^a-z])(customer|client|user|patient|subject|person|member|account|household|student|session|device|case)s?"
    r"([^a-z]*(id|no|nr|number|key|code))?$|[^a-z]id$|^id$",
    re.IGNORECASE,
)
REPEATED = 1.5  # rows of each, on average, from which on a column like that is named
INSTANTS = 20  # different times from which on a random split may look into the future
MOMENTS = ("date", "instant")


def hold_out(data: Dataset, test: float, split: str = "random") -> tuple[Dataset, Dataset]:
    """Return training and held-out rows.

    Args:
        data: whose groups stay together in a random split.
        test: the share that is held out.
        split: "random"; "time": the latest rows are held out, by the only column of dates or instants; or the name of a
            column of numbers or times by which rows are ordered. Both parts are then in order.

    Raises:
        DataError: there is no such column, or more than one.
    """
    if split == "random":
        train, held = data.split(test=test, seed=0)
        if data.groups is not None and not data.space.sequence and min(len(train), len(held)) < 2 * LEAST:
            few = min(len(train), len(held))
            raise DataError(
                f"The groups are so uneven that a part has {few} rows; a comparison needs {2 * LEAST} or more in each."
            )
        return train, held
    if data.consecutive or data.space.sequence:
        raise DataError(f"split={split!r} is for rows of a table; of one long sequence the end is held out anyway.")
    order = _moments(data, split).argsort(stable=True)
    edge = len(data) - round(len(data) * test)
    return data.rows(order[:edge]), data.rows(order[edge:])


def _moments(data: Dataset, split: str) -> Tensor:
    """Return the number (N,) by which rows are ordered."""
    columns = _columns(data)
    if split in columns:
        kind, values = columns[split]
        if isinstance(kind, Category):
            raise DataError(f"Column {split!r} is a category, and rows cannot be ordered by it; name a time or a number.")
        return values
    times = [name for name, (kind, _) in columns.items() if isinstance(kind, Time) and kind.concept in MOMENTS]
    if split != "time":
        raise DataError(
            f"split={split!r} is not known{near(split, columns)}; expected 'random', 'time', or one of {listed(columns)}."
        )
    if len(times) != 1:
        said = f"several, {', '.join(times)}" if times else "none"
        raise DataError(f"split='time' needs one column of dates or instants, and there are {said}; name the column instead.")
    return columns[times[0]][1]


def _columns(data: Dataset) -> dict[str, tuple[object, Tensor]]:
    """Return the kinds and values of the columns of x and of the context, by name."""
    found: dict[str, tuple[object, Tensor]] = {}
    for space, rows in ((data.space, data.x), (data.context, data.c)):
        if space is not None and rows is not None and not space.sequence and space.is_table:
            found |= {
                n: (kind, rows[:, i].double()) for i, (n, kind) in enumerate(zip(space.names or (), space.kinds, strict=False))
            }
    return found


def partition_notes(data: Dataset, split: str) -> list[Note]:
    """Return a note where rows seem to belong together, or to be ordered in time, and are split at random."""
    if split != "random" or data.consecutive:
        return []
    notes = []
    for name, (kind, values) in _columns(data).items():
        distinct = len(values[~values.isnan()].unique())
        if isinstance(kind, Time) and kind.concept in MOMENTS:
            if distinct >= INSTANTS:
                said = f"rows have a time, {name!r}, and held-out ones are as early as others"
                notes.append(Note(said, "hold the latest out with {}", {"split": "time"}, name))
        elif isinstance(kind, Category | Lattice) and data.groups is None and WHOSE.search(name) and distinct > 2:
            if distinct > len(data) / REPEATED:
                continue
            said = f"{name!r} seems to say whose row it is: {distinct:,} different ones in {len(data):,} rows"
            notes.append(Note(said, "keep the rows of each together with {}", {"group": name}, name))
    return notes[:2]
