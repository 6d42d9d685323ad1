//! A browser without a window, driven as a person would: what is clicked and typed are events of mouse and keyboard. It is
//! spoken to by the DevTools protocol over two pipes, so that nothing listens anywhere.

use base64ct::{Base64, Encoding};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use tempfile::TempDir;

/// The programs that will do, the smallest first.
const PROGRAMS: [&str; 4] = [
    "chromium-headless-shell",
    "chrome-headless-shell",
    "chromium",
    "google-chrome",
];

/// One page in a browser of its own, which is gone when this is dropped.
#[derive(Debug)]
pub struct Browser {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    calls: u64,
    session: Option<String>,
    complaints: Vec<String>,
    _profile: TempDir,
}

impl Browser {
    /// A page of this size, in pixels, that shows a file.
    #[must_use]
    pub fn open(file: &Path, width: u32, height: u32) -> Browser {
        let installed = |name: &&&str| {
            Command::new("which")
                .arg(name)
                .output()
                .is_ok_and(|found| found.status.success())
        };
        let program = PROGRAMS.iter().find(installed);
        let program = program.unwrap_or_else(|| panic!("no browser is installed: `tests/tools browser` does it"));
        let profile = tempfile::tempdir().unwrap();
        // The browser reads descriptor 3 and writes 4.
        let mut child = Command::new("sh")
            .args(["-c", "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1", "sh", program])
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
                "--hide-scrollbars",
            ])
            .args(["--remote-debugging-pipe", "--force-color-profile=srgb"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(format!("--window-size={width},{height}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut browser = Browser {
            input: child.stdin.take().unwrap(),
            output: BufReader::new(child.stdout.take().unwrap()),
            child,
            calls: 0,
            session: None,
            complaints: Vec::new(),
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = browser.call("Target.attachToTarget", attach);
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        browser.call("Emulation.setDeviceMetricsOverride", size);
        browser.call("Page.navigate", json!({"url": format!("file://{}", file.display())}));
        while browser.receive()["method"] != "Page.loadEventFired" {}
        browser
    }

    fn receive(&mut self) -> Value {
        let mut bytes = Vec::new();
        self.output.read_until(0, &mut bytes).unwrap();
        assert_eq!(bytes.pop(), Some(0), "the browser has ended");
        let message: Value = serde_json::from_slice(&bytes).unwrap();
        if matches!(
            message["method"].as_str(),
            Some("Log.entryAdded" | "Runtime.exceptionThrown")
        ) {
            self.complaints.push(message["params"].to_string());
        }
        message
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        self.calls += 1;
        let mut message = json!({"id": self.calls, "method": method, "params": params});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.input.write_all(format!("{message}\0").as_bytes()).unwrap();
        self.input.flush().unwrap();
        loop {
            let mut message = self.receive();
            if message["id"] == self.calls {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].take();
            }
        }
    }

    /// The value of an expression in the page; promises are waited for.
    pub fn value(&mut self, expression: &str) -> Value {
        let params = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let mut answer = self.call("Runtime.evaluate", params);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].take()
    }

    /// The text of the first element that a selector finds.
    pub fn text(&mut self, selector: &str) -> String {
        let found = self.value(&format!("document.querySelector({})?.textContent", json!(selector)));
        found
            .as_str()
            .unwrap_or_else(|| panic!("there is no {selector}"))
            .to_owned()
    }

    /// How many elements of a selector a person could see.
    pub fn visible(&mut self, selector: &str) -> u64 {
        let expression = format!(
            "[...document.querySelectorAll({})].filter((one) => one.checkVisibility()).length",
            json!(selector)
        );
        self.value(&expression).as_u64().unwrap()
    }

    /// Clicks into the middle of the first visible element that a selector finds.
    pub fn click(&mut self, selector: &str) {
        let expression = format!(
            "(() => {{ const one = [...document.querySelectorAll({0})].find((one) => one.checkVisibility()); \
             if (!one) return null; one.scrollIntoView({{block: 'center', behavior: 'instant'}}); \
             const box = one.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; }})()",
            json!(selector)
        );
        let place = self.value(&expression);
        let place = place
            .as_array()
            .unwrap_or_else(|| panic!("nobody could click {selector}"))
            .clone();
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({"type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1});
            self.call("Input.dispatchMouseEvent", event);
        }
    }

    /// Types a text, key by key.
    pub fn type_in(&mut self, text: &str) {
        for letter in text.chars() {
            for (kind, text) in [("keyDown", Some(letter)), ("keyUp", None)] {
                let mut event = json!({"type": kind, "key": letter.to_string()});
                if let Some(text) = text {
                    event["text"] = json!(text.to_string());
                }
                self.call("Input.dispatchKeyEvent", event);
            }
        }
    }

    /// Presses a key that has a name, such as `Escape`.
    pub fn press(&mut self, key: &str) {
        for kind in ["keyDown", "keyUp"] {
            self.call("Input.dispatchKeyEvent", json!({"type": kind, "key": key}));
        }
    }

    /// Whether the page is shown to somebody who prefers dark.
    pub fn prefer_dark(&mut self, dark: bool) {
        let value = if dark { "dark" } else { "light" };
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": value}]});
        self.call("Emulation.setEmulatedMedia", features);
    }

    /// What is seen, as a PNG.
    pub fn picture(&mut self) -> Vec<u8> {
        let answer = self.call(
            "Page.captureScreenshot",
            json!({"format": "png", "optimizeForSpeed": false}),
        );
        Base64::decode_vec(answer["data"].as_str().unwrap()).unwrap()
    }

    /// What the browser has complained of so far: errors of scripts, what a policy forbids.
    #[must_use]
    pub fn complaints(&self) -> &[String] {
        &self.complaints
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
