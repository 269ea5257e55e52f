"""Every file of examples/ runs, keeps the laws it speaks of, and has the lines of code that docs/extending.md says."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import ModuleType

import pytest
import torch
from conftest import EXAMPLES
from torch.distributions import Normal

import genus
from genus.testing import LawError, check_model

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.nightly if name == "chain_rule_family" else ()) for name in EXAMPLES]
)
def test_an_example_runs(name: str, example, capsys: pytest.CaptureFixture[str]) -> None:
    module: ModuleType = example(name)
    assert module.__doc__ is not None
    assert f"python examples/{name}.py" in module.__doc__
    torch.manual_seed(0)
    module.main(steps=20)
    assert len(capsys.readouterr().out.splitlines()) >= 2


def test_the_page_says_how_many_lines_each_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "tools")
    code_lines = importlib.import_module("count_code").code_lines
    page = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    said = {name: int(lines) for name, lines in re.findall(r"^\| \[(\w+)\.py\].*\| (\d+) \|$", page, re.M)}
    assert said == {name: code_lines((ROOT / "examples" / f"{name}.py").read_text(encoding="utf-8")) for name in EXAMPLES}


def test_a_toy_family_is_a_whole_family(example) -> None:
    example("toy_family")
    grid = torch.linspace(-60, 60, 24001).unsqueeze(1)
    space = genus.Space([genus.Real(1.0, 2.0)])
    assert float(genus.build("laplace", space).log_prob(grid).detach().exp().sum() * 0.005) == pytest.approx(1, abs=1e-3)
    assert genus.build("laplace", genus.Space([genus.Lattice(0, 9)])).info.likelihood == "bound"
    with pytest.raises(genus.DataError, match="no column of them"):
        genus.build("laplace", genus.Space([genus.Category(("a", "b"))]))
    # tests/test_compare.py has the processes that a comparison fans out to.
    report = genus.compare(torch.randn(200, 2), ["laplace"], budget=2, seeds=1, jobs=1, progress=False)
    assert [row.status for row in report.rows] == ["ok", "ok"], report.rows[1].reason


def test_one_random_step_of_a_diffusion_is_no_importance_weight(example) -> None:
    """Its mean is that of the whole path, and the mass of the evidence that it would give is more than 1."""

    class OneStep(example("diffusion").Diffusion, name="one-step"):
        def _elbo(self, x, c):
            z, terms = self.space.split(x).u.float(), []
            for i in range(len(self.b)):
                forth = Normal((1 - self.b[i]).sqrt() * z, self.b[i].sqrt())
                after = forth.sample()
                terms.append((self._back(after, torch.full((len(x),), i), None).log_prob(z) - forth.log_prob(after)).sum(1))
                z = after
            chosen = torch.randint(len(terms), (len(x),))
            step = len(terms) * torch.stack(terms).gather(0, chosen[None])[0]
            return self.space.split(x).log_slope.float().sum(1) + step + Normal(0.0, 1.0).log_prob(z).sum(1)

    space = genus.Space([genus.Real(), genus.Real()])
    torch.manual_seed(0)
    x = torch.randn(40, 2)
    assert "bound" in check_model(example("diffusion").Diffusion(space), x)
    with pytest.raises(LawError, match="its elbo is no lower bound"):
        check_model(OneStep(space), x)
