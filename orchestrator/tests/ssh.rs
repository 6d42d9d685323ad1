//! The SSH client against real sshd processes on loopback.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

#[path = "ssh/person.rs"]
mod person;
#[path = "ssh/sshd.rs"]
mod sshd;

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use okd_play::link::keys::{Prompt, Question};
use okd_play::link::limits::Limits;
use okd_play::link::ssh::{Captured, Connection, Connector, ExitStatus};
use okd_play::link::target::{SshOptions, Target};
use sshd::{Sshd, certify, free_port, keygen};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn run(connection: &Connection, command: &str) -> Captured {
    connection.exec(command).await.unwrap().communicate(b"").await.unwrap()
}

async fn error_of(connector: &Connector, target: &Target) -> String {
    match connector.connect(target).await {
        Ok(_) => panic!("connected"),
        Err(error) => error.to_string(),
    }
}

async fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !check() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn runs_commands() {
    let sshd = Sshd::start();
    let connection = sshd.connector().connect(&sshd.target()).await.unwrap();
    let said = run(&connection, "echo out; echo err >&2; exit 3").await;
    let expected = Captured {
        status: ExitStatus::Code(3),
        stdout: b"out\n".to_vec(),
        stderr: b"err\n".to_vec(),
    };
    assert_eq!(said, expected);
    assert_eq!(
        run(&connection, "kill -TERM $$").await.status,
        ExitStatus::Signal("TERM".to_owned())
    );
    assert_eq!(connection.lost(), None);
    connection.clone().close().await;
    assert_eq!(
        connection.lost().unwrap().to_string(),
        "the connection to web1 was lost: it was closed"
    );
    assert!(connection.exec("true").await.is_err());
}

#[tokio::test]
async fn moves_much_data_both_ways_at_once() {
    let sshd = Sshd::start();
    let connection = sshd.connector().connect(&sshd.target()).await.unwrap();
    let sent: Vec<u8> = (0..24u32 << 20).map(|i| (i ^ (i >> 9)) as u8).collect();
    let process = connection.exec("cat").await.unwrap();
    let echoed = process.communicate(&sent).await.unwrap();
    assert!(echoed.stdout == sent && echoed.status.success());
    let counted = connection
        .exec("wc -c")
        .await
        .unwrap()
        .communicate(&sent)
        .await
        .unwrap();
    assert_eq!(
        String::from_utf8(counted.stdout).unwrap().trim(),
        sent.len().to_string()
    );
    let zeros = run(&connection, "head -c 30000000 /dev/zero").await;
    assert_eq!(zeros.stdout.len(), 30_000_000);
}

#[tokio::test]
async fn streams_are_used_by_different_tasks() {
    let sshd = Sshd::start();
    let connection = sshd.connector().connect(&sshd.target()).await.unwrap();
    let mut process = connection
        .exec("while read line; do echo got $line; done; echo end")
        .await
        .unwrap();
    let mut line = [0; 8];
    for _ in 0..3 {
        process.stdin.write_all(b"one\n").await.unwrap();
        process.stdout.read_exact(&mut line).await.unwrap();
        assert_eq!(&line, b"got one\n");
    }
    let writer = tokio::spawn(async move { process.stdin.shutdown().await });
    let mut rest = String::new();
    process.stdout.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "end\n");
    assert!(process.exit.wait().await.unwrap().success());
    writer.await.unwrap().unwrap();
}

#[tokio::test]
async fn input_that_nobody_reads_does_not_hang() {
    let sshd = Sshd::start();
    let connection = sshd.connector().connect(&sshd.target()).await.unwrap();
    let process = connection.exec("exit 5").await.unwrap();
    let said = process.communicate(&vec![7; 8 << 20]).await.unwrap();
    assert_eq!(said.status, ExitStatus::Code(5));
}

#[tokio::test]
async fn at_most_eight_channels_at_once() {
    let sshd = Sshd::start();
    let connection = sshd.connector().connect(&sshd.target()).await.unwrap();
    let mut running = Vec::new();
    for _ in 0..8 {
        let mut process = connection.exec("echo up; cat").await.unwrap();
        let mut up = [0; 3];
        process.stdout.read_exact(&mut up).await.unwrap();
        running.push(process);
    }
    let ninth = tokio::time::timeout(Duration::from_millis(100), connection.exec("true")).await;
    assert!(ninth.is_err(), "the ninth waits");
    drop(running.pop());
    assert!(
        run(&connection, "true").await.status.success(),
        "a dropped process gives its place back"
    );
    for process in running {
        assert!(process.communicate(b"").await.unwrap().status.success());
    }
    for number in 0..30 {
        assert_eq!(
            run(&connection, &format!("echo {number}")).await.stdout,
            format!("{number}\n").into_bytes()
        );
    }
}

#[tokio::test]
async fn every_kind_of_key() {
    let sshd = Sshd::start();
    let kinds: [&[&str]; 7] = [
        &["-t", "ecdsa", "-f"],
        &["-t", "ecdsa", "-b", "521", "-f"],
        &["-t", "rsa", "-b", "2048", "-f"],
        &["-t", "rsa", "-b", "2048", "-m", "PEM", "-f"],
        &["-t", "rsa", "-b", "2048", "-m", "PKCS8", "-f"],
        &["-t", "ecdsa", "-m", "PEM", "-f"],
        &["-t", "ecdsa", "-m", "PKCS8", "-f"],
    ];
    for (number, kind) in kinds.into_iter().enumerate() {
        let key = sshd.path(&format!("key{number}"));
        keygen(kind, &key);
        sshd.authorize(&key.with_extension("pub"));
        let mut target = sshd.target();
        target.identity_files = vec![key];
        let connection = sshd
            .connector()
            .connect(&target)
            .await
            .unwrap_or_else(|error| panic!("{kind:?}: {error}"));
        assert!(run(&connection, "true").await.status.success());
    }
}

/// Answers from a list, and counts.
struct Answers {
    answers: Mutex<Vec<&'static str>>,
    asked: AtomicUsize,
}

impl Answers {
    fn new(answers: &[&'static str]) -> Arc<Answers> {
        let answers = answers.iter().rev().copied().collect();
        Arc::new(Answers {
            answers: Mutex::new(answers),
            asked: AtomicUsize::new(0),
        })
    }
}

impl Prompt for Answers {
    fn ask(&self, _: &Question) -> Option<String> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.answers.lock().unwrap().pop().map(str::to_owned)
    }
}

#[tokio::test]
async fn a_passphrase_is_asked_for_once() {
    let sshd = Sshd::start();
    for (number, format) in [&["-m", "RFC4716"][..], &["-m", "PKCS8"]].into_iter().enumerate() {
        let key = sshd.path(&format!("locked{number}"));
        let args = [&["-t", "ecdsa", "-a", "1", "-N", "right"][..], format, &["-f"]].concat();
        keygen(&args, &key);
        sshd.authorize(&key.with_extension("pub"));
        let mut target = sshd.target();
        target.identity_files = vec![key.clone()];
        let answers = Answers::new(&["wrong", "right"]);
        let connector = sshd.connector_with(answers.clone());
        let (one, two) = tokio::join!(connector.connect(&target), connector.connect(&target));
        assert!(one.is_ok() && two.is_ok(), "{format:?} {:?} {:?}", one.err(), two.err());
        assert_eq!(answers.asked.load(Ordering::SeqCst), 2, "once wrong, once right");
        let without = error_of(&sshd.connector(), &target).await;
        assert!(
            without.contains(&format!("add it to ssh-agent (`ssh-add {}`)", key.display())),
            "{without}"
        );
        let gave_up = error_of(&sshd.connector_with(Answers::new(&[])), &target).await;
        assert!(
            gave_up.contains("the passphrase of the key") && gave_up.contains("was not given"),
            "{gave_up}"
        );
    }
}

#[tokio::test]
async fn what_only_a_person_can_answer() {
    let sshd = Sshd::start();
    for (method, right, wrong, words) in [
        (
            russh::MethodKind::Password,
            &["wrong", "right"][..],
            &["a", "b", "c"][..],
            "the password",
        ),
        (
            russh::MethodKind::KeyboardInteractive,
            &["right", "1", "right", "42"],
            &["a"; 6],
            "the answers to its questions",
        ),
    ] {
        let mut target = sshd.target();
        target.port = Some(person::serve(method, &sshd.path("host_ed25519")).await);
        let key = sshd.read("host_ed25519.pub");
        std::fs::write(sshd.path("known_hosts"), format!("127.0.0.1 {key}")).unwrap();
        let answers = Answers::new(right);
        sshd.connector_with(answers.clone()).connect(&target).await.unwrap();
        assert_eq!(answers.asked.load(Ordering::SeqCst), right.len());
        let error = error_of(&sshd.connector_with(Answers::new(wrong)), &target).await;
        assert!(error.contains(words) && error.contains("does not let"), "{error}");
        let error = error_of(&sshd.connector_with(Answers::new(&[])), &target).await;
        assert!(
            error.contains(&format!("it offers {}", <&str>::from(&method))),
            "{error}"
        );
        let error = error_of(&sshd.connector(), &target).await;
        assert!(error.contains("does not let"), "{error}");
    }
}

struct Agent {
    child: Child,
    socket: PathBuf,
}

impl Agent {
    async fn start(sshd: &Sshd) -> Agent {
        let socket = sshd.path("agent");
        let child = Command::new("ssh-agent")
            .arg("-D")
            .arg("-a")
            .arg(&socket)
            .stdout(Stdio::null())
            .spawn()
            .expect("ssh-agent; `apt-get install openssh-client`");
        let agent = Agent { child, socket };
        eventually("the agent's socket", || agent.socket.exists()).await;
        agent
    }

    fn add(&self, key: &std::path::Path) {
        let add = Command::new("ssh-add")
            .arg("-q")
            .arg(key)
            .env("SSH_AUTH_SOCK", &self.socket)
            .status()
            .unwrap();
        assert!(add.success());
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn keys_of_an_agent() {
    let sshd = Sshd::start();
    let agent = Agent::start(&sshd).await;
    let environment = okd_play::link::ssh_config::Environment {
        agent: Some(agent.socket.clone()),
        ..sshd.environment()
    };
    for kind in [
        &["-t", "ed25519", "-f"][..],
        &["-t", "rsa", "-b", "2048", "-f"],
        &["-t", "ecdsa", "-f"],
    ] {
        let key = sshd.path("in-agent");
        keygen(kind, &key);
        agent.add(&key);
        sshd.authorize(&key.with_extension("pub"));
        std::fs::remove_file(&key).unwrap();
        let connector = Connector::new(Limits::default(), environment.clone(), None);
        let mut target = sshd.target();
        target.identity_files = vec![key.clone()];
        connector
            .connect(&target)
            .await
            .unwrap_or_else(|error| panic!("by its public half, {kind:?}: {error}"));
        target.identity_files = vec![];
        connector
            .connect(&target)
            .await
            .unwrap_or_else(|error| panic!("without a file, {kind:?}: {error}"));
        target.options.identities_only = Some(true);
        target.identity_files = vec![sshd.path("host_rsa")];
        let refused = error_of(&connector, &target).await;
        assert!(!refused.contains("of the agent"), "{refused}");
        let _ = std::fs::remove_file(key.with_extension("pub"));
        let delete = Command::new("ssh-add")
            .args(["-q", "-D"])
            .env("SSH_AUTH_SOCK", &agent.socket)
            .stderr(Stdio::null())
            .status();
        assert!(delete.unwrap().success());
    }
}

#[tokio::test]
async fn certificates_of_users() {
    let sshd = Sshd::with("TrustedUserCAKeys DIR/ca.pub");
    let ca = sshd.path("ca");
    keygen(&["-t", "ed25519", "-f"], &ca);
    let user = sshd.environment().user;
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let key = sshd.path(&format!("certified_{kind}"));
        keygen(
            &["-t", kind, "-b", if kind == "rsa" { "2048" } else { "256" }, "-f"],
            &key,
        );
        let mut target = sshd.target();
        target.identity_files = vec![key.clone()];
        let refused = error_of(&sshd.connector(), &target).await;
        assert!(refused.contains("does not let"), "{refused}");
        certify(&ca, &["-n", &user], &key.with_extension("pub"));
        sshd.connector()
            .connect(&target)
            .await
            .unwrap_or_else(|error| panic!("{kind}: {error}"));
    }
}

#[tokio::test]
async fn says_what_was_tried() {
    let sshd = Sshd::start();
    let stranger = sshd.path("stranger");
    keygen(&["-t", "ed25519", "-f"], &stranger);
    let open = sshd.path("open");
    keygen(&["-t", "ed25519", "-f"], &open);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(&open, mode).unwrap();
    let mut target = sshd.target();
    target.identity_files = vec![stranger.clone(), open.clone(), sshd.path("missing")];
    target.user = Some("nobody".to_owned());
    let error = error_of(&sshd.connector(), &target).await;
    let first = format!(
        "web1 does not let `nobody` in: refused were the key {} (ssh-ed25519 SHA256:",
        stranger.display()
    );
    assert!(error.starts_with(&first), "{error}");
    for part in [
        "; it offers publickey",
        &format!(
            "the key {} is open to others (mode 0644): `chmod 600 {}`",
            open.display(),
            open.display()
        ),
        &format!("there is no key {}", sshd.path("missing").display()),
    ] {
        assert!(error.contains(part), "{error}");
    }
    target.identity_files = vec![];
    let none = error_of(&sshd.connector(), &target).await;
    assert!(
        none.starts_with("web1 does not let `nobody` in: there was no key to try; it offers publickey"),
        "{none}"
    );
}

#[tokio::test]
async fn unknown_and_changed_host_keys_are_refused() {
    let sshd = Sshd::start();
    let connect = async |file: &str, text: &str| {
        let known = sshd.known_hosts(file, text);
        let mut target = sshd.target();
        target.options.user_known_hosts = vec![known];
        target.options.global_known_hosts = vec![sshd.path("no-global")];
        sshd.connector()
            .connect(&target)
            .await
            .map(drop)
            .map_err(|error| error.to_string())
    };
    let fingerprint = |file: &str| {
        let list = Command::new("ssh-keygen")
            .args(["-l", "-f"])
            .arg(sshd.path(file))
            .output()
            .unwrap();
        String::from_utf8(list.stdout)
            .unwrap()
            .split_whitespace()
            .nth(1)
            .unwrap()
            .to_owned()
    };
    keygen(&["-t", "ed25519", "-f"], &sshd.path("other"));
    let other: String = sshd
        .read("other.pub")
        .split_whitespace()
        .take(2)
        .collect::<Vec<_>>()
        .join(" ");

    let unknown = connect("a", "elsewhere {ed25519}\n").await.unwrap_err();
    let start = format!(
        "the host key of {} is not known: ssh-ed25519 {}",
        sshd.name(),
        fingerprint("host_ed25519.pub")
    );
    assert!(unknown.starts_with(&start), "{unknown}");
    let scan = format!("ssh-keyscan -p {} 127.0.0.1 >> {}", sshd.port, sshd.path("a").display());
    assert!(
        unknown.contains(&scan) && unknown.contains("StrictHostKeyChecking=accept-new"),
        "{unknown}"
    );

    let changed = connect("b", &format!("# first line\nNAME {other}\n"))
        .await
        .unwrap_err();
    let place = format!(
        "{}:2: ssh-ed25519 {}",
        sshd.path("b").display(),
        fingerprint("other.pub")
    );
    assert!(changed.contains(&place), "{changed}");
    assert!(
        changed.contains(&format!("it showed ssh-ed25519 {}", fingerprint("host_ed25519.pub"))),
        "{changed}"
    );
    assert!(
        changed.contains(&format!("ssh-keygen -R '{}' -f ", sshd.name())),
        "{changed}"
    );

    let revoked = connect("c", "NAME {ed25519}\n@revoked * {ed25519}\n")
        .await
        .unwrap_err();
    assert!(
        revoked.contains(&format!("is revoked: {}:2: ssh-ed25519", sshd.path("c").display())),
        "{revoked}"
    );

    assert_eq!(
        connect("d", "NAME {rsa}\n").await,
        Ok(()),
        "a known kind of key is asked for first"
    );
    assert_eq!(connect("e", "NAME {ecdsa}\n").await, Ok(()));
    assert_eq!(
        connect("f", "127.0.0.1 {ed25519}\n").await,
        Ok(()),
        "the same key without a port"
    );
    assert_eq!(connect("g", "[127.*]:*,!x {ed25519}\n").await, Ok(()));
    assert!(connect("h", "[127.*]:*,!NAME {ed25519}\n").await.is_err());
}

#[tokio::test]
async fn accept_new_writes_it_down_once() {
    let sshd = Sshd::start();
    for hashed in [false, true] {
        let file = sshd.path(&format!("deep/er/known{hashed}"));
        let config = sshd.path("config");
        std::fs::write(
            &config,
            format!("HashKnownHosts {}\n", if hashed { "yes" } else { "no" }),
        )
        .unwrap();
        let mut target = sshd.target();
        target.options.user_known_hosts = vec![file.clone()];
        target.options.config_file = Some(config);
        let strict = target.clone();
        target.options = target
            .options
            .or(SshOptions::parse("-o StrictHostKeyChecking=accept-new").unwrap());
        let connector = sshd.connector();
        let (one, two) = tokio::join!(connector.connect(&target), connector.connect(&target));
        assert!(one.is_ok() && two.is_ok(), "{:?} {:?}", one.err(), two.err());
        let written = std::fs::read_to_string(&file).unwrap();
        assert_eq!(written.lines().count(), 1, "{written}");
        assert_eq!(written.starts_with("|1|"), hashed, "{written}");
        assert_eq!(written.starts_with(&sshd.name()), !hashed, "{written}");
        sshd.connector().connect(&strict).await.unwrap();
        let found = Command::new("ssh-keygen")
            .args(["-F", &sshd.name(), "-f"])
            .arg(&file)
            .output()
            .unwrap();
        assert!(found.status.success(), "OpenSSH finds what was written");
    }
}

#[tokio::test]
async fn certificates_of_hosts() {
    for kind in ["ed25519", "rsa"] {
        for (flags, expected) in [
            (&["-h", "-n", "127.0.0.1,web1"][..], None),
            (&["-h", "-n", "127.*"], None),
            (
                &["-h", "-n", "web2"],
                Some("is not valid: it is for web2, not for 127.0.0.1"),
            ),
            (
                &["-h", "-n", "127.0.0.1", "-V", "20200101:20200102"],
                Some("it is not valid now"),
            ),
        ] {
            let sshd = Sshd::with(&format!("HostCertificate DIR/host_{kind}-cert.pub"));
            let ca = sshd.path("ca");
            keygen(&["-t", "ecdsa", "-f"], &ca);
            certify(&ca, flags, &sshd.path(&format!("host_{kind}.pub")));
            let sshd = sshd.restart();
            let authority = sshd
                .read("ca.pub")
                .split_whitespace()
                .take(2)
                .collect::<Vec<_>>()
                .join(" ");
            let known = sshd.known_hosts("by-ca", &format!("@cert-authority NAME {authority}\n"));
            let mut target = sshd.target();
            target.options.user_known_hosts = vec![known];
            match (sshd.connector().connect(&target).await, expected) {
                (Ok(_), None) => {}
                (Err(error), Some(words)) => assert!(error.to_string().contains(words), "{kind}: {error}"),
                (result, expected) => panic!("{kind}: {result:?}, not {expected:?}"),
            }
        }
    }
}

#[tokio::test]
async fn through_jump_hosts() {
    let (jump, inner, last) = (Sshd::start(), Sshd::start(), Sshd::start());
    for sshd in [&inner, &last] {
        sshd.authorize(&jump.path("id_ed25519.pub"));
    }
    let known: String = [&jump, &inner, &last]
        .map(|sshd| {
            sshd.known_hosts("one", "NAME {ed25519}\n");
            sshd.read("one")
        })
        .concat();
    std::fs::write(jump.path("all"), known).unwrap();
    let target = |sshd: &Sshd, args: &str| {
        let args = format!("-o UserKnownHostsFile={} {args}", jump.path("all").display());
        let mut target = sshd.target_with(&args);
        target.identity_files = vec![jump.path("id_ed25519")];
        target
    };
    let connector = jump.connector();
    let hop = format!("-J 127.0.0.1:{}", jump.port);
    let (one_target, two_target) = (target(&inner, &hop), target(&last, &hop));
    let (one, two) = tokio::join!(connector.connect(&one_target), connector.connect(&two_target));
    assert!(run(&one.unwrap(), "true").await.status.success());
    assert!(run(&two.unwrap(), "true").await.status.success());
    assert_eq!(
        jump.log().matches("Accepted publickey").count(),
        1,
        "the jump host is shared"
    );

    let hops = format!("-J 127.0.0.1:{},127.0.0.1:{}", jump.port, inner.port);
    let connection = connector.connect(&target(&last, &hops)).await.unwrap();
    let big = run(&connection, "head -c 3000000 /dev/zero").await;
    assert_eq!(big.stdout.len(), 3_000_000);

    let config = jump.path("config");
    let text = format!(
        "Host deep\n  HostName 127.0.0.1\n  Port {}\n  ProxyJump 127.0.0.1:{}\n",
        last.port, jump.port
    );
    std::fs::write(&config, text).unwrap();
    let mut by_config = target(&last, &format!("-F {}", config.display()));
    (by_config.host, by_config.port) = ("deep".to_owned(), None);
    let connection = connector.connect(&by_config).await.unwrap();
    assert!(run(&connection, "true").await.status.success());

    let nowhere = target(&last, &format!("-J 127.0.0.1:{}", free_port()));
    let error = error_of(&connector, &nowhere).await;
    assert!(
        error.starts_with("at the jump host 127.0.0.1:") && error.contains("refused the connection"),
        "{error}"
    );
    let mut behind = target(&last, &hop);
    behind.port = Some(free_port());
    let error = error_of(&connector, &behind).await;
    assert!(error.contains("127.0.0.1 cannot reach it"), "{error}");
}

#[tokio::test]
async fn the_openssh_configuration_is_honoured() {
    let sshd = Sshd::start();
    sshd.known_hosts("known_hosts", "alias {ed25519}\n");
    let config = format!(
        "Host shortcut\n  HostName 127.0.0.1\n  Port {}\n  IdentityFile DIR/id_ed25519\n  IdentitiesOnly yes\n  HostKeyAlias alias\n  \
         UserKnownHostsFile DIR/known_hosts\n  ProxyCommand nc %h %p\n",
        sshd.port
    );
    let config = config.replace("DIR", &sshd.dir.path().to_string_lossy());
    let proxy = config.replace(
        "nc %h %p",
        "bash -c 'exec 3<>/dev/tcp/%h/%p; timeout 20 cat <&3 & cat >&3'",
    );
    for text in [config.replace("ProxyCommand nc %h %p", ""), proxy] {
        std::fs::write(sshd.path("config"), text).unwrap();
        let mut target = Target::new("shortcut");
        target.options = SshOptions::parse(&format!("-F {}", sshd.path("config").display())).unwrap();
        let connection = sshd.connector().connect(&target).await.unwrap();
        assert!(run(&connection, "true").await.status.success());
    }
    std::fs::write(sshd.path("config"), "Nonsense yes\n").unwrap();
    let mut target = Target::new("shortcut");
    target.options.config_file = Some(sshd.path("config"));
    let error = error_of(&sshd.connector(), &target).await;
    assert!(error.contains("Bad configuration option: nonsense"), "{error}");
}

#[tokio::test]
async fn a_lost_connection_is_noticed() {
    let sshd = Sshd::start();
    let connection = sshd.connector().connect(&sshd.target()).await.unwrap();
    let mut process = connection.exec("echo up; cat").await.unwrap();
    process.stdout.read_exact(&mut [0; 3]).await.unwrap();
    let _ = connection.exec("kill -9 $PPID").await.unwrap().communicate(b"").await;
    let lost = tokio::time::timeout(Duration::from_secs(5), connection.closed())
        .await
        .unwrap();
    assert_eq!(lost.to_string(), "the connection to web1 was lost: the host closed it");
    let read = process.stdout.read(&mut [0; 8]).await.unwrap_err();
    assert_eq!(read.to_string(), lost.to_string());
    assert_eq!(process.exit.wait().await.unwrap_err().to_string(), lost.to_string());
    for _ in 0..2 {
        assert!(process.stdin.write_all(b"x").await.is_err());
    }
    assert_eq!(
        connection.exec("true").await.err().map(|error| error.to_string()),
        Some(lost.to_string())
    );
}

#[tokio::test]
async fn failures_of_the_network_in_plain_words() {
    let sshd = Sshd::start();
    let mut target = sshd.target();
    target.port = Some(free_port());
    let error = error_of(&sshd.connector(), &target).await;
    assert_eq!(
        error,
        format!(
            "127.0.0.1:{} refused the connection: no SSH server listens there, or a firewall turns it away",
            target.port.unwrap()
        )
    );
    target.host = "no-such-host.invalid".to_owned();
    let error = error_of(&sshd.connector(), &target).await;
    assert!(
        error.starts_with("the host name `no-such-host.invalid` is not known"),
        "{error}"
    );
    target.host = "-oProxyCommand=x".to_owned();
    assert!(
        error_of(&sshd.connector(), &target)
            .await
            .contains("is not a host name")
    );

    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut target = sshd.target_with("-o ConnectTimeout=1");
    target.port = Some(silent.local_addr().unwrap().port());
    let error = error_of(&sshd.connector(), &target).await;
    assert!(
        error.contains("did not answer within 1 s (SSH key exchange)"),
        "{error}"
    );
    let web = std::thread::spawn(move || {
        let (mut stream, _) = silent.accept().unwrap();
        let (mut stream, _) = silent
            .accept()
            .unwrap_or_else(|_| panic!("{:?}", std::io::Write::flush(&mut stream)));
        std::io::Write::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
    });
    let error = error_of(&sshd.connector(), &target).await;
    assert!(error.contains("does not complete the SSH handshake"), "{error}");
    web.join().unwrap();
}
