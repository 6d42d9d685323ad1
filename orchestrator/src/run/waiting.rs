//! Steps that wait for a host to answer: `wait_for_connection`, and `reboot`, which first makes it go away. While they wait,
//! connections that are down are forgotten, and each try makes a new one.

use super::deed::Deed;
use super::prepare::{Context, Stop};
use super::{Live, Runner, Timer};
use crate::actions::{Reboot, WaitForConnection};
use crate::graph::NodeId;
use crate::report::{Event, Pass};
use okd_agent::Value;
use okd_agent::diff::Change;
use okd_agent::param::Params;
use okd_agent::resource::{Failure, Status};
use okd_agent::value::{Map, map};
use okd_agent::wire::Reply;
use std::time::{Duration, Instant};

/// The file in which the kernel says which boot this is (random(4)).
const BOOT: &str = "/proc/sys/kernel/random/boot_id";
/// Says which boot it is, and has the machine restart itself a moment later, when the answer is on its way.
const RESTART: &str = r#"cat "$1" || exit
[ -z "$2" ] || wall -- "$2" 2>/dev/null
systemd-run --quiet --on-active="$3" --timer-property=AccuracySec=100ms systemctl reboot"#;

/// How a step waits.
#[derive(Debug)]
pub(super) struct Waiting {
    began: Instant,
    limit: Duration,
    /// Before the first try.
    delay: Duration,
    /// Between tries.
    sleep: Duration,
    /// The boot that has to be over: `None` where any answer will do, empty until it is known.
    boot: Option<String>,
    /// What was met last.
    last: String,
}

/// What the step does on its host, or does first: the resource behind `wait_for_connection` or `reboot`.
///
/// # Errors
/// Mistakes in the arguments, each as a parameter's.
pub(super) fn deed(module: &str, given: &Map) -> Option<Result<Deed, Vec<okd_agent::param::ParamError>>> {
    let command = |argv: Vec<Value>| {
        let predicts = map([("nothing", true.into())]);
        Deed::decode(
            "command",
            &map([("argv", Value::List(argv)), ("predicts", Value::Map(predicts))]),
        )
    };
    match module {
        "wait_for_connection" => match WaitForConnection::decode(given) {
            Ok(_) => Deed::decode("ping", &Map::new()),
            Err(mistakes) => Some(Err(mistakes)),
        },
        "reboot" => match Reboot::decode(given) {
            Ok(args) => command(vec![
                "/bin/sh".into(),
                "-c".into(),
                RESTART.into(),
                "reboot".into(),
                BOOT.into(),
                args.msg.unwrap_or_default().into(),
                format!("{}s", args.pre_reboot_delay.max(2)).into(),
            ]),
            Err(mistakes) => Some(Err(mistakes)),
        },
        _ => None,
    }
}

impl Waiting {
    /// How a step waits; `None` where it does not.
    ///
    /// # Errors
    /// As rendering.
    pub(super) fn of(context: &Context, pass: Pass) -> Result<Option<Waiting>, Stop> {
        let task = &context.node.step.task;
        let module = task.short_module();
        if pass == Pass::Plan || !matches!(module, "wait_for_connection" | "reboot") {
            return Ok(None);
        }
        let scope = context.scoped().shared();
        let given = match context.world.engine().render(&task.args, &scope)? {
            Value::Map(given) => super::args::named(&task.module, given),
            _ => Map::new(),
        };
        let seconds = |number: i64| Duration::from_secs(u64::try_from(number).unwrap_or_default());
        let (limit, delay, sleep, boot) = match module {
            "reboot" => match Reboot::decode(&given) {
                Ok(args) => (
                    args.reboot_timeout,
                    args.post_reboot_delay.max(args.pre_reboot_delay.max(2) + 1),
                    1,
                    Some(String::new()),
                ),
                Err(_) => return Ok(None),
            },
            _ => match WaitForConnection::decode(&given) {
                Ok(args) => (args.timeout, args.delay, args.sleep.max(1), None),
                Err(_) => return Ok(None),
            },
        };
        Ok(Some(Waiting {
            began: Instant::now(),
            limit: seconds(limit),
            delay: seconds(delay),
            sleep: seconds(sleep),
            boot,
            last: String::new(),
        }))
    }

    /// How long before the first try.
    pub(super) fn first(&self) -> Option<Duration> {
        (self.boot.is_none() && !self.delay.is_zero()).then_some(self.delay)
    }

    fn seconds(&self) -> i64 {
        i64::try_from(self.began.elapsed().as_secs()).unwrap_or(i64::MAX)
    }
}

/// The outcome of the command or the ping as one of the module that it was sent for.
fn told(module: &str, reply: Reply, elapsed: Value) -> Reply {
    let Reply::Outcome(mut outcome) = reply else {
        return reply;
    };
    match module {
        "reboot" => {
            outcome.status = Status::Changed;
            outcome.diff = vec![Change::Act("restart the machine".to_owned())];
            outcome.result = map([("rebooted", true.into()), ("elapsed", elapsed)]);
        }
        "wait_for_connection" => outcome.result = map([("elapsed", elapsed)]),
        _ => {}
    }
    Reply::Outcome(outcome)
}

impl Runner<'_, '_> {
    /// A step of an interface waits for something.
    pub(super) fn waits(&self, request: u64, text: String, limit: Duration) {
        let node = self
            .requests
            .get(&request)
            .map(|(node, _)| *node)
            .or_else(|| self.guards.node(request));
        let live = node.and_then(|node| self.live.get(&node));
        if let Some(live) = live {
            self.say_waits(live, text, Some(limit));
        }
    }

    /// Tells people that a step waits: for what, and how long at most.
    pub(super) fn say_waits(&self, live: &Live, text: String, limit: Option<Duration>) {
        let (host, task) = (live.context.node.host.as_str().to_owned(), live.name.clone());
        let _ = self.channels.events.send(Event::Waiting {
            host,
            task,
            text,
            limit,
        });
    }

    /// What an answer means to a step that waits: the reply that ends it, or `None` where it tries again.
    pub(super) fn waited(&mut self, id: NodeId, live: &mut Live, index: usize, reply: Reply) -> Option<Reply> {
        let module = live.context.node.step.task.short_module().to_owned();
        let Some(waiting) = &mut live.waiting else {
            return Some(told(&module, reply, Value::Unknown("how long it takes".to_owned())));
        };
        let stdout = |result: &Map| result.get("stdout").map(|text| text.to_string().trim().to_owned());
        let mut delay = waiting.sleep;
        let (over, last) = match (&reply, &mut waiting.boot) {
            (Reply::Held, _) => return Some(reply),
            (Reply::Outcome(_), None) => (true, String::new()),
            (Reply::Outcome(outcome), Some(boot)) if boot.is_empty() => {
                *boot = stdout(&outcome.result).unwrap_or_default();
                delay = waiting.delay;
                let argv = Value::List(vec!["cat".into(), BOOT.into()]);
                if let Some(item) = live.items.get_mut(index)
                    && let Some(Ok(deed)) = Deed::decode("command", &map([("argv", argv)]))
                {
                    item.deed = Some(Box::new(deed));
                }
                (false, "it is restarting".to_owned())
            }
            (Reply::Outcome(outcome), Some(boot)) => (
                stdout(&outcome.result).as_ref() != Some(boot),
                "it has not gone down yet".to_owned(),
            ),
            // It did not get so far as to restart.
            (Reply::Failed(_), Some(boot)) if boot.is_empty() => return Some(reply),
            (Reply::Failed(failure), _) => (false, failure.message.clone()),
        };
        if !last.is_empty() {
            waiting.last = last;
        }
        let elapsed = waiting.seconds();
        if over {
            return Some(told(&module, reply, Value::Int(elapsed)));
        }
        if waiting.began.elapsed() + delay > waiting.limit {
            return Some(Reply::Failed(Box::new(Failure {
                message: format!(
                    "no answer within {} s; at last: {}",
                    waiting.limit.as_secs(),
                    waiting.last
                ),
                result: map([("elapsed", Value::Int(elapsed))]),
                lost: true,
                ..Failure::default()
            })));
        }
        let text = format!(
            "waits for the host, {elapsed} s so far: {}",
            waiting.last.lines().next().unwrap_or_default()
        );
        let limit = Some(waiting.limit);
        self.say_waits(live, text, limit);
        if let Some(reach) = live.reach_of(index) {
            self.channels.links.hang_up(&reach.host);
            self.down.retain(|address, _| address.host != reach.host);
        }
        self.timers
            .insert((Instant::now() + delay, u64::from(id.0)), Timer::Again(id));
        None
    }
}
