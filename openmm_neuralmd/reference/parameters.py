"""GAFF2 parameters with AM1-BCC charges for a ligand, by AmberTools' programs, where they are installed.

The programs come with ``pip install acpype``; this module calls them and lets ParmEd write what they made.
"""

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

from openmm_neuralmd.errors import InputError
from openmm_neuralmd.molecule.chemistry import read_sdf

_RESIDUE = "LIG"


def find_ambertools() -> Path | None:
    """AmberTools' folder: AMBERHOME, where antechamber on PATH belongs, or in acpype's package; None if absent."""
    candidates = [Path(os.environ["AMBERHOME"])] if os.environ.get("AMBERHOME") else []
    program = shutil.which("antechamber")
    if program is not None:
        candidates.append(Path(program).resolve().parent.parent)
    package = importlib.util.find_spec("acpype")
    if package is not None and package.origin is not None:
        candidates.append(Path(package.origin).parent / "amber_linux")
    return next((c for c in candidates if (c / "bin" / "antechamber").is_file()), None)


def make_parameters(sdf: Path, name: str, folder: Path) -> Path:
    """Write an OpenMM force field file for a ligand; seconds to minutes.

    Args:
        sdf: The ligand with all hydrogens.
        name: Of its residue in the structure.
        folder: Where the programs work and the file is written.

    Returns:
        The file.

    Raises:
        InputError: If the programs or ParmEd are missing, or fail.
    """
    home = find_ambertools()
    try:
        import parmed
    except ImportError as error:
        raise InputError("making ligand parameters needs ParmEd: pip install 'openmm_neuralmd[gromacs]'") from error
    if home is None:
        raise InputError("making ligand parameters needs AmberTools' antechamber: pip install acpype")
    molecule = read_sdf(sdf)
    if not any(a.GetAtomicNum() == 1 for a in molecule.GetAtoms()):
        raise InputError(f"{sdf}: has no hydrogens; give the ligand.sdf of `neuralmd prepare`")
    charge = sum(a.GetFormalCharge() for a in molecule.GetAtoms())
    shutil.copyfile(sdf, folder / "lig.sdf")
    _call(
        home,
        f"antechamber -i lig.sdf -fi sdf -o lig.mol2 -fo mol2 -c bcc -nc {charge} -at gaff2 -rn {_RESIDUE} -pf y",
        folder,
    )
    _call(home, "parmchk2 -i lig.mol2 -f mol2 -o lig.frcmod -s gaff2 -a Y", folder)
    residue = parmed.load_file(str(folder / "lig.mol2"))
    residue.name = name
    residue.fix_charges(to=charge, precision=6)  # AM1-BCC leaves rounding
    terms = parmed.amber.AmberParameterSet(str(folder / "lig.frcmod"))
    parameters = parmed.openmm.OpenMMParameterSet.from_parameterset(terms)
    for atom, known in zip(residue.atoms, molecule.GetAtoms(), strict=True):  # ParmEd guesses elements
        atom.atomic_number = parameters.atom_types[atom.type].atomic_number = known.GetAtomicNum()
    parameters.residues[name] = residue
    path = folder / f"{name}_gaff2.xml"
    parameters.write(str(path))
    return path


def _call(home: Path, command: str, folder: Path) -> None:
    program, *options = command.split()
    done = subprocess.run(
        [str(home / "bin" / program), *options],
        cwd=folder,
        capture_output=True,
        text=True,
        errors="replace",
        env={**os.environ, "AMBERHOME": str(home)},
    )
    product = folder / options[options.index("-o") + 1]
    if done.returncode != 0 or not product.is_file():
        last = " ".join((done.stdout + done.stderr).strip().splitlines()[-3:])
        raise InputError(f"{program} failed for {folder / 'lig.sdf'}: {last}; give `ligand_parameters`")
