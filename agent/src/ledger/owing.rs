//! What a step owes from the moment at which it changes something.

use super::{Debt, Ledger, lock};
use crate::resource::{Failure, Outcome};
use crate::system::SystemError;
use std::sync::{Arc, Mutex};

/// The debts of a step that is being applied.
pub(crate) struct Owing {
    ledger: Arc<Mutex<Ledger>>,
    debts: Vec<Debt>,
    course: Mutex<Course>,
}

#[derive(Default)]
struct Course {
    /// Whether the debts are in the ledger, or cannot be.
    begun: bool,
    /// Debts that were not there before.
    fresh: Vec<String>,
    /// Whether something may have been changed.
    touched: bool,
    /// Why the ledger cannot be written.
    trouble: Option<SystemError>,
}

impl Owing {
    pub(crate) fn new(ledger: Arc<Mutex<Ledger>>, debts: Vec<Debt>) -> Self {
        Owing {
            ledger,
            debts,
            course: Mutex::default(),
        }
    }

    /// Something is about to be changed: what is owed for it lasts before it does.
    pub(crate) fn begin(&self) {
        let mut course = lock(&self.course);
        if course.begun || self.debts.is_empty() {
            return;
        }
        course.begun = true;
        match lock(&self.ledger).owe(&self.debts) {
            Ok(fresh) => course.fresh = fresh,
            Err(error) => course.trouble = Some(error),
        }
    }

    /// A change was tried: it was made, refused, or nobody knows.
    pub(crate) fn tried<T>(&self, end: Result<T, SystemError>) -> Result<T, SystemError> {
        let may_have = matches!(end, Ok(_) | Err(SystemError::Timeout { .. } | SystemError::Lost(_)));
        lock(&self.course).touched |= may_have;
        end
    }

    /// The step has ended: what failed before it changed anything owes nothing.
    pub(crate) fn ended(&self, end: Result<Outcome, Box<Failure>>) -> Result<Outcome, Box<Failure>> {
        let mut course = lock(&self.course);
        if end.is_err() && !course.touched {
            drop(lock(&self.ledger).settle(&course.fresh));
        }
        let trouble = course.trouble.take();
        end.map(|mut outcome| {
            let note =
                |error| format!("the handlers that it notifies are not remembered should this run be cut: {error}");
            outcome.notes.extend(trouble.map(note));
            outcome
        })
    }
}
