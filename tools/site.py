"""Make the pages of the site that repeat nothing written elsewhere: mkdocs calls these functions as hooks.

The front page is the README, a family's page is what its class says of itself with its figure (`tools/gallery.py`), the theory
is what the pages of `genus tour` say, the reference is the docstrings of the public names, and the benchmarks, the changes and
the examples are the files of the checkout.
Links to files of the checkout become links to these pages.
"""

from __future__ import annotations

import importlib
import inspect
import os
import re
import sys
from pathlib import Path
from typing import Any

import genus
import genus.tour.chapters  # registers the pages of the tour
from genus.tour.pages import registered_pages

ROOT = Path(__file__).resolve().parents[1]
GALLERY = ROOT / "build" / "gallery"
SECONDS = float(os.environ.get("GENUS_SITE_SECONDS", "10"))  # of training, a family's figure
COPIES = {"index.md": "README.md", "benchmarks.md": "benchmarks/README.md", "changelog.md": "CHANGELOG.md"}
LINKS = (
    (r"\]\((?:\.\./)?examples/(\w+)\.py\)", r"](examples/\1.md)"),
    (r"\]\((?:\.\./)?examples/\)", "](examples/index.md)"),
    (r"\]\((?:\.\./)?benchmarks/README\.md\)", "](benchmarks.md)"),
    (r"\]\((?:\.\./)?CHANGELOG\.md\)", "](changelog.md)"),
    (r"\]\((?:\.\./)?docs/", "]("),
)
LABELS = {
    "exact": "`log_prob` is the exact log-density.",
    "bound": "`elbo` is a lower bound on the log-density, `log_evidence` an estimate of it.",
    "none": "It has no density: it can only be sampled.",
}
GROUPS = {  # pages of the reference, and the modules whose public names they hold
    "Data and spaces": ("genus.data", "genus.space", "genus.kinds"),
    "Models": ("genus.models",),
    "Base classes": ("genus.ladder",),
    "Training and files": ("genus.training", "genus.distillation", "genus.registry", "genus.files"),
    "Comparison": ("genus.evaluation",),
    "Questions": ("genus.questions",),
    "Errors": ("genus.errors",),
}
MORE = {
    "Transforms": "genus.transforms",
    "Divergences": "genus.divergences",
    "Laws": "genus.testing",
    "Like scikit-learn": "genus.sklearn",
}


def on_config(config: Any) -> Any:
    """Fill the lists of families and of the reference into the navigation."""
    listed: dict[str, list[dict[str, str]]] = {}
    for name, cls in genus.families().items():
        listed.setdefault(cls.info.group, []).append({name: f"families/{name}.md"})
    families = [{group: listed[group]} for group in sorted(listed)]
    reference = [{title: f"reference/{_slug(title)}.md"} for title in (*GROUPS, *MORE)]
    for section in config.nav:
        if "Families" in section:
            section["Families"] = families
        if "Reference" in section:
            section["Reference"] = reference
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are made here."""
    sys.path.insert(0, str(ROOT / "tools"))  # hooks are no package
    from gallery import draw
    from mkdocs.structure.files import File

    pages: dict[str, str | bytes] = {to: (ROOT / source).read_text(encoding="utf-8") for to, source in COPIES.items()}
    listed = ["# Examples\n"]
    for example in sorted((ROOT / "examples").glob("*.py")):
        code = example.read_text(encoding="utf-8")
        pages[f"examples/{example.stem}.md"] = f"# {example.name}\n\n```python\n{code}```\n"
        listed.append(f"- [{example.name}]({example.stem}.md): {code.splitlines()[0].strip(chr(34))}")
    pages["examples/index.md"] = "\n".join(listed) + "\n"
    pages["theory.md"] = _theory()
    for name, cls in genus.families().items():
        pages[f"families/{name}.md"] = _family_page(name, cls)
        pages[f"families/{name}.png"] = draw(name, GALLERY, SECONDS).read_bytes()
    for title, modules in GROUPS.items():
        names = [name for name in genus.__all__ if _home(name).startswith(modules)]
        pages[f"reference/{_slug(title)}.md"] = _reference(
            title, [f"{_home(n)}.{getattr(genus, n).__qualname__}" for n in names]
        )
    for title, module in MORE.items():
        loaded = importlib.import_module(module)
        public = [getattr(loaded, name) for name in loaded.__all__]
        paths = [f"{one.__module__}.{one.__qualname__}" for one in public if inspect.isclass(one) or inspect.isfunction(one)]
        pages[f"reference/{_slug(title)}.md"] = _reference(title, paths)
    for path, content in pages.items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn links to files of the checkout into links to pages, but for pages in folders, which have none."""
    if "/" not in page.file.src_uri:
        for pattern, instead in LINKS:
            markdown = re.sub(pattern, instead, markdown)
    return markdown


def _home(name: str) -> str:
    """Return the module that defines a public name."""
    return str(getattr(genus, name).__module__)


def _slug(title: str) -> str:
    return title.lower().replace(" ", "-")


def _reference(title: str, paths: list[str]) -> str:
    return "\n\n".join([f"# {title}", *(f"::: {path}" for path in dict.fromkeys(paths))]) + "\n"


def _theory() -> str:
    """Return the explanations and formulas of the tour; its numbers and pictures are made where somebody runs it."""
    lines = ["# The theory, page by page\n"]
    lines.append("`genus tour --only NAME` runs a page: its numbers stand beside those of the theory, with pictures.")
    chapter = ""
    for name, page in registered_pages().items():
        if page.chapter != chapter:
            chapter = page.chapter
            lines.append(f"\n## {chapter}")
        lines.append(f"\n### {page.title}\n")
        lines += [f"<p>{formula}</p>" for formula in page.formulas]
        lines.append(f"\n{page.text}\n\n```console\n$ genus tour --only {name}\n```")
    return "\n".join(lines) + "\n"


def _family_page(name: str, cls: Any) -> str:
    info = cls.info
    return "\n".join(
        [
            f"# {name}",
            f"\n*{info.title[0].upper() + info.title[1:]}; {info.group}.* {LABELS[info.likelihood]}\n",
            f"> {info.formula}\n",
            f"- **Takes** {info.takes}.",
            f"- **Good for** {info.good}.",
            f"- **Bad for** {info.bad}.\n",
            f"![What {name} makes of a small set in {SECONDS:g} seconds]({name}.png)\n",
            f"```console\n$ genus fit DATA --family {name} --out model.genus\n$ genus sample model.genus -n 100\n```\n",
            f"## In Python\n\n::: {cls.__module__}.{cls.__qualname__}\n",
        ]
    )
