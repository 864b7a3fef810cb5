//! Scripts kept for `EVALSHA`, by the SHA-1 of their texts.
//!
//! Clients that build a new text for each call would fill any cache, so what only ever came by `EVAL` is kept for a while:
//! the least recently used go first, as in Redis. A script that was loaded, or called by its hash, stays until the bounds
//! on all scripts are met. None of it is durable.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use hashbrown::HashMap;

use crate::hub::Limits;

/// How a script came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// By `EVAL`, as text.
    AsText,
    /// By `SCRIPT LOAD`, or its hash was known.
    ToStay,
}

#[derive(Debug)]
struct Kept {
    source: Arc<[u8]>,
    /// When it was last used, if it only ever came as text.
    used: Option<u64>,
}

/// See the module's text.
#[derive(Debug, Default)]
pub(crate) struct Scripts {
    by_name: HashMap<String, Kept>,
    /// Their names, the oldest first.
    order: VecDeque<String>,
    /// Those that only ever came as text, by when they were last used.
    passing: BTreeMap<u64, String>,
    uses: u64,
    /// The length of their texts together.
    bytes: usize,
}

impl Scripts {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.by_name.len()
    }

    /// A script, without a trace.
    pub(crate) fn get(&self, sha: &str) -> Option<Arc<[u8]>> {
        self.by_name.get(sha).map(|kept| Arc::clone(&kept.source))
    }

    /// A script that is about to be used.
    pub(crate) fn used(&mut self, sha: &str, came: Came) -> Option<Arc<[u8]>> {
        let kept = self.by_name.get_mut(sha)?;
        if let Some(used) = kept.used.take() {
            let name = self.passing.remove(&used);
            if came == Came::AsText
                && let Some(name) = name
            {
                self.uses += 1;
                kept.used = Some(self.uses);
                self.passing.insert(self.uses, name);
            }
        }
        Some(Arc::clone(&kept.source))
    }

    /// Keeps a script. How many went because only so many that came as text are kept.
    pub(crate) fn keep(&mut self, sha: &str, source: &[u8], came: Came, limits: &Limits) -> u64 {
        if self.used(sha, came).is_some() {
            return 0;
        }
        self.uses += 1;
        let used = (came == Came::AsText).then_some(self.uses);
        if let Some(used) = used {
            self.passing.insert(used, sha.to_owned());
        }
        self.by_name.insert(sha.to_owned(), Kept { source: Arc::from(source), used });
        self.order.push_back(sha.to_owned());
        self.bytes += source.len();
        let mut evicted = 0;
        while self.passing.len() > limits.eval_scripts_max
            && let Some((_, sha)) = self.passing.pop_first()
        {
            self.forget(&sha);
            evicted += 1;
        }
        while (self.by_name.len() > limits.scripts_max || self.bytes > limits.scripts_bytes_max)
            && let Some(oldest) = self.order.pop_front()
        {
            self.forget(&oldest);
        }
        // Names whose scripts went earlier are dropped once they are the larger part.
        if self.order.len() > 2 * self.by_name.len() + 16 {
            self.order.retain(|sha| self.by_name.contains_key(sha));
        }
        evicted
    }

    fn forget(&mut self, sha: &str) {
        if let Some(kept) = self.by_name.remove(sha) {
            self.bytes -= kept.source.len();
            if let Some(used) = kept.used {
                self.passing.remove(&used);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

    fn kept(scripts: &Scripts) -> String {
        NAMES.into_iter().filter(|sha| scripts.get(sha).is_some()).collect()
    }

    #[test]
    fn scripts_are_bounded_in_number_and_bytes() {
        let limits = Limits { scripts_max: 3, scripts_bytes_max: 100, ..Limits::default() };
        for came in [Came::ToStay, Came::AsText] {
            let mut scripts = Scripts::default();
            for sha in ["a", "b", "c", "d"] {
                scripts.keep(sha, &[b' '; 20], came, &limits);
            }
            assert_eq!(kept(&scripts), "bcd");
            scripts.keep("e", &[b' '; 75], came, &limits);
            assert_eq!(kept(&scripts), "de");
            scripts.keep("e", &[b' '; 75], came, &limits);
            assert_eq!((scripts.len(), scripts.bytes), (2, 95), "it is there already");
        }
    }

    #[test]
    fn texts_that_pass_by_make_room_for_each_other() {
        let limits = Limits { eval_scripts_max: 2, ..Limits::default() };
        let mut scripts = Scripts::default();
        assert_eq!(scripts.keep("a", b"1", Came::AsText, &limits), 0);
        assert_eq!(scripts.keep("b", b"2", Came::AsText, &limits), 0);
        scripts.used("a", Came::AsText);
        assert_eq!(scripts.keep("c", b"3", Came::AsText, &limits), 1);
        assert_eq!(kept(&scripts), "ac", "the least recently used goes");
        scripts.used("a", Came::ToStay);
        scripts.keep("c", b"3", Came::ToStay, &limits);
        scripts.keep("d", b"4", Came::AsText, &limits);
        scripts.keep("e", b"5", Came::AsText, &limits);
        assert_eq!(kept(&scripts), "acde", "what is called by its hash stays, and so does what was loaded");
        for round in 0..1_000 {
            scripts.keep(&format!("{round}"), b"x", Came::AsText, &limits);
        }
        assert_eq!((kept(&scripts).as_str(), scripts.len(), scripts.bytes), ("ac", 4, 4));
        assert!(scripts.order.len() < 30, "{}", scripts.order.len());
    }
}
