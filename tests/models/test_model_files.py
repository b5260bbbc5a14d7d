"""Model files that somebody else made: nothing in them runs, and each wrong one is refused in one line."""

import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from openmm_neuralmd.cli import main
from openmm_neuralmd.data.leakage import read_identities
from openmm_neuralmd.dynamics.scheme import find_schemes
from openmm_neuralmd.errors import ModelContractError
from openmm_neuralmd.models import archive
from openmm_neuralmd.models.applicability import assess_applicability
from openmm_neuralmd.models.export import export_model, load_bundled_model, load_model
from openmm_neuralmd.models.metadata import check_metadata
from openmm_neuralmd.models.registry import build_network, list_kinds
from openmm_neuralmd.molecule.complex import load_bundled_complex

CONFIG = {"hidden": 8, "n_layers": 1, "n_radial": 4, "ligand_cutoff": 5.0, "pocket_cutoff": 10.0}
METADATA = {
    "kind": "sde",
    "config": CONFIG,
    "snapshot_interval": 80.0,
    "elements": [6, 7, 8, 16, 17],
    "scheme": "leapfrog",
    "steps_per_snapshot": 1,
    "training": {
        "command": "neuralmd train",
        "complexes": [{"name": "4G3E", "ligand_smiles": "CCO", "sequence": "PVEEYLVHALQG", "bond_orders": "known"}],
        "trajectories": [{"sha256": "00", "frames_validation": [8, 10]}],
    },
}
OPTIONS: dict[str, dict[str, Any]] = {
    **{kind: {"velocity_mapping": True, "velocity_refinement": True} for kind in ("ode", "sde", "gnn")},
    "denoising": {"n_levels": 3, "n_channels": 2},
    "verlet": {"has_force_field": True},
}


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small untrained SDE."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "m.pt"
    export_model(build_network("sde", CONFIG), METADATA, path)
    return path


def rewrite(
    source: Path,
    target: Path,
    changed: dict[str, bytes | None] | None = None,
    *,
    added: list[tuple[str, bytes]] = (),  # type: ignore[assignment]
    compression: int | None = None,
) -> Path:
    """Copy an archive, with other content for members that end as named; None leaves them out."""
    changed = dict(changed or {})
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        root = old.namelist()[0].split("/")[0]
        for item in old.infolist():
            name = item.filename.removeprefix(f"{root}/")
            content = changed[name] if name in changed else old.read(item)
            if content is not None:
                new.writestr(item, content, item.compress_type if compression is None else compression)
        for name, content in added:
            new.writestr(f"{root}/{name}" if not name.startswith("!") else name[1:], content)
    return target


def read_member(path: Path, name: str) -> bytes:
    with zipfile.ZipFile(path) as file:
        return file.read(next(n for n in file.namelist() if n.endswith(f"/{name}")))


def with_metadata(model_file: Path, target: Path, content: bytes | str | Any) -> Path:
    text = content if isinstance(content, bytes | str) else json.dumps(content)
    return rewrite(model_file, target, {"extra/metadata.json": text.encode() if isinstance(text, str) else text})


def set_entry(place: str, value: Any, metadata: dict[str, Any]) -> dict[str, Any]:
    """Metadata with another value at a dotted place; ``...`` takes the entry away."""
    copied = json.loads(json.dumps(metadata))
    *above, last = place.split(".")
    owner = copied
    for name in above:
        owner = owner[int(name)] if isinstance(owner, list) else owner[name]
    if value is ...:
        del owner[last]
    else:
        owner[int(last) if isinstance(owner, list) else last] = value
    return copied


BIG = 10**4000
WRONG_ENTRIES = [
    *(("config.ligand_cutoff", value) for value in (-1, 0, 0.1, 1e9, "5", None, True, [5.0], BIG)),
    *(("config.pocket_cutoff", value) for value in (-1, 0.1, 1e9, "10", None, ...)),
    *(("config.hidden", value) for value in (0, 1, -8, 10**9, 8.0, "8", True, None, ...)),
    *(("config.n_layers", value) for value in (0, -1, 1.5, "1", True, 10**9, ...)),
    *(("config.n_radial", value) for value in (0, 4.5, "4", 10**9, [], ...)),
    *(("config.stochastic", value) for value in (False, 1, "yes", None)),
    *(("config.n_twists", value) for value in (-1, 1.5, 10**9)),
    *(("config.velocity_mapping", value) for value in (1, "no", None)),
    *(("config.n_channels", value) for value in (8,)),
    *(("config.unheard_of", value) for value in (8,)),
    *(("config", value) for value in ([], [1, 2], "hidden", 5, None, {}, ...)),
    *(("kind", value) for value in ("", "SDE", "verlett", 5, None, ["sde"], {"sde": 1}, True, ...)),
    *(("snapshot_interval", value) for value in (0, -80, 1e300, "80", None, True, [80], {}, BIG, 1e-9, ...)),
    *(
        ("elements", value)
        for value in ([], ["C"], [999], [0, 6], [7, 6], [6, 6], [6.0], [True], "6", 6, None, {}, ...)
    ),
    *(("scheme", value) for value in ("", "leap", "rk4", "euler", 5, None, ["leapfrog"], ...)),
    *(("steps_per_snapshot", value) for value in (0, -1, 1.5, 1.0, "1", True, None, 10**9, [1], ...)),
    *(("schema_version", value) for value in ("3", None, 3.0, True, [], {}, 2, 4, -BIG, BIG, ...)),
    *(("training", value) for value in ([], "much", 5, None, True)),
    *(("training.command", value) for value in (5, None, ["neuralmd"])),
    *(("training.complexes", value) for value in ({}, "4G3E", 5, None, [5], [None], [[]], ["4G3E"], [{}])),
    *(
        ("training.complexes.0.ligand_smiles", value)
        for value in ("", "not a molecule", "C(", "C" * 10_001, 5, None, ...)
    ),
    *(("training.complexes.0.sequence", value) for value in ("", "acd", "AC DE", "ÄÖ", "A" * 50_001, 5, None, [], ...)),
    *(("training.complexes.0.bond_orders", value) for value in ("perhaps", 5, None)),
    *(("training.complexes.0.name", value) for value in (5, None, [])),
    *(("training.complexes.0.source", value) for value in (5, {})),
    *(("training.complexes.0.notes", value) for value in ("a", [5])),
    *(("training.trajectories", value) for value in ({}, "t", 5, None, [5], [None], [{}])),
    *(("training.trajectories.0.sha256", value) for value in (5, None, ...)),
    *(
        ("training.trajectories.0.frames_validation", value)
        for value in ([], [1], ["0", "1"], [5, 1], [-1, 1], [0.0, 1.0], [0, BIG], 5, None, ...)
    ),
    *(("training.complexes_skipped", value) for value in ([], "none", 5)),
    *(("training.leaks", value) for value in ({}, "none", [5])),
    *(("metrics", value) for value in ([], 5, None)),
    *(("versions", value) for value in ([], 5, "2.13")),
]


@pytest.mark.parametrize(("place", "value"), WRONG_ENTRIES)
def test_each_wrong_entry_gives_one_line(place: str, value: Any) -> None:
    complete = {"schema_version": 3, **METADATA}
    with pytest.raises(ModelContractError) as error:
        check_metadata(set_entry(place, value, complete))
    told = str(error.value)
    assert place.split(".")[-1] in told.replace("schema version", "schema_version")
    assert "\n" not in told
    assert len(told) < 400


@pytest.mark.parametrize("place", ["config.hidden", "snapshot_interval", "training.complexes.0.sequence", "metrics"])
def test_files_with_wrong_entries_are_named(place: str, model_file: Path, tmp_path: Path) -> None:
    metadata = json.loads(read_member(model_file, "metadata.json"))
    wrong = with_metadata(model_file, tmp_path / "wrong.pt", set_entry(place, None, {"metrics": {}, **metadata}))
    with pytest.raises(ModelContractError, match=r"wrong\.pt: metadata entry .* is None; expected"):
        load_model(wrong)


@pytest.mark.parametrize("place", ["config.hidden", "snapshot_interval", "elements", "training.trajectories"])
def test_what_cannot_be_read_is_not_written(place: str, tmp_path: Path) -> None:
    with pytest.raises(ModelContractError, match=place.split(".")[-1]):
        export_model(build_network("sde", CONFIG), set_entry(place, "odd", METADATA), tmp_path / "m.pt")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [np.int64(1), np.float32(2.0), {1: 2}, {1, 2}, b"text", float("nan"), object()])
def test_only_what_json_knows_is_written(value: Any, tmp_path: Path) -> None:
    with pytest.raises(ModelContractError, match="metadata entry metrics"):
        export_model(build_network("sde", CONFIG), {**METADATA, "metrics": {"loss": value}}, tmp_path / "m.pt")


TEXTS = {
    "no text": (b"\xff\xfe\x00", "UTF-8"),
    "no JSON": (b"hidden = 8", "no JSON"),
    "nothing": (b"", "no JSON"),
    "cut": (b'{"kind": "sde"', "no JSON"),
    "a list": (b"[1, 2]", "expected entries by name"),
    "a number": (b"3", "expected entries by name"),
    "null": (b"null", "expected entries by name"),
    "a text": (b'"sde"', "expected entries by name"),
    "deep": (b"[" * 100_000 + b"]" * 100_000, "nested"),
    "rather deep": (b'{"a":' * 50 + b"1" + b"}" * 50, "nested"),
    "twice": (b'{"kind": "sde", "kind": "ode"}', "'kind' is there twice"),
    "NaN": (b'{"metrics": {"loss": NaN}}', "NaN"),
    "infinity": (b'{"metrics": {"loss": -Infinity}}', "Infinity"),
    "beyond floats": (b'{"metrics": {"loss": 1e999}}', "finite"),
    "half a character": (b'{"training": {"command": "\\ud800"}}', "whole characters"),
    "half a name": (b'{"\\ud800": 1}', "whole characters"),
    "digits": (b'{"a": ' + b"1" * 10_000 + b"}", "no JSON"),
}


@pytest.mark.parametrize(("content", "told"), TEXTS.values(), ids=TEXTS)
def test_texts_that_are_no_metadata(content: bytes, told: str, model_file: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelContractError, match=told) as error:
        load_model(with_metadata(model_file, tmp_path / "odd.pt", content))
    assert "odd.pt: " in str(error.value)
    assert len(str(error.value)) < 400


def test_files_take_every_scheme() -> None:
    for scheme in find_schemes().values():
        kind = "sde" if scheme.takes_noise else "ode"
        config = {**CONFIG, "stochastic": scheme.takes_noise}
        check_metadata({**METADATA, "schema_version": 3, "kind": kind, "config": config, "scheme": scheme.name})


@pytest.mark.parametrize("kind", list_kinds())
def test_options_of_every_kind_come_back(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = {**CONFIG, **OPTIONS.get(kind, {})}
    net = build_network(kind, config)
    export_model(net, {**METADATA, "kind": kind, "config": config}, tmp_path / "m.pt")
    restored = load_model(tmp_path / "m.pt").restore_network()
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in restored.state_dict().items())
    assert all(p.requires_grad for p in restored.parameters())


@pytest.mark.parametrize(
    "smallest",
    [
        ("ode", {"n_twists": 0, "n_fields": 0}),
        ("sde", {"n_twists": 0, "n_fields": 0}),
        ("sde", {"n_twists": 1, "n_fields": 0}),
        ("gnn", {}),
    ],
)
def test_the_least_that_passes_can_be_bound(smallest: tuple[str, dict[str, Any]], tmp_path: Path) -> None:
    kind, options = smallest
    config = {"hidden": 2, "n_layers": 1, "n_radial": 1, "ligand_cutoff": 2.0, "pocket_cutoff": 4.0, **options}
    export_model(build_network(kind, config), {**METADATA, "kind": kind, "config": config}, tmp_path / "m.pt")
    complex_ = load_bundled_complex()
    bound = load_model(tmp_path / "m.pt").bind(complex_)
    x = torch.from_numpy(10.0 * complex_.ligand.positions)[None]
    if not bound.is_force:
        propagator = bound.make_propagator(projection=False)
        with torch.inference_mode():
            _, shown = propagator.advance(propagator.start(x[:, None], [0]))
        assert torch.isfinite(shown).all()
        return
    force, noise = bound.compute_force_and_noise(x, torch.zeros(1, bound.n_noise))
    assert torch.isfinite(force).all()
    assert torch.isfinite(noise).all()


ODD_COMPLEXES = [
    {"ligand_smiles": "*", "sequence": "A"},
    {"ligand_smiles": "[H][H]", "sequence": "AC"},
    {"ligand_smiles": "C.C.C", "sequence": "XXX"},
    {"ligand_smiles": "c1ccc1", "sequence": "ZZZZZZ", "bond_orders": "unknown"},
    {"ligand_smiles": "C(C)(C)(C)(C)(C)C", "sequence": "M" * 300},
    {"ligand_smiles": "CC ethane |$a;b$|", "sequence": "BJOU"},
    {"ligand_smiles": "[Xe]", "sequence": "ACD", "name": "", "notes": []},
]


@pytest.mark.parametrize("known", ODD_COMPLEXES, ids=lambda k: k["ligand_smiles"])
def test_readers_of_metadata_never_fail_on_what_passed(known: dict[str, Any], bundled: Any) -> None:
    metadata = {"schema_version": 3, **METADATA, "training": {"complexes": [known]}}
    check_metadata(metadata)
    assert assess_applicability(bundled, metadata).is_seen is False
    assert len(read_identities(metadata)) == 1


def test_info_prints_no_control_characters(
    model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metadata = {"schema_version": 3, **METADATA, "training": {"command": "a\x1b]0;title\x07\nkind ode"}, "x\x1b[2J": 1}
    assert main(["info", str(with_metadata(model_file, tmp_path / "m.pt", metadata))]) == 0
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert not any(line.startswith("kind ode") for line in printed.splitlines())


class TestArchives:
    """Damage and malice in the zip."""

    def refuse(self, path: Path, told: str) -> None:
        with pytest.raises(ModelContractError, match=told) as error:
            load_model(path)
        assert str(path) in str(error.value)
        assert "\n" not in str(error.value)
        assert len(str(error.value)) < 400

    def test_metadata_that_unpack_to_gigabytes(self, model_file: Path, tmp_path: Path) -> None:
        bomb = tmp_path / "bomb.pt"
        rewrite(model_file, bomb, {"extra/metadata.json": None})
        with (
            zipfile.ZipFile(bomb, "a", zipfile.ZIP_DEFLATED) as file,
            file.open("m/extra/metadata.json".replace("m/", f"{file.namelist()[0].split('/')[0]}/"), "w") as member,
        ):
            for _ in range(300):
                member.write(b" " * 2**20)
        assert bomb.stat().st_size < 2**20
        self.refuse(bomb, "compressed, to 314572800 bytes")

    def test_compressed_weights(self, model_file: Path, tmp_path: Path) -> None:
        self.refuse(rewrite(model_file, tmp_path / "c.pt", compression=zipfile.ZIP_DEFLATED), "compressed")

    @pytest.mark.parametrize("name", ["!/etc/passwd", "!../../evil", "..\\evil", "a/../../evil"])
    def test_names_that_escape(self, name: str, model_file: Path, tmp_path: Path) -> None:
        self.refuse(rewrite(model_file, tmp_path / "e.pt", added=[(name, b"")]), "a member is named")

    @pytest.mark.filterwarnings("ignore:Duplicate name")
    def test_a_member_twice(self, model_file: Path, tmp_path: Path) -> None:
        again = read_member(model_file, "metadata.json")
        self.refuse(rewrite(model_file, tmp_path / "d.pt", added=[("extra/metadata.json", again)]), "twice")

    def test_another_folder(self, model_file: Path, tmp_path: Path) -> None:
        self.refuse(rewrite(model_file, tmp_path / "f.pt", added=[("!other/data.pkl", b"")]), "2 folders")

    def test_encrypted(self, model_file: Path, tmp_path: Path) -> None:
        content = bytearray(model_file.read_bytes())
        place = content.find(b"PK\x01\x02")
        content[place + 8] |= 1
        (tmp_path / "p.pt").write_bytes(content)
        self.refuse(tmp_path / "p.pt", "encrypted")

    def test_many_members(self, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "n.pt", "w") as file:
            for k in range(20_001):
                file.writestr(f"m/{k}", b"")
        self.refuse(tmp_path / "n.pt", "more than 20000 members")

    def test_members_that_overlap(self, model_file: Path, tmp_path: Path) -> None:
        """Two entries of the directory for the same bytes."""
        plain = rewrite(model_file, tmp_path / "plain.pt", added=[("z" * 8, b"0" * 200_000), ("y" * 8, b"")])
        content = bytearray(plain.read_bytes())
        first, second = (content.find(b"PK\x01\x02", content.rfind(name) - 60) for name in (b"z" * 8, b"y" * 8))
        content[second + 16 : second + 28] = content[first + 16 : first + 28]  # checksum and sizes
        content[second + 42 : second + 46] = content[first + 42 : first + 46]  # where it begins
        plain.write_bytes(content)
        with pytest.raises(ModelContractError):
            load_model(plain)

    @pytest.mark.parametrize("name", ["extra/metadata.json", "data.pkl", "byteorder", "data/3"])
    def test_a_member_that_is_missing(self, name: str, model_file: Path, tmp_path: Path) -> None:
        self.refuse(rewrite(model_file, tmp_path / "m.pt", {name: None}), f"it holds no {name}")

    def test_weights_cut_short(self, model_file: Path, tmp_path: Path) -> None:
        self.refuse(rewrite(model_file, tmp_path / "m.pt", {"data/3": b"\0" * 8}), "were promised")

    def test_another_order_of_bytes(self, model_file: Path, tmp_path: Path) -> None:
        self.refuse(rewrite(model_file, tmp_path / "m.pt", {"byteorder": b"big"}), "order of bytes")

    def test_files_that_are_too_large(self, model_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(archive, "LARGEST_FILE", 1000)
        self.refuse(model_file, "more than any model")

    @pytest.mark.parametrize("content", [b"", b"PK", b"PK\x05\x06" + b"\0" * 18, b"\0" * 5000, os.urandom(5000)])
    def test_no_archive_at_all(self, content: bytes, tmp_path: Path) -> None:
        (tmp_path / "m.pt").write_bytes(content)
        self.refuse(tmp_path / "m.pt", "damaged, or not a model file")

    def test_torchscript_of_something_else(self, tmp_path: Path) -> None:
        torch.jit.script(torch.nn.Linear(2, 2)).save(str(tmp_path / "m.pt"))
        self.refuse(tmp_path / "m.pt", "not a model file")

    def test_torchscript_of_something_else_with_metadata(self, model_file: Path, tmp_path: Path) -> None:
        text = read_member(model_file, "metadata.json").decode()
        path = str(tmp_path / "m.pt")
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path, _extra_files={"metadata.json": text})
        self.refuse(tmp_path / "m.pt", "not those of a sde network")

    def test_checkpoint_of_training(self, tmp_path: Path) -> None:
        torch.save({"net": {"a": torch.zeros(2)}}, tmp_path / "checkpoint.pt")
        self.refuse(tmp_path / "checkpoint.pt", "not a model file")


class TestWeights:
    """Weights that are not those of the network."""

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
    def test_weights_that_are_not_finite(self, value: float, model_file: Path, tmp_path: Path) -> None:
        numbers = bytearray(read_member(model_file, "data/2"))
        numbers[:4] = struct.pack("<f", value)
        with pytest.raises(ModelContractError, match=r"m\.pt: its weights hold NaN or infinity"):
            load_model(rewrite(model_file, tmp_path / "m.pt", {"data/2": bytes(numbers)}))

    def test_they_are_not_written_either(self, tmp_path: Path) -> None:
        net = build_network("sde", CONFIG)
        with torch.no_grad():
            net.raw_friction.fill_(float("nan"))
        with pytest.raises(ModelContractError, match="raw_friction"):
            export_model(net, METADATA, tmp_path / "m.pt")
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("place", "value"),
        [("config.hidden", 1024), ("config.n_layers", 64), ("config.n_radial", 5), ("kind", "ode"), ("kind", "verlet"),
         ("kind", "denoising"), ("config.velocity_mapping", True)],
    )  # fmt: skip
    def test_weights_of_another_network(self, place: str, value: Any, model_file: Path, tmp_path: Path) -> None:
        metadata = set_entry(place, value, json.loads(read_member(model_file, "metadata.json")))
        with pytest.raises(ModelContractError, match="its weights are not those of a"):
            load_model(with_metadata(model_file, tmp_path / "m.pt", metadata))

    def test_network_of_another_config_is_not_written(self, tmp_path: Path) -> None:
        with pytest.raises(ModelContractError, match="not those of a sde network"):
            export_model(build_network("sde", {**CONFIG, "hidden": 16}), METADATA, tmp_path / "m.pt")


class Evil:
    """What a pickle would run."""

    def __init__(self, call: Callable[..., Any], *arguments: Any) -> None:
        self.call = (call, arguments)

    def __reduce__(self) -> Any:
        return self.call


class EvilModule(torch.nn.Module):
    """Code that would act when loaded, and when called."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        torch.save(x, self.path)
        return x

    @torch.jit.export
    def __getstate__(self) -> tuple[str, bool]:
        return self.path, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]) -> None:
        self.path = state[0]
        self.training = state[1]
        torch.save(torch.zeros(1), self.path)


class TestNothingRuns:
    """Code and pickles in a file stay what they are: bytes."""

    @pytest.mark.parametrize("member", ["data.pkl", "constants.pkl"])
    @pytest.mark.parametrize("protocol", [0, 1, 2, 4])
    def test_pickles(self, member: str, protocol: int, model_file: Path, tmp_path: Path) -> None:
        mark = tmp_path / "mark"
        evil = pickle.dumps({"net": Evil(os.mkdir, str(mark))}, protocol=protocol)
        path = rewrite(model_file, tmp_path / "m.pt", {member: evil})
        if member == "data.pkl":
            with pytest.raises(ModelContractError, match=r"data\.pkl"):
                load_model(path)
        else:  # constants belong to the code, which is not read
            load_model(path)
        assert not mark.exists()

    def test_words_of_pickles_that_torchscript_does_not_write(self, model_file: Path, tmp_path: Path) -> None:
        for content in (
            b"\x80\x02(S'x'\nios\nsystem\n.",
            b"\x80\x02cposix\nsystem\nX\x01\x00\x00\x00x\x85R.",
            b"\x80\x02c__torch__.a\nB\n)\x81}X\x01\x00\x00\x00xcposix\nsystem\nsb.",
            b"\x80\x02c__torch__.a\nB\n.",
            b"\x80\x02" + b"(" * 1000 + b"t" * 1000 + b".",
            b"\x80\x02)" + b"q\x00h\x00\x86" * 1000 + b".",
            b"\x80\x02}" + b"q\x00)" + b"q\x01h\x01\x86" * 200 + b"K\x01s.",
            b"\x80\x02\x82\x01.",
            b"\x80\x02.",
            b"\x80\x02h\x05.",
            b"",
        ):
            with pytest.raises(ModelContractError, match=r"data\.pkl"):
                load_model(rewrite(model_file, tmp_path / "m.pt", {"data.pkl": content}))

    def test_modules_that_hold_themselves(self, model_file: Path, tmp_path: Path) -> None:
        content = b"\x80\x02c__torch__.a\nB\n)\x81q\x00}(X\x01\x00\x00\x00ah\x00X\x01\x00\x00\x00bh\x00ub."
        with pytest.raises(ModelContractError, match="more modules"):
            load_model(rewrite(model_file, tmp_path / "m.pt", {"data.pkl": content}))

    def test_code_that_acts_when_it_is_loaded(self, model_file: Path, tmp_path: Path) -> None:
        mark, path = tmp_path / "mark", tmp_path / "m.pt"
        text = read_member(model_file, "metadata.json").decode()
        scripted = torch.jit.script(EvilModule(str(mark)))
        torch.jit.save(scripted, str(path), _extra_files={"metadata.json": text})
        torch.jit.load(io.BytesIO(path.read_bytes()))
        assert mark.exists(), "the attack itself must work"
        mark.unlink()
        with pytest.raises(ModelContractError):
            load_model(path)
        assert not mark.exists()

    def test_code_in_a_file_of_good_weights_is_never_run(self, model_file: Path, tmp_path: Path, bundled: Any) -> None:
        """Every method of the file's code would raise; the model moves by this package's code as before."""
        changed: dict[str, bytes | None] = {}
        with zipfile.ZipFile(model_file) as file:
            root = file.namelist()[0].split("/")[0]
            for name in file.namelist():
                if "/code/" in name:
                    changed[name.removeprefix(f"{root}/")] = b"def forward(self):\n  ops.prim.RaiseException('ran')\n"
        tampered = rewrite(model_file, tmp_path / "m.pt", changed)
        x = torch.from_numpy(10.0 * bundled.ligand.positions)[None]
        expected = load_model(model_file).bind(bundled).compute_force(x)
        with pytest.raises(RuntimeError):
            torch.jit.load(str(tampered))
        assert torch.equal(load_model(tampered).bind(bundled).compute_force(x), expected)

    @pytest.mark.parametrize("kind", ["ode", "sde"])
    def test_bundled_models_are_what_torch_reads(self, kind: str) -> None:
        """Names and weights as TorchScript's own reader finds them."""
        model = load_bundled_model(kind)
        theirs = torch.jit.load(str(model.path)).state_dict()
        assert {f"net.{name}" for name in model.weights} == set(theirs)
        assert all(torch.equal(value, theirs[f"net.{name}"]) for name, value in model.weights.items())

    def test_damage_anywhere_gives_one_line_or_the_same_model(self, model_file: Path, tmp_path: Path) -> None:
        """Bytes changed at random, in the parts that are read."""
        generator = np.random.default_rng(0)
        path = tmp_path / "m.pt"
        for name in ("data.pkl", "extra/metadata.json"):
            content = read_member(model_file, name.split("/")[-1])
            for _ in range(150):
                damaged = bytearray(content)
                for place in generator.integers(len(content), size=generator.integers(1, 4)):
                    damaged[place] = generator.integers(256)
                with suppress(ModelContractError):
                    load_model(rewrite(model_file, path, {name: bytes(damaged)}))


def test_files_do_not_depend_on_their_name(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = build_network("ode", CONFIG)
    for name in ("a.pt", "b.pt"):
        export_model(net, {**METADATA, "kind": "ode"}, tmp_path / name)
    names = [zipfile.ZipFile(tmp_path / name).namelist()[0].split("/")[0] for name in ("a.pt", "b.pt")]
    assert names[0] == names[1]


def test_loading_leaves_the_programs_random_numbers_alone(model_file: Path, bundled: Any) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    model = load_model(model_file)
    model.restore_network()
    model.bind(bundled)
    assert torch.equal(torch.rand(3), expected)
