"""The ladder of generative models. Each rung adds one question that can be answered.

    GenerativeModel            sample(n, c), impute(x)            implicit density
      ApproximateDensity       elbo(x, c), log_evidence(x, c)     a bound, and an estimate
        TractableDensity       log_prob(x, c)                     exact

A model that cannot answer a question does not have the method. Families register themselves by naming themselves:
`class MAF(TractableDensity, name="maf")`.
"""

from __future__ import annotations

import inspect
import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from genus.errors import DataError, GenusError
from genus.hyper import as_json
from genus.memory import kept_memory
from genus.nets.missing import ABLE, Combinations, combinations, filled, patterns, put, shown, some_row
from genus.space import Category, Space
from genus.transforms.core import same_source

__all__ = [
    "BOUND_DRAWS",
    "ApproximateDensity",
    "Counted",
    "GenerativeModel",
    "Loss",
    "TractableDensity",
    "frozen",
    "in_batches",
    "isolated",
    "named",
    "nameless",
    "registered",
    "rows_asked",
]

registered: dict[str, type[GenerativeModel]] = {}  # every family by name, as its class is made


@dataclass(frozen=True)
class Loss:
    """One player of a training game: it moves `parameters` to lower `value(x, c)`.

    Args:
        name: for the history, the progress bar and error messages.
        parameters: the tensors this player owns.
        value: (x, c) -> scalar, in nats where it is a likelihood.
        interval: the player moves at every such step; a GAN's generator at every fifth, say.
        optimizer: keyword arguments of Adam that this player's training is known to need (lr, betas).
        matrices: those of the parameters that Muon moves and not Adam.
        module: whose parameters they are, where it is no part of the model: its buffers then travel to the device and into
            checkpoints too.
        evaluate: (x, c) -> numbers of held-out rows by name, for the history; one named "criterion" is in place of the model's.
        after: called after every step of this player: weights clipped, say.
        made_of: what it was made with, JSON values: a training resumes with losses that were made with the same.
    """

    name: str
    parameters: Iterable[nn.Parameter]
    value: Callable[[Tensor, Tensor | None], Tensor]
    interval: int = 1
    optimizer: dict[str, Any] = field(default_factory=dict)
    matrices: Iterable[nn.Parameter] = ()
    module: nn.Module | None = None
    evaluate: Callable[[Tensor, Tensor | None], dict[str, float]] | None = None
    after: Callable[[], None] | None = None
    made_of: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.name in ("step", "epoch", "seconds", "criterion", "watched"):
            raise GenusError(f"A loss cannot be called {self.name!r}, which is a column of the history; give it another name.")
        if isinstance(self.interval, bool) or not isinstance(self.interval, int) or self.interval < 1:
            raise GenusError(f"interval is at which steps a player moves, a whole number of at least 1; got {self.interval!r}.")


@contextmanager
def isolated(seed: int | None) -> Iterator[None]:
    """Random numbers from `seed` inside; the global random state is as it was afterwards. With None: torch's own state."""
    if seed is None:
        yield
        return
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with torch.random.fork_rng(devices=list(devices)):
        torch.manual_seed(seed)
        yield


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """What is computed inside gives no gradients to the module's parameters."""
    learning = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)


MANY = 1000  # rows that are worth keeping memory for
BOUND_DRAWS = 16  # of a bound's noise, which it is averaged over wherever a number is reported
AT_ONCE = 2**21  # numbers that are decoded together for importance weights: 8 MB, which a processor's caches hold


class GenerativeModel(nn.Module):
    """A distribution over a space that can be sampled; complete at birth.

    Args:
        space: of x.
        context: the space of what is conditioned on; None for no condition.
        hyper: every other argument of the family, kept as JSON values for saving; refused where they cannot be, or where a
            number is not of the kind that the family annotates.

    A family gives `_sample` and one of: `losses` (trained by gradients) or `Counted` (learns by counting). It states in
    `limits` which spaces it cannot model, in a sentence a user will read.
    """

    name: ClassVar[str] = ""
    title: ClassVar[str] = ""  # its name in words
    group: ClassVar[str] = ""  # its branch of the taxonomy, for `genus families`
    takes: ClassVar[str] = "any table or image"
    listed: ClassVar[bool] = True  # among `families()`; not where it is put around others, or together by hand
    sequences: ClassVar[bool] = False  # whether it models sequences of any length
    likelihood: ClassVar[str] = "none"  # what its log-density is: exact, bound or none
    fit_defaults: ClassVar[Mapping[str, Any]] = MappingProxyType({})  # arguments of `fit` that its training is known to need

    def __init_subclass__(cls, name: str = "", **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if name:
            there = registered.get(name)
            if there is not None and not same_source(there, cls):  # a notebook's own may be defined anew
                raise GenusError(
                    f"There is a family {name!r} already, {there.__module__}.{there.__qualname__}; give {cls.__qualname__}"
                    " another name, since files and the command line find families by it."
                )
            cls.name = name
            registered[name] = cls

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        made = super().__new__(cls)
        signature = inspect.signature(cls.__init__)
        try:
            given = signature.bind_partial(made, *args, **kwargs).arguments
        except TypeError:  # the constructor says it better
            given = {}
        # What a family does not hand on to `hyper` would be lost in a file, without a word. Model, space, context come first.
        hyper = list(signature.parameters.values())[3:]
        asked = [p.name for p in hyper if p.name in given and not _is_default(given[p.name], p)]
        object.__setattr__(made, "asked", asked)
        return made

    asked: list[str]  # the arguments that this model was given, but for defaults

    def __init__(self, space: Space, context: Space | None = None, **hyper: Any) -> None:
        super().__init__()
        for name, one in {"space": space, "context": context}.items():
            if not isinstance(one, Space) and (one is not None or name == "space"):
                raise GenusError(f"{name} must be a Space; got {type(one).__name__}. Give other arguments by name.")
        if reason := self.refusal(space, context):
            raise DataError(f"{type(self).__name__} cannot model this: {reason}")
        self.space = space
        self.context = context
        self.hyper = as_json(type(self), hyper)
        # How often each level of a categorical context was seen in training, the prior of the Bayes classifier; uniform before.
        levels = context.kinds[0].states if context is not None and context.dim == 1 and context.columns(Category) else 0
        self.register_buffer("context_counts", torch.ones(levels, dtype=torch.float64) if levels else None)
        self.register_buffer("begun", torch.zeros((), dtype=torch.bool))

    context_counts: Tensor | None
    begun: Tensor  # whether training has initialised it: a later one goes on from there

    # -- what a family may say of itself ------------------------------------------------------------------------------

    @classmethod
    def rung(cls) -> str:
        """Where it stands on the ladder: "tractable", "approximate" or "implicit"."""
        return {"exact": "tractable", "bound": "approximate"}.get(cls.likelihood, "implicit")

    @classmethod
    def refusal(cls, space: Space, context: Space | None = None) -> str | None:
        """Why this family cannot model x in `space` given c in `context`; None where it can."""
        if space.sequence and not cls.sequences:
            return "it models rows of columns or pixels, and these are sequences"
        return cls.limits(space, context)

    @classmethod
    def limits(cls, space: Space, context: Space | None = None) -> str | None:
        """The family's own part of `refusal`."""
        return None

    @classmethod
    def accepts(cls, space: Space, context: Space | None = None) -> bool:
        """Whether this family can model x in `space` given c in `context`; `refusal` says why not."""
        return cls.refusal(space, context) is None

    @classmethod
    def default_hyperparameters(cls, space: Space, rows: int) -> dict[str, Any]:
        """Hyper-parameters that suit this many rows of `space`, where the defaults would not."""
        return {}

    def losses(self) -> list[Loss]:
        """The players of this family's training; none where it learns by counting."""
        return []

    def initialise(self, x: Tensor, c: Tensor | None = None) -> None:
        """Called by the first training, with rows of the training set, before its first step: a scale, a centre."""

    def emphasis(self, x: Tensor, c: Tensor | None = None) -> Tensor | None:
        """Called by training once, with all rows of the training set: how often each is to be seen, in proportion, (B,); None
        where all are seen alike."""
        return None

    def criterion(self, x: Tensor, c: Tensor | None = None) -> float | None:
        """How far the model is from held-out rows, lower is better, in the units of its loss; None: cannot say."""
        return None

    # -- sampling -----------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def sample(self, n: int, c: Tensor | None = None, seed: int | None = None, batch_size: int = 10_000) -> Tensor:
        """Draw n data.

        Args:
            n: how many.
            c: the condition, (n, *context.shape), or one row that all share; None for a model without context.
            seed: repeats the draw bit for bit, and leaves the global random state alone.
            batch_size: rows drawn at once.

        Returns:
            x of shape (n, *space.shape) in data units; `space.decode` turns it into a frame.
        """
        n = rows_asked(n)
        c = self._check_context(c, n)
        training = self.training
        self.eval()  # in training mode rows could depend on their neighbours
        try:
            with isolated(seed), kept_memory() if n > MANY else nullcontext():
                sizes = [batch_size] * (n // batch_size) + ([n % batch_size] if n % batch_size or n == 0 else [])
                parts, at = [], 0
                for size in sizes:
                    drawn = self._sample(size, None if c is None else c[at : at + size])
                    parts.append(shaped(drawn, (size, *self.space.shape), f"{type(self).__name__}._sample"))
                    at += size
        finally:
            self.train(training)
        return torch.cat(parts)

    def _sample(self, n: int, c: Tensor | None) -> Tensor:
        raise TypeError(f"{type(self).__name__} must define _sample(n, c).")

    @torch.no_grad()
    def impute(self, x: Tensor, missing: Tensor | None = None, c: Tensor | None = None, seed: int | None = None) -> Tensor:
        """x (B, *shape) with entries that are not known -> x with these drawn given the others, by the model's distribution.

        Exact where the density is; a model with a code comes near: see `LatentVariable.impute`. What can be drawn given what
        depends on the family: `mixture` and `naive-bayes` answer for any entries, the chain rule for those that come last in
        its order and, as every exact density does, for entries of few possible values.

        Args:
            missing: bool, shaped as x; what x holds there is not looked at. None: where x is NaN and its column has no missing
                value; where it has one, NaN is a value like others.
            c, seed: as for `sample`.

        Returns:
            In x's type or the space's, whichever holds more digits; what is known is bit for bit as it was given.

        Raises:
            GenusError: the family cannot draw these given the others; the message names some that can.
        """
        return self._filled(x, missing, c, seed, self._impute)

    def _filled(
        self, x: Tensor, missing: Tensor | None, c: Tensor | None, seed: int | None, draw: Callable[..., Tensor]
    ) -> Tensor:
        """`impute` by draw(x, missing, c), which gets checked rows with some value where one is missing, and where, (B, D)."""
        if self.space.sequence:
            raise GenusError("Sequences have no entries to fill in; sample(prefix=...) goes on from what one begins with.")
        whole, gone = filled(self.space, x, missing)
        whole, c = self._check(whole, c)
        training = self.training
        self.eval()
        try:
            with isolated(seed):
                drawn = draw(whole.to(self.space.dtype), gone.to(whole.device), c)
        finally:
            self.train(training)
        # What is known comes back as it was given: x may have more digits than the space's type holds.
        dtype = torch.promote_types(whole.dtype, drawn.dtype)
        return torch.where(gone.to(whole.device).view_as(whole), drawn.to(dtype), whole.to(dtype))

    def _impute(self, x: Tensor, missing: Tensor, c: Tensor | None) -> Tensor:
        """x with the entries of missing (B, D) drawn; rows that lack the same go together."""
        out = x.clone()
        for rows, columns in patterns(missing):
            if columns:
                given, whole = None if c is None else c[rows], len(columns) == self.space.dim
                drawn = self._sample(len(rows), given) if whole else self._conditional(x[rows], columns, given)
                out[rows] = torch.where(missing[rows].view_as(drawn), drawn.to(x.dtype), x[rows])
        return out

    def _conditional(self, x: Tensor, columns: list[int], c: Tensor | None) -> Tensor:
        """x with these columns, which are not all, drawn given the others."""
        raise GenusError(
            f"{self.name} cannot draw {shown(self.space, columns)} given the others; {ABLE}; vae and iwae nearly can, for any."
        )

    @property
    def known_as(self) -> str:
        """The family's name; of what is put around another, the other's."""
        return self.name or type(self).__name__

    @property
    def parameter_count(self) -> int:
        """How many numbers the model learns."""
        return sum(parameter.numel() for parameter in self.parameters())

    # -- shared checks ------------------------------------------------------------------------------------------------

    def _features(self, x: Tensor, c: Tensor | None) -> Tensor:
        """What a net sees of x and c together: (B, space.feature_dim + context.feature_dim)."""
        features = self.space.features(x).to(self.dtype)
        return features if c is None else torch.cat([features, self._context_features(c)], dim=1)  # type: ignore[list-item]

    def _context_features(self, c: Tensor | None) -> Tensor | None:
        """What a net sees of c: (B, context.feature_dim); None without a context."""
        return None if c is None or self.context is None else self.context.features(c).to(self.dtype)

    @property
    def context_dim(self) -> int:
        """The width of `_context_features`; 0 without a context."""
        return 0 if self.context is None else self.context.feature_dim

    @property
    def device(self) -> torch.device:
        return next((t.device for t in (*self.parameters(), *self.buffers())), torch.device("cpu"))

    @property
    def dtype(self) -> torch.dtype:
        """The floating type this model computes in."""
        return next((p.dtype for p in self.parameters()), torch.float64)

    def _check(self, x: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """x and c on this model's device, checked against its spaces."""
        if isinstance(x, Tensor):
            x = x.to(self.device, x.dtype if x.is_floating_point() else self.space.dtype)
        self.space.check(x)
        return x, self._check_context(c, len(x))

    def _check_context(self, c: Tensor | None, n: int) -> Tensor | None:
        if self.context is None:
            if c is not None:
                raise DataError(f"This {type(self).__name__} has no context; call it without c, or build it with context=.")
            return None
        if c is None:
            shape = f"({n}, {self.context.shape[0]})"
            raise DataError(f"This {type(self).__name__} is conditional; pass c of shape {shape} from {self.context!r}.")
        if isinstance(c, Tensor):
            c = c.to(self.device, c.dtype if c.is_floating_point() else self.context.dtype)
        self.context.check(c, "c")
        if len(c) not in (1, n):
            raise DataError(f"c must have one row, or as many as there are data, {n}; got {len(c)}.")
        return c.expand(n, *c.shape[1:])


class ApproximateDensity(GenerativeModel):
    """A distribution whose log-density has a lower bound, `elbo`, and an estimate, `log_evidence`."""

    likelihood = "bound"

    def losses(self) -> list[Loss]:
        return [Loss("elbo", self.parameters(), lambda x, c: -self._elbo(x, c).mean())]

    @torch.no_grad()
    def criterion(self, x: Tensor, c: Tensor | None = None) -> float | None:
        return -in_batches(self.elbo, x, c).mean().item()

    def elbo(self, x: Tensor, c: Tensor | None = None, seed: int | None = None) -> Tensor:
        """x (B, *shape) -> (B,): a lower bound on log p(x|c), in nats, in data units, constants included."""
        x, c = self._check(x, c)
        with isolated(seed):
            return shaped(self._elbo(x, c), (len(x),), f"{type(self).__name__}._elbo")

    def _elbo(self, x: Tensor, c: Tensor | None) -> Tensor:
        raise TypeError(f"{type(self).__name__} must define _elbo(x, c).")

    def _log_weights(self, x: Tensor, c: Tensor | None, samples: int) -> Tensor:
        """Draws of the log of the importance weight, (samples, B): their mean is the bound, the log of the weights' mean the
        evidence."""
        return torch.stack([self._elbo(x, c) for _ in range(samples)])

    def log_evidence(self, x: Tensor, c: Tensor | None = None, samples: int = 64, seed: int | None = None) -> Tensor:
        """x (B, *shape) -> (B,): log p(x|c) in nats, estimated by the mean of `samples` importance weights.

        In expectation a lower bound that tightens with `samples` (Burda et al. 2016, arXiv:1509.00519); `importance` gives the
        effective number of samples too.
        """
        return self.importance(x, c, samples, seed)[0]

    @torch.no_grad()
    def importance(
        self, x: Tensor, c: Tensor | None = None, samples: int = 64, seed: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """x (B, *shape) -> `log_evidence` (B,), and of how many equal weights these are worth, from 1 to `samples` (B,).

        Few effective samples (Kong 1992) say that the estimate is not to be trusted.
        """
        if samples < 1:
            raise GenusError(f"samples is how many importance weights are averaged, 1 or more; got {samples}.")
        x, c = self._check(x, c)
        once = max(1, AT_ONCE // max(len(x) * self.space.dim, 1))
        with isolated(seed):
            parts = [self._log_weights(x, c, min(once, samples - at)) for at in range(0, samples, once)]
        first = torch.stack([part.logsumexp(0) for part in parts]).logsumexp(0)
        second = torch.stack([(2 * part).logsumexp(0) for part in parts]).logsumexp(0)
        return first - math.log(samples), (2 * first - second).exp()

    def class_log_probs(self, x: Tensor) -> Tensor:
        """x (B, *shape) -> (B, levels): log p(y|x), y the one categorical context, by Bayes' rule p(y|x) ~ p(y) p(x|y).

        Exact where the log-density is; otherwise `log_evidence` stands in for it, with the same noise for every class.
        """
        if self.context is None or self.context_counts is None:
            raise DataError("Only a model whose context is one categorical column is a classifier; build it with that context.")
        prior = (self.context_counts / self.context_counts.sum()).log()
        every = (torch.full((1, 1), float(y), dtype=self.context.dtype) for y in range(len(prior)))
        rows = [self.log_evidence(x, c, seed=0) for c in every]
        return (torch.stack(rows, dim=1) + prior.to(rows[0].dtype)).log_softmax(1)


class TractableDensity(ApproximateDensity):
    """A distribution whose log-density is exact: the bound and the evidence are the log-density itself."""

    likelihood = "exact"

    def losses(self) -> list[Loss]:
        return [Loss("nll", self.parameters(), lambda x, c: -self._log_prob(x, c).mean())]

    def log_prob(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        """x (B, *shape) -> (B,): log p(x|c), exact, in nats, in data units (`Space` fixes the base measure)."""
        x, c = self._check(x, c)
        return shaped(self._log_prob(x, c), (len(x),), f"{type(self).__name__}._log_prob")

    def _log_prob(self, x: Tensor, c: Tensor | None) -> Tensor:
        raise TypeError(f"{type(self).__name__} must define _log_prob(x, c).")

    def log_marginal(self, x: Tensor, columns: Sequence[int] | None = None, c: Tensor | None = None) -> Tensor:
        """x (B, len(columns)), values of those columns alone -> (B,): their log-density, all other columns left out, exact.

        Without `columns`, x is (B, *shape), and of every row those entries are left out that are NaN where their column has no
        missing value. The density of some columns given others is a difference: log p(a | b) = log p(a, b) - log p(b).

        Raises:
            GenusError: this family cannot leave these columns out; the message names some that can.
        """
        if columns is None:
            return self._log_present(x, c)
        chosen = [int(i) for i in columns]
        if self.space.sequence or sorted({*chosen}) != sorted(chosen) or not {*chosen} <= {*range(self.space.dim)}:
            raise DataError(
                f"columns must name different coordinates of a table, from 0 to {self.space.dim - 1}; got {chosen}."
            )
        if not isinstance(x, Tensor) or x.ndim != 2 or x.shape[1] != len(chosen):
            raise DataError(
                f"x must have the values of {len(chosen)} columns, (B, {len(chosen)}); got {tuple(getattr(x, 'shape', ()))}."
            )
        c = self._check_context(c, len(x))
        if not chosen:
            return torch.zeros(len(x), dtype=self.dtype, device=self.device)
        x = x.to(self.device, x.dtype if x.is_floating_point() else self.space.dtype)
        Space([self.space.kinds[i] for i in chosen]).check(x)
        return self._log_marginal(x, chosen, c)

    def _log_present(self, x: Tensor, c: Tensor | None) -> Tensor:
        """`log_marginal` of what is there in every row; rows that lack the same go together."""
        if self.space.sequence:
            return self.log_prob(x, c)
        whole, missing = filled(self.space, x, None)
        whole, c = self._check(whole, c)
        parts = [whole.new_zeros(0, dtype=self.dtype)]
        order = [torch.zeros(0, dtype=torch.long, device=whole.device)]
        for rows, columns in patterns(missing.to(whole.device)):
            part, given = whole[rows], None if c is None else c[rows]
            there = [i for i in range(self.space.dim) if i not in columns]
            found = self._log_marginal(part.flatten(1)[:, there], there, given) if columns and there else None
            found = self._log_prob(part, given) if not columns else found
            parts.append(part.new_zeros(len(part)) if found is None else found)  # of nothing the density is 1
            order.append(rows)
        return torch.cat(parts)[torch.cat(order).argsort()]

    def _order(self) -> tuple[Sequence[int], int]:
        """An order of the columns, and from how many on the density of its first ones is known, to `_log_first`."""
        return range(self.space.dim), self.space.dim

    def _log_first(self, x: Tensor, m: int, c: Tensor | None) -> Tensor:
        """The log-density (B,) of the first m columns in `_order`, whatever x holds in the others."""
        return self._log_prob(x, c)

    def _draw_rest(self, x: Tensor, m: int, c: Tensor | None) -> Tensor:
        """x with all but the first m columns in `_order` drawn given those."""
        return x

    def _combinations(self, x: Tensor, columns: list[int], c: Tensor | None) -> Combinations | None:
        return combinations(self.space, *self._order(), columns, self._log_first, x, c)

    def _log_marginal(self, x: Tensor, columns: list[int], c: Tensor | None) -> Tensor:
        """What comes last in the order is seen by none of the others; what stands between is summed over."""
        out = [i for i in range(self.space.dim) if i not in columns]
        whole = some_row(self.space, x).repeat(len(x), 1).view(-1, *self.space.shape)
        found = self._combinations(put(whole, columns, x), out, c)
        if found is None:
            raise GenusError(f"{self.name} cannot leave out {shown(self.space, out)}; {ABLE}.")
        return found.log_each.logsumexp(1)

    def _conditional(self, x: Tensor, columns: list[int], c: Tensor | None) -> Tensor:
        found = self._combinations(x, columns, c)
        return super()._conditional(x, columns, c) if found is None else self._draw_rest(found.draw(x), found.first, c)

    def _elbo(self, x: Tensor, c: Tensor | None) -> Tensor:
        return shaped(self._log_prob(x, c), (len(x),), f"{type(self).__name__}._log_prob")

    def log_evidence(self, x: Tensor, c: Tensor | None = None, samples: int = 1, seed: int | None = None) -> Tensor:
        """The exact log-density; more samples change nothing."""
        return self.log_prob(x, c)


class Counted:
    """Learns from additive sufficient statistics, kept in buffers: streams, and merges across workers.

    `passes` is 1 where one pass over the data is the maximum-likelihood fit; None where passes repeat until the
    likelihood stands still (EM).
    """

    passes: ClassVar[int | None] = 1
    statistics: ClassVar[tuple[str, ...]] = ()  # the buffers that hold them, "part.buffer" where a part of the model does

    def observe(self, x: Tensor, c: Tensor | None = None) -> None:
        """Add the rows x (B, *shape) to the statistics."""
        raise TypeError(f"{type(self).__name__} must define observe(x, c).")

    def conclude(self) -> None:
        """Set the parameters from the statistics."""
        raise TypeError(f"{type(self).__name__} must define conclude().")

    @property
    def parameter_count(self) -> int:
        """How many numbers the model learns: its floating buffers that are not statistics."""
        known = {*self.statistics, "context_counts"}
        buffers = self.state_dict().items()  # type: ignore[attr-defined]
        return sum(buffer.numel() for name, buffer in buffers if name not in known and buffer.is_floating_point())

    def merge(self, other: Counted) -> None:
        """Add the statistics of another model of the same shape, which observed other rows; then `conclude`."""
        for mine, theirs in zip(self._tallies(), other._tallies(), strict=True):
            mine.add_(theirs)

    def clear(self) -> None:
        """Forget the statistics; the parameters stay."""
        for tally in self._tallies():
            tally.zero_()

    def _tallies(self) -> list[Tensor]:
        return [self.get_buffer(name) for name in self.statistics]  # type: ignore[attr-defined]


def _is_default(value: Any, parameter: inspect.Parameter) -> bool:
    """Whether an argument says what is said without it, or is no hyper-parameter by name."""
    if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
        return True
    plain = isinstance(value, bool | int | float | str | list | tuple)
    return value is parameter.default or (plain and value == parameter.default)


def shaped(found: Tensor, shape: tuple[int, ...], what: str) -> Tensor:
    """What a family's own method gave, if it has the shape that was asked for: others would be broadcast without a word.

    Raises:
        GenusError: it has not.
    """
    if not isinstance(found, Tensor) or found.shape != shape:
        got = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise GenusError(f"{what} must give a tensor of shape {shape}, one entry for each row; it gave {got}.")
    return found


def rows_asked(n: int) -> int:
    """How many rows to draw, of whatever kind of whole number.

    Raises:
        GenusError: it is none, or below 0.
    """
    try:
        count = -1 if isinstance(n, bool) else operator.index(n)
    except TypeError:
        count = -1
    if count < 0:
        raise GenusError(f"Cannot sample {n!r} rows; ask for a whole number, 0 or more.")
    return count


def in_batches(f: Callable[..., Tensor], x: Tensor, c: Tensor | None = None, rows: int | None = None) -> Tensor:
    """f(x, c) over chunks of rows, by default the fewer the longer they are, so that memory does not grow with their number."""
    rows = rows or max(1, min(8192, 2**17 // max(x[:1].numel(), 1)))
    if len(x) <= rows:
        return f(x, c)
    return torch.cat([f(x[i : i + rows], None if c is None else c[i : i + rows]) for i in range(0, len(x), rows)])


def nameless(cls: type[GenerativeModel]) -> str | None:
    """Why a class cannot be found by its name; None where it can."""
    if not vars(cls).get("name"):
        how = f"class {cls.__name__}(..., name=...)"
        return f"it is no family by name, and files and comparisons find families by theirs; define it as {how}."
    there = registered.get(cls.name, cls)
    if there is not cls and not (same_source(there, cls) and there.__qualname__ == cls.__qualname__):
        return f"its name {cls.name!r} is that of {there.__module__}.{there.__qualname__} now."
    return None


def named(name: str) -> type[GenerativeModel]:
    """The registered family of that name.

    Raises:
        GenusError: there is none.
    """
    if name not in registered:
        raise GenusError(f"There is no family {name!r}; there are {', '.join(registered)}.")
    return registered[name]
