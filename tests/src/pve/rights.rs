//! Tokens and what they may do.

use super::request::{Asked, Reply};
use serde_json::{Map, Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};

/// What the standard token may do, everywhere.
pub const ROLE: [&str; 22] = [
    "VM.Allocate",
    "VM.Audit",
    "VM.PowerMgmt",
    "VM.Console",
    "VM.Config.Disk",
    "VM.Config.CPU",
    "VM.Config.Memory",
    "VM.Config.Network",
    "VM.Config.CDROM",
    "VM.Config.Options",
    "VM.Config.HWType",
    "VM.Config.Cloudinit",
    "Datastore.Audit",
    "Datastore.Allocate",
    "Datastore.AllocateSpace",
    "Datastore.AllocateTemplate",
    "SDN.Use",
    "SDN.Audit",
    "SDN.Allocate",
    "Sys.Audit",
    "Sys.Modify",
    "Sys.AccessNetwork",
];

type Acl = BTreeMap<String, BTreeSet<String>>;

/// All users and tokens.
pub struct Rights {
    users: BTreeMap<String, Acl>,
    tokens: BTreeMap<String, Token>,
    /// The standard user's password, which is the standard token's secret.
    password: String,
    /// Tickets that were given out, with their CSRF tokens and users.
    tickets: BTreeMap<String, (String, String)>,
}

/// What a request brings to be let in.
pub(super) struct Entry<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) authorization: Option<&'a str>,
    pub(super) cookie: Option<&'a str>,
    pub(super) csrf: Option<&'a str>,
}

struct Token {
    secret: String,
    /// Rights are those that both the user and the token have.
    separate: bool,
    acl: Acl,
}

fn acl(path: &str, privileges: &[&str]) -> Acl {
    Acl::from([(
        path.to_owned(),
        privileges.iter().map(|one| (*one).to_owned()).collect(),
    )])
}

impl Rights {
    pub(super) fn standard(secret: &str) -> Rights {
        let (user, id, _) = super::TOKEN;
        let mut rights = Rights {
            users: BTreeMap::from([(user.to_owned(), acl("/", &ROLE))]),
            tokens: BTreeMap::new(),
            password: secret.to_owned(),
            tickets: BTreeMap::new(),
        };
        rights.token(id, secret, false, &[]);
        rights
    }

    /// A further token of the standard user; `separate` with its own privileges everywhere.
    pub fn token(&mut self, id: &str, secret: &str, separate: bool, privileges: &[&str]) {
        let token = Token {
            secret: secret.to_owned(),
            separate,
            acl: acl("/", privileges),
        };
        self.tokens.insert(format!("{}!{id}", super::TOKEN.0), token);
    }

    /// Who asks: a token's name, a user with a ticket, or nobody where nobody is enough.
    pub(super) fn enter(&self, entry: &Entry) -> Result<String, Reply> {
        if let Some(header) = entry.authorization {
            return self.known(header);
        }
        let ticket = entry.cookie.and_then(|cookie| {
            cookie
                .split(';')
                .find_map(|part| part.trim().strip_prefix("PVEAuthCookie="))
        });
        if let Some(ticket) = ticket {
            let decoded = ticket.replace("%3A", ":").replace("%40", "@");
            let Some((csrf, user)) = self.tickets.get(&decoded) else {
                return Err(Reply::empty(401, "permission denied - invalid PVE ticket"));
            };
            if entry.method != "GET" && entry.csrf != Some(csrf.as_str()) {
                return Err(Reply::empty(401, "Permission denied - invalid csrf token"));
            }
            return Ok(user.clone());
        }
        let open = [
            ("GET", "/access/domains"),
            ("GET", "/access/ticket"),
            ("POST", "/access/ticket"),
        ];
        match open.contains(&(entry.method, entry.path)) {
            true => Ok(String::new()),
            false => Err(Reply::empty(401, "No ticket")),
        }
    }

    /// The token of an `Authorization` header.
    fn known(&self, header: &str) -> Result<String, Reply> {
        let given = header
            .strip_prefix("PVEAPIToken=")
            .and_then(|rest| rest.split_once('='));
        match given.and_then(|(name, secret)| Some((name, secret, self.tokens.get(name)?))) {
            Some((name, secret, token)) if token.secret == secret => Ok(name.to_owned()),
            _ => Err(Reply::empty(401, "Authentication failed!")),
        }
    }

    /// A ticket for a password.
    pub(super) fn ticket(&mut self, asked: &Asked, number: u64) -> Result<Reply, Reply> {
        if asked.token.contains('!') {
            return Err(Reply::bare_forbidden(
                "Permission check failed (URI '/access/ticket' not available with API token, need proper ticket.",
            ));
        }
        let user = asked.get("username").unwrap_or_default().to_owned();
        let again = asked.get("password").unwrap_or_default();
        let renewed = self.tickets.get(again).is_some_and(|(_, own)| *own == user);
        if !(self.users.contains_key(&user) && (again == self.password || renewed)) {
            return Err(Reply {
                status: 401,
                reason: "authentication failure".to_owned(),
                body: Some(json!({ "data": null, "message": "authentication failure\n" })),
            });
        }
        let stamp = format!("{:08X}", 0x6B02_A000 + number);
        let (ticket, csrf) = (
            format!("PVE:{user}:{stamp}::c3RhbmQtaW4{number}"),
            format!("{stamp}:c3RhbmQ{number}"),
        );
        self.tickets.insert(ticket.clone(), (csrf.clone(), user.clone()));
        Ok(Reply::ok(
            json!({ "username": user, "ticket": ticket, "CSRFPreventionToken": csrf, "cap": {} }),
        ))
    }

    fn privileges(&self, asked: &Asked, path: &str) -> BTreeSet<String> {
        let at = |acl: &Acl| -> BTreeSet<String> {
            let above = acl
                .iter()
                .filter(|(own, _)| own.as_str() == "/" || path == own.as_str() || path.starts_with(&format!("{own}/")));
            above.flat_map(|(_, set)| set.iter().cloned()).collect()
        };
        let user = self.users.get(asked.user()).map(at).unwrap_or_default();
        match self.tokens.get(&asked.token) {
            Some(token) if token.separate => user.intersection(&at(&token.acl)).cloned().collect(),
            Some(_) => user,
            None if asked.token == asked.user() => user,
            None => BTreeSet::new(),
        }
    }

    /// Whether one of these privileges is there.
    pub(super) fn has(&self, asked: &Asked, path: &str, any: &[&str]) -> bool {
        let own = self.privileges(asked, path);
        any.iter().any(|one| own.contains(*one))
    }

    /// One of these privileges, or the refusal.
    pub(super) fn need(&self, asked: &Asked, path: &str, any: &[&str]) -> Result<(), Reply> {
        match self.has(asked, path, any) {
            true => Ok(()),
            false => Err(Reply::forbidden(path, any)),
        }
    }

    /// The privileges of a path, or of the usual ones.
    pub(super) fn listed(&self, asked: &Asked) -> Json {
        let paths = match asked.get("path") {
            Some(path) => vec![path.to_owned()],
            None => ["/", "/nodes", "/vms", "/storage", "/sdn"].map(str::to_owned).to_vec(),
        };
        let mut all = Map::new();
        for path in paths {
            let own = self.privileges(asked, &path).into_iter();
            let own: Map<String, Json> = own.map(|one| (one, 1.into())).collect();
            all.insert(path, Json::Object(own));
        }
        Json::Object(all)
    }
}
