// SPDX-License-Identifier: EUPL-1.2
//! `visto demo`: three node processes on this machine and the whole job on a generated town, each step told as it happens.
//!
//! The story goes to stdout, progress to stderr. Whatever fails ends the demo with its cause; the nodes end with it.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::{
    exit::{Exit, Failure},
    genesis::Made,
    output::put,
};

mod batches;
mod calls;
mod commands;
mod exported;
mod founders;
mod load;
mod nodes;
mod plan;
mod prove;
mod refs;
mod services;
mod story;
mod town;

use commands::Commands;
use founders::{OPERATOR, Place};
use load::{Acknowledged, Counter, Outlet, load};
use nodes::{Addresses, Nodes};
use plan::Plan;
use refs::Refs;

/// Start three nodes on this machine and show the whole job on a generated town.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// End after the last step; without it the cluster stays up until Ctrl-C.
    #[arg(long)]
    once: bool,
    /// Write what was started as JSON to this file, once all is loaded: nodes (id, url, pid, data), origin, vkey, policy, token, keys.
    #[arg(long, value_name = "FILE")]
    info: Option<PathBuf>,
    /// The same seed makes the same town.
    #[arg(long, value_name = "NUMBER", default_value_t = 20_261_124)]
    seed: u64,
    /// Families of the town; Voghera has some 18 000.
    #[arg(long, value_name = "COUNT", default_value_t = 18_000, value_parser = clap::value_parser!(u32).range(50..=200_000))]
    households: u32,
    /// Calls between institutions; each is logged by both sides.
    #[arg(long, value_name = "COUNT", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    accesses: u32,
    /// Consent events: given, renewed and withdrawn.
    #[arg(long, value_name = "COUNT", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(20..=1_000_000))]
    consents: u32,
    /// Folder for keys, configuration and data; kept at the end. A temporary one, removed at the end, when absent.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(crate) async fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let folder = Folder::make(arguments.dir.clone())?;
    let place = Place::new(folder.path.clone());
    let addresses = Addresses::free(NODES)?;
    let made = place.found(&addresses.peer)?;
    let mut nodes = Nodes::configure(&place, &addresses)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::failed)?;
    let ended = tokio::select! {
        ended = show(&arguments, &place, &made, &mut nodes) => Some(ended),
        _ = interrupt.recv() => None,
        _ = terminate.recv() => None,
    };
    let ended = match ended {
        Some(Ok(())) if !arguments.once => {
            put("\nThe cluster stays up until Ctrl-C.")?;
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            Ok(())
        }
        Some(ended) => ended,
        None => Err(Failure::failed("interrupted")),
    };
    eprintln!("    stopping the nodes");
    nodes.stop().await;
    folder.end(ended.is_err());
    ended.map(|()| Exit::Ok)
}

async fn show(
    arguments: &Arguments,
    place: &Place,
    made: &Made,
    nodes: &mut Nodes,
) -> Result<(), Failure> {
    let commands = Commands::new(place, nodes)?;
    title(1, "Institutions found a ledger")?;
    for founder in &founders::FOUNDERS {
        put(&format!("    {:<15} {}", founder.id, founder.name))?;
    }
    put(&format!(
        "    origin   {}\n    vkey     {}\n    genesis  {}\n    policy   {}",
        made.origin,
        made.vkey,
        made.genesis,
        made.policy.display()
    ))?;

    title(
        2,
        "Three nodes start, each a process of its own: mutual TLS between them, RocksDB beneath",
    )?;
    nodes.start()?;
    nodes.ready().await?;
    let leader = nodes.leader(&place.token(&OPERATOR)?).await?;
    for node in &nodes.nodes {
        let role = if node.number == leader {
            "leader"
        } else {
            "follower"
        };
        put(&format!(
            "    node {} {} pid {} ({role})",
            node.number,
            node.url,
            node.pid().unwrap_or(0)
        ))?;
    }
    put(&commands.open("/checkpoint"))?;
    put(&commands.open("/v1/institutions"))?;

    let refs = Refs::new(place, &nodes.urls())?;
    let mut plan = Plan::new(arguments.seed, usize_of(arguments.households), place, refs)?;
    put(&format!(
        "    town: {} persons in {} families, seed {}",
        plan.town.persons.len(),
        plan.town.families.len(),
        arguments.seed
    ))?;
    let started = Instant::now();
    let learnt = plan.learn_refs().await?;
    put(&format!(
        "    {learnt} refs in {:.1} s: codes blinded here, evaluated by the nodes, each answer proven under the key in genesis; no node saw a code",
        started.elapsed().as_secs_f64()
    ))?;
    let (acknowledged, plan) = load_town(arguments, place, nodes, &commands, plan).await?;

    title(6, "Every acknowledged entry is still there, and proven")?;
    prove::all(place, &nodes.urls(), &acknowledged).await?;
    prove::catch_up(place, nodes).await?;
    put(&commands.read(&commands.operator, "/admin/v1/cluster"))?;

    story::tell(place, nodes, &commands, &plan, &acknowledged).await?;
    exported::tell(place, nodes, &commands, &plan).await?;

    if let Some(file) = &arguments.info {
        write_info(file, place, made, nodes, &commands)?;
        put(&format!(
            "\nWhat runs here is written to {}.",
            file.display()
        ))?;
    }
    Ok(())
}

/// Loads families, changes, consents and accesses; the leader is killed while the accesses come in.
async fn load_town(
    arguments: &Arguments,
    place: &Place,
    nodes: &mut Nodes,
    commands: &Commands,
    plan: Plan,
) -> Result<(Vec<Acknowledged>, Plan), Failure> {
    let mut town = Loading::new(nodes.urls());

    title(
        3,
        "The registry signs who lives with whom, and what changed since",
    )?;
    let households = usize_of(arguments.households);
    let plan = town
        .load("household entries", households, plan, Plan::families)
        .await?;
    put(&commands.send(&town.sample(place, "household")?))?;
    let plan = town
        .load(
            "new compositions",
            CHANGES,
            plan,
            |plan: &mut Plan, outlet| plan.changes(CHANGES, outlet),
        )
        .await?;
    let plan = town
        .load("ISEE nuclei", NUCLEI, plan, |plan: &mut Plan, outlet| {
            plan.nuclei(NUCLEI, outlet)
        })
        .await?;

    title(
        4,
        "Citizens give consents at the health authority's desk, and withdraw some at the town's",
    )?;
    let changed = usize_of(arguments.consents) / 6;
    let given = usize_of(arguments.consents) - changed;
    let plan = town
        .load("consents", given, plan, move |plan: &mut Plan, outlet| {
            plan.consents_given(given, outlet)
        })
        .await?;
    let plan = town
        .load(
            "withdrawals, renewals",
            changed,
            plan,
            move |plan: &mut Plan, outlet| plan.consents_changed(changed, outlet),
        )
        .await?;
    put(&commands.send(&town.sample(place, "consent")?))?;

    title(
        5,
        "Agencies call each other: ModI evidence and PDND vouchers checked, each side logs; and the leader is killed meanwhile",
    )?;
    let accesses = usize_of(arguments.accesses);
    let at = town.counter.now() + u64::from(arguments.accesses) * 2 * 2 / 5;
    let counter = town.counter.clone();
    let plan = {
        let loading = town.load(
            "access entries",
            accesses * 2,
            plan,
            move |plan: &mut Plan, outlet| plan.accesses(accesses, outlet),
        );
        let killing = kill_leader(place, nodes, &counter, at);
        tokio::pin!(loading, killing);
        tokio::select! {
            plan = &mut loading => {
                // A load that fails ends the wait for its middle; one that was too quick to be met midway is met at its end.
                let plan = plan?;
                killing.await?;
                plan
            }
            killed = &mut killing => {
                killed?;
                loading.await?
            }
        }
    };
    put(&commands.send(&town.sample(place, "access")?))?;
    Ok((town.acknowledged, plan))
}

async fn kill_leader(
    place: &Place,
    nodes: &mut Nodes,
    counter: &Counter,
    at: u64,
) -> Result<(), Failure> {
    counter.reach(at).await;
    let leader = nodes.leader(&place.token(&OPERATOR)?).await?;
    let pid = nodes.kill(leader).await?;
    put(&format!(
        "    SIGKILL to node {leader}, the leader (pid {pid}), with {} entries acknowledged",
        counter.now()
    ))?;
    let killed = Instant::now();
    let next = nodes.leader(&place.token(&OPERATOR)?).await?;
    put(&format!(
        "    node {next} leads now, {:.1} s later",
        killed.elapsed().as_secs_f64()
    ))
}

/// A load in several parts, and all that was acknowledged of it.
struct Loading {
    urls: Vec<String>,
    counter: Counter,
    acknowledged: Vec<Acknowledged>,
}

impl Loading {
    fn new(urls: Vec<String>) -> Loading {
        Loading {
            urls,
            counter: Counter::default(),
            acknowledged: Vec::new(),
        }
    }

    async fn load(
        &mut self,
        what: &'static str,
        expected: usize,
        plan: Plan,
        produce: impl FnOnce(&mut Plan, &Outlet) -> Result<(), Failure> + Send + 'static,
    ) -> Result<Plan, Failure> {
        let (loaded, plan) = load(what, expected, &self.urls, &self.counter, plan, produce).await?;
        let count = loaded.acknowledged.len();
        let seconds = loaded.took.max(Duration::from_millis(1)).as_secs_f64();
        put(&format!(
            "    {count} {what} acknowledged in {seconds:.1} s ({:.0} a second)",
            count as f64 / seconds
        ))?;
        self.acknowledged.extend(loaded.acknowledged);
        Ok(plan)
    }

    /// Writes the newest entry to a file, as it was sent.
    fn sample(&self, place: &Place, name: &str) -> Result<PathBuf, Failure> {
        let newest = self
            .acknowledged
            .last()
            .ok_or_else(|| Failure::failed("nothing was acknowledged"))?;
        let path = place.path(&format!("{name}.json"));
        founders::write(&path, &newest.entry.to_wire())?;
        Ok(path)
    }
}

fn write_info(
    file: &Path,
    place: &Place,
    made: &Made,
    nodes: &Nodes,
    commands: &Commands,
) -> Result<(), Failure> {
    let listed: Vec<_> = nodes
        .nodes
        .iter()
        .map(|node| json!({"id": node.number, "url": node.url, "pid": node.pid(), "data": node.data}))
        .collect();
    let info = json!({
        "nodes": listed,
        "origin": made.origin,
        "vkey": made.vkey,
        "policy": made.policy,
        "token": commands.token(&commands.inspector),
        "tokens": {
            "authority": commands.token(&commands.inspector),
            "dpo": commands.token(&commands.dpo),
            "operator": commands.token(&commands.operator),
        },
        "keys": place.keys(),
        "genesis": made.out,
    });
    let text = format!("{info:#}\n");
    // Renamed into place: whoever waits for the file never reads half of it.
    let partial = file.with_extension("partial");
    fs::write(&partial, text)
        .and_then(|()| fs::rename(&partial, file))
        .map_err(|error| Failure::failed(format!("{}: {error}", file.display())))
}

/// The folder of the demo; a temporary one goes with it.
struct Folder {
    path: PathBuf,
    keep: bool,
}

impl Folder {
    fn make(given: Option<PathBuf>) -> Result<Folder, Failure> {
        let keep = given.is_some();
        let path = given.unwrap_or_else(|| {
            std::env::temp_dir().join(format!("visto-demo-{}", std::process::id()))
        });
        fs::create_dir_all(&path)
            .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
        if fs::read_dir(&path).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(Failure::usage(format!(
                "{}: not empty; give a new folder",
                path.display()
            )));
        }
        let path = path.canonicalize().map_err(Failure::failed)?;
        Ok(Folder { path, keep })
    }

    /// Removes a temporary folder; after a failure it stays for whoever looks into it.
    fn end(self, failed: bool) {
        if failed || self.keep {
            eprintln!("    files are kept in {}", self.path.display());
        } else if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("    {}: {error}", self.path.display());
        }
    }
}

fn title(number: u32, text: &str) -> Result<(), Failure> {
    put(&format!("\n{number}. {text}"))
}

fn usize_of(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

const NODES: usize = 3;
/// ISEE nuclei that INPS signs.
const NUCLEI: usize = 300;
/// Births, separations and moves of the demo's day.
const CHANGES: usize = 90;
