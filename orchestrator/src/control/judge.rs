//! Whether a node's request for a certificate may be approved. The API server checks little of this: it issues a certificate
//! in another node's name, or in its own, to whoever is approved. So everything is checked here, and what does not fit is
//! left as it is, with the reason.

use super::api::Json;
use super::kube::{at, condition, name};
use super::okd_wait::node_of;
use base64ct::{Base64, Encoding};
use std::collections::BTreeSet;
use std::net::IpAddr;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry::{OID_X509_COMMON_NAME, OID_X509_ORGANIZATION_NAME};
use x509_parser::prelude::FromDer;

/// The signer of the certificates by which nodes speak to the API.
pub(super) const CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
/// The signer of the certificates by which nodes are spoken to.
pub(super) const SERVING: &str = "kubernetes.io/kubelet-serving";
/// Who asks for a node that has no certificate yet.
const BOOTSTRAPPER: &str = "system:serviceaccount:openshift-machine-config-operator:node-bootstrapper";
const BOOTSTRAPPER_GROUPS: [&str; 3] = [
    "system:serviceaccounts:openshift-machine-config-operator",
    "system:serviceaccounts",
    "system:authenticated",
];

/// A machine that is expected to join.
#[derive(Debug, Clone)]
pub(super) struct Machine {
    /// Its short name.
    pub(super) name: String,
    /// Its addresses.
    pub(super) addresses: Vec<IpAddr>,
}

/// What requests are judged by.
pub(super) struct Rules<'a> {
    /// The machines that may join.
    pub(super) machines: &'a [Machine],
    /// `CLUSTER.DOMAIN`, without a dot in front.
    pub(super) domain: &'a str,
    /// Older requests are none of these machines' (RFC 3339, UTC).
    pub(super) since: Option<&'a str>,
    /// The nodes that there are.
    pub(super) nodes: &'a [Json],
    /// All requests.
    pub(super) requests: &'a [Json],
}

/// Which of a node's two certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Round {
    /// The first: to speak to the API.
    Client,
    /// The second: to be spoken to.
    Serving,
}

impl Round {
    /// In words.
    pub(super) fn word(self) -> &'static str {
        match self {
            Round::Client => "client",
            Round::Serving => "serving",
        }
    }
}

/// Whether nothing has been decided on a request.
pub(super) fn pending(request: &Json) -> bool {
    let conditions = request.get("status").and_then(|status| status.get("conditions"));
    conditions.and_then(Json::as_array).is_none_or(Vec::is_empty)
}

/// Whether a request was approved, and has not failed since.
pub(super) fn approved(request: &Json) -> bool {
    condition(request, "Approved").is_some() && condition(request, "Failed").is_none()
}

/// Whether its certificate is there.
pub(super) fn issued(request: &Json) -> bool {
    !at(request, &["status", "certificate"]).is_empty()
}

/// What was parsed of a request in PKCS#10.
struct Parsed {
    /// The node's name in the subject.
    common_name: String,
    dns: Vec<String>,
    addresses: Vec<IpAddr>,
}

impl Rules<'_> {
    /// The machine that a pending request is for, and which round; or why it is not to be approved.
    pub(super) fn judge(&self, request: &Json) -> Result<(String, Round), String> {
        let round = match at(request, &["spec", "signerName"]) {
            CLIENT => Round::Client,
            SERVING => Round::Serving,
            other => return Err(format!("its signer is {other}, which is no kubelet's")),
        };
        let created = at(request, &["metadata", "creationTimestamp"]);
        if let Some(since) = self.since
            && super::kube::seconds(created)
                .is_none_or(|at| super::kube::seconds(since).is_some_and(|since| at < since))
        {
            return Err(format!("it was made at {created}, before {since}"));
        }
        self.requester(request, round)?;
        usages(request, round)?;
        let parsed = parsed(request)?;
        let node = parsed
            .common_name
            .strip_prefix("system:node:")
            .ok_or_else(|| format!("its subject is {}, not system:node:NAME", parsed.common_name))?;
        let machine = self
            .machine(node)
            .ok_or_else(|| format!("no machine of the topology is called {node}"))?;
        match round {
            Round::Client => self.client(request, machine, &parsed)?,
            Round::Serving => self.serving(request, machine, node, &parsed)?,
        }
        Ok((machine.name.clone(), round))
    }

    /// The machine of a node's name, short or full.
    pub(super) fn machine(&self, node: &str) -> Option<&Machine> {
        self.machines
            .iter()
            .find(|machine| node == machine.name || node == format!("{}.{}", machine.name, self.domain))
    }

    fn requester(&self, request: &Json, round: Round) -> Result<(), String> {
        let user = at(request, &["spec", "username"]);
        let groups: BTreeSet<&str> = words(request, "groups");
        match round {
            Round::Client if user != BOOTSTRAPPER => Err(format!("{user} asked, not the node bootstrapper")),
            Round::Client if groups != BTreeSet::from(BOOTSTRAPPER_GROUPS) => {
                Err("who asked is in other groups than the node bootstrapper".to_owned())
            }
            Round::Serving if !user.starts_with("system:node:") => Err(format!("{user} asked, which is no node")),
            Round::Serving
                if !["system:nodes", "system:authenticated"]
                    .iter()
                    .all(|group| groups.contains(group)) =>
            {
                Err("who asked is not in the group system:nodes".to_owned())
            }
            _ => Ok(()),
        }
    }

    fn client(&self, request: &Json, machine: &Machine, parsed: &Parsed) -> Result<(), String> {
        if !parsed.dns.is_empty() || !parsed.addresses.is_empty() {
            return Err("it asks for further names, which a client has not".to_owned());
        }
        if let Some(node) = node_of(self.nodes, &machine.name) {
            return Err(format!(
                "the node {} is there already: this would give somebody its identity",
                name(node)
            ));
        }
        let earlier = self
            .requests
            .iter()
            .find(|other| approved(other) && self.first_round(other).is_some_and(|other| other.name == machine.name));
        if let Some(earlier) = earlier {
            return Err(format!(
                "{} was approved for {} already; `since` says from when on requests count",
                name(earlier),
                machine.name
            ));
        }
        let own = at(request, &["metadata", "creationTimestamp"]);
        let later = self.requests.iter().find(|other| {
            pending(other)
                && at(other, &["metadata", "creationTimestamp"]) > own
                && self.first_round(other).is_some_and(|other| other.name == machine.name)
        });
        match later {
            Some(later) => Err(format!("{} asked again since, with {}", machine.name, name(later))),
            None => Ok(()),
        }
    }

    fn serving(&self, request: &Json, machine: &Machine, node: &str, parsed: &Parsed) -> Result<(), String> {
        let user = at(request, &["spec", "username"]);
        if user != parsed.common_name {
            return Err(format!("{user} asked for a certificate of {}", parsed.common_name));
        }
        if !self.nodes.iter().any(|there| name(there) == node) {
            return Err(format!("there is no node {node} yet"));
        }
        if parsed.dns.is_empty() && parsed.addresses.is_empty() {
            return Err("it names neither a DNS name nor an address".to_owned());
        }
        let full = format!("{}.{}", machine.name, self.domain);
        let fits = |dns: &&String| dns.eq_ignore_ascii_case(&machine.name) || dns.eq_ignore_ascii_case(&full);
        if let Some(other) = parsed.dns.iter().find(|dns| !fits(dns)) {
            return Err(format!("it asks for the name {other}, which is not {}'s", machine.name));
        }
        match parsed
            .addresses
            .iter()
            .find(|address| !machine.addresses.contains(address))
        {
            Some(other) => Err(format!(
                "it asks for the address {other}, which is not {}'s",
                machine.name
            )),
            None => Ok(()),
        }
    }

    /// The machine whose first round a request is, as far as it was made since `since`.
    pub(super) fn first_round(&self, request: &Json) -> Option<&Machine> {
        let counts =
            at(request, &["spec", "signerName"]) == CLIENT && at(request, &["spec", "username"]) == BOOTSTRAPPER;
        let created = super::kube::seconds(at(request, &["metadata", "creationTimestamp"]));
        let since = self.since.and_then(super::kube::seconds);
        if !counts || since.is_some_and(|since| created.is_none_or(|created| created < since)) {
            return None;
        }
        let parsed = parsed(request).ok()?;
        self.machine(parsed.common_name.strip_prefix("system:node:")?)
    }

    /// Whether a machine that went through the first round has a serving certificate, or went through it long ago.
    pub(super) fn served(&self, machine: &Machine) -> bool {
        let mut joined = self.requests.iter().filter(|one| approved(one));
        if !joined.any(|one| self.first_round(one).is_some_and(|own| own.name == machine.name)) {
            return true;
        }
        self.requests.iter().any(|one| {
            let user = at(one, &["spec", "username"]).strip_prefix("system:node:");
            at(one, &["spec", "signerName"]) == SERVING
                && issued(one)
                && user
                    .and_then(|node| self.machine(node))
                    .is_some_and(|own| own.name == machine.name)
        })
    }
}

fn words<'j>(request: &'j Json, key: &str) -> BTreeSet<&'j str> {
    let list = request
        .get("spec")
        .and_then(|spec| spec.get(key))
        .and_then(Json::as_array);
    list.into_iter().flatten().filter_map(Json::as_str).collect()
}

fn usages(request: &Json, round: Round) -> Result<(), String> {
    let purpose = match round {
        Round::Client => "client auth",
        Round::Serving => "server auth",
    };
    let usages = words(request, "usages");
    if let Some(lacking) = ["digital signature", purpose]
        .iter()
        .find(|usage| !usages.contains(**usage))
    {
        return Err(format!("it does not ask for the usage `{lacking}`"));
    }
    let allowed = ["digital signature", "key encipherment", purpose];
    match usages.iter().find(|usage| !allowed.contains(*usage)) {
        Some(more) => Err(format!("it asks for the usage `{more}` too")),
        None => Ok(()),
    }
}

/// Parses the request and checks its signature, its organization, and that no names of other kinds are asked for.
fn parsed(request: &Json) -> Result<Parsed, String> {
    let unreadable = |_| "its request cannot be read".to_owned();
    let pem = Base64::decode_vec(at(request, &["spec", "request"])).map_err(|_| "its request is no base64")?;
    let (_, pem) = x509_parser::pem::parse_x509_pem(&pem).map_err(|_| "its request is no PEM")?;
    let (rest, csr) = X509CertificationRequest::from_der(&pem.contents).map_err(|_| "its request is no PKCS#10")?;
    if !rest.is_empty() {
        return Err("something stands behind its request".to_owned());
    }
    csr.verify_signature()
        .map_err(|_| "its signature does not fit its key: who sent it need not own the key")?;
    let subject = &csr.certification_request_info.subject;
    let mut organizations = Vec::new();
    let mut names = Vec::new();
    for part in subject.iter_attributes() {
        let text = part.as_str().map_err(unreadable)?.to_owned();
        match part.attr_type() {
            oid if *oid == OID_X509_ORGANIZATION_NAME => organizations.push(text),
            oid if *oid == OID_X509_COMMON_NAME => names.push(text),
            oid => return Err(format!("its subject holds more than O and CN ({oid})")),
        }
    }
    if organizations != ["system:nodes"] {
        return Err(format!(
            "its organization is {}, not system:nodes",
            organizations.join(", ")
        ));
    }
    let [common_name] = names.as_slice() else {
        return Err("its subject has not exactly one CN".to_owned());
    };
    let mut parsed = Parsed {
        common_name: common_name.clone(),
        dns: Vec::new(),
        addresses: Vec::new(),
    };
    for extension in csr.requested_extensions().into_iter().flatten() {
        match extension {
            ParsedExtension::SubjectAlternativeName(all) => {
                for one in &all.general_names {
                    parsed.take(one)?;
                }
            }
            ParsedExtension::KeyUsage(_) | ParsedExtension::ExtendedKeyUsage(_) => {}
            _ => return Err("it asks for an extension that kubelets do not ask for".to_owned()),
        }
    }
    Ok(parsed)
}

impl Parsed {
    fn take(&mut self, name: &GeneralName<'_>) -> Result<(), String> {
        match name {
            GeneralName::DNSName(dns) => self.dns.push((*dns).to_owned()),
            GeneralName::IPAddress(bytes) => {
                self.addresses
                    .push(match (<[u8; 4]>::try_from(*bytes), <[u8; 16]>::try_from(*bytes)) {
                        (Ok(four), _) => four.into(),
                        (_, Ok(sixteen)) => sixteen.into(),
                        _ => return Err("it asks for an address of no known length".to_owned()),
                    })
            }
            _ => return Err("it asks for names that are neither DNS names nor addresses".to_owned()),
        }
        Ok(())
    }
}
