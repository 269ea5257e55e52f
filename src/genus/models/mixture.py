"""Mixture: naive Bayes with the class unobserved, by expectation maximisation."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from genus.errors import GenusError
from genus.ladder import Counted, TractableDensity
from genus.models.product import Product, context_combinations, context_index, context_refusal
from genus.nets.cells import Cells
from genus.random import rng
from genus.space import Lattice, Space

__all__ = ["Mixture"]


class Mixture(Counted, TractableDensity, name="mixture"):
    """Sum over K components of independent columns, naive Bayes with its class unobserved: p(x | c) = sum_k p(k | c) prod_i
    p(x_i | k). It is fitted by EM (Dempster et al. 1977): `observe` is the E-step (expected counts), `conclude` the M-step.

    The tables and variances of a component are drawn towards those of all rows, as if `pool` more rows of them were its own, so
    that the density of a component of few rows has no spikes.

    Args:
        components: K, the number of components.
        smoothing: the pseudo-counts of every cell of the pooled tables.
        pool: how many rows' worth of all rows together is added to every component.

    >>> import genus
    >>> data = genus.read("iris")
    >>> model = Mixture(data.space, components=3)
    >>> _ = genus.fit(model, data, seed=0, progress=False)
    >>> model.log_prob(data.x).shape
    torch.Size([150])
    """

    info = TractableDensity.info.replace(
        title="mixture of products, by EM", group="counted", takes="any table or image; a discrete context"
    )
    passes: ClassVar[int | None] = None
    statistics = (*(f"product.{name}" for name in Product.statistics), "weights")

    def __init__(
        self, space: Space, context: Space | None = None, components: int = 32, smoothing: float = 0.5, pool: float = 5.0
    ) -> None:
        if components < 1:
            raise GenusError(f"A mixture has 1 component or more; got components={components}.")
        super().__init__(space, context)
        self.components, self.smoothing, self.pool = components, smoothing, pool
        self.product = Product(space, components)
        self.context_cells = Cells(context, limit=Lattice.NARROW) if context is not None else None
        self.register_buffer("weights", torch.zeros(context_combinations(context), components, dtype=torch.float64))
        self.register_buffer("log_weights", torch.full_like(self.weights, 1 / components).log())

    weights: Tensor
    log_weights: Tensor

    @classmethod
    def limits(cls, space: Space, context: Space | None = None) -> str | None:
        return context_refusal(context)

    @classmethod
    def default_hyperparameters(cls, space: Space, rows: int) -> dict[str, Any]:
        return {"components": int(min(max(round(rows**0.5), 3), 256))}

    # -- EM -----------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def _initialise(self, x: Tensor, c: Tensor | None = None) -> None:
        """Start from hard memberships by k-means on the features, and one M-step."""
        from sklearn.cluster import KMeans

        features = F.pad(self.space.coordinates(x).float(), (0, 1)).cpu().numpy()  # padded: constant data have no features
        seed = int(torch.randint(2**31, (), generator=rng()))
        means = KMeans(min(self.components, len(x)), n_init=1, max_iter=20, random_state=seed)
        with warnings.catch_warnings():  # fewer different rows than components is no fault
            warnings.simplefilter("ignore")
            labels = means.fit_predict(features)
        self._add(x, c, F.one_hot(torch.as_tensor(labels, dtype=torch.long, device=x.device), self.components).double())
        self.conclude()

    @torch.no_grad()
    def observe(self, x: Tensor, c: Tensor | None = None) -> None:
        self._add(x, c, self._joint(x, c).softmax(1))

    def _add(self, x: Tensor, c: Tensor | None, responsibility: Tensor) -> None:
        self.product.observe(x, responsibility)
        self.weights.index_add_(0, context_index(self.context_cells, c, len(x), x.device), responsibility)

    def conclude(self) -> None:
        overall = (self.weights.sum(0) + 1.0) / (self.weights.sum() + self.components)
        smooth = self.weights + overall  # a rare context is drawn towards the overall weights, by one row
        self.log_weights.copy_((smooth / smooth.sum(1, keepdim=True)).log())
        self.product.conclude(self.smoothing, 1e-6, self.pool)
        self.clear()

    # -- answering ----------------------------------------------------------------------------------------------------

    def _joint(self, x: Tensor, c: Tensor | None, product: Product | None = None) -> Tensor:
        """Return log p(k, x | c), (B, K); of some columns for a product of these columns."""
        row = context_index(self.context_cells, c, len(x), x.device)
        return (product or self.product).log_prob(x) + self.log_weights[row]

    def _log_prob(self, x: Tensor, c: Tensor | None) -> Tensor:
        return self._joint(x, c).logsumexp(1)

    def _log_marginal(self, x: Tensor, columns: list[int], c: Tensor | None) -> Tensor:
        return self._joint(x, c, self.product.select(columns)).logsumexp(1)

    def _conditional(self, x: Tensor, columns: list[int], c: Tensor | None) -> Tensor:
        """Draw the component given the other columns, then all columns given the component."""
        known = [i for i in range(self.space.dim) if i not in columns]
        return self._sample_components(self._joint(x.flatten(1)[:, known], c, self.product.select(known)).softmax(1))

    def _sample(self, n: int, c: Tensor | None) -> Tensor:
        return self._sample_components(self.log_weights[context_index(self.context_cells, c, n, self.device)].exp())

    def _sample_components(self, weights: Tensor) -> Tensor:
        """Draw a component for every row by its weights (n, K), and all columns given the component."""
        return self.product.sample(torch.multinomial(weights, 1, generator=rng(weights.device)).squeeze(1))
