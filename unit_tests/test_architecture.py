"""Checks what docs/architecture.md and docs/adding-a-provider.md say about the code."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "source_meetings"
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()
DOCUMENTS = ["docs/architecture.md", "docs/adding-a-provider.md"]


# -- the code -------------------------------------------------------------------------------------


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


TREES = {module_name(path): ast.parse(path.read_text()) for path in PACKAGE.rglob("*.py")}
FILES = {module_name(path): path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py")}


def imported(tree: ast.Module) -> set[str]:
    """Return the modules that a module imports, at any place."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            parts = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {str(node.module)} | (parts & TREES.keys())
    return found


IMPORTS = {name: imported(tree) for name, tree in TREES.items()}
OWN = {name: found & TREES.keys() for name, found in IMPORTS.items()}


def outside(name: str, library: str) -> bool:
    return any(one == library or one.startswith(f"{library}.") for one in IMPORTS[name])


# -- the table ------------------------------------------------------------------------------------


def cells(header: str) -> list[list[str]]:
    """Return the rows of the table in docs/architecture.md whose header starts like this."""
    _, _, rest = ARCHITECTURE.partition(f"| {header} |")
    lines = rest.partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def quoted(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


MAP = [
    (quoted(part), quoted(imports), cdk == "yes")
    for part, _, imports, cdk in cells("part of `source_meetings/`")
]


def part_of(module: str) -> int | None:
    """Return the row of the map that contains a module."""
    file = FILES[module]
    for row, (names, _, _) in enumerate(MAP):
        if any(file == name or (name[-1] == "/" and file.startswith(name)) for name in names):
            return row
    return None


def test_every_module_has_a_place_on_the_map():
    # Except the __init__.py of packages: they only describe the package, and import nothing
    lost = {FILES[name] for name in TREES if part_of(name) is None}
    assert lost == {"__init__.py"}
    assert not OWN["source_meetings"]


def test_every_part_imports_exactly_what_the_map_says():
    for row, (names, allowed, _) in enumerate(MAP):
        # Given the parts that the modules of each part import, and those that the map allows
        found = {
            target
            for name, targets in OWN.items()
            if part_of(name) == row
            for target in map(part_of, targets)
            if target not in (None, row)
        }
        listed = {place for place, (parts, _, _) in enumerate(MAP) if {*parts} & {*allowed}}
        # Then both are the same, and every name in the map is that of a part
        assert {*allowed} <= {one for parts, _, _ in MAP for one in parts}, names
        assert found == listed, names
        # And parts only import parts below them on the map
        assert all(target > row for target in listed), names


def test_the_map_says_which_parts_import_the_cdk():
    for row, (names, _, knows) in enumerate(MAP):
        inside = [name for name in TREES if part_of(name) == row]
        assert any(outside(name, "airbyte_cdk") for name in inside) == knows, names


def test_only_few_modules_send_requests():
    (sentence,) = re.findall(r"`requests` is imported by (.*?) only\.", ARCHITECTURE)
    places = quoted(sentence)
    importing = [FILES[name] for name in TREES if outside(name, "requests")]
    assert all(any(file.startswith(place) for place in places) for file in importing)
    assert all(any(file.startswith(place) for file in importing) for place in places)


@pytest.mark.parametrize("package", ["sync", "strategies"])
def test_decisions_need_neither_http_nor_the_cdk(package):
    # Given all modules that the package imports, directly or indirectly
    start = {name for name in TREES if name.startswith(f"source_meetings.{package}")}
    reached = start.copy()
    while more := {target for name in reached for target in OWN[name]} - reached:
        reached |= more
    # Then they use the standard library and the parsers of dates and JSON only
    libraries = {one.partition(".")[0] for name in reached for one in IMPORTS[name]}
    assert libraries - sys.stdlib_module_names == {"source_meetings", "orjson", "pendulum"}


def test_there_are_no_import_cycles():
    # When modules that import none of the remaining ones are removed, until nothing changes
    left = dict(OWN)
    while free := {name for name, targets in left.items() if not targets & (left.keys() - {name})}:
        left = {name: targets for name, targets in left.items() if name not in free}
    # Then no module remains, so there is no cycle
    assert not left


# -- module-level state --------------------------------------------------------------------------

CHANGES = {"append", "add", "update", "clear", "pop", "popitem", "setdefault", "extend", "remove"}
CHANGES |= {"discard", "insert", "appendleft"}


def kept(tree: ast.Module) -> Iterator[str]:
    """Return the names in a module that keep state for the whole process: locks, caches, and
    variables that the code changes."""
    names = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            decorators = {ast.unparse(one).partition("(")[0] for one in node.decorator_list}
            if decorators & {"cache", "lru_cache", "functools.cache", "functools.lru_cache"}:
                yield node.name
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {one.id for one in targets if isinstance(one, ast.Name)}
            made = ast.unparse(node.value.func) if isinstance(node.value, ast.Call) else ""
            if made.startswith(("threading.", "Queue", "queue.", "defaultdict", "Counter")):
                yield from (one.id for one in targets if isinstance(one, ast.Name))
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            yield from node.names
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr in CHANGES and ast.unparse(node.func.value) in names:
                yield ast.unparse(node.func.value)
        elif isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
            if ast.unparse(node.value) in names:
                yield ast.unparse(node.value)


def test_modules_keep_exactly_the_state_that_the_document_lists():
    listed = {quoted(module)[0]: {*quoted(what)} for module, what, _ in cells("module")}
    found = {FILES[name]: names for name, tree in TREES.items() if (names := {*kept(tree)})}
    assert found == listed


@pytest.mark.parametrize(
    "source",
    [
        "a = {}\ndef f(): a['b'] = 1",
        "a = []\ndef f(): a.append(1)",
        "a = 1\ndef f():\n global a\n a = 2",
        "a = threading.Lock()",
        "@cache\ndef a(): ...",
        "@lru_cache(maxsize=9)\ndef a(): ...",
        "a: set[int] = set()\ndef f(): a.add(1)",
    ],
)
def test_module_level_state_is_found(source):
    assert {*kept(ast.parse(source))} == {"a"}


# -- the documents --------------------------------------------------------------------------------


def texts(document: str) -> Iterator[str]:
    """Return the code and link targets in a document, and the files that its diagrams name."""
    text = (ROOT / document).read_text()
    yield from re.findall(r"`([^`\n]+)`", text)
    yield from re.findall(r"\]\(([^)#:]+)\)", text)
    yield from re.findall(r'\["([\w/]+\.py)<br>', text)


def is_path(text: str) -> bool:
    return bool(re.fullmatch(r"[\w./-]+(\.(py|md|yaml|yml|json|sql)|/)", text))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_paths_that_a_document_names_exist(document):
    places = [ROOT, ROOT / "docs", PACKAGE, PACKAGE / "strategies", PACKAGE / "providers"]
    paths = {text for text in texts(document) if is_path(text)} - {"manifest.yaml"}
    missing = {path for path in paths if not any((place / path).exists() for place in places)}
    assert len(paths) > 10
    assert missing == set()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_classes_that_a_document_names_exist(document):
    # Given the names in CamelCase in the document
    defined = {
        node.name
        for tree in TREES.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    named = {text for text in texts(document) if re.fullmatch(r"([A-Z][a-z]+){2,}", text)}
    # Then each is a class of the connector or of the CDK
    assert named - CDK_CLASSES <= defined


CDK_CLASSES = {"PageIncrement", "CursorPagination", "OffsetIncrement", "DefaultPaginator"}


def test_the_documents_are_linked_from_the_readme():
    readme = (ROOT / "README.md").read_text()
    assert all(f"({document})" in readme for document in DOCUMENTS)


# -- sizes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PACKAGE.rglob("*.yaml"), ids=lambda path: path.parent.name)
def test_a_manifest_has_at_most_300_lines(path):
    # A longer one should move what several providers have in common to shared.yaml.
    assert len(path.read_text().splitlines()) <= 300
