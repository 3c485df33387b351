// SPDX-License-Identifier: EUPL-1.2
//! A real `visto gate` process before a small e-service, and consumers that call it.

use std::{
    fs::{self, File, OpenOptions},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use client::{
    build::{PlainAccess, PlainEvidence},
    keyfile,
};
use ledger::{
    base64,
    body::access::{AccessSubject, Action, EService, Side, SubjectRole, Visibility},
    hash::Hash,
    id::InstitutionId,
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
};
use wire::token::Role;

use crate::{
    cluster::Cluster,
    node::{address, binary},
    secrets, wait, world,
};

/// The e-service behind the gate.
pub const ESERVICE: &str = "2303d392-6b30-462b-a9e6-6fe99498cc53";
/// Answers longer than this are passed on as they come.
pub const ANSWER_BYTES: usize = 4096;
/// What `/isee/{ref}/long` answers.
pub const LONG_BYTES: usize = 3 << 20;

/// An e-service that knows nothing of Visto: answers every request, and counts them.
pub struct Upstream {
    address: String,
    reached: Arc<AtomicUsize>,
    /// Lets answers of `/isee/{ref}/stuck` go on.
    pub go_on: Arc<Notify>,
}

impl Upstream {
    /// Starts it, on an address of the cluster's own.
    ///
    /// # Panics
    /// If it cannot listen.
    pub async fn start(cluster: &Cluster) -> Upstream {
        let address = format!("{}:8070", address(cluster.place(), 101));
        let listener = TcpListener::bind(&address).await.expect("a listener");
        let upstream = Upstream {
            address,
            reached: Arc::default(),
            go_on: Arc::default(),
        };
        let (reached, go_on) = (Arc::clone(&upstream.reached), Arc::clone(&upstream.go_on));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (reached, go_on) = (Arc::clone(&reached), Arc::clone(&go_on));
                tokio::spawn(async move {
                    // A caller that goes away is the caller's business.
                    let _ = answer(stream, &reached, &go_on).await;
                });
            }
        });
        upstream
    }

    /// How many requests reached it.
    pub fn reached(&self) -> usize {
        self.reached.load(Ordering::SeqCst)
    }
}

async fn answer(
    mut stream: TcpStream,
    reached: &AtomicUsize,
    go_on: &Notify,
) -> std::io::Result<()> {
    let mut request = Vec::new();
    let head_end = loop {
        let mut piece = [0; 4096];
        let read = stream.read(&mut piece).await?;
        if read == 0 {
            return Ok(());
        }
        request.extend_from_slice(&piece[..read]);
        if let Some(at) = request.windows(4).position(|it| it == b"\r\n\r\n") {
            break at + 4;
        }
    };
    let head = String::from_utf8_lossy(&request[..head_end]).to_lowercase();
    let length: usize = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |value| value.trim().parse().expect("a length"));
    while request.len() < head_end + length {
        let mut piece = [0; 4096];
        let read = stream.read(&mut piece).await?;
        request.extend_from_slice(&piece[..read]);
    }
    reached.fetch_add(1, Ordering::SeqCst);
    assert!(
        !head.contains("visto-entry"),
        "the gate's headers go no further"
    );
    let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
    if target.ends_with("/long") || target.ends_with("/stuck") {
        let stuck = target.ends_with("/stuck");
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Length: {LONG_BYTES}\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await?;
        let first = 2 * ANSWER_BYTES;
        stream.write_all(&vec![b'x'; first]).await?;
        if stuck {
            go_on.notified().await;
        }
        return stream.write_all(&vec![b'x'; LONG_BYTES - first]).await;
    }
    let body = r#"{"attestazioni":[{"anno":2024},{"anno":2025}]}"#;
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await
}

/// A gate that runs, or has run.
pub struct Gate {
    /// Where consumers call.
    pub url: String,
    admin: String,
    folder: PathBuf,
    child: Option<Child>,
    config: String,
}

impl Gate {
    /// Writes the folder of INPS's gate before an e-service; it is not started. The `rules` and `limits` are lines of TOML.
    ///
    /// # Panics
    /// If the folder cannot be written.
    pub fn prepare(cluster: &Cluster, upstream: &Upstream, rules: &str, limits: &str) -> Gate {
        let folder = cluster.folder().join("gate");
        fs::create_dir_all(&folder).expect("the gate's folder");
        keyfile::write_new(&folder.join("inps.key"), &world::seed(world::INPS, "entry"))
            .expect("the gate's key");
        let host = address(cluster.place(), 100);
        let nodes = cluster.urls();
        let config = format!(
            r#"ledger = "{ledger}"
nodes = {nodes:?}
policy = {policy:?}
provider = "{provider}"
key = "inps.key"
data = "data"

[http]
listen = "{host}:8090"
admin = "{host}:8091"

[upstream]
url = "http://{upstream}"

[rules]
keys-refresh-s = 1
{rules}

[limits]
answer-bytes = {ANSWER_BYTES}
retry-s = 1
{limits}

[callers]
by = "header"
header = "x-client"
clients = {{ voghera = "{voghera}", asl = "{asl}" }}

[[routes]]
path = "/healthz"
open = true

[[routes]]
path = "/isee/{{ref}}"
eservice = "{ESERVICE}"
purposes = ["{purpose}"]
subjects = [{{ in = "path", name = "ref" }}]
result-count = "/attestazioni"

[[routes]]
path = "/isee/{{ref}}/{{kind}}"
eservice = "{ESERVICE}"
subjects = [{{ in = "path", name = "ref" }}]
"#,
            ledger = world::LEDGER,
            policy = cluster.policy_file(),
            provider = world::INPS,
            upstream = upstream.address,
            voghera = world::VOGHERA,
            asl = world::ASL,
            purpose = world::PURPOSE,
        );
        let gate = Gate {
            url: format!("http://{host}:8090"),
            admin: format!("http://{host}:8091"),
            folder,
            child: None,
            config,
        };
        gate.write(&gate.config);
        gate
    }

    /// Changes the configuration; it holds from the next start.
    pub fn reconfigure(&mut self, from: &str, to: &str) {
        assert!(self.config.contains(from), "{from} is not configured");
        self.config = self.config.replace(from, to);
        self.write(&self.config);
    }

    fn write(&self, config: &str) {
        fs::write(self.file(), config).expect("the gate's configuration");
    }

    /// Its configuration file.
    pub fn file(&self) -> PathBuf {
        self.folder.join("gate.toml")
    }

    /// Starts the process and waits until it answers.
    ///
    /// # Panics
    /// If it does not come up.
    pub async fn start(&mut self, cluster: &Cluster) {
        assert!(self.child.is_none(), "the gate runs already");
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.folder.join("gate.log"))
            .expect("the log file");
        let child = Command::new(binary("visto"))
            .args(["gate", "--config"])
            .arg(self.file())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log file"))
            .stderr(log)
            .spawn()
            .expect("the gate's process");
        self.child = Some(child);
        let url = format!("{}/readyz", self.admin);
        let ended = wait::until("the gate to be ready", async || {
            let answer = cluster.http.get(&url, None).await;
            if answer.is_ok_and(|answer| answer.status == 200) {
                return Some(false);
            }
            let child = self.child.as_mut().expect("the gate's process");
            matches!(child.try_wait(), Ok(Some(_))).then_some(true)
        })
        .await;
        assert!(!ended, "the gate ended; it said:\n{}", self.log());
    }

    /// SIGKILL: no farewell, no flush.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Both fail only if it is gone already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// SIGTERM, and waits for an orderly end.
    ///
    /// # Panics
    /// If it does not end well.
    pub async fn stop(&mut self) {
        let mut child = self.child.take().expect("the gate's process");
        let _ = Command::new("kill").arg(child.id().to_string()).status();
        let status = wait::until("the gate to end", async || {
            child.try_wait().expect("the process's status")
        })
        .await;
        assert!(status.success(), "{status}: {}", self.log());
        let found = secrets::found_in(&self.log());
        assert!(
            found.is_empty(),
            "the gate's log holds:\n  {}",
            found.join("\n  ")
        );
    }

    /// A number of its metrics.
    ///
    /// # Panics
    /// If it does not answer, or has no such number.
    pub async fn metric(&self, cluster: &Cluster, name: &str) -> u64 {
        let text = self.metrics(cluster).await;
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
            .unwrap_or_else(|| panic!("no {name} in {text}"))
    }

    /// All its metrics.
    ///
    /// # Panics
    /// If it does not answer.
    pub async fn metrics(&self, cluster: &Cluster) -> String {
        let url = format!("{}/metrics", self.admin);
        cluster.http.get(&url, None).await.expect("metrics").text
    }

    /// What waits in its outbox on disk.
    ///
    /// # Panics
    /// If that cannot be read.
    pub fn waiting_on_disk(&self) -> u64 {
        client::outbox::peek(&self.folder.join("data/outbox"))
            .expect("the outbox")
            .0
    }

    /// All that it has printed, over all its lives.
    pub fn log(&self) -> String {
        let mut text = Vec::new();
        if let Ok(mut file) = File::open(self.folder.join("gate.log")) {
            let _ = std::io::Read::read_to_end(&mut file, &mut text);
        }
        String::from_utf8_lossy(&text).into_owned()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- the gate said ---\n{}", self.log());
        }
    }
}

/// An access of Voghera's clerk to these persons' data at INPS.
///
/// # Panics
/// If a ref is none.
pub fn access(persons: &[&str]) -> PlainAccess {
    let institution = |id| InstitutionId::parse(id).expect("an institution");
    let subject = |person: &&str| AccessSubject {
        person: Hash(base64::url_decode_array(person).expect("a ref")),
        role: SubjectRole::Target,
        relation: None,
    };
    PlainAccess {
        side: Side::Consumer,
        exchange: [0; 16],
        consumer: institution(world::VOGHERA),
        consumer_client_id: None,
        provider: institution(world::INPS),
        eservice: EService {
            eservice_id: ESERVICE.into(),
            descriptor_id: None,
            name: None,
            version: None,
            operation: None,
        },
        user_id: world::CLERK.into(),
        user_role: "assistente-sociale".into(),
        user_location: "Voghera/sportello 3".into(),
        loa: None,
        purpose_id: None,
        purpose: world::PURPOSE.into(),
        legal_basis: "dpv-gdpr:A6-1-e".into(),
        legal_reference: Some("D.P.C.M. 159/2013, art. 11".into()),
        reason: "Verifica ISEE per la retta dell'asilo nido".into(),
        case_ref: Some(ledger::body::access::CaseRef {
            protocollo: "2026/004512".into(),
            prestazione: None,
            stato: None,
        }),
        consent_refs: Vec::new(),
        action: Action::Query,
        outcome: "ok".into(),
        status_code: None,
        data_categories: vec!["dpv-pd:Income".into()],
        personal_data_types: Vec::new(),
        subjects: persons.iter().map(subject).collect(),
        part: None,
        result_count: None,
        emergency: None,
        visibility: Visibility::Visible,
        evidence: Some(PlainEvidence::default()),
    }
}

/// The entries that the ledger holds of an exchange: side and findings of each, as the supervisory authority finds them by the person.
///
/// # Panics
/// If a node does not answer.
pub async fn sides(cluster: &Cluster, person: &str, exchange: &str) -> Vec<(String, Vec<String>)> {
    let token = world::token(world::GARANTE, Role::Authority);
    let search = serde_json::json!({"subject": person, "limit": 100});
    let url = cluster.url(1, "/v1/accesses/search?consistency=linearizable");
    let answer = wait::until("an answer to a search", async || {
        let answer = cluster.http.post(&url, Some(&token), &search).await.ok()?;
        (answer.status == 200).then(|| answer.json())
    })
    .await;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let items = answer["items"].as_array().expect("items");
    let of_exchange = items
        .iter()
        .filter(|item| item["body"]["access"]["exchange"] == exchange);
    let mut sides: Vec<_> = of_exchange
        .map(|item| {
            let findings = item["findings"].as_array().expect("findings");
            let side = text(&item["body"]["access"]["side"]);
            (side, findings.iter().map(text).collect())
        })
        .collect();
    sides.sort();
    sides
}
