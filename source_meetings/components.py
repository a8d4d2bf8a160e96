"""Parts of a manifest that belong to this project and are not CDK components.

The CDK passes on an object without a ``type`` unchanged. Such an object names its class in
``class_name``, as the CDK's custom components do, and lists the class's fields next to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from importlib import import_module
from typing import Any


def build(definition: Mapping[str, Any], kind: type, **given: Any) -> Any:
    """Build the object that a part of a manifest defines.

    ``kind`` is the class to use if the definition names none. ``given`` are fields that do not come
    from the manifest. Lists become tuples, so that objects can be frozen.

    Raises ValueError for a field that the class does not have.
    """
    options = {name: value for name, value in definition.items() if name[0] not in "$_"}
    class_name = options.pop("class_name", None)
    if class_name:
        module, _, name = class_name.rpartition(".")
        kind = getattr(import_module(module), name)
    known = {field.name for field in fields(kind)}
    unknown = set(options) - known
    if unknown:
        raise ValueError(f"{kind.__name__} has no {', '.join(sorted(unknown))}")
    values = {
        name: tuple(value) if isinstance(value, list) else value for name, value in options.items()
    }
    return kind(**values, **{name: value for name, value in given.items() if name in known})
