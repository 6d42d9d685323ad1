//! Whether a server is the one it should be: the key or the certificate it shows, against the known_hosts files.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use russh::keys::ssh_key::certificate::CertType;
use russh::keys::{Algorithm, Certificate, EcdsaCurve, HashAlg, PublicKey, PublicKeyOrCertificate};
use russh::{Preferred, cipher, compression, kex};

use super::error::HostKeyError;
use crate::link::known_hosts::{self, KnownHosts, KnownKey, Verdict, fingerprint};
use crate::link::settings::Settings;
use crate::link::target::HostKeyPolicy;

/// The check of one server.
pub(crate) struct HostKeyCheck {
    known: Arc<KnownHosts>,
    name: String,
    principal: String,
    files: Vec<PathBuf>,
    written: Option<PathBuf>,
    policy: HostKeyPolicy,
    hash: bool,
    unchecked: bool,
    writing: Arc<Mutex<()>>,
}

impl HostKeyCheck {
    /// `known` is what the settings' files hold; `writing` is shared by all who may add to them.
    pub(crate) fn new(settings: &Settings, known: Arc<KnownHosts>, writing: Arc<Mutex<()>>) -> Self {
        HostKeyCheck {
            known,
            name: settings.known_as(),
            principal: settings.principal(),
            files: settings
                .user_known_hosts
                .iter()
                .chain(&settings.global_known_hosts)
                .cloned()
                .collect(),
            written: settings.user_known_hosts.first().cloned(),
            policy: settings.host_keys,
            hash: settings.hash_known_hosts,
            unchecked: settings.unchecked,
            writing,
        }
    }

    /// Lets the server's key pass, or says why not.
    pub(crate) fn check(&self, shown: &PublicKeyOrCertificate) -> Result<(), HostKeyError> {
        let key = shown.public_key();
        if let PublicKeyOrCertificate::Certificate(certificate) = shown
            && let Some(authority) = self.known.authority(&self.name, &authority_key(certificate))
        {
            return self.check_certificate(certificate, &key, authority);
        }
        match self.known.check(&self.name, &key) {
            Verdict::Unknown => self.check_unknown(&key),
            verdict => self.judge(verdict, &key),
        }
    }

    fn check_certificate(
        &self,
        certificate: &Certificate,
        key: &PublicKey,
        authority: KnownKey,
    ) -> Result<(), HostKeyError> {
        for key in [key, &authority_key(certificate)] {
            if let Some(key) = self.known.revoked(&self.name, key) {
                return Err(HostKeyError::Revoked {
                    host: self.name.clone(),
                    key,
                });
            }
        }
        match certificate_fault(certificate, &self.principal) {
            Some(reason) => Err(HostKeyError::Certificate {
                host: self.name.clone(),
                authority: Box::new(authority),
                reason,
            }),
            None => Ok(()),
        }
    }

    /// The files are read again, since another connection or another program may have added the host meanwhile.
    fn check_unknown(&self, key: &PublicKey) -> Result<(), HostKeyError> {
        let _turn = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        match KnownHosts::load(&self.files)?.check(&self.name, key) {
            Verdict::Unknown => match (self.policy, &self.written) {
                (HostKeyPolicy::AcceptNew, Some(file)) => {
                    known_hosts::append(file, &self.name, key, self.hash).map_err(HostKeyError::from)
                }
                _ => self.judge(Verdict::Unknown, key),
            },
            verdict => self.judge(verdict, key),
        }
    }

    fn judge(&self, verdict: Verdict, key: &PublicKey) -> Result<(), HostKeyError> {
        let host = self.name.clone();
        let (algorithm, fingerprint) = (key.algorithm().to_string(), fingerprint(key));
        match verdict {
            Verdict::Known => Ok(()),
            Verdict::Revoked(key) => Err(HostKeyError::Revoked { host, key }),
            Verdict::Changed(known) => Err(HostKeyError::Changed {
                host,
                algorithm,
                fingerprint,
                known,
            }),
            Verdict::Unknown => {
                let (files, unchecked) = (self.files.clone(), self.unchecked);
                Err(HostKeyError::Unknown {
                    host,
                    algorithm,
                    fingerprint,
                    files,
                    unchecked,
                })
            }
        }
    }
}

fn authority_key(certificate: &Certificate) -> PublicKey {
    PublicKey::new(certificate.signature_key().clone(), "")
}

/// What is wrong with a certificate of a trusted authority, by the rules of OpenSSH's PROTOCOL.certkeys.
fn certificate_fault(certificate: &Certificate, principal: &str) -> Option<String> {
    let trusted = [certificate.signature_key().fingerprint(HashAlg::Sha256)];
    let names = certificate.valid_principals();
    let named = |name: &String| known_hosts::wildcard(name.to_ascii_lowercase().as_bytes(), principal.as_bytes());
    if certificate.cert_type() != CertType::Host {
        return Some("it is a user's certificate, not a host's".to_owned());
    }
    if !names.is_empty() && !names.iter().any(named) {
        return Some(format!("it is for {}, not for {principal}", names.join(", ")));
    }
    if let Some((option, _)) = certificate.critical_options().iter().next() {
        return Some(format!(
            "it has the critical option `{option}`, which is not understood"
        ));
    }
    match certificate.validate(&trusted) {
        Ok(()) => None,
        Err(_) => Some("its signature is wrong, or it is not valid now".to_owned()),
    }
}

/// The algorithms to ask a server for. Kinds of host keys that are known for it come first, since it shows one key only.
pub(crate) fn preferred(settings: &Settings, known: &KnownHosts) -> Preferred {
    let name = settings.known_as();
    let mut algorithms = known.algorithms(&name);
    if algorithms.is_empty() {
        algorithms = known.algorithms(&settings.hostname);
    }
    let is_known = |algorithm: &Algorithm| {
        algorithms
            .iter()
            .any(|known| known == algorithm || is_rsa(known) && is_rsa(algorithm))
    };
    let mut keys = HOST_KEYS.to_vec();
    keys.sort_by_key(|algorithm| !is_known(algorithm));
    Preferred {
        host_key_certificates: match known.has_authority(&name) {
            true => Cow::Borrowed(HOST_KEYS),
            false => Cow::Borrowed(&[]),
        },
        key: Cow::Owned(keys),
        kex: Cow::Borrowed(KEY_EXCHANGES),
        cipher: Cow::Borrowed(CIPHERS),
        compression: Cow::Borrowed(&[compression::NONE]),
        ..Preferred::default()
    }
}

fn is_rsa(algorithm: &Algorithm) -> bool {
    matches!(algorithm, Algorithm::Rsa { .. })
}

/// OpenSSH's order, without SHA-1.
const HOST_KEYS: &[Algorithm] = &[
    Algorithm::Ed25519,
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP256,
    },
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP384,
    },
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP521,
    },
    Algorithm::Rsa {
        hash: Some(HashAlg::Sha512),
    },
    Algorithm::Rsa {
        hash: Some(HashAlg::Sha256),
    },
];

const KEY_EXCHANGES: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::ECDH_SHA2_NISTP256,
    kex::ECDH_SHA2_NISTP384,
    kex::ECDH_SHA2_NISTP521,
    kex::DH_GEX_SHA256,
    kex::DH_G16_SHA512,
    kex::DH_G18_SHA512,
    kex::DH_G14_SHA256,
    kex::EXTENSION_SUPPORT_AS_CLIENT,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT,
];

const CIPHERS: &[cipher::Name] = &[
    cipher::AES_256_GCM,
    cipher::AES_128_GCM,
    cipher::CHACHA20_POLY1305,
    cipher::AES_256_CTR,
    cipher::AES_192_CTR,
    cipher::AES_128_CTR,
];
