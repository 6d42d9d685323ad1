//! A keyboard as QEMU knows it: the names of its keys, and the keys by which text is typed where the guest takes it for a US one, as
//! boot loaders do.

/// Keys that are pressed by names of more than a letter or digit (QEMU's `QKeyCode`).
const NAMES: &[&str] = &[
    "ret",
    "tab",
    "esc",
    "spc",
    "backspace",
    "delete",
    "insert",
    "home",
    "end",
    "pgup",
    "pgdn",
    "up",
    "down",
    "left",
    "right",
    "f1",
    "f2",
    "f3",
    "f4",
    "f5",
    "f6",
    "f7",
    "f8",
    "f9",
    "f10",
    "f11",
    "f12",
    "minus",
    "equal",
    "bracket_left",
    "bracket_right",
    "semicolon",
    "apostrophe",
    "grave_accent",
    "backslash",
    "comma",
    "dot",
    "slash",
    "shift",
    "shift_r",
    "ctrl",
    "ctrl_r",
    "alt",
    "alt_r",
    "altgr",
    "meta_l",
    "meta_r",
    "menu",
    "caps_lock",
    "num_lock",
    "scroll_lock",
    "sysrq",
    "print",
    "pause",
];

/// What stands on the keys of a US keyboard beside letters, without and with shift.
const SIGNS: &[(char, char, &str)] = &[
    ('-', '_', "minus"),
    ('=', '+', "equal"),
    ('[', '{', "bracket_left"),
    (']', '}', "bracket_right"),
    (';', ':', "semicolon"),
    ('\'', '"', "apostrophe"),
    ('`', '~', "grave_accent"),
    ('\\', '|', "backslash"),
    (',', '<', "comma"),
    ('.', '>', "dot"),
    ('/', '?', "slash"),
    ('1', '!', "1"),
    ('2', '@', "2"),
    ('3', '#', "3"),
    ('4', '$', "4"),
    ('5', '%', "5"),
    ('6', '^', "6"),
    ('7', '&', "7"),
    ('8', '*', "8"),
    ('9', '(', "9"),
    ('0', ')', "0"),
];

/// Whether there is such a key, alone or with others that are held, such as `ctrl-x`.
#[must_use]
pub fn is_key(name: &str) -> bool {
    let single = |part: &str| {
        matches!(part.as_bytes(), [byte] if byte.is_ascii_lowercase() || byte.is_ascii_digit()) || NAMES.contains(&part)
    };
    name.split('-').all(single)
}

/// All names of more than a letter or digit.
pub fn names() -> impl Iterator<Item = &'static str> {
    NAMES.iter().copied()
}

/// The key of a character; `None` where a US keyboard has none. A line's end is the return key.
#[must_use]
pub fn key(character: char) -> Option<String> {
    match character {
        'a'..='z' => Some(character.to_string()),
        'A'..='Z' => Some(format!("shift-{}", character.to_ascii_lowercase())),
        ' ' => Some("spc".to_owned()),
        '\n' => Some("ret".to_owned()),
        '\t' => Some("tab".to_owned()),
        _ => SIGNS.iter().find_map(|(plain, shifted, name)| match character {
            c if c == *plain => Some((*name).to_owned()),
            c if c == *shifted => Some(format!("shift-{name}")),
            _ => None,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_printable_character_has_a_key_of_its_own() {
        let mut all: Vec<String> = (' '..='~').filter_map(key).collect();
        assert_eq!(all.len(), 95);
        assert!(all.iter().all(|name| is_key(name)), "{all:?}");
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 95);
        for (character, name) in [
            ('k', "k"),
            ('K', "shift-k"),
            ('_', "shift-minus"),
            ('/', "slash"),
            ('7', "7"),
            ('&', "shift-7"),
        ] {
            assert_eq!(key(character).as_deref(), Some(name));
        }
        assert_eq!(
            (key('\n').as_deref(), key('é'), key('\u{7f}')),
            (Some("ret"), None, None)
        );
    }

    #[test]
    fn keys_are_known_by_their_names() {
        for name in ["e", "0", "f10", "ret", "ctrl-x", "ctrl-alt-delete", "shift-minus"] {
            assert!(is_key(name), "{name}");
        }
        for name in ["", "E", "enter", "ctrl-", "-", "ctrl+x", "é"] {
            assert!(!is_key(name), "{name}");
        }
    }
}
