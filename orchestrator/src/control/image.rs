//! A file of a Proxmox VE storage: an ISO, a disk image to import from, a container template. Names carry versions, so a file
//! that is there is the one that is meant.

use super::api::{Api, ApiError, Call, Json, Method, number, rows, text};
use super::bridge::{Presence, under_way};
use super::property::size;
use super::proxmox_params;
use super::pve::encoded;
use okd_agent::choice;
use okd_agent::diff::{Change, Sign};
use okd_agent::resource::{Resource, ResourceError, View};
use okd_agent::value::{Map, map};
use serde::Serialize;
use std::path::Path;

choice! {
    /// What a file of a storage is for.
    pub enum ImageContent {
        /// A CD.
        Iso = "iso",
        /// A disk to import from.
        Import = "import",
        /// A container template.
        Template = "vztmpl",
    }
}
proxmox_params! {
    /// A file of a Proxmox VE storage, downloaded by the node or uploaded from the control node.
    pub struct ProxmoxImage {
        /// The node.
        node: String,
        /// The storage.
        storage: String = "local",
        /// What the file is for.
        content: ImageContent = "iso",
        /// The file's name there; the last part of `url` or `src` without it. Put the version into it.
        filename: Option<String> ["name", "template"],
        /// Where the node downloads it from.
        url: Option<String>,
        /// What the download has to be, such as `sha256:…`.
        checksum: Option<String>,
        /// Let the node check the certificate of `url`.
        verify_certificates: bool = "yes",
        /// A file of the control node that is uploaded; one of another size there is replaced.
        src: Option<String>,
        /// Whether it should be there.
        state: Presence = "present",
    }
}

/// What can be seen of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Image {
    volume: String,
    /// Whether it is there.
    present: bool,
    /// Its size, where that counts.
    size: Option<u64>,
    #[serde(skip)]
    avail: Option<u64>,
}

impl View for Image {
    fn changes(&self, want: &Self) -> Vec<Change> {
        let item = |sign, more: String| Change::Item {
            sign,
            text: format!("{}{more}", self.volume),
        };
        let sized = |size: Option<u64>| {
            size.map(|bytes| format!(" ({})", super::property::size(bytes)))
                .unwrap_or_default()
        };
        match (self.present, want.present) {
            (false, true) => vec![item(Sign::Added, sized(want.size))],
            (true, false) => vec![item(Sign::Removed, String::new())],
            (true, true) if self.size != want.size => vec![Change::Field {
                of: self.volume.clone(),
                name: "size".to_owned(),
                before: self.size.map(size).unwrap_or_default(),
                after: want.size.map(size).unwrap_or_default(),
            }],
            _ => Vec::new(),
        }
    }
}

impl ProxmoxImage {
    /// The name there: Proxmox VE takes directories off and puts `_` for what it does not like.
    fn file(&self) -> String {
        let source = self.src.as_deref().or(self.url.as_deref()).unwrap_or_default();
        let source = source.split(['?', '#']).next().unwrap_or_default();
        let name = self.filename.as_deref().unwrap_or(source);
        let name = name.rsplit('/').next().unwrap_or_default();
        name.chars()
            .map(|c| match c.is_ascii_alphanumeric() || "_-.".contains(c) {
                true => c,
                false => '_',
            })
            .collect()
    }

    fn volume(&self) -> String {
        format!("{}:{}/{}", self.storage, self.content.word(), self.file())
    }

    fn list(&self) -> String {
        format!(
            "/nodes/{}/storage/{}/content?content={}",
            self.node,
            self.storage,
            self.content.word()
        )
    }

    /// The upload's size.
    fn local(&self) -> Result<Option<u64>, ResourceError> {
        let Some(src) = &self.src else { return Ok(None) };
        let meta = std::fs::metadata(src).map_err(|error| ResourceError::message(format!("{src}: {error}")))?;
        Ok(Some(meta.len()))
    }

    fn rows_after(&self, now: &[Json], size: Option<Option<u64>>) -> Json {
        let volume = self.volume();
        let mut rows: Vec<Json> = now
            .iter()
            .filter(|row| text(row, "volid").as_deref() != Some(&volume))
            .cloned()
            .collect();
        if let Some(size) = size {
            rows.push(serde_json::json!({ "volid": volume, "content": self.content.word(), "size": size }));
        }
        Json::Array(rows)
    }
}

impl Resource for ProxmoxImage {
    const NAMES: &'static [&'static str] = &["proxmox_image"];
    const EXAMPLE: &'static str = "- proxmox_image:\n    api_host: pve.example.org\n    api_user: okd@pve\n    api_token_id: play\n    api_token_secret: \"{{ vault_pve_token }}\"\n    ca_path: files/pve-root-ca.pem\n    node: pve\n    storage: local\n    url: https://example.org/fcos-42.20250705.3.0-live.x86_64.iso\n    checksum: sha256:0f3a…\n";
    const PREDICTS: &'static str = "that the file is there or not; a download's size is not known before";
    type World = dyn Api;
    type State = Image;

    fn check(&self) -> Result<(), Vec<String>> {
        let mut wrong = self.connection();
        if self.url.is_some() && self.src.is_some() {
            wrong.push("`url` and `src` exclude each other".to_owned());
        }
        if self.state == Presence::Present && self.url.is_none() && self.src.is_none() {
            wrong.push("it needs `url` or `src`".to_owned());
        }
        if self.file().is_empty() {
            wrong.push("it needs `filename`".to_owned());
        }
        if self.checksum.as_ref().is_some_and(|sum| !sum.contains(':')) {
            wrong.push("`checksum` names its algorithm, such as `sha256:…`".to_owned());
        }
        let name = self.file().to_lowercase();
        let endings: &[&str] = match self.content {
            ImageContent::Iso => &[".iso", ".img"],
            ImageContent::Import => &[".qcow2", ".raw", ".vmdk", ".ova"],
            ImageContent::Template => &[".tar.gz", ".tar.xz", ".tar.zst"],
        };
        if !name.is_empty() && !endings.iter().any(|ending| name.ends_with(ending)) {
            wrong.push(format!(
                "`{}` of content `{}` has to end in {}",
                self.file(),
                self.content.word(),
                endings.join(", ")
            ));
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    fn inspect(&self, world: &Self::World) -> Result<Image, ResourceError> {
        download_settled(world, &self.node, &self.file())?;
        let list = rows(&world.get(&self.list())?);
        let volume = self.volume();
        let row = list.iter().find(|row| text(row, "volid").as_deref() == Some(&volume));
        let local = self.local()?;
        let avail = match (row.is_none() && self.state == Presence::Present, local) {
            (true, Some(_)) => {
                let storages = rows(&world.get(&format!("/nodes/{}/storage", self.node))?);
                let own = storages
                    .iter()
                    .find(|row| text(row, "storage").as_deref() == Some(&self.storage));
                own.and_then(|row| number(row, "avail"))
            }
            _ => None,
        };
        Ok(Image {
            volume,
            present: row.is_some(),
            size: local.and(row.and_then(|row| number(row, "size"))),
            avail,
        })
    }

    fn desire(&self, now: &Image) -> Result<Image, ResourceError> {
        let present = self.state == Presence::Present;
        let size = match present {
            true => self.local()?,
            false => None,
        };
        if let (Some(needed), Some(avail)) = (size, now.avail)
            && needed > avail
        {
            return Err(ResourceError::message(format!(
                "the storage {} of {} has {avail} bytes left, and {} needs {needed}: remove what is not needed, or name another `storage`",
                self.storage,
                self.node,
                self.file()
            )));
        }
        Ok(Image {
            volume: now.volume.clone(),
            present,
            size,
            avail: now.avail,
        })
    }

    fn apply(&self, _: &Image, want: &Image, world: &Self::World) -> Result<Map, ResourceError> {
        let storage = format!("/nodes/{}/storage/{}", self.node, self.storage);
        let list = rows(&world.get(&self.list())?);
        let after = self.rows_after(&list, want.present.then_some(want.size));
        let call = match (want.present, &self.src, &self.url) {
            (false, ..) => Call::new(Method::Delete, format!("{storage}/content/{}", encoded(&self.volume()))),
            (true, Some(src), _) => {
                let mut call =
                    Call::new(Method::Post, format!("{storage}/upload")).with("content", self.content.word());
                call.upload = Some((Path::new(src).to_path_buf(), self.file()));
                call
            }
            (true, None, Some(url)) => {
                let mut call = Call::new(Method::Post, format!("{storage}/download-url"))
                    .with("content", self.content.word())
                    .with("filename", self.file())
                    .with("url", url.as_str())
                    .with("verify-certificates", if self.verify_certificates { "1" } else { "0" });
                if let Some((algorithm, sum)) = self.checksum.as_deref().and_then(|sum| sum.split_once(':')) {
                    call = call.with("checksum", sum).with("checksum-algorithm", algorithm);
                }
                call
            }
            (true, None, None) => return Err(ResourceError::message("it needs `url` or `src`")),
        };
        world.send(&call.predicting(self.list(), after))?;
        Ok(Map::new())
    }

    fn result(&self, state: &Image) -> Map {
        map([
            ("volid", state.volume.as_str().into()),
            ("node", self.node.as_str().into()),
        ])
    }
}

/// Waits for a download of this file that is under way, so that it is not begun twice.
fn download_settled(world: &dyn Api, node: &str, file: &str) -> Result<(), ApiError> {
    let running = world.get(&format!("/nodes/{node}/tasks?source=active&typefilter=download"))?;
    for task in rows(&running).iter().filter(|task| under_way(task)) {
        if let Some(upid) = text(task, "upid").filter(|_| text(task, "id").as_deref() == Some(file)) {
            world.settle(&upid)?;
        }
    }
    Ok(())
}
