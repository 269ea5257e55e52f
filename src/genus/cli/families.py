"""`genus families`: the taxonomy as a tree."""

from __future__ import annotations

from typing import Any

from genus.cli.inputs import Json
from genus.cli.outputs import print_json

__all__ = ["families"]

RUNGS = {
    "tractable": "tractable density: log_prob is exact",
    "approximate": "approximate density: elbo bounds it from below, log_evidence estimates it",
    "implicit": "implicit density: there is none to ask for, only samples",
}


def families(as_json: Json = False) -> None:
    """Show every family: what it takes and what it can answer.

    \b
    Examples:
      genus families
      genus families --json
    """
    from genus.registry import families

    known = [_described(cls) for cls in families().values()]
    if as_json:
        print_json(known)
    else:
        _print_tree(known)


def _described(cls: Any) -> dict[str, Any]:
    answers = [name for name in ("log_prob", "elbo", "log_evidence", "sample") if hasattr(cls, name)]
    return {
        "family": cls.name,
        "title": cls.title,
        "rung": cls.rung(),
        "group": cls.group,
        "takes": cls.takes,
        "likelihood": cls.likelihood,
        "answers": answers,
    }


def _print_tree(known: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.text import Text
    from rich.tree import Tree

    tree = Tree("generative models", highlight=False)
    for rung, title in RUNGS.items():
        here = [one for one in known if one["rung"] == rung]
        branch = tree.add(Text(title, style="bold"))
        for group in dict.fromkeys(one["group"] for one in here):
            twig = branch.add(Text(group, style="italic"))
            for one in here:
                if one["group"] == group:
                    # An exact density is its own bound and its own estimate: no need to list them.
                    answers = ("log_prob", "sample") if rung == "tractable" else one["answers"]
                    lines = Text.assemble((one["family"], "bold"), f"  {one['title']}\n")
                    twig.add(lines.append(f"takes {one['takes']}\nanswers {', '.join(answers)}"))
    Console(highlight=False).print(tree)
