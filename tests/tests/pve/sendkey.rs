//! Typing on a console: what is typed, by which keys, and what is said of a secret.

use super::{End, Wish, boot1, json, okd_play, wish};
use okd_agent::diff::Change;
use okd_agent::resource::Status;
use okd_tests::pve::{ROLE, StandIn, TOKEN};

fn sendkey(args: &str) -> Wish {
    let mut wish = wish("proxmox_sendkey", json(args));
    wish.args
        .extend([("node".to_owned(), "-".into()), ("pause".to_owned(), 0.into())]);
    wish
}

fn running() -> StandIn {
    let server = StandIn::start();
    let mut machine = boot1();
    machine.args.insert("state".to_owned(), "started".into());
    machine.apply(&server).unwrap();
    server
}

fn typed(server: &StandIn) -> String {
    server.world().guests[&100].typed.join(" ")
}

fn refused(end: End) -> String {
    end.unwrap_err().message
}

#[test]
fn what_is_typed_is_planned_and_arrives_key_by_key_each_time() {
    let server = running();
    let wish = sendkey(r#"{"name": "boot1", "keys": ["tab"], "text": " a=/Dev_1", "then": ["ret", "ctrl-x"]}"#);
    let writes = server.writes();
    let planned = wish.plan(&server).unwrap();
    assert_eq!(
        (server.writes(), typed(&server)),
        (writes, String::new()),
        "a plan types nothing"
    );
    let acts = [
        "press tab on the console of boot1",
        "type \" a=/Dev_1\" on the console of boot1",
        "press ret, ctrl-x on the console of boot1",
    ];
    assert_eq!(planned.diff, acts.map(|act| Change::Act(act.to_owned())));
    let applied = wish.apply(&server).unwrap();
    assert_eq!((&applied.diff, &applied.status), (&planned.diff, &Status::Changed));
    assert_eq!(applied.result.get("vmid"), Some(&100.into()));
    let keys = "tab spc a equal slash shift-d e v shift-minus 1 ret ctrl-x";
    assert_eq!(typed(&server), keys);
    assert_eq!(wish.apply(&server).unwrap().status, Status::Changed);
    assert_eq!(typed(&server), format!("{keys} {keys}"));
    let by_number = sendkey(r#"{"vmid": 100, "then": ["f10"]}"#);
    by_number.apply(&server).unwrap();
    assert!(typed(&server).ends_with(" f10"));
}

#[test]
fn what_cannot_be_typed_is_refused() {
    let server = running();
    server.world().rights.token(
        "few",
        "some-secret-0",
        true,
        &ROLE.map(|one| if one == "VM.Console" { "VM.Audit" } else { one }),
    );
    let wish = sendkey(r#"{"name": "boot1", "text": "x"}"#);
    let told = refused(wish.apply_with(
        &server,
        &[("api_token_id", "few"), ("api_token_secret", "some-secret-0")],
    ));
    assert!(
        told.contains("VM.Console on /vms/100") && told.contains("stays on the console"),
        "{told}"
    );
    let nobody = sendkey(r#"{"name": "nobody", "text": "x"}"#);
    assert!(refused(nobody.apply(&server)).contains("there is no virtual machine nobody"));
    let unknown = |end: End| match end.unwrap().status {
        Status::Unknown(reason) => reason,
        other => panic!("{other:?}"),
    };
    assert!(unknown(nobody.plan(&server)).contains("there is no virtual machine nobody"));
    let stopped = running();
    stopped.world().guests.get_mut(&100).unwrap().running = false;
    assert!(unknown(wish.plan(&stopped)).contains("boot1 does not run"));
    assert!(refused(wish.apply(&stopped)).contains("boot1 does not run"));
    let args = |text: &str| sendkey(text).unchecked(&server, &[]).check().unwrap_err().join("\n");
    for (text, word) in [
        (r#"{"name": "boot1", "keys": ["entr"]}"#, "`entr` is not a key"),
        (r#"{"name": "boot1", "keys": ["dlete"]}"#, "did you mean `delete`?"),
        (
            r#"{"name": "boot1", "text": "naïve"}"#,
            "'ï' in `text` is not on a US keyboard",
        ),
        (r#"{"name": "boot1"}"#, "needs `keys`, `text` or `then`"),
        (r#"{"text": "x"}"#, "needs `name` or `vmid`"),
    ] {
        let told = args(text);
        assert!(told.contains(word), "{word}: {told}");
    }
    assert_eq!(typed(&server), "");
}

/// The program itself: the password reaches the console, and no page.
#[test]
fn a_secret_is_typed_and_not_shown() {
    const SECRET: &str = "Pass_w0rd-of-the-console";
    let server = running();
    let folder = tempfile::tempdir().unwrap();
    let (user, id, secret) = TOKEN;
    let play = format!(
        "- hosts: localhost\n  gather_facts: false\n  tasks:\n    - proxmox_sendkey:\n        api_host: {}\n        api_port: {}\n        \
         api_user: {user}\n        api_token_id: {id}\n        api_token_secret: {secret}\n        ca_path: {}\n        \
         name: boot1\n        pause: 0\n        text: \"{{{{ ansible_become_password }}}}\"\n        then: [ret]\n      when: wanted\n",
        server.address.ip(),
        server.address.port(),
        server.ca().display()
    );
    std::fs::write(folder.path().join("play.yaml"), play).unwrap();
    std::fs::write(
        folder.path().join("hosts.yaml"),
        format!(
            "all:\n  hosts:\n    localhost:\n      ansible_connection: local\n      ansible_become_password: {SECRET}\n"
        ),
    )
    .unwrap();
    let run = |words: &[&str]| {
        let output = okd_play(
            folder.path(),
            &[&["run", "-i", "hosts.yaml", "play.yaml"], words].concat(),
        );
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(!text.contains("w0rd-of"), "{text}");
        (output.status.code(), text)
    };
    let (code, text) = run(&["--check", "-e", "{\"wanted\": true}"]);
    assert_eq!((code, typed(&server)), (Some(0), String::new()), "{text}");
    assert!(text.contains("type \"‹secret:") && text.contains("press ret"), "{text}");
    let (code, text) = run(&["--yes", "--verify", "-e", "{\"wanted\": true}"]);
    assert_eq!(code, Some(0), "{text}");
    let keys = "shift-p a s s shift-minus w 0 r d minus o f minus t h e minus c o n s o l e ret";
    assert_eq!(typed(&server), keys);
    let (code, text) = run(&["--yes", "-e", "{\"wanted\": false}"]);
    assert_eq!((code, typed(&server).as_str()), (Some(0), keys), "{text}");
}
