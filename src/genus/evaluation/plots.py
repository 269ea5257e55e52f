"""Pictures of a report: real rows beside samples of every family, and learning curves, as inline SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from torch import Tensor

from genus.codec import Codec
from genus.evaluation.svg import COLOURS, INK, colour, figure_of, styled, svg
from genus.space import Category, Kind, Lattice, Space, Time

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

__all__ = [
    "Marginal",
    "associations",
    "curves",
    "heat_map",
    "marginal",
    "marginals",
    "pairs",
    "plane",
    "scatter",
]

POINT = "#4f8fd6"  # of a point in a bitmap, which cannot follow the page: legible on white and on black
DASHES = ("-", (0, (5, 1.5)), (0, (2, 1.2)), (0, (6, 1.5, 1.5, 1.5)))  # colour is never the only difference
MARKERS = ("o", "D", "s", "^", "v", "P", "X", "*")
LEVELS = 7  # shown of a category; the others are one more
BINS = 32
POINTS = 600

# -- one column -----------------------------------------------------------------------------------------------------------


class Marginal(NamedTuple):
    """Hold the shares of one column, of the real rows first and then of every family.

    Args:
        states: names of levels, or of atoms where the column is numeric.
        shares: (1 + F, S) of those states.
        edges: (B + 1,) of the histogram of the continuous part; None for a category.
        bins: (1 + F, B) shares of the rows in every bin; with `shares` at most 1.
        whole: whether the continuous part is of whole numbers.
        known: the kind of the column, where the numbers count time.
    """

    states: list[str]
    shares: np.ndarray
    edges: np.ndarray | None
    bins: np.ndarray
    whole: bool = False
    known: Time | None = None

    @property
    def difference(self) -> float:
        """Return the total variation between real rows and samples, the mean over families."""
        both = np.concatenate([self.shares, self.bins], axis=1)
        return float(np.abs(both[1:] - both[0]).sum(1).mean() / 2) if len(both) > 1 else 0.0


def level_text(level: Any, width: int = 16) -> str:
    """Return a level or an atom as text for an axis."""
    if level is None or (isinstance(level, float) and math.isnan(level)):
        return "missing"
    text = f"{level:.6g}" if isinstance(level, float) else " ".join(str(level).split())
    return text if len(text) <= width else f"{text[: width - 1]}…"


def marginal(kind: Kind, columns: Sequence[np.ndarray]) -> Marginal:
    """Return the shares of one column: columns[0] is real, the others are families' samples, each (n,)."""
    if isinstance(kind, Category):
        shares = np.stack([np.bincount(c.astype(int), minlength=kind.states) / max(len(c), 1) for c in columns])
        order = np.argsort(-shares[0], kind="stable")
        shown, others = (order[:LEVELS], order[LEVELS:]) if len(order) > LEVELS + 1 else (order, order[:0])
        states = [level_text(kind.levels[i]) for i in shown]
        shares_shown = shares[:, shown]
        if len(others):
            states.append(f"{len(others)} others")
            shares_shown = np.concatenate([shares_shown, shares[:, others].sum(1, keepdims=True)], axis=1)
        return Marginal(states, shares_shown, None, np.zeros((len(columns), 0)))
    atoms = [a for a in kind.atoms if any((np.isnan(c) if math.isnan(a) else c == a).any() for c in columns)][-3:]
    is_atom = [[np.isnan(c) if math.isnan(a) else (c == a) | (c == np.float32(a)) for a in atoms] for c in columns]
    shares = np.array([[m.mean() if len(m) else 0.0 for m in masks] for masks in is_atom]).reshape(len(columns), len(atoms))
    rest = [c[~np.logical_or.reduce([*masks, np.isnan(c)])] for c, masks in zip(columns, is_atom, strict=True)]
    edges = _edges(kind, rest[0] if len(rest[0]) else np.concatenate([*rest, np.zeros(1)]))
    bins = np.stack([np.histogram(r, edges)[0] / max(len(c), 1) for r, c in zip(rest, columns, strict=True)])
    whole = isinstance(kind, Lattice) and kind.low == round(kind.low) and kind.step == round(kind.step)
    time = kind if isinstance(kind, Time) else None
    names = [level_text(a) if time is None or math.isnan(a) else time.text(a) for a in atoms]
    return Marginal(names, shares, edges, bins, whole, time)


def _edges(kind: Kind, real: np.ndarray) -> np.ndarray:
    low, high = np.quantile(real, [0.002, 0.998], method="nearest")  # values that occur, so of the lattice
    if isinstance(kind, Lattice):  # a bin holds the same number of lattice values as every other
        step = kind.step * max(1, math.ceil((high - low) / kind.step / BINS))
        low -= kind.step / 2
        return low + step * np.arange(math.ceil((high - low) / step + 0.5) + 1)
    margin = 0.04 * (high - low) or max(abs(high), 1.0) * 0.1
    return np.linspace(low - margin, high + margin, BINS + 1)


def marginals(codec: Codec, real: Tensor, samples: dict[str, Tensor], most: int = 24) -> list[tuple[str, str]]:
    """Return (name, SVG) of at most `most` columns, those in which samples differ most from real rows, in their order."""
    space = codec.space
    tensors = [x.double().reshape(len(x), space.dim).numpy() for x in (real, *samples.values())]
    each = [marginal(kind, [t[:, i] for t in tensors]) for i, kind in enumerate(space.kinds)]
    chosen = sorted(sorted(range(space.dim), key=lambda i: -each[i].difference)[:most])
    names = space.names or tuple(map(str, range(space.dim)))
    alt = f"Distribution of {{}}: real rows and samples of {', '.join(samples) or 'no family'}"
    return [(names[i], _draw_marginal(each[i], alt.replace("{}", names[i]))) for i in chosen]


def _draw_marginal(m: Marginal, alt: str) -> str:
    with styled():
        figure = figure_of(300, 176)
        if m.edges is None:
            _draw_states(figure.subplots(), m, "y")
        elif m.states:
            left, right = figure.subplots(1, 2, width_ratios=[0.6 + 0.5 * len(m.states), 4])
            _draw_states(left, m, "x")
            _draw_bins(right, m)
        else:
            _draw_bins(figure.subplots(), m)
        return svg(figure, alt)


def _draw_states(axes: Axes, m: Marginal, along: str) -> None:
    """Draw real rows as bars and families as points; along y for levels, along x for atoms."""
    from matplotlib.ticker import MaxNLocator

    at = np.arange(len(m.states))
    bar = axes.barh if along == "y" else axes.bar
    bar(at, m.shares[0], 0.74, color=INK, alpha=0.2, linewidth=0)
    for f, shares in enumerate(m.shares[1:]):
        shift = at + (0 if len(m.shares) < 3 else 0.5 * (f / (len(m.shares) - 2) - 0.5))
        x, y = (shares, shift) if along == "y" else (shift, shares)
        axes.plot(
            x, y, MARKERS[f % COLOURS], color=colour(f), markersize=4.8, markeredgewidth=0, linestyle="none", clip_on=False
        )
    if along == "y":
        axes.set_yticks(at, m.states)
        axes.invert_yaxis()
        axes.set_xlim(left=0)
    else:
        axes.set_xticks(at, m.states)
        axes.set_xlim(-0.7, len(at) - 0.3)
        axes.set_ylim(bottom=0)
    shares_axis, ticks = (axes.xaxis, 4) if along == "y" else (axes.yaxis, 3)
    shares_axis.set_major_formatter(lambda v, _: f"{100 * v:g} %")
    shares_axis.set_major_locator(MaxNLocator(ticks))
    axes.tick_params(axis=along, length=0)  # type: ignore[arg-type]
    axes.spines["left" if along == "y" else "bottom"].set_visible(False)


def _draw_bins(axes: Axes, m: Marginal) -> None:
    """Draw real rows as an area and families as lines."""
    assert m.edges is not None
    axes.stairs(m.bins[0], m.edges, fill=True, color=INK, alpha=0.2, linewidth=0)
    for f, bins in enumerate(m.bins[1:]):
        axes.stairs(bins, m.edges, color=colour(f), linewidth=1.4, linestyle=DASHES[f % len(DASHES)], baseline=None)
    axes.set_ylim(bottom=0)
    axes.set_xlim(m.edges[0], m.edges[-1])
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    _number_axis(axes.xaxis, 5 if m.known is None else 3, m.whole, m.known)


def _number_axis(axis: Axis, ticks: int, whole: bool = False, known: Time | None = None) -> None:
    """Set at most so many ticks on an axis: whole numbers where values are whole, 150k for 150000, and dates."""
    from matplotlib.ticker import EngFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(ticks, integer=whole))
    if known is not None:
        days = {known.text(end).split(" ")[0] for end in axis.get_view_interval()}
        part = 0 if len(days) > 1 else -1  # the day, or the time of the one day
        axis.set_major_formatter(lambda value, _: known.text(value).split(" ")[part])
    elif max(map(abs, axis.get_view_interval())) >= 10_000:
        axis.set_major_formatter(EngFormatter(sep=""))


# -- several columns ------------------------------------------------------------------------------------------------------


def associations(space: Space, x: Tensor) -> np.ndarray:
    """Return how strongly any two columns are associated, (D, D).

    One quantity for all kinds: the root mean squared canonical correlation of the columns' codes. Of two numbers it is
    Spearman's rank correlation, of a number and a category the correlation ratio of the ranks, of two categories Cramér's
    V. Only that of two numbers has a sign. A missing number counts as the middle rank.

    >>> import torch
    >>> from genus.space import Real
    >>> x = torch.linspace(0, 1, 50)
    >>> associations(Space([Real(), Real()]), torch.stack([x, -(x**3)], 1)).round(3).tolist()
    [[1.0, -1.0], [-1.0, 1.0]]
    """
    data = x.double().reshape(len(x), space.dim).numpy()
    codes = [_whitened(kind, data[:, i]) for i, kind in enumerate(space.kinds)]
    out = np.zeros((space.dim, space.dim))
    for i, a in enumerate(codes):
        for j, b in enumerate(codes[: i + 1]):
            least = min(a.shape[1], b.shape[1])
            if least:
                cross = a.T @ b
                signed = not isinstance(space.kinds[i], Category) and not isinstance(space.kinds[j], Category)
                out[i, j] = out[j, i] = cross.item() if signed else np.linalg.norm(cross) / math.sqrt(least)
    return out


def _whitened(kind: Kind, column: np.ndarray) -> np.ndarray:
    """Return orthonormal columns that span the centred codes of a column: its ranks, or one-hots of its levels."""
    from scipy.stats import rankdata

    if isinstance(kind, Category):
        seen = np.unique(column)
        codes = (column[:, None] == seen).astype(float)
    else:
        codes = rankdata(column, nan_policy="omit")[:, None]
        codes = np.where(np.isnan(codes), (np.count_nonzero(~np.isnan(column)) + 1) / 2, codes)
    codes = codes - codes.mean(0)
    if codes.shape[1] == 1:
        norm = np.linalg.norm(codes)
        return codes / norm if norm > 0 else codes[:, :0]
    u, s, _ = np.linalg.svd(codes, full_matrices=False)
    return u[:, s > 1e-9 * max(s.max(initial=0.0), 1e-300)]


def heat_map(space: Space, matrix: np.ndarray, alt: str) -> str:
    """Draw a matrix of associations as SVG, from −1 (blue) over 0 (clear) to 1 (orange)."""
    with styled(ticks=8.5):
        figure = figure_of(320, 320)
        axes = figure.subplots()
        rgba = np.zeros((*matrix.shape, 4))  # opacity says how much, so that nothing at all is the page itself
        rgba[..., :3] = np.where(matrix[..., None] < 0, [0.20, 0.47, 0.85], [0.88, 0.42, 0.10])
        rgba[..., 3] = np.abs(matrix).clip(0, 1)
        axes.imshow(
            np.repeat(np.repeat(rgba, 8, 0), 8, 1) if len(matrix) < 40 else rgba, extent=(0, len(matrix), len(matrix), 0)
        )
        if len(matrix) <= 32:
            names = [level_text(name, 14) for name in space.names or map(str, range(space.dim))]
            axes.set_xticks(np.arange(len(matrix)) + 0.5, names, rotation=90)
            axes.set_yticks(np.arange(len(matrix)) + 0.5, names)
        else:
            axes.set_xticks([])
            axes.set_yticks([])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(True)
        axes.spines[:].set_alpha(0.4)
        return svg(figure, alt)


def pairs(space: Space, matrix: np.ndarray, most: int = 3) -> list[tuple[int, int]]:
    """Return the pairs most worth a look: strongly associated, one a number, no column twice while others are left."""
    numeric = [not isinstance(kind, Category) for kind in space.kinds]
    found = [(i, j) for i in range(space.dim) for j in range(i)]
    found.sort(key=lambda p: (-(numeric[p[0]] or numeric[p[1]]), -abs(matrix[p])))
    used: set[int] = set()
    fresh = []
    for pair in found:
        if not used & set(pair):
            fresh.append(pair)
            used |= set(pair)
    return [*fresh, *(pair for pair in found if pair not in fresh)][:most]


def scatter(codec: Codec, pair: tuple[int, int], x: Tensor, real: Tensor, alt: str) -> str:
    """Draw rows x in two columns, on the scale of the real rows; categories and lattices are jittered within their cell."""
    numbers = np.random.default_rng(0)
    with styled(ticks=8):
        figure = figure_of(170, 160)
        axes = figure.subplots()
        points = []
        for column, axis, limit in ((pair[1], axes.xaxis, axes.set_xlim), (pair[0], axes.yaxis, axes.set_ylim)):
            kind, values = codec.space.kinds[column], real.reshape(len(real), -1)[:, column].double().numpy()
            shown = x.reshape(len(x), -1)[:POINTS, column].double().numpy()
            if isinstance(kind, Category):
                low, high, cell = 0.0, kind.states - 1.0, 1.0
                ticks = range(kind.states) if kind.states <= 8 else []
                axis.set_ticks(list(ticks), labels=[level_text(kind.levels[i], 9) for i in ticks])
                if axis is axes.xaxis and kind.states > 3:
                    axes.tick_params(axis="x", rotation=90)
            else:
                values = values[np.isfinite(values)]
                low, high = np.quantile(values, [0.005, 0.995]) if len(values) else (0.0, 1.0)
                cell = kind.step if isinstance(kind, Lattice) and (high - low) / kind.step < 40 else 0.0
            margin = cell / 2 + 0.05 * ((high - low) or (0 if cell else 1))
            limit(low - margin, high + margin)
            if not isinstance(kind, Category):
                time = kind if isinstance(kind, Time) else None
                _number_axis(axis, 3 if time is None else 2, known=time)
            points.append(shown + cell * numbers.uniform(-0.32, 0.32, len(shown)))
        axes.scatter(points[0], points[1], s=6, color=POINT, alpha=0.6, linewidths=0, rasterized=True)
        return svg(figure, alt)


def plane(space: Space, points: Tensor, x: Tensor, target: str | None, alt: str) -> str:
    """Draw points (n, 2) of rows x, coloured by the target, or else by the category of fewest levels, where there are few."""
    few = {i: kind for i, kind in enumerate(space.kinds) if isinstance(kind, Category) and 1 < kind.states <= COLOURS}
    by = space.index(target) if target is not None else None
    by = by if by in few else min(few, key=lambda i: few[i].states, default=None)
    with styled(ticks=8):
        figure = figure_of(420, 330)
        axes = figure.subplots()
        at = points[:POINTS].double().numpy()
        dots: dict[str, Any] = {"s": 9, "alpha": 0.75, "linewidths": 0}
        if by is None:
            axes.scatter(*at.T, color=POINT, rasterized=True, **dots)
        else:
            kind, level = few[by], x[:POINTS].reshape(len(at), -1)[:, by].long().numpy()
            for i in np.unique(level):
                axes.scatter(*at[level == i].T, color=colour(int(i)), label=level_text(kind.levels[i]), **dots)
            axes.legend(title=(space.names or ())[by] if space.names else None, loc="best", markerscale=1.6)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
        return svg(figure, alt)


# -- learning -------------------------------------------------------------------------------------------------------------


def curves(histories: Sequence[Any], alt: str) -> str | None:
    """Draw losses and the validation criterion against seconds, a line for each seed; None for fewer than two points."""
    lines: dict[str, list[list[tuple[float, float]]]] = {}  # name -> one line a seed
    for history in histories:
        for name in dict.fromkeys(key for row in history.rows for key in row if key not in ("step", "epoch", "seconds")):
            points = [
                (row["seconds"], row[name] * history.scale)
                for row in history.rows
                if _finite(row.get("seconds"), row.get(name))
            ]
            if len(points) > 1:
                lines.setdefault(name, []).append(points)
    if not lines:
        return None
    with styled():
        figure = figure_of(300, 190)
        axes = figure.subplots()
        for i, (name, seeds) in enumerate(lines.items()):
            held_out = name == "criterion"
            for later, points in enumerate(seeds):
                axes.plot(
                    *zip(*points, strict=True),
                    color=INK if held_out else colour(i),
                    linewidth=1.6 if held_out else 1.1,
                    alpha=0.45 if later else 1,
                    label=None if later else "held out" if held_out else name,
                )
        values = np.array([value for seeds in lines.values() for points in seeds for _, value in points])
        low, high = values.min(), np.quantile(values, 0.93)
        if high > low:  # the first steps would squeeze all that follows
            axes.set_ylim(low - 0.06 * (high - low), high + 0.12 * (high - low))
        axes.set_xlabel("seconds")
        axes.set_ylabel(histories[0].unit)
        axes.legend(loc="upper right", handlelength=1.4)
        return svg(figure, alt)


def _finite(*values: Any) -> bool:
    return all(isinstance(value, int | float) and math.isfinite(value) for value in values)
