"""The helpers of upstash-redis for strings, hashes, lists, sets, sorted sets and keys, each called at least once."""

import datetime
import time

import pytest
from upstash_redis.errors import UpstashError


def soon(seconds: int = 3600) -> int:
    return int(time.time()) + seconds


def test_strings(redis):
    assert redis.set("s", "abc") is True
    assert redis.get("s") == "abc"
    assert redis.append("s", "def") == 6
    assert redis.strlen("s") == 6
    assert redis.getrange("s", 1, -2) == "bcde"
    assert redis.substr("s", 0, 1) == "ab"
    assert redis.setrange("s", 2, "XY") == 6
    assert redis.getset("s", "new") == "abXYef"
    assert redis.getdel("s") == "new"
    assert redis.get("s") is None
    assert redis.incr("n") == 1
    assert redis.incrby("n", 10) == 11
    assert redis.decr("n") == 10
    assert redis.decrby("n", 25) == -15
    assert redis.incrbyfloat("n", 0.5) == -14.5
    assert redis.mset({"m1": "one", "m2": 2, "m3": True}) is True
    assert redis.mget("m1", "m2", "m3", "m4") == ["one", "2", "true", None]
    assert redis.msetnx({"m4": 4, "m1": 1}) is False
    assert redis.setnx("m4", 9) is True
    assert redis.setex("e", 100, "x") is True
    assert 95 < redis.ttl("e") <= 100
    assert redis.psetex("e", 100_000, "y") is True
    assert 95_000 < redis.pttl("e") <= 100_000
    assert redis.getex("e", persist=True) == "y"
    assert redis.ttl("e") == -1


def test_set_options(redis):
    assert redis.set("o", 1, nx=True, ex=100) is True
    assert redis.set("o", 2, nx=True) is False
    assert redis.set("o", 2, xx=True, keepttl=True) is True
    assert 95 < redis.ttl("o") <= 100
    assert redis.set("o", 3, get=True) == "2"
    assert redis.set("o", 4, exat=soon()) is True
    assert redis.set("o", 5, pxat=soon() * 1000) is True
    assert redis.set("absent", 1, xx=True) is False


def test_hashes(redis):
    assert redis.hset("h", "a", "1") == 1
    assert redis.hset("h", values={"b": "two", "c": 3.5}) == 2
    assert redis.hget("h", "b") == "two"
    assert redis.hgetall("h") == {"a": "1", "b": "two", "c": "3.5"}
    assert redis.hgetall("nope") == {}
    assert redis.hmget("h", "a", "nope") == ["1", None]
    assert redis.hmset("h", {"d": "x"}) is True
    assert redis.hsetnx("h", "d", "y") is False
    assert redis.hexists("h", "d") is True
    assert redis.hlen("h") == 4
    assert redis.hstrlen("h", "b") == 3
    assert sorted(redis.hkeys("h")) == ["a", "b", "c", "d"]
    assert sorted(redis.hvals("h")) == ["1", "3.5", "two", "x"]
    assert redis.hincrby("h", "a", 9) == 10
    assert redis.hincrbyfloat("h", "c", 0.25) == 3.75
    assert redis.hrandfield("h") in {"a", "b", "c", "d"}
    assert len(redis.hrandfield("h", 2)) == 2
    assert redis.hrandfield("h", 10, withvalues=True) == {"a": "10", "b": "two", "c": "3.75", "d": "x"}
    assert redis.hscan("h", 0) == (0, {"a": "10", "b": "two", "c": "3.75", "d": "x"})
    assert redis.hdel("h", "a", "nope") == 1


def test_hash_fields_with_an_end(redis):
    redis.hset("h", values={"a": "1", "b": "2", "c": "3"})
    assert redis.hexpire("h", ["a", "nope"], 100) == [1, -2]
    assert redis.hpexpire("h", "b", datetime.timedelta(seconds=100), nx=True) == [1]
    assert redis.hexpireat("h", "c", soon()) == [1]
    assert redis.hpexpireat("h", "c", (soon() + 9) * 1000, gt=True) == [1]
    assert 95 < redis.httl("h", "a")[0] <= 100
    assert 95_000 < redis.hpttl("h", "b")[0] <= 100_000
    assert redis.hexpiretime("h", "c")[0] > time.time()
    assert redis.hpexpiretime("h", "c")[0] > time.time() * 1000
    assert redis.hpersist("h", ["a"]) == [1]
    assert redis.hsetex("h", values={"x": 1}, ex=100) == 1
    assert redis.hgetex("h", "x", persist=True) == ["1"]
    assert redis.hgetdel("h", "x", "nope") == ["1", None]


def test_lists(redis):
    assert redis.rpush("l", "a", "b", "c") == 3
    assert redis.lpush("l", "first") == 4
    assert redis.rpushx("l", 5) == 5
    assert redis.lpushx("nope", 1) == 0
    assert redis.lrange("l", 0, -1) == ["first", "a", "b", "c", "5"]
    assert redis.lindex("l", -1) == "5"
    assert redis.llen("l") == 5
    assert redis.linsert("l", "BEFORE", "b", "ab") == 6
    assert redis.lpos("l", "ab") == 2
    assert redis.lpos("l", "ab", rank=-1, count=0, maxlen=100) == [2]
    assert redis.lset("l", 0, "zero") is True
    assert redis.lrem("l", 0, "ab") == 1
    assert redis.lpop("l") == "zero"
    assert redis.rpop("l", 2) == ["5", "c"]
    assert redis.lpop("l", 10) == ["a", "b"]
    assert redis.rpop("l") is None
    redis.rpush("l", 1, 2, 3, 4, 5)
    assert redis.ltrim("l", 1, -2) == "OK"
    assert redis.lmove("l", "l2", "LEFT", "RIGHT") == "2"
    assert redis.rpoplpush("l", "l2") == "4"
    assert redis.lrange("l2", 0, -1) == ["4", "2"]


def test_sets(redis):
    assert redis.sadd("s1", "a", "b", "c", 4) == 4
    assert redis.sadd("s2", "b", 4, "x") == 3
    assert redis.scard("s1") == 4
    assert redis.sismember("s1", 4) is True
    assert redis.smismember("s1", "a", "zz") == [True, False]
    assert set(redis.smembers("s1")) == {"a", "b", "c", "4"}
    assert set(redis.sdiff("s1", "s2")) == {"a", "c"}
    assert set(redis.sinter("s1", "s2")) == {"b", "4"}
    assert set(redis.sunion("s1", "s2")) == {"a", "b", "c", "4", "x"}
    assert redis.sdiffstore("d", "s1", "s2") == 2
    assert redis.sinterstore("i", "s1", "s2") == 2
    assert redis.sunionstore("u", "s1", "s2") == 5
    assert redis.smove("s1", "s2", "a") is True
    assert redis.srem("s1", "b", "zz") == 1
    assert redis.srandmember("s1") in {"c", "4"}
    assert len(redis.srandmember("u", -9)) == 9
    assert redis.spop("i") in {"b", "4"}
    assert len(redis.spop("u", 5)) == 5
    cursor, members = redis.sscan("s1", 0, match="*", count=10)
    assert (cursor, set(members)) == (0, {"c", "4"})


def test_sorted_sets(redis):
    assert redis.zadd("z", {"a": 1, "b": 2, "c": 3.5}) == 3
    assert redis.zadd("z", {"a": 9, "d": 4}, nx=True) == 1
    assert redis.zadd("z", {"d": 5}, xx=True, ch=True) == 1
    assert redis.zadd("z", {"d": 4}, gt=True, ch=True) == 0
    assert redis.zadd("z", {"d": 1}, incr=True) == 6.0
    assert redis.zcard("z") == 4
    assert redis.zcount("z", 2, "(6") == 2
    assert redis.zscore("z", "c") == 3.5
    assert redis.zscore("z", "nope") is None
    assert redis.zmscore("z", ["a", "nope"]) == [1.0, None]
    assert redis.zincrby("z", 2.5, "a") == 3.5
    assert redis.zrank("z", "b") == 0
    assert redis.zrevrank("z", "b") == 3
    assert redis.zrange("z", 0, -1) == ["b", "a", "c", "d"]
    assert redis.zrange("z", 0, 1, withscores=True) == [("b", 2.0), ("a", 3.5)]
    assert redis.zrange("z", "(2", "+inf", sortby="BYSCORE", offset=1, count=1) == ["c"]
    assert redis.zrevrange("z", 0, 0, withscores=True) == [("d", 6.0)]
    assert redis.zrangebyscore("z", "-inf", 3.5, withscores=True, offset=0, count=2) == [("b", 2.0), ("a", 3.5)]
    assert redis.zrevrangebyscore("z", "+inf", "-inf", offset=0, count=1) == ["d"]
    assert redis.zrangestore("zs", "z", 0, 1) == 2
    assert redis.zrandmember("z") in {"a", "b", "c", "d"}
    assert len(redis.zrandmember("z", -6, withscores=True)) == 6
    redis.zadd("lex", {"a": 0, "b": 0, "c": 0})
    assert redis.zrangebylex("lex", "[a", "(c") == ["a", "b"]
    assert redis.zrevrangebylex("lex", "+", "-", offset=0, count=1) == ["c"]
    assert redis.zlexcount("lex", "-", "+") == 3
    assert redis.zremrangebylex("lex", "[a", "[b") == 2
    redis.zadd("y", {"a": 10, "x": 20})
    assert redis.zunion(["z", "y"], withscores=True) == [("b", 2), ("c", 3.5), ("d", 6), ("a", 13.5), ("x", 20)]
    assert redis.zinter(["z", "y"], weights=[2, 1], aggregate="MIN", withscores=True) == [("a", 7.0)]
    assert redis.zdiff(["z", "y"]) == ["b", "c", "d"]
    assert redis.zunionstore("zu", ["z", "y"]) == 5
    assert redis.zinterstore("zi", ["z", "y"], aggregate="MAX") == 1
    assert redis.zdiffstore("zd", ["z", "y"]) == 3
    assert redis.zpopmin("zd") == [("b", 2.0)]
    assert redis.zpopmax("zd", 5) == [("d", 6.0), ("c", 3.5)]
    assert redis.zpopmin("zd") == []
    assert redis.zscan("y", 0) == (0, [("a", 10.0), ("x", 20.0)])
    assert redis.zrem("z", "a", "nope") == 1
    assert redis.zremrangebyscore("z", "(2", 4) == 1
    assert redis.zremrangebyrank("z", 0, 0) == 1


def test_bitmaps(redis):
    assert redis.setbit("bits", 7, 1) == 0
    assert redis.setbit("bits", 9, 1) == 0
    assert redis.getbit("bits", 7) == 1
    assert redis.bitcount("bits") == 2
    assert redis.bitcount("bits", 1, 1) == 1
    assert redis.bitpos("bits", 1) == 7
    assert redis.bitpos("bits", 1, 1, 1) == 9
    assert redis.setbit("others", 9, 1) == 0
    assert redis.bitop("AND", "both", "bits", "others") == 2
    assert redis.bitop("DIFF", "one", "bits", "others") == 2
    assert redis.bitcount("one") == 1
    field = redis.bitfield("field").set("u8", 0, 250).overflow("SAT").incrby("u8", "#0", 10).get("i8", 0)
    assert field.execute() == [0, 255, -1]
    assert redis.bitfield_ro("field").get("u4", "#1").execute() == [15]


def test_hyperloglogs(redis):
    assert redis.pfadd("visitors", "ann", "bob") is True
    assert redis.pfadd("visitors", "ann") is False
    assert redis.pfadd("guests", "bob", "cleo") is True
    assert redis.pfcount("visitors", "guests") == 3
    assert redis.pfmerge("everybody", "visitors", "guests") is True
    assert redis.pfcount("everybody") == 3


def test_places(redis):
    assert redis.geoadd("sicily", (13.361389, 38.115556, "Palermo"), (15.087269, 37.502669, "Catania")) == 2
    assert redis.geoadd("sicily", (1, 1, "Palermo"), nx=True, ch=True) == 0
    assert redis.geodist("sicily", "Palermo", "Catania", unit="KM") == 166.2742
    assert redis.geohash("sicily", "Palermo", "nowhere") == ["sqc8b49rny0", None]
    place, nowhere = redis.geopos("sicily", "Palermo", "nowhere")
    assert place == pytest.approx((13.361389, 38.115556), abs=1e-5)
    assert nowhere is None
    around = {"longitude": 15, "latitude": 37, "radius": 200}
    assert redis.geosearch("sicily", unit="KM", order="ASC", **around) == ["Catania", "Palermo"]
    [nearest] = redis.geosearch("sicily", unit="KM", count=1, withdist=True, withhash=True, withcoord=True, **around)
    assert (nearest.member, nearest.distance, nearest.hash) == ("Catania", 56.4413, 3479447370796909)
    assert nearest.longitude == pytest.approx(15.087269, abs=1e-5)
    assert redis.geosearchstore("found", "sicily", member="Palermo", unit="KM", width=10, height=10) == 1
    [radius] = redis.georadius("sicily", 15, 37, 100, "KM", withdist=True)
    assert (radius.member, radius.distance) == ("Catania", 56.4413)
    assert redis.georadius_ro("sicily", 15, 37, 200, "KM", order="DESC") == ["Palermo", "Catania"]
    assert redis.georadiusbymember("sicily", "Palermo", 200, "KM", store="found") == 2
    assert redis.georadiusbymember_ro("sicily", "Palermo", 1, "KM") == ["Palermo"]


def test_keys(redis):
    redis.mset({"g1": 1, "g2": 2, "g3": 3})
    assert redis.exists("g1", "g2", "nope") == 2
    assert redis.type("g1") == "string"
    assert redis.touch("g1", "nope") == 1
    assert redis.dbsize() == 3
    assert sorted(redis.keys("g?")) == ["g1", "g2", "g3"]
    assert redis.randomkey() in {"g1", "g2", "g3"}
    assert redis.ttl("nope") == -2
    assert redis.expire("g1", datetime.timedelta(seconds=100)) is True
    assert redis.expire("g1", 300, nx=True) is False
    assert redis.pexpire("g1", 50_000) is True
    assert redis.expireat("g1", soon()) is True
    assert redis.pexpireat("g1", soon() * 1000) is True
    assert 3590 < redis.ttl("g1") <= 3600
    assert redis.persist("g1") is True
    assert redis.rename("g1", "g4") is True
    assert redis.renamenx("g4", "g3") is False
    assert redis.copy("g4", "g5") is True
    assert redis.copy("g4", "g3", replace=True) is True
    assert redis.unlink("g5") == 1
    assert redis.delete("g4", "nope") == 1
    cursor, keys = redis.scan(0, match="g*", count=100, type="string")
    assert (cursor, sorted(keys)) == (0, ["g2", "g3"])
    assert redis.flushall("ASYNC") is True
    assert redis.randomkey() is None
    with pytest.raises(UpstashError, match="no such key"):
        redis.rename("nope", "x")


def test_scan_to_the_end(redis):
    redis.mset({f"k:{at}": at for at in range(300)})
    cursor, seen = 0, set()
    while True:
        cursor, keys = redis.scan(cursor, match="k:*", count=20)
        seen.update(keys)
        if cursor == 0:
            break
    assert len(seen) == 300


def test_connection_and_server(redis):
    assert redis.ping() == "PONG"
    assert redis.ping("hello") == "hello"
    assert redis.echo("ünï") == "ünï"
    seconds, micros = redis.time()
    assert abs(seconds - time.time()) < 5 and 0 <= micros < 1_000_000
    assert redis.client_setinfo("LIB-NAME", "dormouse-test") == "OK"
    assert redis.publish("nobody", "hears") == 0
    assert redis.flushdb("SYNC") is True
    assert redis.execute(["SET", "raw", 1]) in (True, "OK")
