//! The tables of [`crate::store::kv`] as tables of the database.

use ::redb::{ReadTransaction, ReadableTable, Table as Open, TableDefinition, WriteTransaction};

use super::errors::failed;
use crate::store::StoreError;
use crate::store::kv::{Pair, ReadKv, Table, WriteKv};

type Definition = TableDefinition<'static, &'static [u8], &'static [u8]>;

fn definition(table: Table) -> Definition {
    TableDefinition::new(table.name())
}

/// A snapshot.
pub(super) struct Snapshot(pub(super) ReadTransaction);

/// All tables, open for writing: opening one for each access would cost more than the access.
pub(super) struct Draft<'txn>(Vec<Open<'txn, &'static [u8], &'static [u8]>>);

impl<'txn> Draft<'txn> {
    /// Opens all tables, and creates those that are missing.
    pub(super) fn open(txn: &'txn WriteTransaction) -> Result<Self, StoreError> {
        let open = |table: &Table| txn.open_table(definition(*table)).map_err(failed);
        Table::ALL.iter().map(open).collect::<Result<_, _>>().map(Self)
    }
}

fn read(
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    from: &[u8],
    to: &[u8],
    max: usize,
) -> Result<Vec<Pair>, StoreError> {
    if from >= to {
        return Ok(Vec::new());
    }
    let mut pairs = Vec::new();
    for pair in table.range::<&[u8]>(from..to).map_err(failed)?.take(max) {
        let (key, value) = pair.map_err(failed)?;
        pairs.push((key.value().to_vec(), value.value().to_vec()));
    }
    Ok(pairs)
}

fn look_up(
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    key: &[u8],
) -> Result<Option<Vec<u8>>, StoreError> {
    Ok(table.get(key).map_err(failed)?.map(|value| value.value().to_vec()))
}

impl Snapshot {
    fn table(&self, table: Table) -> Result<impl ReadableTable<&'static [u8], &'static [u8]>, StoreError> {
        self.0.open_table(definition(table)).map_err(failed)
    }
}

impl ReadKv for Snapshot {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        look_up(&self.table(table)?, key)
    }

    fn range(&self, table: Table, from: &[u8], to: &[u8], max: usize) -> Result<Vec<Pair>, StoreError> {
        read(&self.table(table)?, from, to, max)
    }
}

impl ReadKv for Draft<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        look_up(&self.0[table as usize], key)
    }

    fn range(&self, table: Table, from: &[u8], to: &[u8], max: usize) -> Result<Vec<Pair>, StoreError> {
        read(&self.0[table as usize], from, to, max)
    }
}

impl WriteKv for Draft<'_> {
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.0[table as usize].insert(key, value).map(drop).map_err(failed)
    }

    fn remove(&mut self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        self.0[table as usize].remove(key).map(drop).map_err(failed)
    }
}
