"""Models with a code: an encoder, a decoder, and the questions that both answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from genus.errors import DataError, GenusError
from genus.ladder import GenerativeModel, Size, map_batches
from genus.ladder.unknown import unknown_entries
from genus.nets.dense import Modulated, dense
from genus.nets.heads import Coordinates, Head
from genus.nets.residual import ImageDecoder, ImageEncoder
from genus.random import draw_indices
from genus.space import Space

__all__ = ["LatentVariable", "Use"]

MAX_LENGTH = 4.0  # of the input of a dense net: of longer ones, a step of all weights takes a layer too far
FIRST_PROPOSALS, NEXT_PROPOSALS = 64, 8  # codes from the prior among which an imputation chooses, at first and later
DECODED_NUMBERS = 2**22  # at once meanwhile
DRAWN_AGAIN = 50  # times that a blank is drawn again from the same code, before codes are drawn given the other entries
QUIET = 0.1  # by which the last layer of a decoder is scaled where mixtures start from the data
ACTIVE = 0.01  # the variance of a unit's mean over the data, above which it is used (Burda et al. 2016)


class Use(NamedTuple):
    """Report how much of a code is used.

    Attributes:
        variance: (L,) the variance of every unit's middle over the data.
        active: the number of units that depend on the data; a model without any has collapsed.
    """

    variance: Tensor
    active: int


class LatentVariable(GenerativeModel):
    """Model data by a code z of `latent` numbers: an encoder, and a decoder with a head for every kind of column.

    A family calls `_nets` in its constructor, and gives `_encode(x, c)` and `_draw_code(n, c)`, which return codes (B, latent);
    sampling, imputation and interpolation follow from them. It trains by `_elbo(x, c)`, or by `losses()` of its own.

    The encoder sees features less their mean. The decoder's numbers are added to `base`, the parameters of a head that does not
    depend on the code. They start as the marginals of the data: training would otherwise spend its first steps on these, and
    lose the code meanwhile.

    Attributes:
        impute_steps: how many times codes, and then entries given these, are drawn where entries are drawn given others.
    """

    info = GenerativeModel.info.replace(group="latent variables")
    draws_given_others = True
    draws_given_exactly = False
    impute_steps: ClassVar[int] = 50
    latent: int

    def _nets(self, latent: int, hidden: Sequence[int], components: int, width: int, net: str) -> None:
        """Make encoder, decoder and head; the encoder's output has `width` numbers."""
        if latent < 1:
            raise GenusError(f"A code needs 1 number or more; got latent={latent}.")
        if net not in ("dense", "convolutional"):
            raise GenusError(f"net must be 'dense' or 'convolutional'; got {net!r}.")
        if net == "convolutional" and not hidden:
            raise GenusError("A convolutional net needs hidden=[channels], 32 say; got none.")
        self.latent, self.code_width = latent, width
        self.head = Head(self.space, components)
        wide, narrow = self.space.feature_dim + self.context_dim, latent + self.context_dim
        if net == "dense" and self.context_dim:
            self.encoder: nn.Module = Modulated(wide, self.context_dim, hidden, width)
            self.decoder: nn.Module = Modulated(narrow, self.context_dim, tuple(reversed(hidden)), self.head.width)
        elif net == "dense":
            self.encoder = dense(wide, hidden, width)
            self.decoder = dense(narrow, tuple(reversed(hidden)), self.head.width)
        elif not self.space.is_image:
            raise DataError("net='convolutional' needs images whose pixels are all of one kind; use net='dense'.")
        else:
            shape = (1,) * (3 - len(self.space.shape)) + self.space.shape
            self.encoder = ImageEncoder(shape, hidden[0], width, self.context_dim)
            self.decoder = ImageDecoder(narrow, hidden[0], shape, self.head.width // self.space.dim, self.context_dim)
        self.register_buffer("centre", torch.zeros(wide))
        self.register_buffer("shrink", torch.ones(()))
        base = torch.zeros(self.head.width)
        if components > 1:  # components of a mixture that start alike stay alike: they are set apart in location
            base[self.head.tables :].view(-1, 3, components)[:, 1] += torch.linspace(-1.0, 1.0, components)
        self.base = nn.Parameter(base)

    centre: Tensor
    shrink: Tensor

    @torch.no_grad()
    def _initialise(self, x: Tensor, c: Tensor | None = None) -> None:
        """Centre the encoder's features, shrink them where they are long, and start `base` from the share of every value."""
        features = super()._features(x, c)
        self.centre.copy_(features.mean(0))
        if not isinstance(self.encoder, ImageEncoder):  # whose layers see a few pixels each
            length = (features - self.centre)[:, : self.space.feature_dim].square().sum(1).mean().sqrt()
            self.shrink.copy_(MAX_LENGTH / length.clamp(min=MAX_LENGTH))
        if self.head.cells.total:
            self.base[: self.head.tables] = self.head.cells.shares(x).to(self.dtype)
        if self.head.has_lattice:
            self.base[self.head.tables :] = self.head.start_mixtures(x).to(self.dtype)
            last = [part for part in self.decoder.modules() if isinstance(part, nn.Linear | nn.Conv2d)][-1]
            for parameter in last.parameters():  # what it adds at random would leave the cells of these mixtures
                parameter.mul_(QUIET)

    def _features(self, x: Tensor, c: Tensor | None) -> Tensor:
        features = super()._features(x, c) - self.centre
        if c is None:
            return features * self.shrink
        # The context is not shrunk: beside hundreds of pixels it is short as it is.
        dim = self.space.feature_dim
        return torch.cat([features[:, :dim] * self.shrink, features[:, dim:]], dim=1)

    def replace(self, encoder: nn.Module | None = None, decoder: nn.Module | None = None) -> None:
        """Replace the nets by your own.

        The file of such a model has its weights alone: `load(path, into=model)` reads them into a model with the same nets.

        Args:
            encoder: maps features of x and c (B, features) to (B, code_width).
            decoder: maps a code and the features of c (B, latent + features of c) to (B, head.width).

        Raises:
            GenusError: the output of a net has another shape.
        """
        for name, net, inputs, outputs in (
            ("encoder", encoder, self.space.feature_dim + self.context_dim, self.code_width),
            ("decoder", decoder, self.latent + self.context_dim, self.head.width),
        ):
            if net is None:
                continue
            with torch.no_grad():
                zeros = torch.zeros(2, inputs, dtype=self.dtype, device=self.device)
                shape = tuple(net.to(self.device, self.dtype)(zeros).shape)
            if shape != (2, outputs):
                raise GenusError(f"The {name} must map (B, {inputs}) to (B, {outputs}); it maps (2, {inputs}) to {shape}.")
            untrained = self.untrained
            setattr(self, name, net)
            if untrained:  # the new net belongs to the numbers that the model starts with
                self._remember_birth()

    # -- codes ----------------------------------------------------------------------------------------------------------

    def _encode(self, x: Tensor, c: Tensor | None) -> Tensor:
        """Return the codes (B, latent)."""
        raise TypeError(f"{type(self).__name__} must define _encode(x, c).")

    def encode(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        """Return the codes (B, latent) of data x (B, *shape): the middle of q(z | x, c).

        Here and in the questions below entries that are NaN where their column has no missing value are drawn given the others
        first (see `impute`), and c is a context for each datum, or one row for all.
        """
        return map_batches(self._encode, *self._whole(x, c))

    def _whole(self, x: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return checked data and contexts, what is missing filled in by draws that are the same every time."""
        if isinstance(x, Tensor) and tuple(x.shape[1:]) == self.space.shape:
            absent = unknown_entries(self.space, x) & ~self.space.unknown_blanks(x)  # a blank is a value that nets take
            if bool(absent.any()):
                x = self.impute(x, c, absent.view_as(x), seed=0)
        return self._check(x, c)

    def likelihood(self, z: Tensor, c: Tensor | None = None) -> Coordinates:
        """Return the decoder's distribution p(x | z, c), whose coordinates are independent.

        Args:
            z: codes (B, latent).
            c: their contexts, or one row for all; None for a model without context.

        Returns:
            An object with `log_prob(x)`, (B, D) in nats, and `sample()`.

        Raises:
            DataError: codes of another shape, or that are not finite numbers.
        """
        if not isinstance(z, Tensor) or z.ndim != 2 or z.shape[1] != self.latent or not bool(z.isfinite().all()):
            got = tuple(z.shape) if isinstance(z, Tensor) else type(z).__name__
            raise DataError(f"Codes must be finite numbers (B, {self.latent}); got {got}.")
        return self._likelihood(z.to(self.device, self.dtype), self._check_context(c, len(z)))

    def _likelihood(self, z: Tensor, c: Tensor | None) -> Coordinates:
        return self._decoded(z, self._context_features(c))

    def _decoded(self, z: Tensor, features: Tensor | None) -> Coordinates:
        """Return the decoder's distribution for codes z and features of the context, (B, context_dim) or None."""
        return self.head(self.base + self.decoder(z if features is None else torch.cat([z, features], dim=1)))

    def _log_likelihood(self, z: Tensor, x: Tensor, c: Tensor | None, samples: int) -> Tensor:
        """Return log p(x | z, c) (samples B,) of codes z (samples B, latent), one draw of all data after another."""
        contexts = None if c is None else c.repeat(samples, *[1] * (c.ndim - 1))
        return self._likelihood(z, contexts).log_prob(x).sum(1)

    @torch.no_grad()
    def reconstruct(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        """Return x decoded from its code, (B, *shape): the mean of short lattices, the likeliest value of other columns."""
        return map_batches(lambda x, c: self._likelihood(self._encode(x, c), c).middle(), *self._whole(x, c))

    @torch.no_grad()
    def interpolate(self, x: Tensor, c: Tensor | None = None, steps: int = 8) -> Tensor:
        """Decode points on the line between the codes of two data.

        Args:
            x: the two ends, (2, *shape).
            c: the context, one row, or one for each end; the points then go from the one to the other too.
            steps: the number of points, both ends included.

        Returns:
            (steps, *shape).
        """
        if type(steps) is not int or steps < 1:
            raise GenusError(f"steps is the number of points that are decoded, 1 or more; got {steps}.")
        if not isinstance(x, Tensor) or len(x) != 2 or x.ndim != len(self.space.shape) + 1:
            got = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
            raise DataError(f"interpolate goes between two data, x of shape (2, ...): torch.stack([a, b]); got {got}.")
        x, c = self._whole(x, c)
        first, last = self._encode(x, c)
        share = torch.linspace(0, 1, steps, dtype=first.dtype, device=first.device)[:, None]
        features = self._context_features(c)
        if features is not None:
            features = features[:1] + share * (features[1:] - features[:1])
        return self._decoded(first + share * (last - first), features).middle()

    @torch.no_grad()
    def traverse(self, x: Tensor, c: Tensor | None = None, *, unit: int, values: Sequence[float]) -> Tensor:
        """Return x decoded from its code, with one unit of the code set to each of some values.

        Args:
            x: a datum, (*shape).
            c: the context of x, one row.
            unit: the index of the unit, from 0 to latent - 1.
            values: of the unit.

        Returns:
            (len(values), *shape).
        """
        if not isinstance(unit, int) or not 0 <= unit < self.latent:
            raise GenusError(f"unit must be from 0 to {self.latent - 1}; got {unit}.")
        z = self.encode(x.unsqueeze(0), c).repeat(len(values), 1)
        z[:, unit] = torch.as_tensor(values, dtype=z.dtype)
        return self._likelihood(z, self._check_context(c, len(z))).middle()

    @torch.no_grad()
    def use(self, x: Tensor, c: Tensor | None = None) -> Use:
        """Return how much of the code depends on the datum (Burda et al. 2016, arXiv:1509.00519).

        Args:
            x: data (B, *shape).
            c: their contexts, or one row for all.
        """
        variance = map_batches(self.encode, x, c).var(0, correction=0)
        return Use(variance, int((variance > ACTIVE).sum()))

    def _conditional(self, x: Tensor, columns: list[int], c: Tensor | None) -> Tensor:
        """Return x (B, *shape) with these columns drawn given the others.

        Every row starts from a code of the prior, chosen by its likelihood of the row's other entries. Then codes are drawn
        given the row, and the entries given the code, `impute_steps` times in turns (Rezende et al. 2014, arXiv:1401.4082); a
        code from q is accepted by its importance weight (Mattei & Frellsen 2018, arXiv:1802.04826). In the limit of many steps
        these are draws from the model's own conditional, whatever q is.
        """
        missing = torch.zeros(len(x), self.space.dim, dtype=torch.bool, device=x.device)
        missing[:, columns] = True
        rows = max(1, DECODED_NUMBERS // (FIRST_PROPOSALS * self.space.dim))
        parts = [x[:0]]
        for at in range(0, len(x), rows):
            part, contexts = slice(at, at + rows), None if c is None else c[at : at + rows]
            parts.append(self._imputed(x[part], missing.view_as(x)[part], contexts))
        return torch.cat(parts)

    def _imputed(self, x: Tensor, missing: Tensor, c: Tensor | None) -> Tensor:
        z = self._chosen_code(None, FIRST_PROPOSALS, x, missing, c)
        for _ in range(self.impute_steps):
            z = self._chosen_code(z, NEXT_PROPOSALS, x, missing, c)
            filled = torch.where(missing, self._likelihood(z, c).sample().to(x), x)
            z = self._next_code(z, filled, c)
        return torch.where(missing, self._likelihood(z, c).sample().to(x), x)

    def _chosen_code(self, z: Tensor | None, count: int, x: Tensor, missing: Tensor, c: Tensor | None) -> Tensor:
        """Choose for every row among `count` codes from the prior, and z, by their likelihoods of the entries present.

        With z this is a step that leaves p(z | present entries, c) as it is: iterated sampling importance resampling (Andrieu,
        Lee & Vihola 2018, Bernoulli 24(2)).
        """
        contexts = None if c is None else c.repeat(count, *[1] * (c.ndim - 1))
        codes = self._draw_code(count * len(x), contexts).view(count, len(x), -1)
        if z is not None:
            codes, contexts = torch.cat([codes, z[None]]), None if c is None else torch.cat([contexts, c])  # type: ignore[list-item]
        present = ~missing.flatten(1).repeat(len(codes), 1)
        log_likelihood = self._likelihood(codes.flatten(0, 1), contexts).log_prob(x).flatten(1)
        log_weight = torch.where(present, log_likelihood, 0.0).sum(1).view(len(codes), len(x))
        chosen = draw_indices(log_weight.T.softmax(1))
        return codes[chosen, torch.arange(len(x), device=x.device)]

    def _draw_code(self, n: int, c: Tensor | None) -> Tensor:
        """Draw n codes of p(z | c), (n, latent)."""
        raise TypeError(f"{type(self).__name__} must define _draw_code(n, c).")

    def _next_code(self, z: Tensor, x: Tensor, c: Tensor | None) -> Tensor:
        """Return the next code of a chain from z (B, latent) that leaves p(z | x, c) as it is; by default z."""
        return z

    def _sample(self, n: int, c: Tensor | None) -> Tensor:
        return self._likelihood(self._draw_code(n, c), c).sample()

    def _checked_draw(
        self, c: Tensor | None, blanks: bool, index: Tensor, needed: Callable[[Tensor], Tensor] | None = None
    ) -> Tensor:
        """Draw rows; of blanks that stand for unknown values the entries are drawn again from the same code's decoder.

        Entries are independent given the code, so that what is drawn has p(entry | z, it is known).
        """
        if blanks or not self.space.has_unknown:
            return super()._checked_draw(c, blanks, index, needed)
        context = None if c is None else c[index.to(c.device)]
        z = self._draw_code(len(index), context)
        x = self._likelihood(z, context).sample()
        left = torch.arange(len(x), device=x.device)
        for _ in range(DRAWN_AGAIN):
            blank = self.space.unknown_blanks(x[left])
            left, blank = left[blank.any(1)], blank[blank.any(1)]
            if not len(left):
                return x
            again = self._likelihood(z[left], None if context is None else context[left]).sample().to(x)
            x[left] = torch.where(blank.view_as(again), again, x[left])
        return self._without_blanks(x, context)

    @classmethod
    def default_hyperparameters(cls, space: Space, rows: int) -> dict[str, Any]:
        latent = int(min(max(4, space.feature_dim // 2), 16 if rows < 50_000 else 32))
        if space.is_image and min(space.shape[-2:]) > 8:
            return {"net": "convolutional", "hidden": [32], "latent": latent}
        width = 128 if rows < 1000 else 256 if rows < 50_000 else 512
        return {"hidden": [width, width], "latent": latent}

    @classmethod
    def sizes(cls, space: Space, rows: int) -> Sequence[Size]:
        """Return dense nets, which are fast, and the convolutional one, for images that are not small."""
        default = cls.default_hyperparameters(space, rows)
        if default.get("net") != "convolutional":
            return ()
        return [
            Size({"net": "dense", "hidden": [128, 128]}, 0, 32, 4e-3),
            Size({"net": "dense", "hidden": [256, 256]}, 3000, 32, 3e-3),
            Size({"net": "convolutional", "hidden": default["hidden"]}, 3000, 128),
        ]
