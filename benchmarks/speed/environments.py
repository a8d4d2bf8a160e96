"""A virtual environment for each program that is not ours, inside the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from benchmarks.speed.server import ROOT


class Missing(Exception):
    """A program cannot be run here. The text says why."""


@dataclass(frozen=True)
class Environment:
    """Packages at exact versions in ``.venv-bench-<name>``.

    ``python310``: the packages do not work with the Python that runs the benchmarks. Their CDK is
    from 2024, and Python 3.11 refuses its dataclasses.
    """

    name: str
    packages: tuple[str, ...]
    python310: bool = False

    @property
    def folder(self) -> Path:
        return ROOT / f".venv-bench-{self.name}"

    @property
    def python(self) -> str:
        return str(self.folder / "bin" / "python")

    def make(self) -> None:
        """Install the packages if they are missing. Raises Missing."""
        if not self._is_installed():
            self._install()

    def _is_installed(self) -> bool:
        installed = self.folder / ".installed"
        return installed.is_file() and installed.read_text() == "\n".join(self.packages)

    def _install(self) -> None:
        python = _python310() if self.python310 else sys.executable
        print(f"Installing {', '.join(self.packages)} into {self.folder.name} …", file=sys.stderr)
        shutil.rmtree(self.folder, ignore_errors=True)
        _run(python, "-m", "venv", str(self.folder))
        quiet = ("--quiet", "--disable-pip-version-check", "--no-input")
        _run(self.python, "-m", "pip", "install", *quiet, *self.packages)
        (self.folder / ".installed").write_text("\n".join(self.packages))

    @cache  # noqa: B019 - environments live as long as the program
    def versions(self) -> str:
        """The versions of the packages, the CDK and Python, for people."""
        names = [package.partition("==")[0] for package in self.packages]
        return _run(self.python, "-c", VERSIONS, *names, "airbyte-cdk").strip()


VERSIONS = """
import platform, sys
from importlib.metadata import PackageNotFoundError, version
found = []
for name in sys.argv[1:]:
    try:
        found.append(f"{name} {version(name)}")
    except PackageNotFoundError:
        pass
print(", ".join([*found, f"Python {platform.python_version()}"]))
"""


def _python310() -> str:
    python = os.environ.get("PYTHON310") or "python3.10"
    try:
        _run(python, "-c", "import sys; assert sys.version_info[:2] == (3, 10)")
    except (Missing, OSError) as error:
        message = "it needs Python 3.10: none is on PATH, and PYTHON310 does not name one"
        raise Missing(message) from error
    return python


def _run(*command: str) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise Missing(f"{Path(command[0]).name} failed: {last}")
    return done.stdout
