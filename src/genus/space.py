"""The type of a datum: the shape of x and the kind of every coordinate, and so the base measure of its densities.

Every model sees data through the one bijection x <-> (state, u) of `Space.split` and `Space.join`, where u is the
standardised continuous part; log-densities are given back in data units.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genus.compiled import is_traced
from genus.errors import DataError, listed, near
from genus.kinds import Category, Kind, Lattice, Real, Time, kind_from_json
from genus.kinds.calendar import Calendar
from genus.kinds.checks import check_layout, check_rows, checked_sums
from genus.kinds.numbers import measure_numbers
from genus.kinds.tables import Parts, Tables
from genus.notebook import few_lines, preformatted

__all__ = ["Category", "Kind", "Lattice", "Parts", "Real", "Space", "Time"]


class Space:
    """Describes one random variable x: its shape and the kind of every coordinate. It is immutable.

    Tensors of data, x of shape (B, *shape), are in data units: a number is itself, NaN where missing; a category is the
    index of its level. A `Codec` goes from and to frames and arrays.

    Args:
        kinds: a kind for every coordinate in row-major order, or a single kind that all share.
        shape: of one datum; by default (D,), a table of D columns.
        names: of the columns; by default x0, x1, ... where the shape is a table's.
        sequence: x is a sequence of any length, all elements of the same kind; shape (L,) is then the usual length, which
            samples have. Where the kind has a missing value, this value is the end: nothing but ends follows it, so sequences
            of different lengths share a space, and their total mass is 1. With C kinds it is a series of C values a step, x
            (B, C steps) step after step; `names` are then those of the values, the `channels`, and a missing value of the first
            is the end.
        sums: of columns of numbers, each times a factor, that are quantities too, such as a gap plus what it is the gap to: for
            each its columns and their factors, in data units. They are no columns, but say what others may depend on.

    >>> print(Space([Real(), Category(("no", "yes"))], names=["age", "smokes"]))
    Space of 2 columns
      age     Real(0, 1)
      smokes  Category('no', 'yes'; 2 levels)
    >>> Space(Category(("a", "b", None)), shape=(16,), sequence=True)  # words of up to 16 letters
    Space(sequence of Category('a', 'b', missing; 3 levels), length up to 16)
    """

    def __init__(
        self,
        kinds: Kind | Sequence[Kind],
        shape: Sequence[int] | None = None,
        names: Sequence[str] | None = None,
        sequence: bool = False,
        sums: Sequence[Mapping[str, float]] = (),
    ) -> None:
        kinds = (kinds,) if isinstance(kinds, Kind) else tuple(kinds)
        self.shape: tuple[int, ...] = tuple(int(s) for s in shape) if shape is not None else (len(kinds),)
        self.dim = math.prod(self.shape)
        if not kinds or self.dim < 1:
            raise DataError("A Space needs at least one coordinate; the data have none.")
        self.period = len(kinds) if sequence else 1  # the number of values of a step
        if len(kinds) not in (1, self.dim) and (not sequence or self.dim % self.period):
            raise DataError(f"A Space of shape {self.shape} needs 1 or {self.dim} kinds; got {len(kinds)}.")
        self.kinds: tuple[Kind, ...] = kinds * (self.dim // len(kinds))
        self.sequence = sequence
        if sequence and (len(self.shape) != 1 or (names is not None and len({*names}) != self.period)):
            raise DataError("A Space of sequences needs shape=(length,), and names, if any, one for each value of a step.")
        usual = tuple(f"x{i}" for i in range(self.period)) if self.period > 1 else ()
        self.channels: tuple[str, ...] = (usual if names is None else tuple(names)) if sequence else ()
        names = None if sequence else names
        if names is None and len(self.shape) == 1 and not sequence:
            names = [f"x{i}" for i in range(self.dim)]
        if names is not None and (len(names) != self.dim or len(set(names)) != self.dim):
            raise DataError(f"A Space of {self.dim} columns needs {self.dim} different names; got {list(names)!r}.")
        self.names: tuple[str, ...] | None = tuple(names) if names is not None else None
        self.sums: tuple[dict[str, float], ...] = checked_sums(sums, dict(zip(self.names or (), self.kinds, strict=False)))
        # Facts of all kinds are looked up here, once: a compiler that follows a density finds numbers.
        finest = max(kind.magnitude for kind in kinds)
        self.dtype = torch.float64 if finest > Kind.FINEST else torch.float32  # which keeps every column's values apart
        self.is_discrete = all(isinstance(kind, Category) for kind in kinds)
        self.has_missing = any(kind.has_missing for kind in kinds)
        self.has_unknown = not sequence and any(kind.has_unknown for kind in kinds)
        self.has_lattice = any(isinstance(kind, Lattice) for kind in kinds)
        self._all_tables = Tables.of(self.kinds[: self.period] if sequence else self.kinds)
        self.has_states = self._all_tables.has_states  # besides continuous parts
        if not sequence:  # of which no net sees all elements at once
            self.shared, self.feature_dim, self._layout, self.calendar  # noqa: B018
        self._tables: dict[tuple[torch.device, torch.dtype], Tables] = {}

    @classmethod
    def measure(cls, x: Tensor, names: Sequence[str] | None = None, chart: str = "auto") -> Space:
        """Return the space of numbers, its kinds measured from the values as `genus.read` measures them.

        Args:
            x: (N, *shape), NaN where missing. Each column of a table, (N, D), has a kind of its own; the elements of images
                share a kind.
            names: of the columns of a table; x0, x1, ... by default.
            chart: "auto", for each column the chart under which its values are likeliest; or "affine", for all the textbook's
                standardisation by mean and deviation.

        Raises:
            DataError: there is no row, a column holds no number, or a value is infinite.

        >>> Space.measure(torch.tensor([[0.0, 1.5], [1.0, 2.25], [1.0, 0.125]]))
        Space([Lattice(0, 1), Real(about 1.05009, above 0, softplus chart)], shape=(2,))
        """
        if not isinstance(x, Tensor) or x.ndim < 2 or x.numel() == 0:
            raise DataError("Space.measure needs rows as a tensor (N, *shape), at least one.")
        values, single = x.detach().cpu().double().numpy(), x.dtype is torch.float32
        kinds = []
        for i, column in enumerate(values.T if x.ndim == 2 else [values.reshape(-1)]):
            if np.isinf(column).any() or np.isnan(column).all():
                raise DataError(f"Column {i} of x holds {'an infinite value' if np.isinf(column).any() else 'no number'}.")
            kinds.append(measure_numbers(f"x{i}", column, single=single, chart=chart))
        return cls(kinds, shape=tuple(x.shape[1:]), names=names)

    # -- facts -------------------------------------------------------------------------------------------------------

    @property
    def is_table(self) -> bool:
        """Return whether the columns have names."""
        return self.names is not None

    @property
    def is_image(self) -> bool:
        """Return whether convolutions suit x: pixels that share a kind, each of them one number."""
        return len(self.shape) in (2, 3) and self.shared is not None and self.coordinate_dim == self.dim

    @cached_property
    def shared(self) -> Kind | None:
        """Return the kind that all coordinates share; None where they differ."""
        first = self.kinds[0]
        alike = self.sequence or all(kind is first for kind in self.kinds)
        return first if alike and self.period == 1 else None

    @cached_property
    def element(self) -> Space:
        """Return the space of one element of a sequence, or of one coordinate; raise DataError where coordinates differ."""
        if self.shared is None:
            raise DataError(f"The columns differ in kind, so {self!r} has no single element; select one.")
        return Space([self.shared])

    @property
    def ends(self) -> bool:
        """Return whether sequences end: the missing state then means that nothing follows."""
        return self.sequence and self.kinds[0].has_missing

    def columns(self, *types: type) -> list[int]:
        """Return the indices of the coordinates whose kind is of one of these types."""
        return [i for i, kind in enumerate(self.kinds) if isinstance(kind, types)]

    def label(self, i: int) -> str:
        """Return the name of coordinate i as messages have it: "column 'age'" or "position (3, 4)"."""
        if self.names is not None:
            return f"column {self.names[i]!r}"
        return f"position {tuple(map(int, np.unravel_index(i, self.shape)))}"

    def index(self, name: str) -> int:
        """Return the index of the column with this name.

        Raises:
            DataError: no column has it.
        """
        if self.names is None or name not in self.names:
            raise DataError(
                f"There is no column {name!r}{near(name, self.names or ())}; the columns are {listed(self.names or ())}."
            )
        return self.names.index(name)

    def select(self, columns: Sequence[int]) -> Space:
        """Return the space of some columns of a table."""
        names = self.names or tuple(f"x{i}" for i in range(self.dim))
        chosen = [names[i] for i in columns]
        sums = [one for one in self.sums if one.keys() <= {*chosen}]
        return Space([self.kinds[i] for i in columns], names=chosen, sums=sums)

    def with_kinds(self, kinds: Sequence[Kind]) -> Space:
        """Return the space of the same columns of a table with other kinds, (D,)."""
        return Space(kinds, names=self.names, sums=self.sums)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Space) and self.to_json() == other.to_json())

    def __hash__(self) -> int:
        return hash((self.shape, self.names, tuple(map(repr, self.kinds))))

    def __repr__(self) -> str:
        if self.sequence:
            each = ", ".join(f"{name} {kind!r}" for name, kind in zip(self.channels, self.kinds, strict=False))
            what, most = (each and f"steps of {each}") or repr(self.kinds[0]), "up to " if self.ends else ""
            return f"Space(sequence of {what}, length {most}{self.dim // self.period:,})"
        same = len(set(map(repr, self.kinds))) == 1
        kinds = repr(self.kinds[0]) if same else f"[{', '.join(map(repr, self.kinds))}]"
        return f"Space({kinds}, shape={self.shape})"

    def __str__(self) -> str:
        return repr(self) if self.names is None else self.lines(lambda i: repr(self.kinds[i]))

    def _repr_html_(self) -> str:
        return preformatted(str(self))

    def lines(self, shown: Callable[[int], str]) -> str:
        """Return a table's columns as text, a line for each: its name, then shown(i) of column i."""
        width = max(map(len, self.names or ()))
        lines = [f"  {name:<{width}}  {shown(i)}" for i, name in enumerate(self.names or ())]
        lines = few_lines(lines, [type(kind).__name__.lower() for kind in self.kinds])
        return "\n".join([f"Space of {self.dim} column{'s' if self.dim > 1 else ''}", *lines])

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_tables": {}}

    # -- x <-> (state, u) ---------------------------------------------------------------------------------------------

    def tables(self, like: Tensor) -> Tables:
        """Return the kinds as tensors on the device of `like` and in its dtype, made once for each; a sequence has one row."""
        key = (like.device, like.dtype)
        if is_traced():
            return self._all_tables.to(*key)
        if key not in self._tables:
            self._tables[key] = self._all_tables.to(*key)
        return self._tables[key]

    def _flat(self, x: Tensor) -> Tensor:
        """Return x (B, *shape) as rows (B, D); a sequence (B, T) as (B, steps, values of a step)."""
        flat = x.unflatten(1, (-1, self.period)) if self.sequence else x.reshape(len(x), self.dim)
        return flat if flat.is_floating_point() or self.is_discrete else flat.to(self.dtype)  # small integers may be kept

    def split(self, x: Tensor) -> Parts:
        """Return x (B, *shape) as states and standardised numbers, with the terms that turn a density of these into one of x.

        Where all charts are affine, `log_slope` is a view of one number for each column.
        """
        flat = self._flat(x)
        if self.is_discrete:
            none = torch.zeros((1,) * flat.ndim, dtype=flat.dtype, device=x.device).expand(flat.shape)
            parts = Parts(flat.long(), none, none)
        else:
            parts = self.tables(flat).split(flat)
        return Parts(*map(self._in_line, parts)) if self.sequence else parts

    def _in_line(self, part: Tensor) -> Tensor:
        """Return what a sequence has of every step, (B, steps, values), as (B, T)."""
        return part.squeeze(-1) if self.period == 1 else part.flatten(1)

    def edges(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return u at both ends of the cell of every lattice value: the value has the mass between them.

        The first cell of a lattice begins at -inf and the last ends at inf, so that all cells together hold all mass.

        Args:
            x: (B, *shape) in data units; atoms and missing values have a cell without meaning.

        Returns:
            Two tensors (B, D), in double precision, so that neighbouring cells share an edge; equal where there is no lattice.
        """
        flat = self._flat(x).double()
        lower, upper = self.tables(flat).edges(flat)
        return (self._in_line(lower), self._in_line(upper)) if self.sequence else (lower, upper)

    def join(self, state: Tensor, u: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """Return x (B, *shape) of states and standardised numbers, (B, D) each: the inverse of `split`.

        A number of a lattice becomes its nearest value.

        Args:
            state: (B, D) long.
            u: (B, D).
            dtype: of x; by default that of the space or of u, which has more digits.
        """
        u = u.to(torch.float64) if self.dtype == torch.float64 else u
        dtype = dtype or torch.promote_types(self.dtype, u.dtype)  # a model of more digits keeps them
        if self.sequence:
            state, u = (part.unflatten(1, (-1, self.period)) for part in (state, u))
            return self._in_line(self.tables(u).join(state, u, dtype))
        return self.tables(u).join(state, u, dtype).reshape(-1, *self.shape)

    def rounded(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """Return draws x (B, *shape) in another type, off the ends of supports that rounding to fewer digits put them on."""
        out, tables = x.to(dtype), self.tables(x)
        if self.sequence or not len(tables.charts.forms):
            return out
        flat = out.flatten(1)
        on_atom = (flat == tables.atoms.to(dtype).unsqueeze(1)).any(0)
        return torch.where(on_atom, flat, tables.inside_ends(flat)).view_as(out)

    def unknown_blanks(self, x: Tensor) -> Tensor:
        """Return which entries of x (B, *shape) are blanks that stand for unknown values, bool (B, D)."""
        return self.tables(x).blanks(x.flatten(1)) & self.tables(x).unknown

    def ended(self, x: Tensor) -> Tensor:
        """Return at which steps sequences x (B, T) have ended, bool (B, steps); at none where sequences do not end."""
        flat = self._flat(x)
        return self.tables(flat).blanks(flat)[..., 0] & self.ends  # the first value of a step says

    def check(self, x: Tensor, name: str = "x") -> None:
        """Raise DataError where x is not a batch of this space: wrong shape, a value outside a lattice, NaN or inf.

        Args:
            x: (B, *shape) in data units; of sequences (B, T), T any length.
            name: what the message calls x.
        """
        check_rows(self, x, name)

    # -- features of networks ----------------------------------------------------------------------------------------

    @cached_property
    def coordinate_dim(self) -> int:
        """Return the number of coordinates that `coordinates` makes of one datum."""
        return sum((k.states if k.states > 1 else 0) + (not isinstance(k, Category)) for k in self.kinds)

    @cached_property
    def feature_dim(self) -> int:
        """Return the number of features that a network sees of one datum: the coordinates, and the phases of times."""
        return self.coordinate_dim + len(self.calendar.columns)

    @cached_property
    def _layout(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the columns with a continuous part, those with a one-hot, and where among the features each one-hot starts."""
        with torch.device("cpu"):
            numbers = torch.tensor(self.columns(Real, Lattice), dtype=torch.long)
            with_states = torch.tensor([i for i, kind in enumerate(self.kinds) if kind.states > 1], dtype=torch.long)
            widths = torch.tensor([self.kinds[i].states for i in with_states.tolist()], dtype=torch.long)
            return numbers, with_states, len(numbers) + widths.cumsum(0) - widths

    @cached_property
    def calendar(self) -> Calendar:
        """Return what gives the phases of times in year, week and day."""
        return Calendar(self.kinds)

    def columns_with_states(self) -> list[int]:
        """Return the indices of the columns with several states, in the order of `one_hots`."""
        return self._layout[1].tolist()

    def one_hots(self) -> list[slice]:
        """Return the slice of the features that is each one-hot vector; before them come the continuous parts."""
        _, columns, starts = self._layout
        return [slice(s, s + self.kinds[i].states) for i, s in zip(columns.tolist(), starts.tolist(), strict=True)]

    def features(self, x: Tensor) -> Tensor:
        """Return what a network sees of x (B, *shape): its coordinates, and where in year, week and day its times are.

        Returns:
            (B, feature_dim).
        """
        coordinates = self.coordinates(x)
        if not self.calendar.columns:
            return coordinates
        return torch.cat([coordinates, self.calendar(x.reshape(len(x), self.dim)).to(coordinates.dtype)], dim=1)

    def coordinates(self, x: Tensor) -> Tensor:
        """Return the standardised numbers of x (B, *shape), then a one-hot for each column with states.

        Returns:
            (B, coordinate_dim); `from_coordinates` is the inverse.
        """
        numbers, columns, starts = (t.to(x.device) for t in self._layout)
        state, u, *_ = self.split(x)
        if not len(columns) and len(numbers) == self.dim:
            return u
        values = u if len(numbers) == self.dim else u[:, numbers]
        if not len(columns):
            return values
        # Zeros that are made of the states have the dimensions that vmap adds to these.
        one_hots = state.new_zeros((len(x), self.coordinate_dim - len(numbers)), dtype=u.dtype)
        return torch.cat([values, one_hots.scatter_(1, state[:, columns] + starts - len(numbers), 1.0)], dim=1)

    def from_coordinates(self, f: Tensor) -> Tensor:
        """Return x (B, *shape) of coordinates (B, coordinate_dim); a one-hot may be soft: its largest entry wins."""
        numbers, columns, _ = self._layout
        state = torch.zeros(len(f), self.dim, dtype=torch.long, device=f.device)
        u = torch.zeros(len(f), self.dim, dtype=f.dtype, device=f.device)
        u[:, numbers.to(f.device)] = f[:, : len(numbers)]
        for column, one_hot in zip(columns.tolist(), self.one_hots(), strict=True):
            state[:, column] = f[:, one_hot].argmax(1)
        return self.join(state, u)

    # -- JSON ---------------------------------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """Return the space as JSON values; `from_json` is the inverse."""
        shared = len(set(map(repr, self.kinds))) == 1 and len(set(self.kinds)) == 1
        kinds = self.kinds[: self.period] if shared or self.sequence else self.kinds
        names = list(self.names or self.channels) or None
        data = {"kinds": [kind.to_json() for kind in kinds], "shape": list(self.shape), "names": names}
        return data | ({"sequence": True} if self.sequence else {}) | ({"sums": list(self.sums)} if self.sums else {})

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Space:
        """Return the space that `to_json` described; raise DataError where it is of other types."""
        check_layout(data["names"], data["shape"], data.get("sequence", False))
        kinds = [kind_from_json(kind) for kind in data["kinds"]]
        return cls(kinds, data["shape"], data["names"], data.get("sequence", False), data.get("sums", ()))
