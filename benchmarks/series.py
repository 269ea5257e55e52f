"""How often forecasts of series of three values a step hold what came: 500 series of 100 steps, made by a known process.

    python benchmarks/series.py [--seconds 90] [--family wavenet] [--times 200]

x_t = A x_{t-1} + noise, with a season of twelve steps, whose phase and size each series has of its own. The model is fitted to
400 series and sees the first 80 steps of each of the other 100; its intervals for the last 20 steps should hold 90 % of what
came (85 to 95 %).
"""

from __future__ import annotations

import argparse
import math
import time

import numpy as np
from records import Record

import genus

RECORD = Record(__doc__)

SERIES, STEPS, HELD, AHEAD = 500, 100, 100, 20
A = np.array([[0.7, 0.2, 0.0], [-0.2, 0.7, 0.1], [0.0, 0.3, 0.6]])
NOISE = np.array([0.5, 0.3, 0.4])
SIZES = {
    "wavenet": {"width": 32, "layers": 7, "components": 3},
    "gpt": {"width": 32, "layers": 2, "heads": 2, "components": 3},
    "rnn": {"width": 64, "components": 3},
}


def made(seed: int) -> np.ndarray:
    """Return the series (500, 100, 3)."""
    rng = np.random.default_rng(seed)
    phase, size = rng.uniform(0, 2 * math.pi, (SERIES, 1)), rng.uniform(0.5, 1.5, (SERIES, 1))
    x, now = np.zeros((SERIES, STEPS, 3)), rng.normal(size=(SERIES, 3))
    for t in range(STEPS):
        season = size * np.sin(2 * math.pi * t / 12 + phase) * np.array([1.0, 0.5, 0.0])
        now = now @ A.T + season + NOISE * rng.normal(size=(SERIES, 3))
        x[:, t] = now
    return x


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=90.0)
    parser.add_argument("--family", default="wavenet", choices=[*SIZES])
    parser.add_argument("--times", type=int, default=200)
    options = parser.parse_args()
    x = made(0)
    data = genus.read(x[:-HELD], sequence=True)
    print(data)
    model = genus.build(options.family, data.space, seed=0, **SIZES[options.family])
    print(genus.fit(model, data, max_seconds=options.seconds, progress=False))
    begin = time.perf_counter()
    found = genus.forecast(model, x[-HELD:, :-AHEAD], AHEAD, options.times, seed=0)
    coverage = found.coverage(genus.read(x, sequence=True).x.view(SERIES, STEPS, 3)[-HELD:, -AHEAD:])
    low, high = found.interval
    print(f"forecast of {HELD} series by {AHEAD} steps, {options.times} draws: {time.perf_counter() - begin:.1f} s")
    print("coverage of 90 % intervals:", ", ".join(f"{share:.1%}" for share in coverage.tolist()), f"all {coverage.mean():.1%}")
    print("mean width:", ", ".join(f"{width:.3f}" for width in (high - low).mean((0, 1)).tolist()))
    widths = (high - low).mean((0, 1)).tolist()
    for i, (share, width) in enumerate(zip(coverage.tolist(), widths, strict=True)):
        RECORD.row(family=options.family, value=i, inside_90_pct=share, mean_width=width)
    RECORD.row(family=options.family, value="all", inside_90_pct=float(coverage.mean()))
    RECORD.keep()
    if not 0.85 <= float(coverage.mean()) <= 0.95:
        raise SystemExit("Missed: coverage is not within 85 to 95 %.")


if __name__ == "__main__":
    main()
