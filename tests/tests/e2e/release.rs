//! The programs of a release on the services host, as `playbooks/install.yaml` brings them: of the release that is asked for, or none.

use okd_tests::{Flavour, Host, Lab, Play};
use sha2::{Digest, Sha256};
use std::path::Path;
use std::process::Command;

const RELEASE: &str = "4.22.0-okd-scos.0";
const OTHER: &str = "4.22.0-okd-scos.01";

/// Puts an archive where the host serves it, with a program that says that it is of a release; gives its entry of `release_tools`.
fn published(host: &Host<'_>, program: &str, release: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let script = format!(
        "#!/bin/sh\ncase \"${{0##*/}} $*\" in\n'oc version --client') echo 'Client Version: {release}'; echo 'Kustomize Version: v5.4.2' ;;\n\
         'openshift-install version') echo \"$0 {release}\"; echo 'built from commit 0' ;;\n*) exit 2 ;; esac\n"
    );
    std::fs::write(folder.path().join(program), script).unwrap();
    std::fs::write(folder.path().join("README.md"), "of a release\n").unwrap();
    let made = Command::new("sh")
        .args(["-c", "chmod 755 \"$0\" && tar -czf archive README.md \"$0\"", program])
        .current_dir(folder.path())
        .status();
    assert!(made.unwrap().success());
    let bytes = std::fs::read(folder.path().join("archive")).unwrap();
    host.put(&format!("/srv/{program}.tar.gz"), &bytes);
    let sum = Sha256::digest(&bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>();
    format!("  - {{program: {program}, url: \"http://127.0.0.1:8000/{program}.tar.gz\", checksum: \"sha256:{sum}\"}}\n")
}

#[test]
fn a_program_of_another_release_is_refused() {
    let lab = Lab::up();
    let host = lab.host("services-el", "10.77.1.21", Flavour::El);
    host.sh("systemd-run -q --unit mirror python3 -m http.server -d /srv -b 127.0.0.1 8000");
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .canonicalize()
        .unwrap();
    let play = Play::of(&lab, root.join("playbooks/install.yaml"), root.join("inventory/lab"));
    let vars = format!("@{}", play.folder().join("vars.yaml").display());
    let words = ["--limit", "services-el", "--tags", "tools", "-e", &vars];
    let publish = |client: &str, installer: &str| {
        let tools = published(&host, "oc", client) + &published(&host, "openshift-install", installer);
        play.put("vars.yaml", &format!("release_tools:\n{tools}"));
    };
    for (client, installer, program) in [(OTHER, RELEASE, "oc"), (RELEASE, OTHER, "openshift-install")] {
        publish(client, installer);
        let run = play.run(&[&["--yes"], &words[..]].concat()).ended(1);
        let told = run.words();
        let asked = format!("asked program /var/lib/okd/tools/{RELEASE}/{program} version");
        assert!(
            told.contains(&asked) && told.contains(&format!("wanted {RELEASE}, came")),
            "{told}"
        );
        assert!(told.contains(OTHER), "{told}");
    }
    publish(RELEASE, RELEASE);
    play.apply(&words);
    play.converged(&words);
    assert_eq!(
        host.sh(&format!("ls /var/lib/okd/tools/{RELEASE}")).trim(),
        "oc\nopenshift-install"
    );
}
