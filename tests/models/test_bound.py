"""Bound models of every kind: each makes a propagator; each knows what it was bound to and is refused elsewhere."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from openmm_neuralmd.dynamics.projection import BondProjection
from openmm_neuralmd.dynamics.propagator import Propagator, propagate
from openmm_neuralmd.errors import InputError, ModelContractError
from openmm_neuralmd.models.bound import BoundModel, compute_binding_hash
from openmm_neuralmd.models.export import export_model, load_model
from openmm_neuralmd.models.registry import build_network, get_kind, list_kinds
from openmm_neuralmd.molecule.complex import Complex, Protein
from openmm_neuralmd.simulation.arguments import bind_force, bind_model
from openmm_neuralmd.simulation.replicas import run_replicas

CONFIG = {"hidden": 8, "n_layers": 1, "n_radial": 8, "ligand_cutoff": 5.0, "pocket_cutoff": 10.0}


def make_file(kind: str, folder: Path, **config: object) -> Path:
    torch.manual_seed(0)
    arguments = {**CONFIG, **config}
    metadata = {"kind": kind, "config": arguments, "snapshot_interval": 80.0, "elements": [6, 7, 8, 9, 16, 17],
                "scheme": "leapfrog", "steps_per_snapshot": 1}  # fmt: skip
    export_model(build_network(kind, arguments), metadata, folder / f"{kind}.pt")
    return folder / f"{kind}.pt"


@pytest.fixture(params=list_kinds())
def bound(request: pytest.FixtureRequest, tiny_complex: Complex, tmp_path: Path) -> BoundModel:
    return load_model(make_file(request.param, tmp_path)).bind(tiny_complex, dtype=torch.float64)


def make_history(complex_: Complex, n_replicas: int = 3) -> Tensor:
    x = torch.from_numpy(10.0 * complex_.ligand.positions)
    generator = torch.Generator().manual_seed(0)
    return x + 0.02 * torch.randn(n_replicas, 2, *x.shape, generator=generator, dtype=x.dtype)


def run(propagator: Propagator, history: Tensor, n: int = 4) -> Tensor:
    with torch.inference_mode():
        path, state = propagate(propagator, propagator.start(history, range(len(history))), n)
    assert state.failures == ()
    return path


def test_every_kind_makes_a_propagator(bound: BoundModel, tiny_complex: Complex) -> None:
    """Bonds are whole where they are brought back; the seed matters where the model says so."""
    history = make_history(tiny_complex)
    kind = get_kind(bound.kind)
    assert (bound.is_force, bound.is_random) == (kind.is_force, kind.is_random)
    free = run(bound.make_propagator(projection=False), history)
    assert free.shape == (4, *history[:, 0].shape)
    same = torch.cat([history[:1], history[:1]])
    one, other = run(bound.make_propagator(projection=False), same).unbind(1)
    assert bool((one - other).abs().max() > 1e-6) is bound.is_random
    if not bound.is_force:  # snapshots of forces show their vibration
        whole = run(bound.make_propagator(projection=True), history)
        first, second = tiny_complex.ligand.bonds.T
        ideal = np.linalg.norm(tiny_complex.ligand.geometry[first] - tiny_complex.ligand.geometry[second], axis=1)
        lengths = (whole[..., first, :] - whole[..., second, :]).norm(dim=-1).numpy() / 10.0
        np.testing.assert_allclose(lengths, np.broadcast_to(ideal, lengths.shape), atol=1e-5)


def test_path_goes_on_from_a_state(bound: BoundModel, tiny_complex: Complex) -> None:
    propagator, history = bound.make_propagator(projection=False), make_history(tiny_complex)
    whole = run(propagator, history)
    with torch.inference_mode():
        first, state = propagate(propagator, propagator.start(history, range(3)), 2)
        second, _ = propagate(propagator, state, 2)
    assert torch.equal(torch.cat([first, second]), whole)


def test_single_precision_takes_any_input(bound: BoundModel, tiny_complex: Complex, tmp_path: Path) -> None:
    single = load_model(bound.path).bind(tiny_complex)
    history = make_history(tiny_complex)
    paths = [run(b.make_propagator(projection=False), history, 1) for b in (bound, single)]
    assert paths[1].dtype == torch.float64
    torch.testing.assert_close(paths[1], paths[0], atol=1e-3, rtol=0)


def test_what_is_no_force_takes_no_scheme(bound: BoundModel) -> None:
    bound.make_propagator(scheme="leapfrog", steps_per_snapshot=1)
    if not bound.is_force:
        for settings in ({"scheme": "rk4"}, {"steps_per_snapshot": 2}):
            with pytest.raises(InputError, match=f"kind {bound.kind} is no force.*leave out `scheme` and `steps_per"):
                bound.make_propagator(**settings)


def test_replicas_of_any_kind(bound: BoundModel, tiny_complex: Complex) -> None:
    paths = run_replicas(tiny_complex, bound, n_snapshots=2, seeds=[1, 2])
    assert paths.shape == (2, 2, tiny_complex.ligand.n_atoms, 3)
    assert np.isfinite(paths).all()


def test_projected_snapshots_are_those_of_the_projection(tiny_complex: Complex, tmp_path: Path) -> None:
    bound = load_model(make_file("gnn", tmp_path)).bind(tiny_complex, dtype=torch.float64)
    history = make_history(tiny_complex, 1)
    free = run(bound.make_propagator(projection=False), history, 1)
    expected, _ = BondProjection(tiny_complex.ligand).project(0.1 * free[0, 0].numpy())
    np.testing.assert_allclose(run(bound.make_propagator(), history, 1)[0, 0] / 10.0, expected, atol=1e-9)


def shift_pose(complex_: Complex) -> Complex:
    ligand = complex_.ligand
    return replace(complex_, ligand=replace(ligand, positions=ligand.positions + 1e-6))


def change_element(complex_: Complex) -> Complex:
    numbers = complex_.ligand.atomic_numbers.copy()
    numbers[0] = 8
    return replace(complex_, ligand=replace(complex_.ligand, atomic_numbers=numbers))


def shift_protein(complex_: Complex) -> Complex:
    protein = complex_.protein
    return replace(complex_, protein=Protein(**{**vars(protein), "backbone": protein.backbone + 1e-6}))


def change_residue(complex_: Complex) -> Complex:
    types = complex_.protein.residue_types.copy()
    types[0] += 1
    return replace(complex_, protein=replace(complex_.protein, residue_types=types))


class TestOtherComplex:
    def test_hash_reads_what_binding_reads(self, tiny_complex: Complex) -> None:
        same = replace(tiny_complex, source="elsewhere", notes=("a note",))
        assert compute_binding_hash(same) == compute_binding_hash(tiny_complex)

    @pytest.mark.parametrize("change", [shift_pose, change_element, shift_protein, change_residue])
    def test_bound_model_is_refused(self, change, model_files: dict[str, Path], tiny_complex: Complex) -> None:
        bound = load_model(model_files["ode"]).bind(tiny_complex)
        assert bind_model(bound, tiny_complex) is bound
        for call in (bind_model, lambda b, c: run_replicas(c, b, n_snapshots=1, seeds=[0])):
            with pytest.raises(ModelContractError, match="bound to another complex than this one") as error:
                call(bound, change(tiny_complex))
            assert "\n" not in str(error.value)

    def test_force_refuses_it(self, model_files: dict[str, Path], tiny_complex: Complex) -> None:
        from openmm_neuralmd.simulation.force import NeuralMDForce

        bound = load_model(model_files["ode"]).bind(tiny_complex)
        with pytest.raises(ModelContractError, match="bound to another complex"):
            NeuralMDForce(shift_protein(tiny_complex), bound)

    def test_unbound_model_is_bound_to_what_is_given(self, model_files: dict[str, Path], tiny_complex: Complex) -> None:
        moved = shift_pose(tiny_complex)
        assert bind_force(load_model(model_files["ode"]), moved).binding_sha256 == compute_binding_hash(moved)
