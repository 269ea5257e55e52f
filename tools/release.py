"""Make what a package index shows lead back to the repository: the project's addresses, and absolute links in its README.

    python tools/release.py https://github.com/OWNER/NAME v0.2.0

The release workflow runs it in its checkout before it builds. The address of the repository is known there alone, and links
within the repository stay relative, so that they work in every clone and fork.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|#|mailto:)([^)]+)\)")


def absolute(text: str, repository: str, tag: str) -> str:
    """Return Markdown whose relative links and pictures lead to the files of a tag.

    >>> absolute("![a](b.png) and [c](d.md)", "https://github.com/o/n", "v1")
    '![a](https://github.com/o/n/raw/v1/b.png) and [c](https://github.com/o/n/blob/v1/d.md)'
    """

    def lead(found: re.Match[str]) -> str:
        picture, words, path = found.groups()
        kind = "raw" if picture else "tree" if path.endswith("/") else "blob"
        return f"{picture}[{words}]({repository}/{kind}/{tag}/{path.rstrip('/')})"

    return LINK.sub(lead, text)


def with_addresses(project: str, repository: str) -> str:
    """Return pyproject.toml with the addresses of the repository."""
    pages = {"Repository": "", "Documentation": "/tree/main/docs", "Changelog": "/blob/main/CHANGELOG.md", "Issues": "/issues"}
    lines = "\n".join(f'{name} = "{repository}{path}"' for name, path in pages.items())
    return f"{project.rstrip()}\n\n[project.urls]\n{lines}\n"


def main() -> None:
    repository, tag = sys.argv[1].rstrip("/"), sys.argv[2]
    readme, project = ROOT / "README.md", ROOT / "pyproject.toml"
    readme.write_text(absolute(readme.read_text(encoding="utf-8"), repository, tag), encoding="utf-8")
    project.write_text(with_addresses(project.read_text(encoding="utf-8"), repository), encoding="utf-8")


if __name__ == "__main__":
    main()
