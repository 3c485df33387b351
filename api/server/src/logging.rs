// SPDX-License-Identifier: EUPL-1.2
//! Logs: JSON lines with times in RFC 3339 UTC. Nothing personal goes in: no ref, tax code, operator id, token or key; routes stand as
//! templates, never as the URL that was called.

use std::io;

use tracing_subscriber::{EnvFilter, fmt, util::SubscriberInitExt};

/// Sends logs to stderr: JSON lines, or plain ones for a person. `level` is a filter such as `info` or `info,cluster=debug`.
///
/// # Errors
/// The filter is malformed, or logging was started before.
pub fn init(json: bool, level: &str) -> Result<(), String> {
    let filter = EnvFilter::try_new(level).map_err(|error| error.to_string())?;
    let builder = fmt::Subscriber::builder()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    let started = if json {
        builder
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .finish()
            .try_init()
    } else {
        builder.finish().try_init()
    };
    started.map_err(|error| error.to_string())
}
