"""Models with a density: bounded (`ApproximateDensity`) or exact (`TractableDensity`)."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from genus.errors import DataError, GenusError
from genus.ladder.base import GenerativeModel
from genus.ladder.functions import check_count, check_shape, map_batches
from genus.ladder.imputation import Imputation, Marginals
from genus.ladder.loss import Loss
from genus.ladder.related import fill_related
from genus.ladder.resampling import proposal_for, resample, shared_filler
from genus.ladder.unknown import Filled, rarely_alike, with_each_value
from genus.random import isolated

__all__ = ["BOUND_DRAWS", "ApproximateDensity", "TractableDensity"]

BOUND_DRAWS = 16  # importance weights by which bounds are estimated, wherever rows are scored
VALUES_AT_ONCE = 50_000  # rows times values of a column whose densities are computed together
AT_ONCE = 2**21  # the most entries, rows x columns x draws, whose importance weights are computed together: 8 MB, in caches


class ApproximateDensity(GenerativeModel):
    """Gives a model a lower bound of its log-density, `elbo`, and an estimate, `log_evidence`.

    A subclass must give `_elbo(x, c)`, (B,) in nats, beside `_sample`. Each call is one draw of the log of an importance
    weight, log p(x, z) - log q(z | x) of a fresh z: its mean is the bound, and the log of the mean of many weights is the
    evidence. A subclass whose many draws are cheaper together overrides `_log_weights`.

    It may give `_elbo(x, c, noise=None)`, which makes z of `noise`, and `_noise(n)`, which draws that for n rows. Given the
    noise, the bound is then a function of its arguments alone, which PyTorch can compile, export and vmap.
    """

    info = GenerativeModel.info.replace(likelihood="bound")
    draws_given_others = True  # by resampling with importance weights; see `Imputation`

    @abstractmethod
    def _elbo(self, x: Tensor, c: Tensor | None) -> Tensor:
        """Return one draw of the log importance weight of each row, (B,) in nats."""

    def losses(self) -> list[Loss]:
        return [Loss("elbo", self.parameters(), lambda x, c: -self._elbo(x, c).mean())]

    @torch.no_grad()
    def criterion(self, x: Tensor, c: Tensor | None = None) -> float | None:
        """Return the mean of minus the bound over the rows, in nats a row."""
        return -map_batches(self.elbo, x, c).mean().item()

    def _noise(self, n: int) -> Tensor:
        """Return the random numbers from which `_elbo` makes one draw for each of n rows, (n, ...)."""
        raise GenusError(f"{type(self).__name__} draws its noise itself; leave noise out, and repeat a draw by its seed.")

    def draw_noise(self, n: int, seed: int | None = None) -> Tensor:
        """Draw the noise from which `elbo` makes one draw for each of n rows.

        Args:
            n: the number of rows.
            seed: repeats the draw.

        Returns:
            (n, ...): standard normal or uniform numbers, as the family needs them.

        Raises:
            GenusError: the family draws its noise itself.
        """
        with isolated(seed, self):
            return self._noise(check_count(n))

    def elbo(self, x: Tensor, c: Tensor | None = None, seed: int | None = None, noise: Tensor | None = None) -> Tensor:
        """Return one draw of a lower bound of log p(x|c): its mean over draws is at most that, a single draw may be more.

        Training and evaluation mode give the same by the same seed, unless the model was made with dropout. Constants are
        included.

        Args:
            x: rows (B, *shape) in data units.
            c: the context, (B, *context.shape) or one row for all; None for a model without context.
            seed: repeats the draw; None: torch's global random numbers.
            noise: what `draw_noise(B)` drew; the bound is then a function of its arguments, which PyTorch can compile, export
                and vmap. None: drawn anew.

        Returns:
            (B,) in nats.

        Raises:
            DataError: x or c does not fit the model's space.
        """
        x, c = self._check(x, c)
        if noise is not None:
            bound = self._elbo(x, c, noise)  # type: ignore[call-arg]
        else:
            with isolated(seed, self):
                bound = self._elbo(x, c)
        return check_shape(bound, (len(x),), f"{type(self).__name__}._elbo") - math.log(self.acceptance)

    # Hooks of `Imputation` that need a density: it calls them where the family has no exact method of its own.

    def _given_known(self, known: Any, c: Tensor | None) -> Filled:
        return fill_related(self, known, c)

    def _resampled(self, x: Tensor, columns: list[int], c: Tensor | None, blanks: bool) -> Filled:
        return resample(self, proposal_for(self, c), x, columns, c, blanks)

    @property
    def _draws_any(self) -> bool:
        """Return whether the family has a way of its own to draw any columns given the others."""
        return type(self)._conditional is not Imputation._conditional

    def _filler(self, x: Tensor, missing: Tensor, c: Tensor | None) -> Callable[[], Filled]:
        """Return a function that fills rows: those that lack the same columns by the family's own way, others by candidates.

        The family's own way takes one set of columns at a time, so it takes hours where nearly every row lacks another set.
        """
        apart = rarely_alike(missing)
        if self._draws_any or not len(apart):
            return super()._filler(x, missing, c)
        alike = missing.clone()
        alike[apart] = False
        own = super()._filler(x, alike, c)
        shared = shared_filler(self, x[apart], missing[apart], None if c is None else c[apart])

        def draw() -> Filled:
            found = own()
            for part, values in zip(found, shared(), strict=True):
                part[apart] = values.to(part)
            return found

        return draw

    def _log_weights(self, x: Tensor, c: Tensor | None, samples: int) -> Tensor:
        """Return draws of the log importance weight of each row, (samples, B) in nats."""
        return torch.stack([self._elbo(x, c) for _ in range(samples)])

    def log_evidence(self, x: Tensor, c: Tensor | None = None, samples: int = 64, seed: int | None = None) -> Tensor:
        """Return an estimate of log p(x|c): the log of the mean of `samples` importance weights.

        Its expectation is a lower bound that tightens with `samples` (Burda et al. 2016, arXiv:1509.00519); `importance` gives
        the effective number of samples too.

        Args:
            x, c, seed: as for `elbo`.
            samples: importance weights for each row.

        Returns:
            (B,) in nats.
        """
        return self.importance(x, c, samples, seed)[0]

    @torch.no_grad()
    def importance(
        self, x: Tensor, c: Tensor | None = None, samples: int = 64, seed: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return `log_evidence` and the effective number of its weights: how many equal weights would be as precise.

        A small effective number (Kong 1992) says that the estimate is not to be trusted.

        Args:
            x, c, samples, seed: as for `log_evidence`.

        Returns:
            (B,) in nats, and (B,) from 1 to `samples`.

        Raises:
            DataError: x or c does not fit the model's space.
            GenusError: `samples` is less than 1.
        """
        if samples < 1:
            raise GenusError(f"samples is how many importance weights are averaged, 1 or more; got {samples}.")
        x, c = self._check(x, c)
        at_once = max(1, AT_ONCE // max(len(x) * self.space.dim, 1))  # draws
        with isolated(seed, self):
            parts = [self._log_weights(x, c, min(at_once, samples - start)) for start in range(0, samples, at_once)]
        log_sum = torch.stack([part.logsumexp(0) for part in parts]).logsumexp(0)
        log_sum_of_squares = torch.stack([(2 * part).logsumexp(0) for part in parts]).logsumexp(0)
        effective = (2 * log_sum - log_sum_of_squares).exp()  # (sum w)^2 / sum w^2
        # Draws that break a constraint are rejected, so a density is divided by the share that is accepted: see `Rejection`.
        return log_sum - math.log(samples) - math.log(self.acceptance), effective

    def class_log_probs(self, x: Tensor) -> Tensor:
        """Return log p(y|x) for each level y of the one categorical context, by Bayes' rule p(y|x) ~ p(y) p(x|y).

        It is as exact as `class_log_joint`, whose arguments and errors it has.

        Returns:
            (B, levels) in nats.
        """
        return self.class_log_joint(x).log_softmax(1)

    def class_log_joint(self, x: Tensor) -> Tensor:
        """Return log p(y) p(x|y) for each level y of the one categorical context, with the frequencies of training as p(y).

        It is exact where the log-density is; otherwise `log_evidence` stands in for it, with the same noise for every class.

        Args:
            x: rows (B, *shape) in data units.

        Returns:
            (B, levels) in nats.

        Raises:
            DataError: the context is not one categorical column.
        """
        if self.context is None or self.context_counts is None:
            raise DataError("Only a model whose context is one categorical column is a classifier; build it with that context.")
        prior = (self.context_counts / self.context_counts.sum()).log()
        labels = (torch.full((1, 1), float(y), dtype=self.context.dtype) for y in range(len(prior)))
        log_likelihoods = [self.log_evidence(x, c, seed=0) for c in labels]  # (B,) of each label
        return torch.stack(log_likelihoods, dim=1) + prior.to(log_likelihoods[0].dtype)


class TractableDensity(Marginals, ApproximateDensity):
    """Gives a model its exact log-density, `log_prob`: bound and evidence are the log-density itself.

    A subclass must give `_log_prob(x, c)`, (B,) in nats and in data units, beside `_sample`. `Marginals` (ladder/imputation.py)
    names the methods by which a subclass leaves columns out, or draws some given others.
    """

    info = ApproximateDensity.info.replace(likelihood="exact")

    @abstractmethod
    def _log_prob(self, x: Tensor, c: Tensor | None) -> Tensor:
        """Return the log-density of rows that were checked, (B,) in nats."""

    def losses(self) -> list[Loss]:
        return [Loss("nll", self.parameters(), lambda x, c: -self._log_prob(x, c).mean())]

    def log_prob(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        """Return log p(x|c), exact, in data units (`Space` fixes the base measure).

        Training and evaluation mode give the same, unless the model was made with dropout.

        Args:
            x: rows (B, *shape) in data units.
            c: the context, (B, *context.shape) or one row for all; None for a model without context.

        Returns:
            (B,) in nats.

        Raises:
            DataError: x or c does not fit the model's space.
        """
        x, c = self._check(x, c)
        return check_shape(self._log_prob(x, c), (len(x),), f"{type(self).__name__}._log_prob") - math.log(self.acceptance)

    def log_values(self, x: Tensor, i: int, values: Tensor, c: Tensor | None = None) -> Tensor:
        """Return the log-density of rows of a table with each of some values in column i.

        Args:
            x: rows (B, D) in data units, of which column i holds any value that is possible.
            i: the column.
            values: (K,) in data units.
            c: the context, as for `log_prob`.

        Returns:
            (B, K) in nats. Families whose density factorises over columns compute the other columns' part once, not K times.
        """
        x, c = self._check(x, c)
        log_probs = self._log_values(x, i, values, c)
        return check_shape(log_probs, (len(x), len(values)), f"{type(self).__name__}._log_values") - math.log(self.acceptance)

    def _log_values(self, x: Tensor, i: int, values: Tensor, c: Tensor | None) -> Tensor:
        """Return the log-density (B, K) of rows that were checked with each of these values in column i."""

        def log_prob_of_values(x: Tensor, c: Tensor | None) -> Tensor:
            """Return (B, K) for some of the rows: each is repeated K times, once for every value."""
            contexts = None if c is None else c.repeat_interleave(len(values), 0)
            return self._log_prob(with_each_value(x, i, values), contexts).view(len(x), -1)

        return map_batches(log_prob_of_values, x, c, max(1, VALUES_AT_ONCE // len(values)))

    def _elbo(self, x: Tensor, c: Tensor | None) -> Tensor:
        # The bound is tight: with no z, the one importance weight is the density itself.
        return check_shape(self._log_prob(x, c), (len(x),), f"{type(self).__name__}._log_prob")

    def log_evidence(self, x: Tensor, c: Tensor | None = None, samples: int = 1, seed: int | None = None) -> Tensor:
        """Return the exact log-density, (B,) in nats; `samples` and `seed` change nothing."""
        return self.log_prob(x, c)
