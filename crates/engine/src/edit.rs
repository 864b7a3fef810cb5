//! A value being changed in place: the only way a handler changes a collection.
//!
//! Every change goes through [`Edit::apply`], which applies it, writes it into the journal and keeps its inverse. Reading goes
//! through the edit as through the value itself. Nobody can change a value and forget to record it.

use dormouse_proto::Blob;

use crate::journal::{Journal, Undo, op};
use crate::keyspace::Loan;
use crate::txn::Touched;
use crate::value::{Kind, Type};

/// A value being changed in place. Reads through [`Edit::get`]; every change goes through [`Edit::apply`], which records
/// it. When the edit ends, an empty collection is removed.
pub struct Edit<'t, T: Kind> {
    pub(crate) loan: Loan<'t>,
    pub(crate) hash: u64,
    pub(crate) journal: &'t mut Journal,
    pub(crate) touched: &'t mut Option<Vec<Touched>>,
    pub(crate) key: Blob,
    pub(crate) changed: bool,
    pub(crate) made: bool,
    pub(crate) kind: std::marker::PhantomData<T>,
}

impl<T: Kind> Edit<'_, T> {
    /// The value as it is now.
    pub fn get(&self) -> &T {
        self.loan.entry.value.as_ref().and_then(T::of).expect("an edit holds a value of its type")
    }

    /// Applies one change and records it.
    pub fn apply(&mut self, change: T::Change) {
        self.changed = true;
        self.journal.about(&self.key);
        self.journal.bytes.extend([op::CHANGE, T::TYPE as u8]);
        T::write_change(&change, &mut self.journal.bytes);
        let value = self.loan.entry.value.as_mut().and_then(T::of_mut);
        let inverse = value.expect("an edit holds a value of its type").apply(change);
        if let Some(list) = &mut self.journal.undo {
            list.push(Undo::Change { hash: self.hash, key: self.key.clone(), change: T::wrap(inverse) });
        }
    }
}

impl<T: Kind> std::ops::Deref for Edit<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.get()
    }
}

impl<T: Kind> Drop for Edit<'_, T> {
    fn drop(&mut self) {
        if !self.changed {
            self.loan.unchanged();
            return;
        }
        if let Some(touched) = self.touched {
            touched.push(Touched::Changed(self.key.clone()));
        }
        self.loan.entry.raw = T::TYPE == Type::String && !self.made;
        if let Some((value, expires_at)) = self.loan.bury() {
            self.journal.delete(&self.key);
            let (hash, key) = (self.hash, self.key.clone());
            self.journal.undo(|| Undo::Replace { hash, key, value: Some(value), expires_at });
        }
    }
}
