"""Frames of ligand and pocket, packed for the 3D view of the report (3Dmol.js, doi:10.1093/bioinformatics/btu829)."""

import base64
import json
import tempfile
from pathlib import Path

import mdtraj
import numpy as np

from openmm_neuralmd.analysis.observation import Observation
from openmm_neuralmd.text import clean_text
from openmm_neuralmd.units import ANGSTROM_PER_NM

RESOLUTION_ANGSTROM = 0.005
"""Of the packed coordinates: 16-bit integers, so at most 164 A from the centre."""
_ESCAPES = {ord(letter): f"\\u{ord(letter):04x}" for letter in "<>&"}


def pack_trajectory(o: Observation, ligand: str, pose: np.ndarray, color: str) -> dict[str, object] | None:
    """What ``viewer.js`` needs of one trajectory; None where nothing is there to show.

    Args:
        o: With ``view``: ligand and pocket.
        ligand: Its residue name in this trajectory's topology is replaced by this.
        pose: The ligand's start [nm], (n_atoms, 3): its centre becomes the origin, and it faces the reader.
        color: Of the ligand's carbon atoms, as in the figures.
    """
    if o.view is None:
        return None
    kept = [
        a.index
        for a in o.view.topology.atoms
        if (a.element is not None and a.element.atomic_number > 1)
        or not {"N", "CA"} & {b.name for b in a.residue.atoms}
    ]
    shown = o.view.atom_slice(kept)
    center = pose.mean(axis=0)
    axes = np.linalg.svd(pose - center, full_matrices=False)[2]
    axes[2] *= np.linalg.det(axes)  # a rotation, not a reflection
    shown.xyz = ((shown.xyz - center) @ axes.T).astype(np.float32)
    xyz = ANGSTROM_PER_NM * shown.xyz
    shown_name = name_residue(ligand)
    integers = np.clip(np.round(xyz / RESOLUTION_ANGSTROM), -32768, 32767).astype("<i2")
    return {
        "label": clean_text(o.label),
        "color": color,
        "ligand": shown_name,
        "times": [round(float(t), 4) for t in shown.time],
        "pdb": _write_pdb(shown, shown_name),
        "resolution": RESOLUTION_ANGSTROM,
        "coordinates": base64.b64encode(integers.tobytes()).decode(),
    }


def name_residue(ligand: str) -> str:
    """A ligand's name as every viewer takes it: its first three letters, LIG if they are not letters and digits."""
    name = ligand[:3]
    return name if name.isascii() and name.isalnum() else "LIG"


def rename_ligand(topology: mdtraj.Topology, name: str) -> mdtraj.Topology:
    """A copy in which every residue without a backbone is called ``name``, and every name fits a PDB file.

    It is built anew because bonds in mdtraj's own copies keep the atoms of the original, which are no longer equal to
    the renamed ones.
    """
    renamed = mdtraj.Topology()
    atoms = []
    for chain in topology.chains:
        new_chain = renamed.add_chain(chain.chain_id)
        for residue in chain.residues:
            has_backbone = {"N", "CA"} <= {a.name for a in residue.atoms}
            called = _fit_column(residue.name, 3) if has_backbone else name
            new = renamed.add_residue(called, new_chain, residue.resSeq, residue.segment_id)
            atoms += [renamed.add_atom(_fit_column(a.name, 4), a.element, new, serial=a.serial) for a in residue.atoms]
    for bond in topology.bonds:
        renamed.add_bond(atoms[bond[0].index], atoms[bond[1].index], type=bond.type, order=bond.order)
    return renamed


def _fit_column(name: str, width: int) -> str:
    return "".join(c if "!" <= c <= "~" else "_" for c in name)[:width]


def dump_script(trajectories: list[dict[str, object]]) -> str:
    """The packed trajectories as JavaScript that can stand in a page: no letter of it means something to HTML."""
    return f"window.trajectories = {json.dumps(trajectories).translate(_ESCAPES)};"  # JSON is ASCII


def _write_pdb(shown: mdtraj.Trajectory, ligand: str) -> str:
    first = mdtraj.Trajectory(shown.xyz[:1], rename_ligand(shown.topology, ligand))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "first.pdb"
        first.save_pdb(str(path))
        lines = path.read_text().splitlines()
    return "\n".join(line for line in lines if line.startswith(("ATOM", "HETATM", "CONECT"))) + "\nEND\n"
