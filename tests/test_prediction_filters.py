"""Linear prediction: filters that are stable for any parameters, by Levinson's recursions, and both ways of the transform."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor

import genus
from genus import Category, Real, Space, WaveNet
from genus.nets.prediction import LinearPrediction, reflections, step_up
from genus.transforms import Predicted


def with_filters(size: float, taps: int = 16, frame: int = 8, seed: int = 0) -> Predicted:
    """Frames of 40 positions with random filters, their log-area ratios of about this size."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        predicted = Predicted(taps, 40, frame)
        predicted.prediction.filters[-1, :taps] = size * torch.randn(taps)
        predicted.prediction.filters[:-1] = 0.01 * torch.randn(predicted.prediction.filters[:-1].shape)
    return predicted.double()


def largest_root(a: Tensor) -> float:
    """The largest |z| of z^n = a_1 z^(n-1) + ... + a_n, for coefficients a (n,): the radius of the poles of the filter."""
    companion = torch.diag(torch.ones(len(a) - 1, dtype=torch.float64), -1)
    companion[0] = a.double()
    return float(torch.linalg.eigvals(companion).abs().max())


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32) | st.floats(-6, 6), min_size=1, max_size=24))
def test_filters_of_any_parameters_are_stable_though_rounded_to_single_precision(ratios: list[float]) -> None:
    prediction = LinearPrediction(len(ratios), length=8, frame=8)
    prediction.filters[-1, :-1] = torch.tensor(ratios)
    a = prediction.numbers(None)[0, 0, :-1].flip(0)
    assert a.dtype == torch.float32
    assert largest_root(a) < 1


def test_the_recursions_give_what_the_normal_equations_give() -> None:
    x = torch.randn(5, 200, generator=torch.Generator().manual_seed(0), dtype=torch.float64).cumsum(1)
    r = torch.stack([(x[:, lag:] * x[:, : 200 - lag]).sum(1) for lag in range(13)], dim=1)
    k, error = reflections(r)
    toeplitz = r[:, (torch.arange(12)[:, None] - torch.arange(12)).abs()]
    a = torch.linalg.solve(toeplitz, r[:, 1:])
    assert torch.allclose(step_up(k), a, atol=1e-9)
    assert torch.allclose(error, r[:, 0] - (a * r[:, 1:]).sum(1))
    assert (k.abs() < 1).all()


def test_a_step_up_is_the_sum_of_a_polynomial_and_its_mirror() -> None:
    k = torch.tensor([0.9, -0.8, 0.3, 0.95], dtype=torch.float64)
    polynomial = [1.0]  # of A, in powers of 1/z
    for one in k.tolist():
        longer = [*polynomial, 0.0]
        polynomial = [p - one * q for p, q in zip(longer, reversed(longer), strict=True)]
    assert (-step_up(k)).tolist() == pytest.approx(polynomial[1:])


@pytest.mark.parametrize("frame", [8, 3, 40])
@pytest.mark.parametrize("size", [0.3, 3.0, 1e6])
def test_both_ways_are_exact_for_filters_of_any_strength(size: float, frame: int) -> None:
    predicted = with_filters(size, frame=frame)
    z = torch.randn(3, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x, log_det = predicted.inverse(z)
    back, other = predicted(x)
    assert torch.allclose(back, z, atol=1e-9 * float(x.abs().max().clamp(min=1)))
    assert torch.allclose(log_det, -other)
    jacobian = torch.autograd.functional.jacobian(lambda row: predicted(row[None])[0][0], x[0])
    assert torch.allclose(other[0], jacobian.diagonal().log().sum())
    assert torch.equal(jacobian, jacobian.tril())


def test_nothing_is_predicted_before_filters_are_measured_and_measured_ones_stay_as_they_are(tmp_path: Path) -> None:
    space, words = Space(Real(), shape=(64,), sequence=True), Space(Category(("a", "b")))
    x = torch.randn(200, 64, generator=torch.Generator().manual_seed(0)).cumsum(1) / 8
    c = (torch.arange(200.0) % 2)[:, None]
    model = genus.build("wavenet", space, words, seed=0, width=4, layers=2, components=1, frame=16, taps=2)
    assert isinstance(model, WaveNet)
    assert model.prediction is not None
    assert not model.prediction.numbers(model._context_features(c)).any()
    genus.fit(model, (x, c), max_steps=1, progress=False)
    found = model.prediction.filters.clone()
    assert found.any()
    genus.fit(model, (x, c), max_steps=3, learning_rate=0.1, progress=False)
    assert torch.equal(model.prediction.filters, found)
    genus.save(model, tmp_path / "model.genus")
    again = genus.load(tmp_path / "model.genus")
    assert torch.equal(again.log_prob(x, c), model.log_prob(x, c))


def test_constant_and_silent_sequences_have_stable_filters_too() -> None:
    for x in (torch.zeros(4, 64), torch.full((4, 64), 1e6), 1e6 * torch.tensor([1.0, -1.0]).repeat(4, 32)):
        prediction = LinearPrediction(4, length=64, frame=16)
        prediction.measure(x, None)
        for numbers in prediction.numbers(None)[0]:
            assert numbers.isfinite().all()
            assert largest_root(numbers[:-1].flip(0)) < 1


def test_filters_of_contexts_that_are_all_different_are_regressed_on_them() -> None:
    c = torch.rand(300, 1, generator=torch.Generator().manual_seed(0))
    x = torch.randn(300, 256, generator=torch.Generator().manual_seed(1))
    for i in range(1, 256):
        x[:, i] += (2 * c[:, 0] - 1) * 0.9 * x[:, i - 1]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        prediction = LinearPrediction(1, length=256, frame=64, context_dim=1)
    prediction.measure(x, c)
    found = prediction.numbers(torch.tensor([[0.2], [0.5], [0.8]]))[..., 0].mean(1)
    assert found.tolist() == pytest.approx([-0.54, 0.0, 0.54], abs=0.06)
