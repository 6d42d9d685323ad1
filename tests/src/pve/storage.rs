//! The storage `local`: a folder with real files.

use super::World;
use super::request::{Asked, Reply};
use super::rules::{self, Rule};
use super::task::{Step, Work};
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

const CONTENTS: &[&str] = &["iso", "vztmpl", "import"];
const SUMS: &[&str] = &["md5", "sha1", "sha224", "sha256", "sha384", "sha512"];

fn folder(content: &str) -> &'static str {
    match content {
        "iso" => "template/iso",
        "vztmpl" => "template/cache",
        _ => "import",
    }
}

/// A volume's file; `None` where its name means nothing here.
pub(super) fn path_of(world: &World, volume: &str) -> Option<PathBuf> {
    let (store, rest) = volume.split_once(':')?;
    if store != "local" {
        return None;
    }
    let (first, name) = rest.split_once('/')?;
    Some(match first {
        "iso" | "vztmpl" | "import" => world.dir.join(folder(first)).join(name),
        vmid => world.dir.join("images").join(vmid).join(name),
    })
}

fn below(dir: &Path) -> Vec<(String, u64)> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let files = entries.filter_map(|entry| {
        let meta = entry.metadata().ok().filter(std::fs::Metadata::is_file)?;
        Some((entry.file_name().to_string_lossy().into_owned(), meta.len()))
    });
    files.collect()
}

fn used(world: &World) -> u64 {
    let kept = CONTENTS
        .iter()
        .flat_map(|content| below(&world.dir.join(folder(content))));
    kept.map(|(_, size)| size).sum()
}

fn extension(content: &str, name: &str) -> bool {
    let name = name.to_lowercase();
    let endings: &[&str] = match content {
        "iso" => &[".iso", ".img"],
        "import" => &[".qcow2", ".raw", ".vmdk", ".ova"],
        _ => &[".tar.gz", ".tar.xz", ".tar.zst"],
    };
    endings.iter().any(|ending| name.ends_with(ending))
}

fn normal(name: &str) -> String {
    let name = name.rsplit('/').next().unwrap_or_default();
    name.chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "_-.".contains(c) {
                c
            } else {
                '_'
            }
        })
        .collect()
}

pub(super) fn answer(world: &mut World, asked: &Asked, rest: &[&str]) -> Result<Reply, Reply> {
    if let [store, ..] = rest
        && *store != "local"
    {
        return Err(Reply::die(&format!("storage '{store}' does not exist")));
    }
    match (asked.method.as_str(), rest) {
        ("GET", []) => {
            if !world
                .rights
                .has(asked, "/storage/local", &["Datastore.Audit", "Datastore.AllocateSpace"])
            {
                return Ok(Reply::ok(json!([])));
            }
            let used = used(world);
            Ok(Reply::ok(
                json!([{ "storage": "local", "type": "dir", "content": world.contents,
                "enabled": 1, "active": 1, "shared": 0, "total": world.capacity, "used": used,
                "avail": world.capacity.saturating_sub(used) }]),
            ))
        }
        ("GET", [_, "content"]) => {
            world
                .rights
                .need(asked, "/storage/local", &["Datastore.Audit", "Datastore.AllocateSpace"])?;
            let wanted = |content: &&&str| asked.get("content").is_none_or(|own| own == **content);
            let mut rows = Vec::new();
            for content in CONTENTS.iter().filter(wanted) {
                for (name, size) in below(&world.dir.join(folder(content))) {
                    let format = match (*content, name.rsplit('.').next()) {
                        ("iso", _) => "iso".to_owned(),
                        (_, ending) => ending.unwrap_or_default().to_owned(),
                    };
                    rows.push(
                        json!({ "volid": format!("local:{content}/{name}"), "content": content, "format": format,
                        "size": size, "ctime": 1_795_336_292 }),
                    );
                }
            }
            Ok(Reply::ok(Json::Array(rows)))
        }
        ("GET", [_, "content", volume @ ..]) if !volume.is_empty() => {
            let volume = volume.join("/");
            world
                .rights
                .need(asked, "/storage/local", &["Datastore.Audit", "Datastore.AllocateSpace"])?;
            let meta = path_of(world, &volume).and_then(|path| Some((std::fs::metadata(&path).ok()?, path)));
            match meta {
                Some((meta, path)) => Ok(Reply::ok(
                    json!({ "path": path, "size": meta.len().div_ceil(512) * 512, "format": "raw" }),
                )),
                None => Err(Reply::die(&format!(
                    "volume_size_info on '{volume}' failed - no format"
                ))),
            }
        }
        ("DELETE", [_, "content", volume @ ..]) if !volume.is_empty() => {
            let volume = volume.join("/");
            world.rights.need(asked, "/storage/local", &["Datastore.Allocate"])?;
            let work = Work::new(move |world, _| {
                let path = path_of(world, &volume).ok_or("no such volume")?;
                std::fs::remove_file(path).map_err(|error| error.to_string())
            });
            Ok(world.begin(asked, "imgdel", "local", work))
        }
        ("POST", [_, "download-url"]) => download(world, asked),
        ("POST", [_, "upload"]) => upload(world, asked),
        _ => Err(Reply::unknown(asked)),
    }
}

fn upload(world: &mut World, asked: &Asked) -> Result<Reply, Reply> {
    world
        .rights
        .need(asked, "/storage/local", &["Datastore.AllocateTemplate"])?;
    let table = [
        ("content", Rule::One(CONTENTS)),
        ("checksum", Rule::Any),
        ("checksum-algorithm", Rule::One(SUMS)),
    ];
    rules::check(asked, &table, &["content"])?;
    let content = asked.get("content").unwrap_or_default().to_owned();
    let Some((name, bytes)) = &asked.file else {
        return Err(Reply::wrong_one(
            "filename",
            "property is missing and it is not optional",
        ));
    };
    let name = normal(name);
    if !extension(&content, &name) {
        return Err(Reply::wrong_one("filename", "wrong file extension"));
    }
    // The whole body lies on the node before the task begins.
    let number = world.next();
    let spool = world.dir.join(format!("pveupload-{number}"));
    std::fs::write(&spool, bytes).map_err(|error| Reply::die(&error.to_string()))?;
    let count = bytes.len() as u64;
    let sum = asked.get("checksum").map(str::to_lowercase);
    let work = Work::new(move |world, log| {
        let path = world.dir.join(folder(&content)).join(&name);
        log.push(format!("target file: {}", path.display()));
        if used(world) + count > world.capacity {
            let _ = std::fs::remove_file(&spool);
            return Err("import failed: cp: error writing: No space left on device".to_owned());
        }
        if let Some(sum) = sum {
            let got = summed(&spool).map_err(|error| error.to_string())?;
            if got != sum {
                let _ = std::fs::remove_file(&spool);
                return Err(format!("checksum mismatch: got '{got}' != expect '{sum}'"));
            }
        }
        std::fs::rename(&spool, &path).map_err(|error| error.to_string())?;
        log.push("finished file import successfully".to_owned());
        Ok(())
    });
    Ok(world.begin(asked, "imgcopy", "", work))
}

fn network_rights(world: &World, asked: &Asked) -> Result<(), Reply> {
    let node = format!("/nodes/{}", world.node);
    let whole = ["Sys.Audit", "Sys.Modify"]
        .iter()
        .all(|one| world.rights.has(asked, "/", &[one]));
    match whole || world.rights.has(asked, &node, &["Sys.AccessNetwork"]) {
        true => Ok(()),
        false => Err(Reply::bare_forbidden("Permission check failed")),
    }
}

pub(super) fn metadata(world: &World, asked: &Asked) -> Result<Reply, Reply> {
    network_rights(world, asked)?;
    rules::check(
        asked,
        &[("url", Rule::Http), ("verify-certificates", Rule::Bool)],
        &["url"],
    )?;
    let url = asked.get("url").unwrap_or_default();
    match open(url) {
        Ok((status, length, _)) if status.starts_with("200") => {
            Ok(Reply::ok(json!({ "filename": normal(url), "size": length })))
        }
        Ok((status, ..)) => Err(Reply::die(&format!("invalid server response: '{status}'"))),
        Err(error) => Err(Reply::die(&format!("invalid server response: '500 {error}'"))),
    }
}

fn download(world: &mut World, asked: &Asked) -> Result<Reply, Reply> {
    world
        .rights
        .need(asked, "/storage/local", &["Datastore.AllocateTemplate"])?;
    network_rights(world, asked)?;
    let table = [
        ("content", Rule::One(CONTENTS)),
        ("filename", Rule::Any),
        ("url", Rule::Http),
        ("checksum", Rule::Any),
        ("checksum-algorithm", Rule::One(SUMS)),
        ("compression", Rule::Any),
        ("verify-certificates", Rule::Bool),
    ];
    rules::check(asked, &table, &["content", "filename", "url"])?;
    for (one, other) in [("checksum", "checksum-algorithm"), ("checksum-algorithm", "checksum")] {
        if asked.get(one).is_some() && asked.get(other).is_none() {
            return Err(Reply::wrong_one(
                other,
                &format!("missing property required by '{one}'"),
            ));
        }
    }
    let own = |name: &str| asked.get(name).unwrap_or_default().to_owned();
    let (content, url, sum) = (own("content"), own("url"), asked.get("checksum").map(str::to_owned));
    let name = normal(&own("filename"));
    if !extension(&content, &name) {
        return Err(Reply::wrong_one("filename", "wrong file extension"));
    }
    let id = name.clone();
    let work = Work::stepped(move |world, log| {
        let path = world.dir.join(folder(&content)).join(&name);
        log.push(format!("downloading {url} to {}", path.display()));
        if path.exists() {
            if sum.is_some() && sum == summed(&path).ok() {
                log.push(
                    "calculating checksum of existing file...OK, got correct file already, no need to download"
                        .to_owned(),
                );
                return Ok(Step::Done);
            }
            return Err(format!("refusing to override existing file '{}'", path.display()));
        }
        let part = path.with_file_name(format!("{name}.tmp_dwnl.{}", world.next()));
        let room = world.capacity.saturating_sub(used(world));
        let job = move |log: &mut Vec<String>| {
            let end = fetched(&url, &part, room, sum.as_deref(), log);
            match end.and_then(|()| std::fs::rename(&part, &path).map_err(|error| error.to_string())) {
                Ok(()) => log.push(format!("download of '{url}' to '{}' finished", path.display())),
                Err(said) => {
                    let _ = std::fs::remove_file(&part);
                    return Err(said);
                }
            }
            Ok(Json::Null)
        };
        Ok(Step::aside(job, |_, _, _| Ok(())))
    });
    Ok(world.begin(asked, "download", &id, work))
}

fn summed(path: &Path) -> std::io::Result<String> {
    let mut sum = Sha256::new();
    let mut file = std::fs::File::open(path)?;
    let mut chunk = vec![0; 1 << 16];
    loop {
        let count = file.read(&mut chunk)?;
        if count == 0 {
            return Ok(sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect());
        }
        sum.update(&chunk[..count]);
    }
}

/// Downloads into a file, and checks what came.
fn fetched(url: &str, part: &Path, room: u64, sum: Option<&str>, log: &mut Vec<String>) -> Result<(), String> {
    let (status, length, mut body) = open(url).map_err(|_| "download failed: exit code 4".to_owned())?;
    log.push(format!("HTTP request sent, awaiting response... {status}"));
    if !status.starts_with("200") {
        return Err("download failed: exit code 8".to_owned());
    }
    let mut file = std::fs::File::create(part).map_err(|error| error.to_string())?;
    let count = match length {
        Some(length) => std::io::copy(&mut (&mut body).take(length.min(room + 1)), &mut file),
        None => std::io::copy(&mut (&mut body).take(room + 1), &mut file),
    };
    let count = count.map_err(|_| "download failed: exit code 4".to_owned())?;
    if count > room {
        log.push(format!("{}: No space left on device", part.display()));
        return Err("download failed: exit code 3".to_owned());
    }
    if length.is_some_and(|length| length > count) {
        return Err("download failed: exit code 4".to_owned());
    }
    let Some(sum) = sum else { return Ok(()) };
    let got = summed(part).map_err(|error| error.to_string())?;
    match got == sum.to_lowercase() {
        true => Ok(()),
        false => Err(format!("checksum mismatch: got '{got}' != expect '{sum}'")),
    }
}

/// Asks a plain HTTP server for a file: its status, the length that it says, and what comes.
fn open(url: &str) -> std::io::Result<(String, Option<u64>, BufReader<TcpStream>)> {
    let rest = url
        .strip_prefix("http://")
        .ok_or_else(|| std::io::Error::other("the stand-in speaks plain HTTP only"))?;
    let (place, path) = rest.split_once('/').unwrap_or((rest, ""));
    let port = if place.contains(':') { "" } else { ":80" };
    let mut stream = TcpStream::connect(format!("{place}{port}"))?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    // In one piece: small servers answer what they read first.
    stream.write_all(format!("GET /{path} HTTP/1.0\r\nHost: {place}\r\n\r\n").as_bytes())?;
    let mut reader = BufReader::new(stream);
    let (mut status, mut length) = (String::new(), None);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim_end();
        match line.split_once(':') {
            _ if line.is_empty() => return Ok((status, length, reader)),
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.trim().parse().ok(),
            _ if status.is_empty() => status = line.split_once(' ').map_or(line, |(_, status)| status).to_owned(),
            _ => {}
        }
    }
}
