//! Single flight: of those who miss the same key in this process at the same time, one loads and the others wait for it.
//!
//! The one who leads may be dropped at any time: then the next who waits leads. A flight that ended is never joined: whoever comes later
//! begins another.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

type Slot<R> = AsyncMutex<Option<R>>;

/// Flights by their key.
pub(crate) struct Flights<R>(Arc<Mutex<HashMap<String, Arc<Slot<R>>>>>);

/// What somebody who joins becomes.
pub(crate) enum Joined<R> {
    /// The one who loads.
    Leads(Lead<R>),
    /// One to whom another has given what was loaded.
    Follows(R),
}

/// The lead of a flight. When it is dropped without a result, the next takes it.
pub(crate) struct Lead<R> {
    flights: Flights<R>,
    key: String,
    flight: Arc<Slot<R>>,
    slot: OwnedMutexGuard<Option<R>>,
}

impl<R: Clone> Flights<R> {
    /// Joins the flight of a key, and waits for its end if another leads.
    pub(crate) async fn join(&self, key: &str) -> Joined<R> {
        let flight = self.flight(key);
        let slot = Arc::clone(&flight).lock_owned().await;
        match &*slot {
            Some(result) => Joined::Follows(result.clone()),
            None => Joined::Leads(Lead { flights: self.clone(), key: key.to_owned(), flight, slot }),
        }
    }

    /// Leads the flight of a key if nobody else does.
    pub(crate) fn lead(&self, key: &str) -> Option<Lead<R>> {
        let flight = self.flight(key);
        let slot = Arc::clone(&flight).try_lock_owned().ok().filter(|slot| slot.is_none())?;
        Some(Lead { flights: self.clone(), key: key.to_owned(), flight, slot })
    }

    /// Has nobody join the flights of today any more: what they bring may be out of date.
    pub(crate) fn part(&self, key: Option<&str>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match key {
            Some(key) => drop(all.remove(key)),
            None => all.clear(),
        }
    }

    fn flight(&self, key: &str) -> Arc<Slot<R>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = all.get(key) {
            return Arc::clone(flight);
        }
        Arc::clone(all.entry(key.to_owned()).or_default())
    }
}

impl<R> Lead<R> {
    /// Gives those who wait what was loaded.
    pub(crate) fn land(mut self, result: R) {
        *self.slot = Some(result);
    }
}

impl<R> Drop for Lead<R> {
    fn drop(&mut self) {
        let mut all = self.flights.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.get(&self.key).is_some_and(|flight| Arc::ptr_eq(flight, &self.flight)) {
            all.remove(&self.key);
        }
    }
}

impl<R> Clone for Flights<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<R> Default for Flights<R> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<R> fmt::Debug for Flights<R> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Flights")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[tokio::test]
    async fn one_leads_and_the_others_get_what_it_brings() {
        let (flights, loads) = (Flights::<u32>::default(), Arc::new(AtomicU32::new(0)));
        let tasks: Vec<_> = (0..20)
            .map(|_| {
                let (flights, loads) = (flights.clone(), Arc::clone(&loads));
                tokio::spawn(async move {
                    match flights.join("k").await {
                        Joined::Follows(found) => found,
                        Joined::Leads(lead) => {
                            loads.fetch_add(1, Ordering::SeqCst);
                            tokio::task::yield_now().await;
                            lead.land(7);
                            7
                        }
                    }
                })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await.expect("no panic"), 7);
        }
        assert_eq!(loads.load(Ordering::SeqCst), 1);
        assert!(flights.0.lock().expect("no panic").is_empty(), "nothing is left behind");
    }

    #[tokio::test]
    async fn who_gives_up_is_followed_by_the_next() {
        let flights = Flights::<u32>::default();
        let Joined::Leads(first) = flights.join("k").await else { panic!("nobody else leads") };
        assert!(flights.lead("k").is_none());
        let other = flights.clone();
        let second = tokio::spawn(async move { matches!(other.join("k").await, Joined::Leads(_)) });
        tokio::task::yield_now().await;
        drop(first);
        assert!(second.await.expect("no panic"));
        assert!(flights.0.lock().expect("no panic").is_empty());
        let Joined::Leads(third) = flights.join("k").await else { panic!("nobody else leads") };
        flights.part(Some("k"));
        assert!(flights.lead("k").is_some(), "whoever comes after an invalidation does not join");
        third.land(1);
    }
}
