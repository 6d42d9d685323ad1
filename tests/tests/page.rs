//! The page of a kept plan, in a browser: it can be searched and unfolded, and nothing that a plan holds runs in it.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, missing_docs)]

use okd_tests::Browser;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// What does harm where it is taken for markup.
const EVIL: &str = "</pre></script><script>window.evil = 1</script><img src=x onerror='window.evil = 2'>";

const BOOK: &str = r#"
- name: Evil play EVIL
  hosts: all
  gather_facts: false
  tasks:
    - name: Page
      copy: {dest: "DIR/{{ inventory_hostname }}.html", content: "first\nEVIL\nneedle in it\n", mode: "0644"}
      notify: Handled
    - name: Line
      lineinfile: {path: "DIR/{{ inventory_hostname }}.html", line: hay}
    - name: Same
      file: {path: DIR, state: directory}
    - name: Not known
      command: "true EVIL"
    - name: Task EVIL
      copy: {dest: DIR/other, content: "other\n"}
      when: inventory_hostname == "one"
  handlers:
    - name: Handled
      command: "true"
      args: {predicts: {nothing: true}}
"#;

fn okd(folder: &Path, words: &[&str]) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let output = Command::new(okd_tests::play::program())
        .args(words)
        .current_dir(if folder.as_os_str().is_empty() { root } else { folder })
        .env_remove("OKD_PLAY_INVENTORY")
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

fn page() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let evil = EVIL.replace('"', "\\\"");
    let book = BOOK
        .replace("\"true EVIL\"", &format!("\"true {}\"", evil.replace('\'', "\\\\'")))
        .replace("play EVIL", "play <script>window.evil = 3</script>")
        .replace("Task EVIL", "Task <b onclick=alert(1)>bold</b>")
        .replace("EVIL", &evil)
        .replace("DIR", &folder.path().display().to_string());
    std::fs::write(folder.path().join("book.yaml"), book).unwrap();
    okd(
        folder.path(),
        &["plan", "book.yaml", "-i", "one,two,", "-c", "local", "-o", "book.plan"],
    );
    okd(
        folder.path(),
        &["show", "book.plan", "--format", "html", "-o", "book.html"],
    );
    let file = folder.path().join("book.html");
    (folder, file)
}

#[test]
fn a_person_searches_and_unfolds_a_diff() {
    let (_folder, file) = page();
    let mut browser = Browser::open(&file, 1200, 900);
    assert_eq!(browser.text("h1"), "book.yaml");
    let all = browser.visible("details.step");
    assert_eq!(
        browser.text("#found"),
        format!("{all} of 12 steps, {} filtered out", 12 - all)
    );
    assert_eq!(browser.visible(".step .diff"), 0, "all are folded at first");

    browser.press("/");
    browser.type_in("needle");
    assert_eq!(browser.value("document.querySelector('#q').value"), "needle");
    assert_eq!(
        browser.visible("details.step"),
        4,
        "two hosts, and the line that follows shows it too"
    );
    browser.type_in(" first two.html");
    assert_eq!(browser.visible("details.step"), 2);
    assert_eq!((browser.visible("#host-one"), browser.visible("#host-two")), (0, 1));
    assert_eq!(browser.text("#found"), "2 of 12 steps");
    assert_eq!(browser.value("CSS.highlights.get('found').size > 0"), true);
    browser.click("#host-two details.step summary");
    assert_eq!(browser.visible(".step .diff"), 1);
    assert!(browser.text("#host-two .diff").contains("needle in it"));
    assert_eq!(browser.visible("#host-two .diff .a"), 3);
    browser.press("Escape");
    assert_eq!(browser.visible("details.step"), all);
    browser.press("/");
    browser.type_in("nowhere at all");
    assert_eq!((browser.visible("details.step"), browser.visible(".empty")), (0, 1));
    browser.press("Escape");

    browser.click(".chip.ok");
    assert_eq!(browser.visible("details.step[data-status=ok]"), 2);
    browser.click(".chip.changed");
    assert_eq!(browser.visible("details.step[data-status=changed]"), 0);
    browser.click(".dag .node.is-changed");
    assert!(
        browser.visible("details.step.here .diff") > 0,
        "the picture leads to the step"
    );
    browser.click(".list a");
    assert_eq!(
        browser.value("document.querySelector('.here').dataset.status"),
        "unknown"
    );
    browser.click("#fold");
    assert!(browser.visible(".step .diff") > 2);
    browser.prefer_dark(true);
    let paper = "getComputedStyle(document.body).backgroundColor";
    assert_eq!(browser.value(paper), "rgb(15, 20, 27)");
    browser.click("#theme");
    assert_eq!(browser.value(paper), "rgb(245, 246, 248)");
    assert!(browser.complaints().is_empty(), "{:?}", browser.complaints());
}

#[test]
fn nothing_that_a_plan_holds_runs() {
    let (_folder, file) = page();
    let mut browser = Browser::open(&file, 1200, 900);
    assert_eq!(
        browser.value("document.querySelectorAll('script, img, b[onclick]').length"),
        1
    );
    assert!(browser.text("#host-one .diff").contains(EVIL));
    browser.click("#fold");
    assert_eq!(browser.value("typeof window.evil"), "undefined");
    assert!(browser.complaints().is_empty(), "{:?}", browser.complaints());
    // Where something came through all the same, the page's policy would stop it.
    browser.value("document.body.insertAdjacentHTML('beforeend', `<img src=x onerror='window.evil = 4'>`); new Promise((done) => setTimeout(done, 200))");
    browser.value("(() => { const one = document.createElement('script'); one.textContent = 'window.evil = 5'; document.body.append(one); })()");
    assert_eq!(browser.value("typeof window.evil"), "undefined");
    let refused = browser.value("fetch('http://127.0.0.1:1/').then(() => 'sent', () => 'refused')");
    assert_eq!(refused, "refused");
    assert!(
        browser
            .complaints()
            .iter()
            .any(|text| text.contains("Content Security Policy"))
    );
}

/// The picture in the documents is of the example site; `OKD_PLAY_BLESS=1` takes it anew.
#[test]
fn the_picture_in_the_documents_is_one_of_the_page() {
    let picture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/plan.png");
    let folder = tempfile::tempdir().unwrap();
    let (plan, page) = (folder.path().join("services.plan"), folder.path().join("services.html"));
    let (plan, page) = (plan.display().to_string(), page.display().to_string());
    // Nobody answers there, so that the host is planned as the blank one that it will be.
    let nowhere = "ansible_host=127.0.0.1 ansible_port=1 okd_expected=el9";
    let words = [
        "plan",
        "playbooks/services.yaml",
        "-i",
        "inventory/example",
        "-e",
        nowhere,
        "-o",
        &plan,
    ];
    okd(Path::new(""), &words);
    okd(Path::new(""), &["show", &plan, "--format", "html", "-o", &page]);
    let mut browser = Browser::open(Path::new(&page), 1180, 1000);
    browser.click("#q");
    browser.type_in("named.conf");
    browser.click("details.step[data-status=changed] summary");
    assert!(browser.visible(".step .diff") > 0);
    assert!(browser.complaints().is_empty(), "{:?}", browser.complaints());
    browser.value(
        "scrollBy({top: document.querySelector('.head').getBoundingClientRect().top - 100, behavior: 'instant'})",
    );
    let taken = browser.picture();
    if std::env::var_os("OKD_PLAY_BLESS").is_some() {
        std::fs::write(&picture, &taken).unwrap();
    }
    let kept = std::fs::read(&picture).unwrap();
    assert!(
        kept.starts_with(b"\x89PNG") && kept.len() < 200_000,
        "{} bytes",
        kept.len()
    );
    let size = |png: &[u8]| png[16..24].to_vec();
    assert_eq!(
        size(&kept),
        size(&taken),
        "docs/plan.png is not one of this page: OKD_PLAY_BLESS=1 takes it anew"
    );
}
