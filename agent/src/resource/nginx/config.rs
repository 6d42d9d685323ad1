//! nginx.conf and the sites' files; see nginx's documentation of its core and http modules.

use super::{Location, Nginx, Site};
use crate::path::AbsPath;
use crate::resource::layout::Family;
use crate::resource::transaction::header;

/// The main file. For the checker, `foreign` names the files in `conf.d` that others made: everything that the service
/// would write goes elsewhere, and our own sites are taken from the stage.
pub(super) fn render(nginx: &Nginx, family: Family, foreign: Option<&[AbsPath]>) -> String {
    let staged = foreign.is_some();
    let pid = if staged { "{stage}/nginx.pid" } else { "/run/nginx.pid" };
    let errors = if staged { "stderr" } else { "/var/log/nginx/error.log" };
    let access = if staged { "off" } else { "/var/log/nginx/access.log" };
    let mut lines = vec![
        format!("user {};", family.pick("nginx", "www-data")),
        "worker_processes auto;".to_owned(),
        format!("error_log {errors};"),
        format!("pid {pid};"),
        format!("include {};", family.pick("/usr/share/nginx/modules/*.conf", "/etc/nginx/modules-enabled/*.conf")),
    ];
    lines.extend(nginx.extra.iter().map(|extra| extra.trim_end().to_owned()));
    let mut http = [
        "include /etc/nginx/mime.types;",
        "default_type application/octet-stream;",
        "sendfile on;",
        "tcp_nopush on;",
        "keepalive_timeout 65;",
        "types_hash_max_size 4096;",
        "server_tokens off;",
    ]
    .map(str::to_owned)
    .to_vec();
    http.push(format!("access_log {access};"));
    http.extend(nginx.http.iter().flat_map(|text| text.trim_end().lines().map(str::to_owned)));
    http.push(format!("include {}/etc/nginx/conf.d/*.conf;", if staged { "{stage}" } else { "" }));
    http.extend(foreign.unwrap_or_default().iter().map(|path| format!("include {path};")));
    http.extend(nginx.include.iter().map(|path| format!("include {path};")));
    let main: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let http: String = http.iter().map(|line| format!("    {line}\n")).collect();
    format!(
        "{}{main}\nevents {{\n    worker_connections {};\n}}\n\nhttp {{\n{http}}}\n",
        header("#"),
        nginx.worker_connections
    )
}

/// A site's file.
pub(super) fn site(site: &Site) -> String {
    let mut lines: Vec<String> = site.listen.iter().map(|listen| format!("listen {listen};")).collect();
    let names = if site.server_name.is_empty() { "_".to_owned() } else { site.server_name.join(" ") };
    lines.push(format!("server_name {names};"));
    lines.extend(site.root.iter().map(|root| format!("root {root};")));
    if !site.index.is_empty() {
        lines.push(format!("index {};", site.index.join(" ")));
    }
    if site.autoindex {
        lines.push("autoindex on;".to_owned());
    }
    lines.extend(access(&site.allow, &site.deny));
    for part in &site.locations {
        lines.push(String::new());
        lines.push(format!("location {} {{", part.path));
        lines.extend(location(part).into_iter().map(|line| format!("    {line}")));
        lines.push("}".to_owned());
    }
    lines.extend(site.extra.iter().flat_map(|text| text.trim_end().lines().map(str::to_owned)));
    let body: String = lines
        .iter()
        .map(|line| if line.is_empty() { "\n".to_owned() } else { format!("    {line}\n") })
        .collect();
    format!("{}server {{\n{body}}}\n", header("#"))
}

fn location(part: &Location) -> Vec<String> {
    let mut lines = access(&part.allow, &part.deny);
    lines.extend(part.root.iter().map(|root| format!("root {root};")));
    lines.extend(part.alias.iter().map(|alias| format!("alias {alias};")));
    lines.extend(part.autoindex.map(|on| format!("autoindex {};", if on { "on" } else { "off" })));
    lines.extend(part.try_files.iter().map(|files| format!("try_files {files};")));
    lines.extend(part.proxy_pass.iter().map(|to| format!("proxy_pass {to};")));
    lines.extend(part.r#return.iter().map(|what| format!("return {what};")));
    lines.extend(part.extra.iter().flat_map(|text| text.trim_end().lines().map(str::to_owned)));
    lines
}

/// Refusals stand before permissions, since nginx takes the first that fits; a list of who may means that others may not.
fn access(allow: &[String], deny: &[String]) -> Vec<String> {
    let mut lines: Vec<String> = deny.iter().filter(|who| *who != "all").map(|who| format!("deny {who};")).collect();
    lines.extend(allow.iter().map(|who| format!("allow {who};")));
    if (!allow.is_empty() && !allow.iter().any(|who| who == "all")) || deny.iter().any(|who| who == "all") {
        lines.push("deny all;".to_owned());
    }
    lines
}
