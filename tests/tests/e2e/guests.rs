//! Virtual machines that boot CoreOS's way, by the services of a host: each by its own medium, to its own part.

use okd_tests::guest::Guest;
use okd_tests::{Host, Lab, iso, until};
use serde_json::{Value, json};
use sha2::{Digest, Sha512};
use std::fmt::Write;
use std::path::PathBuf;

const SERVICES: &str = "10.77.1.10";
const WEB: &str = "http://10.77.1.10:8080";
const BOOTSTRAP: &str = r#"{"ignition":{"version":"3.2.0"}}"#;
/// What stands for a cluster: it gives configurations, notes who joins, and says which path was asked for.
const CLUSTER: &str = r#"
import http.server, ssl
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        config = b'{"ignition":{"version":"3.2.0"}}'
        self.say(config if self.path.startswith("/config/") else self.path.encode())
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        open("/srv/joined", "a").write(self.path + " " + body + "\n")
        self.say(b"{}")
    def say(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
server = http.server.ThreadingHTTPServer(("", 7623), Answer)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/srv/cert.pem", "/srv/key.pem")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"#;
const NAMED: &str = r#"
options { directory "/var/named"; listen-on { any; }; allow-query { any; }; recursion no; };
zone "lab.test" { type master; file "lab.test"; };
"#;
const ZONE: &str = "$TTL 60\n@ IN SOA ns.lab.test. root.lab.test. 1 60 60 60 60\n@ IN NS ns.lab.test.\nns IN A 10.77.1.10\napi-int IN A 10.77.1.10\n";
const DHCPD: &str = r#"
subnet 10.77.1.0 netmask 255.255.255.0 {
  option routers 10.77.1.1; option domain-name-servers 10.77.1.10; option domain-name "lab.test"; option interface-mtu 1450;
  filename "http://10.77.1.10:8080/boot.ipxe";
}
host bootstrap { hardware ethernet 52:54:00:00:10:01; fixed-address 10.77.1.61; option host-name "bootstrap"; }
host master { hardware ethernet 52:54:00:00:10:02; fixed-address 10.77.1.62; option host-name "master0"; }
host wrong { hardware ethernet 52:54:00:00:10:03; fixed-address 10.77.1.63; option host-name "wrong"; }
"#;
const BALANCER: &str = "defaults\n  mode tcp\n  timeout connect 2s\n  timeout client 1m\n  timeout server 1m\nlisten mcs\n  bind :22623\n  \
    server bootstrap 10.77.1.61:22623 check inter 1s\n";

/// A services host with what the machines need, by files that are as short as can be.
fn services(lab: &Lab) -> Host<'_> {
    let host = lab.host("services", SERVICES, okd_tests::Flavour::El);
    let media = PathBuf::from(lab.verb(&["media"]).trim());
    host.sh("dnf install -q -y bind dhcp-server nginx haproxy && mkdir -p /srv/www");
    for name in ["vmlinuz", "initrd.img", "rootfs.img", "boot.ipxe"] {
        host.put(&format!("/srv/www/{name}"), &std::fs::read(media.join(name)).unwrap());
    }
    let ipxe = format!(
        "#!ipxe\nkernel vmlinuz initrd=initrd.img console=ttyS0 quiet coreos.live.rootfs_url={WEB}/rootfs.img coreos.inst.install_dev=sda \
         coreos.inst.ignition_url={WEB}/master.ign ignition.firstboot ignition.platform.id=metal\ninitrd initrd.img\nboot\n"
    );
    let files = [
        ("/etc/named.conf", NAMED),
        ("/var/named/lab.test", ZONE),
        ("/etc/dhcp/dhcpd.conf", DHCPD),
        ("/etc/haproxy/haproxy.cfg", BALANCER),
        ("/etc/nginx/conf.d/web.conf", "server { listen 8080; root /srv/www; }\n"),
        ("/srv/cluster.py", CLUSTER),
        ("/srv/www/bootstrap.ign", BOOTSTRAP),
        ("/srv/www/52-54-00-00-10-02.ipxe", &ipxe),
    ];
    for (path, text) in files {
        host.put(path, text.as_bytes());
    }
    host.sh(
        "openssl req -x509 -newkey rsa:2048 -nodes -keyout /srv/key.pem -out /srv/cert.pem -days 2 -subj /CN=api-int.lab.test \
         -addext subjectAltName=DNS:api-int.lab.test 2>/dev/null
         systemd-run -q --unit cluster python3 /srv/cluster.py
         systemctl start named dhcpd nginx haproxy",
    );
    let authority = host.read("/srv/cert.pem");
    let master = json!({ "ignition": { "version": "3.2.0",
        "config": { "merge": [{ "source": "https://api-int.lab.test:22623/config/master" }] },
        "security": { "tls": { "certificateAuthorities": [{ "source": data(&authority) }] } } } });
    host.put("/srv/www/master.ign", master.to_string().as_bytes());
    host
}

fn data(text: &str) -> String {
    let escaped = text.bytes().fold(String::new(), |mut all, byte| {
        let _ = write!(all, "%{byte:02x}");
        all
    });
    format!("data:,{escaped}")
}

fn sha512(text: &str) -> String {
    Sha512::digest(text).iter().fold(String::new(), |mut all, byte| {
        let _ = write!(all, "{byte:02x}");
        all
    })
}

/// A cpio archive (newc) with one file.
fn archive(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    for (name, mode, bytes) in [(name, 0o100_644, bytes), ("TRAILER!!!", 0, &[][..])] {
        let fields = [0, mode, 0, 0, 1, 0, bytes.len(), 0, 0, 0, 0, name.len() + 1, 0];
        all.extend(b"070701");
        all.extend(fields.iter().flat_map(|field| format!("{field:08x}").into_bytes()));
        for part in [[name.as_bytes(), b"\0"].concat(), bytes.to_vec()] {
            all.extend(part);
            all.resize(all.len().next_multiple_of(4), 0);
        }
    }
    all
}

/// The lab's live ISO for one machine: it installs by itself, with a pointer to the bootstrap's config and its hash.
fn medium(lab: &Lab, hash: &str) -> tempfile::NamedTempFile {
    let mut image = std::fs::read(PathBuf::from(lab.verb(&["media"]).trim()).join("live.iso")).unwrap();
    let verification = json!({ "hash": format!("sha512-{hash}") });
    let pointer = json!({ "ignition": { "version": "3.2.0",
        "config": { "replace": { "source": format!("{WEB}/bootstrap.ign"), "verification": verification } } } });
    let installer = "dest-device: /dev/sda\nignition-file: /etc/coreos/dest.ign\n";
    let live = json!({ "ignition": { "version": "3.2.0" }, "storage": { "files": [
        { "path": "/etc/coreos/dest.ign", "contents": { "source": data(&pointer.to_string()) } },
        { "path": "/etc/coreos/installer.d/0000-customize.yaml", "contents": { "source": data(installer) } } ] } });
    let area = iso::find(&image, "images/ignition.img").unwrap();
    let bytes = archive("config.ign", live.to_string().as_bytes());
    assert!(bytes.len() <= area.len());
    image[area.start..area.start + bytes.len()].copy_from_slice(&bytes);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), image).unwrap();
    file
}

#[test]
fn machines_boot_by_their_media_and_become_nodes() {
    let lab = Lab::up();
    let services = services(&lab);
    let cluster = ["--stand-in", "10.77.1.10:7623:7623"];
    let (right, other) = (
        medium(&lab, &sha512(BOOTSTRAP)),
        medium(&lab, &sha512("something else")),
    );
    let [right, other] = [&right, &other].map(|file| file.path().to_str().unwrap());
    let by_iso = [&["--cdrom", right], &cluster[..]].concat();
    let bootstrap = Guest::start(&lab, "bootstrap", "52:54:00:00:10:01", &by_iso);
    let by_net = [&["--boot", "disk,net"], &cluster[..]].concat();
    let master = Guest::start(&lab, "master", "52:54:00:00:10:02", &by_net);
    let wrong = Guest::start(&lab, "wrong", "52:54:00:00:10:03", &["--cdrom", other]);

    bootstrap.says("ready: bootstrap", 120);
    bootstrap.says("lease: ip=10.77.1.61 mtu=1450 hostname=bootstrap dns=10.77.1.10", 0);
    bootstrap.says("ignition: http://10.77.1.10:8080/bootstrap.ign: sha512 verified", 0);
    bootstrap.says("resolves api-int.lab.test: 10.77.1.10", 0);
    bootstrap.says("joined as bootstrap", 10);

    let refused = wrong.says("refused", 120);
    let said = [sha512(BOOTSTRAP), sha512("something else")];
    assert!(said.iter().all(|sum| refused.contains(sum)), "{refused}");
    assert_eq!(wrong.times("ready: "), 0);
    wrong.verb("guest-stop");

    master.says("ready: master", 120);
    master.says("rootfs: fetched http://10.77.1.10:8080/rootfs.img", 0);
    master.says("installer: fetched http://10.77.1.10:8080/master.ign", 0);
    master.says("ignition: fetched https://api-int.lab.test:22623/config/master", 0);
    let joined = services.read("/srv/joined");
    let line = joined.lines().find(|line| line.contains("\"master\"")).unwrap();
    let (path, body) = line.split_once(' ').unwrap();
    let wanted = json!({ "name": "master0", "addresses": ["10.77.1.62"], "role": "master" });
    assert_eq!(
        (path, serde_json::from_str::<Value>(body).unwrap()),
        ("/stand-in/join", wanted)
    );
    let ask = "curl -sf --cacert /srv/cert.pem --resolve api-int.lab.test:6443:10.77.1.62 https://api-int.lab.test:6443/readyz";
    assert_eq!(services.sh(ask), "/readyz");

    master.verb("kill");
    until("the master is off", 5, || {
        lab.verb(&["list"])
            .lines()
            .any(|line| line.starts_with("master ") && line.contains(" off "))
            .then_some(())
    });
    master.verb("start");
    until("the master is a node again", 120, || {
        (master.times("ready: master") == 2).then_some(())
    });
    assert_eq!(
        (master.times("joined as master"), master.times("installer: done")),
        (1, 1)
    );
}
