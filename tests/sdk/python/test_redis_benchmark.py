"""redis-benchmark, unmodified: every test of its own, and commands of each type, briefly; what is left is looked at.

It is no measurement. It says in CSV how fast each test was, so a test that is missing there has failed, and it stops at
an error of the server. Clients are many and pipelines deep, so that replies out of order would show.
"""

import csv
import os
import shutil
import subprocess
from urllib.parse import urlsplit

import pytest
import redis as redis_py

BENCHMARK = shutil.which("redis-benchmark")
pytestmark = pytest.mark.skipif(BENCHMARK is None, reason="redis-benchmark is not installed (Debian: redis-tools)")

REQUESTS, CLIENTS = 2_000, 20
OWN = ["PING_INLINE", "PING_MBULK", "SET", "GET", "INCR", "LPUSH", "RPUSH", "LPOP", "RPOP", "SADD", "HSET", "SPOP", "ZADD", "ZPOPMIN"]
OWN += ["LPUSH (needed to benchmark LRANGE)"]
OWN += [f"LRANGE_{count} (first {count} elements)" for count in (100, 300, 500, 600)]
OWN += ["MSET (10 keys)"]


@pytest.fixture
def client(redis):
    # `redis` emptied the database.
    with redis_py.Redis.from_url(os.environ["RESP_URL"], decode_responses=True) as client:
        yield client


def benchmark(*words, pipeline=1):
    """Runs it; the names of the tests that it has figures for."""
    port = str(urlsplit(os.environ["RESP_URL"]).port)
    command = [BENCHMARK, "-p", port, "-a", urlsplit(os.environ["RESP_URL"]).password, "--csv"]
    command += ["-n", str(REQUESTS), "-c", str(CLIENTS), "-P", str(pipeline), *words]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stdout + run.stderr
    noise = ("WARNING: Could not fetch server CONFIG", "Warning: Using a password")
    errors = [line for line in run.stderr.splitlines() if line and not line.startswith(noise)]
    assert not errors and "rror" not in run.stdout, run.stdout + run.stderr
    rows = list(csv.reader(run.stdout.splitlines()))
    return [row[0] for row in rows if len(row) > 1 and row[0] != "test" and float(row[1]) > 0]


@pytest.mark.parametrize("pipeline", [1, 16])
def test_its_own_tests(client, pipeline):
    assert sorted(benchmark("-r", "1000", pipeline=pipeline)) == sorted(OWN)
    assert client.type("mylist") == "list" and client.llen("mylist") > 0
    # As many pushes as pops, and then those for LRANGE.
    assert client.llen("mylist") == REQUESTS
    assert sum(int(client.get(key)) for key in client.scan_iter("counter:*", count=1000)) == REQUESTS


EACH = {
    "string": ("append s:__rand_int__ x", lambda c: sum(len(c.get(k)) for k in c.keys("s:*")) == REQUESTS),
    "counter": ("incrbyfloat f 0.5", lambda c: float(c.get("f")) == REQUESTS / 2),
    "bitmap": ("setbit b:__rand_int__ 7 1", lambda c: all(c.bitcount(key) == 1 for key in c.keys("b:*"))),
    "bitfield": ("bitfield bf incrby u32 0 1", lambda c: c.bitfield("bf").get("u32", 0).execute() == [REQUESTS]),
    "hash": ("hincrby h f:__rand_int__ 1", lambda c: sum(map(int, c.hvals("h"))) == REQUESTS),
    "list": ("rpush l __rand_int__", lambda c: c.llen("l") == REQUESTS),
    "set": ("sadd e __rand_int__", lambda c: 0 < c.scard("e") <= 100),
    "sorted set": ("zincrby z 1 __rand_int__", lambda c: sum(s for _, s in c.zrange("z", 0, -1, withscores=True)) == REQUESTS),
    "stream": ("xadd x * field __rand_int__", lambda c: c.xlen("x") == REQUESTS),
    "geo": ("geoadd g 13.361389 38.115556 m:__rand_int__", lambda c: 0 < len(c.geosearch("g", longitude=13, latitude=38, radius=100, unit="km")) <= 100),
    "hyperloglog": ("pfadd p __rand_int__", lambda c: 0 < c.pfcount("p") <= 110),
    "json": ("json.numincrby d $.n 1", lambda c: c.json().get("d", "$.n") == [REQUESTS]),
    "script": ("eval return(redis.call('incr',KEYS[1])) 1 n", lambda c: int(c.get("n")) == REQUESTS),
    "publish": ("publish channel message", lambda c: c.dbsize() == 1),
    "expiry": ("set t:__rand_int__ v ex 100", lambda c: all(0 < c.ttl(key) <= 100 for key in c.keys("t:*"))),
}


@pytest.mark.parametrize("name", EACH)
def test_commands_of_each_type(client, name):
    client.json().set("d", "$", {"n": 0})
    command, holds = EACH[name]
    assert len(benchmark("-r", "100", *command.split(), pipeline=8)) == 1
    assert holds(client)
