// SPDX-License-Identifier: BSD-3-Clause
//! Codice fiscale: form, check letter, and the calculation of both from a person's data (DM 23 December 1976).
//!
//! A code is never un-omocoded and never leaves this process: what the ledger sees are refs.

use std::fmt;

use zeroize::Zeroize;

/// A natural person's tax code: 16 upper-case characters whose check letter holds.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Zeroize)]
pub struct TaxCode([u8; 16]);

/// Why a text is no tax code. Never repeats the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TaxCodeError {
    /// Not the 16 characters of the form.
    #[error(
        "a codice fiscale has 16 characters: 6 letters, 2 digits, a month letter, 2 digits, a letter, 3 digits, a check letter"
    )]
    Form,
    /// The last letter is not that of the 15 before.
    #[error("the check letter of the codice fiscale is wrong: look for a typing error")]
    CheckLetter,
}

/// A person's sex as the code carries it (women's day of birth is raised by 40).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Sex {
    Female,
    Male,
}

impl TaxCode {
    /// Parses and checks a code, in either case.
    ///
    /// # Errors
    /// [`TaxCodeError::Form`] or [`TaxCodeError::CheckLetter`].
    pub fn parse(text: &str) -> Result<TaxCode, TaxCodeError> {
        let mut code: [u8; 16] = text.as_bytes().try_into().map_err(|_| TaxCodeError::Form)?;
        code.make_ascii_uppercase();
        let form_holds = code.iter().zip(FORM).all(|(byte, place)| match place {
            b'a' => byte.is_ascii_uppercase(),
            b'0' => byte.is_ascii_digit() || OMOCODIA.contains(byte),
            _ => MONTHS.contains(byte),
        });
        if !form_holds {
            return Err(TaxCodeError::Form);
        }
        let [body @ .., check] = &code;
        if check_letter(body) != *check {
            return Err(TaxCodeError::CheckLetter);
        }
        Ok(TaxCode(code))
    }

    /// The code of a person with these data.
    ///
    /// `month` from 1 to 12, `day` from 1 to 31, `year` any (its last two digits are used); `birthplace` is the cadastral code, such as
    /// `M109`. `None` where the month, the day or the birthplace is out of range.
    pub fn compute(
        surname: &str,
        name: &str,
        sex: Sex,
        (year, month, day): (u16, u8, u8),
        birthplace: &str,
    ) -> Option<TaxCode> {
        let month_letter = MONTHS.get(usize::from(month).checked_sub(1)?)?;
        if !(1..=31).contains(&day) {
            return None;
        }
        let day = if sex == Sex::Female { day + 40 } else { day };
        let text = format!(
            "{}{}{:02}{}{:02}{}",
            surname_letters(surname),
            name_letters(name),
            year % 100,
            char::from(*month_letter),
            day,
            birthplace.to_ascii_uppercase(),
        );
        let check = check_letter(text.as_bytes());
        TaxCode::parse(&format!("{text}{}", char::from(check))).ok()
    }

    /// The code with its last `replaced` digits written as letters (*omocodia*: two persons whose data give the same code).
    pub fn with_omocodia(&self, replaced: usize) -> TaxCode {
        let mut code = self.0;
        for place in OMOCODIA_PLACES.iter().take(replaced) {
            if let Some(byte) = code.get_mut(*place)
                && byte.is_ascii_digit()
                && let Some(letter) = OMOCODIA.get(usize::from(*byte - b'0'))
            {
                *byte = *letter;
            }
        }
        let check = {
            let [body @ .., _] = &code;
            check_letter(body)
        };
        let [.., last] = &mut code;
        *last = check;
        TaxCode(code)
    }

    /// The 16 upper-case characters. Handle like any personal datum: not in logs, not in URLs.
    pub fn expose(&self) -> &str {
        // The constructor let ASCII in alone.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// Prints no personal datum.
impl fmt::Debug for TaxCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TaxCode(..)")
    }
}

/// Check letter of the 15 characters before it. Characters outside `0-9A-Z` count as nothing: the form is checked elsewhere.
fn check_letter(body: &[u8]) -> u8 {
    let sum: u32 = body
        .iter()
        .enumerate()
        .map(|(place, byte)| {
            let value = match byte {
                b'0'..=b'9' => byte - b'0',
                b'A'..=b'Z' => byte - b'A',
                _ => 0,
            };
            // Places count from 1, so the first is odd.
            if place % 2 == 0 {
                ODD.get(usize::from(value)).copied().unwrap_or(0)
            } else {
                u32::from(value)
            }
        })
        .sum();
    // Below 26, so it fits.
    b'A' + (sum % 26) as u8
}

fn surname_letters(surname: &str) -> String {
    let (consonants, vowels) = split_letters(surname);
    first_three(consonants.chain(vowels))
}

/// With four consonants or more, the second is left out.
fn name_letters(name: &str) -> String {
    let (consonants, vowels) = split_letters(name);
    let consonants: Vec<char> = consonants.collect();
    if consonants.len() > 3 {
        let kept = consonants
            .iter()
            .enumerate()
            .filter(|(place, _)| *place != 1)
            .map(|(_, letter)| *letter);
        first_three(kept)
    } else {
        first_three(consonants.into_iter().chain(vowels))
    }
}

fn split_letters(text: &str) -> (impl Iterator<Item = char>, impl Iterator<Item = char>) {
    let letters: Vec<char> = text
        .chars()
        .filter_map(plain_letter)
        .map(|letter| letter.to_ascii_uppercase())
        .collect();
    let (vowels, consonants): (Vec<char>, Vec<char>) = letters
        .into_iter()
        .partition(|letter| "AEIOU".contains(*letter));
    (consonants.into_iter(), vowels.into_iter())
}

/// ASCII letter of an Italian letter, `None` for apostrophes and spaces.
fn plain_letter(letter: char) -> Option<char> {
    match letter {
        'à' | 'á' | 'À' | 'Á' => Some('A'),
        'è' | 'é' | 'È' | 'É' => Some('E'),
        'ì' | 'í' | 'Ì' | 'Í' => Some('I'),
        'ò' | 'ó' | 'Ò' | 'Ó' => Some('O'),
        'ù' | 'ú' | 'Ù' | 'Ú' => Some('U'),
        letter if letter.is_ascii_alphabetic() => Some(letter),
        _ => None,
    }
}

fn first_three(letters: impl Iterator<Item = char>) -> String {
    letters.chain(std::iter::repeat('X')).take(3).collect()
}

/// Place by place: a letter, a digit (or its omocodia letter), a month.
const FORM: &[u8; 16] = b"aaaaaa00m00a000a";
const MONTHS: &[u8; 12] = b"ABCDEHLMPRST";
const OMOCODIA: &[u8; 10] = b"LMNPQRSTUV";
/// Digits become letters from the last one backwards.
const OMOCODIA_PLACES: [usize; 7] = [14, 13, 12, 10, 9, 7, 6];
const ODD: [u32; 26] = [
    1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23,
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    const PUBLIC_VECTORS: [&str; 8] = [
        "RSSMRA85T10A562S",
        "RSSMRA85T50A562W",
        "RSSMRA85T10A56NH",
        "MRTMTT25D09F205Z",
        "MRTMTT25D09F20RU",
        "MRTMTT25D09F2LRF",
        "MRTMTT25D09FNLRU",
        "GRBGPP87L04L741X",
    ];

    #[test]
    fn public_vectors_hold() {
        for code in PUBLIC_VECTORS {
            assert_eq!(TaxCode::parse(code).unwrap().expose(), code);
            assert_eq!(TaxCode::parse(&code.to_lowercase()).unwrap().expose(), code);
        }
    }

    #[test]
    fn any_other_check_letter_is_refused() {
        for code in PUBLIC_VECTORS {
            for letter in b'A'..=b'Z' {
                let other = format!("{}{}", &code[..15], char::from(letter));
                assert_eq!(TaxCode::parse(&other).is_ok(), other == code);
            }
        }
    }

    #[test]
    fn other_forms_are_refused() {
        for text in [
            "",
            "RSSMRA85T10A562",
            "RSSMRA85T10A562SS",
            "RSSMRA85F10A562S",
            "R5SMRA85T10A562S",
            "RSSMRA85T10A56ÈH",
        ] {
            assert_eq!(TaxCode::parse(text), Err(TaxCodeError::Form), "{text}");
        }
    }

    #[test]
    fn codes_are_computed_from_data() {
        let cases = [
            (
                "Rossi",
                "Mario",
                Sex::Male,
                (1985, 12, 10),
                "A562",
                "RSSMRA85T10A562S",
            ),
            (
                "Rossi",
                "Maria",
                Sex::Female,
                (1985, 12, 10),
                "A562",
                "RSSMRA85T50A562W",
            ),
            (
                "Moretti",
                "Matteo",
                Sex::Male,
                (1925, 4, 9),
                "f205",
                "MRTMTT25D09F205Z",
            ),
            // Four consonants and more: the second one is left out (GBR is not GNB…).
            (
                "Garibaldi",
                "Giuseppe",
                Sex::Male,
                (1987, 7, 4),
                "L741",
                "GRBGPP87L04L741X",
            ),
        ];
        for (surname, name, sex, born, place, code) in cases {
            assert_eq!(
                TaxCode::compute(surname, name, sex, born, place)
                    .unwrap()
                    .expose(),
                code
            );
        }
        assert_eq!(surname_letters("Fò"), "FOX");
        assert_eq!(name_letters("Gianfranco"), "GFR");
        assert_eq!(surname_letters("D'Aù"), "DAU");
        assert!(TaxCode::compute("Rossi", "Mario", Sex::Male, (1985, 13, 10), "A562").is_none());
        assert!(TaxCode::compute("Rossi", "Mario", Sex::Male, (1985, 12, 32), "A562").is_none());
    }

    #[test]
    fn omocodia_changes_digits_from_the_end() {
        let plain = TaxCode::parse("MRTMTT25D09F205Z").unwrap();
        assert_eq!(plain.with_omocodia(1).expose(), "MRTMTT25D09F20RU");
        assert_eq!(plain.with_omocodia(2).expose(), "MRTMTT25D09F2LRF");
        assert_eq!(plain.with_omocodia(3).expose(), "MRTMTT25D09FNLRU");
    }

    #[test]
    fn debug_shows_nothing() {
        let code = TaxCode::parse("RSSMRA85T10A562S").unwrap();
        assert_eq!(format!("{code:?}"), "TaxCode(..)");
    }
}
