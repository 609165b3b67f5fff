"""The operator's certificate authority and the certificates that it signs. Pure. Docs: docs/pod-contract.md, TLS."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from sandbox_operator.errors import SettingsError

if TYPE_CHECKING:
    from datetime import datetime

OPERATOR_NAME: Final = "sandbox-operator"
"""Common name of the client certificate that agents accept on their control port."""
_CA_NAME: Final = "sandbox-operator CA"
_CA_LIFETIME: Final = timedelta(days=3650)
LIFETIME: Final = timedelta(days=35)
"""Lifetime of server and client certificates. It outlives a pod, which waits in a pool for little more than a day and
then serves a session for at most 30 days."""
CLOCK_SKEW: Final = timedelta(minutes=15)
"""Certificates are valid from this long before they are made, for machines whose clocks are slow."""
_UNUSED: Final = dict.fromkeys(
    [
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "encipher_only",
        "decipher_only",
    ],
    False,
)


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its key, PEM."""

    certificate: bytes
    key: bytes = field(repr=False)


class Authority:
    """A CA that signs the agents' server certificates and the operator's client certificate.

    Attributes:
        pem: The certificates to trust: the CA's own, then those of the next and the former CA.
    """

    def __init__(self, pair: KeyPair, others: bytes = b"") -> None:
        self.replace(pair, others)

    def replace(self, pair: KeyPair, others: bytes = b"") -> None:
        """Sign with this key from now on, and trust these other CAs too.

        Raises:
            SettingsError: The pair is not a CA's certificate and key.
            ValueError: A part of the pair is not PEM.
        """
        key = serialization.load_pem_private_key(pair.key, password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise SettingsError("the CA's key must be an elliptic curve key")
        certificate = x509.load_pem_x509_certificate(pair.certificate)
        if certificate.public_key() != key.public_key():
            raise SettingsError("the CA's key does not belong to its certificate")
        self._certificate, self._key = certificate, key
        self.pem = pair.certificate + others

    def sign(self, message: bytes) -> str:
        """Return a signature of a message, in base64."""
        return base64.b64encode(self._key.sign(message, ec.ECDSA(hashes.SHA256()))).decode()

    def sign_server(self, dns_name: str, now: datetime) -> KeyPair:
        """Make a server certificate for one DNS name."""
        # A common name has at most 64 characters. Clients check the alternative name alone.
        names = x509.SubjectAlternativeName([x509.DNSName(dns_name)])
        return self._sign("sandbox-agent", ExtendedKeyUsageOID.SERVER_AUTH, now, names)

    def sign_operator(self, now: datetime) -> KeyPair:
        """Make the client certificate that agents accept on their control port."""
        return self._sign(OPERATOR_NAME, ExtendedKeyUsageOID.CLIENT_AUTH, now)

    def _sign(self, name: str, usage: x509.ObjectIdentifier, now: datetime, *extensions: x509.ExtensionType) -> KeyPair:
        key = ec.generate_private_key(ec.SECP256R1())
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = _builder(name, self._certificate.subject, key, now, now + LIFETIME, is_ca=False)
        for extension in (x509.ExtendedKeyUsage([usage]), issuer, *extensions):
            builder = builder.add_extension(extension, critical=False)
        return _pair(builder.sign(self._key, hashes.SHA256()), key)


def create_authority(now: datetime) -> KeyPair:
    """Make a new self-signed CA."""
    key = ec.generate_private_key(ec.SECP256R1())
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = _builder(_CA_NAME, _name(_CA_NAME), key, now, now + _CA_LIFETIME, is_ca=True)
    return _pair(builder.add_extension(identifier, critical=False).sign(key, hashes.SHA256()), key)


def _name(common_name: str) -> x509.Name:
    return x509.Name.from_rfc4514_string(f"CN={common_name}")


def _builder(
    name: str, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, end: datetime, *, is_ca: bool
) -> x509.CertificateBuilder:
    usage = x509.KeyUsage(digital_signature=True, key_cert_sign=is_ca, crl_sign=is_ca, **_UNUSED)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=0 if is_ca else None), critical=True)
        .add_extension(usage, critical=True)
    )


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> KeyPair:
    return KeyPair(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )
