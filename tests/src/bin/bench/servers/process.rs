// SPDX-License-Identifier: EUPL-1.2
//! A peer's server process: started in a folder of this run, ended by its own process id, and by the kernel if this program dies first.

use std::{
    fs::File,
    net::TcpListener,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use ::tests::wait;

/// How long a server may take to end before it is killed.
const PATIENCE: Duration = Duration::from_secs(20);

/// One process of a server.
pub(crate) struct Process {
    child: Child,
    signal: &'static str,
    log: PathBuf,
}

impl Process {
    /// Starts `program`; `signal` is the one by which it ends in order. As root and with `user` it runs as that user.
    pub(crate) fn start(
        program: &Path,
        arguments: &[String],
        signal: &'static str,
        user: Option<&str>,
        log: PathBuf,
    ) -> Result<Process, String> {
        let output = File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
        let errors = output.try_clone().map_err(|error| error.to_string())?;
        let child = command(program, signal, user)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .map_err(|error| format!("{}: {error}", program.display()))?;
        Ok(Process { child, signal, log })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The end of its log, if it has ended.
    pub(crate) fn ended(&mut self) -> Option<String> {
        match self.child.try_wait() {
            Ok(None) => None,
            Ok(Some(status)) => {
                let log = std::fs::read_to_string(&self.log).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                let tail = lines[lines.len().saturating_sub(15)..].join("\n");
                Some(format!("it ended ({status}):\n{tail}"))
            }
            Err(error) => Some(error.to_string()),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let pid = self.pid().to_string();
        let _ = Command::new("kill")
            .args(["-s", self.signal, &pid])
            .status();
        let deadline = Instant::now() + PATIENCE;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }
}

/// Runs a program to its end, as the user that a server will run as.
pub(crate) fn run(program: &Path, arguments: &[&str], user: Option<&str>) -> Result<(), String> {
    let output = command(program, "TERM", user)
        .args(arguments)
        .output()
        .map_err(|error| format!("{}: {error}", program.display()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!(
        "{}: {}{}",
        program.display(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    ))
}

/// util-linux's `setpriv` replaces itself by the program, so the process id stays; the kernel signals the server when its parent dies.
fn command(program: &Path, signal: &str, user: Option<&str>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", signal]);
    if let Some(user) = user {
        command.args(["--reuid", user, "--regid", user, "--init-groups"]);
    }
    command.arg("--").arg(program).current_dir("/");
    command
}

/// Whether this program runs as root: some servers refuse to.
pub(crate) fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// So many free ports of this machine, none twice.
pub(crate) fn free_ports(count: usize) -> Result<Vec<u16>, String> {
    let listeners: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind(("127.0.0.1", 0)))
        .collect::<Result<_, _>>()
        .map_err(|error| error.to_string())?;
    listeners
        .iter()
        .map(|listener| listener.local_addr().map(|address| address.port()))
        .collect::<Result<_, _>>()
        .map_err(|error| error.to_string())
}

/// Asks until the server answers, or has ended.
pub(crate) async fn ready<T>(
    what: &str,
    processes: &mut [Process],
    mut ask: impl AsyncFnMut() -> Option<T>,
) -> Result<T, String> {
    wait::until(what, async || {
        if let Some(answer) = ask().await {
            return Some(Ok(answer));
        }
        processes
            .iter_mut()
            .find_map(Process::ended)
            .map(|why| Err(format!("{what}: {why}")))
    })
    .await
}
