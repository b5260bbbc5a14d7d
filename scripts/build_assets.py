#!/usr/bin/env python3
"""Make the bundled 4G3E data (complex, ligand, reference snapshots) from the project's own MD.

    python scripts/build_assets.py [SOURCE]        SOURCE: ../shared/data/4g3e beside the repository

Writes openmm_neuralmd/assets/4g3e/: ``complex.pdb`` (first production snapshot of r1), ``ligand.sdf`` (reference
geometry), ``reference.npz`` (ligand snapshots of r1 and r2) and ``pocket.pdb``, ``r1_pocket.xtc``, ``r2_pocket.xtc``
(ligand and pocket every 80 ps). All coordinates stand in the place of complex.pdb's protein: every frame is superposed
on its CA atoms. The same input gives the same bytes.
"""

import hashlib
import io
import json
import sys
import zipfile
from pathlib import Path

import mdtraj
import numpy as np
import torch
from openmm import app, unit
from rdkit import Chem

from openmm_neuralmd.analysis.validity import count_clashes
from openmm_neuralmd.molecule.shape import build_shape, compute_shape_errors, fit_geometry

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT.parent / "shared" / "data" / "4g3e"
TARGET = ROOT / "openmm_neuralmd" / "assets" / "4g3e"
LIGAND = "resname '0WC'"
REPLICAS = ("r1", "r2")
INTERVAL_PS, COMPLEX_INTERVAL_PS = 8.0, 80.0
TRAINING_FRACTION = 0.8
POCKET_CUTOFF_NM = 0.8
SIZE_LIMIT = 1_500_000


def main() -> None:
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else SOURCE
    if not (source / "complex.pdb").is_file():
        sys.exit(f"{source}: no 4G3E data here; give the folder that holds complex.pdb and the r1, r2 trajectories")
    TARGET.mkdir(parents=True, exist_ok=True)
    complexes = {r: mdtraj.load(source / f"{r}_complex_80ps.dcd", top=source / "complex.pdb") for r in REPLICAS}
    series = {
        r: mdtraj.load(source / f"{r}_ligand_backbone_8ps.dcd", top=source / "ligand_backbone.pdb") for r in REPLICAS
    }
    holo = complexes["r1"][0]
    for trajectory in (*complexes.values(), *series.values()):
        superpose_on_ca(trajectory, holo)
    write_complex(source / "complex.pdb", holo, TARGET / "complex.pdb")
    ligand = series["r1"].topology.select(LIGAND)
    snapshots = {r: t.xyz[:, ligand] for r, t in series.items()}
    write_ligand(source / "ligand_0WC.sdf", holo.xyz[0, holo.topology.select(LIGAND)], snapshots["r1"])
    write_reference(source, snapshots, complexes)
    write_pocket(complexes)
    total = 0
    for path in sorted(p for p in TARGET.iterdir() if p.suffix != ".pt"):
        total += path.stat().st_size
        print(f"{path.stat().st_size:9,d}  {path.relative_to(ROOT)}")
    print(f"{total:9,d}  total")
    if total > SIZE_LIMIT:
        sys.exit(f"assets are larger than {SIZE_LIMIT:,d} bytes")


def superpose_on_ca(trajectory: mdtraj.Trajectory, holo: mdtraj.Trajectory) -> None:
    """Move each frame, in place, onto the CA atoms of ``holo``'s protein."""
    trajectory.superpose(
        holo,
        atom_indices=trajectory.topology.select("protein and name CA"),
        ref_atom_indices=holo.topology.select("protein and name CA"),
    )


def write_complex(topology: Path, holo: mdtraj.Trajectory, target: Path) -> None:
    """The complex with the snapshot's own box."""
    pdb = app.PDBFile(str(topology))
    pdb.topology.setPeriodicBoxVectors(holo.unitcell_vectors[0].astype(float) * unit.nanometer)
    text = io.StringIO()
    app.PDBFile.writeFile(pdb.topology, holo.xyz[0].astype(float) * unit.nanometer, text, keepIds=True)
    write_pdb(text.getvalue(), target)


def write_pdb(text: str, target: Path) -> None:
    """PDB text with our remark for the writer's, which is dated."""
    lines = [line for line in text.splitlines() if not line.startswith("REMARK")]
    remark = "REMARK   1 NIK KINASE AND CMP1 (0WC), FROM PDB 4G3E CHAIN B; OWN MD, 80 PS"
    target.write_text("\n".join([remark, *lines]) + "\n")


def write_ligand(sdf: Path, start: np.ndarray, snapshots: np.ndarray) -> None:
    """Bonds and stereo of ``sdf``, coordinates fitted to the mean distances and heights of the training part."""
    molecule = Chem.MolFromMolFile(str(sdf), removeHs=False)
    bonds = np.array([(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in molecule.GetBonds()])
    training = torch.from_numpy(snapshots[: int(TRAINING_FRACTION * len(snapshots))].astype(np.float64))
    geometry = start.astype(np.float64)
    for k in range(12):  # a line's middle stands where its bonds' lengths say, and these come half way at a time
        shape = build_shape(geometry, bonds)
        mean = compute_shape_errors(training, shape)[0].mean(0)
        n_pairs, n_heights = len(shape.distances), len(shape.heights)
        shape = shape._replace(
            distances=shape.distances + mean[:n_pairs], heights=shape.heights + mean[n_pairs : n_pairs + n_heights]
        )
        geometry = fit_geometry(geometry, shape, (torch.arange(len(mean)) >= n_pairs + n_heights) & (k > 9))
    pairs, targets = shape.pairs.numpy(), shape.distances.numpy()
    chirality = Chem.FindMolChiralCenters(molecule)
    conformer = molecule.GetConformer()
    conformer.SetPositions(np.round(geometry * 10.0, 4))
    molecule.SetProp("_Name", "0WC")
    molecule.ClearProp("_MolFileInfo")
    Chem.AssignStereochemistryFrom3D(molecule)
    if Chem.FindMolChiralCenters(molecule) != chirality:
        raise RuntimeError("the fitted geometry has another chirality")
    residual = np.linalg.norm(geometry[pairs[:, 0]] - geometry[pairs[:, 1]], axis=1) - targets
    heavy = np.array([a.GetAtomicNum() > 1 for a in molecule.GetAtoms()])[pairs].all(axis=1)
    print(
        f"reference geometry: {len(pairs)} distances, rms residual {1e3 * np.sqrt(np.mean(residual**2)):.2f} pm; "
        f"heavy atoms alone {1e3 * np.sqrt(np.mean(residual[heavy] ** 2)):.2f} pm, "
        f"worst {1e3 * np.abs(residual[heavy]).max():.2f} pm"
    )
    Chem.MolToMolFile(molecule, str(TARGET / "ligand.sdf"))


def write_reference(source: Path, snapshots: dict[str, np.ndarray], complexes: dict[str, mdtraj.Trajectory]) -> None:
    """Ligand snapshots of both replicas and the clashes of each against its own moving protein."""
    topology = complexes["r1"].topology
    elements = np.array([a.element.atomic_number for a in topology.atoms])
    is_ligand = np.zeros(topology.n_atoms, dtype=bool)
    is_ligand[topology.select(LIGAND)] = True
    ligand, protein = np.nonzero(is_ligand & (elements > 1))[0], np.nonzero(~is_ligand & (elements > 1))[0]
    clashes = {
        f"clashes_{r}": count_clashes(
            t.xyz[:, ligand], t.xyz[:, protein], ligand_elements=elements[ligand], protein_elements=elements[protein]
        )
        for r, t in complexes.items()
    }
    sources = [f"{r}_{kind}.dcd" for r in REPLICAS for kind in ("ligand_backbone_8ps", "complex_80ps")]
    provenance = {
        "what": "4G3E chain B with 0WC: two independent MD replicas, superposed on the CA atoms of complex.pdb",
        "protocol": "OpenMM 8.6.1, Amber14 + GAFF2, TIP3P, PME, 300 K, 1 bar, LangevinMiddle 1/ps, 4 fs",
        "made_by": "scripts/build_assets.py",
        "sha256": {name: hashlib.sha256((source / name).read_bytes()).hexdigest() for name in sources},
    }
    write_npz(
        TARGET / "reference.npz",
        **snapshots,
        frame_interval_ps=np.float64(INTERVAL_PS),
        **clashes,
        clash_interval_ps=np.float64(COMPLEX_INTERVAL_PS),
        is_heavy=elements[is_ligand] > 1,
        provenance=np.array(json.dumps(provenance)),
    )


def write_npz(path: Path, **arrays: np.ndarray) -> None:
    """``numpy.savez_compressed`` with a fixed date, so that the same arrays give the same bytes."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            data = io.BytesIO()
            np.lib.format.write_array(data, np.asarray(array), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            archive.writestr(entry, data.getvalue(), zipfile.ZIP_DEFLATED, 9)


def write_pocket(complexes: dict[str, mdtraj.Trajectory]) -> None:
    """Ligand and every residue that comes near it, in the 80 ps frames of both replicas."""
    topology = complexes["r1"].topology
    ligand = topology.select(LIGAND)
    near: set[int] = set()
    for trajectory in complexes.values():
        for atoms in mdtraj.compute_neighbors(trajectory, POCKET_CUTOFF_NM, ligand, periodic=False):
            near |= {topology.atom(i).residue.index for i in atoms}
    chosen = [a.index for a in topology.atoms if a.residue.index in near or a.residue.name == "0WC"]
    for replica, trajectory in complexes.items():
        pocket = trajectory.atom_slice(chosen)
        pocket.time = COMPLEX_INTERVAL_PS * np.arange(1, len(pocket) + 1)
        pocket.save_xtc(str(TARGET / f"{replica}_pocket.xtc"))
        if replica == "r1":
            pocket[0].save_pdb(str(TARGET / "pocket.pdb"))
            write_pdb((TARGET / "pocket.pdb").read_text(), TARGET / "pocket.pdb")
    print(f"pocket: {len(near)} residues, {len(chosen)} atoms")


if __name__ == "__main__":
    main()
