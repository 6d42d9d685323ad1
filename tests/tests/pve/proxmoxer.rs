//! proxmoxer, a client that others wrote against the real server, drives the stand-in. Where Python's package is not to be
//! had, that is said and nothing is tested.

use okd_tests::pve::{StandIn, TOKEN};
use std::path::{Path, PathBuf};
use std::process::Command;

const SCRIPT: &str = r#"
import io, sys, time
from proxmoxer import ProxmoxAPI
from proxmoxer.core import ResourceException

host, port, user, token, secret, folder = sys.argv[1:]

def drive(api):
    def wait(upid):
        for _ in range(200):
            status = api.nodes("pve").tasks(upid).status.get()
            if status["status"] == "stopped":
                return status["exitstatus"]
            time.sleep(0.05)
        raise SystemExit("the task " + upid + " does not end")

    assert api.version.get()["version"].startswith("9."), "version"
    node = api.nodes("pve")
    node.network.post(iface="vmbr1", type="bridge", autostart=1, mtu=1450)
    assert wait(node.network.put()) == "OK", "apply"
    row = [row for row in node.network.get() if row["iface"] == "vmbr1"][0]
    assert row["active"] == 1 and row["mtu"] == "1450", row
    with open(folder + "/one.iso", "rb") as disc:
        assert wait(node.storage("local").upload.post(content="iso", filename=disc)) == "OK", "upload"
    assert [row["volid"] for row in node.storage("local").content.get(content="iso")] == ["local:iso/one.iso"]
    vmid = api.cluster.nextid.get()
    made = node.qemu.post(vmid=vmid, name="m", memory=64, net0="virtio,bridge=vmbr1", scsi0="local:1",
                          ide2="local:iso/one.iso,media=cdrom")
    assert wait(made) == "OK", "create"
    config = node.qemu(vmid).config.get()
    assert config["net0"].startswith("virtio=BC:24:11:") and config["memory"] == "64", config
    assert wait(node.qemu(vmid).status.start.post()) == "OK", "start"
    assert node.qemu(vmid).status.current.get()["status"] == "running"
    assert "already running" in wait(node.qemu(vmid).status.start.post())
    assert wait(node.qemu(vmid).status.stop.post()) == "OK", "stop"
    assert wait(node.qemu(vmid).delete()) == "OK", "delete"
    try:
        node.qemu(vmid).config.get()
        raise SystemExit("a machine that is gone is read")
    except ResourceException as error:
        assert error.status_code == 500 and "does not exist" in str(error), error
    try:
        node.qemu.post(vmid=vmid, memory=4, nosuch=1)
        raise SystemExit("wrong parameters are taken")
    except ResourceException as error:
        assert error.status_code == 400 and set(error.errors) == {"memory", "nosuch"}, error
    assert wait(node.storage("local").content("local:iso/one.iso").delete()) == "OK", "remove"
    node.network("vmbr1").delete()
    assert wait(node.network.put()) == "OK", "apply again"

drive(ProxmoxAPI(host, port=port, user=user, token_name=token, token_value=secret, verify_ssl=True))
drive(ProxmoxAPI(host, port=port, user=user, password=secret, verify_ssl=True))
print("driven")
"#;

/// A Python that has proxmoxer, made once; or why there is none.
fn python() -> Result<PathBuf, String> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/proxmoxer"));
    let python = folder.join("bin/python3");
    let has = |python: &Path| {
        let asked = Command::new(python)
            .args(["-c", "import proxmoxer, requests, requests_toolbelt"])
            .output();
        asked.is_ok_and(|output| output.status.success())
    };
    if has(&python) {
        return Ok(python);
    }
    let run = |program: &Path, words: &[&str]| {
        let output = Command::new(program).args(words).output();
        let output = output.map_err(|error| format!("{}: {error}", program.display()))?;
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        }
    };
    run(Path::new("python3"), &["-m", "venv", &folder.display().to_string()])?;
    let install = [
        "-m",
        "pip",
        "install",
        "-q",
        "--timeout",
        "20",
        "proxmoxer==2.3.0",
        "requests",
        "requests_toolbelt",
    ];
    run(&python, &install)?;
    match has(&python) {
        true => Ok(python),
        false => Err("proxmoxer is installed and cannot be imported".to_owned()),
    }
}

#[test]
fn proxmoxer_drives_the_stand_in() {
    let python = match python() {
        Ok(python) => python,
        Err(reason) => {
            eprintln!("skipped: there is no proxmoxer here: {reason}");
            return;
        }
    };
    let server = StandIn::start();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("one.iso"), vec![7; 100_000]).unwrap();
    let (user, id, secret) = TOKEN;
    let output = Command::new(python)
        .args(["-c", SCRIPT])
        .arg(server.address.ip().to_string())
        .arg(server.address.port().to_string())
        .args([user, id, secret])
        .arg(folder.path())
        .env("REQUESTS_CA_BUNDLE", server.ca())
        .env("NO_PROXY", "127.0.0.1")
        .output()
        .unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success() && said.contains("driven"), "{said}");
    assert!(server.world().guests.is_empty());
}
