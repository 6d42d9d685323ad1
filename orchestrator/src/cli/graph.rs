//! `okd-play graph`: the steps and who waits for whom, as a picture's text.

use super::args::{GraphArgs, GraphFormat};
use super::{End, load, print};
use crate::error::Exit;
use crate::graph::build::Graph;
use crate::graph::{drawing, picture};
use crate::site::Tags;
use crate::source::SourceMap;

pub(super) fn graph(sources: &SourceMap, args: &GraphArgs) -> End {
    let tags = Tags {
        only: args.tags.clone(),
        skip: args.skip_tags.clone(),
    };
    let site = load::site(sources, &args.playbook, &args.site, tags, None, &mut |prompt| {
        Some(prompt.name.clone())
    })?;
    let graph = Graph::site(&site)?;
    print(&match args.format {
        GraphFormat::Dot => picture::dot(&graph, &site),
        GraphFormat::Mermaid => picture::mermaid(&graph, &site),
        GraphFormat::Svg => drawing::drawing(&graph, &site, &args.playbook.display().to_string()),
    });
    Ok(Exit::Ok)
}
