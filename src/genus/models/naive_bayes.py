"""Naive Bayes: columns independent given the class."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from genus.errors import GenusError
from genus.ladder import Counted, TractableDensity
from genus.models.combinations import context_combinations, context_index, context_refusal
from genus.models.private import add_noise, check_epsilon, clipped
from genus.models.product import Product, ProductRows
from genus.nets.cells import Cells
from genus.space import Lattice, Space

__all__ = ["NaiveBayes"]


class NaiveBayes(Counted, TractableDensity, name="naive-bayes"):
    """Independent columns; with a discrete context y the naive Bayes classifier, p(x, y) = p(y) prod_i p(x_i | y).

    Tables are counted with add-`smoothing`, which on a lattice is spread in the shape of a Gaussian; reals are Gaussians, wide
    lattices discretised ones. One pass over the data is the fit; it streams (`observe` chunks, then `conclude`) and merges
    across workers. `class_log_probs` classifies. (Duda & Hart 1973; of reals John & Langley 1995, arXiv:1302.4964.)

    Args:
        smoothing: the pseudo-counts of every cell of a table, on a lattice in the mean.
        variance: a number added to every variance, in standardised units.
        epsilon: a budget of differential privacy: what is counted gets discrete Laplace noise when it is concluded, so that no
            row changes the probability of any outcome by more than a factor of exp(epsilon); numbers are clipped to 4
            standardised units. Levels, ends and charts of the space are not covered, unless they were declared. None: no noise.

    >>> import genus
    >>> data = genus.read("iris", context="species")
    >>> model = NaiveBayes(data.space, data.context)
    >>> model.observe(data.x, data.c); model.conclude()
    >>> bool((model.class_log_probs(data.x).argmax(1) == data.c[:, 0]).float().mean() > 0.9)
    True
    """

    info = TractableDensity.info.replace(
        title="naive Bayes: independent columns",
        group="counted",
        takes="any table or image; a discrete context",
        formula="p(x | c) = ∏ᵢ p(xᵢ | c)",
        good="a first answer within a second at any number of rows; labels from columns, one by one",
        bad="columns that depend on one another where the context is known",
    )
    weighs = True
    draws_apart = True
    statistics = tuple(f"product.{name}" for name in Product.statistics)

    def __init__(
        self,
        space: Space,
        context: Space | None = None,
        smoothing: float = 1.0,
        variance: float = 1e-9,
        epsilon: float | None = None,
    ) -> None:
        check_epsilon(epsilon)
        super().__init__(space, context)
        self.smoothing, self.variance, self.epsilon = smoothing, variance, epsilon
        self.product = Product(space, context_combinations(context))
        self.context_cells = Cells(context, limit=Lattice.NARROW) if context is not None else None

    @classmethod
    def limits(cls, space: Space, context: Space | None = None) -> str | None:
        return context_refusal(context)

    def observe(self, x: Tensor, c: Tensor | None = None, weight: Tensor | None = None) -> None:
        """Add the rows x (B, *shape) to the statistics, each as often as its weight (B,) says."""
        member = None if c is None else context_index(self.context_cells, c, len(x), x.device)
        if self.epsilon is not None:
            self._observe_clipped(x, member, weight)
            return
        if weight is not None:
            of = torch.zeros(len(x), dtype=torch.long, device=x.device) if member is None else member
            member = F.one_hot(of, self.product.components).double() * weight.double().to(x.device).unsqueeze(1)
        self.product.observe(x, member)

    def _observe_clipped(self, x: Tensor, member: Tensor | None, weight: Tensor | None) -> None:
        """Add rows so that each changes a sum by a bounded amount."""
        if weight is not None:
            raise GenusError("A row with a weight changes counts by more than 1; leave the weights out, or epsilon.")
        for rows in self.product.chunks(len(x)):
            parts = self.product.rows_of(x[rows], edges=False)
            bounded = ProductRows(parts.cell, clipped(parts.u), parts.inside, parts.log_slope, parts.edges)
            self.product.observe_rows(bounded, None if member is None else member[rows])

    @property
    def privacy(self) -> str | None:
        """Return what differential privacy covers, and what it does not, in words; None without it."""
        if self.epsilon is None:
            return None
        covered = f"{self.epsilon:g}-differentially private counts, by discrete Laplace noise on what each row adds"
        return f"{covered}; levels, ends and charts of columns, read from the rows, are not covered"

    def conclude(self) -> None:
        if self.epsilon is not None:
            add_noise(self.product, self.epsilon)
        self.product.conclude(self.smoothing, self.variance)
        if self.context_counts is not None:
            self.context_counts.copy_(self.product.rows)

    def _log_prob(self, x: Tensor, c: Tensor | None) -> Tensor:
        return self._under(self.product, x, c)

    def _log_marginal(self, x: Tensor, columns: list[int], c: Tensor | None) -> Tensor:
        return self._under(self.product.select(columns), x, c)

    def _log_values(self, x: Tensor, i: int, values: Tensor, c: Tensor | None) -> Tensor:
        if self.space.dim == 1:
            return super()._log_values(x, i, values, c)
        others = [j for j in range(self.space.dim) if j != i]
        own = self.product.select([i]).log_prob(values[:, None].to(x)).T  # (components, K)
        rest = self._under(self.product.select(others), x.flatten(1)[:, others], c)
        return rest[:, None] + own[context_index(self.context_cells, c, len(x), x.device)]

    def _under(self, product: Product, x: Tensor, c: Tensor | None) -> Tensor:
        k = context_index(self.context_cells, c, len(x), x.device)
        return product.log_prob(x).gather(1, k.unsqueeze(1)).squeeze(1)

    @torch.no_grad()
    def class_log_joint(self, x: Tensor) -> Tensor:
        if self.context_counts is None:
            return super().class_log_joint(x)  # says why not
        x = x.to(self.device)
        self.space.check(x)
        prior = (self.context_counts / self.context_counts.sum()).log()
        return self.product.log_prob(x) + prior - math.log(self.acceptance)

    def _conditional(self, x: Tensor, columns: list[int], c: Tensor | None) -> Tensor:
        return self._sample(len(x), c)  # columns are independent

    def _draw_given(self, x: Tensor, columns: list[int], c: Tensor | None, blanks: bool) -> Tensor:
        return self.product.sample(context_index(self.context_cells, c, len(x), self.device), blanks)

    def _sample(self, n: int, c: Tensor | None) -> Tensor:
        return self.product.sample(context_index(self.context_cells, c, n, self.device))
