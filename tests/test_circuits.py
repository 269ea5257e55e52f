"""Trees of columns: the tree that is found, what is left out and drawn, contexts, what a file may hold."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import CONTEXTS, SPACES, draw, make, refused_once_changed
from torch import Tensor

import genus
from genus import HCLT, Category, ChowLiu, Lattice, ModelFileError, Real, Space
from genus.files import read_tensors, write_tensors
from genus.laws.core import base_measure
from genus.models import dependence
from genus.models.dependence import StateTree, mutual_informations, spanning_tree
from genus.models.hclt import expectations
from genus.models.states import smoothed, smoothed_apart


def test_the_tree_is_found_that_the_rows_were_drawn_by() -> None:
    """A chain 2 - 0 - 3 - 1 of columns, each equal to the one before in nine rows of ten."""
    chain, rng = [2, 0, 3, 1], torch.Generator().manual_seed(0)
    x = torch.randint(3, (3000, 4), generator=rng)
    for before, i in pairwise(chain):
        x[:, i] = torch.where(torch.rand(3000, generator=rng) < 0.9, x[:, before], x[:, i])
    parents = spanning_tree(mutual_informations(x, [3] * 4)).tolist()
    edges = {frozenset((i, p)) for i, p in enumerate(parents) if p >= 0}
    assert edges == {frozenset(pair) for pair in pairwise(chain)}


def test_mutual_informations_are_those_of_the_counts() -> None:
    x = torch.randint(3, (500, 2), generator=torch.Generator().manual_seed(0))
    x[:, 1] = (x[:, 0] + x[:, 1] // 2) % 3
    p = torch.bincount(3 * x[:, 0] + x[:, 1], minlength=9).view(3, 3).double() / 500
    exact = torch.special.xlogy(p, p / (p.sum(0) * p.sum(1, keepdim=True))).nan_to_num().sum() - 4 / 1000
    assert float(mutual_informations(x, [3, 3])[0, 1]) == pytest.approx(float(exact), abs=1e-9)


def test_mutual_informations_are_the_same_by_products_and_one_column_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, generator = [2, 12, 3, 5, 9], torch.Generator().manual_seed(0)
    x = torch.stack([torch.randint(size, (400,), generator=generator) for size in sizes], 1).int()
    x[:, 3] = x[:, 1] % 5
    found = []
    for few in (0, 100):
        monkeypatch.setattr(dependence, "FEW", few)
        for at_once in (2**24, 40):  # of one column at a time, in several blocks of rows
            monkeypatch.setattr(dependence, "AT_ONCE", at_once)
            monkeypatch.setattr(dependence, "LOGS", at_once)
            found.append(mutual_informations(x, sizes).fill_diagonal_(0.0))
    for other in found[1:]:
        assert torch.allclose(found[0], other, atol=1e-12)
    counts = torch.bincount(x[:, 1] * 5 + x[:, 3], minlength=60).view(12, 5).double() / 400
    exact = torch.special.xlogy(counts, counts / (counts.sum(0) * counts.sum(1, keepdim=True))).nan_to_num().sum() - 44 / 800
    assert float(found[0][1, 3]) == pytest.approx(float(exact), abs=1e-9)
    assert torch.equal(found[0], found[0].T)


def test_tables_of_few_rows_are_drawn_towards_the_prior() -> None:
    prior = torch.tensor([[[0.9, 0.1]]], dtype=torch.float64)
    rows = torch.tensor([[[900.0, 100.0]], [[5.0, 5.0]], [[0.0, 0.0]]]).double()
    many, few, none = smoothed(rows[:, :, :], prior.expand(3, 1, 2))[:, 0]
    assert torch.allclose(many, prior[0, 0], atol=1e-3)
    assert 0.5 < float(few[0]) < 0.9
    assert torch.allclose(none, prior[0, 0])


def test_tables_without_a_missing_state_have_one_weight() -> None:
    counts = torch.randint(9, (4, 6, 5), generator=torch.Generator().manual_seed(0)).double()
    prior = counts.sum(1, keepdim=True) / counts.sum((1, 2), keepdim=True)
    none = torch.zeros(4, 5, dtype=torch.bool)
    assert torch.allclose(smoothed_apart(counts, prior, none), smoothed(counts, prior), atol=1e-12)
    last = none.clone()
    last[:2, -1] = True
    apart = smoothed_apart(counts, prior, last)
    assert torch.allclose(apart.sum(-1), torch.ones(4, 6).double())
    assert torch.allclose(apart[2:], smoothed(counts, prior)[2:], atol=1e-12)


def test_blanks_that_follow_from_a_column_are_as_frequent_though_no_value_depends_on_it() -> None:
    rng = np.random.default_rng(1)
    hole, x = rng.random(600) < 0.49, rng.normal(size=(600, 3))
    x[hole, :2] = np.nan
    names = ["a", "b", "c"]
    table = {name: [None if np.isnan(v) else v for v in column] for name, column in zip(names, x.T.tolist(), strict=True)}
    data = genus.read(table, relations=False, blank_is_a_value=["a", "b"])
    model = genus.build("chow-liu", data.space)
    genus.fit(model, data.x, seed=0, progress=False)
    nan = torch.full((1, 2), torch.nan)
    both = float(model.log_marginal(nan, [0, 1]).exp())
    shares = [float(model.log_marginal(nan[:, :1], [i]).exp()) for i in (0, 1)]
    assert both == pytest.approx(hole.mean(), abs=0.02)
    assert shares == pytest.approx([hole.mean()] * 2, abs=0.02)


@pytest.mark.parametrize("family", ["chow-liu", "hclt"])
@pytest.mark.parametrize("space", ["mixed", "charts"])
def test_any_columns_are_drawn_given_any_others(family: str, space: str) -> None:
    """The second column given the others: as often as the density says, at every value."""
    model, x = make(family, SPACES[space], CONTEXTS["mixed"]), draw(SPACES[space], 1).double()
    x, c = torch.where(x.isnan(), 1.0, x), draw(CONTEXTS["mixed"], 1, seed=7)
    column = 3  # of finitely many values
    grid = base_measure(model.space.kinds[column])[0]
    rows = x.repeat(len(grid), 1)
    rows[:, column] = grid
    log_p = model.log_prob(rows, c)
    others = [i for i in range(4) if i != column]
    assert float(log_p.logsumexp(0)) == pytest.approx(float(model.log_marginal(x[:, others], others, c)), abs=1e-9)
    missing = torch.zeros(4000, 4, dtype=torch.bool)
    missing[:, column] = True
    drawn = model.impute(x.repeat(4000, 1), c, missing, seed=0)
    assert torch.equal(drawn[:, others], x.repeat(4000, 1)[:, others].to(drawn))
    p = log_p.softmax(0)
    frequency = (drawn[:, column, None].nan_to_num(-1e9) == grid.to(drawn).nan_to_num(-1e9)).double().mean(0)
    assert bool(((frequency - p).abs() < 5 * (p * (1 - p) / 4000).sqrt() + 2 / 4000).all())


def test_a_context_of_any_kind_says_what_is_likely() -> None:
    rng = torch.Generator().manual_seed(0)
    c = torch.randn(3000, 1, generator=rng)
    x = torch.stack([(c[:, 0] > 0).float(), c[:, 0] + 0.1 * torch.randn(3000, generator=rng)], dim=1)
    model = ChowLiu(Space([Category((0, 1)), Real()]), Space([Real()]))
    genus.fit(model, genus.Dataset(x, c, model.space, model.context), progress=False)
    assert float(model.log_prob(x, c).mean()) > float(-math.log(2) + 0.3)
    drawn = model.sample(500, torch.tensor([[1.5]]), seed=0)
    assert float(drawn[:, 0].mean()) > 0.97
    assert float(drawn[:, 1].mean()) == pytest.approx(1.5, abs=0.2)


def test_many_values_share_states_and_keep_their_frequencies() -> None:
    """Levels beyond the states, and a lattice of 200 values, with four states each."""
    x = torch.stack([torch.arange(4000) % 9, torch.arange(4000) % 200], dim=1).float()
    x[:1500, 0] = 3
    model = ChowLiu(Space([Category(tuple(range(9))), Lattice(0, 199)]), states=4)
    genus.fit(model, x, progress=False)
    p = model.log_marginal(torch.arange(9.0)[:, None], [0]).exp()
    assert float(p.sum()) == pytest.approx(1, abs=1e-9)
    assert torch.allclose(p, torch.bincount(x[:, 0].long()).double() / 4000, atol=0.01)
    q = model.log_marginal(torch.arange(200.0)[:, None], [1]).exp()
    assert torch.allclose(q, torch.full_like(q, 1 / 200), atol=1e-3)


def test_latent_variables_learn_what_no_tree_of_columns_holds() -> None:
    """Four columns that a hidden coin moves together: a tree of columns sees pairs alone."""
    rng = torch.Generator().manual_seed(0)
    coin = torch.randint(2, (3000, 1), generator=rng)
    x = torch.where(torch.rand(3000, 6, generator=rng) < 0.8, coin, 1 - coin).float()
    space, values = Space([Category((0, 1))] * 6), {}
    for model in (ChowLiu(space), HCLT(space, latent=2, epochs=15)):
        genus.fit(model, x, seed=0, progress=False)
        values[model.name] = float(model.log_prob(x).mean())
    ones = x.sum(1).double()
    p = torch.stack([k * math.log(0.8) + (6 - k) * math.log(0.2) - math.log(2) for k in (ones, 6 - ones)]).logsumexp(0)
    assert values["hclt"] == pytest.approx(float(p.mean()), abs=0.03)
    assert values["chow-liu"] < values["hclt"] - 0.1


def test_expected_counts_are_those_of_a_sum_over_all_states() -> None:
    """The E-step of two rows against the posterior, state by state of all variables."""
    rng = torch.Generator().manual_seed(0)
    tree = StateTree(3, 2)
    table = torch.rand(3, 2, 2, generator=rng, dtype=torch.float64).softmax(-1)
    table[1] = table[1, 0]
    tree.take(torch.tensor([1, -1, 1]), table)
    emission = torch.rand(3, 2, 2, generator=rng, dtype=torch.float64).softmax(1)  # of columns: state, then latent state
    x = torch.tensor([[0, 1, 1], [1, 1, 0]])
    counts, log_likelihood = expectations(tree, emission, x)
    pairs, own, total = torch.zeros(3, 2, 2), torch.zeros(3, 2, 2), torch.zeros(2)
    every = torch.cartesian_prod(*[torch.arange(2)] * 3)
    for row in range(2):
        joint = [
            table[1, 0, b]
            * table[0, b, a]
            * table[2, b, c]
            * math.prod(emission[i, x[row, i], z] for i, z in enumerate((a, b, c)))
            for a, b, c in every.tolist()
        ]
        total[row] = sum(joint)
        for z, p in zip(every.tolist(), joint, strict=True):
            for i in range(3):
                pairs[i, z[1], z[i]] += p / total[row] if i != 1 else 0
                own[i, x[row, i], z[i]] += p / total[row]
    assert torch.allclose(log_likelihood.exp().float(), total, atol=1e-6)
    assert torch.allclose(counts.pairs[[0, 2]].float(), pairs[[0, 2]], atol=1e-5)
    assert torch.allclose(counts.own.float(), own, atol=1e-5)


def test_a_short_time_still_gives_a_model() -> None:
    x = draw(SPACES["mixed"], 300)
    model = HCLT(SPACES["mixed"], latent=3)
    model.learn((x, None), None, lambda: 0.0, seed=0)  # as after Ctrl-C
    assert model.log_prob(x).isfinite().all()


CRAFTED: dict[str, Callable[[dict[str, Tensor]], None]] = {
    "a circle": lambda t: t["tree.parent"].copy_(torch.tensor([1, 0, -1, 2])),
    "two roots": lambda t: t["tree.parent"].fill_(-1),
    "a parent that is no column": lambda t: t["tree.parent"].fill_(77),
    "a negative probability": lambda t: t["tree.table"].sub_(1),
    "probabilities that are no numbers": lambda t: t["tree.table"].fill_(math.nan),
    "a root that has a parent": lambda t: t["tree.table"][int((t["tree.parent"] < 0).nonzero()), 0].copy_(torch.eye(5)[0]),
    "a state too far": lambda t: t["columns.state"].add_(9),
    "a leaf too few": lambda t: t.update({k: t[k][1:].clone() for k in ("columns.state", "columns.log_leaf")}),
    "a share that is no number": lambda t: t["columns.log_leaf"].fill_(math.inf),
    "states of floats": lambda t: t.update({"columns.state": t["columns.state"].double()}),
    "edges that fall": lambda t: t.update({"columns.parts.0.edges": t["columns.parts.0.edges"].flip(0)}),
    "tables of another size": lambda t: t.update({"tree.table": t["tree.table"][:, 1:].clone()}),
}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    space = Space([Real(), Lattice(0, 3), Category(("a", "b", "c")), Lattice(0, 300)])
    model = ChowLiu(space, states=5)
    model.learn((draw(space, 500), None), None, lambda: math.inf, seed=0)
    path = tmp_path_factory.mktemp("circuit") / "m.genus"
    genus.save(model, path)
    return path


@pytest.mark.parametrize("change", CRAFTED.values(), ids=list(CRAFTED))
def test_a_file_that_was_tampered_with_is_refused(
    change: Callable[[dict[str, Tensor]], None], written: Path, tmp_path: Path
) -> None:
    tensors, header = read_tensors(written)
    change(tensors)
    write_tensors(tmp_path / "m.genus", tensors, header)
    with pytest.raises(ModelFileError):
        genus.load(tmp_path / "m.genus")


def test_what_is_too_large_is_refused_in_a_sentence() -> None:
    with pytest.raises(genus.DataError, match="4,096"):
        ChowLiu(Space(Lattice(0, 1), shape=(65, 64)))
    with pytest.raises(genus.GenusError, match="2 or more"):
        ChowLiu(SPACES["reals"], states=1)


@pytest.mark.parametrize(("name", "published"), [("nltcs", -6.76)])
def test_published_figures_are_reproduced(shared: Path, name: str, published: float) -> None:
    file = np.load(shared / "binary" / f"{name}.npz")
    train, test = (np.unpackbits(file[part], axis=1, count=int(file["columns"])) for part in ("train", "test"))
    model = ChowLiu(Space([Category((0, 1))] * train.shape[1]))
    genus.fit(model, torch.tensor(train, dtype=torch.float32), seed=0, progress=False)
    assert float(model.log_prob(torch.tensor(test, dtype=torch.float32)).mean()) == pytest.approx(published, abs=0.02)


@pytest.mark.parametrize("value", [math.nan, -1.0, 0.9], ids=["no number", "negative", "sums that are not 1"])
def test_a_latent_tree_that_was_tampered_with_is_refused(value: float, tmp_path: Path) -> None:
    model = HCLT(Space([Category((0, 1)), Lattice(0, 3)]), latent=2)
    refused_once_changed(model, lambda t: t["emission"].fill_(value), tmp_path / "m.genus")


def test_rows_are_located_and_counted_alike_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of many columns are taken in blocks, of which small tables have one only."""
    x = draw(SPACES["mixed"], 60)
    whole, in_blocks = (ChowLiu(SPACES["mixed"]) for _ in range(2))
    genus.fit(whole, x, seed=0, progress=False)
    monkeypatch.setattr("genus.models.states.LOCATED", 20)
    monkeypatch.setattr("genus.models.dependence.ROWS", 7)
    genus.fit(in_blocks, x, seed=0, progress=False)
    assert in_blocks.tree.parents == whole.tree.parents
    assert torch.equal(in_blocks.log_prob(x), whole.log_prob(x))
