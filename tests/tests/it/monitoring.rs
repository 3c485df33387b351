// SPDX-License-Identifier: EUPL-1.2
//! What operators watch: every stage of an entry's way is counted, and dashboard and alerts ask for nothing that is not there.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use saphyr::{LoadableYamlNode, Yaml};
use serde_json::Value;
use tests::{
    cluster::Cluster,
    gate::{Gate, Upstream},
    wait, world,
};

#[tokio::test(flavor = "multi_thread")]
async fn every_stage_of_an_entry_is_counted() {
    let cluster = Cluster::start().await;
    for number in [1, 2, 3, 1, 2, 3] {
        let entry = world::access(&world::person("anna"));
        cluster.accept(number, &entry.line()).await;
    }
    // A fold is ordered every few seconds.
    let everywhere = ["verify", "append", "apply", "fold", "publish"];
    for number in cluster.nodes.keys() {
        wait::until("every stage to be counted", async || {
            let page = Page::of(&cluster, *number).await;
            everywhere
                .iter()
                .all(|stage| page.stage(stage) > 0.0)
                .then_some(())
        })
        .await;
    }
    // Batches are proposed by whoever leads: each waited once, and was committed unless it is under way.
    let page = wait::until("the leader's batches to be counted alike", async || {
        let leader = cluster.leader().await;
        let page = Page::of(&cluster, leader).await;
        let batches = page.value("visto_batch_entries_count", &[]);
        let alike = page.stage("queue") == batches
            && (1.0..=batches).contains(&page.stage("replicate"))
            && page.value("visto_raft_leads", &[]) == 1.0
            && page.value("visto_raft_leader", &[]) == leader as f64;
        alike.then_some(page)
    })
    .await;
    // Six accesses and the genesis at least; what is published was applied.
    let (applied, published) = ("visto_applied_size", "visto_published_size");
    assert!(page.value(published, &[]) >= 7.0);
    assert!(page.value(applied, &[]) >= page.value(published, &[]));
    // All observations are in the last bucket, and stages take time.
    for stage in ["queue", "replicate", "apply"] {
        let last = [("stage", stage), ("le", "+Inf")];
        assert_eq!(
            page.value("visto_stage_seconds_bucket", &last),
            page.stage(stage)
        );
        assert!(page.value("visto_stage_seconds_sum", &[("stage", stage)]) > 0.0);
    }
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dashboard_and_alerts_ask_for_what_nodes_and_gates_show() {
    let cluster = Cluster::start().await;
    let upstream = Upstream::start(&cluster).await;
    let mut gate = Gate::prepare(&cluster, &upstream, "", "");
    gate.start(&cluster).await;
    cluster
        .accept(1, &world::access(&world::person("anna")).line())
        .await;
    // What the leader alone shows is there once it has looked at its peers, and folds are shown once there was one.
    let shown = wait::until("all that nodes show", async || {
        let mut shown = Page::parse(&gate.metrics(&cluster).await);
        for number in cluster.nodes.keys() {
            shown.0.extend(Page::of(&cluster, *number).await.0);
        }
        let names: BTreeSet<&str> = shown.0.iter().map(|it| it.name.as_str()).collect();
        ["visto_raft_lag", "visto_state_root_version"]
            .iter()
            .all(|name| names.contains(name))
            .then_some(shown)
    })
    .await;
    let asked = [dashboard(), alerts()].concat();
    assert!(asked.len() > 30, "{} expressions", asked.len());
    let wrong: Vec<String> = asked
        .iter()
        .flat_map(|asked| asked.missing_in(&shown))
        .collect();
    assert!(wrong.is_empty(), "scripts/ops/:\n  {}", wrong.join("\n  "));
    gate.stop().await;
    cluster.finish().await;
}

/// One line of a page of metrics.
#[derive(Clone)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

struct Page(Vec<Sample>);

impl Page {
    async fn of(cluster: &Cluster, number: u64) -> Page {
        let url = cluster.url(number, "/metrics");
        let answer = cluster.http.get(&url, None).await.expect("metrics");
        assert_eq!(answer.status, 200);
        Page::parse(&answer.text)
    }

    fn parse(text: &str) -> Page {
        let lines = text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        let samples = lines.map(|line| {
            let (series, value) = line.rsplit_once(' ').expect("a series and a value");
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let labels = labels.strip_suffix('}').expect("closed labels");
            Sample {
                name: name.to_owned(),
                labels: matchers(labels)
                    .into_iter()
                    .map(|(label, _, value)| (label, value))
                    .collect(),
                value: value.parse().expect("a number"),
            }
        });
        Page(samples.collect())
    }

    /// The value of the one series with these labels, or the sum of all that have them; 0 if there is none.
    fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |sample: &&Sample| {
            let label = |(label, value): &(&str, &str)| {
                sample.labels.get(*label).is_some_and(|it| it == value)
            };
            sample.name == name && labels.iter().all(label)
        };
        self.0.iter().filter(has).map(|sample| sample.value).sum()
    }

    fn stage(&self, stage: &str) -> f64 {
        self.value("visto_stage_seconds_count", &[("stage", stage)])
    }
}

/// An expression, and the labels that the words beside it name.
#[derive(Clone)]
struct Asked {
    place: String,
    expression: String,
    labels: BTreeSet<String>,
}

impl Asked {
    /// `words`: with `{{label}}` or `{{ $labels.label }}` in it.
    fn new(place: String, expression: &str, words: &str) -> Asked {
        let named = words.split("{{").skip(1).filter_map(|it| {
            let name = it.split("}}").next()?.trim();
            let name = name.strip_prefix("$labels.").unwrap_or(name);
            // `$value`, perhaps piped through a function.
            (!name.starts_with('$')).then(|| name.to_owned())
        });
        let mut labels: BTreeSet<String> = named.collect();
        // What is grouped by.
        for (at, _) in expression.match_indices("by (") {
            let list = &expression[at + 4..];
            let list = list.split(')').next().unwrap_or_default();
            labels.extend(list.split(',').map(|label| label.trim().to_owned()));
        }
        Asked {
            place,
            expression: expression.to_owned(),
            labels,
        }
    }

    fn missing_in(&self, shown: &Page) -> Vec<String> {
        let mut missing = Vec::new();
        let mut there: BTreeSet<&str> = BTreeSet::from(["instance", "job"]);
        let used = selectors(&self.expression);
        if used.is_empty() {
            missing.push(format!("{}: no metric of ours", self.place));
        }
        for (name, matchers) in &used {
            let series: Vec<&Sample> = shown.0.iter().filter(|it| it.name == *name).collect();
            if series.is_empty() {
                missing.push(format!("{}: no {name} is shown", self.place));
            }
            there.extend(
                series
                    .iter()
                    .flat_map(|it| it.labels.keys())
                    .map(|it| &**it),
            );
            for (label, operator, value) in matchers {
                // Prometheus adds these two itself.
                if ["instance", "job"].contains(&label.as_str()) {
                    continue;
                }
                let fits = |it: &&Sample| it.labels.get(label).is_some_and(|it| it == value);
                if operator != "=" || !series.iter().any(fits) {
                    missing.push(format!(
                        "{}: no {name} has {label} {operator} {value}",
                        self.place
                    ));
                }
            }
        }
        for label in self.labels.iter().filter(|it| !there.contains(it.as_str())) {
            missing.push(format!("{}: nothing there has a label {label}", self.place));
        }
        missing
    }
}

/// A label, an operator and a value.
type Matcher = (String, String, String);

/// `a="b", c=~"d"`
fn matchers(text: &str) -> Vec<Matcher> {
    let mut found = Vec::new();
    let mut rest = text.trim_start_matches([',', ' ']);
    while let Some((head, tail)) = rest.split_once('"') {
        let (value, tail) = tail.split_once('"').expect("a closed value");
        let label = head.trim_end_matches(['=', '~', '!']);
        let operator = head[label.len()..].to_owned();
        found.push((label.to_owned(), operator, value.to_owned()));
        rest = tail.trim_start_matches([',', ' ']);
    }
    found
}

/// The metrics of ours in an expression, each with its matchers.
fn selectors(expression: &str) -> Vec<(String, Vec<Matcher>)> {
    let mut found = Vec::new();
    for (at, _) in expression.match_indices("visto_") {
        let rest = &expression[at..];
        let end = rest
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        let (name, rest) = rest.split_at(end);
        let braces = rest.strip_prefix('{').and_then(|it| it.split_once('}'));
        found.push((
            name.to_owned(),
            braces.map_or_else(Vec::new, |(inside, _)| matchers(inside)),
        ));
    }
    found
}

fn ops(file: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/ops");
    fs::read_to_string(folder.join(file)).unwrap()
}

fn dashboard() -> Vec<Asked> {
    let board: Value = serde_json::from_str(&ops("grafana.json")).unwrap();
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let list = |value: &Value| value.as_array().expect("a list").clone();
    let mut asked = Vec::new();
    for panel in list(&board["panels"]) {
        let title = text(&panel["title"]);
        let targets = panel["targets"].as_array().cloned().unwrap_or_default();
        assert_eq!(targets.is_empty(), panel["type"] == "row", "{title}");
        for target in targets {
            let (expression, legend) = (text(&target["expr"]), text(&target["legendFormat"]));
            asked.push(Asked::new(title.clone(), &expression, &legend));
        }
    }
    for variable in list(&board["templating"]["list"]) {
        if variable["type"] == "query" {
            let query = text(&variable["query"]["query"]);
            asked.push(Asked::new(text(&variable["name"]), &query, ""));
        }
    }
    asked
}

fn alerts() -> Vec<Asked> {
    let file = ops("alerts.yaml");
    let documents = Yaml::load_from_str(&file).unwrap();
    let [document] = documents.as_slice() else {
        panic!("one document")
    };
    let text = |node: &Yaml, member: &str| -> String {
        let value = node.as_mapping_get(member).and_then(Yaml::as_str);
        value
            .unwrap_or_else(|| panic!("no {member} in {node:?}"))
            .to_owned()
    };
    fn list<'a>(node: &Yaml<'a>, member: &str) -> Vec<Yaml<'a>> {
        let value = node.as_mapping_get(member).and_then(Yaml::as_vec);
        value.unwrap_or_else(|| panic!("no {member}")).clone()
    }
    let mut asked = Vec::new();
    let mut names = BTreeSet::new();
    for group in list(document, "groups") {
        assert!(names.insert(text(&group, "name")));
        for rule in list(&group, "rules") {
            let name = text(&rule, "alert");
            let severity = rule.as_mapping_get("labels").map(|it| text(it, "severity"));
            let severity = severity.unwrap_or_default();
            assert!(["warning", "critical"].contains(&&*severity), "{name}");
            let annotations = rule.as_mapping_get("annotations").expect("annotations");
            let words = text(annotations, "summary") + &text(annotations, "description");
            asked.push(Asked::new(name.clone(), &text(&rule, "expr"), &words));
            assert!(names.insert(name), "two of one name");
        }
    }
    asked
}

#[test]
fn whoever_is_alarmed_finds_it_on_the_dashboard() {
    let names = |asked: &[Asked]| -> BTreeSet<String> {
        let used = asked.iter().flat_map(|it| selectors(&it.expression));
        used.map(|(name, _)| name).collect()
    };
    let (shown, watched) = (names(&dashboard()), names(&alerts()));
    let unseen: Vec<_> = watched.difference(&shown).collect();
    assert!(unseen.is_empty(), "no panel shows {unseen:?}");
}

#[test]
fn what_is_not_there_is_found() {
    let page =
        Page::parse("# HELP x\nvisto_a_total 3\nvisto_b_count{stage=\"verify\",peer=\"2\"} 1.5\n");
    let missing = |expression: &str, words: &str| {
        Asked::new("p".to_owned(), expression, words).missing_in(&page)
    };
    let by_peer = r#"sum by (peer) (rate(visto_b_count{stage="verify", instance=~"$node"}[5m]))"#;
    assert_eq!(
        missing(by_peer, "{{peer}} {{instance}} {{ $value | x }}"),
        [""; 0]
    );
    assert_eq!(missing("rate(visto_a[5m])", ""), ["p: no visto_a is shown"]);
    assert_eq!(missing("up == 0", ""), ["p: no metric of ours"]);
    assert_eq!(
        missing(r#"visto_b_count{stage="queue"}"#, "{{ $labels.room }}"),
        [
            "p: no visto_b_count has stage = queue",
            "p: nothing there has a label room"
        ]
    );
    assert_eq!(
        missing("sum by (le) (visto_a_total)", ""),
        ["p: nothing there has a label le"]
    );
}
