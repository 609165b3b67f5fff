"""Client certificates of any name, signed by any authority or by one that nobody knows."""

import datetime as dt

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


def client_certificate(name: str, authority: tuple[bytes, bytes] | None) -> tuple[bytes, bytes]:
    """A private key and a certificate in PEM.

    Args:
        name: The common name.
        authority: Certificate and key of who signs, in PEM; None: an authority made up on the spot.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    if authority:
        signer = x509.load_pem_x509_certificate(authority[0])
        issuer, signing_key = signer.subject, serialization.load_pem_private_key(authority[1], None)
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    else:
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sandbox-operator-ca")])
        signing_key = ec.generate_private_key(ec.SECP256R1())
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(signing_key.public_key())
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(identifier, critical=False)
        .sign(signing_key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return secret, certificate.public_bytes(serialization.Encoding.PEM)
