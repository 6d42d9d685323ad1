//! The last line of defence against a secret on a screen, in a log or in a file: everything that is written passes here.
//!
//! Secrets travel as placeholders, so nothing should ever be found. What is looked for is what the run has in plain: the
//! bytes, their lines, their base64 and URL forms, and how JSON and XML write them. The list belongs to the process, since
//! no way out of it may go around it.

use okd_agent::secret::Secret;
use std::borrow::Cow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};

/// What stands in the place of a secret.
pub const HIDDEN: &str = "‹hidden›";

/// Shorter ones would be found in ordinary words.
const SHORTEST: usize = 4;
/// Shorter ones may be there by chance.
const LONG: usize = 8;
/// Shorter lines of a secret with several may be anything.
const SHORTEST_LINE: usize = 12;

static FORMS: RwLock<Vec<String>> = RwLock::new(Vec::new());
static FOUND: AtomicUsize = AtomicUsize::new(0);

/// Makes a secret known. Those of less than four bytes are left out.
pub fn know(secret: &Secret) {
    let bytes = secret.reveal();
    if bytes.len() < SHORTEST {
        return;
    }
    let known = |all: &[String]| std::str::from_utf8(bytes).is_ok_and(|text| all.iter().any(|form| form == text));
    if known(&FORMS.read().unwrap_or_else(PoisonError::into_inner)) {
        return;
    }
    let fresh = forms(bytes);
    let mut all = FORMS.write().unwrap_or_else(PoisonError::into_inner);
    for form in fresh {
        if form.len() >= SHORTEST && !all.contains(&form) {
            all.push(form);
        }
    }
    all.sort_by_key(|form| std::cmp::Reverse(form.len()));
}

/// The text without the secrets that are known.
#[must_use]
pub fn clean(text: &str) -> Cow<'_, str> {
    let all = FORMS.read().unwrap_or_else(PoisonError::into_inner);
    let mut text = Cow::Borrowed(text);
    for form in all.iter() {
        if text.contains(form.as_str()) {
            FOUND.fetch_add(1, Ordering::Relaxed);
            text = Cow::Owned(text.replace(form.as_str(), HIDDEN));
        }
    }
    text
}

/// Finds secrets that are known, in any of their forms, in bytes that are to be kept; `None` where none is known. Short
/// ones are words that are found where nobody put them.
///
/// # Errors
/// Where there are more than can be looked for at once.
pub fn search() -> Result<Option<regex::bytes::Regex>, regex::Error> {
    let all = FORMS.read().unwrap_or_else(PoisonError::into_inner);
    let long = all.iter().filter(|form| form.len() >= LONG);
    let any: Vec<String> = long.map(|form| regex::escape(form)).collect();
    match any.is_empty() {
        true => Ok(None),
        false => regex::bytes::RegexBuilder::new(&any.join("|"))
            .size_limit(1 << 28)
            .build()
            .map(Some),
    }
}

/// How often a secret was found; anything but 0 is a defect elsewhere.
#[must_use]
pub fn found() -> usize {
    FOUND.load(Ordering::Relaxed)
}

fn forms(bytes: &[u8]) -> Vec<String> {
    let mut all = base64(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else {
        return all;
    };
    let lines = text.lines().map(str::trim).filter(|line| line.len() >= SHORTEST_LINE);
    let plain: Vec<&str> = std::iter::once(text).chain([text.trim()]).chain(lines).collect();
    for text in plain {
        all.push(text.to_owned());
        all.push(serde_json::to_string(text).map_or_else(|_| String::new(), |json| json.trim_matches('"').to_owned()));
        all.push(super::junit::escaped(text));
        all.extend(url(text));
    }
    all
}

/// Base64 of the bytes wherever they stand among others: the characters that only they decide.
fn base64(bytes: &[u8]) -> Vec<String> {
    use base64ct::{Base64Unpadded, Base64UrlUnpadded, Encoding};
    let mut all = Vec::new();
    for before in 0..3_usize {
        let padded: Vec<u8> = std::iter::repeat_n(0, before).chain(bytes.iter().copied()).collect();
        let skipped = (before * 8).div_ceil(6);
        let kept = (padded.len() * 8) / 6;
        for text in [
            Base64Unpadded::encode_string(&padded),
            Base64UrlUnpadded::encode_string(&padded),
        ] {
            all.extend(text.get(skipped..kept).map(str::to_owned));
        }
    }
    all
}

/// Percent-encoded, as `encodeURIComponent`, Python's `quote` and forms do it.
fn url(text: &str) -> Vec<String> {
    let encoded = |keep: &str, upper: bool| -> String {
        text.bytes()
            .map(|byte| match byte {
                byte if byte.is_ascii_alphanumeric() || keep.contains(byte as char) && byte.is_ascii() => {
                    (byte as char).to_string()
                }
                byte if upper => format!("%{byte:02X}"),
                byte => format!("%{byte:02x}"),
            })
            .collect()
    };
    let mut all = Vec::new();
    for upper in [true, false] {
        for keep in ["-._~", "-._~/", "-._~!*'()", "-._*"] {
            all.push(encoded(keep, upper));
        }
        all.push(encoded("-._* ", upper).replace(' ', "+"));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64ct::{Base64, Base64Url, Encoding};

    #[test]
    fn no_form_of_a_secret_gets_through() {
        let poison = "p0ison+of/the \"test\" <é>";
        know(&Secret::new(poison));
        let before = found();
        let texts = [
            poison.to_owned(),
            format!("a {poison} b"),
            serde_json::json!({ "x": poison }).to_string(),
            Base64::encode_string(poison.as_bytes()),
            Base64::encode_string(format!("user:{poison}").as_bytes()),
            Base64Url::encode_string(format!("u{poison}x").as_bytes()),
            "p0ison%2Bof%2Fthe%20%22test%22%20%3C%C3%A9%3E".to_owned(),
            "p0ison%2bof/the%20%22test%22%20%3c%c3%a9%3e".to_owned(),
            "p0ison%2Bof%2Fthe+%22test%22+%3C%C3%A9%3E".to_owned(),
            "p0ison+of/the &quot;test&quot; &lt;é&gt;".to_owned(),
        ];
        for text in &texts {
            let cleaned = clean(text);
            assert!(
                cleaned.contains(HIDDEN) && !cleaned.contains("p0ison"),
                "{text}: {cleaned}"
            );
        }
        assert!(found() >= before + texts.len());
        assert_eq!(clean("nothing of it"), "nothing of it");
    }

    #[test]
    fn a_key_is_hidden_line_by_line_and_a_short_word_is_not() {
        know(&Secret::new(
            "-----BEGIN KEY-----\nAAAAB3NzaC1yc2E0123\nxyz\n-----END KEY-----\n",
        ));
        know(&Secret::new("yes"));
        assert_eq!(clean("    +AAAAB3NzaC1yc2E0123\nyes"), "    +‹hidden›\nyes");
    }
}
