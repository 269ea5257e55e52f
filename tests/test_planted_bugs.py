"""Bugs that were planted once, and the sentence by which a law names each: `genus.testing` catches what it promises to."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from conftest import CONTEXTS, SPACES, draw
from torch import Tensor, nn

import genus
from genus import Category, Real, Space
from genus.divergences import DIVERGENCES, GAMES
from genus.models.autoregressive import Autoregressive
from genus.nets.causal import CausalNet
from genus.testing import LawError, check_divergence, check_model, check_transform
from genus.transforms import Transform


class RunningSum(CausalNet):
    """The sum of the tokens so far, through a layer; the simplest causal net."""

    def __init__(self, width: int, context_dim: int = 0) -> None:
        super().__init__(width, context_dim)
        self.layer = nn.Linear(width, width)

    def parallel(self, tokens: Tensor, c: Tensor | None) -> Tensor:
        return torch.tanh(self.layer(tokens.cumsum(1)))

    def empty(self, batch: int, c: Tensor | None) -> Tensor:
        return self.begin.new_zeros(batch, self.width)

    def advance(self, state: Tensor, token: Tensor) -> tuple[Tensor, Tensor]:
        return torch.tanh(self.layer(state + token)), state + token


class SeesItself(RunningSum):
    def forward(self, tokens: Tensor, c: Tensor | None = None) -> Tensor:
        return self.parallel(tokens, c)  # not shifted by one


class SeesAll(RunningSum):
    def parallel(self, tokens: Tensor, c: Tensor | None) -> Tensor:
        return torch.tanh(self.layer(tokens.sum(1, keepdim=True).expand_as(tokens)))


class Forgets(RunningSum):
    def advance(self, state: Tensor, token: Tensor) -> tuple[Tensor, Tensor]:
        return torch.tanh(self.layer(state + token)), token


def sequence_model(net: type[CausalNet], space: Space, context: Space | None = None) -> genus.GenerativeModel:
    class Sums(Autoregressive, name="test-sums"):
        info = Autoregressive.info.replace(listed=False)

        def __init__(self, space: Space, context: Space | None = None) -> None:
            super().__init__(space, context)
            self._tokens_and_outputs(8, 2)
            self.net = net(8, self.context_dim)

    torch.manual_seed(0)
    model = Sums(space, context)
    for parameter in model.parameters():
        parameter.data += torch.randn_like(parameter)
    return model


def test_a_sound_chain_rule_breaks_no_law(own_names: None) -> None:
    for name in ("windows", "words"):
        for context in (None, CONTEXTS["category"]):
            model = sequence_model(RunningSum, SPACES[name], context)
            c = None if context is None else draw(context, 20)
            held = check_model(model, draw(SPACES[name], 20), c)
            assert {"conditionals", "causality", "steps", "mass", "gradients"} <= set(held)


@pytest.mark.parametrize(
    ("net", "word"),
    [
        (SeesItself, "sees the value that it predicts"),
        (SeesAll, "sees a later one"),
        (Forgets, "advance and parallel disagree"),
    ],
)
def test_a_net_that_breaks_the_causal_contract_is_found(net: type[CausalNet], word: str, own_names: None) -> None:
    for space in (SPACES["windows"], Space(Category(tuple("abcdefghij")), shape=(30,), sequence=True)):
        with pytest.raises(LawError, match=word):
            check_model(sequence_model(net, space), draw(space, 20))


def test_a_density_of_sequences_that_is_no_chain_rule_is_held_to_mass_one(own_names: None) -> None:
    class Peeks(genus.TractableDensity, name="test-peeks"):
        info = genus.TractableDensity.info.replace(listed=False, sequences=True)

        def __init__(self, space: Space, context: Space | None = None) -> None:
            super().__init__(space, context)
            self.level = nn.Parameter(torch.zeros(()))

        @classmethod
        def limits(cls, space: Space, context: Space | None = None) -> str | None:
            return None

        def _log_prob(self, x: Tensor, c: Tensor | None) -> Tensor:
            return (self.level - 0.01).expand(len(x))  # 0.01 nats, whatever the sequence

        def _sample(self, n: int, c: Tensor | None) -> Tensor:
            return torch.randint(3, (n, self.space.dim)).to(self.space.dtype)

    with pytest.raises(LawError, match=r"all sequences of length 1 sum to 2\.97"):
        check_model(Peeks(SPACES["windows"]), draw(SPACES["windows"], 20))


@pytest.mark.parametrize("way", ["forward", "inverse"])
def test_a_gradient_that_is_cut_is_found(way: str, own_names: None) -> None:
    class Cut(Transform):
        def __init__(self) -> None:
            super().__init__()
            self.log_scale = nn.Parameter(torch.tensor(0.3))

        def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
            scale = self.log_scale.detach() if way == "forward" else self.log_scale
            return x * scale.exp(), self.log_scale.expand(len(x)) * x.shape[1]

        def inverse(self, z: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
            z = z.detach() if way == "inverse" else z
            return z * (-self.log_scale).exp(), -self.log_scale.expand(len(z)) * z.shape[1]

    what = "weights" if way == "forward" else "input"
    with pytest.raises(LawError, match=rf"Cut\.{way}: its gradient in its {what} .*detached"):
        check_transform(Cut(), torch.randn(5, 3))


KL = DIVERGENCES["kl"]


@pytest.mark.parametrize(
    ("planted", "word"),
    [
        ({"value": lambda r: r.exp() * r + 0.1}, r"f\(1\) is 0\.1"),
        ({"value": lambda r: r}, "not convex"),
        ({"value_under_p": lambda r: 2 * r}, "value_under_p"),
        ({"at_zero": 1.0}, "at_zero is 1"),
        ({"at_infinity": 1.0}, "at_infinity is 1"),
        ({"conjugate": lambda t: t.exp()}, "its conjugate is not the supremum"),
        ({"conjugate_of_witness": lambda r: r}, "conjugate_of_witness"),
        (
            {"witness": lambda r: torch.tanh(r) + 1, "conjugate_of_witness": lambda r: torch.tanh(r).exp()},
            "the best witness gives",
        ),
        ({"name": "chi-squared"}, "closed form"),
    ],
)
def test_a_wrong_divergence_is_found(planted: dict[str, Any], word: str) -> None:
    with pytest.raises(LawError, match=word):
        check_divergence(dataclasses.replace(KL, **planted))


@pytest.mark.parametrize("name", GAMES)
@pytest.mark.parametrize(
    ("planted", "word"),
    [
        (lambda g: {"distance": lambda loss: g.distance(loss) + 0.05}, "distance"),
        (lambda g: {"critic": lambda real, fake: g.critic(fake, real)}, "distance|generator"),  # some are symmetric
        (lambda g: {"generator": lambda real, fake: -g.generator(real, fake)}, "generator's loss is no lower"),
    ],
    ids=["distance", "critic", "generator"],
)
def test_a_wrong_game_is_found(name: str, planted: Callable[[Any], dict[str, Any]], word: str) -> None:
    with pytest.raises(LawError, match=word):
        check_divergence(dataclasses.replace(GAMES[name], **planted(GAMES[name])))


def test_a_model_with_nets_of_its_own_is_held_to_the_laws(own_names: None) -> None:
    """Its file gives it back by `load(path, into=)`; and a file that forgets some of its weights is found."""
    space, x = Space([Real(), Real(), Real()]), torch.randn(30, 3, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    vae = genus.VAE(space, latent=2, hidden=(8,))
    vae.replace(
        encoder=nn.Sequential(nn.Linear(3, 9), nn.Tanh(), nn.Linear(9, vae.code_width)),
        decoder=nn.Sequential(nn.Linear(2, 7), nn.SiLU(), nn.Linear(7, vae.head.width)),
    )
    assert "files" in check_model(vae, x)

    class Scaled(nn.Linear):
        """A layer with a number that no file knows."""

        def __init__(self, inputs: int, outputs: int) -> None:
            super().__init__(inputs, outputs)
            self.register_buffer("share", torch.tensor(0.5), persistent=False)

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * self.share

    vae.replace(decoder=Scaled(2, vae.head.width))
    assert "files" in check_model(vae, x)  # made alike, by hand, it has the number too

    class Untold(genus.VAE, name="test-untold"):
        def state_dict(self, *arguments: Any, **more: Any) -> dict[str, Any]:
            return {name: tensor for name, tensor in super().state_dict(*arguments, **more).items() if "bias" not in name}

        def load_state_dict(self, state: Any, strict: bool = True, assign: bool = False) -> Any:
            return super().load_state_dict(state, strict=False, assign=assign)

    model = Untold(space, latent=2, hidden=(8,))
    with pytest.raises(LawError, match="saved and loaded"):
        check_model(model, x)


def test_a_parameter_that_no_loss_has_and_one_that_two_have_are_found(own_names: None) -> None:
    class Spare(genus.MAF, name="test-spare"):
        twice = False

        def __init__(self, space: Space, context: Space | None = None) -> None:
            super().__init__(space, context, transforms=1, hidden=(4,))
            self.spare = nn.Parameter(torch.zeros(1))

        def losses(self) -> list[genus.Loss]:
            mine = [p for name, p in self.named_parameters() if name != "spare"]
            loss = genus.Loss("nll", mine, lambda x, c: -self._log_prob(x, c).mean())
            return [loss, dataclasses.replace(loss, name="again")] if self.twice else [loss]

    space = Space([Real(), Real()])
    with pytest.raises(LawError, match="no loss has spare among its parameters"):
        check_model(Spare(space), draw(space, 20))
    Spare.twice = True
    with pytest.raises(LawError, match="belong to another of its losses too"):
        check_model(Spare(space), draw(space, 20))


def test_a_game_of_a_distance_of_ones_own_is_left_unchecked() -> None:
    assert check_divergence(dataclasses.replace(GAMES["hinge"], name="mine", estimates="something new")) == []
    assert math.isfinite(float(KL.value(torch.zeros(()))))
