"""The genesis file: its hash names the chain, and a wrong file is one line that names the key."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from node.protocol.committee import open_committee_secret
from node.protocol.errors import Misconfigured
from node.protocol.genesis import Genesis, interface_hash
from node.protocol.keys import PrivateKey
from tests.protocol.support import (
    EPOCH,
    EPOCH_SECRET,
    MEMBERS,
    SENDER,
    genesis_content,
    genesis_with_wraps,
    key,
)


def parse(content: Any) -> Genesis:
    """A genesis of this JSON content."""
    return Genesis.parse(json.dumps(content))


def test_properties() -> None:
    genesis = parse(genesis_content())
    assert genesis.chain.chain_id == "vectors"
    assert genesis.chain.genesis_hash == genesis.hash
    assert genesis.validator_set.members == tuple(member.public_key for member in MEMBERS)
    assert genesis.validator_set.quorum == 3
    assert genesis.epoch_key == EPOCH
    assert genesis.created_ms == 1_769_846_400_000


def test_the_hash_is_of_the_content_and_not_of_the_layout() -> None:
    content = genesis_content()
    genesis = parse(content)
    assert Genesis.parse(genesis.to_text()).hash == genesis.hash
    assert Genesis.parse(json.dumps(dict(reversed(content.items())), indent=7)).hash == genesis.hash
    assert parse(content | {"tree_depth": 3}).hash != genesis.hash


def test_load(tmp_path: Path) -> None:
    path = tmp_path / "genesis.json"
    with pytest.raises(Misconfigured) as missing:
        Genesis.load(path)
    assert missing.value.code == "NO_GENESIS"
    path.write_text(parse(genesis_content()).to_text())
    assert Genesis.load(path) == parse(genesis_content())
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(Misconfigured) as damaged:
        Genesis.load(path)
    assert damaged.value.code == "BAD_CONFIG"


def _set(*path: str | int, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        target: Any = content
        for part in path[:-1]:
            target = target[part]
        target[path[-1]] = value

    return change


CHANGES: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "a missing key": (lambda content: content.pop("epoch"), "epoch"),
    "an unknown key": (_set("colour", value="red"), "colour"),
    "a version from the future": (_set("version", value=2), "version"),
    "a float": (_set("tree_depth", value=2.0), "tree_depth"),
    "text for a number": (_set("tree_depth", value="2"), "tree_depth"),
    "a chain id with a slash": (_set("chain_id", value="a/b"), "chain_id"),
    "no time": (_set("created_at", value="yesterday"), "RFC 3339"),
    "no validators": (_set("validators", value=[]), "validators"),
    "a key that is no point": (
        _set("validators", 0, "public_key", value="02" + "ff" * 32),
        "public key",
    ),
    "a validator twice": (
        _set("validators", 1, "public_key", value=MEMBERS[0].public_key.hex()),
        "twice",
    ),
    "a name twice": (_set("validators", 1, "name", value="node1"), "validators.name"),
    "an address twice": (_set("validators", 1, "address", value="127.0.0.1:27101"), "address"),
    "a preset too high": (_set("confirmations_more_than", value=4), "confirmations_more_than"),
    "an identity's key twice": (
        _set("identities", 1, "public_key", value=SENDER.public_key.hex()),
        "identities.public_key",
    ),
    "an asset twice": (_set("assets", value=[{"code": "CNY", "scale": 2}] * 2), "assets.code"),
    "a block beyond the protocol": (
        _set("limits", "block_transactions", value=1_001),
        "limits.block_transactions",
    ),
    "time-outs in disorder": (_set("timeouts", "cap_ms", value=500), "cap_ms"),
    "faster time on a real network": (
        lambda content: content.update(dev=False, time_scale=2),
        "time_scale",
    ),
    "a contract hash cut short": (_set("contracts", "kernel", value="ab"), "contracts.kernel"),
    "no kernel": (lambda content: content["contracts"].pop("kernel"), "kernel"),
    "a float parameter": (_set("parameters", "prepaid", value={"x": 1.5}), "float"),
    "a huge parameter": (_set("parameters", "prepaid", value={"x": 1 << 70}), "64"),
    "another sealing algorithm": (_set("epoch", "algorithm", value="rot13"), "epoch.algorithm"),
    "a wrap missing": (_set("epoch", "wraps", value={}), "epoch.wraps"),
}


@pytest.mark.parametrize(("change", "named"), CHANGES.values(), ids=CHANGES.keys())
def test_a_wrong_file_is_one_line_that_names_the_key(
    change: Callable[[dict[str, Any]], None], named: str
) -> None:
    content = genesis_content()
    change(content)
    with pytest.raises(Misconfigured) as error:
        parse(content)
    assert error.value.code == "BAD_CONFIG"
    assert named in error.value.message
    assert "\n" not in error.value.message
    assert "pydantic" not in error.value.message


def test_a_validator_opens_the_committees_secret() -> None:
    genesis = genesis_with_wraps()
    for member in MEMBERS:
        secret = open_committee_secret(genesis, member, {})
        assert PrivateKey(secret.epochs[1]).public_key == EPOCH.public_key
        assert len(secret.privacy_key) == 32
        assert EPOCH_SECRET.secret.hex() not in repr(secret)
        assert "privacy_key" not in repr(secret)


def test_others_do_not() -> None:
    with pytest.raises(Misconfigured) as stranger:
        open_committee_secret(genesis_with_wraps(), key(9), {})
    assert stranger.value.code == "NOT_A_VALIDATOR"


def test_a_damaged_or_foreign_wrap_is_noticed() -> None:
    content = json.loads(genesis_with_wraps().to_text())
    wraps = content["epoch"]["wraps"]
    first, second = (member.public_key.hex() for member in MEMBERS[:2])
    altered = wraps[first][:-2] + ("00" if wraps[first][-2:] != "00" else "01")
    for epoch in (
        {"wraps": wraps | {first: altered}},
        {"wraps": wraps | {first: wraps[second]}},
        {"wraps": wraps | {first: ""}},
        {"number": 2},
        {"public_key": key(9).public_key.hex()},
    ):
        genesis = parse(content | {"epoch": content["epoch"] | epoch})
        with pytest.raises(Misconfigured) as error:
            open_committee_secret(genesis, MEMBERS[0], {})
        assert error.value.code == "BAD_EPOCH_WRAP"


def test_interface_hash_is_of_the_content() -> None:
    assert interface_hash({"a": 1, "b": [2]}) == interface_hash({"b": [2], "a": 1})
    assert interface_hash({"a": 1}) != interface_hash({"a": 2})
