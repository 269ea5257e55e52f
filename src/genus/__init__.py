"""genus: every classical family of generative model on your own data, through one interface, compared honestly.

>>> import genus
>>> data = genus.read("iris")
>>> model = genus.NaiveBayes(data.space)
>>> history = genus.fit(model, data, seed=0, progress=False)
>>> model.sample(3, seed=1).shape
torch.Size([3, 5])
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Public name -> module. Nothing is imported before it is asked for: `genus --help` must not wait for torch.
_names = {
    "genus.space": ("Category", "Lattice", "Real", "Space", "Time"),
    "genus.data": ("Dataset", "read"),
    "genus.errors": ("DataError", "GenusError", "ModelFileError", "NotFittedError", "TrainingError"),
    "genus.ladder": ("ApproximateDensity", "Counted", "GenerativeModel", "Learned", "Loss", "TractableDensity"),
    "genus.registry": ("build", "families", "family"),
    "genus.files": ("load", "save"),
    "genus.models": (
        "Autoencoder",
        "Blend",
        "ChowLiu",
        "Dequantised",
        "Flow",
        "GAN",
        "GPT",
        "GaussianCopula",
        "Glow",
        "HCLT",
        "IAF",
        "IWAE",
        "MADE",
        "MAF",
        "MarkovChain",
        "Mixture",
        "NICE",
        "NSF",
        "NaiveBayes",
        "ParallelWaveNet",
        "PixelCNN",
        "RNN",
        "RealNVP",
        "Stack",
        "StackOfBounds",
        "Trees",
        "VAE",
        "VQVAE",
        "WGAN",
        "WGANGP",
        "WaveNet",
    ),
    "genus.models.adversarial": ("adversarial",),
    "genus.models.continuous": ("ContinuousDensity",),
    "genus.training": ("History", "fit"),
    "genus.distillation": ("Distillation", "distill"),
    "genus.evaluation": ("Report", "compare", "evaluate"),
    "genus.questions": ("Explained", "Imputed", "Predicted", "explain", "impute", "predict"),
}
_modules = {name: module for module, names in _names.items() for name in names}
__all__ = sorted(_modules)  # noqa: PLE0605

if TYPE_CHECKING:
    from genus.data import Dataset, read
    from genus.distillation import Distillation, distill
    from genus.errors import DataError, GenusError, ModelFileError, NotFittedError, TrainingError
    from genus.evaluation import Report, compare, evaluate
    from genus.files import load, save
    from genus.ladder import ApproximateDensity, Counted, GenerativeModel, Learned, Loss, TractableDensity
    from genus.models import (
        GAN,
        GPT,
        HCLT,
        IAF,
        IWAE,
        MADE,
        MAF,
        NICE,
        NSF,
        RNN,
        VAE,
        VQVAE,
        WGAN,
        WGANGP,
        Autoencoder,
        Blend,
        ChowLiu,
        Dequantised,
        Flow,
        GaussianCopula,
        Glow,
        MarkovChain,
        Mixture,
        NaiveBayes,
        ParallelWaveNet,
        PixelCNN,
        RealNVP,
        Stack,
        StackOfBounds,
        Trees,
        WaveNet,
    )
    from genus.models.adversarial import adversarial
    from genus.models.continuous import ContinuousDensity
    from genus.questions import Explained, Imputed, Predicted, explain, impute, predict
    from genus.registry import build, families, family
    from genus.space import Category, Lattice, Real, Space, Time
    from genus.training import History, fit


def __getattr__(name: str) -> Any:
    if name in _modules:
        return getattr(import_module(_modules[name]), name)
    if name in ("divergences", "sklearn", "evaluation", "models", "testing", "training", "transforms"):
        return import_module(f"genus.{name}")
    raise AttributeError(f"module 'genus' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "divergences", "sklearn", "testing", "transforms"]
