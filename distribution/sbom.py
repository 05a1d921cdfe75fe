"""Software bill of materials of a wheel, in CycloneDX 1.6, for `.dist-info/sboms/` (PEP 770).

It lists what the wheel holds besides its Python code, with hashes, and the libraries that it
asks for, with the versions that its metadata allow. The same wheel always gets the same text.
"""

from __future__ import annotations

import hashlib
import json
from email import message_from_string
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

__all__ = ["NAME", "bill_of_materials"]

#: File name in the folder `sboms/`.
NAME = "skyduel.cdx.json"
#: Files of a wheel that are no source code, and the kind of each.
_KINDS = {
    ".so": "library",
    ".safetensors": "machine-learning-model",
    ".onnx": "machine-learning-model",
}


def bill_of_materials(root: Path, metadata: str, built_with: dict[str, str]) -> str:
    """Return the bill as JSON.

    Parameters
    ----------
    root : Path
        The unpacked wheel.
    metadata : str
        Its core metadata.
    built_with : dict of str to str
        Versions of what its compiled files were built with; empty without such files.
    """
    facts = message_from_string(metadata)
    name, version = facts["Name"], facts["Version"]
    files = [_file(root, path) for path in sorted(root.rglob("*")) if path.suffix in _KINDS]
    wanted = [Requirement(text) for text in facts.get_all("Requires-Dist", [])]
    libraries = {}
    for one in sorted(wanted, key=lambda r: (r.name.lower(), "extra" in str(r.marker))):
        if one.name.lower() != name:
            libraries.setdefault(one.name.lower(), _library(one))
    own = f"pkg:pypi/{name}@{version}"
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": own,
                "name": name,
                "version": version,
                "purl": own,
                "licenses": [{"license": {"id": facts["License-Expression"] or facts["License"]}}],
            },
            "properties": _properties({f"built-with:{k}": v for k, v in built_with.items()}),
        },
        "components": [*files, *libraries.values()],
        "dependencies": [
            {"ref": own, "dependsOn": [one["bom-ref"] for one in (*files, *libraries.values())]}
        ],
    }
    return json.dumps(document, indent=1) + "\n"


def _file(root: Path, path: Path) -> dict[str, Any]:
    name = path.relative_to(root).as_posix()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return {
        "type": _KINDS[path.suffix],
        "bom-ref": f"file:{name}",
        "name": name,
        "scope": "required",
        "hashes": [{"alg": "SHA-256", "content": digest}],
    }


def _library(wanted: Requirement) -> dict[str, Any]:
    optional = "extra" in str(wanted.marker)
    values = {"requires": str(wanted.specifier)} | (
        {"when": str(wanted.marker)} if optional else {}
    )
    return {
        "type": "library",
        "bom-ref": f"pkg:pypi/{wanted.name.lower()}",
        "name": wanted.name,
        "purl": f"pkg:pypi/{wanted.name.lower()}",
        "scope": "optional" if optional else "required",
        "properties": _properties(values),
    }


def _properties(values: dict[str, str]) -> list[dict[str, str]]:
    return [{"name": f"skyduel:{name}", "value": value} for name, value in values.items()]
