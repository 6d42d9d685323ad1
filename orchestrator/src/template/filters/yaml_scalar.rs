//! What a text allows when it is written as a YAML scalar: PyYAML's analysis, and its escapes.

/// The styles that a text may take.
pub(super) struct Analysis {
    pub(super) multiline: bool,
    pub(super) flow_plain: bool,
    pub(super) block_plain: bool,
    pub(super) single_quoted: bool,
}

/// Line breaks of YAML 1.1.
pub(super) fn is_break(letter: char) -> bool {
    matches!(letter, '\n' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn is_space(letter: Option<&char>) -> bool {
    letter.is_none_or(|letter| matches!(letter, '\0' | ' ' | '\t' | '\r') || is_break(*letter))
}

/// Letters that stand for themselves outside escapes.
fn is_printable(letter: char) -> bool {
    matches!(letter, '\n' | ' '..='~')
        || matches!(letter, '\u{85}' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..='\u{10fffe}')
            && letter != '\u{feff}'
}

impl Analysis {
    pub(super) fn of(text: &str) -> Analysis {
        let letters: Vec<char> = text.chars().collect();
        if letters.is_empty() {
            return Analysis {
                multiline: false,
                flow_plain: false,
                block_plain: true,
                single_quoted: true,
            };
        }
        let document = text.starts_with("---") || text.starts_with("...");
        let (flow_mark, block_mark) = indicators(&letters);
        let (flow_mark, block_mark) = (flow_mark || document, block_mark || document);
        let line_breaks = letters.iter().any(|letter| is_break(*letter));
        let special = letters.iter().any(|letter| !is_printable(*letter));
        let edge = |letter: Option<&char>| letter.is_some_and(|letter| *letter == ' ' || is_break(*letter));
        let ragged = edge(letters.first()) || edge(letters.last());
        let follows =
            |one: fn(char) -> bool, two: fn(char) -> bool| letters.windows(2).any(|pair| one(pair[0]) && two(pair[1]));
        let break_space = follows(is_break, |letter| letter == ' ');
        let space_break = follows(|letter| letter == ' ', is_break);
        let plain = !(ragged || break_space || space_break || special || line_breaks);
        Analysis {
            multiline: line_breaks,
            flow_plain: plain && !flow_mark,
            block_plain: plain && !block_mark,
            single_quoted: !(break_space || space_break || special),
        }
    }
}

/// Whether a mark stands where it would mean something: in flow context, in block context.
fn indicators(letters: &[char]) -> (bool, bool) {
    let (mut flow, mut block) = (false, false);
    for (index, letter) in letters.iter().enumerate() {
        let followed = is_space(letters.get(index + 1));
        let preceded = index == 0 || is_space(letters.get(index - 1));
        match letter {
            '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`'
                if index == 0 =>
            {
                (flow, block) = (true, true);
            }
            '?' | ':' if index == 0 => {
                flow = true;
                block |= followed;
            }
            '-' if index == 0 && followed => (flow, block) = (true, true),
            ',' | '?' | '[' | ']' | '{' | '}' if index > 0 => flow = true,
            ':' => {
                flow = true;
                block |= followed;
            }
            '#' if preceded => (flow, block) = (true, true),
            _ => {}
        }
    }
    (flow, block)
}

/// A letter inside double quotes.
pub(super) fn double_quoted_letter(letter: char) -> String {
    let escape = match letter {
        '\0' => '0',
        '\u{7}' => 'a',
        '\u{8}' => 'b',
        '\t' => 't',
        '\n' => 'n',
        '\u{b}' => 'v',
        '\u{c}' => 'f',
        '\r' => 'r',
        '\u{1b}' => 'e',
        '"' => '"',
        '\\' => '\\',
        '\u{85}' => 'N',
        '\u{2028}' => 'L',
        '\u{2029}' => 'P',
        _ if is_printable(letter) => return letter.to_string(),
        _ => {
            let code = u32::from(letter);
            return match code {
                0..=0xff => format!("\\x{code:02X}"),
                0x100..=0xffff => format!("\\u{code:04X}"),
                _ => format!("\\U{code:08X}"),
            };
        }
    };
    format!("\\{escape}")
}
