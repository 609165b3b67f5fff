"""Certificates for a server in a test."""

from __future__ import annotations

import datetime as dt
from typing import Any


def make_certificates(server_name: str) -> tuple[bytes, bytes, bytes]:
    """Create a CA, and a server certificate that it signs. They are valid for an hour.

    Returns:
        The CA's certificate, the server's certificate and the server's key, all as PEM.
    """
    from cryptography import x509  # noqa: PLC0415 - in the [agent] extra
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415 - same
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - same
    from cryptography.x509.oid import NameOID  # noqa: PLC0415 - same

    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    now = dt.datetime.now(dt.UTC)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())

    def builder(subject: str, public_key: Any) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(name("test CA"))
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(minutes=5))
            .not_valid_after(now + dt.timedelta(hours=1))
        )

    authority = x509.BasicConstraints(ca=True, path_length=None)
    ca = builder("test CA", ca_key.public_key()).add_extension(authority, critical=True).sign(ca_key, hashes.SHA256())
    names = x509.SubjectAlternativeName([x509.DNSName(server_name)])
    leaf = builder(server_name, key.public_key()).add_extension(names, critical=False).sign(ca_key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return ca.public_bytes(pem), leaf.public_bytes(pem), private
