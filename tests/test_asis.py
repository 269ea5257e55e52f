"""Filled tables in delimited text: every cell that held a value comes back byte for byte."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from command import run

TEXTS = (" a ", "b", '"c, d"', '"e ""f"""')
PRICES = ("1.50", "+2.5", "0003.0", "7", "4e-04")


def odd(rows: int, end: str = "\n", delimiter: str = ",") -> list[str]:
    """The lines of a table with odd spellings and a blank, at line 60."""
    rng = np.random.default_rng(0)
    lines = [["id", "word", "x", "price", "day", "sure"]]
    for i in range(rows):
        x = "" if i == 59 else "4e-04" if i % 7 == 0 else f" {rng.normal():.3E} " if i % 3 else f"{rng.normal():.4f}"
        word = TEXTS[i % 4].replace(",", delimiter)
        lines.append([f"{i:05d}", word, x, PRICES[i % 5], f"{1 + i % 28}.{1 + i % 12}.2021", ("TRUE", "False")[i % 2]])
    return [delimiter.join(line) + end for line in lines]


def check_only_the_blank_changed(path: Path, lines: list[str], model: Path, out: Path, blank: int = 60) -> None:
    path.write_bytes("".join(lines).encode())
    done = run("impute", model, path, "--seed", 1, "--out", out)
    assert done.code == 0, done.err
    found = out.read_bytes().decode().split("\n")
    expected = [line.rstrip("\r\n") for line in lines]
    delimiter = "\t" if out.suffix == ".tsv" else ","
    assert [found[i] for i in range(len(expected)) if i != blank] == [e for i, e in enumerate(expected) if i != blank]
    cells, before = found[blank].split(delimiter), expected[blank].split(delimiter)
    assert [a == b for a, b in zip(cells, before, strict=True)].count(False) == 1
    assert float(cells[before.index("")]) == pytest.approx(0, abs=10)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("asis")
    (where / "odd.csv").write_text("".join(odd(200)))
    assert run("fit", where / "odd.csv", "--family", "naive-bayes", "--out", where / "m.genus", "--quiet").code == 0
    return where / "m.genus"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_known_cells_come_back_as_they_were_written(model: Path, tmp_path: Path, end: str) -> None:
    check_only_the_blank_changed(tmp_path / "odd.csv", odd(200, end), model, tmp_path / "out.csv")
    check_only_the_blank_changed(tmp_path / "odd.tsv", odd(200, end, "\t"), model, tmp_path / "out.tsv")


def test_cells_of_several_blocks_come_back_too(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules["genus.cli.impute"].__dict__, "BLOCK", 30)
    monkeypatch.setattr("genus.data.delimited.PART", 2**10)
    check_only_the_blank_changed(tmp_path / "odd.csv", odd(200), model, tmp_path / "out.csv")


def test_line_breaks_within_quotes_stay(model: Path, tmp_path: Path) -> None:
    lines = [line.replace(",b,", ',"b\nb",') for line in odd(200)]
    (tmp_path / "odd.csv").write_text("".join(lines))
    out = tmp_path / "out.csv"
    assert run("impute", model, tmp_path / "odd.csv", "--seed", 1, "--out", out).code == 0
    text, before = out.read_text(), "".join(lines)
    at = before.index(",,") + 1
    assert text.startswith(before[:at])
    assert text.endswith(before[at:])


def test_several_draws_stand_beside_the_same_cells(model: Path, tmp_path: Path) -> None:
    lines = odd(200)
    (tmp_path / "odd.csv").write_text("".join(lines))
    found = run("impute", model, tmp_path / "odd.csv", "--seed", 1, "--times", 2).out.splitlines()
    assert [f"{draw},{line.rstrip()}" for draw in (0, 1) for i, line in enumerate(lines[1:]) if i != 59] == [
        line for i, line in enumerate(found[1:]) if i % 200 != 59
    ]


def test_numbers_with_decimal_commas_stay_of_one_writing(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [f"{a:.2f};{b}\n".replace(".", ",") for a, b in zip(rng.normal(size=100), rng.integers(0, 9, 100), strict=True)]
    rows[5] = ";3\n"
    (tmp_path / "t.csv").write_text("a;b\n" + "".join(rows))
    assert run("fit", tmp_path / "t.csv", "--family", "naive-bayes", "--out", tmp_path / "m.genus", "--quiet").code == 0
    found = run("impute", tmp_path / "m.genus", tmp_path / "t.csv", "--seed", 1).out.splitlines()
    assert all(np.isfinite(float(line.split(",")[0])) for line in found[1:])


def test_cells_that_a_spreadsheet_would_run_are_marked_or_named(model: Path, tmp_path: Path) -> None:
    lines = [line.replace(",b,", ',"=1+2",') for line in odd(200)]
    (tmp_path / "odd.csv").write_text("".join(lines))
    done = run("impute", model, tmp_path / "odd.csv", "--seed", 1)
    assert "cells of word that a spreadsheet would run" in done.err
    assert ',"=1+2",' in done.out
    assert ",'=1+2," in run("impute", model, tmp_path / "odd.csv", "--seed", 1, "--safe-csv").out
