"""The laws of the chain rule and of causal nets: no position sees itself or a later one, and steps are the parallel pass."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genus.errors import GenusError
from genus.laws.core import base_measure, require, require_close
from genus.models.chain_rule import ChainRule
from genus.models.sampling import end_value
from genus.space import Real

__all__ = [
    "conditionals_add_up",
    "conditionals_see_the_past_alone",
    "influence",
    "net_is_causal",
    "steps_are_the_parallel_pass",
]

VALUES = 4096  # values of one position, at most, over which its probabilities are summed
PLACES = 8  # positions, at most, that are looked at


@torch.no_grad()
def conditionals_add_up(model: ChainRule, x: Tensor, c: Tensor | None) -> bool:
    """Check that the log-conditionals of a row add up to its log-density; False of a chain rule that has none."""
    conditionals = _conditionals(model, x, c)
    if conditionals is None:
        return False
    sentence = f"{type(model).__name__}: its conditionals do not add up to its log-density"
    require_close(conditionals.sum(1), model.log_prob(x, c), sentence, _rounding(conditionals))
    return True


@torch.no_grad()
def conditionals_see_the_past_alone(model: ChainRule, x: Tensor, c: Tensor | None) -> bool:
    """Check that no conditional changes with a later value, and that the probabilities of all values of a position sum to 1.

    The second is what a model breaks that sees the value it predicts.
    """
    before = _conditionals(model, x, c)
    if before is None:
        return False
    name, order = type(model).__name__, _order(model, x)
    ends = model._after_end(x)
    other = x.flip(0).flatten(1)
    for i in _places(len(order)):
        later = order[i:]
        changed = x.flatten(1).clone()
        changed[:, later] = other[:, later]
        if ends is not None:  # nothing may follow an end
            ended = (x != x) | (x == end_value(model.space))
            gone = ended[:, i - 1 : i] if i else ended[:, :0].any(1, keepdim=True)
            changed = torch.where(gone, x, changed)
        after = model.log_conditionals(changed.view_as(x), c)
        sentence = f"{name}: a conditional before position {i} changes with the values from {i} on, so it sees a later one"
        require_close(after[:, order[:i]], before[:, order[:i]], sentence, _rounding(before))
    for i in _places(len(order)):
        kind = model.space.kinds[order[i] if model.order is not None else 0]
        values = None if isinstance(kind, Real) else base_measure(kind)[0].to(x)
        if values is None or len(values) > VALUES or (ends is not None and bool(ends[0, i])):
            continue
        rows = x[:1].flatten(1).repeat(len(values), 1)
        if ends is not None:  # what follows may stand after any value, if it is the end
            rows[:, i + 1 :] = end_value(model.space)
        rows[:, order[i]] = values
        found = model.log_conditionals(rows.view(-1, *x.shape[1:]), None if c is None else c[:1])
        mass = float(found[:, order[i]].double().exp().sum())
        require(
            abs(mass - 1) <= 1e-3,
            f"{name}: the probabilities of all values of position {i} sum to {mass:.6g}, not 1: its conditional sees the value"
            " that it predicts, or is not normalised",
        )
    return True


@torch.no_grad()
def steps_are_the_parallel_pass(model: ChainRule, x: Tensor, c: Tensor | None) -> bool:
    """Check that position by position, from any beginning, a model draws from the conditionals that its density multiplies."""
    conditionals = _conditionals(model, x, c)
    if conditionals is None:
        return False
    order, after = _order(model, x), model._after_end(x)
    values = x.flatten(1)[:, order]
    parallel = conditionals[:, order]
    for begun in sorted({0, min(1, len(order) - 1), len(order) - 1}):
        steps = model._steps(len(x), c, values[:, :begun] if begun else None)
        distribution = next(steps)
        for i in range(begun, len(order)):
            kept = slice(None) if after is None else ~after[:, i]
            require_close(
                distribution.log_prob(values[:, i : i + 1])[kept, 0],
                parallel[kept, i],
                f"{type(model).__name__}: at position {i}, going on from position {begun}, the step-by-step distribution is not"
                " the conditional of the parallel pass; of a net, advance and parallel disagree, or one sees another past",
                _rounding(conditionals),
            )
            if i + 1 < len(order):
                distribution = steps.send(values[:, i : i + 1])
    return True


def influence(net: nn.Module, positions: int, context: Tensor | None = None, seed: int = 2) -> Tensor:
    """Return (P, P), whether output i of a net (B, P, width) -> (B, P, width) depends on token j, by gradients in doubles.

    Args:
        net: in double precision, with its `width`.
        positions: P.
        context: its features (6, context_dim).
        seed: of the six rows of tokens; several, as a ReLU may be off in one.
    """
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(6, positions, int(net.width), generator=generator, dtype=torch.float64, requires_grad=True)  # type: ignore[arg-type]
    out = net(tokens, context)
    rows = [torch.autograd.grad(out[:, i].square().sum(), tokens, retain_graph=True)[0] for i in range(positions)]
    return torch.stack([row.abs().sum((0, 2)) > 0 for row in rows])


def net_is_causal(net: nn.Module, positions: int, context: Tensor | None = None) -> Tensor:
    """Check that no output of a causal net depends on its own token or a later one, and return its `influence`."""
    seen = influence(net, positions, context)
    for i in range(positions):
        later = seen[i, i:].nonzero().flatten().tolist()
        require(not later, f"{type(net).__name__}: output {i} depends on token {i + later[0] if later else i}, at or after it")
    return seen


def _conditionals(model: ChainRule, x: Tensor, c: Tensor | None) -> Tensor | None:
    """Return log p(x_i | those before it), (B, D); None of a mean over several orders."""
    try:
        return model.log_conditionals(x, c)
    except GenusError:
        return None


def _order(model: ChainRule, x: Tensor) -> list[int]:
    """Return the coordinate at every position of rows x."""
    return list(range(x.shape[1])) if model.order is None else list(model.order)


def _places(positions: int) -> list[int]:
    """Return some positions of all, first and last among them."""
    return sorted({round(i) for i in torch.linspace(0, positions - 1, min(positions, PLACES)).tolist()})


def _rounding(conditionals: Tensor) -> float:
    """Return the relative error that is rounding: longer sums of single precision round more."""
    return 1e-9 if conditionals.dtype == torch.float64 else 1e-3
