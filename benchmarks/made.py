"""`MADE`: what a sample costs beside a density, and binarised MNIST.

    python benchmarks/made.py                                  # 784 binary inputs: time of sampling / time of one density
    python benchmarks/made.py --table [1000000]                # rows × 15 columns: times of scoring and drawing / of products
    python benchmarks/made.py --mnist ../shared/data/images/binarized_mnist.npz [--seconds 900]

The first draws a batch, pixel by pixel, and takes the log-density of a batch of as many rows, in turns; printed are medians and
the median of the ratios. It exits with an error where sampling a batch of 1,000 takes more than 8 times as long as its density.

The second scores and draws a table of 15 mixed columns and one of 15 reals with the net that a million rows would have, and
sets the processor time beside that of the net's matrix products alone: those that it makes, in blocks which leave out most of
what masks cut away, and as whole matrices. The rows are a million or as many as are asked for, 50,000 at a time, as the command
line does it. It exits with an error where, of the products that the net makes, scoring takes more than 2 times the time, or
drawing more than 4 times.

The third trains on the 50,000 statically binarised training images (Salakhutdinov & Murray 2008; arrays `train`, `valid` and
`test`, `np.packbits` along axis 1 of 784), chooses the weights by the 10,000 validation images alone, and evaluates the 10,000
test images once, at the end, if the validation images say that it is worth it. Published for one hidden layer: 88.40 nats
(Germain et al. 2015, arXiv:1502.03509).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from reading import columns
from records import Record
from timing import medians

import genus
from genus import MADE, Lattice, Space
from genus.ladder import map_batches
from genus.nets.masked import MaskedMLP

RECORD = Record(__doc__)

IMAGES = Space(Lattice(0, 1), shape=(28, 28))
MOST, PUBLISHED = 8.0, 88.40
BLOCK = 50_000  # rows that the command line scores and draws together


def timed(work: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


@torch.no_grad()
def sampling(repetitions: int) -> None:
    print(f"784 binary inputs, {torch.get_num_threads()} threads, torch {torch.__version__}")
    for hidden in ((500,), (2000,), (1000, 1000)):
        model = MADE(IMAGES, hidden=hidden).eval()
        for rows in (1000, 100):
            x = torch.randint(2, (rows, 28, 28), generator=torch.Generator().manual_seed(0)).float()
            draw, score = partial(model.sample, rows, seed=0), partial(model.log_prob, x)
            pairs = [(timed(draw), timed(score)) for _ in range(repetitions + 1)][1:]  # the first warms up
            sample, density = (1e3 * statistics.median(t) for t in zip(*pairs, strict=True))
            ratio = statistics.median(s / d for s, d in pairs)
            print(f"  hidden {hidden}, {rows:>5,} rows: sampling {sample:.0f} ms / density {density:.1f} ms = {ratio:.1f}")
            RECORD.row(hidden=str(hidden), rows=rows, sampling_ms=sample, density_ms=density, ratio=ratio)
            if rows == 1000 and ratio > MOST:
                raise SystemExit(f"Sampling takes {ratio:.1f} times as long as a density; expected at most {MOST:g}.")


@torch.no_grad()
def table(rows: int, repetitions: int) -> None:
    """Time scoring and drawing beside the matrix products, in turns, each turn over 50,000 rows of its own."""
    repetitions = max(repetitions, -(-rows // BLOCK))
    for what, kinds in (("mixed", None), ("real", 15)):
        rng = np.random.default_rng(0)
        held = columns(rng, BLOCK) if kinds is None else {f"x{i}": rng.normal(size=BLOCK) for i in range(kinds)}
        data = genus.read(pa.table(held))
        model = MADE(data.space, **MADE.default_hyperparameters(data.space, 1_000_000))
        with torch.enable_grad():
            genus.fit(model, data, max_steps=20, seed=0, progress=False)
        net = model.eval().nets[0]
        assert isinstance(net, MaskedMLP)
        work: dict[str, Callable[[], Any]] = {
            "products": partial(products, net, whole=False),
            "whole products": partial(products, net, whole=True),
            "score": torch.inference_mode()(partial(map_batches, model.log_prob, data.x)),  # as the command line scores
            "sample": partial(model.sample, BLOCK, seed=0),
        }
        us = {name: 1e3 * taken / BLOCK for name, taken in medians(work, repetitions, time.process_time).items()}
        for name, most in (("score", 2.0), ("sample", 4.0)):
            ratio = us[name] / us["products"]
            print(f"  15 {what} columns, {name}: {us[name]:.1f} µs a row / products {us['products']:.1f} = {ratio:.2f}")
            RECORD.row(
                columns=what, what=name, us_a_row=us[name], products_us=us["products"], ratio=ratio,
                whole_products_us=us["whole products"], ratio_of_whole=us[name] / us["whole products"],
                asked=f"at most {most:g}",
            )  # fmt: skip
            if ratio > most:
                raise SystemExit(f"That is {ratio:.2f} times the time of the products; expected at most {most:g}.")


def products(net: MaskedMLP, whole: bool) -> None:
    """Multiply as one pass over a block of rows does, and nothing else; whole: by all of every weight."""
    rows = 1024
    weights = [layer.weight.detach() for layer in (*net.layers, net.out)]
    inputs = [torch.randn(rows, weight.shape[1]) for weight in weights]
    outputs = [torch.empty(rows, weight.shape[0]) for weight in weights]
    parts = [[(0, *weight.shape)] for weight in weights] if whole else net.blocks
    for _ in range(0, BLOCK, rows):
        for h, out, weight, cut in zip(inputs, outputs, weights, parts, strict=True):
            for first, last, seen in cut:
                torch.mm(h[:, :seen], weight[first:last, :seen].T, out=out[:, first:last])


def mnist(path: Path, seconds: float) -> None:
    if not path.exists():
        raise SystemExit(f"{path} is not there; --mnist takes binarised MNIST with arrays train, valid and test.")
    packed = np.load(path)
    images = {
        part: torch.from_numpy(np.unpackbits(packed[part], axis=1, count=784).reshape(-1, 28, 28)).float()
        for part in ("train", "valid", "test")
    }
    torch.manual_seed(0)
    model = MADE(IMAGES, **MADE.default_hyperparameters(IMAGES, len(images["train"])))
    print(f"binarised MNIST: {model.config}, {model.parameter_count:,} numbers, {torch.get_num_threads()} threads")
    begin = time.perf_counter()
    history = genus.fit(model, images["train"], validation=images["valid"], max_seconds=seconds)
    took = time.perf_counter() - begin
    print(f"  {history.steps:,} steps in {took / 60:.1f} minutes")
    for part in ("valid", "test"):
        with torch.no_grad():
            nats = -torch.cat([model.log_prob(x) for x in images[part].split(1000)]).double()
        print(f"  {part}: {nats.mean():.2f} nats (standard error {nats.std() / len(nats) ** 0.5:.2f})")
        error = float(nats.std() / len(nats) ** 0.5)
        RECORD.row(images=part, nats=(float(nats.mean()), error), published=PUBLISHED, minutes=took / 60)
        if nats.mean() > PUBLISHED:
            raise SystemExit(f"That is above the {PUBLISHED:.2f} nats published for one hidden layer.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", type=Path, help="the file of binarised MNIST; without it, sampling is timed")
    parser.add_argument("--table", type=int, nargs="?", const=1_000_000, metavar="ROWS", help="time a table of 15 columns")
    parser.add_argument("--seconds", type=float, default=900.0)
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args()
    try:
        if options.table is not None:
            table(options.table, options.repetitions)
        elif options.mnist is None:
            sampling(options.repetitions)
        else:
            mnist(options.mnist, options.seconds)
    finally:  # a target that is missed ends the run
        RECORD.keep()


if __name__ == "__main__":
    main()
