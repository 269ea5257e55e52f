"""MADE and its masked net: groups of any width, any order, means over orders."""

from __future__ import annotations

import math
from pathlib import Path
from unittest import mock

import pytest
import torch
from conftest import CONTEXTS, SPACES, draw
from torch import Tensor, nn

import genus
from genus import MADE, Category, DataError, GenusError, Lattice, Space
from genus.nets.cells import Cells
from genus.nets.masked import MaskedMLP

ROWS = [name for name, space in SPACES.items() if not space.sequence]


def shaken(model: nn.Module, seed: int = 0) -> nn.Module:
    """In float64, away from its birth state."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.data += 0.4 * torch.randn(parameter.shape, generator=generator)
    return model.double().eval()


def made(space: Space, context: Space | None = None, seed: int = 0, **hyper: object) -> MADE:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = MADE(space, context, **{"hidden": (16, 16), "components": 2} | hyper)
    model.initialise(draw(space, 50, seed=9))
    return shaken(model, seed)


def shuffled(n: int, seed: int = 0) -> list[int]:
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed)).tolist()


def all_of(space: Space) -> Tensor:
    return torch.cartesian_prod(*(torch.arange(float(k.size if isinstance(k, Lattice) else k.states)) for k in space.kinds))


# -- the net --------------------------------------------------------------------------------------------------------------

INPUTS, OUTPUTS = [2, 0, 1, 3, 1, 2], [1, 2, 0, 4, 3, 2]


@pytest.mark.parametrize("hidden", [(), (9,), (40, 40), (12, 12, 3)])
@pytest.mark.parametrize("context_dim", [0, 2])
@pytest.mark.parametrize("order", [None, shuffled(6)], ids=["own order", "shuffled"])
@pytest.mark.parametrize("block", [1, 2, 8])
@pytest.mark.parametrize("direct", [False, True])
def test_steps_and_prefill_are_the_parallel_pass(
    hidden: tuple[int, ...],
    context_dim: int,
    order: list[int] | None,
    block: int,
    direct: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("genus.nets.kernels.incremental.BLOCK", block)
    net = shaken(MaskedMLP(INPUTS, hidden, OUTPUTS, context_dim, dropout=0.5, residual=True, direct=direct))
    x, c = torch.randn(5, sum(INPUTS)).double(), torch.randn(5, context_dim).double() if context_dim else None
    groups = list(range(6)) if order is None else order
    parts = [x.split(INPUTS, 1)[g] for g in groups]
    with torch.no_grad():
        expected = [net(x, c, order).split(OUTPUTS, 1)[g] for g in groups]
        out, state = net.start(5, c, order)
        assert torch.allclose(out, expected[0], atol=1e-9)
        for i in range(5):
            out, state = net.step(state, i, parts[i])
            assert torch.allclose(out, expected[i + 1], atol=1e-9), i
        for m in range(1, 6):
            out, state = net.prefill(torch.cat(parts[:m], 1), m, c, order)
            assert torch.allclose(out, expected[m], atol=1e-9), m
            if m < 5:
                out, _ = net.step(state, m, parts[m])
                assert torch.allclose(out, expected[m + 1], atol=1e-9), m


@pytest.mark.parametrize("context_dim", [0, 2])
@pytest.mark.parametrize("sizes", [(6, 16, 2), (150, 300, 2), (3, 300, 100)])
def test_a_pass_without_gradients_is_one_with_them(sizes: tuple[int, int, int], context_dim: int) -> None:
    dim, width, outputs = sizes
    places = torch.arange(dim).unsqueeze(1)
    net = MaskedMLP([1] * dim, (width, width), [outputs] * dim, context_dim, 0.5, True, True, places, reach=dim // 2)
    net, x = shaken(net), torch.randn(1500, dim).double()
    c = torch.randn(1500, context_dim).double() if context_dim else None
    expected = net(x, c)
    with torch.no_grad():
        assert torch.allclose(net(x, c), expected, atol=1e-9)
    assert width < 300 or len(net.blocks[1]) > 1


def test_a_pass_in_another_order_skips_what_its_masks_cut_away() -> None:
    net, x, order = shaken(MaskedMLP([2] * 6, (300, 300), [50] * 6)), torch.randn(1500, 12).double(), shuffled(6)
    expected = net(x, order=order)
    with torch.no_grad():
        assert torch.allclose(net(x, order=order), expected, atol=1e-9)
    kept = sum((last - first) * seen for part in net._masks_in(order)[1] for first, last, seen in part)
    assert kept < 0.9 * sum(weight.numel() for weight in net.matrices())


def test_cells_of_tables_of_many_sizes_have_the_log_probabilities_of_their_tables() -> None:
    cells = Cells(Space([Category(tuple(map(str, range(n)))) for n in (2, 40, 3, 2, 5)]), 32)
    numbers, cell = torch.randn(7, sum(cells.needs)).double(), torch.stack([torch.randint(n, (7,)) for n in cells.sizes], 1)
    with mock.patch.object(cells, "log_tables", side_effect=AssertionError):  # it takes the way without padding
        found = cells.log_probs(numbers, cell)
    assert torch.allclose(found, cells.log_tables(numbers).gather(1, cell + cells.offset))


def test_a_pass_follows_the_weights_and_the_order() -> None:
    net, x, order = shaken(MaskedMLP(INPUTS, (8,), OUTPUTS)), torch.randn(3, sum(INPUTS)).double(), shuffled(6)
    with torch.no_grad():
        before, other = net(x), net(x, order=order)
        assert not torch.allclose(before, other)
        assert torch.equal(before, net(x))
        net.layers[0].weight += 1.0
        assert not torch.allclose(before, net(x))


# -- the density ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("context", CONTEXTS.values(), ids=list(CONTEXTS))
@pytest.mark.parametrize("residual", [False, True])
def test_every_output_sees_what_comes_before_and_nothing_else(name: str, context: Space | None, residual: bool) -> None:
    """By gradients, output by output, in a random order of columns of every kind."""
    space = SPACES[name]
    order = shuffled(space.dim, seed=2)
    model = made(space, context, order=order, hidden=(64, 64), residual=residual)
    c = None if context is None else model._context_features(draw(context, 6)).requires_grad_()
    seen = model.tokens(draw(space, 6), torch.float64).requires_grad_()
    out = model.nets[0](seen, c, order).split(model.outputs.widths, 1)
    there = model.log_conditionals(draw(space, 6), None if context is None else draw(context, 6))
    steps, value = model._steps(6, None if context is None else draw(context, 6), None), torch.empty(0)
    for p, column in enumerate(order):
        distribution = steps.send(value) if p else next(steps)
        value = draw(space, 6).flatten(1)[:, column : column + 1]
        assert torch.allclose(distribution.log_prob(value)[:, 0], there[:, column], atol=1e-9), f"the step at {p}"
        if not out[column].shape[1]:
            continue
        weighted = (out[column] * torch.randn_like(out[column])).sum()
        gradients = torch.autograd.grad(weighted, [seen] if c is None else [seen, c], retain_graph=True, allow_unused=True)
        parts = (gradients[0] if gradients[0] is not None else torch.zeros_like(seen)).split(model.tokens.widths, 1)
        for q, other in enumerate(order):
            if q >= p:
                assert not parts[other].any(), f"the output at {p} sees position {q}"
            elif parts[other].shape[1]:
                assert bool(parts[other].abs().sum(0).gt(0).all()), f"the output at {p} does not see position {q}"
        if c is not None:
            assert bool(gradients[1].abs().sum(0).gt(0).all()), f"the output at {p} does not see the context"


@pytest.mark.parametrize("name", ["categories", "image"])
@pytest.mark.parametrize("context", [None, CONTEXTS["category"]], ids=["none", "category"])
def test_a_mean_over_orders_has_mass_one_and_is_what_is_sampled(name: str, context: Space | None) -> None:
    space = SPACES[name] if name == "categories" else Space(Lattice(0, 1), shape=(2, 2))
    model = made(space, context, orders=3)
    model.orders[:] = model.orders[0].sort().values.roll(1)  # a cycle: putting coordinates back is not the order itself
    points = all_of(space).reshape(-1, *space.shape)
    c = None if context is None else torch.ones(1, 1)
    p = model.log_prob(points, c).exp().detach()
    assert float(p.sum()) == pytest.approx(1, abs=1e-9)
    sample = model.sample(20_000, c, seed=0)
    found = (sample.flatten(1)[:, None] == points.flatten(1)[None]).all(2).double().mean(0)
    assert bool(((found - p).abs() < 5 * (p * (1 - p) / 20_000).sqrt() + 1e-4).all())


def test_the_mean_is_over_probabilities_of_models_of_one_order_each() -> None:
    space = SPACES["mixed"]
    model, x = made(space, orders=4), draw(SPACES["mixed"], 7)
    singles = []
    for order, net in zip(model.orders.tolist(), model.nets, strict=True):
        single = made(space, order=order)
        single.nets[0].load_state_dict(net.state_dict())
        single.centre.copy_(model.centre)
        singles.append(single.log_prob(x).exp())
    assert torch.allclose(model.log_prob(x).exp(), torch.stack(singles).mean(0), rtol=1e-9)


def test_training_takes_every_order() -> None:
    model = made(SPACES["mixed"], orders=3).train()
    x = draw(SPACES["mixed"], 20)
    each = torch.stack([-model._log_conditionals(x, None, k).sum(1).mean() for k in range(3)])
    assert len(set(each.tolist())) == 3
    assert torch.allclose(model._loss(x, None), each.mean())


def test_a_mean_over_orders_has_conditionals_order_by_order_and_takes_no_prefix() -> None:
    model, x = made(SPACES["mixed"], orders=2), draw(SPACES["mixed"], 5)
    by_order = torch.stack([model.log_conditionals(x, order=k).sum(1) for k in range(2)])
    assert torch.allclose(by_order.exp().mean(0).log(), model.log_prob(x), atol=1e-9)
    with pytest.raises(GenusError, match=r"from 0 to 1; got 2"):
        model.log_conditionals(x, order=2)
    with pytest.raises(GenusError, match=r"this model has 2; build the model with orders=1"):
        model.sample(2, prefix=torch.tensor([1.0]))


def test_orders_are_saved(tmp_path: Path) -> None:
    model, x = made(SPACES["mixed"], orders=3, seed=8), draw(SPACES["mixed"], 5)
    genus.save(model, tmp_path / "m.genus")
    loaded = genus.load(tmp_path / "m.genus")
    assert torch.equal(loaded.orders, model.orders)
    assert torch.allclose(loaded.double().log_prob(x), model.log_prob(x), atol=1e-4)
    assert torch.equal(loaded.sample(9, seed=3).nan_to_num(-1), loaded.sample(9, seed=3).nan_to_num(-1))


def test_rows_are_completed_from_any_columns_that_stand_first() -> None:
    space = Space([Category(("a", "b", "c")), Category(("no", "yes")), Category(("x", "y", "z"))])
    model, points = made(space, order=[2, 0, 1]), all_of(SPACES["categories"])
    points = all_of(space)
    p = model.log_prob(points).exp().detach()
    for prefix, given in (([1.0], points[:, 2] == 1), ([1.0, 2.0], (points[:, 2] == 1) & (points[:, 0] == 2))):
        x = model.sample(20_000, seed=0, prefix=torch.tensor(prefix))
        found = (x[:, None] == points[given][None]).all(2).double().mean(0)
        expected = p[given] / p[given].sum()
        assert bool(((found - expected).abs() < 5 * (expected * (1 - expected) / 20_000).sqrt() + 1e-4).all())


def test_pixels_are_seen_as_one_number_each_and_two_values_are_one_number_out() -> None:
    model = MADE(Space(Lattice(0, 1), shape=(4, 4)), hidden=(8,))
    assert (model.nets[0].layers[0].in_features, model.nets[0].out.out_features) == (16, 16)
    assert MADE(Space(Lattice(0, 255), shape=(4, 4)), hidden=(8,), components=3).nets[0].out.out_features == 16 * 9


def test_a_new_model_is_uniform_over_values_and_training_starts_from_their_shares() -> None:
    x = draw(SPACES["image"], 3)
    model = MADE(SPACES["image"])
    assert torch.allclose(model.log_prob(x), torch.tensor(-6 * math.log(4)))
    space = Space([Category(("a", "b", "c")), Lattice(0, 1)])
    model = MADE(space)
    rows = torch.tensor([[0.0, 1.0]] * 5 + [[1.0, 0.0]])
    model.initialise(rows)
    p = torch.tensor([6 / 9 * 6 / 8, 2 / 9 * 2 / 8])  # one row more of every value
    assert torch.allclose(model.log_prob(rows[[0, 5]]).exp(), p)


@pytest.mark.parametrize(
    ("hyper", "message"),
    [
        ({"orders": 0}, "1 or more"),
        ({"orders": 2, "order": [0, 1, 2, 3]}, "order="),
        ({"order": [0, 1]}, "each of the 4 coordinates once"),
    ],
)
def test_orders_that_make_no_sense(hyper: dict, message: str) -> None:
    with pytest.raises(GenusError, match=message):
        MADE(SPACES["mixed"], **hyper)


def test_sequences_are_refused() -> None:
    with pytest.raises(DataError, match="these are sequences"):
        MADE(SPACES["words"])


def test_outputs_see_near_pixels_directly_and_far_ones_through_hidden_units_alone() -> None:
    """Steps are the parallel pass in every order, no output sees what comes after it, and reach cuts what is too far."""
    space = Space(Lattice(0, 1), shape=(2, 4, 5))
    model = shaken(MADE(space, hidden=(30, 20), orders=3, direct=True, reach=1))
    x = draw(space, 6)
    seen = model.tokens(x, torch.float64).requires_grad_()
    for k, order in enumerate(model.orders.tolist()):
        out, place = model.nets[k](seen, None, order), torch.tensor(order).argsort()
        for pixel in (0, 17, 39):
            gradient = torch.autograd.grad(out[:, pixel].sum(), seen, retain_graph=True)[0]
            assert not gradient[:, place >= place[pixel]].any()
        steps, value = model._steps(6, None, None, k), torch.empty(0)
        there = model._log_conditionals(x, None, k)
        for p, pixel in enumerate(order):
            distribution = steps.send(value) if p else next(steps)
            value = x.flatten(1)[:, pixel : pixel + 1]
            assert torch.allclose(distribution.log_prob(value)[:, 0], there[:, pixel], atol=1e-9)
    hidden, past = (mask.bool() for mask in model.nets[0].masks(None)[-2:])
    rows = torch.arange(40) % 20 // 5
    far = (rows[:, None] - rows[None]).abs() > 1
    assert not (past & far).any()
    assert bool(past[7, 1] & past[27, 7] & ~past[7, 27])  # within reach, and before it in the order
    assert 0 < float(hidden.float().mean()) < 0.3
    with pytest.raises(genus.GenusError, match="in an image"):
        MADE(SPACES["mixed"], reach=2)


@pytest.mark.parametrize("hidden", [(), (9,), (12, 12)])
@pytest.mark.parametrize("context_dim", [0, 2])
@pytest.mark.parametrize("order", [None, shuffled(6)], ids=["own order", "shuffled"])
def test_gradients_of_steps_are_those_of_the_parallel_pass(
    hidden: tuple[int, ...], context_dim: int, order: list[int] | None
) -> None:
    net = shaken(MaskedMLP(INPUTS, hidden, OUTPUTS, context_dim, residual=True, direct=True))
    x = torch.randn(5, sum(INPUTS), dtype=torch.float64, requires_grad=True)
    c = torch.randn(5, context_dim, dtype=torch.float64, requires_grad=True) if context_dim else None
    groups = list(range(6)) if order is None else order
    parts = [x.split(INPUTS, 1)[g] for g in groups]
    out, state = net.start(5, c, order)
    steps = [out]
    for i in range(5):
        out, state = net.step(state, i, parts[i])
        steps.append(out)
    whole = torch.cat([net(x, c, order).split(OUTPUTS, 1)[g] for g in groups], 1)
    wanted, probe = [*([] if c is None else [c]), x, *net.parameters()], torch.randn_like(whole)
    found, expected = (torch.autograd.grad(one, wanted, probe, allow_unused=True) for one in (torch.cat(steps, 1), whole))
    for a, b in zip(found, expected, strict=True):
        assert torch.allclose(torch.zeros(()) if a is None else a, torch.zeros(()) if b is None else b, atol=1e-9)


@pytest.mark.parametrize("hidden", [(), (5,), (6, 6)])
@pytest.mark.parametrize("context_dim", [0, 2])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("direct", [pytest.param(False, marks=pytest.mark.nightly), True])
def test_gradients_of_a_pass_are_those_of_finite_differences(
    hidden: tuple[int, ...], context_dim: int, residual: bool, direct: bool
) -> None:
    torch.manual_seed(0)
    net = MaskedMLP([1] * 4, hidden, [2] * 4, context_dim, residual=residual, direct=direct).double()
    for parameter in net.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    names = [name for name, _ in net.named_parameters()]
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    c = torch.randn(3, context_dim, dtype=torch.float64, requires_grad=True) if context_dim else None

    def through(x: torch.Tensor, c: torch.Tensor | None, *weights: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(net, dict(zip(names, weights, strict=True)), (x, c))

    assert torch.autograd.gradcheck(through, (x, c, *net.parameters()))
    assert torch.autograd.gradgradcheck(through, (x, c, *net.parameters()))
