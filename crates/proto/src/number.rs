//! Numbers as text: what Redis accepts as an integer or a double, and how doubles are printed.
//!
//! Doubles print as JavaScript prints them (shortest digits that read back the same, no trailing `.0`), because the SDKs
//! turn text into a number only if it survives that round trip. `inf`, `-inf` and `nan` are Redis's words. Where hardly fewer
//! digits would do, REST shows all 17 that there are, as Upstash does ([`Double::with_exact_text`]).

use std::fmt;

/// Parses a 64-bit integer as strictly as Redis: no plus sign, no spaces, no leading zeros, no `-0`.
pub fn parse_integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    let mut value: i64 = 0;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        let digit = i64::from(digit - b'0');
        value = value.checked_mul(10)?;
        value = if negative { value.checked_sub(digit)? } else { value.checked_add(digit)? };
    }
    Some(value)
}

/// Parses a double: decimal with optional exponent, or `inf`/`infinity` with a sign. No spaces, no `nan`.
pub fn parse_double(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?;
    if let Some(hex) = hex_digits(text) {
        return hex;
    }
    let value: f64 = text.parse().ok()?;
    // An overflowing literal such as 1e400 is refused; the word for infinity is not.
    let spelled = text.trim_start_matches(['+', '-']).starts_with(['i', 'I']);
    (!value.is_nan() && (value.is_finite() || spelled)).then_some(value)
}

/// C's `strtod` takes `0x1F` and `0x1.8p3`, so Redis does.
#[expect(clippy::option_option, reason = "not hexadecimal at all, and hexadecimal but wrong, are two things")]
fn hex_digits(text: &str) -> Option<Option<f64>> {
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let digits = rest.strip_prefix("0x").or_else(|| rest.strip_prefix("0X"))?;
    Some(hex_value(digits).map(|value| if negative { -value } else { value }))
}

/// Hexadecimal digits, perhaps with a fraction and a power of two. What a double cannot hold is refused.
fn hex_value(text: &str) -> Option<f64> {
    /// Beyond this there is nothing but infinity and zero.
    const POWER_MAX: i32 = 1 << 20;
    let (digits, power) = match text.split_once(['p', 'P']) {
        Some((digits, power)) => {
            let power: i64 = power.parse().ok()?;
            (digits, power.clamp(-i64::from(POWER_MAX), i64::from(POWER_MAX)) as i32)
        }
        None => (text, 0),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let (mut mantissa, mut power) = (0_u64, power);
    for (at, digit) in whole.chars().chain(fraction.chars()).enumerate() {
        let digit = u64::from(digit.to_digit(16)?);
        power = power.saturating_sub(if at < whole.len() { 0 } else { 4 });
        if mantissa >> 60 == 0 {
            mantissa = mantissa << 4 | digit;
        } else {
            // Beyond what is kept it only matters whether there is anything.
            mantissa |= u64::from(digit != 0);
            power = power.saturating_add(4);
        }
    }
    let value = scaled(mantissa as f64, power);
    (value.is_finite() && (value != 0.0 || mantissa == 0)).then_some(value)
}

/// A number times a power of two, in steps that neither overflow nor vanish before the result does.
fn scaled(mut value: f64, mut power: i32) -> f64 {
    const STEP: i32 = 1_000;
    while power.abs() > STEP && value != 0.0 && value.is_finite() {
        value *= 2_f64.powi(STEP * power.signum());
        power -= STEP * power.signum();
    }
    value * 2_f64.powi(power.clamp(-STEP, STEP))
}

/// Prints a double the way every door shows it.
///
/// ```
/// use dormouse_proto::Double;
/// assert_eq!(Double(3.0).to_string(), "3");
/// assert_eq!(Double(0.1).to_string(), "0.1");
/// assert_eq!(Double(1e21).to_string(), "1e+21");
/// assert_eq!(Double(f64::NEG_INFINITY).to_string(), "-inf");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Double(pub f64);

impl Double {
    /// Calls `f` with the text, without allocating.
    pub fn with_text<T>(self, f: impl FnOnce(&str) -> T) -> T {
        if self.0 == 0.0 && self.0.is_sign_negative() {
            return f("-0");
        }
        match self.0 {
            value if value == f64::INFINITY => f("inf"),
            value if value == f64::NEG_INFINITY => f("-inf"),
            value if value.is_nan() => f("nan"),
            value => f(ryu_js::Buffer::new().format_finite(value)),
        }
    }

    /// As [`Self::with_text`], but a fraction that takes 16 digits or more has all 17, as C's `%.17g` prints it.
    pub fn with_exact_text<T>(self, f: impl FnOnce(&str) -> T) -> T {
        if !self.0.is_finite() || self.0.fract() == 0.0 || self.with_text(significant) < LONG_DIGITS {
            return self.with_text(f);
        }
        f(&with_all_digits(self.0))
    }
}

/// Significant digits from which on a fraction is shown with all it has.
const LONG_DIGITS: usize = 16;

/// How many significant digits a number in decimals has.
fn significant(text: &str) -> usize {
    let mantissa = text.split('e').next().unwrap_or_default();
    let digits = mantissa.trim_start_matches(['-', '0', '.']);
    digits.bytes().filter(u8::is_ascii_digit).count()
}

/// A fraction with 17 significant digits, less the zeros at the end: plain, or below 10^-4 with an exponent.
fn with_all_digits(value: f64) -> String {
    let scientific = format!("{value:.16e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if exponent < -4 {
        let mantissa = mantissa.trim_end_matches('0').trim_end_matches('.');
        return format!("{mantissa}e-{:02}", exponent.unsigned_abs());
    }
    let decimals = usize::try_from(16 - exponent).unwrap_or_default();
    let plain = format!("{value:.decimals$}");
    plain.trim_end_matches('0').trim_end_matches('.').to_owned()
}

impl fmt::Display for Double {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with_text(|text| out.write_str(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_parse_as_strictly_as_redis() {
        for (text, value) in [
            ("0", Some(0)),
            ("-1", Some(-1)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("-0", None),
            ("+1", None),
            ("01", None),
            (" 1", None),
            ("1 ", None),
            ("", None),
            ("-", None),
            ("1.0", None),
        ] {
            assert_eq!(parse_integer(text.as_bytes()), value, "{text:?}");
        }
    }

    #[test]
    fn long_fractions_show_all_their_digits() {
        for (value, text) in [
            (0.837_574_474_383_931_3, "0.83757447438393129"),
            (3.847_390_522_181_564, "3.8473905221815641"),
            (-0.1, "-0.1"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1.0 / 3.0, "0.33333333333333331"),
            (1.0 / 3e7, "3.3333333333333334e-08"),
            (3_479_099_956_230_698.0, "3479099956230698"),
            (1e300, "1e+300"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(Double(value).with_exact_text(str::to_owned), text);
            assert_eq!(text.parse::<f64>().unwrap().to_bits(), value.to_bits());
        }
    }

    #[test]
    fn doubles_parse_as_redis_does() {
        for (text, value) in [
            ("1.5", Some(1.5)),
            ("+1.5", Some(1.5)),
            ("1e3", Some(1000.0)),
            ("-inf", Some(f64::NEG_INFINITY)),
            ("+Infinity", Some(f64::INFINITY)),
            ("0x10", Some(16.0)),
            ("0x1p+0", Some(1.0)),
            ("-0X1.8P1", Some(-3.0)),
            ("0x.8", Some(0.5)),
            ("0x1.", Some(1.0)),
            ("0x1fffffffffffffffffp-70", Some(0.5)),
            ("0x1p-1074", Some(5e-324)),
            ("0x1p1023", Some(8.988_465_674_311_58e307)),
            ("0x0p99999", Some(0.0)),
            ("0x1p1024", None),
            ("0x1p-2000", None),
            ("0x1p", None),
            ("0xp1", None),
            ("0x.", None),
            ("0x-1", None),
            ("0x1.1.1", None),
            ("nan", None),
            ("1e400", None),
            ("", None),
            (" 1", None),
            ("1 ", None),
        ] {
            assert_eq!(parse_double(text.as_bytes()), value, "{text:?}");
        }
    }
}
