"""Blanks that were known: how well families fill them, beside chained regressions.

    OMP_NUM_THREADS=1 python benchmarks/questions.py [--sets iris,wine,breast-cancer,diabetes] [--seeds 1]
        [--families mixture,trees] [--seconds 10] [--share 0.2] [--peers yes]
    OMP_NUM_THREADS=1 python benchmarks/questions.py --sets protocol --seeds 3 --out questions.jsonl
    OMP_NUM_THREADS=1 python benchmarks/questions.py --sets adult-anomalies --families mixture [--data ../shared/data]
    OMP_NUM_THREADS=1 python benchmarks/questions.py --sets adult-where --families mixture,made,gpt,vae,nsf --seconds 60
    OMP_NUM_THREADS=1 python benchmarks/questions.py --sets adult-columns --families trees --seconds 60 --rows 1000

A fifth of all cells of a table is blanked at random (the protocol of Jolicoeur-Martineau et al. 2023, on other tables). Every
family learns from the table with its holes, and the relations that are found in it, and fills it 20 times. For each method:

- error: of the mean of its draws, |mean - truth| of numbers that are scaled from 0 to 1 by the whole table, and of levels the
  share of draws that are another level; the mean over all blanked cells;
- likeliest: the same where the level that most draws have is taken, as `genus impute --mean` writes it. Methods that give one
  value, those without a share inside, give the likeliest level: to this column theirs is to be compared, while in the first
  one draws can only be compared with draws, since the truth differs from a draw more often than from the likeliest level;
- inside: the share of blanked numbers within the middle 90 % of their draws;
- correlations: the mean absolute difference between the correlations of numbers in a filled table and in the whole one.

Beside them: column means and levels' shares; the five nearest rows; chained ridge regressions that draw (MICE); chained
forests (MissForest's), which give one value; and chained forests that draw a value of a leaf (Doove et al. 2014). "a+b" is a
stack of two families. Time is processor time. `protocol` takes scikit-learn's tables and those in the folder of --data, --rows
of each drawn at random; with --out a run goes on where another ended.

Questions about Adult are asked of test rows that are no copies of training rows or of each other; the first --rows of them.
`adult-where` compares draws where income is '>50K' and sex is Female with such test rows, by the area under the curve of trees
that tell them apart, and draws without conditions with as many test rows; beside them draws without conditions of which those
that fulfil them are kept, and such training rows. `adult-columns` predicts every column of test rows from the others: areas
under the curve (each level against the others) and calibration errors, or R2, beside boosted trees that learned that column
alone, and the calibration error that so many rows would show if their levels were drawn by the very probabilities.

`adult-anomalies` plants 200 anomalies: in a test row of Adult a level is moved to another that training never saw beside the
level of some other column, its companion, though 5 rows or more would have both if the columns did not depend on each other. It
says how often `genus.explain` names the moved column or the companion first.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fillers import TIMES, peers, sharpened
from records import Record
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.metrics import r2_score, roc_auc_score

import genus
from genus.evaluation.classifiers import c2st
from genus.questions.calibration import calibration_error

RECORD = Record(__doc__, "scikit-learn")

COLUMNS = "Each column of Adult predicted from the others, beside boosted trees that learned that column alone"
SEEDS = 3  # of the draws given two columns
FILLED = ("error", "likeliest", "inside_90_%", "correlations", "seconds")
PROTOCOL = "iris,wine,breast-cancer,diabetes,file:wine,file:magic,file:protein,file:default,file:adult-train"


def columns_of(name: str, folder: Path, rows: int) -> dict[str, list[Any]]:
    """The columns of one of scikit-learn's tables, or of a file in the folder; at most so many rows, drawn at random."""
    file = next(iter((folder / "tables").glob(f"{name.removeprefix('file:')}.csv*")), None) if ":" in name else None
    table = genus.read(file or name, relations=False).frame().drop_null()  # of cells that are blank there is no truth
    some = np.sort(np.random.default_rng(0).permutation(table.num_rows)[:rows])
    return table.take(some).to_pydict()


def blanked(table: dict[str, list[Any]], share: float, seed: int) -> dict[str, list[Any]]:
    """The table with this share of all cells blank."""
    rng = np.random.default_rng(seed)
    return {name: [None if rng.random() < share else v for v in values] for name, values in table.items()}


class Scaled:
    """A table as numbers from 0 to 1, a column for each level of the columns that are text."""

    def __init__(self, table: dict[str, list[Any]]) -> None:
        self.levels = {name: sorted({*v}) if isinstance(v[0], str) else None for name, v in table.items()}
        self.ends = {name: (min(v), max(v)) for name, v in table.items() if not isinstance(v[0], str)}

    def __call__(self, table: dict[str, list[Any]]) -> np.ndarray:
        """The numbers (N, F), NaN where a cell is blank."""
        out = []
        for name, values in table.items():
            levels = self.levels[name]
            if levels is None:
                low, high = self.ends[name]
                out.append([np.nan if v is None else (v - low) / max(high - low, 1e-12) for v in values])
            else:
                out += [[np.nan if v is None else float(v == level) for v in values] for level in levels]
        return np.array(out, dtype=float).T

    @property
    def groups(self) -> list[list[int]]:
        """The places of every column's numbers."""
        found, at = [], 0
        for levels in self.levels.values():
            size = 1 if levels is None else len(levels)
            found.append([*range(at, at + size)])
            at += size
        return found


def built(family: str, data: genus.Dataset) -> genus.GenerativeModel:
    """An untrained model of a family with its default hyper-parameters; of "a+b" a stack of these."""
    name, members = ("stack", {"members": family.split("+")}) if "+" in family else (family, {})
    hyper = genus.family(name).default_hyperparameters(data.space, len(data)) | members
    return genus.build(name, data.space, **hyper)


def by_family(family: str, table: dict[str, list[Any]], scaled: Scaled, seconds: float, seed: int) -> list[np.ndarray]:
    """Filled tables by a family, or a stack of some (a+b), that learned from the table with its holes."""
    data = genus.read(table)
    model = built(family, data)
    genus.fit(model, data, seed=seed, max_seconds=seconds, progress=False)
    found = genus.impute(model, table, times=TIMES, seed=seed)
    return [scaled({name: filled.column(name).to_pylist() for name in table}) for filled in found.tables]


def judged(draws: list[np.ndarray], truth: np.ndarray, holes: np.ndarray, groups: list[list[int]]) -> tuple[float, ...]:
    """The error of the mean, that of the likeliest levels, the share inside, and the difference of correlations."""
    many = np.stack(draws)
    mean, inside = many.mean(0), []
    errors: tuple[list[np.ndarray], list[np.ndarray]] = [], []
    for places in groups:
        where = holes[:, places[0]]
        for found, one in zip(errors, (mean, sharpened(mean.copy(), groups)), strict=True):
            found.append(np.abs(one[where][:, places] - truth[where][:, places]).sum(1) / (1 if len(places) == 1 else 2))
        if len(places) == 1 and len(draws) > 1:
            low, high = np.quantile(many[:, where, places[0]], [0.05, 0.95], axis=0, method="weibull")
            at = truth[where, places[0]]
            inside.append((low - 1e-9 <= at) & (at <= high + 1e-9))
    numbers = [places[0] for places in groups if len(places) == 1]
    whole = np.corrcoef(truth[:, numbers].T)
    apart = np.mean([np.abs(np.corrcoef(one[:, numbers].T) - whole).mean() for one in draws])
    share = float(np.concatenate(inside).mean()) if inside else float("nan")
    return *(float(np.concatenate(found).mean()) for found in errors), share, float(apart)


def planted(
    rows: dict[str, list[Any]], known: dict[str, list[Any]], count: int, seed: int
) -> tuple[dict[str, list[Any]], list[set[str]]]:
    """Rows of which each has one level that contradicts another column, and the two columns."""
    rng = np.random.default_rng(seed)
    names = [name for name, values in known.items() if len({*values}) <= 50]
    total = len(known[names[0]])
    counts = {name: Counter(known[name]) for name in names}
    pairs = {(a, b): Counter(zip(known[a], known[b], strict=True)) for a in names for b in names if a != b}
    out, blamed = {name: list[Any]() for name in rows}, list[set[str]]()
    while len(blamed) < count:
        at = int(rng.integers(len(rows[names[0]])))
        row = {name: values[at] for name, values in rows.items()}
        a, b = rng.choice(names, 2, replace=False)
        found = [
            level
            for level, n in counts[a].items()
            if level is not None and pairs[a, b][level, row[b]] == 0 and n * counts[b][row[b]] / total >= 5
        ]
        if not found or row[a] is None or row[b] is None:
            continue
        row[a] = found[rng.integers(len(found))]
        for name, value in row.items():
            out[name].append(value)
        blamed.append({str(a), str(b)})
    return out, blamed


def explained(folder: Path, families: list[str], seconds: float) -> None:
    """Print how often each family names a planted anomaly's columns first."""
    known, rows = (genus.read(folder / "tables" / f"adult-{part}.csv", relations=False) for part in ("train", "test"))
    table, blamed = planted(rows.frame().to_pydict(), known.frame().to_pydict(), 200, seed=0)
    for family in families:
        start = time.process_time()
        model = built(family, known)
        genus.fit(model, known, seed=0, max_seconds=seconds, progress=False)
        found = genus.explain(model, table)
        right = np.mean([name in both for name, both in zip(found.first, blamed, strict=True)])
        print(f"adult, 200 anomalies, {family}: named first {right:.3f}, {time.process_time() - start:.0f} s", flush=True)
        RECORD.row(table="adult, 200 anomalies", family=family, named_first=float(right), seconds=time.process_time() - start)


def adult(folder: Path) -> tuple[genus.Dataset, genus.Dataset]:
    """Adult's training rows, and the test rows that are no copies of these or of each other, on one space."""
    known = genus.read(folder / "tables" / "adult-train.csv")
    test = genus.read(folder / "tables" / "adult-test.csv", space=known.codec, beyond=True)
    seen, new = {*map(tuple, known.x.nan_to_num(-1.0).tolist())}, []
    for k, row in enumerate(map(tuple, test.x.nan_to_num(-1.0).tolist())):
        if row not in seen:
            new.append(k)
            seen.add(row)
    return known, test.rows(torch.tensor(new))


def without_blanks(data: genus.Dataset, where: dict[str, str]) -> tuple[torch.Tensor, torch.Tensor]:
    """The different rows of which something holds, and all, without those that have a blank: draws have none."""
    table = data.frame()
    fits = np.all([np.array(table.column(name).to_pylist()) == value for name, value in where.items()], axis=0)
    fine = ~data.space.unknown_blanks(data.x).any(1).numpy() & np.isfinite(data.x.numpy()).all(1)
    every = data.x[torch.as_tensor(fine)]
    return every[torch.as_tensor(fits[fine])].unique(dim=0), every.unique(dim=0)


def kept(model: genus.GenerativeModel, like: torch.Tensor, where: dict[str, str], most: int = 100_000) -> torch.Tensor:
    """Of draws without conditions those that fulfil them, SEEDS times as many as there are rows; fewer after so many draws."""
    columns = [model.space.index(name) for name in where]
    found, drawn = [like[:0]], 0
    while sum(map(len, found)) < SEEDS * len(like) and drawn < most:
        x = model.sample(5000, seed=1000 + drawn)
        found.append(x[(x[:, columns] == like[0, columns]).all(1)])
        drawn += len(x)
    return torch.cat(found)[: SEEDS * len(like)]


def conditioned(folder: Path, families: list[str], seconds: float) -> None:
    """Print how well trees tell draws given two columns from such real rows, and draws from real rows without conditions."""
    where = {"income": ">50K", "sex": "Female"}
    known, test = adult(folder)
    such, every = without_blanks(test, where)
    count = len(such)

    def some(rows: torch.Tensor, seed: int) -> torch.Tensor:
        return rows[torch.as_tensor(np.random.default_rng(seed).permutation(len(rows))[:count])]

    def told(real: list[torch.Tensor], drawn: list[torch.Tensor]) -> tuple[float, float]:
        areas = [c2st(known.space, a, b, seed).value for seed, (a, b) in enumerate(zip(real, drawn, strict=True))]
        return float(np.mean(areas)), float(np.std(areas)) / len(areas) ** 0.5

    free = [some(every, seed) for seed in range(SEEDS)]

    def show(who: str, found: dict[str, tuple[float, float]], seconds: float) -> None:
        shown = ", ".join(f"{name} {mean:.3f} ± {error:.3f}" for name, (mean, error) in found.items())
        print(f"adult where income='>50K', sex=Female, {count} rows, {who}: {shown}, {seconds:.0f} s", flush=True)
        RECORD.row(draws=who, **found, seconds=seconds, rows=count)

    learned = without_blanks(known, where)
    found = [
        told(real, [some(rows, seed + SEEDS) for seed in range(SEEDS)]) for real, rows in zip(([such] * SEEDS, free), learned)
    ]
    show("training rows", {"where": found[0], "unconditional": found[1]}, 0.0)
    for family in families:
        model = built(family, known)
        genus.fit(model, known, seed=0, max_seconds=seconds, progress=False)
        start = time.process_time()
        given = told([such] * SEEDS, [model.sample(count, seed=seed, where=where) for seed in range(SEEDS)])
        spent = time.process_time() - start
        areas = {"where": given, "unconditional": told(free, [model.sample(count, seed=seed) for seed in range(SEEDS)])}
        chosen = kept(model, such, where).tensor_split(SEEDS)
        show(family, areas | {"kept_of_unconditional": told([such] * SEEDS, [*chosen])}, spent)


def one_from_the_rest(folder: Path, families: list[str], seconds: float, rows: int) -> None:
    """Print how well each column of Adult is predicted from the others, beside boosted trees that learn that column alone."""
    known, test = adult(folder)
    test = test.rows(slice(0, rows))
    models = {}
    for family in families:
        models[family] = built(family, known)
        genus.fit(models[family], known, seed=0, max_seconds=seconds, progress=False)
    space, names = known.space, known.space.names or ()
    table = test.frame().select(names)  # without what a relation tells: education.num would give education away
    levels = [isinstance(kind, genus.Category) for kind in space.kinds]
    learned, asked = known.x.double().numpy(), test.x.double().numpy()
    for i, name in enumerate(names):
        others = [j for j in range(len(names)) if j != i]
        some, tested = (~space.unknown_blanks(data.x)[:, i].numpy() for data in (known, test))
        truth = test.frame().column(name).to_pylist()
        truth = np.array([v for v, fine in zip(truth, tested, strict=True) if fine])
        boosted = HistGradientBoostingClassifier if levels[i] else HistGradientBoostingRegressor
        found = boosted(categorical_features=[levels[j] for j in others], early_stopping=False, random_state=0)
        found.fit(learned[some][:, others], learned[some, i])
        line, chance = [], dict[str, float]()
        if levels[i]:
            told = found.predict_proba(asked[tested][:, others])
            line.append(("boosted", auc(asked[tested, i], told, found.classes_), error(told, asked[tested, i], found.classes_)))
        else:
            line.append(("boosted", r2_score(truth, found.predict(asked[tested][:, others])), float("nan")))
        for family, model in models.items():
            predicted = genus.predict(model, table, name)
            if levels[i]:
                told = np.stack(list(predicted.probabilities.values()), axis=1)[tested]
                values = np.array(list(predicted.probabilities))
                line.append((family, auc(truth, told, values), error(told, truth, values)))
                chance[family] = by_chance(told)
            else:
                line.append((family, r2_score(truth, predicted.value[tested]), float("nan")))
        cells = {who: float(value) for who, value, _ in line}
        if levels[i]:
            cells |= {f"{who}_off": float(off) for who, _, off in line} | {
                f"{who}_by_chance": off for who, off in chance.items()
            }
        RECORD.row(column=name, figure="AUC" if levels[i] else "R2", rows=len(truth), **cells)
        shown = ", ".join(
            f"{who} {value:.3f}"
            + (f" (off {off:.3f}" + (f", {chance[who]:.3f} by chance)" if who in chance else ")") if levels[i] else "")
            for who, value, off in line
        )
        print(f"{name} {'AUC' if levels[i] else 'R2'}: {shown}", flush=True)


def auc(truth: np.ndarray, told: np.ndarray, values: np.ndarray) -> float:
    """The mean area under the curve of each value against all others, by how often it is there."""
    there = [(k, truth == v) for k, v in enumerate(values) if 0 < np.sum(truth == v) < len(truth)]
    areas = [(roc_auc_score(right, told[:, k]), np.sum(right)) for k, right in there]
    values_of, weights = zip(*areas, strict=True)
    return float(np.average(values_of, weights=weights))


def error(told: np.ndarray, truth: np.ndarray, values: np.ndarray) -> float:
    """The expected calibration error."""
    place = np.array([int(np.argmax(values == v)) for v in truth])
    return calibration_error(torch.as_tensor(told), torch.as_tensor(place))


def by_chance(told: np.ndarray) -> float:
    """The mean calibration error of rows whose values are drawn by these very probabilities (N, K)."""
    rng, ends = np.random.default_rng(0), told.cumsum(1)
    drawn = [(rng.random((len(told), 1)) * ends[:, -1:] > ends).sum(1).clip(max=told.shape[1] - 1) for _ in range(20)]
    return float(np.mean([calibration_error(torch.as_tensor(told), torch.as_tensor(place)) for place in drawn]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", default="iris,wine")
    parser.add_argument("--families", default="mixture,trees")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--share", type=float, default=0.2)
    parser.add_argument("--rows", type=int, default=2000, help="of a table, at most")
    parser.add_argument("--out", type=Path, help="a file that keeps every figure, and from which a run goes on")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--peers", default="yes", choices=("yes", "no"))
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", module="sklearn")
    families = [*filter(None, arguments.families.split(","))]
    of_adult = {
        "adult-anomalies": ("How often the columns of a planted anomaly are named first", explained),
        "adult-where": ("How well trees tell draws given two columns from such real rows", conditioned),
        "adult-columns": (COLUMNS, partial(one_from_the_rest, rows=arguments.rows)),
    }
    if arguments.sets in of_adult:
        RECORD.title, ask = of_adult[arguments.sets]
        ask(arguments.data, families, arguments.seconds)
    else:
        filled(arguments, families)
    RECORD.keep(range(arguments.seeds))


def filled(arguments: argparse.Namespace, families: list[str]) -> None:
    """Print how well each method fills the blanks of each table; figures that --out has already are not made again."""
    done = {}
    if arguments.out is not None and arguments.out.exists():
        rows = [json.loads(line) for line in arguments.out.read_text().splitlines()]
        done = {(row["set"], row["seed"], row["method"], row["seconds"]): row["values"] for row in rows}
    for name in (PROTOCOL if arguments.sets == "protocol" else arguments.sets).split(","):
        table, found = columns_of(name, arguments.data, arguments.rows), dict[str, list[tuple[float, ...]]]()
        scaled = Scaled(table)
        truth = scaled(table)
        for seed in range(arguments.seeds):
            holed = blanked(table, arguments.share, seed)
            x = scaled(holed)
            methods = peers(x, scaled.groups, seed) if arguments.peers == "yes" else {}
            for family in families:
                methods[family] = partial(by_family, family, holed, scaled, arguments.seconds, seed)
            for method, fill in methods.items():
                key = (name, seed, method, arguments.seconds)
                if key not in done:
                    start = time.process_time()
                    values = judged(fill(), truth, np.isnan(x), scaled.groups)
                    done[key] = (*values, time.process_time() - start)
                    if arguments.out is not None:
                        row = dict(zip(("set", "seed", "method", "seconds", "values"), (*key, done[key]), strict=True))
                        with arguments.out.open("a") as file:
                            file.write(json.dumps(row) + "\n")
                found.setdefault(method, []).append(tuple(done[key]))
        print(f"{name}, {len(truth):,} rows, {arguments.seeds} seeds: error, likeliest, inside, correlations, seconds")
        for method, values in sorted(found.items(), key=lambda item: np.mean([v[0] for v in item[1]])):
            means = dict(zip(FILLED, np.mean(values, axis=0).tolist(), strict=True))
            print("  {:32} {:.3f}  {:.3f}  {:.3f}  {:.3f}  {:6.1f}".format(method, *means.values()), flush=True)
            RECORD.row(table=name, method=method, **{k: v for k, v in means.items() if not np.isnan(v)})


if __name__ == "__main__":
    main()
