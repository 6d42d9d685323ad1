//! The agent's file: built into this program, or beside it, or where `$OKD_PLAY_AGENT` says.

use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::OnceLock;

/// Put there by the build; empty where the agent was not built first.
static BUILT_IN: &[u8] = include_bytes!(env!("OKD_PLAY_AGENT_FILE"));

/// The agent as it is sent to hosts.
#[derive(Debug)]
pub struct Binary {
    /// The file.
    pub bytes: Vec<u8>,
    /// SHA-256, hexadecimal: names it on hosts.
    pub sha256: String,
}

static BINARY: OnceLock<Result<Binary, String>> = OnceLock::new();

/// The agent's file.
///
/// # Errors
/// A sentence that says where was looked, when there is none.
pub fn agent() -> Result<&'static Binary, String> {
    BINARY.get_or_init(load).as_ref().map_err(Clone::clone)
}

fn load() -> Result<Binary, String> {
    let asked = std::env::var_os("OKD_PLAY_AGENT").map(PathBuf::from);
    let beside = std::env::current_exe()
        .ok()
        .and_then(|own| own.parent().map(|folder| folder.join("okd-agent")));
    let bytes = match (&asked, BUILT_IN) {
        (Some(path), _) => std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?,
        (None, [_, ..]) => BUILT_IN.to_vec(),
        (None, []) => {
            let path = beside.ok_or("this build has no agent; $OKD_PLAY_AGENT can name its file")?;
            let hint = "this build has no agent in it; `make build` puts it in, or $OKD_PLAY_AGENT names its file";
            std::fs::read(&path).map_err(|error| format!("{}: {error} ({hint})", path.display()))?
        }
    };
    let sha256 = Sha256::digest(&bytes).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    Ok(Binary { bytes, sha256 })
}
