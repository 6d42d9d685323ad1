//! Options of a machine, each in one spelling: what a person asks for and what the server writes back are compared, not their
//! letters.

use crate::control::property::{Property, bytes, size, truth};

/// How an option is compared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Nic,
    Drive,
    /// A property string, with the name of what may stand bare.
    Props(&'static str),
    Tags,
    Text,
    Word,
}

pub(super) fn numbered(name: &str, stem: &str) -> bool {
    name.strip_prefix(stem)
        .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
}

pub(super) fn class(name: &str) -> Class {
    match name {
        "memory" => Class::Props("current"),
        "agent" => Class::Props("enabled"),
        "cpu" => Class::Props("cputype"),
        "vga" | "machine" | "watchdog" => Class::Props(if name == "watchdog" { "model" } else { "type" }),
        "rng0" => Class::Props("source"),
        "smbios1" => Class::Props("uuid"),
        "tags" => Class::Tags,
        "description" => Class::Text,
        "efidisk0" | "tpmstate0" => Class::Drive,
        name if numbered(name, "net") => Class::Nic,
        name if ["scsi", "virtio", "sata", "ide"]
            .iter()
            .any(|stem| numbered(name, stem)) =>
        {
            Class::Drive
        }
        name if numbered(name, "ipconfig") => Class::Props("ip"),
        _ => Class::Word,
    }
}

pub(super) fn tags(text: &str) -> String {
    let mut all: Vec<String> = text
        .split([';', ',', ' '])
        .filter(|tag| !tag.is_empty())
        .map(str::to_lowercase)
        .collect();
    all.sort();
    all.dedup();
    all.join(";")
}

/// A drive as a person asks for it.
pub(super) struct Drive {
    pub(super) props: Property,
    pub(super) store: String,
    /// Asked for in bytes.
    pub(super) size: Option<u64>,
    pub(super) source: Source,
}

#[derive(PartialEq, Eq)]
pub(super) enum Source {
    /// A new, empty disk.
    Empty,
    /// A copy of an image.
    Import,
    /// A volume that is there, such as an ISO; or none.
    Volume,
}

impl Drive {
    pub(super) fn asked(text: &str, name: &str) -> Drive {
        let mut props = Property::parse(text, "file");
        let file = props.get("file").unwrap_or_default().to_owned();
        let (store, rest) = file.split_once(':').unwrap_or((&file, ""));
        let gib = rest.parse::<f64>().ok();
        let explicit = props.remove("size").and_then(|text| bytes(&text));
        let import = props.get("import-from").is_some();
        let small = name == "efidisk0" || name == "tpmstate0";
        let allocated = gib
            .filter(|gib| *gib > 0.0 && !small)
            .map(|gib| (gib * f64::from(1 << 30)).round() as u64);
        let source = match (import, gib) {
            (true, _) => Source::Import,
            (false, Some(_)) => Source::Empty,
            (false, None) => Source::Volume,
        };
        Drive {
            store: store.to_owned(),
            size: explicit.or(allocated).filter(|_| source != Source::Volume),
            source,
            props,
        }
    }

    /// How it is shown when the file's part reads so.
    fn spelled(mut props: Property, file: &str) -> String {
        props.remove("import-from");
        props.remove("size");
        props.set("file", file);
        props.to_string()
    }

    /// What is asked for, in the spelling of [`Drive::current`].
    pub(super) fn wanted(&self) -> String {
        Drive::spelled(self.props.clone(), &self.file(self.size))
    }

    fn file(&self, size: Option<u64>) -> String {
        match (&self.source, self.size.and(size)) {
            (Source::Volume, _) => self.props.get("file").unwrap_or_default().to_owned(),
            (_, Some(bytes)) => format!("{}:{}", self.store, self::size(bytes)),
            (_, None) => self.store.clone(),
        }
    }

    /// What is there, spelled as far as it was asked for.
    pub(super) fn current(&self, raw: &str) -> String {
        let props = Property::parse(raw, "file");
        let file = props.get("file").unwrap_or_default().to_owned();
        let shown = match self.source {
            Source::Volume if file.contains("cloudinit") && self.wanted().contains("cloudinit") => {
                return self.wanted();
            }
            Source::Volume => file,
            _ => {
                let store = file
                    .split_once(':')
                    .map_or(file.as_str(), |(store, _)| store)
                    .to_owned();
                let now = props.get("size").and_then(bytes);
                match self.size.and(now) {
                    Some(bytes) => format!("{store}:{}", size(bytes)),
                    None => store,
                }
            }
        };
        Drive::spelled(props, &shown)
    }

    /// What is sent for a drive that is not there yet.
    pub(super) fn creation(&self) -> String {
        let mut props = self.props.clone();
        if self.source == Source::Empty
            && let Some(size) = self.size
        {
            let gib = size as f64 / f64::from(1 << 30);
            props.set("file", format!("{}:{gib}", self.store));
        }
        props.to_string()
    }

    /// What the server will write for it.
    pub(super) fn predicted(&self, vmid: u64, name: &str) -> String {
        let mut props = self.props.clone();
        props.remove("import-from");
        if self.source != Source::Volume {
            props.set("file", format!("{}:{vmid}/{name}-to-be", self.store));
        }
        if let Some(bytes) = self.size {
            props.set("size", size(bytes));
        }
        props.to_string()
    }
}

/// An option that is there, spelled so that it can be compared with what is asked for.
pub(super) fn current(name: &str, raw: &str, asked: &str) -> String {
    match class(name) {
        Class::Nic => {
            let mut nic = Property::nic(raw);
            if Property::nic(asked).get("macaddr").unwrap_or_default().is_empty() {
                nic.remove("macaddr");
            }
            nic.to_string()
        }
        Class::Drive => Drive::asked(asked, name).current(raw),
        _ => wanted(name, raw),
    }
}

/// What is asked for, in the spelling of [`current`].
pub(super) fn wanted(name: &str, asked: &str) -> String {
    match class(name) {
        Class::Nic => {
            let mut nic = Property::nic(asked);
            if nic.get("macaddr").is_some_and(str::is_empty) {
                nic.remove("macaddr");
            }
            nic.to_string()
        }
        Class::Drive => Drive::asked(asked, name).wanted(),
        Class::Props(default) => Property::parse(asked, default).to_string(),
        Class::Tags => tags(asked),
        Class::Text => asked.trim_end().to_owned(),
        Class::Word => truth(asked.trim()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_writes_back_is_what_was_asked() {
        let same = [
            (
                "net0",
                "virtio,bridge=vmbr1,mtu=1450",
                "virtio=BC:24:11:AA:BB:01,bridge=vmbr1,mtu=1450",
            ),
            (
                "scsi0",
                "local:1,discard=on,ssd=1",
                "local:101/vm-101-disk-0.raw,discard=on,size=1G,ssd=1",
            ),
            ("scsi0", "thin:0.5", "thin:vm-100-disk-0,size=512M"),
            (
                "scsi0",
                "local:0,import-from=local:import/x.qcow2",
                "local:100/vm-100-disk-0.raw,size=10G",
            ),
            (
                "ide2",
                "local:iso/fix.iso,media=cdrom",
                "local:iso/fix.iso,media=cdrom,size=1M",
            ),
            (
                "ide0",
                "local:cloudinit",
                "local:100/vm-100-cloudinit.qcow2,media=cdrom,size=4M",
            ),
            (
                "efidisk0",
                "local:1,efitype=4m",
                "local:100/vm-100-disk-1.raw,efitype=4m,size=528K",
            ),
            ("tags", "okd;Bootstrap", "bootstrap;okd"),
            ("memory", "2048", "2048"),
            ("agent", "enabled=1", "1"),
            ("onboot", "yes", "1"),
            ("description", "x\n", "x"),
        ];
        for (name, asked, raw) in same {
            assert_eq!(current(name, raw, asked), wanted(name, asked), "{name}: {asked}");
        }
        let other = [
            (
                "net0",
                "virtio=BC:24:11:AA:BB:02,bridge=vmbr1",
                "virtio=BC:24:11:AA:BB:01,bridge=vmbr1",
            ),
            (
                "net0",
                "virtio,bridge=vmbr1",
                "virtio=BC:24:11:AA:BB:01,bridge=vmbr1,firewall=1",
            ),
            ("scsi0", "local:2", "local:101/vm-101-disk-0.raw,size=1G"),
            ("scsi0", "local:1,ssd=1", "local:101/vm-101-disk-0.raw,size=1G"),
            ("ide2", "none,media=cdrom", "local:iso/fix.iso,media=cdrom,size=1M"),
        ];
        for (name, asked, raw) in other {
            assert_ne!(current(name, raw, asked), wanted(name, asked), "{name}: {asked}");
        }
    }
}
