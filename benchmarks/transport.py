"""The earth mover's distance: exact beside POT and SciPy, the dual beside the truth, the gradient penalty of any shape.

    python benchmarks/transport.py [--points 2000] [--repetitions 3] [--steps 500]

1. W_1 of two samples from N(0, I) and N(.5, I) in 64 dimensions: `genus.divergences.transport`, POT's `emd2` and SciPy's
   `linear_sum_assignment`, each from points to distance, in this process, in turns, medians. The truth is 4; a finite sample
   overstates it, by as much as the distance of two samples of one distribution, beside it, tells. The same in 2 dimensions,
   once, since SciPy takes long there.
2. The Kantorovich-Rubinstein dual by a critic on problems in the plane whose distance is known, over half of the points.
3. The gradient penalty of a linear critic of norm 2, which is 1 for inputs of any shape.

It exits with an error where genus is slower than the fastest of the peers, differs from them, or where a dual by gradient
penalty or spectral norm is off by more than 10 %.
"""

from __future__ import annotations

import argparse
import math
from importlib.metadata import version

import numpy as np
import torch
from records import Record
from timing import medians
from torch import Tensor

from genus.divergences import dual, gradient_penalty, transport

RECORD = Record(__doc__, "pot", "scipy")

SLOWER, OFF = 1.1, 0.1  # what noise of the clock allows; what the dual may be off by
SHAPES = ((4,), (1, 28, 28), (3, 32, 32), (2, 5, 7, 3))


def normal(n: int, dim: int, seed: int) -> Tensor:
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def exact(points: int, dim: int, repetitions: int) -> list[str]:
    """Ours, POT's and SciPy's on the same points."""
    import ot
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    shift = 4 / math.sqrt(dim)
    x, y, again = normal(points, dim, 0), normal(points, dim, 1) + shift, normal(points, dim, 2)
    a, b, found = x.numpy(), y.numpy(), {}

    def ours() -> None:
        found["genus"] = transport(x, y).distance.item()

    def pot() -> None:
        found["POT"] = float(ot.emd2([], [], ot.dist(a, b, metric="euclidean"), numItermax=10**7))

    def scipy() -> None:
        cost = cdist(a, b)
        found["SciPy"] = float(cost[linear_sum_assignment(cost)].mean())

    took = medians({"genus": ours, "POT": pot, "SciPy": scipy}, repetitions)
    print(f"\nexact W1 of 2 x {points:,} points in {dim} dimensions; truth 4.000")
    for name, version_of in (("genus", "genus"), ("POT", "pot"), ("SciPy", "scipy")):
        print(f"  {name:<6} {version(version_of):<12} {found[name]:.6f} {took[name]:9.0f} ms")
        RECORD.row(what=f"exact, {points:,} points, {dim} columns", method=name, distance=found[name], ms=took[name])
    print(f"  real against real: {transport(x, again).distance.item():.3f}")
    best = min(took["POT"], took["SciPy"])
    failed = [f"{dim} dimensions: {took['genus']:.0f} ms, and a peer takes {best:.0f}"] if took["genus"] > SLOWER * best else []
    if not np.allclose(list(found.values()), found["genus"], rtol=1e-9):
        failed.append(f"{dim} dimensions: the distances differ, {found}")
    return failed


def problems(n: int) -> dict[str, tuple[Tensor, Tensor, float]]:
    """Name -> (points of p, points of q, their distance)."""
    angle = 2 * math.pi * torch.rand(2 * n, generator=torch.Generator().manual_seed(5))
    ring = torch.stack([angle.cos(), angle.sin()], 1)
    z = torch.rand(2 * n, generator=torch.Generator().manual_seed(6))
    lines = torch.stack([torch.zeros(2 * n), z], 1)
    x, y = normal(n, 2, 7).float(), normal(n, 2, 8).float()
    return {
        "parallel lines, theta = 1": (lines[:n], lines[n:] + torch.tensor([1.0, 0.0]), 1.0),
        "N(0, I) and N((3, 0), I)": (x, y + torch.tensor([3.0, 0.0]), 3.0),
        "N(0, I) and N(0, 4 I)": (x, 2 * y, math.sqrt(math.pi / 2)),  # |y| grows from its mean to twice that
        "circles of radius 1 and 3": (ring[:n], 3 * ring[n:], 2.0),
    }


def duals(points: int, steps: int) -> list[str]:
    failed = []
    print(f"\ndual by a critic, {steps} steps, half of 2 x {points:,} points held out; exact: of the held-out size")
    print(
        f"  {'':<28}{'truth':>7}{'exact':>8}" + "".join(f"{c:>20}" for c in ("gradient-penalty", "spectral-norm", "clipping"))
    )
    for name, (x, y, truth) in problems(points).items():
        line = f"  {name:<28}{truth:>7.3f}{transport(x[: points // 2], y[: points // 2]).distance.item():>8.3f}"
        for constraint in ("gradient-penalty", "spectral-norm", "clipping"):
            found = dual(x, y, constraint, steps=steps).estimate  # type: ignore[arg-type]
            line += f"{found.value:>12.3f} ± {found.error:.3f}"
            RECORD.row(what=f"dual, {name}", method=constraint, distance=(found.value, found.error), truth=truth)
            if constraint != "clipping" and abs(found.value / truth - 1) > OFF:
                failed.append(f"{name}, {constraint}: {found.value:.3f}, and the truth is {truth:.3f}")
        print(line, flush=True)
    return failed


def penalties() -> list[str]:
    failed = []
    print("\ngradient penalty of a linear critic of norm 2; truth 1")
    for shape in SHAPES:
        w = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        w = 2 * w / w.norm()
        real, fake = torch.randn(8, *shape, dtype=torch.float64), torch.randn(8, *shape, dtype=torch.float64)
        value = gradient_penalty(lambda x, w=w: (x * w).flatten(1).sum(1), real, fake).item()
        print(f"  {shape!s:<16} {value:.9f}")
        if abs(value - 1) > 1e-9:
            failed.append(f"the penalty of shape {shape} is {value}")
    return failed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=2000)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--steps", type=int, default=500)
    options = parser.parse_args()
    failed = exact(options.points, 64, options.repetitions) + exact(options.points, 2, 1)
    failed += duals(options.points, options.steps) + penalties()
    RECORD.keep()
    if failed:
        raise SystemExit("\n".join(failed))


if __name__ == "__main__":
    main()
