//! Keys that are written once: a namespace, patterns with typed parts, and a version that invalidates everything at a stroke.
//!
//! ```
//! use dormouse_client::keys::{Namespace, Pattern};
//!
//! const SHOP: Namespace = Namespace::new("shop").version(3);
//! const CART: Pattern<u64> = SHOP.pattern("cart");
//! const ITEM: Pattern<(u64, String)> = SHOP.pattern("item");
//!
//! # dormouse_client::example(async |client| {
//! assert_eq!(CART.key(7), "shop:v3:cart:7");
//! assert_eq!(ITEM.key((7, "a:b")), "shop:v3:item:7:a%3Ab");
//! client.set(CART.key(7), "…").await?;
//! # Ok(()) });
//! ```
//!
//! # Guarantees
//!
//! - Two keys of one namespace are equal only if their pattern, its version and all their parts are: what separates parts is
//!   escaped within them, so that no user's input reaches another's key.
//! - [`Pattern::parts`] gives back what a key was made of, and nothing for a key of another pattern or version.
//! - [`Pattern::glob`] matches the keys of its pattern and no others: parts are escaped there, too.
//!
//! # Limits
//!
//! - A new version does not delete the keys of the old one: it makes sure that nobody reads them. They go by their deadlines, so
//!   every key of a versioned namespace should have one.
//! - A version in the source changes with a release, one process after the other. [`Generation`] changes one at run time; another
//!   process sees that after at most the age that it allows itself.
//! - Patterns of one namespace are told apart by name: give no two the same.

mod generation;

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::marker::PhantomData;

pub use self::generation::Generation;

/// Where the keys of an application begin.
///
/// ```
/// use dormouse_client::keys::Namespace;
///
/// const SHOP: Namespace = Namespace::new("shop");
/// assert_eq!(SHOP.pattern::<u64>("cart").key(7), "shop:cart:7");
/// assert_eq!(SHOP.version(2).pattern::<u64>("cart").key(7), "shop:v2:cart:7");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub struct Namespace {
    name: Cow<'static, str>,
    version: Option<u64>,
    generation: Option<u64>,
}

impl Namespace {
    /// A namespace without a version.
    pub const fn new(name: &'static str) -> Self {
        Self { name: Cow::Borrowed(name), version: None, generation: None }
    }

    /// One whose name is known at run time only, such as a tenant's. What separates parts of keys is escaped in it.
    ///
    /// ```
    /// use dormouse_client::keys::Namespace;
    ///
    /// let tenant = Namespace::named("acme:eu");
    /// assert_eq!(tenant.pattern::<u64>("cart").key(7), "acme%3Aeu:cart:7");
    /// ```
    pub fn named(name: impl AsRef<str>) -> Self {
        let mut escaped = String::new();
        escape(name.as_ref(), &mut escaped);
        Self { name: Cow::Owned(escaped), version: None, generation: None }
    }

    /// The shape of what is stored: another version has other keys.
    pub const fn version(mut self, version: u64) -> Self {
        self.version = Some(version);
        self
    }

    /// The generation at run time: see [`Generation`].
    ///
    /// ```
    /// use dormouse_client::keys::Namespace;
    ///
    /// let second = Namespace::new("shop").version(3).generation(2);
    /// assert_eq!(second.pattern::<u64>("cart").key(7), "shop:v3:g2:cart:7");
    /// ```
    pub const fn generation(mut self, generation: u64) -> Self {
        self.generation = Some(generation);
        self
    }

    /// Keys of one kind. The name is written as it is.
    pub const fn pattern<P>(self, name: &'static str) -> Pattern<P> {
        Pattern { namespace: self, name, parts: PhantomData }
    }

    fn write(&self, out: &mut String) {
        out.push_str(&self.name);
        if let Some(version) = self.version {
            let _ = write!(out, ":v{version}");
        }
        if let Some(generation) = self.generation {
            let _ = write!(out, ":g{generation}");
        }
    }
}

/// The name alone, as it begins each key.
impl fmt::Display for Namespace {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.write(&mut text);
        out.write_str(&text)
    }
}

/// Keys of one kind, with parts of known types.
///
/// Parts are integers, `bool`, `char` and `String` (which is given as `&str`), one of them or a tuple of up to four.
///
/// ```
/// use dormouse_client::keys::{Namespace, Pattern};
///
/// const MEMBER: Pattern<(String, u32)> = Namespace::new("club").pattern("member");
/// let key = MEMBER.key(("blue", 7));
/// assert_eq!(key, "club:member:blue:7");
/// assert_eq!(MEMBER.parts(&key), Some(("blue".to_owned(), 7)));
/// assert_eq!(MEMBER.parts("club:member:blue"), None);
/// ```
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Pattern<P> {
    namespace: Namespace,
    name: &'static str,
    parts: PhantomData<fn(P)>,
}

impl<P> Clone for Pattern<P> {
    fn clone(&self) -> Self {
        Self { namespace: self.namespace.clone(), name: self.name, parts: PhantomData }
    }
}

impl<P: Parts> Pattern<P> {
    /// The key of these parts.
    pub fn key(&self, parts: P::Given<'_>) -> String {
        let mut key = self.prefix();
        P::write(parts, &mut key);
        key
    }

    /// What a key was made of; nothing if it is not one of this pattern.
    pub fn parts(&self, key: &str) -> Option<P> {
        let rest = key.strip_prefix(&self.prefix())?;
        let mut parts = rest.strip_prefix(':')?.split(':');
        let found = P::read(&mut parts)?;
        parts.next().is_none().then_some(found)
    }

    /// What `SCAN` finds exactly these keys with.
    ///
    /// ```
    /// use dormouse_client::ScanOptions;
    /// use dormouse_client::keys::{Namespace, Pattern};
    ///
    /// const CART: Pattern<u64> = Namespace::new("shop[1]").pattern("cart");
    ///
    /// # dormouse_client::example(async |client| {
    /// client.set(CART.key(7), "…").await?;
    /// client.set("shop1:cart:8", "another's").await?;
    /// let found = client.scan::<String>("0", ScanOptions::new().matching(CART.glob()).count(1_000)).await?;
    /// assert_eq!(found.items, [CART.key(7)]);
    /// # Ok(()) });
    /// ```
    pub fn glob(&self) -> String {
        let mut glob = String::new();
        for character in self.prefix().chars() {
            if matches!(character, '*' | '?' | '[' | ']' | '\\' | '^' | '-') {
                glob.push('\\');
            }
            glob.push(character);
        }
        for _ in 0..P::COUNT {
            glob.push_str(":*");
        }
        glob
    }

    fn prefix(&self) -> String {
        let mut prefix = String::with_capacity(64);
        self.namespace.write(&mut prefix);
        prefix.push(':');
        prefix.push_str(self.name);
        prefix
    }
}

/// One part of a key.
pub trait Part: Sized {
    /// How it is given: a `String` as `&str`, all else as it is.
    type Given<'a>;
    /// Writes it, with nothing in it that separates parts.
    fn write(given: Self::Given<'_>, out: &mut String);
    /// Reads what [`write`](Self::write) wrote, and nothing else.
    fn read(text: &str) -> Option<Self>;
}

/// All parts of a key: one [`Part`], or a tuple of several.
pub trait Parts: Sized {
    /// How they are given.
    type Given<'a>;
    /// How many there are.
    const COUNT: usize;
    /// Writes them, each with a colon in front.
    fn write(given: Self::Given<'_>, out: &mut String);
    /// Reads as many as there are.
    fn read<'a>(parts: &mut impl Iterator<Item = &'a str>) -> Option<Self>;
}

impl<P: Part> Parts for P {
    type Given<'a> = P::Given<'a>;
    const COUNT: usize = 1;

    fn write(given: Self::Given<'_>, out: &mut String) {
        out.push(':');
        P::write(given, out);
    }

    fn read<'a>(parts: &mut impl Iterator<Item = &'a str>) -> Option<Self> {
        P::read(parts.next()?)
    }
}

impl Part for String {
    type Given<'a> = &'a str;

    fn write(given: &str, out: &mut String) {
        escape(given, out);
    }

    fn read(text: &str) -> Option<Self> {
        unescape(text)
    }
}

impl Part for char {
    type Given<'a> = Self;

    fn write(given: Self, out: &mut String) {
        escape(given.encode_utf8(&mut [0; 4]), out);
    }

    fn read(text: &str) -> Option<Self> {
        unescape(text)?.parse().ok()
    }
}

macro_rules! plain {
    ($($kind:ty)+) => {$(
        impl Part for $kind {
            type Given<'a> = Self;

            fn write(given: Self, out: &mut String) {
                let _ = write!(out, "{given}");
            }

            fn read(text: &str) -> Option<Self> {
                // "+7" and "07" would be 7 as well, and two keys one.
                text.parse().ok().filter(|found: &Self| found.to_string() == text)
            }
        }
    )+};
}

plain! { bool i8 i16 i32 i64 i128 isize u8 u16 u32 u64 u128 usize }

macro_rules! tuple {
    ($count:literal $($part:ident)+) => {
        impl<$($part: Part),+> Parts for ($($part,)+) {
            type Given<'a> = ($($part::Given<'a>,)+);
            const COUNT: usize = $count;

            #[expect(non_snake_case, reason = "a type's name serves for its value")]
            fn write(given: Self::Given<'_>, out: &mut String) {
                let ($($part,)+) = given;
                $(
                    out.push(':');
                    <$part as Part>::write($part, out);
                )+
            }

            fn read<'a>(parts: &mut impl Iterator<Item = &'a str>) -> Option<Self> {
                Some(($(<$part as Part>::read(parts.next()?)?,)+))
            }
        }
    };
}

tuple! { 2 A B }
tuple! { 3 A B C }
tuple! { 4 A B C D }

/// What separates parts, and what escapes.
fn escape(text: &str, out: &mut String) {
    for character in text.chars() {
        match character {
            ':' => out.push_str("%3A"),
            '%' => out.push_str("%25"),
            other => out.push(other),
        }
    }
}

fn unescape(text: &str) -> Option<String> {
    let mut found = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        found.push_str(&rest[..at]);
        found.push(match rest.get(at..at + 3)? {
            "%3A" => ':',
            "%25" => '%',
            _ => return None,
        });
        rest = &rest[at + 3..];
    }
    found.push_str(rest);
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TWO: Pattern<(String, String)> = Namespace::new("shop").version(3).pattern("item");
    const ONE: Pattern<String> = Namespace::new("shop").version(3).pattern("item");

    proptest! {
        #[test]
        fn parts_come_back(a in any::<String>(), b in any::<String>(), number in any::<i64>()) {
            prop_assert_eq!(TWO.parts(&TWO.key((&a, &b))), Some((a.clone(), b.clone())));
            let mixed = Namespace::named(&a).pattern::<(i64, String, bool)>("x");
            prop_assert_eq!(mixed.parts(&mixed.key((number, &b, true))), Some((number, b, true)));
        }

        #[test]
        fn other_parts_are_another_key(a in "[a:%3A5]{0,4}", b in "[a:%3A5]{0,4}", c in "[a:%3A5]{0,4}", d in "[a:%3A5]{0,4}") {
            prop_assert_eq!(TWO.key((&a, &b)) == TWO.key((&c, &d)), (&a, &b) == (&c, &d));
            prop_assert_ne!(ONE.key(&a), TWO.key((&c, &d)));
            prop_assert_eq!(Namespace::named(&a) == Namespace::named(&c), a == c);
        }

        #[test]
        fn any_text_is_read_or_refused(text in any::<String>()) {
            let key = format!("shop:v3:item:{text}");
            if let Some(found) = ONE.parts(&key) {
                prop_assert_eq!(ONE.key(&found), key);
            }
        }
    }

    #[test]
    fn one_key_is_written_in_one_way() {
        let number = Namespace::new("n").pattern::<u64>("p");
        assert_eq!(number.parts("n:p:7"), Some(7));
        for other in ["n:p:07", "n:p:+7", "n:p:7:", "n:p7", "n:p", "m:p:7", "n:v1:p:7"] {
            assert_eq!(number.parts(other), None, "{other}");
        }
    }

    #[test]
    fn a_glob_names_its_pattern_alone() {
        assert_eq!(TWO.glob(), "shop:v3:item:*:*");
        assert_eq!(Namespace::new("a*").pattern::<u64>("b?").glob(), "a\\*:b\\?:*");
    }
}
