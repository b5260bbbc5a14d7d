"""Scripts that open a comparison in PyMOL and VMD: same place, same style, one colour for each trajectory."""

from dataclasses import dataclass
from pathlib import Path

import mdtraj
import numpy as np

from openmm_neuralmd.analysis.observation import Observation
from openmm_neuralmd.analysis.plots import get_color
from openmm_neuralmd.analysis.viewer import name_residue, rename_ligand
from openmm_neuralmd.files import give_ascii_path

_MAX_NAME = 40  # characters of a label in the name of a file
_PYMOL_WORDS = frozenset(
    "acceptors all alt altloc and around b backbone beyond bonded bound_to bycalpha bycell bychain byfrag "
    "byfragment bymol bymolecule byobj byobject byres byresi byresidue byring byseg bysegi bysegment "
    "cartoon_color center chain color custom donors elem element enabled expand extend first fixed flag "
    "formal_charge gap guide hetatm hydro hydrogens id in index inorganic label last like masked metals model "
    "name near_to neighbor none not numeric_type object or organic origin partial_charge pepseq polymer present "
    "protected q rank rep resi resid resident residue resn resname restrained ribbon_color same segi segid "
    "segment sele sidechain solvent ss state stereo symbol text_type visible within x y z".split()
)
"""Of its selections, which cannot name a molecule: found by trying, with PyMOL 2.5."""


@dataclass(frozen=True)
class Scene:
    """Files that the scripts load.

    Attributes:
        label: Name of the molecule, letters, digits and underscores.
        topology, trajectory: File names beside the scripts.
        color: As #rrggbb.
    """

    label: str
    topology: str
    trajectory: str
    color: str


def write_scenes(series: list[Observation], ligand: str, folder: str | Path) -> list[Path]:
    """Write ``view.pml`` and ``view.vmd``, and the ligand and pocket of each series, superposed, as PDB and XTC.

    The scripts load what the comparison saw: frames already superposed, whatever engine they came from, so nothing
    needs to be matched again.

    Args:
        series: The run first; those without ``view`` are left out.
        ligand: Residue name in the written files.
        folder: Where.

    Returns:
        What was written.
    """
    folder, residue = Path(folder), name_residue(ligand)
    scenes: list[Scene] = []
    taken: set[str] = set()
    written: list[Path] = []
    for k, o in enumerate(series):
        if o.view is None:
            continue
        name = _name_files(o.label, k, taken)
        scene = Scene(_name_molecule(name), f"{name}.pdb", f"{name}.xtc", get_color(k))
        taken |= {name.lower(), scene.label.lower()}
        frames = mdtraj.Trajectory(
            o.view.xyz, rename_ligand(o.view.topology, residue), time=np.asarray(o.view.time, dtype=np.float32)
        )
        frames[0].save_pdb(str(folder / scene.topology))
        with give_ascii_path(folder / scene.trajectory, write=True) as target:
            frames.save_xtc(target)
        scenes.append(scene)
        written += [folder / scene.topology, folder / scene.trajectory]
    (folder / "view.pml").write_text(build_pymol_script(scenes, residue))
    (folder / "view.vmd").write_text(build_vmd_script(scenes, residue))
    return [*written, folder / "view.pml", folder / "view.vmd"]


def _name_files(label: str, index: int, taken: set[str]) -> str:
    """Letters, digits and underscores, so that no script takes them for a command; no other's, for PyMOL either."""
    name = "".join(c if c.isascii() and c.isalnum() else "_" for c in label)[:_MAX_NAME] or "_"
    while {name.lower(), _name_molecule(name).lower()} & taken:  # file systems may not tell A from a
        name = f"{name}_{index}"
    return name


def _name_molecule(name: str) -> str:
    """The same, but for what PyMOL hides, counts or takes for a word of its own."""
    is_free = not name.startswith("_") and not name.isdecimal() and name.lower() not in _PYMOL_WORDS
    return name if is_free else f"mol_{name}"


def build_pymol_script(scenes: list[Scene], ligand: str) -> str:
    """Commands for PyMOL: ``pymol view.pml`` in the folder of the files."""
    lines = [
        "# pymol view.pml      in this folder",
        "reinitialize",
        "bg_color white",
        "set stick_radius, 0.16",
        "set line_width, 1.5",
        "set valence, 0",
        "set all_states, 0",
    ]
    for scene in scenes:
        red, green, blue = (int(scene.color[k : k + 2], 16) / 255.0 for k in (1, 3, 5))
        lines += [
            f"load {scene.topology}, {scene.label}",
            f"load_traj {scene.trajectory}, {scene.label}, state=1",
            f"set_color color_{scene.label}, [{red:.3f}, {green:.3f}, {blue:.3f}]",
            f"unbond {scene.label} and resn {ligand}, {scene.label} and not resn {ligand}",
            f"hide everything, {scene.label}",
            f"show lines, {scene.label} and not hydro",
            f"color grey70, {scene.label}",
            f"show sticks, {scene.label} and resn {ligand} and not (hydro and neighbor elem C)",
            f"color color_{scene.label}, {scene.label} and resn {ligand}",
            f"util.cnc {scene.label} and resn {ligand}",
        ]
    lines += [f"disable {scene.label}" for scene in scenes[2:]]
    lines += [f"orient resn {ligand}", f"zoom resn {ligand}, 5", "set movie_fps, 15", "# mplay"]
    return "\n".join(lines) + "\n"


def build_vmd_script(scenes: list[Scene], ligand: str) -> str:
    """Commands for VMD: ``vmd -e view.vmd`` in the folder of the files."""
    lines = [
        "# vmd -e view.vmd     in this folder",
        "display projection Orthographic",
        "display depthcue off",
        "color Display Background white",
        "axes location off",
    ]
    for k, scene in enumerate(scenes):
        red, green, blue = (int(scene.color[i : i + 2], 16) / 255.0 for i in (1, 3, 5))
        color = 20 + k
        lines += [
            f"color change rgb {color} {red:.3f} {green:.3f} {blue:.3f}",
            f"set mol [mol new {{{scene.topology}}} type pdb waitfor all]",
            f"mol rename $mol {{{scene.label}}}",
            "animate delete beg 0 end -1 $mol",
            f"mol addfile {{{scene.trajectory}}} type xtc waitfor all molid $mol",
            "mol delrep 0 $mol",
            "mol representation Lines 1.5",
            "mol color ColorID 2",
            f'mol selection "not resname {ligand} and not hydrogen"',
            "mol addrep $mol",
            "mol representation Licorice 0.2 16 16",
            f"mol color ColorID {color}",
            f'mol selection "resname {ligand} and not hydrogen"',
            "mol addrep $mol",
        ]
        if k > 1:
            lines.append("mol off $mol")
    lines += ["mol top 0", "display resetview", "animate speed 0.6"]
    return "\n".join(lines) + "\n"
