//! How many tests passed and failed, read from the last words of the test runners we use.
//!
//! Each has its own way to say it. A line that is not such a summary counts nothing; so does everything a test prints.

/// Tests by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }

    /// What one line of output says.
    pub(crate) fn of_line(line: &str) -> Self {
        let line = line.trim();
        let node = |mark| line.strip_prefix(mark).and_then(|count: &str| count.trim().parse().ok());
        if let Some(passed) = node("# pass ").or_else(|| node("ℹ pass ")) {
            return Self { passed, failed: 0 };
        }
        if let Some(failed) = node("# fail ").or_else(|| node("ℹ fail ")) {
            return Self { passed: 0, failed };
        }
        if !is_summary(line) {
            return Self::default();
        }
        let errors = before(line, "error");
        Self { passed: before(line, "passed"), failed: before(line, "failed") + errors }
    }
}

/// cargo test, nextest, pytest, and our own tools, in this order.
fn is_summary(line: &str) -> bool {
    line.starts_with("test result: ")
        || (line.starts_with("Summary [") && line.contains("tests run:"))
        || (line.starts_with('=') && line.ends_with('=') && line.contains(" in "))
        || is_plain(line)
}

/// `N passed, N failed` or pytest's quiet `N failed, N passed in 3 s`, with nothing before it.
fn is_plain(line: &str) -> bool {
    let mut words = line.split_whitespace();
    words.next().is_some_and(|word| word.parse::<u64>().is_ok())
        && words.next().is_some_and(|word| matches!(word, "passed" | "passed," | "failed" | "failed,"))
        && words.next().is_none_or(|word| word == "in" || word.parse::<u64>().is_ok())
}

/// The number right before a word.
fn before(line: &str, word: &str) -> u64 {
    let mut previous = "";
    for part in line.split_whitespace() {
        if part.starts_with(word)
            && let Ok(count) = previous.parse()
        {
            return count;
        }
        previous = part;
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_runner_is_understood() {
        for (line, passed, failed) in [
            ("test result: ok. 31 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.2s", 31, 0),
            ("test result: FAILED. 1 passed; 2 failed; 0 ignored", 1, 2),
            ("     Summary [   5.602s] 57 tests run: 56 passed (1 slow), 1 failed, 3 skipped", 56, 1),
            ("# pass 12", 12, 0),
            ("ℹ fail 3", 0, 3),
            ("===== 2 failed, 40 passed, 1 error in 3.21s =====", 40, 3),
            ("2 failed, 32 passed in 49.25s", 32, 2),
            ("34 passed in 3.2s", 34, 0),
            ("12 passed, 1 failed", 12, 1),
            ("120 passed, 0 failed (engine)", 120, 0),
            ("running 31 tests", 0, 0),
            ("3 passed by", 0, 0),
            ("the page said 12 passed, 1 failed", 0, 0),
            ("", 0, 0),
        ] {
            assert_eq!(Counts::of_line(line), Counts { passed, failed }, "{line}");
        }
    }
}
