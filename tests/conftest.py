"""Spaces, data and small models that the tests share."""

from __future__ import annotations

import importlib
import math
import os
import random
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any
from zlib import crc32

import pytest
import torch

import genus
from genus import Category, Lattice, Real, Space, Time
from genus.configurable import classes
from genus.divergences import DIVERGENCES
from genus.files import read_tensors, write_tensors
from genus.kinds import Chart
from genus.models.flow import NormalisingFlow
from genus.registry import refusal

# The suite runs in another order each time, the files and the tests of each; a failure is repeated by setting this to its seed.
ORDER = os.environ.setdefault("GENUS_TEST_ORDER", str(random.SystemRandom().randrange(1_000_000)))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Shuffle the files and the tests of each file; processes of xdist inherit the seed."""
    rng, files = random.Random(ORDER), {}
    for item in items:
        files.setdefault(str(item.path), []).append(item)
    groups = list(files.values())
    rng.shuffle(groups)
    for group in groups:
        rng.shuffle(group)
    items[:] = [item for group in groups for item in group]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the seed of the order."""
    terminalreporter.write_line(f"order of the tests: GENUS_TEST_ORDER={ORDER}")


def of_each(names: Iterable[str]) -> Callable[[Callable[[str], None]], Callable[[], None]]:
    """Make one test of a check of many names, which says why of every name that fails; a test each would cost more."""

    def decorate(check: Callable[[str], None]) -> Callable[[], None]:
        def test() -> None:
            failed = {}
            for name in names:
                try:
                    check(name)
                except AssertionError as error:
                    failed[name] = str(error)
            assert not failed, "\n".join(f"{name}: {why}" for name, why in failed.items())

        test.__name__, test.__doc__ = check.__name__, check.__doc__
        return test

    return decorate


SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
EXAMPLES = sorted(path.stem for path in (Path(__file__).resolve().parents[1] / "examples").glob("*.py"))

SPACES = {
    "one real": Space(Real(1.0, 2.0), shape=(1,)),
    "reals": Space([Real(), Real(5.0, 0.1), Real(-3.0, 40.0)]),
    "reals and states": Space(
        [Real(1.0, 2.0, atoms=(0.0, math.nan)), Category(("a", "b")), Real(), Real(2.0, 0.5, atoms=(3.0,))]
    ),
    "real image": Space(Real(), shape=(2, 2)),
    "lattice": Space([Lattice(0, 4), Lattice(0.0, 2.0, step=0.5)]),
    "wide lattice": Space([Lattice(0, 400, atoms=(0.0,), loc=90.0, scale=60.0), Lattice(0, 3)]),
    "categories": Space([Category(("a", "b", "c")), Category((False, True)), Category(("only",))]),
    "mixed": Space(
        [Real(1.0, 2.0, atoms=(0.0, math.nan)), Lattice(0, 3, atoms=(2.0, 9.0)), Category(("a", None)), Lattice(0, 300)]
    ),
    "times": Space(
        [
            Real(1.0, 2.0),
            Time(0, 800, atoms=(math.nan,), unit="D", origin=15340, concept="date"),
            Time(0, 82_800, step=3600, unit="s", concept="time of day"),
        ]
    ),
    "image": Space(Lattice(0, 3), shape=(2, 3)),
    "charts": Space(
        [
            Real(0.5, 0.8, (0.0, math.nan), Chart("log", 0.0, 3.0)),
            Real(0.2, 1.5, (), Chart("asinh", 5.0, 2.0, ((-2.0, -1.5, 0.6), (0.0, 0.2, 1.5), (1.0, 1.0, 0.5)))),
            Lattice(0, 400, 1.0, (0.0, 40.0), 3.5, 1.0, chart=Chart("log", -0.5)),
            Category(("a", "b")),
        ]
    ),
    "windows": Space(Category(("a", "b", "c")), shape=(4,), sequence=True),
    "words": Space(Category(("a", "b", None)), shape=(4,), sequence=True),
}
CONTEXTS = {
    "none": None,
    "category": Space([Category(("u", "v", "w"))]),
    "mixed": Space([Category(("u", "v")), Real(2.0, 3.0)]),
}
SMALL = {  # small enough to be fast, large enough to go wrong
    "autoencoder": {"latent": 2, "hidden": [16], "density": "mixture"},
    "blend": {
        "members": [
            {"class": "rnn", "width": 8, "layers": 1, "components": 2},
            {"class": "gpt", "width": 8, "layers": 1, "heads": 2, "components": 2},
        ]
    },
    "chow-liu": {"states": 5},
    "flow": {"base": "mixture"},
    "gan": {"hidden": [16], "latent": 4},
    "gaussian-copula": {"points": 8},
    "glow": {"levels": 1, "steps": 2, "hidden": [8]},
    "gpt": {"width": 8, "layers": 2, "heads": 2, "components": 2},
    "hclt": {"latent": 3, "states": 4, "epochs": 2},
    "iaf": {"transforms": 2, "hidden": [16, 16]},
    "iwae": {"latent": 2, "hidden": [16], "components": 2, "samples": 3},
    "made": {"hidden": [12, 12], "components": 2},
    "maf": {"transforms": 2, "hidden": [16, 16]},
    "markov": {"order": 2, "smoothing": "witten-bell"},  # of Kneser-Ney, letters that follow all others are equally likely
    "mixture": {"components": 3, "covariance": "full", "shrinkage": 3.0, "pool": 2.0},
    "naive-bayes": {},
    "nice": {"transforms": 3, "hidden": [16]},
    "nsf": {"transforms": 2, "hidden": [16, 16], "bins": 4},
    "pixelcnn": {"width": 8, "layers": 2, "reach": 2, "components": 2},
    "real-nvp": {"transforms": 3, "hidden": [16]},
    "rnn": {"width": 8, "layers": 2, "components": 2},
    "stack": {
        "members": [
            {"class": "made", "hidden": [8], "components": 2},
            {"class": "made", "hidden": [6], "components": 2, "orders": 2},
        ]
    },
    "trees": {"rounds": 5, "bins": 8},
    "vae": {"latent": 2, "hidden": [16], "components": 2},
    "vq-vae": {"codes": 2, "levels": 3, "width": 2, "hidden": [16], "prior": {"class": "made", "hidden": [12]}},
    "wavenet": {"width": 8, "layers": 3, "stacks": 2, "components": 2},
    "wgan": {"hidden": [16], "latent": 4},
    "wgan-gp": {"hidden": [16], "latent": 4},
}


def draw(space: Space, n: int, seed: int = 0) -> torch.Tensor:
    """n rows that use every kind's whole range: states at random, continuous parts normal."""
    generator = torch.Generator().manual_seed(seed)
    if space.sequence:
        x = torch.randint(space.kinds[0].states, (n, space.dim), generator=generator).to(space.dtype)
        end = space.tables(x).missing
        return torch.where((x == end).cumsum(1) > 0, end.to(x.dtype), x) if space.ends else x
    state = torch.stack([torch.randint(k.states, (n,), generator=generator) for k in space.kinds], dim=1)
    return space.join(state, torch.randn(n, space.dim, generator=generator, dtype=torch.float64))


def count(model: genus.GenerativeModel, x: torch.Tensor, c: torch.Tensor | None) -> None:
    """Let a model learn from rows that learns without gradients."""
    if isinstance(model, genus.Learned):
        model.learn((x, c), None, lambda: math.inf, seed=0)
    elif isinstance(model, genus.Counted):
        model.initialise(x, c)
        model.observe(x, c)
        model.conclude()


def refused_once_changed(model: genus.GenerativeModel, change: Callable[[dict[str, torch.Tensor]], Any], path: Path) -> None:
    """Save a model, change the tensors of its file, in place or by those returned, and see that the file is refused."""
    genus.save(model, path)
    tensors, header = read_tensors(path)
    changed = change(tensors)
    write_tensors(path, changed if isinstance(changed, dict) else tensors, header)
    with pytest.raises(genus.ModelFileError, match="does not describe a model"):
        genus.load(path)


def make(family: str, space: Space, context: Space | None = None, seed: int = 0, double: bool = True) -> genus.GenerativeModel:
    """A small model away from its birth state: random weights, or a few rows counted."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = genus.build(family, space, context, **SMALL[family])
        if isinstance(model, genus.Counted | genus.Learned):
            x, c = draw(space, 200, seed), None if context is None else draw(context, 200, seed + 1)
            count(model, x, c)
        for parameter in model.parameters():
            parameter.data += 0.3 * torch.randn_like(parameter)
    return (model.double() if double else model).eval()


@cache
def class_of(family: str, space: str, context: str) -> type[genus.GenerativeModel] | None:
    """The class of the model that `build` makes; None where the family refuses. Nothing is built while tests are collected."""
    cls = genus.family(family)
    if cls.accepts(SPACES[space], CONTEXTS[context]):
        return cls
    return None if refusal(cls, SPACES[space], CONTEXTS[context]) else genus.Dequantised


SHARE = 3  # a law is shown on every third of a family's spaces in the ordinary run


def law(rung: type = genus.GenerativeModel, spaces: Iterable[str] = tuple(SPACES)) -> Callable[[Any], Any]:
    """Every family x space x context that the family accepts, of models that stand on this rung of the ladder.

    The ordinary run takes a third of a family's spaces, other ones for every law, and one context for each, in turns; the
    nightly run takes all.
    """

    def parametrized(test: Any) -> Any:
        return pytest.mark.parametrize(("family", "space", "context"), law_cases(rung, spaces, crc32(test.__name__.encode())))(
            test
        )

    return parametrized


def law_cases(rung: type, spaces: Iterable[str], offset: int) -> list[Any]:
    """The cases of a law; the offset says which spaces the ordinary run takes."""
    cases = []
    for number, family in enumerate(SMALL):
        flow = issubclass(genus.family(family), NormalisingFlow)  # they are many, and share all that a context does
        answered = [
            (name, fitting)
            for name in spaces
            if (fitting := [c for c in suited(flow, name) if (cls := class_of(family, name, c)) and issubclass(cls, rung)])
        ]
        for turn, (space, fitting) in enumerate(answered, number + offset):
            for i, context in enumerate(fitting):
                ordinary = turn % min(SHARE, len(answered)) == 0 and i == turn // SHARE % len(fitting)
                marks = () if ordinary else pytest.mark.nightly
                cases.append(
                    pytest.param(family, SPACES[space], CONTEXTS[context], id=f"{family}-{space}-{context}", marks=marks)
                )
    return cases


def suited(flow: bool, space: str) -> list[str]:
    """The contexts that a space is tried with: one is enough where the others are shown on other spaces."""
    alone = {"charts": "mixed", "times": "none"}.get(space)
    if not flow and space in ("reals and states", "real image"):
        return []
    return [name for name in CONTEXTS if name == (alone or name) and not (flow and name == "category")]


@pytest.fixture
def own_names() -> Iterator[None]:
    """Families, transforms and divergences that a test defines are gone afterwards."""
    tables: list[dict[str, Any]] = [classes, DIVERGENCES]
    before = [dict(table) for table in tables]
    yield
    for table, known in zip(tables, before, strict=True):
        table.clear()
        table.update(known)


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch, own_names: None) -> Iterator[Callable[[str], ModuleType]]:
    """Imports a file of examples/ by its name, anew: its classes are registered as in a process of their own."""
    monkeypatch.syspath_prepend(Path(__file__).resolve().parents[1] / "examples")
    for name in EXAMPLES:
        sys.modules.pop(name, None)
    yield importlib.import_module
    for name in EXAMPLES:
        sys.modules.pop(name, None)


@pytest.fixture
def shared() -> Path:
    """The folder of real data; tests that need it skip where it is not there."""
    if not SHARED.is_dir():
        pytest.skip("real data are not beside this checkout (../shared/data)")
    return SHARED
