// SPDX-License-Identifier: EUPL-1.2
//! etcd: three durable members on loopback, and sessions that put 1 000-byte values, singly or 64 in a transaction.

use std::path::{Path, PathBuf};

use super::{
    grpc::{self, Connection, Field},
    payload,
    process::{Process, free_ports, ready},
};
use crate::drive::{Sent, Session};

/// Members of the cluster: as many as Visto has nodes.
const MEMBERS: usize = 3;
/// Puts in one transaction.
pub(crate) const TXN_PUTS: u64 = 64;
/// etcd stops at 2 GiB unless told otherwise.
const QUOTA_BYTES: u64 = 16 << 30;

/// The running cluster.
pub(crate) struct Etcd {
    members: Vec<Process>,
    clients: Vec<u16>,
    folder: PathBuf,
    /// What `etcd --version` says.
    pub(crate) version: String,
    /// Numbers the loads, so that no key is put twice.
    loads: u64,
}

impl Etcd {
    /// Starts it in a folder, with its defaults: every write is fsynced by a majority before it is answered.
    pub(crate) async fn start(folder: &Path) -> Result<Etcd, String> {
        let program: PathBuf = std::env::var_os("VISTO_ETCD").map_or("etcd".into(), Into::into);
        let version = std::process::Command::new(&program)
            .arg("--version")
            .output()
            .map_err(|error| format!("{}: {error}", program.display()))?;
        let version = String::from_utf8_lossy(&version.stdout)
            .lines()
            .next()
            .unwrap_or_default()
            .trim_start_matches("etcd Version: ")
            .to_owned();
        let ports = free_ports(2 * MEMBERS)?;
        let (clients, peers) = ports.split_at(MEMBERS);
        let cluster: Vec<String> = (0..MEMBERS)
            .map(|member| format!("m{member}=http://127.0.0.1:{}", peers[member]))
            .collect();
        let mut members = Vec::new();
        for member in 0..MEMBERS {
            let client = format!("http://127.0.0.1:{}", clients[member]);
            let peer = format!("http://127.0.0.1:{}", peers[member]);
            let data = folder.join(format!("etcd-{member}"));
            let arguments = [
                ("--name", format!("m{member}")),
                ("--data-dir", data.display().to_string()),
                ("--listen-client-urls", client.clone()),
                ("--advertise-client-urls", client),
                ("--listen-peer-urls", peer.clone()),
                ("--initial-advertise-peer-urls", peer),
                ("--initial-cluster", cluster.join(",")),
                ("--initial-cluster-state", "new".into()),
                ("--quota-backend-bytes", QUOTA_BYTES.to_string()),
                ("--logger", "zap".into()),
                ("--log-level", "error".into()),
            ];
            let arguments: Vec<String> = arguments
                .into_iter()
                .flat_map(|(name, value)| [name.to_owned(), value])
                .collect();
            let log = folder.join(format!("etcd-{member}.log"));
            members.push(Process::start(&program, &arguments, "TERM", None, log)?);
        }
        let mut etcd = Etcd {
            members: Vec::new(),
            clients: clients.to_vec(),
            folder: folder.to_owned(),
            version,
            loads: 0,
        };
        let started = ready("etcd to have a leader", &mut members, async || {
            etcd.leader().await
        })
        .await;
        started?;
        etcd.members = members;
        Ok(etcd)
    }

    /// So many sessions at the leader, where puts are fastest.
    pub(crate) async fn sessions(&mut self, count: usize, puts: u64) -> Result<Vec<Put>, String> {
        let address = self.leader().await.ok_or("etcd has no leader")?;
        self.loads += 1;
        let mut sessions = Vec::with_capacity(count);
        for _ in 0..count {
            sessions.push(Put {
                connection: Connection::open(&address).await?,
                load: self.loads,
                puts,
            });
        }
        Ok(sessions)
    }

    /// Address of the leader, as a member says that is the leader itself.
    async fn leader(&self) -> Option<String> {
        for port in &self.clients {
            let address = format!("127.0.0.1:{port}");
            let Ok(mut connection) = Connection::open(&address).await else {
                continue;
            };
            // StatusResponse {header = 1 {member_id = 2}, leader = 4}.
            let Ok(status) = connection
                .call("etcdserverpb.Maintenance/Status", &[])
                .await
            else {
                continue;
            };
            let member = grpc::field(&status, 1)
                .and_then(Field::bytes)
                .and_then(|header| grpc::field(header, 2))
                .and_then(Field::number);
            let leader = grpc::field(&status, 4).and_then(Field::number);
            if leader.is_some() && leader == member {
                return Some(address);
            }
        }
        None
    }

    pub(crate) fn pids(&self) -> Vec<u32> {
        self.members.iter().map(Process::pid).collect()
    }

    pub(crate) fn folders(&self) -> Vec<PathBuf> {
        (0..MEMBERS)
            .map(|member| self.folder.join(format!("etcd-{member}")))
            .collect()
    }
}

/// Puts keys that were never put before.
pub(crate) struct Put {
    connection: Connection,
    load: u64,
    puts: u64,
}

impl Session for Put {
    async fn request(&mut self, number: u64) -> Sent {
        let put = |place: u64| {
            let number = number * self.puts + place;
            let key = format!("visto-bench/{:04}/{number:012}", self.load);
            grpc::put(key.as_bytes(), &payload(number))
        };
        let done = if self.puts == 1 {
            self.connection
                .call("etcdserverpb.KV/Put", &put(0))
                .await
                .is_ok()
        } else {
            let puts: Vec<Vec<u8>> = (0..self.puts).map(put).collect();
            // TxnResponse {succeeded = 2}.
            self.connection
                .call("etcdserverpb.KV/Txn", &grpc::txn(&puts))
                .await
                .is_ok_and(|answer| grpc::field(&answer, 2).and_then(Field::number) == Some(1))
        };
        if done {
            Sent::Answered {
                accepted: self.puts,
                failed: 0,
            }
        } else {
            Sent::Answered {
                accepted: 0,
                failed: self.puts,
            }
        }
    }
}
