//! Recorded exchanges with the real server, replayed against the stand-in.

use super::boot1;
use okd_play::control::api::{Call, Method};
use okd_tests::pve::{Guest, StandIn};

/// What differs between a recorded value and ours: keys and types everywhere, values where they do not follow from time
/// and chance.
fn differences(place: &str, theirs: &serde_json::Value, ours: &serde_json::Value, found: &mut Vec<String>) {
    const CHANCE: [&str; 7] = ["priority", "digest", "meta", "smbios1", "vmgenid", "net0", "upid"];
    use serde_json::Value as Json;
    match (theirs, ours) {
        (Json::Object(theirs), Json::Object(ours)) => {
            let key = theirs.get("key").and_then(Json::as_str).unwrap_or_default();
            for (name, value) in theirs {
                match ours.get(name) {
                    Some(_) if name == "value" && CHANCE.contains(&key) => {}
                    Some(_) if CHANCE.contains(&name.as_str()) => {}
                    Some(own) => differences(&format!("{place}.{name}"), value, own, found),
                    None => found.push(format!("{place}.{name} is missing")),
                }
            }
            let more = ours.keys().filter(|name| !theirs.contains_key(*name));
            found.extend(more.map(|name| format!("{place}.{name} is too much")));
        }
        (Json::Array(theirs), Json::Array(ours)) => {
            for row in theirs {
                let name = ["iface", "id", "vnet", "zone", "pos", "key"]
                    .into_iter()
                    .find(|name| row.get(*name).is_some());
                let same = |own: &&Json| name.is_none_or(|name| own.get(name) == row.get(name));
                match ours.iter().find(same) {
                    Some(own) => differences(place, row, own, found),
                    None => found.push(format!("{place}: no row like {row}")),
                }
            }
        }
        _ if theirs != ours => found.push(format!("{place} is {ours}, not {theirs}")),
        _ => {}
    }
}

/// Answers that are compared as a whole.
const COMPARED: [&str; 5] = ["/network", "/config", "/sdn", "/firewall", "/pending"];
/// Names of tasks are the recorded ones; the monitor is not spoken to; the recorded server could not apply its zones.
const SKIPPED: [&str; 5] = ["/tasks", "/monitor", "PUT /cluster/sdn ", "type=any_bridge", "/access/"];

/// What the recorded server had when the recording began.
fn prepare(server: &StandIn, file: &str) {
    match file {
        "probe7.log" => {
            let disc = std::fs::File::create(server.storage().join("template/iso/fix.iso")).unwrap();
            disc.set_len(1 << 20).unwrap();
        }
        "probe9.log" => drop(server.world().guests.insert(302, Guest::default())),
        _ => {}
    }
}

/// Recorded exchanges with the real server, request by request, as far as the stand-in goes; where they are not at hand,
/// nothing is compared and that is said.
#[test]
fn recorded_exchanges_are_answered_alike() {
    let Some(folder) = std::env::var_os("OKD_PVE_TRANSCRIPTS").map(std::path::PathBuf::from) else {
        eprintln!("skipped: OKD_PVE_TRANSCRIPTS names no folder of recorded exchanges");
        return;
    };
    // Until which line; behind it come things that the stand-in does not do, or that another user did.
    let mut found = Vec::new();
    let mut compared = 0;
    for (file, last) in [
        ("probe1.log", 200),
        ("probe2.log", 6),
        ("probe3.log", 39),
        ("probe7.log", 149),
        ("probe9.log", 89),
        ("probe11.log", 52),
    ] {
        let server = StandIn::start();
        prepare(&server, file);
        let kind = boot1().at(&server, &[]);
        let client = kind.endpoint().client().unwrap();
        let text = std::fs::read_to_string(folder.join(file)).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in lines.iter().enumerate().take(last) {
            if SKIPPED.iter().any(|part| line.contains(part)) {
                continue;
            }
            let words: Vec<&str> = line.split_whitespace().collect();
            let [method @ ("GET" | "POST" | "PUT" | "DELETE"), path, rest @ ..] = words.as_slice() else {
                continue;
            };
            let body = lines[number + 1..]
                .iter()
                .map(|line| line.trim())
                .find(|line| line.starts_with('{'));
            let theirs: serde_json::Value = body
                .and_then(|body| serde_json::from_str(body).ok())
                .unwrap_or_default();
            let status = lines[number + 1].split_whitespace().nth(1).unwrap_or_default();
            let ended = match *method {
                "GET" => client.get(path),
                other => {
                    let method = match other {
                        "POST" => Method::Post,
                        "PUT" => Method::Put,
                        _ => Method::Delete,
                    };
                    let mut call = Call::new(method, *path);
                    for pair in rest.join(" ").split('&').filter(|pair| !pair.is_empty()) {
                        let (name, value) = pair.split_once('=').unwrap();
                        call = call.with(name, percent(value));
                    }
                    client.send(&call).map(|data| serde_json::json!({ "data": data }))
                }
            };
            let place = format!("{file}:{}: {line}", number + 1);
            compared += 1;
            match ended {
                Ok(_) if status != "200" => found.push(format!("{place}: it should be {status}")),
                Ok(ours) if *method == "GET" && COMPARED.iter().any(|part| path.contains(part)) => {
                    differences(&place, &theirs["data"], &ours["data"], &mut found);
                    if theirs.get("changes").is_some() != ours.get("changes").is_some() {
                        found.push(format!("{place}: `changes`"));
                    }
                }
                Ok(_) => {}
                Err(okd_play::control::api::ApiError::Task { .. }) if status == "200" => {}
                Err(okd_play::control::api::ApiError::Refused {
                    status: own,
                    message,
                    errors,
                    ..
                }) => {
                    let said = theirs["message"].as_str().unwrap_or_default().trim();
                    if own.to_string() != status || !message.starts_with(said) {
                        found.push(format!("{place}: {own} {message}, not {status} {said}"));
                    }
                    for (name, said) in theirs["errors"].as_object().into_iter().flatten() {
                        let own = errors
                            .iter()
                            .find(|(own, _)| own == name)
                            .map(|(_, said)| said.as_str());
                        if own != said.as_str().map(str::trim) {
                            found.push(format!("{place}: {name}: {own:?}, not {said}"));
                        }
                    }
                }
                Err(other) => found.push(format!("{place}: {other}")),
            }
        }
    }
    assert!(compared > 40, "{compared} exchanges were found");
    assert!(found.is_empty(), "{compared} compared:\n{}", found.join("\n"));
}

fn percent(text: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(&before.replace('+', " "));
        let code = u8::from_str_radix(&after[..2], 16).unwrap();
        out.push(char::from(code));
        rest = &after[2..];
    }
    out + &rest.replace('+', " ")
}
