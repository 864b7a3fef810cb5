//! The judge: runs the same text on every door of Dormouse and on a real Redis, and says where they differ.
//!
//! Two kinds of text. The pages under `conformance/` are written by people and say what is claimed ([`page`], [`run`]). The
//! [`differential`] sequences are drawn from a seed and ask a real Redis what the right reply is. Both speak to a
//! [`door::Door`], behind which is the engine in this process, a server over RESP or REST, or a `redis-server` started for
//! the purpose. Only the simulator depends on this crate, for its random commands, and it knows no command but those that set the stage (`FLUSHALL`, `AUTH`…).

pub mod differential;
pub mod door;
pub mod expect;
pub mod page;
pub mod reply_text;
pub mod run;
pub mod server;
