"""Whether a network's cutoffs let it see anything of the complexes it is trained on."""

from collections.abc import Sequence

import numpy as np
from scipy.spatial.distance import cdist, pdist

from openmm_neuralmd.errors import InputError
from openmm_neuralmd.molecule.complex import Complex
from openmm_neuralmd.units import ANGSTROM_PER_NM


def check_cutoffs(complexes: Sequence[Complex], *, ligand: float | None, pocket: float | None) -> None:
    """Check that in each complex's pose two ligand atoms, and a ligand atom and a CA atom, see each other.

    Args:
        complexes: To train on.
        ligand: Cutoff between ligand atoms [A]; None where the network has none.
        pocket: Cutoff between a ligand atom and CA atoms [A], or None.

    Raises:
        InputError: If one is too short; the message tells the least that would do.
    """
    pairs = [pdist(c.ligand.positions).min() for c in complexes]
    contacts = [cdist(c.protein.backbone[:, 1], c.ligand.positions).min() for c in complexes]
    for name, cutoff, shortest, what in (
        ("`ligand_cutoff`", ligand, pairs, "two ligand atoms"),
        ("`pocket_cutoff`", pocket, contacts, "a ligand atom and a CA atom"),
    ):
        worst = int(np.argmax(shortest))
        needed = float(np.ceil(10 * ANGSTROM_PER_NM * shortest[worst])) / 10
        if cutoff is not None and cutoff < needed:
            raise InputError(
                f"{name} {cutoff:g} Å: {what} of {complexes[worst].source or complexes[worst].ligand.name} are nowhere "
                f"so close, and the model would see nothing; give {needed:g} Å or more"
            )
