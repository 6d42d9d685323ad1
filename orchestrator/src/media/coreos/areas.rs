//! Where a live ISO may be changed: the area for kernel arguments, of which there is one in each boot loader's configuration, and that
//! for an Ignition configuration. The image itself says where they are, in `/coreos/kargs.json` and `/coreos/igninfo.json`; see
//! coreos-installer's `iso kargs` and `iso ignition`. Only sectors that are needed are read.

use super::live;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

const SECTOR: u64 = 2048;
/// Where the volume descriptors begin, in sectors (ECMA-119, 6.7.1).
const DESCRIPTORS: u64 = 16;
/// What is read of a small file of the image.
const SMALL: u64 = 64 << 10;
/// The largest area for kernel arguments that coreos-installer takes.
const KARGS_LIMIT: u64 = 2048;
/// The largest area for an Ignition configuration that is believed.
const IGNITION_LIMIT: u64 = 16 << 20;

#[derive(Deserialize)]
struct Kargs {
    files: Vec<Place>,
    size: u64,
}

#[derive(Deserialize)]
struct Place {
    path: String,
    offset: u64,
    pad: Option<char>,
    end: Option<char>,
}

#[derive(Deserialize)]
struct Ignition {
    file: String,
    offset: Option<u64>,
    length: Option<u64>,
}

/// Images before 2022 do not say it.
impl Default for Ignition {
    fn default() -> Self {
        Ignition {
            file: "images/ignition.img".to_owned(),
            offset: None,
            length: None,
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "kebab-case")]
struct Features {
    installer_config: bool,
}

/// A part of the image.
#[derive(Debug, Clone, Copy)]
struct Extent {
    at: u64,
    length: u64,
}

/// An area for kernel arguments, with what ends and what fills it.
#[derive(Debug)]
struct Area {
    extent: Extent,
    end: char,
    pad: char,
}

/// An image with its areas.
#[derive(Debug)]
pub(super) struct Image {
    path: PathBuf,
    file: File,
    release: String,
    kargs: Vec<Area>,
    ignition: Extent,
    installer_config: bool,
}

fn read(file: &File, extent: Extent) -> Result<Vec<u8>, String> {
    let mut bytes = vec![0; usize::try_from(extent.length).map_err(|error| error.to_string())?];
    file.read_exact_at(&mut bytes, extent.at)
        .map_err(|error| format!("it cannot be read: {error}"))?;
    Ok(bytes)
}

/// Where a folder's record points, and what it is called (ECMA-119, 9.1).
fn record(bytes: &[u8]) -> Option<(Extent, String)> {
    let number = |at: usize| Some(u64::from(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?)));
    let name = bytes.get(33..33 + usize::from(*bytes.get(32)?))?;
    let name = String::from_utf8_lossy(name).into_owned();
    let name = name.split(';').next().unwrap_or_default().to_owned();
    Some((
        Extent {
            at: number(2)?.checked_mul(SECTOR)?,
            length: number(10)?,
        },
        name,
    ))
}

fn find(file: &File, root: Extent, path: &str) -> Result<Option<Extent>, String> {
    let mut here = root;
    for part in path.trim_matches('/').to_uppercase().split('/') {
        if here.length > SMALL << 4 {
            return Err("a folder of it is too large".to_owned());
        }
        let folder = read(file, here)?;
        let mut found = None;
        for sector in folder.chunks(SECTOR as usize) {
            let mut at = 0;
            while let Some(size) = sector.get(at).map(|size| usize::from(*size)).filter(|size| *size > 0) {
                found = found.or(sector
                    .get(at..at + size)
                    .and_then(record)
                    .filter(|(_, name)| *name == part));
                at += size;
            }
        }
        let Some((extent, _)) = found else { return Ok(None) };
        here = extent;
    }
    Ok(Some(here))
}

/// What a JSON file of the folder `coreos` says. Names of the image are cut to eight letters and three where it keeps to level 1 of
/// the norm, as real ones do.
fn json<T: for<'a> Deserialize<'a>>(file: &File, root: Extent, name: &str) -> Result<Option<T>, String> {
    let path = format!("coreos/{name}.json");
    let extent = match find(file, root, path.trim_end_matches('n'))? {
        Some(extent) => Some(extent),
        None => find(file, root, &path)?,
    };
    let Some(extent) = extent.filter(|extent| extent.length <= SMALL) else {
        return Ok(None);
    };
    let bytes = read(file, extent)?;
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| format!("its {path} cannot be read: {error}"))
}

impl Image {
    /// Finds the areas of an image.
    ///
    /// # Errors
    /// In words that follow the image's path.
    pub(super) fn open(path: &str) -> Result<Image, String> {
        let strange = || "it is no CoreOS live ISO of 2021-09 or later".to_owned();
        let file = File::open(path).map_err(|error| format!("it cannot be opened: {error}"))?;
        let size = file.metadata().map_err(|error| error.to_string())?.len();
        let descriptor = read(
            &file,
            Extent {
                at: DESCRIPTORS * SECTOR,
                length: SECTOR,
            },
        )
        .map_err(|_| strange())?;
        let (root, _) = descriptor
            .get(..6)
            .filter(|head| *head == b"\x01CD001")
            .and_then(|_| record(&descriptor[156..]))
            .ok_or_else(strange)?;
        let sectors = descriptor
            .get(80..84)
            .and_then(|four| four.try_into().ok())
            .map_or(0, u32::from_le_bytes);
        if u64::from(sectors) * SECTOR > size {
            return Err("it is incomplete: it says of itself that it is larger".to_owned());
        }
        let kargs: Kargs = json(&file, root, "kargs")?.ok_or_else(strange)?;
        let ignition: Ignition = json(&file, root, "igninfo")?.unwrap_or_default();
        let features: Features = json(&file, root, "features")?.unwrap_or_default();
        let mut areas = Vec::new();
        for place in &kargs.files {
            let extent = find(&file, root, &place.path)?.ok_or_else(|| format!("it has no {}", place.path))?;
            let inside = kargs.size <= KARGS_LIMIT
                && place
                    .offset
                    .checked_add(kargs.size)
                    .is_some_and(|end| end <= extent.length);
            if !inside {
                return Err(format!("its area for kernel arguments is not in {}", place.path));
            }
            areas.push(Area {
                extent: Extent {
                    at: extent.at + place.offset,
                    length: kargs.size,
                },
                end: place.end.unwrap_or('\n'),
                pad: place.pad.unwrap_or('#'),
            });
        }
        if areas.is_empty() {
            return Err("it has no area for kernel arguments".to_owned());
        }
        let extent = find(&file, root, &ignition.file)?.ok_or_else(|| format!("it has no {}", ignition.file))?;
        let offset = ignition.offset.unwrap_or(0);
        let length = ignition.length.unwrap_or(extent.length.saturating_sub(offset));
        if length > IGNITION_LIMIT || offset.checked_add(length).is_none_or(|end| end > extent.length) {
            return Err(format!(
                "its area for an Ignition configuration is not in {}",
                ignition.file
            ));
        }
        let digest = Sha256::digest(&descriptor)
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>();
        Ok(Image {
            path: path.into(),
            file,
            release: format!("{size} {digest}"),
            kargs: areas,
            ignition: Extent {
                at: extent.at + offset,
                length,
            },
            installer_config: features.installer_config,
        })
    }

    /// Names the release that the image is of: its size, and its volume descriptor with its name and time.
    pub(super) fn release(&self) -> String {
        self.release.clone()
    }

    /// Whether the installer of the live system reads `/etc/coreos/installer.d`.
    pub(super) fn configures_installer(&self) -> bool {
        self.installer_config
    }

    /// The kernel arguments.
    ///
    /// # Errors
    /// Where the boot loaders do not have the same.
    pub(super) fn kargs(&self) -> Result<String, String> {
        let mut all = Vec::new();
        for area in &self.kargs {
            let text =
                String::from_utf8(read(&self.file, area.extent)?).map_err(|_| "its kernel arguments are no text")?;
            all.push(
                text.trim_end_matches(area.pad)
                    .trim_end_matches(area.end)
                    .trim()
                    .to_owned(),
            );
        }
        let first = all.first().cloned().unwrap_or_default();
        match all.iter().all(|text| *text == first) {
            true => Ok(first),
            false => Err("its boot loaders have different kernel arguments".to_owned()),
        }
    }

    /// The live system's Ignition configuration; empty where there is none.
    ///
    /// # Errors
    /// Where it is in a form that only others write.
    pub(super) fn config(&self) -> Result<String, String> {
        let bytes = read(&self.file, self.ignition)?;
        match bytes.iter().all(|byte| *byte == 0) {
            true => Ok(String::new()),
            false => {
                live::unpacked(&bytes).ok_or_else(|| "it holds an Ignition configuration of another program".to_owned())
            }
        }
    }

    /// Whether these would find room.
    ///
    /// # Errors
    /// What does not fit, and by how much.
    pub(super) fn fits(&self, kargs: &str, config: &str) -> Result<(), String> {
        let room = self.kargs.iter().map(|area| area.extent.length).min().unwrap_or(0);
        if kargs.len() as u64 + 1 > room {
            return Err(format!(
                "the kernel arguments take {} bytes, and there is room for {room}",
                kargs.len() + 1
            ));
        }
        let size = live::packed(config).len() as u64;
        match size > self.ignition.length {
            true => Err(format!(
                "the Ignition configuration takes {size} bytes, and there is room for {}; point to it by `ignition_url`",
                self.ignition.length
            )),
            false => Ok(()),
        }
    }

    /// Writes both areas, and has the disk take them.
    ///
    /// # Errors
    /// As [`Image::fits`]; what the file system says.
    pub(super) fn write(&self, kargs: &str, config: &str, mode: u32) -> Result<(), String> {
        self.fits(kargs, config)?;
        let said = |error: std::io::Error| error.to_string();
        let file = OpenOptions::new()
            .write(true)
            .open(Path::new(&self.path))
            .map_err(said)?;
        for area in &self.kargs {
            let mut text = kargs.as_bytes().to_vec();
            text.push(area.end as u8);
            text.resize(area.extent.length as usize, area.pad as u8);
            file.write_all_at(&text, area.extent.at).map_err(said)?;
        }
        let mut bytes = live::packed(config);
        bytes.resize(self.ignition.length as usize, 0);
        file.write_all_at(&bytes, self.ignition.at).map_err(said)?;
        file.set_permissions(Permissions::from_mode(mode)).map_err(said)?;
        file.sync_all().map_err(said)
    }
}
