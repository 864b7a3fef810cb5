//! Sums of decimal numbers, as `INCRBYFLOAT` and `HINCRBYFLOAT` print them.
//!
//! Redis adds in 80 bits and prints 17 decimals, so 0.1 and 0.2 make 0.3. Doubles would make 0.30000000000000004 and lose
//! the last digits of large integers. So numbers are added as the decimals they are written as, exactly; only what does not
//! fit (beyond 21 digits before the point, or 17 after it) is added as doubles.

use dormouse_proto::{Blob, CommandError, Double, parse_double};

/// Decimals after the point, as Redis prints them.
const DECIMALS: usize = 17;
/// One, in the unit numbers are added in.
const ONE: i128 = 10_i128.pow(DECIMALS as u32);

/// The sum of two numbers, each a text that was found to be a finite double. Decimal digits, never an exponent.
pub(crate) fn add(a: &[u8], b: &[u8]) -> Result<Blob, CommandError> {
    if let (Some(a), Some(b)) = (exactly(a), exactly(b))
        && let Some(sum) = a.checked_add(b)
    {
        return Ok(Blob::from(text(sum).into_bytes()));
    }
    let sum = parse_double(a).unwrap_or(f64::NAN) + parse_double(b).unwrap_or(f64::NAN);
    if !sum.is_finite() {
        return Err(CommandError::NanOrInfinity);
    }
    let shortest = Double(sum).to_string();
    // Rust's own formatting never uses an exponent.
    let text = if shortest.contains('e') { format!("{sum}") } else { shortest };
    Ok(Blob::from(text.as_bytes()))
}

/// A number in units of 10⁻¹⁷, if it is one exactly; numbers written otherwise (`5e3`, `0x10`) as the double they mean.
fn exactly(text: &[u8]) -> Option<i128> {
    scaled(text).or_else(|| scaled(format!("{}", parse_double(text)?).as_bytes()))
}

fn scaled(text: &[u8]) -> Option<i128> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let point = digits.iter().position(|&byte| byte == b'.').unwrap_or(digits.len());
    let (whole, fraction) = (&digits[..point], digits.get(point + 1..).unwrap_or_default());
    if fraction.len() > DECIMALS || whole.len() + fraction.len() == 0 {
        return None;
    }
    let mut value: i128 = 0;
    let zeros = std::iter::repeat_n(&b'0', DECIMALS - fraction.len());
    for &digit in whole.iter().chain(fraction).chain(zeros) {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(i128::from(digit - b'0'))?;
    }
    Some(if negative { -value } else { value })
}

fn text(sum: i128) -> String {
    let (whole, fraction) = (sum.unsigned_abs() / ONE.unsigned_abs(), sum.unsigned_abs() % ONE.unsigned_abs());
    let sign = if sum < 0 { "-" } else { "" };
    if fraction == 0 {
        return format!("{sign}{whole}");
    }
    let fraction = format!("{fraction:017}");
    format!("{sign}{whole}.{}", fraction.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_what_one_writes_on_paper() {
        for (a, b, sum) in [
            ("0.1", "0.2", "0.3"),
            ("10.5", "0.1", "10.6"),
            ("-3.575", "2", "-1.575"),
            ("5.0e3", "2.0e2", "5200"),
            ("1", "-1", "0"),
            ("-0.25", "0.125", "-0.125"),
            ("9223372036854775807", "-1", "9223372036854775806"),
            ("0", "1e21", "1000000000000000000000"),
            ("1e300", "1e300", &format!("{}", 2e300_f64)),
            ("+.5", "0x10", "16.5"),
        ] {
            assert_eq!(add(a.as_bytes(), b.as_bytes()).unwrap().as_slice(), sum.as_bytes(), "{a} + {b}");
        }
    }

    #[test]
    fn sums_stay_finite() {
        assert_eq!(add(b"1.7e308", b"1.7e308"), Err(CommandError::NanOrInfinity));
    }
}
