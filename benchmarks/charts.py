"""Held-out log-densities of families with the charts that are measured, beside those with affine charts, on the same rows.

    OMP_NUM_THREADS=1 python benchmarks/charts.py [--sets breast-cancer,wine] [--families naive-bayes,mixture,made,nsf]
                                                  [--seconds 20] [--steps 800] [--tables ../shared/data/tables]

Each table is split into 70 % training rows and 30 % held-out rows (Adult has a test file of its own), and both spaces are
measured on the training rows. Both have the same atoms, levels and lattices, so both log-densities are on one base measure; the
figure is the mean of their paired differences over held-out rows, in nats a row, with its standard error: positive where
measured charts are better. Rows outside the support of either space are counted and left out. It exits with an error where a
family loses more than two standard errors.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import torch
from records import Record

import genus
from genus.registry import build, suggested

RECORD = Record(__doc__)

EMBEDDED = ("breast-cancer", "wine", "diabetes", "iris")
TABLES = ("protein.csv.gz", "wine.csv.gz", "magic.csv.gz", "default.csv.gz")
AFFINE = {"chart": "affine", "relations": False}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", default=",".join((*EMBEDDED, *TABLES, "adult")))
    parser.add_argument("--families", default="naive-bayes,mixture,made,nsf")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--steps", type=int, help="of every fit, instead of a time, which a busy machine gives unevenly")
    parser.add_argument("--rows", type=int, default=20_000, help="training rows, at most")
    parser.add_argument("--tables", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data" / "tables")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    limit = f"{options.steps} steps" if options.steps else f"at most {options.seconds:g} s"
    budget = {"max_steps": options.steps} if options.steps else {"max_seconds": options.seconds}
    print(f"genus {genus.__version__}, torch {torch.__version__}, seed 0, {limit} a fit")
    worse = []
    for name in options.sets.split(","):
        train, held = rows_of(name, options.tables, options.rows)
        for family in options.families.split(","):
            found = [scores(family, train, held, budget, arguments) for arguments in (AFFINE, {"relations": False})]
            if any(isinstance(one, str) for one in found):
                print(f"  {name:<18}{family:<13}{next(one for one in found if isinstance(one, str))}")
                continue
            affine, measured = found
            both = affine.isfinite() & measured.isfinite()
            difference = (measured - affine)[both]
            mean, error = float(difference.mean()), float(difference.std() / len(difference) ** 0.5)
            out = f", {int((~both).sum())} rows outside" if not bool(both.all()) else ""
            means = f"{float(affine[both].mean()):10.3f} -> {float(measured[both].mean()):10.3f}"
            print(f"  {name:<18}{family:<13}{means}   {mean:+.3f} ± {error:.3f}{out}", flush=True)
            averages = {"affine": float(affine[both].mean()), "measured": float(measured[both].mean())}
            RECORD.row(table=name, family=family, **averages, gain=(mean, error))
            if mean < -2 * error:
                worse.append(f"{family} on {name}")
    RECORD.keep()
    if worse:
        sys.exit(f"measured charts lose on: {', '.join(worse)}")


def rows_of(name: str, folder: Path, most: int) -> tuple[Any, Any]:
    """Return training rows and held-out rows as tables."""
    if name == "adult":
        train, held = (pa.csv.read_csv(folder / f"adult-{part}.csv") for part in ("train", "test"))
    else:
        source = folder / name if name.endswith(".gz") else name
        table = genus.read(source, chart="affine", relations=False).frame()
        table = table if isinstance(table, pa.Table) else pa.table(table)
        order = torch.randperm(table.num_rows, generator=torch.Generator().manual_seed(0)).numpy()
        cut = int(0.7 * len(order))
        train, held = table.take(pa.array(order[:cut])), table.take(pa.array(order[cut:]))
    return train.slice(0, most), held.slice(0, most)


def scores(family: str, train: Any, held: Any, budget: dict[str, Any], arguments: dict[str, Any]) -> torch.Tensor | str:
    """Return the log-densities of held-out rows, -inf outside the support; or why the family refuses the table."""
    data = genus.read(train, **arguments)
    x = genus.read(held, space=data.codec, beyond=True).x
    cls = genus.families()[family]
    if (reason := cls.refusal(data.space)) is not None and not data.space.columns(genus.Lattice):
        return reason
    model = build(cls, data.space, None, 0, **suggested(cls, data.space, len(data)))
    genus.fit(model, data, seed=0, progress=False, **(budget if model.info.group != "counted" else {}))
    inside = x.flatten(1).isfinite().all(1) | x.isnan().any(1)
    score = model.log_prob if isinstance(model, genus.TractableDensity) else lambda x: model.log_evidence(x, samples=16, seed=0)
    with torch.no_grad():
        out = torch.full((len(x),), -torch.inf)
        out[inside] = torch.cat([score(part) for part in x[inside].split(2000)]).float()
    return out


if __name__ == "__main__":
    main()
