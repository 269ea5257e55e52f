"""Count how often a label that was asked for is found in draws: MNIST pictures, by a classifier fitted on real ones.

    OMP_NUM_THREADS=1 python benchmarks/conditions.py --families vae,pixelcnn,wgan-gp,gan --seconds 90

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
from sklearn.ensemble import RandomForestClassifier

import genus
from genus.data import Dataset
from genus.registry import build
from genus.training import choose_size

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
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
    data, x_test, y_test = load(arguments.data)
    forest = RandomForestClassifier(300, random_state=0).fit(data.x.flatten(1).numpy(), data.c[:, 0].numpy())
    print(f"real test pictures: {np.mean(forest.predict(x_test) == y_test):.1%} found; chance 10 %", flush=True)
    asked = (torch.arange(DRAWS) % 10).float()[:, None]
    for name in arguments.families.split(","):
        cls = genus.family(name)
        began = time.process_time()
        size = choose_size(cls, data, arguments.seconds, given, arguments.seed)
        model = build(name, data.space, data.context, arguments.seed, **size.hyper)
        left = arguments.seconds - size.seconds
        history = genus.fit(model, data, max_seconds=left, seed=arguments.seed, progress=False, **size.options)
        spent = time.process_time() - began
        began = time.process_time()
        draws = model.sample(DRAWS, asked, seed=1)
        drawn = time.process_time() - began
        found = np.mean(forest.predict(draws.flatten(1).numpy()) == asked[:, 0].numpy())
        score = min((r["criterion"] for r in history.rows if r["criterion"] is not None), default=float("nan"))
        print(
            f"{name}: {found:.1%} found; {history.steps} steps, {history.parameters:,} numbers, {spent:.0f} s of processor"
            f" time, {drawn:.0f} s for {DRAWS} draws; validation {score:.2f}",
            flush=True,
        )
        print(f"    {size.sentence}", flush=True)
        if arguments.out is not None:
            arguments.out.mkdir(parents=True, exist_ok=True)
            save_grid(arguments.out / f"{name}.png", draws)


def save_grid(path: Path, draws: torch.Tensor) -> None:
    """Write the first hundred draws, a row for each label."""
    from PIL import Image

    grid = draws[:100].view(10, 10, 28, 28).permute(1, 2, 0, 3).reshape(280, 280)
    Image.fromarray(grid.round().clamp(0, 255).byte().numpy()).resize((840, 840)).save(path)


if __name__ == "__main__":
    main()
