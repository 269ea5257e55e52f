"""The laws of a bijection: each takes a transform in double precision, x (B, *shape) and features c (B, context_dim)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from genus.configurable import from_json
from genus.laws.core import LawError, require, require_close
from genus.transforms import Transform

__all__ = [
    "gradients_are_finite_differences",
    "inverse_leads_back",
    "log_determinant_is_of_the_jacobian",
    "missing_numbers_stay_missing",
    "rebuilt_it_is_the_same",
    "rows_are_independent",
]

WIDEST = 200  # coordinates of which a Jacobian is written out
STEP = 1e-6  # of finite differences


def inverse_leads_back(transform: Transform, x: Tensor, c: Tensor | None, tolerance: float = 1e-6) -> tuple[Tensor, Tensor]:
    """Check that forward and inverse undo one another and their log-determinants are opposite; return z and log|det| (B,)."""
    name = type(transform).__name__
    z, log_det = transform(x, c)
    back, log_back = transform.inverse(z, c)
    for way, found in {"forward": log_det, "inverse": log_back}.items():
        one_each = found.shape == x.shape[:1]
        require(one_each, f"{name}.{way} gives log-determinants of shape {tuple(found.shape)}, not ({len(x)},)")
    require_close(back, x, f"{name}.inverse does not lead back", tolerance)
    require_close(log_back, -log_det, f"{name}: the log-determinants of forward and inverse are not opposite", tolerance)
    shape = transform.shape(tuple(x.shape[1:]))
    require(shape == tuple(z.shape[1:]), f"{name}.shape says {shape} and forward gives {tuple(z.shape[1:])}")
    before = transform.shape_before(shape)
    require(before == tuple(x.shape[1:]), f"{name}.shape_before says {before}, and x has the shape {tuple(x.shape[1:])}")
    return z, log_det


def rows_are_independent(transform: Transform, x: Tensor, c: Tensor | None, tolerance: float = 1e-6) -> None:
    """Check that a row is mapped alike alone and among others, and no rows at all to none."""
    name = type(transform).__name__
    z, log_det = transform(x, c)
    for count in (0, 1):
        alone, log_alone = inverse_leads_back(transform, x[:count], None if c is None else c[:count], tolerance)
        require_close(alone, z[:count], f"{name}: {count} rows alone come out otherwise than among others", tolerance)
        sentence = f"{name}: of {count} rows alone the log-determinant is another than among others"
        require_close(log_alone, log_det[:count], sentence, tolerance)


def log_determinant_is_of_the_jacobian(transform: Transform, x: Tensor, c: Tensor | None, tolerance: float = 1e-6) -> bool:
    """Check that the log-determinant is that of autograd's Jacobian, in the coordinates that are not missing."""
    if x[0].numel() > WIDEST:
        return False
    log_det = transform(x, c)[1]
    for row in range(min(3, len(x))):
        context, present = None if c is None else c[row : row + 1], ~x[row].isnan().flatten()

        def forward(flat: Tensor, row: int = row, context: Tensor | None = context, present: Tensor = present) -> Tensor:
            z = transform(x[row].flatten().masked_scatter(present, flat).view(1, *x.shape[1:]), context)[0].flatten()
            return z[~z.isnan()]

        true = log_det.new_zeros(())  # of a row of which nothing is present
        if present.any():
            jacobian = torch.autograd.functional.jacobian(forward, x[row].flatten()[present])
            true = torch.linalg.slogdet(jacobian).logabsdet
        sentence = f"{type(transform).__name__}: its log-determinant is not that of its Jacobian"
        require_close(log_det[row].detach(), true, sentence, tolerance)
    return True


def gradients_are_finite_differences(transform: Transform, x: Tensor, c: Tensor | None) -> None:
    """Check that forward and inverse have the gradients in their input and in the weights that finite differences have."""
    x = x.nan_to_num(0.3)
    z = transform(x, c)[0].detach()
    for way, f, start in (("forward", transform.forward, x), ("inverse", transform.inverse, z)):
        weigh = torch.randn_like(f(start, c)[0].detach())
        input_ = start.detach().clone().requires_grad_()

        def value(f: Callable[..., tuple[Tensor, Tensor]] = f, at: Tensor = input_, weigh: Tensor = weigh) -> Tensor:
            out, log_det = f(at, c)
            return (weigh * out).sum() + log_det.sum()

        for what, moved in (("its input", [input_]), ("its weights", [p for p in transform.parameters() if p.requires_grad])):
            if moved:
                _slope_is_true(value, moved, f"{type(transform).__name__}.{way}: its gradient in {what}")


def _slope_is_true(value: Callable[[], Tensor], moved: Sequence[Tensor], what: str) -> None:
    """Check the slope of a number along a random direction of some tensors, by autograd and by two steps."""
    result = value()
    found: tuple[Tensor | None, ...] = (None,) * len(moved)
    if result.requires_grad:
        found = torch.autograd.grad(result, moved, allow_unused=True)
    along = [torch.randn_like(tensor) for tensor in moved]
    slope = sum(float((g * d).sum()) for g, d in zip(found, along, strict=True) if g is not None)
    ends = []
    with torch.no_grad():
        for sign in (1, -2, 1):  # to one end, to the other, and back
            for tensor, direction in zip(moved, along, strict=True):
                tensor += sign * STEP * direction
            ends.append(float(value()))
    true = (ends[0] - ends[1]) / (2 * STEP)
    near = abs(slope - true) <= 1e-4 * max(1.0, abs(true)) + 1e-13 * abs(ends[0]) / STEP
    require(near, f"{what} is {slope:.6g} along some direction, and finite differences say {true:.6g}; is it detached?")


def missing_numbers_stay_missing(transform: Transform, x: Tensor, c: Tensor | None) -> bool:
    """Check that a transform that claims `allow_missing` keeps as many numbers missing, both ways."""
    if not transform.allow_missing:
        return False
    name, missing = type(transform).__name__, x.clone()
    missing.flatten(1)[:, :: max(2, x[0].numel() // 2)] = math.nan
    z, _ = inverse_leads_back(transform, missing, c)
    kept = int(z.isnan().sum()) == int(missing.isnan().sum())
    require(kept, f"{name} claims allow_missing, but makes numbers of missing ones, or the other way round")
    log_determinant_is_of_the_jacobian(transform, missing, c)
    return True


def rebuilt_it_is_the_same(transform: Transform, x: Tensor, c: Tensor | None) -> None:
    """Check that a transform, built again from its JSON and given its weights, is the same map."""
    name = type(transform).__name__
    again = from_json(transform.to_json()).double().eval()
    try:
        again.load_state_dict(transform.state_dict())
    except RuntimeError as error:
        said = " ".join(str(error).split())
        raise LawError(f"{name}: built again from its arguments it has other weights ({said}).") from error
    (found, log_found), (z, log_det) = again(x, c), transform(x, c)
    require_close(found, z, f"{name}: built again from its arguments, with its weights, it is another map")
    sentence = f"{name}: built again from its arguments, with its weights, it has another log-determinant"
    require_close(log_found, log_det, sentence)
