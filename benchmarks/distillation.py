"""From a masked autoregressive flow to an inverse one: how much of what the teacher knows the student keeps.

    python benchmarks/distillation.py [--seconds 120] [--tables FOLDER]

protein with one recorded unit of noise, standardised, 80 % training rows, 10 % to stop by, 10 % to judge. The teacher is
`genus.fit`ted to the training rows; the student sees no data, only what the teacher says of its draws (`genus.distill`), for as
long. Both are judged on the held-out rows, in nats a row; beside it the KL both ways and the times of 4,096 draws and of as
many densities. It exits with an error where the student is more than .3 nats below its teacher.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from flow_quality import TABLES, rows
from timing import medians

import genus
from genus import IAF, MAF, Real, Space

MOST = 0.3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--tables", type=Path, default=TABLES)
    options = parser.parse_args()
    x = rows("protein", options.tables)
    a, b = int(0.8 * len(x)), int(0.9 * len(x))
    mean, scale = x[:a].mean(0), x[:a].std(0)
    train, validation, test = (((part - mean) / scale).float() for part in (x[:a], x[a:b], x[b:]))
    space = Space(Real(), shape=(train.shape[1],))
    torch.manual_seed(0)
    teacher = MAF(space, **MAF.suggest(space, len(train)))
    print(genus.fit(teacher, train, validation=validation, max_seconds=options.seconds, seed=0, progress=False), flush=True)
    student = IAF(space, transforms=6, hidden=(256, 256), base="student")
    found = genus.distill(
        student, teacher, max_seconds=options.seconds, learning_rate=1e-3, batch_size=512, average=0.999, progress=False
    )
    print(found)
    with torch.no_grad():
        of_teacher, of_student = teacher.log_prob(test), student.log_prob(test)
    less = of_teacher - of_student
    error = float(less.std()) / len(less) ** 0.5
    both = f"teacher {of_teacher.mean():.3f}, student {of_student.mean():.3f}"
    print(f"held-out nats: {both}: {less.mean():.3f} ± {error:.3f} below")
    sampling = medians({"teacher": lambda: teacher.sample(4096), "student": lambda: student.sample(4096)}, 5)
    print(f"4,096 draws: teacher {sampling['teacher']:.1f} ms, student {sampling['student']:.1f} ms")
    if float(less.mean()) > MOST:
        raise SystemExit(f"The student is {less.mean():.2f} nats below its teacher, more than {MOST}.")


if __name__ == "__main__":
    main()
