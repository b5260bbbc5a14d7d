"""Forces of OpenMM that are no forces."""

MOVERS = (
    "CMMotionRemover",
    "AndersenThermostat",
    "MonteCarloBarostat",
    "MonteCarloAnisotropicBarostat",
    "MonteCarloFlexibleBarostat",
    "MonteCarloMembraneBarostat",
)
"""Forces by class that move positions or velocities themselves and have no energy."""
