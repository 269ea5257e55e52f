"""`MarkovChain` on text: its likelihood at every order, the time of a fit, and its speed of generation beside NLTK's.

    pip install nltk
    python benchmarks/markov.py [--data ../shared/data/text] [--repetitions 5] [--characters 200000]

Needs tinyshakespeare.txt (first 90 % train, last 10 % validate, as one sequence each) and names.txt (shuffled by seed 42; 80 %
train, 10 % and 10 % judge; each name with its end). An order is how many characters are remembered: order 6 is a model of
7-grams. Generation is compared after the same characters of the same text, at the same order: NLTK's interpolated Kneser-Ney is
the same kind of model; its MLE, which smooths nothing and never draws what was not seen, is there for scale. It exits with an
error where the best order is worse than 1.52 nats, the same order online (it learns from each character after it was scored)
worse than 1.41, names are worse than 1.98, a fit of 7-grams or 8-grams takes more than 1.5 s, or generation is less than 100
times as fast as NLTK's Kneser-Ney.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from records import Record

import genus
from genus import Category, MarkovChain, Space

RECORD = Record(__doc__)


def timed(work: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def shakespeare(text: str, repetitions: int) -> list[str]:
    symbols = sorted(set(text))
    space = Space(Category(tuple(symbols)), shape=(256,), sequence=True)
    codes = torch.tensor([symbols.index(c) for c in text], dtype=torch.float32)
    cut = int(0.9 * len(codes))
    train, validation = codes[None, :cut], codes[None, cut:]
    pieces = genus.Dataset(train[:, : cut // 256 * 256].reshape(-1, 256), None, space, consecutive=True)
    print(f"\ntinyshakespeare: {cut:,} characters train, {len(codes) - cut:,} validate, {len(symbols)} symbols")
    columns = {
        "order": 7,
        "n-grams": 9,
        "nats/char": 11,
        "observe + conclude": 20,
        "genus.fit": 11,
        "score": 8,
        "n-grams seen": 14,
    }
    print("".join(f"{name:>{width}}" for name, width in columns.items()))
    found, seconds = {}, {}

    def counted(model: MarkovChain) -> None:
        model.clear()
        model.observe(train)
        model.conclude()

    for order in range(2, 9):
        model = MarkovChain(space, order=order)
        own = statistics.median(timed(lambda model=model: counted(model)) for _ in range(repetitions))
        found[order] = -float(model.log_conditionals(validation).mean())
        score = timed(lambda model=model: model.log_prob(validation))
        again = MarkovChain(space, order=order)
        seconds[order] = statistics.median(
            timed(lambda m=again: genus.fit(m, pieces, progress=False)) for _ in range(repetitions)
        )
        seen = f"{model.parameter_count:,}"
        print(f"{order:>7}{order + 1:>9}{found[order]:>11.4f}{own:>18.2f} s{seconds[order]:>9.2f} s{score:>6.2f} s{seen:>14}")
        RECORD.row(text="tinyshakespeare", what=f"order {order}", nats=found[order], fit_s=seconds[order], score_s=score)
    for smoothing, k in (("witten-bell", 1.0), ("add-k", 1.0), ("add-k", 0.01)):
        values = []
        for order in range(1, 7):
            model = MarkovChain(space, order=order, smoothing=smoothing, k=k)
            model.observe(train)
            model.conclude()
            values.append(f"{-float(model.log_conditionals(validation).mean()):.4f}")
        print(f"  {smoothing}{f', k = {k:g}' if smoothing == 'add-k' else ''}, orders 1 to 6: {', '.join(values)}")
    best = min(found, key=found.__getitem__)
    model = MarkovChain(space, order=best)
    counted(model)
    online: list[float] = []
    seconds_online = timed(lambda: online.append(-float(model.log_conditionals_online(validation).mean())))
    print(
        f"  order {best} online, which learns from each character after it was scored: {online[0]:.4f}, {seconds_online:.2f} s"
    )
    print(f"  best: order {best} ({best + 1}-grams), {found[best]:.4f} nats a character")
    RECORD.row(text="tinyshakespeare", what=f"order {best}, online", nats=online[0], score_s=seconds_online)
    failed = [f"online it has {online[0]:.4f} nats, more than 1.41"] if online[0] > 1.41 else []
    failed += [f"the best order has {found[best]:.4f} nats, more than 1.52"] if found[best] > 1.52 else []
    return failed + [f"a fit of order {k} took {seconds[k]:.2f} s, more than 1.5" for k in (6, 7) if seconds[k] > 1.5]


def names(words: list[str]) -> list[str]:
    random.seed(42)
    random.shuffle(words)
    length = max(map(len, words)) + 1
    x = torch.full((len(words), length), 26.0)
    for row, word in zip(x, words, strict=True):
        row[: len(word)] = torch.tensor([ord(letter) - ord("a") for letter in word])
    space = Space(Category((*"abcdefghijklmnopqrstuvwxyz", None)), shape=(length,), sequence=True)
    first, second = int(0.8 * len(x)), int(0.9 * len(x))
    dev, test = {}, {}
    print(f"\nnames: {first:,} train; nats a character, the end included")
    for order in range(2, 9):
        model = MarkovChain(space, order=order)
        seconds = timed(lambda model=model: genus.fit(model, x[:first], progress=False))
        dev[order], test[order] = (math.log(model.perplexity(part)) for part in (x[first:second], x[second:]))
        print(f"  order {order} ({order + 1}-grams): dev {dev[order]:.4f}, test {test[order]:.4f}, fit {seconds:.2f} s")
    best = min(dev, key=dev.__getitem__)
    print(f"  chosen on dev: order {best}, test {test[best]:.4f}")
    RECORD.row(text="names", what=f"order {best}, chosen on dev", nats=test[best])
    return [f"names have {test[best]:.4f} nats on test, more than 1.98"] if test[best] > 1.98 else []


def generation(text: str, order: int, repetitions: int) -> list[str]:
    try:
        import nltk
        from nltk.lm import MLE, KneserNeyInterpolated
        from nltk.util import everygrams
    except ImportError:
        return ["NLTK is not installed (pip install nltk), so generation was not compared"]
    symbols = sorted(set(text))
    space = Space(Category(tuple(symbols)), shape=(256,), sequence=True)
    model = MarkovChain(space, order=order)
    model.observe(torch.tensor([[symbols.index(c) for c in text]], dtype=torch.float32))
    model.conclude()
    mle = MLE(order + 1)
    mle.fit([everygrams(text, max_len=order + 1)], vocabulary_text=symbols)
    theirs = KneserNeyInterpolated(order + 1, vocabulary=mle.vocab, counter=mle.counts)
    print(f"\ngeneration, order {order}, after {len(text):,} characters: symbols a second (NLTK {nltk.__version__})")
    peers: dict[str, tuple[int, Callable[[int], Any]]] = {
        "genus, 1 sequence": (50_000, lambda n: model.sample(1, length=n, seed=0)),
        "genus, 64 sequences": (64_000, lambda n: model.sample(64, length=n // 64, seed=0)),
        "NLTK KneserNeyInterpolated": (30, lambda n: theirs.generate(n, random_seed=0)),
        "NLTK MLE, no smoothing": (3_000, lambda n: mle.generate(n, random_seed=0)),
    }
    rates: dict[str, list[float]] = {what: [] for what in peers}
    for _ in range(repetitions):
        for what, (count, draw) in peers.items():
            rates[what].append(count / timed(lambda draw=draw, count=count: draw(count)))
    ours = statistics.median(rates["genus, 1 sequence"])
    ratios = {what: ours / statistics.median(values) for what, values in rates.items()}
    for what, values in rates.items():
        beside = f"   genus, 1 sequence, is {ratios[what]:,.0f} times as fast" if "NLTK" in what else ""
        print(f"  {what:<28}{statistics.median(values):>12,.0f}{beside}")
        RECORD.row(text="tinyshakespeare", what=f"drawn by {what}", symbols_a_second=statistics.median(values))
    ratio = ratios["NLTK KneserNeyInterpolated"]
    return [f"generation is {ratio:.0f} times as fast as NLTK's, less than 100"] if ratio < 100 else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data" / "text")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--characters", type=int, default=200_000, help="of the text that generation learns from")
    arguments = parser.parse_args()
    if not arguments.data.is_dir():
        raise SystemExit(f"There is no folder {arguments.data}; pass --data, one with tinyshakespeare.txt and names.txt.")
    print(f"genus {genus.__version__}, torch {torch.__version__}, numpy {np.__version__}, {torch.get_num_threads()} threads")
    text = (arguments.data / "tinyshakespeare.txt").read_text()
    failed = shakespeare(text, arguments.repetitions)
    failed += names((arguments.data / "names.txt").read_text().split())
    failed += generation(text[: arguments.characters], 6, arguments.repetitions)
    RECORD.keep()
    if failed:
        raise SystemExit("\n" + "; ".join(failed) + ".")


if __name__ == "__main__":
    main()
