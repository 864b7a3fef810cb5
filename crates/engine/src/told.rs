//! What a transaction has others told, once it is done: keys that changed, messages to deliver.

use dormouse_proto::Blob;

/// What happened to a key that somebody may want to know of.
#[derive(Debug)]
pub enum Touched {
    /// It was changed, or went.
    Changed(Blob),
    /// It went because it was past its deadline.
    Died(Blob),
    /// All keys went.
    AllGone,
    /// It went with all others.
    Gone(Blob),
    /// The client has read it, and may keep what it read.
    Read(Blob),
}

impl Touched {
    /// The key, if it is not what it was; and whether who found it missing or dead before sees no change.
    pub const fn change(&self) -> Option<(&Blob, bool)> {
        match self {
            Self::Changed(key) => Some((key, false)),
            Self::Died(key) | Self::Gone(key) => Some((key, true)),
            Self::AllGone | Self::Read(_) => None,
        }
    }
}

/// A message to deliver.
#[derive(Debug)]
pub struct Publication {
    /// Where.
    pub channel: Blob,
    /// What.
    pub message: Blob,
    /// Whether the channel is a shard channel.
    pub sharded: bool,
}
