"""A file is written whole or not at all, with the permissions that its place asks for."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

import genus
from genus.atomic import atomic_write, check_writable


def write(path: Path, text: str = "new") -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(text)


def permissions(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_file_has_the_permissions_of_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write(tmp_path / "deep" / "new")
    finally:
        os.umask(before)
    assert permissions(tmp_path / "deep" / "new") == 0o640


@pytest.mark.parametrize("mode", [0o600, 0o664])
def test_a_file_that_is_replaced_keeps_its_permissions(mode: int, tmp_path: Path) -> None:
    path = tmp_path / "old"
    path.write_text("old")
    path.chmod(mode)
    write(path)
    assert (path.read_text(), permissions(path)) == ("new", mode)


def test_writers_that_make_a_file_of_their_own_change_no_permissions(tmp_path: Path) -> None:
    genus.save(genus.NaiveBayes(genus.Space([genus.Real()])), tmp_path / "m.genus")
    (tmp_path / "plain").touch()
    assert permissions(tmp_path / "m.genus") == permissions(tmp_path / "plain")


def test_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    for name in ("there/file", "there/missing"):
        link = tmp_path / f"link-to-{Path(name).name}"
        link.symlink_to(tmp_path / name)
        write(link)
        assert link.is_symlink()
        assert (tmp_path / name).read_text() == "new"
    assert sorted(file.name for file in (tmp_path / "there").iterdir()) == ["file", "missing"]


def test_a_failure_leaves_the_old_content_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "old"
    path.write_text("old")

    def fail() -> None:
        with atomic_write(path) as temporary:
            temporary.write_text("half of i")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert [file.name for file in tmp_path.iterdir()] == ["old"]
    assert path.read_text() == "old"


def test_a_signal_that_comes_as_the_file_is_made_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make = os.open

    def make_and_end(path: str | os.PathLike[str], *arguments: int) -> int:
        os.close(make(path, *arguments))
        raise KeyboardInterrupt

    def write() -> None:
        with atomic_write(tmp_path / "new"):
            pass

    monkeypatch.setattr(os, "open", make_and_end)
    with pytest.raises(KeyboardInterrupt):
        write()
    assert not list(tmp_path.iterdir())


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(genus.GenusError, match="pipe: it is a device or a pipe and not a regular file"):
        write(tmp_path / "pipe")
    with pytest.raises(genus.GenusError, match="it is a folder and not a file"):
        write(tmp_path)
    with pytest.raises(genus.ModelFileError, match="/dev/null"):
        genus.save(genus.NaiveBayes(genus.Space([genus.Real()])), "/dev/null")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert [file.name for file in tmp_path.iterdir()] == ["pipe"]


def test_long_names_and_many_writers(tmp_path: Path) -> None:
    write(tmp_path / ("n" * 255))
    with atomic_write(tmp_path / "same") as first, atomic_write(tmp_path / "same") as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert (tmp_path / "same").read_text() == "first"


def test_a_folder_is_checked_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    check_writable(tmp_path / "new" / "deeper")
    assert not (tmp_path / "new").exists()
    with pytest.raises(genus.GenusError, match=r"file is a file and not a folder\. Choose a folder"):
        check_writable(tmp_path / "file" / "below")


def test_the_two_files_of_a_report_change_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = genus.compare("iris", ["naive-bayes"], budget=1, seeds=1, jobs=1, progress=False, stack=False)
    report.write(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    report.data = "another"
    write = Path.write_text

    def full(path: Path, text: str, **options: Any) -> int:
        if "report.json" in path.name:
            raise OSError(28, "No space left on device")
        return write(path, text, **options)

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(genus.GenusError, match="No space left"):
        report.write(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_model_is_the_same_bytes_whenever_it_is_saved(tmp_path: Path) -> None:
    model = genus.build("naive-bayes", genus.Space([genus.Real(), genus.Category(("a", "b"))]), seed=0)
    contents = set()
    for i in range(8):  # entries of a header come in any order, of which one of eight would be another
        genus.save(model, tmp_path / f"{i}.genus")
        contents.add((tmp_path / f"{i}.genus").read_bytes())
    assert len(contents) == 1
