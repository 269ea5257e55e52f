"""Evaluate samples by nearest neighbours: whether they are realistic, cover the data, or copy training rows.

Distances are Euclidean between `Space.features`: numbers are standardised by the training data, and any two levels of a
category lie sqrt(2) apart. The features are not standardised once more by the samples compared, which would make the rarest
level, and the pixel that is nearly always 0, the weightiest.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from genus.errors import DataError
from genus.evaluation.classifiers import canonical
from genus.space import Space

__all__ = ["Memorisation", "Neighbourhoods", "distances", "features", "memorisation", "nearest",
           "neighbourhoods", "precision_recall_density_coverage", "repeated"]  # fmt: skip

RECORDS = 50_000  # training and unseen rows in which neighbours are sought
CELLS = 20_000_000  # rows times features of them
BLOCK = 2**20  # pairwise distances held at once: 8 MB
TRANSFORMED = 2**20  # numbers that are brought to the scale of distances at a time
TREE = 6  # coordinates up to which a tree finds neighbours sooner than all distances do
DECIMALS = 5  # of a distance in standardised units


class Neighbourhoods(NamedTuple):
    """Hold precision, recall, density and coverage; see `precision_recall_density_coverage`."""

    precision: float
    recall: float
    density: float
    coverage: float


class Memorisation(NamedTuple):
    """Hold how near samples lie to the training rows; see `memorisation`."""

    dcr_ratio: float
    dcr_share: float
    copies: float
    copies_unseen: float


def features(space: Space, x: Tensor) -> Tensor:
    """Return `Space.features` of x (N, *shape) as (N, F) float64, found in the precision of the data so that atoms are."""
    x = x.detach().cpu()
    found = torch.empty(len(x), space.coordinate_dim, dtype=torch.float64)
    rows = max(1, TRANSFORMED // max(1, space.dim))  # charts hold several numbers for each
    for part, into in zip(x.split(rows), found.split(rows), strict=True):
        into.copy_(space.coordinates(part.to(space.dtype)))
    return found


def precision_recall_density_coverage(space: Space, real: Tensor, fake: Tensor, k: int = 5) -> Neighbourhoods:
    """Return fidelity and diversity of samples, by balls about each point that reach to its k-th nearest neighbour.

    - precision: the share of samples inside some real row's ball. Low: unrealistic samples.
    - recall: the share of real rows inside some sample's ball. Low: kinds of rows that are never sampled.
    - density: how many real balls a sample lies in, over k; 1 where the distributions agree. Unlike precision it is not
      fooled by one outlying real row with a huge ball.
    - coverage: the share of real rows with a sample in their ball; about 1 - 2^-k where the distributions agree. Unlike
      recall it is not fooled by outlying samples.

    A ball includes its rim (<=): rows of a table often are equally far from one another.

    Args:
        real: (N, *shape).
        fake: (M, *shape); give as many as there are real rows.
        k: lowered to what there is where a sample has k rows or fewer.

    Raises:
        DataError: fewer than two rows of either.

    Kynkäänniemi et al. 2019, arXiv:1904.06991; Naeem et al. 2020, arXiv:2002.09797.

    >>> from genus.space import Real
    >>> a, b = torch.randn(2, 1000, 2, generator=torch.Generator().manual_seed(0))
    >>> same = precision_recall_density_coverage(Space([Real(), Real()]), a, b)
    >>> round(same.density, 1), round(same.coverage, 1)
    (1.0, 1.0)
    """
    if min(len(real), len(fake)) < 2:
        raise DataError(f"Neighbourhoods need two or more rows of each; got {len(real)} real and {len(fake)} sampled.")
    return neighbourhoods(features(space, real), features(space, fake), k)


def neighbourhoods(x: Tensor, y: Tensor, k: int = 5) -> Neighbourhoods:
    """Return `precision_recall_density_coverage` of the features of real rows x (N, F) and of samples y (M, F)."""
    k = min(k, len(x) - 1, len(y) - 1)
    radius_x, radius_y = _radii(x, k), _radii(y, k)
    inside, recalled, covered = [], [], torch.zeros(len(x), dtype=torch.bool)
    for at, distance in distances(y, x):  # samples by real rows
        within = distance <= radius_x
        inside.append(within.sum(1))
        covered |= within.any(0)
        recalled.append((distance <= radius_y[at : at + len(distance), None]).any(0))
    balls = torch.cat(inside)
    return Neighbourhoods(
        precision=(balls > 0).double().mean().item(),
        recall=torch.stack(recalled).any(0).double().mean().item(),
        density=balls.double().mean().item() / k,
        coverage=covered.double().mean().item(),
    )


def memorisation(space: Space, fake: Tensor, train: Tensor, unseen: Tensor, seed: int = 0) -> Memorisation:
    """Measure how far samples copy training rows, compared with rows that the model has not seen.

    - dcr_ratio: the median distance to the closest training record of samples over that of unseen rows. 1: as new as
      unseen rows; 0: copies. Samples that avoid the sparse regions of the data bring it below 1 without any copying, and
      noise brings it above 1: read it with dcr_share. Where both medians are 0 it is 1; where only that of unseen rows
      is, NaN.
    - dcr_share: the share of samples that lie nearer to a training row than to an unseen one, of equally many of each,
      ties counted half. 0.5: no nearer to what was learnt than to what was not. The training rows are thinned to the
      number of unseen ones, so with fewer unseen rows a copy shows less in it.
    - copies: the share of samples that are equal to a training row in every column.
    - copies_unseen: the same share of unseen rows: what is unavoidable, as in a table of few levels.

    Args:
        fake: (M, *shape).
        train: (N, *shape), what the model was fitted to.
        unseen: (K, *shape), rows of the same source that it was not.
        seed: of the thinning. Neighbours are sought in at most 50,000 rows, fewer where features are more than 400; exact
            copies in all.

    Raises:
        DataError: one of them has no rows.

    >>> from genus.space import Real
    >>> train, unseen = torch.randn(2, 500, 2, generator=torch.Generator().manual_seed(0))
    >>> memorisation(Space([Real(), Real()]), train, train, unseen)
    Memorisation(dcr_ratio=0.0, dcr_share=1.0, copies=1.0, copies_unseen=0.0)
    """
    if not (len(fake) and len(train) and len(unseen)):
        raise DataError(f"Memorisation needs rows of each; got {len(fake)} samples, {len(train)} training, {len(unseen)} new.")
    generator = torch.Generator().manual_seed(seed)
    limit = min(RECORDS, CELLS // max(1, space.coordinate_dim))
    thinned = (rows[torch.randperm(len(rows), generator=generator)[:limit]] for rows in (fake, train, unseen))
    x, seen, new = (features(space, rows) for rows in thinned)
    equal = min(len(seen), len(new))
    to_seen, to_new = nearest(x, seen[:equal]), nearest(x, new[:equal])
    share = (to_seen < to_new).double().mean() + (to_seen == to_new).double().mean() / 2
    ratio = _ratio(nearest(x, seen).median().item(), nearest(new[: len(x)], seen).median().item())
    known = set(_digests(space, train))
    copies, copies_unseen = (float(np.mean([row in known for row in _digests(space, rows)])) for rows in (fake, unseen))
    return Memorisation(ratio, share.item(), copies, copies_unseen)


def repeated(space: Space, train: Tensor, unseen: Tensor) -> tuple[np.ndarray, float]:
    """Return which unseen rows (K,) equal a training row, and the share of training rows that equal another one.

    Where both are drawn from the same source, the two shares agree: repeated rows are then ordinary.
    """
    known = list(_digests(space, train))
    count = Counter(known)
    equal = np.array([row in count for row in _digests(space, unseen)])
    return equal, float(np.mean([count[row] > 1 for row in known]))


def _ratio(a: float, b: float) -> float:
    return a / b if b > 0 else 1.0 if a == b else math.nan


def _digests(space: Space, x: Tensor) -> Iterator[bytes]:
    """Yield 16 bytes for each row, equal for equal rows; no row is kept."""
    for block in x.split(4096):
        rows = canonical(space, block) + 0.0  # -0 becomes 0
        rows[np.isnan(rows)] = np.nan  # one of the many NaNs
        yield from (blake2b(row.tobytes(), digest_size=16).digest() for row in rows)


def distances(x: Tensor, y: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Yield the distances from x to y in blocks of rows of bounded memory, each with the position of its first row."""
    x, y = _centred(x, y)
    rows = max(1, BLOCK // len(y))
    for at in range(0, len(x), rows):
        distance = torch.cdist(x[at : at + rows], y, compute_mode="use_mm_for_euclid_dist")
        # A matrix product is ten times as fast as differences but not exact, and ties must be: the distance of equal rows is 0.
        yield at, distance.round(decimals=DECIMALS)


def nearest(x: Tensor, y: Tensor) -> Tensor:
    """Return (N,): the distance of every row of x to the closest row of y, computed exactly once that row is found."""
    closest = _neighbours(x, y, 1)[1][:, 0]
    return (x - y[closest]).norm(dim=1)


def _radii(x: Tensor, k: int) -> Tensor:
    """Return (N,): the distance of every row of x to its k-th nearest neighbour, itself not counted, rounded as `distances`."""
    return _neighbours(x, x, k + 1)[0][:, k].round(decimals=DECIMALS)


def _neighbours(x: Tensor, y: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return (N, k) distances of rows of x to the closest rows of y, ascending, and which rows these are."""
    from sklearn.neighbors import NearestNeighbors

    tree = 0 < y.shape[1] <= TREE
    x, y = _centred(x, y)
    if not y.shape[1]:  # constant columns alone have no coordinates
        x, y = (F.pad(rows, (0, 1)) for rows in (x, y))
    found = NearestNeighbors(n_neighbors=k, algorithm="kd_tree" if tree else "brute").fit(y.numpy())
    distance, which = found.kneighbors(x.numpy())
    return torch.from_numpy(distance), torch.from_numpy(which)


def _centred(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return x and y (N, F) about the mean of y where that is farther from 0 than y from its mean, else as they are.

    Distances by matrix products are differences of squares, which lose digits far from 0; near it wide rows need no copy.
    """
    centre = y.mean(0)
    if 2 * centre.square().sum() <= y.norm().square() / max(1, len(y)):
        return x, y
    return x - centre, y - centre
