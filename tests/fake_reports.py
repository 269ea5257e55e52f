"""Reports with made-up but lifelike numbers, for the tests of the report and of its page in a browser."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from genus.codec import Codec
from genus.codec.forms import Form
from genus.evaluation.metrics import METRICS
from genus.evaluation.report import Report
from genus.evaluation.results import Row
from genus.evaluation.sequences import NOVELTY
from genus.space import Category, Lattice, Real, Space

XSS = "<script>alert(1)</script>"
WORDS = [XSS, "emma", "olivia", "ava", "éloïse", "\tzoë\n", "", *(f"name {i}" for i in range(23))]


def history(seed: int, *players: str, seconds: float = 60.0, points: int = 40, criterion: bool = True) -> SimpleNamespace:
    """Losses that fall and level off, as a `History` holds them."""
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for i in range(points):
        noise = torch.randn(len(players) + 1, generator=generator).tolist()
        losses = {name: 20 + 15 * math.exp(-i / 6) + 0.4 * noise[j] for j, name in enumerate(players)}
        held_out = 20.6 + 15 * math.exp(-i / 6) + 0.1 * noise[-1] if criterion else None
        rows.append({"step": 50 * i, "epoch": i / 2, "seconds": seconds * (i + 1) / points, **losses, "criterion": held_out})
    return SimpleNamespace(rows=rows, unit="nats a row", scale=1.0)


def scores(quality: float, target: str | None = None) -> dict[str, float]:
    """Metrics of samples between independent columns (0) and real rows (1)."""
    bad = 1 - quality
    values = {
        "c2st": 0.5 + 0.46 * bad,
        "energy": 0.004 + 0.3 * bad,
        "sliced_wasserstein": 0.03 + 0.4 * bad,
        "precision": 0.97 - 0.5 * bad,
        "recall": 0.96 - 0.45 * bad,
        "density": 1.0 - 0.6 * bad,
        "coverage": 0.95 - 0.7 * bad,
        "dcr_ratio": 1.0 + 0.5 * bad,
        "dcr_share": 0.5 + 0.01 * bad,
        "copies": 0.002 * quality,
        "copies_unseen": 0.002,
    }
    return values | ({target: 0.92 - 0.4 * bad} if target else {})


def references(target: str | None = None) -> dict[str, dict[str, float]]:
    copy = scores(1, target) | {"dcr_ratio": 0.0, "dcr_share": 1.0, "copies": 1.0, "copies_unseen": 0.002}
    return {"real against real": scores(1, target), "independent columns": scores(0, target), "copy of the training set": copy}


def row(
    family: str, title: str, group: str, quality: float, label: str = "exact", target: str | None = None, **more: object
) -> Row:
    values = scores(quality, target)
    return Row(
        family,
        title,
        group,
        label=label,
        metrics=values,
        metrics_spread={key: 0.01 + 0.01 * abs(value) for key, value in values.items()},
        seeds=[0, 1, 2],
        stopped="max_seconds",
        seconds=59.4,
        steps=2300,
        parameters=184_320,
        **more,  # type: ignore[arg-type]
    )


def density(value: float, over: float, to_best: float, se: float = 0.6, dim: int = 64) -> dict[str, Any]:
    return {
        "log_density": value,
        "log_density_se": se,
        "bits_per_dim": -value / dim / math.log(2),
        "seed_spread": 0.21,
        "baseline_difference": over,
        "baseline_difference_se": 0.0 if over == 0 else se / 3,
        "best_difference": to_best,
        "best_difference_se": 0.0 if to_best == 0 else se / 3,
        "train_log_density": value + 2.4,
    }


SETTINGS = {
    "seeds": [0, 1, 2],
    "metrics": METRICS,
    "created": "2025-11-21T04:10:00+00:00",
    "seconds": 356.0,
    "cores": 2,
    "machine": "x86_64, Linux",
    "versions": {"genus": "0.1.0", "python": "3.11.2", "torch": "2.13.0", "scikit-learn": "1.9.1"},
}


def digits() -> Report:
    """8 × 8 images, five families: exact, bound and none."""
    from sklearn.datasets import load_digits

    x = torch.tensor(load_digits().images, dtype=torch.float32)
    generator = torch.Generator().manual_seed(0)

    def noisy(scale: float) -> torch.Tensor:
        some = x[torch.randperm(len(x), generator=generator)[:64]]
        return (some + scale * torch.randn(some.shape, generator=generator)).round().clamp(0, 16)

    rows = [
        row("independent", "independent columns", "tractable · counted", 0.05, samples=noisy(7), **density(-142.3, 0, -31.4)),
        row("mixture", "mixture of products, by EM", "tractable · counted", 0.6, samples=noisy(3), **density(-110.9, 31.4, 0)),
        row(
            "dequantised maf",
            "masked autoregressive flow on dequantised values",
            "approximate · flows",
            0.7,
            "bound",
            samples=noisy(2),
            histories=[history(s, "elbo") for s in range(3)],
            estimate=-112.6,
            estimate_samples=64,
            **density(-113.8, 28.5, -2.9),
        ),
        row(
            "vae",
            "variational autoencoder",
            "approximate · latent variables",
            0.65,
            "bound",
            samples=noisy(2.5),
            histories=[history(s + 9, "elbo") for s in range(3)],
            estimate=-116.1,
            estimate_samples=64,
            **density(-118.2, 24.1, -7.3),
        ),
        row(
            "wgan-gp",
            "Wasserstein GAN with gradient penalty",
            "implicit · adversarial",
            0.55,
            "none",
            samples=noisy(3.5),
            histories=[history(s + 5, "critic", "generator", criterion=False) for s in range(3)],
        ),
    ]
    space = Space(Lattice(0, 16), shape=(8, 8))
    settings = SETTINGS | {"budget_seconds": 15.0, "sample_count": 450, "references": references()}
    return Report("digits", space, rows, 1347, 450, 1797, real=noisy(0), **settings)  # type: ignore[arg-type]


def adult_space() -> Space:
    jobs = (
        "Private",
        "Self-emp-not-inc",
        "Local-gov",
        None,
        "State-gov",
        "Self-emp-inc",
        "Federal-gov",
        "Without-pay",
        "Never-worked",
    )
    return Space(
        [
            Lattice(17, 90),
            Category(jobs),
            Real(189_000, 105_000),
            Category(("HS-grad", "Some-college", "Bachelors", "Masters", "Assoc-voc", "11th", "Doctorate")),
            Lattice(1, 16),
            Category(("Married", "Never-married", "Divorced", "Widowed")),
            Category(tuple(f"occupation {i}" for i in range(14))),
            Category(("Husband", "Not-in-family", "Own-child", "Unmarried", "Wife")),
            Category(("White", "Black", "Asian-Pac-Islander", "Other")),
            Category(("Male", "Female")),
            Real(1080, 7400, atoms=(0.0,)),
            Real(87, 400, atoms=(0.0, math.nan)),
            Lattice(1, 99),
            Category(("United-States", "México", "Philippines", "Deutschland", "日本")),
            Category(("<=50K", ">50K")),
        ],
        names=[
            "age", "workclass", "fnlwgt", "education", "education.num", "marital.status", "occupation", "relationship", "race",
            XSS, "capital.gain", "capital loss, in $ and $$", "hours.per.week", "native.country", "income",
        ],
    )  # fmt: skip


def adult_rows(n: int, seed: int, dependence: float = 1.0) -> torch.Tensor:
    """Rows whose columns hang on one hidden number, as much as `dependence`."""
    generator = torch.Generator().manual_seed(seed)

    def hidden() -> torch.Tensor:
        return dependence * shared + math.sqrt(1 - dependence**2 + 0.5) * torch.randn(n, generator=generator)

    shared = torch.randn(n, generator=generator)
    columns = []
    for kind in adult_space().kinds:
        z = hidden()
        if isinstance(kind, Category):
            u = torch.special.ndtr(z / 1.2)
            columns.append((kind.states * u**2).floor().clamp(0, kind.states - 1))
        elif isinstance(kind, Lattice):
            columns.append((kind.low + (kind.high - kind.low) * torch.special.ndtr(z / 1.2 - 0.6)).round())
        elif kind.atoms:
            value = torch.where(z > 1.3, (kind.loc + kind.scale * z.abs()).round(), 0.0)
            missing = torch.rand(n, generator=generator) < 0.04
            columns.append(torch.where(missing, math.nan, value) if len(kind.atoms) > 1 else value)
        else:
            columns.append((kind.loc + kind.scale * (z / 2).exp() - kind.scale).clamp(min=12_000))
    return torch.stack(columns, 1)


def adult(n: int = 1500) -> Report:
    """15 mixed columns: two families tied for the best, one refused, one failed, one without a density."""
    target, gan = "tstr_auc", [history(s, "critic", "generator", criterion=False) for s in range(3)]
    nll, elbo = ([history(s, name) for s in range(3)] for name in ("nll", "elbo"))
    counted, flows = "tractable · counted", "tractable · flows"
    mixture = density(-39.12, 3.14, -0.04, 0.09, 15) | {"samples": adult_rows(n, 1, 0.85)}
    maf = density(-39.08, 3.18, 0, 0.08, 15) | {"samples": adult_rows(n, 2, 0.95), "histories": nll}
    bayes = density(-42.26, 0, -3.18, 0.08, 15) | {"samples": adult_rows(n, 3, 0.0)}
    vae = density(-41.4, 0.86, -2.32, 0.09, 15) | {"samples": adult_rows(n, 4, 0.6), "histories": elbo}
    rows = [
        row("mixture", "mixture of products, by EM", counted, 0.8, target=target, **mixture),
        row("maf", "masked autoregressive flow", flows, 0.86, target=target, **maf),
        row("independent", "independent columns", counted, 0.02, target=target, **bayes),
        row(
            "vae",
            "variational autoencoder",
            "approximate · latent variables",
            0.5,
            "bound",
            target,
            estimate=-40.9,
            estimate_samples=64,
            **vae,
        ),
        row(
            "wgan-gp",
            "Wasserstein GAN with gradient penalty",
            "implicit · adversarial",
            0.4,
            "none",
            target,
            samples=adult_rows(n, 5, 0.7),
            histories=gan,
        ),
        Row(
            "nice",
            "non-linear independent components",
            flows,
            "refused",
            "it models real numbers only, and 8 of these 15 columns are categories; drop them or take maf.",
        ),
        Row(
            "iaf",
            "inverse autoregressive flow",
            flows,
            "failed",
            "The loss of player nll was not finite at step 412; lower the learning rate.",
        ),
    ]
    settings = SETTINGS | {"budget_seconds": 60.0, "sample_count": 5000, "references": references(target), "target": "income"}
    return Report("adult-train.csv", adult_space(), rows, 19_522, 4_881, 24_403, real=adult_rows(n, 0), **settings)  # type: ignore[arg-type]


def sequences(name: str, codec: Codec, real: torch.Tensor, noise: torch.Tensor) -> Report:
    """The Markov chain, a network that copies, and one that is noise."""
    found = {"in_training": 0.12, "in_held_out": 0.01, "new": 0.87, "distinct": 0.99}
    rows = [
        Row(family, title, "tractable", label="exact", metrics=found, samples=x, histories=[history(0, "nll")], **more)
        for family, title, x, more in (
            ("rnn", "recurrent network", real, density(-13.9, 0.4, 0, dim=7)),
            ("gpt", "transformer", noise, density(-16.3, -2.0, -2.4, dim=7)),
            ("markov", "Markov chain of smoothed counts", real.flip(0), density(-14.3, 0, -0.4, dim=7)),
        )
    ]
    settings = SETTINGS | {"references": {"held-out rows": found}, "metrics": NOVELTY, "sample_count": 1000}
    settings |= {"baseline": "the Markov chain (counts of n-grams)", "baseline_family": "markov"}
    return Report(name, codec.space, rows, 400, 100, 500, real=real, data_codec=codec, **settings)  # type: ignore[arg-type]


def names() -> Report:
    """Short words, one of them markup."""
    levels = tuple(sorted(set("".join(WORDS))))
    form = Form("text", ("str",), coding="characters")
    space = Space(Category((*levels, None)), shape=(max(map(len, WORDS)) + 1,), sequence=True)
    codec = Codec(space, form)
    noise = torch.randint(len(levels), (30, space.dim), generator=torch.Generator().manual_seed(0)).float()
    return sequences("names.txt", codec, codec.encode(WORDS), noise)


def tones() -> Report:
    """Tones of different pitch that end, and noise."""
    form = Form("audio", ("uint8",), coding="mu-law", rate=8000)
    space = Space(Lattice(0, 255, atoms=(math.nan,)), shape=(900,), sequence=True)
    codec = Codec(space, form)
    time = np.arange(700) / 8000
    real = codec.encode([np.sin(2 * np.pi * pitch * time) for pitch in (500, 1000, 2000, 3000)])
    noise = torch.randint(256, (4, 900), generator=torch.Generator().manual_seed(0)).float()
    return sequences("tones", codec, real, noise)


def lonely() -> Report:
    """One column and one family, without repetitions."""
    x = torch.randn(400, 1, generator=torch.Generator().manual_seed(0))
    only = Row(
        "independent", label="exact", log_density=-1.42, log_density_se=0.04, bits_per_dim=2.05, samples=x[:200], seeds=[0]
    )
    return Report("one column", Space([Real()], names=["x"]), [only], 300, 100, 400, real=x[200:], seeds=[0])
