"""Model files and checkpoints: damaged byte by byte, and crafted ones whose header and tensors were changed on purpose."""

from __future__ import annotations

import copy
import json
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

import genus
from genus.cli import main
from genus.files import sealed

from .inputs import Inputs
from .mutations import damaged, damaged_json
from .worker import commands, forked

__all__ = ["CHECKPOINTS", "FAMILIES", "Models", "fit_words", "write_sources"]

# Small models of every family, and the data that each is fitted to.
FAMILIES: dict[str, tuple[str, list[str]]] = {
    "naive-bayes": ("table", []),
    "mixture": ("table", ["components=2"]),
    "chow-liu": ("table", ["states=4"]),
    "hclt": ("table", ["latent=2", "states=4", "epochs=2"]),
    "gaussian-copula": ("table", ["points=8"]),
    "trees": ("table", ["rounds=3", "bins=8"]),
    "made": ("table", ["hidden=12,12", "components=2"]),
    "vae": ("table", ["hidden=16", "latent=2"]),
    "iwae": ("table", ["hidden=16", "latent=2", "samples=2"]),
    "autoencoder": ("table", ["hidden=16", "latent=2"]),
    "vq-vae": ("table", ["hidden=16", "codes=2", "levels=3", "width=2"]),
    "gan": ("table", ["hidden=16", "latent=3"]),
    "wgan": ("table", ["hidden=16", "latent=3"]),
    "wgan-gp": ("table", ["hidden=16", "latent=3"]),
    "maf": ("numbers", ["hidden=8", "transforms=2"]),
    "iaf": ("numbers", ["hidden=8", "transforms=2"]),
    "nsf": ("numbers", ["hidden=8", "transforms=2", "bins=4"]),
    "real-nvp": ("numbers", ["hidden=8", "transforms=2"]),
    "nice": ("numbers", ["hidden=8", "transforms=3"]),
    "glow": ("digits", ["levels=1", "steps=2", "hidden=4"]),
    "pixelcnn": ("digits", ["width=4", "layers=2", "reach=2", "components=2"]),
    "markov": ("words", ["order=2"]),
    "gpt": ("words", ["width=8", "layers=2", "heads=2"]),
    "rnn": ("words", ["width=8", "layers=1"]),
    "wavenet": ("words", ["width=8", "layers=2", "stacks=1"]),
}
CHECKPOINTS = ("made", "vae", "gan", "maf", "rnn")  # of trainings that go on from more than the weights
STEPS = 4


SOURCES = {"table": "table.csv", "numbers": "numbers.csv", "words": "words.txt"}


def write_sources(seed: int, home: Path) -> None:
    """Write the data that small models are fitted to."""
    wholes = Inputs(seed, "csv", home).wholes
    (home / "table.csv").write_bytes(wholes[".csv"][0])
    (home / "numbers.csv").write_text(
        "\n".join(["a,b,c", *(f"{i / 7:.4f},{(i * i) % 11 / 3:.4f},{i % 5}.5" for i in range(60))])
    )
    (home / "words.txt").write_bytes(wholes[".txt"][0])


def source_of(home: Path, family: str) -> str:
    """Return what a small model of a family is fitted to: the path of a file, or the name of built-in data."""
    source, _ = FAMILIES[family]
    return str(home / SOURCES[source]) if source in SOURCES else source


def fit_words(home: Path, family: str, steps: int) -> list[str]:
    """Return the words that fit a small model of a family, without where it is written to."""
    words = ["fit", source_of(home, family), "--family", family, "--steps", str(steps), "--seed", "1", "--quiet"]
    return words + [word for setting in FAMILIES[family][1] for word in ("--set", setting)]


class Models:
    """Make model files or checkpoints that are damaged or crafted, by number, and run genus on them.

    Args:
        seed: of all cases.
        home: a folder in which whole files are kept.
        families: of the models.
        checkpoints: trainings in mid-flight, and not models.
    """

    together = 50

    def __init__(self, seed: int, home: Path, families: tuple[str, ...] = tuple(FAMILIES), checkpoints: bool = False) -> None:
        self.seed, self.home, self.checkpoints = seed, home, checkpoints
        self.families = tuple(f for f in families if not checkpoints or f in CHECKPOINTS)
        home.mkdir(parents=True, exist_ok=True)
        write_sources(seed, home)
        for family in self.families:
            for name in (
                (self._whole(family, False), self._whole(family, True)) if checkpoints else (self._whole(family, False),)
            ):
                if not name.exists():
                    self._make(family, name)

    def _whole(self, family: str, checkpoint: bool) -> Path:
        return self.home / f"{family}.genus{'.ckpt' if checkpoint else ''}"

    def _fit(self, family: str, steps: int, out: str, *more: str) -> list[str]:
        return [*fit_words(self.home, family, steps), "--out", out, *more]

    def _make(self, family: str, path: Path) -> None:
        """Fit a small model, or stop its training, in a process of its own."""

        def fit() -> int:
            return main(self._fit(family, STEPS, str(path.with_suffix("") if path.suffix == ".ckpt" else path)))

        def stop() -> int:
            from genus.training.trainer import Trainer

            over = Trainer.over

            def stopping(trainer: Any) -> str | None:
                if trainer.step == STEPS // 2 or trainer.step == 1:
                    signal.raise_signal(signal.SIGTERM)
                return over(trainer)

            Trainer.over = stopping  # type: ignore[method-assign]
            main(self._fit(family, STEPS, str(self.home / "stopped.genus"), "--checkpoint", str(path)))
            return 0

        outcome = forked(stop if path.suffix == ".ckpt" else fit, self.home)
        (self.home / "stopped.genus").unlink(missing_ok=True)
        if not path.exists():
            raise RuntimeError(f"{path.name} was not written: {outcome}")

    def case(self, number: int, path: Path) -> tuple[str, bool]:
        """Write the file of a case; return its family, and whether it was crafted rather than damaged."""
        rng = random.Random(f"{self.seed}/{'checkpoints' if self.checkpoints else 'models'}/{number}")
        family = rng.choice(self.families)
        whole = self._whole(family, self.checkpoints)
        crafted = rng.random() < 0.7
        if crafted:
            craft(whole, path, rng)
        else:
            content = whole.read_bytes()
            changed = damaged(content, rng) if rng.random() < 0.5 else _flipped(content, rng)
            path.write_bytes(changed if changed != content else content[:-1])
        return family, crafted

    def work(self, number: int, folder: Path) -> Callable[[], int]:
        """Write the case's file into a folder, and return the work: it ends with code 3 where damage went unnoticed."""
        path = folder / "m.genus.ckpt"
        if not self.checkpoints:
            path = folder / "m.genus"
        family, crafted = self.case(number, path)
        if self.checkpoints:
            run = commands(self._fit(family, STEPS, str(folder / "m.genus"), "--resume"))
        else:
            source = FAMILIES[family][0]
            out = "out" + {"digits": ".png", "words": ".txt"}.get(source, ".csv")
            lines = [["sample", path, "-n", 3, "--seed", 0, "--out", out, "--quiet"]]
            if issubclass(genus.family(family), genus.ApproximateDensity):
                lines.append(["score", path, source_of(self.home, family), "--quiet", "--out", "scores.csv"])
            run = commands(*lines)

        def checked() -> int:
            code = run()
            if code == 0 and not crafted:
                print("SILENT: a damaged file was taken")
            return code

        return checked


def _flipped(content: bytes, rng: random.Random) -> bytes:
    """Return a file with one bit flipped, anywhere."""
    data = bytearray(content)
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


# -- crafted files --------------------------------------------------------------------------------------------------------


def craft(whole: Path, path: Path, rng: random.Random) -> None:
    """Write a file whose header or tensors somebody changed on purpose, with sums that agree."""
    with safe_open(str(whole), framework="pt") as file:
        header = json.loads(file.metadata()["genus"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    if rng.random() < 0.7 or not tensors:
        header = damaged_json(header, rng)
    else:
        tensors = _changed(tensors, rng)
    write(path, tensors, header)


def write(path: Path, tensors: dict[str, Tensor], header: Any) -> None:
    """Write tensors and a header as genus does, with sums that agree."""
    try:
        text = json.dumps(header)
    except (ValueError, RecursionError):
        text = "[" * 10_000
    held = {name: tensor.contiguous().clone() for name, tensor in tensors.items()}
    save_file(held, path, metadata=sealed(text, held))


TYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.uint8, torch.bool)


def _changed(tensors: dict[str, Tensor], rng: random.Random) -> dict[str, Tensor]:
    """Return tensors of which one or two have other values, another type or shape, another name, or are gone."""
    tensors = dict(tensors)
    for _ in range(rng.choice((1, 1, 2))):
        name = rng.choice(sorted(tensors))
        tensor, way = tensors[name].clone(), rng.randrange(8)
        if way < 3 and tensor.numel():
            flat = tensor.view(-1)
            at = slice(None) if rng.random() < 0.3 else rng.randrange(len(flat))
            _put_odd(flat, at, rng)
        elif way == 3:
            tensor = tensor.to(rng.choice(TYPES))
        elif way == 4:
            shapes = [(-1,), (1, *tensor.shape), (*tensor.shape, 1), tuple(reversed(tensor.shape))]
            tensor = tensor.reshape(rng.choice(shapes))
        elif way == 5:
            tensor = rng.choice((tensor[:0], torch.cat([tensor, tensor]), tensor[..., :1])) if tensor.ndim else tensor[None]
        elif way == 6:
            del tensors[name]
            if rng.random() < 0.5:
                tensors[rng.choice(("", "x", f"{name}.", "a/b/c/d", "\x1b[31m"))] = tensor
            if not tensors:
                return {"x": torch.zeros(1)}
            continue
        else:
            tensor = copy.copy(tensors[rng.choice(sorted(tensors))])
        tensors[name] = tensor
    return tensors


def _put_odd(flat: Tensor, at: Any, rng: random.Random) -> None:
    """Put an odd value into a flat tensor, as far as its type holds it."""
    if flat.is_floating_point():
        flat[at] = rng.choice((0.0, 1.0, -1.0, 1e30, 1e38, float("nan"), float("inf"), float("-inf")))
    elif flat.dtype == torch.bool:
        flat[at] = not bool(flat[at].any())
    else:
        limits = torch.iinfo(flat.dtype)
        flat[at] = max(limits.min, min(limits.max, rng.choice((0, 1, -1, 2, 255, 10**6, 2**40))))
