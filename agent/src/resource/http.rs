//! Requests by `curl` on the machine. What it is told goes through the environment and its standard input, so that no
//! password and no header is seen in a list of processes.

use super::ResourceError;
use crate::path::AbsPath;
use crate::secret::Secrets;
use crate::system::{Answer, System, SystemError};
use std::fmt::Write;

/// The most that one variable of an environment holds on Linux (MAX_ARG_STRLEN), with room for its name, in bytes.
const BODY_LIMIT: usize = 128 * 1024 - 64;

/// A request, as curl(1) takes it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Request {
    pub(super) url: String,
    pub(super) method: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Option<String>,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) timeout: u64,
    pub(super) insecure: bool,
    pub(super) redirects: bool,
    pub(super) direct: bool,
    pub(super) agent: Option<String>,
    pub(super) socket: Option<AbsPath>,
    pub(super) ca: Option<AbsPath>,
    pub(super) certificate: Option<AbsPath>,
    pub(super) key: Option<AbsPath>,
}

/// What came back.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Response {
    pub(super) status: i64,
    pub(super) url: String,
    /// Names in lower case.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

/// Stands before the status at the end of the output.
const TRAILER: &str = "\nokd-play ";

/// Prints curl's configuration from the environment. Values that hold a secret come singly and are quoted here, on the
/// machine: what a secret is made of is known there only.
pub(super) const OPTIONS: &str = r#"options() {
  printf '%s\n' "$OKD_PLAY_OPTIONS"
  i=0
  while [ "$i" -lt "$OKD_PLAY_COUNT" ]; do
    i=$((i + 1))
    eval "name=\$OKD_PLAY_NAME_$i value=\$OKD_PLAY_VALUE_$i"
    value=$(printf '%s.' "$value" | sed -e 's/[\\"]/\\&/g' -e '$!s/$/\\n/' | tr -d '\n')
    printf '%s = "%s"\n' "$name" "${value%.}"
  done
}
"#;

/// What a request gives to the shell that runs `curl`.
pub(super) type Environment = Vec<(String, String)>;

fn quoted(value: &str) -> String {
    let mut out = String::with_capacity(value.len() + 2);
    for char in value.chars() {
        match char {
            '"' | '\\' => out.extend(['\\', char]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            other => out.push(other),
        }
    }
    format!("\"{out}\"")
}

impl Request {
    fn options(&self) -> Vec<(&'static str, String)> {
        let mut options = vec![("url", self.url.clone()), ("max-time", self.timeout.to_string())];
        if !["", "GET", "HEAD"].contains(&self.method.as_str()) {
            options.push(("request", self.method.clone()));
        }
        options.extend(self.headers.iter().map(|(name, value)| ("header", header(name, value))));
        let path = |path: &Option<AbsPath>| path.as_ref().map(AbsPath::to_string);
        let user = self
            .user
            .as_ref()
            .map(|user| format!("{user}:{}", self.password.as_deref().unwrap_or_default()));
        let more = [
            ("data-raw", self.body.clone()),
            ("user", user),
            ("user-agent", self.agent.clone()),
            ("unix-socket", path(&self.socket)),
            ("cacert", path(&self.ca)),
            ("cert", path(&self.certificate)),
            ("key", path(&self.key)),
            ("noproxy", self.direct.then(|| "*".to_owned())),
        ];
        options.extend(more.into_iter().filter_map(|(name, value)| Some((name, value?))));
        options
    }

    /// What [`OPTIONS`] makes curl's configuration of.
    ///
    /// # Errors
    /// A body that is too large for an environment.
    pub(super) fn environment(&self, flags: &[&str]) -> Result<Environment, ResourceError> {
        let (marked, plain): (Vec<_>, Vec<_>) = self
            .options()
            .into_iter()
            .partition(|(_, value)| Secrets::marked(value));
        let mut lines = vec!["silent".to_owned(), "show-error".to_owned(), "globoff".to_owned()];
        lines.extend(flags.iter().map(|flag| (*flag).to_owned()));
        let switches = [
            ("insecure", self.insecure),
            ("location", self.redirects),
            ("head", self.method == "HEAD"),
        ];
        lines.extend(
            switches
                .iter()
                .filter(|(_, on)| *on)
                .map(|(name, _)| (*name).to_owned()),
        );
        lines.extend(plain.iter().map(|(name, value)| format!("{name} = {}", quoted(value))));
        let mut environment = vec![
            ("OKD_PLAY_OPTIONS".to_owned(), lines.join("\n")),
            ("OKD_PLAY_COUNT".to_owned(), marked.len().to_string()),
        ];
        for (number, (name, value)) in (1..).zip(marked) {
            environment.push((format!("OKD_PLAY_NAME_{number}"), name.to_owned()));
            environment.push((format!("OKD_PLAY_VALUE_{number}"), value));
        }
        if environment.iter().any(|(_, value)| value.len() > BODY_LIMIT) {
            return Err(ResourceError::message(format!(
                "at most {BODY_LIMIT} bytes are sent to {}",
                self.url
            )));
        }
        Ok(environment)
    }

    /// The shell's words; the script goes to its standard input.
    pub(super) fn argv(&self, kind: &str) -> Vec<String> {
        let url = if Secrets::marked(&self.url) {
            "(hidden)"
        } else {
            &self.url
        };
        ["sh", "-s", "--", kind, &self.method, url].map(str::to_owned).to_vec()
    }

    /// A script, and its environment, that print the whole answer.
    ///
    /// # Errors
    /// As [`Request::environment`].
    pub(super) fn whole(&self) -> Result<(Vec<u8>, Environment), ResourceError> {
        let trailer = format!(
            "write-out = {}",
            quoted(&format!("{TRAILER}%{{http_code}} %{{url_effective}}"))
        );
        let flags = if self.method == "HEAD" {
            vec![trailer.as_str()]
        } else {
            vec!["include", &trailer]
        };
        Ok((
            format!("{OPTIONS}options | curl --config -\n").into_bytes(),
            self.environment(&flags)?,
        ))
    }

    /// Reads what curl printed.
    ///
    /// # Errors
    /// curl's own failure, in its words.
    pub(super) fn response(&self, answer: &Answer, world: &dyn System) -> Result<Response, ResourceError> {
        if !answer.success() {
            return Err(self.failure(answer, world));
        }
        parse(&answer.stdout)
            .ok_or_else(|| ResourceError::message(format!("{} gave no answer that can be read", self.url)))
    }

    /// Why no answer came; in a plan an earlier step may change that.
    pub(super) fn failure(&self, answer: &Answer, world: &dyn System) -> ResourceError {
        let why = match answer.rc {
            Answer::NO_PROGRAM => "curl is not installed on the machine".to_owned(),
            rc => format!(
                "{} (curl's exit status {rc})",
                answer.error_text().trim().trim_start_matches("curl: ")
            ),
        };
        if world.predicted() {
            return SystemError::Unknown(format!("asks {}; now: {why}", self.url)).into();
        }
        ResourceError::command(format!("{}: {why}", self.url), &self.argv("curl"), answer)
    }
}

fn header(name: &str, value: &str) -> String {
    if value.is_empty() {
        format!("{name};")
    } else {
        format!("{name}: {value}")
    }
}

fn parse(output: &[u8]) -> Option<Response> {
    let end = output
        .windows(TRAILER.len())
        .rposition(|window| window == TRAILER.as_bytes())?;
    let trailer = String::from_utf8_lossy(&output[end + TRAILER.len()..]).into_owned();
    let (status, url) = trailer.split_once(' ')?;
    let status: i64 = status.parse().ok()?;
    let mut rest = &output[..end];
    let mut headers = Vec::new();
    while rest.starts_with(b"HTTP/") {
        let (block, length) = head(rest);
        rest = &rest[length..];
        let mut lines = block.lines();
        let code: i64 = lines.next()?.split_whitespace().nth(1)?.parse().ok()?;
        headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let last = code == status && !(rest.starts_with(b"HTTP/") && (code < 200 || (300..400).contains(&code)));
        if last && !(code == 200 && rest.starts_with(b"HTTP/") && headers.is_empty()) {
            break;
        }
    }
    Some(Response {
        status,
        url: url.to_owned(),
        headers,
        body: rest.to_vec(),
    })
}

/// The header lines at the beginning, and their length with the empty line.
fn head(bytes: &[u8]) -> (String, usize) {
    let found = [&b"\r\n\r\n"[..], b"\n\n"].into_iter().find_map(|end| {
        bytes
            .windows(end.len())
            .position(|window| window == end)
            .map(|at| (at, at + end.len()))
    });
    let (text, length) = found.unwrap_or((bytes.len(), bytes.len()));
    (String::from_utf8_lossy(&bytes[..text]).into_owned(), length)
}

/// A file's name at the end of a URL.
pub(super) fn file_name(url: &str) -> Option<&str> {
    let path = url.split(['?', '#']).next()?;
    let path = path.split_once("://").map_or(path, |(_, rest)| rest);
    path.rsplit_once('/')
        .map(|(_, name)| name)
        .filter(|name| !name.is_empty() && *name != "." && *name != "..")
}

/// What is wrong with a URL; a password in it would be seen.
///
/// # Errors
/// One sentence.
pub(super) fn check_url(url: &str) -> Result<(), String> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err(format!("a URL such as https://example.org/x, not `{url}`"));
    };
    if !["http", "https", "ftp", "file"].contains(&scheme) {
        return Err(format!(
            "a URL that begins with https://, http://, ftp:// or file://, not `{scheme}://`"
        ));
    }
    if rest.split('/').next().is_some_and(|host| host.contains('@')) {
        return Err(
            "a name or password in the URL would be seen; `url_username` and `url_password` keep it".to_owned(),
        );
    }
    Ok(())
}

/// Text as a form's field has it, see the URL Standard, application/x-www-form-urlencoded.
pub(super) fn form_encoded(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'*' => out.push(byte as char),
            b' ' => out.push('+'),
            other => {
                let _ = write!(out, "%{other:02X}");
            }
        }
        out
    })
}

/// A web server on loopback, for tests: answers each request by what a function makes of it.
#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) fn server(answer: impl Fn(&str) -> String + Send + 'static) -> String {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
            loop {
                let count = stream.read(&mut buffer).unwrap();
                request.extend_from_slice(&buffer[..count]);
                let text = String::from_utf8_lossy(&request).to_ascii_lowercase();
                let body = text
                    .split_once("content-length: ")
                    .and_then(|(_, rest)| rest.lines().next()?.parse().ok());
                let end = text.find("\r\n\r\n").map(|end| end + 4 + body.unwrap_or(0));
                if count == 0 || end.is_some_and(|end| request.len() >= end) {
                    break;
                }
            }
            stream
                .write_all(answer(&String::from_utf8_lossy(&request)).as_bytes())
                .unwrap();
        }
    });
    format!("http://{address}")
}

/// A web server's answer, for tests.
#[cfg(test)]
pub(super) fn reply(status: u16, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} X\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_configuration_quotes_what_it_holds() {
        let request = Request {
            url: "https://example.org/a?b=\"c\"".to_owned(),
            method: "POST".to_owned(),
            headers: vec![
                ("X-A".to_owned(), "b\\c".to_owned()),
                ("X-Empty".to_owned(), String::new()),
            ],
            body: Some("{\"a\": 1}\nline".to_owned()),
            user: Some("me".to_owned()),
            password: Some("p\"w".to_owned()),
            timeout: 30,
            insecure: true,
            ..Request::default()
        };
        let environment = request.environment(&[]).unwrap();
        let config = &environment[0].1;
        for line in [
            r#"url = "https://example.org/a?b=\"c\"""#,
            r#"request = "POST""#,
            r#"header = "X-A: b\\c""#,
            r#"header = "X-Empty;""#,
            r#"data-raw = "{\"a\": 1}\nline""#,
            r#"user = "me:p\"w""#,
            "insecure",
        ] {
            assert!(config.lines().any(|found| found == line), "{line} in {config}");
        }
        assert!(!config.contains("location"));
        let place = Secrets::placeholder("pw", "0a");
        let hidden = Request {
            password: Some(place.clone()),
            ..request
        }
        .environment(&[])
        .unwrap();
        assert!(!hidden[0].1.contains("user ="));
        assert_eq!(hidden[1].1, "1");
        assert_eq!(
            (hidden[2].1.as_str(), hidden[3].1.as_str()),
            ("user", format!("me:{place}").as_str())
        );
    }

    #[test]
    fn answers_are_read_behind_redirects() {
        let output = b"HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\nHTTP/2 200 \r\nContent-Type: text/plain\r\nX-A: b:c\r\n\r\nhi\n\nHTTP/1.1\n\nokd-play 200 http://h/x";
        let response = parse(output).unwrap();
        assert_eq!((response.status, response.url.as_str()), (200, "http://h/x"));
        assert_eq!(response.headers[1], ("x-a".to_owned(), "b:c".to_owned()));
        assert_eq!(response.body, b"hi\n\nHTTP/1.1\n");
        let proxied = b"HTTP/1.1 200 Connection established\r\n\r\nHTTP/1.1 200 OK\r\nA: b\r\n\r\nbody\nokd-play 200 u";
        assert_eq!(parse(proxied).unwrap().body, b"body");
        assert_eq!(parse(b"\nokd-play 000 u").unwrap().status, 0);
        assert!(parse(b"nothing").is_none());
    }

    #[test]
    fn urls_have_names_and_no_passwords() {
        assert_eq!(file_name("https://h/a/b.tar.gz?x=/y"), Some("b.tar.gz"));
        assert_eq!(file_name("https://h/"), None);
        assert_eq!(file_name("https://h"), None);
        assert!(check_url("https://h/x@y").is_ok());
        assert!(check_url("https://me:pw@h/x").unwrap_err().contains("url_password"));
        assert!(check_url("h/x").is_err());
        assert_eq!(form_encoded("a b&c=ü"), "a+b%26c%3D%C3%BC");
    }
}
