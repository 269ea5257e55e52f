"""`NaiveBayes` beside scikit-learn's GaussianNB and CategoricalNB: time to fit and to score, and that they agree.

    python benchmarks/naive_bayes.py [--rows 1000000] [--repetitions 7]

A million rows of 32 real columns, and of 32 columns of 8 levels, with a class of 5 levels; both libraries in this process,
on the same arrays, in turns, with their default threads. Printed are medians in seconds and the median of the ratios ours /
theirs: below 1, genus is faster. It exits with an error where a ratio is above 1, where predictions differ, or where streaming
in chunks gives other parameters. Only the row with `genus.read` may be slower: it finds out what every column is and checks
every value, for which scikit-learn has no counterpart, and stands there for scale.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import sklearn
import torch
from records import Record
from sklearn.naive_bayes import CategoricalNB, GaussianNB

import genus
from genus import Category, NaiveBayes, Real, Space

RECORD = Record(__doc__, "scikit-learn", "numpy")

COLUMNS, CLASSES, LEVELS, CHUNK = 32, 5, 8, 10_000
CONTEXT = Space([Category(tuple(range(CLASSES)))], names=["y"])


def draw(rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Reals (N, 32) whose mean depends on the class, the same in 8 levels, and the class (N,)."""
    generator = np.random.default_rng(0)
    y = generator.integers(0, CLASSES, rows)
    reals = generator.normal(size=(CLASSES, COLUMNS))[y] * 0.5 + generator.normal(size=(rows, COLUMNS))
    return reals, np.clip(np.round(reals * 1.5 + LEVELS / 2), 0, LEVELS - 1).astype(np.int64), y


def counted(model: NaiveBayes, x: torch.Tensor, c: torch.Tensor, rows: int) -> NaiveBayes:
    """The model that has observed x in chunks of so many rows."""
    model.clear()
    for at in range(0, len(x), rows):
        model.observe(x[at : at + rows], c[at : at + rows])
    model.conclude()
    return model


def timed(work: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def agree(what: str, ours: np.ndarray, theirs: np.ndarray, tolerance: float) -> None:
    apart = float(np.abs(ours - theirs).max())
    print(f"  {what}: at most {apart:.1e} apart")
    if not apart <= tolerance:
        raise SystemExit(f"{what} differ by more than {tolerance:g}; the times would mean nothing.")


def compare(name: str, space: Space, array: np.ndarray, y: np.ndarray, theirs: Any, wish: str, repetitions: int) -> list[float]:
    """Prints a table; gives the ratios of the like with the like."""
    x, c = torch.from_numpy(array).to(space.dtype), torch.from_numpy(y).to(CONTEXT.dtype).unsqueeze(1)
    model = NaiveBayes(space, CONTEXT)
    kinds = {f"x{i}": wish for i in range(COLUMNS)}
    fit, joint, proba = (lambda: theirs.fit(array, y)), "predict_joint_log_proba", "predict_log_proba"
    pairs: dict[str, tuple[Callable[[], Any], str, Callable[[], Any]]] = {
        "observe + conclude": (lambda: counted(model, x, c, len(x)), "fit", fit),
        "genus.fit": (lambda: genus.fit(model, (x, c), progress=False), "fit", fit),
        "genus.read + genus.fit": (lambda: genus.fit(model, (genus.read(array, kinds=kinds).x, c), progress=False), "fit", fit),
        "class_log_probs(x)": (lambda: model.class_log_probs(x), proba, lambda: theirs.predict_log_proba(array)),
        "log_prob(x, c)": (lambda: model.log_prob(x, c), joint, lambda: theirs.predict_joint_log_proba(array)),
    }
    for ours, _, other in pairs.values():  # warm both up
        ours(), other()
    times: dict[str, list[tuple[float, float]]] = {what: [] for what in pairs}
    for _ in range(repetitions):
        for what, (ours, _, other) in pairs.items():
            times[what].append((timed(ours), timed(other)))

    print(f"\n{len(x):,} rows x {COLUMNS} {name} columns, {CLASSES} classes: NaiveBayes / {type(theirs).__name__}")
    print(f"  {'genus':<24}{'s':>7}   {'scikit-learn':<24}{'s':>7} {'ratio':>6}")
    ratios = {}
    for what, both in times.items():
        mine, other = (statistics.median(t) for t in zip(*both, strict=True))
        ratios[what] = statistics.median(a / b for a, b in both)
        print(f"  {what:<24}{mine:>7.3f}   {pairs[what][1]:<24}{other:>7.3f} {ratios[what]:>6.2f}")
        peer = f"{type(theirs).__name__}.{pairs[what][1]}"
        RECORD.row(rows=len(x), columns=name, genus=what, seconds=mine, peer=peer, its_seconds=other, ratio=ratios[what])

    whole = {key: value.clone() for key, value in counted(model, x, c, len(x)).state_dict().items()}
    agree("log p(y | x) of both", model.class_log_probs(x).numpy(), theirs.predict_log_proba(array), 1e-3)
    streamed = counted(NaiveBayes(space, CONTEXT), x, c, CHUNK).state_dict()
    names = [f"product.{name}" for name in ("log_table", "mean", "std")]
    apart = [np.abs((streamed[name] - whole[name]).numpy()).max(initial=0) for name in names]
    agree(f"parameters streamed in chunks of {CHUNK:,} and at once", np.array(apart), np.zeros(3), 1e-9)
    return [ratio for what, ratio in ratios.items() if not what.startswith("genus.read")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repetitions", type=int, default=7)
    arguments = parser.parse_args()
    reals, codes, y = draw(arguments.rows)
    print(f"genus {genus.__version__}, scikit-learn {sklearn.__version__}, torch {torch.__version__}, numpy {np.__version__}")
    print(f"{torch.get_num_threads()} threads, {arguments.repetitions} repetitions in turns")
    space = Space([Real(float(m), float(s)) for m, s in zip(reals.mean(0), reals.std(0), strict=True)])
    levels = Space([Category(tuple(range(LEVELS)))] * COLUMNS)
    ratios = compare("real", space, reals, y, GaussianNB(var_smoothing=0), "real", arguments.repetitions)
    ratios += compare("categorical", levels, codes, y, CategoricalNB(alpha=1.0), "category", arguments.repetitions)
    RECORD.keep()
    if max(ratios) > 1:
        raise SystemExit(f"genus is slower than scikit-learn: the largest ratio is {max(ratios):.2f}.")


if __name__ == "__main__":
    main()
