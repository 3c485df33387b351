// SPDX-License-Identifier: EUPL-1.2
//! The committed counts, and what is said of new ones.

use std::{collections::BTreeMap, fmt};

/// The most that a count may rise, in percent.
const RISE_MAX: u64 = 5;

/// What counts depend on beside the code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Machine {
    /// `rustc --version`.
    pub(crate) rustc: String,
    pub(crate) target: String,
    /// Whose allocator it is.
    pub(crate) libc: String,
    /// What of the processor's features code is chosen by, as callgrind shows them.
    pub(crate) features: String,
}

/// Instructions of one function. Hashing is told apart: a processor has instructions for SHA-256 that callgrind's has not, so there it weighs more than
/// it should, and would hide all else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) code: u64,
    /// In SHA-2 itself: tells how much is hashed.
    pub(crate) hashing: u64,
}

/// Counts by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Baseline {
    pub(crate) machine: Machine,
    pub(crate) counts: BTreeMap<String, Count>,
}

/// What comes of a comparison, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Same(String),
    /// Counted by another compiler, or for another machine.
    Incomparable(String),
    Differs(String),
}

impl Baseline {
    /// # Panics
    /// If the file is not one that [`Baseline`] prints.
    pub(crate) fn parse(text: &str) -> Baseline {
        let mut lines = text.lines().filter(|line| !line.starts_with('#'));
        let mut head = |name: &str| {
            let line = lines.next().unwrap_or_default();
            let value = line.strip_prefix(name).and_then(|it| it.strip_prefix(' '));
            value
                .unwrap_or_else(|| panic!("the baseline has no line {name}"))
                .to_owned()
        };
        let machine = Machine {
            rustc: head("compiler"),
            target: head("target"),
            libc: head("libc"),
            features: head("features"),
        };
        let counts = lines.map(|line| {
            let mut words = line.split_whitespace();
            let mut parse = || {
                let name = words.next()?.to_owned();
                let code = words.next()?.parse().ok()?;
                let hashing = words.next()?.parse().ok()?;
                Some((name, Count { code, hashing }))
            };
            parse().unwrap_or_else(|| panic!("the baseline has a line that is no count: {line}"))
        });
        Baseline {
            machine,
            counts: counts.collect(),
        }
    }

    /// Holds new counts against these.
    pub(crate) fn judge(&self, new: &Baseline) -> Verdict {
        let (old, now) = (&self.machine, &new.machine);
        for (what, old, now) in [
            ("compiler", &old.rustc, &now.rustc),
            ("target", &old.target, &now.target),
            ("C library", &old.libc, &now.libc),
            ("processor under valgrind", &old.features, &now.features),
        ] {
            if old != now {
                return Verdict::Incomparable(format!("its {what} is {old}, this one is {now}"));
            }
        }
        let mut risen = Vec::new();
        let mut table = String::new();
        for (name, count) in &new.counts {
            let Some(before) = self.counts.get(name) else {
                risen.push(format!("{name} is not in the baseline"));
                continue;
            };
            table.push_str(&format!("    {name:<20}"));
            for (what, before, count) in [
                ("", before.code, count.code),
                (" in SHA-2", before.hashing, count.hashing),
            ] {
                let rise = (count as f64 / before.max(1) as f64 - 1.0) * 100.0;
                let rise = if count == before { 0.0 } else { rise };
                table.push_str(&format!(" {count:>9} {rise:>+6.1} %"));
                if count.saturating_mul(100) > before.saturating_mul(100 + RISE_MAX) {
                    risen.push(format!(
                        "{name} rose by {rise:.1} %{what}: {before} to {count}"
                    ));
                }
            }
            table.push('\n');
        }
        for name in self.counts.keys() {
            if !new.counts.contains_key(name) {
                risen.push(format!(
                    "{name} is in the baseline and not counted any more"
                ));
            }
        }
        if risen.is_empty() {
            return Verdict::Same(table);
        }
        let found = risen.join("\n  ");
        Verdict::Differs(format!(
            "{table}more instructions than the baseline allows ({RISE_MAX} %):\n  {found}\nMake it cheaper, or say in the commit why it is \
             worth it and renew the baseline: ./scripts/instructions --renew"
        ))
    }
}

impl fmt::Display for Baseline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine {
            rustc,
            target,
            libc,
            features,
        } = &self.machine;
        writeln!(
            f,
            "# Instructions of what is hot in the ledger's core, counted by callgrind. ./scripts/test fails where one rises by over {RISE_MAX} %.\n\
             # Renew: ./scripts/instructions --renew\n\
             # By name: instructions outside of SHA-2, and in it.\n\
             compiler {rustc}\ntarget {target}\nlibc {libc}\nfeatures {features}"
        )?;
        for (name, count) in &self.counts {
            let Count { code, hashing } = count;
            writeln!(f, "{name:<20} {code:>9} {hashing:>9}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All hash alike.
    fn counted(counts: &[(&str, u64)]) -> Baseline {
        let count = |code| Count { code, hashing: 100 };
        Baseline {
            machine: Machine {
                rustc: "rustc 1.95.0".to_owned(),
                target: "x86_64-unknown-linux-gnu".to_owned(),
                libc: "glibc 2.36".to_owned(),
                features: "avx2".to_owned(),
            },
            counts: counts
                .iter()
                .map(|(name, code)| ((*name).to_owned(), count(*code)))
                .collect(),
        }
    }

    #[test]
    fn a_baseline_is_read_back_as_it_was_written() {
        let baseline = counted(&[("leaf", 12_345), ("a-name-longer-than-the-column", 1)]);
        assert_eq!(Baseline::parse(&baseline.to_string()), baseline);
    }

    #[test]
    fn a_rise_beyond_what_is_allowed_fails_and_names_itself() {
        let old = counted(&[("leaf", 1000), ("fold", 1000)]);
        let same = old.judge(&counted(&[("leaf", 1050), ("fold", 10)]));
        assert!(matches!(same, Verdict::Same(_)), "{same:?}");
        let Verdict::Differs(said) = old.judge(&counted(&[("leaf", 1051), ("fold", 1000)])) else {
            panic!("a rise passed");
        };
        assert!(said.contains("leaf rose by 5.1 %: 1000 to 1051"), "{said}");
        assert!(said.contains("./scripts/instructions --renew"), "{said}");
        let mut hashes = counted(&[("leaf", 1000), ("fold", 1000)]);
        hashes.counts.entry("fold".to_owned()).or_default().hashing = 200;
        let Verdict::Differs(said) = old.judge(&hashes) else {
            panic!("a second hash passed");
        };
        assert!(
            said.contains("fold rose by 100.0 % in SHA-2: 100 to 200"),
            "{said}"
        );
    }

    #[test]
    fn what_only_one_side_counts_fails() {
        let old = counted(&[("leaf", 1000)]);
        for new in [counted(&[]), counted(&[("leaf", 1000), ("fold", 1)])] {
            assert!(matches!(old.judge(&new), Verdict::Differs(_)));
        }
    }

    #[test]
    fn counts_of_another_compiler_or_processor_are_not_compared() {
        let old = counted(&[("leaf", 1000)]);
        let mut compiler = counted(&[("leaf", 9000)]);
        compiler.machine.rustc = "rustc 1.96.0".to_owned();
        let mut processor = counted(&[("leaf", 9000)]);
        processor.machine.features = "none".to_owned();
        for new in [compiler, processor] {
            assert!(matches!(old.judge(&new), Verdict::Incomparable(_)));
        }
    }
}
