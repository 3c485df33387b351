// SPDX-License-Identifier: EUPL-1.2
//! Figures for people: sums, charts, and the places in the README where those on record stand.

use std::path::Path;

pub mod bars;
pub mod lines;
pub mod stats;
pub mod svg;

/// Renews what stands in a tree's README between the marks of that name.
///
/// # Errors
/// The file cannot be read or written, or has lost the marks.
pub fn in_readme(root: &Path, name: &str, text: &str) -> Result<(), String> {
    let file = root.join("README.md");
    let failed = |error: std::io::Error| format!("{}: {error}", file.display());
    let readme = std::fs::read_to_string(&file).map_err(failed)?;
    let renewed = in_place(&readme, name, text)
        .ok_or_else(|| format!("README.md has lost the marks <!-- {name}: begin/end -->"))?;
    std::fs::write(&file, renewed).map_err(failed)
}

/// The tree whose figures a program reads and renews: the one from whose root it was started, as `./scripts/bench` does. Not the one that it was
/// compiled in, since clones share one folder of what cargo builds.
pub fn tree() -> &'static Path {
    Path::new(".")
}

/// Replaces what stands between the marks of that name; none if there are no marks.
pub fn in_place(text: &str, name: &str, figures: &str) -> Option<String> {
    let (begin, end) = (
        format!("<!-- {name}: begin -->\n"),
        format!("<!-- {name}: end -->\n"),
    );
    let (before, rest) = text.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some([before, &begin, figures, &end, after].concat())
}

/// A whole number with thin gaps, as people read it.
pub fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        let texts: Vec<String> = [0.4, 999.5, 1_234_567.0].map(thousands).to_vec();
        assert_eq!(texts, ["0", "1 000", "1 234 567"]);
    }

    #[test]
    fn the_readme_is_changed_between_its_marks_alone() {
        let readme =
            "a\n<!-- x: begin -->\nold\n<!-- x: end -->\nb\n<!-- y: begin -->\n<!-- y: end -->\n";
        let renewed = in_place(readme, "x", "new\n").unwrap();
        assert_eq!(renewed, readme.replace("old", "new"));
        assert_eq!(in_place("no marks", "x", "new"), None);
        let own = include_str!("../../../README.md");
        for name in ["figures", "flat", "simulation"] {
            assert!(in_place(own, name, "").is_some(), "{name}");
        }
    }
}
