//! The one binary; see the crate `distributary`.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    distributary::cli::main()
}
