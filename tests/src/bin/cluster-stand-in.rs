//! Runs the stand-in of a cluster until its input ends or it is killed, and says how it is reached. It is no cluster.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::exit, clippy::unwrap_used)]

use okd_tests::cluster::{Keys, Options, StandIn, write_private};
use okd_tests::installer::Serving;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

const USAGE: &str =
    "cluster-stand-in: a stand-in of an OKD cluster's API and Machine Config Server, for tests and demos

  --domain NAME.DOMAIN      the cluster (okd.example.org)
  --masters N --workers N   how many have to join (3, 2)
  --settle SECONDS          how long operators take (3)
  --hold FILE               while it is there, they do not settle
  --api ADDRESS:PORT        where the API listens (127.0.0.1:0)
  --mcs ADDRESS:PORT        where the Machine Config Server listens (127.0.0.1:0)
  --mcs-plain               the latter speaks HTTP without TLS
  --kubeconfig FILE         write the administrator's kubeconfig there
  --ca FILE --ca-key FILE   the authority (PEM); made new without
  --cert FILE --key FILE    the server's certificate and key (PEM); made new without
  --mcs-cert FILE --mcs-key FILE   those of the Machine Config Server; the same without
  --client-ca FILE          let in whoever has a certificate of this authority too
  --ignition URL            wait for the bootstrap machine's Ignition file there (http://ADDRESS:PORT/PATH), and be the
                            cluster that it describes: with its keys, for its administrator
  --forever                 do not end when the input does
  --api-after-bootstrap     the API does not answer before the bootstrap machine has joined
  --late-workers            /config/worker answers 500 until the bootstrap is complete
faults:
  --stuck                   the bootstrap never completes
  --degraded                an operator is degraded, and the install never completes
  --down                    nobody answers at the API's port

A machine joins by POST /stand-in/join on the Machine Config Server's port:
  {\"name\": \"worker-1\", \"role\": \"worker\", \"addresses\": [\"10.0.0.5\"]}";

#[derive(Default)]
struct Files {
    kubeconfig: Option<String>,
    ca: Option<String>,
    ca_key: Option<String>,
    cert: Option<String>,
    key: Option<String>,
    mcs_cert: Option<String>,
    mcs_key: Option<String>,
    client_ca: Option<String>,
    ignition: Option<String>,
    forever: bool,
}

fn refuse(what: &str) -> ! {
    eprintln!("{what}\n\n{USAGE}");
    std::process::exit(2);
}

fn text(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| refuse(&format!("{path}: {error}")))
}

/// The page at an address, once it is there.
fn page(url: &str) -> String {
    let (place, path) = url
        .strip_prefix("http://")
        .and_then(|rest| rest.split_once('/'))
        .unwrap_or_else(|| refuse(&format!("{url} is not http://ADDRESS:PORT/PATH")));
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(place)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        write!(stream, "GET /{path} HTTP/1.0\r\nHost: {place}\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    loop {
        if let Ok(answer) = ask()
            && let Some((head, body)) = answer.split_once("\r\n\r\n")
            && head.split_whitespace().nth(1) == Some("200")
        {
            return body.to_owned();
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn arguments() -> (Options, Files) {
    let (mut options, mut files) = (Options::default(), Files::default());
    options.settle = Duration::from_secs(3);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().unwrap_or_else(|| refuse(&format!("{word} takes a value")));
        let number = |text: String| text.parse().unwrap_or_else(|_| refuse(&format!("{text} is no number")));
        let address = |text: String| {
            text.parse()
                .unwrap_or_else(|_| refuse(&format!("{text} is no ADDRESS:PORT")))
        };
        match word.as_str() {
            "--domain" => options.domain = value(),
            "--masters" => options.masters = number(value()),
            "--workers" => options.workers = number(value()),
            "--settle" => options.settle = Duration::from_secs(number(value()) as u64),
            "--hold" => options.hold = Some(value().into()),
            "--api" => options.api = address(value()),
            "--mcs" => options.config = address(value()),
            "--mcs-plain" => options.plain_config = true,
            "--kubeconfig" => files.kubeconfig = Some(value()),
            "--ca" => files.ca = Some(value()),
            "--ca-key" => files.ca_key = Some(value()),
            "--cert" => files.cert = Some(value()),
            "--key" => files.key = Some(value()),
            "--mcs-cert" => files.mcs_cert = Some(value()),
            "--mcs-key" => files.mcs_key = Some(value()),
            "--client-ca" => files.client_ca = Some(value()),
            "--ignition" => files.ignition = Some(value()),
            "--forever" => files.forever = true,
            "--api-after-bootstrap" => options.api_after_bootstrap = true,
            "--late-workers" => options.late_workers = true,
            "--stuck" => options.faults.stuck = true,
            "--degraded" => options.faults.degraded = true,
            "--down" => options.faults.down = true,
            "-h" | "--help" => {
                println!("{USAGE}");
                std::process::exit(0);
            }
            _ => refuse(&format!("there is no {word}")),
        }
    }
    (options, files)
}

fn main() {
    let (options, files) = arguments();
    let mut keys = match (&files.ca, &files.ca_key) {
        (Some(ca), Some(key)) => Keys::under(&options.domain, &text(ca), &text(key)),
        (None, None) => Keys::make(&options.domain),
        _ => refuse("--ca and --ca-key go together"),
    };
    match (&files.cert, &files.key) {
        (Some(cert), Some(key)) => keys = keys.serving(&text(cert), &text(key)),
        (None, None) => {}
        _ => refuse("--cert and --key go together"),
    }
    match (&files.mcs_cert, &files.mcs_key) {
        (Some(cert), Some(key)) => keys = keys.configuring(&text(cert), &text(key)),
        (None, None) => {}
        _ => refuse("--mcs-cert and --mcs-key go together"),
    }
    if let Some(authority) = &files.client_ca {
        keys = keys.admitting(&text(authority));
    }
    if let Some(url) = &files.ignition {
        let found = Serving::from_ignition(&page(url));
        keys = keys
            .serving(&found.certificate, &found.key)
            .configuring(&found.machine_config.0, &found.machine_config.1)
            .admitting(&found.client_ca);
    }
    let stand_in = StandIn::start_with(options, keys);
    if let Some(path) = &files.kubeconfig {
        write_private(Path::new(path), &stand_in.kubeconfig);
    }
    println!("stand_in: true\napi: {}\nmcs: {}", stand_in.api, stand_in.config);
    if files.forever {
        loop {
            std::thread::park();
        }
    }
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}
