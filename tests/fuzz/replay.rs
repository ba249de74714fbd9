//! Replays what the fuzzer kept, and what it found: part of the tests of each crate that has a module `fuzzing`.

use std::path::Path;

/// Gives a target all its files.
pub(crate) fn replay(target: &str, run: impl Fn(&[u8])) {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz");
    let mut count = 0;
    for kind in ["seeds", "corpus", "regressions"] {
        // Not every target has some of each.
        let Ok(files) = std::fs::read_dir(fuzz.join(kind).join(target)) else { continue };
        for file in files {
            let path = file.unwrap().path();
            // Shown only if it fails: the last one named is the one.
            println!("{}", path.display());
            run(&std::fs::read(&path).unwrap());
            count += 1;
        }
    }
    assert!(count > 0, "nothing to replay for {target}");
}
