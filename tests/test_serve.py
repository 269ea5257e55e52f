"""Test `genus serve` by a real server and a real client."""

from __future__ import annotations

import http.client
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

import genus

uvicorn = pytest.importorskip("uvicorn", reason="the server is not installed: pip install 'genus[serve]'")
pytest.importorskip("fastapi", reason="the server is not installed: pip install 'genus[serve]'")

ROW = {"sepal length (cm)": 5.1, "sepal width (cm)": 3.5, "petal length (cm)": 1.4, "petal width (cm)": 0.2}
Ask = Any  # a function that asks, with the port as its attribute


@pytest.fixture(scope="module")
def ask() -> Iterator[Ask]:
    from genus.cli.service import application

    data = genus.read("iris")
    model = genus.NaiveBayes(data.space)
    genus.fit(model, data, progress=False)
    config = uvicorn.Config(application(model, most_rows=50, most_megabytes=1), port=0, log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]

    def ask(path: str, **body: Any) -> tuple[int, Any]:
        data = json.dumps(body).encode() if body else None
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, {"content-type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)["detail"]

    ask.port = port  # type: ignore[attr-defined]
    yield ask
    server.should_exit = True
    thread.join()


def test_a_model_says_what_it_is(ask: Ask) -> None:
    code, said = ask("/")
    assert (code, said["family"], said["label"], said["most_rows"]) == (200, "naive-bayes", "exact", 50)
    assert "species" in said["columns"]


def test_rows_are_drawn_as_asked_for_and_repeat(ask: Ask) -> None:
    code, said = ask("/sample", n=20, where=["species=setosa"], seed=1)
    assert code == 200
    assert [row["species"] for row in said["rows"]] == ["setosa"] * 20
    assert ask("/sample", n=20, where=["species=setosa"], seed=1) == (code, said)
    assert ask("/sample", n=0) == (200, {"rows": []})


def test_rows_are_scored_each_for_itself(ask: Ask) -> None:
    rows = [ROW | {"species": "setosa"}, ROW | {"species": "rose"}, ROW]
    code, said = ask("/score", rows=rows)
    assert (code, said["label"]) == (200, "exact")
    assert said["log_density"][0] < said["log_density"][2]  # the third is scored by what it has
    assert said["log_density"][1] is None
    assert "species" in said["reason"][1]
    assert ask("/score", rows=[ROW | {"species": "setosa"}])[1]["log_density"] == pytest.approx(said["log_density"][:1])


def test_blanks_are_filled_and_the_rest_stays(ask: Ask) -> None:
    code, said = ask("/impute", rows=[ROW, {"species": "virginica"}], seed=3)
    assert (code, said["filled"]) == (200, 5)
    assert {name: said["rows"][0][name] for name in ROW} == ROW
    assert said["rows"][0]["species"] in ("setosa", "versicolor", "virginica")
    assert None not in said["rows"][1].values()


@pytest.mark.parametrize(
    ("path", "body", "code", "why"),
    [
        ("/sample", {"n": 51}, 413, "more than the 50"),
        ("/sample", {"n": 1, "wehre": []}, 422, "wehre"),
        ("/sample", {"n": 1, "where": ["specis=setosa"]}, 422, "specis"),
        ("/sample", {"n": 1, "context": {"a": 1}}, 422, "no context"),
        ("/score", {"rows": [{"height": 3}]}, 422, "no column 'height'"),
        ("/score", {"rows": [ROW | {"species": "setosa", "petal width (cm)": "wide"}]}, 422, "petal width"),
    ],
)
def test_a_wrong_request_is_a_sentence(path: str, body: dict[str, Any], code: int, why: str, ask: Ask) -> None:
    found, said = ask(path, **body)
    assert found == code
    assert why in str(said)


def test_a_long_body_is_refused_before_it_is_read(ask: Ask) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", ask.port, timeout=60)
    connection.putrequest("POST", "/score")
    connection.putheader("content-length", "2000000")
    connection.endheaders()
    answer = connection.getresponse()
    assert (answer.status, "more than 1 MB" in answer.read().decode()) == (413, True)
    connection.close()


def test_only_tables_are_served() -> None:
    from genus.cli.service import application

    with pytest.raises(genus.GenusError, match="no table"):
        application(genus.VAE(genus.read("digits").space))
