//! The messages that a server sends, version 3 of the protocol. postgres-protocol reads them and has their types; it
//! does not write them.

use postgres_protocol::message::backend;

/// Codes of an authentication message.
pub const AUTHENTICATED: u32 = 0;
pub const CLEAR_TEXT: u32 = 3;
pub const MD5: u32 = 5;
pub const SASL: u32 = 10;
pub const SASL_CONTINUE: u32 = 11;
pub const SASL_FINAL: u32 = 12;

/// The type of every column: text.
const TEXT: u32 = 25;
const PARAMETERS: [(&str, &str); 3] = [
    ("server_version", "15.7"),
    ("client_encoding", "UTF8"),
    ("integer_datetimes", "on"),
];

/// Any message.
pub fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(body.len() + 5);
    put(&mut frame, kind, |out| out.extend_from_slice(body));
    frame
}

/// Type and length of a message whose body is said apart, or never.
pub fn header(kind: u8, body: u32) -> Vec<u8> {
    let mut header = vec![kind];
    header.extend((body + 4).to_be_bytes());
    header
}

/// An authentication message with this code and data.
pub fn authentication(code: u32, data: &[u8]) -> Vec<u8> {
    frame(backend::AUTHENTICATION_TAG, &[&code.to_be_bytes(), data].concat())
}

/// The end of a login: some parameters, a key, ready.
pub fn logged_in() -> Vec<u8> {
    let mut all = authentication(AUTHENTICATED, b"");
    for (name, value) in PARAMETERS {
        let body = format!("{name}\0{value}\0");
        put(&mut all, backend::PARAMETER_STATUS_TAG, |out| {
            out.extend(body.as_bytes());
        });
    }
    let key = [0, 0, 0, 1, 0, 0, 0, 2];
    put(&mut all, backend::BACKEND_KEY_DATA_TAG, |out| out.extend(key));
    put_ready(&mut all);
    all
}

/// Ready for a question, outside of a transaction.
pub fn ready() -> Vec<u8> {
    frame(backend::READY_FOR_QUERY_TAG, b"I")
}

/// Ready, in a transaction that failed.
pub fn failed() -> Vec<u8> {
    frame(backend::READY_FOR_QUERY_TAG, b"E")
}

/// An error that ends the connection, or the statement.
pub fn error(sqlstate: &str) -> Vec<u8> {
    report(backend::ERROR_RESPONSE_TAG, "FATAL", sqlstate, "the text of it")
}

/// A notice with this text.
pub fn notice(text: &str) -> Vec<u8> {
    report(backend::NOTICE_RESPONSE_TAG, "NOTICE", "00000", text)
}

/// A row, with what comes before and after it.
pub fn row(values: &[Option<&str>]) -> Vec<u8> {
    let mut all = Vec::new();
    put_row(&mut all, values);
    all
}

/// A statement that was carried out and gives no row.
pub fn done(tag: &str) -> Vec<u8> {
    let mut all = Vec::new();
    put_done(&mut all, tag);
    all
}

/// The answers to one question: those of a transaction around `rows`.
pub fn answers(rows: &[Vec<u8>]) -> Vec<u8> {
    let opening = [done("START TRANSACTION"), done("SET")].concat();
    [opening, rows.concat(), done("COMMIT"), ready()].concat()
}

pub(crate) fn put_ready(out: &mut Vec<u8>) {
    put(out, backend::READY_FOR_QUERY_TAG, |out| out.push(b'I'));
}

pub(crate) fn put_done(out: &mut Vec<u8>, tag: &str) {
    put(out, backend::COMMAND_COMPLETE_TAG, |out| {
        out.extend(tag.as_bytes());
        out.push(0);
    });
}

pub(crate) fn put_row<T: AsRef<str>>(out: &mut Vec<u8>, values: &[Option<T>]) {
    let count = u16::try_from(values.len())
        .expect("a row has few columns")
        .to_be_bytes();
    put(out, backend::ROW_DESCRIPTION_TAG, |out| {
        out.extend(count);
        for _ in values {
            // Of no table; the type has a variable length; in text.
            out.extend(b"c\0\0\0\0\0\0\0");
            out.extend(TEXT.to_be_bytes());
            out.extend([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0]);
        }
    });
    put(out, backend::DATA_ROW_TAG, |out| {
        out.extend(count);
        for value in values {
            match value.as_ref().map(AsRef::as_ref) {
                None => out.extend((-1_i32).to_be_bytes()),
                Some(text) => {
                    out.extend(length(text.len()));
                    out.extend(text.as_bytes());
                }
            }
        }
    });
    put_done(out, "SELECT 1");
}

/// Appends a message whose body `write` appends.
fn put(out: &mut Vec<u8>, kind: u8, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(kind);
    let start = out.len();
    out.extend([0; 4]);
    write(out);
    // The length counts itself, and not the type.
    let length = length(out.len() - start);
    out[start..start + 4].copy_from_slice(&length);
}

fn report(kind: u8, severity: &str, sqlstate: &str, text: &str) -> Vec<u8> {
    let body = format!("S{severity}\0V{severity}\0C{sqlstate}\0M{text}\0\0");
    frame(kind, body.as_bytes())
}

fn length(length: usize) -> [u8; 4] {
    u32::try_from(length)
        .expect("a message is shorter than 4 GiB")
        .to_be_bytes()
}
