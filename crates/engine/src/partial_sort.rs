//! The first few of a long sequence in order, and the rest in whatever order it ends up.
//!
//! Where elements compare equal, which of them come first depends on the algorithm, and clients see it (`SORT … BY … ALPHA
//! LIMIT`, `GEOSEARCH … COUNT`). Redis sorts everything with the C library's stable sort, and a part with the quicksort of
//! Jon Bentley and Douglas McIlroy ("Engineering a sort function", 1993) that leaves out what is not asked for; so do we.

use std::cmp::Ordering;
use std::ops::Range;

/// Slices shorter than this are sorted by insertion.
const INSERTION_MAX: usize = 7;
/// Slices longer than this take their pivot from nine elements, not three.
const MEDIAN_OF_THREE_MAX: usize = 40;
/// Partitions within partitions after which the rest is sorted otherwise: only input made for that purpose gets so far.
const DEPTH_MAX: usize = 128;

/// Sorts so that at least the elements in `wanted` are where a full sort would put some order of equals.
pub(crate) fn partial_sort<T>(items: &mut [T], wanted: Range<usize>, order: impl Fn(&T, &T) -> Ordering) {
    if wanted == (0..items.len()) {
        items.sort_by(order);
    } else if let Some(last) = wanted.end.checked_sub(1) {
        quick_sort(items, 0, (wanted.start, last), &order, DEPTH_MAX);
    }
}

/// Sorts a slice that begins at `offset` of the whole, as far as it holds elements from the first to the last wanted.
fn quick_sort<T>(
    mut items: &mut [T],
    mut offset: usize,
    wanted: (usize, usize),
    order: &impl Fn(&T, &T) -> Ordering,
    mut depth: usize,
) {
    while items.len() >= INSERTION_MAX {
        if depth == 0 {
            return items.sort_by(order);
        }
        depth -= 1;
        let (less, greater) = partition(items, order);
        let count = items.len();
        let touches =
            |from: usize, length: usize| length > 1 && wanted.1 >= offset + from && wanted.0 < offset + from + length;
        if touches(0, less) {
            quick_sort(&mut items[..less], offset, wanted, order, depth);
        }
        if !touches(count - greater, greater) {
            return;
        }
        offset += count - greater;
        items = &mut items[count - greater..];
    }
    for end in 1..items.len() {
        for at in (1..=end).rev() {
            if order(&items[at - 1], &items[at]) != Ordering::Greater {
                break;
            }
            items.swap(at - 1, at);
        }
    }
}

/// Brings lesser elements to the front and greater ones to the back of what equals the pivot; how many of each there are.
fn partition<T>(items: &mut [T], order: &impl Fn(&T, &T) -> Ordering) -> (usize, usize) {
    let count = items.len();
    items.swap(0, pivot(items, order));
    // Equals are gathered at both ends: before `equal_low`, and after `equal_high`.
    let (mut equal_low, mut low) = (1, 1);
    let (mut high, mut equal_high) = (count - 1, count - 1);
    loop {
        while low <= high {
            match order(&items[low], &items[0]) {
                Ordering::Greater => break,
                Ordering::Equal => {
                    items.swap(equal_low, low);
                    equal_low += 1;
                }
                Ordering::Less => {}
            }
            low += 1;
        }
        while low <= high {
            match order(&items[high], &items[0]) {
                Ordering::Less => break,
                Ordering::Equal => {
                    items.swap(high, equal_high);
                    equal_high -= 1;
                }
                Ordering::Greater => {}
            }
            high -= 1;
        }
        if low > high {
            break;
        }
        items.swap(low, high);
        low += 1;
        high -= 1;
    }
    let (less, greater) = (low - equal_low, equal_high - high);
    // Then they go to the middle.
    swap_ranges(items, 0, low, equal_low.min(less));
    swap_ranges(items, low, count, greater.min(count - 1 - equal_high));
    (less, greater)
}

/// Swaps so many elements from `front` on with those that end before `end`.
fn swap_ranges<T>(items: &mut [T], front: usize, end: usize, count: usize) {
    for at in 0..count {
        items.swap(front + at, end - count + at);
    }
}

/// The middle one of three elements, or of three such.
fn pivot<T>(items: &[T], order: &impl Fn(&T, &T) -> Ordering) -> usize {
    let (middle, last) = (items.len() / 2, items.len() - 1);
    let median = |a: usize, b: usize, c: usize| {
        let less = |a: usize, b: usize| order(&items[a], &items[b]) == Ordering::Less;
        match () {
            () if less(a, b) && less(b, c) => b,
            () if less(a, b) => {
                if less(a, c) {
                    c
                } else {
                    a
                }
            }
            () if less(c, b) => b,
            () => {
                if less(a, c) {
                    a
                } else {
                    c
                }
            }
        }
    };
    match items.len() {
        INSERTION_MAX => middle,
        length if length <= MEDIAN_OF_THREE_MAX => median(0, middle, last),
        length => {
            let step = length / 8;
            let low = median(0, step, 2 * step);
            let middle = median(middle - step, middle, middle + step);
            median(low, middle, median(last - 2 * step, last - step, last))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moment::Random;

    #[test]
    fn what_is_wanted_is_where_a_full_sort_puts_it() {
        let mut random = Random::new(9);
        for round in 0..2_000 {
            let length = random.below(if round % 10 == 0 { 300 } else { 30 }) as usize;
            let distinct = 1 + random.below(40);
            let items: Vec<u64> = (0..length).map(|_| random.below(distinct)).collect();
            let (a, b) = (random.below(length as u64 + 1) as usize, random.below(length as u64 + 1) as usize);
            let wanted = a.min(b)..a.max(b);
            let (mut sorted, mut partly) = (items.clone(), items);
            sorted.sort_unstable();
            partial_sort(&mut partly, wanted.clone(), u64::cmp);
            assert_eq!(partly[wanted.clone()], sorted[wanted], "{sorted:?}");
            partly.sort_unstable();
            assert_eq!(partly, sorted);
        }
    }
}
