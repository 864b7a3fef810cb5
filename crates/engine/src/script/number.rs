//! Doubles as C's `printf` writes them with `%g`, which is what scripts see of numbers.
//!
//! Redis passes numbers to commands with `%.17g`, and JSON takes `%.14g`; both show in data people keep. So this must agree
//! with C to the digit.

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
    use super::general;

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
