"""Test hubs against one of our own: a model goes up with its card and comes down the same."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

import genus
from genus.hub import from_pretrained, model_card, push_to_hub

pytest.importorskip("huggingface_hub", reason="the hub's client is not installed: pip install 'genus[hub]'")
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(BaseHTTPRequestHandler):
    """What a client asks for when it makes a repository, commits small files, and downloads one."""

    files: dict[str, bytes] = {}  # noqa: RUF012
    asked: list[Any] = []  # noqa: RUF012

    def log_message(self, *_: Any) -> None:
        pass

    def answer(self, code: int, body: bytes, **headers: str) -> None:
        self.send_response(code)
        for name, value in {"content-length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.path.endswith("/preupload/main"):
            told = json.loads(body)["files"]
            modes = [{"path": one["path"], "uploadMode": "regular", "shouldIgnore": False} for one in told]
            return self.answer(200, json.dumps({"files": modes}).encode())
        if "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            said = {"commitUrl": f"http://{self.headers['host']}/me/wine/commit/{COMMIT}", "commitOid": COMMIT, "success": True}
            return self.answer(200, json.dumps(said).encode())
        self.asked.append(json.loads(body))  # of /api/repos/create
        return self.answer(200, json.dumps({"url": f"http://{self.headers['host']}/me/wine"}).encode())

    def do_GET(self) -> None:
        name = self.path.split("?")[0].rsplit("/", 1)[-1]
        if "/resolve/" not in self.path or name not in self.files:
            return self.answer(404, b"{}", x_error_code="EntryNotFound")
        return self.answer(200, self.files[name], etag='"1"', x_repo_commit=COMMIT)

    do_HEAD = do_GET


@pytest.fixture
def endpoint() -> Iterator[str]:
    Hub.files, Hub.asked = {}, []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def wine() -> genus.NaiveBayes:
    data = genus.read("wine")
    model = genus.NaiveBayes(data.space)
    genus.fit(model, data, progress=False)
    return model


def test_a_model_goes_up_with_its_card_and_comes_down_the_same(endpoint: str, tmp_path: Path) -> None:
    model = wine()
    address = push_to_hub(model, "me/wine", token="hf_secret", endpoint=endpoint)
    assert COMMIT in address
    assert Hub.asked[0].get("private") or Hub.asked[0].get("visibility") == "private", Hub.asked
    assert sorted(Hub.files) == ["README.md", "model.genus"]
    assert b'from_pretrained("me/wine")' in Hub.files["README.md"]
    assert b"hf_secret" not in b"".join(Hub.files.values())
    back = from_pretrained("me/wine", endpoint=endpoint, cache=tmp_path)
    x = model.sample(5, seed=0)
    assert torch.equal(back.log_prob(x), model.log_prob(x))


def test_what_is_no_model_is_refused_by_its_name(endpoint: str, tmp_path: Path) -> None:
    with pytest.raises(genus.GenusError, match="me/wine could not be downloaded"):
        from_pretrained("me/wine", endpoint=endpoint, cache=tmp_path)
    Hub.files["model.genus"] = b"import os"
    with pytest.raises(genus.ModelFileError, match=r"model\.genus of me/wine"):
        from_pretrained("me/wine", endpoint=endpoint, cache=tmp_path)


def test_a_card_has_the_numbers_of_a_report() -> None:
    report = genus.compare("wine", ["naive-bayes"], budget=1, seeds=1, jobs=1, progress=False)
    card = model_card(wine(), "me/wine", report)
    assert report.verdict in card
    assert "log-density, nats a row (exact)" in card
    assert genus.NaiveBayes.info.good in card
