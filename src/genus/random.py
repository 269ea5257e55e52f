"""Seeds that hold in threads: every draw in genus comes from the generator that `isolated` binds to this thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from genus.errors import GenusError

__all__ = [
    "block_seed", "draw_indices", "draws_by_generator", "dropout", "gumbel_like", "isolated", "normal_like", "random_state",
    "restore_random_state", "rng", "seed_bound", "torch_functions_seeded", "torch_state_seeded", "uniform_like",
]  # fmt: skip


class Source:
    """Hold the generators of one seed, one for each device, made at the first draw there."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.generators: dict[torch.device, torch.Generator] = {}

    def on(self, device: torch.device) -> torch.Generator:
        """Return the generator of a device."""
        if device not in self.generators:
            self.generators[device] = torch.Generator(device).manual_seed(self.seed)
        return self.generators[device]


# A context variable is a thread's own, so threads with seeds share nothing.
_bound: ContextVar[Source | None] = ContextVar("_bound", default=None)
_torch_functions_are_seeded: ContextVar[bool] = ContextVar("_torch_functions_are_seeded", default=False)
_torch_state = threading.RLock()  # held while torch's global random state stands in for a generator


@contextmanager
def isolated(seed: int | None, *modules: nn.Module) -> Iterator[None]:
    """Draw random numbers from `seed` inside the context, in this thread alone; torch's global random state stays as it is.

    Everything of genus draws from generators of the seed, which are passed along to the functions that draw. So do torch's own
    functions (`torch.randn`, `nn.init`, `nn.Dropout`, `torch.distributions`), unless `modules` are given and all of them are of
    genus. The few functions of torch that take no generator (attention with dropout, dropout between layers of `nn.GRU`) run
    under a lock, with torch's global random state seeded from the generator: equal seeds give equal numbers, unless another
    thread draws from the global state, without a seed, at that moment. The same holds of compiled losses. Numbers from
    elsewhere (NumPy) are not covered.

    Args:
        seed: of the draws inside; None: they come from the generators bound outside, or from torch's global random state.
        modules: all that draws inside, where that is known.

    >>> with isolated(0):
    ...     first = torch.rand(2)
    >>> with isolated(0):
    ...     print(torch.equal(first, torch.rand(2)))
    True
    """
    if seed is None:
        yield
        return
    with seed_bound(seed), torch_functions_seeded(*modules):
        yield


@contextmanager
def seed_bound(seed: int) -> Iterator[None]:
    """Bind a seed's generators in this thread as `isolated` does, for genus's own draws alone: `rng` returns them inside."""
    token = _bound.set(Source(seed))
    try:
        yield
    finally:
        _bound.reset(token)


def rng(device: torch.device | str | None = None) -> torch.Generator | None:
    """Return the generator to draw from on a device; None where no seed is bound, and torch's global state is to be used."""
    if torch.compiler.is_compiling() or (source := _bound.get()) is None:
        return None
    place = torch.device("cpu") if device is None else torch.device(device)
    if place.type == "cuda" and place.index is None:
        place = torch.device("cuda", torch.cuda.current_device())
    return None if place.type == "meta" else source.on(place)


def normal_like(x: Tensor) -> Tensor:
    """Return standard normal numbers of the shape, type and device of x."""
    return torch.empty_like(x, requires_grad=False).normal_(generator=rng(x.device))


def uniform_like(x: Tensor) -> Tensor:
    """Return uniform numbers from 0 to below 1 of the shape, type and device of x."""
    return torch.empty_like(x, requires_grad=False).uniform_(generator=rng(x.device))


def gumbel_like(x: Tensor) -> Tensor:
    """Return standard Gumbel numbers of the shape, type and device of x: argmax(x + them) is a draw by the logits x."""
    return -torch.empty_like(x, requires_grad=False).exponential_(generator=rng(x.device)).log()


def draw_indices(weights: Tensor, count: int | None = None, check: bool = True) -> Tensor:
    """Draw indices in proportion to weights, which need not add up to 1: a categorical distribution.

    Args:
        weights: (B, N), each row of which draws one index; or (N,).
        count: with weights (N,), how many indices are drawn, with replacement.
        check: look at the weights first, for which the processor waits for a GPU; False where they cannot be wrong.

    Raises:
        GenusError: the weights are not finite, or all of them are 0: a training has diverged, or a file is damaged.

    >>> draw_indices(torch.tensor([[0.0, 2.0], [1.0, 0.0]]))
    tensor([1, 0])
    """
    if check and not torch.compiler.is_compiling() and not _are_weights(weights):  # a trace cannot look at values
        raise GenusError(
            "The model has no probabilities to draw by: its numbers are not finite, or 0. Its training has diverged, or its"
            " file is damaged; train it again, with a smaller learning rate."
        )
    if count is None:
        return torch.multinomial(weights, 1, generator=rng(weights.device)).squeeze(-1)
    return torch.multinomial(weights, max(count, 1), replacement=True, generator=rng(weights.device))[:count]


def _are_weights(weights: Tensor) -> bool:
    """Return whether every row (..., N) can be drawn from: finite, none below 0, not all 0."""
    mass = weights.sum(-1)
    return bool((mass.isfinite() & (mass > 0)).all() & (weights >= 0).all())


def dropout(x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Return `torch.nn.functional.dropout(x, p, training)`, the mask drawn from the bound generator."""
    generator = rng(x.device) if training and 0 < p < 1 else None
    if generator is None:
        return nn.functional.dropout(x, p, training, inplace)
    mask = torch.empty_like(x, requires_grad=False).bernoulli_(1 - p, generator=generator).div_(1 - p)
    return x.mul_(mask) if inplace else x * mask


# -- layers and losses that know nothing of generators ------------------------------------------------------------------


TAKE_GENERATOR = set(
    """rand randn randint randperm normal bernoulli multinomial poisson binomial _standard_gamma _sample_dirichlet bernoulli_
    cauchy_ exponential_ geometric_ log_normal_ normal_ random_ uniform_ kaiming_uniform_""".split()  # noqa: SIM905 - shorter
)
LIKE = {"rand_like": "uniform_", "randn_like": "normal_"}
TAKE_NONE = set(
    """randint_like dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout feature_dropout dropout_ rrelu rrelu_
    gumbel_softmax fractional_max_pool2d fractional_max_pool3d fractional_max_pool2d_with_indices
    fractional_max_pool3d_with_indices multi_head_attention_forward scaled_dot_product_attention""".split()  # noqa: SIM905
)
RECURRENT = {"lstm", "gru", "rnn_tanh", "rnn_relu"}
TAKE_NONE |= RECURRENT
DRAWS = TAKE_GENERATOR | TAKE_NONE | {*LIKE, "dropout"}


class SeededTorchFunctions(TorchFunctionMode):
    """Hand the bound generator to every function of torch that draws, in this thread, as `with torch.device` does a device."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs, name = kwargs or {}, getattr(func, "__name__", "")
        if name not in DRAWS:  # nearly every call: what stands before this line is paid by all of them
            return func(*args, **kwargs)
        given = kwargs.get("generator") is not None or any(isinstance(value, torch.Generator) for value in args)
        if name in TAKE_GENERATOR and not given:
            kwargs = {**kwargs, "generator": rng(_place(args, kwargs))}
        elif name in LIKE:
            empty = torch.empty_like(*args, **{"requires_grad": False, **kwargs})
            with torch.no_grad():
                return getattr(empty, LIKE[name])(generator=rng(empty.device))
        elif name == "dropout" and func is nn.functional.dropout:
            return dropout(*args, **kwargs)
        elif name in TAKE_NONE and not _is_certain(name, args, kwargs):
            with torch_state_seeded():
                return func(*args, **kwargs)
        return func(*args, **kwargs)


def _is_certain(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Return whether attention or a recurrent net draws nothing, since it has no dropout."""
    if name == "scaled_dot_product_attention":
        return not kwargs.get("dropout_p", args[4] if len(args) > 4 else 0.0)
    # Of what a recurrent net is given, its dropout alone is a floating-point number.
    return name in RECURRENT and not any(isinstance(value, float) and value for value in (*args, *kwargs.values()))


def _place(args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.device:
    """Return the device on which a function with these arguments draws."""
    tensors = (value for value in (*args, *kwargs.values()) if isinstance(value, Tensor))
    first = next(tensors, None)
    if first is not None:
        return first.device
    return torch.device(kwargs.get("device") or torch.get_default_device())


@contextmanager
def torch_functions_seeded(*modules: nn.Module) -> Iterator[None]:
    """Let torch's own functions draw from the bound generator inside the context; without one they draw as usual.

    This costs some 4 microseconds for every call of a torch function. It is left out where `modules` names all that draws
    inside, and all of it passes the generator to torch's functions itself.
    """
    pass_generators = bool(modules) and all(map(draws_by_generator, modules))
    if pass_generators or _bound.get() is None or _torch_functions_are_seeded.get():
        yield
        return
    token = _torch_functions_are_seeded.set(True)
    try:
        with SeededTorchFunctions():
            yield
    finally:
        _torch_functions_are_seeded.reset(token)


@contextmanager
def torch_state_seeded() -> Iterator[None]:
    """Seed torch's global random state from the bound generator, under a lock, and restore it afterwards.

    For functions of torch that take no generator.
    """
    generator = rng()
    if generator is None:
        yield
        return
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    state = generator.get_state()
    with _torch_state, torch.random.fork_rng(devices=list(devices)):
        torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        try:
            yield
        except BaseException:
            generator.set_state(state)  # so that another attempt, uncompiled for instance, draws the same
            raise


def draws_by_generator(module: nn.Module) -> bool:
    """Return whether every part of a module is of genus, which passes generators on, or a torch layer that draws nothing."""
    return all(
        _of_genus(type(part)) and (type(part).__module__.startswith("genus.") or not _drops(part)) for part in module.modules()
    )


def _of_genus(cls: type) -> bool:
    """Return whether a class is of genus, or a layer of torch's that may draw by its dropout alone."""
    if cls.__module__.startswith("torch."):
        return not issubclass(cls, nn.RReLU | nn.FractionalMaxPool2d | nn.FractionalMaxPool3d)
    return cls.__module__.split(".")[0] == "genus"


def _drops(layer: nn.Module) -> bool:
    """Return whether a layer of torch drops anything in training."""
    shares = (getattr(layer, name, 0.0) for name in ("p", "dropout"))
    return any(isinstance(share, int | float) and share > 0 for share in shares)


# -- states ---------------------------------------------------------------------------------------------------------------


def random_state(device: torch.device) -> dict[str, Tensor]:
    """Return the states of the generators that are drawn from: the processor's, and the device's."""
    if (bound := rng()) is None:
        state = {"cpu": torch.random.get_rng_state()}
        return state | ({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})
    return {"cpu": bound.get_state(), device.type: rng(device).get_state()}  # type: ignore[union-attr]


def restore_random_state(state: dict[str, Tensor], device: torch.device) -> None:
    """Restore the states that `random_state` returned."""
    for name, tensor in state.items():
        if (bound := rng("cpu" if name == "cpu" else device)) is not None:
            bound.set_state(tensor)
        elif name == "cpu":
            torch.random.set_rng_state(tensor)
        elif name == "cuda":
            torch.cuda.set_rng_state(tensor, device)


def block_seed(number: int, seed: int) -> int:
    """Return the seed of a block of rows, counted from 0, of a draw with a seed, which the first block has itself.

    >>> block_seed(0, 5)
    5
    """
    return seed if number == 0 else int(np.random.SeedSequence((seed, number)).generate_state(1, np.uint64)[0] >> 1)
