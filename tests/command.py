"""The `genus` command, run in this process."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout
from typing import NamedTuple

from genus.cli import main


class Outcome(NamedTuple):
    """What one command left behind."""

    code: int
    out: str
    err: str

    def refused(self, code: int, *words: str) -> None:
        """Assert that it ended with this code and one sentence that holds the words, with nothing on stdout."""
        assert self.code == code, self
        assert not self.out, self.out
        sentence = self.err.splitlines()[-1]
        assert sentence.startswith("genus: "), self.err
        assert "Traceback" not in self.err, self.err
        assert not sentence.startswith("genus: unexpected"), sentence
        for word in words:
            assert word in sentence, f"{word!r} is not in {sentence!r}"


def run(*argv: object) -> Outcome:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main([str(word) for word in argv])
    return Outcome(code, out.getvalue(), err.getvalue())
