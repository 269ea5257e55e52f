"""A stranger's script, which `mypy --strict` passes: fit, compare, impute, evaluate."""

from __future__ import annotations

from pathlib import Path

import genus
from genus.evaluation import Report


def main(folder: Path) -> None:
    data: genus.Dataset = genus.read("iris")
    train, test = data.split(test=0.2, seed=0)
    exact = genus.build("mixture", data.space, seed=0, components=3)
    history: genus.History = genus.fit(exact, train, seed=0, progress=False)
    print(history.steps, float(exact.log_prob(test.x).mean()))
    bounded = genus.build("maf", data.space, seed=0)
    print(float(bounded.elbo(test.x, seed=0).mean()))
    samples = genus.build("gan", data.space, seed=0)
    print(samples.sample(3, seed=0).shape, genus.family("vae").info.title)
    genus.save(exact, folder / "iris.genus")
    loaded: genus.GenerativeModel = genus.load(folder / "iris.genus")
    same: genus.TractableDensity = genus.load(folder / "iris.genus", into=exact)
    print(loaded.family_name, same.family_name)
    imputed: genus.Imputed = genus.impute(exact, {"sepal length (cm)": [5.1, None]}, seed=0)
    print(imputed.cells)
    report: Report = genus.compare(data, ["naive-bayes", "mixture"], budget=1.0, seeds=1, progress=False)
    report.write(folder / "report")
