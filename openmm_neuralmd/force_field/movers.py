"""Forces of OpenMM that are no forces."""

COUPLINGS = (
    "AndersenThermostat",
    "MonteCarloBarostat",
    "MonteCarloAnisotropicBarostat",
    "MonteCarloFlexibleBarostat",
    "MonteCarloMembraneBarostat",
)
"""Thermostats and barostats by class."""
MOVERS = ("CMMotionRemover", *COUPLINGS)
"""Forces by class that move positions or velocities themselves and have no energy."""
