"""Sampling 28 x 28 images: with the rows and columns that the stacks remember, and by a pass over the whole image each pixel.

    python benchmarks/pixelcnn.py

A pass costs the same at every pixel, so that the way without memory is timed at every 56th and scaled up. Each way has one
thread or all of them, whichever suits it. Ends with an error where the two ways do not give the same distribution, or the ratio
is below 20.
"""

from __future__ import annotations

import statistics
import sys
import time

import torch
from records import Record
from timing import best

import genus
from genus.random import isolated

RECORD = Record(__doc__)

SIDE, EVERY = 28, 56


def pixelcnn(levels: int) -> genus.PixelCNN:
    """The default net, away from its first weights, which know nothing."""
    space = genus.Space(genus.Lattice(0, levels - 1), shape=(SIDE, SIDE))
    with isolated(0):
        model = genus.PixelCNN(space).eval()
        for parameter in model.parameters():
            parameter.data += 0.05 * torch.randn_like(parameter)
        return model


def cached(model: genus.PixelCNN, n: int) -> float:
    """Seconds for n images."""
    begin = time.perf_counter()
    model.sample(n, seed=0)
    return time.perf_counter() - begin


@torch.no_grad()
def naive(model: genus.PixelCNN, n: int) -> float:
    """Seconds for n images, by one pass over all of them for every pixel."""
    x, times = torch.zeros(n, SIDE * SIDE), []
    for i in range(0, SIDE * SIDE, EVERY):
        begin = time.perf_counter()
        h = model.net(model.tokens(x))
        x[:, i] = model.outputs.at(i, h[:, i]).sample()[:, 0]
        times.append(time.perf_counter() - begin)
    return statistics.median(times) * SIDE * SIDE


@torch.no_grad()
def check(model: genus.PixelCNN) -> None:
    """The same probabilities of an image, step by step and all at once."""
    x = model.sample(2, seed=0)
    steps, flat = model._steps(2, None, None), x.flatten(1)
    distribution, parts = next(steps), []
    for i in range(flat.shape[1]):
        parts.append(distribution.log_prob(flat[:, i : i + 1]))
        if i + 1 < flat.shape[1]:
            distribution = steps.send(flat[:, i : i + 1])
    away = (torch.cat(parts, dim=1) - model.log_conditionals(x)).abs().max().item()
    if away > 1e-9:
        sys.exit(f"the two ways differ by {away:.1e} nats")
    print(f"both ways give the same distribution, at most {away:.0e} nats apart in double precision")


def main() -> None:
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    check(pixelcnn(2).double())
    worst = float("inf")
    for levels in (2, 256):
        model = pixelcnn(levels)
        cached(model, 1)
        print(f"{SIDE} x {SIDE}, {levels} levels, {model.parameter_count:,} parameters")
        for n in (1, 16):
            seconds = best(lambda: statistics.median(cached(model, n) for _ in range(3)))  # noqa: B023
            without = best(lambda: naive(model, n))  # noqa: B023
            worst = min(worst, without / seconds)
            RECORD.row(levels=levels, images=n, with_caches_s=seconds, by_whole_passes_s=without, ratio=without / seconds)
            print(f"  batch {n:2}: {seconds:6.2f} s, without memory, scaled {without:7.2f} s: {without / seconds:6.1f} times")
    RECORD.keep()
    if worst < 20:
        sys.exit("sampling with memory is less than 20 times as fast")


if __name__ == "__main__":
    main()
