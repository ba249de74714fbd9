//! A changed file of a store.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, OnceLock};

use ::redb::StorageBackend;
use parking_lot::Mutex;

use super::Input;
use super::exercise::{at, exercise, fill, read_all};
use crate::store::redb::{open_on, write_empty};
use crate::store::{Store, StoreError};

const PAGE: usize = 4096;
const CACHE_BYTES: usize = 1 << 20;
/// How many states of the file are remembered; a commit makes two.
const STATES: usize = 6;
/// A change makes the file no longer than this.
const LONGER_MAX: usize = 8 << 20;
/// The disk is full when the file has grown to this.
const LEN_MAX: u64 = 64 << 20;

/// Takes the file of a good store and changes of it, one behind the other.
///
/// The first byte is 0 for a file that was closed, 1 for one whose broker was killed, 2 if all that follows is the
/// file, 3 for a file that changes under an open store. A place is `page at(2)`, where only pages count in which
/// something is written: `0 place byte` sets a byte, `1 place length bytes` some, `2 place length(2) age` takes back
/// what the last flushes wrote, `3 page page` writes a page to where another one is, `4 place` cuts the file off,
/// `5 place length(2)` makes zeros, `6 pages` makes the file longer.
///
/// It opens and everything is as it was after one of the last flushes, or it is damaged and stays as it is. Under an
/// open store any answer is right; nothing is written there, because the database may then end the process: it panics
/// again as it closes its tables after a first panic.
pub fn store_file(data: &[u8]) {
    let good = good();
    let content = Input(data).file(good);
    if data.first() == Some(&3) {
        let medium = Medium::of(good.closed.clone());
        // What is in the cache would not change.
        let store = open(&medium, 0).expect("a store that was closed");
        medium.0.lock().content = content;
        read_all(&*store);
        // Closing writes.
        medium.0.lock().content = good.closed.clone();
        return;
    }
    let medium = Medium::of(content.clone());
    let store = match open(&medium, CACHE_BYTES) {
        Err(error) => {
            assert!(matches!(error, StoreError::Damaged(_)), "{error}");
            assert!(medium.0.lock().content == content, "a file that was refused was touched: {error}");
            return;
        }
        Ok(store) => store,
    };
    let answers = read_all(&*store);
    assert!(good.answers.contains(&answers), "it was damaged, and nobody noticed: {answers:#?}");
    exercise(&*store);
    drop(store);
    let again = open(&medium, CACHE_BYTES).map(drop);
    assert!(again.is_ok(), "it was in order, and is not after some work: {again:?}");
}

/// A store at its work.
struct Good {
    /// What is in its file after the last flushes, the newest last.
    states: VecDeque<Vec<u8>>,
    /// What was in it after it was closed.
    closed: Vec<u8>,
    /// What a store in each of these states answers.
    answers: Vec<Vec<String>>,
}

fn good() -> &'static Good {
    static GOOD: OnceLock<Good> = OnceLock::new();
    GOOD.get_or_init(|| {
        let medium = Medium::of(Vec::new());
        write_empty("in memory", medium.clone()).expect("an empty store");
        let store = open(&medium, CACHE_BYTES).expect("a store");
        fill(&*store);
        let states = medium.0.lock().states.clone();
        drop(store);
        let closed = medium.0.lock().content.clone();
        let mut answers: Vec<Vec<String>> = Vec::new();
        for state in states.iter().chain([&closed]) {
            let store =
                open(&Medium::of(state.clone()), CACHE_BYTES).expect("a store in a state in which it was");
            let of_state = read_all(&*store);
            if !answers.contains(&of_state) {
                answers.push(of_state);
            }
        }
        Good { states, closed, answers }
    })
}

fn open(medium: &Medium, cache_bytes: usize) -> Result<Arc<dyn Store>, StoreError> {
    let medium = medium.clone();
    let open = move || Ok(Box::new(medium.clone()) as Box<dyn StorageBackend>);
    open_on(Box::new(open), cache_bytes, at(3), Arc::new(()))
}

impl Input<'_> {
    fn file(&mut self, good: &Good) -> Vec<u8> {
        let mut content = match self.byte().unwrap_or(0) {
            0 | 3 => good.closed.clone(),
            1 => good.states.back().cloned().unwrap_or_default(),
            _ => return self.0.to_vec(),
        };
        let written = |page: &[u8]| page.iter().any(|byte| *byte != 0);
        let pages = content.chunks(PAGE).enumerate().filter(|(_, page)| written(page));
        let pages: Vec<usize> = pages.map(|(number, _)| number * PAGE).collect();
        while self.change_file(&mut content, &pages, good).is_some() {}
        content
    }

    fn page(&mut self, pages: &[usize]) -> Option<usize> {
        Some(pages[usize::from(self.byte()?) % pages.len()])
    }

    fn place(&mut self, pages: &[usize]) -> Option<usize> {
        Some(self.page(pages)? + self.two()? % PAGE)
    }

    /// Makes the next change; `None` at the end.
    fn change_file(&mut self, content: &mut Vec<u8>, pages: &[usize], good: &Good) -> Option<()> {
        match self.byte()? % 7 {
            0 => {
                let (at, byte) = (self.place(pages)?, self.byte()?);
                put(content, at, &[byte]);
            }
            1 => {
                let (at, len) = (self.place(pages)?, usize::from(self.byte()?));
                let (bytes, rest) = self.0.split_at(len.min(self.0.len()));
                self.0 = rest;
                put(content, at, bytes);
            }
            2 => {
                let (at, len, age) = (self.place(pages)?, self.two()?, usize::from(self.byte()?));
                let state = &good.states[age % good.states.len()];
                let to = (at + len).min(state.len());
                put(content, at, state.get(at..to).unwrap_or_default());
            }
            3 => {
                let (from, to) = (self.page(pages)?, self.page(pages)?);
                let page = content.get(from..from + PAGE).unwrap_or_default().to_vec();
                put(content, to, &page);
            }
            4 => content.truncate(self.place(pages)?),
            5 => {
                let (at, len) = (self.place(pages)?, self.two()?);
                put(content, at, &vec![0; len]);
            }
            _ => {
                let len = content.len() + usize::from(self.byte()?) * PAGE;
                content.resize(len.min(LONGER_MAX.max(content.len())), 0);
            }
        }
        Some(())
    }
}

/// Writes what lies within the file.
fn put(content: &mut [u8], at: usize, bytes: &[u8]) {
    for (place, byte) in content.iter_mut().skip(at).zip(bytes) {
        *place = *byte;
    }
}

/// A file in memory.
#[derive(Debug, Clone)]
struct Medium(Arc<Mutex<Tape>>);

#[derive(Debug, Default)]
struct Tape {
    content: Vec<u8>,
    /// What it was after the last flushes.
    states: VecDeque<Vec<u8>>,
}

impl Medium {
    fn of(content: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(Tape { content, states: VecDeque::new() })))
    }
}

impl StorageBackend for Medium {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().content.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let tape = self.0.lock();
        let offset = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let part = offset.checked_add(out.len()).and_then(|end| tape.content.get(offset..end));
        out.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if len > LEN_MAX {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0.lock().content.resize(len as usize, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut tape = self.0.lock();
        if tape.states.len() == STATES {
            tape.states.pop_front();
        }
        let state = tape.content.clone();
        tape.states.push_back(state);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let end = offset.checked_add(data.len() as u64).filter(|end| *end <= LEN_MAX);
        let end = end.ok_or(io::ErrorKind::StorageFull)? as usize;
        let mut tape = self.0.lock();
        if tape.content.len() < end {
            tape.content.resize(end, 0);
        }
        put(&mut tape.content, offset as usize, data);
        Ok(())
    }
}
