"""``MLPotential("neuralmd")`` for openmm-ml: the learned force in a System of a conventional force field.

openmm-ml imports this module whenever it is imported itself, so everything heavy is imported when first used.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from openmmml.mlpotential import MLPotentialImpl, MLPotentialImplFactory  # type: ignore[import-untyped, unused-ignore]

if TYPE_CHECKING:
    import openmm

EMBEDDING = "neuralmd"


class NeuralMDPotentialImplFactory(MLPotentialImplFactory):
    """What the entry point ``openmmml.potentials`` names."""

    def createImpl(self, name: str, model: str = "sde", **args: Any) -> "NeuralMDPotentialImpl":  # noqa: N802
        """A potential with a model file, or a bundled model ("sde", "ode")."""
        from openmm_neuralmd.errors import InputError

        if args:
            raise InputError(f"MLPotential({name!r}) takes model=, not {', '.join(args)}")
        return NeuralMDPotentialImpl(model)


class NeuralMDPotentialImpl(MLPotentialImpl):
    """Adds NeuralMDForce for the one ligand that is the ML subset.

    ``createMixedSystem(topology, system, atoms, positions=positions, embedding="neuralmd")`` leaves every force of the
    System as it is, so ``compute_physical_energy`` reads the whole force field; the default embedding "mechanical"
    removes the ligand's own terms from it. Both hold everything but the ligand fixed. Then
    ``NeuralMDIntegrator(system)`` moves the ligand.

    Keyword arguments of ``createSystem`` and ``createMixedSystem``:
        positions: Of all atoms, required: the model is bound to the protein as it stands there.
        ligand: NAME, NAME:CHAIN or NAME:CHAIN:NUMBER; needed for ``createSystem`` only.
        sdf: The ligand's bonds and ideal geometry.
        seed, projection: As in ``NeuralMDForce``.
    """

    def __init__(self, model: str) -> None:
        self.model = model

    def getMLLongRange(self) -> bool:  # noqa: N802
        """False: the learned force has cutoffs."""
        return False

    def getSupportedEmbeddings(self) -> list[str]:  # noqa: N802
        """The embedding that leaves the force field whole."""
        return [EMBEDDING]

    def createMixedSystem(  # noqa: N802
        self,
        topology: Any,
        system: "openmm.System",
        atoms: list[int],
        forceGroup: int,
        interpolate: bool,
        embedding: str,  # noqa: ARG002
        returnInfo: bool = False,  # noqa: ARG002
        **args: Any,
    ) -> "openmm.System":
        """A copy of the System with the force, all other forces untouched."""
        import openmm

        if interpolate:
            raise NotImplementedError("the learned force has no energy to interpolate: use interpolate=False")
        mixed = openmm.XmlSerializer.clone(system)
        self.addForces(topology, mixed, atoms, forceGroup, **args)
        return mixed

    def addForces(  # noqa: N802
        self,
        topology: Any,
        system: "openmm.System",
        atoms: Iterable[int] | None,
        forceGroup: int,  # noqa: ARG002
        *,
        positions: Any = None,
        ligand: str | None = None,
        sdf: str | None = None,
        seed: int = 0,
        projection: bool = True,
        **args: Any,
    ) -> None:
        """Add the force, in a force group of its own, and hold everything else fixed.

        Raises:
            InputError: If positions are missing, the atoms are not exactly one residue, or as ``NeuralMDForce.add_to``.
        """
        from openmm_neuralmd.errors import InputError
        from openmm_neuralmd.models.export import BUNDLED, load_bundled_model, load_model
        from openmm_neuralmd.molecule.complex import Complex
        from openmm_neuralmd.simulation.force import NeuralMDForce

        if args.pop("interpolate", False) or args:
            raise InputError(f"unknown arguments for the potential 'neuralmd': {', '.join(args)}")
        if positions is None:
            raise InputError("give positions= of all atoms: the model is bound to the protein as it stands there")
        if atoms is not None and not isinstance(atoms, Iterable):
            raise InputError(f"atoms is {atoms!r}; give the indices of all atoms of the ligand, or none")
        selection = ligand if atoms is None else _find_residue(topology, set(atoms))
        if selection is None:
            raise InputError("say which residue is the ligand: ligand='NAME' or 'NAME:CHAIN:NUMBER'")
        complex_ = Complex.from_topology(topology, positions, selection, sdf=sdf)
        model = load_bundled_model(self.model) if self.model in BUNDLED else load_model(self.model)
        NeuralMDForce(complex_, model, seed=seed, projection=projection).add_to(system)


def _find_residue(topology: Any, atoms: set[int]) -> str:
    """Selection of the residue whose atoms these are."""
    from openmm_neuralmd.errors import InputError

    for residue in topology.residues():
        if {atom.index for atom in residue.atoms()} == atoms:
            return f"{residue.name}:{residue.chain.id}:{residue.id}"
    raise InputError("the atoms of the ML subset must be all atoms of one residue, the ligand")
