//! Runs the stand-in of Proxmox VE, and says how it is reached, as variables for a playbook.
//!
//! ```text
//! pve-stand-in                          on a free port of loopback, until its input ends; nothing is kept
//! pve-stand-in --state DIR [OPTION...]  as a server of a lab, until it is killed
//!
//!   --listen ADDRESS:PORT   where it listens; 127.0.0.1:8006 without it
//!   --name NAME             a further name in its certificate; may be given again
//!   --token-file FILE       holds the secret of the token okd@pve!play, and is made where it is not there;
//!                           DIR/token without it
//!   --hook PROGRAM          is called to make real what is applied and started, see below
//!   --node NAME             the node's name; pve without it
//!   --uplink NAME           the node's card; eno1 without it
//!   --cidr ADDRESS/LENGTH   the node's address on vmbr0; 10.213.0.2/24 without it
//!   --gateway ADDRESS       its gateway; 10.213.0.1 without it
//!   --capacity GIB          what the storage `local` has for images; 512 without it
//! ```
//!
//! `DIR` holds the certificate and its key (`ca.pem`, `key.pem`; remove both to have others made), the storage `local`
//! (`local/template/iso`, `local/import`, `local/images/VMID`), all that is known (`state.json`, taken up at the next
//! start) and `vars.yaml`: the variables `api_host api_port api_user api_token_id api_token_secret fingerprint ca_path node`.
//! Where somebody puts a file `hold` there, a task of the KIND:ID that it says stays under way until it is gone.
//! `vars.yaml` is written anew when the server listens, and only its owner can read it.
//!
//! # The hook
//!
//! `PROGRAM EVENT` is called with one JSON object on its standard input, in one line. Status 0 lets the task go on; any
//! other ends it with the last line of the standard error, and all its lines stand in the task's log. It has to return
//! soon and leave in the background (with its own standard output and error) what shall stay. Calls for one machine, and those for the
//! network, come one after the other; those for different machines may come at once. Every event says the whole state that should
//! be, so that a hook can be called again.
//!
//! Always: `event`, `node`, and `state_dir` (the absolute path of `DIR`).
//!
//! * `network-apply`: at the start of the server, and whenever the network is applied. `interfaces` is what is applied:
//!   `{"name": "vmbr1", "type": "bridge", "autostart": true, "address": "10.0.0.2/24" or null, "gateway": "…" or null,
//!   "ports": ["eno1"], "mtu": 1450 or null, "vlan_aware": false}`; types are `bridge`, `eth`, `vlan`, …. A bridge that is
//!   not listed any more is to be removed. `vnets` is what the applied software-defined network adds: bridges
//!   `{"name": "vnet0", "zone": "okdz", "type": "vxlan", "tag": 4242 or null, "mtu": 1450 or null, "peers": ["10.0.0.2"],
//!   "vxlan_port": 4789}`.
//! * `vm-start`: `vmid`, `name`, `config` (all options, by their own names, as strings), `nets`
//!   (`{"name": "net0", "model": "virtio", "mac": "BC:24:11:…", "bridge": "vmbr1", "mtu": 1 or null, "tag": null,
//!   "firewall": false, "link_down": false}`; an `mtu` of 1 is that of the bridge), `drives`
//!   (`{"name": "scsi0", "media": "disk" or "cdrom", "volume": "local:100/vm-100-disk-0.raw", "path": "/absolute" or null for an
//!   empty CD drive, "format": "raw", "size": bytes or null}`), `boot` (`["scsi0", "ide2", "net0"]`), `timeout` and `force` as for
//!   `vm-stop`. It may print one JSON object: `{"pid": 4711}` is the process of the machine. When that ends, the machine
//!   is stopped.
//! * `vm-stop` (pull the plug), `vm-shutdown` (ask its system; wait `timeout` seconds, null is 60; then fail, or pull the plug
//!   where `force` is true), `vm-reset`: as `vm-start`, with `pid` where one was given. They come for machines that run.
//! * `vm-destroy`: as `vm-start`; the machine is stopped, and its files are removed afterwards.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use okd_tests::pve::{Settings, StandIn, TOKEN, private};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What the command line says.
struct Asked {
    settings: Settings,
    token: Option<PathBuf>,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| matches!(word.as_str(), "-h" | "--help")) {
        print!("{}", help());
        return ExitCode::SUCCESS;
    }
    let end = match words.is_empty() {
        true => passing(),
        false => asked(&words).and_then(lasting),
    };
    match end {
        Ok(()) => ExitCode::SUCCESS,
        Err(said) => {
            eprintln!("pve-stand-in: {said}");
            ExitCode::from(2)
        }
    }
}

/// The head of this file, which is the manual.
fn help() -> String {
    let own = include_str!("pve-stand-in.rs").lines();
    let lines = own.map_while(|line| line.strip_prefix("//!"));
    lines
        .filter(|line| !line.contains("```"))
        .map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(line)))
        .collect()
}

fn passing() -> Result<(), String> {
    let stand_in = StandIn::start();
    print!("{}", variables(&stand_in, "pve", TOKEN.2));
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    Ok(())
}

fn lasting(asked: Asked) -> Result<(), String> {
    let Asked { mut settings, token } = asked;
    std::fs::create_dir_all(&settings.state).map_err(|error| format!("{}: {error}", settings.state.display()))?;
    settings.secret = secret(&token.unwrap_or_else(|| settings.state.join("token")))?;
    let stand_in = StandIn::serve(&settings)?;
    let file = settings.state.join("vars.yaml");
    private(&file, &variables(&stand_in, &settings.node, &settings.secret))?;
    println!("listening on {}, variables in {}", stand_in.address, file.display());
    loop {
        std::thread::park();
    }
}

fn variables(stand_in: &StandIn, node: &str, secret: &str) -> String {
    let (user, id, _) = TOKEN;
    let (address, port) = (stand_in.address.ip(), stand_in.address.port());
    format!(
        "api_host: {address}\napi_port: {port}\napi_user: {user}\napi_token_id: {id}\napi_token_secret: {secret}\n\
         fingerprint: {}\nca_path: {}\nnode: {node}\n",
        stand_in.fingerprint,
        stand_in.ca().display()
    )
}

/// The token's secret of a file, which is made where it is not there.
fn secret(path: &Path) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    if !path.exists() {
        let fresh = std::fs::read_to_string("/proc/sys/kernel/random/uuid").map_err(failed)?;
        private(path, &fresh)?;
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    match text.trim() {
        "" => Err(format!("{} is empty", path.display())),
        secret => Ok(secret.to_owned()),
    }
}

fn asked(words: &[String]) -> Result<Asked, String> {
    let mut settings = Settings::new(Path::new(""));
    settings.listen = ([127, 0, 0, 1], 8006).into();
    settings.capacity = 512 << 30;
    settings.keep = true;
    let mut token = None;
    let mut words = words.iter();
    while let Some(option) = words.next() {
        let value = words
            .next()
            .ok_or_else(|| format!("{option} needs a value; see --help"))?;
        let wrong = || format!("{option} does not take `{value}`; see --help");
        match option.as_str() {
            "--state" => settings.state = value.into(),
            "--listen" => settings.listen = value.parse().map_err(|_| wrong())?,
            "--name" => settings.names.push(value.clone()),
            "--token-file" => token = Some(value.into()),
            "--hook" => {
                settings.hook = Some(std::fs::canonicalize(value).map_err(|error| format!("{value}: {error}"))?)
            }
            "--node" => settings.node.clone_from(value),
            "--uplink" => settings.uplink.port.clone_from(value),
            "--cidr" => settings.uplink.cidr.clone_from(value),
            "--gateway" => settings.uplink.gateway.clone_from(value),
            "--capacity" => settings.capacity = value.parse::<u64>().map_err(|_| wrong())? << 30,
            _ => return Err(format!("there is no option {option}; see --help")),
        }
    }
    match settings.state.as_os_str().is_empty() {
        true => Err("--state DIR is needed; see --help".to_owned()),
        false => Ok(Asked { settings, token }),
    }
}
