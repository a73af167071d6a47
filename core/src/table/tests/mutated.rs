//! No text makes a reader panic: bytes and values of a good table are changed at random, and what is still read is routed by and
//! written in every format.

use serde_json::{Value, json};

use super::*;
use crate::formats;
use crate::outputs::Format;
use crate::routing::Priority;

/// Xorshift: one seed gives one series.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }
}

/// True: it was read.
fn survives(text: &str) -> bool {
    let _ = is_intact(text);
    let Ok(table) = RoutingTable::read(text) else {
        return false;
    };
    assert_eq!(RoutingTable::read(&table.text()).unwrap(), table);
    for format in Format::ALL {
        formats::documents(*format)(&table);
    }
    for flags in 0..4 {
        for class in [None, Some("analytics"), Some("")] {
            let _ = table.route(&Request {
                operation: Some("create"),
                class,
                region: class,
                priority: Some(Priority::High),
                read_only: flags & 1 == 1,
                prefer_primary: flags & 2 == 2,
            });
        }
    }
    true
}

#[test]
fn no_change_of_a_byte_makes_it_panic() {
    let (text, mut random) = (made(|_| {}).text(), Random(0x0D15_7817));
    let mut read = 0;
    for _ in 0..2000 {
        let mut bytes = text.clone().into_bytes();
        for _ in 0..=random.below(3) {
            let at = random.below(bytes.len());
            match random.below(3) {
                0 => bytes[at] = u8::try_from(random.below(256)).unwrap(),
                1 => bytes.truncate(at.max(1)),
                _ => bytes.insert(at, b'"'),
            }
        }
        read += usize::from(survives(&String::from_utf8_lossy(&bytes)));
    }
    assert!(read > 10, "{read}: some are still tables");
}

#[test]
fn no_change_of_a_value_makes_it_panic() {
    let odd = [
        json!(null),
        json!(-1),
        json!(0),
        json!(1.5),
        json!(u64::MAX),
        json!(""),
        json!("::ffff:198.18.0.1"),
        json!("."),
        json!(true),
        json!([]),
        json!({}),
        json!(["rw", "rw"]),
    ];
    let document: Value = serde_json::from_str(&made(|_| {}).text()).unwrap();
    let mut places = Vec::new();
    pointers(&document, String::new(), &mut places);
    let mut read = 0;
    for pointer in &places {
        for value in &odd {
            let mut changed = document.clone();
            *changed.pointer_mut(pointer).unwrap() = value.clone();
            read += usize::from(survives(&changed.to_string()));
        }
    }
    assert!(places.len() > 100 && read > 100, "{read} of {}", places.len());
}

fn pointers(value: &Value, at: String, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                pointers(value, format!("{at}/{key}"), found);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                pointers(item, format!("{at}/{index}"), found);
            }
        }
        _ => {}
    }
    found.push(at);
}
