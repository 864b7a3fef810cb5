//! The judge: whether what a database shows, at work and after a crash, is what it may show.

use dormouse_database::Step;
use dormouse_proto::Reply;
use dormouse_storage::{Durability, Lsn};
use dormouse_testkit::differential::{Compare, compare_of, same, subject};
use dormouse_testkit::door::as_resp2;
use dormouse_testkit::reply_text;

use super::{Slot, Verdict, World, no_entropy, send};
use crate::model::{Model, Words, census};

impl World {
    /// Compares all a database shows with its model.
    pub(super) fn look(&mut self) -> Verdict {
        if self.reads_fail_for > 0 {
            return Ok(());
        }
        let slot = self.slot();
        self.note(&format!("{} is looked at", self.slots[slot].name));
        self.look_at(slot)
    }

    fn look_at(&mut self, slot: usize) -> Verdict {
        let moment = self.moment();
        let Some(mut session) = self.session(slot)? else { return Ok(()) };
        let mut failed = None;
        let found = census(&mut |args: &[&[u8]]| {
            let command: Words = args.iter().map(|arg| arg.to_vec()).collect();
            match send(&mut session, &[command], false, moment) {
                Ok(Some(Step::Reply { reply: reply @ Reply::Error(_), .. })) => {
                    failed = Some(format!("{} answered {}", reply_text::command(args), reply_text::text(&reply)));
                    None
                }
                Ok(Some(Step::Reply { reply, .. })) => as_resp2(&reply).into_iter().next(),
                other => {
                    failed = Some(format!("{} answered {other:?}", reply_text::command(args)));
                    None
                }
            }
        });
        drop(session);
        let Some(found) = found else {
            return Err(failed.unwrap_or_else(|| "no reply".to_owned()));
        };
        let model = &mut self.slots[slot].model;
        let ask = &mut |args: &[&[u8]]| {
            let command: Words = args.iter().map(|arg| arg.to_vec()).collect();
            model.run(&[command], false, moment).into_iter().next()
        };
        let expected = census(ask).ok_or("the model does not answer")?;
        difference(&self.slots[slot].name, &found, &expected)
    }

    /// Whether what is there is what was there when the log stood at `cut`, and whether that is enough.
    pub(super) fn judge(&mut self, cut: Lsn, powerless: bool) -> Verdict {
        // With another durability, a loss of power may take what was not synced.
        let must_hold = |lsn: Lsn, shown: bool, synced: Lsn| match self.durability {
            Durability::Always => shown,
            _ if powerless => lsn <= synced,
            _ => shown,
        };
        let synced = self.synced;
        for slot in &self.slots {
            let changes = [Some(slot.made), slot.removed].into_iter().flatten();
            // The catalogue is on disk before anybody is told.
            if let Some((lsn, _)) = changes.into_iter().find(|(lsn, shown)| *shown && *lsn > cut) {
                return Err(format!("'{}' was made or removed with record {}, which is lost", slot.name, lsn.0));
            }
            let lost = slot.ran.iter().find(|ran| ran.wrote && ran.lsn > cut && must_hold(ran.lsn, ran.shown, synced));
            if let Some(ran) = lost {
                let texts: Vec<String> = ran.commands.iter().map(|command| reply_text::command(command)).collect();
                return Err(format!(
                    "acknowledged, and lost with record {}: {} > {}",
                    ran.lsn.0,
                    slot.name,
                    texts.join(" ; ")
                ));
            }
        }
        self.synced = cut;
        self.settle_doubts(cut)?;
        let strict = self.durability == Durability::Always || !powerless;
        for slot in &mut self.slots {
            slot.removed = slot.removed.filter(|(lsn, _)| *lsn <= cut);
            slot.notes.retain(|noted| noted.lsn <= cut);
            slot.model = Model::new(no_entropy);
            for ran in slot.ran.iter().filter(|ran| ran.wrote && ran.lsn <= cut) {
                slot.model.run(&ran.commands, ran.together, ran.moment);
            }
            if strict {
                still_true(slot, cut)?;
            }
            slot.ran.retain(|ran| ran.wrote && ran.lsn <= cut);
            slot.ran.iter_mut().for_each(|ran| ran.shown = true);
            slot.made.1 = true;
            slot.removed.iter_mut().for_each(|removed| removed.1 = true);
        }
        self.slots.retain(|slot| slot.made.0 <= cut);
        self.listed()?;
        for slot in 0..self.slots.len() {
            if self.slots[slot].is_there() {
                self.look_at(slot)?;
            }
        }
        Ok(())
    }

    /// A change of the catalogue that nobody was told about has happened or not; not later than the log says.
    fn settle_doubts(&mut self, cut: Lsn) -> Verdict {
        let names = self.service().names().map_err(|error| format!("the databases cannot be listed: {error}"))?;
        for slot in self.slots.iter_mut().filter(|slot| slot.in_doubt) {
            let is_there = names.iter().any(|(name, _)| *name == slot.name);
            slot.in_doubt = false;
            if let Some((lsn, _)) = slot.removed {
                slot.removed = Some((if is_there { Lsn(u64::MAX) } else { lsn.min(cut) }, false));
            } else {
                slot.made = (if is_there { slot.made.0.min(cut) } else { Lsn(u64::MAX) }, is_there);
            }
        }
        Ok(())
    }

    /// The databases in the catalogue are those that should be.
    fn listed(&self) -> Verdict {
        let names = self.service().names().map_err(|error| format!("the databases cannot be listed: {error}"))?;
        let mut found: Vec<&str> = names.iter().map(|(name, _)| name.as_str()).collect();
        let mut expected: Vec<&str> =
            self.slots.iter().filter(|slot| slot.is_there()).map(|slot| slot.name.as_str()).collect();
        found.sort_unstable();
        expected.sort_unstable();
        if found == expected { Ok(()) } else { Err(format!("there are {found:?}, and should be {expected:?}")) }
    }

    /// A database counts as many keys as it shows, once its dead ones are removed.
    pub(super) fn count(&mut self) -> Verdict {
        for slot in 0..self.slots.len() {
            if !self.slots[slot].is_there() {
                continue;
            }
            let database = if slot == 0 { self.service().default_account() } else { self.account(slot)? }.database;
            let moment = self.moment();
            for _ in 0..1_000 {
                if !database.reap(moment) {
                    break;
                }
            }
            let Some(mut session) = self.session(slot)? else { continue };
            let mut ask = |command: &[&str]| {
                let command: Words = command.iter().map(|word| word.as_bytes().to_vec()).collect();
                match send(&mut session, &[command], false, moment) {
                    Ok(Some(Step::Reply { reply, .. })) => Ok(as_resp2(&reply)),
                    other => Err(format!("{other:?}")),
                }
            };
            let (keys, count) = (ask(&["KEYS", "*"])?, ask(&["DBSIZE"])?);
            let shown = if let [Reply::Array(keys)] = keys.as_slice() { keys.len() } else { 0 };
            if count != [Reply::count(shown)] {
                return Err(format!("{} shows {shown} keys and counts {count:?}", self.slots[slot].name));
            }
        }
        Ok(())
    }
}

/// Whatever readers were shown holds for what is left, though something they may have seen is lost.
fn still_true(slot: &mut Slot, cut: Lsn) -> Verdict {
    for ran in slot.ran.iter().filter(|ran| !ran.wrote && ran.shown && ran.lsn > cut) {
        let would = slot.model.would(&ran.commands, ran.together, ran.moment);
        let is_true = ran.commands.iter().enumerate().all(|(at, command)| {
            let compare = compare_of(subject(command));
            let pair = ran.replies.get(at).zip(would.get(at));
            matches!(compare, Compare::Chance | Compare::Payload)
                || pair.is_none_or(|(shown, would)| same(compare, shown, would))
        });
        if !is_true {
            let texts: Vec<String> = ran.commands.iter().map(|command| reply_text::command(command)).collect();
            let shown: Vec<String> = ran.replies.iter().map(reply_text::text).collect();
            let would: Vec<String> = would.iter().map(reply_text::text).collect();
            let (texts, shown, would) = (texts.join(" ; "), shown.join("\n"), would.join("\n"));
            return Err(format!("shown, and not true any more: {} > {texts}\n{shown}\nbut\n{would}", slot.name));
        }
    }
    Ok(())
}

fn difference(name: &str, found: &[String], expected: &[String]) -> Verdict {
    if found == expected {
        return Ok(());
    }
    let too_much: Vec<&str> = found.iter().filter(|line| !expected.contains(line)).map(String::as_str).collect();
    let missing: Vec<&str> = expected.iter().filter(|line| !found.contains(line)).map(String::as_str).collect();
    Err(format!("{name} shows\n{}\nand should show\n{}", too_much.join("\n"), missing.join("\n")))
}
