//! What a kind of thing is, and the one way in which any of them is brought to its desired state.
//!
//! Check and apply are one function over different worlds, so no kind can forget check mode: none knows of it.

pub mod checksum;
pub mod conformance;
pub mod content;
mod http;
#[cfg(test)]
pub mod laws;
pub mod pattern;
mod run;
pub mod wildcard;
pub mod words;

use crate::diff::Change;
use crate::ledger::{Stand, Thing};
use crate::pack::Pack;
use crate::param::{Params, Spec};
use crate::seen::Seen;
use crate::system::guard::Risk;
use crate::system::{Answer, System, SystemError};
use crate::value::Map;
use serde::{Deserialize, Serialize};
use std::fmt::Debug;

/// A kind of thing that can be inspected and brought to a desired state.
///
/// Laws, tested for every kind in every world: *idempotence* (apply, then check, shows nothing), *fidelity* (what check
/// predicted is what apply produced), *silence* (a secret's bytes reach their destination and nothing else).
pub trait Resource: Params + Pack + Debug + Clone + Send + Sync {
    /// The names in playbooks, the short one first, then the full ones (`ansible.builtin.copy`).
    const NAMES: &'static [&'static str];
    /// The parameter that free-form text goes to (`command: echo hi`).
    const FREE_FORM: Option<&'static str> = None;
    /// An example as a person would write it in a playbook.
    const EXAMPLE: &'static str;
    /// What a plan knows of it, in a sentence.
    const PREDICTS: &'static str;
    /// What its steps may change on a machine.
    const TOUCHES: Touches = Touches::Anything;
    /// What it acts in: a machine, or an HTTP interface.
    type World: ?Sized;
    /// What can be seen of it.
    type State: View;

    /// Refuses arguments that contradict each other, before anything is contacted.
    ///
    /// # Errors
    /// One sentence for each contradiction.
    fn check(&self) -> Result<(), Vec<String>> {
        Ok(())
    }

    /// Looks at what is there.
    ///
    /// # Errors
    /// When it cannot be seen; [`SystemError::Unknown`] makes the step unknown until applied.
    fn inspect(&self, world: &Self::World) -> Result<Self::State, ResourceError>;

    /// What should be there. Pure.
    ///
    /// # Errors
    /// When what is there cannot be brought to what is asked for.
    fn desire(&self, now: &Self::State) -> Result<Self::State, ResourceError>;

    /// Brings it there. What it returns is added to the step's result (`stdout`, `rc`, …).
    ///
    /// # Errors
    /// When the machine refuses; nothing is torn then.
    fn apply(&self, now: &Self::State, want: &Self::State, world: &Self::World) -> Result<Map, ResourceError>;

    /// What `register` holds of a state besides `changed` (`dest`, `stat`, …).
    fn result(&self, _state: &Self::State) -> Map {
        Map::new()
    }

    /// What it manages on its machine, by its arguments alone; nothing for what only acts or asks.
    fn manages(&self) -> Vec<Thing> {
        Vec::new()
    }

    /// Gives the texts that are compared with what is read of a file the form in which they will be read back: with
    /// placeholders for secrets.
    fn veil(&mut self, _as_read: &dyn Fn(&[u8]) -> Vec<u8>) {}

    /// What a change of it may cut off, besides what is seen by the files and units that it changes.
    fn risks(&self) -> Vec<Risk> {
        Vec::new()
    }

    /// Sentences that the plan shows beside the diff.
    fn notes(&self, _now: &Self::State, _want: &Self::State) -> Vec<String> {
        Vec::new()
    }
}

/// A state that can be compared and shown.
pub trait View: Serialize + Debug {
    /// What has to change from `self` to `want`; nothing when they are the same.
    fn changes(&self, want: &Self) -> Vec<Change>;
}

/// How a step ended well.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// What became of it.
    pub status: Status,
    /// What changes or changed.
    pub diff: Vec<Change>,
    /// What `register` holds besides `changed`.
    pub result: Map,
    /// Sentences for the report.
    pub notes: Vec<String>,
    /// A hash of what was seen; the same state gives the same number. `None` where the state was partly promised.
    pub fingerprint: Option<u64>,
    /// In a plan: how what it manages stands, where it would change it and the machine's ledger knows it.
    pub stand: Option<Stand>,
    /// What was seen, as far as it may be told. It crosses the wire only for a plan that is kept.
    pub seen: Option<Seen>,
}

impl Outcome {
    /// Of a step that is not known until it is applied, and why.
    #[must_use]
    pub fn unknown(reason: String) -> Outcome {
        Outcome {
            status: Status::Unknown(reason),
            diff: Vec::new(),
            result: Map::new(),
            notes: Vec::new(),
            fingerprint: None,
            stand: None,
            seen: None,
        }
    }
}

/// What became of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// It was as desired.
    Same,
    /// It changed, or would.
    Changed,
    /// In a plan: not known until applied, and why.
    Unknown(String),
}

/// A step that failed, with everything that a person needs to see.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Failure {
    /// One sentence.
    pub message: String,
    /// The command that failed.
    pub argv: Vec<String>,
    /// How it ended.
    pub answer: Option<Answer>,
    /// The service's last journal lines.
    pub journal: Vec<String>,
    /// What stayed as it was ("the old configuration is in place and running").
    pub kept: String,
    /// The diff that did it.
    pub diff: Vec<Change>,
    /// What `register` holds (`rc`, `stdout`, …).
    pub result: Map,
    /// The host had moved since the plan: nothing was touched.
    pub stale: bool,
    /// The machine does not answer any more.
    pub lost: bool,
    /// Of a stale step: what is seen now; see [`Outcome::seen`].
    pub seen: Option<Box<Seen>>,
}

/// What keeps a resource from being brought to its state.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ResourceError {
    /// A verb failed.
    #[error(transparent)]
    System(#[from] Box<SystemError>),
    /// A command ended badly.
    #[error("{}", .0.message)]
    Failed(Box<Failure>),
}

impl ResourceError {
    /// A failure that is said in one sentence.
    #[must_use]
    pub fn message(message: impl Into<String>) -> Self {
        ResourceError::Failed(Box::new(Failure {
            message: message.into(),
            ..Failure::default()
        }))
    }

    /// A command that ended badly.
    #[must_use]
    pub fn command(message: impl Into<String>, argv: &[String], answer: &Answer) -> Self {
        ResourceError::Failed(Box::new(Failure {
            message: message.into(),
            argv: argv.to_vec(),
            answer: Some(answer.clone()),
            ..Failure::default()
        }))
    }
}

/// In a box, so that a result that every `?` hands on is two words and not fifteen.
impl From<SystemError> for ResourceError {
    fn from(error: SystemError) -> Self {
        ResourceError::System(Box::new(error))
    }
}

impl From<SystemError> for Failure {
    fn from(error: SystemError) -> Self {
        let message = error.to_string();
        match error {
            SystemError::Refused { argv, answer, path } => Failure {
                message,
                argv,
                answer: Some(answer),
                kept: format!("{path} is as it was"),
                ..Failure::default()
            },
            SystemError::Command { argv, .. } | SystemError::Timeout { argv, .. } => Failure {
                message,
                argv,
                ..Failure::default()
            },
            SystemError::Lost(_) => Failure {
                message,
                lost: true,
                ..Failure::default()
            },
            SystemError::Moved(_) => Failure {
                message,
                kept: KEPT.to_owned(),
                stale: true,
                ..Failure::default()
            },
            _ => Failure {
                message,
                ..Failure::default()
            },
        }
    }
}

/// Inspects, compares, and applies what differs: the one way for every kind, in every world.
///
/// `expect` is a fingerprint from a plan: where the state is another one, nothing is touched.
///
/// # Errors
/// What the machine refused, or a state that moved since the plan.
pub fn converge<R: Resource>(resource: &R, world: &R::World, expect: Option<u64>) -> Result<Outcome, Box<Failure>> {
    ended(Course::begin(resource, world).and_then(|course| steps(&course, expect)))
}

/// As [`converge`]; `then` learns what was there before, and how the step ended well.
///
/// # Errors
/// As there.
pub fn converge_then<R: Resource>(
    resource: &R,
    world: &R::World,
    expect: Option<u64>,
    then: impl FnOnce(&R::State, &mut Outcome),
) -> Result<Outcome, Box<Failure>> {
    ended(Course::begin(resource, world).and_then(|course| {
        let mut outcome = steps(&course, expect)?;
        then(&course.now, &mut outcome);
        Ok(outcome)
    }))
}

/// What applying came to, once it has been inspected again in a world that keeps changes to itself.
///
/// # Errors
/// When something still differs.
pub fn verified(outcome: Outcome, again: Outcome) -> Result<Outcome, Box<Failure>> {
    let differs = again
        .diff
        .into_iter()
        .filter(|change| !matches!(change, Change::Act(_)));
    let differs: Vec<Change> = differs.collect();
    if differs.is_empty() {
        return Ok(outcome);
    }
    Err(Box::new(Failure {
        message: "it was applied, and still differs when inspected again".to_owned(),
        diff: differs,
        result: outcome.result,
        ..Failure::default()
    }))
}

/// [`Resource::veil`] for one text; what would be no text any more stays as it is.
pub(crate) fn veil_text(text: &mut String, as_read: &dyn Fn(&[u8]) -> Vec<u8>) {
    if let Ok(read) = String::from_utf8(as_read(text.as_bytes())) {
        *text = read;
    }
}

pub(crate) fn ended(end: Result<Outcome, ResourceError>) -> Result<Outcome, Box<Failure>> {
    match end {
        Ok(outcome) => Ok(outcome),
        Err(ResourceError::Failed(failure)) => Err(failure),
        Err(ResourceError::System(error)) => match *error {
            SystemError::Unknown(reason) => Ok(Outcome::unknown(reason)),
            error => Err(Box::new(error.into())),
        },
    }
}

/// A resource on its way from what is there to what should be.
struct Course<'a, R: Resource> {
    resource: &'a R,
    world: &'a R::World,
    now: R::State,
    want: R::State,
}

impl<'a, R: Resource> Course<'a, R> {
    fn begin(resource: &'a R, world: &'a R::World) -> Result<Self, ResourceError> {
        let now = resource.inspect(world)?;
        let want = resource.desire(&now)?;
        Ok(Course {
            resource,
            world,
            now,
            want,
        })
    }
}

/// A [`Course`] whose kind does not matter, so that [`steps`] is compiled once and not once a kind.
trait Steps {
    fn changes(&self) -> Vec<Change>;
    fn seen(&self) -> Option<Seen>;
    fn wanted(&self) -> Option<Seen>;
    fn apply(&self) -> Result<Map, ResourceError>;
    fn result(&self, settled: bool) -> Map;
    fn notes(&self) -> Vec<String>;
}

impl<R: Resource> Steps for Course<'_, R> {
    fn changes(&self) -> Vec<Change> {
        self.now.changes(&self.want)
    }

    fn seen(&self) -> Option<Seen> {
        Seen::of(&self.now)
    }

    fn wanted(&self) -> Option<Seen> {
        Seen::of(&self.want)
    }

    fn apply(&self) -> Result<Map, ResourceError> {
        self.resource.apply(&self.now, &self.want, self.world)
    }

    fn result(&self, settled: bool) -> Map {
        self.resource.result(if settled { &self.now } else { &self.want })
    }

    fn notes(&self) -> Vec<String> {
        self.resource.notes(&self.now, &self.want)
    }
}

fn steps(course: &dyn Steps, expect: Option<u64>) -> Result<Outcome, ResourceError> {
    let seen = course.seen();
    let fingerprint = seen.as_ref().map(Seen::fingerprint);
    let diff = course.changes();
    if diff.is_empty() {
        return Ok(Outcome {
            status: Status::Same,
            diff,
            result: course.result(true),
            notes: Vec::new(),
            fingerprint,
            stand: None,
            seen,
        });
    }
    let seen = seen.zip(course.wanted()).map(|(now, want)| now.told(&want));
    if expect.is_some() && expect != fingerprint {
        return Err(stale(diff, seen));
    }
    let added = course.apply().map_err(|error| with_diff(error, &diff))?;
    let mut result = course.result(false);
    result.extend(added);
    Ok(Outcome {
        status: Status::Changed,
        diff,
        result,
        notes: course.notes(),
        fingerprint,
        stand: None,
        seen,
    })
}

fn with_diff(error: ResourceError, diff: &[Change]) -> ResourceError {
    match error {
        ResourceError::System(error) if matches!(*error, SystemError::Unknown(_)) => ResourceError::System(error),
        ResourceError::System(error) => {
            let failure = Failure::from(*error);
            ResourceError::Failed(Box::new(Failure {
                diff: diff.to_vec(),
                ..failure
            }))
        }
        ResourceError::Failed(mut failure) => {
            if failure.diff.is_empty() {
                failure.diff = diff.to_vec();
            }
            ResourceError::Failed(failure)
        }
    }
}

/// A refusal of a step whose things are not as they were planned.
fn stale(diff: Vec<Change>, seen: Option<Seen>) -> ResourceError {
    ResourceError::Failed(Box::new(Failure {
        message: "the host has moved since the plan; nothing was touched".to_owned(),
        kept: KEPT.to_owned(),
        diff,
        stale: true,
        seen: seen.map(Box::new),
        ..Failure::default()
    }))
}

/// What is said of a step that was refused because its host had moved.
pub const KEPT: &str = "this step's things are as they were found";

pub mod layout;
pub mod network;
pub mod transaction;

/// What documentation and decoding know of a kind.
#[derive(Debug)]
pub struct KindInfo {
    /// Its names, the short one first.
    pub names: &'static [&'static str],
    /// Its parameters.
    pub spec: &'static Spec,
    /// Where free-form text goes.
    pub free_form: Option<&'static str>,
    /// An example.
    pub example: &'static str,
    /// What a plan knows of it.
    pub predicts: &'static str,
    /// What its steps may change.
    pub touches: Touches,
}

/// What the steps of a kind may change on a machine: what a plan does not know any more behind one that it cannot foresee.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Touches {
    /// Nothing: they only look.
    Nothing,
    /// The paths in these parameters, and what is below them.
    Paths(&'static [&'static str]),
    /// Whatever there is.
    Anything,
}

/// Makes of a list of kinds the enum that goes over the wire, the table for documentation, the decoder and what all kinds
/// of a world can do.
#[macro_export]
macro_rules! kinds {
    (
        $(#[doc = $doc:literal])*
        pub enum $name:ident, $table:ident, in $world:ty { $($module:ident :: $kind:ident),* $(,)? }
    ) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone)]
        pub enum $name { $(#[allow(missing_docs)] $kind(Box<$module::$kind>)),* }

        /// Every kind there is.
        pub const $table: &[$crate::resource::KindInfo] = &[$($crate::resource::KindInfo {
            names: <$module::$kind as $crate::resource::Resource>::NAMES,
            spec: &<$module::$kind as $crate::param::Params>::SPEC,
            free_form: <$module::$kind as $crate::resource::Resource>::FREE_FORM,
            example: <$module::$kind as $crate::resource::Resource>::EXAMPLE,
            predicts: <$module::$kind as $crate::resource::Resource>::PREDICTS,
            touches: <$module::$kind as $crate::resource::Resource>::TOUCHES,
        }),*];

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_bytes(&self.packed())
            }
        }

        impl<'a> serde::Deserialize<'a> for $name {
            fn deserialize<D: serde::Deserializer<'a>>(from: D) -> Result<Self, D::Error> {
                let bytes = <&[u8]>::deserialize(from)?;
                $name::unpacked(bytes).ok_or_else(|| serde::de::Error::custom("not a kind of this build"))
            }
        }

        impl $name {
            fn packed(&self) -> Vec<u8> {
                let mut bytes = Vec::new();
                match self { $($name::$kind(kind) => {
                    $crate::pack::bytes(<$module::$kind as $crate::resource::Resource>::NAMES[0].as_bytes(), &mut bytes);
                    $crate::pack::Pack::pack(kind.as_ref(), &mut bytes);
                })* }
                bytes
            }

            fn unpacked(bytes: &[u8]) -> Option<Self> {
                let mut from = $crate::pack::Reader::new(bytes);
                let name = from.text();
                let kind = $(if name == <$module::$kind as $crate::resource::Resource>::NAMES[0] {
                    $name::$kind(Box::new($crate::pack::Pack::unpack(&mut from)))
                } else)* {
                    return None;
                };
                from.is_whole().then_some(kind)
            }

            /// Makes one from its name in a playbook and its rendered arguments; `None` where no kind has the name.
            #[must_use]
            pub fn decode(
                name: &str,
                args: &$crate::value::Map,
            ) -> Option<Result<$name, Vec<$crate::param::ParamError>>> {
                $(if <$module::$kind as $crate::resource::Resource>::NAMES.contains(&name) {
                    let kind = <$module::$kind as $crate::param::Params>::decode(args);
                    return Some(kind.map(|kind| $name::$kind(Box::new(kind))));
                })*
                None
            }

            /// See [`okd_agent::resource::Resource::check`](Resource::check).
            ///
            /// # Errors
            /// One sentence for each contradiction.
            pub fn check(&self) -> Result<(), Vec<String>> {
                match self { $($name::$kind(kind) => $crate::resource::Resource::check(kind.as_ref())),* }
            }

            /// See [`okd_agent::resource::converge`](converge).
            ///
            /// # Errors
            /// As there.
            pub fn converge(
                &self,
                world: &$world,
                expect: Option<u64>,
            ) -> Result<$crate::resource::Outcome, Box<$crate::resource::Failure>> {
                match self { $($name::$kind(kind) => $crate::resource::converge(kind.as_ref(), world, expect)),* }
            }
        }
    };
}

/// Lists every kind of a machine once: the modules, and all that [`kinds!`] makes of them.
macro_rules! registry {
    ($($module:ident :: $kind:ident),* $(,)?) => {
        $(pub mod $module;)*

        kinds! {
            /// Any resource, as it goes over the wire.
            pub enum Kind, KINDS, in (dyn System + 'static) { $($module::$kind),* }
        }

        impl Kind {
            /// The short name.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self { $(Kind::$kind(_) => <$module::$kind as Resource>::NAMES[0]),* }
            }

            /// See [`Resource::risks`].
            #[must_use]
            pub fn risks(&self) -> Vec<Risk> {
                match self { $(Kind::$kind(kind) => kind.risks()),* }
            }

            /// See [`Resource::manages`].
            #[must_use]
            pub fn manages(&self) -> Vec<Thing> {
                match self { $(Kind::$kind(kind) => kind.manages()),* }
            }

            /// See [`Resource::veil`].
            pub fn veil(&mut self, as_read: &dyn Fn(&[u8]) -> Vec<u8>) {
                match self { $(Kind::$kind(kind) => kind.veil(as_read)),* }
            }
        }
    };
}

pub mod acting;
pub mod brought;
pub mod device;
pub mod facts;
pub mod json;
pub mod packages;
pub mod systemd;
pub mod undo;

registry! {
    apt::Apt,
    archive::Unarchive,
    assemble::Assemble,
    authorized_key::AuthorizedKey,
    block::BlockInFile,
    bridge::Bridge,
    command::Command,
    copy::Copy,
    dhcpd::Dhcpd,
    dnf::Dnf,
    fetch::GetUrl,
    file::File,
    find::Find,
    firewall::Firewall,
    firewalld::Firewalld,
    group::Group,
    haproxy::Haproxy,
    hostname::Hostname,
    ini_file::IniFile,
    known_hosts::KnownHosts,
    line::LineInFile,
    named::Named,
    nginx::Nginx,
    openshift_install::OpenshiftInstall,
    openssh_keypair::OpensshKeypair,
    package::Package,
    ping::Ping,
    probe::Probe,
    replace::Replace,
    seboolean::Seboolean,
    service::Service,
    setup::Setup,
    shell::Shell,
    slurp::Slurp,
    stat::Stat,
    sysctl::Sysctl,
    tempfile::Tempfile,
    timezone::Timezone,
    unit::Unit,
    uri::Uri,
    user::User,
    vxlan::Vxlan,
    wait_for::WaitFor,
}
