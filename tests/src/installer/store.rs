//! What the installer remembers between its runs, and what it does with what it finds in its folder.

use super::config::Config;
use super::{Ended, Log, Settings, ask, assets, ignition, tls, yaml};
use serde_json::{Map, Value, json};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const STATE: &str = ".openshift_install_state.json";
const CONFIG: &str = "install-config.yaml";
const FOLDERS: [&str; 2] = ["manifests", "openshift"];

/// See the module.
pub(super) struct Store<'a> {
    folder: PathBuf,
    settings: &'a Settings,
    /// Everything that was made so far.
    state: Map<String, Value>,
    config: Option<Config>,
}

impl<'a> Store<'a> {
    /// Reads the state.
    pub(super) fn open(folder: &Path, settings: &'a Settings) -> Result<Store<'a>, Ended> {
        let state = match std::fs::read_to_string(folder.join(STATE)) {
            Err(_) => Map::new(),
            Ok(text) => match serde_json::from_str(&text) {
                Ok(Value::Object(state)) => state,
                _ => {
                    return Err(Ended::general(format!(
                        "failed to unmarshal state file {STATE:?}: invalid character"
                    )));
                }
            },
        };
        if state.get("like").is_some_and(|like| *like != settings.newer) {
            return Err(Ended::general(
                "failed to load asset \"Install Config\": json: cannot unmarshal an asset from the state file",
            ));
        }
        Ok(Store {
            folder: folder.to_owned(),
            settings,
            state,
            config: None,
        })
    }

    fn text(&self, key: &str) -> &str {
        self.state.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    fn texts(&self, key: &str) -> Vec<(String, String)> {
        let entries = self.state.get(key).and_then(Value::as_object).into_iter().flatten();
        entries
            .map(|(name, text)| (name.clone(), text.as_str().unwrap_or_default().to_owned()))
            .collect()
    }

    fn keep(&mut self, key: &str, files: Vec<(String, String)>) {
        let files: Map<String, Value> = files.into_iter().map(|(name, text)| (name, text.into())).collect();
        self.state.insert(key.to_owned(), files.into());
    }

    fn made(&self, key: &str) -> Option<Map<String, Value>> {
        self.state.get(key).and_then(Value::as_object).cloned()
    }

    fn config(&self) -> &Config {
        self.config.as_ref().unwrap()
    }

    /// The install-config: that of the folder, else the one that is remembered.
    pub(super) fn load(&mut self, log: &mut Log) -> Result<(), Ended> {
        let path = self.folder.join(CONFIG);
        if path.is_dir() {
            return Err(Ended::config(format!(
                "failed to read file: read {}: is a directory",
                path.display()
            )));
        }
        let remembered = self.text(CONFIG).to_owned();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(_) if remembered.is_empty() => return Err(ask()),
            Err(_) => remembered.clone(),
        };
        let config = Config::read(&text, self.settings.newer, log)?;
        let known = (!remembered.is_empty())
            .then(|| yaml::read(&remembered))
            .and_then(Result::ok);
        if known.as_ref().is_some_and(|known| *known != config.value) {
            for what in [
                "Master Machines",
                "Openshift Manifests",
                "Common Manifests",
                "Bootstrap Ignition Config",
            ] {
                log.say("warning", &format!("Discarding the {what} that was provided in the target directory because its dependencies are dirty and it needs to be regenerated"));
            }
            let roots = self.made("roots");
            self.state.clear();
            self.state.extend(roots.map(|roots| ("roots".to_owned(), roots.into())));
            for folder in FOLDERS {
                let _ = std::fs::remove_dir_all(self.folder.join(folder));
            }
            for file in ["bootstrap.ign", "master.ign", "worker.ign", "metadata.json"] {
                let _ = std::fs::remove_file(self.folder.join(file));
            }
        }
        self.state.insert(CONFIG.to_owned(), text.into());
        self.state.insert("like".to_owned(), self.settings.newer.into());
        self.config = Some(config);
        self.identity();
        Ok(())
    }

    fn identity(&mut self) {
        let config = self.config().clone();
        if !self.state.contains_key("roots") {
            self.state.insert("roots".to_owned(), tls::roots(&config).into());
        }
        if self.text("infra").is_empty() {
            self.state.insert(
                "infra".to_owned(),
                format!("{}-{}", config.name(), tls::random(5)).into(),
            );
            let id: Vec<String> = [8, 4, 4, 4, 12].map(tls::random).into();
            self.state.insert("id".to_owned(), id.join("-").into());
        }
        if !self.state.contains_key("manifests") {
            let roots = self.made("roots").unwrap();
            let files = assets::manifests(&config, self.text("infra"), &roots, self.settings.newer);
            self.keep("manifests", files);
        }
    }

    /// Takes the install-config away: from now on it is remembered.
    pub(super) fn consume(&mut self, log: &mut Log) -> Result<(), Ended> {
        if std::fs::remove_file(self.folder.join(CONFIG)).is_ok() {
            log.say("info", "Consuming Install Config from target directory");
        }
        self.save()
    }

    fn save(&self) -> Result<(), Ended> {
        let text = serde_json::to_string(&self.state).unwrap();
        self.put(STATE, &text)
    }

    fn put(&self, name: &str, text: &str) -> Result<(), Ended> {
        let path = self.folder.join(name);
        if let Some(parent) = path.parent() {
            std::fs::DirBuilder::new().recursive(true).mode(0o750).create(parent)?;
        }
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o640)
            .open(path)?;
        Ok(file.write_all(text.as_bytes())?)
    }

    /// The manifests: those that are remembered, with what the folder has in their place and beside them.
    fn merged(&self, log: &mut Log) -> Result<Vec<(String, String)>, Ended> {
        let mut files = self.texts("manifests");
        for folder in FOLDERS {
            let Ok(entries) = std::fs::read_dir(self.folder.join(folder)) else {
                continue;
            };
            log.say(
                "info",
                &format!(
                    "Consuming {} from target directory",
                    if folder == "manifests" {
                        "Common Manifests"
                    } else {
                        "Openshift Manifests"
                    }
                ),
            );
            for entry in entries {
                let name = entry?.file_name().to_string_lossy().into_owned();
                if ![".yaml", ".yml", ".json"].iter().any(|ending| name.ends_with(ending)) {
                    continue;
                }
                let text = std::fs::read_to_string(self.folder.join(folder).join(&name))?;
                let name = format!("{folder}/{name}");
                match files.iter_mut().find(|(known, _)| *known == name) {
                    Some(file) => file.1 = text,
                    None => files.push((name, text)),
                }
            }
        }
        Ok(files)
    }

    /// `create manifests`.
    pub(super) fn manifests(&mut self, log: &mut Log) -> Result<(), Ended> {
        let files = self.merged(log)?;
        if self.config().workers() == 0 {
            log.say(
                "warning",
                "Making control-plane schedulable by setting MastersSchedulable to true for Scheduler cluster settings",
            );
        }
        self.consume(log)?;
        for (name, text) in &files {
            self.put(name, text)?;
        }
        if self.settings.newer {
            self.put("000_capi-namespace.yaml", "")?;
        }
        for file in ["master.ign", "worker.ign"] {
            let _ = std::fs::remove_file(self.folder.join(file));
        }
        self.keep("manifests", files);
        self.save()?;
        log.say("info", "Manifests created in: manifests and openshift");
        Ok(())
    }

    /// `create ignition-configs`.
    pub(super) fn ignition_configs(&mut self, log: &mut Log) -> Result<(), Ended> {
        self.expired(log)?;
        let files = self.merged(log)?;
        let config = self.config().clone();
        let (roots, remembered) = (self.made("roots").unwrap(), self.made("tls"));
        let tls = remembered.unwrap_or_else(|| tls::all(&config, &roots, self.settings.life));
        let until = Instant::now() + self.settings.slow;
        while Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
        }
        self.consume(log)?;
        self.state.insert("tls".to_owned(), tls.clone().into());
        let kubeconfig = ignition::kubeconfig(&config, &tls);
        if self.text("password").is_empty() {
            let parts: Vec<String> = (0..4).map(|_| tls::random(5)).collect();
            self.state.insert("password".to_owned(), parts.join("-").into());
        }
        self.put("auth/kubeconfig", &kubeconfig)?;
        self.put("auth/kubeadmin-password", self.text("password"))?;
        for role in ["master", "worker"] {
            self.put(&format!("{role}.ign"), &ignition::role(&config, role, &roots))?;
        }
        for (name, text) in &files {
            if let Err(error) =
                yaml::read(text).and_then(|value| value.as_object().map(drop).ok_or_else(|| "not an object".to_owned()))
            {
                self.save()?;
                return Err(Ended::general(format!(
                    "failed to fetch Bootstrap Ignition Config: failed to generate asset: could not unmarshal {name:?}: {error}"
                )));
            }
        }
        let same = self.texts("manifests") == files && self.folder.join("bootstrap.ign").exists();
        if !(same && self.state.contains_key("done")) {
            let text = ignition::bootstrap(&config, &files, &tls, &kubeconfig);
            self.put("bootstrap.ign", &text)?;
        }
        let metadata = json!({
            "clusterName": config.name(), "clusterID": self.text("id"), "infraID": self.text("infra"),
            "featureSet": "", "customFeatureSet": null
        });
        self.put("metadata.json", &metadata.to_string())?;
        for (name, _) in &files {
            let _ = std::fs::remove_file(self.folder.join(name));
        }
        for folder in FOLDERS {
            let _ = std::fs::remove_dir(self.folder.join(folder));
        }
        self.keep("manifests", files);
        self.state.insert("done".to_owned(), true.into());
        self.save()?;
        log.say("info", "Ignition-Configs created in: . and auth");
        Ok(())
    }

    /// Only the file in the folder is looked at, as the real ones do.
    fn expired(&self, log: &mut Log) -> Result<(), Ended> {
        let path = self.folder.join("bootstrap.ign");
        let Some(text) = std::fs::read_to_string(path).ok().filter(|text| is_expired(text)) else {
            return Ok(());
        };
        let _ = text;
        let level = if self.settings.newer { "error" } else { "warning" };
        for name in ["kubelet-signer", "aggregator-signer", "kube-apiserver-lb-server"] {
            log.say(
                level,
                &format!("Bootstrap Ignition-Config Certificate {name}.crt expired"),
            );
        }
        match self.settings.newer {
            true => {
                log.say(
                    "error",
                    "Please regenerate ignition configuration files in a new directory",
                );
                Err(Ended::general("13 certificates expired"))
            }
            false => {
                log.say("warning", "13 certificates expired. Installation attempts with the created Ignition-Configs will possibly fail.");
                Ok(())
            }
        }
    }
}

/// Asks openssl: this is a stand-in, and what reads certificates here is what is under test.
fn is_expired(ignition: &str) -> bool {
    let Some(pem) = ignition::file_of(ignition, "/opt/openshift/tls/kubelet-signer.crt") else {
        return false;
    };
    let mut command = std::process::Command::new("openssl");
    command
        .args(["x509", "-noout", "-checkend", "0"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null());
    let Ok(mut child) = command.spawn() else { return false };
    let _ = child.stdin.take().map(|mut input| input.write_all(pem.as_bytes()));
    child.wait().is_ok_and(|status| !status.success())
}
