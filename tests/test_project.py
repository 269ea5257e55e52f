"""Test what installs, and what is said where something is not installed or of another version."""

from __future__ import annotations

import sys
import tomllib
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import genus
from genus.data.audio import write_wav
from genus.files import write_tensors

transport = import_module("genus.divergences.transport")  # of whose name there is a function
ROOT = Path(__file__).resolve().parents[1]


def test_what_few_need_is_an_extra_and_a_sentence_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert not [line for line in project["dependencies"] if line.startswith(("pot", "soundfile", "pandas"))]
    monkeypatch.setitem(sys.modules, "ot", None)
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(genus.DataError, match=r"genus\[sound\]"):
        write_wav(tmp_path / "a.wav", np.zeros(10), 8000)
    x, y = torch.randn(2, 6, 2, generator=torch.Generator().manual_seed(0))
    even, uneven = torch.full((6,), 1 / 6), torch.tensor([0.5, 0.1, 0.1, 0.1, 0.1, 0.1])
    with pytest.raises(genus.GenusError, match=r"genus\[transport\]"):
        transport._moves(x, y, even, uneven, 2.0, None)
    monkeypatch.setattr(transport, "find_spec", lambda name: None)
    source, target, _ = transport._moves(x, y, even, even, 2.0, None)
    assert sorted(source.tolist()) == sorted(target.tolist()) == list(range(6))


@pytest.mark.parametrize(
    ("header", "said"),
    [({"format": 9, "version": "9.1.0"}, "pip install genus==9.1.0"), ({"format": 1, "version": "; rm"}, "an older genus")],
)
def test_a_file_of_another_format_names_the_version_that_reads_it(
    header: dict[str, Any], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genus.files.FORMAT", header["format"])
    monkeypatch.setattr("genus.files.__version__", header["version"])
    write_tensors(tmp_path / "a.genus", {"a": torch.zeros(1)}, {})
    monkeypatch.undo()
    with pytest.raises(genus.ModelFileError, match=said):
        genus.load(tmp_path / "a.genus")


def test_a_release_leads_back_to_the_repository() -> None:
    spec = spec_from_file_location("release", ROOT / "tools" / "release.py")
    assert spec is not None
    assert spec.loader is not None
    release = module_from_spec(spec)
    spec.loader.exec_module(release)
    here = "https://github.com/somebody/genus"
    readme = release.absolute((ROOT / "README.md").read_text(encoding="utf-8"), here, "v0.2.0")
    assert "![The report" in readme
    assert f"({here}/raw/v0.2.0/docs/report.png)" in readme
    assert release.LINK.search(readme) is None  # no link is relative
    written = tomllib.loads(release.with_addresses((ROOT / "pyproject.toml").read_text(encoding="utf-8"), here))
    assert written["project"]["urls"]["Repository"] == here


def test_versions_agree() -> None:
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == genus.__version__
    tested = yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yml").read_text())["jobs"]["suite"]["strategy"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [line.split(" :: ")[-1] for line in project["classifiers"] if "Python :: 3." in line]
    assert tested["matrix"]["python"] == named
