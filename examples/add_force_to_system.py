#!/usr/bin/env python3
"""Add the learned force to a System you already have, run it, and read the energy of its other forces.

python examples/add_force_to_system.py
python examples/add_force_to_system.py --system system.xml.gz --pdb start.pdb.gz --ligand LIG --out run.dcd

Without arguments: the solvated 4G3E beside the repository if it is there, else the bundled one with Amber14 and GAFF2.
"""

import argparse
import gzip
from pathlib import Path
from typing import IO

import openmm as mm
from openmm import unit
from openmm.app import CutoffNonPeriodic, DCDReporter, HBonds, PDBFile, Simulation

from openmm_neuralmd import (
    Complex,
    NeuralMDError,
    NeuralMDForce,
    NeuralMDIntegrator,
    compute_physical_energy,
    get_bundled_path,
    load_bundled_complex,
    load_bundled_model,
    load_model,
    load_openmm_force_field,
    read_system,
)

SOLVATED = Path(__file__).resolve().parents[2] / "shared" / "data" / "4g3e"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--system", type=Path, help="serialized OpenMM System (.xml or .xml.gz)")
    parser.add_argument("--pdb", type=Path, help="its topology and positions (.pdb or .pdb.gz)")
    parser.add_argument("--ligand", default="0WC", help="NAME, NAME:CHAIN or NAME:CHAIN:NUMBER (default: %(default)s)")
    parser.add_argument("--model", help="model file (default: the bundled sde)")
    parser.add_argument("--snapshots", type=int, default=20, help="default: %(default)s")
    parser.add_argument("--out", type=Path, help="DCD file with every snapshot")
    options = parser.parse_args()
    if (options.system is None) != (options.pdb is None):
        parser.error("--system and --pdb belong together")
    try:
        run(options)
    except NeuralMDError as error:
        parser.error(str(error))


def run(options: argparse.Namespace) -> None:
    system, complex_ = load_system(options)
    for index in reversed(range(system.getNumForces())):
        if isinstance(system.getForce(index), mm.CMMotionRemover):
            system.removeForce(index)  # it would move what add_to holds fixed, so add_to refuses it

    model = load_model(options.model) if options.model else load_bundled_model("sde")
    force = NeuralMDForce(complex_, model, seed=0)
    print(force.add_to(system))

    integrator = NeuralMDIntegrator(force)
    simulation = Simulation(complex_.topology, system, integrator, mm.Platform.getPlatformByName("CPU"))
    simulation.context.setPositions(complex_.positions)
    simulation.context.computeVirtualSites()
    integrator.attach(simulation.context)  # steps cost what the ligand costs, whatever else the System holds
    steps = integrator.steps_per_snapshot
    if options.out:
        simulation.reporters.append(DCDReporter(str(options.out), steps, enforcePeriodicBox=False))

    before = compute_physical_energy(simulation.context)
    simulation.step(options.snapshots * steps)
    after = compute_physical_energy(simulation.context)
    time = simulation.context.getTime().value_in_unit(unit.nanosecond)
    print(f"energy of the other forces: {format_energy(before)} before, {format_energy(after)} after {time:g} ns")
    print(
        "They do not drive the motion. What is held fixed makes no room, so the energy rises where the ligand moves\n"
        "into waters or side chains that the model does not see; minimise before going on with plain MD."
    )


def load_system(options: argparse.Namespace) -> tuple[mm.System, Complex]:
    """A System and the complex that describes it: same atoms, same positions."""
    system_file, pdb_file = options.system, options.pdb
    if system_file is None and (SOLVATED / "solvated_system.xml.gz").exists():
        system_file, pdb_file = SOLVATED / "solvated_system.xml.gz", SOLVATED / "solvated_start.pdb.gz"
    if system_file is not None:
        print(f"System: {system_file}")
        system = read_system(system_file)  # runs no code that such a file may hold, as OpenMM's own reader would
        with open_text(pdb_file) as pdb:
            structure = PDBFile(pdb)
        return system, Complex.from_topology(structure.topology, structure.positions, options.ligand)
    print("System: the bundled 4G3E in vacuum, Amber14 and GAFF2")
    complex_ = load_bundled_complex()
    force_field = load_openmm_force_field(["amber14-all.xml", get_bundled_path("ligand_gaff2.xml")])
    system = force_field.createSystem(
        complex_.topology, nonbondedMethod=CutoffNonPeriodic, nonbondedCutoff=1.0 * unit.nanometer, constraints=HBonds
    )
    return system, complex_


def open_text(path: Path) -> IO[str]:
    return gzip.open(path, "rt") if path.suffix == ".gz" else open(path)


def format_energy(energy: unit.Quantity) -> str:
    return f"{energy.value_in_unit(unit.kilojoule_per_mole):.4g} kJ/mol"


if __name__ == "__main__":
    main()
