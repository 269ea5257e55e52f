"""f-divergences, the games of critic and generator, and the families that play them."""

from __future__ import annotations

import copy
import math
import pickle
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import CONTEXTS, SPACES, draw
from torch import Tensor, nn

import genus
from genus import GAN, WGAN, WGANGP, Category, Lattice, Loss, Mixture, NaiveBayes, Real, RealNVP, Space, adversarial
from genus.divergences import BITS, DIVERGENCES, GAMES, between, energy_distance, gradient_norm, of_probabilities
from genus.divergences.f import FDivergence
from genus.divergences.games import Game
from genus.models.critic import Critic, relative_spread
from genus.nets.residual import ImageEncoder
from genus.nets.strided import StridedEncoder
from genus.testing import check_divergence
from genus.training.history import alarms

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


@pytest.mark.parametrize("divergence", [*DIVERGENCES.values(), *GAMES.values()], ids=lambda divergence: divergence.name)
def test_divergences_and_games_keep_the_laws(divergence: FDivergence | Game) -> None:
    expected = ["convexity", "limits", "conjugate", "witness"] if isinstance(divergence, FDivergence) else ["critic"]
    closed = ["closed form"] * (isinstance(divergence, FDivergence) and divergence.name != "jensen-shannon")
    assert check_divergence(divergence) == [*expected, *closed]


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


def test_every_other_best_critic_tells_its_distance_too() -> None:
    """Least squares: Le Cam's; relativistic: Jensen-Shannon of ordered pairs, whose log-ratio is a difference."""
    loss = GAMES["least-squares"].critic
    best = P / (P + Q)
    found = 0.5 * (P * (best - 1).square()).sum() + 0.5 * (Q * best.square()).sum()
    assert float(GAMES["least-squares"].distance(found)) == pytest.approx(float(0.5 * ((P - Q).square() / (P + Q)).sum()))
    assert float(loss(best, best)) == pytest.approx(float(0.5 * ((best - 1).square() + best.square()).mean()))
    ordered, swapped = torch.outer(P, Q), torch.outer(Q, P)
    critic = (P / Q).log()
    found = (ordered * torch.nn.functional.softplus(critic[None] - critic[:, None])).sum()
    expected = of_probabilities(ordered.flatten(), swapped.flatten(), "jensen-shannon")
    assert float(GAMES["relativistic"].distance(found)) == pytest.approx(float(expected))


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
    found = gradient_norm(lambda x: (x * weight).flatten(1).sum(1), torch.randn(7, *shape, dtype=torch.float64))
    assert torch.allclose(found, torch.full((7,), 2.0, dtype=torch.float64))


def test_weights_are_clipped_at_birth_and_after_every_step() -> None:
    model = WGAN(SPACES["reals"], hidden=(8,), clip=0.01)

    def largest() -> float:
        return max(float(p.detach().abs().max()) for p in model.critic.parameters())

    assert largest() <= 0.01
    genus.fit(model, draw(SPACES["reals"], 60).float(), max_steps=10, learning_rate=0.1, progress=False)
    assert largest() <= 0.01
    assert WGAN(SPACES["reals"], hidden=(8,)).critic.clip == 0.03
    assert WGAN(SPACES["reals"], hidden=(8,), spectral=True).critic.clip is None


def test_zero_centred_penalties_are_half_the_mean_square_slope() -> None:
    model = GAN(SPACES["reals"], hidden=(), r1=3.0, r2=5.0).double()
    real, fake = torch.randn(6, 3).double(), torch.randn(6, 3).double()
    square = float(model.critic.net[-1].weight.square().sum())
    assert float(model.critic.penalties(real, fake)) == pytest.approx(0.5 * (3 + 5) * square * 3), "of three features"


@pytest.mark.parametrize(
    "game",
    [pytest.param(g, marks=pytest.mark.nightly if i else ()) for i, g in enumerate(g for g in GAMES if g != "wasserstein")],
)
def test_every_game_moves_samples_towards_the_data(game: str) -> None:
    space = Space([Real(), Real()])
    with genus.ladder.isolated(0):
        x = torch.tensor([1.5, -1.0]) + 0.3 * torch.randn(1000, 2)
        model = GAN(space, latent=2, hidden=(32,), game=game, r1=0.5, r2=0.5)
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
    with genus.ladder.isolated(0):
        model = WGANGP(space, latent=2, hidden=(64, 64), penalty=200.0)
        fake = model.sample(2000)
        x = fake + torch.tensor([3.0, 4.0])
    critic = model.losses()[0]
    parameters = list(critic.parameters)
    optimizer = torch.optim.Adam(parameters, lr=2e-3, betas=(0.0, 0.9))
    for i in range(400):
        with genus.ladder.isolated(i):
            loss = critic.value(x[torch.randint(len(x), (256,))], None)
        for parameter in parameters:
            parameter.grad = None
        loss.backward()
        optimizer.step()
    assert model.distance(x, seed=0) == pytest.approx(5.0, rel=0.1)


# -- nets -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "net", "kind"),
    [
        ((8, 8), "auto", StridedEncoder),
        ((9, 15), "auto", StridedEncoder),
        ((3, 16, 8), "auto", StridedEncoder),
        ((8, 40), "auto", ImageEncoder),
        ((3, 8, 8), "residual", ImageEncoder),
        ((8, 8), "dense", nn.Sequential),
        ((5, 9), "auto", nn.Sequential),
    ],
)
def test_nets_follow_the_shape(shape: tuple[int, ...], net: str, kind: type, tmp_path: Path) -> None:
    space, context = Space(Lattice(0, 16), shape=shape), CONTEXTS["mixed"]
    model = GAN(space, context, latent=3, net=net, hidden=(12,), channels=4, spectral=True)
    assert type(model.critic.net) is kind
    x, c = draw(space, 6).float(), draw(context, 6)
    for loss in model.losses():
        loss.value(x, c).backward()
    names = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum()}
    # Residual branches begin at zero, so what is before their last convolution, or moves it, gets its gradient from the second
    # step on; and a relativistic game is blind to a constant.
    later = {name for name in names if "blocks" in name or "moved" in name}
    assert not names - later - {"critic.net.out.bias", "critic.net.2.bias"}
    samples = model.sample(5, c[:1], seed=0)
    space.check(samples)
    genus.save(model, tmp_path / "a.genus")
    again = genus.load(tmp_path / "a.genus")
    assert torch.equal(samples, again.sample(5, c[:1], seed=0))
    seen, given = model._real(x), model._context_features(c)
    assert isinstance(again, GAN)
    for other in (again, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.allclose(other.eval().critic(seen, given), model.eval().critic(seen, given))
    alone = torch.cat([model.critic(seen[i : i + 1], given[i : i + 1]) for i in range(6)])
    assert torch.allclose(model.critic(seen, given), alone, atol=1e-5), "a row is judged by itself"


def test_a_dense_critic_of_spectral_norm_one_is_lipschitz() -> None:
    critic = Critic(SPACES["reals"], hidden=(32, 32), spectral=True)
    for _ in range(50):
        critic(torch.zeros(1, 3))  # every pass in training is a step of the iteration for the norms
    assert float(gradient_norm(critic.eval(), 3 * torch.randn(500, 3)).max()) <= 1.0001


# -- training -------------------------------------------------------------------------------------------------------------

TWO = Space([Real(), Real()])


def crescent(n: int = 1000) -> Tensor:
    """Rows (n, 2) on a curve."""
    with genus.ladder.isolated(0):
        x = torch.randn(n, 1)
        return torch.cat([x, x.square() - 1 + 0.2 * torch.randn(n, 1)], dim=1)


def fitted(model: genus.GenerativeModel, losses: list[Loss] | None = None, **how: Any) -> genus.History:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return genus.fit(model, crescent(), losses=losses, progress=False, **how)


def gan(seed: int = 0) -> tuple[GAN, list[Loss] | None]:
    with genus.ladder.isolated(seed):
        return GAN(TWO, latent=2, hidden=(16,), spectral=True, critic_steps=2), None


def flow(seed: int = 0) -> tuple[RealNVP, list[Loss] | None]:
    with genus.ladder.isolated(seed):
        model = RealNVP(TWO, transforms=4, hidden=(16,))
        return model, adversarial(model, "wasserstein", hidden=(16,), spectral=True, critic_steps=2, likelihood=0.5)


@pytest.mark.parametrize("make", [gan, flow])
def test_two_players_resume_bit_for_bit(make: Any, tmp_path: Path) -> None:
    """The critic's weights, its optimizer and the state of its spectral norms are in the checkpoint, wherever it belongs."""
    how = {"batch_size": 32, "ema_decay": 0.9, "lr_schedule": "constant", "patience": 50}
    straight, losses = make()
    whole = fitted(straight, losses, max_steps=70, **how)
    first, losses = make()
    fitted(first, losses, max_steps=37, checkpoint=tmp_path / "half", **how)
    second, losses = make(seed=1)  # other weights at birth, all of which must be replaced
    rest = fitted(second, losses, max_steps=70, checkpoint=tmp_path / "half", resume=True, **how)
    assert all(torch.equal(a, b) for a, b in zip(straight.state_dict().values(), second.state_dict().values(), strict=True))
    assert [{**row, "seconds": 0} for row in whole.rows] == [{**row, "seconds": 0} for row in rest.rows]
    assert len(whole.rows) == 3


def test_what_is_kept_is_the_averaged_generator_with_the_least_distance_of_held_out_rows() -> None:
    model, _ = gan()
    history = fitted(model, max_steps=200, validation=crescent(300), ema_decay=0.5, learning_rate=5e-3)
    criteria = [row["criterion"] for row in history.rows]
    assert history.best == min(criteria)
    assert min(criteria) < criteria[0]
    with genus.ladder.isolated(0):
        assert model.criterion(crescent(300)) == pytest.approx(history.best, rel=1e-5)
    assert all(math.isfinite(row["watched"]["distance"]) for row in history.rows)


@pytest.mark.nightly
def test_a_collapsed_generator_and_one_that_runs_away_sound_an_alarm_once() -> None:
    class Fallen(GAN):
        """After 220 steps its generator moves to one place; or away from the data altogether."""

        place = 0.0

        def losses(self) -> list[Loss]:
            critic = super().losses()[0]
            moves = 0

            def value(x: Tensor, c: Tensor | None) -> Tensor:
                nonlocal moves
                moves += 1
                fake = self._fake(len(x), c, self._row_context(x, c))
                return energy_distance(fake, x) if moves < 220 and not self.place else (fake - self.place).square().mean()

            return [critic, Loss("generator", self.generator.parameters(), value)]

    with genus.ladder.isolated(0):
        fallen = Fallen(TWO, latent=2, hidden=(16,))
    how: dict[str, Any] = {"max_steps": 400, "learning_rate": 1e-2, "ema_decay": 0.0, "progress": False, "batch_size": 64}
    with pytest.warns(UserWarning, match="collapsed") as caught:
        history = genus.fit(fallen, crescent(), **how)
    assert len([w for w in caught if "collapsed" in str(w.message)]) == 1
    assert list(history.alarms) == ["collapse"]
    assert genus.History.from_json(history.to_json()).alarms == history.alarms
    assert relative_spread(crescent(), fallen.sample(1000, seed=0)) > 0.5, "the weights kept are those from before"
    fallen.place = 50.0
    with pytest.warns(UserWarning, match="further from the data"):
        assert "divergence" in genus.fit(fallen, crescent(), **how | {"max_steps": 600}).alarms


def test_an_explosion_of_gradients_is_told_and_health_is_not() -> None:
    rows = [
        {"step": i, "criterion": 1 / (i + 1), "watched": {"gradient of critic": 1 + 0.1 * i, "spread": 0.9}} for i in range(9)
    ]
    assert alarms(rows, ended=True) == {}
    rows.append({"step": 9, "criterion": 0.1, "watched": {"gradient of critic": 1e3, "spread": 0.9}})
    assert "gradient of critic has exploded" in alarms(rows)["divergence"]
    for game in ("relativistic", "wasserstein"):
        with genus.ladder.isolated(0):
            model = (GAN if game == "relativistic" else WGANGP)(TWO, latent=2, hidden=(64, 64))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert genus.fit(model, crescent(), max_steps=300, batch_size=64, progress=False).alarms == {}


# -- any sampler ----------------------------------------------------------------------------------------------------------


@pytest.mark.nightly
@pytest.mark.parametrize(
    "how",
    [
        {"divergence": "kl", "likelihood": 1.0},
        pytest.param({}, marks=pytest.mark.nightly),
        pytest.param({"divergence": "wasserstein", "spectral": True}, marks=pytest.mark.nightly),
    ],
)
def test_a_flow_trained_by_a_divergence_comes_closer_and_still_tells_its_likelihood(how: dict[str, Any]) -> None:
    with genus.ladder.isolated(0):
        model = RealNVP(TWO, transforms=4, hidden=(32,))
        losses = adversarial(model, **how, hidden=(32, 32), critic_steps=1)
    x = crescent()
    before = float(energy_distance(model.sample(1000, seed=0), x))
    history = fitted(model, losses, max_steps=250, learning_rate=4e-3, batch_size=64)
    after = float(energy_distance(model.sample(1000, seed=0), x))
    assert after < 0.4 * before, (before, after)
    assert history.loss_names == ["critic", "generator"]
    assert history.best is not None
    assert history.best < 0.4 * before, "chosen by the distance of samples, not by the likelihood"
    assert bool(model.log_prob(x).isfinite().all())
    grid = torch.cartesian_prod(*[torch.linspace(-12, 12, 801)] * 2)
    assert float(model.log_prob(grid).exp().sum() * (24 / 800) ** 2) == pytest.approx(1, abs=0.03)


def test_likelihood_beside_the_game_is_the_likelihood() -> None:
    model = RealNVP(TWO, transforms=2, hidden=(8,))
    x = crescent(50)
    found = []
    for weight in (3.0, 0.0):
        with genus.ladder.isolated(0):  # the same critic, the same draws
            found.append(float(adversarial(model, hidden=(8,), likelihood=weight)[1].value(x, None)))
    assert found[0] - found[1] == pytest.approx(-3 * float(model.log_prob(x).mean()), rel=1e-4)


def test_sequences_are_refused_with_the_reason() -> None:
    for family in ("gan", "wgan", "wgan-gp"):
        assert "sequences" in (genus.family(family).refusal(SPACES["words"]) or "")
        with pytest.raises(genus.DataError, match="sequences"):
            genus.build(family, SPACES["words"])


def test_wrong_arguments_are_sentences() -> None:
    space = SPACES["reals"]
    for make, word in (
        (lambda: GAN(space, net="round"), "net must be"),
        (lambda: GAN(space, net="convolutional"), "8 pixels"),
        (lambda: GAN(Space(Real(), shape=(6, 9)), net="residual"), "8 pixels"),
        (lambda: WGANGP(space, penalty=0.0), "must not be steep"),
        (lambda: adversarial(RealNVP(space), "wasserstein", penalty=0.0), "must not be steep"),
        (lambda: GAN(space, game="wasserstein"), "'wgan' and 'wgan-gp'"),
        (lambda: GAN(space, temperature=0.0), "above 0"),
        (lambda: adversarial(GAN(space)), "critic of its own"),
        (lambda: adversarial(Mixture(space)), "cannot draw with gradients"),
        (lambda: adversarial(RealNVP(space), "euclid"), "There is no game"),
        (lambda: adversarial(RealNVP(SPACES["reals and states"])), "real numbers"),
        (lambda: adversarial(RealNVP(space), likelihood=-1.0), "0 or more"),
        (lambda: GAN(space, game="chess"), "There is no game"),
        (lambda: GAN(space, r1=-1.0), "0 or more"),
        (lambda: WGAN(space, clip=0.0), "above 0"),
        (lambda: WGANGP(space, critic_steps=0), "1 or more"),
    ):
        with pytest.raises(genus.GenusError, match=word):
            make()


# -- rare categories -------------------------------------------------------------------------------------------------------

RARE = Space([Category(("often", "rarely")), Real(atoms=(0.0,)), Category(("a", "b", "c"))])


def rare_rows(n: int) -> Tensor:
    """One row in a hundred is rare, and is like no other."""
    rarely = (torch.arange(n) % 100 == 0).float()
    u = torch.randn(n, generator=torch.Generator().manual_seed(0)).abs() + 1
    amount = torch.where(rarely > 0, -u, torch.where(torch.arange(n) % 3 == 0, 0.0, u))
    return torch.stack([rarely, amount, torch.where(rarely > 0, 2.0, torch.arange(n) % 2)], dim=1)


def test_rows_are_seen_by_the_logarithm_of_how_often_their_states_occur() -> None:
    x = rare_rows(1000)
    model = GAN(RARE, hidden=(16,), balanced=True)
    seen = model.row_weights(x)
    assert seen is not None
    assert seen.sum() == pytest.approx(3, abs=1e-9), "each of three columns is chosen as often"
    states = model._states(x)
    chances = model._state_chances(states)
    # Of the first column by hand: 990 and 10 rows, drawn as log 991 to log 11, and each row among those of its state.
    total = math.log(991) + math.log(11)
    assert float(chances[0, 0]) == pytest.approx(math.log(11) / total / 10, rel=1e-9)
    assert float(chances[1, 0]) == pytest.approx(math.log(991) / total / 990, rel=1e-9)
    assert seen[0] / seen[1] > 15, "a rare row is seen often"
    assert GAN(RARE, hidden=(16,), balanced=False).row_weights(x) is None


def test_training_draws_rows_as_a_family_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    met: list[float] = []
    model = RealNVP(Space([Real()]), transforms=2, hidden=(4,))
    monkeypatch.setattr(model, "row_weights", lambda x, c: (x[:, 0] > 0).double())

    def value(x: Tensor, c: Tensor | None) -> Tensor:
        met.append(float(x.min()))
        return -model._log_prob(x, c).mean()

    x = torch.tensor([[-1.0], [1.0], [2.0]]).repeat(30, 1)
    genus.fit(model, x, losses=[Loss("nll", model.parameters(), value)], max_steps=5, validation=None, progress=False)
    assert min(met) == 1.0


def test_the_chosen_state_is_what_a_row_has_and_samples_have_the_shares_of_the_data() -> None:
    model = GAN(RARE, hidden=(16,), balanced=True).eval()
    x = rare_rows(1000)
    model.row_weights(x)
    states = torch.arange(7).repeat(20)
    asked = model._with_states(states, None)
    features = model._fake(len(states), None, asked)
    assert bool((features[:, 1:] * asked).sum(1).eq(1).all())
    assert bool((features[:, 1:3].sum(1) == 1).all())
    assert bool((features[:, 5:].sum(1) == 1).all())
    RARE.check(model.sample(100, seed=0))
    told = model._row_context(x, None)
    assert told is not None
    assert bool((RARE.features(x)[:, 1:] * told).sum(1).eq(1).all()), "a row has the state it is told by"


@pytest.mark.nightly
def test_rare_states_are_learned_without_bias() -> None:
    x = rare_rows(5000)
    torch.manual_seed(0)
    model = GAN(RARE, latent=8, hidden=(64, 64), balanced=True)
    genus.fit(model, x, max_steps=700, ema_decay=0.99, validation=None, progress=False)
    drawn = model.sample(20_000, seed=1)
    rare = drawn[drawn[:, 0] == 1]
    assert 0.004 < len(rare) / len(drawn) < 0.02, "one in a hundred"
    assert float((rare[:, 1] < 0).float().mean()) > 0.8
    assert float((rare[:, 2] == 2).float().mean()) > 0.8


def test_nothing_to_balance_is_said() -> None:
    with pytest.raises(genus.DataError, match="none has any"):
        GAN(Space([Real(), Real()]), balanced=True)


@pytest.mark.parametrize("count", [-3.0, 0.0])
def test_a_damaged_checkpoint_without_counts_draws_some_column(count: float) -> None:
    model = GAN(RARE, balanced=True).train()
    model.occurs.fill_(count)
    context = model._row_context(rare_rows(8), None)
    assert context is not None
    assert bool((context.sum(1) == 1).all())


def test_balance_is_for_models_without_a_context() -> None:
    context = Space([Category(("a", "b"))])
    assert GAN(RARE).occurs is not None
    assert GAN(RARE, context).occurs is None
    with pytest.raises(genus.DataError, match="whatever the context"):
        GAN(RARE, context, balanced=True)


# -- games and what is made of them ----------------------------------------------------------------------------------------


def test_a_generator_that_does_not_heed_its_condition_is_worse(monkeypatch: pytest.MonkeyPatch) -> None:
    """The criterion looks at rows together with what they were told."""
    context = Space([Category(("a", "b"))])
    model = GAN(Space([Real()]), context, hidden=(8,))
    c = (torch.arange(2000) % 2).float().unsqueeze(1)
    x = 4 * c + torch.randn(2000, 1, generator=torch.Generator().manual_seed(0))
    found = {}
    for name, told in (("heeding", c), ("deaf", c[torch.randperm(2000)]), ("swapped", 1 - c)):
        monkeypatch.setattr(model, "_fake", lambda n, c, given, told=told: 4 * told + torch.randn(n, 1))
        found[name] = model.criterion(x, c)
    assert found["heeding"] < 0.02 < 0.1 < found["deaf"] < found["swapped"]


def test_the_distance_of_a_wasserstein_critic_is_below_the_earth_movers() -> None:
    model = WGAN(Space([Real()]), hidden=(16,))
    real, fake = torch.randn(500, 1), torch.randn(500, 1) + 5
    for scale in (1.0, 100.0):
        with torch.no_grad():
            model.critic.net[-1].weight *= scale
        assert model.critic.distance(real, fake) <= 5.2
    critic = Critic(Space([Real()]), game="wasserstein", hidden=(), penalty=1.0)
    with torch.no_grad():
        critic.net[0].weight.fill_(-7.0)
    assert critic.distance(real, fake) == pytest.approx(5, abs=0.3)


def test_losses_of_a_game_serve_twice_and_for_their_own_model_alone(tmp_path: Path) -> None:
    space, x = Space([Real(), Real()]), torch.randn(200, 2)
    one, other = (RealNVP(space, transforms=2, hidden=(8,)) for _ in range(2))
    losses = adversarial(one, "jensen-shannon", hidden=(8,), likelihood=0.1)
    how = {"max_steps": 4, "progress": False, "checkpoint": tmp_path / "kept"}
    for _ in range(2):
        genus.fit(one, x, losses=losses, **how)
    with pytest.raises(genus.TrainingError, match="None of these losses trains this model"):
        genus.fit(other, x, losses=losses, max_steps=4, progress=False)
    for changed in ({"divergence": "kl", "likelihood": 0.1}, {"likelihood": 0.2}, {"likelihood": 0.1, "r1": 1.0}):
        with pytest.raises(genus.TrainingError, match="losses was"):
            genus.fit(one, x, losses=adversarial(one, **{"hidden": (8,), **changed}), resume=True, **how)


def test_training_in_vain_is_told() -> None:
    rows = [{"step": i, "criterion": 1.0 + i} for i in range(12)]
    assert list(alarms(rows, ended=True)) == ["nothing learned"]
    assert not alarms(rows)
    assert not alarms([{**row, "criterion": -row["criterion"]} for row in rows], ended=True)
