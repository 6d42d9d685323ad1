//! `--limit` and `--tags` do their part and no other; lists contact nothing.

use okd_tests::{Flavour, Lab, Play};

const MARKS: &str = r#"
    - name: One
      copy: {dest: /srv/one, content: "1"}
      tags: one
    - name: Two
      copy: {dest: /srv/two, content: "2"}
      tags: [two, late]
    - name: Three
      copy: {dest: /srv/three, content: "3"}
      tags: late
"#;

#[test]
fn a_limit_and_tags_do_exactly_their_part() {
    let lab = Lab::up();
    let hosts = [("one", "10.77.1.21"), ("other", "10.77.1.22")]
        .map(|(name, address)| lab.host_with(name, address, Flavour::Debian, &["--cheap"]));
    let play = Play::tasks(&lab, MARKS);
    let there = || {
        let list = |host: &okd_tests::Host<'_>| {
            host.sh("ls -I share /srv")
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
        };
        (list(&hosts[0]), list(&hosts[1]))
    };
    let pair = |one: &str, other: &str| (one.to_owned(), other.to_owned());
    let before = hosts[1].accepted();
    let run = play.apply(&["--limit", "one", "--tags", "two"]);
    assert_eq!(there(), pair("two", ""), "{run}");
    assert_eq!(hosts[1].accepted(), before, "a host outside of the limit was contacted");
    assert!(!run.touched("other"), "{run}");
    assert_eq!(run.results("plan").count(), 1, "{run}");
    play.apply(&["--limit", "other", "--skip-tags", "late"]);
    assert_eq!(there(), pair("two", "one"));
    play.apply(&["--limit", "!one", "--tags", "late"]);
    assert_eq!(there(), pair("two", "one three two"));
    play.apply(&[]);
    assert_eq!(there(), pair("one three two", "one three two"));
}

#[test]
fn what_nobody_has_is_said() {
    let lab = Lab::up();
    lab.host_with("one", "10.77.1.21", Flavour::Debian, &["--cheap"]);
    let play = Play::tasks(&lab, MARKS);
    let run = play.run(&["--yes", "--limit", "oen"]);
    assert_ne!(run.code, Some(0), "{run}");
    run.says("oen");
}

#[test]
fn lists_and_the_syntax_check_contact_nothing() {
    let lab = Lab::up();
    lab.host_with("one", "10.77.1.21", Flavour::Debian, &["--cheap"]);
    let play = Play::tasks(&lab, MARKS);
    play.put(
        "hosts.yaml",
        &(lab.inventory() + "    nowhere: {ansible_host: 10.77.9.9}\n"),
    );
    let before = lab.connects();
    for (flag, words) in [
        ("--list-hosts", &["one", "nowhere"][..]),
        ("--list-tasks", &["One", "Two", "Three"]),
        ("--list-tags", &["late", "one", "two"]),
        ("--syntax-check", &[]),
    ] {
        let run = play.run(&[flag]).ended(0);
        words.iter().for_each(|word| run.says(word));
    }
    assert_eq!(lab.connects(), before, "something was contacted");
    play.run(&["--check", "--limit", "one"]).ended(0);
    assert!(lab.connects() > before, "the count sees no connection at all");
}
