"""Normalising flows: a chain of bijections pushes a base distribution forward, and the log-determinants are kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from inspect import signature
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genus.errors import DataError, GenusError
from genus.memory import kept_memory
from genus.model import TractableDensity, isolated, rows_asked
from genus.models.bases import Base, based
from genus.models.made import MADE
from genus.nets.dilated import GatedStack
from genus.nets.masked import MaskedMLP
from genus.space import Category, Lattice, Real, Space
from genus.transforms import ActNorm, Chain, Inverse, Logit, MaskedAutoregressive, SoftClip, Transform
from genus.transforms.core import build

__all__ = ["Flow", "NormalisingFlow"]

SMALL = 256  # pixels of an image whose noise is trained: of more, its nets are larger than a flow's
ROWS = 2048  # whose density is computed at a time on a processor, so that hidden layers stay in its cache


class NormalisingFlow(TractableDensity):
    """log p(x) = log p_0(z) + log|det dz/dx|, z = f_n(... f_1(x)) (Rezende & Mohamed 2015, arXiv:1505.05770).

    A family makes its transforms and calls `_compose`. They act on the standardised numbers of the real columns. Categories,
    and values with mass of their own (atoms, what is missing), are states: p(x) = p(states) p(numbers | states), the first a
    MADE, exact; a number that is not there passes through the transforms as NaN, seen by none and counted by none. Whole
    numbers need `Dequantised`, which `genus.build` puts around a flow.
    """

    group = "flows"
    takes = "tables with real columns; whole numbers and images as a bound"

    @classmethod
    def limits(cls, space: Space, context: Space | None = None) -> str | None:
        odd = space.columns(Lattice)
        if odd:
            more = f" ({len(odd)} such columns)" if len(odd) > 1 else ""
            return f"a flow is a density over real numbers, and {space.label(odd[0])} is whole numbers{more}"
        if not space.columns(Real):
            return "a flow is a density over real numbers, and there is no column of them"
        return None

    @classmethod
    def default_hyperparameters(cls, space: Space, rows: int) -> dict[str, Any]:
        """Of small images of whole numbers, noise that is trained: on the digits it is worth 3 to 8 nats in the same time."""
        small = not space.is_table and space.dim <= SMALL
        return {"noise": "variational"} if small and space.columns(Lattice) else {}

    # -- construction -------------------------------------------------------------------------------------------------

    @staticmethod
    def has_gaps(space: Space) -> bool:
        """Whether a number may be missing, or have a value with mass of its own, so that transforms must leave it out."""
        return any(isinstance(kind, Real) and kind.states > 1 for kind in space.kinds)

    @staticmethod
    def numbers(space: Space) -> int:
        """D: how many real columns, on which the transforms act."""
        return len(space.columns(Real))

    @staticmethod
    def condition_dim(space: Space, context: Space | None) -> int:
        """The width of what the transforms are given: the context's features, and a one-hot of every state."""
        return (context.feature_dim if context is not None else 0) + sum(k.states for k in space.kinds if k.states > 1)

    @staticmethod
    def turn(dim: int, i: int) -> list[int] | None:
        """The order of coordinates of the i-th masked transform: their own, then turned round, in turns."""
        return list(range(dim - 1, -1, -1)) if i % 2 else None

    def _compose(self, transforms: Sequence[Transform], base: str | TractableDensity | dict[str, Any] = "normal") -> None:
        """Settle the chain, the base, and the distribution of the states."""
        space = self.space
        self.transform = Chain(transforms)
        self.steps = any(isinstance(t, Inverse) for t in transforms)  # the density goes in small steps, which want many rows
        self.allow_missing = self.has_gaps(space)
        if self.allow_missing and not self.transform.allow_missing:
            odd = next(type(t).__name__ for t in transforms if not t.allow_missing)
            column = next(i for i, kind in enumerate(space.kinds) if isinstance(kind, Real) and kind.states > 1)
            raise DataError(
                f"{space.label(column)} repeats values or lacks some, and {odd} cannot leave a number out; use couplings or"
                " masked transforms with allow_missing=True, or a space without atoms."
            )
        self._check_transforms()
        self.base: Base = based(base, self.numbers(space), self.allow_missing)
        self.register_buffer("reals", torch.tensor(space.columns(Real)), persistent=False)
        varied = [i for i, kind in enumerate(space.kinds) if kind.states > 1]
        self.register_buffer("varied", torch.tensor(varied, dtype=torch.long), persistent=False)
        self.levels = [space.kinds[i].states for i in varied]
        self.states: MADE | None = None
        if varied:
            names = [space.names[i] for i in varied] if space.names is not None else None
            levels = Space([Category(tuple(range(n))) for n in self.levels], names=names)
            self.states = MADE(levels, self.context, hidden=(256, 256), residual=True, dropout=0.1)
        self.log_scales = [math.log(k.scale) for k in space.kinds if isinstance(k, Real)]

    reals: Tensor
    varied: Tensor

    def _check_transforms(self) -> None:
        """That the chain takes D numbers to D, over the whole line, and that its nets are as wide as what they are given."""
        dim, width = self.numbers(self.space), self.condition_dim(self.space, self.context)
        nets = [
            t for t in self.transform.modules() if isinstance(t, Transform) and "context_dim" in signature(type(t)).parameters
        ]
        widths = {t.arguments.get("context_dim") or 0: type(t).__name__ for t in nets}
        wrong = widths.keys() - {0, width} or (widths.keys() if width and widths.keys() == {0} else ())
        for odd in wrong:
            given = f"context_dim={width}" if width else "no context_dim"
            raise GenusError(
                f"{widths[odd]} has context_dim={odd}, and a flow gives its transforms the {width} numbers of the context and"
                f" of columns' states: give it {given}."
            )
        ends = [t for t in self.transform.transforms if isinstance(t, Logit | SoftClip)]
        if ends and isinstance(ends[-1], SoftClip):
            raise GenusError(
                f"SoftClip({ends[-1].bound:g}) puts out an interval, and the base is on the whole line: add Logit after it."
            )
        training = self.transform.training
        try:
            with torch.no_grad(), isolated(0):
                z, log_det = self.transform.eval()(torch.zeros(2, dim), torch.zeros(2, width) if width else None)
        except (RuntimeError, IndexError) as error:
            raise GenusError(f"The transforms do not fit the {dim} numbers of a row: {error}.") from error
        finally:
            self.transform.train(training)
        if z.shape != (2, dim) or log_det.shape != (2,):
            raise GenusError(
                f"The transforms make {tuple(z.shape[1:])} of the {dim} numbers of a row, and a flow needs as many again, in a"
                " line: check their sizes, and end with Inverse(Reshape(...)) what works on images."
            )

    @torch.no_grad()
    def initialise(self, x: Tensor, c: Tensor | None = None) -> None:
        u, state, given = self._parts(x, c)
        self.transform.initialise(u, given)
        if self.states is not None:
            self.states.initialise(state, c)  # type: ignore[arg-type]

    # -- what a datum is to a flow ------------------------------------------------------------------------------------

    def _parts(self, x: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """x, c -> its numbers (B, D), NaN where there is none; its states (B, S); what the transforms are given."""
        state, u = self.space.split(x)
        features = self._context_features(c)
        if self.states is None:  # a category of one level is neither
            u = (u if len(self.reals) == self.space.dim else u[:, self.reals]).to(self.dtype)
            return u.T.contiguous().T, None, features  # column after column, as masked nets work
        gone = state[:, self.reals] > 0
        u = u[:, self.reals].to(self.dtype).masked_fill(gone, torch.nan)
        state = state[:, self.varied]
        return u, state.to(self.states.space.dtype), self._given(state, features)

    def _given(self, state: Tensor, features: Tensor | None) -> Tensor:
        hot = [F.one_hot(state[:, i].long(), n).to(self.dtype) for i, n in enumerate(self.levels)]
        return torch.cat([*hot, *([] if features is None else [features])], dim=1)

    def matrices(self) -> list[nn.Parameter]:
        """Those of the weights that Muon trains faster than Adam."""
        nets = (net for net in self.transform.modules() if isinstance(net, MaskedMLP | GatedStack))
        return [weight for net in nets for weight in net.matrices()]

    # -- density --------------------------------------------------------------------------------------------------------

    def _log_prob(self, x: Tensor, c: Tensor | None) -> Tensor:
        rows = 2 * ROWS if self.steps else ROWS
        if len(x) > rows and x.device.type == "cpu" and not torch.is_grad_enabled():
            pieces = zip(x.split(rows), [None] * len(x) if c is None else c.split(rows), strict=False)
            with kept_memory():
                return torch.cat([self._log_prob(*piece) for piece in pieces])
        u, state, given = self._parts(x, c)
        z, log_det = self.transform(u, given)
        log_prob = self.base.log_prob(z) + log_det - self._log_unit(u)
        return log_prob if state is None else log_prob + self.states._log_prob(state, c)  # type: ignore[union-attr]

    # -- some columns alone ---------------------------------------------------------------------------------------------

    def _order(self) -> tuple[Sequence[int], int]:
        """Columns with states, then the numbers in the one order of all transforms, where there is one: such numbers depend on
        those before them alone."""
        orders = [t.order for t in self.transform.transforms if isinstance(t, MaskedAutoregressive)]
        chained = len(orders) + sum(isinstance(t, ActNorm) for t in self.transform.transforms)
        one = all(order == orders[0] for order in orders) and chained == len(self.transform.transforms)
        reals, states = self.reals.tolist(), self.varied.tolist()
        numbers = [reals[i] for i in orders[0]] if orders else reals
        mixed = [i for i in numbers if i in states]  # a number and states besides
        if not one or not self.base.independent or mixed != numbers[: len(mixed)]:
            return super()._order()
        rest = [i for i in range(self.space.dim) if i not in {*reals, *states}]  # of one level each
        return [*rest, *states, *numbers[len(mixed) :]], len(rest) + len(states)

    def _log_first(self, x: Tensor, m: int, c: Tensor | None) -> Tensor:
        if m == self.space.dim:
            return self._log_prob(x, c)
        u, state, given = self._parts(x, c)
        z, total = u, -torch.tensor(self.log_scales, dtype=u.dtype, device=u.device).expand_as(u)
        for transform in self.transform.transforms:
            z, log_slope = transform.each(z, given)  # type: ignore[operator]
            total = total + log_slope
        total = torch.where(z.isnan(), 0.0, self.base.each(z) + total)
        first = torch.isin(self.reals, torch.tensor(self._order()[0][:m], device=u.device))
        log_prob = total[:, first].sum(1)
        return log_prob if state is None else log_prob + self.states._log_prob(state, c)  # type: ignore[union-attr]

    def _draw_rest(self, x: Tensor, m: int, c: Tensor | None) -> Tensor:
        """What z is of the numbers that are known depends on no others: the others' is drawn anew."""
        if m == self.space.dim:
            return x
        u, state, given = self._parts(x, c)
        drawn = torch.isin(self.reals, torch.tensor(self._order()[0][m:], device=u.device))
        z = torch.where(drawn, self.base.sample(len(x), self.reals).to(u), self.transform(u, given)[0])
        return self._joined(self.transform.inverse(z, given)[0], None if state is None else state.long())

    # -- units ----------------------------------------------------------------------------------------------------------

    def _log_unit(self, u: Tensor) -> Tensor | float:
        """The log of what a standardised unit is in data units, of all numbers that are there."""
        if not self.allow_missing:
            return sum(self.log_scales)
        return torch.where(u.isnan(), 0.0, torch.tensor(self.log_scales, dtype=u.dtype, device=u.device)).sum(1)

    # -- sampling -------------------------------------------------------------------------------------------------------

    def sample_and_log_prob(self, n: int, c: Tensor | None = None, seed: int | None = None) -> tuple[Tensor, Tensor]:
        """n data and their log-densities, by one pass through the inverse, with gradients: (n, *shape) and (n,) nats.

        Where the density goes coordinate by coordinate, as an inverse autoregressive flow's does, this does not. What is drawn
        from a table, a component of a mixture base or a state of a column, has no gradient.
        """
        n = rows_asked(n)
        c = self._check_context(c, n)
        with isolated(seed):
            return self._draw(n, c)

    def _draw(self, n: int, c: Tensor | None) -> tuple[Tensor, Tensor]:
        features = self._context_features(c)
        state, given, log_prob = None, features, torch.zeros((), dtype=self.dtype, device=self.device)
        if self.states is not None:
            drawn = self.states._sample(n, c)
            state, log_prob = drawn.long(), self.states._log_prob(drawn, c)
            given = self._given(state, features)
        z = self.base.sample(n, self.reals).to(self.dtype)
        if self.allow_missing:
            full = torch.zeros(n, self.space.dim, dtype=torch.long, device=z.device)
            full[:, self.varied] = state  # type: ignore[assignment]
            z = z.masked_fill(full[:, self.reals] > 0, torch.nan)
        u, log_det = self.transform.inverse(z, given)
        log_prob = log_prob + self.base.log_prob(z) - log_det - self._log_unit(u)
        return self._joined(u, state), log_prob

    def _sample(self, n: int, c: Tensor | None) -> Tensor:
        return self._draw(n, c)[0]

    def _joined(self, u: Tensor, state: Tensor | None) -> Tensor:
        """The data whose numbers and states these are."""
        full = torch.zeros(len(u), self.space.dim, dtype=torch.long, device=u.device)
        if state is None and len(self.reals) == self.space.dim:
            return self.space.join(full, u)
        full = full if state is None else full.index_copy(1, self.varied, state)
        return self.space.join(full, u.new_zeros(len(u), self.space.dim).index_copy(1, self.reals, u.nan_to_num(0.0)))


class Repeated(NormalisingFlow):
    """A flow whose family has one kind of transform, some times over: a subclass gives `_layers`."""

    fit_defaults = MappingProxyType({"learning_rate": 1e-3, "weight_decay": 0.1})
    few = 2  # transforms for hundreds of rows; twice and a half as many for more

    def __init__(
        self,
        space: Space,
        context: Space | None = None,
        transforms: int = 5,
        hidden: Sequence[int] = (128, 128),
        dropout: float = 0.0,
        base: str | dict[str, Any] = "normal",
    ) -> None:
        self._made(space, context, base, transforms=transforms, hidden=hidden, dropout=dropout)

    def _made(self, space: Space, context: Space | None, base: str | dict[str, Any], **hyper: Any) -> None:
        """`__init__` with whatever hyper-parameters a family has beside those of all."""
        super().__init__(space, context, **hyper, base=base)
        dim, allow_missing = self.numbers(space), self.has_gaps(space)
        net = {name: self.hyper[name] for name in ("hidden", "dropout")}
        net |= {"context_dim": self.condition_dim(space, context), "allow_missing": allow_missing}
        self._compose([ActNorm(dim, allow_missing), *self._layers(dim, hyper["transforms"], net)], base)

    def _layers(self, dim: int, transforms: int, net: dict[str, Any]) -> list[Transform]:
        """So many transforms of D numbers; `net` are arguments of those with a net."""
        raise TypeError(f"{type(self).__name__} must define _layers(dim, transforms, net).")

    @classmethod
    def default_hyperparameters(cls, space: Space, rows: int) -> dict[str, Any]:
        """The fewer the rows, the narrower, shallower and more often dropped; tails that outliers do not rule."""
        width = 32 if rows < 1000 else 64 if rows < 5000 else 128 if rows < 20_000 else 256
        return super().default_hyperparameters(space, rows) | {
            "transforms": cls.few if rows < 1000 else 5 * cls.few // 2,
            "hidden": [max(width, min(2 * space.dim, 512))] * 2,
            "dropout": 0.5 if rows < 5000 else 0.1 if rows < 20_000 else 0.0,
            "base": "student" if space.is_table else "normal",
        }


class Flow(NormalisingFlow, name="flow"):
    """A flow of transforms of your own.

    Args:
        transforms: one after another, from the data to the base.
        base: "normal", "student" (Student's t, degrees of freedom trained), "mixture" (of 16 normals, trained), or a trainable
            model of D real numbers.

    >>> from genus import Real, Space
    >>> from genus.transforms import Linear, MaskedAutoregressive, Spline
    >>> space = Space([Real(), Real()])
    >>> first, second = MaskedAutoregressive(2, (32,), Spline()), MaskedAutoregressive(2, (32,), Spline())
    >>> model = Flow(space, transforms=[first, Linear(2), second])
    >>> x, log_prob = model.sample_and_log_prob(5, seed=0)
    >>> torch.allclose(model.log_prob(x), log_prob, atol=1e-4)
    True
    """

    title = "flow of one's own transforms"
    listed = False
    fit_defaults = MappingProxyType({"learning_rate": 1e-3})

    def __init__(
        self,
        space: Space,
        context: Space | None = None,
        transforms: Sequence[Transform | dict[str, Any]] = (),
        base: str | TractableDensity | dict[str, Any] = "normal",
    ) -> None:
        super().__init__(space, context, transforms=transforms, base=base)
        self._compose(build(list(transforms)), base)
