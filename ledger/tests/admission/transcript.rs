// SPDX-License-Identifier: EUPL-1.2
//! The transcript language. Each line is a step, what it comes to stands below it.
//!
//! Institutions, people, households, records and keys are named; `inps.entry` is the key of INPS for entries. Arguments of every
//! submission: `for` (institution), `by` (keys; default the institution's own), `ago` and `id-ago` (how long before now; `-3m` = ahead),
//! `id` (that of an accepted entry), `refers` (index of an accepted entry, `last` governance entry, `none`), `stream`, `n`, `prev`
//! (index of an accepted entry, `zero`).

use std::{collections::BTreeMap, fmt::Write, str::FromStr};

use datadriven::TestCase;
use ledger::{
    admission::{Row, RowKind},
    body::{Content, Reference, StreamPlace},
    bytes::{self, sides::Unsettled},
    consent::status_at,
    entry::StoredEntry,
    erasure::{self, Carried},
    finding::Finding,
    hash::Hash,
    household::{Composition, membership},
    key::KeyUse,
    number::{EntryIndex, TreeSize},
    retention,
    state::registry,
};

mod contents;

use crate::town::{START_MS, Said, Saying, Town, institution, key, person};

#[test]
fn transcripts() {
    datadriven::walk("tests/transcripts", |file| {
        let mut told = Teller {
            town: Town::new(),
            labels: BTreeMap::new(),
            stored: BTreeMap::new(),
        };
        file.run(|case| told.step(case));
        if file.filename.ends_with("types.txt") {
            crate::types::keep(&told.town);
        }
    });
}

struct Teller {
    town: Town,
    /// Names of what rows belong to.
    labels: BTreeMap<Row, String>,
    /// Entries as a node keeps them, where erasures were carried out.
    stored: BTreeMap<u64, StoredEntry>,
}

impl Teller {
    fn step(&mut self, case: &mut TestCase) -> String {
        let mut args = Args(case);
        let directive = args.0.directive.clone();
        let told = match directive.as_str() {
            "clock" => {
                self.town.now_ms += u64::try_from(args.duration("add").unwrap()).unwrap();
                String::new()
            }
            "genesis" => self.genesis(&mut args),
            "again" => {
                let entry = self
                    .town
                    .entry(args.number("entry").unwrap())
                    .submitted
                    .clone();
                told(self.town.submit(entry), &self.town)
            }
            "rows" => self.rows(&mut args),
            "unsettled" => self.unsettled(),
            "carry-out" => self.carry_out(&mut args),
            "erasure-state" => self.erasure_state(&mut args),
            "consent-status" => self.consent_status(&mut args),
            "members" => self.members(&mut args),
            "registry" => self.registry(),
            kind => {
                let (content, disclosures) = self.content(kind, &mut args);
                self.submit(content, disclosures, &mut args)
            }
        };
        case.expect_empty()
            .unwrap_or_else(|error| panic!("{directive}: {error}"));
        told
    }

    fn submit(
        &mut self,
        content: Content,
        disclosures: Vec<String>,
        args: &mut Args<'_>,
    ) -> String {
        let governs = ledger::admission::use_of(content.entry_type()) == KeyUse::Governance;
        let on_duty = ledger::admission::use_of(content.entry_type()).as_str();
        let speaker = args
            .text("for")
            .or_else(|| governs.then(|| "inps".to_owned()))
            .expect("for=");
        let mut signers = args.list("by");
        if signers.is_empty() {
            signers.push(format!("{speaker}.{on_duty}"));
        }
        let town = &self.town;
        let refers_to = match args.text("refers").as_deref() {
            None if governs => town.governed(),
            Some("last") => town.governed(),
            None | Some("none") => None,
            Some("ahead") => Some(Reference {
                index: EntryIndex(town.size()),
                leaf: Hash::ZERO,
            }),
            Some("wrong-leaf") => town.governed().map(|reference| Reference {
                leaf: Hash::ZERO,
                ..reference
            }),
            Some(index) => Some(town.reference(index.parse().unwrap())),
        };
        let stream = args.text("stream").map(|name| StreamPlace {
            name,
            n: args.number("n").unwrap(),
            prev: match args.text("prev").as_deref() {
                None | Some("zero") => Hash::ZERO,
                Some(index) => {
                    bytes::stream_prev(town.entry(index.parse().unwrap()).submitted.pae())
                }
            },
        });
        let id = args.number("id").map(|index| {
            let entry = &town.entry(index).effects.entry;
            entry.entry().body().common.id
        });
        let saying = Saying {
            institution: speaker,
            signers,
            ago_ms: args.duration("ago").unwrap_or(0),
            id_ago_ms: args.duration("id-ago").unwrap_or(0),
            id,
            refers_to,
            stream,
        };
        let submitted = self.town.sign(content, disclosures, &saying);
        told(self.town.submit(submitted), &self.town)
    }

    /// The exchanges that somebody should look at, by the entry that they are kept under.
    fn unsettled(&self) -> String {
        let mut told = String::new();
        for (key, value) in self.town.state.iter() {
            if let Some(index) = key.unsettled_index() {
                match Unsettled::decode(value).unwrap() {
                    Unsettled::Pair(sides, pair) => writeln!(
                        told,
                        "{index}: {} {} {sides:?}",
                        pair.consumer, pair.provider
                    ),
                    Unsettled::Corrected => writeln!(told, "{index}: corrected"),
                }
                .unwrap();
            }
        }
        told
    }

    /// What an order comes to at an entry: its leaf stays, whatever goes.
    fn carry_out(&mut self, args: &mut Args<'_>) -> String {
        let (at, order) = (args.number("entry").unwrap(), args.number("order").unwrap());
        let accepted = &self.town.entry(at).effects.entry;
        let order = erasure::order(&self.town.state, EntryIndex(order))
            .unwrap()
            .expect("an order");
        let stored = self
            .stored
            .entry(at)
            .or_insert_with(|| accepted.clone().into_stored());
        let entry_type = stored.meta.entry_type;
        let ceased = retention::ceased(&self.town.state, EntryIndex(at), entry_type).unwrap();
        let carried = order.carry_out(EntryIndex(at), stored, ceased).unwrap();
        assert_eq!(stored.leaf_hash(), accepted.leaf_hash());
        let kept = stored.encode();
        let kept = StoredEntry::decode(&kept.text, &kept.bytes);
        assert_eq!(kept.as_ref(), Ok(&*stored));
        let mut told = match carried {
            Carried::Now(gone) => {
                let mut told = "now\n".to_owned();
                for row in gone.rows {
                    writeln!(told, "forgets {:?}", row.kind).unwrap();
                }
                told
            }
            Carried::Before => "before\n".to_owned(),
            Carried::Spared => "spared\n".to_owned(),
        };
        let body = if stored.body.is_some() {
            "body"
        } else {
            "no body"
        };
        writeln!(told, "{body}, {} disclosures", stored.disclosures.len()).unwrap();
        told
    }

    /// What the state knows of an order.
    fn erasure_state(&mut self, args: &mut Args<'_>) -> String {
        let index = EntryIndex(args.number("order").unwrap());
        let state = &self.town.state;
        let order = erasure::order(state, index).unwrap().expect("an order");
        let silent = erasure::waits_for(state, &order).unwrap();
        let silent: Vec<String> = silent.iter().map(|node| node.0.to_string()).collect();
        let by = if order.authority { " (authority)" } else { "" };
        let (institution, ground) = (&order.institution, order.ground.as_str());
        format!(
            "{institution}{by}: {ground}, waits for nodes [{}]\n",
            silent.join(" ")
        )
    }

    fn rows(&mut self, args: &mut Args<'_>) -> String {
        let entry = self.town.entry(args.number("entry").unwrap());
        let mut names: BTreeMap<Row, String> = self.labels.clone();
        for accepted in &self.town.accepted {
            let common = &accepted.effects.entry.entry().body().common;
            names.insert(
                Row::institution(&common.institution),
                common.institution.to_string(),
            );
        }
        for name in ["inps", "voghera", "asl", "garante", "pavia", "insiel"] {
            names.insert(
                Row::institution(&institution(name)),
                institution(name).to_string(),
            );
        }
        for finding in Finding::ALL {
            names.insert(Row::finding(finding), finding.name().to_owned());
        }
        names.insert(Row::any_finding(), "any".to_owned());
        for entry_type in ledger::body::EntryType::ALL {
            names.insert(Row::entry_type(entry_type), entry_type.as_str().to_owned());
        }
        let label = |row: &Row| names.get(row).cloned().unwrap_or_else(|| "?".to_owned());
        let mut lines: Vec<String> = entry
            .effects
            .rows
            .iter()
            .map(|row| format!("{:?} {}", row.kind, label(row)))
            .collect();
        lines.sort();
        lines.iter().map(|line| format!("{line}\n")).collect()
    }

    /// The status of a record by a fold over its events, found through the rows.
    fn consent_status(&mut self, args: &mut Args<'_>) -> String {
        let (record, subject) = (args.text("record").unwrap(), args.text("subject").unwrap());
        let row = Row::consent(&person(&subject), &record);
        let index = args.number("index").unwrap_or(u64::MAX);
        let time_ms = args.duration("at").map_or(self.town.now_ms, |at| {
            START_MS.checked_add_signed(at).unwrap()
        });
        let events = self
            .town
            .accepted
            .iter()
            .map(|accepted| &accepted.effects)
            .filter(|effects| effects.rows.contains(&row));
        let events = events.filter_map(|effects| match &effects.entry.entry().body().content {
            Content::Consent(event)
                if ledger::consent::counts(event.event, effects.entry.meta().findings) =>
            {
                Some((
                    effects.entry.index(),
                    effects.entry.meta().accepted_at_ms,
                    &**event,
                ))
            }
            _ => None,
        });
        let status = status_at(events, EntryIndex(index), time_ms);
        if index == u64::MAX {
            // What was folded entry by entry is what the events fold to.
            let folded = registry::consent(&self.town.state, &person(&subject), &record).unwrap();
            assert_eq!(
                folded.map_or(ledger::consent::ConsentStatus::Unknown, |state| state
                    .status(time_ms)),
                status
            );
        }
        format!("{}\n", status.as_str())
    }

    fn members(&mut self, args: &mut Args<'_>) -> String {
        let household = args.text("of").unwrap();
        let row = Row {
            kind: RowKind::Household,
            of: person(&household),
        };
        let mut names: BTreeMap<Hash, &String> = BTreeMap::new();
        names.extend(
            self.labels
                .iter()
                .filter(|(row, _)| row.kind == RowKind::Subject)
                .map(|(row, name)| (row.of, name)),
        );
        let compositions: Vec<Composition> = self
            .town
            .accepted
            .iter()
            .filter(|accepted| accepted.effects.rows.contains(&row))
            .filter_map(
                |accepted| match &accepted.effects.entry.entry().body().content {
                    Content::Household(said) => Some(Composition {
                        index: accepted.effects.entry.index(),
                        valid_from_ms: said.valid_from_ms,
                        members: said
                            .members
                            .iter()
                            .map(|member| member.value.as_ref().unwrap().person)
                            .collect(),
                    }),
                    _ => None,
                },
            )
            .collect();
        let hours = |time_ms: u64| (i128::from(time_ms) - i128::from(START_MS)) / 3_600_000;
        let mut lines: Vec<String> = membership(&compositions)
            .iter()
            .map(|spell| {
                let until = spell
                    .until_ms
                    .map_or("open".to_owned(), |until| format!("{}h", hours(until)));
                format!(
                    "{} {}h..{until}\n",
                    names[&spell.person],
                    hours(spell.from_ms)
                )
            })
            .collect();
        lines.sort();
        lines.concat()
    }

    fn registry(&self) -> String {
        let state = &self.town.state;
        let next = TreeSize(self.town.size());
        let mut told = String::new();
        let (institutions, count) = registry::institutions(state, 0, 100).unwrap();
        assert_eq!(institutions.len() as u64, count);
        for record in institutions {
            let id = &record.institution;
            let ended = match (&record.successor, record.ended) {
                (Some(successor), true) => format!(" ended, now {successor}"),
                (None, true) => " ended".to_owned(),
                _ => String::new(),
            };
            let roles = registry::roles_of(state, id).unwrap().join(" ");
            let delegates: Vec<_> = registry::delegates_of(state, id)
                .unwrap()
                .iter()
                .map(ToString::to_string)
                .collect();
            writeln!(
                told,
                "{id} ({}){ended} roles [{roles}] delegates [{}]",
                record.name,
                delegates.join(" ")
            )
            .unwrap();
            for (_, key) in registry::keys_of(state, id).unwrap() {
                if key.first > 0 || key.until < u64::MAX {
                    let until = if key.until == u64::MAX {
                        "open".to_owned()
                    } else {
                        key.until.to_string()
                    };
                    writeln!(
                        told,
                        "  {} key {}..{until}",
                        key.key_use.as_str(),
                        key.first
                    )
                    .unwrap();
                }
            }
        }
        for node in registry::nodes(state).unwrap() {
            let force = if node.in_force_at(next) {
                "in force"
            } else {
                "gone"
            };
            writeln!(told, "node {} of {} {force}", node.node, node.institution).unwrap();
        }
        let log = registry::log_key_at(state, next).unwrap().unwrap();
        let log = ["log", "log2", "log3"]
            .into_iter()
            .find(|name| key(name).key_id() == log)
            .unwrap();
        let governance = registry::governance(state).unwrap().unwrap();
        let rules = registry::rules(state).unwrap().unwrap();
        writeln!(
            told,
            "log key {log}, rules {rules}, k {}, governed by {}",
            governance.k, governance.last.index
        )
        .unwrap();
        if let Some((reference, text)) = registry::policy(state).unwrap() {
            writeln!(told, "policy of {}: {text}", reference.index).unwrap();
        }
        told
    }
}

fn told(said: Said, town: &Town) -> String {
    match said {
        Said::Accepted(index) => format!(
            "{index}: {}\n",
            town.entry(index).effects.entry.meta().findings
        ),
        Said::Known(index) => format!("known: {index}\n"),
        Said::Refused(refused) => format!("refused: {refused}\n"),
    }
}

struct Args<'a>(&'a mut TestCase);

impl Args<'_> {
    fn text(&mut self, name: &str) -> Option<String> {
        self.0.try_take_arg(name).unwrap()
    }

    fn number(&mut self, name: &str) -> Option<u64> {
        self.text(name).map(|text| u64::from_str(&text).unwrap())
    }

    fn flag(&mut self, name: &str) -> bool {
        self.0.take_flag(name).unwrap()
    }

    fn list(&mut self, name: &str) -> Vec<String> {
        self.0.try_take_args(name).unwrap().unwrap_or_default()
    }

    fn list_or(&mut self, name: &str, default: &[&str]) -> Vec<String> {
        let list = self.list(name);
        if list.is_empty() {
            default.iter().map(|item| (*item).to_owned()).collect()
        } else {
            list
        }
    }

    /// `90s`, `5m`, `24h`, `35d`, with a sign if need be, in milliseconds.
    fn duration(&mut self, name: &str) -> Option<i64> {
        let text = self.text(name)?;
        let (number, unit) = text.split_at(text.len() - 1);
        let unit = match unit {
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            other => panic!("unknown unit {other}"),
        };
        Some(number.parse::<i64>().unwrap() * unit)
    }
}
