"""A chain of boosted trees: how near is its density to the best that is known, and what does it cost?

    python benchmarks/trees.py [--data ../shared/data] [--sets adult,nltcs,plants,audio,jester,dna] [--orders 1,3] [--seed 0]

Adult: `trees` learns adult-train.csv, its own tenth of the rows held out to stop by, is scored on adult-test.csv and draws as
many rows; C2ST and TSTR are those of `benchmarks/adult.py`, and so is the measure of the nats, a count of the values of all
columns. Binary sets: the published splits, the published validation rows to stop by. Beside each stands what it is to reach,
measured once with LightGBM alone and a chain by hand, and the best published circuit. With `--peers` the discrete families that
fit in a minute are scored too. Seconds are of one core. It exits with an error where a target is missed.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.csv
import torch
from adult import TARGET, c2st, tstr

import genus

ADULT = {1: (-27.85, 0.58, None, 15.0), 3: (-27.77, 0.575, 0.918, 40.0)}  # orders: nats, C2ST, TSTR, seconds
BINARY = {  # two orders, a published circuit: nats a row
    "nltcs": (-5.993, -6.007),
    "plants": (-12.251, -14.31),
    "audio": (-38.771, -39.77),
    "jester": (-51.541, -52.46),
    "dna": (-77.994, -79.34),
}
SLACK, SECONDS = 0.02, 30.0  # nats below a binary target that are let pass; for each order
PEERS = ("naive-bayes", "mixture", "made", "gpt")


def scored(model: genus.TractableDensity, x: torch.Tensor) -> tuple[float, float]:
    """The mean log-density of rows in nats, and its standard error."""
    with torch.no_grad():
        value = torch.cat([model.log_prob(rows) for rows in x.split(4096)]).double()
    return float(value.mean()), float(value.std() / len(value) ** 0.5)


def adult(folder: Path, orders: int, seed: int) -> bool:
    """One line of Adult; whether it reaches its targets."""
    paths = [folder / "tables" / f"adult-{part}.csv" for part in ("train", "test")]
    data = genus.read(paths[0], target=TARGET)
    test, real = genus.read(paths[1], space=data.codec), pyarrow.csv.read_csv(paths[1])
    torch.manual_seed(seed)
    model, begin = genus.Trees(data.space, orders=orders), time.process_time()
    genus.fit(model, data, seed=seed, progress=False)
    fitted = time.process_time() - begin
    nats, error = scored(model, test.x)
    samples = data.decode(model.sample(len(test), seed=seed))
    seconds = time.process_time() - begin
    fidelity, utility = c2st(real, samples), tstr(real, samples)
    goal = ADULT.get(orders, (-np.inf, 1.0, None, np.inf))
    print(
        f"  adult    {orders} order{'s' if orders > 1 else ' '}  {nats:8.3f} ± {error:.3f} (≥ {goal[0]})  C2ST {fidelity:.3f}"
        f" (≤ {goal[1]})  TSTR {utility:.3f}{f' (≥ {goal[2]})' if goal[2] else ''}  fit {fitted:.1f} s, with scores and samples"
        f" {seconds:.1f} s (≤ {goal[3]:.0f})  {model.parameter_count:,} numbers",
        flush=True,
    )
    return nats >= goal[0] and fidelity <= goal[1] and utility >= (goal[2] or 0.0) and fitted <= goal[3]


def binary(folder: Path, name: str, orders: int, seed: int, peers: bool) -> bool:
    """The lines of a binary set; whether two orders reach their target."""
    file = np.load(folder / "binary" / f"{ {'audio': 'baudio'}.get(name, name) }.npz")
    parts = {k: np.unpackbits(file[k], axis=1, count=int(file["columns"])) for k in ("train", "valid", "test")}
    train, valid, test = (torch.tensor(parts[k], dtype=torch.float32) for k in ("train", "valid", "test"))
    space = genus.Space([genus.Category((0, 1))] * train.shape[1])
    reached, (goal, circuit) = True, BINARY[name]
    for family in ("trees", *(PEERS if peers else ())):
        torch.manual_seed(seed)
        hyper = {"orders": orders} if family == "trees" else genus.family(family).default_hyperparameters(space, len(train))
        model, begin = genus.build(family, space, seed=seed, **hyper), time.process_time()
        seconds = None if family == "trees" else 60
        genus.fit(model, train, validation=valid, max_seconds=seconds, seed=seed, progress=False)
        took = time.process_time() - begin
        nats, error = scored(model, test)
        note = f"(≥ {goal} - {SLACK}; circuit {circuit})" if family == "trees" and orders == 2 else ""
        which = orders if family == "trees" else ""
        print(f"  {name:<8} {family:<12} {which:<2}  {nats:9.3f} ± {error:.3f}  {took:6.1f} s  {note}", flush=True)
        if family == "trees":
            reached = orders != 2 or (nats >= goal - SLACK and took <= SECONDS * orders)
    return reached


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("--sets", default="adult,nltcs,plants,audio,jester,dna")
    parser.add_argument("--orders", help="by default 1 and 3 of Adult, 1 and 2 of binary sets")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--peers", action="store_true", help="score other discrete families on the binary sets too")
    arguments = parser.parse_args()
    if not (arguments.data / "tables").is_dir():
        sys.exit(f"{arguments.data} is not there; give the folder of the data with --data.")
    print(f"genus {genus.__version__}, torch {torch.__version__}, {torch.get_num_threads()} threads; nats a row")
    missed = []
    for name in arguments.sets.split(","):
        default = "1,3" if name == "adult" else "1,2"
        for orders in map(int, (arguments.orders or default).split(",")):
            if name == "adult":
                reached = adult(arguments.data, orders, arguments.seed)
            else:
                reached = binary(arguments.data, name, orders, arguments.seed, arguments.peers and orders == 1)
            missed += [] if reached else [f"{name} with {orders}"]
    if missed:
        sys.exit(f"Targets missed: {', '.join(missed)}.")


if __name__ == "__main__":
    main()
