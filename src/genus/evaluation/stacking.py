"""Add the stack of the families of a comparison as one more row, for which nothing is fitted again.

A mixture of densities needs their log-densities alone: weights come from those of validation rows, the row from those
of held-out rows, and a draw of the mixture is a draw of one member.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import torch

from genus.data import Dataset
from genus.evaluation.protocol import Protocol, pictured
from genus.evaluation.results import Row
from genus.evaluation.rows import trials_row
from genus.evaluation.scoring import examine_samples
from genus.evaluation.trial import Trial
from genus.models.weights import mixture_weights

__all__ = ["STACKED", "stack_row"]

STACKED = "stack of "  # what the name of such a row begins with
LEAST = 0.02  # of all weight, below which a member is left out
MOST = 5  # members


def stack_row(
    protocol: Protocol, rows: Sequence[Row], trials: Sequence[Trial], held: Dataset
) -> tuple[Row | None, list[Trial], dict[str, float]]:
    """Return the row of the stack of the exact families, its trials, and the weights of its members with the first seed.

    Args:
        protocol: of the comparison, with `stacked` set.
        rows: of the families.
        trials: that they are the means of.
        held: the held-out rows.

    Returns:
        None, no trials and no weights where there are no two families that a mixture is better with.
    """
    exact = [row for row in rows if row.has_density and row.label == "exact" and not row.accused and row.family != "stack"]
    each = {row.family: {t.seed: t for t in trials if t.family == row.family and not t.error} for row in exact}
    usable = [name for name, found in each.items() if found and all(_is_whole(t) for t in found.values())]
    seeds = sorted(set.intersection(*(set(each[name]) for name in usable))) if len(usable) > 1 else []
    if not seeds:
        return None, [], {}
    shares = np.mean([_weights([each[name][seed] for name in usable]) for seed in seeds], axis=0)
    order = sorted(range(len(usable)), key=lambda i: -shares[i])
    chosen = [usable[i] for i in order if shares[i] >= LEAST][:MOST]
    if len(chosen) < 2:
        return None, [], {}
    name = f"{STACKED}{' + '.join(chosen)}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stacked = [_stacked(protocol, name, [each[one][seed] for one in chosen], seed) for seed in seeds]
    row = trials_row((name, "a mixture of families that were fitted here", "tractable · stacks"), "exact", stacked, held)
    row.by_steps = False
    weights = _weights([each[one][seeds[0]] for one in chosen])
    return row, stacked, dict(zip(chosen, weights.tolist(), strict=True))


def _is_whole(trial: Trial) -> bool:
    """Return whether a trial kept what a stack needs, and has a finite log-density of every held-out row."""
    return (
        trial.validation is not None
        and trial.drawn is not None
        and trial.log_density is not None
        and bool(np.isfinite(trial.log_density).all())
    )


def _weights(members: Sequence[Trial]) -> np.ndarray:
    scores = np.stack([trial.validation for trial in members if trial.validation is not None], axis=1)
    return mixture_weights(torch.from_numpy(scores)).numpy()


def _stacked(protocol: Protocol, name: str, members: Sequence[Trial], seed: int) -> Trial:
    """Return the trial of a stack with one seed: it took as long as its members."""
    weights = _weights(members)
    trial = Trial(name, seed, parameters=sum(member.parameters for member in members) + len(members))
    with np.errstate(divide="ignore"):
        log_weights = np.log(weights)
    scores = np.stack([member.log_density for member in members if member.log_density is not None])
    trial.log_density = np.logaddexp.reduce(scores + log_weights[:, None], axis=0)
    trial.validation = np.logaddexp.reduce(
        np.stack([m.validation for m in members if m.validation is not None]) + log_weights[:, None]
    )
    trained = [member.train_log_density for member in members if member.train_log_density is not None]
    if len(trained) == len(members):
        trial.train_log_density = float(np.dot(weights, trained))  # at least this, by Jensen's inequality
    trial.history.seconds = sum(member.history.seconds for member in members)
    trial.history.stopped = "its members'"
    trial.processor_seconds = sum(member.processor_seconds for member in members)
    trial.memory = max(member.memory for member in members)
    drawn = torch.stack([member.drawn[: protocol.sample_count] for member in members if member.drawn is not None])
    generator = torch.Generator().manual_seed(seed)
    of = torch.multinomial(torch.from_numpy(weights), drawn.shape[1], replacement=True, generator=generator)
    joint = drawn[of, torch.arange(drawn.shape[1])]
    trial.metrics, trial.errors, trial.findings, trial.telling = examine_samples(protocol, joint, attacked=False)
    space = protocol.train.space
    trial.samples = joint[: pictured(space)].flatten(1)[:, : space.dim].reshape(-1, *space.shape).clone()
    return trial
