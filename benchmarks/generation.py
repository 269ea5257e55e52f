"""Generation of characters by a transformer of 10.7 million parameters: genus against x-transformers, both with their caches.

    python benchmarks/generation.py [--characters 255] [--repetitions 5] [--peer FOLDER]

6 layers, 6 heads, 384 wide, 65 symbols, random weights; in this process, in turns, with the default threads. Printed are
tokens a second, medians. x-transformers (with einops, einx, loguru and torch-einops-utils) is looked for in FOLDER, made for
instance by `pip install --target FOLDER x-transformers`, or else in the environment. "compiled" is genus by
`sample(..., compile=True)`, compiled before the clock starts (the time that takes is printed). "bf16" is inside
`torch.autocast("cpu", torch.bfloat16)`, for both: draws from the distribution of rounded weights.

Asked are, of compiled steps, 400 tokens a second of one sequence in float32 and 3,000 of sixteen in bfloat16, and three times
x-transformers as it comes, in float32; the ratio in the table is to x-transformers in the same precision.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from typing import Any

import torch
from records import Record

import genus
from genus import GPT, Category, Space

RECORD = Record(__doc__)
WIDTH, LAYERS, HEADS, SYMBOLS, WINDOW = 384, 6, 6, 65, 256


def ours(characters: int) -> Callable[..., Any]:
    space = Space(Category(tuple(chr(60 + i) for i in range(SYMBOLS))), shape=(WINDOW,), sequence=True)
    model = GPT(space, width=WIDTH, layers=LAYERS, heads=HEADS)
    print(f"genus {genus.__version__}: {model.parameter_count:,} parameters")
    return lambda batch, **how: model.sample(batch, length=characters, seed=0, **how)


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


def seconds(work: Callable[[], Any], half: bool) -> float:
    start = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        work()
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
    ways: dict[str, Callable[[int], Any]] = {"genus": mine, "compiled": lambda batch: mine(batch, compile=True)}
    if peer is not None:
        ways["x-transformers"] = peer

    print(f"\n{'batch':>5} {'':>8}" + "".join(f"{name:>16}" for name in ways) + "   ratio   tokens a second")
    missed, default = [], dict[int, float]()
    for batch, precision, least in ((1, "float32", 400), (1, "bf16", 0), (16, "float32", 0), (16, "bf16", 3000)):
        half, times = precision == "bf16", {name: list[float]() for name in ways}
        first = {name: seconds(partial(work, batch), half) for name, work in ways.items()}
        for _ in range(arguments.repetitions):
            for name, work in ways.items():
                times[name].append(seconds(partial(work, batch), half))
        rate = {name: batch * arguments.characters / statistics.median(taken) for name, taken in times.items()}
        ratio = rate["compiled"] / rate["x-transformers"] if peer is not None else None
        line = f"{batch:>5} {precision:>8}" + "".join(f"{value:>16,.0f}" for value in rate.values())
        line += "       -" if ratio is None else f"{ratio:>8.1f}"
        print(f"{line}   (compiled in {first['compiled'] - statistics.median(times['compiled']):.0f} s)", flush=True)
        RECORD.row(texts=batch, precision=precision, **{f"{name}, tokens a second": value for name, value in rate.items()})
        if precision == "float32" and peer is not None:
            default[batch] = rate["x-transformers"]
        if least and rate["compiled"] < least:
            missed.append(f"{least:,} tokens a second at batch {batch}, {precision}")
        if least and rate["compiled"] < 3 * default.get(batch, 0.0):
            missed.append(f"three times x-transformers in float32 at batch {batch}, {precision}")
    RECORD.peers = ("x-transformers",) if peer is not None else ()
    RECORD.keep()
    if missed:
        raise SystemExit("Expected at least " + "; ".join(missed) + ".")


if __name__ == "__main__":
    main()
