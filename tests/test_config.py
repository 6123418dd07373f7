"""`network.toml`: the shipped one is good, and a wrong one is one line that names the key."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.config import CONFIG_BYTES_MAX, NetworkConfig
from node.protocol.errors import Misconfigured

ROOT = Path(__file__).parent.parent
SHIPPED = ROOT / "network.toml"


def error_of(tmp_path: Path, text: str | bytes) -> Misconfigured:
    """The error that a file of this content is."""
    path = tmp_path / "network.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(Misconfigured) as error:
        NetworkConfig.load(path)
    assert "\n" not in error.value.message
    assert error.value.message.startswith(str(path))
    return error.value


def test_the_shipped_network() -> None:
    config = NetworkConfig.load(SHIPPED)
    assert len(config.validators) == 4
    assert all(node.address.startswith("127.0.0.1:") for node in config.validators)
    assert config.confirmations_more_than == 2
    assert config.roles_by_name["gym"] == ("merchant",)
    assert {asset.code for asset in config.assets} == {"CNY", "USD"}


CHANGES = {
    "a value of another type": ("dev = true", "dev = 1", "dev"),
    "a float": ("scale = 2", "scale = 2.0", "assets.0.scale"),
    "a misspelled key": ("base_ms =", "bas_ms =", "timeouts.base_ms"),
    "an unknown key": ("time_scale = 1", 'time_scale = 1\ncolour = "red"', "colour"),
    "a key missing": ('chain_id = "groat-dev"', "", "chain_id"),
    "a name that is a path": ('name = "node1"', 'name = "../x"', "validators.0.name"),
    "a name twice": ('name = "node2"', 'name = "node1"', "validators"),
    "a port twice": ("127.0.0.1:28101", "127.0.0.1:27101", "validators"),
    "a port that does not exist": ("127.0.0.1:27101", "127.0.0.1:99999", "validators.0.address"),
    "no port": ("127.0.0.1:27101", "127.0.0.1", "validators.0.address"),
    "a preset too high": ("_than = 2", "_than = 4", "confirmations_more_than"),
    "another algorithm": ('algorithm = "ecdh', 'algorithm = "rot13', "sealing.algorithm"),
    "a block too large": ("block_calls = 2000", "block_calls = 2000000", "limits.block_calls"),
    "a role's name": ('bank = ["bank"]', 'bank = ["The Bank"]', "roles.bank.0"),
    "fast time on a real network": (
        "dev = true\ntime_scale = 1",
        "dev = false\ntime_scale = 60",
        "time_scale",
    ),
}


@pytest.mark.parametrize(("old", "new", "named"), CHANGES.values(), ids=CHANGES.keys())
def test_a_wrong_file_names_the_key(tmp_path: Path, old: str, new: str, named: str) -> None:
    text = SHIPPED.read_text()
    assert old in text
    error = error_of(tmp_path, text.replace(old, new, 1))
    assert error.code == "BAD_CONFIG"
    assert named in error.message


def test_files_that_are_no_settings(tmp_path: Path) -> None:
    for content in ("[[[", b"\xff\xfe", "a = 1\na = 2", b"#" * (CONFIG_BYTES_MAX + 1)):
        assert error_of(tmp_path, content).code == "BAD_CONFIG"
    with pytest.raises(Misconfigured) as missing:
        NetworkConfig.load(tmp_path / "none.toml")
    assert missing.value.code == "NO_FILE"
    with pytest.raises(Misconfigured) as folder:
        NetworkConfig.load(tmp_path)
    assert folder.value.code == "NO_FILE"


def test_another_number_of_local_nodes() -> None:
    config = NetworkConfig.load(SHIPPED)
    seven = config.with_local_nodes(7)
    assert [node.name for node in seven.validators] == [f"node{n}" for n in range(1, 8)]
    assert seven.confirmations_more_than == 2
    assert len({node.address for node in seven.validators}) == 7
    one = config.with_local_nodes(1, [(5001, 5002)])
    assert one.validators[0].address == "127.0.0.1:5001"
    assert one.validators[0].http == "127.0.0.1:5002"
    assert one.confirmations_more_than == 0
    for count, ports in [(0, None), (65, None), (2, [(1, 2)]), (2, [(1, 2), (2, 3)])]:
        with pytest.raises(Misconfigured):
            config.with_local_nodes(count, ports)
