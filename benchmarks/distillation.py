"""From a masked autoregressive flow to an inverse one: how much of what the teacher knows the student keeps.

    python benchmarks/distillation.py [--seconds 120] [--steps 1500] [--tables FOLDER]

protein with one recorded unit of noise, standardised, 80 % training rows, 10 % to stop by, 10 % to judge. The teacher is
`genus.fit`ted to the training rows. The student sees no data, only the teacher: its draws, and what it says of the student's
(`genus.distill`), for so many steps; 1,500 take some two minutes of one core. Both are judged on the held-out rows, in nats a
row, the difference paired; beside it the KL both ways and the times of 4,096 draws and of as many densities. It exits with an
error where the student is more than .3 nats below its teacher.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from flow_quality import TABLES, rows
from records import Record
from timing import medians

import genus
from genus import IAF, MAF, Real, Space
from genus.divergences import Estimate

RECORD = Record(__doc__)

MOST = 0.3  # nats
DRAWS = 4096


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120.0, help="for the teacher")
    parser.add_argument("--steps", type=int, default=1500, help="of the student")
    parser.add_argument("--tables", type=Path, default=TABLES)
    options = parser.parse_args()
    x = rows("protein", options.tables)
    a, b = int(0.8 * len(x)), int(0.9 * len(x))
    mean, scale = x[:a].mean(0), x[:a].std(0)
    train, validation, test = (((part - mean) / scale).float() for part in (x[:a], x[a:b], x[b:]))
    space = Space(Real(), shape=(train.shape[1],))
    torch.manual_seed(0)
    teacher = MAF(space, **MAF.default_hyperparameters(space, len(train)))
    print(
        "teacher:",
        genus.fit(teacher, train, validation=validation, max_seconds=options.seconds, seed=0, progress=False),
        flush=True,
    )
    student = IAF(space, **IAF.default_hyperparameters(space, len(train)))
    found = genus.distill(student, teacher, max_steps=options.steps, progress=False)
    print("student:", found.history, flush=True)
    with torch.no_grad():
        of_teacher, of_student = teacher.log_prob(test), student.log_prob(test)
    less = Estimate.of((of_teacher - of_student).double())
    print(f"held-out nats a row: teacher {of_teacher.mean():.3f}, student {of_student.mean():.3f}", end="")
    print(f", {less.value:.3f} ± {less.error:.3f} below (paired, {len(test):,} rows)")
    print(found)
    draw = medians({"teacher": lambda: teacher.sample(DRAWS), "student": lambda: student.sample(DRAWS)}, 5)
    at = {name: teacher.sample(DRAWS, seed=0) for name in draw}
    with torch.no_grad():
        say = medians(
            {"teacher": lambda: teacher.log_prob(at["teacher"]), "student": lambda: student.log_prob(at["student"])}, 5
        )
    for name in draw:
        print(f"{name}: {DRAWS:,} draws {draw[name]:.1f} ms, densities {say[name]:.1f} ms")
    print(f"the student draws {draw['teacher'] / draw['student']:.1f} times as fast")
    of = {"teacher": of_teacher, "student": of_student}
    for name, values in of.items():
        RECORD.row(model=name, nats=float(values.mean()), draws_ms=draw[name], densities_ms=say[name])
    RECORD.row(model="teacher less student, paired", nats=(less.value, less.error))
    RECORD.keep()
    if less.value > MOST:
        raise SystemExit(f"The student is {less.value:.2f} nats below its teacher, more than {MOST}.")


if __name__ == "__main__":
    main()
