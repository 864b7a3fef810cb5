//! What random commands look like: for each row of the command table, the forms it takes.
//!
//! A form is words between spaces. `$x` draws an argument of a kind (see `draw.rs`), `[ A | B ]` is one of the alternatives or
//! nothing, `< A | B >` one of them, `( … )+` one to three times; anything else stands for itself. Forms are the right ones:
//! wrong types, wrong counts and odd values come from mutations of them.

/// How the replies of two servers compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    /// Equal.
    Exact,
    /// Arrays in any order.
    Unordered,
    /// Arrays of pairs in any order.
    UnorderedPairs,
    /// A cursor and elements in any order.
    Scan,
    /// As `Scan`, with pairs.
    ScanPairs,
    /// Integers that depend on when each server looked: within this.
    Within(u64),
    /// Strings that are equal as doubles are equal.
    Doubles,
    /// Rows of four, of which the third depends on when each server looked.
    Pending,
    /// What is drawn by chance from the key's members: as many, as distinct.
    Chance,
    /// Texts that are equal as JSON is equal.
    Json,
    /// Payloads: each server restores the other's.
    Payload,
}

/// The forms of one command.
#[derive(Debug)]
pub struct Template {
    /// The command.
    pub name: &'static str,
    /// How its replies compare.
    pub compare: Compare,
    /// Its forms.
    pub forms: &'static [&'static str],
}

const fn template(name: &'static str, compare: Compare, forms: &'static [&'static str]) -> Template {
    Template { name, compare, forms }
}

use Compare::{Chance, Doubles, Exact, Payload, Pending, Scan, ScanPairs, Unordered, UnorderedPairs, Within};

/// Every command that is drawn.
#[rustfmt::skip]
pub const TEMPLATES: &[Template] = &[
    template("GET",         Exact, &["$s"]),
    template("SET",         Exact, &["$s $v", "$s $v [ NX | XX ] [ GET ] [ EX $t | PX $T | EXAT $u | PXAT $U | KEEPTTL ]"]),
    template("SETNX",       Exact, &["$s $v"]),
    template("SETEX",       Exact, &["$s $t $v"]),
    template("PSETEX",      Exact, &["$s $T $v"]),
    template("GETSET",      Exact, &["$s $v"]),
    template("GETDEL",      Exact, &["$s"]),
    template("GETEX",       Exact, &["$s [ EX $t | PX $T | EXAT $u | PXAT $U | PERSIST ]"]),
    template("MGET",        Exact, &["( $k )+"]),
    template("MSET",        Exact, &["( $s $v )+"]),
    template("MSETNX",      Exact, &["( $s $v )+"]),
    template("STRLEN",      Exact, &["$s"]),
    template("APPEND",      Exact, &["$s $v"]),
    template("GETRANGE",    Exact, &["$s $i $i"]),
    template("SUBSTR",      Exact, &["$s $i $i"]),
    template("SETRANGE",    Exact, &["$s $i $v"]),
    template("INCR",        Exact, &["$s"]),
    template("DECR",        Exact, &["$s"]),
    template("INCRBY",      Exact, &["$s $n"]),
    template("DECRBY",      Exact, &["$s $n"]),
    template("INCRBYFLOAT", Exact, &["$s $d"]),

    template("HSET",         Exact, &["$h ( $f $v )+"]),
    template("HMSET",        Exact, &["$h ( $f $v )+"]),
    template("HSETNX",       Exact, &["$h $f $v"]),
    template("HGET",         Exact, &["$h $f"]),
    template("HMGET",        Exact, &["$h ( $f )+"]),
    template("HGETALL",      UnorderedPairs, &["$h"]),
    template("HKEYS",        Unordered, &["$h"]),
    template("HVALS",        Unordered, &["$h"]),
    template("HLEN",         Exact, &["$h"]),
    template("HEXISTS",      Exact, &["$h $f"]),
    template("HSTRLEN",      Exact, &["$h $f"]),
    template("HDEL",         Exact, &["$h ( $f )+"]),
    template("HINCRBY",      Exact, &["$h $f $n"]),
    template("HINCRBYFLOAT", Exact, &["$h $f $d"]),
    template("HRANDFIELD",   Chance, &["$h", "$h 100 [ WITHVALUES ]", "$h $p [ WITHVALUES ]"]),
    template("HSCAN",        ScanPairs, &["$h 0 COUNT 1000 [ MATCH $g ]"]),
    template("HEXPIRE",      Exact, &["$h $t [ NX | XX | GT | LT ] FIELDS 1 $f"]),
    template("HPEXPIRE",     Exact, &["$h $T [ NX | XX | GT | LT ] FIELDS 2 $f $f"]),
    template("HPERSIST",     Exact, &["$h FIELDS 1 $f"]),

    template("LPUSH",     Exact, &["$l ( $v )+"]),
    template("RPUSH",     Exact, &["$l ( $v )+"]),
    template("LPUSHX",    Exact, &["$l ( $v )+"]),
    template("RPUSHX",    Exact, &["$l ( $v )+"]),
    template("LPOP",      Exact, &["$l", "$l $c"]),
    template("RPOP",      Exact, &["$l", "$l $c"]),
    template("LMPOP",     Exact, &["1 $l < LEFT | RIGHT > [ COUNT $c ]", "2 $l $l < LEFT | RIGHT > [ COUNT $c ]"]),
    template("LLEN",      Exact, &["$l"]),
    template("LINDEX",    Exact, &["$l $i"]),
    template("LRANGE",    Exact, &["$l $i $i"]),
    template("LPOS",      Exact, &["$l $v [ RANK $i ] [ COUNT $c ] [ MAXLEN $c ]"]),
    template("LSET",      Exact, &["$l $i $v"]),
    template("LINSERT",   Exact, &["$l < BEFORE | AFTER > $v $v"]),
    template("LREM",      Exact, &["$l $i $v"]),
    template("LTRIM",     Exact, &["$l $i $i"]),
    template("LMOVE",     Exact, &["$l $l < LEFT | RIGHT > < LEFT | RIGHT >"]),
    template("RPOPLPUSH", Exact, &["$l $l"]),
    template("BLPOP",      Exact, &["( $l )+ $w"]),
    template("BRPOP",      Exact, &["( $l )+ $w"]),
    template("BLMPOP",     Exact, &["$w 1 $l < LEFT | RIGHT > [ COUNT $c ]", "$w 2 $l $l < LEFT | RIGHT >"]),
    template("BLMOVE",     Exact, &["$l $l < LEFT | RIGHT > < LEFT | RIGHT > $w"]),
    template("BRPOPLPUSH", Exact, &["$l $l $w"]),

    template("SADD",        Exact, &["$e ( $m )+"]),
    template("SREM",        Exact, &["$e ( $m )+"]),
    template("SCARD",       Exact, &["$e"]),
    template("SISMEMBER",   Exact, &["$e $m"]),
    template("SMISMEMBER",  Exact, &["$e ( $m )+"]),
    template("SMEMBERS",    Unordered, &["$e"]),
    template("SMOVE",       Exact, &["$e $e $m"]),
    template("SPOP",        Chance, &["$e", "$e 100", "$e $c"]),
    template("SRANDMEMBER", Chance, &["$e", "$e 100", "$e $p"]),
    template("SINTER",      Unordered, &["( $e )+"]),
    template("SINTERCARD",  Exact, &["1 $e [ LIMIT $c ]", "2 $e $e [ LIMIT $c ]", "3 $e $e $e"]),
    template("SINTERSTORE", Exact, &["$e ( $e )+"]),
    template("SUNION",      Unordered, &["( $e )+"]),
    template("SUNIONSTORE", Exact, &["$e ( $e )+"]),
    template("SDIFF",       Unordered, &["( $e )+"]),
    template("SDIFFSTORE",  Exact, &["$e ( $e )+"]),
    template("SSCAN",       Scan, &["$e 0 COUNT 1000 [ MATCH $g ]"]),

    template("ZADD",             Doubles, &["$z ( $d $m )+", "$y ( 0 $m )+", "$z [ NX | XX ] [ GT | LT ] [ CH ] ( $d $m )+", "$z [ NX | XX ] [ GT | LT ] [ CH ] INCR $d $m"]),
    template("ZINCRBY",          Doubles, &["$z $d $m"]),
    template("ZREM",             Exact, &["$z ( $m )+"]),
    template("ZCARD",            Exact, &["$z"]),
    template("ZSCORE",           Doubles, &["$z $m"]),
    template("ZMSCORE",          Doubles, &["$z ( $m )+"]),
    template("ZRANK",            Exact, &["$z $m"]),
    template("ZREVRANK",         Exact, &["$z $m"]),
    template("ZRANDMEMBER",      Chance, &["$z", "$z 100", "$z $p [ WITHSCORES ]"]),
    template("ZSCAN",            ScanPairs, &["$z 0 COUNT 1000 [ MATCH $g ]"]),
    template("ZCOUNT",           Exact, &["$z $r $r"]),
    template("ZLEXCOUNT",        Exact, &["$y $x $x"]),
    template("ZRANGE",           Doubles, &["$z $i $i [ REV ] [ WITHSCORES ]", "$z $r $r BYSCORE [ REV ] [ LIMIT $i $i ] [ WITHSCORES ]", "$y $x $x BYLEX [ REV ] [ LIMIT $i $i ]"]),
    template("ZRANGEBYSCORE",    Doubles, &["$z $r $r [ WITHSCORES ] [ LIMIT $i $i ]"]),
    template("ZRANGEBYLEX",      Exact, &["$y $x $x [ LIMIT $i $i ]"]),
    template("ZREVRANGE",        Doubles, &["$z $i $i [ WITHSCORES ]"]),
    template("ZREVRANGEBYSCORE", Doubles, &["$z $r $r [ WITHSCORES ] [ LIMIT $i $i ]"]),
    template("ZREVRANGEBYLEX",   Exact, &["$y $x $x [ LIMIT $i $i ]"]),
    template("ZRANGESTORE",      Exact, &["$z $z $i $i [ REV ]", "$z $z $r $r BYSCORE [ REV ] [ LIMIT $i $i ]", "$y $y $x $x BYLEX [ REV ] [ LIMIT $i $i ]"]),
    template("ZREMRANGEBYRANK",  Exact, &["$z $i $i"]),
    template("ZREMRANGEBYSCORE", Exact, &["$z $r $r"]),
    template("ZREMRANGEBYLEX",   Exact, &["$y $x $x"]),
    template("ZUNION",           Doubles, &["2 $z $z [ WEIGHTS $d $d ] [ AGGREGATE < SUM | MIN | MAX > ] [ WITHSCORES ]", "2 $z $e [ WITHSCORES ]"]),
    template("ZINTER",           Doubles, &["2 $z $z [ WEIGHTS $d $d ] [ AGGREGATE < SUM | MIN | MAX > ] [ WITHSCORES ]", "2 $z $e [ WITHSCORES ]"]),
    template("ZDIFF",            Doubles, &["2 $z $z [ WITHSCORES ]", "1 $z WITHSCORES"]),
    template("ZINTERCARD",       Exact, &["2 $z $z [ LIMIT $c ]"]),
    template("ZUNIONSTORE",      Exact, &["$z 2 $z $z [ WEIGHTS $d $d ] [ AGGREGATE < SUM | MIN | MAX > ]", "$z 2 $e $z"]),
    template("ZINTERSTORE",      Exact, &["$z 2 $z $z [ WEIGHTS $d $d ] [ AGGREGATE < SUM | MIN | MAX > ]", "$z 2 $e $z"]),
    template("ZDIFFSTORE",       Exact, &["$z 2 $z $z"]),
    template("BZPOPMIN",         Doubles, &["( $z )+ $w"]),
    template("BZPOPMAX",         Doubles, &["( $z )+ $w"]),
    template("BZMPOP",           Doubles, &["$w 1 $z < MIN | MAX > [ COUNT $c ]", "$w 2 $z $z < MIN | MAX >"]),
    template("ZPOPMIN",          Doubles, &["$z", "$z $c"]),
    template("ZPOPMAX",          Doubles, &["$z", "$z $c"]),
    template("ZMPOP",            Doubles, &["1 $z < MIN | MAX > [ COUNT $c ]", "2 $z $z < MIN | MAX > [ COUNT $c ]"]),

    template("XADD",       Exact, &["$q $I ( $f $v )+", "$q $I $f $v", "$q [ NOMKSTREAM ] [ MAXLEN $c | MAXLEN = $c | MAXLEN ~ $c | MINID $I | MINID ~ $I LIMIT $c ] $I ( $f $v )+"]),
    template("XLEN",       Exact, &["$q"]),
    template("XRANGE",     Exact, &["$q $J $J [ COUNT $c ]", "$q - +"]),
    template("XREVRANGE",  Exact, &["$q $J $J [ COUNT $c ]", "$q + -"]),
    template("XDEL",       Exact, &["$q ( $I )+"]),
    template("XDELEX",     Exact, &["$q [ KEEPREF | DELREF | ACKED ] IDS 2 $I $I"]),
    template("XTRIM",      Exact, &["$q < MAXLEN | MAXLEN = | MAXLEN ~ > $c [ LIMIT $c ]", "$q < MINID | MINID = | MINID ~ > $I"]),
    template("XSETID",     Exact, &["$q $I [ ENTRIESADDED $c ] [ MAXDELETEDID $I ]"]),
    template("XREAD",      Exact, &["[ COUNT $c ] STREAMS $q $I", "[ COUNT $c ] STREAMS $q $q $I $S"]),
    template("XREADGROUP", Exact, &["GROUP $G $C [ COUNT $c ] STREAMS $q $N", "GROUP $G $C STREAMS $q $q $N $N"]),
    template("XGROUP",     Exact, &["CREATE $q $G $S [ MKSTREAM ] [ ENTRIESREAD $c ]", "CREATE $q $G 0 MKSTREAM", "SETID $q $G $S [ ENTRIESREAD $c ]", "DESTROY $q $G", "CREATECONSUMER $q $G $C", "DELCONSUMER $q $G $C"]),
    template("XACK",       Exact, &["$q $G ( $I )+"]),
    template("XPENDING",   Pending, &["$q $G", "$q $G $J $J $c [ $C ]", "$q $G IDLE 0 - + 10"]),
    template("XCLAIM",     Exact, &["$q $G $C 0 $I [ JUSTID ] [ FORCE ] [ RETRYCOUNT $c ] [ LASTID $I ]", "$q $G $C 100000 $I $I"]),
    template("XAUTOCLAIM", Exact, &["$q $G $C 0 $J [ COUNT $c ] [ JUSTID ]"]),
    template("XINFO",      Exact, &["STREAM $q", "GROUPS $q"]),

    template("SETBIT",      Exact, &["$b $O < 0 | 1 | 1 | 2 >"]),
    template("GETBIT",      Exact, &["$b $O"]),
    template("BITCOUNT",    Exact, &["$b", "$b $i $i [ BYTE | BIT ]"]),
    template("BITPOS",      Exact, &["$b < 0 | 1 >", "$b < 0 | 1 > $i", "$b < 0 | 1 > $i $i [ BYTE | BIT ]"]),
    template("BITOP",       Exact, &["< AND | OR | XOR > $b ( $b )+", "NOT $b $b", "< AND | OR | XOR > $b $s $b"]),
    template("BITFIELD",    Exact, &["$b ( < GET $B $O | SET $B $O $n | INCRBY $B $O $n > )+", "$b ( OVERFLOW < WRAP | SAT | FAIL > < SET $B $O $n | INCRBY $B $O $n > )+"]),
    template("BITFIELD_RO", Exact, &["$b ( GET $B $O )+"]),

    template("GEOADD",               Exact, &["$M ( $A $L $m )+", "$M [ NX | XX ] [ CH ] ( $A $L $m )+"]),
    template("GEOPOS",               Doubles, &["$M ( $m )+"]),
    template("GEODIST",              Exact, &["$M $m $m [ $E ]"]),
    template("GEOHASH",              Exact, &["$M ( $m )+"]),
    template("GEOSEARCH",            Doubles, &["$M < FROMMEMBER $m | FROMLONLAT $A $L > < BYRADIUS $D $E | BYBOX $D $D $E > [ ASC | DESC ] [ COUNT $c [ ANY ] ] [ WITHDIST ] [ WITHHASH ] [ WITHCOORD ]"]),
    template("GEOSEARCHSTORE",       Exact, &["$M $M < FROMMEMBER $m | FROMLONLAT $A $L > < BYRADIUS $D $E | BYBOX $D $D $E > [ ASC | DESC ] [ COUNT $c [ ANY ] ]", "$z $M FROMMEMBER $m BYRADIUS $D $E STOREDIST"]),
    template("GEORADIUS",            Doubles, &["$M $A $L $D $E [ WITHDIST ] [ WITHHASH ] [ WITHCOORD ] [ COUNT $c [ ANY ] ] [ ASC | DESC ]", "$M $A $L $D $E < STORE $M | STOREDIST $z >"]),
    template("GEORADIUS_RO",         Doubles, &["$M $A $L $D $E [ WITHDIST ] [ WITHCOORD ] [ COUNT $c ] [ ASC | DESC ]"]),
    template("GEORADIUSBYMEMBER",    Exact, &["$M $m $D $E [ WITHDIST ] [ COUNT $c ] [ ASC | DESC ]", "$M $m $D $E < STORE $M | STOREDIST $z >"]),
    template("GEORADIUSBYMEMBER_RO", Exact, &["$M $m $D $E [ WITHHASH ] [ COUNT $c ] [ ASC | DESC ]"]),

    template("PFADD",   Exact, &["$P ( $m )+", "$P ( $v )+", "$P"]),
    template("PFCOUNT", Exact, &["$P", "( $P )+"]),
    template("PFMERGE", Exact, &["$P ( $P )+"]),

    template("LCS",     Exact, &["$s $s [ LEN | IDX ] [ MINMATCHLEN $c ] [ WITHMATCHLEN ]"]),
    template("SORT",    Exact, &["$l [ ALPHA ] [ DESC ] [ LIMIT $i $i ] [ GET # ] [ GET s* ]", "$e ALPHA [ DESC ] [ STORE $l ]", "$z BY nosort [ DESC ]", "$l BY s* [ STORE $l ]", "$l BY h*->f1 GET h*->f2 [ LIMIT $i $i ]"]),
    template("SORT_RO", Exact, &["$l [ ALPHA ] [ DESC ] [ LIMIT $i $i ] [ GET # ] [ GET s* ]", "$z BY nosort [ DESC ]"]),

    template("DEL",         Exact, &["( $k )+"]),
    template("UNLINK",      Exact, &["( $k )+"]),
    template("EXISTS",      Exact, &["( $k )+"]),
    template("TOUCH",       Exact, &["( $k )+"]),
    template("TYPE",        Exact, &["$k"]),
    template("EXPIRE",      Exact, &["$k $t [ NX | XX | GT | LT ]"]),
    template("PEXPIRE",     Exact, &["$k $T [ NX | XX | GT | LT ]"]),
    template("EXPIREAT",    Exact, &["$k $u [ NX | XX | GT | LT ]"]),
    template("PEXPIREAT",   Exact, &["$k $U [ NX | XX | GT | LT ]"]),
    template("TTL",         Within(1), &["$k"]),
    template("PTTL",        Within(200), &["$k"]),
    template("EXPIRETIME",  Within(1), &["$k"]),
    template("PEXPIRETIME", Within(200), &["$k"]),
    template("PERSIST",     Exact, &["$k"]),
    template("RENAME",      Exact, &["$k $k"]),
    template("RENAMENX",    Exact, &["$k $k"]),
    template("COPY",        Exact, &["$k $k [ REPLACE ]"]),
    template("RANDOMKEY",   Chance, &[""]),
    template("DUMP",        Payload, &["$k"]),
    template("RESTORE",     Exact, &["$k $T $v [ REPLACE ]", "$k 0 $v REPLACE IDLETIME 5"]),
    template("KEYS",        Unordered, &["$g"]),
    template("SCAN",        Scan, &["0 COUNT 1000 [ MATCH $g ] [ TYPE < string | hash | list | set | zset | stream | nope > ]"]),
];

/// Commands that older servers than 7.2 answer in other ways: it changed when consumers come to be, and what a group has read.
pub const AS_SINCE_7_2: &[&str] = &["XREADGROUP", "XCLAIM", "XAUTOCLAIM", "XGROUP", "XINFO"];

/// Commands of the data types that are not drawn, and why.
pub const NOT_DRAWN: &[(&str, &str)] = &[
    ("MIGRATE", "there is one server"),
    ("MOVE", "there is one database"),
    ("OBJECT", "what it tells is each server's own"),
    ("PFDEBUG", "what it tells is each server's own"),
    ("PFSELFTEST", "it tests the server itself"),
    ("SWAPDB", "there is one database"),
    ("WAIT", "it is about replicas"),
    ("WAITAOF", "it is about replicas"),
    ("XACKDEL", "what it finds acknowledged before goes, too"),
];

/// Libraries that come and go: first that of [`FUNCTIONS`], with which a sequence begins, then others that want its names.
pub const LIBRARIES: &[&str] = &[
    "#!lua name=drawn
    redis.register_function('hand_on', function(keys, args) return redis.call(unpack(args)) end)
    redis.register_function('try', function(keys, args) return redis.pcall(unpack(args)) end)
    redis.register_function('digest', function(keys, args)
        local r = redis.pcall(unpack(args))
        if type(r) == 'table' then return r.err or r.ok or #r end
        return {type(r), r, #keys, #args}
    end)
    redis.register_function('set_and', function(keys, args)
        return {redis.call('SET', keys[1], 'x'), redis.call(unpack(args))}
    end)
    redis.register_function{function_name = 'look', flags = {'no-writes'}, callback = function(keys, args)
        return redis.call(unpack(args))
    end}",
    "#!lua name=drawn
    redis.register_function('hand_on', function(keys, args) return redis.call(unpack(args)) end)
    redis.register_function{function_name = 'look', flags = {'no-writes'}, callback = function(keys, args)
        return redis.pcall(unpack(args))
    end}",
    "#!lua name=other
    redis.register_function('digest', function(keys, args) return redis.pcall(unpack(args)) == nil end)",
    "#!lua name=small
    redis.register_function{function_name = 'one', description = 'one', callback = function() return 1 end}",
    "#!lua name=broken
    redis.register_function('one', redis.nothing)",
];

/// Functions whose arguments are a command, and whether they answer as it does, as long as nobody replaced them.
pub const FUNCTIONS: &[(&str, bool)] =
    &[("hand_on", true), ("try", true), ("digest", false), ("set_and", false), ("look", true)];

/// The script that returns the reply of its arguments behind one of its own.
pub const BESIDE_ANOTHER: &str = "return {redis.call('SET', KEYS[1], 'x'), redis.call(unpack(ARGV))}";

/// One that says what became of its arguments.
pub const DIGESTED: &str =
    "local r = redis.pcall(unpack(ARGV)) if type(r) == 'table' then return r.err or r.ok or #r end return {type(r), r}";

/// One that writes before, and returns that reply first.
pub const BEFORE_OTHERS: &str =
    "redis.call('APPEND', KEYS[1], 1.5) local r = redis.pcall(unpack(ARGV)) return {r, r == false, tostring(KEYS[1])}";

/// Scripts whose arguments are a command, and whether they answer as it does. The others want an exact reply.
pub const SCRIPTS: &[(&str, bool)] = &[
    ("return redis.call(unpack(ARGV))", true),
    ("return redis.pcall(unpack(ARGV))", true),
    (DIGESTED, false),
    (BESIDE_ANOTHER, false),
    (BEFORE_OTHERS, false),
    ("local n = 0 for i = 1, 2 do local r = redis.call(unpack(ARGV)) n = n + (r and 1 or 0) end return n + 0.7", false),
];
