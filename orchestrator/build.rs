//! Puts the agent into the program: `OKD_AGENT` names its file. Without it the program looks for one when it runs.

use std::path::PathBuf;

fn main() {
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
