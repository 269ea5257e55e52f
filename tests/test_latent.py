"""Models with a code: bounds against an evidence that is known, and what users do with codes."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from conftest import CONTEXTS, SPACES, draw, make
from torch import Tensor, nn

import genus
from genus import IWAE, VAE, VQVAE, Autoencoder, Category, Lattice, Real, Space
from genus.evaluation.codes import codes_of, mosaic
from genus.models.posteriors import MIN_STD
from genus.nets.heads import FLOOR, Head

D, L, SIGMA = 3, 2, 0.7
WEIGHT = torch.tensor([[1.0, 0.3], [-0.5, 0.8], [0.2, -1.2]], dtype=torch.float64)
OFFSET = torch.tensor([0.3, -0.2, 1.0], dtype=torch.float64)
DATA = draw(Space([Real()] * D), 6).double()
COVARIANCE = WEIGHT @ WEIGHT.T + SIGMA**2 * torch.eye(D, dtype=torch.float64)
EVIDENCE = torch.distributions.MultivariateNormal(OFFSET, COVARIANCE).log_prob(DATA)


def softplus_inverse(value: Tensor) -> Tensor:
    return value.expm1().log()


class Linear(nn.Module):
    """z -> the numbers of a head: N(W z + b, sigma^2) of every coordinate."""

    def __init__(self, weight: Tensor, offset: Tensor, log_sigma: Tensor) -> None:
        super().__init__()
        self.weight, self.offset, self.log_sigma = nn.Parameter(weight), nn.Parameter(offset), nn.Parameter(log_sigma)

    def forward(self, z: Tensor) -> Tensor:
        middle = z @ self.weight.T + self.offset
        scale = FLOOR + softplus_inverse(self.log_sigma - FLOOR).expand_as(middle)
        return torch.stack([torch.zeros_like(middle), middle, scale], dim=2).flatten(1)


def encoder(model: VAE | IWAE, wrong: float = 0.0) -> nn.Linear:
    """The true posterior N(S W^T (x - b) / sigma^2, S), or one that is wrong by so much."""
    covariance = torch.linalg.inv(torch.eye(L, dtype=torch.float64) + WEIGHT.T @ WEIGHT / SIGMA**2)
    net = nn.Linear(D, model.code_width, dtype=torch.float64)
    with torch.no_grad():
        net.weight.zero_()
        net.bias.zero_()
        mean = covariance @ WEIGHT.T / SIGMA**2
        net.weight[:L], net.bias[:L] = mean, -mean @ OFFSET + wrong
        factor = torch.linalg.cholesky(covariance)
        net.bias[L : 2 * L] = softplus_inverse(factor.diagonal() * (1 + wrong) - MIN_STD)
        if model.code_width == 2 * L + 1:  # of a full posterior
            net.bias[2 * L :] = factor[1, 0]
    return net


def linear_gaussian(cls: type[VAE | IWAE] = VAE, wrong: float = 0.0, **hyper: object) -> VAE | IWAE:
    model = cls(Space([Real()] * D), latent=L, hidden=(4,), components=1, **{"posterior": "full"} | hyper).double()
    sigma = torch.tensor(SIGMA, dtype=torch.float64).log()
    model.replace(encoder(model, wrong), Linear(WEIGHT, OFFSET, sigma))
    return model


def test_at_the_true_posterior_every_weight_is_the_evidence() -> None:
    model = linear_gaussian()
    with genus.ladder.isolated(0):
        assert torch.allclose(model._log_weights(DATA, None, 50), EVIDENCE.expand(50, -1), atol=1e-9)
    evidence, effective = model.importance(DATA, samples=50, seed=0)
    assert torch.allclose(evidence, EVIDENCE, atol=1e-9)
    assert torch.allclose(effective, torch.full_like(effective, 50.0))


@pytest.mark.parametrize("posterior", ["full", "diagonal"])
def test_at_any_other_posterior_bounds_are_below_and_rise_with_the_samples(posterior: str) -> None:
    model = linear_gaussian(wrong=0.4, posterior=posterior)
    with genus.ladder.isolated(0):
        weights = model._log_weights(DATA, None, 64 * 3000).detach()
    bounds = [
        (weights.view(-1, k, len(DATA)).logsumexp(1) - math.log(k)).mean(0) for k in (1, 4, 16, 64)
    ]  # means over at least 3,000 draws of each bound
    for lower, higher in zip(bounds, [*bounds[1:], EVIDENCE], strict=True):
        assert bool((lower < higher + 0.01).all())
    assert bool((bounds[0] < EVIDENCE - 0.05).all())
    evidence, effective = model.importance(DATA, samples=60_000, seed=1)
    assert torch.allclose(evidence, EVIDENCE, atol=0.03)
    assert bool((effective < 0.95 * 60_000).all())


def test_the_elbo_is_the_evidence_less_the_kl_to_the_true_posterior() -> None:
    model = linear_gaussian(wrong=0.4, posterior="diagonal")
    exact = torch.linalg.inv(torch.eye(L, dtype=torch.float64) + WEIGHT.T @ WEIGHT / SIGMA**2)
    true = torch.distributions.MultivariateNormal((DATA - OFFSET) @ (exact @ WEIGHT.T / SIGMA**2).T, exact)
    mean, std = model.posterior.parts(model.encoder(DATA))
    kl = torch.distributions.kl_divergence(torch.distributions.MultivariateNormal(mean, torch.diag_embed(std**2)), true)
    elbo = torch.stack([model.elbo(DATA, seed=i) for i in range(3000)]).mean(0)
    assert torch.allclose(elbo, EVIDENCE - kl, atol=0.1)
    assert model.kl_by_unit(DATA).shape == (L,)


@pytest.mark.parametrize("posterior", ["diagonal", "full", "iaf", "around"])
def test_a_posterior_knows_the_density_of_what_it_draws(posterior: str) -> None:
    """Against the Jacobian of the draw in its noise, by autograd; and of any code it gives the same."""
    space = SPACES["reals"]
    if posterior == "around":
        model: VAE | Autoencoder = Autoencoder(space, latent=3, hidden=(8,)).double()
    else:
        model = VAE(space, latent=3, hidden=(8,), posterior=posterior).double()
    with torch.no_grad(), genus.ladder.isolated(3):
        for parameter in model.posterior.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    h = model.encoder(model.space.features(draw(model.space, 1)).double()).detach()
    noise = torch.randn(1, 3, dtype=torch.float64)

    z, log_q = model.posterior(h, noise)
    jacobian = torch.autograd.functional.jacobian(lambda value: model.posterior(h, value)[0], noise)[0, :, 0]
    expected = torch.distributions.Normal(0, 1).log_prob(noise).sum() - torch.linalg.slogdet(jacobian)[1]
    assert torch.allclose(log_q[0], expected, atol=1e-8)
    assert torch.allclose(model.posterior.log_prob(h, z), log_q, atol=1e-8)


@pytest.mark.parametrize("posterior", ["diagonal", "iaf"])
def test_the_doubly_reparametrised_gradient_is_the_gradient_with_less_noise(posterior: str) -> None:
    """Of the encoder and the posterior: the same mean, smaller variance at many samples. Of the decoder: the very same."""

    def gradients(doubly: bool, draws: int) -> tuple[Tensor, Tensor]:
        model = linear_gaussian(IWAE, wrong=0.3, posterior=posterior, samples=32, doubly=doubly)
        own = [model.encoder.bias]
        if posterior == "iaf":
            last = model.posterior.chain.transforms[-1].net.out.bias
            with torch.no_grad():
                last += 0.2
            own.append(last)
        both = []
        for i in range(draws):
            with genus.ladder.isolated(i):
                loss = model._loss(DATA, None)
            *ours, theirs = torch.autograd.grad(loss, [*own, model.decoder.weight])
            both.append((torch.cat(ours), theirs))
        return torch.stack([a for a, _ in both]), torch.stack([b for _, b in both])

    (plain, decoder), (double, same) = gradients(False, 100), gradients(True, 100)
    error = (plain.var(0) / len(plain) + double.var(0) / len(double)).sqrt()
    assert bool(((plain.mean(0) - double.mean(0)).abs() < 5 * error + 1e-9).all())
    assert float(double.var(0).sum()) < 0.5 * float(plain.var(0).sum())
    assert torch.allclose(decoder, same, atol=1e-9)


def test_the_loss_of_an_iwae_is_its_bound() -> None:
    model = linear_gaussian(IWAE, wrong=0.3, samples=7)
    with genus.ladder.isolated(0):
        loss = model._loss(DATA, None)
    assert loss.item() == pytest.approx(-model.elbo(DATA, seed=0).mean().item(), abs=1e-9)


@pytest.mark.nightly
def test_learned_evidence_is_that_of_probabilistic_pca() -> None:
    """Linear nets and a full posterior: the best evidence is known in closed form (Tipping & Bishop 1999)."""
    from sklearn.decomposition import PCA

    with genus.ladder.isolated(0):
        x = torch.randn(2000, L, dtype=torch.float64) @ WEIGHT.T + OFFSET + SIGMA * torch.randn(2000, D, dtype=torch.float64)
    best = float(PCA(L).fit(x.numpy()).score(x.numpy()))
    model = VAE(Space([Real()] * D), latent=L, hidden=(4,), components=1, posterior="full").double()
    with genus.ladder.isolated(1):
        decoder = Linear(0.1 * torch.randn(D, L).double(), torch.zeros(D).double(), torch.zeros(()).double())
    model.replace(nn.Linear(D, model.code_width), decoder)
    genus.fit(
        model, x, validation=None, max_steps=1500, batch_size=500, learning_rate=0.02, lr_schedule="cosine", progress=False
    )
    assert float(model.elbo(x, seed=0).detach().mean()) == pytest.approx(best, abs=0.02)
    assert float(model.log_evidence(x, samples=20, seed=0).mean()) == pytest.approx(best, abs=0.01)


def test_beta_warm_up_and_free_bits_change_the_loss_and_nothing_else() -> None:
    space, x = SPACES["reals"], draw(SPACES["reals"], 40)

    def made(**hyper: float) -> VAE:
        with genus.ladder.isolated(0):
            return VAE(space, latent=2, hidden=(8,), **hyper)  # type: ignore[arg-type]

    def loss(model: VAE) -> float:
        with genus.ladder.isolated(1):
            return float(model._loss(x.float(), None))

    plain, heavy, warm, free = made(), made(beta=4.0), made(warm_up=10), made(free_bits=50.0)
    for other in (heavy, warm, free):
        assert torch.equal(plain.elbo(x, seed=2), other.elbo(x, seed=2))
    kl = float(plain.kl_by_unit(x).sum())
    assert loss(heavy) == pytest.approx(loss(plain) + 3 * kl, rel=1e-5)
    assert loss(free) == pytest.approx(loss(plain) - kl + 2 * 50.0, rel=1e-5)
    first = loss(warm)
    assert first == pytest.approx(loss(plain) - 0.9 * kl, rel=1e-5)
    for _ in range(20):
        last = loss(warm)
    assert last == pytest.approx(loss(plain), rel=1e-5)
    assert int(warm.steps) == 21
    with pytest.raises(genus.GenusError, match="0 or more"):
        made(beta=-1.0)


@pytest.mark.parametrize("prior", ["normal", "student", "mixture", "vamp", "maf", {"class": "made", "hidden": [8]}])
def test_every_prior_is_trained_sampled_and_saved(prior: str | dict[str, object], tmp_path: Path) -> None:
    space, c = SPACES["mixed"], draw(CONTEXTS["category"], 80)
    x = draw(space, 80)
    model = VAE(space, CONTEXTS["category"], latent=2, hidden=(8,), prior=prior)  # type: ignore[arg-type]
    before = {name: value.clone() for name, value in model.prior.named_parameters()}
    genus.fit(model, (x, c), max_steps=30, validation=None, progress=False)  # the start is near what such data allow
    assert all(not torch.equal(value, before[name]) for name, value in model.prior.named_parameters() if value.requires_grad)
    genus.save(model, tmp_path / "m.genus")
    again = genus.load(tmp_path / "m.genus")
    assert torch.equal(again.elbo(x, c, seed=0), model.elbo(x, c, seed=0))
    assert torch.equal(again.sample(5, c[:5], seed=0).nan_to_num(), model.sample(5, c[:5], seed=0).nan_to_num())


def test_codes_are_decoded_interpolated_traversed_and_counted() -> None:
    space = Space(Lattice(0, 15), shape=(10, 8))
    model = VAE(space, latent=3, hidden=(4,), net="convolutional")
    x = model.sample(30, seed=0)
    assert model.encode(x).shape == (30, 3)
    assert model.reconstruct(x).shape == (30, 10, 8)
    line = model.interpolate(x[:2], steps=5)
    assert torch.equal(line[[0, -1]], model.reconstruct(x[:2]))
    z = model.encode(x[:1])
    moved = model.traverse(x[0], unit=1, values=[float(z[0, 1]), 9.0])
    assert torch.equal(moved[0], model.reconstruct(x[:1])[0])
    variance, active = model.use(x)
    assert variance.shape == (3,)
    assert active == int((variance > 0.01).sum())
    space.check(moved)
    for unit in (3, 0.5):
        with pytest.raises(genus.GenusError, match="from 0 to 2"):
            model.traverse(x[0], unit=unit, values=[0.0])  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [0.0, 0.6])
def test_missing_entries_are_drawn_from_the_models_own_conditional(wrong: float) -> None:
    """Whatever the posterior, the chain's limit is the conditional of a normal distribution, which is known."""
    model = linear_gaussian(wrong=wrong).float()
    rows = 4000
    x = DATA[:1].repeat(rows, 1).float()
    missing = torch.tensor([False, True, False]).expand(rows, -1)
    filled = model.impute(x, missing=missing, seed=0)
    assert torch.equal(filled[:, [0, 2]], x[:, [0, 2]])
    known = COVARIANCE[1, [0, 2]] @ torch.linalg.inv(COVARIANCE[[0, 2]][:, [0, 2]])
    mean = OFFSET[1] + known @ (DATA[0, [0, 2]] - OFFSET[[0, 2]])
    variance = COVARIANCE[1, 1] - known @ COVARIANCE[[0, 2], 1]
    assert float(filled[:, 1].mean()) == pytest.approx(float(mean), abs=0.06)
    assert float(filled[:, 1].var()) == pytest.approx(float(variance), rel=0.1)
    with pytest.raises(genus.DataError, match="must be bool"):
        model.impute(x, missing=missing[:5])


@pytest.mark.parametrize("family", ["vae", "iwae", "autoencoder", "vq-vae"])
@pytest.mark.parametrize("first", [pytest.param(1, marks=pytest.mark.nightly), 64])
def test_entries_are_drawn_like_codes_from_the_prior_that_fit_what_is_known(
    family: str, first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a model whose encoder knows nothing: against many codes of its prior, weighed by the known entry.

    A chain that begins at one code of the prior, without a choice, must come to the same.
    """
    monkeypatch.setattr(genus.models.latent, "FIRST_PROPOSALS", first)
    model = make(family, Space([Real(), Real()]))
    with torch.no_grad(), genus.ladder.isolated(1):
        for parameter in model.decoder.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
        known = torch.tensor([[0.8, 0.0]])
        codes = model._draw_code(40_000, None)
        decoded = model._likelihood(codes, None)
        weight = decoded.log_prob(known.expand(len(codes), 2))[:, 0].softmax(0)
        expected = decoded.sample()[torch.multinomial(weight, 4000, replacement=True), 1]
    found = model.impute(known.expand(2000, 2), missing=torch.tensor([[False, True]]).expand(2000, 2), seed=0)[:, 1]
    levels = torch.tensor([0.1, 0.25, 0.5, 0.75, 0.9])
    assert (found[:, None] <= expected.quantile(levels.to(expected))).float().mean(0).numpy() == pytest.approx(
        levels.numpy(), abs=0.06
    )


def test_classes_are_told_apart_by_the_same_noise() -> None:
    """A model that ignores its condition gives every class the same density, so the classes have their shares."""
    model = make("vae", SPACES["reals"], CONTEXTS["category"])
    with torch.no_grad():
        for net in (model.encoder, model.decoder):
            net.layers[0].weight[:, -3:] = 0.0
            net.moved.linear.weight.zero_()
        model.place[-1].weight.zero_()
    x = draw(SPACES["reals"], 5)
    assert model.class_log_probs(x).exp().numpy() == pytest.approx(1 / 3, abs=1e-5)


def test_weights_of_nets_of_your_own_are_loaded_into_a_model_that_has_them(tmp_path: Path) -> None:
    def own(latent: int = 2) -> VAE:
        model = VAE(SPACES["reals"], latent=latent, hidden=(8,))
        model.replace(encoder=nn.Linear(3, model.code_width))
        return model

    model, x = own(), draw(SPACES["reals"], 4)
    genus.save(model, tmp_path / "own.genus")
    with pytest.raises(genus.GenusError, match="into=model"):
        genus.load(tmp_path / "own.genus")
    assert torch.equal(genus.load(tmp_path / "own.genus", into=own()).encode(x), model.encode(x))
    with pytest.raises(genus.GenusError, match="a model that differs in its config; "):
        genus.load(tmp_path / "own.genus", into=own(latent=3))


def test_what_is_to_be_expected_is_where_the_density_is_highest() -> None:
    """Of a heavy, wide component and a lighter, narrow one the narrow one is higher."""
    head = Head(Space(Real(), shape=(1,)), components=2)
    numbers = torch.tensor([[math.log(0.4), math.log(0.6), 2.0, -2.0, -4.0, 2.0]])
    at = head(numbers.repeat(2, 1)).log_prob(torch.tensor([[2.0], [-2.0]]))[:, 0]
    assert at[0] > at[1]
    assert head(numbers).middle().item() == pytest.approx(2.0)


@pytest.mark.parametrize("family", [Autoencoder, VQVAE])
def test_codes_are_on_one_scale_from_the_first_step(family: type[Autoencoder]) -> None:
    """Else a density of codes that a net happens to make small is large."""
    with genus.ladder.isolated(0):
        model, x = family(SPACES["reals"], hidden=(8,)), 100.0 * draw(SPACES["reals"], 200)
    with torch.no_grad():
        model.encoder[-1].weight *= 1e-1
        model.initialise(x)
        codes = model.standard.known(model.encoder(model._features(x, None)))
    assert codes.mean(0).abs().max() < 1e-3
    assert codes.std(0).numpy() == pytest.approx(1.0, abs=0.1)


@pytest.mark.nightly
@pytest.mark.parametrize(
    "hyper",
    [
        {"contractive": 0.1, "density": "maf"},
        *(pytest.param(hyper, marks=pytest.mark.nightly) for hyper in ({}, {"corrupt": 0.3}, {"density": "student"})),
    ],
)
def test_an_autoencoder_reconstructs_and_samples(hyper: dict[str, object]) -> None:
    """Rows on a curve: a code of one number suffices, and samples lie on it too."""
    with genus.ladder.isolated(0):
        t = 3 * torch.rand(600) - 1.5
        x = torch.stack([t, t.square() - 1, (2 * t).sin()], dim=1) + 0.02 * torch.randn(600, 3)
    space = Space([Real()] * 3)
    with genus.ladder.isolated(1):
        model = Autoencoder(space, latent=1, hidden=(64, 64), **hyper)  # type: ignore[arg-type]
    how = {"max_steps": 700, "learning_rate": 3e-3} if hyper else {"max_steps": 1500}
    history = genus.fit(model, x, progress=False, **how)  # type: ignore[arg-type]
    assert {"reconstruction", "code"} <= set(history.rows[-1])
    error = (model.reconstruct(x) - x).abs().median()
    assert float(error) < (0.1 if not hyper else 0.2)
    sample = model.sample(400, seed=0)
    off = (sample[:, 1] - (sample[:, 0].square() - 1)).abs().median()
    assert float(off) < (0.3 if not hyper else 0.6)
    assert float(model.elbo(x, seed=0).detach().mean()) <= float(model.log_evidence(x, samples=64, seed=0).mean()) + 0.05


def test_the_density_of_codes_does_not_change_them() -> None:
    """The second player learns p(z) of the codes as they are: encoder and decoder get no gradient from it."""
    model = Autoencoder(SPACES["reals"], latent=2, hidden=(8,))
    reconstruction, code = model.losses()
    x = draw(SPACES["reals"], 50)
    assert not {*map(id, reconstruction.parameters)} & {*map(id, code.parameters)}
    before = [p.clone() for p in reconstruction.parameters]
    state = model.standard.running_mean.clone()
    with genus.ladder.isolated(0):
        code.value(x, None)
    assert torch.equal(model.standard.running_mean, state)
    assert all(torch.equal(a, b) for a, b in zip(before, reconstruction.parameters, strict=True))


def test_what_a_dense_encoder_sees_of_many_columns_is_not_long() -> None:
    """784 pixels of 0 and 1 are standardised to a vector so long that steps of the first layer were too large: 2.5 nats."""
    generator = torch.Generator().manual_seed(0)
    x = (torch.rand(200, 28, 28, generator=generator) < 0.3).float()
    model = VAE(Space(Lattice(0, 1), shape=(28, 28)), latent=2, hidden=(4,))
    model.initialise(x)
    seen = model._features(x, None)
    assert float(seen.mean(0).abs().max()) < 1e-5
    assert float(seen.square().sum(1).mean()) == pytest.approx(16, rel=1e-4)
    few = VAE(Space([Real()] * 3), latent=2, hidden=(4,))
    few.initialise(torch.randn(50, 3))
    assert float(few.shrink) == 1


def test_a_model_starts_at_the_datas_marginals() -> None:
    """Whatever the code, the first guess is the share of every value; the encoder sees features less their mean."""
    space = SPACES["image"]
    x = draw(space, 500).square().clamp(max=3)
    for net, hidden in (("dense", (8,)), ("convolutional", (2,))):
        model = VAE(space, latent=2, hidden=hidden, net=net)
        model.initialise(x)
        with torch.no_grad():
            for parameter in model.decoder.parameters():
                parameter.zero_()
        p = model.likelihood(torch.randn(1, 2)).log_cells.exp().view(6, 4)
        shares = torch.stack([(x.flatten(1) == level).float().mean(0) for level in range(4)], dim=1)
        assert torch.allclose(p, shares, atol=0.01)
        assert float(model._features(x, None).mean(0).abs().max()) < 1e-4


@pytest.mark.parametrize("name", ["mixed", "image", "wide lattice"])
def test_many_draws_of_every_datum_are_judged_as_one_by_one(name: str) -> None:
    space = SPACES[name]
    model, x = make("vae", space), draw(space, 5)
    z = torch.randn(15, 2, dtype=torch.float64)
    each = model.likelihood(z).log_prob(x.repeat(3, *[1] * (x.ndim - 1)))
    assert torch.allclose(model.likelihood(z).log_prob(x), each, atol=1e-12)


def test_what_is_expected_of_few_whole_numbers_is_their_mean() -> None:
    space = Space([Lattice(10, 18, 2), Real(), Lattice(0, 1)])
    model = make("vae", space)
    z = torch.randn(20, 2, dtype=torch.float64)
    p, drawn = model.likelihood(z), model.likelihood(z.repeat(4000, 1)).sample().double().view(4000, 20, 3).mean(0)
    space.check(p.middle())
    assert float((p.middle()[:, 0] - drawn[:, 0]).detach().abs().max()) < 1.15  # half a step, and the error of a mean
    assert torch.equal(p.middle()[:, 2], drawn[:, 2].round())


def test_symbols_give_a_bound_and_are_used() -> None:
    """The bounds of all data sum to at most 1, and training makes use of the books."""
    space = Space([Lattice(0, 2)] * 4)
    every = torch.cartesian_prod(*[torch.arange(3.0)] * 4)
    model = make("vq-vae", space)
    assert isinstance(model, VQVAE)
    assert 0 < float(model.elbo(every).detach().exp().sum()) <= 1
    with genus.ladder.isolated(0):
        x = torch.randint(0, 3, (400, 1)).float().expand(-1, 4).contiguous()  # one of three rows: a symbol says which
        model = VQVAE(space, codes=1, levels=4, hidden=(16,))
    genus.fit(model, x, max_steps=400, learning_rate=0.01, progress=False)
    assert float(model.elbo(x).detach().mean()) == pytest.approx(-math.log(3), abs=0.1)
    assert torch.equal(model.reconstruct(x), x)
    assert len(model.symbols(x).unique()) >= 3
    assert model.log_evidence(x[:5], samples=7).shape == (5,)
    for hyper, word in (({"levels": 1}, "2 levels or more"), ({"prior": "mixture"}, "trained by gradients")):
        with pytest.raises(genus.GenusError, match=word):
            VQVAE(space, **hyper)  # type: ignore[arg-type]


def test_a_code_that_says_nothing_is_an_alarm() -> None:
    with genus.ladder.isolated(0):
        x = torch.randn(300, 1) + 0.1 * torch.randn(300, 2)
    space = Space([Real(), Real()])
    with pytest.warns(UserWarning, match="posterior has collapsed"):
        idle = genus.fit(VAE(space, latent=2, hidden=(8,), beta=100.0), x, max_steps=300, learning_rate=0.02, progress=False)
    assert idle.rows[-1]["watched"]["active units"] == 0
    assert "collapse" in idle.alarms
    with genus.ladder.isolated(1):
        busy = VAE(space, latent=2, hidden=(8,), components=1)
    used = genus.fit(busy, x, max_steps=300, learning_rate=0.01, progress=False)
    assert used.rows[-1]["watched"]["active units"] > 0
    assert not used.alarms


@pytest.mark.parametrize("family", [VAE, IWAE, Autoencoder, VQVAE])
@pytest.mark.parametrize("conditional", [False, True])
def test_what_a_report_shows_of_codes(family: type[VAE], conditional: bool) -> None:
    space = Space(Lattice(0, 3), shape=(8, 8))
    more = {"codes": 3, "width": 1} if family is VQVAE else {"latent": 3}
    model = family(space, CONTEXTS["category"] if conditional else None, hidden=(8,), **more)
    x, c = draw(space, 40), draw(CONTEXTS["category"], 40) if conditional else None
    codes = codes_of(model, x, c)
    assert codes is not None
    assert (codes.plane.shape, codes.rebuilt.shape, codes.walks.shape) == ((40, 2), (8, 8, 8), (3, 7, 8, 8))
    assert codes.lines.shape == (4, 8, 8, 8)
    first = None if c is None else c[:1]
    assert torch.equal(codes.lines[0, 0], model.reconstruct(x[:1], first)[0])
    if family is VQVAE:
        return  # whose entries have neighbours that are no entries
    assert torch.equal(codes.walks[0, 3], model.reconstruct(x[:1], first)[0])  # no step from its own code
    laid = mosaic(space, torch.tensor([[0.0, 0.0], [1.0, 1.0]]), x[:2], side=2)
    assert torch.equal(laid[[2, 1]], x[:2].to(laid.dtype))  # up is up
    assert bool(laid[[0, 3]].isnan().all())
    assert codes_of(make("maf", SPACES["reals"]), draw(SPACES["reals"], 5), None) is None


@pytest.mark.parametrize("family", [VAE, IWAE, Autoencoder, VQVAE])
def test_codes_are_checked(family: type[VAE]) -> None:
    space = Space([Real(), Real()])
    more = {"codes": 2, "width": 2} if family is VQVAE else {"latent": 4}
    model = family(space, hidden=(8,), **more)
    z = torch.randn(3, 4, dtype=torch.float64)
    assert model.likelihood(z).sample().shape == (3, 2)
    for bad in (z[0], z[:, :3], z.numpy(), z * math.nan):
        with pytest.raises(genus.GenusError, match=r"finite numbers \(B, 4\)"):
            model.likelihood(bad)
    x = torch.zeros(2, 2)
    with pytest.raises(genus.GenusError, match="1 or more; got -1"):
        model.interpolate(x[:2], steps=-1)


def test_wrong_arguments_are_sentences() -> None:
    space = SPACES["reals"]
    for hyper, word in (
        ({"posterior": "best"}, "'diagonal', 'full' or 'iaf'"),
        ({"net": "deep"}, "'dense' or 'convolutional'"),
        ({"latent": 0}, "1 number or more"),
        ({"prior": "naive"}, "A base, a prior"),
        ({"prior": "vamp", "posterior": "full"}, "posterior='diagonal'"),
    ):
        with pytest.raises(genus.GenusError, match=word):
            VAE(space, **hyper)  # type: ignore[arg-type]
    with pytest.raises(genus.DataError, match="net='dense'"):
        VAE(space, net="convolutional")
    with pytest.raises(genus.GenusError, match=r"hidden=\[channels\]"):
        VAE(Space(Lattice(0, 1), shape=(8, 8)), net="convolutional", hidden=())
    with pytest.raises(genus.GenusError, match="1 component or more; got components=0"):
        VAE(space, components=0)
    with pytest.raises(genus.GenusError, match="'maf' say; got gan"):
        VAE(space, prior="gan")
    with pytest.raises(genus.GenusError, match="1 or more"):
        IWAE(space, samples=0)
    with pytest.raises(genus.GenusError, match="share below 1"):
        Autoencoder(space, corrupt=1.0)
    model = VAE(space, latent=2)
    with pytest.raises(genus.GenusError, match=r"encoder must map \(B, 3\) to \(B, 4\)"):
        model.replace(encoder=nn.Linear(3, 5))
    with pytest.raises(genus.GenusError, match="1 or more"):
        model.importance(draw(space, 2), samples=0)


def test_blanks_cost_neither_codes_nor_draws_an_imputation(monkeypatch: pytest.MonkeyPatch) -> None:
    """A blank is a value for the nets; a draw's blank is drawn again by the same code's decoder, which costs a pass."""
    space = Space([Category(("a", "b", None), unknown=True), Real()])
    model = genus.VAE(space, hidden=[8], latent=2)

    def fill(*_: object) -> None:
        raise AssertionError("entries were drawn given others, which takes fifty passes a row")

    monkeypatch.setattr(genus.VAE, "_fill", fill)
    drawn = model.sample(400, seed=0)
    assert not bool(space.unknown_blanks(drawn).any())
    assert bool(space.unknown_blanks(model.sample(400, seed=0, blanks=True)).any())
    assert model.encode(torch.tensor([[2.0, 0.5], [0.0, 1.0]])).shape == (2, 2)
