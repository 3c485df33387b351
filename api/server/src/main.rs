// SPDX-License-Identifier: EUPL-1.2
//! The one binary `visto`: a node, and every command around it.

use std::process::ExitCode;

mod cli;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::main()
}
