"""Columns of lists, which are left out of x: they pass through a command as they came."""

import json
from pathlib import Path

import pytest
from command import run

import genus


def test_lists_pass_through_as_json(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    lists = [[], ["a, b", 'c "d"'], None, [1]]
    rows = [{"v": float(i % 7) if i % 5 else None, "tags": lists[i % 4] if i % 4 != 3 else []} for i in range(60)]
    path.write_text("\n".join(map(json.dumps, rows)))
    with pytest.warns(UserWarning, match="tags"):
        data = genus.read(path)
    model = genus.build("naive-bayes", data.space)
    genus.fit(model, data, progress=False)
    genus.save(model, tmp_path / "m.genus")
    done = run("impute", tmp_path / "m.genus", path, "--seed", 1)
    lines = done.out.splitlines()
    assert lines[0] == "v,tags"
    assert lines[1].endswith(",[]")
    assert lines[2].endswith(',"[""a, b"", ""c \\""d\\""""]"')
