"""A causal transformer: every position attends to the last ones, in one pass, or step by step with their keys and values."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genus.compiled import Compiled
from genus.nets.causal import CausalNet

__all__ = ["Transformer"]

CHUNK = 256  # queries at a time, with the keys that any of them may see: most of the others are never multiplied
PACKS = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
EPSILON = 1e-6  # a vector smaller than this is not scaled up to 1
BASE = 10_000.0  # the slowest rotation turns by one radian in so many positions


class Memory(NamedTuple):
    """What has been seen, and the weights as a step uses them."""

    blocks: list[Recall]
    rings: list[Tensor]  # of every block, see there
    given: Tensor | None  # what the context adds to every token, (B, width)
    seen: int  # positions so far


class Transformer(CausalNet):
    """Blocks of attention and of a dense net, each adding to one stream (Vaswani et al. 2017, arXiv:1706.03762).

    Norms without parameters stand before every part (Zhang & Sennrich 2019, arXiv:1910.07467) and on queries and keys (Henry et
    al. 2020, arXiv:2010.04245). Positions turn queries and keys, so that only distances count (Su et al. 2021,
    arXiv:2104.09864). The dense net's activation is the square of a ReLU (So et al. 2021, arXiv:2109.08668). What a part adds
    is zero at first.

    Args:
        width: of tokens and outputs.
        layers: blocks.
        heads: of every attention; width / heads is even.
        window: output i attends to tokens i - window + 1 ... i, so a longer sequence slides through it.
        dropout: of tokens, and of what every part adds.
        context_dim: of the context's features.
    """

    compiled = False

    def __init__(self, width: int, layers: int, heads: int, window: int, dropout: float = 0.0, context_dim: int = 0) -> None:
        super().__init__(width, context_dim)
        self.heads, self.window = heads, window
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.drop = Dropout(dropout)
        # The beginning leaves the window; the context must not leave with it.
        self.everywhere = nn.Linear(context_dim, width, bias=False) if context_dim else None
        self._turns: Tensor | None = None

    def matrices(self) -> list[nn.Parameter]:
        """The weights that take a vector of the net to another, which Muon can train."""
        return [p for p in self.blocks.parameters() if p.ndim == 2]

    def turns(self, start: int, stop: int, like: Tensor) -> Tensor:
        """The rotations of positions start ... stop - 1: complex (stop - start, width / heads / 2)."""
        real = torch.promote_types(like.dtype, torch.float32)
        kind = torch.promote_types(real, torch.complex64)
        if self._turns is None or len(self._turns) < stop or (self._turns.dtype, self._turns.device) != (kind, like.device):
            half = self.width // self.heads // 2
            frequency = BASE ** (-torch.arange(half, dtype=torch.float64) / half)
            angle = torch.outer(torch.arange(max(2 * self.window, 2 * stop), dtype=torch.float64), frequency)
            self._turns = torch.polar(torch.ones_like(angle), angle).to(like.device, kind)
        return self._turns[start:stop]

    def parallel(self, tokens: Tensor, c: Tensor | None) -> Tensor:
        return self._pass(tokens, c, [])

    def prefill(self, tokens: Tensor, c: Tensor | None = None) -> tuple[Tensor, Memory]:
        """One parallel pass, of which the last keys and values are kept."""
        first = self.first(len(tokens), c).to(tokens.dtype)
        tokens = torch.cat([first[:, None], tokens], dim=1)
        seen, kept = tokens.shape[1], list[tuple[Tensor, Tensor]]()
        h = self._pass(tokens, c, kept)
        memory = self.empty(len(tokens), c)
        last = torch.arange(max(0, seen - self.window), seen, device=tokens.device)
        for ring, passed in zip(memory.rings, kept, strict=True):
            ring[:, :, last % self.window] = torch.cat([one[:, :, last] for one in passed], dim=1).to(ring.dtype)
        return h[:, -1], memory._replace(seen=seen)

    def empty(self, batch: int, c: Tensor | None) -> Memory:
        given = None if self.everywhere is None else self.everywhere(c).expand(batch, -1)
        blocks = [block.recall(batch, self.compiled) for block in self.blocks]  # type: ignore[operator]
        # PyTorch's attention to one query takes several times as long in half precision; what is compiled converts on its way.
        kind = blocks[0].inward.dtype if self.compiled else self.begin.dtype
        size = (batch, 2 * self.heads, self.window, self.width // self.heads)
        return Memory(blocks, [self.begin.new_empty(size, dtype=kind) for _ in blocks], given, 0)

    @torch.autocast("cpu", enabled=False)  # which would cast all keys and values at every step
    def advance(self, state: Memory, token: Tensor) -> tuple[Tensor, Memory]:
        x = token if state.given is None else token + state.given
        seen, place = state.seen, state.seen % self.window
        turn = torch.view_as_real(self.turns(seen, seen + 1, x)) * (self.width // self.heads) ** 0.5
        rings = [ring[:, :, : seen + 1] for ring in state.rings]
        state = state._replace(seen=seen + 1)
        if not self.compiled or min(seen, self.window - 1) == 0:  # what is compiled for one position serves one alone
            return through(state.blocks, rings, x, turn, place), state
        for ring in rings:
            torch._dynamo.maybe_mark_dynamic(ring, 2)
        return faster(state.blocks, rings, x, turn, torch.full((1,), place, device=x.device)), state

    def _pass(self, tokens: Tensor, c: Tensor | None, kept: list[tuple[Tensor, Tensor]]) -> Tensor:
        """tokens (B, P, width) -> outputs; every block's keys and values are added to `kept`."""
        x = tokens if self.everywhere is None else tokens + self.everywhere(c)[:, None]
        x = self.drop(norm(x))
        turn = self.turns(0, x.shape[1], x)[:, None]
        for block in self.blocks:
            q, k, v = block.project(x, turn)  # type: ignore[operator]
            x = block.add(x, attend(q, k, v, self.window))  # type: ignore[operator]
            kept.append((k, v))
        return norm(x)


class Block(nn.Module):
    """Attention, then a dense net of four times the width."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.outward = nn.Linear(width, width, bias=False)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)
        self.drop = Dropout(dropout)
        for linear in (self.query, self.key, self.value, self.up):
            nn.init.normal_(linear.weight, std=width**-0.5)
        for linear in (self.outward, self.down):
            nn.init.zeros_(linear.weight)

    def inward(self) -> Tensor:
        """(3 * width, width): to queries, keys and values in one multiplication; Muon turns each of them for itself."""
        return torch.cat([self.query.weight, self.key.weight, self.value.weight])

    def project(self, x: Tensor, turn: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x (B, P, width), turn (P, 1, width / heads / 2) -> q, k, v (B, heads, P, width / heads)."""
        qkv = F.linear(norm(x), self.inward()).unflatten(-1, (3 * self.heads, -1))
        qk, v = qkv.split([2 * self.heads, self.heads], dim=2)
        qk = norm(qk.to(turn.real.dtype)).unflatten(-1, (-1, 2))
        qk = torch.view_as_real(torch.view_as_complex(qk) * turn).flatten(-2)
        q, k = qk.transpose(1, 2).chunk(2, dim=1)
        return q, k, v.transpose(1, 2)

    def add(self, x: Tensor, attended: Tensor) -> Tensor:
        """The stream x (B, P, width) after this block, attended (B, heads, P, width / heads)."""
        x = x + self.drop(self.outward(attended.transpose(1, 2).flatten(2)))
        return x + self.drop(self.down(F.relu(self.up(norm(x))).square()))

    def recall(self, batch: int, compiled: bool) -> Recall:
        """This block for one position at a time, its dropout left out."""
        scale = len(self.up.weight[0]) ** 0.5  # of a vector of length 1, so that its root mean square is 1
        weights = (scale * self.inward(), self.outward.weight, scale * self.up.weight, self.down.weight)
        arranged = [arrange(weight, batch, compiled) for weight in weights]
        return Recall(self.heads, arranged[0].is_mkldnn, *arranged)


class Recall(NamedTuple):
    """A block that takes one position at a time: its weights, arranged.

    It sees the others by their keys and values in a ring (B, 2 * heads, window, width / heads): those of position p stand at p
    modulo the window, keys before values, the keys turned by their positions.
    """

    heads: int
    packed: bool  # the weights are, by oneDNN
    inward: Tensor
    outward: Tensor
    up: Tensor
    down: Tensor

    def step(self, ring: Tensor, x: Tensor, turn: Tensor, place: Tensor | int) -> Tensor:
        """The stream x (B, width) after this block, its key and value put at a place of the ring.

        A vector is divided by its length alone; the weights, and the turn (1, width / heads / 2, 2), are larger by the root of
        its size instead.
        """
        heads = self.heads
        qkv = self.product(x / length(x), self.inward).to(x.dtype).unflatten(-1, (3 * heads, -1))
        q, kv = turned(qkv, turn).split([heads, 2 * heads], dim=1)
        if isinstance(place, Tensor):  # of a number the compiler would make a graph for each
            ring.index_copy_(2, place, kv[:, :, None].to(ring.dtype))
        else:
            ring[:, :, place] = kv
        x = self.add(recalled(q, *ring.chunk(2, dim=1)).flatten(1), self.outward, x)
        active = self.product(x / length(x), self.up, "relu")
        return self.add(active * active, self.down, x)

    def add(self, x: Tensor, weight: Tensor, to: Tensor) -> Tensor:
        """x @ weight.T added to (B, out)."""
        if self.packed and weight.dtype == to.dtype and not torch.compiler.is_compiling():
            return torch.ops.mkldnn._linear_pointwise.binary(x, to, weight, None, "add")
        return to + self.product(x, weight)

    def product(self, x: Tensor, weight: Tensor, then: str = "none") -> Tensor:
        """x (B, in) @ weight.T, in the weight's precision; with `then` = "relu" where it is above 0."""
        compiling = torch.compiler.is_compiling()
        if self.packed:
            return (torch.ops.genus.product if compiling else multiply)(x.to(weight.dtype), weight, then)
        if compiling and len(x) == 1 and x.device.type == "cpu":  # a loop as fast as the weight can be read
            y = (weight.to(x.dtype) * x).sum(-1)[None]
        else:
            y = F.linear(x, weight.to(x.dtype))
        return F.relu(y) if then == "relu" else y


def through(blocks: list[Recall], rings: list[Tensor], x: Tensor, turn: Tensor, place: Tensor | int) -> Tensor:
    """A token x (B, width) through all blocks -> (B, width)."""
    x = norm(x)
    for block, ring in zip(blocks, rings, strict=True):
        x = block.step(ring, x, turn, place)
    return norm(x)


faster = Compiled(through, "sampling")


def turned(qkv: Tensor, turn: Tensor) -> Tensor:
    """Queries, keys and values (B, 3 * heads, d), those two scaled to length 1 and turned by (1, d / 2, 2)."""
    heads = qkv.shape[1] // 3
    qk, v = qkv[:, : 2 * heads], qkv[:, 2 * heads :]  # parts of a split cannot be written into
    pairs, size = qk.unflatten(-1, (-1, 2)), length(qk)
    if not torch.compiler.is_compiling():
        torch.view_as_complex(pairs).mul_(torch.view_as_complex(turn) / size)
        return qkv
    a, b = (pairs / size[..., None]).unbind(-1)  # the compiler leaves complex numbers alone
    turned = torch.stack([a * turn[..., 0] - b * turn[..., 1], a * turn[..., 1] + b * turn[..., 0]], dim=-1)
    return torch.cat([turned.flatten(-2), v], dim=1)


def recalled(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """q (B, heads, d), k and v (B, heads, P, d) -> (B, heads, d): a mean of the values."""
    if not torch.compiler.is_compiling() or q.device.type != "cpu":
        return F.scaled_dot_product_attention(q[:, :, None], k.to(q.dtype), v.to(q.dtype))[:, :, 0]
    # Nothing is used twice, so loops of its own are as fast as memory. Scores are sqrt(d) at most: no exponential overflows.
    weights = (q[:, :, None] * q.shape[-1] ** -0.5 * k.to(q.dtype)).sum(-1).exp()
    return (weights[..., None] * v.to(q.dtype)).sum(2) / weights.sum(-1, keepdim=True)


def arrange(weight: Tensor, batch: int, compiled: bool) -> Tensor:
    """A weight (out, in) for many products with x (batch, in); under autocast in the lower precision.

    On a processor oneDNN arranges a weight anew at every multiplication, which takes as long as multiplying a few vectors; here
    it does so once. What is compiled needs that for several vectors only.
    """
    if torch.is_grad_enabled() or weight.device.type != "cpu" or weight.dtype != torch.float32:
        return weight
    weight = weight.detach().to(torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else weight.dtype)
    return weight if (compiled and batch == 1) or not PACKS else torch.ops.mkldnn._reorder_linear_weight(weight, batch)


def multiply(x: Tensor, weight: Tensor, then: str) -> Tensor:
    """x (B, in) @ weight.T of a weight that oneDNN has arranged, and `then` "relu" or "none"."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, None, then, [], "")


if PACKS and not hasattr(torch.ops.genus, "product"):  # PyTorch's own takes only constants where it is compiled
    OPERATIONS = torch.library.Library("genus", "DEF")
    OPERATIONS.define("product(Tensor x, Tensor weight, str then) -> Tensor")
    OPERATIONS.impl("product", multiply, "MkldnnCPU")
    OPERATIONS.impl("product", lambda x, weight, then: x.new_empty(len(x), len(weight)), "Meta")


class Dropout(nn.Dropout):
    """x (B, P, width): features are dropped for all positions of a datum at once (Gal & Ghahramani 2016, arXiv:1512.05287).

    On a processor drawing a number for every element takes a sixth of the time of a training step.
    """

    def forward(self, x: Tensor) -> Tensor:
        return x * super().forward(torch.ones_like(x[:, :1])) if self.training and self.p else x


class Norm(torch.autograd.Function):
    """RMSNorm in half the passes over memory that PyTorch's takes on a processor; and the root mean square of every vector."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        scale = size(x)
        y = x / scale
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(y, scale)  # both are put out, so this gradient has a gradient too
        return y, scale

    @staticmethod
    def backward(ctx: Any, gradient: Tensor | None, to_scale: Tensor | None) -> Tensor | None:
        y, scale = ctx.saved_tensors
        if gradient is None:
            return None if to_scale is None else to_scale * y / y.shape[-1]
        along = (gradient * y).mean(-1, keepdim=True)
        to_x = torch.addcmul(gradient, y, along, value=-1)
        to_x = to_x / scale if torch.is_grad_enabled() else to_x.div_(scale)
        return to_x if to_scale is None else to_x + to_scale * y / y.shape[-1]


def size(x: Tensor) -> Tensor:
    """The root mean square of every vector, (..., 1)."""
    return length(x).mul_(x.shape[-1] ** -0.5)


def length(x: Tensor) -> Tensor:
    """Of every vector, (..., 1)."""
    return torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp_(min=EPSILON)


def norm(x: Tensor) -> Tensor:
    """Every vector scaled to a root mean square of 1."""
    return Norm.apply(x)[0] if torch.is_grad_enabled() else x / size(x)


def attend(q: Tensor, k: Tensor, v: Tensor, window: int) -> Tensor:
    """q, k, v (B, heads, P, d) -> (B, heads, P, d): each position a mean of the values of the last `window`, itself included.

    Written out: on a processor this takes a third of the time of PyTorch's fused kernel in bfloat16, and as long in float32.
    """
    length, parts = q.shape[2], []
    q = q * q.shape[3] ** -0.5
    place = torch.arange(length, device=q.device)
    for start in range(0, length, CHUNK):
        stop, first = min(start + CHUNK, length), max(0, start - window + 1)
        ago = place[start:stop, None] - place[first:stop]
        mask = torch.zeros(ago.shape, dtype=q.dtype, device=q.device).masked_fill((ago < 0) | (ago >= window), -torch.inf)
        scores = (q[:, :, start:stop] @ k[:, :, first:stop].mT).add_(mask)
        parts.append(scores.softmax(-1) @ v[:, :, first:stop])
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)
