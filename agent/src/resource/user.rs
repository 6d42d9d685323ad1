//! Users with their groups, home folders and passwords.

use super::acting::run;
use super::group;
use super::line::Presence;
use super::{Resource, ResourceError, View};
use crate::order::sort;
use crate::diff::{Change, Sign};
use crate::ledger::Thing;
use crate::path::AbsPath;
use crate::system::{Action, Alter, Answer, Declared, Effect, FileKind, FileWrite, Probe, System};
use crate::value::{Map, Value, map};
use crate::{choice, params};
use serde::Serialize;

choice! {
    /// When a password is set.
    pub enum UpdatePassword {
        /// Whenever it differs.
        Always = "always",
        /// Only for a user who is made.
        OnCreate = "on_create",
    }
}

params! {
    /// Makes sure that a user exists with these attributes, or not.
    pub struct User {
        /// The user's name.
        name: String ["user"],
        /// Whether the user should exist.
        state: Presence = "present",
        /// The user's number.
        uid: Option<u64>,
        /// The primary group's name.
        group: Option<String>,
        /// Further groups; without `append` exactly these.
        groups: Option<Vec<String>>,
        /// Add to `groups`, and leave other groups alone.
        append: bool = "no",
        /// The full name, or what else is said of the user.
        comment: Option<String>,
        /// The home folder.
        home: Option<AbsPath>,
        /// Make the home folder for a new user.
        create_home: bool ["createhome"] = "yes",
        /// Move the home folder's content when `home` changes.
        move_home: bool = "no",
        /// Folder whose content a new home folder gets.
        skeleton: Option<AbsPath>,
        /// The login shell.
        shell: Option<String>,
        /// Make the user with a number of the system's range.
        system: bool = "no",
        /// Let the number be another user's too.
        non_unique: bool = "no",
        /// The password's hash, as crypt(5) has it.
        password: Option<String>,
        /// When the password is set.
        update_password: UpdatePassword = "always",
        /// Lock the password, or unlock it.
        password_lock: Option<bool>,
        /// When the account expires, seconds since 1970; negative: never.
        expires: Option<f64>,
        /// With `absent`: remove the home folder and mail too.
        remove: bool = "no",
        /// With `absent`: though the user is logged in.
        force: bool = "no",
    }
}

/// A line of passwd(5) with what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Account {
    uid: Option<u64>,
    gid: Option<u64>,
    comment: String,
    home: String,
    shell: String,
    /// Further groups, sorted.
    groups: Vec<String>,
    /// The hash without its lock, where a password or a lock was asked for; never shown.
    #[serde(serialize_with = "crate::seen::hidden")]
    password: String,
    locked: bool,
    /// Days since 1970.
    expires: Option<i64>,
}

/// What there is of the user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct State {
    name: String,
    account: Option<Account>,
    /// The number of the primary group that was asked for.
    group: Option<Option<u64>>,
}

impl View for State {
    fn changes(&self, want: &Self) -> Vec<Change> {
        let of = format!("user {}", self.name);
        match (&self.account, &want.account) {
            (None, Some(_)) => vec![Change::Item { sign: Sign::Added, text: of }],
            (Some(_), None) => vec![Change::Item { sign: Sign::Removed, text: of }],
            (Some(here), Some(want)) => fields(&of, here, want),
            (None, None) => Vec::new(),
        }
    }
}

fn fields(of: &str, here: &Account, want: &Account) -> Vec<Change> {
    let number = |id: Option<u64>| id.map_or("?".to_owned(), |id| id.to_string());
    let day = |day: Option<i64>| day.map_or("never".to_owned(), |day| format!("day {day}"));
    let lock = |locked: bool| if locked { "locked" } else { "open" }.to_owned();
    let mut pairs = vec![
        ("uid", number(here.uid), number(want.uid)),
        ("group", number(here.gid), number(want.gid)),
        ("comment", here.comment.clone(), want.comment.clone()),
        ("home", here.home.clone(), want.home.clone()),
        ("shell", here.shell.clone(), want.shell.clone()),
        ("groups", here.groups.join(","), want.groups.join(",")),
        ("password", lock(here.locked), lock(want.locked)),
        ("expires", day(here.expires), day(want.expires)),
    ];
    if here.password != want.password {
        pairs.push(("password", "‹hidden›".to_owned(), "‹changed›".to_owned()));
    }
    let differing = pairs.into_iter().filter(|(_, before, after)| before != after);
    differing
        .map(|(name, before, after)| Change::Field { of: of.to_owned(), name: name.to_owned(), before, after })
        .collect()
}

/// The probe of a user: the line of passwd(5), status 2 where there is none.
#[must_use]
pub fn probe(name: &str) -> Probe {
    Probe::new(format!("user:{name}"), &["getent", "passwd", name])
}

/// The groups that name a user as a member, sorted, by lines of group(5).
pub(super) fn memberships(name: &str, lines: &str) -> Vec<String> {
    let member = |line: &&str| line.rsplit(':').next().is_some_and(|m| m.split(',').any(|m| m.trim() == name));
    let mut groups = lines.lines().filter(member).filter_map(|line| line.split(':').next()).map(str::to_owned).collect();
    sort(&mut groups);
    groups
}

/// The probe of a user's line of shadow(5).
pub(super) fn shadow(name: &str) -> Probe {
    Probe::new(format!("shadow:{name}"), &["getent", "shadow", name])
}

/// The probe of the groups that a user may be a member of: all lines of group(5).
pub(super) fn groups(name: &str) -> Probe {
    Probe::new(format!("groups:{name}"), &["getent", "group"])
}

/// Fields between colons; a secret's placeholder has colons of its own.
fn split_outside_placeholders(line: &str) -> Vec<&str> {
    let mut inside = false;
    let colon = |c: char| {
        inside = c == '‹' || (inside && c != '›');
        c == ':' && !inside
    };
    line.split(colon).collect()
}

impl Account {
    fn parse(line: &str) -> Option<Account> {
        let fields: Vec<&str> = line.trim_end_matches('\n').split(':').collect();
        let [_, _, uid, gid, comment, home, shell] = fields.as_slice() else { return None };
        Some(Account {
            uid: uid.parse().ok(),
            gid: gid.parse().ok(),
            comment: (*comment).to_owned(),
            home: (*home).to_owned(),
            shell: (*shell).to_owned(),
            groups: Vec::new(),
            password: String::new(),
            locked: false,
            expires: None,
        })
    }

    /// Reads the hash, the lock and the day of expiry from a line of shadow(5).
    fn add_shadow(&mut self, line: &str) {
        let fields = split_outside_placeholders(line.trim_end());
        let hash = fields.get(1).copied().unwrap_or_default();
        self.locked = hash.starts_with('!');
        hash.trim_start_matches('!').clone_into(&mut self.password);
        self.expires = fields.get(7).and_then(|day| day.parse().ok());
    }

    fn line(&self, name: &str) -> Answer {
        let number = |id: Option<u64>| id.map(|id| id.to_string()).unwrap_or_default();
        let (uid, gid) = (number(self.uid), number(self.gid));
        Answer::ok(format!("{name}:x:{uid}:{gid}:{}:{}:{}\n", self.comment, self.home, self.shell))
    }

    fn shadow(&self, name: &str) -> Answer {
        let lock = if self.locked { "!" } else { "" };
        let expires = self.expires.map(|day| day.to_string()).unwrap_or_default();
        Answer::ok(format!("{name}:{lock}{}::::::{expires}:\n", self.password))
    }

    fn members(&self, name: &str) -> Answer {
        Answer::ok(self.groups.iter().map(|group| format!("{group}:x::{name}\n")).collect::<String>())
    }
}

/// What the user's accounts will be seen as.
fn effect(name: &str, account: Option<&Account>) -> Effect {
    let gone = || Answer::status(2);
    Effect::Declared(Declared {
        predicts: vec![
            (probe(name).key, account.map_or_else(gone, |account| account.line(name))),
            (format!("shadow:{name}"), account.map_or_else(gone, |account| account.shadow(name))),
            (format!("groups:{name}"), account.map_or_else(Answer::default, |account| account.members(name))),
        ],
        ..Declared::default()
    })
}

impl User {
    fn needs_shadow(&self) -> bool {
        self.password.is_some() || self.password_lock.is_some() || self.expires.is_some()
    }

    fn account(&self, world: &dyn System) -> Result<Option<Account>, ResourceError> {
        let asked = probe(&self.name);
        let answer = world.probe(&asked)?;
        let line = match answer.rc {
            0 => answer.text(),
            2 => return Ok(None),
            _ => return Err(super::acting::failed(&asked.argv, &answer)),
        };
        let Some(mut account) = Account::parse(&line) else {
            return Err(ResourceError::command("getent says what is not a line of passwd(5)", &asked.argv, &answer));
        };
        if self.needs_shadow() {
            account.add_shadow(&super::acting::ask(world, &shadow(&self.name))?.text());
        }
        if self.groups.is_some() {
            account.groups = memberships(&self.name, &super::acting::ask(world, &groups(&self.name))?.text());
        }
        Ok(Some(account))
    }

    /// Asks for all that a change may touch, so that what was there before is kept.
    fn remember(&self, world: &dyn System) -> Result<(), ResourceError> {
        for probe in [shadow(&self.name), groups(&self.name)] {
            world.probe(&probe)?;
        }
        Ok(())
    }

    /// Whether userdel(8) takes the group of the user's name too: it is the user's own, and nobody else is in it.
    fn takes_its_group(&self, world: &dyn System) -> Result<bool, ResourceError> {
        let defs = AbsPath::new("/etc/login.defs").map_err(ResourceError::message)?;
        let defs = world.read(&defs, 1 << 20)?.unwrap_or_default();
        let own = |line: &str| line.split_whitespace().eq(["USERGROUPS_ENAB", "yes"]);
        if !String::from_utf8_lossy(&defs).lines().any(own) {
            return Ok(false);
        }
        let (user, group) = (world.probe(&probe(&self.name))?, world.probe(&group::probe(&self.name))?);
        let number = |answer: &Answer, at: usize| answer.text().trim().split(':').nth(at).map(str::to_owned);
        let members = number(&group, 3).unwrap_or_default();
        Ok(group.success() && number(&user, 3) == number(&group, 2) && members.split(',').all(|name| name.is_empty() || name == self.name))
    }

    /// A group that nobody has and nobody will bring is a mistake that a plan can tell.
    fn known_group(&self, name: &str, world: &dyn System) -> Result<Option<Option<u64>>, ResourceError> {
        let found = group::find(name, world)?;
        if found.is_none() && world.promised().is_empty() {
            return Err(ResourceError::message(format!("there is no group `{name}`")));
        }
        Ok(Some(found.flatten()))
    }

    /// Sets in an account what was asked for.
    fn shape(&self, account: &mut Account, group: Option<Option<u64>>, fresh: bool) {
        account.uid = self.uid.or(account.uid);
        account.gid = group.unwrap_or(account.gid);
        account.comment = self.comment.clone().unwrap_or_else(|| account.comment.clone());
        account.home = self.home.as_ref().map_or_else(|| account.home.clone(), ToString::to_string);
        account.shell = self.shell.clone().unwrap_or_else(|| account.shell.clone());
        if let Some(groups) = &self.groups {
            let kept = if self.append { account.groups.clone() } else { Vec::new() };
            account.groups = groups.iter().filter(|group| !group.is_empty()).cloned().chain(kept).collect();
            sort(&mut account.groups);
            account.groups.dedup();
        }
        if let Some(password) = self.password.as_ref().filter(|_| fresh || self.update_password == UpdatePassword::Always) {
            account.locked = password.starts_with('!') || (account.locked && !fresh && self.password_lock.is_none());
            password.trim_start_matches('!').clone_into(&mut account.password);
        }
        account.locked = self.password_lock.unwrap_or(account.locked);
        if let Some(expires) = self.expires {
            account.expires = (expires >= 0.0).then_some((expires / 86400.0).floor() as i64);
        }
    }

    /// The options of useradd(8) and usermod(8) that bring one account to the other.
    fn options(&self, here: Option<&Account>, want: &Account) -> Vec<String> {
        let mut options: Vec<String> = Vec::new();
        let mut give = |flag: &str, value: String| options.extend([flag.to_owned(), value]);
        let differs = |same: fn(&Account, &Account) -> bool| here.is_none_or(|here| !same(here, want));
        if let Some(uid) = self.uid.filter(|_| differs(|a, b| a.uid == b.uid)) {
            give("-u", uid.to_string());
        }
        if let Some(group) = self.group.as_ref().filter(|_| differs(|a, b| a.gid == b.gid)) {
            give("-g", group.clone());
        }
        if self.groups.is_some() && differs(|a, b| a.groups == b.groups) {
            give("-G", want.groups.join(","));
        }
        if let Some(comment) = self.comment.as_ref().filter(|_| differs(|a, b| a.comment == b.comment)) {
            give("-c", comment.clone());
        }
        if let Some(home) = self.home.as_ref().filter(|_| differs(|a, b| a.home == b.home)) {
            give("-d", home.to_string());
        }
        if let Some(shell) = self.shell.as_ref().filter(|_| differs(|a, b| a.shell == b.shell)) {
            give("-s", shell.clone());
        }
        if self.expires.is_some() && differs(|a, b| a.expires == b.expires) {
            give("-e", want.expires.map(|day| day.to_string()).unwrap_or_default());
        }
        if self.non_unique && self.uid.is_some() && options.iter().any(|option| option == "-u") {
            options.push("-o".to_owned());
        }
        options
    }

    fn create(&self, want: &Account, world: &dyn System) -> Result<(), ResourceError> {
        let mut argv = vec!["useradd".to_owned()];
        argv.extend(self.options(None, want));
        argv.push(if self.create_home { "-m" } else { "-M" }.to_owned());
        if let Some(skeleton) = self.skeleton.as_ref().filter(|_| self.create_home) {
            argv.extend(["-k".to_owned(), skeleton.to_string()]);
        }
        if self.system {
            argv.push("-r".to_owned());
        }
        if self.group.is_none() && group::find(&self.name, world)?.is_some() {
            argv.push("-N".to_owned());
        }
        argv.push(self.name.clone());
        let made = Account { password: String::new(), locked: true, ..want.clone() };
        let mut effect = effect(&self.name, Some(&made));
        let home = Some(&want.home).filter(|_| self.create_home).map(|home| AbsPath::new(home)).transpose();
        let home = home.map_err(ResourceError::message)?;
        let home = match home {
            Some(home) if world.stat(&home)?.is_none() => Some(home),
            _ => None,
        };
        if let Effect::Declared(declared) = &mut effect {
            declared.folders.extend(home.clone());
        }
        if let (Effect::Declared(declared), None) = (&mut effect, &self.group) {
            let (name, gid) = (&self.name, want.gid.map(|gid| gid.to_string()).unwrap_or_default());
            declared.predicts.push((group::probe(name).key, Answer::ok(format!("{name}:x:{gid}:\n"))));
        }
        run(world, &Action { argv, ..Action::new(&[], effect) })?;
        home.map_or(Ok(()), |home| self.furnish(&home, world))
    }

    /// Fills the home folder where useradd has not: that is in a plan, whose later steps put files there.
    fn furnish(&self, home: &AbsPath, world: &dyn System) -> Result<(), ResourceError> {
        if world.stat(home)?.is_none_or(|meta| meta.owner == self.name) {
            return Ok(());
        }
        let group = self.group.as_ref().unwrap_or(&self.name).clone();
        let owners = Alter { owner: Some(self.name.clone()), group: Some(group), mode: Some(0o700), ..Alter::default() };
        world.alter(home, &owners)?;
        let skeleton = self.skeleton.clone().map_or_else(|| AbsPath::new("/etc/skel"), Ok).map_err(ResourceError::message)?;
        for entry in world.list(&skeleton)?.iter().filter(|entry| entry.kind == FileKind::File) {
            if let Some(bytes) = world.read(&skeleton.join(&entry.name), 1 << 20)? {
                let file = FileWrite::new(home.join(&entry.name), bytes);
                world.write(&FileWrite { owner: owners.owner.clone(), group: owners.group.clone(), ..file })?;
            }
        }
        Ok(())
    }

    fn modify(&self, here: &Account, want: &Account, world: &dyn System) -> Result<(), ResourceError> {
        let mut options = self.options(Some(here), want);
        if options.is_empty() {
            return Ok(());
        }
        if self.move_home && here.home != want.home {
            options.push("-m".to_owned());
        }
        let mut argv = vec!["usermod".to_owned()];
        argv.extend(options);
        argv.push(self.name.clone());
        let seen = Account { password: here.password.clone(), locked: here.locked, ..want.clone() };
        run(world, &Action { argv, ..Action::new(&[], effect(&self.name, Some(&seen))) })?;
        Ok(())
    }

    /// Sets hash and lock; the hash goes through standard input, never through arguments.
    fn secure(&self, here: Option<&Account>, want: &Account, world: &dyn System) -> Result<(), ResourceError> {
        let new_hash = self.password.is_some() && here.is_none_or(|here| here.password != want.password);
        let mut locked = here.is_none_or(|here| here.locked);
        if new_hash {
            let seen = Account { locked: false, ..want.clone() };
            let mut action = Action::new(&["chpasswd", "-e"], effect(&self.name, Some(&seen)));
            action.stdin = format!("{}:{}\n", self.name, want.password).into_bytes();
            run(world, &action)?;
            locked = false;
        }
        if locked != want.locked && (new_hash || self.password_lock.is_some()) {
            let flag = if want.locked { "-L" } else { "-U" };
            run(world, &Action::new(&["usermod", flag, &self.name], effect(&self.name, Some(want))))?;
        }
        Ok(())
    }
}

impl Resource for User {
    const NAMES: &'static [&'static str] = &["user", "ansible.builtin.user"];
    const EXAMPLE: &'static str = "- name: Operator\n  user:\n    name: ops\n    groups: [wheel]\n    append: true\n    shell: /bin/bash\n";
    const PREDICTS: &'static str = "everything but numbers, home and shell of a new user for whom none are given";
    type World = dyn System;
    type State = State;

    fn manages(&self) -> Vec<Thing> {
        vec![Thing::new("user", &self.name)]
    }

    fn check(&self) -> Result<(), Vec<String>> {
        let mut problems = Vec::new();
        if self.append && self.groups.is_none() {
            problems.push("`append` goes with `groups`".to_owned());
        }
        if self.comment.as_ref().is_some_and(|comment| comment.contains([':', '\n'])) {
            problems.push("`comment` may hold neither a colon nor a line end".to_owned());
        }
        if self.password.as_ref().is_some_and(|hash| hash.contains('\n') || hash.is_empty()) {
            problems.push("`password` is a hash of one line, as crypt(5) has it".to_owned());
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn inspect(&self, world: &Self::World) -> Result<State, ResourceError> {
        let account = self.account(world)?;
        let mut group = None;
        if self.state == Presence::Present {
            if let Some(name) = &self.group {
                group = self.known_group(name, world)?;
            }
            for name in self.groups.iter().flatten().filter(|name| !name.is_empty()) {
                self.known_group(name, world)?;
            }
        }
        Ok(State { name: self.name.clone(), account, group })
    }

    fn desire(&self, now: &State) -> Result<State, ResourceError> {
        if self.state == Presence::Absent {
            return Ok(State { account: None, ..now.clone() });
        }
        let fresh = now.account.is_none();
        let mut account = now.account.clone().unwrap_or_else(|| Account {
            uid: None,
            gid: None,
            comment: String::new(),
            home: format!("/home/{}", self.name),
            shell: String::new(),
            groups: Vec::new(),
            password: String::new(),
            locked: self.password.is_none() && self.needs_shadow(),
            expires: None,
        });
        self.shape(&mut account, now.group, fresh);
        Ok(State { account: Some(account), ..now.clone() })
    }

    fn apply(&self, now: &State, want: &State, world: &Self::World) -> Result<Map, ResourceError> {
        if now.account.is_some() && !world.predicted() {
            self.remember(world)?;
        }
        let Some(account) = &want.account else {
            let mut argv = vec!["userdel".to_owned()];
            argv.extend([(self.remove, "-r"), (self.force, "-f")].iter().filter(|(on, _)| *on).map(|(_, f)| (*f).to_owned()));
            argv.push(self.name.clone());
            let mut gone = effect(&self.name, None);
            let home = now.account.as_ref().and_then(|account| AbsPath::new(&account.home).ok());
            if let Effect::Declared(declared) = &mut gone {
                declared.removes.extend(home.filter(|home| self.remove && home.as_str() != "/"));
                if self.takes_its_group(world)? {
                    declared.predicts.push((group::probe(&self.name).key, Answer::status(2)));
                }
            }
            run(world, &Action { argv, ..Action::new(&[], gone) })?;
            return Ok(Map::new());
        };
        match &now.account {
            None => self.create(account, world)?,
            Some(here) => self.modify(here, account, world)?,
        }
        self.secure(now.account.as_ref(), account, world)?;
        Ok(Map::new())
    }

    fn result(&self, state: &State) -> Map {
        let mut result = map([("name", self.name.as_str().into()), ("state", self.state.word().into())]);
        if let Some(account) = &state.account {
            let number = |id: Option<u64>| id.and_then(|id| i64::try_from(id).ok()).map_or(Value::Null, Value::Int);
            result.extend(map([
                ("uid", number(account.uid)),
                ("group", number(account.gid)),
                ("home", account.home.as_str().into()),
                ("shell", account.shell.as_str().into()),
                ("comment", account.comment.as_str().into()),
                ("append", self.append.into()),
            ]));
        }
        result
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::param::Params;
    use crate::resource::converge;
    use crate::resource::laws::{laws, laws_with_secret, placeholder};
    use crate::system::fake::Fake;

    fn host() -> Fake {
        ["useradd", "usermod", "userdel", "chpasswd", "chage", "groupadd", "groupdel", "gpasswd"].iter().fold(
            Fake::new()
                .dir("/home/ops")
                .file("/home/ops/.profile", "umask 077\n")
                .file("/etc/skel/.profile", "umask 022\n")
                .file("/etc/login.defs", "MAIL_DIR /var/mail\nUSERGROUPS_ENAB yes\n")
                .group("wheel", 10)
                .fact("user:ops", Answer::ok("ops:x:1000:1000:Operator:/home/ops:/bin/bash\n"))
                .fact("user:new", Answer::status(2))
                .fact("shadow:ops", Answer::ok("ops:$6$old:20000:0:99999:7:::\n"))
                .fact("group:wheel", Answer::ok("wheel:x:10:\n"))
                .fact("group:adm", Answer::ok("adm:x:4:ops\n"))
                .fact("group:new", Answer::status(2))
                .fact("group:ops", Answer::ok("ops:x:1000:\n"))
                .fact("group:nosuch", Answer::status(2))
                .command(&["getent", "group"], Answer::ok("wheel:x:10:\nadm:x:4:syslog,ops\nops:x:1000:\n")),
            |fake, program| fake.command(&[program], Answer::default()),
        )
    }

    fn user(name: &str, args: &[(&str, Value)]) -> User {
        let args = args.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        User::decode(&std::iter::once(("name".to_owned(), name.into())).chain(args).collect()).unwrap()
    }

    #[test]
    pub(crate) fn users_keep_the_laws() {
        let cases: &[&[(&str, Value)]] = &[
            &[],
            &[("state", "absent".into())],
            &[("groups", "wheel".into())],
            &[("groups", "wheel".into()), ("append", true.into())],
            &[("group", "wheel".into()), ("uid", 2000.into())],
            &[("shell", "/sbin/nologin".into()), ("comment", "X".into()), ("home", "/srv/x".into())],
            &[("password_lock", true.into())],
            &[("expires", Value::Int(86_400_000))],
            &[("groups", "nosuch".into())],
            &[("state", "absent".into()), ("remove", true.into())],
            &[("password", "$6$new".into()), ("groups", "wheel".into()), ("shell", "/bin/sh".into())],
            &[("create_home", false.into())],
        ];
        for name in ["ops", "new"] {
            for case in cases {
                laws(&user(name, case), host);
            }
        }
    }

    #[test]
    pub(crate) fn a_password_is_set_and_never_shown() {
        laws_with_secret(&user("ops", &[("password", placeholder().into())]), host);
        laws_with_secret(&user("new", &[("password", placeholder().into())]), host);
    }

    fn acts(user: &User) -> Vec<String> {
        let host = host();
        converge(user, &host as &(dyn System + 'static), None).unwrap();
        host.log()
    }

    #[test]
    fn what_differs_is_said_to_usermod() {
        assert_eq!(acts(&user("ops", &[("groups", "wheel".into())])), ["act usermod -G wheel ops"]);
        let both = user("ops", &[("groups", "wheel".into()), ("append", true.into())]);
        assert_eq!(acts(&both), ["act usermod -G adm,wheel ops"]);
        assert_eq!(acts(&user("ops", &[("shell", "/bin/bash".into())])), Vec::<String>::new());
        assert_eq!(acts(&user("new", &[("system", true.into())]))[0], "act useradd -m -r new");
        let on_create = user("ops", &[("password", "$6$new".into()), ("update_password", "on_create".into())]);
        assert_eq!(acts(&on_create), Vec::<String>::new());
        assert_eq!(acts(&user("ops", &[("password", "$6$new".into())])), ["act chpasswd -e"]);
        assert_eq!(acts(&user("ops", &[("password_lock", true.into())])), ["act usermod -L ops"]);
    }

    #[test]
    fn a_group_that_does_not_exist_is_told_before_anything_is_done() {
        let wrong = user("ops", &[("groups", "nosuch".into())]);
        let failure = converge(&wrong, &host() as &(dyn System + 'static), None).unwrap_err();
        assert_eq!(failure.message, "there is no group `nosuch`");
    }
}
