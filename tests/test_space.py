"""Spaces: one bijection between data and (state, u), features, JSON, and checks that name the column and the row."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from genus import Category, DataError, Lattice, Real, Space
from genus.codec import Codec

NAN = math.nan
MIXED = Space(
    [
        Real(38.6, 13.7, atoms=(0.0, 99.5, NAN)),
        Lattice(-3, 400, atoms=(0.0, 999.0, NAN), loc=20.0, scale=30.0),
        Lattice(0.5, 3.0, step=0.5),
        Category(("a", "b", None)),
        Category(("only",)),
    ],
    names=["r", "i", "h", "c", "o"],
)


@st.composite
def kinds(draw: st.DrawFn) -> Real | Lattice | Category:
    which = draw(st.sampled_from(["real", "lattice", "category"]))
    atoms = tuple(draw(st.lists(st.sampled_from([0.0, -7.25, 1000.5, 31.0]), unique=True)))
    atoms += (NAN,) if draw(st.booleans()) else ()
    if which == "real":
        return Real(draw(st.floats(-100, 100)), draw(st.floats(0.01, 100)), atoms)
    if which == "lattice":
        step = draw(st.sampled_from([1.0, 0.1, 0.25, 3.0]))
        low = draw(st.integers(-50, 50)) * step
        return Lattice(low, low + draw(st.integers(8, 500)) * step, step, atoms)
    return Category(
        tuple(draw(st.lists(st.text(max_size=2) | st.integers(-3, 3) | st.none(), min_size=1, max_size=5, unique_by=repr)))
    )


@st.composite
def spaces(draw: st.DrawFn) -> Space:
    return Space(draw(st.lists(kinds(), min_size=1, max_size=5)))


def rows(space: Space, n: int, seed: int) -> torch.Tensor:
    """n rows that use every state."""
    g = torch.Generator().manual_seed(seed)
    state = torch.stack([torch.randint(k.states, (n,), generator=g) for k in space.kinds], dim=1)
    return space.join(state, torch.randn(n, space.dim, generator=g, dtype=torch.float64))


@settings(max_examples=150, deadline=None)
@given(spaces(), st.integers(0, 99))
def test_join_inverts_split_and_from_coordinates_inverts_coordinates(space: Space, seed: int) -> None:
    x = rows(space, 40, seed).double()
    space.check(x)
    parts = space.split(x)
    for back in (space.join(parts.state, parts.u), space.from_coordinates(space.coordinates(x))):
        torch.testing.assert_close(back.double(), x, rtol=1e-6, atol=1e-5, equal_nan=True)
    assert space.coordinates(x).shape == (40, space.coordinate_dim)


@settings(max_examples=100, deadline=None)
@given(spaces())
def test_json_and_equality(space: Space) -> None:
    import json

    again = Space.from_json(json.loads(json.dumps(space.to_json())))
    assert again == space
    assert hash(again) == hash(space)
    assert str(again) == str(space)
    assert again != Space([*space.kinds, Real()])


def test_split_by_hand() -> None:
    x = torch.tensor(
        [[0.0, 21.0, 0.5, 2.0, 0.0], [NAN, 999.0, 3.0, 1.0, 0.0], [52.3, NAN, 1.0, 0.0, 0.0], [99.5, 0.0, 1.5, 0.0, 0.0]]
    )
    state, u, log_slope = MIXED.split(x)
    assert log_slope[0].tolist() == pytest.approx([-math.log(13.7), 0, 0, 0, 0])
    assert state.tolist() == [[1, 0, 0, 2, 0], [3, 2, 0, 1, 0], [0, 3, 0, 0, 0], [2, 1, 0, 0, 0]]
    assert u[2, 0].item() == pytest.approx(1.0)
    assert u[0, 1].item() == pytest.approx(1 / 30)
    assert u[1].tolist()[:2] == [0.0, 0.0]  # 0 where the state is not the continuous part
    assert MIXED.feature_dim == 3 + 4 + 4 + 3
    assert MIXED.features(x)[:, 3:7].tolist() == np.eye(4)[[1, 3, 0, 2]].tolist()
    assert MIXED.has_missing
    assert MIXED.has_states


def test_join_rounds_to_the_lattice_and_keeps_bounds() -> None:
    space = Space([Lattice(0, 2, step=0.5), Lattice(0, 255)])
    u = torch.tensor([[-50.0, 50.0], [50.0, -50.0], [0.1, 0.0]], dtype=torch.float64)
    x = space.join(torch.zeros(3, 2, dtype=torch.long), u)
    assert x[:2].tolist() == [[0.0, 255.0], [2.0, 0.0]]
    assert (x[2] / torch.tensor([0.5, 1.0]) % 1 == 0).all()


def test_units_of_u() -> None:
    kind = Lattice(0, 100)
    assert kind.loc == 50
    assert kind.scale == pytest.approx(100 / math.sqrt(12))
    assert kind.size == 101
    assert Lattice(0.0, 1.0, step=0.1, atoms=(0.3, 0.35)).lattice_atoms == (0.3,)


def test_precision_follows_resolution() -> None:
    assert Space([Real(), Lattice(0, 10**6)]).dtype == torch.float32
    assert Space([Lattice(0, 10**7)]).dtype == torch.float64
    assert Space([Real(1e9, 1.0)]).dtype == torch.float64


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([1.0, 20.0, 0.5, 3.0, 0.0], r"holds 3 in column 'c', row 1.*outside Category"),
        ([1.0, 20.0, 0.5, NAN, 0.0], r"lacks a value in column 'c', row 1"),
        ([1.0, 401.0, 0.5, 0.0, 0.0], r"holds 401 in column 'i', row 1"),
        ([math.inf, 20.0, 0.5, 0.0, 0.0], r"holds inf in column 'r', row 1"),
        ([1.0, 20.0, NAN, 0.0, 0.0], r"lacks a value in column 'h', row 1"),
    ],
)
def test_check_names_the_place(row: list[float], message: str) -> None:
    good = [NAN, 999.0, 3.0, 2.0, 0.0]
    MIXED.check(torch.tensor([good]))
    with pytest.raises(DataError, match=message):
        MIXED.check(torch.tensor([good, row]))


def test_check_shape() -> None:
    image = Space(Lattice(0, 255), shape=(28, 28))
    with pytest.raises(DataError, match=r"must have shape \(B, 28, 28\); got \(5, 28, 27\)"):
        image.check(torch.zeros(5, 28, 27))
    with pytest.raises(DataError, match=r"must be a tensor.*got list"):
        image.check([1.0])  # type: ignore[arg-type]
    bad = torch.zeros(1, 28, 28)
    bad[0, 1, 2] = 300
    with pytest.raises(DataError, match=r"position \(.*1.*2.*\), row 0"):
        image.check(bad)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Real(scale=0.0), "positive, finite scale"),
        (lambda: Real(loc=NAN), "finite loc"),
        (lambda: Real(atoms=(1.0, 1.0)), "different finite numbers"),
        (lambda: Lattice(3, 1), "low <= high"),
        (lambda: Lattice(0, 1, step=0.3), "whole steps"),
        (lambda: Lattice(0, 1, atoms=(0.0, 1.0)), "every lattice value among its atoms"),
        (lambda: Category(()), "at least one level"),
        (lambda: Category(("a", "a")), "no level twice"),
        (lambda: Space([]), "at least one coordinate"),
        (lambda: Space([Real(), Real()], shape=(3,)), "needs 1 or 3 kinds"),
        (lambda: Space([Real(), Real()], names=["a", "a"]), "different names"),
        (lambda: MIXED.index("zip"), "no column 'zip'"),
    ],
)
def test_impossible_kinds_are_clear_errors(make: Callable[[], object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        make()


def test_select_and_labels() -> None:
    part = MIXED.select([3, 0])
    assert part.names == ("c", "r")
    assert part.kinds == (MIXED.kinds[3], MIXED.kinds[0])
    assert MIXED.columns(Lattice) == [1, 2]
    assert MIXED.label(3) == "column 'c'"


def test_levels_match_by_value_and_by_text() -> None:
    space = Space([Category((1, 2, None))], names=["v"])
    assert Codec(space).encode({"v": np.array([2.0, 1.0, NAN])}).flatten().tolist() == [1, 0, 2]
    text = Space([Category(("1", "2"))], names=["v"])
    assert Codec(text).encode({"v": np.array([2, 1])}).flatten().tolist() == [1, 0]
    flags = Space([Category((False, True))], names=["v"])
    assert Codec(flags).encode({"v": np.array([True, False])}).flatten().tolist() == [1, 0]


def test_decode_restores_all_digits() -> None:
    space = Space([Real(0.0, 1.0, atoms=(0.123456789012,)), Lattice(0, 10, step=0.1)], names=["r", "t"])
    x = Codec(space).encode({"r": [0.123456789012, 0.7], "t": [0.3, 9.9]})
    assert x.dtype == torch.float32
    from genus.codec.forms import Form

    known = Codec(space, Form("dict", ("double", "double"), ("list", "list")))
    assert known.decode(x) == {"r": [0.123456789012, 0.7], "t": [0.3, 9.9]}


def test_the_row_of_a_bad_value_is_counted_over_all_rows() -> None:
    x = torch.zeros(300_000, 2)
    x[290_000, 1] = torch.inf
    with pytest.raises(DataError, match=r"holds inf in column 'x1', row 290000"):
        Space([Real(), Real()]).check(x)
