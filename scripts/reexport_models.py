#!/usr/bin/env python3
"""Write model files again with the package's present code: same weights and metadata.

    python scripts/reexport_models.py MODEL.pt...

A model file holds compiled code beside its weights, for others to run; this package compiles its own.
"""

import sys

import torch

from openmm_neuralmd.models.export import export_model, load_model


def main() -> None:
    for path in sys.argv[1:]:
        model = load_model(path)
        metadata = {k: v for k, v in model.metadata.items() if k not in ("schema_version", "versions")}
        export_model(model.restore_network(), metadata, path)
        written = load_model(path)
        assert all(torch.equal(written.weights[name], values) for name, values in model.weights.items())
        print(f"{path}: SHA-256 {model.sha256[:12]} is now {written.sha256[:12]}")


if __name__ == "__main__":
    main()
