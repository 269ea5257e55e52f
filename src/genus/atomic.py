"""Writing a file completely or not at all: every file that genus writes is written here."""

from __future__ import annotations

import glob
import os
import secrets
import socket
import stat
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from genus.errors import GenusError

__all__ = ["atomic_write", "check_writable"]


HOST = f"{zlib.crc32(socket.gethostname().encode()):08x}"  # folders may be shared by machines


@contextmanager
def atomic_write(path: str | os.PathLike[str], error: type[GenusError] = GenusError) -> Iterator[Path]:
    """Yield the path of a temporary file that takes the place of `path` when the block ends.

    The temporary file lies beside the target, so that taking its place is one step of the file system: whoever reads `path`
    sees the old content or the new, never a part. The new file has the permissions of the one that it replaces, or those
    that the umask gives. A link is followed, and folders that are missing are made. Where the block raises, the temporary
    file is removed and `path` is as it was.

    Args:
        path: the file to write.
        error: the class of the error to raise.

    Raises:
        GenusError: the file cannot be written, or `path` is something other than a regular file, such as a folder or a device.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> with atomic_write(Path(folder.name, "new.txt")) as temporary:
    ...     _ = temporary.write_text("all of it")
    >>> [file.name for file in Path(folder.name).iterdir()]
    ['new.txt']
    >>> folder.cleanup()
    """
    path = Path(path)
    target = Path(os.path.realpath(path))
    try:
        mode = _permissions(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(target)
        temporary = target.with_name(f"{target.name[:40]}.{HOST}-{os.getpid()}-{secrets.token_hex(4)}.part")
        try:  # a signal may come as soon as the file is there
            # By `open` and not by `mkstemp`: so the umask is heeded without being read, which would change it for all threads.
            handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
            mode = stat.S_IMODE(os.fstat(handle).st_mode) if mode is None else mode
            os.close(handle)
            yield temporary
            os.chmod(temporary, mode)  # some writers make a file of their own in its place
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as reason:
        raise error(_unwritable(path, target.parent, reason)) from reason


def _remove_leftovers(target: Path) -> None:
    """Remove temporary files that processes of this machine left beside the target when they were killed."""
    for path in target.parent.glob(f"{glob.escape(target.name[:40])}.{HOST}-*-????????.part"):
        number = path.name.split("-")[-2]
        if number.isdecimal() and not _is_running(int(number)):
            path.unlink(missing_ok=True)


def _is_running(number: int) -> bool:
    """Return whether there is a process of this number, whoever it belongs to."""
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _permissions(target: Path) -> int | None:
    """Return the permissions of the file that is to be replaced; None where there is no file yet."""
    try:
        mode = target.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(None, "it is a folder and not a file")
    if not stat.S_ISREG(mode):
        raise OSError(None, "it is a device or a pipe and not a regular file")
    return stat.S_IMODE(mode)


def check_writable(folder: Path) -> None:
    """Raise GenusError where a folder cannot be made or written: before hours of work rather than after them.

    Args:
        folder: the folder, which need not exist yet.

    Raises:
        GenusError: the folder cannot be made, or no file can be written in it.
    """
    try:
        existing = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as reason:
        raise GenusError(_unwritable(folder, folder, reason)) from reason


def _unwritable(path: Path, folder: Path, error: OSError) -> str:
    """Return the message for a path that cannot be written in its folder."""
    file = next((parent for parent in (folder, *folder.parents) if parent.is_file()), None)
    if file is None and path.exists() and not path.is_file() and path != folder:
        return f"Cannot write {path}: {error.strerror}. Choose another name."
    reason = f"{file} is a file and not a folder" if file is not None else error.strerror or error
    return f"Cannot write {path}: {reason}. Choose a folder that you may write to."
