//! Client-side caching: which clients may hold copies of which keys, and who is told when one has changed.
//!
//! A client that tracks is remembered with each key it reads, until that key changes: then it is told, once. A client that
//! broadcasts is told of every change of a key with one of its prefixes, read or not. What is told becomes messages in the
//! hub, which knows how clients speak, and leaves when the work at hand is in the log.
//!
//! The table is bounded: past its limit the keys that were remembered first are told as if they had changed, which costs
//! their clients a read and nothing else. A client that has gone, or tracks no longer, is found out when its key changes.

use std::collections::{BTreeMap, BTreeSet};

use dormouse_proto::{Blob, Reply};
use hashbrown::HashMap;
use smallvec::SmallVec;

use crate::client::ClientId;
use crate::hub::Hub;
use crate::txn::Touched;

/// Keys that are remembered at most, as Redis's `tracking-table-max-keys` has it.
const KEYS_MAX: usize = 1_000_000;
/// Most that it can be set to.
const KEYS_BOUND: usize = 10_000_000;
/// The channel on which clients are told who speak RESP2.
const CHANNEL: &str = "__redis__:invalidate";

/// Which keys a client is told about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Those it has read.
    #[default]
    Reads,
    /// Those it has read right after `CLIENT CACHING YES`.
    OptIn,
    /// Those it has read, but not right after `CLIENT CACHING NO`.
    OptOut,
    /// Those with its prefixes.
    Broadcast,
}

/// What a client has asked for with `CLIENT TRACKING ON`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tracking {
    /// Which keys it is told about.
    pub mode: Mode,
    /// Who is told in its place.
    pub redirect: Option<ClientId>,
    /// Its own changes are no news to it.
    pub no_loop: bool,
    /// It has just said `CLIENT CACHING`, which is about the next command or transaction.
    pub caching: bool,
    /// Of the keys it is told about; one that is empty means all.
    pub prefixes: BTreeSet<Blob>,
}

impl Tracking {
    /// Whether what it reads now is remembered.
    pub(crate) const fn remembers(&self) -> bool {
        match self.mode {
            Mode::Reads => true,
            Mode::OptIn => self.caching,
            Mode::OptOut => !self.caching,
            Mode::Broadcast => false,
        }
    }
}

/// What the table knows of a client.
#[derive(Debug)]
struct Listener {
    broadcast: bool,
    no_loop: bool,
    redirect: Option<ClientId>,
    /// Whom it redirects to was not there when there was something to tell.
    broken: bool,
}

#[derive(Debug)]
struct Readers {
    /// When the key was first read, among the keys.
    since: u64,
    clients: SmallVec<[ClientId; 2]>,
}

/// What a client is to be told: keys, or that all are gone.
#[derive(Debug, PartialEq, Eq)]
struct News {
    client: ClientId,
    keys: Option<Vec<Blob>>,
}

/// See the module's text.
#[derive(Debug)]
pub struct TrackingTable {
    listeners: BTreeMap<ClientId, Listener>,
    readers: HashMap<Blob, Readers>,
    /// The keys, the first that was read first.
    order: BTreeMap<u64, Blob>,
    reads: u64,
    /// Readers of all keys together.
    items: usize,
    prefixes: BTreeMap<Blob, BTreeSet<ClientId>>,
    /// Most keys that are remembered.
    keys_max: usize,
}

impl Default for TrackingTable {
    fn default() -> Self {
        Self {
            listeners: BTreeMap::new(),
            readers: HashMap::new(),
            order: BTreeMap::new(),
            reads: 0,
            items: 0,
            prefixes: BTreeMap::new(),
            keys_max: KEYS_MAX,
        }
    }
}

impl TrackingTable {
    /// From now on so many keys are remembered at most, 0 for as many as there may be; what is too many now is told with the
    /// next command.
    pub(crate) fn keep(&mut self, keys_max: u64) {
        let keys_max = usize::try_from(keys_max).unwrap_or(KEYS_BOUND);
        self.keys_max = if keys_max == 0 { KEYS_BOUND } else { keys_max.min(KEYS_BOUND) };
    }

    /// Whether nobody tracks.
    pub fn is_idle(&self) -> bool {
        self.listeners.is_empty()
    }

    /// Clients that track.
    pub fn clients(&self) -> usize {
        self.listeners.len()
    }

    /// Keys that are remembered.
    pub fn keys(&self) -> usize {
        self.readers.len()
    }

    /// How often a key is remembered for a client.
    pub const fn items(&self) -> usize {
        self.items
    }

    /// Distinct prefixes of clients that broadcast.
    pub fn prefixes(&self) -> usize {
        self.prefixes.len()
    }

    /// Whether a client redirects to one that has gone.
    pub fn is_broken(&self, client: ClientId) -> bool {
        self.listeners.get(&client).is_some_and(|listener| listener.broken)
    }

    /// A client tracks from now on, or in another way.
    pub(crate) fn set(&mut self, client: ClientId, tracking: &Tracking) {
        let broadcast = tracking.mode == Mode::Broadcast;
        let (no_loop, redirect) = (tracking.no_loop, tracking.redirect);
        self.listeners.insert(client, Listener { broadcast, no_loop, redirect, broken: false });
        for prefix in &tracking.prefixes {
            self.prefixes.entry(prefix.clone()).or_default().insert(client);
        }
    }

    /// A client tracks no longer. What it has read is forgotten as the keys change, and all at once with the last client.
    pub(crate) fn remove(&mut self, client: ClientId) {
        let Some(listener) = self.listeners.remove(&client) else { return };
        if listener.broadcast {
            self.prefixes.retain(|_, clients| {
                clients.remove(&client);
                !clients.is_empty()
            });
        }
        if self.listeners.is_empty() {
            self.clear();
        }
    }

    fn clear(&mut self) {
        self.readers = HashMap::new();
        self.order.clear();
        self.items = 0;
    }

    fn remember(&mut self, client: ClientId, key: &Blob) {
        let readers = self.readers.entry(key.clone()).or_insert_with(|| {
            self.reads += 1;
            self.order.insert(self.reads, key.clone());
            Readers { since: self.reads, clients: SmallVec::new() }
        });
        if !readers.clients.contains(&client) {
            readers.clients.push(client);
            self.items += 1;
        }
    }

    /// Who has read a key, once.
    fn take(&mut self, key: &[u8]) -> SmallVec<[ClientId; 2]> {
        let Some(readers) = self.readers.remove(key) else { return SmallVec::new() };
        self.order.remove(&readers.since);
        self.items -= readers.clients.len();
        readers.clients
    }

    /// A key is not what it was: whoever has read it is told, but not `me` if that is no news to it.
    fn invalidate(&mut self, key: &Blob, me: Option<ClientId>, news: &mut Vec<News>) {
        let mut readers = self.take(key);
        readers.sort_unstable();
        for client in readers {
            let listener = self.listeners.get(&client).filter(|listener| !listener.broadcast);
            if listener.is_some_and(|listener| !(listener.no_loop && me == Some(client))) {
                news.push(News { client, keys: Some(vec![key.clone()]) });
            }
        }
    }

    /// What a finished piece of work of `me` means for clients that track.
    fn settle(&mut self, touched: &[Touched], me: ClientId) -> Vec<News> {
        let mut news = Vec::new();
        // What has changed, and who did it last.
        let mut changed: BTreeMap<&Blob, Option<ClientId>> = BTreeMap::new();
        for touched in touched {
            match touched {
                Touched::Read(key) => self.remember(me, key),
                Touched::Changed(key) | Touched::Died(key) => {
                    self.invalidate(key, Some(me), &mut news);
                    changed.insert(key, matches!(touched, Touched::Changed(_)).then_some(me));
                }
                Touched::AllGone => {
                    self.clear();
                    news.extend(self.listeners.keys().map(|&client| News { client, keys: None }));
                }
                // It went with the others.
                Touched::Gone(_) => {}
            }
        }
        if !changed.is_empty() {
            self.broadcast(&changed, &mut news);
        }
        while self.readers.len() > self.keys_max
            && let Some((_, key)) = self.order.pop_first()
        {
            self.invalidate(&key, None, &mut news);
        }
        news
    }

    fn broadcast(&self, changed: &BTreeMap<&Blob, Option<ClientId>>, news: &mut Vec<News>) {
        for (prefix, clients) in &self.prefixes {
            let matching: Vec<(&Blob, Option<ClientId>)> = changed
                .range::<Blob, _>(prefix..)
                .take_while(|(key, _)| key.starts_with(prefix))
                .map(|(key, author)| (*key, *author))
                .collect();
            for &client in clients {
                let no_loop = self.listeners.get(&client).is_some_and(|listener| listener.no_loop);
                let is_news = |author: Option<ClientId>| !(no_loop && author == Some(client));
                let keys: Vec<Blob> =
                    matching.iter().filter(|(_, author)| is_news(*author)).map(|(key, _)| (*key).clone()).collect();
                if !keys.is_empty() {
                    news.push(News { client, keys: Some(keys) });
                }
            }
        }
    }
}

impl Hub {
    /// What a finished piece of work of `me` means for clients that track: messages, and whom each is for.
    pub fn invalidations(&mut self, touched: &[Touched], me: ClientId) -> Vec<(ClientId, Reply)> {
        if self.tracking.is_idle() {
            return Vec::new();
        }
        let news = self.tracking.settle(touched, me);
        news.into_iter().filter_map(|news| self.message(news)).collect()
    }

    fn message(&mut self, news: News) -> Option<(ClientId, Reply)> {
        let listener = self.tracking.listeners.get_mut(&news.client)?;
        let redirect = listener.redirect;
        let Some(target) = self.clients.get(&redirect.unwrap_or(news.client)) else {
            let redirect = redirect?;
            listener.broken = true;
            let speaks_push = self.clients.get(&news.client)?.protocol == 3;
            let words = vec![Reply::bulk("tracking-redir-broken"), Reply::Integer(redirect.0 as i64)];
            return speaks_push.then_some((news.client, Reply::Push(words)));
        };
        let keys = news.keys.map_or(Reply::Null, Reply::bulks);
        let words = match target.protocol {
            3 => vec![Reply::bulk("invalidate"), keys],
            // Between replies there is no room for it, unless nothing but messages is expected.
            _ if redirect.is_some() && target.subscriptions() > 0 => {
                vec![Reply::bulk("message"), Reply::bulk(CHANNEL), keys]
            }
            _ => return None,
        };
        Some((target.id, Reply::Push(words)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{Client, Door, Grant};

    const ME: ClientId = ClientId(1);
    const OTHER: ClientId = ClientId(2);

    fn blob(text: &str) -> Blob {
        Blob::from(text.as_bytes())
    }

    fn read(key: &str) -> Touched {
        Touched::Read(blob(key))
    }

    fn changed(key: &str) -> Touched {
        Touched::Changed(blob(key))
    }

    /// As `client:key,key`, all keys as `*`.
    fn told(table: &mut TrackingTable, me: ClientId, touched: &[Touched]) -> String {
        let text = |news: News| {
            let keys = news.keys.map_or("*".to_owned(), |keys| {
                keys.iter().map(|key| String::from_utf8_lossy(key).into_owned()).collect::<Vec<_>>().join(",")
            });
            format!("{}:{keys}", news.client.0)
        };
        table.settle(touched, me).into_iter().map(text).collect::<Vec<_>>().join(" ")
    }

    fn tracks(mode: Mode, no_loop: bool, prefixes: &[&str]) -> Tracking {
        Tracking {
            mode,
            no_loop,
            prefixes: prefixes.iter().map(|prefix| blob(prefix)).collect(),
            ..Tracking::default()
        }
    }

    #[test]
    fn readers_are_told_once() {
        let mut table = TrackingTable::default();
        table.set(ME, &tracks(Mode::Reads, false, &[]));
        table.set(OTHER, &tracks(Mode::Reads, true, &[]));
        for client in [ME, OTHER] {
            assert_eq!(told(&mut table, client, &[read("a"), read("b"), read("a")]), "");
        }
        assert_eq!((table.keys(), table.items()), (2, 4));
        assert_eq!(told(&mut table, OTHER, &[changed("a"), changed("a"), changed("c")]), "1:a", "OTHER did it itself");
        assert_eq!((table.keys(), table.items()), (1, 2));
        assert_eq!(told(&mut table, OTHER, &[Touched::Died(blob("b"))]), "1:b");
        assert_eq!(told(&mut table, ME, &[read("d"), changed("d"), read("d")]), "1:d");
        assert_eq!(told(&mut table, ME, &[read("d"), Touched::AllGone, Touched::Gone(blob("d"))]), "1:* 2:*");
        assert_eq!((table.keys(), table.items(), table.order.len()), (0, 0, 0));
        told(&mut table, ME, &[read("e")]);
        table.remove(ME);
        assert_eq!(told(&mut table, OTHER, &[changed("e"), read("f")]), "");
        table.remove(OTHER);
        assert_eq!((table.keys(), table.is_idle()), (0, true));
    }

    #[test]
    fn changes_are_broadcast_by_prefix() {
        let mut table = TrackingTable::default();
        table.set(ME, &tracks(Mode::Broadcast, true, &["a:", "b:"]));
        table.set(OTHER, &tracks(Mode::Broadcast, false, &[""]));
        assert_eq!(table.prefixes(), 3);
        let all = [changed("b:1"), changed("a:2"), changed("a:1"), changed("c"), changed("a:1")];
        assert_eq!(told(&mut table, ClientId(9), &all), "2:a:1,a:2,b:1,c 1:a:1,a:2 1:b:1");
        assert_eq!(told(&mut table, ME, &[changed("a:1"), Touched::Died(blob("a:2"))]), "2:a:1,a:2 1:a:2");
        assert_eq!(told(&mut table, ME, &[Touched::AllGone]), "1:* 2:*");
        assert_eq!(told(&mut table, ME, &[read("a:1")]), "");
        table.remove(ME);
        assert_eq!(table.prefixes(), 1);
    }

    #[test]
    fn past_the_limit_the_oldest_keys_are_told() {
        let mut table = TrackingTable { keys_max: 2, ..TrackingTable::default() };
        table.set(ME, &tracks(Mode::Reads, true, &[]));
        assert_eq!(told(&mut table, ME, &[read("a"), read("b"), read("a")]), "");
        assert_eq!(told(&mut table, ME, &[read("c")]), "1:a");
        assert_eq!(told(&mut table, OTHER, &[changed("b")]), "1:b");
        assert_eq!(told(&mut table, ME, &[read("d"), read("e"), read("f")]), "1:c 1:d");
        table.keep(0);
        assert_eq!(told(&mut table, ME, &[read("g"), read("h"), read("i")]), "");
        table.keep(1);
        assert_eq!(told(&mut table, OTHER, &[]), "1:e 1:f 1:g 1:h");
        assert_eq!((table.keys(), table.items(), table.order.len()), (1, 1, 1));
    }

    #[test]
    fn messages_are_as_their_readers_speak() {
        let mut hub = Hub::default();
        for id in [ME, OTHER] {
            hub.clients.insert(id, Client::new(id, Door::Resp, Grant::Full));
        }
        hub.tracking.set(ME, &Tracking { redirect: Some(OTHER), ..Tracking::default() });
        let say = |hub: &mut Hub| hub.invalidations(&[read("k"), changed("k")], ME);
        assert_eq!(say(&mut hub), [], "it speaks RESP2 and does not listen");
        hub.clients.get_mut(&OTHER).unwrap().channels.insert(blob(CHANNEL));
        let keys = || Reply::bulks([blob("k")]);
        let message = Reply::Push(vec![Reply::bulk("message"), Reply::bulk(CHANNEL), keys()]);
        assert_eq!(say(&mut hub), [(OTHER, message)]);
        hub.clients.get_mut(&OTHER).unwrap().protocol = 3;
        let message = Reply::Push(vec![Reply::bulk("invalidate"), keys()]);
        assert_eq!(say(&mut hub), [(OTHER, message)]);
        hub.clients.remove(&OTHER);
        assert_eq!(say(&mut hub), []);
        assert!(hub.tracking.is_broken(ME));
        hub.clients.get_mut(&ME).unwrap().protocol = 3;
        let broken = Reply::Push(vec![Reply::bulk("tracking-redir-broken"), Reply::Integer(2)]);
        assert_eq!(say(&mut hub), [(ME, broken)]);
    }
}
