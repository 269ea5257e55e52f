"""`genus distill`: a student's file out of a teacher's, and a report of how far they are apart."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from command import run

import genus
from genus import Category, Lattice, Real, Space
from genus.codec import Codec
from genus.codec.forms import Form

STUDENT = ["--set", "transforms=2", "--set", "hidden=8", "--steps", 30]


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The current folder, with a table and teachers of every kind."""
    here, before = tmp_path_factory.mktemp("genus"), Path.cwd()
    os.chdir(here)
    rng = np.random.default_rng(0)
    a = rng.normal(size=400)
    table = {"a": a, "b": a**2 + rng.normal(size=400), "zero": np.where(rng.random(400) < 0.5, 0.0, rng.normal(size=400))}
    with open("table.csv", "w") as file:
        writer = csv.writer(file)
        writer.writerow(table)
        writer.writerows(zip(*table.values(), strict=True))
    data = genus.read("table.csv")
    sound = Space(Real(0.0, 0.1), shape=(600,), sequence=True)
    text = Space(Category(("a", "b", None)), shape=(5,), sequence=True)
    plain = Space([Real(), Real()], names=["a", "b"])
    with genus.ladder.isolated(0):
        models = {
            "maf": genus.MAF(data.space, transforms=1, hidden=(8,)),
            "given": genus.MAF(plain, Space([Category(("u", "v"))], names=["which"]), transforms=1, hidden=(8,)),
            "whole": genus.build("maf", Space([Lattice(0, 9), Lattice(0, 3)], names=["a", "b"]), transforms=1, hidden=(8,)),
            "wavenet": genus.WaveNet(sound, width=8, layers=3, components=1),
            "gpt": genus.GPT(text, width=8, layers=1, heads=2),
            "pixelcnn": genus.PixelCNN(Space(Lattice(0, 3), shape=(3, 3)), width=8, layers=2),
            "vae": genus.VAE(plain, hidden=(8,)),
        }
        digits = genus.read("digits").space
        for noise in ("uniform", "variational"):
            models[noise] = genus.build("maf", digits, transforms=1, hidden=(8,), noise=noise)
        coded = Space(Lattice(0, 255), shape=(600,), sequence=True)
        models["mulaw"] = genus.WaveNet(coded, width=8, layers=3)
    models["mulaw"].codec = Codec(coded, Form("audio", ("float32",), coding="mu-law", rate=8000))
    models["wavenet"].codec = Codec(sound, Form("audio", ("float32",), coding="real", rate=8000))
    for name, model in models.items():
        genus.save(model, f"{name}.genus")
    yield here
    os.chdir(before)


def test_the_report_says_how_far_apart_and_how_fast_and_shows_samples() -> None:
    done = run("distill", "iaf", "maf.genus", "table.csv", *STUDENT, "--out", "iaf.genus", "--quiet")
    assert done.code == 0, done.err
    for words in (
        "KL(student || teacher)",
        "KL(teacher || student)",
        "held out",
        "40 rows",
        "times as fast",
        "genus sample iaf.genus",
    ):
        assert words in done.out, words
    assert done.out.count("a,b,zero") == 2  # samples of both, with their columns
    assert genus.load("iaf.genus").name == "iaf"


def test_json_holds_the_same(folder: Path) -> None:
    done = run("distill", "iaf", "maf.genus", *STUDENT, "--out", "b.genus", "--json", "--quiet", "--samples", "drawn")
    found = json.loads(done.out)
    assert found["student"] == "iaf"
    assert found["held_out"] is None
    assert found["kl_student_teacher"]["error"] > 0
    assert found["kl_student_teacher"]["label"] == "estimate"
    assert (found["warning"] is None) == (found["effective"] >= 100)
    assert found["kl_teacher_student"]["value"] > 0
    assert found["steps"] == 30
    assert found["hyper"]["transforms"] == 2
    assert len(found["samples"]["teacher"]) == len(found["samples"]["student"]) == 5
    assert sorted(path.name for path in (folder / "drawn").iterdir()) == ["student.csv", "teacher.csv"]


def test_whole_numbers_are_taught_within_their_noise() -> None:
    done = run("distill", "iaf", "whole.genus", *STUDENT, "--out", "w.genus", "--json", "--quiet")
    assert done.code == 0, done.err
    assert json.loads(done.out)["student"] == "iaf"
    for key in ("kl_student_teacher", "kl_teacher_student"):  # of points in cells, and no less than of the cells
        assert json.loads(done.out)[key]["label"] == "upper bound"
    done = run("distill", "iaf", "whole.genus", *STUDENT, "--out", "w.genus", "--quiet")
    assert done.out.count("||") == done.out.count("at most") == 2
    x = genus.load("w.genus").sample(50, seed=0)
    assert torch.equal(x, x.round())


@pytest.mark.parametrize("noise", ["uniform", "variational"])
def test_a_student_of_images_has_its_teachers_noise(noise: str) -> None:
    done = run("distill", "iaf", f"{noise}.genus", "digits", *STUDENT[:-1], 3, "--out", "d.genus", "--json", "--quiet")
    assert done.code == 0, done.err
    assert json.loads(done.out)["hyper"]["noise"] == noise
    assert json.loads(done.out)["held_out"]["label"] == "bound"


def test_a_conditional_student_is_sampled_with_a_condition() -> None:
    rows = "\n".join(f"{i % 7},{i % 5}.5,{'uv'[i % 2]}" for i in range(60))
    Path("given.csv").write_text(f"a,b,which\n{rows}\n")
    done = run("distill", "iaf", "given.genus", "given.csv", *STUDENT[:-1], 3, "--out", "g.genus", "--quiet")
    assert done.code == 0, done.err
    assert "next      genus sample g.genus -n 10 --context which=u" in done.out


def test_a_wavenet_teaches_sound_in_parallel(folder: Path) -> None:
    words = ("--set", "width=4", "--set", "layers=2,2", "--steps", 5, "--samples", "heard", "--quiet")
    words = (*words, "--batch", 3, "--length", 100)
    done = run("distill", "parallel-wavenet", "wavenet.genus", *words, "--out", "p.genus")
    assert done.code == 0, done.err
    assert len(list((folder / "heard").glob("student-*.wav"))) == 3
    assert genus.load("p.genus").sample(1).shape == (1, 600)


@pytest.mark.parametrize("error", [ZeroDivisionError("by zero"), RuntimeError("no such shape"), ValueError("not so")])
def test_values_that_a_student_cannot_be_built_with_are_named(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("genus.registry.build", fails)
    done = run("distill", "iaf", "maf.genus", *STUDENT, "--out", "never.genus")
    done.refused(1, "Cannot build iaf with transforms=2, hidden=[8]", str(error))


def test_what_is_infinite_is_said_with_its_reason_and_null_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    from genus.cli.distill import _finite, _print
    from genus.divergences import Estimate

    never = _finite(Estimate(math.inf, label="exact", reason="the teacher has density 0 at 3 of 50 draws of the student"))
    assert never["value"] is None
    found = {"kl_student_teacher": never, "kl_teacher_student": _finite(Estimate(0.5, 0.1)), "held_out": None, "draws": 50}
    found |= {"student_seconds": 1.0, "teacher_seconds": 2.0, "seconds": 1.0, "steps": 1, "stopped": "max_steps"}
    _print(found | {"out": "maf.genus", "parameters": 1, "warning": "far apart"}, genus.load("wavenet.genus"), {}, "")
    shown = capsys.readouterr().out
    assert "KL(student || teacher)  infinite: the teacher has density 0 at 3 of 50 draws" in shown
    assert "KL(teacher || student)  0.5000 ± 0.1000 nats" in shown
    assert "warning   far apart" in shown


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["iaf", "gpt.genus"], 1, "none go through the draw of a symbol"),
        (["iaf", "pixelcnn.genus"], 1, "none go through the draw of a symbol"),
        (["parallel-wavenet", "mulaw.genus"], 1, "--encoding real"),
        (["iaf", "maf.genus", "--length", "9"], 1, "length is of the windows"),
        (["iaf", "maf.genus", "--resume"], 1, "no training to resume"),
        (["iaf", "vae.genus"], 1, "must be a density"),
        (["iaf", "given.genus"], 2, "add DATA"),
        (["mixture", "maf.genus"], 2, "cannot draw with gradients"),
        (["nonsense", "maf.genus"], 2, "no family 'nonsense'"),
        (["iaf", "wavenet.genus"], 1, "these are sequences"),
        (["iaf", "maf.genus", "nothing.csv"], 1, "nothing.csv"),
        (["iaf", "maf.genus", "--forward", "0"], 1, "forward above 0"),
        (["iaf", "maf.genus", "--set", "depth=3"], 2, "no hyper-parameter 'depth'"),
        (["iaf", "nothing.genus"], 1, "nothing.genus"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(words: list[str], code: int, said: str) -> None:
    done = run("distill", *words, "--steps", 2, "--out", "never.genus")
    sentence = done.err.splitlines()[-1]
    done.refused(code, said)
    assert sentence.count("genus: ") == 1
    assert not Path("never.genus").exists()


def test_an_interrupted_teaching_is_gone_on_with(monkeypatch: pytest.MonkeyPatch) -> None:
    import genus.training.gradients as gradients

    words = ["distill", "iaf", "maf.genus", "--set", "transforms=1", "--set", "hidden=8", "--out", "on.genus", "--quiet"]
    step = gradients.GradientTrainer.train_step

    def stops(self: gradients.GradientTrainer, index: torch.Tensor) -> None:
        step(self, index)
        self.interrupt.asked = self.step == 3

    with monkeypatch.context() as patched:
        patched.setattr(gradients.GradientTrainer, "train_step", stops)
        done = run(*words, "--steps", 6)
    assert done.code == 130
    assert "to go on: genus distill" in done.err
    assert "--resume" in done.err
    assert Path("on.genus.ckpt").exists()
    done = run(*words, "--steps", 6, "--resume")
    assert done.code == 0, done.err
    assert "6 steps" in done.out
    assert not Path("on.genus.ckpt").exists()


def test_a_teacher_of_coded_sound_is_told_before_it_is_trained(folder: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    (folder / "recordings").mkdir()
    for i in range(3):
        soundfile.write(f"recordings/{i}.wav", np.sin(np.arange(400) / (3 + i)), 8000)
    words = ("fit", "recordings", "--family", "wavenet", "--set", "width=4", "--set", "layers=2", "--steps", 1)
    assert "add --encoding real" in run(*words, "--out", "coded.genus").err
    assert "--encoding real" not in run(*words, "--encoding", "real", "--out", "real.genus").err
