//! Stands in for `openshift-install` where tests need one; see [`okd_tests::installer`].

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(okd_tests::installer::run(std::env::args().skip(1)))
}
