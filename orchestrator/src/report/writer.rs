//! Where the report goes. Whatever is written passes the scrubber, and the live lines make room for it.

use super::screen::Screen;
use super::scrub;
use std::io::Write;

/// Standard output and standard error, or what stands for them in a test.
pub(crate) struct Writer {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    screen: Option<Screen>,
}

impl Writer {
    /// This process's; with live lines where they are asked for and standard error is a terminal.
    pub(crate) fn process(live: bool) -> Writer {
        Writer {
            out: Box::new(std::io::stdout()),
            err: Box::new(std::io::stderr()),
            screen: live.then(Screen::new).filter(Screen::shows),
        }
    }

    /// Buffers.
    #[cfg(test)]
    pub(crate) fn into(out: Box<dyn Write + Send>, err: Box<dyn Write + Send>) -> Writer {
        Writer { out, err, screen: None }
    }

    /// Whether there are live lines.
    pub(crate) fn live(&self) -> bool {
        self.screen.is_some()
    }

    /// Writes to standard output; a closed pipe is no error.
    pub(crate) fn out(&mut self, text: &str) {
        put(&mut self.out, self.screen.as_ref(), text);
    }

    /// Writes to standard error.
    pub(crate) fn err(&mut self, text: &str) {
        put(&mut self.err, self.screen.as_ref(), text);
    }

    /// Shows these lines in the place of the live ones.
    pub(crate) fn show(&mut self, lines: &[String]) {
        if let Some(screen) = &self.screen {
            screen.show(&scrub::clean(&lines.join("\n")));
        }
    }

    /// Takes the live lines away.
    pub(crate) fn clear(&mut self) {
        if let Some(screen) = &self.screen {
            screen.clear();
        }
    }
}

fn put(to: &mut dyn Write, screen: Option<&Screen>, text: &str) {
    if text.is_empty() {
        return;
    }
    let text = scrub::clean(text);
    let mut write = || {
        let _ = to.write_all(text.as_bytes());
        let _ = to.flush();
    };
    match screen {
        Some(screen) => screen.beside(write),
        None => write(),
    }
}
