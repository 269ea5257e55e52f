"""`genus families`: the taxonomy as a tree, and all about one family."""

from __future__ import annotations

import inspect
from typing import Annotated, Any

import typer

from genus.cli.options import Json
from genus.cli.outputs import print_json

__all__ = ["families"]

LADDER = {
    "tractable": "tractable density: log_prob is exact",
    "approximate": "approximate density: elbo bounds it from below, log_evidence estimates it",
    "implicit": "implicit density: the model can only be sampled",
}


def families(
    name: Annotated[str | None, typer.Argument(help="Show all about this family alone.", show_default=False)] = None,
    as_json: Json = False,
) -> None:
    """Show every family, the data that it takes and the questions that it can answer; or one, and what it is good for.

    \b
    Examples:
      genus families
      genus families maf
      genus families --json
    """
    from genus.registry import families, family

    described = [_described(cls) for cls in (families().values() if name is None else [family(name)])]
    if name is not None:
        print_json(described[0]) if as_json else _print_family(family(name), described[0])
    elif as_json:
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
        "formula": cls.info.formula,
        "good": cls.info.good,
        "bad": cls.info.bad,
    }


def _print_family(cls: Any, said: dict[str, Any]) -> None:
    """Print what a family says of itself, and its docstring up to the example."""
    print(f"{said['family']}: {said['title']} ({said['group']})")
    print(f"{LADDER[said['density']]}; it answers {', '.join(said['answers'])}\n")
    for head, key in (("formula", "formula"), ("takes", "takes"), ("good for", "good"), ("bad for", "bad")):
        if said[key]:
            print(f"  {head:<9} {said[key]}")
    print(f"\n{(inspect.getdoc(cls) or '').split('>>>')[0].rstrip()}")
    print(f"\nA hyper-parameter is set by --set NAME=VALUE: genus fit DATA --family {said['family']} --set NAME=VALUE")


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
