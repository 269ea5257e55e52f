"""Generation of characters by a transformer of 10.7 million parameters: genus against x-transformers, both with their caches.

    python benchmarks/generation.py [--characters 255] [--repetitions 5] [--peer FOLDER]

6 layers, 6 heads, 384 wide, 65 symbols, random weights; in this process, in turns, with the default threads. Printed are
tokens a second, medians, and ratios. x-transformers (with einops, einx, loguru and torch-einops-utils) is looked for in FOLDER,
made for instance by `pip install --target FOLDER x-transformers`, or else in the environment. "bfloat16" is genus inside
`torch.autocast("cpu", torch.bfloat16)`: it draws from the distribution of rounded weights, and is not compared.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import torch

import genus
from genus import GPT, Category, Space

WIDTH, LAYERS, HEADS, SYMBOLS, WINDOW = 384, 6, 6, 65, 256


def ours(characters: int) -> Callable[[int], Any]:
    space = Space(Category(tuple(chr(60 + i) for i in range(SYMBOLS))), shape=(WINDOW,), sequence=True)
    model = GPT(space, width=WIDTH, layers=LAYERS, heads=HEADS)
    print(f"genus {genus.__version__}: {model.parameter_count:,} parameters")
    return lambda batch: model.sample(batch, length=characters, seed=0)


def theirs(characters: int) -> Callable[[int], Any] | None:
    try:
        from x_transformers import AutoregressiveWrapper, Decoder, TransformerWrapper
    except ImportError as error:
        print(f"x-transformers is not here ({error}), so genus stands alone; see --peer.")
        return None
    layers = Decoder(dim=WIDTH, depth=LAYERS, heads=HEADS, attn_dim_head=WIDTH // HEADS)
    model = AutoregressiveWrapper(TransformerWrapper(num_tokens=SYMBOLS, max_seq_len=WINDOW, attn_layers=layers)).eval()
    count = sum(p.numel() for p in model.parameters())
    print(f"x-transformers {version('x-transformers')}: {count:,} parameters")
    return lambda batch: model.generate(torch.zeros(batch, 1, dtype=torch.long), characters, cache_kv=True)


def seconds(work: Callable[[int], Any], batch: int) -> float:
    start = time.perf_counter()
    work(batch)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--characters", type=int, default=255)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--peer", help="a folder in which x-transformers is installed")
    arguments = parser.parse_args()
    if arguments.peer:
        sys.path.append(arguments.peer)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {arguments.characters} characters")
    mine, peer = ours(arguments.characters), theirs(arguments.characters)

    def half(batch: int) -> None:
        with torch.autocast("cpu", torch.bfloat16):
            mine(batch)

    print(f"\n{'batch':>5} {'genus':>9} {'x-transformers':>15} {'ratio':>6} {'bfloat16':>9}   tokens a second")
    ratios = []
    for batch in (1, 16):
        times: dict[str, list[float]] = {"genus": [], "bfloat16": [], "peer": []}
        for repetition in range(arguments.repetitions + 1):
            for name, work in (("genus", mine), ("bfloat16", half), ("peer", peer)):
                if work is not None:
                    taken = seconds(work, batch)
                    if repetition:  # the first warms up
                        times[name].append(taken)
        rate = {name: batch * arguments.characters / statistics.median(taken) for name, taken in times.items() if taken}
        line = f"{batch:>5} {rate['genus']:>9.0f}"
        if peer is not None:
            ratios.append(rate["genus"] / rate["peer"])
            line += f" {rate['peer']:>15.0f} {ratios[-1]:>6.1f}"
        else:
            line += f" {'-':>15} {'-':>6}"
        print(f"{line} {rate['bfloat16']:>9.0f}")
    if min(ratios, default=3.0) < 3:
        raise SystemExit("Expected at least three times the tokens a second of x-transformers.")


if __name__ == "__main__":
    main()
