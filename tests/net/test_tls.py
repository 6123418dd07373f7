"""Certificates and contexts, and the back-off of dialing."""

from __future__ import annotations

import dataclasses
import datetime
import ipaddress
import random
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.verification import PolicyBuilder, Store

from node.net import tls
from node.net.limits import NetLimits
from node.net.peers import Backoff
from node.protocol.errors import Misconfigured
from tests.net.support import NOW, authority, credential, tls_files


def load(credential: tls.Credential) -> x509.Certificate:
    return x509.load_pem_x509_certificate(credential.certificate)


def test_a_node_certificate_verifies_under_its_authority_alone() -> None:
    made = tls.make_node_certificate(authority("net"), "n", ("node1.example", "10.0.0.7"), NOW)
    for name, holds in (("net", True), ("foreign", False)):
        builder = PolicyBuilder().store(Store([load(authority(name))])).time(NOW)
        for subject in (
            x509.DNSName("node1.example"),
            x509.DNSName("localhost"),
            x509.IPAddress(ipaddress.ip_address("10.0.0.7")),
            x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        ):
            verifier = builder.build_server_verifier(subject)
            if holds:
                verifier.verify(load(made), [])
            else:
                with pytest.raises(x509.verification.VerificationError):
                    verifier.verify(load(made), [])


def test_keys_are_p_256_and_certificates_differ() -> None:
    keys = [load(c).public_key() for c in (authority("net"), credential("a"), credential("b"))]
    for key in keys:
        assert isinstance(key, ec.EllipticCurvePublicKey)
        assert isinstance(key.curve, ec.SECP256R1)
    assert len({tls.pem_fingerprint(credential(n).certificate) for n in ("a", "b", "c")}) == 3


def test_validity_starts_early_and_ends_no_later_than_the_authority() -> None:
    old = tls.make_authority("old", NOW - tls.AUTHORITY_VALID_FOR + datetime.timedelta(days=9))
    for issuer, days in ((old, 9), (authority("net"), tls.NODE_VALID_FOR.days)):
        made = tls.make_node_certificate(issuer, "n", (), NOW)
        assert load(made).not_valid_before_utc <= NOW - datetime.timedelta(hours=23)
        remaining = tls.expiry(made.certificate) - NOW
        assert datetime.timedelta(days=days - 1) < remaining <= datetime.timedelta(days=days)


def test_a_node_certificate_issues_no_others() -> None:
    made = credential("a")
    constraints = load(made).extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert constraints.value.ca is False
    usage = load(made).extensions.get_extension_for_class(x509.KeyUsage).value
    assert not usage.key_cert_sign


def test_the_fingerprint_is_that_of_the_der(tmp_path: Path) -> None:
    pem = credential("a").certificate
    der = ssl.PEM_cert_to_DER_cert(pem.decode())
    assert tls.pem_fingerprint(pem) == tls.fingerprint(der)
    with pytest.raises(Misconfigured, match="BAD_TLS_FILES"):
        tls.pem_fingerprint(b"no certificate")


def test_contexts_insist_on_tls_1_3_and_on_certificates(tmp_path: Path) -> None:
    files = tls_files(tmp_path, credential("a"))
    for context in (tls.server_context(files), tls.client_context(files)):
        assert context.minimum_version is ssl.TLSVersion.TLSv1_3
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert len(context.get_ca_certs()) == 1  # ours, not those of the system


@pytest.mark.parametrize("missing", ["tls.crt", "tls.key", "ca.crt"])
def test_missing_files_are_named(tmp_path: Path, missing: str) -> None:
    files = tls_files(tmp_path, credential("a"))
    (tmp_path / missing).unlink()
    with pytest.raises(Misconfigured, match=missing):
        tls.server_context(files)


def test_the_key_is_not_shown() -> None:
    assert "PRIVATE" not in repr(credential("a"))


LIMITS = NetLimits(redial_min_s=1, redial_max_s=60, fault_delay_s=100, fault_delay_max_s=1_000)


def test_redialing_backs_off_with_jitter_up_to_a_cap() -> None:
    backoff = Backoff(LIMITS, random.Random(1))
    assert backoff.remaining(0) == 0
    delays = []
    for attempt in range(10):
        backoff.failed(0)
        delays.append(backoff.remaining(0))
        assert min(60, 2**attempt) / 2 <= delays[-1] <= min(60, 2**attempt)
    assert len(set(delays)) == 10
    backoff.succeeded(0)
    assert backoff.remaining(0) <= 1
    backoff.failed(0)
    assert backoff.remaining(0) <= 1


def test_a_fault_waits_far_longer_and_closes_the_door() -> None:
    backoff = Backoff(LIMITS, random.Random(1))
    backoff.faulted(0)
    assert 50 <= backoff.remaining(0) == backoff.refused_until <= 100
    backoff.faulted(0)
    assert 100 <= backoff.remaining(0) <= 200
    for _ in range(2_000):
        backoff.faulted(0)
    assert backoff.remaining(0) <= 1_000


def test_an_impostor_at_the_address_does_not_close_the_door_to_the_peer() -> None:
    backoff = Backoff(LIMITS, random.Random(1))
    backoff.mistrusted(0)
    assert backoff.remaining(0) >= 50
    assert backoff.refused_until == 0


def test_the_same_chance_gives_the_same_delays() -> None:
    def delays(seed: int) -> list[float]:
        backoff = Backoff(dataclasses.replace(LIMITS), random.Random(seed))
        found = []
        for _ in range(5):
            backoff.failed(0)
            found.append(backoff.remaining(0))
        return found

    assert delays(1) == delays(1) != delays(2)
