//! A line of an interactive session, cut into words as a shell does: blanks separate, quotes and
//! backslashes keep them. Nothing is expanded.

use zeroize::Zeroizing;

use crate::error::Error;

/// A line's words, wiped on drop, since one may be a password.
pub(crate) type Words = Vec<Zeroizing<String>>;

/// Whether the line goes on in the next one: it ends in a backslash that nothing quotes.
pub(crate) fn continues(line: &str) -> bool {
    line.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

/// Cuts a line into words. A quote that is not closed is an error.
pub(crate) fn split(line: &str) -> Result<Words, Error> {
    let mut words = Words::new();
    let mut word: Option<Zeroizing<String>> = None;
    let mut quote: Option<char> = None;
    let mut characters = line.chars();
    // A word never outgrows its line: no buffer is left behind unwiped.
    let begin = || Zeroizing::new(String::with_capacity(line.len()));
    while let Some(character) = characters.next() {
        match (quote, character) {
            (Some(open), _) if character == open => quote = None,
            (Some('"') | None, '\\') => {
                word.get_or_insert_with(begin).extend(characters.next());
            }
            (Some(_), _) => word.get_or_insert_with(begin).push(character),
            (None, '"' | '\'') => {
                quote = Some(character);
                word.get_or_insert_with(begin);
            }
            (None, _) if character.is_whitespace() => words.extend(word.take()),
            (None, _) => word.get_or_insert_with(begin).push(character),
        }
    }
    if quote.is_some() {
        return Err(Error::usage("A quote is not closed"));
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        split(line).ok().unwrap().iter().map(|word| word.to_string()).collect()
    }

    #[test]
    fn blanks_separate_and_quotes_join() {
        assert_eq!(words("  key   list\t-v "), ["key", "list", "-v"]);
        assert_eq!(
            words(r#"key delete --filter attr.label="ec test" attr.id='0x01'"#),
            ["key", "delete", "--filter", "attr.label=ec test", "attr.id=0x01"]
        );
        assert_eq!(words(r#"a\ b "c\"d" 'e\f' """#), ["a b", "c\"d", "e\\f", ""]);
        assert!(words("").is_empty());
        assert!(split("say 'x").is_err());
    }

    #[test]
    fn a_line_goes_on_after_a_single_backslash() {
        assert!(continues(r"key list \"));
        assert!(!continues(r"key list \\"));
        assert!(!continues("key list"));
    }

    proptest::proptest! {
        #[test]
        fn any_line_is_cut_or_refused(line in ".*") {
            let _ = (split(&line), continues(&line));
        }

        #[test]
        fn quoted_words_come_back_as_they_were(words in proptest::collection::vec("[^']*", 0..6)) {
            let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
            let cut = split(&quoted.join(" ")).map_err(|e| e.to_string());
            proptest::prop_assert_eq!(
                cut.map(|cut| cut.iter().map(|word| word.to_string()).collect::<Vec<_>>()),
                Ok(words)
            );
        }
    }
}
