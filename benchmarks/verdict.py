"""From which strength a planted cheat is named, on rows of Adult, and how often honest rows are accused or called flawed.

    python benchmarks/verdict.py [--rows 6000] [--seeds 3] [--data ../shared/data/tables/adult-train.csv]

Training rows, held-out rows and the rows that a generator is said to have drawn are disjoint parts of the real table; cheats
are planted in the last. A strength is printed with the number of seeds in which its kind was named, and what else was said.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from records import Record
from torch import Tensor

import genus
from genus.data import Dataset
from genus.evaluation.copying import find_copies
from genus.evaluation.faults import find_faults

RECORD = Record(__doc__)
Change = Callable[[Tensor, Tensor, Tensor, float], Tensor]  # (drawn, train, held, strength) -> drawn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=6000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data", default=str(Path(__file__).resolve().parents[2] / "shared/data/tables/adult-train.csv"))
    options = parser.parse_args()
    data = genus.read(options.data, relations=False)
    print(f"genus {genus.__version__}; {options.rows:,} rows drawn, as many for training, half as many held out")
    for name, (expected, strengths, change) in cheats(data).items():
        told = []
        for strength in strengths:
            found = [judged(data, change, strength, options.rows, seed) for seed in range(options.seeds)]
            named = sum(expected in one for one in found)
            others = sorted({test for one in found for test in one} - {expected})
            told.append(f"{strength:g}: {named}/{options.seeds}" + (f" (also {', '.join(others)})" if others else ""))
            found_by = expected or "none is to be"
            RECORD.row(planted=name, strength=strength, test=found_by, named=named, of=options.seeds, also=", ".join(others))
        print(f"  {name:34} {expected or 'nothing':9} " + "; ".join(told), flush=True)
    RECORD.keep(range(options.seeds))


def judged(data: Dataset, change: Change, strength: float, rows: int, seed: int) -> set[str]:
    """Return the tests that found something wrong."""
    torch.manual_seed(seed)
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))
    train, drawn, held = (data.x[part] for part in order[: 2 * rows + rows // 2].split([rows, rows, rows // 2]))
    samples = change(drawn.clone(), train, held, strength)
    found = find_copies(data.space, samples, train, held) + find_faults(data.space, samples, train, held)
    return {finding.test for finding in found}


def cheats(data: Dataset) -> dict[str, tuple[str, list[float], Change]]:
    """Return name -> the test that should name it, strengths in order, and what it does to honest rows."""
    at = {name: data.space.index(name) for name in data.space.names or ()}
    numbers = [i for i, kind in enumerate(data.space.kinds) if not isinstance(kind, genus.Category)]

    def instead(others: Callable[[Tensor, Tensor], Tensor]) -> Change:
        def change(drawn: Tensor, train: Tensor, held: Tensor, share: float) -> Tensor:
            n, rows = int(share * len(drawn)), others(train, held)
            return torch.cat([rows[torch.arange(n) % len(rows)], drawn[n:]])

        return change

    def noisy(drawn: Tensor, train: Tensor, held: Tensor, scale: float) -> Tensor:
        x = train.clone()
        for i in numbers:
            step = getattr(data.space.kinds[i], "step", 1.0)
            moved = x[:, i] + scale * x[:, i].std() * torch.randn(len(x))
            x[:, i] = ((moved / step).round() * step).clamp(float(drawn[:, i].min()), float(drawn[:, i].max()))
        return x

    def wives(drawn: Tensor, train: Tensor, held: Tensor, share: float) -> Tensor:
        n = int(share * len(drawn))
        drawn[:n, at["sex"]] = level(data, "sex", "Female")
        drawn[:n, at["relationship"]] = level(data, "relationship", "Husband")
        return drawn

    def dropped(drawn: Tensor, train: Tensor, held: Tensor, share: float) -> Tensor:
        column = drawn[:, at["education"]]
        counts = torch.bincount(column.long()).double() / len(column)
        rare = (counts - share).abs().argmin()  # the level whose share is nearest
        return drawn[column != rare]

    def cut(drawn: Tensor, train: Tensor, held: Tensor, share: float) -> Tensor:
        column = drawn[:, at["age"]]
        drawn[:, at["age"]] = column.clamp(max=float(column.quantile(1 - share)))
        return drawn

    def rounded(drawn: Tensor, train: Tensor, held: Tensor, step: float) -> Tensor:
        drawn[:, at["fnlwgt"]] = (drawn[:, at["fnlwgt"]] / step).round() * step
        return drawn

    return {
        "honest rows": ("", [0.0], lambda drawn, train, held, strength: drawn),
        "training rows, a share": ("copies", [0.01, 0.02, 0.05, 0.1, 0.5, 1.0], instead(lambda train, held: train)),
        "training rows with noise, sd": ("copies", [0.3, 0.1, 0.05, 0.01], noisy),
        "held-out rows, a share": ("leaked", [0.01, 0.02, 0.05, 0.1, 0.5], instead(lambda train, held: held)),
        "women who are husbands, a share": ("pairs", [0.001, 0.002, 0.005, 0.01, 0.02], wives),
        "a level of education dropped": ("levels", [0.002, 0.005, 0.01, 0.03, 0.1], dropped),
        "the oldest cut, a share": ("tails", [0.001, 0.003, 0.01, 0.03], cut),
        "fnlwgt rounded to": ("digits", [2.0, 10.0, 100.0, 1000.0], rounded),
    }


def level(data: Dataset, column: str, name: str) -> float:
    kind = data.space.kinds[data.space.index(column)]
    return float(kind.levels.index(name))  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
