//! What a services host lets in and through, seen from the machines' side and from outside: everything that the tables say is
//! open, and nothing else. Its daemons are off meanwhile and something listens on every port, so that the firewall alone answers.

use super::services::{host, play};
use okd_tests::{Flavour, Host, Lab, until};
use std::collections::BTreeSet;

/// Ports that OKD knows, whoever they are for.
const ALL: &str = "tcp/22 tcp/53 tcp/80 tcp/443 tcp/1936 tcp/2379 tcp/2380 tcp/6443 tcp/8080 tcp/9000 tcp/9100 tcp/10250 tcp/22623 tcp/30000 \
    udp/53 udp/67 udp/69 udp/123 udp/500 udp/4500 udp/4789 udp/6081 udp/9000 udp/30000";
const INSIDE: &str = "tcp/22 tcp/53 tcp/80 tcp/443 tcp/6443 tcp/8080 tcp/22623 udp/53 udp/67 udp/123";
const OUTSIDE: &str = "tcp/22 tcp/80 tcp/443 tcp/6443";

/// Listens on every port of its words that is free; what comes by UDP is sent back.
const LISTEN: &str = r#"
import selectors, socket, sys
ears = selectors.DefaultSelector()
for word in sys.argv[1:]:
    kind, port = word.split("/")
    ear = socket.socket(socket.AF_INET, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
    try:
        ear.bind(("", int(port)))
    except OSError as error:
        if word == "tcp/22":
            continue
        sys.exit(f"{word}: {error}")
    ear.listen() if kind == "tcp" else None
    ears.register(ear, selectors.EVENT_READ, kind)
open("/run/listens", "w").close()
while True:
    for key, _ in ears.select():
        if key.data == "udp":
            key.fileobj.sendto(*key.fileobj.recvfrom(64))
        else:
            caller, address = key.fileobj.accept()
            caller.sendall(address[0].encode())
            caller.close()
"#;

/// Says at which ports of a host somebody answers.
const ASK: &str = r#"
import concurrent.futures, socket, sys
def answers(word):
    kind, port = word.split("/")
    for _ in range(3):
        mouth = socket.socket(socket.AF_INET, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
        mouth.settimeout(1)
        try:
            mouth.connect((sys.argv[1], int(port)))
            if kind == "udp":
                mouth.send(b"?")
                mouth.recv(64)
            return word
        except OSError:
            continue
with concurrent.futures.ThreadPoolExecutor(32) as all:
    print(*filter(None, all.map(answers, sys.argv[2:])))
"#;

fn listen(host: &Host<'_>, ports: &str) {
    host.put("/run/listen.py", LISTEN.as_bytes());
    host.sh(&format!(
        "cd /; systemd-run -q --unit=listen python3 /run/listen.py {ports}"
    ));
    until("somebody listens", 20, || host.has("/run/listens").then_some(()));
}

fn open(asker: &Host<'_>, address: &str) -> BTreeSet<String> {
    asker.put("/run/ask.py", ASK.as_bytes());
    let said = asker.sh(&format!("python3 /run/ask.py {address} {ALL}"));
    words(&said)
}

fn words(text: &str) -> BTreeSet<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// Who an asker is to somebody who listens.
fn seen_as(asker: &Host<'_>, address: &str, port: &str) -> Option<String> {
    let script = format!("timeout 5 bash -c 'exec 3<>/dev/tcp/{address}/{port} && cat <&3'");
    asker.holds(&script).then(|| asker.sh(&script))
}

fn holds(flavour: Flavour) {
    let lab = Lab::up();
    let services = host(&lab, flavour);
    let outside = lab.host("outside", "10.77.1.31", Flavour::Client);
    let inside = [
        "host",
        "inside",
        "inner",
        "10.0.0.40/24",
        "client",
        "--gateway",
        "10.0.0.1",
        "--no-wait",
    ];
    lab.verb(&inside);
    let inside = Host::of(&lab, "inside", "10.0.0.40");
    until("the inner host is up", 30, || inside.holds("true").then_some(()));
    let play = play(&lab);
    let limit = ["--limit", &services.name];
    play.apply(&limit);
    services.sh("for unit in named chronyd chrony dhcpd isc-dhcp-server nginx haproxy; do systemctl stop $unit 2>/dev/null || :; done");
    listen(&services, ALL);
    assert_eq!(open(&inside, "10.0.0.1"), words(INSIDE));
    assert_eq!(open(&outside, &services.address), words(OUTSIDE));

    // The machines' way out is the services host's address; the way in is closed.
    listen(&outside, "tcp/8000");
    listen(&inside, "tcp/8000");
    assert_eq!(
        seen_as(&inside, "10.77.1.31", "8000").as_deref(),
        Some(services.address.as_str())
    );
    outside.sh(&format!("ip route add 10.0.0.0/24 via {}", services.address));
    assert_eq!(seen_as(&outside, "10.0.0.40", "8000"), None);

    // What is served decides what is open.
    let fewer = [
        &limit[..],
        &[
            "--tags",
            "firewall",
            "-e",
            r#"{"serves_time": false, "serves_tftp": true, "routes": false}"#,
        ],
    ]
    .concat();
    play.apply(&fewer);
    play.converged(&fewer);
    assert_eq!(open(&inside, "10.0.0.1"), words(&INSIDE.replace("udp/123", "udp/69")));
    assert_eq!(open(&outside, &services.address), words(OUTSIDE));
    assert_eq!(seen_as(&inside, "10.77.1.31", "8000"), None);
}

#[test]
fn an_el_services_host_lets_in_what_the_tables_say_and_no_more() {
    holds(Flavour::El);
}

#[test]
fn a_debian_services_host_lets_in_what_the_tables_say_and_no_more() {
    holds(Flavour::Debian);
}
