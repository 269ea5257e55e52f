"""Count lines of code: neither docstrings nor comments nor blank lines.

python tools/count_code.py                     # src/genus room by room, tests, benchmarks, and their sum
python tools/count_code.py --limit 16600       # fails where src/genus has more
python tools/count_code.py --root ../other     # another checkout
"""

from __future__ import annotations

import argparse
import ast
import io
import sys
import tokenize
from collections import Counter
from pathlib import Path

FOLDERS = ("src/genus", "tests", "benchmarks")
NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}


def code_lines(text: str) -> int:
    """Return the number of lines of a module that hold code.

    A line of a multi-line string counts, unless the string is a docstring.

    >>> code_lines('\"\"\"A docstring.\"\"\"\\n\\n# a comment\\nx = 1  # and another\\n')
    1
    """
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in NO_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.body:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
                lines.difference_update(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return len(lines)


def count(root: Path) -> dict[str, Counter[str]]:
    """Return the lines of code of every folder, by room: the first name below the folder."""
    counts = {}
    for folder in FOLDERS:
        counts[folder] = Counter()
        for path in sorted((root / folder).rglob("*.py")):
            room = path.relative_to(root / folder).parts[0].removesuffix(".py")
            counts[folder][room] += code_lines(path.read_text(encoding="utf-8"))
    return counts


def main() -> int:
    """Print the counts; return 1 where the sum is above the limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[1], help="the checkout to count")
    parser.add_argument("--limit", type=int, help="fail where src/genus has more lines of code")
    options = parser.parse_args()
    counts = count(options.root)
    for room, lines in counts["src/genus"].most_common():
        print(f"  {lines:6,}  {room}")
    for folder, rooms in counts.items():
        print(f"{rooms.total():8,}  {folder}")
    print(f"{sum(rooms.total() for rooms in counts.values()):8,}  in all")
    total = counts["src/genus"].total()
    if options.limit is not None and total > options.limit:
        print(f"src/genus has {total:,} lines of code, and the limit is {options.limit:,}; delete some.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
