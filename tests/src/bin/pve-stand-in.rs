//! Runs the stand-in of Proxmox VE until its input ends, and says how it is reached, as variables for a playbook.
#![allow(clippy::print_stdout)]

use okd_tests::pve::{StandIn, TOKEN};
use std::io::Read;

fn main() {
    let stand_in = StandIn::start();
    let (user, id, secret) = TOKEN;
    println!(
        "api_host: {}\napi_port: {}",
        stand_in.address.ip(),
        stand_in.address.port()
    );
    println!("api_user: {user}\napi_token_id: {id}\napi_token_secret: {secret}");
    println!(
        "fingerprint: {}\nca_path: {}",
        stand_in.fingerprint,
        stand_in.ca().display()
    );
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}
