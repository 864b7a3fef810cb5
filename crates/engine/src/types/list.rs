//! list
use crate::codec::{Corrupt, Reader};
use crate::command::Command;
use crate::value::Kind;

/// Rows.
pub(crate) const ROWS: &[Command] = &[];

/// List.
#[derive(Clone, Debug, Default)]
pub struct List;

impl Kind for List {
    type Change = ();
    fn apply(&mut self, (): ()) {}
    fn write_change((): &(), _: &mut Vec<u8>) {}
    fn read_change(_: &mut Reader<'_>) -> Result<(), Corrupt> {
        Ok(())
    }
    fn write(&self, _: &mut Vec<u8>) {}
    fn read(_: &mut Reader<'_>) -> Result<Self, Corrupt> {
        Ok(Self)
    }
    fn is_void(&self) -> bool {
        true
    }
    fn memory_bytes(&self) -> usize {
        0
    }
    fn canonical(&self) -> String {
        String::new()
    }
}
