"""The one place where OpenMM's units and the models' units meet.

Public units are OpenMM's: nm, ps, Da, kJ/mol, K. Inside networks, dynamics and training: angstrom, Da, and time in
snapshots (``snapshot_interval`` ps each). With 1 Da nm/ps^2 = 1 kJ/mol/nm and tau the snapshot interval in ps:

    x[nm] = 0.1 x[A]    v[nm/ps] = (0.1/tau) v    F[kJ/mol/nm] = (0.1/tau^2) m[Da] a[A/snapshot^2]
    gamma[1/ps] = gamma[1/snapshot] / tau
"""

# by definition: 1 A is 1e-10 m; two numbers, because 1/10.0 and products with it round differently
ANGSTROM_PER_NM = 10.0
NM_PER_ANGSTROM = 0.1


def compute_velocity_factor(snapshot_interval: float) -> float:
    """Factor from A/snapshot to nm/ps, for a snapshot interval in ps."""
    return NM_PER_ANGSTROM / snapshot_interval


def compute_force_factor(snapshot_interval: float) -> float:
    """Factor from Da A/snapshot^2 to kJ/mol/nm, for a snapshot interval in ps."""
    return NM_PER_ANGSTROM / snapshot_interval**2
