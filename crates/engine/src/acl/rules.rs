//! The rules of `ACL SETUSER`, as Redis has them: from text to a user and back.
//!
//! Rules apply from left to right to a copy of the user, which replaces it once all of them have parsed. The rules a user
//! is shown and kept as are the ones that would make it.

use dormouse_proto::Blob;

use super::secret::{self, Token};
use super::{Pattern, Scope, Selector, User, sha256};

/// Most passwords of one user.
const PASSWORDS_MAX: usize = 100;

/// Why a rule does not apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RuleError {
    #[error("Syntax error")]
    Syntax,
    #[error("Unknown command or category name in ACL")]
    Unknown,
    #[error("Allowing first-arg of a subcommand is not supported")]
    WordOfSubcommand,
    #[error("The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters")]
    BadHash,
    #[error("The password you are trying to remove from the user does not exist")]
    NoSuchPassword,
    #[error(
        "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any effect. Try \
         'resetkeys' to start with an empty list of patterns"
    )]
    AfterAllKeys,
    #[error(
        "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any effect. Try \
         'resetchannels' to start with an empty list of channels"
    )]
    AfterAllChannels,
    #[error("Users without a password are not allowed, as a database can be reached over the network")]
    NoPassword,
    #[error("A user can have at most 100 passwords")]
    TooManyPasswords,
}

/// Joins what stands between `(` and `)` over several arguments; the argument where a parenthesis opens for good, if one
/// does.
pub(crate) fn merge(args: &[&[u8]]) -> Result<Vec<Vec<u8>>, Vec<u8>> {
    let mut merged: Vec<Vec<u8>> = Vec::with_capacity(args.len());
    let mut open: Option<(Vec<u8>, &[u8])> = None;
    for &arg in args {
        open = match open {
            None if arg.starts_with(b"(") && !arg.ends_with(b")") => Some((arg.to_vec(), arg)),
            None => {
                merged.push(arg.to_vec());
                None
            }
            Some((mut selector, first)) => {
                selector.push(b' ');
                selector.extend_from_slice(arg);
                if arg.ends_with(b")") {
                    merged.push(selector);
                    None
                } else {
                    Some((selector, first))
                }
            }
        };
    }
    open.map_or(Ok(merged), |(_, first)| Err(first.to_vec()))
}

impl User {
    /// Applies one rule. With the number of the database, passwords may come wrapped in a token.
    pub(crate) fn apply(&mut self, rule: &[u8], database: Option<u32>) -> Result<(), RuleError> {
        match rule.to_ascii_lowercase().as_slice() {
            b"" => {}
            b"on" => self.enabled = true,
            b"off" => self.enabled = false,
            b"skip-sanitize-payload" => self.skip_sanitize = true,
            b"sanitize-payload" => self.skip_sanitize = false,
            b"nopass" => return Err(RuleError::NoPassword),
            b"resetpass" => {
                self.passwords.clear();
                self.issued.clear();
            }
            b"clearselectors" => self.selectors.clear(),
            // All but who it is: connections it has go on under the new rules.
            b"reset" => *self = Self { id: self.id, ..Self::new(&self.name.clone()) },
            _ => match rule.split_first() {
                Some((b'>', password)) => self.add_password(self.hash_of(password, database))?,
                Some((b'<', password)) => self.remove_password(self.hash_of(password, database))?,
                Some((b'#', hash)) => self.add_password(secret::unhex(hash).ok_or(RuleError::BadHash)?)?,
                Some((b'!', hash)) => self.remove_password(secret::unhex(hash).ok_or(RuleError::BadHash)?)?,
                Some((b'(', inner)) => {
                    let inner = inner.strip_suffix(b")").ok_or(RuleError::Syntax)?;
                    let mut selector = Selector::default();
                    for rule in inner.split(u8::is_ascii_whitespace).filter(|rule| !rule.is_empty()) {
                        selector.apply(rule)?;
                    }
                    self.selectors.push(selector);
                }
                _ => self.root.apply(rule)?,
            },
        }
        Ok(())
    }

    fn hash_of(&self, password: &[u8], database: Option<u32>) -> secret::Hash {
        let token =
            database.and_then(|database| Token::read(password).filter(|token| token.is_for(database, &self.name)));
        sha256(token.as_ref().map_or(password, |token| &token.secret))
    }

    fn add_password(&mut self, hash: secret::Hash) -> Result<(), RuleError> {
        if self.passwords.contains(&hash) {
            return Ok(());
        }
        if self.passwords.len() >= PASSWORDS_MAX {
            return Err(RuleError::TooManyPasswords);
        }
        self.passwords.push(hash);
        Ok(())
    }

    /// A password takes the tokens along that were issued for it.
    fn remove_password(&mut self, hash: secret::Hash) -> Result<(), RuleError> {
        let at = self.passwords.iter().position(|other| *other == hash).ok_or(RuleError::NoSuchPassword)?;
        self.passwords.remove(at);
        self.issued.retain(|issued| issued.password != hash);
        Ok(())
    }

    /// The rules that make this user.
    pub(crate) fn rules(&self) -> Vec<Vec<u8>> {
        let flags = [if self.enabled { "on" } else { "off" }, self.sanitize_flag()];
        let flags = flags.iter().map(|flag| flag.as_bytes().to_vec());
        let passwords = self.passwords.iter().map(|hash| format!("#{}", secret::hex(hash)).into_bytes());
        let selectors = self.selectors.iter().map(|selector| [b"(", &*selector.rules().join(&b' '), b")"].concat());
        flags.chain(passwords).chain(self.root.rules()).chain(selectors).collect()
    }

    /// Payloads of `RESTORE` are always checked; the flag is kept because Redis shows it.
    pub(crate) const fn sanitize_flag(&self) -> &'static str {
        if self.skip_sanitize { "skip-sanitize-payload" } else { "sanitize-payload" }
    }
}

impl Selector {
    fn apply(&mut self, rule: &[u8]) -> Result<(), RuleError> {
        match rule.to_ascii_lowercase().as_slice() {
            b"allkeys" | b"~*" => self.keys = Scope { all: true, patterns: Vec::new() },
            b"resetkeys" => self.keys = Scope::default(),
            b"allchannels" | b"&*" => self.channels = Scope { all: true, patterns: Vec::new() },
            b"resetchannels" => self.channels = Scope::default(),
            b"allcommands" => self.commands.change("@all", true)?,
            b"nocommands" => self.commands.change("@all", false)?,
            _ => match rule.split_first() {
                Some((b'~', glob)) => self.add_key(glob, true, true)?,
                Some((b'%', rest)) => {
                    let at = rest.iter().position(|&byte| byte == b'~');
                    let ways = rest[..at.unwrap_or(rest.len())].to_ascii_uppercase();
                    // Each way once at most.
                    let (read, write) = match ways.as_slice() {
                        b"R" => (true, false),
                        b"W" => (false, true),
                        b"RW" | b"WR" => (true, true),
                        _ => return Err(RuleError::Syntax),
                    };
                    // Without a pattern it is the empty one, as in Redis.
                    self.add_key(at.map_or(&[][..], |at| &rest[at + 1..]), read, write)?;
                }
                Some((b'&', glob)) => {
                    if self.channels.all {
                        return Err(RuleError::AfterAllChannels);
                    }
                    self.channels.add(glob, true, true)?;
                }
                Some((sign @ (b'+' | b'-'), word)) => {
                    let word = std::str::from_utf8(word).map_err(|_| RuleError::Unknown)?;
                    self.commands.change(word, *sign == b'+')?;
                }
                _ => return Err(RuleError::Syntax),
            },
        }
        Ok(())
    }

    fn add_key(&mut self, glob: &[u8], read: bool, write: bool) -> Result<(), RuleError> {
        if self.keys.all {
            return Err(RuleError::AfterAllKeys);
        }
        self.keys.add(glob, read, write)
    }

    fn rules(&self) -> Vec<Vec<u8>> {
        let mut rules = self.keys.rules("~");
        // Told first, so that what follows is all there is.
        if !self.channels.all {
            rules.push(b"resetchannels".to_vec());
        }
        rules.extend(self.channels.rules("&"));
        rules.extend(self.commands.rules().map(|rule| rule.as_bytes().to_vec()));
        rules
    }
}

impl Scope {
    /// Adds a pattern, or more ways to one that is there.
    fn add(&mut self, glob: &[u8], read: bool, write: bool) -> Result<(), RuleError> {
        let breaks = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, 0 | 0x0b);
        if glob.iter().any(breaks) {
            return Err(RuleError::Syntax);
        }
        if let Some(known) = self.patterns.iter_mut().find(|pattern| pattern.glob.as_slice() == glob) {
            (known.read, known.write) = (known.read || read, known.write || write);
        } else {
            self.patterns.push(Pattern { glob: Blob::from(glob), read, write });
        }
        Ok(())
    }

    /// The rules that make it; `sign` stands before a pattern that is open both ways.
    pub(crate) fn rules(&self, sign: &str) -> Vec<Vec<u8>> {
        if self.all {
            return vec![format!("{sign}*").into_bytes()];
        }
        let rule = |pattern: &Pattern| {
            let before = match (pattern.read, pattern.write) {
                (true, false) => "%R~",
                (false, true) => "%W~",
                _ => sign,
            };
            [before.as_bytes(), &pattern.glob].concat()
        };
        self.patterns.iter().map(rule).collect()
    }
}
