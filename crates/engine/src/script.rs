//! Scripts.
/// Restrictions of the script at work.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope {}
