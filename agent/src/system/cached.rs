//! Remembers answers of probes until something is changed, so that what costs a process is asked once.

use super::{Action, Alter, Answer, Entry, FileWrite, Make, Meta, Probe, Removal, System, SystemError};
use crate::path::AbsPath;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// An answer is no older than this, so that whoever asks again and again sees the machine move.
pub const FRESH: Duration = Duration::from_secs(3);

type Question = (Vec<String>, Vec<(String, String)>);

/// A machine whose probes are answered from memory where nothing can have changed since. Probes that watch (see
/// [`Probe::key`]), and those with standard input or a stage, are always asked.
pub struct Cached {
    under: Arc<dyn System>,
    answers: Mutex<HashMap<Question, (Instant, Answer)>>,
}

impl Cached {
    /// Remembers nothing yet.
    #[must_use]
    pub fn new(under: Arc<dyn System>) -> Self {
        Cached {
            under,
            answers: Mutex::default(),
        }
    }

    /// Forgets everything.
    pub fn forget(&self) {
        self.answers().clear();
    }

    fn answers(&self) -> MutexGuard<'_, HashMap<Question, (Instant, Answer)>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a change through; whether it ends well or not, nothing that was known before it is known any more.
    fn change<T>(&self, verb: impl FnOnce(&dyn System) -> T) -> T {
        let end = verb(self.under.as_ref());
        self.forget();
        end
    }
}

impl System for Cached {
    fn stat(&self, path: &AbsPath) -> Result<Option<Meta>, SystemError> {
        self.under.stat(path)
    }

    fn read(&self, path: &AbsPath, limit: u64) -> Result<Option<Vec<u8>>, SystemError> {
        self.under.read(path, limit)
    }

    fn list(&self, dir: &AbsPath) -> Result<Vec<Entry>, SystemError> {
        self.under.list(dir)
    }

    fn probe(&self, probe: &Probe) -> Result<Answer, SystemError> {
        if probe.watches() || !probe.stdin.is_empty() || !probe.stage.is_empty() {
            return self.under.probe(probe);
        }
        let question = (probe.argv.clone(), probe.env.clone());
        if let Some((since, answer)) = self.answers().get(&question)
            && since.elapsed() < FRESH
        {
            self.under.remembered(probe);
            return Ok(answer.clone());
        }
        let answer = self.under.probe(probe)?;
        self.answers().insert(question, (Instant::now(), answer.clone()));
        Ok(answer)
    }

    fn write(&self, file: &FileWrite) -> Result<(), SystemError> {
        self.change(|under| under.write(file))
    }

    fn make(&self, path: &AbsPath, kind: &Make) -> Result<(), SystemError> {
        self.change(|under| under.make(path, kind))
    }

    fn alter(&self, path: &AbsPath, change: &Alter) -> Result<(), SystemError> {
        self.change(|under| under.alter(path, change))
    }

    fn remove(&self, path: &AbsPath, how: Removal) -> Result<(), SystemError> {
        self.change(|under| under.remove(path, how))
    }

    fn act(&self, action: &Action) -> Result<Answer, SystemError> {
        self.change(|under| under.act(action))
    }

    fn promised(&self) -> Vec<String> {
        self.under.promised()
    }

    fn predicted(&self) -> bool {
        self.under.predicted()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::system::Effect;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Counts what is asked.
    struct Counting(AtomicUsize);

    impl System for Counting {
        fn stat(&self, _: &AbsPath) -> Result<Option<Meta>, SystemError> {
            Ok(None)
        }
        fn read(&self, _: &AbsPath, _: u64) -> Result<Option<Vec<u8>>, SystemError> {
            Ok(None)
        }
        fn list(&self, _: &AbsPath) -> Result<Vec<Entry>, SystemError> {
            Ok(Vec::new())
        }
        fn probe(&self, _: &Probe) -> Result<Answer, SystemError> {
            Ok(Answer::status(
                i32::try_from(self.0.fetch_add(1, Ordering::SeqCst)).unwrap(),
            ))
        }
        fn write(&self, _: &FileWrite) -> Result<(), SystemError> {
            Err(SystemError::Lost("cut".to_owned()))
        }
        fn make(&self, _: &AbsPath, _: &Make) -> Result<(), SystemError> {
            Ok(())
        }
        fn alter(&self, _: &AbsPath, _: &Alter) -> Result<(), SystemError> {
            Ok(())
        }
        fn remove(&self, _: &AbsPath, _: Removal) -> Result<(), SystemError> {
            Ok(())
        }
        fn act(&self, _: &Action) -> Result<Answer, SystemError> {
            Ok(Answer::default())
        }
    }

    #[test]
    fn a_question_is_asked_once_until_something_changes() {
        let cached = Cached::new(Arc::new(Counting(AtomicUsize::new(0))));
        let ask = |probe: &Probe| cached.probe(probe).unwrap().rc;
        let packages = Probe::new("packages", &["rpm", "-qa"]);
        assert_eq!((ask(&packages), ask(&packages)), (0, 0));
        assert_eq!(ask(&Probe::new("unit:named", &["systemctl", "show", "named"])), 1);
        cached.act(&Action::new(&["true"], Effect::none())).unwrap();
        assert_eq!(ask(&packages), 2);
        let path = AbsPath::new("/x").unwrap();
        assert!(cached.write(&FileWrite::new(path.clone(), Vec::new())).is_err());
        assert_eq!(ask(&packages), 3);
        cached.remove(&path, Removal::File).unwrap();
        assert_eq!((ask(&packages), ask(&packages)), (4, 4));
    }

    #[test]
    fn what_changes_by_itself_is_asked_every_time() {
        let cached = Cached::new(Arc::new(Counting(AtomicUsize::new(0))));
        let port = Probe::new("", &["nc", "-z", "127.0.0.1", "53"]);
        let fed = Probe {
            stdin: b"x".to_vec(),
            ..Probe::new("fed", &["cat"])
        };
        let look = Probe::new("look:0:listeners", &["ss", "-l"]);
        let asked: Vec<i32> = [&port, &port, &fed, &fed, &look, &look]
            .map(|probe| cached.probe(probe).unwrap().rc)
            .to_vec();
        assert_eq!(asked, [0, 1, 2, 3, 4, 5]);
    }
}
