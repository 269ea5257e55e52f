"""The README: its Python runs, its table is the registry's."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

import genus

README = Path(__file__).resolve().parents[1] / "README.md"


def test_the_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    failed, tried = doctest.testfile(str(README), module_relative=False)
    assert tried > 10
    assert failed == 0


def test_the_table_of_families_is_the_registry() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \| `(\w+)` \| (\w+) \| (.+) \|$", README.read_text(), re.M)
    expected = [
        (name, cls.__name__, cls.likelihood, cls.takes) for name, cls in genus.families().items() if name != "dequantised"
    ]
    assert sorted(rows) == sorted(expected)
