//! A live ISO in CoreOS's form, small: the boot loaders' configurations with their areas for kernel arguments, the area for an Ignition
//! configuration, and whatever else it is to hold. ISO 9660 of level 1 (ECMA-119), as real ones are read by coreos-installer.

use serde_json::json;
use std::path::Path;

const SECTOR: usize = 2048;
/// Boot loaders, with what stands before the kernel arguments and after them.
const LOADERS: [(&str, &str, &str); 2] = [
    (
        "EFI/fedora/grub.cfg",
        "set timeout=1\nmenuentry 'live' {\n\tlinux /images/pxeboot/vmlinuz ",
        "\n\tinitrd /images/pxeboot/initrd.img /images/ignition.img\n}\n",
    ),
    (
        "isolinux/isolinux.cfg",
        "default linux\nlabel linux\n  kernel /images/pxeboot/vmlinuz\n  append initrd=/images/pxeboot/initrd.img,/images/ignition.img ",
        "\n",
    ),
];

/// See the module.
#[derive(Debug, Clone)]
pub struct LiveIso {
    /// The volume's name: another one is another release.
    pub volume: String,
    /// The kernel arguments that it comes with.
    pub kargs: String,
    /// Room for kernel arguments, bytes.
    pub kargs_room: usize,
    /// Room for an Ignition configuration, bytes.
    pub ignition_room: usize,
    /// Whether its installer reads configuration files.
    pub installer_config: bool,
    /// Further files by path, such as `images/pxeboot/vmlinuz`; names of at most eight letters and three.
    pub files: Vec<(String, Vec<u8>)>,
}

/// Where the areas of a written image are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Areas {
    /// Offsets of the areas for kernel arguments.
    pub kargs: Vec<usize>,
    /// Offset of the area for an Ignition configuration.
    pub ignition: usize,
}

impl Default for LiveIso {
    fn default() -> Self {
        LiveIso {
            volume: "scos-10.0.20250701".to_owned(),
            kargs: "coreos.liveiso=scos-10.0.20250701 ignition.firstboot ignition.platform.id=metal".to_owned(),
            kargs_room: 1139,
            ignition_room: 262_144,
            installer_config: true,
            files: vec![("images/pxeboot/vmlinuz".to_owned(), b"no kernel".to_vec())],
        }
    }
}

/// A folder or a file, by its path; what it holds where it is a file.
struct Node {
    path: String,
    bytes: Option<Vec<u8>>,
    sector: usize,
    length: usize,
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

fn both(number: usize) -> Vec<u8> {
    let number = number as u32;
    [number.to_le_bytes(), number.to_be_bytes()].concat()
}

fn record(node: &Node, name: &[u8]) -> Vec<u8> {
    let mut all = vec![0, 0];
    all.extend(both(node.sector));
    all.extend(both(node.length));
    all.extend([125, 7, 1, 0, 0, 0, 0]);
    all.extend([
        if node.bytes.is_none() { 2 } else { 0 },
        0,
        0,
        1,
        0,
        0,
        1,
        name.len() as u8,
    ]);
    all.extend(name);
    if all.len() % 2 == 1 {
        all.push(0);
    }
    all[0] = all.len() as u8;
    all
}

impl LiveIso {
    fn nodes(&self) -> Vec<Node> {
        let mut files = self.files.clone();
        let info = json!({
            "default": self.kargs,
            "files": LOADERS.map(|(path, before, _)| json!({ "path": path, "offset": before.len(), "pad": "#", "end": "\n" })),
            "size": self.kargs_room
        });
        files.push(("coreos/kargs.jso".to_owned(), info.to_string().into_bytes()));
        files.push((
            "coreos/igninfo.jso".to_owned(),
            json!({ "file": "images/ignition.img" }).to_string().into_bytes(),
        ));
        let features = json!({ "installer-config": self.installer_config, "live-initrd-network": true });
        files.push(("coreos/features.jso".to_owned(), features.to_string().into_bytes()));
        files.push(("images/ignition.img".to_owned(), vec![0; self.ignition_room]));
        for (path, before, after) in LOADERS {
            let mut area = format!("{}\n", self.kargs).into_bytes();
            area.resize(self.kargs_room, b'#');
            files.push((path.to_owned(), [before.as_bytes(), &area, after.as_bytes()].concat()));
        }
        let mut folders = vec![String::new()];
        for (path, _) in &files {
            let mut above = parent(path);
            while !above.is_empty() && !folders.iter().any(|known| known == above) {
                folders.push(above.to_owned());
                above = parent(above);
            }
        }
        folders.sort_by_key(|path| (path.matches('/').count() + usize::from(!path.is_empty()), path.clone()));
        files.sort();
        let folders = folders.into_iter().map(|path| (path, None));
        let files = files.into_iter().map(|(path, bytes)| (path, Some(bytes)));
        folders
            .chain(files)
            .map(|(path, bytes)| Node {
                length: bytes.as_ref().map_or(SECTOR, Vec::len),
                path,
                bytes,
                sector: 0,
            })
            .collect()
    }

    fn descriptor(&self, root: &Node, sectors: usize, table: usize) -> Vec<u8> {
        let text = |text: &str, length: usize| format!("{text:<length$}").into_bytes();
        let mut all = b"\x01CD001\x01\0".to_vec();
        all.extend(
            [
                text("LINUX", 32),
                text(&self.volume, 32),
                vec![0; 8],
                both(sectors),
                vec![0; 32],
            ]
            .concat(),
        );
        all.extend([1, 0, 0, 1, 1, 0, 0, 1, 0, 8, 8, 0]);
        all.extend(both(table));
        all.extend(19_u32.to_le_bytes());
        all.extend([0; 4]);
        all.extend(20_u32.to_be_bytes());
        all.extend([0; 4]);
        all.extend(record(root, &[0]));
        all.resize(813, b' ');
        (0..4).for_each(|_| all.extend(b"2025070100000000\0"));
        all.extend([1, 0]);
        all.resize(SECTOR, 0);
        all
    }

    /// The image, and where its areas are.
    #[must_use]
    pub fn bytes(&self) -> (Vec<u8>, Areas) {
        let mut nodes = self.nodes();
        let mut next = 21;
        for node in &mut nodes {
            node.sector = next;
            next += node.length.div_ceil(SECTOR).max(1);
        }
        let mut image = vec![0; next * SECTOR];
        let mut put =
            |sector: usize, bytes: &[u8]| image[sector * SECTOR..sector * SECTOR + bytes.len()].copy_from_slice(bytes);
        let folders: Vec<&Node> = nodes.iter().filter(|node| node.bytes.is_none()).collect();
        let number = |path: &str| folders.iter().position(|folder| folder.path == path).unwrap() as u16 + 1;
        let table = |little: bool| {
            let mut all = Vec::new();
            for folder in &folders {
                let name = if folder.path.is_empty() {
                    vec![0]
                } else {
                    base(&folder.path).to_uppercase().into_bytes()
                };
                all.extend([name.len() as u8, 0]);
                let (sector, above) = (folder.sector as u32, number(parent(&folder.path)));
                all.extend(if little {
                    sector.to_le_bytes()
                } else {
                    sector.to_be_bytes()
                });
                all.extend(if little {
                    above.to_le_bytes()
                } else {
                    above.to_be_bytes()
                });
                all.extend(&name);
                all.resize(all.len().next_multiple_of(2), 0);
            }
            all
        };
        put(16, &self.descriptor(&nodes[0], next, table(true).len()));
        put(17, b"\xffCD001\x01");
        put(19, &table(true));
        put(20, &table(false));
        for node in &nodes {
            if let Some(bytes) = &node.bytes {
                put(node.sector, bytes);
                continue;
            }
            let above = &folders[usize::from(number(parent(&node.path))) - 1];
            let mut entries: Vec<Vec<u8>> = vec![record(node, &[0]), record(above, &[1])];
            for inner in nodes
                .iter()
                .filter(|inner| !inner.path.is_empty() && parent(&inner.path) == node.path)
            {
                let name = base(&inner.path).to_uppercase();
                let name = if inner.bytes.is_some() {
                    format!("{name};1")
                } else {
                    name
                };
                entries.push(record(inner, name.as_bytes()));
            }
            let folder = entries.concat();
            assert!(folder.len() <= SECTOR, "a folder with too many entries: {}", node.path);
            put(node.sector, &folder);
        }
        let at = |path: &str| nodes.iter().find(|node| node.path == path).unwrap().sector * SECTOR;
        let areas = Areas {
            kargs: LOADERS
                .iter()
                .map(|(path, before, _)| at(path) + before.len())
                .collect(),
            ignition: at("images/ignition.img"),
        };
        (image, areas)
    }

    /// Writes the image to a file.
    pub fn write(&self, path: &Path) -> Areas {
        let (bytes, areas) = self.bytes();
        std::fs::write(path, bytes).unwrap();
        areas
    }
}
