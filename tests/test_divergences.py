"""Distances between samples against closed forms, and against SciPy on a line."""

import math
import subprocess
import sys

import pytest
import torch
from scipy import stats

from genus.divergences import energy_distance, samples, sliced_wasserstein
from genus.errors import DataError


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def quantiles(loc=0.0, scale=1.0, n=1000):
    """n points that stand for N(loc, scale^2) far better than n draws."""
    return torch.from_numpy(stats.norm.ppf((torch.arange(n).double().numpy() + 0.5) / n) * scale + loc)[:, None]


# -- energy distance ------------------------------------------------------------------------------------------------------


def test_energy_is_the_square_of_scipys_on_a_line():
    x, y = normal(70, 1), normal(41, 1, seed=1) * 2 + 1
    expected = stats.energy_distance(x[:, 0].numpy(), y[:, 0].numpy()) ** 2
    assert energy_distance(x, y, biased=True).item() == pytest.approx(expected, rel=1e-12)


def test_energy_of_two_normals_is_the_closed_form():
    def mean_distance(mu, variance):  # E|N(mu, variance)|
        s = math.sqrt(variance)
        return s * math.sqrt(2 / math.pi) * math.exp(-(mu**2) / (2 * variance)) + mu * math.erf(mu / (s * math.sqrt(2)))

    expected = 2 * mean_distance(1.5, 1 + 0.25) - mean_distance(0, 2) - mean_distance(0, 0.5)
    assert energy_distance(quantiles(), quantiles(1.5, 0.5), biased=True).item() == pytest.approx(expected, rel=1e-3)


def test_energy_leaves_self_distances_out_unless_biased():
    x, y = torch.tensor([[0.0, 0.0], [3.0, 4.0]]), torch.tensor([[0.0, 0.0], [0.0, 4.0], [3.0, 0.0]])
    between = (0 + 4 + 3 + 5 + 3 + 4) / 6
    within_y = 2 * (4 + 3 + 5)
    assert energy_distance(x, y).item() == pytest.approx(2 * between - 5 - within_y / 6)
    assert energy_distance(x, y, biased=True).item() == pytest.approx(2 * between - 2.5 - within_y / 9)


def test_energy_is_unbiased():
    pairs = [(normal(20, 3, seed=2 * i), normal(30, 3, seed=2 * i + 1)) for i in range(200)]
    values = torch.stack([energy_distance(x, y) for x, y in pairs])
    assert abs(values.mean()) < 4 * values.std() / 200**0.5
    assert all(energy_distance(x, y, biased=True) > 0 for x, y in pairs)


def test_energy_does_not_depend_on_the_size_of_blocks(monkeypatch):
    x, y = normal(53, 4), normal(31, 4, seed=1) + 0.3
    whole = energy_distance(x, y)
    monkeypatch.setattr(samples, "BLOCK", 100)
    assert energy_distance(x, y).item() == pytest.approx(whole.item(), rel=1e-12)


def test_energy_far_from_the_origin_in_float32():
    x, y = normal(300, 5) + 4096, normal(300, 5, seed=1) + 4096.5
    x, y = x.float(), y.float()
    assert energy_distance(x, y).item() == pytest.approx(energy_distance(x.double(), y.double()).item(), rel=1e-3)


def test_energy_has_a_gradient_that_brings_samples_together():
    x, y = normal(100, 2), (normal(80, 2, seed=1) + 3).requires_grad_()
    energy_distance(x, y).backward()
    assert (y.grad.mean(0) > 0).all()
    twins = x.clone().requires_grad_()
    energy_distance(x, twins).backward()
    assert twins.grad.isfinite().all()


# -- sliced Wasserstein ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "m"), [(50, 50), (50, 75), (7, 100), (1, 9)])
def test_sliced_is_scipys_wasserstein_on_a_line(n, m):
    x, y = normal(n, 1), normal(m, 1, seed=1) * 3 + 0.5
    expected = stats.wasserstein_distance(x[:, 0].numpy(), y[:, 0].numpy())
    assert sliced_wasserstein(x, y, p=1, projections=3).item() == pytest.approx(expected, rel=1e-12)


def test_sliced_of_two_normals_is_the_closed_form():
    value = sliced_wasserstein(quantiles(n=20_000), quantiles(1.0, 1.5, n=30_000), projections=1)
    assert value.item() == pytest.approx(math.sqrt(1 + 0.25), rel=1e-3)


def test_sliced_of_a_shift_is_its_length_over_root_f():
    x, shift = normal(20, 6), torch.tensor([3.0, -1.0, 0.0, 2.0, 0.0, 1.0], dtype=torch.float64)
    value = sliced_wasserstein(x, x + shift, projections=20_000)
    assert value.item() == pytest.approx(shift.norm().item() / math.sqrt(6), rel=0.02)


def test_sliced_sees_mass_not_numbers_of_points():
    x, y = normal(12, 3), normal(8, 3, seed=1)
    assert sliced_wasserstein(x.repeat(3, 1), y).item() == pytest.approx(sliced_wasserstein(x, y).item(), rel=1e-12)
    assert sliced_wasserstein(x.repeat(3, 1), x).item() == pytest.approx(0, abs=1e-12)


def test_sliced_repeats_by_seed_and_leaves_the_global_state_alone():
    x, y = normal(40, 5), normal(40, 5, seed=1)
    before = torch.random.get_rng_state()
    assert sliced_wasserstein(x, y, seed=3, projections=9) == sliced_wasserstein(x, y, seed=3, projections=9)
    assert sliced_wasserstein(x, y, seed=3, projections=9) != sliced_wasserstein(x, y, seed=4, projections=9)
    assert torch.equal(before, torch.random.get_rng_state())


# -- bad input ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("distance", [energy_distance, sliced_wasserstein])
def test_shapes_that_do_not_agree_are_refused(distance):
    for x, y in ((normal(5, 2), normal(5, 3)), (normal(5), normal(5)), (normal(0, 2), normal(5, 2))):
        with pytest.raises(DataError, match="got"):
            distance(x, y)


def test_parameters_that_make_no_sense_are_refused():
    with pytest.raises(DataError, match="p >= 1"):
        sliced_wasserstein(normal(5, 2), normal(5, 2), p=0.5)
    with pytest.raises(DataError, match="at least one projection"):
        sliced_wasserstein(normal(5, 2), normal(5, 2), projections=0)
    with pytest.raises(DataError, match="2 or more"):
        energy_distance(normal(1, 2), normal(5, 2))


def test_distances_need_no_scikit_learn():
    code = "import sys, genus.divergences; print(sorted({'sklearn', 'scipy', 'pandas', 'matplotlib'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
