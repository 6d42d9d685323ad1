//! Whether a service does what its new files say: it stays up, listens where it should, serves what it should.
//!
//! A reload can succeed though the service dropped the new configuration (haproxy and nginx keep the old one when an
//! address is taken), so success is what can be seen from outside.

use crate::system::{Answer, Probe, System, SystemError};
use std::thread::sleep;
use std::time::Duration;

/// A TCP address where a service has to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// An address; `None` for every address.
    pub address: Option<String>,
    /// The port.
    pub port: u16,
}

impl From<(Option<String>, u16)> for Listener {
    fn from((address, port): (Option<String>, u16)) -> Self {
        Listener { address, port }
    }
}

/// A question that the running service has to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// What has to be in its output.
    pub expect: String,
    /// Words in its output that mean it cannot be asked, so that nothing follows from it.
    pub unasked: &'static [&'static str],
    /// What is wrong when the expected is not there.
    pub complaint: String,
}

const PAUSE: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 100 });
/// Looks before a listener or an answer is given up: 5 s.
const PATIENCE: u32 = if cfg!(test) { 9 } else { 50 };

/// Waits until a process of this name listens everywhere it should.
pub(super) fn listens(
    process: &str,
    listeners: &[Listener],
    world: &dyn System,
) -> Result<Result<(), String>, SystemError> {
    let mut missing = None;
    for look in 0..if listeners.is_empty() { 0 } else { PATIENCE } {
        let probe = Probe::new(format!("look:{look}:listeners"), &["ss", "-H", "-l", "-t", "-n", "-p"]);
        let answer = world.probe(&probe)?;
        if !answer.success() || answer.stdout.is_empty() {
            return Ok(Ok(()));
        }
        let table = answer.text();
        missing = listeners
            .iter()
            .find_map(|listener| complaint(listener, process, &table));
        if missing.is_none() {
            return Ok(Ok(()));
        }
        sleep(PAUSE);
    }
    Ok(missing.map_or(Ok(()), Err))
}

/// What is wrong with a listener in the table of ss(8).
fn complaint(listener: &Listener, process: &str, table: &str) -> Option<String> {
    let place = match &listener.address {
        Some(address) if address.contains(':') => format!("[{address}]:{}", listener.port),
        Some(address) => format!("{address}:{}", listener.port),
        None => format!("port {}", listener.port),
    };
    let holders: Vec<&str> = table.lines().filter(|line| covers(listener, line)).collect();
    let quoted = format!("\"{process}\"");
    if holders.iter().any(|line| line.contains(&quoted)) {
        return None;
    }
    let other = holders.first().and_then(|line| line.split('"').nth(1));
    Some(match other {
        Some(other) => format!("{process} does not listen on {place}: {other} has it"),
        None if listener.address.is_some() => {
            format!("{process} does not listen on {place}; is the address on this host?")
        }
        None => format!("{process} does not listen on {place}"),
    })
}

fn covers(listener: &Listener, line: &str) -> bool {
    let Some((address, port)) = line.split_whitespace().nth(3).and_then(|local| local.rsplit_once(':')) else {
        return false;
    };
    let address = address.split('%').next().unwrap_or_default().trim_matches(['[', ']']);
    let here = match &listener.address {
        None => true,
        Some(wanted) => {
            wanted == address || matches!(address, "*" | "::") || (address == "0.0.0.0" && !wanted.contains(':'))
        }
    };
    here && port == listener.port.to_string()
}

/// Waits until the service answers each question as it should.
pub(super) fn serves(served: &[Served], world: &dyn System) -> Result<Result<(), String>, SystemError> {
    for (index, question) in served.iter().enumerate() {
        let mut good = false;
        for look in 0..PATIENCE {
            let argv: Vec<&str> = question.argv.iter().map(String::as_str).collect();
            let answer = world.probe(&Probe::new(format!("look:{look}:served:{index}"), &argv))?;
            good = answer.text().contains(&question.expect) || is_unasked(question, &answer);
            if good {
                break;
            }
            sleep(PAUSE);
        }
        if !good {
            return Ok(Err(question.complaint.clone()));
        }
    }
    Ok(Ok(()))
}

fn is_unasked(question: &Served, answer: &Answer) -> bool {
    let words = answer.text() + &answer.error_text();
    answer.rc == Answer::NO_PROGRAM || words.is_empty() || question.unasked.iter().any(|word| words.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "LISTEN 0 511 0.0.0.0:80 0.0.0.0:* users:((\"nginx\",pid=7,fd=6))\n\
        LISTEN 0 10 10.0.0.1%eth1:53 0.0.0.0:* users:((\"named\",pid=9,fd=20))\n\
        LISTEN 0 511 [::1]:8080 [::]:* users:((\"nginx\",pid=7,fd=8))\n";

    fn at(address: Option<&str>, port: u16) -> Listener {
        Listener {
            address: address.map(str::to_owned),
            port,
        }
    }

    #[test]
    fn who_listens_is_read_from_ss() {
        assert_eq!(complaint(&at(None, 80), "nginx", TABLE), None);
        assert_eq!(complaint(&at(Some("10.0.0.1"), 53), "named", TABLE), None);
        assert_eq!(complaint(&at(Some("::1"), 8080), "nginx", TABLE), None);
        let taken = complaint(&at(None, 80), "haproxy", TABLE);
        assert_eq!(
            taken.as_deref(),
            Some("haproxy does not listen on port 80: nginx has it")
        );
        let absent = complaint(&at(Some("10.0.0.2"), 53), "named", TABLE);
        assert_eq!(
            absent.as_deref(),
            Some("named does not listen on 10.0.0.2:53; is the address on this host?")
        );
    }
}
