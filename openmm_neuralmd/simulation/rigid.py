"""What does not move by itself: surroundings held by zero mass, ligand hydrogens that follow their heavy atoms.

Hydrogens become OpenMM virtual sites in the local frame of their heavy atom, so every reporter sees complete molecules.
"""

from dataclasses import dataclass

import numpy as np
import openmm as mm

from openmm_neuralmd.errors import InputError, TopologyMismatchError
from openmm_neuralmd.molecule.complex import Complex, Ligand

_COLLINEAR_SINE = 0.2  # below 12 degrees off a line, a third atom gives no stable frame
_HYDROGEN_OFF_AXIS_NM = 0.02  # nearer to a line a virtual site's frame is ill defined; O-H stands 0.09 off
_MASS_TOLERANCE_DA = 0.5  # rounding and isotopes; neighbouring elements differ by 1 and more


@dataclass(frozen=True)
class HeldFixed:
    """What ``hold_surroundings`` did to a System.

    Attributes:
        n_fixed: Particles held by zero mass, the ligand's hydrogens not counted.
        n_following: Ligand hydrogens that became virtual sites.
        n_constraints_removed: Constraints the System had.
    """

    n_fixed: int
    n_following: int
    n_constraints_removed: int

    def __str__(self) -> str:
        return (
            f"{self.n_fixed} particles around the ligand held fixed by zero mass, {self.n_following} ligand hydrogens "
            f"follow their heavy atoms as virtual sites, {self.n_constraints_removed} constraints removed"
        )


def build_rigid_system(complex_: Complex) -> mm.System:
    """A System without forces in which only the ligand's heavy atoms can move."""
    system = mm.System()
    for atom in complex_.topology.atoms():
        system.addParticle(0.0 if atom.element is None else atom.element.mass)
    hold_surroundings(system, complex_)
    return system


def hold_surroundings(system: mm.System, complex_: Complex) -> HeldFixed:
    """Hold everything but the ligand's heavy atoms, and let its hydrogens follow them.

    Forces stay. Constraints go, all of them: OpenMM refuses those between a massive and a massless particle, and its
    solvers diverge at coarse steps (use the bond projection). Those among what is held do nothing, but where one is
    left and the program constrains positions (``NeuralMDIntegrator``'s does, for the hydrogens), GPU platforms evaluate
    forces at positions from before the step: changes reach forces only when they are constrained (OpenMM 8.6.1).

    Raises:
        TopologyMismatchError: As in ``check_ligand``.
    """
    check_ligand(system, complex_)
    ligand = complex_.ligand
    moving = set(ligand.atom_indices.tolist())
    own = moving | set(ligand.hydrogen_indices.tolist())
    n_constraints = system.getNumConstraints()
    for k in reversed(range(n_constraints)):
        system.removeConstraint(k)
    for particle in range(system.getNumParticles()):
        if particle not in moving:
            system.setParticleMass(particle, 0.0)
    for hydrogen, parent in zip(ligand.hydrogen_indices.tolist(), ligand.hydrogen_parents.tolist(), strict=True):
        system.setVirtualSite(hydrogen, build_hydrogen_site(complex_, hydrogen, parent))
    return HeldFixed(system.getNumParticles() - len(own), len(ligand.hydrogen_indices), n_constraints)


def check_ligand(system: mm.System, complex_: Complex) -> None:
    """Check that the System is the one the complex describes.

    Masses are compared for each heavy atom with its hydrogens together, which hydrogen mass repartitioning keeps.

    Raises:
        TopologyMismatchError: If the particle count differs, or a ligand atom has another mass or is fixed already.
    """
    n_atoms = complex_.topology.getNumAtoms() if complex_.topology is not None else len(complex_.positions)
    if system.getNumParticles() != n_atoms:
        raise TopologyMismatchError(
            f"the System has {system.getNumParticles()} particles, the complex {n_atoms} atoms: make the complex from "
            "the topology and positions that the System was made from"
        )
    ligand = complex_.ligand
    masses = np.array([system.getParticleMass(i)._value for i in range(system.getNumParticles())])
    found = masses[ligand.atom_indices]
    if (found == 0.0).any() or any(system.isVirtualSite(i) for i in ligand.atom_indices.tolist()):
        raise TopologyMismatchError(
            f"ligand {ligand.name}: some heavy atoms have zero mass in the System and cannot move; add NeuralMDForce "
            "to a System in which the ligand is free"
        )
    expected = ligand.masses.copy()
    is_massive = masses[ligand.hydrogen_indices] > 0.0
    np.add.at(found, ligand.hydrogen_parents, masses[ligand.hydrogen_indices])
    np.add.at(expected, ligand.hydrogen_parents, 1.008 * is_massive)
    wrong = np.flatnonzero(np.abs(found - expected) > _MASS_TOLERANCE_DA)
    if len(wrong):
        k = int(wrong[0])
        raise TopologyMismatchError(
            f"ligand atom {ligand.atom_names[k]} (particle {ligand.atom_indices[k]}) and its hydrogens weigh "
            f"{found[k]:.2f} Da in the System, {expected[k]:.2f} Da were expected from the topology: the atoms or "
            "their order differ"
        )


def build_hydrogen_site(complex_: Complex, hydrogen: int, parent: int) -> mm.VirtualSite:
    """Virtual site of one hydrogen with the geometry it has in the complex.

    Args:
        complex_: Gives positions and bonds.
        hydrogen: Topology index.
        parent: Ligand index of the heavy atom it is bonded to.

    Raises:
        InputError: If the hydrogen is placed on its heavy atom.
    """
    ligand = complex_.ligand
    xyz = complex_.positions
    origin, place = xyz[ligand.atom_indices[parent]], xyz[hydrogen]
    offset = place - origin
    if np.linalg.norm(offset) < 1e-3:
        raise InputError(
            f"ligand hydrogen {hydrogen} stands on its heavy atom: give its real position, or leave it out"
        )
    neighbours = _find_neighbours(ligand, parent)
    axis = xyz[ligand.atom_indices[neighbours[0]]] - origin
    if len(neighbours) == 1 and _compute_sine(axis, offset) * np.linalg.norm(offset) < _HYDROGEN_OFF_AXIS_NM:
        ratio = float(np.dot(offset, axis) / np.dot(axis, axis))  # an alkyne's hydrogen, on the axis of its bond
        particles = ligand.atom_indices[[parent, neighbours[0]]].tolist()
        return mm.TwoParticleAverageSite(*particles, 1.0 - ratio, ratio)
    particles, x_weights, y_weights = _find_frame(complex_, parent, neighbours)
    origin_weights = np.eye(len(particles))[0]
    axes = _build_axes(x_weights @ xyz[particles], y_weights @ xyz[particles])
    return mm.LocalCoordinatesSite(
        particles, origin_weights.tolist(), x_weights.tolist(), y_weights.tolist(), mm.Vec3(*(axes @ offset))
    )


def _find_neighbours(ligand: Ligand, atom: int) -> list[int]:
    bonds = ligand.bonds
    return sorted([*bonds[bonds[:, 0] == atom, 1].tolist(), *bonds[bonds[:, 1] == atom, 0].tolist()])


def _find_frame(complex_: Complex, parent: int, neighbours: list[int]) -> tuple[list[int], np.ndarray, np.ndarray]:
    """Particles, the parent first, and the weights of both axes; each axis starts at the parent or at a neighbour.

    With several neighbours the first axis bisects them and the second joins two, which spreads small distortions
    evenly. A terminal atom takes the nearest atom off its bond's axis, which may be one of the rigid protein.
    """
    ligand = complex_.ligand
    xyz = complex_.positions[ligand.atom_indices]
    particles = ligand.atom_indices[[parent, *neighbours]].tolist()
    count = len(neighbours)
    if count >= 2:
        x_weights = np.concatenate([[-1.0], np.full(count, 1.0 / count)])
        y_weights = np.concatenate([[0.0, 1.0, -1.0], np.zeros(count - 2)])
        bisector, joining = x_weights @ xyz[[parent, *neighbours]], y_weights @ xyz[[parent, *neighbours]]
        if np.linalg.norm(bisector) > 0.02 and _compute_sine(bisector, joining) > _COLLINEAR_SINE:
            return particles, x_weights, y_weights
    axis = xyz[neighbours[0]] - xyz[parent]
    third = _find_off_axis(complex_, parent, neighbours[0], axis)
    return [*particles[:2], third], np.array([-1.0, 1.0, 0.0]), np.array([-1.0, 0.0, 1.0])


def _find_off_axis(complex_: Complex, parent: int, neighbour: int, axis: np.ndarray) -> int:
    """Particle nearest in bonds (else in space, among the protein's CA atoms) that is not on the axis."""
    ligand, xyz = complex_.ligand, complex_.positions
    origin = xyz[ligand.atom_indices[parent]]
    seen, shell = {parent, neighbour}, [neighbour]
    while shell:
        shell = [a for atom in shell for a in _find_neighbours(ligand, atom) if a not in seen]
        seen.update(shell)
        for atom in shell:
            if _compute_sine(axis, xyz[ligand.atom_indices[atom]] - origin) > _COLLINEAR_SINE:
                return int(ligand.atom_indices[atom])
    candidates = complex_.protein.ca_indices
    for particle in candidates[np.argsort(np.linalg.norm(xyz[candidates] - origin, axis=1))].tolist():
        if _compute_sine(axis, xyz[particle] - origin) > _COLLINEAR_SINE:
            return int(particle)
    raise InputError("ligand hydrogens need an atom that is not in line with their bond; the structure has none")


def _build_axes(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """OpenMM's local axes as rows: x, y made orthogonal to it, z = x cross y."""
    x = x / np.linalg.norm(x)
    z = np.cross(x, y)
    z = z / np.linalg.norm(z)
    return np.stack([x, np.cross(z, x), z])


def _compute_sine(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(np.cross(a, b))) / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-12)
