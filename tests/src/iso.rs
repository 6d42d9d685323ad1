//! Finds files in an ISO 9660 image (ECMA-119) by their Joliet names: drives that tell a machine who it is, live media.

use std::ops::Range;

const SECTOR: usize = 2048;
/// The supplementary descriptor, which has Joliet's names, follows the primary one or the boot record.
const DESCRIPTORS: Range<usize> = 16..32;

/// Where a file lies in an image, in bytes; `None` where there is no such file, or no image with such names.
#[must_use]
pub fn find(image: &[u8], path: &str) -> Option<Range<usize>> {
    let descriptor = descriptor(image, 2)?;
    let mut place = extent(&descriptor[156..])?;
    for part in path.split('/') {
        place = entry(image.get(place)?, part)?;
    }
    image.get(place.clone()).map(|_| place)
}

/// A file's bytes.
#[must_use]
pub fn file<'a>(image: &'a [u8], path: &str) -> Option<&'a [u8]> {
    find(image, path).and_then(|place| image.get(place))
}

/// What the volume is called; empty where this is no image.
#[must_use]
pub fn label(image: &[u8]) -> String {
    let text = descriptor(image, 1).and_then(|descriptor| descriptor.get(40..72));
    String::from_utf8_lossy(text.unwrap_or_default()).trim().to_owned()
}

fn descriptor(image: &[u8], kind: u8) -> Option<&[u8]> {
    let mut all = DESCRIPTORS.filter_map(|number| image.get(number * SECTOR..(number + 1) * SECTOR));
    all.find(|sector| sector[0] == kind && &sector[1..6] == b"CD001")
}

fn extent(record: &[u8]) -> Option<Range<usize>> {
    let number = |at: usize| Some(u32::from_le_bytes(record.get(at..at + 4)?.try_into().ok()?) as usize);
    let at = number(2)?.checked_mul(SECTOR)?;
    Some(at..at.checked_add(number(10)?)?)
}

fn entry(folder: &[u8], wanted: &str) -> Option<Range<usize>> {
    let mut at = 0;
    while at < folder.len() {
        let size = usize::from(folder[at]);
        if size == 0 {
            // A record does not cross a sector's end.
            at = (at / SECTOR + 1) * SECTOR;
            continue;
        }
        let record = folder.get(at..at + size)?;
        let name = record.get(33..33 + usize::from(*record.get(32)?))?;
        let units: Vec<u16> = name
            .chunks_exact(2)
            .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
            .collect();
        let name = String::from_utf16_lossy(&units);
        if name.split(';').next() == Some(wanted) {
            return extent(record);
        }
        at += size;
    }
    None
}
