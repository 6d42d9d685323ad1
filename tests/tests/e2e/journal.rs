//! What a run leaves behind to go on or to go back by, and that two runs do not change one host at once.

use okd_tests::{Flavour, Lab, Play, until};

/// A step that holds its host until it is let go.
const HOLDS: &str = "    - name: Holds\n      shell: touch /srv/began; until [ -e /srv/go ]; do sleep 0.1; done\n";
const OTHER: &str = "    - name: Other\n      copy: {dest: /srv/other, content: other, mode: \"0644\"}\n";

fn one_at_a_time(transport: &str) {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", Flavour::Debian);
    let (first, second) = (Play::tasks(&lab, HOLDS), Play::tasks(&lab, OTHER));
    let words = ["--transport", transport];
    let holds = first.start(&[&["--yes"], &words[..]].concat());
    until("the first run changes the host", 60, || {
        host.has("/srv/began").then_some(())
    });
    let refused = second.run(&[&["--yes"], &words[..]].concat()).ended(1);
    assert_eq!(refused.status("plan", "host", "Other"), "changed", "{refused}");
    assert_eq!(refused.status("apply", "host", "Other"), "failed", "{refused}");
    refused.says("host is being changed by ");
    refused.says(" UTC on ");
    assert!(!host.has("/srv/other"), "{refused}");
    let planned = second.run(&[&["--check"], &words[..]].concat()).ended(0);
    if transport == "agent" {
        planned.says("host  is being changed by ");
    }
    let waits = second.start(&[&["--yes", "--wait-lock", "60"], &words[..]].concat());
    until("the second run waits", 60, || {
        (waits.so_far().contains("\"pass\":\"plan\"")).then_some(())
    });
    host.sh("touch /srv/go");
    let _ = holds.wait().ended(0);
    let _ = waits.wait().ended(0);
    assert!(host.has("/srv/other"));
}

#[test]
fn the_agent_lets_one_run_change_a_host() {
    one_at_a_time("agent");
}

#[test]
fn plain_ssh_lets_one_run_change_a_host() {
    one_at_a_time("ssh");
}

#[test]
fn the_lock_dies_with_its_holder() {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", Flavour::Debian);
    let (first, second) = (Play::tasks(&lab, HOLDS), Play::tasks(&lab, OTHER));
    let holds = first.start(&["--yes", "--transport", "agent"]);
    until("the first run changes the host", 60, || {
        host.has("/srv/began").then_some(())
    });
    host.sh("pkill -KILL -f okd-play/[a]gent-");
    let _ = holds.wait().ended(3);
    second.apply(&["--transport", "agent"]);
    host.sh("touch /srv/go");
}

#[test]
fn sessions_of_one_run_share_the_host() {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", Flavour::Debian);
    let tasks = "    - copy: {dest: /srv/as-root, content: a, mode: \"0644\"}\n    \
                 - copy: {dest: /tmp/as-nobody, content: b, mode: \"0644\"}\n      become: true\n      become_user: nobody\n    \
                 - copy: {dest: /srv/again, content: c, mode: \"0644\"}\n      delegate_to: alias\n";
    let play = Play::new(
        &lab,
        &format!("- hosts: host\n  gather_facts: false\n  tasks:\n{tasks}"),
    );
    play.put(
        "hosts.yaml",
        "all: {hosts: {host: {ansible_host: 10.77.1.21}, alias: {ansible_host: 10.77.1.21}}}\n",
    );
    play.apply(&["--transport", "agent"]);
    assert!(host.has("/srv/again") && host.has("/tmp/as-nobody"));
}

/// Lines of a journal file in the folder of a play.
fn journal(play: &Play<'_>, id: &str) -> String {
    let path = format!(".local/state/okd-play/runs/{id}.jsonl");
    std::fs::read_to_string(play.folder().join(path)).unwrap()
}

#[test]
fn a_run_is_written_down_and_its_secrets_are_not() {
    use std::os::unix::fs::PermissionsExt;
    let lab = Lab::up();
    lab.host("host", "10.77.1.21", Flavour::Debian);
    let tasks = "    - name: Word\n      copy: {dest: /srv/word, content: \"{{ word }}\", mode: \"0644\"}\n    \
                 - name: Silent\n      command: echo s3cr3t-output\n      no_log: true\n    \
                 - name: Fails\n      command: \"false\"\n";
    let play = Play::tasks(&lab, tasks);
    let _ = play.run(&["--check", "-e", "word=s3cr3t-word"]).ended(0);
    assert!(play.runs().is_empty(), "a plan left a journal");
    let run = play.run(&["--yes", "-e", "word=s3cr3t-word"]).ended(1);
    let runs = play.runs();
    assert_eq!(runs.len(), 1, "{runs:?}");
    let (id, past) = (runs[0]["id"].as_str().unwrap(), &runs[0]);
    run.says(id);
    assert_eq!((past["how"].as_str(), past["code"].as_u64()), (Some("failed"), Some(1)));
    assert_eq!(past["hosts"]["host"]["changed"].as_u64(), Some(2), "{past}");
    let text = journal(&play, id);
    let header = text.lines().next().unwrap();
    assert!(!header.contains("s3cr3t") && header.contains("word=…"), "{header}");
    assert!(!text.contains("s3cr3t-output"), "{text}");
    let folder = play.folder().join(".local/state/okd-play/runs");
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(mode(&folder.join(format!("{id}.jsonl"))), 0o600);
    let shown = play.okd(&["runs", &id[16..]]).ended(0);
    for words in ["Word", "Silent", "Fails", "play.yaml:", "failed"] {
        shown.says(words);
    }
    play.okd(&["runs"]).ended(0).says("play.yaml");
    play.okd(&["runs", "2020"]).ended(2).says("there is no run");
    let other = Play::tasks(&lab, "    - ping:\n");
    other.converged(&[]);
    assert!(other.runs().is_empty(), "what changed nothing left a journal");
}

#[test]
fn a_journal_says_how_its_run_ended() {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", Flavour::Debian);
    let play = Play::tasks(&lab, HOLDS);
    for (signal, how) in [
        ("INT", "interrupted"),
        ("TERM", "interrupted"),
        ("HUP", "interrupted"),
        ("KILL", "killed"),
    ] {
        host.sh("rm -f /srv/began /srv/go");
        let run = play.start(&["--yes", "--transport", "agent"]);
        until("the step runs", 60, || host.has("/srv/began").then_some(()));
        assert_eq!(play.runs()[0]["how"], "running");
        run.signal(signal);
        if signal != "KILL" {
            until("the signal is heard", 30, || {
                run.said().contains("stopping: ").then_some(())
            });
            host.sh("touch /srv/go");
        }
        let ended = run.wait();
        host.sh("touch /srv/go");
        assert_eq!(play.runs()[0]["how"], how, "{signal}: {ended}");
        until("the agent ends", 30, || {
            (!host.holds("pgrep -f okd-play/[a]gent-")).then_some(())
        });
    }
    assert_eq!(play.runs().len(), 4);
}

#[test]
fn a_run_goes_on_where_no_journal_can_be_written() {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", Flavour::Debian);
    let play = Play::tasks(&lab, OTHER);
    play.put(".local/state", "a file in the way");
    let run = play.apply(&[]);
    run.says("this run leaves no journal");
    assert!(host.has("/srv/other"));
}

/// Something of every kind that can be taken back, and something that cannot.
const CHANGES: &str = r#"
    - copy: {dest: /srv/u/edited, content: "new\n", mode: "0600", owner: nobody}
    - lineinfile: {path: /srv/u/lines, line: c, regexp: ^b}
    - lineinfile: {path: /srv/u/lines, line: d}
    - copy: {dest: /srv/u/made, content: "made\n", mode: "0644"}
    - file: {path: /srv/u/removed, state: absent}
    - file: {path: /srv/u/tree, state: absent}
    - file: {path: /srv/u/link, src: /srv/u/edited, state: link}
    - file: {path: /srv/u/deep/er, state: directory, mode: "0750"}
    - copy: {dest: /srv/u/deep/er/file, content: "deep\n", mode: "0644"}
    - file: {path: /srv/u/mode, mode: "0600", group: nogroup}
    - okd.unit: {name: undone, content: "[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n"}
    - service: {name: there, state: started, enabled: true}
    - hostname: {name: undone.example.org}
    - name: Command
      command: touch /srv/beside
"#;

/// Everything below a folder: kind, mode, owners, where a link points, when a file was written, and what it holds.
fn listing(host: &okd_tests::Host<'_>) -> String {
    host.sh("cd /srv/u; find . \\( -type f -printf '%p %y %m %u:%g %s %T@\\n' \\) -o -printf '%p %y %m %u:%g %l\\n' | sed 's/\\.0*$//' | sort; \
             find . -type f -exec sha256sum {} + | sort; hostname; systemctl is-enabled there || true; systemctl is-active there || true; systemctl cat undone 2>/dev/null || true")
}

fn taken_back(transport: &str) {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", Flavour::Debian);
    host.sh(
        "printf '[Service]\\nExecStart=/bin/sleep infinity\\n[Install]\\nWantedBy=multi-user.target\\n' >/etc/systemd/system/there.service; \
         systemctl daemon-reload; mkdir -p /srv/u/tree/a; cd /srv/u; echo old >edited; printf 'a\\nb\\n' >lines; echo gone >removed; echo x >mode; \
         echo deep >tree/a/b; chmod 600 tree/a/b; chown nobody tree/a; ln -s lines link; touch -d 2020-01-01 edited lines removed tree/a/b",
    );
    let before = listing(&host);
    let play = Play::tasks(&lab, CHANGES);
    play.apply(&["--transport", transport]);
    let after = listing(&host);
    assert_ne!(before, after);
    let run = play.runs()[0]["id"].as_str().unwrap().to_owned();

    let planned = play.okd(&["undo", &run, "--check", "--output", "json"]).ended(0);
    assert_eq!(listing(&host), after, "a plan changed something");
    planned.says("Not taken back");
    planned.says("`touch /srv/beside`");
    let undone = play.okd(&["undo", &run, "--yes", "--output", "json"]).ended(0);
    let name = format!("undo of {run}");
    let diff = |run: &okd_tests::Run, pass| run.result(pass, "host", &name)["diff"].clone();
    assert_eq!(diff(&planned, "plan"), diff(&undone, "apply"), "{undone}");
    assert_eq!(listing(&host), before, "{undone}");
    assert!(host.has("/srv/beside"));
    let again = play.okd(&["undo", &run, "--yes", "--output", "json"]).ended(0);
    assert_eq!(again.status("plan", "host", &name), "ok", "{again}");

    let runs = play.runs();
    assert_eq!(runs[0]["undoes"], run.as_str());
    play.okd(&["undo", runs[0]["id"].as_str().unwrap(), "--yes"]).ended(0);
    let times = |text: &str| {
        text.lines()
            .map(|line| line.split(" 17").next().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(times(&listing(&host)), times(&after), "an undo of an undo");
}

#[test]
fn a_run_by_the_agent_is_taken_back() {
    taken_back("agent");
}

#[test]
fn a_run_by_plain_ssh_is_taken_back() {
    taken_back("ssh");
}

/// What a host knows of users, groups and their homes; a new line may stand elsewhere than the old one did.
fn accounts(host: &okd_tests::Host<'_>) -> String {
    host.sh(
        "cut -d: -f1-3 /etc/group | sort; sort /etc/shadow; find /var/mail/ | sort; \
         for user in $(cut -d: -f1 /etc/passwd | sort); do getent passwd $user; echo $(id -Gn $user | tr ' ' '\\n' | sort); done; \
         cd /home; find . -printf '%p %y %m %u:%g %l\\n' | sort; find . -type f -exec sha256sum {} + | sort",
    )
}

const ACCOUNTS: &str = r#"    - group: {name: keepers, gid: 4242}
    - user: {name: keeper, groups: [keepers], shell: /bin/sh, comment: Keeper, password: "$6$new$hash"}
    - copy: {dest: /home/keeper/.profile, content: "umask 077\n", owner: keeper, group: keeper, mode: "0600"}
    - file: {path: /home/keeper/.ssh, state: directory, owner: keeper, group: keeper, mode: "0700"}
    - user: {name: stays, shell: /bin/sh, comment: Other, groups: [keepers, games], password: "$6$other$hash", expires: 1893456000}
    - user: {name: locked, password_lock: true}
    - user: {name: goes, state: absent, remove: true}
    - group: {name: old, state: absent}
    - group: {name: moves, gid: 4343}
"#;

fn accounts_are_taken_back(flavour: Flavour, transport: &str) {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", flavour);
    host.sh("groupadd -g 4300 old; groupadd -g 4301 moves; groupadd -f games; \
             useradd -m -c Stays -s /bin/bash -G moves stays; echo 'stays:$6$old$hash' | chpasswd -e; chage -d 19000 -M 90 stays; \
             useradd -M locked; echo 'locked:$6$open$hash' | chpasswd -e; \
             useradd -m -u 4444 -c Goes -G old,moves goes; echo 'goes:$6$gone$hash' | chpasswd -e; chage -d 19001 -W 14 -E 30000 goes; \
             gpasswd -M stays,goes old; echo mine >/home/goes/mine; chmod 600 /home/goes/mine; chown goes:goes /home/goes/mine");
    let before = accounts(&host);
    let play = Play::tasks(&lab, ACCOUNTS);
    play.apply(&["--transport", transport]);
    let after = accounts(&host);
    let run = play.runs()[0]["id"].as_str().unwrap().to_owned();
    let name = format!("undo of {run}");

    let planned = play.okd(&["undo", &run, "--check", "--output", "json"]).ended(0);
    assert_eq!(accounts(&host), after, "a plan changed something");
    let undone = play.okd(&["undo", &run, "--yes", "--output", "json"]).ended(0);
    let diff = |run: &okd_tests::Run, pass| run.result(pass, "host", &name)["diff"].clone();
    assert_eq!(diff(&planned, "plan"), diff(&undone, "apply"), "{undone}");
    assert_eq!(accounts(&host), before, "{undone}");
    assert!(!undone.words().contains("$hash"), "a hash is shown: {undone}");
    let again = play.okd(&["undo", &run, "--yes", "--output", "json"]).ended(0);
    assert_eq!(again.status("plan", "host", &name), "ok", "{again}");

    let redo = play.runs()[0]["id"].as_str().unwrap().to_owned();
    let redone = play.okd(&["undo", &redo, "--yes"]).ended(0);
    assert_eq!(accounts(&host), after, "an undo of an undo: {redone}");
}

#[test]
fn users_and_groups_are_taken_back_on_debian() {
    accounts_are_taken_back(Flavour::Debian, "agent");
}

#[test]
fn users_and_groups_are_taken_back_on_el() {
    accounts_are_taken_back(Flavour::El, "ssh");
}

#[test]
fn a_user_that_somebody_has_changed_since_is_left_alone() {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", Flavour::Debian);
    let play = Play::tasks(
        &lab,
        "    - group: {name: crew}\n    - group: {name: team}\n    - user: {name: keeper}\n    - user: {name: other}\n",
    );
    play.apply(&[]);
    host.sh("echo theirs >/home/other/theirs; usermod -s /bin/bash keeper; useradd -g crew stranger; useradd -G team member; echo mail >/var/mail/other; chown other /var/mail/other");
    let run = play.runs()[0]["id"].as_str().unwrap().to_owned();
    let undone = play.okd(&["undo", &run, "--yes", "--output", "json"]).ended(4);
    undone.says("user keeper: it was changed since");
    undone.says("group crew: it is the primary group of stranger");
    undone.says("group team: member is a member of it");
    undone.says("/home/other: it holds what is not of that run: theirs");
    undone.says("/var/mail/other: it holds mail");
    assert_eq!(host.sh("getent group crew team | cut -d: -f1"), "crew\nteam\n");
    assert_eq!(host.sh("getent passwd keeper | cut -d: -f7"), "/bin/bash\n");
    assert_eq!(host.sh("ls -A /home/other"), "theirs\n");
    play.okd(&["undo", &run, "--yes", "--force"]).ended(0);
    assert_eq!(host.sh("getent passwd keeper || echo gone"), "gone\n");
}

#[test]
fn what_somebody_changed_since_is_left_alone() {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", Flavour::Debian);
    host.sh("mkdir /srv/u; echo old | tee /srv/u/a /srv/u/b");
    let tasks = "    - copy: {dest: /srv/u/a, content: new}\n    - copy: {dest: /srv/u/b, content: new}\n    \
                 - file: {path: /srv/u/d, state: directory}\n";
    let tasks = format!(
        "{tasks}    - copy: {{dest: /srv/u/c, content: \"first\\nsecond\\n\"}}\n    \
                 - copy: {{dest: /srv/u/e, content: e, mode: \"0644\"}}\n"
    );
    let play = Play::tasks(&lab, &tasks);
    play.apply(&[]);
    host.sh("echo theirs >/srv/u/a; touch /srv/u/d/theirs; sed -i s/cond/CO/ /srv/u/c; chmod 600 /srv/u/e");
    let run = play.runs()[0]["id"].as_str().unwrap().to_owned();
    let undone = play.okd(&["undo", &run, "--yes", "--output", "json"]).ended(4);
    undone.says("/srv/u/a: it was changed since, from byte 1 (line 1) on");
    undone.says("/srv/u/c: it was changed since, from byte 9 (line 2) on");
    undone.says("/srv/u/e: it was changed since, its mode");
    undone.says("it holds what is not of that run: theirs");
    assert_eq!(
        (host.read("/srv/u/a"), host.read("/srv/u/b")),
        ("theirs\n".into(), "old\n".into())
    );
    play.okd(&["undo", &run, "--yes", "--force"]).ended(0);
    assert_eq!(host.read("/srv/u/a"), "old\n");
    assert!(host.has("/srv/u/d/theirs"));
}

#[test]
fn an_undo_shows_no_secret() {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", Flavour::Debian);
    host.sh("mkdir /srv/u; echo s3cr3t-before >/srv/u/silent; echo s3cr3t-key >/srv/u/key; chmod 600 /srv/u/key");
    let tasks = "    - copy: {dest: /srv/u/silent, content: s3cr3t-after, mode: \"0644\"}\n      no_log: true\n    \
                 - copy: {dest: /srv/u/key, content: open}\n    \
                 - copy: {dest: /srv/u/open, content: hello, mode: \"0644\"}\n";
    let play = Play::tasks(&lab, tasks);
    play.apply(&["--no-diff"]);
    let run = play.runs()[0]["id"].as_str().unwrap().to_owned();
    for words in [&["--check"][..], &["--yes", "--output", "json", "-v"]] {
        let shown = play.okd(&[&["undo", &run], words].concat()).ended(0);
        assert!(!shown.words().contains("s3cr3t"), "{shown}");
        shown.says("‹hidden›");
        shown.says("hello");
    }
    assert_eq!(host.read("/srv/u/silent"), "s3cr3t-before\n");
    let mode = host.sh("stat -c %a /var/lib/okd-play/runs /var/lib/okd-play/runs/*/* | sort -u");
    assert_eq!(mode, "600\n700\n");
}

/// A command that counts how often it is run, and steps that hang on it.
const CUT: &str = r#"    - name: Setting
      copy: {dest: /srv/setting, content: "{{ word }}", mode: "0644"}
      register: setting
      notify: Handler
    - name: Act
      shell: echo act >>/srv/acts; date +%s%N
      register: act
    - name: Once
      command: touch /srv/once
      args: {creates: /srv/once}
    - name: Holds
      shell: touch /srv/began; until [ -e /srv/go ]; do sleep 0.1; done
    - name: Uses
      copy: {dest: /srv/used, content: "{{ act.stdout }} {{ setting.changed }}", mode: "0644"}
"#;

/// A run of [`CUT`] that was killed in the middle, and what the command gave.
fn killed<'lab>(lab: &'lab Lab, host: &okd_tests::Host<'_>) -> Play<'lab> {
    let play = Play::new(
        lab,
        &format!(
            "- hosts: host\n  gather_facts: false\n  vars: {{}}\n  tasks:\n{CUT}  handlers:\n    \
             - name: Handler\n      shell: echo handled >>/srv/handled\n"
        ),
    );
    let run = play.start(&["--yes", "--transport", "agent", "-e", "word=plain"]);
    until("the step runs", 60, || host.has("/srv/began").then_some(()));
    run.signal("KILL");
    let _ = run.wait();
    host.sh("touch /srv/go");
    until("the agent ends", 30, || {
        (!host.holds("pgrep -f okd-play/[a]gent-")).then_some(())
    });
    assert_eq!(play.runs()[0]["how"], "killed");
    assert!(!host.has("/srv/handled") && !host.has("/srv/used"));
    play
}

#[test]
fn a_run_that_was_killed_is_gone_on_with() {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", Flavour::Debian);
    let play = killed(&lab, &host);
    let run = play.runs()[0]["id"].as_str().unwrap().to_owned();
    let refused = play.okd(&["resume", "--yes"]).ended(2);
    refused.says("-e word=…");
    let again = play
        .okd(&["resume", "--yes", "--output", "json", "-e", "word=plain"])
        .ended(0);
    again.says(&format!("Run {run} (killed) is taken up again"));
    assert_eq!(again.status("plan", "host", "Act"), "ok", "{again}");
    assert_eq!(again.status("plan", "host", "Setting"), "ok", "{again}");
    assert_eq!(host.read("/srv/acts"), "act\n", "the command was run twice\n{again}");
    assert_eq!(host.read("/srv/handled"), "handled\n", "{again}");
    let used = host.read("/srv/used");
    let (stdout, changed) = used.split_once(' ').unwrap();
    assert!(
        stdout.len() > 12 && stdout.bytes().all(|byte| byte.is_ascii_digit()),
        "{used}"
    );
    assert_eq!(changed, "True", "{again}");
    let runs = play.runs();
    assert_eq!(
        (&runs[0]["how"], &runs[0]["resumes"]),
        (&"done".into(), &run.as_str().into())
    );
    play.okd(&["resume", "--yes"]).ended(2).says("came to its end");
    play.okd(&["runs"]).ended(0).says(&format!("from {run} on"));
}

#[test]
fn what_has_moved_since_is_done_anew() {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", Flavour::Debian);
    let play = killed(&lab, &host);
    host.sh("rm /srv/setting");
    let again = play.okd(&["resume", "--yes", "-e", "word=plain"]).ended(0);
    assert_eq!(host.read("/srv/acts"), "act\nact\n", "{again}");
    assert_eq!(host.read("/srv/handled"), "handled\n", "{again}");
}

#[test]
fn a_run_is_gone_on_with_by_the_files_that_it_began_with() {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", Flavour::Debian);
    let play = killed(&lab, &host);
    let text = std::fs::read_to_string(play.folder().join("play.yaml")).unwrap();
    play.put("play.yaml", &text.replace("date +%s%N", "echo other"));
    let words = ["resume", "--yes", "-e", "word=plain"];
    play.okd(&words).ended(2).says("play.yaml");
    play.okd(&[&words[..], &["--changed"]].concat()).ended(0);
    assert_eq!(host.read("/srv/acts"), "act\nact\n");
    assert_eq!(host.read("/srv/used"), "other True");
}

#[test]
fn no_secret_is_in_a_journal() {
    const SECRET: &str = "s3cr3t-prompted";
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", Flavour::Debian);
    let tasks = "    - copy: {dest: /srv/word, content: \"word={{ word }}\", mode: \"0600\"}\n      register: placed\n    \
                 - slurp: {src: /srv/word}\n      register: read\n    \
                 - command: cat /srv/word\n      register: shown\n    \
                 - debug: {var: shown}\n    - name: Fails\n      command: ls \"/nowhere\"\n";
    let play = Play::new(
        &lab,
        &format!(
            "- hosts: host\n  gather_facts: false\n  vars_prompt: [{{name: word, private: true}}]\n  tasks:\n{tasks}"
        ),
    );
    let run = play.run(&["--yes", "-e", &format!("word={SECRET}")]).ended(1);
    assert_eq!(host.read("/srv/word"), format!("word={SECRET}"), "{run}");
    let id = play.runs()[0]["id"].as_str().unwrap().to_owned();
    let clean = |text: &str, what: &str| {
        assert!(
            !text.contains(SECRET) && !text.contains("czNjcjN0LXByb21wdGVk"),
            "{what}: {text}"
        );
    };
    clean(&journal(&play, &id), "the journal");
    clean(&run.words(), "the run");
    let again = format!("word={SECRET}");
    for words in [
        &["runs"][..],
        &["runs", &id],
        &["runs", "-o", "json"],
        &["runs", &id, "-o", "json"],
        &["resume", "--check", "-e", &again],
        &["undo", &id, "--check", "--full", "-vv"],
        &["undo", &id, "--check", "-o", "json"],
        &["undo", &id, "--yes"],
    ] {
        clean(&play.okd(words).words(), &words.join(" "));
    }
    assert!(!host.has("/srv/word"));
}

#[test]
fn a_plan_that_is_applied_is_a_run() {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", Flavour::Debian);
    let play = Play::tasks(&lab, OTHER);
    let _ = play.plan("kept.plan", &[]).ended(0);
    assert!(play.runs().is_empty(), "a plan left a journal");
    play.okd(&["apply", "kept.plan", "--yes"]).ended(0);
    let run = play.runs()[0].clone();
    assert_eq!((&run["how"], &run["applies"]), (&"done".into(), &"kept.plan".into()));
    assert!(host.has("/srv/other"));
    play.okd(&["undo", run["id"].as_str().unwrap(), "--yes"]).ended(0);
    assert!(!host.has("/srv/other"));
}

/// What the package tests differ in.
struct Packaged {
    flavour: Flavour,
    /// Before the run.
    prepared: &'static str,
    tasks: &'static str,
    list: &'static str,
    /// A program of each package that the run brings.
    programs: &'static [&'static str],
    unit: &'static str,
    config: &'static str,
}

const DEBIAN_PACKAGES: Packaged = Packaged {
    flavour: Flavour::Debian,
    prepared: "apt-get -qq update; apt-get -qq -y install tree acl >/dev/null; apt-get -qq -y remove acl >/dev/null; \
               mkdir -p /etc/haproxy; echo theirs >/etc/haproxy/haproxy.cfg",
    tasks: r##"
    - copy: {dest: /etc/haproxy/haproxy.cfg, content: "global\n\nlisten x\n  mode http\n  timeout client 1s\n  timeout server 1s\n  timeout connect 1s\n  bind 127.0.0.1:8081\n"}
    - file: {path: /etc/nginx/conf.d, state: directory, mode: "0755"}
    - copy: {dest: /etc/nginx/conf.d/early.conf, content: "# early\n", mode: "0644"}
    - apt: {name: [nginx, apache2-utils, haproxy], state: present}
    - apt: {name: tree, state: absent, purge: true}
    - lineinfile: {path: /etc/nginx/nginx.conf, line: "# ours"}
    - copy: {dest: /etc/nginx/conf.d/ours.conf, content: "# ours\n", mode: "0644"}
    - service: {name: nginx, state: started, enabled: true}
"##,
    list: "dpkg-query -W -f '${binary:Package} ${Version} ${db:Status-Abbrev}\\n' | sort; apt-get -qq check",
    programs: &["nginx", "ab", "haproxy"],
    unit: "nginx",
    config: "/etc/nginx/nginx.conf",
};

const EL_PACKAGES: Packaged = Packaged {
    flavour: Flavour::El,
    prepared: "dnf -q -y install tree acl",
    tasks: r#"
    - dnf: {name: [bind, nginx, firewalld], state: present}
    - package: {name: tree, state: absent}
    - lineinfile: {path: /etc/named.conf, line: "// ours"}
    - copy: {dest: /var/named/ours.zone, content: "; ours\n", mode: "0644"}
    - service: {name: named, state: started, enabled: true}
    - service: {name: firewalld, state: started, enabled: true}
    - firewalld: {service: dns, state: enabled, permanent: true, immediate: true}
"#,
    list: "rpm -qa | sort",
    programs: &["named", "dig", "nginx"],
    unit: "named",
    config: "/etc/named.conf",
};

fn packages_are_taken_back(of: &Packaged, transport: &str) {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", of.flavour);
    host.sh(of.prepared);
    let leftovers = "find /etc /var/named /var/lib/nginx -name '*.rpmsave' -o -name '*.rpmnew' -o -name '*.dpkg-*' 2>/dev/null | sort || true; \
                     find / -xdev -xtype l -path '*.wants/*' 2>/dev/null | sort; ls /etc/nginx 2>/dev/null || true; cat /etc/haproxy/haproxy.cfg 2>/dev/null || true";
    let look = || (host.sh(of.list), host.sh(leftovers));
    let there = |program: &str| host.holds(&format!("command -v {program}"));
    let before = look();
    let play = Play::tasks(&lab, of.tasks);
    play.apply(&["--transport", transport]);
    let after = look();
    let config = host.read(of.config);
    assert!(config.contains("ours") && of.programs.iter().all(|program| there(program)) && !there("tree"));
    let run = play.runs()[0]["id"].as_str().unwrap().to_owned();

    let planned = play.okd(&["undo", &run, "--check", "--output", "json"]).ended(0);
    assert_eq!(look(), after, "a plan changed something");
    assert!(!planned.words().contains("Not taken back"), "{planned}");
    let undone = play.okd(&["undo", &run, "--yes", "--output", "json"]).ended(0);
    let name = format!("undo of {run}");
    let diff = |run: &okd_tests::Run, pass| run.result(pass, "host", &name)["diff"].clone();
    assert_eq!(diff(&planned, "plan"), diff(&undone, "apply"), "{undone}");
    assert_eq!(look(), before, "{undone}");
    assert!(
        there("tree") && !of.programs.iter().any(|program| there(program)),
        "{undone}"
    );
    let unit = format!("systemctl show -P LoadState {}", of.unit);
    assert_eq!(host.sh(&unit), "not-found\n", "{undone}");
    let again = play.okd(&["undo", &run, "--yes", "--output", "json"]).ended(0);
    assert_eq!(again.status("plan", "host", &name), "ok", "{again}");

    let undo = play.runs()[0]["id"].as_str().unwrap().to_owned();
    let redone = play.okd(&["undo", &undo, "--yes"]).ended(0);
    assert_eq!(look(), after, "{redone}");
    assert_eq!(host.read(of.config), config, "{redone}");
    let runs = format!("systemctl is-active {0}; systemctl is-enabled {0}", of.unit);
    assert_eq!(host.sh(&runs), "active\nenabled\n", "{redone}");
    play.converged(&[]);
}

#[test]
fn packages_of_debian_are_taken_back() {
    packages_are_taken_back(&DEBIAN_PACKAGES, "agent");
}

#[test]
fn packages_of_el_are_taken_back() {
    packages_are_taken_back(&EL_PACKAGES, "ssh");
}

fn what_is_needed_stays(flavour: Flavour, task: &str, theirs: &str, words: &str) {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", flavour);
    if flavour == Flavour::Debian {
        host.sh("apt-get -qq update");
    }
    let play = Play::tasks(&lab, task);
    play.apply(&[]);
    host.sh(theirs);
    let run = play.runs()[0]["id"].as_str().unwrap().to_owned();
    let undone = play.okd(&["undo", &run, "--yes", "--output", "json"]).ended(0);
    undone.says(words);
    assert!(host.holds("command -v named && ! command -v tree"), "{undone}");
    let again = play.okd(&["undo", &run, "--yes", "--output", "json"]).ended(0);
    assert_eq!(again.status("plan", "host", &format!("undo of {run}")), "ok", "{again}");
}

#[test]
fn a_deb_that_others_need_stays() {
    what_is_needed_stays(
        Flavour::Debian,
        "    - apt: {name: [bind9-dnsutils, tree]}\n",
        "apt-get -qq -y install bind9 >/dev/null",
        "package bind9-libs: bind9-utils depends on bind9-libs",
    );
}

#[test]
fn an_rpm_that_others_need_stays() {
    what_is_needed_stays(
        Flavour::El,
        "    - dnf: {name: [bind-utils, tree]}\n",
        "dnf -q -y install bind",
        "package bind-utils: bind-utils is needed by (installed) bind-",
    );
}

#[test]
fn configuration_that_somebody_edited_stays_when_its_package_goes() {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", Flavour::Debian);
    host.sh("apt-get -qq update");
    let tasks = "    - apt: {name: nginx}\n    - lineinfile: {path: /etc/nginx/nginx.conf, line: \"# ours\"}\n";
    let play = Play::tasks(&lab, tasks);
    play.apply(&[]);
    host.sh("echo '# theirs' >>/etc/nginx/mime.types");
    let run = play.runs()[0]["id"].as_str().unwrap().to_owned();
    let undone = play.okd(&["undo", &run, "--yes"]).ended(4);
    undone.says("configuration of package nginx-common: it was changed since, /etc/nginx/mime.types");
    assert!(host.read("/etc/nginx/mime.types").ends_with("# theirs\n"));
    assert!(!host.holds("command -v nginx"), "{undone}");
    let status = "dpkg-query -W -f '${db:Status-Abbrev}' nginx-common";
    assert_eq!(host.sh(status), "rc ", "{undone}");
    play.okd(&["undo", &run, "--yes"]).ended(4).says("nginx-common");
    play.okd(&["undo", &run, "--yes", "--force"]).ended(0);
    assert!(!host.holds(status), "{undone}");
}
