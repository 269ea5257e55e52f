"""Laws of the metrics: ideal values for equal distributions, the fault that each is there to find, and numerical oracles."""

import math

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from genus.divergences import Estimate, jensen_shannon
from genus.errors import DataError
from genus.evaluation import neighbours
from genus.evaluation.classifiers import c2st, canonical, transfer, two_sample
from genus.evaluation.metrics import METRICS, independent_columns, score_samples
from genus.evaluation.neighbours import memorisation, precision_recall_density_coverage
from genus.space import Category, Lattice, Real, Space

nan = math.nan
MIXED = Space(
    [Real(0, 1, atoms=(nan,)), Lattice(0, 10), Real(0, 2, atoms=(0.0,)), Category(("a", "b", "c")), Category(("no", "yes"))],
    names=["x", "count", "gain", "level", "label"],
)


def table(n, seed):
    """Rows of MIXED whose columns all depend on one hidden number; some lack x."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n)
    x = np.where(rng.random(n) < 0.05, nan, z + 0.3 * rng.normal(size=n))
    count = np.clip(np.round(5 + 2 * z + 0.5 * rng.normal(size=n)), 0, 10)
    gain = np.where(z + 0.3 * rng.normal(size=n) < 0.5, 0.0, np.exp(z))
    level = np.digitize(z + 0.3 * rng.normal(size=n), [-0.5, 0.7])
    label = z + 0.5 * rng.normal(size=n) > 0.3
    return torch.tensor(np.stack([x, count, gain, level, label], axis=1)).float()


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


PLANE = Space([Real(), Real()])


@pytest.fixture(scope="module")
def rows():
    return table(1500, 1), table(600, 2), table(600, 3)


# -- all of them ----------------------------------------------------------------------------------------------------------


def test_equal_distributions_have_ideal_values(rows):
    train, test, other = rows
    scores = score_samples(MIXED, other, train=train, test_a=test, target="label", seed=0)
    assert set(scores) == set(METRICS) - {"tstr_r2"}
    assert scores["c2st"] == pytest.approx(0.5, abs=0.05)
    assert scores["energy"] == pytest.approx(0, abs=0.03)
    assert scores["sliced_wasserstein"] < 0.1
    assert scores["jensen_shannon"] == pytest.approx(0, abs=0.02)
    assert scores["w1_dual"] == pytest.approx(0, abs=0.2)
    assert scores["density"] == pytest.approx(1, abs=0.15)
    assert scores["coverage"] == pytest.approx(METRICS["coverage"].ideal, abs=0.03)
    assert 0.5 < scores["dcr_ratio"] < 2
    assert scores["dcr_share"] == pytest.approx(0.5, abs=0.06)
    assert scores["copies"] < 0.3
    assert scores["copies"] == pytest.approx(scores["copies_unseen"], abs=0.05)


def test_the_floor_is_told_apart_and_teaches_nothing(rows):
    train, test, other = rows
    floor = score_samples(MIXED, independent_columns(train, 600), train=train, test_a=test, target="label")
    real = score_samples(MIXED, other, train=train, test_a=test, target="label")
    assert floor["c2st"] > 0.9
    assert floor["tstr_auc"] < 0.7 < 0.9 < real["tstr_auc"]
    assert floor["density"] < 0.5
    assert floor["energy"] > 5 * abs(real["energy"])
    assert floor["sliced_wasserstein"] > 2 * real["sliced_wasserstein"]
    assert floor["dcr_ratio"] > 10


def test_copies_of_the_training_rows_are_flagged(rows):
    train, test, _ = rows
    scores = score_samples(MIXED, train, train=train, test_a=test)
    assert scores["copies"] == 1
    assert scores["dcr_ratio"] == 0
    assert scores["dcr_share"] > 0.6
    assert "tstr_auc" not in scores


def test_near_copies_are_flagged_where_no_row_is_a_copy():
    train, test = normal(1000, 2), normal(1000, 2, seed=1)
    near = memorisation(PLANE, train + 0.001 * normal(1000, 2, seed=2), train, test)
    assert near.copies == 0
    assert near.dcr_ratio < 0.1
    assert near.dcr_share > 0.95


def test_a_seed_repeats_and_the_global_states_are_left_alone(rows):
    train, test, other = rows
    torch_state, numpy_state = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    first, second, third = (
        score_samples(MIXED, other, train=train, test_a=test, target="x", seed=s, threads=1) for s in (5, 5, 6)
    )
    assert first == second
    assert first != third
    assert torch.equal(torch_state, torch.random.get_rng_state())
    assert np.array_equal(numpy_state, np.random.get_state()[1])


def test_images():
    space = Space(Lattice(0, 16), shape=(4, 4))
    shade = torch.randint(2, 14, (700, 1, 1), generator=torch.Generator().manual_seed(0))
    x = (shade + torch.randint(-2, 3, (700, 4, 4), generator=torch.Generator().manual_seed(1))).float()
    real = score_samples(space, x[:200], train=x[200:500], test_a=x[500:])
    floor = score_samples(space, independent_columns(x[200:500], 200), train=x[200:500], test_a=x[500:])
    assert real["c2st"] == pytest.approx(0.5, abs=0.1)
    assert floor["c2st"] > 0.9


def test_what_is_no_sample_of_the_space_is_refused(rows):
    train, test, other = rows
    with pytest.raises(DataError, match="samples lacks a value in column 'count'"):
        score_samples(MIXED, torch.full((20, 5), nan), train=train, test_a=test)
    with pytest.raises(DataError, match="samples has 9"):
        score_samples(MIXED, other[:9], train=train, test_a=test)
    with pytest.raises(DataError, match="no column 'nope'"):
        score_samples(MIXED, other, train=train, test_a=test, target="nope")


def test_ten_rows_suffice():
    scores = score_samples(MIXED, table(10, 0), train=table(10, 1), test_a=table(10, 2), target="label")
    assert all(math.isfinite(value) for value in scores.values())


def test_independent_columns_keep_marginals_and_nothing_else():
    x = normal(2000, 1).repeat(1, 2)
    y = independent_columns(x, 3000, seed=1)
    assert set(y.flatten().tolist()) <= set(x.flatten().tolist())
    assert abs(np.corrcoef(y.T.numpy())[0, 1]) < 0.06
    assert independent_columns(torch.arange(16.0).reshape(2, 2, 4), 7).shape == (7, 2, 4)


# -- classifiers ----------------------------------------------------------------------------------------------------------


def test_c2st_of_two_normals_is_near_the_bayes_auc():
    real, fake = normal(3000, 2), normal(3000, 2, seed=1) + torch.tensor([1.0, 0.0])
    bayes = 0.5 * (1 + math.erf(0.5))  # P(N(1, 2) > 0)
    estimate = c2st(PLANE, real, fake)
    assert bayes - 0.05 < estimate.value < bayes + 0.01
    assert 0 < estimate.error < 0.02


def test_the_error_of_c2st_is_how_far_samples_of_one_distribution_differ():
    """Folds share the rows that they learn from, so that the error of as many new rows is too small by a root of two."""
    found = [c2st(PLANE, normal(20, 2, seed=2 * i), normal(20, 2, seed=2 * i + 1)) for i in range(120)]
    values = np.array([one.value for one in found])
    assert values.mean() == pytest.approx(0.5, abs=0.04)
    assert np.mean([one.error for one in found]) == pytest.approx(values.std(), rel=0.2)


def test_jensen_shannon_is_a_lower_bound_of_the_true_one():
    x, y = normal(2000, 2), normal(2000, 2, seed=1) + torch.tensor([1.5, 0.0])
    found = two_sample(PLANE, x, y).jensen_shannon
    axis = torch.linspace(-8, 10, 4001, dtype=torch.float64)
    p, q = (torch.exp(-0.5 * (axis - m) ** 2) for m in (0.0, 1.5))
    true = jensen_shannon(p / p.sum(), q / q.sum()).bits
    assert 0.75 * true < found.value < true + 3 * found.error
    assert two_sample(PLANE, x[:1000], x[1000:]).jensen_shannon.value == pytest.approx(0, abs=0.005)
    assert two_sample(PLANE, x, x + 100).jensen_shannon.value == pytest.approx(1, abs=0.01)


def test_the_earth_movers_distance_lies_between_the_critics_and_the_couplings():
    x, y, train = normal(600, 2), normal(600, 2, seed=1) + torch.tensor([2.0, 0.0]), normal(50, 2, seed=2)
    scores = score_samples(PLANE, y, train=train, test_a=x)
    assert 1.6 < scores["w1_dual"] < 2.15
    assert 1.9 < scores["w1"] < 2.3


def test_c2st_is_not_given_away_by_the_last_bit():
    space = Space([Lattice(0, 100, step=0.1, atoms=(0.3, 0.05, nan))])
    steps = torch.randint(0, 1001, (2000, 1), generator=torch.Generator().manual_seed(0))
    real = (steps.double() / 10).float()
    fake = steps.float() * torch.tensor(0.1)
    assert (real != fake).float().mean() > 0.1
    assert np.array_equal(canonical(space, real), canonical(space, fake))
    kept = canonical(space, torch.tensor([[0.05], [nan]]))
    assert kept[0] == pytest.approx(0.05)
    assert np.isnan(kept[1])


def test_c2st_sees_what_is_missing_together():
    both = torch.rand(2000, 1, generator=torch.Generator().manual_seed(0)) < 0.5
    real = torch.where(both, nan, normal(2000, 2))
    fake = torch.where(torch.rand(2000, 2, generator=torch.Generator().manual_seed(1)) < 0.5, nan, normal(2000, 2, seed=2))
    assert c2st(Space([Real(atoms=(nan,))] * 2), real, fake).value > 0.7


def test_c2st_on_a_category_of_a_thousand_levels():
    space = Space([Category(tuple(range(1000))), Real()])
    zipf = torch.distributions.Categorical(1 / torch.arange(1.0, 1001))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        code = zipf.sample((4000,))
    real = torch.stack([code, (code % 2) + 0.1 * normal(4000)], dim=1)
    assert c2st(space, real[:2000], real[2000:]).value == pytest.approx(0.5, abs=0.05)
    assert c2st(space, real[:2000], independent_columns(real[2000:], 2000)).value > 0.65


def test_c2st_keeps_rare_levels_apart_from_the_most_frequent():
    space = Space([Category(tuple(range(3000))), Category(("no", "yes"))])
    code = torch.randint(1, 3000, (4000,), generator=torch.Generator().manual_seed(0))
    code[::2] = 0
    real = torch.stack([code, code == 0], dim=1).float()
    assert c2st(space, real[:2000], independent_columns(real[2000:], 2000)).value > 0.7  # 0.75 at best


def test_c2st_on_a_handful_of_rows():
    assert c2st(PLANE, normal(12, 2), normal(12, 2, seed=1) + 9).value > 0.9


def test_tstr_by_kind_of_target(rows):
    train, test, _ = rows
    assert transfer(MIXED, "label", train, test).value > 0.9
    assert transfer(MIXED, "level", train, test).value > 0.9
    assert transfer(MIXED, "count", train, test).value > 0.85  # R^2
    assert transfer(MIXED, "x", train, test).value > 0.85  # rows that lack the target are left out
    shuffled = independent_columns(train, 1500)
    assert transfer(MIXED, "level", shuffled, test).value == pytest.approx(0.5, abs=0.12)
    assert transfer(MIXED, "count", shuffled, test).value < 0.1


def test_tstr_where_samples_lack_a_class(rows):
    train, test, _ = rows
    whole = transfer(MIXED, "level", train, test).value
    lacking = transfer(MIXED, "level", train[train[:, 3] != 2], test).value
    assert lacking < whole - 0.1  # a third of it is chance
    assert lacking > 0.6
    assert transfer(MIXED, "level", train[train[:, 3] == 1], test).value == 0.5
    assert math.isnan(transfer(MIXED, "level", train, test[test[:, 3] == 1]).value)


def test_tstr_leaves_rows_out_whose_category_is_missing():
    space = Space([Real(), Category(("no", None, "yes"))], names=["x", "y"])
    x = normal(900, 1)
    data = torch.cat([x, 2 * (x > 0)], dim=1)
    data[::3, 1] = 1
    assert transfer(space, "y", data[:600], data[600:]).value > 0.97
    only_no = data[:600].clone()
    only_no[only_no[:, 1] == 2, 1] = 1
    assert transfer(space, "y", only_no, data[600:]).value == 0.5


def test_tstr_needs_something_to_predict_from():
    with pytest.raises(DataError, match="two or more columns"):
        transfer(Space([Real()]), 0, normal(20, 1), normal(20, 1))
    with pytest.raises(DataError, match="two or more columns"):
        transfer(Space(Real(), shape=(2, 2)), 0, normal(20, 2, 2), normal(20, 2, 2))


# -- nearest neighbours ---------------------------------------------------------------------------------------------------


def test_neighbourhoods_agree_with_scikit_learn(monkeypatch):
    monkeypatch.setattr(neighbours, "BLOCK", 5000)
    real, fake = normal(150, 3), normal(120, 3, seed=1) * torch.linspace(0.05, 3, 120)[:, None]

    def radii(x):
        return NearestNeighbors(n_neighbors=6).fit(x).kneighbors(x)[0][:, -1]

    distance = np.linalg.norm(fake.double().numpy()[:, None] - real.double().numpy()[None], axis=2)
    inside = distance <= radii(real.double())
    found = precision_recall_density_coverage(Space([Real()] * 3), real, fake)
    assert found.precision == pytest.approx(inside.any(1).mean())
    assert found.density == pytest.approx(inside.sum() / (5 * 120))
    assert found.coverage == pytest.approx(inside.any(0).mean())
    assert found.recall == pytest.approx((distance <= radii(fake.double())[:, None]).any(0).mean())


def test_collapse_lowers_coverage_and_recall_but_not_precision():
    modes = torch.tensor([[0.0, 0.0], [8.0, 0.0], [0.0, 8.0], [8.0, 8.0]])
    real = modes[torch.arange(800) % 4] + 0.5 * normal(800, 2)
    good = modes[torch.arange(800) % 4] + 0.5 * normal(800, 2, seed=1)
    collapsed = modes[torch.zeros(800, dtype=torch.long)] + 0.5 * normal(800, 2, seed=1)
    before = precision_recall_density_coverage(PLANE, real, good)
    after = precision_recall_density_coverage(PLANE, real, collapsed)
    assert after.precision == pytest.approx(before.precision, abs=0.05)
    assert after.coverage < 0.3 < 0.9 < before.coverage
    assert after.recall < 0.3 < 0.9 < before.recall


def test_an_outlier_fools_precision_but_not_density():
    real = torch.cat([normal(500, 2), torch.full((1, 2), 50.0)])
    fake = 30 + normal(500, 2, seed=1)
    found = precision_recall_density_coverage(PLANE, real, fake)
    assert found.precision == 1
    assert found.density == pytest.approx(0.2)
    assert found.coverage < 0.01


def test_ties_count_as_inside():
    space = Space([Category(("a", "b", "c")), Category(("no", "yes"))])
    x = torch.tensor([[i % 3, i % 2] for i in range(60)]).float()
    same = precision_recall_density_coverage(space, x, x.flip(0))
    assert (same.precision, same.recall, same.coverage) == (1, 1, 1)
    points = normal(40, 5).repeat(8, 1)  # all balls have radius 0
    assert precision_recall_density_coverage(Space([Real()] * 5), points, points.flip(0)) == (1, 1, pytest.approx(8 / 5), 1)


def test_distances_to_training_rows_agree_with_scikit_learn(monkeypatch):
    monkeypatch.setattr(neighbours, "BLOCK", 5000)
    train, unseen, fake = normal(400, 3), normal(150, 3, seed=1), 1.3 * normal(150, 3, seed=2)
    nearest = NearestNeighbors(n_neighbors=1).fit(train.double())
    expected = np.median(nearest.kneighbors(fake.double())[0]) / np.median(nearest.kneighbors(unseen.double())[0])
    # torch's median is the lower of the two in the middle
    assert memorisation(Space([Real()] * 3), fake, train, unseen).dcr_ratio == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("columns", [3, 20])  # by a tree, and by all distances
def test_distances_of_rows_far_from_zero_keep_their_digits(columns):
    far = 1e7 * torch.ones(columns, dtype=torch.float64)
    x, y = (normal(n, columns, seed=n).double() for n in (40, 60))
    expected = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")
    for shift in (torch.zeros_like(far), far):
        found = torch.cat([part for _, part in neighbours.distances(x + shift, y + shift)])
        assert torch.allclose(found, expected, atol=1e-5)
        assert torch.allclose(neighbours.nearest(x + shift, y + shift), expected.amin(1), atol=1e-5)


def test_wide_rows_near_zero_are_not_copied_to_find_distances():
    x, y = normal(50, 30), normal(400, 30, seed=1)
    assert neighbours._centred(x, y)[1] is y
    assert neighbours._centred(x, y + 5)[1] is not y


def test_memorisation_where_unseen_rows_repeat_training_rows():
    space = Space([Category(("a", "b", "c"))])
    train, unseen, fake = (torch.randint(3, (90, 1), generator=torch.Generator().manual_seed(s)).float() for s in range(3))
    found = memorisation(space, fake, train, unseen)
    assert found == (1.0, 0.5, 1.0, 1.0)  # no worse than what is unavoidable
    apart = Space([Real()])
    assert math.isnan(memorisation(apart, torch.full((9, 1), 2.0), torch.zeros(9, 1), torch.zeros(9, 1)).dcr_ratio)


def test_copies_know_missing_values_and_the_last_bit():
    space = Space([Lattice(0, 1, step=0.1, atoms=(nan,)), Real()])
    train = torch.tensor([[0.3, 0.0], [nan, 1.0]])
    fake = torch.tensor([[torch.tensor(0.1).item() * 3, -0.0], [-nan, 1.0], [nan, 0.0]])
    assert memorisation(space, fake, train, train).copies == pytest.approx(2 / 3)


def test_neighbours_need_rows():
    with pytest.raises(DataError, match="two or more"):
        precision_recall_density_coverage(PLANE, normal(1, 2), normal(5, 2))
    with pytest.raises(DataError, match="0 samples"):
        memorisation(PLANE, normal(0, 2), normal(5, 2), normal(5, 2))
    with pytest.raises(DataError, match="3 real"):
        c2st(PLANE, normal(3, 2), normal(5, 2))


def test_every_metric_says_how_to_read_it():
    for metric in METRICS.values():
        assert metric.description.endswith(".")
        assert metric.kind in ("fidelity", "utility", "memorisation")
        assert metric.better in ("lower", "higher", "closer")
        assert metric.better != "closer" or metric.ideal is not None


def test_train_on_synthetic_learns_from_all_samples_however_few_the_real_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    from genus.evaluation import metrics

    learnt: list[int] = []
    monkeypatch.setattr(metrics, "transfer", lambda space, column, fake, *_: learnt.append(len(fake)) or Estimate(0.5, 0.1))
    x = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
    metrics.score_samples(Space([Real(), Real()]), x[:400], train=x[:400], test_a=x[400:450], target="x1")
    assert learnt == [400]


def test_a_column_without_any_value_on_one_side():
    """As one that is nearly always missing has in some fold."""
    space = Space([Real(), Real(atoms=(nan,)), Lattice(0, 3)], names=["x", "rare", "n"])
    rng = np.random.default_rng(0)
    real = torch.tensor(np.stack([rng.normal(size=80), np.full(80, nan), rng.integers(0, 4, 80)], 1))
    fake = real.flip(0).clone()
    real[0, 1] = 1.0
    scores = score_samples(space, fake, train=real, test_a=real, target="x")
    assert math.isfinite(scores["c2st"])
    assert math.isfinite(scores["tstr_r2"])
