"""Damaged and hostile files: refused in a sentence, before memory is given to them; a short, seeded run of the campaign."""

from __future__ import annotations

import contextlib
import math
import os
import random
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

import genus
from genus import Category, DataError, GenusError, Lattice, ModelFileError, Real, Space, TrainingError
from genus.atomic import HOST, atomic_write
from genus.cli import main
from genus.cli.errors import explain
from genus.codec.columns import level_array
from genus.codec.text import Characters
from genus.files import describe, read_tensors, write_tensors
from genus.models.bases import Student
from genus.models.maximising import clusters
from genus.nets.state import NoMoreThan
from genus.random import draw_indices
from genus.training.history import History
from genus.training.options import FitOptions

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.reliability.campaign import PARTS, part, run_part
from benchmarks.reliability.serving import end_serving
from benchmarks.reliability.worker import MEGABYTE, forked

REALS = Space([Real(), Real()])
VAE = genus.VAE(Space([Real(), Category(("a", "b"))]), hidden=[8], latent=2)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.mark.parametrize(
    "name", ["npz", pytest.param("csv", marks=pytest.mark.nightly), pytest.param("models", marks=pytest.mark.nightly)]
)  # make nightly has all
def test_a_short_campaign_finds_nothing(name: str, home: Path) -> None:
    count = 12 if name == "models" else 4
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
        pytest.param(VAE, {"config": {"hidden": [8] * 200_000}}, marks=pytest.mark.nightly),
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
    ("model", "name"),
    [
        (genus.MADE(REALS, hidden=[8], components=2), "orders"),
        (genus.NSF(REALS, hidden=[8], transforms=2), "order"),
    ],
    ids=["made", "linear"],
)
def test_orders_name_every_coordinate_once(model: genus.GenerativeModel, name: str, tmp_path: Path) -> None:
    tensors = {key: value.clone() for key, value in model.state_dict().items()}
    next(value for key, value in tensors.items() if key.endswith(f"{name}")).view(-1)[0] = 2**40
    write_tensors(tmp_path / "m.genus", tensors, describe(model))
    with pytest.raises(ModelFileError, match=r"must (each )?name"):
        genus.load(tmp_path / "m.genus")


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("codec", "dtypes", 0), 3),
        (("codec", "dtypes", 0), "../../etc/passwd"),
        (("codec", "container"), "os"),
        (("codec", "native"), ["float64"]),
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


@pytest.mark.parametrize(
    ("family", "space"),
    [
        pytest.param("chow-liu", Space([Category(("a", "b"))] * 300), marks=pytest.mark.nightly),
        ("trees", Space([Real()] * 200)),
        ("real-nvp", Space(Real(), shape=(64, 64))),
        ("parallel-wavenet", Space(Real(), shape=(4000,), sequence=True)),
    ],
    ids=["chow-liu", "trees", "real-nvp", "parallel-wavenet"],
)
def test_large_models_that_are_honest_are_loaded(family: str, space: Space, tmp_path: Path) -> None:
    hyper = {"width": 16, "layers": [10, 10, 10]} if family == "parallel-wavenet" else {}
    genus.save(genus.build(family, space, seed=0, **hyper), tmp_path / "m.genus")
    assert genus.load(tmp_path / "m.genus").space == space


def test_a_refusal_leaves_gradients_as_they_were() -> None:
    def endless() -> None:
        with NoMoreThan([]):
            while True:
                with torch.no_grad():
                    torch.zeros(1)

    with pytest.raises(ValueError, match="far more parts"):
        endless()
    assert torch.is_grad_enabled()


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
    "the best of another shape": lambda t, h: t.update({name: t[name][None] for name in t if name.startswith("best/")}),
    "the best in words": lambda t, h: h["training"]["best"].update(waited="category"),
    "a step of the best": lambda t, h: h["training"]["best"].update(step=-1),
    "a sum": lambda t, h: h["training"].update(losses=[["1", 0.0, 1]] * len(h["training"]["losses"])),
    "a scale": lambda t, h: h["training"]["history"].update(scale="1"),
    "a row": lambda t, h: h["training"]["history"]["rows"][0].update(watched={"active units": None}),
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


def test_a_training_of_changed_sizes_is_refused_at_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "t.csv").write_text("a,b\n" + "".join(f"{i / 7:.3f},{i * i % 11 / 3:.3f}\n" for i in range(64)))
    words = ["fit", str(tmp_path / "t.csv"), "--family", "gan", "--set", "hidden=8", "--steps", "9", "--out"]
    words += [str(tmp_path / "m.genus"), "--checkpoint", str(tmp_path / "c"), "--quiet"]
    x = torch.randn(64, 2, generator=torch.Generator().manual_seed(0))
    stopped_training(tmp_path / "c", x)
    tensors, header = read_tensors(tmp_path / "c")
    hyper = header["settings"]["hyper-parameters"]
    for changed in ({"game": -math.inf}, {"hidden": [10**6, 10**6]}, {"latent": None}):
        write_tensors(tmp_path / "c", tensors, {**header, "settings": {"hyper-parameters": {**hyper, **changed}}})
        assert main([*words, "--resume"]) == 1
        assert "unexpected" not in capsys.readouterr().err
    monkeypatch.setattr("genus.training.checkpoint.UNBELIEVABLE", ())
    write_tensors(tmp_path / "c", tensors, {**header, "settings": {"hyper-parameters": {"game": -math.inf}}})
    assert main([*words, "--resume"]) == 1
    assert "unexpected" in capsys.readouterr().err


# -- bytes ----------------------------------------------------------------------------------------------------------------


def test_what_a_header_says_of_size_is_looked_up_before_memory_is_given(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "a.pgm").write_bytes(b"P5 5000 5000 255\n" + b"0" * 100)
    with pytest.raises(genus.DataError, match=r"a\.pgm has 5,000 x 5,000 pixels, more than the 16,777,216"):
        genus.read(folder)
    header = {"descr": "<f8", "fortran_order": False, "shape": (10**15, 2)}
    with open(tmp_path / "lying.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        file.write(b"0" * 64)
    with pytest.raises(genus.DataError, match=r"Cannot read .*lying\.npy as \.npy"):
        genus.read(tmp_path / "lying.npy")
    (tmp_path / "long.csv").write_bytes(b"a," * 600_000 + b"a\n1,2\n")
    with pytest.raises(genus.DataError, match=r"The first line of .*long\.csv has more than 1,048,576 bytes"):
        genus.read(tmp_path / "long.csv")


def test_pillow_opens_the_named_formats_only(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n%%EOF\n")
    with pytest.raises(genus.DataError, match="is not an image that can be read"):
        genus.read(tmp_path)


def test_texts_of_arrow_that_are_no_text_are_refused(tmp_path: Path) -> None:
    offsets, data = pa.py_buffer(np.array([0, 2, 4], np.int32)), pa.py_buffer(b"ab\xff\xfe")
    column = pa.Array.from_buffers(pa.string(), 2, [None, offsets, data])
    with pa.OSFile(str(tmp_path / "a.arrow"), "wb") as file, pa.ipc.new_file(file, pa.schema({"a": pa.string()})) as writer:
        writer.write_batch(pa.record_batch([column], names=["a"]))
    with pytest.raises(genus.DataError, match=r"Cannot read .*a\.arrow as \.arrow"):
        genus.read(tmp_path / "a.arrow")


# -- writing --------------------------------------------------------------------------------------------------------------


def test_numbers_of_16_bits_and_texts_that_are_no_unicode_are_read_or_a_sentence(tmp_path: Path) -> None:
    halves = pa.table({"h": pa.array(np.arange(60, dtype=np.float16)), "d": pa.array(np.arange(60) % 7)})
    data = genus.read(halves)
    drawn = data.decode(data.x)
    assert drawn.schema == halves.schema
    assert drawn["h"].to_pylist() == list(range(60))
    texts = np.array(["a", "b"] * 30)
    texts.view(np.uint32)[3] = 0x7FFFFFFF
    with pytest.raises(genus.DataError, match="'x' holds text that is no Unicode"):
        genus.read({"x": texts})
    blank = np.where(np.arange(60) == 9, "", texts)
    np.savez(tmp_path / "t.npz", x=blank)
    with pytest.raises(genus.DataError, match="'x' holds text that is no Unicode"):
        genus.read(tmp_path / "t.npz")
    with pytest.raises(genus.DataError, match="whole numbers beyond"):
        genus.read(np.arange(2**60, 2**60 + 2400, dtype=np.int64).reshape(60, 40), sequence=True)


def test_an_option_of_hundreds_of_digits_is_a_sentence() -> None:
    with pytest.raises(TrainingError, match="batch_size must be a number, or None; got one of 401 digits"):
        FitOptions(batch_size=10**400)


def test_levels_of_several_types_are_a_sentence() -> None:
    with pytest.raises(genus.DataError, match=r"must be all texts, all numbers, or all true and false; got \(2147483648, True"):
        level_array((2**31, True))


def test_a_recording_that_lies_of_its_rate_is_refused(tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    soundfile.write(tmp_path / "a.wav", np.sin(np.arange(2000) / 7), 8000)
    content = bytearray((tmp_path / "a.wav").read_bytes())
    content[24:28] = (134_225_728).to_bytes(4, "little")
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(genus.DataError, match="says that it has 134,225,728 samples a second; expected 1,000,000 at most"):
        genus.read(tmp_path / "a.wav", rate=4000)


def test_students_far_from_their_start_are_no_error() -> None:
    base = Student(2)
    base.log_degrees.data[:] = torch.nan
    assert bool(base.log_prob(torch.zeros(3, 2)).isnan().all())  # a training says so by its loss


def test_what_a_killed_process_left_is_removed_by_the_next_write(tmp_path: Path) -> None:
    gone = forked(lambda: print(os.getpid()) or 0, tmp_path)  # type: ignore[func-returns-value]
    stale = tmp_path / f"m.genus.{HOST}-{int(gone.out)}-01234567.part"
    alive = tmp_path / f"m.genus.{HOST}-{os.getpid()}-01234567.part"
    for path in (stale, alive):
        path.write_text("half")
    genus.save(VAE, tmp_path / "m.genus")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["m.genus", alive.name])


def test_a_full_disk_is_a_sentence_and_a_checkpoint_that_cannot_be_written_a_warning(tmp_path: Path) -> None:
    def save() -> int:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
        with pytest.raises(ModelFileError, match=r"Cannot write .*m\.genus"):
            genus.save(VAE, "m.genus")
        with pytest.warns(UserWarning, match="checkpoint could not be written, and the training goes on"):
            stopped_training(Path("c"), torch.randn(64, 2))
        return 0

    outcome = forked(save, tmp_path)
    assert outcome.code == 0, outcome.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_command_and_leaves_nothing(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    genus.save(genus.MAF(REALS, hidden=[4], transforms=1), tmp_path / "m.genus")
    monkeypatch.setattr(genus.MAF, "_sample", lambda *a: _half_written(tmp_path / "new.csv", number))
    outcome = forked(
        lambda: main(["sample", str(tmp_path / "m.genus"), "-n", "3", "--out", str(tmp_path / "new.csv")]), tmp_path
    )
    assert (outcome.code, outcome.out) == (128 + number, "")
    assert outcome.err == f"genus: ended by {signal.Signals(number).name}; nothing half-written is left.\n"
    assert [path.name for path in tmp_path.iterdir()] == ["m.genus"]


def test_a_signal_that_a_library_turns_into_an_error_is_that_signal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def turned(*a: Any, **k: Any) -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        except BaseException as error:
            raise RuntimeError("a callback failed") from error

    monkeypatch.setattr("genus.data.read", turned)
    assert main(["describe", "iris"]) == 128 + signal.SIGTERM
    assert capsys.readouterr().err == "genus: ended by SIGTERM; nothing half-written is left.\n"

    def interrupted(*a: Any, **k: Any) -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as error:
            raise ImportError("cannot import name") from error

    monkeypatch.setattr("genus.data.read", interrupted)
    assert main(["describe", "iris"]) == 130
    assert capsys.readouterr().err == "genus: interrupted.\n"

    def swallowed(*a: Any, **k: Any) -> None:  # as safetensors does, whose error says nothing of it
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        raise RuntimeError("could not determine the shape")

    monkeypatch.setattr("genus.data.read", swallowed)
    assert main(["describe", "iris"]) == 130
    assert capsys.readouterr().err == "genus: interrupted.\n"
    monkeypatch.setattr("genus.data.read", lambda *a, **k: 1 / 0)
    assert main(["describe", "iris"]) == 1
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_a_server_that_is_hung_up_ends_without_a_traceback(tmp_path: Path) -> None:
    pytest.importorskip("uvicorn")
    data = genus.read("iris")
    model = genus.NaiveBayes(data.space)
    genus.fit(model, data, progress=False)
    genus.save(model, tmp_path / "m.genus")
    (tmp_path / "here").mkdir()
    words = ["serve", str(tmp_path / "m.genus"), "--port", "PORT"]
    outcome = forked(lambda: end_serving(words, signal.SIGHUP, "during", random.Random(0)), tmp_path / "here")
    assert outcome.code == 128 + signal.SIGHUP, outcome.err
    assert "genus: ended by SIGHUP; nothing half-written is left." in outcome.err


def _half_written(path: Path, number: int) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text("half")
        signal.raise_signal(number)


def test_a_closed_stdout_and_a_terminal_without_letters_are_a_sentence(tmp_path: Path) -> None:
    def printing() -> int:
        sys.stdout, kept = None, sys.stdout  # type: ignore[assignment]
        code = main(["families"])
        sys.stdout = kept
        return code

    outcome = forked(printing, tmp_path)
    assert outcome.err.endswith("genus: stdout is closed, so nothing can be printed; open it, or use --out.\n")
    assert "which has no '\\xf6'" in explain(UnicodeEncodeError("ascii", "größe", 2, 3, "no"), [])[0]
    full = "cannot read or write the output: No space left on device; choose another place, or make room."
    assert explain(OSError(28, "No space left on device"), []) == (full, 1)


@pytest.mark.parametrize("weights", [[[0.5, math.nan]], [[0.0, 0.0]], [[1.0, -0.5]], [[math.inf, 1.0]]])
def test_weights_that_are_no_distribution_are_a_sentence(weights: list[list[float]]) -> None:
    with pytest.raises(GenusError, match="no probabilities to draw by"):
        draw_indices(torch.tensor(weights))


@pytest.mark.parametrize("odd", [math.nan, math.inf, 1e30])
def test_rows_that_are_infinitely_far_apart_have_no_clusters(odd: float) -> None:
    with pytest.raises(GenusError, match="no clusters to begin from"):
        clusters(torch.tensor([[0.0], [1.0], [odd]]), 2, seed=0)


def test_numbers_of_many_digits_are_no_arguments() -> None:
    with pytest.raises(GenusError, match="number of 1,329 bits is no argument"):
        genus.VAE(REALS, warm_up=10**400)


@pytest.mark.parametrize("rows", ["no rows", {"step": 1}, [3]])
def test_a_history_without_rows_is_none(rows: Any) -> None:
    with pytest.raises(ValueError, match="history has no rows"):
        History.from_json(History().to_json() | {"rows": rows})


@pytest.mark.parametrize("row", [{"watched": {"distance": 10**400}}, {"step": 10**400}, {"criterion": 10**400}])
def test_a_history_with_a_number_that_no_float_reaches_is_refused(row: dict[str, object]) -> None:
    rows = [{"step": 1, "epoch": 1.0, "seconds": 0.1, "criterion": 2.0} | row]
    with pytest.raises(ValueError, match="the history has a row"):
        genus.History.from_json({"rows": rows})


def test_a_symbol_that_is_no_character_of_the_codec_is_a_sentence() -> None:
    coding = Characters(["a", "b"])
    assert coding.decode(np.array([1, 0])) == "ba"
    with pytest.raises(DataError, match="Symbol 2 is none of the codec's 2 characters"):
        coding.decode(np.array([1, 2]))
