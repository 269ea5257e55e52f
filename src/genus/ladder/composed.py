"""Learning as several models together, each in its own way."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor

from genus.ladder.base import GenerativeModel
from genus.ladder.density import BOUND_DRAWS, ApproximateDensity

__all__ = ["Composed"]


class Composed(ABC):
    """Learns by training its members one after the other, and then by combining them.

    A subclass, which is also a model, must give

    - `fits`: the models to train, a list for each member: one model, or one for each fold where folds are crossed;
    - `combine(log_densities, acceptances)`: set what it learns from the members' log-densities of rows that did not train them;
    - `weights`: what it has learned of each member, by name;
    - `score(member, x, c, seed)`, where it weights its members by something else than the log-densities of whole rows.
    """

    @property
    @abstractmethod
    def fits(self) -> list[list[GenerativeModel]]:
        """Return the models of each member, as many as there are folds."""

    def score(self, member: ApproximateDensity, x: Tensor, c: Tensor | None, seed: int) -> Tensor:
        """Return what a member thinks of rows x, (B,) or (B, T) nats; of a bound, its estimate from `BOUND_DRAWS` draws."""
        return member.log_evidence(x, c, BOUND_DRAWS, seed=seed)

    @abstractmethod
    def combine(self, log_densities: Tensor, acceptances: Sequence[Sequence[float]]) -> Tensor:
        """Combine the members, and return the log-densities that rows, or elements, have by them together, (N,) in nats.

        Args:
            log_densities: (N, members), or (N, T, members) in nats, by `score`, of rows that trained none of the models that
                they are scored by; -inf for a member that is to be left out.
            acceptances: of each model of `fits`, the share of its draws that obey the constraints of the data, by which the
                log-densities are divided; 0 for a model that is to be left out.
        """

    @property
    @abstractmethod
    def weights(self) -> dict[str, float]:
        """Return the weight of every member, by the name of its family."""
