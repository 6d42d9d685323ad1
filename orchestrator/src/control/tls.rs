//! Whom the client believes: a pinned certificate, or one that a known authority signed. There is no third way.

use okd_agent::secret::Secret;
use sha2::{Digest, Sha256};
use std::sync::{Arc, Mutex, PoisonError};
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// Where systems keep the authorities that they trust.
const SYSTEM: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// What the last certificate looked like, for messages.
pub(super) type Seen = Arc<Mutex<Option<[u8; 32]>>>;

/// Whose certificate is believed.
#[derive(Debug, Clone)]
pub(super) enum Belief {
    /// The one with this SHA-256, whoever signed it.
    Pinned([u8; 32]),
    /// One that an authority of this file (PEM) signed.
    File(String),
    /// One that an authority of the system signed.
    System,
    /// One that one of these authorities signed (PEM).
    Given(String),
}

/// Who we say that we are: a certificate with its chain, and its key (PEM).
#[derive(Clone)]
pub(super) struct Identity {
    /// The certificates, our own first.
    pub(super) certificate: String,
    /// The private key.
    pub(super) key: Secret,
}

/// Whom the client believes, and what it shows of itself.
#[derive(Clone)]
pub(super) struct Trust {
    /// Whose certificate is believed.
    pub(super) belief: Belief,
    /// What is shown where the server asks who we are.
    pub(super) identity: Option<Identity>,
}

/// The rules for a connection, and where the certificate that was shown is noted.
pub(super) fn rules(trust: &Trust) -> Result<(ClientConfig, Seen), String> {
    let provider = Arc::new(ring::default_provider());
    let seen = Seen::default();
    let check = match &trust.belief {
        Belief::Pinned(pinned) => Check::Pinned(*pinned),
        other => {
            let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots(other)?), provider.clone());
            Check::Signed(verifier.build().map_err(|error| error.to_string())?)
        }
    };
    let verifier = Arc::new(Verifier {
        check,
        seen: seen.clone(),
        provider: provider.clone(),
    });
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let config = match &trust.identity {
        None => config.with_no_client_auth(),
        Some(identity) => {
            let (chain, key) = shown(identity)?;
            config
                .with_client_auth_cert(chain, key)
                .map_err(|error| format!("the client's certificate cannot be used: {error}"))?
        }
    };
    Ok((config, seen))
}

/// What a client shows of itself. No message holds any of it.
fn shown(identity: &Identity) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(identity.certificate.as_bytes()).collect();
    let chain = chain.map_err(|_| "the client's certificate is no PEM")?;
    if chain.is_empty() {
        return Err("the client's certificate is no PEM".to_owned());
    }
    let key = PrivateKeyDer::from_pem_slice(identity.key.reveal()).map_err(|_| "the client's key is no PEM")?;
    Ok((chain, key))
}

fn roots(belief: &Belief) -> Result<RootCertStore, String> {
    if let Belief::Given(text) = belief {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(text.as_bytes()) {
            let certificate = certificate.map_err(|error| format!("the authorities: {error}"))?;
            roots
                .add(certificate)
                .map_err(|error| format!("the authorities: {error}"))?;
        }
        return match roots.is_empty() {
            true => Err("the authorities hold no certificate".to_owned()),
            false => Ok(roots),
        };
    }
    let named = match belief {
        Belief::File(path) => Some(path.as_str()),
        _ => None,
    };
    let path = match named {
        Some(path) => path,
        None => SYSTEM
            .into_iter()
            .find(|path| std::path::Path::new(path).exists())
            .ok_or("this system has no file of trusted certificates; give `ca_path` or `fingerprint`")?,
    };
    let mut roots = RootCertStore::empty();
    let all = CertificateDer::pem_file_iter(path).map_err(|error| format!("{path}: {error}"))?;
    for certificate in all {
        let certificate = certificate.map_err(|error| format!("{path}: {error}"))?;
        let added = roots.add(certificate);
        if named.is_some() {
            added.map_err(|error| format!("{path}: {error}"))?;
        }
    }
    if roots.is_empty() {
        return Err(format!("{path} holds no certificate"));
    }
    Ok(roots)
}

#[derive(Debug)]
enum Check {
    Pinned([u8; 32]),
    Signed(Arc<WebPkiServerVerifier>),
}

#[derive(Debug)]
struct Verifier {
    check: Check,
    seen: Seen,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let shown: [u8; 32] = Sha256::digest(end_entity).into();
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(shown);
        match &self.check {
            Check::Pinned(pinned) if *pinned == shown => Ok(ServerCertVerified::assertion()),
            Check::Pinned(_) => Err(Error::General("another certificate than the pinned one".to_owned())),
            Check::Signed(inner) => {
                inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
