"""Pictures and parts of sequences at the command line: grids with labels, folders, codes, regions drawn anew."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from command import run
from PIL import Image

import genus
from genus import Category, Lattice, Space
from genus.cli.regions import region_of
from genus.questions import infill


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder, the current one, with pictures of two labels, texts, and models of them."""
    here, before = tmp_path_factory.mktemp("pictures"), Path.cwd()
    os.chdir(here)
    rng = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (here / "pets" / label).mkdir(parents=True)
        for i in range(30):
            picture = rng.integers(0, 60, (6, 5)) + (180 if label == "cat" else 0)
            Image.fromarray(picture.astype(np.uint8)).save(here / "pets" / label / f"{i}.png")
    (here / "book.txt").write_text("The cat sat.\n" * 60)
    steps = ("--steps", 5, "--quiet")
    for family, more in (
        ("vae", ("--set", "hidden=8", "--set", "latent=2")),
        ("pixelcnn", ("--set", "width=4", "--set", "layers=1")),
    ):
        assert run("fit", "pets", "--family", family, *more, "--context", "label", *steps, "--out", f"{family}.genus").code == 0
    assert run("fit", "book.txt", "--family", "gpt", "--length", 13, *steps, "--out", "text.genus").code == 0
    yield here
    os.chdir(before)


def test_a_grid_has_a_row_for_each_level_whichever_option_asks(folder: Path) -> None:
    for option in ("--where", "--context"):
        done = run("sample", "vae.genus", "-n", 3, option, "label=each", "--seed", 0, "--out", f"{option}.npz")
        assert done.code == 0, done.err
        with np.load(f"{option}.npz") as file:
            assert file["label"].tolist() == ["cat"] * 3 + ["dog"] * 3
            asked = file["images"]
    c = torch.tensor([[0.0], [1.0]]).repeat_interleave(3, 0)
    assert np.array_equal(asked, genus.load("vae.genus").sample(6, c, seed=0).byte().numpy())
    assert run("sample", "vae.genus", "-n", 3, "--where", "label=each", "--seed", 0, "--out", "each.png").code == 0
    plain = run("sample", "vae.genus", "-n", 6, "--context", "label=cat", "--seed", 0, "--out", "plain.png")
    assert plain.code == 0
    assert np.asarray(Image.open("each.png")).shape[0] == 2 * (10 * 6 + 2) + 2  # two rows, and a margin with their names
    assert (np.asarray(Image.open("each.png"))[:, :20] < 128).any()
    run("sample", "vae.genus", "--where", "size=each", "--out", "x.png").refused(2, "no such column")


def test_a_folder_of_pictures_is_read_again_with_its_labels(folder: Path) -> None:
    assert run("sample", "vae.genus", "-n", 4, "--where", "label=each", "--seed", 0, "--out", "drawn").code == 0
    again = genus.read("drawn", context="label")
    assert again.x.shape == (8, 6, 5)
    assert again.c is not None
    assert again.c[:, 0].tolist() == [0.0] * 4 + [1.0] * 4
    drawn = genus.load("vae.genus").sample(8, again.c, seed=0)
    assert torch.equal(again.x, drawn)


def test_rows_of_every_level_of_a_table(folder: Path) -> None:
    assert run("fit", "iris", "--family", "mixture", "--set", "components=2", "--out", "iris.genus").code == 0
    done = run("sample", "iris.genus", "-n", 2, "--where", "species=each", "--seed", 0, "--json")
    assert [row["species"] for row in json.loads(done.out)] == [s for s in ("setosa", "versicolor", "virginica") for _ in "ab"]


def test_images_are_rebuilt_and_what_lies_between_two_is_decoded(folder: Path) -> None:
    model, data = genus.load("vae.genus"), genus.read("pets", context="label")
    assert run("reconstruct", "vae.genus", "pets", "-n", 3, "--out", "r.npy").code == 0
    assert np.array_equal(np.load("r.npy"), model.reconstruct(data.x[:3], data.c[:3]).byte().numpy())  # type: ignore[index,operator]
    assert run("reconstruct", "vae.genus", "pets", "-n", 3, "--out", "r.png").code == 0
    assert np.asarray(Image.open("r.png")).shape == (2 * 62 + 2, 3 * 52 + 2)
    assert run("interpolate", "vae.genus", "pets", "--between", "1,40", "--steps", 5, "--out", "between").code == 0
    between = np.stack([np.asarray(Image.open(f"between/{i}.png")) for i in range(1, 6)])
    expected = model.interpolate(data.x[[1, 40]], data.c[[1, 40]], 5)  # type: ignore[index,operator]
    assert np.array_equal(between, expected.byte().numpy())
    run("reconstruct", "pixelcnn.genus", "pets", "--out", "x.png").refused(1, "no code", "vae")
    run("reconstruct", "vae.genus", "pets").refused(2, "--out")
    run("interpolate", "vae.genus", "pets", "--between", "1,900", "--out", "x.png").refused(2, "0 to 59")
    run("interpolate", "vae.genus", "pets", "--between", "cat", "--out", "x.png").refused(2, "3,17")


@pytest.mark.parametrize("family", ["vae", "pixelcnn"])
def test_a_region_of_images_is_drawn_given_the_rest(family: str, folder: Path) -> None:
    done = run("impute", f"{family}.genus", "pets", "--region", "4:", "-n", 7, "--seed", 0, "--out", "f.npy")
    assert done.code == 0, done.err
    x, filled = genus.read("pets", context="label").x[:7].byte().numpy(), np.load("f.npy")
    assert np.array_equal(filled[:, :4], x[:, :4])
    assert not np.array_equal(filled[:, 4:], x[:, 4:])
    run("impute", f"{family}.genus", "pets", "--region", "9:", "--out", "f.npy").refused(2, "within 6 by 5")
    run("impute", f"{family}.genus", "pets", "--region", "4:", "--times", 3, "--out", "f.npy").refused(2, "--times")


def test_the_end_of_a_text_is_drawn_given_its_beginning(folder: Path) -> None:
    done = run("impute", "text.genus", "book.txt", "--length", 13, "--region", "8:", "-n", 2, "--seed", 0, "--json")
    assert done.code == 0, done.err
    assert [text[:8] for text in json.loads(done.out)] == ["The cat "] * 2


def test_a_step_is_drawn_by_what_stands_before_and_behind_it() -> None:
    """Of three symbols in a chain the middle one's distribution given both others is known."""
    with genus.ladder.isolated(3):
        model = genus.RNN(Space(Category(("a", "b", "c")), shape=(3,), sequence=True), width=8).eval()
        for parameter in model.parameters():
            parameter.data += torch.randn_like(parameter)
    x = torch.tensor([[1.0, 0.0, 2.0]])
    middle = torch.tensor([[1.0, float(k), 2.0] for k in range(3)])
    p = model.log_prob(middle).softmax(0)
    drawn, worth = infill(model, x.expand(300, -1), 1, 2, seed=0)
    assert (drawn[:, [0, 2]] == x[:, [0, 2]]).all()
    shares = torch.stack([(drawn[:, 1] == k).float().mean() for k in range(3)])
    assert torch.allclose(shares, p.detach(), atol=0.08)
    assert 1 < worth <= 200
    prior = model.log_conditionals(middle)[:, 1].softmax(0)
    assert not torch.allclose(shares, prior.detach(), atol=0.08)  # what stands behind counts


def test_regions() -> None:
    image, series = (
        Space(Lattice(0, 3), shape=(3, 4, 4)),
        Space([Category(("a", "b")), Lattice(0, 3)], shape=(8,), sequence=True),
    )
    assert region_of(image, "1:3,:2").sum() == 3 * 2 * 2
    assert bool(region_of(image, "1:3,:2")[:, 1:3, :2].all())
    assert region_of(series, "3:").tolist() == [False] * 6 + [True] * 2
    for space, text in ((image, "1:2,1:2,0:1"), (image, "1"), (series, "1:2,1:2"), (series, "5:")):
        with pytest.raises(genus.cli.errors.UsageError, match="holds nothing"):  # type: ignore[attr-defined]
            region_of(space, text)


def test_fit_ends_with_a_command_that_works_and_a_unit_that_people_compare(folder: Path) -> None:
    done = run("fit", "book.txt", "--family", "markov", "--out", "chain.genus")
    assert "next      genus sample chain.genus -n 10 --prefix 'The '" in done.out
    again = run("sample", "chain.genus", "-n", 2, "--prefix", "The ")
    assert again.code == 0, again.err
    told = run("score", "chain.genus", "book.txt")
    assert " bits a character (" in told.err
    assert " nats a sequence (exact)" in told.err
    iris = run("fit", "iris", "--family", "mixture", "--context", "species", "--set", "components=2", "--out", "c.genus")
    assert "next      genus sample c.genus -n 10 --context species=" in iris.out
    words = iris.out.split("next      genus ")[1].split()
    assert run(*words).code == 0
    pets = run("fit", "pets", "--family", "vae", "--set", "hidden=8", "--context", "label", "--steps", 3, "--out", "n.genus")
    assert "bits a pixel (" in pets.out
    assert "--context label=each --out samples.png" in pets.out
