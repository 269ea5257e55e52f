"""`genus serve`: a model answers over HTTP."""

from __future__ import annotations

import signal
from typing import Annotated, Any

import typer

from genus.cli.options import Model
from genus.errors import GenusError

__all__ = ["serve"]


def serve(
    model: Model,
    *,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Listen at this address; 0.0.0.0 lets others in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="N", min=0, max=65535, help="Listen at this port; 0 takes a free one.")] = 8000,
    most_rows: Annotated[int, typer.Option(metavar="N", min=1, help="Answer at most N rows a request.")] = 10_000,
    most_megabytes: Annotated[int, typer.Option(metavar="N", min=1, help="Read at most N MB of a request.")] = 16,
) -> None:
    """Answer questions to a model of a table over HTTP: /sample, /score and /impute, in JSON.

    / says which columns there are, and /docs is a page to try it all. Nothing that a request holds is run as code, and one is
    answered after the other. There are no passwords: let others in behind a proxy that asks for them. Ctrl-C ends it.

    \b
    Examples:
      genus serve iris.genus --port 8000
      curl localhost:8000/sample -H 'content-type: application/json' -d '{"n": 3, "where": ["species=setosa"]}'
      curl localhost:8000/score -H 'content-type: application/json' -d '{"rows": [{"sepal_length": 5.1}]}'
    """
    try:
        import fastapi  # noqa: F401 - said here, where it is missing, in a sentence
        import uvicorn
    except ImportError as error:
        raise GenusError(f"genus serve needs {error.name}, which is not installed: pip install 'genus[serve]'") from None

    from genus.cli.service import application
    from genus.files import load

    config = uvicorn.Config(application(load(model), most_rows, most_megabytes), host=host, port=port, log_level="info")
    _run(uvicorn.Server(config))


def _run(server: Any) -> None:
    """Run a server until a signal ends it; uvicorn knows what to do at SIGINT and SIGTERM, and not at SIGHUP."""
    hung_up = []

    def end(number: int, frame: Any) -> None:
        hung_up.append(number)
        server.should_exit = True

    number = getattr(signal, "SIGHUP", None)
    before = None if number is None else signal.getsignal(number)
    if number is None or not getattr(before, "of_genus", False):  # nohup had it ignored
        return server.run()
    signal.signal(number, end)
    try:
        server.run()
    finally:
        signal.signal(number, before)
    if hung_up:
        signal.raise_signal(number)
