//! The tables of [`crate::store::kv`] as tables of the database.

use std::cell::OnceCell;
use std::sync::OnceLock;

use ::redb::{
    ReadOnlyTable, ReadTransaction, ReadableTable, Table as Open, TableDefinition, WriteTransaction,
};

use super::errors::failed;
use crate::store::StoreError;
use crate::store::kv::{Pair, ReadKv, Table, WriteKv};

type Definition = TableDefinition<'static, &'static [u8], &'static [u8]>;

fn definition(table: Table) -> Definition {
    TableDefinition::new(table.name())
}

/// A snapshot. Its tables are opened when they are first read, once for all readers: opening one costs as much as
/// what is then read in it.
pub(super) struct Snapshot {
    txn: ReadTransaction,
    tables: [OnceLock<ReadOnlyTable<&'static [u8], &'static [u8]>>; Table::ALL.len()],
}

/// A transaction that writes; its tables are opened when they are first touched, which most of them never are.
pub(super) struct Draft<'txn> {
    txn: &'txn WriteTransaction,
    tables: [OnceCell<Open<'txn, &'static [u8], &'static [u8]>>; Table::ALL.len()],
}

impl<'txn> Draft<'txn> {
    /// Begins one.
    pub(super) fn new(txn: &'txn WriteTransaction) -> Self {
        Self { txn, tables: Default::default() }
    }

    /// Begins one with all tables open, which creates those that are missing.
    pub(super) fn with_all_tables(txn: &'txn WriteTransaction) -> Result<Self, StoreError> {
        let draft = Self::new(txn);
        Table::ALL.iter().try_for_each(|table| draft.table(*table).map(drop))?;
        Ok(draft)
    }

    fn table(&self, table: Table) -> Result<&Open<'txn, &'static [u8], &'static [u8]>, StoreError> {
        let place = &self.tables[table as usize];
        match place.get() {
            Some(open) => Ok(open),
            None => {
                let open = self.txn.open_table(definition(table)).map_err(failed)?;
                Ok(place.get_or_init(|| open))
            }
        }
    }

    fn table_mut(
        &mut self,
        table: Table,
    ) -> Result<&mut Open<'txn, &'static [u8], &'static [u8]>, StoreError> {
        self.table(table)?;
        let open = self.tables[table as usize].get_mut();
        open.ok_or_else(|| StoreError::Damaged(format!("the table {} does not stay open", table.name())))
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
    pub(super) fn new(txn: ReadTransaction) -> Self {
        Self { txn, tables: Default::default() }
    }

    fn table(&self, table: Table) -> Result<&ReadOnlyTable<&'static [u8], &'static [u8]>, StoreError> {
        let place = &self.tables[table as usize];
        match place.get() {
            Some(open) => Ok(open),
            None => {
                let open = self.txn.open_table(definition(table)).map_err(failed)?;
                Ok(place.get_or_init(|| open))
            }
        }
    }
}

impl ReadKv for Snapshot {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        look_up(self.table(table)?, key)
    }

    fn range(&self, table: Table, from: &[u8], to: &[u8], max: usize) -> Result<Vec<Pair>, StoreError> {
        read(self.table(table)?, from, to, max)
    }
}

impl ReadKv for Draft<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        look_up(self.table(table)?, key)
    }

    fn range(&self, table: Table, from: &[u8], to: &[u8], max: usize) -> Result<Vec<Pair>, StoreError> {
        read(self.table(table)?, from, to, max)
    }
}

impl WriteKv for Draft<'_> {
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.table_mut(table)?.insert(key, value).map(drop).map_err(failed)
    }

    fn remove(&mut self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        self.table_mut(table)?.remove(key).map(drop).map_err(failed)
    }
}
