//! Passwords and tokens of users: how they are wrapped, hashed and compared.
//!
//! A token is text that names a database and a user and carries a secret, so that a bearer token alone says whose it is:
//! `base64url(1, database:4, length of the name, name, secret)`. The secret is either a password or 32 random bytes issued
//! for one. What is kept of either is the SHA-256.

use dormouse_proto::Blob;
use sha2::{Digest, Sha256};

use crate::codec::{Reader, put_bytes};

/// First byte of a token.
const TOKEN_VERSION: u8 = 1;
/// Longest token that is read, in characters.
const TOKEN_CHARS_MAX: usize = 8 << 10;
/// What a password must be worth for a bearer token to wrap it, in bits, by its length and kinds of characters.
const STRONG_BITS: f64 = 96.0;
/// How many different bytes it must have.
const STRONG_BYTES: usize = 10;

/// A SHA-256.
pub(crate) type Hash = [u8; 32];

/// A bearer token that was given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Issued {
    /// Of its secret.
    pub(crate) token: Hash,
    /// Of the password it was given out for; it goes with that.
    pub(crate) password: Hash,
}

/// See the module's text.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// The database's number.
    pub database: u32,
    /// The user's name.
    pub user: Blob,
    pub(crate) secret: Vec<u8>,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Token").field("database", &self.database).field("user", &self.user).finish_non_exhaustive()
    }
}

impl Token {
    pub(crate) fn text(&self) -> String {
        let mut bytes = vec![TOKEN_VERSION];
        bytes.extend(self.database.to_be_bytes());
        put_bytes(&mut bytes, &self.user);
        bytes.extend(&self.secret);
        base64_simd::URL_SAFE_NO_PAD.encode_to_string(bytes)
    }

    /// Reads a token, if the text is one.
    pub fn read(text: &[u8]) -> Option<Self> {
        // Every token begins like this, as its first byte does.
        if text.len() > TOKEN_CHARS_MAX || !text.starts_with(b"A") {
            return None;
        }
        let bytes = base64_simd::URL_SAFE_NO_PAD.decode_to_vec(text).ok()?;
        let (database, rest) = bytes.strip_prefix(&[TOKEN_VERSION])?.split_first_chunk::<4>()?;
        let mut input = Reader::new(rest);
        let user = input.blob().ok()?;
        let secret = rest[rest.len() - input.left()..].to_vec();
        (!secret.is_empty()).then_some(Self { database: u32::from_be_bytes(*database), user, secret })
    }

    pub(crate) fn is_for(&self, database: u32, user: &[u8]) -> bool {
        self.database == database && self.user.as_slice() == user
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> Hash {
    Sha256::digest(bytes).into()
}

/// Whether two hashes are the same, in a time that does not tell where they differ.
pub(crate) fn equal(a: &Hash, b: &Hash) -> bool {
    std::hint::black_box(a.iter().zip(b).fold(0, |differ, (a, b)| differ | (a ^ b))) == 0
}

/// Whether a password is too long and varied to be found by trying.
pub(crate) fn is_strong(password: &[u8]) -> bool {
    let has = |is: fn(&u8) -> bool| password.iter().any(is);
    let kinds = [
        (26, has(u8::is_ascii_lowercase)),
        (26, has(u8::is_ascii_uppercase)),
        (10, has(u8::is_ascii_digit)),
        (33, has(|byte| !byte.is_ascii_alphanumeric())),
    ];
    let alphabet: u32 = kinds.iter().filter(|(_, is_there)| *is_there).map(|(size, _)| size).sum();
    let different: std::collections::BTreeSet<&u8> = password.iter().collect();
    password.len() as f64 * f64::from(alphabet.max(1)).log2() >= STRONG_BITS && different.len() >= STRONG_BYTES
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Bytes in lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// A hash in lower-case hexadecimal.
pub(crate) fn unhex(text: &[u8]) -> Option<Hash> {
    let digit = |byte: u8| DIGITS.iter().position(|&digit| digit == byte).map(|value| value as u8);
    let mut hash = Hash::default();
    if text.len() != 2 * hash.len() {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(hash)
}
