"""Issues certificates for a local session: `python -m sandbox_agent.server.local_certificates FOLDER SERVER_NAME`.

Writes ca.crt, tls.crt and tls.key for the agent, and operator.crt and operator.key for the control port. The CA's key
is never stored, so nothing can be signed with it later. In a cluster the operator issues the certificates.

trustme would do this in a third of the lines, but a local session waits for this process. Importing trustme's IDNA
tables took 20 ms of 150. Its CA is valid until the year 3000, and its certificates are valid for servers and clients.
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

AUTHORITY_NAME: Final = "sandbox local authority"
OPERATOR_NAME: Final = "sandbox-operator"
LIFETIME: Final = dt.timedelta(days=30)
_CLOCK_SKEW: Final = dt.timedelta(minutes=10)

Key = ec.EllipticCurvePrivateKey


def issue_local_certificates(folder: Path, server_name: str) -> None:
    """Write all five files.

    Args:
        folder: Folder of the files. It is created with mode 0700 if it does not exist.
        server_name: DNS name in the agent's certificate.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    authority_key = ec.generate_private_key(ec.SECP256R1())
    _write(folder / "ca.crt", _pem(_issue(AUTHORITY_NAME, authority_key, authority_key, None)))
    usages = {
        "tls": (server_name, ExtendedKeyUsageOID.SERVER_AUTH),
        "operator": (OPERATOR_NAME, ExtendedKeyUsageOID.CLIENT_AUTH),
    }
    for file_name, (name, usage) in usages.items():
        key = ec.generate_private_key(ec.SECP256R1())
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        _write(folder / f"{file_name}.key", private)
        _write(folder / f"{file_name}.crt", _pem(_issue(name, key, authority_key, usage)))


def _issue(name: str, key: Key, authority_key: Key, usage: x509.ObjectIdentifier | None) -> x509.Certificate:
    """Return a certificate for `key`: the CA's own if there is no usage."""
    is_authority = usage is None
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(AUTHORITY_NAME))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=0 if is_authority else None), critical=True)
        .add_extension(_key_usage(signs_certificates=is_authority), critical=True)
    )
    if usage is not None:
        authority_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
        builder = (
            builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .add_extension(authority_id, critical=False)
        )
    return builder.sign(authority_key, hashes.SHA256())


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
    # A common name has at most 64 characters. Clients check the subject alternative name.
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def main() -> None:
    """Run the module as a command."""
    parser = argparse.ArgumentParser(
        prog="python -m sandbox_agent.server.local_certificates",
        description="Issue certificates for a local session: ca.crt, and a .crt and .key for tls and operator.",
    )
    parser.add_argument("folder", type=Path, help="folder of the files")
    parser.add_argument("server_name", help="DNS name in the agent's certificate, such as localhost")
    arguments = parser.parse_args()
    issue_local_certificates(arguments.folder, arguments.server_name)


if __name__ == "__main__":
    main()
