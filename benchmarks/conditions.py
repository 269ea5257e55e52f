"""Count how often a label that was asked for is found in draws, by a classifier fitted on real data: MNIST pictures, or Adult.

    OMP_NUM_THREADS=1 python benchmarks/conditions.py --families vae,pixelcnn,wgan-gp,gan --seconds 90
    OMP_NUM_THREADS=1 python benchmarks/conditions.py --table adult --families vae,wgan-gp,mixture --seconds 90

Of Adult's `income` half of the draws are asked for either level, and the share of test rows is the mean over both levels.
Each family is fitted to 3,000 pictures of the training part with its default hyper-parameters, for so many seconds,
or with `--processor` seconds of processor time, by which machines with other work on them can be compared.
A random forest is fitted on the same pictures; the share of draws in which it finds the label that was asked for stands beside
the share of real test pictures in which it finds their own. `--out FOLDER` writes a grid of draws, a row a label.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from records import Record
from sklearn.ensemble import RandomForestClassifier

import genus
from genus.data import Dataset
from genus.registry import build
from genus.training import choose_size

RECORD = Record(__doc__, "scikit-learn")
ROWS, DRAWS, TESTED = 3000, 500, 2000


def load(folder: Path) -> tuple[Dataset, np.ndarray, np.ndarray]:
    """Return 3,000 training pictures with labels, and 2,000 test pictures and labels."""
    with np.load(folder / "images" / "mnist.npz") as parts:
        x, y = parts["x_train"][:ROWS], parts["y_train"][:ROWS]
        x_test, y_test = parts["x_test"][:TESTED], parts["y_test"][:TESTED]
    space = genus.Space(genus.Lattice(0, 255), shape=(28, 28))
    context = genus.Space([genus.Category(tuple("0123456789"))], names=["label"])
    data = Dataset(torch.tensor(x).float(), torch.tensor(y).float()[:, None], space, context, name="mnist")
    return data, x_test.reshape(TESTED, -1), y_test


def load_table(folder: Path) -> tuple[Dataset, np.ndarray, np.ndarray]:
    """Return Adult's training rows with the context income, and its test rows and their levels, as numbers."""
    data = genus.read(folder / "tables" / "adult-train.csv", context="income")
    test = genus.read(folder / "tables" / "adult-test.csv", space=(data.codec, data.context_codec), beyond=True)
    assert test.c is not None
    x, y = test.x.numpy(), test.c[:, 0].numpy()
    fine = ~np.isinf(x).any(1)
    x, y = x[fine], y[fine]
    alike = np.concatenate([np.flatnonzero(y == level)[: TESTED // 2] for level in (0, 1)])
    return data, x[alike], y[alike]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--table", choices=["adult"])
    parser.add_argument("--families", default="vae,pixelcnn,wgan-gp,gan")
    parser.add_argument("--seconds", type=float, default=90.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processor", action="store_true", help="count seconds of processor time; with one thread")
    parser.add_argument("--set", action="append", default=[], help="NAME=VALUE of every family's hyper-parameters, as JSON")
    parser.add_argument("--out", type=Path, help="a folder for grids of draws")
    arguments = parser.parse_args()
    if arguments.processor:
        time.perf_counter = time.process_time
    given = {name: json.loads(value) for name, value in (one.split("=") for one in arguments.set)}
    data, x_test, y_test = load_table(arguments.data) if arguments.table else load(arguments.data)
    assert data.c is not None
    levels, draws_asked = (2, 2000) if arguments.table else (10, DRAWS)
    # Of Adult a quarter has the rarer level, and trees that end in single rows would hardly ever find it.
    rare = {"class_weight": "balanced", "min_samples_leaf": 5} if arguments.table else {}
    forest = RandomForestClassifier(300, random_state=0, **rare)
    forest.fit(data.x.flatten(1).numpy(), data.c[:, 0].numpy())
    real = np.mean(forest.predict(x_test) == y_test)
    print(f"real test rows: {real:.1%} found; chance {1 / levels:.0%}", flush=True)
    RECORD.row(of="real test rows", found_pct=100 * float(real), chance_pct=100 / levels)
    asked = (torch.arange(draws_asked) % levels).float()[:, None]
    for name in arguments.families.split(","):
        cls = genus.family(name)
        began = time.process_time()
        size = choose_size(cls, data, arguments.seconds, given, arguments.seed)
        model = build(name, data.space, data.context, arguments.seed, **size.hyper)
        left = arguments.seconds - size.seconds
        history = genus.fit(model, data, max_seconds=left, seed=arguments.seed, progress=False, **size.options)
        spent = time.process_time() - began
        began = time.process_time()
        draws = model.sample(draws_asked, asked, seed=1)
        drawn = time.process_time() - began
        found = np.mean(forest.predict(draws.flatten(1).numpy()) == asked[:, 0].numpy())
        score = min((r["criterion"] for r in history.rows if r["criterion"] is not None), default=float("nan"))
        print(
            f"{name}: {found:.1%} found; {history.steps} steps, {history.parameters:,} numbers, {spent:.0f} s of processor"
            f" time, {drawn:.0f} s for {draws_asked} draws; validation {score:.2f}",
            flush=True,
        )
        print(f"    {size.sentence}", flush=True)
        RECORD.row(of=f"draws of {name}", found_pct=100 * float(found), steps=history.steps, fit_s=spent, draws_s=drawn)
        if arguments.out is not None and not arguments.table:
            arguments.out.mkdir(parents=True, exist_ok=True)
            save_grid(arguments.out / f"{name}.png", draws)
    RECORD.keep([arguments.seed])


def save_grid(path: Path, draws: torch.Tensor) -> None:
    """Write the first hundred draws, a row for each label."""
    from PIL import Image

    grid = draws[:100].view(10, 10, 28, 28).permute(1, 2, 0, 3).reshape(280, 280)
    Image.fromarray(grid.round().clamp(0, 255).byte().numpy()).resize((840, 840)).save(path)


if __name__ == "__main__":
    main()
