"""The laws of models: each takes a model, data x (B, *shape) and context c, and raises `LawError` where the model breaks it.

A law returns True where it was checked and held, and False where it could not be checked (a space too large to sum over, say).
Every law takes x, even where it does not use it, so that one loop can call all.
`require(holds, message)` raises the error, and `isolated(seed)` makes what is drawn inside it come from the seed.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import Tensor

from genus.errors import GenusError, ModelFileError
from genus.files import load, save
from genus.ladder import ApproximateDensity, GenerativeModel, TractableDensity, build_family, map_batches
from genus.laws.core import LawError, Waits, base_measure, context_rows, every_datum, require, require_close
from genus.models import MarkovChain, Mixture
from genus.random import isolated
from genus.space import Category, Lattice
from genus.training import fit

__all__ = [
    "bound_is_below_the_evidence",
    "draws_follow_the_context",
    "evidence_has_mass_one_at_most",
    "files_keep_the_model",
    "frequencies_are_probabilities",
    "gradients_reach_every_parameter",
    "losses_do_not_synchronise",
    "mass_is_one",
    "mass_is_one_by_quadrature",
    "require_frequencies",
    "rows_are_independent",
    "samples_are_data",
    "samples_follow_the_density",
]

DRAWS, NUMBERS = 4000, 40_000  # the most rows that `_mass` draws, and the most numbers in all, rows x columns
TOO_UNLIKE = 0.99  # the mean of p / (p + q) over samples of p above which q is too unlike p for `_mass` to compare them
BOUNDS = 32  # draws of a bound that are averaged
ROUNDING = 1e-4  # of numbers in float32: relative, of a log-density; absolute, of a sum of probabilities
MASS_SLACK = 0.01  # of a mass, beyond five standard errors, which are too small where rare draws matter most
EVIDENCE_SLACK = 0.05  # of a mass, likewise, where the evidence itself is an estimate; and what counts as near 1
BOUND_SLACK = 0.2  # nats by which a mean bound may exceed the evidence: both are estimated from samples
FEW_DRAWS = 2  # draws by which a count may differ beyond five standard errors: small counts are not normal
SIGMAS = 5  # standard errors by which an estimate may differ: in thousands of checks none exceeds them by chance
NAN_STANDS_AS = -1e9  # a number that no datum has takes the place of NaN (a missing value), since no NaN equals another


def files_keep_the_model(model: GenerativeModel, x: Tensor, c: Tensor | None) -> bool:
    """Check that a model, saved and loaded, draws the same samples and gives the same log-density.

    A model whose nets were put in by hand is loaded by `load(path, into=)`, into a copy with other weights.
    """
    name = type(model).__name__
    try:
        with isolated(0):  # building it must not change torch's own random state
            built = build_family(model.config | {"class": model.name}, model.space, model.context)
    except (GenusError, TypeError, ValueError) as error:
        raise LawError(f"{name} cannot be built again from its hyper-parameters: {error}") from error
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.genus"
        save(model, path)
        try:
            loaded = load(path, into=None if _structure(built) == _structure(model) else _zeroed(model)).to(model.device)
        except ModelFileError as error:
            raise LawError(f"{name} is saved but cannot be loaded: {error}") from error
    rows = context_rows(c, 20)
    drawn, expected = loaded.sample(20, rows, seed=0), model.sample(20, rows, seed=0)
    require_close(drawn, expected, f"{name}: saved and loaded it draws otherwise")
    if isinstance(model, ApproximateDensity) and isinstance(loaded, ApproximateDensity):
        with torch.no_grad():
            bound, expected = loaded.elbo(x, c, seed=0), model.elbo(x, c, seed=0)
        require_close(bound, expected, f"{name}: saved and loaded it gives another log-density")
    return True


def _structure(model: GenerativeModel) -> list[tuple[str, str]]:
    """Return the class of every part and the shape of every tensor, which differ where a net was put in by hand."""
    parts = [(name, type(part).__qualname__) for name, part in model.named_modules()]
    return parts + [(name, str(tuple(tensor.shape))) for name, tensor in model.state_dict().items()]


def _zeroed(model: GenerativeModel) -> GenerativeModel:
    """Return a copy whose weights are all 0, so that what a file leaves out shows."""
    model = copy.deepcopy(model)
    for tensor in model.state_dict().values():
        tensor.zero_()
    return model


def samples_are_data(model: GenerativeModel, x: Tensor, c: Tensor | None) -> bool:
    """Check that samples are data of the space, that a seed repeats them, and that torch's own random state stays."""
    rows, name = context_rows(c, 50), type(model).__name__
    before = torch.random.get_rng_state()
    first, second = model.sample(50, rows, seed=3), model.sample(50, rows, seed=3)
    require(torch.equal(torch.random.get_rng_state(), before), f"{name}.sample(seed=) moves torch's own random numbers")
    require_close(first, second, f"{name}.sample does not repeat itself by its seed", tolerance=0.0)
    expected = torch.float64 if torch.float64 in {p.dtype for p in model.parameters()} else model.space.dtype
    require(first.dtype == expected, f"{name}.sample gives {first.dtype}, not {expected}")
    try:
        model.space.check(first, "a sample")
    except GenusError as error:
        raise LawError(f"{name}.sample draws rows that are not in its space: {error}") from error
    none = model.sample(0, context_rows(c, 1)).shape
    require(none == (0, *model.space.shape), f"{name}.sample(0) has the shape {tuple(none)}, not (0, *space.shape)")
    return True


@torch.no_grad()
def rows_are_independent(model: ApproximateDensity, x: Tensor, c: Tensor | None) -> bool:
    """Check that the log-density of a row, or its bound on average, does not depend on the others."""
    name = type(model).__name__
    if not isinstance(model, TractableDensity):  # a bound draws noise for all rows together, so only its means can be compared
        few, contexts = x[:8], None if c is None else c[:8]
        alone = torch.stack([model.elbo(few[:1], None if c is None else c[:1], seed=s)[0] for s in range(BOUNDS)])
        among_others = torch.stack([model.elbo(few, contexts, seed=BOUNDS + s)[0] for s in range(BOUNDS)])
        difference = float((alone.double() - among_others.double()).mean())
        error = float((alone.double().var() + among_others.double().var()).div(BOUNDS).sqrt())
        near = abs(difference) <= SIGMAS * error + ROUNDING * (1 + abs(float(alone.mean())))
        require(near, f"{name}: the bound of a row alone is {difference:.3g} nats another than among others, on average")
        return True
    together = model.log_prob(x, c)
    require(not bool(together.isnan().any()), f"{name}.log_prob is NaN of some data")
    tolerance = ROUNDING if together.dtype == torch.float32 else 1e-9
    for part in (slice(0, 0), slice(0, 1), slice(1, None, 2)):  # no row, one row, every other row
        alone = model.log_prob(x[part], None if c is None else c[part])
        require_close(alone, together[part], f"{name}.log_prob of rows depends on those beside them", tolerance)
    return True


@torch.no_grad()
def mass_is_one(model: TractableDensity, x: Tensor, c: Tensor | None, tolerance: float = ROUNDING) -> bool:
    """Check that the probabilities of all data sum to 1, where they can be enumerated; of sequences for every such length."""
    all_data = every_datum(model.space)  # of sequences, those of the greatest length of which there are few enough
    if all_data is None:
        return False
    lengths = range(1, all_data.shape[1] + 1) if model.space.sequence else [None]
    for length in lengths:
        points = all_data if length is None else every_datum(model.space, length)
        assert points is not None
        mass = float(_probabilities(model, points, c).sum())
        what = "all data" if length is None else f"all sequences of length {length}"
        require(
            abs(mass - 1) <= tolerance,
            f"{type(model).__name__}: its probabilities of {what} sum to {mass:.6g}, not 1: a conditional sees its own value,"
            " or is not normalised",
        )
    return True


@torch.no_grad()
def mass_is_one_by_quadrature(
    model: TractableDensity, x: Tensor, c: Tensor | None, tolerance: float = 1e-6, reach: float = 9.0
) -> bool:
    """Check that the density of one or two columns integrates to 1, within the error of the quadrature.

    Args:
        tolerance: the most by which the integral may differ from 1.
        reach: see `base_measure`, which gives the points and their weights.
    """
    if model.space.sequence or model.space.dim > 2:
        return False
    nodes = 4001 if model.space.dim == 1 else 501
    points, weights = zip(*(base_measure(kind, nodes, reach) for kind in model.space.kinds), strict=True)
    grid = torch.stack(torch.meshgrid(*points, indexing="ij"), dim=-1).reshape(-1, *model.space.shape)
    weight = weights[0] if len(weights) == 1 else torch.outer(*weights).flatten()
    mass = float((_probabilities(model, grid, c) * weight).sum())
    require(abs(mass - 1) <= tolerance, f"{type(model).__name__}: its density integrates to {mass:.6g}, not 1")
    return True


def _probabilities(model: TractableDensity, points: Tensor, c: Tensor | None) -> Tensor:
    """Return the probabilities or densities (N,) of points, all with the first row of the context."""
    first = context_rows(c, 1)
    return map_batches(lambda x, _: model.log_prob(x, first), points).double().exp()


def samples_follow_the_density(model: TractableDensity, x: Tensor, c: Tensor | None, most: int | None = None) -> bool:
    """Check that samples follow the log-density, context by context, and that its mass is 1.

    For any q, the mean of p / (p + q) over samples of p and that over samples of q add up to the mass of p. q is a mixture, or
    for sequences of symbols a Markov chain, fitted to samples of p.

    Args:
        most: samples of each; by default 4,000, fewer where rows are long.
    """
    estimate = _mass(model, c, model.log_prob, most)
    if estimate is None:
        return False
    mass, error = estimate
    require(
        abs(mass - 1) < SIGMAS * error + MASS_SLACK,
        f"{type(model).__name__}: its samples do not follow its log-density, or the mass of that is not 1: by a model q"
        f" fitted to samples, the means of p / (p + q) add up to {mass:.4g}, not 1 (standard error {error:.2g})",
    )
    return True


def evidence_has_mass_one_at_most(model: ApproximateDensity, x: Tensor, c: Tensor | None, most: int | None = None) -> bool:
    """Check that the mass of the evidence, by `most` samples each of it and of a companion q, is 1 at most."""
    estimate = _mass(model, c, lambda x, c: model.log_evidence(x, c, samples=8, seed=5), most)
    if estimate is None:
        return False
    mass, error = estimate
    require(
        mass < 1 + SIGMAS * error + EVIDENCE_SLACK,
        f"{type(model).__name__}: its elbo is no lower bound, since the mass of the evidence is {mass:.4g}, more than 1"
        f" (standard error {error:.2g})",
    )
    return True


@torch.no_grad()
def _mass(
    model: GenerativeModel, c: Tensor | None, log_p: Callable[[Tensor, Tensor | None], Tensor], most: int | None = None
) -> tuple[float, float] | None:
    """Return (mass, standard error) of p, by its samples and those of a companion density q.

    None if no companion density fits the space, or if the sum is near 1 but p / (p + q) > TOO_UNLIKE on p's own samples, so
    that the test has no power.
    """
    space = model.space
    with isolated(0):
        if Mixture.refusal(space) is None:
            companion: TractableDensity = Mixture(space, components=8, covariance="diagonal", shrinkage=1.0, pool=1.0)
        elif MarkovChain.refusal(space) is None:
            companion = MarkovChain(space, order=1)
        else:
            return None
    n = max(500, min(DRAWS if most is None else most, NUMBERS // space.dim))
    rows = context_rows(c, n)
    fit(companion, model.sample(n, rows, seed=1, blanks=True), validation=None, progress=False)

    def share_of_p(points: Tensor) -> Tensor:
        """Return p / (p + q) of points."""
        return torch.sigmoid(map_batches(log_p, points, rows, rows=2048).double() - companion.log_prob(points).double())

    # E_p[p / (p + q)] + E_q[p / (p + q)] is the integral of (p + q) p / (p + q), and so of p.
    over_p = share_of_p(model.sample(n, rows, seed=2, blanks=True))
    over_q = share_of_p(companion.sample(n, seed=3, blanks=True))
    mass = float(over_p.mean() + over_q.mean())
    error = float((over_p.var() + over_q.var()).div(n).sqrt())
    near = abs(mass - 1) < SIGMAS * error + EVIDENCE_SLACK
    return None if near and float(over_p.mean()) > TOO_UNLIKE else (mass, error)


@torch.no_grad()
def frequencies_are_probabilities(
    model: TractableDensity, x: Tensor, c: Tensor | None, draws: int = 20_000, prefix: Tensor | None = None
) -> bool:
    """Check that the frequency of every datum among samples is its probability, within five standard errors and two draws.

    Args:
        draws: the number of samples.
        prefix: the values (m,) of the first positions of a chain rule, in its order, which samples go on from.
    """
    points = every_datum(model.space)
    if points is None:
        return False
    p, flat = _probabilities(model, points, c), points.flatten(1)  # (N,) and (N, positions)
    if prefix is None:
        sample = model.sample(draws, context_rows(c, 1), seed=3, blanks=True)
    else:
        order = list(getattr(model, "order", None) or range(flat.shape[1]))
        # What goes on from the prefix has its probability among all data that begin so.
        begins_so = (flat[:, order[: len(prefix)]] == prefix.to(flat)).all(1)
        flat, p = flat[begins_so], p[begins_so] / p[begins_so].sum()
        sample = model.sample(draws, context_rows(c, 1), seed=3, blanks=True, prefix=prefix)  # type: ignore[call-arg]
    require_frequencies(sample, flat, p, type(model).__name__)
    return True


def require_frequencies(sample: Tensor, points: Tensor, p: Tensor, name: str) -> None:
    """Raise a `LawError` unless the frequency of every point (N, *shape) in a sample is its probability p (N,), about."""
    both = torch.cat([points.flatten(1).to(sample), sample.flatten(1)]).nan_to_num(NAN_STANDS_AS)
    distinct, where = torch.unique(both, dim=0, return_inverse=True)
    counts = torch.bincount(where[len(points) :], minlength=len(distinct))
    frequency = (counts.double() / len(sample))[where[: len(points)]]  # (N,)
    require(abs(float(frequency.sum()) - 1) < 1e-9, f"{name}: some samples are none of the data that may follow")
    difference, allowed = (frequency - p).abs(), SIGMAS * (p * (1 - p) / len(sample)).sqrt() + FEW_DRAWS / len(sample)
    worst = int((difference - allowed).argmax())
    require(
        bool((difference < allowed).all()),
        f"{name}: its samples do not follow its log-density: the frequency of {points[worst].flatten().tolist()} is"
        f" {float(frequency[worst]):.4g}, its probability {float(p[worst]):.4g}",
    )


@torch.no_grad()
def bound_is_below_the_evidence(model: ApproximateDensity, x: Tensor, c: Tensor | None, draws: int = 100) -> bool:
    """Check that the mean bound is at most the evidence, up to noise, and is the log-density where that is exact."""
    name = type(model).__name__
    if isinstance(model, TractableDensity):
        require_close(model.elbo(x, c), model.log_prob(x, c), f"{name}: its bound is not its log-density")
        return True
    bound = torch.stack([model.elbo(x, c, seed=i) for i in range(draws)]).mean(0)
    evidence = model.log_evidence(x, c, samples=300, seed=0)
    require(bool(bound.isfinite().all()), f"{name}: its bound of some data is not finite")
    above = float((bound - evidence).max())
    require(above <= BOUND_SLACK, f"{name}: its bound is {above:.3g} nats above its evidence")
    return True


@torch.enable_grad()
def draws_follow_the_context(model: GenerativeModel, x: Tensor, c: Tensor | None, share: float = 0.6) -> bool:
    """Check that draws of a trained model change with a label as real rows do.

    A row is classified as the label whose real rows have the nearest mean. The accuracy on draws, beyond that of guessing the
    most frequent label, must be at least this share of the accuracy on real rows beyond it.

    Args:
        model: trained on x and c.
        x: real rows (B, *shape).
        c: their contexts, whose first column is the label.
        share: 0 to 1.
    """
    if c is None or model.context is None or not isinstance(model.context.kinds[0], Category) or model.space.sequence:
        return False
    label = c[:, 0].long()
    levels = label.unique()
    draws = model.sample(len(x), c, seed=0)
    real, drawn = (model.space.features(rows).double().flatten(1) for rows in (x.to(draws), draws))
    centres = torch.stack([real[label == level].mean(0) for level in levels])
    of_real, of_draws = (
        float((levels[torch.cdist(rows, centres).argmin(1)] == label).double().mean()) for rows in (real, drawn)
    )
    chance = float(torch.stack([(label == level).double().mean() for level in levels]).max())
    least = chance + share * (of_real - chance)
    require(
        of_draws >= least,
        f"the label that was asked for is told in {of_draws:.0%} of draws and in {of_real:.0%} of real rows; expected"
        f" {least:.0%} or more: the model makes too little of its context.",
    )
    return True


def gradients_reach_every_parameter(model: GenerativeModel, x: Tensor, c: Tensor | None) -> bool:
    """Check that losses and their gradients are finite, and that every parameter belongs to one loss, which depends on it."""
    name = type(model).__name__
    x = x if x.is_floating_point() else x.to(model.space.dtype)
    training, owned = model.training, set[int]()
    model.train()
    for loss in model.losses():
        parameters = [p for p in loss.parameters if p.requires_grad]
        with isolated(0):
            value = loss.value(x, c)
        finite = not value.ndim and bool(value.isfinite())
        require(finite, f"{name}: its loss {loss.name!r} is {value.detach()}, not one number")
        gradients = torch.autograd.grad(value, parameters, allow_unused=True)
        missed = sum(gradient is None for gradient in gradients)
        require(not missed, f"{name}: {missed} of the {len(gradients)} parameters of its loss {loss.name!r} have no part in it")
        wild = sum(not bool(gradient.isfinite().all()) for gradient in gradients if gradient is not None)
        require(not wild, f"{name}: {wild} parameters of its loss {loss.name!r} get gradients that are not finite")
        shared = sum(id(p) in owned for p in parameters)
        require(not shared, f"{name}: {shared} parameters of its loss {loss.name!r} belong to another of its losses too")
        owned |= set(map(id, parameters))
    left = [n for n, p in model.named_parameters() if p.requires_grad and id(p) not in owned]
    more = ", ..." if len(left) > 3 else ""
    require(not left, f"{name}: no loss has {', '.join(left[:3])}{more} among its parameters")
    model.train(training)
    return True


def losses_do_not_synchronise(model: GenerativeModel, x: Tensor, c: Tensor | None) -> bool:
    """Check that no loss, nor its gradient, makes the CPU wait for a number from a GPU, as `.item()` does, between steps.

    Whole numbers with atoms (a `Lattice`) are not checked on a CPU: there the mass of the atoms is summed only for rows
    that lie off them, whose number Python reads; on a GPU it is summed for all rows.
    """
    if x.device.type == "cpu" and any(isinstance(kind, Lattice) and kind.atoms for kind in model.space.kinds):
        return False
    training = model.training
    model.train()
    for loss in model.losses():
        waits, parameters = Waits(), [p for p in loss.parameters if p.requires_grad]
        for counter in (nullcontext(), waits):  # the first step may wait: what it computes is kept for those that follow
            with isolated(0), counter:
                value = loss.value(x, c)
                torch.autograd.grad(value, parameters, allow_unused=True)
        name = f"{type(model).__name__}: its loss {loss.name!r}"
        require(not waits.count, f"{name} makes the processor wait for a GPU {waits.count} times a step")
    model.train(training)
    return True
