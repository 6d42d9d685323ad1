//! From variables and keywords to how a host is reached: Ansible's connection variables, with the command line as their
//! default.

use super::deed::Deed;
use super::prepare::{Context, Item, ItemWork, Stop};
use crate::error::Diagnostic;
use crate::link::reach::{Reach, Way};
use crate::link::target::{SshOptions, Target};
use crate::report::Pass;
use crate::source::yaml::Node;
use crate::template::{Found, Scope, SecretStore};
use okd_agent::Value;
use okd_agent::secret::Secret;
use okd_agent::system::blank::Blank;
use std::path::PathBuf;
use std::sync::Arc;

/// What the command line says of connections.
#[derive(Debug, Clone, Default)]
pub struct Defaults {
    /// `-u`.
    pub user: Option<String>,
    /// `--private-key`.
    pub private_key: Option<PathBuf>,
    /// `-c`.
    pub connection: Option<String>,
    /// `-b`.
    pub r#become: bool,
    /// `--become-user`.
    pub become_user: Option<String>,
    /// `-K`.
    pub become_password: Option<Secret>,
    /// `--ssh-common-args`.
    pub ssh_common_args: Option<String>,
    /// `--ssh-extra-args`.
    pub ssh_extra_args: Option<String>,
}

/// How the step's host (or the one that it is delegated to) is reached; `locals` are the loop's variables.
///
/// # Errors
/// As rendering; connection variables that mean nothing here.
pub fn reach(
    context: &Context,
    defaults: &Defaults,
    locals: &okd_agent::value::Map,
) -> Result<(Arc<Reach>, Option<String>), Stop> {
    let scoped = context.scoped().with(locals.clone());
    let scope = scoped.clone().shared();
    let keywords = &context.node.step.keywords;
    let delegate = context.delegate(&scope)?;
    let delegate = delegate.filter(|host| *host != context.host.name.as_str());
    let host = delegate
        .clone()
        .unwrap_or_else(|| context.host.name.as_str().to_owned());
    let reader = match &delegate {
        None => Reader {
            context,
            scope: scope.clone(),
        },
        Some(name) => {
            let other = context.world.host(name);
            let inner = match other {
                Some(host) => crate::site::Scoped { host, ..scoped.clone() },
                None => scoped.clone(),
            };
            Reader {
                context,
                scope: inner.shared(),
            }
        }
    };
    let known = delegate.is_none() || context.world.host(&host).is_some();
    let way = way(&reader, &host, known, delegate.is_none(), defaults, &scope)?;
    let flag = match context.flag(keywords.r#become.as_ref(), &scope)? {
        Some(flag) => flag,
        None => reader
            .text("ansible_become")?
            .map_or(defaults.r#become, |text| Value::Str(text).to_bool().unwrap_or(false)),
    };
    let logged_in = match &way {
        Way::Ssh(target) => target.user.clone(),
        Way::Local | Way::Api(_) => None,
    };
    let become_user = match flag {
        true => Some(become_user(&reader, context, defaults, &scope)?).filter(|user| logged_in.as_ref() != Some(user)),
        false => None,
    };
    let become_password = match reader
        .text("ansible_become_password")?
        .or(reader.text("ansible_become_pass")?)
    {
        Some(password) => {
            let secret = Secret::new(password);
            crate::report::scrub::know(&secret);
            Some(secret)
        }
        None => defaults.become_password.clone(),
    };
    let become_password = become_password.filter(|_| become_user.is_some());
    let expected = match context.pass {
        Pass::Plan if known => expected(&reader)?,
        _ => None,
    };
    Ok((
        Arc::new(Reach {
            host,
            way,
            become_user,
            become_password,
            expected,
        }),
        delegate,
    ))
}

/// How what the items of a step bring about is reached; an empty reason where none of them is sent anywhere.
///
/// # Errors
/// As [`reach`].
pub(super) fn of(context: &Context, defaults: &Defaults, items: &[Item]) -> Result<(Arc<Reach>, Option<String>), Stop> {
    let sent = items.iter().filter_map(|item| match &item.work {
        ItemWork::Send(deed, ..) => Some((item, deed.as_ref())),
        _ => None,
    });
    let (first, _) = sent.clone().next().ok_or_else(|| Stop::Unknown(String::new()))?;
    if let Some(interface) = sent.clone().find_map(|(_, deed)| deed.interface()) {
        Ok((api(context, interface), None))
    } else if sent.clone().any(|(_, deed)| matches!(deed, Deed::Media(_))) {
        Ok((here(context, defaults, &first.locals), None))
    } else {
        reach(context, defaults, &first.locals)
    }
}

/// What is brought about through an interface is done on the control node, whatever its host.
#[must_use]
pub fn api(context: &Context, interface: &'static str) -> Arc<Reach> {
    Arc::new(Reach {
        host: context.host.name.as_str().to_owned(),
        way: Way::Api(interface),
        become_user: None,
        become_password: None,
        expected: None,
    })
}

/// What is done on the control node alone is done there whatever its host: in the host's own session where that is one of
/// this machine, so that its steps see each other's predictions, else in that of `localhost`.
#[must_use]
pub fn here(context: &Context, defaults: &Defaults, locals: &okd_agent::value::Map) -> Arc<Reach> {
    let host = match reach(context, defaults, locals) {
        Ok((reach, _)) if reach.way == Way::Local => reach.host.clone(),
        _ => "localhost".to_owned(),
    };
    Arc::new(Reach {
        host,
        way: Way::Local,
        become_user: None,
        become_password: None,
        expected: None,
    })
}

/// What the host is taken for while it is not there: `okd_expected`.
fn expected(reader: &Reader<'_>) -> Result<Option<String>, Stop> {
    let Some(kind) = reader.text("okd_expected")? else {
        return Ok(None);
    };
    if Blank::kinds().any(|known| known == kind) {
        return Ok(Some(kind));
    }
    let text = format!("`okd_expected` is `{kind}`, which is no system that is known");
    let span = reader.context.node.step.task.span;
    Err(Diagnostic::new("bad-connection", text)
        .at(span, "reached from here")
        .did_you_mean(&kind, Blank::kinds())
        .into())
}

fn become_user(
    reader: &Reader<'_>,
    context: &Context,
    defaults: &Defaults,
    scope: &Arc<dyn Scope>,
) -> Result<String, Stop> {
    let keywords = &context.node.step.keywords;
    let method = context
        .keyword(keywords.become_method.as_ref(), scope)?
        .map(|value| value.to_string());
    if let Some(method) = method
        .or(reader.text("ansible_become_method")?)
        .filter(|method| method != "sudo")
    {
        let span = keywords
            .become_method
            .as_ref()
            .map_or(context.node.step.task.span, |node| node.span);
        return Err(
            Diagnostic::new("unsupported", format!("become by `{method}` is not supported"))
                .at(span, "")
                .help("`sudo` is")
                .into(),
        );
    }
    let own = context
        .keyword(keywords.become_user.as_ref(), scope)?
        .map(|value| value.to_string());
    let user = own
        .or(reader.text("ansible_become_user")?)
        .or_else(|| defaults.become_user.clone());
    Ok(user.unwrap_or_else(|| "root".to_owned()))
}

fn way(
    reader: &Reader<'_>,
    host: &str,
    known: bool,
    own: bool,
    defaults: &Defaults,
    scope: &Arc<dyn Scope>,
) -> Result<Way, Stop> {
    let keywords = &reader.context.node.step.keywords;
    let keyword = |node: &Option<Node>| match own {
        true => reader
            .context
            .keyword(node.as_ref(), scope)
            .map(|value| value.map(|value| value.to_string())),
        false => Ok(None),
    };
    let local_name = crate::inventory::LOCALHOST.contains(&host);
    let connection = match keyword(&keywords.connection)? {
        Some(connection) => Some(connection),
        None if known => reader.text("ansible_connection")?,
        None => None,
    };
    let connection = connection.or_else(|| defaults.connection.clone().filter(|_| own));
    match connection.as_deref() {
        Some("local" | "ansible.builtin.local") => return Ok(Way::Local),
        None if local_name => return Ok(Way::Local),
        Some("ssh" | "smart" | "paramiko" | "ansible.builtin.ssh") | None => {}
        Some(other) => {
            let span = keywords
                .connection
                .as_ref()
                .map_or(reader.context.node.step.task.span, |node| node.span);
            let found = Diagnostic::new(
                "unsupported",
                format!("connection `{other}` of {host} is not supported"),
            )
            .at(span, "");
            return Err(found.did_you_mean(other, ["ssh", "local"]).into());
        }
    }
    let variable = |name: &str| if known { reader.text(name) } else { Ok(None) };
    let mut target = Target::new(host);
    if let Some(address) = variable("ansible_host")? {
        target.host = address;
    }
    let port = keyword(&keywords.port)?.or(variable("ansible_port")?);
    target.port = match port {
        Some(text) => Some(
            text.parse()
                .map_err(|_| reader.wrong(&format!("`{text}` is not a port of {host}")))?,
        ),
        None => None,
    };
    target.user = keyword(&keywords.remote_user)?
        .or(variable("ansible_user")?)
        .or_else(|| defaults.user.clone());
    let key = variable("ansible_ssh_private_key_file")?.or(variable("ansible_private_key_file")?);
    let key = key.map(PathBuf::from).or_else(|| defaults.private_key.clone());
    target.identity_files = key.map(|key| home(&key)).into_iter().collect();
    let common = variable("ansible_ssh_common_args")?
        .or_else(|| defaults.ssh_common_args.clone())
        .unwrap_or_default();
    let extra = variable("ansible_ssh_extra_args")?
        .or_else(|| defaults.ssh_extra_args.clone())
        .unwrap_or_default();
    let parse = |text: &str| SshOptions::parse(text).map_err(|error| reader.wrong(&format!("{host}: {error}")));
    target.options = parse(&extra)?.or(parse(&common)?);
    Ok(Way::Ssh(Box::new(target)))
}

fn home(path: &std::path::Path) -> PathBuf {
    match path.strip_prefix("~") {
        Ok(rest) => std::env::home_dir().unwrap_or_default().join(rest),
        Err(_) => path.to_path_buf(),
    }
}

struct Reader<'a> {
    context: &'a Context,
    scope: Arc<dyn Scope>,
}

impl Reader<'_> {
    /// A variable's text, with its real bytes: this is what connects.
    fn text(&self, name: &str) -> Result<Option<String>, Stop> {
        let keeper = self.context.world.loading.loader.vault.keeper();
        Ok(self.shown(name)?.map(|text| keeper.reveal(&text).unwrap_or(text)))
    }

    fn shown(&self, name: &str) -> Result<Option<String>, Stop> {
        match self.scope.lookup(name) {
            Found::Missing | Found::Native(_) => Ok(None),
            Found::Known(Value::Unknown(reason)) => Err(Stop::Unknown(reason)),
            Found::Known(value) => Ok(Some(value.to_string())),
            Found::Pending(step) => Err(Stop::Pending(step)),
            Found::Raw(node) => match self.context.world.engine().render(&node, &self.scope)? {
                Value::Unknown(reason) => Err(Stop::Unknown(reason)),
                Value::Null => Ok(None),
                value => Ok(Some(value.to_string())),
            },
        }
    }

    fn wrong(&self, text: &str) -> Stop {
        Diagnostic::new("bad-connection", text)
            .at(self.context.node.step.task.span, "reached from here")
            .into()
    }
}
