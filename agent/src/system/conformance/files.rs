//! Files, folders and links.

use super::{Findings, io, wrong_kind};
use crate::path::AbsPath;
use crate::system::{Alter, Entry, FileKind, FileWrite, Make, Meta, Removal, System, SystemError};

/// Names that a careless shell, pattern or parser would trip over.
const ODD: &[&str] = &[
    "a b",
    " leading",
    "trailing ",
    "quote'\"s",
    "new\nline",
    "tab\there",
    "ünï-日本",
    "-dash",
    "--",
    "$(touch x)",
    "`x`",
    "back\\slash",
    "*",
    "?",
    "[a]",
    "~",
    "{a,b}",
    "a;b",
    "a|b",
    "%s",
    "#hash",
    "!",
    "{stage}",
    "…",
];

pub(super) struct Files<'a> {
    pub(super) world: &'a dyn System,
    pub(super) folder: &'a AbsPath,
    pub(super) found: Findings,
}

pub(super) type Verb = Result<(), SystemError>;

/// Checks the verbs on files in an empty folder, which has to be writable. `sh` has to be there, or be a checker that
/// refuses what holds `bad`.
#[must_use]
pub fn files(world: &dyn System, folder: &AbsPath) -> Vec<String> {
    let mut files = Files {
        world,
        folder,
        found: Findings::default(),
    };
    let ends = [
        ("what is missing", files.missing()),
        ("content", files.content()),
        ("odd names", files.odd_names()),
        ("attributes of what is written", files.written()),
        ("attributes that are changed", files.altered()),
        ("owners", files.owners()),
        ("checkers", files.checkers()),
        ("folders", files.folders()),
        ("symbolic links", files.links()),
        ("hard links", files.hard_links()),
        ("removal", files.removal()),
    ];
    for (name, end) in ends {
        files.found.went(name, end);
    }
    files.found.sentences
}

impl Files<'_> {
    pub(super) fn at(&self, name: &str) -> AbsPath {
        self.folder.join(name)
    }

    pub(super) fn put(&self, path: &AbsPath, bytes: &[u8]) -> Verb {
        self.world.write(&FileWrite::new(path.clone(), bytes.to_vec()))
    }

    pub(super) fn dir(&self, path: &AbsPath) -> Verb {
        self.world.make(path, &Make::Directory { mode: 0o755 })
    }

    pub(super) fn link(&self, path: &AbsPath, target: &str) -> Verb {
        self.world.make(
            path,
            &Make::Link {
                target: target.to_owned(),
            },
        )
    }

    pub(super) fn text(&self, path: &AbsPath) -> Result<Option<String>, SystemError> {
        let bytes = self.world.read(path, 1 << 20)?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    pub(super) fn meta(&self, path: &AbsPath) -> Result<Meta, SystemError> {
        self.world.stat(path)?.ok_or_else(|| SystemError::missing("stat", path))
    }

    pub(super) fn mode(&self, path: &AbsPath) -> Result<u32, SystemError> {
        Ok(self.meta(path)?.mode)
    }

    fn missing(&mut self) -> Verb {
        let gone = self.at("gone");
        self.found.equal("stat of nothing", self.world.stat(&gone)?, None);
        self.found.equal("read of nothing", self.world.read(&gone, 10)?, None);
        self.found.equal("list of nothing", self.world.list(&gone)?, Vec::new());
        self.world.remove(&gone, Removal::File)?;
        self.world.remove(&gone, Removal::Tree)?;
        self.found.refused(
            "alter of nothing",
            self.world.alter(
                &gone,
                &Alter {
                    mode: Some(0o600),
                    ..Alter::default()
                },
            ),
            io,
        );
        let deep = gone.join("deep");
        self.found.equal("stat below nothing", self.world.stat(&deep)?, None);
        self.found.refused("write below nothing", self.put(&deep, b"x"), io);
        self.found.refused("folder below nothing", self.dir(&deep), io);
        self.found.refused("link below nothing", self.link(&deep, "x"), io);
        let file = self.at("a-file");
        self.put(&file, b"x")?;
        let through = file.join("x");
        self.found
            .equal("stat through a file", self.world.stat(&through)?, None);
        self.found
            .equal("read through a file", self.world.read(&through, 10)?, None);
        self.found.equal("list of a file", self.world.list(&file)?, Vec::new());
        self.found.refused("write through a file", self.put(&through, b"x"), io);
        self.found.refused("folder through a file", self.dir(&through), io);
        self.world.remove(&through, Removal::File)?;
        self.world.remove(&file, Removal::File)?;
        self.found.equal("what was removed", self.world.stat(&file)?, None);
        Ok(())
    }

    fn content(&mut self) -> Verb {
        let path = self.at("content");
        let big: Vec<u8> = (0..3 << 20)
            .map(|index: u32| (index.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        let every: Vec<u8> = (0..=255).collect();
        for bytes in [
            &b""[..],
            b"\n",
            b"no line end",
            b"two\n\n\n",
            b"dos\r\n",
            b"\0\0",
            &every,
            &big,
            b"small again\n",
        ] {
            self.put(&path, bytes)?;
            let what = format!("content of {} bytes", bytes.len());
            self.found
                .holds(&what, self.world.read(&path, 4 << 20)?.as_deref() == Some(bytes));
            self.found
                .equal(&format!("size of {what}"), self.meta(&path)?.size, bytes.len() as u64);
        }
        self.put(&path, b"12345")?;
        self.found.equal(
            "a read of exactly the limit",
            self.world.read(&path, 5)?,
            Some(b"12345".to_vec()),
        );
        let large = |error: &SystemError| matches!(error, SystemError::TooLarge { size: 5, limit: 4, .. });
        self.found
            .refused("a read above the limit", self.world.read(&path, 4), large);
        self.found
            .refused("a read of a folder", self.world.read(self.folder, 10), wrong_kind);
        self.world.remove(&path, Removal::File)
    }

    fn odd_names(&mut self) -> Verb {
        let folder = self.at("odd 'names'");
        self.dir(&folder)?;
        for name in ODD {
            let path = folder.join(name);
            self.put(&path, name.as_bytes())?;
            self.world.alter(
                &path,
                &Alter {
                    mode: Some(0o640),
                    ..Alter::default()
                },
            )?;
            self.found.equal(
                &format!("the file {name:?}"),
                self.text(&path)?,
                Some((*name).to_owned()),
            );
            self.found.equal(&format!("mode of {name:?}"), self.mode(&path)?, 0o640);
        }
        let mut names: Vec<&str> = ODD.to_vec();
        names.sort_unstable();
        let file = |name: &&str| Entry {
            name: (*name).to_owned(),
            kind: FileKind::File,
        };
        self.found.equal(
            "a list of odd names",
            self.world.list(&folder)?,
            names.iter().map(file).collect(),
        );
        for name in ODD {
            let (path, link) = (folder.join(name), folder.join("link"));
            self.link(&link, name)?;
            self.found.equal(
                &format!("a link to {name:?}"),
                self.meta(&link)?.target,
                Some((*name).to_owned()),
            );
            self.world.remove(&path, Removal::File)?;
            self.found
                .equal(&format!("{name:?} after its removal"), self.world.stat(&path)?, None);
        }
        self.world.remove(&folder, Removal::Tree)?;
        self.found
            .equal("the folder of odd names", self.world.stat(&folder)?, None);
        Ok(())
    }

    fn written(&mut self) -> Verb {
        let path = self.at("written");
        self.put(&path, b"x")?;
        let meta = self.meta(&path)?;
        self.found.equal(
            "kind and mode of a new file",
            (meta.kind, meta.mode),
            (FileKind::File, 0o644),
        );
        self.found.equal("target of a file", meta.target, None);
        self.world.alter(
            &path,
            &Alter {
                mode: Some(0o600),
                ..Alter::default()
            },
        )?;
        self.put(&path, b"y")?;
        self.found.equal("mode after another write", self.mode(&path)?, 0o600);
        for mode in [0o400, 0o755, 0o4755, 0o2750, 0o000, 0o644] {
            self.world.write(&FileWrite {
                mode: Some(mode),
                ..FileWrite::new(path.clone(), b"z".to_vec())
            })?;
            self.found
                .equal(&format!("a file written with mode {mode:o}"), self.mode(&path)?, mode);
        }
        let named = |owner: &str| FileWrite {
            owner: Some(owner.to_owned()),
            ..FileWrite::new(path.clone(), Vec::new())
        };
        let nobody = |error: &SystemError| matches!(error, SystemError::NoSuchId { kind, .. } if kind == "user");
        self.found.refused(
            "an owner that does not exist",
            self.world.write(&named("okd-no-such")),
            nobody,
        );
        let grouped = FileWrite {
            group: Some("okd-no-such".to_owned()),
            ..FileWrite::new(path.clone(), Vec::new())
        };
        let no_group = |error: &SystemError| matches!(error, SystemError::NoSuchId { kind, .. } if kind == "group");
        self.found
            .refused("a group that does not exist", self.world.write(&grouped), no_group);
        self.found
            .equal("the file after that", self.text(&path)?, Some("z".to_owned()));
        self.found
            .refused("a write onto a folder", self.put(self.folder, b"x"), wrong_kind);
        self.world.remove(&path, Removal::File)
    }

    fn altered(&mut self) -> Verb {
        let path = self.at("altered");
        self.put(&path, b"x")?;
        for mode in [0o600, 0o4711, 0o1777, 0o644] {
            self.world.alter(
                &path,
                &Alter {
                    mode: Some(mode),
                    ..Alter::default()
                },
            )?;
            self.found.equal(&format!("mode {mode:o}"), self.mode(&path)?, mode);
        }
        self.world.alter(
            &path,
            &Alter {
                mtime: Some(1_000_000_000),
                ..Alter::default()
            },
        )?;
        self.found
            .equal("a time that was set", self.meta(&path)?.mtime, 1_000_000_000);
        self.found
            .equal("the content after that", self.text(&path)?, Some("x".to_owned()));
        let nobody = Alter {
            owner: Some("okd-no-such".to_owned()),
            ..Alter::default()
        };
        let missing = |error: &SystemError| matches!(error, SystemError::NoSuchId { .. });
        self.found.refused(
            "an owner that does not exist",
            self.world.alter(&path, &nobody),
            missing,
        );
        self.world.remove(&path, Removal::File)
    }

    fn owners(&mut self) -> Verb {
        let path = self.at("owned");
        self.put(&path, b"x")?;
        if self.meta(&path)?.uid != 0 {
            return self.world.remove(&path, Removal::File);
        }
        let seen = |meta: Meta| (meta.uid, meta.gid, meta.owner, meta.group, meta.mode);
        let is =
            |uid: u32, gid: u32, owner: &str, group: &str, mode| (uid, gid, owner.to_owned(), group.to_owned(), mode);
        let give = |owner: &str, group: &str| Alter {
            owner: Some(owner.to_owned()),
            group: Some(group.to_owned()),
            ..Alter::default()
        };
        self.world.alter(
            &path,
            &Alter {
                mode: Some(0o4755),
                ..Alter::default()
            },
        )?;
        self.world.alter(&path, &give("54321", "54322"))?;
        self.found.equal(
            "owners by number",
            seen(self.meta(&path)?),
            is(54321, 54322, "54321", "54322", 0o4755),
        );
        self.put(&path, b"y")?;
        self.found.equal(
            "owners after a write",
            seen(self.meta(&path)?),
            is(54321, 54322, "54321", "54322", 0o4755),
        );
        let file = FileWrite {
            owner: Some("root".to_owned()),
            ..FileWrite::new(path.clone(), b"z".to_vec())
        };
        self.world.write(&file)?;
        self.found.equal(
            "a written owner",
            seen(self.meta(&path)?),
            is(0, 54322, "root", "54322", 0o4755),
        );
        self.world.alter(&path, &give("0", "root"))?;
        self.found.equal(
            "owners that have names",
            seen(self.meta(&path)?),
            is(0, 0, "root", "root", 0o4755),
        );
        let shared = self.at("shared");
        self.world.make(&shared, &Make::Directory { mode: 0o2775 })?;
        self.world.alter(
            &shared,
            &Alter {
                group: Some("54322".to_owned()),
                ..Alter::default()
            },
        )?;
        self.put(&shared.join("x"), b"x")?;
        let group = (self.mode(&shared)?, self.meta(&shared.join("x"))?.gid);
        self.found
            .equal("the group of a file in a set-group-ID folder", group, (0o2775, 54322));
        self.link(&shared.join("link"), "x")?;
        self.world.alter(&shared.join("link"), &give("54321", "54322"))?;
        let (link, file) = (self.meta(&shared.join("link"))?.uid, self.meta(&shared.join("x"))?.uid);
        self.found
            .equal("the owner of a link and of its target", (link, file), (54321, 0));
        self.world.remove(&shared, Removal::Tree)?;
        self.world.remove(&path, Removal::File)
    }

    fn checkers(&mut self) -> Verb {
        let path = self.at("checked file");
        let argv = ["sh", "-c", "! grep -q bad \"$1\"", "sh", "%s"]
            .map(str::to_owned)
            .to_vec();
        let write = |text: &str| FileWrite {
            validate: Some(argv.clone()),
            ..FileWrite::new(path.clone(), text.as_bytes().to_vec())
        };
        let refused = |error: &SystemError| matches!(error, SystemError::Refused { answer, .. } if answer.rc == 1);
        self.found.refused(
            "a new file that the checker refuses",
            self.world.write(&write("bad\n")),
            refused,
        );
        self.found
            .equal("the file that was refused", self.world.stat(&path)?, None);
        self.world.write(&write("good\n"))?;
        self.found.refused(
            "a file that the checker refuses",
            self.world.write(&write("bad\n")),
            refused,
        );
        self.found.equal(
            "the old file after a refusal",
            self.text(&path)?,
            Some("good\n".to_owned()),
        );
        let no_checker = FileWrite {
            validate: Some(vec!["okd-no-such-checker".to_owned(), "%s".to_owned()]),
            ..FileWrite::new(path.clone(), Vec::new())
        };
        let missing = |error: &SystemError| matches!(error, SystemError::Refused { answer, .. } if answer.rc == 127);
        self.found
            .refused("a checker that is not there", self.world.write(&no_checker), missing);
        let left: Vec<String> = self
            .world
            .list(self.folder)?
            .into_iter()
            .map(|entry| entry.name)
            .collect();
        self.found
            .equal("what is left after refusals", left, vec!["checked file".to_owned()]);
        self.world.remove(&path, Removal::File)
    }
}
