//! How the value of a parameter is read: each form, its errors in Redis's words, and the text it is shown as.
//!
//! A check answers the text that `CONFIG GET` shows from then on: bytes without their unit, words in lower case. It knows no
//! database, so it cannot do anything; whoever calls it does, once all values of a `CONFIG SET` have passed.

use std::fmt::Write as _;

use dormouse_proto::parse_integer;

use super::parameters::Form;
use crate::hub::Notifications;

/// Reads a value: the text it is shown as, or what is wrong with it.
pub(super) type Check = fn(&str) -> Result<String, &'static str>;

impl Form {
    /// Reads a value.
    pub(super) fn read(self, value: &[u8]) -> Result<String, String> {
        let text = String::from_utf8_lossy(value);
        let is = |word: &&str| text.eq_ignore_ascii_case(word);
        match self {
            Self::Switch => {
                let found = ["yes", "no"].into_iter().find(is);
                found.map(str::to_owned).ok_or_else(|| "argument must be 'yes' or 'no'".to_owned())
            }
            Self::Number(least, most) => {
                let number = parse_integer(value).ok_or("argument couldn't be parsed into an integer")?;
                within(i128::from(number), least.into(), most.into())
            }
            Self::Natural(least, most) => {
                let number = parse_integer(value).ok_or("argument couldn't be parsed into an integer")?;
                natural(i128::from(number), least, most)
            }
            Self::Memory(least, most) => {
                let bytes = memory(&text).ok_or("argument must be a memory value")?;
                if least == 0 { natural(bytes, least, most) } else { within(bytes, least.into(), most.into()) }
            }
            Self::MemoryOrPercent => memory_or_percent(&text),
            Self::Word(words) => {
                words.iter().find(|word| is(word)).map(|word| (*word).to_owned()).ok_or_else(|| one_of(words))
            }
            Self::Words(words) => {
                let found: Option<Vec<&str>> = text
                    .split_ascii_whitespace()
                    .map(|given| words.iter().copied().find(|word| word.eq_ignore_ascii_case(given)))
                    .collect();
                let found = found.filter(|found| !found.is_empty() && agree(found));
                found.map(|found| found.join(" ")).ok_or_else(|| one_of(words))
            }
            Self::Text => Ok(text.into_owned()),
            Self::Special(check) => check(&text).map_err(str::to_owned),
        }
    }
}

/// Whether the words of a shutdown can be meant together.
fn agree(words: &[&str]) -> bool {
    let has = |word| words.contains(&word);
    let both = has("save") && has("nosave");
    let more = has("default") && words.len() > 1;
    !both && !more
}

fn one_of(words: &[&str]) -> String {
    format!("argument(s) must be one of the following: {}", words.join(", "))
}

fn within(number: i128, least: i128, most: i128) -> Result<String, String> {
    if (least..=most).contains(&number) {
        return Ok(number.to_string());
    }
    Err(format!("argument must be between {least} and {most} inclusive"))
}

fn natural(number: i128, least: u64, most: u64) -> Result<String, String> {
    if number < 0 || number > i128::from(i64::MAX) {
        return Err("argument must be greater or equal to 0".to_owned());
    }
    within(number, least.into(), most.into())
}

/// `10mb` and kin, in bytes.
fn memory(text: &str) -> Option<i128> {
    let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1_000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    Some(i128::from(digits.parse::<u64>().ok()?) * factor)
}

fn memory_or_percent(text: &str) -> Result<String, String> {
    const WRONG: &str = "argument must be a memory or percent value";
    let Some(part) = text.strip_suffix('%') else {
        return natural(memory(text).ok_or(WRONG)?, 0, i64::MAX as u64);
    };
    match part.parse::<u64>() {
        Ok(part @ 0..=100) => Ok(format!("{part}%")),
        Ok(_) => Err("percentage argument must be less or equal to 100".to_owned()),
        Err(_) => Err(WRONG.to_owned()),
    }
}

pub(super) fn events(text: &str) -> Result<String, &'static str> {
    // As given: the form in which it is shown leaves some out beside an `A`.
    Notifications::parse(text.as_bytes())
        .map(|_| text.to_owned())
        .ok_or("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")
}

/// Pairs of seconds and changes.
pub(super) fn save_points(text: &str) -> Result<String, &'static str> {
    const WRONG: &str = "Invalid save parameters";
    let numbers: Option<Vec<u64>> = text.split_ascii_whitespace().map(|word| word.parse().ok()).collect();
    let numbers = numbers.filter(|numbers| numbers.len().is_multiple_of(2)).ok_or(WRONG)?;
    if numbers.iter().step_by(2).any(|seconds| *seconds == 0) {
        return Err(WRONG);
    }
    Ok(numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(" "))
}

/// The classes of clients, and what each may have waiting: a hard limit, a soft one and its seconds.
const CLASSES: [(&str, [u64; 3]); 3] =
    [("normal", [0, 0, 0]), ("slave", [256 << 20, 64 << 20, 60]), ("pubsub", [32 << 20, 8 << 20, 60])];

/// Four words for each class that is named; the others get what they have by default.
pub(super) fn output_limits(text: &str) -> Result<String, &'static str> {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    if words.is_empty() || !words.len().is_multiple_of(4) {
        return Err("Wrong number of arguments in buffer limit configuration.");
    }
    let mut classes = CLASSES;
    for limit in words.chunks_exact(4) {
        let name = if limit[0].eq_ignore_ascii_case("replica") { "slave" } else { limit[0] };
        let class = classes.iter_mut().find(|(class, _)| class.eq_ignore_ascii_case(name));
        let (_, class) = class.ok_or("Invalid client class specified in buffer limit configuration.")?;
        let read = |text: &str| memory(text).and_then(|bytes| u64::try_from(bytes).ok());
        let limits = (read(limit[1]), read(limit[2]), limit[3].parse::<u64>().ok());
        let (Some(hard), Some(soft), Some(seconds)) = limits else {
            return Err("Error in hard, soft or soft_seconds setting in buffer limit configuration.");
        };
        *class = [hard, soft, seconds];
    }
    let mut shown = String::new();
    for (name, [hard, soft, seconds]) in classes {
        let gap = if shown.is_empty() { "" } else { " " };
        let _ = write!(shown, "{gap}{name} {hard} {soft} {seconds}");
    }
    Ok(shown)
}

pub(super) fn power_of_two(text: &str) -> Result<String, &'static str> {
    let number = text.parse::<u32>().ok().filter(|number| *number > 1 && number.is_power_of_two());
    number.map(|number| number.to_string()).ok_or("argument must be a power of two")
}

pub(super) fn three_integers(text: &str) -> Result<String, &'static str> {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    if words.len() != 3 {
        return Err("wrong number of arguments");
    }
    let numbers: Option<Vec<i32>> =
        words.iter().map(|word| word.parse().ok().filter(|number| (-2_000..=2_000).contains(number))).collect();
    let numbers = numbers.ok_or("Invalid oom-score-adj-values, elements must be between -2000 and 2000.")?;
    Ok(numbers.iter().map(i32::to_string).collect::<Vec<_>>().join(" "))
}

pub(super) fn percentiles(text: &str) -> Result<String, &'static str> {
    let words: Option<Vec<f64>> = text
        .split_ascii_whitespace()
        .map(|word| word.parse().ok().filter(|part| (0.0..=100.0).contains(part)))
        .collect();
    let words = words.ok_or("Invalid latency-tracking-info-percentiles parameters")?;
    Ok(words.iter().map(f64::to_string).collect::<Vec<_>>().join(" "))
}

pub(super) fn host_name(text: &str) -> Result<String, &'static str> {
    if text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte)) {
        return Ok(text.to_owned());
    }
    Err("Hostnames may only contain alphanumeric characters, hyphens or dots")
}

pub(super) fn locale(text: &str) -> Result<String, &'static str> {
    if ["", "C", "POSIX"].contains(&text) { Ok(text.to_owned()) } else { Err("Invalid locale name") }
}

/// Who may come in is said with tokens and users alone: a password that nobody asks for would be worse than none.
pub(super) fn no_password(text: &str) -> Result<String, &'static str> {
    if text.is_empty() { Ok(String::new()) } else { Err("the database's token is its password; see also ACL SETUSER") }
}

pub(super) fn title(text: &str) -> Result<String, &'static str> {
    const KNOWN: [&str; 6] = ["title", "listen-addr", "server-mode", "port", "tls-port", "unixsocket"];
    let names = text.split('{').skip(1).map(|rest| rest.split_once('}').map(|(name, _)| name));
    let mut fine = names.map(|name| name.is_some_and(|name| KNOWN.contains(&name) || name == "config-file"));
    if fine.all(|fine| fine) {
        return Ok(text.to_owned());
    }
    Err("template format is invalid or contains unknown variables")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [("10", Some(10)), ("1kb", Some(1024)), ("2K", Some(2000)), ("3Gb", Some(3 << 30))] {
            assert_eq!(memory(text), bytes);
        }
        for text in ["", "kb", "1p", "-1", "1.5gb", " 1", "99999999999999999999"] {
            assert_eq!(memory(text), None, "{text}");
        }
    }

    #[test]
    fn a_class_that_is_not_named_has_its_default() {
        let shown = "normal 1048576 2000000 60 slave 268435456 67108864 60 pubsub 33554432 8388608 60";
        assert_eq!(output_limits("normal 1mb 2m 60").as_deref(), Ok(shown));
        assert_eq!(output_limits(shown).as_deref(), Ok(shown));
        assert!(output_limits("other 1 2 3").is_err() && output_limits("normal 1 2").is_err());
    }

    #[test]
    fn words_of_a_shutdown_agree() {
        let words = Form::Words(&["default", "save", "nosave", "now", "force"]);
        assert_eq!(words.read(b"SAVE now").as_deref(), Ok("save now"));
        assert!(words.read(b"save nosave").is_err() && words.read(b"").is_err());
    }
}
