"""The installed package, from a wheel or the checkout itself, runs in any directory."""

from __future__ import annotations

import email
import importlib
import json
import os
import pkgutil
import re
import site
import subprocess
import sys
import typing
import venv
from pathlib import Path

import pytest

import source_meetings as package
from source_meetings.config import DOCUMENTATION_URL

ROOT = Path(__file__).parents[1]
CONFIG = {
    "provider": {
        "name": "salesloft",
        "credentials": {"auth_type": "api_key", "api_key": "ak_never_sent"},
    }
}


def packages_of_this_python() -> str:
    return os.pathsep.join(
        path for path in [*site.getsitepackages(), *sys.path] if "site-p" in path
    )


def run(command: list[str], folder: Path, **variables: str) -> str:
    environment = {**os.environ, **variables}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("editable", [False, True], ids=["wheel", "editable"])
def test_an_installation_finds_its_manifests_and_schemas_from_elsewhere(tmp_path, editable):
    # Given a new environment. To save time, it uses the dependencies of this test. Its own packages
    # come first in its path, so that Python finds the installed package and not the checkout.
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    # The build uses a copy, so that it leaves no files in the checkout
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for name in ("source_meetings", "schemas", "setup.py", "pyproject.toml", "README.md"):
        run(["cp", "-r", str(ROOT / name), str(checkout / name)], tmp_path)
    for folder in checkout.rglob("__pycache__"):
        run(["rm", "-rf", str(folder)], tmp_path)
    packages = packages_of_this_python()
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    install += ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    run(
        [*install, *(["--editable"] if editable else []), str(checkout)],
        tmp_path,
        PYTHONPATH=packages,
    )
    # When the connector is run in another directory
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "config.json").write_text(json.dumps(CONFIG))
    (elsewhere / "manifest.yaml").write_text("no: manifest of ours")
    (found,) = (tmp_path / "venv").glob("lib/*/site-packages")
    # Python reads .pth files (of an editable install) in site directories only
    start = (
        f"import site, sys; sys.path[:] = [p for p in sys.path if 'site-p' not in p];"
        f"site.addsitedir({str(found)!r});"
        f"[sys.path.append(p) for p in {packages.split(os.pathsep)!r}];"
        "import source_meetings; print(source_meetings.__file__, file=sys.stderr);"
        "from source_meetings.run import run; run()"
    )
    printed = run(
        [str(python), "-c", start, "discover", "--config", "config.json"], elsewhere, PYTHONPATH=""
    )
    # Then it describes its streams, with their schemas
    messages = [json.loads(line) for line in printed.splitlines()]
    (catalog,) = (message for message in messages if message["type"] == "CATALOG")
    (stream,) = catalog["catalog"]["streams"]
    assert stream["name"] == "salesloft_meetings"
    assert "canceled_at" in stream["json_schema"]["properties"]
    # And its metadata have the author, the documentation and the supported Python versions
    (file,) = found.glob("source_meetings-*.dist-info/METADATA")
    metadata = email.message_from_string(file.read_text())
    assert metadata["Author"] == "source-meetings maintainers"
    assert f"Documentation, {DOCUMENTATION_URL}" in metadata.get_all("Project-URL", [])
    listed = re.findall(r"Python :: 3\.(\d+)", " ".join(metadata.get_all("Classifier", [])))
    required = dict(part.split("3.") for part in metadata["Requires-Python"].split(","))
    lowest, beyond = int(required[">="]), int(required["<"])
    assert [int(minor) for minor in listed] == list(range(lowest, beyond))
    # And it has a console command
    script = tmp_path / "venv" / "bin" / "source-meetings"
    printed = run([str(script), "spec"], elsewhere, PYTHONPATH=packages)
    assert json.loads(printed.splitlines()[-1])["type"] == "SPEC"


def test_the_type_hints_of_every_component_can_be_resolved_as_the_cdk_does() -> None:
    # Given every class of the connector (Python 3.10 cannot resolve a quoted InitVar)
    names = [module.name for module in pkgutil.walk_packages(package.__path__, "source_meetings.")]
    modules = [importlib.import_module(name) for name in names if "__main__" not in name]
    classes = {
        thing
        for module in modules
        for thing in vars(module).values()
        if isinstance(thing, type) and thing.__module__ == module.__name__
    }
    assert len(classes) > 20

    # When / Then
    for component in classes:
        typing.get_type_hints(component)


def test_the_tests_can_be_run_without_xdist():
    # Given tests that are marked to run in one xdist worker
    command = [sys.executable, "-m", "pytest", "-p", "no:xdist", "--collect-only"]
    # When they are collected without xdist
    found = run([*command, "integration_tests"], ROOT)
    # Then they are found
    assert "test_dbt.py::" in found and "test_image.py::" in found
