//! `okd-play topology`: the description of a cluster completed, as tables, as a picture, or as data.

use super::args::{TopologyArgs, TopologyFormat};
use super::{End, load, print};
use crate::error::{Diagnostic, Exit};
use crate::report::json;
use crate::site::{Tags, topology};
use crate::source::SourceMap;

pub(super) fn topology(sources: &SourceMap, args: &TopologyArgs) -> End {
    let site = match &args.playbook {
        Some(playbook) => load::site(sources, playbook, &args.site, Tags::default(), None, &mut |prompt| {
            Some(prompt.name.clone())
        })?,
        None => load::bare(sources, &args.site)?,
    };
    for warning in &site.warnings.0 {
        crate::report::warn(&warning.render(sources, false));
    }
    let found = site.topologies()?;
    let one = match found.as_slice() {
        [] => {
            let text = "no host has a variable `cluster` that describes a cluster";
            let found = Diagnostic::new("no-topology", text);
            return Err(found
                .note("a description has `network`, `services`, `base_domain` and `machines`")
                .help("name its inventory by `-i`, or a playbook that has it")
                .into());
        }
        [one] => one,
        several if args.format == TopologyFormat::Table => {
            let tables: Vec<String> = several.iter().map(topology::table).collect();
            print(&tables.join("\n\n"));
            return Ok(Exit::Ok);
        }
        several => {
            let found = Diagnostic::new("several-topologies", "the hosts have several descriptions of clusters");
            let places = several.iter().filter_map(|one| one.name.as_ref());
            let found = places.fold(found, |found, name| found.at(name.span, "one"));
            return Err(found.help("choose by `--limit HOST`").into());
        }
    };
    print(&match args.format {
        TopologyFormat::Table => topology::table(one),
        TopologyFormat::Svg => topology::picture(one),
        TopologyFormat::Json => format!("{:#}\n", json::value(&topology::complete(one))),
    });
    Ok(Exit::Ok)
}
