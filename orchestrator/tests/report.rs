//! What the program prints for a real playbook on this machine: as text, as JSON, as JUnit; and what it never prints.

#![allow(clippy::unwrap_used, clippy::panic)]

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

const PLAYBOOK: &str = r#"
- name: Here
  hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - name: Config
      copy: {dest: "{{ dir }}/app.conf", content: "a = 1\nb = 2\n"}
    - name: Looped
      copy: {dest: "{{ dir }}/{{ item }}.txt", content: "{{ item }}\n"}
      loop: [one, two]
    - name: Hidden
      copy: {dest: "{{ dir }}/hidden", content: "n0-log-p0ison\n"}
      no_log: true
    - name: Output
      command: cat {{ dir }}/password
      register: output
    - name: Says
      debug: {msg: "it said {{ output.stdout }}"}
    - name: Other hosts are not meant
      debug: {msg: no}
      when: false
    - name: Mirror
      command: cat /nonexistent/mirror
      ignore_errors: true
    - name: Breaks
      command: cat {{ dir }}/password /nonexistent/file
      tags: breaks
    - name: Behind it
      debug: {msg: never}
"#;

const POISON: &str = "sud0-p0ison/w0rd";

fn run(dir: &Path, more: &[&str]) -> Output {
    std::fs::write(dir.join("site.yml"), PLAYBOOK).unwrap();
    std::fs::write(dir.join("password"), POISON).unwrap();
    Command::new(env!("CARGO_BIN_EXE_okd-play"))
        .current_dir(dir)
        .args(["run", "site.yml", "-i", "localhost,"])
        .args(["-e", &format!("dir={}", dir.display())])
        .args(["--become-password-file", "password"])
        .args(more)
        .env("LC_ALL", "C.UTF-8")
        .env("XDG_STATE_HOME", dir.join("state"))
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_person_sees_the_plan_what_was_done_and_the_failure() {
    let dir = tempfile::tempdir().unwrap();
    let output = run(dir.path(), &["--yes"]);
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{shown}\n{}", text(&output.stderr));
    let (plan, apply) = shown.split_once("\nPlan      ").unwrap();
    let file = format!("  {}/app.conf   new   0", dir.path().display());
    assert!(plan.starts_with("localhost  Config") && plan.contains(&file), "{plan}");
    assert!(plan.contains("    +a = 1\n    +b = 2\n"), "{plan}");
    assert!(plan.contains("  (two)\n"), "{plan}");
    assert!(plan.contains("? unknown until applied: runs `cat "), "{plan}");
    assert!(apply.starts_with("localhost 3 to change, "), "{apply}");
    assert!(apply.contains("✓ localhost  Looped  (one)"), "{apply}");
    assert!(!apply.contains("+a = 1"), "told twice: {apply}");
    assert!(apply.contains("! localhost  Mirror  failed, ignored"), "{apply}");
    assert!(apply.contains("✗ localhost  Breaks"), "{apply}");
    assert!(
        apply.contains("/nonexistent/file: No such file or directory"),
        "{apply}"
    );
    assert!(apply.contains("Blocked by it  1 step on localhost."), "{apply}");
    let hint = "okd-play run site.yml -i localhost, -e 'dir=…' --become-password-file password --yes --limit localhost \
                --tags breaks\n";
    assert!(apply.contains(hint), "{apply}");
    assert!(apply.contains("1 ignored   1 failed   1 blocked"), "{apply}");
    assert!(!shown.contains('\u{1b}'), "no colour without a terminal");
}

#[test]
fn a_program_reads_what_the_schema_promises() {
    let dir = tempfile::tempdir().unwrap();
    let output = run(dir.path(), &["--yes", "--output", "json"]);
    let lines: Vec<Value> = text(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/json.schema.json");
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    for line in &lines {
        let name = line["event"].as_str().unwrap();
        if let Err(wrong) = fits(line, &schema["$defs"][name], &schema) {
            panic!("{wrong}: {line}");
        }
    }
    let (last, results) = lines.split_last().unwrap();
    assert_eq!(last["event"], "summary");
    assert!(results.iter().all(|line| line["event"] == "result"));
    let steps: std::collections::HashSet<&str> = results.iter().map(|line| line["task"].as_str().unwrap()).collect();
    let counted: u64 = last["hosts"]["localhost"]
        .as_object()
        .unwrap()
        .values()
        .map(|n| n.as_u64().unwrap())
        .sum();
    assert_eq!(counted as usize, steps.len(), "each step once");
    let looped = results
        .iter()
        .filter(|line| line["task"] == "Looped" && line["pass"] == "plan");
    assert_eq!(
        looped.map(|line| line["item"].as_str().unwrap()).collect::<Vec<_>>(),
        ["one", "two"]
    );
    let hidden = results.iter().find(|line| line["task"] == "Hidden").unwrap();
    assert_eq!(
        (&hidden["status"], &hidden["diff"]),
        (&"changed".into(), &Value::Array(Vec::new()))
    );
    assert!(hidden["result"]["censored"].is_string());
    assert!(!text(&output.stderr).contains("planning"), "nothing beside it");
}

/// Whether a value is as its schema says, for the words that docs/json.schema.json uses.
fn fits(value: &Value, schema: &Value, root: &Value) -> Result<(), String> {
    if let Some(name) = schema["$ref"].as_str() {
        return fits(value, &root["$defs"][name.trim_start_matches("#/$defs/")], root);
    }
    if let Some(any) = schema["oneOf"].as_array() {
        let fitting = any.iter().filter(|one| fits(value, one, root).is_ok()).count();
        return if fitting == 1 {
            Ok(())
        } else {
            Err(format!("{value} fits {fitting} of {schema}"))
        };
    }
    if schema.get("const").is_some_and(|wanted| wanted != value) {
        return Err(format!("{value} is not {}", schema["const"]));
    }
    if schema["enum"].as_array().is_some_and(|words| !words.contains(value)) {
        return Err(format!("{value} is none of {}", schema["enum"]));
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let fitting = kinds.contains(&kind) || kind == "integer" && kinds.contains(&"number");
    if !kinds.is_empty() && !fitting {
        return Err(format!("{value} is {kind}, not {kinds:?}"));
    }
    for name in schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        value.get(name).ok_or_else(|| format!("{name} is missing"))?;
    }
    for (name, inner) in value.as_object().into_iter().flatten() {
        match schema["properties"].get(name) {
            Some(own) => fits(inner, own, root).map_err(|wrong| format!("{name}: {wrong}"))?,
            None if schema["additionalProperties"] == false => return Err(format!("{name} is not described")),
            None if schema["additionalProperties"].is_object() => fits(inner, &schema["additionalProperties"], root)?,
            None => {}
        }
    }
    if let Some(items) = schema.get("items") {
        for item in value.as_array().into_iter().flatten() {
            fits(item, items, root)?;
        }
    }
    Ok(())
}

#[test]
fn junit_has_a_case_for_every_step() {
    let dir = tempfile::tempdir().unwrap();
    let output = run(dir.path(), &["--yes", "--output", "junit"]);
    let shown = text(&output.stdout);
    let suite = "<testsuite name=\"localhost\" tests=\"10\" failures=\"1\" errors=\"0\" skipped=\"2\"";
    assert!(shown.starts_with("<?xml ") && shown.contains(suite), "{shown}");
    assert!(
        shown.contains("classname=\"Here\" name=\"Looped (two)\" file=\"site.yml\""),
        "{shown}"
    );
    assert!(shown.ends_with("</testsuites>\n"), "{shown}");
}

#[test]
fn what_is_secret_is_in_no_output() {
    let dir = tempfile::tempdir().unwrap();
    let outputs: [&[&str]; 4] = [
        &["--yes"],
        &["--yes", "-vvv", "--color", "always"],
        &["--yes", "--output", "json"],
        &["--yes", "--output", "junit"],
    ];
    for more in outputs {
        for name in ["app.conf", "one.txt", "two.txt", "hidden"] {
            let _ = std::fs::remove_file(dir.path().join(name));
        }
        let output = run(dir.path(), more);
        let shown = text(&output.stdout) + &text(&output.stderr);
        assert!(shown.contains("Breaks"), "{shown}");
        for poison in ["p0ison", "c3VkMC1wMGlzb24"] {
            assert!(!shown.contains(poison), "{more:?}: {shown}");
        }
        assert!(
            std::fs::read_to_string(dir.path().join("hidden"))
                .unwrap()
                .contains("n0-log-p0ison")
        );
    }
}
