"""Calibration of predictions that a model keeps: in its file, from training and comparing, and what undoes it."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command import run
from fake_reports import lonely

import genus
from genus import Category, DataError, Lattice, Space
from genus.ladder import Calibration, calibrations_from_json
from genus.questions.trust import keep_calibration, rows_to_predict, trust_in


def rows(n: int, sure: float, noise: float, seed: int) -> dict[str, Any]:
    """A side, a level that agrees with it so often, and a number that is so near to it."""
    rng = np.random.default_rng(seed)
    side = rng.integers(0, 2, n)
    level = np.where(rng.random(n) < sure, side, 1 - side)
    return {
        "side": np.where(side, "left", "right").tolist(),
        "level": np.where(level, "high", "low").tolist(),
        "number": (3.0 * side + noise * rng.normal(size=n)).tolist(),
    }


@pytest.fixture
def sure() -> genus.GenerativeModel:
    """A model that is far surer than the rows that are asked for."""
    data = genus.read(rows(600, 0.97, 0.3, 0), relations=False)
    model = genus.build("mixture", data.space, components=2, covariance="diagonal", shrinkage=1.0, pool=0.5)
    genus.fit(model, data, seed=0, progress=False)
    return model


def highest(found: genus.Predicted) -> float:
    return float(np.mean(np.maximum(*found.probabilities.values())))


def test_a_model_keeps_how_its_predictions_are_mended_until_it_is_trained_again(
    sure: genus.GenerativeModel, tmp_path: Path
) -> None:
    held, asked = rows(2000, 0.8, 0.9, 1), {"side": ["left", "right"] * 50}
    found = genus.calibrate(sure, held, "level")
    assert found.after < 0.05 < 0.1 < found.before
    once = genus.predict(sure, asked, "level", held_out=held)
    genus.save(sure, tmp_path / "m.genus")
    loaded = genus.load(tmp_path / "m.genus")
    again = genus.predict(loaded, asked, "level")
    assert again.calibration == found == once.calibration
    assert highest(again) == highest(once) == pytest.approx(0.8, abs=0.04)
    assert highest(genus.predict(loaded, asked, "level", calibrated=False)) > 0.93
    assert genus.predict(loaded, asked, "number").calibration is None
    genus.fit(loaded, genus.read(rows(600, 0.97, 0.3, 0), relations=False), seed=0, progress=False)
    assert not loaded.calibrations


def test_kept_intervals_hold_their_share_whatever_it_is(sure: genus.GenerativeModel) -> None:
    held, fresh = ({name: table[name] for name in ("side", "number")} for table in (rows(3000, 0.8, 0.9, s) for s in (1, 2)))
    found = genus.calibrate(sure, held, "number")
    assert found.before < 0.75
    for level in (0.5, 0.75, 0.9):
        told = genus.predict(sure, {"side": fresh["side"]}, "number", level=level)
        assert told.low is not None
        assert np.mean((told.low <= fresh["number"]) & (fresh["number"] <= told.high)) == pytest.approx(level, abs=0.06)


def test_a_few_rows_cannot_calibrate(sure: genus.GenerativeModel) -> None:
    few = rows(5, 0.8, 0.9, 1)
    with pytest.raises(DataError, match="cannot calibrate"):
        genus.predict(sure, {"side": ["left"]}, "number", held_out=few)


def test_files_whose_calibration_is_no_such_thing_are_refused(sure: genus.GenerativeModel) -> None:
    fine = genus.calibrate(sure, rows(300, 0.8, 0.9, 1), "number").to_json()
    assert Calibration.from_json(json.loads(json.dumps(fine))) == sure.calibrations["number"]
    for odd in (
        [],
        {"rows": 3},
        fine | {"temperature": 0.0},
        fine | {"temperature": float("nan")},
        fine | {"temperature": True},
        fine | {"rows": 0},
        fine | {"before": 1.5},
        fine | {"level": None},
        fine | {"stretches": [[0.9, -1.0]]},
        fine | {"stretches": [[0.9, 1.0], [0.5, 1.0]]},
        fine | {"stretches": [[0.5, float("inf")]]},
        fine | {"stretches": [[0.5, 1.0], None]},
    ):
        with pytest.raises(DataError, match="calibration"):
            Calibration.from_json(odd)
    with pytest.raises(DataError, match="columns of the model"):
        calibrations_from_json({"hat": fine}, sure.space)


def test_what_calibration_does_is_told_by_other_rows(sure: genus.GenerativeModel, tmp_path: Path) -> None:
    held, fresh = (genus.read(rows(2000, 0.8, 0.9, s), space=sure.codec) for s in (1, 2))
    assert keep_calibration(sure, held.x, None, "level") is not None
    told = trust_in(sure, fresh.x, None, "level")
    assert told is not None
    assert told.after < 0.04 < 0.1 < told.before
    assert told.by_chance is not None
    assert told.by_chance < 0.04
    assert len(told.groups) == 10
    assert np.mean([said - right for said, right, *_ in told.groups]) == pytest.approx(told.before, abs=0.02)
    keep_calibration(sure, held.x, None, "number")
    wide = trust_in(sure, fresh.x, None, "number")
    assert wide is not None
    assert wide.before < 0.75
    assert wide.after == pytest.approx(0.9, abs=0.05)
    assert trust_in(sure, fresh.x, None, "side") is None
    report = lonely()
    for one in (told, wide):
        report.winner = {
            "family": "mixture",
            "file": "best.genus",
            "predictions": one.to_json() | {"sentence": one.sentence("mixture")},
        }
        page = report.write(tmp_path).read_text()
        assert f"Predictions of {one.column}" in page
        assert one.sentence("mixture") in page
    assert wide.sentence("mixture") in report.verdict


def write(path: Path, table: dict[str, Any]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(table)
        writer.writerows(zip(*table.values(), strict=True))
    return path


def test_the_commands_calibrate_the_target_and_say_so(tmp_path: Path) -> None:
    data, held = write(tmp_path / "a.csv", rows(400, 0.9, 0.5, 0)), write(tmp_path / "b.csv", rows(300, 0.8, 0.9, 1))
    model, ask = tmp_path / "m.genus", ("predict", tmp_path / "m.genus", data, "--column")
    said = run("fit", data, "--family", "mixture", "--target", "level", "--out", model).out
    assert "predict   level: the expected calibration error was" in said
    assert "on 40 held-out rows" in run(*ask, "level").err
    assert "Calibration: none" in run(*ask, "level", "--plain").err
    assert "Calibration: none" in run(*ask, "number").err
    assert "m.genus keeps it" in run(*ask, "number", "--held-out", held, "--keep").err
    assert "of 300 held-out rows" in run(*ask, "number", "--level", "0.7").err
    run(*ask, "number", "--keep").refused(2, "--keep keeps the calibration by --held-out")
    said = run("fit", data, "--family", "vae", "--steps", "5", "--target", "level", "--out", tmp_path / "v.genus").out
    assert "level: not calibrated, this family's density is a bound" in said


@pytest.mark.nightly
def test_a_comparison_calibrates_the_target_by_validation_rows(tmp_path: Path) -> None:
    data = genus.read(rows(600, 0.9, 0.5, 0), relations=False, target="level")
    report = genus.compare(data, ["mixture"], budget=1.0, seeds=1, jobs=1, folder=tmp_path, progress=False)
    told = report.winner["predictions"]
    assert told["column"] == "level"
    assert told["rows"] == 120
    assert told["sentence"] in report.verdict
    report.write(tmp_path)
    page = (tmp_path / "index.html").read_text()
    assert "Predictions of level" in page
    assert genus.predict(genus.load(tmp_path / "best.genus"), {"side": ["left"]}, "level").calibration is not None


def test_rows_that_lack_another_column_are_predicted_only_where_few_others_are_there() -> None:
    kinds = [Lattice(0, 9, atoms=(float("nan"),), unknown=True), Category(("no", "yes"))]
    space = Space(kinds, names=["x", "y"])
    model = genus.build("naive-bayes", space, seed=0)
    x = torch.stack([torch.arange(150.0) % 10, torch.arange(150.0) % 2], dim=1)
    x[:40, 0] = float("nan")
    some, _ = rows_to_predict(model, 1, x, None)
    assert torch.equal(some, x[40:])
    assert torch.equal(rows_to_predict(model, 1, x[:139], None)[0].nan_to_num(-1), x[:139].nan_to_num(-1))
    assert len(rows_to_predict(model, 0, x, None)[0]) == 150  # what a row lacks of the column itself does not count
