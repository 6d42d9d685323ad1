//! A virtual machine of a lab, as somebody who watches its console has it.

use crate::lab::Lab;
use crate::until;
use std::path::PathBuf;

/// A guest of a lab.
#[derive(Debug)]
pub struct Guest<'lab> {
    lab: &'lab Lab,
    /// Its name in the lab.
    pub name: String,
    said: PathBuf,
}

impl<'lab> Guest<'lab> {
    /// Starts one on site `a`, with options of `lab guest`.
    pub fn start(lab: &'lab Lab, name: &str, mac: &str, options: &[&str]) -> Self {
        lab.verb(&[&["guest", name, "a", "--mac", mac], options].concat());
        let said = PathBuf::from(lab.verb(&["disk", name]).trim()).with_file_name("console.log");
        Guest {
            lab,
            name: name.to_owned(),
            said,
        }
    }

    /// All that it has said so far.
    #[must_use]
    pub fn console(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.said).unwrap()).replace('\r', "")
    }

    /// Waits until a line of its console holds a text, and gives that line; fails the test after a number of seconds.
    pub fn says(&self, text: &str, seconds: u64) -> String {
        let what = format!("{} says {text:?}", self.name);
        // The last line may still be being written.
        let whole = |console: &str| console.rfind('\n').map_or(0, |end| end + 1);
        let line = |console: String| {
            let mut lines = console[..whole(&console)].lines();
            lines.find(|line| line.contains(text)).map(str::to_owned)
        };
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            until(&what, seconds, || line(self.console()))
        }));
        found.unwrap_or_else(|_| {
            let console = self.console();
            let own = |line: &&str| line.contains("guest: ") || line.contains("lab: ");
            let lines: Vec<&str> = console.lines().filter(own).collect();
            panic!("not within {seconds} s: {what}\n{}", lines.join("\n"))
        })
    }

    /// How many lines of its console hold a text.
    #[must_use]
    pub fn times(&self, text: &str) -> usize {
        self.console().lines().filter(|line| line.contains(text)).count()
    }

    /// Obeys a verb of the lab that takes this guest, such as `kill`, `start`, `guest-stop`.
    pub fn verb(&self, verb: &str) {
        self.lab.verb(&[verb, &self.name]);
    }
}
