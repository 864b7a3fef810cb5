//! What is behind a door, and how its words differ from Redis's.
//!
//! Pages and Dormouse speak as Redis does. Valkey says some of it in words of its own; each is listed here once, as text
//! for text, so that everything else of a reply must still be equal. Where Valkey *does* something else, a page says so with
//! `except=valkey`, and random commands with an entry in `differential/differences.rs`.

use dormouse_proto::{CommandError, Reply};

use crate::expect::Expect;

/// A kind of server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// Ours.
    Dormouse,
    /// The original.
    Redis,
    /// Its relative.
    Valkey,
}

/// Redis's words, and Valkey's.
const VALKEY_WORDS: &[(&str, &str)] = &[
    ("NOSCRIPT No matching script. Please use EVAL.", "NOSCRIPT No matching script."),
    ("This Redis command is not allowed from script", "This Valkey command is not allowed from script"),
    ("Unknown Redis command called from script", "Unknown command called from script"),
    ("Wrong number of args calling Redis command from script", "Wrong number of args calling command from script"),
    ("at least one argument for this redis lib call", "at least one argument for this call"),
    ("Lua redis lib command arguments must be", "Command arguments must be"),
    ("ERR redis.setresp() requires", "ERR server.setresp() requires"),
    ("ERR redis.log() requires", "ERR server.log() requires"),
    ("redis.register_function", "server.register_function"),
    ("ERR Error registering functions: ERR Library names can", "ERR Function names can"),
    ("ERR Error registering functions: ERR Function already exists", "ERR Function already exists"),
    ("Invalid command passed to redis.acl_check_cmd()", "Invalid command passed to server.acl_check_cmd()"),
    ("exactly one of BYRADIUS and BYBOX can", "exactly one of BYRADIUS, BYBOX and BYPOLYGON can"),
];

/// Digits of a script's name.
const SHA1_DIGITS: usize = 40;

impl Server {
    /// A kind by the name that pages use.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "dormouse" => Some(Self::Dormouse),
            "redis" => Some(Self::Redis),
            "valkey" => Some(Self::Valkey),
            _ => None,
        }
    }

    /// An error of Redis as this server says it.
    pub fn words(self, error: &str) -> String {
        let mut text = error.to_owned();
        if self == Self::Valkey {
            for (redis, valkey) in VALKEY_WORDS {
                text = text.replace(redis, valkey);
            }
            text = without_script_name(&text);
        }
        text
    }

    /// What to expect of this server where a page expects something of Redis.
    pub fn expects(self, expect: &Expect) -> Expect {
        match expect {
            Expect::Error(error) => Expect::Error(self.words(error)),
            Expect::Array(items) => Expect::Array(items.iter().map(|item| self.expects(item)).collect()),
            other => other.clone(),
        }
    }

    /// A RESP2 reply of Dormouse as this server gives it.
    pub fn says(self, reply: &Reply) -> Reply {
        match reply {
            Reply::Error(error) => Reply::Error(CommandError::from(self.words(&error.to_string()))),
            Reply::Array(items) => Reply::Array(items.iter().map(|item| self.says(item)).collect()),
            other => other.clone(),
        }
    }
}

/// Errors of RedisJSON with the code that it leaves out: `ERR`, or the one of a key that holds another type.
pub fn with_codes(reply: Reply) -> Reply {
    match reply {
        Reply::Error(error) => Reply::Error(with_code(error)),
        Reply::Array(items) => Reply::Array(items.into_iter().map(with_codes).collect()),
        other => other,
    }
}

fn with_code(error: CommandError) -> CommandError {
    let text = error.to_string();
    if text == "Existing key has wrong Redis type" {
        return CommandError::WrongType;
    }
    let (first, rest) = text.split_once(' ').unwrap_or((&text, ""));
    match first {
        "Err" => CommandError::from(format!("ERR {rest}")),
        // A word in capitals, except where the text is about one.
        _ if first.len() > 2 && first.bytes().all(|byte| byte.is_ascii_uppercase()) && first != "EOF" => error,
        _ => CommandError::from(format!("ERR {text}")),
    }
}

/// Valkey does not tell which script or function has failed: `… script: <name>, on @user_script:1.` lacks the name there.
fn without_script_name(text: &str) -> String {
    const BEFORE: &str = "script: ";
    let named = text.rfind(BEFORE).and_then(|before| {
        let start = before + BEFORE.len();
        let end = start + text[start..].find(", on @user_")?;
        let (name, place) = (&text[start..end], &text[end..]);
        let is_script = name.len() == SHA1_DIGITS && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_function = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        (is_script || is_function && place.starts_with(", on @user_function:")).then_some((start, end))
    });
    match named {
        Some((start, end)) => format!("{}{}", &text[..start], &text[end + ", ".len()..]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_redisjson_get_their_codes() {
        for (theirs, ours) in [
            ("expected value at line 1 column 1", "ERR expected value at line 1 column 1"),
            ("EOF while parsing a value at line 1 column 0", "ERR EOF while parsing a value at line 1 column 0"),
            ("Err wrong static path", "ERR wrong static path"),
            ("WRONGTYPE wrong type of path value", "WRONGTYPE wrong type of path value"),
            ("ERR bad", "ERR bad"),
        ] {
            assert_eq!(with_code(CommandError::from(theirs.to_owned())).to_string(), ours);
        }
        let wrong_type = with_code(CommandError::text("Existing key has wrong Redis type"));
        assert_eq!(wrong_type, CommandError::WrongType);
    }

    #[test]
    fn valkey_says_the_same_in_other_words() {
        let sha = "19965f96bed2e953a3424cfa591695dc2a3e81db";
        let redis = format!("ERR Unknown Redis command called from script script: {sha}, on @user_script:1.");
        assert_eq!(Server::Valkey.words(&redis), "ERR Unknown command called from script script: on @user_script:1.");
        assert_eq!(Server::Redis.words(&redis), redis);
        let short = "ERR boom script: 19965f, on @user_script:1.";
        assert_eq!(Server::Valkey.words(short), short);
    }
}
