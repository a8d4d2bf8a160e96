"""Every handwritten list of providers has all of them, and nothing else.

A provider is a folder of `source_meetings/providers` with a manifest. Tests, benchmarks and the
demo take theirs from `sandbox/accounts`, which is one of the lists here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from sandbox.accounts import ACCOUNTS
from source_meetings.manifest import manifest_of, providers

ROOT = Path(__file__).parent.parent
TITLES = {name: str(manifest_of(name)["definitions"]["name"]) for name in providers()}

# Files that each provider must have, and the position of its name in the path.
FILES = {
    "sandbox/accounts/*.py": r"/([a-z]+)\.py",
    "schemas/*.json": r"/([a-z]+)_\w+\.json",
    "integration_tests/*/sample_config.json": r"(\w+)/sample_config",
    "integration_tests/*/invalid_config.json": r"(\w+)/invalid_config",
    "integration_tests/*/configured_catalog.json": r"(\w+)/configured_catalog",
    "integration_tests/*/sample_state.json": r"(\w+)/sample_state",
    "integration_tests/*/abnormal_state.json": r"(\w+)/abnormal_state",
    "dbt/models/staging/*/*.sql": r"/stg_meetings__([a-z]+)_",
    "dbt/models/staging/*/_*__sources.yml": r"/_([a-z]+)__sources",
}
TABLE = r".*\n\|[-:| ]+\n((?:\|.*\n)+)"
DEEPER = r"\n((?:    .*\n|\n)+)"
WHOLE = r"((?:.*\n)+)"
# A file, a description of a list in it, and expressions for the list and for an entry. Entries are
# names, titles, or streams, which start with a name.
LISTS = [
    ("README.md", "what each API shows", r"^\| provider \| edits" + TABLE, r"^\| (\w+) \|"),
    ("docs/meetings.md", "Prerequisites", r"^\| provider \| what you" + TABLE, r"^\| (\w+) \|"),
    ("docs/meetings.md", "Setup guide", r"^## Setup guide\n((?:.*\n)+?)## ", r"^### (\w+)$"),
    ("docs/meetings.md", "Supported streams", r"^\| stream \|" + TABLE, r"^\| `(\w+)`"),
    ("docs/meetings.md", "Performance", r"^\| provider \| first" + TABLE, r"^\| (\w+) \|"),
    ("docs/providers.md", "the headings", WHOLE, r"^## (\w+)$"),
    ("docs/deploy.md", "What a sync takes", r"^\| stream \| rows" + TABLE, r"^\| `(\w+)`"),
    ("metadata.yaml", "suggestedStreams", r"^  suggestedStreams:" + DEEPER, r"- (\w+)"),
    ("metadata.yaml", "externalDocumentationUrls", WHOLE, r"^ +- title: (\w+)"),
    ("dbt/README.md", "the flowchart", r"subgraph raw.*" + DEEPER, r"^ +([a-z]+_\w+)$"),
    ("dbt/dbt_project.yml", "using_…", WHOLE, r"^  using_(\w+):"),
    ("dbt/macros/values.sql", "provider", r"'provider': \[(.*)\]", r"\w+"),
    *(
        (f"dbt/models/intermediate/{model}.sql", "provider", WHOLE, r"'(\w+)' as provider")
        for model in ("int_meetings__meetings", "int_meetings__attendees")
    ),
    *(
        ("acceptance-test-config.yml", section, f"^  {section}:" + DEEPER, entry)
        for section, entry in (
            ("spec", r"integration_tests/(\w+)/sample_config"),
            ("connection", r"secrets/(\w+)\.json"),
            ("connection", r"integration_tests/(\w+)/invalid_config"),
            ("discovery", r"secrets/(\w+)\.json"),
            ("basic_read", r"secrets/(\w+)\.json"),
            ("full_refresh", r"integration_tests/(\w+)/configured_catalog"),
            ("incremental", r"integration_tests/(\w+)/abnormal_state"),
        )
    ),
]
# Sentences that name each provider by its title.
PROSE = ["README.md", "docs/meetings.md", "dbt/README.md", "setup.py"]


def lists() -> Iterator[tuple[str, set[str]]]:
    """Return the place of each list, and the names in it."""
    yield (
        "sandbox/*.py: the sides",
        {account.side_type.__module__.removeprefix("sandbox.") for account in ACCOUNTS.values()},
    )
    for pattern, name in FILES.items():
        paths = (path.as_posix() for path in ROOT.glob(pattern))
        yield pattern, {found[1] for path in paths if (found := re.search(name, path))}
    for file, what, extent, entry in LISTS:
        block = re.search(extent, (ROOT / file).read_text(), re.MULTILINE)
        entries = re.findall(entry, block[1], re.MULTILINE) if block else []
        yield f"{file}: {what}", {name.lower().partition("_")[0] for name in entries}


def faults(titles: Mapping[str, str]) -> list[str]:
    """Return the lists that are wrong if these are the providers: the file and the difference."""
    found = []
    for where, names in lists():
        found += [f"{where} lacks {name}" for name in sorted(titles.keys() - names)]
        found += [f"{where} has {name}" for name in sorted(names - titles.keys())]
    for file in PROSE:
        text = (ROOT / file).read_text()
        found += [f"{file} does not name {title}" for title in titles.values() if title not in text]
    return found


def test_every_list_has_every_provider() -> None:
    # Given the providers by their manifests
    # When the lists are compared with them
    # Then no list lacks a provider or has an unknown one
    assert faults(TITLES) == []


def test_every_list_is_read() -> None:
    # Given a provider that is in no list
    places = [where for where, _ in lists()]
    # When the lists are compared with the providers
    found = faults({**TITLES, "calendly": "Calendly"})
    # Then it is missing from each
    assert found == [f"{where} lacks calendly" for where in places] + [
        f"{file} does not name Calendly" for file in PROSE
    ]


def test_an_unknown_provider_in_a_list_is_noticed() -> None:
    # Given lists with a provider that no longer exists
    places = [where for where, _ in lists()]
    titles = {name: title for name, title in TITLES.items() if name != "salesloft"}
    # When they are compared with the providers, then it is found in each
    assert faults(titles) == [f"{where} has salesloft" for where in places]


def test_an_account_has_the_title_of_its_provider() -> None:
    # Given the accounts, whose titles people see in the demo
    # When they are compared with the manifests, then the titles are the same
    assert {name: account.title for name, account in ACCOUNTS.items()} == TITLES
