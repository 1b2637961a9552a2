//! TensorBoard event files: records of a length, a masked CRC-32C of it, a protobuf event, its CRC.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;

/// The part of TensorFlow's `Event` message that scalars need.
#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    values: Vec<SummaryValue>,
}

#[derive(Clone, PartialEq, Message)]
struct SummaryValue {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, tag = "2")]
    simple_value: f32,
}

/// An event file that scalars are appended to.
pub struct EventFile {
    file: io::BufWriter<File>,
}

impl EventFile {
    /// A new event file in `folder`; a resumed run has several, and TensorBoard joins them.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn create(folder: &Path) -> io::Result<Self> {
        let now = now();
        // Nanoseconds tell two sessions of one second apart.
        let (seconds, nanos) = (now as u64, (now.fract() * 1e9) as u32);
        let name = format!("events.out.tfevents.{seconds}.{}.{nanos}.mobillm", std::process::id());
        let file = File::create_new(folder.join(name))?;
        let mut events = Self { file: io::BufWriter::new(file) };
        events.write(&Event {
            wall_time: now,
            step: 0,
            file_version: Some("brain.Event:2".into()),
            summary: None,
        })?;
        events.flush()?;
        Ok(events)
    }

    /// Appends `values` at `step`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn scalars(&mut self, step: u64, values: &[(&str, f64)]) -> io::Result<()> {
        let values = values
            .iter()
            .map(|&(tag, value)| SummaryValue { tag: tag.into(), simple_value: value as f32 })
            .collect();
        let summary = Some(Summary { values });
        self.write(&Event { wall_time: now(), step: step as i64, file_version: None, summary })
    }

    /// Writes what is buffered.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }

    fn write(&mut self, event: &Event) -> io::Result<()> {
        let event = event.encode_to_vec();
        let length = (event.len() as u64).to_le_bytes();
        self.file.write_all(&length)?;
        self.file.write_all(&masked_crc(&length).to_le_bytes())?;
        self.file.write_all(&event)?;
        self.file.write_all(&masked_crc(&event).to_le_bytes())
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

/// The TFRecord format masks CRCs, because a CRC of data that holds CRCs is a weak one.
fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_framed_with_their_masked_crcs() {
        let folder = tempfile::tempdir().unwrap();
        let mut events = EventFile::create(folder.path()).unwrap();
        events.scalars(3, &[("loss", 0.5)]).unwrap();
        events.flush().unwrap();
        let path = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
        let mut bytes = &std::fs::read(path).unwrap()[..];
        let mut decoded = Vec::new();
        while !bytes.is_empty() {
            let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
            let crc = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
            assert_eq!(crc(8), masked_crc(&bytes[..8]));
            let event = &bytes[12..12 + length];
            assert_eq!(crc(12 + length), masked_crc(event));
            decoded.push(Event::decode(event).unwrap());
            bytes = &bytes[16 + length..];
        }
        assert_eq!(decoded[0].file_version.as_deref(), Some("brain.Event:2"));
        let value = &decoded[1].summary.as_ref().unwrap().values[0];
        assert_eq!((decoded[1].step, value.tag.as_str(), value.simple_value), (3, "loss", 0.5));
    }

    #[test]
    fn the_crc_is_the_one_of_the_format() {
        // CRC-32C of "123456789" is 0xe3069283 (RFC 3720); masked as TFRecord does.
        assert_eq!(
            masked_crc(b"123456789"),
            0xe306_9283_u32.rotate_right(15).wrapping_add(0xa282_ead8)
        );
    }
}
