//! The backend in memory, for tests: the same snapshots and batches, nothing to flush.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use super::StoreError;
use super::batch::{Batch, Job, job};
use super::claims::Claims;
use super::kv::{Pair, ReadKv, Table, WriteKv};
use super::rows;
use super::shared::Backend;
use super::sighting::Sighting;

/// Keeps the tables in memory.
pub(super) struct Memory {
    tables: RwLock<Arc<Tables>>,
    /// One batch at a time.
    writing: Mutex<()>,
    claims: Arc<Claims>,
}

type Map<V> = BTreeMap<Vec<u8>, V>;

#[derive(Clone, Default)]
struct Tables([Map<Vec<u8>>; Table::ALL.len()]);

/// A state, and what a batch changes in it: `None` is a removed key.
struct Draft {
    base: Arc<Tables>,
    changes: [Map<Option<Vec<u8>>>; Table::ALL.len()],
}

impl Memory {
    /// Makes an empty store.
    pub(super) fn create(claims: Arc<Claims>) -> Self {
        let memory = Self { tables: RwLock::default(), writing: Mutex::new(()), claims };
        let mut draft = memory.draft();
        // A draft in memory takes everything.
        if rows::write_first(&mut draft).is_ok() {
            memory.publish(draft);
        }
        memory
    }

    /// Makes a store of rows, whatever they say.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn of_rows(rows: Vec<(Table, Pair)>, claims: Arc<Claims>) -> Self {
        let mut tables = Tables::default();
        for (table, (key, value)) in rows {
            tables.0[table as usize].insert(key, value);
        }
        Self { tables: RwLock::new(Arc::new(tables)), writing: Mutex::new(()), claims }
    }

    /// Returns all rows.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn rows(&self) -> Vec<(Table, Pair)> {
        let tables = self.tables.read();
        let of = |table: Table| {
            let rows = tables.0[table as usize].clone();
            rows.into_iter().map(move |row| (table, row))
        };
        Table::ALL.into_iter().flat_map(of).collect()
    }

    fn draft(&self) -> Draft {
        Draft { base: self.tables.read().clone(), changes: Default::default() }
    }

    fn publish(&self, Draft { base, changes }: Draft) {
        drop(base);
        let mut tables = self.tables.write();
        // Copies only if somebody is just reading a snapshot.
        let tables = Arc::make_mut(&mut tables);
        for (map, changes) in tables.0.iter_mut().zip(changes) {
            for (key, value) in changes {
                match value {
                    Some(value) => map.insert(key, value),
                    None => map.remove(&key),
                };
            }
        }
    }

    fn run(&self, mut job: Box<dyn Job>) {
        let writing = self.writing.lock();
        let mut draft = self.draft();
        let mut effects = Vec::new();
        let result = Batch::run(&mut draft, &self.claims, &mut effects, |batch| job.run(batch));
        if result.is_ok() {
            self.publish(draft);
        }
        self.claims.resolve(effects, result.is_ok());
        drop(writing);
        job.answer(result.map(drop));
    }
}

impl Backend for Memory {
    fn read<T>(&self, work: impl FnOnce(&dyn ReadKv) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let tables = self.tables.read().clone();
        work(&*tables)
    }

    fn queue(&self, job: Box<dyn Job>) -> impl Future<Output = Result<(), StoreError>> + Send {
        self.run(job);
        std::future::ready(Ok(()))
    }

    fn see(&self, sighting: Sighting) -> impl Future<Output = Result<(), StoreError>> + Send {
        self.queue(job(move |batch| sighting.write(batch)).0)
    }
}

fn bounds<'a>(from: &'a [u8], to: &'a [u8]) -> (Bound<&'a [u8]>, Bound<&'a [u8]>) {
    (Bound::Included(from), Bound::Excluded(to.max(from)))
}

impl ReadKv for Tables {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.0[table as usize].get(key).cloned())
    }

    fn range(&self, table: Table, from: &[u8], to: &[u8], max: usize) -> Result<Vec<Pair>, StoreError> {
        let pairs = self.0[table as usize].range::<[u8], _>(bounds(from, to));
        Ok(pairs.take(max).map(|(key, value)| (key.clone(), value.clone())).collect())
    }
}

impl ReadKv for Draft {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.changes[table as usize].get(key) {
            Some(change) => Ok(change.clone()),
            None => self.base.get(table, key),
        }
    }

    fn range(&self, table: Table, from: &[u8], to: &[u8], max: usize) -> Result<Vec<Pair>, StoreError> {
        let base = self.base.0[table as usize].range::<[u8], _>(bounds(from, to));
        let mut merged: Map<Option<Vec<u8>>> =
            base.map(|(key, value)| (key.clone(), Some(value.clone()))).collect();
        for (key, change) in self.changes[table as usize].range::<[u8], _>(bounds(from, to)) {
            merged.insert(key.clone(), change.clone());
        }
        Ok(merged.into_iter().filter_map(|(key, value)| Some((key, value?))).take(max).collect())
    }
}

impl WriteKv for Draft {
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.changes[table as usize].insert(key.to_vec(), Some(value.to_vec()));
        Ok(())
    }

    fn remove(&mut self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        self.changes[table as usize].insert(key.to_vec(), None);
        Ok(())
    }
}
