"""Whatever a server does, the file is complete under its final name or not there at all."""

import hashlib
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from disvae.data import download

BODY = bytes(range(256)) * 2048  # 512 KiB
SHA256 = f"sha256:{hashlib.sha256(BODY).hexdigest()}"


class Server(ThreadingHTTPServer):
    """Gives BODY, but the first answers follow `script`: a status, an address to redirect to, or
    the share of the body after which to stop.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[int | float | str] = []
        self.body = BODY
        self.ranges = True
        self.hang = False
        self.announced: str | None = ""  # the Content-Length, "" for the true one, None for no such header
        self.asked: list[str | None] = []  # the Range of each request
        self.url = f"http://127.0.0.1:{self.server_port}/file"

    def handle_error(self, *args: object) -> None:
        """A client that was killed is no news."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers["Range"]
        self.server.asked.append(asked)
        act = self.server.script.pop(0) if self.server.script else 1.0
        if isinstance(act, int):
            self.send_error(act)
            return
        if isinstance(act, str):
            self.send_response(302)
            self.send_header("Location", act)
            self.end_headers()
            return
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and self.server.ranges else 0
        body = self.server.body[start:]
        self.send_response(206 if start else 200)
        if self.server.announced is not None:
            self.send_header("Content-Length", self.server.announced or str(len(body)))
        self.end_headers()
        self.wfile.write(body[: int(act * len(body))])
        self.wfile.flush()
        if self.server.hang and act < 1:
            time.sleep(30)
        self.close_connection = True

    def log_message(self, *args: object) -> None:
        """Nothing on the terminal."""


@pytest.fixture
def server():
    server = Server()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def pauses(monkeypatch):
    """Seconds that fetch would have waited between tries."""
    waited: list[float] = []
    monkeypatch.setattr(download.time, "sleep", waited.append)
    return waited


def fetch(server: Server, path: Path, **changes: object) -> Path:
    arguments = {"size": len(BODY), "checksum": SHA256, "otherwise": "do this instead", **changes}
    return download.fetch([server.url], path, **arguments)


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_file_arrives_and_is_not_fetched_again(server, tmp_path):
    path = tmp_path / "new" / "file"
    assert fetch(server, path).read_bytes() == BODY
    fetch(server, path)
    assert server.asked == [None]
    assert left(path.parent) == ["file"]


def test_damaged_file_is_fetched_again(server, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(BODY[:-1] + b"?")
    assert fetch(server, path).read_bytes() == BODY


def test_cut_connection_goes_on_where_it_stopped(server, tmp_path):
    server.script = [0.25]
    assert fetch(server, tmp_path / "file").read_bytes() == BODY
    assert server.asked == [None, f"bytes={len(BODY) // 4}-"]
    assert left(tmp_path) == ["file"]


def test_server_without_ranges_starts_again(server, tmp_path):
    server.script, server.ranges = [0.25], False
    assert fetch(server, tmp_path / "file").read_bytes() == BODY


def test_busy_server_is_asked_again_after_growing_pauses(server, tmp_path, pauses):
    server.script = [503, 503]
    assert fetch(server, tmp_path / "file").read_bytes() == BODY
    assert pauses == [1, 2]


def test_after_three_more_tries_it_gives_up_and_says_what_to_do(server, tmp_path, pauses):
    server.script = [503] * 10
    with pytest.raises(
        ConnectionError, match=r"file could not be downloaded \(http.*503.*\): do this instead"
    ) as error:
        fetch(server, tmp_path / "file")
    assert "\n" not in str(error.value)
    assert pauses == [1, 2, 4]
    assert left(tmp_path) == []


def test_no_server_is_the_same_error(tmp_path):
    with pytest.raises(ConnectionError, match=r"refused.*do this instead"):
        download.fetch(
            ["http://127.0.0.1:9/file"], tmp_path / "file", size=1, checksum=SHA256, otherwise="do this instead"
        )


def test_wrong_content_never_gets_the_final_name(server, tmp_path):
    server.body = BODY[:-1] + b"?"
    with pytest.raises(ConnectionError, match=f"expected {SHA256}, got sha256:"):
        fetch(server, tmp_path / "file")
    assert left(tmp_path) == []


def test_link_planted_as_the_part_is_replaced_and_its_target_kept(server, tmp_path):
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    (tmp_path / "file.part").symlink_to(victim)
    path = fetch(server, tmp_path / "file")
    assert (path.read_bytes(), victim.read_bytes()) == (BODY, b"mine")
    assert not path.is_symlink()
    assert left(tmp_path) == ["file", "victim"]


def test_link_planted_while_the_part_is_made_is_not_followed(server, tmp_path, monkeypatch):
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    monkeypatch.setattr(Path, "unlink", lambda path, **_: path.is_symlink() or path.symlink_to(victim))
    with pytest.raises(ConnectionError, match="File exists"):
        fetch(server, tmp_path / "file")
    assert victim.read_bytes() == b"mine"


def test_folder_in_the_place_of_the_part_is_one_line(server, tmp_path):
    (tmp_path / "file.part").mkdir()
    with pytest.raises(ConnectionError, match=r"could not be downloaded .*file\.part.*: do this instead"):
        fetch(server, tmp_path / "file")


@pytest.mark.parametrize("body", [b"<html>log in first</html>", BODY + b"more"])
def test_another_length_is_refused_before_it_is_written(server, tmp_path, body):
    server.body = body
    with pytest.raises(ConnectionError, match=f"expected {len(BODY):,} bytes, the server offers {len(body):,}"):
        fetch(server, tmp_path / "file")
    assert left(tmp_path) == []


def test_content_beyond_the_known_size_is_cut_off(server, tmp_path):
    server.body, server.announced = BODY + b"more", None
    assert fetch(server, tmp_path / "file").read_bytes() == BODY


def test_content_beyond_what_was_announced_is_cut_off(server, tmp_path):
    server.body, server.announced = BODY + b"more", str(len(BODY))
    assert fetch(server, tmp_path / "file").read_bytes() == BODY


def test_length_that_is_no_number_is_one_line(server, tmp_path):
    server.announced = "many"
    with pytest.raises(ConnectionError, match=r"invalid literal.*'many'\): do this instead"):
        fetch(server, tmp_path / "file")


@pytest.mark.parametrize("greeting", [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: ", b""])
def test_server_that_drips_is_given_up_in_its_content_and_in_its_header(tmp_path, monkeypatch, greeting):
    monkeypatch.setattr(download, "PATIENCE", 0.2)  # with a byte each 20 ms no socket ever times out
    monkeypatch.setattr(download, "TRIES", 2)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        drip = threading.Thread(target=drip_to_all, args=(listener, greeting), daemon=True)
        drip.start()
        start = time.monotonic()
        with pytest.raises(ConnectionError, match=r"gave less than 60,000 bytes in 0\.2 s\): do this instead"):
            download.fetch(
                [f"http://127.0.0.1:{listener.getsockname()[1]}/file"],
                tmp_path / "file",
                size=len(BODY),
                checksum=SHA256,
                otherwise="do this instead",
            )
        assert time.monotonic() - start < 5
    assert left(tmp_path) == []


def drip_to_all(listener: socket.socket, greeting: bytes) -> None:
    """Greet each caller, then send a byte every 20 ms for as long as the listener is open."""
    callers: list[socket.socket] = []
    listener.settimeout(0.02)
    while listener.fileno() >= 0:
        with suppress(OSError):
            callers.append(listener.accept()[0])
            callers[-1].sendall(greeting)
        for caller in callers:
            with suppress(OSError):
                caller.send(b"x")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with openssl")
def test_redirect_from_https_to_http_is_refused(server, tmp_path, monkeypatch):
    options = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    both = ["-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "certificate")]
    subprocess.run(["openssl", *options.split(), *both], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate", tmp_path / "key")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate"))
    secure = Server()
    secure.socket = context.wrap_socket(secure.socket, server_side=True)
    secure.url = secure.url.replace("http:", "https:")
    threading.Thread(target=secure.serve_forever, args=(0.01,), daemon=True).start()
    assert fetch(secure, tmp_path / "good").read_bytes() == BODY
    secure.script = [server.url] * download.TRIES
    with pytest.raises(ConnectionError, match=f"redirects from https to {server.url}"):
        fetch(secure, tmp_path / "file")
    secure.shutdown()
    secure.server_close()
    assert server.asked == []
    server.script = [f"{server.url}2"]
    assert fetch(server, tmp_path / "file").read_bytes() == BODY, "from http to http it is followed"


def test_mirror_is_asked_when_the_first_server_fails(server, tmp_path):
    urls = ["http://127.0.0.1:9/file", server.url]
    path = download.fetch(urls, tmp_path / "file", size=len(BODY), checksum=SHA256, otherwise="")
    assert path.read_bytes() == BODY


def command(server: Server, path: Path) -> list[str]:
    code = (
        "import sys; from pathlib import Path; from disvae.data.download import fetch; "
        f"fetch([sys.argv[1]], Path(sys.argv[2]), size={len(BODY)}, checksum={SHA256!r}, otherwise='')"
    )
    return [sys.executable, "-c", code, server.url, str(path)]


def test_eight_processes_download_once(server, tmp_path):
    workers = [subprocess.Popen(command(server, tmp_path / "file")) for _ in range(8)]
    assert [worker.wait(timeout=60) for worker in workers] == [0] * 8
    assert server.asked == [None]
    assert left(tmp_path) == ["file"]


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX")
def test_part_of_a_killed_download_is_swept_by_the_next(server, tmp_path):
    server.script, server.hang = [0.5], True
    part = tmp_path / "file.part"
    worker = subprocess.Popen(command(server, tmp_path / "file"))
    deadline = time.monotonic() + 30
    while not (part.exists() and server.asked) and time.monotonic() < deadline:
        threading.Event().wait(0.01)  # time.sleep is recorded, not slept, in these tests
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    assert left(tmp_path) == ["file.part"]
    assert fetch(server, tmp_path / "file").read_bytes() == BODY
    assert server.asked == [None, None]
    assert left(tmp_path) == ["file"]
