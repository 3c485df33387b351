// SPDX-License-Identifier: EUPL-1.2
//! PostgreSQL: one durable server on loopback, and sessions that insert 1 000-byte rows, singly or 100 a statement, with a hash chain or without.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use tokio_postgres::{Client, Config, NoTls, Statement};

use super::{
    payload,
    process::{self, Process, free_ports, ready},
};
use crate::drive::{Sent, Session};

/// Fresh tables, and the trigger that chains them.
const SCHEMA: &str = include_str!("postgres.sql");
/// Rows of one statement in batches.
pub(crate) const STATEMENT_ROWS: u64 = 100;
/// It refuses to run as root; Debian's package brings this user.
const USER: &str = "postgres";

/// The running server.
pub(crate) struct Postgres {
    server: Process,
    config: Config,
    data: PathBuf,
    /// What the server says of its version and durability.
    pub(crate) version: String,
}

impl Postgres {
    /// Makes a database cluster in a folder and starts its server.
    pub(crate) async fn start(folder: &Path) -> Result<Postgres, String> {
        let programs: PathBuf = std::env::var_os("VISTO_POSTGRES_BIN")
            .map_or("/usr/lib/postgresql/15/bin".into(), Into::into);
        let user = process::is_root().then_some(USER);
        let data = folder.join("postgres");
        std::fs::create_dir(&data).map_err(|error| format!("{}: {error}", data.display()))?;
        if let Some(user) = user {
            let owned = Command::new("chown").arg(user).arg(&data).status();
            if !owned.is_ok_and(|status| status.success()) {
                return Err(format!("{}: cannot be given to {user}", data.display()));
            }
        }
        let path = data.display().to_string();
        let arguments = [
            "-D",
            &path,
            "-U",
            "visto",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
        ];
        process::run(&programs.join("initdb"), &arguments, user)?;
        let port = free_ports(1)?[0];
        // Durability is the default and said all the same. Memory and WAL are given room: the defaults are those of a very small machine.
        let settings = [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "fsync=on",
            "synchronous_commit=on",
            "max_connections=300",
            "shared_buffers=1GB",
            "max_wal_size=8GB",
        ];
        let mut arguments = vec!["-D".to_owned(), path, "-p".to_owned(), port.to_string()];
        for setting in settings {
            arguments.extend(["-c".to_owned(), setting.to_owned()]);
        }
        let log = folder.join("postgres.log");
        let server = Process::start(&programs.join("postgres"), &arguments, "INT", user, log)?;
        let mut config = Config::new();
        config
            .host("127.0.0.1")
            .port(port)
            .user("visto")
            .dbname("postgres");
        let mut servers = [server];
        let client = ready("PostgreSQL to answer", &mut servers, async || {
            connect(&config).await.ok()
        })
        .await?;
        let [server] = servers;
        let mut version = Vec::new();
        for setting in [
            "server_version",
            "fsync",
            "synchronous_commit",
            "wal_sync_method",
        ] {
            let row = client
                .query_one(&format!("SHOW {setting}"), &[])
                .await
                .map_err(|error| said(&error))?;
            version.push(format!("{setting} {}", row.get::<_, &str>(0)));
        }
        Ok(Postgres {
            server,
            config,
            data,
            version: version.join(", "),
        })
    }

    /// So many sessions on fresh tables.
    pub(crate) async fn sessions(
        &self,
        count: usize,
        chained: bool,
        rows: u64,
    ) -> Result<Vec<Insert>, String> {
        let client = connect(&self.config).await?;
        client
            .batch_execute(SCHEMA)
            .await
            .map_err(|error| said(&error))?;
        let table = if chained { "chained" } else { "plain" };
        let insert = if rows == 1 {
            format!("INSERT INTO {table} (payload) VALUES ($1)")
        } else {
            format!("INSERT INTO {table} (payload) SELECT unnest($1::bytea[])")
        };
        let mut sessions = Vec::with_capacity(count);
        for _ in 0..count {
            let client = connect(&self.config).await?;
            let statement = client
                .prepare(&insert)
                .await
                .map_err(|error| said(&error))?;
            sessions.push(Insert {
                client,
                statement,
                rows,
            });
        }
        Ok(sessions)
    }

    /// That the chain is one: each row's hash is over the row before, and the head is the last row's.
    pub(crate) async fn check_chain(&self) -> Result<u64, String> {
        let client = connect(&self.config).await?;
        let row = client
            .query_one(
                "SELECT count(*), count(*) FILTER (WHERE hash IS DISTINCT FROM sha256(coalesce(before, ''::bytea) || payload)), \
                        (SELECT n FROM head), max(n) FROM (SELECT n, hash, payload, lag(hash) OVER (ORDER BY n) AS before FROM chained) AS rows",
                &[],
            )
            .await
            .map_err(|error| said(&error))?;
        let (rows, broken): (i64, i64) = (row.get(0), row.get(1));
        let (head, last): (i64, Option<i64>) = (row.get(2), row.get(3));
        if broken != 0 || head != rows || last.unwrap_or(0) != rows {
            return Err(format!(
                "PostgreSQL's chain is none: {rows} rows, {broken} broken, head {head}, last {last:?}"
            ));
        }
        Ok(rows as u64)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.server.pid()
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.data
    }
}

async fn connect(config: &Config) -> Result<Client, String> {
    let (client, connection) = config.connect(NoTls).await.map_err(|error| said(&error))?;
    // Ends with its client; what goes wrong is told to each call.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(client)
}

/// What the server said, which the error alone does not show.
fn said(error: &tokio_postgres::Error) -> String {
    error
        .as_db_error()
        .map_or_else(|| error.to_string(), ToString::to_string)
}

/// Inserts rows with a prepared statement; each statement is a transaction.
pub(crate) struct Insert {
    client: Client,
    statement: Statement,
    rows: u64,
}

impl Session for Insert {
    async fn request(&mut self, number: u64) -> Sent {
        let done = if self.rows == 1 {
            let payload = payload(number);
            self.client.execute(&self.statement, &[&&payload[..]]).await
        } else {
            let payloads: Vec<_> = (0..self.rows)
                .map(|place| payload(number * self.rows + place))
                .collect();
            let rows: Vec<&[u8]> = payloads.iter().map(|payload| &payload[..]).collect();
            self.client.execute(&self.statement, &[&rows]).await
        };
        let accepted = if done.is_ok_and(|rows| rows == self.rows) {
            self.rows
        } else {
            0
        };
        Sent::Answered {
            accepted,
            failed: self.rows - accepted,
        }
    }
}
