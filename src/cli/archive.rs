//! The archive of `kubectl distributary report`: texts in a gzipped tar file. The objects in it are read where a file with
//! objects is.

use std::io::{self, Read, Write};
use std::path::Path;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use tar::{Archive, Builder, Header};

/// The file with the objects: YAML documents.
pub const OBJECTS: &str = "objects.yaml";

/// How a gzipped file begins.
const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Bytes that are unpacked at most: objects have at most 1.5 MiB each, and a policy has some dozens.
const LONGEST: u64 = 256 << 20;

/// Packs texts by their names into a folder. `time`: when they were made, in seconds since 1970.
///
/// # Errors
/// A name is too long for a tar file.
pub fn pack(folder: &str, files: &[(String, String)], time: u64) -> io::Result<Vec<u8>> {
    let mut archive = Builder::new(GzEncoder::new(vec![], Compression::default()));
    for (name, text) in files {
        let mut header = Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(time);
        archive.append_data(&mut header, format!("{folder}/{name}"), text.as_bytes())?;
    }
    let mut packed = archive.into_inner()?;
    packed.flush()?;
    packed.finish()
}

/// Whether a file may be an archive.
#[must_use]
pub fn is_one(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

/// The text with the objects.
///
/// # Errors
/// It is no archive of this kind, or is damaged.
pub fn objects(bytes: &[u8]) -> io::Result<String> {
    let mut archive = Archive::new(GzDecoder::new(bytes).take(LONGEST));
    for entry in archive.entries()? {
        let mut entry = entry?;
        if entry.path()?.file_name() == Some(Path::new(OBJECTS).as_os_str()) {
            let mut text = String::new();
            entry.read_to_string(&mut text)?;
            return Ok(text);
        }
    }
    let what = format!("the archive has no {OBJECTS}");
    Err(io::Error::new(io::ErrorKind::InvalidData, what))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(names: &[&str]) -> Vec<(String, String)> {
        let file = |name: &&str| ((*name).to_owned(), format!("# {name}\n"));
        names.iter().map(file).collect()
    }

    #[test]
    fn the_objects_of_an_archive_are_read_and_damage_is_told() {
        let packed = pack("report", &files(&["notes.txt", "logs/a.log", OBJECTS]), 7).unwrap();
        assert!(is_one(&packed) && !is_one(b"kind: x"));
        assert_eq!(objects(&packed).unwrap(), "# objects.yaml\n");
        assert!(objects(&packed[..packed.len() / 2]).is_err());
        let other = pack("report", &files(&["notes.txt"]), 7).unwrap();
        assert!(objects(&other).unwrap_err().to_string().contains("objects.yaml"));
    }
}
