//! What is marked, and how it looks. Code names a label; a theme turns it into a colour or into nothing, so colours never
//! carry what the words do not say.

use anstyle::{AnsiColor, Effects, Style};

/// What a piece of text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Label {
    /// Nothing special.
    Plain,
    /// A host's name.
    Host,
    /// What carries little: places, numbers of lines, hints.
    Dim,
    /// A file or a unit that changes.
    Path,
    /// What comes.
    Added,
    /// What goes.
    Removed,
    /// Where in a file a change stands.
    Hunk,
    /// Done, or to be done.
    Changed,
    /// Not known until applied.
    Unknown,
    /// Failed, with what belongs to it.
    Failed,
    /// What begins a line that sums up.
    Title,
}

impl Label {
    fn style(self) -> Style {
        let colour = |colour: AnsiColor| Style::new().fg_color(Some(colour.into()));
        match self {
            Label::Plain => Style::new(),
            Label::Host => Style::new().effects(Effects::BOLD),
            Label::Dim => Style::new().effects(Effects::DIMMED),
            Label::Path => colour(AnsiColor::Blue).effects(Effects::BOLD),
            Label::Added => colour(AnsiColor::Green),
            Label::Removed => colour(AnsiColor::Red),
            Label::Hunk => colour(AnsiColor::Cyan),
            Label::Changed | Label::Unknown => colour(AnsiColor::Yellow),
            Label::Failed => colour(AnsiColor::Red).effects(Effects::BOLD),
            Label::Title => Style::new().effects(Effects::BOLD),
        }
    }
}

/// What labels become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ink {
    /// Nothing.
    None,
    /// Colours of a terminal.
    Colour,
    /// Their names, for tests.
    #[cfg(test)]
    Names,
}

/// How text looks on this output.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Theme {
    /// What labels become.
    pub(crate) ink: Ink,
    /// Whether signs outside of ASCII may be used.
    pub(crate) unicode: bool,
    /// The terminal's width; `None` where there is no terminal, and no line is broken.
    pub(crate) width: Option<usize>,
}

/// How wide a line with something at its right end is where there is no terminal.
const WITHOUT_TERMINAL: usize = 100;

impl Theme {
    /// Columns that a line with something at its right end may have.
    pub(crate) fn columns(&self) -> usize {
        self.width.unwrap_or(WITHOUT_TERMINAL)
    }

    /// The text with its mark.
    pub(crate) fn paint(&self, label: Label, text: &str) -> String {
        match self.ink {
            _ if text.is_empty() || label == Label::Plain => text.to_owned(),
            Ink::None => text.to_owned(),
            Ink::Colour => {
                let style = label.style();
                format!("{style}{text}{style:#}")
            }
            #[cfg(test)]
            Ink::Names => format!("<{}>{text}</>", format!("{label:?}").to_lowercase()),
        }
    }

    /// A sign, or what stands for it in ASCII.
    pub(crate) fn sign(&self, sign: &'static str, ascii: &'static str) -> &'static str {
        if self.unicode { sign } else { ascii }
    }

    pub(crate) fn more(&self) -> &'static str {
        self.sign("…", "...")
    }

    pub(crate) fn arrow(&self) -> &'static str {
        self.sign("→", "->")
    }

    pub(crate) fn done(&self) -> &'static str {
        self.sign("✓", "*")
    }

    pub(crate) fn failed(&self) -> &'static str {
        self.sign("✗", "x")
    }
}

/// Whether the locale's characters are UTF-8.
pub(crate) fn utf8_locale() -> bool {
    let names = ["LC_ALL", "LC_CTYPE", "LANG"];
    let locale = names
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    locale.is_none_or(|locale| {
        let locale = locale.to_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_go_around_the_text_and_leave_it_as_it_is() {
        let theme = |ink| Theme {
            ink,
            unicode: true,
            width: None,
        };
        assert_eq!(theme(Ink::None).paint(Label::Added, "+ bind"), "+ bind");
        assert_eq!(theme(Ink::Names).paint(Label::Added, "+ bind"), "<added>+ bind</>");
        let coloured = theme(Ink::Colour).paint(Label::Added, "+ bind");
        assert_eq!(coloured, "\u{1b}[32m+ bind\u{1b}[0m");
    }
}
