"""TLS between nodes: 1.3 only, both sides show a certificate of the network's own authority.

Certificates authenticate sockets; they do not say who may speak. That is decided by the handshake,
which pins the certificate taken from the socket to a ledger key. Keys here are P-256 and serve TLS
alone; ledger keys live in `node.protocol.keys`.
"""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from node.protocol.errors import Misconfigured

AUTHORITY_VALID_FOR = datetime.timedelta(days=20 * 365)
NODE_VALID_FOR = datetime.timedelta(days=5 * 365)
CLOCK_SKEW_MAX = datetime.timedelta(days=1)
LOCAL_HOSTS = ("127.0.0.1", "localhost")
FINGERPRINT_BYTES = 32


@dataclass(frozen=True, slots=True)
class Credential:
    """A certificate and its unencrypted private key, both PEM; `repr` hides the key."""

    certificate: bytes
    key: bytes

    def __repr__(self) -> str:
        return f"Credential(fingerprint={pem_fingerprint(self.certificate).hex()})"


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Paths of a node's certificate, its key, and the authority's certificate, all PEM."""

    certificate: Path
    key: Path
    authority: Path

    @classmethod
    def in_folder(cls, folder: Path) -> TlsFiles:
        """The usual names in a node's folder: tls.crt, tls.key and ca.crt."""
        return cls(folder / "tls.crt", folder / "tls.key", folder / "ca.crt")


def make_authority(name: str, now: datetime.datetime) -> Credential:
    """A new certificate authority for one network; `now` is an aware time."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _subject(f"{name} certificate authority")
    builder = (
        _builder(subject, subject, key.public_key(), now, AUTHORITY_VALID_FOR)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
    )
    return Credential(_certificate_pem(builder, key), _key_pem(key))


def make_tls_key() -> bytes:
    """A new private key for one node, in PEM."""
    return _key_pem(ec.generate_private_key(ec.SECP256R1()))


def tls_public_key(key: bytes) -> bytes:
    """The public half of a private key in PEM, as a SubjectPublicKeyInfo in DER."""
    return _public_der(_private_key(key).public_key())


def restore_authority(certificate: bytes, scalar: bytes) -> Credential:
    """The authority again, from its certificate in PEM and its private key's 32 bytes."""
    key = ec.derive_private_key(int.from_bytes(scalar, "big"), ec.SECP256R1())
    return Credential(certificate, _key_pem(key))


def issue_certificate(
    authority: Credential,
    public_key: bytes,
    name: str,
    hosts: Sequence[str],
    now: datetime.datetime,
) -> bytes:
    """A node's certificate in PEM, valid for `hosts` and for its machine's loopback.

    Raises `Misconfigured` `BAD_TLS_KEY` unless `public_key` is a P-256 key in DER.
    """
    subject_key = _p256_key(public_key, name)
    issuer = _load(authority.certificate)
    issuer_key = _private_key(authority.key)
    names = [_general_name(host) for host in dict.fromkeys((*LOCAL_HOSTS, *hosts))]
    purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    valid_for = min(NODE_VALID_FOR, issuer.not_valid_after_utc - now)
    builder = (
        _builder(_subject(name), issuer.subject, subject_key, now, valid_for)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
    )
    return _certificate_pem(builder, issuer_key)


def make_node_certificate(
    authority: Credential, name: str, hosts: Sequence[str], now: datetime.datetime
) -> Credential:
    """A new key and its certificate."""
    key = make_tls_key()
    return Credential(issue_certificate(authority, tls_public_key(key), name, hosts, now), key)


def check_certificate(certificate: bytes, authority: bytes, key: bytes) -> None:
    """Raise `Misconfigured` `WRONG_CERTIFICATE` unless it is of this key, by this authority."""
    found, issuer = _load(certificate), _load(authority)
    try:
        found.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        raise Misconfigured(
            "WRONG_CERTIFICATE", "the certificate is not signed by the authority beside it"
        ) from None
    subject_key = found.public_key()
    if not isinstance(subject_key, ec.EllipticCurvePublicKey) or (
        _public_der(subject_key) != tls_public_key(key)
    ):
        raise Misconfigured("WRONG_CERTIFICATE", "the certificate is for another TLS key")


def server_context(files: TlsFiles) -> ssl.SSLContext:
    """For accepted sockets; raises `Misconfigured` `BAD_TLS_FILES`.

    Without session tickets every connection shows its certificate afresh.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER, files)
    context.num_tickets = 0
    return context


def client_context(files: TlsFiles) -> ssl.SSLContext:
    """For dialed sockets; raises `Misconfigured` `BAD_TLS_FILES`.

    Names are not compared, because the handshake accepts one exact certificate for each peer.
    """
    return _context(ssl.PROTOCOL_TLS_CLIENT, files)


def fingerprint(der: bytes) -> bytes:
    """sha256 of a certificate in DER, 32 bytes: what genesis pins to a ledger key."""
    return hashlib.sha256(der).digest()


def pem_fingerprint(pem: bytes) -> bytes:
    """The same for a certificate in PEM; raises `Misconfigured` `BAD_TLS_FILES`."""
    return fingerprint(_load(pem).public_bytes(serialization.Encoding.DER))


def expiry(pem: bytes) -> datetime.datetime:
    """The aware time after which the certificate is worthless."""
    return _load(pem).not_valid_after_utc


def _load(pem: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError:
        raise Misconfigured("BAD_TLS_FILES", "not a certificate in PEM") from None


def _private_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise Misconfigured("BAD_TLS_FILES", "not an unencrypted elliptic curve key in PEM")
    return key


def _p256_key(der: bytes, name: str) -> ec.EllipticCurvePublicKey:
    try:
        key = serialization.load_der_public_key(der)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise Misconfigured("BAD_TLS_KEY", f"the TLS key of {name} is no P-256 public key")
    return key


def _public_der(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _context(protocol: int, files: TlsFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_verify_locations(cafile=str(files.authority))
        context.load_cert_chain(str(files.certificate), str(files.key))
    except OSError as error:  # ssl.SSLError is one
        reason = error.strerror or "unreadable"
        raise Misconfigured(
            "BAD_TLS_FILES",
            f"{files.certificate}, {files.key} or {files.authority}: {reason}",
        ) from None
    return context


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    now: datetime.datetime,
    valid_for: datetime.timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW_MAX)
        .not_valid_after(now + valid_for)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _certificate_pem(builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey) -> bytes:
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
