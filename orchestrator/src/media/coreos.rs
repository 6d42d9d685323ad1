//! A CoreOS live ISO that installs itself: nobody has to type kernel arguments. The copy is made in the file system and two small
//! areas of it are written, so the size of the image does not matter; what tells them from each other are those areas alone.

mod areas;
mod live;

use areas::Image;
use okd_agent::choice;
use okd_agent::diff::{self, Change, Sign};
use okd_agent::params;
use okd_agent::path::{AbsPath, Mode};
use okd_agent::resource::content::{field, need_parent};
use okd_agent::resource::{Resource, ResourceError, Touches, View, acting};
use okd_agent::secret::Secrets;
use okd_agent::system::{Action, Answer, Declared, Effect, FileKind, Probe, Removal, System, SystemError};
use okd_agent::value::{Map, Value, map};
use serde::{Deserialize, Serialize};

choice! {
    /// Whether the image should be there.
    pub enum Presence {
        /// It should.
        Present = "present",
        /// It should not.
        Absent = "absent",
    }
}

params! {
    /// Makes of a CoreOS live ISO (FCOS, SCOS, RHCOS; from 2021-09 on) one that installs itself: to which disk, and with which Ignition
    /// configuration. Done on the control node, for upload from there.
    pub struct CoreosIso {
        /// The live ISO.
        src: Option<AbsPath>,
        /// The image that is made.
        dest: AbsPath,
        /// The disk that it installs to, such as `/dev/sda`.
        dest_device: Option<String>,
        /// Where the installed system fetches its Ignition configuration at its first boot.
        ignition_url: Option<String>,
        /// What that has to be: `sha512-` and 128 hexadecimal digits, or `sha256-` and 64.
        ignition_hash: Option<String>,
        /// The installed system's Ignition configuration itself, a mapping or JSON text. The area for it is small: point to a large one.
        dest_ignition: Option<Value>,
        /// An Ignition configuration of the live system, a mapping or JSON text.
        live_ignition: Option<Value>,
        /// Kernel arguments of the live system, behind those that it has: a list, or text with blanks between.
        live_kargs_append: Option<Value> ["live_karg_append"],
        /// Permission bits of the image.
        mode: Mode = "0644",
        /// Whether it should be there.
        state: Presence = "present",
    }
}

/// What can be seen of an image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    dest: AbsPath,
    /// `None` where there is no image.
    image: Option<Made>,
    /// What it is made from.
    #[serde(skip)]
    base: Option<Base>,
}

/// A customised image, by what differs between images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Made {
    /// Which release, by size and volume descriptor; empty where it is no such image at all.
    release: String,
    kargs: String,
    /// The live system's Ignition configuration; empty where it has none.
    config: String,
    mode: u32,
}

/// The live ISO as it comes.
#[derive(Debug, Clone, PartialEq)]
struct Base {
    release: String,
    kargs: String,
}

impl View for State {
    fn changes(&self, want: &Self) -> Vec<Change> {
        let item = |sign| Change::Item {
            sign,
            text: self.dest.to_string(),
        };
        let (now, after) = match (&self.image, &want.image) {
            (None, None) => return Vec::new(),
            (Some(_), None) => return vec![item(Sign::Removed)],
            (None, Some(after)) => (None, after),
            (Some(now), Some(after)) => (Some(now), after),
        };
        let mut changes = Vec::new();
        match now {
            None => changes.push(item(Sign::Added)),
            Some(now) if now.release != after.release => changes.push(Change::Act(format!("copy {} anew", self.dest))),
            Some(_) => {}
        }
        let (kargs, config) = now.map_or(("", ""), |now| (now.kargs.as_str(), now.config.as_str()));
        changes.extend(field(self.dest.as_str(), "kernel arguments", kargs, &after.kargs));
        let (before, shown) = (live::shown(config), live::shown(&after.config));
        let find = |texts: &[(String, String)], name: &str| {
            texts
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, text)| text.clone().into_bytes())
        };
        let mut names: Vec<&String> = before.iter().chain(&shown).map(|(name, _)| name).collect();
        names.sort();
        names.dedup();
        for name in names {
            let path = format!("{}:{name}", self.dest);
            changes.extend(diff::text(
                &path,
                find(&before, name).as_deref(),
                find(&shown, name).as_deref(),
                "",
            ));
        }
        if let Some(now) = now {
            let mode = |mode: u32| format!("{mode:04o}");
            changes.extend(field(self.dest.as_str(), "mode", &mode(now.mode), &mode(after.mode)));
        }
        changes
    }
}

fn refused(path: &AbsPath, problem: &str) -> ResourceError {
    ResourceError::message(format!("{path}: {problem}"))
}

/// An image that is really there; `None` where there is none. One that a plan only promises is unknown.
fn image(path: &AbsPath, world: &dyn System) -> Result<Option<Result<Image, String>>, ResourceError> {
    match world.read(path, 0) {
        Ok(None) => Ok(None),
        Ok(Some(_)) => Ok(Some(Err("it is empty".to_owned()))),
        Err(SystemError::TooLarge { .. }) => Ok(Some(Image::open(path.as_str()))),
        Err(error) => Err(error.into()),
    }
}

impl CoreosIso {
    fn key(&self) -> String {
        format!("coreos_iso:{}", self.dest)
    }

    /// What a plan has made of the image; the error where something else did.
    fn promised(&self, error: ResourceError, world: &dyn System) -> Result<Option<Made>, ResourceError> {
        let told = world.probe(&Probe::new(self.key(), &["true"]))?.text();
        serde_json::from_str(&told).map_err(|_| error)
    }

    fn made(&self, world: &dyn System) -> Result<Option<Made>, ResourceError> {
        let found = match image(&self.dest, world) {
            Err(ResourceError::System(error)) if matches!(*error, SystemError::Unknown(_)) => {
                return self.promised(error.into(), world);
            }
            found => found?,
        };
        let Some(found) = found else { return Ok(None) };
        let mode = world.stat(&self.dest)?.map_or(0, |meta| meta.mode);
        let nothing = Made {
            release: String::new(),
            kargs: String::new(),
            config: String::new(),
            mode,
        };
        let Ok(image) = found else { return Ok(Some(nothing)) };
        // What another program put there shows as nothing, and is replaced.
        let config = image.config().unwrap_or_default();
        let (release, kargs) = (image.release(), image.kargs().unwrap_or_default());
        Ok(Some(Made {
            release,
            kargs,
            config,
            mode,
        }))
    }

    fn base(&self, world: &dyn System) -> Result<Option<Base>, ResourceError> {
        let (Some(src), Presence::Present) = (&self.src, self.state) else {
            return Ok(None);
        };
        let image = image(src, world)?.ok_or_else(|| refused(src, "there is no such live ISO"))?;
        let image = image.map_err(|problem| refused(src, &problem))?;
        if self.dest_device.is_some() && !image.configures_installer() {
            return Err(refused(
                src,
                "this release does not read the installer's configuration; give `coreos.inst.…` by `live_kargs_append`",
            ));
        }
        let kargs = image.kargs().map_err(|problem| refused(src, &problem))?;
        let wanted = self.kargs(&kargs);
        image
            .fits(&wanted, &self.config())
            .map_err(|problem| refused(src, &problem))?;
        Ok(Some(Base {
            release: image.release(),
            kargs,
        }))
    }

    fn appended(&self) -> Vec<String> {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        match &self.live_kargs_append {
            Some(Value::Str(text)) => words(text),
            Some(Value::List(list)) => list.iter().map(Value::to_string).collect(),
            _ => Vec::new(),
        }
    }

    fn kargs(&self, base: &str) -> String {
        let all: Vec<String> = std::iter::once(base.to_owned()).chain(self.appended()).collect();
        all.join(" ")
    }

    /// The live system's Ignition configuration; empty where none is needed.
    fn config(&self) -> String {
        let pointer = self
            .ignition_url
            .as_ref()
            .map(|url| live::pointer(url, self.ignition_hash.as_deref()));
        let dest = self.dest_ignition.as_ref().map(live::text).or(pointer);
        live::config(
            self.dest_device.as_deref(),
            dest.as_deref(),
            self.live_ignition.as_ref().map(live::text).as_deref(),
        )
    }

    /// Copies the image beside the place where it goes, in the file system where that can be done, and puts it there once its areas are
    /// written.
    fn make(&self, want: &Made, world: &dyn System) -> Result<(), ResourceError> {
        let Some(src) = &self.src else {
            return Err(ResourceError::message("it needs `src`"));
        };
        let parent = self.dest.parent().unwrap_or_else(|| self.dest.clone());
        let fresh = parent.join(&format!(".{}.okd-play", self.dest.name()));
        let created = Declared {
            creates: vec![fresh.clone()],
            ..Declared::default()
        };
        let copy = ["cp", "--reflink=auto", "--", src.as_str(), fresh.as_str()];
        let copied = acting::run(world, &Action::new(&copy, Effect::Declared(created)))?;
        if !copied.predicted {
            let written =
                Image::open(fresh.as_str()).and_then(|image| image.write(&want.kargs, &want.config, want.mode));
            if let Err(problem) = written {
                world.remove(&fresh, Removal::File)?;
                return Err(refused(&self.dest, &problem));
            }
        }
        let told = serde_json::to_string(&Some(want)).map_err(|error| refused(&self.dest, &error.to_string()))?;
        let moved = Declared {
            creates: vec![self.dest.clone()],
            removes: vec![fresh.clone()],
            predicts: vec![(self.key(), Answer::ok(told))],
            ..Declared::default()
        };
        let rename = ["mv", "-f", "-T", "--", fresh.as_str(), self.dest.as_str()];
        acting::run(world, &Action::new(&rename, Effect::Declared(moved)))?;
        Ok(())
    }
}

fn hash_problem(hash: &str) -> Option<String> {
    let digits = |rest: &str, length| rest.len() == length && rest.bytes().all(|byte| byte.is_ascii_hexdigit());
    let fits = match hash.split_once('-') {
        Some(("sha512", rest)) => digits(rest, 128),
        Some(("sha256", rest)) => digits(rest, 64),
        _ => false,
    };
    (!fits).then(|| "`ignition_hash` is `sha512-` and 128 hexadecimal digits, or `sha256-` and 64".to_owned())
}

impl Resource for CoreosIso {
    const NAMES: &'static [&'static str] = &["coreos_iso", "okd.coreos_iso"];
    const EXAMPLE: &'static str = "- name: The masters' boot medium\n  coreos_iso:\n    src: /root/okd/scos-10.0.20250701-live.iso\n    dest: /root/okd/master-1.iso\n    dest_device: /dev/sda\n    ignition_url: http://10.0.0.1:8080/okd4/master.ign\n    ignition_hash: \"sha512-{{ install.ignition.master.sha512 }}\"\n";
    const PREDICTS: &'static str = "everything, unless the live ISO is still to be fetched";
    const TOUCHES: Touches = Touches::Paths(&["dest"]);
    type World = dyn System;
    type State = State;

    fn check(&self) -> Result<(), Vec<String>> {
        let mut wrong = Vec::new();
        if self.state == Presence::Present && self.src.is_none() {
            wrong.push("it needs `src`, the live ISO".to_owned());
        }
        if self.src.as_ref() == Some(&self.dest) {
            wrong.push("`dest` is another file than `src`".to_owned());
        }
        if self.ignition_url.is_some() && self.dest_ignition.is_some() {
            wrong.push("`ignition_url` and `dest_ignition` exclude each other".to_owned());
        }
        if self.dest_device.is_none() && (self.ignition_url.is_some() || self.dest_ignition.is_some()) {
            wrong.push("an Ignition configuration for the installed system needs `dest_device`: without it nothing is installed".to_owned());
        }
        match (&self.ignition_url, &self.ignition_hash) {
            (Some(url), None) if !url.starts_with("https://") => {
                wrong.push(
                    "`ignition_url` needs `ignition_hash`: nothing else tells whose configuration it is".to_owned(),
                );
            }
            (None, Some(_)) => wrong.push("`ignition_hash` needs `ignition_url`".to_owned()),
            (_, Some(hash)) => wrong.extend(hash_problem(hash)),
            _ => {}
        }
        for (name, value) in [
            ("dest_ignition", &self.dest_ignition),
            ("live_ignition", &self.live_ignition),
        ] {
            let Some(value) = value else { continue };
            let version = serde_json::from_str::<serde_json::Value>(&live::text(value)).ok();
            let version = version.and_then(|config| config["ignition"]["version"].as_str().map(str::to_owned));
            if !version.is_some_and(|version| version.starts_with("3.")) {
                wrong.push(format!(
                    "`{name}` is an Ignition configuration with `ignition: {{version: 3.…}}`"
                ));
            }
        }
        if self
            .appended()
            .iter()
            .any(|word| word.contains(char::is_whitespace) || word.is_empty())
        {
            wrong.push("`live_kargs_append`: an argument has no blanks".to_owned());
        }
        if Secrets::marked(&self.config()) || Secrets::marked(&self.kargs("")) {
            wrong.push("secrets of a vault cannot be put into the image; give a hash of the password".to_owned());
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    fn inspect(&self, world: &Self::World) -> Result<State, ResourceError> {
        if let Some(meta) = world.stat(&self.dest)?.filter(|meta| meta.kind == FileKind::Directory) {
            return Err(SystemError::wrong_kind(&self.dest, "an image", meta.kind).into());
        }
        Ok(State {
            dest: self.dest.clone(),
            base: self.base(world)?,
            image: self.made(world)?,
        })
    }

    fn desire(&self, now: &State) -> Result<State, ResourceError> {
        let image = now.base.as_ref().map(|base| Made {
            release: base.release.clone(),
            kargs: self.kargs(&base.kargs),
            config: self.config(),
            mode: self.mode.apply(0o644, false),
        });
        Ok(State { image, ..now.clone() })
    }

    fn apply(&self, _now: &State, want: &State, world: &Self::World) -> Result<Map, ResourceError> {
        match &want.image {
            None => world.remove(&self.dest, Removal::File)?,
            Some(image) => {
                need_parent(&self.dest, world)?;
                self.make(image, world)?;
            }
        }
        Ok(Map::new())
    }

    fn result(&self, state: &State) -> Map {
        let mut result = map([("dest", self.dest.as_str().into())]);
        result.extend(
            state
                .image
                .iter()
                .map(|image| ("kargs".to_owned(), image.kargs.as_str().into())),
        );
        result
    }
}
