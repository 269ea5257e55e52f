"""Training throughput of a variational autoencoder: genus beside pythae, the same nets, batches and data.

    python benchmarks/vae.py --peer FOLDER [--images FILE] [--rows 20000]

FOLDER holds pythae (pip install --target FOLDER --no-deps pythae cloudpickle pydantic pydantic-core annotated-types
typing-inspection imageio). Binary images of 784 pixels, nets 784-512-50-512-784 with ReLU, Bernoulli likelihood, Adam at 1e-3,
batches of 100. Each is timed as its users train: pythae by its trainer, genus by `fit`, two epochs each in turns, without
validation; then by steps alone, in turns, without either's loop. Images a second, medians. Ends with an error where genus's
training is not 3 times as fast.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import torch
from binarized_mnist import IMAGES, SPACE, images
from records import Record
from timing import medians
from torch import Tensor, nn

import genus
from genus.nets.dense import dense

RECORD = Record(__doc__, "pythae")
BATCH, LATENT, HIDDEN, EPOCHS, TURNS = 100, 50, 512, 2, 3


def ours() -> genus.VAE:
    """The nets that are pythae's default."""
    model = genus.VAE(SPACE, latent=LATENT)
    model.replace(dense(784, (HIDDEN,), model.code_width, nn.ReLU), dense(LATENT, (HIDDEN,), model.head.width, nn.ReLU))
    return model


def theirs() -> nn.Module:
    """pythae's default, Bernoulli."""
    from pythae.models import VAE, VAEConfig

    return VAE(VAEConfig(input_dim=(1, 28, 28), latent_dim=LATENT, reconstruction_loss="bce"))


def fit_ours(x: Tensor) -> None:
    genus.fit(ours(), x, validation=None, epochs=EPOCHS, batch_size=BATCH, learning_rate=1e-3, progress=False)


def fit_theirs(x: Tensor) -> None:
    from pythae.data.datasets import BaseDataset
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    with tempfile.TemporaryDirectory() as folder:
        how = BaseTrainerConfig(
            output_dir=folder, num_epochs=EPOCHS, per_device_train_batch_size=BATCH, learning_rate=1e-3, no_cuda=True
        )
        data = BaseDataset(x.float().unsqueeze(1), torch.zeros(len(x)))
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            BaseTrainer(theirs(), data, training_config=how).train()


def steps(x: Tensor) -> dict[str, Callable[[], None]]:
    """One step of each."""
    model, peer = ours(), theirs()
    x = x[:BATCH].float()
    adams = {module: torch.optim.Adam(module.parameters(), lr=1e-3) for module in (model, peer)}
    loss = model.losses()[0].value

    def step(module: nn.Module, value: Callable[[], Tensor]) -> Callable[[], None]:
        def once() -> None:
            adams[module].zero_grad()
            value().backward()
            adams[module].step()

        return once

    return {"genus": step(model, lambda: loss(x, None)), "pythae": step(peer, lambda: peer({"data": x.unsqueeze(1)}).loss)}


def main() -> None:
    """Time, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, required=True)
    parser.add_argument("--images", type=Path, default=IMAGES)
    parser.add_argument("--rows", type=int, default=20_000)
    given = parser.parse_args()
    sys.path.append(str(given.peer))
    logging.disable(logging.INFO)
    x = images(given.images)["train"][: given.rows]
    times: dict[str, list[float]] = {"genus": [], "pythae": []}
    for _ in range(TURNS):
        for name, fit in (("genus", fit_ours), ("pythae", fit_theirs)):
            begin = time.perf_counter()
            fit(x)
            times[name].append(time.perf_counter() - begin)
    speed = {name: EPOCHS * len(x) / statistics.median(taken) for name, taken in times.items()}
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; pythae {version('pythae')}")
    ratio = speed["genus"] / speed["pythae"]
    print(f"training: genus {speed['genus']:,.0f} images a second, pythae {speed['pythae']:,.0f}: {ratio:.2f} times")
    step = medians(steps(x), 200)
    print(f"one step: genus {step['genus']:.2f} ms, pythae {step['pythae']:.2f} ms: {step['pythae'] / step['genus']:.2f} times")
    RECORD.row(what="training, images a second", genus=speed["genus"], pythae=speed["pythae"], times=ratio)
    RECORD.row(what="one step, ms", genus=step["genus"], pythae=step["pythae"], times=step["pythae"] / step["genus"])
    RECORD.keep()
    if ratio < 3:
        sys.exit("training is less than 3 times as fast as pythae's")


if __name__ == "__main__":
    main()
