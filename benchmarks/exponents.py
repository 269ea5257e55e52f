"""How the time of every family of tables grows with the rows: fit, score and sample, and the exponent.

    python benchmarks/exponents.py [--rows 10000 100000 1000000] [--families made mixture] [--limit 20]

Rows of six numbers that depend on one another and of two categories, which are tensors already: reading is measured by
reading.py and scale.py. A fit is one pass over the rows for families that count or descend gradients, and a fixed number of
passes, rounds or epochs for the others (a mixture stops when validation rows no longer gain, so its passes may differ); nets
are small, since their size changes the time of a row and not how many rows there are. Times are of a processor, of short steps
the median of five, and of the smaller number of rows before and after the larger. A step goes on to more rows as long as it is
expected to take `--limit` seconds at most. The exponent is the slope of log time in log rows between the last two numbers of
rows; 1.05 at most is asked for.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from records import Record
from torch import Tensor

import genus
from genus.ladder import ApproximateDensity, map_batches

RECORD = Record(__doc__)

SPACE = genus.Space([genus.Real()] * 6 + [genus.Category("abcd"), genus.Category(("no", "yes"))])
REPEATED, LONG = 5, 0.5  # calls of a step at most, of which the median counts; the seconds after which one is not repeated
PASS = {"epochs": 1.0, "batch_size": 1024}
NET: dict[str, Any] = {"hidden": (64, 64)}
# Family -> its hyper-parameters and the options of its fit.
FAMILIES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "naive-bayes": ({}, {}),
    "independent": ({}, {}),
    "mixture": ({"components": 8, "covariance": "diagonal"}, {}),
    "chow-liu": ({}, {}),
    "hclt": ({"latent": 8, "epochs": 2}, {}),
    "gaussian-copula": ({}, {}),
    "trees": ({"rounds": 5}, {}),
    "made": (NET, PASS),
    "gpt": ({"width": 32, "layers": 1, "heads": 2}, PASS),
    "rnn": ({"width": 64}, PASS),
    "nice": (NET, PASS),
    "real-nvp": (NET, PASS),
    "maf": (NET, PASS),
    "iaf": (NET, PASS),
    "nsf": (NET, PASS),
    "vae": (NET, PASS),
    "iwae": (NET, PASS),
    "vq-vae": (NET, PASS),
    "autoencoder": (NET, PASS),
    "gan": (NET, PASS),
    "wgan": (NET, PASS),
    "wgan-gp": (NET, PASS),
}


def rows_of(n: int) -> Tensor:
    """Draw n rows."""
    generator = torch.Generator().manual_seed(0)
    numbers = torch.randn(n, 6, generator=generator) @ (torch.eye(6) + 0.5 * torch.ones(6, 6).tril(-1))
    level = (numbers[:, :1].abs().clamp(max=3.9)).floor()
    return torch.cat([numbers, level, (numbers[:, 1:2] > 0).float()], dim=1)


def seconds(work: Callable[[], Any]) -> float:
    """Return the median seconds of calls, several where they are short."""
    taken: list[float] = []
    while not taken or (len(taken) < REPEATED and sum(taken) < LONG):
        begin = time.process_time()
        work()
        taken.append(time.process_time() - begin)
    return statistics.median(taken)


def affordable(taken: dict[int, float], rows: int, limit: float) -> bool:
    """Return whether a step that took so many seconds for some numbers of rows should keep the limit for more."""
    return not taken or taken[max(taken)] * rows / max(taken) <= limit


def measure(name: str, sizes: list[int], limit: float) -> dict[str, dict[int, float]]:
    """Return the seconds of each step of a family by the number of rows."""
    hyper, options = FAMILIES[name]
    found: dict[str, dict[int, float]] = {"fit": {}, "score": {}, "sample": {}}
    models: list[genus.GenerativeModel] = []

    def fit(x: Tensor) -> None:
        models.append(genus.build(name, SPACE, seed=0, **hyper))
        genus.fit(models[-1], x, seed=0, progress=False, **options)

    def score(x: Tensor) -> None:
        map_batches(models[-1].elbo, x)  # type: ignore[attr-defined]

    work = {"fit": fit, "score": score, "sample": lambda x: models[-1].sample(len(x), seed=0)}
    if not issubclass(genus.family(name), ApproximateDensity):
        del work["score"]
    for n in sizes:
        for step, once in work.items():
            if not affordable(taken := found[step], n, limit):
                continue
            before = max(taken, default=0)
            with torch.set_grad_enabled(step == "fit"):
                taken[n] = seconds(partial(once, rows_of(n)))
                if before:  # again, since other work on the machine comes and goes
                    taken[before] = (taken[before] + seconds(partial(once, rows_of(before)))) / 2
    return {step: taken for step, taken in found.items() if taken}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--families", nargs="+", default=[*FAMILIES])
    parser.add_argument("--limit", type=float, default=20.0, help="seconds that a step may take")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    for name in options.families:
        for step, taken in measure(name, options.rows, options.limit).items():
            last, before = max(taken), sorted(taken)[-2:][0]
            slope = math.log(taken[last] / taken[before]) / math.log(last / before) if last > before else math.nan
            us = 1e6 * taken[last] / last
            print(
                f"  {name:16} {step:7} {last:>9,} rows  {taken[last]:7.2f} s  {us:7.1f} µs a row  exponent {slope:.2f}",
                flush=True,
            )
            RECORD.row(family=name, what=step, rows=last, seconds=taken[last], us_a_row=us, exponent=slope)
    RECORD.keep()


if __name__ == "__main__":
    main()
