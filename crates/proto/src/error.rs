//! Why a command failed, in the words Redis uses.
//!
//! Clients match on the first word (the code) and some on whole texts, so [`Display`](std::fmt::Display) gives the line
//! exactly as RESP carries it after the `-`. What the operator needs goes to the log instead; no path, secret or foreign
//! value is ever put here.

use std::borrow::Cow;

/// A failed command. The text starts with a stable code, upper case, then a space.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The key holds another type.
    #[error("WRONGTYPE Operation against a key holding the wrong kind of value")]
    WrongType,
    /// The options do not parse.
    #[error("ERR syntax error")]
    Syntax,
    /// Not a 64-bit integer.
    #[error("ERR value is not an integer or out of range")]
    NotAnInteger,
    /// Not a double.
    #[error("ERR value is not a valid float")]
    NotAFloat,
    /// `INCRBYFLOAT` and kin would leave the finite doubles.
    #[error("ERR increment would produce NaN or Infinity")]
    NanOrInfinity,
    /// A sum left 64 bits.
    #[error("ERR increment or decrement would overflow")]
    Overflow,
    /// An argument must be positive.
    #[error("ERR value is out of range, must be positive")]
    MustBePositive,
    /// An index or number is out of its range.
    #[error("ERR value is out of range")]
    OutOfRange,
    /// `LSET` and kin beyond the list.
    #[error("ERR index out of range")]
    IndexOutOfRange,
    /// The key must exist.
    #[error("ERR no such key")]
    NoSuchKey,
    /// A command got too few or too many arguments; the name is lower case.
    #[error("ERR wrong number of arguments for '{0}' command")]
    Arity(Cow<'static, str>),
    /// No such command; holds what to show of the name and the first arguments, already shortened.
    #[error("ERR unknown command '{name}', with args beginning with: {args}")]
    UnknownCommand {
        /// The name as sent, shortened.
        name: String,
        /// `'a' 'b' `, shortened.
        args: String,
    },
    /// No such sub-command.
    #[error("ERR unknown subcommand '{subcommand}'. Try {command} HELP.")]
    UnknownSubcommand {
        /// The sub-command as sent, shortened.
        subcommand: String,
        /// The container command, upper case.
        command: &'static str,
    },
    /// An expiry of zero, below zero, or past what 64 bits hold; the name is lower case.
    #[error("ERR invalid expire time in '{0}' command")]
    InvalidExpire(&'static str),
    /// A string would pass the largest value Redis knows.
    #[error("ERR string exceeds maximum allowed size (proto-max-bulk-len)")]
    StringTooLong,
    /// `EVALSHA` of a script nobody loaded.
    #[error("NOSCRIPT No matching script. Please use EVAL.")]
    NoScript,
    /// The grant does not cover the command; the name is lower case.
    #[error("NOPERM this user has no permissions to run the '{0}' command")]
    NoPermission(Cow<'static, str>),
    /// The grant does not cover a key the command names.
    #[error("NOPERM this user has no permissions to access one of the keys used as arguments")]
    NoKeyPermission,
    /// The grant does not cover a channel the command names.
    #[error("NOPERM this user has no permissions to access one of the channels used as arguments")]
    NoChannelPermission,
    /// The connection has not authenticated.
    #[error("NOAUTH Authentication required.")]
    NoAuth,
    /// Wrong user or password over RESP.
    #[error("WRONGPASS invalid username-password pair or user is disabled.")]
    WrongPassword,
    /// Wrong or missing bearer token over REST.
    #[error("WRONGPASS invalid or missing auth token")]
    WrongToken,
    /// `EXEC` after a command that could not be queued.
    #[error("EXECABORT Transaction discarded because of previous errors.")]
    ExecAbort,
    /// A script has run past the time limit and holds the database.
    #[error("BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.")]
    Busy,
    /// The same of a function.
    #[error("BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.")]
    BusyFunction,
    /// `SCRIPT KILL` with nothing to kill.
    #[error("NOTBUSY No scripts in execution right now.")]
    NotBusy,
    /// A command that holds its connection was sent where it cannot work (REST); the name is lower case.
    #[error("ERR command '{0}' is not supported over REST")]
    NotOverRest(Cow<'static, str>),
    /// A key longer than the limit.
    #[error("ERR max key size exceeded. Limit: {limit} bytes, Actual: {actual} bytes")]
    KeyTooLong {
        /// The limit, in bytes.
        limit: usize,
        /// What was sent, in bytes.
        actual: usize,
    },
    /// A request past the limit, in bytes.
    #[error("ERR max request size exceeded. Limit: {0} bytes")]
    RequestTooLarge(usize),
    /// One command's reply past the limit, in bytes.
    #[error("ERR max request size exceeded by the reply. Limit: {0} bytes")]
    ReplyTooLarge(usize),
    /// A command of a pipeline behind replies that reach the limit, in bytes.
    #[error("ERR max request size exceeded by the replies before this command. Limit: {0} bytes. It was not run.")]
    PipelineTooLarge(usize),
    /// A transaction whose replies together pass the limit, in bytes.
    #[error("ERR max request size exceeded by the replies of the transaction. Limit: {0} bytes. No key was changed.")]
    TransactionTooLarge(usize),
    /// A value that would grow past the limit.
    #[error("ERR max single record size exceeded")]
    RecordTooLarge,
    /// The disk refused a write: nothing more is accepted until the operator has looked.
    #[error("MISCONF Errors writing to the commit log. Writes are refused until the server is restarted; see its log.")]
    LogFailed,
    /// A stored record could not be read.
    #[error("ERR stored data could not be read; see the server's log")]
    StoreFailed,
    /// Any other text, code included. For texts that one command alone produces.
    #[error("{0}")]
    Text(Cow<'static, str>),
}

impl CommandError {
    /// A text from a literal, code included.
    pub const fn text(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }

    /// The first word, which clients may rely on.
    pub fn code(&self) -> String {
        let text = self.to_string();
        text.split(' ').next().unwrap_or_default().to_owned()
    }
}

/// One line is all RESP allows: line breaks in a text that came from outside become spaces.
impl From<String> for CommandError {
    fn from(text: String) -> Self {
        if text.contains(['\r', '\n']) {
            return Self::Text(Cow::Owned(text.replace(['\r', '\n'], " ")));
        }
        Self::Text(Cow::Owned(text))
    }
}
