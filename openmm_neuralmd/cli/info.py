"""``neuralmd info``: what a model file says of itself."""

import argparse
import json
from typing import Any

from openmm_neuralmd.cli.options import open_model

_SHOWN_ENTRIES = 3  # of a list; all are in --json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``neuralmd info``."""
    parser.add_argument("model", metavar="M.pt", help="model file, or bundled sde or ode")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> None:
    """Print a model file's metadata."""
    model = open_model(args.model)
    content = {"path": str(model.path), "sha256": model.sha256, **model.metadata}
    print(json.dumps(content, indent=2) if args.json else "\n".join(_format_entries(content)))


def _format_entries(content: dict[str, Any], indent: int = 0) -> list[str]:
    lines = []
    for name, value in content.items():
        key = _show(name)
        if isinstance(value, dict):
            lines += [f"{' ' * indent}{key}", *_format_entries(value, indent + 2)]
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for k, entry in enumerate(value[:_SHOWN_ENTRIES]):
                lines += [f"{' ' * indent}{key} {k + 1} of {len(value)}", *_format_entries(entry, indent + 2)]
        else:
            lines.append(f"{' ' * indent}{key:{max(26 - indent, 1)}} {_show(value)}")
    return lines


def _show(value: Any) -> str:
    """As text, on one line and without what a terminal would obey: a file may say anything."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(value))
