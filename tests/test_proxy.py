"""The example of a reverse proxy is one that nginx takes, and it lets through what the API takes."""

from __future__ import annotations

import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from core.accounts import start_links
from core.settings import Settings
from tests.api.server import Service, chats, pictures, refused, serving
from tests.conftest import free_port, running, until

CONFIGURATION = (Path(__file__).parent.parent / "deploy/nginx.conf").read_text()
NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
KINDS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")  # of temporary files
needs_nginx = pytest.mark.skipif(NGINX is None or shutil.which("openssl") is None, reason="nginx is not installed")


@dataclass(frozen=True)
class Proxy:
    """A running nginx: its TLS port and the service behind it."""

    port: int
    service: Service

    def http(self) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.service.key()}", "Host": "albatross.example.com"}
        return httpx.Client(base_url=f"https://127.0.0.1:{self.port}", headers=headers, timeout=30, verify=False)

    def connect(self) -> ssl.SSLSocket:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        return context.wrap_socket(raw, server_hostname="albatross.example.com")


def adapted(folder: Path, upstream: int, port: int) -> str:
    """The example with paths and ports of a test, a short header timeout, and nothing else changed."""
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "1",
            "-subj",
            "/CN=albatross.example.com",
            "-keyout",
            folder / "privkey.pem",
            "-out",
            folder / "fullchain.pem",
        ],
        check=True,
        capture_output=True,
    )
    changes = {
        r"/etc/nginx/albatross/": f"{folder}/",
        r"/run/nginx\.pid": f"{folder}/nginx.pid",
        r"/var/log/nginx/": f"{folder}/",
        r"listen 80 ": f"listen 127.0.0.1:{free_port()} ",
        r"listen 443 ": f"listen 127.0.0.1:{port} ",
        r"127\.0\.0\.1:8000": f"127.0.0.1:{upstream}",
        r"client_header_timeout 10s": "client_header_timeout 1s",
    }
    text = CONFIGURATION
    for pattern, replacement in changes.items():
        text, count = re.subn(pattern, replacement, text)
        assert count, f"{pattern} is not in the example any more"
    places = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in KINDS)
    return text.replace("http {", f"http {{\n{places}", 1)


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    folder = tmp_path_factory.mktemp("nginx")
    folder.chmod(0o755)
    with serving(Settings(data=folder / "data", max_file_bytes=5_000_000)) as service:
        file, port = folder / "nginx.conf", free_port()
        file.write_text(adapted(folder, int(service.address.rpartition(":")[2]), port))
        command = [NGINX, "-c", file, "-p", folder, "-e", folder / "error.log"]
        checked = subprocess.run([*command, "-t"], capture_output=True, text=True)
        assert checked.returncode == 0, checked.stderr
        assert "warn" not in checked.stderr, checked.stderr
        # as one process that is killed by its own number
        with running([*command, "-g", "daemon off; master_process off;"]):
            until(lambda: _listens(port))
            yield Proxy(port, service)


BARE = """
pid {folder}/bare.pid;
events {{}}
http {{
    access_log off;
    {places}
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass {address}; }}
    }}
}}
"""


@pytest.fixture
def bare(proxy: Proxy, tmp_path: Path) -> Iterator[str]:
    """The address of an nginx that was told nothing but where to pass requests on to."""
    tmp_path.chmod(0o755)
    port, file = free_port(), tmp_path / "bare.conf"
    places = "".join(f"{kind}_temp_path {tmp_path}/{kind};" for kind in KINDS)
    file.write_text(BARE.format(folder=tmp_path, places=places, port=port, address=proxy.service.address))
    command = [NGINX, "-c", file, "-p", tmp_path, "-e", tmp_path / "error.log"]
    with running([*command, "-g", "daemon off; master_process off;"]):
        until(lambda: _listens(port))
        yield f"http://127.0.0.1:{port}"


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_the_example_takes_as_large_a_body_as_the_service() -> None:
    largest = re.search(r"location = /v1/files \{\s+client_max_body_size (\d+)m;", CONFIGURATION)
    assert largest is not None
    assert int(largest[1]) * 2**20 >= Settings().max_file_bytes + 100_000


@needs_nginx
def test_an_upload_and_its_content_pass_through(proxy: Proxy) -> None:
    with proxy.http() as http:
        answer = http.post("/v1/files", files={"file": ("cat.zip", pictures())}, data={"purpose": "fine-tune"})
        assert answer.status_code == 200, answer.text
        assert answer.headers["strict-transport-security"]
        assert len(http.get(f"/v1/files/{answer.json()['id']}/content").content) == answer.json()["bytes"]


@needs_nginx
def test_an_event_of_a_job_that_waits_comes_at_once(proxy: Proxy) -> None:
    with proxy.http() as http:
        file = http.post("/v1/files", files={"file": ("a.jsonl", chats())}, data={"purpose": "fine-tune"}).json()
        job = http.post("/v1/fine_tuning/jobs", json={"model": "tiny-texts", "training_file": file["id"]}).json()
        path, headers = f"/v1/fine_tuning/jobs/{job['id']}/events", {"Accept": "text/event-stream"}
        with http.stream("GET", path, headers=headers) as answer:  # which goes on until the job has ended
            assert "queued" in next(line for line in answer.iter_lines() if line.startswith("data:"))


@needs_nginx
def test_the_service_says_itself_what_is_too_large(proxy: Proxy) -> None:
    with proxy.http() as http:
        answer = http.post("/v1/files", files={"file": ("a", bytes(6_000_000))}, data={"purpose": "fine-tune"})
        assert answer.status_code == 413
        assert answer.json()["error"]["code"] == "too_large"


@needs_nginx
def test_another_host_is_not_answered(proxy: Proxy) -> None:
    with proxy.http() as http:
        assert http.get("/v1/models", headers={"Host": "evil.example.com"}).status_code == 421


@needs_nginx
def test_no_start_link_is_taken_through_a_proxy_that_says_nothing_of_those_it_asks_for(proxy: Proxy, bare: str) -> None:
    token = start_links.make(proxy.service.settings.data)
    for headers in ({}, {"Host": "localhost"}, {"Origin": bare}):
        refused(httpx.post(f"{bare}/start", json={"token": token}, headers=headers), 403, "start_link_refused")
    assert httpx.get(f"{bare}/v1/capabilities").json()["start_link"] is False
    with proxy.http() as http:
        refused(http.post("/start", json={"token": token}), 403, "start_link_refused")
    taken = httpx.post(f"{proxy.service.address}/start", json={"token": token})
    assert taken.status_code == 200


@needs_nginx
def test_half_a_header_is_not_waited_for(proxy: Proxy) -> None:
    with proxy.connect() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: albatross.exa")
        began = time.monotonic()
        with suppress(ConnectionResetError):
            assert connection.recv(1000) == b""
        assert time.monotonic() - began < 15
