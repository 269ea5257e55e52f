"""What is given to a flow, or to any model: refused in a sentence, or kept so that what works can be saved."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import genus
from genus import Category, DataError, GenusError, Lattice, Real, Space
from genus.configurable import as_json, from_json
from genus.models.flow import Flow
from genus.transforms import (
    ActNorm,
    Affine,
    Chain,
    Coupling,
    Inverse,
    Linear,
    Logit,
    MaskedAutoregressive,
    Multiscale,
    Permutation,
    Squeeze,
    Transform,
)

PAIR = Space([Real(), Real()])
WORDS = Space(Category(("a", "b", None)), shape=(4,), sequence=True)
GIVEN = Space([Real()])
IMAGE = Space(Real(), shape=(1, 4, 4))


def maf(space: Space = PAIR, context: Space | None = None, **hyper: Any) -> genus.MAF:
    return genus.MAF(space, context, **({"transforms": 1, "hidden": [8]} | hyper))


# -- conditions and counts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("c", [np.zeros((3, 1)), [[0.0]], "a", 1.0], ids=["ndarray", "list", "str", "float"])
@pytest.mark.parametrize("family", ["maf", "rnn"])
def test_a_condition_that_is_no_tensor_is_refused_as_x_is(family: str, c: Any) -> None:
    model = genus.build(family, PAIR, GIVEN)
    said = rf"c must be a tensor of shape \(B, 1\); got {type(c).__name__}"
    for ask in (lambda: model.log_prob(torch.zeros(3, 2), c), lambda: model.sample(3, c)):
        with pytest.raises(DataError, match=said):
            ask()


@pytest.mark.parametrize("n", [2.5, 5.0, "5", True, -1, [5], np.float64(5)])
@pytest.mark.parametrize("c", [None, torch.zeros(1, 1)], ids=["alone", "given c"])
@pytest.mark.parametrize("family", ["maf", "rnn", "vae"])
def test_a_number_of_rows_is_whole(family: str, c: torch.Tensor | None, n: Any) -> None:
    model = genus.build(family, PAIR, None if c is None else GIVEN)
    with pytest.raises(GenusError, match=r"Cannot sample .* rows; ask for a whole number, 0 or more"):
        model.sample(n, c)


def test_numbers_of_rows_of_numpy_will_do() -> None:
    for model in (maf(), genus.build("rnn", PAIR)):
        assert model.sample(np.int64(3), seed=0).equal(model.sample(3, seed=0))
    text = genus.build("rnn", WORDS)
    with pytest.raises(GenusError, match="Cannot sample"):
        text.sample(2.5, prefix=torch.tensor([0.0]))  # not before the prefix is repeated
    assert text.sample(np.int32(2), prefix=torch.tensor([0.0])).shape == (2, 4)
    assert text.sample(None, prefix=torch.tensor([[0.0], [1.0]])).shape == (2, 4)


# -- impute ---------------------------------------------------------------------------------------------------------------

KNOWN = 0.1234567890123


@pytest.mark.parametrize("family", ["made", "vae"])
@pytest.mark.parametrize("given", [torch.float64, torch.float32, torch.float16])
def test_what_is_known_comes_back_as_it_was_given(family: str, given: torch.dtype) -> None:
    model = genus.build(family, PAIR)
    x = torch.tensor([[KNOWN, torch.nan], [KNOWN, -KNOWN]], dtype=given)
    whole = model.impute(x, seed=0)
    assert whole.dtype == torch.promote_types(given, torch.float32)
    assert torch.equal(whole[~x.isnan()].to(given), x[~x.isnan()])
    assert whole.isfinite().all()


def test_whole_numbers_come_back_from_impute_too() -> None:
    model = genus.build("made", Space([Lattice(0, 9), Lattice(0, 9)]))
    x = torch.tensor([[3, 4], [5, 6]])
    whole = model.impute(x, missing=torch.tensor([[False, True], [False, False]]), seed=0)
    assert (whole[:, 0].tolist(), whole[1, 1].item()) == ([3, 5], 6)
    assert whole.is_floating_point()


# -- what save writes -----------------------------------------------------------------------------------------------------


def saved(model: genus.GenerativeModel, path: Path) -> genus.GenerativeModel:
    """Written and read again, and the same."""
    genus.save(model, path)
    again = genus.load(path)
    x = model.eval().sample(5, seed=0)
    assert torch.equal(model.log_prob(x), again.log_prob(x))
    assert torch.equal(x, again.sample(5, seed=0))
    return again


KEPT: dict[str, Callable[[], Transform]] = {
    "range": lambda: Permutation(range(2)),
    "array": lambda: Permutation(np.array([1, 0])),
    "tensor": lambda: Permutation(torch.tensor([1, 0])),
    "tuple": lambda: MaskedAutoregressive(2, (8,), order=(1, 0)),
    "array of widths": lambda: MaskedAutoregressive(np.int64(2), np.array([8, 8])),
    "number of numpy": lambda: MaskedAutoregressive(2, [np.int32(8)], Affine(np.float32(2.0))),
    "0-d tensor": lambda: MaskedAutoregressive(2, [8], dropout=torch.tensor(0.25).item()),
    "array of bools": lambda: Coupling(np.array([True, False]), np.array([8])),
    "inverse": lambda: Inverse(MaskedAutoregressive(2, np.array([8]))),
}


@pytest.mark.parametrize("what", KEPT)
def test_a_flow_of_arguments_of_any_kind_can_be_saved(what: str, tmp_path: Path) -> None:
    saved(Flow(PAIR, transforms=[KEPT[what](), MaskedAutoregressive(2, [4])]), tmp_path / "m.genus")


def test_a_description_is_of_what_was_given_when_it_was_made() -> None:
    order = [1, 0]
    turned = Permutation(order)
    order.reverse()
    assert as_json(turned) == {"class": "Permutation", "order": [1, 0]}
    assert as_json(from_json(as_json(Chain([turned])))) == as_json(Chain([turned]))


class Strange(Transform):
    """Takes anything."""

    def __init__(self, what: Any) -> None:
        super().__init__()


@pytest.mark.parametrize("what", [(i for i in [8]), {8}, torch.nn.ReLU(), min, 1j], ids=lambda what: type(what).__name__)
def test_what_a_file_cannot_keep_is_refused_when_a_transform_is_made(what: Any) -> None:
    with pytest.raises(GenusError, match=f"type {type(what).__name__} cannot be saved with a model; give numbers"):
        Strange(what)
    with pytest.raises(GenusError, match="cannot be saved"):
        Flow(PAIR, transforms=[what])


HYPER: list[dict[str, Any]] = [
    {"hidden": np.array([8, 8])},
    {"hidden": (np.int64(8),)},
    {"hidden": range(8, 10)},
    {"transforms": np.int64(2)},
    {"dropout": np.float32(0.5)},
    {"hidden": ()},
]


@pytest.mark.parametrize("hyper", HYPER, ids=str)
@pytest.mark.parametrize("family", ["maf", "real-nvp", "nsf"])
def test_hyper_parameters_of_numpy_can_be_saved(family: str, hyper: dict[str, Any], tmp_path: Path) -> None:
    saved(genus.build(family, PAIR, **({"transforms": 1, "hidden": [8]} | hyper)), tmp_path / "m.genus")


@pytest.mark.parametrize("family", ["maf", "real-nvp", "nsf", "flow"])
def test_a_model_as_a_base_can_be_saved(family: str, tmp_path: Path) -> None:
    base = genus.MADE(PAIR, hidden=(8,), components=2)
    small: dict[str, Any] = {"transforms": [Linear(2)]} if family == "flow" else {"transforms": 1, "hidden": [8]}
    model = saved(genus.family(family)(PAIR, base=base, **small), tmp_path / "m.genus")
    assert model.config["base"] == {"class": "made", **base.config}


# -- chains ---------------------------------------------------------------------------------------------------------------

masked = MaskedAutoregressive(2, [8])
TWICE: dict[str, list[Transform]] = {
    "itself": [masked, masked],
    "apart": [masked, Linear(2), masked],
    "its inverse": [masked, Inverse(masked)],
    "within a chain": [Chain([Linear(2), masked]), masked],
}


@pytest.mark.parametrize("what", TWICE)
def test_a_transform_stands_in_one_place(what: str) -> None:
    for make in (Chain, lambda transforms: Flow(PAIR, transforms=transforms)):
        with pytest.raises(GenusError, match=rf"Transforms 0 and {len(TWICE[what]) - 1} .*make a transform for each place"):
            make(TWICE[what])


def test_what_has_no_parameters_may_stand_in_two_places(tmp_path: Path) -> None:
    turn = Permutation([1, 0])
    saved(Flow(PAIR, transforms=[turn, masked, turn]), tmp_path / "m.genus")


# -- couplings and images -------------------------------------------------------------------------------------------------

CORNER = [[[True, False]] * 2] * 2
REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "half a bool": (lambda: Coupling([0.5, 1], [8]), "a bool for each coordinate; it holds 0.5"),
    "two": (lambda: Coupling([2, 1], [8]), "it holds 2"),
    "ragged": (lambda: Coupling([[True], [True, False]], [8]), "a bool for each coordinate"),
    "text": (lambda: Coupling("ab", [8]), "a bool for each coordinate"),
    "a square": (lambda: Coupling([[True, False]], [8]), r"\(D,\) or \(C, H, W\)"),
    "all dropped": (lambda: Coupling([True, False], [8], dropout=1), "from 0 to below 1; got 1"),
    "no layer for a context": (lambda: Coupling(CORNER, [], context_dim=1), r"pass hidden=\[channels\]"),
    "glow without layers": (lambda: genus.Glow(IMAGE, GIVEN, levels=1, hidden=()), r"pass hidden=\[channels\]"),
    "no levels": (lambda: Multiscale((1, 4, 4), []), "needs one level or more"),
    "one level twice": (lambda: Multiscale((4, 4, 4), [squeezed] * 2), "Transforms 0 and 1"),
    "odd": (lambda: Squeeze()(torch.zeros(2, 1, 4, 5)), "even height and width can be squeezed; got 4x5"),
    "no image": (lambda: Squeeze()(torch.zeros(2, 4)), r"can be squeezed; got shape \(4,\)"),
    "five channels": (lambda: Squeeze().inverse(torch.zeros(2, 5, 4, 4)), r"undone; got shape \(5, 4, 4\)"),
    "glow of no levels": (lambda: genus.Glow(IMAGE, levels=0), "levels and steps must be 1 or more; got 0 and 8"),
    "glow of no steps": (lambda: genus.Glow(IMAGE, levels=1, steps=0), "levels and steps must be 1 or more; got 1 and 0"),
}
squeezed = Chain([Squeeze(), ActNorm(16)])


@pytest.mark.parametrize("what", REFUSED)
def test_what_makes_no_sense_is_refused_in_a_sentence(what: str) -> None:
    make, said = REFUSED[what]
    with pytest.raises(GenusError, match=said):
        make()


@pytest.mark.parametrize("stay", [[1, 0], [True, False], np.array([True, False]), torch.tensor([1.0, 0.0])], ids=repr)
def test_couplings_take_bools_of_any_kind(stay: Any) -> None:
    coupling = Coupling(stay, [8])
    assert coupling.stays.tolist() == [True, False]
    assert from_json(as_json(coupling)).stays.tolist() == [True, False]


def test_a_glow_without_hidden_layers_has_no_context() -> None:
    assert genus.Glow(IMAGE, levels=1, steps=1, hidden=()).sample(2, seed=0).shape == (2, 1, 4, 4)


# -- hyper-parameters -----------------------------------------------------------------------------------------------------

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"transforms": -1}, "transforms is how many there are, 0 or more; got -1"),
    ({"transforms": 2.5}, "transforms must be a whole number; got 2.5"),
    ({"transforms": True}, "transforms must be a whole number; got True"),
    ({"transforms": "2"}, "transforms must be a whole number; got '2'"),
    ({"hidden": (0,)}, "hidden is the width of every layer, 1 or more; got"),
    ({"hidden": [8.0]}, "hidden must be a list of whole numbers"),
    ({"hidden": "ab"}, "hidden must be a list of whole numbers"),
    ({"dropout": 3}, "from 0 to below 1; got 3"),
    ({"dropout": 1}, "from 0 to below 1; got 1"),
    ({"dropout": "much"}, "dropout must be a number; got 'much'"),
]


@pytest.mark.parametrize(("hyper", "said"), WRONG, ids=str)
@pytest.mark.parametrize("family", ["maf", "iaf", "nsf", "real-nvp", "nice"])
def test_hyper_parameters_of_flows_are_numbers_that_make_sense(family: str, hyper: dict[str, Any], said: str) -> None:
    with pytest.raises(GenusError, match=said):
        genus.build(family, PAIR, **hyper)


@pytest.mark.parametrize("hidden", [64, "64", [2.5]], ids=str)
@pytest.mark.parametrize("family", [f for f in genus.families() if "hidden" in signature(genus.family(f)).parameters])
def test_hidden_layers_are_a_list(family: str, hidden: Any) -> None:
    with pytest.raises(GenusError, match="hidden must be a list of whole numbers"):
        genus.build(family, IMAGE if family == "glow" else PAIR, hidden=hidden)


@pytest.mark.parametrize("hyper", [{"levels": 1.5}, {"steps": "2"}, {"levels": True}], ids=str)
def test_sizes_of_a_glow_are_whole(hyper: dict[str, Any]) -> None:
    with pytest.raises(GenusError, match="must be a whole number; got"):
        genus.Glow(IMAGE, **hyper)


def test_the_interval_of_a_logit_is_kept_as_numbers() -> None:
    assert as_json(Logit(np.float64(0.0), torch.tensor(2.0))) == {"class": "Logit", "low": 0.0, "high": 2.0, "edge": 1e-6}


def test_transforms_in_the_place_of_a_context_are_refused() -> None:
    with pytest.raises(GenusError, match=r"context must be a Space; got list\. Give other arguments by name"):
        Flow(PAIR, [Linear(2)])  # type: ignore[arg-type]
    with pytest.raises(GenusError, match="space must be a Space; got NoneType"):
        genus.MAF(None)  # type: ignore[arg-type]
