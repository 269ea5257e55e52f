"""The pictures of the report: what is drawn is what the rows say."""

import base64
import io
import math

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import spearmanr
from scipy.stats.contingency import association

from genus.codec import Codec
from genus.evaluation import plots
from genus.evaluation.grids import image_grid
from genus.space import Category, Lattice, Real, Space


def test_a_marginal_sums_to_one_and_sets_atoms_apart() -> None:
    kind = Real(0, 1, atoms=(0.0, math.nan))
    column = np.array([0.0, 0.0, math.nan, 1.0, 2.0, 3.0, 1.5, 2.5])
    m = plots.marginal(kind, [column, column[3:]])
    assert m.states == ["0", "missing"]
    np.testing.assert_allclose(m.shares, [[0.25, 0.125], [0, 0]])
    assert m.bins[0].sum() == pytest.approx(0.625)
    assert m.bins[1].sum() == pytest.approx(1)
    assert m.difference == pytest.approx(0.375)


def test_bins_of_a_lattice_hold_whole_steps() -> None:
    values = np.arange(17.0)
    m = plots.marginal(Lattice(0, 16), [values])
    np.testing.assert_allclose(m.bins[0], 1 / 17)
    wide = plots.marginal(Lattice(0, 99), [np.arange(100.0)])
    assert wide.edges is not None
    assert set(np.diff(wide.edges)) == {4.0}
    assert np.ptp(wide.bins[0][:-1]) < 1e-12


def test_rare_levels_are_lumped() -> None:
    kind = Category(tuple(range(20)))
    column = np.repeat(np.arange(20.0), np.arange(1, 21))
    m = plots.marginal(kind, [column])
    assert m.states == ["19", "18", "17", "16", "15", "14", "13", "13 others"]
    assert m.shares.sum() == pytest.approx(1)


def test_associations_are_what_they_are_called() -> None:
    generator = np.random.default_rng(0)
    z = generator.normal(size=500)
    a, b = z + generator.normal(size=500), -(z**3) + generator.normal(size=500)
    c = np.digitize(z + generator.normal(size=500), [-1, 0, 1]).astype(float)
    d = np.digitize(z, [-0.5, 0.8]).astype(float)
    space = Space([Real(), Real(), Category(tuple("wxyz")), Category(tuple("abc")), Real()])
    found = plots.associations(space, torch.tensor(np.stack([a, b, c, d, np.ones(500)], 1)))
    assert found[0, 1] == pytest.approx(spearmanr(a, b).statistic)
    assert found[2, 3] == pytest.approx(association(np.histogram2d(c, d, bins=(4, 3))[0].astype(int), method="cramer"))
    ranks = a.argsort().argsort() + 1.0
    between = sum((c == level).sum() * (ranks[c == level].mean() - ranks.mean()) ** 2 for level in range(4))
    assert found[0, 2] == pytest.approx(math.sqrt(between / ((ranks - ranks.mean()) ** 2).sum()))
    np.testing.assert_allclose(np.diag(found), [1, 1, 1, 1, 0], atol=1e-12)


def test_the_strongest_pairs_are_shown() -> None:
    matrix = np.eye(4)
    matrix[1, 0] = matrix[0, 1] = 0.9
    matrix[2, 0] = matrix[0, 2] = 0.8
    matrix[3, 2] = matrix[2, 3] = -0.3
    assert plots.pairs(Space([Real()] * 4), matrix) == [(1, 0), (3, 2), (2, 0)]


def test_words_at_an_axis_are_taken_as_they_are() -> None:
    space = Space([Category(("$a_b$", "<i>", "日本"))])
    ((_, drawn),) = plots.marginals(Codec(space), torch.tensor([[0.0], [1.0], [2.0]]), {})
    for text in ("$a_b$", "&lt;i&gt;", "日本"):
        assert f">{text}</text>" in drawn


def test_of_many_columns_those_that_differ_are_drawn() -> None:
    x = torch.randn(200, 30, generator=torch.Generator().manual_seed(0))
    y = x.clone()
    y[:, [7, 23]] += 3
    shown = plots.marginals(Codec(Space([Real()] * 30)), x, {"maf": y}, most=2)
    assert [name for name, _ in shown] == ["x7", "x23"]
    assert "var(--f0)" in shown[0][1]
    assert "currentColor" in shown[0][1]
    assert "#f0000" not in shown[0][1]


def test_images_keep_their_pixels() -> None:
    x = torch.zeros(3, 8, 8)
    x[0, 0, 0], x[1] = 16, 8

    def pixels(space: Space, x: torch.Tensor) -> np.ndarray:
        head, _, data = image_grid(space, x, x).partition(",")
        assert head in ("data:image/png;base64", "data:image/webp;base64")
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGBA"))

    grid = pixels(Space(Lattice(0, 16), shape=(8, 8)), x)
    assert grid[0, 0].tolist() == [255, 255, 255, 255]
    assert grid[0, 10].tolist() == [0, 0, 0, 255]
    assert grid[0, 84].tolist() == [128, 128, 128, 255]
    assert grid[0, 81, 3] == 0  # between two
    colour = pixels(
        Space(Lattice(0, 255), shape=(3, 8, 8)), torch.tensor([255.0, 0, 51]).reshape(1, 3, 1, 1).expand(1, 3, 8, 8)
    )
    assert grid.shape == colour.shape
    assert colour[5, 5].tolist() == [255, 0, 51, 255]
    photographs = torch.randint(0, 256, (9, 3, 128, 128)).float()
    assert len(image_grid(Space(Lattice(0, 255), shape=(3, 128, 128)), photographs, photographs)) < 900_000


def test_curves_leave_out_what_is_not_finite() -> None:
    class History:
        unit, scale = "nats a row", 1.0
        rows = [{"step": i, "seconds": float(i), "nll": math.nan if i == 2 else 5.0 - i, "criterion": None} for i in range(4)]  # noqa: RUF012

    drawn = plots.curves([History()], "a curve")
    assert drawn is not None
    assert ">nll<" in drawn
    assert "held out" not in drawn
    assert plots.curves([type("H", (History,), {"rows": History.rows[:1]})()], "too few") is None
