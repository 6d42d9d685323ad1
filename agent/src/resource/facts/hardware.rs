//! Memory, processors, mounts, disks and the machine's make as facts.

use super::Gathered;
use crate::order::sort;
use crate::value::{Map, Value, map};

fn memory(text: &str) -> Map {
    let mb = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|rest| rest.split_whitespace().next()?.parse::<i64>().ok())
            .unwrap_or(0)
            / 1024
    };
    let (total, free, swap_total, swap_free) = (mb("MemTotal"), mb("MemFree"), mb("SwapTotal"), mb("SwapFree"));
    let no_cache = free + mb("Cached") + mb("Buffers");
    let group = |pairs: &[(&str, i64)]| -> Value {
        Value::Map(
            pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), Value::Int(*value)))
                .collect(),
        )
    };
    map([
        ("memtotal_mb", total.into()),
        ("memfree_mb", free.into()),
        ("swaptotal_mb", swap_total.into()),
        ("swapfree_mb", swap_free.into()),
        (
            "memory_mb",
            Value::Map(map([
                (
                    "real",
                    group(&[("total", total), ("free", free), ("used", total - free)]),
                ),
                ("nocache", group(&[("free", no_cache), ("used", total - no_cache)])),
                (
                    "swap",
                    group(&[
                        ("total", swap_total),
                        ("free", swap_free),
                        ("used", swap_total - swap_free),
                        ("cached", mb("SwapCached")),
                    ]),
                ),
            ])),
        ),
    ])
}

fn processors(text: &str) -> Map {
    let values = |name: &'static str| {
        text.lines().filter_map(move |line| {
            let (key, value) = line.split_once(':')?;
            (key.trim() == name).then(|| value.trim())
        })
    };
    let number = |name: &'static str| {
        values(name)
            .next()
            .and_then(|value| value.parse::<i64>().ok())
            .unwrap_or(1)
            .max(1)
    };
    let threads = i64::try_from(values("processor").count()).unwrap_or(1).max(1);
    let mut sockets: Vec<&str> = values("physical id").collect();
    sort(&mut sockets);
    sockets.dedup();
    let sockets = match i64::try_from(sockets.len()) {
        Ok(0) | Err(_) => threads,
        Ok(count) => count,
    };
    let (cores, siblings) = (number("cpu cores"), number("siblings"));
    let per_core = (siblings / cores).max(1);
    let listed = text.lines().filter_map(|line| {
        let (key, value) = line.split_once(':')?;
        ["processor", "vendor_id", "model name"]
            .contains(&key.trim())
            .then(|| Value::from(value.trim()))
    });
    map([
        ("processor", Value::List(listed.collect())),
        ("processor_count", sockets.into()),
        ("processor_cores", cores.into()),
        ("processor_threads_per_core", per_core.into()),
        ("processor_vcpus", (sockets * cores * per_core).into()),
        ("processor_nproc", threads.into()),
    ])
}

/// Undoes the octal escapes of proc(5), such as `\040` for a space.
fn unescape(text: &str) -> String {
    ["\\040= ", "\\011=\t", "\\134=\\"]
        .iter()
        .fold(text.to_owned(), |text, pair| {
            pair.split_once('=')
                .map_or(text.clone(), |(from, to)| text.replace(from, to))
        })
}

fn mounts(mounts: &str, space: &str) -> Value {
    let sizes: Vec<Vec<&str>> = space
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().collect())
        .collect();
    let seen = mounts.lines().filter_map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        let [device, place, kind, options, ..] = words.as_slice() else {
            return None;
        };
        if !device.starts_with('/') && !device.contains(":/") {
            return None;
        }
        let place = unescape(place);
        let mut mount = map([
            ("device", unescape(device).into()),
            ("mount", place.as_str().into()),
            ("fstype", (*kind).into()),
            ("options", (*options).into()),
        ]);
        // Filesystem 1024-blocks Used Available Capacity Mounted-on, the last perhaps with spaces
        if let Some(row) = sizes.iter().find(|row| row.len() > 5 && row[5..].join(" ") == place) {
            let bytes = |index: usize| {
                row[index]
                    .parse::<i64>()
                    .map_or(Value::Null, |blocks| Value::Int(blocks * 1024))
            };
            mount.extend(map([("size_total", bytes(1)), ("size_available", bytes(3))]));
        }
        Some(Value::Map(mount))
    });
    Value::List(seen.collect())
}

fn devices(parts: &Gathered) -> Map {
    let disks = parts
        .between("/sys/block/", "/size")
        .filter(|(name, _)| !["loop", "ram", "zram"].iter().any(|prefix| name.starts_with(prefix)));
    disks
        .map(|(name, sectors)| {
            let sectors: i64 = sectors.parse().unwrap_or(0);
            let size = format!("{:.2} GB", sectors as f64 * 512.0 / f64::from(1 << 30));
            (
                name.to_owned(),
                Value::Map(map([
                    ("sectors", sectors.into()),
                    ("sectorsize", 512.into()),
                    ("size", size.into()),
                ])),
            )
        })
        .collect()
}

/// Memory, processors, mounts, disks, uptime, make.
#[must_use]
pub fn hardware(parts: &Gathered) -> Map {
    let first = |name: &str| {
        parts
            .get(name)
            .split([' ', '.'])
            .next()
            .and_then(|n| n.parse::<i64>().ok())
    };
    let mut facts = memory(parts.get("/proc/meminfo"));
    facts.extend(processors(parts.get("/proc/cpuinfo")));
    facts.insert(
        "mounts".to_owned(),
        mounts(parts.get("/proc/mounts"), parts.get("@space")),
    );
    facts.insert("devices".to_owned(), Value::Map(devices(parts)));
    facts.insert(
        "uptime_seconds".to_owned(),
        Value::Int(first("/proc/uptime").unwrap_or(0)),
    );
    let load: Vec<&str> = parts.get("/proc/loadavg").split_whitespace().take(3).collect();
    let load = ["1m", "5m", "15m"]
        .iter()
        .zip(load)
        .map(|(name, value)| ((*name).to_owned(), value.parse().map_or(Value::Null, Value::Float)));
    facts.insert("loadavg".to_owned(), Value::Map(load.collect()));
    for (fact, file) in [
        ("product_name", "product_name"),
        ("system_vendor", "sys_vendor"),
        ("product_version", "product_version"),
        ("product_serial", "product_serial"),
        ("product_uuid", "product_uuid"),
        ("bios_version", "bios_version"),
        ("bios_date", "bios_date"),
    ] {
        let text = parts.get(&format!("/sys/class/dmi/id/{file}")).to_owned();
        facts.insert(fact.to_owned(), if text.is_empty() { "NA".into() } else { text.into() });
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_counts() {
        let text = "==> /proc/meminfo <==\nMemTotal:       24000000 kB\nMemFree:         1048576 kB\nBuffers: 1024 kB\nCached: 2048 kB\nSwapTotal:       0 kB\n\n==> /proc/cpuinfo <==\nprocessor\t: 0\nvendor_id\t: AuthenticAMD\nmodel name\t: EPYC\nphysical id\t: 0\nsiblings\t: 2\ncpu cores\t: 1\n\nprocessor\t: 1\nvendor_id\t: AuthenticAMD\nmodel name\t: EPYC\nphysical id\t: 0\nsiblings\t: 2\ncpu cores\t: 1\n\n==> /proc/mounts <==\nproc /proc proc rw 0 0\n/dev/vda1 / ext4 rw,relatime 0 0\n/dev/vdb /my\\040disk xfs rw 0 0\n\n==> @space <==\nFilesystem     1024-blocks    Used Available Capacity Mounted on\n/dev/vda1         1000      400       600      40% /\n\n==> /proc/uptime <==\n3661.25 7000.00\n\n==> /sys/block/vda/size <==\n2097152\n";
        let facts = hardware(&Gathered::parse(text));
        let of = |name: &str| facts[name].to_string();
        assert_eq!(
            (of("memtotal_mb"), of("memfree_mb")),
            ("23437".to_owned(), "1024".to_owned())
        );
        assert_eq!(
            (of("processor_vcpus"), of("processor_count"), of("processor_cores")),
            ("2".to_owned(), "1".to_owned(), "1".to_owned())
        );
        let mounts = facts["mounts"].as_list().unwrap_or_default();
        assert_eq!(mounts.len(), 2);
        assert_eq!(mounts[0].get("size_available"), Some(&Value::Int(614_400)));
        assert_eq!(mounts[1].get("mount").and_then(Value::as_str), Some("/my disk"));
        assert_eq!(of("uptime_seconds"), "3661");
        assert_eq!(
            facts["devices"].get("vda").and_then(|disk| disk.get("size")),
            Some(&Value::from("1.00 GB"))
        );
    }
}
