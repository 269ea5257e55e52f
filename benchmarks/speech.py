"""From a WaveNet to an inverse autoregressive flow over time, on spoken digits: what is kept, and how much faster it speaks.

    python benchmarks/speech.py [--teacher 1h] [--student 1h] [--frame 64] [--data FOLDER] [--out FOLDER]

3,000 recordings of ten digits by six speakers at 8 kHz, 16 bits, cut or filled up with silence to 4,096 samples. One speaker is
never heard in training; of the other five 80 % train, 20 % judge. The teacher is a WaveNet with one Gaussian a sample, given
the digit and the speaker, beside linear prediction in frames of --frame samples, which is measured in closed form and which
its student takes over. The student is a ParallelWaveNet, taught by `genus.distill` with a log-spectral distance to recordings
of the same digit and speaker beside it, an eighth of a second at a time: over whole utterances it does not know when, and a
student that seeks says every digit at one moment. Both stages keep a checkpoint in --out and go on from it: --teacher and
--student say for how long in all, and a run without one of them takes the model that is there. index.html there has samples
of both to listen to.

It prints the teacher's bits a sample (of the 16-bit recordings, a uniform noise of one step added) of held-out recordings
and of the speaker that it never heard, taken for each of the five alike; how likely the student's samples are to the teacher
beside the teacher's own; how often a classifier of real recordings recognises the digits of both; and the times of one
utterance: of the student, of the teacher through its queues, and of the teacher as if it had none (timed over some passes and
scaled up). It ends with an error where a line is missed: likelihood within 10 % in bits, recognition 80 % of the teacher's, 300
times the naive and 20 times the cached teacher, faster than real time.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from records import Record
from timing import medians
from torch import Tensor

import genus
from genus import Category, ParallelWaveNet, Real, Space, WaveNet
from genus.cli.inputs import parse_duration
from genus.codec import Codec, Form
from genus.divergences import Estimate, log_spectral_distance
from genus.evaluation.excerpts import sounds
from genus.ladder import map_batches
from genus.random import isolated

RECORD = Record(__doc__)
RECORDINGS = Path(__file__).resolve().parents[2] / "shared" / "data" / "audio"
UNHEARD = "yweweler"  # the speaker whose recordings are in no training
RATE, LENGTH, STEP = 8_000, 4_096, 2.0**-15
TAPS = 16  # of the teacher's linear prediction
EACH = 4  # samples of every digit and speaker
SPECTRAL = 0.3  # weight of the log-spectral distance, beside nats a sample
PIECE = 1_024  # samples that it compares at a time
PASSES = 20
NAIVE, CACHED, LIKELY, RECOGNISED = 300, 20, 0.10, 0.80


def read(folder: Path) -> tuple[Tensor, Tensor, Space, Space]:
    """x (N, T) in [-1, 1], c (N, 2) the digit and the speaker, -1 for the one never heard, and their spaces."""
    import soundfile

    paths = sorted(folder.glob("**/*.wav"), key=lambda path: path.name)
    if not paths:
        sys.exit(f"there are no recordings in {folder}; --data names the folder of the Free Spoken Digit Dataset")
    named = [path.stem.split("_") for path in paths]
    speakers = sorted({name for _, name, _ in named} - {UNHEARD})
    x = torch.zeros(len(paths), LENGTH)
    for row, path in zip(x, paths, strict=True):
        wave = torch.from_numpy(soundfile.read(path, dtype="float32")[0])[:LENGTH]
        row[: len(wave)] = wave
    x += STEP * (torch.rand(x.shape, generator=torch.Generator().manual_seed(0)) - 0.5)
    voices = {UNHEARD: -1, **{name: index for index, name in enumerate(speakers)}}
    c = torch.tensor([[float(digit), float(voices[speaker])] for digit, speaker, _ in named])
    space = Space(Real(0.0, float(x.std())), shape=(LENGTH,), sequence=True)
    return x, c, space, Space([Category(tuple(range(10))), Category(tuple(speakers))], names=["digit", "speaker"])


def bits(log_prob: Tensor) -> Tensor:
    """Log-densities (N,) of whole utterances -> bits for each of their 16-bit samples."""
    return -log_prob.double() / LENGTH / math.log(2) - math.log2(STEP)


def said(model: Any, x: Tensor, c: Tensor) -> Tensor:
    """(N,): bits a sample."""
    with torch.no_grad():
        return bits(map_batches(model.log_prob, x, c, rows=8))


def said_by_anyone(model: Any, x: Tensor, c: Tensor, voices: int) -> Tensor:
    """(N,): bits a sample of recordings whose speaker is any of those heard, with equal probabilities."""
    with torch.no_grad():
        each = [
            map_batches(model.log_prob, x, torch.stack([c[:, 0], torch.full((len(c),), float(voice))], 1), rows=8)
            for voice in range(voices)
        ]
    return bits(torch.stack(each).double().logsumexp(0) - math.log(voices))


# -- who recognises the digits --------------------------------------------------------------------------------------------


def features(x: Tensor) -> np.ndarray:
    """x (N, T) -> log power in 24 bands of 31 frames, (N, 744), the loudness of the whole taken out."""
    frames = x.double().unfold(1, 256, 128) * torch.hann_window(256, dtype=torch.float64)
    power = torch.fft.rfft(frames).abs().square()[..., 1:]  # (N, frames, 128)
    edges = np.unique(np.round(np.geomspace(1, 129, 36)).astype(int) - 1)[-25:]
    bands = torch.stack([power[..., a:b].mean(-1) for a, b in pairwise(edges)], dim=-1)
    level = bands.mean((1, 2), keepdim=True)
    return (bands / level + 1e-4).log().flatten(1).numpy()


def recogniser(x: Tensor, c: Tensor) -> Any:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    return make_pipeline(StandardScaler(), SVC(C=10.0)).fit(features(x), c[:, 0].long().numpy())


# -- how long an utterance takes ------------------------------------------------------------------------------------------


@torch.no_grad()
def naive(teacher: WaveNet, c: Tensor) -> float:
    """Milliseconds of an utterance without queues: each sample a pass over all that the net sees."""
    field = sum(teacher.net.stack.dilations) + 1
    x, given = 0.1 * torch.randn(1, field), teacher._context_features(c)

    def once() -> Tensor:
        h = teacher.net.parallel(teacher.tokens(x), given)
        return teacher.outputs.at(0, h[:, -1]).sample()

    return LENGTH * medians({"pass": once}, PASSES)["pass"]


def page(path: Path, space: Space, samples: dict[str, Tensor]) -> None:
    heard = sounds(Codec(space, Form("audio", ("float32",), coding="real", rate=RATE)), samples, most=10)
    cells = [
        f"<h2>{name}</h2>" + "".join(f'<figure>{one.svg}<br><audio controls src="{one.uri}"></audio></figure>' for one in many)
        for name, many in heard.items()
    ]
    style = "body{font:15px sans-serif}figure{display:inline-block;margin:8px}"
    path.write_text(f"<!doctype html><meta charset=utf-8><title>Digits</title><style>{style}</style>{''.join(cells)}")


def resumable(checkpoint: Path) -> dict[str, Any]:
    """The arguments of `genus.fit` by which a stage goes on where the last run left it."""
    return {"checkpoint": checkpoint, "resume": checkpoint.exists()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", type=parse_duration, help="train it so long in all; otherwise take the one in --out")
    parser.add_argument("--student", type=parse_duration, help="likewise")
    parser.add_argument(
        "--frame", type=int, default=64, help="samples that share learned features of where they are; 0 for none"
    )
    parser.add_argument("--data", type=Path, default=RECORDINGS)
    parser.add_argument("--out", type=Path, default=Path("speech"))
    parser.add_argument("--each", type=int, default=EACH, help="samples of every digit and speaker that are judged")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    x, c, space, context = read(options.data)
    unheard, order = (torch.nonzero(c[:, 1] < 0)[:, 0], torch.nonzero(c[:, 1] >= 0)[:, 0])
    order = order[torch.randperm(len(order), generator=torch.Generator().manual_seed(0))]
    known, held = order[: int(0.8 * len(order))], order[int(0.8 * len(order)) :]
    voices = int(c[:, 1].max()) + 1

    kept = options.out / "teacher.genus"
    if options.teacher:
        with isolated(0):
            taps = TAPS if options.frame else 0
            teacher = WaveNet(space, context, width=64, layers=10, components=1, frame=options.frame, taps=taps)
        # Muon for the matrices: on plucked strings it learns in 200 steps more than Adam alone in 400.
        moved = [p for p in teacher.parameters() if p.requires_grad]
        losses = [replace(loss, parameters=moved, matrices=teacher.net.stack.matrices()) for loss in teacher.losses()]
        how = {"learning_rate": 1e-2, "ema_decay": 0.99, "precision": "bf16-mixed", "batch_size": 2, "patience": 1_000}
        stage = resumable(options.out / "teacher.checkpoint")
        history = genus.fit(teacher, (x[known], c[known]), losses=losses, max_seconds=options.teacher, seed=0, **how, **stage)
        print("teacher:", history, flush=True)
        genus.save(teacher, kept)
    teacher = genus.load(kept).eval()
    kept = options.out / "student.genus"
    if options.student:
        with isolated(0):
            taps = TAPS if teacher.prediction is not None else 0
            student = ParallelWaveNet(space, context, width=32, layers=(10, 10, 10, 12), frame=options.frame, taps=taps)
        if taps:  # the teacher's linear prediction
            student.transform.transforms[0].prediction.load_state_dict(teacher.prediction.state_dict())
        found = genus.distill(
            student,
            teacher,
            (x[known], c[known]),
            auxiliary=lambda drawn, real: SPECTRAL * log_spectral_distance(drawn.view(-1, PIECE), real.view(-1, PIECE)),
            max_seconds=options.student,
            batch_size=4,
            learning_rate=1e-2,
            draws=20,
            **resumable(options.out / "student.checkpoint"),
        )
        print("student:", found.history, found, sep="\n", flush=True)
        genus.save(student, kept)
    student = genus.load(kept).eval()

    judged = held[: 40 * EACH]
    real = Estimate.of(said(teacher, x[judged], c[judged]))
    strange = unheard[:: max(1, len(unheard) // 50)]
    other = Estimate.of(said_by_anyone(teacher, x[strange], c[strange], voices))
    print(
        f"teacher: {real.value:.3f} ± {real.error:.3f} bits a sample of held-out recordings (one Gaussian a sample, 8 kHz),"
        f" {other.value:.3f} ± {other.error:.3f} of a speaker never heard"
    )
    given = torch.cartesian_prod(torch.arange(10.0), torch.arange(float(voices))).repeat(options.each, 1)
    samples = {name: model.sample(len(given), given, seed=1) for name, model in (("teacher", teacher), ("student", student))}
    page(options.out / "index.html", space, {name: drawn[: 10 * voices : voices] for name, drawn in samples.items()})
    likely = {name: Estimate.of(said(teacher, drawn, given)) for name, drawn in samples.items()}
    away = likely["student"].value / likely["teacher"].value - 1
    told = ", ".join(f"the {name}'s samples {one.value:.3f} ± {one.error:.3f}" for name, one in likely.items())
    print(f"bits a sample under the teacher: {told}: {away:+.1%}")

    classifier, digits = recogniser(x[known], c[known]), given[:, 0].long().numpy()
    right = {name: float(np.mean(classifier.predict(features(drawn)) == digits)) for name, drawn in samples.items()}
    real_right, other_right = (
        float(np.mean(classifier.predict(features(x[rows])) == c[rows, 0].long().numpy())) for rows in (held, unheard)
    )
    share = right["student"] / max(right["teacher"], 1e-9)
    told = ", ".join(
        f"of {name} {value:.1%}"
        for name, value in {
            "recordings": real_right,
            "the speaker never heard": other_right,
            **{f"the {name}": value for name, value in right.items()},
        }.items()
    )
    print(f"digits recognised: {told}: the student's {share:.1%} as often as the teacher's ({len(given)} of each)")

    one = given[:1]
    draw = medians({"student": lambda: student.sample(1, one)}, 5)["student"]
    begin = time.perf_counter()
    teacher.sample(1, one)
    cached = 1e3 * (time.perf_counter() - begin)
    slow, heard = naive(teacher, one), 1e3 * LENGTH / RATE
    told = f"cached teacher {cached:.0f} ms ({cached / draw:.0f} times), naive {slow / 1e3:.0f} s ({slow / draw:.0f} times)"
    print(f"one utterance of {heard:.0f} ms: student {draw:.1f} ms, {told}")

    RECORD.row(
        teacher_bits=(real.value, real.error),
        unheard_bits=(other.value, other.error),
        student_bits_pct=100 * away,
        digits_known_pct=100 * real_right,
        of_the_teacher_pct=100 * right["teacher"],
        of_the_student_pct=100 * right["student"],
        student_ms=draw,
        teacher_ms=cached,
        naive_ms=slow,
    )
    RECORD.keep()
    missed = {
        f"the student's samples are {away:+.1%} away": abs(away) > LIKELY,
        f"the student is recognised {share:.0%} as often": share < RECOGNISED,
        f"{slow / draw:.0f} times the naive teacher": slow < NAIVE * draw,
        f"{cached / draw:.0f} times the cached teacher": cached < CACHED * draw,
        "slower than real time": draw > heard,
    }
    if any(missed.values()):
        raise SystemExit("Missed: " + "; ".join(line for line, miss in missed.items() if miss) + ".")


if __name__ == "__main__":
    main()
