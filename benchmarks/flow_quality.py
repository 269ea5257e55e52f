"""Held-out log-densities of flows at equal time: genus beside zuko, nflows and scikit-learn.

    python benchmarks/flow_quality.py [--data protein,wine,breast-cancer,magic] [--seconds 300] [--peer FOLDER]
        [--tables FOLDER] [--families maf,nsf,made,gpt] [--processor] [--genus]

protein, wine and magic are read from FOLDER (by default ../shared/data/tables); uniform noise of one recorded unit is added
once, the same for every method, so that repeated values reward nobody. 80 % of the rows train, 10 % choose (when to stop, the
bandwidth, the number of components), 10 % judge once. All is in nats a row of the data standardised by the training rows.
Differences from the best of genus's models are paired, row by row, with their standard errors. Of magic, whose numbers have
four decimals, the numbers alone. `--processor` counts processor time, for a busy machine. It exits with an error where a model
of genus is no better than a peer, or `gpt` or `made` worse than `nsf`.

genus: `default_hyperparameters`'s hyper-parameters and the family's recipe. zuko, nflows: 5 transforms, nets of (128, 128),
Adam at 1e-3, batches of 256, the weights of the best validation loss, until a minute brings no better; a step's time counts,
evaluations do
not. Kernel densities: the best
of 20 bandwidths. Mixtures: the best of 1 to 60 full normals.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from records import Record
from torch import Tensor

import genus
from genus import Lattice, Real, Space

RECORD = Record(__doc__, "scikit-learn")

TABLES = Path(__file__).resolve().parents[2] / "shared" / "data" / "tables"
PATIENCE = 60.0  # seconds that a peer goes on without a better validation loss; those of genus are in its recipe
PATHS = {"protein": "protein.csv.gz", "wine": "wine.csv.gz", "magic": "magic.csv.gz"}
HEADED = {"magic": 1e-4}  # tables with names and a target, and the unit of their numbers


def rows(name: str, folder: Path) -> Tensor:
    """The table as reals, (N, D): one unit of noise on every column that is a lattice; shuffled."""
    if name == "breast-cancer":
        from sklearn.datasets import load_breast_cancer

        x, steps = torch.from_numpy(load_breast_cancer().data), None
    else:
        import pandas as pd

        table = pd.read_csv(folder / PATHS[name], header=0 if name in HEADED else None).select_dtypes("number")
        data = genus.read(table)
        x, steps = data.x.double(), [k.step if isinstance(k, Lattice) else HEADED.get(name, 0.0) for k in data.space.kinds]
        x = x[~x.isnan().any(1)]
    random = torch.Generator().manual_seed(0)
    if steps is not None:
        x = x + torch.tensor(steps, dtype=torch.float64) * (torch.rand(x.shape, generator=random, dtype=torch.float64) - 0.5)
    return x[torch.randperm(len(x), generator=random)]


Method = Callable[[Tensor, Tensor, float], Callable[[Tensor], Tensor]]  # (train, validation, seconds) -> log-density


def ours(family: str) -> Method:
    def method(train: Tensor, validation: Tensor, seconds: float) -> Callable[[Tensor], Tensor]:
        torch.manual_seed(0)
        space = Space(Real(), shape=(train.shape[1],))
        model = genus.build(family, space, **genus.family(family).default_hyperparameters(space, len(train)))
        history = genus.fit(model, train, validation=validation, max_seconds=seconds, seed=0, progress=False)
        print(
            f"    {family}: {model.config}, {history.steps} steps, best at {history.best_step}, {history.seconds:.0f} s",
            flush=True,
        )
        return lambda x: model.log_prob(x).detach()

    return method


def peer(make: Callable[[int], tuple[Any, Callable[[Tensor], Tensor]]]) -> Method:
    def method(train: Tensor, validation: Tensor, seconds: float) -> Callable[[Tensor], Tensor]:
        torch.manual_seed(0)
        module, log_prob = make(train.shape[1])
        optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)
        best, kept, spent, step, found = -np.inf, copy.deepcopy(module.state_dict()), 0.0, 0, 0.0
        every = max(50, len(train) // 256)
        while spent < min(seconds, found + PATIENCE):
            start = time.perf_counter()
            loss = -log_prob(train[torch.randint(len(train), (256,))]).mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(module.parameters(), 5.0)
            optimizer.step()
            spent, step = spent + time.perf_counter() - start, step + 1
            if step % every == 0:
                module.eval()
                with torch.no_grad():
                    value = float(log_prob(validation).mean())
                module.train()
                if value > best:
                    best, kept, found = value, copy.deepcopy(module.state_dict()), spent
        print(f"    best at {found:.0f} s of {spent:.0f}, {step} steps", flush=True)
        module.load_state_dict(kept)
        module.eval()

        def score(x: Tensor) -> Tensor:
            with torch.no_grad():
                return log_prob(x)

        return score

    return method


def zuko_flow(name: str) -> Method:
    import zuko

    def make(dim: int) -> tuple[Any, Callable[[Tensor], Tensor]]:
        flow = getattr(zuko.flows, name)(dim, transforms=5, hidden_features=(128, 128))
        return flow, lambda x: flow().log_prob(x)

    return peer(make)


def nflows_maf() -> Method:
    from nflows.flows import MaskedAutoregressiveFlow

    def make(dim: int) -> tuple[Any, Callable[[Tensor], Tensor]]:
        flow = MaskedAutoregressiveFlow(dim, 128, 5, 2, batch_norm_between_layers=False)
        return flow, flow.log_prob

    return peer(make)


def kernels(train: Tensor, validation: Tensor, seconds: float) -> Callable[[Tensor], Tensor]:
    from sklearn.neighbors import KernelDensity

    some = validation[:1000].numpy()
    fits = [KernelDensity(bandwidth=b).fit(train.numpy()) for b in np.geomspace(0.05, 2.0, 20)]
    best = max(fits, key=lambda k: k.score(some))
    print(f"    kernels: bandwidth {best.bandwidth:.3f}", flush=True)
    return lambda x: torch.from_numpy(best.score_samples(x.numpy())).float()


def mixture(train: Tensor, validation: Tensor, seconds: float) -> Callable[[Tensor], Tensor]:
    from sklearn.mixture import GaussianMixture

    begin, best, found = time.perf_counter(), -np.inf, None
    for count in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 45, 60):
        if count * train.shape[1] > len(train) or time.perf_counter() - begin > seconds:
            break
        one = GaussianMixture(count, reg_covar=1e-4, random_state=0, max_iter=200).fit(train.numpy())
        if (value := one.score(validation.numpy())) > best:
            best, found = value, one
    assert found is not None
    print(f"    mixture: {found.n_components} components", flush=True)
    return lambda x: torch.from_numpy(found.score_samples(x.numpy())).float()


def compare(name: str, folder: Path, seconds: float, methods: dict[str, Method]) -> list[str]:
    x = rows(name, folder)
    a, b = int(0.8 * len(x)), int(0.9 * len(x))
    mean, scale = x[:a].mean(0), x[:a].std(0)
    train, validation, test = ((part - mean) / scale for part in (x[:a], x[a:b], x[b:]))
    train, validation, test = train.float(), validation.float(), test.float()
    print(f"\n{name}: {len(train):,} + {len(validation):,} + {len(test):,} rows of {x.shape[1]}", flush=True)
    found = {}
    for method, fit in methods.items():
        found[method] = fit(train, validation, seconds)(test).double()
    mine = [m for m in found if m.startswith("genus")]
    best = max(mine, key=lambda m: float(found[m].mean()))
    failed = []
    for method, value in sorted(found.items(), key=lambda item: -float(item[1].mean())):
        less = found[best] - value
        error = float(less.std()) / len(less) ** 0.5
        print(f"  {method:<26}{float(value.mean()):>9.3f} nats{float(less.mean()):>9.3f} ± {error:.3f} below {best}")
        RECORD.row(table=name, method=method, nats=float(value.mean()), below_the_best=(float(less.mean()), error))
        if method not in mine:
            failed += [f"{name}: {m} is no better than {method}" for m in mine if float((found[m] - value).mean()) <= 0]
    for m, flow in ((f"genus {m}", "genus nsf") for m in ("gpt", "made")):
        if m in mine and flow in mine and float((found[m] - found[flow]).mean()) < 0:
            failed.append(f"{name}: {m} is worse than {flow}")
    return failed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="protein,wine,breast-cancer")
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--peer", help="a folder in which zuko and nflows are installed")
    parser.add_argument("--tables", type=Path, default=TABLES)
    parser.add_argument("--families", default="maf,nsf", help="of genus")
    parser.add_argument("--processor", action="store_true")
    parser.add_argument("--genus", action="store_true", help="without any peer")
    parser.add_argument("--alone", action="store_true", help="without zuko and nflows")
    options = parser.parse_args()
    if options.processor:
        time.perf_counter = time.process_time  # type: ignore[assignment]
    if options.peer:
        sys.path.append(options.peer)
    methods: dict[str, Method] = {f"genus {name}": ours(name) for name in options.families.split(",")}
    if not options.genus:
        methods |= {"scikit-learn kernels": kernels, "scikit-learn mixture": mixture}
    if not (options.alone or options.genus):
        methods |= {"zuko MAF": zuko_flow("MAF"), "zuko NSF": zuko_flow("NSF"), "nflows MAF": nflows_maf()}
        print(f"zuko {version('zuko')}, nflows {version('nflows')}")
    print(
        f"genus {genus.__version__}, torch {torch.__version__}, {torch.get_num_threads()} threads, {options.seconds:.0f} s each"
    )
    failed = [f for name in options.data.split(",") for f in compare(name, options.tables, options.seconds, methods)]
    RECORD.keep()
    if failed:
        raise SystemExit("; ".join(failed) + ".")


if __name__ == "__main__":
    main()
