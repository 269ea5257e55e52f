"""Blends: one mixture for every symbol, exact, never worse than the best member where weights were fitted."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from conftest import SPACES, draw, make

import genus
from genus import Blend, Category, DataError, MarkovChain, Space

WORDS, WINDOWS = SPACES["words"], SPACES["windows"]


def chains(space: Space, rows: int = 300) -> tuple[list[MarkovChain], torch.Tensor]:
    """Two chains, of one symbol and of none, and rows that are each half of one and half of the other's making."""
    models = []
    for memory, seed in ((1, 0), (0, 1)):
        model = MarkovChain(space, order=memory, smoothing="add-k", k=0.1)
        model.observe(draw(space, 40, seed))
        model.conclude()
        models.append(model)
    return models, torch.cat([model.sample(rows, seed=3) for model in models])


@pytest.mark.parametrize("space", [WORDS, WINDOWS], ids=["words", "windows"])
def test_every_symbol_is_mixed(space: Space) -> None:
    models, x = chains(space)
    blend = Blend.of(models, x)
    w = torch.tensor(list(blend.weights.values()), dtype=torch.float64)
    each = torch.stack([model.log_conditionals(x) for model in models], dim=-1)
    mixed = (each + w.log()).logsumexp(-1)
    after = models[0]._after_end(x)
    assert torch.allclose(blend.log_conditionals(x), mixed if after is None else mixed.masked_fill(after, 0.0))
    together = blend.combine(each, [[1.0], [1.0]])
    assert len(together) == (each.shape[0] * each.shape[1] if after is None else int((~after).sum()))  # the end is said once
    best = max(float(model.log_prob(x).mean()) for model in models)
    assert float(blend.log_prob(x).mean()) >= best - 1e-9


def test_the_mass_of_all_sequences_is_one_and_draws_follow_it() -> None:
    models, x = chains(WINDOWS)
    blend = Blend.of(models, x)
    blend.log_weights.copy_(torch.tensor([0.3, 0.7], dtype=torch.float64).log())
    points = torch.cartesian_prod(*[torch.arange(3.0)] * 4)
    p = blend.log_prob(points).exp()
    assert float(p.sum()) == pytest.approx(1, abs=1e-9)
    for options in ({}, {"top_k": 9}):  # by a member that is drawn first, and by the table of all symbols
        found = (blend.sample(20_000, seed=0, **options)[:, None] == points[None]).all(2).double().mean(0)
        assert bool(((found - p).abs() < 5 * (p * (1 - p) / 20_000).sqrt() + 2 / 20_000).all())


def test_a_training_trains_counts_first_and_weighs_by_symbols(tmp_path: Path) -> None:
    text = "".join("the cat sat on the mat. a dog ran to the cat. "[(7 * i) % 40 : (7 * i) % 40 + 9] for i in range(400))
    (tmp_path / "cats.txt").write_text(text)
    data = genus.read(tmp_path / "cats.txt")
    small = {"class": "gpt", "width": 16, "layers": 1, "heads": 2}
    model = Blend(data.space, members=["markov", small], rows=len(data))
    history = genus.fit(model, data, max_steps=30, seed=0, progress=False)
    assert history.steps == 2
    assert sum(model.weights.values()) == pytest.approx(1)
    assert math.isfinite(float(model.log_prob(data.x).sum()))
    assert len(model.decode(model.sample(1, length=20, prefix="the ", seed=0))[0]) == 20


def test_what_it_cannot_mix_is_refused_in_a_sentence() -> None:
    with pytest.raises(DataError, match="no sequences of symbols"):
        genus.build("blend", Space([Category(("a", "b"))]))
    with pytest.raises(DataError, match="NaiveBayes cannot model this"):
        Blend(WINDOWS, members=["naive-bayes"])


def test_its_parameters_are_those_of_its_members() -> None:
    assert make("blend", WINDOWS).parameter_count > sum(p.numel() for p in make("gpt", WINDOWS).parameters()) / 2
