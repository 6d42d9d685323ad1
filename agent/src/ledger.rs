//! What okd-play remembers of a machine, on the machine itself: handlers that are owed there, and what it manages.
//!
//! A folder of small files, each put in place whole, for the user that acts alone. Whoever finds one of them torn says so
//! and goes on without it: no run fails for what is only remembered.

mod owing;
mod record;
mod things;

pub(crate) use owing::Owing;
pub use things::{Entry, Managed, Row, Stand, Thing};

use crate::diff::sha256;
use crate::path::AbsPath;
use crate::resource::file::make_directories;
use crate::system::{FileKind, FileWrite, Probe, Removal, System, SystemError};
use crate::wire::BUILD;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use things::Things;

/// Where it is, the best place first; behind them comes the user's own folder for what can be made anew.
const FOLDERS: [&str; 2] = ["/var/lib/okd-play/ledger", "/run/okd-play/ledger"];

/// The file of what is managed.
const THINGS: &str = "things";

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
    /// Names the playbook.
    pub playbook: String,
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
            &self.playbook,
            &run,
        ];
        format!("{DEBT}\n{}\n", record::line(&fields))
    }

    fn parse(text: &str) -> Option<Debt> {
        let line = text.strip_prefix(DEBT)?.strip_prefix('\n')?.strip_suffix('\n')?;
        let fields: [String; 8] = record::fields(line).try_into().ok()?;
        let [handler, written, does, host, step, key, playbook, run] = fields;
        let some = |text: String| Some(text).filter(|text| !text.is_empty());
        let (does, host) = (some(does), some(host));
        Some(Debt {
            handler,
            written,
            does,
            host,
            step,
            key,
            playbook,
            run: run.parse().ok()?,
        })
    }
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
    /// What is managed, once it was asked for.
    things: Option<Things>,
    /// What was found as it should be and is not in the file like that; it is written when that is asked for.
    adopted: Vec<News>,
    /// What was changed.
    changed: Vec<News>,
    /// What this session has written.
    written: Vec<News>,
    /// What was found torn.
    torn: Vec<String>,
}

/// What a step says of a thing that it manages.
struct News {
    row: Row,
    wish: String,
    found: bool,
    made: bool,
}

impl Ledger {
    /// The ledger of a machine.
    #[must_use]
    pub fn new(machine: Arc<dyn System>) -> Self {
        Ledger { machine, opened: None }
    }

    /// The handlers that are owed.
    pub fn debts(&mut self) -> &[Debt] {
        self.things();
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

    /// How something stands that a step would change; `wish` are the bytes of what the step asks for.
    pub fn stand(&mut self, managed: &[Row], wish: &[u8]) -> Option<Stand> {
        let things = self.things();
        let wish = things.hash(wish);
        let known = managed.iter().find_map(|row| things.get(row)).cloned()?;
        let moved = match known.left() {
            "" => known.asked(&wish),
            left => self.look(&known).as_deref().unwrap_or_default() != left,
        };
        Some(Stand {
            run: known.run(),
            moved,
        })
    }

    /// A step has found what it manages as it should be.
    pub fn found(&mut self, managed: &[Row], wish: &[u8]) {
        for row in managed {
            let things = self.things();
            let (wish, known) = (things.hash(wish), things.get(row));
            if known.is_some_and(|known| known.holds(row, &wish)) {
                continue;
            }
            self.open().adopted.push(News {
                row: row.clone(),
                wish,
                found: true,
                made: false,
            });
        }
    }

    /// A step has changed what it manages; `made` where that was not there before. How it is left is seen when that is
    /// written: a step of a transaction is in place only then.
    pub fn left(&mut self, managed: &[Row], wish: &[u8], made: bool) {
        for row in managed {
            let things = self.things();
            let wish = things.hash(wish);
            things.put(row.clone().after(things.get(row), &wish));
            self.open().changed.push(News {
                row: row.clone(),
                wish,
                found: false,
                made,
            });
        }
    }

    /// A hash of what is at a path; empty for what is no path or cannot be seen, `None` where nothing is.
    fn look(&mut self, row: &Row) -> Option<String> {
        let Some(path) = row.path() else {
            return Some(String::new());
        };
        let Ok(meta) = self.machine.stat(&path) else {
            return Some(String::new());
        };
        let meta = meta?;
        let mut seen = format!(
            "{:?} {:o} {} {} {:?}\n",
            meta.kind, meta.mode, meta.uid, meta.gid, meta.target
        );
        if meta.kind == FileKind::File {
            let Ok(Some(bytes)) = self.machine.read(&path, LIMIT) else {
                return Some(String::new());
            };
            seen.push_str(&sha256(&bytes));
        }
        Some(self.things().hash(seen.as_bytes()))
    }

    /// Writes what was changed, and with `adopted` what was found as it should be; nothing where there is neither.
    ///
    /// # Errors
    /// Why it cannot be written.
    pub fn keep(&mut self, adopted: bool) -> Result<(), SystemError> {
        let Some(opened) = &mut self.opened else { return Ok(()) };
        let mut news = std::mem::take(&mut opened.changed);
        if adopted {
            for found in std::mem::take(&mut opened.adopted) {
                if !news
                    .iter()
                    .chain(&opened.written)
                    .any(|other| other.row.names(&found.row))
                {
                    news.push(found);
                }
            }
        }
        if news.is_empty() {
            return Ok(());
        }
        self.refresh();
        for News { row, wish, found, made } in &news {
            let left = self.look(row);
            let things = self.things();
            let known = things.get(row);
            let mut new = row.clone().after(known, wish);
            if let Some(known) = known.filter(|_| *found) {
                new.stays(known);
            }
            if *made {
                new.make();
            }
            new.see(left);
            things.put(new);
        }
        self.open().written.extend(news);
        self.save()
    }

    /// Some playbooks do not want these things any more.
    ///
    /// # Errors
    /// Why it cannot be written.
    pub fn release(&mut self, released: &[Row], playbooks: &[String]) -> Result<(), SystemError> {
        self.refresh();
        self.things().release(released, playbooks);
        self.save()
    }

    /// A run was taken back: what it left is not what okd-play left any more, but what is there now.
    ///
    /// # Errors
    /// Why it cannot be written.
    pub fn taken_back(&mut self, run: u64) -> Result<(), SystemError> {
        self.refresh();
        // What an earlier undo brought back to an older run's state may be taken back further.
        let theirs = |row: &Row| row.run() == run || row.is_unasked();
        let (back, mut rows): (Vec<Row>, Vec<Row>) = self.rows().into_iter().partition(theirs);
        if back.is_empty() {
            return Ok(());
        }
        for mut row in back {
            let left = self.look(&row);
            if left.is_some() {
                row.be_unasked();
                row.see(left);
                rows.push(row);
            }
        }
        self.things().be(rows);
        self.save()
    }

    /// Everything that is managed.
    pub fn rows(&mut self) -> Vec<Row> {
        self.things().all()
    }

    /// Takes the file as it is by now: another session may have written it.
    fn refresh(&mut self) {
        if self.open().folder.is_none() {
            self.open().folder = self.find();
        }
        if let (Some(now), _) = self.stored() {
            self.open().things = Some(now);
        }
    }

    fn save(&mut self) -> Result<(), SystemError> {
        let text = self.things().text(BUILD);
        self.write(THINGS, text)
    }

    fn things(&mut self) -> &mut Things {
        if self.open().things.is_none() {
            let (things, torn) = self.stored();
            let opened = self.open();
            opened.torn.extend(torn);
            opened.things = Some(things.unwrap_or_else(Things::fresh));
        }
        self.open().things.get_or_insert_default()
    }

    /// What the file holds; else what is wrong with it.
    fn stored(&mut self) -> (Option<Things>, Option<String>) {
        let Some(path) = self.open().folder.as_ref().map(|folder| folder.join(THINGS)) else {
            return (None, None);
        };
        let bytes = match self.machine.read(&path, LIMIT) {
            Ok(None) => return (None, None),
            Ok(Some(bytes)) => bytes,
            Err(error) => return (None, Some(format!("what okd-play manages here is not known: {error}"))),
        };
        match Things::parse(&String::from_utf8_lossy(&bytes), BUILD) {
            Some(things) => (Some(things), None),
            None => (
                None,
                Some(format!("{path} is damaged; what okd-play manages here is learned anew")),
            ),
        }
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

    /// Where there is one.
    fn find(&self) -> Option<AbsPath> {
        let here = |folder: &AbsPath| self.machine.list(folder).is_ok_and(|entries| !entries.is_empty());
        let folder = FOLDERS.into_iter().map(folder).find(here);
        folder.or_else(|| self.home().filter(here))
    }

    fn open(&mut self) -> &mut Opened {
        if self.opened.is_none() {
            self.opened = Some(self.read(self.find()));
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
            playbook: "infra/site.yaml".to_owned(),
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

    fn managed(run: u64, playbook: &str) -> [Row; 1] {
        let managed = Managed {
            run,
            playbook: playbook.to_owned(),
            host: String::new(),
            step: "Config".to_owned(),
            place: "site.yaml:3".to_owned(),
        };
        [managed.row(Thing::new(Thing::PATH, "/etc/x"))]
    }

    #[test]
    fn what_is_managed_is_written_once_and_what_moves_is_told_from_what_is_wanted_anew() {
        let machine = Arc::new(Fake::new().file("/etc/x", "one"));
        let mut ledger = Ledger::new(machine.clone());
        assert_eq!(ledger.stand(&managed(1, "a"), b"one"), None);
        ledger.left(&managed(1, "a"), b"one", true);
        ledger.keep(false).unwrap();
        let writes = || machine.log().iter().filter(|line| line.contains("/things")).count();
        assert_eq!(writes(), 1);

        let mut next = Ledger::new(machine.clone());
        next.found(&managed(2, "a"), b"one");
        next.keep(true).unwrap();
        assert_eq!(writes(), 1, "nothing was new");
        let stand = |moved| Some(Stand { run: 1, moved });
        assert_eq!(next.stand(&managed(2, "a"), b"one"), stand(false));
        assert_eq!(next.stand(&managed(2, "a"), b"two"), stand(false));
        machine
            .write(&FileWrite::new(AbsPath::new("/etc/x").unwrap(), b"mine".to_vec()))
            .unwrap();
        assert_eq!(next.stand(&managed(2, "a"), b"two"), stand(true));

        let mut other = Ledger::new(machine.clone());
        other.found(&managed(3, "b"), b"mine");
        other.keep(false).unwrap();
        assert_eq!(writes(), 1, "what was only found waits until that is asked for");
        other.keep(true).unwrap();
        let [row] = Ledger::new(machine.clone()).rows().try_into().unwrap();
        let entry = Entry::from(row);
        assert_eq!((entry.run, entry.created, entry.playbooks.len()), (1, true, 2));
        // The first session has read the file before the other wrote it.
        next.release(&managed(2, "a"), &["a".to_owned()]).unwrap();
        let [row] = Ledger::new(machine.clone()).rows().try_into().unwrap();
        let entry = Entry::from(row);
        assert_eq!(entry.playbooks, ["b"]);
    }

    #[test]
    fn what_another_session_has_made_meanwhile_stays_made() {
        let machine = Arc::new(Fake::new());
        let (mut one, mut next) = (Ledger::new(machine.clone()), Ledger::new(machine.clone()));
        assert!(next.rows().is_empty());
        machine
            .write(&FileWrite::new(AbsPath::new("/etc/x").unwrap(), b"one".to_vec()))
            .unwrap();
        one.left(&managed(1, "a"), b"one", true);
        one.keep(false).unwrap();
        next.found(&managed(2, "a"), b"one");
        next.keep(true).unwrap();
        let [row] = Ledger::new(machine).rows().try_into().unwrap();
        let entry = Entry::from(row);
        assert_eq!((entry.run, entry.created), (1, true));
    }

    #[test]
    fn a_damaged_file_is_told_and_written_anew() {
        let path = format!("{}/{THINGS}", FOLDERS[0]);
        let machine = Arc::new(Fake::new().file(&path, "okd-play ledger 1\nx"));
        let mut ledger = Ledger::new(machine.clone());
        assert!(ledger.debts().is_empty());
        assert!(ledger.complaints()[0].contains("things is damaged"));
        ledger.left(&managed(1, "a"), b"one", false);
        ledger.keep(false).unwrap();
        let mut next = Ledger::new(machine);
        assert_eq!(next.rows().len(), 1);
        assert!(next.complaints().is_empty());
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
