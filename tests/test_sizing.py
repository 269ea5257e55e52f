"""Sizes that the time and the machine's speed decide, and Muon's steps in single precision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import genus
from genus import Category, Lattice, Space
from genus.data import Dataset
from genus.ladder import Size
from genus.training import choose_size, sizing
from genus.training.muon import SinglePrecisionMuon

IMAGES = Dataset(torch.randint(256, (40, 16, 16)).float(), None, Space(Lattice(0, 255), shape=(16, 16)))


@pytest.mark.parametrize(("step", "net"), [(0.1, [128, 128]), (0.01, [256, 256]), (1e-4, [32])])
def test_the_largest_size_is_chosen_of_which_enough_steps_fit(
    step: float, net: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = {"convolutional": 10 * step}
    monkeypatch.setattr(sizing, "seconds_of_a_step", lambda cls, data, hyper, size, *_: slow.get(size.hyper["net"], step))
    choice = choose_size(genus.VAE, IMAGES, 60.0, {})
    assert choice.hyper["hidden"] == net
    assert "steps in 60 s here" in choice.sentence
    assert ("needs some" in choice.sentence) == (net != [32])
    assert choice.options["batch_size"] == (128 if net == [32] else 32)


def test_nothing_is_measured_without_a_time_or_where_a_size_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(*_: Any) -> float:
        raise AssertionError("a step was timed")

    monkeypatch.setattr(sizing, "seconds_of_a_step", measured)
    default = genus.VAE.default_hyperparameters(IMAGES.space, len(IMAGES))
    assert choose_size(genus.VAE, IMAGES, None, {}).hyper == default
    assert choose_size(genus.VAE, IMAGES, 60.0, {"hidden": [8]}).hyper == default | {"hidden": [8]}
    assert choose_size(genus.MAF, IMAGES, 60.0, {}).sentence == ""  # a family of one size


@pytest.mark.parametrize(("seconds", "compiled"), [(90.0, False), (900.0, True)])
def test_steps_are_compiled_where_a_training_is_long(seconds: float, compiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    text = Dataset(torch.zeros(4000, 256, dtype=torch.uint8), None, Space(Category(tuple("abc")), shape=(256,), sequence=True))
    monkeypatch.setattr(sizing, "seconds_of_a_step", lambda cls, data, hyper, size, *_: hyper["width"] * 0.001)
    monkeypatch.setattr(sizing, "can_compile", lambda device: True)
    choice = choose_size(genus.GPT, text, seconds, {})
    assert choice.options["compile"] is compiled
    # Of 900 s 85 % are for steps, of which 80 compile; compiled steps take 1 / 1.35 of the time.
    assert ("some 7,200 compiled steps in 900 s here, 95 ms each" if compiled else " 64 ms each") in choice.sentence
    monkeypatch.setattr(sizing, "can_compile", lambda device: False)
    assert choose_size(genus.GPT, text, seconds, {}).options["compile"] is False


def test_a_step_is_timed_and_every_size_of_every_family_can_be_built() -> None:
    text = Space(Category(tuple("abc")), shape=(256,), sequence=True)
    wide = Space(Lattice(0, 255), shape=(17, 16))
    images = [("gan", IMAGES.space), ("made", wide), ("nsf", wide), ("maf", wide), ("nice", wide)]
    for family, space in (("gpt", text), ("rnn", text), ("wavenet", text), *images):
        cls = genus.family(family)
        assert cls.sizes(space, 10_000), family
        for size in cls.sizes(space, 10_000):
            genus.build(cls, space, None, 0, **size.hyper)
    size = Size({"net": "dense", "hidden": [8]}, 0, 8)
    assert 0 < sizing.seconds_of_a_step(genus.VAE, IMAGES, size.hyper, size, 0, "cpu", 1.0) < 60


def test_a_larger_size_is_not_built_where_the_smaller_one_is_too_slow_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    timed = []

    def slow(cls: Any, data: Any, hyper: dict[str, Any], *_: Any) -> float:
        timed.append(hyper["hidden"])
        return 10.0

    monkeypatch.setattr(sizing, "seconds_of_a_step", slow)
    choice = choose_size(genus.VAE, IMAGES, 60.0, {})
    assert timed == [[128, 128]]
    assert "needs some" in choice.sentence


def test_larger_sizes_are_not_timed_once_their_share_of_the_time_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, timed = [0.0], []

    def slow(cls: Any, data: Any, hyper: dict[str, Any], *_: Any) -> float:
        timed.append(hyper["net"])
        clock[0] += 20.0
        return 1e-4

    monkeypatch.setattr(sizing, "seconds_of_a_step", slow)
    monkeypatch.setattr(sizing.time, "perf_counter", lambda: clock[0])
    choose_size(genus.VAE, IMAGES, 60.0, {})
    assert len(timed) == 1


def test_a_slow_step_is_timed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted: list[int] = []
    monkeypatch.setattr(sizing, "fit", lambda model, data, max_steps, **_: fitted.append(max_steps))
    size = Size({"net": "dense", "hidden": [8]}, 0, 8)
    sizing.seconds_of_a_step(genus.VAE, IMAGES, size.hyper, size, 0, "cpu", 0.0)
    assert fitted == [1, 1]  # the first allocates
    sizing.seconds_of_a_step(genus.VAE, IMAGES, size.hyper, size, 0, "cpu", 60.0)
    assert fitted[2:] == [1, 1, 1 + sizing.TIMED_STEPS]


def test_a_resumed_training_keeps_its_size(tmp_path: Path) -> None:
    model = genus.VAE(IMAGES.space, hidden=(8,), latent=3)
    genus.fit(model, IMAGES, max_steps=2, batch_size=7, checkpoint=tmp_path / "c", progress=False)
    choice = sizing.saved_choice(tmp_path / "c")
    assert (choice.hyper, choice.batch_size) == (model.config, 7)


def test_muon_in_single_precision_makes_the_steps_of_pytorchs() -> None:
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(20, 50, generator=generator)
    ours, theirs = torch.nn.Parameter(first.clone()), torch.nn.Parameter(first.clone())
    options: dict[str, Any] = {"lr": 0.01, "weight_decay": 0.1, "adjust_lr_fn": "match_rms_adamw"}
    optimizers = SinglePrecisionMuon([ours], **options), torch.optim.Muon([theirs], **options)
    for _ in range(5):
        ours.grad = torch.randn(20, 50, generator=generator)
        theirs.grad = ours.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    moved = (theirs - first).norm()
    assert float((ours - theirs).norm() / moved) < 0.02  # bfloat16 has two to three digits
