//! Files downloaded by the machine itself, checked, and put in place whole.

use super::checksum::Algorithm;
use super::content::{Attributes, described, field, names, need_parent, resolve};
use super::http::{self, OPTIONS, Request};
use super::{Resource, ResourceError, View, Touches};
use crate::diff::{Change, Sign};
use crate::param::Destination;
use crate::params;
use crate::path::{AbsPath, Mode};
use crate::secret::Secrets;
use crate::system::{Action, Alter, Answer, Declared, Effect, FileKind, Probe, System, SystemError};
use crate::value::{Map, Value, map};
use indexmap::IndexMap;
use serde::Serialize;

/// Seconds that a download, or a checksum of what is there, may take.
const LONG: u64 = 7200;

params! {
    /// Downloads a file on the machine, by `curl` or `wget`, and puts it in place when its checksum is right.
    pub struct GetUrl {
        /// Where from.
        url: String,
        /// Where to; with a `/` at its end, or where a folder is, the file keeps its name in the URL.
        dest: Destination,
        /// `sha256:HEX`, or `sha256:URL` of a list of checksums; also sha1, sha224, sha384, sha512. Without it a file
        /// that is there is taken for right unless `force` is set.
        checksum: Option<String>,
        /// Compare with what the URL gives, by downloading it, and replace the file where it differs.
        force: bool ["thirsty"] = "no",
        /// Headers by name.
        headers: IndexMap<String, String>,
        /// Seconds until the server has to answer; the download itself may take two hours.
        timeout: u64 = "10",
        /// Name for basic authentication.
        url_username: Option<String> ["username"],
        /// Password for basic authentication.
        url_password: Option<String> ["password"],
        /// Send name and password at once; they always are.
        force_basic_auth: bool = "yes",
        /// Check the server's certificate.
        validate_certs: bool = "yes",
        /// Use the proxy that the environment names.
        use_proxy: bool = "yes",
        /// The user agent's name.
        http_agent: String = "okd-play",
        /// Own certificate.
        client_cert: Option<AbsPath>,
        /// Own certificate's key.
        client_key: Option<AbsPath>,
        /// Permission bits, as `"0644"` or `u=rw,g=r`.
        mode: Option<Mode>,
        /// Owner's name or number.
        owner: Option<String>,
        /// Group's name or number.
        group: Option<String>,
    }
}

/// A file that is there.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Here {
    mode: u32,
    owner: String,
    group: String,
}

/// The file, and what it should hold.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct State {
    path: AbsPath,
    here: Option<Here>,
    /// The checksum of what is there; only where one was asked for.
    sum: Option<String>,
    /// The checksum that the file should have.
    #[serde(skip)]
    wanted: Option<(Algorithm, String)>,
    #[serde(skip)]
    url: String,
}

impl View for State {
    fn changes(&self, want: &Self) -> Vec<Change> {
        let path = want.path.as_str();
        let (Some(here), Some(wanted)) = (&self.here, &want.here) else {
            let added = want.here.is_some() && self.here.is_none();
            let text = format!("{path} from {}", want.url);
            return added.then_some(Change::Item { sign: Sign::Added, text }).into_iter().collect();
        };
        let sum = |state: &State| state.sum.clone().unwrap_or_default();
        let bits = |mode: u32| format!("{mode:04o}");
        let algorithm = want.wanted.as_ref().map_or("checksum", |(algorithm, _)| algorithm.word());
        let fields = [
            field(path, algorithm, &sum(self), &sum(want)),
            field(path, "mode", &bits(here.mode), &bits(wanted.mode)),
            field(path, "owner", &here.owner, &wanted.owner),
            field(path, "group", &here.group, &wanted.group),
        ];
        fields.into_iter().flatten().collect()
    }
}

/// Downloads into a new file beside the destination, checks it and moves it there. Arguments: kind, method, URL,
/// destination, mode, owner, group, checksum program, checksum, whether `wget` will do.
const DOWNLOAD: &str = r#"umask 077
dest=$4 mode=$5 owner=$6 group=$7 program=$8 sum=$9
shift 9
tmp=$(mktemp "$dest.XXXXXX") || exit 81
trap 'rm -f "$tmp"' EXIT
trap 'exit 130' HUP INT TERM
if command -v curl >/dev/null 2>&1 || [ "$1" = curl ]; then
  options | curl --config - --fail --output "$tmp" || exit
else
  wget -q -T "$2" -O "$tmp" -- "$3" </dev/null || exit
fi
if [ -n "$sum" ]; then
  found=$("$program" <"$tmp") || exit 82
  found=${found%% *}
  [ "$found" = "$sum" ] || { echo "the checksum is $found, not $sum" >&2; exit 83; }
fi
chmod "$mode" "$tmp" || exit 84
[ -z "$owner$group" ] || chown "$owner${group:+:$group}" "$tmp" || exit 84
mv -f "$tmp" "$dest"
"#;

impl GetUrl {
    fn attributes(&self) -> Attributes {
        Attributes::new(self.mode.as_ref(), self.owner.as_ref(), self.group.as_ref())
    }

    fn request(&self, url: &str) -> Request {
        Request {
            url: url.to_owned(),
            method: "GET".to_owned(),
            headers: self.headers.clone().into_iter().collect(),
            user: self.url_username.clone(),
            password: self.url_password.clone(),
            timeout: LONG,
            insecure: !self.validate_certs,
            redirects: true,
            direct: !self.use_proxy,
            agent: Some(self.http_agent.clone()),
            certificate: self.client_cert.clone(),
            key: self.client_key.clone(),
            ..Request::default()
        }
    }

    fn connect(&self) -> String {
        format!("connect-timeout = {}", self.timeout)
    }

    fn path(&self, world: &dyn System) -> Result<AbsPath, ResourceError> {
        let dest = resolve(self.dest.path(), world)?;
        let is_folder = world.stat(&dest)?.is_some_and(|meta| meta.kind == FileKind::Directory);
        if !is_folder && !self.dest.is_folder() {
            return Ok(dest);
        }
        let name = http::file_name(&self.url).ok_or_else(|| {
            ResourceError::message(format!("{dest} is a folder, and {} ends without a file's name", self.url))
        })?;
        resolve(&dest.join(name), world)
    }

    /// What the URL gives, by a program that reads it all.
    fn piped(&self, url: &str, into: &str, world: &dyn System) -> Result<String, ResourceError> {
        let request = self.request(url);
        let script = format!("set -e\n{OPTIONS}file=$(mktemp)\ntrap 'rm -f \"$file\"' EXIT\noptions | curl --config - --fail --output \"$file\"\n{into} <\"$file\"\n");
        let answer = world.probe(&Probe {
            key: format!("url:{into}:{url}"),
            argv: request.argv("look"),
            stdin: script.into_bytes(),
            stage: Vec::new(),
            timeout: Some(LONG),
            env: request.environment(&[&self.connect()])?,
        })?;
        if answer.success() { Ok(answer.text()) } else { Err(request.failure(&answer, world)) }
    }

    fn wanted(&self, world: &dyn System) -> Result<Option<(Algorithm, String)>, ResourceError> {
        let Some(checksum) = &self.checksum else { return Ok(None) };
        let (algorithm, rest) = split_checksum(checksum).map_err(ResourceError::message)?;
        if !rest.contains("://") {
            return Ok(Some((algorithm, rest.to_ascii_lowercase())));
        }
        let list = self.piped(rest, "cat", world)?;
        let name = http::file_name(&self.url).unwrap_or_default();
        let sum = listed(&list, name, algorithm)
            .ok_or_else(|| ResourceError::message(format!("{rest} has no checksum of {name}")))?;
        Ok(Some((algorithm, sum)))
    }

    fn sum(path: &AbsPath, algorithm: Algorithm, world: &dyn System) -> Result<String, ResourceError> {
        let mut probe = Probe::new(sum_key(path, algorithm), &[&algorithm.program(), "--", path.as_str()]);
        probe.timeout = Some(LONG);
        let answer = world.probe(&probe)?;
        let text = answer.text();
        match text.split_whitespace().next() {
            Some(sum) if answer.success() => Ok(sum.trim_start_matches('\\').to_owned()),
            _ => Err(ResourceError::command(format!("no checksum of {path}"), &probe.argv, &answer)),
        }
    }

    fn download(&self, want: &State, here: &Here, world: &dyn System) -> Result<(), ResourceError> {
        let request = self.request(&self.url);
        let (program, sum) = match &want.wanted {
            Some((algorithm, sum)) => (algorithm.program(), sum.clone()),
            None => (String::new(), String::new()),
        };
        let mut argv = request.argv("get_url");
        argv.extend([want.path.to_string(), format!("{:04o}", here.mode), here.owner.clone(), here.group.clone()]);
        argv.extend([program, sum.clone()]);
        let plain = request.user.is_none() && request.headers.is_empty() && self.validate_certs && self.use_proxy;
        let simple = plain && self.client_cert.is_none() && !Secrets::marked(&self.url);
        let url = if simple { self.url.clone() } else { String::new() };
        argv.extend([if simple { "any" } else { "curl" }.to_owned(), self.timeout.to_string(), url]);
        let known = want.wanted.as_ref().map(|(algorithm, _)| {
            (sum_key(&want.path, *algorithm), Answer::ok(format!("{sum}  {}\n", want.path)))
        });
        let declared =
            Declared { creates: vec![want.path.clone()], predicts: known.into_iter().collect(), ..Declared::default() };
        let answer = world.act(&Action {
            argv: argv.clone(),
            stdin: format!("{OPTIONS}{DOWNLOAD}").into_bytes(),
            env: request.environment(&[&self.connect()])?,
            cwd: None,
            timeout: Some(LONG),
            effect: Effect::Declared(declared),
        })?;
        if answer.success() {
            return Ok(());
        }
        let why = match answer.rc {
            Answer::NO_PROGRAM => "neither curl nor wget can do it on this machine".to_owned(),
            _ => answer.error_text().trim().trim_start_matches("curl: ").to_owned(),
        };
        Err(ResourceError::command(format!("{}: {why}; {} is as it was", self.url, want.path), &argv, &answer))
    }
}

fn sum_key(path: &AbsPath, algorithm: Algorithm) -> String {
    format!("checksum:{}:{path}", algorithm.word())
}

/// The algorithm and the rest of `sha256:…`.
fn split_checksum(checksum: &str) -> Result<(Algorithm, &str), String> {
    let expected = || format!("a checksum such as sha256:HEX or sha256:URL, not `{checksum}`");
    let (word, rest) = checksum.split_once(':').ok_or_else(expected)?;
    let known = [Algorithm::Sha1, Algorithm::Sha224, Algorithm::Sha256, Algorithm::Sha384, Algorithm::Sha512];
    let algorithm = known.into_iter().find(|algorithm| algorithm.word() == word).ok_or_else(expected)?;
    let hex = rest.len() == algorithm.digits() && rest.bytes().all(|byte| byte.is_ascii_hexdigit());
    if hex || http::check_url(rest).is_ok() { Ok((algorithm, rest)) } else { Err(expected()) }
}

/// A file's checksum in a list: `HEX  name`, `HEX *./name`, `SHA256 (name) = HEX`, or one checksum alone.
fn listed(list: &str, name: &str, algorithm: Algorithm) -> Option<String> {
    let hex = |word: &str| word.len() == algorithm.digits() && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let bare = |word: &str| word.trim_start_matches('*').trim_start_matches("./").to_owned();
    let tagged = format!("({name}) = ");
    for line in list.lines() {
        if let Some((_, sum)) = line.split_once(&tagged).filter(|(_, sum)| hex(sum.trim())) {
            return Some(sum.trim().to_ascii_lowercase());
        }
        match line.split_once(char::is_whitespace) {
            Some((sum, file)) if hex(sum) && bare(file.trim()) == name => return Some(sum.to_ascii_lowercase()),
            _ => {}
        }
    }
    Some(list.trim()).filter(|alone| hex(alone)).map(str::to_ascii_lowercase)
}

impl Resource for GetUrl {
    const NAMES: &'static [&'static str] = &["get_url", "ansible.builtin.get_url"];
    const EXAMPLE: &'static str = "- name: Installer\n  get_url:\n    url: https://mirror.example.org/okd/openshift-install-linux.tar.gz\n    dest: /var/cache/okd/openshift-install-linux.tar.gz\n    checksum: sha256:https://mirror.example.org/okd/sha256sum.txt\n    mode: \"0644\"\n";
    const PREDICTS: &'static str = "whether it downloads; the content is known by its checksum only";
    const TOUCHES: Touches = Touches::Paths(&["dest"]);
    type World = dyn System;
    type State = State;

    fn check(&self) -> Result<(), Vec<String>> {
        let mut problems: Vec<String> = http::check_url(&self.url).err().into_iter().collect();
        problems.extend(self.checksum.as_deref().and_then(|checksum| split_checksum(checksum).err()));
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn inspect(&self, world: &Self::World) -> Result<State, ResourceError> {
        let path = self.path(world)?;
        let meta = world.stat(&path)?;
        let mut wanted = self.wanted(world)?;
        if wanted.is_none() && self.force && meta.is_some() {
            let found = self.piped(&self.url, "sha256sum", world)?;
            wanted = found.split_whitespace().next().map(|sum| (Algorithm::Sha256, sum.to_owned()));
        }
        let Some(meta) = meta else {
            need_parent(&path, world)?;
            return Ok(State { path, here: None, sum: None, wanted, url: self.url.clone() });
        };
        if meta.kind != FileKind::File {
            let expected = "a regular file".to_owned();
            return Err(SystemError::WrongKind { path: path.to_string(), expected, found: meta.kind }.into());
        }
        let sum = wanted.as_ref().map(|(algorithm, _)| Self::sum(&path, *algorithm, world)).transpose()?;
        let (owner, group) = names(&meta, &self.attributes());
        Ok(State { path, here: Some(Here { mode: meta.mode, owner, group }), sum, wanted, url: self.url.clone() })
    }

    fn desire(&self, now: &State) -> Result<State, ResourceError> {
        let mode = now.here.as_ref().map_or(0o644, |here| here.mode);
        let owners = |asked: &Option<String>, here: fn(&Here) -> &String| {
            asked.clone().or_else(|| now.here.as_ref().map(|now| here(now).clone())).unwrap_or_default()
        };
        let here = Here {
            mode: self.mode.as_ref().map_or(mode, |wanted| wanted.apply(mode, false)),
            owner: owners(&self.owner, |here| &here.owner),
            group: owners(&self.group, |here| &here.group),
        };
        Ok(State { here: Some(here), sum: now.wanted.as_ref().map(|(_, sum)| sum.clone()), ..now.clone() })
    }

    fn apply(&self, now: &State, want: &State, world: &Self::World) -> Result<Map, ResourceError> {
        let Some(here) = &want.here else { return Ok(Map::new()) };
        if now.here.is_none() || now.sum != want.sum {
            self.download(want, here, world)?;
        }
        let Some(meta) = world.stat(&want.path)? else {
            return Err(ResourceError::message(format!("{} was downloaded and is gone", want.path)));
        };
        let (owner, group) = names(&meta, &self.attributes());
        let change = Alter {
            mode: (meta.mode != here.mode).then_some(here.mode),
            owner: Some(&here.owner).filter(|wanted| !wanted.is_empty() && **wanted != owner).cloned(),
            group: Some(&here.group).filter(|wanted| !wanted.is_empty() && **wanted != group).cloned(),
            mtime: None,
        };
        if change != Alter::default() {
            world.alter(&want.path, &change)?;
        }
        Ok(world.stat(&want.path)?.map(|meta| described(&meta)).unwrap_or_default())
    }

    fn result(&self, state: &State) -> Map {
        let mut result = map([("dest", state.path.as_str().into()), ("url", self.url.as_str().into())]);
        if let Some(sum) = &state.sum {
            result.insert("checksum_dest".to_owned(), sum.as_str().into());
        }
        if let Some(here) = &state.here {
            result.insert("mode".to_owned(), Value::Str(format!("{:04o}", here.mode)));
            result.insert("state".to_owned(), "file".into());
        }
        result
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used, clippy::disallowed_methods)]
    use super::*;
    use crate::resource::content::given;
    use crate::resource::http::{reply, server};
    use crate::resource::laws::laws;
    use crate::resource::{Failure, Outcome, Status, converge};
    use crate::system::fake::Fake;
    use crate::system::local::Local;
    use crate::system::overlay::Overlay;
    use std::sync::Arc;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn checksums_are_found_in_lists() {
        for (list, found) in [
            (format!("{ABC}  abc.txt\n"), true),
            (format!("{ABC} *./abc.txt\n"), true),
            (format!("SHA256 (abc.txt) = {ABC}\n"), true),
            (format!("{ABC}\n"), true),
            (format!("{ABC}  xabc.txt\n"), false),
            ("abc  abc.txt\n".to_owned(), false),
        ] {
            assert_eq!(listed(&list, "abc.txt", Algorithm::Sha256).is_some(), found, "{list}");
        }
        assert!(split_checksum(&format!("sha256:{ABC}")).is_ok());
        assert!(split_checksum("sha256:https://h/x").is_ok());
        for bad in ["sha256", "md5:00", "sha256:abc", "sha1:zz"] {
            assert!(split_checksum(bad).is_err(), "{bad}");
        }
    }

    fn run(get: &GetUrl, world: &(dyn System + 'static)) -> Result<Outcome, Box<Failure>> {
        converge(get, world, None)
    }

    #[test]
    fn files_are_downloaded_checked_and_placed() {
        let web = server(|request| match request.lines().next().unwrap_or_default() {
            line if line.contains("/abc.txt") && request.contains("Basic bWU6cHc=") => reply(200, "", "abc"),
            line if line.contains("/sums") => reply(200, "", &format!("{ABC}  abc.txt\n")),
            _ => reply(401, "", "who?"),
        });
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().to_str().unwrap();
        let local = Local::new();
        let url = format!("{web}/abc.txt");
        let dest = format!("{at}/");
        let sums = format!("sha256:{web}/sums");
        let known = [("url", url.as_str()), ("dest", &dest), ("username", "me"), ("password", "pw"), ("mode", "0640")];
        let get: GetUrl = given(&[&known[..], &[("checksum", &sums)]].concat());
        let plan = Overlay::new(Arc::new(Local::new()));
        let predicted = run(&get, &plan).unwrap();
        assert_eq!(run(&get, &plan).unwrap().status, Status::Same);
        let applied = run(&get, &local).unwrap();
        assert_eq!((&predicted.diff, applied.status), (&applied.diff, Status::Changed));
        assert_eq!(std::fs::read_to_string(format!("{at}/abc.txt")).unwrap(), "abc");
        assert_eq!(applied.result["mode"].as_str(), Some("0640"));
        assert_eq!(run(&get, &local).unwrap().status, Status::Same);
        std::fs::write(format!("{at}/abc.txt"), "old").unwrap();
        let same: GetUrl = given(&known);
        assert_eq!(run(&same, &local).unwrap().status, Status::Same);
        let forced: GetUrl = given(&[&known[..], &[("force", "yes")]].concat());
        assert_eq!(run(&forced, &local).unwrap().status, Status::Changed);
        assert_eq!(run(&forced, &local).unwrap().status, Status::Same);
        let wrong = format!("sha256:{}", "0".repeat(64));
        let failure = run(&given(&[&known[..], &[("checksum", &wrong)]].concat()), &local).unwrap_err();
        assert!(failure.message.contains("the checksum is ba7816bf"), "{}", failure.message);
        let anonymous: GetUrl = given(&[("url", &url), ("dest", &format!("{at}/other"))]);
        assert!(run(&anonymous, &local).unwrap_err().message.contains("401"));
        let left: Vec<_> = std::fs::read_dir(at).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["abc.txt"]);
        assert_eq!(std::fs::read_to_string(format!("{at}/abc.txt")).unwrap(), "abc");
    }

    #[test]
    pub(crate) fn get_url_keeps_the_laws() {
        let world = || {
            let world = Fake::new().user("named", 25).file("/opt/x", "old").owned("/opt/x", 0o600, "root", "named");
            world.command(&["sha256sum"], Answer::ok(format!("{}  -\n", "0".repeat(64)))).command(&["sh"], Answer::ok(""))
        };
        let sum = format!("sha256:{ABC}");
        for pairs in [
            vec![("url", "https://h/a"), ("dest", "/opt/new"), ("checksum", sum.as_str()), ("owner", "named")],
            vec![("url", "https://h/a"), ("dest", "/opt"), ("mode", "0600")],
            vec![("url", "https://h/a"), ("dest", "/opt/x"), ("checksum", sum.as_str())],
            vec![("url", "https://h/a"), ("dest", "/opt/x"), ("mode", "0644"), ("group", "root")],
            vec![("url", "https://h/"), ("dest", "/opt")],
            vec![("url", "https://h/a"), ("dest", "/none/x")],
        ] {
            laws(&given::<GetUrl>(&pairs), world);
        }
    }
}
