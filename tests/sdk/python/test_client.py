"""What is the same for every command: scripts, batches, text, errors, tokens, the asynchronous client."""

import asyncio
import hashlib

import httpx
import pytest
from upstash_redis import Redis
from upstash_redis.asyncio import Redis as AsyncRedis
from upstash_redis.errors import UpstashError

from conftest import TOKEN


def test_scripts(redis):
    script = "redis.call('SET', KEYS[1], ARGV[1]); return {KEYS[1], redis.call('INCRBY', KEYS[1], 2), false}"
    assert redis.eval(script, keys=["n"], args=["40"]) == ["n", 42, None]
    sha1 = hashlib.sha1(b"return ARGV[1]").hexdigest()
    with pytest.raises(UpstashError, match="^NOSCRIPT No matching script. Please use EVAL.$"):
        redis.evalsha("0" * 40)
    assert redis.script_load("return ARGV[1]") == sha1
    assert redis.script_exists(sha1, "f" * 40) == [True, False]
    assert redis.evalsha(sha1, args=["hello"]) == "hello"
    assert redis.evalsha_ro(sha1, args=["hello"]) == "hello"
    assert redis.eval_ro("return redis.call('GET', KEYS[1])", keys=["n"]) == "42"
    with pytest.raises(UpstashError, match="commands are not allowed from read-only"):
        redis.eval_ro("return redis.call('SET', KEYS[1], 1)", keys=["n"])
    assert redis.script_flush("SYNC") is True
    assert redis.script_exists(sha1) == [False]


def test_pipeline(redis):
    answers = redis.pipeline().set("p", 1).incrby("p", 41).get("p").hset("h", "f", "v").hgetall("h").get("no").exec()
    assert answers == [True, 42, "42", 1, {"f": "v"}, None]


def test_an_empty_pipeline_is_an_empty_list(redis):
    assert redis.pipeline().exec() == []
    assert redis.multi().exec() == []


def test_a_failing_command_raises_and_the_others_ran(redis):
    redis.set("text", "abc")
    with pytest.raises(UpstashError, match="^ERR value is not an integer or out of range$"):
        redis.pipeline().set("before", 1).incr("text").set("after", 2).exec()
    assert redis.mget("before", "after") == ["1", "2"]


def test_multi(redis):
    assert redis.multi().set("m", 1).incr("m").get("m").exec() == [True, 2, "2"]
    with redis.multi() as transaction:
        transaction.zadd("z", {"a": 1.5})
        transaction.zscore("z", "a")
        assert transaction.exec() == [1, 1.5]


@pytest.mark.parametrize(
    "text",
    ["", "OK", "T0s=", "Grüße 日本 🐭", "\x00\x01\x7f", "line\r\nbreak", '"quoted" \\', "1.10", "null", "x" * 1_000_000],
    ids=lambda text: repr(text[:20]),
)
def test_text_comes_back_as_it_went(redis, text):
    redis.set("k", text)
    assert redis.get("k") == text
    assert redis.mget("k", "k") == [text, text]
    redis.hset("h", values={text or "empty": text})
    assert redis.hgetall("h") == {text or "empty": text}
    plain = Redis.from_env(rest_encoding=None, rest_retries=0)
    assert plain.get("k") == text


def test_numbers_and_booleans_are_stored_as_text(redis):
    for value, text in [(1, "1"), (-1.5, "-1.5"), (True, "true"), (2**70, str(2**70)), (1e300, "1e+300"), ({"a": 1}, '{"a": 1}')]:
        redis.set("k", value)
        assert redis.get("k") == text


def test_binary_values_are_kept_byte_for_byte(redis, server):
    value = bytes(range(256))
    headers = {"Authorization": f"Bearer {TOKEN}"}
    assert httpx.post(f"{server}/set/binary", content=value, headers=headers).json() == {"result": "OK"}
    assert redis.strlen("binary") == 256
    with pytest.raises(UnicodeDecodeError):  # the client decodes to text; the bytes themselves are right:
        redis.get("binary")
    answer = httpx.get(f"{server}/get/binary", headers={**headers, "Upstash-Response-Format": "resp2"})
    assert answer.content == b"$256\r\n" + value + b"\r\n"


def test_integers_are_exact(redis):
    redis.set("n", 2**63 - 2)
    assert redis.incr("n") == 2**63 - 1
    with pytest.raises(UpstashError, match="overflow"):
        redis.incr("n")


def test_a_url_with_a_slash_at_its_end(server):
    redis = Redis(url=f"{server}/", token=TOKEN, rest_retries=0)
    assert redis.set("slash", 1) is True
    assert redis.pipeline().get("slash").exec() == ["1"]
    assert redis.multi().get("slash").exec() == ["1"]


def test_errors_are_the_words_of_redis(redis):
    redis.set("text", "abc")
    for command, error in [
        (["INCR", "text"], "ERR value is not an integer or out of range"),
        (["LPUSH", "text", "x"], "WRONGTYPE Operation against a key holding the wrong kind of value"),
        (["GET"], "ERR wrong number of arguments for 'get' command"),
        (["NOPE", "a"], "ERR unknown command 'NOPE', with args beginning with: 'a' "),
    ]:
        with pytest.raises(UpstashError) as raised:
            redis.execute(command)
        assert str(raised.value) == error


def test_tokens(redis, reader, server):
    redis.set("k", "v")
    assert reader.get("k") == "v"
    with pytest.raises(UpstashError, match="^NOPERM "):
        reader.set("k", "w")
    with pytest.raises(UpstashError, match="^NOPERM "):
        reader.keys("*")
    with pytest.raises(UpstashError, match="^WRONGPASS invalid or missing auth token"):
        Redis(url=server, token="wrong", rest_retries=0).get("k")
    assert redis.get("k") == "v"


def test_the_sync_token_moves_with_each_write(redis):
    seen = set()
    for at in range(5):
        redis.set("k", at)
        seen.add(redis._sync_token)
    assert len(seen) == 5 and "" not in seen
    other = Redis.from_env(rest_retries=0)
    other._sync_token = redis._sync_token
    assert other.get("k") == "4"
    other._sync_token = "made up"
    assert other.set("k", 5) is True


def test_the_asynchronous_client(redis):
    async def scenario():
        async with AsyncRedis.from_env(rest_retries=0) as client:
            assert await client.set("a", 1) is True
            assert await asyncio.gather(*(client.incr("a") for _ in range(50))) is not None
            assert await client.get("a") == "51"
            assert await client.pipeline().hset("h", "f", "v").hgetall("h").exec() == [1, {"f": "v"}]
            assert await client.multi().incr("a").exec() == [52]
            assert await client.pipeline().exec() == []
            assert await client.eval("return ARGV[1]", args=["x"]) == "x"
            assert await client.zadd("z", {"m": 0.1}) == 1
            assert await client.zrange("z", 0, -1, withscores=True) == [("m", 0.1)]
            with pytest.raises(UpstashError, match="WRONGTYPE"):
                await client.lpush("a", 1)

    asyncio.run(scenario())


def test_fifty_asynchronous_clients_at_once(redis):
    async def one(at):
        async with AsyncRedis.from_env(rest_retries=0) as client:
            return await client.hincrby("shared", "n", 1)

    async def all_of_them():
        return await asyncio.gather(*(one(at) for at in range(50)))

    assert sorted(asyncio.run(all_of_them())) == list(range(1, 51))
