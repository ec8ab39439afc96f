"""A lab listens where nobody else gets in, on a port that is free."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from d2lenv.base.errors import USAGE, D2lEnvError
from d2lenv.learn import address


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.0.1.5", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.4", False),
        ("login.example", False),
        ("", False),
    ],
)
def test_only_this_machine_is_loopback(host: str, expected: bool) -> None:
    assert address.is_loopback(host) is expected


def test_beyond_loopback_a_token_or_password_of_ones_own_is_asked_for(environ: dict[str, str]) -> None:
    with pytest.raises(D2lEnvError, match="no token or password") as caught:
        address.check_host("0.0.0.0", False, environ)
    assert caught.value.status == USAGE
    assert "--no-browser" in caught.value.fix
    address.check_host("0.0.0.0", False, environ | {"JUPYTER_TOKEN": "mine"})
    address.check_host("127.0.0.1", False, environ)


@pytest.mark.parametrize(
    "settings",
    [
        {"ServerApp": {"password": "argon2:…"}},
        {"IdentityProvider": {"hashed_password": "argon2:…"}},
        {"PasswordIdentityProvider": {"hashed_password": "argon2:…"}},
    ],
)
def test_a_password_of_jupyters_own_settings_counts(environ: dict[str, str], settings: object) -> None:
    file = Path(environ["HOME"]) / ".jupyter" / "jupyter_server_config.json"
    file.parent.mkdir()
    file.write_text(json.dumps(settings), encoding="utf-8")
    address.check_host("0.0.0.0", False, environ)
    file.write_text('{"ServerApp": {"password": ""}}', encoding="utf-8")
    with pytest.raises(D2lEnvError):
        address.check_host("0.0.0.0", False, environ)
    file.write_text("[broken", encoding="utf-8")
    with pytest.raises(D2lEnvError):
        address.check_host("0.0.0.0", False, environ)


def test_root_stays_on_this_machine_even_with_a_token(environ: dict[str, str]) -> None:
    with pytest.raises(D2lEnvError, match="as root"):
        address.check_host("0.0.0.0", True, environ | {"JUPYTER_TOKEN": "mine"})
    address.check_host("127.0.0.1", True, environ)


def test_a_second_lab_takes_the_next_port() -> None:
    first = address.free_port("127.0.0.1", None)
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Jupyter's server does
        taken.bind(("127.0.0.1", first))
        taken.listen()
        assert address.free_port("127.0.0.1", None) > first


def test_a_port_that_was_asked_for_and_is_taken_is_refused_with_its_holder() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(D2lEnvError, match=rf"port {port} is taken.*{os.getpid()}"):
            address.free_port("127.0.0.1", port)
    assert address.free_port("127.0.0.1", port) == port


def test_a_stale_port_is_free_again() -> None:
    """A server that has just gone leaves connections in TIME_WAIT; they do not hold the port."""
    with socket.socket() as server, socket.socket() as client:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Jupyter's server does
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        client.connect(("127.0.0.1", port))
        connection, _ = server.accept()
        connection.close()  # closed first on this side: the wait is here
    assert address.free_port("127.0.0.1", port) == port


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(D2lEnvError, match="not an address of this machine"):
        address.free_port("192.0.2.1", None)  # TEST-NET-1, RFC 5737: nobody's


def test_when_no_port_is_free_one_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address, "_can_bind", lambda host, port: False)
    with pytest.raises(D2lEnvError, match="8888 to 8987"):
        address.free_port("127.0.0.1", None)


def test_a_port_that_needs_rights_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(host: str, port: int) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(address, "_can_bind", refuse)
    with pytest.raises(D2lEnvError, match="Permission denied"):
        address.free_port("127.0.0.1", 80)


def test_the_ssh_line_names_the_address_by_which_the_reader_came(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address.getpass, "getuser", lambda: "ada")
    assert (
        address.ssh_line(8889, {"SSH_CONNECTION": "10.0.0.2 50000 10.0.0.7 22"})
        == "ssh -N -L 8889:127.0.0.1:8889 ada@10.0.0.7"
    )
    assert address.ssh_line(8889, {}) == f"ssh -N -L 8889:127.0.0.1:8889 ada@{socket.gethostname()}"

    def nameless() -> str:
        raise KeyError("uid 12345")

    monkeypatch.setattr(address.getpass, "getuser", nameless)
    assert "USER@" in address.ssh_line(8889, {})
