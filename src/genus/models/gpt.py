"""Generative pre-trained transformer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from genus.compiled import is_traced
from genus.errors import GenusError
from genus.ladder import Loss, Size, map_batches
from genus.models.autoregressive import Autoregressive
from genus.nets.attention import Transformer
from genus.space import Real, Space

__all__ = ["GPT"]

CACHE = 2**28  # the most numbers in the cache of keys and values of rows that are sampled together: 1 GB
TOKENS_OF_A_STEP = 1024  # in batches of short times
OFTEN = 5.5  # passes over the data from which on small nets need dropout, so that they do not learn it by heart
DROPOUT = 0.05
TOKENS = 2**14  # the most tokens in one pass without gradients, so that its memory does not grow with the rows


class GPT(Autoregressive, name="gpt"):
    """Model p(x_t | x_1 ... x_{t-1}) by a decoder-only transformer, which attends to the last `window` positions.

    The transformer of Radford et al. 2018 has later improvements, which `nets/attention.py` names. Its matrices are trained by
    Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon), its other parameters by Adam.

    Args:
        width: the width of tokens; a multiple of 2 * heads.
        layers: the number of blocks, each of attention and a dense net.
        heads: the number of heads of every attention.
        window: the number of positions it looks back; by default the length of the data. Longer sequences slide through it.
        dropout: the probability of dropping a feature of the tokens, and of what attention and the dense nets add to them, at
            all positions of a sequence alike.
        components: the number of components of the mixtures that model numbers.
        order: the order of the columns of a table; by default their own. For several orders take a `Stack` of as many, whose
            density is the mean of theirs, weighted by validation rows.

    >>> from genus import Category, Real, Space, Stack
    >>> letters = Space(Category(("a", "b", None)), shape=(5,), sequence=True)
    >>> model = GPT(letters, width=8, layers=1, heads=2)
    >>> [x.shape for x in (model.sample(2, seed=0), model.sample(2, length=9, seed=0))]
    [torch.Size([2, 5]), torch.Size([2, 9])]
    >>> table = Space([Real(), Category(("no", "yes"))])
    >>> Stack(table, members=[{"class": "gpt", "order": order} for order in ([0, 1], [1, 0])]).log_prob(torch.zeros(3, 2)).shape
    torch.Size([3])
    """

    info = Autoregressive.info.replace(
        title="transformer",
        group="chain rule",
        takes="text, sound and other sequences; any table or image",
        formula="p(x) = ∏ₜ p(xₜ | x₁ … xₜ₋₁), by attention to all before",
        good="text and symbols with minutes of training or more",
        bad="little data and little time, where counts and trees do better; cost grows with the square of the length",
    )

    def __init__(
        self,
        space: Space,
        context: Space | None = None,
        width: int = 128,
        layers: int = 4,
        heads: int = 4,
        window: int | None = None,
        dropout: float = 0.0,
        components: int = 10,
        order: Sequence[int] | None = None,
    ) -> None:
        if min(width, layers, heads) < 1 or width % (2 * heads):
            raise GenusError(
                f"layers and heads must be 1 or more, and width a multiple of twice the heads; got width={width},"
                f" heads={heads}, layers={layers}."
            )
        if window is not None and window < 1:
            raise GenusError(f"window is the number of positions that the model looks back, 1 or more; got {window}.")
        super().__init__(space, context, order)
        self._tokens_and_outputs(width, components)
        self.fit_defaults = self._fit_defaults(width, space.dim)  # type: ignore[misc]
        if space.is_table:  # learned by heart long before a budget ends: small steps, and the average of their weights
            small = {"learning_rate": 4e-3, "batch_size": 256, "ema_decay": 0.995}
            # bfloat16 keeps three digits, too few where one column determines another to four.
            numbers = {} if self.regression is None else {"learning_rate": 8e-3, "precision": "32-true"}
            self.fit_defaults = {**self.fit_defaults, **small, **numbers}  # type: ignore[misc]
        self.max_rows = max(1, CACHE // (2 * layers * width * (window or space.dim)))
        self.net = Transformer(width, layers, heads, window or space.dim, dropout, self.context_dim)

    @classmethod
    def default_hyperparameters(cls, space: Space, rows: int) -> dict[str, Any]:
        """Return a net that grows with the data, with dropout where there are few rows, which it would learn by heart."""
        if space.is_table:  # narrow, for more steps in the same time; dropout blurs numbers that follow closely from others
            width, heads = (64, 2) if rows < 50_000 else (96, 3)
            numbers = all(isinstance(kind, Real) for kind in space.kinds)
            dropout = 0.2 if rows < 5_000 else 0.0 if numbers and rows >= 20_000 else 0.05
            return {"width": width, "layers": 3, "heads": heads, "dropout": dropout}
        values = rows * space.dim
        width, layers = (64, 3) if values < 30_000 else (128, 4) if values < 500_000 else (256, 6)
        return {"width": width, "layers": layers, "dropout": 0.2 if values < 500_000 else 0.1 if values < 5_000_000 else 0.0}

    @classmethod
    def sizes(cls, space: Space, rows: int) -> Sequence[Size]:
        """Return nets of growing width and depth: of sequences, in a short time, many small steps are worth most."""
        default, values, window = cls.default_hyperparameters(space, rows), rows * space.dim, min(64, space.dim)
        if space.is_table or values < 500_000:
            return ()
        nets = [(64, 2, 0, 0.0), (64, 3, 2500, 0.0), (96, 4, 3000, 0.0), (128, 4, 4000, 0.0)]
        often = int(OFTEN * values / TOKENS_OF_A_STEP)
        if often < 5500:
            nets.append((128, 4, max(4000, often), DROPOUT))
        nets.append((192, 4, 5500, DROPOUT if often < 5500 else 0.0))
        of_few = partial(Size, batch_size=max(1, TOKENS_OF_A_STEP // space.dim), compiles=True)
        small = [
            of_few({"width": width, "layers": layers, "heads": width // 32, "window": window, "dropout": dropout}, steps)
            for width, layers, steps, dropout in nets
        ]
        large, batch = {"heads": 4, "window": space.dim}, max(8, 16 * default["width"] // space.dim)
        return [*small, Size(default | large, 4000, batch, compiles=True)]

    @staticmethod
    def _fit_defaults(width: int, length: int) -> dict[str, Any]:
        """Return smaller steps and larger batches for wider nets, which also gain by half precision."""
        return {
            "learning_rate": min(0.02, 0.09 / width**0.5),
            "batch_size": max(8, min(512, 16 * width // length)),
            "precision": "bf16-mixed" if width >= 64 else "32-true",
            "lr_schedule": "linear",
            "weight_decay": 0.1,
        }

    def losses(self) -> list[Loss]:
        matrices = self.net.matrices()  # type: ignore[operator]
        return [Loss("nll", self.parameters(), self._loss, matrices=matrices, of_elements=self.space.sequence)]

    def _log_conditionals(self, x: Tensor, c: Tensor | None) -> Tensor:
        if torch.is_grad_enabled() or is_traced():
            return super()._log_conditionals(x, c)
        return map_batches(super()._log_conditionals, x, c, max(1, TOKENS // max(x.shape[1:].numel(), 1)))
