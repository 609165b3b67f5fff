"""Certificates for a session without a cluster: `python -m sandbox_agent.server.local_certificates FOLDER SERVER_NAME`.

Writes ca.crt; tls.crt and tls.key (the agent's); operator.crt and operator.key (for the control port). The authority's
key is thrown away, so nobody can sign with it again. In a cluster the operator issues certificates instead.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

OPERATOR_NAME: Final = "sandbox-operator"
LIFETIME: Final = dt.timedelta(days=30)
_CLOCK_SKEW: Final = dt.timedelta(minutes=10)

Key = ec.EllipticCurvePrivateKey


def issue_local_certificates(folder: Path, server_name: str) -> None:
    """Write all five files.

    Args:
        folder: Where to; made with mode 0700 where it is not there.
        server_name: DNS name that the agent's certificate is for.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    authority_key, authority = _issue_authority()
    _write(folder / "ca.crt", _pem(authority))
    usages = {
        "tls": (server_name, ExtendedKeyUsageOID.SERVER_AUTH),
        "operator": (OPERATOR_NAME, ExtendedKeyUsageOID.CLIENT_AUTH),
    }
    for file_name, (name, usage) in usages.items():
        key, certificate = _issue_leaf(authority_key, authority, name, usage)
        _write(folder / f"{file_name}.key", _private_pem(key))
        _write(folder / f"{file_name}.crt", _pem(certificate))


def _issue_authority() -> tuple[Key, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("sandbox local authority")
    builder = (
        _builder(name, name, key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
    )
    return key, builder.sign(key, hashes.SHA256())


def _issue_leaf(
    authority_key: Key, authority: x509.Certificate, name: str, usage: x509.ObjectIdentifier
) -> tuple[Key, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    authority_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    builder = (
        _builder(_name(name), authority.subject, key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(authority_id, critical=False)
    )
    return key, builder.sign(authority_key, hashes.SHA256())


def _builder(subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    # At most 64 characters fit; the subject alternative name is what counts.
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _private_pem(key: Key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def main() -> None:
    """Entry point of the module."""
    parser = argparse.ArgumentParser(prog="python -m sandbox_agent.server.local_certificates", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the files go")
    parser.add_argument("server_name", help="DNS name in the agent's certificate, such as localhost")
    arguments = parser.parse_args()
    issue_local_certificates(arguments.folder, arguments.server_name)


if __name__ == "__main__":
    main()
