"""redis-py over RESP2 and RESP3, plain and asynchronous."""

import asyncio
import os
import threading

import pytest
import redis as redis_py
import redis.asyncio as redis_async


@pytest.fixture(params=[2, 3], ids=["RESP2", "RESP3"])
def client(request, redis):
    # `redis` emptied the database.
    with redis_py.Redis.from_url(os.environ["RESP_URL"], protocol=request.param, decode_responses=True) as client:
        yield client


def test_types(client):
    assert client.set("k", "v", ex=100) is True
    assert client.get("k") == "v"
    assert client.hset("h", mapping={"a": 1, "b": 2}) == 2
    assert client.hgetall("h") == {"a": "1", "b": "2"}
    assert client.hexpire("h", 100, "a") == [1]
    assert client.rpush("l", 1, 2, 3) == 3
    assert client.lrange("l", 0, -1) == ["1", "2", "3"]
    assert client.sadd("s", "x", "y") == 2
    assert client.smembers("s") == {"x", "y"}
    assert client.zadd("z", {"one": 1, "two": 2.5}) == 2
    assert client.zrange("z", 0, -1, withscores=True)[1][1] == 2.5
    assert client.geoadd("g", (13.361389, 38.115556, "Palermo")) == 1
    assert client.pfadd("pf", "a", "b") == 1
    assert client.setbit("bits", 7, 1) == 0
    assert client.bitcount("bits") == 1
    assert client.json().set("doc", "$", {"n": 1, "list": [1, 2]})
    assert client.json().numincrby("doc", "$.n", 2) == [3]
    assert client.json().get("doc", "$.list[1]") == [2]
    entry = client.xadd("stream", {"field": "value"})
    assert client.xrange("stream")[0] == (entry, {"field": "value"})
    assert sorted(client.scan_iter(count=2)) == ["bits", "doc", "g", "h", "k", "l", "pf", "s", "stream", "z"]
    with pytest.raises(redis_py.ResponseError, match="WRONGTYPE"):
        client.incr("l")


def test_optimistic_transactions_lose_no_update(client):
    client.set("n", 0)

    def add_one(pipe):
        value = int(pipe.get("n"))
        pipe.multi()
        pipe.set("n", value + 1)

    def work():
        with redis_py.Redis.from_url(os.environ["RESP_URL"], decode_responses=True) as other:
            for _ in range(25):
                other.transaction(add_one, "n")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.get("n") == "100"


def test_locks(client):
    lock = client.lock("lock", timeout=10)
    assert lock.acquire(blocking=False)
    assert not client.lock("lock", timeout=10).acquire(blocking=False)
    assert lock.extend(5)
    lock.release()
    with client.lock("lock", timeout=10, blocking_timeout=1):
        assert client.exists("lock") == 1
    assert client.exists("lock") == 0


def test_scripts_and_messages(client):
    script = client.register_script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
    assert script(keys=["n"], args=[5]) == 5
    client.script_flush()
    assert script(keys=["n"], args=[5]) == 10
    subscriber = client.pubsub()
    subscriber.subscribe("news")
    assert subscriber.get_message(timeout=2)["type"] == "subscribe"
    assert client.publish("news", "hello") == 1
    assert subscriber.get_message(timeout=2)["data"] == "hello"
    subscriber.close()


def test_asynchronous(redis):
    async def run():
        async with redis_async.Redis.from_url(os.environ["RESP_URL"], decode_responses=True) as client:
            waiting = asyncio.create_task(client.blpop("jobs", timeout=5))
            await asyncio.sleep(0.05)
            await client.rpush("jobs", "one")
            assert list(await waiting) == ["jobs", "one"]
            async with client.pipeline(transaction=True) as pipe:
                assert await pipe.set("k", 1).incr("k").execute() == [True, 2]

    asyncio.run(run())
