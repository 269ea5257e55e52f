"""Compute every metric that samples alone can answer, and say what each means and how it reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from genus.divergences import dual, energy_distance, sliced_wasserstein, transport
from genus.errors import DataError
from genus.evaluation.classifiers import transfer, transfer_key, two_sample
from genus.evaluation.neighbours import features, memorisation, precision_recall_density_coverage
from genus.space import Space
from genus.threads import torch_threads

__all__ = ["METRICS", "Metric", "score_samples", "scores_and_errors", "independent_columns"]

LEAST = 10  # rows on either side below which no metric says anything
ROWS = 5_000  # for classifiers and distances of samples
CELLS = 2_000_000  # rows times columns for classifiers, whose time grows with both: 2,551 images of 28 x 28
NEIGHBOURS = 2_000  # rows for nearest neighbours, whose time grows with the square
COUPLED = 1_000  # rows of either that are coupled, whose time grows with the cube
STEPS = 100  # of the critic
LEARNT = 20_000  # rows from which train-on-synthetic learns, and as many real ones on which it is tested


@dataclass(frozen=True)
class Metric:
    """Describe how to read one number of `score_samples`.

    Args:
        title: the head of its column.
        description: one plain sentence.
        kind: the question it belongs to: is it like the data (by features, by columns), is it useful, is it a copy, does it
            betray who was in training, and of sequences: is it new?
        better: the direction, up to the ideal, beyond which is noise; "closer" is closer to the ideal from either side.
        ideal: what perfect samples would have of ever more rows; None where only the row of real data can say.
    """

    title: str
    description: str
    kind: Literal["features", "fidelity", "utility", "memorisation", "membership", "novelty"]
    better: Literal["lower", "higher", "closer"]
    ideal: float | None


METRICS: dict[str, Metric] = {
    "c2st": Metric(
        "Two-sample AUC",
        "How well a strong classifier tells samples from real rows: 0.5, or by chance below, is not at all, 1 is always.",
        "fidelity",
        "lower",
        0.5,
    ),
    "jensen_shannon": Metric(
        "Jensen–Shannon, bits",
        "How many bits one row tells that classifier of whether it is real, held-out, so a lower bound of the divergence:"
        " 0 cannot be told apart, 1 always.",
        "fidelity",
        "lower",
        0.0,
    ),
    "energy": Metric(
        "Energy distance",
        "How far the samples as a whole lie from the real rows, in standardised units; 0 is the same distribution.",
        "fidelity",
        "lower",
        0.0,
    ),
    "sliced_wasserstein": Metric(
        "Sliced Wasserstein",
        "How far samples must be moved to become the real rows, seen from random directions, in standardised units.",
        "fidelity",
        "lower",
        0.0,
    ),
    "w1": Metric(
        "Earth mover’s",
        "How far samples must be moved to become the real rows, by the cheapest coupling of up to 1,000 of each, in"
        " standardised units. Few rows in many columns overstate it: only the difference from real against real counts.",
        "fidelity",
        "lower",
        0.0,
    ),
    "w1_dual": Metric(
        "Earth mover’s, by a critic",
        "The same from below: how much higher a landscape of slope 1 can lie under real rows than under samples, found by"
        " a small critic on one half of up to 2,000 rows of each and measured on the other.",
        "fidelity",
        "lower",
        0.0,
    ),
    "precision": Metric("Precision", "The share of samples that look like some real row.", "fidelity", "higher", 1.0),
    "recall": Metric("Recall", "The share of real rows that look like some sample.", "fidelity", "higher", 1.0),
    "density": Metric(
        "Density",
        "How crowded with real rows the places are where samples fall: below 1 too few, above 1 only the densest are sampled.",
        "fidelity",
        "closer",
        1.0,
    ),
    "coverage": Metric(
        "Coverage",
        "The share of real rows with a sample in their near neighbourhood; low means that kinds of rows are never sampled.",
        "fidelity",
        "higher",
        1 - 2.0**-5,
    ),
    "tstr_auc": Metric(
        "Train on samples: AUC",
        "How well a classifier that has seen only samples predicts the target of real rows: 0.5 is chance, 1 is perfect.",
        "utility",
        "higher",
        None,
    ),
    "tstr_r2": Metric(
        "Train on samples: R²",
        "The share of the target's variance in real rows that a regression explains which has seen only samples.",
        "utility",
        "higher",
        None,
    ),
    "dcr_ratio": Metric(
        "Distance to training rows",
        "How far samples lie from the closest training row, as a multiple of how far unseen rows do: 1 is as new, 0 is copies.",
        "memorisation",
        "closer",
        1.0,
    ),
    "dcr_share": Metric(
        "Nearer to training rows",
        "The share of samples nearer to a training row than to an unseen one: 0.5 is no sign of memorising, 1 is copying.",
        "memorisation",
        "closer",
        0.5,
    ),
    "copies": Metric(
        "Exact copies",
        "The share of samples that equal a training row in every column; compare it with the same share of unseen rows.",
        "memorisation",
        "lower",
        None,
    ),
    "copies_unseen": Metric(
        "Copies among unseen rows",
        "The share of unseen real rows that equal a training row in every column: what is unavoidable in these data.",
        "memorisation",
        "lower",
        None,
    ),
}


def score_samples(
    space: Space,
    samples: Tensor,
    *,
    train: Tensor,
    test_a: Tensor,
    target: str | int | None = None,
    seed: int = 0,
    threads: int | None = None,
) -> dict[str, float]:
    """Return every metric of samples, on as many samples as real rows, so that rows of a comparison may be compared.

    The reference rows come from the same function: the other half of the held-out rows as `samples` is real
    against real, `independent_columns` of the training rows is the baseline, and the training rows score as a copier does.

    Args:
        samples: (N, *shape).
        train: (M, *shape), what the model was fitted to.
        test_a: (K, *shape), the half of the held-out rows that samples are compared with; the other half is there to be
            compared with it. min(N, K) of samples and of these enter, drawn at random: at most 5,000 for classifiers
            (fewer where columns are many) and distances, 2,000 for nearest neighbours and the critic, 1,000 for the coupling.
        target: a column to predict, by name or position, for train-on-synthetic-test-on-real, which learns from all samples
            (20,000 at most) and not from as many as there are real rows to test on.
        seed: of all that is random here.
        threads: of scikit-learn's and BLAS's pools meanwhile; None leaves them as they are. A caller that runs several
            at once should give each its share of the cores.

    Returns:
        Name -> value; `METRICS` says how to read each. `tstr_auc` is there for a categorical target, `tstr_r2` for a number.

    Raises:
        DataError: rows that do not belong to the space, or fewer than 10 of them.

    >>> from genus.space import Real
    >>> x = torch.randn(600, 2, generator=torch.Generator().manual_seed(0))
    >>> scores = score_samples(Space([Real(), Real()]), x[:200], train=x[200:400], test_a=x[400:], target="x1")
    >>> list(scores) == [key for key in METRICS if key != "tstr_auc"]
    True
    """
    return scores_and_errors(space, samples, train=train, test_a=test_a, target=target, seed=seed, threads=threads)[0]


def scores_and_errors(
    space: Space,
    samples: Tensor,
    *,
    train: Tensor,
    test_a: Tensor,
    target: str | int | None = None,
    seed: int = 0,
    threads: int | None = None,
) -> tuple[dict[str, float], dict[str, float]]:
    """Return the metrics as `score_samples` does, and the standard errors over rows of those whose errors are known."""
    from threadpoolctl import threadpool_limits

    samples, train, test_a = (x.detach().cpu() for x in (samples, train, test_a))
    for name, x in (("samples", samples), ("train", train), ("test_a", test_a)):
        space.check(x, name)
        if len(x) < LEAST:
            raise DataError(f"Metrics need {LEAST} or more rows; {name} has {len(x)}. Draw or hold out more.")
    generator = torch.Generator().manual_seed(seed)
    samples, test = (x[torch.randperm(len(x), generator=generator)] for x in (samples, test_a))
    n = min(len(samples), len(test))
    few = min(n, ROWS, max(500, CELLS // space.dim))
    near = min(n, NEIGHBOURS)
    with threadpool_limits(threads):
        told = two_sample(space, test[:few], samples[:few], seed)
        # What lies below 0 bounds nothing that 0 does not.
        scores = {"c2st": told.auc.value, "jensen_shannon": max(0.0, told.jensen_shannon.value)}
        errors = {"c2st": told.auc.error, "jensen_shannon": told.jensen_shannon.error}
        f, g = features(space, samples[: min(n, ROWS)]), features(space, test[: min(n, ROWS)])
        scores["energy"] = energy_distance(f, g).item()
        # p = 1, since one row in a heavy tail can decide p = 2: two halves of a table then look worse than the baseline.
        scores["sliced_wasserstein"] = sliced_wasserstein(f, g, p=1, seed=seed).item()
        scores["w1"] = transport(f[:COUPLED], g[:COUPLED]).distance.item()
        # The critic of norm 1 by construction: no penalty to balance, and its bound is one.
        real, fake = g[:NEIGHBOURS].float(), f[:NEIGHBOURS].float()
        with torch_threads(1):  # since what a net learns depends on how its sums are split
            critic = dual(real, fake, "spectral-norm", hidden=(32, 32), steps=STEPS, seed=seed)
        scores["w1_dual"] = max(0.0, critic.estimate.value)
        scores |= precision_recall_density_coverage(space, test[:near], samples[:near])._asdict()
        if target is not None:
            column = space.index(target) if isinstance(target, str) else target
            key = transfer_key(space.kinds[column])
            learnt = transfer(space, column, samples[:LEARNT], test[:LEARNT], seed)
            scores[key], errors[key] = learnt.value, learnt.error
        scores |= memorisation(space, samples[:near], train, test, seed)._asdict()
    return scores, errors


def independent_columns(x: Tensor, n: int, seed: int = 0) -> Tensor:
    """Draw n rows, every coordinate from x (N, *shape) by itself: perfect marginals without structure, the baseline of metrics.

    >>> independent_columns(torch.tensor([[0, 10], [1, 11]]), 1000).unique(dim=0).tolist()
    [[0, 10], [0, 11], [1, 10], [1, 11]]
    """
    if not len(x):
        raise DataError("independent_columns needs rows to draw from; there are none.")
    flat = x.reshape(len(x), -1)
    rows = torch.randint(len(x), (n, flat.shape[1]), generator=torch.Generator().manual_seed(seed)).to(x.device)
    return flat.gather(0, rows).reshape(n, *x.shape[1:])
