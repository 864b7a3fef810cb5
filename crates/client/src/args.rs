//! The arguments of a command: byte strings, and what can be made into them.
//!
//! Arguments are bytes; nothing is guessed and nothing is quoted. Numbers are written in decimal, text in UTF-8, [`Json`] as
//! JSON. Whatever has several parts (arrays, slices, pairs, maps) is several arguments, in order.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::io::Write;

use bytes::Bytes;
use serde::Serialize;

use crate::value::Json;

/// The arguments of one command, its name first.
///
/// ```
/// use dormouse_client::Args;
///
/// let mut args = Args::new();
/// args.push(b"SET").add("k").add(7).add(("EX", 60));
/// assert_eq!(args.iter().collect::<Vec<_>>(), [&b"SET"[..], b"k", b"7", b"EX", b"60"]);
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Args {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    fault: Option<Cow<'static, str>>,
}

impl Args {
    /// None yet.
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), ends: Vec::new(), fault: None }
    }

    /// One more.
    pub fn push(&mut self, arg: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(arg);
        self.ends.push(self.bytes.len());
        self
    }

    /// All that something is made into.
    pub fn add(&mut self, args: impl ToArgs) -> &mut Self {
        args.add_to(self);
        self
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// One after the other.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        (0..self.len()).map(|at| self.get(at))
    }

    /// Bytes of all of them together.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn get(&self, at: usize) -> &[u8] {
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        &self.bytes[start..self.ends[at]]
    }

    /// Says that a value could not be made into an argument; the command will not be sent.
    pub(crate) fn fail(&mut self, why: impl Into<Cow<'static, str>>) {
        self.fault.get_or_insert(why.into());
    }

    pub(crate) fn fault(&self) -> Option<&Cow<'static, str>> {
        self.fault.as_ref()
    }

    /// How many arguments something is, and then those.
    pub(crate) fn counted(&mut self, args: impl ToArgs) {
        let mut counted = Self::new();
        counted.add(args);
        self.add(counted.len()).add(counted);
    }

    /// Text of something that prints itself.
    fn print(&mut self, value: impl fmt::Display) {
        let _ = write!(self.bytes, "{value}");
        self.ends.push(self.bytes.len());
    }
}

/// Keys and values are nobody's business who looks at a log.
impl fmt::Debug for Args {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Args({} of {} bytes)", self.len(), self.bytes.len())
    }
}

/// What can be made into any number of arguments.
///
/// Implement it for types of your own by adding their parts:
///
/// ```
/// use dormouse_client::{Args, ToArg, ToArgs};
///
/// struct UserId(u64);
///
/// impl ToArgs for UserId {
///     fn add_to(&self, args: &mut Args) {
///         args.push(format!("user:{}", self.0).as_bytes());
///     }
/// }
/// impl ToArg for UserId {}
///
/// # dormouse_client::example(async |client| {
/// client.set(UserId(7), "Ada").await?;
/// assert_eq!(client.get::<String>("user:7").await?.as_deref(), Some("Ada"));
/// # Ok(()) });
/// ```
pub trait ToArgs {
    /// Adds them.
    fn add_to(&self, args: &mut Args);
}

/// What is exactly one argument: a key, a value, a number.
pub trait ToArg: ToArgs {}

macro_rules! one {
    ($($kind:ty => |$value:ident, $args:ident| $add:expr;)+) => {$(
        impl ToArgs for $kind {
            fn add_to(&self, $args: &mut Args) {
                let $value = self;
                $add;
            }
        }
        impl ToArg for $kind {}
    )+};
}

one! {
    str => |text, args| args.push(text.as_bytes());
    String => |text, args| args.push(text.as_bytes());
    Cow<'_, str> => |text, args| args.push(text.as_bytes());
    [u8] => |bytes, args| args.push(bytes);
    Vec<u8> => |bytes, args| args.push(bytes);
    Bytes => |bytes, args| args.push(bytes);
    char => |one, args| args.print(one);
    i8 => |number, args| args.print(number);
    i16 => |number, args| args.print(number);
    i32 => |number, args| args.print(number);
    i64 => |number, args| args.print(number);
    i128 => |number, args| args.print(number);
    isize => |number, args| args.print(number);
    u16 => |number, args| args.print(number);
    u32 => |number, args| args.print(number);
    u64 => |number, args| args.print(number);
    u128 => |number, args| args.print(number);
    usize => |number, args| args.print(number);
    f32 => |number, args| args.print(number);
    f64 => |number, args| args.print(number);
}

impl<const N: usize> ToArgs for [u8; N] {
    fn add_to(&self, args: &mut Args) {
        args.push(self);
    }
}

impl<const N: usize> ToArg for [u8; N] {}

impl<T: Serialize> ToArgs for Json<T> {
    fn add_to(&self, args: &mut Args) {
        match serde_json::to_writer(&mut args.bytes, &self.0) {
            Ok(()) => args.ends.push(args.bytes.len()),
            Err(_) => args.fail(format!("{} cannot be written as JSON", std::any::type_name::<T>())),
        }
    }
}

impl<T: Serialize> ToArg for Json<T> {}

impl<T: ToArgs + ?Sized> ToArgs for &T {
    fn add_to(&self, args: &mut Args) {
        (**self).add_to(args);
    }
}

impl<T: ToArg + ?Sized> ToArg for &T {}

impl ToArgs for Args {
    fn add_to(&self, args: &mut Args) {
        for arg in self.iter() {
            args.push(arg);
        }
        if let Some(fault) = &self.fault {
            args.fail(fault.clone());
        }
    }
}

impl ToArgs for () {
    fn add_to(&self, _args: &mut Args) {}
}

impl<T: ToArgs> ToArgs for Option<T> {
    fn add_to(&self, args: &mut Args) {
        if let Some(one) = self {
            one.add_to(args);
        }
    }
}

macro_rules! each {
    ($([$($generic:tt)+] $kind:ty;)+) => {$(
        impl<$($generic)+> ToArgs for $kind {
            fn add_to(&self, args: &mut Args) {
                for one in self {
                    one.add_to(args);
                }
            }
        }
    )+};
}

each! {
    [T: ToArgs] [T];
    [T: ToArgs] Vec<T>;
    [T: ToArgs, const N: usize] [T; N];
    [T: ToArgs] BTreeSet<T>;
    [T: ToArgs, S] HashSet<T, S>;
}

macro_rules! map {
    ($([$($generic:tt)+] $kind:ty;)+) => {$(
        impl<$($generic)+> ToArgs for $kind {
            fn add_to(&self, args: &mut Args) {
                for (key, value) in self {
                    key.add_to(args);
                    value.add_to(args);
                }
            }
        }
    )+};
}

map! {
    [K: ToArgs, V: ToArgs] BTreeMap<K, V>;
    [K: ToArgs, V: ToArgs, S] HashMap<K, V, S>;
}

macro_rules! tuple {
    ($($part:ident)+) => {
        impl<$($part: ToArgs),+> ToArgs for ($($part,)+) {
            #[expect(non_snake_case, reason = "a type's name serves for its value")]
            fn add_to(&self, args: &mut Args) {
                let ($($part,)+) = self;
                $($part.add_to(args);)+
            }
        }
    };
}

tuple! { A }
tuple! { A B }
tuple! { A B C }
tuple! { A B C D }
tuple! { A B C D E }
tuple! { A B C D E F }
tuple! { A B C D E F G }
tuple! { A B C D E F G H }

#[cfg(test)]
mod tests {
    use super::*;

    fn list(args: impl ToArgs) -> Vec<String> {
        let mut all = Args::new();
        all.add(args);
        all.iter().map(|arg| String::from_utf8_lossy(arg).into_owned()).collect()
    }

    #[test]
    fn bytes_are_one_argument_and_lists_are_many() {
        assert_eq!(list(b"abc"), ["abc"]);
        assert_eq!(list(vec![1_u8, 2]), ["\u{1}\u{2}"]);
        assert_eq!(list(vec!["a", "b"]), ["a", "b"]);
        assert_eq!(list([("f", 1), ("g", 2)]), ["f", "1", "g", "2"]);
        assert_eq!(list(BTreeMap::from([("f", 1.5), ("g", 1e21)])), ["f", "1.5", "g", "1000000000000000000000"]);
        assert_eq!(list((Some("x"), None::<&str>, ())), ["x"]);
        assert_eq!(list([i64::MIN, i64::MAX]), ["-9223372036854775808", "9223372036854775807"]);
        assert_eq!(list(f64::NEG_INFINITY), ["-inf"]);
    }

    #[test]
    fn what_is_no_json_is_told() {
        let mut args = Args::new();
        args.add(Json(HashMap::from([((1, 2), 3)])));
        assert!(args.fault().is_some());
        assert_eq!(list(Json(("a\"b", Some(1), None::<()>))), [r#"["a\"b",1,null]"#]);
    }
}
