"""The search for relations between columns that hold in every row, and that chance does not explain.

Sums come first, then formulas, then functions, then orders, then sums of the gaps that orders leave: a stay's nights are the
gap between its dates. Whatever is found is run forward and backward over all rows before it is believed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Mapping, Sequence

import numpy as np
import pyarrow as pa

from genus.codec import Codec
from genus.codec.absence import Absent, Together
from genus.codec.arrow import is_blank, to_numbers, without_dictionary
from genus.codec.constraints import Constraint
from genus.codec.formulas import Formula
from genus.codec.functions import Function
from genus.codec.onehot import OneHot
from genus.codec.relations import Order, Sum, exact_numbers
from genus.codec.rewrites import BrokenRelation, Rewrite, run_backward, run_forward
from genus.data.candidates import FEWEST_ROWS, MOST_COLUMNS, Candidate
from genus.data.declared import Declared
from genus.data.dummies import declared_dummies, find_dummies, is_of_dummies
from genus.data.formulas import declared_formula, dependents_first, find_formulas, is_near_constraint
from genus.data.functions import find_functions
from genus.data.measure import measure
from genus.data.orders import add_order, find_orders, place_orders
from genus.data.sums import find_sums
from genus.data.together import ACCEPTED, find_together
from genus.errors import DataError
from genus.kinds import Kind, Lattice, Real, Time
from genus.kinds.time import NANOSECONDS
from genus.space import Space

__all__ = ["find_relations", "relate"]

BEYOND = 0.002  # of rows with shuffled columns, at least, that leave an end of a replaced column which is kept,
TOUCHING = 5, 0.005  # and rows, and a share of all, at least, that lie at it


def relate(
    codec: Codec,
    table: pa.Table,
    search: bool,
    constraints: Sequence[str],
    target: str | None,
    fixed: Container[str] = (),
    chart: str = "auto",
    unknown: Callable[[], Collection[str]] = frozenset,
) -> Codec:
    """Return the codec of a table with the relations that were found between its columns, and those that are declared.

    Args:
        codec: of the table, without relations.
        table: the rows.
        search: look for relations that are not declared.
        constraints: declared ones, such as "start <= end".
        target: a column that must stay a column of x.
        fixed: columns whose kind a person gave, which stay as they are.
        chart: of gaps that take the place of columns, as `measure` has it.
        unknown: returns the columns whose blanks stand for unknown values, which a function may fill.

    Raises:
        DataError: a constraint that cannot be understood, or that a row breaks.
    """
    names = codec.space.names or ()
    kinds = dict(zip(names, codec.space.kinds, strict=True))
    table = table.select(list(names))
    declared: list[Constraint | str] = []
    together: list[Rewrite] = []
    for text in constraints:
        blanks = Together.declared(text, names) or Absent.declared(text, names)
        if blanks is None:
            declared.append(text if is_near_constraint(text, names) or is_of_dummies(text, names) else Constraint(text, names))
        else:
            together.append(blanks)
    free = {name: kind for name, kind in kinds.items() if name not in fixed}
    found = find_relations(table, free, target, declared, search, _besides(unknown, together))
    rewrites: list[Rewrite] = [*together, *(one for one in found if one not in together)]
    if not rewrites:
        return codec
    after, _, reasons = run_forward(rewrites, table)
    if reasons:
        raise BrokenRelation(reasons, "drop or mend such rows, or leave the constraint out")
    for order in rewrites:
        if isinstance(order, Order):
            kinds[order.gap] = _gap_kind(order.gap, after.column(order.gap), kinds[order.column], chart)
        elif isinstance(order, OneHot):
            kinds[order.into] = measure(order.into, after.column(order.into), "category")
        elif isinstance(order, Formula) and order.rest:
            kinds[order.rest] = measure(order.rest, after.column(order.rest), "lattice", chart=chart)
    kinds = {name: kinds[name] for name in after.column_names}
    space = Space(list(kinds.values()), names=list(kinds), sums=_replaced(rewrites, kinds))
    return Codec(space, codec.form, (*codec.rewrites, *rewrites), codec.names or tuple(names))


def _replaced(rewrites: Sequence[Rewrite], kinds: Mapping[str, Kind]) -> list[dict[str, float]]:
    """Return the columns that gaps replace as sums of the space's columns: for each their factors, in the unit of the first.

    There is none of a column that is above several others, since the nearest is another one in each row, nor of one that is
    counted from dates in months, which differ in length.
    """
    made = {name: {name: 1.0} for name, kind in kinds.items() if isinstance(kind, Real | Lattice)}
    found = []
    for order in reversed(rewrites):  # a gap may be one to a column that a gap replaces itself
        if isinstance(order, Order) and len(order.others) == 1 and {order.gap, *order.others} <= made.keys():
            base = made[order.others[0]]
            unit = kinds[next(iter(base))]
            if not isinstance(unit, Time) or unit.unit in NANOSECONDS:
                factor = order.days * NANOSECONDS["D"] / NANOSECONDS[unit.unit] if isinstance(unit, Time) else 1.0
                made[order.column] = base | {order.gap: factor if order.above else -factor}
                found.append(made[order.column])
    return found


def _gap_kind(name: str, gap: pa.ChunkedArray, replaced: Kind, chart: str) -> Kind:
    """Return the kind of a gap, of the same base measure as the column that it replaces, so that densities are comparable."""
    try:
        return measure(name, gap, "lattice" if isinstance(replaced, Lattice) else "real", chart=chart)
    except DataError:  # gaps between numbers of different lattices may lie on none
        return measure(name, gap, chart=chart)


def find_relations(
    table: pa.Table,
    kinds: Mapping[str, Kind],
    target: str | None = None,
    declared: Sequence[Constraint | str] = (),
    search: bool = True,
    unknown: Callable[[], Collection[str]] = frozenset,
) -> list[Rewrite]:
    """Return the relations that hold in every row of a table, in the order in which a codec runs them.

    Args:
        table: the rows.
        kinds: of the columns among which to search.
        target: a column that must stay a column of x.
        declared: relations that must hold; those that no rewrite represents are kept by rejection. Texts are formulas that
            hold but for rounding, "total ~ net + tax".
        search: look for others too, in a table of 50 rows or more and of 64 columns or fewer.
        unknown: as of `relate`.

    >>> days = {"start": [*range(30)] * 2, "end": [i % 30 + i % 7 for i in range(60)]}
    >>> [relation.describe() for relation in find_relations(pa.table(days), dict.fromkeys(days, Lattice(0, 40)))]
    ['start <= end']

    Raises:
        DataError: a declared function has two values for one key.
    """
    search = search and table.num_rows >= FEWEST_ROWS and 1 < len(kinds) <= MOST_COLUMNS
    columns = {name: Candidate.of(name, kind, table.column(name)) for name, kind in kinds.items()} if search or declared else {}
    rejected: list[Rewrite] = [*find_together(list(columns.values()))] if search else []
    unknown = _besides(unknown, rejected)
    wanted = Declared.of([one for one in declared if isinstance(one, Constraint)], columns, target, unknown)
    numbers = [c for c in columns.values() if c.is_number]
    found: list[Rewrite] = [*_proven([*wanted.sums, *(find_sums(numbers, target) if search else [])], table)]
    sums = found
    found = [_one_hot(one, sums, columns, target) for one in sums]
    gone = {r.column for r in found if isinstance(r, Sum)}.union(*(r.columns for r in found if isinstance(r, OneHot)))
    texts = [one for one in declared if isinstance(one, str)]
    groups = [group for one in texts if (group := declared_dummies(one, columns)) is not None]
    if search:
        free = {name for group in groups for name in group.columns} | gone
        groups += find_dummies([c for name, c in columns.items() if name not in free], target)
    found += groups
    gone |= {name for group in groups for name in group.columns}
    formulas = [declared_formula(one, columns, target) for one in texts if is_near_constraint(one, [*columns])]
    made = {one.column for one in formulas}
    more = find_formulas([c for c in numbers if c.name not in gone], target) if search else []
    formulas += [one for one in more if one.column not in made]
    found += _proven(dependents_first(formulas), _after(found, table))
    gone |= {one.column for one in found if isinstance(one, Formula)}
    left = [c for name, c in columns.items() if name not in gone]
    functions = find_functions(left, target, unknown) if search else []
    found += _proven([*wanted.functions, *functions], _after(found, table), unknown)
    gone |= {r.column for r in found if isinstance(r, Function)}
    orders = find_orders([c for c in numbers if c.name not in gone]) if search else {}
    edges: dict[tuple[str, str], bool] = {}
    # A time of day plus a gap may be past midnight, and a value of a list no value of it: their order is kept by rejection.
    clocks = {name for name, column in columns.items() if pa.types.is_time(column.data.type)}
    lost = [one for one in wanted.orders if {*one[:2]} & (gone | clocks) or not add_order(edges, *one)]
    for (low, high), strict in orders.items():
        by_gap = low not in clocks and not any(_is_list(kinds[name]) for name in (low, high))
        if not by_gap and (low, high, strict) not in wanted.orders:
            rejected.append(Constraint.order(low, high, strict, tuple(table.column_names)))
        elif low not in clocks and add_order(edges, low, high, strict):
            edges[low, high] = edges[low, high] or strict
    found += _proven(place_orders(columns, edges, target), _after(found, table))
    if search:
        found += _sums_of_gaps(found, table, kinds, target)
    rejected += _ends(found, table, kinds)
    return [*wanted.unkept([*sums, *found], lost), *rejected, *found]


def _besides(unknown: Callable[[], Collection[str]], together: Sequence[Rewrite]) -> Callable[[], Collection[str]]:
    """Return a function of the unknown columns, without those whose blanks stand where those of others do."""
    return lambda: {*unknown()} - {name for one in together for name in one.reads}


def _is_list(kind: Kind) -> bool:
    """Return whether a kind has a few values, and none between."""
    return isinstance(kind, Lattice) and kind.size == 1 and len(kind.numbers) > 0


def _one_hot(one: Rewrite, found: Sequence[Rewrite], columns: Mapping[str, Candidate], target: str | None) -> Rewrite:
    """Return a sum of 1 whose columns hold 0 and 1 as columns of which one is 1; another relation as it is."""
    if not isinstance(one, Sum) or one.plus or len(one.minus) < 2 or one.constant != 1 or target in (one.column, *one.minus):
        return one
    members = {one.column, *one.minus}
    elsewhere = {name for other in found if other is not one for name in (getattr(other, "column", ""), *other.reads)}
    if members & elsewhere or any(not np.isin(columns[m].values, (0, 1, np.nan)).all() for m in members):
        return one
    names = tuple(name for name in columns if name in members)
    return OneHot(names, f"{names[0]} to {names[-1]}", tuple(columns[name].dtype for name in names))


def _ends(found: Sequence[Rewrite], table: pa.Table, kinds: Mapping[str, Kind]) -> list[Rewrite]:
    """Return the constraints that keep replaced columns within the ends of their kinds: what is owned is 0 or 1, not 2.

    An end is kept where several rows lie at it, and some would be beyond it if the columns that stand for it were shuffled; and
    always the sign of a difference, such as what is left of 100.
    """
    replaced = [r for r in found if isinstance(r, Sum | Order | Formula) and isinstance(kinds.get(r.column), Real | Lattice)]
    if not replaced:
        return []
    after, rng = _after(found, table), np.random.default_rng(0)
    shuffled = [column.take(pa.array(rng.permutation(table.num_rows))) for column in after.columns]
    drawn = run_backward(found, pa.table(shuffled, names=after.column_names))
    kept: list[Rewrite] = []
    inside = np.ones(table.num_rows, dtype=bool)
    for rewrite in replaced:
        values, seen = to_numbers(drawn.column(rewrite.column)), to_numbers(table.column(rewrite.column))
        least = max(TOUCHING[0], TOUCHING[1] * len(seen))
        both = zip((">=", "<="), _range(kinds[rewrite.column]), strict=True)
        ends = [(s, end) for s, end in both if (seen == end).sum() >= least and _beyond(values, s, end).mean() >= BEYOND]
        subtracts = isinstance(rewrite, Sum | Formula) and rewrite.subtracts
        if subtracts and np.nanmin(seen) >= 0 and not any(sign == ">=" for sign, _ in ends):
            ends.append((">=", 0.0))
        for sign, end in ends:
            if (inside & ~_beyond(values, sign, end)).mean() >= ACCEPTED:
                inside &= ~_beyond(values, sign, end)
                kept.append(Constraint.end(rewrite.column, sign, end, tuple(table.column_names)))
    return kept


def _beyond(values: np.ndarray, sign: str, end: float) -> np.ndarray:
    """Return which values (N,) are beyond an end that they should be above, ">=", or below, "<="."""
    return values < end if sign == ">=" else values > end


def _range(kind: Kind) -> tuple[float, float]:
    """Return the least and the greatest number of a kind of numbers."""
    low, high = (kind.low, kind.high) if isinstance(kind, Lattice) else kind.chart.support
    return min([low, *kind.numbers]), max([high, *kind.numbers])


def _after(rewrites: Sequence[Rewrite], table: pa.Table) -> pa.Table:
    for rewrite in rewrites:
        table, _ = rewrite.forward(table)
    return table


def _proven(
    rewrites: Sequence[Sum | Function | Order | Formula], table: pa.Table, unknown: Callable[[], Collection[str]] = frozenset
) -> list[Rewrite]:
    """Return the rewrites that every row obeys, and that give back what they took, perhaps with unknown values filled in."""
    kept: list[Rewrite] = []
    for rewrite in rewrites:
        if not {rewrite.column, *rewrite.reads} <= set(table.column_names):
            continue
        after, broken = rewrite.forward(table)
        if broken.any():
            continue
        back = rewrite.backward(after)
        changed = {name for name in table.column_names if not _same(table.column(name), back.column(name))}
        if changed and changed <= {*unknown()}:
            there = {name: pa.array(~is_blank(table.column(name))) for name in changed}
            changed = {n for n in changed if not _same(table.column(n).filter(there[n]), back.column(n).filter(there[n]))}
        if not changed:
            kept.append(rewrite)
            table = after
    return kept


def _same(first: pa.ChunkedArray, second: pa.ChunkedArray) -> bool:
    """Return whether two columns hold the same values; numbers of all digits may differ in the last bit."""
    if first is second or first.equals(second):
        return True
    if pa.types.is_dictionary(first.type):
        return without_dictionary(first).equals(without_dictionary(second))
    if not pa.types.is_floating(first.type):
        return False
    a, b = exact_numbers(first), exact_numbers(second)
    return bool(np.allclose(a, b, rtol=1e-12 if first.type.bit_width == 64 else 1e-6, atol=0, equal_nan=True))


def _sums_of_gaps(found: Sequence[Rewrite], table: pa.Table, kinds: Mapping[str, Kind], target: str | None) -> list[Rewrite]:
    """Return the sums in which a gap occurs that an order has put in place of a column."""
    gaps = frozenset(one.gap for one in found if isinstance(one, Order))
    if not gaps:
        return []
    table = _after(found, table)
    columns = [
        Candidate.of(name, kinds.get(name, Lattice(0, 1)), table.column(name))
        for name in table.column_names
        if name in {*kinds, *gaps}
    ]
    sums = find_sums([c for c in columns if c.is_number], target, gaps)
    return _proven([one for one in sums if one.column not in gaps], table)
