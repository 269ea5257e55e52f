"""Draws change with a context as the data do: every family that takes one, on a table and on small images."""

from __future__ import annotations

import pytest
import torch
from conftest import SMALL
from torch import Tensor

import genus
from genus import Category, Lattice, Real, Space
from genus.laws.core import LawError
from genus.laws.models import draws_follow_the_context

LABEL = Space([Category(("u", "v", "w"))])
TABLE = Space([Real(), Real(), Category(("a", "b"))])
IMAGE = Space(Lattice(0, 3), shape=(8, 8))
OTHERS = {"autoencoder": "image", "vae": "image", "iwae": "image", "vq-vae": "image", "gan": "image", "wgan-gp": "image"}
OTHERS |= {"wgan": "image", "pixelcnn": "image", "made": "image", "glow": "image"}
STEPS = {"gan": 150, "wgan": 800, "wgan-gp": 300, "vq-vae": 120, "iwae": 80, "autoencoder": 80, "glow": 300, "pixelcnn": 120}
FEW = ("naive-bayes", "mixture", "chow-liu", "made", "nsf", "vae", "gan", "trees")  # the ordinary run's
BIGGER = {"gan": {"hidden": [32], "net": "dense"}, "wgan-gp": {"hidden": [32], "net": "dense"}, "wgan": {"net": "dense"}}
BIGGER |= {"trees": {"rounds": 40}, "hclt": {"latent": 6, "states": 8, "epochs": 10}, "gaussian-copula": {"points": 64}}


def rows(kind: str, n: int = 300) -> tuple[Tensor, Tensor]:
    """Real rows and their labels: a place that moves with the label, or another row of pixels that is bright."""
    generator = torch.Generator().manual_seed(0)
    label = torch.randint(3, (n, 1), generator=generator).float()
    if kind == "table":
        x = torch.randn(n, 3, generator=generator)
        x[:, 0] += 4 * label[:, 0] - 4
        x[:, 2] = ((label[:, 0] > 1) ^ (torch.rand(n, generator=generator) < 0.15)).float()
        return x, label
    x = torch.randint(2, (n, 8, 8), generator=generator).float()
    for level in range(3):
        x[label[:, 0] == level, 1 + 2 * level : 3 + 2 * level] += 2.0
    return x, label


@pytest.mark.parametrize(
    "family",
    [
        pytest.param(name, marks=() if name in FEW else pytest.mark.nightly)
        for name in SMALL
        if name not in ("flow", "markov", "blend", "wavenet", "stack")  # of one's own transforms; of sequences; of the others
    ],
)
def test_draws_change_with_the_context_as_the_data_do(family: str) -> None:
    kind = OTHERS.get(family, "table")
    x, c = rows(kind)
    space = IMAGE if kind == "image" else TABLE
    model = genus.build(family, space, LABEL, 0, **SMALL[family] | BIGGER.get(family, {}))
    steps = STEPS.get(family, 80)
    genus.fit(model, (x, c), max_steps=steps, batch_size=50, learning_rate=1e-2, validation=None, progress=False)
    assert draws_follow_the_context(model, x, c)


def test_a_model_that_ignores_its_context_breaks_the_law() -> None:
    x, c = rows("table")
    model = genus.build("naive-bayes", TABLE, LABEL, 0)
    genus.fit(model, (x, c), progress=False)
    assert draws_follow_the_context(model, x, c)
    heard = model._sample
    model._sample = lambda n, c: heard(n, c[torch.randperm(n)])  # type: ignore[method-assign]
    with pytest.raises(LawError, match="makes too little of its context"):
        draws_follow_the_context(model, x, c)
