//! Playbooks run for real on this machine: what they leave in files is what Ansible leaves. The expected logs are
//! ansible-core's; with `OKD_PLAY_ANSIBLE=/path/to/ansible-playbook` it is run too and compared anew.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cases;

use cases::{Case, okd_play};
use std::path::Path;
use std::process::Command;

const INVENTORY: &str = "[web]\nh1\nh2\n[db]\nh3\n[all:vars]\nansible_connection=local\nlog={{ playbook_dir }}/log.{{ inventory_hostname }}\n";

#[test]
fn playbooks_do_what_ansible_does() {
    let ansible = std::env::var("OKD_PLAY_ANSIBLE").ok();
    let cases = Case::all("language");
    assert!(cases.len() >= 80, "{} cases", cases.len());
    let mut wrong = Vec::new();
    for mut case in cases {
        let (log, said) = ran(&case, |dir, args| {
            let fixed = ["run", "-i", "inventory", "--yes"].map(str::to_owned);
            okd_play(dir, &[&fixed, args].concat())
        });
        if let Some(program) = ansible.as_ref().filter(|_| !case.head.contains("# okd-play only")) {
            let (theirs, said) = ran(&case, |dir, args| {
                let mut command = Command::new(program);
                command
                    .args(["-i", "inventory"])
                    .args(args)
                    .current_dir(dir)
                    .env("HOME", dir);
                command.output().unwrap()
            });
            wrong.extend(
                case.expect("log", &theirs)
                    .err()
                    .map(|text| format!("Ansible: {text}\n{said}")),
            );
        }
        wrong.extend(case.expect("log", &log).err().map(|text| format!("{text}\n{said}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_second_run_changes_nothing_and_a_plan_tells_what_a_run_does() {
    let dir = tempfile::tempdir().unwrap();
    let play = "- hosts: h1\n  gather_facts: false\n  tasks:\n    - file: {path: '{{ playbook_dir }}/d', state: directory}\n    - copy: {dest: '{{ playbook_dir }}/d/{{ item }}', content: \"{{ item }}\\n\"}\n      loop: [a, b]\n      register: r\n    - lineinfile: {path: '{{ playbook_dir }}/d/a', line: more}\n      when: r is changed or r is not changed\n    - stat: {path: '{{ playbook_dir }}/d/b'}\n      register: s\n    - copy: {dest: '{{ playbook_dir }}/d/c', content: \"{{ s.stat.size }}\\n\"}\n    - file: {path: '{{ playbook_dir }}/d/none', state: absent}\n";
    std::fs::write(dir.path().join("play.yml"), play).unwrap();
    std::fs::write(dir.path().join("inventory"), "h1 ansible_connection=local\n").unwrap();
    let run = |args: &[&str]| {
        let fixed = ["run", "play.yml", "-i", "inventory", "--output", "json"];
        let args: Vec<String> = fixed.iter().chain(args).map(|arg| (*arg).to_owned()).collect();
        let output = okd_play(dir.path(), &args);
        (String::from_utf8(output.stdout).unwrap(), output.status.code().unwrap())
    };
    let statuses = |text: &str, pass: &str| -> Vec<(String, String, String)> {
        let events = text
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let results = events.filter(|event| event["event"] == "result" && event["pass"] == pass);
        let mut all: Vec<_> = results
            .map(|event| {
                (
                    event["path"].to_string(),
                    event["item"].to_string(),
                    event["status"].to_string(),
                )
            })
            .collect();
        all.sort();
        all
    };
    let (planned, code) = run(&["--check", "--exit-code"]);
    assert_eq!(code, 10, "{planned}");
    assert!(!dir.path().join("d").exists());
    let (first, code) = run(&["--yes"]);
    assert_eq!(code, 0, "{first}");
    let pending = |all: Vec<(String, String, String)>| -> Vec<_> {
        all.into_iter()
            .filter(|(_, _, status)| status == "\"changed\"")
            .collect()
    };
    assert_eq!(statuses(&planned, "plan"), statuses(&first, "plan"));
    assert_eq!(pending(statuses(&first, "plan")), pending(statuses(&first, "apply")));
    assert_eq!(std::fs::read_to_string(dir.path().join("d/a")).unwrap(), "a\nmore\n");
    assert_eq!(std::fs::read_to_string(dir.path().join("d/c")).unwrap(), "2\n");
    let (_, code) = run(&["--check", "--exit-code"]);
    assert_eq!(
        code, 10,
        "the copy of `a` takes the line off again, as it would in Ansible"
    );
}

#[test]
fn what_is_done_on_the_control_node_alone_needs_no_inventory() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("play");
    std::fs::create_dir(&folder).unwrap();
    for (hosts, end) in [("localhost", Some(0)), ("all", Some(2)), ("localhost,web1", Some(2))] {
        let text = format!("- hosts: \"{hosts}\"\n  gather_facts: false\n  tasks:\n    - debug: {{msg: hello}}\n");
        std::fs::write(folder.join("site.yaml"), text).unwrap();
        let run = okd_play(&folder, &["run".to_owned(), "site.yaml".to_owned(), "--yes".to_owned()]);
        let said = String::from_utf8_lossy(&run.stderr);
        assert_eq!(run.status.code(), end, "{hosts}: {said}");
        assert_eq!(
            said.contains("there is no inventory"),
            end != Some(0),
            "{hosts}: {said}"
        );
    }
}

/// A step that was handed in behind one that fails gives nothing, and nobody waits for it for ever.
#[test]
fn what_a_step_that_never_began_would_have_given_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let play = "- {name: One, hosts: h1, gather_facts: false, tasks: [
    {shell: sleep 1; exit 1, changed_when: false},
    {stat: {path: /}, register: x}]}
- {name: Two, hosts: h2, gather_facts: false, needs: [], tasks: [
    {copy: {dest: '{{ playbook_dir }}/two', content: '{{ hostvars.h1.x is defined }}'}}]}\n";
    std::fs::write(dir.path().join("play.yml"), play).unwrap();
    std::fs::write(
        dir.path().join("inventory"),
        "[all]\nh1\nh2\n[all:vars]\nansible_connection=local\n",
    )
    .unwrap();
    let args = ["run", "play.yml", "-i", "inventory", "--yes"].map(str::to_owned);
    let output = okd_play(dir.path(), &args);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(std::fs::read_to_string(dir.path().join("two")).unwrap(), "False");
}

/// What a step whose arguments are not known yet may make is not taken for missing, and nothing else is doubted.
#[test]
fn behind_a_step_that_a_plan_does_not_know_nothing_false_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let play = "- hosts: h1\n  gather_facts: false\n  vars: {d: '{{ playbook_dir }}/d'}\n  tasks:
    - {name: Folder, file: {path: '{{ d }}', state: directory}}
    - {name: Says, command: echo words, register: said}
    - {name: Unknown words, copy: {dest: '{{ d }}/words', content: '{{ said.stdout }}'}}
    - {name: Template, template: {src: t.j2, dest: '{{ d }}/t'}}
    - {name: Unknown condition, file: {path: '{{ d }}/empty', state: touch}, when: said.rc == 0}
    - {name: Copy of it, copy: {remote_src: true, src: '{{ d }}/words', dest: '{{ d }}/copy'}}
    - {name: Only looks, stat: {path: '{{ d }}/{{ said.stdout }}'}, register: looked}
    - {name: Is words, stat: {path: '{{ d }}/words'}, register: words}
    - {name: Is template, stat: {path: '{{ d }}/t'}}
    - {name: Is empty, stat: {path: '{{ d }}/empty'}}
    - {name: Is copy, stat: {path: '{{ d }}/copy'}}
    - {name: Is folder, stat: {path: '{{ d }}'}}
    - {name: Is in folder, find: {paths: '{{ d }}'}}
    - {name: Where it is missing, copy: {dest: '{{ playbook_dir }}/missing', content: x}, when: not words.stat.exists}
    - {name: Is other, stat: {path: '{{ playbook_dir }}/other'}, register: other}
    - {name: Where other is missing, copy: {dest: '{{ playbook_dir }}/other', content: x}, when: not other.stat.exists}\n";
    std::fs::write(dir.path().join("play.yml"), play).unwrap();
    std::fs::write(dir.path().join("t.j2"), "{{ said.stdout }}").unwrap();
    std::fs::write(dir.path().join("inventory"), "h1 ansible_connection=local\n").unwrap();
    let run = |args: &[&str]| {
        let fixed = ["run", "play.yml", "-i", "inventory", "--output", "json"];
        let args: Vec<String> = fixed.iter().chain(args).map(|arg| (*arg).to_owned()).collect();
        String::from_utf8(okd_play(dir.path(), &args).stdout).unwrap()
    };
    let planned = run(&["--check"]);
    let events = planned
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let all: Vec<(String, String)> = events
        .filter(|event| event["event"] == "result")
        .map(|event| {
            ["task", "status"]
                .map(|key| event[key].as_str().unwrap().to_owned())
                .into()
        })
        .collect();
    let of = |wanted: &str| -> Vec<&str> {
        all.iter()
            .filter(|(_, status)| status == wanted)
            .map(|(task, _)| task.as_str())
            .collect()
    };
    assert_eq!(of("changed"), ["Folder", "Where other is missing"], "{planned}");
    assert_eq!(of("ok"), ["Is folder", "Is other"], "{planned}");
    assert_eq!(of("unknown").len(), 12, "{planned}");
    let applied = run(&["--yes"]);
    assert!(
        applied.contains("\"failed\":0") && !dir.path().join("missing").exists(),
        "{applied}"
    );
}

/// The logs that a case leaves, and what was printed.
fn ran(case: &Case, run: impl Fn(&Path, &[String]) -> std::process::Output) -> (String, String) {
    let dir = tempfile::tempdir().unwrap();
    case.unpack(dir.path(), &["log"]);
    if !dir.path().join("inventory").exists() {
        std::fs::write(dir.path().join("inventory"), INVENTORY).unwrap();
    }
    let (mut said, mut end) = (String::new(), "ok");
    for args in case.commands() {
        let output = run(dir.path(), &args);
        if !output.status.success() {
            end = "failed";
        }
        said.push_str(&String::from_utf8_lossy(&[output.stdout, output.stderr].concat()));
    }
    let mut names: Vec<_> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    let mut log = String::new();
    for name in names
        .iter()
        .map(|name| name.to_string_lossy())
        .filter(|name| name.starts_with("log."))
    {
        log.push_str(&format!("{name}:\n"));
        let text = std::fs::read_to_string(dir.path().join(name.as_ref())).unwrap();
        text.lines().for_each(|line| log.push_str(&format!("  {line}\n")));
    }
    (format!("{log}{end}\n"), said)
}
