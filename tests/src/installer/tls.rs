//! The keys and certificates that end up below `/opt/openshift/tls` of the bootstrap machine.

use super::config::Config;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// Files by name, as they are kept in the state.
pub(super) type Files = Map<String, Value>;

/// A pair that signs others.
struct Signer {
    name: &'static str,
    life: Duration,
}

/// A pair that somebody shows.
struct Shown {
    name: &'static str,
    by: &'static str,
    common: &'static str,
    organisation: Option<&'static str>,
    server: Vec<String>,
    life: Duration,
}

/// What is made together with the manifests: they live for ten years.
pub(super) fn roots(config: &Config) -> Files {
    let mut files = Files::new();
    sign(
        &Signer {
            name: "root-ca",
            life: YEAR * 10,
        },
        &mut files,
    );
    show(
        &Shown {
            name: "machine-config-server",
            by: "root-ca",
            common: "system:machine-config-server",
            organisation: None,
            server: vec![format!("api-int.{}", config.domain())],
            life: YEAR * 10,
        },
        &mut files,
    );
    files
}

/// What is made together with the Ignition files; the clock of `day` begins here.
pub(super) fn all(config: &Config, roots: &Files, day: Duration) -> Files {
    let mut files = roots.clone();
    for (name, life) in [
        ("admin-kubeconfig-signer", YEAR * 10),
        ("kube-apiserver-lb-signer", YEAR * 10),
        ("kube-apiserver-localhost-signer", YEAR * 10),
        ("kube-apiserver-service-network-signer", YEAR * 10),
        ("kube-control-plane-signer", YEAR),
        ("kube-apiserver-to-kubelet-signer", YEAR),
        ("kubelet-signer", day),
        ("aggregator-signer", day),
    ] {
        sign(&Signer { name, life }, &mut files);
    }
    let domain = config.domain();
    let client = |name, by, common, organisation, life| Shown {
        name,
        by,
        common,
        organisation,
        server: Vec::new(),
        life,
    };
    let server = |name, by, names: Vec<String>| Shown {
        name,
        by,
        common: "system:kube-apiserver",
        organisation: Some("kube-master"),
        server: names,
        life: day,
    };
    for pair in [
        client(
            "admin-kubeconfig-client",
            "admin-kubeconfig-signer",
            "system:admin",
            Some("system:masters"),
            YEAR * 10,
        ),
        client(
            "aggregator-client",
            "aggregator-signer",
            "system:kube-apiserver-proxy",
            Some("kube-master"),
            day,
        ),
        client(
            "apiserver-proxy",
            "aggregator-signer",
            "system:kube-apiserver-proxy",
            Some("kube-master"),
            day,
        ),
        server(
            "kube-apiserver-lb-server",
            "kube-apiserver-lb-signer",
            vec![format!("api.{domain}")],
        ),
        server(
            "kube-apiserver-internal-lb-server",
            "kube-apiserver-lb-signer",
            vec![format!("api-int.{domain}")],
        ),
        server(
            "kube-apiserver-localhost-server",
            "kube-apiserver-localhost-signer",
            vec!["localhost".to_owned()],
        ),
        server(
            "kube-apiserver-service-network-server",
            "kube-apiserver-service-network-signer",
            vec!["kubernetes.default.svc".to_owned()],
        ),
    ] {
        show(&pair, &mut files);
    }
    let text = |name: &str| files[&format!("{name}.crt")].as_str().unwrap().to_owned();
    let bundle = [
        "kube-apiserver-lb-signer",
        "kube-apiserver-localhost-signer",
        "kube-apiserver-service-network-signer",
    ]
    .map(text)
    .concat();
    files.insert("kube-apiserver-complete-server-ca-bundle.crt".to_owned(), bundle.into());
    files
}

fn named(common: &str, organisation: Option<&str>, life: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    params.not_before = date_time_ymd(1970, 1, 1) + Duration::from_secs(now.as_secs());
    params.not_after = params.not_before + life;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common);
    if let Some(organisation) = organisation {
        params.distinguished_name.push(DnType::OrganizationName, organisation);
    }
    params.use_authority_key_identifier_extension = true;
    params
}

fn ca(name: &str, life: Duration) -> CertificateParams {
    let mut params = named(name, Some("openshift"), life);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyEncipherment,
        KeyUsagePurpose::KeyCertSign,
    ];
    params
}

fn put(name: &str, certificate: &rcgen::Certificate, key: &KeyPair, files: &mut Files) {
    files.insert(format!("{name}.crt"), certificate.pem().into());
    files.insert(format!("{name}.key"), key.serialize_pem().into());
}

fn sign(signer: &Signer, files: &mut Files) {
    let key = KeyPair::generate().unwrap();
    let certificate = ca(signer.name, signer.life).self_signed(&key).unwrap();
    put(signer.name, &certificate, &key, files);
}

fn show(pair: &Shown, files: &mut Files) {
    let signing = KeyPair::from_pem(files[&format!("{}.key", pair.by)].as_str().unwrap()).unwrap();
    let issuer = Issuer::new(ca(pair.by, YEAR), signing);
    let mut params = named(pair.common, pair.organisation, pair.life);
    params.subject_alt_names = CertificateParams::new(pair.server.clone()).unwrap().subject_alt_names;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages = vec![match pair.server.is_empty() {
        true => ExtendedKeyUsagePurpose::ClientAuth,
        false => ExtendedKeyUsagePurpose::ServerAuth,
    }];
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    put(pair.name, &certificate, &key, files);
}

/// Letters and digits that nobody can guess.
pub(super) fn random(length: usize) -> String {
    let digest = Sha256::digest(KeyPair::generate().unwrap().serialize_der());
    let letters = b"abcdefghijkmnpqrstuvwxyz23456789";
    digest
        .iter()
        .take(length)
        .map(|byte| char::from(letters[usize::from(byte % 32)]))
        .collect()
}
