"""Damage, craft, kill and signal, by a seed, and print every kind of fault that shows.

    python -m benchmarks.reliability [--seed 0] [--minutes 10] [--cases 1000] [--first 0] [--only csv models] [--show]

Each part runs its cases, by number, until it has run `--cases` of them or its share of the minutes is over; its line says which
these were, so that `--first` goes on. A case runs `genus` in a forked process, with limits of processor time and memory. The
exit code is 1 where there was a fault.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import torch

from .campaign import PARTS, part, run_part
from .kills import Kills


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--cases", type=int, default=1000, help="of each part at most")
    parser.add_argument("--first", type=int, default=0, help="the number of the first case of each part")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART")
    parser.add_argument("--home", type=Path, help="a folder in which whole models are kept from one sitting to the next")
    parser.add_argument("--show", action="store_true", help="show what the first case of each fault printed")
    options = parser.parse_args()
    torch.set_num_threads(1)
    faults = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in options.only:
            cases = part(name, options.seed, options.home or Path(folder))
            seconds = 60 * options.minutes / len(options.only)
            result = run_part(name, cases, options.first, options.cases, seconds)
            faults += sum(map(len, result.faults.values()))
            print(result, flush=True)
            if isinstance(cases, Kills):
                print(cases)
            for kind, text in result.details.items() if options.show else ():
                print(f"\n--- {kind}\n{text}")
    print(f"{faults:,} faults; seed {options.seed}")
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
