//! What the runner asks of links, and what they answer: steps go in, replies come out, for every way to reach a machine.

use super::target::Target;
use crate::control::desk::Errand;
use crate::media::MediaKind;
use okd_agent::ledger::Debt;
use okd_agent::secret::Secret;
#[cfg(doc)]
use okd_agent::system::blank::Blank;
use okd_agent::system::overlay::Recorded;
use okd_agent::wire::{Reply, Request, Task};
use std::sync::Arc;
use std::time::Duration;

/// How a host is reached, and as whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// The inventory's name of the host.
    pub host: String,
    /// By what.
    pub way: Way,
    /// The user to become by sudo; `None` stays the user that logs in.
    pub become_user: Option<String>,
    /// The password that sudo asks for.
    pub become_password: Option<Secret>,
    /// In a plan: what the host is taken for while it cannot be reached, one of [`Blank::kinds`].
    pub expected: Option<String>,
}

/// By what a host is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// This machine.
    Local,
    /// SSH.
    Ssh(Box<Target>),
    /// Not at all: the step speaks to this HTTP interface from the control node.
    Api(&'static str),
}

/// Names a session: a host and the user that acts there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    /// The inventory's name.
    pub host: String,
    /// The user to become; `None` is the one that logs in.
    pub user: Option<String>,
}

impl Reach {
    /// The session that it names.
    #[must_use]
    pub fn address(&self) -> Address {
        Address {
            host: self.host.clone(),
            // No user has a blank in the name.
            user: match self.way {
                Way::Api(interface) => Some(format!("by {interface}")),
                _ => self.become_user.clone(),
            },
        }
    }
}

/// How steps are carried to machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transport {
    /// The agent where it runs, else plain SSH.
    #[default]
    Auto,
    /// The agent or nothing.
    Agent,
    /// Plain SSH: nothing is put on the host but what the steps say.
    Ssh,
}

/// What links say to the runner.
#[derive(Debug)]
pub enum LinkEvent {
    /// A step's end.
    Reply {
        /// The step's number.
        id: u64,
        /// How it ended.
        reply: Reply,
    },
    /// A step waits for something.
    Waits {
        /// The step's number.
        id: u64,
        /// For what, and how it stands.
        text: String,
        /// How long at most.
        limit: Duration,
    },
    /// A session has begun, and this is owed by the ledger of its machine.
    Owed {
        /// Which.
        address: Address,
        /// The debts.
        debts: Vec<Debt>,
    },
    /// A host cannot be reached yet and is taken for a blank one.
    Assumed {
        /// The host.
        host: String,
        /// As what, in words.
        title: &'static str,
        /// Why it cannot be reached.
        reason: String,
    },
    /// A session ended or never began; none of its steps will be answered any more.
    Down {
        /// Which.
        address: Address,
        /// What happened, in words.
        reason: String,
        /// Whether the host was never reached or does not answer (exit code 3), as against a refused password or agent.
        unreachable: bool,
    },
    /// How a host's connection stands.
    State {
        /// The host.
        host: String,
        /// In words.
        text: String,
        /// Whether a person should see it without asking.
        notable: bool,
    },
}

/// All sessions of a run.
pub trait Links: Send {
    /// Hands a step to its session, which is opened where it is not there. Steps of a session are worked on in order.
    /// The reply comes as a [`LinkEvent`].
    fn send(&mut self, reach: &Arc<Reach>, task: Task);

    /// As [`Links::send`], for what only the control node can do; the session is one of this machine.
    fn make(&mut self, reach: &Arc<Reach>, task: Task<MediaKind>);

    /// Lets no session begin a further step: what waits there is answered as held, what runs is finished.
    fn stop(&mut self);

    /// Hands a step of the other world to the thread that works on the host's. The reply comes as a [`LinkEvent`].
    fn call(&mut self, reach: &Arc<Reach>, errand: Errand);

    /// Tells a host's sessions, before the next step of a plan, what nobody knows any more of the machine.
    fn doubt(&mut self, host: &str, doubts: Vec<Recorded>);

    /// Says something to a session that gives no answer; nothing where there is no such session any more.
    fn say(&mut self, address: &Address, request: Request);

    /// Tells a host's sessions that the plan is at its end; see [`okd_agent::wire::Request::Recall`].
    fn recall(&mut self, host: &str);

    /// Ends a session at once, dropping what is under way there.
    fn cut(&mut self, address: &Address);

    /// Ends all sessions of a host and its connection: whoever wants it next connects anew.
    fn hang_up(&mut self, host: &str);
}
