"""Schemas: what `genus describe` says of a table, and reading it again by an edited file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command import run

import genus
from genus.data import Schema
from genus.data.schema import sentence
from genus.errors import DataError


@pytest.fixture
def table() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    start = rng.integers(0, 300, 400)
    city = rng.integers(0, 4, 400)
    return {
        "id": [f"R-{k:04d}" for k in rng.permutation(4000)[:400]],
        "start": start.tolist(),
        "end": (start + rng.geometric(0.05, 400)).tolist(),
        "city": [("Ulm", "Bonn", "Rome", "Nice")[k] for k in city],
        "country": [("DE", "DE", "IT", "FR")[k] for k in city],
        "amount": np.exp(rng.normal(size=400)).tolist(),
        "note": [f"free text {k} of row {k * 7}" for k in range(400)],
        "day": [f"{1 + k % 28:02d}/{1 + k % 12:02d}/2021" for k in range(400)],
    }


@pytest.mark.filterwarnings("ignore:Left out")
def test_a_schema_reads_the_same_space_again(table: dict[str, Any]) -> None:
    data = genus.read(table, target="city")
    schema = Schema.of(data)
    assert set(schema.columns) == set(table)
    assert schema.columns["id"]["kind"] == "key"
    assert schema.columns["note"]["kind"] == "omit"
    assert schema.columns["city"]["role"] == "target"
    assert {"start < end", "city -> country"} <= set(schema.constraints)
    again = genus.read(table, schema=json.loads(json.dumps(schema.to_json())))
    assert again.space == data.space
    assert torch.equal(again.x, data.x)
    assert again.target == "city"


def test_totals_and_what_follows_from_others_have_a_sentence() -> None:
    rng = np.random.default_rng(0)
    adults, children = rng.integers(1, 4, 300), rng.integers(0, 4, 300)
    columns = Schema.of(genus.read({"adults": adults, "children": children, "guests": adults + children})).columns
    assert any("guests" in entry["reads"] and "+" in entry["reads"] for entry in columns.values())


def test_sentences_are_those_of_a_person(table: dict[str, Any]) -> None:
    reads = {
        name: entry["reads"] for name, entry in Schema.of(genus.read({"a": table["amount"], "d": table["day"]})).columns.items()
    }
    assert reads["a"].startswith("numbers from ")
    assert reads["d"] == "one of 84 values, dates from 2021-01-01 to 2021-12-28"


@pytest.mark.filterwarnings("ignore:Left out")
def test_an_edited_file_is_taken_back_by_the_command_line(table: dict[str, Any], tmp_path: Path) -> None:
    import csv

    with open(tmp_path / "table.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([table.keys(), *zip(*table.values(), strict=True)])
    done = run("describe", tmp_path / "table.csv", "--out", tmp_path / "schema.json")
    assert "one of 4 levels: Bonn, Nice, Rome, Ulm" in done.out
    schema = json.loads((tmp_path / "schema.json").read_text())
    schema["columns"]["city"] = {"kind": "category", "role": "context"}
    schema["columns"]["amount"] = {"kind": "omit"}
    schema["constraints"] = ["start < end"]
    (tmp_path / "schema.json").write_text(json.dumps(schema))
    fitted = run(
        "fit",
        tmp_path / "table.csv",
        "--family",
        "naive-bayes",
        "--schema",
        tmp_path / "schema.json",
        "--out",
        tmp_path / "m.genus",
    )
    assert fitted.code == 0
    model = genus.load(tmp_path / "m.genus")
    assert "amount" not in (model.space.names or ())
    assert model.context is not None
    assert model.context.names == ("city",)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ([], "A schema is"),
        ({"schema": 1, "columns": {"a": {"kind": "cube"}}}, "expected one of real, lattice"),
        ({"schema": 1, "columns": {"a": {"kind": "lattice", "low": "x", "high": 2}}}, "makes no kind"),
        ({"schema": 1, "columns": {"a": {"role": "boss"}}}, "perhaps with a"),
        ({"schema": 1, "columns": {}, "constraints": [3]}, "a list of texts"),
        ({"schema": 1, "columns": {"zzz": {"kind": "real"}}}, "no column 'zzz'"),
        ("nowhere.json", "cannot be read"),
    ],
)
def test_a_wrong_schema_is_one_sentence(wrong: Any, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        genus.read({"a": [1.5, 2.25, 3.125]}, schema=wrong)


def test_a_model_is_described_by_what_its_file_holds(table: dict[str, Any], tmp_path: Path) -> None:
    del table["note"]
    data = genus.read(table, context="city", relations=False)
    model = genus.build("naive-bayes", data.space, data.context, seed=0)
    genus.fit(model, data, seed=0, progress=False)
    path = tmp_path / "stays.genus"
    genus.save(model, path)
    found = run("describe", path)
    assert not found.code
    assert f"{path}: naive-bayes, naive Bayes: independent columns" in found.out
    assert "given city" in found.out
    assert f"{model.parameter_count:,} parameters" in found.out
    assert "density   exact" in found.out
    assert any(line.split()[0] == "city" and line.endswith("Rome, Ulm (context)") for line in found.out.splitlines() if line)
    assert f"genus predict {path} DATA --column COLUMN" in found.out
    said = json.loads(run("describe", path, "--json").out)
    assert (said["family"], said["hyper"], said["columns"]["city"]["role"]) == ("naive-bayes", model.config, "context")
    run("describe", path, "--out", tmp_path / "x.json").refused(2, "this is a model")
    run("compare", path).refused(1, "is a model, and no data")
    (tmp_path / "none.genus").write_bytes(b"nothing")
    run("describe", tmp_path / "none.genus").refused(1, "is not a complete genus file")


def test_a_kind_alone_has_a_sentence() -> None:
    assert sentence(genus.Lattice(0, 1000, atoms=(0.0, 1000.0)), None) == "whole numbers from 0 to 1000; 0, 1000 are frequent"
    assert sentence(genus.Real(2.5, 1.0, atoms=(0.0,)), None) == "numbers about 2.5; 0 is frequent"
