//! Silence: what is secret reaches its destination, and nothing that people, files or other processes could read.

use okd_tests::{Flavour, Lab, Play, until};
use std::io::Write;
use std::process::{Command, Stdio};

/// Long enough to be nobody's word; the quote and the backslash are for those who would only escape it.
const POISON: &str = "p0is0n-\"7c1e\\4242";
const HASH: &str = "$6$p0is0nsalt$Zk1Vv0p0is0nhashp0is0nhashp0is0nhashp0is0nhashp0is0nhashp0is0nhash01";

const TASKS: &str = r#"    - name: Copy
      copy: {content: "password={{ poison }}\n", dest: /srv/copy, mode: "0600"}
    - name: Template
      template: {src: t.j2, dest: /srv/template, mode: "0600"}
    - name: Encrypted file
      copy: {src: sealed, dest: /srv/sealed, mode: "0600"}
    - name: Line
      lineinfile: {path: /srv/old, regexp: "^key=", line: "key={{ poison }}"}
    - name: Ini
      ini_file: {path: /srv/ini, section: a, option: key, value: "{{ poison }}", mode: "0600"}
    - name: User
      user: {name: poisoned, password: "{{ hash }}"}
    - name: Environment
      shell: printf %s "$POISON" > /srv/environment; sleep 2; printf %s "$POISON"; true seen-canary
      environment: {POISON: "{{ poison }}"}
      register: said
    - name: Stdin
      command: tee /srv/stdin
      args: {stdin: "{{ poison }}", stdin_add_newline: false}
    - name: Unexpected
      command: cat /srv/copy /srv/base64
    - name: Base64
      copy: {content: "{{ poison | b64encode }}", dest: /srv/base64, mode: "0600"}
    - name: Store
      copy: {content: "{{ lookup('secret', command='cat stored') }}\n", dest: /srv/stored, mode: "0600"}
    - name: Key of a store
      copy: {content: "{{ (lookup('secret', file='stored.json') | from_json).key }}\n", dest: /srv/key, mode: "0600"}
    - name: Refused store
      copy: {content: "{{ lookup('secret', command='cat stored; exit 7') }}", dest: /srv/refused}
      ignore_errors: true
    - name: Request
      uri: {url: "http://127.0.0.1:8099/", method: POST, headers: {X-Token: "{{ token }}"}, body: "{{ poison }}", status_code: 200}
    - name: Shown
      debug: {msg: "{{ said.stdout }} {{ poison }} {{ poison | upper }} {{ whole }}"}
    - name: Condition
      assert: {that: [poison is match("p0is0n"), whole == "4711-p0is0n"]}
    - name: Arguments
      command: "echo {{ poison }}"
      ignore_errors: true
    - name: Failure
      shell: printf %s "$POISON" >&2; exit 3
      environment: {POISON: "{{ poison }}"}
      ignore_errors: true
"#;

/// Answers one request with what it was asked, into a file.
const SERVER: &str = r#"cat > /srv/server.py <<'EOF'
import http.server
class Seen(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers['Content-Length']))
        with open('/srv/request', 'wb') as seen:
            seen.write(self.headers['X-Token'].encode() + b' ' + body)
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(('127.0.0.1', 8099), Seen).serve_forever()
EOF
systemd-run --unit=seen python3 /srv/server.py"#;

/// Notes what processes are started with that should be seen, and what should not.
const WATCH: &str = r#"cat > /run/watch <<'EOF'
while :; do cat /proc/[0-9]*/cmdline; done 2>/dev/null | tr '\0' ' ' | grep -a --line-buffered -o 'p0is0n[^ ]*\|seen-[a-z]*' > /run/seen-arguments
EOF
systemd-run --unit=watch sh /run/watch"#;

/// Records what passes by the host's cable.
const WIRE: &str = r#"cat > /run/wire.py <<'EOF'
import socket
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
wire.bind(('eth0', 0))
with open('/run/wire', 'wb', buffering=0) as seen:
    while True:
        seen.write(wire.recv(1 << 17))
EOF
systemd-run --unit=wire python3 /run/wire.py"#;

pub(crate) fn sealed(play: &Play<'_>, plain: &str) -> String {
    let mut child = Command::new(okd_tests::play::program())
        .args(["vault", "encrypt-string", "--vault-password-file"])
        .arg(play.folder().join("password"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(plain.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// The file form of a `!vault` value.
pub(crate) fn file(value: &str) -> String {
    let lines: Vec<&str> = value.lines().skip(1).map(str::trim).collect();
    lines.join("\n") + "\n"
}

fn silent(transport: &str) {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", Flavour::Debian);
    host.sh("printf 'a\\nkey=old-p0is0n-key\\nz\\n' > /srv/old; : > /srv/base64");
    host.sh(SERVER);
    let play = Play::new(
        &lab,
        &format!("- hosts: all\n  gather_facts: false\n  vars_files: [plain.yml, whole.yml]\n  tasks:\n{TASKS}"),
    );
    play.put("password", "the-vault-password\n");
    play.put("t.j2", "# {{ ansible_managed }}\nsecret = {{ poison }}\nplain = yes\n");
    play.put(
        "plain.yml",
        &format!("poison: {}\nhash: {}\n", sealed(&play, POISON), sealed(&play, HASH)),
    );
    play.put(
        "whole.yml",
        &file(&sealed(&play, "token: p0is0n-token\nwhole: 4711-p0is0n\n")),
    );
    play.put("sealed", &file(&sealed(&play, &format!("{POISON}\n"))));
    play.put("stored", "p0is0n-stored\n");
    play.put("stored.json", "{\"key\": \"p0is0n-of-key\"}\n");
    host.sh(WATCH);
    host.sh(WIRE);
    until("the wire is recorded", 10, || host.has("/run/wire").then_some(()));
    let password = play.folder().join("password").display().to_string();
    let words = ["--vault-password-file", &password, "--transport", transport, "-vvv"];
    let run = play.run(&[&words[..], &["--yes"]].concat()).ended(0);
    let outputs = [
        run.words(),
        play.run(&[&words[..], &["--check", "--output", "text"]].concat()).words(),
        play.run(&[&words[..], &["--check", "--output", "junit"]].concat()).words(),
        host.sh("systemctl stop watch; cat /run/seen-arguments; journalctl --no-pager; cat /var/log/syslog /var/log/auth.log 2>/dev/null || true"),
    ];
    let wire =
        "systemctl stop wire; grep -a -o -m 1 SSH-2.0 /run/wire; grep -a -c -i -e p0is0n -e cDBpczBu /run/wire || true";
    assert_eq!(host.sh(wire), "SSH-2.0\n0\n", "what stands in plain on the wire");
    for output in &outputs {
        for word in [
            "p0is0n-\"",
            "p0is0n-\\\"",
            "cDBpczBu",
            "P0IS0N",
            "p0is0nhash",
            "p0is0n-token",
            "4711-p0is0n",
            "old-p0is0n",
            "p0is0n-stored",
            "p0is0n-of-key",
        ] {
            assert!(!output.contains(word), "{word}: {output}");
        }
    }
    assert!(
        !outputs[0].contains("‹secret:") || outputs[0].contains("‹secret:poison:"),
        "{run}"
    );
    run.says("‹secret:poison:");
    assert_eq!(host.read("/srv/copy"), format!("password={POISON}\n"));
    assert!(
        host.read("/srv/template")
            .contains(&format!("secret = {POISON}\nplain"))
    );
    assert_eq!(host.read("/srv/sealed"), format!("{POISON}\n"));
    assert_eq!(host.read("/srv/old"), format!("a\nkey={POISON}\nz\n"));
    assert!(host.read("/srv/ini").contains(POISON));
    assert!(host.read("/etc/shadow").contains(&format!("poisoned:{HASH}:")));
    assert_eq!(host.read("/srv/environment"), POISON);
    assert_eq!(host.read("/srv/stdin"), POISON);
    assert_eq!(host.read("/srv/stored"), "p0is0n-stored\n");
    assert_eq!(host.read("/srv/key"), "p0is0n-of-key\n");
    run.says("the command `cat stored; exit 7` failed (exit status: 7)");
    assert!(!host.has("/srv/refused"));
    assert_eq!(
        until("the request", 10, || host
            .has("/srv/request")
            .then(|| host.read("/srv/request"))),
        format!("p0is0n-token {POISON}")
    );
    let again = play.run(&[&words[..], &["--yes"]].concat()).ended(0);
    for step in [
        "Copy",
        "Template",
        "Encrypted file",
        "Line",
        "Ini",
        "User",
        "Base64",
        "Store",
        "Key of a store",
    ] {
        assert_eq!(again.status("plan", "host", step), "ok", "{step}: {again}");
    }
    assert_eq!(again.status("apply", "host", "Arguments"), "ignored", "{again}");
}

#[test]
fn secrets_by_the_agent_reach_their_destination_alone() {
    silent("agent");
}

#[test]
fn secrets_by_plain_ssh_reach_their_destination_alone() {
    silent("ssh");
}
