"""A causal transformer with a window: outputs at all positions in one pass, or one by one from cached keys and values."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genus.nets.causal import CausalNet
from genus.nets.dense import Dropout, rms_norm
from genus.nets.kernels.decoding import KeyValueCache, compiled_decode_step, decode_step

__all__ = ["Transformer"]

TAPS = 3  # positions, the own and those before it, that are mixed into each query, key and value
CHUNK = 64  # queries at a time, multiplied only with the keys that one of them may see
ROPE_BASE = 10_000.0  # pair i of the half = width / heads / 2 pairs turns by ROPE_BASE^(-i / half) radians a position


class Transformer(CausalNet):
    """Stack residual blocks of causal attention and of a dense net (Vaswani et al. 2017, arXiv:1706.03762).

    Blocks are pre-norm, by RMSNorm without weights (Zhang & Sennrich 2019, arXiv:1910.07467), which norms queries and keys too
    (QK-norm, Henry et al. 2020, arXiv:2010.04245). Positions are rotary (RoPE, Su et al. 2021, arXiv:2104.09864). Each query,
    key and value is a weighted sum over three positions, and the dense net has a squared ReLU (both Primer, So et al. 2021,
    arXiv:2109.08668). Output projections are zero at first.

    Tokens are vectors: the model that owns the net embeds symbols before it and maps outputs to logits after it. `CausalNet`
    defines `forward`, which puts a learned token before the others and leaves the last one out, so that output i depends on
    tokens before i; it needs `parallel` for that, and `empty` and `advance` for `start` and `step`, which decode with a cache.

    Args:
        width: the width of tokens and outputs.
        layers: the number of blocks.
        heads: the number of heads of every attention; width / heads is even.
        window: the number of positions that attention sees, its own among them, so that longer sequences slide through it. As
            `forward` puts a token before the others, attention for output i sees tokens i - window ... i - 1, of which -1 is
            the learned one.
        dropout: the probability of dropping a feature of the tokens, and of what attention and MLP add to the residual stream.
        context_dim: the width of the context's features.
    """

    compiled = False  # set by the model (models/autoregressive.py, `_compiled`) while it samples

    def __init__(self, width: int, layers: int, heads: int, window: int, dropout: float = 0.0, context_dim: int = 0) -> None:
        super().__init__(width, context_dim)
        self.heads, self.window = heads, window
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.drop = SharedDropout(dropout)
        # The first token carries the context (`CausalNet.first`), but slides out of the window, so every token carries it too.
        self.context_to_tokens = nn.Linear(context_dim, width, bias=False) if context_dim else None

    def matrices(self) -> list[nn.Parameter]:
        """Return the weight matrices of the blocks, which Muon may train."""
        return [weight for name, weight in self.blocks.named_parameters() if name.endswith(".weight")]

    def rotations(self, start: int, stop: int, like: Tensor) -> Tensor:
        """Return cosine and sine of the angles of positions start ... stop - 1: (stop - start, width / heads / 2, 2)."""
        half = self.width // self.heads // 2
        frequency = ROPE_BASE ** (-torch.arange(half, dtype=torch.float64, device=like.device) / half)
        angle = torch.outer(torch.arange(start, stop, dtype=torch.float64, device=like.device), frequency)
        return torch.stack([angle.cos(), angle.sin()], dim=-1).to(torch.promote_types(like.dtype, torch.float32))

    def parallel(self, tokens: Tensor, c: Tensor | None) -> Tensor:
        """Return outputs (B, P, width) for tokens (B, P, width) and c (B, context_dim) or None; output i sees token i too."""
        return self._pass(tokens, c)[0]

    def _pass(self, tokens: Tensor, c: Tensor | None) -> tuple[Tensor, list[tuple[Tensor, Tensor, Tensor]]]:
        """Return the outputs (B, P, width) for tokens (B, P, width), and what later positions need.

        That is, for each block, its keys, its values and its last projections, as `Block.project` returns them.
        """
        x = tokens if self.context_to_tokens is None else tokens + self.context_to_tokens(c)[:, None]
        x = self.drop(rms_norm(x))
        rotation, for_cache = self.rotations(0, x.shape[1], x), []
        for block in self.blocks:
            q, k, v, recent = block.project(x, rotation)  # type: ignore[operator]
            x = block.add(x, attend(q, k, v, self.window))  # type: ignore[operator]
            for_cache.append((k, v, recent))
        return rms_norm(x), for_cache

    # -- one position after another, by the kernel ------------------------------------------------------------------------

    def prefill(self, tokens: Tensor, c: Tensor | None = None) -> tuple[Tensor, KeyValueCache]:
        """Return what `start` and m steps give, by one parallel pass whose keys and values fill the cache.

        Args:
            tokens: (B, m, width), those after the token that marks the beginning.
            c: (B, context_dim), the context's features; None without a context.

        Returns:
            The output (B, width) that follows the last token, and the cache.
        """
        first = self.first(len(tokens), c).to(tokens.dtype)
        tokens = torch.cat([first[:, None], tokens], dim=1)
        seen = tokens.shape[1]
        outputs, for_cache = self._pass(tokens, c)
        state = self.empty(len(tokens), c)
        last = torch.arange(max(0, seen - self.window), seen, device=tokens.device)  # positions in the window
        for cache, recent, (k, v, projected) in zip(state.kv_cache, state.recent, for_cache, strict=True):
            cache[:, :, last % self.window] = torch.cat([k[:, :, last], v[:, :, last]], dim=1).to(cache.dtype)
            recent.copy_(projected)
        return outputs[:, -1], state._replace(seen=seen)

    def empty(self, batch: int, c: Tensor | None) -> KeyValueCache:
        """Return a cache for B = batch sequences that has seen nothing: of every block (B, 2 heads, window, width / heads).

        The memory of keys and values is not initialised: a step reads only the positions that are filled. The cache also keeps
        what the context c (B, context_dim) adds to every token, (B, width).
        """
        context = None if self.context_to_tokens is None else self.context_to_tokens(c).expand(batch, -1)
        size = (batch, 2 * self.heads, self.window, self.width // self.heads)
        recent = [self.begin.new_zeros(batch, TAPS - 1, 3 * self.width) for _ in self.blocks]
        return KeyValueCache([self.begin.new_empty(size) for _ in self.blocks], recent, context, 0)

    def rows(self, state: KeyValueCache, index: Tensor) -> KeyValueCache:
        """Return a copy of the cache for the sequences in `index` (n,), which may repeat."""
        context = None if state.context is None else state.context[index]
        kv_cache, recent = ([tensor[index] for tensor in of_blocks] for of_blocks in (state.kv_cache, state.recent))
        return KeyValueCache(kv_cache, recent, context, state.seen)

    def advance(self, state: KeyValueCache, token: Tensor) -> tuple[Tensor, KeyValueCache]:
        """Return the output (B, width) after one token (B, width) more, and the cache, which is written in place."""
        x = token if state.context is None else token + state.context
        seen = state.seen
        filled = min(seen + 1, self.window)  # positions in the cache, the newest included
        kv_cache = [cache[:, :, :filled] for cache in state.kv_cache]
        rotation = self.rotations(seen, seen + 1, x)
        place = seen % self.window  # the newest position takes the place of the one that slides out of the window
        state = state._replace(seen=seen + 1)
        # torch.compile specialises on size 1: its code for one filled position serves no other, so that step runs eagerly.
        if not self.compiled or filled == 1:
            return decode_step(self.blocks, kv_cache, state.recent, x, rotation, place), state  # type: ignore[arg-type]
        for cache in kv_cache:
            torch._dynamo.maybe_mark_dynamic(cache, 2)
        # The place is a tensor, since torch.compile would make a graph for each value of a number.
        at = torch.full((1,), place, device=x.device)
        return compiled_decode_step(self.blocks, kv_cache, state.recent, x, rotation, at), state


class Block(nn.Module):
    """Add attention, then a dense net of four times the width, to a residual stream.

    It has no `forward`: between `project` and `add` stands the attention, over all positions or over a cache.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.outward = nn.Linear(width, width, bias=False)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)
        self.taps = nn.Parameter(torch.zeros(TAPS, 3 * width))  # of the newest position last; of features of q, of k, of v
        self.drop = SharedDropout(dropout)
        for linear in (self.query, self.key, self.value, self.up):
            nn.init.normal_(linear.weight, std=width**-0.5)
        for linear in (self.outward, self.down):
            nn.init.zeros_(linear.weight)
        nn.init.ones_(self.taps[-1])

    def project(self, x: Tensor, rotation: Tensor, recent: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the queries, keys and values of positions, and the last TAPS - 1 projections, which later positions mix in.

        Args:
            x: the residual stream (B, P, width).
            rotation: of these positions, (P, width / heads / 2, 2).
            recent: the projections (B, TAPS - 1, 3 width) of the positions before, zeros before the start; None: all zeros.

        Returns:
            q, k, v (B, heads, P, width / heads), and projections like `recent`.
        """
        x = rms_norm(x)
        parts = [linear(x) for linear in (self.query, self.key, self.value)]
        if recent is None:
            recent = x.new_zeros(len(x), TAPS - 1, 3 * x.shape[2])
        projected = torch.cat([recent.to(parts[0].dtype), torch.cat(parts, dim=2)], dim=1)
        mixed = weighted_sum(projected, self.taps.to(projected.dtype))
        q, k, v = mixed.unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q, k = rotate(rms_norm(torch.stack([q, k]).to(rotation.dtype)), rotation).unbind()
        return q, k, v, projected[:, x.shape[1] :]

    def add(self, x: Tensor, attended: Tensor) -> Tensor:
        """Return the stream (B, P, width) after this block, given its x and its attention (B, heads, P, width / heads)."""
        x = x + self.drop(self.outward(attended.transpose(1, 2).flatten(2)))
        active = F.relu(self.up(rms_norm(x)))
        return x + self.drop(self.down(active * active))  # on CPU, square() of few numbers takes three times as long


class SharedDropout(Dropout):
    """Drop features of x (B, P, width) for all positions of a sequence at once (Gal & Ghahramani 2016, arXiv:1512.05287)."""

    def forward(self, x: Tensor) -> Tensor:
        return x * super().forward(torch.ones_like(x[:, :1])) if self.training and self.p else x


def weighted_sum(x: Tensor, taps: Tensor) -> Tensor:
    """Return the sums over TAPS positions in a row of x (B, P, F) times taps (TAPS, F): (B, P - TAPS + 1, F)."""
    length = x.shape[1] - TAPS + 1
    if length == 1:  # in one call, since decoding takes the time of its calls
        return (x * taps).sum(1, keepdim=True)
    total = x[:, :length] * taps[0]
    for i in range(1, TAPS):
        total = total + x[:, i : i + length] * taps[i]
    return total


def rotate(x: Tensor, rotation: Tensor) -> Tensor:
    """Return x (..., P, d) with every pair of neighbours (a, b) rotated by its position's angle, rotation (P, d / 2, 2)."""
    a, b = x.unflatten(-1, (-1, 2)).unbind(-1)  # (..., P, d / 2)
    cos, sin = rotation.unbind(-1)
    return torch.stack([a * cos - b * sin, a * sin + b * cos], dim=-1).flatten(-2)


def attend(q: Tensor, k: Tensor, v: Tensor, window: int) -> Tensor:
    """Return softmax(q k^T / sqrt(d)) v over the last `window` positions, its own included; q, k, v are (B, heads, P, d).

    It is written out, because PyTorch's fused kernel has no second derivative on CPU, which losses with gradients in x need.
    """
    length, parts = q.shape[2], []
    q = q * q.shape[3] ** -0.5
    position = torch.arange(length, device=q.device)
    for start in range(0, length, CHUNK):
        stop, first = min(start + CHUNK, length), max(0, start - window + 1)
        distance = position[start:stop, None] - position[first:stop]  # how many positions a key stands before a query
        scores = q[:, :, start:stop] @ k[:, :, first:stop].mT  # (B, heads, chunk, keys)
        scores = scores.masked_fill((distance < 0) | (distance >= window), -torch.inf)
        parts.append(scores.softmax(-1) @ v[:, :, first:stop])
    return torch.cat(parts, dim=2)
