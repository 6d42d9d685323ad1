//! A kept plan as one page of HTML that needs nothing else: a summary, the picture of who waits for whom, what is unknown,
//! the diffs by host, and a search. Its policy lets no script run but its own; everything that a plan holds is text.

use super::kept::{chosen, made, withheld};
use super::layout::count;
use super::lines::mark;
use super::{StepResult, StepStatus, json};
use crate::run::Counts;
use crate::run::record::{Input, Record};
use crate::saved::Plan;
use base64ct::{Base64, Encoding};
use okd_agent::Value;
use okd_agent::diff::{Change, Sign, TextChange, TextKind};
use sha2::{Digest, Sha256};
use std::fmt::Write;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// A step with its place on the page.
struct Entry<'a> {
    number: usize,
    record: &'a Record,
    told: &'a StepResult,
}

/// The page.
#[must_use]
pub fn page(kept: &Plan) -> String {
    let records = kept.outcome.records.values().flatten();
    let told = records.filter_map(|record| Some((record, record.told.as_deref()?)));
    let entries: Vec<Entry<'_>> = told
        .enumerate()
        .map(|(number, (record, told))| Entry { number, record, told })
        .collect();
    let mut out = String::new();
    let playbook = kept.choices.playbook.display().to_string();
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src '{}'; script-src '{}'; base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n<title>Plan of {}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n",
        pinned(STYLE),
        pinned(SCRIPT),
        escaped(&playbook)
    );
    bar(&mut out, kept, &entries, &playbook);
    // What is as it should be is there, and out of the way.
    out.push_str("<main class=\"hide-ok hide-skipped\">\n");
    facts(&mut out, kept);
    hosts(&mut out, kept);
    unknown(&mut out, &entries);
    missing(&mut out, kept);
    picture(&mut out, kept);
    for host in kept.outcome.counts.keys() {
        steps_of(&mut out, host, &entries, kept.outcome.counts.get(host));
    }
    out.push_str(
        "<p class=\"empty\">No step is shown: search for something else, or show more kinds of steps.</p>\n</main>\n",
    );
    let _ = write!(
        out,
        "<footer>Made by okd-play {} with nothing to load and nothing to send.</footer>\n<script>{SCRIPT}</script>\n</body>\n</html>\n",
        escaped(&kept.made.version)
    );
    out
}

/// A part of the page as its policy names it.
fn pinned(text: &str) -> String {
    format!("sha256-{}", Base64::encode_string(&Sha256::digest(text)))
}

/// Text for HTML, in elements and in quoted attributes. Control characters are shown, so that nothing is hidden by them.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(letter),
            // Marks that change the direction of text show lines in another order than they have.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => out.extend(letter.escape_unicode()),
            letter if letter.is_control() => out.extend(letter.escape_default()),
            letter => out.push(letter),
        }
    }
    out
}

/// The kinds of ends that are told apart on the page.
fn kind(status: StepStatus) -> &'static str {
    match status {
        StepStatus::Ok => "ok",
        StepStatus::Changed => "changed",
        StepStatus::Unknown => "unknown",
        StepStatus::Skipped => "skipped",
        StepStatus::Failed
        | StepStatus::Unreachable
        | StepStatus::Ignored
        | StepStatus::Rescued
        | StepStatus::Blocked
        | StepStatus::Refused => "failed",
    }
}

const KINDS: [(&str, &str); 5] = [
    ("changed", "to change"),
    ("unknown", "unknown"),
    ("failed", "failed or blocked"),
    ("ok", "same"),
    ("skipped", "skipped"),
];

fn bar(out: &mut String, kept: &Plan, entries: &[Entry<'_>], playbook: &str) {
    let _ = write!(
        out,
        "<header class=\"bar\">\n<div class=\"title\"><h1>{}</h1><p>{}, {}</p><p class=\"right\">planned {} by okd-play {}</p></div>\n<div class=\"tools\">\n\
         <input id=\"q\" type=\"search\" placeholder=\"Search steps, hosts, files, lines   ( / )\" aria-label=\"Search\" autocomplete=\"off\" spellcheck=\"false\">\n\
         <output id=\"found\" for=\"q\"></output>\n",
        escaped(playbook),
        count(kept.outcome.counts.len(), "host"),
        count(entries.len(), "step"),
        escaped(&made(kept)),
        escaped(&kept.made.version)
    );
    for (name, word) in KINDS {
        let number = entries.iter().filter(|entry| kind(entry.told.status) == name).count();
        if number > 0 {
            let _ = writeln!(
                out,
                "<button type=\"button\" class=\"chip {name}\" data-status=\"{name}\" aria-pressed=\"true\">{number} {word}</button>"
            );
        }
    }
    out.push_str(
        "<button type=\"button\" class=\"tool\" id=\"fold\">Unfold all</button>\n\
         <button type=\"button\" class=\"tool\" id=\"theme\" aria-label=\"Light or dark\">\u{25d0}</button>\n</div>\n</header>\n",
    );
}

fn facts(out: &mut String, kept: &Plan) {
    let chosen = chosen(kept);
    if chosen.is_empty() {
        return;
    }
    out.push_str("<dl class=\"facts\">\n");
    for (name, value) in chosen {
        let _ = writeln!(out, "<dt>{name}</dt><dd>{}</dd>", escaped(&value));
    }
    out.push_str("</dl>\n");
}

/// Numbers of the kinds in [`KINDS`].
fn numbers(counts: &Counts) -> [(&'static str, u32); 5] {
    let failed = counts.failed + counts.unreachable + counts.blocked + counts.refused + counts.ignored + counts.rescued;
    [
        ("changed", counts.changed),
        ("unknown", counts.unknown),
        ("failed", failed),
        ("ok", counts.ok),
        ("skipped", counts.skipped),
    ]
}

fn few(counts: &Counts) -> String {
    let words = numbers(counts).into_iter().zip(KINDS);
    let some = words.filter(|((_, number), _)| *number > 0);
    let some: Vec<String> = some
        .map(|((_, number), (_, word))| format!("{number} {word}"))
        .collect();
    some.join(", ")
}

fn hosts(out: &mut String, kept: &Plan) {
    out.push_str("<h2>Hosts</h2>\n<div class=\"hosts\">\n");
    for (host, counts) in &kept.outcome.counts {
        let assumed = match kept.outcome.assumed.contains(host) {
            true => "<span class=\"few\">not there yet: planned as a blank host</span>",
            false => "",
        };
        let _ = writeln!(
            out,
            "<a class=\"card\" href=\"#host-{0}\"><b>{0}</b>{1}<span class=\"few\">{2}</span> {assumed}</a>",
            escaped(host),
            share(counts),
            few(counts)
        );
    }
    out.push_str("</div>\n");
}

/// How much of a host's steps is what, as a row of bars.
fn share(counts: &Counts) -> String {
    let numbers = numbers(counts);
    let total: u32 = numbers.iter().map(|(_, number)| number).sum();
    let mut x = 0.0;
    let mut bars = String::new();
    for (name, number) in numbers {
        let wide = f64::from(number) * 100.0 / f64::from(total.max(1));
        if number > 0 {
            let _ = write!(
                bars,
                "<rect class=\"fill-{name}\" x=\"{x:.2}\" width=\"{wide:.2}\" height=\"6\"/>"
            );
        }
        x += wide;
    }
    format!("<svg viewBox=\"0 0 100 6\" preserveAspectRatio=\"none\" aria-hidden=\"true\">{bars}</svg>")
}

fn picture(out: &mut String, kept: &Plan) {
    // The drawing's texts were escaped when it was made, by this build.
    let _ = write!(
        out,
        "<div class=\"head\"><h2>Who waits for whom</h2><button type=\"button\" class=\"tool\" id=\"fit\">Actual size</button></div>\n<div class=\"picture card fit\">\n{}</div>\n",
        kept.drawing
    );
}

fn unknown(out: &mut String, entries: &[Entry<'_>]) {
    let unknown: Vec<&Entry<'_>> = entries
        .iter()
        .filter(|entry| entry.told.status == StepStatus::Unknown)
        .collect();
    if unknown.is_empty() {
        return;
    }
    out.push_str("<h2>Unknown until applied <span class=\"aside\">What changes something is asked about when it becomes known.</span></h2>\n<ul class=\"list card\">\n");
    let mut seen: Vec<(&str, &str, &str)> = Vec::new();
    for Entry { number, told, .. } in &unknown {
        let group = (told.host.as_str(), told.path.as_str(), told.msg.as_str());
        if seen.contains(&group) {
            continue;
        }
        seen.push(group);
        let alike = unknown.iter().map(|entry| entry.told);
        let alike = alike.filter(|other| (other.host.as_str(), other.path.as_str(), other.msg.as_str()) == group);
        let items: Vec<String> = alike.filter_map(|told| told.item.as_deref().map(escaped)).collect();
        let items = match items.is_empty() {
            true => String::new(),
            false => format!(" ({})", items.join(", ")),
        };
        let _ = writeln!(
            out,
            "<li><b>{}</b><a href=\"#s{number}\">{}{items}</a><span class=\"why\">{}</span></li>",
            escaped(&told.host),
            escaped(&told.task),
            escaped(&told.msg)
        );
    }
    out.push_str("</ul>\n");
}

fn missing(out: &mut String, kept: &Plan) {
    let missing = withheld(kept);
    if missing.is_empty() {
        return;
    }
    out.push_str("<h2>Not in the plan</h2>\n<ul class=\"list card\">\n");
    for one in missing {
        let _ = writeln!(out, "<li>{}</li>", escaped(&one));
    }
    out.push_str("</ul>\n");
}

fn steps_of(out: &mut String, host: &str, entries: &[Entry<'_>], counts: Option<&Counts>) {
    let own: Vec<&Entry<'_>> = entries.iter().filter(|entry| entry.told.host == host).collect();
    if own.is_empty() {
        return;
    }
    let _ = writeln!(
        out,
        "<section class=\"host\" id=\"host-{0}\">\n<h2>{0} <small>{1}</small></h2>",
        escaped(host),
        counts.map(few).unwrap_or_default()
    );
    let mut play = "";
    for entry in own {
        if entry.told.play != play {
            play = &entry.told.play;
            let _ = writeln!(out, "<h3 class=\"play\">{}</h3>", escaped(play));
        }
        let others = entries.iter().filter(|other| same(entry.told, other.told));
        let others: Vec<&str> = others.map(|other| other.told.host.as_str()).collect();
        step(out, entry, &others);
    }
    out.push_str("</section>\n");
}

/// Whether two hosts have the same to do for a step.
fn same(one: &StepResult, other: &StepResult) -> bool {
    one.host != other.host && !one.diff.is_empty() && super::step::alike(one, other, 0)
}

fn step(out: &mut String, entry: &Entry<'_>, others: &[&str]) {
    let Entry { number, record, told } = entry;
    let name = kind(told.status);
    let sign = match name {
        "changed" => "\u{b1}",
        "unknown" => "?",
        "ok" => "=",
        "skipped" => "\u{2013}",
        _ => "!",
    };
    let item = told.item.as_ref().map_or(String::new(), |item| {
        format!("<span class=\"item\">{}</span>", escaped(item))
    });
    let _ = write!(
        out,
        "<details class=\"step card\" id=\"s{number}\" data-status=\"{name}\" data-host=\"{}\" data-step=\"{}\">\n<summary><span class=\"mark {name}\" title=\"{}\">{sign}</span>\
         <span class=\"name\">{}</span>{item}<span class=\"what\">{}</span><span class=\"where\">{} \u{b7} {}</span></summary>\n<div class=\"body\">\n",
        escaped(&told.host),
        escaped(&told.path),
        told.status.word(),
        escaped(&told.task),
        if told.show_diff {
            gist(&told.diff)
        } else {
            String::new()
        },
        escaped(&told.module),
        escaped(&told.place)
    );
    let mut line = |text: String| {
        let _ = writeln!(out, "<p class=\"dim\">{}</p>", escaped(&text));
    };
    if let Some(other) = &told.delegated {
        line(format!("on {other}"));
    }
    if let Some(by) = &told.handler {
        line(match by.as_slice() {
            [] => "a handler".to_owned(),
            by => format!("a handler, notified by {}", by.join(", ")),
        });
    }
    if !others.is_empty() {
        line(format!("the same on {}", others.join(", ")));
    }
    if !told.notifies.is_empty() {
        line(format!("notifies {}", told.notifies.join(", ")));
    }
    match told.status {
        StepStatus::Unknown => line(format!("unknown until applied: {}", told.msg)),
        StepStatus::Skipped => line(format!("skipped, since this does not hold: {}", told.msg)),
        _ if !told.msg.is_empty() => line(told.msg.clone()),
        _ => {}
    }
    match told.show_diff {
        true => changes(out, &told.diff),
        false => out.push_str("<p class=\"dim\">Its diff is not shown.</p>\n"),
    }
    for note in &told.notes {
        let _ = writeln!(out, "<p class=\"dim\">{}</p>", escaped(note));
    }
    if let Some(input) = &record.input {
        self::input(out, input);
    }
    out.push_str("</div>\n</details>\n");
}

/// What a step changes, in a few words.
fn gist(changes: &[Change]) -> String {
    let mut words = Vec::new();
    for change in changes {
        words.push(match change {
            Change::Text(text) => {
                let lines = |wanted: Sign| {
                    let all = text.hunks.iter().flat_map(|hunk| &hunk.lines);
                    all.filter(|(sign, _)| *sign == wanted).count()
                };
                let path = escaped(&text.path);
                match (text.kind, lines(Sign::Added), lines(Sign::Removed)) {
                    (TextKind::Binary, ..) => path,
                    (_, added, removed) => format!("{path} <ins>+{added}</ins> <del>\u{2212}{removed}</del>"),
                }
            }
            Change::Field { of, name, after, .. } => escaped(&format!("{of} {name} {after}")),
            Change::Item { sign, text } => escaped(&format!("{} {text}", mark(*sign))),
            Change::Act(text) => escaped(text),
        });
    }
    let more = words.len().saturating_sub(2);
    words.truncate(2);
    let mut text = words.join(", ");
    if more > 0 {
        let _ = write!(text, ", {more} more");
    }
    text
}

fn changes(out: &mut String, changes: &[Change]) {
    let mut rest = changes;
    while let Some(first) = rest.first() {
        let run = rest
            .iter()
            .take_while(|change| std::mem::discriminant(*change) == std::mem::discriminant(first))
            .count();
        let (these, behind) = rest.split_at(run);
        match first {
            Change::Field { .. } => fields(out, these),
            Change::Item { .. } => items(out, these),
            Change::Act(_) => {
                for change in these {
                    if let Change::Act(text) = change {
                        let _ = writeln!(out, "<p>{}</p>", escaped(text));
                    }
                }
            }
            Change::Text(_) => {
                for change in these {
                    if let Change::Text(text) = change {
                        file(out, text);
                    }
                }
            }
        }
        rest = behind;
    }
}

fn fields(out: &mut String, changes: &[Change]) {
    out.push_str("<table class=\"fields\">\n");
    for change in changes {
        if let Change::Field {
            of,
            name,
            before,
            after,
        } = change
        {
            let none = |text: &str| {
                if text.is_empty() {
                    "none".to_owned()
                } else {
                    escaped(text)
                }
            };
            let _ = writeln!(
                out,
                "<tr><td><code>{}</code></td><td>{}</td><td><del>{}</del> \u{2192} <ins>{}</ins></td></tr>",
                escaped(of),
                escaped(name),
                none(before),
                none(after)
            );
        }
    }
    out.push_str("</table>\n");
}

fn items(out: &mut String, changes: &[Change]) {
    out.push_str("<p class=\"items\">");
    for change in changes {
        if let Change::Item { sign, text } = change {
            let text = escaped(&format!("{} {text}", mark(*sign)));
            let _ = match sign {
                Sign::Added => write!(out, "<ins>{text}</ins> "),
                Sign::Removed => write!(out, "<del>{text}</del> "),
                Sign::Same => write!(out, "<span>{text}</span> "),
            };
        }
    }
    out.push_str("</p>\n");
}

fn file(out: &mut String, text: &TextChange) {
    let word = match text.kind {
        TextKind::New => "new",
        TextKind::Edited => "edited",
        TextKind::Removed => "removed",
        TextKind::Binary => "not text",
    };
    let note = if text.note.is_empty() {
        String::new()
    } else {
        format!("<span>{}</span>", escaped(&text.note))
    };
    let _ = writeln!(
        out,
        "<figure class=\"file\"><figcaption><code>{}</code><span>{word}</span>{note}</figcaption>",
        escaped(&text.path)
    );
    if !text.hunks.is_empty() {
        out.push_str("<pre class=\"diff\">");
    }
    for hunk in &text.hunks {
        if text.kind == TextKind::Edited {
            let _ = write!(
                out,
                "<span class=\"h\">@@ -{},{} +{},{} @@</span>",
                hunk.old_start, hunk.old_lines, hunk.new_start, hunk.new_lines
            );
        }
        for (sign, line) in &hunk.lines {
            let class = match sign {
                Sign::Added => " class=\"a\"",
                Sign::Removed => " class=\"d\"",
                Sign::Same => "",
            };
            let _ = write!(out, "<span{class}>{}{}</span>", mark(*sign), escaped(line));
        }
        if hunk.no_final_newline.0 || hunk.no_final_newline.1 {
            out.push_str("<span class=\"n\">no newline at the end</span>");
        }
    }
    out.push_str(if text.hunks.is_empty() {
        "</figure>\n"
    } else {
        "</pre></figure>\n"
    });
}

/// What the step is made of.
fn input(out: &mut String, input: &Input) {
    let args = json::value(&Value::Map(input.args.clone()));
    let mut text = serde_json::to_string_pretty(&args).unwrap_or_default();
    for (name, value) in &input.env {
        let _ = write!(text, "\n{name}={value}");
    }
    if let Some(content) = &input.content {
        let _ = write!(
            text,
            "\ncontent: {} bytes, SHA-256 {}",
            content.len(),
            okd_agent::diff::sha256(content)
        );
    }
    let _ = writeln!(
        out,
        "<details class=\"input\"><summary>input of {}</summary><pre>{}</pre></details>",
        escaped(&input.module),
        escaped(&text)
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::result;
    use okd_agent::diff;
    use okd_agent::value::map;

    #[test]
    fn nothing_that_a_plan_holds_is_markup() {
        const EVIL: &str = "</pre><script>alert('x')</script>\"'&\u{202e}\u{1b}[0m";
        let mut told = result(EVIL, EVIL, StepStatus::Changed);
        told.diff = vec![
            Change::Field {
                of: EVIL.to_owned(),
                name: EVIL.to_owned(),
                before: EVIL.to_owned(),
                after: EVIL.to_owned(),
            },
            Change::Item {
                sign: Sign::Added,
                text: EVIL.to_owned(),
            },
            Change::Act(EVIL.to_owned()),
        ];
        told.diff
            .extend(diff::text(EVIL, Some(b"a\n"), Some(EVIL.as_bytes()), EVIL));
        (told.item, told.msg, told.delegated) = (Some(EVIL.to_owned()), EVIL.to_owned(), Some(EVIL.to_owned()));
        (told.notes, told.notifies, told.handler) = (
            vec![EVIL.to_owned()],
            vec![EVIL.to_owned()],
            Some(vec![EVIL.to_owned()]),
        );
        (told.place, told.module, told.play, told.path) =
            (EVIL.to_owned(), EVIL.to_owned(), EVIL.to_owned(), EVIL.to_owned());
        let record = Record {
            input: Some(Input {
                module: EVIL.to_owned(),
                args: map([(EVIL, EVIL.into())]),
                env: vec![(EVIL.to_owned(), EVIL.to_owned())],
                content: None,
            }),
            told: Some(Box::new(told)),
            ..Record::new(StepStatus::Changed)
        };
        let mut kept = Plan {
            made: crate::saved::Made::default(),
            choices: crate::saved::Choices::default(),
            files: crate::source::files::Sights::default(),
            outcome: crate::run::Outcome::default(),
            drawing: String::new(),
        };
        kept.choices.playbook = EVIL.into();
        kept.choices.limit = Some(EVIL.to_owned());
        kept.outcome.counts.insert(EVIL.to_owned(), Counts::default());
        kept.outcome
            .records
            .insert((EVIL.to_owned(), EVIL.to_owned()), vec![record]);
        let page = page(&kept);
        assert_eq!(page.matches("<script>").count(), 1, "{page}");
        assert!(!page.contains("alert('x')") && !page.contains('\u{202e}') && !page.contains('\u{1b}'));
        assert!(page.matches("alert(&#39;x&#39;)").count() > 15);
    }
}
