//! What no program of ours wrote: a store on it answers, or says that it is damaged, and never panics.

mod exercise;
mod file;
mod rows;

pub use file::store_file;
pub use rows::store_rows;
