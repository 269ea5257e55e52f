"""Sizes against memory: models are counted before memory is reserved, and default ones have a size that can be trained."""

from __future__ import annotations

import resource

import pytest
import torch

import genus
from genus import Category, Lattice, Real, Space
from genus.ladder import Composed, Counted, Learned
from genus.nets.room import MOST, Numbers, built, free_memory, in_words, numbers_of
from genus.registry import refusal, suggested

COLOURS = Space(Lattice(0, 255), shape=(3, 28, 28))
LEVELS = Category(tuple(range(20_000)))
BIG = {
    "colours": COLOURS,
    "levels": Space([LEVELS, LEVELS, Category(tuple("abc"))]),
    "reals": Space([Real()] * 1500),
    "large colours": Space(Lattice(0, 255), shape=(3, 64, 64)),
    "tokens": Space(Category(tuple(range(30_000))), shape=(256,), sequence=True),
}
SLOW = {"colours", "large colours", "reals"}  # to count nets of thousands of columns
GRADIENTS = [name for name, cls in genus.families().items() if not issubclass(cls, Counted | Learned | Composed)]


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.parametrize("name", GRADIENTS)
@pytest.mark.parametrize("space", [pytest.param(n, marks=[pytest.mark.nightly] * (n in SLOW)) for n in BIG])
def test_a_default_model_of_a_large_space_is_counted_whole_and_can_be_trained(name: str, space: str) -> None:
    if refusal(name, BIG[space]) is not None:
        return
    cls = genus.family(name)
    hyper = suggested(cls, BIG[space], 5000)
    numbers = numbers_of(lambda: genus.build(name, BIG[space], **hyper))
    assert numbers.whole
    assert numbers.parameters <= MOST
    assert numbers.bytes < 4e9


@pytest.mark.nightly
def test_a_made_of_colour_pictures_asks_for_far_fewer_than_its_245_million_parameters() -> None:
    hyper = suggested(genus.MADE, COLOURS, 5000)
    assert numbers_of(lambda: genus.build("made", COLOURS, **hyper)).parameters < 40e6
    assert not hyper["direct"]
    assert suggested(genus.MADE, Space(Lattice(0, 16), shape=(8, 8)), 5000)["direct"]  # small ones are as they were


@pytest.mark.parametrize("name", ["maf", "real-nvp"])
def test_a_flow_of_many_real_columns_has_defaults(name: str) -> None:
    space = Space([Real()] * 130)  # of so many that a default model is counted first
    assert genus.build(name, space, **suggested(genus.family(name), space, 200)).name == name


@pytest.mark.parametrize("name", ["made", "vae", "gan", "maf", "gpt", "iaf", "rnn", "vq-vae"])
def test_what_is_counted_is_what_is_built(name: str) -> None:
    space = Space([Real()] * 300) if name in ("maf", "iaf") else BIG["levels"]
    model = genus.build(name, space, seed=0)
    counted = numbers_of(lambda: genus.build(name, space, seed=0))
    assert counted.whole
    assert counted.parameters == model.parameter_count
    assert counted.buffers == sum(buffer.numel() for buffer in model.buffers())


@pytest.mark.parametrize("name", ["made", "vae", "gan", "autoencoder"])
def test_a_model_too_large_is_refused_with_its_number_before_memory_is_taken(name: str) -> None:
    before = peak()
    with pytest.raises(genus.GenusError, match=r"would have \d{3},\d{3},\d{3},\d{3} parameters .* GB of memory are free"):
        genus.build(name, BIG["levels"], hidden=(500_000, 500_000))
    assert peak() - before < 400e6


def test_the_memory_there_is_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genus.nets.room.free_memory", lambda: 10**8)
    with pytest.raises(genus.GenusError, match="100 MB of memory are free; choose a smaller size"):
        genus.build("gan", BIG["levels"])
    assert genus.build("gan", Space([Real()] * 3)).parameter_count > 1000


def test_a_large_model_has_the_numbers_of_its_seed_whether_or_not_it_was_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    space = Space([Real()] * 50)
    plain = genus.build("vae", space, seed=3)
    torch.manual_seed(5)
    loose = genus.build("vae", space)
    monkeypatch.setattr("genus.nets.room.ONE", 1000)
    monkeypatch.setattr("genus.nets.room.ANY", 100)
    counted = genus.build("vae", space, seed=3)
    torch.manual_seed(5)
    for one, other in ((plain, counted), (loose, genus.build("vae", space))):
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert counted.untrained


def test_a_module_is_made_or_counted() -> None:
    module, numbers = built(lambda: torch.nn.Linear(10, 10))
    assert module is not None
    assert numbers == Numbers(110, 0)
    module, numbers = built(lambda: torch.nn.Linear(10**6, 10**6))
    assert module is None
    assert numbers == Numbers(10**12 + 10**6, 0)
    assert in_words(numbers.bytes) == "20,000 GB"
    assert 10**7 < free_memory() < 10**14
