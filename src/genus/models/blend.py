"""Blends: models of sequences that are mixed symbol by symbol."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from genus.errors import DataError
from genus.ladder import ApproximateDensity, registered_family
from genus.models.chain_rule import ChainRule
from genus.models.sampling import GenerationOptions
from genus.models.stack import Stacked
from genus.nets.heads import Coordinates, SamplingOptions
from genus.random import gumbel_like
from genus.space import Lattice, Space

__all__ = ["Blend"]

MEMBERS = ("markov", "gpt")
MOST_SYMBOLS = 1024  # of which every step may need all probabilities of every member


class Blend(Stacked, ChainRule, name="blend"):
    """Mix the conditionals of several models of sequences: p(x_t | past) = sum_m w_m p_m(x_t | past) (linear interpolation;
    Jelinek & Mercer 1980).

    A `Stack` believes in one member for a whole sequence; a blend may take a word's spelling from counts and what the word is
    from a net. `fit` trains the members one after the other, those that count first, which leave their time to the others, and
    weights them by EM on the symbols of the validation rows. Weights that are no better on symbols that did not fit them than
    the best member alone give it all weight.

    Args:
        members: the names of families that are chain rules of sequences, or their names and hyper-parameters; None: a Markov
            chain, where there is no context, and a transformer.
        folds: as of a `Stack`.
        rows: likewise.

    >>> from genus import Category, Space
    >>> letters = Space(Category(("a", "b", None)), shape=(5,), sequence=True)
    >>> model = Blend(letters, members=["markov", {"class": "gpt", "width": 8, "layers": 1, "heads": 2}])
    >>> model.weights
    {'markov': 0.5, 'gpt': 0.5}
    """

    info = ChainRule.info.replace(
        title="a mixture of families, symbol by symbol",
        group="stacks",
        takes="text and other sequences of symbols",
        sequences=True,
        formula="p(x) = ∏ₜ Σₖ wₖ pₖ(xₜ | x₁ … xₜ₋₁)",
        good="text: a Markov chain and a transformer together",
        bad="time and memory: all members are fitted and kept",
    )

    @classmethod
    def default_members(cls, space: Space, context: Space | None = None) -> list[str]:
        """Return the names of the families that a blend of this space has by default."""
        return [name for name in MEMBERS if registered_family(name).refusal(space, context) is None]

    @classmethod
    def default_hyperparameters(cls, space: Space, rows: int) -> dict[str, Any]:
        return {"rows": max(rows, 1)}

    @classmethod
    def limits(cls, space: Space, context: Space | None = None) -> str | None:
        if not space.sequence or not space.is_discrete:
            return "it mixes the probabilities of symbols, and these are no sequences of symbols"
        if len(symbols(space)) > MOST_SYMBOLS:
            return f"it mixes the probabilities of symbols, {MOST_SYMBOLS:,} at most, and there are {len(symbols(space)):,}"
        return super().limits(space, context)

    def _member(self, described: str | Mapping[str, Any], rows: int) -> ApproximateDensity:
        model = super()._member(described, rows)
        if not isinstance(model, ChainRule):
            raise DataError(f"A blend mixes conditionals, and {model.family_name} has none; leave it out of members.")
        return model

    # -- learning -----------------------------------------------------------------------------------------------------

    def score(self, member: Any, x: Tensor, c: Tensor | None, seed: int) -> Tensor:
        """Return a member's log-probability of every symbol of rows, (B, T) in nats."""
        return member.log_conditionals(x, c)

    def combine(self, log_densities: Tensor, acceptances: Sequence[Sequence[float]]) -> Tensor:
        table = log_densities.flatten(0, -2)
        return super().combine(table[(table != 0).any(1)], acceptances)  # after the end all are certain, and nothing is told

    # -- density and sampling -----------------------------------------------------------------------------------------

    def _log_conditionals(self, x: Tensor, c: Tensor | None) -> Tensor:
        return self._mixed(lambda model: model._log_conditionals(x, c).flatten()).view(x.shape)

    def _log_prob(self, x: Tensor, c: Tensor | None) -> Tensor:
        return ChainRule._log_prob(self, x, c)

    def _elbo(self, x: Tensor, c: Tensor | None) -> Tensor:
        return self._log_prob(x, c)

    def _sample(self, n: int, c: Tensor | None) -> Tensor:
        return self._draw(n, c, None, GenerationOptions(self.space.dim))

    def _steps(self, n: int, c: Tensor | None, prefix: Tensor | None) -> Generator[Any, Tensor, None]:
        live, each = self._live, self._models
        log_weights = self.log_weights[live]
        steps = [each[i]._steps(n, c, prefix) for i in live]  # type: ignore[operator]
        following = [next(one) for one in steps]
        values = symbols(self.space).to(self.device)
        while True:
            value = yield BlendedSymbol(following, log_weights, values)
            following = [one.send(value) for one in steps]


class BlendedSymbol:
    """Hold the distribution of the symbol that follows each of n contexts, a mixture of those of several models.

    Args:
        each: the members' distributions.
        log_weights: (members,).
        values: of all symbols, (V,).
    """

    def __init__(self, each: Sequence[Coordinates], log_weights: Tensor, values: Tensor) -> None:
        self.each, self.log_weights, self.values = each, log_weights, values

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-probability of value (n, 1), in nats."""
        logs = [one.log_prob(value).double() + weight for one, weight in zip(self.each, self.log_weights, strict=True)]
        return torch.stack(logs).logsumexp(0)

    def sample(self, options: SamplingOptions) -> Tensor:
        """Draw one symbol after each context: (n, 1)."""
        if options == SamplingOptions():  # of a member that is drawn first: the other symbols' probabilities are not needed
            drawn = torch.stack([one.sample(options) for one in self.each])  # (members, n, 1)
            rows = self.log_weights.expand(drawn.shape[1], -1)
            of = (rows + gumbel_like(rows)).argmax(1)
            return drawn.gather(0, of[None, :, None])[0]
        n = len(self.each[0].sample(options))
        log_p = options.cells(torch.cat([self.log_prob(value.expand(n, 1)) for value in self.values], dim=1))
        return self.values[(log_p + gumbel_like(log_p)).argmax(1, keepdim=True)]


def symbols(space: Space) -> Tensor:
    """Return the value of every symbol of sequences, (V,).

    >>> symbols(Space(Lattice(2, 4), shape=(9,), sequence=True)).tolist()
    [2.0, 3.0, 4.0]
    """
    kind = space.kinds[0]
    if not isinstance(kind, Lattice):
        return torch.arange(kind.states, dtype=space.dtype)
    values = kind.low + kind.step * torch.arange(kind.size, dtype=torch.float64)
    return torch.cat([values, values.new_tensor([a for a in kind.atoms if a not in values.tolist()])]).to(space.dtype)
