//! Tokens and what they may do.

use super::request::{Asked, Reply};
use serde_json::{Map, Value as Json};
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

/// All tokens.
pub struct Rights {
    users: BTreeMap<String, Acl>,
    tokens: BTreeMap<String, Token>,
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

    /// The token of an `Authorization` header.
    pub(super) fn enter(&self, header: Option<&str>) -> Result<String, Reply> {
        let Some(header) = header else {
            return Err(Reply::empty(401, "No ticket"));
        };
        let given = header
            .strip_prefix("PVEAPIToken=")
            .and_then(|rest| rest.split_once('='));
        match given.and_then(|(name, secret)| Some((name, secret, self.tokens.get(name)?))) {
            Some((name, secret, token)) if token.secret == secret => Ok(name.to_owned()),
            _ => Err(Reply::empty(401, "Authentication failed!")),
        }
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
