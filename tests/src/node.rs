// SPDX-License-Identifier: EUPL-1.2
//! One node process of the real binary, with its folder.

use std::{
    fs::{self, File, OpenOptions},
    io::Read,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
};

use client::keyfile;

use crate::{oprf, wait, world};

/// Port of the public listener on the node's own loopback address.
const HTTP_PORT: u16 = 8080;
/// Port of the listener for peers.
const PEER_PORT: u16 = 9080;

/// The sealed key of the pseudonyms, in the node's folder.
pub const OPRF_SEALED: &str = "oprf.age";
/// The identity that opens it.
pub const OPRF_IDENTITY: &str = "oprf.identity";

/// A node that runs, or has run.
pub struct Node {
    /// Its number.
    pub number: u64,
    /// Its folder: configuration, keys, certificates, data, log.
    pub folder: PathBuf,
    /// Where it is reached.
    pub url: String,
    child: Option<Child>,
    config: String,
}

/// The real binaries: built by `cargo`, found by the environment or beside the test.
///
/// # Panics
/// If they are not there: `./scripts/test` builds them first.
pub fn binary(name: &str) -> PathBuf {
    let beside = std::env::current_exe().expect("the test's own path");
    // target/debug/deps/it-… → target/debug
    let folder = beside
        .parent()
        .and_then(Path::parent)
        .expect("a target folder");
    let variable = match name {
        "visto" => "VISTO_BIN",
        "visto-load" => "VISTO_LOAD_BIN",
        _ => "VISTO_VERIFY_BIN",
    };
    let found = std::env::var_os(variable).map_or_else(|| folder.join(name), PathBuf::from);
    assert!(
        found.is_file(),
        "{} is not built: run ./scripts/test, or cargo build --workspace",
        found.display()
    );
    found
}

/// The loopback address of a node: each cluster has its own /24, so that clusters never meet and ports need not be hunted for.
pub fn address(cluster: (u8, u8), node: u64) -> String {
    format!("127.{}.{}.{node}", cluster.0, cluster.1)
}

/// Where a node's peer listener is.
pub fn peer_address(cluster: (u8, u8), node: u64) -> String {
    format!("{}:{PEER_PORT}", address(cluster, node))
}

impl Node {
    /// Writes the node's folder. `certificates` is what `visto certs` made; `peers` are addresses that replace those of the node entries.
    ///
    /// # Panics
    /// If the folder cannot be written.
    pub fn prepare(
        cluster: (u8, u8),
        number: u64,
        folder: &Path,
        genesis: &Path,
        certificates: &Path,
        peers: &[(u64, String)],
        settings: &[(&str, String)],
    ) -> Node {
        let folder = folder.join(format!("node-{number}"));
        fs::create_dir_all(&folder).expect("the node's folder");
        let operator = world::operator_of(number);
        for (file, institution, label) in [
            ("node.key", operator, format!("node {number}")),
            ("cosign.key", operator, format!("cosign {number}")),
            ("log.key", world::INPS, "log".into()),
        ] {
            keyfile::write_new(&folder.join(file), &world::seed(institution, &label))
                .expect("a key file");
        }
        oprf::write_identity(&folder.join(OPRF_IDENTITY));
        oprf::seal(
            &oprf::key(1),
            &folder.join(OPRF_IDENTITY),
            &folder.join(OPRF_SEALED),
        );
        let certificates = certificates.join(format!("node-{number}"));
        let address = address(cluster, number);
        let text = |path: PathBuf| toml_text(&path.display().to_string());
        let mut config = format!(
            "node = {number}\ndata = {data}\ngenesis = {genesis}\n\n[http]\nlisten = \"{address}:{HTTP_PORT}\"\n\n[peer]\nlisten = \"{address}:{PEER_PORT}\"\nca = {ca}\ncertificate = {certificate}\nkey = {key}\n\n[keys]\nnode = {node_key}\ncosign = {cosign_key}\nlog = {log_key}\n\n[oprf]\nsealed = {sealed}\nidentity = {identity}\n",
            data = text(folder.join("data")),
            genesis = text(genesis.to_owned()),
            ca = text(certificates.join("peer-ca.pem")),
            certificate = text(certificates.join("peer.pem")),
            key = text(certificates.join("peer.key")),
            node_key = text(folder.join("node.key")),
            cosign_key = text(folder.join("cosign.key")),
            log_key = text(folder.join("log.key")),
            sealed = text(folder.join(OPRF_SEALED)),
            identity = text(folder.join(OPRF_IDENTITY)),
        );
        let mut table = "";
        for (name, value) in settings {
            let (section, member) = name.split_once('.').unwrap_or(("", name));
            if section != table {
                config.push_str(&format!("\n[{section}]\n"));
                table = section;
            }
            config.push_str(&format!("{member} = {value}\n"));
        }
        if !peers.is_empty() {
            config.push_str("\n[peers]\n");
            for (peer, address) in peers {
                config.push_str(&format!("{peer} = \"{address}\"\n"));
            }
        }
        fs::write(folder.join("visto.toml"), &config).expect("the configuration");
        Node {
            number,
            folder,
            url: format!("http://{address}:{HTTP_PORT}"),
            child: None,
            config,
        }
    }

    /// Gives the node other keys of pseudonyms: that of an epoch, and that of the one before if links are to be made. Counts from its next start.
    ///
    /// # Panics
    /// If the folder cannot be written.
    pub fn hold(&mut self, epoch: u32, before: Option<u32>) {
        let identity = self.folder.join(OPRF_IDENTITY);
        oprf::seal(&oprf::key(epoch), &identity, &self.folder.join(OPRF_SEALED));
        if let Some(before) = before {
            let file = self.folder.join("oprf-before.age");
            oprf::seal(&oprf::key(before), &identity, &file);
            let line = format!(
                "[oprf]\nsealed-before = {}\n",
                toml_text(&file.display().to_string())
            );
            self.config = self.config.replacen("[oprf]\n", &line, 1);
            fs::write(self.folder.join("visto.toml"), &self.config).expect("the configuration");
        }
    }

    /// Starts the process; it is not ready yet.
    ///
    /// # Panics
    /// If it runs already or cannot be started.
    pub fn start(&mut self) {
        assert!(self.child.is_none(), "node {} runs already", self.number);
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_file())
            .expect("the log file");
        let child = Command::new(binary("visto"))
            .args(["serve", "--config"])
            .arg(self.folder.join("visto.toml"))
            .env_remove("VISTO_LOG_LEVEL")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log file"))
            .stderr(log)
            .spawn()
            .expect("the node's process");
        self.child = Some(child);
    }

    /// SIGKILL: no farewell, no flush.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Both fail only if it is gone already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Panics
    /// If it does not end.
    pub async fn stop(&mut self) -> Option<ExitStatus> {
        let child = self.child.as_ref()?;
        let _ = Command::new("kill").arg(child.id().to_string()).status();
        self.ended().await
    }

    /// Waits until the process ends by itself.
    ///
    /// # Panics
    /// If it does not.
    pub async fn ended(&mut self) -> Option<ExitStatus> {
        let mut child = self.child.take()?;
        let what = format!("node {} to end", self.number);
        let status = wait::until(&what, async || {
            child.try_wait().expect("the process's status")
        })
        .await;
        Some(status)
    }

    /// Whether the process runs.
    pub fn runs(&mut self) -> bool {
        self.child
            .as_mut()
            .is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Folder of its database.
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Its configuration, as written.
    pub fn config(&self) -> &str {
        &self.config
    }

    /// All that it has printed, over all its lives.
    pub fn log(&self) -> String {
        let mut bytes = Vec::new();
        if let Ok(mut file) = File::open(self.log_file()) {
            let _ = file.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn log_file(&self) -> PathBuf {
        self.folder.join("visto.log")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A path as a TOML string.
fn toml_text(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
