"""Autoencoders whose codes are symbols, with a chain rule over the symbols."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from genus.errors import GenusError
from genus.ladder import ApproximateDensity, Counted, Learned, Loss, TractableDensity, build_family
from genus.models.latent import LatentVariable
from genus.nets.standardise import Standard
from genus.random import normal_like, rng
from genus.space import Category, Space

__all__ = ["VQVAE"]

RARE = 0.1  # an entry whose use is less than this share of the mean is moved
MEMORY = 0.99  # the decay of the running mean of an entry's use, at each step


class VQVAE(LatentVariable, ApproximateDensity, name="vq-vae"):
    """Model x by a code of `codes` symbols, a vector-quantised autoencoder (van den Oord et al. 2017, arXiv:1711.00937).

    Two losses train it. The encoder's vectors are moved to the nearest entries of codebooks, a codebook for every symbol of the
    code, and encoder, decoder and codebooks learn to reconstruct x, with straight-through gradients; an autoregressive density
    learns the symbols z(x). As z(x) is certain, log p(x) >= log p(x | z(x)) + log p(z(x)), which can be compared with every
    other family. Entries that are hardly ever the nearest are moved to encoded data.

    Args:
        codes: the number of symbols of a code.
        levels: the number of entries of each codebook.
        width: the number of dimensions of an entry.
        hidden: the widths of the encoder's layers, which the decoder has in reverse; of a convolutional net [channels].
        components: the number of components of the mixtures by which the decoder models numbers.
        commitment: the weight of the encoder's distance from the entries.
        prior: p(z): a family of categories that is trained by gradients, "made" or {"class": "gpt", "layers": 2}.
        net: "dense", or "convolutional" for images.

    >>> import torch
    >>> from genus import Category, Real, Space
    >>> model = VQVAE(Space([Real(), Category(("a", "b"))]), codes=3, levels=5, hidden=(16,))
    >>> x = torch.tensor([[0.3, 1.0]])
    >>> model.symbols(x).shape, model.reconstruct(x).shape, model.sample(3, seed=0).shape
    (torch.Size([1, 3]), torch.Size([1, 2]), torch.Size([3, 2]))
    """

    info = LatentVariable.info.replace(
        likelihood="bound",
        title="vector-quantised autoencoder",
        formula="x ≈ d(e(x) rounded to a codebook), and a chain rule over the codes",
        good="images and sound as a few discrete codes",
        bad="a density: what it has is a bound; two stages of training",
    )
    fit_defaults = MappingProxyType({"learning_rate": 1e-3})

    def __init__(
        self,
        space: Space,
        context: Space | None = None,
        codes: int = 16,
        levels: int = 64,
        width: int = 4,
        hidden: Sequence[int] = (256, 256),
        components: int = 1,
        commitment: float = 0.25,
        prior: str | TractableDensity | dict[str, Any] = "made",
        net: str = "dense",
    ) -> None:
        if codes < 1 or levels < 2 or width < 1 or commitment < 0:
            raise GenusError(
                "A code needs 1 symbol or more, of 2 levels or more, of 1 number or more, and commitment is 0 or more; "
                f"got codes={codes}, levels={levels}, width={width}, commitment={commitment}."
            )
        super().__init__(space, context)
        self.codes, self.levels, self.commitment = codes, levels, commitment
        self._nets(codes * width, hidden, components, codes * width, net)
        self.standard = Standard(codes * width)
        self.book = nn.Parameter(torch.randn(codes, levels, width))
        self.register_buffer("used", torch.full((codes, levels), 1 / levels))
        self.prior = self._of_symbols(prior)

    used: Tensor

    def _of_symbols(self, prior: str | TractableDensity | dict[str, Any]) -> TractableDensity:
        """Return the density of the symbols of a code, made from its description where `prior` is none."""
        symbols = Space(Category(tuple(map(str, range(self.levels)))), shape=(self.codes,))
        if isinstance(prior, str | dict):
            prior = build_family(prior, symbols, self.context)  # type: ignore[assignment]
        if not isinstance(prior, TractableDensity) or isinstance(prior, Counted | Learned):
            raise GenusError(f"prior must be a density trained by gradients, 'made' say; got {prior!r}.")
        if (prior.space, prior.context) != (symbols, self.context):
            raise GenusError(f"The prior must be a density on {symbols!r}, given the model's own context; got {prior.space!r}.")
        return prior

    # -- codes ----------------------------------------------------------------------------------------------------------

    def _nearest(self, h: Tensor) -> Tensor:
        """Return the nearest entry of every codebook to vectors h (B, codes width), standardised: (B, codes)."""
        parts = h.detach().unflatten(1, (self.codes, -1)).transpose(0, 1)
        return torch.cdist(parts, self.book.detach()).argmin(2).T

    def _entries(self, symbols: Tensor) -> Tensor:
        """Return the entries of the codebooks for symbols (B, codes): (B, codes width)."""
        return self.book[torch.arange(symbols.shape[1], device=symbols.device), symbols].flatten(1)

    def _symbols(self, x: Tensor, c: Tensor | None) -> Tensor:
        return self._nearest(self.standard.known(self.encoder(self._features(x, c))))

    def symbols(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        """Return the symbols of the code of x (B, *shape): (B, codes), each from 0 to levels - 1."""
        return self._symbols(*self._check(x, c))

    def _encode(self, x: Tensor, c: Tensor | None) -> Tensor:
        return self._entries(self._symbols(x, c))

    # -- training -------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def _initialise(self, x: Tensor, c: Tensor | None = None) -> None:
        super()._initialise(x, c)
        h = self.encoder(self._features(x, c))
        self.standard.begin(h)
        self._move(torch.ones_like(self.used, dtype=torch.bool), self.standard.known(h))

    def _move(self, which: Tensor, h: Tensor) -> None:
        """Move the entries that `which` (codes, levels) marks to random rows of h, a little beside them."""
        codes, levels, width = self.book.shape
        rows = torch.randint(len(h), (codes, levels), device=h.device, generator=rng(h.device))
        vectors = h.unflatten(1, (codes, width))[rows, torch.arange(codes, device=h.device)[:, None]]
        self.book.copy_(torch.where(which.unsqueeze(2), vectors + 0.01 * normal_like(vectors), self.book))

    def losses(self) -> list[Loss]:
        own = [*self.encoder.parameters(), *self.decoder.parameters(), self.base, self.book]
        return [Loss("reconstruction", own, self._reconstruction), Loss("prior", self.prior.parameters(), self._of_codes)]

    def _reconstruction(self, x: Tensor, c: Tensor | None) -> Tensor:
        h = self.standard(self.encoder(self._features(x, c)))
        symbols = self._nearest(h)
        entries = self._entries(symbols)
        if self.training:
            self._count(symbols, h.detach())
        loss = -self._likelihood(h + (entries - h).detach(), c).log_prob(x).sum(1)
        distance = (entries - h.detach()).square().sum(1) + self.commitment * (entries.detach() - h).square().sum(1)
        return (loss + distance).mean()

    @torch.no_grad()
    def _count(self, symbols: Tensor, h: Tensor) -> None:
        """Update how often each entry is used, and move entries that are hardly used."""
        levels = self.levels
        share = (symbols.unsqueeze(2) == torch.arange(levels, device=symbols.device)).to(self.used.dtype).mean(0)
        self.used.mul_(MEMORY).add_((1 - MEMORY) * share)
        rare = self.used < RARE / levels
        self._move(rare, h)
        self.used.masked_fill_(rare, 1 / levels)

    def _of_codes(self, x: Tensor, c: Tensor | None) -> Tensor:
        with torch.no_grad():
            symbols = self._symbols(x, c)
        return -self.prior._log_prob(symbols.to(self.prior.space.dtype), c).mean()

    # -- bounds ---------------------------------------------------------------------------------------------------------

    def _noise(self, n: int) -> Tensor:
        return self.book.new_empty(n, 0)  # the bound needs none

    def _elbo(self, x: Tensor, c: Tensor | None, noise: Tensor | None = None) -> Tensor:
        symbols = self._symbols(x, c)
        log_prior = self.prior._log_prob(symbols.to(self.prior.space.dtype), c)
        return self._likelihood(self._entries(symbols), c).log_prob(x).sum(1) + log_prior

    def _log_weights(self, x: Tensor, c: Tensor | None, samples: int) -> Tensor:
        return self._elbo(x, c).expand(samples, len(x))  # the code is certain, so every draw is the same

    def _draw_code(self, n: int, c: Tensor | None) -> Tensor:
        return self._entries(self.prior._sample(n, c).long())

    @classmethod
    def default_hyperparameters(cls, space: Space, rows: int) -> dict[str, Any]:
        suggested = super().default_hyperparameters(space, rows)
        codes = max(2, 3 * suggested.pop("latent") // 8)  # a symbol says more than a number
        return suggested | {"codes": codes, "levels": 16 if rows < 5_000 else 64}
