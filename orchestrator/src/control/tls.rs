//! Whom the client believes: a pinned certificate, or one that a known authority signed. There is no third way.

use super::pve::{Endpoint, fingerprint};
use sha2::{Digest, Sha256};
use std::sync::{Arc, Mutex, PoisonError};
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// Where systems keep the authorities that they trust.
const SYSTEM: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// What the last certificate looked like, for messages.
pub(super) type Seen = Arc<Mutex<Option<[u8; 32]>>>;

/// The rules for an endpoint, and where the certificate that was shown is noted.
pub(super) fn rules(endpoint: &Endpoint) -> Result<(ClientConfig, Seen), String> {
    let provider = Arc::new(ring::default_provider());
    let seen = Seen::default();
    let belief = match &endpoint.fingerprint {
        Some(text) => Belief::Pinned(fingerprint(text).ok_or("`fingerprint` is not a SHA-256 fingerprint")?),
        None => {
            let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots(endpoint)?), provider.clone());
            Belief::Signed(verifier.build().map_err(|error| error.to_string())?)
        }
    };
    let verifier = Arc::new(Verifier {
        belief,
        seen: seen.clone(),
        provider: provider.clone(),
    });
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok((config, seen))
}

fn roots(endpoint: &Endpoint) -> Result<RootCertStore, String> {
    let path = match &endpoint.ca_path {
        Some(path) => path.as_str(),
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
        if endpoint.ca_path.is_some() {
            added.map_err(|error| format!("{path}: {error}"))?;
        }
    }
    if roots.is_empty() {
        return Err(format!("{path} holds no certificate"));
    }
    Ok(roots)
}

#[derive(Debug)]
enum Belief {
    Pinned([u8; 32]),
    Signed(Arc<WebPkiServerVerifier>),
}

#[derive(Debug)]
struct Verifier {
    belief: Belief,
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
        match &self.belief {
            Belief::Pinned(pinned) if *pinned == shown => Ok(ServerCertVerified::assertion()),
            Belief::Pinned(_) => Err(Error::General("another certificate than the pinned one".to_owned())),
            Belief::Signed(inner) => {
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
