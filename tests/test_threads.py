"""Threads with seeds: each gives what it gives alone, and torch's global random state stays as it was."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
import torch
from conftest import SMALL, SPACES, make
from torch import Tensor, nn

import genus
from genus import Category, Lattice, Real, Space
from genus.data import reading
from genus.errors import GenusError
from genus.ladder import ApproximateDensity, GenerativeModel, TractableDensity, map_batches
from genus.random import isolated
from genus.registry import build, family, refusal
from genus.threads import torch_threads

THREADS, SEEDS = 4, range(4)
TABLE = Space([Real(), Real(), Category(("a", "b", "c"))])
NUMBERS = Space([Real()] * 3)
IMAGE = Space(Lattice(0, 3), shape=(4, 4))
TEXT = Space(Category(tuple("abcd")), shape=(8,), sequence=True)
FAMILIES: dict[str, tuple[Space, dict[str, Any]]] = {
    "mixture": (TABLE, {"components": 3}),
    "made": (TABLE, {"hidden": (16,), "dropout": 0.2, "orders": 2}),
    "maf": (TABLE, {"transforms": 2, "hidden": (16,), "dropout": 0.2, "base": "student"}),
    "real-nvp": (NUMBERS, {"transforms": 2, "hidden": (16,), "dropout": 0.2}),
    "vae": (TABLE, {"latent": 2, "hidden": (16,)}),
    "vq-vae": (IMAGE, {}),
    "autoencoder": (NUMBERS, {}),
    "glow": (IMAGE, {"steps": 1, "hidden": (8,)}),
    "gan": (NUMBERS, {"hidden": (16,)}),
    "wgan": (NUMBERS, {"hidden": (16,)}),
    "gpt": (TEXT, {"width": 16, "layers": 2, "heads": 2, "dropout": 0.1}),
    "rnn": (TEXT, {"width": 16, "layers": 2, "dropout": 0.1}),
    "wavenet": (TEXT, {"width": 8, "layers": 3, "dropout": 0.1}),
    "pixelcnn": (IMAGE, {"width": 8, "layers": 2, "dropout": 0.1}),
    "markov": (TEXT, {}),
}
COUNTED = ("mixture", "markov")


class Foreign(TractableDensity):
    """A family of a user's, which draws from torch without a thought of seeds."""

    def __init__(self, space: Space, cell: str = "dense") -> None:
        super().__init__(space)
        self.net = nn.Sequential(nn.Linear(1, 8), nn.Dropout(0.3), nn.Linear(8, 1))
        self.cell = nn.GRU(1, 3, 2, dropout=0.5, batch_first=True)

    def _log_prob(self, x: Tensor, c: Tensor | None) -> Tensor:
        noise = 0.1 * torch.randn_like(x[:, 0]) * torch.rand(len(x)) if self.training else 0.0
        mean = self.net(x[:, :1])[:, 0] + noise + self.cell(x[:, :, None])[0][:, -1, 0]
        return -0.5 * (x[:, 1] - mean).square()

    def _sample(self, n: int, c: Tensor | None) -> Tensor:
        x = torch.distributions.StudentT(5.0).sample((n, 2))
        torch.nn.init.trunc_normal_(x[:, 1])
        return torch.cat([x, torch.bernoulli(torch.full((n, 1), 0.5))], 1)


def rows(space: Space, n: int = 64) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    numbers = torch.rand(n, space.dim, generator=generator)
    for i, kind in enumerate(space.kinds):
        numbers[:, i] = numbers[:, i] if isinstance(kind, Real) else (numbers[:, i] * kind.states).floor()
        if isinstance(kind, Lattice):
            numbers[:, i] = (torch.rand(n, generator=generator) * 4).floor()
    return numbers.reshape(n, *space.shape)


def made(name: str, seed: int = 0) -> GenerativeModel:
    if name == "foreign":
        with isolated(seed):
            return Foreign(NUMBERS)
    space, hyper = FAMILIES[name]
    return build(name, space, seed=seed, **hyper)


def weights(model: nn.Module) -> Tensor:
    return torch.cat([tensor.double().flatten() for tensor in model.state_dict().values()])


def check_threads(
    work: Callable[[int], Tensor], alone: list[Tensor] | None = None, threads: int = THREADS, seeds: range = SEEDS
) -> None:
    """Assert that work(seed) gives in each of several threads what it gives alone, and leaves torch's random state alone."""
    before = torch.random.get_rng_state()
    alone = alone or [work(seed) for seed in seeds]
    assert torch.equal(before, torch.random.get_rng_state())
    start = Barrier(threads)

    def run(first: int) -> list[Tensor]:
        start.wait()
        return [work(seed) for seed in seeds[first::threads]]

    with ThreadPoolExecutor(threads) as pool:
        together = list(pool.map(run, range(threads)))
    for seed in seeds:
        assert torch.equal(alone[seed], together[seed % threads][seed // threads]), f"seed {seed} in a thread"
    assert not torch.equal(alone[0], alone[1])


@pytest.mark.parametrize("name", [*FAMILIES, "foreign"])
def test_sampling(name: str) -> None:
    model = made(name)
    if name in COUNTED:
        genus.fit(model, rows(model.space), progress=False)
    check_threads(lambda seed: model.sample(20, seed=seed))


@pytest.mark.nightly
@pytest.mark.parametrize("name", list(SMALL))
def test_a_hundred_draws_of_eight_threads(name: str) -> None:
    space = next(space for space in SPACES.values() if refusal(name, space) is None and space.dim > 1)
    model = make(name, space)
    check_threads(lambda seed: model.sample(50, seed=seed).nan_to_num(-1.0), threads=8, seeds=range(100))


@pytest.mark.parametrize("count", [4, pytest.param(100, marks=pytest.mark.nightly)])
def test_loading_beside_building(count: int, tmp_path: Path) -> None:
    """Models are loaded in four threads while others build them: a guard of the one must not see the tensors of the other."""
    names = ["made", "vae", "gan", "maf"]
    for name in names:
        genus.save(made(name), tmp_path / f"{name}.genus")
    alone = {name: weights(made(name)) for name in names}
    start = Barrier(8)

    def run(thread: int) -> bool:
        start.wait()
        name, loads = names[thread % 4], thread < 4
        models = (genus.load(tmp_path / f"{name}.genus") if loads else made(name) for _ in range(count // 4))
        return all(torch.equal(weights(model), alone[name]) for model in models)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(run, range(8)))


@pytest.mark.parametrize("name", [*(name for name in FAMILIES if name not in COUNTED), "foreign"])
def test_building(name: str) -> None:
    check_threads(lambda seed: weights(made(name, seed)))


@pytest.mark.parametrize("name", ["vae", "glow"])
def test_bounds(name: str) -> None:
    model = made(name)
    x = rows(model.space)
    assert isinstance(model, ApproximateDensity)
    check_threads(lambda seed: model.elbo(x, seed=seed))
    check_threads(lambda seed: model.log_evidence(x, samples=4, seed=seed))


@pytest.mark.parametrize("name", [*(name for name in FAMILIES if name != "markov"), "foreign"])
def test_training(name: str) -> None:
    def train(seed: int) -> Tensor:
        model = made(name, seed)
        x = rows(model.space)
        genus.fit(model, x, max_steps=3, batch_size=32, seed=seed, progress=False, device="cpu")
        return weights(model)

    check_threads(train)


def test_seeds_nest_and_end_with_an_error() -> None:
    with isolated(1):
        first = torch.rand(3)
        with pytest.raises(GenusError), isolated(2):
            made("maf").sample(-1)
        third = torch.rand(3)
    with isolated(1):
        assert torch.equal(torch.cat([first, third]), torch.rand(6))


def test_equal_seeds_give_the_numbers_of_manual_seed() -> None:
    def draws() -> list[Tensor]:
        return [torch.randn(5), torch.randperm(6), nn.Linear(3, 2).weight.detach(), torch.rand_like(torch.ones(3))]

    with torch.random.fork_rng():
        torch.manual_seed(3)
        expected = draws()
    with isolated(3):
        assert all(map(torch.equal, expected, draws()))


def test_loading_while_building(tmp_path: Path) -> None:
    names = ("maf", "gpt", "vae", "made")
    for name in names:
        genus.save(made(name, 9), tmp_path / name)

    def work(seed: int) -> Tensor:
        parts = []
        for name in names:
            large = build(name, FAMILIES[name][0], seed=seed)  # of more numbers than a file of those below holds
            parts += [weights(large), weights(genus.load(tmp_path / name))]
        return torch.cat(parts)

    check_threads(work)


def test_models_that_count_score_on_one_thread_and_others_on_all() -> None:
    data, seen = genus.read("iris"), []

    class Counting(family("naive-bayes")):  # type: ignore[misc]
        def log_prob(self, x: Tensor, c: Tensor | None = None) -> Tensor:
            seen.append(torch.get_num_threads())
            return super().log_prob(x, c)

    model = Counting(data.space)
    genus.fit(model, data)
    with torch_threads(2):
        together = map_batches(model.log_prob, data.x, rows=10)
        map_batches(lambda x, c: model.log_prob(x), data.x, rows=100)
        assert torch.get_num_threads() == 2
    assert seen == [*[1] * 15, 2, 2]
    assert torch.equal(together, model.log_prob(data.x))


def test_reading_measures_on_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    measure_table = reading.measure_table

    def seeing(*arguments: Any) -> Any:
        seen.append(torch.get_num_threads())
        return measure_table(*arguments)

    monkeypatch.setattr(reading, "measure_table", seeing)
    with torch_threads(2):
        genus.read({"a": [1.5, 2.25, 3.0], "b": ["x", "y", "x"]})
        assert torch.get_num_threads() == 2
    assert seen == [1]


def test_dropout_of_a_recurrent_net_of_torch_has_the_seed_too() -> None:
    """A net without dropout draws nothing, so that no seed is set for it; one with dropout must repeat."""
    net, x = nn.GRU(3, 4, num_layers=2, dropout=0.5, batch_first=True), torch.randn(2, 5, 3)

    def once(seed: int) -> Tensor:
        with isolated(seed):
            return net(x)[0]  # type: ignore[no-any-return]

    before = torch.get_rng_state()
    assert torch.equal(once(1), once(1))
    assert not torch.equal(once(1), once(2))
    assert torch.equal(torch.get_rng_state(), before)
