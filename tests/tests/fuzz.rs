//! Bytes that a reader once could not stand are read by it again; see tests/fuzz.
#![allow(clippy::unwrap_used)]

#[path = "../fuzz/src/lib.rs"]
mod readers;

use std::path::Path;

#[test]
fn what_fuzzing_found_is_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    let mut replayed = 0;
    for (name, read) in readers::ALL {
        assert!(
            manifest.contains(&format!("path = \"targets/{name}.rs\"")),
            "{name} is no target"
        );
        read(b"");
        let Ok(files) = std::fs::read_dir(folder.join("regressions").join(name)) else {
            continue;
        };
        for file in files {
            let path = file.unwrap().path();
            println!("{}", path.display());
            read(&std::fs::read(path).unwrap());
            replayed += 1;
        }
    }
    assert_eq!(manifest.matches("[[bin]]").count(), readers::ALL.len());
    println!("{replayed} inputs");
}
