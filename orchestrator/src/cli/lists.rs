//! `--list-hosts`, `--list-tasks`, `--list-tags`, `--syntax-check`: what there is, with nothing contacted.

use super::args::RunArgs;
use crate::site::{Site, SitePlay};
use std::collections::BTreeSet;
use std::fmt::Write;

/// The list that was asked for, where one was.
pub(super) fn asked(site: &Site, args: &RunArgs) -> Option<String> {
    if !(args.list_hosts || args.list_tasks || args.list_tags || args.syntax_check) {
        return None;
    }
    let mut text = format!("playbook: {}\n", args.playbook.display());
    if !(args.list_hosts || args.list_tasks || args.list_tags) {
        let steps: usize = site.plays.iter().map(|play| shown(play).count()).sum();
        let _ = writeln!(text, "  {} plays, {steps} tasks: no mistakes found", site.plays.len());
        return Some(text);
    }
    for play in &site.plays {
        let tags = &play.play.keywords.tags;
        let _ = writeln!(
            text,
            "\n  play #{} ({}){}",
            play.index + 1,
            play.play.name,
            tagged(tags)
        );
        if args.list_hosts {
            let _ = writeln!(text, "    hosts ({}):", play.hosts().count());
            play.hosts().for_each(|host| text.push_str(&format!("      {host}\n")));
        }
        if args.list_tasks {
            text.push_str("    tasks:\n");
            for step in shown(play) {
                let place = site.loading.loader.sources.place(step.task.span);
                let _ = writeln!(text, "      {}{}   {place}", step.label(), tagged(&step.keywords.tags));
            }
        }
        if args.list_tags {
            let all: BTreeSet<String> = shown(play).flat_map(|step| step.keywords.tags.clone()).collect();
            let all: Vec<&str> = all.iter().map(String::as_str).collect();
            let _ = writeln!(text, "    tags: [{}]", all.join(", "));
        }
    }
    Some(text)
}

fn shown(play: &SitePlay) -> impl Iterator<Item = std::sync::Arc<crate::site::Step>> {
    play.steps().into_iter().filter(|step| !step.implicit && !step.handler)
}

fn tagged(tags: &[String]) -> String {
    if tags.is_empty() {
        String::new()
    } else {
        format!("   [{}]", tags.join(", "))
    }
}
