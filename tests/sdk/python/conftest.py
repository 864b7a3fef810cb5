"""One real Dormouse process for the whole run; each test starts from an empty database.

DORMOUSE_BIN names the binary (default: target/release/dormouse of this repository). Ports are free ones, data is in
a temporary folder, and the environment holds the address as an application would have it.
"""

import os
import re
import subprocess
import time
from pathlib import Path

import httpx
import pytest
from upstash_redis import Redis

ROOT = Path(__file__).resolve().parents[3]
BINARY = Path(os.environ.get("DORMOUSE_BIN", ROOT / "target/release/dormouse")).resolve()
TOKEN, READ_ONLY_TOKEN = "python-tests-token", "python-tests-read-only-token"


def start(data: Path) -> tuple[subprocess.Popen, str, int]:
    """Starts the server and answers it with its URL and its RESP port, once it is healthy."""
    if not BINARY.exists():
        pytest.exit(f"no server at {BINARY}: build it (cargo build --release -p dormouse) or set DORMOUSE_BIN")
    log = data.parent / "server.log"
    command = [str(BINARY), "--data", str(data), "--http", "127.0.0.1:0", "--resp", "127.0.0.1:0"]
    environment = {**os.environ, "DORMOUSE_TOKEN": TOKEN, "DORMOUSE_READ_ONLY_TOKEN": READ_ONLY_TOKEN}
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and process.poll() is None:
        rest = re.search(r"REST\s+(http://\S+)", log.read_text())
        resp = re.search(r"RESP\s+\S+:(\d+)", log.read_text())
        if rest and resp and healthy(rest[1]):
            return process, rest[1], int(resp[1])
        time.sleep(0.01)
    process.kill()
    raise RuntimeError(f"the server did not start:\n{log.read_text()}")


def healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health").is_success
    except httpx.TransportError:
        return False


@pytest.fixture(scope="session", autouse=True)
def server(tmp_path_factory):
    process, url, port = start(tmp_path_factory.mktemp("dormouse") / "data")
    os.environ["RESP_URL"] = f"redis://:{TOKEN}@127.0.0.1:{port}"
    os.environ["UPSTASH_REDIS_REST_URL"] = url
    os.environ["UPSTASH_REDIS_REST_TOKEN"] = TOKEN
    yield url
    process.kill()
    process.wait()


@pytest.fixture
def redis(server):
    with Redis.from_env(rest_retries=0) as client:
        client.flushdb()
        yield client


@pytest.fixture
def reader(server):
    with Redis(url=server, token=READ_ONLY_TOKEN, rest_retries=0) as client:
        yield client
