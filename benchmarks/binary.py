"""Binary sets with published splits: how near is a chain of boosted trees to the best density that is known, and at what cost?

    python benchmarks/binary.py [--data ../shared/data] [--sets nltcs,plants,audio,jester,dna] [--orders 1,2] [--seed 0]
        [--peers naive-bayes,mixture,made,gpt]

`trees` learns the training rows and stops by the published validation rows. Beside it stands what two orders are to reach,
measured once with LightGBM alone and a chain by hand, and a published circuit (hidden Chow-Liu trees, Liu and Van den Broeck
2021). With `--peers` other discrete families learn the same rows in the same run, a minute each at most. Seconds are of
processor time. It exits with an error where a target is missed.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch

import genus

GOALS = {  # two orders, a published circuit: nats a row
    "nltcs": (-5.993, -6.007),
    "plants": (-12.251, -14.31),
    "audio": (-38.771, -39.77),
    "jester": (-51.541, -52.46),
    "dna": (-77.994, -79.34),
}
SLACK, SECONDS = 0.02, 30.0  # nats below a target that are let pass; for each order


def scored(model: genus.TractableDensity, x: torch.Tensor) -> tuple[float, float]:
    """The mean log-density of rows in nats, and its standard error."""
    with torch.no_grad():
        value = torch.cat([model.log_prob(rows) for rows in x.split(4096)]).double()
    return float(value.mean()), float(value.std() / len(value) ** 0.5)


def loaded(folder: Path, name: str) -> list[torch.Tensor]:
    """The training, validation and test rows of a set."""
    file = np.load(folder / "binary" / f"{ {'audio': 'baudio'}.get(name, name) }.npz")
    parts = [np.unpackbits(file[k], axis=1, count=int(file["columns"])) for k in ("train", "valid", "test")]
    return [torch.tensor(part, dtype=torch.float32) for part in parts]


def line(folder: Path, name: str, family: str, orders: int, seed: int) -> bool:
    """One line of a set; whether trees reach their target."""
    train, valid, test = loaded(folder, name)
    space, (goal, circuit) = genus.Space([genus.Category((0, 1))] * train.shape[1]), GOALS[name]
    mine = family == "trees"
    hyper = {"orders": orders} if mine else genus.family(family).default_hyperparameters(space, len(train))
    torch.manual_seed(seed)
    model, begin = genus.build(family, space, seed=seed, **hyper), time.process_time()
    genus.fit(model, train, validation=valid, max_seconds=None if mine else 60, seed=seed, progress=False)
    took = time.process_time() - begin
    nats, error = scored(model, test)
    note = f"(≥ {goal} - {SLACK}; circuit {circuit})" if mine and orders == 2 else ""
    print(f"  {name:<8} {family:<12} {orders if mine else '':<2}  {nats:9.3f} ± {error:.3f}  {took:6.1f} s  {note}", flush=True)
    return not mine or orders != 2 or (nats >= goal - SLACK and took <= SECONDS * orders)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("--sets", default=",".join(GOALS))
    parser.add_argument("--orders", default="1,2")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--peers", default="", help="other discrete families to be scored in the same run")
    arguments = parser.parse_args()
    if not (arguments.data / "binary").is_dir():
        sys.exit(f"{arguments.data} is not there; give the folder of the data with --data.")
    print(f"genus {genus.__version__}, torch {torch.__version__}, {torch.get_num_threads()} threads; nats a row")
    missed = []
    for name in arguments.sets.split(","):
        for peer in filter(None, arguments.peers.split(",")):
            line(arguments.data, name, peer, 1, arguments.seed)
        for orders in map(int, arguments.orders.split(",")):
            if not line(arguments.data, name, "trees", orders, arguments.seed):
                missed.append(f"{name} with {orders}")
    if missed:
        sys.exit(f"Targets missed: {', '.join(missed)}.")


if __name__ == "__main__":
    main()
