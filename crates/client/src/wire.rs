//! The protocol's bytes: commands into requests, answers into values.
//!
//! Commands travel as JSON arrays of strings, and replies come back as JSON with every string in base64
//! (`Upstash-Encoding: base64`), so that all bytes survive and integers stay exact. JSON has no room for arguments that are
//! not UTF-8: a single command with such goes in the path form, percent-encoded, with its largest odd argument as the body,
//! which Dormouse and Upstash both take; what does not fit there, and pipelines and transactions, go as RESP, which Dormouse
//! takes and Upstash refuses. Nothing is ever sent that an endpoint could take for something else.

use std::borrow::Cow;
use std::fmt;
use std::fmt::Write as _;
use std::io::Write as _;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::args::Args;
use crate::value::Value;

/// Longest path and query of the path form. Proxies commonly take 8 KiB of a request's line.
const PATH_BYTES_MAX: usize = 4 << 10;

/// Arguments that are tried as the body of the path form.
const BODIES_MAX: usize = 4;

/// A command or several, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Encoded {
    /// Path and query, behind the endpoint's own.
    pub(crate) path: Cow<'static, str>,
    pub(crate) body: Bytes,
}

/// One command.
pub(crate) fn one(args: &Args) -> Encoded {
    json(args).map(|body| Encoded { path: "/".into(), body: body.into() }).or_else(|| path_form(args)).unwrap_or_else(
        || {
            let mut body = Vec::with_capacity(args.bytes() + 16 * args.len());
            resp(args, &mut body);
            Encoded { path: "/".into(), body: body.into() }
        },
    )
}

/// Several commands, for `/pipeline` or `/multi-exec`.
pub(crate) fn several(path: &'static str, commands: &[Args]) -> Encoded {
    let mut body = Vec::with_capacity(commands.iter().map(|args| args.bytes() + 8 * args.len()).sum::<usize>() + 2);
    body.push(b'[');
    let is_text = commands.iter().enumerate().all(|(at, args)| {
        if at > 0 {
            body.push(b',');
        }
        write_json(args, &mut body)
    });
    body.push(b']');
    if !is_text {
        body.clear();
        for args in commands {
            resp(args, &mut body);
        }
    }
    Encoded { path: path.into(), body: body.into() }
}

fn json(args: &Args) -> Option<Vec<u8>> {
    let mut body = Vec::with_capacity(args.bytes() + 4 * args.len() + 2);
    write_json(args, &mut body).then_some(body)
}

/// Whether all of it is text.
fn write_json(args: &Args, body: &mut Vec<u8>) -> bool {
    body.push(b'[');
    for (at, arg) in args.iter().enumerate() {
        let Ok(text) = std::str::from_utf8(arg) else { return false };
        if at > 0 {
            body.push(b',');
        }
        serde_json::to_writer(&mut *body, text).expect("a Vec takes everything");
    }
    body.push(b']');
    true
}

fn resp(args: &Args, body: &mut Vec<u8>) {
    write!(body, "*{}\r\n", args.len()).expect("a Vec takes everything");
    for arg in args.iter() {
        write!(body, "${}\r\n", arg.len()).expect("a Vec takes everything");
        body.extend_from_slice(arg);
        body.extend_from_slice(b"\r\n");
    }
}

/// The path form: segments, then the body, then the query's names and values. The largest odd argument that can be the body
/// is.
fn path_form(args: &Args) -> Option<Encoded> {
    let odd = |at: &usize| std::str::from_utf8(args.get(*at)).is_err();
    let mut bodies: Vec<usize> = (1..args.len()).filter(odd).collect();
    bodies.sort_by_key(|at| std::cmp::Reverse(args.get(*at).len()));
    bodies.into_iter().take(BODIES_MAX).find_map(|at| path_around(args, at))
}

/// None if it would be long, or if something on the way could understand it differently: dots that a URL library takes for
/// directories, a name that is the token's.
fn path_around(args: &Args, body_at: usize) -> Option<Encoded> {
    let around = args.bytes() - args.get(body_at).len();
    if around > PATH_BYTES_MAX {
        return None;
    }
    let mut path = String::new();
    for arg in args.iter().take(body_at) {
        if arg.is_empty() || arg == b"." || arg == b".." {
            return None;
        }
        path.push('/');
        percent(arg, &mut path);
    }
    let behind: Vec<&[u8]> = args.iter().skip(body_at + 1).collect();
    // A name without a value is understood in more than one way.
    if behind.len() % 2 == 1 || behind.chunks(2).any(|pair| pair[0].is_empty() || pair[0] == b"_token") {
        return None;
    }
    for (at, pair) in behind.chunks(2).enumerate() {
        path.push(if at == 0 { '?' } else { '&' });
        percent(pair[0], &mut path);
        path.push('=');
        percent(pair[1], &mut path);
    }
    let body = Bytes::copy_from_slice(args.get(body_at));
    (path.len() <= PATH_BYTES_MAX).then(|| Encoded { path: path.into(), body })
}

/// Everything but letters, digits, `-`, `_`, `.` and `~` as `%XX`.
pub(crate) fn percent(bytes: &[u8], out: &mut String) {
    for byte in bytes {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(*byte)),
            _ => write!(out, "%{byte:02X}").expect("a String takes everything"),
        }
    }
}

/// What one command was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Result(Value),
    Error(String),
}

/// How strings of a reply are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strings {
    Text,
    Base64,
}

/// The answer to one command, or an error for a whole request. The error says what is wrong, without the answer's bytes.
pub(crate) fn decode_one(body: &[u8], strings: Strings) -> Result<Answer, &'static str> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let answer = AnswerSeed(strings).deserialize(&mut json).map_err(|error| complaint(&error))?;
    json.end().map_err(|_| TRAILING)?;
    Ok(answer)
}

/// The answers to several commands; an error for all of them comes alone.
pub(crate) fn decode_several(body: &[u8], strings: Strings) -> Result<Result<Vec<Answer>, String>, &'static str> {
    if body.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'[') {
        return match decode_one(body, strings)? {
            Answer::Error(error) => Ok(Err(error)),
            Answer::Result(_) => Err("one answer to several commands"),
        };
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let answers = AnswersSeed(strings).deserialize(&mut json).map_err(|error| complaint(&error))?;
    json.end().map_err(|_| TRAILING)?;
    Ok(Ok(answers))
}

const TRAILING: &str = "something behind the answer";
const NOT_BASE64: &str = "a string that is not in base64";
const NEITHER: &str = "an answer without a result";

/// serde's own words may quote the answer.
fn complaint(error: &serde_json::Error) -> &'static str {
    use serde_json::error::Category;
    match error.classify() {
        Category::Eof => "an answer that ends too early",
        Category::Syntax => "an answer that is not JSON",
        Category::Data if error.to_string().starts_with(NOT_BASE64) => NOT_BASE64,
        Category::Data if error.to_string().starts_with(NEITHER) => NEITHER,
        Category::Data | Category::Io => "JSON that is no answer",
    }
}

#[derive(Clone, Copy)]
struct ValueSeed(Strings);
#[derive(Clone, Copy)]
struct AnswerSeed(Strings);
#[derive(Clone, Copy)]
struct AnswersSeed(Strings);

impl<'de> DeserializeSeed<'de> for ValueSeed {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Value, D::Error> {
        json.deserialize_any(self)
    }
}

/// Only strings, integers, null and arrays are the protocol's; the rest is what look-alikes send.
impl<'de> Visitor<'de> for ValueSeed {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a reply")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Int(i64::from(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(i64::try_from(value).map_or_else(|_| Value::Bytes(value.to_string().into()), Value::Int))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Bytes(value.to_string().into()))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Value, E> {
        // Padded base64 is never two letters: this is the one word that comes as it is.
        if self.0 == Strings::Text || text == "OK" {
            return Ok(Value::Bytes(Bytes::copy_from_slice(text.as_bytes())));
        }
        let bytes = STANDARD.decode(text).map_err(|_| E::custom(NOT_BASE64))?;
        Ok(Value::Bytes(bytes.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            all.push(item);
        }
        Ok(Value::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(key) = entries.next_key::<String>()? {
            all.push(Value::Bytes(key.into()));
            all.push(entries.next_value_seed(self)?);
        }
        Ok(Value::Array(all))
    }
}

impl<'de> DeserializeSeed<'de> for AnswerSeed {
    type Value = Answer;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Answer, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for AnswerSeed {
    type Value = Answer;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an answer")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Answer, A::Error> {
        let mut result = None;
        let mut error = None;
        while let Some(key) = entries.next_key::<Cow<'_, str>>()? {
            match &*key {
                "result" => result = Some(entries.next_value_seed(ValueSeed(self.0))?),
                "error" => error = entries.next_value::<Option<String>>()?.or(error),
                _ => {
                    entries.next_value::<IgnoredAny>()?;
                }
            }
        }
        match (error, result) {
            (Some(error), _) => Ok(Answer::Error(error)),
            (None, Some(result)) => Ok(Answer::Result(result)),
            (None, None) => Err(A::Error::custom(NEITHER)),
        }
    }
}

impl<'de> DeserializeSeed<'de> for AnswersSeed {
    type Value = Vec<Answer>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Vec<Answer>, D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for AnswersSeed {
    type Value = Vec<Answer>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("answers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<Answer>, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = items.next_element_seed(AnswerSeed(self.0))? {
            all.push(item);
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn args<const N: usize>(all: [&[u8]; N]) -> Args {
        let mut args = Args::new();
        for arg in all {
            args.push(arg);
        }
        args
    }

    #[test]
    fn text_goes_as_json() {
        let encoded = one(&args([b"SET", b"k\"\n", "ä\u{0}".as_bytes()]));
        assert_eq!((&*encoded.path, &encoded.body[..]), ("/", "[\"SET\",\"k\\\"\\n\",\"ä\\u0000\"]".as_bytes()));
        let encoded = several("/pipeline", &[args([b"GET", b"a"]), args([b"PING"])]);
        assert_eq!(&encoded.body[..], br#"[["GET","a"],["PING"]]"#);
        assert_eq!(&several("/pipeline", &[]).body[..], b"[]");
    }

    #[test]
    fn bytes_go_in_the_path_form_or_as_resp() {
        let encoded = one(&args([b"SET", b"a/b \xff", b"\xfe\xff\x00", b"EX", b"60"]));
        assert_eq!((&*encoded.path, &encoded.body[..]), ("/SET/a%2Fb%20%FF?EX=60", &b"\xfe\xff\x00"[..]));
        for refused in [
            args([b"SET", b"..", b"\xff"]),
            args([b"SET", b"", b"\xff"]),
            args([b"SET", b"k", b"\xff", b"NX"]),
            args([b"SET", b"k", b"\xff", b"_token", b"x"]),
            args([b"SET", &[b'k'; 5000], b"\xff"]),
        ] {
            let encoded = one(&refused);
            assert!(encoded.path == "/" && encoded.body.starts_with(b"*"), "{refused:?}");
        }
        let encoded = several("/multi-exec", &[args([b"GET", b"\xff"]), args([b"PING"])]);
        assert_eq!(&encoded.body[..], b"*2\r\n$3\r\nGET\r\n$1\r\n\xff\r\n*1\r\n$4\r\nPING\r\n");
    }

    #[test]
    fn answers_are_read() {
        let one = |body: &str| decode_one(body.as_bytes(), Strings::Base64);
        assert_eq!(one(r#"{"result":"OK"}"#), Ok(Answer::Result(Value::from("OK"))));
        assert_eq!(one(r#"{"result":"T0s="}"#), Ok(Answer::Result(Value::from("OK"))));
        assert_eq!(one(r#"{"result":9223372036854775807}"#), Ok(Answer::Result(Value::Int(i64::MAX))));
        assert_eq!(one(r#"{"result":18446744073709551615}"#).unwrap(), Answer::Result("18446744073709551615".into()));
        assert_eq!(one(r#"{"result":null,"error":null,"more":{}}"#), Ok(Answer::Result(Value::Null)));
        assert_eq!(one(r#"{"error":"ERR no"}"#), Ok(Answer::Error("ERR no".to_owned())));
        assert_eq!(one(r#"{"result":"not base64!"}"#), Err(NOT_BASE64));
        assert_eq!(one("{}"), Err(NEITHER));
        assert_eq!(one("<html>"), Err("an answer that is not JSON"));
        assert_eq!(one(r#"{"result":["YQ"#), Err("an answer that ends too early"));
        assert_eq!(one(r#"{"result":1}{"result":2}"#), Err(TRAILING));
        assert_eq!(one("[1]"), Err("JSON that is no answer"));
        assert!(one(&format!("{{\"result\":{}", "[".repeat(100_000))).is_err());
    }

    #[test]
    fn several_answers_are_read() {
        let several = |body: &str| decode_several(body.as_bytes(), Strings::Base64);
        let both = vec![Answer::Result(Value::Int(1)), Answer::Error("ERR no".to_owned())];
        assert_eq!(several(r#"[{"result":1},{"error":"ERR no"}]"#), Ok(Ok(both)));
        assert_eq!(several(r#" {"error":"ERR all"}"#), Ok(Err("ERR all".to_owned())));
        assert_eq!(several(r#"{"result":1}"#), Err("one answer to several commands"));
        assert_eq!(several("[[]]"), Err("JSON that is no answer"));
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::Int),
            any::<Vec<u8>>().prop_map(|bytes| Value::Bytes(bytes.into())),
        ];
        leaf.prop_recursive(4, 32, 8, |inner| prop::collection::vec(inner, 0..8).prop_map(Value::Array))
    }

    fn write(value: &Value, out: &mut String) {
        match value {
            Value::Null => out.push_str("null"),
            Value::Int(number) => write!(out, "{number}").unwrap(),
            Value::Bytes(bytes) => write!(out, "\"{}\"", STANDARD.encode(bytes)).unwrap(),
            Value::Array(all) => {
                out.push('[');
                for (at, value) in all.iter().enumerate() {
                    out.push_str(if at == 0 { "" } else { "," });
                    write(value, out);
                }
                out.push(']');
            }
        }
    }

    proptest! {
        #[test]
        fn every_value_survives(value in values()) {
            let mut json = "{\"result\":".to_owned();
            write(&value, &mut json);
            json.push('}');
            prop_assert_eq!(decode_one(json.as_bytes(), Strings::Base64), Ok(Answer::Result(value)));
        }

        #[test]
        fn nothing_makes_it_panic(body in any::<Vec<u8>>()) {
            let _ = decode_one(&body, Strings::Base64);
            let _ = decode_several(&body, Strings::Text);
        }

        #[test]
        fn what_json_is_cut_is_no_answer(value in values(), keep in any::<prop::sample::Index>()) {
            let mut json = "[{\"result\":".to_owned();
            write(&value, &mut json);
            json.push_str("}]");
            let cut = &json[..keep.index(json.len())];
            prop_assert!(decode_several(cut.as_bytes(), Strings::Base64).is_err());
        }

        #[test]
        fn json_bodies_are_read_back(all in prop::collection::vec(any::<String>(), 1..6)) {
            let mut args = Args::new();
            args.add(&all);
            let encoded = one(&args);
            prop_assert_eq!(serde_json::from_slice::<Vec<String>>(&encoded.body).unwrap(), all);
        }
    }
}
