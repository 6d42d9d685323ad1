//! Services with a configuration that their own checker refuses, or on which they do not come up.

use crate::services::{OF_ONE_HOST, OF_THE_SERVICES};
use okd_tests::{Flavour, Host, Lab, Picture, Play};

struct Service {
    unit: &'static str,
    good: String,
    /// What the checker refuses, and its words.
    bad: String,
    words: &'static str,
    packages: &'static str,
}

fn services(flavour: Flavour) -> Vec<Service> {
    let el = flavour == Flavour::El;
    let pick = |on_el: &'static str, on_debian: &'static str| if el { on_el } else { on_debian };
    let subnet = "subnets: [{network: 10.77.1.0/24, range: 10.77.1.100-10.77.1.110}]";
    let nginx = "sites: [{name: okd, listen: 8080, root: /var/www}]";
    let haproxy = "pools: [{name: api, bind: [\"*:6443\"], port: 6443, hosts: {one: 10.77.1.9}}]";
    let named = "zones: [{name: example.org, ns: [ns], hosts: {ns: 10.77.1.21}}]";
    vec![
        Service {
            unit: "nginx",
            good: format!("nginx: {{{nginx}}}"),
            bad: format!("nginx: {{{nginx}, http: \"no_such_directive on;\"}}"),
            words: "unknown directive \"no_such_directive\"",
            packages: "nginx",
        },
        Service {
            unit: "haproxy",
            good: format!("haproxy: {{{haproxy}}}"),
            bad: format!("haproxy: {{{haproxy}, global: [no-such-keyword]}}"),
            words: "unknown keyword 'no-such-keyword'",
            packages: "haproxy",
        },
        Service {
            unit: "named",
            good: format!("named: {{{named}}}"),
            bad: format!("named: {{{named}, options: {{no-such-option: \"yes\"}}}}"),
            words: "unknown option 'no-such-option'",
            packages: pick("bind bind-utils", "bind9 bind9-utils"),
        },
        Service {
            unit: pick("dhcpd", "isc-dhcp-server"),
            good: format!("dhcpd: {{interfaces: [eth0], {subnet}}}"),
            bad: format!("dhcpd: {{interfaces: [eth0], {subnet}, extra: \"no-such-statement 1;\"}}"),
            words: "no-such-statement",
            packages: pick("dhcp-server", "isc-dhcp-server"),
        },
    ]
}

fn install(host: &Host<'_>, flavour: Flavour, packages: &str) {
    match flavour {
        Flavour::El => host.sh(&format!("dnf -q -y install {packages}")),
        _ => host.sh(&format!(
            "apt-get -q update; DEBIAN_FRONTEND=noninteractive apt-get -q -y install {packages}"
        )),
    };
}

fn picture(host: &Host<'_>) -> Picture {
    Picture::lasting(host, &[OF_ONE_HOST, OF_THE_SERVICES].concat())
}

fn task(text: &str) -> String {
    format!("    - name: Service\n      {text}\n")
}

/// A checker that is there refuses in the plan; nothing is swapped, and the service never notices.
fn refused(flavour: Flavour, transport: &str) {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", flavour);
    let services = services(flavour);
    let all: Vec<&str> = services.iter().map(|service| service.packages).collect();
    install(&host, flavour, &all.join(" "));
    for service in services {
        Play::tasks(&lab, &task(&service.good)).apply(&["--transport", transport]);
        let before = (picture(&host), host.main_pid(service.unit));
        let run = Play::tasks(&lab, &task(&service.bad))
            .run(&["--yes", "--transport", transport])
            .ended(1);
        run.says(service.words);
        before.0.assert_same(&picture(&host));
        assert!(host.active(service.unit), "{} does not run\n{run}", service.unit);
        assert_eq!(host.main_pid(service.unit), before.1, "{} was restarted", service.unit);
    }
}

#[test]
fn what_a_checker_refuses_on_el_is_never_swapped_in() {
    refused(Flavour::El, "agent");
}

#[test]
fn what_a_checker_refuses_on_debian_is_never_swapped_in() {
    refused(Flavour::Debian, "ssh");
}

/// A checker that comes with the same run refuses when it is applied; the package's own files stay.
fn refused_on_a_blank_host(flavour: Flavour, package: &str) {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", flavour);
    let service = services(flavour).remove(0);
    let play = Play::tasks(
        &lab,
        &format!(
            "    - name: Package\n      package: {{name: {package}}}\n{}",
            task(&service.bad)
        ),
    );
    play.run(&["--check", "--exit-code"]).ended(10);
    let run = play.run(&["--yes"]).ended(1);
    run.says(service.words);
    assert_eq!(run.status("apply", "host", "Package"), "changed", "{run}");
    assert_eq!(run.status("apply", "host", "Service"), "failed", "{run}");
    assert!(!host.read("/etc/nginx/nginx.conf").contains("okd-play"), "{run}");
    assert!(!host.has("/etc/nginx/conf.d/okd.conf"));
}

#[test]
fn a_checker_that_comes_with_the_run_refuses_on_el() {
    refused_on_a_blank_host(Flavour::El, "nginx");
}

#[test]
fn a_checker_that_comes_with_the_run_refuses_on_debian() {
    refused_on_a_blank_host(Flavour::Debian, "nginx");
}

/// What passes the checker and still does not come up: the old set is put back, and the service runs on it.
fn put_back(flavour: Flavour, transport: &str) {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", flavour);
    let names = services(flavour);
    let all: Vec<&str> = names.iter().map(|service| service.packages).collect();
    install(&host, flavour, &all.join(" "));
    let unit = names[3].unit;
    let pools = |port: u16| {
        format!("haproxy: {{pools: [{{name: api, bind: [\"*:{port}\"], port: 6443, hosts: {{one: 10.77.1.9}}}}]}}")
    };
    let sites = |port: u16| format!("nginx: {{sites: [{{name: okd, listen: {port}, root: /var/www}}]}}");
    let subnet = |network: &str, range: &str| format!("dhcpd: {{subnets: [{{network: {network}, range: {range}}}]}}");
    for (unit, good, bad) in [
        // Each listens where the other does.
        ("haproxy", pools(6443), pools(8080)),
        ("nginx", sites(8080), sites(6443)),
        // No interface has an address in the subnet.
        (
            unit,
            subnet("10.77.1.0/24", "10.77.1.100-10.77.1.110"),
            subnet("192.0.2.0/24", "192.0.2.100-192.0.2.110"),
        ),
    ] {
        if unit == "haproxy" {
            Play::tasks(&lab, &task(&sites(8080))).apply(&["--transport", transport]);
        }
        Play::tasks(&lab, &task(&good)).apply(&["--transport", transport]);
        let before = picture(&host);
        let run = Play::tasks(&lab, &task(&bad))
            .run(&["--yes", "--transport", transport])
            .ended(1);
        before.assert_same(&picture(&host));
        assert!(host.active(unit), "{unit} does not run\n{run}");
        let failure = &run.result("apply", "host", "Service")["failure"];
        let journal = failure["journal"].as_array().map_or(0, Vec::len);
        assert!(journal > 0, "{unit}: the journal is not shown\n{run}");
        Play::tasks(&lab, &task(&good)).converged(&["--transport", transport]);
    }
}

#[test]
fn a_service_that_does_not_come_up_on_el_gets_its_old_files_back() {
    put_back(Flavour::El, "agent");
}

#[test]
fn a_service_that_does_not_come_up_on_debian_gets_its_old_files_back() {
    put_back(Flavour::Debian, "ssh");
}
