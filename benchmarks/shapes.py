"""How near charts, and families on one column, come to the truth on one-dimensional shapes whose density is known.

Each shape gives training rows and fresh rows. Printed is how many nats a fresh row's log-density is below the true one (the
mean of paired differences, less two of its standard errors, and not below 0), and the share of draws across a sign, or outside
the true ends.

    python benchmarks/shapes.py                             # charts alone, seconds
    python benchmarks/shapes.py --families naive-bayes made nsf mixture
"""

from __future__ import annotations

import argparse
import math
import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from records import Record
from scipy import special, stats

import genus
from genus.space import Category, Lattice, Space

RECORD = Record(__doc__)

Draw = Callable[[np.random.Generator, int], np.ndarray]
LogDensity = Callable[[np.ndarray], np.ndarray]


class Shape(NamedTuple):
    """Holds a distribution over numbers: how it is drawn, its log-density (atoms by their mass), and its ends."""

    draw: Draw
    log_density: LogDensity
    low: float = -math.inf
    high: float = math.inf
    touched: bool = False  # the data lie on the ends that are finite


def known(law: Any) -> Shape:
    """Return a law of scipy.stats as a shape."""
    log_density = law.logpmf if hasattr(law.dist, "logpmf") else law.logpdf
    low, high = law.support()
    return Shape(lambda rng, n: law.rvs(n, random_state=rng).astype(float), log_density, low, high)


def negative(law: Any) -> Shape:
    """Return the mirror image of a law."""
    shape = known(law)
    return Shape(lambda rng, n: -shape.draw(rng, n), lambda x: shape.log_density(-x), -shape.high, -shape.low)


def several(*parts: tuple[float, Any]) -> Shape:
    """Return a mixture of laws, each with its share."""
    shares = np.array([share for share, _ in parts])
    shapes = [known(law) for _, law in parts]

    def draw(rng: np.random.Generator, n: int) -> np.ndarray:
        which = rng.choice(len(shapes), size=n, p=shares)
        return np.choose(which, [shape.draw(rng, n) for shape in shapes])

    def log_density(x: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore"):
            return special.logsumexp(
                [np.log(s) + shape.log_density(x) for s, shape in zip(shares, shapes, strict=True)], axis=0
            )

    return Shape(draw, log_density, min(s.low for s in shapes), max(s.high for s in shapes))


def heaped(share: float, value: float, law: Any) -> Shape:
    """Return a law of which a share lies on one value instead."""
    rest = known(law)

    def draw(rng: np.random.Generator, n: int) -> np.ndarray:
        return np.where(rng.random(n) < share, value, rest.draw(rng, n))

    def log_density(x: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore"):
            return np.where(x == value, np.log(share), np.log1p(-share) + rest.log_density(x))

    return Shape(draw, log_density, min(rest.low, value), max(rest.high, value))


def rounded(law: Any, step: float, offset: float = 0.0) -> Shape:
    """Return a law rounded to offset + step * k."""
    digits = 10

    def draw(rng: np.random.Generator, n: int) -> np.ndarray:
        x = law.rvs(n, random_state=rng)
        return np.round(offset + step * np.round((x - offset) / step), digits)

    def log_density(x: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore"):
            return np.log(law.cdf(x + step / 2) - law.cdf(x - step / 2))

    low = law.support()[0]
    return Shape(draw, log_density, low if math.isinf(low) else offset + step * round((low - offset) / step))


def listed(values: dict[float, float]) -> Shape:
    """Return a few values with their probabilities."""
    x, p = np.array(list(values)), np.array(list(values.values()))
    log_p = dict(zip(x.tolist(), np.log(p).tolist(), strict=True))
    return Shape(
        lambda rng, n: rng.choice(x, size=n, p=p),
        lambda v: np.array([log_p.get(float(t), -math.inf) for t in v]),
        float(x.min()),
        float(x.max()),
        touched=True,
    )


N = stats.norm
SHAPES = {
    "normal": known(N(0, 1)),
    "uniform": known(stats.uniform(5, 4)),
    "exponential": known(stats.expon(scale=3)),
    "lognormal .5": known(stats.lognorm(0.5, scale=20)),
    "lognormal 1": known(stats.lognorm(1, scale=1000)),
    "lognormal 2": known(stats.lognorm(2, scale=100)),
    "gamma 2": known(stats.gamma(2, scale=50)),
    "beta .5 .5": known(stats.beta(0.5, 0.5)),
    "beta 2 5": known(stats.beta(2, 5)),
    "Pareto 1.5": known(stats.pareto(1.5)),
    "Pareto 3": known(stats.pareto(3, scale=1335)),
    "Cauchy": known(stats.cauchy(3, 2)),
    "t2": known(stats.t(2)),
    "t3": known(stats.t(3, loc=100, scale=5)),
    "Laplace": known(stats.laplace(10, 3)),
    "logistic": known(stats.logistic(0, 1)),
    "Gumbel": known(stats.gumbel_r(0, 1)),
    "Weibull .7": known(stats.weibull_min(0.7, scale=10)),
    "chi2 1": known(stats.chi2(1)),
    "bimodal near": several((0.5, N(-2, 1)), (0.5, N(2, 1))),
    "bimodal far": several((0.5, N(0, 1)), (0.5, N(9999, 1))),
    "trimodal": several((0.3, N(-5, 0.5)), (0.4, N(0, 1)), (0.3, N(6, 0.3))),
    "claw": several((0.5, N(0, 1)), *((0.1, N(m / 2 - 1, 0.1)) for m in range(5))),
    "skewed bimodal": several((0.75, N(0, 1)), (0.25, N(1.5, 1 / 3))),
    "zero, lognormal": heaped(0.4, 0.0, stats.lognorm(1, scale=50)),
    "zero, exponential": heaped(0.01, 0.0, stats.expon(scale=2)),
    "triangular": known(stats.triang(0.3, loc=10, scale=5)),
    "arcsine": known(stats.arcsine(loc=-1, scale=2)),
    "von Mises": known(stats.vonmises(2, loc=0)),
    "inverse gamma": known(stats.invgamma(2, scale=3)),
    "Levy": known(stats.levy(scale=2)),
    "log-uniform": known(stats.loguniform(0.001, 1000)),
    "exponential from 5": known(stats.expon(loc=5, scale=2)),
    "negative lognormal": negative(stats.lognorm(1, scale=10)),
    "Poisson 1": known(stats.poisson(1)),
    "Poisson 1000": known(stats.poisson(1000)),
    "geometric": known(stats.geom(0.003)),
    "negative binomial": known(stats.nbinom(0.8, 0.005)),
    "binomial 100": known(stats.binom(100, 0.3)),
    "Zipf": known(stats.zipf(1.8)),
    "prices on .05": rounded(stats.lognorm(0.8, scale=20), 0.05),
    "steps of 25 from 7": rounded(N(3000, 800), 25, 7),
    "status codes": listed({200: 0.8, 301: 0.05, 302: 0.03, 404: 0.08, 500: 0.03, 503: 0.01}),
    "normal on .1": rounded(N(36.6, 0.7), 0.1),
    "atom in a uniform": heaped(0.2, 3.0, stats.uniform(0, 10)),
}


def chart_alone(space: Space, train: torch.Tensor, x: torch.Tensor) -> np.ndarray:
    """Return the log-density (N,) of a column by its kind alone: counted states, and a standard normal in the chart."""
    kind = space.kinds[0]
    if isinstance(kind, Category) or kind.is_narrow:
        values, counts = np.unique(train.numpy(), return_counts=True)
        index = np.searchsorted(values, x.numpy().ravel()).clip(max=len(values) - 1)
        size = kind.size if isinstance(kind, Lattice) else kind.states
        seen = values[index] == x.numpy().ravel()
        return np.log(np.where(seen, counts[index] + 0.5, 0.5) / (len(train) + size / 2))
    counts = torch.bincount(space.split(train).state[:, 0], minlength=kind.states).double() + 0.5
    log_state = (counts / counts.sum()).log()
    state, u, log_slope = space.split(x)
    lower, upper = (edge.double().numpy() for edge in space.edges(x))
    if isinstance(kind, Lattice):
        mass = special.ndtr(np.maximum(upper, -lower)) - special.ndtr(np.where(upper > -lower, lower, -upper))
        inside = np.log(np.maximum(mass[:, 0], 1e-300))
        if kind.lattice_atoms:
            own = space.edges(torch.tensor(kind.lattice_atoms, dtype=torch.float64)[:, None])
            inside -= np.log1p(-(special.ndtr(own[1].numpy()) - special.ndtr(own[0].numpy())).sum())
    else:
        inside = (-0.5 * (u.double() ** 2 + math.log(2 * math.pi)) + log_slope).numpy()[:, 0]
    return log_state[state[:, 0]].numpy() + np.where(state[:, 0] == 0, inside, 0.0)


def chart_draws(space: Space, train: torch.Tensor, n: int, rng: np.random.Generator) -> torch.Tensor:
    """Return draws (n, 1) of the chart alone."""
    state = space.split(train).state
    state = state[torch.from_numpy(rng.integers(len(train), size=n))]
    return space.join(state, torch.from_numpy(rng.standard_normal((n, 1))))


def loss(truth: np.ndarray, found: np.ndarray) -> tuple[float, float]:
    """Return the mean of truth - found and two standard errors."""
    gap = truth - found
    return float(gap.mean()), float(2 * gap.std() / math.sqrt(len(gap)))


def outside(shape: Shape, x: np.ndarray) -> tuple[float, float]:
    """Return the share of draws across a sign that the truth never crosses, and the share outside the true ends."""
    crossed = (shape.low >= 0) * (x < 0).mean() + (shape.high <= 0) * (x > 0).mean()
    return float(crossed), float(((x < shape.low - 1e-6) | (x > shape.high + 1e-6)).mean())


def main() -> None:
    """Print a line for every shape and family."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--fresh", type=int, default=10_000)
    parser.add_argument("--families", nargs="*", default=[])
    parser.add_argument("--shapes", nargs="*", default=list(SHAPES))
    parser.add_argument("--seconds", type=float, default=10.0, help="for one fit of a family that has gradients")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    totals: dict[str, list[float]] = {}
    for number, name in enumerate(options.shapes):
        shape, rng = SHAPES[name], np.random.default_rng([options.seed, number])
        rows, fresh = shape.draw(rng, options.rows), shape.draw(rng, options.fresh)
        truth = shape.log_density(fresh)
        start = time.perf_counter()
        data = genus.read({"x": rows})
        seconds = time.perf_counter() - start
        x = genus.read({"x": fresh}, space=data.space, beyond=True).x
        held = torch.isfinite(x).all(1)
        cells = []
        for family in ["chart", *options.families]:
            found = np.full(len(fresh), -math.inf)
            if family == "chart":
                found[held.numpy()] = chart_alone(data.space, data.x, x[held])
                drawn = chart_draws(data.space, data.x, 10_000, rng)
            else:
                model = genus.build(family, data.space)
                seconds_ = None if family == "naive-bayes" else options.seconds
                genus.fit(model, data, max_seconds=seconds_, seed=0, progress=False)
                with torch.no_grad():
                    found[held.numpy()] = model.log_evidence(x[held], samples=64, seed=0).double().numpy()
                    drawn = model.sample(10_000, seed=1)
            mean, error = loss(truth[held.numpy()], found[held.numpy()])
            lost = max(0.0, mean - error)
            totals.setdefault(family, []).append(lost)
            crossed, out = outside(shape, drawn.double().numpy())
            beyond = f" {int((~held).sum())} impossible" if not bool(held.all()) else ""
            flag = " <<<" if lost > 0.1 or crossed > 0 or out > 0.002 else ""
            cells.append(f"{family} {lost:.3f} ({mean:+.3f} ± {error:.3f}) {crossed:.1%} {out:.2%}{beyond}{flag}")
        print(f"{name:20} {'; '.join(cells)}  {data.space.kinds[0]!r} {1e3 * seconds:.1f} ms", flush=True)
    for family, lost in totals.items():
        good = sum(value <= 0.1 for value in lost)
        RECORD.row(family=family, shapes=len(lost), within_a_tenth=good, worst=max(lost), mean=float(np.mean(lost)))
        print(f"{family}: within .1 nats for {good} of {len(lost)}; the worst {max(lost):.3f}; mean {np.mean(lost):.4f}")
    RECORD.keep([options.seed])


if __name__ == "__main__":
    main()
