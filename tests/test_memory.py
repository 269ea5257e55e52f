"""Families that count or learn on hostile sizes: `fit` works below a stated limit of memory, or refuses in a sentence."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
import torch

import genus
from genus import Category, Real, Space
from genus.models.layout import coordinates
from genus.nets.room import Numbers, afford, numbers_of
from genus.registry import suggested

LIMIT = 3e9  # bytes of address space beyond what `import genus` takes

SCRIPT = """
import resource, sys, torch, genus
from genus import Category, Lattice, Real, Space

def levels(n):
    return Category(tuple(range(n)))

name, space, context, hyper, n = sys.argv[1], eval(sys.argv[2]), eval(sys.argv[3]), eval(sys.argv[4]), int(sys.argv[5])
generator = torch.Generator().manual_seed(0)

def rows(of):
    columns = [torch.randn(n, generator=generator) if isinstance(k, Real) else
               torch.randint(0, k.states, (n,), generator=generator).float()
               for k in of.kinds]
    return torch.stack(columns, 1).view(n, *of.shape)

x, c = rows(space), None if context is None else rows(context)
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + int(float(sys.argv[6])),) * 2)
try:
    model = genus.build(name, space, context, 0, **genus.registry.suggested(genus.family(name), space, n) | hyper)
    genus.fit(model, x if c is None else (x, c), seed=0, max_seconds=4, progress=False)
    assert bool(model.log_prob(x[:20], None if c is None else c[:20]).isfinite().all())
    print("works")
except genus.GenusError as error:
    print("refuses:", error)
"""

WORKS, REFUSES = "works", "refuses: .* of memory are free; choose a smaller size by its hyper-parameters"
EITHER = f"{WORKS}|{REFUSES}"
MANY, WIDE = "Space([levels(10**5), levels(10**5)])", "Space([Real()] * 5000)"
TEXT = "Space(levels(256), shape=(64,), sequence=True)"
CASES = [
    ("naive-bayes", "Space([levels(10**4), Real()])", "Space([levels(4000)])", {}, EITHER),
    ("naive-bayes", "Space([levels(10**5), Real()])", "Space([levels(4000)])", {}, REFUSES),
    ("independent", "Space([levels(10**6), Real()])", None, {}, WORKS),
    ("chow-liu", MANY, None, {}, WORKS),
    ("chow-liu", MANY, None, {"states": 10**5}, REFUSES),
    ("hclt", MANY, None, {"states": 10**5}, EITHER + "|refuses: There is not enough memory"),
    ("hclt", MANY, None, {"latent": 20_000}, REFUSES),
    ("mixture", MANY, None, {}, WORKS),
    ("mixture", MANY, None, {"components": 10**5}, REFUSES),
    ("mixture", WIDE, None, {"components": 8, "covariance": "full"}, REFUSES),
    ("mixture", WIDE, None, {}, WORKS),
    ("mixture", "Space([levels(20_000)] * 20)", None, {}, WORKS),
    ("gaussian-copula", MANY, None, {}, WORKS),
    ("gaussian-copula", "Space([Real()] * 500)", None, {"points": 10**7}, REFUSES),
    ("gaussian-copula", WIDE, None, {}, "refuses: .* correlates at most"),
    ("trees", MANY, None, {"orders": 1000, "rounds": 1}, REFUSES),
    ("markov", TEXT, None, {"order": 6}, WORKS),
    ("markov", TEXT, None, {"order": 200}, WORKS),
]
AT_ONCE = {("naive-bayes", 1), ("chow-liu", 4), ("mixture", 9)}  # of the ordinary tests


def ended(*arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, arguments)], capture_output=True, text=True, timeout=600, check=False
    )
    return done.stdout.strip() or done.stderr[-2000:]


@pytest.mark.skipif(sys.platform != "linux", reason="limits of address space are Linux's")
@pytest.mark.parametrize(
    ("name", "space", "context", "hyper", "expected"),
    [pytest.param(*case, marks=[] if (case[0], i) in AT_ONCE else [pytest.mark.nightly]) for i, case in enumerate(CASES)],
)  # fmt: skip
def test_a_hostile_size_is_fitted_below_a_limit_or_refused_in_a_sentence(
    name: str, space: str, context: str | None, hyper: dict[str, object], expected: str
) -> None:
    found = ended(name, space, context, hyper, 2500, LIMIT)
    assert re.fullmatch(f"({expected}).*", found, re.DOTALL), found


def test_what_is_not_counted_is_still_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def learn(*_: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes.")

    model = genus.build("chow-liu", Space([Category(("a", "b"))] * 2))
    monkeypatch.setattr(type(model), "learn", learn)
    with pytest.raises(genus.GenusError, match=r"not enough memory to train chow-liu on 90 rows: .* are free; choose"):
        genus.fit(model, torch.zeros(100, 2), progress=False)


def test_counts_take_more_than_their_own_memory() -> None:
    numbers = numbers_of(lambda: genus.build("naive-bayes", Space([Category(tuple(range(1000)))])))
    assert numbers.double >= 2000
    assert numbers.bytes > 2 * 8 * numbers.double
    with pytest.raises(genus.GenusError, match="naive-bayes of this size would have 0 parameters and 1,000,000,000,000"):
        afford("naive-bayes", Numbers(0, 10**12))


def test_k_means_sees_many_levels_as_few_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    space = Space([Category(tuple(range(1000))), Real(), Category(("a", "b"))])
    x = torch.tensor([[0.0, 0.5, 1.0], [999.0, -1.0, 0.0], [0.0, 2.0, 1.0]])
    whole = coordinates(space, x, [])
    monkeypatch.setattr("genus.models.layout.SEEN", 180)  # 20 levels a column
    few = coordinates(space, x, [])
    assert (whole.shape, few.shape) == ((3, 1004), (3, 24))
    assert torch.equal(whole[:, 0], few[:, 0])
    assert torch.equal(few[0, 1:], few[2, 1:])
    assert not torch.equal(few[0, 1:], few[1, 1:])


def test_a_stack_shrinks_its_members_as_they_are_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genus.nets.room.MOST", 2**22)
    space = Space([Category(tuple(range(20_000)))] * 2 + [Real()] * 2)
    stack = genus.build("stack", space, seed=0, members=["made"], rows=5000)
    alone = suggested(genus.MADE, space, 5000)
    assert max(alone["hidden"]) < 256
    assert tuple(stack.models[0].config["hidden"]) == alone["hidden"]


@pytest.mark.parametrize(("passes", "ended"), [(100, "converged"), (2, "2 passes")])
def test_em_says_whether_it_converged(monkeypatch: pytest.MonkeyPatch, passes: int, ended: str) -> None:
    monkeypatch.setattr("genus.models.mixture.climb", limited(passes))
    x = torch.cat([torch.randn(150, 2, generator=torch.Generator().manual_seed(0)) + shift for shift in (0.0, 1.0)])
    model = genus.build("mixture", Space([Real()] * 2), components=2, covariance="diagonal", shrinkage=3.0, pool=2.0)
    assert genus.fit(model, x, seed=0, progress=False).stopped == ended


def limited(passes: int) -> object:
    from genus.models.maximising import climb

    return lambda *args, **options: climb(*args, **options | {"passes": passes})


def test_closed_forms_and_limits_are_named() -> None:
    space, x = Space([Category(("a", "b"))] * 3), torch.randint(0, 2, (400, 3)).float()
    for name, hyper, ended in (("chow-liu", {}, "closed form"), ("hclt", {"latent": 2, "epochs": 1}, "1 epochs")):
        assert genus.fit(genus.build(name, space, seed=0, **hyper), x, seed=0, progress=False).stopped == ended
    copula = genus.build("gaussian-copula", Space([Real()] * 2))
    assert genus.fit(copula, torch.randn(200, 2), seed=0, progress=False).stopped == "converged"


def test_a_mixture_that_had_time_for_nothing_is_fitted() -> None:
    x = torch.cat([torch.randint(0, 50, (2500, 1)).float(), torch.randn(2500, 1)], dim=1)
    model = genus.build("mixture", Space([Category(tuple(range(50))), Real()]), seed=0)
    genus.fit(model, x, seed=0, max_seconds=1e-3, progress=False)
    assert bool(model.log_prob(x).isfinite().all())
