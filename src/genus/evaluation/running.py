"""Run the trials of a comparison, several at once in processes of their own, and say how each ended."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from genus.configurable import classes
from genus.evaluation.cluster import Cluster
from genus.evaluation.protocol import Protocol
from genus.evaluation.trial import INTERRUPTED, Trial, run_trial
from genus.evaluation.workers import Bundle, Parcel
from genus.ladder import GenerativeModel, registered_families
from genus.notebook import printable

__all__ = ["Family", "Runner", "Say", "line_printer", "warm_up"]

Family = type[GenerativeModel]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Runner:
    """Run trials, several at once, and say how each ended.

    Args:
        jobs: processes at once.
        baseline: the name of the family without which there is nothing to report.
        say: is called with a line for each trial.
        cluster: of other machines, that run the trials; None: processes of this one.
    """

    jobs: int
    baseline: str
    say: Say
    cluster: Cluster | None = None

    def run(
        self,
        protocol: Protocol,
        work: Sequence[tuple[Family, int]],
        ended: Callable[[Sequence[Trial]], None] = lambda trials: None,
        before: Sequence[Trial] = (),
    ) -> list[Trial]:
        """Return all trials by seed; where Ctrl-C ends them, those that have not ended are errors.

        Args:
            protocol: of the comparison.
            work: families and seeds.
            ended: is called after each trial with all that have ended.
            before: trials that ended before these, the baseline's among them perhaps.

        Raises:
            KeyboardInterrupt: Ctrl-C came before the baseline had ended.
        """
        at_most = max(0.0, min(math.ceil(len(work) / self.jobs) * protocol.budget, protocol.deadline - time.time()))
        whole = f"{at_most:.0f} s" if at_most < 120 else f"{at_most / 60:.0f} minutes"
        self.say(
            f"{len(work)} fits of {protocol.budget:g} s at most, {self.jobs} at once: {whole} at most, and evaluating them"
        )
        trials: list[Trial] = []
        try:
            for trial in self._trials(protocol, work):
                trials.append(trial)
                self.say(f"[{len(trials)}/{len(work)}] {_summary(trial)}")
                ended(trials)
        except KeyboardInterrupt:
            done = {(trial.family, trial.seed) for trial in trials}
            if not any(trial.family == self.baseline and not trial.error for trial in (*before, *trials)):
                raise KeyboardInterrupt("interrupted before there was anything to compare.") from None
            self.say(f"interrupted: the report is of the {len(trials)} fits that have ended")
            open_work = [(cls, seed) for cls, seed in work if (cls.name, seed) not in done]
            trials += [Trial(cls.name, seed, error=INTERRUPTED) for cls, seed in open_work]
        return sorted(trials, key=lambda trial: trial.seed)

    def _trials(self, protocol: Protocol, work: Sequence[tuple[Family, int]]) -> Iterator[Trial]:
        """Yield the trials in the order they end."""
        if self.cluster is not None:
            return _run_on(self.cluster, protocol, work, self.say)
        return _run(protocol, work, self.jobs)


def line_printer(progress: bool | Say) -> Say:
    """Return the function that is called with a line for each step: the caller's, one that prints to stderr, or none."""
    return progress if callable(progress) else _print_line if progress else lambda line: None


def _print_line(line: str) -> None:
    print(printable(line), file=sys.stderr, flush=True)


def warm_up(jobs: int) -> None:
    """Start the worker processes of so many jobs, so that no trial pays for their imports by its own time."""
    if jobs > 1:
        from joblib import Parallel, delayed

        Parallel(n_jobs=jobs)(delayed(_nothing)() for _ in range(jobs))


def _nothing() -> None:
    """Do nothing; a worker that unpickles this function imports this module, and with it all that a trial needs."""


def _run(protocol: Protocol, work: Sequence[tuple[Family, int]], jobs: int) -> Iterator[Trial]:
    """Yield the trials in the order they end; in worker processes where several run at once."""
    if jobs <= 1:
        yield from (run_trial(protocol, cls, seed) for cls, seed in work)
        return
    from joblib import Parallel, delayed

    parcels, own = _parcels(work)
    # Every trial limits its own threads, so that this holds on whatever backend is active (loky, Dask, Ray). Workers may write
    # into their rows, of which they then have a copy.
    parallel, bundle = Parallel(n_jobs=jobs, return_as="generator_unordered", mmap_mode="c"), Bundle.pack(protocol)
    yield from parallel(delayed(_run_with_bundle)(bundle, cls.name, parcels[cls.name], own, seed) for cls, seed in work)


def _parcels(work: Sequence[tuple[Family, int]]) -> tuple[dict[str, Parcel], list[Parcel]]:
    """Return the families of the work by name, and all of the caller's own."""
    own = [Parcel.pack(cls) for cls in registered_families().values() if not cls.__module__.startswith("genus.")]
    return {cls.name: Parcel.pack(cls) for cls, _ in work}, own


def _run_on(cluster: Cluster, protocol: Protocol, work: Sequence[tuple[Family, int]], say: Say) -> Iterator[Trial]:
    """Yield the trials in the order they end, run on other machines; their models are written here."""
    parcels, own = _parcels(work)
    tasks = [(cls.name, parcels[cls.name], seed) for cls, seed in work]
    for (name, _, seed), outcome, reason in cluster.run(_run_far_away, (replace(protocol, folder=None), own), tasks, say):
        trial, model = outcome or (Trial(name, seed, error=reason), None)
        if model is not None and protocol.folder is not None and not protocol.small:
            (Path(protocol.folder) / f"{name}-{seed}.genus").write_bytes(model)
        yield trial


def _run_far_away(
    shared: tuple[Protocol, Sequence[Parcel]], name: str, parcel: Parcel, seed: int
) -> tuple[Trial, bytes | None]:
    """Return a trial and the bytes of its model's file, which the caller's folders are too far away for."""
    protocol, own = shared
    with TemporaryDirectory() as folder:
        trial = _run_in_worker(replace(protocol, folder=folder), name, parcel, own, seed)
        file = Path(folder) / f"{name}-{seed}.genus"
        return trial, file.read_bytes() if file.exists() else None


def _run_with_bundle(bundle: Bundle, name: str, parcel: Parcel, own: Sequence[Parcel], seed: int) -> Trial:
    """Return the trial of a family, whose protocol comes as a bundle."""
    return _run_in_worker(bundle.unpack(), name, parcel, own, seed)


def _run_in_worker(protocol: Protocol, name: str, parcel: Parcel, own: Sequence[Parcel], seed: int) -> Trial:
    """Return the trial of a family, after registering the caller's own families, which one may name another of."""
    try:
        cls = parcel.unpack()
    except Exception as error:  # the caller sees why, instead of a pool of processes that broke
        return Trial(name, seed, error=f"its class could not be sent to a worker process, {type(error).__name__}: {error}")
    for other in own:
        with suppress(Exception):  # it is missed only where the family needs it, and then by name
            family_of_caller = other.unpack()
            classes[family_of_caller.name] = family_of_caller
    classes[name] = cls
    return run_trial(protocol, cls, seed)


def _summary(trial: Trial) -> str:
    head = f"{trial.family}, seed {trial.seed}"
    if trial.error:
        return f"{head}: {'not trained' if trial.not_begun else 'failed'}, {trial.error}"
    if not trial.metrics and trial.validation is not None:
        return f"{head}: {_told(trial, trial.validation.mean(), 'validation row')}, {trial.history.seconds:.1f} s"
    density = "" if trial.log_density is None else f"{_told(trial, trial.log_density.mean(), 'row')}, "
    samples = (
        f"two-sample AUC {trial.metrics['c2st']:.3f}" if "c2st" in trial.metrics else f"{trial.metrics.get('new', 0):.0%} new"
    )
    return f"{head}: {density}{samples}, {trial.history.seconds:.1f} s"


def _told(trial: Trial, mean: float, row: str) -> str:
    """Return a mean log-density in nats a row, with what people compare of sequences and images before it."""
    unit, scale = trial.history.unit, trial.history.scale
    shown = "" if not unit.startswith("bits") else f"{-mean * scale:.3f} {unit}, "
    return f"{shown}{mean:.3f} nats a {row}"
