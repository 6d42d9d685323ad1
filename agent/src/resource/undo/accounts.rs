//! Users and groups that a run made, changed or removed.

use super::{Deeds, field, moved_since};
use crate::diff::{Change, Sign};
use crate::path::AbsPath;
use crate::resource::user::memberships;
use crate::resource::{ResourceError, acting, group, user};
use crate::system::{Action, Answer, Declared, Effect, Probe, Removal, System};
use serde::Serialize;

/// What the run did to users and groups.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub(super) struct Accounts {
    users: Vec<UserSpot>,
    groups: Vec<GroupSpot>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct UserSpot {
    name: String,
    now: Option<User>,
    before: Option<User>,
    /// The mailbox that it got, where that is empty.
    mail: Option<AbsPath>,
    /// Whether the run moved what was in its home folder.
    moves_home: bool,
}

/// A user, as lines of passwd(5) and shadow(5) and the members of groups tell of it; `None` where they were not asked.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct User {
    passwd: Vec<String>,
    #[serde(serialize_with = "crate::seen::hidden")]
    shadow: Option<Vec<String>>,
    groups: Option<Vec<String>>,
    /// The answers themselves, by their keys: what a plan says of the user once it is so again.
    #[serde(serialize_with = "crate::seen::hidden")]
    answers: Vec<(String, Answer)>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct GroupSpot {
    name: String,
    now: Option<Group>,
    before: Option<Group>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Group {
    gid: String,
    members: Vec<String>,
    answer: Answer,
}

fn fields(answer: &Answer) -> Vec<String> {
    answer
        .text()
        .trim_end_matches('\n')
        .split(':')
        .map(str::to_owned)
        .collect()
}

impl User {
    /// Reads a user of the answers that `answer` gives for keys.
    fn read(name: &str, answer: &dyn Fn(&str) -> Option<Answer>) -> Option<User> {
        let key = user::probe(name).key;
        let passwd = answer(&key).filter(Answer::success)?;
        let mut answers = vec![(key, passwd.clone())];
        let mut beside = |kind: &str| {
            let key = format!("{kind}:{name}");
            let found = answer(&key).filter(Answer::success)?;
            answers.push((key, found.clone()));
            Some(found)
        };
        let [shadow, groups] = ["shadow", "groups"].map(&mut beside);
        Some(User {
            passwd: fields(&passwd),
            shadow: shadow.as_ref().map(fields),
            groups: groups.map(|groups| memberships(name, &groups.text())),
            answers,
        })
    }

    fn field(&self, at: usize) -> &str {
        self.passwd.get(at).map_or("", String::as_str)
    }

    /// Whether both say the same, as far as both say anything.
    fn agrees(&self, other: &User) -> bool {
        fn same<T: PartialEq>(one: &Option<T>, other: &Option<T>) -> bool {
            one.is_none() || other.is_none() || one == other
        }
        self.passwd == other.passwd && same(&self.shadow, &other.shadow) && same(&self.groups, &other.groups)
    }
}

impl Group {
    fn read(answer: &Answer) -> Option<Group> {
        let line = fields(answer);
        let members = line.get(3).map_or("", String::as_str).split(',');
        Some(Group {
            gid: line.get(2).filter(|_| answer.success())?.clone(),
            members: members.filter(|name| !name.is_empty()).map(str::to_owned).collect(),
            answer: answer.clone(),
        })
    }
}

/// What a plan says of a thing: a name, and what it is and will be.
type Difference = (&'static str, String, String);

/// Two sides of a thing that may not be there.
fn agree<T>(one: &Option<T>, other: &Option<T>, same: impl Fn(&T, &T) -> bool) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => same(one, other),
        (one, other) => one.is_none() && other.is_none(),
    }
}

/// Users and groups as they are and as they were.
pub(super) fn look(
    deeds: &Deeds<'_>,
    force: bool,
    left: &mut Vec<(String, String)>,
    world: &dyn System,
) -> Result<Accounts, ResourceError> {
    let mut accounts = Accounts::default();
    for name in deeds.named("user:") {
        if let Some(spot) = user_spot(name, deeds, force, left, world)? {
            accounts.users.push(spot);
        }
    }
    for name in deeds.named("group:") {
        if let Some(spot) = group_spot(name, deeds, force, &accounts.users, left, world)? {
            accounts.groups.push(spot);
        }
    }
    Ok(accounts)
}

fn group_spot(
    name: &str,
    deeds: &Deeds<'_>,
    force: bool,
    users: &[UserSpot],
    left: &mut Vec<(String, String)>,
    world: &dyn System,
) -> Result<Option<GroupSpot>, ResourceError> {
    let key = group::probe(name).key;
    let Some((probe, answer)) = deeds.before(&key) else {
        return Ok(None);
    };
    let (before, now) = (Group::read(answer), Group::read(&world.probe(probe)?));
    let same = |one: &Group, other: &Group| one.gid == other.gid;
    if agree(&before, &now, same) {
        return Ok(None);
    }
    let found = deeds.found(&key).map(Group::read);
    let moved = found.as_ref().is_some_and(|found| !agree(found, &now, same));
    let stays = match (&before, &now) {
        _ if moved && !force => Some(moved_since(None)),
        (None, Some(now)) => {
            let met = found.iter().flatten().flat_map(|group| &group.members);
            let met: Vec<&String> = met.collect();
            needed(name, now, users, &met, world)?
        }
        _ => None,
    };
    if let Some(why) = stays {
        left.push((format!("group {name}"), why));
        return Ok(None);
    }
    Ok(Some(GroupSpot {
        name: name.to_owned(),
        now,
        before,
    }))
}

fn user_spot(
    name: &str,
    deeds: &Deeds<'_>,
    force: bool,
    left: &mut Vec<(String, String)>,
    world: &dyn System,
) -> Result<Option<UserSpot>, ResourceError> {
    let Some((probe, _)) = deeds.before(&user::probe(name).key) else {
        return Ok(None);
    };
    let mut answers = vec![(probe.key.clone(), world.probe(probe)?)];
    for probe in [user::shadow(name), user::groups(name)] {
        let answer = world.probe(&probe)?;
        answers.push((probe.key, answer));
    }
    let now = User::read(name, &|key| {
        answers
            .iter()
            .find(|(known, _)| known == key)
            .map(|(_, answer)| answer.clone())
    });
    let before = User::read(name, &|key| deeds.before(key).map(|(_, answer)| answer.clone()));
    if agree(&before, &now, User::agrees) {
        return Ok(None);
    }
    let kept = deeds.found(&probe.key).is_some();
    let found = User::read(name, &|key| deeds.found(key).cloned());
    if kept && !agree(&found, &now, User::agrees) && !force {
        left.push((format!("user {name}"), moved_since(None)));
        return Ok(None);
    }
    let mail = match (&before, &now) {
        (None, Some(now)) => mailbox(name, now, left, world)?,
        _ => None,
    };
    let moves_home = deeds.acts.iter().any(|act| {
        matches!(act.argv.as_slice(), [first, .., last] if first == "usermod" && last == name)
            && act.argv.iter().any(|word| word == "-m")
    });
    Ok(Some(UserSpot {
        name: name.to_owned(),
        now,
        before,
        mail,
        moves_home,
    }))
}

/// The mailbox that useradd(8) gave a user, to be taken away with it; one that holds mail stays.
fn mailbox(
    name: &str,
    user: &User,
    left: &mut Vec<(String, String)>,
    world: &dyn System,
) -> Result<Option<AbsPath>, ResourceError> {
    let path = AbsPath::new(&format!("/var/mail/{name}")).map_err(ResourceError::message)?;
    let Some(meta) = world.stat(&path)?.filter(|meta| meta.uid.to_string() == user.field(2)) else {
        return Ok(None);
    };
    if meta.size > 0 {
        left.push((path.to_string(), "it holds mail".to_owned()));
        return Ok(None);
    }
    Ok(Some(path))
}

/// Who needs a group that the run made, besides users that leave it and members whom the run itself left in it.
fn needed(
    name: &str,
    group: &Group,
    users: &[UserSpot],
    met: &[&String],
    world: &dyn System,
) -> Result<Option<String>, ResourceError> {
    let leaves = |user: &str, was_in: &dyn Fn(&User) -> bool| {
        let spot = users.iter().find(|spot| spot.name == user);
        spot.is_some_and(|spot| !spot.before.as_ref().is_some_and(was_in))
    };
    let member = |user: &User| {
        user.groups
            .as_ref()
            .is_none_or(|groups| groups.iter().any(|group| group == name))
    };
    let mut members = group.members.iter();
    if let Some(user) = members.find(|user| !met.contains(user) && !leaves(user, &member)) {
        return Ok(Some(format!("{user} is a member of it")));
    }
    let passwd = world.probe(&Probe::new("users", &["getent", "passwd"]))?.text();
    let own = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (user, gid) = (fields.next()?, fields.nth(2)?);
        (gid == group.gid && !leaves(user, &|user| user.field(3) == gid)).then_some(user)
    });
    Ok(own.map(|user| format!("it is the primary group of {user}")))
}

impl Accounts {
    /// All as it was before.
    pub(super) fn restored(&mut self) {
        for spot in &mut self.users {
            spot.now.clone_from(&spot.before);
        }
        for spot in &mut self.groups {
            spot.now.clone_from(&spot.before);
        }
    }

    pub(super) fn changes(&self, want: &Accounts, changes: &mut Vec<Change>) {
        let mut thing = |of: &str, there: bool, then: bool| {
            let sign = if then { Sign::Added } else { Sign::Removed };
            if there != then {
                changes.push(Change::Item {
                    sign,
                    text: of.to_owned(),
                });
            }
            there && then
        };
        let mut differing: Vec<(String, Vec<Difference>)> = Vec::new();
        for (spot, wanted) in self.groups.iter().zip(&want.groups) {
            let of = format!("group {}", spot.name);
            if let (true, Some(now), Some(then)) = (
                thing(&of, spot.now.is_some(), wanted.now.is_some()),
                &spot.now,
                &wanted.now,
            ) {
                differing.push((of, vec![("gid", now.gid.clone(), then.gid.clone())]));
            }
        }
        for (spot, wanted) in self.users.iter().zip(&want.users) {
            let of = format!("user {}", spot.name);
            if let (true, Some(now), Some(then)) = (
                thing(&of, spot.now.is_some(), wanted.now.is_some()),
                &spot.now,
                &wanted.now,
            ) {
                differing.push((of, now.differences(then)));
            }
        }
        for (of, pairs) in differing {
            let pairs = pairs.into_iter().filter(|(_, now, then)| now != then);
            changes.extend(pairs.map(|(name, now, then)| field(&of, name, &now, &then)));
        }
    }

    /// Brings back what was there, and makes it what it was.
    pub(super) fn up(&self, world: &dyn System) -> Result<(), ResourceError> {
        for spot in &self.groups {
            spot.up(world)?;
        }
        for spot in &self.users {
            if let Some(before) = spot.before.as_ref().filter(|_| spot.now != spot.before) {
                spot.up(before, world)?;
            }
        }
        for spot in self.groups.iter().filter(|spot| spot.now.is_none()) {
            let Some(before) = spot.before.as_ref().filter(|before| !before.members.is_empty()) else {
                continue;
            };
            let effect = Effect::predicts(group::probe(&spot.name).key, before.answer.clone());
            act(&["gpasswd", "-M", &before.members.join(","), &spot.name], effect, world)?;
        }
        Ok(())
    }

    /// Takes away what was not there.
    pub(super) fn down(&self, world: &dyn System) -> Result<(), ResourceError> {
        for spot in self.users.iter().filter(|spot| spot.before.is_none()) {
            if spot.now.is_none() {
                continue;
            }
            // Its own group may go with it.
            let own = group::probe(&spot.name);
            let mut predicts = vec![
                (user::probe(&spot.name).key, Answer::status(2)),
                (format!("shadow:{}", spot.name), Answer::status(2)),
                // The list of all groups stays, without the user.
                (format!("groups:{}", spot.name), Answer::default()),
            ];
            if self
                .groups
                .iter()
                .any(|group| group.name == spot.name && group.before.is_none())
            {
                predicts.push((own.key, Answer::status(2)));
            }
            act(&["userdel", &spot.name], predicting(predicts), world)?;
            if let Some(mail) = &spot.mail {
                world.remove(mail, Removal::File)?;
            }
        }
        for spot in self
            .groups
            .iter()
            .filter(|spot| spot.before.is_none() && spot.now.is_some())
        {
            let probe = group::probe(&spot.name);
            if world.probe(&probe)?.success() {
                act(
                    &["groupdel", &spot.name],
                    Effect::predicts(probe.key, Answer::status(2)),
                    world,
                )?;
            }
        }
        Ok(())
    }
}

fn predicting(predicts: Vec<(String, Answer)>) -> Effect {
    Effect::Declared(Declared {
        predicts,
        ..Declared::default()
    })
}

fn act(argv: &[&str], effect: Effect, world: &dyn System) -> Result<(), ResourceError> {
    acting::run(world, &Action::new(argv, effect)).map(drop)
}

impl GroupSpot {
    fn up(&self, world: &dyn System) -> Result<(), ResourceError> {
        let Some(before) = &self.before else { return Ok(()) };
        let program = match &self.now {
            None => "groupadd",
            Some(now) if now.gid != before.gid => "groupmod",
            Some(_) => return Ok(()),
        };
        let effect = Effect::predicts(group::probe(&self.name).key, before.answer.clone());
        act(&[program, "-g", &before.gid, &self.name], effect, world)
    }
}

impl User {
    fn differences(&self, then: &User) -> Vec<Difference> {
        let names = [(2, "uid"), (3, "group"), (4, "comment"), (5, "home"), (6, "shell")];
        let mut pairs: Vec<Difference> = names
            .map(|(at, name)| (name, self.field(at).to_owned(), then.field(at).to_owned()))
            .to_vec();
        if let (Some(now), Some(then)) = (&self.groups, &then.groups) {
            pairs.push(("groups", now.join(","), then.join(",")));
        }
        if let (Some(now), Some(then)) = (&self.shadow, &then.shadow) {
            if now.get(1) != then.get(1) {
                pairs.push(("password", "‹hidden›".to_owned(), "‹changed›".to_owned()));
            }
            let rest = |fields: &[String]| fields.get(2..).unwrap_or_default().join(":");
            pairs.push(("ages", rest(now), rest(then)));
        }
        pairs
    }
}

impl UserSpot {
    /// Makes the user what it was: by useradd(8) or usermod(8), chpasswd(8) and chage(1).
    fn up(&self, before: &User, world: &dyn System) -> Result<(), ResourceError> {
        let mut argv: Vec<&str> = vec![if self.now.is_some() { "usermod" } else { "useradd" }];
        for (at, flag) in [(2, "-u"), (3, "-g"), (4, "-c"), (5, "-d"), (6, "-s")] {
            if self.now.as_ref().is_none_or(|now| now.field(at) != before.field(at)) {
                argv.extend([flag, before.field(at)]);
            }
        }
        let groups = before.groups.as_ref().map(|groups| groups.join(","));
        if let Some(groups) = &groups
            && self.now.as_ref().is_none_or(|now| now.groups != before.groups)
        {
            argv.extend(["-G", groups]);
        }
        match &self.now {
            None => argv.push("-M"),
            Some(now) if self.moves_home && now.field(5) != before.field(5) => argv.push("-m"),
            Some(_) => {}
        }
        let shadow = format!("shadow:{}", self.name);
        let seen = |with: bool| {
            let all = before.answers.iter().filter(|(key, _)| with || *key != shadow);
            predicting(all.cloned().collect())
        };
        if self.now.is_none() || argv.len() > 1 {
            argv.push(&self.name);
            act(&argv, seen(before.shadow.is_none()), world)?;
        }
        let (Some(then), now) = (&before.shadow, self.now.as_ref().and_then(|now| now.shadow.as_ref())) else {
            return Ok(());
        };
        let field = |at: usize| then.get(at).map_or("", String::as_str);
        if now.is_none_or(|now| now.get(1) != then.get(1)) {
            // It is kept from arguments and from what is shown.
            let mut action = Action::new(&["chpasswd", "-e"], seen(true));
            action.stdin = format!("{}:{}\n", self.name, field(1)).into_bytes();
            acting::run(world, &action)?;
        }
        if now != Some(then) {
            let mut argv = vec!["chage"];
            for (at, flag) in [(2, "-d"), (3, "-m"), (4, "-M"), (5, "-W"), (6, "-I"), (7, "-E")] {
                argv.extend([flag, if field(at).is_empty() { "-1" } else { field(at) }]);
            }
            argv.push(&self.name);
            act(&argv, seen(true), world)?;
        }
        Ok(())
    }
}
