//! What a database lies on: a [`StorageBackend`], through which writes can be kept from the medium.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::Bound;

use ::redb::{BackendError, StorageBackend};
use parking_lot::Mutex;

/// Opens the medium, each time anew: a file, or what a test puts in its place.
pub type OpenMedium = dyn Fn() -> io::Result<Box<dyn StorageBackend>> + Send + Sync;

const PAGE: u64 = 4096;

/// A medium, or one under a sheet that takes the writes.
///
/// The database writes when it is opened, even if only a flag. Under a sheet a file can be looked at without
/// being touched, and what a medium that refuses writes still holds can be read.
pub(super) struct Medium {
    inner: Box<dyn StorageBackend>,
    sheet: Option<Mutex<Sheet>>,
}

/// What was written over a medium that stays as it is.
struct Sheet {
    len: u64,
    /// How much of the medium is still to be seen; it shrinks with `len` and never grows again.
    visible: u64,
    pages: BTreeMap<u64, Vec<u8>>,
}

impl Medium {
    /// Lets everything through.
    pub(super) fn open(open: &OpenMedium) -> io::Result<Self> {
        Ok(Self { inner: open()?, sheet: None })
    }

    /// Keeps all writes in memory.
    pub(super) fn open_under_sheet(open: &OpenMedium) -> io::Result<Self> {
        let inner = open()?;
        let len = inner.len()?;
        Ok(Self { inner, sheet: Some(Mutex::new(Sheet { len, visible: len, pages: BTreeMap::new() })) })
    }
}

impl Sheet {
    /// Returns a page as it is to be seen.
    fn page(&self, inner: &dyn StorageBackend, number: u64) -> io::Result<Vec<u8>> {
        if let Some(page) = self.pages.get(&number) {
            return Ok(page.clone());
        }
        let start = number * PAGE;
        let seen = self.visible.saturating_sub(start).min(PAGE) as usize;
        let mut page = vec![0; PAGE as usize];
        if seen > 0 {
            inner.read(start, &mut page[..seen])?;
        }
        Ok(page)
    }

    fn read(&self, inner: &dyn StorageBackend, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if offset + out.len() as u64 > self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for (number, from, part) in pages(offset, out.len()) {
            let page = self.page(inner, number)?;
            out[part.clone()].copy_from_slice(&page[from..from + part.len()]);
        }
        Ok(())
    }

    fn write(&mut self, inner: &dyn StorageBackend, offset: u64, data: &[u8]) -> io::Result<()> {
        for (number, from, part) in pages(offset, data.len()) {
            let mut page = self.page(inner, number)?;
            page[from..from + part.len()].copy_from_slice(&data[part]);
            self.pages.insert(number, page);
        }
        self.len = self.len.max(offset + data.len() as u64);
        Ok(())
    }

    fn set_len(&mut self, inner: &dyn StorageBackend, len: u64) -> io::Result<()> {
        if len < self.len {
            // What grows again is zero.
            let edge = len / PAGE;
            let mut page = self.page(inner, edge)?;
            page[(len % PAGE) as usize..].fill(0);
            self.pages.split_off(&edge);
            self.pages.insert(edge, page);
            self.visible = self.visible.min(len);
        }
        self.len = len;
        Ok(())
    }
}

/// Cuts a range into pages: the page's number, where in the page it begins, and which part of the range it is.
fn pages(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let at = offset + done as u64;
        let from = (at % PAGE) as usize;
        let size = (PAGE as usize - from).min(len - done);
        let part = done..done + size;
        done += size;
        Some((at / PAGE, from, part))
    })
}

impl StorageBackend for Medium {
    fn len(&self) -> io::Result<u64> {
        match &self.sheet {
            Some(sheet) => Ok(sheet.lock().len),
            None => self.inner.len(),
        }
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        match &self.sheet {
            Some(sheet) => sheet.lock().read(&*self.inner, offset, out),
            None => self.inner.read(offset, out),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        match &self.sheet {
            Some(sheet) => sheet.lock().set_len(&*self.inner, len),
            None => self.inner.set_len(len),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        match &self.sheet {
            Some(_) => Ok(()),
            None => self.inner.sync_data(),
        }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        match &self.sheet {
            Some(sheet) => sheet.lock().write(&*self.inner, offset, data),
            None => self.inner.write(offset, data),
        }
    }

    fn close(&self) -> io::Result<()> {
        self.inner.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.query_lock_range(start, end)
    }
}

impl fmt::Debug for Medium {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Medium").field("under_sheet", &self.sheet.is_some()).finish_non_exhaustive()
    }
}
