"""Normalising flows: a chain of bijections pushes a base distribution forward, and the log-determinants are kept."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from genus.compiled import is_traced
from genus.configurable import from_json
from genus.errors import DataError, GenusError
from genus.ladder import Size, TractableDensity, check_count, map_batches
from genus.models.bases import Base, make_base
from genus.models.continuous import ContinuousDensity
from genus.nets.dilated import GatedStack
from genus.nets.masked import MaskedMLP
from genus.nets.state import evaluating
from genus.random import isolated
from genus.space import Lattice, Real, Space
from genus.transforms import ActNorm, Chain, Inverse, Logit, MaskedAutoregressive, SoftClip, Transform

__all__ = ["Flow", "NormalisingFlow"]

SMALL_IMAGE = 256  # pixels up to which dequantisation is variational; beyond, the nets of its noise outgrow the flow's
CACHED_ROWS = 2048  # density at a time on a CPU, so that hidden layers stay in its cache


class NormalisingFlow(ContinuousDensity):
    """Map data to a base distribution by bijections: log p(x) = log p_0(z) + log|det dz/du| + log|du/dx|, z = f_n(... f_1(u))
    (Rezende & Mohamed 2015, arXiv:1505.05770).

    u are the numbers of the real columns x in their charts (a chart is a fixed map to the line, a logarithm say), standardised.
    A family makes its transforms of u and calls `_compose`. A column may have states too: a category's levels, an atom (a value
    that many rows share), or that the value is missing; state 0 is an ordinary number. `ContinuousDensity` models the states
    and gives them to the transforms as features, beside those of the context: its `_parts` takes rows x apart into u, states,
    features and log du/dx, and its `_join_parts` puts x together again. An absent number passes through the transforms as NaN:
    no other coordinate depends on it, and neither log-determinant nor base counts it.
    """

    info = ContinuousDensity.info.replace(group="flows")
    allow_missing = True  # if all its transforms allow it, which `_compose` checks

    @classmethod
    def default_hyperparameters(cls, space: Space, rows: int) -> dict[str, Any]:
        """Return variational dequantisation (Ho et al. 2019, arXiv:1902.00275) for small images of whole numbers.

        On scikit-learn's digits it is worth 3 to 8 nats an image in the same time. `noise` is an argument of `Dequantised`,
        which `genus.build` puts around a flow for whole numbers.
        """
        small = not space.is_table and space.dim <= SMALL_IMAGE
        return {"noise": "variational"} if small and space.columns(Lattice) else {}  # `Lattice` is whole numbers

    # -- construction -------------------------------------------------------------------------------------------------

    def __init__(self, space: Space, context: Space | None = None, context_net: Sequence[int] = ()) -> None:
        # `_compose` makes the net of the states, so that the nets of the transforms draw their first weights before it does.
        super().__init__(space, context, states_made_later=True, context_net=context_net)

    @staticmethod
    def alternating(dim: int, i: int) -> list[int] | None:
        """Return the order of coordinates of the i-th masked transform: their own for even i, reversed for odd i."""
        return list(range(dim - 1, -1, -1)) if i % 2 else None

    def _compose(self, transforms: Sequence[Transform], base: str | TractableDensity | dict[str, Any] = "normal") -> None:
        """Set the chain of transforms, the base, and the distribution of the states."""
        space = self.space
        self.transform = Chain(transforms)
        # An inverted transform, as of an IAF, computes the density coordinate by coordinate.
        self.sequential = any(isinstance(t, Inverse) for t in transforms)
        if self.numbers_can_be_absent and not self.transform.allow_missing:
            odd = next(type(t).__name__ for t in transforms if not t.allow_missing)
            column = next(i for i in space.columns(Real) if space.kinds[i].states > 1)
            raise DataError(
                f"{space.label(column)} repeats values or lacks some, and {odd} cannot leave a number out; use couplings or"
                " masked transforms with allow_missing=True, or a space without atoms."
            )
        self._check_transforms()
        self.base: Base = make_base(base, self.dim, self.numbers_can_be_absent)
        self._model_states()

    def _check_transforms(self) -> None:
        """Raise GenusError where a net is for other features, the last transform maps to an interval, or shapes do not fit."""
        self._check_context_width()
        ends = [t for t in self.transform.transforms if isinstance(t, Logit | SoftClip)]
        if ends and isinstance(ends[-1], SoftClip):
            raise GenusError(
                f"SoftClip({ends[-1].bound:g}) puts out an interval, and the base is on the whole line: add Logit after it."
            )
        self._check_shapes()

    def _check_context_width(self) -> None:
        width = self.feature_dim
        with_nets = [t for t in self.transform.modules() if isinstance(t, Transform) and "context_dim" in t.config]
        names = {t.config["context_dim"] or 0: type(t).__name__ for t in with_nets}  # of a transform, by its context_dim
        for context_dim, name in names.items():
            none_sees = width > 0 and context_dim == 0 and len(names) == 1  # one transform at least must see the features
            if context_dim not in (0, width) or none_sees:
                right = f"context_dim={width}" if width else "no context_dim"
                raise GenusError(
                    f"{name} has context_dim={context_dim}, and a flow gives its transforms the {width} numbers of the context"
                    f" and of columns' states: give it {right}."
                )

    def _check_shapes(self) -> None:
        dim, width = self.dim, self.feature_dim
        # A chain of inverted transforms takes a step for each coordinate forward and one pass backward: try the quick way.
        inverted = all(isinstance(t, Inverse | ActNorm) for t in self.transform.transforms)
        quick_way = self.transform.inverse if inverted else self.transform
        try:
            with torch.no_grad(), isolated(0), evaluating(self.transform):
                z, log_det = quick_way(torch.zeros(2, dim), torch.zeros(2, width) if width else None)
        except (RuntimeError, IndexError) as error:
            raise GenusError(f"The transforms do not fit the {dim} numbers of a row: {error}.") from error
        if z.shape != (2, dim) or log_det.shape != (2,):
            raise GenusError(
                f"The transforms turn the {dim} numbers of a row into a tensor of shape {tuple(z.shape[1:])}, and a flow needs"
                f" ({dim},): check their sizes, and put Inverse(Reshape(...)) after transforms of images."
            )

    def _initialise_numbers(self, u: Tensor, features: Tensor | None) -> None:
        """Set the weights of the transforms that depend on data, as those of `ActNorm` do, from the first training rows."""
        self.transform.initialise(u, features)

    def matrices(self) -> list[nn.Parameter]:
        """Return the weights that `distill` trains by Muon, which is faster there; `fit` trains a flow by Adam alone."""
        nets = (net for net in self.transform.modules() if isinstance(net, MaskedMLP | GatedStack))
        return [weight for net in nets for weight in net.matrices()]

    # -- density --------------------------------------------------------------------------------------------------------

    def _log_prob(self, x: Tensor, c: Tensor | None) -> Tensor:
        # The density comes from `ContinuousDensity` and `_log_density` below; here many rows are only cut into batches.
        rows = 2 * CACHED_ROWS if self.sequential else CACHED_ROWS  # a step for one coordinate has fewer numbers to cache
        if not is_traced() and len(x) > rows and x.device.type == "cpu" and not torch.is_grad_enabled():
            return map_batches(super()._log_prob, x, c, rows)
        return super()._log_prob(x, c)

    def _log_density(self, u: Tensor, features: Tensor | None) -> Tensor:
        z, log_det = self.transform(u, features)
        return self.base.log_prob(z) + log_det

    # -- some columns alone ---------------------------------------------------------------------------------------------

    def _column_order(self) -> tuple[Sequence[int], int]:
        """Return an order of the columns, and the least m for which the density of the first m columns is known.

        `log_marginal` and `impute` use it, by `_log_prefix` and `_draw_suffix` below (see `Marginals` in ladder/imputation.py).
        Where all transforms share an order of the numbers, the order is first the columns with states, then the other numbers
        as the transforms have them: a number depends on the states and on earlier numbers alone. The least m is then the number
        of columns with states, on which all numbers depend. Otherwise only the density of all columns is known.
        """
        orders = [t.order for t in self.transform.transforms if isinstance(t, MaskedAutoregressive)]
        # ActNorm works on each coordinate alone, so it keeps any order; other transforms keep none.
        keep_an_order = len(orders) + sum(isinstance(t, ActNorm) for t in self.transform.transforms)
        one_order = all(order == orders[0] for order in orders) and keep_an_order == len(self.transform.transforms)
        reals, states = self.real_columns.tolist(), self.state_columns.tolist()
        numbers = [reals[i] for i in orders[0]] if orders else reals
        mixed = [i for i in numbers if i in states]  # columns with a number and states too
        # A column with both is in every prefix, its number with its states. Its number must not depend on one that may be left
        # out, so it has to lead the transforms' order.
        if not one_order or not self.base.independent or mixed != numbers[: len(mixed)]:
            return super()._column_order()
        constant = [i for i in range(self.space.dim) if i not in {*reals, *states}]  # columns that have one value only
        return [*constant, *states, *numbers[len(mixed) :]], len(constant) + len(states)

    def _log_prefix(self, x: Tensor, m: int, c: Tensor | None) -> Tensor:
        """Return the log-density (B,) of the first m columns of `_column_order`: the terms of their numbers alone."""
        if m == self.space.dim:
            return self._log_prob(x, c)
        u, state, features, total = self._parts(x, c)
        z = u
        for transform in self.transform.transforms:
            z, log_slope = transform.elementwise(z, features)  # type: ignore[operator]
            total = total + log_slope
        total = torch.where(z.isnan(), 0.0, self.base.log_prob_by_number(z) + total)
        first = torch.isin(self.real_columns, torch.tensor(self._column_order()[0][:m], device=u.device))
        return self._with_states(total[:, first].sum(1), state, c)

    def _draw_suffix(self, x: Tensor, m: int, c: Tensor | None, blanks: bool = True) -> Tensor:
        """Return x with the columns after the first m drawn anew, by drawing their z; z of the first columns stays.

        It may stay, since it depends on none of the others.
        """
        if m == self.space.dim:
            return x
        u, state, features, _ = self._parts(x, c)
        drawn = torch.isin(self.real_columns, torch.tensor(self._column_order()[0][m:], device=u.device))
        z = torch.where(drawn, self.base.sample(len(x), self.real_columns).to(u), self.transform(u, features)[0])
        return self._join_parts(self.transform.inverse(z, features)[0], state)

    # -- sampling -------------------------------------------------------------------------------------------------------

    def sample_and_log_prob(self, n: int, c: Tensor | None = None, seed: int | None = None) -> tuple[Tensor, Tensor]:
        """Draw n rows with their log-densities, by one pass through the inverse, with gradients.

        An inverse autoregressive flow, whose `log_prob` takes a step for each coordinate, needs one pass here too. The
        component of a mixture base and the states of columns are drawn without gradients.

        Returns:
            x (n, *shape) in data units, and log p(x | c) (n,) in nats.
        """
        n = check_count(n)
        c = self._check_context(c, n)
        with isolated(seed, self):
            return self._sample_and_log_prob(n, c)

    def rsample(self, n: int, c: Tensor | None = None, seed: int | None = None) -> Tensor:
        """Return n draws (n, *shape) with gradients: those of `sample_and_log_prob`, without their log-densities."""
        n = check_count(n)
        c = self._check_context(c, n)
        with isolated(seed, self):
            return self._sample(n, c)

    def to_base(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map data to the base: return z and the log-determinant of the map.

        For a table of real numbers, `log_prob(x)` is `base.log_prob(z)` plus the log-determinant; the states of other columns
        add their own log-probability.

        Args:
            x: rows (B, *shape) in data units.
            c: the context, (B, *context.shape) or one row for all; None for a model without context.

        Returns:
            z (B, D), NaN where a number is absent, and log|det dz/dx| (B,), in nats.
        """
        u, _, features, log_slope = self._parts(*self._check(x, c))
        z, log_det = self.transform(u, features)
        return z, log_det + log_slope.sum(1)

    def from_base(self, z: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map points of the base to data, the inverse of `to_base`: return x and the log-determinant of the map.

        Args:
            z: (B, D).
            c: the context, (B, *context.shape) or one row for all; None for a model without context.

        Returns:
            x (B, *shape) in data units, and log|det dx/dz| (B,), in nats.

        Raises:
            DataError: columns have states, which z does not tell.
        """
        if self.states is not None:
            raise DataError("from_base needs columns of real numbers alone: z does not tell the states of other columns.")
        u, log_det = self.transform.inverse(z, self._context_features(self._check_context(c, len(z))))
        x = self._join_parts(u, None)
        return x, log_det - self._log_slope(x)

    def _sample_and_log_prob(self, n: int, c: Tensor | None) -> tuple[Tensor, Tensor]:
        state, features = self._draw_states(n, c)
        u, log_density = self._draw_with_density(n, features)
        x = self._join_parts(u, state)
        return x, self._with_states(log_density + self._log_slope(x), state, c)

    def _draw(self, n: int, features: Tensor | None) -> Tensor:
        # `ContinuousDensity._sample` calls it, and joins the numbers with states that it has drawn.
        return self._draw_with_density(n, features)[0]

    def _draw_with_density(self, n: int, features: Tensor | None) -> tuple[Tensor, Tensor]:
        """Draw u (n, D), NaN where absent; return it with its log-density (n,)."""
        z = self.base.sample(n, self.real_columns).to(self.dtype)
        if self.numbers_can_be_absent and features is not None:
            z = z.masked_fill(self._absent(features), torch.nan)
        u, log_det = self.transform.inverse(z, features)
        return u, self.base.log_prob(z) - log_det


class RepeatedFlow(NormalisingFlow):
    """Put an `ActNorm` before several transforms of the same sort, which a subclass gives by `_make_transforms`."""

    fit_defaults = MappingProxyType({"learning_rate": 1e-3, "weight_decay": 0.1})
    # How many transforms `default_hyperparameters` takes for fewer than 1,000 rows; for more rows it takes 2.5 times as many.
    # Couplings, each of which moves half of the coordinates, set 4, so that they have 4 or 10 where others have 2 or 5.
    few_transforms = 2
    WIDEST = 2048  # the most coordinates for which a masked transform has a linear map of them all, with D^2 weights

    def __init__(
        self,
        space: Space,
        context: Space | None = None,
        transforms: int = 5,
        hidden: Sequence[int] = (128, 128),
        dropout: float = 0.0,
        base: str | dict[str, Any] = "normal",
        context_net: Sequence[int] = (),
    ) -> None:
        super().__init__(space, context, context_net)
        dim, allow_missing = self.dim, self.numbers_can_be_absent
        # The transforms' context is all that they may depend on: the features of the context and of the columns' states.
        options = {"hidden": hidden, "dropout": dropout, "context_dim": self.feature_dim, "allow_missing": allow_missing}
        self._compose([ActNorm(dim, allow_missing), *self._make_transforms(dim, transforms, options)], base)

    def _make_transforms(self, dim: int, count: int, options: dict[str, Any]) -> list[Transform]:
        """Return `count` transforms of D = dim numbers; `options` are the arguments that transforms with a net share.

        They are hidden, dropout, context_dim and allow_missing, as `MaskedAutoregressive` and `Coupling` take them.
        """
        raise TypeError(f"{type(self).__name__} must define _make_transforms(dim, count, options).")

    @classmethod
    def default_hyperparameters(cls, space: Space, rows: int) -> dict[str, Any]:
        """Return narrower and shallower nets and more dropout for fewer rows, and for tables a base with heavy tails."""
        width = 32 if rows < 1000 else 64 if rows < 5000 else 128 if rows < 20_000 else 256
        return super().default_hyperparameters(space, rows) | {
            "transforms": cls.few_transforms if rows < 1000 else 5 * cls.few_transforms // 2,
            "hidden": [max(width, min(2 * space.dim, 512))] * 2,
            "dropout": 0.5 if rows < 5000 else 0.1 if rows < 20_000 else 0.0,
            "base": "student" if space.is_table else "normal",
        }

    @classmethod
    def sizes(cls, space: Space, rows: int) -> Sequence[Size]:
        """Return more transforms of wide images, then larger batches."""
        if space.is_table or space.dim <= SMALL_IMAGE:
            return ()
        default = cls.default_hyperparameters(space, rows)
        few = {"transforms": cls.few_transforms, "hidden": [256, 256]}
        return [Size(few, 0, 64), Size(default, 500, 64), Size(default, 2000)]


class Flow(NormalisingFlow, name="flow"):
    """Compose transforms of your own.

    Args:
        transforms: the transforms in their order from the data to the base.
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

    info = NormalisingFlow.info.replace(title="flow of one's own transforms", listed=False)
    fit_defaults = MappingProxyType({"learning_rate": 1e-3})

    def __init__(
        self,
        space: Space,
        context: Space | None = None,
        transforms: Sequence[Transform | dict[str, Any]] = (),
        base: str | TractableDensity | dict[str, Any] = "normal",
    ) -> None:
        super().__init__(space, context)
        self._compose(from_json(list(transforms)), base)
