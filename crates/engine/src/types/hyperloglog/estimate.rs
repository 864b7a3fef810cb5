//! From registers to a number: Otmar Ertl's improved raw estimator ("New cardinality estimation algorithms for HyperLogLog
//! sketches", 2017), which needs neither tables nor a correction of bias.
//!
//! The counts must be those of Redis to the last one, so sums are taken in the order Redis takes them.

use super::sketch::{REGISTERS, VALUE_MAX, VALUES};

/// Registers as the formulas want them.
const M: f64 = REGISTERS as f64;
/// The limit of the bias correction for many registers: 1 / (2 ln 2).
const ALPHA: f64 = 0.721_347_520_444_481_7;

/// The estimate, from how many registers have each value.
pub(super) fn estimate(histogram: &[u32; VALUES]) -> u64 {
    let share = |count: u32| f64::from(count) / M;
    let top = usize::from(VALUE_MAX);
    let mut z = M * tau((M - f64::from(histogram[top])) / M);
    for value in (1..top).rev() {
        z = 0.5 * (z + f64::from(histogram[value]));
    }
    z += M * sigma(share(histogram[0]));
    // Rounds to nearest; an endless sum of empty registers makes it zero.
    (ALPHA * M * M / z).round() as u64
}

/// Σ x^(2^k) · 2^(k-1), with x itself.
fn sigma(mut x: f64) -> f64 {
    if x >= 1.0 {
        return f64::INFINITY;
    }
    let (mut weight, mut sum) = (1.0, x);
    loop {
        x *= x;
        let before = sum;
        sum += x * weight;
        weight += weight;
        if sum <= before {
            return sum;
        }
    }
}

/// A third of 1 - x - Σ (1 - x^(2^-k))² · 2^-k.
fn tau(mut x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return 0.0;
    }
    let (mut weight, mut sum) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = sum;
        weight *= 0.5;
        sum -= (1.0 - x) * (1.0 - x) * weight;
        if sum >= before {
            return sum / 3.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_and_many_are_counted() {
        let mut histogram = [0; VALUES];
        histogram[0] = REGISTERS as u32;
        assert_eq!(estimate(&histogram), 0);
        histogram[0] -= 1;
        histogram[1] = 1;
        assert_eq!(estimate(&histogram), 1);
        let mut full = [0; VALUES];
        full[usize::from(VALUE_MAX)] = REGISTERS as u32;
        assert!(estimate(&full) > 1 << 60);
    }
}
