"""The light client: believes seals of a quorum, keeps what it verified, and notices a fork."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from client.errors import Unproven
from client.light import LightClient
from node.protocol.block import (
    BlockHeader,
    CertifiedBlock,
    CommitCertificate,
    CommitSeal,
    vote_digest,
)
from node.protocol.errors import Misconfigured
from node.protocol.keys import PrivateKey
from node.protocol.validators import ValidatorSet
from tests.http.support import World
from tests.protocol.support import MEMBERS, key


@pytest.fixture
def block(world: World) -> CertifiedBlock:
    """The first block of the chain."""
    world.open_shop()
    found = world.store.block(1)
    assert found is not None
    return found


def _seal(
    world: World, header: BlockHeader, keys: tuple[PrivateKey, ...], view: int = 0
) -> CommitCertificate:
    block_id = header.id(world.chain)
    digest = vote_digest(world.chain, "commit", header.height, view, block_id)
    signers = sorted(keys, key=lambda one: one.public_key)
    seals = tuple(CommitSeal(one.public_key, one.sign(digest)) for one in signers)
    return CommitCertificate(header.height, view, block_id, seals)


def test_a_certified_header_becomes_the_head(world: World, block: CertifiedBlock) -> None:
    light = LightClient(world.genesis)
    assert light.head.block_id == world.genesis.hash
    light.check(block.header, block.certificate)
    assert (light.head.height, light.head.block_id) == (1, block.header.id(world.chain))


def test_too_few_seals_prove_nothing(world: World, block: CertifiedBlock) -> None:
    light = LightClient(world.genesis)
    with pytest.raises(Unproven) as error:
        light.check(block.header, _seal(world, block.header, MEMBERS[:2]))
    assert error.value.code == "BAD_CERTIFICATE"
    assert light.head.height == 0


def test_strangers_prove_nothing(world: World, block: CertifiedBlock) -> None:
    strangers = (key(100), key(101), key(102))
    with pytest.raises(Unproven):
        LightClient(world.genesis).check(block.header, _seal(world, block.header, strangers))


def test_a_certificate_of_another_header_proves_nothing(
    world: World, block: CertifiedBlock
) -> None:
    other = msgspec.structs.replace(block.header, state_root=b"x" * 32)
    with pytest.raises(Unproven):
        LightClient(world.genesis).check(other, block.certificate)


def test_two_certified_blocks_at_the_head_are_a_fork(world: World, block: CertifiedBlock) -> None:
    light = LightClient(world.genesis)
    light.check(block.header, block.certificate)
    other = msgspec.structs.replace(block.header, state_root=b"x" * 32)
    with pytest.raises(Unproven) as error:
        light.check(other, _seal(world, other, MEMBERS[:3], view=1))
    assert error.value.code == "FORK"


def test_the_head_is_kept(world: World, block: CertifiedBlock, tmp_path: Path) -> None:
    path = tmp_path / "client.json"
    light = LightClient(world.genesis, path)
    light.check(block.header, block.certificate)
    light.save()
    again = LightClient(world.genesis, path)
    assert again.head == light.head
    assert again.validators_at(1) == world.genesis.validator_set
    assert [one.name for one in tmp_path.iterdir()] == ["client.json"]


def test_a_process_that_knows_less_does_not_set_the_file_back(
    world: World, block: CertifiedBlock, tmp_path: Path
) -> None:
    path = tmp_path / "client.json"
    behind, ahead = LightClient(world.genesis, path), LightClient(world.genesis, path)
    third = world.store.block(3)
    assert third is not None
    ahead.check(third.header, third.certificate)
    ahead.save()
    behind.check(block.header, block.certificate)
    behind.save()
    assert LightClient(world.genesis, path).head.height == 3


def test_a_file_of_another_network_is_refused(
    world: World, block: CertifiedBlock, tmp_path: Path
) -> None:
    path = tmp_path / "client.json"
    light = LightClient(world.genesis, path)
    light.check(block.header, block.certificate)
    light.save()
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "genesis_hash": "00" * 32}))
    with pytest.raises(Misconfigured) as error:
        LightClient(world.genesis, path)
    assert error.value.code == "WRONG_GENESIS"


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"height": -1}'])
def test_a_damaged_file_is_refused(world: World, tmp_path: Path, content: str) -> None:
    path = tmp_path / "client.json"
    path.write_text(content)
    with pytest.raises(Misconfigured) as error:
        LightClient(world.genesis, path)
    assert error.value.code == "BAD_CONFIG"


def test_validators_change_only_as_a_certified_header_says(
    world: World, block: CertifiedBlock, tmp_path: Path
) -> None:
    newcomer = key(100)
    new_set = ValidatorSet((*world.genesis.validator_set.members[1:], newcomer.public_key), 2)
    announcing = msgspec.structs.replace(block.header, next_validators_hash=new_set.hash)
    light = LightClient(world.genesis, tmp_path / "client.json")
    light.check(announcing, _seal(world, announcing, MEMBERS[:3]))
    assert light.names_new_validators(announcing)
    with pytest.raises(Unproven):
        light.learn(announcing, ValidatorSet((newcomer.public_key,), 0))
    light.learn(announcing, new_set)
    light.save()

    following = msgspec.structs.replace(announcing, height=2, parent=announcing.id(world.chain))
    for one in (light, LightClient(world.genesis, tmp_path / "client.json")):
        assert one.validators_at(1) == world.genesis.validator_set
        with pytest.raises(Unproven):  # those who left decide no more
            one.check(following, _seal(world, following, MEMBERS[:3]))
        one.check(following, _seal(world, following, (*MEMBERS[1:3], newcomer)))
        assert one.head.height == 2
