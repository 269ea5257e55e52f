"""The README and the pages beside it: their Python runs, the table of families is the registry's."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest
import torch

import genus

README = Path(__file__).resolve().parents[1] / "README.md"


PAGES = ["README.md", *(f"docs/{name}.md" for name in ("flows", "latent", "distances", "distillation", "extending"))]


@pytest.mark.parametrize("page", PAGES)
def test_the_examples_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_names: None) -> None:
    monkeypatch.chdir(tmp_path)
    failed, tried = doctest.testfile(str(README.parent / page), module_relative=False)
    assert tried > 10
    assert failed == 0


def test_the_table_of_families_is_the_registry() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \| `(\w+)` \| (\w+) \| (.+) \|$", README.read_text(), re.M)
    expected = [(name, cls.__name__, cls.info.likelihood, cls.info.takes) for name, cls in genus.families().items()]
    assert sorted(rows) == sorted(expected)


def test_the_family_of_the_contributing_page_works() -> None:
    from genus.configurable import classes

    code = re.search(r"```python\n(.*?)```", (README.parent / "CONTRIBUTING.md").read_text(), re.S).group(1)
    names: dict = {}
    try:
        exec(compile(code, "CONTRIBUTING.md", "exec"), names)
        space = genus.Space([genus.Real(1.0, 2.0)])
        grid = torch.linspace(-60, 60, 24001).unsqueeze(1)
        assert float(genus.build("laplace", space).log_prob(grid).exp().sum() * 0.005) == pytest.approx(1, abs=1e-3)
        assert genus.build("laplace", genus.Space([genus.Lattice(0, 9)])).info.likelihood == "bound"
        with pytest.raises(genus.DataError, match="no column of them"):
            genus.build("laplace", genus.Space([genus.Category(("a", "b"))]))
        # A family of one's own script is known to the processes that a comparison fans out to.
        report = genus.compare(torch.randn(200, 2), ["laplace"], budget=2, seeds=1, jobs=2, progress=False)
        assert [row.status for row in report.rows] == ["ok", "ok"], report.rows[1].reason
    finally:
        classes.pop("laplace", None)
