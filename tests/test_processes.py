"""One training in two processes of gloo: the numbers of one, a common end, a file that goes on, a process that is killed."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

WORK = """
import json, sys
import torch
import genus
from lightning_fabric import Fabric

def data(rows):
    x = torch.randn(rows, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x[:, 1] += x[:, 0] ** 2
    return genus.read(x.numpy())

def trained(family, rows, hyper, options, fabric=None):
    found = data(rows)
    model = genus.build(family, found.space, seed=0, **hyper)
    if options.get("precision") == "64-true":
        model = model.double()
    history = genus.fit(model, found, fabric=fabric, progress=False, **options)
    with torch.no_grad():
        scores = model.log_prob(found.x[:200]).tolist() if hasattr(model, "log_prob") else []
    weights = sum(float(t.double().nan_to_num().sum()) for t in model.state_dict().values())
    losses = [row[name] for row in history.rows for name in history.loss_names]
    return {"scores": scores, "losses": losses, "steps": history.steps, "seconds": history.seconds,
            "weights": weights}
"""
MAIN = (
    WORK
    + """
fabric = Fabric(accelerator="cpu", devices=2, strategy="ddp")
fabric.launch()
found = [trained(*job, fabric=fabric) for job in json.loads(sys.argv[1])]
print("FOUND" + json.dumps(found))
"""
)


def start(tmp_path: Path, jobs: list, count: int = 2) -> list[subprocess.Popen[str]]:
    """Start two processes as torchrun does, each of which makes the trainings one after another."""
    script = tmp_path / "work.py"
    script.write_text(MAIN)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
              "TORCHELASTIC_RUN_ID": "test", "OMP_NUM_THREADS": 1}  # fmt: skip
    processes = []
    for rank in range(count):
        own = {name: str(value) for name, value in (common | {"RANK": rank, "LOCAL_RANK": rank}).items()}
        command = [sys.executable, str(script), json.dumps(jobs)]
        pipe = subprocess.PIPE
        processes.append(subprocess.Popen(command, env=os.environ | own, stdout=pipe, stderr=pipe, text=True))
    return processes


def results(processes: list[subprocess.Popen[str]]) -> list[list[dict]]:
    said = [process.communicate(timeout=200) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    return [json.loads(re.search("FOUND(.*)", out)[1]) for out, _ in said]


def alone(job: list) -> dict:
    scope: dict = {}
    exec(WORK, scope)
    return scope["trained"](*job)


STEPS = {"max_steps": 200, "batch_size": 32, "seed": 1}


def test_two_processes_are_one(tmp_path: Path) -> None:
    """Counts to 1e-12, losses of 200 steps without noise to 1e-5; a budget of time ends both at one step."""
    jobs = [
        ["naive-bayes", 3000, {}, {}],
        ["made", 600, {"hidden": [16], "dropout": 0.0}, STEPS],
        ["made", 600, {"hidden": [16]}, {"max_seconds": 0.5}],
    ]
    processes = start(tmp_path, jobs)
    once = [alone(job) for job in jobs[:2]]
    first, second = results(processes)
    for one, (ours, theirs) in zip(once, zip(first, second, strict=True), strict=False):
        assert ours["scores"] == theirs["scores"]
        assert ours["steps"] == one["steps"]
    torch.testing.assert_close(first[0]["scores"], once[0]["scores"], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(first[1]["losses"], once[1]["losses"], rtol=0, atol=1e-5)
    assert first[2]["steps"] == second[2]["steps"] > 0
    assert first[2]["seconds"] == second[2]["seconds"] < 0.8


@pytest.mark.nightly
def test_more_families_are_the_same_in_two_processes(tmp_path: Path) -> None:
    """Thinned samples of numbers, learning in rank 0, and nets in double precision, where rounding does not grow."""
    exact = {**STEPS, "precision": "64-true"}
    jobs = [
        ["independent", 150_000, {}, {}],
        ["mixture", 2000, {"components": 3}, {}],
        ["maf", 600, {"hidden": [16]}, exact],
        ["gpt", 600, {"width": 16, "layers": 1, "heads": 2, "dropout": 0.0}, exact],
    ]
    processes = start(tmp_path, jobs)
    once = [alone(job) for job in jobs]
    first, _ = results(processes)
    for ours, one in zip(first, once, strict=True):
        torch.testing.assert_close(ours["scores"], one["scores"], rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(ours["losses"], one["losses"], rtol=0, atol=1e-5)


@pytest.mark.nightly
def test_games_and_codes_have_the_same_weights_in_all_processes(tmp_path: Path) -> None:
    """A critic that is no part of the model, a codebook that forward passes move, noise of each process's own."""
    first, second = results(start(tmp_path, [[name, 600, {}, {"max_steps": 12}] for name in ("wgan-gp", "vq-vae", "vae")]))
    assert [one["weights"] for one in first] == [one["weights"] for one in second]


@pytest.mark.nightly
def test_a_training_goes_on_in_another_number_of_processes(tmp_path: Path) -> None:
    hyper = {"hidden": [16], "dropout": 0.0}
    kept = {"checkpoint": str(tmp_path / "a.ckpt"), "batch_size": 32, "lr_schedule": "constant"}
    whole = alone(["made", 600, hyper, {**kept, "checkpoint": None, "max_steps": 120}])
    half, rest = {**kept, "max_steps": 60}, {**kept, "max_steps": 120, "resume": True}
    results(start(tmp_path, [["made", 600, hyper, half]]))
    torch.testing.assert_close(alone(["made", 600, hyper, rest])["scores"], whole["scores"], rtol=0, atol=1e-4)
    alone(["made", 600, hyper, half])
    both = results(start(tmp_path, [["made", 600, hyper, rest]]))
    torch.testing.assert_close(both[0][0]["scores"], whole["scores"], rtol=0, atol=1e-4)


@pytest.mark.nightly
def test_where_a_process_is_killed_the_other_ends_with_a_sentence(tmp_path: Path) -> None:
    kept = tmp_path / "a.ckpt"  # is there once both of them train
    endless = {"max_steps": 10**8, "patience": 10**8, "checkpoint": str(kept), "checkpoint_every": 20}
    processes = start(tmp_path, [["naive-bayes", 3000, {}, {}], ["made", 600, {"hidden": [16]}, endless]])
    try:
        for _ in range(600):
            time.sleep(0 if kept.exists() else 0.2)
        processes[1].send_signal(signal.SIGKILL)
        _, said = processes[0].communicate(timeout=120)
    finally:
        for process in processes:
            process.kill()
    assert processes[0].returncode == 1
    assert "TrainingError: Another process of this training has ended, so this one ends too" in said


def test_a_batch_is_divided_among_all_its_rows() -> None:
    from genus.training.group import Group
    from genus.training.rows import Rows

    group = Group()
    parts = []
    for rank in range(3):
        group.count, group.rank = 3, rank
        parts.append(group.part(torch.arange(10)))
    assert torch.cat(parts).tolist() == list(range(10))
    rows = Rows(torch.arange(20_001.0)[:, None], None)
    pieces = [list(rows.blocks(1000, rank, 3)) for rank in range(3)]
    assert len({len(piece) for piece in pieces}) == 1  # all ask as often whether it is time to stop
    assert torch.equal(torch.cat([block.x for piece in pieces for block in piece]), rows.x)


def test_processes_are_for_one_family_and_for_files() -> None:
    from command import run

    run("fit", "iris", "--out", "x.genus", "--processes", 2).refused(2, "--processes is for one family")
    run("fit", "-", "--family", "made", "--out", "x.genus", "--processes", 2).refused(2, "name a file")
