//! What keeps a package from going: other packages that need it, as dpkg and rpm say it.

use super::list::Package;
use super::{asked, words};
use crate::resource::ResourceError;
use crate::resource::acting::failed;
use crate::resource::dnf;
use crate::resource::packages::Manager;
use crate::system::System;
use std::collections::BTreeSet;

/// Something that keeps a package from going.
pub(super) struct Block {
    pub(super) target: String,
    pub(super) words: String,
}

/// What keeps packages from going, as the tools themselves say it; what changes with them is none of that.
pub(super) fn blocks(
    manager: Manager,
    goes: &[Package],
    changing: &BTreeSet<&str>,
    world: &dyn System,
) -> Result<Vec<Block>, ResourceError> {
    let mut argv = match manager {
        Manager::Apt => words(&["dpkg", "--no-act", "--abort-after=100000", "--remove"]),
        Manager::Dnf => words(&["rpm", "-e", "--test"]),
    };
    argv.extend(goes.iter().map(|package| package.exact.clone()));
    let probe = asked("packages:goes", argv);
    let answer = world.probe(&probe)?;
    if answer.success() {
        return Ok(Vec::new());
    }
    let (read, mut blocks) = match manager {
        Manager::Apt => dpkg_blocks(&answer.error_text(), changing),
        Manager::Dnf => rpm_blocks(&answer.error_text(), goes, changing, world)?,
    };
    blocks.retain(|block| goes.iter().any(|package| package.exact == block.target));
    // What cannot be read keeps all of them.
    if !read {
        let words = failed(&probe.argv, &answer).to_string();
        blocks = goes
            .iter()
            .map(|package| Block {
                target: package.exact.clone(),
                words: words.clone(),
            })
            .collect();
    }
    Ok(blocks)
}

/// Whether all of it could be read, and what dpkg says.
pub(super) fn dpkg_blocks(text: &str, changing: &BTreeSet<&str>) -> (bool, Vec<Block>) {
    let (mut read, mut blocks, mut target, mut processed) = (false, Vec::new(), String::new(), String::new());
    for line in text.lines() {
        let word = |text: &str| text.split([' ', '\n']).next().unwrap_or_default().to_owned();
        if let Some((_, of)) = line.split_once("prevent removal of ") {
            target = word(of).trim_end_matches(':').to_owned();
        } else if let Some((_, of)) = line.split_once("error processing package ") {
            processed = word(of);
        } else if let Some((who, _)) = line.strip_prefix(' ').and_then(|line| line.split_once("depends on ")) {
            read = true;
            let who = who.trim_end_matches("pre-").trim();
            if !changing.contains(who) {
                let words = line
                    .trim()
                    .trim_end_matches("; however:")
                    .trim_end_matches('.')
                    .to_owned();
                blocks.push(Block {
                    target: target.clone(),
                    words,
                });
            }
        } else if !processed.is_empty() {
            let words = line.trim().to_owned();
            if !words.starts_with("dependency problems") {
                read = true;
                blocks.push(Block {
                    target: std::mem::take(&mut processed),
                    words,
                });
            }
            processed.clear();
        }
    }
    (read, blocks)
}

/// Whether all of it could be read, and what rpm says: `bind is needed by (installed) bind-utils-9.16-1.x86_64`.
fn rpm_blocks(
    text: &str,
    goes: &[Package],
    changing: &BTreeSet<&str>,
    world: &dyn System,
) -> Result<(bool, Vec<Block>), ResourceError> {
    let Some((_, lines)) = text.split_once("error: Failed dependencies:\n") else {
        return Ok((false, Vec::new()));
    };
    let mut blocks = Vec::new();
    for line in lines.lines().map(str::trim) {
        let Some((what, who)) = line.split_once(" is needed by (installed) ") else {
            return Ok((false, Vec::new()));
        };
        // rpm says its epoch, where it has one.
        let who = match who.split_once(':') {
            Some((left, right)) => format!("{}-{right}", left.rsplit_once('-').map_or(left, |(name, _)| name)),
            None => who.to_owned(),
        };
        if changing.contains(who.as_str()) {
            continue;
        }
        let what = [" >= ", " <= ", " = ", " > ", " < "]
            .iter()
            .fold(what, |what, mark| what.split(mark).next().unwrap_or(what));
        let argv = words(&["rpm", "-q", "--whatprovides", "--qf", dnf::FORMAT, what]);
        let answer = world.probe(&asked(&format!("provides:{what}"), argv))?.text();
        let providers: Vec<Package> = answer
            .lines()
            .filter_map(|line| Package::parse(Manager::Dnf, line))
            .collect();
        let provides = |package: &&Package| providers.iter().any(|other| other.line == package.line);
        // What nobody can be found to provide may be of any of them.
        let unclear = !goes.iter().any(|package| provides(&package));
        blocks.extend(
            goes.iter()
                .filter(|package| unclear || provides(package))
                .map(|package| Block {
                    target: package.exact.clone(),
                    words: line.to_owned(),
                }),
        );
    }
    Ok((true, blocks))
}
