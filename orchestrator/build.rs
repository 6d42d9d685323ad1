//! Puts the agent into the program: `OKD_AGENT` names its file. Without it the program looks for one when it runs. And
//! names the sources that this is built from by a hash, which kept plans are told apart by.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

fn main() {
    println!("cargo:rerun-if-changed=src");
    let mut files = Vec::new();
    collect(Path::new("src"), &mut files);
    files.sort();
    let mut hasher = DefaultHasher::new();
    for file in files {
        file.hash(&mut hasher);
        std::fs::read(&file).unwrap_or_default().hash(&mut hasher);
    }
    println!("cargo:rustc-env=OKD_PLAY_SOURCES={:016x}", hasher.finish());
    println!("cargo:rerun-if-env-changed=OKD_AGENT");
    let file = match std::env::var_os("OKD_AGENT").filter(|path| !path.is_empty()) {
        Some(path) => PathBuf::from(path),
        None => {
            let empty = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default()).join("no-agent");
            if let Err(error) = std::fs::write(&empty, []) {
                println!("cargo:warning=cannot write {}: {error}", empty.display());
            }
            empty
        }
    };
    println!("cargo:rerun-if-changed={}", file.display());
    println!("cargo:rustc-env=OKD_PLAY_AGENT_FILE={}", file.display());
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => collect(&path, files),
            false => files.push(path),
        }
    }
}
