//! Goldens of the reader's mistakes: each input beside what a person reads, so that a change of words is seen in review.

use super::{SourceMap, yaml};
use std::path::{Path, PathBuf};

/// Compares with the golden file, or writes it where `OKD_PLAY_BLESS` is set.
pub(crate) fn check(golden: &Path, actual: &str) {
    if std::env::var_os("OKD_PLAY_BLESS").is_some() {
        std::fs::write(golden, actual).unwrap();
    }
    let expected = std::fs::read_to_string(golden).unwrap_or_default();
    assert_eq!(
        actual,
        expected,
        "{} differs; OKD_PLAY_BLESS=1 writes it anew",
        golden.display()
    );
}

/// The cases of a golden folder, sorted.
pub(crate) fn cases(folder: &str, extension: &str) -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut cases: Vec<PathBuf> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    cases.sort();
    cases
}

#[test]
fn yaml_mistakes_read_as_their_goldens() {
    let cases = cases("src/source/golden", "yml");
    assert!(cases.len() >= 20, "{} cases", cases.len());
    for case in cases {
        let sources = SourceMap::default();
        let name = case.file_name().unwrap();
        let file = sources.add(Path::new(name), std::fs::read_to_string(&case).unwrap());
        let mistakes = yaml::parse(&sources, file).expect_err(&case.display().to_string());
        check(&case.with_extension("txt"), &mistakes.render(&sources, false));
    }
}
