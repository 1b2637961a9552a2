//! Bytes of a file to text: UTF-8, or a straight word on what it is instead.

use crate::error::Problem;

/// A file's text.
pub(crate) struct Decoded<'a> {
    pub text: &'a str,
    /// Whether a UTF-8 byte order mark was taken off its front.
    pub byte_order_mark: bool,
}

const BYTE_ORDER_MARK: &str = "\u{feff}";

/// The text of `bytes`.
pub(crate) fn decode(bytes: &[u8]) -> Result<Decoded<'_>, Problem> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        let message = "the file is UTF-16; convert it: iconv -f UTF-16 -t UTF-8 IN > OUT";
        return Err(Problem::in_line(1, message));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| not_utf8(bytes, error.valid_up_to()))?;
    if let Some(at) = text.find('\0') {
        let message = "there is a NUL byte: the file is no text, or it is UTF-16 and needs to be \
                       converted: iconv -f UTF-16 -t UTF-8 IN > OUT";
        return Err(Problem::in_line(line_of(bytes, at), message));
    }
    Ok(match text.strip_prefix(BYTE_ORDER_MARK) {
        Some(text) => Decoded { text, byte_order_mark: true },
        None => Decoded { text, byte_order_mark: false },
    })
}

fn not_utf8(bytes: &[u8], at: usize) -> Problem {
    let byte = bytes[at];
    let start = bytes[..at].iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
    let guess = match byte {
        // Printable in Latin-1, and what Western European files are full of.
        0xa0..=0xff => format!(" (`{}` in Latin-1)", char::from(byte)),
        _ => String::new(),
    };
    let message = format!(
        "byte {} of the line is 0x{byte:02x}, which is not UTF-8{guess}; convert the file: iconv -f \
         LATIN1 -t UTF-8 IN > OUT",
        at - start + 1,
    );
    Problem::in_line(line_of(bytes, at), message)
}

fn line_of(bytes: &[u8], at: usize) -> u64 {
    1 + bytes[..at].iter().filter(|&&byte| byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Place;

    fn problem(bytes: &[u8]) -> Problem {
        decode(bytes).err().unwrap()
    }

    #[test]
    fn utf_8_is_text_with_or_without_a_mark() {
        let decoded = decode("é\n".as_bytes()).unwrap();
        assert_eq!((decoded.text, decoded.byte_order_mark), ("é\n", false));
        let decoded = decode(b"\xef\xbb\xbfa").unwrap();
        assert_eq!((decoded.text, decoded.byte_order_mark), ("a", true));
    }

    #[test]
    fn latin_1_is_named_with_line_and_byte() {
        let problem = problem(b"text\ncaf\xe9 au lait\n");
        assert_eq!(problem.place, Place::Line(2));
        assert!(problem.message.starts_with("byte 4 of the line is 0xe9"), "{}", problem.message);
        assert!(problem.message.contains("`é` in Latin-1"), "{}", problem.message);
    }

    #[test]
    fn a_cut_character_is_no_text() {
        assert_eq!(problem(b"a\nb\xc3").place, Place::Line(2));
    }

    #[test]
    fn utf_16_is_named_with_and_without_a_mark() {
        for bytes in [&b"\xff\xfea\0"[..], b"\xfe\xff\0a", b"a\0b\0"] {
            assert!(problem(bytes).message.contains("UTF-16"));
        }
        assert_eq!(problem(b"a\n\0").place, Place::Line(2));
    }
}
