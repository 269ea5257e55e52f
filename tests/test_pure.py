"""Densities are functions of parameters, rows, context and noise: PyTorch compiles, exports, vmaps and differentiates them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call, grad, hessian, vmap

import genus
from genus import Category, Lattice, Real, Space
from genus.export import Density, export_density, export_sampler

NAN = float("nan")
REALS = Space([Real(1.0, 2.0), Real(), Real(-3.0, 0.5)])
MIXED = Space([Real(1.0, 2.0, atoms=(0.0, NAN)), Category(("a", "b", "c")), Lattice(0, 9), Lattice(0, 999, atoms=(7.0,))])
ATOMS = Space([Real(1.0, 2.0, atoms=(0.0, NAN)), Category(("a", "b", "c")), Real()])
WHOLE = Space([Lattice(0, 9), Real(), Lattice(0, 999)])
TEXT = Space(Category(("a", "b", None)), shape=(6,), sequence=True)
CONTEXT = Space([Real(), Category(("u", "v"))], names=["p", "q"])
SMALL: dict[str, dict[str, Any]] = {
    "made": {"hidden": (16,)},
    "maf": {"transforms": 2, "hidden": (16,)},
    "nsf": {"transforms": 2, "hidden": (16,)},
    "real-nvp": {"transforms": 2, "hidden": (16,)},
    "vae": {"latent": 2, "hidden": (16,)},
    "iwae": {"latent": 2, "hidden": (16,), "samples": 3},
    "gpt": {"width": 8, "layers": 1, "heads": 2},
}
CASES: dict[str, tuple[str, Space, Space | None, dict[str, Any]]] = {
    **{name: (name, REALS, None, {}) for name in ("made", "maf", "nsf", "real-nvp", "vae", "iwae")},
    **{f"{name} given c": (name, REALS, CONTEXT, {}) for name in ("made", "maf", "vae")},
    "made, mixed": ("made", MIXED, None, {}),
    "made, mixed, given c": ("made", MIXED, CONTEXT, {}),
    "made, two orders": ("made", MIXED, None, {"orders": 2}),
    "maf, atoms": ("maf", ATOMS, None, {}),
    "maf, whole numbers": ("maf", WHOLE, None, {}),
    "maf, trained noise": ("maf", WHOLE, None, {"noise": "variational"}),
    "gpt": ("gpt", TEXT, None, {}),
    "gpt, mixed": ("gpt", MIXED, CONTEXT, {}),
}
ROWS = 4
FEW = ("maf", "maf, atoms", "maf, whole numbers", "made, mixed", "made, two orders", "gpt", "vae given c")  # the ordinary run's
# A strict export traces with the compiler's own tracer, so what is exported need not be compiled too.
EXPORTED = ("made", "maf", "nsf", "real-nvp", "vae", "vae given c", "made, mixed", "maf, atoms", "gpt")
COMPILED = ("made", "maf", "gpt", *(case for case in CASES if case not in EXPORTED))


def few(cases: Iterable[str], kept: tuple[str, ...] = FEW) -> list[Any]:
    """Leave all but a few to the nightly run: to compile or to export takes seconds."""
    return [pytest.param(case, marks=() if case in kept else pytest.mark.nightly) for case in cases]


def made(case: str) -> tuple[Density, tuple[Tensor, ...]]:
    """Return a density whose numbers are nowhere zero, and its arguments: rows, their context, noise."""
    name, space, context, more = CASES[case]
    torch.manual_seed(0)
    model: Any = genus.build(name, space, context=context, **SMALL[name], **more)
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    c = None if context is None else torch.tensor([[0.3, 1.0], [-1.0, 0.0]]).repeat(ROWS // 2, 1)
    x = model.sample(ROWS, c, seed=0)
    noise = () if isinstance(model, genus.TractableDensity) else (model.draw_noise(ROWS, seed=1),)
    return Density(model), (x, *(() if c is None else (c,)), *noise)


def one_row(density: Density) -> Any:
    """Return the density of one row without its dimension of rows."""
    return lambda *row: density(*(t.unsqueeze(0) for t in row))[0]


@pytest.mark.parametrize("case", few(COMPILED))
def test_compiles_without_a_break(case: str) -> None:
    density, arguments = made(case)
    torch._dynamo.reset()
    compiled = torch.compile(density, fullgraph=True, backend="eager")(*arguments)  # the first call of all
    torch.testing.assert_close(compiled, density(*arguments), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("case", few(EXPORTED, ("made, mixed",)))
def test_exports_for_any_number_of_rows(case: str) -> None:
    density, arguments = made(case)
    rows = torch.export.Dim("rows", min=2, max=1000)
    dynamic: Any = ({0: rows}, *([tuple({0: rows} for _ in arguments[1:])] if arguments[1:] else []))
    exported = torch.export.export(density, arguments, dynamic_shapes=dynamic, strict=True)
    torch.testing.assert_close(exported.module()(*arguments), density(*arguments), atol=1e-4, rtol=1e-4)
    fewer = tuple(t[:3] for t in arguments)
    torch.testing.assert_close(exported.module()(*fewer), density(*fewer), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("case", CASES)
def test_vmaps_over_rows_and_gives_gradients_in_parameters(case: str) -> None:
    density, arguments = made(case)
    torch.testing.assert_close(vmap(one_row(density))(*arguments), density(*arguments), atol=1e-4, rtol=1e-4)
    parameters = dict(density.named_parameters())
    gradients = grad(lambda p: functional_call(density, p, arguments).sum())(parameters)
    density(*arguments).sum().backward()
    for name, parameter in parameters.items():
        wanted = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        torch.testing.assert_close(gradients[name], wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("case", [case for case, (_, space, *_) in CASES.items() if space is REALS])
def test_gives_gradients_and_hessians_in_x(case: str) -> None:
    density, arguments = made(case)
    arguments = tuple(t.double() for t in arguments)
    f = one_row(density.double())
    slopes, bends = vmap(grad(f))(*arguments), vmap(hessian(f))(*arguments)
    e = 1e-5
    for i, unit in enumerate(torch.eye(REALS.dim, dtype=torch.float64)):
        up, down = ((arguments[0] + sign * e * unit, *arguments[1:]) for sign in (1, -1))
        torch.testing.assert_close(slopes[:, i], (density(*up) - density(*down)) / (2 * e), atol=1e-5, rtol=1e-5)
        difference = (vmap(grad(f))(*up) - vmap(grad(f))(*down)) / (2 * e)
        torch.testing.assert_close(bends[:, i], difference, atol=1e-5, rtol=1e-4)


def test_a_bound_depends_on_its_noise_alone() -> None:
    density, (x, noise) = made("vae")
    torch.manual_seed(5)
    first = density(x, noise)
    assert torch.equal(first, density(x, noise))
    assert not torch.equal(first, density(x, density.model.draw_noise(ROWS, seed=2)))
    assert torch.equal(density.model.draw_noise(3, seed=1), density.model.draw_noise(3, seed=1))


def test_tables_of_a_trace_are_not_kept() -> None:
    density, arguments = made("made, mixed")
    density.model.space._tables.clear()
    torch.export.export(density, arguments)
    assert not density.model.space._tables
    assert density(*arguments).isfinite().all()


def test_checks_are_back_after_a_trace() -> None:
    density, arguments = made("maf")
    vmap(one_row(density))(*arguments)
    with pytest.raises(genus.DataError, match="inf"):
        density(torch.full((1, 3), torch.inf))


# -- models as distributions, and flows both ways ---------------------------------------------------------------------------


def test_as_distribution_gives_draws_for_each_of_many_contexts() -> None:
    density, (x, c) = made("maf given c")
    p = density.model.as_distribution(c)
    assert (p.batch_shape, p.event_shape, p.has_rsample) == (torch.Size([ROWS]), torch.Size([3]), True)
    drawn = p.sample((5, 2))
    assert drawn.shape == (5, 2, ROWS, 3)
    torch.testing.assert_close(p.log_prob(drawn)[1, 1], density.model.log_prob(drawn[1, 1], c))
    torch.testing.assert_close(p.log_prob(x[0]), density.model.log_prob(x[:1].expand(ROWS, 3), c))
    assert bool(p.support.check(x).all())
    one = density.model.as_distribution(c[0])
    assert (one.batch_shape, one.sample((7,)).shape, one.log_prob(x).shape) == (torch.Size([]), (7, 3), (ROWS,))
    assert one.expand((6,)).sample().shape == (6, 3)
    independent = torch.distributions.Independent(p, 1)
    torch.testing.assert_close(independent.log_prob(x), density.model.log_prob(x, c).sum())


def test_as_distribution_needs_the_models_own_context() -> None:
    with pytest.raises(genus.DataError, match="has a context; pass c"):
        made("maf given c")[0].model.as_distribution()
    with pytest.raises(genus.DataError, match="no context"):
        made("maf")[0].model.as_distribution(torch.zeros(2))
    with pytest.raises(NotImplementedError, match="without gradients"):
        made("made")[0].model.as_distribution().rsample()


@pytest.mark.parametrize("name", ["maf", "nsf", "real-nvp"])
def test_draws_of_a_flow_have_gradients(name: str) -> None:
    model = made(name)[0].double().model
    parameter = model.transform.transforms[0].shift

    def mean() -> Tensor:
        return model.rsample(50, seed=0).mean()

    (slope,) = torch.autograd.grad(mean(), parameter)
    with torch.no_grad():
        parameter[0] += 1e-6
        up = mean()
        parameter[0] -= 2e-6
        torch.testing.assert_close(slope[0], (up - mean()) / 2e-6, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("case", ["maf", "nsf", "real-nvp", "maf given c"])
def test_a_flow_goes_to_its_base_and_back(case: str) -> None:
    density, (x, *context) = made(case)
    model = density.double().model
    x, c = x.double(), context[0].double() if context else None
    z, log_det = model.to_base(x, c)
    back, log_det_back = model.from_base(z, c)
    torch.testing.assert_close(back, x, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(log_det_back, -log_det, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(model.base.log_prob(z) + log_det, model.log_prob(x, c))


def test_states_are_not_told_by_points_of_the_base() -> None:
    with pytest.raises(genus.DataError, match="real numbers alone"):
        made("maf, atoms")[0].model.from_base(torch.zeros(1, 2))


@pytest.mark.parametrize("case", ["gpt", "made, mixed", "gpt, mixed"])
def test_next_symbol_probabilities_are_those_of_the_conditionals(case: str) -> None:
    density, (x, *context) = made(case)
    model, c = density.model, context[0] if context else None
    p = model.next_symbol_probabilities(x[:, :1], c)
    torch.testing.assert_close(p.sum(1), torch.ones(ROWS), atol=1e-5, rtol=1e-5)
    for symbol in range(p.shape[1]):
        there = x.clone()
        there[:, 1] = symbol
        if case == "gpt":
            there[:, 1:] = torch.where(there[:, :1] == 2, 2.0, symbol)
        wanted = model.log_conditionals(there, c)[:, 1].exp()
        alive = there[:, 0] != 2 if case == "gpt" else torch.ones(ROWS, dtype=torch.bool)
        torch.testing.assert_close(p[alive, symbol], wanted[alive], atol=1e-5, rtol=1e-4)
    if case == "gpt":
        assert model.next_symbol_probabilities(torch.tensor([[0.0, 2.0]]))[0, 2] == 1
        assert model.next_symbol_probabilities(torch.zeros(1, 0)).shape == (1, 3)
    else:
        with pytest.raises(genus.GenusError, match="no category"):
            model.next_symbol_probabilities(torch.zeros(0) if case != "gpt, mixed" else torch.zeros(ROWS, 0), c)


@pytest.mark.parametrize("name", ["made", "maf", "real-nvp", "vae"])
def test_a_net_for_the_context_is_trained_and_saved(name: str, tmp_path: Any) -> None:
    torch.manual_seed(0)
    model: Any = genus.build(name, REALS, context=CONTEXT, context_net=(8, 4), **SMALL[name])
    assert model.context_dim == 4
    c = torch.stack([torch.randn(64), torch.randint(2, (64,)).float()], dim=1)
    before = [p.clone() for p in model.context_net.parameters()]
    genus.fit(model, (torch.randn(64, 3) + c[:, :1], c), max_steps=20, validation=None, seed=0, progress=False)
    assert all(not torch.equal(p, old) for p, old in zip(model.context_net.parameters(), before, strict=True))
    genus.save(model, tmp_path / "model.genus")
    again: Any = genus.load(tmp_path / "model.genus")
    assert torch.equal(again.sample(5, c[:5], seed=0), model.sample(5, c[:5], seed=0))
    with pytest.raises(genus.GenusError, match="context_net"):
        genus.build(name, REALS, context_net=(4,), **SMALL[name])


@pytest.mark.parametrize("case", few(("maf", "made, mixed, given c", "vae given c"), ("maf",)))
def test_a_program_in_a_file_needs_no_genus(case: str, tmp_path: Path) -> None:
    density, arguments = made(case)
    export_density(density.model, tmp_path / "density.pt2")
    program = torch.export.load(tmp_path / "density.pt2").module()
    torch.testing.assert_close(program(*arguments), density(*arguments), atol=1e-4, rtol=1e-4)


def test_what_cannot_be_traced_is_a_sentence(tmp_path: Path) -> None:
    data = genus.read("iris")
    model = genus.Trees(data.space, rounds=2)
    genus.fit(model, data, progress=False)
    with pytest.raises(genus.GenusError, match="density of this trees cannot be exported"):
        export_density(model, tmp_path / "density.pt2")
    assert not list(tmp_path.iterdir())


SAMPLERS: dict[str, tuple[Space, Space | None, dict[str, Any]]] = {
    "vae": (Space([Real(1.0, 2.0), Category(("a", "b", "c")), Lattice(0, 9)]), None, SMALL["vae"]),
    "real-nvp": (REALS, CONTEXT, SMALL["real-nvp"]),
    "iaf": (REALS, None, {"transforms": 2, "hidden": (8,)}),
    "gan": (REALS, CONTEXT, {"latent": 2, "hidden": (8,)}),
}


@pytest.mark.parametrize("name", few(SAMPLERS, ("real-nvp",)))
def test_a_sampler_in_a_file_draws_what_the_model_draws(name: str, tmp_path: Path) -> None:
    """From the same state of torch's random numbers, for numbers of rows that were not traced."""
    space, context, hyper = SAMPLERS[name]
    torch.manual_seed(0)
    model: Any = genus.build(name, space, context, **hyper)
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    export_sampler(model, tmp_path / "sampler.pt2")
    program = torch.export.load(tmp_path / "sampler.pt2").module()
    for n in (2, 7):
        c = () if context is None else (torch.stack([torch.randn(n), torch.randint(2, (n,)).float()], dim=1),)
        torch.manual_seed(n)
        own = model.sample(n, *c, blanks=True)
        torch.manual_seed(n)
        torch.testing.assert_close(program(torch.empty(n), *c).to(own), own, atol=1e-5, rtol=1e-5)
        torch.manual_seed(n + 1)
        assert not torch.allclose(program(torch.empty(n), *c).to(own), own, atol=1e-2)


def test_a_sampler_that_cannot_be_traced_is_a_sentence(tmp_path: Path) -> None:
    data = genus.read("iris")
    model = genus.build("naive-bayes", data.space)
    genus.fit(model, data, progress=False)
    with pytest.raises(genus.GenusError, match="The sampler of this naive-bayes cannot be exported"):
        export_sampler(model, tmp_path / "sampler.pt2")
    assert not list(tmp_path.iterdir())
