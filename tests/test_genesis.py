"""Founding a network and opening its folders: what is written, and every refusal to start."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from node import code_hashes
from node.config import NetworkConfig
from node.folder import load_node
from node.genesis import create_network
from node.net.tls import pem_fingerprint
from node.protocol.errors import Misconfigured
from node.protocol.genesis import Genesis
from node.protocol.keys import PrivateKey
from node.protocol.keystore import SCRYPT_N_DEV, decrypt_key, encrypt_key, encrypt_seed
from node.protocol.password import PASSWORD_VARIABLE
from tests.test_config import SHIPPED

NOW_MS = 1_790_000_000_000


def config(**changes: Any) -> NetworkConfig:
    """The shipped network with some settings changed."""
    return NetworkConfig.load(SHIPPED).model_copy(update=changes)


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that tests read and copy, but do not change."""
    directory = tmp_path_factory.mktemp("founded") / "network"
    create_network(config(), directory, None, NOW_MS)
    return directory


@pytest.fixture
def network(founded: Path, tmp_path: Path) -> Path:
    """A copy of the founded network that a test may damage."""
    return Path(shutil.copytree(founded, tmp_path / "copy"))


@pytest.fixture(autouse=True)
def _no_password_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)


def error_of(folder: Path, password: bytes | None = None) -> Misconfigured:
    """The one line with which a node refuses to start."""
    with pytest.raises(Misconfigured) as error:
        load_node(folder, password)
    assert "\n" not in error.value.message
    return error.value


def test_what_is_written(founded: Path) -> None:
    genesis = Genesis.load(founded / "genesis.json")
    assert genesis.created_ms == NOW_MS
    assert genesis.validator_set.quorum == 3
    assert set(genesis.contracts) >= {"kernel", "prepaid"}
    endpoints = json.loads((founded / "network.json").read_text())["endpoints"]
    assert [one["public_key"] for one in endpoints] == [v.public_key for v in genesis.validators]
    password = (founded / "keys/.password").read_bytes().strip()
    for identity in genesis.identities:
        path = founded / f"keys/{identity.name}.json"
        key = decrypt_key(path.read_bytes(), password, path.name)
        assert key.public_key.hex() == identity.public_key
    for path in founded.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_every_node_can_be_loaded(founded: Path) -> None:
    genesis = Genesis.load(founded / "genesis.json")
    secrets = set()
    for entry in genesis.validators:
        settings = load_node(founded / "nodes" / entry.name)
        assert settings.key.public_key.hex() == entry.public_key
        assert settings.genesis.hash == genesis.hash
        assert settings.interface == json.loads((founded / "interface.json").read_text())
        certificate = settings.tls.certificate.read_bytes()
        assert pem_fingerprint(certificate).hex() == entry.tls_fingerprint
        secrets.add((settings.secret.epochs[1], settings.secret.privacy_key))
    assert len(secrets) == 1


def test_the_password_does_not_open_the_files_of_another_network(
    founded: Path, tmp_path: Path
) -> None:
    create_network(config(), tmp_path / "other", None, NOW_MS)
    assert Genesis.load(tmp_path / "other/genesis.json").hash != (
        Genesis.load(founded / "genesis.json").hash
    )
    other = (tmp_path / "other/keys/.password").read_bytes().strip()
    assert error_of(founded / "nodes/node1", other).code == "BAD_PASSWORD"


def test_an_existing_network_is_never_overwritten(network: Path) -> None:
    before = {path: path.read_bytes() for path in network.rglob("*") if path.is_file()}
    with pytest.raises(Misconfigured) as error:
        create_network(config(), network, None, NOW_MS)
    assert error.value.code == "NETWORK_EXISTS"
    (network / "genesis.json").rename(network / "aside")
    with pytest.raises(Misconfigured) as half:
        create_network(config(), network, None, NOW_MS)
    assert half.value.code == "NETWORK_EXISTS"
    (network / "aside").rename(network / "genesis.json")
    assert {path: path.read_bytes() for path in network.rglob("*") if path.is_file()} == before


def test_keys_made_beforehand_are_used_as_they_are(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    own = PrivateKey.generate()
    text = encrypt_key(own, "alice", b"alice's own password", SCRYPT_N_DEV)
    (keys / "alice.json").write_text(text)
    genesis = create_network(config(), tmp_path, None, NOW_MS)
    listed = {identity.name: identity.public_key for identity in genesis.identities}
    assert listed["alice"] == own.public_key.hex()
    assert (keys / "alice.json").read_text() == text


def test_a_seed_cannot_be_an_identity(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    text = encrypt_seed(bytes(32), "alice", b"password", SCRYPT_N_DEV)
    (tmp_path / "keys/alice.json").write_text(text)
    with pytest.raises(Misconfigured) as error:
        create_network(config(), tmp_path, None, NOW_MS)
    assert error.value.code == "BAD_KEYSTORE"


def test_a_real_network_needs_a_password(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured) as error:
        create_network(config(dev=False), tmp_path, None, NOW_MS)
    assert error.value.code == "NO_PASSWORD"
    assert not list(tmp_path.iterdir())


def test_a_real_network_keeps_no_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.genesis.SCRYPT_N", SCRYPT_N_DEV)
    create_network(config(dev=False), tmp_path / "real", b"a password", NOW_MS)
    node = tmp_path / "real/nodes/node1"
    assert not (tmp_path / "real/keys/.password").exists()
    assert error_of(node).code == "NO_PASSWORD"
    assert load_node(node, b"a password").name == "node1"
    (tmp_path / "password").write_text("a password\n")
    monkeypatch.setenv(PASSWORD_VARIABLE, str(tmp_path / "password"))
    assert load_node(node).name == "node1"


@pytest.mark.parametrize(
    "contracts",
    [
        {"nonsense": {}},
        {"prepaid": {"allow_clear": 1}},
        {"prepaid": {"allow": True}},
        {"prepaid": {"classes": [{"name": "x", "asset": "NONE", "named": True}]}},
    ],
)
def test_parameters_that_a_contract_refuses(tmp_path: Path, contracts: dict[str, Any]) -> None:
    with pytest.raises(Misconfigured) as error:
        create_network(config(contracts=contracts), tmp_path, None, NOW_MS)
    assert error.value.code == "BAD_CONFIG"
    assert error.value.message.startswith("contracts: ")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Misconfigured) as error:
        create_network(config(), tmp_path / "file/network", None, NOW_MS)
    assert error.value.code == "NOT_WRITABLE"


DAMAGES: dict[str, tuple[str, str | None, str]] = {
    "no settings": ("nodes/node1/node.toml", None, "NO_FILE"),
    "other settings": ("nodes/node1/node.toml", "x = 1", "BAD_CONFIG"),
    "no genesis": ("genesis.json", None, "NO_GENESIS"),
    "a genesis that is none": ("genesis.json", "{}", "BAD_CONFIG"),
    "no interface": ("interface.json", None, "NO_FILE"),
    "another interface": ("interface.json", "{}", "WRONG_INTERFACE"),
    "an interface that is a number": ("interface.json", "1.5", "WRONG_INTERFACE"),
    "an interface that is a list": ("interface.json", "[]", "WRONG_INTERFACE"),
    "no key": ("nodes/node1/node.key.json", None, "NO_FILE"),
    "a key that is none": ("nodes/node1/node.key.json", "{}", "BAD_KEYSTORE"),
    "no password": ("keys/.password", None, "NO_FILE"),
    "another password": ("keys/.password", "x", "BAD_PASSWORD"),
}


@pytest.mark.parametrize(("name", "content", "code"), DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_folder_is_one_line(
    network: Path, name: str, content: str | None, code: str
) -> None:
    (network / name).unlink()
    if content is not None:
        (network / name).write_text(content)
    assert error_of(network / "nodes/node1").code == code


def test_a_node_key_of_another_network(network: Path, tmp_path: Path) -> None:
    password = (network / "keys/.password").read_bytes().strip()
    stranger = encrypt_key(PrivateKey.generate(), "node1", password, SCRYPT_N_DEV)
    (network / "nodes/node1/node.key.json").write_text(stranger)
    assert error_of(network / "nodes/node1").code == "NOT_A_VALIDATOR"


def test_contracts_of_another_version(network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = code_hashes.contract_sources

    def altered(name: str) -> dict[str, str]:
        return sources(name) | ({"prepaid/extra.py": "x = 1\n"} if name == "prepaid" else {})

    monkeypatch.setattr(code_hashes, "contract_sources", altered)
    error = error_of(network / "nodes/node1")
    assert error.code == "UNKNOWN_CONTRACT_HASH"
    assert "prepaid" in error.message


def test_a_contract_that_is_not_deterministic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        code_hashes, "contract_sources", lambda name: {f"{name}/bad.py": "import time\n"}
    )
    with pytest.raises(Misconfigured) as error:
        code_hashes.check_sources("prepaid")
    assert error.value.code == "CONTRACT_LINT"
    assert "prepaid/bad.py" in error.value.message


def test_hashes_are_of_the_text_and_not_of_its_line_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashes = code_hashes.code_hashes()
    assert len(set(hashes.values())) == len(hashes) >= 2
    assert "catalog.py" not in code_hashes.contract_sources("kernel"), "it lists every version"
    copy = Path(shutil.copytree(code_hashes._ROOT, tmp_path / "contracts"))
    for path in copy.rglob("*.py"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    monkeypatch.setattr(code_hashes, "_ROOT", copy)
    assert code_hashes.code_hashes() == hashes
    (copy / "prepaid/rules.py").write_text("x = 1\n")
    changed = code_hashes.code_hashes()
    assert [name for name in hashes if changed[name] != hashes[name]] == ["prepaid"]
