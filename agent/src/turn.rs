//! Who may look at a machine, and when: a run that was cut off leaves the step that it had begun, which the agent finishes. The
//! next run would plan from what is half done, so it waits for that step, and for no other.

use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError};

/// A lock that all agents of one user have in common; none where they have none. It is taken for the step of a run that
/// was cut off, and for no other: of a run that lives the next one is told, and goes on planning.
#[derive(Debug, Clone, Default)]
pub struct Turn {
    file: Option<Arc<File>>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Whether a step changes the machine.
    changes: bool,
    /// Whether the run is cut off.
    cut: bool,
}

impl Turn {
    /// By a file, or folder, that the others have open too; flock(2).
    #[must_use]
    pub fn by(file: File) -> Turn {
        Turn {
            file: Some(Arc::new(file)),
            ..Turn::default()
        }
    }

    /// Waits until no step of a run that was cut off is changing the machine; `waits` is called where that takes time.
    /// Whether it did.
    pub(crate) fn others_end(&self, waits: impl FnOnce()) -> bool {
        let ends = self.lock(FlockOperation::NonBlockingLockExclusive).is_err();
        if ends {
            waits();
            let _ = self.lock(FlockOperation::LockExclusive);
        }
        let _ = self.lock(FlockOperation::Unlock);
        ends
    }

    /// From now on this agent changes the machine. Others may do so as well. False where the run is cut off, and the step
    /// had changed nothing: it may not begin to.
    pub(crate) fn take(&self) -> bool {
        self.now(|state| {
            state.changes |= !state.cut;
            state.changes
        })
    }

    /// It does no longer.
    pub(crate) fn give(&self) {
        self.now(|state| state.changes = false);
    }

    /// The run is cut off. A step that has changed something is finished; else the machine is let go of by `free`.
    pub(crate) fn cut(&self, free: impl FnOnce()) {
        self.now(|state| state.cut = true);
        self.if_cut(free);
    }

    /// Lets go of a machine that was taken when the run was cut off already.
    pub(crate) fn if_cut(&self, free: impl FnOnce()) {
        self.now(|state| {
            if state.cut && !state.changes {
                free();
            }
        });
    }

    fn now<T>(&self, become_so: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let end = become_so(&mut state);
        if state.cut {
            let _ = self.lock(match state.changes {
                true => FlockOperation::LockShared,
                false => FlockOperation::Unlock,
            });
        }
        end
    }

    /// Where locks are not to be had, nobody waits.
    fn lock(&self, how: FlockOperation) -> rustix::io::Result<()> {
        match &self.file {
            Some(file) => rustix::io::retry_on_intr(|| flock(file, how)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::disallowed_methods)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    #[test]
    fn a_session_begins_when_the_steps_of_others_have_ended() {
        let folder = tempfile::tempdir().unwrap();
        let agent = || Turn::by(File::open(folder.path()).unwrap());
        let (one, other, late) = (agent(), agent(), agent());
        assert!(one.take() && other.take());
        agent().others_end(|| unreachable!("of a run that lives"));
        one.cut(|| unreachable!("it changes the machine"));
        other.cut(|| unreachable!("so does this one"));
        assert!(one.take(), "a step that has begun is finished");
        let (tell, told) = channel();
        let waiting = std::thread::spawn(move || {
            late.others_end(|| tell.send("waits").unwrap());
            tell.send("begins").unwrap();
        });
        assert_eq!(told.recv_timeout(Duration::from_secs(10)), Ok("waits"));
        one.give();
        assert!(told.recv_timeout(Duration::from_millis(200)).is_err());
        other.give();
        assert_eq!(told.recv_timeout(Duration::from_secs(10)), Ok("begins"));
        waiting.join().unwrap();
        agent().others_end(|| unreachable!());
        let (idle, mut free) = (agent(), false);
        idle.cut(|| free = true);
        assert!(free && !idle.take(), "nothing is begun for nobody");
        agent().others_end(|| unreachable!());
        Turn::default().others_end(|| unreachable!());
    }
}
