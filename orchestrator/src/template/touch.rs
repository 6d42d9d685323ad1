//! What a rendering came across on its way: unknown values, steps under way, failures of variables it used.
//!
//! minijinja evaluates on one thread, so a stack of frames per thread is enough, and objects that others make
//! (lazy `hostvars`) report into it too.

use std::cell::RefCell;
use std::sync::Arc;

use minijinja::value::Value as Native;
use minijinja::{Error, ErrorKind};

use super::RenderError;
use super::convert::to_native;
use super::scope::Root;
use crate::error::Diagnostic;
use crate::source::files::Files;
use okd_agent::Value;

thread_local! {
    static FRAMES: RefCell<Vec<Frame>> = const { RefCell::new(Vec::new()) };
}

/// One rendering that is under way.
pub(super) struct Frame {
    pub(super) root: Arc<Root>,
    pub(super) pending: Option<u64>,
    pub(super) unknown: Option<String>,
    pub(super) failure: Option<Diagnostic>,
    /// Variables that exist, but whose own text names something undefined: they count as undefined until they are used.
    pub(super) hints: Vec<(String, Diagnostic)>,
    /// How many expressions were printed, and the last one's value.
    emitted: (usize, Option<Native>),
}

/// Takes the frame down again, also when a filter panics.
struct Guard;

impl Drop for Guard {
    fn drop(&mut self) {
        FRAMES.with_borrow_mut(|frames| frames.pop());
    }
}

/// Runs `work` with a frame of its own and hands back what was recorded.
pub(super) fn record<T>(root: &Arc<Root>, work: impl FnOnce() -> T) -> (T, Frame) {
    FRAMES.with_borrow_mut(|frames| frames.push(Frame::new(root)));
    let guard = Guard;
    let result = work();
    let frame = with_top(|top| std::mem::replace(top, Frame::new(root)));
    drop(guard);
    (result, frame.unwrap_or_else(|| Frame::new(root)))
}

impl Frame {
    fn new(root: &Arc<Root>) -> Frame {
        Frame {
            root: Arc::clone(root),
            pending: None,
            unknown: None,
            failure: None,
            hints: Vec::new(),
            emitted: (0, None),
        }
    }
}

fn with_top<T>(act: impl FnOnce(&mut Frame) -> T) -> Option<T> {
    FRAMES.with_borrow_mut(|frames| frames.last_mut().map(act))
}

/// The names of the rendering that is under way, for lookups and functions.
pub(super) fn current_root() -> Option<Arc<Root>> {
    with_top(|top| Arc::clone(&top.root))
}

/// The files of the control node, for lookups and functions.
pub(super) fn on_disk<T>(look: impl FnOnce(&Files) -> T) -> T {
    match current_root() {
        Some(root) => look(root.engine.inner.sources.disk()),
        None => look(&Files::default()),
    }
}

/// Notes that an expression was printed.
pub(super) fn emitted(value: &Native) {
    with_top(|top| top.emitted = (top.emitted.0 + 1, Some(value.clone())));
}

/// The value of the one expression that was printed, where it was one.
pub(super) fn only_emitted() -> Option<Native> {
    with_top(|top| top.emitted.1.take().filter(|_| top.emitted.0 == 1)).flatten()
}

/// Records that an unknown value was used and yields what stops the rendering.
#[must_use]
pub fn touch_unknown(reason: &str) -> Native {
    with_top(|top| {
        top.unknown.get_or_insert_with(|| reason.to_owned());
    });
    Native::from(Error::new(
        ErrorKind::InvalidOperation,
        "a value that is unknown until applied",
    ))
}

/// Records that the result of a step under way was used and yields what stops the rendering.
#[must_use]
pub fn touch_pending(step: u64) -> Native {
    with_top(|top| {
        top.pending.get_or_insert(step);
    });
    Native::from(Error::new(
        ErrorKind::InvalidOperation,
        "the result of a step that is under way",
    ))
}

/// Records a failure behind a name and yields what stops the rendering.
#[must_use]
pub fn touch_failure(failure: Diagnostic) -> Native {
    let said = failure.message.clone();
    with_top(|top| {
        top.failure.get_or_insert(failure);
    });
    Native::from(Error::new(ErrorKind::InvalidOperation, said))
}

/// Notes that a variable exists but rests on something undefined.
pub(super) fn hint(name: &str, failure: &Diagnostic) {
    with_top(|top| top.hints.push((name.to_owned(), failure.clone())));
}

/// What an object of the engine's own yields for a rendered value: the value, or a recorded touch.
#[must_use]
pub fn yielded(result: Result<Value, RenderError>) -> Native {
    match result {
        Ok(value) => to_native(&value),
        Err(RenderError::Pending(step)) => touch_pending(step),
        Err(RenderError::Failed(failure)) => touch_failure(failure),
    }
}
