"""Who may speak: each way of pretending to be a peer fails, by the code that says why."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from node.net import frames, tls
from node.net.handshake import Introduction
from node.net.streams import dial
from node.protocol.domain import Chain
from node.protocol.encoding import encode, sha256
from node.protocol.errors import Misconfigured
from node.protocol.keys import PrivateKey
from tests.net.support import (
    CHAIN,
    KEYS,
    LOOPBACK,
    PATIENT,
    STRANGER,
    Intruder,
    Network,
    Node,
    address_of,
    all_connected,
    credential,
    introduce,
    introduction,
    tls_files,
    until,
)

NONCE = sha256(b"nonce")
OTHER_GENESIS = Chain(CHAIN.chain_id, bytes(32))
OTHER_NAME = Chain("another", CHAIN.genesis_hash)


async def allowing(network: Network, index: int = 1) -> Node:
    """Node 0, which allows node `index` with its certificate and cannot reach it."""
    node = await network.node(0, limits=PATIENT)
    node.transport.set_peers({KEYS[index].public_key: address_of(credential(f"node{index}"), 1)})
    return node


async def refused(node: Node, intruder: Intruder, code: str) -> None:
    assert await intruder.is_cut_off()
    await until(lambda: node.transport.refused_guests)
    assert dict(node.transport.refused_guests) == {code: 1}
    assert node.recorder.events == []


async def hello(intruder: Intruder, ours: Introduction) -> Introduction:
    """Exchange introductions with the node."""
    intruder.writer.write(frames.frame(frames.INTRODUCTION, encode(ours)))
    _, payload = await frames.read_frame(intruder.reader, frames.HANDSHAKE_LIMITS)
    key, nonce = payload[-33 - 34 : -34], payload[-32:]
    return introduction(key, nonce)


def proof(
    signer: PrivateKey,
    node: Node,
    nonces: tuple[bytes, bytes],
    role: str = "dialer",
    dialer: PrivateKey = KEYS[1],
    shown: str = "node1",
) -> bytes:
    """What the dialer has to sign, said once more in other words than the code under test."""
    ends = [
        [dialer.public_key, tls.pem_fingerprint(credential(shown).certificate), nonces[0]],
        [node.public_key, tls.pem_fingerprint(node.shown.certificate), nonces[1]],
    ]
    return signer.sign(CHAIN.digest("hello", encode([role, *ends])))


async def test_a_true_hello_is_admitted(network: Network) -> None:
    node = await allowing(network)
    intruder = await network.intrude(node, credential("node1"))
    theirs = await hello(intruder, introduction(KEYS[1].public_key, NONCE))
    assert theirs.public_key == node.public_key
    signature = proof(KEYS[1], node, (NONCE, theirs.nonce))
    intruder.writer.write(frames.frame(frames.PROOF, signature))
    await until(lambda: node.transport.connected == (KEYS[1].public_key,))


async def test_nonces_are_fresh(network: Network) -> None:
    node = await allowing(network)
    seen = set()
    for _ in range(3):
        intruder = await network.intrude(node, credential("node1"))
        seen.add((await hello(intruder, introduction(KEYS[1].public_key))).nonce)
        intruder.writer.transport.abort()
    assert len(seen) == 3


async def test_replayed_hello(network: Network) -> None:
    node = await allowing(network)
    first = await network.intrude(node, credential("node1"))
    theirs = await hello(first, introduction(KEYS[1].public_key, NONCE))
    recorded = proof(KEYS[1], node, (NONCE, theirs.nonce))
    second = await network.intrude(node, credential("node1"))
    await hello(second, introduction(KEYS[1].public_key, NONCE))
    second.writer.write(frames.frame(frames.PROOF, recorded))
    await refused(node, second, "BAD_PROOF")
    first.writer.write(frames.frame(frames.PROOF, recorded))  # where it belongs, it is good
    await until(lambda: node.transport.connected)


@pytest.mark.parametrize(
    ("signer", "role", "dialer", "shown"),
    [
        (STRANGER, "dialer", KEYS[1], "node1"),  # certificate and its key stolen, ledger key not
        (KEYS[1], "listener", KEYS[1], "node1"),  # the other role
        (KEYS[1], "dialer", KEYS[2], "node1"),  # meant for another ledger key
        (KEYS[1], "dialer", KEYS[1], "node2"),  # relayed from a connection of another certificate
    ],
)
async def test_proof_of_something_else(
    network: Network, signer: PrivateKey, role: str, dialer: PrivateKey, shown: str
) -> None:
    node = await allowing(network)
    intruder = await network.intrude(node, credential("node1"))
    theirs = await hello(intruder, introduction(KEYS[1].public_key, NONCE))
    signature = proof(signer, node, (NONCE, theirs.nonce), role, dialer, shown)
    intruder.writer.write(frames.frame(frames.PROOF, signature))
    await refused(node, intruder, "BAD_PROOF")


async def test_reflected_proof(network: Network) -> None:
    node = await allowing(network)
    intruder = await network.intrude(node, credential("node1"))
    await hello(intruder, introduction(KEYS[1].public_key, NONCE))
    _, theirs = await frames.read_frame(intruder.reader, frames.HANDSHAKE_LIMITS)
    intruder.writer.write(frames.frame(frames.PROOF, theirs))
    await refused(node, intruder, "BAD_PROOF")


@pytest.mark.parametrize(
    ("ours", "shown", "code"),
    [
        (introduction(STRANGER.public_key), "node1", "STRANGER"),
        (introduction(KEYS[0].public_key), "node0", "STRANGER"),  # the node itself
        (introduction(KEYS[1].public_key), "other", "WRONG_CERTIFICATE"),  # same authority
        (introduction(KEYS[1].public_key, chain=OTHER_GENESIS), "node1", "WRONG_NETWORK"),
        (introduction(KEYS[1].public_key, chain=OTHER_NAME), "node1", "WRONG_NETWORK"),
        (Introduction(2, CHAIN.network, KEYS[1].public_key, NONCE), "node1", "WRONG_VERSION"),
    ],
)
async def test_wrong_introductions(
    network: Network, ours: Introduction, shown: str, code: str
) -> None:
    node = await allowing(network)
    intruder = await network.intrude(node, credential(shown))
    intruder.writer.write(frames.frame(frames.INTRODUCTION, encode(ours)))
    await refused(node, intruder, code)


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frames.frame(frames.INTRODUCTION, b"\xc1"), "BAD_HELLO"),
        (frames.frame(frames.PROOF, bytes(64)), "BAD_HELLO"),
        (frames.frame(frames.INTRODUCTION, bytes(129)), "TOO_LARGE"),
        (b"\xff\xff\xff\xff\x10", "BAD_FRAME"),
        (b"GET / HTTP/1.1\r\n\r\n", "BAD_FRAME"),
    ],
)
async def test_garbage_inside_tls(network: Network, sent: bytes, code: str) -> None:
    node = await allowing(network)
    intruder = await network.intrude(node, credential("node1"))
    intruder.writer.write(sent)
    await refused(node, intruder, code)


async def test_certificate_of_a_foreign_authority(network: Network) -> None:
    node = await allowing(network)
    intruder = await network.intrude(node, credential("node1", "foreign"))
    await refused(node, intruder, "TLS")


async def test_no_certificate(network: Network) -> None:
    node = await allowing(network)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    intruder = Intruder(*await dial(LOOPBACK, node.transport.port, context, 2.0))
    await refused(node, intruder, "TLS")


async def test_tls_1_2(network: Network, tmp_path: Path) -> None:
    node = await allowing(network)
    context = tls.client_context(tls_files(tmp_path / "old", credential("node1")))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(OSError):  # noqa: PT011 (SSLError or a reset, as the loop likes)
        await dial(LOOPBACK, node.transport.port, context, 2.0)
    await until(lambda: node.transport.refused_guests)
    assert dict(node.transport.refused_guests) == {"TLS": 1}


def test_a_stolen_certificate_without_its_key_does_not_even_load(tmp_path: Path) -> None:
    stolen = tls.Credential(credential("node1").certificate, credential("other").key)
    with pytest.raises(Misconfigured, match="BAD_TLS_FILES"):
        tls.client_context(tls_files(tmp_path, stolen))


async def test_the_dialer_checks_as_much(network: Network) -> None:
    """An impostor with a certificate of our authority sits at the address of a peer."""
    node = await network.node(0, limits=PATIENT)
    impostor = await network.node(2, shown=credential("other"), limits=PATIENT)
    impostor.transport.set_peers({node.public_key: node.address})
    for key, shown, code in [
        (KEYS[2].public_key, credential("node2"), "WRONG_CERTIFICATE"),
        (KEYS[1].public_key, credential("other"), "STRANGER"),
    ]:
        node.transport.set_peers({key: address_of(shown, impostor.transport.port)})
        await until(lambda: node.transport.stats()[0].last_ending is not None)
        assert node.transport.stats()[0].last_ending == code
    assert node.recorder.events == []


async def test_dialing_another_genesis_or_authority(network: Network) -> None:
    node = await network.node(0)
    other = await network.node(1, chain=OTHER_GENESIS)
    introduce(node, other)
    await until(lambda: node.about(other).last_ending == "WRONG_NETWORK")
    foreign = await network.node(2, shown=credential("node2", "foreign"))
    introduce(node, foreign)
    await until(lambda: node.about(foreign).last_ending == "WRONG_AUTHORITY")
    assert node.recorder.events == other.recorder.events == foreign.recorder.events == []


async def test_pretenders_do_not_harm_the_peer_they_name(network: Network) -> None:
    node = await allowing(network)
    for _ in range(3):
        intruder = await network.intrude(node, credential("node1"))
        await hello(intruder, introduction(KEYS[1].public_key))
        intruder.writer.write(frames.frame(frames.PROOF, bytes(64)))
        assert await intruder.is_cut_off()
    true = await network.node(1)
    true.transport.set_peers({node.public_key: node.address})
    await all_connected(node, true)
