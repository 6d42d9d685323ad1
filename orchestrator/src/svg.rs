//! Pictures as SVG: shapes and texts added one by one, the same bytes for the same picture. Texts are measured by an
//! estimate, since nothing is known of the reader's fonts, and cut with the whole text as their title.

use std::fmt::Write;

/// A picture that is being drawn. Lengths are in pixels, y grows downwards.
#[derive(Debug, Default)]
pub struct Svg {
    body: String,
}

/// A point.
pub type Point = (f64, f64);

/// A rectangle.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Area {
    /// Its left edge.
    pub x: f64,
    /// Its upper edge.
    pub y: f64,
    /// How wide it is.
    pub width: f64,
    /// How high it is.
    pub height: f64,
}

/// Fonts and what all pictures share; a picture adds its own classes.
const STYLE: &str = "text { font-family: Inter, 'Segoe UI', 'DejaVu Sans', sans-serif; fill: #1f2933; }
.mono { font-family: 'JetBrains Mono', 'DejaVu Sans Mono', monospace; }
.paper { fill: #ffffff; }
";

impl Svg {
    /// A rectangle with round corners.
    pub fn rect(&mut self, area: Area, radius: f64, class: &str) {
        let Area { x, y, width, height } = area;
        let _ = writeln!(
            self.body,
            "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"{}\" class=\"{class}\"/>",
            n(x),
            n(y),
            n(width),
            n(height),
            n(radius)
        );
    }

    /// A text whose line begins, or with class `end` ends, or with class `middle` is centred, at a point.
    pub fn text(&mut self, at: Point, class: &str, text: &str) {
        let (x, y) = (n(at.0), n(at.1));
        let _ = writeln!(
            self.body,
            "<text x=\"{x}\" y=\"{y}\" class=\"{class}\">{}</text>",
            escaped(text)
        );
    }

    /// A text in at most `width`, at `size` pixels a letter; what is cut stands in its title.
    pub fn fitted(&mut self, at: Point, class: &str, text: &str, size: f64, width: f64) {
        let short = cut(text, size, width);
        if short == text {
            return self.text(at, class, text);
        }
        let (x, y) = (n(at.0), n(at.1));
        let _ = writeln!(
            self.body,
            "<text x=\"{x}\" y=\"{y}\" class=\"{class}\"><title>{}</title>{}</text>",
            escaped(text),
            escaped(&short)
        );
    }

    /// A line through some points, its corners rounded.
    pub fn line(&mut self, points: &[Point], radius: f64, class: &str) {
        let _ = writeln!(self.body, "<path d=\"{}\" class=\"{class}\"/>", rounded(points, radius));
    }

    /// A path in SVG's own words.
    pub fn path(&mut self, path: &str, class: &str) {
        let _ = writeln!(self.body, "<path d=\"{path}\" class=\"{class}\"/>");
    }

    /// Begins a group with a title, which a reader shows where the pointer rests; [`Svg::close`] ends it.
    pub fn open(&mut self, title: &str) {
        let _ = writeln!(self.body, "<g><title>{}</title>", escaped(title));
    }

    /// Begins a group as [`Svg::open`] does, with a class and with what a page's script asks for.
    pub fn open_for(&mut self, title: &str, class: &str, data: &[(&str, &str)]) {
        let _ = write!(self.body, "<g class=\"{class}\"");
        for (name, value) in data {
            let _ = write!(self.body, " data-{name}=\"{}\"", escaped(value));
        }
        let _ = writeln!(self.body, "><title>{}</title>", escaped(title));
    }

    /// Ends a group.
    pub fn close(&mut self) {
        self.body.push_str("</g>\n");
    }

    /// The picture as a part of a page, whose style it has.
    #[must_use]
    pub fn inline(self, title: &str, width: f64, height: f64, defs: &str) -> String {
        let (width, height) = (n(width.ceil()), n(height.ceil()));
        format!(
            "<svg class=\"dag\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" role=\"img\">\n<title>{}</title>\n<defs>{defs}</defs>\n{}</svg>\n",
            escaped(title),
            self.body
        )
    }

    /// The whole picture.
    #[must_use]
    pub fn finish(self, title: &str, width: f64, height: f64, style: &str, defs: &str) -> String {
        let (width, height) = (n(width.ceil()), n(height.ceil()));
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" role=\"img\">
<title>{}</title>
<style>
{STYLE}{style}</style>
<defs>{defs}</defs>
<rect width=\"100%\" height=\"100%\" class=\"paper\"/>
{}</svg>
",
            escaped(title),
            self.body
        )
    }
}

/// A number with at most one digit behind the point.
fn n(number: f64) -> String {
    let text = format!("{number:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// Text for XML: what may not stand in it is left out (XML 1.0, 2.2).
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(' '),
            letter if letter.is_control() => {}
            letter => out.push(letter),
        }
    }
    out
}

fn rounded(points: &[Point], radius: f64) -> String {
    let mut path = String::new();
    for (at, (x, y)) in points.iter().enumerate() {
        let (before, after) = (at.checked_sub(1).and_then(|one| points.get(one)), points.get(at + 1));
        let _ = match (before, after) {
            (None, _) => write!(path, "M{} {}", n(*x), n(*y)),
            (Some(_), None) => write!(path, "L{} {}", n(*x), n(*y)),
            (Some(before), Some(after)) => {
                let (from, to) = (toward((*x, *y), *before, radius), toward((*x, *y), *after, radius));
                let (fx, fy, tx, ty) = (n(from.0), n(from.1), n(to.0), n(to.1));
                write!(path, "L{fx} {fy}Q{} {} {tx} {ty}", n(*x), n(*y))
            }
        };
    }
    path
}

/// The point on the way from a corner to another one, at most half of the way.
fn toward(from: Point, to: Point, far: f64) -> Point {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let length = dx.hypot(dy);
    if length == 0.0 {
        return from;
    }
    let part = (far / length).min(0.5);
    (from.0 + dx * part, from.1 + dy * part)
}

/// Widths of printable ASCII in thousandths of a letter's size, as DejaVu Sans has them: wider than most, so that what is
/// measured by them fits.
const WIDTHS: [u16; 95] = [
    318, 401, 460, 838, 636, 950, 780, 275, 390, 390, 500, 838, 318, 361, 318, 337, 636, 636, 636, 636, 636, 636, 636,
    636, 636, 636, 337, 337, 838, 838, 838, 531, 1000, 684, 686, 698, 770, 632, 575, 775, 752, 295, 295, 656, 557, 863,
    748, 787, 603, 787, 695, 635, 611, 732, 684, 989, 685, 611, 685, 390, 337, 390, 838, 500, 500, 613, 635, 550, 635,
    615, 352, 635, 634, 278, 278, 579, 278, 974, 634, 612, 635, 635, 411, 521, 392, 634, 592, 818, 592, 592, 525, 636,
    337, 636, 838,
];

/// How wide a text is at `size` pixels a letter, rather too much than too little.
#[must_use]
pub fn width(text: &str, size: f64) -> f64 {
    let one = |letter: char| match (letter as usize).checked_sub(32).and_then(|at| WIDTHS.get(at)) {
        Some(known) => f64::from(*known) / 1000.0,
        None if letter == '·' => 0.32,
        None => 0.62 * unicode_width::UnicodeWidthChar::width(letter).unwrap_or(0).max(1) as f64,
    };
    text.chars().map(one).sum::<f64>() * size
}

/// As much of a text as fits, with `…` where something is left out.
fn cut(text: &str, size: f64, room: f64) -> String {
    if width(text, size) <= room {
        return text.to_owned();
    }
    let mut short = text.to_owned();
    while short.pop().is_some() && width(&short, size) + size > room {}
    format!("{}…", short.trim_end())
}

impl Area {
    /// The middle of it, from left to right.
    #[must_use]
    pub fn middle(self) -> f64 {
        self.x + self.width / 2.0
    }

    /// The middle of it, from top to bottom.
    #[must_use]
    pub fn middle_y(self) -> f64 {
        self.y + self.height / 2.0
    }

    /// Its right edge.
    #[must_use]
    pub fn right(self) -> f64 {
        self.x + self.width
    }

    /// Its lower edge.
    #[must_use]
    pub fn bottom(self) -> f64 {
        self.y + self.height
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped_and_cut_with_the_whole_as_title() {
        let mut svg = Svg::default();
        svg.fitted((1.0, 2.5), "a", "a <b> & \"c\"", 10.0, 500.0);
        svg.fitted((1.0, 2.0), "a", "a name that is far too long", 10.0, 60.0);
        let whole = svg.finish("t", 10.0, 10.0, "", "");
        assert!(whole.contains("<text x=\"1\" y=\"2.5\" class=\"a\">a &lt;b&gt; &amp; &quot;c&quot;</text>"));
        assert!(
            whole.contains("<title>a name that is far too long</title>a name t…</text>"),
            "{whole}"
        );
    }

    #[test]
    fn corners_are_rounded_as_far_as_there_is_room() {
        let path = rounded(&[(0.0, 0.0), (10.0, 0.0), (10.0, 4.0)], 5.0);
        assert_eq!(path, "M0 0L5 0Q10 0 10 2L10 4");
    }
}
