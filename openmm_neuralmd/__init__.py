"""A learned force for OpenMM that moves a ligand in a rigid pocket with steps of tens of picoseconds."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from openmm_neuralmd.version import __version__

_PUBLIC = {
    "Complex": "molecule.complex",
    "load_complex": "molecule.complex",
    "load_bundled_complex": "molecule.complex",
    "load_model": "models.export",
    "load_bundled_model": "models.export",
    "NeuralMDForce": "simulation.force",
    "compute_physical_energy": "simulation.force",
    "NeuralMDIntegrator": "simulation.integrators",
    "simulate": "simulation.run",
    "run_replicas": "simulation.replicas",
}

if TYPE_CHECKING:
    from openmm_neuralmd.models.export import load_bundled_model, load_model
    from openmm_neuralmd.molecule.complex import Complex, load_bundled_complex, load_complex
    from openmm_neuralmd.simulation.force import NeuralMDForce, compute_physical_energy
    from openmm_neuralmd.simulation.integrators import NeuralMDIntegrator
    from openmm_neuralmd.simulation.replicas import run_replicas
    from openmm_neuralmd.simulation.run import simulate

__all__ = [
    "Complex",
    "NeuralMDForce",
    "NeuralMDIntegrator",
    "__version__",
    "compute_physical_energy",
    "load_bundled_complex",
    "load_bundled_model",
    "load_complex",
    "load_model",
    "run_replicas",
    "simulate",
]


def __getattr__(name: str) -> Any:
    """Public names, imported when first asked for: ``import openmm_neuralmd`` stays quick and loads no torch."""
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)
