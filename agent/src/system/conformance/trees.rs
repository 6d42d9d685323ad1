//! Folders, links, and what goes when they go.

use super::files::{Files, Verb};
use super::{io, wrong_kind};
use crate::path::AbsPath;
use crate::system::{Alter, Entry, FileKind, FileWrite, Make, Removal, SystemError};

impl Files<'_> {
    pub(super) fn folders(&mut self) -> Verb {
        let folder = self.at("folder");
        self.world.make(&folder, &Make::Directory { mode: 0o1750 })?;
        let meta = self.meta(&folder)?;
        self.found.equal(
            "kind and mode of a folder",
            (meta.kind, meta.mode),
            (FileKind::Directory, 0o1750),
        );
        self.found.refused("a folder that is there", self.dir(&folder), io);
        self.found.equal("its mode after that", self.mode(&folder)?, 0o1750);
        self.found
            .equal("an empty folder", self.world.list(&folder)?, Vec::new());
        self.dir(&folder.join("sub"))?;
        self.put(&folder.join("b"), b"")?;
        self.put(&folder.join(".a"), b"")?;
        self.link(&folder.join("c"), "b")?;
        let entry = |name: &str, kind| Entry {
            name: name.to_owned(),
            kind,
        };
        let expected = vec![
            entry(".a", FileKind::File),
            entry("b", FileKind::File),
            entry("c", FileKind::Link),
            entry("sub", FileKind::Directory),
        ];
        self.found.equal("a list", self.world.list(&folder)?, expected);
        self.found.refused(
            "a folder removed as a file",
            self.world.remove(&folder, Removal::File),
            wrong_kind,
        );
        self.found
            .refused("a folder onto a file", self.dir(&folder.join("b")), io);
        self.world.remove(&folder, Removal::Tree)?;
        self.dir(&folder)?;
        self.found
            .equal("a folder made again", self.world.list(&folder)?, Vec::new());
        self.world.remove(&folder, Removal::Tree)
    }

    pub(super) fn links(&mut self) -> Verb {
        let (file, link) = (self.at("file"), self.at("link"));
        self.put(&file, b"1")?;
        self.link(&link, file.as_str())?;
        let meta = self.meta(&link)?;
        self.found.equal(
            "a link",
            (meta.kind, meta.target),
            (FileKind::Link, Some(file.to_string())),
        );
        self.found
            .equal("a read through a link", self.text(&link)?, Some("1".to_owned()));
        self.put(&link, b"2")?;
        self.found.equal(
            "a link after a write through it",
            self.meta(&link)?.kind,
            FileKind::Link,
        );
        self.found
            .equal("its target after that", self.text(&file)?, Some("2".to_owned()));
        self.link(&link, "made-through-link")?;
        self.found
            .equal("a read through a link to nothing", self.text(&link)?, None);
        self.put(&link, b"3")?;
        self.found.equal(
            "what a link to nothing made",
            self.text(&self.at("made-through-link"))?,
            Some("3".to_owned()),
        );
        self.world.write(&FileWrite {
            replaces_link: true,
            ..FileWrite::new(link.clone(), b"4".to_vec())
        })?;
        let meta = self.meta(&link)?;
        self.found.equal(
            "a file in the place of a link",
            (meta.kind, meta.mode, self.text(&link)?),
            (FileKind::File, 0o644, Some("4".to_owned())),
        );
        self.found.equal(
            "where that link led",
            self.text(&self.at("made-through-link"))?,
            Some("3".to_owned()),
        );
        self.link(&link, "file")?;
        let meta = self.meta(&link)?;
        self.found
            .equal("a link in the place of a file", meta.kind, FileKind::Link);
        self.link(&link, "link")?;
        self.dir(&self.at("folder"))?;
        self.found
            .refused("a link onto a folder", self.link(&self.at("folder"), "x"), io);
        self.found
            .refused("a write through a circle", self.put(&link, b"x"), io);
        let (folder, way) = (self.at("real"), self.at("way"));
        self.dir(&folder)?;
        self.link(&way, "real")?;
        self.put(&way.join("x"), b"4")?;
        self.found.equal(
            "what was written by way of a link",
            self.text(&folder.join("x"))?,
            Some("4".to_owned()),
        );
        self.found
            .equal("a list by way of a link", self.world.list(&way)?.len(), 1);
        self.world.remove(&way.join("x"), Removal::File)?;
        self.found.equal(
            "what was removed by way of a link",
            self.world.stat(&folder.join("x"))?,
            None,
        );
        self.put(&folder.join("kept"), b"5")?;
        self.world.remove(&way, Removal::Tree)?;
        self.found.equal(
            "a folder after the removal of a link to it",
            self.text(&folder.join("kept"))?,
            Some("5".to_owned()),
        );
        for name in ["file", "folder", "link", "made-through-link", "real"] {
            self.world.remove(&self.at(name), Removal::Tree)?;
        }
        Ok(())
    }

    pub(super) fn hard_links(&mut self) -> Verb {
        let (one, two) = (self.at("one"), self.at("two"));
        self.put(&one, b"1")?;
        self.world.make(&two, &Make::Hard { source: one.clone() })?;
        self.found
            .equal("two names of one file", self.meta(&one)?.id, self.meta(&two)?.id);
        self.world.alter(
            &one,
            &Alter {
                mode: Some(0o600),
                ..Alter::default()
            },
        )?;
        self.found.equal("mode of the second name", self.mode(&two)?, 0o600);
        self.put(&one, b"2")?;
        let texts = (self.text(&one)?, self.text(&two)?);
        self.found.equal(
            "both after a write",
            texts,
            (Some("2".to_owned()), Some("1".to_owned())),
        );
        self.found
            .holds("a write makes another file", self.meta(&one)?.id != self.meta(&two)?.id);
        self.found.refused(
            "a name that is taken",
            self.world.make(&two, &Make::Hard { source: one.clone() }),
            io,
        );
        let of_nothing = self.world.make(
            &self.at("three"),
            &Make::Hard {
                source: self.at("gone"),
            },
        );
        self.found.refused("a name for nothing", of_nothing, io);
        let of_folder = self.world.make(
            &self.at("three"),
            &Make::Hard {
                source: self.folder.clone(),
            },
        );
        self.found.refused("a further name for a folder", of_folder, wrong_kind);
        self.world.remove(&one, Removal::File)?;
        self.found
            .equal("the second name alone", self.text(&two)?, Some("1".to_owned()));
        self.world.remove(&two, Removal::File)
    }

    pub(super) fn removal(&mut self) -> Verb {
        let (tree, outside) = (self.at("tree"), self.at("outside"));
        self.dir(&outside)?;
        self.put(&outside.join("kept"), b"kept")?;
        self.dir(&tree)?;
        self.dir(&tree.join("a"))?;
        self.world.make(&tree.join("a/b"), &Make::Directory { mode: 0o700 })?;
        self.put(&tree.join("a/b/c"), b"c")?;
        self.link(&tree.join("a/out"), outside.as_str())?;
        self.world.remove(&tree, Removal::Tree)?;
        self.found.equal("a tree", self.world.stat(&tree)?, None);
        self.found
            .equal("what was in it", self.world.stat(&tree.join("a/b/c"))?, None);
        self.found.equal(
            "what a link in it led to",
            self.text(&outside.join("kept"))?,
            Some("kept".to_owned()),
        );
        for system in ["/", "/usr", "/etc", "/var/lib"] {
            if let Ok(path) = AbsPath::new(system) {
                self.found.refused(system, self.refuse_removal(&path), io);
            }
        }
        self.world.remove(&outside, Removal::Tree)?;
        self.found
            .equal("what is left at the end", self.world.list(self.folder)?, Vec::new());
        Ok(())
    }

    /// Never tries where a world does not know the folder: it may not be a machine that can lose it.
    fn refuse_removal(&self, path: &AbsPath) -> Verb {
        match self.world.stat(path)? {
            Some(_) => self.world.remove(path, Removal::File),
            None => Err(SystemError::missing("remove", path)),
        }
    }
}
