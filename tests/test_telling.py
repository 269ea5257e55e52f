"""Which columns give samples away."""

import torch
from torch import Tensor

from genus import Category, Real, Space
from genus.evaluation.telling import telling_columns

SPACE = Space([Real(), Real(), Category(("a", "b", "c"))], names=["age", "pay", "kind"])


def rows(n: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 2, generator=generator)
    return torch.cat([x, torch.randint(3, (n, 1), generator=generator).float()], dim=1)


def test_a_column_that_is_wrong_is_named_and_honest_rows_name_none() -> None:
    real, fake = rows(600, 0), rows(600, 1)
    assert telling_columns(SPACE, real, fake) == {}
    fake[:, 1] += 1
    found = telling_columns(SPACE, real, fake)
    assert list(found) == ["pay"]
    assert found["pay"] > 0.1


def test_a_pair_that_belongs_together_is_named_by_both_columns() -> None:
    real, fake = rows(800, 0), rows(800, 1)
    real[:, 1] = real[:, 0] + 0.2 * real[:, 1]
    fake[:, 1] *= 1.02
    assert set(telling_columns(SPACE, real, fake)) == {"age", "pay"}
