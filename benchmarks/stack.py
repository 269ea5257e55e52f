"""A stack of families beside each of its members, paired row by row.

    OMP_NUM_THREADS=1 python benchmarks/stack.py [--data ../shared/data] [--sets wine,breast-cancer,protein,digits,adult]
        [--seconds 60] [--members trees,made] [--folds 5] [--seed 0]

`stack` learns with its defaults, for at most so many seconds of processor time (180 on Adult): what a busy machine does
meanwhile does not count. A fifth of the rows is held out (of Adult the published test rows). The log-density of the held-out
rows stands beside that of every member, a member that was cross-fitted being the mean of its folds' models, and beside the
difference to the best of them with its standard error over rows. On Adult C2ST and TSTR are those of `benchmarks/adult.py`. It
exits with an error where a stack is more than a standard error below its best member, or where Adult misses -27.75 nats, .57 or
.92.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.csv
import torch
from adult import TARGET, c2st, tstr
from records import Record

import genus

RECORD = Record(__doc__)

SETS = {"wine": "tables/wine.csv.gz", "breast-cancer": "breast-cancer", "protein": "tables/protein.csv.gz", "digits": "digits"}
ADULT = (-27.75, 0.57, 0.92)  # nats, C2ST, TSTR
ADULT_SECONDS = 180.0
TEST = 0.2


def read(folder: Path, name: str, most: int) -> tuple[genus.Dataset, genus.Dataset]:
    """The training rows and the held-out rows of a set, charts measured on the former."""
    if name == "adult":
        paths = [folder / "tables" / f"adult-{part}.csv" for part in ("train", "test")]
        data = genus.read(paths[0], target=TARGET)
        return data, genus.read(paths[1], space=data.codec)
    place = folder / SETS[name]
    data = genus.read(place if place.is_file() else SETS[name])
    train, held = data.split(test=TEST, seed=0)
    train = train.rows(slice(0, most))
    return train.charted_on(train), held.charted_on(train)


@torch.no_grad()
def scores(model: Any, data: genus.Dataset) -> torch.Tensor:
    """The log-density of every row in nats, (N,)."""
    return torch.cat([model.log_prob(rows) for rows in data.x.split(4096)]).double()


def run(name: str, arguments: argparse.Namespace) -> list[str]:
    """The lines of one set; returns what was missed."""
    train, held = read(arguments.data, name, arguments.rows)
    hyper = genus.Stack.default_hyperparameters(train.space, len(train))
    if arguments.members:
        hyper["members"] = arguments.members.split(",")
    if arguments.folds:
        hyper["folds"] = arguments.folds
    stack = genus.build("stack", train.space, seed=arguments.seed, **hyper)
    begin = time.perf_counter()
    seconds = max(arguments.seconds, ADULT_SECONDS) if name == "adult" else arguments.seconds
    history = genus.fit(stack, train, max_seconds=seconds, seed=arguments.seed, progress=False)
    took = time.perf_counter() - begin
    assert isinstance(stack, genus.Stack)
    print(f"{name}: {len(train):,} training rows, {len(held):,} held out, {stack.folds} folds; {took:.0f} s, {history.stopped}")
    members = {
        label: torch.stack([scores(one, held) for one in models]).logsumexp(0) - torch.tensor(float(len(models))).log()
        for label, models in zip(stack.weights, stack.fits, strict=True)
    }
    together = scores(stack, held)
    for label, values in members.items():
        print(f"  {label:<12}{values.mean():10.3f}   weight {stack.weights[label]:.3f}")
    best = max(members, key=lambda label: float(members[label].mean()))
    gain = together - members[best]
    error = float(gain.std()) / len(gain) ** 0.5
    print(f"  {'stack':<12}{together.mean():10.3f}   {gain.mean():+.3f} ± {error:.3f} to {best}", flush=True)
    averages = {label: float(values.mean()) for label, values in members.items()}
    RECORD.row(table=name, stack=float(together.mean()), to_the_best=(float(gain.mean()), error), best=best, **averages)
    missed = [] if float(gain.mean()) >= -error else [f"{name}: below {best}"]
    if name == "adult":
        samples = train.decode(stack.sample(len(held), seed=arguments.seed, blanks=True))
        real = pyarrow.csv.read_csv(arguments.data / "tables" / "adult-test.csv")
        fidelity, utility = c2st(real, samples), tstr(real, samples)
        print(
            f"  C2ST {fidelity:.3f} (≤ {ADULT[1]}), TSTR {utility:.3f} (≥ {ADULT[2]}), nats ≥ {ADULT[0]} asked for", flush=True
        )
        RECORD.row(table="adult, its samples", C2ST=fidelity, TSTR=utility)
        if float(together.mean()) < ADULT[0] or fidelity > ADULT[1] or utility < ADULT[2]:
            missed.append("adult: a target")
    return missed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("--sets", default="wine,breast-cancer,protein,digits,adult")
    parser.add_argument("--seconds", type=float, default=60.0, help="of processor time, for every stack but Adult's")
    parser.add_argument("--members", default="", help="families by name; by default those that suit the space")
    parser.add_argument("--folds", type=int, default=0, help="by default as many as suit the rows")
    parser.add_argument("--rows", type=int, default=10_000, help="of training, at most, Adult's aside")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    time.perf_counter = time.process_time  # type: ignore[assignment] # a budget of processor time
    print(f"genus {genus.__version__}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    missed = [line for name in arguments.sets.split(",") for line in run(name, arguments)]
    RECORD.keep([arguments.seed])
    if missed:
        sys.exit(f"Missed: {'; '.join(missed)}.")


if __name__ == "__main__":
    main()
