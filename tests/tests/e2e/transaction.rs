//! Transactions of blocks on real services: all of the files or none, and the old set runs on where anything fails.

use crate::services::{OF_ONE_HOST, OF_THE_SERVICES};
use okd_tests::{Flavour, Host, Lab, Picture, Play, Run, until};

/// A web server of two files; `word` is what it says, `extra` stands in its part, `check` may be weaker than nginx's own.
const WEB: &str = r#"
- hosts: all
  gather_facts: false
  vars:
    word: one
    extra: ""
    check: nginx -t -q -c {stage}/etc/nginx/nginx.conf
  tasks:
    - name: Web
      transaction:
        check: ["/srv/counted {stage}", "{{ check }}"]
        reload: {service: nginx, state: reloaded}
        probe: {http: {url: "http://127.0.0.1:8080/", expect: 200, body: "{{ word }}"}}
      block:
        - name: Main
          lineinfile: {path: /etc/nginx/nginx.conf, insertafter: "^http {", line: "    include /etc/nginx/okd.d/*.conf;"}
        - name: Folder
          file: {path: /etc/nginx/okd.d, state: directory, mode: "0755"}
        - name: Part
          copy:
            dest: "/etc/nginx/okd.d/{{ item }}.conf"
            content: "server { listen {{ item }}; location / { return 200 {{ word }}; } {{ extra }} }\n"
          loop: [8080, 8081]
          register: part
          notify: Told
        - name: Seen
          command: "false"
          when: false
  handlers:
    - name: Told
      copy: {dest: /srv/told, content: "{{ word }} {{ part.changed }}\n"}
"#;

/// What is allowed only to be skipped is not allowed at all: the step above is taken out where a run shall begin.
fn web(lab: &Lab) -> Play<'_> {
    let (text, rest) = WEB.split_once("        - name: Seen\n").unwrap();
    Play::new(
        lab,
        &format!("{text}  handlers:{}", rest.split_once("  handlers:").unwrap().1),
    )
}

pub(crate) fn install(host: &Host<'_>, flavour: Flavour, packages: &str) {
    match flavour {
        Flavour::El => host.sh(&format!("dnf -q -y install {packages}")),
        _ => host.sh(&format!(
            "apt-get -q update; DEBIAN_FRONTEND=noninteractive apt-get -q -y install {packages}"
        )),
    };
}

/// A checker that says yes, and how often it was asked.
fn counter(host: &Host<'_>) {
    host.put(
        "/srv/counted",
        b"#!/bin/sh\nls $1/etc/hostname >/dev/null && echo asked >>/srv/asked\n",
    );
    host.sh("chmod 755 /srv/counted");
}

fn picture(host: &Host<'_>) -> Picture {
    Picture::lasting(
        host,
        &[OF_ONE_HOST, OF_THE_SERVICES, &["/srv", "/var/lib/okd-play"]].concat(),
    )
}

fn says(host: &Host<'_>, port: u16) -> String {
    host.sh(&format!("curl -s http://127.0.0.1:{port}/ || true"))
}

/// Nothing of okd-play's own is left behind but the lock, which nobody holds.
fn tidy(host: &Host<'_>) {
    assert_eq!(
        host.sh("ls -A /var/lib/okd-play/owed 2>/dev/null; ls -A /run/okd-play 2>/dev/null | grep -vx lock || :"),
        ""
    );
}

/// The old set is in place, byte for byte, and runs.
fn as_before(host: &Host<'_>, before: &Picture, run: &Run) {
    before.assert_same(&picture(host));
    assert!(host.active("nginx"), "nginx does not run\n{run}");
    assert_eq!([says(host, 8080), says(host, 8081)], ["one", "one"], "{run}");
    assert_eq!(
        host.read("/srv/told"),
        "one True\n",
        "a handler ran for what is not in place\n{run}"
    );
    tidy(host);
}

fn web_server(flavour: Flavour, transport: &str) {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", flavour);
    install(&host, flavour, "nginx");
    host.sh("systemctl start nginx");
    counter(&host);
    let play = web(&lab);
    let with = |words: &[&str]| play.run(&[&["--yes", "--transport", transport], words].concat());

    // It is brought there as planned, and then nothing is left to do.
    let run = with(&[]).ended(0);
    for task in ["Main", "Folder", "Part", "Web"] {
        assert_eq!(run.status("plan", "host", task), "changed", "{task}\n{run}");
        assert_eq!(run.status("apply", "host", task), "changed", "{task}\n{run}");
    }
    assert_eq!(
        run.result("apply", "host", "Web")["diff"][0]["text"],
        "reload nginx",
        "{run}"
    );
    assert_eq!([says(&host, 8080), says(&host, 8081)], ["one", "one"], "{run}");
    assert_eq!(host.read("/srv/told"), "one True\n");
    let asked = host.read("/srv/asked");
    play.converged(&["--transport", transport]);
    assert_eq!(host.read("/srv/asked"), asked, "what is converged is staged no more");
    tidy(&host);
    let before = picture(&host);
    let pid = host.main_pid("nginx");

    // The checker refuses, in the plan already; its words name the real file, and quote the line.
    let run = with(&["-e", "extra='no_such on;'"]).ended(1);
    run.says("unknown directive \"no_such\" in /etc/nginx/okd.d/8080.conf:1");
    run.says("nothing was swapped: the old configuration is in place and nginx is running on it");
    assert_eq!(run.status("plan", "host", "Web"), "failed", "{run}");
    assert_eq!(host.main_pid("nginx"), pid);
    as_before(&host, &before, &run);

    // What passes a weaker checker makes the reload fail.
    let weak =
        "{\"word\": \"two\", \"extra\": \"no_such on;\", \"check\": \"grep -q okd.d {stage}/etc/nginx/nginx.conf\"}";
    let run = with(&["-e", weak]).ended(1);
    let failed = run.result("apply", "host", "Web");
    assert!(failed["msg"].as_str().unwrap().starts_with("reload: "), "{run}");
    run.says("no_such");
    run.says("the old set was put back and nginx is running on it");
    assert_eq!(failed["diff"].as_array().unwrap().len(), 2, "{run}");
    assert_eq!(run.status("apply", "host", "Part"), "blocked", "{run}");
    as_before(&host, &before, &run);

    // What reloads well does not answer as it should.
    let run = with(&["-e", "{\"word\": \"two\", \"extra\": \"return 503;\"}"]).ended(1);
    run.says("probe: asked HTTP http://127.0.0.1:8080/: wanted 200, text two, came 503");
    run.says("the old set was put back and nginx is running on it");
    assert_eq!(run.status("apply", "host", "Part"), "blocked", "{run}");
    as_before(&host, &before, &run);

    // And what is good goes through.
    with(&["-e", "word=two"]).ended(0);
    assert_eq!([says(&host, 8080), says(&host, 8081)], ["two", "two"]);
    assert_eq!(host.read("/srv/told"), "two True\n");
    tidy(&host);
}

#[test]
fn a_web_server_on_el_has_all_of_its_files_or_none_by_the_agent() {
    web_server(Flavour::El, "agent");
}

#[test]
fn a_web_server_on_debian_has_all_of_its_files_or_none_by_plain_ssh() {
    web_server(Flavour::Debian, "ssh");
}

#[test]
fn what_cannot_be_staged_is_refused_before_anything_is_contacted() {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", Flavour::Debian);
    let run = Play::new(&lab, WEB).run(&["--yes"]).ended(2);
    run.says("`command` acts beyond files, so it cannot be staged");
    assert!(!run.touched("host") && !host.has("/etc/nginx"), "{run}");
}

/// The name server of the contract: its checker changes its root to the stage.
const DNS: &str = r#"
- hosts: all
  gather_facts: false
  vars: {address: 10.0.0.1, zone: "{{ address }}"}
  tasks:
    - package: {name: [bind, bind-utils]}
    - name: DNS
      transaction:
        check: named-checkconf -z -t {stage} /etc/named.conf
        reload: {service: named, state: reloaded}
        probe: {dns: {name: api.okd.example.org, type: A, server: 127.0.0.1, expect: "{{ address }}"}}
      block:
        - name: Configuration
          blockinfile:
            path: /etc/named.conf
            block: |
              zone "okd.example.org" { type primary; file "okd.example.org.zone"; };
        - name: Zone
          copy:
            dest: /var/named/okd.example.org.zone
            group: named
            mode: "0640"
            content: |
              $TTL 1h
              @ IN SOA ns admin 1 1h 1h 1h 1h
              @ IN NS ns
              ns IN A 127.0.0.1
              api IN A {{ zone }}
"#;

#[test]
fn a_name_server_that_the_run_installs_is_checked_when_it_is_applied() {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", Flavour::El);
    let play = Play::new(&lab, DNS);
    // Its configuration is a package's still to come, so what becomes of it is not known in the plan.
    let plan = play.run(&["--check", "--exit-code"]).ended(10);
    assert_eq!(plan.status("plan", "host", "DNS"), "unknown", "{plan}");
    let run = play.run(&["--yes", "-e", "zone=10.0.0.999"]).ended(1);
    run.says("okd.example.org.zone:5: near '10.0.0.999': bad dotted quad");
    run.says("5 | api IN A 10.0.0.999");
    run.says("nothing was swapped");
    assert_eq!(run.status("apply", "host", "Zone"), "blocked", "{run}");
    assert!(
        !host.has("/var/named/okd.example.org.zone") && !host.active("named"),
        "{run}"
    );
    // It did not run before, and a probe that fails leaves it like that.
    let run = play.run(&["--yes", "-e", "zone=10.0.0.2"]).ended(1);
    run.says("the old set was put back; named did not run before and does not now");
    assert!(
        !host.has("/var/named/okd.example.org.zone") && !host.active("named"),
        "{run}"
    );
    tidy(&host);
    play.apply(&[]);
    assert_eq!(host.sh("dig +short @127.0.0.1 api.okd.example.org"), "10.0.0.1\n");
    play.converged(&[]);
}

/// A daemon that writes down what it reads, and files enough for a swap to last.
const MANY: &str = r#"
- hosts: all
  gather_facts: false
  vars: {word: new, want: "{{ word }}"}
  tasks:
    - name: Toy
      transaction:
        check: test -d {stage}/etc/toy
        reload: {systemd: toy, state: restarted}
        probe: {command: "grep -qx {{ want }} /run/toy"}
      block:
        - name: Parts
          copy: {dest: "/etc/toy/{{ item }}", content: "{{ word }}\n"}
          loop: "{{ range(10, 22) | list }}"
"#;

fn toy(host: &Host<'_>) {
    let unit = "[Service]\nExecStart=/bin/sh -c 'cat /etc/toy/* | sort -u >/run/toy; exec sleep infinity'\n";
    host.put("/etc/systemd/system/toy.service", unit.as_bytes());
    host.sh("mkdir /etc/toy; for i in $(seq 10 21); do echo old >/etc/toy/$i; done; systemctl daemon-reload; systemctl start toy");
    until("it has read its files", 20, || {
        host.holds("grep -qx old /run/toy").then_some(())
    });
}

fn contents(host: &Host<'_>) -> String {
    host.sh("cat /etc/toy/* | sort | uniq -c | tr -s ' '")
}

/// The program is killed as soon as a part of the set is in place.
fn killed(lab: &Lab, host: &Host<'_>, transport: &str) {
    let play = Play::new(lab, MANY);
    let run = play.start(&["--yes", "--transport", transport]);
    until("a part of the set is in place", 120, || {
        host.holds("grep -qx new /etc/toy/12").then_some(())
    });
    drop(run);
    until("nothing acts on the host any more", 60, || {
        (!host.holds("pgrep -f 'okd-play/[a]gent-|[o]kd-play-shell'")).then_some(())
    });
}

#[test]
fn a_swap_by_plain_ssh_that_is_killed_in_the_middle_is_taken_up() {
    let lab = Lab::up();
    let host = lab.host_with("host", "10.77.1.21", Flavour::Debian, &["--delay", "40"]);
    toy(&host);
    killed(&lab, &host, "ssh");
    let left = contents(&host);
    assert!(
        left.contains("old") && left.contains("new"),
        "it was not cut in the middle: {left}"
    );
    assert_eq!(host.sh("cat /run/toy; ls /var/lib/okd-play/owed | wc -l"), "old\n1\n");
    // The next run fails: what comes back is what the first one found, and not the mixture that it left.
    let play = Play::new(&lab, MANY);
    let run = play.run(&["--yes", "--transport", "ssh", "-e", "want=other"]).ended(1);
    run.says("the old set was put back and toy is running on it");
    assert_eq!(contents(&host), " 12 old\n");
    assert_eq!(host.sh("cat /run/toy"), "old\n");
    tidy(&host);

    killed(&lab, &host, "ssh");
    play.apply(&["--transport", "ssh"]);
    assert_eq!(contents(&host), " 12 new\n");
    assert_eq!(host.sh("cat /run/toy"), "new\n");
    tidy(&host);
    play.converged(&["--transport", "ssh"]);
}

#[test]
fn an_agent_brings_a_swap_to_its_end_though_the_program_is_killed() {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", Flavour::Debian);
    toy(&host);
    killed(&lab, &host, "agent");
    assert_eq!(contents(&host), " 12 new\n");
    assert_eq!(host.sh("cat /run/toy"), "new\n");
    tidy(&host);
    Play::new(&lab, MANY).converged(&[]);
}

#[test]
fn power_lost_in_a_swap_is_taken_up() {
    let lab = Lab::up();
    let host = lab.host_with("host", "10.77.1.21", Flavour::Debian, &["--delay", "40"]);
    toy(&host);
    host.sh("systemctl -q enable toy 2>/dev/null || true");
    let play = Play::new(&lab, MANY);
    let run = play.start(&["--yes", "--transport", "ssh"]);
    until("a part of the set is in place", 120, || {
        host.holds("grep -qx new /etc/toy/12").then_some(())
    });
    host.verb("kill");
    drop(run);
    host.verb("start");
    let left = contents(&host);
    assert!(
        left.contains("old") && left.contains("new"),
        "it was not cut in the middle: {left}"
    );
    play.apply(&[]);
    assert_eq!(contents(&host), " 12 new\n");
    assert_eq!(host.sh("cat /run/toy"), "new\n");
    play.converged(&[]);
}

/// All that tasks may carry, inside: conditions, loops, results, includes, blocks, a rescue around, a user to become.
const LANGUAGE: &str = r#"
- hosts: all
  gather_facts: false
  vars: {broken: false, late: false, refused: false, two: "yes"}
  tasks:
    - name: Outer
      become: true
      transaction: {check: "sh -c 'test \"$(cat $0/etc/toy/*.conf | tr -d \"\\n\")\" = \"one23\" && {{ \"false\" if refused else \"true\" }}' {stage}"}
      when: not ansible_check_mode or true
      vars: {words: [1, 2, 3]}
      block:
        - {name: Folder, file: {path: /etc/toy, state: directory}}
        - name: One
          copy: {dest: /etc/toy/1.conf, content: "one\n"}
          register: one
        - name: Look
          stat: {path: /etc/toy/1.conf}
          register: look
        - assert: {that: [look.stat.exists, look.stat.size == 4]}
        - include_tasks: more.yaml
        - name: Inner
          block:
            - {name: Broken inside, lineinfile: {path: /etc/toy/none, line: x}}
          rescue:
            - {name: Three, copy: {dest: /etc/toy/3.conf, content: "3\n"}}
        - {name: Never, copy: {dest: /etc/toy/never, content: x}, when: one is not changed and one is changed}
        - {name: Breaks, fail: {msg: as asked}, when: broken}
      rescue:
        - {name: Rescue, copy: {dest: /srv/rescued, content: "{{ ansible_failed_task.name }}\n"}}
        - {name: Nothing, command: test ! -e /etc/toy}
        - {name: Not changed, assert: {that: one is not changed}}
      always:
        - {name: Always, copy: {dest: "/srv/always", content: "{{ one.changed | default(false) }}\n"}}
    - name: Behind
      copy: {dest: /srv/behind, content: "{{ one.changed }}\n"}
"#;

fn language(transport: &str) {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", Flavour::Debian);
    host.sh("chmod 777 /srv");
    let play = Play::new(&lab, LANGUAGE);
    let more = "- name: Two\n  copy: {dest: \"/etc/toy/{{ item }}.conf\", content: \"{{ item }}\\n\"}\n  loop: [2]\n  when: two\n";
    play.put("more.yaml", more);
    let with = |words: &[&str]| play.run(&[&["--yes", "-u", "auto", "--transport", transport], words].concat());

    let run = with(&["-e", "broken=true"]).ended(0);
    assert_eq!(run.status("plan", "host", "Breaks"), "rescued", "{run}");
    assert_eq!(run.status("apply", "host", "One"), "blocked", "{run}");
    run.says("nothing of the transaction \\\"Outer\\\" was put in place");
    assert_eq!(host.read("/srv/rescued"), "Breaks\n", "{run}");
    assert_eq!(
        [host.read("/srv/always"), host.read("/srv/behind")],
        ["False\n", "False\n"],
        "{run}"
    );
    assert!(!host.has("/etc/toy"), "{run}");

    let run = with(&["-e", "refused=true"]).ended(0);
    assert_eq!(run.status("apply", "host", "Outer"), "rescued", "{run}");
    assert_eq!(host.read("/srv/rescued"), "Outer\n", "{run}");
    assert!(!host.has("/etc/toy"), "{run}");

    let run = with(&[]).ended(0);
    assert_eq!(
        host.sh("cat /etc/toy/*.conf; stat -c %U /etc/toy/1.conf; ls /etc/toy"),
        "one\n2\n3\nroot\n1.conf\n2.conf\n3.conf\n",
        "{run}"
    );
    assert_eq!(
        [host.read("/srv/always"), host.read("/srv/behind")],
        ["True\n", "True\n"],
        "{run}"
    );
    assert_eq!(run.status("apply", "host", "Broken inside"), "rescued", "{run}");
    let again = with(&[]).ended(0);
    assert_eq!(again.status("apply", "host", "Outer"), "ok", "{again}");
}

#[test]
fn what_tasks_may_carry_works_inside_by_the_agent() {
    language("agent");
}

#[test]
fn what_tasks_may_carry_works_inside_by_plain_ssh() {
    language("ssh");
}

/// `validate` on a task checks all files that it writes.
#[test]
fn a_task_that_writes_several_files_is_validated_as_a_whole() {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", Flavour::Debian);
    let task = "    - name: Rules\n      copy: {dest: \"/etc/sudoers.d/{{ item }}\", content: \"{{ line }}\\n\", mode: \"0440\"}\n      \
        loop: [one, two]\n      vars: {line: \"ops ALL=(ALL) ALL\"}\n      validate: visudo -c -f {stage}/etc/sudoers\n";
    let bad = task.replace(
        "ops ALL=(ALL) ALL",
        "{% if item == 'two' %}nonsense{% else %}ops ALL=(ALL) ALL{% endif %}",
    );
    let run = Play::tasks(&lab, &bad).run(&["--yes"]).ended(1);
    run.says("visudo refuses the new files");
    run.says("/etc/sudoers.d/two:1");
    assert!(
        !host.has("/etc/sudoers.d/one") && !host.has("/etc/sudoers.d/two"),
        "{run}"
    );
    let play = Play::tasks(&lab, task);
    play.apply(&[]);
    assert!(host.has("/etc/sudoers.d/one") && host.has("/etc/sudoers.d/two"));
    play.converged(&[]);
}

/// On the control node too.
#[test]
fn a_transaction_on_this_machine() {
    let lab = Lab::up();
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().display();
    std::fs::write(folder.path().join("old"), "old\n").unwrap();
    let text = format!(
        "- hosts: localhost\n  connection: local\n  gather_facts: false\n  vars: {{word: good}}\n  tasks:\n    - name: Here\n      \
         transaction: {{check: [\"grep -qx good {{stage}}{at}/one\", \"sh -c 'grep -qx good {at}/deep/two && ! ls {at}/old' {{stage}}\"]}}\n      block:\n        \
         - {{name: One, copy: {{dest: {at}/one, content: \"{{{{ word }}}}\\n\"}}}}\n        \
         - {{name: Deep, file: {{path: {at}/deep, state: directory}}}}\n        \
         - {{name: Two, copy: {{dest: {at}/deep/two, content: \"good\\n\"}}}}\n        \
         - {{name: Old, file: {{path: {at}/old, state: absent}}}}\n"
    );
    let play = Play::new(&lab, &text);
    let names = || {
        let mut names: Vec<_> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        names
    };
    play.run(&["--yes", "-e", "word=bad"]).ended(1);
    assert_eq!(names(), ["old"]);
    play.apply(&[]);
    assert_eq!(names(), ["deep", "one"]);
    play.converged(&[]);
}
