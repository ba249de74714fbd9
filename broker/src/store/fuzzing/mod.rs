//! What no program of ours wrote: a store on it answers, or says that it is damaged, and never panics.

mod exercise;
mod file;
mod rows;

pub use file::store_file;
pub use rows::store_rows;

/// What is left of a fuzzer's input.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn two(&mut self) -> Option<usize> {
        Some(usize::from(self.byte()?) << 8 | usize::from(self.byte()?))
    }
}
