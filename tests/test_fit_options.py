"""Training as people wish it: schedules, optimizers, row weights, accumulated gradients, loggers and callbacks of their own."""

from __future__ import annotations

import csv
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.loggers import CSVLogger, TensorBoardLogger

import genus
from genus import MADE, MAF, Category, DataError, Lattice, Real, Space, TrainingError
from genus.models import NaiveBayes
from genus.training.rows import prepare

X = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
REALS = Space([Real(), Real()])
COIN = Space([Lattice(0, 1)])


def flow(seed: int = 0) -> MAF:
    torch.manual_seed(seed)
    return MAF(REALS, transforms=1, hidden=(8,))


def quiet(model: Any, data: Any = X, **options: Any) -> genus.History:
    return genus.fit(model, data, **({"progress": False, "max_steps": 4, "batch_size": 50} | options))


def weights(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


# -- schedule, optimizer, accumulation ------------------------------------------------------------------------------------


def test_a_schedule_of_ones_own_is_a_function_of_the_share_that_is_spent() -> None:
    asked: list[float] = []

    def half(spent: float) -> float:
        asked.append(spent)
        return 0.5

    own, same = flow(), flow()
    quiet(own, lr_schedule=half, learning_rate=0.02)
    quiet(same, lr_schedule="constant", learning_rate=0.01)
    assert asked == [0.0, 0.25, 0.5, 0.75]
    assert torch.equal(weights(own), weights(same))
    with pytest.raises(TrainingError, match="functions of a share"):
        quiet(flow(), lr_schedule=3)


def test_an_optimizer_of_ones_own_takes_adams_place(tmp_path: Path) -> None:
    """A step of SGD without momentum is the gradient times the rate."""
    model = flow()
    model.initialise(X)
    before = weights(model)
    loss = -model.log_prob(X).mean()
    gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])
    how = {"validation": None, "batch_size": 200, "lr_schedule": "constant", "max_grad_norm": None, "weight_decay": 0.0}
    quiet(model, max_steps=1, optimizer=partial(torch.optim.SGD, lr=0.1), **how)
    torch.testing.assert_close(weights(model), before - 0.1 * gradient, atol=1e-6, rtol=1e-4)
    model = flow()
    model.initialise(X)
    quiet(model, max_steps=1, optimizer=partial(torch.optim.SGD, lr=0.1), learning_rate=0.2, **how)  # fit's own rate wins
    torch.testing.assert_close(weights(model), before - 0.2 * gradient, atol=1e-6, rtol=1e-4)
    with pytest.raises(TrainingError, match="must return an optimizer of torch's; it returned a list"):
        quiet(flow(), optimizer=list)
    with pytest.raises(TrainingError, match="optimizer must be a function"):
        quiet(flow(), optimizer="sgd")


@pytest.mark.parametrize("made", [torch.optim.SGD, torch.optim.RMSprop, torch.optim.Adagrad])
def test_a_training_with_an_own_optimizer_goes_on_bit_for_bit(made: Any, tmp_path: Path) -> None:
    how = {"optimizer": partial(made, lr=0.01), "lr_schedule": "constant", "checkpoint": tmp_path / "a.ckpt", "accumulate": 2}
    whole, parts = flow(), flow()
    quiet(whole, max_steps=8, **how)
    quiet(parts, max_steps=4, **how)
    quiet(parts, max_steps=8, resume=True, **how)
    assert torch.equal(weights(whole), weights(parts))
    for other in ({"optimizer": partial(made, lr=0.02)}, {"accumulate": 1}, {"row_weights": torch.ones(200)}):
        with pytest.raises(TrainingError, match=f"{next(iter(other))} was"):
            quiet(flow(), max_steps=8, resume=True, **(how | other))


def test_accumulated_gradients_are_those_of_the_batch() -> None:
    seen: list[int] = []
    whole, parts = flow().double(), flow().double()
    own = parts.losses()[0]

    def value(x: torch.Tensor, c: torch.Tensor | None) -> torch.Tensor:
        seen.append(len(x))
        return own.value(x, c)

    how = {"validation": None, "lr_schedule": "constant"}
    quiet(whole, X.double(), losses=whole.losses(), **how)
    quiet(parts, X.double(), losses=[replace(own, value=value)], accumulate=3, **how)
    assert seen == [17, 17, 16] * 4
    torch.testing.assert_close(weights(parts), weights(whole), atol=1e-10, rtol=1e-8)
    with pytest.raises(TrainingError, match="accumulate must be positive"):
        quiet(flow(), accumulate=0)


# -- weights of rows ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("validation", [None, 0.2])
def test_rows_are_drawn_by_their_weights(validation: float | None) -> None:
    x = torch.tensor([0.0, 1.0]).repeat(500).unsqueeze(1)
    weigh = torch.tensor([1.0, 3.0]).repeat(500)
    torch.manual_seed(0)
    model = MADE(COIN, hidden=(8,))
    quiet(model, x, row_weights=weigh, max_steps=300, learning_rate=0.02, validation=validation, batch_size=100, patience=100)
    assert model.log_prob(torch.tensor([[1.0]])).exp().item() == pytest.approx(0.75, abs=0.05)


def test_validation_rows_are_drawn_by_weights_too() -> None:
    train, held = prepare(flow(), X, 0.5, 0, X[:, 0] > 0)
    assert held is not None
    assert len(held) == len(train) == 100
    assert bool((held.x[:, 0] > 0).all())
    assert held.weights is None


def test_counts_are_weighed_exactly() -> None:
    x = torch.tensor([[0.0], [1.0], [1.0]])
    c = torch.tensor([[0.0], [0.0], [1.0]])
    whose = Space([Category(("a", "b"))])
    weighed, repeated = (NaiveBayes(Space([Lattice(0, 1)]), whose) for _ in range(2))
    genus.fit(weighed, (x, c), row_weights=[3, 0, 2], progress=False)
    index = [0, 0, 0, 2, 2]
    genus.fit(repeated, (x[index], c[index]), progress=False)
    assert torch.equal(weighed.log_prob(x, c), repeated.log_prob(x, c))
    assert torch.equal(weighed.context_counts, repeated.context_counts)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ([1.0, 2.0], "one number for each of 200 rows"),
        (-torch.ones(200), "at least 0"),
        (torch.zeros(200), "not all of them 0"),
    ],
)
def test_weights_that_fit_no_rows_are_refused(bad: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        quiet(flow(), row_weights=bad)


@pytest.mark.parametrize("family", ["mixture", "trees", "stack"])
def test_families_that_do_not_weigh_rows_say_so(family: str) -> None:
    data = genus.read("iris")
    with pytest.raises(TrainingError, match="does not weigh rows"):
        genus.fit(genus.build(family, data.space), data, row_weights=torch.ones(150), progress=False)


# -- Fabric's loggers and callbacks ---------------------------------------------------------------------------------------


def logged(logger: CSVLogger) -> list[dict[str, str]]:
    with open(Path(logger.log_dir) / "metrics.csv", encoding="utf-8") as file:
        return list(csv.DictReader(file))


class Diary:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []

    def on_fit_start(self, model: genus.GenerativeModel) -> None:
        self.told.append(("start", model.name))

    def on_train_batch_end(self, step: int, losses: dict[str, torch.Tensor]) -> None:
        self.told.append(("step", (step, {name: float(loss) for name, loss in losses.items()})))

    def on_evaluation(self, row: dict[str, Any]) -> None:
        self.told.append(("evaluation", row["step"]))

    def on_fit_end(self, model: genus.GenerativeModel, history: genus.History) -> None:
        self.told.append(("end", history.steps))


class OneHook:
    """Has one hook, and of that some arguments."""

    def on_train_batch_end(self, step: int) -> None:
        self.last = step


def test_callbacks_are_called_in_their_order() -> None:
    diary, one = Diary(), OneHook()
    quiet(flow(), fabric=Fabric(accelerator="cpu", callbacks=[diary, one]))
    kinds = [kind for kind, _ in diary.told]
    assert kinds == ["start", "evaluation", "step", "step", "step", "step", "evaluation", "end"]
    assert [step for kind, (step, _) in [t for t in diary.told if t[0] == "step"]] == [1, 2, 3, 4]
    assert all(set(losses) == {"nll"} for kind, told in diary.told if kind == "step" for losses in [told[1]])
    assert diary.told[-1] == ("end", 4)
    assert one.last == 4


@pytest.mark.parametrize("family", ["naive-bayes", "mixture", "gan", "stack"])
def test_every_way_of_learning_tells_its_callbacks_and_loggers(family: str, tmp_path: Path) -> None:
    data, diary, logger = genus.read("iris"), Diary(), CSVLogger(tmp_path)
    hyper: dict[str, Any] = {"members": ["naive-bayes"], "folds": 1} if family == "stack" else {}
    fabric = Fabric(accelerator="cpu", callbacks=[diary], loggers=[logger])
    genus.fit(genus.build(family, data.space, seed=0, **hyper), data, max_steps=3, progress=False, fabric=fabric)
    assert diary.told[0][0] == "start"
    assert "evaluation" in [kind for kind, _ in diary.told]
    assert diary.told[-1][0] == "end"
    assert [kind for kind, _ in diary.told].count("step") == (3 if family == "gan" else 0)
    assert logged(logger)


def test_lightnings_csv_logger_holds_the_history(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path, name="maf")
    history = quiet(flow(), fabric=Fabric(accelerator="cpu", loggers=[logger]))
    rows = logged(logger)
    assert [int(row["step"]) for row in rows] == [row["step"] for row in history.rows]
    assert [float(row["criterion"]) for row in rows] == pytest.approx([row["criterion"] for row in history.rows])


def test_loggers_keep_what_was_logged_before_an_error(tmp_path: Path) -> None:
    class Broken:
        def on_train_batch_end(self, step: int) -> None:
            raise ValueError("enough")

    logger = CSVLogger(tmp_path)
    with pytest.raises(ValueError, match="enough"):
        quiet(flow(), fabric=Fabric(accelerator="cpu", loggers=[logger], callbacks=[Broken()]))
    assert len(logged(logger)) == 1


def test_tensorboard_reads_what_its_logger_wrote(tmp_path: Path) -> None:
    events = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="tensorboard is not installed"
    )
    logger = TensorBoardLogger(tmp_path)
    history = quiet(flow(), fabric=Fabric(accelerator="cpu", loggers=[logger]))
    found = events.EventAccumulator(logger.log_dir)
    found.Reload()
    scalars = {event.step: event.value for event in found.Scalars("criterion")}
    assert scalars == pytest.approx({row["step"]: row["criterion"] for row in history.rows})


def test_mlflow_in_a_file_of_sqlite_holds_the_history(tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed")
    from lightning_fabric.loggers import Logger

    class MLflow(Logger):
        """The logger of docs/python.md."""

        name, version = "mlflow", None

        def log_metrics(self, metrics: Any, step: int | None = None) -> None:
            mlflow.log_metrics(metrics, step)

        def log_hyperparams(self, params: Any) -> None:
            mlflow.log_params(params)

    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'runs.db'}")
    mlflow.set_experiment(experiment_id=mlflow.create_experiment("genus", artifact_location=str(tmp_path / "files")))
    with mlflow.start_run() as run:
        history = quiet(flow(), fabric=Fabric(accelerator="cpu", loggers=[MLflow()]))
    kept = mlflow.MlflowClient().get_metric_history(run.info.run_id, "criterion")
    assert {one.step: one.value for one in kept} == pytest.approx({row["step"]: row["criterion"] for row in history.rows})
