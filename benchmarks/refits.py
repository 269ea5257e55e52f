"""How often one of two refits of the same net, with other seeds, is called better beyond the error that a comparison prints.

    OMP_NUM_THREADS=1 python benchmarks/refits.py [--sets magic wine] [--families made nsf] [--refits 21] [--steps 300]

Every two of the refits are compared by the held-out rows as one seed each; 5 % of the pairs is what a 95 % interval allows. The
error of refits follows from how rows differ, by a rule that was measured of MADE on breast-cancer and Adult, so other sets and
families say how far it holds. Rows are a random 2,000 for training, and other 80, 400 and 2,000 are held out. All pairs share
a choice of these, and by one of 80 rows 0 to 8 % were called better, so that the share is the mean over several choices.
"""

from __future__ import annotations

import argparse
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from records import Record

import genus
from genus.evaluation.intervals import compare_rows

RECORD = Record(__doc__)

TABLES = Path(__file__).resolve().parents[2] / "shared/data/tables"
SETS = {"magic": "magic.csv.gz", "wine": "wine.csv.gz", "protein": "protein.csv.gz", "default": "default.csv.gz"}
ROWS, HELD = 2000, (80, 400, 2000)
CHOICES = 8  # of held-out rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=["magic", "wine"])
    parser.add_argument("--families", nargs="+", default=["made", "nsf"])
    parser.add_argument("--refits", type=int, default=21)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument(
        "--steps", type=int, help="of each refit, in place of seconds, of which a busy machine makes more or less"
    )
    options = parser.parse_args()
    limit = f"{options.steps} steps" if options.steps else f"{options.seconds:g} s"
    print(f"genus {genus.__version__}; {options.refits} refits of {limit}")
    for name in options.sets:
        data = genus.read(TABLES / SETS[name])
        train, held = data.split(test=0.5, seed=0)
        train, held = train.rows(slice(0, ROWS)), held.rows(slice(0, max(HELD)))
        train, held = train.charted_on(train), held.charted_on(train)
        for family in options.families:
            scores = []
            for seed in range(options.refits):
                model = genus.build(family, train.space, seed=seed)
                most = {"max_steps": options.steps} if options.steps else {"max_seconds": options.seconds}
                genus.fit(model, train, seed=seed, progress=False, **most)
                with torch.no_grad():
                    exact = isinstance(model, genus.TractableDensity)
                    scores.append((model.log_prob if exact else model.elbo)(held.x).double().numpy())
            ratio = [abs(a.mean() - b.mean()) / np.std(a - b) ** 2 for a, b in combinations(scores, 2)]
            spread = np.std([one.mean() for one in scores], ddof=1)
            better = {rows: share(np.stack(scores), rows) for rows in HELD if rows <= len(held)}
            told = [f"{rows:,} rows: {part:.1%}" for rows, part in better.items()]
            parts = {f"called better by {rows:,} rows, %": 100 * part for rows, part in better.items()}
            RECORD.row(
                table=name, family=family, refits=options.refits, pairs=len(ratio), differ_by_nats=float(spread), **parts
            )
            print(
                f"  {name:10} {family:6} refits differ by {spread:.3f} nats, {np.median(ratio):.3f} a squared nat of rows;"
                f" called better, {', '.join(told)}",
                flush=True,
            )
    RECORD.keep(range(options.refits))


def share(scores: np.ndarray, rows: int) -> float:
    """Return the share of pairs of refits (S, N) of which one is called better, the mean over choices of so many rows."""
    rng, called = np.random.default_rng(0), []
    for _ in range(CHOICES):
        some = scores[:, rng.permutation(scores.shape[1])[:rows]]
        found = [compare_rows(a[None], b[None], None, (True, True)) for a, b in combinations(some, 2)]
        called += [one.low > 0 or one.high < 0 for one in found]
    return float(np.mean(called))


if __name__ == "__main__":
    main()
