//! What `bootstrap.ign` says: the manifests in it, and how long the first of its certificates is good. The times of files lie,
//! this does not.

use crate::resource::json;
use crate::value::Value;

/// The certificate that ends first, together with others made at the same moment.
const SIGNER: &str = "/opt/openshift/tls/kubelet-signer.crt";

/// A moment as a certificate has it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Moment {
    /// Since 1970.
    pub(super) seconds: i64,
    /// For people.
    pub(super) text: String,
}

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bootstrap {
    files: Vec<(String, String)>,
    /// When its certificates were made.
    pub(super) from: Moment,
    /// When the first of them end.
    pub(super) until: Moment,
}

impl Bootstrap {
    /// `None` where it is no such file, or its certificate cannot be read.
    pub(super) fn read(bytes: &[u8]) -> Option<Bootstrap> {
        let value = json::parse(std::str::from_utf8(bytes).ok()?).ok()?;
        let (mut files, mut validity) = (Vec::new(), None);
        for file in value.get("storage")?.get("files")?.as_list()? {
            let path = file.get("path")?.as_str()?;
            let wanted = path == SIGNER || path.starts_with("/opt/openshift/manifests/") || path.starts_with("/opt/openshift/openshift/");
            if !wanted {
                continue;
            }
            let content = data(file)?;
            match path {
                SIGNER => validity = certificate(&pem(&content)?),
                _ => files.push((path.to_owned(), content)),
            }
        }
        let (from, until) = validity?;
        Some(Bootstrap { files, from, until })
    }

    /// A manifest's text, by its name in the installer's folder.
    pub(super) fn manifest(&self, name: &str) -> Option<&str> {
        let path = format!("/opt/openshift/{name}");
        self.files.iter().find(|(known, _)| *known == path).map(|(_, text)| text.as_str())
    }
}

/// A file's content where it is a data URL in base64 (RFC 2397).
fn data(file: &Value) -> Option<String> {
    let source = file.get("contents")?.get("source")?.as_str()?;
    let (_, text) = source.strip_prefix("data:")?.split_once("base64,")?;
    Some(String::from_utf8_lossy(&base64(text)?).into_owned())
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let (mut out, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for byte in text.bytes().filter(|byte| !byte.is_ascii_whitespace() && *byte != b'=') {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        (bits, count) = (bits << 6 | u32::from(six), count + 6);
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    Some(out)
}

/// The first block of a PEM text (RFC 7468).
fn pem(text: &str) -> Option<Vec<u8>> {
    let (_, rest) = text.split_once("-----BEGIN CERTIFICATE-----")?;
    base64(rest.split_once("-----END")?.0)
}

/// The next value in DER: its tag, its content, and what follows (X.690, 8.1).
fn value(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (first, mut rest) = rest.split_first()?;
    let mut length = usize::from(*first);
    if length > 0x80 {
        let digits = rest.get(..length - 0x80).filter(|digits| digits.len() <= 4)?;
        rest = &rest[digits.len()..];
        length = digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit));
    }
    Some((*tag, rest.get(..length)?, &rest[length..]))
}

/// From when and until when a certificate is good (RFC 5280, 4.1).
fn certificate(der: &[u8]) -> Option<(Moment, Moment)> {
    let (_, certificate, _) = value(der)?;
    let (_, mut rest, _) = value(certificate)?;
    if rest.first() == Some(&0xa0) {
        rest = value(rest)?.2;
    }
    // The serial number, the algorithm, who signed it.
    for _ in 0..3 {
        rest = value(rest)?.2;
    }
    let (_, validity, _) = value(rest)?;
    let (tag, from, rest) = value(validity)?;
    let (next, until, _) = value(rest)?;
    Some((moment(tag, from)?, moment(next, until)?))
}

/// UTCTime or GeneralizedTime (RFC 5280, 4.1.2.5).
fn moment(tag: u8, text: &[u8]) -> Option<Moment> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let full = match (tag, text.len()) {
        (0x17, 12) => format!("{}{text}", if text < "5" { "20" } else { "19" }),
        (0x18, 14) => text.to_owned(),
        _ => return None,
    };
    let number = |from: usize, to: usize| full.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
    let (hour, minute, second) = (number(8, 10)?, number(10, 12)?, number(12, 14)?);
    // A date to days: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms", days_from_civil.
    let shifted = if month > 2 { year } else { year - 1 };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = shifted * 365 + shifted / 4 - shifted / 100 + shifted / 400 + of_year - 719_468;
    Some(Moment {
        seconds: ((days * 24 + hour) * 60 + minute) * 60 + second,
        text: format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC"),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn moments_are_those_of_the_calendar() {
        let at = |tag, text: &str| moment(tag, text.as_bytes()).map(|moment| (moment.seconds, moment.text));
        assert_eq!(at(0x17, "700101000000Z").unwrap().0, 0);
        assert_eq!(at(0x17, "000301000000Z").unwrap().0, 951_868_800);
        assert_eq!(at(0x17, "240229235959Z").unwrap(), (1_709_251_199, "2024-02-29 23:59:59 UTC".to_owned()));
        assert_eq!(at(0x18, "20501231000000Z").unwrap().0, 2_556_057_600);
        assert_eq!((at(0x17, "2402292359Z"), at(0x04, "240229235959Z")), (None, None));
    }

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (plain, encoded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foobar", "Zm9v\nYmFy"), ("fo", "\nZm8=\n")] {
            assert_eq!(base64(encoded).unwrap(), plain.as_bytes());
        }
        assert_eq!(base64("Z*=="), None);
    }

    #[test]
    fn what_is_cut_off_is_no_certificate() {
        let whole = [0x30, 0x03, 0x30, 0x01, 0x00];
        for length in 0..=whole.len() {
            assert_eq!(certificate(&whole[..length]), None);
        }
        assert_eq!(value(&[0x04, 0x82, 0x00, 0x01, 7]), Some((4, &[7][..], &[][..])));
        assert_eq!(value(&[0x04, 0x85, 0, 0, 0, 0, 1, 7]), None);
    }
}
