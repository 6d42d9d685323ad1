//! Password hashes for `/etc/shadow`: SHA-crypt (Ulrich Drepper, "Unix crypt using SHA-256 and SHA-512", 2008).

use minijinja::value::Value as Native;
use minijinja::{Error, State};
use sha2::{Digest, Sha256, Sha512};

use crate::template::registry::{Call, Entry, reads, wrong};

/// Every filter of this file.
pub(super) const ALL: &[Entry] = &[reads(
    &["password_hash"],
    &["value", "hashtype", "salt", "salt_size", "rounds", "ident"],
    password_hash,
)];

const LETTERS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The rounds that are not written into the hash.
const USUAL_ROUNDS: i64 = 5000;

fn password_hash(_: &mut State<'_, '_>, call: &Call) -> Result<Native, Error> {
    let password = call.text()?;
    let salt = call.text_or("salt", "")?;
    if salt.is_empty() {
        return Err(wrong(
            "`password_hash` needs a salt of its own: with a random one every run would change the hash",
        ));
    }
    if salt.len() > 16 || !salt.bytes().all(|byte| LETTERS.contains(&byte)) {
        return Err(wrong(
            "`password_hash`: a salt has up to 16 letters, digits, dots and slashes",
        ));
    }
    let rounds = call.int_or("rounds", USUAL_ROUNDS)?;
    if !(1000..=999_999_999).contains(&rounds) {
        return Err(wrong("`password_hash`: rounds are 1000 to 999999999"));
    }
    let (ident, hash) = match call.text_or("hashtype", "sha512")?.as_str() {
        "sha512" => (
            '6',
            encode_512(&crypt::<Sha512>(password.as_bytes(), salt.as_bytes(), rounds)),
        ),
        "sha256" => (
            '5',
            encode_256(&crypt::<Sha256>(password.as_bytes(), salt.as_bytes(), rounds)),
        ),
        other => return Err(wrong(format!("`password_hash` makes sha512 and sha256, not `{other}`"))),
    };
    let shown = if rounds == USUAL_ROUNDS {
        String::new()
    } else {
        format!("rounds={rounds}$")
    };
    Ok(Native::from(format!("${ident}${shown}{salt}${hash}")))
}

/// As many bytes as `length`, out of a digest over and over.
fn stretched(digest: &[u8], length: usize) -> Vec<u8> {
    digest.iter().copied().cycle().take(length).collect()
}

/// The steps of the specification, 1 to 21.
fn crypt<D: Digest>(key: &[u8], salt: &[u8], rounds: i64) -> Vec<u8> {
    let alternate = D::new()
        .chain_update(key)
        .chain_update(salt)
        .chain_update(key)
        .finalize();
    let mut first = D::new().chain_update(key).chain_update(salt);
    first.update(stretched(&alternate, key.len()));
    let mut length = key.len();
    while length > 0 {
        if length & 1 == 1 {
            first.update(&alternate);
        } else {
            first.update(key);
        }
        length >>= 1;
    }
    let mut digest = first.finalize();
    let keys = (0..key.len())
        .fold(D::new(), |hasher, _| hasher.chain_update(key))
        .finalize();
    let key_bytes = stretched(&keys, key.len());
    let salts = (0..16 + usize::from(digest[0]))
        .fold(D::new(), |hasher, _| hasher.chain_update(salt))
        .finalize();
    let salt_bytes = stretched(&salts, salt.len());
    for round in 0..rounds {
        let mut hasher = D::new();
        let odd = round & 1 == 1;
        if odd {
            hasher.update(&key_bytes);
        } else {
            hasher.update(&digest);
        }
        if round % 3 != 0 {
            hasher.update(&salt_bytes);
        }
        if round % 7 != 0 {
            hasher.update(&key_bytes);
        }
        if odd {
            hasher.update(&digest);
        } else {
            hasher.update(&key_bytes);
        }
        digest = hasher.finalize();
    }
    digest.to_vec()
}

/// Three bytes as letters, the low bits first.
fn letters(high: u8, middle: u8, low: u8, count: usize, out: &mut String) {
    let mut bits = u32::from(high) << 16 | u32::from(middle) << 8 | u32::from(low);
    for _ in 0..count {
        out.push(char::from(LETTERS[(bits & 63) as usize]));
        bits >>= 6;
    }
}

fn encode_512(digest: &[u8]) -> String {
    let mut out = String::new();
    let (mut a, mut b, mut c) = (0, 21, 42);
    for _ in 0..21 {
        letters(digest[a], digest[b], digest[c], 4, &mut out);
        (a, b, c) = (b + 1, c + 1, a + 1);
    }
    letters(0, 0, digest[63], 2, &mut out);
    out
}

fn encode_256(digest: &[u8]) -> String {
    let mut out = String::new();
    let (mut a, mut b, mut c) = (0, 10, 20);
    for _ in 0..10 {
        letters(digest[a], digest[b], digest[c], 4, &mut out);
        (a, b, c) = (c + 1, a + 1, b + 1);
    }
    letters(0, digest[31], digest[30], 3, &mut out);
    out
}
