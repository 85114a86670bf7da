"""The cluster's certificates, with elliptic curves (a millisecond each). They are reused while they are valid."""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from .spec import write_atomically

VALID_FOR = dt.timedelta(days=365)
RENEW_BEFORE = dt.timedelta(days=7)
# A clock that is set back a little after the start must not make the certificates invalid.
BACKDATED = dt.timedelta(hours=1)


@dataclass(frozen=True)
class Subject:
    """The subject of a certificate. Kubernetes reads the group from O and the user from CN."""

    file: str
    user: str
    group: str = ""
    names: tuple[str, ...] = ()


def issue_all(folder: Path, subjects: Sequence[Subject], now: dt.datetime) -> None:
    """Make what is missing or no longer fits; a new CA means new everything."""
    authority = _usable(folder, "ca", (), now)
    if authority is None:
        for stale in folder.glob("*.crt"):
            stale.unlink()
        authority = _issue_authority(folder, now)
    key = _load_key(folder / "ca.key")
    for subject in subjects:
        existing = _usable(folder, subject.file, subject.names, now)
        if existing is None or existing.subject != _name(subject):
            _issue(folder, subject, authority, key, now)
    if not (folder / "sa.pub").exists():
        _issue_service_account_key(folder)


def _usable(folder: Path, file: str, names: Sequence[str], now: dt.datetime) -> x509.Certificate | None:
    certificate_file = folder / f"{file}.crt"
    if not certificate_file.exists() or not (folder / f"{file}.key").exists():
        return None
    certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
    if certificate.not_valid_after_utc - RENEW_BEFORE < now or _names_of(certificate) != set(names):
        return None
    return certificate


def _names_of(certificate: x509.Certificate) -> set[str]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return set()
    return {str(name.value) for name in extension.value}


def _name(subject: Subject) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, subject.user)]
    if subject.group:
        parts.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, subject.group))
    return x509.Name(parts)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: dt.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + VALID_FOR)
    )


def _issue_authority(folder: Path, now: dt.datetime) -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(Subject("ca", "podtask development cluster"))
    certificate = (
        _builder(name, name, key, now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_signing_only(), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _store(folder, "ca", key, certificate)
    return certificate


def _issue(
    folder: Path,
    subject: Subject,
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
    now: dt.datetime,
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
    builder = _builder(_name(subject), authority.subject, key, now)
    if subject.names:
        usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
        builder = builder.add_extension(
            x509.SubjectAlternativeName([_general_name(n) for n in subject.names]), critical=False
        )
    authority_public_key = authority_key.public_key()
    certificate = (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_public_key), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    _store(folder, subject.file, key, certificate)


def _signing_only() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _issue_service_account_key(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    write_atomically(folder / "sa.key", _private_pem(key), mode=0o600)
    write_atomically(folder / "sa.pub", public.decode())


def _store(folder: Path, file: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
    # The key first: if the certificate exists, its key does too.
    (folder / f"{file}.crt").unlink(missing_ok=True)
    write_atomically(folder / f"{file}.key", _private_pem(key), mode=0o600)
    write_atomically(folder / f"{file}.crt", certificate.public_bytes(serialization.Encoding.PEM).decode())


def _private_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        message = f"{path} was not created here"
        raise TypeError(message)
    return key
