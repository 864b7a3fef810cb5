//! Numbers of scripts as text, in the two ways Redis writes them.
//!
//! What is passed to a command is as short as it can be without loss; text and JSON have C's `%.14g`. Both show in data
//! people keep, so this must agree to the digit. (Redis before 7.2 passed numbers with `%.17g`.)

/// Whole numbers up to here are written as such.
pub(super) const WHOLE_MAX: u64 = (i64::MAX / 2) as u64;
/// Beyond, so many zeros may follow the digits; more are an exponent.
const ZEROS_MAX: i32 = 7;
/// So many digits may stand behind the point, or any number where the first digit is this near to it.
const DECIMALS_MAX: i32 = 6;
const NEAR: i32 = 3;

/// The shortest text that reads back as the same double.
pub(super) fn shortest(value: f64) -> String {
    if !value.is_finite() {
        return general(value, 17);
    }
    if value.fract() == 0.0 && value.abs() <= WHOLE_MAX as f64 {
        return (value as i64).to_string();
    }
    let scientific = format!("{:e}", value.abs());
    let (mantissa, exponent) = scientific.split_once('e').expect("Rust writes an exponent with `e`");
    let exponent: i32 = exponent.parse().expect("Rust writes exponents as integers");
    let digits = mantissa.replace('.', "");
    let minus = if value < 0.0 { "-" } else { "" };
    // Digits behind the point; where there are fewer than none, zeros before it.
    let decimals = digits.len() as i32 - 1 - exponent;
    if (-ZEROS_MAX..=0).contains(&decimals) {
        return format!("{minus}{digits}{}", "0".repeat(decimals.unsigned_abs() as usize));
    }
    if decimals > 0 && (decimals <= DECIMALS_MAX || exponent.abs() <= NEAR) {
        let padded = format!("{}{digits}", "0".repeat((-exponent).max(0) as usize));
        let (whole, fraction) = padded.split_at(padded.len() - decimals as usize);
        return format!("{minus}{whole}.{fraction}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{minus}{mantissa}e{sign}{}", exponent.abs())
}

/// `%.{precision}g` of a double.
pub(super) fn general(value: f64, precision: usize) -> String {
    if value.is_nan() {
        return if value.is_sign_negative() { "-nan".into() } else { "nan".into() };
    }
    if value.is_infinite() {
        return if value < 0.0 { "-inf".into() } else { "inf".into() };
    }
    let precision = precision.max(1);
    let scientific = format!("{value:.*e}", precision - 1);
    let (mantissa, exponent) = scientific.split_once('e').expect("Rust writes an exponent with `e`");
    let exponent: i32 = exponent.parse().expect("Rust writes exponents as integers");
    if exponent < -4 || exponent >= precision as i32 {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", trim(mantissa), exponent.abs());
    }
    let decimals = (precision as i32 - 1 - exponent).max(0) as usize;
    trim(&format!("{value:.decimals$}")).to_owned()
}

/// Without zeros at the end of a fraction.
fn trim(digits: &str) -> &str {
    if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits }
}

#[cfg(test)]
mod tests {
    use super::{general, shortest};

    #[test]
    fn arguments_are_short_as_in_redis() {
        for (value, text) in [
            (0.1, "0.1"),
            (-0.0, "0"),
            (1e15, "1000000000000000"),
            (1e18, "1000000000000000000"),
            (5e18, "5e+18"),
            (1e20, "1e+20"),
            (1.25e19, "1.25e+19"),
            (12_345_678_901_234_567_890_123.0, "12345678901234568000000"),
            (12_345_678_901_234_567e8, "1.2345678901234568e+24"),
            (123_456_789_012_345_678.0, "123456789012345680"),
            (123_456_789_012_345.67, "123456789012345.67"),
            (12_345.678_901_234, "1.2345678901234e+4"),
            (1_234.567_890_123_4, "1234.5678901234"),
            (-0.5, "-0.5"),
            (0.001, "0.001"),
            (0.000_123_45, "1.2345e-4"),
            (1.5e-5, "0.000015"),
            (1e-6, "0.000001"),
            (1.2e-6, "1.2e-6"),
            (-2.5e-7, "-2.5e-7"),
            (1.5e300, "1.5e+300"),
            (5e-324, "5e-324"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(shortest(value), text);
        }
    }

    #[test]
    fn numbers_print_as_in_c() {
        for (value, precision, text) in [
            (3.0, 17, "3"),
            (0.1, 17, "0.10000000000000001"),
            (1e20, 17, "1e+20"),
            (1e15, 17, "1000000000000000"),
            (1_700_000_000_000.0, 17, "1700000000000"),
            (-0.0, 17, "-0"),
            (0.000_1, 14, "0.0001"),
            (0.000_01, 14, "1e-05"),
            (1e100, 14, "1e+100"),
            (123_456_789_012_345_678.0, 14, "1.2345678901235e+17"),
            (99_999_999_999_999.9, 14, "1e+14"),
            (std::f64::consts::PI, 3, "3.14"),
            (1000.0, 3, "1e+03"),
            (f64::INFINITY, 17, "inf"),
            (f64::NEG_INFINITY, 17, "-inf"),
            (5e-324, 17, "4.9406564584124654e-324"),
        ] {
            assert_eq!(general(value, precision), text);
        }
    }
}
