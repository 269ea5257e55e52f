"""What a datum is: the shape of x, the kind of every coordinate, and so the base measure.

Every model sees data through the one bijection x <-> (state, u) of `Space.split` and `Space.join`, where u is the
standardised remainder; log-densities are given back in data units.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from genus.errors import DataError
from genus.kinds import Category, Kind, Lattice, Real, kind_from_json
from genus.kinds.numbers import measure_numbers
from genus.kinds.steps import shortest

__all__ = ["Category", "Kind", "Lattice", "Parts", "Real", "Space"]


CHECKED = 2**18  # numbers checked at a time, so that what is made on the way stays in the processor's cache


class Tables(NamedTuple):
    """The kinds as tensors over the D coordinates, so that nothing below loops over columns."""

    loc: Tensor  # (D,) 0 for categories
    scale: Tensor  # (D,) 1 for categories
    low: Tensor  # (D,) of the lattice; -inf for reals
    high: Tensor  # (D,)
    step: Tensor  # (D,) 0 for reals
    log_slope: Tensor  # (D,) of the chart of a real; 0 for other kinds
    log_width: Tensor  # (D,) of a lattice's cell in the chart; 0 for other kinds
    states: Tensor  # (D,) number of states
    atoms: Tensor  # (A, D) atom values, NaN where a coordinate has fewer
    missing: Tensor  # (D,) the state that means missing; -1 where none
    category: Tensor  # (D,) bool


class Parts(NamedTuple):
    """What `Space.split` makes of x (B, *shape).

    Args:
        state: (B, D) long: 0 where a number lies in the continuous part; else the atom or the level.
        u: (B, D): the number in its column's chart, roughly standard; 0 where there is none.
        log_slope: (B, D): log du/dx of a Real's chart where the number lies, added to turn a log-density of u into one of x
            (nats); 0 for kinds of counting measure. It has a meaning where the state is 0.
        log_width: (B, D): the log of the width in u of the lattice cell where the number lies; 0 for other kinds.
    """

    state: Tensor
    u: Tensor
    log_slope: Tensor
    log_width: Tensor


class Space:
    """The type of one random variable x: its shape and the kind of every coordinate. Immutable.

    Tensors of data, x of shape (B, *shape), are in data units: a number is itself, NaN where missing; a category is the
    index of its level. A `Codec` goes from and to frames and arrays.

    Args:
        kinds: one kind for every coordinate in row-major order, or a single one that all share.
        shape: of one datum; (D,) for a table of D columns where not given.
        names: of the columns; x0, x1, ... where not given and the shape is a table's.
        sequence: x is a sequence of any length, every element of the one kind; shape (L,) is then the usual length, which
            samples have. Where the kind has a missing value, this is the end: after it there is nothing, so sequences of
            different lengths share one space, and their total mass is 1.

    >>> space = Space([Real(), Category(("no", "yes"))], names=["age", "smokes"])
    >>> print(space)
    Space of 2 columns
      age     Real(0, 1)
      smokes  Category('no', 'yes'; 2 levels)
    >>> Space(Lattice(0, 255), shape=(28, 28))
    Space(Lattice(0, 255), shape=(28, 28))
    >>> Space(Category(("a", "b", None)), shape=(16,), sequence=True)  # words of up to 16 letters
    Space(sequence of Category('a', 'b', missing; 3 levels), length up to 16)
    """

    def __init__(
        self,
        kinds: Kind | Sequence[Kind],
        shape: Sequence[int] | None = None,
        names: Sequence[str] | None = None,
        sequence: bool = False,
    ) -> None:
        given = (kinds,) if isinstance(kinds, Kind) else tuple(kinds)
        self.shape: tuple[int, ...] = tuple(int(s) for s in shape) if shape is not None else (len(given),)
        self.dim = math.prod(self.shape)
        if not given or self.dim < 1:
            raise DataError("A Space needs at least one coordinate; the data have none.")
        if len(given) not in (1, self.dim):
            raise DataError(f"A Space of shape {self.shape} needs 1 or {self.dim} kinds; got {len(given)}.")
        self.kinds: tuple[Kind, ...] = given if len(given) == self.dim else given * self.dim
        self.sequence = sequence
        if sequence and (len(given) != 1 or len(self.shape) != 1 or names is not None):
            raise DataError("A Space of sequences needs one kind and shape=(length,), and no names.")
        if names is None and len(self.shape) == 1 and not sequence:
            names = [f"x{i}" for i in range(self.dim)]
        if names is not None and (len(names) != self.dim or len(set(names)) != self.dim):
            raise DataError(f"A Space of {self.dim} columns needs {self.dim} different names; got {list(names)!r}.")
        self.names: tuple[str, ...] | None = tuple(names) if names is not None else None
        self._tables: dict[tuple[torch.device, torch.dtype], Tables] = {}

    @classmethod
    def measure(cls, x: Tensor, names: Sequence[str] | None = None) -> Space:
        """Return the space of some rows: the kinds that their values show, as `genus.read` measures numbers.

        Args:
            x: (N, *shape), NaN where missing. The columns of a table, (N, D), are measured one by one; the elements of
                anything else share one kind.
            names: of the columns of a table; x0, x1, ... by default.

        Raises:
            DataError: there is no row, a column holds no number, or a value is infinite.

        >>> Space.measure(torch.tensor([[0.0, 1.5], [1.0, 2.25], [1.0, 0.125]]))
        Space([Lattice(0, 1), Real(1.29, 0.88)], shape=(2,))
        """
        if not isinstance(x, Tensor) or x.ndim < 2 or x.numel() == 0:
            raise DataError("Space.measure needs rows as a tensor (N, *shape), at least one.")
        values, single = x.detach().cpu().double().numpy(), x.dtype is torch.float32
        kinds = []
        for i, column in enumerate(values.T if x.ndim == 2 else [values.reshape(-1)]):
            if np.isinf(column).any() or np.isnan(column).all():
                raise DataError(f"Column {i} of x holds {'an infinite value' if np.isinf(column).any() else 'no number'}.")
            kinds.append(measure_numbers(f"x{i}", shortest(column) if single else column, single=single))
        return cls(kinds, shape=tuple(x.shape[1:]), names=names)

    # -- what it is ---------------------------------------------------------------------------------------------------

    @property
    def is_table(self) -> bool:
        return self.names is not None

    @property
    def is_image(self) -> bool:
        """Whether convolutions suit it: pixels of one kind, each of one number."""
        return len(self.shape) in (2, 3) and self.shared is not None and self.feature_dim == self.dim

    @cached_property
    def dtype(self) -> torch.dtype:
        """float32, or float64 where some column's resolution would not survive float32."""
        return torch.float64 if max(kind.magnitude for kind in self.kinds) > Kind.FINEST else torch.float32

    @cached_property
    def has_states(self) -> bool:
        """Whether any coordinate has a state besides the remainder: a category or an atom."""
        return any(isinstance(kind, Category) or kind.states > 1 for kind in self.kinds)

    @cached_property
    def is_discrete(self) -> bool:
        """Whether every coordinate is a category."""
        return all(isinstance(kind, Category) for kind in self.kinds)

    @cached_property
    def has_missing(self) -> bool:
        return any(kind.has_missing for kind in self.kinds)

    @cached_property
    def shared(self) -> Kind | None:
        """The one kind of every coordinate; None where they differ."""
        first = self.kinds[0]
        return first if self.sequence or all(kind is first for kind in self.kinds) else None

    @cached_property
    def element(self) -> Space:
        """The space of one element of a sequence, or of one coordinate where all share a kind."""
        if self.shared is None:
            raise DataError(f"The columns differ in kind, so {self!r} has no single element; select one.")
        return Space([self.shared])

    @property
    def ends(self) -> bool:
        """Whether sequences end: the missing state then means that there is nothing any more."""
        return self.sequence and self.has_missing

    def columns(self, *types: type) -> list[int]:
        """Indices of the coordinates whose kind is one of the types."""
        return [i for i, kind in enumerate(self.kinds) if isinstance(kind, types)]

    def label(self, i: int) -> str:
        """The name of coordinate i, for messages."""
        if self.names is not None:
            return f"column {self.names[i]!r}"
        return f"position {tuple(map(int, np.unravel_index(i, self.shape)))}"

    def index(self, name: str) -> int:
        """The coordinate of the column of that name."""
        if self.names is None or name not in self.names:
            raise DataError(f"There is no column {name!r}; the columns are {', '.join(self.names or ()) or 'not named'}.")
        return self.names.index(name)

    def select(self, columns: Sequence[int]) -> Space:
        """The space of some columns of a table."""
        names = self.names or tuple(f"x{i}" for i in range(self.dim))
        return Space([self.kinds[i] for i in columns], names=[names[i] for i in columns])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Space) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash((self.shape, self.names, tuple(map(repr, self.kinds))))

    def __repr__(self) -> str:
        if self.sequence:
            return f"Space(sequence of {self.kinds[0]!r}, length {'up to ' if self.ends else ''}{self.dim:,})"
        same = len(set(map(repr, self.kinds))) == 1
        kinds = repr(self.kinds[0]) if same else f"[{', '.join(map(repr, self.kinds))}]"
        return f"Space({kinds}, shape={self.shape})"

    def __str__(self) -> str:
        return repr(self) if self.names is None else self.lines(lambda i: repr(self.kinds[i]))

    def lines(self, shown: Callable[[int], str]) -> str:
        """Return a table's columns, one a line, in the words that `shown` has for column i."""
        names = self.names or ()
        width = max(map(len, names))
        lines = [f"  {name:<{width}}  {shown(i)}" for i, name in enumerate(names)]
        return "\n".join([f"Space of {self.dim} column{'s' if self.dim > 1 else ''}", *lines])

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_tables": {}}

    # -- x <-> (state, u) ---------------------------------------------------------------------------------------------

    def tables(self, like: Tensor) -> Tables:
        """The kinds as tensors on `like`'s device and in its dtype; made once for each."""
        key = (like.device, like.dtype)
        if key not in self._tables:
            self._tables[key] = self._make_tables(*key)
        return self._tables[key]

    def _make_tables(self, device: torch.device, dtype: torch.dtype) -> Tables:
        kinds = self.kinds[:1] if self.sequence else self.kinds  # one row of tables serves every length

        def column(value: Any, dtype: torch.dtype = dtype) -> Tensor:
            return torch.tensor([value(kind) for kind in kinds], dtype=torch.float64).to(device, dtype)

        atoms = [[a for a in k.atoms if not math.isnan(a)] for k in kinds]
        depth = max(map(len, atoms), default=0)
        padded = [[a[i] if i < len(a) else math.nan for a in atoms] for i in range(depth)]
        return Tables(
            loc=column(lambda k: k.loc),
            scale=column(lambda k: k.scale),
            low=column(lambda k: getattr(k, "low", -math.inf)),
            high=column(lambda k: getattr(k, "high", math.inf)),
            step=column(lambda k: k.step),
            log_slope=column(lambda k: k.log_slope),
            log_width=column(lambda k: k.log_width),
            states=column(lambda k: k.states, torch.long),
            atoms=torch.tensor(padded, dtype=torch.float64).reshape(depth, len(kinds)).to(device, dtype),
            missing=column(lambda k: k.missing_state, torch.long),
            category=column(lambda k: isinstance(k, Category), torch.bool),
        )

    def split(self, x: Tensor) -> Parts:
        """Return the states and the numbers of x (B, *shape), and what turns a density of these into one of x.

        The charts are affine, u = (x - loc) / scale, so `log_slope` and `log_width` are views of one number for each column.
        """
        flat = x if self.sequence else x.reshape(len(x), self.dim)
        if self.is_discrete:
            none = torch.zeros((1, 1), dtype=flat.dtype, device=x.device).expand(flat.shape)
            return Parts(flat.long(), none, none, none)
        flat = flat if flat.is_floating_point() else flat.to(self.dtype)  # small integers may be kept as such
        table = self.tables(flat)
        u = (flat - table.loc) / table.scale
        log_slope, log_width = table.log_slope.expand(u.shape), table.log_width.expand(u.shape)
        if not self.has_states:
            return Parts(torch.zeros((1, 1), dtype=torch.long, device=x.device).expand(u.shape), u, log_slope, log_width)
        state = torch.where(table.category, flat, 0.0).nan_to_num(0.0).long()
        for i, atom in enumerate(table.atoms):
            # A missing marker always is the last state, so the i-th number among the atoms is state i + 1.
            state = torch.where(flat == atom, i + 1, state)
        state = torch.where(flat.isnan(), table.missing, state)
        return Parts(state, torch.where((state == 0) & ~table.category, u, 0.0), log_slope, log_width)

    def join(self, state: Tensor, u: Tensor) -> Tensor:
        """The inverse of `split`: state (B, D), u (B, D) -> x (B, *shape); lattices are rounded and kept in bounds."""
        u = u.to(torch.float64) if self.dtype == torch.float64 else u
        table = self.tables(u)
        value = u * table.scale + table.loc
        lattice = table.step > 0
        if lattice.any():
            step = torch.where(lattice, table.step, 1.0)
            low = torch.where(lattice, table.low, 0.0)
            snapped = ((value - low) / step).round() * step + low
            value = torch.where(lattice, torch.minimum(torch.maximum(snapped, table.low), table.high), value)
        if self.has_states:
            for i, atom in enumerate(table.atoms):
                value = torch.where((state == i + 1) & ~atom.isnan(), atom, value)
            value = torch.where(table.category, state.to(value.dtype), value)
            value = torch.where(~table.category & (state == table.missing), math.nan, value)
        value = value.to(torch.promote_types(self.dtype, value.dtype))  # a model of more digits keeps them
        return value if self.sequence else value.reshape(-1, *self.shape)

    def check(self, x: Tensor, name: str = "x") -> None:
        """Raise DataError where x is not a batch of this space: wrong shape, a value outside a lattice, NaN or inf."""
        if not isinstance(x, Tensor):
            shape = f"(B, {_dims(self.shape)})"
            raise DataError(f"{name} must be a tensor of shape {shape}; got {type(x).__name__}. Use Codec(space).encode(...).")
        if self.sequence:
            self._check_sequences(x, name)
            return
        if x.ndim != len(self.shape) + 1 or tuple(x.shape[1:]) != self.shape:
            raise DataError(f"{name} must have shape (B, {_dims(self.shape)}); got {tuple(x.shape)}.")
        flat = x.reshape(len(x), self.dim)
        rows = max(1, CHECKED // self.dim)
        for at in range(0, len(flat), rows):
            self._check_rows(flat[at : at + rows], name, at)

    def _check_sequences(self, x: Tensor, name: str) -> None:
        """`check` of sequences (B, T), T any length: every element by itself, and nothing after an end."""
        if x.ndim != 2 or x.shape[1] < 1:
            raise DataError(f"{name} must be sequences of shape (B, T), T at least 1; got {tuple(x.shape)}.")
        rows = max(1, CHECKED // x.shape[1])
        for at in range(0, len(x), rows):
            part = x[at : at + rows]
            try:
                self.element._check_rows(part.reshape(-1, 1), name, 0)
            except DataError:
                for i, row in enumerate(part):  # once more, to say where
                    self.element._check_rows(row[:, None], f"sequence {at + i} of {name}", 0)
                raise
            if self.ends:
                ended = self.split(part).state == self.tables(part).missing
                if bool((ended[:, :-1] & ~ended[:, 1:]).any()):
                    row = int((ended[:, :-1] & ~ended[:, 1:]).any(1).nonzero()[0])
                    raise DataError(f"{name} goes on after its end in row {at + row}; an end must be followed by ends alone.")

    def _check_rows(self, flat: Tensor, name: str, at: int) -> None:
        """`check` of flat rows (B, D), the first of which is row number `at`."""
        table = self.tables(flat)
        least = torch.where(table.category, 0.0, table.low - table.step / 2)
        most = torch.where(table.category, table.states - 0.5, table.high + table.step / 2)
        # Nearly always the extremes tell that all is well; NaN and inf, which are among them, need a closer look.
        low, high = flat.amin(0), flat.amax(0)
        if bool(((low >= least) & (high <= most) & low.isfinite() & high.isfinite()).all()):
            return
        bad = torch.where(flat.isnan(), (table.missing < 0) | table.category, flat.isinf())
        outside = (flat < least) | (flat > most)
        for atom in table.atoms:
            outside &= flat != atom
        bad |= outside
        if bad.any():
            row, column = (int(i) for i in bad.nonzero()[0])
            kind = self.kinds[column]
            if bool(flat[row, column].isnan()) and not self.sequence:
                raise DataError(
                    f"{name} lacks a value in {self.label(column)}, row {at + row}: it holds nan, and none was missing there in"
                    " training; log_marginal(x) leaves it out and impute(x) draws it, where the family can."
                )
            raise DataError(
                f"{name} holds {flat[row, column].item():g} in {self.label(column)}, row {at + row}, which is outside {kind!r};"
                " read the data with space=, or widen the kind with kinds=."
            )

    # -- what a network sees ------------------------------------------------------------------------------------------

    @cached_property
    def feature_dim(self) -> int:
        """The number of features a network sees for one datum."""
        return sum((k.states if k.states > 1 else 0) + (not isinstance(k, Category)) for k in self.kinds)

    @cached_property
    def _layout(self) -> tuple[Tensor, Tensor, Tensor]:
        """Feature positions: of the remainders (with their columns), and of each column's one-hot (B, D) start; -1 if none."""
        rest = torch.tensor(self.columns(Real, Lattice), dtype=torch.long)
        start, at = [], len(rest)
        for kind in self.kinds:
            start.append(at if kind.states > 1 else -1)
            at += kind.states if kind.states > 1 else 0
        hot = torch.tensor([i for i, s in enumerate(start) if s >= 0], dtype=torch.long)
        return rest, hot, torch.tensor(start)[hot]

    def columns_with_states(self) -> list[int]:
        """The coordinates with several states, in the order of `one_hots`."""
        return self._layout[1].tolist()

    def one_hots(self) -> list[slice]:
        """The features that are one-hot vectors, column by column: first come the remainders, then these."""
        _, hot, start = self._layout
        return [slice(s, s + self.kinds[i].states) for i, s in zip(hot.tolist(), start.tolist(), strict=True)]

    def features(self, x: Tensor) -> Tensor:
        """x (B, *shape) -> (B, feature_dim): standardised remainders, then a one-hot of every column with several states."""
        rest, hot, start = (t.to(x.device) for t in self._layout)
        state, u, *_ = self.split(x)
        if not len(hot) and len(rest) == self.dim:
            return u
        out = torch.zeros(len(x), self.feature_dim, dtype=u.dtype, device=x.device)
        out[:, : len(rest)] = u if len(rest) == self.dim else u[:, rest]
        if len(hot):
            out.scatter_(1, state[:, hot] + start, 1.0)
        return out

    def from_features(self, f: Tensor) -> Tensor:
        """The inverse of `features`; a one-hot may be soft, its largest entry wins."""
        rest, hot, _ = (t.to(f.device) for t in self._layout)
        state = torch.zeros(len(f), self.dim, dtype=torch.long, device=f.device)
        u = torch.zeros(len(f), self.dim, dtype=f.dtype, device=f.device)
        u[:, rest] = f[:, : len(rest)]
        for column, where in zip(hot.tolist(), self.one_hots(), strict=True):
            state[:, column] = f[:, where].argmax(1)
        return self.join(state, u)

    # -- JSON ---------------------------------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """Plain dictionaries and lists; `from_json` is the inverse."""
        shared = len(set(map(repr, self.kinds))) == 1 and len(set(self.kinds)) == 1
        kinds = self.kinds[:1] if shared else self.kinds
        return {
            "kinds": [kind.to_json() for kind in kinds],
            "shape": list(self.shape),
            "names": list(self.names) if self.names is not None else None,
        } | ({"sequence": True} if self.sequence else {})

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Space:
        kinds = [kind_from_json(kind) for kind in data["kinds"]]
        return cls(kinds, data["shape"], data["names"], data.get("sequence", False))


def _dims(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))
