"""Build the wheel, install it without extras in a clean environment, and run the README: its commands, then its Python.

python tools/clean_install.py                    # every interpreter from 3.11 to 3.14 that is found here
python tools/clean_install.py --python 3.12
python tools/clean_install.py --oldest           # the lowest versions that pyproject.toml allows, and a part of the tests
python tools/clean_install.py --gpu              # also where PyTorch comes with packages for GPUs, some gigabytes
"""

from __future__ import annotations

import argparse
import doctest
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
VERSIONS = [line.split(" :: ")[-1] for line in PROJECT["classifiers"] if "Python :: 3." in line]
# Families, files, kinds, training and estimators: enough to see an interface that an old version lacks.
PART = ("test_space.py", "test_atomic.py", "test_data.py", "test_fitting.py", "test_mixture.py", "test_sklearn_tools.py")
TOOLS = ("pytest", "pytest-timeout", "hypothesis", "pandas", "polars", "pyyaml")


def interpreter(version: str) -> str | None:
    """Return the path of a Python of this version, of the search path or of pyenv; None where there is none."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = [*sorted(root.glob(f"{version}*/bin/python{version}")), shutil.which(f"python{version}")]
    return next((str(path) for path in found if path), None)


def oldest() -> str:
    """Return constraints that hold every dependency at its lower bound; PyTorch stays that of constraints.txt."""
    bounds = [line.split(">=") for line in PROJECT["dependencies"]]
    torch = next(line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("torch=="))
    return "\n".join([torch, *(f"{name}=={low}" for name, low in bounds if name != "torch")])


def readme() -> list[str]:
    """Return the commands of genus in the README."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```console\n(.*?)```", text, re.S)
    return [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ genus")]


def run(words: list[str], folder: Path) -> str:
    """Run a command in a folder without this checkout on its path, and return its output; end with it where it fails."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done.stdout


def install(python: str, folder: Path, wheel: Path, constraints: Path, gpu: bool) -> Path | None:
    """Return the folder of an environment's commands with the wheel in it; None where PyTorch would come with GPU packages."""
    run([python, "-m", "venv", str(folder / "env")], folder)
    there = folder / "env" / "bin"
    run([str(there / "python"), "-m", "pip", "install", "--quiet", "--upgrade", "pip"], folder)
    words = [str(there / "python"), "-m", "pip", "install", "--quiet", "--constraint", str(constraints), str(wheel)]
    planned = json.loads(run([*words, "--dry-run", "--report", "-"], folder))["install"]
    if not gpu and any(one["metadata"]["name"].startswith("nvidia") for one in planned):
        return None
    run(words, folder)
    return there


def check(there: Path, folder: Path) -> str:
    """Run the README's commands and its Python without extras, and return what was run."""
    names = "import importlib.metadata as m; print(*{d.metadata['Name'].lower() for d in m.distributions()})"
    installed = set(run([str(there / "python"), "-c", names], folder).split())
    extras = {re.split(r"[>=\[]", line)[0] for lines in PROJECT["optional-dependencies"].values() for line in lines} - {"genus"}
    if kept := extras & installed:
        raise SystemExit(f"Without extras these are installed: {', '.join(sorted(kept))}.")
    commands = readme()
    for command in commands:
        run([str(there / command.split()[0]), *command.split()[1:]], folder)
    examples = doctest.DocTestParser().get_examples((ROOT / "README.md").read_text(encoding="utf-8"))
    run([str(there / "python"), "-c", f"import doctest; exit(doctest.testfile({str(ROOT / 'README.md')!r}, False)[0])"], folder)
    return f"{len(commands)} commands and {len(examples)} lines of Python of the README, {len(installed)} packages"


def part_of_the_tests(there: Path, folder: Path) -> str:
    """Run a part of the tests against what is installed, and return their count."""
    run([str(there / "python"), "-m", "pip", "install", "--quiet", *TOOLS, "--constraint", str(folder / "frozen.txt")], folder)
    tests = shutil.copytree(ROOT / "tests", folder / "tests")
    shutil.copytree(ROOT / "examples", folder / "examples")
    config = ["-c", str(shutil.copy(ROOT / "pyproject.toml", folder)), "-p", "no:cacheprovider", "--override-ini", "addopts="]
    files = [str(tests / name) for name in PART]
    words = [str(there / "python"), "-m", "pytest", "-q", "-m", "not nightly", "--rootdir", str(folder), *config, *files]
    return run(words, folder).strip().splitlines()[-1].strip("= ")


def main() -> None:
    """Check every interpreter that was asked for, and say which were not found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", choices=VERSIONS, help="this version alone")
    parser.add_argument("--oldest", action="store_true", help="the lower bounds of the dependencies")
    parser.add_argument("--gpu", action="store_true", help="take packages for GPUs where PyTorch asks for them")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="genus-wheel-") as name:
        folder = Path(name)
        run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", name, str(ROOT)], folder)
        wheel = next(folder.glob("*.whl"))
        constraints = ROOT / "constraints.txt"
        if options.oldest:
            constraints = folder / "oldest.txt"
            constraints.write_text(oldest())
        for version in [options.python] if options.python else VERSIONS:
            python, own = interpreter(version), folder / version
            own.mkdir()
            there = None if python is None else install(python, own, wheel, constraints, options.gpu)
            if there is None:
                why = "not found" if python is None else "not run: PyTorch comes with packages for GPUs (--gpu takes them)"
                print(f"Python {version}: {why}", flush=True)
                continue
            said = check(there, own)
            if options.oldest:
                (own / "frozen.txt").write_text(run([str(there / "python"), "-m", "pip", "freeze", "--exclude", "genus"], own))
                said += f"; {part_of_the_tests(there, own)}"
            print(f"Python {version}: {said}", flush=True)


if __name__ == "__main__":
    main()
