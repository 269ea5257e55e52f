"""Find samples that are training rows, or held-out rows, drawn again: whole, with a little noise, or a part of them."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from genus.evaluation.figures import percent
from genus.evaluation.findings import Finding
from genus.evaluation.neighbours import distances, features
from genus.space import Space

__all__ = ["find_copies"]

DRAWS = 2_000  # samples whose nearest record is sought
RECORDS = 50_000  # real rows among which it is sought, training and held-out ones together
CELLS = 20_000_000  # features of all records
NEAR = 0.3  # of the distances to the nearest and to the next record, below which a sample is a near copy
FEWEST = 10  # records of either kind, and samples, below which nothing is said
DOUBT = 1e-3  # probability, after Holm's correction, above which nothing is said
COPIED = 0.02  # of the samples, from which on copies are an accusation
NOISY = 0.7  # likewise, of samples that are only nearer to one kind of record than to the other
CLOSER = 0.25  # likewise, for a flaw: a mixture of a hundred rows has that too


class Excess(NamedTuple):
    """Hold how many more samples have a record of one kind as their nearest than the law of chance has it.

    Args:
        share: of all samples that must be tied to that kind of record to explain it.
        z: the excess in standard deviations of that law.
    """

    share: float
    z: float


def find_copies(space: Space, samples: Tensor, train: Tensor, unseen: Tensor, seed: int = 0) -> list[Finding]:
    """Return an accusation or a flaw where samples repeat training rows, or held-out ones, more than chance has it.

    The nearest record of every sample is sought among training and held-out rows. If record i is the nearest of m_i samples
    and samples know nothing of which records are training ones, the sum of m_i over these has the mean M N_t / N and the
    variance N_t N_h / (N (N - 1)) sum (m_i - mean m)^2, whatever the samples are: the permutation law of a sum. It is tested of
    samples that equal their nearest record, of those far nearer to it than to the next record, and of all of them, for an
    excess of either kind of record. Records equally near share the sample.

    An honest model is a little nearer to the rows that it has learnt, so that an excess must also explain 2 % of the samples;
    of distances alone, 70 % for an accusation and a quarter for a flaw.

    Args:
        space: of the rows.
        samples: (M, *shape).
        train: (N_t, *shape), the rows that the generator was fitted to.
        unseen: (N_h, *shape), real rows of the same source that it was not.
        seed: of the thinning: at most 2,000 samples and 50,000 records take part, fewer where features are many.

    >>> from genus.space import Real
    >>> train, unseen, other = torch.randn(3, 300, 2, generator=torch.Generator().manual_seed(0))
    >>> plane = Space([Real(), Real()])
    >>> find_copies(plane, other, train, unseen)
    []
    >>> print(find_copies(plane, torch.cat([train[:30], other[30:]]), train, unseen)[0])
    accused: 10 % of the samples are training rows drawn again
    """
    if min(len(samples), len(train), len(unseen)) < FEWEST:
        return []
    generator = torch.Generator().manual_seed(seed)
    most = min(RECORDS, CELLS // max(1, space.coordinate_dim)) / (len(train) + len(unseen))
    x = features(space, _some(samples, DRAWS, generator))
    records = [_some(rows, max(FEWEST, int(most * len(rows))), generator) for rows in (train, unseen)]
    seen = len(records[0])
    hits = _hits(x, features(space, torch.cat(records)))
    found: list[Finding] = []
    for noun, sign, test in (("training", 1, "copies"), ("held-out", -1, "leaked")):
        tests = {name: _excess(m, seen, len(x), sign) for name, m in hits.items()}
        p = holm([_tail(tests[name].z) for name in tests])
        sure = {name: tests[name].share for name, doubt in zip(tests, p, strict=True) if doubt < DOUBT}
        exact, near, nearer = (sure.get(name, 0.0) for name in hits)
        figures = {f"{name}_share": one.share for name, one in tests.items()} | {
            f"{name}_z": one.z for name, one in tests.items()
        }
        if exact >= COPIED and exact >= near / 2:
            sentence = f"{percent(exact)} of the samples are {noun} rows drawn again"
        elif near >= COPIED:
            sentence = f"{percent(near)} of the samples are {noun} rows with a little noise"
        elif nearer >= CLOSER:
            sentence = f"{percent(nearer)} of the samples lie beside {noun} rows and not beside others, as noisy copies do"
        else:
            continue
        only_beside = exact < COPIED and near < COPIED and nearer < NOISY
        found.append(Finding("flaw" if only_beside else "accused", test, sentence, figures))
    return found


def holm(p: list[float]) -> list[float]:
    """Return p-values (n,) corrected for their number: Holm's procedure.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p)), key=lambda i: p[i])
    corrected, highest = [0.0] * len(p), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p) - rank) * p[i]))
        corrected[i] = highest
    return corrected


def _some(rows: Tensor, most: int, generator: torch.Generator) -> Tensor:
    return rows if len(rows) <= most else rows[torch.randperm(len(rows), generator=generator)[:most]]


def _hits(x: Tensor, records: Tensor) -> dict[str, Tensor]:
    """Return how many samples (N,) have each record as their nearest: of exact copies, of near copies, and of all."""
    hits = {name: torch.zeros(len(records), dtype=torch.float64) for name in ("exact", "near", "all")}
    for _, distance in distances(x, records):
        first = distance.min(1).values
        tie = distance == first[:, None]
        second = distance.masked_fill(tie, math.inf).min(1).values
        shared = tie.double() / tie.sum(1, keepdim=True)
        hits["all"] += shared.sum(0)
        hits["exact"] += shared[first == 0].sum(0)
        hits["near"] += shared[first <= NEAR * second].sum(0)
    return hits


def _excess(m: Tensor, seen: int, draws: int, sign: int) -> Excess:
    """Return the excess of samples at the first `seen` records (sign 1), or at the others (sign -1)."""
    n, total = len(m), float(m.sum())
    variance = seen * (n - seen) / (n * (n - 1)) * (float((m**2).sum()) - total**2 / n)
    over = sign * (float(m[:seen].sum()) - total * seen / n)
    other = (n - seen if sign > 0 else seen) / n  # of the records, which no copy has as its nearest
    return Excess(over / (draws * other), over / math.sqrt(variance) if variance > 0 else 0.0)


def _tail(z: float) -> float:
    """Return the probability that a standard normal number exceeds z."""
    return math.erfc(z / math.sqrt(2)) / 2
