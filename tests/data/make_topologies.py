"""Makes tiny.tpr and tiny.prmtop: the tests' tiny complex as GROMACS and Amber topologies.

Needs ParmEd and GROMACS (made with ParmEd 4.3.1, GROMACS 2022.5):  python -m tests.data.make_topologies
"""

import subprocess
import tempfile
from pathlib import Path

import openmm as mm
import parmed
from openmm import unit

from tests.helpers import make_complex

FOLDER = Path(__file__).parent
BOX_NM = 4.0
MDP = "integrator = md\nnsteps = 0\ndt = 0.002\ncutoff-scheme = Verlet\nrlist = 1.0\nrvdw = 1.0\nrcoulomb = 1.0\n"


def main() -> None:
    complex_ = make_complex(box=BOX_NM)
    system = mm.System()
    nonbonded, bonds = mm.NonbondedForce(), mm.HarmonicBondForce()
    for atom in complex_.topology.atoms():
        system.addParticle(atom.element.mass)
        nonbonded.addParticle(0.0, 0.3, 0.1)
    for a, b in complex_.topology.bonds():
        bonds.addBond(a.index, b.index, 0.15, 1e5)
    pairs = [(a.index, b.index) for a, b in complex_.topology.bonds()]
    nonbonded.createExceptionsFromBonds(pairs, 5 / 6, 0.5)
    for force in (nonbonded, bonds):
        system.addForce(force)
    structure = parmed.openmm.load_topology(complex_.topology, system, complex_.positions * unit.nanometer)
    structure.box = [10 * BOX_NM] * 3 + [90.0] * 3
    structure.save(str(FOLDER / "tiny.prmtop"), overwrite=True)
    with tempfile.TemporaryDirectory() as folder:
        structure.save(f"{folder}/tiny.top", combine="all")
        structure.save(f"{folder}/tiny.gro", combine="all")
        Path(folder, "tiny.mdp").write_text(MDP)
        command = [
            "gmx",
            "grompp",
            "-f",
            "tiny.mdp",
            "-c",
            "tiny.gro",
            "-p",
            "tiny.top",
            "-o",
            str(FOLDER / "tiny.tpr"),
        ]
        subprocess.run([*command, "-maxwarn", "9"], cwd=folder, check=True)


if __name__ == "__main__":
    main()
