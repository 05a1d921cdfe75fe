"""Check YAML and XML tables for unsafe content before they are parsed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final
from xml.parsers import expat

import yaml

from skyduel.core.errors import BadInputError, one_line

__all__ = ["vet_xml", "vet_yaml"]

# Tags of plain data, and tags with which astropy writes its columns.
_PLAIN: Final = "tag:yaml.org,2002:"
_TYPES: Final = frozenset(
    _PLAIN + name
    for name in (
        *("map", "seq", "str", "int", "float", "bool"),
        *("null", "omap", "set", "binary", "timestamp"),
    )
)
_ASTROPY: Final = ("!astropy.units.", "!astropy.table.", "!astropy.time.", "!astropy.coordinates.")
_MOST_ALIASES: Final = 1000
_DEEPEST: Final = 50
#: Characters of a text that is remembered.
_SHORT: Final = 1 << 16


def vet_yaml(lines: Sequence[str], source: str) -> None:
    """Check that YAML holds only plain data and astropy's columns, and does not expand.

    Raises
    ------
    BadInputError
        For any other tag, a merge key (``<<``, which doubles at every step), more than 1000
        aliases, nesting deeper than 50, or text that is not YAML.
    """
    text = "\n".join(lines)
    # Tables of one program have one header, which need not be checked again.
    check = _check_yaml if len(text) <= _SHORT else _check_yaml.__wrapped__
    try:
        check(text)
    except BadInputError as error:
        raise BadInputError(source, error.required, error.got) from error


@lru_cache(maxsize=32)
def _check_yaml(text: str) -> None:
    """Check YAML for `vet_yaml`; what is refused is not remembered."""
    aliases = depth = 0
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            tag = getattr(event, "tag", None)
            if (
                tag is not None
                and tag != "!"
                and tag not in _TYPES
                and not tag.startswith(_ASTROPY)
            ):
                raise BadInputError("", "a header of plain data", f"the YAML tag {tag[:80]!r}")
            if isinstance(event, yaml.ScalarEvent) and event.value == "<<":
                raise BadInputError("", "a header of plain data", "a YAML merge key")
            aliases += isinstance(event, yaml.AliasEvent)
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if aliases > _MOST_ALIASES or depth > _DEEPEST:
                raise BadInputError(
                    "",
                    f"a header of at most {_MOST_ALIASES} aliases, nested at most {_DEEPEST} deep",
                    f"{aliases} aliases, {depth} deep",
                )
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        if isinstance(error, BadInputError):
            raise
        raise BadInputError("", "a ECSV table, its header as YAML", one_line(error)) from error


def vet_xml(content: bytes, source: str) -> None:
    """Check that XML defines no entities, refers to no other files, and is not nested deeply.

    Raises
    ------
    BadInputError
        For an entity definition, a ``STREAM`` with an external ``href``, nesting
        deeper than 50, or text that is not XML.
    """
    depth = 0

    def refuse(got: str) -> None:
        raise BadInputError(source, "a VOTable of its own data only", got)

    def begins(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        local = name.rpartition(":")[2].upper()
        if depth > _DEEPEST:
            refuse(f"elements nested deeper than {_DEEPEST}")
        if local == "STREAM" and any(k.rpartition(":")[2].lower() == "href" for k in attributes):
            refuse("a STREAM that lies elsewhere")

    def ends(name: str) -> None:
        nonlocal depth
        depth -= 1

    def entity(*parts: Any) -> None:
        refuse(f"an entity {str(parts[0])[:40]!r}")

    parser = expat.ParserCreate()
    parser.StartElementHandler = begins
    parser.EndElementHandler = ends
    parser.EntityDeclHandler = entity
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        raise BadInputError(source, "a VOTable table as XML", str(error)) from error
