use super::*;
use crate::conversation::opening;

/// What SQL itself defines, whatever `search_path` is.
const GRAMMAR: [&str; 6] = ["coalesce", "extract", "SELECT", "FROM", "AND", "WHERE"];

/// What a statement leaves to `search_path`.
fn unqualified(statement: &str) -> Vec<String> {
    let mut text = String::new();
    // Without its texts.
    for (at, piece) in statement.split('\'').enumerate() {
        text.push_str(if at % 2 == 0 { piece } else { "TEXT" });
    }
    let mut found = Vec::new();
    for (at, _) in text.match_indices("OPERATOR(") {
        if !text[at..].starts_with("OPERATOR(pg_catalog.") {
            found.push(text[at..].chars().take(20).collect());
        }
    }
    for operator in [
        "=", "<>", "<", ">", ">=", "<=", "+", "-", "*", "/", "~", "||", "::",
    ] {
        let named = format!("OPERATOR(pg_catalog.{operator})");
        text = text.replace(&named, " ");
    }
    // Any argument, of an aggregate.
    let text = text.replace("(*)", "()").replace("::pg_catalog.", " ");
    let operators = text
        .chars()
        .filter(|letter| "=<>+-*/~|&^!@#%?".contains(*letter) || *letter == ':');
    found.extend(operators.map(String::from));
    let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '.';
    for (at, _) in text.match_indices('(') {
        let word = text[..at]
            .rsplit(|letter| !is_word(letter))
            .next()
            .unwrap_or_default();
        if !word.is_empty() && !word.starts_with("pg_catalog.") && !GRAMMAR.contains(&word) {
            found.push(word.to_owned());
        }
    }
    let words: Vec<_> = text
        .split(|letter| !is_word(letter))
        .filter(|word| !word.is_empty())
        .collect();
    for pair in words.windows(2) {
        if ["FROM", "JOIN"].contains(&pair[0]) && !pair[1].starts_with("pg_catalog.") && pair[1] != "SELECT" {
            found.push(pair[1].to_owned());
        }
    }
    let operators = [
        "DISTINCT", "IN", "LIKE", "BETWEEN", "ANY", "ALL", "USING", "CAST", "ORDER", "NULLIF",
    ];
    found.extend(
        words
            .iter()
            .filter(|word| operators.contains(word))
            .map(ToString::to_string),
    );
    found
}

#[test]
fn nothing_of_a_question_is_looked_for_by_search_path() {
    let opening = opening(Duration::from_secs(1));
    let ours = opening.split(';').map(ToOwned::to_owned);
    for statement in ours.chain(statements().chain([STAY]).map(ToOwned::to_owned)) {
        assert_eq!(unqualified(&statement), Vec::<String>::new(), "{statement}");
    }
    for (statement, left) in [
        ("SELECT count(*) FROM pg_catalog.pg_class", "count"),
        ("SELECT 1 + 1", "+"),
        ("SELECT a::text FROM pg_catalog.pg_class", ":"),
        ("SELECT 1 FROM pg_class", "pg_class"),
        ("SELECT a IS DISTINCT FROM 'b'", "DISTINCT"),
        ("SELECT 1 OPERATOR(public.+) 1", "OPERATOR(public.+) 1"),
    ] {
        assert!(
            unqualified(statement).iter().any(|found| found == left),
            "{statement}"
        );
    }
}
