//! Lines of fields that tabs part; what would part them by itself is written with a backslash.

/// One line, without its end.
pub(super) fn line(fields: &[&str]) -> String {
    let fields: Vec<String> = fields.iter().map(|field| escaped(field)).collect();
    fields.join("\t")
}

/// The fields of a line.
pub(super) fn fields(line: &str) -> Vec<String> {
    line.split('\t').map(plain).collect()
}

fn escaped(field: &str) -> String {
    field.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n")
}

fn plain(field: &str) -> String {
    let mut text = String::with_capacity(field.len());
    let mut chars = field.chars();
    while let Some(next) = chars.next() {
        text.push(match next {
            '\\' => match chars.next() {
                Some('t') => '\t',
                Some('n') => '\n',
                Some(other) => other,
                None => '\\',
            },
            other => other,
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn fields_survive(all in prop::collection::vec(".*", 1..5), end in "[\\\\\t\nn]*") {
            let mut all: Vec<&str> = all.iter().map(String::as_str).collect();
            all.push(&end);
            let line = line(&all);
            prop_assert!(!line.contains('\n'));
            prop_assert_eq!(fields(&line), all);
        }
    }
}
