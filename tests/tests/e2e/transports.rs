//! Every way to a host ends at the same host.

use okd_tests::{Flavour, Lab, Picture, Play};

/// A little of everything that plain files need.
const FILES: &str = r#"
    - name: Group
      group: {name: keepers, gid: 4242}
    - name: User
      user: {name: keeper, uid: 4242, group: keepers, shell: /bin/sh}
    - name: Folder
      file: {path: /srv/okd, state: directory, mode: "0750", owner: keeper, group: keepers}
    - name: File
      copy: {dest: /srv/okd/text, content: "été\nand 'quotes' \"$HOME\"\n", mode: "0640", owner: keeper}
    - name: Template
      template: {src: list.j2, dest: /srv/okd/list, mode: "0600"}
    - name: Link
      file: {path: /srv/okd/link, src: text, state: link}
    - name: Line
      lineinfile: {path: /etc/hosts, line: "192.0.2.1 elsewhere"}
    - name: Block
      blockinfile: {path: /etc/profile.d/okd.sh, create: true, mode: "0644", block: "export OKD=1"}
    - name: Command
      command: {cmd: touch /srv/okd/once, creates: /srv/okd/once}
    - name: Kernel
      sysctl: {name: net.ipv4.ip_forward, value: "1", sysctl_file: /etc/sysctl.d/90-okd.conf}
"#;

fn files(lab: &Lab) -> Play<'_> {
    let play = Play::tasks(lab, FILES);
    play.put("list.j2", "{% for n in range(3) %}\nline {{ n }}\n{% endfor %}\n");
    play
}

fn twice(transport: &str) {
    let lab = Lab::up();
    let el = lab.host("el", "10.77.1.21", Flavour::El);
    lab.host("deb", "10.77.1.22", Flavour::Debian);
    let play = files(&lab);
    let first = play.apply(&["--transport", transport]);
    for host in ["el", "deb"] {
        assert_eq!(first.status("apply", host, "File"), "changed", "{first}");
    }
    assert_eq!(el.read("/srv/okd/text"), "été\nand 'quotes' \"$HOME\"\n");
    assert_eq!(el.read("/srv/okd/list"), "line 0\nline 1\nline 2\n");
    assert_eq!(
        el.sh("stat -c '%a %U:%G' /srv/okd /srv/okd/text"),
        "750 keeper:keepers\n640 keeper:root\n"
    );
    play.converged(&["--transport", transport]);
}

#[test]
fn the_agent_converges_a_host_and_finds_nothing_to_do_then() {
    twice("agent");
}

#[test]
fn plain_ssh_converges_a_host_and_finds_nothing_to_do_then() {
    twice("ssh");
}

/// Two labs hold the same host, so that nothing differs but the way to it.
fn alike(flavour: Flavour) {
    let pictures = ["agent", "ssh"].map(|transport| {
        let lab = Lab::up();
        let host = lab.host("twin", "10.77.1.21", flavour);
        files(&lab).apply(&["--transport", transport]);
        Picture::lasting(&host, crate::services::OF_ONE_HOST)
    });
    pictures[0].assert_same(&pictures[1]);
}

#[test]
fn an_el_host_is_the_same_by_either_way() {
    alike(Flavour::El);
}

#[test]
fn a_debian_host_is_the_same_by_either_way() {
    alike(Flavour::Debian);
}

#[test]
fn what_one_way_has_done_the_other_finds_done() {
    let lab = Lab::up();
    lab.host("deb", "10.77.1.22", Flavour::Debian);
    let play = files(&lab);
    play.apply(&["--transport", "ssh"]);
    play.converged(&["--transport", "agent"]);
}

#[test]
fn where_no_folder_takes_a_program_plain_ssh_does_and_it_is_said() {
    let lab = Lab::up();
    let host = lab.host("deb", "10.77.1.22", Flavour::Debian);
    host.sh(
        "for d in /var/lib/okd-play /run/okd-play /root/.cache; do mkdir -p $d; mount -t tmpfs -o noexec tmpfs $d; done",
    );
    let play = Play::tasks(&lab, "    - copy: {dest: /srv/there, content: hello}\n");
    let refused = play.run(&["--yes", "--transport", "agent"]);
    assert_ne!(refused.code, Some(0), "{refused}");
    assert!(!host.has("/srv/there"));
    let run = play.apply(&["--output", "text"]);
    run.says("plain SSH, because the agent cannot run there");
    run.says("no folder takes a program");
    assert_eq!(host.read("/srv/there"), "hello");
}

#[test]
fn a_host_behind_another_is_reached_through_it() {
    let lab = Lab::up();
    lab.site("inner", "-");
    let bastion = lab.host("bastion", "10.77.1.10", Flavour::Debian);
    let deep = lab.host("deep", "10.77.1.11", Flavour::El);
    bastion.nic("eth1", "inner", "10.9.0.1/24");
    deep.nic("eth1", "inner", "10.9.0.2/24");
    deep.verb("cut");
    let play = Play::tasks(&lab, "    - copy: {dest: /srv/there, content: hello}\n");
    play.put(
        "hosts.yaml",
        "all:\n  hosts:\n    deep:\n      ansible_host: 10.9.0.2\n      ansible_ssh_extra_args: -o ProxyJump=root@10.77.1.10\n",
    );
    let known = lab.known_hosts().replace("10.77.1.11", "10.9.0.2");
    play.put("known_hosts", &known);
    for transport in ["agent", "ssh"] {
        deep.sh("rm -f /srv/there");
        play.apply(&["--transport", transport]);
        assert_eq!(deep.read("/srv/there"), "hello");
    }
}

#[test]
fn sudo_is_paid_with_the_password_that_was_given() {
    let lab = Lab::up();
    let host = lab.host("el", "10.77.1.21", Flavour::El);
    let play = Play::tasks(&lab, "    - copy: {dest: /srv/roots, content: mine, mode: \"0600\"}\n");
    play.put("secret", "ops-secret\n");
    for transport in ["agent", "ssh"] {
        host.sh("rm -f /srv/roots");
        let words = [
            "--transport",
            transport,
            "-u",
            "ops",
            "-b",
            "--become-password-file",
            "secret",
        ];
        let run = play.apply(&words);
        assert!(!run.words().contains("ops-secret"), "the password is shown\n{run}");
        assert_eq!(host.sh("stat -c '%a %U' /srv/roots"), "600 root\n");
        assert!(!host.holds("grep -rqs ops-secret /var/log /tmp /run/okd-play"));
    }
    host.sh("rm -f /srv/roots");
    play.apply(&["-u", "auto", "-b"]);
    assert!(host.has("/srv/roots"));
}
