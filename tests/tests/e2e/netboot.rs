//! What machines that boot by the network are told, by real DHCP servers.

use okd_tests::{Flavour, Lab, Play};

const TASKS: &str = r#"
    - name: Server
      package: {name: "{{ server }}"}
    - name: DHCP
      dhcpd:
        backend: "{{ backend }}"
        interfaces: [eth1]
        subnets:
          - network: 10.0.0.0/24
            router: 10.0.0.1
            next_server: 10.0.0.1
            filename: pxelinux.0
            filename_uefi: shimx64.efi
            ipxe: http://10.0.0.1:8080/boot/boot.ipxe
        hosts:
          - {name: master1, mac: "52:54:00:00:10:02", ip: 10.0.0.2}
"#;
const TOLD: &str = "#!/bin/sh\n[ \"$reason\" != BOUND ] || echo \"$new_ip_address $new_filename\" > /tmp/told\n";

/// What a machine of this firmware is told, as `ADDRESS FILE`.
fn told(client: &okd_tests::Host<'_>, says: &str) -> String {
    client.put(
        "/tmp/conf",
        format!("option arch code 93 = unsigned integer 16;\n{says}\n").as_bytes(),
    );
    client.put("/tmp/say", TOLD.as_bytes());
    let ask = "chmod 755 /tmp/say; rm -f /tmp/told /tmp/leases; timeout 30 dhclient -1 -q -cf /tmp/conf -sf /tmp/say -lf /tmp/leases -pf /tmp/pid eth1
               dhclient -r -q -cf /tmp/conf -sf /tmp/say -lf /tmp/leases -pf /tmp/pid eth1 2>/dev/null; cat /tmp/told";
    client.sh(ask).trim().to_owned()
}

fn each_firmware_is_told_what_it_can_load(backend: &str, server: &str) {
    let lab = Lab::up();
    lab.site("inner", "-");
    let host = lab.host("services", "10.77.1.21", Flavour::El);
    host.nic("eth1", "inner", "10.0.0.1/24");
    let client = lab.host("client", "10.77.1.31", Flavour::Client);
    lab.verb(&["nic", "client", "eth1", "inner", "-", "52:54:00:00:10:02"]);
    let play = Play::tasks(&lab, TASKS);
    let words = [
        "--limit",
        "services",
        "-e",
        &format!("backend={backend}"),
        "-e",
        &format!("server={server}"),
    ];
    play.apply(&words);
    play.converged(&words);
    for (says, file) in [
        ("", "pxelinux.0"),
        ("send arch 0;", "pxelinux.0"),
        ("send arch 7;", "shimx64.efi"),
        (
            "send arch 0; send user-class \"iPXE\";",
            "http://10.0.0.1:8080/boot/boot.ipxe",
        ),
        (
            "send arch 7; send user-class \"iPXE\";",
            "http://10.0.0.1:8080/boot/boot.ipxe",
        ),
    ] {
        assert_eq!(told(&client, says), format!("10.0.0.2 {file}"), "{backend}: {says}");
    }
}

#[test]
fn each_firmware_is_told_what_it_can_load_by_dhcpd() {
    each_firmware_is_told_what_it_can_load("dhcpd", "dhcp-server");
}

#[test]
fn each_firmware_is_told_what_it_can_load_by_kea() {
    each_firmware_is_told_what_it_can_load("kea", "kea");
}
