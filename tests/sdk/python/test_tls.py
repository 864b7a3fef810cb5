"""redis-py over rediss://, and REST over https with HTTP/1.1."""

import re
import subprocess
import time

import httpx
import pytest
import redis as redis_py

from conftest import BINARY, ROOT, TOKEN

CERT, KEY = ROOT / "tests/tls/one.pem", ROOT / "tests/tls/one.key"


@pytest.fixture(scope="module")
def doors(tmp_path_factory):
    """The addresses of a server that speaks TLS."""
    folder = tmp_path_factory.mktemp("tls")
    log = folder / "server.log"
    command = [BINARY, "--data", folder / "data", "--http", "127.0.0.1:0", "--resp", "127.0.0.1:0", "--token", TOKEN]
    with log.open("wb") as output:
        process = subprocess.Popen([*command, "--tls-cert", CERT, "--tls-key", KEY], stdout=output, stderr=output)
    deadline = time.monotonic() + 10
    found = None
    while not found and time.monotonic() < deadline and process.poll() is None:
        found = re.search(r"REST\s+https://\S+:(\d+)\s+RESP\s+\S+:(\d+) \(TLS\)", log.read_text())
        time.sleep(0.01)
    assert found, log.read_text()
    yield int(found[1]), int(found[2])
    process.kill()
    process.wait()


@pytest.mark.parametrize("protocol", [2, 3])
def test_redis_py(doors, protocol):
    url = f"rediss://:{TOKEN}@localhost:{doors[1]}"
    with redis_py.Redis.from_url(url, protocol=protocol, ssl_ca_certs=str(CERT), decode_responses=True) as client:
        value = "x" * (1 << 20)
        assert client.set("k", value)
        assert client.get("k") == value
        with client.pipeline() as pipeline:
            assert pipeline.set("n", 0).incr("n").incr("n").execute() == [True, 1, 2]
        assert client.blpop("nothing", timeout=0.05) is None


def test_rest(doors):
    with httpx.Client(base_url=f"https://localhost:{doors[0]}", verify=str(CERT)) as client:
        headers = {"authorization": f"Bearer {TOKEN}"}
        for _ in range(3):
            assert client.post("/", json=["ECHO", "hello"], headers=headers).json() == {"result": "hello"}
