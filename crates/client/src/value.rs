//! Replies, and what they can be made into.
//!
//! The type that is asked for decides how a reply is read, never what the reply looks like: `String` is text, `i64` an exact
//! integer, [`Bytes`] whatever there is, [`Json`] a document. What does not fit is an error that names both kinds.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::hash::{BuildHasher, Hash};

use bytes::Bytes;
use serde::de::DeserializeOwned;

/// A reply as it came.
///
/// ```
/// use dormouse_client::Value;
///
/// # dormouse_client::example(async |client| {
/// let reply: Value = client.command(["ECHO", "hello"]).await?;
/// assert_eq!(reply, Value::from("hello"));
/// # Ok(()) });
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Value {
    /// There is nothing.
    #[default]
    Null,
    /// An integer.
    Int(i64),
    /// Bytes: of a value, or of a word such as `OK`.
    Bytes(Bytes),
    /// Several replies. Maps are flat: key, value, key, value.
    Array(Vec<Self>),
}

impl Value {
    /// Whether there is nothing.
    ///
    /// ```
    /// assert!(dormouse_client::Value::Null.is_null());
    /// ```
    pub const fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Makes it into something.
    ///
    /// ```
    /// use dormouse_client::Value;
    ///
    /// let reply = Value::Array(vec![Value::Int(1), Value::from("two")]);
    /// assert_eq!(reply.to::<(i64, String)>().unwrap(), (1, "two".to_owned()));
    /// ```
    pub fn to<T: FromValue>(self) -> Result<T, Mismatch> {
        T::from_value(self)
    }

    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Int(_) => "an integer",
            Self::Bytes(_) => "a string",
            Self::Array(_) => "an array",
        }
    }

    fn array(self) -> Result<Vec<Self>, Mismatch> {
        match self {
            Self::Array(all) => Ok(all),
            other => Err(Mismatch::new("an array", &other)),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Bytes(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

/// A reply that is not what was asked for. It names kinds, never what was in the reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    expected: Cow<'static, str>,
    found: Cow<'static, str>,
}

impl Mismatch {
    /// That `value` is not `expected`.
    ///
    /// ```
    /// use dormouse_client::{Mismatch, Value};
    ///
    /// let mismatch = Mismatch::new("a colour", &Value::Int(7));
    /// assert_eq!(mismatch.to_string(), "an integer where a colour was expected");
    /// ```
    pub fn new(expected: impl Into<Cow<'static, str>>, value: &Value) -> Self {
        Self { expected: expected.into(), found: value.kind().into() }
    }

    pub(crate) fn found(expected: impl Into<Cow<'static, str>>, found: impl Into<Cow<'static, str>>) -> Self {
        Self { expected: expected.into(), found: found.into() }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} where {} was expected", self.found, self.expected)
    }
}

impl std::error::Error for Mismatch {}

/// What a reply can be made into.
///
/// ```
/// use dormouse_client::{FromValue, Mismatch, Value};
///
/// struct UserId(u64);
///
/// impl FromValue for UserId {
///     fn from_value(value: Value) -> Result<Self, Mismatch> {
///         u64::from_value(value).map(Self)
///     }
/// }
///
/// # dormouse_client::example(async |client| {
/// client.set("owner", 7).await?;
/// let owner: Option<UserId> = client.get("owner").await?;
/// assert_eq!(owner.unwrap().0, 7);
/// # Ok(()) });
/// ```
pub trait FromValue: Sized + 'static {
    /// Makes it, or says why not.
    fn from_value(value: Value) -> Result<Self, Mismatch>;
}

/// A value kept as JSON, by serde.
///
/// ```
/// use dormouse_client::Json;
///
/// #[derive(serde::Serialize, serde::Deserialize, PartialEq, Debug)]
/// struct User { name: String, age: u8 }
///
/// # dormouse_client::example(async |client| {
/// let ada = User { name: "Ada".into(), age: 36 };
/// client.rpush("users", Json(&ada)).await?;
/// let users: Vec<Json<User>> = client.lrange("users", 0, -1).await?;
/// assert_eq!(users[0].0, ada);
/// # Ok(()) });
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Json<T>(pub T);

impl FromValue for Value {
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        Ok(value)
    }
}

/// Any reply is as good as another: for commands that answer `OK` or fail.
impl FromValue for () {
    fn from_value(_: Value) -> Result<Self, Mismatch> {
        Ok(())
    }
}

impl FromValue for Bytes {
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        match value {
            Value::Bytes(bytes) => Ok(bytes),
            Value::Int(number) => Ok(Self::from(number.to_string())),
            other => Err(Mismatch::new("a string", &other)),
        }
    }
}

impl FromValue for Vec<u8> {
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        Bytes::from_value(value).map(Self::from)
    }
}

impl FromValue for String {
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        let bytes = Vec::from_value(value)?;
        Self::from_utf8(bytes).map_err(|_| Mismatch::found("text", "bytes that are not UTF-8"))
    }
}

/// 1 is true and 0 is false, as an integer or as text; so are the words.
impl FromValue for bool {
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        match &value {
            Value::Int(0) => Ok(false),
            Value::Int(1) => Ok(true),
            Value::Bytes(bytes) if matches!(&bytes[..], b"1" | b"true") => Ok(true),
            Value::Bytes(bytes) if matches!(&bytes[..], b"0" | b"false") => Ok(false),
            other => Err(Mismatch::new("a truth value", other)),
        }
    }
}

macro_rules! integers {
    ($($kind:ty)+) => {$(
        impl FromValue for $kind {
            fn from_value(value: Value) -> Result<Self, Mismatch> {
                let too_large = || Mismatch::found(stringify!($kind), "an integer out of range");
                match &value {
                    Value::Int(number) => Self::try_from(*number).map_err(|_| too_large()),
                    Value::Bytes(bytes) => {
                        let text = std::str::from_utf8(bytes).ok();
                        let number = text.and_then(|text| text.parse::<i128>().ok());
                        let number = number.ok_or_else(|| Mismatch::new("an integer", &value))?;
                        Self::try_from(number).map_err(|_| too_large())
                    }
                    other => Err(Mismatch::new("an integer", other)),
                }
            }
        }
    )+};
}

integers! { i8 i16 i32 i64 i128 isize u16 u32 u64 u128 usize }

macro_rules! floats {
    ($($kind:ty)+) => {$(
        impl FromValue for $kind {
            fn from_value(value: Value) -> Result<Self, Mismatch> {
                match &value {
                    Value::Int(number) => Ok(*number as Self),
                    Value::Bytes(bytes) => {
                        let number = std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok());
                        number.ok_or_else(|| Mismatch::new("a number", &value))
                    }
                    other => Err(Mismatch::new("a number", other)),
                }
            }
        }
    )+};
}

floats! { f32 f64 }

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        if value.is_null() { Ok(None) } else { T::from_value(value).map(Some) }
    }
}

impl<T: DeserializeOwned + 'static> FromValue for Json<T> {
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        let bytes = Bytes::from_value(value)?;
        // serde's own words would quote the value.
        serde_json::from_slice(&bytes).map(Self).map_err(|error| {
            let found = match error.classify() {
                serde_json::error::Category::Data => "JSON of another shape",
                _ => "a string that is not JSON",
            };
            let place = format!("{found} (line {}, column {})", error.line(), error.column());
            Mismatch::found(format!("JSON of {}", std::any::type_name::<T>()), place)
        })
    }
}

impl<T: FromValue> FromValue for Vec<T> {
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        value.array()?.into_iter().map(T::from_value).collect()
    }
}

impl<T: FromValue + Eq + Hash, S: BuildHasher + Default + 'static> FromValue for HashSet<T, S> {
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        value.array()?.into_iter().map(T::from_value).collect()
    }
}

impl<T: FromValue + Ord> FromValue for BTreeSet<T> {
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        value.array()?.into_iter().map(T::from_value).collect()
    }
}

/// Pairs in order, of a reply that lists them flat or two by two.
///
/// ```
/// use dormouse_client::{Pairs, Value};
///
/// let flat = Value::Array(vec![Value::from("a"), Value::Int(1), Value::from("b"), Value::Int(2)]);
/// let pairs: Pairs<String, i64> = flat.to().unwrap();
/// assert_eq!(pairs.0, [("a".to_owned(), 1), ("b".to_owned(), 2)]);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pairs<A, B>(pub Vec<(A, B)>);

impl<A: FromValue, B: FromValue> FromValue for Pairs<A, B> {
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        pairs(value)?.map(|pair| pair.and_then(|(a, b)| Ok((A::from_value(a)?, B::from_value(b)?)))).collect()
    }
}

impl<A, B> FromIterator<(A, B)> for Pairs<A, B> {
    fn from_iter<I: IntoIterator<Item = (A, B)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

impl<K: FromValue + Eq + Hash, V: FromValue, S: BuildHasher + Default + 'static> FromValue for HashMap<K, V, S> {
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        pairs(value)?.map(|pair| pair.and_then(|(a, b)| Ok((K::from_value(a)?, V::from_value(b)?)))).collect()
    }
}

impl<K: FromValue + Ord, V: FromValue> FromValue for BTreeMap<K, V> {
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        pairs(value)?.map(|pair| pair.and_then(|(a, b)| Ok((K::from_value(a)?, V::from_value(b)?)))).collect()
    }
}

/// Takes a list of pairs apart, flat or nested.
fn pairs(value: Value) -> Result<impl Iterator<Item = Result<(Value, Value), Mismatch>>, Mismatch> {
    let all = value.array()?;
    let nested = !all.is_empty() && all.iter().all(|one| matches!(one, Value::Array(pair) if pair.len() == 2));
    if !nested && all.len() % 2 == 1 {
        return Err(Mismatch::found("pairs", "an array of odd length"));
    }
    let mut rest = all.into_iter();
    Ok(std::iter::from_fn(move || {
        let first = rest.next()?;
        Some(match (nested, first) {
            (true, Value::Array(pair)) => <[Value; 2]>::try_from(pair)
                .map(|[a, b]| (a, b))
                .map_err(|_| Mismatch::found("a pair", "an array of another length")),
            (_, first) => {
                rest.next().map(|second| (first, second)).ok_or_else(|| Mismatch::found("a pair", "half of one"))
            }
        })
    }))
}

macro_rules! tuple {
    ($count:literal $($part:ident)+) => {
        impl<$($part: FromValue),+> FromValue for ($($part,)+) {
            fn from_value(value: Value) -> Result<Self, Mismatch> {
                let all = value.array()?;
                if all.len() != $count {
                    let found = format!("an array of {}", all.len());
                    return Err(Mismatch::found(concat!("an array of ", $count), found));
                }
                let mut all = all.into_iter();
                Ok(($($part::from_value(all.next().unwrap_or_default())?,)+))
            }
        }
    };
}

tuple! { 1 A }
tuple! { 2 A B }
tuple! { 3 A B C }
tuple! { 4 A B C D }
tuple! { 5 A B C D E }
tuple! { 6 A B C D E F }
tuple! { 7 A B C D E F G }
tuple! { 8 A B C D E F G H }

#[cfg(test)]
mod tests {
    use super::*;

    fn list<const N: usize>(all: [Value; N]) -> Value {
        Value::Array(all.into())
    }

    #[test]
    fn the_type_decides() {
        assert_eq!(Value::from("007").to::<String>().unwrap(), "007");
        assert_eq!(Value::from("007").to::<i64>().unwrap(), 7);
        assert_eq!(Value::from("9223372036854775807").to::<i64>().unwrap(), i64::MAX);
        assert_eq!(Value::from("18446744073709551615").to::<u64>().unwrap(), u64::MAX);
        assert_eq!(Value::Int(1).to::<String>().unwrap(), "1");
        assert!(Value::from("inf").to::<f64>().unwrap().is_infinite());
        assert_eq!(Value::Null.to::<Option<i64>>().unwrap(), None);
        assert!(Value::Null.to::<i64>().is_err() && Value::Int(-1).to::<u64>().is_err());
        assert!(Value::Int(2).to::<bool>().is_err() && Value::Int(1).to::<bool>().unwrap());
        assert_eq!(Value::from("[1,2]").to::<Json<Vec<u8>>>().unwrap().0, [1, 2]);
    }

    #[test]
    fn pairs_are_flat_or_nested() {
        let flat = list([Value::from("a"), Value::Int(1)]);
        let nested = list([flat.clone()]);
        let map = BTreeMap::from([("a".to_owned(), 1)]);
        assert_eq!(flat.to::<BTreeMap<String, i64>>().unwrap(), map);
        assert_eq!(nested.to::<BTreeMap<String, i64>>().unwrap(), map);
        assert_eq!(list([]).to::<HashMap<String, i64>>().unwrap(), HashMap::new());
        assert!(list([Value::Int(1)]).to::<Pairs<i64, i64>>().is_err());
    }

    #[test]
    fn a_mismatch_keeps_secrets() {
        let error = Value::from("hunter2").to::<Json<u64>>().unwrap_err().to_string();
        assert_eq!(error, "a string that is not JSON (line 1, column 1) where JSON of u64 was expected");
        let error = Value::from("\"hunter2\"").to::<Json<u64>>().unwrap_err().to_string();
        assert!(error.starts_with("JSON of another shape") && !error.contains("hunter2"), "{error}");
        assert_eq!(
            list([]).to::<(i64, i64)>().unwrap_err().to_string(),
            "an array of 0 where an array of 2 was expected"
        );
    }
}
