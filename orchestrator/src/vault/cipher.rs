//! The AES256 cipher of Ansible Vault: PBKDF2-HMAC-SHA256 to three keys, AES-256 in counter mode, HMAC-SHA256 over the
//! ciphertext, everything in hexadecimal, twice (see Ansible's documentation, "Ansible Vault payload format 1.1-1.2").

use super::VaultError;
use aes::Aes256;
use aes::cipher::{KeyIvInit, StreamCipher};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

const ROUNDS: u32 = 10_000;
/// What OWASP asks for where a password's hash may get into other hands (Password Storage Cheat Sheet, PBKDF2).
const SLOW_ROUNDS: u32 = 600_000;
const KEY: usize = 32;
const BLOCK: usize = 16;
/// Hexadecimal digits in a line of an encrypted file.
const WIDTH: usize = 80;

type Counter = ctr::Ctr128BE<Aes256>;

/// What a password and a salt give. Overwritten when dropped.
struct Keys([u8; 2 * KEY + BLOCK]);

impl Keys {
    fn derive(password: &[u8], salt: &[u8]) -> Self {
        let mut keys = Keys([0; 2 * KEY + BLOCK]);
        pbkdf2::pbkdf2_hmac::<Sha256>(password, salt, ROUNDS, &mut keys.0);
        keys
    }

    fn counter(&self) -> Result<Counter, VaultError> {
        Counter::new_from_slices(&self.0[..KEY], &self.0[2 * KEY..]).map_err(|_| VaultError::Malformed)
    }

    fn mac(&self, sealed: &[u8]) -> Result<Hmac<Sha256>, VaultError> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0[KEY..2 * KEY]).map_err(|_| VaultError::Malformed)?;
        mac.update(sealed);
        Ok(mac)
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.0.fill(0);
        std::hint::black_box(&self.0);
    }
}

/// What follows from a secret and cannot be tried out quickly.
pub(super) fn stretched(secret: &[u8], salt: &[u8]) -> [u8; KEY] {
    let mut out = [0; KEY];
    pbkdf2::pbkdf2_hmac::<Sha256>(secret, salt, SLOW_ROUNDS, &mut out);
    out
}

/// The body of an encrypted file, in lines of 80.
pub(super) fn seal(password: &[u8], plain: &[u8], salt: &[u8; 32]) -> Result<String, VaultError> {
    let keys = Keys::derive(password, salt);
    let mut bytes = plain.to_vec();
    let padding = BLOCK - plain.len() % BLOCK;
    bytes.extend(std::iter::repeat_n(padding as u8, padding));
    keys.counter()?.apply_keystream(&mut bytes);
    let mac = keys.mac(&bytes)?.finalize().into_bytes();
    let inner = [to_hex(salt), to_hex(&mac), to_hex(&bytes)].join("\n");
    let outer = to_hex(inner.as_bytes());
    let mut body = String::with_capacity(outer.len() + outer.len() / WIDTH + 1);
    for (index, digit) in outer.chars().enumerate() {
        if index > 0 && index % WIDTH == 0 {
            body.push('\n');
        }
        body.push(digit);
    }
    body.push('\n');
    Ok(body)
}

/// The body of an encrypted file, taken apart.
pub(super) struct Sealed {
    pub(super) salt: Vec<u8>,
    mac: Vec<u8>,
    bytes: Vec<u8>,
}

impl Sealed {
    /// Takes a body apart.
    pub(super) fn read<'l>(lines: impl Iterator<Item = &'l str>) -> Result<Self, VaultError> {
        let outer: String = lines.map(str::trim).collect();
        let inner = String::from_utf8(from_hex(&outer)?).map_err(|_| VaultError::Malformed)?;
        let parts: Vec<Vec<u8>> = inner.split('\n').map(from_hex).collect::<Result<_, _>>()?;
        match <[Vec<u8>; 3]>::try_from(parts) {
            Ok([salt, mac, bytes]) if !bytes.is_empty() => Ok(Sealed { salt, mac, bytes }),
            _ => Err(VaultError::Malformed),
        }
    }

    /// The plain bytes.
    pub(super) fn open(&self, password: &[u8]) -> Result<Vec<u8>, VaultError> {
        let keys = Keys::derive(password, &self.salt);
        let sealed = keys.mac(&self.bytes)?.verify_slice(&self.mac);
        sealed.map_err(|_| VaultError::Password)?;
        let mut bytes = self.bytes.clone();
        keys.counter()?.apply_keystream(&mut bytes);
        let padding = bytes.last().map_or(0, |last| usize::from(*last));
        if padding == 0 || padding > BLOCK || padding > bytes.len() {
            return Err(VaultError::Malformed);
        }
        bytes.truncate(bytes.len() - padding);
        Ok(bytes)
    }
}

/// Bytes as hexadecimal digits.
pub(super) fn to_hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or('0');
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

fn from_hex(digits: &str) -> Result<Vec<u8>, VaultError> {
    let values: Option<Vec<u8>> = digits
        .chars()
        .map(|c| c.to_digit(16).map(|digit| digit as u8))
        .collect();
    let values = values
        .filter(|values| values.len() % 2 == 0)
        .ok_or(VaultError::Malformed)?;
    Ok(values.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// A keyed digest of some parts, for names that nobody can guess.
pub(super) fn digest(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return Vec::new();
    };
    for part in parts {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    mac.finalize().into_bytes().to_vec()
}
