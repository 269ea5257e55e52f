"""The base of every model: it can be sampled, trained, and found by name."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor

from genus.compiled import is_traced
from genus.configurable import Configurable
from genus.errors import DataError, GenusError
from genus.ladder.birth import DetectsTraining
from genus.ladder.conditions import Conditions, draw_where
from genus.ladder.contexts import KeepsContexts
from genus.ladder.distribution import AsDistribution
from genus.ladder.functions import check_count
from genus.ladder.imputation import Imputation
from genus.ladder.info import FamilyInfo, Size
from genus.ladder.loss import Loss
from genus.ladder.rejection import Rejection
from genus.nets.dense import dense
from genus.nets.state import evaluating, keeping_frozen
from genus.notebook import preformatted
from genus.random import isolated
from genus.space import Category, Space

__all__ = ["GenerativeModel"]


class GenerativeModel(Imputation, Rejection, KeepsContexts, AsDistribution, Configurable, DetectsTraining, name=""):
    """Represents a distribution over a space, of which rows can be drawn; the base of every family.

    A subclass must give

    - `_sample(n, c)`: n rows (n, *space.shape) in data units, c checked and of n rows, or None;
    - one way to learn: `losses()`, lowered by gradients, or the methods of `Counted` (sums over rows) or `Learned` (one call);
    - a constructor that takes `space`, `context=None` and hyper-parameters with defaults, and calls
      `super().__init__(space, context)`; the hyper-parameters are captured by themselves, see `Configurable`.

    It may give

    - `name=` where the class is defined, `class MAF(RepeatedFlow, name="maf")`: files and the command line find it by that;
    - `info`: the `FamilyInfo` that listings and reports show;
    - `limits(space, context)`: why it cannot model some spaces, a sentence that a user will read;
    - `default_hyperparameters(space, rows)`: hyper-parameters that suit so many rows, where the defaults would not;
    - `fit_defaults`: arguments of `fit` that its training is known to need, on the class or on one model;
    - `_initialise(x, c)`: what is set from data before the first step of training, a scale or a centre;
    - `row_weights(x, c)`: weights by which training draws rows;
    - `criterion(x, c)`: a distance of the model from validation rows, by which training stops early.

    Methods used below and not defined here come from the other bases, each in a file of its own: `Imputation` draws unknown
    columns; `Rejection` draws rows again that break a constraint (`_checked_draw`, `_obeying`, `acceptance`); `KeepsContexts`
    draws contexts where none are given (`_context_for`); `AsDistribution` makes a torch.distributions.Distribution of the
    model; `Configurable` keeps the constructor's arguments (`config`); `DetectsTraining` compares weights (`untrained`).

    Args:
        space: the space of x.
        context: the space of what x is conditioned on; None for a model without context.
        context_net: widths of a dense net between the context's features and the family, trained with it; none by default.
    """

    not_in_config = ("space", "context")  # arguments of the constructor that files keep apart from the others
    info: ClassVar[FamilyInfo] = FamilyInfo()
    codec: Any = None  # the `Codec` between the data that were read and tensors; None where they were tensors
    context_codec: Any = None
    fit_defaults: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    held_out: Any = None  # a `HeldOut`: the log-densities of a table's validation rows, where `fit` had any
    calibrations: Mapping[str, Any] = MappingProxyType({})  # a `Calibration` by column, by which `predict` corrects itself
    context_counts: Tensor | None  # (levels,): how often training saw each level of a context that is one category

    def __init_subclass__(cls, name: str = "", **kwargs: Any) -> None:
        super().__init_subclass__(name=name, **kwargs)

    @classmethod
    def _register(cls, name: str) -> None:
        # `Configurable` registers other classes by the name of the class; a model without name= is a base of families.
        if not name:
            return
        if not {"space", "context"} <= inspect.signature(cls.__init__).parameters.keys():
            raise GenusError(f"The constructor of {cls.__name__} must take space and context, since files build it with them.")
        super()._register(name)

    def __init__(self, space: Space, context: Space | None = None, context_net: Sequence[int] = ()) -> None:
        super().__init__()
        for name, value in {"space": space, "context": context}.items():
            if not isinstance(value, Space) and not (value is None and name == "context"):
                raise GenusError(f"{name} must be a Space; got {type(value).__name__}. Give other arguments by name.")
        if reason := self.refusal(space, context):
            raise DataError(f"{type(self).__name__} cannot model this: {reason}")
        self.space, self.context = space, context
        if context_net and context is None:
            raise GenusError("context_net= is a net for the context, and this model has none; leave it out.")
        self.context_net = dense(context.feature_dim, context_net[:-1], context_net[-1]) if context and context_net else None
        # The prior of the Bayes classifier; uniform before training.
        levels = context.kinds[0].states if context is not None and context.dim == 1 and context.columns(Category) else 0
        self.register_buffer("context_counts", torch.ones(levels, dtype=torch.float64) if levels else None)

    # -- facts of the family ------------------------------------------------------------------------------------------

    @classmethod
    def refusal(cls, space: Space, context: Space | None = None) -> str | None:
        """Return why this family cannot model x in `space` given c in `context`; None where it can."""
        if space.sequence and not cls.info.sequences:
            return "it models rows of columns or pixels, and these are sequences"
        if space.period > 1 and not cls.info.series:
            return f"it models sequences of one value a step, and these have {space.period}; gpt, rnn and wavenet take them"
        return cls.limits(space, context)

    @classmethod
    def limits(cls, space: Space, context: Space | None = None) -> str | None:
        """Return why this family in particular cannot model such spaces; None where it can, as by default."""
        return None

    @classmethod
    def accepts(cls, space: Space, context: Space | None = None) -> bool:
        """Return whether this family can model x in `space` given c in `context`; where not, `refusal` says why."""
        return cls.refusal(space, context) is None

    @classmethod
    def default_hyperparameters(cls, space: Space, rows: int) -> dict[str, Any]:
        """Return hyper-parameters that suit this many rows of `space`, where the defaults would not."""
        return {}

    @classmethod
    def sizes(cls, space: Space, rows: int) -> Sequence[Size]:
        """Return sizes of the family's net, the smallest first, from which `choose_size` takes the one that a time allows.

        None for a family of one size, `default_hyperparameters`, from which a size takes what it does not say itself.
        """
        return ()

    @property
    def family_name(self) -> str:
        """Return the family's name; for a model that wraps another, the other's."""
        return self.name or type(self).__name__

    @property
    def parameter_count(self) -> int:
        """Return how many numbers the model learns."""
        return sum(parameter.numel() for parameter in self.parameters())

    # -- training -----------------------------------------------------------------------------------------------------

    def losses(self) -> list[Loss]:
        """Return the losses of this family's training; none where it learns by counting."""
        return []

    @torch.no_grad()
    def initialise(self, x: Tensor, c: Tensor | None = None) -> None:
        """Set starting values that depend on data, such as a scale; `fit` does so before an `untrained` model's first step.

        Frozen parameters, which require no gradients, keep their values.

        Args:
            x: rows of the training set, (B, *shape).
            c: their context, (B, *context.shape).
        """
        with keeping_frozen(self):
            self._initialise(x, c)

    def _initialise(self, x: Tensor, c: Tensor | None) -> None:
        """Set the starting values; a family that needs none leaves this out."""

    def row_weights(self, x: Tensor, c: Tensor | None = None) -> Tensor | None:
        """Return weights by which training draws rows, (B,); None where all are drawn alike.

        Args:
            x: all rows of the training set, (B, *shape).
            c: their context, (B, *context.shape).
        """
        return None

    def criterion(self, x: Tensor, c: Tensor | None = None) -> float | None:
        """Return a distance of the model from validation rows, in the units of its loss; None where there is no such number."""
        return None

    # -- sampling -----------------------------------------------------------------------------------------------------

    def decode(self, x: Tensor, /, seed: int | None = None) -> Any:
        """Return x (n, *shape) in the form of the training data: a frame, an array, texts; unchanged where they were tensors.

        Where a column of the data is a key, `seed` repeats the new keys.
        """
        return x if self.codec is None else self.codec.decode(x, seed)

    @torch.no_grad()
    def sample(
        self,
        n: int,
        c: Tensor | None = None,
        seed: int | None = None,
        batch_size: int = 10_000,
        *,
        where: Mapping[str, Any] | Conditions | None = None,
        blanks: bool = False,
    ) -> Tensor:
        """Draw n rows.

        Args:
            n: how many.
            c: the context, (n, *context.shape), or one row for all; None: contexts drawn as often as training rows had them.
            seed: repeats the draw bit for bit, and leaves the global random state alone.
            batch_size: rows drawn at once.
            where: conditions on columns of a table, {"income": ">50K", "age": (30, 40), "city": ["Rome", "Oslo"]}: a value, the
                ends of a range, or a list of values.
            blanks: whether to draw blanks that stand for unknown values as often as in training, rather than values.

        Returns:
            x of shape (n, *space.shape) in data units; `decode` turns it into a frame.
        """
        n = check_count(n)
        c = self._context_for(c, n, seed)
        if where is not None:
            return draw_where(self, n, where, c, seed)
        parts, dtype = [], self._empty_draw().dtype
        with evaluating(self), isolated(seed, self):
            for at in range(0, max(n, 1), batch_size):  # once where n is 0, to return its shape
                draw = partial(self._checked_draw, None if c is None else c[at : at + batch_size], blanks)
                parts.append(self.space.rounded(self._obeying(draw, min(batch_size, n - at), blanks), dtype))
        return torch.cat(parts)

    def _empty_draw(self) -> Tensor:
        """Return an empty tensor on the device and of the type of draws: float64 where a parameter is, or the space's."""
        double = any(p.dtype == torch.float64 for p in self.parameters())
        return torch.empty(0, dtype=torch.float64 if double else self.space.dtype, device=self.device)

    @abstractmethod
    def _sample(self, n: int, c: Tensor | None) -> Tensor:
        """Return n draws (n, *space.shape) in data units, given c of n rows."""

    def _repr_html_(self) -> str:
        title = f"{self.name}: {self.info.title}, {self.parameter_count:,} parameters"
        return preformatted(f"{title}\n{self.info.formula}\n{self.space}")

    # -- inputs of nets, and checks -----------------------------------------------------------------------------------

    def _features(self, x: Tensor, c: Tensor | None) -> Tensor:
        """Return x and c as a net sees them together, (B, space.feature_dim + context.feature_dim)."""
        features = self.space.features(x).to(self.dtype)
        return features if c is None else torch.cat([features, self._context_features(c)], dim=1)  # type: ignore[list-item]

    def _context_features(self, c: Tensor | None) -> Tensor | None:
        """Return c as a net sees it, (B, context.feature_dim); None without a context."""
        if c is None or self.context is None:
            return None
        features = self.context.features(c).to(self.dtype)
        return features if self.context_net is None else self.context_net(features)

    @property
    def context_dim(self) -> int:
        """Return the width of `_context_features`; 0 without a context."""
        if self.context is None:
            return 0
        return self.context.feature_dim if self.context_net is None else self.context_net[-1].out_features  # type: ignore[return-value]

    @property
    def device(self) -> torch.device:
        """Return the device of the model's parameters and buffers."""
        each = (t.device for m in self.modules() for t in (*m.parameters(False), *m.buffers(False)))
        return next(each, torch.device("cpu"))

    @property
    def dtype(self) -> torch.dtype:
        """Return the floating type that the model computes in."""
        return next((p.dtype for p in self.parameters()), torch.float64)

    def _check(self, x: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return x and c on this model's device, checked against its spaces, c with a row for each of x.

        While PyTorch traces the computation, see `is_traced`, values are neither checked nor moved.
        """
        if is_traced():
            return x, self._check_context(c, len(x))
        if isinstance(x, Tensor):
            x = x.to(self.device, x.dtype if x.is_floating_point() else self.space.dtype)
        self.space.check(x)
        return x, self._check_context(c, len(x))

    def _check_context(self, c: Tensor | None, n: int) -> Tensor | None:
        """Return c on this model's device, checked, with n rows; None for a model without context."""
        if self.context is None:
            if c is not None:
                raise DataError(f"This {type(self).__name__} has no context; call it without c, or build it with context=.")
            return None
        if c is None:
            name, width = type(self).__name__, self.context.shape[0]
            raise DataError(f"This {name} has a context; pass c of shape ({n}, {width}) from {self.context!r}.")
        if not is_traced():
            if isinstance(c, Tensor):
                c = c.to(self.device, c.dtype if c.is_floating_point() else self.context.dtype)
            self.context.check(c, "c")
        if len(c) not in (1, n):
            raise DataError(f"c must have one row, or as many as there are data, {n}; got {len(c)}.")
        return c.expand(n, *c.shape[1:])
