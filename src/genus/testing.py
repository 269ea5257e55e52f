"""Laws for models and transforms of your own: what breaks one is told so before anything is trained on it.

>>> import genus
>>> space = genus.Space([genus.Real(), genus.Category(("a", "b"))])
>>> check_model(genus.NaiveBayes(space), space.join(torch.zeros(50, 2).long(), torch.randn(50, 2)))
['files', 'samples', 'rows', 'density']
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from genus.errors import GenusError
from genus.files import load, save
from genus.model import ApproximateDensity, Counted, GenerativeModel, TractableDensity, isolated
from genus.models import Mixture
from genus.training import fit
from genus.transforms import Transform
from genus.transforms.core import build, describe

__all__ = ["LawError", "check_model", "check_transform"]

DRAWS = 4000
FEW = 0.05  # of the draws, in effect: what so few say is no judgement
WIDEST = 200  # coordinates of which a Jacobian is written out


class LawError(GenusError):
    """A model or a transform breaks a law; the message says which, and by how much."""


def check_model(model: GenerativeModel, x: Tensor, c: Tensor | None = None) -> list[str]:
    """Hold a model to the laws of its rung of the ladder; the model itself is left as it is.

    "files": saved and loaded it is the same. "samples": they are data of the space, a seed repeats them, and torch's own random
    numbers are left alone. "rows": the log-density of a row, or the bound, does not depend on the rows beside it. "density":
    samples follow the log-density, and its mass is 1: the mean of q(x) / p(x) over the model's samples is 1, q a mixture
    fitted to others of them. "bound": the bound is below the evidence. "gradients": every loss is finite and reaches its
    parameters.

    Args:
        model: of any family, trained or not.
        x: data of its space, (B, *shape), some dozens of rows.
        c: their conditions, (B, *context.shape); the first one alone is drawn from.

    Returns:
        The laws that were found to hold, by name. "density" is missing where samples say too little, as of large images.

    Raises:
        LawError: one does not hold.
    """
    x, c = model._check(x, c)
    model = copy.deepcopy(model)
    if isinstance(model, Counted):
        if not model.begun:
            fit(model, x if c is None else (x, c), progress=False)
    elif not model.begun:
        with isolated(0), torch.no_grad():
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

    "inverse": back is back, both ways, and the log-determinants are opposite. "log-determinant": it is that of the Jacobian.
    "rows": a row does not depend on those beside it, and none or one will do. "files": described and built it is of the same
    kind.

    Args:
        transform: with weights that are not all 0, or its law is that of the identity.
        x: (B, *shape), some rows of what it is made for.
        c: context features, (B, context_dim).

    Returns:
        The laws that were found to hold, by name. "log-determinant" is missing where x has more than 200 coordinates.

    Raises:
        LawError: one does not hold.

    >>> from genus.transforms import Linear
    >>> check_transform(Linear(3), torch.randn(10, 3))
    ['inverse', 'rows', 'log-determinant', 'files']
    """
    what = type(transform).__name__
    transform, x = copy.deepcopy(transform).double().eval(), x.double()
    c = None if c is None else c.double()
    with torch.no_grad():
        z, log_det = transform(x, c)
        back, log_back = transform.inverse(z, c)
    for name, found in {"forward": log_det, "inverse": log_back}.items():
        _hold(found.shape == (len(x),), f"{what}.{name} gives log-determinants of shape {tuple(found.shape)}, not ({len(x)},)")
    _alike(back, x, f"{what}.inverse does not lead back")
    _alike(log_back, -log_det, f"{what}: the log-determinants of forward and inverse are not opposite")
    laws = ["inverse", "rows"]
    for count in (0, 1):
        given = None if c is None else c[:count]
        with torch.no_grad():
            one, log_one = transform(x[:count], given)
        _alike(one, z[:count], f"{what}: {count} rows alone come out otherwise than among others")
        _alike(log_one, log_det[:count], f"{what}: of {count} rows alone the log-determinant is another than among others")
    if x[0].numel() <= WIDEST:
        for row in range(min(3, len(x))):
            given = None if c is None else c[row : row + 1]

            def along(flat: Tensor, given: Tensor | None = given) -> Tensor:
                return transform(flat.view(1, *x.shape[1:]), given)[0].flatten()

            jacobian = torch.autograd.functional.jacobian(along, x[row].flatten())
            true = torch.linalg.slogdet(jacobian).logabsdet
            _alike(log_det[row], true, f"{what}: its log-determinant is not that of its Jacobian")
        laws.append("log-determinant")
    again = build(describe(transform))
    same = {name: t.shape for name, t in again.state_dict().items()} == {
        name: t.shape for name, t in transform.state_dict().items()
    }
    _hold(same, f"{what}: built again from its arguments it has other weights")
    return [*laws, "files"]


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


def _files(model: GenerativeModel, x: Tensor, c: Tensor | None) -> bool:
    one = None if c is None else c[:1]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.genus"
        save(model, path)
        again = load(path).to(model.device)
    name = type(model).__name__
    _alike(again.sample(20, one, seed=0), model.sample(20, one, seed=0), f"{name}: saved and loaded it draws otherwise")
    if isinstance(model, ApproximateDensity) and isinstance(again, ApproximateDensity):
        with torch.no_grad():
            found, expected = again.elbo(x, c, seed=0), model.elbo(x, c, seed=0)
        _alike(found, expected, f"{name}: saved and loaded it says another log-density")
    return True


def _samples(model: GenerativeModel, x: Tensor, c: Tensor | None) -> bool:
    one, name = None if c is None else c[:1], type(model).__name__
    before = torch.random.get_rng_state()
    first, second = model.sample(50, one, seed=3), model.sample(50, one, seed=3)
    _hold(torch.equal(torch.random.get_rng_state(), before), f"{name}.sample(seed=) moves torch's own random numbers")
    _alike(first, second, f"{name}.sample does not repeat itself by its seed", least=0.0)
    try:
        model.space.check(first, "a sample")
    except GenusError as error:
        raise LawError(f"{name}.sample gives what is no data of its space: {error}") from error
    model.sample(0, one)
    return True


@torch.no_grad()
def _rows(model: GenerativeModel, x: Tensor, c: Tensor | None) -> bool:
    assert isinstance(model, ApproximateDensity)
    if not isinstance(model, TractableDensity):
        model.elbo(x, c)  # its noise is drawn for all rows together
        return True
    whole = model.log_prob(x, c)
    _hold(not bool(whole.isnan().any()), f"{type(model).__name__}.log_prob is NaN of some data")
    for rows in (slice(0, 0), slice(0, 1), slice(1, None, 2)):
        alone = model.log_prob(x[rows], None if c is None else c[rows])
        _alike(alone, whole[rows], f"{type(model).__name__}.log_prob of rows depends on those beside them", least=1e-4)
    return True


@torch.no_grad()
def _density(model: GenerativeModel, x: Tensor, c: Tensor | None) -> bool:
    assert isinstance(model, TractableDensity)
    if model.space.sequence or Mixture.refusal(model.space) is not None:
        return False
    one = None if c is None else c[:1]
    learnt, judged = model.sample(DRAWS, one, seed=1), model.sample(DRAWS, one, seed=2)
    with isolated(0):
        other = Mixture(model.space, components=8)
    fit(other, learnt, progress=False)
    ratio = (other.log_prob(judged).double() - model.log_prob(judged, one).double()).exp()
    effective = float(ratio.sum() ** 2 / ratio.square().sum().clamp(min=1e-300))
    mean, error = float(ratio.mean()), float(ratio.std()) / DRAWS**0.5
    if effective < FEW * DRAWS and abs(mean - 1) < 0.5:
        return False
    _hold(
        abs(mean - 1) < max(5 * error, 0.01),
        f"{type(model).__name__}: its samples do not follow its log-density, or the mass of that is not 1: the mean of q / p"
        f" over samples of p is {mean:.4g}, not 1 (standard error {error:.2g})",
    )
    return True


@torch.no_grad()
def _bound(model: GenerativeModel, x: Tensor, c: Tensor | None) -> bool:
    assert isinstance(model, ApproximateDensity)
    bounds = torch.stack([model.elbo(x, c, seed=seed) for seed in range(8)]).mean(0)
    above = (bounds - model.log_evidence(x, c, samples=64, seed=9)).double()
    error = float(above.std()) / len(above) ** 0.5 if len(above) > 1 else 0.0
    _hold(
        float(above.mean()) < 3 * error + 1e-3,
        f"{type(model).__name__}: its bound lies {float(above.mean()):.3g} nats a row above its evidence",
    )
    return True


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
