// SPDX-License-Identifier: EUPL-1.2
//! What is measured: each mode is one way to write into one system.

use crate::servers::{etcd::TXN_PUTS, postgres::STATEMENT_ROWS};

/// The systems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum System {
    Etcd,
    Postgres,
    Visto,
}

/// One way to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mode {
    EtcdPut,
    EtcdTxn,
    PlainRow,
    PlainRows,
    ChainedRow,
    ChainedRows,
    Single,
    Signed,
    Batch,
}

/// Entries of a request in Visto's batches.
const REQUEST_ENTRIES: u64 = 100;

impl Mode {
    pub(crate) const ALL: [Mode; 9] = [
        Mode::EtcdPut,
        Mode::EtcdTxn,
        Mode::PlainRow,
        Mode::PlainRows,
        Mode::ChainedRow,
        Mode::ChainedRows,
        Mode::Single,
        Mode::Signed,
        Mode::Batch,
    ];

    pub(crate) fn system(self) -> System {
        match self {
            Mode::EtcdPut | Mode::EtcdTxn => System::Etcd,
            Mode::PlainRow | Mode::PlainRows | Mode::ChainedRow | Mode::ChainedRows => {
                System::Postgres
            }
            Mode::Single | Mode::Signed | Mode::Batch => System::Visto,
        }
    }

    /// Its name in the summary.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Mode::EtcdPut => "etcd_put",
            Mode::EtcdTxn => "etcd_txn",
            Mode::PlainRow => "postgres_row",
            Mode::PlainRows => "postgres_rows",
            Mode::ChainedRow => "postgres_chained_row",
            Mode::ChainedRows => "postgres_chained_rows",
            Mode::Single => "visto_single",
            Mode::Signed => "visto_signed",
            Mode::Batch => "visto_batch",
        }
    }

    /// Its name for people.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Mode::EtcdPut => "etcd, one put a request",
            Mode::EtcdTxn => "etcd, 64 puts a transaction",
            Mode::PlainRow => "PostgreSQL, one row a statement",
            Mode::PlainRows => "PostgreSQL, 100 rows a statement",
            Mode::ChainedRow => "PostgreSQL with hash chain, one row",
            Mode::ChainedRows => "PostgreSQL with hash chain, 100 rows",
            Mode::Single => "Visto, one entry a request",
            Mode::Signed => "Visto, 100 entries, each signed",
            Mode::Batch => "Visto, 100 entries, signed as a batch",
        }
    }

    pub(crate) fn per_request(self) -> u64 {
        match self {
            Mode::EtcdPut | Mode::PlainRow | Mode::ChainedRow | Mode::Single => 1,
            Mode::EtcdTxn => TXN_PUTS,
            Mode::PlainRows | Mode::ChainedRows => STATEMENT_ROWS,
            Mode::Signed | Mode::Batch => REQUEST_ENTRIES,
        }
    }

    /// How many connections are tried: each system at its best. Visto's batches are so large that fewer clients fill it.
    pub(crate) fn connections(self) -> &'static [usize] {
        match self {
            Mode::Signed | Mode::Batch => &[1, 4, 16, 64],
            _ => &[1, 16, 64, 256],
        }
    }

    /// A number of connections at which it is measured whatever its best is: the targets name it.
    pub(crate) fn named_connections(self) -> Option<usize> {
        matches!(self, Mode::EtcdPut | Mode::Single).then_some(64)
    }
}
