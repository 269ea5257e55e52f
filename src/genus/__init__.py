"""genus: every classical family of generative model on your own data, through one interface, compared honestly.

>>> import genus
>>> data = genus.read("iris")
>>> model = genus.NaiveBayes(data.space)
>>> history = genus.fit(model, data, seed=0, progress=False)
>>> model.sample(3, seed=1).shape
torch.Size([3, 5])
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

# OpenMP's threads spin while they wait for one another, which on a machine with other work makes torch several times slower
# than one thread; asleep they cost next to nothing. OpenMP reads this when torch is loaded; whoever has set it keeps it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

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
    "genus.training": ("History", "Tuned", "fit", "tune"),
    "genus.distillation": ("Distillation", "distill"),
    "genus.evaluation": ("Report", "compare", "evaluate"),
    "genus.questions": (
        "Explained",
        "Forecast",
        "Imputed",
        "Nearby",
        "Predicted",
        "calibrate",
        "counterfactuals",
        "explain",
        "forecast",
        "impute",
        "impute_blocks",
        "interpolate",
        "predict",
        "predict_blocks",
        "rebalance",
    ),
}
_modules = {name: module for module, names in _names.items() for name in names}
__all__ = sorted(_modules)  # noqa: PLE0605

if TYPE_CHECKING:
    from genus.data import Dataset as Dataset, read as read
    from genus.distillation import Distillation as Distillation, distill as distill
    from genus.errors import (
        DataError as DataError,
        GenusError as GenusError,
        ModelFileError as ModelFileError,
        NotFittedError as NotFittedError,
        TrainingError as TrainingError,
    )
    from genus.evaluation import Report as Report, compare as compare, evaluate as evaluate
    from genus.files import load as load, save as save
    from genus.ladder import (
        ApproximateDensity as ApproximateDensity,
        Counted as Counted,
        GenerativeModel as GenerativeModel,
        Learned as Learned,
        Loss as Loss,
        TractableDensity as TractableDensity,
    )
    from genus.models import (
        GAN as GAN,
        GPT as GPT,
        HCLT as HCLT,
        IAF as IAF,
        IWAE as IWAE,
        MADE as MADE,
        MAF as MAF,
        NICE as NICE,
        NSF as NSF,
        RNN as RNN,
        VAE as VAE,
        VQVAE as VQVAE,
        WGAN as WGAN,
        WGANGP as WGANGP,
        Autoencoder as Autoencoder,
        Blend as Blend,
        ChowLiu as ChowLiu,
        Dequantised as Dequantised,
        Flow as Flow,
        GaussianCopula as GaussianCopula,
        Glow as Glow,
        MarkovChain as MarkovChain,
        Mixture as Mixture,
        NaiveBayes as NaiveBayes,
        ParallelWaveNet as ParallelWaveNet,
        PixelCNN as PixelCNN,
        RealNVP as RealNVP,
        Stack as Stack,
        StackOfBounds as StackOfBounds,
        Trees as Trees,
        WaveNet as WaveNet,
    )
    from genus.models.adversarial import adversarial as adversarial
    from genus.models.continuous import ContinuousDensity as ContinuousDensity
    from genus.questions import (
        Explained as Explained,
        Forecast as Forecast,
        Imputed as Imputed,
        Nearby as Nearby,
        Predicted as Predicted,
        calibrate as calibrate,
        counterfactuals as counterfactuals,
        explain as explain,
        forecast as forecast,
        impute as impute,
        impute_blocks as impute_blocks,
        interpolate as interpolate,
        predict as predict,
        predict_blocks as predict_blocks,
        rebalance as rebalance,
    )
    from genus.registry import build as build, families as families, family as family
    from genus.space import Category as Category, Lattice as Lattice, Real as Real, Space as Space, Time as Time
    from genus.training import History as History, Tuned as Tuned, fit as fit, tune as tune


def __getattr__(name: str) -> Any:
    if name in _modules:
        return getattr(import_module(_modules[name]), name)
    if name in ("divergences", "sklearn", "evaluation", "models", "testing", "training", "transforms"):
        return import_module(f"genus.{name}")
    raise AttributeError(f"module 'genus' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "divergences", "sklearn", "testing", "transforms"]
