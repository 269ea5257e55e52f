"""An `RNN` on the characters of a text beside a loop in plain PyTorch, which trains the same net for the same seconds.

    OMP_NUM_THREADS=1 python benchmarks/rnn.py [--text FILE] [--seconds 20] [--turns 3]

The loop is what one writes by hand: an embedding, a GRU of 256 units and a linear map, trained by Adam at a rate of 0.002 on
batches of random blocks of 64 characters, as many characters a step as `fit` takes. The first 90 % of the text train, the last
10 % are the validation part, by which nothing is chosen; losses are nats a character of its blocks, of which the first one is
given. The two train in turns; it ends with an error where the median of genus is worse by more than 0.02 nats.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import torch
from gpt import BLOCK, TEXT, loss, pieces
from records import Record
from torch import Tensor, nn
from torch.nn import functional as F

import genus
from genus.training.rows import batch_size_for

RECORD = Record(__doc__)

WIDTH, RATE = 256, 2e-3


class Peer(nn.Module):
    """The same net in six lines of PyTorch."""

    def __init__(self, symbols: int) -> None:
        super().__init__()
        self.embedding, self.cells = nn.Embedding(symbols, WIDTH), nn.GRU(WIDTH, WIDTH, batch_first=True)
        self.out = nn.Linear(WIDTH, symbols)

    def forward(self, index: Tensor) -> Tensor:
        """index (B, T) -> logits (B, T, symbols)."""
        return self.out(self.cells(self.embedding(index))[0])


def train_peer(text: Tensor, symbols: int, batch: int, seconds: float, seed: int) -> tuple[Peer, int]:
    """The net after so many seconds, and its steps."""
    torch.manual_seed(seed)
    peer, steps, start = Peer(symbols), 0, time.perf_counter()
    optimizer = torch.optim.Adam(peer.parameters(), lr=RATE, fused=True)
    while time.perf_counter() - start < seconds:
        rows = text[torch.randint(len(text) - BLOCK, (batch, 1)) + torch.arange(BLOCK + 1)]
        value = F.cross_entropy(peer(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())
        optimizer.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(peer.parameters(), 1.0)
        optimizer.step()
        steps += 1
    return peer, steps


@torch.no_grad()
def peer_loss(peer: Peer, text: Tensor) -> float:
    rows = text.unfold(0, BLOCK + 1, BLOCK)
    return float(F.cross_entropy(peer(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path, default=TEXT)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--turns", type=int, default=3)
    arguments = parser.parse_args()
    if not arguments.text.is_file():
        raise SystemExit(f"There is no text {arguments.text}; pass --text FILE.")
    text = arguments.text.read_text(encoding="utf-8")
    letters = genus.Category(tuple(sorted(set(text))))
    place = {letter: i for i, letter in enumerate(letters.levels)}
    index = torch.tensor([place[letter] for letter in text])
    train, validation = index[: int(0.9 * len(index))], index[int(0.9 * len(index)) :]
    space = genus.Space(letters, shape=(BLOCK + 1,), sequence=True)
    data = pieces(train, space)
    batch = batch_size_for(len(data), space.dim)
    found: dict[str, list[float]] = {"plain loop": [], "genus.RNN": []}
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, GRU of {WIDTH}, batches of {batch} x {BLOCK}")
    for turn in range(arguments.turns):
        peer, steps = train_peer(train, len(letters.levels), batch, arguments.seconds, turn)
        found["plain loop"].append(peer_loss(peer, validation))
        torch.manual_seed(turn)
        model = genus.RNN(space, width=WIDTH)
        history = genus.fit(model, data, validation=None, max_seconds=arguments.seconds, seed=turn, progress=False)
        found["genus.RNN"].append(loss(model, validation, BLOCK + 1, BLOCK, 1))
        for (name, losses), count in zip(found.items(), (steps, history.steps), strict=True):
            print(f"  {name:<12}{count:>6} steps{losses[-1]:>8.3f} nats", flush=True)
    medians = {name: statistics.median(losses) for name, losses in found.items()}
    print(", ".join(f"{name} {value:.3f}" for name, value in medians.items()), "nats a character, medians")
    for name, value in medians.items():
        RECORD.row(method=name, nats_a_character=value, seconds=arguments.seconds, turns=arguments.turns)
    RECORD.keep()
    if medians["genus.RNN"] > medians["plain loop"] + 0.02:
        raise SystemExit("Expected the loss of the plain loop.")


if __name__ == "__main__":
    main()
