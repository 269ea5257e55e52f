"""A server is ended while it starts, waits or answers; the next one has its port, and answers."""

from __future__ import annotations

import http.client
import json
import os
import random
import select
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from genus.cli import main

__all__ = ["end_serving"]

LONGEST = 60.0  # seconds that a server may take to start or to end
START = 1.0  # seconds, within which a server that starts is ended
MANY = 10_000  # rows, which take a while


def end_serving(words: Sequence[str], number: signal.Signals, moment: str, rng: random.Random) -> int:
    """End a server, look at what it left, start another one at its port, and return the code with which the first ended.

    Args:
        words: of the command, with PORT for the port.
        number: the signal.
        moment: "before" it answers, "during" its waiting, or "while writing" an answer.
        rng: draws the time.

    Raises:
        AssertionError: a wrong code, a file that is left, a traceback, or a port that stays taken.
    """
    port = _free_port()
    words = [str(port) if word == "PORT" else word for word in words]
    pid = _started(words)
    if moment == "before":
        time.sleep(rng.random() * START)
    else:
        _wait_for_answer(pid, port)
        if moment == "while writing":
            threading.Thread(target=_asks, args=(port, MANY), daemon=True).start()
            time.sleep(rng.random() * 0.3)
    os.kill(pid, number)
    if number == signal.SIGPIPE:  # which Python ignores
        _wait_for_answer(pid, port)
        os.kill(pid, signal.SIGTERM)
    code = _code(pid)
    if code not in ((-9,) if number == signal.SIGKILL else (0, 130, 128 + number, -number, 143, -15)):
        raise AssertionError(f"serve: {number.name} ended it with {code}")
    if left := [name for name in os.listdir() if not name.startswith(".")]:
        raise AssertionError(f"serve: {number.name} left {left}")
    said = Path(".err").read_text(errors="replace")
    if "Traceback" in said and "KeyboardInterrupt" not in said.splitlines()[-1]:
        raise AssertionError(f"serve: {number.name} {moment} ended it with a traceback")
    again = _started(words)
    _wait_for_answer(again, port)
    os.kill(again, signal.SIGTERM)
    if (ended := _code(again)) not in (0, 143, -15):
        raise AssertionError(f"serve: the next one ended with {ended}")
    return code


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _started(words: Sequence[str]) -> int:
    """Return the process of a server."""
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
            code = main(words)
        except BaseException as error:
            traceback.print_exc()
            code = 130 if isinstance(error, KeyboardInterrupt) else code  # before the command began
        finally:
            sys.stderr.flush()
            os._exit(code)
    return pid


def _code(pid: int) -> int:
    """Return the exit code of a process that is about to end; one that does not is killed."""
    handle = os.pidfd_open(pid)
    if not select.select([handle], [], [], LONGEST)[0]:
        os.kill(pid, signal.SIGKILL)
    os.close(handle)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _wait_for_answer(pid: int, port: int) -> None:
    end = time.monotonic() + LONGEST
    while not _asks(port, 1):
        if time.monotonic() > end:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise AssertionError("serve: there was no answer")
        time.sleep(0.02)


def _asks(port: int, rows: int) -> bool:
    """Return whether the server gives as many rows as it is asked for."""
    with suppress(OSError, ValueError, http.client.HTTPException):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LONGEST)
        connection.request("POST", "/sample", json.dumps({"n": rows}), {"content-type": "application/json"})
        return len(json.load(connection.getresponse())["rows"]) == rows
    return False
