"""Hidden Chow-Liu trees: every column hangs on a latent variable, and the latent variables form the tree of the columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from genus.errors import DataError, GenusError
from genus.ladder import WithContext
from genus.models.circuit import TreeCircuit
from genus.models.dependence import SUM_SLACK, StateTree, draw_index, mutual_informations, rescaled, spanning_tree
from genus.random import isolated, rng
from genus.space import Space

__all__ = ["HCLT"]

HELD = 0.1  # of the rows, held out where no validation rows are given
BATCH = 512  # rows of a step, at most; of few rows a tenth
FORGET = 0.6  # step t replaces the share (t + 1)^-FORGET of the expected counts
LEAST = 0.05  # but at least this one
GAIN = 1e-4  # nats a row that validation rows must gain
PRIOR = 1.0  # rows' worth of a column's own shares in each of its tables
SPREAD = 3.0  # of the logarithms of random tables at the start


class Counts(NamedTuple):
    """Hold expected counts: of pairs of states of a variable and its parent (D, H, H), and of those of columns (D, S, H)."""

    pairs: Tensor
    own: Tensor


class HCLT(TreeCircuit, name="hclt"):
    """Hang every column on a latent variable, and join these by the Chow-Liu tree of the columns (Liu and Van den Broeck 2021).

    p(x) = sum_z p(z_root) prod_i p(z_i | z_parent(i)) p(x_i | z_i), with z_i of `latent` states: a mixture at every column,
    joined as `chow-liu` joins columns. It learns by EM on mini-batches, a running mean of expected counts (Cappe and Moulines
    2009), until validation rows gain nothing more. Sums over latent states are matrix products, scaled on the way. Any columns
    are left out, or drawn given any others, exactly.

    Args:
        latent: H, the states of a latent variable.
        states: the most states of a column; of a number fewer where rows are few.
        epochs: the most passes over the rows.
        patience: how many epochs without gain of validation rows end the training.
        smoothing: rows' worth of uniform shares in the tables of a latent variable, for each state of its parent.

    >>> import genus
    >>> data = genus.read("iris")
    >>> model = HCLT(data.space, latent=8)
    >>> _ = genus.fit(model, data, seed=0, progress=False)
    >>> model.log_prob(data.x).shape
    torch.Size([150])
    """

    emission: Tensor  # (D, H, S): p(state of the column | state of its variable)

    info = TreeCircuit.info.replace(
        title="a tree of latent variables, by EM",
        formula="p(x) = Σ_z ∏ p(zᵢ | z of the parent of i) p(xᵢ | zᵢ)",
        good="binary and categorical columns: every marginal and conditional exact",
        bad="numbers whose order matters; slower to fit than trees",
    )

    def __init__(
        self,
        space: Space,
        context: Space | None = None,
        latent: int = 32,
        states: int = 32,
        epochs: int = 100,
        patience: int = 5,
        smoothing: float = 0.1,
    ) -> None:
        if min(latent, epochs, patience) < 1 or not smoothing > 0:
            raise GenusError(
                "latent, epochs and patience must be 1 or more, smoothing above 0; got"
                f" latent={latent}, epochs={epochs}, patience={patience}, smoothing={smoothing}."
            )
        super().__init__(space, context, states, latent)
        self.latent, self.epochs, self.patience, self.smoothing = latent, epochs, patience, smoothing
        self.register_buffer("emission", self._shares()[:, None].repeat(1, latent, 1))

    @classmethod
    def default_hyperparameters(cls, space: Space, rows: int) -> dict[str, Any]:
        return {"latent": min(max(rows // 200, 4), 32)}

    # -- learning -----------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def learn(self, train: WithContext, validation: WithContext | None, budget: Callable[[], float], seed: int) -> str | None:
        """Measure the states, find the tree and learn its tables by EM; see `Learned.learn`."""
        self._measure(*train)
        with isolated(seed, self):
            state, order = self._states(*train), torch.randperm(len(train[0]), generator=rng()).to(self.device)
            if validation is None:
                count = round(HELD * len(state))
                state, held = state[order[count:]], state[order[:count]]
            else:
                held = self._states(*validation)
            parent = spanning_tree(mutual_informations(state, self._sizes()))
            return self._em(parent, state, held, budget)

    def _em(self, parent: Tensor, state: Tensor, held: Tensor, budget: Callable[[], float]) -> str:
        """Learn the tables by EM; those under which held-out rows are likeliest are kept. Return why it ended."""
        shares, (variables, width) = self._shares(), (len(parent), self.latent)
        tree = StateTree(variables, width).to(self.device)
        tree.take(parent, tree.table)
        tree.float()
        counts = Counts(random_like(tree.table, len(state)), len(state) / width * noisy(shares[..., None].float(), width))
        best, waited, step = -torch.inf, 0, 0
        size = max(32, min(BATCH, len(state) // 10))
        for epoch in range(self.epochs):
            for rows in torch.randperm(len(state), generator=rng()).to(state.device).split(size):
                emission = self._take(tree, counts, shares)
                found, _ = expectations(tree, emission, state[rows].long())
                share, step = max(LEAST, (step + 1) ** -FORGET) if step else 0.9, step + 1
                counts = Counts(*(a.lerp(b * (len(state) / len(rows)), share) for a, b in zip(counts, found, strict=True)))
                if budget() <= 0:
                    break
            emission = self._take(tree, counts, shares)
            value = float(self._score(tree, emission, held))
            waited = 0 if value > best + GAIN else waited + 1
            if value > best or epoch == 0:
                best = value
                self.tree.take(parent, normalised(tree.table.double()))
                self.emission.copy_(normalised(emission.transpose(1, 2).double()))
            if waited >= self.patience or budget() <= 0:
                return "early stopping"
        return f"{self.epochs} epochs"

    def _take(self, tree: StateTree, counts: Counts, shares: Tensor) -> Tensor:
        """Set the tables by expected counts, and return those of the columns (D, S, H)."""
        pairs = counts.pairs
        table = (pairs + self.smoothing / self.latent) / (pairs.sum(-1, keepdim=True) + self.smoothing)
        root = tree.order[0]
        table[root] = table[root, 0]
        tree.table.copy_(table)
        prior = PRIOR * shares[..., None].to(counts.own)
        return (counts.own + prior) / (counts.own.sum(1, keepdim=True) + PRIOR)

    def _score(self, tree: StateTree, emission: Tensor, state: Tensor) -> Tensor:
        """Return the mean log-likelihood of the states of rows."""
        total = torch.zeros((), dtype=torch.float64, device=state.device)
        for rows in (part.long() for part in state.split(BATCH)):
            total += tree.collect([emission[i][rows[:, i]] for i in range(rows.shape[1])])[1].double().sum()  # type: ignore[union-attr]
        return total / max(1, len(state))

    # -- answering ----------------------------------------------------------------------------------------------------

    def _evidence(self, i: int, state: Tensor) -> Tensor:
        return self.emission[i].T[state]

    def _draw_states(self, z: Tensor, i: int) -> Tensor:
        return draw_index(self.emission[i][z])

    def _check_tables(self) -> None:
        beyond = [bool(self.emission[i, :, size:].any()) for i, size in enumerate(self._sizes())]
        sums = self.emission.sum(-1)
        if any(beyond) or not bool((self.emission >= 0).all()) or not bool(((sums - 1).abs() < SUM_SLACK).all()):
            raise DataError("The rows of a column's table must be probabilities that sum to 1, of the states that it has.")


def expectations(tree: StateTree, emission: Tensor, state: Tensor) -> tuple[Counts, Tensor]:
    """Return the expected counts given rows of states (B, D), and the log-likelihood of each row (B,)."""
    up: list[Any] = [emission[i].index_select(0, state[:, i]) for i in range(state.shape[1])]
    message: list[Any] = [None] * len(up)
    log_likelihood = torch.zeros(len(state), dtype=emission.dtype, device=emission.device)
    pairs, own = torch.zeros_like(tree.table), torch.zeros_like(emission)
    root = tree.order[0]
    for i in reversed(tree.order):
        up[i], log_scale = rescaled(up[i])
        log_likelihood += log_scale
        if i != root:
            message[i] = up[i] @ tree.table[i].T
            p = tree.parents[i]
            up[p], log_scale = rescaled(up[p] * message[i])
            log_likelihood += log_scale
    belief: list[Any] = [None] * len(up)
    belief[root] = up[root] * tree.table[root, 0]
    total = belief[root].sum(1, keepdim=True)
    log_likelihood += total[:, 0].log()
    belief[root] /= total
    pairs[root] = belief[root].sum(0)
    for i in tree.order:
        if i != root:
            above = belief[tree.parents[i]] / message[i].clamp(min=torch.finfo(emission.dtype).tiny)
            pairs[i] = tree.table[i] * (above.T @ up[i])
            belief[i] = up[i] * (above @ tree.table[i])
        own[i].index_add_(0, state[:, i], belief[i])
    return Counts(pairs, own), log_likelihood


def normalised(table: Tensor) -> Tensor:
    """Return a table whose rows sum to 1."""
    return table / table.sum(-1, keepdim=True)


def noisy(shares: Tensor, width: int) -> Tensor:
    """Return shares (D, S, 1) as the columns of random tables (D, S, width), each near the shares."""
    noise = torch.randn(*shares.shape[:2], width, generator=rng(shares.device), device=shares.device)
    table = shares * (SPREAD * noise).exp()
    return table / table.sum(1, keepdim=True)


def random_like(table: Tensor, rows: int) -> Tensor:
    """Return random counts (D, H, H) of so many rows."""
    noise = torch.randn(table.shape, generator=rng(table.device), device=table.device)
    return (SPREAD * noise).softmax(-1) * (rows / table.shape[1])
