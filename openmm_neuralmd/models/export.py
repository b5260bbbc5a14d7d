"""Model files: TorchScript archives with their metadata; loading, checking and binding to a complex.

The only module that touches ``torch.jit``, which is deprecated upstream: replacing it means replacing this file.
Loading reads TorchScript's own format and JSON; no Python object is unpickled.
"""

import hashlib
import io
import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Optional, Tuple

import numpy as np
import torch
from torch import Tensor, nn

from openmm_neuralmd.complex import Complex
from openmm_neuralmd.errors import InputError, ModelContractError, describe_error
from openmm_neuralmd.files import write_whole
from openmm_neuralmd.models.baselines import DenoisingLD, VerletMD
from openmm_neuralmd.models.bindingnet import BindingNet
from openmm_neuralmd.models.bound import BoundModel
from openmm_neuralmd.models.elements import find_stand_ins
from openmm_neuralmd.models.interface import (
    LigandGraph,
    ProteinEmbedding,
    ProteinStructure,
    build_ligand_graph,
    build_protein_structure,
)
from openmm_neuralmd.models.registry import SIMULATED_KINDS, build_network
from openmm_neuralmd.shape import Shape
from openmm_neuralmd.units import compute_force_factor

SCHEMA_VERSION = 3
BUNDLED = ("ode", "sde")
_METADATA_FILE = "metadata.json"
_REQUIRED = ("schema_version", "kind", "config", "snapshot_interval", "elements", "scheme", "steps_per_snapshot")


class _Exported(nn.Module):
    """The methods of a network that a model file offers."""

    def __init__(self, net: BindingNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, positions: Tensor, graph: LigandGraph, protein: ProteinEmbedding) -> Tensor:
        return self.net(positions, graph, protein)

    @torch.jit.export
    def embed_protein(self, structure: ProteinStructure) -> ProteinEmbedding:
        return self.net.embed_protein(structure)

    @torch.jit.export
    def compute_force_and_fields(
        self, positions: Tensor, graph: LigandGraph, protein: ProteinEmbedding
    ) -> Tuple[Tensor, Tensor]:
        return self.net.compute_force_and_fields(positions, graph, protein)

    @torch.jit.export
    def compute_force_and_noise(
        self, positions: Tensor, increments: Tensor, graph: LigandGraph, protein: ProteinEmbedding
    ) -> Tuple[Tensor, Tensor]:
        return self.net.compute_force_and_noise(positions, increments, graph, protein)

    @torch.jit.export
    def compute_vibration(self, positions: Tensor, normals: Tensor, graph: LigandGraph) -> Tensor:
        return self.net.compute_vibration(positions, normals, graph)

    @torch.jit.export
    def map_velocities(self, positions: Tensor, velocities: Tensor, graph: LigandGraph) -> Tensor:
        return self.net.map_velocities(positions, velocities, graph)

    @torch.jit.export
    def count_noise(self, graph: LigandGraph) -> int:
        return self.net.count_noise(graph)

    @torch.jit.export
    def compute_friction(self) -> Tensor:
        return self.net.compute_friction()


class _ExportedScore(nn.Module):
    """What a file of DenoisingLD offers."""

    def __init__(self, net: DenoisingLD) -> None:
        super().__init__()
        self.net = net

    def forward(self, positions: Tensor, levels: Tensor, graph: LigandGraph, protein: ProteinEmbedding) -> Tensor:
        return self.net.predict_noise(positions, levels, graph, protein)

    @torch.jit.export
    def embed_protein(self, structure: ProteinStructure) -> ProteinEmbedding:
        return self.net.embed_protein(structure)


class _ExportedEnergy(nn.Module):
    """What a file of VerletMD offers."""

    def __init__(self, net: VerletMD) -> None:
        super().__init__()
        self.net = net

    def forward(self, positions: Tensor, graph: LigandGraph, protein: ProteinEmbedding) -> Tensor:
        return self.net.compute_energy(positions, graph, protein)

    @torch.jit.export
    def embed_protein(self, structure: ProteinStructure) -> ProteinEmbedding:
        return self.net.embed_protein(structure)


_WRAPPERS = {"denoising": _ExportedScore, "verlet": _ExportedEnergy}


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
        self.factor = factor
        self.register_buffer("ligand", ligand)
        self.register_buffer("ends", tree[0])
        self.register_buffer("starts", tree[1])
        self.register_buffer("paths", tree[2])
        self.register_buffer("centre", pose.mean(dim=0))

    def forward(self, positions: Tensor, box: Optional[Tensor] = None) -> Tuple[Tensor, Tensor]:
        x = positions[self.ligand].to(self.centre.dtype)
        if box is not None:
            x = self.restore_image(x, box.to(x.dtype))
        force = self.factor * self.bound(10.0 * x.unsqueeze(0) - self.origin).squeeze(0)
        forces = torch.zeros_like(positions)
        forces[self.ligand] = force.to(positions.dtype)
        return torch.zeros([], dtype=positions.dtype, device=positions.device), forces

    def restore_image(self, x: Tensor, box: Tensor) -> Tensor:
        """The ligand whole and next to the protein; see ``simulation.imaging``."""
        whole = x[0] + self.paths @ self.shift(x[self.ends] - x[self.starts], box)
        offset = (whole.mean(dim=0) - self.centre).unsqueeze(0)
        return whole + self.shift(offset, box) - offset

    def shift(self, difference: Tensor, box: Tensor) -> Tensor:
        for k in (2, 1, 0):
            difference = difference - torch.round(difference[:, k : k + 1] / box[k, k]) * box[k]
        return difference


@dataclass(frozen=True)
class Model:
    """A loaded model file: TorchScript module, metadata, where it came from and its SHA-256."""

    module: Any
    metadata: Mapping[str, Any]
    path: Path
    sha256: str

    @property
    def kind(self) -> str:
        return str(self.metadata["kind"])

    def bind(self, complex_: Complex, *, dtype: torch.dtype = torch.float32) -> BoundModel:
        """Embed the rigid protein once and freeze the network for this ligand.

        Raises:
            ModelContractError: If the model is of a kind without force, or as in ``build_graph``.
        """
        if self.kind not in SIMULATED_KINDS:
            raise ModelContractError(
                f"{self.path}: a model of kind {self.kind} is a baseline for neuralmd evaluate, not one to simulate "
                f"with; train one of kind {', '.join(SIMULATED_KINDS)}"
            )
        exported = _load_module(self.path, self.sha256)[0].to(dtype)
        graph = self.build_graph(complex_, dtype)
        placed = build_protein_structure(
            complex_, pocket_cutoff=float(self.metadata["config"]["pocket_cutoff"]), dtype=torch.float64
        )
        origin = placed.pocket_centroid
        structure = placed._replace(
            backbone=(placed.backbone - origin).to(dtype), pocket_centroid=torch.zeros(3, dtype=dtype)
        )
        with torch.no_grad(), _quiet():
            bound = torch.jit.script(_Bound(exported, graph, exported.embed_protein(structure)).eval())
            kept = ["compute_force_and_noise", "compute_vibration", "map_velocities", "count_noise"]
            module = torch.jit.freeze(bound, preserved_attrs=kept)
            n_noise = module.count_noise()
            friction = float(exported.compute_friction())
        return BoundModel(
            n_atoms=complex_.ligand.n_atoms,
            n_noise=n_noise,
            friction=friction,
            snapshot_interval=float(self.metadata["snapshot_interval"]),
            masses=graph.masses,
            scheme=str(self.metadata["scheme"]),
            steps_per_snapshot=int(self.metadata["steps_per_snapshot"]),
            path=self.path,
            sha256=self.sha256,
            dtype=dtype,
            module=module,
            origin=origin,
        )

    def restore_network(self) -> nn.Module:
        """The network in plain PyTorch, with the file's weights: for evaluation, further training, another export."""
        net = build_network(self.kind, self.metadata["config"])
        net.load_state_dict({name.removeprefix("net."): value for name, value in self.module.state_dict().items()})
        return net.eval()

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


def export_model(net: nn.Module, metadata: Mapping[str, Any], path: str | Path) -> None:
    """Write a model file; an existing one is replaced only once the new one is complete.

    Args:
        net: Trained network.
        metadata: Without ``schema_version`` and ``versions``, which are added here.
        path: The ``.pt`` file.

    Raises:
        ModelContractError: If a required entry is missing.
    """
    import openmm_neuralmd

    complete = {
        "schema_version": SCHEMA_VERSION,
        **metadata,
        "versions": {
            "openmm_neuralmd": openmm_neuralmd.__version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
    }
    missing = [key for key in _REQUIRED if key not in complete]
    if missing:
        raise ModelContractError(f"metadata lacks {', '.join(missing)}")
    with write_whole(Path(path)) as temporary, _quiet():
        scripted = _compile(net.to("cpu", torch.float32), complete["kind"])
        torch.jit.save(scripted, str(temporary), _extra_files={_METADATA_FILE: json.dumps(complete, indent=1)})


def build_whole_system_module(
    model: BoundModel, ligand: np.ndarray, tree: Tuple[np.ndarray, np.ndarray, np.ndarray], pose: np.ndarray
) -> Any:
    """TorchScript module for OpenMM's TorchForce: all positions in, energy 0 and the force on the ligand out.

    Args:
        model: Bound model.
        ligand: Particles of its heavy atoms, int64, (n_atoms,).
        tree: Children, parents and paths of ``simulation.imaging.LigandImage``, which make the ligand whole.
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
        _compile(net, kind)
    except Exception as error:  # torch.jit raises many kinds
        raise ModelContractError(f"a {kind} network cannot be compiled: {describe_error(error)}") from error


def _compile(net: nn.Module, kind: str) -> Any:
    wrapper: Any = _WRAPPERS.get(kind, _Exported)
    with _quiet():
        return torch.jit.script(wrapper(net.eval()))


def load_model(path: str | Path) -> Model:
    """Read a model file.

    Raises:
        InputError: If there is no such file.
        ModelContractError: If it is damaged, no model file, or of a newer schema.
    """
    target = Path(path)
    if not target.is_file():
        raise InputError(f"{target}: no such model file")
    sha256 = hashlib.sha256(target.read_bytes()).hexdigest()
    module, metadata = _load_module(target, sha256)
    return Model(module=module, metadata=metadata, path=target.resolve(), sha256=sha256)


def load_bundled_model(kind: str = "sde") -> Model:
    """The bundled model of 4G3E, "sde" (Langevin) or "ode" (Newtonian)."""
    if kind not in BUNDLED:
        raise InputError(f"no bundled model {kind!r}; choose one of {', '.join(BUNDLED)} or give a model file")
    return load_model(Path(str(resources.files("openmm_neuralmd") / "assets" / "4g3e" / f"{kind}.pt")))


def _load_module(path: Path, sha256: str) -> tuple[Any, dict[str, Any]]:
    if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        raise ModelContractError(f"{path}: the file changed since it was first read")
    extra = {_METADATA_FILE: ""}
    try:
        with _quiet():
            module = torch.jit.load(str(path), map_location="cpu", _extra_files=extra)
        metadata = json.loads(extra[_METADATA_FILE])
    except (RuntimeError, ValueError) as error:
        raise ModelContractError(
            f"{path}: damaged, or not a model file of openmm_neuralmd; fetch or train it again"
        ) from error
    version = metadata.get("schema_version", 0)
    if version > SCHEMA_VERSION:
        raise ModelContractError(
            f"{path}: schema version {version}, this openmm_neuralmd reads up to {SCHEMA_VERSION}; update the package"
        )
    if version < SCHEMA_VERSION:
        raise ModelContractError(
            f"{path}: schema version {version} is of an earlier openmm_neuralmd, this one reads {SCHEMA_VERSION}; "
            "train the model again"
        )
    missing = [key for key in _REQUIRED if key not in metadata]
    if missing:
        raise ModelContractError(f"{path}: its metadata lacks {', '.join(missing)}; train or export it again")
    return module, metadata


def _join(numbers: Any) -> str:
    return ", ".join(str(n) for n in numbers)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences the deprecation notes of torch.jit; setup.py caps torch below the release that removes it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield
