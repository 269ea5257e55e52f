"""Models, transforms and losses of one's own: the laws they are held to, and what is said where they go wrong."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from command import run
from conftest import CONTEXTS, SMALL, SPACES, draw, make
from torch import Tensor, nn

import genus
from genus import Loss, Real, Space, TractableDensity
from genus.configurable import classes
from genus.errors import NonFiniteLossError, TrainingError
from genus.testing import LawError, check_model, check_transform
from genus.transforms import ActNorm, Affine, Coupling, Linear, MaskedAutoregressive, Permutation, Transform, halves

ONE = Space([Real(1.0, 2.0), Real()])


class Shifted(TractableDensity, name="test-shifted"):
    """Normal columns about a trained centre."""

    # tests of all families do not mean it
    info = TractableDensity.info.replace(listed=False)

    def __init__(self, space: Space, context: Space | None = None, width: float = 1.0) -> None:
        super().__init__(space, context)
        self.width, self.centre = width, nn.Parameter(torch.zeros(space.dim))

    def _log_prob(self, x: Tensor, c: Tensor | None) -> Tensor:
        u = self.space.split(x).u
        unit = sum(math.log(kind.scale) for kind in self.space.kinds)
        return torch.distributions.Normal(self.centre, self.width).log_prob(u.float()).sum(1) - unit

    def _sample(self, n: int, c: Tensor | None) -> Tensor:
        u = self.centre + self.width * torch.randn(n, self.space.dim)
        return self.space.join(torch.zeros_like(u, dtype=torch.long), u)


# -- the laws -------------------------------------------------------------------------------------------------------------


FEW = ("gpt", "made", "markov", "nsf", "trees", "vae", "wgan-gp")  # the ordinary run's


def cases() -> Iterator[Any]:
    """A table for every family, an image where it takes no table, and sequences given a class where it takes them.

    tests/test_laws.py has the laws on all spaces; here `check_model` finds nothing wrong with what is right.
    """
    for family in SMALL:
        context = CONTEXTS["category"] if family != "markov" else None
        tables = [(name, None) for name in ("mixed", "image") if not genus.registry.refusal(family, SPACES[name], None)]
        windows = [] if genus.registry.refusal(family, SPACES["windows"], context) else [("windows", context)]
        for case in [*tables[:1], *windows]:
            yield pytest.param(family, *case, id=f"{family}-{case[0]}", marks=() if family in FEW else pytest.mark.nightly)


@pytest.mark.parametrize(("family", "name", "context"), cases())
def test_every_family_keeps_the_laws(family: str, name: str, context: Space | None) -> None:
    space = SPACES[name]
    model = make(family, space, context, double=False)
    held = check_model(model, draw(space, 40), None if context is None else draw(context, 40, 1))
    assert {"files", "samples"} <= set(held)
    assert name != "windows" or {"conditionals", "causality", "steps", "mass"} <= set(held)


@pytest.mark.parametrize(
    "transform",
    [
        Linear(3),
        ActNorm(3),
        Permutation([2, 0, 1]),
        Coupling(halves(3), (8,), Affine()),
        MaskedAutoregressive(3, (8, 8)),
    ],
    ids=lambda transform: type(transform).__name__,
)
def test_transforms_keep_theirs(transform: Transform) -> None:
    torch.manual_seed(0)
    for parameter in transform.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    allow_missing = ["allow_missing"] if transform.allow_missing else []
    assert check_transform(transform, torch.randn(9, 3)) == [
        "inverse",
        "rows",
        "log-determinant",
        "gradients",
        *allow_missing,
        "files",
    ]


def test_a_family_of_ones_own_keeps_them(own_names: None) -> None:
    model = Shifted(ONE, width=2.0)
    assert check_model(model, model.sample(30, seed=0)) == ["files", "samples", "rows", "density", "gradients"]


def test_what_breaks_a_law_is_told_so(own_names: None) -> None:
    x = draw(ONE, 30)

    class Heavy(Shifted, name="test-heavy"):
        def _log_prob(self, x: Tensor, c: Tensor | None) -> Tensor:
            return super()._log_prob(x, c) + math.log(2)  # of mass 2

    class Social(Shifted, name="test-social"):
        def _log_prob(self, x: Tensor, c: Tensor | None) -> Tensor:
            return super()._log_prob(x, c) + 0.1 * x.mean().nan_to_num()

    class Idle(Shifted, name="test-idle"):
        def losses(self) -> list[Loss]:
            spare = nn.Parameter(torch.zeros(1))
            return [Loss("nll", [*self.parameters(), spare], lambda x, c: -self._log_prob(x, c).mean())]

    class Moving(Shifted, name="test-moving"):
        def _sample(self, n: int, c: Tensor | None) -> Tensor:
            return super()._sample(n, c) + next(counter)

    counter = iter(range(1000))
    for family, word in ((Heavy, "mass"), (Social, "beside them"), (Idle, "no part in it"), (Moving, "draws otherwise")):
        with pytest.raises(LawError, match=word):
            check_model(family(ONE), x)


def test_a_transform_that_does_not_lead_back_is_told_so(own_names: None) -> None:
    class Wrong(Transform):
        def __init__(self, factor: float) -> None:
            super().__init__()
            self.factor = factor

        def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
            return 2 * x, x.new_full((len(x),), 2 * math.log(self.factor))

        def inverse(self, z: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
            return z / self.factor, z.new_full((len(z),), -2 * math.log(self.factor))

    assert check_transform(Wrong(2.0), torch.randn(4, 2))[:2] == ["inverse", "rows"]
    with pytest.raises(LawError, match="lead back"):
        check_transform(Wrong(3.0), torch.randn(4, 2))
    with pytest.raises(LawError, match="Jacobian"):
        check_transform(Wrong(2.0), torch.randn(4, 3))


# -- names and files ------------------------------------------------------------------------------------------------------


def test_names_that_are_taken_are_refused(own_names: None) -> None:
    with pytest.raises(genus.GenusError, match=r"class 'maf' already.*MAF"):
        type("Mine", (Shifted,), {}, name="maf")
    with pytest.raises(genus.GenusError, match="class 'Permutation' already"):
        type("Permutation", (Transform,), {})
    type("Shifted", (Shifted,), {"__module__": __name__}, name="test-shifted")  # a cell of a notebook that is run again
    classes["test-shifted"] = Shifted


def test_transforms_that_a_file_could_not_build_are_refused(own_names: None) -> None:
    with pytest.raises(genus.GenusError, match="must name its arguments"):

        class Loose(Transform):
            def __init__(self, *args: int) -> None: ...


def test_every_argument_is_captured_and_given_back_by_a_file(own_names: None, tmp_path: Path) -> None:
    class Renamed(Shifted, name="test-renamed"):
        def __init__(self, space: Space, context: Space | None = None, spread: float = 1.0, **more: Any) -> None:
            super().__init__(space, context, width=2 * spread)
            self.more = more

    model = Renamed(ONE, spread=1.5, note="own")
    assert model.config == {"spread": 1.5, "note": "own"}
    assert Renamed(ONE).config == {"spread": 1.0}
    genus.save(model, tmp_path / "m.genus")
    again = genus.load(tmp_path / "m.genus")
    assert isinstance(again, Renamed)
    assert (again.config, again.width, again.more) == (model.config, 3.0, {"note": "own"})
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(Shifted(ONE, width=2.0)))):
        assert twin.config in (model.config, {"width": 2.0})


def test_what_a_file_could_not_hold_is_refused_when_it_is_made(own_names: None) -> None:
    for width, said in ((torch.nn.ReLU(), "type ReLU cannot be saved"), ("wide", "width must be a number")):
        with pytest.raises(genus.GenusError, match=said):
            Shifted(ONE, width=width)  # type: ignore[arg-type]


def test_a_family_without_a_name_is_not_saved(own_names: None, tmp_path: Path) -> None:
    class Nameless(Shifted):
        pass

    with pytest.raises(genus.ModelFileError, match="class has no name"):
        genus.save(Nameless(ONE), tmp_path / "m.genus")
    with pytest.raises(genus.GenusError, match="class has no name"):
        genus.Flow(ONE, transforms=[Linear(2)], base=Nameless(Space(Real(), shape=(2,))))
    assert not (tmp_path / "m.genus").exists()


def test_a_model_that_lacks_a_method_is_not_made(own_names: None) -> None:
    class Half(TractableDensity, name="test-half"):
        def _log_prob(self, x: Tensor, c: Tensor | None) -> Tensor:
            return x.sum(1)

    with pytest.raises(TypeError, match="_sample"):
        Half(ONE)  # type: ignore[abstract]


def test_a_file_of_a_family_that_is_not_there_says_what_to_do(own_names: None, tmp_path: Path) -> None:
    genus.save(Shifted(ONE), tmp_path / "m.genus")
    del classes["test-shifted"]
    try:
        with pytest.raises(genus.ModelFileError, match="no family 'test-shifted' here; import the module that defines it"):
            genus.load(tmp_path / "m.genus")
    finally:
        classes["test-shifted"] = Shifted


def test_a_seed_builds_the_same_model() -> None:
    first, second = (genus.build("maf", ONE, seed=3, transforms=1, hidden=(4,)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_shapes_are_checked_before_anything_is_made_of_them(own_names: None) -> None:
    class Wide(Shifted, name="test-wide"):
        info = Shifted.info.replace(listed=True)

        def _log_prob(self, x: Tensor, c: Tensor | None) -> Tensor:
            return super()._log_prob(x, c)[:, None]

        def _sample(self, n: int, c: Tensor | None) -> Tensor:
            return torch.zeros(n)

    model, x = Wide(ONE), draw(ONE, 20)
    with pytest.raises(genus.GenusError, match=r"Wide\._log_prob must give a tensor of shape \(20,\)"):
        model.log_prob(x)
    with pytest.raises(genus.GenusError, match=r"Wide\._sample must give a tensor of shape \(3, 2\)"):
        model.sample(3)
    report = genus.compare(torch.randn(200, 2), [Wide], budget=0.1, seeds=1, jobs=1, progress=False)  # a class will do
    assert [row.status for row in report.rows] == ["ok", "failed"]


# -- losses ---------------------------------------------------------------------------------------------------------------


def test_arguments_of_a_training_are_checked() -> None:
    x = draw(ONE, 30)
    for wrong, word in (
        ({"batch_size": 1.5}, "batch_size must be a whole number"),
        ({"max_steps": "10"}, "max_steps must be a whole number"),
        ({"max_steps": True}, "max_steps must be a whole number"),
        ({"learning_rate": "fast"}, "learning_rate must be a number"),
        ({"seed": None}, "seed must be a whole number"),
        ({"seed": -1}, "from 0 to 2"),
        ({"losses": Loss("one", [nn.Parameter(torch.ones(1))], lambda x, c: x.sum())}, "list of Loss"),
        ({"losses": [Loss("one", [nn.Parameter(torch.ones(1))], lambda x, c: 1.0)]}, "one is a float"),
        ({"losses": [Loss("one", [nn.Parameter(torch.ones(1))], lambda x, c: x.sum())]}, "no gradient"),
    ):
        with pytest.raises(TrainingError, match=word):
            genus.fit(Shifted(ONE), x, progress=False, **{"max_steps": 2} | wrong)  # type: ignore[arg-type]
    for name, every, word in (("step", 1, "column of the history"), ("one", 0, "at least 1")):
        with pytest.raises(genus.GenusError, match=word):
            Loss(name, [], lambda x, c: x.sum(), interval=every)


def test_a_training_within_no_grad_trains() -> None:
    model = Shifted(ONE)
    with torch.no_grad():
        genus.fit(model, draw(ONE, 100) + 5, max_steps=20, progress=False)
    assert float(model.centre.detach().abs().min()) > 0


def test_weights_that_are_not_finite_are_not_kept() -> None:
    class Cliff(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, value: Tensor) -> Tensor:
            return value.clone()

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> Tensor:
            return gradient * math.nan

    model = Shifted(ONE)
    before = model.centre.detach().clone()
    loss = Loss("nll", model.parameters(), lambda x, c: -Cliff.apply(model._log_prob(x, c)).mean())
    with pytest.raises(NonFiniteLossError, match="kept those of step 0"):
        genus.fit(model, draw(ONE, 30), losses=[loss], max_steps=1, validation=None, progress=False)
    assert torch.equal(model.centre.detach(), before)


def test_a_training_does_not_go_on_with_other_losses_or_validation_rows(tmp_path: Path) -> None:
    x, how = draw(ONE, 60), {"checkpoint": tmp_path / "c", "progress": False, "validation": draw(ONE, 20, seed=5)}
    genus.fit(Shifted(ONE), x, max_steps=5, **how)
    with pytest.raises(TrainingError, match="validation rows"):
        genus.fit(Shifted(ONE), x, max_steps=9, resume=True, **how | {"validation": draw(ONE, 20, seed=6)})
    model = Shifted(ONE)
    other = [Loss("other", model.parameters(), lambda x, c: -model._log_prob(x, c).mean())]
    with pytest.raises(TrainingError, match="losses"):
        genus.fit(model, x, max_steps=9, resume=True, losses=other, **how)


# -- the command line -----------------------------------------------------------------------------------------------------

MINE = '''
import torch
from torch import nn
from genus import TractableDensity

class Mine(TractableDensity, name="test-mine"):
    """Normal columns."""
    def __init__(self, space, context=None, width: float = 1.0):
        super().__init__(space, context)
        self.width, self.centre = width, nn.Parameter(torch.zeros(space.dim))
    def _log_prob(self, x, c):
        return torch.distributions.Normal(self.centre, self.width).log_prob(x.float()).sum(1)
    def _sample(self, n, c):
        return (self.centre + self.width * torch.randn(n, self.space.dim)).to(self.space.dtype)
'''


def test_a_family_in_a_file_works_from_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_names: None) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("test_mine_family.py").write_text(MINE)
    Path("rows.csv").write_text("a,b\n" + "\n".join(f"{math.sin(i)},{math.cos(i * i)}" for i in range(120)))
    mine = ("--import", "test_mine_family.py")
    done = run(*mine, "fit", "rows.csv", "--family", "test-mine", "--set", "width=2", "--steps", "20", "--out", "m.genus")
    assert done.code == 0, done.err
    assert run(*mine, "sample", "m.genus", "-n", "3").out.count("\n") == 4
    assert "genus --import test_mine_family.py sample m.genus -n 10" in done.out
    known = classes.pop("test-mine")
    run("sample", "m.genus").refused(1, "no family 'test-mine' here", "genus --import FILE before the command")
    classes["test-mine"] = known
    assert "test-mine" in run(*mine, "families").out
    done = run(*mine, "compare", "rows.csv", "--families", "test-mine", "--seeds", "1", "--jobs", "1", "--budget", "0.2s")
    assert done.code == 0, done.err
    assert "test-mine" in done.out
    assert "failed" not in done.out
    run("--import", "nowhere.py", "families").refused(2, "nowhere.py")
    run("families", "--import", "nowhere.py").refused(2, "--import stands before the command: genus --import FILE families")
    Path("broken_family.py").write_text("import nowhere_at_all")
    run("--import", "broken_family.py", "families").refused(1, "could not be imported", "nowhere_at_all")


# -- laws: neither false alarms nor false comfort -------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", ["shifted", "wider", "outliers", "clamped", "swapped"])
@pytest.mark.parametrize("dim", [1, 4])
def test_samplers_that_do_not_follow_the_density_are_found(wrong: str, dim: int, own_names: None) -> None:
    class Sampler(Shifted, name="test-sampler"):
        def _sample(self, n: int, c: Tensor | None) -> Tensor:
            x = super()._sample(n, c)
            if wrong == "outliers":
                return torch.where(torch.rand(n, 1) < 0.1, 5 + x, x)
            return {"shifted": x + 3, "wider": 1.5 * x, "clamped": x.clamp(-1, 1), "swapped": x.flip(1) * 2 - 1}[wrong]

    space = Space([Real()] * dim)
    with pytest.raises(LawError, match="do not follow"):
        check_model(Sampler(space), draw(space, 30))


def test_a_density_of_bounded_support_breaks_no_law(own_names: None) -> None:
    class Box(TractableDensity, name="test-box"):
        def __init__(self, space: Space, context: Space | None = None) -> None:
            super().__init__(space, context)
            self.none = nn.Parameter(torch.zeros(1))

        def _log_prob(self, x: Tensor, c: Tensor | None) -> Tensor:
            return torch.where(((x >= 0) & (x <= 1)).all(1), 0.0, -math.inf).to(self.none) + 0 * self.none

        def _sample(self, n: int, c: Tensor | None) -> Tensor:
            return torch.rand(n, self.space.dim).to(self.space.dtype)

    torch.manual_seed(0)
    space = Space([Real()] * 3)
    assert "density" in check_model(Box(space), torch.rand(30, 3))


@pytest.mark.nightly
def test_narrow_trained_flows_break_no_law() -> None:
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(400, 1, generator=generator)
    x = torch.cat([a, a + 0.03 * torch.randn(400, 1, generator=generator)], dim=1)
    space = genus.read(x).space
    for family in ("maf", "real-nvp"):
        model = genus.build(family, space, seed=0, transforms=3, hidden=(32,))
        genus.fit(model, x, max_steps=300, progress=False)
        check_model(model, x[:40])


def test_a_condition_that_samples_ignore_is_found(own_names: None) -> None:
    class Deaf(Shifted, name="test-deaf"):
        hears = False

        def _log_prob(self, x: Tensor, c: Tensor | None) -> Tensor:
            assert c is not None
            return super()._log_prob(x - 3 * c.to(x.dtype), None)

        def _sample(self, n: int, c: Tensor | None) -> Tensor:
            assert c is not None
            return super()._sample(n, None) + (3 * c.to(self.space.dtype) if self.hears else 3 * c[:1].to(self.space.dtype))

    space, context = Space([Real()]), CONTEXTS["category"]
    assert context is not None
    model, x, c = Deaf(space, context), draw(space, 30), draw(context, 30, 1)
    with pytest.raises(LawError, match="do not follow"):
        check_model(model, x, c)
    Deaf.hears = True
    assert "density" in check_model(model, x, c)


def test_bounds_that_are_none_are_found(own_names: None) -> None:
    class High(genus.VAE, name="test-high"):
        def _log_weights(self, x: Tensor, c: Tensor | None, samples: int) -> Tensor:
            return super()._log_weights(x, c, samples) + 2

    class Crowd(genus.VAE, name="test-crowd"):
        def _elbo(self, x: Tensor, c: Tensor | None) -> Tensor:
            return super()._elbo(x, c) + 3 * x.mean()

    torch.manual_seed(0)
    hyper: dict[str, Any] = {"latent": 2, "hidden": (8,)}
    x = draw(ONE, 40)
    assert check_model(genus.VAE(ONE, **hyper), x) == ["files", "samples", "rows", "bound", "gradients"]
    with pytest.raises(LawError, match="more than 1"):
        check_model(High(ONE, **hyper), x)
    with pytest.raises(LawError, match="among others"):
        check_model(Crowd(ONE, **hyper), x)


def test_transforms_that_claim_too_much_are_found(own_names: None) -> None:
    class Drawn(Transform):  # at birth, and in no file
        def __init__(self, dim: int) -> None:
            super().__init__()
            self.order = torch.randperm(dim, generator=torch.Generator().manual_seed(len(births)))
            births.append(1)

        def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
            return x[:, self.order], x.new_zeros(len(x))

        def inverse(self, z: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
            return z[:, self.order.argsort()], z.new_zeros(len(z))

    class Filled(Permutation):
        def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
            return super().forward(x.nan_to_num(0.0), c)

    class Sloped(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return 1.0 * x

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> Tensor:
            return -gradient

    class Detached(Transform):
        def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
            return Sloped.apply(x), x.new_zeros(len(x))

        def inverse(self, z: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
            return 1.0 * z, z.new_zeros(len(z))

    births: list[int] = []
    torch.manual_seed(0)
    x = torch.randn(9, 5)
    for transform, word in (
        (Drawn(5), "another map"),
        (Filled([1, 0, 2, 3, 4]), "lead back|claims allow_missing"),
        (Detached(), "Detached.forward: its gradient in its input"),
    ):
        with pytest.raises(LawError, match=word):
            check_transform(transform, x)
    with_gaps = torch.where(torch.rand(9, 3) < 0.3, math.nan, torch.randn(9, 3))
    masked = MaskedAutoregressive(3, (8,), allow_missing=True)
    for parameter in masked.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    assert "allow_missing" in check_transform(masked, with_gaps)


def test_no_rows_judge_nothing() -> None:
    with pytest.raises(genus.DataError, match="has none"):
        check_model(Shifted(ONE), draw(ONE, 0))
    with pytest.raises(genus.DataError, match="has none"):
        check_transform(Linear(2), torch.zeros(0, 2))
    assert check_model(genus.Mixture(ONE, components=2), draw(ONE, 1))[:2] == ["files", "samples"]


# -- names, once more -----------------------------------------------------------------------------------------------------


def test_a_constructor_that_a_file_could_not_call_is_refused(own_names: None, tmp_path: Path) -> None:
    with pytest.raises(genus.GenusError, match="constructor of Narrow must take space and context"):

        class Narrow(genus.MAF, name="test-narrow"):
            def __init__(self, domain: Space, context: Space | None = None) -> None:
                super().__init__(domain, context, transforms=1, hidden=(4,))

    class Small(genus.MAF, name="test-small"):
        def __init__(self, space: Space, context: Space | None = None) -> None:
            super().__init__(space, context, transforms=1, hidden=(4,))

    genus.save(Small(ONE), tmp_path / "m.genus")
    assert genus.load(tmp_path / "m.genus").config == {}


def test_comparisons_take_classes_by_their_own_name(own_names: None) -> None:
    class Nameless(genus.MAF):
        pass

    with pytest.raises(genus.GenusError, match="Nameless cannot be compared: its class has no name"):
        genus.compare(torch.randn(200, 2), [Nameless], progress=False)


def test_an_older_definition_can_still_be_saved(own_names: None, tmp_path: Path) -> None:
    def cell() -> type[Shifted]:
        class Again(Shifted, name="test-again"):
            pass

        return Again

    old = cell()(ONE)
    assert type(old) is not cell()  # a notebook's cell that is run once more
    genus.save(old, tmp_path / "m.genus")
    assert genus.load(tmp_path / "m.genus").name == "test-again"


def test_gradients_of_masked_transforms_are_judged() -> None:
    torch.manual_seed(0)
    for hidden in ((), (8,)):
        masked = MaskedAutoregressive(3, hidden, direct=True)
        for parameter in masked.parameters():
            parameter.data += 0.3 * torch.randn_like(parameter)
        assert "gradients" in check_transform(masked, torch.randn(9, 3))


@pytest.mark.nightly  # test_compare.py does it with a class of a module
def test_a_class_that_is_defined_anew_is_the_one_that_is_compared(own_names: None) -> None:
    def cell(shift: float) -> type[Shifted]:
        class Anew(Shifted, name="test-anew"):
            info = Shifted.info.replace(listed=True)

            def _log_prob(self, x: Tensor, c: Tensor | None) -> Tensor:
                return super()._log_prob(x, c) - shift

        return Anew

    x, found = torch.randn(200, 2, generator=torch.Generator().manual_seed(0)), []
    for shift in (0.0, 100.0):  # the processes of the first comparison are those of the second
        report = genus.compare(x, [cell(shift)], budget=0.1, seeds=1, jobs=2, progress=False)
        assert report.rows[1].log_density is not None, report.rows[1].reason
        found.append(report.rows[1].log_density)
    assert found[0] - found[1] == pytest.approx(100, abs=1)
