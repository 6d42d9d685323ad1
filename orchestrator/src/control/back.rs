//! What takes a step through an interface back: a step of the same kind with other arguments, since these kinds say what
//! should be. It stands in the run's journal, so it holds no secret: what was one is asked for again.

use super::ApiKind;
use super::api::Json;
use crate::report::{json, scrub};
use crate::template::from_json;
use okd_agent::Value;
use okd_agent::secret::{Secrets, nameless};
use okd_agent::value::Map;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Back {
    /// The module.
    pub module: String,
    /// The arguments of the step that takes it back; `None` where none does.
    pub args: Option<Json>,
    /// Those with `--force`, where they are others.
    pub forced: Option<Json>,
    /// Arguments that are secret, and how they are asked for.
    pub asks: BTreeMap<String, Ask>,
    /// A hash of what the step left, as the step that takes it back sees it, hexadecimal.
    pub print: Option<String>,
    /// What stays whatever is said, and why; empty where nothing does.
    pub lost: String,
    /// What stays without `--force`, and why; empty where nothing does.
    pub left: String,
}

/// A question in the place of an argument.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// The variable that answers it.
    pub name: String,
    /// The question.
    pub prompt: String,
    /// Whether the answer is a secret.
    pub private: bool,
}

/// Kinds of which nothing is ever taken back, with the reason.
pub const STAYS: &[(&str, &str)] = &[
    ("okd_csr", "a certificate that was issued is not called back"),
    ("okd_wait", "it changes nothing"),
    ("proxmox_sendkey", "keys that were pressed are not taken back"),
];

/// Under which name it travels in a step's result, until the run takes it out.
const KEY: &str = "‹back›";

impl Back {
    /// By these arguments.
    #[must_use]
    pub fn by(args: Json) -> Back {
        Back {
            args: Some(args),
            ..Back::default()
        }
    }

    /// Not at all, and why.
    #[must_use]
    pub fn not(why: impl Into<String>) -> Back {
        Back {
            lost: why.into(),
            ..Back::default()
        }
    }

    /// Not at all, as all of its kind.
    #[must_use]
    pub fn never(module: &str) -> Back {
        let own = STAYS.iter().find(|(name, _)| *name == module);
        Back::not(own.map(|(_, why)| *why).unwrap_or_default())
    }

    /// With other arguments where it is forced, and what stays without that.
    #[must_use]
    pub fn forced(mut self, args: Json, left: impl Into<String>) -> Back {
        self.forced = Some(args);
        self.left = left.into();
        self
    }

    /// With something that stays.
    #[must_use]
    pub fn losing(mut self, why: impl Into<String>) -> Back {
        self.lost = why.into();
        self
    }

    /// What stays, and why.
    #[must_use]
    pub fn stays(&self, force: bool) -> Vec<&str> {
        let left = Some(&self.left).filter(|_| !(force && self.forced.is_some()));
        let all = std::iter::once(&self.lost).chain(left);
        all.filter(|text| !text.is_empty()).map(String::as_str).collect()
    }

    /// With how the interface is reached.
    pub(super) fn reaching(mut self, module: &str, reached: Map) -> Back {
        let reached = json::value(&Value::Map(reached));
        for args in [&mut self.args, &mut self.forced].into_iter().flatten() {
            if let (Json::Object(args), Json::Object(reached)) = (args, &reached) {
                args.extend(reached.clone());
            }
        }
        module.clone_into(&mut self.module);
        self
    }

    /// Without secrets: what says how the interface (`place`, for people) is reached is asked for instead, anything else
    /// makes that there is no way back.
    #[must_use]
    pub fn sealed(mut self, place: &str) -> Back {
        let place = nameless(place);
        let mut asks = BTreeMap::new();
        for args in [&mut self.args, &mut self.forced].into_iter().flatten() {
            let Json::Object(args) = args else { continue };
            for name in REACHED {
                let Some(given) = args.get(name) else { continue };
                if SECRETS.contains(&name) || !clean(given) {
                    args.remove(name);
                    let ask = Ask::of(name, &place);
                    asks.insert(ask.0, ask.1);
                }
            }
        }
        self.asks = asks;
        let whole = [&self.args, &self.forced].into_iter().flatten().all(clean);
        match whole {
            true => self,
            false => Back {
                module: self.module,
                ..Back::not("what was there before holds a secret, which no journal keeps")
            },
        }
    }

    /// The step that takes it back; `None` where there is none without `--force`.
    #[must_use]
    pub fn kind(&self) -> Option<ApiKind> {
        let Value::Map(args) = from_json(self.args.clone()?) else {
            return None;
        };
        ApiKind::decode(&self.module, &args)?.ok()
    }

    /// [`Back::print`], as a number.
    #[must_use]
    pub fn left_print(&self) -> Option<u64> {
        u64::from_str_radix(self.print.as_deref()?, 16).ok()
    }

    /// Puts it into a step's result.
    pub(super) fn put(self, result: &mut Map) {
        let text = serde_json::to_string(&self).unwrap_or_default();
        result.insert(KEY.to_owned(), text.into());
    }

    /// Takes it out of a step's result.
    #[must_use]
    pub fn take(result: &mut Map) -> Option<Back> {
        let text = result.shift_remove(KEY)?;
        serde_json::from_str(text.as_str()?).ok()
    }
}

/// The arguments of [`super::Remote::reached`],
const REACHED: [&str; 9] = [
    "api_host",
    "api_user",
    "api_token_id",
    "api_token_secret",
    "fingerprint",
    "ca_path",
    "kubeconfig",
    "kubeconfig_path",
    "server",
];
/// and those that are secret whatever they hold.
const SECRETS: [&str; 2] = ["api_token_secret", "kubeconfig"];

/// Whether neither a secret nor what stands for one is in it.
fn clean(value: &Json) -> bool {
    let text = value.to_string();
    !Secrets::marked(&text) && scrub::clean(&text) == text
}

impl Ask {
    /// The argument that is asked for in the place of one, and how.
    fn of(argument: &str, place: &str) -> (String, Ask) {
        let (argument, name, prompt, private) = match argument {
            "api_token_secret" => (argument, "token", format!("Secret of the token {place}"), true),
            "kubeconfig" | "kubeconfig_path" => (
                "kubeconfig_path",
                "kubeconfig",
                format!("Path of the kubeconfig of {place}"),
                false,
            ),
            other => (other, other, format!("`{other}` of {place}"), true),
        };
        let ask = Ask {
            name: variable(&format!("{name} {}", place.trim_start_matches("the cluster at "))),
            prompt,
            private,
        };
        (argument.to_owned(), ask)
    }
}

/// A text as a variable's name.
fn variable(text: &str) -> String {
    let words = text
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("_").to_lowercase()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::API_KINDS;
    use super::*;
    use okd_agent::secret::Secret;
    use okd_agent::value::map;
    use serde_json::json;

    fn reached() -> Map {
        map([
            ("api_host", "pve1".into()),
            ("api_token_secret", "plain-5ecret-1f".into()),
        ])
    }

    #[test]
    fn a_token_is_asked_for_by_a_name_that_says_whose_it_is() {
        let back = Back::by(json!({"rules": []})).reaching("proxmox_firewall", reached());
        let back = back.sealed("okd@pve!play at pve1");
        let ask = &back.asks["api_token_secret"];
        assert_eq!(ask.name, "token_okd_pve_play_at_pve1");
        assert_eq!(ask.prompt, "Secret of the token okd@pve!play at pve1");
        assert!(ask.private && !serde_json::to_string(&back).unwrap().contains("5ecret"));
        let mut result = Map::new();
        back.clone().put(&mut result);
        assert_eq!((Back::take(&mut result), result.len()), (Some(back), 0));
    }

    #[test]
    fn a_kubeconfig_is_asked_for_as_a_file() {
        let args = map([("kubeconfig", "apiVersion: v1".into()), ("server", "api:6443".into())]);
        let back = Back::by(json!({}))
            .reaching("okd_object", args)
            .sealed("the cluster at api:6443");
        assert_eq!(back.args, Some(json!({"server": "api:6443"})));
        let ask = &back.asks["kubeconfig_path"];
        assert_eq!((ask.name.as_str(), ask.private), ("kubeconfig_api_6443", false));
    }

    #[test]
    fn what_holds_a_secret_has_no_way_back() {
        scrub::know(&Secret::new("kn0wn-t0-the-run"));
        for held in [Secrets::placeholder("x", "0a"), "is kn0wn-t0-the-run".to_owned()] {
            let back = Back::by(json!({"options": {"description": held}})).reaching("proxmox_vm", reached());
            let back = back.sealed("pve1");
            assert_eq!((&back.args, &back.asks), (&None, &BTreeMap::new()));
            assert!(back.lost.contains("no journal keeps"), "{back:?}");
        }
    }

    #[test]
    fn every_kind_that_stays_is_one_and_says_why() {
        for (name, why) in STAYS {
            assert!(API_KINDS.iter().any(|kind| kind.names[0] == *name), "{name}");
            assert_eq!(Back::never(name).lost, *why);
            assert!(!why.is_empty());
        }
    }
}
