"""Package metadata; tool settings are in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "openmm_neuralmd/version.py").read_text())[1]

setup(
    name="openmm_neuralmd",
    version=VERSION,
    description="A learned force for OpenMM: protein-ligand dynamics with steps of tens of picoseconds",
    long_description=(ROOT / "README.md").read_text() if (ROOT / "README.md").exists() else "",
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.10,<3.14",
    packages=find_packages(include=["openmm_neuralmd", "openmm_neuralmd.*"]),
    package_data={"openmm_neuralmd": ["assets/**/*", "py.typed"]},
    install_requires=[
        "openmm>=8.6.1",
        "torch>=2.9,<2.15",
        "torchdiffeq>=0.2.5",
        "torchsde>=0.2.6",
        "mdtraj>=1.10",
        "pdbfixer>=1.11",
        "numpy>=1.26",
        "scipy>=1.11",
        "h5py>=3.10",
        "filelock>=4.1",
        "gemmi>=0.7",
        "rdkit>=2024.3",
        "matplotlib>=3.8",
        "tqdm>=4.66",
    ],
    extras_require={
        "test": ["pytest>=8", "pytest-xdist>=3.6", "ruff==0.17.5", "mypy==2.4.1", "MDAnalysis>=2.7", "openmmml>=1.8"],
        "docs": ["mkdocs>=1.6", "mkdocstrings[python]>=0.26"],
        "gromacs": ["MDAnalysis>=2.7", "parmed>=4.3"],
        "browser": ["playwright>=1.45"],
        "openmm-ml": ["openmmml>=1.8"],
        "torchforce": ["openmmtorch>=1.5"],
    },
    entry_points={
        "console_scripts": ["neuralmd=openmm_neuralmd.cli:main"],
        "openmmml.potentials": ["neuralmd=openmm_neuralmd.simulation.mlpotential:NeuralMDPotentialImplFactory"],
    },
)
