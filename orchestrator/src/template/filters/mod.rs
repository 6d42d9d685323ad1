//! The filters, by what they work on.

mod basic;
mod crypt;
pub(super) mod dict;
mod encode;
mod ipaddr;
pub(super) mod json;
pub(super) mod list;
mod net;
mod path;
mod select;
mod sets;
pub(super) mod text;
pub(super) mod time;
pub(super) mod version;
mod yaml;
mod yaml_scalar;

use super::registry::Entry;

/// Every filter.
pub(super) fn all() -> Vec<Entry> {
    [
        basic::ALL,
        crypt::ALL,
        dict::ALL,
        encode::ALL,
        json::ALL,
        list::ALL,
        net::ALL,
        path::ALL,
        select::ALL,
        sets::ALL,
        text::ALL,
        time::ALL,
        version::ALL,
        yaml::ALL,
    ]
    .concat()
}
