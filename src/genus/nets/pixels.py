"""Causal convolutions over images without a blind spot, and the rows and columns they remember while sampling."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genus.nets.dense import Dropout
from genus.nets.dilated import GatedStack, Queues, gate

__all__ = ["PixelStacks"]


COARSE = 4  # pixels a side of the context's coarse image that are one of its own


@dataclass
class Memory:
    """Hold what is known half-way down an image."""

    above: list[Tensor]  # of every vertical layer its last rows, (B, rows, W, channels)
    links: Tensor  # (L, B, W, 2 width): what the row above gives to the gates of this one
    places: Tensor  # (H, W, width), or with a context (B, H, W, width): what every pixel is given of its place
    given: Tensor | None  # the context's part of the gates of both stacks, each (L, B, 2 width)
    queues: Queues  # of the horizontal stack, along this row
    pixels: list[Tensor]  # tokens of this row so far, each (B, C width), after as many zeros as the first layer reaches
    channels: list[Tensor]  # tokens of this pixel so far, each (B, width)
    outputs: Tensor  # (B, C, width) of this pixel, before its channels see one another


class PixelStacks(nn.Module):
    """Map tokens (B, P, width) to outputs (B, P, width): a pixel sees the pixels above it and left of it, and nothing else.

    A vertical stack of convolutions runs down the rows, a horizontal one along each row, which it joins from the row above
    (Gated PixelCNN; van den Oord et al. 2016, arXiv:1606.05328): together they see everything above and to the left, without
    the blind spot of masked square filters (arXiv:1601.06759). The edge of the image is zeros, which no token is. Within a
    pixel channel k sees the channels before it. Positions run over rows, columns, channels.

    Args:
        shape: channels, height and width of the image.
        width: of tokens and outputs.
        layers: of each stack.
        reach: rows above, columns to either side and pixels to the left that the first layer sees; a later one sees one more.
        dropout: of what every gate lets through.
        context_dim: of the context's features, which enter every gate, and by a coarse image of their own every pixel: what a
            context changes is often where something is, and a gate is told no place (van den Oord et al. 2016, section 2.3).
    """

    def __init__(
        self, shape: tuple[int, int, int], width: int, layers: int, reach: int = 3, dropout: float = 0.0, context_dim: int = 0
    ) -> None:
        super().__init__()
        self.shape, self.width, self.layers, self.reach = shape, width, layers, reach
        channels, height, columns = shape
        self.places = nn.Parameter(torch.zeros(height, columns, width))
        self.down = nn.Conv2d(channels * width, width, (reach, 2 * reach + 1), padding=(0, reach))
        self.vertical = nn.ModuleList(nn.Conv2d(width, 2 * width, (2, 3), padding=(0, 1)) for _ in range(layers))
        self.onward = nn.ModuleList(nn.Linear(width, 3 * width, bias=False) for _ in range(layers))
        self.left = nn.Conv1d(channels * width, width, reach)
        self.horizontal = GatedStack(width, [1] * layers, dropout)
        self.last = nn.Linear(width, channels * width)
        self.within = nn.ModuleList(nn.Linear(k * width, width, bias=False) for k in range(1, channels))
        self.moved = nn.Linear(context_dim, 4 * layers * width, bias=False) if context_dim else None
        self.coarse = (-(-height // COARSE), -(-columns // COARSE))
        self.map = nn.Linear(context_dim, width * self.coarse[0] * self.coarse[1], bias=False) if context_dim else None
        if self.map is not None:
            nn.init.zeros_(self.map.weight)
        self.drop = Dropout(dropout)

    # -- all at once --------------------------------------------------------------------------------------------------

    def forward(self, tokens: Tensor, c: Tensor | None = None) -> Tensor:
        """Return all outputs (B, P, width) for tokens (B, P, width) and a context c (B, context_dim), in one pass."""
        channels, height, columns = self.shape
        image = tokens.reshape(-1, height, columns, channels * self.width)
        given = self._given(c)
        links, _ = self._descend(image, self._edge(len(image)), given)
        links = [F.pad(link[:, :-1], (0, 0, 0, 0, 1, 0)) for link in links]
        if given is not None:
            links = [link + g[:, None, None] for link, g in zip(links, given[1], strict=True)]
        before = F.pad(image[:, :, :-1].flatten(0, 1).transpose(1, 2), (self.reach, 0))
        h = self.left(before).transpose(1, 2).unflatten(0, (-1, height)) + self._places(c)
        seen = self.horizontal(h.flatten(0, 1), [link.flatten(0, 1) for link in links])
        out = self.last(F.relu(seen)).view(-1, height * columns, channels, self.width)
        parts = tokens.reshape(out.shape).unbind(2)
        inner = [torch.zeros_like(out[:, :, 0]), *(part(torch.cat(parts[:k], 2)) for k, part in enumerate(self.within, 1))]
        return F.relu(out + torch.stack(inner, dim=2)).flatten(1, 2)

    def _given(self, c: Tensor | None) -> Tensor | None:
        """Return the context's part of the gates of both stacks, (2, L, B, 2 width)."""
        return None if self.moved is None else self.moved(c).unflatten(1, (2, self.layers, -1)).permute(1, 2, 0, 3)

    def _places(self, c: Tensor | None) -> Tensor:
        """Return what every pixel is given of its place, (H, W, width), and of its place given c, (B, H, W, width)."""
        if self.map is None:
            return self.places
        coarse = self.map(c).unflatten(1, (self.width, *self.coarse))
        fine = F.interpolate(coarse, size=self.shape[1:], mode="bilinear", align_corners=False)
        return self.places + fine.permute(0, 2, 3, 1)

    def _edge(self, batch: int) -> list[Tensor]:
        """Return what every vertical layer sees above the image."""
        channels, _, columns = self.shape
        zero = self.places.new_zeros(batch, 1, columns, self.width)
        return [zero.new_zeros(batch, self.reach - 1, columns, channels * self.width), *[zero] * self.layers]

    def _descend(self, rows: Tensor, above: list[Tensor], given: Tensor | None) -> tuple[list[Tensor], list[Tensor]]:
        """Run the vertical stack over some rows (B, R, W, C width), below those that it saw before.

        Returns:
            What every layer gives to the gates of the next row, (B, R, W, 2 width), and its last rows, for the rows to come.
        """
        links, kept = [], []
        seen = torch.cat([above[0], rows], dim=1)
        kept.append(seen[:, seen.shape[1] - self.reach + 1 :])
        v = self._convolve(self.down, seen)
        for i, (layer, onward) in enumerate(zip(self.vertical, self.onward, strict=True)):
            seen = torch.cat([above[i + 1], v], dim=1)
            kept.append(seen[:, -1:])
            both = self._convolve(layer, seen)
            z = self.drop(gate(both if given is None else both + given[0, i][:, None, None]))
            residual, link = onward(z).split([self.width, 2 * self.width], dim=3)
            v = v + residual
            links.append(link)
        return links, kept

    def _convolve(self, layer: nn.Module, x: Tensor) -> Tensor:
        """Return a convolution of x (B, H, W, channels), (B, H', W, channels)."""
        return layer(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)

    # -- pixel by pixel -----------------------------------------------------------------------------------------------

    def start(self, batch: int, c: Tensor | None = None) -> tuple[Tensor, Memory]:
        """Return output 0, (B, width), which sees no token, and the state from which `step` goes on."""
        channels, _, columns = self.shape
        given = self._given(c)
        links = self.places.new_zeros(self.layers, batch, columns, 2 * self.width)
        zero = self.places.new_zeros(batch, channels * self.width)
        state = Memory(
            self._edge(batch), links, self._places(c), given, self.horizontal.empty(batch), [zero] * self.reach, [], zero
        )
        return self._look(state, 0), state

    def step(self, state: Memory, i: int, token: Tensor) -> tuple[Tensor, Memory]:
        """Return output i + 1, (B, width), and the state after token i, (B, width), counted from 0 and not the last."""
        channels, _, columns = self.shape
        state.channels.append(token)
        k = len(state.channels)
        if k < channels:
            return F.relu(state.outputs[:, k] + self.within[k - 1](torch.cat(state.channels, dim=1))), state
        state.pixels.append(torch.cat(state.channels, dim=1))
        state.channels = []
        pixel = (i + 1) // channels
        if pixel % columns == 0:
            self._next_row(state)
        return self._look(state, pixel), state

    def _next_row(self, state: Memory) -> None:
        """Take a complete row into the vertical stack, and start the horizontal one afresh."""
        row = torch.stack(state.pixels[self.reach :], dim=1).unsqueeze(1)
        links, state.above = self._descend(row, state.above, state.given)
        state.links = torch.stack(links)[:, :, 0]
        state.queues = self.horizontal.empty(len(row))
        state.pixels = [torch.zeros_like(state.pixels[0])] * self.reach

    def _look(self, state: Memory, pixel: int) -> Tensor:
        """Return the output of a pixel's first channel, (B, width): one column of every horizontal layer."""
        row, column = divmod(pixel, self.shape[2])
        h = self.left(torch.stack(state.pixels[-self.reach :], dim=2))[:, :, 0] + state.places[..., row, column, :]
        links = state.links[:, :, column]
        seen = self.horizontal.advance(state.queues, h, links if state.given is None else links + state.given[1])
        state.outputs = self.last(F.relu(seen)).unflatten(1, (-1, self.width))
        return F.relu(state.outputs[:, 0])

    def prefill(self, tokens: Tensor, c: Tensor | None = None) -> tuple[Tensor, Memory]:
        """Return output m, (B, width), and the state after tokens (B, m, width): `start` and m steps."""
        h, state = self.start(len(tokens), c)
        for i, token in enumerate(tokens.unbind(1)):
            h, state = self.step(state, i, token)
        return h, state

    def rows(self, state: Memory, index: Tensor) -> Memory:
        """Return the state of images index (n,), each as often as it is named."""

        def of(parts: list[Tensor]) -> list[Tensor]:
            return [part[index] for part in parts]

        return Memory(
            of(state.above),
            state.links[:, index],
            state.places if self.map is None else state.places[index],
            None if state.given is None else state.given[:, :, index],
            state.queues.rows(index),
            of(state.pixels),
            of(state.channels),
            state.outputs[index],
        )
