//! What okd-play remembers of a machine, on the machine itself: handlers that are owed there.
//!
//! A folder of small files, each put in place whole, for the user that acts alone. Whoever finds one of them torn says so
//! and goes on without it: no run fails for what is only remembered.

mod owing;
mod record;

pub(crate) use owing::Owing;

use crate::diff::sha256;
use crate::path::AbsPath;
use crate::resource::file::make_directories;
use crate::system::{FileWrite, Probe, Removal, System, SystemError};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Where it is, the best place first; behind them comes the user's own folder for what can be made anew.
const FOLDERS: [&str; 2] = ["/var/lib/okd-play/ledger", "/run/okd-play/ledger"];

/// How the name of a debt's file begins.
const OWED: &str = "owed-";

/// The first line of a debt's file.
const DEBT: &str = "okd-play debt 1";

/// No file of the ledger is longer, in bytes.
const LIMIT: u64 = 16 << 20;

/// A handler that is owed: a step that notifies it has changed something, and it has not run well since.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Debt {
    /// The handler's name.
    pub handler: String,
    /// A hash of the handler as it is written.
    pub written: String,
    /// A hash of what it does there; `None` where that was not known yet.
    pub does: Option<String>,
    /// The host for which it is due, where that is not the one that was changed (`delegate_to`).
    pub host: Option<String>,
    /// The step's name.
    pub step: String,
    /// Names the step in its playbook.
    pub key: String,
    /// The run, by its beginning: microseconds since 1970.
    pub run: u64,
}

impl Debt {
    /// Names it: one debt for each handler and step.
    #[must_use]
    pub fn id(&self) -> String {
        let does = self.does.as_deref().unwrap_or_default();
        let host = self.host.as_deref().unwrap_or_default();
        let all = [&self.written, does, host, &self.key].join("\n");
        sha256(all.as_bytes()).get(..16).unwrap_or_default().to_owned()
    }

    fn text(&self) -> String {
        let run = self.run.to_string();
        let (does, host) = (self.does.as_deref(), self.host.as_deref());
        let fields = [
            &self.handler,
            &self.written,
            does.unwrap_or_default(),
            host.unwrap_or_default(),
            &self.step,
            &self.key,
            &run,
        ];
        format!("{DEBT}\n{}\n", record::line(&fields))
    }

    fn parse(text: &str) -> Option<Debt> {
        let line = text.strip_prefix(DEBT)?.strip_prefix('\n')?.strip_suffix('\n')?;
        let fields: [String; 7] = record::fields(line).try_into().ok()?;
        let [handler, written, does, host, step, key, run] = fields;
        let some = |text: String| Some(text).filter(|text| !text.is_empty());
        let (does, host) = (some(does), some(host));
        Some(Debt {
            handler,
            written,
            does,
            host,
            step,
            key,
            run: run.parse().ok()?,
        })
    }
}

/// The file that says that a service was not told yet of what was written for it; the typed services keep it.
#[must_use]
pub fn owed_mark(unit: &str) -> AbsPath {
    folder(FOLDERS[0]).join(&format!("{OWED}{unit}"))
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn folder(path: &str) -> AbsPath {
    AbsPath::new(path).unwrap_or_else(|_| unreachable!("{path} is a path"))
}

/// A machine's ledger, read when it is first asked for.
pub struct Ledger {
    machine: Arc<dyn System>,
    opened: Option<Opened>,
}

#[derive(Default)]
struct Opened {
    /// Where there is one.
    folder: Option<AbsPath>,
    debts: Vec<Debt>,
    /// What was found torn.
    torn: Vec<String>,
}

impl Ledger {
    /// The ledger of a machine.
    #[must_use]
    pub fn new(machine: Arc<dyn System>) -> Self {
        Ledger { machine, opened: None }
    }

    /// The handlers that are owed.
    pub fn debts(&mut self) -> &[Debt] {
        &self.open().debts
    }

    /// What is wrong with it, in sentences; each is told once.
    pub fn complaints(&mut self) -> Vec<String> {
        std::mem::take(&mut self.open().torn)
    }

    /// Remembers debts, so that they last. Returns those that were not remembered before.
    ///
    /// # Errors
    /// Why it cannot be written.
    pub fn owe(&mut self, debts: &[Debt]) -> Result<Vec<String>, SystemError> {
        let mut fresh = Vec::new();
        for debt in debts {
            let id = debt.id();
            if self.open().debts.iter().any(|known| known.id() == id) {
                continue;
            }
            self.write(&format!("{OWED}{id}"), debt.text())?;
            self.open().debts.push(debt.clone());
            fresh.push(id);
        }
        Ok(fresh)
    }

    /// Forgets debts: they are paid, or were none.
    ///
    /// # Errors
    /// Why it cannot be written.
    pub fn settle(&mut self, ids: &[String]) -> Result<(), SystemError> {
        let opened = self.open();
        let folder = opened.folder.clone();
        let paid: Vec<Debt> = opened.debts.extract_if(.., |debt| ids.contains(&debt.id())).collect();
        for (debt, folder) in paid.iter().zip(folder.iter().cycle()) {
            self.machine
                .remove(&folder.join(&format!("{OWED}{}", debt.id())), Removal::File)?;
        }
        Ok(())
    }

    fn write(&mut self, name: &str, text: String) -> Result<(), SystemError> {
        let here = self.open().folder.clone();
        let mut last = None;
        for folder in here.map_or_else(|| self.places(), |here| vec![here]) {
            let file = FileWrite {
                mode: Some(0o600),
                ..FileWrite::new(folder.join(name), text.clone().into_bytes())
            };
            let made = make_directories(&folder, 0o700, self.machine.as_ref());
            match made
                .map_err(|error| error.to_string())
                .and_then(|()| self.machine.write(&file).map_err(|error| error.to_string()))
            {
                Ok(()) => {
                    self.open().folder = Some(folder);
                    return Ok(());
                }
                Err(error) => last = Some((file.path, error)),
            }
        }
        let (path, reason) = last.unwrap_or_else(|| (folder(FOLDERS[0]), String::new()));
        Err(SystemError::io("write", &path, &reason))
    }

    fn places(&self) -> Vec<AbsPath> {
        FOLDERS.into_iter().map(folder).chain(self.home()).collect()
    }

    /// The user's own folder.
    fn home(&self) -> Option<AbsPath> {
        let argv = ["/bin/sh", "-c", "printf %s \"$HOME\""];
        let answer = self.machine.probe(&Probe::new("home", &argv)).ok()?;
        let home = AbsPath::new(&answer.text()).ok()?;
        answer.success().then(|| home.join(".cache/okd-play/ledger"))
    }

    fn open(&mut self) -> &mut Opened {
        let machine = &self.machine;
        if self.opened.is_none() {
            let here = |folder: &AbsPath| machine.list(folder).is_ok_and(|entries| !entries.is_empty());
            let folder = FOLDERS.into_iter().map(folder).find(here);
            let folder = folder.or_else(|| self.home().filter(here));
            self.opened = Some(self.read(folder));
        }
        self.opened.get_or_insert_default()
    }

    fn read(&self, folder: Option<AbsPath>) -> Opened {
        let mut opened = Opened {
            folder,
            ..Opened::default()
        };
        let Some(folder) = &opened.folder else { return opened };
        for entry in self.machine.list(folder).unwrap_or_default() {
            // A unit's name has a dot, a debt's has none.
            let Some(id) = entry.name.strip_prefix(OWED).filter(|id| !id.contains('.')) else {
                continue;
            };
            let path = folder.join(&entry.name);
            let text = self.machine.read(&path, LIMIT).ok().flatten();
            let text = text.and_then(|bytes| String::from_utf8(bytes).ok());
            match text.as_deref().and_then(Debt::parse).filter(|debt| debt.id() == id) {
                Some(debt) => opened.debts.push(debt),
                None => opened.torn.push(format!(
                    "{path} is damaged: a handler is owed on this host, and which one is not known any more"
                )),
            }
        }
        opened
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::system::Answer;
    use crate::system::fake::Fake;

    fn debt(step: &str) -> Debt {
        Debt {
            handler: "Restart\tit".to_owned(),
            written: "ab".repeat(8),
            does: None,
            host: None,
            step: step.to_owned(),
            key: format!("0/tasks/{step}"),
            run: 1_700_000_000_000_000,
        }
    }

    #[test]
    fn what_is_owed_is_found_by_the_next_until_it_is_paid() {
        let machine = Arc::new(Fake::new());
        let mut ledger = Ledger::new(machine.clone());
        assert!(ledger.debts().is_empty());
        let (one, other) = (
            debt("one"),
            Debt {
                does: Some("cd".to_owned()),
                ..debt("other\n")
            },
        );
        assert_eq!(ledger.owe(&[one.clone(), other.clone()]).unwrap().len(), 2);
        assert!(ledger.owe(std::slice::from_ref(&one)).unwrap().is_empty());
        let mut next = Ledger::new(machine.clone());
        assert_eq!(next.debts().len(), 2);
        assert!(next.debts().contains(&other));
        assert!(next.complaints().is_empty());
        next.settle(&[one.id(), "nobody's".to_owned()]).unwrap();
        assert_eq!(Ledger::new(machine.clone()).debts(), [other]);
        let meta = machine.stat(&folder(FOLDERS[0])).unwrap().unwrap();
        assert_eq!(meta.mode, 0o700);
        assert!(
            machine
                .log()
                .iter()
                .any(|line| line.contains("owed-") && line.contains("0600"))
        );
    }

    #[test]
    fn a_damaged_debt_is_told_and_a_services_mark_is_not_taken_for_one() {
        let one = debt("one");
        let path = |name: &str| format!("{}/{OWED}{name}", FOLDERS[0]);
        let machine = Fake::new()
            .file(&path("named.service"), "")
            .file(&path("torn"), "okd-play de");
        let mut ledger = Ledger::new(Arc::new(machine.file(&path(&one.id()), one.text())));
        assert_eq!(ledger.debts(), [one]);
        let complaints = ledger.complaints();
        assert!(
            matches!(&complaints[..], [one] if one.contains("owed-torn is damaged")),
            "{complaints:?}"
        );
        assert_eq!(owed_mark("named.service").as_str(), path("named.service"));
    }

    #[test]
    fn a_user_who_may_write_nowhere_else_keeps_it_at_home() {
        let machine = Fake::new()
            .dir("/home/ann")
            .command(&["/bin/sh"], Answer::ok("/home/ann"))
            .fail("make", "/var/lib", "Permission denied")
            .fail("make", "/run", "Permission denied");
        let machine = Arc::new(machine);
        Ledger::new(machine.clone()).owe(&[debt("one")]).unwrap();
        assert_eq!(
            machine.list(&folder("/home/ann/.cache/okd-play/ledger")).unwrap().len(),
            1
        );
        assert_eq!(Ledger::new(machine).debts().len(), 1);
    }
}
