//! Every store keeps the same promises.

use std::path::Path;
use std::sync::Arc;

use dormouse_storage::{FaultyStore, MemoryStore, Store, StoreOptions, open_store, store_contract};

fn memory(_dir: &Path) -> Arc<dyn Store> {
    Arc::new(MemoryStore::default())
}

fn faultless(_dir: &Path) -> Arc<dyn Store> {
    Arc::new(FaultyStore::new(Arc::new(MemoryStore::default())))
}

fn embedded(dir: &Path) -> Arc<dyn Store> {
    open_store(dir, &StoreOptions::default()).unwrap()
}

store_contract!(memory_store, super::memory);
store_contract!(faulty_store_without_faults, super::faultless);
store_contract!(embedded_store, super::embedded, durable);
