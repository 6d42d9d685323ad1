//! A small ISO 9660 image with Joliet names: a few files in one folder, the same bytes for the same files (ECMA-119; Joliet
//! Specification 1.0).

/// A sector, in bytes.
const SECTOR: usize = 2048;
/// Where the volume descriptors, the path tables, the two root folders and the files begin, in sectors.
const DESCRIPTORS: usize = 16;
const TABLES: usize = 19;
const ROOTS: usize = 23;
const FILES: usize = 25;

/// An image with a label and files by name, whose names are at most 64 characters of ASCII. A folder's list has to fit into
/// one sector.
#[must_use]
pub(super) fn image(label: &str, files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut files: Vec<(&str, &[u8])> = files.to_vec();
    files.sort_unstable();
    let mut extents = Vec::new();
    let mut next = FILES;
    for (_, bytes) in &files {
        extents.push((next, bytes.len()));
        next += bytes.len().div_ceil(SECTOR).max(1);
    }
    let mut image = vec![0; next * SECTOR];
    put(&mut image, DESCRIPTORS, &descriptor(1, label, next, TABLES, ROOTS));
    put(
        &mut image,
        DESCRIPTORS + 1,
        &descriptor(2, label, next, TABLES + 2, ROOTS + 1),
    );
    put(&mut image, DESCRIPTORS + 2, b"\xffCD001\x01");
    for (table, root) in [(TABLES, ROOTS), (TABLES + 2, ROOTS + 1)] {
        put(
            &mut image,
            table,
            &path_table((root as u32).to_le_bytes(), 1_u16.to_le_bytes()),
        );
        put(
            &mut image,
            table + 1,
            &path_table((root as u32).to_be_bytes(), 1_u16.to_be_bytes()),
        );
    }
    let plain = |number: usize, _: &str| format!("FILE{number}.;1").into_bytes();
    let joliet = |_: usize, name: &str| wide(name);
    put(&mut image, ROOTS, &folder(ROOTS, &files, &extents, plain));
    put(&mut image, ROOTS + 1, &folder(ROOTS + 1, &files, &extents, joliet));
    for ((_, bytes), (at, _)) in files.iter().zip(&extents) {
        put(&mut image, *at, bytes);
    }
    image
}

/// The files of an image in its root folder, by their Joliet names; empty where it is no such image.
#[must_use]
pub(super) fn files(image: &[u8]) -> Vec<(String, Vec<u8>)> {
    read(image).unwrap_or_default()
}

fn read(image: &[u8]) -> Option<Vec<(String, Vec<u8>)>> {
    let descriptor = image.get((DESCRIPTORS + 1) * SECTOR..(DESCRIPTORS + 2) * SECTOR)?;
    if descriptor.get(..6)? != b"\x02CD001" {
        return None;
    }
    let (at, length) = extent(descriptor.get(156..)?)?;
    let folder = image.get(at..at.checked_add(length)?)?;
    let (mut found, mut next) = (Vec::new(), 0);
    while let Some(size) = folder.get(next).map(|size| usize::from(*size)).filter(|size| *size > 0) {
        let record = folder.get(next..next + size)?;
        next += size;
        let name = record.get(33..33 + usize::from(*record.get(32)?))?;
        if name.len() < 2 {
            continue;
        }
        let units: Vec<u16> = name
            .chunks_exact(2)
            .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
            .collect();
        let (at, length) = extent(record)?;
        found.push((
            String::from_utf16(&units).ok()?,
            image.get(at..at.checked_add(length)?)?.to_vec(),
        ));
    }
    Some(found)
}

/// Where a folder's record points, in bytes.
fn extent(record: &[u8]) -> Option<(usize, usize)> {
    let number = |at: usize| Some(u32::from_le_bytes(record.get(at..at + 4)?.try_into().ok()?) as usize);
    Some((number(2)?.checked_mul(SECTOR)?, number(10)?))
}

fn put(image: &mut [u8], sector: usize, bytes: &[u8]) {
    let at = sector * SECTOR;
    image[at..at + bytes.len()].copy_from_slice(bytes);
}

fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

/// A number in both byte orders (ECMA-119, 7.3.3).
fn both(number: usize) -> Vec<u8> {
    let number = number as u32;
    [number.to_le_bytes(), number.to_be_bytes()].concat()
}

fn both_short(number: u16) -> Vec<u8> {
    [number.to_le_bytes(), number.to_be_bytes()].concat()
}

/// A volume descriptor: the primary one (1), or the supplementary one that has Joliet's names (2).
fn descriptor(kind: u8, label: &str, sectors: usize, table: usize, root: usize) -> Vec<u8> {
    let text = |text: &str, length: usize| {
        let (mut bytes, blank): (Vec<u8>, &[u8]) = match kind {
            1 => (text.as_bytes().to_vec(), b" "),
            _ => (wide(text), &[0, b' ']),
        };
        while bytes.len() < length {
            bytes.extend(blank);
        }
        bytes.truncate(length);
        bytes
    };
    let mut all = vec![kind];
    all.extend(b"CD001\x01\0");
    all.extend(text("", 32));
    all.extend(text(label, 32));
    all.extend([0; 8]);
    all.extend(both(sectors));
    // The escape sequence for UCS-2 level 3.
    let mut escape = if kind == 1 { Vec::new() } else { b"%/E".to_vec() };
    escape.resize(32, 0);
    all.extend(escape);
    all.extend(both_short(1));
    all.extend(both_short(1));
    all.extend(both_short(SECTOR as u16));
    all.extend(both(10));
    all.extend((table as u32).to_le_bytes());
    all.extend([0; 4]);
    all.extend((table as u32 + 1).to_be_bytes());
    all.extend([0; 4]);
    all.extend(record(root, SECTOR, 2, &[0]));
    for length in [128, 128, 128, 128, 37, 37, 37] {
        all.extend(text("", length));
    }
    for _ in 0..4 {
        all.extend(b"0000000000000000\0");
    }
    all.extend([1, 0]);
    all
}

fn path_table(root: [u8; 4], parent: [u8; 2]) -> Vec<u8> {
    [&[1, 0][..], &root, &parent, &[0, 0]].concat()
}

/// A folder's record (ECMA-119, 9.1); `flags` is 2 for a folder.
fn record(sector: usize, length: usize, flags: u8, name: &[u8]) -> Vec<u8> {
    let mut all = vec![0, 0];
    all.extend(both(sector));
    all.extend(both(length));
    all.extend([0; 7]);
    all.extend([flags, 0, 0]);
    all.extend(both_short(1));
    all.push(name.len() as u8);
    all.extend(name);
    if all.len() % 2 == 1 {
        all.push(0);
    }
    all[0] = all.len() as u8;
    all
}

fn folder(
    own: usize,
    files: &[(&str, &[u8])],
    extents: &[(usize, usize)],
    name: impl Fn(usize, &str) -> Vec<u8>,
) -> Vec<u8> {
    let mut all = record(own, SECTOR, 2, &[0]);
    all.extend(record(own, SECTOR, 2, &[1]));
    for (number, ((file, _), (at, length))) in files.iter().zip(extents).enumerate() {
        all.extend(record(*at, *length, 0, &name(number, file)));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_in_comes_out() {
        let long = vec![7; 5000];
        let image = image(
            "cidata",
            &[("user-data", &long), ("meta-data", b"id\n"), ("empty", b"")],
        );
        assert_eq!(image.len() % SECTOR, 0);
        assert_eq!(&image[DESCRIPTORS * SECTOR + 40..DESCRIPTORS * SECTOR + 46], b"cidata");
        let found = files(&image);
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["empty", "meta-data", "user-data"]);
        assert_eq!(found[1].1, b"id\n");
        assert_eq!(found[2].1, long);
    }

    #[test]
    fn what_is_no_image_has_no_files() {
        assert_eq!(files(b""), Vec::new());
        assert_eq!(files(&vec![255; 60_000]), Vec::new());
        let image = image("cidata", &[("a", b"x")]);
        assert_eq!(files(&image[..20 * SECTOR]), Vec::new());
    }
}
