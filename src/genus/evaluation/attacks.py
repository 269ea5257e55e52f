"""Attack samples and models: how well does somebody who has them tell training rows from other real rows?

Distances alone say nothing of privacy: samples that pass them are open to attacks (Yao et al. 2025, arXiv:2505.01524). No
single attack is the strongest everywhere, so several are tried and the worst counts (Ward et al. 2025, arXiv:2509.18014).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from genus.evaluation.figures import percent
from genus.evaluation.findings import Finding
from genus.evaluation.intervals import auc_error
from genus.evaluation.metrics import Metric
from genus.evaluation.neighbours import features, nearest
from genus.models import Mixture
from genus.random import isolated
from genus.space import Space
from genus.training import fit

__all__ = ["ATTACKS", "Suspects", "attack", "find_betrayal", "suspects"]

ROWS = 1_000  # of each kind
SAMPLES = 2_000
LEAST = 20  # rows of each kind, below which nothing is said
PRECISE = 100  # other real rows, from which on one of a hundred false positives can be counted
ALARMS = 0.01  # false positives
COMPONENTS = 8  # of the attacker's mixture
LONG = 100  # columns, up to which the attacker fits mixtures
# A flaw is an AUC from .75 on, or a twentieth of the training rows found at that share of false alarms, and beyond chance by
# four standard errors. Few rows are a little likelier in training than beside it under any family, which finds nobody.
BETRAYED, FOUND, SIGMAS = 0.75, 0.05, 4.0

ATTACKS: dict[str, Metric] = {
    "attack_auc": Metric(
        "Worst attack, AUC",
        "The highest AUC of the attacks beside it, which tell training rows from other real rows: 0.5 is chance.",
        "membership",
        "lower",
        0.5,
    ),
    "attack_tpr": Metric(
        "Found at 1 % false alarms",
        "The share of training rows that this attack finds where it takes one of a hundred other real rows for one.",
        "membership",
        "lower",
        ALARMS,
    ),
    "attack_likelihood": Metric(
        "By likelihood",
        "AUC of the model's own log-density: what it has learned by heart it finds likelier than other rows.",
        "membership",
        "lower",
        0.5,
    ),
    "attack_ratio": Metric(
        "By density ratio",
        "AUC of the ratio of a mixture that the attacker fits to samples to one that he fits to real rows of his own.",
        "membership",
        "lower",
        0.5,
    ),
    "attack_nearest": Metric(
        "By nearest sample",
        "AUC of how much nearer a row lies to a sample than to a real row that the attacker has.",
        "membership",
        "lower",
        0.5,
    ),
}


class Suspects(NamedTuple):
    """Hold the rows of an attack: what is to be told apart, what the attacker has, and honest rows.

    Attributes:
        members: (N, *shape), training rows.
        others: (M, *shape), held-out rows.
        known: (M, *shape), further held-out rows, which the attacker has.
        honest: (M, *shape), further held-out rows, which stand for samples that betray nobody.
        positions: (M,) of `others` among the held-out rows.
    """

    members: Tensor
    others: Tensor
    known: Tensor
    honest: Tensor
    positions: Tensor


def suspects(train: Tensor, held: Tensor, most: float = ROWS) -> Suspects | None:
    """Return the rows of an attack; None where they are too few.

    Args:
        train: (N, *shape), in random order, of which the first are the members.
        held: (M, *shape), of which a third each are others, known and honest.
        most: rows of each kind, where time is short.
    """
    order = torch.randperm(len(held), generator=torch.Generator().manual_seed(0))
    most = int(max(LEAST, min(most, ROWS)))
    each = min(len(held) // 3, most)
    if min(each, len(train)) < LEAST:
        return None
    others, known, honest = order[: 3 * each].view(3, each)
    return Suspects(train[:most], held[others], held[known], held[honest], others)


def attack(
    space: Space, samples: Tensor, rows: Suspects, likelihood: tuple[np.ndarray, np.ndarray] | None = None
) -> tuple[dict[str, float], dict[str, float]]:
    """Return the membership metrics of samples, and their standard errors over rows.

    Args:
        space: of the rows.
        samples: (n, *shape).
        rows: as `suspects` returns them.
        likelihood: the log-densities of members and of others, (N,) and (M,); None of samples without a model.

    >>> from genus.space import Real
    >>> x = torch.randn(300, 2, generator=torch.Generator().manual_seed(0))
    >>> plane = Space([Real(), Real()])
    >>> found = attack(plane, x[:100], suspects(x[:100], x[100:]))[0]  # a copier
    >>> found["attack_nearest"] > 0.95
    True
    """
    from sklearn.metrics import roc_curve

    with isolated(0):
        samples = samples[torch.randperm(len(samples))[:SAMPLES]]
    truth = np.repeat([1, 0], [len(rows.members), len(rows.others)])
    told: dict[str, np.ndarray] = {}
    if likelihood is not None:
        told["attack_likelihood"] = np.nan_to_num(np.concatenate(likelihood), nan=-1e9)
    if not space.sequence:
        told["attack_nearest"] = _nearer(space, samples, rows)
        if space.dim <= LONG and Mixture.refusal(space) is None:
            told["attack_ratio"] = _ratio(space, samples, rows)
    if not told:
        return {}, {}
    scores, errors = {}, {}
    for key, values in told.items():
        scores[key] = _auc(truth, values)
        errors[key] = auc_error(len(rows.members), scores[key], len(rows.others))
    worst = max(told, key=lambda key: scores[key])
    scores["attack_auc"], errors["attack_auc"] = scores[worst], errors[worst]
    if len(rows.others) >= PRECISE:
        false, true, _ = roc_curve(truth, told[worst])
        share = float(true[false <= ALARMS].max())
        scores["attack_tpr"] = share
        errors["attack_tpr"] = math.sqrt((share * (1 - share) + ALARMS) / len(rows.members))
    return scores, errors


def find_betrayal(scores: dict[str, float], errors: dict[str, float]) -> list[Finding]:
    """Return a flaw where an attack tells training rows from others far better than chance."""
    auc, error = scores.get("attack_auc", 0.5), errors.get("attack_auc", math.inf)
    if (auc < BETRAYED and scores.get("attack_tpr", 0.0) < FOUND) or auc - 0.5 <= SIGMAS * error:
        return []
    how = {"attack_likelihood": "its likelihood", "attack_ratio": "a density ratio", "attack_nearest": "the nearest sample"}
    by = next(words for key, words in how.items() if scores.get(key) == auc)
    said = f"an attacker tells training rows from other real rows with AUC {auc:.2f}, by {by}"
    if "attack_tpr" in scores:
        said += f", and finds {percent(scores['attack_tpr'])} of them at 1 % false alarms"
    return [Finding("flaw", "membership", said, {key: value for key, value in scores.items() if key in ATTACKS})]


def _auc(truth: np.ndarray, values: np.ndarray) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(truth, values))


def _nearer(space: Space, samples: Tensor, rows: Suspects) -> np.ndarray:
    """Return for members and others how much nearer they lie to a sample than to a known row, as a log-ratio."""
    x = features(space, torch.cat([rows.members, rows.others]))
    tiny = 1e-6
    to_sample, to_known = (nearest(x, features(space, other)) for other in (samples, rows.known))
    return ((to_known + tiny).log() - (to_sample + tiny).log()).numpy()


def _ratio(space: Space, samples: Tensor, rows: Suspects) -> np.ndarray:
    """Return for members and others the log-ratio of a mixture of samples to one of rows that the attacker has.

    As in DOMIAS (van Breugel et al. 2023, arXiv:2302.12580), with a density of genus.
    """
    x = torch.cat([rows.members, rows.others])
    values = []
    for learnt in (samples, rows.known):
        with isolated(0):
            model = Mixture(space, components=COMPONENTS, covariance="diagonal", shrinkage=1.0, pool=1.0)
        fit(model, learnt, validation=None, progress=False, seed=0)
        with torch.no_grad():
            values.append(model.log_prob(x.to(space.dtype)).double().clamp(min=-1e9))
    return (values[0] - values[1]).numpy()
