//! The order of a sorted set: members by score, equal scores by the bytes of the member.
//!
//! A sorted sequence cut into chunks of a few hundred members, with a Fenwick tree over the chunks' lengths. Inserting and
//! removing search the chunks, then move part of one; ranks and selection by rank descend the tree. Only a split or a join
//! of chunks, once in a hundred changes or so, costs time in proportion to the number of chunks. Chunks keep neighbours
//! together in memory, so walking a range is walking arrays, in both directions.
//!
//! Scores compare as numbers (-0 equals 0) and are never NaN: the callers see to that. An entry is here once, or not at
//! all; that a member has one score only is the caller's business, too.

use std::cmp::Ordering;
use std::ops::Range;

use dormouse_proto::Blob;

/// A chunk is split rather than grown beyond this many entries.
const CHUNK_MAX: usize = 256;
/// A chunk shorter than this is joined with a neighbour, if the two make no more than half a chunk.
const CHUNK_MIN: usize = CHUNK_MAX / 8;

/// A member and its score.
#[derive(Clone, Debug)]
pub(super) struct Scored {
    pub(super) score: f64,
    pub(super) member: Blob,
}

impl Scored {
    pub(super) fn new(score: f64, member: Blob) -> Self {
        // Adding zero takes the sign from -0, so that equal scores print alike.
        Self { score: score + 0.0, member }
    }

    /// How it compares with another place in the order.
    pub(super) fn order(&self, score: f64, member: &[u8]) -> Ordering {
        // Scores are never NaN, so they always compare.
        let by_score = self.score.partial_cmp(&score).unwrap_or(Ordering::Equal);
        by_score.then_with(|| self.member.as_slice().cmp(member))
    }
}

/// See the module's text.
#[derive(Clone, Debug, Default)]
pub(super) struct Order {
    /// None is empty.
    chunks: Vec<Vec<Scored>>,
    counts: Counts,
    len: usize,
}

impl Order {
    /// Puts entries in order. Each must be there once.
    pub(super) fn from_entries(mut entries: Vec<Scored>) -> Self {
        let len = entries.len();
        let sorted = entries.is_sorted_by(|a, b| a.order(b.score, &b.member) == Ordering::Less);
        if !sorted {
            entries.sort_unstable_by(|a, b| a.order(b.score, &b.member));
        }
        let mut chunks = Vec::with_capacity(len.div_ceil(CHUNK_MAX));
        if len <= CHUNK_MAX {
            chunks.extend((len > 0).then_some(entries));
        } else {
            let mut entries = entries.into_iter();
            while entries.len() > 0 {
                chunks.push(entries.by_ref().take(CHUNK_MAX).collect());
            }
        }
        let counts = Counts::of(&chunks);
        Self { chunks, counts, len }
    }

    /// How many entries there are.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// The chunk an entry is in, or would go to, and its place there.
    fn locate(&self, score: f64, member: &[u8]) -> (usize, usize) {
        let after = self.chunks.partition_point(|chunk| chunk[0].order(score, member) != Ordering::Greater);
        let chunk = after.saturating_sub(1);
        let at = self
            .chunks
            .get(chunk)
            .map_or(0, |chunk| chunk.partition_point(|entry| entry.order(score, member) == Ordering::Less));
        (chunk, at)
    }

    /// Adds an entry that is not there.
    pub(super) fn insert(&mut self, entry: Scored) {
        self.len += 1;
        if self.chunks.is_empty() {
            self.chunks.push(vec![entry]);
            return self.recount();
        }
        let (chunk, at) = self.locate(entry.score, &entry.member);
        let full = self.chunks[chunk].len() >= CHUNK_MAX;
        if !full {
            self.chunks[chunk].insert(at, entry);
            self.counts.add(chunk, 1);
        } else if at == CHUNK_MAX {
            // Rising scores are common (they are often times): a new chunk leaves full ones behind, not halves.
            self.chunks.insert(chunk + 1, vec![entry]);
            self.recount();
        } else {
            let mut upper = self.chunks[chunk].split_off(CHUNK_MAX / 2);
            match at.checked_sub(CHUNK_MAX / 2) {
                Some(at) => upper.insert(at, entry),
                None => self.chunks[chunk].insert(at, entry),
            }
            self.chunks.insert(chunk + 1, upper);
            self.recount();
        }
    }

    /// Removes an entry, and returns it if it was there.
    pub(super) fn remove(&mut self, score: f64, member: &[u8]) -> Option<Scored> {
        let (chunk, at) = self.locate(score, member);
        let entries = self.chunks.get_mut(chunk)?;
        if entries.get(at)?.order(score, member) != Ordering::Equal {
            return None;
        }
        let removed = entries.remove(at);
        self.len -= 1;
        if !self.tidy(chunk) {
            self.counts.add(chunk, -1);
        }
        Some(removed)
    }

    /// Drops a chunk that became empty, or joins a short one with a neighbour. Whether chunks moved.
    fn tidy(&mut self, chunk: usize) -> bool {
        let len = self.chunks[chunk].len();
        if len == 0 {
            self.chunks.remove(chunk);
        } else if len < CHUNK_MIN {
            let fits = |&other: &usize| self.chunks.get(other).is_some_and(|other| other.len() + len <= CHUNK_MAX / 2);
            let Some(other) = [chunk + 1, chunk.wrapping_sub(1)].into_iter().find(fits) else {
                return false;
            };
            let upper = self.chunks.remove(chunk.max(other));
            self.chunks[chunk.min(other)].extend(upper);
        } else {
            return false;
        }
        self.recount();
        true
    }

    fn recount(&mut self) {
        self.counts = Counts::of(&self.chunks);
    }

    /// How many entries come before this place in the order.
    pub(super) fn rank(&self, score: f64, member: &[u8]) -> usize {
        let (chunk, at) = self.locate(score, member);
        self.counts.before(chunk) + at
    }

    /// How many entries `comes_before` holds for. It must hold for all entries up to some place and for none after it.
    pub(super) fn count_while(&self, comes_before: impl Fn(&Scored) -> bool) -> usize {
        let chunk = self.chunks.partition_point(|chunk| comes_before(&chunk[0])).saturating_sub(1);
        let at = self.chunks.get(chunk).map_or(0, |entries| entries.partition_point(&comes_before));
        self.counts.before(chunk) + at
    }

    /// The entry with `rank` entries before it.
    pub(super) fn select(&self, rank: usize) -> Option<&Scored> {
        let (chunk, at) = self.counts.find(rank);
        self.chunks.get(chunk)?.get(at)
    }

    /// The entries in a range of ranks, which is cut to what there is.
    pub(super) fn range(&self, ranks: Range<usize>) -> Entries<'_> {
        let end = ranks.end.min(self.len);
        let left = end.saturating_sub(ranks.start);
        let (front, back) =
            if left == 0 { Default::default() } else { (self.counts.find(ranks.start), self.counts.find(end - 1)) };
        Entries { chunks: &self.chunks, front, back, left }
    }

    /// Every entry.
    pub(super) fn iter(&self) -> Entries<'_> {
        self.range(0..self.len)
    }
}

/// Entries of a range of ranks, from either end.
#[derive(Clone, Debug)]
pub(super) struct Entries<'a> {
    chunks: &'a [Vec<Scored>],
    /// Chunk and place of the next entry from the front.
    front: (usize, usize),
    /// Chunk and place of the next entry from the back.
    back: (usize, usize),
    left: usize,
}

impl<'a> Iterator for Entries<'a> {
    type Item = &'a Scored;

    fn next(&mut self) -> Option<&'a Scored> {
        self.left = self.left.checked_sub(1)?;
        let (chunk, at) = self.front;
        let entries = &self.chunks[chunk];
        self.front = if at + 1 < entries.len() { (chunk, at + 1) } else { (chunk + 1, 0) };
        Some(&entries[at])
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl DoubleEndedIterator for Entries<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let (chunk, at) = self.back;
        self.back = match (at, chunk) {
            (0, 0) => (0, 0),
            (0, _) => (chunk - 1, self.chunks[chunk - 1].len() - 1),
            _ => (chunk, at - 1),
        };
        Some(&self.chunks[chunk][at])
    }
}

impl ExactSizeIterator for Entries<'_> {}

/// The lengths of the chunks as a Fenwick tree: each node holds the sum of the chunks it covers, so that a prefix sum, a
/// change of one length and a search by rank take a step for each bit of the number of chunks.
#[derive(Clone, Debug, Default)]
struct Counts(Vec<usize>);

impl Counts {
    fn of(chunks: &[Vec<Scored>]) -> Self {
        let mut sums: Vec<usize> = chunks.iter().map(Vec::len).collect();
        for at in 0..sums.len() {
            let parent = at | (at + 1);
            if parent < sums.len() {
                sums[parent] += sums[at];
            }
        }
        Self(sums)
    }

    /// One chunk became longer or shorter.
    fn add(&mut self, chunk: usize, difference: isize) {
        let mut at = chunk;
        while let Some(sum) = self.0.get_mut(at) {
            *sum = sum.wrapping_add_signed(difference);
            at |= at + 1;
        }
    }

    /// Entries in the chunks before this one.
    fn before(&self, chunk: usize) -> usize {
        let (mut end, mut sum) = (chunk, 0);
        while end > 0 {
            sum += self.0[end - 1];
            end &= end - 1;
        }
        sum
    }

    /// The chunk that holds an entry by its rank, and the rank within the chunk. A rank too high ends behind all chunks.
    fn find(&self, rank: usize) -> (usize, usize) {
        let (mut chunk, mut left) = (0, rank);
        let mut step = self.0.len().checked_ilog2().map_or(0, |log| 1_usize << log);
        while step > 0 {
            if let Some(&sum) = self.0.get(chunk + step - 1)
                && sum <= left
            {
                chunk += step;
                left -= sum;
            }
            step /= 2;
        }
        (chunk, left)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::moment::Random;

    /// A score and a member as the model orders them.
    fn entry(n: u64) -> (u64, Vec<u8>) {
        // Few distinct scores, so that many members share one.
        (n % 37, format!("member:{}", n / 3).into_bytes())
    }

    fn check(order: &Order, model: &BTreeSet<(u64, Vec<u8>)>, random: &mut Random) {
        assert_eq!(order.len(), model.len());
        let same = |a: &Scored, b: &(u64, Vec<u8>)| a.order(b.0 as f64, &b.1) == Ordering::Equal;
        assert!(order.iter().zip(model).all(|(a, b)| same(a, b)));
        assert!(order.iter().rev().zip(model.iter().rev()).all(|(a, b)| same(a, b)));
        assert!(order.chunks.iter().all(|chunk| !chunk.is_empty() && chunk.len() <= CHUNK_MAX));
        for _ in 0..20 {
            let (score, member) = entry(random.below(30_000));
            let rank = model.range(..(score, member.clone())).count();
            assert_eq!(order.rank(score as f64, &member), rank);
            assert_eq!(order.count_while(|entry| entry.score < score as f64), model.range(..(score, vec![])).count());
            let chosen = random.below(model.len() as u64 + 2) as usize;
            assert_eq!(
                order.select(chosen).map(|entry| entry.member.as_slice()),
                model.iter().nth(chosen).map(|(_, member)| member.as_slice())
            );
            let end = chosen + random.below(700) as usize;
            let (ours, theirs) = (order.range(chosen..end), model.iter().skip(chosen).take(end - chosen));
            assert_eq!(ours.len(), theirs.clone().count());
            assert!(ours.clone().zip(theirs.clone()).all(|(a, b)| same(a, b)));
            assert!(ours.rev().zip(theirs.collect::<Vec<_>>().into_iter().rev()).all(|(a, b)| same(a, b)));
        }
    }

    #[test]
    fn behaves_like_a_sorted_set_while_it_grows_and_shrinks() {
        for seed in 0..3 {
            let mut random = Random::new(seed);
            let (mut order, mut model) = (Order::default(), BTreeSet::new());
            for round in 0..24_000 {
                let (score, member) = entry(random.below(30_000));
                let scored = Scored::new(score as f64, Blob::from(member.as_slice()));
                let grow = random.below(100) < if round < 12_000 { 80 } else { 15 };
                if grow && model.insert((score, member.clone())) {
                    order.insert(scored);
                } else if !grow {
                    // A random entry, or the first: queues are emptied from one end.
                    let gone = if random.below(3) == 0 { Some((score, member)) } else { model.first().cloned() };
                    if let Some((score, member)) = gone {
                        let removed = order.remove(score as f64, &member).is_some();
                        assert_eq!(removed, model.remove(&(score, member)));
                    }
                }
                if round % 1_000 == 0 {
                    check(&order, &model, &mut random);
                }
            }
            check(&order, &model, &mut random);
            for (score, member) in &model {
                assert!(order.remove(*score as f64, member).is_some());
            }
            assert_eq!((order.len(), order.chunks.len()), (0, 0));
        }
    }

    #[test]
    fn rising_scores_leave_full_chunks() {
        let mut order = Order::default();
        for n in 0..10_000 {
            order.insert(Scored::new(f64::from(n), Blob::from(b"m".as_slice())));
        }
        assert_eq!(order.chunks.len(), 10_000_usize.div_ceil(CHUNK_MAX));
    }

    #[test]
    fn entries_are_put_in_order() {
        let mut random = Random::new(9);
        for count in [0, 1, CHUNK_MAX, CHUNK_MAX + 1, 5_000] {
            let model: BTreeSet<_> = (0..count as u64 * 7).step_by(7).map(entry).collect();
            let mut entries: Vec<_> = model.iter().collect();
            entries.sort_by_key(|(_, member)| member);
            let scored = |entry: &(u64, Vec<u8>)| Scored::new(entry.0 as f64, Blob::from(&*entry.1));
            let order = Order::from_entries(entries.into_iter().map(scored).collect());
            check(&order, &model, &mut random);
        }
    }

    #[test]
    fn zeros_of_either_sign_are_equal() {
        let mut order = Order::default();
        order.insert(Scored::new(-0.0, Blob::from(b"b".as_slice())));
        order.insert(Scored::new(0.0, Blob::from(b"a".as_slice())));
        assert_eq!(order.rank(0.0, b"b"), 1);
        assert!(order.remove(0.0, b"b").is_some());
    }
}
