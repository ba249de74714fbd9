//! Replays what the fuzzer kept, and what it found.

use std::path::Path;

fn replay(target: &str, run: impl Fn(&[u8])) {
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

#[test]
fn tls() {
    replay("tls", super::tls);
}

#[test]
fn packets() {
    replay("packets", super::packets);
}

#[test]
fn connect() {
    replay("connect", super::connect);
}

#[test]
fn config() {
    replay("config", super::config);
}

#[test]
fn store_rows() {
    replay("store_rows", super::store_rows);
}
