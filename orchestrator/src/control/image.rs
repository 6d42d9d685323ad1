//! A file of a Proxmox VE storage: an ISO, a disk image to import from, a container template. Names carry versions, so a file
//! that is there is the one that is meant.

use super::api::{Api, ApiError, Call, Json, Method, number, rows, text};
use super::back::Back;
use super::bridge::{Presence, under_way};
use super::property::size;
use super::pve::encoded;
use super::rights::Need;
use super::{proxmox_params, rights, vm};
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
        /// A file of the control node that is uploaded, looked for as `src` of `copy`; one of another size there is replaced. It
        /// may be made by an earlier step: a plan then promises the upload.
        src: Option<String>,
        /// Whether it should be there. One that a machine has in a drive is not removed.
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
    /// The upload's own size; none in a plan where an earlier step has to make it.
    #[serde(skip)]
    upload: Option<u64>,
    #[serde(skip)]
    promised: bool,
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
            (false, true) if want.promised => {
                vec![item(
                    Sign::Added,
                    " (its size is known when its source is made)".to_owned(),
                )]
            }
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

    /// A file that was put there goes again; what it took the place of, and what was removed, nobody has kept.
    pub(super) fn taken_back(&self, now: &Image, _: &Map) -> Back {
        if now.present {
            return Back::not("the file that was there before is gone");
        }
        Back::by(serde_json::json!({
            "node": self.node,
            "storage": self.storage,
            "content": self.content.word(),
            "filename": self.file(),
            "state": Presence::Absent.word(),
        }))
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

    /// The upload's size; `None` where there is no such file.
    fn local(src: &str) -> Result<Option<u64>, ResourceError> {
        match std::fs::metadata(src) {
            Ok(meta) if meta.is_file() => Ok(Some(meta.len())),
            Ok(_) => Err(ResourceError::message(format!("{src} is not a file"))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(ResourceError::message(format!("{src}: {error}"))),
        }
    }

    /// The row of the volume, and all rows of its list.
    fn row(&self, world: &dyn Api) -> Result<Option<Json>, ApiError> {
        let volume = self.volume();
        let list = rows(&world.get(&self.list())?);
        Ok(list
            .into_iter()
            .find(|row| text(row, "volid").as_deref() == Some(&volume)))
    }

    /// A file that a machine has in a drive is not removed: the machine would not start any more.
    fn unused(&self, world: &dyn Api) -> Result<(), ResourceError> {
        match self.user(world)? {
            Some((name, drive)) => Err(ResourceError::message(format!(
                "{} is in the drive {drive} of {name}: take it out first, such as by `{drive}: none,media=cdrom`",
                self.volume()
            ))),
            None => Ok(()),
        }
    }

    /// A machine that has it in a drive, and the drive.
    fn user(&self, world: &dyn Api) -> Result<Option<(String, String)>, ApiError> {
        let volume = self.volume();
        vm::with_option(world, &|_, value| value.split(',').next() == Some(&volume))
    }

    /// Who would miss it.
    pub(super) fn held(&self, world: &dyn Api) -> Result<Option<(String, String)>, ApiError> {
        let user = self.user(world)?.filter(|_| self.state == Presence::Absent);
        Ok(user.map(|(name, drive)| (self.volume(), format!("it is in {drive} of the machine {name}"))))
    }

    /// The storage has to be there, to be up and to take such files; gives what room it has.
    fn room(&self, world: &dyn Api) -> Result<Option<u64>, ResourceError> {
        let storages = rows(&world.get(&format!("/nodes/{}/storage", self.node))?);
        let own = storages
            .iter()
            .find(|row| text(row, "storage").as_deref() == Some(&self.storage));
        // A token that may not look at storages sees none; the server's own words come with the next request.
        let Some(own) = own else { return Ok(None) };
        let contents = text(own, "content").unwrap_or_default();
        if !contents.split(',').any(|content| content == self.content.word()) {
            return Err(ResourceError::message(format!(
                "the storage {} of {} takes no `{}`: `pvesm set {} --content {contents},{}` on the node lets it, or name another \
                 `storage`",
                self.storage,
                self.node,
                self.content.word(),
                self.storage,
                self.content.word()
            )));
        }
        Ok(number(own, "avail"))
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
    const PREDICTS: &'static str = "that the file is there or not; the size of a download, and of an upload that an earlier step makes, is not known before";
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
        download_settled(world, &self.node, &self.file(), &self.list())?;
        let row = self.row(world)?;
        let wanted = self.state == Presence::Present;
        let upload = match self.src.as_deref().filter(|_| wanted) {
            Some(src) => ProxmoxImage::local(src)?,
            None => None,
        };
        if !wanted && row.is_some() {
            self.unused(world)?;
        }
        let promised = self.src.is_some() && wanted && upload.is_none();
        if promised && !world.predicted() {
            return Err(ResourceError::message(format!(
                "{} is not there to be uploaded: the step that makes it has to come before this one",
                self.src.as_deref().unwrap_or_default()
            )));
        }
        let avail = match row.is_none() && wanted {
            true => self.room(world)?,
            false => None,
        };
        Ok(Image {
            volume: self.volume(),
            present: row.is_some(),
            size: row
                .as_ref()
                .and_then(|row| number(row, "size"))
                .filter(|_| self.src.is_some() && wanted),
            avail: avail.filter(|_| upload.is_some()),
            upload,
            promised,
        })
    }

    fn desire(&self, now: &Image) -> Result<Image, ResourceError> {
        let present = self.state == Presence::Present;
        if let (Some(needed), Some(avail)) = (now.upload, now.avail)
            && needed > avail
        {
            return Err(ResourceError::message(format!(
                "the storage {} of {} has {avail} bytes left, and {} needs {needed}: remove what is not needed, or name another `storage`",
                self.storage,
                self.node,
                self.file()
            )));
        }
        if now.promised && now.present {
            let reason = format!(
                "{} is there, and its source {} is not made yet",
                now.volume,
                self.src.as_deref().unwrap_or_default()
            );
            return Err(ApiError::Unknown(reason).into());
        }
        Ok(Image {
            present,
            size: now.upload.filter(|_| present),
            ..now.clone()
        })
    }

    fn notes(&self, now: &Image, want: &Image) -> Vec<String> {
        let promised = want.promised && !now.present;
        let note = |src: &String| format!("{src} is not there yet: an earlier step has to make it");
        self.src.iter().filter(|_| promised).map(note).collect()
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

impl ProxmoxImage {
    /// The privileges that it needs.
    pub(super) fn rights(&self, _: &rights::Zones) -> Vec<Need> {
        let storage = format!("/storage/{}", self.storage);
        let node = format!("/nodes/{}", self.node);
        let seen = ["Datastore.Audit", "Datastore.AllocateSpace"];
        let mut all = vec![Need::any(&storage, &seen, "to see its files")];
        match (self.state, &self.url) {
            (Presence::Absent, _) => {
                all.push(Need::one(&storage, "Datastore.Allocate", "to remove a file"));
                all.push(Need::one(
                    "/vms",
                    "VM.Audit",
                    "to see whether a machine has it in a drive",
                ));
            }
            (Presence::Present, url) => {
                all.push(Need::one(&storage, "Datastore.AllocateTemplate", "to put a file there"));
                if url.is_some() {
                    all.push(Need::one(&node, "Sys.AccessNetwork", "to let the node download"));
                }
            }
        }
        all
    }

    /// The node that it is about.
    pub(super) fn nodes(&self) -> Vec<String> {
        vec![self.node.clone()]
    }

    /// The storage, and what it has to take.
    pub(super) fn stores(&self) -> Vec<rights::Store> {
        vec![rights::Store {
            node: self.node.clone(),
            storage: self.storage.clone(),
            content: self.content.word(),
            bytes: self
                .src
                .as_deref()
                .and_then(|src| ProxmoxImage::local(src).ok().flatten()),
        }]
    }
}

/// Waits for a download of this file that is under way, so that it is not begun twice.
fn download_settled(world: &dyn Api, node: &str, file: &str, list: &str) -> Result<(), ApiError> {
    let running = world.get(&format!("/nodes/{node}/tasks?source=active&typefilter=download"))?;
    for task in rows(&running).iter().filter(|task| under_way(task)) {
        if let Some(upid) = text(task, "upid").filter(|_| text(task, "id").as_deref() == Some(file)) {
            world.settle(&upid, &[list.to_owned()])?;
        }
    }
    Ok(())
}
