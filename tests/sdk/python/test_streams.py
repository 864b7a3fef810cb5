"""The helpers of upstash-redis for streams, each called at least once."""

import time

import pytest
from upstash_redis.errors import UpstashError


def fill(redis, key: str, count: int) -> None:
    for n in range(1, count + 1):
        redis.xadd(key, f"{n}-0", {"n": n})


def test_entries(redis):
    assert redis.xadd("s", "*", {"f": "v"}).endswith("-0")
    assert redis.xadd("missing", "*", {"f": "v"}, nomkstream=True) is None
    redis.delete("s")
    fill(redis, "s", 4)
    assert redis.xlen("s") == 4
    assert redis.xrange("s", count=2) == [["1-0", ["n", "1"]], ["2-0", ["n", "2"]]]
    assert [id for id, _ in redis.xrevrange("s", "(4-0", "2")] == ["3-0", "2-0"]
    assert redis.xread({"s": "3-0"}, count=5) == [["s", [["4-0", ["n", "4"]]]]]
    assert redis.xread({"s": "$"}) == []
    assert redis.xdel("s", "1-0", "9-0") == 1
    assert redis.xdelex("s", "2-0", "9-0", option="KEEPREF") == [1, -1]
    assert redis.xtrim("s", maxlen=1, approximate=False) == 1
    assert redis.xtrim("s", maxlen=1) == 0
    assert redis.xadd("s", "9-0", {"n": 9}, minid="9-0", approximate_trim=False) == "9-0"
    assert redis.xlen("s") == 1


def test_groups(redis):
    assert redis.xgroup_create("s", "g", mkstream=True) == "OK"
    with pytest.raises(UpstashError, match="BUSYGROUP"):
        redis.xgroup_create("s", "g")
    fill(redis, "s", 3)
    assert redis.xgroup_createconsumer("s", "g", "alice") == 1
    assert redis.xreadgroup("g", "alice", {"s": ">"}, count=2) == [["s", [["1-0", ["n", "1"]], ["2-0", ["n", "2"]]]]]
    assert redis.xreadgroup("g", "bob", {"s": ">"}, noack=True) == [["s", [["3-0", ["n", "3"]]]]]
    # Who asks becomes a consumer, but not with NOACK.
    assert [consumer[1] for consumer in redis.xinfo_consumers("s", "g")] == ["alice"]
    assert redis.xreadgroup("g", "bob", {"s": ">"}) == []
    assert [consumer[1] for consumer in redis.xinfo_consumers("s", "g")] == ["alice", "bob"]
    assert redis.xinfo_consumers("s", "missing") == []
    assert redis.xinfo_groups("s")[0][:6] == ["name", "g", "consumers", 2, "pending", 2]
    assert redis.xpending("s", "g") == [2, "1-0", "2-0", [["alice", "2"]]]
    assert redis.xack("s", "g", "1-0", "9-0") == 1
    time.sleep(0.02)
    assert redis.xclaim("s", "g", "bob", 10, "2-0", justid=True) == ["2-0"]
    assert redis.xautoclaim("s", "g", "carol", 0, "0") == ["0-0", [["2-0", ["n", "2"]]], []]
    [[id, consumer, _, _]] = redis.xpending("s", "g", "-", "+", 10)
    assert (id, consumer) == ("2-0", "carol")
    assert redis.xackdel("s", "g", "2-0") == [1]
    assert redis.xlen("s") == 2
    assert redis.xgroup_setid("s", "g", "0", entries_read=0) == "OK"
    assert redis.xgroup_delconsumer("s", "g", "alice") == 0
    assert redis.xgroup_destroy("s", "g") == 1
    assert redis.xgroup_destroy("s", "g") == 0
