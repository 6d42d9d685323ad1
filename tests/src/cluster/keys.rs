//! The stand-in's keys: an authority, its server's certificate, its administrator's, and those that it issues to machines.

use base64ct::{Base64, Encoding};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use serde_json::Value as Json;
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

/// See the module. All of them are PEM.
#[derive(Debug, Clone)]
pub struct Keys {
    ca: String,
    ca_key: String,
    server: String,
    server_key: String,
    /// Certificate and key of the Machine Config Server, where it has its own.
    config: Option<(String, String)>,
    /// Who may show a client's certificate: one or several authorities.
    client_ca: String,
    admin: String,
    admin_key: String,
}

fn named(common: &str, organization: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    if !organization.is_empty() {
        params.distinguished_name.push(DnType::OrganizationName, organization);
    }
    params.distinguished_name.push(DnType::CommonName, common);
    params
}

impl Keys {
    /// New ones for a cluster, `NAME.DOMAIN`.
    #[must_use]
    pub fn make(domain: &str) -> Keys {
        let key = KeyPair::generate().unwrap();
        let mut params = named("stand-in-root-ca", "");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca = params.self_signed(&key).unwrap().pem();
        Keys::under(domain, &ca, &key.serialize_pem())
    }

    /// New ones for a cluster under an authority that is given.
    #[must_use]
    pub fn under(domain: &str, ca: &str, ca_key: &str) -> Keys {
        let issuer = Issuer::from_ca_cert_pem(ca, pair(ca_key)).unwrap();
        let mut params = named(&format!("api.{domain}"), "");
        params.subject_alt_names = ["api", "api-int"]
            .iter()
            .map(|name| SanType::DnsName(format!("{name}.{domain}").try_into().unwrap()))
            .chain([SanType::DnsName("localhost".try_into().unwrap())])
            .chain([SanType::IpAddress([127, 0, 0, 1].into())])
            .collect();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let server_key = KeyPair::generate().unwrap();
        let server = params.signed_by(&server_key, &issuer).unwrap().pem();
        let mut params = named("system:admin", "system:masters");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let admin_key = KeyPair::generate().unwrap();
        let admin = params.signed_by(&admin_key, &issuer).unwrap().pem();
        Keys {
            ca: ca.to_owned(),
            ca_key: ca_key.to_owned(),
            server,
            server_key: server_key.serialize_pem(),
            config: None,
            client_ca: ca.to_owned(),
            admin,
            admin_key: admin_key.serialize_pem(),
        }
    }

    /// With another server's certificate and key, such as an installer made.
    #[must_use]
    pub fn serving(self, certificate: &str, key: &str) -> Keys {
        Keys {
            server: certificate.to_owned(),
            server_key: key.to_owned(),
            ..self
        }
    }

    /// With another certificate and key for the Machine Config Server.
    #[must_use]
    pub fn configuring(self, certificate: &str, key: &str) -> Keys {
        Keys {
            config: Some((certificate.to_owned(), key.to_owned())),
            ..self
        }
    }

    /// Letting in who shows a certificate of this authority too.
    #[must_use]
    pub fn admitting(self, authority: &str) -> Keys {
        Keys {
            client_ca: format!("{}{authority}", self.client_ca),
            ..self
        }
    }

    /// The authority's certificate.
    #[must_use]
    pub fn ca_pem(&self) -> String {
        self.ca.clone()
    }

    /// The administrator's kubeconfig, as an installer writes it.
    #[must_use]
    pub fn kubeconfig(&self, domain: &str) -> String {
        let data = |pem: &str| Base64::encode_string(pem.as_bytes());
        let name = domain.split('.').next().unwrap_or(domain);
        format!(
            "apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority-data: {}\n    server: https://api.{domain}:6443\n  \
             name: {name}\ncontexts:\n- context:\n    cluster: {name}\n    user: admin\n  name: admin\ncurrent-context: admin\n\
             kind: Config\npreferences: {{}}\nusers:\n- name: admin\n  user:\n    client-certificate-data: {}\n    \
             client-key-data: {}\n",
            data(&self.ca),
            data(&self.admin),
            data(&self.admin_key)
        )
    }

    /// The API's side of TLS: clients may show a certificate, and need not.
    pub(super) fn api(&self) -> TlsAcceptor {
        self.acceptor(&self.server, &self.server_key)
    }

    /// The Machine Config Server's side of TLS.
    pub(super) fn config(&self) -> TlsAcceptor {
        match &self.config {
            Some((certificate, key)) => self.acceptor(certificate, key),
            None => self.api(),
        }
    }

    fn acceptor(&self, certificate: &str, key: &str) -> TlsAcceptor {
        let provider = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(self.client_ca.as_bytes()) {
            roots.add(certificate.unwrap()).unwrap();
        }
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .allow_unauthenticated()
            .build()
            .unwrap();
        let chain = CertificateDer::pem_slice_iter(certificate.as_bytes())
            .map(Result::unwrap)
            .collect();
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients)
            .with_single_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap())
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }

    /// What a kubelet's signer makes of an approved request's `spec`: the certificate in base64, or why not.
    pub(super) fn sign(&self, spec: &Json, serving: bool) -> Result<String, &'static str> {
        let bad = "unable to parse csr";
        let text = spec["request"].as_str().unwrap_or_default();
        let pem = Base64::decode_vec(text).map_err(|_| bad)?;
        let pem = String::from_utf8(pem).map_err(|_| bad)?;
        let csr = CertificateSigningRequestParams::from_pem(&pem).map_err(|_| bad)?;
        let subject = &csr.params.distinguished_name;
        let part = |kind: &DnType| subject.get(kind).map(|value| format!("{value:?}")).unwrap_or_default();
        if !part(&DnType::OrganizationName).contains("\"system:nodes\"") {
            return Err("subject organization is not system:nodes");
        }
        if !part(&DnType::CommonName).contains("\"system:node:") {
            return Err("subject common name does not begin with system:node: ");
        }
        let names = &csr.params.subject_alt_names;
        let server = |name: &SanType| matches!(name, SanType::DnsName(_) | SanType::IpAddress(_));
        match (serving, names.iter().any(server), names.iter().all(server)) {
            (true, _, false) => return Err("email and URI subjectAltNames are not allowed"),
            (true, false, _) => return Err("DNS or IP subjectAltName is required"),
            (false, true, _) | (false, _, false) => return Err("subjectAltNames are not allowed"),
            _ => {}
        }
        let purpose = if serving { "server auth" } else { "client auth" };
        let usages = spec["usages"].as_array().cloned().unwrap_or_default();
        let allowed = ["digital signature", "key encipherment", purpose];
        if !usages
            .iter()
            .all(|usage| usage.as_str().is_some_and(|usage| allowed.contains(&usage)))
        {
            return Err("usages did not match");
        }
        let issuer = Issuer::from_ca_cert_pem(&self.ca, pair(&self.ca_key)).unwrap();
        let certificate = csr.signed_by(&issuer).map_err(|_| bad)?;
        Ok(Base64::encode_string(certificate.pem().as_bytes()))
    }
}

/// A key from PEM, also in the form (PKCS#1) that the installer writes.
fn pair(pem: &str) -> KeyPair {
    let PrivateKeyDer::Pkcs1(key) = PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap() else {
        return KeyPair::from_pem(pem).unwrap();
    };
    let inner = key.secret_pkcs1_der();
    // PrivateKeyInfo (RFC 5208): version 0, rsaEncryption without parameters, the key as an octet string.
    let head = [
        0x02, 0x01, 0x00, 0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
    ];
    let long = |tag: u8, length: usize| {
        let length = u16::try_from(length).unwrap().to_be_bytes();
        [tag, 0x82, length[0], length[1]]
    };
    let whole = [
        &long(0x30, head.len() + 4 + inner.len())[..],
        &head,
        &long(0x04, inner.len()),
        inner,
    ]
    .concat();
    KeyPair::try_from(whole).unwrap()
}

/// A request for a certificate (PKCS#10) in base64, with a key of its own.
#[must_use]
pub fn request(common: &str, organization: &str, names: &[&str]) -> String {
    let mut params = named(common, organization);
    params.subject_alt_names = names
        .iter()
        .map(|name| match name.parse() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) if name.contains("://") => SanType::URI((*name).try_into().unwrap()),
            Err(_) if name.contains('@') => SanType::Rfc822Name((*name).try_into().unwrap()),
            Err(_) => SanType::DnsName((*name).try_into().unwrap()),
        })
        .collect();
    let key = KeyPair::generate().unwrap();
    let pem = params.serialize_request(&key).unwrap().pem().unwrap();
    Base64::encode_string(pem.as_bytes())
}
