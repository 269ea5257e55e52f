"""Damaged and hostile files: refused in a sentence, before memory is given to them; a short, seeded run of the campaign."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import genus
from genus import Category, Lattice, ModelFileError, Real, Space, TrainingError
from genus.files import describe, read_tensors, write_tensors

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.reliability.campaign import PARTS, part, run_part
from benchmarks.reliability.worker import MEGABYTE, forked

REALS = Space([Real(), Real()])
VAE = genus.VAE(Space([Real(), Category(("a", "b"))]), hidden=[8], latent=2)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.mark.parametrize("name", [name for name in PARTS if name != "checkpoints"])
def test_a_short_campaign_finds_nothing(name: str, home: Path) -> None:
    count = 24 if name == "models" else 8
    result = run_part(name, part(name, 1, home, ("vae", "markov")), 0, count, seconds=60)
    assert not result.faults, result


@pytest.mark.nightly
@pytest.mark.parametrize("name", PARTS)
def test_a_longer_campaign_finds_nothing(name: str, home: Path) -> None:
    result = run_part(name, part(name, 2, home), 0, 1000, seconds=200)
    assert not result.faults, result


# -- model files ----------------------------------------------------------------------------------------------------------


def test_a_flipped_bit_is_refused(tmp_path: Path) -> None:
    path, rng = tmp_path / "m.genus", random.Random(0)
    genus.save(VAE, path)
    whole = path.read_bytes()
    for at in [8 * len(whole) - 1, *(rng.randrange(8 * len(whole)) for _ in range(60))]:
        data = bytearray(whole)
        data[at // 8] ^= 1 << at % 8
        path.write_bytes(data)
        with pytest.raises(ModelFileError, match=r"m\.genus (is damaged|is not a complete|is a safetensors file|has format)"):
            genus.load(path)


def bytes_needed(work: Callable[[], Any], folder: Path) -> int:
    """The most memory that a process takes for some work, beyond one that does nothing."""

    def quietly() -> int:
        work()
        return 0

    return forked(quietly, folder).peak - forked(lambda: 0, folder).peak


@pytest.mark.parametrize(
    ("model", "changes"),
    [
        (VAE, {"space": {"kinds": [Lattice(0, 255).to_json()], "shape": [1000, 1000], "names": None}}),
        (VAE, {"config": {"hidden": [30_000, 30_000]}}),
        (VAE, {"config": {"hidden": [8] * 200_000}}),
        (genus.MAF(REALS, hidden=[8], transforms=1), {"config": {"transforms": 10**6}}),
        (genus.NaiveBayes(REALS), {"space": {"kinds": [Lattice(0, 255).to_json()], "shape": [1000, 1000], "names": None}}),
        (genus.Mixture(REALS, components=2), {"config": {"components": 10**6}}),
        (genus.MADE(REALS, hidden=[8], components=2), {"config": {"components": 10**6}}),
    ],
    ids=lambda value: value.name if isinstance(value, genus.GenerativeModel) else str(value)[:40],
)
def test_a_file_that_asks_for_much_gets_no_memory(
    model: genus.GenerativeModel, changes: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    header = describe(model)
    header |= {key: header[key] | value for key, value in changes.items()}
    write_tensors(tmp_path / "m.genus", model.state_dict(), header)

    def refused() -> None:
        with pytest.raises(ModelFileError, match=r"asks for|does not describe"):
            genus.load(tmp_path / "m.genus")

    refused()
    assert bytes_needed(refused, tmp_path) < 64 * MEGABYTE


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_numbers_that_are_not_finite_are_refused_unless_a_buffer_may_hold_them(value: float, tmp_path: Path) -> None:
    tensors = {name: tensor.clone() for name, tensor in VAE.state_dict().items()}
    name = next(iter(dict(VAE.named_parameters())))
    tensors[name].view(-1)[0] = value
    write_tensors(tmp_path / "m.genus", tensors, describe(VAE))
    with pytest.raises(ModelFileError, match=f"{name} holds numbers that are not finite"):
        genus.load(tmp_path / "m.genus")
    counted = genus.NaiveBayes(Space([Real(), Category(("a", "b", "never"))]), smoothing=0.0)
    genus.save(counted, tmp_path / "new.genus")  # its deviations are NaN until it has counted
    genus.load(tmp_path / "new.genus")
    genus.fit(counted, torch.stack([torch.randn(20), torch.arange(20.0) % 2], 1), progress=False)
    assert counted.product.log_table.isinf().any()
    genus.save(counted, tmp_path / "counted.genus")
    genus.load(tmp_path / "counted.genus")
    counted.product.std[:] = torch.nan
    with pytest.raises(ModelFileError, match="std holds numbers that are not finite"):
        genus.save(counted, tmp_path / "counted.genus")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int64])
def test_tensors_of_another_type_are_refused(dtype: torch.dtype, tmp_path: Path) -> None:
    tensors = {name: tensor.to(dtype) if name == "centre" else tensor for name, tensor in VAE.state_dict().items()}
    write_tensors(tmp_path / "m.genus", tensors, describe(VAE))
    with pytest.raises(ModelFileError, match=r"centre is of torch\.\w+, and expected of torch\.float32"):
        genus.load(tmp_path / "m.genus")


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("codec", "dtypes", 0), 3),
        (("codec", "dtypes", 0), "../../etc/passwd"),
        (("codec", "container"), "os"),
        (("space", "kinds", 1, "levels"), ["a", 3]),
        (("space", "kinds", 0, "loc"), True),
        (("space", "names", 0), 7),
        (("space", "shape", 0), 2.0),
    ],
)
def test_forms_and_kinds_are_checked_when_a_file_is_loaded(where: tuple[Any, ...], value: Any, tmp_path: Path) -> None:
    data = genus.read({"x": [0.5 * i * i for i in range(60)], "who": ["a", "b"] * 30})
    model = genus.NaiveBayes(data.space)
    genus.fit(model, data, progress=False)
    genus.save(model, tmp_path / "m.genus")
    tensors, header = read_tensors(tmp_path / "m.genus")
    inner: Any = header
    for key in where[:-1]:
        inner = inner[key]
    inner[where[-1]] = value
    write_tensors(tmp_path / "m.genus", tensors, header)
    with pytest.raises(ModelFileError, match="does not describe a model"):
        genus.load(tmp_path / "m.genus")


# -- checkpoints ----------------------------------------------------------------------------------------------------------


def stopped_training(path: Path, x: torch.Tensor) -> genus.GenerativeModel:
    model = genus.MAF(REALS, hidden=[4], transforms=1)
    genus.fit(model, x, max_steps=6, checkpoint=path, checkpoint_every=3, seed=0, validation=None, progress=False)
    return model


def test_a_resumed_training_knows_all_its_rows(tmp_path: Path) -> None:
    x = torch.randn(3000, 2, generator=torch.Generator().manual_seed(0))
    model, path = stopped_training(tmp_path / "c", x), tmp_path / "c"
    for row in (0, 1500, 2999):
        other = x.clone()
        other[row, 1] += 1e-6 if row else 1.0
        with pytest.raises(TrainingError, match="content of the data"):
            genus.fit(model, other, max_steps=9, checkpoint=path, resume=True, seed=0, validation=None, progress=False)
    genus.fit(model, x, max_steps=9, checkpoint=path, resume=True, seed=0, validation=None, progress=False)


CHANGES: dict[str, Callable[[dict[str, torch.Tensor], dict[str, Any]], Any]] = {
    "a scalar for a matrix": lambda t, h: t.update({"optimizer/0/0/exp_avg_sq": torch.tensor(5)}),  # Adam writes beyond it
    "a state that lacks": lambda t, h: t.pop("optimizer/0/0/exp_avg"),
    "no such parameter": lambda t, h: t.update({"optimizer/0/99/step": torch.tensor(1.0)}),
    "weights that are gone": lambda t, h: t.pop(next(name for name in t if name.startswith("weights/"))),
    "the best of another": lambda t, h: t.pop(next(name for name in t if name.startswith("best/"))),
    "a random state": lambda t, h: t.update({"random/cpu": torch.zeros(3, dtype=torch.uint8)}),
    "a step": lambda t, h: h["training"].update(step="7"),
    "seconds": lambda t, h: h["training"].update(seconds=float("nan")),
    "a history": lambda t, h: h["training"].update(history={"rows": [3]}),
    "settings": lambda t, h: h.update(settings=[]),
    "a training": lambda t, h: h.update(training=None),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_checkpoint_that_somebody_changed_is_refused(what: str, tmp_path: Path) -> None:
    x, path = torch.randn(64, 2, generator=torch.Generator().manual_seed(0)), tmp_path / "c"
    model = stopped_training(path, x)
    tensors, header = read_tensors(path)
    CHANGES[what](tensors, header)
    write_tensors(path, tensors, header)
    with pytest.raises((TrainingError, ModelFileError), match=r"pass resume=False|Cannot resume"):
        genus.fit(model, x, max_steps=9, checkpoint=path, resume=True, seed=0, validation=None, progress=False)
