//! Every kind of mistake as a person meets it: the command, the files, and what okd-play says. Each message has its
//! place, the line, carets and, where one is near, the right name.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cases;

use cases::{Case, okd_play};

#[test]
fn mistakes_are_told_as_their_goldens_say() {
    let cases = Case::all("mistakes");
    assert!(cases.len() >= 40, "{} cases", cases.len());
    let mut wrong = Vec::new();
    for mut case in cases {
        let dir = tempfile::tempdir().unwrap();
        case.unpack(dir.path(), &["says"]);
        if case.section("inventory").is_none() && case.section("inventory/hosts.yml").is_none() {
            std::fs::write(dir.path().join("inventory"), "web1 ansible_connection=local\n").unwrap();
        }
        let mut said = String::new();
        for command in case.commands() {
            let output = okd_play(dir.path(), &command);
            let text = [output.stdout, output.stderr].concat();
            said.push_str(&String::from_utf8(text).unwrap());
            said.push_str(&format!("exit {}\n", output.status.code().unwrap()));
        }
        let folder = std::fs::canonicalize(dir.path()).unwrap();
        let said = said
            .replace(&format!("{}/", folder.display()), "")
            .replace(&folder.display().to_string(), ".");
        let said = messages(&said);
        let unplaced = case.head.contains("# no place");
        if !(said.contains("error[") || said.contains("warning["))
            || !(unplaced || said.contains("-->") && said.contains('^'))
        {
            wrong.push(format!(
                "{}: no error with a place and carets\n{said}",
                case.path.display()
            ));
        }
        wrong.extend(case.expect("says", &said).err());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The messages alone: what a report of a run says around them is not compared.
fn messages(text: &str) -> String {
    let (mut kept, mut inside) = (String::new(), None);
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        if ["error[", "warning["]
            .iter()
            .any(|begin| line.trim_start().starts_with(begin))
        {
            inside = Some(indent);
        }
        let part_of = |start: usize| line.trim().is_empty() || indent >= start && is_part(&line[start..]);
        match inside {
            Some(start) if part_of(start) => kept.push_str(&format!("{}\n", line.get(start..).unwrap_or_default())),
            _ if line.starts_with("exit ") || line.starts_with("playbook: ") => kept.push_str(&format!("{line}\n")),
            _ => inside = None,
        }
    }
    kept
}

/// Whether a line belongs to a rendered message.
fn is_part(line: &str) -> bool {
    let rest = line.trim_start_matches(|c: char| c == ' ' || c.is_ascii_digit());
    ["error[", "warning[", "-->", "|", "=", "...", ":::"]
        .iter()
        .any(|begin| rest.starts_with(begin))
}
