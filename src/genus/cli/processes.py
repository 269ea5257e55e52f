"""Several processes that train one model: those of torchrun, or started here."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from typing import IO, TYPE_CHECKING, Any

import typer

from genus.cli.errors import UsageError

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["check_source", "train_together"]

SECONDS = 30  # that processes have to end by themselves
LOST = "Another process of this training has ended"  # the error of those that did nothing wrong

Child = tuple["subprocess.Popen[bytes]", IO[bytes]]


def check_source(processes: int | None, data: str) -> None:
    """Raise UsageError where several processes would read stdin."""
    if data == "-" and processes not in (None, 1):
        raise UsageError("--processes: every process reads the data, and stdin can be read but once; name a file")


def train_together(processes: int | None, device: str, ctx: typer.Context) -> Fabric | None:
    """Return the Fabric of the processes of torchrun, or of this one and others that run the same command; None for one.

    Args:
        processes: as many as there are, or are to be started on this machine.
        device: "auto", "cpu" or "cuda".
        ctx: of the command, at whose end the others are waited for.

    Raises:
        UsageError: torchrun has started another number, or the device is a single one.
    """
    import torch.distributed as dist

    launched = dist.is_torchelastic_launched()
    count = int(os.environ["WORLD_SIZE"]) if launched else processes or 1
    if processes not in (None, count):
        raise UsageError(f"--processes {processes}, and torchrun has started {count}; leave --processes out")
    if count == 1:
        return None
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"--device {device} is one device, and there are {count} processes; expected auto, cpu or cuda")
    children = [] if launched else _start_others(count, ctx)
    ctx.call_on_close(lambda: _end_others(children))

    from lightning_fabric import Fabric

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it announces every process
    each = int(os.environ["LOCAL_WORLD_SIZE"])
    fabric = Fabric(accelerator=device, devices=each, num_nodes=count // each, strategy="ddp")
    formed = threading.Event()
    threading.Thread(target=_watch, args=(children, formed), daemon=True).start()
    fabric.launch()
    formed.set()
    return fabric


def _watch(children: list[Child], formed: threading.Event) -> None:
    """End this process where another ended before all were connected; torch would wait for that one for half an hour."""
    while not formed.wait(0.2):
        if any(child.poll() is not None for child, _ in children) and not formed.wait(1.0):
            _explain(children)
            print("genus: not all processes could be started, so there is no training.", file=sys.stderr, flush=True)
            os._exit(1)


def _start_others(count: int, ctx: typer.Context) -> list[Child]:
    """Start the command in processes of their own, as torchrun would, of which this one is the first."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    common |= {"GROUP_RANK": 0, "TORCHELASTIC_RUN_ID": "genus"}
    children: list[Child] = []
    for rank in range(1, count):
        said = tempfile.TemporaryFile()  # noqa: SIM115 - read when the process has ended
        pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": said}
        environment = os.environ | _environment(common, rank)
        children.append((subprocess.Popen([sys.executable, "-m", "genus", *ctx.obj], env=environment, **pipes), said))
    before = {name: os.environ.get(name) for name in _environment(common, 0)}
    os.environ |= _environment(common, 0)
    ctx.call_on_close(lambda: _restore(before))
    return children


def _environment(common: dict[str, Any], rank: int) -> dict[str, str]:
    return {name: str(value) for name, value in (common | {"RANK": rank, "LOCAL_RANK": rank}).items()}


def _restore(before: dict[str, str | None]) -> None:
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _end_others(children: list[Child]) -> None:
    """Wait until the other processes have ended, and say why those did that ended by an error of their own."""
    import torch.distributed as dist

    if dist.is_initialized():
        dist.destroy_process_group()
    for child, _ in children:
        try:
            child.wait(SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    _explain(children)


def _explain(children: list[Child]) -> None:
    """Print why processes have ended that did so by an error of their own."""
    for child, said in children:
        if (code := child.poll()) is None:
            continue
        said.seek(0)
        lines = said.read().decode(errors="replace").strip().splitlines()
        if code < 0:
            print(f"genus: process {child.pid} was ended by {signal.Signals(-code).name}", file=sys.stderr)
        elif code not in (0, 130) and lines and LOST not in lines[-1]:
            print(f"genus: process {child.pid} ended: {lines[-1].removeprefix('genus: ')}", file=sys.stderr)
