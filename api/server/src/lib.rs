// SPDX-License-Identifier: EUPL-1.2
//! Visto's HTTP server: the rim around [`cluster::Node`].
//!
//! Where things are: who may see what is decided in [`access`], who asks in [`auth`]; a status code is chosen in [`problem`], and nowhere else;
//! reading is recorded in [`release`], and [`present`] builds no personal answer without it. [`routes`] are thin.

pub mod access;
pub mod app;
pub mod audit_start;
pub mod auth;
pub mod body;
pub mod config;
pub mod cursor;
pub mod due;
pub mod exchanges;
pub mod export;
pub mod extract;
pub mod form;
mod halves;
pub mod limits;
pub mod listener;
pub mod logging;
pub mod monitoring;
pub mod observe;
pub mod openapi;
pub mod oprf_key;
pub mod present;
pub mod problem;
pub mod prove;
pub mod pseudonyms;
pub mod receipts;
pub mod reconcile;
pub mod release;
pub mod routes;
pub mod search;
mod serve;
#[cfg(test)]
mod testing;
pub mod tls;

pub use config::ServeConfig;
pub use serve::{Error, serve};
