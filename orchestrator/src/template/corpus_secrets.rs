//! The corpus of secrets: what filters make of them, and where lookups have them from.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::{Arc, Mutex};

use super::corpus::{World, render};
use super::*;

/// Keeps secrets in memory, by number.
#[derive(Default)]
struct Store(Mutex<Vec<(String, String)>>);

impl SecretStore for Store {
    fn reveal(&self, text: &str) -> Option<String> {
        let known = self.0.lock().unwrap();
        known
            .iter()
            .any(|(placeholder, _)| text.contains(placeholder))
            .then(|| {
                known.iter().fold(text.to_owned(), |text, (placeholder, value)| {
                    text.replace(placeholder, value)
                })
            })
    }

    fn derive(&self, name: &str, value: String) -> String {
        let mut known = self.0.lock().unwrap();
        let placeholder = format!("\u{2039}secret:{name}:{:04}\u{203a}", known.len());
        known.push((placeholder.clone(), value));
        placeholder
    }
}

#[test]
fn secrets_stay_hidden_in_every_filter() {
    let store = Arc::new(Store::default());
    let placeholder = store.derive("pw", "s3cr\"et".to_owned());
    let cases = [
        ("{{ pw }}", "s3cr\"et"),
        ("x={{ pw }};", "x=s3cr\"et;"),
        ("{{ pw | default('x') }}", "s3cr\"et"),
        ("{{ pw | b64encode }}", "czNjciJldA=="),
        ("{{ pw | upper }}!", "S3CR\"ET!"),
        ("{{ {'p': pw} | to_json }}", "{\"p\": \"s3cr\\\"et\"}"),
        ("{{ pw | hash('md5') | length }}", "32"),
        ("{{ pw.replace('s3', 'z') }}", "zcr\"et"),
        ("{{ (pw ~ '-x') | split('-') | first }}", "s3cr\"et"),
        ("{{ [pw] | map('quote') | first }}", "'s3cr\"et'"),
        ("{{ ['a', pw] | join(':') }}", "a:s3cr\"et"),
        ("{{ pw is match('s3') }}", "True"),
    ];
    for (text, want) in cases {
        let options = Options {
            secrets: Some(Arc::clone(&store) as Arc<dyn SecretStore>),
            ..Options::default()
        };
        let got = render(
            World::with(options).known("pw", placeholder.clone()),
            &format!("{text} "),
        )
        .unwrap();
        let got = got.as_str().unwrap().trim_end();
        assert!(
            !got.to_lowercase().contains("s3cr") && !got.contains("czNj"),
            "{text}: {got}"
        );
        assert_eq!(store.reveal(got).unwrap_or_else(|| got.to_owned()), want, "{text}");
    }
    let options = Options {
        secrets: Some(Arc::clone(&store) as Arc<dyn SecretStore>),
        ..Options::default()
    };
    match render(
        World::with(options).known("pw", placeholder.clone()),
        "{{ pw | b64decode }}",
    ) {
        Err(RenderError::Failed(failure)) => {
            assert_eq!(
                failure.message,
                "`b64decode` failed on the secret `pw` (its words are hidden)"
            );
        }
        other => panic!("{other:?}"),
    }
    let without = render(World::new().known("pw", placeholder), "{{ pw | b64encode }}");
    assert!(
        matches!(without, Err(RenderError::Failed(failure)) if failure.message == "`b64encode` cannot read a secret here")
    );
}

#[test]
fn what_is_kept_elsewhere_is_a_secret_and_asked_for_once() {
    let keeper = Arc::new(crate::vault::Keeper::random().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let asked = folder.path().join("asked");
    std::fs::write(folder.path().join("pw"), "of a file\n").unwrap();
    let cases = [
        (
            format!("command='echo x >> {}; echo s3cret of a store'", asked.display()),
            "s3cret of a store",
            "echo",
        ),
        ("command=['printf', '%s', '$HOME']".to_owned(), "$HOME", "printf"),
        (format!("file='{}/pw'", folder.path().display()), "of a file", "pw"),
        ("env='CARGO_PKG_NAME'".to_owned(), "okd-play", "CARGO_PKG_NAME"),
        (
            "env='CARGO_PKG_NAME', label='mine'".to_owned(),
            "okd-play",
            "CARGO_PKG_NAME",
        ),
    ];
    for (place, want, name) in &cases {
        for text in [
            "{{ lookup('secret', PLACE) }} ",
            "{{ lookup('secret', PLACE) | upper }} ",
        ] {
            let options = Options {
                secrets: Some(Arc::clone(&keeper) as Arc<dyn SecretStore>),
                ..Options::default()
            };
            let got = render(World::with(options), &text.replace("PLACE", place)).unwrap();
            let got = got.as_str().unwrap().trim_end();
            assert!(got.starts_with(&format!("\u{2039}secret:{name}:")), "{place}: {got}");
            let shown = keeper.reveal(got).unwrap();
            assert!(shown == *want || shown == want.to_uppercase(), "{place}: {shown}");
        }
    }
    assert_eq!(std::fs::read_to_string(asked).unwrap(), "x\n");
    let refused = [
        (
            "{{ lookup('secret', command='echo no >&2; echo s3cret; exit 3') }}",
            "the command `echo no >&2; echo s3cret; exit 3` failed (exit status: 3): no",
        ),
        (
            "{{ lookup('secret', 'OKD_NO_SUCH') }}",
            "`secret` says where it is kept by one of `file='…'`, `env='…'` and `command='…'`",
        ),
        (
            "{{ lookup('secret', comand='pass show db') }}",
            "`secret` has no option `comand`; did you mean `command`?",
        ),
        (
            "{{ lookup('secret', env='OKD_NO_SUCH') }}",
            "the environment has no `OKD_NO_SUCH`",
        ),
        (
            "{{ lookup('secret', command='true') }}",
            "`secret`: the command `true` gives nothing",
        ),
    ];
    for (text, want) in refused {
        let options = Options {
            secrets: Some(Arc::clone(&keeper) as Arc<dyn SecretStore>),
            ..Options::default()
        };
        match render(World::with(options), text) {
            Err(RenderError::Failed(failure)) => assert_eq!(failure.message, want, "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
}
