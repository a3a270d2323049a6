"""Connections over TLS, verified: the right certificate is taken, every other refused, and never tried again.

The embedded server is built without TLS; a thread in front of it speaks it in its stead, with certificates of
the test's own. What it serves is what DSQL serves: PostgreSQL's request for TLS, then TLS.
"""

import contextlib
import datetime as dt
import re
import socket
import ssl
import struct
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import certifi
import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from handlers.edge.log import describe
from sql import connection
from sql.connection import CONNECT_S, Database, trusted_certificates
from sql.errors import Barrier, LoginRefusedError
from sql.transaction import Transaction, run
from tools.bundle import files_of, modules_of
from tools.template import functions

_TLS_REQUEST = struct.pack("!II", 8, 80877103)
_PEM = serialization.Encoding.PEM


class Certificates(NamedTuple):
    """Files: the authority's certificate, and the certificate for `localhost` with its key."""

    authority: Path
    server: Path


def _issue(directory: Path, name: str) -> Certificates:
    """Make an authority, and have it sign a certificate for localhost."""
    now = dt.datetime.now(dt.UTC)
    authority_key, server_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"authority {name}")])

    def certificate(subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        builder = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
        return builder.not_valid_before(now - dt.timedelta(hours=1)).not_valid_after(
            now + dt.timedelta(hours=1)
        )

    signed = certificate(issuer, authority_key).add_extension(
        x509.BasicConstraints(True, None), critical=True
    )
    authority = directory / f"{name}.pem"
    authority.write_bytes(signed.sign(authority_key, hashes.SHA256()).public_bytes(_PEM))

    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    signed = certificate(subject, server_key).add_extension(
        x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False
    )
    server = directory / f"{name}-server.pem"
    server.write_bytes(
        signed.sign(authority_key, hashes.SHA256()).public_bytes(_PEM)
        + server_key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return Certificates(authority, server)


class TlsFront:
    """Speaks TLS in front of a server that has none, or says that there is none; counts who came."""

    def __init__(self, target: int, certificate: Path, speaks: bool = True) -> None:
        self.visitors = 0
        self._target = target
        self._speaks = speaks
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)

    def __enter__(self) -> "TlsFront":
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.visitors += 1
            self._threads.append(threading.Thread(target=self._serve, args=(client,), daemon=True))
            self._threads[-1].start()

    def _serve(self, client: socket.socket) -> None:
        # What refuses our certificate ends the handshake with an error, which is its right.
        with contextlib.suppress(OSError), client:
            while client.recv(8) != _TLS_REQUEST:
                client.sendall(b"N")
            client.sendall(b"S" if self._speaks else b"N")
            if not self._speaks:
                return
            with (
                self._context.wrap_socket(client, server_side=True) as secure,
                socket.create_connection(("127.0.0.1", self._target)) as server,
            ):
                back = threading.Thread(target=_pump, args=(server, secure), daemon=True)
                back.start()
                _pump(secure, server)
                back.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return _issue(tmp_path_factory.mktemp("certificates"), "right")


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Lambda does not set: it would tell libpq's OpenSSL where to look."""
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def trust(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Have a file stand where Amazon's authorities do."""

    def trusted(path: Path) -> None:
        monkeypatch.setattr(connection, "CERTIFICATES", path)

    return trusted


@pytest.fixture
def front(
    database: Callable[..., Database], certificates: Certificates
) -> Iterator[tuple[TlsFront, Callable[..., Database]]]:
    """The front, and ways through it."""
    with TlsFront(database("checkout").settings.port, certificates.server) as front:

        def way(host: str = "localhost") -> Database:
            return database("checkout", host=host, port=front.port, tls="verify-full")

        yield front, way


def test_a_server_with_a_trusted_certificate_is_connected_to(
    front: tuple[TlsFront, Callable[..., Database]], certificates: Certificates, trust: Callable[[Path], None]
) -> None:
    trust(certificates.authority)
    database = front[1]()
    assert database.connection().pgconn.ssl_in_use
    assert database.connection().execute("select 1").fetchone() == (1,)
    database.discard()


def test_what_the_environment_names_goes_first(
    front: tuple[TlsFront, Callable[..., Database]],
    certificates: Certificates,
    trust: Callable[[Path], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trust(_issue(tmp_path, "other").authority)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
    database = front[1]()
    assert database.connection().execute("select 1").fetchone() == (1,)
    database.discard()


@pytest.mark.parametrize("wrong", ["authority", "host name"])
def test_a_server_that_cannot_prove_who_it_is_is_refused_at_once(
    front: tuple[TlsFront, Callable[..., Database]],
    certificates: Certificates,
    trust: Callable[[Path], None],
    tmp_path: Path,
    wrong: str,
) -> None:
    trust(_issue(tmp_path, "other").authority if wrong == "authority" else certificates.authority)
    tls_front, way = front
    with pytest.raises(LoginRefusedError) as raised:
        run(way("localhost" if wrong == "authority" else "127.0.0.1"), _nothing)
    assert raised.value.barrier is Barrier.CERTIFICATE
    assert tls_front.visitors == 1, "it was not tried again"


def test_a_server_without_tls_is_refused(
    database: Callable[..., Database], certificates: Certificates, trust: Callable[[Path], None]
) -> None:
    trust(certificates.authority)
    with TlsFront(database("checkout").settings.port, certificates.server, speaks=False) as front:
        with pytest.raises(LoginRefusedError) as raised:
            run(database("checkout", port=front.port, tls="verify-full"), _nothing)
        assert raised.value.barrier is Barrier.CERTIFICATE
        assert front.visitors == 1


@pytest.mark.parametrize("named", [True, False])
def test_without_a_file_of_trusted_certificates_that_is_what_is_said(
    trust: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    trust(tmp_path / "missing")
    if named:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "also missing"))
    with pytest.raises(LoginRefusedError) as raised:
        trusted_certificates()
    assert raised.value.barrier is Barrier.NO_CERTIFICATES


def test_a_certificate_of_somebody_elses_authority_is_refused_whatever_this_machine_trusts(
    front: tuple[TlsFront, Callable[..., Database]],
) -> None:
    with pytest.raises(LoginRefusedError) as raised:
        run(front[1](), _nothing)
    assert raised.value.barrier is Barrier.CERTIFICATE


def test_what_is_trusted_are_amazons_authorities_and_travels_with_each_function_that_connects() -> None:
    ours = _by_name(Path(trusted_certificates()).read_text())
    mozillas = _by_name(Path(certifi.where()).read_text())
    assert ours
    assert ours == {name: mozillas[name] for name in ours}
    assert {name for name in ours if "Amazon" in name} == {
        f"Amazon Root CA {number}" for number in range(1, 5)
    }
    for function in functions():
        modules = modules_of(function)
        assert (connection.CERTIFICATES in files_of(modules)) == ("sql.connection" in modules), function


def _by_name(pems: str) -> dict[str, str]:
    found = re.findall(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", pems, re.DOTALL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some of Mozilla's have odd serial numbers
        read = ((pem, x509.load_pem_x509_certificate(pem.encode()).subject) for pem in found)
        return {
            str(name[0].value): pem
            for pem, subject in read
            if (name := subject.get_attributes_for_oid(NameOID.COMMON_NAME))
        }


def _nothing(_: Transaction) -> None:
    """Do nothing: connecting is what is tried."""


# --- Logins ----------------------------------------------------------------------------------------------


def test_a_login_that_is_refused_is_not_tried_again_and_says_nothing_of_who_asked(
    database: Callable[..., Database],
) -> None:
    nobody = database("nobody_by_this_name")
    with pytest.raises(LoginRefusedError) as raised:
        run(nobody, _nothing, sleep=_never)
    assert raised.value.barrier is Barrier.LOGIN
    assert str(raised.value).startswith("no login (login): the role, its token or its rights are refused")
    assert "nobody_by_this_name" not in str(raised.value)
    assert describe(raised.value)[0]["code"] == "login", "what the log has of it"


def test_a_host_that_resolves_to_nothing_is_tried_again(database: Callable[..., Database]) -> None:
    lost = database("checkout", host="nowhere.invalid")
    with pytest.raises(psycopg.OperationalError) as raised:
        lost.connection()
    assert not isinstance(raised.value, LoginRefusedError)


def test_all_addresses_of_a_host_share_the_time_to_connect(
    database: Callable[..., Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    now, given = [0.0], list[tuple[str, int]]()

    def wait_in_vain(*, hostaddr: str, connect_timeout: int, **_: object) -> None:
        given.append((hostaddr, connect_timeout))
        now[0] += connect_timeout
        raise psycopg.errors.ConnectionTimeout("connection timeout expired")

    found = [(None, None, None, "", (f"192.0.2.{number}", 5432)) for number in (1, 1, 2, 3, 4)]
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: found)
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr(connection.Connection, "connect", wait_in_vain)
    with pytest.raises(psycopg.errors.ConnectionTimeout):
        database("checkout").connection()
    assert given == [("192.0.2.1", 2), ("192.0.2.2", 2), ("192.0.2.3", 2)]
    assert now[0] <= CONNECT_S


def _never(_: float) -> None:
    raise AssertionError("it was tried again")
