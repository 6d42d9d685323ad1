//! The machine's date and time as facts.

use crate::value::{Map, Value, map};

/// From two lines: `date '+%Y %m %d %H %M %S %s %Z %z %A %w %W %N'`, and UTC in ISO 8601.
pub(super) fn date_time(text: &str) -> Map {
    let (local, utc) = text.split_once('\n').unwrap_or((text, ""));
    let words: Vec<&str> = local.split_whitespace().collect();
    let [
        year,
        month,
        day,
        hour,
        minute,
        second,
        epoch,
        zone,
        offset,
        weekday,
        number,
        week,
        nanos,
    ] = words.as_slice()
    else {
        return Map::new();
    };
    let micros = nanos.get(..6).unwrap_or("000000");
    let stem = utc.trim().trim_end_matches('Z');
    let basic = format!("{year}{month}{day}T{hour}{minute}{second}");
    let facts = [
        ("year", (*year).to_owned()),
        ("month", (*month).to_owned()),
        ("day", (*day).to_owned()),
        ("hour", (*hour).to_owned()),
        ("minute", (*minute).to_owned()),
        ("second", (*second).to_owned()),
        ("weekday", (*weekday).to_owned()),
        ("weekday_number", (*number).to_owned()),
        ("weeknumber", (*week).to_owned()),
        ("epoch", (*epoch).to_owned()),
        ("epoch_int", (*epoch).to_owned()),
        ("date", format!("{year}-{month}-{day}")),
        ("time", format!("{hour}:{minute}:{second}")),
        ("iso8601", format!("{stem}Z")),
        ("iso8601_micro", format!("{stem}.{micros}Z")),
        ("iso8601_basic", format!("{basic}{micros}")),
        ("iso8601_basic_short", basic),
        ("tz", (*zone).to_owned()),
        ("tz_dst", (*zone).to_owned()),
        ("tz_offset", (*offset).to_owned()),
    ];
    map([(
        "date_time",
        Value::Map(map(facts.map(|(name, value)| (name, value.into())))),
    )])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment() {
        let text = "2026 11 22 12 03 04 1795348984 CET +0100 Sunday 0 46 123456789\n2026-11-22T11:03:04Z\n";
        let facts = date_time(text);
        let of = |name: &str| facts["date_time"].get(name).and_then(Value::as_str);
        assert_eq!(of("iso8601"), Some("2026-11-22T11:03:04Z"));
        assert_eq!(of("iso8601_micro"), Some("2026-11-22T11:03:04.123456Z"));
        assert_eq!(of("iso8601_basic_short"), Some("20261122T120304"));
        assert_eq!((of("date"), of("tz_offset")), (Some("2026-11-22"), Some("+0100")));
    }
}
