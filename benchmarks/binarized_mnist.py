"""Statically binarised MNIST (Larochelle & Murray 2011): reproduced beside published figures, in nats an image.

    python benchmarks/binarized_mnist.py [vae iwae default] [--images FILE] [--minutes 30] [--samples 5000] [--models FOLDER]

vae, iwae: the architecture of Burda et al. 2016 (arXiv:1509.00519), one layer of 50 codes, nets of (200, 200) tanh units, begun
as there (Glorot & Bengio 2010). The VAE is an IWAE of one code, whose gradient leaves out the score, which is zero in the mean;
the IWAE goes on from it, weighs 5 codes and then 50, with a little weight decay. Trained for fixed epochs, whose minutes are
printed. default: what `VAE.default_hyperparameters` and a posterior made by inverse autoregressive flows give within
--minutes. The weights are those of the best bound on the validation images, of the IWAE's long last stage those of its end;
the 10,000 test images are
judged once, by --samples importance-weighted codes each (the default model, whose decoder is convolutional, by 100, and more of
them would give more). Ends with an error where a figure misses the one published.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path

import numpy as np
import torch
from records import Record
from torch import Tensor, nn

import genus
from genus import Lattice, Space
from genus.files import read_tensors, write_tensors
from genus.nets.dense import dense

RECORD = Record(__doc__)
IMAGES = Path(__file__).resolve().parents[2] / "shared" / "data" / "images" / "binarized_mnist.npz"
SPACE = Space(Lattice(0, 1), shape=(28, 28))
PUBLISHED = {
    "vae": (88.71, "Burda et al. 2016, VAE"),
    "iwae": (87.10, "Burda et al. 2016, IWAE of 50"),
    "default": (85.10, "Rezende & Mohamed 2015, 80 planar flows"),
}
# (codes weighed, epochs, learning rate, weight decay, whether the weights of the best validation bound are kept: which the
# encoder spoils, so that it is at its best long before the evidence of new images is)
STAGES = {
    "vae": [(1, 400, 5e-3, 0.0, True), (1, 150, 2e-3, 0.0, True)],
    "iwae": [(5, 40, 2e-3, 0.03, True), (50, 30, 1e-3, 0.03, True), (50, 150, 2e-3, 0.01, False)],
}


def images(path: Path) -> dict[str, Tensor]:
    """train, valid and test, (N, 28, 28) of 0 and 1."""
    with np.load(path) as file:
        return {name: torch.from_numpy(np.unpackbits(file[name], axis=1)).view(-1, 28, 28) for name in file.files}


def published(model: genus.IWAE) -> None:
    """The nets of Burda et al."""
    model.replace(dense(784, (200, 200), model.code_width, nn.Tanh), dense(50, (200, 200), model.head.width, nn.Tanh))
    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)


def trained(name: str, data: dict[str, Tensor], minutes: float, folder: Path) -> tuple[genus.VAE | genus.IWAE, float]:
    """The model of that name, with its best weights on the validation images, and how many minutes it took."""
    torch.manual_seed(0)
    begin, before = time.perf_counter(), 0.0
    if name == "default":
        default = genus.VAE(SPACE, posterior="iaf", **genus.VAE.default_hyperparameters(SPACE, len(data["train"])))
        genus.fit(default, data["train"], validation=data["valid"], max_seconds=60 * minutes)
        return default, (time.perf_counter() - begin) / 60
    model = genus.IWAE(SPACE, latent=50, samples=1)
    published(model)
    if name == "iwae":
        if not (folder / "vae-2.safetensors").exists():
            sys.exit("iwae goes on from vae: name vae before it")
        weights, kept = read_tensors(folder / "vae-2.safetensors")
        model.load_state_dict(weights)
        before = kept["minutes"]
    for stage, (draws, epochs, rate, decay, best) in enumerate(STAGES[name], start=1):
        model.config["samples"] = draws
        how = {"epochs": epochs, "batch_size": 100, "ema_decay": 0.9995, "learning_rate": rate, "patience": 1000}
        how["weight_decay"] = decay
        how |= {"precision": "bf16-mixed", "compile": True} if draws > 1 else {}  # of many decoders a datum
        genus.fit(model, data["train"], validation=data["valid"] if best else None, seed=stage - 1, **how)
        taken = before + (time.perf_counter() - begin) / 60
        write_tensors(folder / f"{name}-{stage}.safetensors", model.state_dict(), {"minutes": taken})
    return model, taken


def main() -> None:
    """Train, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(PUBLISHED))
    parser.add_argument("--images", type=Path, default=IMAGES)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--models", type=Path, default=Path("binarized_mnist"), help="where models are kept")
    parser.add_argument("--rows", type=int, default=10_000, help="of the test images")
    given = parser.parse_args()
    data, missed = images(given.images), False
    given.models.mkdir(exist_ok=True)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; test images, nats; static binarisation")
    for name in given.names:
        model, minutes = trained(name, data, given.minutes, given.models)
        samples = min(given.samples, 100) if name == "default" else given.samples
        test = data["test"][: given.rows]
        found, worth = zip(*(model.importance(part, samples=samples, seed=0) for part in test.split(100)), strict=True)
        evidence, effective = torch.cat(found), torch.cat(worth)
        bound = model.elbo(test, seed=0)
        error = evidence.std() / math.sqrt(len(evidence))
        figure, source = PUBLISHED[name]
        print(
            f"{name:8} -log p(x) {-evidence.mean():6.2f} ± {error:.2f} ({samples} samples, worth {effective.median():.0f} at"
            f" the median), -bound {-bound.mean():6.2f}; published {figure:.2f} ({source}); {minutes:.0f} minutes; "
            f"{model.use(data['valid']).active} of {model.latent} units active",
            flush=True,
        )
        RECORD.row(
            model=name,
            nats_an_image=(float(evidence.mean()), float(error)),
            bound=float(bound.mean()),
            published=-figure,
            codes_an_image=samples,
            images=len(test),
            minutes=minutes,
        )
        missed |= bool(-evidence.mean() > figure)
    RECORD.keep()
    if missed:
        sys.exit("a figure misses the one published")


if __name__ == "__main__":
    main()
