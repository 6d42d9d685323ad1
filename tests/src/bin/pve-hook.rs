//! Makes real in a lab what the stand-in of Proxmox VE notes: `pve-stand-in --hook pve-hook`. Bridges become sites of the
//! lab; a machine with a drive that tells a cloud image who it is becomes a host of Enterprise Linux with that identity;
//! any other machine becomes a guest, which boots by its disk, its live ISO or the network, as its boot order says.
//!
//! `pve-hook EVENT` reads one JSON object, as `pve-stand-in` describes it. From the environment it takes `OKD_LAB_NAME`,
//! the lab, and `OKD_LAB_STAND_IN`, where what stands for a cluster listens (`--stand-in` of `lab guest`).
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;

fn main() -> ExitCode {
    let said = std::io::read_to_string(std::io::stdin()).map_err(|error| error.to_string());
    let event = said.and_then(|text| serde_json::from_str(&text).map_err(|error| format!("this is no event: {error}")));
    match event.and_then(|event| okd_tests::hook::obey(&event)) {
        Ok(answer) => {
            println!("{answer}");
            ExitCode::SUCCESS
        }
        Err(said) => {
            eprintln!("pve-hook: {said}");
            ExitCode::FAILURE
        }
    }
}
