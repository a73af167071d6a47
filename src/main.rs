//! The one binary; see the crate `distributary`.

#![forbid(unsafe_code)]

use std::process::ExitCode;

/// Under the names of the plugin it is the plugin.
fn main() -> ExitCode {
    distributary::kubectl::main().unwrap_or_else(distributary::cli::main)
}
