//! Bytes in the hands of scripts: what cjson, cmsgpack, struct, patterns and formats make of them, and what becomes of that
//! on its way to a reply and back. The first byte chooses the script, the next line is one argument, the rest another.
#![no_main]

use dormouse_fuzz::bench;
use dormouse_proto::Reply;
use libfuzzer_sys::fuzz_target;

/// What a script says when something did not come back as it went.
const BROKEN: &str = "BROKEN";

const SCRIPTS: &[&str] = &[
    // What was read can be written, and what was written reads back.
    "local ok, value = pcall(cjson.decode, ARGV[2])
     if not ok then return value end
     local written, text = pcall(cjson.encode, value)
     if written and not pcall(cjson.decode, text) then return 'BROKEN' end
     redis.call('SET', KEYS[1], text)
     return value",
    "local ok, values = pcall(function() return {cmsgpack.unpack(ARGV[2])} end)
     if not ok then return values end
     local packed, text = pcall(cmsgpack.pack, unpack(values, 1, math.min(#values, 100)))
     if packed and #text > 0 and not pcall(cmsgpack.unpack, text) then return 'BROKEN' end
     return values",
    "local _, at = pcall(cmsgpack.unpack_one, ARGV[2], tonumber(ARGV[1]))
     local _, few = pcall(function() return {cmsgpack.unpack_limit(ARGV[2], 3, tonumber(ARGV[1]))} end)
     return {at, few}",
    "local ok, values = pcall(function() return {struct.unpack(ARGV[1], ARGV[2])} end)
     if not ok then return values end
     local packed, text = pcall(struct.pack, ARGV[1], unpack(values, 1, math.min(#values - 1, 100)))
     return {values, text}",
    "local _, size = pcall(struct.size, ARGV[1])
     local _, packed = pcall(struct.pack, ARGV[1], 1, 2.5, ARGV[2], -3, ARGV[2], 7)
     return {size, packed}",
    "local _, places = pcall(function() return {string.find(ARGV[2], ARGV[1])} end)
     local _, matches = pcall(function() return {string.match(ARGV[2], ARGV[1])} end)
     local _, text = pcall(string.gsub, ARGV[2], ARGV[1], '<%0%1>', 20)
     local count = 0
     pcall(function() for a in string.gmatch(ARGV[2], ARGV[1]) do count = count + 1 if count > 50 then break end end end)
     return {places, matches, text, count}",
    "local _, text = pcall(string.format, ARGV[1], ARGV[2], 1.5, -7, ARGV[2], 255)
     return {text, tonumber(ARGV[2]), tonumber(ARGV[2], 16), tostring(tonumber(ARGV[1])), redis.sha1hex(ARGV[2])}",
    "redis.setresp(3)
     local ok, value = pcall(cjson.decode, ARGV[2])
     if ok and type(value) == 'table' then return {map = value, set = value, double = 1} end
     return {double = tonumber(ARGV[2]) or 0}",
    // Whatever a command answers is a value, and goes out as the same.
    "redis.setresp(3)
     local words = {}
     for word in string.gmatch(ARGV[2], '%S+') do words[#words + 1] = word end
     return redis.pcall(unpack(words, 1, math.min(#words, 100)))",
    "local ok, value = pcall(cjson.decode, ARGV[2])
     return ok and value or redis.error_reply(ARGV[2])",
    "cjson.encode_sparse_array(true, 2, 3) cjson.decode_invalid_numbers(true) cjson.encode_invalid_numbers(true)
     cjson.encode_number_precision(7) cjson.encode_max_depth(9) cjson.decode_max_depth(9)
     local ok, value = pcall(cjson.decode, ARGV[2])
     return ok and select(2, pcall(cjson.encode, value)) or value",
    "local n = tonumber(ARGV[1]) or 0
     local m = tonumber(ARGV[2]) or 0
     return {bit.band(n, m), bit.bor(n, m), bit.rol(n, m), bit.arshift(n, m), bit.bswap(n), bit.tohex(n, m),
             math.fmod(n, m), tostring(n / m), string.rep(ARGV[1], math.min(m, 100)), string.sub(ARGV[2], n, m)}",
];

fuzz_target!(|input: &[u8]| {
    let Some((choice, rest)) = input.split_first() else { return };
    let mut halves = rest.splitn(2, |&byte| byte == b'\n');
    let (first, second) = (halves.next().unwrap_or_default(), halves.next().unwrap_or_default());
    let script = SCRIPTS[usize::from(*choice) % SCRIPTS.len()];
    let mut bench = bench();
    let reply = bench.attempt(&[b"EVAL", script.as_bytes(), b"1", b"k", first, second]);
    assert!(!matches!(reply, Ok(Reply::Bulk(ref text)) if *text == BROKEN.as_bytes()), "it did not come back");
});
