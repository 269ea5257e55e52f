"""Laws for models and transforms of your own: what breaks one is told so before anything is trained on it.

>>> import genus
>>> space = genus.Space([genus.Real(), genus.Category(("a", "b"))])
>>> check_model(genus.NaiveBayes(space), space.join(torch.zeros(50, 2).long(), torch.randn(50, 2)))
['files', 'samples', 'rows', 'density']
"""

from __future__ import annotations

import copy
import math
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from genus.configurable import from_json
from genus.errors import DataError, GenusError
from genus.files import load, save
from genus.ladder import ApproximateDensity, Counted, GenerativeModel, TractableDensity, isolated, map_batches
from genus.models import Mixture
from genus.training import fit
from genus.transforms import Transform

__all__ = ["LawError", "check_model", "check_transform"]

DRAWS, NUMBERS = 4000, 40_000  # rows, at most, that the law of densities draws; numbers in all, where rows are long
APART = 0.99  # how sure p is of its own samples, beside q's, where the two are too unlike to judge one by the other
WIDEST = 200  # coordinates of which a Jacobian is written out
NOISE = 32  # bounds that are averaged
STEP = 1e-6  # of finite differences


class LawError(GenusError):
    """A model or a transform breaks a law; the message says which, and by how much."""


def check_model(model: GenerativeModel, x: Tensor, c: Tensor | None = None) -> list[str]:
    """Hold a model to the laws of its rung of the ladder; the model itself is left as it is.

    "files": saved and loaded it is the same. "samples": they are data of the space, a seed repeats them, and torch's own random
    numbers are left alone. "rows": the log-density of a row, or the bound on average, does not depend on the rows beside it.
    "density": samples follow the log-density, condition by condition, and its mass is 1: for any q the mean of p / (p + q) over
    samples of p and that over samples of q add up to the mass of p; q is a mixture fitted to samples. "bound": likewise, of the
    evidence, whose mass is 1 at most. "gradients": every loss is finite and reaches its parameters.

    Args:
        model: of any family, trained or not.
        x: data of its space, (B, *shape), some dozens of rows.
        c: their conditions, (B, *context.shape).

    Returns:
        The laws that were found to hold, by name. "density" and "bound" are missing where q is too unlike to judge by, as of
        large images or narrow shapes, and of sequences.

    Raises:
        LawError: one does not hold.
        DataError: there are no rows, or no data of the model's space.
    """
    x, c = model._check(x, c)
    if len(x) == 0:
        raise DataError("A model is judged by some rows; x has none.")
    model = copy.deepcopy(model)
    if isinstance(model, Counted):
        if model.untrained:
            fit(model, x if c is None else (x, c), validation=None, progress=False)
    elif model.untrained:
        with isolated(0):
            model.initialise(x, c)
    model.eval()
    laws: dict[str, Callable[[GenerativeModel, Tensor, Tensor | None], bool]] = {"files": _files, "samples": _samples}
    if isinstance(model, ApproximateDensity):
        laws["rows"] = _rows
        laws |= {"density": _density} if isinstance(model, TractableDensity) else {"bound": _bound}
    if not isinstance(model, Counted):
        laws["gradients"] = _gradients
    with isolated(0):
        return [name for name, law in laws.items() if law(model, x, c)]


def check_transform(transform: Transform, x: Tensor, c: Tensor | None = None) -> list[str]:
    """Hold a transform to its contract, in double precision; the transform itself is left as it is.

    "inverse": back is back, both ways, and the log-determinants are opposite. "rows": a row does not depend on those beside it,
    and none or one will do. "log-determinant": it is that of the Jacobian. "gradients": in x and in the weights they are what
    finite differences say. "allow_missing": where it claims them, what is not there stays so, and the rest is unmoved by it.
    "files": described, built and given its weights it is the same.

    Args:
        transform: with weights that are not all 0, or its law is that of the identity.
        x: (B, *shape), some rows of what it is made for.
        c: context features, (B, context_dim).

    Returns:
        The laws that were found to hold, by name. "log-determinant" is missing where x has more than 200 coordinates.

    Raises:
        LawError: one does not hold.
        DataError: there are no rows.

    >>> from genus.transforms import Linear
    >>> check_transform(Linear(3), torch.randn(10, 3))
    ['inverse', 'rows', 'log-determinant', 'gradients', 'files']
    """
    if len(x) == 0:
        raise DataError("A transform is judged by some rows; x has none.")
    what = type(transform).__name__
    transform, x = copy.deepcopy(transform).double().eval(), x.double()
    c = None if c is None else c.double()
    laws = ["inverse", "rows"]
    with torch.no_grad():
        z, log_det = _both_ways(transform, x, c, what)
        for count in (0, 1):
            given = None if c is None else c[:count]
            one, log_one = _both_ways(transform, x[:count], given, what)
            _alike(one, z[:count], f"{what}: {count} rows alone come out otherwise than among others")
            _alike(log_one, log_det[:count], f"{what}: of {count} rows alone the log-determinant is another than among others")
    if x[0].numel() <= WIDEST:
        for row in range(min(3, len(x))):
            _same_volume(transform, x[row], None if c is None else c[row : row + 1], log_det[row], what)
        laws.append("log-determinant")
    with isolated(0):
        _same_slopes(transform, x[:3], None if c is None else c[:3], what)
    laws.append("gradients")
    if transform.allow_missing:
        with_gaps = x.clone()
        with_gaps.flatten(1)[:, :: max(2, x[0].numel() // 2)] = math.nan
        with torch.no_grad():
            there, _ = _both_ways(transform, with_gaps, c, what)
        kept = int(there.isnan().sum()) == int(with_gaps.isnan().sum())
        _hold(kept, f"{what} claims allow_missing, and of numbers that are not there it makes some, or the other way round")
        laws.append("allow_missing")
    again = from_json(transform.to_json()).double().eval()
    try:
        again.load_state_dict(transform.state_dict())
    except RuntimeError as error:
        raise LawError(
            f"{what}: built again from its arguments it has other weights ({' '.join(str(error).split())})."
        ) from error
    with torch.no_grad():
        found, log_found = again(x, c)
    _alike(found, z, f"{what}: built again from its arguments, with its weights, it is another map")
    _alike(log_found, log_det, f"{what}: built again from its arguments, with its weights, it has another log-determinant")
    return [*laws, "files"]


def _both_ways(transform: Transform, x: Tensor, c: Tensor | None, what: str) -> tuple[Tensor, Tensor]:
    """z and the log-determinant, if the way back leads back."""
    z, log_det = transform(x, c)
    back, log_back = transform.inverse(z, c)
    for name, found in {"forward": log_det, "inverse": log_back}.items():
        _hold(found.shape == (len(x),), f"{what}.{name} gives log-determinants of shape {tuple(found.shape)}, not ({len(x)},)")
    _alike(back, x, f"{what}.inverse does not lead back")
    _alike(log_back, -log_det, f"{what}: the log-determinants of forward and inverse are not opposite")
    return z, log_det


def _same_volume(transform: Transform, x: Tensor, c: Tensor | None, log_det: Tensor, what: str) -> None:
    """Of one row; what is not there has no volume."""
    present = ~x.isnan().flatten()

    def along(flat: Tensor) -> Tensor:
        whole = x.flatten().clone()
        whole[present] = flat
        z = transform(whole.view(1, *x.shape), c)[0].flatten()
        return z[~z.isnan()]

    jacobian = torch.autograd.functional.jacobian(along, x.flatten()[present])
    true = torch.linalg.slogdet(jacobian).logabsdet if present.any() else log_det.new_zeros(())
    _alike(log_det, true, f"{what}: its log-determinant is not that of its Jacobian")


def _same_slopes(transform: Transform, x: Tensor, c: Tensor | None, what: str) -> None:
    """The slope of a random sum of what comes out, along random directions of x and of the weights."""
    weights = [p for p in transform.parameters() if p.requires_grad]
    x = x.nan_to_num(0.3).requires_grad_()
    weigh = torch.randn_like(transform(x, c)[0].detach())

    def value() -> Tensor:
        z, log_det = transform(x, c)
        return (weigh * z).sum() + log_det.sum()

    for name, moved in (("x", [x]), ("its weights", weights)):
        if not moved:
            continue
        found = torch.autograd.grad(value(), moved, allow_unused=True)
        along = [torch.randn_like(one) for one in moved]
        slope = sum(float((g * d).sum()) for g, d in zip(found, along, strict=True) if g is not None)
        ends = []
        with torch.no_grad():
            for sign in (1, -2, 1):  # there, past the middle, and back
                for one, direction in zip(moved, along, strict=True):
                    one += sign * STEP * direction
                ends.append(float(value()))
        true = (ends[0] - ends[1]) / (2 * STEP)
        rounding = 1e-13 * abs(ends[0]) / STEP
        near = abs(slope - true) <= 1e-4 * max(1.0, abs(true)) + rounding
        _hold(
            near, f"{what}: its gradient in {name} is {slope:.6g} along some direction, and finite differences say {true:.6g}"
        )


def _hold(law: bool, sentence: str) -> None:
    if not law:
        raise LawError(f"{sentence}.")


def _alike(found: Tensor, expected: Tensor, sentence: str, least: float = 1e-6) -> None:
    _hold(found.shape == expected.shape, f"{sentence}: shape {tuple(found.shape)}, not {tuple(expected.shape)}")
    tolerance = max(least, 1e3 * torch.finfo(found.dtype).eps)
    close = torch.isclose(found.to(expected), expected, rtol=tolerance, atol=tolerance, equal_nan=True)
    if not bool(close.all()):
        worst = float((found.to(expected) - expected)[~close].abs().max())
        raise LawError(f"{sentence}: they differ by up to {worst:.3g}.")


def _given(c: Tensor | None, n: int) -> Tensor | None:
    """n conditions, of all that were given."""
    return None if c is None else c[torch.arange(n) % len(c)]


def _files(model: GenerativeModel, x: Tensor, c: Tensor | None) -> bool:
    given = _given(c, 20)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.genus"
        save(model, path)
        again = load(path).to(model.device)
    name = type(model).__name__
    _alike(again.sample(20, given, seed=0), model.sample(20, given, seed=0), f"{name}: saved and loaded it draws otherwise")
    if isinstance(model, ApproximateDensity) and isinstance(again, ApproximateDensity):
        with torch.no_grad():
            found, expected = again.elbo(x, c, seed=0), model.elbo(x, c, seed=0)
        _alike(found, expected, f"{name}: saved and loaded it says another log-density")
    return True


def _samples(model: GenerativeModel, x: Tensor, c: Tensor | None) -> bool:
    given, name = _given(c, 50), type(model).__name__
    before = torch.random.get_rng_state()
    first, second = model.sample(50, given, seed=3), model.sample(50, given, seed=3)
    _hold(torch.equal(torch.random.get_rng_state(), before), f"{name}.sample(seed=) moves torch's own random numbers")
    _alike(first, second, f"{name}.sample does not repeat itself by its seed", least=0.0)
    try:
        model.space.check(first, "a sample")
    except GenusError as error:
        raise LawError(f"{name}.sample gives what is no data of its space: {error}") from error
    model.sample(0, _given(c, 1))
    return True


@torch.no_grad()
def _rows(model: GenerativeModel, x: Tensor, c: Tensor | None) -> bool:
    assert isinstance(model, ApproximateDensity)
    name = type(model).__name__
    if not isinstance(model, TractableDensity):  # whose noise is drawn for all rows together
        few, given = x[:8], None if c is None else c[:8]
        alone = torch.stack([model.elbo(few[:1], None if given is None else given[:1], seed=s)[0] for s in range(NOISE)])
        among = torch.stack([model.elbo(few, given, seed=NOISE + s)[0] for s in range(NOISE)])
        apart = float((alone.double() - among.double()).mean())
        error = float((alone.double().var() + among.double().var()).div(NOISE).sqrt())
        far = abs(apart) > 6 * error + 1e-4 * (1 + abs(float(alone.mean())))
        _hold(not far, f"{name}: the bound of a row alone is {apart:.3g} nats another than among others, on average")
        return True
    whole = model.log_prob(x, c)
    _hold(not bool(whole.isnan().any()), f"{name}.log_prob is NaN of some data")
    for rows in (slice(0, 0), slice(0, 1), slice(1, None, 2)):
        alone = model.log_prob(x[rows], None if c is None else c[rows])
        _alike(alone, whole[rows], f"{name}.log_prob of rows depends on those beside them", least=1e-4)
    return True


def _density(model: GenerativeModel, x: Tensor, c: Tensor | None) -> bool:
    assert isinstance(model, TractableDensity)
    found = _mass(model, c, model.log_prob)
    if found is None:
        return False
    mass, error = found
    _hold(
        abs(mass - 1) < 5 * error + 0.01,
        f"{type(model).__name__}: its samples do not follow its log-density, or the mass of that is not 1: by a mixture q"
        f" fitted to samples, the means of p / (p + q) add up to {mass:.4g}, not 1 (standard error {error:.2g})",
    )
    return True


def _bound(model: GenerativeModel, x: Tensor, c: Tensor | None) -> bool:
    assert isinstance(model, ApproximateDensity)
    found = _mass(model, c, lambda x, c: model.log_evidence(x, c, samples=8, seed=5))
    if found is None:
        return False
    mass, error = found
    _hold(
        mass < 1 + 5 * error + 0.05,
        f"{type(model).__name__}: its bound is none, since the mass of the evidence is {mass:.4g}, more than 1 (standard error"
        f" {error:.2g})",
    )
    return True


@torch.no_grad()
def _mass(
    model: GenerativeModel, c: Tensor | None, log_p: Callable[[Tensor, Tensor | None], Tensor]
) -> tuple[float, float] | None:
    """The mass of p by its samples and those of a q, and its standard error; None where q is too unlike to tell."""
    space = model.space
    if space.sequence or Mixture.refusal(space) is not None:
        return None
    n = max(500, min(DRAWS, NUMBERS // space.dim))
    given = _given(c, n)
    learnt, of_p = model.sample(n, given, seed=1), model.sample(n, given, seed=2)
    with isolated(0):
        other = Mixture(space, components=8)
    fit(other, learnt, validation=None, progress=False)
    of_q = other.sample(n, seed=3)
    shares = []
    for points in (of_p, of_q):
        mine = map_batches(log_p, points, given, rows=2048).double()
        shares.append(torch.sigmoid(mine - other.log_prob(points).double()))
    mass = float(shares[0].mean() + shares[1].mean())
    error = float((shares[0].var() + shares[1].var()).div(n).sqrt())
    alike = abs(mass - 1) < 5 * error + 0.05
    return None if alike and float(shares[0].mean()) > APART else (mass, error)


@torch.enable_grad()
def _gradients(model: GenerativeModel, x: Tensor, c: Tensor | None) -> bool:
    name = type(model).__name__
    x = x if x.is_floating_point() else x.to(model.space.dtype)
    model.train()
    for loss in model.losses():
        parameters = [p for p in loss.parameters if p.requires_grad]
        with isolated(0):
            value = loss.value(x, c)
        _hold(not value.ndim and bool(value.isfinite()), f"{name}: its loss {loss.name!r} is {value.detach()}, not one number")
        found = torch.autograd.grad(value, parameters, allow_unused=True)
        missed = sum(one is None for one in found)
        _hold(not missed, f"{name}: {missed} of the {len(found)} parameters of its loss {loss.name!r} have no part in it")
        wild = sum(not bool(one.isfinite().all()) for one in found if one is not None)
        _hold(not wild, f"{name}: {wild} parameters of its loss {loss.name!r} get gradients that are not finite")
    model.eval()
    return True
