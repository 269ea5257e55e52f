"""Types as users see them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

import genus
from genus.ladder import ApproximateDensity, TractableDensity
from genus.models.continuous import ContinuousDensity
from genus.registry import Bounded, Exact

ROOT = Path(__file__).resolve().parents[1]


def test_names_are_typed_by_the_density_that_their_models_have() -> None:
    own = {
        name: cls
        for name, cls in genus.families().items()
        if cls.__module__.startswith("genus.") and not name.startswith("doc-")
    }
    densities = {name for name, cls in own.items() if issubclass(cls, ApproximateDensity)}
    # On whole numbers a continuous family is within `Dequantised`, which has a bound.
    exact = {n for n in densities if issubclass(own[n], TractableDensity) and not issubclass(own[n], ContinuousDensity)}
    assert set(get_args(Exact)) == exact
    assert set(get_args(Bounded)) == densities - exact


@pytest.mark.nightly
@pytest.mark.timeout(600)
def test_a_strangers_script_is_clean_under_strict_pyright() -> None:
    pytest.importorskip("pyright", reason="pyright is not installed")
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 errors" in done.stdout


@pytest.mark.nightly
@pytest.mark.timeout(600)
def test_a_strangers_script_is_clean_under_strict_mypy() -> None:
    command = [sys.executable, "-m", "mypy", "--strict", "tests/typed_script.py"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"MYPYPATH": "src"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
