"""`genus families`: the taxonomy as a tree."""

from __future__ import annotations

from typing import Any

from genus.cli.options import Json
from genus.cli.outputs import print_json

__all__ = ["families"]

LADDER = {
    "tractable": "tractable density: log_prob is exact",
    "approximate": "approximate density: elbo bounds it from below, log_evidence estimates it",
    "implicit": "implicit density: the model can only be sampled",
}


def families(as_json: Json = False) -> None:
    """Show every family: the data that it takes and the questions that it can answer.

    \b
    Examples:
      genus families
      genus families --json
    """
    from genus.registry import families

    described = [_described(cls) for cls in families().values()]
    if as_json:
        print_json(described)
    else:
        _print_tree(described)


def _described(cls: Any) -> dict[str, Any]:
    answers = [name for name in ("log_prob", "elbo", "log_evidence", "sample") if hasattr(cls, name)]
    return {
        "family": cls.name,
        "title": cls.info.title,
        "density": cls.info.density,
        "group": cls.info.group,
        "takes": cls.info.takes,
        "likelihood": cls.info.likelihood,
        "answers": answers,
    }


def _print_tree(described: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.text import Text
    from rich.tree import Tree

    tree = Tree("generative models", highlight=False)
    for density, title in LADDER.items():
        here = [one for one in described if one["density"] == density]
        branch = tree.add(Text(title, style="bold"))
        for group in dict.fromkeys(one["group"] for one in here):
            twig = branch.add(Text(group, style="italic"))
            for one in here:
                if one["group"] == group:
                    # An exact density is its own bound and its own estimate: no need to list them.
                    answers = ("log_prob", "sample") if density == "tractable" else one["answers"]
                    lines = Text.assemble((one["family"], "bold"), f"  {one['title']}\n")
                    twig.add(lines.append(f"takes {one['takes']}\nanswers {', '.join(answers)}"))
    Console(highlight=False).print(tree)
