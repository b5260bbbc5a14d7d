"""Model files: TorchScript archives with their metadata; loading, checking and binding to a complex.

The only module that touches ``torch.jit``, which is deprecated upstream: replacing it means replacing this file.
A file is written with its network compiled, for others to run. Loading takes weights and metadata alone
(``models.archive``) and compiles the network of this package: nothing that is in a file is ever run.
"""

import hashlib
import io
import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any, Optional, Tuple

import numpy as np
import torch
from torch import Tensor, nn

from openmm_neuralmd.checks import a_choice, an_instance, check_arguments, check_path
from openmm_neuralmd.errors import InputError, ModelContractError, describe_error
from openmm_neuralmd.files import write_atomically
from openmm_neuralmd.models.archive import METADATA_FILE, Archive, read_model_file
from openmm_neuralmd.models.bound import BoundForce, BoundModel, FrozenNetwork, compute_binding_hash
from openmm_neuralmd.models.elements import find_stand_ins
from openmm_neuralmd.models.metadata import SCHEMA_VERSION, check_metadata, parse_metadata
from openmm_neuralmd.models.networks.interface import (
    LigandGraph,
    ProteinEmbedding,
    ProteinStructure,
    build_ligand_graph,
    build_protein_structure,
)
from openmm_neuralmd.models.registry import get_kind
from openmm_neuralmd.models.weights import build_quietly, check_weights
from openmm_neuralmd.molecule.complex import A_COMPLEX, Complex
from openmm_neuralmd.molecule.shape import Shape
from openmm_neuralmd.units import ANGSTROM_PER_NM, compute_force_factor

BUNDLED = ("ode", "sde")
_PREFIX = "net."  # of the network's names in a file
_PRECISIONS = (torch.float32, torch.float64)


class _Bound(nn.Module):
    """A network with its ligand and its embedded protein: positions in, force out."""

    elements: Tensor
    masses: Tensor
    separation: Tensor
    torsion_axes: Tensor
    torsion_sides: Tensor
    pairs: Tensor
    distances: Tensor
    quadruples: Tensor
    heights: Tensor
    areas: Tensor
    lines: Tensor
    heads: Tensor
    tails: Tensor
    slots: Tensor
    line_weights: Tensor
    angle_bonds: Tensor
    angle_weights: Tensor
    line_blocks: Tensor
    ca: Tensor
    frames: Tensor
    features: Tensor

    def __init__(self, exported: Any, graph: LigandGraph, protein: ProteinEmbedding) -> None:
        super().__init__()
        self.exported = exported
        for name, value in {**graph._asdict(), **graph.shape._asdict(), **protein._asdict()}.items():
            if isinstance(value, Tensor):
                self.register_buffer(name, value)

    def forward(self, positions: Tensor) -> Tensor:
        return self.exported(positions, self.get_graph(), self.get_protein())

    @torch.jit.export
    def compute_force_and_noise(self, positions: Tensor, increments: Tensor) -> Tuple[Tensor, Tensor]:
        return self.exported.compute_force_and_noise(positions, increments, self.get_graph(), self.get_protein())

    @torch.jit.export
    def compute_vibration(self, positions: Tensor, normals: Tensor) -> Tensor:
        return self.exported.compute_vibration(positions, normals, self.get_graph())

    @torch.jit.export
    def map_velocities(self, positions: Tensor, velocities: Tensor) -> Tensor:
        return self.exported.map_velocities(positions, velocities, self.get_graph())

    @torch.jit.export
    def count_noise(self) -> int:
        return self.exported.count_noise(self.get_graph())

    def get_graph(self) -> LigandGraph:
        return LigandGraph(
            self.elements,
            self.masses,
            self.separation,
            self.torsion_axes,
            self.torsion_sides,
            Shape(
                self.pairs,
                self.distances,
                self.quadruples,
                self.heights,
                self.areas,
                self.lines,
                self.heads,
                self.tails,
                self.slots,
                self.line_weights,
                self.angle_bonds,
                self.angle_weights,
                self.line_blocks,
            ),
        )

    def get_protein(self) -> ProteinEmbedding:
        return ProteinEmbedding(self.ca, self.frames, self.features)


class _WholeSystem(nn.Module):
    """All positions of a System [nm] in, energy 0 and all forces [kJ/mol/nm] out, as OpenMM's TorchForce asks."""

    ligand: Tensor
    ends: Tensor
    starts: Tensor
    paths: Tensor
    origin: Tensor
    centre: Tensor

    def __init__(
        self,
        bound: nn.Module,
        ligand: Tensor,
        tree: Tuple[Tensor, Tensor, Tensor],
        pose: Tensor,
        factor: float,
        origin: Tensor,
    ) -> None:
        super().__init__()
        self.register_buffer("origin", origin)
        self.bound = bound
        self.factor, self.angstrom_per_nm = factor, ANGSTROM_PER_NM  # TorchScript knows no names of a module
        self.register_buffer("ligand", ligand)
        self.register_buffer("ends", tree[0])
        self.register_buffer("starts", tree[1])
        self.register_buffer("paths", tree[2])
        self.register_buffer("centre", pose.mean(dim=0))

    def forward(self, positions: Tensor, box: Optional[Tensor] = None) -> Tuple[Tensor, Tensor]:
        x = positions[self.ligand].to(self.centre.dtype)
        if box is not None:
            x = self.restore_image(x, box.to(x.dtype))
        force = self.factor * self.bound(self.angstrom_per_nm * x.unsqueeze(0) - self.origin).squeeze(0)
        forces = torch.zeros_like(positions)
        forces[self.ligand] = force.to(positions.dtype)
        return torch.zeros([], dtype=positions.dtype, device=positions.device), forces

    def restore_image(self, x: Tensor, box: Tensor) -> Tensor:
        """The ligand whole and next to the protein; see ``molecule.images``."""
        whole = x[0] + self.paths @ self.shift(x[self.ends] - x[self.starts], box)
        offset = (whole.mean(dim=0) - self.centre).unsqueeze(0)
        return whole + self.shift(offset, box) - offset

    def shift(self, difference: Tensor, box: Tensor) -> Tensor:
        for k in (2, 1, 0):
            difference = difference - torch.round(difference[:, k : k + 1] / box[k, k]) * box[k]
        return difference


@dataclass(frozen=True)
class Model:
    """A loaded model file.

    Attributes:
        metadata: As ``models.metadata`` describes them.
        path, sha256: The file, and the hash of its content.
        weights: Of the network, float32, by name.
    """

    metadata: Mapping[str, Any]
    path: Path
    sha256: str
    weights: Mapping[str, Tensor] = field(repr=False, compare=False)

    @property
    def kind(self) -> str:
        return str(self.metadata["kind"])

    @check_arguments(complex_=A_COMPLEX)
    def bind(self, complex_: Complex, *, dtype: torch.dtype = torch.float32) -> BoundModel:
        """Embed the rigid protein once, and make of the network what its kind is when bound.

        Args:
            complex_: Ligand and protein.
            dtype: What to compute in, float32 or float64.

        Raises:
            InputError: If an argument cannot be used.
            ModelContractError: As in ``build_graph``.
        """
        if not isinstance(dtype, torch.dtype) or dtype not in _PRECISIONS:
            raise InputError(f"dtype is {dtype!r}; give torch.float32 or torch.float64")
        return get_kind(self.kind).bind(_Binding(self, complex_, dtype))

    def freeze(self, graph: LigandGraph, structure: ProteinStructure, dtype: torch.dtype) -> FrozenNetwork:
        """The compiled network with a ligand and its embedded protein in it, as ``bound.Binding`` asks."""
        with _quiet():
            exported = torch.jit.load(io.BytesIO(self._compiled)).to(dtype)
        with torch.no_grad(), _quiet():
            bound = torch.jit.script(_Bound(exported, graph, exported.embed_protein(structure)).eval())
            kept = ["compute_force_and_noise", "compute_vibration", "map_velocities", "count_noise"]
            module = torch.jit.freeze(bound, preserved_attrs=kept)
            return FrozenNetwork(module, module.count_noise(), float(exported.compute_friction()))

    @cached_property
    def _compiled(self) -> bytes:
        """The network compiled by this package: once, and read anew for each complex, which takes a third of the time.

        What was called before is specialised for what it was called with; anew, every complex finds the same.
        """
        buffer = io.BytesIO()
        with _quiet():
            torch.jit.save(compile_network(self.restore_network(), self.kind), buffer)
        return buffer.getvalue()

    def restore_network(self) -> nn.Module:
        """The network in plain PyTorch, with the file's weights: for evaluation, further training, another export."""
        net = build_quietly(self.kind, self.metadata["config"])
        net.load_state_dict(dict(self.weights))
        return net.eval()

    @check_arguments(complex_=A_COMPLEX)
    def build_graph(self, complex_: Complex, dtype: torch.dtype = torch.float32) -> LigandGraph:
        """The ligand as this model reads it: unseen elements as their stand-ins (``models.elements``), true masses.

        Raises:
            ModelContractError: If an element is unseen and nothing of its group was in the training data.
        """
        graph = build_ligand_graph(complex_, dtype)
        elements = complex_.ligand.atomic_numbers.tolist()
        stand_ins = find_stand_ins(elements, self.metadata["elements"])
        unseen = sorted(set(elements) - set(self.metadata["elements"]) - stand_ins.keys())
        if unseen:
            raise ModelContractError(
                f"{self.path}: ligand {complex_.ligand.name} has elements with atomic numbers {_join(unseen)}, the "
                f"model was trained on {_join(self.metadata['elements'])} only; train a model that has seen them"
            )
        return graph._replace(elements=torch.tensor([stand_ins.get(z, z) for z in elements])) if stand_ins else graph


class _Binding:
    """See ``bound.Binding``."""

    def __init__(self, model: Model, complex_: Complex, dtype: torch.dtype) -> None:
        kind, metadata = get_kind(model.kind), model.metadata
        self.complex, self.dtype = complex_, dtype
        self.graph = model.build_graph(complex_, dtype)
        placed = build_protein_structure(
            complex_, pocket_cutoff=kind.get_pocket_cutoff(metadata["config"]), dtype=torch.float64
        )
        self.origin = placed.pocket_centroid
        self._model = model
        self._structure = placed._replace(
            backbone=(placed.backbone - self.origin).to(dtype), pocket_centroid=torch.zeros(3, dtype=dtype)
        )
        self.facts: Mapping[str, Any] = {
            "kind": model.kind,
            "ligand": complex_.ligand,
            "snapshot_interval": float(metadata["snapshot_interval"]),
            "scheme": str(metadata["scheme"]),
            "steps_per_snapshot": int(metadata["steps_per_snapshot"]),
            "path": model.path,
            "sha256": model.sha256,
            "binding_sha256": compute_binding_hash(complex_),
            "dtype": dtype,
            "keeps_shape": kind.keeps_shape,
        }

    @cached_property
    def net(self) -> nn.Module:
        return self._model.restore_network().to(self.dtype).requires_grad_(False)

    @cached_property
    def protein(self) -> ProteinEmbedding:
        with torch.no_grad():
            return self.net.embed_protein(self._structure)  # type: ignore[operator]

    def freeze(self) -> FrozenNetwork:
        return self._model.freeze(self.graph, self._structure, self.dtype)

    def adapt(self, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def call(positions: Tensor, *arguments: Any) -> Tensor:
            x = (positions - self.origin.to(positions)).to(self.dtype)
            return function(x, *arguments).to(positions.dtype)

        return call


@check_arguments(net=an_instance(nn.Module, of="a network, torch.nn.Module"), path=check_path)
def export_model(net: nn.Module, metadata: Mapping[str, Any], path: str | Path) -> None:
    """Write a model file; an existing one is replaced only once the new one is complete.

    Args:
        net: Trained network.
        metadata: Without ``schema_version`` and ``versions``, which are added here.
        path: The ``.pt`` file.

    Raises:
        ModelContractError: If metadata lack an entry or hold one that cannot be (``models.metadata``), or the weights
            are not finite or not those of such a network.
    """
    import openmm_neuralmd

    if not isinstance(metadata, Mapping):
        check_metadata(metadata)
    complete = {
        "schema_version": SCHEMA_VERSION,
        **metadata,
        "versions": {
            "openmm_neuralmd": openmm_neuralmd.__version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
    }
    check_metadata(complete)
    single = net.to("cpu", torch.float32)
    check_weights(single.state_dict(), complete)
    content = io.BytesIO()  # not a file, whose name would be in what is written
    with _quiet():
        text = json.dumps(complete, indent=1)
        torch.jit.save(compile_network(single, complete["kind"]), content, _extra_files={METADATA_FILE: text})
    write_atomically(Path(path), content.getvalue())


def build_whole_system_module(
    model: BoundForce, ligand: np.ndarray, tree: Tuple[np.ndarray, np.ndarray, np.ndarray], pose: np.ndarray
) -> Any:
    """TorchScript module for OpenMM's TorchForce: all positions in, energy 0 and the force on the ligand out.

    Args:
        model: Bound model.
        ligand: Particles of its heavy atoms, int64, (n_atoms,).
        tree: Children, parents and paths of ``molecule.images.LigandImage``, which make the ligand whole.
        pose: Of the ligand [nm], (n_atoms, 3), next to the protein.
    """
    children, parents, paths = (torch.from_numpy(part) for part in tree)
    buffer = io.BytesIO()  # a frozen module can be part of another one only after a round trip
    with _quiet():
        torch.jit.save(model.module, buffer)
        buffer.seek(0)
        bound = torch.jit.load(buffer)
    whole = _WholeSystem(
        bound,
        torch.from_numpy(ligand),
        (children, parents, paths.to(model.dtype)),
        torch.from_numpy(pose).to(model.dtype),
        compute_force_factor(model.snapshot_interval),
        model.origin.to(model.dtype),
    )
    with _quiet():
        return torch.jit.script(whole.eval())


def check_exportable(net: nn.Module, kind: str) -> None:
    """Compile a network as ``export_model`` will, before hours of training rather than after.

    Raises:
        ModelContractError: If TorchScript cannot compile it.
    """
    try:
        compile_network(net, kind)
    except Exception as error:  # torch.jit raises many kinds
        raise ModelContractError(f"a {kind} network cannot be compiled: {describe_error(error)}") from error


def compile_network(net: nn.Module, kind: str) -> Any:
    """What TorchScript makes of a network, as model files hold it."""
    wrapped = get_kind(kind).wrap(net.eval())
    for name in get_kind(kind).exported:
        torch.jit.export(getattr(type(wrapped), name))
    with _quiet():
        return torch.jit.script(wrapped)


@check_arguments(path=check_path)
def load_model(path: str | Path) -> Model:
    """Read a model file; nothing that is in it is run.

    Raises:
        InputError: If there is no such file.
        ModelContractError: If it is damaged, no model file, or of a newer schema; if metadata hold an entry that cannot
            be, or weights are not finite or not those of the network that metadata describe.
    """
    target = Path(path)
    content = read_model_file(target)
    try:
        archive = Archive(content)
        metadata = parse_metadata(archive.read_metadata())
        weights = {name.removeprefix(_PREFIX): value for name, value in archive.read_weights().items()}
        check_weights(weights, metadata)
    except ModelContractError as error:
        raise ModelContractError(f"{target}: {error}") from error
    return Model(
        metadata=metadata,
        path=target.resolve(),
        sha256=hashlib.sha256(content).hexdigest(),
        weights={name: value.clone() for name, value in weights.items()},
    )


@check_arguments(kind=a_choice(BUNDLED, also=", the bundled models, or give a model file to load_model"))
def load_bundled_model(kind: str = "sde") -> Model:
    """The bundled model of 4G3E, "sde" (Langevin) or "ode" (Newtonian)."""
    return load_model(Path(str(resources.files("openmm_neuralmd") / "assets" / "4g3e" / f"{kind}.pt")))


def _join(numbers: Any) -> str:
    return ", ".join(str(n) for n in numbers)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences the deprecation notes of torch.jit; setup.py caps torch below the release that removes it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield
