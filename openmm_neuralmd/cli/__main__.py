"""``python -m openmm_neuralmd.cli``: the command line where ``neuralmd`` is not on the PATH."""

import sys

from openmm_neuralmd.cli import main

if __name__ == "__main__":
    sys.exit(main())
