//! Points in time: `now()`, `strftime`, `to_datetime`. Everything is UTC; the proleptic Gregorian calendar by
//! Howard Hinnant's day-count formulas.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use minijinja::value::{Object, ObjectRepr, Value as Native};
use minijinja::{Error, ErrorKind, State};

use super::basic::number;
use crate::template::registry::{Entry, reads, wrong};

/// Every filter of this file.
pub(super) const ALL: &[Entry] = &[
    reads(&["strftime"], &["value", "second", "utc"], |_, call| {
        let time = match call.get("second") {
            Some(second) if !second.is_none() => DateTime::from_seconds(number(Some(second), 0.0)?),
            _ => DateTime::now(),
        };
        time.format(&call.text()?).map(Native::from)
    }),
    reads(&["to_datetime"], &["value", "format"], |_, call| {
        DateTime::parse(&call.text()?, &call.text_or("format", "%Y-%m-%d %H:%M:%S")?).map(Native::from_object)
    }),
];

/// A moment for people, to the second, in UTC; `micros` are microseconds since 1970.
#[must_use]
pub fn moment(micros: u64) -> String {
    let seconds = i64::try_from(micros / 1_000_000).unwrap_or_default();
    format!("{} UTC", DateTime { seconds, micros: 0 })
}

/// A moment, to the microsecond, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::template) struct DateTime {
    /// Since 1970-01-01.
    seconds: i64,
    micros: u32,
}

const DAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

impl DateTime {
    /// The present.
    pub(in crate::template) fn now() -> DateTime {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        DateTime {
            seconds: since.as_secs() as i64,
            micros: since.subsec_micros(),
        }
    }

    fn from_seconds(seconds: f64) -> DateTime {
        DateTime {
            seconds: seconds.floor() as i64,
            micros: ((seconds - seconds.floor()) * 1e6) as u32,
        }
    }

    fn days(self) -> i64 {
        self.seconds.div_euclid(86_400)
    }

    fn of_day(self) -> i64 {
        self.seconds.rem_euclid(86_400)
    }

    fn clock(self) -> (i64, i64, i64) {
        let left = self.of_day();
        (left / 3600, left / 60 % 60, left % 60)
    }

    /// Year, month, day.
    fn date(self) -> (i64, i64, i64) {
        let shifted = self.days() + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_index = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_index + 2) / 5 + 1;
        let month = if month_index < 10 {
            month_index + 3
        } else {
            month_index - 9
        };
        (year_of_era + era * 400 + i64::from(month <= 2), month, day)
    }

    fn from_civil(year: i64, month: i64, day: i64, of_day: i64, micros: u32) -> DateTime {
        let year = year - i64::from(month <= 2);
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let day_of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        DateTime {
            seconds: (era * 146_097 + day_of_era - 719_468) * 86_400 + of_day,
            micros,
        }
    }

    fn day_of_year(self) -> i64 {
        let (year, ..) = self.date();
        self.days() - DateTime::from_civil(year, 1, 1, 0, 0).days() + 1
    }

    /// C's `strftime`, in English and UTC.
    ///
    /// # Errors
    /// A letter that is not known.
    pub(in crate::template) fn format(self, format: &str) -> Result<String, Error> {
        let mut out = String::new();
        let mut letters = format.chars();
        while let Some(letter) = letters.next() {
            if letter != '%' {
                out.push(letter);
                continue;
            }
            let mut code = letters.next().unwrap_or('%');
            let bare = code == '-';
            if bare {
                code = letters.next().unwrap_or('%');
            }
            let part = self.part(code)?;
            out.push_str(if bare { part.trim_start_matches('0') } else { &part });
        }
        Ok(out)
    }

    fn part(self, code: char) -> Result<String, Error> {
        let (year, month, day) = self.date();
        let (hour, minute, second) = self.clock();
        let weekday = (self.days() + 3).rem_euclid(7) as usize;
        let month_name = MONTHS[(month - 1) as usize];
        let half = if hour % 12 == 0 { 12 } else { hour % 12 };
        Ok(match code {
            'Y' => year.to_string(),
            'y' => format!("{:02}", year % 100),
            'm' => format!("{month:02}"),
            'd' => format!("{day:02}"),
            'e' => format!("{day:2}"),
            'H' => format!("{hour:02}"),
            'I' => format!("{half:02}"),
            'M' => format!("{minute:02}"),
            'S' => format!("{second:02}"),
            'f' => format!("{:06}", self.micros),
            'j' => format!("{:03}", self.day_of_year()),
            'p' => (if hour < 12 { "AM" } else { "PM" }).to_owned(),
            'A' => DAYS[weekday].to_owned(),
            'a' => DAYS[weekday][..3].to_owned(),
            'B' => month_name.to_owned(),
            'b' | 'h' => month_name[..3].to_owned(),
            'u' => (weekday + 1).to_string(),
            'w' => ((weekday + 1) % 7).to_string(),
            's' => self.seconds.to_string(),
            'z' => "+0000".to_owned(),
            'Z' => "UTC".to_owned(),
            'F' => self.format("%Y-%m-%d")?,
            'T' | 'X' => self.format("%H:%M:%S")?,
            'R' => self.format("%H:%M")?,
            'D' | 'x' => self.format("%m/%d/%y")?,
            'c' => self.format("%a %b %e %H:%M:%S %Y")?,
            'n' => "\n".to_owned(),
            't' => "\t".to_owned(),
            '%' => "%".to_owned(),
            other => return Err(wrong(format!("`%{other}` is not supported in a date format"))),
        })
    }

    fn parse(text: &str, format: &str) -> Result<DateTime, Error> {
        let refuse = || wrong(format!("`{text}` does not match the date format `{format}`"));
        let (mut year, mut month, mut day, mut of_day, mut micros) = (1900, 1, 1, 0, 0);
        let mut rest = text;
        let mut letters = format.chars();
        while let Some(letter) = letters.next() {
            if letter != '%' {
                rest = rest.strip_prefix(letter).ok_or_else(refuse)?;
                continue;
            }
            let code = letters.next().ok_or_else(refuse)?;
            if matches!(code, 'Z' | 'z') {
                rest = ["UTC", "GMT", "Z", "+0000", "+00:00"]
                    .iter()
                    .find_map(|zone| rest.strip_prefix(zone))
                    .ok_or_else(refuse)?;
                continue;
            }
            if matches!(code, 'b' | 'B') {
                let index = MONTHS
                    .iter()
                    .position(|name| rest.starts_with(&name[..3]))
                    .ok_or_else(refuse)?;
                let length = if code == 'b' { 3 } else { MONTHS[index].len() };
                rest = rest.get(length..).ok_or_else(refuse)?;
                month = index as i64 + 1;
                continue;
            }
            let most = match code {
                'Y' => 4,
                'f' => 6,
                _ => 2,
            };
            let digits = rest.bytes().take(most).take_while(u8::is_ascii_digit).count();
            let value: i64 = rest[..digits].parse().map_err(|_| refuse())?;
            rest = &rest[digits..];
            match code {
                'Y' => year = value,
                'm' => month = value,
                'd' => day = value,
                'H' => of_day += value * 3600,
                'M' => of_day += value * 60,
                'S' => of_day += value,
                'f' => micros = (value * 10_i64.pow(6 - digits as u32)) as u32,
                other => return Err(wrong(format!("`%{other}` is not supported when a date is read"))),
            }
        }
        let real = rest.is_empty() && (1..=12).contains(&month) && (1..=31).contains(&day) && of_day < 90_000;
        if real {
            Ok(DateTime::from_civil(year, month, day, of_day, micros))
        } else {
            Err(refuse())
        }
    }
}

/// As Python prints a `datetime`.
impl fmt::Display for DateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.date();
        let (hour, minute, second) = self.clock();
        write!(f, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")?;
        if self.micros > 0 {
            write!(f, ".{:06}", self.micros)?;
        }
        Ok(())
    }
}

impl Object for DateTime {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Native> {
        let (year, month, day) = self.date();
        let (hour, minute, second) = self.clock();
        Some(Native::from(match key {
            "year" => year,
            "month" => month,
            "day" => day,
            "hour" => hour,
            "minute" => minute,
            "second" => second,
            "microsecond" => i64::from(self.micros),
            _ => return None,
        }))
    }

    fn call_method(self: &Arc<Self>, _: &mut State<'_, '_>, method: &str, args: &[Native]) -> Result<Native, Error> {
        match method {
            "strftime" => {
                let format = args.first().and_then(Native::as_str).unwrap_or("%Y-%m-%d");
                self.format(format).map(Native::from)
            }
            "timestamp" => Ok(Native::from(self.seconds as f64 + f64::from(self.micros) / 1e6)),
            "isoformat" => Ok(Native::from(self.to_string().replace(' ', "T"))),
            "date" => self.format("%Y-%m-%d").map(Native::from),
            _ => Err(Error::from(ErrorKind::UnknownMethod)),
        }
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_ref(), f)
    }
}
