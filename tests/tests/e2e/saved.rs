//! Plans that are kept: applied as they were made, step by step, or refused, step by step.

use crate::secrets::{file, sealed};
use okd_tests::{Flavour, Host, Lab, Play, Run};

/// Applies a kept plan.
fn apply(play: &Play<'_>, words: &[&str]) -> Run {
    play.okd(&[&["apply", "site.plan", "--output", "json"], words].concat())
}

const TASKS: &str = r#"
    - name: Edited
      copy: {dest: /srv/edited, content: "one\ntwo\nthree\n", mode: "0644"}
      notify: Told
    - name: Edited again
      lineinfile: {path: /srv/edited, line: four}
    - name: Other
      copy: {dest: /srv/other, content: "new\n", mode: "0644"}
      register: other
      notify: Also told
    - name: Same
      copy: {dest: /srv/same, content: "as it is\n", mode: "0644"}
    - name: Reads
      copy: {dest: /srv/reads, content: "{{ other.dest }}\n", mode: "0644"}
  handlers:
    - name: Told
      command: touch /srv/told
      args: {creates: /srv/told, predicts: {creates: [/srv/told]}}
    - name: Also told
      command: touch /srv/also-told
      args: {creates: /srv/also-told, predicts: {creates: [/srv/also-told]}}
"#;

/// Every step that was applied, or was not, by its name.
fn ends(run: &Run, pass: &str, host: &str, expected: &[(&str, &str)]) {
    for (task, status) in expected {
        assert_eq!(run.status(pass, host, task), *status, "{task}: {run}");
    }
}

#[test]
fn a_plan_is_applied_and_what_moved_is_refused_alone() {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", Flavour::Debian);
    host.sh("printf 'ein\\nzwei\\n' > /srv/edited; echo old > /srv/other; echo as it is > /srv/same");
    let play = Play::tasks(&lab, TASKS);
    let plan = play.plan("site.plan", &[]).ended(0);
    assert_eq!(plan.status("plan", "host", "Edited"), "changed", "{plan}");
    assert_eq!(host.read("/srv/other"), "old\n");
    host.sh("printf 'ein\\nzwo\\n' > /srv/edited; chmod 600 /srv/same");
    let run = apply(&play, &["--yes"]).ended(4);
    ends(
        &run,
        "apply",
        "host",
        &[
            ("Edited", "refused"),
            ("Edited again", "refused"),
            ("Other", "changed"),
            ("Same", "refused"),
            ("Reads", "changed"),
            ("Told", "blocked"),
            ("Also told", "changed"),
        ],
    );
    run.says("/srv/edited has moved since the plan: byte 7 (line 2, column 3) was \"e\", is \"o\"");
    run.says("`mode` of /srv/same was 0644, is 0600");
    assert_eq!(host.read("/srv/edited"), "ein\nzwo\n");
    assert_eq!(host.read("/srv/other"), "new\n");
    assert_eq!(host.read("/srv/reads"), "/srv/other\n");
    assert!(host.has("/srv/also-told") && !host.has("/srv/told"));
}

#[test]
fn a_plan_holds_all_that_it_was_made_of() {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", Flavour::Debian);
    let play = Play::new(
        &lab,
        r#"
- hosts: all
  gather_facts: false
  vars_files: [more.yml]
  roles: [inner]
  tasks:
    - name: Template
      template: {src: "{{ which }}.j2", dest: /srv/template, mode: "0644"}
    - name: Included
      include_tasks: "{{ which }}.yml"
    - name: Looked up
      copy: {dest: /srv/looked-up, mode: "0644", content: "{{ lookup('file', 'fact') }} {{ query('fileglob', 'many/*') | map('basename') | join(' ') }} {{ 'none' is exists }} {{ given }}"}
"#,
    );
    play.put("more.yml", "which: first\n");
    play.put("group_vars/all.yml", "grouped: from the group\n");
    play.put("first.j2", "{{ grouped }}\n{% include 'part.j2' %}\n");
    play.put("part.j2", "a part\n");
    play.put(
        "first.yml",
        "- name: Inner\n  copy: {src: raw, dest: /srv/raw, mode: \"0644\"}\n",
    );
    play.put("raw", "raw\n");
    play.put("files/fact", "a fact\n");
    play.put("files/many/one", "");
    play.put("files/many/two", "");
    play.put(
        "roles/inner/tasks/main.yml",
        "- name: Role\n  copy: {content: \"{{ own }}\", dest: /srv/role, mode: \"0644\"}\n",
    );
    play.put("roles/inner/defaults/main.yml", "own: the role's\n");
    play.plan("site.plan", &["-e", "given=yes"]).ended(0);
    // Somebody throws everything away, and applies elsewhere.
    let elsewhere = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(play.folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
    {
        let name = entry.file_name().unwrap().to_string_lossy().into_owned();
        match entry.is_dir() {
            _ if ["site.plan", "known_hosts"].contains(&&*name) => {}
            true => std::fs::remove_dir_all(&entry).unwrap(),
            false => std::fs::write(&entry, "rubbish: [\n").unwrap(),
        }
    }
    let plan = elsewhere.path().join("moved.plan");
    std::fs::copy(play.folder().join("site.plan"), &plan).unwrap();
    let run = play
        .okd(&["apply", plan.to_str().unwrap(), "--yes", "--output", "json"])
        .ended(0);
    run.says("was changed");
    assert_eq!(host.read("/srv/template"), "from the group\na part\n");
    assert_eq!(host.read("/srv/raw"), "raw\n");
    assert_eq!(host.read("/srv/looked-up"), "a fact one two False yes");
    assert_eq!(host.read("/srv/role"), "the role's");
    // What is done is found done.
    let again = play
        .okd(&["apply", plan.to_str().unwrap(), "--yes", "--output", "json"])
        .ended(0);
    assert_eq!(
        (again.count("host", "changed"), again.count("host", "refused")),
        (0, 0),
        "{again}"
    );
}

const CHAIN: &str = r#"
- name: First
  hosts: all
  gather_facts: false
  tasks:
    - name: Root
      copy: {dest: /srv/root, content: "new\n", mode: "0644"}
      register: root
    - name: Needs it
      copy: {dest: /srv/needs, content: "new\n", mode: "0644"}
      needs: [First/Root]
    - name: Uses its result
      copy: {dest: /srv/uses, content: "{{ root.dest }}\n", mode: "0644"}
      register: uses
    - name: Uses that one
      copy: {dest: "/srv/{{ 'deep' if uses is changed else 'flat' }}", content: "x\n", mode: "0644"}
    - name: Says
      debug: {msg: "{{ root.dest }}"}
    - block:
        - name: In a block
          copy: {dest: /srv/root, content: "other\n", mode: "0644"}
      rescue:
        - name: Rescue
          copy: {dest: /srv/rescue, content: "x\n"}
      always:
        - name: Always
          copy: {dest: /srv/always, content: "x\n", mode: "0644"}
    - name: Free
      copy: {dest: /srv/free, content: "x\n", mode: "0644"}
- name: Needing play
  hosts: all
  gather_facts: false
  needs: [First/Root]
  tasks:
    - name: In it
      copy: {dest: /srv/in-it, content: "x\n", mode: "0644"}
- name: Last play
  hosts: all
  gather_facts: false
  needs: []
  tasks:
    - name: Loop
      copy: {dest: "/srv/{{ item }}", content: "{{ item }}\n", mode: "0644"}
      loop: [one, two]
"#;

#[test]
fn what_depends_on_a_refused_step_is_blocked_and_nothing_else() {
    let lab = Lab::up();
    let moved = lab.host("moved", "10.77.1.21", Flavour::Debian);
    let other = lab.host("other", "10.77.1.22", Flavour::Debian);
    for host in [&moved, &other] {
        host.sh("echo old > /srv/root; echo old > /srv/one");
    }
    let play = Play::new(&lab, CHAIN);
    play.plan("site.plan", &[]).ended(0);
    moved.sh("echo hand > /srv/root; echo hand > /srv/one");
    let run = apply(&play, &["--yes"]).ended(4);
    ends(
        &run,
        "apply",
        "moved",
        &[
            ("Root", "refused"),
            ("Needs it", "blocked"),
            ("Uses its result", "blocked"),
            ("Uses that one", "blocked"),
            ("In a block", "refused"),
            ("Always", "changed"),
            ("Free", "changed"),
            ("In it", "blocked"),
            ("Loop", "refused"),
        ],
    );
    assert!(!moved.has("/srv/rescue") && !moved.has("/srv/in-it"));
    assert_eq!(
        (moved.read("/srv/root"), moved.read("/srv/one")),
        ("hand\n".into(), "hand\n".into())
    );
    assert_eq!(moved.read("/srv/two"), "two\n");
    assert_eq!(
        run.count("other", "refused") + run.count("other", "blocked"),
        0,
        "{run}"
    );
    assert_eq!(other.read("/srv/root"), "other\n");
    assert!(other.has("/srv/in-it") && other.has("/srv/deep"));
    run.says("\"Root\" was refused");
}

const UNKNOWN: &str = r#"
    - name: Program
      shell: echo made > /srv/made; echo said
      register: said
    - name: Becomes known
      copy: {dest: /srv/known, content: "{{ said.stdout }}\n", mode: "0644"}
      notify: Told
    - name: Looks
      stat: {path: /srv/made}
    - name: Only asks
      command: cat /srv/made
      changed_when: false
    - name: Behind it
      copy: {dest: /srv/behind, content: "new\n", mode: "0644"}
    - name: As it is
      lineinfile: {path: /srv/made, line: made, create: true}
  handlers:
    - name: Told
      command: touch /srv/told
"#;

#[test]
fn what_was_unknown_is_done_only_when_it_is_agreed_to() {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", Flavour::Debian);
    host.sh("echo old > /srv/behind");
    let play = Play::tasks(&lab, UNKNOWN);
    let plan = play.plan("site.plan", &[]).ended(0);
    ends(
        &plan,
        "plan",
        "host",
        &[
            ("Program", "unknown"),
            ("Becomes known", "unknown"),
            ("Told", "unknown"),
        ],
    );
    let run = apply(&play, &["--yes"]).ended(4);
    ends(
        &run,
        "apply",
        "host",
        &[
            ("Program", "refused"),
            ("Becomes known", "blocked"),
            ("Behind it", "blocked"),
            ("Told", "blocked"),
        ],
    );
    run.says("`--yes-unknown`");
    assert!(!host.has("/srv/made") && !host.has("/srv/told"));
    let run = apply(&play, &["--yes", "--yes-unknown"]).ended(0);
    assert_eq!(run.status("apply", "host", "As it is"), "ok", "{run}");
    assert_eq!(host.read("/srv/known"), "said\n");
    assert_eq!(host.read("/srv/behind"), "new\n");
    assert!(host.has("/srv/told"));
}

#[test]
fn behind_what_is_unknown_what_moved_is_refused_too() {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", Flavour::Debian);
    host.sh("echo old > /srv/behind; echo old > /srv/user; id keeper 2>/dev/null || useradd -m keeper");
    let play = Play::tasks(
        &lab,
        r#"
    - name: Program
      shell: echo made > /srv/made
    - name: Behind it
      copy: {dest: /srv/behind, content: "new\n", mode: "0644"}
"#,
    );
    play.plan("site.plan", &[]).ended(0);
    host.sh("echo hand > /srv/behind");
    let run = apply(&play, &["--yes", "--yes-unknown"]).ended(4);
    ends(
        &run,
        "apply",
        "host",
        &[("Program", "changed"), ("Behind it", "refused")],
    );
    run.says("/srv/behind has moved since the plan: byte 1 (line 1, column 1) was \"o\", is \"h\"");
    assert_eq!(host.read("/srv/behind"), "hand\n");
}

#[test]
fn another_input_than_was_planned_is_refused() {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", Flavour::Debian);
    let play = Play::tasks(
        &lab,
        r#"
    - name: Today
      copy: {dest: /srv/today, content: "it is {{ lookup('pipe', 'cat now') }}\n", mode: "0644"}
    - name: Other
      copy: {dest: /srv/other, content: "x\n", mode: "0644"}
"#,
    );
    play.put("now", "Monday\n");
    play.plan("site.plan", &[]).ended(0);
    play.put("now", "Tuesday\n");
    let run = apply(&play, &["--yes"]).ended(4);
    ends(&run, "apply", "host", &[("Today", "refused"), ("Other", "changed")]);
    run.says("its input is another one than was planned: its content: byte 7 (line 1, column 7) was \"M\", is \"T\"");
    assert!(!host.has("/srv/today"));
}

#[test]
fn plans_work_by_plain_ssh_and_as_another_user() {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", Flavour::Debian);
    host.sh("useradd -m keeper; echo old > /srv/file; \
         printf '[Service]\\nExecStart=/bin/sleep infinity\\n' > /etc/systemd/system/sleeper.service; \
         systemctl daemon-reload; systemctl start sleeper");
    let play = Play::tasks(
        &lab,
        r#"
    - name: Folder
      file: {path: /srv/his, state: directory, owner: keeper, mode: "0755"}
    - name: His
      copy: {dest: /srv/his/file, content: "x\n", mode: "0644"}
      become: true
      become_user: keeper
    - name: File
      copy: {dest: /srv/file, content: "new\n", mode: "0644"}
    - name: Package
      apt: {name: tree, update_cache: true}
    - name: Service
      systemd: {name: sleeper, state: restarted}
"#,
    );
    for (transport, code) in [("ssh", 4), ("agent", 0)] {
        play.plan("site.plan", &["--transport", transport]).ended(0);
        if code == 4 {
            host.sh("echo hand > /srv/file");
        }
        let run = apply(&play, &["--yes"]).ended(code);
        let file = if code == 4 { "refused" } else { "changed" };
        ends(
            &run,
            "apply",
            "host",
            &[
                ("File", file),
                ("Service", if code == 4 { "blocked" } else { "changed" }),
            ],
        );
    }
    assert_eq!(host.read("/srv/his/file"), "x\n");
    assert_eq!(host.read("/srv/file"), "new\n");
}

#[test]
fn what_is_no_plan_of_this_build_is_refused() {
    let lab = Lab::up();
    lab.host_with("host", "10.77.1.21", Flavour::Debian, &["--cheap"]);
    let play = Play::tasks(&lab, "    - copy: {dest: /srv/there, content: hello}\n");
    play.plan("site.plan", &[]).ended(0);
    let file = play.folder().join("site.plan");
    let whole = std::fs::read(&file).unwrap();
    let refused = |bytes: &[u8], why: &str| {
        std::fs::write(&file, bytes).unwrap();
        for words in [&["apply", "site.plan", "--yes"][..], &["show", "site.plan"]] {
            play.okd(words).ended(2).says(why);
        }
    };
    refused(&whole[..whole.len() / 2], "cut off");
    let mut damaged = whole.clone();
    *damaged.last_mut().unwrap() ^= 1;
    refused(&damaged, "damaged");
    refused(b"- hosts: all\n", "not a plan of okd-play");
    let start = whole.iter().position(|byte| *byte == b'\n').unwrap();
    let mut foreign = whole.clone();
    foreign[start + 1] = b'9';
    refused(&foreign, "make it anew");
    play.okd(&["apply", "none.plan", "--yes"]).ended(2).says("none.plan");
}

/// Fails where one of these words stands in a plan, packed or not, or in what is said of it.
fn silent(play: &Play<'_>, run: &Run, words: &[&str]) {
    let bytes = std::fs::read(play.folder().join("site.plan")).unwrap();
    let mut all = okd_play::saved::archive::sections(&bytes).unwrap();
    assert!(all.len() > 10, "the plan is unpacked");
    all.push(bytes);
    for format in ["text", "json", "html"] {
        let shown = play
            .okd(&["show", "site.plan", "--full", "-vv", "--format", format])
            .ended(0);
        assert!(shown.out.contains("Copy"), "{shown}");
        all.push(shown.words().into_bytes());
    }
    all.push(run.words().into_bytes());
    for (at, bytes) in all.iter().enumerate() {
        let text = String::from_utf8_lossy(bytes);
        for word in words {
            assert!(!text.contains(word), "{word} in part {at}: {text}");
        }
    }
}

const POISON: &str = "p0is0n-\"7c1e\\4242";
const HASH: &str = "$6$p0is0nsalt$Zk1Vv0p0is0nhashp0is0nhashp0is0nhashp0is0nhashp0is0nhashp0is0nhash01";
const SECRETS: &str = r#"
- hosts: all
  gather_facts: false
  vars_files: [vault.yml]
  vars_prompt:
    - {name: prompted, prompt: What, private: true}
  tasks:
    - name: Copy
      copy: {content: "password={{ poison }}\n", dest: /srv/copy, mode: "0600"}
    - name: Template
      template: {src: t.j2, dest: /srv/template, mode: "0600"}
    - name: Encrypted file
      copy: {src: sealed, dest: /srv/sealed, mode: "0600"}
    - name: Line
      lineinfile: {path: /srv/old, regexp: "^key=", line: "key={{ poison }}"}
    - name: Behind the line
      lineinfile: {path: /srv/old, line: last}
    - name: Environment
      shell: printf %s "$POISON" > /srv/environment
      args: {creates: /srv/environment, predicts: {creates: [/srv/environment]}}
      environment: {POISON: "{{ poison }}"}
    - name: By the environment
      user: {name: poisoned, password: "{{ lookup('env', 'HASH') }}"}
    - name: Asked
      copy: {content: "{{ prompted }}\n", dest: /srv/asked, mode: "0600"}
    - name: Said
      debug: {msg: "{{ poison }} {{ prompted }}"}
    - name: Nobody's business
      copy: {content: "private-p1ain\n", dest: /srv/private, mode: "0600"}
      no_log: true
    - name: Set
      transaction: {check: "grep -q ^set= {stage}/srv/set"}
      block:
        - name: In the set
          copy: {content: "set={{ poison }}\n", dest: /srv/set, mode: "0600"}
        - name: Nobody's business in the set
          copy: {content: "private-p1ain\n", dest: /srv/private-set, mode: "0600"}
          no_log: true
"#;

fn secret_play<'lab>(lab: &'lab Lab, host: &Host<'_>) -> Play<'lab> {
    host.sh("printf 'a\\nkey=old-p0is0n-key\\nz\\n' > /srv/old; echo old-pr1vate > /srv/private; echo old-pr1vate > /srv/private-set; echo set=old-p0is0n > /srv/set");
    let play = Play::new(lab, SECRETS).env("HASH", HASH);
    play.put("password", "the-vault-password\n");
    play.put("t.j2", "secret = {{ poison }}\nplain = yes\n");
    play.put("vault.yml", &format!("poison: {}\n", sealed(&play, POISON)));
    play.put("sealed", &file(&sealed(&play, &format!("{POISON}\n"))));
    play.put("group_vars/all.yml", "ansible_become_password: plain-p0is0n-become\n");
    play
}

const POISONED: [&str; 9] = [
    "p0is0n-\"",
    "p0is0n-\\\"",
    "cDBpczBu",
    "p0is0nhash",
    "pr0mpted-p0is0n",
    "old-p0is0n",
    "plain-p0is0n",
    "the-vault-password",
    "old-pr1vate",
];

#[test]
fn no_secret_stands_in_a_plan_and_all_reach_the_host() {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", Flavour::Debian);
    let play = secret_play(&lab, &host);
    let prompted = "prompted=pr0mpted-p0is0n";
    let vault = ["--vault-password-file", "password"];
    let plan = play
        .plan("site.plan", &[&vault[..], &["-e", prompted]].concat())
        .ended(0);
    plan.says("‹secret:poison:");
    silent(&play, &plan, &POISONED);
    play.okd(&["show", "site.plan"])
        .says("group_vars/all.yml, in which a secret stands in plain");

    apply(&play, &["--yes"]).ended(2).says("prompted");
    // The host moves where a secret stands: what is told of it is none.
    host.sh("printf 'b\\nkey=old-p0is0n-key\\nz\\n' > /srv/old; echo hand-pr1vate > /srv/private");
    let run = apply(&play, &["--yes", "-e", prompted]).ended(4);
    ends(
        &run,
        "apply",
        "host",
        &[
            ("Copy", "changed"),
            ("Template", "changed"),
            ("Encrypted file", "changed"),
            ("Line", "refused"),
            ("Behind the line", "refused"),
            ("Environment", "changed"),
            ("By the environment", "changed"),
            ("Asked", "changed"),
            ("Nobody's business", "refused"),
            ("In the set", "changed"),
            ("Set", "changed"),
        ],
    );
    run.says("/srv/old has moved since the plan: byte 1 (line 1, column 1) was \"a\", is \"b\"");
    silent(&play, &run, &[&POISONED[..], &["hand-pr1vate"]].concat());
    assert_eq!(host.read("/srv/copy"), format!("password={POISON}\n"));
    assert!(
        host.read("/srv/template")
            .contains(&format!("secret = {POISON}\nplain"))
    );
    assert_eq!(host.read("/srv/sealed"), format!("{POISON}\n"));
    assert_eq!(host.read("/srv/environment"), POISON);
    assert_eq!(host.read("/srv/asked"), "pr0mpted-p0is0n\n");
    assert!(host.read("/etc/shadow").contains(&format!("poisoned:{HASH}:")));

    play.put("password", "another\n");
    apply(&play, &["--yes", "-e", prompted])
        .ended(2)
        .says("no vault password fits");
}

#[test]
fn without_a_vault_placeholders_hold_from_plan_to_apply() {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", Flavour::Debian);
    host.sh("useradd -m -p 'old' keeper; echo pr0mpted-p0is0n > /srv/there; chmod 600 /srv/there");
    let play = Play::new(
        &lab,
        r#"
- hosts: all
  gather_facts: false
  vars_prompt:
    - {name: prompted, prompt: What, private: true}
  tasks:
    - name: Copy
      copy: {content: "{{ prompted }}\n", dest: /srv/asked, mode: "0600"}
    - name: There
      copy: {content: "{{ prompted }}\nmore\n", dest: /srv/there, mode: "0600"}
    - name: User
      user: {name: keeper, password: "{{ lookup('env', 'HASH') }}"}
"#,
    )
    .env("HASH", HASH);
    let prompted = ["-e", "prompted=pr0mpted-p0is0n"];
    let plan = play.plan("site.plan", &prompted).ended(0);
    let words = ["pr0mpted-p0is0n", "p0is0nhash"];
    silent(&play, &plan, &words);
    let wrong = apply(&play, &["--yes", "-e", "prompted=another-p0is0n"]).ended(4);
    ends(
        &wrong,
        "apply",
        "host",
        &[("Copy", "refused"), ("There", "refused"), ("User", "changed")],
    );
    let run = apply(&play, &[&["--yes"], &prompted[..]].concat()).ended(0);
    silent(&play, &run, &words);
    assert_eq!(host.read("/srv/there"), "pr0mpted-p0is0n\nmore\n");
    assert!(host.read("/etc/shadow").contains(&format!("keeper:{HASH}:")));
}

const SETS: &str = r#"
    - name: First set
      transaction: {check: "grep -q new {stage}/srv/first/b"}
      block:
        - name: First a
          copy: {dest: /srv/first/a, content: "new\n", mode: "0644"}
          register: first
          notify: Told of the first
        - name: First b
          copy: {dest: /srv/first/b, content: "new\n", mode: "0644"}
        - name: First c
          copy: {dest: /srv/first/c, content: "new\n", mode: "0644"}
    - name: Reads the first
      copy: {dest: /srv/reads, content: "{{ first.dest }}\n", mode: "0644"}
    - name: Second set
      transaction: {check: "grep -q new {stage}/srv/second/b"}
      block:
        - name: Second a
          copy: {dest: /srv/second/a, content: "new\n", mode: "0644"}
          notify: Told of the second
        - name: Second b
          copy: {dest: /srv/second/b, content: "new\n", mode: "0644"}
    - name: Third set
      transaction: {check: "test ! -e {stage}/srv/third"}
      block:
        - name: Folder away
          file: {path: /srv/third, state: absent}
    - name: After
      copy: {dest: /srv/after, content: "new\n", mode: "0644"}
  handlers:
    - name: Told of the first
      command: touch /srv/told-first
      args: {creates: /srv/told-first, predicts: {creates: [/srv/told-first]}}
    - name: Told of the second
      command: touch /srv/told-second
      args: {creates: /srv/told-second, predicts: {creates: [/srv/told-second]}}
"#;

fn sets(transport: &str) {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", Flavour::Debian);
    host.sh("mkdir /srv/first /srv/second /srv/third; for f in first/a first/b second/a third/x; do echo old > /srv/$f; done");
    let play = Play::tasks(&lab, SETS);
    let plan = play.plan("site.plan", &["--transport", transport]).ended(0);
    ends(
        &plan,
        "plan",
        "host",
        &[
            ("First set", "changed"),
            ("Second set", "changed"),
            ("Third set", "changed"),
        ],
    );
    host.sh("echo hand > /srv/first/b; echo hand > /srv/third/x");
    let run = apply(&play, &["--yes"]).ended(4);
    ends(
        &run,
        "apply",
        "host",
        &[
            ("First a", "blocked"),
            ("First b", "refused"),
            ("First c", "blocked"),
            ("First set", "blocked"),
            ("Reads the first", "blocked"),
            ("Told of the first", "blocked"),
            ("Second a", "changed"),
            ("Second b", "changed"),
            ("Second set", "changed"),
            ("Told of the second", "changed"),
            ("Third set", "refused"),
            ("Folder away", "blocked"),
            ("After", "changed"),
        ],
    );
    run.says("/srv/first/b has moved since the plan: byte 1 (line 1, column 1) was \"o\", is \"h\"");
    run.says("/srv/third/x has moved since the plan: byte 1 (line 1, column 1) was \"o\", is \"h\"");
    assert_eq!(
        host.sh("cat /srv/first/a /srv/first/b /srv/second/a /srv/second/b /srv/third/x; ls /srv/first"),
        "old\nhand\nnew\nnew\nhand\na\nb\n"
    );
    assert!(host.has("/srv/told-second") && !host.has("/srv/told-first") && !host.has("/srv/reads"));
    assert_eq!(
        host.sh("ls -A /var/lib/okd-play/owed 2>/dev/null || :"),
        "",
        "nobody is owed anything"
    );

    let plan = play.plan("site.plan", &["--transport", transport]).ended(0);
    assert_eq!(plan.status("plan", "host", "Second set"), "ok", "{plan}");
    let run = apply(&play, &["--yes"]).ended(0);
    ends(
        &run,
        "apply",
        "host",
        &[
            ("First set", "changed"),
            ("Told of the first", "changed"),
            ("Third set", "changed"),
        ],
    );
    assert_eq!(
        host.sh("cat /srv/first/*; ls -I share /srv"),
        "new\nnew\nnew\nafter\nfirst\nreads\nsecond\ntold-first\ntold-second\n"
    );
}

#[test]
fn of_a_transaction_in_a_kept_plan_all_is_done_or_nothing_by_the_agent() {
    sets("agent");
}

#[test]
fn of_a_transaction_in_a_kept_plan_all_is_done_or_nothing_by_plain_ssh() {
    sets("ssh");
}

#[test]
fn a_person_is_asked_about_what_has_become_known() {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", Flavour::Debian);
    host.sh("echo one > /srv/made");
    let play = Play::tasks(
        &lab,
        r#"
    - name: Program
      shell: cat /srv/made
      register: said
      changed_when: false
    - name: Becomes known
      copy: {dest: /srv/known, content: "{{ said.stdout }}\n", mode: "0644"}
    - name: Set
      transaction: {check: "grep -q . {stage}/srv/set/one"}
      block:
        - name: One
          copy: {dest: /srv/set/one, content: "{{ said.stdout }}\n", mode: "0644"}
        - name: Two
          copy: {dest: /srv/set/two, content: "{{ said.stdout }}\n", mode: "0644"}
    - name: After
      copy: {dest: /srv/after, content: "new\n", mode: "0644"}
"#,
    );
    host.sh("mkdir /srv/set");
    let plan = play.plan("site.plan", &[]).ended(0);
    ends(
        &plan,
        "plan",
        "host",
        &[("Becomes known", "unknown"), ("One", "unknown"), ("Set", "unknown")],
    );
    let asked = "It was unknown. Apply it? [y/N] ";
    let run = play
        .at_a_terminal(
            &["apply", "site.plan"],
            &[("Apply? [y/N] ", "y"), (asked, "y"), (asked, "n")],
        )
        .ended(4);
    run.says("+one");
    run.says("/srv/set/two");
    assert_eq!(host.read("/srv/known"), "one\n");
    assert_eq!(host.sh("ls /srv/set"), "", "{run}");
    let run = play
        .at_a_terminal(&["apply", "site.plan"], &[("Apply? [y/N] ", "y"), (asked, "y")])
        .ended(0);
    assert_eq!(
        host.sh("cat /srv/set/*; ls -I share /srv"),
        "one\none\nafter\nknown\nmade\nset\n",
        "{run}"
    );
}

#[test]
fn a_guarded_step_of_a_kept_plan_is_confirmed_or_refused() {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", Flavour::Debian);
    let play = Play::tasks(
        &lab,
        r#"
    - name: Firewall
      firewall:
        backend: nftables
        zones: [{name: all, interfaces: [eth0], ports: ["22/tcp", "{{ further }}/tcp"], target: drop}]
    - name: Free
      copy: {dest: /srv/free, content: "{{ further }}\n", mode: "0644"}
"#,
    );
    let plan = |further: &str| {
        play.plan("site.plan", &["-e", "okd_guard=5", "-e", &format!("further={further}")])
            .ended(0)
    };
    let planned = plan("80");
    assert_eq!(
        planned.result("plan", "host", "Firewall")["result"]["okd_guard"]["state"],
        "planned",
        "{planned}"
    );
    let run = apply(&play, &["--yes"]).ended(0);
    assert_eq!(
        run.result("apply", "host", "Firewall")["result"]["okd_guard"]["state"],
        "confirmed",
        "{run}"
    );
    plan("443");
    host.sh("sed -i 's/80/8080/' /etc/nftables/okd-play.nft");
    let rules = host.sh("nft -s list ruleset");
    let run = apply(&play, &["--yes"]).ended(4);
    ends(&run, "apply", "host", &[("Firewall", "refused"), ("Free", "changed")]);
    run.says("/etc/nftables/okd-play.nft has moved since the plan");
    assert_eq!(host.sh("nft -s list ruleset"), rules);
}

#[test]
fn what_an_earlier_run_owes_is_in_a_kept_plan_and_is_owed_on_where_it_is_refused() {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", Flavour::Debian);
    let tasks = |word: &str, between: &str| {
        format!(
            r#"
    - name: Config
      copy: {{dest: /srv/config, content: "{word}\n", mode: "0644"}}
      notify: Restart
    - name: Between
      command: {between}
      changed_when: false
  handlers:
    - name: Restart
      command: cp /srv/config /srv/told
      args: {{predicts: {{creates: [/srv/told]}}}}
"#
        )
    };
    let owed = || host.sh("grep -c Restart /var/lib/okd-play/ledger* 2>/dev/null || :");
    Play::tasks(&lab, &tasks("one", "/bin/false")).run(&["--yes"]).ended(1);
    let before = owed();
    assert_ne!(before, "", "the ledger holds it");
    let play = Play::tasks(&lab, &tasks("two", "/bin/true"));
    let plan = play.plan("site.plan", &[]).ended(0);
    assert_eq!(plan.status("plan", "host", "Restart"), "changed", "{plan}");
    host.sh("echo hand > /srv/config");
    let run = apply(&play, &["--yes"]).ended(4);
    ends(&run, "apply", "host", &[("Config", "refused"), ("Restart", "blocked")]);
    assert!(!host.has("/srv/told"), "{run}");
    assert_eq!(owed(), before, "it is owed on\n{run}");
    play.plan("site.plan", &[]).ended(0);
    let run = apply(&play, &["--yes"]).ended(0);
    assert_eq!(run.status("apply", "host", "Restart"), "changed", "{run}");
    assert_eq!(host.read("/srv/told"), "two\n");
    play.plan("site.plan", &[]).ended(0);
    let run = apply(&play, &["--yes"]).ended(0);
    assert!(!run.words().contains("Restart"), "it is paid\n{run}");
}
