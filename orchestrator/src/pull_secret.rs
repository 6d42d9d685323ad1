//! What logs a cluster in at the registries that its images come from. The installer looks at its shape alone, and repeats it
//! where it does not like it; so it is looked at here, and no word of it is repeated.

use base64ct::{Base64, Encoding};
use serde_json::Value;

/// A pull secret on one line, as a JSON text that holds it as text: what stands behind `pullSecret:`.
///
/// # Errors
/// What is wrong with it, in words that follow "the pull secret"; registries are named, nothing else of it.
pub fn quoted(text: &str) -> Result<String, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| {
        let typographic = text.contains(['\u{201c}', '\u{201d}', '\u{2018}', '\u{2019}']);
        let why = if typographic {
            ": its quotes are typographic ones"
        } else {
            ""
        };
        format!("is not JSON (line {}, column {}){why}", error.line(), error.column())
    })?;
    let auths = value
        .get("auths")
        .and_then(Value::as_object)
        .filter(|auths| !auths.is_empty());
    let auths = auths.ok_or("has no `auths`")?;
    for (registry, entry) in auths {
        let auth = entry
            .get("auth")
            .and_then(Value::as_str)
            .ok_or_else(|| format!("has no `auth` for {registry}"))?;
        let fits = Base64::decode_vec(auth)
            .is_ok_and(|bytes| matches!(bytes.iter().position(|byte| *byte == b':'), Some(1..)));
        if !fits {
            return Err(format!("has an `auth` for {registry} that is not `id:pass` in base64"));
        }
    }
    Ok(Value::String(value.to_string()).to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_good_one_becomes_one_line() {
        let text = "{\n  \"auths\": {\"fake\": {\"auth\": \"aWQ6cGFzcw==\"}}\n}\n";
        assert_eq!(
            quoted(text).unwrap(),
            r#""{\"auths\":{\"fake\":{\"auth\":\"aWQ6cGFzcw==\"}}}""#
        );
    }

    #[test]
    fn what_is_wrong_is_said_without_repeating_it() {
        for (text, word) in [
            ("", "is not JSON"),
            ("{“auths”: {}}", "typographic"),
            ("{}", "no `auths`"),
            (r#"{"auths": {}}"#, "no `auths`"),
            (r#"{"auths": {"quay.io": {}}}"#, "no `auth` for quay.io"),
            (r#"{"auths": {"fake": {"auth": "bar"}}}"#, "not `id:pass`"),
            (r#"{"auths": {"fake": {"auth": "aWRwYXNz"}}}"#, "not `id:pass`"),
            (r#"{"auths": {"fake": {"auth": "OnBhc3M="}}}"#, "not `id:pass`"),
        ] {
            let told = quoted(text).unwrap_err();
            assert!(
                told.contains(word) && !told.contains("bar") && !told.contains("aWRw"),
                "{told}"
            );
        }
    }
}
