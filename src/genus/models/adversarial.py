"""Adversarial families: a generator of features and a critic of them; and losses by a critic for other samplers."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from genus.divergences.f import DIVERGENCES
from genus.divergences.games import Game
from genus.errors import DataError, GenusError
from genus.ladder import GenerativeModel, Loss, Size, TractableDensity
from genus.models.critic import Critic, adversarial_losses, generator_net
from genus.random import draw_indices, gumbel_like, isolated, rng, uniform_like
from genus.space import Lattice, Real, Space

__all__ = ["Adversarial", "adversarial"]

TINY = 1e-30  # beside which the chance of a state that was counted does not change


class Adversarial(GenerativeModel):
    """Train a generator z -> x against a critic that tells generated rows from real ones. There is no density.

    Categories and atoms come by straight-through Gumbel softmax (Jang et al. 2017, arXiv:1611.01144); lattices get noise of one
    step, so that the critic cannot tell real rows by their being whole.

    Args:
        latent: the number of dimensions of the generator's noise.
        net: "dense"; "convolutional", strided as in DCGAN; "residual"; or "auto": for images of one kind of pixel the second up
            to 32 pixels a side and the third beyond, for all else dense.
        hidden: the widths of the layers of dense generators and critics.
        channels: the number of channels of the largest layer of other nets.
        critic_steps: the number of steps of the critic for one of the generator.
        temperature: the temperature of the Gumbel softmax.
        balanced: train on rare categories more often than they occur (Xu et al. 2019, arXiv:1907.00503). Every row is generated
            given the state of one column, drawn at random, which it then has, and which the critic sees too. States are drawn
            by the logarithm of their counts in training, and by their counts in sampling, so that samples are not biased. None:
            wherever columns have states and there is no context, on which the counts would depend.
        adam: arguments of both optimizers.
        critic: arguments of `Critic`: its game, its penalties.

    A family names these arguments in its constructor, but for the last two, which it passes on.
    """

    info = GenerativeModel.info.replace(group="adversarial", takes="any table or image")
    # Averages smooth the steps of the game, and the last and smallest steps improve samples most: so, patience.
    fit_defaults = MappingProxyType({"ema_decay": 0.999, "patience": 100, "batch_size": 256, "lr_schedule": "cosine"})

    def __init__(self, space: Space, context: Space | None, adam: dict[str, Any], critic: dict[str, Any]) -> None:
        shared = ("latent", "critic_steps", "temperature", "balanced")  # of every family's arguments
        latent, critic_steps, temperature, balanced = (self.config[name] for name in shared)
        nets: dict[str, Any] = {name: self.config[name] for name in ("net", "hidden", "channels")}
        if latent < 1 or critic_steps < 1:
            raise GenusError(f"latent and critic_steps are 1 or more; got {latent} and {critic_steps}.")
        if not temperature > 0:
            raise GenusError(f"temperature is that of a softmax, above 0; got {temperature}.")
        if balanced and not space.one_hots():
            raise DataError("balanced=True asks for rows by the states of their columns, and none has any; leave it out.")
        if balanced and context is not None:
            raise DataError("balanced=True draws states by how often they occur, whatever the context; use one of the two.")
        super().__init__(space, context)
        self.latent, self.critic_steps, self.temperature, self.adam = latent, critic_steps, temperature, adam
        if space.is_image:  # a step of which takes longer
            self.fit_defaults = {**self.fit_defaults, "batch_size": 64}  # type: ignore[misc, assignment]
        # How often every state of every column occurs in training, where rows are asked for by them.
        balanced = bool(space.one_hots()) and context is None if balanced is None else balanced
        sizes = [space.kinds[i].states for i in space.columns_with_states()] if balanced else []
        states = sum(sizes)
        self.register_buffer("occurs", torch.ones(states, dtype=torch.float64) if balanced else None)
        column = [j for j, size in enumerate(sizes) for _ in range(size)]
        self.register_buffer("column", torch.tensor(column, dtype=torch.long), persistent=False)
        self.register_buffer("first", torch.tensor([0, *sizes[:-1]]).cumsum(0), persistent=False)
        self.generator = generator_net(latent + self.context_dim + states, space, **nets, context_dim=self.context_dim)
        self.critic = Critic(space, self.context_dim + states, **nets, **critic, projection=self.context_dim)
        numbers = space.columns(Real, Lattice)
        self.register_buffer("numbers", torch.tensor(numbers, dtype=torch.long), persistent=False)
        # A short lattice is reached by a tanh, whose flat ends make its lowest and highest values easy; numbers are free.
        kinds = [space.kinds[i] for i in numbers]
        short = [k if isinstance(k, Lattice) and k.is_narrow and k.chart.is_affine else None for k in kinds]
        columns = {
            "middle": [((k.low + k.high) / 2 - k.loc) / k.scale if k else 0.0 for k in short],
            "reach": [(k.high - k.low + k.step) / 2 / k.scale if k else 0.0 for k in short],
        }
        for name, values in columns.items():
            self.register_buffer(name, torch.tensor(values), persistent=False)
        self.register_buffer("bounded", torch.tensor([k is not None for k in short], dtype=torch.bool), persistent=False)
        # A continuous part counts only in state 0 of its column: (its position among the features, the feature of state 0).
        first = dict(zip(space.columns_with_states(), (where.start for where in space.one_hots()), strict=True))
        gates = [(position, first[column]) for position, column in enumerate(space.columns(Real, Lattice)) if column in first]
        self.register_buffer("gates", torch.tensor(gates, dtype=torch.long).reshape(-1, 2), persistent=False)

    numbers: Tensor
    middle: Tensor
    reach: Tensor
    bounded: Tensor
    gates: Tensor
    occurs: Tensor | None
    column: Tensor
    first: Tensor

    @property
    def game(self) -> Game:
        """Return the game between generator and critic."""
        return self.critic.game

    @classmethod
    def limits(cls, space: Space, context: Space | None = None) -> str | None:
        return None if space.coordinate_dim else "every column holds one value only, so there is nothing for a critic to see"

    @classmethod
    def default_hyperparameters(cls, space: Space, rows: int) -> dict[str, Any]:
        """Return fewer channels for larger images: in the same minutes more steps are worth more than wider nets."""
        return {"channels": 16} if space.is_image and max(space.shape[-2:]) > 16 else {}

    @classmethod
    def sizes(cls, space: Space, rows: int) -> Sequence[Size]:
        """Return dense nets, which are fast, and convolutional ones, for images that are not small."""
        if not space.is_image or min(space.shape[-2:]) <= 12:
            return ()
        default = cls.default_hyperparameters(space, rows)
        dense = {"net": "dense", "hidden": [256, 256]}
        return [Size(dense, 0, 32), Size({"net": "auto", "hidden": [256, 256]} | default, 8000, 64)]

    def losses(self) -> list[Loss]:
        parameters = self.generator.parameters()
        return adversarial_losses(
            self.critic, parameters, self._real, self._fake, self._row_context, self.adam, self.critic_steps
        )

    def row_weights(self, x: Tensor, c: Tensor | None = None) -> Tensor | None:
        """Return how often to train on each row, in proportion, (B,); None where all rows count alike.

        A row is as likely as the choice of one of its columns, of its state in that column, and of the row among all that have
        this state.
        """
        if self.occurs is None:
            return None
        occurs, size = torch.zeros_like(self.occurs), 2**15
        for part in x.split(size):
            occurs += torch.bincount(self._states(part).flatten(), minlength=len(occurs)).to(occurs)
        self.occurs.copy_(occurs)
        return torch.cat([self._state_chances(self._states(part)).sum(1) for part in x.split(size)])

    @torch.no_grad()
    def distance(self, x: Tensor, c: Tensor | None = None, seed: int | None = None) -> float:
        """Return the distance of as many samples from x (B, *shape) that the critic finds, in expectation a lower bound.

        It is in nats where the divergence is, and in standardised units for a Wasserstein critic, divided by its steepest
        slope.
        """
        x, c = self._check(x, c)
        with isolated(seed, self):
            context = self._row_context(x, c)
            return self.critic.distance(self._real(x), self._fake(len(x), c, context), context)

    def _real(self, x: Tensor) -> Tensor:
        """Return the features of real rows, with the values of lattices blurred over their cells."""
        features = self.space.coordinates(x).to(self.dtype)
        if not self.space.has_lattice:
            return features
        flat = x.flatten(1).to(torch.promote_types(self.dtype, self.space.dtype))
        table = self.space.tables(flat)
        blurred = table.charts.forward(table.spread(flat, uniform_like(flat)))[0].to(features.dtype)[:, self.numbers]
        on = (table.step > 0)[self.numbers]  # what is at an atom is gated away, and need not lie in a chart's support
        count = len(self.numbers)
        blurred = torch.where(on, blurred.nan_to_num(0.0, 0.0, 0.0), features[:, :count])
        return self._gate(torch.cat([blurred, features[:, count:]], dim=1))

    def _gate(self, features: Tensor) -> Tensor:
        """Set continuous parts to 0 where their column is at an atom, as `Space.coordinates` does."""
        if not len(self.gates):
            return features
        position, state = self.gates.T
        return features.index_copy(1, position, features[:, position] * features[:, state])

    def _one_hot(self, logits: Tensor) -> Tensor:
        """Draw one-hots by logits (n, states), with the gradient of a softmax (Jang et al. 2017, arXiv:1611.01144)."""
        soft = ((logits + gumbel_like(logits)) / self.temperature).softmax(1)
        return torch.zeros_like(soft).scatter_(1, soft.argmax(1, keepdim=True), 1.0) - soft.detach() + soft

    def _fake(self, n: int, c: Tensor | None, context: Tensor | None) -> Tensor:
        """Return the features of n generated rows, one-hots hard in value and soft in gradient."""
        z = torch.empty(n, self.latent, dtype=self.dtype, device=self.device).normal_(generator=rng(self.device))
        out = self.generator(z if context is None else torch.cat([z, context], dim=1))
        numbers = out[:, : len(self.numbers)]
        numbers = torch.where(self.bounded, self.middle + self.reach * torch.tanh(numbers), numbers)
        one_hots = [self._one_hot(out[:, place]) for place in self.space.one_hots()]
        features = torch.cat([numbers, *one_hots], dim=1)
        if self.occurs is not None and context is not None:  # the chosen column has the state of its row's context
            states = context[:, self.context_dim :]
            chosen = self.column == self.column[states.argmax(1)].unsqueeze(1)
            features = torch.cat([numbers, torch.where(chosen, states, features[:, numbers.shape[1] :])], dim=1)
        return self._gate(features)

    def _sample(self, n: int, c: Tensor | None) -> Tensor:
        context = self._context_features(c)
        if self.occurs is not None:
            states = draw_indices(self.occurs, n)
            context = self._with_states(states, context)
        return self.space.from_coordinates(self._fake(n, c, context))

    # -- rows by the state of one column ------------------------------------------------------------------------------

    def _row_context(self, x: Tensor, c: Tensor | None) -> Tensor | None:
        """Return the features that generator and critic see of every row's context, (B, features); None for none.

        With balanced rows these include the state of one column of each row, chosen at random; in training by its share in the
        row's weight.
        """
        context = self._context_features(c)
        if self.occurs is None:
            return context
        states = self._states(x)
        chances = self._state_chances(states) if self.training else torch.ones_like(states, dtype=self.occurs.dtype)
        column = draw_indices(chances, check=False).unsqueeze(1)  # chances are fine, and a step must not wait for the GPU
        return self._with_states(states.gather(1, column).squeeze(1), context)

    def _with_states(self, states: Tensor, context: Tensor | None) -> Tensor:
        """Append one-hots of states (B,) to the features of the context: (B, features + states)."""
        every = torch.arange(len(self.occurs), device=self.device)  # type: ignore[arg-type]
        one_hots = (states.to(self.device).unsqueeze(1) == every).to(self.dtype)
        return one_hots if context is None else torch.cat([context, one_hots], dim=1)

    def _states(self, x: Tensor) -> Tensor:
        """Return the number of the state of every column that has states, counted through all columns, (B, columns)."""
        return self.space.split(x).state[:, self.space.columns_with_states()] + self.first

    def _state_chances(self, states: Tensor) -> Tensor:
        """Return the chance of every state (B, columns) by its column's logarithmic counts, shared among the rows with it."""
        occurs: Tensor = self.occurs.clamp(min=0)  # type: ignore[union-attr]  # a damaged file may hold others
        weight = occurs.log1p()
        total = torch.zeros_like(self.first, dtype=weight.dtype).index_add(0, self.column, weight)
        chances = weight / total[self.column].clamp(min=TINY) / occurs.clamp(min=1)
        return chances[states] + TINY  # some column is drawn where no state of a row has been counted

    @torch.no_grad()
    def criterion(self, x: Tensor, c: Tensor | None = None) -> float | None:
        """Return the energy distance of 2,000 samples from at most 2,000 held-out rows, in features; None for a single row."""
        evaluate = self.losses()[0].evaluate
        return evaluate(x, c).get("criterion") if evaluate is not None else None


def adversarial(
    model: GenerativeModel,
    divergence: str = "jensen-shannon",
    *,
    net: str = "auto",
    hidden: Sequence[int] = (256, 256),
    channels: int = 32,
    r1: float | None = None,
    r2: float | None = None,
    penalty: float | None = None,
    clip: float | None = None,
    spectral: bool = False,
    critic_steps: int | None = None,
    likelihood: float = 0.0,
    learning_rate: float = 2e-4,
) -> list[Loss]:
    """Return losses for `genus.fit` that train a model which draws with gradients, a flow say, against a critic.

    A flow can then be trained by maximum likelihood, by a divergence of its samples, or by both (Grover et al. 2018,
    arXiv:1705.08868), and has its likelihood in every case. The critic is made here and is no part of the model; a checkpoint
    of the training keeps it. The best weights are those whose samples have the least energy distance from validation rows.

    Args:
        model: draws rows and their log-densities with gradients (`sample_and_log_prob`), of real numbers.
        divergence: "jensen-shannon" (the non-saturating game), "wasserstein", another f-divergence ("kl", "reverse-kl",
            "total-variation", ...) or the name of any game of `GAN`.
        net, hidden, channels: of the critic, see `Adversarial`.
        r1, r2, penalty, clip, spectral: see `Critic`; by default a gradient penalty of 10 for "wasserstein" without `clip` or
            `spectral`, and r1 = r2 = 0.003 for others.
        critic_steps: of the critic for one of the model; by default 5 for "wasserstein", otherwise 1.
        likelihood: the weight of the mean negative log-likelihood, in nats a datum, beside the game's loss.
        learning_rate: of both Adams; `genus.fit(learning_rate=...)` overrides it.

    Raises:
        GenusError: the model cannot draw with gradients, or there is no such divergence.
        DataError: its data are not real numbers, through which gradients could go back.

    >>> import genus
    >>> from genus import Real, RealNVP, Space
    >>> flow = RealNVP(Space([Real(), Real()]), transforms=2, hidden=(16,))
    >>> losses = adversarial(flow, "wasserstein", hidden=(16,))
    >>> history = genus.fit(flow, torch.randn(100, 2), losses=losses, max_steps=10, progress=False)
    >>> history.loss_names
    ['critic', 'generator']
    """
    if isinstance(model, Adversarial):
        raise GenusError(f"{type(model).__name__} has a critic of its own; choose its game when it is made.")
    if not isinstance(model, TractableDensity) or not hasattr(model, "sample_and_log_prob"):
        raise GenusError(f"{type(model).__name__} cannot draw with gradients; a flow can, 'real-nvp' say.")
    space, draw, log_prob = model.space, model._sample_and_log_prob, model._log_prob
    if any(not isinstance(kind, Real) or kind.states > 1 for kind in space.kinds):
        raise DataError("A sampler's data must be real numbers without atoms: gradients do not go back through states.")
    if likelihood < 0 or (critic_steps is not None and critic_steps < 1):
        raise GenusError(f"likelihood is 0 or more and critic_steps 1 or more; got {likelihood} and {critic_steps}.")
    game = f"f-{divergence}" if divergence in DIVERGENCES else divergence
    game = "non-saturating" if divergence == "jensen-shannon" else game
    earth = game == "wasserstein"
    if penalty is None:
        penalty = 10.0 if earth and clip is None and not spectral else 0.0
    zero = 0.0 if earth else 0.003
    r1, r2 = zero if r1 is None else r1, zero if r2 is None else r2
    critic = Critic(
        space, model.context_dim, game, net, hidden, channels, r1, r2, penalty, clip, spectral, projection=model.context_dim
    )
    critic.to(model.device, model.dtype)

    def features(x: Tensor) -> Tensor:
        return space.coordinates(x).to(model.dtype)

    return adversarial_losses(
        critic,
        model.parameters(),
        features,
        lambda n, c, context: features(draw(n, c)[0]),  # type: ignore[operator]
        lambda x, c: model._context_features(c),
        {"lr": learning_rate, "betas": (0.0, 0.9)},
        critic_steps or (5 if earth else 1),
        (lambda x, c: -likelihood * log_prob(x, c).mean()) if likelihood else None,
        {"likelihood": likelihood},
    )
