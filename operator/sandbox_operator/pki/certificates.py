"""The operator's certificate authority and what it signs. Does no I/O. Docs: docs/pod-contract.md, section TLS."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sandbox_operator.errors import SettingsError

if TYPE_CHECKING:
    from datetime import datetime

OPERATOR_NAME: Final = "sandbox-operator"
"""Common name of the client certificate that agents accept on their control port."""
_CA_LIFETIME: Final = timedelta(days=3650)
# A session lives 30 days at most, in a pod that waited in a pool for a day or somewhat more: this outlives it.
LIFETIME: Final = timedelta(days=35)
"""Of what is signed, and so of what any running pod was given."""
CLOCK_SKEW: Final = timedelta(minutes=15)
"""By which certificates begin early."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its key, PEM."""

    certificate: bytes
    key: bytes = field(repr=False)


class Authority:
    """A CA: signs servers' certificates, and the operator's own.

    Attributes:
        pem: The certificates to trust: its own, then those of the CAs before and after it.
    """

    def __init__(self, pair: KeyPair, others: bytes = b"") -> None:
        self.become(pair, others)

    def become(self, pair: KeyPair, others: bytes = b"") -> None:
        """Sign with another key from now on, or trust others.

        Raises:
            SettingsError: These are not a CA's certificate and key.
            ValueError: As before.
        """
        key = serialization.load_pem_private_key(pair.key, password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise SettingsError("the CA's key has to be an elliptic curve key")
        certificate = x509.load_pem_x509_certificate(pair.certificate)
        if certificate.public_key() != key.public_key():
            raise SettingsError("the CA's key does not belong to its certificate")
        self._certificate, self._key = certificate, key
        self.pem = pair.certificate + others

    def sign_server(self, dns_name: str, now: datetime) -> KeyPair:
        """A server certificate for one DNS name."""
        extension = x509.SubjectAlternativeName([x509.DNSName(dns_name)])
        # A common name has at most 64 characters, and nobody looks at a server's.
        return self._sign("sandbox-agent", ExtendedKeyUsageOID.SERVER_AUTH, extension, now)

    def sign_operator(self, now: datetime) -> KeyPair:
        """The client certificate that agents accept on their control port."""
        return self._sign(OPERATOR_NAME, ExtendedKeyUsageOID.CLIENT_AUTH, None, now)

    def _sign(
        self, name: str, usage: x509.ObjectIdentifier, names: x509.SubjectAlternativeName | None, now: datetime
    ) -> KeyPair:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            _builder(name, self._certificate.subject, key.public_key(), now, LIFETIME)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(ca=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if names:
            builder = builder.add_extension(names, critical=False)
        return _pair(builder.sign(self._key, hashes.SHA256()), key)


def create_authority(now: datetime) -> KeyPair:
    """A new self-signed CA."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sandbox-operator CA")])
    builder = (
        _builder("sandbox-operator CA", subject, key.public_key(), now, _CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(ca=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return _pair(builder.sign(key, hashes.SHA256()), key)


def _builder(
    name: str, issuer: x509.Name, public: ec.EllipticCurvePublicKey, now: datetime, lifetime: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + lifetime)
    )


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> KeyPair:
    return KeyPair(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )
