#!/usr/bin/env python
"""Print a CustomResourceDefinition without what Kubernetes 1.20 does not understand; all types and names stay.

    strip_crds.py FILE | kubectl create -f -

Left out: rules in CEL; defaults of "", which 1.20 takes for null; keys of lists that have no other default.
"""

import json
import sys
from pathlib import Path
from typing import Any

import yaml


def strip(schema: Any) -> Any:
    """Strip a schema and all within it."""
    if isinstance(schema, list):
        return [strip(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: strip(value) for key, value in schema.items() if (key, value) != ("default", "")}
    kept.pop("x-kubernetes-validations", None)
    if kept.get("x-kubernetes-list-type") == "map":
        fields = kept["items"]["properties"]
        keys = kept["x-kubernetes-list-map-keys"]
        if any("default" not in fields[key] and key not in kept["items"].get("required", ()) for key in keys):
            kept = {key: value for key, value in kept.items() if not key.startswith("x-kubernetes-list")}
    return kept


if __name__ == "__main__":
    print(json.dumps(strip(yaml.load(Path(sys.argv[1]).read_text(), Loader=yaml.CSafeLoader))))
