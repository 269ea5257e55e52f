"""Stacks: mixtures of models of several families, weighted by rows that trained none of them."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from genus.compiled import is_traced
from genus.errors import DataError, GenusError
from genus.ladder import (
    ApproximateDensity,
    Composed,
    Counted,
    GenerativeModel,
    Learned,
    TractableDensity,
    build_family,
    map_batches,
    registered_family,
)
from genus.ladder.unknown import WHO_CAN, Filled, list_columns, rows_by_pattern
from genus.models.chain_rule import nothing_to_learn
from genus.models.dequantised import Dequantised
from genus.models.weights import mixture_weights
from genus.nets.room import is_wide, shrunk
from genus.nets.state import evaluating
from genus.random import gumbel_like
from genus.space import Space

__all__ = ["Stack", "StackOfBounds"]

TABLES = ("mixture", "trees", "made", "nsf")  # the members that are tried by default
IMAGES = ("mixture", "trees", "made", "pixelcnn")
IN_A_STACK: dict[str, dict[str, Any]] = {"trees": {"orders": 3}}  # one order alone is quicker, and the mean of three better
MOST_TREES = 200  # columns, above which trees take too long
FEW_ROWS, FOLDS = 1_500, 5  # up to how many rows a tenth of them is too few to stop by, and the folds that are crossed then
MOST_ROWS = 10**6  # above which no hyper-parameter changes


class Stacked(Composed, ApproximateDensity):
    """Mix members: the base of stacks, whose members may give exact densities or bounds.

    Args:
        members: the names of families, or their names and hyper-parameters, {"class": "made", "hidden": [64]}; None: those
            that suit the space.
        folds: 1: all members are trained on the same rows, and stopped and weighted by the same validation rows. 2 or more:
            the rows are divided into so many folds; a member is as many models, each stopped by one fold and trained on the
            others, and a row is scored by the model that its fold has stopped. The density is the mean of theirs.
        rows: the number of training rows, which sets the hyper-parameters of members given by name alone.
    """

    log_weights: Tensor  # (models,) of all models, those of one member together

    def __init__(
        self,
        space: Space,
        context: Space | None = None,
        members: Sequence[str] | Sequence[dict[str, Any]] | None = None,
        folds: int = 1,
        rows: int = 10_000,
    ) -> None:
        if folds < 1 or rows < 1:
            raise GenusError(f"folds and rows are whole numbers of at least 1; got folds={folds}, rows={rows}.")
        if members is not None and (isinstance(members, str) or not members):
            raise GenusError(f"members must be a list of families, ['trees', 'made'] say; got {members!r}.")
        super().__init__(space, context)
        chosen = self.default_members(space, context) if members is None else members
        models = [self._member(one, rows) for one in chosen for _ in range(folds)]
        self.folds, self.models = folds, nn.ModuleList(models)
        # A file describes every member in full, whatever its defaults may be by then.
        self.config["members"] = [model.to_json() for model in models[::folds]]
        self.register_buffer("log_weights", torch.full((len(models),), -math.log(len(models)), dtype=torch.float64))
        self.register_load_state_dict_post_hook(_check_loaded)

    @classmethod
    def default_members(cls, space: Space, context: Space | None = None) -> list[str]:
        """Return the names of the families that a stack on this space has by default: exact ones, the quickest first."""
        names = (name for name in (TABLES if space.is_table else IMAGES) if name != "trees" or space.dim <= MOST_TREES)
        return [name for name in names if registered_family(name).refusal(space, context) is None]

    @classmethod
    def default_hyperparameters(cls, space: Space, rows: int) -> dict[str, Any]:
        return {"folds": FOLDS if rows < FEW_ROWS else 1, "rows": min(max(rows, 1), MOST_ROWS)}

    @classmethod
    def limits(cls, space: Space, context: Space | None = None) -> str | None:
        taken = cls.default_members(space, context)
        return nothing_to_learn(space) or (None if taken else "none of the families that it stacks takes it")

    @classmethod
    def of(cls, models: Sequence[GenerativeModel], x: Tensor, c: Tensor | None = None) -> Stacked:
        """Return a stack of models that are fitted already, weighted by rows that trained none of them.

        The models are not copied.

        Args:
            models: densities on one space and one context: a `Stack` where all are exact, else a `StackOfBounds`.
            x: validation rows, (B, *shape) in data units; those that stopped the trainings will do.
            c: their context, (B, *context.shape), or None.

        Raises:
            GenusError: a model is no density, or their spaces differ.
        """
        if not models or not all(isinstance(one, ApproximateDensity) for one in models):
            named = ", ".join(getattr(one, "family_name", type(one).__name__) for one in models)
            raise GenusError(f"A stack needs models with a density, one or more; got {named or 'none'}.")
        first = models[0]
        if any((one.space, one.context) != (first.space, first.context) for one in models):
            raise GenusError("The members of a stack must have one space and one context; fit them to the same data.")
        exact = all(isinstance(one, TractableDensity) for one in models)
        stack: Stacked = (StackOfBounds if issubclass(cls, Stack) and not exact else cls)(
            first.space, first.context, members=[one.to_json() for one in models]
        )
        stack.models = nn.ModuleList(models)
        stack.to(first.device)
        stack.codec, stack.context_codec = first.codec, first.context_codec
        if first.context_counts is not None and stack.context_counts is not None:
            stack.context_counts.copy_(first.context_counts)
        x, c = stack._check(x, c)
        with torch.no_grad(), evaluating(stack):
            scores = [map_batches(partial(stack.score, one, seed=0), x, c).double() for one in stack._models]
        stack.combine(torch.stack(scores, dim=-1), [[one.acceptance] for one in models])
        stack.measure_acceptance(c)
        return stack.eval()

    def _member(self, described: str | Mapping[str, Any], rows: int) -> ApproximateDensity:
        """Return a member by its family's name, with hyper-parameters for so many rows, or by its description.

        Raises:
            DataError: the family cannot be a member, or cannot model the space.
        """
        if isinstance(described, str):
            cls = registered_family(described)
            parameters = inspect.signature(cls.__init__).parameters
            suited = cls.default_hyperparameters(self.space, rows) | IN_A_STACK.get(described, {})
            described = {"class": described, **{name: value for name, value in suited.items() if name in parameters}}
            if not cls.accepts(self.space, self.context) and not Dequantised.refusal_of(cls, self.space, self.context):
                described = {**described, "class": "dequantised", "family": described["class"]}
            if is_wide(self.space) and not issubclass(cls, Counted | Learned):
                defaults = {name: one.default for name, one in parameters.items() if name in ("direct", "hidden", "width")}
                described = shrunk(lambda hyper: build_family(hyper, self.space, self.context), defaults | described)
        elif not isinstance(described, Mapping):
            raise GenusError(f"A member is the name of a family, or {{'class': name, ...}}; got {described!r}.")
        model = build_family(described, self.space, self.context)
        if not isinstance(model, ApproximateDensity):
            raise DataError(f"A stack is a density, and {model.family_name} has none; leave it out of members.")
        return model

    # -- learning -----------------------------------------------------------------------------------------------------

    @property
    def _models(self) -> list[ApproximateDensity]:
        return list(self.models)  # type: ignore[arg-type]

    @property
    def fits(self) -> list[list[GenerativeModel]]:
        each = self._models
        return [list(each[at : at + self.folds]) for at in range(0, len(each), self.folds)]

    @property
    def weights(self) -> dict[str, float]:
        """Return the weight of every member by the name of its family; a second one of a family is called "made 2"."""
        found: dict[str, float] = {}
        for models, weight in zip(self.fits, self.log_weights.exp().view(-1, self.folds).sum(1).tolist(), strict=True):
            name, count = models[0].family_name, 2
            while name in found:
                name, count = f"{models[0].family_name} {count}", count + 1
            found[name] = weight
        return found

    def combine(self, log_densities: Tensor, acceptances: Sequence[Sequence[float]]) -> Tensor:
        # The members' densities are of the rows that obey the constraints, p / acceptance; those that are mixed are p itself.
        accepted = torch.tensor(acceptances, dtype=torch.float64)
        share = torch.where(accepted > 0, 1 / accepted, 0.0) / (accepted > 0).sum(1, keepdim=True).clamp(min=1)
        weights = mixture_weights(log_densities)
        shares = weights[:, None] * share
        self.log_weights.copy_((shares / shares.sum()).flatten().log())
        return (log_densities.double() + weights.to(log_densities.device).log()).logsumexp(1)

    @property
    def parameter_count(self) -> int:
        return sum(model.parameter_count for model in self._models) + len(self.log_weights)

    def _learned(self) -> list[Tensor]:
        return [self.log_weights, *(tensor for model in self._models for tensor in model._learned())]

    # -- answering ----------------------------------------------------------------------------------------------------

    def _mixed(self, density: Callable[[Any], Tensor]) -> Tensor:
        """Return the log of the weighted sum of densities, (B, ...) in nats; density(member) gives the log of each."""
        joint = self._joint(density)
        return joint[:, 0] if joint.shape[1] == 1 else joint.logsumexp(1)

    def _joint(self, density: Callable[[Any], Tensor]) -> Tensor:
        """Return log(weight x density) of the members that have a weight, (B, members, ...)."""
        live, each = self._live, self._models
        logs = [density(each[i]) + self.log_weights[i].to(self.device) for i in live]
        dtype = torch.float64 if any(one.dtype == torch.float64 for one in logs) else logs[0].dtype
        return torch.stack([one.to(dtype) for one in logs], dim=1)

    @property
    def _live(self) -> list[int]:
        """Return the numbers of the models with a weight above 0, the only ones that matter."""
        if is_traced():  # a graph must not depend on values
            return list(range(len(self.models)))
        return [i for i, weight in enumerate(self.log_weights.tolist()) if weight > -math.inf]

    def _elbo(self, x: Tensor, c: Tensor | None) -> Tensor:
        # One draw of each member's weight: their weighted sum is, in expectation, the density.
        return self._mixed(lambda model: model._elbo(x, c))

    def _sample(self, n: int, c: Tensor | None) -> Tensor:
        weights = self.log_weights.expand(n, -1)
        chosen = (weights + gumbel_like(weights)).argmax(1)
        return self._drawn(chosen, n, lambda model, rows: model._sample(len(rows), None if c is None else c[rows]))

    def _drawn(self, chosen: Tensor, n: int, draw: Callable[[Any, Tensor], Tensor]) -> Tensor:
        """Return rows (n, *shape) drawn by the models of the numbers `chosen` (n,): draw(model, numbers of rows)."""
        x, chosen = self._empty_draw().new_empty(n, *self.space.shape), chosen.to(self.device)
        for i in chosen.unique().tolist():  # all rows of one model at once
            rows = (chosen == i).nonzero()[:, 0]
            x[rows] = draw(self._models[i], rows).to(x)
        return x


class StackOfBounds(Stacked, name="stack-of-bounds"):
    """Mix densities some of which are bounds: a VAE beside exact families, or a flow on whole numbers.

    One draw of the bound takes one of every member, so the mixture of unbiased estimates is an unbiased estimate, and its log
    a bound. Weights are fitted to the members' estimates from 16 draws. See `Stack`, whose arguments it has.

    >>> from genus import Lattice, Space
    >>> model = StackOfBounds(Space([Lattice(0, 9), Lattice(0, 9)]), members=["naive-bayes", "maf"])
    >>> list(model.weights)
    ['naive-bayes', 'maf']
    """

    info = ApproximateDensity.info.replace(
        title="a mixture of families, of bounds too", group="stacks", takes="any table or image", listed=False
    )


class Stack(Stacked, TractableDensity, name="stack"):
    """Mix models of several families: p(x) = sum_m w_m p_m(x), exact, since every member is (stacking; Wolpert 1992, Smyth &
    Wolpert 1999).

    `fit` trains the members one after the other, with a share of the time each, on the same rows, and weights them by EM on
    the validation rows that have stopped them. Where the weights are no better than the best member alone, on
    rows that did not fit them, it gets all weight. Up to 1,500 rows the default crosses five folds instead of holding a tenth
    out. `Stack.of` stacks models that are fitted already. A training that was interrupted keeps the members that are trained,
    and cannot be resumed.

    `log_marginal` answers for the columns that all members with a weight answer for, and `impute` for any: exactly for these.

    Args:
        members: the names of families, or their names and hyper-parameters, {"class": "made", "hidden": [64]}; None: of
            tables those of mixture, trees, made and nsf that take the space and are exact on it, of images made, trees,
            mixture and pixelcnn. Trees that are named alone have three orders.
        folds: 1, or how many folds are crossed: a member is then as many models, each stopped by one fold and trained on the
            others, and its density the mean of theirs.
        rows: the number of training rows, which sets the hyper-parameters of members given by name alone.

    >>> import genus
    >>> data = genus.read("iris")
    >>> model = Stack(data.space, members=["mixture", "trees"], folds=2, rows=len(data))
    >>> history = genus.fit(model, data, seed=0, progress=False)
    >>> model.log_prob(data.x).shape, round(sum(model.weights.values()), 6)
    (torch.Size([150]), 1.0)
    """

    info = TractableDensity.info.replace(
        title="a mixture of families",
        group="stacks",
        takes="any table or image",
        formula="p(x) = Σₖ wₖ pₖ(x), weights by EM on validation rows",
        good="the best density there is: never noticeably below its best member",
        bad="time and memory: all members are fitted and kept",
    )

    def _member(self, described: str | Mapping[str, Any], rows: int) -> ApproximateDensity:
        model = super()._member(described, rows)
        if not isinstance(model, TractableDensity):
            raise DataError(
                f"A stack is exact, and {model.family_name} gives a bound on this space; leave it out of members, or make a"
                " StackOfBounds."
            )
        return model

    def _log_prob(self, x: Tensor, c: Tensor | None) -> Tensor:
        return self._mixed(lambda model: model._log_prob(x, c))

    def _log_values(self, x: Tensor, i: int, values: Tensor, c: Tensor | None) -> Tensor:
        return self._mixed(lambda model: model._log_values(x, i, values, c))

    def _elbo(self, x: Tensor, c: Tensor | None) -> Tensor:
        return self._log_prob(x, c)

    def _log_marginal(self, x: Tensor, columns: list[int], c: Tensor | None) -> Tensor:
        return self._mixed(lambda model: self._asked(model, columns, lambda: model._log_marginal(x, columns, c)))

    def _conditional(self, x: Tensor, columns: list[int], c: Tensor | None) -> Tensor | None:
        """Draw the member given the other columns, then the columns given these by the member; None where one cannot."""
        known = [i for i in range(self.space.dim) if i not in columns]
        values = x.flatten(1)[:, known]
        try:
            joint = self._joint(lambda model: model._log_marginal(values, known, c))
        except GenusError:
            return None
        chosen = torch.tensor(self._live, device=joint.device)[(joint + gumbel_like(joint)).argmax(1)]
        return self._drawn(
            chosen, len(x), lambda model, rows: model._given(x[rows], columns, None if c is None else c[rows], True).x
        )

    @property
    def _draws_any(self) -> bool:
        return all(self._models[i]._draws_any for i in self._live)

    def _filler(self, x: Tensor, missing: Tensor, c: Tensor | None) -> Callable[[], Filled]:
        """Choose each row's member given its known entries, and have these members fill their rows together.

        x and missing are (B, *shape), the latter true where an entry is to be drawn; c is (B, *context.shape) or None. Where a
        member has no way of its own to draw any columns, the stack chooses by its own density as other families do.
        """
        if not self._draws_any:
            return super()._filler(x, missing, c)
        flat = x.flatten(1)
        try:
            joint = torch.zeros(len(x), len(self._live), dtype=torch.float64, device=x.device)
            for rows, columns in rows_by_pattern(missing):
                known = [i for i in range(self.space.dim) if i not in columns]
                values, context = flat[rows][:, known], None if c is None else c[rows]
                joint[rows] = self._joint(partial(_log_known, values=values, known=known, c=context)).to(joint)
        except GenusError:
            return partial(self._fill, x, missing, c)
        live = torch.tensor(self._live, device=x.device)

        def draw() -> Filled:
            chosen = live[(joint + gumbel_like(joint)).argmax(1)]
            found = Filled(x.clone(), joint.new_zeros(len(x)), torch.zeros_like(chosen, dtype=torch.bool))
            for i in chosen.unique().tolist():
                rows = (chosen == i).nonzero()[:, 0]
                part = self._models[i]._fill(x[rows], missing[rows], None if c is None else c[rows])
                for all_rows, some in zip(found, part, strict=True):
                    all_rows[rows] = some.to(all_rows)
            return found

        return draw

    def _asked(self, model: GenerativeModel, known: list[int], ask: Callable[[], Tensor]) -> Tensor:
        """Return what a member answers; raise GenusError where it cannot."""
        try:
            return ask()
        except GenusError as error:
            unknown = [i for i in range(self.space.dim) if i not in known]
            raise GenusError(
                f"This stack cannot tell {list_columns(self.space, unknown)} from the others, since its member"
                f" {model.family_name} cannot; {WHO_CAN}."
            ) from error


def _log_known(model: Any, values: Tensor, known: list[int], c: Tensor | None) -> Tensor:
    """Return the log-density (B,) that a member gives known columns, whose values are (B, known)."""
    if not known:
        return values.new_zeros(len(values), dtype=torch.float64)
    found: Tensor = model._log_marginal(values, known, c)
    return found


def _check_loaded(model: Any, keys: Any) -> None:
    """Raise DataError where the weights that were read do not sum to 1."""
    total = float(model.log_weights.exp().sum())
    if not abs(total - 1) < 1e-6:  # NaN too
        raise DataError(f"The weights of a stack's members must sum to 1; they sum to {total}.")
