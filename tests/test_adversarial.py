"""f-divergences, the games of critic and generator, and the families that play them."""

from __future__ import annotations

import math

import pytest
import torch
from conftest import SPACES, draw
from torch import Tensor

import genus
from genus import GAN, WGAN, WGANGP, Mixture, NaiveBayes, Real, Space
from genus.divergences import BITS, DIVERGENCES, GAMES, between, of_probabilities
from genus.models.critic import slope

P = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
Q = torch.tensor([0.25, 0.25, 0.4, 0.1], dtype=torch.float64)
DIRECT = {  # from the textbook, and not by way of f
    "kl": lambda p, q: (p * (p / q).log()).sum(),
    "reverse-kl": lambda p, q: (q * (q / p).log()).sum(),
    "jensen-shannon": lambda p, q: 0.5 * (p * (2 * p / (p + q)).log()).sum() + 0.5 * (q * (2 * q / (p + q)).log()).sum(),
    "total-variation": lambda p, q: 0.5 * (p - q).abs().sum(),
    "chi-squared": lambda p, q: ((p - q).square() / q).sum(),
    "squared-hellinger": lambda p, q: 0.5 * (p.sqrt() - q.sqrt()).square().sum(),
}


@pytest.mark.parametrize("name", DIVERGENCES)
def test_a_divergence_of_probabilities_is_the_textbooks(name: str) -> None:
    assert float(of_probabilities(P, Q, name)) == pytest.approx(float(DIRECT[name](P, Q)), abs=1e-12)
    assert float(of_probabilities(P, P, name)) == pytest.approx(0, abs=1e-12)
    assert of_probabilities(torch.stack([P, Q]), torch.stack([Q, P]), name).shape == (2,)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("kl", math.inf),
        ("reverse-kl", math.inf),
        ("jensen-shannon", BITS),
        ("total-variation", 1.0),
        ("chi-squared", math.inf),
        ("squared-hellinger", 1.0),
    ],
)
def test_what_lies_apart_is_as_far_as_can_be(name: str, expected: float) -> None:
    """Supports that do not meet: the KLs are infinite, Jensen-Shannon is one bit."""
    p, q = torch.tensor([0.5, 0.5, 0.0, 0.0]), torch.tensor([0.0, 0.0, 0.5, 0.5])
    assert float(of_probabilities(p, q, name)) == pytest.approx(expected)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_the_best_witness_reaches_the_divergence_and_no_other_passes_it(name: str) -> None:
    """D_f = sup_T E_p T - E_q f*(T), at T = f'(p / q)."""
    d, r = DIVERGENCES[name], (P / Q).log()

    def bound(ratio: Tensor) -> float:
        t = d.witness(ratio)
        return float((P * t).sum() - (Q * d.conjugate(t)).sum())

    exact = float(of_probabilities(P, Q, name))
    steep = name == "total-variation"  # whose best witness is a step
    assert bound(1e6 * r if steep else r) == pytest.approx(exact, abs=1e-9)
    with genus.model.isolated(0):
        for _ in range(50):
            assert bound(r + 0.5 * torch.randn(4)) <= exact + 1e-12


def test_divergences_of_models_are_those_of_known_normals() -> None:
    space = Space([Real()])

    def normal(mean: float, std: float) -> NaiveBayes:
        x = torch.linspace(1e-5, 1 - 1e-5, 40_001, dtype=torch.float64)
        rows = mean + std * torch.special.ndtri(x)
        model = NaiveBayes(space)
        model.observe((rows - rows.mean())[:, None] / rows.std() * std + mean)
        model.conclude()
        return model

    p, q = normal(0.0, 1.0), normal(1.0, 2.0)
    kl = math.log(2) + (1 + 1) / 8 - 0.5
    reverse = -math.log(2) + (4 + 1) / 2 - 0.5
    for name, expected in (("kl", kl), ("reverse-kl", reverse)):
        found = between(p, q, name, samples=40_000)
        assert found.value == pytest.approx(expected, abs=4 * found.error + 1e-3)
        assert 0 < found.error < 0.05
    grid = torch.linspace(-15, 15, 20_001, dtype=torch.float64)[:, None]
    a, b = (m.log_prob(grid).exp() for m in (p, q))
    a, b = a / a.sum(), b / b.sum()
    for name in ("jensen-shannon", "total-variation", "squared-hellinger"):
        found = between(p, q, name, samples=40_000)
        assert found.value == pytest.approx(float(of_probabilities(a, b, name)), abs=4 * found.error + 1e-3)
    with pytest.raises(genus.DataError, match="one space"):
        between(p, Mixture(SPACES["reals"]))
    with pytest.raises(genus.GenusError, match="There is no divergence"):
        between(p, q, "euclid")
    with pytest.raises(genus.DataError, match="probabilities"):
        of_probabilities(P, 2 * Q)


def repeated(probabilities: Tensor, values: Tensor) -> Tensor:
    """A sample whose shares are these probabilities, each value as often as it must be."""
    return values.repeat_interleave((probabilities * 20).round().long())


@pytest.mark.parametrize("name", ["minimax", "non-saturating"])
def test_the_best_discriminator_is_p_over_p_plus_q_and_its_loss_tells_jensen_shannon(name: str) -> None:
    """Logits of every state, learned: D* = p / (p + q), V(D*) = -log 4 + 2 JS."""
    game, logits = GAMES[name], torch.zeros(4, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=200, tolerance_grad=1e-12, tolerance_change=1e-15)
    states = torch.arange(4)

    def loss() -> Tensor:
        return game.critic(logits[repeated(P, states)], logits[repeated(Q, states)])

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    optimizer.step(closure)
    assert torch.allclose(logits.sigmoid(), P / (P + Q), atol=1e-5)
    js = of_probabilities(P, Q, "jensen-shannon")
    assert -loss().item() == pytest.approx(-math.log(4) + 2 * float(js), abs=1e-9)
    assert float(game.distance(loss())) == pytest.approx(float(js), abs=1e-9)


def test_losses_of_known_numbers() -> None:
    real, fake = torch.tensor([1.5, -0.5]), torch.tensor([0.5, -1.0])
    sigmoid = torch.sigmoid
    minimax = -sigmoid(real).log().mean() - (1 - sigmoid(fake)).log().mean()
    expected = {
        "minimax": (minimax, (1 - sigmoid(fake)).log().mean()),
        "non-saturating": (minimax, -sigmoid(fake).log().mean()),
        "least-squares": (torch.tensor((0.25 + 2.25 + 0.25 + 1.0) / 4), torch.tensor((0.25 + 4.0) / 4)),
        "hinge": (torch.tensor((0 + 1.5) / 2 + (1.5 + 0) / 2), torch.tensor(0.25)),
        "relativistic": (-sigmoid(real - fake).log().mean(), -sigmoid(fake - real).log().mean()),
        "wasserstein": (torch.tensor(-0.25 - 0.5), torch.tensor(0.25)),
    }
    for name, (critic, generator) in expected.items():
        assert float(GAMES[name].critic(real, fake)) == pytest.approx(float(critic), abs=1e-6), name
        assert float(GAMES[name].generator(real, fake)) == pytest.approx(float(generator), abs=1e-6), name


def test_minimax_saturates_where_the_critic_is_sure_and_the_other_does_not() -> None:
    """The generator's gradient at log-odds of -10: D for minimax, 1 - D otherwise."""
    for name, expected in (("minimax", -torch.tensor(-10.0).sigmoid()), ("non-saturating", -torch.tensor(10.0).sigmoid())):
        fake = torch.tensor([-10.0], requires_grad=True)
        gradient = torch.autograd.grad(GAMES[name].generator(fake, fake), fake)[0]
        assert float(gradient) == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize("shape", [(3,), (2, 2), (3, 4, 5)])
def test_the_slope_of_a_critic_is_taken_row_by_row(shape: tuple[int, ...]) -> None:
    weight = torch.full(shape, 2 / math.sqrt(math.prod(shape)), dtype=torch.float64)
    found = slope(lambda x: (x * weight).flatten(1).sum(1), torch.randn(7, *shape, dtype=torch.float64))
    assert torch.allclose(found, torch.full((7,), 2.0, dtype=torch.float64))


def test_weights_are_clipped_before_they_are_used() -> None:
    model = WGAN(SPACES["reals"], hidden=(8,), clip=0.01)
    with torch.no_grad():
        for parameter in model.critic.parameters():
            parameter += 1.0
    model.losses()[0].value(draw(SPACES["reals"], 9).float(), None)
    assert max(float(p.abs().max()) for p in model.critic.parameters()) <= 0.01 + 1e-9


def test_zero_centred_penalties_are_half_the_mean_square_slope() -> None:
    model = GAN(SPACES["reals"], hidden=(), r1=3.0, r2=5.0).double()
    real, fake = torch.randn(6, 3).double(), torch.randn(6, 3).double()
    square = float(model.critic.net[-1].weight.square().sum())
    assert float(model.critic.penalties(real, fake)) == pytest.approx(0.5 * (3 + 5) * square)


@pytest.mark.parametrize("game", [g for g in GAMES if g != "wasserstein"])
def test_every_game_moves_samples_towards_the_data(game: str) -> None:
    space = Space([Real(), Real()])
    with genus.model.isolated(0):
        x = torch.tensor([1.5, -1.0]) + 0.3 * torch.randn(1000, 2)
        model = GAN(space, latent=2, hidden=(32,), game=game, r1=1.0, r2=1.0)
    before = float(genus.divergences.energy_distance(model.sample(1000, seed=0), x))
    history = genus.fit(model, x, max_steps=300, learning_rate=2e-3, progress=False)
    after = float(genus.divergences.energy_distance(model.sample(1000, seed=0), x))
    assert after < 0.25 * before, (before, after, history)
    assert math.isfinite(model.distance(x, seed=0))
    assert {"distance", "spread", "gradient of critic", "gradient of generator"} == set(history.watched)


def test_a_penalised_critic_learns_the_earth_movers_distance() -> None:
    """Rows at a known distance W from what a generator that stands still makes: the dual nears W.

    A critic of slope s gains s W and pays lambda (s - 1)^2, so its slope is 1 + W / (2 lambda): here 1.0125.
    """
    space = Space([Real(), Real()])
    with genus.model.isolated(0):
        model = WGANGP(space, latent=2, hidden=(64, 64), penalty=200.0)
        fake = model.sample(2000)
        x = fake + torch.tensor([3.0, 4.0])
    critic = model.losses()[0]
    parameters = list(critic.parameters)
    optimizer = torch.optim.Adam(parameters, lr=2e-3, betas=(0.0, 0.9))
    for i in range(400):
        with genus.model.isolated(i):
            loss = critic.value(x[torch.randint(len(x), (256,))], None)
        for parameter in parameters:
            parameter.grad = None
        loss.backward()
        optimizer.step()
    assert model.distance(x, seed=0) == pytest.approx(5.0, rel=0.1)


def test_wrong_arguments_are_sentences() -> None:
    space = SPACES["reals"]
    for make, word in (
        (lambda: GAN(space, game="chess"), "There is no game"),
        (lambda: GAN(space, r1=-1.0), "0 or more"),
        (lambda: WGAN(space, clip=0.0), "above 0"),
        (lambda: WGANGP(space, critic_steps=0), "1 or more"),
    ):
        with pytest.raises(genus.GenusError, match=word):
            make()
