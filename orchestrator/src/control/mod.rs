//! The other world: things that are reached by an HTTP interface from the control node, such as Proxmox VE. Its kinds stand
//! under the same `converge` and the same laws as those of machines; only what they act in is another one.

pub mod api;
pub mod back;
pub mod bridge;
pub mod desk;
pub mod doctor;
pub mod endpoint;
pub mod firewall;
mod http;
pub mod image;
mod judge;
pub mod keyboard;
pub mod kube;
mod kubeconfig;
pub mod okd_csr;
pub mod okd_object;
pub mod okd_wait;
pub mod overlay;
pub mod property;
pub mod pve;
pub mod rights;
pub mod sdn;
pub mod sendkey;
mod tls;
pub mod veil;
pub mod vm;

use crate::control::api::{Api, ApiError};
use crate::control::back::Back;
use crate::control::endpoint::Endpoint;
use crate::control::rights::{Need, Store, Zones};
use okd_agent::resource::{self, Failure, Outcome, Resource, Status};
use okd_agent::value::Map;

/// A kind that is brought about through an HTTP interface.
pub trait Remote: Resource<World = dyn Api> {
    /// The interface's name. Steps of a host through one interface are worked on one after the other.
    const INTERFACE: &'static str;

    /// Where it is.
    fn endpoint(&self) -> Endpoint;

    /// The arguments of [`Remote::endpoint`].
    fn reached(&self) -> Map;

    /// What takes a step back that has met `now` and given `result`. Pure. Its arguments go without those of
    /// [`Remote::reached`].
    fn back(&self, now: &Self::State, result: &Map) -> Back;

    /// What it takes away that somebody would miss, and who, in a sentence.
    ///
    /// # Errors
    /// When that cannot be found out.
    fn held(&self, _world: &dyn Api) -> Result<Option<(String, String)>, ApiError> {
        Ok(None)
    }

    /// The privileges that it needs.
    fn needs(&self, _zones: &Zones) -> Vec<Need> {
        Vec::new()
    }

    /// The nodes that it is about.
    fn on(&self) -> Vec<String> {
        Vec::new()
    }

    /// The storages that it uses.
    fn uses(&self) -> Vec<Store> {
        Vec::new()
    }
}

/// Makes the parameters of a Proxmox VE kind: its own, and those that say how the interface is reached.
macro_rules! proxmox_params {
    ($(#[doc = $doc:literal])* pub struct $name:ident { $($own:tt)* }) => {
        okd_agent::params! {
            $(#[doc = $doc])*
            pub struct $name {
                $($own)*
                /// Name or address of a Proxmox VE node.
                api_host: String,
                /// Its port.
                api_port: u16 = "8006",
                /// The user that the token belongs to, such as `okd@pve`.
                api_user: String,
                /// The token's name, without the user.
                api_token_id: String,
                /// The token's secret.
                api_token_secret: String,
                /// SHA-256 fingerprint of the server's certificate, hexadecimal; colons may stand between.
                fingerprint: Option<String>,
                /// A file of certificates (PEM) that the server's certificate is checked against, looked for as `src` of `copy`; the
                /// system's without it.
                ca_path: Option<String>,
                /// The server's certificate is always checked; `no` is refused.
                validate_certs: bool = "yes",
                /// How many seconds a task of Proxmox VE may take.
                timeout: u64 = "600",
            }
        }

        impl $crate::control::Remote for $name {
            const INTERFACE: &'static str = "Proxmox VE";

            fn endpoint(&self) -> $crate::control::endpoint::Endpoint {
                $crate::control::endpoint::Endpoint::Proxmox($crate::control::pve::Endpoint {
                    host: self.api_host.clone(),
                    port: self.api_port,
                    user: self.api_user.clone(),
                    token_id: self.api_token_id.clone(),
                    token_secret: self.api_token_secret.clone(),
                    fingerprint: self.fingerprint.clone(),
                    ca_path: self.ca_path.clone(),
                    timeout: self.timeout,
                })
            }

            fn reached(&self) -> okd_agent::value::Map {
                let mut all = okd_agent::value::map([
                    ("api_host", self.api_host.as_str().into()),
                    ("api_port", okd_agent::Value::Int(self.api_port.into())),
                    ("api_user", self.api_user.as_str().into()),
                    ("api_token_id", self.api_token_id.as_str().into()),
                    ("api_token_secret", self.api_token_secret.as_str().into()),
                    ("timeout", okd_agent::Value::Int(self.timeout.cast_signed())),
                ]);
                for (name, given) in [("fingerprint", &self.fingerprint), ("ca_path", &self.ca_path)] {
                    all.extend(given.as_deref().map(|text| (name.to_owned(), text.into())));
                }
                all
            }

            fn back(&self, now: &Self::State, result: &okd_agent::value::Map) -> $crate::control::back::Back {
                self.taken_back(now, result)
            }

            fn held(
                &self,
                world: &dyn $crate::control::api::Api,
            ) -> Result<Option<(String, String)>, $crate::control::api::ApiError> {
                self.held(world)
            }

            fn needs(&self, zones: &$crate::control::rights::Zones) -> Vec<$crate::control::rights::Need> {
                self.rights(zones)
            }

            fn on(&self) -> Vec<String> {
                self.nodes()
            }

            fn uses(&self) -> Vec<$crate::control::rights::Store> {
                self.stores()
            }
        }

        impl $name {
            /// What is wrong with how the interface is reached.
            fn connection(&self) -> Vec<String> {
                let mut wrong = Vec::new();
                if !self.validate_certs {
                    wrong.push("the certificate is always checked: give `fingerprint` or `ca_path`, not `validate_certs: no`".to_owned());
                }
                if self.fingerprint.is_some() && self.ca_path.is_some() {
                    wrong.push("`fingerprint` and `ca_path` exclude each other".to_owned());
                }
                if let Some(text) = &self.fingerprint
                    && !text.contains('\u{2039}')
                    && $crate::control::pve::fingerprint(text).is_none()
                {
                    wrong.push("`fingerprint` takes 64 hexadecimal digits (SHA-256), colons may stand between".to_owned());
                }
                if !self.api_user.contains('@') && !self.api_user.contains('\u{2039}') {
                    wrong.push(format!("`api_user` is a user with its realm, such as {}@pve", self.api_user));
                }
                wrong
            }
        }
    };
}
use proxmox_params;

/// Lists every kind once, as the agent's `registry!` does for those of machines.
macro_rules! registry {
    ($($module:ident :: $kind:ident),* $(,)?) => {
        okd_agent::kinds! {
            /// Any kind of this world.
            pub enum ApiKind, API_KINDS, in (dyn Api + 'static) { $($module::$kind),* }
        }

        impl ApiKind {
            /// See [`Remote::INTERFACE`].
            #[must_use]
            pub fn interface(&self) -> &'static str {
                match self { $(ApiKind::$kind(_) => <$module::$kind as Remote>::INTERFACE),* }
            }

            /// Where it is.
            #[must_use]
            pub fn endpoint(&self) -> Endpoint {
                match self { $(ApiKind::$kind(kind) => kind.endpoint()),* }
            }

            /// As [`ApiKind::converge`], with what takes the step back where it changed something.
            ///
            /// # Errors
            /// As there.
            pub fn applied(
                &self,
                world: &(dyn Api + 'static),
                expect: Option<u64>,
            ) -> Result<(Outcome, Option<Back>), Box<Failure>> {
                match self { $(ApiKind::$kind(kind) => applied(kind.as_ref(), world, expect)),* }
            }

            /// See [`Remote::held`].
            ///
            /// # Errors
            /// As there.
            pub fn held(&self, world: &dyn Api) -> Result<Option<(String, String)>, ApiError> {
                match self { $(ApiKind::$kind(kind) => Remote::held(kind.as_ref(), world)),* }
            }

            /// The privileges that it needs.
            #[must_use]
            pub fn needs(&self, zones: &Zones) -> Vec<Need> {
                match self { $(ApiKind::$kind(kind) => kind.needs(zones)),* }
            }

            /// The nodes that it is about.
            #[must_use]
            pub fn nodes(&self) -> Vec<String> {
                match self { $(ApiKind::$kind(kind) => kind.on()),* }
            }

            /// The storages that it uses.
            #[must_use]
            pub fn stores(&self) -> Vec<Store> {
                match self { $(ApiKind::$kind(kind) => kind.uses()),* }
            }
        }
    };
}

fn applied<R: Remote>(
    kind: &R,
    world: &R::World,
    expect: Option<u64>,
) -> Result<(Outcome, Option<Back>), Box<Failure>> {
    let mut back = None;
    let outcome = resource::converge_then(kind, world, expect, |now, outcome| {
        if outcome.status == Status::Changed {
            back = Some(kind.back(now, &outcome.result).reaching(R::NAMES[0], kind.reached()));
        }
    })?;
    Ok((outcome, back))
}

registry! {
    bridge::ProxmoxBridge,
    firewall::ProxmoxFirewall,
    image::ProxmoxImage,
    sdn::ProxmoxSdn,
    sendkey::ProxmoxSendkey,
    okd_csr::OkdCsr,
    okd_object::OkdObject,
    okd_wait::OkdWait,
    vm::ProxmoxVm,
}
