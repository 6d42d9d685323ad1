//! The live lines on a terminal: drawn on standard error, all at once, and out of the way of what is printed.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Draws a second at most.
const DRAWS: u8 = 15;

/// Lines at the bottom of the terminal.
pub(crate) struct Screen {
    lines: ProgressBar,
}

impl Screen {
    pub(crate) fn new() -> Screen {
        let target = ProgressDrawTarget::stderr_with_hz(DRAWS);
        let lines = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template("{msg}") {
            lines.set_style(style);
        }
        Screen { lines }
    }

    /// Whether anybody sees them.
    pub(crate) fn shows(&self) -> bool {
        !self.lines.is_hidden()
    }

    /// Shows this text; nothing is drawn where it is shown already.
    pub(crate) fn show(&self, text: &str) {
        if self.lines.message() != text {
            self.lines.set_message(text.to_owned());
        }
    }

    /// Takes the lines away.
    pub(crate) fn clear(&self) {
        self.lines.set_message("");
        self.lines.suspend(|| {});
    }

    /// Prints something else; the lines stay below it.
    pub(crate) fn beside(&self, print: impl FnOnce()) {
        self.lines.suspend(print);
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.lines.finish_and_clear();
    }
}
