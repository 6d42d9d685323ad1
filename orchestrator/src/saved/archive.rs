//! The form of a file that keeps a plan: a line that says what it is, the build that made it, a checksum over everything,
//! an index, and pieces that are named by their SHA-256, each once, compressed. One build writes and reads it.

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

/// The first bytes of every plan, with the form's number.
const MAGIC: &[u8] = b"okd-play plan 1\n";
/// What plans of all forms begin with.
const FAMILY: &[u8] = b"okd-play plan ";
/// The sources of the program, besides those of the agent.
const SOURCES: &str = env!("OKD_PLAY_SOURCES");
/// A piece, or the index, is never longer than this, in bytes.
const LONGEST: usize = 1 << 30;

/// Names a piece: its SHA-256.
pub type PieceId = [u8; 32];

/// Why a file is no plan that can be used.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It cannot be read or written.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// It is something else.
    #[error("it is not a plan of okd-play")]
    Foreign,
    /// It is of another form.
    #[error("it is a plan of another form than this okd-play reads")]
    Form,
    /// Another build wrote it.
    #[error("it was made by okd-play build {maker}, and this is build {}", build())]
    Build {
        /// The build.
        maker: String,
    },
    /// It ends too early.
    #[error("it is cut off: {have} of {whole} bytes are there")]
    Torn {
        /// Bytes that are there.
        have: usize,
        /// Bytes that there should be.
        whole: usize,
    },
    /// Its checksum does not hold.
    #[error("it is damaged: its checksum is not that of what it holds")]
    Damaged,
    /// It would be too long.
    #[error("it holds a piece of {0} bytes; at most {LONGEST} are kept")]
    TooLong(usize),
}

/// Names the build that reads and writes plans: both halves of it count.
#[must_use]
pub fn build() -> String {
    format!("{}-{SOURCES}", okd_agent::wire::BUILD)
}

/// A plan's pieces, with nothing said twice.
#[derive(Debug, Default)]
pub struct Pieces {
    all: BTreeMap<PieceId, Vec<u8>>,
}

impl Pieces {
    /// Keeps some bytes.
    pub fn put(&mut self, bytes: &[u8]) -> PieceId {
        let id: PieceId = Sha256::digest(bytes).into();
        self.all.entry(id).or_insert_with(|| bytes.to_vec());
        id
    }

    /// Keeps a value.
    ///
    /// # Errors
    /// [`ArchiveError::Damaged`] for what has no form.
    pub fn put_value<T: Serialize>(&mut self, value: &T) -> Result<PieceId, ArchiveError> {
        let bytes = postcard::to_stdvec(value).map_err(|_| ArchiveError::Damaged)?;
        Ok(self.put(&bytes))
    }

    /// The bytes of a piece.
    ///
    /// # Errors
    /// [`ArchiveError::Damaged`] where there is none.
    pub fn get(&self, id: &PieceId) -> Result<&[u8], ArchiveError> {
        self.all.get(id).map(Vec::as_slice).ok_or(ArchiveError::Damaged)
    }

    /// The value of a piece.
    ///
    /// # Errors
    /// [`ArchiveError::Damaged`] where there is none, or another one.
    pub fn get_value<T: DeserializeOwned>(&self, id: &PieceId) -> Result<T, ArchiveError> {
        postcard::from_bytes(self.get(id)?).map_err(|_| ArchiveError::Damaged)
    }

    /// Every piece.
    pub fn all(&self) -> impl Iterator<Item = &[u8]> {
        self.all.values().map(Vec::as_slice)
    }
}

/// Writes a plan: beside its place first, for its owner alone, then with its name.
///
/// # Errors
/// Those of the file system; [`ArchiveError::TooLong`].
pub fn write<T: Serialize>(path: &Path, index: &T, pieces: &Pieces) -> Result<(), ArchiveError> {
    let bytes = encode(index, pieces)?;
    let folder = crate::source::folder_of(path);
    let mut file = tempfile::Builder::new()
        .prefix(".okd-play-plan-")
        .tempfile_in(&folder)?;
    file.write_all(&bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    std::fs::File::open(folder)?.sync_all()?;
    Ok(())
}

/// Reads a plan.
///
/// # Errors
/// See [`ArchiveError`].
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<(T, Pieces), ArchiveError> {
    decode(&std::fs::read(path)?)
}

fn encode<T: Serialize>(index: &T, pieces: &Pieces) -> Result<Vec<u8>, ArchiveError> {
    let mut body = Vec::new();
    let index = postcard::to_stdvec(index).map_err(|_| ArchiveError::Damaged)?;
    section(&mut body, &index)?;
    for piece in pieces.all() {
        section(&mut body, piece)?;
    }
    let mut out = [MAGIC, build().as_bytes(), b"\n"].concat();
    out.extend_from_slice(&(body.len() as u64).to_be_bytes());
    let sum = Sha256::new().chain_update(&out).chain_update(&body).finalize();
    out.extend_from_slice(&sum);
    out.extend_from_slice(&body);
    Ok(out)
}

fn section(body: &mut Vec<u8>, bytes: &[u8]) -> Result<(), ArchiveError> {
    if bytes.len() > LONGEST {
        return Err(ArchiveError::TooLong(bytes.len()));
    }
    let packed = lz4_flex::compress_prepend_size(bytes);
    body.extend_from_slice(&(packed.len() as u64).to_be_bytes());
    body.extend_from_slice(&packed);
    Ok(())
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, Pieces), ArchiveError> {
    let mut sections = sections(bytes)?.into_iter();
    let index = sections.next().ok_or(ArchiveError::Damaged)?;
    let index = postcard::from_bytes(&index).map_err(|_| ArchiveError::Damaged)?;
    let mut pieces = Pieces::default();
    for piece in sections {
        pieces.put(&piece);
    }
    Ok((index, pieces))
}

/// What a plan's bytes hold, unpacked: the index, and each piece.
///
/// # Errors
/// See [`ArchiveError`].
pub fn sections(bytes: &[u8]) -> Result<Vec<Vec<u8>>, ArchiveError> {
    let Some(rest) = bytes.strip_prefix(MAGIC) else {
        return Err(
            match bytes.starts_with(FAMILY) || MAGIC.starts_with(bytes) && !bytes.is_empty() {
                true if bytes.len() >= MAGIC.len() => ArchiveError::Form,
                true => ArchiveError::Torn {
                    have: bytes.len(),
                    whole: MAGIC.len(),
                },
                false => ArchiveError::Foreign,
            },
        );
    };
    let torn = |whole: usize| ArchiveError::Torn {
        have: bytes.len(),
        whole,
    };
    let end = rest.iter().take(200).position(|byte| *byte == b'\n');
    let end = end.ok_or(torn(bytes.len() + 1))?;
    let (maker, rest) = (String::from_utf8_lossy(&rest[..end]), &rest[end + 1..]);
    if maker != build() {
        return Err(ArchiveError::Build {
            maker: maker.into_owned(),
        });
    }
    let head = bytes.len() - rest.len() + 8;
    let (length, rest) = rest.split_first_chunk::<8>().ok_or(torn(head + 32))?;
    let length = usize::try_from(u64::from_be_bytes(*length)).map_err(|_| ArchiveError::Damaged)?;
    let (sum, body) = rest.split_first_chunk::<32>().ok_or(torn(head + 32))?;
    if body.len() < length {
        return Err(torn(head.saturating_add(32).saturating_add(length)));
    }
    let real = Sha256::new().chain_update(&bytes[..head]).chain_update(body).finalize();
    if body.len() > length || real[..] != sum[..] {
        return Err(ArchiveError::Damaged);
    }
    let mut sections = Vec::new();
    let mut rest = body;
    while !rest.is_empty() {
        let (length, more) = rest.split_first_chunk::<8>().ok_or(ArchiveError::Damaged)?;
        let length = usize::try_from(u64::from_be_bytes(*length)).map_err(|_| ArchiveError::Damaged)?;
        let (packed, more) = more.split_at_checked(length).ok_or(ArchiveError::Damaged)?;
        sections.push(unpacked(packed)?);
        rest = more;
    }
    Ok(sections)
}

fn unpacked(packed: &[u8]) -> Result<Vec<u8>, ArchiveError> {
    let size = packed
        .first_chunk::<4>()
        .map_or(0, |first| u32::from_le_bytes(*first) as usize);
    if size > LONGEST {
        return Err(ArchiveError::TooLong(size));
    }
    lz4_flex::decompress_size_prepended(packed).map_err(|_| ArchiveError::Damaged)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn packed() -> (Vec<u8>, PieceId) {
        let mut pieces = Pieces::default();
        let id = pieces.put(&[7; 100_000]);
        assert_eq!(pieces.put(&[7; 100_000]), id);
        (encode(&("index", 5_u8), &pieces).unwrap(), id)
    }

    fn why(bytes: &[u8]) -> String {
        decode::<(String, u8)>(bytes).unwrap_err().to_string()
    }

    #[test]
    fn what_was_put_in_comes_out() {
        let (bytes, id) = packed();
        assert!(bytes.len() < 2000, "{}", bytes.len());
        let (index, pieces) = decode::<(String, u8)>(&bytes).unwrap();
        assert_eq!(index, ("index".to_owned(), 5));
        assert_eq!(pieces.get(&id).unwrap(), [7; 100_000]);
        assert!(pieces.get(&[0; 32]).is_err());
    }

    #[test]
    fn no_byte_may_be_another_one() {
        let (bytes, _) = packed();
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 0x20;
            assert!(decode::<(String, u8)>(&other).is_err(), "{at}");
        }
        for end in 0..bytes.len() {
            assert!(decode::<(String, u8)>(&bytes[..end]).is_err(), "{end}");
        }
        assert!(why(&[&bytes[..], b"x"].concat()).contains("damaged"));
    }

    #[test]
    fn what_cannot_be_used_says_why() {
        let (bytes, _) = packed();
        assert!(why(b"- hosts: all\n").contains("not a plan"));
        assert!(why(b"").contains("not a plan"));
        assert!(
            why(&bytes[..bytes.len() - 3]).contains("cut off"),
            "{}",
            why(&bytes[..bytes.len() - 3])
        );
        assert!(why(&bytes[..4]).contains("cut off"));
        assert!(why(b"okd-play plan 2\nwhatever").contains("another form"));
        let other = bytes.to_vec();
        let text = String::from_utf8_lossy(&other).replace(SOURCES, "0000000000000000");
        assert!(
            why(text.as_bytes()).contains("-0000000000000000, and this is build"),
            "{}",
            why(text.as_bytes())
        );
    }

    #[test]
    fn a_plan_is_its_owners_alone_and_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("site.plan");
        write(&path, &("index", 5_u8), &Pieces::default()).unwrap();
        write(&path, &("other", 6_u8), &Pieces::default()).unwrap();
        assert_eq!(read::<(String, u8)>(&path).unwrap().0.1, 6);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(write(&dir.path().join("none/site.plan"), &1_u8, &Pieces::default()).is_err());
    }
}
