"""Data as people have them in Python: (X, y), torch's data sets and loaders, lists of pictures and of ragged lists."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import genus
from genus import Category, Real, Space

X = torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
Y = torch.arange(60) % 3
PICTURES = (torch.rand(60, 5, 4, generator=torch.Generator().manual_seed(0)) * 255).byte()


class Digits(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """As torchvision's are: a picture and its class, by number."""

    def __len__(self) -> int:
        return 60

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        return PICTURES[i], int(Y[i])


class Stream(IterableDataset):  # type: ignore[type-arg]
    def __iter__(self) -> Any:
        return iter(X)


@pytest.mark.parametrize(
    "source",
    [
        (X, Y),
        (X.numpy(), Y.numpy()),
        (X, Y.tolist()),
        (X, Y[:, None]),
        (pd.DataFrame(X.numpy(), columns=["x0", "x1", "x2"]), pd.Series(Y.numpy())),
        TensorDataset(X, Y),
        DataLoader(TensorDataset(X, Y), batch_size=7),
        DataLoader([{"x0": a, "x1": b, "x2": c, "label": y} for (a, b, c), y in zip(X.tolist(), Y.tolist(), strict=True)]),
    ],
    ids=["tensors", "arrays", "list", "column", "frames", "set", "loader", "dictionaries"],
)
def test_labelled_rows_are_a_table_with_a_label(source: Any) -> None:
    data = genus.read(source, context="label")
    assert torch.allclose(data.x, X.to(data.x))
    assert data.context is not None
    assert data.c is not None
    assert data.c[:, 0].tolist() == Y.tolist()


def test_a_series_has_its_own_name() -> None:
    data = genus.read((pd.DataFrame(X.numpy(), columns=list("abc")), pd.Series(Y.numpy(), name="species")), context="species")
    assert data.context is not None
    assert data.context.names == ("species",)


@pytest.mark.parametrize(
    ("source", "labelled"),
    [
        (Digits(), True),
        (DataLoader(Digits(), batch_size=8), True),
        ((PICTURES, Y), True),
        (list(PICTURES), False),
        ([picture.numpy() for picture in PICTURES], False),
        (TensorDataset(PICTURES), False),
    ],
    ids=["set", "loader", "pair", "tensors", "arrays", "unlabelled"],
)
def test_pictures_are_read_from_whatever_holds_them(source: Any, labelled: bool) -> None:
    data = genus.read(source, context="label" if labelled else None)
    assert torch.equal(data.x.flatten(1).byte(), PICTURES.flatten(1))
    assert (data.c is not None) == labelled


def test_pictures_of_pillow_and_a_set_that_is_only_walked_through() -> None:
    image = pytest.importorskip("PIL.Image")
    assert torch.equal(genus.read([image.fromarray(one.numpy()) for one in PICTURES]).x.byte(), PICTURES)
    assert torch.allclose(genus.read(Stream()).x, X)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (lambda: [[1, 2, 3], [4, 5]], "list 1 has 2; pass sequence=True"),
        (lambda: [np.arange(3), np.arange(4)], "pass sequence=True"),
        (lambda: [np.zeros((3, 4)), np.zeros((4, 4))], "picture 1 has (4, 4); bring them to one size"),
        (lambda: (X, Y[:5]), "X has 60 rows and y 5 values"),
        (lambda: (X, X), "y has shape (60, 3)"),
        (lambda: TensorDataset(X, Y, Y), "items of 3 parts"),
        (lambda: TensorDataset(X[:0]), "yields nothing"),
        (lambda: "some words\nand more", "no path but a text"),
    ],
    ids=["ragged", "arrays", "sizes", "lengths", "wide", "parts", "empty", "text"],
)
def test_what_cannot_be_read_is_refused_in_a_sentence(source: Callable[[], Any], words: str) -> None:
    with pytest.raises(genus.DataError) as refused:
        genus.read(source())
    assert words in str(refused.value)
    assert genus.read([[1, 2, 3], [4, 5]], sequence=True).x.shape == (2, 4)


def test_the_context_is_second_everywhere_and_one_row_one_a_datum_or_one_an_end() -> None:
    space, context = Space([Real(), Real()]), Space([Category(("a", "b"))])
    with genus.ladder.isolated(0):
        model = genus.VAE(space, context, latent=2, hidden=(8,)).eval()
    x, one, each = torch.randn(2, 2), torch.tensor([[1.0]]), torch.tensor([[0.0], [1.0]])
    assert torch.equal(model.reconstruct(x, one), model.reconstruct(x, one.repeat(2, 1)))
    line = model.interpolate(x, each, steps=3)
    assert torch.allclose(line[[0, 2]], model.reconstruct(x, each), atol=1e-6)
    assert torch.allclose(model.interpolate(x, one, steps=3)[2], model.reconstruct(x, one)[1], atol=1e-6)
    z = model.encode(x[:1], one)[0, 0].item()
    assert torch.allclose(model.traverse(x[0], one, unit=0, values=[z])[0], model.reconstruct(x[:1], one)[0], atol=1e-6)
    missing = torch.tensor([[True, False], [False, False]])
    assert torch.equal(model.impute(x, each, missing, seed=0)[1], x[1])
    with pytest.raises(genus.DataError, match="between two data"):
        model.interpolate(x[0], one)


def test_nan_is_missing_in_every_question() -> None:
    with genus.ladder.isolated(0):
        model = genus.VAE(Space([Real(), Real()]), latent=2, hidden=(8,)).eval()
    x = torch.tensor([[0.3, float("nan")], [1.0, -1.0]])
    for found in (model.encode(x), model.reconstruct(x), model.interpolate(x), model.traverse(x[0], unit=0, values=[0.0])):
        assert bool(found.isfinite().all())
    assert torch.equal(model.reconstruct(x), model.reconstruct(x))
    with pytest.raises(genus.GenusError, match="missing="):
        model.impute(x, x.isnan())
