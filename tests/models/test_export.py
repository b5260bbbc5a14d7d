"""Model files: what is written is what is read, and what cannot be used is refused in one clear line."""

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from openmm_neuralmd.errors import InputError, ModelContractError
from openmm_neuralmd.models.elements import find_stand_ins
from openmm_neuralmd.models.export import SCHEMA_VERSION, check_exportable, export_model, load_bundled_model, load_model
from openmm_neuralmd.models.networks.bindingnet import BindingNet
from openmm_neuralmd.models.networks.interface import build_ligand_graph, build_protein_structure
from openmm_neuralmd.models.registry import build_network, list_kinds
from openmm_neuralmd.molecule.complex import Complex, load_bundled_complex
from tests.helpers import make_complex

CONFIG = {"hidden": 16, "n_layers": 1, "n_radial": 8, "ligand_cutoff": 5.0, "pocket_cutoff": 10.0}
METADATA = {
    "kind": "sde",
    "config": CONFIG,
    "snapshot_interval": 80.0,
    "elements": [6, 7, 8, 16, 17],
    "scheme": "leapfrog",
    "steps_per_snapshot": 1,
}


@pytest.fixture(scope="module")
def bundled() -> Complex:
    return load_bundled_complex()


@pytest.fixture(scope="module")
def net() -> BindingNet:
    torch.manual_seed(0)
    return BindingNet(**CONFIG)


@pytest.fixture
def model_file(net: BindingNet, tmp_path: Path) -> Path:
    export_model(net, METADATA, tmp_path / "m.pt")
    return tmp_path / "m.pt"


def test_exported_equals_eager(net, model_file, bundled):
    bound = load_model(model_file).bind(bundled)
    x = torch.from_numpy(bundled.ligand.positions * 10.0).float().repeat(3, 1, 1) + 0.1 * torch.randn(3, 27, 3)
    xi = torch.randn(3, bound.n_noise)
    graph = build_ligand_graph(bundled)
    protein = net.embed_protein(build_protein_structure(bundled, pocket_cutoff=10.0))
    with torch.no_grad():
        force, fields = net.compute_force_and_fields(x, graph, protein)
        bound_force, noise = bound.compute_force_and_noise(x, xi)
        torch.testing.assert_close(bound_force, force, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(bound.compute_force(x), force, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(noise, (fields @ xi[..., None]).reshape(x.shape), rtol=1e-3, atol=1e-4)
    assert bound.friction == pytest.approx(net.compute_friction().item())


def test_metadata_comes_back(model_file):
    model = load_model(model_file)
    assert {k: model.metadata[k] for k in METADATA} == METADATA
    assert model.metadata["schema_version"] == SCHEMA_VERSION
    assert model.metadata["versions"]["torch"] == torch.__version__


def count_embeddings(call) -> int:
    with torch.profiler.profile() as profile:
        call()
    return sum(e.count for e in profile.key_averages() if e.key == "aten::embedding")


def test_protein_is_embedded_exactly_once(net, model_file, bundled):
    """After binding, an evaluation looks up embeddings of ligand atoms and pairs only, none of residues."""
    x = torch.from_numpy(bundled.ligand.positions * 10.0).float()[None]
    graph = build_ligand_graph(bundled)
    structure = build_protein_structure(bundled, pocket_cutoff=10.0)
    module = load_model(model_file).bind(bundled).module
    ligand_only = count_embeddings(lambda: net.backbone.ligand(x, graph))
    assert count_embeddings(lambda: module(x)) == ligand_only
    assert count_embeddings(lambda: net(x, graph, net.embed_protein(structure))) > ligand_only


def test_double_precision_agrees_with_single(model_file, bundled):
    model = load_model(model_file)
    x = torch.from_numpy(bundled.ligand.positions * 10.0)[None]
    double = model.bind(bundled, dtype=torch.float64).compute_force(x)
    assert double.dtype == torch.float64
    torch.testing.assert_close(model.bind(bundled).compute_force(x.float()).double(), double, rtol=1e-3, atol=1e-4)


def test_any_precision_of_input_gives_the_same(model_file, bundled):
    bound = load_model(model_file).bind(bundled)
    x = torch.from_numpy(bundled.ligand.positions * 10.0)[None]
    generator = torch.Generator().manual_seed(0)
    xi, normals = torch.randn(1, bound.n_noise, generator=generator), torch.randn(1, 81, generator=generator)
    with torch.inference_mode():
        for _ in range(3):  # compiled code is specialised after its first calls
            single, double = (bound.compute_force_and_noise(x, v) for v in (xi, xi.double()))
            torch.testing.assert_close(double, single, rtol=0, atol=0)
            torch.testing.assert_close(
                bound.compute_vibration(x, normals.double()), bound.compute_vibration(x, normals)
            )
            torch.testing.assert_close(bound.map_velocities(x, x), bound.map_velocities(x, x.float()))


def test_wrong_shapes_are_refused(model_file, bundled):
    bound = load_model(model_file).bind(bundled)
    x = torch.from_numpy(bundled.ligand.positions * 10.0)[None]
    for call in (
        lambda: bound.compute_force(x[:, :26]),
        lambda: bound.compute_force(x[0]),
        lambda: bound.compute_force_and_noise(x, torch.zeros(1, bound.n_noise - 1)),
        lambda: bound.compute_force_and_noise(x, torch.zeros(2, bound.n_noise)),
        lambda: bound.compute_vibration(x, torch.zeros(1, 80)),
        lambda: bound.map_velocities(x, x[0]),
    ):
        with pytest.raises(ModelContractError, match="of shape"):
            call()


def test_missing_file():
    with pytest.raises(InputError, match="no such model file"):
        load_model("nowhere.pt")


@pytest.mark.parametrize("kept", [0, 100, 5000])
def test_damaged_file(model_file, kept):
    model_file.write_bytes(model_file.read_bytes()[:kept])
    with pytest.raises(ModelContractError, match="damaged"):
        load_model(model_file)


def test_pickle_is_not_a_model_file(tmp_path):
    torch.save({"weights": np.zeros(3).tolist()}, tmp_path / "p.pt")
    with pytest.raises(ModelContractError, match="not a model file"):
        load_model(tmp_path / "p.pt")


@pytest.mark.parametrize(("version", "advice"), [(99, "update the package"), (1, "train the model again")])
def test_other_schema(version, advice, model_file, tmp_path):
    newer = tmp_path / "newer.pt"
    with zipfile.ZipFile(model_file) as old, zipfile.ZipFile(newer, "w") as new:
        for item in old.infolist():
            content = old.read(item)
            if item.filename.endswith("metadata.json"):
                content = json.dumps({**json.loads(content), "schema_version": version}).encode()
            new.writestr(item, content)
    with pytest.raises(ModelContractError, match=f"schema version {version}.*{advice}"):
        load_model(newer)


def replace_element(complex_: Complex, number: int) -> Complex:
    numbers = complex_.ligand.atomic_numbers.copy()
    numbers[0] = number
    return replace(complex_, ligand=replace(complex_.ligand, atomic_numbers=numbers))


def test_elements_without_a_relative_are_refused(model_file, bundled):
    with pytest.raises(ModelContractError, match="atomic numbers 5, the model was trained on 6, 7, 8, 16, 17 only"):
        load_model(model_file).bind(replace_element(bundled, 5))


def test_unseen_elements_move_as_their_stand_ins_with_their_own_mass(model_file, bundled):
    """Fluorine has chlorine's force here; the mass, and with it the acceleration, stays its own."""
    model = load_model(model_file)
    fluorinated = replace_element(bundled, 9)
    masses = bundled.ligand.masses.copy()
    masses[0] = 18.998
    fluorinated = replace(fluorinated, ligand=replace(fluorinated.ligand, masses=masses))
    x = torch.from_numpy(10.0 * bundled.ligand.positions).float()[None]
    as_chlorine, as_carbon = replace_element(bundled, 17), replace_element(bundled, 6)
    forces = [model.bind(c).compute_force(x) for c in (fluorinated, as_chlorine, as_carbon)]
    assert torch.equal(forces[0], forces[1])
    assert not torch.allclose(forces[0], forces[2])
    assert model.bind(fluorinated).masses[0] == pytest.approx(18.998)


@pytest.mark.parametrize(
    ("elements", "known", "expected"),
    [
        ([6, 9, 35, 53], [6, 17], {9: 17, 35: 17, 53: 17}),
        ([34, 15, 14], [6, 7, 8, 16], {34: 16, 15: 7, 14: 6}),
        ([9], [17, 35], {9: 17}),
        ([5, 26, 1], [6, 7, 8, 16, 17], {}),
        ([6, 7], [6, 7], {}),
    ],
)
def test_stand_ins_are_of_the_same_group(elements, known, expected):
    assert find_stand_ins(elements, known) == expected


def test_required_metadata(net, tmp_path):
    with pytest.raises(ModelContractError, match="scheme"):
        export_model(net, {k: v for k, v in METADATA.items() if k != "scheme"}, tmp_path / "m.pt")
    assert list(tmp_path.iterdir()) == []


def test_failed_export_keeps_the_old_file(net, model_file):
    before = model_file.read_bytes()
    with pytest.raises(ModelContractError, match=r"training is \{1, 2\}"):
        export_model(net, {**METADATA, "training": {1, 2}}, model_file)
    assert model_file.read_bytes() == before
    assert list(model_file.parent.iterdir()) == [model_file]


def test_network_that_cannot_be_compiled_is_refused_before_training(net):
    class Odd(BindingNet):
        def forward(self, positions, graph, protein):
            yield positions

    with pytest.raises(ModelContractError, match="cannot be compiled"):
        check_exportable(Odd(**CONFIG), "sde")


@pytest.mark.parametrize("kind", sorted(list_kinds()))
def test_network_comes_back_from_its_file(kind, tmp_path, bundled):
    torch.manual_seed(1)
    net = build_network(kind, CONFIG)
    export_model(net, {**METADATA, "kind": kind}, tmp_path / "m.pt")
    model = load_model(tmp_path / "m.pt")
    restored = model.restore_network().state_dict()
    assert all(torch.equal(restored[name], value) for name, value in net.state_dict().items())
    assert model.bind(bundled).n_atoms == 27


def test_noise_of_the_bundled_model_hardly_stretches_bonds(bundled):
    """At trained amplitude one snapshot of noise changes no bond by more than 0.1 A to first order (0.6 A a free atom),
    and the vibration drawn besides spreads bonds as MD does, by 0.03 A."""
    net = load_bundled_model("sde").restore_network().double()
    graph = build_ligand_graph(bundled, torch.float64)
    structure = build_protein_structure(bundled, pocket_cutoff=10.0, dtype=torch.float64)
    x = torch.from_numpy(bundled.ligand.positions * 10.0).expand(500, -1, -1)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        xi = torch.randn(500, net.count_noise(graph), generator=generator, dtype=torch.float64)
        _, noise = net.compute_force_and_noise(x, xi, graph, net.embed_protein(structure))
        normals = torch.randn(500, 81, generator=generator, dtype=torch.float64)
        vibration = net.compute_vibration(x, normals, graph)
    first, second = torch.from_numpy(bundled.ligand.bonds).T
    units = torch.nn.functional.normalize(x[:, first] - x[:, second], dim=-1)
    stretch = [(units * (d[:, first] - d[:, second])).sum(-1) for d in (noise, vibration)]
    assert noise.square().sum(-1).mean().sqrt() > 0.3
    assert stretch[0].abs().max() < 0.1
    assert 0.025 < stretch[1].square().mean().sqrt() < 0.035


@pytest.mark.parametrize(
    "smiles", ["CC1=CCCC1", "CC1CCCC1C", "CN1CCc2ccccc21", "C1CC1C2CCC2N", "CC1CCCCC1", "CC1=CCCCC1"]
)
def test_vibration_keeps_puckered_rings_whole(smiles: str) -> None:
    net = load_bundled_model("sde").restore_network().double()
    ligand = make_complex(smiles).ligand
    graph = build_ligand_graph(replace(load_bundled_complex(), ligand=ligand), torch.float64)
    x = torch.from_numpy(10.0 * ligand.geometry).expand(300, -1, -1)
    normals = torch.randn(300, 3 * ligand.n_atoms, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        moved = x + net.compute_vibration(x, normals, graph)
    first, second = torch.from_numpy(ligand.bonds).T
    lengths = [(y[:, first] - y[:, second]).norm(dim=-1) for y in (x, moved)]
    assert (lengths[1] - lengths[0]).abs().max() < 0.2
