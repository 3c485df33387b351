// SPDX-License-Identifier: EUPL-1.2
//! THE mapping of outcomes to exit codes, and the error that every command ends with.

use std::{fmt, process::ExitCode};

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done, or proven.
    Ok,
    /// Proven false, refused, or failed.
    Failed,
    /// The command line, a configuration file or an environment variable is wrong.
    Usage,
    /// It could not be told: a file is missing, a server does not answer, the outcome is unknown.
    CannotCheck,
    /// The server does not let this caller.
    NotAuthorised,
    /// Too few nodes are up; nothing was written.
    NoQuorum,
}

impl Exit {
    /// The number that scripts see.
    pub(crate) fn code(self) -> u8 {
        match self {
            Exit::Ok => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::CannotCheck => 3,
            Exit::NotAuthorised => 4,
            Exit::NoQuorum => 5,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

/// Why a command did not end well: what to tell the person, and the exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) text: String,
}

impl Failure {
    pub(crate) fn new(exit: Exit, text: impl fmt::Display) -> Failure {
        Failure {
            exit,
            text: text.to_string(),
        }
    }

    pub(crate) fn usage(text: impl fmt::Display) -> Failure {
        Failure::new(Exit::Usage, text)
    }

    pub(crate) fn failed(text: impl fmt::Display) -> Failure {
        Failure::new(Exit::Failed, text)
    }

    pub(crate) fn cannot_check(text: impl fmt::Display) -> Failure {
        Failure::new(Exit::CannotCheck, text)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Failure {
    /// What a client's error means for a command.
    pub(crate) fn of_client(error: client::error::Error) -> Failure {
        use client::error::Error;
        let exit = match &error {
            Error::Problem(problem) => match problem.status {
                401 | 403 => Exit::NotAuthorised,
                503 => Exit::NoQuorum,
                504 => Exit::CannotCheck,
                _ => Exit::Failed,
            },
            Error::Unreachable(_) | Error::Unknown(_) | Error::Answer(_) => Exit::CannotCheck,
            Error::Setup(_) => Exit::Usage,
        };
        Failure::new(exit, error)
    }
}

#[cfg(test)]
mod tests {
    use client::error::Error;
    use wire::problem::{Problem, TYPE_PREFIX};

    use super::*;

    fn problem(status: u16) -> Error {
        Error::Problem(Box::new(Problem {
            kind: format!("{TYPE_PREFIX}some"),
            title: "Some problem".to_owned(),
            status,
            detail: None,
            instance: None,
            remedy: None,
            errors: Vec::new(),
        }))
    }

    #[test]
    fn each_outcome_has_its_code() {
        let cases = [
            (problem(422), 1),
            (problem(409), 1),
            (problem(404), 1),
            (problem(401), 4),
            (problem(403), 4),
            (problem(503), 5),
            (problem(504), 3),
            (Error::Unreachable("cannot connect".to_owned()), 3),
            (Error::Unknown("timed out".to_owned()), 3),
            (Error::Answer("no JSON"), 3),
            (Error::Setup("no URL".to_owned()), 2),
        ];
        for (error, code) in cases {
            let text = error.to_string();
            assert_eq!(Failure::of_client(error).exit.code(), code, "{text}");
        }
        assert_eq!(Exit::Ok.code(), 0);
    }
}
