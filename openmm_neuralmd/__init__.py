"""A learned force for OpenMM that moves a ligand in a rigid pocket with steps of tens of picoseconds."""

__version__ = "0.1.0"
