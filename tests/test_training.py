"""The loop: seeds, budgets, early stopping, players, checkpoints, interruptions, and what it leaves behind."""

import io
import os
import random
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import genus
from genus.errors import DataError, ModelFileError, TrainingError
from genus.ladder import Counted, GenerativeModel, Loss, TractableDensity
from genus.laws.core import Waits
from genus.space import Category, Real, Space
from genus.training import History, TrainingInterrupted, fit
from genus.training.checkpoint import BestWeights
from genus.training.options import Budget, FitOptions
from genus.training.rows import batch_size_for, prepare

SPACE = Space([Real(), Real()])
X = torch.randn(200, 2, generator=torch.Generator().manual_seed(3)) + torch.tensor([2.0, -1.0])


class Gaussian(TractableDensity):
    """N(mean, 1), the mean learnt; `noise` in the loss and dropout make it random."""

    not_in_config = ("space", "context", "before")

    def __init__(self, context=None, noise=0.0, before=None, **hyper):
        super().__init__(SPACE, context)
        self.mean = nn.Parameter(torch.zeros(2))
        self.dropout = nn.Dropout(noise)
        self.before = before or (lambda model: None)
        self.started = None

    def _initialise(self, x, c):
        self.started = len(x)

    def _log_prob(self, x, c):
        if self.training:
            self.before(self)
        mean = self.dropout(self.mean)
        return -0.5 * ((x - mean.to(x)) ** 2).sum(1) - float(np.log(2 * np.pi))

    def _sample(self, n, c):
        return self.mean.detach() + torch.randn(n, 2)


class Duel(GenerativeModel):
    """Two players: `a` follows the data, `b` follows `a`, at every third step; both losses are noisy."""

    def __init__(self):
        super().__init__(SPACE)
        self.a, self.b = nn.Parameter(torch.zeros(2)), nn.Linear(2, 2)
        self.dropout = nn.Dropout(0.3)
        self.seen = []

    def losses(self):
        def follow(x, c):
            self.seen.append("a")
            return ((self.dropout(x) + 0.1 * torch.randn_like(x) - self.a + 0 * self.b.bias) ** 2).mean()

        def chase(x, c):
            self.seen.append("b")
            return ((self.b(torch.randn_like(x)) - self.a) ** 2).mean()

        return [Loss("a", [self.a], follow), Loss("b", self.b.parameters(), chase, interval=3, optimizer={"betas": (0.5, 0.9)})]

    def criterion(self, x, c=None):
        assert not self.training
        return ((x - self.a) ** 2).mean().item()

    def _sample(self, n, c):
        return self.a.detach().expand(n, 2)


class Counter(Counted, TractableDensity):
    """N(mean, 1), the mean counted."""

    statistics = ("total", "number")

    def __init__(self):
        super().__init__(SPACE)
        self.register_buffer("total", torch.zeros(2, dtype=torch.float64))
        self.register_buffer("number", torch.zeros((), dtype=torch.float64))
        self.register_buffer("mean", torch.zeros(2, dtype=torch.float64))
        self.observed = 0

    def observe(self, x, c=None):
        self.total += x.double().sum(0)
        self.number += len(x)
        self.observed += len(x)

    def conclude(self):
        self.mean.copy_(self.total / self.number)

    def _log_prob(self, x, c):
        return -0.5 * ((x.double() - self.mean) ** 2).sum(1) - float(np.log(2 * np.pi))

    def _sample(self, n, c):
        return self.mean + torch.randn(n, 2)


def quiet(model, data=X, **arguments):
    return fit(model, data, progress=False, **arguments)


def state(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def without_seconds(history):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in history.rows]


# -- what it learns -------------------------------------------------------------------------------------------------------


def test_it_learns_the_mean_in_place_and_ends_in_evaluation_mode():
    model = Gaussian()
    history = quiet(model, max_steps=600, learning_rate=0.05, validation=None)
    assert torch.allclose(model.mean, X.mean(0), atol=0.02)
    assert not model.training
    assert model.started == 200
    assert model.mean.grad is None
    assert model.mean.requires_grad
    assert (history.steps, history.stopped, history.parameters) == (600, "max_steps", 2)


def test_players_move_in_turn_and_only_their_own_parameters_get_gradients():
    model = Duel()
    gradients = []
    for name, p in model.named_parameters():
        p.register_hook(lambda g, name=name: gradients.append((model.seen[-1], name)))
    quiet(model, max_steps=6, learning_rate=0.1, validation=None)
    assert model.seen == ["a", "b", "a", "a", "a", "b", "a", "a"]
    assert set(gradients) == {("a", "a"), ("b", "b.weight"), ("b", "b.bias")}


def test_a_loss_s_optimizer_settings_hold_unless_a_learning_rate_is_given():
    def moved(**arguments):
        model = Gaussian()
        loss = Loss("nll", [model.mean], lambda x, c: -model._log_prob(x, c).mean(), optimizer={"lr": 0.5})
        quiet(model, losses=[loss], max_steps=1, validation=None, lr_schedule="constant", **arguments)
        return model.mean.abs().max().item()

    assert moved() == pytest.approx(0.5, rel=1e-3)
    assert moved(learning_rate=0.25) == pytest.approx(0.25, rel=1e-3)


def test_a_critic_that_belongs_to_a_loss_is_trained_too():
    model, critic = Gaussian(), nn.Linear(2, 1)
    before = state(critic)
    quiet(model, losses=[Loss("critic", critic.parameters(), lambda x, c: (critic(x) ** 2).mean())], max_steps=3)
    assert not same(before, state(critic))
    assert torch.equal(model.mean, torch.zeros(2))


def test_gradients_are_clipped_by_norm():
    norms = []
    model = Gaussian()
    loss = Loss("nll", [model.mean], lambda x, c: -1e4 * model._log_prob(x, c).mean(), optimizer={"weight_decay": 0.0})
    step = torch.optim.AdamW.step
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            torch.optim.AdamW, "step", lambda self, *a, **k: (norms.append(model.mean.grad.norm().item()), step(self, *a, **k))
        )
        quiet(model, losses=[loss], max_steps=2, max_grad_norm=3.0)
        quiet(model, losses=[loss], max_steps=1, max_grad_norm=None)
    assert norms[:2] == pytest.approx([3.0, 3.0], rel=1e-4)
    assert norms[2] > 1000


def test_float64_trains_in_float64():
    model = Gaussian().double()
    types = set()
    model.before = lambda m: types.add(m.mean.dtype)
    quiet(model, X.double(), max_steps=3)
    assert types == {torch.float64}
    assert model.mean.dtype == torch.float64


def test_data_in_their_own_units_survive_autocast():
    seen = []
    model = Gaussian()
    x = X + 1000.0
    net = nn.Linear(2, 1)
    loss = Loss("l", net.parameters(), lambda x, c: (seen.append((x, net(x).dtype)), net(x).float().pow(2).mean())[1])
    quiet(model, x, losses=[loss], max_steps=2, precision="bf16-mixed", validation=None)
    assert seen[0][1] == torch.bfloat16
    assert seen[0][0].dtype == torch.float32
    assert torch.isin(seen[0][0], x).all()


def test_averaged_weights_lag_behind_and_are_what_is_kept():
    plain, averaged = Gaussian(), Gaussian()
    for model, decay in ((plain, 0.0), (averaged, 0.999)):
        quiet(model, max_steps=50, validation=None, ema_decay=decay, learning_rate=0.01, lr_schedule="constant")
    assert 0.05 < averaged.mean[0] < plain.mean[0] - 0.02


# -- validation and early stopping ----------------------------------------------------------------------------------------


def test_early_stopping_restores_the_best_weights_buffers_included():
    class Overfits(Gaussian):
        def __init__(self):
            super().__init__()
            self.register_buffer("steps", torch.zeros(()))
            self.before = lambda model: model.steps.add_(1)

        def criterion(self, x, c=None):
            return abs(self.steps.item() - 150)

    model = Overfits()
    history = quiet(model, patience=3, max_steps=5000)
    assert (history.stopped, history.best_step, history.steps, model.steps.item()) == ("early stopping", 150, 300, 150)
    assert history.best == 0


def test_a_criterion_that_is_not_a_number_is_never_the_best():
    best, model = BestWeights(), Gaussian()
    for step, value in enumerate([float("nan"), 2.0, float("nan"), 1.0, 1.5, float("nan")]):
        best.offer(model, step, value)
    assert (best.value, best.step, best.waited) == (1.0, 3, 2)


def test_without_a_criterion_the_last_weights_are_kept():
    class Silent(Gaussian):
        def criterion(self, x, c=None):
            return None

    model, reference = Silent(), Gaussian()
    history = quiet(model, max_steps=120)
    quiet(reference, max_steps=120, patience=1000)
    assert torch.allclose(model.mean, reference.mean)
    assert [row["criterion"] for row in history.rows] == [None] * 4
    assert history.best_step == 120


@pytest.mark.parametrize("form", ["tensor", "pair", "dataset"])
def test_validation_may_be_data_of_its_own(form):
    held = torch.full((7, 2), 5.0)

    class Dataset:
        x, c = held, None

    rows = []
    model = Gaussian()
    model.criterion = lambda x, c=None: rows.append(x) or 0.0
    quiet(model, max_steps=2, validation={"tensor": held, "pair": (held, None), "dataset": Dataset()}[form])
    assert torch.equal(rows[0], held)


def test_the_split_holds_out_a_tenth_and_trains_on_the_rest():
    held, seen = [], []
    model = Gaussian()
    model.criterion = lambda x, c=None: held.append(x) or 0.0
    loss = Loss("l", [model.mean], lambda x, c: (seen.append(x), model.mean.sum())[1])
    quiet(model, losses=[loss], epochs=3, batch_size=60)
    keys = {tuple(row) for row in held[0].tolist()}
    train = {tuple(row) for x in seen for row in x.tolist()}
    assert (len(keys), len(train), keys & train, len(seen)) == (20, 180, set(), 9)
    first = [tuple(row) for x in seen[:3] for row in x.tolist()]
    assert len(set(first)) == 180
    assert first != [tuple(row) for x in seen[3:6] for row in x.tolist()]


def test_evaluation_uses_the_same_noise_every_time_and_none_of_training_s():
    class Noisy(Gaussian):
        def criterion(self, x, c=None):
            draws.append(torch.rand(()).item())
            return 0.0

    draws, results = [], []
    for validation in (X[:5], None):
        model = Noisy(noise=0.5)
        quiet(model, max_steps=120, validation=validation, patience=1000)
        results.append(model.mean)
    assert len(set(draws)) == 1
    quiet(other := Noisy(noise=0.5), max_steps=120, validation=None)
    assert torch.equal(other.mean, results[1])


def test_the_prior_of_a_categorical_context_is_counted_from_the_training_rows():
    context = Space([Category(("a", "b", "c"))])
    c = torch.tensor([0.0, 0.0, 1.0] * 60)[:, None]
    model = Gaussian(context)
    quiet(model, (X[:180], c), max_steps=1, validation=None)
    assert model.context_counts.tolist() == [120.0, 60.0, 0.0]


# -- seeds ----------------------------------------------------------------------------------------------------------------


def test_the_same_seed_repeats_bit_for_bit_and_global_random_states_are_left_alone():
    def run(seed):
        model = Gaussian(noise=0.5)
        history = quiet(model, max_steps=150, seed=seed, ema_decay=0.9)
        return state(model), without_seconds(history)

    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    one = run(5)
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()
    assert random.getstate() == before[2]
    torch.rand(3)
    two, three = run(5), run(6)
    assert same(one[0], two[0])
    assert one[1] == two[1]
    assert not same(one[0], three[0])


# -- budgets --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["maf", "real-nvp", "nsf", "vae", "vq-vae", "made"])
def test_a_trained_model_goes_on_from_its_weights(name: str, tmp_path: Path) -> None:
    """Where a family starts from the data, it does so once, and not again after a file either."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(200, 3, generator=generator) @ torch.randn(3, 3, generator=generator)
    model = genus.build(name, Space([Real()] * 3))
    genus.fit(model, x, max_steps=20, learning_rate=1e-2, progress=False)
    genus.save(model, tmp_path / "model.genus")
    model = genus.load(tmp_path / "model.genus")
    before = {key: value.detach().clone() for key, value in model.named_parameters()}
    genus.fit(model, x[:100], max_steps=1, learning_rate=1e-12, validation=None, progress=False)
    for key, value in model.named_parameters():
        assert torch.allclose(value, before[key], atol=1e-6), key


def test_budgets_end_training_whichever_is_first():
    assert quiet(Gaussian(), epochs=2, batch_size=30, validation=None).steps == 12
    both = quiet(Gaussian(), epochs=2, max_steps=5, batch_size=30, validation=None)
    assert (both.steps, both.stopped) == (5, "max_steps")
    with pytest.raises(TrainingError, match="max_seconds must be positive"):
        quiet(Gaussian(), max_seconds=0)


def test_max_seconds_are_kept_evaluation_included():
    class Slow(Gaussian):
        def criterion(self, x, c=None):
            time.sleep(0.4)
            return super().criterion(x, c)

    model = Slow(before=lambda m: time.sleep(0.02))
    start = time.perf_counter()
    history = quiet(model, max_seconds=1.2)
    assert 1.0 < time.perf_counter() - start < 1.35
    assert history.stopped == "max_seconds"
    assert history.rows[-1]["step"] == history.steps > 10


def test_schedules():
    budget = Budget.of(FitOptions(max_steps=10, max_seconds=4.0))
    assert [budget.spent(5, 1.0), budget.spent(5, 3.0), budget.spent(20, 9.0)] == [0.5, 0.75, 1.0]
    rates = {}
    for schedule in ("cosine", "linear", "constant"):
        model = Gaussian()
        means = []
        loss = Loss("l", [model.mean], lambda x, c, m=model, means=means: (means.append(m.mean[0].item()), m.mean.sum())[1])
        quiet(model, losses=[loss], max_steps=100, learning_rate=1.0, lr_schedule=schedule, validation=None)
        rates[schedule] = -np.diff(means)  # under a constant gradient Adam moves by just the learning rate
    share = np.arange(99) / 100
    for name, expected in (("cosine", 0.5 * (1 + np.cos(np.pi * share))), ("linear", 1 - share), ("constant", share * 0 + 1)):
        np.testing.assert_allclose(rates[name], expected, rtol=1e-3, atol=1e-5)


# -- counting -------------------------------------------------------------------------------------------------------------


def test_a_counted_model_observes_every_row_once_and_again_afresh():
    model = Counter()
    for x in (X + 1, X):
        history = quiet(model, x, batch_size=64)
        assert torch.allclose(model.mean, x.double().mean(0))
    assert model.observed == 400
    assert (history.steps, history.stopped, history.parameters) == (1, "closed form", 2)
    assert not model.training


def test_a_pass_that_time_cuts_short_counts_the_rows_so_far():
    model = Counter()
    observe = model.observe
    model.observe = lambda x, c=None: (time.sleep(0.05), observe(x, c))
    history = quiet(model, max_seconds=0.1, batch_size=20)
    assert history.steps == 1
    assert 20 <= model.observed < len(X)
    assert torch.allclose(model.mean, X[: model.observed].double().mean(0))


# -- checkpoints ----------------------------------------------------------------------------------------------------------


def interrupted_at(step, model, path, **arguments):
    """A training that Ctrl-C, which comes in the middle of a step, ends after that step."""
    first, *others = model.losses()
    calls = []

    def value(x, c):
        calls.append(None)
        if len(calls) == step:
            os.kill(os.getpid(), signal.SIGINT)
        return first.value(x, c)

    losses = [Loss(first.name, first.parameters, value, first.interval, first.optimizer), *others]
    with pytest.raises(TrainingInterrupted, match="resume=True") as caught:
        quiet(model, losses=losses, checkpoint=path, **arguments)
    return caught.value


SETTINGS = {"max_steps": 120, "batch_size": 32, "ema_decay": 0.95, "learning_rate": 0.02, "patience": 50}


@pytest.mark.parametrize("step", [3, 57, 100])
def test_interrupted_and_resumed_is_the_same_bit_for_bit(tmp_path, step):
    torch.manual_seed(0)
    fresh = state(Duel())

    def make():
        model = Duel()
        model.load_state_dict(fresh)
        return model

    straight = make()
    expected = quiet(straight, **SETTINGS)
    path = tmp_path / "run.ckpt"
    model = make()
    error = interrupted_at(step, model, path, **SETTINGS)
    assert isinstance(error, KeyboardInterrupt)
    assert f"after step {step}" in str(error)
    assert not model.training
    resumed = Duel()
    history = quiet(resumed, checkpoint=path, resume=True, **SETTINGS)
    assert len(resumed.seen) == 120 - step + len([s for s in range(step, 120) if s % 3 == 0])
    assert same(state(straight), state(resumed))
    assert without_seconds(history) == without_seconds(expected)
    assert history.best_step == expected.best_step
    # And once more, from the end: nothing is left to do, and the weights are the same again.
    again = Duel()
    quiet(again, checkpoint=path, resume=True, **SETTINGS)
    assert (len(again.seen), same(state(straight), state(again))) == (0, True)


def test_ten_steps_and_ten_more_are_twenty(tmp_path):
    settings = {"lr_schedule": "constant", "validation": None, "batch_size": 64, "ema_decay": 0.5}
    straight, first, second = Gaussian(noise=0.3), Gaussian(noise=0.3), Gaussian(noise=0.3)
    quiet(straight, max_steps=20, **settings)
    quiet(first, max_steps=10, checkpoint=tmp_path / "a", **settings)
    quiet(second, max_steps=20, checkpoint=tmp_path / "a", resume=True, **settings)
    assert same(state(straight), state(second))
    assert not same(state(first), state(second))


def test_a_checkpoint_is_written_as_often_as_asked(tmp_path):
    seen = []

    def look(model):
        model.calls = getattr(model, "calls", 0) + 1
        seen.append((tmp_path / "c").exists())

    quiet(Gaussian(before=look), max_steps=8, checkpoint=tmp_path / "c", checkpoint_every=5, validation=None)
    assert seen == [False] * 5 + [True] * 3


def test_counting_that_has_ended_resumes_without_another_pass(tmp_path):
    one, two = Counter(), Counter()
    quiet(one, checkpoint=tmp_path / "counts")
    history = quiet(two, checkpoint=tmp_path / "counts", resume=True)
    assert torch.equal(one.mean, two.mean)
    assert (two.observed, history.steps, history.stopped) == (0, 1, "closed form")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 1}, "seed was 0 and is now 1"),
        ({"batch_size": 50}, "batch_size was 40 and is now 50"),
        ({"ema_decay": 0.5}, "ema_decay"),
        ({"data": X[:150]}, "training rows was 180 and is now 135"),
        ({"data": X + 1}, "content of the data"),
        ({"model": Gaussian(noise=0.1)}, "hyper-parameters"),
    ],
)
def test_resuming_another_training_is_refused_by_name(tmp_path, change, named):
    quiet(Gaussian(), max_steps=2, batch_size=40, checkpoint=tmp_path / "c")
    arguments = {"model": Gaussian(), "data": X, "batch_size": 40} | change
    with pytest.raises(TrainingError, match=named):
        quiet(**arguments, max_steps=4, checkpoint=tmp_path / "c", resume=True)


def test_resuming_from_nothing_or_from_something_else(tmp_path):
    with pytest.raises(TrainingError, match=r"no checkpoint .* to resume from"):
        quiet(Gaussian(), max_steps=1, checkpoint=tmp_path / "none", resume=True)
    with pytest.raises(TrainingError, match="needs checkpoint="):
        quiet(Gaussian(), max_steps=1, resume=True)
    quiet(Gaussian(), max_steps=1, checkpoint=tmp_path / "c")
    whole = (tmp_path / "c").read_bytes()
    (tmp_path / "c").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelFileError, match="not a complete"):
        quiet(Gaussian(), max_steps=2, checkpoint=tmp_path / "c", resume=True)


def test_the_best_weights_and_the_clock_go_on_with_a_resumed_training(tmp_path):
    class Worsens(Gaussian):
        def criterion(self, x, c=None):
            return self.mean[0].item()

    settings = {"validation": X[:9], "learning_rate": 0.01, "lr_schedule": "constant", "checkpoint": tmp_path / "c"}
    first = Worsens(before=lambda m: time.sleep(0.01))
    earlier = quiet(first, max_steps=60, **settings)
    model = Worsens()
    history = quiet(model, max_steps=120, resume=True, **settings)
    assert (history.best_step, model.mean.tolist()) == (0, [0.0, 0.0])
    assert history.seconds > 0.9 * earlier.seconds > 0.5
    seconds = [row["seconds"] for row in history.rows]
    assert seconds == sorted(seconds)
    assert quiet(Worsens(), max_steps=400, max_seconds=0.3, resume=True, **settings).stopped == "max_seconds"


# -- when things go wrong -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_stops_being_finite_is_named_and_the_best_weights_are_kept(bad):
    model = Gaussian()
    calls = []
    good = {}

    def poison(x, c):
        calls.append(model.mean.detach().clone())
        if len(calls) == 101:
            good["mean"] = calls[100]
        return -model._log_prob(x, c).mean() * (bad if len(calls) == 137 else 1.0)

    with pytest.raises(TrainingError, match=r"'critic' became (nan|inf) at step 137; .* weights of step 100"):
        quiet(model, losses=[Loss("critic", [model.mean], poison)], max_steps=1000, learning_rate=0.01)
    assert torch.equal(model.mean, good["mean"])
    assert not model.training


def test_an_interruption_keeps_the_best_weights_without_a_checkpoint_too():
    model = Gaussian(before=lambda m: os.kill(os.getpid(), signal.SIGINT) if m.mean[0] > 0.5 else None)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(TrainingInterrupted, match="pass checkpoint="):
        quiet(model, max_steps=2000, learning_rate=0.01)
    assert model.mean[0] > 0.5
    assert signal.getsignal(signal.SIGINT) is handler


def test_an_interruption_within_a_step_keeps_the_file_of_the_last_whole_one(tmp_path):
    def stop(model):
        model.calls = getattr(model, "calls", 0) + 1
        if model.calls == 13:
            raise KeyboardInterrupt

    straight, resumed = Gaussian(), Gaussian()
    quiet(straight, max_steps=20)
    with pytest.raises(TrainingInterrupted):
        quiet(Gaussian(before=stop), max_steps=20, checkpoint=tmp_path / "c", checkpoint_every=5)
    quiet(resumed, max_steps=20, checkpoint=tmp_path / "c", resume=True)
    assert same(state(straight), state(resumed))


def test_it_trains_in_a_thread():
    model = Gaussian()
    thread = threading.Thread(target=lambda: quiet(model, max_steps=20, learning_rate=0.1))
    thread.start()
    thread.join()
    assert model.mean[0] > 0.5


def test_wrong_input_is_one_clear_sentence():
    for arguments, error, message in (
        ({"data": X[:, :1]}, DataError, "shape"),
        ({"data": X[:0]}, DataError, "no rows"),
        ({"data": "table.csv"}, DataError, "got str"),
        ({"data": (X, X)}, DataError, "no context"),
        ({"data": X[:1]}, DataError, "cannot be split"),
        ({"validation": 1.5}, DataError, "fraction"),
        ({"lr_schedule": "stairs"}, TrainingError, "cosine"),
        ({"ema_decay": 1.0}, TrainingError, "decay"),
        ({"batch_size": 0}, TrainingError, "batch_size must be positive"),
        ({"patience": 0}, TrainingError, "patience must be positive"),
        ({"device": "abacus"}, TrainingError, "no device 'abacus'"),
        ({"precision": "7-true"}, TrainingError, "precision '7-true'"),
        ({"losses": []}, TrainingError, "gives no losses"),
    ):
        with pytest.raises(error, match=message):
            quiet(Gaussian(), **({"data": X, "max_steps": 1} | arguments))


# -- compile, progress, history -------------------------------------------------------------------------------------------


def test_a_compilation_that_fails_is_a_warning(monkeypatch):
    def broken(value):
        def call(x, c):
            raise RuntimeError("no compiler here")

        return call

    monkeypatch.setattr(torch, "compile", broken)
    plain, compiled = Gaussian(noise=0.2), Gaussian(noise=0.2)
    quiet(plain, max_steps=10)
    with pytest.warns(UserWarning, match="no compiler here"):
        quiet(compiled, max_steps=10, compile=True)
    assert same(state(plain), state(compiled))


@pytest.fixture
def traced(monkeypatch):
    """torch.compile without a compiler of C++."""
    plain = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f: plain(f, backend="aot_eager"))
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()


@pytest.mark.nightly
@pytest.mark.usefixtures("traced")
@pytest.mark.filterwarnings("error:torch.compile failed")
@pytest.mark.parametrize(
    "family", ["gpt", *(pytest.param(f, marks=pytest.mark.nightly) for f in ("nsf", "maf", "real-nvp", "vae", "autoencoder"))]
)
def test_a_new_model_compiles_in_one_graph(family):
    """What it makes once, masks and tables, is made before."""
    flow = issubclass(genus.family(family), genus.models.flow.NormalisingFlow)
    space = Space([Real()] * 3 + ([] if flow else [Category(["a", "b", "c"])]))
    x = torch.cat([torch.randn(64, 3), torch.randint(0, 3, (64, 1))], 1)[:, : space.dim]
    history = quiet(genus.build(family, space), x, max_steps=3, batch_size=32, validation=None, compile=True)
    assert history.steps == 3
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"]
    assert not torch._dynamo.utils.counters["graph_break"]


@pytest.mark.nightly
@pytest.mark.usefixtures("traced")
def test_losses_with_gradients_of_gradients_go_on_uncompiled():
    space, x = Space([Real()] * 2), torch.randn(64, 2)
    model = genus.build("wgan-gp", space)
    with pytest.warns(UserWarning, match="double backward.*; training goes on without"):
        history = quiet(model, x, max_steps=3, batch_size=32, compile=True)
    assert history.steps == 3
    assert all(p.isfinite().all() for p in model.parameters())


def test_progress_goes_to_stderr_as_lines_or_as_a_bar(monkeypatch, capsys):
    monkeypatch.setattr("genus.training.terminal.EVERY", 0.0)
    fit(Gaussian(), X, max_steps=200)
    out, err = capsys.readouterr()
    assert out == ""
    assert "Gaussian: step 50 · nll" in err
    assert "nll" in err
    assert "validation" in err
    assert err.endswith("stopped by max_steps\n")
    quiet(Gaussian(), max_steps=100)
    assert capsys.readouterr() == ("", "")

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    fit(Gaussian(), X, max_steps=200)
    assert "━" in terminal.getvalue()
    assert "step 50" in terminal.getvalue()


def test_history_goes_to_frames_plots_and_json():
    pandas = pytest.importorskip("pandas")
    history = quiet(Gaussian(), max_steps=120)
    assert [row["step"] for row in history.rows] == [0, 50, 100, 120]
    assert history.rows[0]["nll"] is None
    table = history.to_frame()
    assert table.column_names == ["step", "epoch", "seconds", "nll", "criterion"]
    assert table["criterion"].to_pylist() == [row["criterion"] for row in history.rows]
    assert isinstance(history.to_frame("pandas"), pandas.DataFrame)
    assert History.from_json(history.to_json()) == history
    axes = history.plot().axes[0]
    assert [line.get_label() for line in axes.lines] == ["nll", "validation", "best"]
    assert list(axes.lines[1].get_ydata()) == [row["criterion"] for row in history.rows]
    assert History().plot().axes


def test_a_loss_that_is_not_one_number_is_refused_in_words():
    model = Gaussian()
    loss = Loss("rows", model.parameters(), lambda x, c: -model._log_prob(x, c))
    with pytest.raises(TrainingError, match="A loss must be one number"):
        quiet(model, losses=[loss], max_steps=1)


def test_batches_of_long_sequences_are_few_rows() -> None:
    assert [batch_size_for(n) for n in (10, 500, 50_000)] == [10, 64, 512]
    assert [batch_size_for(50_000, length) for length in (16, 256, 4_000, 100_000)] == [512, 32, 2, 1]


def test_a_share_held_out_does_not_copy_the_rest() -> None:
    space = genus.Space(genus.Lattice(0, 255), shape=(8, 8))
    x = torch.randint(0, 256, (100, 8, 8), dtype=torch.uint8)
    train, held = prepare(genus.NaiveBayes(space), x, 0.2, seed=0)
    assert held is not None
    assert (len(train), len(held)) == (80, 20)
    assert train.x.data_ptr() == x.data_ptr()
    everything = torch.cat([train[:].x, held.x]).flatten(1)
    assert everything.dtype == torch.float32
    assert sorted(everything.tolist()) == sorted(x.flatten(1).tolist())
    assert torch.equal(train[torch.tensor([3, 5])].x, train[:].x[[3, 5]])
    assert torch.equal(train[3:5].x, train[:].x[3:5])


@pytest.mark.parametrize("count", [100, 30_000])
def test_what_a_model_begins_with_are_rows_that_train(count: int) -> None:
    met: list[Tensor] = []

    class Watching(genus.MAF):
        def _initialise(self, x: Tensor, c: Tensor | None = None) -> None:
            met.append(x)

    x = torch.arange(count, dtype=torch.float32)[:, None]
    model = Watching(genus.Space([genus.Real()]), transforms=1, hidden=(4,))
    kept, out = prepare(model, x, 0.1, seed=0)
    assert out is not None
    fit(model, x, max_steps=1, progress=False)
    assert not set(met[0].flatten().tolist()) & set(out.x.flatten().tolist())
    assert len(met[0]) == min(len(kept), 8192)


def test_what_is_evaluated_once_is_evaluated_on_all_validation_rows() -> None:
    """A chain has no density before it has counted; so nothing is to be timed, nor left out, where the seconds are few."""
    space = Space(Category(("a", "b")), shape=(4,), sequence=True)
    x = torch.randint(0, 2, (900, 4), generator=torch.Generator().manual_seed(0)).float()
    limited, free = (genus.MarkovChain(space, order=1) for _ in range(2))
    histories = [genus.fit(limited, x[:500], validation=x[500:], max_seconds=1e-3, progress=False)]
    histories.append(genus.fit(free, x[:500], validation=x[500:], progress=False))
    assert histories[0].rows[-1]["criterion"] == histories[1].rows[-1]["criterion"]


def test_the_only_evaluation_takes_a_tenth_of_the_time_at_most() -> None:
    """The copula of 784 pixels scored 400 rows for a minute, after 20 seconds of learning."""
    rows: list[int] = []

    class Slow(genus.NaiveBayes):
        def criterion(self, x: Tensor, c: Tensor | None = None) -> float:
            rows.append(len(x))
            time.sleep(0.001 * len(x))
            return 0.0

    x = torch.randn(4_000, 2, generator=torch.Generator().manual_seed(0))
    genus.fit(Slow(Space.measure(x)), x[:500], validation=x[500:], max_seconds=5, progress=False)
    assert sum(rows) < 2_000  # of which the rows that were timed are a part
    assert rows[-1] > 500


def test_few_long_sequences_are_evaluated_where_seconds_are_few() -> None:
    """256 recordings of 2,000 samples took half of a short training before its first step."""
    rows: list[int] = []

    class Counting(genus.GPT):
        def criterion(self, x: Tensor, c: Tensor | None = None) -> float:
            rows.append(len(x))
            return super().criterion(x, c)

    space = Space(Category(("a", "b")), shape=(2_048,), sequence=True)
    x = torch.randint(0, 2, (400, 2_048), generator=torch.Generator().manual_seed(0)).float()
    model = Counting(space, width=8, layers=1, heads=1, window=8)
    genus.fit(model, x[:100], validation=x[100:], max_seconds=1e-3, progress=False)
    assert max(rows) == 2**17 // 2_048


def test_a_step_of_fit_does_not_wait_for_a_gpu() -> None:
    """What waits is done once, or when rows are evaluated; the number of steps changes nothing."""
    x, counts = torch.randn(2000, 2, generator=torch.Generator().manual_seed(0)), []
    for steps in (10, 30):
        with Waits() as waits:
            fit(
                genus.MAF(Space([Real(), Real()]), transforms=1, hidden=(8,)),
                x,
                max_steps=steps,
                validation=None,
                progress=False,
            )
        counts.append(waits.count)
    assert counts[0] == counts[1]
