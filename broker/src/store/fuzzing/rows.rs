//! Changed rows of a store.

use std::sync::{Arc, OnceLock};

use super::Input;
use super::exercise::{exercise, fill};
use crate::store::StoreError;
use crate::store::batch::Job;
use crate::store::claims::Claims;
use crate::store::kv::{Pair, ReadKv, Table};
use crate::store::memory::Memory;
use crate::store::shared::{Backend, SharedStore};
use crate::store::sighting::Sighting;

/// Takes changes of the rows of a good store, one behind the other:
/// `0 table key-length value-length(2) key value` puts a row, `1 table n` removes the nth row of a table,
/// `2 table n at(2) byte` changes a byte of its value, `3 table n at byte` of its key,
/// `4 table n value-length(2) value` its whole value.
pub fn store_rows(data: &[u8]) {
    let mut rows = good_rows().clone();
    let mut input = Input(data);
    while let Some(()) = input.change_rows(&mut rows) {}
    let claims = Arc::new(Claims::default());
    let memory = Memory::of_rows(rows, claims.clone());
    exercise(&SharedStore::new(memory, claims));
}

impl Input<'_> {
    fn bytes(&mut self, n: usize) -> Vec<u8> {
        let (taken, rest) = self.0.split_at(n.min(self.0.len()));
        self.0 = rest;
        taken.to_vec()
    }

    /// Makes the next change; `None` at the end.
    fn change_rows(&mut self, rows: &mut Vec<(Table, Pair)>) -> Option<()> {
        let kind = self.byte()?;
        let table = Table::ALL[usize::from(self.byte()?) % Table::ALL.len()];
        if kind == 0 {
            let (key_len, value_len) = (usize::from(self.byte()?), self.two()?);
            let row = (self.bytes(key_len), self.bytes(value_len));
            rows.push((table, row));
            return Some(());
        }
        let n = usize::from(self.byte()?);
        let mut of_table = rows.iter_mut().enumerate().filter(|(_, (of, _))| *of == table);
        let found = of_table.nth(n).map(|(at, (_, row))| (at, row));
        match kind {
            1 => {
                if let Some(at) = found.map(|(at, _)| at) {
                    rows.remove(at);
                }
            }
            2 => {
                let (at, byte) = (self.two()?, self.byte()?);
                if let Some(place) = found.and_then(|(_, row)| row.1.get_mut(at)) {
                    *place = byte;
                }
            }
            3 => {
                let (at, byte) = (usize::from(self.byte()?), self.byte()?);
                if let Some(place) = found.and_then(|(_, row)| row.0.get_mut(at)) {
                    *place = byte;
                }
            }
            _ => {
                let len = self.two()?;
                let value = self.bytes(len);
                if let Some((_, row)) = found {
                    row.1 = value;
                }
            }
        }
        Some(())
    }
}

/// The rows of a store in which there is something of each kind.
fn good_rows() -> &'static Vec<(Table, Pair)> {
    static ROWS: OnceLock<Vec<(Table, Pair)>> = OnceLock::new();
    ROWS.get_or_init(|| {
        let claims = Arc::new(Claims::default());
        let memory = Arc::new(Memory::create(claims.clone()));
        fill(&SharedStore::new(memory.clone(), claims));
        let rows = memory.rows();
        for table in [
            Table::Agents,
            Table::Groups,
            Table::Commands,
            Table::Inbox,
            Table::Audit,
            Table::Outcomes,
            Table::Power,
        ] {
            assert!(rows.iter().any(|(of, _)| *of == table), "no row of {}", table.name());
        }
        rows
    })
}

impl<B: Backend> Backend for Arc<B> {
    fn read<T>(&self, work: impl FnOnce(&dyn ReadKv) -> Result<T, StoreError>) -> Result<T, StoreError> {
        B::read(self, work)
    }

    fn queue(&self, job: Box<dyn Job>) -> impl Future<Output = Result<(), StoreError>> + Send {
        B::queue(self, job)
    }

    fn see(&self, sighting: Sighting) -> impl Future<Output = Result<(), StoreError>> + Send {
        B::see(self, sighting)
    }
}
