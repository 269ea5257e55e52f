"""A Markov chain and a transformer, mixed symbol by symbol, beside each of them alone, on the characters of a text.

    OMP_NUM_THREADS=1 python benchmarks/blend.py [--text FILE] [--seconds 90] [--block 128] [--seed 0]

The first 90 % of the text train, of which the last tenth stops the training and fits the weights; the last 10 % are held out.
The blend learns for so many seconds of processor time, nearly all of them its transformer's (4 layers, 128 wide). All are
judged on the same held-out blocks, of which the first half of the characters is given, in nats a character; the differences
are paired, with standard errors over blocks. It ends with an error where the blend is worse than a member by more than one.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch
from records import Record
from torch import Tensor

import genus
from genus import Category, Dataset, Space

RECORD = Record(__doc__)
TEXT = Path(__file__).resolve().parents[2] / "shared" / "data" / "text" / "tinyshakespeare.txt"


def blocks(text: Tensor, space: Space) -> Dataset:
    """The text in blocks; what does not fill one is left out at its beginning."""
    return Dataset(text[len(text) % space.dim :].view(-1, space.dim), None, space, consecutive=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path, default=TEXT)
    parser.add_argument("--seconds", type=float, default=90.0, help="of processor time")
    parser.add_argument("--block", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if not arguments.text.is_file():
        sys.exit(f"{arguments.text} is not there; give a text with --text.")
    time.perf_counter = time.process_time  # type: ignore[assignment] # a budget of processor time
    characters = arguments.text.read_text(encoding="utf-8")
    letters = sorted(set(characters))
    text = torch.tensor([letters.index(one) for one in characters], dtype=torch.float32)
    space = Space(Category(tuple(letters)), shape=(arguments.block,), sequence=True)
    cut = len(text) * 9 // 10
    stop = cut * 9 // 10
    train, validation = blocks(text[:stop], space), blocks(text[stop:cut], space)
    gpt = {"class": "gpt", "width": 128, "layers": 4, "heads": 4}
    model = genus.build("blend", space, seed=arguments.seed, members=["markov", gpt], rows=len(train))
    history = genus.fit(model, train, validation=validation, max_seconds=arguments.seconds, seed=arguments.seed, progress=False)
    assert isinstance(model, genus.Blend)
    print(f"genus {genus.__version__}, torch {torch.__version__}, {torch.get_num_threads()} threads; {history.seconds:.0f} s")
    rows = text[cut:].unfold(0, arguments.block, arguments.block // 2)

    @torch.no_grad()
    def scores(one: genus.GenerativeModel) -> Tensor:
        assert isinstance(one, genus.models.chain_rule.ChainRule)
        found = [one.log_conditionals(part)[:, arguments.block // 2 :].double().mean(1) for part in rows.split(128)]
        return torch.cat(found)

    together, missed = scores(model), []
    print(f"  {'blend':<8}{-together.mean():7.4f} nats a character")
    RECORD.row(model="blend", nats_a_character=-float(together.mean()), seconds=arguments.seconds)
    for name, models in zip(model.weights, model.fits, strict=True):
        alone = scores(models[0])
        gain = together - alone
        error = float(gain.std()) / len(gain) ** 0.5
        print(f"  {name:<8}{-alone.mean():7.4f}  weight {model.weights[name]:.3f}  the blend {gain.mean():+.4f} ± {error:.4f}")
        RECORD.row(
            model=name,
            nats_a_character=-float(alone.mean()),
            weight=float(model.weights[name]),
            gain_of_the_blend=(float(gain.mean()), error),
        )
        missed += [name] if float(gain.mean()) < -error else []
    RECORD.keep([arguments.seed])
    if missed:
        sys.exit(f"The blend is worse than {', '.join(missed)}.")


if __name__ == "__main__":
    main()
