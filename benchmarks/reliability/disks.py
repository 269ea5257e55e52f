"""Full disks: a command may write so many bytes and no more; what it then leaves is whole, and what it says is a sentence."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from .kills import Kills, check_each, ended, left_over

__all__ = ["Disks"]

LEAST = 600  # bytes, in which there is room for what a command says


class Disks(Kills):
    """Write the work of cases: a command on a disk that is full after some bytes of a file, and the same with more room.

    Args:
        seed: of the cases.
        home: as of `Kills`.
    """

    def work(self, number: int, folder: Path) -> Callable[[], int]:
        """Return the work of a case; what a command writes with room is found here, once a command."""
        turn, place = divmod(number, len(self.writers))
        name = random.Random(f"{self.seed} disks {turn}").sample(self.writers, len(self.writers))[place]
        rng = random.Random(f"{self.seed} disk {number}")
        whole = self.whole(name).files
        most = max(map(len, whole.values()))
        room, old = LEAST + rng.randrange(max(1, most - LEAST)), rng.random() < 0.5

        def work() -> int:
            self._fill(name, whole, room, old)
            return 0

        return work

    def _fill(self, name: str, whole: dict[str, bytes], room: int, old: bool) -> None:
        """Run a command that finds so much room, look at what it left, and run it again."""
        words = self.commands[name][0]
        trains = name == "distill" or name.startswith("fit ")
        for file, content in whole.items() if old and not trains else ():
            Path(file).write_bytes(content)
        code = ended(words, room=room)
        said = Path(".err").read_text(errors="replace")
        print(f"{name}: {room:,} bytes: {code}")
        if code not in (0, 1) or (code and "genus: " not in said) or "unexpected" in said or "Traceback" in said:
            raise AssertionError(f"{name}: ended with {code} where a file had {room:,} bytes; it said {said[-300:]!r}")
        check_each(whole)
        if parts := left_over():
            raise AssertionError(f"{name}: a full disk left {parts}")
        if code == 0 and not all(Path(file).exists() for file in whole):
            raise AssertionError(f"{name}: ended well where a file had {room:,} bytes, and did not write it")
        if code and any(Path(file).exists() != (old and not trains) for file in whole) and name != "compare":
            raise AssertionError(f"{name}: a full disk changed which files there are")
        resume = ["--resume"] if trains and Path("out.genus.ckpt").exists() else []
        for file in whole if trains and not resume else ():
            Path(file).unlink(missing_ok=True)
        self.go_on(name, resume)

    @property
    def writers(self) -> list[str]:
        """Return the commands that write files large enough."""
        return [name for name, (_, files) in self.commands.items() if files]

    def __str__(self) -> str:
        return ""
