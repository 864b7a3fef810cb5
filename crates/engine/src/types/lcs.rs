//! `LCS`: the longest common subsequence of two strings, and where its parts are.
//!
//! The usual table has a cell for each pair of positions. Only its last row is needed to fill the next, and to walk back
//! only one bit of a cell: whether the way leads up. So the table is rows of bits, a thirty-second of what Redis takes;
//! the limit on its size is Redis's all the same, for the time it takes.

use dormouse_proto::{Args, Blob, CommandError, Reply};

use crate::args::{Options, is};
use crate::txn::{Outcome, Txn};

/// Bytes of a cell in Redis's table, which its limit counts.
const CELL_BYTES: usize = 4;

/// A part that both strings have: where it begins in each, and how long it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Match {
    a: usize,
    b: usize,
    length: usize,
}

/// A subsequence, and its parts from the last to the first.
#[derive(Debug, Default, PartialEq, Eq)]
struct Common {
    bytes: Vec<u8>,
    matches: Vec<Match>,
}

/// One bit for each pair of positions.
struct Table {
    words: Vec<u64>,
    columns: usize,
}

impl Table {
    fn new(rows: usize, columns: usize) -> Self {
        Self { words: vec![0; (rows * columns).div_ceil(64)], columns }
    }

    fn set(&mut self, row: usize, column: usize) {
        let at = row * self.columns + column;
        self.words[at / 64] |= 1 << (at % 64);
    }

    fn get(&self, row: usize, column: usize) -> bool {
        let at = row * self.columns + column;
        self.words[at / 64] >> (at % 64) & 1 != 0
    }
}

/// Fills the table row by row, and says of each cell whether leaving out the byte of `a` loses less than leaving out that
/// of `b`. Returns the length of the longest common subsequence.
fn fill(a: &[u8], b: &[u8], mut up: impl FnMut(usize, usize)) -> u32 {
    let mut lengths = vec![0_u32; b.len() + 1];
    for (row, byte) in a.iter().enumerate() {
        // The cell up and to the left.
        let mut corner = 0;
        for (column, other) in b.iter().enumerate() {
            let (above, left) = (lengths[column + 1], lengths[column]);
            lengths[column + 1] = if byte == other { corner + 1 } else { above.max(left) };
            if above > left {
                up(row, column);
            }
            corner = above;
        }
    }
    lengths[b.len()]
}

fn common(a: &[u8], b: &[u8]) -> Common {
    let mut table = Table::new(a.len(), b.len());
    let length = fill(a, b, |row, column| table.set(row, column));
    let mut common = Common { bytes: Vec::with_capacity(length as usize), matches: Vec::new() };
    let (mut row, mut column) = (a.len(), b.len());
    while row > 0 && column > 0 {
        if a[row - 1] != b[column - 1] {
            if table.get(row - 1, column - 1) {
                row -= 1;
            } else {
                column -= 1;
            }
            continue;
        }
        let joins = common.matches.last().is_some_and(|last| last.a == row && last.b == column);
        (row, column) = (row - 1, column - 1);
        common.bytes.push(a[row]);
        match common.matches.last_mut() {
            Some(last) if joins => *last = Match { a: row, b: column, length: last.length + 1 },
            _ => common.matches.push(Match { a: row, b: column, length: 1 }),
        }
    }
    common.bytes.reverse();
    common
}

#[derive(Default)]
struct Wanted {
    length: bool,
    matches: bool,
    with_lengths: bool,
    length_min: usize,
}

impl Wanted {
    fn parse(args: Args<'_>) -> Result<Self, CommandError> {
        let mut options = Options::new(args);
        let mut wanted = Self::default();
        while let Some(word) = options.next() {
            match () {
                () if is(word, "IDX") => wanted.matches = true,
                () if is(word, "LEN") => wanted.length = true,
                () if is(word, "WITHMATCHLEN") => wanted.with_lengths = true,
                () if is(word, "MINMATCHLEN") && !options.rest().is_empty() => {
                    wanted.length_min = usize::try_from(options.integer()?).unwrap_or(0);
                }
                () => return Err(CommandError::Syntax),
            }
        }
        if wanted.length && wanted.matches {
            return Err(CommandError::text("ERR If you want both the length and indexes, please just use IDX."));
        }
        Ok(wanted)
    }

    fn show(&self, common: &Common) -> Reply {
        let range =
            |from: usize, length: usize| Reply::Array(vec![Reply::count(from), Reply::count(from + length - 1)]);
        let show = |part: &Match| {
            let mut shown = vec![range(part.a, part.length), range(part.b, part.length)];
            if self.with_lengths {
                shown.push(Reply::count(part.length));
            }
            Reply::Array(shown)
        };
        let matches = common.matches.iter().filter(|part| part.length >= self.length_min).map(show);
        Reply::Map(vec![
            (Reply::bulk("matches"), Reply::Array(matches.collect())),
            (Reply::bulk("len"), Reply::count(common.bytes.len())),
        ])
    }
}

pub(crate) fn lcs(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let mut strings = Vec::with_capacity(2);
    for key in &args[1..3] {
        txn.value(key)?;
        let value = txn.peek_as::<Blob>(key);
        let value = value.map_err(|_| CommandError::text("ERR The specified keys must contain string values"))?;
        strings.push(value.cloned().unwrap_or_default());
    }
    let (a, b) = (&strings[0], &strings[1]);
    let wanted = Wanted::parse(&args[3..])?;
    let cells = (a.len() + 1).saturating_mul(b.len() + 1);
    if cells.saturating_mul(CELL_BYTES) > txn.hub().limits.string_bytes_max {
        let text = "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len";
        return Err(CommandError::text(text).into());
    }
    if wanted.length {
        return Ok(Reply::Integer(fill(a, b, |_, _| {}).into()));
    }
    let common = common(a, b);
    Ok(if wanted.matches { wanted.show(&common) } else { Reply::Bulk(Blob::from(common.bytes)) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    #[test]
    fn the_longest_common_subsequence_is_found_with_its_places() {
        let found = common(b"ohmytext", b"mynewtext");
        assert_eq!(found.bytes, b"mytext");
        assert_eq!(found.matches, [Match { a: 4, b: 5, length: 4 }, Match { a: 2, b: 0, length: 2 }]);
        assert_eq!(common(b"", b"a"), Common::default());
        assert_eq!(common(b"abc", b"abc").matches, [Match { a: 0, b: 0, length: 3 }]);
    }

    #[test]
    fn a_table_too_large_is_refused() {
        let mut bench = Bench::new();
        let long = "x".repeat(12_000);
        bench.run(&format!("SET a {long}"));
        assert_eq!(
            bench.error("LCS a a LEN"),
            "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len"
        );
        bench.run(&format!("SET a {}", &long[..500]));
        assert_eq!(bench.run("LCS a a LEN"), Reply::Integer(500));
        assert_eq!(bench.run("LCS a missing"), Reply::bulk(""));
        assert_eq!(bench.error("LCS a a LEN IDX"), "ERR If you want both the length and indexes, please just use IDX.");
    }
}
