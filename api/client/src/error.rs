// SPDX-License-Identifier: BSD-3-Clause
//! What can go wrong between a client and the ledger.

use wire::problem::Problem;

/// Why a request did not end well. No variant repeats what was sent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server said no, and why.
    #[error("{}", describe(.0))]
    Problem(Box<Problem>),
    /// No node answered, and nothing was written. Send the same bytes again later.
    #[error("no node answered ({0}); nothing was written")]
    Unreachable(String),
    /// It cannot be told whether the entry was written. Send the same bytes again: the answer to the same entry is the same receipt.
    #[error("the outcome is unknown ({0}); send the same entry again, it cannot be written twice")]
    Unknown(String),
    /// The answer is not what the interface promises.
    #[error("unexpected answer: {0}")]
    Answer(&'static str),
    /// The client cannot be set up as asked.
    #[error("{0}")]
    Setup(String),
}

impl Error {
    /// The code of the problem, if the server sent one.
    pub fn code(&self) -> Option<&str> {
        match self {
            Error::Problem(problem) => problem.code(),
            _ => None,
        }
    }

    /// The HTTP status of the problem, if the server sent one.
    pub fn status(&self) -> Option<u16> {
        match self {
            Error::Problem(problem) => Some(problem.status),
            _ => None,
        }
    }
}

fn describe(problem: &Problem) -> String {
    let mut text = format!(
        "{} ({})",
        problem.title,
        problem.code().unwrap_or(&problem.kind)
    );
    if let Some(detail) = &problem.detail {
        text = format!("{text}: {detail}");
    }
    for error in &problem.errors {
        text = format!("{text}; {}: {}", error.pointer, error.detail);
    }
    if let Some(remedy) = &problem.remedy {
        text = format!("{text}. {remedy}");
    }
    text
}
