// SPDX-License-Identifier: EUPL-1.2
//! What a node keeps on disk: the Raft log and vote (`log`), the state that follows from it (`machine`), and how they are opened and checked.

pub(crate) mod applied;
pub(crate) mod apply;
pub(crate) mod check;
pub(crate) mod db;
pub(crate) mod fatal;
pub(crate) mod high_water;
pub(crate) mod keys;
pub(crate) mod log;
mod log_tail;
mod log_writer;
pub(crate) mod machine;
pub(crate) mod snapshot;
pub(crate) mod state_dir;
pub(crate) mod verify;
pub(crate) mod view;

#[cfg(test)]
mod tests;
