"""Find what samples lack, or have although no real row does: levels, functions, pairs of values, tails, digits, repeats."""

from __future__ import annotations

import itertools
from collections.abc import Collection
from typing import NamedTuple

import numpy as np
from torch import Tensor

from genus.evaluation.classifiers import canonical
from genus.evaluation.copying import holm
from genus.evaluation.figures import percent, share_text
from genus.evaluation.findings import Finding
from genus.evaluation.functions import Broken, broken_functions
from genus.kinds.steps import shortest_decimals
from genus.space import Category, Lattice, Space

__all__ = ["column_name", "find_faults"]

DOUBT = 1e-3  # probability, after Holm's correction, above which nothing is said
RARE = 0.1  # of what is expected, below which something hardly ever happens
EXPECTED = 5.0  # rows of a pair of values under independence, below which its absence says nothing
STATES = 40  # values of a column of which pairs are counted
PAIRS = 500  # pairs of columns, at most
TAILS = (0.005, 0.01, 0.025)  # shares of the real rows beyond the ends that are compared
REPEATED = 0.05  # of the samples beyond the share of real rows, from which on they repeat one another
FEW = 8  # real rows in a tail, or with a digit, below which nothing is said
SHOWN = 3  # values that one sentence names
ROWS = 50_000  # real rows that are compared
UNITS = [step * 10.0**k for k in range(3, -6, -1) for step in (5, 2, 1)]  # to multiples of which numbers may be rounded


class Trace(NamedTuple):
    """Hold one thing that was compared: its name, how many real rows and samples have it, and a probability.

    Of several that are `one_of` the same, a column's units or the quantiles of one tail, only the worst is named.
    """

    name: str
    real: int
    drawn: int
    p: float
    one_of: str = ""


def find_faults(space: Space, samples: Tensor, seen: Tensor, unseen: Tensor) -> list[Finding]:
    """Return the flaws of samples of a table, by exact tests whose probabilities are corrected for their number.

    - levels: one that real rows have and samples hardly ever have, by Fisher's exact test;
    - functions: a column that follows from another in all training rows, and in more samples than held-out rows does not;
    - pairs: two values that stand together at most a tenth as often as if they were independent, Husband and Female say, and
      that samples have more often than real rows, unless a function says so;
    - tails: fewer samples than real rows beyond the outer quantiles of a number;
    - digits: fewer samples than real rows that are no multiples of a unit such as 1,000, 5 or .01, since they were rounded;
    - repeats: samples that are equal to one another, far more than real rows are.

    Args:
        space: a table's.
        samples: (M, D).
        seen: (N, D), training rows, of which functions are found.
        unseen: (K, D), held-out rows, which say how often real rows break these; all else is compared with both.

    >>> import torch
    >>> pairs = torch.tensor([[0.0, 0.0], [1.0, 1.0], [2.0, 0.0]]).repeat(200, 1)
    >>> table = Space([Category(("Husband", "Wife", "Son")), Category(("Male", "Female"))], names=["is", "sex"])
    >>> print(find_faults(table, torch.cat([pairs[:100], torch.tensor([[0.0, 1.0]] * 20)]), pairs, pairs)[0])
    flaw: sex is a function of is in all 1,200 real rows; 17 % of the samples break it
    """
    if not space.is_table or space.sequence or not len(samples):
        return []
    drawn, held, train = (canonical(space, x) for x in (samples, unseen[:ROWS], seen[:ROWS]))
    there = np.concatenate([held, train])[:ROWS]
    broken = _sure(broken_functions(space, train, held, drawn))
    told = {frozenset((one.column, one.of)) for one in broken}
    digits, tails = _digits(space, there, drawn), _tails(space, there, drawn)
    cases = [
        ("levels", "levels that are hardly ever drawn", _levels(space, there, drawn)),
        ("pairs", "pairs that real rows hardly have", _pairs(space, there, drawn, told)),
        ("tails", "tails are cut", tails),
        ("digits", "numbers are rounded, nearly all to multiples", digits),
    ]
    found = [_finding(test, words, traces, len(there), len(drawn)) for test, words, traces in cases]
    functions = _functions_finding(space, broken, train, held, drawn, len(seen) + len(unseen))
    return [finding for finding in (functions, *found, _repeats(there, drawn)) if finding is not None]


def _sure(broken: list[Broken]) -> list[Broken]:
    """Return the broken functions that chance does not explain, of two columns that follow from each other the worse one."""
    sure = [one for one, p in zip(broken, holm([one.p for one in broken]), strict=True) if p < DOUBT]
    worst: dict[frozenset[int], Broken] = {}
    for one in sorted(sure, key=lambda one: -one.drawn):
        worst.setdefault(frozenset((one.column, one.of)), one)
    return [*worst.values()]


def _functions_finding(
    space: Space, broken: list[Broken], seen: np.ndarray, held: np.ndarray, drawn: np.ndarray, rows: int
) -> Finding | None:
    """Return a flaw that names the functions that are broken; `rows` are all real ones, of which some were compared."""
    if not broken:
        return None
    compared, clauses = len(seen) + len(held), []
    for one in broken[:SHOWN]:
        where = f"all {compared:,} real rows" + (" that were compared" if compared < rows else "")
        if one.held:
            where = f"all {len(seen):,} training rows, and in all but {share_text(one.held / len(held))} of the held-out rows"
        said = f"{column_name(space, one.column)} is a function of {column_name(space, one.of)} in {where}"
        clauses.append(f"{said}; {share_text(one.drawn / len(drawn))} of the samples break it")
    more = [f"{len(broken) - SHOWN} more break as well"] if len(broken) > SHOWN else []
    shares = {f"{column_name(space, one.of)} -> {column_name(space, one.column)}": one.drawn / len(drawn) for one in broken}
    return Finding("flaw", "functions", "; ".join(clauses + more), shares)


def _finding(test: str, words: str, traces: list[Trace], real: int, drawn: int) -> Finding | None:
    sure = [t for t, p in zip(traces, holm([t.p for t in traces]), strict=True) if p < DOUBT]
    worst: dict[str, Trace] = {}
    if test != "digits":  # which stand from coarse to fine, and the coarsest says it
        sure.sort(key=lambda trace: -abs(trace.drawn / drawn - trace.real / real))
    for trace in sure:
        worst.setdefault(trace.one_of or trace.name, trace)
    if not worst:
        return None
    kept = list(worst.values())
    shown = [
        f"{t.name} ({share_text(t.drawn / drawn)} of samples, {share_text(t.real / real)} of real rows)" for t in kept[:SHOWN]
    ]
    more = [f"{len(kept) - SHOWN} more"] if len(kept) > SHOWN else []
    return Finding("flaw", test, f"{words}: {', '.join(shown + more)}", {t.name: t.drawn / drawn for t in kept})


def _repeats(real: np.ndarray, drawn: np.ndarray) -> Finding | None:
    """Return a flaw where many more samples than real rows, of equally many, are equal to one before them."""
    n, rng = min(len(real), len(drawn)), np.random.default_rng(0)
    usual, share = (1 - len(np.unique(rows[rng.permutation(len(rows))[:n]], axis=0)) / n for rows in (real, drawn))
    p = _fewer(round(n * share), round(n * usual), n, n)[0]
    if share - usual < REPEATED or p >= DOUBT:
        return None
    said = f"{percent(share)} of the samples repeat another one, and {percent(usual)} of as many real rows"
    return Finding("flaw", "repeats", said, {"samples": share, "real": usual})


def _fewer(real: np.ndarray | int, drawn: np.ndarray | int, n: int, m: int) -> np.ndarray:
    """Return the probability that samples have so few of what real rows have, Fisher's exact test of one side."""
    from scipy.stats import hypergeom

    real, drawn = np.atleast_1d(real), np.atleast_1d(drawn)
    return hypergeom.cdf(drawn, n + m, real + drawn, m)


def _levels(space: Space, real: np.ndarray, drawn: np.ndarray) -> list[Trace]:
    traces = []
    for i, kind in enumerate(space.kinds):
        if not isinstance(kind, Category):
            continue
        a, b = (np.bincount(rows[:, i].astype(np.int64), minlength=kind.states) for rows in (real, drawn))
        p = np.where(b * len(real) <= RARE * a * len(drawn), _fewer(a, b, len(real), len(drawn)), 1.0)
        for code in np.flatnonzero(a):
            traces.append(
                Trace(f"{column_name(space, i)} {_level(kind.levels[code])}", int(a[code]), int(b[code]), float(p[code]))
            )
    return traces


def _pairs(space: Space, real: np.ndarray, drawn: np.ndarray, told: Collection[frozenset[int]]) -> list[Trace]:
    """Return the pairs of values that real rows hardly have, but of the two columns of a function that is named."""
    from scipy.stats import hypergeom

    codes = {i: found for i in range(space.dim) if (found := _coded(space, i, real, drawn)) is not None}
    traces, n, m = [], len(real), len(drawn)
    for i, j in itertools.islice(itertools.combinations(codes, 2), PAIRS):
        if frozenset((i, j)) in told:
            continue
        (a, b, first), (c, d, second) = codes[i], codes[j]
        shape = len(first), len(second)
        there, here = (np.bincount(x * shape[1] + y, minlength=shape[0] * shape[1]).reshape(shape) for x, y in ((a, c), (b, d)))
        expected = there.sum(1)[:, None] * there.sum(0) / n
        at = np.argwhere((expected >= EXPECTED) & (there <= RARE * expected))
        if not len(at):
            continue
        r, s = there[tuple(at.T)], here[tuple(at.T)]
        p = hypergeom.sf(s - 1, n + m, r + s, m)
        for (k, h), x, y, doubt in zip(at, r, s, p, strict=True):
            name = f"{column_name(space, i)} {first[k]} & {column_name(space, j)} {second[h]}"
            traces.append(Trace(name, int(x), int(y), float(doubt)))
    return traces


def _coded(space: Space, i: int, real: np.ndarray, drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[str]] | None:
    """Return the values of a column of few values as codes, of real rows and of samples, and their names."""
    kind, a, b = space.kinds[i], real[:, i], drawn[:, i]
    if isinstance(kind, Category):
        if kind.states > STATES:
            return None
        return a.astype(np.int64), b.astype(np.int64), [_level(level) for level in kind.levels]
    if not isinstance(kind, Lattice) or len(values := np.unique(a[~np.isnan(a)])) > STATES or not len(values):
        return None
    codes = []
    for x in (a, b):
        place = np.searchsorted(values, np.nan_to_num(x, nan=np.inf)).clip(0, len(values) - 1)
        codes.append(np.where(values[place] == x, place, len(values)))
    return codes[0], codes[1], [*(f"{value:g}" for value in values), "otherwise"]


def _tails(space: Space, real: np.ndarray, drawn: np.ndarray) -> list[Trace]:
    traces = []
    for i, kind in enumerate(space.kinds):
        if isinstance(kind, Category):
            continue
        a, b = (rows[:, i][~np.isnan(rows[:, i])] for rows in (real, drawn))
        if len(a) < 100 or not len(b):
            continue
        for share, (word, sign) in itertools.product(TAILS, (("below", -1), ("above", 1))):
            end = np.quantile(sign * a, 1 - share)
            r, s = int((sign * a > end).sum()), int((sign * b > end).sum())
            if r >= FEW:
                p = float(_fewer(r, s, len(a), len(b))[0]) if s * len(a) <= 2 * RARE * r * len(b) else 1.0
                traces.append(
                    Trace(f"{column_name(space, i)} {word} {sign * end:g}", r, s, p, f"{column_name(space, i)} {word}")
                )
    return traces


def _digits(space: Space, real: np.ndarray, drawn: np.ndarray) -> list[Trace]:
    traces = []
    for i, kind in enumerate(space.kinds):
        if isinstance(kind, Category):
            continue
        a, b = (shortest_decimals(rows[:, i].astype(np.float32)) for rows in (real, drawn))
        a, b = a[np.isfinite(a)], b[np.isfinite(b)]
        for unit in UNITS if len(a) and len(b) else ():
            if unit > np.ptp(a):  # what is smaller altogether is not rounded
                continue
            r, s = (int((np.abs(x - np.round(x / unit) * unit) > 1e-3 * unit).sum()) for x in (a, b))
            if r >= FEW:
                p = float(_fewer(r, s, len(a), len(b))[0]) if s * len(a) <= RARE * r * len(b) else 1.0
                traces.append(Trace(f"{column_name(space, i)} to {unit:g}", len(a) - r, len(b) - s, p, column_name(space, i)))
    return traces


def column_name(space: Space, i: int) -> str:
    """Return the name of column i, or "x3" where columns have none."""
    return (space.names or ())[i] if space.names else f"x{i}"


def _level(level: object) -> str:
    return "missing" if level is None else str(level).strip()
