"""A learned force for OpenMM that moves a ligand in a rigid pocket with steps of tens of picoseconds."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from openmm_neuralmd.errors import NeuralMDError
from openmm_neuralmd.version import __version__

_PUBLIC = {
    # a complex and a model
    "Complex": "molecule.complex",
    "get_bundled_path": "analysis.bundled",
    "load_bundled_complex": "molecule.complex",
    "load_bundled_model": "models.export",
    "load_complex": "molecule.complex",
    "load_model": "models.export",
    # a System, and the force in it
    "NeuralMDForce": "simulation.force",
    "NeuralMDIntegrator": "simulation.integrators",
    "compute_physical_energy": "simulation.force",
    "load_openmm_force_field": "force_field.force_field_files",
    "read_system": "force_field.system_files",
    # runs
    "run_replicas": "simulation.replicas",
    "simulate": "simulation.run",
    # what came of them, beside MD
    "compare_files": "analysis.comparing",
    "describe_overall": "analysis.comparison",
    "open_run": "io.trajectories",
    "open_trajectory": "io.trajectories",
    "summarize_run": "analysis.summary",
    "write_comparison": "analysis.comparing",
    "write_overview": "analysis.plots",
}
"""Where each name is at home."""

if TYPE_CHECKING:
    from openmm_neuralmd.analysis.bundled import get_bundled_path
    from openmm_neuralmd.analysis.comparing import compare_files, write_comparison
    from openmm_neuralmd.analysis.comparison import describe_overall
    from openmm_neuralmd.analysis.plots import write_overview
    from openmm_neuralmd.analysis.summary import summarize_run
    from openmm_neuralmd.force_field.force_field_files import load_openmm_force_field
    from openmm_neuralmd.force_field.system_files import read_system
    from openmm_neuralmd.io.trajectories import open_run, open_trajectory
    from openmm_neuralmd.models.export import load_bundled_model, load_model
    from openmm_neuralmd.molecule.complex import Complex, load_bundled_complex, load_complex
    from openmm_neuralmd.simulation.force import NeuralMDForce, compute_physical_energy
    from openmm_neuralmd.simulation.integrators import NeuralMDIntegrator
    from openmm_neuralmd.simulation.replicas import run_replicas
    from openmm_neuralmd.simulation.run import simulate

__all__ = [
    "Complex",
    "NeuralMDError",
    "NeuralMDForce",
    "NeuralMDIntegrator",
    "__version__",
    "compare_files",
    "compute_physical_energy",
    "describe_overall",
    "get_bundled_path",
    "load_bundled_complex",
    "load_bundled_model",
    "load_complex",
    "load_model",
    "load_openmm_force_field",
    "open_run",
    "open_trajectory",
    "read_system",
    "run_replicas",
    "simulate",
    "summarize_run",
    "write_comparison",
    "write_overview",
]


def __getattr__(name: str) -> Any:
    """Public names, imported when first asked for: ``import openmm_neuralmd`` stays quick and loads no torch."""
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
