"""A name that is none is answered with the one that was perhaps meant, wherever names are looked up."""

from __future__ import annotations

from pathlib import Path

import pytest
from command import run

import genus
from genus.errors import listed, near


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("near") / "people.genus"
    data = genus.read({"sex": ["Female", "Male"] * 30, "age": [20 + i % 31 for i in range(60)]})
    fitted = genus.build("naive-bayes", data.space, seed=0)
    genus.fit(fitted, data, seed=0, progress=False)
    genus.save(fitted, path)
    return path


def test_only_what_is_near_is_suggested() -> None:
    assert near("INCOM ", ["age", "income"]) == " (did you mean 'income'?)"
    assert near("zip", ["age", "income", None, 3]) == ""
    assert listed([]) == "none"
    assert len(listed(range(10_000))) < 200


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["sample", "MODEL", "--where", "ages=30"], "'age'"),
        (["sample", "MODEL", "--where", "sex=Femal"], "'Female'"),
        (["sample", "MODEL", "--where", "sexx in (Male, Female)"], "'sex'"),
        (["sample", "MODEL", "--where", "sexx=>50K"], "'sex'"),
        (["score", "MODEL", "DATA", "--columns", "agee"], "'age'"),
        (["predict", "MODEL", "DATA", "--column", "agee"], "'age'"),
        (["impute", "MODEL", "DATA", "--columns", "agee"], "'age'"),
        (["fit", "iris", "--family", "mixtrue", "--out", "x.genus"], "'mixture'"),
        (["fit", "iris", "--family", "gpt", "--set", "widht=3", "--out", "x.genus"], "'width'"),
        (["fit", "iris", "--family", "gpt", "--target", "spezies", "--out", "x.genus"], "'species'"),
        (["fit", "iris", "--family", "gpt", "--kind", "species=categori", "--out", "x.genus"], "'category'"),
        (["fit", "iris", "--family", "gpt", "--context", "specie", "--out", "x.genus"], "'species'"),
        (["compare", "iris", "--families", "mixtrue", "--out", "x"], "'mixture'"),
        (["describe", "iris", "--constraint", "specis -> target"], "'species'"),
    ],
)
def test_the_command_line_says_what_was_perhaps_meant(
    words: list[str], meant: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("people.csv").write_text("sex,age\nMale,30\n,31\n")
    found = run(*({"MODEL": model, "DATA": "people.csv"}.get(word, word) for word in words))
    found.refused(found.code or 1, f"(did you mean {meant}?)")


def test_python_says_what_was_perhaps_meant(model: Path) -> None:
    fitted = genus.load(model)
    with pytest.raises(genus.DataError, match="did you mean 'Female'"):
        fitted.sample(1, where={"sex": "Femal"})
    with pytest.raises(genus.DataError, match="did you mean 'age'"):
        fitted.sample(1, where={"agee": 3})
    with pytest.raises(genus.GenusError, match="did you mean 'components'"):
        genus.build("mixture", fitted.space, component=3)


def test_conditions_that_contradict_a_relation_are_refused_before_anything_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    net, tax = [10 + 7 * i % 41 for i in range(200)], [3 * i % 11 for i in range(200)]
    level = ["low" if n < 20 else "mid" if n < 40 else "high" for n in net]
    table = {"net": net, "tax": tax, "total": [a + b for a, b in zip(net, tax, strict=True)]}
    data = genus.read(table | {"level": level, "grade": [{"low": 1, "mid": 2, "high": 3}[one] for one in level]})
    model = genus.build("naive-bayes", data.space, seed=0)
    genus.fit(model, data, seed=0, progress=False)
    assert len(model.sample(2, where={"net": 20, "total": 25}, seed=0)) == 2
    monkeypatch.setattr(type(model), "_sample", lambda *args: pytest.fail("it drew"))
    for where in ({"level": "low", "grade": 3}, {"net": 20, "tax": 3, "total": 40}, {"net": 20, "total": 19}):
        with pytest.raises(genus.DataError, match=r"No row can fulfil the conditions: (total =|level is|grade is)"):
            model.sample(2, where=where, seed=0)
