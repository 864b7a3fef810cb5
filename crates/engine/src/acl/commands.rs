//! Which commands a selector grants: a bit for each row of the table, and the rules that say how it came about.
//!
//! The bits decide; the rules are what is shown and kept, so that a later release with more commands in a category grants
//! them too. A rule replaces the earlier ones it makes moot, as in Redis since 7.2.

use dormouse_proto::{Args, Blob};

use super::rules::RuleError;
use crate::command::Command;
use crate::table::{self, Place};

/// See the module's text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CommandSet {
    /// Whether it began with everything, so that commands of later releases are granted as well.
    all: bool,
    bits: Vec<u64>,
    /// First arguments with which a command is granted that is not granted as a whole.
    words: Vec<(usize, Blob)>,
    /// What was said after that, sign first.
    rules: Vec<String>,
}

impl CommandSet {
    /// Every command.
    pub(crate) fn all() -> Self {
        Self { all: true, bits: vec![u64::MAX; table::places().len().div_ceil(64)], ..Self::default() }
    }

    /// Whether a row is granted, whatever its arguments.
    pub(crate) fn has(&self, place: &Place) -> bool {
        self.bits.get(place.index / 64).is_some_and(|bits| bits >> (place.index % 64) & 1 == 1)
    }

    /// Whether a command may run, as far as its name and first argument go.
    pub(crate) fn permits(&self, command: &'static Command, args: Args<'_>) -> bool {
        let Some(place) = table::place(command) else { return false };
        let word = || args.get(1).copied().unwrap_or_default();
        let by_word = |(index, granted): &(usize, Blob)| *index == place.index && granted.eq_ignore_ascii_case(word());
        self.has(place) || (args.len() > 1 && self.words.iter().any(by_word))
    }

    fn set(&mut self, place: &Place, yes: bool) {
        let bits = table::places().len().div_ceil(64);
        self.bits.resize(bits, 0);
        let bit = 1 << (place.index % 64);
        if yes {
            self.bits[place.index / 64] |= bit;
        } else {
            self.bits[place.index / 64] &= !bit;
        }
        self.words.retain(|(index, _)| *index != place.index);
    }

    /// Grants (`+`) or takes away (`-`) what a word names: `@all`, a category, a command, a sub-command, or a command with
    /// a first argument.
    pub(crate) fn change(&mut self, word: &str, yes: bool) -> Result<(), RuleError> {
        let word = word.to_ascii_lowercase();
        match word.strip_prefix('@') {
            Some("all") => {
                *self = if yes { Self::all() } else { Self::default() };
                return Ok(());
            }
            Some(category) => {
                let mut known = false;
                for place in table::places().iter().filter(|place| place.command.is_in(category)) {
                    known = true;
                    self.set(place, yes);
                }
                if !known {
                    return Err(RuleError::Unknown);
                }
            }
            None => self.change_command(&word, yes)?,
        }
        self.note(&word, yes);
        Ok(())
    }

    fn change_command(&mut self, word: &str, yes: bool) -> Result<(), RuleError> {
        if let Some(place) = table::place_named(word) {
            self.set(place, yes);
            for inner in table::places().iter().filter(|inner| inner.is_within(place)) {
                self.set(inner, yes);
            }
            return Ok(());
        }
        let (name, first) = word.rsplit_once('|').filter(|_| yes).ok_or(RuleError::Unknown)?;
        let place = table::place_named(name).ok_or(RuleError::Unknown)?;
        match () {
            () if place.container.is_some() => Err(RuleError::WordOfSubcommand),
            () if first.is_empty() => Err(RuleError::Syntax),
            () if !place.command.subcommands.is_empty() => Err(RuleError::Unknown),
            () => {
                // Past the whole command there is nothing to add, as in Redis.
                let known = (place.index, Blob::from(first.as_bytes()));
                if !self.words.contains(&known) {
                    self.words.push(known);
                }
                Ok(())
            }
        }
    }

    /// Remembers a rule, in place of those about the same thing or a part of it.
    fn note(&mut self, word: &str, yes: bool) {
        self.rules.retain(|rule| {
            let rest = rule[1..].strip_prefix(word);
            !rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('|'))
        });
        self.rules.push(format!("{}{word}", if yes { '+' } else { '-' }));
    }

    /// The rules that make it, in order.
    pub(crate) fn rules(&self) -> impl Iterator<Item = &str> {
        std::iter::once(if self.all { "+@all" } else { "-@all" }).chain(self.rules.iter().map(String::as_str))
    }
}

#[cfg(test)]
impl CommandSet {
    /// Whether both grant the same, however that came about.
    pub(crate) fn grants_as(&self, other: &Self) -> bool {
        let same = |place: &Place| self.has(place) == other.has(place);
        self.all == other.all && self.words == other.words && table::places().iter().all(same)
    }
}
