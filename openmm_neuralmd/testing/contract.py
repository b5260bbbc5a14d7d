"""The contract of a kind of model, one checker for each promise: ``for check in CHECKS: check(build_case(kind))``.

Checkers raise AssertionError. Those of the kind's law are in ``laws``; those here are of its propagator, its loss and
its files. All work in double precision on one complex, with random weights far from where training begins.
"""

import inspect
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from openmm_neuralmd.dynamics.propagator import Propagator, propagate
from openmm_neuralmd.errors import InputError
from openmm_neuralmd.models.bound import BoundModel
from openmm_neuralmd.models.export import Model, compile_network, export_model, load_model
from openmm_neuralmd.models.kinds.kind import Kind
from openmm_neuralmd.models.metadata import check_config
from openmm_neuralmd.models.networks.interface import (
    LigandGraph,
    ProteinStructure,
    build_ligand_graph,
    build_protein_structure,
)
from openmm_neuralmd.models.registry import get_kind
from openmm_neuralmd.molecule.complex import Complex
from openmm_neuralmd.testing import laws
from openmm_neuralmd.units import ANGSTROM_PER_NM

_SEEDS = (3, 4, 5)  # of replicas; any that differ
_N_SNAPSHOTS = 3  # of a path, so that one step's state is another's start
_SPREAD = 0.1  # added to weights, so that no term hides behind a zero
_PATH = 1e-8  # relative, of paths in double precision
_SAME = 1e-6  # [A]; replicas in one batch are summed up in another order


@dataclass(frozen=True)
class Case:
    """A kind on a complex.

    Attributes:
        kind: The kind, as the registry knows it.
        config: Arguments of its network.
        complex: The complex.
        net: In double precision, with random weights.
    """

    kind: Kind
    config: Mapping[str, Any]
    complex: Complex
    net: Any

    @property
    def graph(self) -> LigandGraph:
        return build_ligand_graph(self.complex, torch.float64)

    @property
    def structure(self) -> ProteinStructure:
        cutoff = self.kind.get_pocket_cutoff(self.config)
        return build_protein_structure(self.complex, pocket_cutoff=cutoff, dtype=torch.float64)

    @property
    def pose(self) -> Tensor:
        """[A], (1, N, 3)."""
        return ANGSTROM_PER_NM * torch.from_numpy(self.complex.ligand.positions)[None]

    def compute_law(self, positions: Tensor, graph: LigandGraph, structure: ProteinStructure) -> tuple[Tensor, Tensor]:
        """The law that the kind declares, as ``laws`` checks it."""
        with torch.no_grad():
            return self.kind.compute_law(self.net, positions, graph, self.net.embed_protein(structure))

    def bind(self) -> BoundModel:
        """By way of a model file, in double precision."""
        return self.load().bind(self.complex, dtype=torch.float64)

    def load(self) -> Model:
        """A model file of the network, written and read."""
        with tempfile.TemporaryDirectory() as folder:
            export_model(self.copy_net(), self.metadata, Path(folder) / "model.pt")
            return load_model(Path(folder) / "model.pt")

    def copy_net(self) -> nn.Module:
        """The network again, float32 as files keep it."""
        with torch.random.fork_rng(devices=[]):
            net = self.kind.build_network(self.config)
        net.load_state_dict(self.net.state_dict())
        return net

    @property
    def metadata(self) -> dict[str, Any]:
        return {
            "kind": self.kind.name,
            "config": dict(self.config),
            "snapshot_interval": 80.0,
            "elements": sorted(set(self.complex.ligand.atomic_numbers.tolist())),
            "scheme": "leapfrog",
            "steps_per_snapshot": 1,
        }

    def make_history(self) -> Tensor:
        """Two snapshots near the pose for each of the seeds [A], (R, 2, N, 3)."""
        generator = torch.Generator().manual_seed(0)
        shape = (len(_SEEDS), 2, *self.pose.shape[1:])
        return self.pose[:, None] + 0.05 * torch.randn(shape, generator=generator, dtype=torch.float64)


def build_case(kind: str | Kind, complex_: Complex, config: Mapping[str, Any] | None = None) -> Case:
    """A kind with a small network.

    Args:
        kind: Its name or the kind itself.
        complex_: The bundled one is a good choice: chiral, with several chains.
        config: Arguments of the network that differ from the kind's ``default_config``.
    """
    kind = get_kind(kind) if isinstance(kind, str) else kind
    arguments = {**kind.default_config, **(config or {})}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        net = kind.build_network(arguments)
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.add_(_SPREAD * torch.randn_like(parameter))
    return Case(kind, arguments, complex_, net.double())


def check_equivariance(case: Case) -> None:
    """See ``laws``."""
    laws.check_law_equivariance(case.compute_law, case.pose, case.graph, case.structure)


def check_mirror(case: Case) -> None:
    """A mirror image is told apart, unless the kind says that it is not."""
    check = laws.check_mirror_equals if case.kind.is_achiral else laws.check_mirror_differs
    check(case.compute_law, case.pose, case.graph, case.structure)


def check_atom_permutation(case: Case) -> None:
    """See ``laws``."""
    laws.check_law_atom_permutation(case.compute_law, case.pose, case.graph, case.structure)


def check_chain_permutation(case: Case) -> None:
    """See ``laws``."""
    laws.check_law_chain_permutation(case.compute_law, case.pose, case.graph, case.structure)


def check_batch_equals_single(case: Case) -> None:
    """See ``laws``."""
    laws.check_law_batch_equals_single(case.compute_law, case.pose, case.graph, case.structure)


def check_input_untouched(case: Case) -> None:
    """See ``laws``."""
    laws.check_law_input_untouched(case.compute_law, case.pose, case.graph, case.structure)


def check_continuity(case: Case) -> None:
    """See ``laws``."""
    laws.check_law_continuity(case.compute_law, laws.make_crossing_path(case.pose), case.graph, case.structure)


def check_config_form(case: Case) -> None:
    """The configuration, default where nothing else was said, has the form that the kind asks for."""
    try:
        check_config(case.kind.name, case.config)
    except InputError as error:
        raise AssertionError(f"the kind refuses its own configuration: {error}") from error


def check_loss(case: Case) -> None:
    """A finite scalar for windows of one and of three steps, whose gradient is finite and not zero."""
    for n_steps in (1, 3):
        case.net.zero_grad()
        history = case.make_history().flatten(0, 1)
        window = torch.stack([history[k : k + 2 + n_steps] for k in range(2)])
        before = window.clone()
        protein = case.net.embed_protein(case.structure)
        generator = torch.Generator().manual_seed(0)
        loss = case.kind.compute_loss(case.net, window, case.graph, protein, generator, 0.5)
        assert loss.shape == (), f"the loss has shape {tuple(loss.shape)}, a scalar was expected"
        assert torch.isfinite(loss), f"the loss is {loss.item()}"
        assert loss.requires_grad, "the loss has no gradient"
        loss.backward()
        gradients = [p.grad for p in case.net.parameters() if p.grad is not None]
        assert all(bool(torch.isfinite(g).all()) for g in gradients), "the gradient of the loss is not finite"
        assert any(bool((g != 0).any()) for g in gradients), "no weight has a gradient"
        assert torch.equal(window, before), "the loss changed its windows"
    case.net.zero_grad()


def check_seeds(case: Case) -> None:
    """The same seed gives the same path, another one another path where the kind is random and else the same."""
    propagator = case.bind().make_propagator(projection=False)
    assert propagator.is_random == case.kind.is_random, "propagator and kind disagree about being random"
    same = case.make_history()[:1].expand(3, -1, -1, -1)
    path = _run(propagator, same, (3, 3, 4))
    again, other = (float((path[:, 0] - path[:, k]).abs().max()) for k in (1, 2))
    assert again < _SAME, f"one seed gives two paths, {again:.1e} A apart"
    differs = other > _SAME
    assert differs == case.kind.is_random, f"another seed gives {'another' if differs else 'the same'} path"


def check_paths_in_batches(case: Case) -> None:
    """A replica's path is the same alone as beside others, and its history stays as it is."""
    propagator, history = case.bind().make_propagator(projection=False), case.make_history()
    before = history.clone()
    path = _run(propagator, history)
    assert torch.equal(history, before), "the propagator changed the snapshots that it began from"
    assert bool(torch.isfinite(path).all()), "the path is not finite"
    for k, seed in enumerate(_SEEDS):
        laws.assert_close(_run(propagator, history[k : k + 1], (seed,))[:, 0], path[:, k], _PATH)


def check_resumed_path(case: Case) -> None:
    """A path that goes on from a state, copied, is the path without interruption; one past snapshot is enough."""
    propagator, history = case.bind().make_propagator(projection=False), case.make_history()
    whole = _run(propagator, history, n=2 * _N_SNAPSHOTS)
    with torch.inference_mode():
        first, state = propagator.advance(propagator.start(history, _SEEDS))[::-1]
        memory = {name: value.clone() for name, value in state.memory.items()}
        copied = replace(state, positions=state.positions.clone(), velocities=state.velocities.clone(), memory=memory)
        rest, _ = propagate(propagator, copied, 2 * _N_SNAPSHOTS)
    resumed = torch.cat([first, rest])[: len(whole)]
    assert torch.equal(resumed, whole), "a path that was interrupted goes on elsewhere"
    assert _run(propagator, history[:, 1:]).shape == whole[:_N_SNAPSHOTS].shape


def check_path_turns_along(case: Case) -> None:
    """Turned and shifted as a whole, the complex has a turned path, of kinds without noise."""
    if case.kind.is_random:
        return  # equal in law, which ``check_equivariance`` looks at
    matrix = laws.draw_rotation(2)
    shift = torch.tensor([5.0, -8.0, 3.0], dtype=torch.float64)  # [A]

    def turn(values: Any) -> Any:
        return (torch.from_numpy(values) @ matrix.T + shift / ANGSTROM_PER_NM).numpy()

    ligand, protein = case.complex.ligand, case.complex.protein
    turned = replace(
        case.complex,
        ligand=replace(ligand, positions=turn(ligand.positions), geometry=turn(ligand.geometry)),
        protein=replace(protein, backbone=turn(protein.backbone)),
    )
    history = case.make_history()
    path = _run(case.bind().make_propagator(projection=False), history)
    bound = replace(case, complex=turned).bind()
    found = _run(bound.make_propagator(projection=False), history @ matrix.T + shift)
    start = history[:, -1]
    laws.assert_close(found - (start @ matrix.T + shift), (path - start) @ matrix.T, 1e-6)


def check_projection(case: Case) -> None:
    """With projection every snapshot of a kind that is no force has whole bonds."""
    bound = case.bind()
    if bound.is_force:
        return  # snapshots show the vibration of bonds
    path = _run(bound.make_propagator(projection=True), case.make_history(), n=1)
    first, second = torch.from_numpy(case.complex.ligand.bonds).T
    geometry = ANGSTROM_PER_NM * torch.from_numpy(case.complex.ligand.geometry)
    lengths, ideal = ((x[..., first, :] - x[..., second, :]).norm(dim=-1) for x in (path, geometry))
    assert float((lengths - ideal).abs().max()) < 1e-3, "bonds are not whole"


def check_exported_equals_eager(case: Case) -> None:
    """What TorchScript compiles gives the network's own numbers.

    Arguments of ``forward`` besides positions, graph and protein get 0.2 for each replica.
    """
    wrapped = case.kind.wrap(case.net.eval())
    protein = case.net.embed_protein(case.structure)
    known = {"positions": case.pose, "graph": case.graph, "protein": protein}
    other = torch.full((1,), 0.2, dtype=torch.float64)
    arguments = [known.get(name, other) for name in inspect.signature(wrapped.forward).parameters]
    compiled = compile_network(case.net, case.kind.name)
    for name in ("forward", *case.kind.exported):
        assert hasattr(compiled, name), f"the compiled network lacks {name}"
    with torch.no_grad():
        laws.assert_close(compiled(*arguments), wrapped(*arguments), laws.TIGHT)
        embedded = compiled.embed_protein(case.structure)
        for found, expected in zip(embedded, protein, strict=True):
            laws.assert_close(found, expected, laws.TIGHT)


def check_file_round_trip(case: Case) -> None:
    """Metadata and weights come back from a model file as they were written."""
    model = case.load()
    for name, value in case.metadata.items():
        assert model.metadata[name] == value, f"{name} came back as {model.metadata[name]!r}"
    expected = case.copy_net().state_dict()
    found = model.restore_network().state_dict()
    assert found.keys() == expected.keys(), "the network that comes back has other weights"
    assert all(torch.equal(found[name], value) for name, value in expected.items()), "weights came back changed"


LAW_CHECKS: tuple[Callable[[Case], None], ...] = (
    check_equivariance,
    check_mirror,
    check_atom_permutation,
    check_chain_permutation,
    check_batch_equals_single,
    check_input_untouched,
    check_continuity,
)
"""Of the kind's law."""
KIND_CHECKS: tuple[Callable[[Case], None], ...] = (
    check_config_form,
    check_loss,
    check_seeds,
    check_paths_in_batches,
    check_resumed_path,
    check_path_turns_along,
    check_projection,
    check_exported_equals_eager,
    check_file_round_trip,
)
"""Of its loss, propagator and files."""
CHECKS = LAW_CHECKS + KIND_CHECKS


def _run(propagator: Propagator, history: Tensor, seeds: tuple[int, ...] = _SEEDS, n: int = _N_SNAPSHOTS) -> Tensor:
    with torch.inference_mode():
        path, state = propagate(propagator, propagator.start(history, seeds), n)
    assert not state.failures, f"a replica broke: {state.failures[0].error}"
    return path
