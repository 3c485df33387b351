// SPDX-License-Identifier: EUPL-1.2
#![allow(clippy::unwrap_used)]
use clap::CommandFactory;

use super::*;

#[test]
fn the_command_line_is_consistent() {
    Arguments::command().debug_assert();
}
