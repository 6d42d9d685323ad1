//! Chaos: the program is killed, the agent is killed, power is cut and links are cut, at random points of
//! playbooks/services.yaml. The run after it ends as one that nobody disturbed: each file byte for byte, serials of zones
//! included, and each service running on what its files say.
//!
//! Two hosts go through the same changes of the cluster's description; `steady` is left in peace. `make chaos` sets how many
//! kills there are; `OKD_CHAOS_SEED` repeats a run of them.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use okd_tests::{Flavour, Host, Lab, Picture, Play, Running, until};
use std::path::Path;
use std::time::{Duration, Instant};

/// Two descriptions of one cluster that differ in something of every service.
const DESCRIPTIONS: [Description; 2] = [
    Description {
        mtu: 1450,
        pool: "10.0.0.15-10.0.0.30",
        master3: "10.0.0.4",
        workers: 2,
        web: 8080,
    },
    Description {
        mtu: 1400,
        pool: "10.0.0.40-10.0.0.60",
        master3: "10.0.0.9",
        workers: 3,
        web: 8081,
    },
];

struct Description {
    mtu: u32,
    pool: &'static str,
    master3: &'static str,
    workers: u32,
    web: u32,
}

impl Description {
    fn yaml(&self) -> String {
        let Description {
            mtu,
            pool,
            master3,
            workers,
            web,
        } = self;
        let workers: String = (1..=*workers)
            .map(|n| format!("      - {{name: worker{n}, mac: \"52:54:00:00:11:0{n}\", ip: 10.0.0.1{n}}}\n"))
            .collect();
        format!(
            "cluster:
  name: okd
  base_domain: example.org
  network: 10.0.0.0/24
  services: 10.0.0.1
  pool: {pool}
  mtu: {mtu}
  forwarders: [10.77.1.1]
  dnssec_validation: \"no\"
  ntp: [10.0.0.1]
  web_port: {web}
  machines:
    bootstrap:
      - {{name: bootstrap, mac: \"52:54:00:00:10:07\", ip: 10.0.0.7}}
    masters:
      - {{name: master1, mac: \"52:54:00:00:10:02\", ip: 10.0.0.2}}
      - {{name: master2, mac: \"52:54:00:00:10:03\", ip: 10.0.0.3}}
      - {{name: master3, mac: \"52:54:00:00:10:04\", ip: {master3}}}
    workers:
{workers}"
        )
    }
}

const HOSTS: &str = "all:
  children:
    services:
      hosts:
        steady: {ansible_host: 10.77.1.21}
        tried: {ansible_host: 10.77.1.22}
      vars: {ansible_user: root, outer_interface: eth0, inner_interface: eth1}
";

/// Random keys and what the services write for themselves.
const THEIR_OWN: &[&str] = &[
    "/etc/machine-id",
    "/etc/ssh/ssh_host_*",
    "/etc/rndc.key",
    "/etc/bind/rndc.key",
    "/etc/hostname",
    "/etc/hosts",
    "/var/named/data/*",
    "/var/named/dynamic/*",
];

#[derive(Debug, Clone, Copy)]
enum Blow {
    Program,
    Agent,
    Power,
    Link,
}

const BLOWS: [Blow; 4] = [Blow::Program, Blow::Agent, Blow::Power, Blow::Link];

/// xorshift64: chance that can be repeated.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }
}

struct Chaos<'lab> {
    play: Play<'lab>,
    steady: Host<'lab>,
    tried: Host<'lab>,
    chance: Chance,
    /// Lines that a run of a change prints, which stand for its points.
    points: usize,
}

impl Chaos<'_> {
    fn words(&self, host: &str, description: usize, transport: &'static str) -> Vec<String> {
        let file = self.play.folder().join(format!("{description}.yaml"));
        [
            "--yes",
            "--limit",
            host,
            "--transport",
            transport,
            "-e",
            &format!("@{}", file.display()),
        ]
        .map(str::to_owned)
        .to_vec()
    }

    fn start(&self, host: &str, description: usize, transport: &'static str) -> Running {
        let words = self.words(host, description, transport);
        self.play.start(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Runs to the end, and takes no other end than a good one.
    fn whole(&self, host: &str, description: usize, transport: &'static str) -> usize {
        let run = self.start(host, description, transport).wait().ended(0);
        run.out.lines().count()
    }

    /// Starts a run on the tried host and strikes at a random point of it; whether that was before its end.
    fn strike(&mut self, description: usize) -> (bool, String) {
        let transport = ["agent", "ssh"][self.chance.below(2)];
        let blow = BLOWS[self.chance.below(BLOWS.len())];
        let point = self.chance.below(self.points);
        let mut run = self.start("tried", description, transport);
        until("the point is reached", 120, || {
            (!run.goes_on() || run.so_far().lines().count() >= point).then_some(())
        });
        // Between two lines lies the work of a step.
        std::thread::sleep(Duration::from_millis(self.chance.below(120) as u64));
        let late = !run.goes_on();
        match blow {
            Blow::Program => {}
            Blow::Agent => {
                let victim = if transport == "agent" {
                    "okd-play/[a]gent-"
                } else {
                    "[s]shd.*root@notty"
                };
                let _ = self.tried.holds(&format!("pkill -KILL -f '{victim}'"));
            }
            Blow::Power => self.tried.verb("kill"),
            Blow::Link => self.tried.verb("cut"),
        }
        // What was lost is noticed; what waits to confirm a guarded change is let in again.
        let ends = |run: &mut Running, seconds: u64| {
            let deadline = Instant::now() + Duration::from_secs(seconds);
            while run.goes_on() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(50));
            }
            !run.goes_on()
        };
        match blow {
            Blow::Program => run.kill(),
            _ => {
                ends(&mut run, 60);
            }
        }
        match blow {
            Blow::Power => self.tried.verb("start"),
            Blow::Link => self.tried.verb("heal"),
            _ => {}
        }
        assert!(
            ends(&mut run, 400),
            "{blow:?} by {transport}, and it goes on for ever: {}\n{}",
            run.so_far(),
            run.said()
        );
        until("the host is reached", 60, || {
            let door = "exec 3<>/dev/tcp/10.77.1.22/22";
            let mut knock = self.play.lab().command();
            knock.args(["exec", "timeout", "5", "bash", "-c", door]);
            knock.output().unwrap().status.success().then_some(())
        });
        let told = format!(
            "{blow:?} by {transport} at line {point}{}",
            if late { ", too late" } else { "" }
        );
        (!late, told)
    }

    fn compare(&self, description: usize) {
        let picture =
            |host: &Host<'_>| Picture::below(host, &["/etc", "/var/named", "/var/lib/bind", "/var/www"], THEIR_OWN);
        let (steady, tried) = std::thread::scope(|scope| {
            let other = scope.spawn(|| picture(&self.tried));
            (picture(&self.steady), other.join().unwrap())
        });
        steady.assert_same(&tried);
        let (steady, tried) = (serves(&self.steady, description), serves(&self.tried, description));
        assert_eq!(steady, tried, "what runs is another thing than on the steady host");
    }
}

/// What the services of a host do, whatever their files say.
fn serves(host: &Host<'_>, description: usize) -> String {
    let Description { web, .. } = DESCRIPTIONS[description];
    host.sh(&format!(
        "for name in api master3 worker1 worker3 some.apps; do echo \"$name $(dig +short +time=10 @10.0.0.1 $name.okd.example.org | tr '\\n' ' ')\"; done
         dig +short +time=10 @10.0.0.1 okd.example.org SOA; dig +short +time=10 @10.0.0.1 -x 10.0.0.9
         curl -s 'http://127.0.0.1:9000/;csv' | cut -d, -f 1,2 | sort
         curl -s -o /dev/null -w 'web %{{http_code}}\\n' http://10.0.0.1:{web}/marker.txt
         firewall-cmd --list-all-zones; firewall-cmd --permanent --list-all-zones; firewall-cmd --list-all-policies
         sysctl net.ipv4.ip_forward
         unit=$(systemctl list-units --plain --no-legend 'dhcpd.service' 'isc-dhcp-server.service' | cut -d' ' -f1)
         since=$(date -d \"$(systemctl show -p ExecMainStartTimestamp --value $unit)\" +%s)
         if [ $(stat -c %Y /etc/dhcp/dhcpd.conf) -le $since ]; then echo dhcpd runs on its file; else echo dhcpd is older than its file; fi
         {{ ls -A /var/lib/okd-play/owed; ls -A /var/lib/okd-play/ledger | grep ^owed; }} 2>/dev/null | sed 's/^/owed /'"
    ))
}

fn chaos(flavour: Flavour, kills: usize, seed: u64) {
    let lab = Lab::up();
    let (steady, tried) = (
        lab.host("steady", "10.77.1.21", flavour),
        lab.host("tried", "10.77.1.22", flavour),
    );
    for host in [&steady, &tried] {
        let site = format!("{}-inner", host.name);
        lab.site(&site, "-");
        host.nic("eth1", &site, "10.0.0.1/24");
    }
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .canonicalize()
        .unwrap();
    let play = Play::of(&lab, root.join("playbooks/services.yaml"), "hosts.yaml".into());
    play.put("hosts.yaml", HOSTS);
    for (number, description) in DESCRIPTIONS.iter().enumerate() {
        play.put(&format!("{number}.yaml"), &description.yaml());
    }
    let mut chaos = Chaos {
        play,
        steady,
        tried,
        chance: Chance(seed | 1),
        points: 60,
    };
    let (mut struck, mut round) = (0, 0);
    while struck < kills {
        let description = round % 2;
        // The hosts are blank at first, then change from one description to the other.
        chaos.points = chaos.whole("steady", description, "agent");
        let blows = (1 + chaos.chance.below(3)).min(kills - struck);
        let mut told = Vec::new();
        for _ in 0..blows {
            let (met, what) = chaos.strike(description);
            struck += usize::from(met);
            told.push(what);
        }
        println!("{flavour:?} round {round}, {struck}/{kills}: {}", told.join("; "));
        chaos.whole("tried", description, "agent");
        chaos.compare(description);
        round += 1;
    }
}

#[test]
fn whatever_is_killed_the_next_run_ends_as_an_undisturbed_one() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().unwrap());
    let kills: u64 = number("OKD_CHAOS_KILLS").unwrap_or(6);
    let seed = number("OKD_CHAOS_SEED").unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.unwrap().as_nanos() as u64
    });
    println!("OKD_CHAOS_SEED={seed} OKD_CHAOS_KILLS={kills}");
    std::thread::scope(|scope| {
        let half = kills as usize / 2;
        let el = scope.spawn(move || chaos(Flavour::El, kills as usize - half, seed));
        let debian = scope.spawn(move || chaos(Flavour::Debian, half, seed.rotate_left(32)));
        for end in [el.join(), debian.join()] {
            end.unwrap_or_else(|reason| std::panic::resume_unwind(reason));
        }
    });
}
