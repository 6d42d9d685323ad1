//! What has been asked of a session and not begun. It is read ahead of the work, so that a stop is heard while a step
//! runs, and the end of the link before the steps that were sent with it are begun.

use crate::wire::{self, Request};
use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// No more is read ahead while so much waits, in bytes; a stop behind that is heard later.
const AHEAD: usize = 64 << 20;

/// Whether no further step may begin.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// From now on none may.
    pub fn set(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether none may.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

#[derive(Default)]
struct Waiting {
    requests: VecDeque<(Request, usize)>,
    bytes: usize,
    end: Option<io::Result<()>>,
}

#[derive(Default)]
pub(crate) struct Inbox {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

impl Inbox {
    /// An inbox that a thread fills until `reader` ends. [`Request::Stop`] and the end set `stop` as soon as they are read;
    /// the end is told by `ended` too.
    pub(crate) fn fill(
        mut reader: impl Read + Send + 'static,
        stop: Stop,
        ended: impl FnOnce() + Send + 'static,
    ) -> io::Result<Arc<Inbox>> {
        let inbox = Arc::new(Inbox::default());
        let filled = Arc::clone(&inbox);
        let work = move || {
            let end = loop {
                match wire::receive_sized::<Request>(&mut reader) {
                    Ok(Some((Request::Stop, _))) => stop.set(),
                    Ok(Some((request, bytes))) => filled.push(request, bytes),
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(error),
                }
            };
            stop.set();
            ended();
            filled.lock().end = Some(end);
            filled.changed.notify_all();
        };
        std::thread::Builder::new().spawn(work)?;
        Ok(inbox)
    }

    /// The next request; `None` at the end.
    pub(crate) fn take(&self) -> io::Result<Option<Request>> {
        let mut waiting = self.lock();
        loop {
            if let Some((request, bytes)) = waiting.requests.pop_front() {
                waiting.bytes -= bytes;
                self.changed.notify_all();
                return Ok(Some(request));
            }
            if let Some(end) = waiting.end.take() {
                return end.map(|()| None);
            }
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().requests.is_empty()
    }

    fn push(&self, request: Request, bytes: usize) {
        let mut waiting = self.lock();
        while waiting.bytes > AHEAD {
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        waiting.bytes += bytes;
        waiting.requests.push_back((request, bytes));
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use crate::resource::Kind;
    use crate::serve::Session;
    use crate::system::fake::Fake;
    use crate::value::map;
    use crate::wire::{Pass, Reply, Response, Task, encode};
    use std::time::{Duration, Instant};

    fn task() -> Request {
        let args = map([("path", "/etc/x".into()), ("state", "directory".into())]);
        Request::Task(Box::new(Task {
            id: 1,
            after: Vec::new(),
            kind: Kind::decode("file", &args).unwrap().unwrap(),
            pass: Pass::Apply,
            expect: None,
            env: Vec::new(),
            verify: false,
            touches: Vec::new(),
            note: crate::wire::Note::default(),
            within: None,
            guard: None,
            hidden: false,
            kept: false,
        }))
    }

    #[test]
    fn a_stop_and_the_end_are_heard_before_what_waits_is_taken() {
        for last in [Some(Request::Stop), None] {
            let mut frames = encode(&task()).unwrap();
            frames.extend(last.iter().flat_map(|request| encode(request).unwrap()));
            let stop = Stop::default();
            let inbox = Inbox::fill(io::Cursor::new(frames), stop.clone(), || ()).unwrap();
            let deadline = Instant::now() + Duration::from_secs(10);
            while !stop.is_set() {
                assert!(Instant::now() < deadline, "{last:?} was not heard within 10 s");
                std::thread::sleep(Duration::from_millis(1));
            }
            let mut session = Session::new(Arc::new(Fake::new()), stop);
            let answer = session.answer(inbox.take().unwrap().unwrap());
            let Some(Response::Done { reply: Reply::Held, .. }) = answer else {
                panic!("{answer:?}");
            };
            assert!(inbox.take().unwrap().is_none());
        }
    }

    #[test]
    fn what_is_no_frame_comes_behind_what_was_asked_before() {
        let mut frames = encode(&task()).unwrap();
        frames.extend(b"Last login: today\n");
        let inbox = Inbox::fill(io::Cursor::new(frames), Stop::default(), || ()).unwrap();
        assert!(matches!(inbox.take().unwrap(), Some(Request::Task(_))));
        assert_eq!(inbox.take().unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
