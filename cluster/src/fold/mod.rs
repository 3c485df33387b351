// SPDX-License-Identifier: EUPL-1.2
//! State roots: the leader orders a fold, every node folds off the apply path, the leader states the root, and every node holds it against
//! its own before it cosigns anything past it.
//!
//! [`leader`] orders and states, [`worker`] folds and keeps the newest [`Folded`] for whoever proves something. What is ordered and what is
//! done lies in the store (`store::fold`): whoever leads next goes on from there, and nothing here survives or needs to survive a restart.

pub(crate) mod folded;
pub(crate) mod leader;
pub(crate) mod worker;

pub use folded::Folded;

#[cfg(test)]
mod tests;
