"""The winner of a comparison as a file: the model that leads, with 1,000 of its draws."""

from __future__ import annotations

import math
import shutil
import warnings
from contextlib import suppress
from pathlib import Path
from typing import cast

import pyarrow as pa
from pyarrow import csv

from genus.errors import GenusError
from genus.evaluation.predictions import calibrate_winner
from genus.evaluation.report import Report
from genus.evaluation.stacking import STACKED
from genus.evaluation.trial import Protocol, stopping_rows
from genus.files import load, save
from genus.ladder import ApproximateDensity, GenerativeModel
from genus.models.stack import Stack
from genus.registry import hyper_of

__all__ = ["BEST", "DRAWS", "keep_winner"]

BEST = "best.genus"
DRAWS = "best.csv"
COUNT = 1_000


def keep_winner(report: Report, kept: Path, folder: Path, protocol: Protocol, seconds: float = math.inf) -> None:
    """Write the model of the first place, and draws of it where the rows are a table; say so in the report.

    The stack of several is made of their files and weighted anew by the same rows; nothing is fitted.

    Args:
        report: whose `winner` is set; left alone where no family was fitted or its file is not there.
        kept: the folder of all models of the comparison, family-seed.genus.
        folder: of the report.
        protocol: of the comparison.
        seconds: that calibrating the predictions of the target may take.
    """
    first = report.best
    if first is None or not first.seeds:
        return
    seed = first.seeds[0]
    members = list(report.weights) if first.family.startswith(STACKED) else [first.family]
    files = [kept / f"{name}-{seed}.genus" for name in members]
    if not all(file.exists() for file in files):  # workers on another machine, or a family that cannot be saved
        return
    folder.mkdir(parents=True, exist_ok=True)
    models = [load(file) for file in files]
    if len(models) > 1:
        held = stopping_rows(protocol, models[0], seed)
        assert held is not None
        model: GenerativeModel = Stack.of(cast("list[ApproximateDensity]", models), held.x, held.c)
        save(model, folder / BEST)
    else:
        model = models[0]
        shutil.copyfile(files[0], folder / BEST)
    trust = calibrate_winner(model, models, protocol, seed, seconds)
    if trust is not None:
        save(model, folder / BEST)
    report.winner = {"family": first.family, "file": BEST, "seed": seed, "hyper": hyper_of(model)}
    if trust is not None:
        report.winner["predictions"] = trust.to_json() | {"sentence": trust.sentence(first.family)}
    if model.space.is_table and not model.space.sequence and model.context is None and model.codec is not None:
        with suppress(GenusError), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            frame = model.codec.decode(model.sample(COUNT, seed=0), 0)
            table = frame if isinstance(frame, pa.Table) else _table(frame, model)
            if table is not None:
                csv.write_csv(table, folder / DRAWS)
                report.winner["draws"] = DRAWS


def _table(frame: object, model: GenerativeModel) -> pa.Table | None:
    """Return decoded rows as a table; None where they are of no form that has columns."""
    if isinstance(frame, dict):
        return pa.table(frame)
    if hasattr(frame, "__array__") and not hasattr(frame, "columns"):
        array = frame.__array__()
        names = model.space.names or tuple(f"x{i}" for i in range(array.shape[1]))
        return pa.table({name: array[:, i] for i, name in enumerate(names)})
    try:
        import narwhals as nw

        return nw.from_native(frame, eager_only=True).to_arrow()  # type: ignore[call-overload]
    except TypeError:
        return None
